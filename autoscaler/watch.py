"""Everything that is known of the hosts, and the decisions that follow: the loop's pure middle.

Sightings come in, each with its time; `decide` says what each host's limit should be. No clock, no
I/O: what was fetched is handed in, and what was decided is carried out, by loop.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from autoscaler.observed import MemoryMode, Signals
from autoscaler.policy import Decision, Reason, State, decide
from autoscaler.readings import (
    EngineReading,
    GpuReading,
    NoReading,
    QueueReading,
    read_engine,
    read_gpu,
    read_hosts,
    read_queue,
)
from autoscaler.settings import Settings
from autoscaler.sightings import Kind, Sighting, Source
from autoscaler.signals import GpuSample, HostWindow, QueueSample, Repeats, risen
from autoscaler.targets import Target

_NOT_ASKED: Final = "not asked yet"
_MODE_UNKNOWN: Final = (
    "its model server has not said yet whether it takes all memory at its start; if it never will, "
    "write `gpu: {memory: nvml}` (or kv, off) in hosts.yaml"
)
#: Seconds after which what has changed at a host is taken to be so for good.
_FOR_GOOD: Final = 3600.0
_PREALLOCATED: Final = (
    "it took all memory at its start, and how full its KV cache is can't be seen any more; if "
    "another kind of server is there now, start the autoscaler anew, or wait for an hour"
)
_NOBODY_TELLS_KV: Final = (
    "no model server of it tells how full its KV cache is: write `gpu: {memory: nvml}` (or off) in "
    "hosts.yaml, or let the server show its metrics"
)
_CARD_GONE: Final = (
    "of the memory of {before} cards it tells that of {now} now: look at its log; if a "
    "card is gone for good, start the autoscaler anew, or wait for an hour"
)
_FROZEN: Final = "it repeats itself to the last digit while tasks run: it is frozen, restart it"
_ABSURD: Final = "it said what can't be"
#: Of a trouble, so much is told with a decision.
_TROUBLE_MAX: Final = 400
#: Decisions that come of not seeing, with the sources to which that may be due.
_BLIND: Final = {
    Reason.GPU_STALE: (Kind.EXPORTER, Kind.ENGINE),
    Reason.QUEUE_STALE: (Kind.DISPATCHER,),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """A decision about one host, with what it came from."""

    host: str
    signals: Signals
    decision: Decision
    #: It is only to be shown.
    dry_run: bool


@dataclass(slots=True)
class _EngineState:
    """What is known of a model server."""

    reading: EngineReading | None = None
    at: float = 0.0
    is_known: bool = False
    #: Since when a server that preallocates shows no page any more.
    gone_since: float | None = None
    #: What is wrong with it now, in words; empty: nothing.
    trouble: str = ""

    @property
    def preallocates(self) -> bool:
        return self.reading is not None and self.reading.preallocates


@dataclass(slots=True)
class Watched:
    """One host: what was seen, what the rule remembers, what it said last."""

    target: Target
    window: HostWindow
    #: Tells whether the exporter is frozen where its figures are only a part of the samples.
    repeats: Repeats
    state: State = field(default_factory=State)
    #: What is wrong with a source now, in words; empty: nothing.
    troubles: dict[Kind, str] = field(default_factory=dict)
    decided: Decided | None = None
    gpu: GpuReading | None = None
    gpu_at: float = 0.0
    #: So many cards said at most how full their memory is, and since when fewer do.
    measured: int = 0
    fewer_since: float | None = None
    engines: dict[str, _EngineState] = field(default_factory=dict)
    #: Requests that waited, and that were there at all, in the model servers: each times seconds.
    engine_waited: float = 0.0
    engine_ran: float = 0.0
    #: Requests that they put off so far, as one counter of ours.
    engine_preempted: float = 0.0

    def trouble(self, kinds: Sequence[Kind]) -> str:
        """What is wrong with the first of these sources that has a trouble; empty: nothing is known."""
        found = next((self.troubles[kind] for kind in kinds if self.troubles.get(kind)), "")
        return found if len(found) <= _TROUBLE_MAX else f"{found[:_TROUBLE_MAX]}..."

    @property
    def mode(self) -> MemoryMode | None:
        """What memory means here; None: it is not known yet, so nothing may be made of it."""
        if self.target.memory is not None:
            return self.target.memory
        if any(engine.preallocates for engine in self.engines.values()):
            return MemoryMode.KV
        if all(engine.is_known for engine in self.engines.values()):
            return MemoryMode.NVML
        return None


class Watch:
    """All hosts of a fleet."""

    def __init__(self, settings: Settings, targets: Mapping[str, Target]) -> None:
        self.settings = settings
        self.hosts: dict[str, Watched] = {}
        self.follow(settings, targets)

    def follow(self, settings: Settings, targets: Mapping[str, Target]) -> None:
        """Other settings and hosts; of one that is seen as before nothing is forgotten."""
        before, self.settings, self.hosts = self.hosts, settings, {}
        for name, target in targets.items():
            known = before.get(name)
            if known is None or _seen_by(known.target) != _seen_by(target):
                self.hosts[name] = self._watched(target)
                continue
            known.target = target
            known.window.adopt(settings)
            known.repeats.most = settings.frozen_samples
            self.hosts[name] = known
        self._by_exporter: dict[str, list[Watched]] = {}
        self._by_engine: dict[str, list[Watched]] = {}
        for host in self.hosts.values():
            if host.target.exporter is not None:
                self._by_exporter.setdefault(host.target.exporter, []).append(host)
            for engine in host.target.engines:
                self._by_engine.setdefault(engine.url, []).append(host)

    def _watched(self, target: Target) -> Watched:
        engines = {engine.url: _EngineState() for engine in target.engines}
        mode = target.memory or MemoryMode.NVML
        host = Watched(
            target=target,
            window=HostWindow(self.settings, mode),
            engines=engines,
            repeats=Repeats(self.settings.frozen_samples),
        )
        host.troubles[Kind.DISPATCHER] = _NOT_ASKED
        if target.memory is MemoryMode.KV and not engines:
            host.troubles[Kind.ENGINE] = _NOBODY_TELLS_KV
        if target.exporter is not None:
            host.troubles[Kind.EXPORTER] = _NOT_ASKED
        return host

    def sources(self) -> list[Source]:
        """Exporters and model servers, each once."""
        keys = {
            engine.url: engine.key for host in self.hosts.values() for engine in host.target.engines
        }
        return [
            *(Source(kind=Kind.EXPORTER, url=url) for url in self._by_exporter),
            *(Source(kind=Kind.ENGINE, url=url, key=keys[url]) for url in self._by_engine),
        ]

    # -- what was seen ---------------------------------------------------------------------------

    def take(self, sighting: Sighting) -> None:
        match sighting.source.kind:
            case Kind.DISPATCHER:
                self._take_dispatcher(sighting)
            case Kind.EXPORTER:
                for host in self._by_exporter.get(sighting.source.url, ()):
                    host.troubles[Kind.EXPORTER] = self._take_exporter(host, sighting)
            case Kind.ENGINE:
                for host in self._by_engine.get(sighting.source.url, ()):
                    host.engines[sighting.source.url].trouble = self._take_engine(host, sighting)
                    troubles = (engine.trouble for engine in host.engines.values())
                    host.troubles[Kind.ENGINE] = next(filter(None, troubles), "")

    def _take_dispatcher(self, sighting: Sighting) -> None:
        trouble = sighting.trouble
        try:
            page = {} if trouble else read_hosts(sighting.text)
        except NoReading as error:
            trouble = str(error)
        for host in self.hosts.values():
            host.troubles[Kind.DISPATCHER] = trouble
            if trouble:
                continue
            try:
                reading = read_queue(page, host.target.members)
            except NoReading as error:
                host.troubles[Kind.DISPATCHER] = str(error)
                continue
            if not host.window.add_queue(_queue_sample(host, reading, sighting.at)):
                host.troubles[Kind.DISPATCHER] = _ABSURD
            if host.target.exporter is None and host.mode is MemoryMode.OFF:
                # By hosts.yaml there is nobody to be heard: waits and trials are all there is.
                host.window.answered(sighting.at)

    def _take_exporter(self, host: Watched, sighting: Sighting) -> str:
        """What is wrong; empty: nothing."""
        if sighting.trouble:
            return sighting.trouble
        try:
            reading = read_gpu(sighting.text, host.target.device)
        except NoReading as error:
            return str(error)
        mode = host.mode
        if mode is MemoryMode.KV and host.repeats.is_frozen(
            reading.digits, is_running=host.window.is_running
        ):
            host.gpu = None
            return _FROZEN  # what the model server says beside it moves on
        host.gpu, host.gpu_at = reading, sighting.at
        if mode is None:
            # Memory that is full by design must not be taken for memory that runs out.
            why = host.troubles.get(Kind.ENGINE)
            return f"{why}; {_MODE_UNKNOWN}" if why else _MODE_UNKNOWN
        if mode is MemoryMode.KV:
            return ""  # the model server's own page makes the sample
        memory = None if mode is MemoryMode.OFF else reading.memory
        if mode is MemoryMode.NVML and _cards_are_gone(host, reading.measured, sighting.at):
            # The one that is missing may be the fullest.
            return _CARD_GONE.format(now=reading.measured, before=host.measured)
        if mode is MemoryMode.OFF and reading.util is None:
            host.window.answered(sighting.at)  # parts of a card (MIG): its trials judge a step
            return ""
        if memory is None and reading.util is None:
            return f"{reading.dialect} says neither utilization nor memory of it"
        sample = GpuSample(at=sighting.at, util=reading.util, memory=memory, digits=reading.digits)
        return _added(host, sample)

    def _take_engine(self, host: Watched, sighting: Sighting) -> str:
        engine = host.engines[sighting.source.url]
        if sighting.trouble and not sighting.is_absent:
            return sighting.trouble
        try:
            reading = read_engine(sighting.text)
        except NoReading as error:
            if host.mode is MemoryMode.KV and engine.preallocates:
                if engine.gone_since is None:
                    engine.gone_since = sighting.at
                if sighting.at - engine.gone_since <= _FOR_GOOD:
                    # A page that is gone frees no memory: its card is full as before.
                    return f"{sighting.trouble or error}; {_PREALLOCATED}"
            engine.reading, engine.is_known = None, True  # something else answers there
        else:
            _integrate(host, engine, reading, sighting.at, self.settings.stale_seconds)
            engine.reading, engine.at, engine.is_known = reading, sighting.at, True
            engine.gone_since = None
        mode = host.mode or MemoryMode.NVML
        if mode is not host.window.memory_mode:
            # Another kind of server: what was learned of memory is of no use for it.
            host.window, host.state = HostWindow(self.settings, mode), State()
        if host.mode is not MemoryMode.KV:
            return ""
        if engine.reading is not None:
            return self._add_kv(host, sighting.at)
        return "" if any(e.preallocates for e in host.engines.values()) else _NOBODY_TELLS_KV

    def _add_kv(self, host: Watched, at: float) -> str:
        stale = self.settings.stale_seconds
        if any(e.preallocates and at - e.at > stale for e in host.engines.values()):
            return ""  # the one that is silent, and has its own trouble, may be the fullest
        fresh = [
            engine.reading
            for engine in host.engines.values()
            if engine.reading is not None and at - engine.at <= stale
        ]
        used = [reading.kv for reading in fresh if reading.kv is not None]
        if not used:
            return "it does not say how much of its KV cache is used"
        digits = tuple(digit for reading in fresh for digit in reading.digits)
        known = host.gpu if at - host.gpu_at <= self.settings.stale_seconds else None
        sample = GpuSample(
            at=at,
            util=None if known is None else known.util,
            memory=max(used),
            preemptions_total=host.engine_preempted,
            digits=digits if known is None else digits + known.digits,
        )
        return _added(host, sample)

    # -- what follows ----------------------------------------------------------------------------

    def decide(self, now: float) -> list[Decided]:
        """Of every host of which anything is known."""
        decisions = []
        for name, host in self.hosts.items():
            signals = host.window.signals(now)
            if signals is None:
                continue
            host.state, decision = decide(self.settings, host.state, signals)
            if decision.reason in _BLIND and (why := host.trouble(_BLIND[decision.reason])):
                decision = replace(decision, evidence={**decision.evidence, "trouble": why})
            dry_run = self.settings.dry_run or host.target.dry_run
            host.decided = Decided(host=name, signals=signals, decision=decision, dry_run=dry_run)
            decisions.append(host.decided)
        return decisions

    def resized(self, name: str, limit: int) -> None:
        """The dispatcher took this limit over, whatever its next page says, or whether one comes."""
        host = self.hosts.get(name)
        if host is not None:
            host.window.resized(limit)

    def alerts(self) -> Iterable[tuple[str, Reason]]:
        """Hosts whose last decision is one that a person should know of."""
        for name, host in self.hosts.items():
            if host.decided is not None and host.decided.decision.reason in ALERTS:
                yield name, host.decided.decision.reason


def _seen_by(target: Target) -> Target:
    """The target without what says nothing of how it is seen."""
    engines = tuple(replace(engine, key=None) for engine in target.engines)
    return replace(target, engines=engines, has_max=False, start=0, dry_run=False)


#: What only a person can mend.
ALERTS: Final = frozenset({Reason.GPU_STALE, Reason.QUEUE_STALE, Reason.MEMORY_AT_MIN})


def _cards_are_gone(host: Watched, measured: int, at: float) -> bool:
    """Whether fewer cards tell of their memory than did before, lately."""
    if measured < host.measured and host.fewer_since is None:
        host.fewer_since = at
    if measured >= host.measured or (
        host.fewer_since is not None and at - host.fewer_since > _FOR_GOOD
    ):
        host.measured, host.fewer_since = measured, None
    return measured < host.measured


def _added(host: Watched, sample: GpuSample) -> str:
    """What is wrong with it; empty: nothing."""
    if host.window.add_gpu(sample):
        return ""
    return _FROZEN if sample.sane else _ABSURD


def _queue_sample(host: Watched, reading: QueueReading, at: float) -> QueueSample:
    target = host.target
    waited, ran = reading.server_wait_seconds_total, reading.run_seconds_total
    if any(engine.reading is not None for engine in host.engines.values()):
        # Its own word: the dispatcher hears of a task's wait when the task has ended.
        waited, ran = host.engine_waited, host.engine_ran
    return QueueSample(
        at=at,
        limit=reading.limit,
        min=reading.min,
        max=reading.max,
        # Where the file sets none, another one than the start is the server's word.
        max_is_set=target.has_max or reading.max != target.start,
        pin=reading.limit if reading.is_pinned else None,
        up=reading.up,
        paused=reading.paused,
        active=reading.active,
        waiting=reading.waiting,
        oldest_wait=reading.oldest_wait,
        tokens_total=reading.tokens_total,
        runs_total=reading.runs_total,
        run_seconds_total=ran,
        failures_total=reading.failures_total,
        server_wait_seconds_total=waited,
        model_memory=reading.model_memory,
    )


def _integrate(
    host: Watched, engine: _EngineState, reading: EngineReading, at: float, most: float
) -> None:
    """Counts of now, made into sums over time: a wait between two looks is not missed."""
    if engine.reading is None:
        return
    passed = min(max(0.0, at - engine.at), most)
    host.engine_waited += reading.waiting * passed
    host.engine_ran += (reading.waiting + reading.running) * passed
    host.engine_preempted += risen(engine.reading.preemptions, reading.preemptions)

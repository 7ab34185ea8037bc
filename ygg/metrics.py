"""Every metric of the dispatcher, in one place.

Counters and histograms follow the journal's rows, so that none is forgotten at a call site.
Gauges are read from the board when scraped. Labels come from hosts.yaml and closed lists: never
a task's id, never text from a user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from ygg.board import Board, Reason
from ygg.fleet import Fleet
from ygg.health import Mode
from ygg.journal import DRAINED, ENDS_ATTEMPT, Event, Kind
from ygg.pins import bounds
from ygg.stores.base import HostRow
from ygg.tasks import PRIORITIES, Lane
from ygg.version import VERSION

M = TypeVar("M", Counter, Histogram)

#: Waits from a blink to a day; runs the same without the shortest.
_WAIT_BUCKETS: Final = (
    0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 86400,
)  # fmt: skip
_RUN_BUCKETS: Final = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_STORE_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30)
_LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)

#: Of so many tasks that came back to the backlog it is known when; of older ones their birth counts.
_RETURNED_MOST: Final = 10_000

_OUTCOMES: Final = {
    Kind.CLOSED: "closed",
    Kind.BLOCKED: "blocked",
    Kind.REOPENED: "reopened",
    Kind.CANCELLED: "cancelled",
}


class _Children(Generic[M]):
    """A metric's children by their labels: the library's own look-up takes some 3 us each."""

    __slots__ = ("_children", "_metric")

    def __init__(self, metric: M) -> None:
        self._metric: M = metric
        self._children: dict[tuple[str, ...], M] = {}

    def labels(self, *labels: str) -> M:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels)
        return child

    def forget(self, host: str) -> None:
        """All series of a host; it is the first label."""
        for labels in [labels for labels in self._children if labels[0] == host]:
            self._metric.remove(*labels)
            del self._children[labels]


@dataclass(frozen=True, slots=True)
class _Running:
    type: str
    host: str
    began: float


class Metrics:
    """Follows a store (`absorb`) and hears of tokens (`tokens`).

    Args:
        registry: where the names are registered; a new one in tests.
        monotonic: the clock by which runs are measured.
    """

    def __init__(self, registry: CollectorRegistry, *, monotonic: Callable[[], float]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own gap
        self.registry = registry
        self._monotonic = monotonic
        self._running: dict[str, _Running] = {}
        #: Since when tasks wait that were not ready from their creation on, in seconds.
        self._returned: dict[str, float] = {}
        #: Of each host, the tasks that were blocked there since the last that was answered.
        self._blocked_in_a_row: dict[str, int] = {}
        #: As last configured, and those that only end what they run.
        self._hosts: set[str] = set()
        self._leaving: set[str] = set()
        self._accepted = _Children(
            Counter(
                "ygg_tasks_accepted_total",
                "Tasks accepted.",
                ["type", "priority"],
                registry=registry,
            )
        )
        self._finished = _Children(
            Counter(
                "ygg_tasks_finished_total",
                "Attempts ended, by what became of the task.",
                ["host", "type", "outcome"],
                registry=registry,
            )
        )
        self._wait = _Children(
            Histogram(
                "ygg_task_wait_seconds",
                "From a task's creation, its release, or its return to the backlog, to its start.",
                ["priority"],
                buckets=_WAIT_BUCKETS,
                registry=registry,
            )
        )
        self._run = _Children(
            Histogram(
                "ygg_task_run_seconds",
                "From a start to its end.",
                ["type"],
                buckets=_RUN_BUCKETS,
                registry=registry,
            )
        )
        self._run_seconds = _Children(
            Counter(
                "ygg_host_run_seconds_total",
                "Time that slots were in use.",
                ["host"],
                registry=registry,
            )
        )
        self._runs = _Children(
            Counter("ygg_host_runs_total", "Attempts ended.", ["host"], registry=registry)
        )
        self._tokens = _Children(
            Counter(
                "ygg_tokens_total",
                "Tokens, moving while answers stream.",
                ["host", "direction"],
                registry=registry,
            )
        )
        self._cut = _Children(
            Counter(
                "ygg_answers_cut_total",
                "Answers that ended at a token limit.",
                ["host", "type"],
                registry=registry,
            )
        )
        self._server_wait = _Children(
            Counter(
                "ygg_host_server_wait_seconds_total",
                "Time tasks spent queued inside the model server.",
                ["host"],
                registry=registry,
            )
        )
        self._failures = _Children(
            Counter(
                "ygg_host_failures_total",
                "Attempts that the host failed after it had taken them.",
                ["host", "reason"],
                registry=registry,
            )
        )
        self._resizes = _Children(
            Counter(
                "ygg_host_resizes_total",
                "Changes of a host's limit.",
                ["host", "direction", "reason"],
                registry=registry,
            )
        )
        self._store = _Children(
            Histogram(
                "ygg_store_seconds",
                "How long calls of the store took.",
                ["store", "operation"],
                buckets=_STORE_BUCKETS,
                registry=registry,
            )
        )
        self.loop_lag = Histogram(
            "ygg_loop_lag_seconds",
            "How late the event loop woke up from a short sleep.",
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
        self._violations = Counter(
            "ygg_invariant_violations_total",
            "Broken invariants of ygg itself; anything but 0 is a bug to report.",
            registry=registry,
        )
        self._of_hosts = (
            self._finished, self._run_seconds, self._runs, self._tokens, self._cut,
            self._server_wait, self._failures, self._resizes,
        )  # fmt: skip
        info = Gauge("ygg_build_info", "The running version.", ["version"], registry=registry)
        info.labels(VERSION).set(1)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

    def tokens(self, host: str, *, prompt: int, completion: int) -> None:
        if prompt:
            self._tokens.labels(host, "prompt").inc(prompt)
        if completion:
            self._tokens.labels(host, "completion").inc(completion)

    def store_call(self, store: str, operation: str, seconds: float) -> None:
        self._store.labels(store, operation).observe(seconds)

    def violation(self) -> None:
        self._violations.inc()

    def blocked_in_a_row(self, host: str) -> int:
        """Tasks blocked there since the last that was answered; a drain's don't count."""
        return self._blocked_in_a_row.get(host, 0)

    def absorb(self, events: Sequence[Event]) -> None:
        for event in events:
            match event.kind:
                case Kind.ACCEPTED:
                    assert event.waiting is not None
                    lane, rank = event.waiting.lane, event.waiting.rank
                    self._accepted.labels(lane.type, str(rank.priority)).inc()
                case Kind.STARTED:
                    self._started(event)
                case Kind.RESIZED:
                    self._resized(event)
                case Kind.CONFIGURED:
                    self._configured(event)
                case Kind.RELEASED:
                    self._came_back(event)
                case kind if kind in ENDS_ATTEMPT:
                    self._ended(event)
                    self._returned.pop(event.task, None)
                    if kind is Kind.REOPENED:
                        self._came_back(event)
                    self._forget_idle()

    def _came_back(self, event: Event) -> None:
        self._returned[event.task] = event.at
        if len(self._returned) > _RETURNED_MOST:
            del self._returned[next(iter(self._returned))]

    def _started(self, event: Event) -> None:
        assert event.waiting is not None
        lane, rank = event.waiting.lane, event.waiting.rank
        self._running[event.task] = _Running(lane.type, event.host, self._monotonic())
        since = self._returned.pop(event.task, rank.created_at)
        self._wait.labels(str(rank.priority)).observe(max(0.0, event.at - since))

    def _ended(self, event: Event) -> None:
        running = self._running.pop(event.task, None)
        if running is None:
            return  # it was waiting, or ran under a dispatcher that is gone
        seconds = self._monotonic() - running.began
        outcome = _OUTCOMES.get(event.kind, "missed")
        self._finished.labels(running.host, running.type, outcome).inc()
        self._run.labels(running.type).observe(seconds)
        self._run_seconds.labels(running.host).inc(seconds)
        self._runs.labels(running.host).inc()
        if event.detail.get("strike"):
            self._failures.labels(running.host, event.reason).inc()
        if event.kind is Kind.BLOCKED and event.reason != DRAINED:
            before = self._blocked_in_a_row.get(running.host, 0)
            self._blocked_in_a_row[running.host] = before + 1
        if event.kind is Kind.CLOSED:
            self._blocked_in_a_row.pop(running.host, None)
            if event.detail.get("finish") == "length":
                self._cut.labels(running.host, running.type).inc()
            wait = event.detail.get("server_wait_seconds")
            if isinstance(wait, (int, float)):
                self._server_wait.labels(running.host).inc(max(0.0, wait))

    def _configured(self, event: Event) -> None:
        semaphores = event.detail["semaphores"]
        assert isinstance(semaphores, Mapping)
        self._leaving = (self._leaving | self._hosts) - set(semaphores)
        self._hosts = set(semaphores)
        self._forget_idle()

    def _forget_idle(self) -> None:
        """A host that a reload took away has no series any more once it runs nothing."""
        if not self._leaving:
            return
        for host in self._leaving - {running.host for running in self._running.values()}:
            self._leaving.discard(host)
            self._blocked_in_a_row.pop(host, None)
            for metric in self._of_hosts:
                metric.forget(host)

    def _resized(self, event: Event) -> None:
        before, limit = event.detail.get("before"), event.detail.get("limit")
        if isinstance(before, int) and isinstance(limit, int) and before != limit:
            direction = "up" if limit > before else "down"
            self._resizes.labels(event.host, direction, event.reason).inc()


class BoardCollector(Collector):
    """Gauges, read when scraped: none can be forgotten, none outlives its host.

    `oldest` and `blocked` are set by whoever scrapes, just before: they come from the store, which
    must not be waited for here. `server` says how many tasks a host's server runs at once, if it
    does; `in_a_row` how many were blocked there since the last answer.
    """

    def __init__(
        self,
        *,
        board: Board,
        fleet: Callable[[], Fleet],
        host_rows: Callable[[], Mapping[str, HostRow]],
        memory: Callable[[], Mapping[str, int]],
        wall: Callable[[], float],
        server: Callable[[str], int | None] = lambda _: None,
        in_a_row: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self._board = board
        self._in_a_row = in_a_row
        self._server = server
        self._memory = memory
        self._fleet = fleet
        self._host_rows = host_rows
        self._wall = wall
        self.oldest: Mapping[tuple[Lane, int], float] = {}
        #: Blocked tasks: those that a drain cut off, and all others. None: not known yet.
        self.blocked: tuple[int, int] | None = None
        #: Ends that sources must still be told, by source.
        self.untold: Mapping[str, int] = {}
        self.reloaded: tuple[bool, float] = (True, wall())

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._waiting()
        yield from self._demand()
        yield from self._hosts()
        outbox = GaugeMetricFamily(
            "ygg_outbox_waiting", "What others must still be told.", labels=["sink"]
        )
        for sink, count in self.untold.items():
            outbox.add_metric([sink], count)
        yield outbox
        good, at = self.reloaded
        yield GaugeMetricFamily(
            "ygg_config_last_reload_successful",
            "Whether the last reading of hosts.yaml was good.",
            float(good),
        )
        yield GaugeMetricFamily(
            "ygg_config_last_reload_timestamp_seconds", "When hosts.yaml was last taken over.", at
        )

    def _waiting(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "ygg_tasks_waiting", "Tasks ready to start.", labels=["type", "priority"]
        )
        counts: dict[tuple[str, int], int] = {}
        for (lane, priority), count in self._board.backlog.waiting.items():
            counts[lane.type, priority] = counts.get((lane.type, priority), 0) + count
        for type_ in self._board.routes:
            for priority in PRIORITIES:
                waiting.add_metric([type_, str(priority)], counts.get((type_, priority), 0))
        for (type_, priority), count in counts.items():
            if type_ not in self._board.routes:
                waiting.add_metric([type_, str(priority)], count)
        yield waiting
        blocked = GaugeMetricFamily(
            "ygg_tasks_blocked", "Tasks that need a person: to retry them, or to cancel.",
            labels=["reason"],
        )  # fmt: skip
        for reason, count in zip((DRAINED, "other"), self.blocked or (), strict=False):
            blocked.add_metric([reason], count)
        yield blocked
        oldest = GaugeMetricFamily(
            "ygg_oldest_wait_seconds", "How long the oldest ready task waits.", labels=["priority"]
        )
        now = self._wall()
        for priority in PRIORITIES:
            born = [at for (_, p), at in self.oldest.items() if p == priority]
            oldest.add_metric([str(priority)], max(0.0, now - min(born)) if born else 0.0)
        yield oldest

    def _demand(self) -> Iterator[Metric]:
        """What could start on a host but for a slot; a task may count for several hosts."""
        waiting: dict[str, int] = dict.fromkeys(self._board.hosts, 0)
        born: dict[str, float] = {}
        for (lane, priority), count in self._board.backlog.waiting.items():
            state = self._board.lanes.get(lane)
            if state is None:
                continue
            hosts = {
                option.host.name
                for option in state.options
                if self._board.blocker(option) in (None, Reason.NO_SLOT)
            }
            for host in hosts:
                waiting[host] += count
                at = self.oldest.get((lane, priority))
                if at is not None:
                    born[host] = min(at, born.get(host, at))
        tasks = GaugeMetricFamily(
            "ygg_host_demand_tasks",
            "Tasks that could start here and wait for a slot.",
            labels=["host"],
        )
        oldest = GaugeMetricFamily(
            "ygg_host_oldest_wait_seconds", "How long the oldest of them waits.", labels=["host"]
        )
        now = self._wall()
        for host, count in waiting.items():
            tasks.add_metric([host], count)
            oldest.add_metric([host], max(0.0, now - born[host]) if host in born else 0.0)
        yield tasks
        yield oldest

    def _hosts(self) -> Iterator[Metric]:
        def gauge(name: str, help_: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(name, help_, labels=["host"])

        up = gauge("ygg_host_up", "Whether the host takes starts, or rests by its own wish.")
        paused = gauge("ygg_host_paused", "Whether a person paused the host.")
        limit = gauge("ygg_host_slots_limit", "How many tasks may run there at once.")
        active = gauge("ygg_host_slots_active", "How many run there now.")
        available = gauge(
            "ygg_host_slots_available", "Slots free now; of a shared card, those of all its hosts."
        )
        in_a_row = gauge(
            "ygg_host_blocked_in_a_row", "Tasks blocked there since the last that was answered."
        )
        least = gauge("ygg_host_slots_min", "The lower bound of the limit.")
        most = gauge("ygg_host_slots_max", "The upper bound of the limit.")
        pinned = gauge("ygg_host_slots_pinned", "Whether the limit is set by hand.")
        fleet, rows = self._fleet(), self._host_rows()
        for name, host in self._board.hosts.items():
            up.add_metric([name], host.mode is not Mode.DOWN)
            paused.add_metric([name], host.paused is not None)
            active.add_metric([name], host.active)
            limit.add_metric([name], host.semaphore.slots.limit)
            available.add_metric([name], host.semaphore.slots.available)
            in_a_row.add_metric([name], self._in_a_row(name))
            settings = fleet.hosts.get(name)
            if settings is None:
                continue
            slots = fleet.hosts[settings.semaphore].slots
            within = bounds(slots, self._server(settings.semaphore))
            least.add_metric([name], within.least)
            most.add_metric([name], within.most)
            row = rows.get(settings.semaphore, HostRow())
            pinned.add_metric([name], slots.pin is not None or row.pin is not None)
        memory = gauge(
            "ygg_host_model_memory_bytes", "GPU memory of the loaded models, as the server says."
        )
        for name, size in self._memory().items():
            memory.add_metric([name], size)
        yield from (up, paused, limit, active, available, least, most, pinned, in_a_row, memory)

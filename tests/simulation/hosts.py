"""A model server on a card, in virtual time.

Tasks share its throughput evenly, so one number (tokens made for each running task so far) moves
them all: an event costs the logarithm of the running tasks. Memory of all of them is a straight
line in that number.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.simulation.work import Job

#: Tokens a second of so many running tasks together.
Curve = Callable[[int], float]

_NEARLY: Final = 1e-9
_RUNS_MOST: Final = 256


def saturating(single: float, top: float) -> Curve:
    """The first task gets about `single`; more and more of them get near `top`."""
    return lambda n: top * (1.0 - math.exp(-n * single / top))


def falling(single: float, best: int, loss: float) -> Curve:
    """Rises up to `best` tasks; each further one costs this share of all."""
    return lambda n: single * min(n, best) ** 0.9 * (1.0 - loss) ** max(0, n - best)


def capped(single: float, most: float) -> Curve:
    """Tasks don't disturb each other up to the cap."""
    return lambda n: min(n * single, most)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What does not change of a host."""

    curve: Curve
    total_gb: float
    #: Driver and desktop.
    idle_gb: float = 0.4
    weights_gb: float = 5.0
    #: Share of time in which one task keeps some kernel running. NVML calls the card busy while
    #: any kernel runs, so n tasks show 1 - (1 - duty)^n, however little each of them gets.
    duty: float = 0.93
    #: Tasks that the server runs at once; further ones queue inside it.
    parallel: int = _RUNS_MOST
    #: Preallocated KV cache: its size. The card's memory is then constant.
    kv_gb: float | None = None
    #: Memory that was once allocated stays with the server.
    caches: bool = False
    #: An allocation that fails takes the whole server with it, for so many seconds.
    crash_seconds: float | None = None
    #: Seconds without a task after which the model is unloaded, and to load it again.
    unload_seconds: float = math.inf
    load_seconds: float = 15.0
    #: The server has no model loaded at first.
    starts_empty: bool = False
    #: It says what its loaded models take (Ollama).
    tells_model_memory: bool = False
    #: It says how long tasks queued inside it.
    tells_wait: bool = False
    #: It reports tokens.
    tells_tokens: bool = True
    leak_gb_per_hour: float = 0.0
    #: Standard deviation of throughput from one scrape to the next, relative.
    noise: float = 0.06


@dataclass(slots=True)
class _Running:
    job: Job
    #: Where the shared number stood when it started, and where it is done.
    since: float
    done_at: float


@dataclass(slots=True)
class Ended:
    finished: list[Job] = field(default_factory=list)
    failed: list[Job] = field(default_factory=list)


class Host:
    """One server. `advance` to a moment first, then act."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.now = 0.0
        self.factor = 1.0
        self.outside_gb = 0.0
        self.weights_gb = 0.0 if shape.starts_empty else shape.weights_gb
        self.loaded_gb = shape.weights_gb
        self.down_until = 0.0
        self._rates = [0.0] + [shape.curve(n) / n for n in range(1, _RUNS_MOST + 1)]
        self._busy = [1.0 - (1.0 - shape.duty) ** n for n in range(_RUNS_MOST + 1)]
        self._made = 0.0  # tokens of each running task since the beginning of time
        self._running: dict[int, _Running] = {}
        self._order: list[tuple[float, int]] = []  # heap; may name tasks that are gone
        self._queued: deque[Job] = deque()
        self._serial = 0
        self._fixed_gb = self._slope = self._offset = 0.0
        self._cached_gb = 0.0
        self._loading_until = 0.0
        self._idle_since = 0.0
        # Counters, as the dispatcher has them.
        self.tokens = self.busy_seconds = 0.0
        self.runs = self.run_seconds = self.waited = 0.0
        self.failures = self.preemptions = 0

    # -- what it looks like ------------------------------------------------------------------------

    @property
    def active(self) -> int:
        return len(self._running) + len(self._queued)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def up(self) -> bool:
        return self.now >= self.down_until

    @property
    def tasks_gb(self) -> float:
        return max(0.0, self._fixed_gb + self._slope * self._made - self._offset)

    @property
    def used_gb(self) -> float:
        """What is really needed now."""
        shape = self.shape
        leak = shape.leak_gb_per_hour * self.now / 3600.0
        tasks = self.tasks_gb if shape.kv_gb is None else shape.kv_gb
        return shape.idle_gb + self.outside_gb + leak + self.weights_gb + tasks

    @property
    def memory(self) -> float:
        """As its exporter shows it, 0 to 1: of the card, or of the KV cache."""
        if self.shape.kv_gb is not None:
            return min(1.0, self.tasks_gb / self.shape.kv_gb)
        own = self.tasks_gb + self.weights_gb
        kept = max(0.0, self._cached_gb - own) if self.shape.caches else 0.0
        return min(1.0, (self.used_gb + kept) / self.shape.total_gb)

    @property
    def in_flight(self) -> float:
        """Tokens that running tasks have made so far."""
        made = sum(min(r.job.made + self._made - r.since, r.job.tokens) for r in self._each())
        return made + sum(job.made for job in self._queued)

    def _each(self) -> list[_Running]:
        return list(self._running.values())

    # -- time --------------------------------------------------------------------------------------

    def next_at(self) -> float:
        """When something happens here by itself."""
        if self._loading_until > self.now:
            return self._loading_until
        if not self._running:
            return self._idle_since + self.shape.unload_seconds if self.weights_gb else math.inf
        while self._order[0][1] not in self._running:
            heapq.heappop(self._order)
        each = self._rates[len(self._running)] * self.factor
        return self.now + max(0.0, self._order[0][0] - self._made) / each

    def advance(self, now: float) -> None:
        passed, self.now = now - self.now, now
        if passed <= 0:
            return
        count = len(self._running)
        if not count or now <= self._loading_until:
            return
        made = passed * self._rates[count] * self.factor
        self._made += made
        self.tokens += made * count
        self.busy_seconds += passed * self._busy[count]

    def settle(self) -> Ended:
        """What ended by now; what waited inside goes on. Call it after each `advance`."""
        ended = Ended()
        if self.shape.kv_gb is None and self.used_gb > self.shape.total_gb + _NEARLY:
            self._out_of_memory(ended)
        while self._order and self._order[0][0] <= self._made + _NEARLY:
            serial = heapq.heappop(self._order)[1]
            if serial in self._running:
                job = self._left(serial)
                job.made = job.tokens
                self._ended(job, ended.finished)
        kv = self.shape.kv_gb
        while kv is not None and self.tasks_gb > kv and len(self._running) > 1:
            # Preempted: it starts over later, and what it had must be computed again.
            job = self._left(max(self._running))
            self.preemptions += 1
            job.again = 0.3 * job.made
            job.queued = self.now
            self._queued.appendleft(job)
        if self.shape.caches:
            self._cached_gb = max(self._cached_gb, self.weights_gb + self.tasks_gb)
        self._take_queued()
        if not self._running and self.now >= self._idle_since + self.shape.unload_seconds:
            self.weights_gb = self._cached_gb = 0.0
        return ended

    # -- what is done to it ------------------------------------------------------------------------

    def start(self, job: Job) -> None:
        if self.weights_gb <= 0:
            self.weights_gb = self.loaded_gb
            self._loading_until = self.now + self.shape.load_seconds
        job.made = job.again = job.inside = 0.0
        job.started = job.queued = self.now
        self._queued.append(job)
        self._take_queued()

    def load(self, gigabytes: float) -> None:
        """Another model, in place of the one before."""
        self.loaded_gb = self.weights_gb = gigabytes
        self._cached_gb = 0.0
        self._loading_until = self.now + self.shape.load_seconds

    # -- inside ------------------------------------------------------------------------------------

    def _take_queued(self) -> None:
        kv = self.shape.kv_gb
        while self._queued and len(self._running) < self.shape.parallel:
            job = self._queued[0]
            size = job.start_gb + job.token_gb * job.made
            if kv is not None and self._running and self.tasks_gb + size > 0.99 * kv:
                return
            self._queued.popleft()
            job.inside += self.now - job.queued
            self._serial += 1
            left = job.tokens - job.made + job.again
            running = _Running(job, self._made + job.again, self._made + left)
            self._running[self._serial] = running
            heapq.heappush(self._order, (running.done_at, self._serial))
            self._fixed_gb += size
            self._slope += job.token_gb
            self._offset += job.token_gb * self._made

    def _left(self, serial: int) -> Job:
        running = self._running.pop(serial)
        job = running.job
        # It took its place at `done_at - (tokens - made + again)`.
        began = running.since - job.again
        self._fixed_gb -= job.start_gb + job.token_gb * job.made
        self._slope -= job.token_gb
        self._offset -= job.token_gb * began
        job.made = max(job.made, min(job.tokens, job.made + self._made - running.since))
        if not self._running:
            self._fixed_gb = self._slope = self._offset = 0.0
            self._idle_since = self.now
        return job

    def _ended(self, job: Job, into: list[Job]) -> None:
        self.runs += 1
        self.run_seconds += self.now - job.started
        self.waited += job.inside
        into.append(job)

    def _out_of_memory(self, ended: Ended) -> None:
        crash = self.shape.crash_seconds
        while self._running and (crash is not None or self.used_gb > self.shape.total_gb + _NEARLY):
            job = self._left(max(self._running))
            job.made = 0.0
            self.failures += 1
            self._ended(job, ended.failed)
        if crash is not None:
            self.down_until = self.now + crash
            for job in self._queued:
                self.failures += 1
                self._ended(job, ended.failed)
            self._queued.clear()

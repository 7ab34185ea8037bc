"""A scenario, and what came of one play of it: plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from autoscaler.policy import Decision
from tests.simulation.hosts import Host, Shape
from tests.simulation.sources import Spell
from tests.simulation.work import HOUR, Work

#: Seconds between two looks.
SCRAPE: Final = 5.0
#: Of the best static goodput, in every scenario that names no cause why not.
USUAL_LEAST: Final = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A host as hosts.yaml has it, and what it is in truth."""

    shape: Shape
    start: int = 2
    min: int = 1
    max: int = 8
    gpu: tuple[Spell, ...] = ()
    queue: tuple[Spell, ...] = ()
    resets: tuple[float, ...] = ()
    renewed_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """Something abrupt from outside."""

    at: float
    host: str
    what: Callable[[Host], None]
    #: A failure so many seconds after it is the step's: in so much time the rule can halve a
    #: limit, and what runs drains.
    aftermath: float = 180.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    name: str
    #: What it is there for.
    why: str
    hosts: Mapping[str, Plan]
    work: Work
    steps: tuple[Step, ...] = ()
    seconds: float = 3 * HOUR
    #: From then on changes are counted.
    settled: float = HOUR
    #: Of the best static goodput; below it the rule is not accepted. `cause`: why less is.
    least: float = USUAL_LEAST
    #: Memory failures on a seed that are accepted, on average.
    failures_most: float = 0.0
    cause: str = ""
    #: A promise of its own about the run with the rule; what it says went wrong.
    promise: Callable[[Run], str | None] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """What the picture shows of a host at a scrape."""

    at: float
    limit: int
    active: int
    memory: float
    util: float
    oldest_wait: float


@dataclass(slots=True)
class Run:
    """What came of one play of a scenario."""

    seconds: float
    settled: float
    tokens: float = 0.0
    #: Memory failures of each host, and how many of them an outside step explains.
    failures: dict[str, int] = field(default_factory=dict)
    failures_at_steps: int = 0
    #: Share of scrapes with a card over 90 % (a KV cache over 98 %).
    above: dict[str, float] = field(default_factory=dict)
    #: (time, host, decision) of each resize.
    changes: list[tuple[float, str, Decision]] = field(default_factory=list)
    waits: dict[int, list[float]] = field(default_factory=lambda: {p: [] for p in range(5)})
    moments: dict[str, list[Moment]] = field(default_factory=dict)

    @property
    def failures_all(self) -> int:
        return sum(self.failures.values())

    @property
    def goodput(self) -> float:
        return self.tokens / self.seconds

    @property
    def changes_per_hour(self) -> float:
        """Of the host that changes most, once settled."""
        late = [host for at, host, _ in self.changes if at >= self.settled]
        most = max((late.count(host) for host in set(late)), default=0)
        return most / ((self.seconds - self.settled) / HOUR)

    def wait(self, priority: int, share: float) -> float:
        """A quantile of the waits, in seconds."""
        waits = sorted(self.waits[priority])
        return waits[min(len(waits) - 1, int(share * len(waits)))] if waits else 0.0

    def limit_at(self, host: str, at: float) -> int:
        return next(m.limit for m in self.moments[host] if m.at >= at)


@dataclass(frozen=True, kw_only=True, slots=True)
class Law:
    """What a limit set by hand must keep, or its play is of no more interest."""

    #: Share of scrapes over the threshold.
    above_most: float
    #: Memory failures of each host.
    failures_most: Mapping[str, int]

    def is_broken(self, name: str, above: float, failures: int) -> bool:
        return above > self.above_most or failures > self.failures_most.get(name, 0)

"""What a recording comes to: makespan, tasks at once, waits, utilization. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ygg.compare.recording import Recording, Run
from ygg.journal import Kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Waits:
    """From ready to start, in seconds."""

    count: int
    median: float
    p95: float


@dataclass(frozen=True, kw_only=True, slots=True)
class HostFigures:
    slots: int
    #: Tasks at once, at most.
    at_once: int
    #: The share of its slots' time in which they were taken.
    utilization: float
    #: The share of the time in which nothing at all ran on it.
    idle: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    accepted: int
    closed: int
    makespan: float
    at_once: int
    #: The share of all slots' time in which they were taken.
    utilization: float
    #: By priority; of those that anything started of.
    waits: Mapping[int, Waits]
    hosts: Mapping[str, HostFigures]


def figures_of(recording: Recording) -> Figures:
    runs, makespan = recording.runs, recording.makespan
    by_host = {host: [run for run in runs if run.host == host] for host in recording.hosts}
    slots = sum(recording.hosts.values())
    return Figures(
        accepted=recording.accepted,
        closed=sum(run.outcome == Kind.CLOSED for run in runs),
        makespan=makespan,
        at_once=most_at_once(runs),
        utilization=_ratio(sum(run.seconds for run in runs), slots * makespan),
        waits={
            priority: _waits([run.waited for run in runs if run.priority == priority])
            for priority in sorted({run.priority for run in runs})
        },
        hosts={
            host: HostFigures(
                slots=recording.hosts[host],
                at_once=most_at_once(some),
                utilization=_ratio(
                    sum(run.seconds for run in some), recording.hosts[host] * makespan
                ),
                idle=1 - _ratio(covered(some), makespan),
            )
            for host, some in by_host.items()
        },
    )


def most_at_once(runs: Iterable[Run]) -> int:
    """By the order of the rows: no two of them are the same."""
    changes = sorted(change for run in runs for change in ((run.first_row, 1), (run.last_row, -1)))
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def covered(runs: Iterable[Run]) -> float:
    """Seconds in which at least one of them was under way."""
    total, until = 0.0, -math.inf
    for run in sorted(runs, key=lambda run: run.started):
        total += max(0.0, run.ended - max(run.started, until))
        until = max(until, run.ended)
    return total


def quantile(values: Sequence[float], share: float) -> float:
    """By nearest rank: always a value that was seen."""
    assert values, "no quantile of nothing"
    assert 0 < share <= 1, f"a share of {share}"
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _waits(seconds: Sequence[float]) -> Waits:
    return Waits(count=len(seconds), median=quantile(seconds, 0.5), p95=quantile(seconds, 0.95))


def _ratio(part: float, whole: float) -> float:
    # Sums of floats may be greater than their whole by the last bit.
    return min(1.0, part / whole) if whole > 0 else 0.0

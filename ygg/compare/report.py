"""A comparison as text and as JSON. Pure: measuring is left to run.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ygg import printing
from ygg.compare.figures import Figures
from ygg.compare.recording import Recording
from ygg.findings import FindingKind, Report
from ygg.tasks import Json

#: The two dispatchers, by what the report calls them.
THREADS, ASYNC = "threads", "async"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What the dispatcher's process took from ready to the last end; None where it can't be read."""

    cpu_seconds: float | None
    #: Of all its threads, voluntary or not.
    context_switches: int | None
    #: The most it ever had, start included.
    memory_bytes: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one dispatcher made of the workload."""

    recording: Recording
    figures: Figures
    cost: Cost
    #: Of the journal's checker.
    report: Report

    @property
    def inversions(self) -> int:
        return self.report.counts.get(FindingKind.INVERSION, 0)

    @property
    def other_findings(self) -> int:
        return sum(self.report.counts.values()) - self.inversions


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    workload: str
    #: The kind of servers, and in a sentence what they are.
    servers: str
    about: str
    threads: Outcome
    with_async: Outcome

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        return {THREADS: self.threads, ASYNC: self.with_async}

    def problems(self) -> list[str]:
        """Why the figures can't be trusted; empty if they can."""
        found = []
        for name, outcome in self.outcomes.items():
            left = outcome.figures.accepted - outcome.figures.closed
            if left:
                found.append(f"{name}: {left} of {outcome.figures.accepted} tasks were not closed")
            if outcome.other_findings:
                found.append(f"{name}: the checker found more than inversions: {_kinds(outcome)}")
        if self.with_async.inversions:
            found.append(f"{ASYNC}: the checker found {self.with_async.inversions} inversions")
        return found


def _kinds(outcome: Outcome) -> str:
    return ", ".join(f"{count} {kind.value}" for kind, count in outcome.report.counts.items())


class Improvement(NamedTuple):
    """A row of the original's table of improvements, with what was measured."""

    aspect: str
    claimed_threads: str
    claimed_async: str
    threads: str
    with_async: str


def improvements(comparison: Comparison) -> list[Improvement]:
    """The original's table, row by row."""

    def row(aspect: str, claims: tuple[str, str], shown: Callable[[Outcome], str]) -> Improvement:
        return Improvement(aspect, *claims, shown(comparison.threads), shown(comparison.with_async))

    return [
        row("Max concurrent tasks", ("3 (one per agent)", "8 (2+3+2 per host)"),
            lambda o: str(o.figures.at_once)),
        row("Task ordering", ("FIFO", "priority-based"),
            lambda o: f"{o.inversions} of {o.report.starts} starts out of order"),
        row("GPU idle time", ("high", "low"),
            lambda o: f"slots idle {_percent(1 - o.figures.utilization)} of the time"),
        row("CPU overhead", ("thread context switches", "minimal"),
            lambda o: f"{_seconds(o.cost.cpu_seconds)} CPU, {_count(o.cost.context_switches)} switches"),
        row("Scalability", ("limited by agent types", "per-host configurable"),
            lambda o: "+".join(str(h.at_once) for h in o.figures.hosts.values())
            + " at once per host"),
    ]  # fmt: skip


_NOTES: Final = (
    "The original says 8 tasks at once; its own slots, 2+3+2, are 7.",
    "Both share store, HTTP and the requests, which run on one event loop: CPU is of all of it.",
    "The threads look every 2 s when idle, as the original did.",
)


def lines(comparison: Comparison, *, width: int = 0) -> list[str]:
    """For people."""
    tasks = comparison.threads.figures.accepted
    slots = comparison.threads.recording.hosts
    hosts = ", ".join(f"{name} {count}" for name, count in slots.items())
    return [
        f"{tasks} tasks ({comparison.workload}), the same through both dispatchers; slots: {hosts}",
        f"Servers: {comparison.about}.",
        "",
        printing.table(["", *comparison.outcomes], _rows(comparison), width=width),
        "",
        "The original's table of improvements, and what was measured:",
        "",
        printing.table(["", "", *comparison.outcomes], _claims(comparison), width=width),
        "",
        *_NOTES,
        *(f"NOT TO BE TRUSTED: {problem}" for problem in comparison.problems()),
    ]


def _claims(comparison: Comparison) -> list[list[str]]:
    rows = []
    for it in improvements(comparison):
        rows.append([it.aspect, "claimed", it.claimed_threads, it.claimed_async])
        rows.append(["", "measured", it.threads, it.with_async])
    return rows


def _rows(comparison: Comparison) -> list[list[str]]:
    outcomes = list(comparison.outcomes.values())

    def row(name: str, shown: Callable[[Outcome], str]) -> list[str]:
        return [name, *map(shown, outcomes)]

    rows = [
        row("makespan", lambda o: _seconds(o.figures.makespan)),
        row("tasks at once, at most", lambda o: str(o.figures.at_once)),
    ]
    for priority in sorted({p for o in outcomes for p in o.figures.waits}):
        name = f"wait, {priority} {printing.PRIORITY_NAMES.get(priority, '')}: median, p95"
        rows.append(row(name, lambda o, p=priority: _wait(o, p)))  # type: ignore[misc]  # bound now
    for host in comparison.threads.recording.hosts:
        name = f"{host}: slots in use"
        rows.append(row(name, lambda o, h=host: _use(o, h)))  # type: ignore[misc]  # bound now
    return [
        *rows,
        row("all slots in use", lambda o: _percent(o.figures.utilization)),
        row("order inversions", lambda o: f"{o.inversions} in {o.report.starts} starts"),
        row("dispatcher's CPU", lambda o: _seconds(o.cost.cpu_seconds)),
        row("its context switches", lambda o: _count(o.cost.context_switches)),
        row("its memory, at most", lambda o: _megabytes(o.cost.memory_bytes)),
    ]


def _wait(outcome: Outcome, priority: int) -> str:
    waits = outcome.figures.waits.get(priority)
    return "-" if waits is None else f"{_seconds(waits.median)}, {_seconds(waits.p95)}"


def _use(outcome: Outcome, host: str) -> str:
    seen = outcome.figures.hosts.get(host)
    return "-" if seen is None else _percent(seen.utilization)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s" if value >= 1 else f"{value:.2f} s"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _megabytes(value: int | None) -> str:
    return "-" if value is None else f"{value / 2**20:.0f} MB"


def as_json(comparison: Comparison) -> dict[str, Json]:
    """For scripts: all figures, and every run of both."""
    return {
        "workload": comparison.workload,
        "servers": comparison.servers,
        "about": comparison.about,
        "trusted": not comparison.problems(),
        "problems": comparison.problems(),
        **{name: _outcome_json(outcome) for name, outcome in comparison.outcomes.items()},
        "improvements": [row._asdict() for row in improvements(comparison)],
    }


def _outcome_json(outcome: Outcome) -> dict[str, Json]:
    figures, cost = outcome.figures, outcome.cost
    return {
        "accepted": figures.accepted,
        "closed": figures.closed,
        "makespan_seconds": round(figures.makespan, 3),
        "at_once": figures.at_once,
        "utilization": round(figures.utilization, 4),
        "wait_seconds": {
            str(priority): {
                "count": waits.count,
                "median": round(waits.median, 3),
                "p95": round(waits.p95, 3),
            }
            for priority, waits in figures.waits.items()
        },
        "hosts": {
            name: {
                "slots": host.slots,
                "at_once": host.at_once,
                "utilization": round(host.utilization, 4),
                "idle": round(host.idle, 4),
            }
            for name, host in figures.hosts.items()
        },
        "inversions": outcome.inversions,
        "other_findings": outcome.other_findings,
        "starts": outcome.report.starts,
        "cpu_seconds": None if cost.cpu_seconds is None else round(cost.cpu_seconds, 2),
        "context_switches": cost.context_switches,
        "memory_bytes": cost.memory_bytes,
        "runs": _runs_json(outcome.recording),
    }


def _runs_json(recording: Recording) -> Sequence[Json]:
    return [
        {
            "task": run.task,
            "type": run.type,
            "priority": run.priority,
            "host": run.host,
            "slot": run.slot,
            "ready": round(run.ready, 3),
            "started": round(run.started, 3),
            "ended": round(run.ended, 3),
            "outcome": run.outcome,
        }
        for run in recording.runs
    ]

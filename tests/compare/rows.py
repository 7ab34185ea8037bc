"""Journals as they could be: rows of a small fleet, written step by step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from ygg.board import configuration_detail
from ygg.compare.figures import figures_of
from ygg.compare.recording import read_recording
from ygg.compare.report import Comparison, Cost, Outcome
from ygg.findings import FindingKind, Report
from ygg.fleet import Option
from ygg.journal import Event, Kind
from ygg.tasks import Fence, Lane, Rank, Waiting

#: The original's slots.
HOSTS: Final = {"surtr": 2, "fenrir": 3, "skadi": 2}


@dataclass
class Rows:
    """`at` is the wall clock of the rows to come."""

    hosts: dict[str, int] = field(default_factory=lambda: dict(HOSTS))
    rows: list[Event] = field(default_factory=list)
    at: float = 1_700_000_000.0
    waiting: dict[str, Waiting] = field(default_factory=dict)
    running: dict[str, str] = field(default_factory=dict)
    ready: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        routes = {"general": [Option(host, "m") for host in self.hosts]}
        detail = configuration_detail({h: h for h in self.hosts}, self.hosts, routes)
        self.row(Kind.CONFIGURED, detail=detail)

    def row(self, kind: Kind, **more: object) -> None:
        event = Event(position=0, at=self.at, kind=kind, **more)  # type: ignore[arg-type]  # a test's own keywords
        self.rows.append(replace(event, position=len(self.rows) + 1))

    def accept(self, priority: int = 2) -> str:
        number = len(self.waiting)
        name = f"t{number}"
        rank = Rank(True, priority, self.at, number)
        self.waiting[name] = Waiting(name, Lane("general"), rank)
        self.row(Kind.ACCEPTED, task=name, waiting=self.waiting[name])
        self.ready.append(name)
        return name

    def start(self, name: str, host: str) -> None:
        self.ready.remove(name)
        self.running[name] = host
        self.row(
            Kind.STARTED, task=name, host=host, waiting=self.waiting[name], fence=Fence("d", 1)
        )

    def end(self, name: str, kind: Kind = Kind.CLOSED) -> None:
        host = self.running.pop(name)
        waiting = self.waiting[name] if kind is Kind.REOPENED else None
        self.row(kind, task=name, host=host, waiting=waiting, fence=Fence("d", 1))
        if kind is Kind.REOPENED:
            self.ready.append(name)

    def free(self, host: str) -> bool:
        return list(self.running.values()).count(host) < self.hosts[host]

    def ran(self, name: str, host: str, begin: float, end: float, kind: Kind = Kind.CLOSED) -> None:
        """Start and end at these seconds after the fleet was configured."""
        zero = self.rows[0].at
        self.at = zero + begin
        self.start(name, host)
        self.at = zero + end
        self.end(name, kind)


def report(starts: int, counts: dict[FindingKind, int] | None = None) -> Report:
    return Report(
        rows=1, last=1, first_checked=0, accepted=starts, starts=starts, counts=counts or {},
        findings=(),
    )  # fmt: skip


def outcome(rows: Rows, *, inversions: int = 0, cost: Cost | None = None) -> Outcome:
    recording = read_recording(rows.rows)
    return Outcome(
        recording=recording,
        figures=figures_of(recording),
        cost=cost or Cost(cpu_seconds=1.25, context_switches=7000, memory_bytes=50 * 2**20),
        report=report(
            len(recording.runs), {FindingKind.INVERSION: inversions} if inversions else {}
        ),
    )


def comparison() -> Comparison:
    """Four tasks one after another, then two and two at once; one was urgent."""
    slow, fast = Rows(), Rows()
    for rows in (slow, fast):
        for priority in (3, 3, 3, 0):
            rows.accept(priority)
    for number in range(4):
        slow.ran(f"t{number}", "fenrir", 2.0 * number, 2.0 * number + 2.0)
    fast.start("t3", "fenrir")
    fast.start("t0", "fenrir")
    fast.at += 2.0
    fast.end("t3")
    fast.end("t0")
    fast.start("t1", "fenrir")
    fast.start("t2", "fenrir")
    fast.at += 2.0
    fast.end("t1")
    fast.end("t2")
    return Comparison(
        workload="a test", servers="simulated", about="SIMULATED: made up",
        threads=outcome(slow, inversions=3), with_async=outcome(fast),
    )  # fmt: skip

"""From a journal's rows to runs: which task held which slot from when to when. Pure.

Times are seconds after the first accept and never fall from row to row: a wall clock that was set
back must not make a run shorter than nothing. What ran at once is told by the order of the rows,
which is exact, not by times, which may be equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from ygg.journal import ENDS_ATTEMPT, Event, Kind
from ygg.tasks import Waiting

#: What became of a run that no row ended.
RUNNING: Final = "running"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """An attempt, and the slot it held."""

    task: str
    type: str
    priority: int
    host: str
    #: Of the host's slots the least that was free, from 0.
    slot: int
    #: When it became ready: accepted, or back in the backlog.
    ready: float
    started: float
    ended: float
    #: Places of its first and last row in the journal.
    first_row: int
    last_row: int
    #: `closed`, or what else became of it.
    outcome: str

    @property
    def waited(self) -> float:
        return self.started - self.ready

    @property
    def seconds(self) -> float:
        return self.ended - self.started


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """All that a comparison needs to know of a store's history."""

    #: Slots of each host: the most its limit ever was.
    hosts: Mapping[str, int]
    #: In the order in which they started.
    runs: Sequence[Run]
    accepted: int
    #: Seconds from the first accept to the last end of a run.
    makespan: float


@dataclass(slots=True)
class _Open:
    """A run that has not ended yet."""

    event: Event
    waiting: Waiting
    slot: int
    ready: float
    started: float


class _Fold:
    def __init__(self) -> None:
        self.hosts: dict[str, int] = {}
        self.runs: list[Run] = []
        self.accepted = 0
        self.began: float | None = None
        self.now = 0.0
        self.last_end = 0.0
        self.row = 0
        self._ready: dict[str, float] = {}
        self._open: dict[str, _Open] = {}
        self._taken: dict[str, set[int]] = {}

    def take(self, event: Event) -> None:
        self.row = event.position
        if event.kind is Kind.CONFIGURED:
            for host, limit in cast("Mapping[str, int]", event.detail["limits"]).items():
                self._limit(host, limit)
        elif event.kind is Kind.RESIZED:
            self._limit(event.host, cast("int", event.detail["limit"]))
        if not event.task:
            return
        self._tick(event.at)
        if event.kind is Kind.ACCEPTED:
            self.accepted += 1
        elif event.kind is Kind.STARTED:
            self._start(event)
        elif event.kind in ENDS_ATTEMPT and event.task in self._open:
            self._end(event.task, event.kind.value)
        if event.kind in (Kind.ACCEPTED, Kind.REOPENED, Kind.RELEASED):
            self._ready[event.task] = self.now

    def finish(self) -> Recording:
        self.row += 1
        for task in list(self._open):
            self._end(task, RUNNING)
        runs = sorted(self.runs, key=lambda run: run.first_row)
        return Recording(
            hosts=self.hosts, runs=runs, accepted=self.accepted, makespan=self.last_end
        )

    def _limit(self, host: str, limit: int) -> None:
        self.hosts[host] = max(limit, self.hosts.get(host, 0))

    def _tick(self, at: float) -> None:
        if self.began is None:
            self.began = at
        self.now = max(self.now, at - self.began)

    def _start(self, event: Event) -> None:
        assert event.waiting is not None, f"row {event.position} starts a task without a place"
        taken = self._taken.setdefault(event.host, set())
        slot = next(i for i in range(len(taken) + 1) if i not in taken)
        taken.add(slot)
        ready = self._ready.get(event.task, self.now)
        self._open[event.task] = _Open(event, event.waiting, slot, ready, self.now)

    def _end(self, task: str, outcome: str) -> None:
        was = self._open.pop(task)
        host = was.event.host
        self._taken[host].remove(was.slot)
        self.last_end = self.now
        self.runs.append(
            Run(
                task=task, type=was.waiting.lane.type, priority=was.waiting.rank.priority,
                host=host, slot=was.slot, ready=was.ready, started=was.started, ended=self.now,
                first_row=was.event.position, last_row=self.row, outcome=outcome,
            )
        )  # fmt: skip


def read_recording(rows: Iterable[Event]) -> Recording:
    """The runs in a journal, whose hosts share no slots."""
    fold = _Fold()
    for event in rows:
        fold.take(event)
    return fold.finish()

"""The life of each task, as the rows tell it: whether every step was legal, and where it ended.

Kept in the order of commits, as the store does. It remembers open tasks, and two numbers of each
closed one. Whether it was right to start a task is left to hindsight.py.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ygg.findings import FindingKind, Findings
from ygg.journal import DAMAGED, Event, Kind, pack
from ygg.tasks import NEXT, Fence, Held, Outcome, Status, Waiting
from ygg.wire import told_time


class Stored(NamedTuple):
    """What a store says of one of its tasks."""

    task: str
    #: None: that can't be read, `trouble` says why.
    status: Status | None
    outcome: Outcome | None = None
    #: Where its answer is.
    artifact: str | None = None
    #: Its place in the order; None: it is not compared.
    place: Waiting | None = None
    #: Who sent it with which key; None: it has none.
    key: tuple[str, str] | None = None
    trouble: str = ""


class _Life:
    """A task that is not closed."""

    __slots__ = ("attempt", "fence", "held", "last", "status", "stored", "waiting", "whole")

    def __init__(self, event: Event, *, whole: bool) -> None:
        self.status = Status.OPEN
        #: None: not known, its accept was pruned.
        self.waiting: Waiting | None = event.waiting
        self.held: Held | None = event.held
        self.attempt = 0
        self.fence: Fence | None = None
        #: All its rows were seen, from its accept on.
        self.whole = whole
        #: Its last row.
        self.last = event.position
        self.stored = False


class Lives:
    """Feed it all rows by rising position, then `compare` with the store."""

    def __init__(self, findings: Findings) -> None:
        self.accepted = 0
        self._findings = findings
        self._lives: dict[str, _Life] = {}
        self._closed = _Closed()
        #: Who works on the store; None: the rows do not say, "": nobody.
        self._owner: str | None = None
        self._running: set[str] = set()
        #: Tasks that the dispatcher which has just begun must rescue first.
        self._orphans: set[str] = set()
        self._steps: dict[Kind, Callable[[Event], None]] = {
            Kind.ACCEPTED: self._accept,
            Kind.STARTED: self._start,
            Kind.MISSED: self._miss,
            Kind.CLOSED: self._end,
            Kind.BLOCKED: self._end,
            Kind.REOPENED: self._reopen,
            Kind.CANCELLED: self._cancel,
            Kind.PRIORITISED: self._prioritise,
            Kind.EDITED: self._prioritise,
            Kind.HELD: self._hold,
            Kind.RELEASED: self._release,
            Kind.OPENED: self._open,
            Kind.LEFT: self._leave,
        }

    def feed(self, event: Event) -> bool:
        """The next row. False: something was wrong with it."""
        found = self._findings.counts.total()
        if self._orphans and event.reason != "rescue":
            self._complain_of_orphans()
        step = self._steps.get(event.kind)
        if step is not None:
            step(event)
        return self._findings.counts.total() == found

    def compare(self, stored: Iterable[Stored]) -> None:
        """Find what the store, as of the last row, lost or has otherwise than the rows say."""
        self._complain_of_orphans()
        findings = self._findings
        keys: set[int] = set()  # of each eight bytes: there may be millions
        for one in stored:
            if one.key is not None:
                number = hash(one.key)
                if number in keys:
                    message = "another task has its key: one of the two was accepted in vain"
                    findings.add_of_store(FindingKind.DOUBLE_ACCEPT, one.task, message)
                keys.add(number)
            life = self._lives.get(one.task)
            if life is None:
                self._compare_closed(one)
            else:
                self._compare_live(life, one)
        for task, life in self._lives.items():
            if not life.stored:
                message = f"is gone: row {life.last} left it {life.status.value}"
                findings.add_of_store(FindingKind.LOSS, task, message)
        for position in self._closed.unmarked():
            if position > findings.first_checked:
                message = f"the task that row {position} closed is gone"
                findings.add_of_store(FindingKind.LOSS, "", message)

    def _compare_live(self, life: _Life, one: Stored) -> None:
        life.stored = True
        findings = self._findings
        if one.status is None:
            findings.add_of_store(FindingKind.BAD_ROW, one.task, one.trouble)
            return
        if one.status is not life.status:
            message = f"is {one.status.value}: row {life.last} left it {life.status.value}"
            findings.add_of_store(FindingKind.LOSS, one.task, message)
        if None not in (one.place, life.waiting) and one.place != life.waiting:
            assert one.place is not None
            assert life.waiting is not None
            message = f"stands at {_place(one.place)}: the rows put it at {_place(life.waiting)}"
            findings.add_of_store(FindingKind.WRONG_PLACE, one.task, message)

    def _compare_closed(self, one: Stored) -> None:
        """A task of the store that the rows closed, or do not know."""
        findings = self._findings
        position = self._closed.mark(one.task)
        if one.status is None:
            findings.add_of_store(FindingKind.BAD_ROW, one.task, one.trouble)
        elif position is not None:
            if one.status is not Status.CLOSED:
                message = f"is {one.status.value}: row {position} closed it"
                findings.add_of_store(FindingKind.LOSS, one.task, message)
        elif not (one.status is Status.CLOSED and findings.first_checked):
            message = f"is {one.status.value}, but no row accepted it"
            findings.add_of_store(FindingKind.UNKNOWN_TASK, one.task, message)
        cancelled = one.outcome is Outcome.CANCELLED
        if one.status is Status.CLOSED and not cancelled and not one.artifact:
            message = "is done, but where its answer is is recorded nowhere"
            findings.add_of_store(FindingKind.NO_ANSWER, one.task, message)

    # -- from step to step -----------------------------------------------------------------

    def _accept(self, event: Event) -> None:
        self.accepted += 1
        if event.task in self._lives or self._closed.position(event.task) is not None:
            self._findings.add(FindingKind.DOUBLE_ACCEPT, event, "was accepted before")
            return
        if event.waiting is None:
            self._findings.add(FindingKind.BAD_ROW, event, "was accepted without its place")
        self._lives[event.task] = _Life(event, whole=True)

    def _start(self, event: Event) -> None:
        life = self._life(event)
        if life is None:
            return
        self._check_place(life, event)
        if life.status is Status.IN_PROGRESS:
            message = f"started while {life.fence} ran it"
            self._findings.add(FindingKind.DOUBLE_START, event, message)
        elif Status.IN_PROGRESS not in NEXT[life.status]:
            message = f"is {life.status.value}: it can't become in_progress"
            self._findings.add(FindingKind.ILLEGAL_MOVE, event, message)
        elif life.held is not None:
            message = f"started although it was held ({life.held.value})"
            self._findings.add(FindingKind.ILLEGAL_MOVE, event, message)
        self._check_attempt(life, event)
        life.held = None
        life.fence = event.fence
        life.attempt = event.fence.attempt if event.fence else life.attempt + 1
        self._move(life, event, Status.IN_PROGRESS)

    def _check_attempt(self, life: _Life, event: Event) -> None:
        fence = event.fence
        if fence is None:
            self._findings.add(FindingKind.BAD_ROW, event, "started without a fence")
            return
        if fence.attempt <= life.attempt or (life.whole and fence.attempt != life.attempt + 1):
            message = f"its attempt {fence.attempt} comes after attempt {life.attempt}"
            self._findings.add(FindingKind.BAD_ATTEMPT, event, message)
        if self._owner is not None and fence.owner != self._owner:
            message = f"was started by {fence.owner}: the store was {self._owner or 'nobody'}'s"
            self._findings.add(FindingKind.STALE_FENCE, event, message)

    def _miss(self, event: Event) -> None:
        """A start that found its task gone, or unreadable: nothing changes."""
        life = self._lives.get(event.task)
        if life is None:
            if self._closed.position(event.task) is None:
                self._may_be_pruned(event)
        elif life.status is Status.OPEN and life.held is None and event.reason != DAMAGED:
            message = "was missed, but it was open and not held"
            self._findings.add(FindingKind.ILLEGAL_MOVE, event, message)

    def _end(self, event: Event) -> None:
        life = self._life(event)
        if life is not None:
            status = Status.CLOSED if event.kind is Kind.CLOSED else Status.BLOCKED
            self._check_end(life, event, status)
            self._move(life, event, status)

    def _check_end(self, life: _Life, event: Event, status: Status) -> None:
        """Only who runs a task may end its attempt."""
        if life.status is not Status.IN_PROGRESS:
            message = f"is {life.status.value}: no attempt can make it {status.value}"
            self._findings.add(FindingKind.ILLEGAL_MOVE, event, message)
        elif event.fence != life.fence:
            message = f"is run by {life.fence}, but {event.fence} made it {status.value}"
            self._findings.add(FindingKind.STALE_FENCE, event, message)

    def _reopen(self, event: Event) -> None:
        life = self._life(event)
        if life is None:
            return
        if life.status is not Status.BLOCKED or event.reason != "retry":
            self._check_end(life, event, Status.OPEN)
        self._check_place(life, event)
        life.held = event.held
        self._move(life, event, Status.OPEN)

    def _cancel(self, event: Event) -> None:
        life = self._life(event)
        if life is None:
            return
        if life.status is Status.IN_PROGRESS or event.fence is not None:
            self._check_end(life, event, Status.CLOSED)
        elif life.status is Status.OPEN:
            self._check_place(life, event)
            self._check_held(life, event)
        elif event.waiting is not None and life.whole:
            message = "is blocked: it waits nowhere, as this row has it"
            self._findings.add(FindingKind.WRONG_PLACE, event, message)
        self._move(life, event, Status.CLOSED)

    def _prioritise(self, event: Event) -> None:
        life = self._open_life(event)
        if life is None:
            return
        self._check_held(life, event)
        before, now = event.detail.get("before"), event.waiting
        if not isinstance(before, list | tuple) or now is None:
            self._findings.add(
                FindingKind.BAD_ROW, event, "was moved: the row lacks its two places"
            )
            return
        old = life.waiting
        if old is not None and (list(before) != pack(old) or _fixed(now) != _fixed(old)):
            message = f"stood at {_place(old)}; it can't be moved from {before} to {_place(now)}"
            self._findings.add(FindingKind.WRONG_PLACE, event, message)
        life.waiting = now

    def _hold(self, event: Event) -> None:
        life = self._open_life(event)
        if life is not None:
            if event.waiting is not None or life.held is None:
                self._check_place(life, event)
            life.held = event.held or Held.BY_HAND

    def _release(self, event: Event) -> None:
        life = self._open_life(event)
        if life is not None:
            self._check_place(life, event)
            if life.held is None and life.whole:
                message = "was released, but nothing held it"
                self._findings.add(FindingKind.ILLEGAL_MOVE, event, message)
            life.held = event.held

    # -- what steps have in common ---------------------------------------------------------

    def _life(self, event: Event) -> _Life | None:
        """The task's life; None, and said so, when it has none."""
        life = self._lives.get(event.task)
        if life is not None:
            life.last = event.position
            return life
        closed = self._closed.position(event.task)
        if closed is not None:
            message = f"was closed by row {closed}: it can't be {event.kind.value} any more"
            self._findings.add(FindingKind.ILLEGAL_MOVE, event, message)
        elif self._may_be_pruned(event):
            life = self._lives[event.task] = _Life(event, whole=False)
        return life

    def _may_be_pruned(self, event: Event) -> bool:
        if event.position <= self._findings.first_checked:
            return True
        message = f"is {event.kind.value}, but no row accepted it"
        self._findings.add(FindingKind.UNKNOWN_TASK, event, message)
        return False

    def _open_life(self, event: Event) -> _Life | None:
        """For a step that only an open task may take."""
        life = self._life(event)
        if life is not None and life.status is not Status.OPEN:
            message = f"is {life.status.value}: only an open task can be {event.kind.value}"
            self._findings.add(FindingKind.ILLEGAL_MOVE, event, message)
        return life

    def _move(self, life: _Life, event: Event, status: Status) -> None:
        life.status = status
        if status is Status.IN_PROGRESS:
            self._running.add(event.task)
            return
        self._running.discard(event.task)
        self._orphans.discard(event.task)
        if status is Status.CLOSED:
            del self._lives[event.task]
            self._closed.add(event.task, event.position)

    def _check_place(self, life: _Life, event: Event) -> None:
        now = event.waiting
        if life.waiting is not None and now != life.waiting:
            place = "no place" if now is None else _place(now)
            message = f"stood at {_place(life.waiting)}, but this row puts it at {place}"
            self._findings.add(FindingKind.WRONG_PLACE, event, message)
        life.waiting = now or life.waiting

    def _check_held(self, life: _Life, event: Event) -> None:
        """Whether it was held, not by what: a hold of a held task needs no row."""
        if life.whole and (event.held is None) is not (life.held is None):
            message = f"was held by {life.held}, but this row says {event.held}"
            self._findings.add(FindingKind.WRONG_PLACE, event, message)

    # -- dispatchers -----------------------------------------------------------------------

    def _open(self, event: Event) -> None:
        self._owner = event.fence.owner if event.fence else None
        self._orphans = set(self._running)

    def _leave(self, _: Event) -> None:
        self._owner = ""

    def _complain_of_orphans(self) -> None:
        for task in sorted(self._orphans):
            message = f"runs since row {self._lives[task].last}: its dispatcher is gone, the next "
            message += "one did not rescue it"
            self._findings.add_of_store(FindingKind.NOT_RESCUED, task, message)
        self._orphans = set()


def _fixed(waiting: Waiting) -> tuple[object, ...]:
    """What no change of priority may touch."""
    return waiting.id, waiting.lane, waiting.rank.created_at, waiting.rank.sequence


class _Closed:
    """Which tasks the rows closed, and where: two numbers a task in place of hundreds of bytes.

    Two ids may share a number, with a chance of about 3 in a million among ten million tasks:
    that would show as a finding which names the other one's row.
    """

    def __init__(self) -> None:
        self._numbers = array("Q", bytes(8 * 1024))
        #: Positions; below 0 once the store was found to hold the task.
        self._positions = array("q", bytes(8 * 1024))
        self._used = 0

    def add(self, task: str, position: int) -> None:
        self._put(_number(task), position)
        if 2 * self._used > len(self._numbers):
            full = zip(self._numbers, self._positions, strict=True)
            size = 16 * len(self._numbers)
            self._numbers, self._positions = array("Q", bytes(size)), array("q", bytes(size))
            self._used = 0
            for number, kept in full:
                if number:
                    self._put(number, kept)

    def position(self, task: str) -> int | None:
        return self._positions[self._slot(_number(task))] or None

    def mark(self, task: str) -> int | None:
        """The store holds it. The row that closed it; None: none did."""
        slot = self._slot(_number(task))
        position = abs(self._positions[slot])
        self._positions[slot] = -position
        return position or None

    def unmarked(self) -> Iterator[int]:
        return (position for position in self._positions if position > 0)

    def _put(self, number: int, position: int) -> None:
        slot = self._slot(number)
        self._used += not self._numbers[slot]
        self._numbers[slot], self._positions[slot] = number, position

    def _slot(self, number: int) -> int:
        """Where it is, or would be: the next one is looked at while another number is there."""
        mask = len(self._numbers) - 1
        slot = number & mask
        while self._numbers[slot] not in (0, number):
            slot = (slot + 1) & mask
        return slot


def _number(task: str) -> int:
    return hash(task) & (1 << 64) - 1 or 1


def _place(waiting: Waiting) -> str:
    """For people: all of it, for any part may be what is wrong."""
    lane, rank = waiting.lane, waiting.rank
    model = f" with the model {lane.model}" if lane.model else ""
    first = "" if rank.not_next else "next, "
    return (f"{first}priority {rank.priority} of {lane.type}{model}, created at "
            f"{told_time(rank.created_at)}, number {rank.sequence}")  # fmt: skip

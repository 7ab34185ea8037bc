"""The checker against histories made by a scheduler that is slow and obviously right.

The scheduler works out what it sees from all rows, anew for each decision. What it makes must
pass, and a row changed behind its back must be found wherever it is bound to show:

- dropped: ACCEPTED, STARTED and every row that ends an attempt or a task's wait (CLOSED, BLOCKED,
  REOPENED, CANCELLED);
- written twice: the same kinds;
- two starts with their tasks swapped; a start on another option; a limit of 0 under a start;
- `seen` below that of the start before, or not before its own row;
- an end under another fence; an accept at another place than the next row has it;
- a task that the store lost, made up, or has in another status.

Not bound to show: a limit that rises, a dropped HOST, HELD or RELEASED row, a dropped MISSED:
they show only if a later decision hung on them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ygg import lives
from ygg.checker import Checker
from ygg.findings import Report
from ygg.journal import Event, Kind, pack
from ygg.tasks import Fence, Held, Json, Lane, Rank, Status, Waiting

pytestmark = pytest.mark.pure

Option = tuple[str, str]


@dataclass(frozen=True)
class Setup:
    shares: Mapping[str, str]
    routes: Mapping[str, Sequence[Option]]


_PICK = [("a", "small"), ("b", "small"), ("c", "large")]
SETUPS = [
    Setup(
        {"a": "a", "b": "b", "c": "c"},
        {"code": [("a", ""), ("b", "")], "chat": [("b", ""), ("c", "")], "pick": _PICK},
    ),
    Setup(
        {"a": "a", "b": "b", "c": "b"},
        {"code": [("b", ""), ("a", "")], "chat": [("c", ""), ("b", "")], "pick": _PICK[::-1]},
    ),
    # A host that goes away stays away until the next dispatcher.
    Setup(
        {"a": "a", "b": "b"},
        {"code": [("a", ""), ("b", "")], "chat": [("b", "")], "pick": _PICK[:2]},
    ),
]
MODES = ["up", "up", "up", "trial", "down", "resting"]


@dataclass
class Decision:
    """A start that was decided; its slot is taken until the dispatcher sees the end."""

    task: str
    option: Option
    seen: int
    ended_at: int | None = None

    def holds(self, seen: int) -> bool:
        return self.ended_at is None or self.ended_at > seen


@dataclass
class Stored:
    waiting: Waiting
    held: Held | None
    status: Status = Status.OPEN
    attempt: int = 0
    decision: Decision | None = None


@dataclass
class View:
    """What a dispatcher makes of the rows up to a position."""

    ready: dict[str, Waiting]
    limits: dict[str, int]
    cards: dict[str, str]
    listed: set[str]
    routes: dict[str, list[Option]]
    modes: dict[str, str]
    option_modes: dict[Option, str]
    paused: set[str]


def view_of(rows: Sequence[Event], seen: int) -> View:
    view = View({}, {}, {}, set(), {}, {}, {}, set())
    for row in rows:
        if row.position > seen:
            break
        match row.kind:
            case Kind.ACCEPTED | Kind.RELEASED | Kind.REOPENED if row.held is None:
                assert row.waiting is not None
                view.ready[row.task] = row.waiting
            case Kind.PRIORITISED if row.task in view.ready:
                assert row.waiting is not None
                view.ready[row.task] = row.waiting
            case Kind.STARTED | Kind.HELD | Kind.CANCELLED:
                view.ready.pop(row.task, None)
            case Kind.OPENED:
                view = View(view.ready, {}, {}, set(), {}, {}, {}, set())
            case Kind.CONFIGURED:
                semaphores, limits, routes = (
                    row.detail[key] for key in ("semaphores", "limits", "routes")
                )
                assert isinstance(semaphores, dict)
                assert isinstance(limits, dict)
                assert isinstance(routes, dict)
                view.cards |= semaphores
                view.listed = set(semaphores)
                view.limits = dict(limits)
                view.routes = {t: [(h, m) for h, m in route] for t, route in routes.items()}
            case Kind.RESIZED if row.host in view.limits:
                limit = row.detail["limit"]
                assert isinstance(limit, int)
                view.limits[row.host] = limit
            case Kind.PAUSED if row.host in view.listed:
                view.paused.add(row.host)
            case Kind.RESUMED:
                view.paused.discard(row.host)
            case Kind.HOST if row.host in view.listed:
                view.modes[row.host] = str(row.detail["mode"])
            case Kind.OPTION if row.host in view.listed:
                view.option_modes[row.host, row.model] = str(row.detail["mode"])
    return view


class Scheduler:
    """A store and its dispatcher, with the time that commits and news of them take."""

    def __init__(self) -> None:
        self.rows: list[Event] = []
        self.tasks: dict[str, Stored] = {}
        self.decisions: list[Decision] = []
        self.claims: list[Decision] = []
        self.seen = 0
        self.starts = 0
        self.openings = 0
        self.setup = 0
        self.restart(0, 0)

    # -- the store ---------------------------------------------------------------------------

    def row(self, kind: Kind, **fields: object) -> int:
        # Steps of two leave room to slip a row in between.
        position = self.rows[-1].position + 2 if self.rows else 1
        event = replace(Event(position=position, at=0.0, kind=kind), **fields)  # type: ignore[arg-type] # named as Event's
        self.rows.append(event)
        return position

    def pick(self, number: int, wanted: Callable[[Stored], bool]) -> Stored | None:
        found = [task for task in self.tasks.values() if wanted(task)]
        return found[number % len(found)] if found else None

    def accept(self, a: int, b: int) -> None:
        number = len(self.tasks)
        kind = ["code", "chat", "pick"][a % 3]
        model = ["", "small", "large"][b % 3] if kind == "pick" else ""
        held = {0: Held.BY_HAND, 1: Held.NOT_BEFORE}.get((a + b) % 10)
        rank = Rank(True, b % 5, float(a % 4), number)
        task = Stored(Waiting(f"t{number}", Lane(kind, model), rank), held)
        self.tasks[task.waiting.id] = task
        self.row(Kind.ACCEPTED, task=task.waiting.id, waiting=task.waiting, held=held)

    def claim(self, a: int, b: int) -> None:
        if not self.claims:
            return
        decision = self.claims.pop(0)
        self.starts += 1
        task = self.tasks[decision.task]
        fields: dict[str, object] = {
            "task": decision.task,
            "host": decision.option[0],
            "model": decision.option[1],
            "seen": decision.seen,
            "waiting": task.waiting,
        }
        if task.status is not Status.OPEN or task.held is not None:
            decision.ended_at = self.row(Kind.MISSED, **fields)
            return
        task.status = Status.IN_PROGRESS
        task.attempt += 1
        task.decision = decision
        self.row(Kind.STARTED, fence=self.fence(task), **fields)

    def fence(self, task: Stored) -> Fence:
        return Fence(f"d{self.openings}", task.attempt)

    def end(self, a: int, b: int) -> None:
        task = self.pick(a, lambda t: t.status is Status.IN_PROGRESS)
        if task is not None:
            kind = [Kind.CLOSED, Kind.BLOCKED, Kind.REOPENED, Kind.CANCELLED][b % 4]
            self.end_as(task, kind, "")

    def end_as(self, task: Stored, kind: Kind, reason: str) -> None:
        assert task.decision is not None
        after = {Kind.BLOCKED: Status.BLOCKED, Kind.REOPENED: Status.OPEN}
        task.status = after.get(kind, Status.CLOSED)
        place = task.waiting if kind is Kind.REOPENED else None
        task.decision.ended_at = self.row(
            kind, task=task.waiting.id, fence=self.fence(task), waiting=place, reason=reason
        )

    def cancel(self, a: int, b: int) -> None:
        task = self.pick(a, lambda t: t.status in (Status.OPEN, Status.BLOCKED))
        if task is not None:
            place = task.waiting if task.status is Status.OPEN else None
            task.status = Status.CLOSED
            self.row(Kind.CANCELLED, task=task.waiting.id, waiting=place, held=task.held)
            task.held = None

    def retry(self, a: int, b: int) -> None:
        task = self.pick(a, lambda t: t.status is Status.BLOCKED)
        if task is not None:
            task.status = Status.OPEN
            task.held = None if b % 3 else Held.NOT_BEFORE
            waiting = task.waiting
            self.row(
                Kind.REOPENED, task=waiting.id, waiting=waiting, held=task.held, reason="retry"
            )

    def hold(self, a: int, b: int) -> None:
        task = self.pick(a, lambda t: t.status is Status.OPEN and t.held is not Held.BY_HAND)
        if task is not None:
            place = task.waiting if task.held is None or b % 2 else None
            task.held = Held.BY_HAND
            self.row(Kind.HELD, task=task.waiting.id, waiting=place, held=task.held)

    def release(self, a: int, b: int) -> None:
        task = self.pick(a, lambda t: t.status is Status.OPEN and t.held is not None)
        if task is not None:
            still = Held.NOT_BEFORE if task.held is Held.BY_HAND and b % 4 == 0 else None
            task.held = still
            self.row(Kind.RELEASED, task=task.waiting.id, waiting=task.waiting, held=still)

    def prioritise(self, a: int, b: int) -> None:
        task = self.pick(a, lambda t: t.status is Status.OPEN)
        if task is not None:
            detail: dict[str, Json] = {"before": pack(task.waiting)}
            rank = task.waiting.rank._replace(priority=b % 5, not_next=b % 3 != 0)
            task.waiting = task.waiting._replace(rank=rank)
            self.row(
                Kind.PRIORITISED,
                task=task.waiting.id,
                waiting=task.waiting,
                held=task.held,
                detail=detail,
            )

    def resize(self, a: int, b: int) -> None:
        self.row(Kind.RESIZED, host="abc"[a % 3], detail={"limit": b % 4})

    def pause(self, a: int, b: int) -> None:
        self.row(Kind.PAUSED if b % 3 == 0 else Kind.RESUMED, host="abc"[a % 3], reason="person")

    def health(self, a: int, b: int) -> None:
        self.row(Kind.HOST, host="abc"[a % 3], detail={"mode": MODES[b % len(MODES)]})

    def option(self, a: int, b: int) -> None:
        model, mode = ["", "small", "large"][b % 3], MODES[(a + b) % len(MODES)]
        self.row(Kind.OPTION, host="abc"[a % 3], model=model, detail={"mode": mode})

    def mend(self, a: int, b: int) -> None:
        """All is well with a host again."""
        host = "abc"[a % 3]
        self.row(Kind.HOST, host=host, detail={"mode": "up"})
        self.row(Kind.RESUMED, host=host)
        for model in ("", "small", "large"):
            self.row(Kind.OPTION, host=host, model=model, detail={"mode": "up"})

    def reload(self, a: int, b: int) -> None:
        if self.setup != 2:
            self.setup = a % 3
        setup = SETUPS[self.setup]
        limits = {name: 1 + (b + i) % 3 for i, name in enumerate(sorted(setup.shares.values()))}
        detail: dict[str, Json] = {
            "semaphores": dict(setup.shares),
            "limits": limits,
            "routes": {name: [list(o) for o in route] for name, route in setup.routes.items()},
        }
        self.row(Kind.CONFIGURED, detail=detail)

    def restart(self, a: int, b: int) -> None:
        """The dispatcher dies with what it had decided; the next one begins."""
        running = [t for t in self.tasks.values() if t.status is Status.IN_PROGRESS]
        self.row(Kind.OPENED, fence=Fence(f"d{self.openings + 1}", 0))
        for task in running:
            kind = Kind.REOPENED if (a + task.attempt) % 3 else Kind.BLOCKED
            self.end_as(task, kind, "rescue")
        self.openings += 1
        self.setup = 0
        self.decisions, self.claims = [], []
        self.seen = self.rows[-1].position
        self.reload(a, b)
        for host in range(a % 3, 3):
            self.mend(host, 0)

    # -- the dispatcher ----------------------------------------------------------------------

    def deliver(self, a: int, b: int) -> None:
        """News of some more rows, and all starts that follow from them."""
        news = [row.position for row in self.rows if row.position > self.seen]
        if news:
            self.seen = news[-1] if b % 2 else news[a % len(news)]
        while self.decide():
            pass

    def decide(self) -> bool:
        view = view_of(self.rows, self.seen)
        held = [d for d in self.decisions if d.holds(self.seen)]
        taken = {d.task for d in held}
        ready = [w for task, w in view.ready.items() if task not in taken]
        for waiting in sorted(ready, key=lambda w: (*w.rank,)):
            for option in view.routes.get(waiting.lane.type, []):
                fits = waiting.lane.model in ("", option[1])
                if fits and self.is_free(view, held, option):
                    decision = Decision(waiting.id, option, self.seen)
                    self.decisions.append(decision)
                    self.claims.append(decision)
                    return True
        return False

    def is_free(self, view: View, held: Sequence[Decision], option: Option) -> bool:
        host, _ = option
        if host not in view.listed or host in view.paused:
            return False
        card = view.cards[host]
        on_card = sum(view.cards[d.option[0]] == card for d in held)
        on_host = sum(d.option[0] == host for d in held)
        on_option = sum(d.option == option for d in held)
        mode = view.modes.get(host, "down")
        option_mode = view.option_modes.get(option, "up")
        return (
            on_card < view.limits[card]
            and (mode == "up" or (mode == "trial" and on_host == 0))
            and (option_mode == "up" or (option_mode == "trial" and on_option == 0))
        )

    def stored(self) -> dict[str, Status]:
        return {name: task.status for name, task in self.tasks.items()}


#: Named as the scheduler's methods; what moves things along comes more often.
STEPS = (
    ["accept"] * 8 + ["deliver"] * 10 + ["claim"] * 10 + ["end"] * 8 + ["cancel", "retry", "hold"]
    + ["release", "prioritise", "resize", "pause", "health", "option", "reload"]
    + ["mend"] * 2 + ["restart"]
)  # fmt: skip
Program = Sequence[tuple[str, int, int]]
PROGRAMS = st.lists(
    st.tuples(st.sampled_from(STEPS), st.integers(0, 59), st.integers(0, 59)), max_size=80
)


def run(program: Program) -> Scheduler:
    scheduler = Scheduler()
    for step, a, b in program:
        getattr(scheduler, step)(a, b)
    return scheduler


def check(rows: Sequence[Event], stored: Mapping[str, Status]) -> Report:
    checker = Checker()
    for row in rows:
        checker.feed(row)
    return checker.finish(
        lives.Stored(task, status, artifact="a") for task, status in stored.items()
    )


@given(PROGRAMS)
def test_a_right_history_is_clean(program: Program) -> None:
    scheduler = run(program)
    report = check(scheduler.rows, scheduler.stored())
    assert report.clean, "\n".join(report.lines())
    assert report.starts == scheduler.starts
    assert report.accepted == len(scheduler.tasks)


def long_history(seed: int, steps: int = 1000) -> Scheduler:
    chance = random.Random(seed)
    return run(
        [(chance.choice(STEPS), chance.randrange(60), chance.randrange(60)) for _ in range(steps)]
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_long_right_history_is_clean(seed: int) -> None:
    scheduler = long_history(seed)
    report = check(scheduler.rows, scheduler.stored())
    assert report.clean, "\n".join(report.lines())
    # Else this would prove nothing.
    assert report.starts > 50
    assert {row.kind for row in scheduler.rows} >= {Kind.MISSED, Kind.OPENED, Kind.HELD}


# -- rows changed behind the scheduler's back --------------------------------------------------

HISTORIES = st.integers(0, 10_000).map(lambda seed: long_history(seed, 120))
TELLING = (
    Kind.ACCEPTED, Kind.STARTED, Kind.CLOSED, Kind.BLOCKED, Kind.REOPENED, Kind.CANCELLED,
)  # fmt: skip


def which(draw: st.DataObject, rows: Sequence[Event], *kinds: Kind) -> int:
    """The index of some row of these kinds."""
    found = [index for index, row in enumerate(rows) if row.kind in kinds]
    assume(found)
    return draw.draw(st.sampled_from(found))


@given(HISTORIES, st.data())
def test_a_dropped_row_is_found(scheduler: Scheduler, draw: st.DataObject) -> None:
    rows = scheduler.rows
    del rows[which(draw, rows, *TELLING)]
    assert not check(rows, scheduler.stored()).clean


@given(HISTORIES, st.data())
def test_a_row_written_twice_is_found(scheduler: Scheduler, draw: st.DataObject) -> None:
    rows = scheduler.rows
    index = which(draw, rows, *TELLING)
    again = replace(rows[index], position=rows[index].position + 1)
    assert not check([*rows[: index + 1], again, *rows[index + 1 :]], scheduler.stored()).clean


@given(HISTORIES, st.data())
def test_starts_with_their_tasks_swapped_are_found(
    scheduler: Scheduler, draw: st.DataObject
) -> None:
    rows = scheduler.rows
    one = which(draw, rows, Kind.STARTED)
    other = which(draw, rows, Kind.STARTED)
    first, second = rows[one], rows[other]
    assume(first.task != second.task)
    rows[one] = replace(first, task=second.task, fence=second.fence, waiting=second.waiting)
    rows[other] = replace(second, task=first.task, fence=first.fence, waiting=first.waiting)
    assert not check(rows, scheduler.stored()).clean


@given(HISTORIES, st.data(), st.sampled_from("abcd"), st.sampled_from(["", "small", "large"]))
def test_a_start_elsewhere_is_found(
    scheduler: Scheduler, draw: st.DataObject, host: str, model: str
) -> None:
    rows = scheduler.rows
    index = which(draw, rows, Kind.STARTED, Kind.MISSED)
    assume((rows[index].host, rows[index].model) != (host, model))
    rows[index] = replace(rows[index], host=host, model=model)
    counts = check(rows, scheduler.stored()).counts
    assert {kind.value for kind in counts} & {"bad_host", "limit_break", "wrong_option"}


@given(HISTORIES, st.data())
def test_a_start_above_the_limit_is_found(scheduler: Scheduler, draw: st.DataObject) -> None:
    rows = scheduler.rows
    start = rows[which(draw, rows, Kind.STARTED, Kind.MISSED)]
    card = view_of(rows, start.seen).cards[start.host]
    limiting = [
        index
        for index, row in enumerate(rows)
        if row.position <= start.seen
        and (row.kind is Kind.CONFIGURED or (row.kind is Kind.RESIZED and row.host == card))
    ]
    index = limiting[-1]
    detail: dict[str, Json] = {"limit": 0}
    if rows[index].kind is Kind.CONFIGURED:
        limits = rows[index].detail["limits"]
        assert isinstance(limits, dict)
        detail = {**rows[index].detail, "limits": {**limits, card: 0}}
    rows[index] = replace(rows[index], detail=detail)
    report = check(rows, scheduler.stored())
    assert "limit_break" in {kind.value for kind in report.counts}


@given(HISTORIES, st.data(), st.booleans())
def test_a_wrong_seen_is_found(scheduler: Scheduler, draw: st.DataObject, early: bool) -> None:
    rows = scheduler.rows
    index = which(draw, rows, Kind.STARTED, Kind.MISSED)
    before = [r for r in rows[:index] if r.kind in (Kind.STARTED, Kind.MISSED, Kind.OPENED)]
    least = max(row.position if row.kind is Kind.OPENED else row.seen for row in before)
    rows[index] = replace(rows[index], seen=least - 1 if early else rows[index].position)
    report = check(rows, scheduler.stored())
    assert "bad_seen" in {kind.value for kind in report.counts}


@given(HISTORIES, st.data(), st.sampled_from([("d0", 0), ("", 1), ("", -1)]))
def test_an_end_under_another_fence_is_found(
    scheduler: Scheduler, draw: st.DataObject, change: tuple[str, int]
) -> None:
    rows = scheduler.rows
    index = which(draw, rows, Kind.CLOSED, Kind.BLOCKED, Kind.REOPENED, Kind.CANCELLED)
    fence = rows[index].fence
    assume(fence is not None)
    assert fence is not None
    owner, more = change
    rows[index] = replace(rows[index], fence=Fence(owner or fence.owner, fence.attempt + more))
    report = check(rows, scheduler.stored())
    assert "stale_fence" in {kind.value for kind in report.counts}


@given(HISTORIES, st.data())
def test_an_accept_at_another_place_is_found(scheduler: Scheduler, draw: st.DataObject) -> None:
    rows = scheduler.rows
    index = which(draw, rows, Kind.ACCEPTED)
    waiting = rows[index].waiting
    assert waiting is not None
    gone = {Kind.MISSED}
    assume(
        any(
            row.task == waiting.id and row.waiting is not None and row.kind not in gone
            for row in rows[index + 1 :]
        )
    )
    moved = waiting._replace(rank=waiting.rank._replace(created_at=77.0))
    rows[index] = replace(rows[index], waiting=moved)
    report = check(rows, scheduler.stored())
    assert "wrong_place" in {kind.value for kind in report.counts}


@given(HISTORIES, st.data(), st.sampled_from([None, *Status]))
def test_a_store_that_differs_is_found(
    scheduler: Scheduler, draw: st.DataObject, status: Status | None
) -> None:
    stored = scheduler.stored()
    assume(stored)
    task = draw.draw(st.sampled_from(sorted(stored)))
    assume(stored[task] is not status)
    if status is None:
        del stored[task]
    else:
        stored[task] = status
    assert {kind.value for kind in check(scheduler.rows, stored).counts} == {"loss"}
    made_up = {**scheduler.stored(), "made-up": Status.CLOSED}
    counts = check(scheduler.rows, made_up).counts
    assert {kind.value for kind in counts} == {"unknown_task"}

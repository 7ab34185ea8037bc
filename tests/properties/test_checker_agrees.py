"""What store, board and `assign` do together, judged by the checker: every history is clean.

The operations are the real ones over tables in memory, so are board and `assign`. Around them is
what makes life hard: rows reach the board late, pages come late, claims are written late, in vain
or never, dispatchers die. The checker shares no code with them, so that the two can't agree on
the same mistake; the broken variants below show that it would have found one.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pytest

from ygg.assignment import Start, assign
from ygg.board import Board, LaneState, OptionState, configuration_detail
from ygg.checker import Checker
from ygg.findings import FindingKind, Report
from ygg.fleet import Option
from ygg.journal import Event, Kind, Note
from ygg.lives import Stored
from ygg.slots import Slots
from ygg.stores.memory import MemoryTables
from ygg.stores.operations import Operations
from ygg.tasks import Draft, Fence, Held, Json, Outcome, Rank, Status, Task, Waiting

pytestmark = pytest.mark.pure

SEEDS: Final = range(40)
STEPS: Final = 400
HOSTS: Final = ("a", "b", "c")

Assign = Callable[[Board], list[Start]]


@dataclass(frozen=True)
class Reload:
    """What hosts.yaml says from here on: of each host its card, of each type its route."""

    cards: Mapping[str, str]
    routes: Mapping[str, Sequence[Option]]


#: Type chat has a handler of its own.
CHAT: Final = (Option("b", "", "chat"), Option("c", "", "chat"))
RELOADS: Final = (
    Reload(
        {"a": "a", "b": "b", "c": "c"},
        {
            "code": [Option("a"), Option("b")],
            "chat": [*CHAT],
            "pick": [Option("a", "s"), Option("c", "l")],
        },
    ),
    # b and c on one card.
    Reload(
        {"a": "a", "b": "b", "c": "b"},
        {
            "code": [Option("b"), Option("a")],
            "chat": [*reversed(CHAT)],
            "pick": [Option("c", "l"), Option("a", "s")],
        },
    ),
    # c is gone, and with it the only option that has the model l.
    Reload(
        {"a": "a", "b": "b"},
        {"code": [Option("b"), Option("a")], "chat": [CHAT[0]], "pick": [Option("a", "s")]},
    ),
)


@dataclass(kw_only=True)
class Read:
    """A page that was asked for; `page` and `position` once the store has looked."""

    lane: LaneState
    after: Rank
    limit: int
    page: Sequence[Waiting] | None = None
    position: int = 0


@dataclass
class Life:
    """What one start of a dispatcher knows; gone with it."""

    board: Board = field(default_factory=Board)
    #: Committed rows that the board has not heard of.
    news: deque[Event] = field(default_factory=deque)
    #: Decided starts whose claims are not written yet, in order.
    claims: deque[Start] = field(default_factory=deque)
    reads: list[Read] = field(default_factory=list)
    running: dict[str, Fence] = field(default_factory=dict)


class Story:
    """A store's life under several dispatchers, one after the other."""

    def __init__(
        self, seed: int, *, assign: Assign = assign, tables: MemoryTables | None = None
    ) -> None:
        self.chance = random.Random(seed)
        self.assign = assign
        self.tables = tables or MemoryTables()
        self.now = 0.0
        self.lives = 0
        self.ops = Operations(self.tables)
        self.life = Life()
        #: How often what this is for came about, by name.
        self.reached: Counter[str] = Counter()
        self.open()

    def run(self, steps: int = STEPS) -> Report:
        usual = [self.add, self.rows_come, self.claim_is_written, self.attempt_ends]
        now_and_then = [
            self.cancel, self.retry, self.hold, self.release, self.prioritise, self.time_comes,
            self.edit, self.withdraw, self.source_hears,
            self.resize, self.pause, self.all_well, self.host_is, self.option_is, self.reload,
            self.store_looks, self.page_comes, self.page_fails, self.claims_fail,
        ]  # fmt: skip
        for _ in range(steps):
            self.now += 1.0
            if self.chance.random() < 0.005:
                self.open()
            else:
                self.chance.choice(usual * 8 + now_and_then)()
        return self.judged()

    def judged(self) -> Report:
        checker = Checker()
        for row in self.tables.rows:
            checker.feed(row)
        return checker.finish(
            Stored(t.id, t.status, t.outcome, t.artifact, t.waiting)
            for t in self.tables.tasks.values()
        )

    # -- a dispatcher ----------------------------------------------------------------------

    def open(self) -> None:
        """A dispatcher begins. What the one before it ran, or was about to, died with it."""
        self.lives += 1
        self.ops = Operations(self.tables)
        restored = self.ops.open(owner=f"d{self.lives}", now=self.now, max_strikes=3, once=())
        self.ops.events.clear()  # known to the board from the store
        self.reached["rescue"] += restored.rescued
        self.life = Life()
        self.life.board.seen = restored.position
        self.life.board.backlog.restore(restored.waiting)
        self.reload()
        self.all_well()

    def committed(self) -> None:
        self.life.news.extend(self.ops.events)
        self.ops.events.clear()

    def note(self, *notes: Note) -> None:
        self.ops.note(notes, now=self.now)
        self.committed()

    def hear(self) -> None:
        """The board takes in the next row."""
        board = self.life.board
        board.apply(self.life.news.popleft())
        for lane in board.lanes.values():
            # As few as the rules allow, so that a handful of tasks lie beyond memory.
            lane.queue.page = max(2, 2 * lane.capacity)

    def decide(self) -> None:
        """What the dispatcher does after every row."""
        board = self.life.board
        self.life.claims.extend(self.assign(board))
        for lane in board.short_lanes():
            queue = lane.queue
            read = Read(lane=lane, after=queue.reading(), limit=queue.page)
            self.life.reads.append(read)

    def rows_come(self) -> None:
        for _ in range(self.chance.randint(1, 6)):
            if self.life.news:
                self.hear()
                self.decide()
        if self.chance.random() < 0.7:
            self.page_comes()

    def claim_is_written(self) -> None:
        if not self.life.claims:
            return
        start = self.life.claims.popleft()
        task = self.ops.claim(start.waiting.id, option=start.option, seen=start.seen, now=self.now)
        self.committed()
        if task is None:
            self.reached["missed"] += 1
        else:
            self.life.running[task.id] = task.fence
            late = self.tables.rows[-1].position > start.seen + 1
            self.reached["late"] += late

    def claims_fail(self) -> None:
        """The store takes no writes: none of the claims under way was written."""
        if self.chance.random() < 0.3:
            for start in self.life.claims:
                self.life.board.untake(start.waiting.id)
                self.reached["given up"] += 1
            self.life.claims.clear()
            self.life.board.look_at_all()
            self.decide()

    def all_comes(self) -> None:
        """Nothing is late any more."""
        life = self.life
        while life.news or life.reads or life.claims:
            self.claim_is_written()
            self.page_comes()
            while life.news:
                self.hear()
                self.decide()

    # -- pages -----------------------------------------------------------------------------

    def store_looks(self) -> None:
        unread = [read for read in self.life.reads if read.page is None]
        if unread:
            self.look(self.chance.choice(unread))

    def look(self, read: Read) -> None:
        read.page = self.tables.ready(read.lane.queue.lane, read.after, read.limit)
        read.position = self.tables.rows[-1].position

    def page_comes(self) -> None:
        if not self.life.reads:
            return
        read = self.life.reads.pop(self.chance.randrange(len(self.life.reads)))
        if read.page is None:
            self.look(read)
        assert read.page is not None
        while self.life.news and self.life.news[0].position <= read.position:
            self.hear()  # a store tells of its rows before it shows them
            self.decide()
        complete = len(read.page) < read.limit
        self.reached["pages that were not the last"] += not complete
        self.life.board.loaded(read.lane, read.page, complete=complete)
        self.decide()

    def page_fails(self) -> None:
        if self.life.reads and self.chance.random() < 0.3:
            self.life.reads.pop().lane.queue.reading_failed()
            self.life.board.look_at_all()
            self.decide()

    # -- tasks -----------------------------------------------------------------------------

    def add(self) -> None:
        type_ = self.chance.choice(["code", "chat", "pick"])
        draft = Draft(
            id=f"t{len(self.tables.tasks)}",
            title="a task",
            type=type_,
            priority=self.chance.randrange(5),
            created_at=self.now,
            model=self.chance.choice(["", "s", "l"]) if type_ == "pick" else "",
        )
        self.ops.add([self.perhaps_held(draft)], now=self.now)
        self.committed()

    def perhaps_held(self, draft: Draft) -> Draft:
        why = self.chance.choice([None] * 6 + [Held.BY_HAND, Held.NOT_BEFORE, Held.FOR_SOURCE])
        due = self.now + self.chance.randint(1, 30) if why is Held.NOT_BEFORE else None
        return Draft(
            id=draft.id, title=draft.title, type=draft.type, priority=draft.priority,
            created_at=draft.created_at, model=draft.model, held=why, not_before=due,
            source="beads" if why is Held.FOR_SOURCE else None,
            source_id=draft.id if why is Held.FOR_SOURCE else None,
        )  # fmt: skip

    def attempt_ends(self) -> None:
        if not self.life.running:
            return
        task_id = self.chance.choice(sorted(self.life.running))
        fence = self.life.running.pop(task_id)
        well = [Note(kind=Kind.OPTION, host="a", detail={"mode": "up"})]
        match self.chance.choice(["done", "done", "cancelled", "blocked", "reopened"]):
            case "done":
                self.ops.finish(
                    task_id, fence, artifact="path", answer=None, outcome=Outcome.DONE,
                    now=self.now, notes=(),
                )  # fmt: skip
            case "cancelled":
                self.ops.finish(
                    task_id, fence, artifact=None, answer=None, outcome=Outcome.CANCELLED,
                    now=self.now, notes=(),
                )  # fmt: skip
            case "blocked":
                self.ops.block(
                    task_id, fence, error="why", reason="bad_request", strike=False,
                    now=self.now, notes=well,
                )  # fmt: skip
            case "reopened":
                self.ops.reopen(
                    task_id, fence, error="why", reason="reset", max_strikes=3,
                    strike=self.chance.random() < 0.5, now=self.now, notes=(),
                )  # fmt: skip
        self.committed()

    def chosen(self, status: Status) -> Task | None:
        """Any of them; often one that is being claimed: there are the races."""
        claimed = {start.waiting.id for start in self.life.claims}
        tasks = [task for task in self.tables.tasks.values() if task.status is status]
        races = [task for task in tasks if task.id in claimed]
        if races and self.chance.random() < 0.5:
            return self.chance.choice(races)
        return self.chance.choice(tasks) if tasks else None

    def cancel(self) -> None:
        if task := self.chosen(Status.OPEN):
            self.ops.cancel(task.id, now=self.now)
            self.committed()

    def retry(self) -> None:
        if task := self.chosen(Status.BLOCKED):
            self.ops.retry([task.id], now=self.now)
            self.committed()

    def hold(self) -> None:
        if task := self.chosen(Status.OPEN):
            why = self.chance.choice([Held.BY_HAND, Held.FOR_SOURCE])
            self.ops.hold(task.id, why=why, now=self.now)
            self.committed()

    def release(self) -> None:
        if (task := self.chosen(Status.OPEN)) and task.held is not None:
            self.ops.release(task.id, why=task.held, now=self.now)
            self.committed()

    def prioritise(self) -> None:
        if task := self.chosen(Status.OPEN):
            self.ops.prioritise(
                task.id,
                priority=self.chance.randrange(5),
                run_next=self.chance.random() < 0.2,
                now=self.now,
            )
            self.committed()

    def edit(self) -> None:
        if task := self.chosen(Status.OPEN):
            self.ops.edit(
                task.id,
                title="another title",
                description="",
                labels=(),
                priority=self.chance.randrange(5),
                now=self.now,
            )
            self.committed()

    def withdraw(self) -> None:
        if task := self.chosen(self.chance.choice([Status.OPEN, Status.BLOCKED])):
            self.ops.withdraw(task.id, why="closed there", now=self.now)
            self.committed()

    def source_hears(self) -> None:
        if self.tables.outbox:
            task_id = self.chance.choice(sorted(self.tables.outbox))
            self.ops.told(task_id, position=self.tables.outbox[task_id][0].position, now=self.now)
            self.committed()

    def time_comes(self) -> None:
        self.ops.release_due(now=self.now)
        self.committed()

    # -- the fleet -------------------------------------------------------------------------

    def reload(self) -> None:
        settings = self.chance.choice(RELOADS)
        cards = sorted(set(settings.cards.values()))
        limits = {card: self.chance.randint(1, 3) for card in cards}
        gone = [host for host in self.life.board.hosts.values() if host.removed]
        self.reached["returned at work"] += any(host.name in settings.cards for host in gone)
        detail = configuration_detail(settings.cards, limits, settings.routes)
        self.note(Note(kind=Kind.CONFIGURED, detail=detail))

    def resize(self) -> None:
        host, limit = self.chance.choice(HOSTS), self.chance.randint(0, 3)
        self.note(Note(kind=Kind.RESIZED, host=host, detail={"limit": limit}))

    def pause(self) -> None:
        self.note(Note(kind=Kind.PAUSED, host=self.chance.choice(HOSTS), reason="by hand"))

    def all_well(self) -> None:
        for host in HOSTS:
            self.note(Note(kind=Kind.RESUMED, host=host))
            self.note(Note(kind=Kind.HOST, host=host, detail={"mode": "up"}))

    def host_is(self) -> None:
        mode = self.chance.choice(["up", "up", "trial", "down", "resting"])
        self.note(Note(kind=Kind.HOST, host=self.chance.choice(HOSTS), detail={"mode": mode}))

    def option_is(self) -> None:
        host, model = self.chance.choice(HOSTS), self.chance.choice(["", "s", "l"])
        detail: dict[str, Json] = {"mode": self.chance.choice(["up", "up", "trial", "down"])}
        if not model and self.chance.random() < 0.5:
            detail["type"] = "chat"
        self.note(Note(kind=Kind.OPTION, host=host, model=model, detail=detail))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_history_is_clean(seed: int) -> None:
    report = Story(seed).run()
    assert report.clean, "\n".join(report.lines())
    assert report.starts > 0


def test_the_stories_reach_what_they_are_for() -> None:
    reached: Counter[str] = Counter()
    for seed in SEEDS:
        story = Story(seed)
        story.run()
        reached += story.reached
    expected = {
        "rescue", "missed", "late", "given up", "pages that were not the last", "returned at work",
    }  # fmt: skip
    assert set(reached) == expected
    assert min(reached.values()) >= 5, reached


def test_a_host_that_a_reload_brings_back_still_counts_what_it_runs() -> None:
    """On its old card, then on another's, then away and back: at no time more than the limits."""
    story = Story(0)
    both = {"general": [Option("a"), Option("b")]}
    fleets: Sequence[tuple[Mapping[str, str], Mapping[str, int]]] = [
        ({"a": "a", "b": "b"}, {"a": 1, "b": 2}),
        ({"a": "a"}, {"a": 1}),
        ({"a": "a", "b": "b"}, {"a": 1, "b": 2}),
        ({"a": "a", "b": "a"}, {"a": 3}),
        ({"a": "a"}, {"a": 1}),
        ({"a": "a", "b": "a"}, {"a": 4}),
    ]
    for number in range(9):
        draft = Draft(id=f"g{number}", title="", type="general", created_at=float(number))
        story.ops.add([draft], now=0.0)
    running = []
    for cards, limits in fleets:
        here = {"general": [option for option in both["general"] if option.host in cards]}
        detail = configuration_detail(cards, limits, here)
        story.note(Note(kind=Kind.CONFIGURED, detail=detail))
        story.all_well()
        story.all_comes()
        running.append(dict(Counter(t.host for t in story.tables.in_progress())))
    # None ends: what ran when its host went still runs when it is back.
    assert running == [{"a": 1, "b": 2}] * 5 + [{"a": 2, "b": 2}]
    report = story.judged()
    assert report.clean, "\n".join(report.lines())


def found(
    *, tables: type[MemoryTables] = MemoryTables, assign: Assign = assign
) -> set[FindingKind]:
    """All that the checker says of some stories."""
    kinds: set[FindingKind] = set()
    for seed in SEEDS[:10]:
        kinds |= set(Story(seed, tables=tables(), assign=assign).run().counts)
    return kinds


# -- broken on purpose: the checker must say so ----------------------------------------------------


def assign_past_dry_lanes(board: Board) -> list[Start]:
    """As `assign`, but does not wait for a page that may hold a lesser task."""
    lanes = [lane for lane in board.dirty if lane.free and lane.queue.bound() is not None]
    heads = [(lane.queue.bound(), lane.queue.lane, lane) for lane in lanes if not lane.queue.dry]
    heapq.heapify(heads)
    board.dirty = set()
    starts: list[Start] = []
    while heads:
        _, name, lane = heapq.heappop(heads)
        option = lane.first_free()
        if option is None:
            continue
        waiting = board.take(lane, option)
        starts.append(Start(waiting=waiting, option=option.option, seen=board.seen))
        bound = lane.queue.bound()
        if bound is not None and not lane.queue.dry:
            heapq.heappush(heads, (bound, name, lane))
    return starts


def test_an_assign_that_does_not_wait_for_pages_is_found() -> None:
    assert found(assign=assign_past_dry_lanes) == {FindingKind.INVERSION}


def test_a_route_read_from_its_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def last_free(lane: LaneState) -> OptionState | None:
        return lane.options[lane.free.bit_length() - 1] if lane.free else None

    monkeypatch.setattr(LaneState, "first_free", last_free)
    assert found() == {FindingKind.WRONG_OPTION}


def test_a_start_on_a_paused_host_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Board, "_pause", lambda board, host, reason: None)
    assert found() == {FindingKind.BAD_HOST}


class GenerousSlots(Slots):
    """Gives back on a growth what was granted already, as limiters in the wild do."""

    def resize(self, limit: int) -> None:
        self.active = max(0, self.active - max(0, limit - self.limit))
        super().resize(limit)

    def give(self) -> None:
        self.active = max(0, self.active - 1)


def test_slots_given_back_twice_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ygg.board.Slots", GenerousSlots)
    assert FindingKind.LIMIT_BREAK in found()


def test_an_order_without_priorities_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rank, "__lt__", lambda one, other: one[2:] < other[2:])
    monkeypatch.setattr(Rank, "__gt__", lambda one, other: one[2:] > other[2:])
    assert FindingKind.INVERSION in found()


def test_an_order_without_run_next_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rank, "__lt__", lambda one, other: one[1:] < other[1:])
    monkeypatch.setattr(Rank, "__gt__", lambda one, other: one[1:] > other[1:])
    assert FindingKind.INVERSION in found()


class ForgetsTheRescue(MemoryTables):
    def in_progress(self) -> Sequence[Task]:
        return ()


def test_a_rescue_left_out_is_found() -> None:
    assert FindingKind.NOT_RESCUED in found(tables=ForgetsTheRescue)

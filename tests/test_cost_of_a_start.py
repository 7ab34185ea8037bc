"""What a start costs, in counted operations: O(log n) of what waits, whatever shares its route.

Nothing is timed. Comparisons of ranks are counted by ranks that count (a heap does its work in
them), everything else by the bytecode instructions that run.
"""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final

import pytest

from ygg.assignment import Start, assign
from ygg.board import Board, LaneState, configuration_detail
from ygg.fleet import Option
from ygg.health import Mode
from ygg.journal import Event, Kind
from ygg.tasks import Fence, Lane, Rank, Waiting

pytestmark = pytest.mark.pure

FEW, MANY = 1_000, 100_000
LANE: Final = Lane("general")
#: Instructions by which starts differ as they come: a priority's last task leaves a counter.
SLACK: Final = 20
#: Of all counting ranks.
comparisons: Counter[str] = Counter()


class CountingRank(Rank):
    """A rank that counts how often it is compared."""

    __slots__ = ()

    def __lt__(self, other: tuple[Any, ...]) -> bool:
        comparisons["rank"] += 1
        return super().__lt__(other)

    def __gt__(self, other: tuple[Any, ...]) -> bool:
        comparisons["rank"] += 1
        return super().__gt__(other)

    def __eq__(self, other: object) -> bool:
        comparisons["rank"] += 1
        return super().__eq__(other)

    __hash__ = Rank.__hash__


@dataclass
class Cost:
    comparisons: int
    instructions: int


def cost_of(work: Callable[[], object]) -> Cost:
    """Run it, and count."""
    instructions = 0

    def count(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        nonlocal instructions
        # What a comparison costs must not be counted as the work of the code under test.
        frame.f_trace_opcodes = frame.f_code.co_filename != __file__
        if event == "opcode":
            instructions += 1
        return count

    before, tracing = comparisons["rank"], sys.gettrace()
    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(tracing)
    return Cost(comparisons["rank"] - before, instructions)


@dataclass
class Crowd:
    """A fleet whose slots are all taken, and many tasks behind them, all in one lane."""

    waiting: int
    hosts: int = 3
    #: Where the dispatcher would keep a page and leave the rest to the store.
    all_in_memory: bool = True
    board: Board = field(default_factory=Board)
    running: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = [f"h{n:03}" for n in range(self.hosts)]
        routes = {"general": [Option(name, "m") for name in names]}
        limits = dict.fromkeys(names, 1)
        detail = configuration_detail({n: n for n in names}, limits, routes)
        self.tell(Kind.CONFIGURED, detail=detail)
        lane = self.board.lane_state(LANE)
        if self.all_in_memory:
            lane.queue.page = 10 * MANY
        chance = random.Random(self.waiting)
        places = [
            CountingRank(True, chance.randrange(5), float(n), n)
            for n in range(self.waiting + self.hosts)
        ]
        places.sort(key=tuple)
        self.store = [Waiting(f"t{place.sequence:06}", LANE, place) for place in places]
        self.position_of = {waiting.rank: n for n, waiting in enumerate(self.store)}
        for waiting in random.Random(1).sample(self.store, len(self.store)):
            self.tell(Kind.ACCEPTED, task=waiting.id, waiting=waiting)
        for name in names:
            self.tell(Kind.HOST, host=name, detail={"mode": Mode.UP.value})
        self.claim(assign(self.board))
        assert len(self.running) == self.hosts

    def tell(self, kind: Kind, **fields: Any) -> None:
        self.board.apply(Event(position=self.board.seen + 1, at=0.0, kind=kind, **fields))

    def claim(self, starts: list[Start]) -> None:
        self.running += [start.waiting.id for start in starts]

    def next_start(self) -> None:
        """A task ends, its row is heard, and the next one starts: the way of every event."""
        self.tell(Kind.CLOSED, task=self.running.pop(0), fence=Fence("d", 1))
        starts = assign(self.board)
        assert len(starts) == 1
        self.claim(starts)
        for lane in self.board.short_lanes():
            self.read_page(lane)

    def read_page(self, lane: LaneState) -> None:
        begin = self.position_of[lane.queue.reading()] + 1
        page = self.store[begin : begin + lane.queue.page]
        self.board.loaded(lane, page, complete=len(page) < lane.queue.page)


def starts(crowd: Crowd, count: int) -> Cost:
    """Of so many starts, one after another, the cost of one."""

    def work() -> None:
        for _ in range(count):
            crowd.next_start()

    whole = cost_of(work)
    return Cost(math.ceil(whole.comparisons / count), math.ceil(whole.instructions / count))


def most_comparisons(waiting: int) -> float:
    """A pop goes down the heap and up again; each step compares two ranks, first for equality."""
    return 4 * math.log2(waiting) + 8


def test_the_ranks_and_the_instructions_are_counted() -> None:
    low, high = (CountingRank(True, 2, 0.0, n) for n in (1, 2))
    few, many = cost_of(lambda: low < high), cost_of(lambda: math.fsum(range(9)) and low > high)
    assert (few.comparisons, many.comparisons) == (1, 1)
    crowd = Crowd(10)
    assert cost_of(crowd.next_start).instructions > 100


@pytest.fixture(scope="module")
def many_waiting() -> Crowd:
    """It takes seconds to gather, and a few starts more or less change nothing."""
    return Crowd(MANY)


def test_a_start_compares_a_logarithm_of_what_waits(many_waiting: Crowd) -> None:
    assert starts(Crowd(FEW), 50).comparisons <= most_comparisons(FEW)
    assert starts(many_waiting, 50).comparisons <= most_comparisons(MANY)


def test_a_start_takes_no_more_steps_the_more_tasks_wait(many_waiting: Crowd) -> None:
    few, many = starts(Crowd(FEW), 50), starts(many_waiting, 50)
    assert many.instructions <= few.instructions + SLACK


def test_with_the_rest_in_the_store_a_start_costs_no_more_pages_included() -> None:
    few = starts(Crowd(FEW, all_in_memory=False), 600)
    many = starts(Crowd(MANY, all_in_memory=False), 600)
    assert many.comparisons <= most_comparisons(FEW)
    assert many.instructions <= 1.1 * few.instructions + 50


def test_a_start_does_not_depend_on_how_many_hosts_share_the_route() -> None:
    few, many = starts(Crowd(FEW, hosts=2), 50), starts(Crowd(FEW, hosts=200), 50)
    assert many.comparisons <= few.comparisons + 2
    assert many.instructions <= few.instructions + SLACK


def test_an_accept_behind_full_hosts_costs_no_more_the_more_tasks_wait(
    many_waiting: Crowd,
) -> None:
    def accept(crowd: Crowd) -> Cost:
        place = CountingRank(True, 4, 1e9, 10 * MANY)
        waiting = Waiting("late", LANE, place)

        def work() -> None:
            crowd.tell(Kind.ACCEPTED, task="late", waiting=waiting)
            assert assign(crowd.board) == []

        return cost_of(work)

    few, many = accept(Crowd(FEW)), accept(many_waiting)
    assert many.instructions <= few.instructions + SLACK
    assert many.comparisons <= most_comparisons(MANY)


def test_many_starts_at_once_cost_as_much_each_as_one() -> None:
    """A fleet comes up behind a full backlog: the page is read once, not once for each host."""
    one, all_at_once = Crowd(FEW, hosts=200), Crowd(FEW, hosts=200)
    single = starts(one, 50)

    def fleet_ends() -> None:
        ended, all_at_once.running = all_at_once.running, []
        for task_id in ended:
            all_at_once.tell(Kind.CLOSED, task=task_id, fence=Fence("d", 1))
        all_at_once.claim(assign(all_at_once.board))

    cost = cost_of(fleet_ends)
    assert len(all_at_once.running) == 200
    assert cost.instructions / 200 <= single.instructions
    assert cost.comparisons / 200 <= most_comparisons(FEW)

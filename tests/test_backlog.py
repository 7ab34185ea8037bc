"""The head of a lane: what memory holds of it, and that what is popped is always the least."""

from __future__ import annotations

import random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ygg.backlog import BEFORE_ALL, PAGE, Backlog, LaneQueue
from ygg.tasks import Lane, Rank, Waiting

pytestmark = pytest.mark.pure

LANE: Final = Lane("general")


def rank(born: float, *, priority: int = 2, sequence: int = 0) -> Rank:
    return Rank(True, priority, born, sequence)


def a_queue(page: int = 4) -> LaneQueue:
    queue = LaneQueue(LANE)
    queue.page = page
    return queue


def test_beyond_twice_a_page_the_greatest_are_left_to_the_store() -> None:
    queue = a_queue()
    for number in range(9):
        queue.add(f"t{number}", rank(float(-number)))  # each less than all before
    assert len(queue) == 4
    assert queue.horizon == rank(-5.0)
    assert [(queue.bound(), queue.pop().id)[1] for _ in range(4)] == ["t8", "t7", "t6", "t5"]
    assert queue.dry
    assert queue.bound() == queue.horizon, "the next is in the store: not less than this"


def test_what_is_added_beyond_the_horizon_is_left_to_the_store_too() -> None:
    queue = a_queue()
    queue.horizon = rank(5.0)
    queue.add("near", rank(4.0))
    queue.add("far", rank(6.0))
    assert len(queue) == 1
    queue.add("near", rank(7.0))  # its priority was changed
    assert len(queue) == 0


def test_a_lane_of_which_nothing_lies_beyond_memory_never_asks_for_a_page() -> None:
    queue = a_queue()
    assert not queue.wants(100)
    queue.horizon = rank(0.0)
    assert queue.wants(0)
    queue.reading()
    assert not queue.wants(100), "it is being read already"


def test_a_lane_asks_while_it_still_holds_what_all_its_slots_could_take() -> None:
    queue = a_queue(page=8)
    for number in range(6):
        queue.add(f"t{number}", rank(float(number)))
    queue.horizon = rank(10.0)
    assert not queue.wants(6)
    assert queue.wants(7)


def test_what_changed_while_a_page_was_read_counts_and_not_what_the_page_says() -> None:
    queue = a_queue()
    queue.horizon = BEFORE_ALL
    assert queue.reading() == BEFORE_ALL
    page = [Waiting(f"t{n}", LANE, rank(float(n))) for n in range(4)]
    queue.remove("t0")  # cancelled
    queue.add("t1", rank(9.0))  # its priority was changed
    queue.add("new", rank(2.5))
    queue.load(page, complete=True)
    popped = []
    while queue.bound() is not None:
        popped.append(queue.pop().id)
    assert popped == ["t2", "new", "t3", "t1"]


def test_what_came_and_started_while_a_page_was_read_does_not_come_again() -> None:
    queue = a_queue()
    queue.add("t0", rank(1.0))
    queue.horizon = rank(2.0)
    queue.reading()
    queue.add("quick", rank(0.0))
    assert queue.bound() == rank(0.0)
    assert queue.pop().id == "quick"
    queue.load([], complete=True)
    assert queue.bound() == rank(1.0)


def test_a_lane_that_grows_too_large_while_a_page_is_read_loses_nothing() -> None:
    queue = a_queue(page=2)
    queue.add("was there", rank(4.5))
    queue.horizon = rank(5.0)
    queue.reading()
    for number in range(10):
        queue.add(f"t{number}", rank(4.0 - number / 10))
    started = [(queue.bound(), queue.pop().id)[1] for _ in range(9)]
    assert started == [f"t{n}" for n in range(9, 0, -1)]
    queue.load([Waiting("beyond", LANE, rank(6.0))], complete=True)
    assert [(queue.bound(), queue.pop().id)[1] for _ in range(3)] == ["t0", "was there", "beyond"]
    assert queue.bound() is None


def test_a_page_that_failed_leaves_everything_as_it_was() -> None:
    queue = a_queue()
    queue.horizon = rank(0.0)
    queue.reading()
    queue.add("t1", rank(-1.0))
    queue.reading_failed()
    assert queue.wants(4)
    assert queue.reading() == rank(0.0)
    assert queue.bound() == rank(-1.0)


def test_behind_a_head_that_nothing_may_run_leftovers_do_not_pile_up() -> None:
    queue, chance = a_queue(), random.Random(1)
    queue.add("head", rank(0.0))
    for number in range(10_000):
        queue.add("moved", rank(chance.uniform(1.0, 2.0), sequence=number))
    assert len(queue) == 2
    assert len(queue._heap) <= 2 * (len(queue) + queue.page) + 1


@given(borns=st.lists(st.floats(0.0, 10.0), max_size=3000), page=st.integers(1, 8))
def test_whatever_is_accepted_a_lane_holds_no_more_than_two_pages(
    borns: list[float], page: int
) -> None:
    queue = a_queue(page)
    for number, born in enumerate(borns):
        queue.add(f"t{number}", rank(born, sequence=number))
        assert len(queue) <= 2 * page
        assert len(queue._heap) <= 2 * (len(queue) + page) + 1


def test_a_lane_begins_dry_with_all_of_it_to_be_read() -> None:
    backlog = Backlog()
    backlog.restore({(LANE, 0): 2, (LANE, 3): 1})
    assert backlog.lanes[LANE].dry
    assert backlog.lanes[LANE].bound() == BEFORE_ALL
    assert sum(backlog.waiting.values()) == 3
    assert backlog.lanes[LANE].page == PAGE


def test_counts_are_of_what_waits_and_a_task_that_leaves_twice_is_a_bug_of_ours() -> None:
    backlog = Backlog()
    one = Waiting("t1", LANE, rank(1.0))
    backlog.add(one)
    assert backlog.waiting == {(LANE, 2): 1}
    backlog.remove(one)
    assert backlog.waiting == {}, "no entry outlives its last task"
    with pytest.raises(AssertionError, match=r"t1 left .* where nothing waited"):
        backlog.remove(one)


class Reading(RuleBasedStateMachine):
    """A lane and its store, a plain sorted list: what is popped is always the least of all."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = a_queue(page=4)
        self.store: dict[str, Rank] = {}
        self.count = 0
        self.after: Rank | None = None
        self.page: list[Waiting] | None = None

    @initialize(count=st.integers(0, 20))
    def opened(self, count: int) -> None:
        for number in range(count):
            self.store[f"s{number}"] = rank(float(number * 7 % 5), sequence=number)
        self.count = count
        if count:
            self.queue.horizon = BEFORE_ALL

    def least(self) -> list[tuple[Rank, str]]:
        return sorted((place, task_id) for task_id, place in self.store.items())

    @rule(arrivals=st.lists(st.tuples(st.sampled_from((0.0, 1.0, 2.0, 3.0)), st.integers(0, 4)),
                            min_size=1, max_size=12))  # fmt: skip
    def accept(self, arrivals: list[tuple[float, int]]) -> None:
        for born, priority in arrivals:
            self.count += 1
            place = rank(born, priority=priority, sequence=self.count)
            self.store[f"t{self.count}"] = place
            self.queue.add(f"t{self.count}", place)

    @precondition(lambda self: self.store)
    @rule(which=st.integers(0, 100))
    def cancel(self, which: int) -> None:
        task_id = self.least()[which % len(self.store)][1]
        del self.store[task_id]
        self.queue.remove(task_id)

    @precondition(lambda self: self.store)
    @rule(which=st.integers(0, 100), priority=st.integers(0, 4))
    def prioritise(self, which: int, priority: int) -> None:
        place, task_id = self.least()[which % len(self.store)]
        self.store[task_id] = place._replace(priority=priority)
        self.queue.remove(task_id)
        self.queue.add(task_id, self.store[task_id])

    @rule(count=st.integers(1, 4))
    def pop(self, count: int) -> None:
        for _ in range(count):
            if self.queue.bound() is None or self.queue.dry:
                return
            popped = self.queue.pop()
            assert (popped.rank, popped.id) == self.least()[0]
            del self.store[popped.id]

    @precondition(lambda self: self.after is None and self.queue.wants(1))
    @rule()
    def ask(self) -> None:
        self.after = self.queue.reading()

    @precondition(lambda self: self.after is not None and self.page is None)
    @rule()
    def store_looks(self) -> None:
        after = self.after
        assert after is not None
        beyond = [Waiting(i, LANE, place) for place, i in self.least() if place > after]
        self.page = beyond[: self.queue.page]

    @precondition(lambda self: self.page is not None)
    @rule()
    def page_comes(self) -> None:
        page = self.page
        assert page is not None
        self.queue.load(page, complete=len(page) < self.queue.page)
        self.after = self.page = None

    @precondition(lambda self: self.after is not None)
    @rule()
    def page_fails(self) -> None:
        self.queue.reading_failed()
        self.after = self.page = None

    @invariant()
    def the_bound_is_not_above_the_least(self) -> None:
        bound, least = self.queue.bound(), self.least()
        if bound is None:
            assert not least
        elif least and not self.queue.dry:
            assert bound == least[0][0]
        elif least:
            assert bound < least[0][0]

    @invariant()
    def memory_holds_exactly_what_lies_within_the_horizon(self) -> None:
        horizon = self.queue.horizon
        within = {i: r for r, i in self.least() if horizon is None or r <= horizon}
        assert self.queue._live == within


TestReading = Reading.TestCase

"""What a task is: its id, its place in the order, and the moves its status may make."""

from __future__ import annotations

from functools import cmp_to_key
from itertools import product
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.tasks import (
    NEXT,
    PRIORITIES,
    Fence,
    IllegalMove,
    Lane,
    Status,
    Task,
    Waiting,
    check_move,
    new_id,
)

pytestmark = pytest.mark.pure

#: The design's sentence, word for word. Nothing else is legal.
LEGAL: Final = {
    ("open", "in_progress"),
    ("open", "closed"),
    ("in_progress", "closed"),
    ("in_progress", "blocked"),
    ("in_progress", "open"),
    ("blocked", "open"),
    ("blocked", "closed"),
}


def a_task(**fields: object) -> Task:
    given_ = {"id": "t1", "title": "", "description": "", "labels": (), "type": "general",
              "priority": 2, "created_at": 0.0, "sequence": 1} | fields  # fmt: skip
    return Task(**given_)  # type: ignore[arg-type]  # a test's own keywords


# -- statuses --------------------------------------------------------------------------------------


def test_the_words_for_a_status_are_those_of_beads() -> None:
    assert {status.value for status in Status} == {"open", "in_progress", "closed", "blocked"}


@pytest.mark.parametrize(("old", "new"), list(product(Status, Status)))
def test_every_pair_of_statuses_is_legal_by_the_designs_sentence_or_refused(
    old: Status, new: Status
) -> None:
    if (old.value, new.value) in LEGAL:
        check_move("t1", old, new)
    else:
        with pytest.raises(IllegalMove, match=f"t1 is {old.value}: it can't become {new.value}"):
            check_move("t1", old, new)


def test_every_status_has_its_line_in_the_table() -> None:
    assert set(NEXT) == set(Status)
    assert NEXT[Status.CLOSED] == set(), "what is closed stays closed"


# -- the order -------------------------------------------------------------------------------------

some_tasks = st.lists(
    st.tuples(st.booleans(), st.sampled_from(PRIORITIES), st.sampled_from((1.0, 1.5, 2.0, 3e9))),
    max_size=20,
).map(
    lambda rows: [
        a_task(run_next=run_next, priority=priority, created_at=created_at, sequence=sequence)
        for sequence, (run_next, priority, created_at) in enumerate(rows)
    ]
)


def goes_first(one: Task, other: Task) -> int:
    """The design's order said as a person would: what differs first decides."""
    if one.run_next is not other.run_next:
        return -1 if one.run_next else 1
    if one.priority != other.priority:
        return -1 if one.priority < other.priority else 1
    if one.created_at != other.created_at:
        return -1 if one.created_at < other.created_at else 1
    return one.sequence - other.sequence


@given(tasks=some_tasks.flatmap(st.permutations))
def test_the_least_rank_is_run_next_then_urgent_then_old_then_first_here(
    tasks: list[Task],
) -> None:
    by_rank = sorted(tasks, key=lambda task: task.rank)
    assert by_rank == sorted(tasks, key=cmp_to_key(goes_first))


@given(tasks=some_tasks)
def test_no_two_tasks_tie(tasks: list[Task]) -> None:
    assert len({task.rank for task in tasks}) == len(tasks)


def test_a_task_knows_its_lane_its_place_and_its_fence() -> None:
    task = a_task(type="reasoning", model="m", owner="d1", attempt=3)
    assert task.lane == Lane("reasoning", "m")
    assert task.waiting == Waiting("t1", Lane("reasoning", "m"), task.rank)
    assert task.fence == Fence("d1", 3)


# -- ids -------------------------------------------------------------------------------------------

#: Whole milliseconds from 1970 to the year 10889, as seconds.
times = st.integers(0, 2**48 - 1)
chances = st.integers(0, 2**64)
LETTERS: Final = "0123456789abcdefghjkmnpqrstvwxyz"


def read(task_id: str) -> tuple[int, int]:
    """Milliseconds and chance, by the alphabet alone."""
    number = 0
    for letter in task_id:
        number = number * 32 + LETTERS.index(letter)
    return divmod(number, 2**40)


@given(milliseconds=times, chance=chances)
def test_an_id_holds_its_time_and_its_chance(milliseconds: int, chance: int) -> None:
    task_id = new_id((milliseconds + 0.5) / 1000, chance)
    assert len(task_id) == 18
    # A float of the far future has no room for milliseconds.
    if milliseconds < 2**42:
        assert read(task_id) == (milliseconds, chance % 2**40)


@given(one=st.integers(0, 2**42), other=st.integers(0, 2**42), chance=chances, luck=chances)
def test_ids_sort_by_time_whatever_the_chance(one: int, other: int, chance: int, luck: int) -> None:
    early, late = sorted((one, other))
    if early != late:
        assert new_id((early + 0.5) / 1000, chance) < new_id((late + 0.5) / 1000, luck)


@given(now=times, chance=st.integers(0, 2**40 - 2))
def test_in_the_same_millisecond_another_chance_is_another_id(now: int, chance: int) -> None:
    assert new_id(now / 1000, chance) < new_id(now / 1000, chance + 1)


def test_no_letter_of_an_id_can_be_taken_for_a_digit_or_must_be_quoted() -> None:
    seen = set("".join(new_id(n * 1e7, n**9) for n in range(2000)))
    assert seen == set(LETTERS)
    assert not seen & set("ilou")

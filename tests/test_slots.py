"""The resizable semaphore: what may be taken is counted, never remembered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.slots import Slots

pytestmark = pytest.mark.pure


def test_four_two_four_under_load_lets_four_tasks_in() -> None:
    slots = Slots(4)
    for _ in range(4):
        slots.take()
    slots.resize(2)
    assert slots.available == 0
    slots.resize(4)
    assert slots.available == 0
    slots.give()
    assert slots.available == 1


def test_a_shrink_kills_nothing_and_the_host_drains() -> None:
    slots = Slots(3)
    for _ in range(3):
        slots.take()
    slots.resize(1)
    assert slots.active == 3
    for _ in range(2):
        slots.give()
        assert slots.available == 0
    slots.give()
    assert slots.available == 1


@given(steps=st.lists(st.sampled_from(("take", "give")) | st.integers(0, 5), max_size=60))
def test_nothing_is_taken_at_or_over_the_limit_whatever_came_before(steps: list[str | int]) -> None:
    slots, running, limit = Slots(2), 0, 2
    for step in steps:
        if isinstance(step, int):
            limit = step
            slots.resize(step)
        elif step == "give" and running:
            slots.give()
            running -= 1
        elif step == "take" and slots.available:
            assert running < limit
            slots.take()
            running += 1
        assert slots.active == running
        assert slots.available == max(0, limit - running)


def test_misuse_is_a_bug_of_ours_and_told_with_its_numbers() -> None:
    slots = Slots(1)
    with pytest.raises(AssertionError, match="given back twice"):
        slots.give()
    slots.take()
    with pytest.raises(AssertionError, match="1 active of 1"):
        slots.take()
    with pytest.raises(AssertionError, match="limit is -1"):
        slots.resize(-1)
    with pytest.raises(AssertionError, match="limit is -2"):
        Slots(-2)

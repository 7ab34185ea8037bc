"""A long row of tasks as bodies of bounded size."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.client.batches import BATCH_BYTES, BATCH_TASKS, in_batches

pytestmark = pytest.mark.pure


def bodies(tasks: list[dict[str, object]], prefix: str = "p") -> list[bytes]:
    async def collect() -> list[bytes]:
        return [body async for body in in_batches(tasks, prefix)]

    return asyncio.run(collect())


@given(st.integers(0, 3500))
def test_every_task_is_in_just_one_batch_in_order_with_the_key_of_its_place(number: int) -> None:
    sent = [task for body in bodies([{"title": "t"}] * number) for task in json.loads(body)]
    assert [task["key"] for task in sent] == [f"p-{place}" for place in range(1, number + 1)]


@given(st.lists(st.integers(0, BATCH_BYTES + 100), max_size=6))
def test_no_batch_is_too_long_unless_a_single_task_is(sizes: list[int]) -> None:
    for body in bodies([{"title": "t" * size} for size in sizes]):
        tasks = json.loads(body)
        assert 1 <= len(tasks) <= BATCH_TASKS
        assert len(body) <= BATCH_BYTES + len(tasks) + 1 or len(tasks) == 1


def test_a_task_that_has_a_key_keeps_it() -> None:
    (body,) = bodies([{"title": "a", "key": "mine"}, {"title": "b", "key": ""}, {"title": "c"}])
    assert [task["key"] for task in json.loads(body)] == ["mine", "p-2", "p-3"]


def test_a_key_that_is_no_text_is_left_for_the_dispatcher_to_refuse() -> None:
    tasks: list[dict[str, object]] = [{"key": None}, {"key": 0}, {"key": False}, {"key": []}]
    (body,) = bodies(tasks)
    assert [task["key"] for task in json.loads(body)] == ["p-1", 0, False, []]


def test_tasks_may_come_one_by_one_from_elsewhere() -> None:
    async def source() -> AsyncIterator[dict[str, object]]:
        for number in range(3):
            await asyncio.sleep(0)
            yield {"title": str(number)}

    async def story() -> None:
        (body,) = [body async for body in in_batches(source(), "p")]
        assert [task["title"] for task in json.loads(body)] == ["0", "1", "2"]

    asyncio.run(story())


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_has_no_word_for_is_no_null(number: float) -> None:
    for value in (number, [1, {"a": [number]}], {"a": (1.0, number)}):
        with pytest.raises(ValueError, match=f"metadata: {number} is no value in JSON"):
            bodies([{"title": "t", "metadata": value}])

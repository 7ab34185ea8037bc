"""A row of submits goes on where a dispatcher took nothing for a while, and not for ever."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.scripted import PATIENT, a_task, answer, hang_up, scripted
from tests.worlds import run_virtual
from ygg.client import Client, NewTask, Patience, Problem, Unreachable

DRAINING = {"type": "urn:ygg:problem:draining", "detail": "it is ending"}


def problem(status: int = 503, retry_after: float | None = 5.0) -> Problem:
    return Problem(status, DRAINING, retry_after=retry_after)


@pytest.mark.pure
@given(
    st.floats(0, 120),
    st.lists(st.one_of(st.none(), st.floats(0, 100_000)), min_size=1, max_size=20),
)
def test_it_never_waits_longer_than_it_was_told(seconds: float, said: list[float | None]) -> None:
    async def story() -> None:
        clock, patience = asyncio.get_running_loop().time, Patience(seconds)
        patience.is_over()
        began, number = clock(), 0
        while True:
            wait = said[number % len(said)]
            error = Unreachable("gone") if wait is None else problem(429, wait)
            if not await patience.wait(error):
                break
            number += 1
        assert clock() - began == pytest.approx(seconds, abs=0.002)

    run_virtual(story())


@pytest.mark.pure
def test_it_waits_as_long_as_it_is_asked_to_and_tells_once_for_each_time() -> None:
    async def story() -> None:
        clock, told = asyncio.get_running_loop().time, list[str]()
        patience = Patience(60.0, told.append)
        began = clock()
        assert await patience.wait(problem(retry_after=7.0))
        assert clock() - began == pytest.approx(7.0)
        assert await patience.wait(Unreachable("gone"))
        assert told == ["it is ending"]
        patience.is_over()
        assert await patience.wait(Unreachable("gone"))
        assert told == ["it is ending", "the dispatcher does not answer any more"]

    run_virtual(story())


@pytest.mark.pure
@pytest.mark.parametrize(
    "error",
    [Unreachable("never there"), problem(400), problem(409), problem(507), problem(503, None)],
)
def test_what_no_waiting_helps_is_not_waited_for(error: Problem | Unreachable) -> None:
    async def story() -> None:
        assert not await Patience(60.0).wait(error)

    run_virtual(story())


def test_a_batch_that_was_not_taken_is_sent_again_as_it_was() -> None:
    async def story() -> None:
        full = answer(DRAINING, 503, Retry_After="0")
        taken = answer({"tasks": [a_task("t1")]}, 201)
        async with (
            scripted(full, full, hang_up(), hang_up(), hang_up(), hang_up(), taken) as server,
            Client(server.url, limits=PATIENT, environ={}) as client,
        ):
            tasks: list[NewTask] = [{"title": "t"}]
            rows = client.submit_many(tasks, key_prefix="p", patience=Patience(600.0))
            assert [task.id async for task in rows] == ["t1"]
            assert {asked.body for asked in server.asked} == {b'[{"title":"t","key":"p-1"}]'}
            assert len(server.asked) >= 7

    asyncio.run(story())


def test_without_patience_the_first_no_is_the_last() -> None:
    async def story() -> None:
        async with (
            scripted(answer(DRAINING, 503, Retry_After="5")) as server,
            Client(server.url, limits=PATIENT, environ={}) as client,
        ):
            with pytest.raises(Problem, match="it is ending"):
                async for _ in client.submit_many([{"title": "t"}]):
                    pass
            assert len(server.asked) == 1

    asyncio.run(story())

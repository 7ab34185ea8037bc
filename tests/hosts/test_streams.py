"""Lines out of pieces, and the alarm."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.hosts.streams import LINE_BYTES_MAX, Alarm, Lines, LineTooLong, TimeUp


@pytest.mark.pure
@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_lines_are_the_same_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    lines = Lines()
    found = []
    edges = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        if start < end:
            found += lines.feed(data[start:end])
    *whole, rest = data.split(b"\n")
    assert found == whole
    assert lines.rest == rest


@pytest.mark.pure
def test_a_line_without_end_is_not_kept() -> None:
    lines = Lines()
    lines.feed(b"x" * LINE_BYTES_MAX)
    with pytest.raises(LineTooLong, match="16 MiB"):
        lines.feed(b"x")


def test_an_alarm_that_rings_is_time_up_and_leaves_no_cancellation_behind() -> None:
    async def story() -> None:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(TimeUp), Alarm(asyncio.get_running_loop().time()):
            await asyncio.Event().wait()
        assert task.cancelling() == 0
        await asyncio.sleep(0)

    asyncio.run(story())


def test_an_alarm_moves_both_ways() -> None:
    async def story() -> None:
        clock = asyncio.get_running_loop().time
        with Alarm(clock() + 0.02) as alarm:
            alarm.set(clock() + 3600)
            await asyncio.sleep(0.05)  # the first deadline passes, and nothing happens
            moved = clock() + 0.02
            alarm.set(moved)
            with pytest.raises(asyncio.CancelledError):
                await asyncio.Event().wait()
            assert clock() >= moved

    asyncio.run(story())


def test_what_ends_before_its_alarm_is_left_alone() -> None:
    async def story() -> None:
        with Alarm(asyncio.get_running_loop().time() + 0.01):
            pass
        await asyncio.sleep(0.03)
        with pytest.raises(KeyError), Alarm(asyncio.get_running_loop().time() + 3600):
            raise KeyError

    asyncio.run(story())


def test_being_cancelled_by_somebody_else_goes_before_a_limit() -> None:
    async def waits() -> None:
        with Alarm(asyncio.get_running_loop().time()):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:  # the alarm's; and now somebody else's comes on top
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                raise

    async def story() -> None:
        task = asyncio.ensure_future(waits())
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(story())

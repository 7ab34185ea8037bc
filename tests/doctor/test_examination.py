"""Everything is looked at at once, told in order, and nothing is waited for for ever."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from tests.worlds import run_virtual
from ygg.doctor.examination import Subject, examine, on_a_thread
from ygg.doctor.findings import Finding, State, ok

pytestmark = pytest.mark.pure


def subject(name: str, seconds: float, bound: float = 15.0) -> Subject:
    async def look() -> Sequence[Finding]:
        await asyncio.sleep(seconds)
        return [ok(f"took {seconds:g} s")]

    return Subject(part="host", name=name, look=look, seconds=bound)


def test_all_at_once_and_told_in_order() -> None:
    async def story() -> None:
        clock = asyncio.get_running_loop().time
        heard: list[int] = []
        told = []
        subjects = [subject("a", 9), subject("b", 1), subject("c", 5)]
        async for report in examine(subjects, heard.append):
            told.append((report.name, clock()))
        assert told == [("a", 9.0), ("b", 9.0), ("c", 9.0)], "in 9 s, not in 15"
        assert heard == [1, 2, 3]

    run_virtual(story())


def test_what_takes_too_long_is_wrong_and_the_others_are_told() -> None:
    async def story() -> None:
        subjects = [subject("dead", 1e9, bound=20), subject("b", 1)]
        reports = [report async for report in examine(subjects, lambda _: None)]
        assert [report.findings[0].state for report in reports] == [State.WRONG, State.OK]
        assert reports[0].findings[0].what == "no end to looking at it within 20 s"

    run_virtual(story())


def test_a_bug_of_ours_ends_it_with_nothing_left_behind() -> None:
    async def story() -> None:
        async def broken() -> Sequence[Finding]:
            raise ZeroDivisionError

        subjects = [subject("a", 1), Subject(part="host", name="b", look=broken)]
        with pytest.raises(ZeroDivisionError):
            [report async for report in examine(subjects, lambda _: None)]
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(story())


def test_a_thread_that_hangs_holds_nobody_up() -> None:
    release = threading.Event()

    async def story() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await on_a_thread(release.wait)

    began = time.monotonic()
    asyncio.run(story())
    assert not release.is_set()
    assert time.monotonic() - began < 60, "nobody waited for it at the end either"
    release.set()


def test_what_a_thread_raises_is_raised() -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        asyncio.run(on_a_thread(fail))
    assert asyncio.run(on_a_thread(lambda: 7)) == 7

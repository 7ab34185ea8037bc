"""What must not be lost while a disk takes nothing, on virtual time."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.worlds import Answers, Failing, LoopClock, run_virtual
from ygg.artifacts import ArtifactError
from ygg.journal import Kind, Note
from ygg.outages import Outages
from ygg.stores.base import StoreError, Unstorable

#: The clock jumps, so the machine's own time is short: a loop without end is cut off here.
pytestmark = [pytest.mark.pure, pytest.mark.timeout(60)]

FULL = ArtifactError("write", Path("a.md"), OSError(errno.ENOSPC, "No space left on device"))


@dataclass
class Days:
    """A store and a folder of answers that have bad days, and what was said of them."""

    store: Failing
    answers: Answers
    outages: Outages
    loop: asyncio.AbstractEventLoop
    settled: bool = True
    #: `began` and `over` with the seconds at which they were called.
    told: list[tuple[str, float]] = field(default_factory=list)

    def names(self) -> list[str]:
        return [name for name, _ in self.told]


@asynccontextmanager
async def days() -> AsyncIterator[Days]:
    loop = asyncio.get_running_loop()
    store, answers = Failing(), Answers()
    d: Days
    outages = Outages(
        store, answers, LoopClock(loop),
        began=lambda: d.told.append(("began", loop.time())),
        over=lambda: d.told.append(("over", loop.time())),
        settled=lambda: d.settled,
    )  # fmt: skip
    d = Days(store, answers, outages, loop)
    async with asyncio.timeout(100_000.0), asyncio.TaskGroup() as group:
        watching = group.create_task(outages.watch())
        yield d
        watching.cancel()


def told(story: Callable[[Days], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with days() as d:
            await story(d)

    run_virtual(whole())


def test_a_write_that_is_taken_returns_what_it_returns_and_nothing_is_said() -> None:
    async def story(d: Days) -> None:
        async def write(now: float) -> float:
            return now

        assert await d.outages.persist(write) == 1_700_000_000.0
        assert d.told == []
        assert d.outages.trouble is None

    told(story)


def test_a_write_is_tried_again_with_growing_pauses_and_the_time_of_each_try() -> None:
    async def story(d: Days) -> None:
        tries: list[float] = []

        async def write(now: float) -> str:
            tries.append(round(now - 1_700_000_000.0, 6))
            if len(tries) < 10:
                raise StoreError("the disk is full")
            return "written"

        assert await d.outages.persist(write) == "written"
        pauses = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
        assert tries == pytest.approx([sum(pauses[:n]) for n in range(10)], abs=0.001)

    told(story)


def test_a_write_that_is_itself_the_trouble_is_given_up_where_there_is_another() -> None:
    async def story(d: Days) -> None:
        async def write(now: float) -> None:
            raise Unstorable("no file can hold it")

        with pytest.raises(Unstorable):
            await d.outages.persist(write, give_up=True)
        assert d.told == [], "the store is well"
        going_on = asyncio.ensure_future(d.outages.persist(write))
        await asyncio.sleep(1.0)
        assert "began" in d.names(), "else nobody would know"
        going_on.cancel()

    told(story)


def test_what_is_not_the_disks_fault_is_not_tried_again() -> None:
    async def story(d: Days) -> None:
        async def write(now: float) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await d.outages.persist(write)
        assert d.told == []

    told(story)


def test_an_answers_disk_counts_as_the_stores() -> None:
    async def story(d: Days) -> None:
        d.answers.failing = FULL
        writing = asyncio.ensure_future(d.outages.persist(lambda _: d.answers.probe()))
        await asyncio.sleep(30.0)
        assert "No space left" in (d.outages.trouble or "")
        assert "over" not in d.names(), "the store is well, the answers' disk is not"
        d.answers.failing = None
        await writing
        await asyncio.sleep(6.0)
        assert d.outages.trouble is None
        assert d.names()[-1] == "over"

    told(story)


def test_an_outage_ends_by_itself_when_everything_takes_writes_again() -> None:
    async def story(d: Days) -> None:
        d.store.broken = True
        d.outages.report(StoreError("the disk is full"))
        assert (d.names(), d.outages.trouble) == (["began"], "the disk is full")
        await asyncio.sleep(100.0)
        assert d.names() == ["began"]
        d.store.broken = False
        healed = d.loop.time()
        await asyncio.sleep(6.0)
        assert d.names() == ["began", "over"]
        assert d.told[-1][1] - healed <= 5.0, "the longest pause"
        assert d.outages.trouble is None

    told(story)


def test_a_short_outage_is_over_soon() -> None:
    async def story(d: Days) -> None:
        d.outages.report(StoreError("a hiccup"))
        await asyncio.sleep(0.2)
        assert d.names() == ["began", "over"]

    told(story)


def test_nothing_begins_anew_while_claims_from_before_are_being_written() -> None:
    async def story(d: Days) -> None:
        d.settled = False
        d.outages.report(StoreError("a hiccup"))
        await asyncio.sleep(60.0)
        assert d.names() == ["began"]
        d.settled = True
        await asyncio.sleep(6.0)
        assert d.names() == ["began", "over"]

    told(story)


def test_one_outage_after_another_each_is_told_and_each_ends() -> None:
    async def story(d: Days) -> None:
        for _ in range(3):
            d.outages.report(StoreError("again"))
            await asyncio.sleep(10.0)
        assert d.names() == ["began", "over"] * 3

    told(story)


def test_a_failure_during_an_outage_does_not_end_it_early_and_is_the_one_shown() -> None:
    async def story(d: Days) -> None:
        d.store.broken = True
        d.outages.report(StoreError("the first"))
        await asyncio.sleep(1.0)
        d.outages.report(FULL)
        assert "No space left" in (d.outages.trouble or "")
        await asyncio.sleep(10.0)
        assert d.outages.trouble == "the disk is full", "what was seen last"
        assert "over" not in d.names()

    told(story)


def test_an_outage_is_logged_when_it_begins_once_a_minute_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")

    async def story(d: Days) -> None:
        d.store.broken = True
        for _ in range(5):
            d.outages.report(StoreError("the disk is full"))
        await asyncio.sleep(185.0)
        d.store.broken = False
        await asyncio.sleep(6.0)

    told(story)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:-1] == ["event=store_trouble error='the disk is full'"] * 4
    event, _, seconds = lines[-1].partition(" seconds=")
    assert event == "event=store_well"
    assert 185.0 <= float(seconds) <= 190.0


def test_a_probe_that_the_store_takes_is_no_write_of_its_own_into_the_journal() -> None:
    async def story(d: Days) -> None:
        d.outages.report(StoreError("a hiccup"))
        await asyncio.sleep(1.0)
        assert d.store.tables.rows == []
        notes = [Note(kind=Kind.PAUSED, host="h", reason="by hand")]
        await d.outages.persist(lambda now: d.store.note(notes, now=now))
        assert [row.kind for row in d.store.tables.rows] == [Kind.PAUSED]

    told(story)

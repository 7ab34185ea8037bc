"""Pins and pauses, told as stories on virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.worlds import Failing, World, draft, fleet, run_virtual, world
from ygg.board import Reason
from ygg.fleet import Fleet, SlotSettings
from ygg.journal import Kind
from ygg.overrides import OutOfBounds, PinnedInFile, SharedSlots, UnknownHost
from ygg.stores.base import HostRow
from ygg.stores.memory import MemoryStore
from ygg.tasks import Status

pytestmark = pytest.mark.pure


def limit(w: World, host: str = "h") -> int:
    return w.dispatcher.board.semaphores[host].slots.limit


def kinds(w: World) -> list[Kind]:
    shown = (Kind.PINNED, Kind.UNPINNED, Kind.PAUSED, Kind.RESUMED, Kind.RESIZED)
    return [row.kind for row in w.store.tables.rows if row.kind in shown]


def pinned_in_file(pin: int = 1) -> Fleet:
    settings = fleet({"h": 2})
    slots = SlotSettings(start=2, max=8, pin=pin, pin_line=7)
    return replace(settings, hosts={"h": replace(settings.hosts["h"], slots=slots)})


def test_a_pin_is_the_limit_at_once_and_a_shrink_kills_nothing() -> None:
    async def story() -> None:
        async with world(fleet({"h": 3})) as w:
            w.servers["h"].seconds = 10.0
            await w.submit(*(draft() for _ in range(6)))
            await w.until(lambda: w.servers["h"].running == 3)
            await w.dispatcher.overrides.pin("h", 1, by="me", reason="a talk")
            assert (limit(w), w.servers["h"].running) == (1, 3)
            await w.settled()
            assert w.servers["h"].most == 3
            begun = [row.at for row in w.store.tables.rows if row.kind is Kind.STARTED]
            assert begun[3] < begun[4] < begun[5]  # from the pin on one after the other

    run_virtual(story())


def test_a_pin_that_grows_starts_what_waits() -> None:
    async def story() -> None:
        async with world() as w:
            w.servers["h"].seconds = 10.0
            await w.submit(*(draft() for _ in range(4)))
            await w.dispatcher.overrides.pin("h", 4)
            await w.until(lambda: w.servers["h"].running == 4, within=1.0)

    run_virtual(story())


def test_without_its_pin_a_host_has_the_limit_that_it_had_before() -> None:
    async def story() -> None:
        async with world(fleet({"h": 3})) as w:
            overrides = w.dispatcher.overrides
            await overrides.pin("h", 5)
            await overrides.pin("h", 1)
            await overrides.unpin("h", by="me")
            assert limit(w) == 3
            row = w.store.tables.rows[-2]
            assert (row.kind, row.detail) == (Kind.UNPINNED, {"by": "me"})
            await overrides.unpin("h")  # nothing is there to take away
            assert kinds(w)[-2:] == [Kind.UNPINNED, Kind.RESIZED]
            assert w.store.tables.host_rows["h"] == HostRow(limit=3, start=3)

    run_virtual(story())


def test_a_pin_ends_by_itself_when_its_time_has_come() -> None:
    async def story() -> None:
        async with world(fleet({"h": 3})) as w:
            until = w.clock.wall() + 100.0
            await w.dispatcher.overrides.pin("h", 1, until=until)
            await asyncio.sleep(99.0)
            assert limit(w) == 1
            await asyncio.sleep(1.5)
            assert limit(w) == 3
            unpinned = next(r for r in w.store.tables.rows if r.kind is Kind.UNPINNED)
            assert unpinned.reason == "its time is up"
            assert unpinned.at == pytest.approx(until)

    run_virtual(story())


def test_a_pause_ends_by_itself_and_its_tasks_start() -> None:
    async def story() -> None:
        async with world() as w:
            await w.dispatcher.overrides.pause("h", "a game", until=w.clock.wall() + 60.0, by="me")
            (task_id,) = await w.submit(draft())
            await asyncio.sleep(59.0)
            task = w.task(task_id)
            why = w.dispatcher.board.why(task.lane, task.held)
            assert list(why.values()) == [Reason.PAUSED]
            await w.until(lambda: w.task(task_id).status is Status.CLOSED, within=4.0)
            assert kinds(w)[-2:] == [Kind.PAUSED, Kind.RESUMED]

    run_virtual(story())


def test_the_later_order_says_when_it_ends() -> None:
    async def story() -> None:
        async with world() as w:
            overrides, began = w.dispatcher.overrides, w.clock.wall()
            await overrides.pin("h", 2, until=began + 50.0)
            await overrides.pin("h", 3, until=began + 500.0)
            await overrides.pause("h", "x", until=began + 500.0)
            await overrides.pause("h", "y", until=began + 50.0)
            await asyncio.sleep(60.0)
            assert (limit(w), w.dispatcher.board.hosts["h"].paused) == (3, None)
            await overrides.pin("h", 4)
            await asyncio.sleep(1000.0)
            assert limit(w) == 4

    run_virtual(story())


def test_pins_and_pauses_hold_and_end_across_restarts() -> None:
    async def story() -> None:
        store = MemoryStore()
        settings = fleet({"a": 2, "b": 2})
        async with world(settings, store=store) as w:
            now = w.clock.wall()
            await w.dispatcher.overrides.pin("a", 1, until=now + 10.0, by="me", reason="talk")
            await w.dispatcher.overrides.pause("a", "game", until=now + 10.0, by="me")
            await w.dispatcher.overrides.pin("b", 4, until=now + 1000.0)
            await w.dispatcher.overrides.pause("b", "fan", until=now + 1000.0)
        async with world(settings, store=store, identity="d2") as w:
            row = w.dispatcher.host_rows["a"]
            assert (limit(w, "a"), limit(w, "b")) == (1, 4)
            assert (row.pin_by, row.pin_reason, row.paused_by) == ("me", "talk", "me")
            await asyncio.sleep(11.0)
            assert (limit(w, "a"), limit(w, "b")) == (2, 4)
            assert [h.paused for h in w.dispatcher.board.hosts.values()] == [None, "fan"]
        await asyncio.sleep(2000.0)  # nobody was there when it ended
        async with world(settings, store=store, identity="d3") as w:
            assert (limit(w, "b"), w.dispatcher.board.hosts["b"].paused) == (2, None)
            assert w.dispatcher.host_rows["b"] == HostRow(limit=2, start=2)
            opened = max(i for i, row in enumerate(store.tables.rows) if row.kind is Kind.OPENED)
            ends = [row.kind for row in store.tables.rows[opened:] if row.host == "b"]
            assert ends[:2] == [Kind.UNPINNED, Kind.RESUMED]

    run_virtual(story())


def test_the_files_pin_goes_before_the_operators_and_gives_it_back() -> None:
    async def story() -> None:
        store = MemoryStore()
        async with world(fleet({"h": 2}), store=store) as w:
            await w.dispatcher.overrides.pin("h", 4)
        async with world(pinned_in_file(1), store=store, identity="d2") as w:
            assert limit(w) == 1
            for refused in (w.dispatcher.overrides.pin("h", 1), w.dispatcher.overrides.unpin("h")):
                with pytest.raises(PinnedInFile, match=r"pinned at 1 in hosts\.yaml:7"):
                    await refused
        async with world(fleet({"h": 2}), store=store, identity="d3") as w:
            assert limit(w) == 4
            await w.dispatcher.overrides.unpin("h")
            assert limit(w) == 2

    run_virtual(story())


def test_the_operators_pin_may_end_under_the_files() -> None:
    async def story() -> None:
        store = MemoryStore()
        async with world(fleet({"h": 2}), store=store) as w:
            await w.dispatcher.overrides.pin("h", 4, until=w.clock.wall() + 10.0)
        async with world(pinned_in_file(1), store=store, identity="d2") as w:
            await asyncio.sleep(20.0)
            assert (limit(w), w.dispatcher.host_rows["h"].pin) == (1, None)
        async with world(fleet({"h": 2}), store=store, identity="d3") as w:
            assert limit(w) == 2

    run_virtual(story())


def test_a_pin_outside_the_bounds_is_refused_with_them() -> None:
    async def story() -> None:
        settings = fleet({"h": 2})
        slots = SlotSettings(start=2, min=2, max=8)
        hosts = {"h": replace(settings.hosts["h"], slots=slots, line=4)}
        async with world(replace(settings, hosts=hosts)) as w:
            for wrong in (1, 9):
                with pytest.raises(OutOfBounds, match=r"of h, 2 to 8.*hosts\.yaml:4"):
                    await w.dispatcher.overrides.pin("h", wrong)
            w.servers["h"].most_at_once = 3
            with pytest.raises(OutOfBounds, match="2 to 3"):
                await w.dispatcher.overrides.pin("h", 4)
            assert Kind.PINNED not in kinds(w)

    run_virtual(story())


async def looked_at(w: World, most: int | None) -> int:
    """The limit after a look at a server that runs so many at once."""
    w.servers["h"].most_at_once = most
    await asyncio.sleep(16.0)
    return limit(w)


def test_a_server_that_runs_more_again_gets_its_limit_back() -> None:
    async def story() -> None:
        store = MemoryStore()
        async with world(fleet({"h": 4}), store=store) as w:
            assert [await looked_at(w, most) for most in (1, 4, 2, None, 9)] == [1, 4, 2, 4, 4]
            assert await looked_at(w, 1) == 1
        async with world(fleet({"h": 4}), store=store, identity="d2") as w:
            assert await looked_at(w, 4) == 4, "also after a restart"

    run_virtual(story())


def test_an_operators_pin_is_cut_to_what_the_server_runs_and_stands_again() -> None:
    async def story() -> None:
        async with world(fleet({"h": 2})) as w:
            await w.dispatcher.overrides.pin("h", 4)
            assert [await looked_at(w, most) for most in (3, 4, 1)] == [3, 4, 1]
            await w.dispatcher.overrides.unpin("h")
            assert [await looked_at(w, most) for most in (1, 4)] == [1, 2]

    run_virtual(story())


def test_the_files_pin_stands_over_what_the_server_runs_and_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        async with world(pinned_in_file(4)) as w:
            assert [await looked_at(w, 1) for _ in range(3)] == [4, 4, 4]

    run_virtual(story())
    assert caplog.text.count("event=limit_too_high host=h limit=4 server_runs=1") == 1


def test_a_host_on_anothers_card_says_which_to_pin() -> None:
    async def story() -> None:
        async with world(fleet({"a": 2, "b": 1}, shares={"b": "a"})) as w:
            with pytest.raises(SharedSlots, match="pin a in its place"):
                await w.dispatcher.overrides.pin("b", 2)
            await w.dispatcher.overrides.pin("a", 1)
            assert limit(w, "a") == 1
            await w.dispatcher.overrides.pause("b", "only this server")
            assert w.dispatcher.board.hosts["a"].paused is None

    run_virtual(story())


def test_a_host_that_is_not_in_the_file_is_told() -> None:
    async def story() -> None:
        async with world() as w:
            overrides = w.dispatcher.overrides
            for refused in (
                overrides.pin("x", 1), overrides.unpin("x"), overrides.pause("x", "y"),
                overrides.resume("x"),
            ):  # fmt: skip
                with pytest.raises(UnknownHost, match=r"no host 'x' in hosts\.yaml; known: h"):
                    await refused

    run_virtual(story())


def test_an_end_that_falls_into_an_outage_comes_after_it() -> None:
    async def story() -> None:
        store = Failing()
        async with world(fleet({"h": 3}), store=store) as w:
            await w.dispatcher.overrides.pin("h", 1, until=w.clock.wall() + 10.0)
            store.broken = True
            await asyncio.sleep(60.0)
            assert limit(w) == 1
            store.broken = False
            await w.until(lambda: limit(w) == 3, within=20.0)

    run_virtual(story())


def test_a_task_behind_a_pause_is_not_lost_when_its_host_is_paused_for_good() -> None:
    async def story() -> None:
        async with world(fleet({"a": 1, "b": 1})) as w:
            await w.dispatcher.overrides.pause("a", "broken")
            ids = await w.submit(*(draft() for _ in range(3)))
            await w.settled()
            assert {w.task(i).host for i in ids} == {"b"}
            assert {w.task(i).status for i in ids} == {Status.CLOSED}

    run_virtual(story())

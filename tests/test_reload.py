"""Another hosts.yaml is taken over while tasks run, told as stories on virtual time.

After each story the journal's checker must find nothing: `world` sees to that.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.worlds import Failing, Losing, World, draft, fleet, run_virtual, world
from ygg.board import Reason
from ygg.dispatcher import Draining, Unroutable
from ygg.faults import Cause, Failure
from ygg.fleet import DispatcherSettings, Fleet, Option, SlotSettings, TypeSettings
from ygg.health import Mode
from ygg.journal import Event, Kind
from ygg.overrides import PinnedInFile
from ygg.resizes import Decision, DecisionAction, DecisionReason, Effect
from ygg.tasks import Lane, Status

pytestmark = pytest.mark.pure

VISION = TypeSettings(name="vision", run=(Option("eyes", "m"),))


def with_slots(settings: Fleet, name: str, slots: SlotSettings) -> Fleet:
    host = replace(settings.hosts[name], slots=slots)
    return replace(settings, hosts={**settings.hosts, name: host})


def with_host(settings: Fleet, name: str, **changed: object) -> Fleet:
    host = replace(settings.hosts[name], **changed)  # type: ignore[arg-type]  # a test's keywords
    return replace(settings, hosts={**settings.hosts, name: host})


def rows(w: World, kind: Kind) -> list[Event]:
    return [row for row in w.store.tables.rows if row.kind is kind]


def statuses(w: World) -> list[str]:
    return sorted(task.status.value for task in w.tasks)


async def running(w: World, host: str, count: int) -> None:
    await w.until(lambda: w.servers[host].running == count)


def test_an_added_host_starts_what_waits_at_once() -> None:
    async def story() -> None:
        async with world(fleet({"a": 1})) as w:
            w.servers["a"].seconds = 1000.0
            await w.submit(*(draft() for _ in range(3)))
            await running(w, "a", 1)
            await w.dispatcher.reload(fleet({"a": 1, "b": 2}))
            await running(w, "b", 2)
            assert w.servers["a"].running == 1, "what ran there runs on"
            w.servers["a"].seconds = 1.0
            w.hurry.set()

    run_virtual(story())


def test_a_removed_host_ends_what_it_runs_gets_nothing_more_and_is_gone() -> None:
    async def story() -> None:
        async with world(fleet({"a": 1, "b": 2})) as w:
            w.servers["a"].seconds = w.servers["b"].seconds = 100.0
            await w.submit(*(draft(str(n)) for n in range(6)))
            await running(w, "b", 2)
            await w.dispatcher.reload(fleet({"a": 1}))
            looks = len(w.servers["b"].looks)
            assert w.dispatcher.board.hosts["b"].removed
            assert (w.servers["b"].running, w.servers["b"].most) == (2, 2)
            await w.settled(within=1000.0)
            assert len(w.servers["b"].asked) == 2
            assert "b" not in w.dispatcher.board.hosts
            assert "b" not in w.dispatcher.board.semaphores
            assert len(w.servers["b"].looks) == looks, "nobody asks it any more"
            assert statuses(w) == ["closed"] * 6

    run_virtual(story())


def test_a_host_that_comes_back_before_its_tasks_end_still_counts_them() -> None:
    async def story() -> None:
        async with world(fleet({"a": 1, "b": 2})) as w:
            w.servers["a"].seconds = w.servers["b"].seconds = 50.0
            await w.submit(*(draft(str(n)) for n in range(8)))
            await running(w, "b", 2)
            await w.dispatcher.reload(fleet({"a": 1}))
            await w.dispatcher.reload(fleet({"a": 1, "b": 3}))
            await running(w, "b", 3)
            await w.settled(within=1000.0)
            assert w.servers["b"].most == 3

    run_virtual(story())


def test_without_any_host_of_their_type_tasks_wait_with_no_host_and_start_when_one_returns() -> (
    None
):
    async def story() -> None:
        with_eyes = fleet({"h": 1, "eyes": 1}, {n: ["h"] for n in ("general", "reasoning")},
                          types={"vision": VISION})  # fmt: skip
        async with world(with_eyes) as w:
            w.servers["eyes"].seconds = 50.0
            await w.submit(*(draft(str(n), type="vision") for n in range(3)))
            await running(w, "eyes", 1)
            await w.dispatcher.reload(fleet({"h": 1}))
            await asyncio.sleep(100.0)
            assert statuses(w) == ["closed", "open", "open"]
            board = w.dispatcher.board
            assert board.may_run(Lane("vision"), None, Option("eyes", "m")) is Reason.NO_HOST
            with pytest.raises(Unroutable, match="no type 'vision'"):
                await w.submit(draft(type="vision"))
            await w.dispatcher.reload(with_eyes)
            await w.settled()
            assert w.servers["eyes"].asked == ["0", "1", "2"]

    run_virtual(story())


def test_a_type_whose_route_is_emptied_waits_too_and_refuses_new_tasks_with_the_reason() -> None:
    async def story() -> None:
        old = fleet({"h": 1, "eyes": 1}, {"general": ["h"], "reasoning": ["eyes"]})
        none = fleet({"h": 1}, {n: ["h"] for n in ("general", "code-generation")})
        nowhere = {n: replace(t, run=()) for n, t in none.types.items() if n == "reasoning"}
        none = replace(none, types={**none.types, **nowhere})
        async with world(old) as w:
            w.servers["eyes"].seconds = 50.0
            await w.submit(*(draft(str(n), type="reasoning") for n in range(2)))
            await running(w, "eyes", 1)
            await w.dispatcher.reload(none)
            with pytest.raises(
                Unroutable, match="no host runs the type 'reasoning' now: its `run:`"
            ):
                await w.submit(draft(type="reasoning"))
            await asyncio.sleep(100.0)
            assert statuses(w) == ["closed", "open"]
            assert w.dispatcher.board.options_of(Lane("reasoning")) == ()
            await w.dispatcher.reload(old)
            await w.settled()
            assert len(w.servers["eyes"].asked) == 2

    run_virtual(story())


def test_the_end_of_a_task_is_written_by_the_settings_that_it_began_with() -> None:
    """Its type is gone by then: what it said of a second run holds all the same."""

    async def story() -> None:
        once = replace(VISION, repeat=False)
        async with world(fleet({"h": 1, "eyes": 1}, types={"vision": once})) as w:
            failure = Failure(Cause.CUT_OFF, "the server died", taken=True)
            w.servers["eyes"].seconds, w.servers["eyes"].script = 10.0, [failure]
            (task_id,) = await w.submit(draft(type="vision"))
            await running(w, "eyes", 1)
            await w.dispatcher.reload(fleet({"h": 1}))
            await w.settled()
            assert (w.task(task_id).status, w.task(task_id).error) == (
                Status.BLOCKED, "the server died",
            )  # fmt: skip

    run_virtual(story())


def test_a_limit_that_was_edited_holds_at_once_and_a_shrink_stops_nothing() -> None:
    async def story() -> None:
        three = fleet({"h": 3})
        async with world(three) as w:
            w.servers["h"].seconds = 10.0
            await w.submit(*(draft(str(n)) for n in range(12)))
            await running(w, "h", 3)
            await w.dispatcher.reload(with_slots(three, "h", SlotSettings(start=1, max=8)))
            assert w.servers["h"].running == 3
            await running(w, "h", 1)
            await w.dispatcher.reload(with_slots(three, "h", SlotSettings(start=5, max=8)))
            await running(w, "h", 5)
            await w.settled()
            assert [row.detail["limit"] for row in rows(w, Kind.RESIZED)] == [3, 1, 5]

    run_virtual(story())


def test_a_pin_of_the_file_wins_over_the_autoscaler_until_it_is_taken_away() -> None:
    async def story() -> None:
        free = fleet({"h": 2})
        pinned = with_slots(free, "h", SlotSettings(start=2, max=8, pin=1, pin_line=4))
        async with world(free) as w:

            async def autoscaler_wants(expected: int, limit: int) -> Effect:
                decision = Decision(
                    expected=expected, limit=limit, action=DecisionAction.GROW,
                    reason=DecisionReason("wait"), evidence={}, dry_run=False,
                )  # fmt: skip
                verdicts = await w.dispatcher.autoscaling.take("it", {"h": decision})
                return verdicts["h"].effect

            def limit() -> int:
                return w.dispatcher.board.semaphores["h"].slots.limit

            assert await autoscaler_wants(2, 4) is Effect.RESIZED
            await w.dispatcher.reload(pinned)
            assert limit() == 1
            assert await autoscaler_wants(1, 5) is Effect.PINNED
            with pytest.raises(PinnedInFile, match=r"hosts\.yaml:4"):
                await w.dispatcher.overrides.pin("h", 3)
            await w.dispatcher.reload(free)
            assert limit() == 4, "what the autoscaler had come to, and not the start"
            assert await autoscaler_wants(4, 5) is Effect.RESIZED

    run_virtual(story())


def test_a_pin_and_a_pause_by_hand_outlive_reloads_and_even_their_host() -> None:
    async def story() -> None:
        both = fleet({"a": 1, "b": 2})
        async with world(both) as w:
            await w.dispatcher.overrides.pin("b", 1)
            await w.dispatcher.overrides.pause("b", "it is hot")
            await w.dispatcher.reload(fleet({"a": 1}))
            await w.dispatcher.reload(both)
            b = w.dispatcher.board.hosts["b"]
            assert (b.paused, b.semaphore.slots.limit) == ("it is hot", 1)

    run_virtual(story())


def test_another_route_another_timeout_and_another_model_hold_for_the_next_start() -> None:
    async def story() -> None:
        old = fleet({"a": 1, "b": 1}, {"general": ["a"]})
        async with world(old) as w:
            await w.submit(draft("first"))
            await w.settled()
            general = replace(old.types["general"], run=(Option("b", "n"),), timeout=7.0)
            await w.dispatcher.reload(replace(old, types={**old.types, "general": general}))
            await w.submit(draft("second"))
            await w.settled()
            assert (w.servers["a"].asked, w.servers["b"].asked) == (["first"], ["second"])
            assert rows(w, Kind.STARTED)[-1].model == "n"

    run_virtual(story())


def test_behind_another_address_another_server_is_asked_before_it_takes_starts() -> None:
    async def story() -> None:
        old = fleet({"h": 2})
        async with world(old) as w:
            w.servers["h"].seconds = 10.0
            await w.submit(*(draft(str(n)) for n in range(3)))
            await running(w, "h", 2)
            w.servers["h"].down = True  # as the new address: what runs at the old one goes on
            await w.dispatcher.reload(with_host(old, "h", url="http://moved"))
            assert w.dispatcher.board.hosts["h"].mode is Mode.DOWN
            w.servers["h"].down = False
            looks = len(w.servers["h"].looks)
            await w.until(lambda: w.dispatcher.board.hosts["h"].mode is Mode.UP)
            assert len(w.servers["h"].looks) > looks
            assert w.servers["h"].running == 2
            await w.settled()
            assert statuses(w) == ["closed"] * 3

    run_virtual(story())


def test_a_key_of_a_host_that_says_nothing_of_its_server_asks_nobody() -> None:
    async def story() -> None:
        old = fleet({"h": 2})
        async with world(old) as w:
            await w.until(lambda: w.dispatcher.board.hosts["h"].mode is Mode.UP)
            looks = len(w.servers["h"].looks)
            await w.dispatcher.reload(with_host(old, "h", keep_alive="1h"))
            assert w.dispatcher.board.hosts["h"].mode is Mode.UP
            assert len(w.servers["h"].looks) == looks

    run_virtual(story())


def test_a_model_that_was_missing_is_nobodys_trouble_once_no_type_runs_on_it() -> None:
    async def story() -> None:
        old = fleet({"h": 1})
        async with world(old) as w:
            w.servers["h"].has_it = False
            w.servers["h"].script = [Failure(Cause.NO_MODEL, "no such model", taken=False)]
            (task_id,) = await w.submit(draft())
            option = Option("h", "m")
            host = w.dispatcher.board.hosts["h"]
            await w.until(lambda: host.options[option].mode is Mode.DOWN)
            other = {n: replace(t, run=(Option("h", "n"),)) for n, t in old.types.items()}
            await w.dispatcher.reload(replace(old, types=other))
            assert host.options[option].mode is Mode.UP
            await w.settled()
            assert w.task(task_id).status is Status.CLOSED
            await w.dispatcher.reload(old)
            await w.submit(draft())
            await w.settled()
            assert not w.dispatcher.keeper.option_healths("h")

    run_virtual(story())


def test_what_only_a_restart_can_change_keeps_its_value_and_the_rest_is_taken() -> None:
    async def story() -> None:
        old = fleet({"h": 1})
        async with world(old) as w:
            new = DispatcherSettings(listen=("127.0.0.1:1",), store="sqlite:x", drain_seconds=5.0)
            await w.dispatcher.reload(replace(old, dispatcher=new))
            now = w.dispatcher.fleet.dispatcher
            assert (now.listen, now.store, now.drain_seconds) == (("127.0.0.1:8765",), None, 5.0)

    run_virtual(story())


def test_the_row_of_a_reload_tells_its_routes_and_what_changed_in_words() -> None:
    async def story() -> None:
        async with world(fleet({"a": 1})) as w:
            await w.dispatcher.reload(fleet({"a": 1, "b": 1}))
            row = rows(w, Kind.CONFIGURED)[-1]
            assert row.detail["routes"]["general"] == [["a", "m"], ["b", "m"]]  # type: ignore[index,call-overload]  # JSON
            assert "host b is added: http://b, 1 slot (1 to 8)" in row.detail["changes"]  # type: ignore[operator]  # JSON

    run_virtual(story())


def test_a_file_that_says_the_same_on_other_lines_writes_no_row() -> None:
    async def story() -> None:
        old = fleet({"h": 1})
        async with world(old) as w:
            before = len(w.store.tables.rows)
            await w.dispatcher.reload(with_host(old, "h", line=99))
            assert w.dispatcher.fleet.hosts["h"].line == 99
            assert len(w.store.tables.rows) == before

    run_virtual(story())


def test_who_follows_hears_of_what_was_taken_over() -> None:
    async def story() -> None:
        heard: list[list[str]] = []
        async with world(fleet({"a": 1})) as w:
            w.dispatcher.followers.append(lambda f: heard.append(list(f.hosts)))
            await w.dispatcher.reload(fleet({"a": 1, "b": 1}))
        assert heard == [["a", "b"]]

    run_virtual(story())


def test_a_dispatcher_that_drains_takes_nothing_over() -> None:
    async def story() -> None:
        async with world(fleet({"a": 1})) as w:
            w.servers["a"].seconds = 10.0
            await w.submit(draft())
            await running(w, "a", 1)
            draining = asyncio.ensure_future(w.dispatcher.drain(asyncio.Event()))
            await asyncio.sleep(1.0)
            with pytest.raises(Draining):
                await w.dispatcher.reload(fleet({"b": 1}))
            assert list(w.dispatcher.fleet.hosts) == ["a"]
            await draining

    run_virtual(story())


def test_a_reload_waits_for_a_store_that_takes_nothing_and_half_of_it_is_never_seen() -> None:
    async def story() -> None:
        store = Failing()
        async with world(fleet({"a": 1}), store=store) as w:
            await w.until(lambda: w.dispatcher.board.hosts["a"].mode is Mode.UP)
            store.broken = True
            reloading = asyncio.ensure_future(w.dispatcher.reload(fleet({"b": 1})))
            await asyncio.sleep(20.0)
            assert list(w.dispatcher.fleet.hosts) == list(w.dispatcher.board.hosts) == ["a"]
            store.broken = False
            await reloading
            assert list(w.dispatcher.fleet.hosts) == list(w.dispatcher.board.hosts) == ["b"]
            await w.submit(draft())
            await w.settled()

    run_virtual(story())


@pytest.mark.parametrize("fate", ["undone", "told", "found"])
def test_a_reload_whose_commit_was_in_doubt_is_taken_over_whole(fate: str) -> None:
    async def story() -> None:
        store = Losing(fate)  # type: ignore[arg-type]  # one of its words
        async with world(fleet({"a": 1}), store=store) as w:
            await w.until(lambda: w.dispatcher.board.hosts["a"].mode is Mode.UP)
            store.at = Kind.CONFIGURED
            reloading = asyncio.ensure_future(
                w.dispatcher.reload(fleet({"b": 1, "eyes": 1}, types={"vision": VISION}))
            )
            await asyncio.sleep(20.0)
            assert list(w.dispatcher.fleet.hosts) == list(w.dispatcher.board.hosts)
            store.well()
            await reloading
            await w.until(lambda: w.dispatcher.store_trouble is None)
            assert list(w.dispatcher.fleet.hosts) == ["b", "eyes"]
            await w.submit(draft(), draft(type="vision"))
            await w.settled()

    run_virtual(story())


def test_hosts_may_change_the_card_that_they_share() -> None:
    async def story() -> None:
        async with world(fleet({"a": 2, "b": 2})) as w:
            w.servers["a"].seconds = w.servers["b"].seconds = 5.0
            await w.submit(*(draft(str(n)) for n in range(20)))
            await running(w, "b", 2)
            await w.dispatcher.reload(fleet({"a": 2, "b": 2}, shares={"b": "a"}))
            await asyncio.sleep(6.0)
            seen = 0
            while any(t.status is not Status.CLOSED for t in w.tasks):
                seen = max(seen, w.servers["a"].running + w.servers["b"].running)
                await asyncio.sleep(0.5)
            assert seen == 2

    run_virtual(story())


def test_one_that_was_given_up_in_an_outage_and_stands_is_followed_by_the_next() -> None:
    """The row of the first is heard with that of the second, and both are taken over, in order."""

    async def story() -> None:
        store = Losing("found")
        async with world(fleet({"a": 1}), store=store) as w:
            await w.until(lambda: w.dispatcher.board.hosts["a"].mode is Mode.UP)
            store.at = Kind.CONFIGURED
            first = asyncio.ensure_future(w.dispatcher.reload(fleet({"a": 1, "b": 1})))
            await asyncio.sleep(0.1)
            first.cancel()
            second = asyncio.ensure_future(
                w.dispatcher.reload(fleet({"eyes": 1}, types={"vision": VISION}))
            )
            await asyncio.sleep(5.0)
            store.well()
            await second
            await w.until(lambda: w.dispatcher.store_trouble is None)
            board = {name for name, host in w.dispatcher.board.hosts.items() if not host.removed}
            assert set(w.dispatcher.fleet.hosts) == board == {"eyes"}
            await w.submit(draft(type="vision"))
            await w.settled()

    run_virtual(story())

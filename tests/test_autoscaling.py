"""An autoscaler's decisions carried out, told as stories on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from tests.worlds import Failing, World, draft, fleet, run_virtual, world
from ygg.fleet import Fleet, SlotSettings
from ygg.health import Mode
from ygg.journal import Event, Kind
from ygg.resizes import Decision, DecisionAction, DecisionReason, Effect, LeaseHeld
from ygg.stores.base import StoreError
from ygg.stores.memory import MemoryStore
from ygg.stores.operations import Operations

pytestmark = pytest.mark.pure
T = TypeVar("T")


def decided(
    expected: int, limit: int, reason: DecisionReason = DecisionReason.WAIT, **more: object
) -> Decision:
    action = DecisionAction.GROW if limit > expected else DecisionAction.SHRINK
    evidence = {"utilization": 0.4, **more}
    return Decision(
        expected=expected, limit=limit, action=action, reason=reason, evidence=evidence  # type: ignore[arg-type]  # as given
    )  # fmt: skip


async def effect(w: World, decision: Decision, *, host: str = "h", holder: str = "a") -> Effect:
    return (await w.dispatcher.autoscaling.take(holder, {host: decision}))[host].effect


def limit(w: World, host: str = "h") -> int:
    return w.dispatcher.board.semaphores[host].slots.limit


def resizes(w: World) -> list[Event]:
    return [row for row in w.store.tables.rows if row.kind is Kind.RESIZED and row.detail.get("by")]


def bounded(**slots: int) -> Fleet:
    settings = fleet({"h": 2})
    return replace(settings, hosts={"h": replace(settings.hosts["h"], slots=SlotSettings(**slots))})


def test_a_growth_starts_what_waits_at_once_and_is_a_row_with_its_reason() -> None:
    async def story() -> None:
        async with world(fleet({"h": 1})) as w:
            w.servers["h"].seconds = 1000.0
            await w.submit(*(draft() for _ in range(4)))
            await w.until(lambda: w.servers["h"].running == 1)
            assert await effect(w, decided(1, 3), holder="niflheim/1") is Effect.RESIZED
            await w.until(lambda: w.servers["h"].running == 3, within=1.0)
            (row,) = resizes(w)
            assert (row.host, row.reason) == ("h", "wait")
            assert row.detail == {
                "before": 1, "limit": 3, "by": "niflheim/1", "evidence": {"utilization": 0.4}
            }  # fmt: skip
            w.hurry.set()

    run_virtual(story())


def test_a_shrink_kills_nothing() -> None:
    async def story() -> None:
        async with world(fleet({"h": 3})) as w:
            w.servers["h"].seconds = 10.0
            await w.submit(*(draft() for _ in range(4)))
            await w.until(lambda: w.servers["h"].running == 3)
            assert await effect(w, decided(3, 1, DecisionReason.MEMORY_HIGH)) is Effect.RESIZED
            assert (limit(w), w.servers["h"].running) == (1, 3)
            await w.settled()

    run_virtual(story())


def test_all_resizes_of_a_call_are_one_commit_and_one_in_vain_hinders_no_other() -> None:
    async def story() -> None:
        async with world(fleet({"a": 2, "b": 2, "c": 1}, shares={"c": "b"})) as w:
            verdicts = await w.dispatcher.autoscaling.take(
                "me",
                {"a": decided(2, 3), "b": decided(1, 4), "c": decided(2, 3), "x": decided(1, 2)},
            )
            assert {host: found.effect for host, found in verdicts.items()} == {
                "a": Effect.RESIZED, "b": Effect.STALE, "c": Effect.SHARED,
                "x": Effect.UNKNOWN_HOST,
            }  # fmt: skip
            assert (limit(w, "a"), limit(w, "b")) == (3, 2)
            assert set(w.dispatcher.autoscaling.decided) == {"a", "b", "c"}, "no names of others"

    run_virtual(story())


def test_a_resize_leaves_the_bounds_neither_of_the_file_nor_of_the_server() -> None:
    async def story() -> None:
        async with world(bounded(start=2, min=2, max=6)) as w:
            for wrong in (1, 7):
                assert await effect(w, decided(2, wrong)) is Effect.OUT_OF_BOUNDS
            w.servers["h"].most_at_once = 4
            assert await effect(w, decided(2, 5)) is Effect.OUT_OF_BOUNDS
            assert await effect(w, decided(2, 4)) is Effect.RESIZED
            assert limit(w) == 4

    run_virtual(story())


def test_a_late_resize_overwrites_no_pin_and_none_that_has_gone_since() -> None:
    async def story() -> None:
        async with world(fleet({"h": 3})) as w:
            overrides, late = w.dispatcher.overrides, decided(3, 4)
            await overrides.pin("h", 3, by="me")  # even one at the limit that was expected
            assert await effect(w, late) is Effect.PINNED
            await overrides.pin("h", 5)
            assert await effect(w, late) is Effect.PINNED
            assert limit(w) == 5
            await overrides.unpin("h")
            assert await effect(w, late) is Effect.RESIZED
            assert (limit(w), w.dispatcher.host_rows["h"].unpinned) == (4, None)

    run_virtual(story())


class Slow(MemoryStore):
    """A store whose commits take a while: what is decided meanwhile rests on what was before."""

    async def _commit(self, operation: Callable[[Operations], T]) -> T:
        await asyncio.sleep(0.5)
        return await super()._commit(operation)


def test_of_a_pin_and_a_resize_at_once_the_pin_holds_and_gives_back_what_was() -> None:
    async def story(resize_first: bool) -> None:
        async with world(fleet({"h": 3}), store=Slow()) as w:
            pin = w.dispatcher.overrides.pin("h", 1)
            resize = effect(w, decided(3, 4))
            orders = [resize, pin] if resize_first else [pin, resize]
            found = await asyncio.gather(*orders)
            assert limit(w) == 1
            assert (Effect.RESIZED in found) == resize_first
            await w.dispatcher.overrides.unpin("h")
            assert limit(w) == (4 if resize_first else 3)

    for resize_first in (True, False):
        run_virtual(story(resize_first))


def test_of_two_calls_at_once_each_resize_is_carried_out_once() -> None:
    async def story() -> None:
        async with world(fleet({"h": 3}), store=Slow()) as w:
            found = await asyncio.gather(*(effect(w, decided(3, limit)) for limit in (4, 5, 4)))
            assert found == [Effect.RESIZED, Effect.STALE, Effect.UNCHANGED]
            assert len(resizes(w)) == 1

    run_virtual(story())


def test_a_server_that_runs_fewer_at_once_grows_no_limit_that_was_just_shrunk() -> None:
    async def story() -> None:
        async with world(fleet({"h": 4}), store=Slow()) as w:
            await w.until(lambda: w.dispatcher.board.hosts["h"].mode is Mode.UP)
            w.servers["h"].most_at_once = 3
            shrink = effect(w, decided(4, 2, DecisionReason.MEMORY_HIGH))
            found, _ = await asyncio.gather(shrink, w.dispatcher.look("h"))
            assert (found, limit(w)) == (Effect.RESIZED, 2)

    run_virtual(story())


def test_a_late_resize_overwrites_no_limit_that_the_server_has_just_set() -> None:
    async def story() -> None:
        async with world(fleet({"h": 4}), store=Slow()) as w:
            await w.until(lambda: w.dispatcher.board.hosts["h"].mode is Mode.UP)
            w.servers["h"].most_at_once = 2
            shrink = effect(w, decided(4, 1, DecisionReason.MEMORY_HIGH))
            _, found = await asyncio.gather(w.dispatcher.look("h"), shrink)
            assert (found, limit(w)) == (Effect.STALE, 2)

    run_virtual(story())


def test_the_pin_of_the_file_stands_and_is_named_with_its_line() -> None:
    async def story() -> None:
        async with world(bounded(start=2, max=6, pin=2, pin_line=7)) as w:
            verdict = (await w.dispatcher.autoscaling.take("a", {"h": decided(2, 3)}))["h"]
            assert verdict == (Effect.PINNED, "it is pinned at 2 in hosts.yaml:7")
            assert limit(w) == 2

    run_virtual(story())


def test_a_late_resize_overwrites_no_edit_of_the_file() -> None:
    async def story() -> None:
        store = MemoryStore()
        async with world(bounded(start=2, max=6), store=store) as w:
            assert await effect(w, decided(2, 4)) is Effect.RESIZED
        async with world(bounded(start=3, max=6), store=store, identity="d2") as w:
            assert limit(w) == 3
            assert await effect(w, decided(4, 5)) is Effect.STALE
            assert limit(w) == 3

    run_virtual(story())


def test_limits_outlive_a_restart_within_the_bounds_that_are_then() -> None:
    async def story() -> None:
        store = MemoryStore()
        async with world(bounded(start=2, max=6), store=store) as w:
            assert await effect(w, decided(2, 5)) is Effect.RESIZED
        async with world(bounded(start=2, max=6), store=store, identity="d2") as w:
            assert limit(w) == 5
            assert w.dispatcher.autoscaling.heard is None
        async with world(bounded(start=2, max=4), store=store, identity="d3") as w:
            assert limit(w) == 4

    run_virtual(story())


def test_a_dry_run_is_kept_to_be_shown_and_changes_nothing() -> None:
    async def story() -> None:
        async with world(fleet({"h": 2})) as w:
            assert await effect(w, replace(decided(2, 3), dry_run=True)) is Effect.DRY_RUN
            assert (limit(w), resizes(w)) == (2, [])
            assert w.dispatcher.autoscaling.decided["h"].decision.limit == 3

    run_virtual(story())


# -- two of them ---------------------------------------------------------------------------------


def test_a_second_autoscaler_changes_nothing_until_the_first_is_silent_for_three_intervals() -> (
    None
):
    async def story() -> None:
        async with world(fleet({"h": 2})) as w:
            take = w.dispatcher.autoscaling.take
            await take("a", {"h": decided(2, 3)}, interval=10.0)
            await asyncio.sleep(20.0)
            await take("a", {}, interval=10.0)
            await asyncio.sleep(29.0)
            with pytest.raises(LeaseHeld, match="'a' holds the lease for another 1 s"):
                await take("b", {"h": decided(3, 4)})
            assert limit(w) == 3
            await asyncio.sleep(1.5)
            assert (await take("b", {"h": decided(3, 4)}))["h"].effect is Effect.RESIZED
            with pytest.raises(LeaseHeld, match="'b'"):
                await take("a", {"h": decided(4, 1)})
            assert limit(w) == 4

    run_virtual(story())


def test_one_that_leaves_is_followed_at_once() -> None:
    async def story() -> None:
        async with world(fleet({"h": 2})) as w:
            await w.dispatcher.autoscaling.take("a", {"h": decided(2, 3)}, leaves=True)
            assert await effect(w, decided(3, 4), holder="b") is Effect.RESIZED

    run_virtual(story())


def test_a_new_autoscaler_is_not_shown_with_the_decisions_of_the_old_one() -> None:
    async def story() -> None:
        async with world(fleet({"a": 2, "b": 2})) as w:
            autoscaling = w.dispatcher.autoscaling
            await autoscaling.take("1", {"a": decided(2, 3)})
            await autoscaling.take("1", {"b": decided(2, 3)})
            assert set(autoscaling.decided) == {"a", "b"}
            await asyncio.sleep(100.0)
            await autoscaling.take("2", {"b": decided(3, 4)})
            assert set(autoscaling.decided) == {"b"}

    run_virtual(story())


# -- bad days ------------------------------------------------------------------------------------


def test_what_the_store_does_not_take_is_neither_done_nor_told_as_done() -> None:
    async def story() -> None:
        store = Failing()
        async with world(fleet({"h": 2}), store=store) as w:
            store.broken = True
            with pytest.raises(StoreError):
                await effect(w, decided(2, 3))
            assert (limit(w), w.dispatcher.autoscaling.decided) == (2, {})
            store.broken = False
            assert await effect(w, decided(2, 3)) is Effect.RESIZED

    run_virtual(story())


def test_the_same_call_again_changes_nothing_more() -> None:
    async def story() -> None:
        async with world(fleet({"h": 2})) as w:
            assert await effect(w, decided(2, 3)) is Effect.RESIZED
            assert await effect(w, decided(2, 3)) is Effect.UNCHANGED
            assert len(resizes(w)) == 1

    run_virtual(story())

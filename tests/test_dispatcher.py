"""The loop around assign, told as stories on virtual time."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import pytest

from tests.worlds import (
    Damaged,
    Failing,
    Losing,
    NoMeter,
    Picky,
    World,
    draft,
    fleet,
    refused,
    run_virtual,
    world,
)
from ygg.artifacts import ArtifactError
from ygg.dispatcher import Draining, NotAccepting, Unroutable
from ygg.faults import Cause, Failure
from ygg.fleet import DispatcherSettings, Option, TypeSettings
from ygg.handlers import Place
from ygg.health import Mode
from ygg.hosts.base import Answer, Progress, Request
from ygg.journal import Kind
from ygg.lifecycle import Refused
from ygg.stores.base import StoreError, Unstorable
from ygg.stores.memory import MemoryStore
from ygg.tasks import Draft, Outcome, Status, Task

pytestmark = pytest.mark.pure


def test_a_task_is_answered_and_closed_with_its_artifact() -> None:
    async def story() -> None:
        async with world() as w:
            (task_id,) = await w.submit(draft("why?"))
            await w.settled()
            task = w.task(task_id)
            assert (task.status, task.outcome, task.host) == (Status.CLOSED, Outcome.DONE, "h")
            assert task.artifact is not None
            assert w.answers.texts[task_id] == "answer to why?"
            assert task.answer is not None
            assert task.answer["completion_tokens"] == 5

    run_virtual(story())


def test_the_urgent_task_that_came_last_runs_next() -> None:
    async def story() -> None:
        async with world() as w:
            await w.submit(*(draft(f"low {i}", priority=3) for i in range(5)))
            await w.until(lambda: len(w.servers["h"].asked) == 1)
            await w.submit(draft("urgent", priority=0))
            await w.settled()
            assert w.servers["h"].asked == ["low 0", "urgent", "low 1", "low 2", "low 3", "low 4"]

    run_virtual(story())


def test_a_full_host_does_not_hold_up_another() -> None:
    async def story() -> None:
        routes = {"reasoning": ["slow"], "general": ["fast"]}
        async with world(fleet({"slow": 1, "fast": 1}, routes)) as w:
            w.servers["slow"].seconds = 1000.0
            await w.submit(*(draft(type="reasoning", priority=0) for _ in range(3)))
            await w.submit(*(draft(type="general", priority=4) for _ in range(3)))
            await w.until(lambda: len(w.servers["fast"].asked) == 3, within=30.0)
            w.hurry.set()

    run_virtual(story())


def test_never_more_at_once_than_the_limit_on_a_shared_card() -> None:
    async def story() -> None:
        one_card = fleet({"a": 3, "b": 3}, shares={"b": "a"})
        async with world(one_card) as w:
            seen: list[int] = []
            await w.submit(*(draft() for _ in range(20)))
            while any(t.status is not Status.CLOSED for t in w.tasks):
                seen.append(w.servers["a"].running + w.servers["b"].running)
                await asyncio.sleep(0.1)
            assert max(seen) == 3

    run_virtual(story())


@pytest.mark.parametrize("cause", [Cause.BAD_REQUEST, Cause.EMPTY_ANSWER, Cause.DEADLINE])
def test_the_tasks_own_fault_blocks_it_with_the_error(cause: Cause) -> None:
    async def story() -> None:
        async with world() as w:
            w.servers["h"].script = [Failure(cause, "what was wrong", taken=True)]
            first, second = await w.submit(draft("bad"), draft("good"))
            await w.settled()
            assert (w.task(first).status, w.task(first).error) == (Status.BLOCKED, "what was wrong")
            assert w.task(first).strikes == 0
            assert w.task(second).status is Status.CLOSED

    run_virtual(story())


def test_a_host_that_refuses_costs_no_strike_and_the_task_goes_to_the_next_option() -> None:
    async def story() -> None:
        async with world(fleet({"a": 1, "b": 1})) as w:
            await w.until(lambda: len(w.dispatcher.live_hosts()) == 2)
            w.servers["a"].down = True
            (task_id,) = await w.submit(draft())
            await w.settled()
            assert (w.task(task_id).host, w.task(task_id).strikes) == ("b", 0)

    run_virtual(story())


def test_a_server_restart_loses_and_blocks_nothing() -> None:
    async def story() -> None:
        async with world(fleet({"h": 2})) as w:
            ids = await w.submit(*(draft(str(i)) for i in range(10)))
            await w.until(lambda: w.servers["h"].running == 2)
            w.servers["h"].down = True
            await asyncio.sleep(20.0)
            w.servers["h"].down = False
            came_back = w.clock.monotonic()
            await w.until(lambda: w.servers["h"].running > 0)
            assert w.clock.monotonic() - came_back <= 5.0 + 0.1  # the longest pause of a probe
            await w.settled()
            assert {w.task(i).status for i in ids} == {Status.CLOSED}
            # Only the two that were running when it died have a strike.
            assert sorted(w.task(i).strikes for i in ids) == [0] * 8 + [1, 1]
            first_after = w.servers["h"].asked[2:]
            assert first_after[:2] == ["0", "1"], "they went back to their places"

    run_virtual(story())


def test_after_a_failure_one_task_goes_first_then_all() -> None:
    async def story() -> None:
        async with world(fleet({"h": 4})) as w:
            server = w.servers["h"]
            server.script = [Failure(Cause.RESET, "reset", taken=True)]
            await w.until(lambda: len(w.dispatcher.live_hosts()) == 1)
            await w.submit(draft("fails"))
            await w.until(lambda: not w.dispatcher.live_hosts())
            await w.submit(*(draft(str(i)) for i in range(8)))
            await w.until(lambda: server.running > 0)
            assert server.running == 1
            await w.until(lambda: server.running == 4)

    run_virtual(story())


def test_three_strikes_block_a_task_that_kills_its_server() -> None:
    async def story() -> None:
        async with world() as w:
            w.servers["h"].script = [Failure(Cause.CUT_OFF, "died", taken=True)] * 3
            killer, other = await w.submit(draft("killer", priority=0), draft("other"))
            await w.settled()
            assert (w.task(killer).status, w.task(killer).strikes) == (Status.BLOCKED, 3)
            assert "died" in (w.task(killer).error or "")
            assert w.task(other).status is Status.CLOSED
            await w.dispatcher.retry([killer])
            await w.settled()
            assert (w.task(killer).status, w.task(killer).strikes) == (Status.CLOSED, 0)

    run_virtual(story())


def test_a_mistyped_model_leaves_the_backlog_open() -> None:
    async def story() -> None:
        async with world() as w:
            server = w.servers["h"]
            server.has_it = False
            server.script = [Failure(Cause.NO_MODEL, "no model m: pull it", taken=False)] * 1000
            ids = await w.submit(*(draft() for _ in range(100)))
            await asyncio.sleep(600.0)
            assert {w.task(i).status for i in ids} == {Status.OPEN}
            assert len(server.asked) == 1, "no task is spent on finding out"
            option = w.dispatcher.board.hosts["h"].options[Option("h", "m")]
            assert "pull it" in option.reason or "has no m" in option.reason
            server.script, server.has_it = [], True
            await w.settled(within=3600.0)
            assert {w.task(i).status for i in ids} == {Status.CLOSED}

    run_virtual(story())


def test_five_in_a_row_blocked_alike_stop_the_option_not_the_backlog() -> None:
    async def story() -> None:
        async with world() as w:
            server = w.servers["h"]
            server.script = [Failure(Cause.EMPTY_ANSWER, "empty", taken=True)] * 1000
            server.has_it = False
            ids = await w.submit(*(draft() for _ in range(100)))
            await asyncio.sleep(1000.0)
            blocked = [i for i in ids if w.task(i).status is Status.BLOCKED]
            assert len(blocked) == 5

    run_virtual(story())


def test_a_busy_host_rests_as_long_as_it_asked_and_nobody_is_struck() -> None:
    async def story() -> None:
        async with world() as w:
            busy = Failure(Cause.BUSY, "busy", taken=False, retry_after=30.0)
            w.servers["h"].script = [busy]
            (task_id,) = await w.submit(draft())
            await w.until(lambda: w.servers["h"].asked == ["a task"] and not w.dispatcher.attempts)
            rested_from = w.clock.monotonic()
            await w.until(lambda: len(w.servers["h"].asked) == 2)
            assert 29.0 < w.clock.monotonic() - rested_from < 31.0
            await w.settled()
            assert w.task(task_id).strikes == 0

    run_virtual(story())


def test_no_more_at_once_than_the_server_says_it_runs() -> None:
    async def story() -> None:
        async with world(fleet({"h": 4})) as w:
            w.servers["h"].most_at_once = 2
            await w.until(lambda: len(w.dispatcher.live_hosts()) == 1)
            await w.submit(*(draft() for _ in range(9)))
            await w.settled()
            assert w.servers["h"].most == 2
            resized = [e for e in w.store.tables.rows if e.reason == "server_parallelism"]
            assert [e.detail["limit"] for e in resized] == [2]

    run_virtual(story())


def test_idle_hosts_are_looked_at_and_busy_ones_judged_by_their_traffic() -> None:
    async def story() -> None:
        async with world() as w:
            await asyncio.sleep(100.0)
            idle_looks = len(w.servers["h"].looks)
            assert 6 <= idle_looks <= 8  # at once, then every 15 s
            w.servers["h"].seconds = 100.0
            await w.submit(draft())
            await w.settled()
            assert len(w.servers["h"].looks) <= idle_looks + 1

    run_virtual(story())


def test_cancel_ends_a_waiting_and_a_running_task() -> None:
    async def story() -> None:
        async with world() as w:
            w.servers["h"].seconds = 1000.0
            running, waiting = await w.submit(draft("runs"), draft("waits"))
            await w.until(lambda: w.servers["h"].running == 1)
            for task_id in (waiting, running):
                task = await w.dispatcher.cancel(task_id)
                assert (task.status, task.outcome) == (Status.CLOSED, Outcome.CANCELLED)
            assert w.servers["h"].running == 0
            w.servers["h"].seconds = 0.1
            (done,) = await w.submit(draft("quick"))
            await w.settled()
            with pytest.raises(Refused, match="nothing to cancel"):
                await w.dispatcher.cancel(done)

    run_virtual(story())


def test_a_task_for_later_starts_when_its_time_has_come() -> None:
    async def story() -> None:
        async with world() as w:
            later = w.clock.wall() + 500.0
            (task_id,) = await w.submit(draft("later", not_before=later))
            await asyncio.sleep(499.0)
            assert w.servers["h"].asked == []
            await w.settled()
            started = w.task(task_id).started_at
            assert started is not None
            assert later <= started < later + 1.0

    run_virtual(story())


def test_submit_refuses_what_nobody_could_ever_run() -> None:
    async def story() -> None:
        async with world() as w:
            with pytest.raises(Unroutable, match=r"no type 'poetry'.*known: code-generation"):
                await w.submit(draft(type="poetry"))
            with pytest.raises(Unroutable, match=r"model 'x'.*there are: m"):
                await w.submit(draft(model="x"))
            assert w.tasks == []

    run_virtual(story())


def test_created_at_never_runs_backwards() -> None:
    async def story() -> None:
        async with world() as w:
            w.servers["h"].hold = asyncio.Event()
            first = await w.submit(draft())
            w.clock.offset -= 3600.0  # somebody set the clock back an hour
            second = await w.submit(draft())
            assert w.task(first[0]).created_at <= w.task(second[0]).created_at
            w.servers["h"].hold.set()
            await w.settled()

    run_virtual(story())


# -- drain -----------------------------------------------------------------------------------------


def test_drain_lets_what_runs_end_and_starts_nothing_more() -> None:
    async def story() -> None:
        async with world() as w:
            w.servers["h"].seconds = 30.0
            running, waiting = await w.submit(draft("runs"), draft("waits"))
            await w.until(lambda: w.servers["h"].running == 1)
            await w.dispatcher.drain(w.hurry)
            assert w.task(running).status is Status.CLOSED
            assert w.task(waiting).status is Status.OPEN
            with pytest.raises(Draining):
                await w.submit(draft())

    run_virtual(story())


@pytest.mark.parametrize(("after", "status"), [("block", Status.BLOCKED), ("reopen", Status.OPEN)])
def test_drain_cuts_what_takes_too_long_without_a_strike(after: str, status: Status) -> None:
    async def story() -> None:
        settings = replace(
            DispatcherSettings(drain_seconds=60.0),
            after_drain="block" if after == "block" else "reopen",
        )
        async with world(fleet(settings=settings)) as w:
            w.servers["h"].seconds = 10_000.0
            (task_id,) = await w.submit(draft())
            await w.until(lambda: w.servers["h"].running == 1)
            began = w.clock.monotonic()
            await w.dispatcher.drain(w.hurry)
            assert 60.0 <= w.clock.monotonic() - began < 62.0
            assert w.task(task_id).status is status
            assert w.task(task_id).strikes == 0
            assert (w.task(task_id).error or "").startswith("drained")
            assert w.servers["h"].running == 0

    run_virtual(story())


def test_a_second_signal_cuts_the_wait_but_not_the_flush() -> None:
    async def story() -> None:
        async with world(fleet({"h": 3})) as w:
            w.servers["h"].seconds = 10_000.0
            ids = await w.submit(*(draft() for _ in range(3)))
            await w.until(lambda: w.servers["h"].running == 3)
            w.hurry.set()
            began = w.clock.monotonic()
            await w.dispatcher.drain(w.hurry)
            assert w.clock.monotonic() - began < 1.0
            assert {w.task(i).status for i in ids} == {Status.BLOCKED}

    run_virtual(story())


# -- rescue ----------------------------------------------------------------------------------------


def test_what_a_dead_dispatcher_left_runs_again_in_its_old_place() -> None:
    async def story() -> None:
        store = MemoryStore()
        async with world(store=store, crash=True) as w:
            w.servers["h"].seconds = 1000.0
            left, behind = await w.submit(draft("left"), draft("behind"))
            await w.until(lambda: w.servers["h"].running == 1)
        async with world(store=store, identity="d2") as w:
            assert w.task(left).strikes == 1
            await w.settled()
            assert w.servers["h"].asked == ["left", "behind"]
            assert {w.task(left).status, w.task(behind).status} == {Status.CLOSED}

    run_virtual(story())


def test_a_command_that_must_not_repeat_is_blocked_instead_of_rescued() -> None:
    once = TypeSettings(name="general", run=fleet().types["general"].run, repeat=False)

    async def story() -> None:
        store = MemoryStore()
        settings = fleet(types={"general": once})
        async with world(settings, store=store, crash=True) as w:
            w.servers["h"].seconds = 1000.0
            (left,) = await w.submit(draft("left"))
            await w.until(lambda: w.servers["h"].running == 1)
        async with world(settings, store=store, identity="d2") as w:
            await w.settled()
            assert w.task(left).status is Status.BLOCKED
            assert w.servers["h"].asked == []

    run_virtual(story())


# -- the store's bad days --------------------------------------------------------------------------


def test_a_full_disk_stops_starts_keeps_answers_and_heals_by_itself() -> None:
    async def story() -> None:
        store = Failing()
        async with world(fleet({"h": 2}), store=store) as w:
            w.servers["h"].seconds = 10.0
            ids = await w.submit(*(draft(str(i)) for i in range(6)))
            await w.until(lambda: w.servers["h"].running == 2)
            store.broken = True
            await asyncio.sleep(100.0)
            assert w.servers["h"].asked == ["0", "1"], "nothing new starts"
            assert w.dispatcher.store_trouble == "the disk is full"
            with pytest.raises(NotAccepting):
                await w.submit(draft())
            store.broken = False
            await w.settled()
            assert {w.task(i).status for i in ids} == {Status.CLOSED}
            assert w.servers["h"].asked == [str(i) for i in range(6)], "no answer was asked twice"
            assert w.dispatcher.store_trouble is None

    run_virtual(story())


@pytest.mark.parametrize("fate", ["told", "found"])
def test_a_claim_that_took_effect_though_it_was_reported_failed_runs_once_and_where_it_says(
    fate: Literal["told", "found"],
) -> None:
    async def story() -> None:
        store = Losing(fate)
        routes = {"general": ["b", "a"]}
        async with world(fleet({"a": 1, "b": 1}, routes), store=store) as w:
            w.servers["a"].hold = asyncio.Event()
            w.servers["b"].down = True
            await w.until(lambda: w.dispatcher.live_hosts() == ["a"])
            first, second = await w.submit(draft("first"), draft("second"))
            await w.until(lambda: w.servers["a"].running == 1)
            store.at = Kind.STARTED
            w.servers["a"].hold.set()
            await w.until(lambda: store.losing)
            await asyncio.sleep(30.0)
            assert w.servers["a"].asked == ["first"], "nobody knows whether it is ours"
            with pytest.raises(NotAccepting):
                await w.submit(draft())
            w.servers["b"].down = False  # it would be preferred now
            await asyncio.sleep(10.0)
            store.well()
            await _accepted(w, draft("third", priority=0))
            await w.settled()
            assert w.servers["a"].asked == ["first", "second"]
            assert w.servers["b"].asked == ["third"]
            for task_id in (first, second):
                task = w.task(task_id)
                assert (task.status, task.host, task.attempt) == (Status.CLOSED, "a", 1)
            assert not w.dispatcher.board.backlog.waiting

    run_virtual(story())


def test_a_claim_that_failed_is_decided_anew_also_of_a_task_that_ran_before() -> None:
    async def story() -> None:
        store = Losing("undone")
        async with world(store=store) as w:
            w.servers["h"].script = [Failure(Cause.BUSY, "busy", taken=False, retry_after=5.0)]
            (task_id,) = await w.submit(draft("again"))
            await w.until(lambda: w.task(task_id).attempt == 1 and not w.dispatcher.attempts)
            store.at = Kind.STARTED
            await w.until(lambda: store.losing)
            await asyncio.sleep(20.0)
            assert w.servers["h"].asked == ["again"]
            store.well()
            await w.settled()
            assert w.servers["h"].asked == ["again"] * 2
            assert (w.task(task_id).status, w.task(task_id).attempt) == (Status.CLOSED, 2)

    run_virtual(story())


@pytest.mark.parametrize("fate", ["told", "found"])
@pytest.mark.parametrize("kind", [Kind.CLOSED, Kind.ACCEPTED, Kind.CANCELLED])
def test_any_write_that_took_effect_though_it_was_reported_failed_takes_effect_once(
    kind: Kind, fate: Literal["told", "found"]
) -> None:
    async def story() -> None:
        store = Losing(fate)
        async with world(store=store) as w:
            w.servers["h"].seconds = 10.0
            ids = await w.submit(draft("one"), draft("two"), draft("three"))
            await w.until(lambda: w.servers["h"].running == 1)
            store.at = kind
            if kind is Kind.ACCEPTED:
                with pytest.raises(StoreError):
                    await w.submit(draft("four"))
            elif kind is Kind.CANCELLED:
                with pytest.raises(StoreError):
                    await w.dispatcher.cancel(ids[1])
            await w.until(lambda: store.losing)
            await asyncio.sleep(20.0)
            store.well()
            await asyncio.sleep(60.0)
            asked = {
                Kind.CLOSED: ["one", "two", "three"],
                Kind.ACCEPTED: ["one", "two", "three", "four"],
            }
            assert w.servers["h"].asked == asked.get(kind, ["one", "three"])

    run_virtual(story())


async def _accepted(w: World, *drafts: Draft) -> list[str]:
    """As a client would: tried again until it is taken."""
    while True:
        try:
            return await w.submit(*drafts)
        except NotAccepting:
            await asyncio.sleep(0.01)


def test_an_answer_that_fits_on_no_disk_is_kept_until_it_does() -> None:
    async def story() -> None:
        async with world() as w:
            full = OSError(errno.ENOSPC, "No space left on device")
            w.answers.failing = ArtifactError("write", Path("a.md"), full)
            (task_id,) = await w.submit(draft())
            await asyncio.sleep(60.0)
            assert w.task(task_id).status is Status.IN_PROGRESS
            assert "full" in (w.dispatcher.store_trouble or "")
            w.answers.failing = None
            await w.settled()
            assert w.answers.texts[task_id]
            assert len(w.servers["h"].asked) == 1

    run_virtual(story())


def test_a_drain_says_whether_everything_was_written(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with world() as w:
            assert await w.dispatcher.drain(w.hurry)
        store = Failing()
        async with world(store=store, crash=True) as w:
            await w.submit(draft())
            await w.until(lambda: bool(w.servers["h"].asked))
            store.broken = True
            assert not await w.dispatcher.drain(w.hurry)

    run_virtual(story())
    assert "event=not_flushed task=" in caplog.text
    assert "event=not_flushed row=left" in caplog.text


def test_a_bug_in_a_handler_blocks_its_task_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with world() as w:
            broken: Sequence[Exception] = [ZeroDivisionError("division by zero")]
            w.servers["h"].script = list(broken)  # type: ignore[arg-type]  # not a Failure: a bug
            first, second = await w.submit(draft(), draft())
            await w.settled()
            assert w.task(first).status is Status.BLOCKED
            assert "internal error" in (w.task(first).error or "")
            assert w.task(second).status is Status.CLOSED

    run_virtual(story())
    assert "ZeroDivisionError" in caplog.text


def test_a_refused_connection_is_no_row_of_strikes() -> None:
    async def story() -> None:
        async with world() as w:
            w.servers["h"].script = [refused("h")] * 10
            (task_id,) = await w.submit(draft())
            await w.settled(within=3600.0)
            assert w.task(task_id).status is Status.CLOSED
            assert w.task(task_id).strikes == 0
            reopened = [e for e in w.store.tables.rows if e.kind is Kind.REOPENED]
            assert len(reopened) == 10

    run_virtual(story())


# -- one for all and all for one -------------------------------------------------------------------


def test_a_task_that_asks_for_what_a_model_can_not_do_stops_nobody() -> None:
    async def story() -> None:
        async with world() as w:
            refuse(w, lambda request: bool(request.options.get("think")))
            odd, *good = await w.submit(
                draft("odd", options={"think": True}, priority=0),
                *(draft(f"g{n}") for n in range(5)),
            )
            await w.settled(within=30.0)
            assert w.task(odd).status is Status.BLOCKED
            assert w.task(odd).error == UNSUPPORTED
            assert {w.task(one).status for one in good} == {Status.CLOSED}

    run_virtual(story())


def test_a_task_that_alone_fails_an_options_trials_is_given_up_and_the_next_one_is_tried() -> None:
    async def story() -> None:
        async with world() as w:
            refuse(w, lambda request: request.messages[-1].content == "odd")
            odd, *good = await w.submit(
                draft("odd", priority=0), *(draft(f"g{n}") for n in range(5))
            )
            await w.settled(within=120.0)
            assert w.task(odd).status is Status.BLOCKED
            assert w.task(odd).error == UNSUPPORTED
            assert {w.task(one).status for one in good} == {Status.CLOSED}

    run_virtual(story())


def test_a_model_that_fails_every_request_leaves_the_backlog_open_and_heals() -> None:
    async def story() -> None:
        async with world() as w:
            sick = Failure(Cause.SERVER_ERROR, "500: out of memory", taken=True)
            refuse(w, lambda _: True, sick)
            await w.submit(*(draft(f"g{n}") for n in range(100)))
            await asyncio.sleep(12 * 3600.0)
            blocked = [t for t in w.tasks if t.status is Status.BLOCKED]
            assert 1 <= len(blocked) <= 7, "the more fail alike, the less it is the task"
            state = w.dispatcher.board.hosts["h"].options[Option("h", "m")]
            assert "trials in a row failed alike: 500: out of memory" in state.reason
            refuse(w, lambda _: False)
            await w.settled()
            assert len([t for t in w.tasks if t.status is Status.CLOSED]) == 100 - len(blocked)

    run_virtual(story())


class Broken:
    """A handler of a type's own that fails each time."""

    def __init__(self, cause: Cause) -> None:
        self.cause = cause
        self.asked = 0

    async def run(self, task: Task, place: Place, progress: Progress) -> Answer:
        self.asked += 1
        await asyncio.sleep(0.1)
        taken = self.cause is not Cause.UNSUPPORTED
        raise Failure(self.cause, f"command ocr: {self.cause.value}", taken=taken)


@pytest.mark.parametrize("cause", [Cause.UNSUPPORTED, Cause.SERVER_ERROR, Cause.COMMAND_FAILED])
def test_a_broken_handler_of_one_type_holds_up_no_other_type(cause: Cause) -> None:
    async def story() -> None:
        ocr = TypeSettings(name="ocr", run=(Option("h", "m"),), command=("ocr",))
        async with world(fleet({"h": 2}, types={"ocr": ocr})) as w:
            w.dispatcher._handlers["ocr"] = broken = Broken(cause)
            w.servers["h"].has_it = False  # whatever the server says of its models
            scans = await w.submit(*(draft(f"o{n}", type="ocr", priority=0) for n in range(60)))
            texts = await w.submit(*(draft(f"g{n}") for n in range(20)))
            await w.until(lambda: {w.task(t).status for t in texts} == {Status.CLOSED}, within=60.0)
            assert broken.asked <= 20, "it was not given the whole backlog meanwhile"
            waiting = [t for t in scans if w.task(t).status is Status.OPEN]
            assert len(waiting) >= 50
            assert w.dispatcher.board.hosts["h"].mode is Mode.UP
            await w.dispatcher.retry([t for t in scans if t not in waiting])

            class Mended(Broken):
                async def run(self, task: Task, place: Place, progress: Progress) -> Answer:
                    return Answer(text="mended")

            w.dispatcher._handlers["ocr"] = Mended(cause)
            await w.settled()
            assert {w.task(t).status for t in scans} == {Status.CLOSED}

    run_virtual(story())


def test_a_host_that_runs_only_handlers_is_idle_and_looked_at() -> None:
    class Slow(Broken):
        async def run(self, task: Task, place: Place, progress: Progress) -> Answer:
            await asyncio.sleep(100.0)
            return Answer(text="done")

    async def story() -> None:
        ocr = TypeSettings(name="ocr", run=(Option("h", "m"),), command=("ocr",))
        async with world(fleet(types={"ocr": ocr})) as w:
            w.dispatcher._handlers["ocr"] = Slow(Cause.INTERNAL)
            await w.submit(draft(type="ocr"))
            await w.settled()
            assert len(w.servers["h"].looks) >= 6

    run_virtual(story())


UNSUPPORTED = '"m" does not support thinking'


def refuse(w: World, which: Callable[[Request], bool], failure: Failure | None = None) -> None:
    """From now on the server fails of these requests, and of no others."""
    server = w.servers["h"]

    async def generate(request: Request, progress: Progress) -> Answer:
        if which(request):
            raise failure or Failure(Cause.UNSUPPORTED, UNSUPPORTED, taken=False)
        return await type(server).generate(server, request, progress)

    server.generate = generate  # type: ignore[method-assign]  # scripted by hand


# -- what no store can take -------------------------------------------------------------------------

ODD: Final = "UNSTORABLE"


@pytest.mark.parametrize(
    "end",
    [
        Answer(text="yes", finish=ODD),  # type: ignore[arg-type]  # as a handler's mistake
        Failure(Cause.BAD_REQUEST, ODD, taken=True),
        Failure(Cause.RESET, ODD, taken=True),
    ],
)
def test_an_end_that_fits_no_store_blocks_its_task_and_all_others_go_on(
    end: Answer | Failure,
) -> None:
    async def story() -> None:
        async with world(fleet({"h": 2}), store=Picky()) as w:
            server = w.servers["h"]

            async def generate(request: Request, progress: Progress) -> Answer:
                if request.messages[-1].content != "odd":
                    return await type(server).generate(server, request, progress)
                if isinstance(end, Failure):
                    raise end
                return end

            server.generate = generate  # type: ignore[method-assign]  # scripted by hand
            odd, *good = await w.submit(draft("odd"), *(draft(f"g{n}") for n in range(9)))
            await w.settled(within=60.0)
            assert w.task(odd).status is Status.BLOCKED
            assert "could not be stored: 'no file can hold it'" in (w.task(odd).error or "")
            assert {w.task(t).status for t in good} == {Status.CLOSED}
            assert w.dispatcher.store_trouble is None

    run_virtual(story())


def test_a_task_whose_row_can_not_be_read_holds_up_nothing_and_stays_as_it_is() -> None:
    async def story() -> None:
        store = Damaged()
        async with world(store=store) as w:
            await w.dispatcher.overrides.pause("h", "to damage it first")
            bad, *others = await w.submit(*(draft(priority=n) for n in range(4)))
            before = w.task(bad)
            store.these.add(bad)
            await w.dispatcher.overrides.resume("h")
            await w.until(lambda: all(w.task(i).status is Status.CLOSED for i in others))
            assert w.task(bad) == before
            assert "labels holds 7" in w.dispatcher.board.damaged[bad]
            assert w.dispatcher.store_trouble is None
            missed = [row for row in store.tables.rows if row.kind is Kind.MISSED]
            assert [row.task for row in missed] == [bad], "it is tried once"
            began = w.clock.monotonic()
        assert w.clock.monotonic() - began < 1.0, "the drain has nothing to wait for"
        store.these.clear()  # somebody mended it
        async with world(store=store, identity="d2") as w:
            await w.settled()
            assert not w.dispatcher.board.damaged

    run_virtual(story())


def test_a_submit_that_fits_no_store_is_refused_alone() -> None:
    async def story() -> None:
        async with world(store=Picky()) as w:
            with pytest.raises(Unstorable):
                await w.dispatcher.submit([draft(ODD)])
            assert w.dispatcher.store_trouble is None
            await w.submit(draft())
            await w.settled()

    run_virtual(story())


# -- mistakes of ours ------------------------------------------------------------------------------


def violations(w: World) -> int:
    meter = w.dispatcher._meter
    assert isinstance(meter, NoMeter)
    return meter.violations


def test_a_row_that_makes_no_sense_ends_the_dispatcher_and_is_counted() -> None:
    async def story() -> None:
        async with world() as w:
            await asyncio.sleep(1.0)
            w.dispatcher._absorb([w.store.tables.rows[-1]])  # each row comes once
            assert violations(w) == 1
            await asyncio.sleep(1.0)

    with pytest.raises(ExceptionGroup, match="unhandled") as caught:
        run_virtual(story())
    assert caught.group_contains(AssertionError, match="row")


def test_an_end_that_was_written_behind_our_back_is_told_and_counted_and_frees_the_slot(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        async with world() as w:
            w.servers["h"].seconds = 10.0
            (first,) = await w.submit(draft("a"))
            await w.until(lambda: w.servers["h"].running == 1)
            listeners, w.store._listeners = w.store._listeners, []
            await w.store.block(first, w.task(first).fence, error="other", reason="x", now=1.0)
            w.store._listeners = listeners
            await w.until(lambda: not w.dispatcher.attempts)
            assert w.task(first).error == "other", "the fence holds"
            (second,) = await w.submit(draft("b"))
            await w.settled()
            assert w.task(second).status is Status.CLOSED
            assert violations(w) == 1
            assert f"event=fence_moved task={first} host=h attempt=1" in caplog.text

    run_virtual(story())


def test_a_check_of_our_own_that_fails_in_an_attempt_blocks_it_and_is_counted() -> None:
    async def story() -> None:
        async with world() as w:

            async def generate(request: Request, progress: Progress) -> Answer:
                assert request.model != "m", "the model is m"
                raise AssertionError

            w.servers["h"].generate = generate  # type: ignore[method-assign]  # scripted by hand
            (task,) = await w.submit(draft())
            await w.settled()
            assert "the model is m" in (w.task(task).error or "")
            assert violations(w) == 1

    run_virtual(story())


def test_what_a_drain_could_not_write_is_told_with_its_task_and_host(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        store = Failing()
        async with world(fleet(settings=DispatcherSettings(drain_seconds=1.0)), store=store) as w:
            w.servers["h"].seconds = 1000.0
            (task,) = await w.submit(draft("a"))
            await w.until(lambda: w.servers["h"].running == 1)
            store.broken = True
        assert f"event=not_flushed task={task} host=h " in caplog.text

    run_virtual(story())

"""What every store promises (stores/base.py). One more store is one more line in `PLACES`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.drafts import (
    HOST,
    LANE,
    Place,
    a_draft,
    all_ready,
    blocked,
    born,
    claimed,
    closed,
    everything,
    kinds,
    last_position,
    opened_again,
    ready_ids,
    rows,
    running,
    tell,
)
from ygg.backlog import BEFORE_ALL
from ygg.fleet import Option
from ygg.journal import Event, Kind, Note, pack
from ygg.lifecycle import Refused
from ygg.stores.base import (
    PAGE_CHARACTERS,
    HostRow,
    KeyClash,
    Query,
    TaskStore,
    UnknownTask,
)
from ygg.stores.memory import MemoryStore
from ygg.stores.sqlite import SqliteStore
from ygg.tasks import Fence, Held, Lane, Outcome, Rank, Status, Task


def memory(folder: Path) -> Place:
    """A crash is played by opening the same object again."""
    store = MemoryStore()
    return lambda: store


def sqlite(folder: Path) -> Place:
    return lambda: SqliteStore(folder / "ygg.db")


PLACES = [pytest.param(memory, marks=pytest.mark.pure), sqlite]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    made: Place = request.param(tmp_path)
    return made


# -- add ---------------------------------------------------------------------------------------


def test_a_task_is_stored_as_it_was_accepted(place: Place) -> None:
    draft = a_draft(
        title="Übersicht\nof 'all' \x00 things",
        description="a NUL \x00 and 🌳 and \u2028",
        labels=("a", "b c"),
        type="reasoning",
        priority=0,
        created_at=1_700_000_000.123456789,
        key="k",
        body_digest="d",
        submitter="me",
        model="qwen",
        system="be brief",
        options={"num_ctx": 8192, "stop": ["\n"], "deep": {"x": [1, 2.5, None, True]}},
        timeout=12.5,
        not_before=0.1 + 0.2,
        metadata={"big": 2**60, "list": [], "text": "\u0001"},
        source="beads",
        source_id="bd-1",
        held=Held.FOR_SOURCE,
    )

    async def story(store: TaskStore) -> None:
        (added,) = await store.add([draft], now=5.0)
        task = await store.get(draft.id)
        assert added.task == task
        for name in (f for f in draft.__slots__ if f != "body_digest"):
            assert getattr(task, name) == getattr(draft, name), name
        assert (task.status, task.attempt, task.strikes, task.owner) == (Status.OPEN, 0, 0, "")

    tell(place, story)


def test_sequence_follows_the_order_of_arrival(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        added = await store.add([a_draft(created_at=9.0), a_draft(created_at=1.0)], now=1.0)
        later = await born(store, created_at=0.5)
        sequences = [a.task.sequence for a in added] + [later.sequence]
        assert sequences == sorted(set(sequences))

    tell(place, story)


def test_add_is_all_or_none(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        await born(store, key="k", body_digest="one")
        before = await everything(store)
        with pytest.raises(KeyClash, match="key 'k' was used for another task"):
            await store.add([a_draft(), a_draft(key="k", body_digest="two"), a_draft()], now=1.0)
        assert await everything(store) == before

    tell(place, story)


def test_the_same_key_and_body_is_the_same_task(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        first = await born(store, key="k", body_digest="one")
        before = await everything(store)
        (again,) = await store.add([a_draft(key="k", body_digest="one")], now=1.0)
        assert again == (first, False)
        assert await everything(store) == before

    tell(place, story)


def test_a_key_is_the_submitters_own(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        mine = await born(store, key="k", body_digest="one", submitter="me")
        yours = await born(store, key="k", body_digest="two", submitter="you")
        assert mine.id != yours.id

    tell(place, story)


def test_a_key_twice_in_one_call_is_one_task(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        one, two = a_draft(key="k", body_digest="d"), a_draft(key="k", body_digest="d")
        first, second = await store.add([one, two], now=1.0)
        assert (first.new, second.new) == (True, False)
        assert second.task == first.task
        assert await kinds(store) == [Kind.OPENED, Kind.ACCEPTED]
        third, fourth = await store.add([replace(two, id="x"), replace(two, id="y")], now=1.0)
        assert third == fourth == (first.task, False)

    tell(place, story)


def test_a_key_with_two_bodies_in_one_call_clashes(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        drafts = [a_draft(key="k", body_digest="one"), a_draft(key="k", body_digest="two")]
        with pytest.raises(KeyClash) as clash:
            await store.add(drafts, now=1.0)
        assert (clash.value.key, clash.value.task_id) == ("k", drafts[0].id)
        assert clash.value.draft_id == drafts[1].id
        assert await kinds(store) == [Kind.OPENED]

    tell(place, story)


def test_a_call_whose_answer_was_lost_may_be_repeated(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        drafts = [a_draft(), a_draft(key="k")]
        first = await store.add(drafts, now=1.0)
        before = await everything(store)
        again = await store.add(drafts, now=2.0)
        assert [a.task for a in again] == [a.task for a in first]
        assert not any(a.new for a in again)
        assert await everything(store) == before

    tell(place, story)


def test_an_id_that_two_tasks_drew_is_refused(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await born(store, title="one")
        with pytest.raises(KeyClash):
            await store.add([a_draft(id=task.id, title="another")], now=1.0)
        with pytest.raises(KeyClash):
            await store.add([a_draft(id="x", title="a"), a_draft(id="x", title="b")], now=1.0)
        assert await store.get(task.id) == task

    tell(place, story)


def test_a_source_has_one_live_task_an_issue(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        issue: dict[str, Any] = {"source": "beads", "source_id": "bd-1"}
        first = await born(store, **issue)
        (again,) = await store.add([a_draft(**issue)], now=1.0)
        assert again == (first, False)
        await claimed(store, first)
        (again,) = await store.add([a_draft(**issue)], now=1.0)
        assert again.task.id == first.id
        await store.finish(first.id, Fence("one", 1), now=3.0)
        second, third = await store.add([a_draft(**issue), a_draft(**issue)], now=4.0)
        assert (second.new, third.new) == (True, False)
        assert second.task.id not in (first.id, None)
        assert third.task == second.task

    tell(place, story)


def test_nothing_is_added_by_an_empty_call(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        assert list(await store.add([], now=1.0)) == []
        assert await kinds(store) == [Kind.OPENED]

    tell(place, story)


# -- ready -------------------------------------------------------------------------------------


def test_ready_is_in_exact_order(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        given = [(priority, at) for at in (5.0, 4.0, 5.0) for priority in (2, 0, 4, 2)]
        drafts = [a_draft(priority=p, created_at=at) for p, at in given]
        tasks = [a.task for a in await store.add(drafts, now=1.0)]
        for n in (7, 2, 11):
            tasks[n] = await store.prioritise(tasks[n].id, run_next=True, now=1.0)
        # The rule again in its own words, not by Task.rank.
        by_hand = sorted(
            tasks, key=lambda t: (0 if t.run_next else 1, t.priority, t.created_at, t.sequence)
        )
        for page in (1, 2, 3, 5, 100):
            found = await all_ready(store, page=page)
            assert [w.id for w in found] == [t.id for t in by_hand], f"in pages of {page}"
            assert [w.rank for w in found] == [t.rank for t in by_hand]

    tell(place, story)


def test_ready_goes_on_beyond_any_rank(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        drafts = [a_draft(priority=p, created_at=at) for p in (0, 2) for at in (1.0, 1.0, 2.0)]
        tasks = [a.task for a in await store.add(drafts, now=1.0)]
        tasks[3] = await store.prioritise(tasks[3].id, run_next=True, now=1.0)
        ranks = [t.rank for t in tasks]
        between = [Rank(x, p, at, s) for x in (False, True) for p in (0, 1, 2, 9)
                   for at in (float("-inf"), 1.0, 1.5, 9.0) for s in (-1, 2, 99)]  # fmt: skip
        for after in (BEFORE_ALL, *ranks, *between):
            found = await store.ready(LANE, after=after, limit=100)
            assert [w.rank for w in found] == sorted(r for r in ranks if r > after), after

    tell(place, story)


def test_lanes_do_not_hide_each_other(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        one = await born(store, type="general")
        two = await born(store, type="general", model="qwen")
        three = await born(store, type="reasoning")
        assert await ready_ids(store, Lane("general")) == [one.id]
        assert await ready_ids(store, Lane("general", "qwen")) == [two.id]
        assert await ready_ids(store, Lane("reasoning")) == [three.id]
        assert await ready_ids(store, Lane("poetry")) == []

    tell(place, story)


@pytest.mark.parametrize("held", Held)
def test_what_is_held_is_not_ready(place: Place, held: Held) -> None:
    async def story(store: TaskStore) -> None:
        await born(store, held=held, not_before=9.0)
        free = await born(store)
        assert await ready_ids(store) == [free.id]
        assert list((await store.oldest()).values()) == [free.created_at]

    tell(place, story)


def test_only_open_tasks_are_ready(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        await running(store)
        await closed(store, ended_at=3.0)
        await blocked(store)
        await store.cancel((await born(store)).id, now=3.0)
        free = await born(store)
        assert await ready_ids(store) == [free.id]

    tell(place, story)


# -- claim and the ends of an attempt ----------------------------------------------------------


def test_one_of_many_concurrent_claims_starts_the_task(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await born(store)
        claims = [store.claim(task.id, option=HOST, seen=7, now=2.0) for _ in range(20)]
        won = await asyncio.gather(*claims)
        # All of them are the same dispatcher's: each hears of the one attempt.
        assert {w and w.fence for w in won} == {Fence("one", 1)}
        (started,) = [e for e in await rows(store) if e.kind is Kind.STARTED]
        assert (started.task, Option(started.host, started.model)) == (task.id, HOST)
        assert (started.seen, started.fence, started.waiting) == (7, Fence("one", 1), task.waiting)
        stored = await store.get(task.id)
        assert (stored.status, stored.host, stored.started_at) == (
            Status.IN_PROGRESS,
            HOST.host,
            2.0,
        )

    tell(place, story)


def test_a_task_that_is_not_to_be_had_is_a_missed_start(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        gone = [
            (await born(store, held=Held.BY_HAND)).id,
            (await closed(store, ended_at=3.0)).id,
            (await blocked(store)).id,
            "never-accepted",
        ]
        for task_id in gone:
            mark = await last_position(store)
            before = [] if task_id == "never-accepted" else [await store.get(task_id)]
            assert await store.claim(task_id, option=HOST, seen=3, now=4.0) is None
            (row,) = await rows(store, after=mark)
            assert (row.kind, row.task, row.host, row.seen) == (Kind.MISSED, task_id, "skadi", 3)
            assert [t for t in before if await store.get(t.id) != t] == []

    tell(place, story)


def test_a_finish_says_yes_again_and_writes_once(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await running(store)
        note = Note(kind=Kind.HOST, host="skadi", detail={"mode": "up"})

        async def finish() -> bool:
            return await store.finish(
                task.id, task.fence, artifact="a/b.md", answer={"tokens": 3}, now=4.0, notes=[note]
            )

        mark = await last_position(store)
        assert await finish()
        once = await everything(store)
        assert await kinds(store, after=mark) == [Kind.CLOSED, Kind.HOST]
        assert await finish()
        assert await everything(store) == once
        stored = await store.get(task.id)
        assert (stored.status, stored.outcome) == (Status.CLOSED, Outcome.DONE)
        assert (stored.artifact, stored.answer, stored.ended_at) == ("a/b.md", {"tokens": 3}, 4.0)

    tell(place, story)


def test_a_block_says_yes_again_and_writes_once(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await running(store)
        note = Note(kind=Kind.HOST, host="skadi", detail={"mode": "down"})

        async def block() -> bool:
            return await store.block(
                task.id, task.fence, error="bad", reason="r", strike=True, now=4.0, notes=[note]
            )

        mark = await last_position(store)
        assert await block()
        once = await everything(store)
        assert await kinds(store, after=mark) == [Kind.BLOCKED, Kind.HOST]
        assert await block()
        assert await everything(store) == once
        stored = await store.get(task.id)
        assert (stored.status, stored.error, stored.strikes) == (Status.BLOCKED, "bad", 1)

    tell(place, story)


async def reopen(
    store: TaskStore, task: Task, *, max_strikes: int = 3, strike: bool = True, now: float = 4.0
) -> Status | None:
    return await store.reopen(
        task.id,
        task.fence,
        error="host died",
        reason="reset",
        strike=strike,
        max_strikes=max_strikes,
        now=now,
        notes=[Note(kind=Kind.HOST, host="skadi", detail={"mode": "down"})],
    )


def test_a_reopen_says_so_again_and_writes_once(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await running(store)
        behind = await born(store)
        mark = await last_position(store)
        assert await reopen(store, task) is Status.OPEN
        once = await everything(store)
        assert await kinds(store, after=mark) == [Kind.REOPENED, Kind.HOST]
        assert await reopen(store, task) is Status.OPEN
        assert await everything(store) == once
        stored = await store.get(task.id)
        assert (stored.strikes, stored.error, stored.rank) == (1, "host died", task.rank)
        assert await ready_ids(store) == [task.id, behind.id]

    tell(place, story)


def test_the_last_strike_blocks(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await born(store)
        for strikes, status in ((1, Status.OPEN), (2, Status.OPEN), (3, Status.BLOCKED)):
            run = await claimed(store, task)
            assert run.attempt == strikes
            assert await reopen(store, run) is status
            assert await reopen(store, run) is status  # and says so again
        stored = await store.get(task.id)
        assert (stored.strikes, stored.attempt) == (3, 3)
        assert stored.error == "3 attempts ended badly, the last: host died"
        assert (await rows(store))[-2].kind is Kind.BLOCKED

    tell(place, story)


def test_an_attempt_that_did_no_harm_is_no_strike(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await born(store)
        for attempt in range(1, 6):
            run = await claimed(store, task)
            assert run.attempt == attempt  # it never falls
            assert await reopen(store, run, strike=False, max_strikes=1) is Status.OPEN
        assert (await store.get(task.id)).strikes == 0

    tell(place, story)


def test_a_fence_that_moved_on_changes_nothing(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        old = await running(store)
        await reopen(store, old)
        new = await claimed(store, old)
        assert new.attempt == old.attempt + 1
        fences = [old.fence, Fence("other", new.attempt), Fence("one", new.attempt + 1)]
        before = await everything(store)
        note = [Note(kind=Kind.RESIZED, host="skadi", detail={"limit": 9})]
        for fence in fences:
            late = replace(new, owner=fence.owner, attempt=fence.attempt)
            assert not await store.finish(new.id, fence, artifact="x", now=9.0, notes=note)
            assert not await store.block(new.id, fence, error="x", reason="x", now=9.0, notes=note)
            assert await reopen(store, late) is None
        assert await everything(store) == before
        assert await store.finish(new.id, new.fence, now=9.0)

    tell(place, story)


def test_another_end_of_an_attempt_that_ended_changes_nothing(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        done = await running(store)
        await store.finish(done.id, done.fence, now=3.0)
        bad = await running(store)
        await store.block(bad.id, bad.fence, error="x", reason="x", now=3.0)
        back = await running(store)
        await reopen(store, back)
        cancelled = await running(store)
        await reopen(store, cancelled)
        await store.cancel(cancelled.id, now=5.0)
        before = await everything(store)
        assert not await store.block(done.id, done.fence, error="y", reason="y", now=9.0)
        assert await reopen(store, done) is None
        assert not await store.finish(bad.id, bad.fence, now=9.0)
        assert not await store.finish(back.id, back.fence, now=9.0)
        assert not await store.block(back.id, back.fence, error="y", reason="y", now=9.0)
        assert not await store.finish(cancelled.id, cancelled.fence, now=9.0)
        assert await everything(store) == before

    tell(place, story)


def test_a_run_that_is_cancelled_closes_as_cancelled(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await running(store)
        assert await store.finish(task.id, task.fence, outcome=Outcome.CANCELLED, now=4.0)
        assert (await store.get(task.id)).outcome is Outcome.CANCELLED
        row = (await rows(store))[-1]
        assert (row.kind, row.fence) == (Kind.CANCELLED, task.fence)

    tell(place, story)


def test_ends_of_unknown_tasks_are_refused(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        before = await everything(store)
        fence, nobody = Fence("one", 1), "nobody"
        with pytest.raises(UnknownTask, match="no task 'nobody'"):
            await store.finish(nobody, fence, now=1.0)
        with pytest.raises(UnknownTask):
            await store.block(nobody, fence, error="", reason="", now=1.0)
        with pytest.raises(UnknownTask):
            await store.reopen(
                nobody, fence, error="", reason="", strike=False, max_strikes=1, now=1.0
            )
        assert await everything(store) == before

    tell(place, story)


def test_half_a_character_in_an_error_does_not_keep_an_attempt_from_ending(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        one, two = await running(store), await running(store)
        note = Note(kind=Kind.PAUSED, host="skadi", reason="half \ud800 too")
        half = "half \udc00 of one"
        assert await store.block(one.id, one.fence, error=half, reason=half, now=3.0, notes=[note])
        status = await store.reopen(
            two.id, two.fence, error=half, reason=half, strike=True, max_strikes=3, now=3.0
        )
        assert status is Status.OPEN
        assert {(await store.get(t.id)).error for t in (one, two)} == {"half ? of one"}

    tell(place, story)


# -- by hand -----------------------------------------------------------------------------------


def test_cancel_ends_what_waits_or_is_blocked(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        waits, holds, bad = (
            await born(store),
            await born(store, held=Held.BY_HAND),
            await blocked(store),
        )
        for task, held in ((waits, None), (holds, Held.BY_HAND), (bad, None)):
            mark = await last_position(store)
            after = await store.cancel(task.id, now=6.0)
            assert (after.status, after.outcome, after.held) == (
                Status.CLOSED,
                Outcome.CANCELLED,
                None,
            )
            assert after.ended_at == 6.0
            (row,) = await rows(store, after=mark)
            assert (row.kind, row.task, row.fence, row.held) == (
                Kind.CANCELLED,
                task.id,
                None,
                held,
            )
            assert row.waiting == (None if task is bad else task.waiting)
            before = await everything(store)
            assert await store.cancel(task.id, now=7.0) == after
            assert await everything(store) == before
        assert await ready_ids(store) == []

    tell(place, story)


def test_cancel_is_refused_for_what_runs_or_is_done(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        done, runs = await closed(store, ended_at=3.0), await running(store)
        before = await everything(store)
        with pytest.raises(Refused, match="is closed already"):
            await store.cancel(done.id, now=6.0)
        with pytest.raises(Refused, match="is running"):
            await store.cancel(runs.id, now=6.0)
        with pytest.raises(UnknownTask):
            await store.cancel("nobody", now=6.0)
        assert await everything(store) == before

    tell(place, story)


def test_retry_sends_blocked_tasks_back_to_their_places(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        first, second = await blocked(store), await blocked(store, priority=0)
        between = await born(store)
        mark = await last_position(store)
        after = await store.retry([first.id, second.id, first.id], now=6.0)
        assert [t.id for t in after] == [first.id, second.id]
        assert {(t.status, t.error, t.strikes) for t in after} == {(Status.OPEN, None, 0)}
        assert [t.attempt for t in after] == [1, 1]
        told = await rows(store, after=mark)
        assert [(r.kind, r.reason, r.fence, r.waiting) for r in told] == [
            (Kind.REOPENED, "retry", None, first.waiting),
            (Kind.REOPENED, "retry", None, second.waiting),
        ]
        assert await ready_ids(store) == [second.id, first.id, between.id]

    tell(place, story)


def test_retry_is_all_or_none(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        bad, waits = await blocked(store), await born(store)
        before = await everything(store)
        with pytest.raises(Refused, match="only a blocked task can be retried"):
            await store.retry([bad.id, waits.id], now=6.0)
        with pytest.raises(UnknownTask):
            await store.retry([bad.id, "nobody"], now=6.0)
        assert await everything(store) == before

    tell(place, story)


def test_a_retried_task_still_waits_for_its_time(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await blocked(store, not_before=10.0)
        (after,) = await store.retry([task.id], now=6.0)
        assert after.held is Held.NOT_BEFORE
        assert await ready_ids(store) == []

    tell(place, story)


def test_prioritise_moves_a_task_and_tells_from_where(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        first, second, third = [await born(store) for _ in range(3)]
        mark = await last_position(store)
        moved = await store.prioritise(third.id, priority=0, now=6.0)
        assert (moved.priority, moved.created_at, moved.sequence) == (
            0,
            third.created_at,
            third.sequence,
        )
        (row,) = await rows(store, after=mark)
        assert (row.kind, row.waiting) == (Kind.PRIORITISED, moved.waiting)
        assert row.detail == {"before": pack(third.waiting)}
        assert await ready_ids(store) == [third.id, first.id, second.id]
        await store.prioritise(second.id, run_next=True, now=6.0)
        assert await ready_ids(store) == [second.id, third.id, first.id]
        await store.prioritise(second.id, run_next=False, now=6.0)
        assert await ready_ids(store) == [third.id, first.id, second.id]
        before = await everything(store)
        assert await store.prioritise(third.id, priority=0, run_next=False, now=9.0) == moved
        assert await everything(store) == before  # it was there already

    tell(place, story)


def test_a_held_task_keeps_its_new_place_for_later(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        first, second = await born(store), await born(store, held=Held.BY_HAND)
        await store.prioritise(second.id, priority=0, now=6.0)
        assert await ready_ids(store) == [first.id]
        await store.release(second.id, why=Held.BY_HAND, now=7.0)
        assert await ready_ids(store) == [second.id, first.id]

    tell(place, story)


def test_what_is_not_open_has_no_place_and_can_not_be_held(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        tasks = [await running(store), await blocked(store), await closed(store, ended_at=3.0)]
        before = await everything(store)
        for task in tasks:
            with pytest.raises(Refused, match="only an open task has a place"):
                await store.prioritise(task.id, priority=0, now=6.0)
            with pytest.raises(Refused, match="only an open task can be held"):
                await store.hold(task.id, now=6.0)
            assert await store.release(task.id, why=Held.BY_HAND, now=6.0) == task
        for call in (
            store.prioritise("nobody", priority=0, now=6.0),
            store.hold("nobody", now=6.0),
            store.release("nobody", why=Held.BY_HAND, now=6.0),
        ):
            with pytest.raises(UnknownTask):
                await call
        assert await everything(store) == before

    tell(place, story)


def test_a_change_is_all_that_was_asked_for_in_one_commit(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        one, two = await born(store), await born(store)
        heard: list[Sequence[Event]] = []
        store.follow(heard.append)
        task = await store.change(two.id, priority=0, run_next=True, held=True, now=2.0)
        assert (task.priority, task.run_next, task.held) == (0, True, Held.BY_HAND)
        assert task == await store.get(two.id)
        assert [[e.kind for e in events] for events in heard] == [[Kind.PRIORITISED, Kind.HELD]]
        assert await ready_ids(store) == [one.id]
        task = await store.change(two.id, held=False, now=3.0)
        assert (task.priority, task.run_next, task.held) == (0, True, None)
        assert await ready_ids(store) == [two.id, one.id]
        before = await everything(store)
        again = await store.change(two.id, priority=0, run_next=True, held=False, now=4.0)
        assert (again, await everything(store)) == (task, before)

    tell(place, story)


def test_a_change_of_what_is_not_open_changes_nothing(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        for task in (await running(store), await blocked(store), await closed(store, ended_at=3.0)):
            before = await everything(store)
            for change in ({"priority": 0}, {"held": True}, {"held": False}):
                with pytest.raises(Refused, match="only an open task"):
                    await store.change(task.id, **change, now=5.0)
            assert await everything(store) == before
        with pytest.raises(UnknownTask):
            await store.change("nobody", held=False, now=5.0)

    tell(place, story)


def test_what_was_held_by_hand_still_waits_for_its_time(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await born(store, held=Held.NOT_BEFORE, not_before=100.0)
        assert (await store.change(task.id, held=False, now=1.0)).held is Held.NOT_BEFORE
        assert (await store.change(task.id, held=True, now=1.0)).held is Held.BY_HAND
        assert (await store.change(task.id, held=False, now=2.0)).held is Held.NOT_BEFORE

    tell(place, story)


def test_hold_and_release(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task, other = await born(store), await born(store)
        mark = await last_position(store)
        held = await store.hold(task.id, now=6.0)
        assert held.held is Held.BY_HAND
        assert await store.hold(task.id, now=6.5) == held
        assert await ready_ids(store) == [other.id]
        assert await store.release(task.id, why=Held.FOR_SOURCE, now=6.5) == held
        freed = await store.release(task.id, why=Held.BY_HAND, now=7.0)
        assert freed.held is None
        assert await store.release(task.id, why=Held.BY_HAND, now=7.0) == freed
        assert [(r.kind, r.held, r.waiting) for r in await rows(store, after=mark)] == [
            (Kind.HELD, Held.BY_HAND, task.waiting),
            (Kind.RELEASED, None, task.waiting),
        ]
        assert await ready_ids(store) == [task.id, other.id]

    tell(place, story)


def test_a_hold_by_hand_outlasts_the_time_it_waited_for(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await born(store, held=Held.NOT_BEFORE, not_before=10.0)
        mark = await last_position(store)
        await store.hold(task.id, now=6.0)
        (row,) = await rows(store, after=mark)  # it had no place in the order to leave
        assert (row.kind, row.held, row.waiting) == (Kind.HELD, Held.BY_HAND, None)
        assert await store.release_due(now=20.0) is None
        assert await ready_ids(store) == []
        early = await store.release(task.id, why=Held.BY_HAND, now=7.0)
        assert early.held is Held.NOT_BEFORE
        await store.release_due(now=20.0)
        assert await ready_ids(store) == [task.id]

    tell(place, story)


def test_due_tasks_are_released_in_the_order_of_their_times(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        times = (30.0, 10.0, 20.0, 10.0)
        tasks = [await born(store, held=Held.NOT_BEFORE, not_before=at) for at in times]
        mark = await last_position(store)
        assert await store.release_due(now=9.0) == 10.0
        assert await store.release_due(now=20.0) == 30.0
        told = await rows(store, after=mark)
        assert [r.task for r in told] == [tasks[n].id for n in (1, 3, 2)]
        assert {(r.kind, r.held) for r in told} == {(Kind.RELEASED, None)}
        assert await store.release_due(now=30.0) is None
        assert await ready_ids(store) == [t.id for t in tasks]

    tell(place, story)


def test_many_due_tasks_are_released_in_pieces(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        drafts = [a_draft(held=Held.NOT_BEFORE, not_before=float(n)) for n in range(1001)]
        await store.add(drafts, now=1.0)
        assert await store.release_due(now=5000.0) == 1000.0
        assert len(await all_ready(store, page=5000)) == 1000
        assert await store.release_due(now=5000.0) is None
        assert len(await all_ready(store, page=5000)) == 1001

    tell(place, story)


# -- the journal and its listeners -------------------------------------------------------------


def test_every_write_is_heard_once_in_order_before_it_returns(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        heard: list[Event] = []
        mark = await last_position(store)

        def last() -> Kind:
            return heard[-1].kind

        store.follow(heard.extend)
        added = await store.add([a_draft(), a_draft()], now=1.0)
        assert [e.kind for e in heard] == [Kind.ACCEPTED] * 2
        one, two = [a.task for a in added]
        await store.prioritise(two.id, priority=1, now=1.5)
        assert last() is Kind.PRIORITISED
        await store.hold(two.id, now=1.6)
        assert last() is Kind.HELD
        await store.release(two.id, why=Held.BY_HAND, now=1.7)
        assert last() is Kind.RELEASED
        run = await claimed(store, one)
        assert last() is Kind.STARTED
        await reopen(store, run)
        assert [e.kind for e in heard[-2:]] == [Kind.REOPENED, Kind.HOST]
        run = await claimed(store, one)
        await store.block(run.id, run.fence, error="x", reason="y", now=3.0)
        assert last() is Kind.BLOCKED
        await store.retry([one.id], now=3.5)
        assert last() is Kind.REOPENED
        run = await claimed(store, one)
        await store.finish(run.id, run.fence, now=4.0)
        assert last() is Kind.CLOSED
        await store.cancel(two.id, now=4.5)
        assert last() is Kind.CANCELLED
        await store.note([Note(kind=Kind.LEFT, reason="end")], now=5.0)
        assert last() is Kind.LEFT
        with pytest.raises(UnknownTask):
            await store.cancel("nobody", now=5.0)
        await store.probe()
        stored = await rows(store, after=mark)
        assert heard == list(stored)
        positions = [e.position for e in stored]
        assert positions == sorted(set(positions))

    tell(place, story)


def test_concurrent_writes_are_heard_in_the_order_of_their_rows(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        heard: list[int] = []
        store.follow(lambda events: heard.extend(e.position for e in events))

        async def one_life(n: int) -> None:
            task = await born(store, priority=n % 5)
            run = await claimed(store, task)
            await store.finish(task.id, run.fence, now=3.0)

        await asyncio.gather(*(one_life(n) for n in range(50)))
        assert len(heard) == 150
        assert heard == sorted(set(heard))

    tell(place, story)


def test_a_listener_that_fails_holds_up_neither_writers_nor_others(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        surfaced: list[dict[str, Any]] = []
        heard: list[Event] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, c: surfaced.append(c))
        mistake = RuntimeError("a bug of ours")

        def fail(events: Sequence[Event]) -> None:
            raise mistake

        store.follow(fail)
        store.follow(heard.extend)
        task = await born(store)
        assert [e.task for e in heard] == [task.id]
        assert [c["exception"] for c in surfaced] == [mistake]

    tell(place, story)


def test_the_journal_is_read_in_pages_and_by_task(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        one, two = await closed(store, ended_at=3.0), await born(store)
        whole = await rows(store)
        paged: list[Event] = []
        while page := await store.journal(after=paged[-1].position if paged else 0, limit=2):
            assert len(page) <= 2
            paged += page
        assert paged == list(whole)
        assert [e.kind for e in await store.journal(task_id=one.id)] == [
            Kind.ACCEPTED,
            Kind.STARTED,
            Kind.CLOSED,
        ]
        assert [e.kind for e in await store.journal(task_id=two.id)] == [Kind.ACCEPTED]
        assert list(await store.journal(task_id="nobody")) == []
        assert list(await store.journal(after=10**30)) == []

    tell(place, story)


def test_operations_are_timed(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        assert isinstance(store, (MemoryStore, SqliteStore))
        seen: list[str] = []
        store.observe(lambda name, seconds: seen.append(name if seconds >= 0 else "?"))
        task = await born(store)
        await store.get(task.id)
        with pytest.raises(UnknownTask):
            await store.cancel("nobody", now=1.0)
        assert seen == ["add", "get", "cancel"]

    tell(place, story)


# -- what outlives a dispatcher ----------------------------------------------------------------


def test_limits_pins_and_pauses_outlive_the_dispatcher(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        notes = [
            Note(kind=Kind.RESIZED, host="a", reason="grow", detail={"limit": 3, "start": 2}),
            Note(kind=Kind.RESIZED, host="a", reason="grow", detail={"limit": 4}),
            Note(kind=Kind.PINNED, host="b", detail={"limit": 2}),
            Note(kind=Kind.PAUSED, host="b", reason="repair"),
            Note(
                kind=Kind.PINNED,
                host="e",
                reason="a talk",
                detail={"limit": 1, "until": 60.5, "by": "me"},
            ),
            Note(kind=Kind.RESIZED, host="e", detail={"limit": 1, "start": 2, "unpinned": 3}),
            Note(kind=Kind.PAUSED, host="e", reason="a game", detail={"until": 70, "by": "you"}),
            Note(kind=Kind.PINNED, host="c", detail={"limit": 1, "until": 9.0, "by": "x"}),
            Note(kind=Kind.UNPINNED, host="c"),
            Note(kind=Kind.RESIZED, host="f", detail={"limit": 1, "unpinned": 3}),
            Note(kind=Kind.RESIZED, host="f", detail={"limit": 3, "unpinned": None}),
            Note(kind=Kind.PAUSED, host="c", reason="x", detail={"until": 1.0, "by": "x"}),
            Note(kind=Kind.RESUMED, host="c"),
            Note(kind=Kind.HOST, host="d", detail={"mode": "up"}),
            Note(kind=Kind.CONFIGURED, reason="hosts.yaml", detail={"routes": {"a": [["b", ""]]}}),
        ]
        mark = await last_position(store)
        await store.note(notes, now=5.0)
        written = await rows(store, after=mark)
        assert [(e.kind, e.host, e.reason, e.detail) for e in written] == [
            (n.kind, n.host, n.reason, n.detail) for n in notes
        ]
        again, restored = await opened_again(store, place)
        assert restored.hosts["a"] == HostRow(limit=4, start=2)
        assert restored.hosts["b"] == HostRow(pin=2, paused="repair")
        assert restored.hosts["c"] == HostRow()
        assert restored.hosts["e"] == HostRow(
            limit=1, start=2, unpinned=3, pin=1, pin_until=60.5, pin_by="me", pin_reason="a talk",
            paused="a game", paused_until=70.0, paused_by="you",
        )  # fmt: skip
        assert restored.hosts["f"] == HostRow(limit=3)
        assert "d" not in restored.hosts
        await again.close()

    tell(place, story)


def test_notes_of_an_end_are_kept_with_it(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await running(store)
        note = Note(kind=Kind.RESIZED, host="a", detail={"limit": 3})
        await store.finish(task.id, task.fence, now=4.0, notes=[note])
        again, restored = await opened_again(store, place)
        assert restored.hosts == {"a": HostRow(limit=3)}
        await again.close()

    tell(place, story)


def test_a_rescue_puts_what_ran_back_in_its_place(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        first, second, third = [await born(store, priority=p) for p in (2, 2, 0)]
        await claimed(store, first)
        run = await claimed(store, third)
        await store.add([a_draft(type="reasoning", model="m", held=Held.BY_HAND)], now=1.0)
        done = await closed(store, ended_at=3.0)
        mark = await last_position(store)
        again, restored = await opened_again(store, place)
        assert restored.rescued == 2
        assert restored.waiting == {(LANE, 2): 2, (LANE, 0): 1}
        assert restored.last_created_at == done.created_at
        told = await rows(again, after=mark)
        assert restored.position == told[-1].position
        assert [(r.kind, r.task, r.reason, r.fence) for r in told] == [
            (Kind.OPENED, "", "two", Fence("two", 0)),
            (Kind.REOPENED, first.id, "rescue", Fence("one", 1)),
            (Kind.REOPENED, third.id, "rescue", Fence("one", 1)),
        ]
        assert [r.waiting for r in told[1:]] == [first.waiting, third.waiting]
        assert await ready_ids(again) == [third.id, first.id, second.id]
        back = await again.get(third.id)
        assert (back.strikes, back.attempt, back.error) == (
            1,
            1,
            "its dispatcher died while it ran",
        )
        # The dead one's late word changes nothing; the next attempt is ours.
        assert (await claimed(again, back)).fence == Fence("two", 2)
        assert not await again.finish(third.id, run.fence, now=60.0)
        await again.close()

    tell(place, story)


def test_a_task_that_kills_its_dispatcher_is_blocked(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await born(store)
        for life in range(1, 4):
            await claimed(store, task)
            store, restored = await opened_again(store, place, owner=f"life {life}")
            assert restored.rescued == 1
        stored = await store.get(task.id)
        assert (stored.status, stored.strikes) == (Status.BLOCKED, 3)
        assert restored.waiting == {}
        assert (await rows(store))[-1].kind is Kind.BLOCKED
        await store.close()

    tell(place, story)


def test_a_rescue_blocks_what_must_not_run_twice(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        once, other = await running(store, type="deploy"), await running(store)
        again, restored = await opened_again(store, place, once=frozenset({"deploy"}))
        assert restored.rescued == 2
        assert restored.waiting == {(LANE, 2): 1}
        stored = await again.get(once.id)
        assert (stored.status, stored.strikes) == (Status.BLOCKED, 1)
        assert "not run twice" in (stored.error or "")
        assert (await again.get(other.id)).status is Status.OPEN
        await again.close()

    tell(place, story)


def test_an_empty_store_opens_empty(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        again, restored = await opened_again(store, place)
        assert (restored.waiting, restored.hosts, restored.rescued) == ({}, {}, 0)
        assert restored.last_created_at == 0.0
        assert restored.position == 2
        await again.close()

    tell(place, story)


# -- looks -------------------------------------------------------------------------------------


def test_find_filters_and_pages_the_latest_first(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        open_ = await born(store, priority=0, type="reasoning")
        runs = await running(store, priority=4)
        bad = await blocked(store, error="no GPU left on skadi")
        done = await closed(store, ended_at=3.0, type="reasoning")

        async def ids(**query: Any) -> list[str]:
            return [t.id for t in (await store.find(Query(**query))).tasks]

        assert await ids() == [done.id, bad.id, runs.id, open_.id]
        for task in (open_, runs, bad, done):
            status = (await store.get(task.id)).status
            assert await ids(status=status) == [task.id]
        assert await ids(priority=4) == [runs.id]
        assert await ids(type="reasoning") == [done.id, open_.id]
        assert await ids(host="skadi") == [done.id, bad.id, runs.id]
        assert await ids(error="GPU left") == [bad.id]
        assert await ids(error="gpu") == []
        assert await ids(error="%") == []
        assert await ids(error="") == [bad.id]
        assert await ids(status=Status.CLOSED, type="reasoning", host="skadi") == [done.id]
        assert await ids(status=Status.BLOCKED, type="reasoning") == []
        for limit in (1, 2, 3, 4, 5):
            found: list[str] = []
            before: int | None = None
            while True:
                page = await store.find(Query(), before=before, limit=limit)
                found += [t.id for t in page.tasks]
                if page.next is None:
                    break
                before = page.next
                assert len(found) < 4, "a next page was promised and nothing is left"
            assert found == await ids()
        assert len((await store.find(Query(), before=10**30)).tasks) == 4

    tell(place, story)


@pytest.mark.parametrize("large", ["description", "system"])
def test_a_page_of_large_tasks_ends_early(place: Place, large: str) -> None:
    async def story(store: TaskStore) -> None:
        half = PAGE_CHARACTERS // 2
        tasks = [await born(store, **{large: "x" * size}) for size in (5, half, half, 2 * half, 7)]
        pages: list[list[str]] = []
        before: int | None = None
        while not pages or before is not None:
            page = await store.find(Query(), before=before, limit=100)
            pages.append([t.id for t in page.tasks])
            before = page.next
        # The one that takes it past the bound is the page's last: even the largest comes through.
        ids = [t.id for t in reversed(tasks)]
        assert pages == [ids[:2], ids[2:4], ids[4:]]

    tell(place, story)


def test_oldest_by_lane_and_priority(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        assert await store.oldest() == {}
        given: list[dict[str, Any]] = [
            {"created_at": 7.0},
            {"created_at": 3.0},
            {"created_at": 5.0, "priority": 0},
            {"created_at": 4.0, "model": "m"},
            {"created_at": 1.0, "type": "reasoning"},
            {"created_at": 0.5, "held": Held.BY_HAND},
        ]
        tasks = [await born(store, **g) for g in given]
        await store.prioritise(tasks[0].id, run_next=True, now=1.0)
        expected = {
            (LANE, 2): 3.0,
            (LANE, 0): 5.0,
            (Lane("general", "m"), 2): 4.0,
            (Lane("reasoning"), 2): 1.0,
        }
        assert await store.oldest() == expected
        await claimed(store, tasks[1])
        assert await store.oldest() == expected | {(LANE, 2): 7.0}  # though it runs next

    tell(place, story)


def test_overview_counts(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        empty = await store.overview()
        assert (empty.by_status, empty.held, empty.blocked) == ({}, {}, {})
        for held in (None, Held.BY_HAND, Held.BY_HAND, Held.FOR_SOURCE):
            await born(store, held=held)
        await running(store)
        for error in ("b", "a", "a"):
            await blocked(store, error=error)
        for _ in range(5):
            await closed(store, ended_at=3.0)
        seen = await store.overview()
        assert seen.by_status == {
            Status.OPEN: 4,
            Status.IN_PROGRESS: 1,
            Status.BLOCKED: 3,
            Status.CLOSED: 5,
        }
        assert seen.held == {Held.BY_HAND: 2, Held.FOR_SOURCE: 1}
        assert list(seen.blocked.items()) == [("a", 2), ("b", 1)]

    tell(place, story)


def test_overview_counts_what_drains_blocked_however_many_other_errors_there_are(
    place: Place,
) -> None:
    async def story(store: TaskStore) -> None:
        assert (await store.overview()).drained == 0
        for number in range(101):
            await blocked(store, error=f"bad request {number}")
        for error in (
            "drained",
            "drained: the dispatcher ended",
            "draine",
            "it drained",
            "drainee",
        ):
            await blocked(store, error=error)
        assert (await store.overview()).drained == 2

    tell(place, story)


def test_an_unknown_task_is_told(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        with pytest.raises(UnknownTask, match="no task 'x': it was never accepted here"):
            await store.get("x")

    tell(place, story)


# -- forgetting --------------------------------------------------------------------------------


def test_old_closed_tasks_go_with_their_rows(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        old = [await closed(store, ended_at=float(at)) for at in (10, 19)]
        young = await closed(store, ended_at=20.0)
        others = [await born(store, created_at=1.0), await blocked(store), await running(store)]
        last = (await store.journal(task_id=old[-1].id))[-1].position
        assert await store.prune(closed_before=20.0, journal_before=None) == 2
        for task in old:
            with pytest.raises(UnknownTask):
                await store.get(task.id)
            assert list(await store.journal(task_id=task.id)) == []
        for task in (young, *others):
            assert (await store.get(task.id)).id == task.id
            assert await store.journal(task_id=task.id)
        assert await store.pruned_to() == last
        assert await store.prune(closed_before=20.0, journal_before=None) == 0
        # Numbers are given once, though their rows went.
        top = await born(store)
        await store.cancel(top.id, now=25.0)
        position = await last_position(store)
        await store.prune(closed_before=99.0, journal_before=None)
        again, restored = await opened_again(store, place)
        assert restored.position > position
        assert (await born(again)).sequence > top.sequence
        await again.close()

    tell(place, story)


def test_old_rows_of_ended_tasks_go_and_the_tasks_stay(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        old, waits, young = await closed(store, ended_at=10.0), await born(store), await born(store)
        await store.claim("never-accepted", option=HOST, seen=0, now=11.0)
        (missed,) = await store.journal(task_id="never-accepted")
        run = await claimed(store, young, now=19.0)
        await store.finish(young.id, run.fence, now=20.0)
        kept = [e for e in await rows(store) if e.task not in (old.id, "never-accepted")]
        assert await store.prune(closed_before=None, journal_before=20.0) == 0
        assert (await store.get(old.id)).status is Status.CLOSED
        assert list(await rows(store)) == kept
        assert await store.journal(task_id=young.id)
        assert await store.journal(task_id=waits.id)
        assert await store.pruned_to() == missed.position

    tell(place, story)


def test_the_last_word_about_each_host_stays(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        def words(mode: str) -> list[Note]:
            return [
                Note(kind=Kind.HOST, host="a", detail={"mode": mode}),
                Note(kind=Kind.HOST, host="b", detail={"mode": mode}),
                Note(kind=Kind.OPTION, host="a", model="m", detail={"mode": mode}),
                Note(kind=Kind.OPTION, host="a", model="m", detail={"mode": mode, "type": "ocr"}),
                Note(kind=Kind.RESIZED, host="a", detail={"limit": len(mode)}),
                Note(kind=Kind.PAUSED, host="a", reason=mode),
            ]

        await store.note(words("down"), now=10.0)
        await store.note(words("trial"), now=11.0)
        await store.note([Note(kind=Kind.HOST, host="a", detail={"mode": "up"})], now=30.0)
        before = list(await rows(store))
        await store.prune(closed_before=None, journal_before=20.0)
        assert list(await rows(store)) == before  # of this start of the dispatcher: all stays
        assert await store.pruned_to() == 0
        again, _ = await opened_again(store, place)
        await again.prune(closed_before=None, journal_before=20.0)
        left = await rows(again)
        assert [(e.kind, e.host, e.at) for e in left if e.host and e.kind is not Kind.PAUSED] == [
            (Kind.HOST, "a", 11.0),
            (Kind.HOST, "b", 11.0),
            (Kind.OPTION, "a", 11.0),
            (Kind.OPTION, "a", 11.0),
            (Kind.RESIZED, "a", 11.0),
            (Kind.HOST, "a", 30.0),
        ]
        assert [e.at for e in left if e.kind is Kind.PAUSED] == [10.0, 11.0]
        assert [e.kind for e in left].count(Kind.OPENED) == 2
        assert await again.pruned_to() == before[5].position
        await again.close()

    tell(place, story)


def test_how_a_host_was_when_a_task_that_stays_started_is_not_forgotten(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        def mode(name: str) -> list[Note]:
            return [Note(kind=Kind.HOST, host="a", detail={"mode": name})]

        await store.note(mode("down"), now=1.0)
        await store.note(mode("trial"), now=2.0)
        stays = await born(store)
        await store.note(mode("up"), now=3.0)
        run = await claimed(store, stays, now=4.0)
        await store.block(stays.id, run.fence, error="x", reason="x", now=5.0)
        await store.note(mode("down"), now=6.0)
        again, _ = await opened_again(store, place)
        await again.prune(closed_before=None, journal_before=20.0)
        told = [e.detail["mode"] for e in await rows(again) if e.kind is Kind.HOST]
        assert told == ["trial", "up", "down"]
        await again.close()

    tell(place, story)


def test_much_is_forgotten_in_one_call(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        await store.add([a_draft() for _ in range(2100)], now=1.0)
        tasks = await all_ready(store, page=5000)
        await asyncio.gather(*(store.cancel(w.id, now=5.0) for w in tasks[:2050]))
        assert await store.prune(closed_before=None, journal_before=6.0) == 0
        left = await rows(store)
        assert [e.kind for e in left] == [Kind.OPENED] + [Kind.ACCEPTED] * 50
        assert await store.prune(closed_before=6.0, journal_before=None) == 2050
        assert len((await store.find(Query(), limit=5000)).tasks) == 50

    tell(place, story)


def test_options_of_other_hosts_do_not_matter_to_a_repeated_claim(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await running(store)
        again = await store.claim(task.id, option=Option("fenrir"), seen=0, now=9.0)
        assert again == task  # where it runs was decided by the first

    tell(place, story)


# -- sources -----------------------------------------------------------------------------------

OURS: dict[str, Any] = {"source": "beads", "source_id": "b-1"}


async def posted_ids(store: TaskStore, *, now: float = 100.0) -> list[str]:
    return [posted.task.id for posted in await store.posted("beads", now=now, limit=99)]


def test_each_end_of_a_sources_task_is_posted_with_it(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        done = await closed(store, ended_at=3.0, source="beads", source_id="b-1")
        bad = await blocked(store, error="no good", source="beads", source_id="b-2")
        gone = await born(store, source="beads", source_id="b-3", held=Held.FOR_SOURCE)
        await store.cancel(gone.id, now=4.0)
        stopped = await running(store, source="beads", source_id="b-4")
        await store.finish(stopped.id, stopped.fence, outcome=Outcome.CANCELLED, now=4.0)
        await closed(store, ended_at=3.0)  # of nobody
        back = await running(store, source="beads", source_id="b-5")
        await store.reopen(
            back.id, back.fence, error="e", reason="reset", strike=False, max_strikes=3, now=4.0
        )
        posted = await store.posted("beads", now=4.0, limit=99)
        assert [p.task.id for p in posted] == [done.id, bad.id, gone.id, stopped.id]
        assert [p.task for p in posted] == [await store.get(p.task.id) for p in posted]
        last = {p.task.id: (await store.journal(task_id=p.task.id))[-1] for p in posted}
        assert [p.position for p in posted] == [last[p.task.id].position for p in posted]
        assert (await store.overview()).untold == {"beads": 4}
        assert await store.posted("another", now=4.0, limit=99) == []
        assert len(await store.posted("beads", now=4.0, limit=2)) == 2
        closed_, blocked_ = Status.CLOSED, Status.BLOCKED
        assert await store.posted_ends("beads") == [
            ("b-1", done.id, 1, closed_, Outcome.DONE, None),
            ("b-2", bad.id, 1, blocked_, None, None),
            ("b-3", gone.id, 0, closed_, Outcome.CANCELLED, None),
            ("b-4", stopped.id, 1, closed_, Outcome.CANCELLED, None),
        ]
        assert await store.posted_ends("another") == []

    tell(place, story)


def test_what_is_not_due_yet_is_among_the_posted_ends(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await blocked(store, error="no good", **OURS)
        await store.not_told(task.id, error="deaf", due=1e9)
        (posted,) = await store.posted_ends("beads")
        assert (posted.task_id, posted.error) == (task.id, "deaf")

    tell(place, story)


def test_what_was_told_is_posted_no_more_and_may_be_said_twice(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await closed(store, ended_at=3.0, **OURS)
        (posted,) = await store.posted("beads", now=4.0, limit=9)
        for _ in range(2):
            assert await store.told(task.id, position=posted.position, now=5.0)
        assert await posted_ids(store) == []
        assert (await store.overview()).untold == {}
        assert [e.kind for e in await store.journal(task_id=task.id)][-2:] == [
            Kind.CLOSED, Kind.TOLD,
        ]  # fmt: skip

    tell(place, story)


def test_what_happened_while_it_was_told_is_told_next(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await blocked(store, **OURS)
        (first,) = await store.posted("beads", now=4.0, limit=9)
        await store.not_told(task.id, error="bd: locked", due=9.0)
        await store.retry([task.id], now=5.0)
        (second,) = await store.posted("beads", now=5.0, limit=9)
        assert (second.task.status, second.tries, second.error) == (Status.OPEN, 0, None)
        assert not await store.told(task.id, position=first.position, now=6.0)
        assert await posted_ids(store) == [task.id]
        assert await store.told(task.id, position=second.position, now=6.0)

    tell(place, story)


def test_what_was_told_in_vain_is_due_again_later(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await closed(store, ended_at=3.0, **OURS)
        await store.not_told(task.id, error="bd: \ud800 locked", due=9.0)
        await store.not_told("nobody", error="e", due=9.0)
        assert await posted_ids(store, now=8.9) == []
        (posted,) = await store.posted("beads", now=9.0, limit=9)
        assert (posted.tries, posted.error) == (1, "bd: ? locked")

    tell(place, story)


def test_what_is_posted_outlives_the_dispatcher_and_is_not_forgotten(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        task = await closed(store, ended_at=3.0, **OURS)
        left = await running(store, source="beads", source_id="b-2", type="once")
        store, _ = await opened_again(store, place, once={"once"})
        assert await posted_ids(store) == [task.id, left.id]
        assert await store.prune(closed_before=90.0, journal_before=90.0) == 0
        (posted, _) = await store.posted("beads", now=99.0, limit=9)
        await store.told(task.id, position=posted.position, now=99.0)
        assert await store.prune(closed_before=90.0, journal_before=90.0) == 1
        await store.close()

    tell(place, story)


def test_the_tasks_of_a_source_are_those_that_have_not_ended(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        first = await born(store, source="beads", source_id="b-1", created_at=9.0)
        second = await running(store, source="beads", source_id="b-2", created_at=1.0)
        third = await blocked(store, source="beads", source_id="b-3")
        await closed(store, ended_at=3.0, source="beads", source_id="b-4")
        await born(store)
        await born(store, source="another", source_id="b-1")
        found = await store.sourced("beads")
        assert [task.id for task in found] == [first.id, second.id, third.id]
        assert list(found) == [await store.get(task.id) for task in found]

    tell(place, story)


def test_a_task_of_a_source_waits_for_it_after_a_hold_and_after_a_retry(place: Place) -> None:
    """Whose it is by now only the source can say."""

    async def story(store: TaskStore) -> None:
        waits = await born(store, held=Held.FOR_SOURCE, **OURS)
        assert (await store.hold(waits.id, now=2.0)).held is Held.BY_HAND
        assert (await store.hold(waits.id, why=Held.FOR_SOURCE, now=2.0)).held is Held.BY_HAND
        assert (await store.release(waits.id, why=Held.BY_HAND, now=2.0)).held is Held.FOR_SOURCE
        assert await ready_ids(store) == []
        assert (await store.release(waits.id, why=Held.FOR_SOURCE, now=2.0)).held is None
        assert await ready_ids(store) == [waits.id]
        assert (await store.hold(waits.id, why=Held.FOR_SOURCE, now=2.0)).held is Held.FOR_SOURCE
        assert await ready_ids(store) == []
        failed = await blocked(store, source="beads", source_id="b-2")
        (again,) = await store.retry([failed.id], now=4.0)
        assert (again.status, again.held) == (Status.OPEN, Held.FOR_SOURCE)

    tell(place, story)


def test_what_was_a_sources_while_nobody_looked_waits_for_it_from_the_start(place: Place) -> None:
    """Who was told that a task is ours was a dispatcher that is gone: ask the source anew."""

    async def story(store: TaskStore) -> None:
        ready, ran = (
            await born(store, **OURS),
            await running(store, source="beads", source_id="b-2"),
        )
        by_hand = await born(store, held=Held.BY_HAND, source="beads", source_id="b-3")
        waits = await born(store, held=Held.FOR_SOURCE, source="beads", source_id="b-4")
        early = await born(
            store, held=Held.NOT_BEFORE, not_before=90.0, source="another", source_id="b-1"
        )
        failed = await blocked(store, source="beads", source_id="b-5")
        mine = await born(store)
        mark = await last_position(store)
        again, restored = await opened_again(store, place)
        assert restored.waiting == {(LANE, 2): 1}
        assert await ready_ids(again) == [mine.id]
        told = await rows(again, after=mark)
        assert restored.position == told[-1].position
        held = Held.FOR_SOURCE
        assert [(r.kind, r.task, r.reason, r.held, r.waiting) for r in told[2:]] == [
            (Kind.HELD, one.id, held.value, held, one.waiting) for one in (ready, ran, early)
        ]
        for one, why in ((ready, held), (ran, held), (waits, held), (early, held),
                         (by_hand, Held.BY_HAND), (failed, None), (mine, None)):  # fmt: skip
            assert (await again.get(one.id)).held is why
        assert (await again.release(early.id, why=held, now=60.0)).held is Held.NOT_BEFORE
        assert (await again.release(ran.id, why=held, now=60.0)).held is None
        assert await ready_ids(again) == [ran.id, mine.id]
        await again.close()

    tell(place, story)


def test_an_edit_changes_what_the_source_says_and_keeps_the_arrival(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        before = await born(store, priority=3, **OURS)
        words: dict[str, Any] = {"title": "t2", "description": "d2", "labels": ("a",)}
        after = await store.edit(before.id, priority=0, now=2.0, **words)
        assert after == replace(before, priority=0, **words)
        assert await store.get(before.id) == after
        assert await all_ready(store) == [after.waiting]
        last = (await rows(store))[-1]
        assert (last.kind, last.waiting) == (Kind.EDITED, after.waiting)
        assert last.detail == {"before": pack(before.waiting)}
        position = await last_position(store)
        assert await store.edit(before.id, priority=0, now=2.0, **words) == after
        assert await last_position(store) == position, "nothing changed, so no row"
        running_now = await claimed(store, after)
        with pytest.raises(Refused, match="only an open task can be edited"):
            await store.edit(running_now.id, priority=1, now=3.0, **words)
        with pytest.raises(UnknownTask):
            await store.edit("nobody", priority=1, now=3.0, **words)

    tell(place, story)


def test_what_its_source_took_back_ends_and_nothing_is_posted(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        open_ = await born(store, held=Held.FOR_SOURCE, **OURS)
        failed = await blocked(store, source="beads", source_id="b-2")
        assert await posted_ids(store) == [failed.id]
        for task in (open_, failed):
            for _ in range(2):
                gone = await store.withdraw(task.id, why="it was deleted", now=5.0)
                assert (gone.status, gone.outcome) == (Status.CLOSED, Outcome.CANCELLED)
                assert gone.error == "it was deleted"
        assert await posted_ids(store) == []
        (again,) = await store.add([a_draft(held=Held.FOR_SOURCE, **OURS)], now=6.0)
        assert again.new
        runs = await running(store, source="beads", source_id="b-3")
        with pytest.raises(Refused, match="is running"):
            await store.withdraw(runs.id, why="x", now=7.0)

    tell(place, story)


def test_the_latest_task_of_an_issue_is_found_closed_or_not(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        first = await closed(store, ended_at=3.0, **OURS)
        assert await store.of_source("beads", "b-1") == first
        second = await born(store, **OURS)
        assert await store.of_source("beads", "b-1") == second
        for wrong in (("beads", "b-2"), ("another", "b-1")):
            with pytest.raises(UnknownTask):
                await store.of_source(*wrong)

    tell(place, story)


def test_the_next_time_to_tell_something_is_known(place: Place) -> None:
    async def story(store: TaskStore) -> None:
        assert await store.next_post("beads") is None
        one = await closed(store, ended_at=3.0, **OURS)
        other = await closed(store, ended_at=3.0, source="beads", source_id="b-2")
        assert await store.next_post("beads") == 0.0
        await store.not_told(one.id, error="e", due=9.0)
        await store.not_told(other.id, error="e", due=7.0)
        assert await store.next_post("beads") == 7.0
        assert await store.next_post("another") is None

    tell(place, story)

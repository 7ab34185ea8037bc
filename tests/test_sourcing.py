"""A tracker's issues as tasks: taken, claimed ahead, run in order, told; and all that goes wrong."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import pytest

from tests.sources.drawn import ACTOR, taking
from tests.sources.twin import Twin, away
from tests.worlds import World, draft, fleet, run_virtual, world
from ygg.faults import Cause, Failure
from ygg.fleet import Fleet
from ygg.journal import Kind, Note
from ygg.sources.base import Died, Garbage, Locked, Refused, SourceError, TimedOut
from ygg.sourcing import Places, Sourcing
from ygg.stores.base import TaskStore
from ygg.stores.memory import MemoryStore
from ygg.tasks import Held, Outcome, Status, Task

pytestmark = pytest.mark.pure
_chance = itertools.count()


@dataclass
class Sourced:
    w: World
    tracker: Twin
    sourcing: Sourcing
    running: asyncio.Task[None]

    def task(self, one: str) -> Task:
        """The latest of an issue."""
        return max((t for t in self.w.tasks if t.source_id == one), key=lambda t: t.sequence)

    def status(self, one: str) -> Status | None:
        return self.task(one).status if any(t.source_id == one for t in self.w.tasks) else None

    async def until(self, condition: Callable[[], bool], *, within: float = 600.0) -> None:
        await self.w.until(condition, within=within)

    async def until_issues(self, **statuses: str) -> None:
        """Until the tracker shows them so; bd_1 stands for bd-1."""
        wanted = {name.replace("_", "-"): status for name, status in statuses.items()}
        await self.until(lambda: {one: self.tracker.issues[one].status for one in wanted} == wanted)


@asynccontextmanager
async def sourced(
    tracker: Twin,
    settings: Fleet | None = None,
    *,
    store: MemoryStore | None = None,
    texts: dict[str, str] | None = None,
    identity: str = "d1",
    crash: bool = False,
    seen: Callable[[MemoryStore], TaskStore] = lambda store: store,
) -> AsyncIterator[Sourced]:
    """`texts`: the answers that a former dispatcher wrote; `seen`: the store as the source has it."""
    settings = settings or fleet()
    async with world(settings, store=store, identity=identity, crash=crash) as w:
        if texts is not None:
            w.answers.texts = texts
        sourcing = Sourcing(
            tracker, seen(w.store), w.answers, w.clock, taking=taking, review=lambda _: False,
            chance=lambda _: next(_chance), places=lambda: places(w),
        )  # fmt: skip
        running = asyncio.ensure_future(sourcing.run())
        try:
            yield Sourced(w, tracker, sourcing, running)
        finally:
            running.cancel()
            if not crash:
                await sourcing.leave(60.0)


class Counted:
    """A store that notes what is asked of it, with what."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.calls: list[tuple[str, dict[str, object]]] = []

    def __getattr__(self, name: str) -> Callable[..., object]:
        method: Callable[..., object] = getattr(self._store, name)
        if name == "follow":
            return method

        def counted(*args: object, **named: object) -> object:
            self.calls.append((name, named))
            return method(*args, **named)

        return counted

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


def places(w: World) -> Places:
    board = w.dispatcher.board
    routes = {name: [o.host for o in route] for name, route in board.routes.items()}
    return Places(routes=routes, slots={n: s.slots.limit for n, s in board.semaphores.items()})


def project(**issues: Mapping[str, object]) -> Twin:
    tracker = Twin()
    for name, fields in issues.items():
        tracker.has(name.replace("_", "-"), **fields)
    return tracker


def test_issues_run_in_order_and_hear_of_their_ends() -> None:
    async def story() -> None:
        tracker = project(
            bd_1={"title": "later", "priority": 3},
            bd_2={"title": "now", "priority": 0},
            bd_3={"title": "nobody's business", "labels": ("bug",)},
            bd_4={"title": "then", "priority": 0, "created_at": 2e9},
        )
        async with sourced(tracker) as s:
            await s.until_issues(bd_1="closed", bd_2="closed", bd_4="closed")
            assert s.w.servers["h"].asked == ["now", "then", "later"]
            assert tracker.issues["bd-3"].status == "open"
            done = tracker.issues["bd-2"]
            assert "answer to now" in done.comments[0].text
            assert done.metadata["ygg.host"] == "h"
            assert done.metadata["ygg.model"] == "m"
            assert [t.outcome for t in s.w.tasks] == [Outcome.DONE] * 3
            assert (await s.w.store.overview()).untold == {}

    run_virtual(story())


def test_what_a_close_unblocks_starts_without_waiting_for_the_next_look() -> None:
    async def story() -> None:
        tracker = project(bd_1={"title": "first"}, bd_2={"title": "second"})
        tracker.needs["bd-2"] = "bd-1"
        async with sourced(tracker) as s:
            began = s.w.clock.monotonic()
            await s.until_issues(bd_1="closed", bd_2="closed")
            assert s.w.clock.monotonic() - began < 10.0, "polled once a minute, it would take 60"

    run_virtual(story())


def test_an_idle_project_is_asked_once_a_minute() -> None:
    async def story() -> None:
        tracker = project(bd_1={})
        async with sourced(tracker) as s:
            await s.until_issues(bd_1="closed")
            await asyncio.sleep(120.0)
            before = len(tracker.asked)
            await asyncio.sleep(600.0)
            assert tracker.asked[before:] == ["ready"] * 10

    run_virtual(story())


def test_a_slow_tracker_holds_up_no_other_door_and_takes_no_slot() -> None:
    async def story() -> None:
        tracker = project(bd_1={"priority": 0, "title": "slow"})
        tracker.slow = 40.0
        async with sourced(tracker) as s:
            await s.until(lambda: s.status("bd-1") is Status.OPEN)
            assert s.task("bd-1").held is Held.FOR_SOURCE
            (mine,) = await s.w.submit(draft("mine", priority=4))
            await s.w.until(lambda: s.w.task(mine).status is Status.CLOSED, within=5.0)
            await s.until_issues(bd_1="closed")
            assert s.w.servers["h"].asked == ["mine", "slow"]

    run_virtual(story())


def test_claims_go_ahead_as_far_as_there_are_slots_in_order() -> None:
    async def story() -> None:
        tracker = project(**{f"bd_{n}": {"title": f"t{n}", "priority": n % 5} for n in range(9)})
        async with sourced(tracker, fleet({"a": 1, "b": 2})) as s:
            for server in s.w.servers.values():
                server.hold = asyncio.Event()
            await s.until(lambda: sum(t.status is Status.IN_PROGRESS for t in s.w.tasks) == 3)
            await asyncio.sleep(5.0)
            claimed = {one for one, i in tracker.issues.items() if i.status == "in_progress"}
            # Three run, three wait with their claims; the rest is nobody's.
            assert claimed == {"bd-0", "bd-5", "bd-1", "bd-6", "bd-2", "bd-7"}
            for server in s.w.servers.values():
                server.hold.set()  # type: ignore[union-attr]  # set above
            await s.until_issues(**{f"bd_{n}": "closed" for n in range(9)})

    run_virtual(story())


def test_a_tracker_that_is_away_is_told_of_and_loses_nothing() -> None:
    async def story() -> None:
        tracker = project(bd_1={}, bd_2={})
        async with sourced(tracker) as s:
            s.w.servers["h"].hold = asyncio.Event()
            await s.until(lambda: s.status("bd-1") is Status.IN_PROGRESS)
            tracker.failing = away()
            s.w.servers["h"].hold.set()
            await s.until(lambda: s.status("bd-1") is Status.CLOSED)
            await asyncio.sleep(300.0)
            assert s.sourcing.standing.trouble == str(away())
            assert (await s.w.store.overview()).untold["beads"] >= 1
            tracker.failing = None
            await s.until_issues(bd_1="closed", bd_2="closed")
            await s.until(lambda: s.sourcing.standing.trouble is None)

    run_virtual(story())


def test_one_issue_that_can_not_be_told_holds_up_no_other() -> None:
    async def story() -> None:
        tracker = project(bd_1={}, bd_2={})
        tracker.deaf["bd-1"] = Refused("no", where="bd", way_out="look")
        async with sourced(tracker) as s:
            await s.until_issues(bd_2="closed")
            await s.until(lambda: s.status("bd-1") is Status.CLOSED)
            await asyncio.sleep(3000.0)
            told = [call for call in tracker.asked if call == "tell bd-1"]
            assert 5 <= len(told) <= 12, "again and again, and less and less often"
            assert s.sourcing.standing.refused == {"bd-1": "bd: no; look"}
            del tracker.deaf["bd-1"]
            await s.until(lambda: tracker.issues["bd-1"].status == "closed", within=600.0)
            assert s.sourcing.standing.refused == {}
            assert len(s.w.servers["h"].asked) == 2

    run_virtual(story())


NO_ANSWER = {"where": "bd comments add", "way_out": "look at it"}


@pytest.mark.parametrize("error", [TimedOut, Died, Locked, Garbage])
def test_one_issue_whose_telling_comes_to_nothing_holds_up_neither_looks_nor_others(
    error: type[SourceError],
) -> None:
    async def story() -> None:
        tracker = project(bd_1={})
        tracker.deaf["bd-1"] = error("no answer", **NO_ANSWER)
        async with sourced(tracker) as s:
            await s.until(lambda: "tell bd-1" in tracker.asked)
            tracker.has("bd-2", priority=0)
            await s.until(lambda: tracker.issues["bd-2"].status == "closed", within=5.0)
            assert s.sourcing.standing.trouble is None
            tracker.deaf.clear()
            await s.until(lambda: tracker.issues["bd-1"].status == "closed", within=600.0)
            assert len(tracker.issues["bd-1"].comments) == 1

    run_virtual(story())


def test_an_answer_that_can_not_be_read_is_put_off_and_is_no_trouble_of_the_tracker() -> None:
    async def story() -> None:
        tracker = project(bd_1={})
        async with sourced(tracker) as s:
            s.w.answers.unreadable = cast(set[str], Everything())
            await s.until(lambda: "bd-1" in s.sourcing.standing.refused)
            assert "Input/output error" in s.sourcing.standing.refused["bd-1"]
            assert s.sourcing.standing.trouble is None
            tracker.has("bd-2", labels=("bug",))
            looks = tracker.asked.count("ready")
            await s.until(lambda: tracker.asked.count("ready") > looks, within=5.0)
            s.w.answers.unreadable = set()
            await s.until(lambda: tracker.issues["bd-1"].status == "closed")

    run_virtual(story())


class Everything:
    def __contains__(self, one: object) -> bool:
        return True


def test_an_issue_that_can_not_be_claimed_takes_no_place_of_one_that_can() -> None:
    async def story() -> None:
        tracker = project(bd_1={"priority": 0}, bd_2={"priority": 1}, bd_3={}, bd_4={})
        tracker.unclaimable = {"bd-1": "validation failed"}
        tracker.has("bd-2", fault="priority: Expected int <= 4 in 7")
        async with sourced(tracker) as s:
            await s.until_issues(bd_3="closed", bd_4="closed")
            assert s.sourcing.standing.unclaimed == {"bd-1": "validation failed"}
            tracker.unclaimable = {}
            tracker.has("bd-2", fault="")
            await s.until_issues(bd_1="closed", bd_2="closed")

    run_virtual(story())


@pytest.mark.parametrize("error", [Refused, TimedOut])
def test_one_issue_that_can_not_be_handed_back_holds_up_no_other(error: type[SourceError]) -> None:
    async def story() -> None:
        tracker = project(bd_9={"status": "in_progress", "assignee": ACTOR})
        tracker.kept["bd-9"] = error("a hook says no", **NO_ANSWER)
        async with sourced(tracker) as s:
            await s.until(lambda: "hand_back" in tracker.asked)
            for number in range(20):
                tracker.has(f"bd-1{number:02}")
            ids = [one for one in tracker.issues if one != "bd-9"]
            await s.until(
                lambda: {tracker.issues[one].status for one in ids} == {"closed"}, within=120
            )
            assert tracker.asked.count("hand_back") < 4
            tracker.kept.clear()
            await s.until(lambda: tracker.issues["bd-9"].status != "in_progress", within=700)

    run_virtual(story())


def test_what_a_person_holds_here_is_handed_back_at_once() -> None:
    async def story() -> None:
        tracker = project(bd_1={}, bd_2={})
        async with sourced(tracker) as s:
            s.w.servers["h"].hold = asyncio.Event()
            await s.until_issues(bd_1="in_progress", bd_2="in_progress")
            await s.w.store.hold(s.task("bd-2").id, why=Held.BY_HAND, now=s.w.clock.wall())
            await s.until(lambda: tracker.issues["bd-2"].status == "open", within=5.0)
            s.w.servers["h"].hold.set()

    run_virtual(story())


def test_what_was_refused_is_told_at_once_when_a_tracker_was_away() -> None:
    async def story() -> None:
        tracker = project(bd_1={})
        tracker.deaf["bd-1"] = Refused("no", where="bd", way_out="look")
        async with sourced(tracker) as s:
            await s.until(lambda: s.status("bd-1") is Status.CLOSED)
            await asyncio.sleep(2600.0)  # told in vain at 2435 s, and due again at 3035 s
            tracker.failing = away()
            await s.until(lambda: s.sourcing.standing.trouble is not None)
            tracker.failing, tracker.deaf = None, {}
            await s.until(lambda: s.sourcing.standing.trouble is None, within=61.0)
            await s.until(lambda: tracker.issues["bd-1"].status == "closed", within=1.0)

    run_virtual(story())


def test_what_a_person_changes_while_it_waits_is_followed() -> None:
    async def story() -> None:
        waiting = {f"bd_{n}": {"title": f"t{n}", "priority": 2} for n in range(1, 7)}
        tracker = project(bd_0={"title": "runs", "priority": 0}, **waiting)
        async with sourced(tracker) as s:
            s.w.servers["h"].hold = asyncio.Event()
            await s.until(lambda: s.status("bd-0") is Status.IN_PROGRESS)
            await s.until(lambda: s.status("bd-6") is Status.OPEN)
            tracker.has("bd-6", title="urgent", priority=0)
            tracker.has("bd-5", status="closed")
            tracker.has("bd-4", assignee="alice", status="in_progress")
            tracker.has("bd-3", labels=())
            tracker.has("bd-2", labels=("reasoning",))
            tracker.loses("bd-1")
            await s.until(lambda: s.status("bd-1") is Status.CLOSED)
            gone = {one: s.task(one).error for one in ("bd-1", "bd-3", "bd-4", "bd-5")}
            assert all(why is not None and why.startswith("its issue ") for why in gone.values())
            assert s.task("bd-2").type == "reasoning"
            s.w.servers["h"].hold.set()
            await s.until_issues(bd_0="closed", bd_6="closed", bd_2="closed")
            assert s.w.servers["h"].asked == ["runs", "urgent", "t2"]
            assert tracker.issues["bd-4"].assignee == "alice"

    run_virtual(story())


def test_a_failure_blocks_the_issue_and_its_reopening_is_a_retry() -> None:
    async def story() -> None:
        tracker = project(bd_1={"title": "t"})
        async with sourced(tracker) as s:
            s.w.servers["h"].script = [Failure(Cause.BAD_REQUEST, "too long", taken=True)]
            await s.until_issues(bd_1="blocked")
            assert "too long" in tracker.issues["bd-1"].notes
            tracker.has("bd-1", status="open")
            await s.until_issues(bd_1="closed")
            assert len(s.w.tasks) == 1
            assert s.task("bd-1").attempt == 2

    run_virtual(story())


def test_a_retry_here_opens_the_issue_before_it_is_claimed() -> None:
    async def story() -> None:
        tracker = project(bd_1={"title": "t"})
        async with sourced(tracker) as s:
            s.w.servers["h"].script = [Failure(Cause.BAD_REQUEST, "no", taken=True)]
            await s.until_issues(bd_1="blocked")
            await s.w.store.retry([s.task("bd-1").id], now=s.w.clock.wall())
            await s.until_issues(bd_1="closed")

    run_virtual(story())


def test_a_cancel_is_told_as_blocked_and_never_runs_again() -> None:
    async def story() -> None:
        tracker = project(bd_1={"title": "runs"}, bd_2={"title": "t"}, bd_3={"title": "after"})
        tracker.needs["bd-3"] = "bd-2"
        async with sourced(tracker) as s:
            s.w.servers["h"].hold = asyncio.Event()
            await s.until(lambda: s.status("bd-1") is Status.IN_PROGRESS)
            await s.until(lambda: s.status("bd-2") is Status.OPEN)
            await s.w.store.cancel(s.task("bd-2").id, now=s.w.clock.wall())
            await s.until_issues(bd_2="blocked")
            s.w.servers["h"].hold.set()
            await s.until_issues(bd_1="closed")
            await asyncio.sleep(200.0)
            assert tracker.issues["bd-3"].status == "open"
            assert s.w.servers["h"].asked == ["runs"]

    run_virtual(story())


def test_a_reopened_issue_runs_again_as_a_new_task() -> None:
    async def story() -> None:
        tracker = project(bd_1={"title": "t"})
        async with sourced(tracker) as s:
            await s.until_issues(bd_1="closed")
            tracker.has("bd-1", status="open", assignee="")
            await s.until(lambda: len(s.w.tasks) == 2)
            await s.until_issues(bd_1="closed")
            assert s.w.servers["h"].asked == ["t", "t"]

    run_virtual(story())


def test_an_issue_that_somebody_else_claims_first_is_theirs() -> None:
    async def story() -> None:
        tracker = project(bd_1={"title": "t"}, bd_2={"title": "u"})
        tracker.stolen["bd-1"] = "alice"
        async with sourced(tracker) as s:
            await s.until_issues(bd_2="closed")
            await asyncio.sleep(100.0)
            assert s.w.servers["h"].asked == ["u"]
            assert s.status("bd-1") is Status.CLOSED
            assert tracker.issues["bd-1"].assignee == "alice"

    run_virtual(story())


def test_what_waits_is_handed_back_before_the_end_and_what_ended_is_told() -> None:
    async def story() -> None:
        tracker = project(**{f"bd_{n}": {"title": f"t{n}"} for n in range(4)})
        store = MemoryStore()
        async with sourced(tracker, store=store) as s:
            s.w.servers["h"].hold = asyncio.Event()
            await s.until(lambda: tracker.issues["bd-1"].status == "in_progress")
            await s.until(lambda: s.status("bd-1") is Status.OPEN)
        assert [i.status for i in tracker.issues.values()] == ["in_progress"] + ["open"] * 3
        async with sourced(tracker, store=store, identity="d2") as s:
            await s.until_issues(**{f"bd_{n}": "closed" for n in range(1, 4)})
            # The one that ran was blocked by the drain; its issue says so.
            await s.until_issues(bd_0="blocked")

    run_virtual(story())


def test_a_crash_loses_no_claim_and_no_end() -> None:
    async def story() -> None:
        tracker = project(**{f"bd_{n}": {"title": f"t{n}"} for n in range(4)})
        store, texts = MemoryStore(), dict[str, str]()
        async with sourced(tracker, store=store, texts=texts, crash=True) as s:
            tracker.deaf["bd-0"] = Refused("no", where="bd", way_out="look")
            await s.until(lambda: s.status("bd-0") is Status.CLOSED)
            s.w.servers["h"].hold = asyncio.Event()
            await s.until(lambda: s.status("bd-1") is Status.IN_PROGRESS)
        tracker.deaf.clear()
        tracker.has("bd-9", status="in_progress", assignee=ACTOR, title="of an earlier life")
        async with sourced(tracker, store=store, texts=texts, identity="d2") as s:
            await s.until_issues(**{f"bd_{n}": "closed" for n in (0, 1, 2, 3, 9)})
            assert s.task("bd-1").attempt == 2
            assert s.task("bd-0").attempt == 1

    run_virtual(story())


async def _after_a_crash(
    meanwhile: Callable[[Twin], None], then: Callable[[Sourced], Awaitable[None]]
) -> None:
    """bd-1 ran and bd-2 waited with its claim confirmed when the dispatcher was killed."""
    tracker = project(bd_1={"title": "ran"}, bd_2={"title": "waited", "priority": 3})
    store = MemoryStore()
    async with sourced(tracker, store=store, crash=True) as s:
        s.w.servers["h"].hold = asyncio.Event()
        await s.until(lambda: s.status("bd-1") is Status.IN_PROGRESS)
        await s.until(lambda: s.status("bd-2") is Status.OPEN and s.task("bd-2").held is None)
    meanwhile(tracker)
    async with sourced(tracker, store=store, identity="d2") as s:
        await then(s)


def test_after_a_crash_nothing_is_run_that_a_person_took_closed_or_deleted_meanwhile() -> None:
    def taken(tracker: Twin) -> None:
        tracker.has("bd-1", assignee="alice")
        tracker.has("bd-2", status="closed")

    def lost(tracker: Twin) -> None:
        tracker.loses("bd-1")
        tracker.has("bd-2", labels=())

    async def then(s: Sourced) -> None:
        await s.until(lambda: {t.status for t in s.w.tasks} == {Status.CLOSED})
        assert s.w.servers["h"].asked == []
        assert {t.outcome for t in s.w.tasks} == {Outcome.CANCELLED}
        assert s.tracker.asked[-1] != "claim"

    for meanwhile in (taken, lost):
        run_virtual(_after_a_crash(meanwhile, then))


def test_after_a_crash_what_was_edited_meanwhile_runs_as_it_is_now() -> None:
    def edited(tracker: Twin) -> None:
        tracker.has("bd-1", title="ran, in other words")
        tracker.has("bd-2", title="is urgent now", priority=0)

    async def then(s: Sourced) -> None:
        await s.until_issues(bd_1="closed", bd_2="closed")
        assert set(s.w.servers["h"].asked) == {"is urgent now", "ran, in other words"}
        assert s.task("bd-1").attempt == 2

    run_virtual(_after_a_crash(edited, then))


def test_after_a_crash_nothing_of_a_tracker_that_is_away_starts_until_it_answers() -> None:
    def goes_away(tracker: Twin) -> None:
        tracker.failing = away()

    async def then(s: Sourced) -> None:
        (mine,) = await s.w.submit(draft("mine", priority=4))
        await s.w.until(lambda: s.w.task(mine).status is Status.CLOSED)
        await asyncio.sleep(300.0)
        assert s.w.servers["h"].asked == ["mine"]
        assert {s.task(one).held for one in s.tracker.issues} == {Held.FOR_SOURCE}
        s.tracker.failing = None
        await s.until_issues(bd_1="closed", bd_2="closed")
        assert s.w.servers["h"].asked == ["mine", "ran", "waited"]

    run_virtual(_after_a_crash(goes_away, then))


def test_foreign_tasks_are_no_reason_to_read_the_store() -> None:
    async def story() -> None:
        counted: list[Counted] = []

        def seen(store: MemoryStore) -> TaskStore:
            counted.append(Counted(store))
            return cast("TaskStore", counted[-1])

        tracker = project(bd_1={}, bd_2={}, bd_3={})
        async with sourced(tracker, fleet({"h": 8}), seen=seen) as s:
            (store,) = counted
            tracker.deaf["bd-1"] = Refused("no", where="bd", way_out="look")
            s.w.servers["h"].seconds = 0.01
            await s.until_issues(bd_2="closed", bd_3="closed")
            s.w.servers["h"].script = [Failure(Cause.BAD_REQUEST, "no", taken=True)]
            tracker.has("bd-4", title="fails")
            await s.until_issues(bd_4="blocked")
            # Just after a look, and far from the next time that bd-1 is told in vain.
            await asyncio.sleep(1000.0)
            asked = len(tracker.asked)
            await s.until(lambda: len(tracker.asked) > asked and tracker.asked[-1] == "ready")
            await asyncio.sleep(1.0)
            store.calls.clear()
            began, asked = s.w.clock.monotonic(), len(tracker.asked)
            for n in range(1000):
                await s.w.submit(draft(f"mine {n}"))
            await s.w.until(lambda: sum(t.status is Status.CLOSED for t in s.w.tasks) == 1003)
            assert s.w.clock.monotonic() - began < 50.0
            assert tracker.asked[asked:] == []
            assert store.calls == []

    run_virtual(story())


def test_what_happens_to_one_of_many_reads_that_one() -> None:
    async def story() -> None:
        counted: list[Counted] = []

        def seen(store: MemoryStore) -> TaskStore:
            counted.append(Counted(store))
            return cast("TaskStore", counted[-1])

        tracker = project(**{f"bd_{n}": {"title": f"t{n}"} for n in range(30)})
        async with sourced(tracker, seen=seen) as s:
            s.w.servers["h"].hold = asyncio.Event()
            await s.until(lambda: tracker.issues["bd-1"].status == "in_progress")
            await asyncio.sleep(1.0)
            counted[0].calls.clear()
            await s.w.store.prioritise(s.task("bd-9").id, priority=0, now=s.w.clock.wall())
            await s.until_issues(bd_9="in_progress")
            names = counted[0].names()
            assert "sourced" not in names
            assert 0 < names.count("get") <= 4

    run_virtual(story())


def test_more_slots_are_claimed_for_at_once() -> None:
    async def story() -> None:
        tracker = project(**{f"bd_{n}": {"title": f"t{n}"} for n in range(9)})
        async with sourced(tracker) as s:
            s.w.servers["h"].hold = asyncio.Event()
            await s.until(lambda: tracker.issues["bd-1"].status == "in_progress")
            await asyncio.sleep(1.0)
            row = Note(kind=Kind.RESIZED, host="h", detail={"limit": 3, "start": 1})
            await s.w.store.note([row], now=s.w.clock.wall())
            await s.until(lambda: sum(i.status == "in_progress" for i in tracker.issues.values()) > 4,
                          within=5.0)  # fmt: skip

    run_virtual(story())


def test_many_untold_ends_are_looked_at_without_their_texts() -> None:
    async def story() -> None:
        counted: list[Counted] = []

        def seen(store: MemoryStore) -> TaskStore:
            counted.append(Counted(store))
            return cast("TaskStore", counted[-1])

        tracker = project(**{f"bd_{n}": {} for n in range(20)})
        for one in tracker.issues:
            tracker.deaf[one] = Refused("no", where="bd", way_out="look")
        async with sourced(tracker, seen=seen) as s:
            await s.until(lambda: sum(t.status is Status.CLOSED for t in s.w.tasks) == 20)
            asked = tracker.asked.count("ready")
            await s.until(lambda: tracker.asked.count("ready") > asked + 2)
            assert len(s.w.tasks) == 20, "none is run again"
            assert {named["limit"] for name, named in counted[0].calls if name == "posted"} == {1}
            tracker.deaf.clear()
            await s.until(lambda: {i.status for i in tracker.issues.values()} == {"closed"},
                          within=4000.0)  # fmt: skip

    run_virtual(story())


def test_an_issue_that_can_not_be_read_is_left_out_alone_and_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        tracker = project(
            bd_1={"title": "runs"}, bd_2={"title": "waits"}, bd_3={"fault": "priority: 9"}
        )
        async with sourced(tracker) as s:
            s.w.servers["h"].hold = asyncio.Event()
            await s.until(lambda: s.status("bd-2") is Status.OPEN)
            await s.until(lambda: s.status("bd-1") is Status.IN_PROGRESS)
            for one in ("bd-1", "bd-2"):
                tracker.has(one, fault="labels: 7")
            tracker.has("bd-4", title="new")
            await s.until(lambda: s.status("bd-4") is Status.OPEN)
            await asyncio.sleep(300.0)
            assert s.task("bd-2").status is Status.OPEN, "it is not withdrawn for that"
            assert s.status("bd-3") is None
            faults = {"bd-1": "labels: 7", "bd-2": "labels: 7", "bd-3": "priority: 9"}
            assert s.sourcing.standing.unreadable == faults
            said = [r for r in caplog.messages if "event=unreadable" in r]
            assert len(said) == 3, "each once, however often it is looked at"
            for one in faults:
                tracker.has(one, fault="")
            await s.until(lambda: s.status("bd-3") is Status.OPEN)
            assert s.sourcing.standing.unreadable == {}
            s.w.servers["h"].hold.set()
            await s.until_issues(bd_1="closed", bd_2="closed", bd_3="closed", bd_4="closed")

    run_virtual(story())


def test_the_log_says_of_an_answer_that_it_was_cut(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="ygg.sources")

    async def story() -> None:
        tracker = project(bd_1={"title": "short"}, bd_2={"title": "t", "description": "x" * 20_000})
        async with sourced(tracker) as s:
            await s.until_issues(bd_1="closed", bd_2="closed")
            begins = {
                one: f"event=told source=beads task={s.task(one).id}" for one in tracker.issues
            }
        told = {
            one: next(m for m in caplog.messages if m.startswith(begin))
            for one, begin in begins.items()
        }
        assert "cut_to" not in told["bd-1"]
        size = len("answer to t\n\n") + 20_000
        assert told["bd-2"].endswith(f" end=done cut_to=16384 of_bytes={size}")
        assert (
            f"[cut: these are the first of {size} bytes" in tracker.issues["bd-2"].comments[0].text
        )

    run_virtual(story())

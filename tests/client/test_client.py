"""Every call of the client against the real interface before the real dispatcher."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from tests.web.serving import Served, run, served
from ygg.client import Client, NewDecision, NewTask, Problem
from ygg.faults import Cause, Failure
from ygg.tasks import Status
from ygg.web.limits import Limits


@asynccontextmanager
async def ours(folder: Path) -> AsyncIterator[tuple[Served, Client]]:
    async with served(folder) as w, Client(f"http://127.0.0.1:{w.port}", environ={}) as client:
        yield w, client


def test_a_task_is_handed_in_waited_for_and_its_answer_read(tmp_path: Path) -> None:
    async def story() -> None:
        async with ours(tmp_path) as (w, client):
            w.servers["h"].thinking = "hm"
            task = await client.submit(
                title="T", description="D", labels=["a"], priority=1, metadata={"mine": [1]}
            )
            assert (task.title, task.labels, task.metadata) == ("T", ("a",), {"mine": [1]})
            assert not task.has_ended
            ended = await client.wait(task.id)
            assert (ended.status, ended.outcome) == ("closed", "done")
            assert ended.has_ended
            assert ended == await client.task(task.id)
            assert await client.answer(task.id)
            assert await client.answer(task.id, thinking=True) == "hm"
            kinds = [row.kind for row in await client.history(task.id)]
            assert kinds == ["accepted", "started", "closed"]
            assert (await client.why(task.id)).summary == "it is closed (done): it does not wait"

    run(story())


def test_the_same_key_and_task_is_the_same_task_and_another_one_clashes(tmp_path: Path) -> None:
    async def story() -> None:
        async with ours(tmp_path) as (_, client):
            first = await client.submit(title="T", key="k")
            assert (await client.submit(title="T", key="k")).id == first.id
            assert (await client.submit(title="T")).id != first.id
            with pytest.raises(Problem) as told:
                await client.submit(title="another", key="k")
            assert (told.value.status, told.value.kind) == (409, "key-clash")

    run(story())


def test_a_number_that_json_has_no_word_for_is_refused_before_it_is_sent() -> None:
    async def submit() -> None:
        async with Client("http://127.0.0.1:1") as client:
            await client.submit(title="t", options={"temperature": float("nan")})

    with pytest.raises(ValueError, match="options: nan is no value in JSON"):
        asyncio.run(submit())


def test_what_is_no_json_is_refused_in_any_other_call_too() -> None:
    async def ask() -> None:
        async with Client("http://127.0.0.1:1") as client:
            await client.ask("POST", "/v1/tasks", {"title": "t", "metadata": [b"abc"]})

    with pytest.raises(ValueError, match="bytes is no value in JSON"):
        asyncio.run(ask())


def test_no_key_is_as_good_as_none_given(tmp_path: Path) -> None:
    async def story() -> None:
        async with ours(tmp_path) as (_, client):
            for nothing in (None, ""):
                task = await client.submit(title="T", key=nothing)  # type: ignore[arg-type]  # the test
                assert task.key

    run(story())


def test_a_client_that_was_closed_stays_closed(tmp_path: Path) -> None:
    async def story() -> None:
        async with ours(tmp_path) as (_, client):
            await client.status()
            await client.close()
            with pytest.raises(RuntimeError, match="was closed: make another"):
                await client.status()

    run(story())


def test_a_row_of_many_handed_in_again_is_not_doubled(tmp_path: Path) -> None:
    async def story() -> None:
        async with ours(tmp_path) as (w, client):
            w.hold()
            tasks: list[NewTask] = [{"title": f"t{number}"} for number in range(1200)]
            first = [task.id async for task in client.submit_many(tasks, key_prefix="p")]
            again = [task.id async for task in client.submit_many(tasks, key_prefix="p")]
            assert first == again
            assert len(set(first)) == 1200
            assert [task.id async for task in client.tasks()] == first[::-1]

    run(story())


def test_tasks_are_listed_by_what_is_asked_and_no_more_than_asked(tmp_path: Path) -> None:
    async def story() -> None:
        async with ours(tmp_path) as (w, client):
            w.hold()
            ids = [(await client.submit(title=str(n), priority=n % 2)).id for n in range(5)]
            assert [t.id async for t in client.tasks(limit=2)] == [ids[4], ids[3]]
            assert [t.id async for t in client.tasks(limit=0)] == []
            assert [t.id async for t in client.tasks(priority=1)] == [ids[3], ids[1]]
            assert [t.id async for t in client.tasks(status="blocked")] == []
            assert [t.id async for t in client.tasks(type="poetry", error="x", host="h")] == []

    run(story())


def test_tasks_are_cancelled_and_sent_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with ours(tmp_path) as (w, client):
            w.servers["h"].script = [Failure(Cause.BAD_REQUEST, "no", taken=True)] * 2
            ids = [(await client.submit(title=str(n))).id for n in range(2)]
            for task_id in ids:
                await w.until_status(task_id, Status.BLOCKED)
            w.hold()
            dry = await client.retry_many(error="no", dry_run=True)
            assert (dry.count, set(dry.tasks)) == (2, set(ids))
            assert (await client.retry(ids[0])).status == "open"
            assert (await client.retry_many([ids[1]])).tasks == (ids[1],)
            assert (await client.retry_many(drained=True)).count == 0
            assert (await client.cancel(ids[0])).outcome == "cancelled"
            assert (await client.cancel(ids[0])).outcome == "cancelled"
            with pytest.raises(Problem, match="only a blocked task can be retried"):
                await client.retry(ids[0])

    run(story())


def test_hosts_and_the_whole_are_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with ours(tmp_path) as (_, client):
            (host,) = await client.hosts()
            status = await client.status()
            assert (host.name, host.up, host.active) == ("h", "up", 0)
            assert list(status.hosts) == [host]

    run(story())


def test_what_nobody_knows_is_a_problem(tmp_path: Path) -> None:
    async def story() -> None:
        async with ours(tmp_path) as (_, client):
            for asked in (client.task("none"), client.history("none"), client.why("none"),
                          client.cancel("none"), client.answer("none"), client.wait("none")):  # fmt: skip
                with pytest.raises(Problem) as told:
                    await asked
                assert (told.value.status, told.value.kind) == (404, "unknown-task")

    run(story())


def test_a_tasks_place_is_changed_and_it_is_held(tmp_path: Path) -> None:
    async def story() -> None:
        async with ours(tmp_path) as (w, client):
            w.hold()
            await w.until_running((await client.submit(title="first")).id)
            task = await client.submit(title="T")
            assert (await client.prioritise(task.id, priority=0)).priority == 0
            assert (await client.prioritise(task.id, run_next=True)).run_next is True
            assert (await client.hold(task.id)).held == "held"
            assert (await client.release(task.id)).held is None

    run(story())


def test_hosts_are_pinned_and_paused_by_hand(tmp_path: Path) -> None:
    async def story() -> None:
        async with ours(tmp_path) as (_, client):
            later = "2999-01-01T00:00:00.000Z"
            pin = (await client.pin("h", 2, until=later, reason="games", by="ann")).pin
            assert pin is not None
            assert (pin.limit, pin.until, pin.reason, pin.by) == (2, later, "games", "ann")
            assert (await client.unpin("h")).pin is None
            pause = (await client.pause("h", reason="driver", by="ann")).pause
            assert pause is not None
            assert (pause.reason, pause.by, pause.until) == ("driver", "ann", None)
            assert (await client.resume("h")).pause is None
            with pytest.raises(Problem, match="known: h"):
                await client.pause("none")

    run(story())


def test_decisions_of_an_autoscaler_are_answered_host_by_host(tmp_path: Path) -> None:
    async def story() -> None:
        async with ours(tmp_path) as (_, client):
            decided: NewDecision = {
                "expected": 1, "limit": 3, "action": "grow", "reason": "wait",
                "evidence": {"oldest_wait_seconds": 70.5},
            }  # fmt: skip
            told = await client.autoscale("n/1", {"h": decided, "x": decided}, interval=10.0)
            assert {name: found.effect for name, found in told.hosts.items()} == {
                "h": "resized", "x": "unknown_host",
            }  # fmt: skip
            assert 0.0 < told.lease_seconds <= 30.0
            (host,) = await client.hosts()
            assert host.decision is not None
            assert (host.limit, host.decision.evidence) == (3, {"oldest_wait_seconds": 70.5})
            with pytest.raises(Problem, match="'n/1' holds the lease") as refused:
                await client.autoscale("n/2", {})
            assert (refused.value.status, refused.value.kind) == (409, "lease-held")
            assert (await client.autoscale("n/1", {}, leaves=True)).lease_seconds == 0.0
            assert (await client.autoscale("n/2", {})).hosts == {}

    run(story())


def test_events_come_as_they_happen_and_from_where_one_wants(tmp_path: Path) -> None:
    async def story() -> None:
        async with ours(tmp_path) as (w, client), asyncio.timeout(60):
            async with aclosing(client.events()) as now:
                coming = asyncio.ensure_future(anext(now))
                # Once it is connected; until then a task may come before it.
                while not coming.done():
                    other = await client.submit(title="T")
                    await w.until_status(other.id, Status.CLOSED)
                assert (await coming).kind in ("accepted", "started", "closed")
            task = await client.submit(title="T")
            await w.until_status(task.id, Status.CLOSED)
            async with aclosing(client.events(after=0, task=task.id)) as own:
                rows = [await anext(own) for _ in range(3)]
            assert rows == await client.history(task.id)
            kinds = ("started", "closed")
            async with aclosing(client.events(after=0, kinds=kinds)) as some:
                assert {(await anext(some)).kind for _ in range(4)} == set(kinds)

    run(story())


def test_waiting_goes_by_events_and_does_without_them(tmp_path: Path) -> None:
    async def story() -> None:
        async with ours(tmp_path) as (w, client), asyncio.timeout(60):
            hold = w.hold()
            task = await client.submit(title="T")
            waiting = asyncio.ensure_future(client.wait(task.id))
            await w.until_running(task.id)
            hold.set()
            assert (await waiting).outcome == "done"
        async with (
            served(tmp_path / "b", limits=Limits(streams=0)) as w,
            Client(f"http://127.0.0.1:{w.port}", environ={}) as client,
        ):
            task = await client.submit(title="T")
            assert (await client.wait(task.id)).outcome == "done"

    run(story())


def test_a_task_that_was_blocked_before_is_waited_for_to_its_new_end(tmp_path: Path) -> None:
    async def story() -> None:
        async with ours(tmp_path) as (w, client), asyncio.timeout(60):
            w.servers["h"].script = [Failure(Cause.BAD_REQUEST, "no", taken=True)]
            task = await client.submit(title="T")
            assert (await client.wait(task.id)).status == "blocked"
            hold = w.hold()
            await client.retry(task.id)
            waiting = asyncio.ensure_future(client.wait(task.id))
            await w.until_running(task.id)
            hold.set()
            assert (await waiting).outcome == "done"

    run(story())

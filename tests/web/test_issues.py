"""Wherever the interface takes the id of a task, it takes the id of an issue."""

from __future__ import annotations

from pathlib import Path

from tests.web.serving import Served, run, served
from tests.web.test_events import stream
from tests.worlds import draft
from ygg.faults import Cause, Failure
from ygg.sources.base import Standing
from ygg.tasks import Held, Status

ISSUE = "bd-7.2"


async def an_issues_task(w: Served, one: str = ISSUE) -> str:
    """A task that waits, of an issue."""
    (added,) = await w.dispatcher.submit(
        [draft(one, source="beads", source_id=one, held=Held.FOR_SOURCE)]
    )
    return added.task.id


async def a_blocked_one(w: Served, one: str = ISSUE) -> str:
    w.servers["h"].script = [Failure(Cause.BAD_REQUEST, "no", taken=True)]
    task_id = await an_issues_task(w, one)
    await w.store.release(task_id, why=Held.FOR_SOURCE, now=w.clock.wall())
    await w.until_status(task_id, Status.BLOCKED)
    return task_id


def with_source(w: Served) -> Served:
    w.dispatcher.sources.append(Standing(name="beads"))
    return w


def test_every_route_of_a_task_takes_the_id_of_its_issue(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            task_id = await an_issues_task(with_source(w))
            for rest in ("", "/history", "/why"):
                assert (await w.ask("GET", f"/v1/tasks/{ISSUE}{rest}")).status == 200
            changed = await w.ask("PATCH", f"/v1/tasks/{ISSUE}", {"run_next": True})
            assert (changed.json["id"], changed.json["run_next"]) == (task_id, True)
            assert (await w.ask("GET", f"/v1/tasks/{ISSUE}/artifact")).status == 404
            assert (await w.ask("POST", f"/v1/tasks/{ISSUE}/retry")).status == 409
            cancelled = await w.ask("POST", f"/v1/tasks/{ISSUE}/cancel")
            assert cancelled.json["id"] == task_id

    run(story())


def test_many_are_retried_by_the_ids_of_issues_and_tasks_mixed(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            with_source(w)
            ids = [await a_blocked_one(w, one) for one in ("bd-1", "bd-2")]
            w.hold()
            given = ["bd-1", ids[1], "bd-2", ids[0]]
            bad = await w.ask("POST", "/v1/retry", {"ids": [*given, "bd-9"]})
            assert (bad.status, "no task 'bd-9'" in bad.json["detail"]) == (404, True)
            dry = await w.ask("POST", "/v1/retry", {"ids": given, "dry_run": True})
            assert dry.json["tasks"] == ids, "each once"
            assert (await w.ask("POST", "/v1/retry", {"ids": given})).json == dry.json
            assert all(w.store.tables.tasks[i].status is not Status.BLOCKED for i in ids)

    run(story())


def test_events_are_followed_by_the_id_of_an_issue(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            task_id = await an_issues_task(with_source(w))
            await w.submit(title="another")
            async with stream(w, f"?after=0&task={ISSUE}&kinds=accepted,cancelled") as s:
                assert [row["task"] for row in await s.rows(1)] == [task_id]
                await w.ask("POST", f"/v1/tasks/{task_id}/cancel")
                assert [row["kind"] for row in await s.rows(1)] == ["cancelled"]
            assert (await w.ask("GET", "/v1/events?task=bd-9")).status == 404

    run(story())


def test_of_several_sources_each_is_asked(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            w.dispatcher.sources.append(Standing(name="another"))
            task_id = await an_issues_task(with_source(w))
            assert (await w.ask("GET", f"/v1/tasks/{ISSUE}")).json["id"] == task_id

    run(story())


def test_it_is_said_what_keeps_a_source_from_confirming_a_task(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            task_id = await an_issues_task(w)

            async def why() -> str:
                said = (await w.ask("GET", f"/v1/tasks/{task_id}/why")).json["summary"]
                begin = "its tracker has not confirmed that it is ours: "
                assert said.startswith(begin)
                return str(said[len(begin) :])

            async def needs_person() -> str:
                return "; ".join((await w.ask("GET", "/v1/status")).json["needs_person"])

            assert "this dispatcher does not feed from beads, where it is bd-7.2" in await why()
            assert f"`ygg cancel {task_id}`" in await why()
            assert "1 task of a tracker that this dispatcher does not feed" in await needs_person()
            (standing,) = with_source(w).dispatcher.sources
            assert await why() == "beads has not answered yet"
            assert await needs_person() == ""
            standing.trouble = "bd: it can't be started"
            assert await why() == "beads can't be asked: bd: it can't be started"
            standing.trouble, standing.looked_at = None, w.clock.wall()
            assert await why() == "bd-7.2 is claimed when it is among the next to start"
            standing.unclaimed[ISSUE] = "alice has it"
            assert await why() == "bd-7.2 was not claimed: alice has it"
            standing.unreadable[ISSUE] = "priority: 9"
            assert await why() == "bd-7.2 can't be read: priority: 9"

    run(story())


def test_what_only_the_source_can_change_is_refused_with_the_way_to_change_it(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            task_id = await an_issues_task(with_source(w))
            for one in (ISSUE, task_id):
                said = await w.ask("PATCH", f"/v1/tasks/{one}", {"priority": 0, "held": True})
                assert said.status == 409
                assert f"change it there, `bd update {ISSUE} -p 0`" in said.json["detail"]
            task = (await w.ask("GET", f"/v1/tasks/{task_id}")).json
            assert (task["priority"], task["held"]) == (2, "waiting_for_source")
            await w.ask("POST", f"/v1/tasks/{task_id}/cancel")
            for ask in (
                w.ask("POST", f"/v1/tasks/{ISSUE}/retry"),
                w.ask("POST", "/v1/retry", {"ids": [ISSUE]}),
            ):
                said = await ask
                assert said.status == 409
                assert said.json["detail"].endswith(f"`bd update {ISSUE} --status open`")

    run(story())

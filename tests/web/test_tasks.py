"""Tasks over HTTP: submit, read, cancel, retry."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request

from tests.web.serving import STORE_TROUBLE, Served, run, served
from tests.worlds import fleet
from ygg.faults import Cause, Failure
from ygg.fleet import DispatcherSettings
from ygg.stores.base import StoreError
from ygg.tasks import Status
from ygg.web.bodies import read_request
from ygg.web.limits import Limits

TASK = {
    "title": "Summarise: the news",
    "description": "all of it",
    "labels": ["daily"],
    "type": "reasoning",
    "priority": 0,
    "key": "k1",
    "model": "m",
    "system": "Be brief.",
    "options": {"num_ctx": 8192, "stop": ["\n"]},
    "timeout": 2.5,
    "not_before": "2999-01-01T00:00:00.000Z",
    "metadata": {"mine": [1, None, "é"]},
}


def test_a_task_is_accepted_and_reads_back_as_it_was_sent(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            reply = await w.ask("POST", "/v1/tasks", TASK)
            assert reply.status == 201
            assert reply.headers["Location"] == f"/v1/tasks/{reply.json['id']}"
            again = await w.ask("GET", reply.headers["Location"])
            assert again.status == 200
            assert again.json == reply.json
            assert {name: again.json[name] for name in TASK} == TASK
            assert (again.json["status"], again.json["held"]) == ("open", "not_before")

    run(story())


def test_what_is_left_out_or_null_has_its_default(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            w.hold()
            body = {"description": "\n  Explain why it rains.\nIn short.", "priority": None}
            task = (await w.ask("POST", "/v1/tasks", body)).json
            assert task["title"] == "Explain why it rains."
            assert task["description"] == body["description"]
            assert (task["type"], task["priority"]) == ("general", 2)
            assert (task["labels"], task["options"], task["metadata"]) == ([], {}, None)
            assert task["submitter"] == ""
            long = await w.ask("POST", "/v1/tasks", {"description": "x" * 1000})
            assert long.json["title"] == "x" * 200

    run(story())


def test_the_first_label_decides_the_type(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            body = {"title": "explain", "labels": ["x", "text-processing"]}
            assert (await w.ask("POST", "/v1/tasks", body)).json["type"] == "text-processing"

    run(story())


def test_an_array_is_accepted_whole(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            w.hold()
            reply = await w.ask("POST", "/v1/tasks", [{"title": f"t{i}"} for i in range(1000)])
            assert reply.status == 201
            assert [task["title"] for task in reply.json["tasks"]] == [f"t{i}" for i in range(1000)]

    run(story())


def test_the_same_key_and_body_is_the_same_task(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            first = await w.ask("POST", "/v1/tasks", {"title": "a", "key": "k", "timeout": 1})
            # Another way to write the same.
            body = b'{"timeout":1.0, "labels":null, "title":"\\u0061"}'
            again = await w.ask("POST", "/v1/tasks", data=body, headers={"Idempotency-Key": "k"})
            assert (first.status, again.status) == (201, 200)
            assert again.json["id"] == first.json["id"]
            assert again.json["key"] == "k"

    run(story())


def test_the_same_key_with_another_body_clashes_and_nothing_is_accepted(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            await w.submit(title="a", key="k")
            reply = await w.ask("POST", "/v1/tasks", {"title": "b", "key": "k"})
            assert (reply.status, reply.json["type"]) == (409, "urn:ygg:problem:key-clash")
            assert reply.json["errors"][0]["pointer"] == "/key"
            batch = [{"title": "new"}, {"title": "b", "key": "k"}]
            reply = await w.ask("POST", "/v1/tasks", batch)
            assert reply.status == 409
            assert reply.json["errors"][0]["pointer"] == "/1/key"
            assert len(w.store.tables.tasks) == 1

    run(story())


def test_a_clash_within_an_array_names_its_two_items_and_no_id_that_was_never_kept(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            batch = [{"title": "new"}, {"title": "a", "key": "k"}, {"title": "b", "key": "k"}]
            reply = await w.ask("POST", "/v1/tasks", batch)
            assert (reply.status, reply.json["type"]) == (409, "urn:ygg:problem:key-clash")
            (error,) = reply.json["errors"]
            assert error["pointer"] == "/2/key"
            assert "items 1 and 2 of the array have the key 'k'" in error["detail"]
            assert reply.json["detail"] == error["detail"]
            assert not w.store.tables.tasks
            kept = await w.submit(title="a", key="k")
            reply = await w.ask("POST", "/v1/tasks", batch[1:])
            (error,) = reply.json["errors"]
            assert error["pointer"] == "/1/key"  # item 0 is the task that is here
            assert kept in error["detail"]

    run(story())


def test_a_time_that_no_calendar_has_keeps_no_task_from_being_read(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            ids = [await w.submit(title="a", not_before="2999-01-01T00:00:00Z") for _ in range(3)]
            kept = w.store.tables.tasks
            kept[ids[1]] = replace(kept[ids[1]], created_at=1e300, not_before=-1e300)
            reply = await w.ask("GET", "/v1/tasks")
            assert [task["id"] for task in reply.json["tasks"]] == ids[::-1]
            assert reply.json["tasks"][1]["created_at"] == "1e+300"
            for path in ("", "/history", "/why"):
                assert (await w.ask("GET", f"/v1/tasks/{ids[1]}{path}")).status == 200
            assert (await w.ask("GET", "/v1/status")).status == 200

    run(story())


def test_an_array_of_repeats_is_200_and_one_new_task_makes_it_201(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            batch = [{"title": "a", "key": "1"}, {"title": "b", "key": "2"}]
            first = await w.ask("POST", "/v1/tasks", batch)
            again = await w.ask("POST", "/v1/tasks", batch)
            more = await w.ask("POST", "/v1/tasks", [*batch, {"title": "c"}])
            assert [first.status, again.status, more.status] == [201, 200, 201]
            ids = [task["id"] for task in first.json["tasks"]]
            assert [task["id"] for task in again.json["tasks"]] == ids
            assert [task["id"] for task in more.json["tasks"]][:2] == ids

    run(story())


@pytest.mark.parametrize(
    ("body", "pointer", "says"),
    [
        ({"title": "a", "type": "cooking"}, "/type", "known: code-generation"),
        ([{"title": "a"}, {"title": "b", "type": "cooking"}], "/1/type", "cooking"),
        ({"title": "a", "model": "gpt-9"}, "/model", "there are: m"),
    ],
)
def test_what_no_host_would_ever_run_is_refused(
    tmp_path: Path, body: object, pointer: str, says: str
) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            reply = await w.ask("POST", "/v1/tasks", body)
            assert (reply.status, reply.json["type"]) == (422, "urn:ygg:problem:unroutable")
            assert reply.json["errors"][0]["pointer"] == pointer
            assert says in reply.json["detail"]
            assert not w.store.tables.tasks

    run(story())


def test_while_it_drains_submits_are_refused_and_the_rest_works(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            held = w.hold()
            running, waiting = await w.submit(title="a"), await w.submit(title="b")
            await w.until_running(running)
            draining = asyncio.create_task(w.dispatcher.drain(asyncio.Event()))
            await asyncio.sleep(0)
            reply = await w.ask("POST", "/v1/tasks", {"title": "c"})
            assert (reply.status, reply.json["type"]) == (503, "urn:ygg:problem:draining")
            assert reply.headers["Retry-After"] == "5"
            ready = await w.ask("GET", "/readyz")
            assert (ready.status, ready.json["type"]) == (503, "urn:ygg:problem:draining")
            assert (await w.ask("GET", "/livez")).status == 200
            assert (await w.ask("GET", f"/v1/tasks/{waiting}")).status == 200
            assert (await w.ask("GET", "/v1/status")).json["draining"] is True
            why = (await w.ask("GET", f"/v1/tasks/{waiting}/why")).json
            assert why["options"][0]["reason"] == "draining"
            assert (await w.ask("POST", f"/v1/tasks/{waiting}/cancel")).status == 200
            held.set()
            await draining

    run(story())


@pytest.mark.parametrize(
    ("trouble", "status", "type_"),
    [
        (STORE_TROUBLE, 503, "urn:ygg:problem:store-trouble"),
        (StoreError("tasks.db: the disk is full: make room"), 507, "urn:ygg:problem:disk-full"),
    ],
)
def test_a_store_in_trouble_is_told_and_it_all_comes_back(
    tmp_path: Path, trouble: StoreError, status: int, type_: str
) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            w.store.trouble = trouble
            # The first learns it from the write, the second from the dispatcher.
            for _ in range(2):
                reply = await w.ask("POST", "/v1/tasks", {"title": "a"})
                assert (reply.status, reply.json["type"]) == (status, type_)
                assert reply.headers["Retry-After"] == "5"
                assert reply.json["detail"] == str(trouble)
            assert (await w.ask("GET", "/readyz")).status == status
            assert (await w.ask("GET", "/v1/tasks")).status == status
            shown = (await w.ask("GET", "/v1/status")).json
            assert shown["store_trouble"] == str(trouble)
            assert shown["counts"] == {}
            assert shown["hosts"][0]["name"] == "h"
            assert str(trouble) in shown["needs_person"][0]
            w.store.trouble = None
            async with asyncio.timeout(20):
                while w.dispatcher.store_trouble is not None:
                    await asyncio.sleep(0.01)
            assert (await w.ask("POST", "/v1/tasks", {"title": "a"})).status == 201
            assert (await w.ask("GET", "/readyz")).json == {"ready": True, "hosts_up": 1}

    run(story())


def test_tasks_are_listed_the_latest_first_page_by_page(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            w.hold()
            await w.ask("POST", "/v1/tasks", [{"title": f"t{i}"} for i in range(250)])
            titles, cursor, pages = list[str](), "", 0
            while True:
                page = (await w.ask("GET", f"/v1/tasks?limit=120{cursor}")).json
                titles += [task["title"] for task in page["tasks"]]
                pages += 1
                if page["next"] is None:
                    break
                cursor = f"&cursor={page['next']}"
            assert titles == [f"t{i}" for i in reversed(range(250))]
            assert pages == 3
            assert len((await w.ask("GET", "/v1/tasks")).json["tasks"]) == 100

    run(story())


def test_a_page_ends_early_where_its_tasks_are_large(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            w.hold()
            for _ in range(12):
                body = {"title": "t", "description": "x" * 1_000_000}
                assert (await w.ask("POST", "/v1/tasks", body)).status == 201
            page = (await w.ask("GET", "/v1/tasks?limit=1000")).json
            assert len(page["tasks"]) == 9  # the ninth takes it past 8 MiB
            rest = (await w.ask("GET", f"/v1/tasks?limit=1000&cursor={page['next']}")).json
            assert len(rest["tasks"]) == 3
            assert rest["next"] is None

    run(story())


def test_lists_are_filtered(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            bad = Failure(Cause.BAD_REQUEST, "no such thing as 100 % & more", taken=True)
            w.servers["h"].script = [bad, None]
            blocked = await w.submit(title="a", priority=0)
            closed = await w.submit(title="b", type="reasoning")
            await w.until_status(blocked, Status.BLOCKED)
            await w.until_status(closed, Status.CLOSED)
            w.hold()
            held = await w.submit(title="c", not_before="2999-01-01T00:00:00Z")
            for query, ids in {
                "": [held, closed, blocked],
                "?status=closed": [closed],
                "?status=blocked&priority=0": [blocked],
                "?type=reasoning": [closed],
                "?host=h": [closed, blocked],
                "?host=elsewhere": [],
                "?error=100+%25+%26": [blocked],
                "?priority=2&status=open": [held],
            }.items():
                reply = await w.ask("GET", f"/v1/tasks{query}")
                assert [task["id"] for task in reply.json["tasks"]] == ids, query

    run(story())


@pytest.mark.parametrize(
    ("query", "pointer", "says"),
    [
        ("?colour=red", "'colour'", "known: status"),
        ("?stauts=open", "'stauts'", "did you mean 'status'?"),
        ("?status=opened", "status", "one of open, in_progress, closed, blocked"),
        ("?priority=5", "priority", "from 0 to 4"),
        ("?priority=high", "priority", "from 0 to 4"),
        ("?limit=0", "limit", "from 1 to 1000"),
        ("?limit=1001", "limit", "from 1 to 1000"),
        ("?limit=" + "9" * 400, "limit", "from 1 to 1000"),
        ("?limit=" + "9" * 5000, "limit", "1 to 500 characters"),
        ("?limit=%C2%B2", "limit", "from 1 to 1000"),
        ("?cursor=-1", "cursor", "whole number"),
        ("?cursor=" + "9" * 19, "cursor", "whole number"),
        ("?type=a&type=b", "type", "twice"),
        ("?host=", "host", "1 to 500 characters"),
        ("?error=%00", "error", "without NUL"),
    ],
)
def test_a_parameter_that_is_not_right_is_named(
    tmp_path: Path, query: str, pointer: str, says: str
) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            reply = await w.ask("GET", f"/v1/tasks{query}")
            assert (reply.status, reply.json["type"]) == (400, "urn:ygg:problem:bad-parameters")
            (error,) = reply.json["errors"]
            assert error["pointer"] == pointer
            assert says in error["detail"]

    run(story())


def test_an_answer_is_served_as_plain_markdown_and_its_thinking_apart(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            w.servers["h"].thinking = "hm"
            task_id = await w.submit(title="<script>alert(1)</script> é")
            await w.until_status(task_id, Status.CLOSED)
            answer = await w.ask("GET", f"/v1/tasks/{task_id}/artifact")
            assert answer.status == 200
            assert answer.body.decode() == "answer to <script>alert(1)</script> é"
            assert answer.headers["Content-Type"] == "text/markdown; charset=utf-8"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            thinking = await w.ask("GET", f"/v1/tasks/{task_id}/artifact?thinking=1")
            assert thinking.body == b"hm"
            assert (await w.ask("GET", f"/v1/tasks/{task_id}/artifact?thinking=2")).status == 400

    run(story())


def test_where_there_is_no_answer_it_is_said_why(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            bad = Failure(Cause.BAD_REQUEST, "too long a prompt", taken=True)
            w.servers["h"].script = [bad, None]
            blocked, closed = await w.submit(title="a"), await w.submit(title="b")
            await w.until_status(closed, Status.CLOSED)
            w.hold()
            running, waiting = await w.submit(title="c"), await w.submit(title="d")
            await w.until_running(running)
            gone = await w.submit(title="e")
            await w.ask("POST", f"/v1/tasks/{gone}/cancel")
            for path, says in {
                f"{blocked}/artifact": "too long a prompt",
                f"{running}/artifact": "is running on h",
                f"{waiting}/artifact": "still waits",
                f"{gone}/artifact": "was cancelled",
                f"{closed}/artifact?thinking=1": "showed no thinking",
            }.items():
                reply = await w.ask("GET", f"/v1/tasks/{path}")
                assert (reply.status, reply.json["type"]) == (404, "urn:ygg:problem:no-artifact")
                assert says in reply.json["detail"]
            for file in tmp_path.glob("artifacts/*/*.md"):
                file.unlink()
            reply = await w.ask("GET", f"/v1/tasks/{closed}/artifact")
            assert (reply.status, "its time was up" in reply.json["detail"]) == (404, True)
            # A disk that fails is not the same as an answer that is not there.
            (day,) = tmp_path.glob("artifacts/*")
            (day / f"{closed}.md").symlink_to("/dev/null")
            assert (await w.ask("GET", f"/v1/tasks/{closed}/artifact")).status == 503

    run(story())


def test_a_task_has_its_story(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            w.servers["h"].script = [Failure(Cause.BAD_REQUEST, "no", taken=True)]
            task_id = await w.submit(title="a")
            await w.until_status(task_id, Status.BLOCKED)
            answer = (await w.ask("GET", f"/v1/tasks/{task_id}/history")).json
            rows = answer["history"]
            assert answer["next"] is None
            assert [row["kind"] for row in rows] == ["accepted", "started", "blocked"]
            assert [row["attempt"] for row in rows] == [None, 1, 1]
            assert rows[0]["host"] is None
            assert rows[1]["host"] == "h"
            assert rows[1]["model"] == "m"
            assert rows[1]["seen"] >= rows[0]["position"]
            assert rows[2]["reason"] == "bad_request"
            assert rows[2]["detail"]["error"] == "no"
            assert rows[0]["at"].endswith("Z")
            page = (await w.ask("GET", f"/v1/tasks/{task_id}/history?limit=2")).json
            assert page["next"] == str(rows[1]["position"])
            rest = await w.ask("GET", f"/v1/tasks/{task_id}/history?after={page['next']}")
            assert rest.json["history"] == rows[2:]

    run(story())


def test_it_is_said_of_each_option_why_a_task_waits(tmp_path: Path) -> None:
    async def story() -> None:
        settings = fleet({"a": 1, "b": 1, "c": 1})
        async with served(tmp_path, settings) as w:
            held = w.hold("a")
            running = await w.submit(title="x", key="runs")
            await w.until_running(running)
            await w.dispatcher.overrides.pause("b", "a game")
            w.servers["c"].script = [Failure(Cause.REFUSED, "c refused", taken=False)]
            w.servers["c"].down = True
            waiting = await w.submit(title="y")
            await w.until(lambda: w.dispatcher.board.hosts["c"].mode.value == "down")
            w.dispatcher.board.hosts["c"].reason = "not asked yet"  # as if it was down ever since
            why = (await w.ask("GET", f"/v1/tasks/{waiting}/why")).json
            reasons = {o["host"]: (o["reason"], o["detail"]) for o in why["options"]}
            assert reasons["a"] == ("no_slot", "all slots of the host are taken: 1 of 1")
            assert reasons["b"] == ("paused", "a person paused the host: a game")
            assert reasons["c"][0] == "host_down"
            assert "c refused" in reasons["c"][1]
            later = await w.submit(title="z", not_before="2999-01-01T00:00:00Z")
            why = (await w.ask("GET", f"/v1/tasks/{later}/why")).json
            assert {o["reason"] for o in why["options"]} == {"not_before"}
            assert "2999-01-01" in why["summary"]
            why = (await w.ask("GET", f"/v1/tasks/{running}/why")).json
            assert (why["options"], why["summary"]) == ([], "it runs on a")
            held.set()
            await w.until_status(running, Status.CLOSED)
            why = (await w.ask("GET", f"/v1/tasks/{running}/why")).json
            assert "closed" in why["summary"]

    run(story())


def test_a_task_is_cancelled_while_it_waits_and_while_it_runs(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            w.hold()
            running, waiting = await w.submit(title="a"), await w.submit(title="b")
            await w.until_running(running)
            for task_id in (waiting, running, running):
                reply = await w.ask("POST", f"/v1/tasks/{task_id}/cancel")
                assert reply.status == 200
                assert (reply.json["status"], reply.json["outcome"]) == ("closed", "cancelled")
            assert w.servers["h"].asked == ["a"]

    run(story())


def test_what_has_ended_is_not_cancelled_and_what_is_not_blocked_not_retried(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            task_id = await w.submit(title="a")
            await w.until_status(task_id, Status.CLOSED)
            for verb in ("cancel", "retry"):
                reply = await w.ask("POST", f"/v1/tasks/{task_id}/{verb}")
                assert (reply.status, reply.json["type"]) == (409, "urn:ygg:problem:refused")
                reply = await w.ask("POST", f"/v1/tasks/{task_id}/{verb}", {"why": "not"})
                assert (reply.status, reply.json["errors"][0]["pointer"]) == (400, "/why")
                assert (await w.ask("POST", f"/v1/tasks/{task_id}/{verb}", {})).status == 409

    run(story())


def test_a_cancel_whose_end_can_not_be_written_does_not_hang(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path, limits=Limits(cancel_seconds=0.05)) as w:
            w.hold()
            task_id = await w.submit(title="a")
            await w.until_running(task_id)
            w.store.trouble = STORE_TROUBLE
            reply = await w.ask("POST", f"/v1/tasks/{task_id}/cancel")
            assert (reply.status, reply.json["type"]) == (503, "urn:ygg:problem:not-yet")
            assert "Retry-After" in reply.headers
            w.store.trouble = None
            await w.until_status(task_id, Status.CLOSED)
            assert (await w.ask("POST", f"/v1/tasks/{task_id}/cancel")).status == 200

    run(story())


@pytest.mark.parametrize(
    "task_id", ["0" * 18, "0", "..%2f..%2fetc%2fpasswd", "%00", "%ff", "x" * 5000, "O" * 18]
)
@pytest.mark.parametrize("rest", ["", "/artifact", "/history", "/why"])
def test_an_id_that_nobody_has_is_not_found(tmp_path: Path, task_id: str, rest: str) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            reply = await w.ask("GET", f"/v1/tasks/{task_id}{rest}")
            assert (reply.status, reply.json["type"]) == (404, "urn:ygg:problem:unknown-task")
            assert len(reply.body) < 500

    run(story())


async def _blocked(w: Served, count: int) -> list[str]:
    """So many blocked tasks, each with an error of its own."""
    ids = []
    for index in range(count):
        # Of different causes: five alike in a row would take the option down.
        cause = Cause.BAD_REQUEST if index % 2 else Cause.EMPTY_ANSWER
        w.servers["h"].script.append(Failure(cause, f"bad prompt {index}", taken=True))
        ids.append(await w.submit(title=f"t{index}"))
        await w.until_status(ids[-1], Status.BLOCKED)
    return ids


def test_a_blocked_task_is_sent_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            (task_id,) = await _blocked(w, 1)
            reply = await w.ask("POST", f"/v1/tasks/{task_id}/retry")
            assert (reply.status, reply.json["status"], reply.json["error"]) == (200, "open", None)
            await w.until_status(task_id, Status.CLOSED)

    run(story())


@pytest.mark.parametrize("query", ["type=typo", "host=typo"])
def test_what_hosts_yaml_does_not_have_has_an_empty_list(tmp_path: Path, query: str) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            await w.submit(title="t")
            reply = await w.ask("GET", f"/v1/tasks?{query}")
            assert (reply.status, reply.json) == (200, {"tasks": [], "next": None})

    run(story())


def test_named_tasks_are_sent_back_all_or_none(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            ids = await _blocked(w, 2)
            closed = await w.submit(title="fine")
            await w.until_status(closed, Status.CLOSED)
            w.hold()
            for dry in (True, False):
                bad = await w.ask("POST", "/v1/retry", {"ids": [*ids, closed], "dry_run": dry})
                assert bad.status == 409
                bad = await w.ask("POST", "/v1/retry", {"ids": [*ids, "0" * 18], "dry_run": dry})
                assert bad.status == 404
            assert w.store.tables.tasks[ids[0]].status is Status.BLOCKED
            dry_run = await w.ask("POST", "/v1/retry", {"ids": ids, "dry_run": True})
            assert dry_run.json == {"count": 2, "tasks": ids, "unserved": []}
            assert w.store.tables.tasks[ids[0]].status is Status.BLOCKED
            assert (await w.ask("POST", "/v1/retry", {"ids": ids})).json == dry_run.json
            assert all(w.store.tables.tasks[i].status is not Status.BLOCKED for i in ids)

    run(story())


def test_blocked_tasks_are_found_by_their_error_and_sent_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            ids = await _blocked(w, 3)
            await w.dispatcher.overrides.pause("h", "to look")
            dry_run = await w.ask("POST", "/v1/retry", {"error": "prompt", "dry_run": True})
            assert sorted(dry_run.json["tasks"]) == sorted(ids)
            one = await w.ask("POST", "/v1/retry", {"error": "prompt 1"})
            assert one.json == {"count": 1, "tasks": [ids[1]], "unserved": []}
            rest = await w.ask("POST", "/v1/retry", {"error": "prompt"})
            assert rest.json["tasks"] == [ids[2], ids[0]]
            assert (await w.ask("POST", "/v1/retry", {"error": "prompt"})).json["count"] == 0

    run(story())


def test_what_a_drain_blocked_is_sent_back_in_many_pages(tmp_path: Path) -> None:
    async def story() -> None:
        settings = fleet({"h": 250}, settings=DispatcherSettings(drain_seconds=0.0))
        async with served(tmp_path, settings) as w:
            w.servers["h"].script = [Failure(Cause.BAD_REQUEST, "was drained of blood", taken=True)]
            other = await w.submit(title="other")
            await w.until_status(other, Status.BLOCKED)
            w.hold()
            reply = await w.ask("POST", "/v1/tasks", [{"title": "t"} for _ in range(250)])
            ids = {task["id"] for task in reply.json["tasks"]}
            await w.until(lambda: len(w.dispatcher.attempts) == 250)
            while w.servers["h"].running < 250:
                await asyncio.sleep(0)
            await w.dispatcher.drain(asyncio.Event())
            answer = (await w.ask("POST", "/v1/retry", {"drained": True})).json
            assert answer["count"] == 250
            assert set(answer["tasks"]) == ids
            assert w.store.tables.tasks[other].status is Status.BLOCKED

    run(story())


def test_one_that_changed_by_another_hand_does_not_stop_the_others(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            ids = await _blocked(w, 3)
            await w.dispatcher.overrides.pause("h", "to look")
            find = w.store.find

            async def and_meanwhile(*args: object, **more: object) -> object:
                page = await find(*args, **more)  # type: ignore[arg-type]  # passed on as they came
                await w.store.cancel(ids[1], now=0.0)
                return page

            w.store.find = and_meanwhile  # type: ignore[method-assign,assignment]  # the moment between two calls
            answer = (await w.ask("POST", "/v1/retry", {"error": "prompt"})).json
            assert answer["tasks"] == [ids[2], ids[0]]

    run(story())


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"drained": False},
        {"drained": True, "error": "x"},
        {"ids": []},
        {"ids": ["x"] * 1001},
        {"ids": "x"},
        {"error": ""},
        {"drained": "yes"},
        {"drained": True, "dryrun": True},
        [],
    ],
)
def test_a_retry_must_say_in_one_way_which(tmp_path: Path, body: object) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            reply = await w.ask("POST", "/v1/retry", body)
            assert (reply.status, reply.json["type"]) == (400, "urn:ygg:problem:bad-fields")

    run(story())


def test_a_bug_of_ours_is_a_problem_without_its_inside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            w.store.trouble = ZeroDivisionError("secret path")
            reply = await w.ask("GET", "/v1/tasks")
            w.store.trouble = None
            assert (reply.status, reply.json["type"]) == (500, "urn:ygg:problem:internal")
            assert b"secret" not in reply.body
            assert "secret path" in caplog.text

    run(story())


def test_no_path_and_no_method_are_problems_too(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            reply = await w.ask("GET", "/v1/task")
            assert (reply.status, reply.json["status"]) == (404, 404)
            assert reply.json["title"] == "Not Found"
            assert reply.headers["Content-Type"] == "application/problem+json"
            reply = await w.ask("DELETE", "/v1/tasks")
            assert reply.status == 405
            assert reply.headers["Allow"] == "GET, HEAD, POST"

    run(story())


def test_a_large_body_is_read_beside_the_event_loop() -> None:
    """Two million small objects take seconds to look through."""

    async def reader_of(size: int) -> str:
        payload = StreamReader(mock.Mock(), 2**16, loop=asyncio.get_running_loop())
        payload.feed_data(b" " * size)
        payload.feed_eof()
        request = make_mocked_request("POST", "/v1/tasks", payload=payload)
        return await read_request(request, lambda _: threading.current_thread().name)

    async def story() -> None:
        assert await reader_of(1000) == threading.current_thread().name
        assert (await reader_of(1_000_000)).startswith("ygg-bodies")

    run(story())

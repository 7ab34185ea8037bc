"""What goes over the wire is what the types say: no field more, none less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tests.web.serving import Served, run, served
from ygg import shapes
from ygg.faults import Cause, Failure
from ygg.tasks import Status

#: Routes that read, by what their answers are.
ANSWERS: dict[str, type[msgspec.Struct]] = {
    "/v1/tasks/{id}": shapes.TaskView,
    "/v1/tasks?limit=2": shapes.TaskPage,
    "/v1/tasks/{id}/history": shapes.History,
    "/v1/tasks/{id}/why": shapes.Why,
    "/v1/hosts": shapes.Hosts,
    "/v1/status": shapes.DispatcherStatus,
}


def assert_fits(value: Any, kind: type[msgspec.Struct]) -> None:
    __tracebackhide__ = True
    assert msgspec.json.decode(msgspec.json.encode(msgspec.convert(value, kind))) == value


async def of_every_fate(w: Served) -> list[str]:
    """Tasks that ended well, are blocked, run, wait, and wait for a time."""
    done = await w.submit(title="done", metadata={"mine": [1]}, labels=["a"], key="k")
    await w.until_status(done, Status.CLOSED)
    w.servers["h"].script = [Failure(Cause.BAD_REQUEST, "no", taken=True)]
    blocked = await w.submit(title="blocked")
    await w.until_status(blocked, Status.BLOCKED)
    w.hold()
    running = await w.submit(title="running", options={"num_ctx": 1}, timeout=9.5)
    await w.until_running(running)
    waiting = await w.submit(title="waiting", priority=0)
    later = await w.submit(title="later", not_before="2999-01-01T00:00:00Z")
    return [done, blocked, running, waiting, later]


def test_every_answer_has_just_the_fields_of_its_type(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            ids = await of_every_fate(w)
            for path, kind in ANSWERS.items():
                for task_id in ids:
                    reply = await w.ask("GET", path.format(id=task_id))
                    assert reply.status == 200
                    assert_fits(reply.json, kind)
            again = await w.ask("POST", "/v1/retry", {"error": "no", "dry_run": True})
            assert_fits(again.json, shapes.Retried)
            assert_fits((await w.ask("POST", f"/v1/tasks/{ids[-1]}/cancel")).json, shapes.TaskView)

    run(story())


def test_a_field_of_a_later_version_is_left_out() -> None:
    read = msgspec.json.decode(
        b'{"count": 1, "tasks": ["a"], "of_a_later_version": []}', type=shapes.Retried
    )
    assert read == shapes.Retried(count=1, tasks=("a",))


#: What the first dispatcher of this interface did not send yet.
LATER: dict[type[msgspec.Struct], set[str]] = {
    shapes.DispatcherStatus: {"mode", "count_trouble", "cut", "autoscaler", "settings", "sources"},
    shapes.WaitingStatus: {"lanes"},
    shapes.HostStatus: {"decision"},
    shapes.OptionStatus: {"type"},
    shapes.Hosts: {"autoscaler"},
    shapes.RowView: {"type", "priority"},
}


def test_the_status_of_an_older_dispatcher_is_read(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            await of_every_fate(w)
            status = (await w.ask("GET", "/v1/status")).json
            whole = msgspec.convert(status, shapes.DispatcherStatus)
            parts: list[tuple[dict[str, Any], type[msgspec.Struct]]] = [
                (status, shapes.DispatcherStatus),
                (status["waiting"], shapes.WaitingStatus),
                *((host, shapes.HostStatus) for host in status["hosts"]),
            ]
            for part, kind in parts:
                for name in LATER[kind]:
                    del part[name]
            old = msgspec.convert(status, shapes.DispatcherStatus)
            assert (old.hosts, old.counts, old.held) == (whole.hosts, whole.counts, whole.held)
            assert (old.waiting.total, old.waiting.lanes) == (whole.waiting.total, ())
            assert (old.cut.count, old.count_trouble, old.mode) == (0, None, "async")

    run(story())


def test_only_fields_that_came_later_may_be_missing_and_all_are_sent() -> None:
    assert set(LATER) == set(shapes.SENT_WHOLE)
    for kind, later in LATER.items():
        fields = msgspec.structs.fields(kind)
        assert {field.encode_name for field in fields if not field.required} == later

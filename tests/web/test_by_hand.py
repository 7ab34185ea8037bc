"""What a person sets by hand over HTTP: pins, pauses, a task's place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.web.serving import Served, run, served
from tests.worlds import fleet
from ygg.fleet import SlotSettings
from ygg.tasks import Status

LATER = "2999-01-01T00:00:00.000Z"
PROBLEM = "urn:ygg:problem:"


async def host(w: Served, name: str = "h") -> dict[str, object]:
    for asked in ("/v1/hosts", "/v1/status"):
        hosts = (await w.ask("GET", asked)).json["hosts"]
        shown: dict[str, object] = next(h for h in hosts if h["name"] == name)
    return shown


def test_a_pin_is_shown_with_who_until_when_and_why_until_it_is_taken_away(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            order = {"limit": 3, "until": "2999-01-01T01:00:00+01:00", "reason": "talk", "by": "me"}
            reply = await w.ask("PUT", "/v1/hosts/h/pin", order)
            assert reply.status == 200
            assert (reply.json["limit"], reply.json["pinned"]) == (3, True)
            pin = {"limit": 3, "from": "operator", "by": "me", "until": LATER, "reason": "talk"}
            assert reply.json["pin"] == pin
            assert (await host(w))["pin"] == pin
            reply = await w.ask("DELETE", "/v1/hosts/h/pin")
            assert (reply.status, reply.json["pin"], reply.json["limit"]) == (200, None, 1)
            # Taken away twice is taken away.
            assert (await w.ask("DELETE", "/v1/hosts/h/pin")).json == reply.json

    run(story())


def test_a_pin_makes_room_for_what_waits(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            w.hold()
            ids = [await w.submit(title=str(i)) for i in range(3)]
            await w.ask("PUT", "/v1/hosts/h/pin", {"limit": 3})
            for task_id in ids:
                await w.until_status(task_id, Status.IN_PROGRESS)

    run(story())


def test_a_pin_of_the_file_is_shown_and_goes_before(tmp_path: Path) -> None:
    async def story() -> None:
        settings = fleet()
        slots = SlotSettings(start=2, max=8, pin=2, pin_line=12)
        hosts = {"h": replace(settings.hosts["h"], slots=slots)}
        async with served(tmp_path, replace(settings, hosts=hosts)) as w:
            pin = {"limit": 2, "from": "file", "by": "hosts.yaml:12", "until": None, "reason": ""}
            assert (await host(w))["pin"] == pin
            for method, body in (("PUT", {"limit": 2}), ("DELETE", None)):
                reply = await w.ask(method, "/v1/hosts/h/pin", body)
                assert (reply.status, reply.json["type"]) == (409, f"{PROBLEM}pinned-in-file")
                assert "hosts.yaml:12" in reply.json["detail"]

    run(story())


def test_a_pin_outside_the_bounds_names_them(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            reply = await w.ask("PUT", "/v1/hosts/h/pin", {"limit": 9})
            assert (reply.status, reply.json["type"]) == (422, f"{PROBLEM}out-of-bounds")
            assert reply.json["errors"][0]["pointer"] == "/limit"
            assert "1 to 8" in reply.json["detail"]

    run(story())


def test_servers_on_one_card_are_pinned_by_the_host_that_has_the_slots(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path, fleet({"a": 2, "b": 1}, shares={"b": "a"})) as w:
            reply = await w.ask("PUT", "/v1/hosts/b/pin", {"limit": 1})
            assert (reply.status, reply.json["type"]) == (409, f"{PROBLEM}shared-slots")
            assert "pin a" in reply.json["detail"]
            await w.ask("PUT", "/v1/hosts/a/pin", {"limit": 1})
            assert [(await host(w, name))["limit"] for name in "ab"] == [1, 1]
            assert [(await host(w, name))["pinned"] for name in "ab"] == [True, True]

    run(story())


@pytest.mark.parametrize(
    ("name", "body", "status", "pointer"),
    [
        ("nobody", {"limit": 1}, 404, None),
        ("h", {}, 400, ""),
        ("h", {"limit": 0}, 400, "/limit"),
        ("h", {"limit": "3"}, 400, "/limit"),
        ("h", {"limit": True}, 400, "/limit"),
        ("h", {"limit": 1, "for": "2h"}, 400, "/for"),
        ("h", {"limit": 1, "until": "2h"}, 400, "/until"),
        ("h", {"limit": 1, "until": "2001-01-01T00:00:00Z"}, 400, "/until"),
        ("h", {"limit": 1, "reason": "\0"}, 400, "/reason"),
        ("h", {"limit": 1, "by": "x" * 101}, 400, "/by"),
        ("h", [{"limit": 1}], 400, ""),
    ],
)
def test_a_pin_that_is_not_right_is_refused_by_field(
    tmp_path: Path, name: str, body: object, status: int, pointer: str | None
) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            reply = await w.ask("PUT", f"/v1/hosts/{name}/pin", body)
            assert reply.status == status
            if pointer is not None:
                assert [error["pointer"] for error in reply.json["errors"]] == [pointer]
            assert (await host(w))["pin"] is None

    run(story())


def test_a_pause_is_shown_with_who_until_when_and_why_until_it_is_resumed(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            order = {"reason": "a game", "until": LATER, "by": "me"}
            reply = await w.ask("PUT", "/v1/hosts/h/pause", order)
            assert reply.status == 200
            assert (reply.json["paused"], reply.json["pause"]) == ("a game", order)
            assert (await host(w))["pause"] == order
            reply = await w.ask("DELETE", "/v1/hosts/h/pause")
            assert (reply.status, reply.json["paused"], reply.json["pause"]) == (200, None, None)
            rows = len(w.store.tables.rows)
            assert (await w.ask("DELETE", "/v1/hosts/h/pause")).status == 200
            assert len(w.store.tables.rows) == rows  # nobody had paused it
            assert (await w.ask("DELETE", "/v1/hosts/nobody/pause")).status == 404

    run(story())


def test_what_a_pause_says_of_a_waiting_task_is_its_reason(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            await w.ask("PUT", "/v1/hosts/h/pause", {"reason": "a game"})
            task_id = await w.submit(title="a")
            why = (await w.ask("GET", f"/v1/tasks/{task_id}/why")).json
            assert why["options"][0]["detail"] == "a person paused the host: a game"

    run(story())


# -- a task's place --------------------------------------------------------------------------------


def test_a_person_puts_a_task_next(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            await w.ask("PUT", "/v1/hosts/h/pause", {})
            ids = {title: await w.submit(title=title, priority=3) for title in "abcd"}
            urgent = await w.submit(title="urgent", priority=0)
            reply = await w.ask("PATCH", f"/v1/tasks/{ids['d']}", {"run_next": True})
            assert (reply.status, reply.json["run_next"], reply.json["priority"]) == (200, True, 3)
            reply = await w.ask("PATCH", f"/v1/tasks/{ids['c']}", {"priority": 1})
            assert (reply.json["priority"], reply.json["run_next"]) == (1, False)
            reply = await w.ask("PATCH", f"/v1/tasks/{ids['a']}", {"held": True})
            assert reply.json["held"] == "held"
            await w.ask("DELETE", "/v1/hosts/h/pause")
            await w.until_status(ids["b"], Status.CLOSED)
            assert w.servers["h"].asked == ["d", "urgent", "c", "b"]
            assert w.store.tables.tasks[urgent].status is Status.CLOSED
            reply = await w.ask("PATCH", f"/v1/tasks/{ids['a']}", {"held": False})
            assert reply.json["held"] is None
            await w.until_status(ids["a"], Status.CLOSED)

    run(story())


def test_only_an_open_task_has_a_place_to_change(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            closed = await w.submit(title="a")
            await w.until_status(closed, Status.CLOSED)
            w.hold()
            running = await w.submit(title="b")
            await w.until_running(running)
            for task_id, says in ((closed, "is closed"), (running, "is in_progress")):
                for change in ({"priority": 0}, {"held": True}, {"held": False}):
                    reply = await w.ask("PATCH", f"/v1/tasks/{task_id}", change)
                    assert (reply.status, reply.json["type"]) == (409, f"{PROBLEM}refused")
                    assert says in reply.json["detail"]
            assert (await w.ask("PATCH", f"/v1/tasks/{'0' * 18}", {"held": True})).status == 404

    run(story())


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"priority": None}, ""),
        ({"priority": 5}, "/priority"),
        ({"run_next": 1}, "/run_next"),
        ({"held": "held"}, "/held"),
        ({"title": "new"}, "/title"),
        ([], ""),
    ],
)
def test_a_change_that_is_not_right_is_refused_by_field(
    tmp_path: Path, body: object, pointer: str
) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            await w.ask("PUT", "/v1/hosts/h/pause", {})
            task_id = await w.submit(title="a")
            reply = await w.ask("PATCH", f"/v1/tasks/{task_id}", body)
            assert (reply.status, reply.json["type"]) == (400, f"{PROBLEM}bad-fields")
            assert [error["pointer"] for error in reply.json["errors"]] == [pointer]

    run(story())

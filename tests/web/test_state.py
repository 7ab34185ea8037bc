"""What the dispatcher tells of itself: hosts, status, metrics, health; and pauses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.web.serving import STORE_TROUBLE, Served, run, served
from tests.worlds import fleet
from ygg.board import Board, Reason, configuration_detail
from ygg.changes import changes
from ygg.faults import Cause, Failure
from ygg.fleet import FileStanding, Option, SlotSettings
from ygg.fleetjson import read_config
from ygg.journal import Event, Kind
from ygg.shapes import CutAnswers, DispatcherStatus
from ygg.stores.base import HostRow, Overview
from ygg.tasks import Held, Lane, Rank, Status, Waiting
from ygg.web.limits import Limits
from ygg.web.status import DownSince, Sight, dispatcher_status
from ygg.web.views import IN_WORDS


def test_a_damaged_task_is_named_as_what_needs_a_person(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            for number in range(7):
                w.dispatcher.board.damaged[f"t{number}"] = f"row {number} of tasks is damaged"
            told = (await w.ask("GET", "/v1/status")).json["needs_person"]
            assert told[0] == "task t0 can't start: row 0 of tasks is damaged"
            assert told[4:] == [
                "task t4 can't start: row 4 of tasks is damaged",
                "2 tasks more can't start, of damaged rows too: `ygg check-journal`",
            ]

    run(story())


def test_the_settings_are_told_as_they_run(tmp_path: Path) -> None:
    async def story() -> None:
        runs = fleet({"h": 2, "idle": 1}, {"reasoning": ["h"]})
        keyed = replace(runs.hosts["h"], key="env:H_KEY")
        runs = replace(runs, hosts={**runs.hosts, "h": keyed})
        async with served(tmp_path, runs) as w:
            w.hold()
            for number in range(4):
                task = await w.submit(title="a task", type="reasoning", priority=number)
                if number < 2:
                    await w.until_running(task)
            told = read_config((await w.ask("GET", "/v1/config")).body)
            assert changes(told.fleet, w.dispatcher.fleet) == []
            assert told.fleet.hosts["h"].key == "env:H_KEY", "where it is, not what"
            assert told.waiting == {Lane("reasoning"): 2}, "of all priorities"

    run(story())


def test_status_is_the_whole_picture(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path, fleet({"h": 2, "idle": 1}, {"reasoning": ["h"]})) as w:
            w.hold()
            w.servers["h"].script = [Failure(Cause.BAD_REQUEST, "no", taken=True)]
            running = await w.submit(title="runs", type="reasoning", priority=0)
            await w.until_running(running)
            await w.submit(title="runs too", type="reasoning", priority=1)
            await w.submit(title="waits", type="reasoning", priority=4)
            await w.submit(title="later", not_before="2999-01-01T00:00:00Z")
            w.clock.ahead = 100.0
            reply = await w.ask("GET", "/v1/status")
            status = msgspec.json.decode(reply.body, type=DispatcherStatus)
            h, idle = status.hosts
            assert (h.name, h.url, h.model, h.up.value) == ("h", "http://h", "m", "up")
            assert (h.limit, h.min, h.max, h.pinned) == (2, 1, 8, False)
            assert (h.active, h.available_slots) == (2, 0)
            assert (idle.active, idle.available_slots, idle.tasks) == (0, 1, [])
            task = h.tasks[0]
            assert (task.id, task.title, task.type) == (running, "runs", "reasoning")
            assert task.priority == 0
            assert task.running_seconds is not None
            assert 0.0 <= task.running_seconds < 60.0
            assert status.waiting.total == 1
            assert status.waiting.by_priority == {"0": 0, "1": 0, "2": 0, "3": 0, "4": 1}
            assert status.waiting.by_type == {"reasoning": 1}
            (lane,) = status.waiting.lanes
            assert (lane.type, lane.model, lane.priority, lane.count) == ("reasoning", "", 4, 1)
            assert lane.oldest_wait_seconds == status.waiting.oldest_wait_seconds
            assert status.waiting.oldest_wait_seconds == pytest.approx(100.0, abs=20.0)
            assert status.counts == {"open": 2, "in_progress": 2, "closed": 0, "blocked": 0}
            assert status.held == {"not_before": 1}
            assert status.needs_person == []
            assert (status.draining, status.store_trouble) == (False, None)
            assert status.started_at.endswith("Z")
            assert (await w.ask("GET", "/v1/hosts")).json["hosts"][0]["tasks"][0]["id"] == running

    run(story())


def test_what_a_person_must_mend_is_told_in_sentences(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path, fleet({"h": 1, "sick": 1}, {"reasoning": ["sick"]})) as w:
            w.servers["h"].script = [Failure(Cause.BAD_REQUEST, "the prompt is bad", taken=True)]
            blocked = await w.submit(title="a")
            await w.until_status(blocked, Status.BLOCKED)
            w.servers["sick"].down = True
            await w.submit(title="b", type="reasoning")
            await w.until(lambda: w.dispatcher.board.hosts["sick"].mode.value == "down")
            status = (await w.ask("GET", "/v1/status")).json
            down, told = status["needs_person"]
            since = status["hosts"][1]["down_since"]
            assert down == f"sick is down since {since}: sick refused the connection"
            assert told == "1 task blocked: the prompt is bad"
            assert status["blocked"] == [{"error": "the prompt is bad", "count": 1}]
            assert status["hosts"][0]["down_since"] is None

    run(story())


def test_a_store_that_does_not_answer_holds_up_neither_status_nor_metrics(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path, limits=Limits(look_seconds=0.05)) as w:
            w.hold()
            for title in ("runs", "waits"):
                await w.submit(title=title)
            w.clock.ahead = 1000.0
            before = _oldest((await w.ask("GET", "/metrics")).body)
            assert before >= 1000.0
            w.store.readable.clear()
            w.clock.ahead = 2000.0
            metrics = await w.ask("GET", "/metrics")
            assert metrics.status == 200
            assert _oldest(metrics.body) >= 2000.0  # the last birth that was seen, and the clock
            status = (await w.ask("GET", "/v1/status")).json
            assert "did not answer" in status["count_trouble"]
            # Writes go on: nothing says that no task can be accepted or started.
            assert status["store_trouble"] is None
            assert status["needs_person"] == []
            assert status["waiting"]["total"] == 1
            assert status["waiting"]["oldest_wait_seconds"] is None
            w.store.readable.set()
            w.store.trouble = STORE_TROUBLE
            assert _oldest((await w.ask("GET", "/metrics")).body) >= 2000.0
            w.store.trouble = None
            status = (await w.ask("GET", "/v1/status")).json
            assert (status["store_trouble"], status["count_trouble"]) == (None, None)

    run(story())


def test_answers_that_were_cut_are_counted(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            for title in "abcd":
                w.servers["h"].finish = "length" if title in "bc" else "stop"
                await w.until_status(await w.submit(title=title), Status.CLOSED)
            titles = {t["id"]: t["title"] for t in (await w.ask("GET", "/v1/tasks")).json["tasks"]}
            cut = (await w.ask("GET", "/v1/status")).json["cut"]
            assert (cut["count"], titles[cut["last"]]) == (2, "c")

    run(story())


def _oldest(page: bytes) -> float:
    lines = page.decode().splitlines()
    (line,) = (x for x in lines if x.startswith('ygg_oldest_wait_seconds{priority="2"}'))
    return float(line.split()[1])


def test_metrics_come_in_the_form_that_is_asked_for(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            plain = await w.ask("GET", "/metrics")
            assert plain.headers["Content-Type"].startswith("text/plain; version=")
            accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
            newer = await w.ask("GET", "/metrics", headers=accept)
            assert newer.headers["Content-Type"].startswith("application/openmetrics-text")
            assert newer.body.endswith(b"# EOF\n")

    run(story())


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain;version=x",
        "application/openmetrics-text;version=1.x",
        "application/openmetrics-text;version=2.\xff",
        "application/openmetrics-text;version=2.0.0",
        "application/openmetrics-text;version=1.0.0;escaping=\xff",
        "\xff",
    ],
)
def test_metrics_come_whatever_is_asked_for(tmp_path: Path, accept: str) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            answer = await w.ask("GET", "/metrics", headers={"Accept": accept})
            assert answer.status == 200
            assert b"ygg_build_info" in answer.body

    run(story())


def test_it_is_ready_even_where_no_host_is(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            assert (await w.ask("GET", "/readyz")).json == {"ready": True, "hosts_up": 1}
            assert (await w.ask("GET", "/livez")).json == {"live": True}
            w.servers["h"].down = True
            await w.submit(title="a")
            await w.until(lambda: not w.dispatcher.live_hosts())
            ready = await w.ask("GET", "/readyz")
            assert (ready.status, ready.json) == (200, {"ready": True, "hosts_up": 0})

    run(story())


def test_a_paused_host_takes_no_task_until_it_is_resumed(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            reply = await w.ask("PUT", "/v1/hosts/h/pause", {"reason": "a game"})
            assert (reply.status, reply.json["paused"]) == (200, "a game")
            task_id = await w.submit(title="a")
            assert (await w.ask("GET", "/v1/hosts")).json["hosts"][0]["paused"] == "a game"
            assert _paused(w) == ["a game"] * 3
            assert w.store.tables.tasks[task_id].status is Status.OPEN
            reply = await w.ask("PUT", "/v1/hosts/h/pause", {"paused": False})
            assert (reply.status, reply.json["paused"]) == (200, None)
            assert _paused(w) == [None] * 3
            await w.until_status(task_id, Status.CLOSED)
            kinds = [row.kind for row in w.store.tables.rows if row.host == "h"]
            assert kinds.index(Kind.PAUSED) < kinds.index(Kind.RESUMED)
            assert (await w.ask("PUT", "/v1/hosts/h/pause", {})).json["paused"] == "by hand"

    run(story())


def _paused(w: Served) -> list[str | None]:
    """As the board, the next reload and the next start will have it."""
    return [
        w.dispatcher.board.hosts["h"].paused,
        w.dispatcher.host_rows["h"].paused,
        w.store.tables.host_rows["h"].paused,
    ]


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("nobody", {"paused": True}, 404),
        ("nobody", {"paused": False}, 404),
        ("h", {"paused": "yes"}, 400),
        ("h", {"reason": "x" * 501}, 400),
        ("h", {"reason": "\0"}, 400),
        ("h", {"until": "tomorrow"}, 400),
        ("h", {"until": "2001-01-01T00:00:00Z"}, 400),
        ("h", {"until": "9999-12-31T23:59:59Z"}, 400),
        ("h", {"by": "\0"}, 400),
        ("h", {"untill": None}, 400),
        ("h", [], 400),
    ],
)
def test_a_pause_that_is_not_right_is_refused(
    tmp_path: Path, name: str, body: object, status: int
) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            reply = await w.ask("PUT", f"/v1/hosts/{name}/pause", body)
            assert reply.status == status
            if status == 404:
                assert (reply.json["type"], "known: h" in reply.json["detail"]) == (
                    "urn:ygg:problem:unknown-host",
                    True,
                )
            assert w.dispatcher.board.hosts["h"].paused is None

    run(story())


# -- pure ------------------------------------------------------------------------------------------


@pytest.mark.pure
def test_each_reason_has_its_words() -> None:
    assert set(IN_WORDS) == set(Reason)


def _sight(
    *, rows: dict[str, HostRow] | None = None, waiting: Sequence[str] = ("general", "old", "old")
) -> Sight:
    """Two servers on one pinned card, a host that a reload took away, a type nobody serves."""
    settings = fleet({"a": 2, "b": 1}, shares={"b": "a"})
    pinned = replace(settings.hosts["a"], slots=SlotSettings(start=2, min=1, pin=2))
    settings = replace(settings, hosts={**settings.hosts, "a": pinned})
    board = Board()
    detail = configuration_detail(
        {"a": "a", "b": "a", "gone": "gone"}, {"a": 2, "gone": 1}, {"general": [Option("a", "m")]}
    )
    board.apply(Event(position=1, at=0.0, kind=Kind.CONFIGURED, detail=detail))
    for position, type_ in enumerate(waiting, 2):
        place = Waiting(f"t{position}", Lane(type_, ""), Rank(True, 2, 5.0, position))
        row = Event(position=position, at=5.0, kind=Kind.ACCEPTED, task=place.id, waiting=place)
        board.apply(row)
    return Sight(
        board=board, fleet=settings, host_rows=rows or {}, attempts={},
        down_since=DownSince(0.0), cut=CutAnswers(count=0, last=None), reasons={"a": "refused", "b": ""}, monotonic=9.0,
    )  # fmt: skip


def _status(sight: Sight, overview: Overview | None = None) -> DispatcherStatus:
    return dispatcher_status(
        sight, pid=7, started_at=0.0, store_trouble=None, count_trouble=None, overview=overview,
        oldest=None, wall=9.0,
    )  # fmt: skip


@pytest.mark.pure
def test_servers_on_one_card_show_its_slots_and_its_pin() -> None:
    a, b, gone = _status(_sight()).hosts
    assert (a.shares, a.limit, a.max, a.pinned) == (None, 2, 2, True)
    assert (b.shares, b.limit, b.max, b.pinned) == ("a", 2, 2, True)
    # Out of hosts.yaml, but still here: it ends what it runs.
    assert (gone.name, gone.url, gone.pinned) == ("gone", "", False)


@pytest.mark.pure
def test_a_bad_edit_and_what_takes_a_restart_are_told_in_sentences() -> None:
    problems = tuple(f"/etc/hosts.yaml:{n}: `x` is wrong; mend it" for n in range(7))
    standing = FileStanding(taken_at=5.0, problems=problems, needs_restart=("listen a -> b",))
    status = _status(replace(_sight(), standing=standing))
    assert status.settings is not None
    assert status.settings.taken_at == "1970-01-01T00:00:05.000Z"
    assert (status.settings.problems, status.settings.needs_restart) == (
        problems, ("listen a -> b",),
    )  # fmt: skip
    told = status.needs_person[-7:]
    assert told[0] == f"not taken over, it runs with the settings of before: {problems[0]}"
    assert told[5:] == ["2 more mistakes there: `ygg check`", "takes a restart: listen a -> b"]


@pytest.mark.pure
def test_a_host_that_comes_back_is_down_since_then() -> None:
    since, detail = DownSince(0.0), configuration_detail({}, {}, {})
    down = {"mode": "down"}
    since.absorb([
        Event(position=1, at=1.0, kind=Kind.HOST, host="h", detail=down),
        Event(position=2, at=2.0, kind=Kind.CONFIGURED, detail=detail),
        Event(position=3, at=3.0, kind=Kind.HOST, host="h", detail=down),
    ])  # fmt: skip
    assert since.of("h") == 3.0


@pytest.mark.pure
def test_a_host_that_never_answered_says_what_it_last_said() -> None:
    a, b, _ = _status(_sight()).hosts
    assert (a.reason, b.reason) == ("refused", "not asked yet")
    assert any(s.endswith(": refused") for s in _status(_sight()).needs_person)


@pytest.mark.pure
def test_a_pin_by_hand_shows_too() -> None:
    *_, gone = _status(_sight(rows={"gone": HostRow(pin=1)})).hosts
    assert gone.pinned


@pytest.mark.pure
def test_tasks_that_no_host_serves_are_for_a_person() -> None:
    status = _status(_sight())
    assert status.waiting.total == 3
    assert status.waiting.by_type == {"general": 1, "old": 2}
    assert sum(lane.count for lane in status.waiting.lanes) == 3
    assert [lane.priority for lane in status.waiting.lanes] == sorted(
        lane.priority for lane in status.waiting.lanes
    )
    assert "2 tasks of type old wait: no host serves them (no_host)" in status.needs_person
    one = _status(_sight(waiting=["old"])).needs_person
    assert "1 task of type old waits: no host serves it (no_host)" in one


@pytest.mark.pure
def test_of_many_errors_the_most_frequent_are_told() -> None:
    overview = Overview(
        by_status={Status.BLOCKED: 28},
        held={Held.BY_HAND: 2},
        blocked={f"error {n}": n for n in range(7, 0, -1)},
    )
    status = _status(_sight(), overview)
    told = [sentence for sentence in status.needs_person if "blocked" in sentence]
    assert told[0] == "7 tasks blocked: error 7"
    assert len(told) == 6
    assert told[-1].startswith("3 tasks blocked with other errors")
    assert status.held == {"held": 2}
    assert status.counts["blocked"] == 28


@pytest.mark.pure
def test_a_host_is_down_since_its_first_failure_or_since_the_start() -> None:
    since = DownSince(1.0)

    def host(at: float, mode: str) -> Event:
        return Event(position=1, at=at, kind=Kind.HOST, host="h", detail={"mode": mode})

    assert since.of("h") == 1.0
    since.absorb([host(2.0, "up"), host(3.0, "down"), host(4.0, "down")])
    assert since.of("h") == 3.0
    since.absorb([host(5.0, "trial"), host(6.0, "down")])
    assert since.of("h") == 6.0
    since.absorb([Event(position=2, at=7.0, kind=Kind.OPENED)])
    assert since.of("h") == 7.0


@pytest.mark.pure
def test_an_option_that_is_down_is_for_a_person() -> None:
    sight = _sight()
    why = "404: model 'm' not found"
    row = Event(
        position=9, at=6.0, kind=Kind.OPTION, host="a", model="m", reason=why,
        detail={"mode": "down"},
    )  # fmt: skip
    sight.board.apply(row)
    status = _status(sight)
    assert status.hosts[0].options[0].reason == why
    assert f"a gets no tasks for m: {why}" in status.needs_person


@pytest.mark.pure
def test_a_handler_that_is_down_is_told_by_its_type() -> None:
    sight = _sight()
    row = Event(
        position=9, at=6.0, kind=Kind.OPTION, host="a", model="m", reason="not there",
        detail={"mode": "down", "type": "ocr"},
    )  # fmt: skip
    sight.board.apply(row)
    status = _status(sight)
    assert status.hosts[0].options[0].type == "ocr"
    assert "a gets no tasks for the handler of type ocr: not there" in status.needs_person

"""The demo's pure parts: its input, what it prints, and when it calls itself a success."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import yaml

from ygg.demo import run, show, starting, work
from ygg.demo.client import AnswerFacts, Seen
from ygg.fleet import BUILT_IN_TYPES, TypeSettings
from ygg.routing import detect_type
from ygg.tasks import PRIORITIES, Status

pytestmark = pytest.mark.pure

BEGAN = datetime(2026, 11, 24, 3, 20, tzinfo=UTC)
TYPES = {name: TypeSettings(name=name, words=words) for name, words in BUILT_IN_TYPES.items()}


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def a_task(
    name: str,
    *,
    status: Status = Status.CLOSED,
    priority: int = 2,
    started: float | None = 1.0,
    ended: float | None = 2.5,
    host: str | None = "skadi-code",
    tokens: int | None = 20,
    finish: str = "stop",
    error: str | None = None,
) -> Seen:
    return Seen(
        id=name,
        title=f"title of {name}",
        type="code-generation",
        priority=priority,
        status=status,
        created_at=BEGAN,
        error=error,
        host=host,
        started_at=None if started is None else at(started),
        ended_at=None if ended is None else at(ended),
        answer=AnswerFacts(completion_tokens=tokens, finish=finish),
    )


def waiting(name: str) -> Seen:
    return a_task(name, status=Status.OPEN, started=None, ended=None, host=None, tokens=None)


def running(name: str, host: str = "skadi-code") -> Seen:
    return a_task(name, status=Status.IN_PROGRESS, ended=None, host=host, tokens=None)


class TestInput:
    def test_there_are_24_tasks_of_every_type_and_priority_0_to_3_half_of_them_first(self) -> None:
        assert len(work.FIRST) == len(work.SECOND) == 12
        assert Counter(task.type for task in work.ALL) == dict.fromkeys(BUILT_IN_TYPES, 6)
        assert {task.priority for task in work.ALL} == set(PRIORITIES) - {4}

    def test_the_first_half_comes_least_urgent_first_so_that_the_order_can_be_seen(self) -> None:
        priorities = [task.priority for task in work.FIRST]
        assert priorities == sorted(priorities, reverse=True)
        assert 0 not in priorities
        assert [task.priority for task in work.SECOND].count(0) == 4

    @pytest.mark.parametrize("task", work.ALL, ids=lambda task: task.title)
    def test_each_type_is_found_as_ygg_finds_it(self, task: work.Work) -> None:
        assert detect_type(task.labels, task.title, TYPES) == task.type

    def test_a_submit_leaves_the_type_to_ygg(self) -> None:
        assert set(work.FIRST[0].submit) == {"title", "description", "priority", "labels"}

    def test_the_hosts_file_names_every_host_with_its_slots_and_a_route_for_every_type(
        self,
    ) -> None:
        urls = {name: f"http://127.0.0.1:{port}" for port, name in enumerate(work.HOSTS, 9000)}
        read = yaml.safe_load(work.hosts_yaml(urls))
        assert {name: host["url"] for name, host in read["hosts"].items()} == urls
        slots = {name: host["slots"] for name, host in read["hosts"].items()}
        assert slots == {n: {"start": s, "min": 1, "max": s} for n, s in work.HOSTS.items()}
        assert {name: tuple(t["run"]) for name, t in read["types"].items()} == work.ROUTES
        assert set(work.ROUTES) == set(BUILT_IN_TYPES)

    @pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 1), (6, 2), (64, 21)])
    def test_the_servers_together_never_have_more_threads_than_cores_if_that_can_be(
        self, cores: int, threads: int
    ) -> None:
        assert starting.threads_per_server(cores) == threads


class TestWhatIsPrinted:
    def test_the_table_is_in_order_of_start_and_says_in_which_order_tasks_came(self) -> None:
        tasks = [
            a_task("late", started=5.0, ended=7.25),
            a_task("early", started=0.25, ended=1.0, tokens=128, finish="length"),
            waiting("never"),
        ]
        header, *rows = (line.split() for line in show.table(tasks))
        assert header[:2] == ["#", "sent"]
        assert [row[:2] for row in rows] == [["1", "2"], ["2", "1"], ["3", "3"]]
        early, late, never = rows
        assert early[4:10] == ["skadi-code", "0.2", "s", "0.8", "s", "128+"]
        assert late[4:10] == ["skadi-code", "5.0", "s", "2.2", "s", "20"]
        assert never[4:8] == ["-", "-", "-", "-"]

    def test_a_task_that_is_not_closed_says_so_in_the_table(self) -> None:
        assert "BLOCKED: title of t" in show.table([a_task("t", status=Status.BLOCKED)])[1]

    def test_among_tasks_that_started_in_the_same_millisecond_the_urgent_comes_first(self) -> None:
        low, high = a_task("low", priority=3), a_task("high", priority=0)
        assert show.in_order_of_start([low, high]) == [high, low]

    def test_each_host_has_a_line_with_what_runs_there(self) -> None:
        slots = {"skadi-code": 2, "fenrir-chat": 3}
        tasks = [running("a"), running("b"), a_task("done"), waiting("c")]
        assert [line.split(maxsplit=2) for line in show.host_lines(tasks, slots)] == [
            ["skadi-code", "2/2", "title of a (P2), title of b (P2)"],
            ["fenrir-chat", "0/3", "idle"],
        ]

    @pytest.mark.parametrize(
        ("before", "after", "expected"),
        [
            ([waiting("t")], [waiting("t")], []),
            ([], [waiting("t")], []),
            ([waiting("t")], [running("t")], ["started"]),
            ([running("t")], [running("t")], []),
            ([running("t")], [a_task("t")], ["closed"]),
            ([waiting("t")], [a_task("t")], ["started", "closed"]),
            ([], [a_task("t")], ["started", "closed"]),
            ([running("t")], [a_task("t", status=Status.BLOCKED, error="why")], ["blocked"]),
            ([running("t")], [waiting("t")], ["reopened"]),
            ([a_task("t")], [a_task("t")], []),
        ],
    )
    def test_every_change_is_a_line_and_nothing_else_is(
        self, before: list[Seen], after: list[Seen], expected: list[str]
    ) -> None:
        assert [line.split()[0] for line in show.changes(before, after)] == expected

    def test_the_answer_shown_whole_is_the_longest_uncut_one_of_the_most_urgent(self) -> None:
        chosen = a_task("chosen", priority=0, tokens=30)
        others = [
            a_task("shorter", priority=0, tokens=10),
            a_task("cut", priority=0, tokens=128, finish="length"),
            a_task("less urgent", priority=1, tokens=100),
            a_task("blocked", priority=0, tokens=99, status=Status.BLOCKED),
        ]
        assert show.showcase([*others, chosen]) is chosen
        assert show.showcase([waiting("t")]) is None

    def test_a_task_is_read_as_the_api_sends_it(self) -> None:
        sent = {
            "id": "t",
            "title": "T",
            "description": "not read here",
            "type": "general",
            "priority": 1,
            "status": "closed",
            "created_at": "2026-11-24T03:20:00.000Z",
            "started_at": "2026-11-24T03:20:01.500Z",
            "ended_at": "2026-11-24T03:20:04.000Z",
            "host": "fenrir-chat",
            "error": None,
            "answer": {"completion_tokens": 12, "finish": "length", "seconds": 2.5},
        }
        task = msgspec.json.decode(msgspec.json.encode(sent), type=Seen)
        assert (task.wait_seconds, task.run_seconds, task.tokens) == (1.5, 2.5, 12)
        assert task.is_cut
        assert task.has_ended


class TestSuccess:
    def all_closed(self) -> list[Seen]:
        return [
            msgspec.structs.replace(
                a_task(str(number)), type=asked.type, host=work.ROUTES[asked.type][-1]
            )
            for number, asked in enumerate(work.ALL)
        ]

    def test_it_is_one_if_every_task_is_closed_with_an_answer_on_a_host_of_its_route(self) -> None:
        assert run.problems(self.all_closed(), ["an answer"] * 24) == []

    @pytest.mark.parametrize(
        ("change", "answer", "problem"),
        [
            ({"status": Status.BLOCKED, "error": "why"}, "", "is blocked: why"),
            ({"status": Status.OPEN}, "", "is open"),
            ({}, " \n", "closed with an empty answer"),
            ({"type": "poetry"}, "an answer", "is poetry, not code-generation"),
            ({"host": "fenrir-chat"}, "an answer", "not on its route"),
        ],
    )
    def test_it_is_none_if_anything_is_wrong_with_one_task(
        self, change: dict[str, object], answer: str, problem: str
    ) -> None:
        first, *rest = self.all_closed()
        tasks = [msgspec.structs.replace(first, **change), *rest]
        found = run.problems(tasks, [answer, *["an answer"] * 23])
        assert len(found) == 1
        assert problem in found[0]

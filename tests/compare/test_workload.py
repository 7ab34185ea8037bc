"""Workload files: what they say, and what is said of those that are wrong."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest

from bench.workload import make
from ygg.compare.fleet import ROUTES, TOKENS_PER_SECOND
from ygg.compare.workload import BadWorkload, parse_workload, read_workload
from ygg.demo.work import HOSTS
from ygg.fleet import BUILT_IN_TYPES

pytestmark = pytest.mark.pure

LINE = b'{"at": 0, "type": "general", "priority": 2, "title": "t", "tokens": 5}\n'


def changed(**fields: object) -> bytes:
    return json.dumps(json.loads(LINE) | fields).encode() + b"\n"


class TestTheOneThatComesWithYgg:
    def test_it_is_what_its_script_makes(self) -> None:
        own = [json.loads(item) for item in map(json.dumps, make())]
        shipped = (files("ygg.compare") / "workload.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in shipped] == own

    def test_it_has_60_tasks_of_all_types_and_priorities(self) -> None:
        items = read_workload(None)
        assert len(items) == 60
        assert {item.type for item in items} == set(BUILT_IN_TYPES)
        assert {item.priority for item in items} == set(range(5))

    def test_it_fills_every_slot_from_the_first_moment_on(self) -> None:
        at_first = [ROUTES[item.type] for item in read_workload(None) if item.at == 0]
        assert all(at_first.count(host) >= slots for host, slots in HOSTS.items())

    def test_critical_tasks_come_while_all_hosts_are_busy(self) -> None:
        items = read_workload(None)
        for host, slots in HOSTS.items():
            mine = [item for item in items if ROUTES[item.type] == host]
            work = sum(item.tokens for item in mine) / TOKENS_PER_SECOND / slots
            assert all(0 < item.at < work for item in mine if item.priority == 0)


def test_tasks_are_sorted_by_arrival_and_else_stay_as_they_stand() -> None:
    data = changed(at=2, title="c") + b"\n" + changed(at=0, title="a") + changed(at=0, title="b")
    assert [item.title for item in parse_workload(data, "w")] == ["a", "b", "c"]


def test_a_task_is_submitted_with_its_tokens_as_a_limit() -> None:
    (item,) = parse_workload(LINE, "w")
    assert item.submit["options"] == {"num_predict": 5, "temperature": 0, "seed": 1}
    assert item.submit["type"] == "general"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{\n", "truncated"),
        (b"[]\n", "Expected `object`"),
        (changed(priority=5), "<= 4"),
        (changed(priority="high"), "priority"),
        (changed(at=-1), ">= 0.0"),
        (changed(tokens=0), ">= 1"),
        (changed(title=""), "length >= 1"),
        (changed(tokns=5), "`tokns` (did you mean 'tokens'?)"),
        (b'{"at": 0}\n', "missing required field `type`"),
        (changed(type="resoning"), "did you mean 'reasoning'?"),
        (changed(type="poetry"), "known: code-generation"),
        (b"\xff\n", "malformed"),
    ],
)
def test_a_line_that_is_wrong_is_named_with_what_is_wrong(line: bytes, said: str) -> None:
    with pytest.raises(BadWorkload) as caught:
        parse_workload(LINE + b"\n" + line, "my.jsonl")
    assert str(caught.value).startswith("my.jsonl:3: ")
    assert said in str(caught.value)


def test_an_empty_file_is_told_what_a_line_looks_like() -> None:
    with pytest.raises(BadWorkload, match=r"w: has no tasks; a line looks like \{"):
        parse_workload(b"\n\n", "w")


def test_a_file_that_is_not_there_is_told_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(BadWorkload, match=r"No such file.*leave --workload out"):
        read_workload(tmp_path / "none.jsonl")

"""`bd` is ill in every way that is known, and the real daemon says so, goes on, and makes it good."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.beads.project import LOCKED, Project, install
from tests.system.daemons import Daemon, ModelServer, Servers, daemon, until, ygg
from tests.system.feeding import (
    feeding,
    person_of,
    settings,
    source,
    statuses,
    tasks_of,
    until_told,
)

pytestmark = pytest.mark.system

#: What a program says that is an older one of that name.
OLD = (
    {"call": "version", "out": '{"version": "0.62.0"}'},
    {"effect": False, "code": 1, "err": "Error: unknown flag: --exclude-type\n"},
)
#: A call has so many seconds; others than those that hang end long before, on a loaded machine too.
SECONDS = 3


def _go_away(project: Project) -> None:
    project.program.unlink()


def _come_back(project: Project) -> None:
    install(project.program.parent)


def _move(project: Project) -> None:
    project.beads.rename(project.folder / "elsewhere")


def _move_back(project: Project) -> None:
    (project.folder / "elsewhere").rename(project.beads)


def _break(*rules: Mapping[str, Any]) -> Callable[[Project], None]:
    return lambda project: project.break_calls(*rules)


@dataclass(frozen=True, kw_only=True)
class Fault:
    put: Callable[[Project], None]
    lift: Callable[[Project], None] = Project.break_calls
    #: What is wrong, and what to do: in `ygg status`, and in `ygg doctor`.
    said: tuple[str, ...]


FAULTS = {
    "missing": Fault(
        put=_go_away, lift=_come_back,
        said=("bd: it can't be started: No such file", "install bd", "beads: {command: ...}"),
    ),
    "project gone": Fault(
        put=_move, lift=_move_back, said=("there is no", "beads", "run `bd init` there", "--beads PATH"),
    ),
    "another version": Fault(
        put=_break(*OLD), said=("0.62.0", "ygg knows bd 1.x from 1.0.3 on: install one of those"),
    ),
    "locked": Fault(
        put=_break(LOCKED), said=("the database is locked", "look for a `bd` that hangs"),
    ),
    "half an answer": Fault(
        put=_break({"cut": 0.5}), said=("the answer makes no sense", "run the same call by hand"),
    ),
    "hangs": Fault(
        put=_break({"hang": "before"}),
        said=(f"there was no answer in {SECONDS} s", "look for a `bd` that holds the database"),
    ),
}  # fmt: skip


def test_whatever_is_wrong_with_bd_is_told_and_made_good_when_it_is_over(
    tmp_path: Path, project: Project, servers: Servers
) -> None:
    person, server = person_of(project, tmp_path), servers.start("a")
    text = settings({"a": (server, 1)}, f"timeout: {SECONDS}s")
    with daemon(tmp_path / "d", text, command=feeding(project)) as d:
        for name in FAULTS:
            _lives_through(name, d, project, person, server, servers)
        issues = [person.issue(one) for one in statuses(person)]
    assert {len(issue.comments) for issue in issues} == {1}
    assert len(server.asked) == len(set(server.asked)) == 3 * len(FAULTS)


def _lives_through(
    name: str, d: Daemon, project: Project, person: Project, server: ModelServer, servers: Servers
) -> None:
    fault = FAULTS[name]
    servers.gate(server, is_open=False)
    running = person.new(f"{name} while it runs", "-l", "reasoning")
    until(lambda: server.running == 1)
    waiting = person.new(f"{name} while it waits", "-l", "reasoning")
    fault.put(project)
    until(lambda: fault.said[0] in (source(d)["trouble"] or ""))

    answer = d.client.call("POST", "/v1/tasks", {"title": f"by another door: {name}"})
    servers.gate(server, is_open=True)
    until(lambda: d.client.call("GET", f"/v1/tasks/{answer['id']}")["status"] == "closed")
    assert source(d)["untold"] >= 1
    _says(fault, ygg("status", "--url", d.url).stdout)
    done = ygg("doctor", "--hosts", d.state / "hosts.yaml", "--state", d.state, "--beads",
               project.folder)  # fmt: skip
    _says(fault, done.stdout)
    assert done.returncode == 1

    fault.lift(project)
    until(lambda: set(statuses(person).values()) == {"closed"}, within=60)
    until_told(d)
    assert [len(tasks_of(d, one)) for one in (running, waiting)] == [1, 1]


def _says(fault: Fault, printed: str) -> None:
    for words in fault.said:
        assert words in " ".join(printed.split())


def test_what_took_effect_and_was_told_to_have_failed_is_done_once(
    tmp_path: Path, project: Project, servers: Servers
) -> None:
    person, server = person_of(project, tmp_path), servers.start("a")
    failed = {"code": 1, "out": "", "err": "Error: failed to commit: connection lost\n", "times": 1}
    with daemon(tmp_path / "d", settings({"a": (server, 2)}), command=feeding(project)) as d:
        project.break_calls(
            {"call": "update --claim", **failed}, {"call": "comments add", **failed}
        )
        one = person.new("Why?", "-l", "reasoning")
        until(lambda: one in source(d)["refused"], within=60)
        picture = " ".join(ygg("status", "--url", d.url).stdout.split())
        assert f"; 1 end still to be told ({one}: bd comments add" in picture
        assert "connection lost; run the same call by hand" in picture
        until(lambda: person.issue(one).status == "closed", within=60)
        until_told(d)
        assert source(d)["refused"] == {}
    assert len(person.issue(one).comments) == 1
    assert server.asked == ["Why?"]


def test_a_daemon_that_is_killed_while_it_tells_has_told_it_once(
    tmp_path: Path, project: Project, servers: Servers
) -> None:
    person, server = person_of(project, tmp_path), servers.start("a")
    text = settings({"a": (server, 1)})
    # Slow: the daemon is dead, and the next one has begun to tell, before this call has an effect.
    project.break_calls({"call": "comments add", "wait": 4, "times": 1})
    with daemon(tmp_path / "d", text, command=feeding(project)) as d:
        one = person.new("Why?", "-l", "reasoning")
        until(lambda: "comments add" in project.calls[-1].words, within=60)
        slow = project.calls[-1].pid
        d.process.send_signal(signal.SIGKILL)
        d.process.wait(10)
    with daemon(tmp_path / "d", text, command=feeding(project)) as d:
        until(lambda: person.issue(one).status == "closed", within=60)
        until_told(d)
        until(lambda: not Path(f"/proc/{slow}").exists())
    assert len(person.issue(one).comments) == 1
    assert server.asked == ["Why?"]

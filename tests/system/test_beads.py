"""A Beads project feeds the real daemon, through the stand-in of `bd` (tests/beads)."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.beads.project import LOCKED, Project
from tests.system.daemons import (
    Daemon,
    ModelServer,
    Servers,
    counts,
    daemon,
    hosts_yaml,
    until,
    ygg,
)

pytestmark = pytest.mark.system

ACTOR = "ygg@here"
LABELS = ("code-generation", "text-processing", "reasoning", "general")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def settings(project: Project, hosts: dict[str, tuple[ModelServer, int]], more: str = "") -> str:
    beads = f"beads: {{command: '{project.program}', actor: {ACTOR}, {more}}}\n"
    return hosts_yaml(hosts, extra=beads)


def feeding(project: Project) -> tuple[str, ...]:
    return ("loop", "--async", "--beads", str(project.folder))


def statuses(project: Project) -> dict[str, str]:
    """Of each issue, as bd lists them."""
    found = json.loads(project.bd("list", "--all", "-n", "0"))
    return {issue["id"]: issue["status"] for issue in found}


def source(d: Daemon) -> dict[str, Any]:
    (found,) = d.client.call("GET", "/v1/status")["sources"]
    return dict(found)


def test_sixty_issues_run_in_order_through_a_kill_and_all_are_told(
    tmp_path: Path, project: Project, servers: Servers
) -> None:
    hosts = {name: (servers.start(name), slots) for name, slots in (("a", 2), ("b", 3), ("c", 2))}
    issues = [
        project.new(f"Task {n}", "-d", f"Do {n}", "-l", LABELS[n % 4], "-p", str(n % 5))
        for n in range(60)
    ]
    for n in range(0, 50, 10):
        project.bd("dep", "add", issues[n + 9], issues[n])
    epic = project.new("Epic", "-t", "epic", "-l", "reasoning")
    bug = project.new("A bug of somebody's", "-p", "0")
    text = settings(project, hosts)
    with daemon(tmp_path / "d", text, command=feeding(project)) as d:
        until(lambda: counts(d).get("closed", 0) >= 20, within=120)
        d.process.send_signal(signal.SIGKILL)
        d.process.wait(10)
    with daemon(tmp_path / "d", text, command=feeding(project)) as d:
        until(lambda: counts(d).get("closed", 0) == 60, within=120)
        until(lambda: source(d)["untold"] == 0, within=120)
        assert source(d)["trouble"] is None
        assert d.end() == 0
    shown = {one: project.issue(one) for one in issues}
    assert {issue.status for issue in shown.values()} == {"closed"}
    assert {len(issue.comments) for issue in shown.values()} == {1}, "told once, whatever died"
    assert {issue.metadata["ygg.host"] for issue in shown.values()} <= set(hosts)
    assert [project.issue(one).status for one in (epic, bug)] == ["open", "open"]
    done = ygg("check-journal", "--state", tmp_path / "d")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_line_takes_the_ids_of_issues(
    tmp_path: Path, project: Project, servers: Servers
) -> None:
    server = servers.start("a")
    text = settings(project, {"a": (server, 1)})
    with daemon(tmp_path / "d", text, command=feeding(project)) as d:
        one = project.new("Why is the sky blue?", "-l", "reasoning")
        until(lambda: project.issue(one).status == "closed", within=60)
        for command, said in (("show", one), ("answer", ""), ("why", "")):
            done = ygg(command, one, "--url", d.url)
            assert done.returncode == 0, done.stderr
            assert said in done.stdout
        for words in (("cancel", one), ("retry", one), ("next", one)):
            assert ygg(*words, "--url", d.url).returncode == 1
        done = ygg("wait", one, "--url", d.url)
        assert done.returncode == 0, done.stderr
        done = ygg("events", "--task", one, "--after", "0", "-n", "1", "--url", d.url)
        assert (done.returncode, "accepted" in done.stdout) == (0, True), done.stderr
        server.error = 400
        some = [project.new(f"t{n}", "-l", "reasoning") for n in range(2)]
        until(lambda: {project.issue(i).status for i in some} == {"blocked"}, within=60)
        server.error = 0
        done = ygg("retry", *some, "--url", d.url)
        assert (done.returncode, done.stdout) == (0, "2 tasks are open again\n"), done.stderr
        until(lambda: {project.issue(i).status for i in some} == {"closed"}, within=60)
        ygg("submit", "of no issue", "--type", "reasoning", "--wait", "--url", d.url)
        every = ygg("list", "--url", d.url).stdout.splitlines()
        assert (every[0].split()[:2], len(every)) == (["ID", "ISSUE"], 5)
        for asked in (("list",), ("status",), ("list", "--status", "closed")):
            found = ygg(*asked, some[1], one, some[1], "--url", d.url).stdout.splitlines()
            assert [line.split()[1] for line in found] == ["ISSUE", some[1], one], asked
        assert ygg("list", one, "--status", "open", "--url", d.url).stdout == ""
        found = ygg("status", one, "--json", "--url", d.url).stdout.splitlines()
        assert [json.loads(line)["source_id"] for line in found] == [one]
        for bad in (["list", "bd-nope"], ["status", "bd-nope"], ["status", "--watch", one]):
            assert ygg(*bad, "--url", d.url).returncode != 0, bad
        done = ygg("show", "bd-nope", "--url", d.url)
        assert (done.returncode, done.stdout) == (1, "")
        assert "no task 'bd-nope'" in done.stderr
        picture = ygg("status", "--url", d.url).stdout
        assert f"beads in {project.folder}, as {ACTOR}; looked at" in picture


def test_a_drain_hands_back_what_waits_and_blocks_what_ran(
    tmp_path: Path, project: Project, servers: Servers
) -> None:
    server = servers.start("a")
    extra = "dispatcher: {drain_seconds: 0, after_drain: block}\n"
    text = settings(project, {"a": (server, 1)}) + extra
    first, second = (project.new(f"t{n}", "-l", "reasoning", "-p", str(n)) for n in range(2))
    servers.gate(server, is_open=False)
    with daemon(tmp_path / "d", text, command=feeding(project)) as d:
        until(lambda: counts(d).get("in_progress", 0) == 1, within=60)
        until(lambda: project.issue(second).status == "in_progress", within=60)
        assert d.end() == 0
    assert project.issue(first).status == "blocked"
    assert "drained" in project.issue(first).notes
    assert (project.issue(second).status, project.issue(second).assignee) == ("open", "")


def test_the_second_dispatcher_on_a_project_is_told_who_has_it(
    tmp_path: Path, project: Project, servers: Servers
) -> None:
    text = settings(project, {"a": (servers.start("a"), 1)})
    with daemon(tmp_path / "d", text, command=feeding(project)) as d:
        (tmp_path / "e").mkdir()
        done = ygg(
            *feeding(project), "--hosts", tmp_path / "d" / "hosts.yaml", "--state", tmp_path / "e",
            "--listen", "127.0.0.1:0",
        )  # fmt: skip
        assert done.returncode == 1
        assert f"/{d.process.pid}/" in done.stderr
        assert "start this one with --no-beads" in done.stderr


def test_a_bd_that_is_ill_is_told_of_and_holds_up_no_other_door(
    tmp_path: Path, project: Project, servers: Servers
) -> None:
    text = settings(project, {"a": (servers.start("a"), 1)})
    one = project.new("t", "-l", "reasoning")
    project.break_calls(LOCKED)
    with daemon(tmp_path / "d", text, command=feeding(project)) as d:
        until(lambda: "database is locked" in (source(d)["trouble"] or ""), within=60)
        d.client.call("POST", "/v1/tasks", {"title": "by another door"})
        until(lambda: counts(d).get("closed", 0) == 1, within=60)
        project.break_calls()
        until(lambda: project.issue(one).status == "closed", within=60)
        until(lambda: source(d)["trouble"] is None, within=60)


def test_a_project_is_found_upwards_named_or_left_out(
    tmp_path: Path, project: Project, servers: Servers
) -> None:
    text = settings(project, {"a": (servers.start("a"), 1)})
    with daemon(tmp_path / "d", text, command=("loop", "--async", "--no-beads")) as d:
        assert d.client.call("GET", "/v1/status")["sources"] == []
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    for words in (("--beads", nowhere), ("--beads", nowhere, "--no-beads")):
        done = ygg("loop", "--async", *words, "--hosts", tmp_path / "d" / "hosts.yaml",
                   "--state", tmp_path / "d")  # fmt: skip
        assert done.returncode in (1, 2)
        assert len(done.stderr.splitlines()) == 1
        assert "--no-beads" in done.stderr
    inside = project.folder / "deep" / "down"
    inside.mkdir(parents=True)
    shutil.copy(tmp_path / "d" / "hosts.yaml", inside)
    with daemon(tmp_path / "e", text, command=("loop", "--async"), cwd=inside) as d:
        assert source(d)["where"] == str(project.folder)


def test_a_redirect_is_followed_by_the_watch_the_lock_and_the_doctor(
    tmp_path: Path, project: Project, servers: Servers
) -> None:
    more = "poll_seconds: 3600"
    text = settings(project, {"a": (servers.start("a"), 1)}, more)
    trees = [tmp_path / name / ".beads" for name in ("one", "two")]
    for beads in trees:
        beads.mkdir(parents=True)
        (beads / "redirect").write_text(f"# shared\n{project.beads}\n")
    environ = {"BEADS_DIR": str(trees[0])}
    with daemon(tmp_path / "d", text, command=("loop", "--async"), environ=environ) as d:
        until(lambda: source(d)["looked_at"] is not None)
        assert source(d)["where"] == str(trees[0].parent)
        assert (project.beads / "ygg.lock").exists()
        # Seen by the files that it changed: the next look by the clock is an hour away.
        one = project.new("Why?", "-l", "reasoning")
        until(lambda: project.issue(one).status == "closed", within=60)
        hosts = tmp_path / "d" / "hosts.yaml"
        done = ygg("loop", "--async", "--beads", trees[1].parent, "--hosts", hosts,
                   "--state", tmp_path / "e", "--listen", "127.0.0.1:0")  # fmt: skip
        assert done.returncode == 1
        assert "feeds from this project" in done.stderr
        done = ygg("doctor", "--hosts", hosts, "--state", tmp_path / "s",
                   "--beads", trees[1].parent)  # fmt: skip
        assert f"its files are in {project.beads}" in done.stdout
    trees[1].joinpath("redirect").write_text("/nowhere")
    done = ygg("doctor", "--hosts", hosts, "--state", tmp_path / "s", "--beads", trees[1].parent)
    assert done.returncode == 1
    assert "bd does not follow it" in done.stdout
    assert not [name for name in trees[0].iterdir() if name.name != "redirect"]


def test_a_project_that_is_put_back_from_a_copy_has_one_dispatcher_still(
    tmp_path: Path, project: Project, servers: Servers
) -> None:
    text = settings(project, {"a": (servers.start("a"), 1)})
    with daemon(tmp_path / "d", text, command=feeding(project)) as d:
        until(lambda: source(d)["looked_at"] is not None)
        project.beads.rename(tmp_path / "copy")
        until(lambda: source(d)["trouble"] is not None, within=60)
        shutil.copytree(tmp_path / "copy", project.beads)
        until(lambda: source(d)["trouble"] is None, within=60)
        done = ygg(*feeding(project), "--hosts", tmp_path / "d" / "hosts.yaml",
                   "--state", tmp_path / "e", "--listen", "127.0.0.1:0")  # fmt: skip
        assert done.returncode == 1
        assert "feeds from this project" in done.stderr


def test_the_doctor_lists_what_would_be_taken(
    tmp_path: Path, project: Project, servers: Servers
) -> None:
    hosts = tmp_path / "hosts.yaml"
    hosts.write_text(settings(project, {"a": (servers.start("a"), 1)}))
    one = project.new("Why?", "-l", "reasoning", "-p", "1")
    bug = project.new("A bug")
    words = ("doctor", "--hosts", hosts, "--state", tmp_path / "s", "--beads", project.folder)
    said = ygg(*words).stdout
    assert "1 of 2 ready issues would be taken" in said
    assert f"{one} 'Why?': reasoning, priority 1" in said
    assert f"{bug} is left alone: it has no label that means a type" in said
    assert "its files are watched; it is looked at every 1 min" in said
    (project.beads / "metadata.json").write_text('{"dolt_mode": "server"}')
    said = ygg(*words).stdout
    assert (
        "bd talks to a server, and nothing changes on this disk: it is looked at every 10 s" in said
    )
    bad = project.new("Bad", "-l", "reasoning")
    project.rewrite(bad, priority=9)
    done = ygg(*words)
    assert done.returncode == 1
    assert f"{bad} is left alone: it can't be read: priority" in done.stdout
    assert "1 of 3 ready issues would be taken" in done.stdout
    project.break_calls(LOCKED)
    done = ygg(*words)
    assert done.returncode == 1
    assert "database is locked" in done.stdout

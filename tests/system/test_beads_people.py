"""A person works in the project that the real daemon feeds from: what each of their deeds leaves."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final

import pytest

from tests.beads.project import Project
from tests.system.daemons import Daemon, Servers, daemon, until, ygg
from tests.system.feeding import ACTOR, feeding, person_of, settings, tasks_of, until_told

pytestmark = pytest.mark.system

#: Reasoning runs on one host, general on another.
TYPES: Final = """types:
  code-generation: {run: [a]}
  text-processing: {run: [a]}
  reasoning: {run: [a]}
  general: {run: [b], done: close}
"""
REVIEW: Final = "ygg-answered"


@pytest.fixture
def person(tmp_path: Path, project: Project) -> Project:
    return person_of(project, tmp_path)


def is_at(person: Project, one: str, status: str) -> bool:
    return person.issue(one).status == status


def all_looked_at(d: Daemon, person: Project) -> None:
    """An issue that is the last in the order is closed: no other one was taken, or it ran before."""
    last = person.new("the last", "-l", "general", "-p", "4")
    until(lambda: is_at(person, last, "closed"), within=60)
    until_told(d)


def test_what_a_person_does_to_an_issue_that_runs_stays(
    tmp_path: Path, project: Project, person: Project, servers: Servers
) -> None:
    a, b = servers.start("a"), servers.start("b")
    servers.gate(a, is_open=False)
    text = settings({"a": (a, 6), "b": (b, 1)}, extra=TYPES)
    names = ("edited", "closed", "reassigned", "deleted", "opened", "deferred")
    with daemon(tmp_path / "d", text, command=feeding(project)) as d:
        made = {name: person.new(f"Why {name}?", "-l", "reasoning") for name in names}
        until(lambda: a.running == len(names), within=60)
        person.bd(
            "update", made["edited"], "--title=Changed", "--description=Something else", "-p0"
        )
        person.bd("close", made["closed"], "--reason=it was easy")
        person.bd("update", made["reassigned"], "--assignee=alice")
        person.bd("delete", made["deleted"], "--force")
        person.bd("update", made["opened"], "--status=open", "--assignee=")
        person.bd("update", made["deferred"], "--status=deferred")
        all_looked_at_while_they_run = person.new("meanwhile", "-l", "general")
        until(lambda: is_at(person, all_looked_at_while_they_run, "closed"), within=60)
        assert a.running == len(names)
        servers.gate(a, is_open=True)
        until(lambda: is_at(person, made["edited"], "closed"), within=60)
        until_told(d)
        all_looked_at(d, person)
        assert {len(tasks_of(d, one)) for one in made.values()} == {1}
        assert {tasks_of(d, one)[0]["outcome"] for one in made.values()} == {"done"}
    assert sorted(a.asked) == sorted(f"Why {name}?" for name in names)
    left = {name: person.issue(one) for name, one in made.items() if name != "deleted"}
    assert {name: (issue.status, issue.assignee) for name, issue in left.items()} == {
        "edited": ("closed", ACTOR),
        "closed": ("closed", ACTOR),
        "reassigned": ("in_progress", "alice"),
        "opened": ("closed", ""),
        "deferred": ("deferred", ACTOR),
    }
    assert {len(issue.comments) for issue in left.values()} == {1}
    assert {issue.metadata["ygg.host"] for issue in left.values()} == {"a"}
    assert (left["edited"].title, left["edited"].description) == ("Changed", "Something else")
    assert b"it was easy" in person.bd("show", made["closed"])
    assert made["deleted"] not in person.bd("list", "--all").decode()


def test_what_waits_follows_a_person_claimed_or_not(
    tmp_path: Path, project: Project, person: Project, servers: Servers
) -> None:
    a, b = servers.start("a"), servers.start("b")
    for server in (a, b):
        servers.gate(server, is_open=False)
    withdrawn = ("closed", "deleted", "deferred", "put off", "unlabelled", "taken", "blocked")
    names = ("edited", *withdrawn)
    text = settings({"a": (a, len(names)), "b": (b, 1)}, extra=TYPES)
    with daemon(tmp_path / "d", text, command=feeding(project)) as d:
        for n in range(len(names)):
            person.new(f"before {n}", "-l", "reasoning", "-p", "0")
        person.new("before b", "-l", "general", "-p", "0")
        until(lambda: (a.running, b.running) == (len(names), 1), within=60)
        claimed = {n: person.new(f"claimed {n}", "-l", "reasoning", "-p1") for n in names}
        next_on_b = person.new("order next", "-l", "general", "-p0")
        until(
            lambda: (
                {person.issue(one).assignee for one in (*claimed.values(), next_on_b)} == {ACTOR}
            ),
            within=60,
        )
        others = {n: person.new(f"other {n}", "-l", "reasoning") for n in names}
        order = [person.new(f"order {n}", "-l", "general", f"-p{n}") for n in range(4)]
        until(lambda: waiting(d) == len(claimed) + len(others) + 1 + len(order), within=60)
        for made in (claimed, others):
            change(person, made)
        person.bd("update", order[0], "-p4")
        person.bd("update", order[3], "-p0")
        until(lambda: waiting(d) == 2 + 1 + len(order), within=60)
        until(lambda: [tasks_of(d, order[n])[0]["priority"] for n in (0, 3)] == [4, 0], within=60)
        until(lambda: {tasks_of(d, made["edited"])[0]["description"] for made in (claimed, others)}
              == {"Something else"}, within=60)  # fmt: skip
        # What was claimed before is handed back.
        for name in ("unlabelled", "put off"):
            until(lambda: person.issue(claimed[name]).assignee == "", within=60)  # noqa: B023 - at once
        for server in (a, b):
            servers.gate(server, is_open=True)
        until_told(d)
        all_looked_at(d, person)
        for made in (claimed, others):
            for name in withdrawn:
                (task,) = tasks_of(d, made[name])
                assert (task["status"], task["outcome"]) == ("closed", "cancelled"), name
                assert task["error"].startswith("its issue "), name
    assert [said for said in b.asked if said.startswith("order")] == [
        f"order {n}" for n in ("next", 3, 1, 2, 0)
    ]
    asked = [said for said in a.asked if not said.startswith("before")]
    assert sorted(asked) == [f"{who} edited\n\nSomething else" for who in ("claimed", "other")]
    for made in (claimed, others):
        left = {name: person.issue(one) for name, one in made.items() if name != "deleted"}
        assert {name: issue.status for name, issue in left.items()} == {
            "edited": "closed",
            "closed": "closed",
            "deferred": "deferred",
            "put off": "open",
            "unlabelled": "open",
            "taken": "in_progress",
            "blocked": "blocked",
        }
        assert [n for n, issue in left.items() if issue.comments or issue.notes] == ["edited"]


def test_what_a_person_does_while_nobody_looks_is_seen_before_anything_starts(
    tmp_path: Path, project: Project, person: Project, servers: Servers
) -> None:
    a, b = servers.start("a"), servers.start("b")
    servers.gate(a, is_open=False)
    folder, text = tmp_path / "d", settings({"a": (a, 2), "b": (b, 1)}, extra=TYPES)
    with daemon(folder, text, command=feeding(project)) as d:
        taken, ran = (person.new(f"ran {n}", "-l", "reasoning", "-p0") for n in range(2))
        until(lambda: a.running == 2, within=60)
        closed, edited = (person.new(f"waited {n}", "-l", "reasoning") for n in range(2))
        until(
            lambda: [t["held"] for one in (closed, edited) for t in tasks_of(d, one)] == [None] * 2,
            within=60,
        )
        d.process.send_signal(signal.SIGKILL)
        d.process.wait(10)
    person.bd("update", taken, "--assignee=alice")
    person.bd("close", closed)
    person.bd("update", edited, "--description=Something else")
    a.asked.clear()
    servers.gate(a, is_open=True)
    with daemon(folder, text, command=("loop", "--async", "--no-beads")) as d:
        # Of those that could start it has decided what does by the time that it answers.
        status = d.client.call("GET", "/v1/status")
        assert (status["held"], status["counts"]["in_progress"]) == ({"waiting_for_source": 4}, 0)
        assert "does not feed from" in " ".join(status["needs_person"])
        assert (
            ygg("submit", "mine", "--type", "reasoning", "--wait", "--url", d.url).returncode == 0
        )
        assert a.asked == ["mine"]
    with daemon(folder, text, command=feeding(project)) as d:
        all_looked_at(d, person)
        until(lambda: {is_at(person, one, "closed") for one in (ran, edited)} == {True}, within=60)
        assert sorted(a.asked) == ["mine", "ran 1", "waited 1\n\nSomething else"]
        for one in (taken, closed):
            (task,) = tasks_of(d, one)
            assert (task["status"], task["outcome"]) == ("closed", "cancelled")
        assert (person.issue(taken).status, person.issue(taken).assignee) == (
            "in_progress",
            "alice",
        )
        assert ygg("check-journal", "--state", folder).returncode == 0


def waiting(d: Daemon) -> int:
    return int(d.client.call("GET", "/v1/status")["counts"].get("open", 0))


def change(person: Project, made: dict[str, str]) -> None:
    """To each issue the deed that it is named for."""
    person.bd("update", made["edited"], "--description=Something else")
    person.bd("close", made["closed"])
    person.bd("delete", made["deleted"], "--force")
    person.bd("update", made["deferred"], "--status=deferred")
    person.bd("update", made["put off"], "--defer=+1d")
    person.bd("update", made["unlabelled"], "--remove-label=reasoning")
    person.bd("update", made["taken"], "--assignee=alice", "--status=in_progress")
    person.bd("update", made["blocked"], "--status=blocked")


def test_answers_for_review_wait_for_a_person_by_project_and_by_type(
    tmp_path: Path, project: Project, person: Project, servers: Servers
) -> None:
    a, b = servers.start("a"), servers.start("b")
    text = settings({"a": (a, 1), "b": (b, 1)}, "done: review", extra=TYPES)
    with daemon(tmp_path / "d", text, command=feeding(project)) as d:
        one = person.new("Why?", "-l", "reasoning")
        after = person.new("And then?", "-l", "reasoning")
        person.bd("dep", "add", after, one)
        until(lambda: REVIEW in person.issue(one).labels, within=60)
        until_told(d)
        all_looked_at(d, person)  # of a type that is closed
        issue = person.issue(one)
        assert (issue.status, issue.assignee, issue.labels) == ("open", "", ("reasoning", REVIEW))
        assert "a says yes" in issue.comments[0].text
        assert issue.metadata["ygg.host"] == "a"
        assert a.asked == ["Why?"], "not again, and not what waits for it"

        person.bd("update", one, f"--remove-label={REVIEW}", "--description=Say more.")
        until(lambda: REVIEW in person.issue(one).labels, within=60)
        until_told(d)
        assert a.asked == ["Why?", "Why?\n\nSay more."]
        assert [task["outcome"] for task in tasks_of(d, one)] == ["done", "done"]
        assert len(person.issue(one).comments) == 2

        person.bd("close", one)
        until(lambda: REVIEW in person.issue(after).labels, within=60)


def test_a_cancel_and_a_failure_block_until_a_person_opens_the_issue(
    tmp_path: Path, project: Project, person: Project, servers: Servers
) -> None:
    a, b = servers.start("a"), servers.start("b")
    servers.gate(a, is_open=False)
    extra = TYPES + "dispatcher: {max_strikes: 2}\n"
    text = settings({"a": (a, 1), "b": (b, 1)}, extra=extra)
    with daemon(tmp_path / "d", text, command=feeding(project)) as d:
        runs = person.new("runs", "-l", "reasoning", "-p0")
        after = person.new("after it", "-l", "general")
        person.bd("dep", "add", after, runs)
        until(lambda: a.running == 1, within=60)
        waits = person.new("waits", "-l", "reasoning")
        until(lambda: person.issue(waits).assignee == ACTOR, within=60)
        for one in (waits, runs):
            assert ygg("cancel", one, "--url", d.url).returncode == 0
        for one in (waits, runs):
            until(lambda: is_at(person, one, "blocked"), within=60)  # noqa: B023 - at once
            assert "ygg [cancelled, task " in person.issue(one).notes
        servers.gate(a, is_open=True)
        all_looked_at(d, person)
        assert is_at(person, after, "open"), "it waits for what was not done"
        assert (a.asked, len(tasks_of(d, waits))) == (["runs"], 1)

        person.bd("update", runs, "--status=open")
        until(lambda: is_at(person, runs, "closed"), within=60)
        until(lambda: is_at(person, after, "closed"), within=60)
        assert [task["outcome"] for task in tasks_of(d, runs)] == ["cancelled", "done"]

        b.error = 500
        ill = person.new("ill", "-l", "general", "-d", "Do it.")
        until(lambda: is_at(person, ill, "blocked"), within=60)
        until_told(d)
        (task,) = tasks_of(d, ill)
        assert (task["status"], task["attempt"]) == ("blocked", 2)
        (note,) = person.issue(ill).notes.splitlines()
        assert note.startswith(f"ygg [failed, task {task['id']}, attempt 2]:")
        assert "it is ill" in note
        assert task["error"] in note

        b.error = 0
        person.bd("update", ill, "--status=open")
        until(lambda: is_at(person, ill, "closed"), within=60)
        until_told(d)
        (again,) = tasks_of(d, ill)
        assert (again["id"], again["attempt"], again["outcome"]) == (task["id"], 3, "done")
    assert b.asked[-3:] == ["ill\n\nDo it."] * 3
    assert [len(person.issue(one).comments) for one in (runs, after, ill)] == [1, 1, 1]


#: Titles and descriptions of others, and what of both a host is asked.
LONG: Final = "Zeile mit Ümläuten ✓ 🦊 und $(touch x)\n" * 5000
HOSTILE: Final = {
    "--reason=mine": ("--status=closed", "--reason=mine\n\n--status=closed"),
    "-x": ("--", "-x\n\n--"),
    "$(touch x); `touch x` && touch x": ("", "$(touch x); `touch x` && touch x"),
    "two\nlines\tand a tab": ("a\r\nb\rc", "two lines and a tab\n\na\nb\nc"),
    "\"quotes' \\ and %s {0}": ("@/etc/passwd", "\"quotes' \\ and %s {0}\n\n@/etc/passwd"),
    "Ünïcode ✓ 🦊 \u202e\u2028": ("日本語\u0301", "Ünïcode ✓ 🦊 \u202e\n\n日本語\u0301"),
    "NUL\0 and more": ("a\0b\x1b[2J", "NUL\ufffd and more\n\na\ufffdb\ufffd[2J"),
    "long": (LONG, f"long\n\n{LONG.strip()}"),
    "ygg [done, task 06gqaaaaaaaaaaaaaa, attempt 1]: a forged mark": (
        "ygg [done, task 06gqaaaaaaaaaaaaaa, attempt 1]: another", None,
    ),
}  # fmt: skip


def test_a_hosts_prompt_is_what_a_person_wrote_whatever_it_is(
    tmp_path: Path, project: Project, person: Project, servers: Servers
) -> None:
    a, b = servers.start("a"), servers.start("b")
    with daemon(tmp_path / "d", settings({"a": (a, 4), "b": (b, 1)}, extra=TYPES),
                command=feeding(project)) as d:  # fmt: skip
        made = {}
        for title, (description, _) in HOSTILE.items():
            one = person.new("to be written", "-l", "for-later")
            person.rewrite(one, title=title, description=description)
            person.bd("update", one, "--add-label=reasoning")
            made[title] = one
        for one in made.values():
            until(lambda: is_at(person, one, "closed"), within=60)  # noqa: B023 - at once
        until_told(d)
        for one in made.values():
            done = ygg("show", one, "--url", d.url)
            assert done.returncode == 0, done.stderr
    wanted = [said or f"{title}\n\n{text}" for title, (text, said) in HOSTILE.items()]
    assert sorted(a.asked) == sorted(wanted)
    assert {len(person.issue(one).comments) for one in made.values()} == {1}
    assert not list(tmp_path.rglob("x"))
    for called in project.calls:
        assert called.argv[0] in (
            "init",
            "version",
            "ready",
            "list",
            "show",
            "update",
            "comments",
            "close",
        )
        assert not set(called.argv) & set(HOSTILE)

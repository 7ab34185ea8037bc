"""Every command as a process against a real daemon: its text, its JSON, its exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from tests.system.daemons import Daemon, Servers, counts, daemon, hosts_yaml, until, ygg
from ygg import shapes
from ygg.cli import make_parser

pytestmark = pytest.mark.system

S = TypeVar("S", bound=msgspec.Struct)

#: Held tasks stay where they are, whatever the hosts do.
LATER = ("--not-before", "2999-01-01T00:00:00Z")
TYPES = "types:\n  general: {run: [h]}\n  reasoning: {run: [shut]}\n"


@pytest.fixture(scope="module")
def d(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One host that answers at once, and one that never does."""
    servers = Servers()
    shut = servers.start("shut")
    servers.gate(shut, is_open=False)
    hosts = hosts_yaml({"h": (servers.start("h"), 2), "shut": (shut, 2)}, extra=TYPES)
    with daemon(tmp_path_factory.mktemp("commands") / "d", hosts) as running:
        yield running
    servers.gate(shut, is_open=True)
    servers.close()


def run(d: Daemon, *args: object, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return ygg(*args, text=text, env={"YGG_URL": d.url})


def good(d: Daemon, *args: object) -> str:
    done = run(d, *args)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def lines_of(d: Daemon, kind: type[S], *args: object) -> list[S]:
    """What a command prints as JSON: one value a line, and no field more or less than its type's."""
    values = []
    for line in good(d, *args, "--json").splitlines():
        value = msgspec.json.decode(line, type=kind)
        assert json.loads(msgspec.json.encode(value)) == json.loads(line)
        values.append(value)
    return values


def one(d: Daemon, kind: type[S], *args: object) -> S:
    (value,) = lines_of(d, kind, *args)
    return value


def submit(d: Daemon, *args: object) -> str:
    return one(d, shapes.TaskView, "submit", *args).id


def ended(d: Daemon, task_id: str) -> shapes.TaskView:
    return d.client.run(d.client.typed.wait(task_id))


def running(d: Daemon) -> str:
    """A task that runs and does not end."""
    task_id = submit(d, "never", "-t", "reasoning")
    until(lambda: d.client.call("GET", f"/v1/tasks/{task_id}")["status"] == "in_progress")
    return task_id


def refused(d: Daemon, code: int, said: str, *args: object) -> None:
    done = run(d, *args)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr
    assert done.stderr.startswith("ygg: ")
    assert done.stderr.count("\n") == 1, "one line, with the way out"


# -- submit, list, show, why, answer -------------------------------------------------------------


def test_submit_says_id_type_and_priority(d: Daemon) -> None:
    words = good(d, "submit", "-p", 1, "Tell", "me", "so").split()
    assert words[1:] == ["general,", "priority", "1"]
    assert ended(d, words[0]).title == "Tell me so"


def test_submit_takes_all_that_a_task_can_say(d: Daemon) -> None:
    task = one(
        d, shapes.TaskView, "submit", "T", "-d", "D", "-l", "a", "-l", "b", "-t", "general",
        "-p", "4", "-k", "mine", "--model", "m", "--system", "S", "-o", "temperature=0.5", "-o",
        "stop=END", "--timeout", "10m", *LATER, "--metadata", '{"mine": [1]}',
    )  # fmt: skip
    assert (task.title, task.description, task.labels) == ("T", "D", ("a", "b"))
    assert (task.type, task.priority, task.key, task.model) == ("general", 4, "mine", "m")
    assert task.options == {"temperature": 0.5, "stop": "END"}
    assert (task.system, task.timeout, task.metadata) == ("S", 600.0, {"mine": [1]})
    assert (task.held, task.not_before) == ("not_before", "2999-01-01T00:00:00.000Z")
    good(d, "cancel", task.id)


def test_a_time_may_be_so_long_from_now(d: Daemon) -> None:
    task = one(d, shapes.TaskView, "submit", "later", "--not-before", "2h")
    assert task.held == "not_before"
    assert task.not_before is not None
    assert task.not_before > task.created_at
    good(d, "cancel", task.id)


def test_submit_wait_ends_by_the_outcome(d: Daemon) -> None:
    done = run(d, "submit", "--wait", "yes?")
    assert (done.returncode, done.stdout) == (0, "h says yes\n")
    # Whoever's wait ends early knows what to ask for.
    assert re.fullmatch(r"ygg: \w{18} is accepted; Ctrl-C leaves it to run\n", done.stderr)
    done = run(d, "submit", "--wait", "yes?", "--json")
    task = msgspec.json.decode(done.stdout, type=shapes.TaskView)
    assert task.outcome == "done"
    cancelled = submit(d, "later", "-k", "waited for", *LATER)
    good(d, "cancel", cancelled)
    refused(d, 1, "closed: cancelled", "submit", "later", "-k", "waited for", *LATER, "--wait")


def test_wait_ends_with_the_last_of_its_tasks_by_their_outcomes(d: Daemon) -> None:
    ids = [submit(d, f"waited {n}") for n in range(2)]
    lines = good(d, "wait", *ids).splitlines()
    assert lines == [f"{task_id}  closed (done)" for task_id in ids]
    assert [task.id for task in lines_of(d, shapes.TaskView, "wait", *ids)] == ids
    cancelled = submit(d, "later", *LATER)
    good(d, "cancel", cancelled)
    done = run(d, "wait", cancelled, "typo", ids[0])
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stdout.splitlines()] == [cancelled, ids[0]]
    assert done.stderr.startswith("ygg: no task 'typo'")


def test_a_wait_has_an_end_if_one_is_set(d: Daemon) -> None:
    first, second = (submit(d, "later", *LATER) for _ in range(2))
    refused(d, 1, f"{first} and 1 id after it had not ended after 0.2 s",
            "wait", "--timeout", "0.2s", first, second)  # fmt: skip
    done = run(d, "submit", "--wait", "--wait-limit", "0.2s", "later", *LATER)
    assert (done.returncode, done.stdout) == (1, "")
    told = re.search(r"(\w{18}) goes on after 0.2 s: `ygg wait \1` waits on", done.stderr)
    assert told, done.stderr
    refused(d, 2, "--wait-limit is for --wait", "submit", "x", "--wait-limit", "2s")
    good(d, "cancel", first, second, told[1])


def test_list_shows_what_is_asked_for(d: Daemon) -> None:
    ids = [submit(d, f"listed {n}", "-p", n, *LATER) for n in (0, 3)]
    text = run(d, "list", "-n", 2)
    assert text.stderr == "ygg: these are the latest 2; --limit 0 lists all\n"
    heading, last, first = text.stdout.splitlines()
    assert heading.split() == ["ID", "STATUS", "PRI", "AGE", "TYPE", "HOST", "TITLE"]
    assert last.startswith(f"{ids[1]}  open ")
    assert last.endswith("listed 3")
    assert first.startswith(ids[0])
    assert [t.id for t in lines_of(d, shapes.TaskView, "list", "-n", 2)] == ids[::-1]
    assert [t.id for t in lines_of(d, shapes.TaskView, "list", "-p", 3, "-n", 1)] == [ids[1]]
    every = lines_of(d, shapes.TaskView, "list", "-n", 0)
    assert len(every) == sum(d.client.call("GET", "/v1/status")["counts"].values())
    nothing = run(d, "list", "--type", "reasoning", "--status", "closed", "--error", "x")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr == "ygg: no task is like that\n"
    assert lines_of(d, shapes.TaskView, "list", "--error", "nobody said this") == []
    good(d, "cancel", *ids)


def test_show_tells_the_whole_story(d: Daemon) -> None:
    task_id = submit(d, "look at me")
    ended(d, task_id)
    text = good(d, "show", task_id)
    for said in ("look at me", "closed (done)", "accepted", "started on h (m), attempt 1",
                 "answered with 3 tokens, after running", f"`ygg answer {task_id}`"):  # fmt: skip
        assert said in text
    story = one(d, shapes.TaskStory, "show", task_id)
    assert [row.kind for row in story.history] == ["accepted", "started", "closed"]


def test_why_says_what_a_task_waits_for(d: Daemon) -> None:
    task_id = submit(d, "later", *LATER)
    assert "its time has not come" in good(d, "why", task_id)
    why = one(d, shapes.Why, "why", task_id)
    assert [(option.host, option.reason) for option in why.options] == [("h", "not_before")]
    good(d, "cancel", task_id)
    assert "it is closed (cancelled)" in good(d, "why", task_id)


def test_answer_prints_the_answer_and_says_why_there_is_none(d: Daemon) -> None:
    task_id = submit(d, "answer me")
    ended(d, task_id)
    assert good(d, "answer", task_id) == "h says yes\n"
    assert json.loads(good(d, "answer", task_id, "--json")) == {
        "id": task_id, "thinking": False, "text": "h says yes", "finish": "stop",
    }  # fmt: skip
    refused(d, 1, "showed no thinking", "answer", task_id, "--thinking")
    waiting = submit(d, "later", *LATER)
    refused(d, 1, "still waits", "answer", waiting)
    good(d, "cancel", waiting)


# -- orders --------------------------------------------------------------------------------------


def test_cancel_ends_tasks_that_wait_and_that_run(d: Daemon) -> None:
    ids = [submit(d, "later", *LATER), running(d)]
    assert good(d, "cancel", *ids) == "".join(f"{i}  closed (cancelled)\n" for i in ids)
    assert [t.outcome for t in lines_of(d, shapes.TaskView, "cancel", *ids)] == ["cancelled"] * 2


def test_what_has_ended_well_is_not_cancelled(d: Daemon) -> None:
    task_id = submit(d, "quick")
    ended(d, task_id)
    refused(d, 1, "there is nothing to cancel", "cancel", task_id)
    refused(d, 1, "only a blocked task can be retried", "retry", task_id)
    refused(d, 1, "only an open task", "next", task_id)


def test_a_task_is_put_next_and_back_and_its_priority_changed(d: Daemon) -> None:
    task_id = submit(d, "later", *LATER)
    assert "runs next" in good(d, "next", task_id)
    assert one(d, shapes.TaskView, "next", task_id).run_next is True
    assert one(d, shapes.TaskView, "next", task_id, "--undo").run_next is False
    assert good(d, "priority", 0, task_id) == f"{task_id}  open (not before), priority 0\n"
    assert one(d, shapes.TaskView, "priority", 4, task_id).priority == 4
    story = good(d, "show", task_id)
    assert "priority 0 (critical) instead of 2 (normal)" in story
    assert "runs next, before all others" in story
    assert "no longer runs next" in story
    good(d, "cancel", task_id)


def test_a_task_is_held_and_released(d: Daemon) -> None:
    first, held = running(d), running(d)  # all slots are taken
    waiting = submit(d, "waits", "-t", "reasoning")
    assert "held by hand" in good(d, "hold", waiting)
    assert f"`ygg release {waiting}`" in good(d, "show", waiting)
    assert one(d, shapes.TaskView, "hold", waiting).held == "held"
    assert one(d, shapes.TaskView, "release", waiting).held is None
    good(d, "cancel", waiting, held, first)


# -- hosts ---------------------------------------------------------------------------------------


def test_a_limit_is_pinned_by_hand_and_given_back(d: Daemon) -> None:
    assert good(d, "limit", "h", 1, "--reason", "games") == "h: pinned at 1\n"
    host = one(d, shapes.HostStatus, "limit", "h", 1, "--for", "2h", "--reason", "games")
    assert host.pin is not None
    assert (host.limit, host.pinned, host.pin.reason) == (1, True, "games")
    assert host.pin.until is not None
    assert "pinned at 1" in good(d, "status")
    assert good(d, "limit", "h", "auto") == "h: no longer pinned by hand, limit 2\n"
    assert one(d, shapes.HostStatus, "limit", "h", "auto").pinned is False
    refused(d, 2, "outside the bounds of h", "limit", "h", 99)


def test_a_host_is_paused_and_resumed(d: Daemon) -> None:
    assert good(d, "pause", "h", "--reason", "new driver") == "h: paused\n"
    host = one(d, shapes.HostStatus, "pause", "h", "--for", "30m")
    assert host.pause is not None
    assert host.pause.until is not None
    assert "paused" in good(d, "status")
    assert good(d, "resume", "h") == "h: takes tasks again\n"
    assert one(d, shapes.HostStatus, "resume", "h").paused is None


# -- the whole -----------------------------------------------------------------------------------


def test_status_is_the_whole_picture(d: Daemon) -> None:
    task_id = running(d)
    text = good(d, "status")
    assert "HOST  STATE  ACTIVE  AVAILABLE_SLOTS  LIMIT" in text
    assert f"  {task_id}  normal" in text
    status = one(d, shapes.DispatcherStatus, "status")
    assert [host.name for host in status.hosts] == ["h", "shut"]
    good(d, "cancel", task_id)


def test_events_are_rows_of_the_journal_in_words(d: Daemon) -> None:
    task_id = submit(d, "eventful")
    ended(d, task_id)
    told = good(d, "events", "--after", 0, "--task", task_id, "-n", 3).splitlines()
    assert [line.split("  ", 2)[1] for line in told] == [task_id] * 3
    assert told[0].endswith("accepted")
    assert "started on h (m), attempt 1" in told[1]
    assert "answered with 3 tokens" in told[2]
    rows = lines_of(d, shapes.RowView, "events", "--after", 0, "--task", task_id, "-n", 3)
    assert [row.kind for row in rows] == ["accepted", "started", "closed"]
    about_hosts = lines_of(d, shapes.RowView, "events", "--after", 0, "--kind", "configured",
                           "--kind", "host", "-n", 2)  # fmt: skip
    assert {row.kind for row in about_hosts} == {"configured", "host"}


def test_events_go_on_until_ctrl_c(d: Daemon) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "ygg.cli", "events", "--json", "--url", d.url],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as following:  # fmt: skip
        assert following.stdout is not None
        # Once it is connected; until then a task may come before it.
        seen = list[str]()
        reader = threading.Thread(target=lambda: seen.extend(following.stdout or ()))
        reader.start()
        until(lambda: bool(submit(d, "news") and seen))
        following.send_signal(signal.SIGINT)
        reader.join(30)
        assert following.stderr is not None
        assert (following.wait(30), following.stderr.read()) == (0, "")
    assert msgspec.json.decode(seen[0], type=shapes.RowView).task


def test_a_kind_that_there_is_none_of_is_wrong_use(d: Daemon) -> None:
    refused(d, 2, "--kind: ", "events", "--kind", "nonsense")
    refused(d, 1, "no task", "events", "--task", "nonsense")


# -- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("submit", "-p", "9", "x"), "priority"),
        (("submit", "-t", "poetry", "x"), "poetry"),
        (("submit", "--model", "gpt-9", "x"), "gpt-9"),
        (("submit",), "nothing to submit"),
        (("submit", "--file", "nowhere.jsonl"), "nowhere.jsonl can't be read"),
        (("submit", "--file", "f", "title"), "--file is for many tasks"),
        (("submit", "--key-prefix", "p", "x"), "--key-prefix is for --file"),
        (("retry",), "say which"),
        (("retry", "--drained", "--error", "x"), "say which"),
        (("limit", "h", "many"), "a number of at least 1, or auto"),
        (("limit", "h", "0"), "ygg pause"),
        (("limit", "h", "auto", "--for", "2h"), "leave out --for"),
    ],
)
def test_wrong_use_is_exit_code_2_and_says_what_to_do(
    d: Daemon, args: tuple[str, ...], said: str
) -> None:
    refused(d, 2, said, *args)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("nonsense",), "there is no command 'nonsense'; `ygg help` lists them"),
        (("statsu",), "there is no command 'statsu': did you mean 'status'?"),
        (("list", "--limit", "-1"), "whole number of at least 0"),
        (("list", "--status", "odd"), "'odd' is none of open, in_progress, closed, blocked"),
        (("list", "--status", "opne"), "did you mean 'open'?"),
        (("pause", "h", "--for", "ever"), "no duration: write it like 90 (seconds), 30m, 2h or 1d"),
        (("pause", "h", "--for", "0s"), "no duration"),
        (("pause", "h", "--for", "99999999999d"), "more than a thousand years"),
        (("submit", "x", "-o", "temperature"), "write it like temperature=0.2"),
        (("submit", "x", "--timeout", "soon"), "90 (seconds), 30m, 2h or 1d"),
        (("submit", "x", "--metadata", "{"), "--metadata: no JSON ("),
        (("submit", "x", "--not-before", "soon"), "or so long from now: 90s, 2h, 1d"),
        (("submit", "x", "--wait-limit", "0"), "no duration"),
        (("submit", "x", "--not-before", "99999999999d"), "more than a thousand years"),
        (("submit", "x", "--metadata", "[" * 90_000), "--metadata: nested too deep"),
        (("submit", "x", "--metadata", "[" * 500 + "]" * 500), "--metadata: nested too deep"),
        (("submit", "x", "-o", "a=" + "[" * 90_000), "--option: nested too deep"),
        (("submit", "x", "-o", "a=NaN"), "NaN is no number in JSON"),
        (("submit", "x", "-o", "a=1e999"), "'1e999' has a number that is too large"),
        (("submit", "x", "--metadata", '{"a": [-Infinity]}'), "-Infinity is no number in JSON"),
        (("submit", "x", "--timeout", "\u0663"), "90 (seconds), 30m, 2h or 1d"),
        (("doctor", "--timeout", "soon"), "90 (seconds), 30m, 2h or 1d"),
        (("compare", "--timeout", "nan"), "90 (seconds), 30m, 2h or 1d"),
        (("limit", "h", "\u0663"), "'\u0663' is no limit"),
        (("limit", "h", "9" * 5000), "is no limit"),
        (("submit", "x", "-p", "\u0663"), "no whole number"),
        (("priority", "\u0663", "x"), "no whole number"),
        (("list", "-n", "\u0663"), "no whole number"),
        (("show", ""), "argument ID: '' names nothing"),
        (("why", " "), "argument ID: ' ' names nothing"),
        (("cancel", "a", ""), "argument ID: '' names nothing"),
        (("answer", ".."), "argument ID: '..' names nothing"),
        (("pause", ""), "argument HOST: '' names nothing"),
        (("events", "--task", ""), "argument --task: '' names nothing"),
        (("priority", "7", "x"), "'7' is none of 0, 1, 2, 3, 4"),
        (
            ("status", "--hots"),
            "unrecognized arguments: --hots: did you mean '--hosts'? `ygg status --",
        ),
        (("events", "extra"), "ygg events: unrecognized arguments: extra"),
        (("--json", "status"), "flags stand behind the command: ygg COMMAND --json"),
        (("--url", "http://h:1", "status"), "flags stand behind the command: ygg COMMAND --url"),
        (("help", "statsu"), "did you mean 'status'?"),
        (("show",), "required: ID"),
    ],
)
def test_what_the_parser_refuses_is_exit_code_2_too(args: tuple[str, ...], said: str) -> None:
    done = ygg(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_help_is_what_the_flag_shows() -> None:
    for words, same in (
        (("help",), ("--help",)),
        (("help", "status"), ("status", "--help")),
        (("help", "demo"), ("demo", "--help")),
    ):
        done = ygg(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == ygg(*same).stdout
        assert done.stdout.startswith("usage: ")


@pytest.mark.parametrize(
    "args",
    [
        ("show", "none"), ("why", "none"), ("answer", "none"), ("cancel", "none"),
        ("retry", "none"), ("next", "none"), ("priority", "1", "none"), ("hold", "none"),
        ("release", "none"), ("show", "../status"), ("show", "é"), ("show", "a b"),
    ],
)  # fmt: skip
def test_an_id_that_nobody_has_is_exit_code_1(d: Daemon, args: tuple[str, ...]) -> None:
    refused(d, 1, "no task" if args[-1] else "", *args)


@pytest.mark.parametrize("args", [("limit", "no", "1"), ("pause", "no"), ("resume", "no"),
                                  ("limit", "no", "auto")])  # fmt: skip
def test_a_host_that_is_not_there_is_exit_code_2_and_the_known_are_named(
    d: Daemon, args: tuple[str, ...]
) -> None:
    refused(d, 2, "known: h, shut", *args)


def test_a_list_of_what_is_not_there_says_so(d: Daemon) -> None:
    refused(d, 2, "no host 'typo'; known: h, shut", "list", "--host", "typo")
    refused(d, 2, "no type 'typo'; known: general, reasoning", "list", "-t", "typo", "--json")
    done = run(d, "list", "--host", "shut", "--error", "nobody said this")
    assert (done.returncode, done.stderr) == (0, "ygg: no task is like that\n")


@pytest.mark.parametrize("command", ["loop", "check", "doctor"])
def test_settings_that_are_not_there_are_exit_code_2_everywhere(
    tmp_path: Path, command: str
) -> None:
    for missing in (tmp_path / "nowhere.yaml", tmp_path):
        done = ygg(command, "--hosts", missing, "--state", tmp_path / "state")
        assert done.returncode == 2, done.stderr
        assert str(missing) in done.stdout + done.stderr


@pytest.mark.parametrize("command", [("cancel",), ("next",), ("priority", "3"), ("hold",)])
def test_an_id_that_fails_keeps_no_other_from_its_turn(d: Daemon, command: tuple[str, ...]) -> None:
    ids = [submit(d, "later", *LATER) for _ in range(2)]
    done = run(d, *command, ids[0], "typo", ids[1])
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stdout.splitlines()] == ids
    assert done.stderr.startswith("ygg: no task 'typo': ")
    assert done.stderr.count("\n") == 1
    good(d, "cancel", *ids)


def test_ids_that_nobody_could_be_asked_about_are_counted() -> None:
    done = ygg("hold", "a", "b", "c", "--url", "http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.endswith("; not known to be done: a and 2 ids after it\n")


def test_a_cut_answer_is_said_to_be_cut(tmp_path: Path) -> None:
    servers = Servers()
    server = servers.start("h")
    server.finish = "length"
    with daemon(tmp_path / "d", hosts_yaml({"h": (server, 2)})) as d:
        done = run(d, "submit", "--wait", "yes?")
        assert (done.returncode, done.stdout) == (0, "h says yes\n")
        assert "was cut after 3 tokens: raise the limit with --option num_" in done.stderr
        task_id = json.loads(run(d, "list", "--json").stdout)["id"]
        told = f"ygg: the answer of {task_id} was cut after 3 tokens"
        done = run(d, "answer", task_id)
        assert (done.returncode, done.stdout) == (0, "h says yes\n")
        assert done.stderr.startswith(told)
        done = run(d, "answer", task_id, "--json")
        assert json.loads(done.stdout)["finish"] == "length"
        assert done.stderr.startswith(told)
    servers.close()


@pytest.mark.parametrize(
    "args",
    [
        ("status",), ("status", "--watch"), ("submit", "x"), ("submit", "--wait", "x"),
        ("list",), ("show", "x"), ("why", "x"), ("answer", "x"), ("cancel", "x"), ("retry", "x"),
        ("retry", "--drained"), ("next", "x"), ("priority", "1", "x"), ("hold", "x"),
        ("release", "x"), ("limit", "h", "1"), ("limit", "h", "auto"), ("pause", "h"),
        ("resume", "h"), ("events",),
    ],
)  # fmt: skip
def test_where_nobody_is_there_it_is_exit_code_3_with_the_way_out(args: tuple[str, ...]) -> None:
    done = ygg(*args, "--url", "http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (3, "")
    assert "ygg loop --async" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://x", "is no address of a dispatcher"),
        ("unix:", "names no socket"),
        ("http://me:secret@x", "YGG_TOKEN"),
    ],
)
def test_a_url_that_is_none_is_wrong_use(url: str, said: str) -> None:
    done = ygg("status", "--url", url)
    assert done.returncode == 2
    assert said in done.stderr
    assert "secret" not in done.stderr


def test_a_socket_that_nobody_listens_at_is_exit_code_3(tmp_path: Path) -> None:
    done = ygg("status", "--url", f"unix:{tmp_path / 'none.sock'}")
    assert done.returncode == 3
    assert "none.sock" in done.stderr


def test_a_flag_goes_before_the_environment(d: Daemon) -> None:
    assert ygg("status", "--url", d.url, env={"YGG_URL": "http://127.0.0.1:1"}).returncode == 0


def test_a_reader_that_goes_away_is_no_failure(d: Daemon) -> None:
    with subprocess.Popen(
        ["bash", "-c", 'set -o pipefail; "$0" -m ygg.cli list -n 0 --json | head -n 1',
         sys.executable],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "YGG_URL": d.url},
    ) as pipe:  # fmt: skip
        out, err = pipe.communicate(timeout=60)
    assert out.count("\n") <= 1
    assert "Traceback" not in err
    assert "Exception ignored" not in err


@pytest.mark.parametrize("args", [("status",), ("status", "--json"), ("list", "--json")])
def test_a_full_disk_is_said_in_a_line(d: Daemon, args: tuple[str, ...]) -> None:
    submit(d, "so that there is something to list", *LATER)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ygg.cli", *args],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
            env={**os.environ, "YGG_URL": d.url},
        )  # fmt: skip
    said = "ygg: the output can't be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_an_argument_that_is_no_text_is_wrong_use(d: Daemon) -> None:
    done = run(d, "submit", os.fsdecode(b"\xff"))
    assert done.returncode == 2
    assert done.stderr == "ygg: argument 2 is no text in UTF-8: '\\udcff'\n"


def test_standard_input_that_is_no_text_is_wrong_use(d: Daemon) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ygg.cli", "submit"],
        input=b"good \xff", capture_output=True, timeout=60, check=False,
        env={**os.environ, "YGG_URL": d.url},
    )  # fmt: skip
    assert done.returncode == 2
    assert b"standard input is no text in UTF-8 (byte 6: invalid start byte)" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_standard_input_without_end_is_wrong_use(d: Daemon) -> None:
    with Path("/dev/zero").open("rb") as zeros:
        done = subprocess.run(
            [sys.executable, "-m", "ygg.cli", "submit"],
            stdin=zeros, capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "YGG_URL": d.url},
        )  # fmt: skip
    assert done.returncode == 2
    assert "standard input has more than 16777216 bytes" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("list >&-", 0, ""),
        ("submit x <&- >&-", 0, ""),
        ("submit <&-", 2, "nothing to submit"),
        ("submit --file - <&-", 2, "standard input has no line with a task"),
        ("show nobody 2>&-", 1, ""),
    ],
)
def test_what_is_closed_is_an_empty_file(d: Daemon, command: str, code: int, said: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f'"$0" -m ygg.cli {command}', sys.executable],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "YGG_URL": d.url},
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert said in done.stderr


def help_of(*args: str) -> str:
    done = ygg(*args, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_help_teaches_by_example() -> None:
    names = next(a for a in make_parser()._actions if a.dest == "command").choices
    assert names is not None
    top = help_of()
    assert "exit codes: 0 done" in top
    for name in names:
        assert name in top
    for name in ("submit", "retry", "events"):
        text = help_of(name)
        assert text.count(f"ygg {name}") >= 4


def test_completion_completes_commands_and_flags_in_bash(tmp_path: Path) -> None:
    script = tmp_path / "ygg.bash"
    script.write_text(ygg("completion", "bash").stdout)
    asked = (
        f". {script}; complete -p ygg;"
        "f=$(complete -p ygg | sed 's/.*-F \\([^ ]*\\).*/\\1/');"
        "COMP_WORDS=(ygg sta); COMP_CWORD=1; $f; echo ${COMPREPLY[@]};"
        "COMP_WORDS=(ygg submit --pri); COMP_CWORD=2; $f; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(
        ["bash", "-c", asked], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-2:] == ["status", "--priority"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_every_shell_knows_every_command(shell: str) -> None:
    done = ygg("completion", shell)
    assert done.returncode == 0, done.stderr
    for name in ("submit", "status", "completion", "watch"):
        assert name in done.stdout


def test_a_retry_of_what_no_host_serves_any_more_says_so(tmp_path: Path) -> None:
    servers = Servers()
    fleet = {"h": (servers.start("h"), 1)}
    old = "types: {general: {run: [h]}, old: {run: [h], command: [/bin/false]}}\n"
    try:
        with daemon(tmp_path / "d", hosts_yaml(fleet, extra=old)) as d:
            ids = [good(d, "submit", "-q", "-t", "old", "x").strip() for _ in range(2)]
            until(lambda: counts(d) == {"blocked": 2})
            d.end()
        with daemon(tmp_path / "d", hosts_yaml(fleet)) as d:
            one = run(d, "retry", ids[0])
            rest = lines_of(d, shapes.Retried, "retry", "--error", "exit code 1", "--yes")
            why = good(d, "why", ids[0])
    finally:
        servers.close()
    assert (one.returncode, one.stdout) == (0, "1 task is open again\n")
    assert one.stderr == (
        "ygg: no host serves it any more: it waits until one is in the `run:` of its type; "
        f"`ygg why {ids[0]}` says more\n"
    )
    assert rest == [shapes.Retried(count=1, tasks=(ids[1],), unserved=(ids[1],))]
    assert "serves type old (no_host): add one to the `run:` of the type and restart the " in why
    assert f"or `ygg cancel {ids[0]}`" in why

"""What people see: in terminals narrow and wide, in colour or not, and as it changes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.system.daemons import Daemon, ModelServer, Servers, daemon, hosts_yaml, until
from tests.system.terminals import at_a_terminal, terminal, without_codes
from ygg import shapes
from ygg.printing import columns

pytestmark = pytest.mark.system

CODE = "\x1b["


@pytest.fixture
def server(servers: Servers) -> ModelServer:
    """It answers once its gate is open."""
    only = servers.start("h")
    servers.gate(only, is_open=False)
    return only


@pytest.fixture
def d(tmp_path: Path, servers: Servers, server: ModelServer) -> Iterator[Daemon]:
    """One task runs, one waits for a slot, one for a time."""
    hosts = hosts_yaml({"surtr-reasoning": (server, 1)})
    with daemon(tmp_path / "d", hosts) as running:
        ask = running.client.call
        ask("POST", "/v1/tasks", {"title": "a task of " + "very " * 20 + "many words"})
        until(lambda: server.running == 1)
        ask("POST", "/v1/tasks", {"title": "waits", "priority": 0})
        ask("POST", "/v1/tasks", {"title": "later", "not_before": "2999-01-01T00:00:00Z"})
        yield running
    servers.gate(server, is_open=True)


COMMANDS = (("status",), ("list",), ("show", "ID"), ("why", "ID"))


def commands(d: Daemon) -> Iterator[tuple[str, ...]]:
    task_id = next(iter(d.client.tasks(status="open")))["id"]
    for command in COMMANDS:
        yield tuple(task_id if word == "ID" else word for word in command)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(d: Daemon, width: int) -> None:
    for command in commands(d):
        code, text = at_a_terminal(*command, "--url", d.url, columns=width)
        assert code == 0, text
        for line in without_codes(text).splitlines():
            assert columns(line) <= width, (command, line)


def test_a_wide_terminal_has_what_a_narrow_one_leaves_out(d: Daemon) -> None:
    _, narrow = at_a_terminal("list", "--url", d.url, columns=40)
    _, wide = at_a_terminal("list", "--url", d.url, columns=200)
    assert "HOST" not in narrow
    assert "HOST" in wide
    assert "many words" in wide


def test_colour_is_for_terminals_that_want_it(d: Daemon) -> None:
    _, coloured = at_a_terminal("status", "--url", d.url)
    assert f"{CODE}32mup{CODE}0m" in coloured
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        for command in commands(d):
            code, text = at_a_terminal(*command, "--url", d.url, env=env)
            assert (code, CODE in text) == (0, False), text
    _, empty = at_a_terminal("status", "--url", d.url, env={"NO_COLOR": ""})
    assert CODE in empty, "an empty NO_COLOR says nothing"


def test_a_task_can_not_command_the_terminal(d: Daemon) -> None:
    d.client.call("POST", "/v1/tasks", {"title": "\x1b]0;owned\x07\x1b[2Jnice"})
    task_id = next(iter(d.client.tasks()))["id"]
    for command in (("list",), ("status",), ("show", task_id)):
        _, text = at_a_terminal(*command, "--url", d.url, columns=200)
        assert "\x1b]0" not in text
        assert "\x1b[2J" not in text
        assert "\x07" not in text


# -- questions -----------------------------------------------------------------------------------


@pytest.fixture
def blocked(tmp_path: Path, servers: Servers) -> Iterator[Daemon]:
    """Two tasks that a command blocked."""
    types = "types:\n  odd: {run: [h], command: ['false']}\n"
    with daemon(tmp_path / "b", hosts_yaml({"h": (servers.start("h"), 2)}, extra=types)) as d:
        d.client.call("POST", "/v1/tasks", [{"title": "a", "type": "odd"}] * 2)
        until(lambda: len(list(d.client.tasks(status="blocked"))) == 2)
        d.client.call("PUT", "/v1/hosts/h/pause", {})
        yield d


def test_retry_of_many_asks_after_showing_how_many(blocked: Daemon) -> None:
    d = blocked
    with terminal("retry", "--error", "exit", "--url", d.url) as t:
        t.until(lambda text: "2 blocked tasks go back to the backlog. Go on? [y/N]" in text)
        t.send("n")
        assert t.end() == 1
        assert "nothing was changed" in t.shown
    assert len(list(d.client.tasks(status="blocked"))) == 2
    code, text = at_a_terminal("retry", "--error", "exit", "--dry-run", "--url", d.url)
    assert (code, "2 blocked tasks would go back" in text) == (0, True)
    with terminal("retry", "--error", "exit", "--url", d.url) as t:
        t.until(lambda text: "[y/N]" in text)
        t.send("y")
        assert t.end() == 0
        assert "2 tasks are open again" in t.shown
    assert list(d.client.tasks(status="blocked")) == []


def test_ctrl_c_at_the_question_changes_nothing_and_ends_it_at_once(blocked: Daemon) -> None:
    with terminal("retry", "--error", "exit", "--url", blocked.url) as t:
        t.until(lambda text: "[y/N]" in text)
        t.press("C")
        assert t.end() == 130
        assert "Traceback" not in t.shown
        assert t.shown.endswith("\n"), "the shell's prompt stands on a line of its own"
    assert len(list(blocked.client.tasks(status="blocked"))) == 2


def test_retry_does_not_ask_when_told_so(blocked: Daemon) -> None:
    code, text = at_a_terminal("retry", "--error", "exit", "--yes", "--url", blocked.url)
    assert (code, text) == (0, "2 tasks are open again\n")


# -- watch ---------------------------------------------------------------------------------------


def test_watch_draws_in_place_as_it_changes_and_ctrl_c_ends_it(
    d: Daemon, servers: Servers, server: ModelServer
) -> None:
    with terminal("status", "--watch", "--url", d.url) as t:
        t.until(lambda text: "1 in_progress" in text)
        assert t.shown.startswith("\x1b[?1049h\x1b[?25l"), "a screen of its own"
        servers.gate(server, is_open=True)
        t.until(lambda text: "2 closed" in text)
        frames = t.shown.count("\x1b[H")
        assert frames >= 2
        assert "\x1b[2J" not in t.shown, "what is cleared first flickers"
        t.press("C")
        assert t.end() == 0
        _, _, after = t.shown.rpartition("\x1b[?25h\x1b[?1049l")
    assert "2 closed" in after, "what was seen last stays to be read"
    assert "Traceback" not in t.shown


def test_watch_fits_the_terminal_and_follows_its_size(d: Daemon) -> None:
    with terminal("status", "--watch", "--url", d.url, columns=100, lines=6) as t:
        t.until(lambda text: "lines more: a taller window" in text)
        for frame in t.shown.split("\x1b[H")[1:]:
            assert frame.count("\n") < 6
        seen = len(t.shown)
        t.resize(40, 50)
        t.until(lambda text: "ACTIVE  FREE" in text[seen:])
        assert "a taller window" not in t.shown[seen:].split("\x1b[H")[-1]
        t.process.send_signal(signal.SIGINT)
        assert t.end() == 0


def test_watch_waits_for_a_dispatcher_that_goes_away(
    tmp_path: Path, servers: Servers, server: ModelServer
) -> None:
    hosts = hosts_yaml({"h": (server, 1)})
    with daemon(tmp_path / "w", hosts) as d:
        url = d.url
        with terminal("status", "--watch", "--url", url) as t:
            t.until(lambda text: "process " in text)
            d.client.call("POST", "/v1/tasks", {"title": "a"})
            d.process.kill()
            d.process.wait(10)
            t.until(lambda text: "this is how it was: no dispatcher answers" in text)
            t.press("C")
            assert t.end() == 0


def test_watch_tells_of_a_dispatcher_that_does_not_answer(d: Daemon) -> None:
    with terminal("status", "--watch", "--url", d.url) as t:
        t.until(lambda text: "process " in text)
        d.client.call("POST", "/v1/tasks", {"title": "a"})
        d.process.send_signal(signal.SIGSTOP)
        try:
            t.until(lambda text: "this is how it was: no answer for " in text)
        finally:
            d.process.send_signal(signal.SIGCONT)
        t.press("C")
        assert t.end() == 0


def test_watch_writes_where_there_is_no_terminal(d: Daemon) -> None:
    for flags in ((), ("--json",)):
        with subprocess.Popen(
            [sys.executable, "-m", "ygg.cli", "status", "--watch", *flags, "--url", d.url],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as watching:  # fmt: skip
            assert watching.stdout is not None
            first = watching.stdout.readline()
            d.client.call("POST", "/v1/tasks", {"title": "news"})
            if flags:
                json.loads(first)
                second = msgspec.json.decode(
                    watching.stdout.readline(), type=shapes.DispatcherStatus
                )
                assert second.counts["open"] >= 1
            else:
                assert first.startswith("ygg ")
                lines = iter(watching.stdout.readline, "")
                assert next(line for line in lines if line.startswith("ygg "))
            watching.send_signal(signal.SIGINT)
            rest, said = watching.communicate(timeout=30)
            assert (watching.returncode, said) == (0, "")
            assert CODE not in rest

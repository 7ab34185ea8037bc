"""`ygg loop` without --async: the legacy threads as a real process, on the same store."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.system.daemons import Servers, all_closed, counts, daemon, hosts_yaml, until, ygg

pytestmark = pytest.mark.system

LEGACY = ("loop",)


def test_it_says_what_it_is_and_how_to_start_the_real_one(servers: Servers, tmp_path: Path) -> None:
    hosts = hosts_yaml({"h": (servers.start("h"), 2)})
    with daemon(tmp_path / "d", hosts, command=LEGACY) as d:
        said = d.log.read_text().splitlines()[0]
        assert "legacy dispatcher" in said
        assert "`ygg loop --async`" in said
        assert d.end() == 0


def test_while_it_runs_it_is_not_to_be_taken_for_the_real_one(
    servers: Servers, tmp_path: Path
) -> None:
    server = servers.start("h")
    servers.gate(server, is_open=False)
    with daemon(tmp_path / "d", hosts_yaml({"h": (server, 2)}), command=LEGACY) as d:
        for number in range(2):
            assert ygg("submit", f"t{number}", "--url", d.url).returncode == 0
        until(lambda: server.running == 1)
        assert json.loads(ygg("status", "--json", "--url", d.url).stdout)["mode"] == "threads"
        assert "it is the legacy dispatcher" in ygg("status", "--url", d.url).stdout
        why = ygg("why", _first(d.url), "--url", d.url).stdout
        assert "first come, first served" in why
        assert "most urgent" not in why
        (serving,) = (line for line in d.log.read_text().splitlines() if "event=serving" in line)
        assert serving.endswith(" mode=threads")
        servers.gate(server, is_open=True)
        until(all_closed(d, 2))
    with daemon(tmp_path / "real", hosts_yaml({"h": (server, 2)})) as d:
        assert json.loads(ygg("status", "--json", "--url", d.url).stdout)["mode"] == "async"
        assert "legacy" not in ygg("status", "--url", d.url).stdout


def test_the_same_commands_work_and_the_checker_finds_its_inversions(
    servers: Servers, tmp_path: Path
) -> None:
    server = servers.start("h")
    servers.gate(server, is_open=False)
    with daemon(tmp_path / "d", hosts_yaml({"h": (server, 7)}), command=LEGACY) as d:
        for priority in (3, 2, 1, 0):
            done = ygg("submit", "-l", "reasoning", "-p", priority, f"p{priority}", "--url", d.url)
            assert done.returncode == 0, done.stderr
            until(lambda: server.running == 1)  # the first, before the others come
        status = json.loads(ygg("status", "--json", "--url", d.url).stdout)
        assert [host["active"] for host in status["hosts"]] == [1]
        assert status["waiting"]["total"] == 3
        servers.gate(server, is_open=True)
        until(all_closed(d, 4))
        assert server.asked == ["p3", "p2", "p1", "p0"]
        assert "closed (done)" in ygg("show", _first(d.url), "--url", d.url).stdout
        assert d.end() == 0
    report = json.loads(ygg("check-journal", "--json", "--state", tmp_path / "d").stdout)
    found = {kind: count for kind, count in report["counts"].items() if count}
    # When the first started it was alone, and after the last nothing was left.
    assert found == {"inversion": 2}


def _first(url: str) -> str:
    return str(json.loads(ygg("list", "-n", 1, "--json", "--url", url).stdout)["id"])


def test_ctrl_c_loses_nothing_and_the_real_dispatcher_takes_over(
    servers: Servers, tmp_path: Path
) -> None:
    server = servers.start("h")
    servers.gate(server, is_open=False)
    extra = "dispatcher: {after_drain: reopen, drain_seconds: 0.1}\n"
    hosts = hosts_yaml({"h": (server, 4)}, extra=extra)
    with daemon(tmp_path / "d", hosts, command=LEGACY) as d:
        d.client.call(
            "POST", "/v1/tasks", [{"title": f"t{n}", "type": "general"} for n in range(6)]
        )
        until(lambda: server.running == 1)
        assert d.end(signal.SIGINT) == 0
    servers.gate(server, is_open=True)
    with daemon(tmp_path / "d", hosts) as d:
        until(all_closed(d, 6))
        assert counts(d) == {"closed": 6}
        assert d.end() == 0

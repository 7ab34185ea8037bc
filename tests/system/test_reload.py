"""hosts.yaml edited under the real daemon while tasks run."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.system.daemons import (
    Daemon,
    ModelServer,
    Servers,
    all_closed,
    counts,
    daemon,
    hosts_yaml,
    until,
    ygg,
)
from ygg.client import Problem

pytestmark = pytest.mark.system


def edit(running: Daemon, text: str) -> None:
    """As most editors do: written beside it, then renamed."""
    new = running.state / ".hosts.yaml.swp"
    new.write_text(text)
    new.rename(running.state / "hosts.yaml")


def status(running: Daemon) -> Any:
    return running.client.call("GET", "/v1/status")


def hosts(running: Daemon) -> dict[str, Any]:
    return {host["name"]: host for host in status(running)["hosts"]}


def metric(running: Daemon, name: str) -> float | None:
    page = running.client.text("GET", "/metrics")
    found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
    return None if found is None else float(found[1])


def submit(running: Daemon, count: int, **more: object) -> None:
    tasks = [{"title": f"t{n}", **more} for n in range(count)]
    running.client.call("POST", "/v1/tasks", tasks)


def proven(state: Path) -> None:
    done = ygg("check-journal", "--state", state)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hosts_come_change_and_go_while_tasks_run(tmp_path: Path, servers: Servers) -> None:
    a, b = servers.start("a"), servers.start("b")
    for server in (a, b):
        servers.gate(server, is_open=False)
    with daemon(tmp_path / "d", hosts_yaml({"a": (a, 1)})) as d:
        submit(d, 12)
        until(lambda: a.running == 1)
        taken_at = metric(d, "ygg_config_last_reload_timestamp_seconds")
        assert taken_at is not None

        edit(d, hosts_yaml({"a": (a, 1), "b": (b, 2)}))
        until(lambda: b.running == 2)
        assert a.running == 1
        assert (metric(d, "ygg_config_last_reload_timestamp_seconds") or 0.0) > taken_at

        (d.state / "hosts.yaml").write_text(hosts_yaml({"a": (a, 3), "b": (b, 2)}))  # in place
        until(lambda: a.running == 3)

        edit(d, hosts_yaml({"a": (a, 3)}))
        until(lambda: hosts(d).get("b", {}).get("url") == "")
        assert (len(b.asked), b.running) == (2, 2), "it ends what it runs"
        assert metric(d, 'ygg_host_slots_active{host="b"}') == 2.0
        servers.gate(b, is_open=True)
        until(lambda: "b" not in hosts(d))
        assert 'host="b"' not in d.client.text("GET", "/metrics")

        edit(d, hosts_yaml({"a": (a, 1)}))
        until(lambda: hosts(d)["a"]["limit"] == 1)
        assert a.running == 3, "a shrink stops nothing"
        a.most = 0
        servers.gate(a, is_open=True)
        until(all_closed(d, 12))
        assert len(b.asked) == 2
        told = ygg("events", "--url", d.url, "--after", "0", "--kind", "configured", "--count", "5")
        assert "host b is added" in told.stdout
        assert d.end() == 0
    proven(d.state)


def test_a_bad_edit_changes_nothing_and_is_told_of_everywhere(
    tmp_path: Path, servers: Servers
) -> None:
    a = servers.start("a")
    good = hosts_yaml({"a": (a, 2)})
    with daemon(tmp_path / "d", good) as d:
        assert metric(d, "ygg_config_last_reload_successful") == 1.0
        edit(d, good.replace("slots:", "slot:"))
        until(lambda: metric(d, "ygg_config_last_reload_successful") == 0.0)
        where = f"{d.state / 'hosts.yaml'}:4"
        (problem,) = status(d)["settings"]["problems"]
        assert problem.startswith(f"{where}: ")
        assert "did you mean 'slots'?" in problem
        shown = ygg("status", "--url", d.url)
        assert "not taken over, it runs with the settings of before" in shown.stdout
        assert where in shown.stdout
        until(lambda: where in d.log.read_text())
        submit(d, 3)
        until(all_closed(d, 3))
        assert hosts(d)["a"]["limit"] == 2
        edit(d, good)
        until(lambda: metric(d, "ygg_config_last_reload_successful") == 1.0)
        assert status(d)["needs_person"] == []
        (d.state / "hosts.yaml").unlink()
        until(lambda: "there is no such file" in str(status(d)["settings"]["problems"]))
        assert list(hosts(d)) == ["a"]
        assert d.end() == 0
    assert d.log.read_text().count("event=reload_failed") == 2


def test_sighup_reads_the_file_and_says_what_came_of_it(tmp_path: Path, servers: Servers) -> None:
    a = servers.start("a")
    with daemon(tmp_path / "d", hosts_yaml({"a": (a, 1)})) as d:
        d.process.send_signal(signal.SIGHUP)
        until(lambda: "event=reloaded" in d.log.read_text())
        assert "changes=0" in d.log.read_text()
        (d.state / "hosts.yaml").write_text(hosts_yaml({"a": (a, 4)}))
        d.process.send_signal(signal.SIGHUP)
        until(lambda: hosts(d)["a"]["limit"] == 4)
        assert d.process.poll() is None
        assert d.end() == 0


def test_the_legacy_dispatcher_takes_it_over_too(tmp_path: Path, servers: Servers) -> None:
    a, b = servers.start("a"), servers.start("b")
    with daemon(tmp_path / "d", hosts_yaml({"a": (a, 1)}), command=("loop",)) as d:
        edit(d, hosts_yaml({"b": (b, 2)}))
        until(lambda: list(hosts(d)) == ["b"])
        submit(d, 3)
        until(all_closed(d, 3))
        assert (len(a.asked), len(b.asked)) == (0, 3)
        assert d.end() == 0


def test_what_takes_a_restart_keeps_its_value_and_says_so(tmp_path: Path, servers: Servers) -> None:
    good = hosts_yaml({"a": (servers.start("a"), 1)})
    with daemon(tmp_path / "d", good) as d:
        edit(d, good + "dispatcher: {listen: '127.0.0.1:1', store: 'sqlite:/nowhere/y.db'}\n")
        until(lambda: len(status(d)["settings"]["needs_restart"]) == 2)
        listen, store = status(d)["settings"]["needs_restart"]
        assert "listen 127.0.0.1:8765 -> 127.0.0.1:1 (only at a restart" in listen
        assert "store none -> sqlite:/nowhere/y.db (only at a restart" in store
        assert "takes a restart: dispatcher: listen" in ygg("status", "--url", d.url).stdout
        submit(d, 1)
        until(all_closed(d, 1))
        assert d.end() == 0


def test_the_last_host_of_a_type_may_go_and_come_back(tmp_path: Path, servers: Servers) -> None:
    a, eyes = servers.start("a"), servers.start("eyes")
    servers.gate(eyes, is_open=False)
    alone = hosts_yaml({"a": (a, 1)})
    both = hosts_yaml({"a": (a, 1), "eyes": (eyes, 1)}, extra="types: {vision: {run: [eyes]}}\n")
    with daemon(tmp_path / "d", both) as d:
        submit(d, 3, type="vision")
        until(lambda: eyes.running == 1)
        (tmp_path / "new.yaml").write_text(alone)
        before = ygg("check", "--hosts", tmp_path / "new.yaml", "--url", d.url).stdout
        assert "a reload would change:" in before
        assert "1 task there may end first" in before
        assert "2 tasks of type vision that wait would be stranded" in before
        edit(d, alone)
        until(lambda: "vision" not in d.client.call("GET", "/v1/config")["types"][0].values())
        servers.gate(eyes, is_open=True)
        until(lambda: counts(d) == {"closed": 1, "open": 2})
        told = [s for s in status(d)["needs_person"] if "no_host" in s]
        assert told == ["2 tasks of type vision wait: no host serves them (no_host)"]
        with pytest.raises(Problem, match="vision") as refused:
            submit(d, 1, type="vision")
        assert refused.value.status == 422
        edit(d, both)
        until(all_closed(d, 3))
        assert d.end() == 0
    proven(d.state)


def test_the_files_pin_wins_over_the_autoscaler_until_it_is_taken_away(
    tmp_path: Path, servers: Servers
) -> None:
    a = servers.start("a")

    def text(slots: str) -> str:
        return f"hosts: {{a: {{url: '{a.url}', api: ollama, model: m, slots: {slots}}}}}\n"

    def call(running: Daemon, expected: int, limit: int) -> str:
        decision = {"expected": expected, "limit": limit, "action": "grow", "reason": "wait"}
        body = {"holder": "it", "hosts": {"a": decision}}
        return str(running.client.call("PUT", "/v1/autoscaler", body)["hosts"]["a"]["effect"])

    with daemon(tmp_path / "d", text("{start: 1, max: 8}")) as d:
        assert call(d, 1, 3) == "resized"
        edit(d, text("{start: 1, max: 8, pin: 2}"))
        until(lambda: hosts(d)["a"]["limit"] == 2)
        assert hosts(d)["a"]["pin"]["from"] == "file"
        assert call(d, 2, 4) == "pinned"
        assert ygg("limit", "a", "5", "--url", d.url).returncode == 1
        edit(d, text("{start: 1, max: 8}"))
        until(lambda: hosts(d)["a"]["limit"] == 3)
        assert call(d, 3, 4) == "resized"
        assert d.end() == 0
    proven(d.state)


def test_a_reload_in_a_drain_is_ignored_and_the_log_says_so(
    tmp_path: Path, servers: Servers
) -> None:
    a, b = servers.start("a"), servers.start("b")
    servers.gate(a, is_open=False)
    with daemon(tmp_path / "d", hosts_yaml({"a": (a, 1)})) as d:
        submit(d, 2)
        until(lambda: a.running == 1)
        d.process.send_signal(signal.SIGTERM)
        until(lambda: status(d)["draining"])
        edit(d, hosts_yaml({"b": (b, 2)}))
        until(lambda: "event=reload_ignored" in d.log.read_text())
        assert list(hosts(d)) == ["a"]
        servers.gate(a, is_open=True)
        assert d.process.wait(60) == 0
        assert b.asked == []


def moved(server: ModelServer, other: ModelServer, text: str) -> str:
    return text.replace(server.url, other.url)


def test_behind_a_name_another_server_may_stand(tmp_path: Path, servers: Servers) -> None:
    old, new = servers.start("old"), servers.start("new")
    servers.gate(old, is_open=False)
    text = hosts_yaml({"a": (old, 2)})
    with daemon(tmp_path / "d", text) as d:
        submit(d, 5)
        until(lambda: old.running == 2)
        edit(d, moved(old, new, text))
        until(lambda: hosts(d)["a"]["url"] == new.url)
        assert old.running == 2
        servers.gate(old, is_open=True)
        until(all_closed(d, 5))
        assert (len(old.asked), len(new.asked)) == (2, 3)
        assert d.end() == 0
    proven(d.state)

"""The daemon as its user has it: a process, its HTTP, its signals, its files."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.system.daemons import (
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

ONE_TYPE_EACH = """
types:
  reasoning: {run: [surtr]}
  text-processing: {run: [fenrir]}
  code-generation: {run: [skadi]}
"""


def proven(state: Path) -> str:
    """What the journal's checker prints; it must be clean."""
    done = ygg("check-journal", "--state", state)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_hundreds_of_tasks_arrive_at_each_server_in_order(tmp_path: Path, servers: Servers) -> None:
    fleet = {name: (servers.start(name), 1) for name in ("surtr", "fenrir", "skadi")}
    for server, _ in fleet.values():
        servers.gate(server, is_open=False)
    types = {"surtr": "reasoning", "fenrir": "text-processing", "skadi": "code-generation"}
    chance = random.Random(4)
    with daemon(tmp_path / "d", hosts_yaml(fleet, extra=ONE_TYPE_EACH)) as d:
        for host, type_ in types.items():  # the first of each takes the slot and waits there
            d.client.call("POST", "/v1/tasks", {"title": f"{host} first", "type": type_})
        until(lambda: all(server.running == 1 for server, _ in fleet.values()))
        batch = [
            {"title": f"{host} {number}", "type": types[host], "priority": chance.randrange(5)}
            for number in range(130)
            for host in fleet
        ]
        chance.shuffle(batch)
        d.client.call("POST", "/v1/tasks", batch)
        for server, _ in fleet.values():
            servers.gate(server, is_open=True)
        until(all_closed(d, 393), within=60)
        for host, (server, _) in fleet.items():
            mine = [task for task in batch if task["type"] == types[host]]
            in_order = sorted(mine, key=lambda task: int(str(task["priority"])))  # stable: FIFO
            assert server.asked == [f"{host} first", *(str(task["title"]) for task in in_order)]
        assert d.end() == 0
    assert "starts checked" in proven(d.state)


def test_slots_fill_every_host_and_never_more(tmp_path: Path, servers: Servers) -> None:
    fleet = {
        "surtr": (servers.start("surtr"), 2),
        "fenrir": (servers.start("fenrir"), 3),
        "skadi": (servers.start("skadi"), 2),
    }
    for server, _ in fleet.values():
        servers.gate(server, is_open=False)
    with daemon(tmp_path / "d", hosts_yaml(fleet, extra=ONE_TYPE_EACH)) as d:
        types = ["reasoning", "text-processing", "code-generation"] * 40
        batch = [{"title": str(n), "type": type_} for n, type_ in enumerate(types)]
        d.client.call("POST", "/v1/tasks", batch)
        until(lambda: sum(server.running for server, _ in fleet.values()) == 7)
        status = d.client.call("GET", "/v1/status")
        seen = {host["name"]: (host["active"], host["available_slots"]) for host in status["hosts"]}
        assert seen == {"surtr": (2, 0), "fenrir": (3, 0), "skadi": (2, 0)}
        told = "[Dispatcher] INFO: Active tasks: 7 ({'surtr': {'active': 2, 'available_slots': 0"
        until(lambda: told in (d.state / "logs" / "ygg.log").read_text())  # lines share a write
        for server, _ in fleet.values():
            servers.gate(server, is_open=True)
        until(all_closed(d, 120), within=60)
        assert {name: server.most for name, (server, _) in fleet.items()} == {
            "surtr": 2, "fenrir": 3, "skadi": 2,
        }  # fmt: skip


def test_kill_9_in_the_middle_loses_nothing(tmp_path: Path, servers: Servers) -> None:
    server = servers.start("h")
    server.seconds = 0.005
    hosts = hosts_yaml({"h": (server, 4)})
    with daemon(tmp_path / "d", hosts) as d:
        batch = [{"title": f"task {n}", "priority": n % 5} for n in range(200)]
        accepted = {t["id"] for t in d.client.call("POST", "/v1/tasks", batch)["tasks"]}
        until(lambda: counts(d).get("closed", 0) > 40)
        d.process.kill()
        assert d.process.wait(10) == -signal.SIGKILL
    with daemon(tmp_path / "d", hosts) as d:
        until(all_closed(d, 200), within=60)
        stored = {task["id"]: task for task in d.client.tasks()}
        assert set(stored) == accepted
        for task in stored.values():
            text = d.client.text("GET", f"/v1/tasks/{task['id']}/artifact")
            assert text == "h says yes"
        assert d.end() == 0
    assert set(server.asked) == {f"task {n}" for n in range(200)}
    proven(d.state)


def test_sigterm_drains_and_says_so(tmp_path: Path, servers: Servers) -> None:
    server = servers.start("h")
    servers.gate(server, is_open=False)
    quick = "dispatcher: {drain_seconds: 0.3}\n"
    hosts = hosts_yaml({"h": (server, 2)}, extra=quick)
    with daemon(tmp_path / "d", hosts) as d:
        d.client.call("POST", "/v1/tasks", [{"title": str(n)} for n in range(5)])
        until(lambda: server.running == 2)
        assert d.end(signal.SIGTERM) == 0
    servers.gate(server, is_open=True)
    until(lambda: server.running == 0)  # closing the connection ended them
    with daemon(tmp_path / "d", hosts) as d:
        until(lambda: counts(d) == {"closed": 3, "blocked": 2})
        blocked = list(d.client.tasks(status="blocked"))
        assert all("ygg retry --drained" in task["error"] for task in blocked)
        assert {task["strikes"] for task in blocked} == {0}
        done = ygg("retry", "--drained", "--url", d.url)
        assert (done.returncode, done.stdout) == (0, "2 tasks are open again\n")
        until(all_closed(d, 5))
        assert d.end(signal.SIGINT) == 0
    proven(d.state)


def test_a_second_ctrl_c_ends_the_wait_at_once(tmp_path: Path, servers: Servers) -> None:
    server = servers.start("h")
    servers.gate(server, is_open=False)
    with daemon(tmp_path / "d", hosts_yaml({"h": (server, 1)})) as d:
        accepted = d.client.call("POST", "/v1/tasks", {"title": "long"})
        until(lambda: server.running == 1)
        d.process.send_signal(signal.SIGINT)
        until(lambda: "event=drain" in d.log.read_text())
        with pytest.raises(Problem) as refused:
            d.client.call("POST", "/v1/tasks", {"title": "too late"})
        assert refused.value.status == 503
        assert d.client.call("GET", f"/v1/tasks/{accepted['id']}")["status"] == "in_progress"
        assert d.end(signal.SIGINT, within=20.0) == 0
    proven(d.state)
    servers.gate(server, is_open=True)


def test_a_closed_terminal_ends_nothing(tmp_path: Path, servers: Servers) -> None:
    with daemon(tmp_path / "d", hosts_yaml({"h": (servers.start("h"), 1)})) as d:
        d.process.send_signal(signal.SIGHUP)
        until(lambda: "event=reloaded" in d.log.read_text())
        d.client.call("POST", "/v1/tasks", {"title": "after it"})
        until(all_closed(d, 1))
        assert d.end() == 0
    assert "event=dispatcher_left" in d.log.read_text()
    proven(d.state)


def test_answers_that_have_no_folder_are_told_before_anything_begins(
    tmp_path: Path, servers: Servers
) -> None:
    (tmp_path / "hosts.yaml").write_text(hosts_yaml({"h": (servers.start("h"), 1)}))
    (tmp_path / "artifacts").write_text("a file")
    done = ygg("serve", "--hosts", tmp_path / "hosts.yaml", "--state", tmp_path,
               "--listen", "127.0.0.1:0")  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ygg: can't list ")
    assert "something that is no folder stands in the path: move it away" in last
    assert not (tmp_path / "ygg.db").exists()


def test_a_restarted_model_server_costs_no_task(tmp_path: Path, servers: Servers) -> None:
    server = servers.start("h")
    server.seconds = 0.01
    with daemon(tmp_path / "d", hosts_yaml({"h": (server, 2)})) as d:
        d.client.call("POST", "/v1/tasks", [{"title": str(n)} for n in range(60)])
        until(lambda: counts(d).get("closed", 0) > 5)
        servers.kill(server)
        until(lambda: d.client.call("GET", "/v1/status")["hosts"][0]["up"] == "down")
        servers.restart(server)
        until(all_closed(d, 60))
        strikes = [task["strikes"] for task in d.client.tasks()]
        assert sum(strikes) <= 2, "only what ran when it died"
        d.end()
    proven(d.state)


def test_a_mistyped_model_blocks_no_backlog_and_says_what_to_mend(
    tmp_path: Path, servers: Servers
) -> None:
    server = servers.start("h", models=("qwen",))
    with daemon(tmp_path / "d", hosts_yaml({"h": (server, 2)})) as d:
        d.client.call("POST", "/v1/tasks", [{"title": str(n)} for n in range(100)])
        until(lambda: "needs a person" in ygg("status", "--url", d.url).stdout)
        assert counts(d) == {"open": 100}
        shown = ygg("status", "--url", d.url).stdout
        assert "'m'" in shown
        assert "mend" in shown or "pull" in shown
        d.end()
    proven(d.state)


def test_a_store_has_one_dispatcher(tmp_path: Path, servers: Servers) -> None:
    hosts = hosts_yaml({"h": (servers.start("h"), 1)})
    with daemon(tmp_path / "d", hosts) as d:
        second = ygg("serve", "--hosts", d.state / "hosts.yaml", "--state", d.state)
        assert second.returncode == 1
        assert f"process {d.process.pid}" in second.stderr
        taken = d.url.removeprefix("http://")
        third = ygg("serve", "--hosts", d.state / "hosts.yaml", "--state", tmp_path / "e",
                    "--listen", taken)  # fmt: skip
        assert third.returncode == 1
        assert f"can't listen on {taken}" in third.stderr
        assert "Traceback" not in second.stderr + third.stderr


def test_the_metrics_are_what_prometheus_reads(tmp_path: Path, servers: Servers) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: `make test` installs it"
    server = servers.start("h")
    hosts = hosts_yaml({"h": (server, 2)})
    with daemon(tmp_path / "d", hosts) as d:
        d.client.call("POST", "/v1/tasks", [{"title": str(n), "priority": 1} for n in range(10)])
        until(all_closed(d, 10))
        page = d.client.text("GET", "/metrics")
        lint = subprocess.run(
            [promtool, "check", "metrics"], input=page, capture_output=True, text=True, check=False
        )
        assert (lint.returncode, lint.stdout + lint.stderr) == (0, "")
        lines = page.splitlines()
        assert 'ygg_tasks_accepted_total{priority="1",type="general"} 10.0' in lines
        assert 'ygg_tasks_finished_total{host="h",outcome="closed",type="general"} 10.0' in lines
        assert 'ygg_tokens_total{direction="completion",host="h"} 30.0' in lines
        assert 'ygg_tokens_total{direction="prompt",host="h"} 70.0' in lines
        assert 'ygg_host_slots_limit{host="h"} 2.0' in lines
        assert 'ygg_host_up{host="h"} 1.0' in lines
        assert 'ygg_task_wait_seconds_count{priority="1"} 10.0' in lines
        for task in d.client.tasks():
            assert task["id"] not in page, "a task's id is no label"


def test_commands_are_handlers_too(tmp_path: Path, servers: Servers) -> None:
    command = [sys.executable, "-c", "import json,sys; print(json.load(sys.stdin)['title'][::-1])"]
    types = f"types:\n  mirror: {{run: [h], command: {command!r}}}\n".replace("'", '"').replace(
        '["title"]', "['title']"
    )
    with daemon(tmp_path / "d", hosts_yaml({"h": (servers.start("h"), 1)}, extra=types)) as d:
        done = ygg("submit", "-t", "mirror", "--wait", "desrever", "--url", d.url)
        assert (done.returncode, done.stdout.strip()) == (0, "reversed"), done.stderr


def test_python_ygg_py_does_the_same(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, root / "ygg.py", "loop", "--async", "--hosts", tmp_path / "none.yaml"],
        capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "none.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_grep_of_an_id_tells_its_story(tmp_path: Path, servers: Servers) -> None:
    with daemon(tmp_path / "d", hosts_yaml({"h": (servers.start("h"), 1)})) as d:
        task_id = d.client.call("POST", "/v1/tasks", {"title": "a\nforged=line"})["id"]
        until(all_closed(d, 1))
        d.end()
    log = (d.state / "logs" / "ygg.log").read_text().splitlines()
    story = [line for line in log if task_id in line and "event=" in line]
    assert ["task_accepted" in story[0], "task_started" in story[1], "task_closed" in story[2]] == [
        True, True, True,
    ]  # fmt: skip
    assert all("host=h" in line for line in story[1:])


def test_a_damaged_row_holds_up_neither_the_others_nor_the_drain(
    tmp_path: Path, servers: Servers
) -> None:
    hosts = hosts_yaml({"h": (servers.start("h"), 1)})
    with daemon(tmp_path / "d", hosts) as d:
        d.client.call("PUT", "/v1/hosts/h/pause", {"reason": "to damage it first"})
        batch = [{"title": str(n), "priority": n} for n in range(4)]
        bad = d.client.call("POST", "/v1/tasks", batch)["tasks"][0]["id"]
        assert d.end() == 0
    base = d.state / "ygg.db"
    row = f"SELECT * FROM tasks WHERE id = '{bad}'"
    with closing(sqlite3.connect(base)) as connection, connection:
        connection.execute("UPDATE tasks SET labels = '{' WHERE id = ?", (bad,))
        before = connection.execute(row).fetchall()
    with daemon(tmp_path / "d", hosts) as d:
        d.client.call("DELETE", "/v1/hosts/h/pause")
        until(all_closed(d, 3))
        (told,) = d.client.call("GET", "/v1/status")["needs_person"]
        assert f"task {bad} can't start: row 1 of tasks is damaged" in told
        assert d.end(within=20) == 0
    assert f"event=task_missed task={bad}" in d.log.read_text()
    with closing(sqlite3.connect(base)) as connection:
        assert connection.execute(row).fetchall() == before

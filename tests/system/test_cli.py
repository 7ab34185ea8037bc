"""The command line against a real daemon: text, JSON, exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.daemons import Daemon, Servers, all_closed, counts, daemon, hosts_yaml, until, ygg

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Servers]]:
    servers = Servers()
    hosts = hosts_yaml({"h": (servers.start("h"), 2)})
    with daemon(tmp_path_factory.mktemp("cli") / "d", hosts) as d:
        yield d, servers
    servers.close()


def test_submit_wait_prints_the_answer(running: tuple[Daemon, Servers]) -> None:
    d, _ = running
    done = ygg("submit", "--wait", "Is it so?", "--url", d.url)
    assert (done.returncode, done.stdout) == (0, "h says yes\n"), done.stderr


def test_submit_reads_standard_input_and_the_environment(running: tuple[Daemon, Servers]) -> None:
    d, _ = running
    done = ygg("submit", "--json", "-p", 1, "-l", "reasoning", text="A long prompt\nof two lines",
               env={"YGG_URL": d.url})  # fmt: skip
    task = json.loads(done.stdout)
    assert (task["title"], task["priority"], task["type"]) == ("A long prompt", 1, "reasoning")
    assert task["description"] == "A long prompt\nof two lines"


def test_submit_of_a_file_of_many(running: tuple[Daemon, Servers], tmp_path: Path) -> None:
    d, _ = running
    before = sum(counts(d).values())
    lines = tmp_path / "tasks.jsonl"
    lines.write_text("".join(json.dumps({"title": f"t{n}"}) + "\n" for n in range(2500)))
    done = ygg("submit", "--file", lines, "--url", d.url)
    assert (done.returncode, done.stdout) == (0, "2500 tasks accepted\n"), done.stderr
    until(all_closed(d, before + 2500), within=60)


def test_a_broken_line_is_named(running: tuple[Daemon, Servers], tmp_path: Path) -> None:
    d, _ = running
    lines = tmp_path / "tasks.jsonl"
    lines.write_text('{"title": "good"}\n{"title": \n')
    done = ygg("submit", "--file", lines, "--url", d.url)
    assert done.returncode == 2
    assert f"{lines}:2: not a JSON object" in done.stderr


def test_show_answer_list_status_and_their_json(running: tuple[Daemon, Servers]) -> None:
    d, _ = running
    task_id = json.loads(ygg("submit", "--json", "look at me", "--url", d.url).stdout)["id"]
    until(lambda: d.client.call("GET", f"/v1/tasks/{task_id}")["status"] == "closed")
    shown = ygg("show", task_id, "--url", d.url).stdout
    assert "look at me" in shown
    assert "closed (done)" in shown
    assert "accepted" in shown
    assert "started on h" in shown
    whole = json.loads(ygg("show", task_id, "--json", "--url", d.url).stdout)
    assert [row["kind"] for row in whole["history"]] == ["accepted", "started", "closed"]
    assert ygg("answer", task_id, "--url", d.url).stdout == "h says yes\n"
    listed = ygg("list", "--status", "closed", "--limit", 1, "--json", "--url", d.url).stdout
    assert json.loads(listed)["status"] == "closed"
    assert "look at me" in ygg("list", "--url", d.url).stdout
    status = ygg("status", "--url", d.url).stdout
    assert "AVAILABLE_SLOTS" in status
    assert "nothing waits for a slot" in status
    assert json.loads(ygg("status", "--json", "--url", d.url).stdout)["hosts"][0]["name"] == "h"


def test_cancel_and_what_can_not_be_cancelled(running: tuple[Daemon, Servers]) -> None:
    d, _ = running
    later = json.loads(
        ygg("submit", "--json", "later", "--not-before", "2999-01-01T00:00:00Z", "--url", d.url)
        .stdout
    )  # fmt: skip
    done = ygg("cancel", later["id"], "--url", d.url)
    assert (done.returncode, done.stdout) == (0, f"{later['id']}  closed (cancelled)\n")
    closed = next(iter(d.client.tasks(status="closed")))["id"]
    again = ygg("retry", closed, "--url", d.url)
    assert again.returncode == 1
    assert "only a blocked task can be retried" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "nosuchtask"], 1, "no task 'nosuchtask'"),
        (["submit", "-p", "9", "x"], 2, "priority"),
        (["submit", "-t", "poetry", "x"], 2, "poetry"),
        (["submit", "--model", "gpt-9", "x"], 2, "gpt-9"),
        (["retry"], 2, "say which"),
        (["nonsense"], 2, "there is no command"),
        (["submit", "-p", "9", "x"], 2, "ygg: --priority: "),
        (["submit", "-l", "", "x"], 2, "ygg: --label: "),
        (["submit", "-o", "=", "x"], 2, "--option"),
        (["submit", "x" * 5000], 2, "ygg: title: "),
        (["list", "-p", "9"], 2, "--priority"),
    ],
)
def test_wrong_use_says_what_to_do(
    running: tuple[Daemon, Servers], arguments: list[str], code: int, said: str
) -> None:
    d, _ = running
    done = ygg(*arguments, env={"YGG_URL": d.url})
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_there_is_exit_code_3() -> None:
    done = ygg("status", "--url", "http://127.0.0.1:1")
    assert done.returncode == 3
    assert "ygg loop --async" in done.stderr


@pytest.mark.parametrize("command", [("status",), ("submit", "x"), ("list",), ("show", "x")])
def test_a_server_that_is_no_dispatcher_is_exit_code_3(
    running: tuple[Daemon, Servers], command: tuple[str, ...]
) -> None:
    d, _ = running
    (host,) = d.client.call("GET", "/v1/config")["hosts"].values()
    for words, text in ((command, None), (("submit", "--file", "-"), '{"title": "a"}')):
        done = ygg(*words, "--url", host["url"], text=text)
        assert (done.returncode, done.stdout) == (3, ""), done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"ygg: what answers at {host['url']} is no dispatcher (HTTP 404: ")
        assert "say where it is with --url URL or YGG_URL" in line


def test_a_path_behind_the_address_is_what_to_leave_out(running: tuple[Daemon, Servers]) -> None:
    d, _ = running
    done = ygg("status", "--url", f"{d.url}/foo")
    assert done.returncode == 1
    assert f"leave /foo out of {d.url}/foo" in done.stderr


def test_check_tells_good_from_bad(tmp_path: Path) -> None:
    good = tmp_path / "hosts.yaml"
    good.write_text("hosts: {h: {url: 'http://h:11434', slots: {start: 2, max: 4}}}\n")
    done = ygg("check", "--hosts", good)
    assert done.returncode == 0, done.stderr
    assert "2 (1..4)" in done.stdout
    bad = tmp_path / "bad.yaml"
    bad.write_text("hosts:\n  h:\n    ulr: http://h:11434\n    slots: {start: five}\n")
    done = ygg("check", "--hosts", bad)
    assert done.returncode == 1
    assert f"{bad}:3:" in done.stderr
    assert "'ulr'" in done.stderr
    assert "'url'" in done.stderr
    assert f"{bad}:4:" in done.stderr
    assert json.loads(ygg("check", "--json", "--hosts", bad).stdout)["ok"] is False
    serving = ygg("serve", "--hosts", bad, "--state", tmp_path / "s")
    assert serving.returncode == 2
    assert f"{bad}:3" in serving.stderr


def test_check_journal_of_nothing(tmp_path: Path) -> None:
    done = ygg("check-journal", "--state", tmp_path / "none")
    assert done.returncode == 2
    assert "there is no store here" in done.stderr

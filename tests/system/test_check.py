"""`ygg check`: hosts.yaml's mistakes, and in words what it would change of what runs."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from tests.system.daemons import Servers, counts, daemon, hosts_yaml, until, ygg
from tests.system.terminals import terminal, without_codes
from ygg.cli.printed import CheckReport
from ygg.printing import columns

pytestmark = pytest.mark.system


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Of a dispatcher that ran with one host, h, of two slots, and left three tasks for model x."""
    servers = Servers()
    state = tmp_path / "state"
    hosts = hosts_yaml({"h": (servers.start("h"), 2)}, extra="types: {general: {run: [h/x]}}")
    with daemon(state, hosts) as running:
        for _ in range(3):
            running.client.call("POST", "/v1/tasks", {"title": "wait", "model": "x"})
        # x is on no server: its option goes down, and the tasks wait.
        until(lambda: running.client.call("GET", "/v1/status")["counts"].get("open") == 3)
        running.end()
    servers.close()
    return state


def test_the_store_tells_what_a_start_would_change(state: Path) -> None:
    hosts = state / "hosts.yaml"
    common = ("check", "--hosts", hosts, "--state", state, "--url", "http://127.0.0.1:1")
    same = ygg(*common)
    assert same.returncode == 0, same.stderr
    assert f"{hosts}: good\n" in same.stdout
    assert f"A start would change nothing of what the store {state / 'ygg.db'} last ran with" in (
        same.stdout
    )
    hosts.write_text(hosts.read_text().replace("start: 2, max: 2", "start: 3, max: 4")
                     .replace("run: [h/x]", "run: [h]"))  # fmt: skip
    other = ygg(*common)
    assert other.returncode == 0, other.stderr
    assert "a start would change:\n" in other.stdout
    assert "  host h: slots start 2 -> 3: its limit is 3 at once\n" in other.stdout
    assert "  type general: runs on h/m, until now on h/x\n" in other.stdout
    assert (
        "  3 tasks of type general with the model x that wait would be stranded: "
        "no host is left for them (no_host) until one returns\n"
    ) in other.stdout
    told = json.loads(ygg(*common, "--json").stdout)
    assert told["ok"] is True
    assert told["why_not_compared"] is None
    assert {change["needs_restart"] for change in told["changes"]} == {False}
    assert "host h: slots start 2 -> 3: its limit is 3 at once" in [
        change["text"] for change in told["changes"]
    ]


def test_the_dispatcher_that_runs_tells_what_runs_and_waits_too(tmp_path: Path) -> None:
    servers = Servers()
    h, i = servers.start("h"), servers.start("i")
    for server in (h, i):
        servers.gate(server, is_open=False)
    with daemon(tmp_path / "state", hosts_yaml({"h": (h, 2), "i": (i, 1)})) as running:
        hosts = tmp_path / "new.yaml"  # the one that it reads would be taken over at once
        hosts.write_text((tmp_path / "state" / "hosts.yaml").read_text())

        def changes() -> list[str]:
            told = json.loads(ygg("check", "--hosts", hosts, "--url", running.url, "--json").stdout)
            assert told["compared_with"] == f"the dispatcher at {running.url} (ygg 0.1.0)"
            texts = [change["text"] for change in told["changes"]]
            return [text for text in texts if "listen" not in text]  # there a flag said otherwise

        assert changes() == []
        for _ in range(5):
            running.client.call("POST", "/v1/tasks", {"title": "wait", "model": "m"})
        until(lambda: counts(running) == {"open": 2, "in_progress": 3})
        hosts.write_text(
            f"hosts: {{h: {{url: '{h.url}', api: ollama, model: x, slots: {{start: 2, max: 2}}}}}}\n"
            "types: {general: {run: [h], timeout: 2h}}\n"
        )
        found = changes()
        for server in (h, i):
            servers.gate(server, is_open=True)
    servers.close()
    assert "host i goes: nothing starts there any more; 1 task there may end first" in found
    assert "host h: model m -> x" in found
    assert "type general: timeout 3600 s -> 7200 s" in found
    assert (
        "2 tasks of type general with the model m that wait would be stranded: "
        "no host is left for them (no_host) until one returns"
    ) in found


def test_with_nothing_to_compare_with_it_says_so(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yaml"
    hosts.write_text("hosts: {h: {url: 'http://h:11434'}}\n")
    done = ygg("check", "--hosts", hosts, "--state", tmp_path, "--url", "http://127.0.0.1:1")
    assert done.returncode == 0
    assert (
        "What it would change is not known: no dispatcher answers at http://127.0.0.1:1, "
        f"and there is no store at {tmp_path / 'ygg.db'} yet."
    ) in done.stdout
    told = json.loads(ygg("check", "--hosts", hosts, "--state", tmp_path, "--json",
                          "--url", "http://127.0.0.1:1").stdout)  # fmt: skip
    assert (told["compared_with"], told["changes"]) == (None, [])
    assert "there is no store" in told["why_not_compared"]


def test_its_json_has_the_same_keys_for_a_good_file_and_a_bad_one(tmp_path: Path) -> None:
    told = []
    for text in ("hosts: {h: {url: http://127.0.0.1:1}}\n", "hosts: {h: {ulr: x}}\n"):
        (hosts := tmp_path / "hosts.yaml").write_text(text)
        done = ygg("check", "--hosts", hosts, "--state", tmp_path, "--json",
                   "--url", "http://127.0.0.1:1")  # fmt: skip
        report = msgspec.json.decode(done.stdout, type=CheckReport)
        assert msgspec.json.decode(done.stdout) == msgspec.to_builtins(report)
        assert report.file == str(hosts)
        told.append((done.returncode, report.ok, bool(report.problems)))
        assert [line.split(" ")[0] for line in done.stderr.splitlines()] == [
            f"{hosts}:1:" for _ in report.problems
        ], "as a compiler tells its mistakes"
    assert told == [(0, True, False), (1, False, True)]


@pytest.mark.parametrize("command", ["check", "doctor"])
def test_what_is_found_fits_a_narrow_terminal(tmp_path: Path, command: str) -> None:
    hosts = tmp_path / "hosts.yaml"
    hosts.write_text("hosts: {h: {url: 'http://127.0.0.1:1'}}\n")
    args = (command, "--hosts", hosts, "--state", tmp_path / "s", "--url", "http://127.0.0.1:1")
    with terminal(*args, folder=tmp_path, columns=44) as t:
        t.end()
    shown = without_codes(t.shown)
    assert [line for line in shown.splitlines() if columns(line) > 44] == []
    said = "no dispatcher answers at" if command == "check" else "`ygg loop --async` starts one"
    assert said in " ".join(shown.split()), shown


def test_a_store_that_is_none_of_ours_is_named(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yaml"
    hosts.write_text("hosts: {h: {url: 'http://h:11434'}}\n")
    (tmp_path / "ygg.db").write_text("no database\n" * 100)
    done = ygg("check", "--hosts", hosts, "--state", tmp_path, "--url", "http://127.0.0.1:1")
    assert done.returncode == 0, "hosts.yaml is good all the same"
    assert "this is not an SQLite file: move it away" in done.stdout
    assert "Traceback" not in done.stderr


def test_what_is_no_dispatcher_is_not_compared_with(tmp_path: Path) -> None:
    servers = Servers()
    hosts = tmp_path / "hosts.yaml"
    hosts.write_text("hosts: {h: {url: 'http://h:11434'}}\n")
    for url, said in (
        (servers.start("h").url, "is no dispatcher, or one of an older ygg"),
        ("ftp://x", "'ftp://x' is no address of a dispatcher"),
    ):
        done = ygg("check", "--hosts", hosts, "--url", url)
        assert done.returncode == 0, done.stderr
        assert "What it would change is not known: " in done.stdout
        assert said in done.stdout
    servers.close()

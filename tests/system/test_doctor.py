"""`ygg doctor`: a fleet that is well, and each thing that is not, as a process against real ones."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bad_servers import FakeServer, closed_port, silence, status
from tests.system.daemons import Servers, daemon, hosts_yaml, ygg
from tests.system.terminals import terminal
from tests.test_exporters import OURS

pytestmark = pytest.mark.system


@contextmanager
def living(fake: FakeServer) -> Iterator[FakeServer]:
    """A fake server on a loop of its own: what asks it is another process."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(fake.up(), loop).result(30)
        yield fake
    finally:
        asyncio.run_coroutine_threadsafe(fake.down(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


#: Nothing listens there, and nobody will: no dispatcher of another test is asked.
NOBODY = ("--url", "http://127.0.0.1:1")


def write(folder: Path, hosts: str, *, listen: str = "127.0.0.1:0", extra: str = "") -> Path:
    """hosts.yaml, with an address of its own and no exporter wanted anywhere."""
    path = folder / "hosts.yaml"
    path.write_text(f"{hosts}dispatcher: {{listen: '{listen}'{extra}}}\n")
    return path


def look(path: Path, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    done = ygg("doctor", "--hosts", path, "--state", path.parent / "state", *args, env=env)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def doctor(path: Path, *args: object, **env: str) -> list[dict[str, Any]]:
    """What it says, as JSON."""
    done = look(path, "--json", *args, **env)
    answer = json.loads(done.stdout)
    checks: list[dict[str, Any]] = answer["checks"]
    assert answer["ok"] == (done.returncode == 0)
    assert answer["ok"] == all(check["state"] != "wrong" for check in checks)
    for check in checks:
        assert (check["state"] == "ok") == (check["remedy"] is None), "every cure is named"
    return checks


def wrong(checks: list[dict[str, Any]], part: str) -> dict[str, Any]:
    """The one thing that is wrong."""
    (found,) = [check for check in checks if check["state"] == "wrong"]
    assert found["part"] == part
    return found


def test_a_fleet_that_is_well_beside_its_dispatcher(tmp_path: Path, servers: Servers) -> None:
    hosts = hosts_yaml({"h": (servers.start("h"), 1), "i": (servers.start("i"), 1)})
    state = tmp_path / "state"
    with daemon(state, hosts) as running:
        path = write(tmp_path, hosts)
        shown = look(path, "--url", running.url, "--deep")
        checks = doctor(path, "--url", running.url)
        pid = running.process.pid
    text = shown.stdout
    assert shown.returncode == 0, text
    assert "host h\n  ok       Ollama 0.13.5 answers at http://127.0.0.1:" in text
    assert "  ok       it has m\n" in text
    assert "m gave a token after" in text
    assert f"ygg 0.1.0 runs at {running.url} (process {pid})" in text
    assert f"the dispatcher that runs has it open (process {pid})" in text
    assert text.splitlines()[-1].startswith("0 wrong, ")
    parts = list(dict.fromkeys(check["part"] for check in checks))
    assert parts == [
        "hosts.yaml", "host", "exporter", "dispatcher", "store", "clock", "folder", "door", "token",
    ]  # fmt: skip


def test_without_a_dispatcher_nothing_is_made(tmp_path: Path, servers: Servers) -> None:
    path = write(tmp_path, hosts_yaml({"h": (servers.start("h"), 1)}))
    shown = look(path, *NOBODY)
    text = shown.stdout
    assert shown.returncode == 0, text
    assert "none runs at http://127.0.0.1:1; `ygg loop --async` starts one" in text
    assert sorted(tmp_path.iterdir()) == [path], "no folder, no store, no lock"


def test_a_host_that_is_down_is_named_with_the_cure(tmp_path: Path, servers: Servers) -> None:
    server = servers.start("h")
    hosts = hosts_yaml({"h": (server, 1), "i": (servers.start("i"), 1)})
    servers.kill(server)
    path = write(tmp_path, hosts)
    shown = look(path, *NOBODY)
    text = shown.stdout
    assert shown.returncode == 1
    found = wrong(doctor(path, *NOBODY), "host")
    assert (found["name"], found["remedy"]) == (
        "h", f"start the server there, or correct `url:` at {path}:2",
    )  # fmt: skip
    assert "  wrong    http" in text
    assert f"           -> start the server there, or correct `url:` at {path}:2\n" in text
    assert "host i\n  ok" in text, "the others are looked at"


def test_a_model_that_is_missing_is_named_with_the_command(
    tmp_path: Path, servers: Servers
) -> None:
    server = servers.start("h", models=("qwen",))
    hosts = f"hosts: {{h: {{url: '{server.url}', model: qwem}}}}\n"
    checks = doctor(write(tmp_path, hosts), *NOBODY)
    found = wrong(checks, "host")
    assert found["what"] == "it has no model qwem (it has: qwen:latest)"
    assert found["remedy"].startswith(f"OLLAMA_HOST={server.url} ollama pull qwem")


def test_a_key_that_is_missing_and_one_that_is_refused(tmp_path: Path) -> None:
    with living(FakeServer("openai", get_fault=status(401, "bad key"))) as fake:
        hosts = f"hosts: {{h: {{url: '{fake.url}', key: 'env:A_KEY'}}}}\n"
        path = write(tmp_path, hosts)
        checks = doctor(path, "h")
        assert wrong(checks, "host")["remedy"].startswith("export A_KEY=... where ygg is started")
        checks = doctor(path, "h", A_KEY="hunter2")
    assert wrong(checks, "host")["remedy"].startswith(f"set `key:` at {path}:1")
    assert "hunter2" not in str(checks)


def test_more_slots_than_it_runs(tmp_path: Path) -> None:
    with living(FakeServer("openai", slots=2)) as fake:
        hosts = f"hosts: {{h: {{url: '{fake.url}', model: m, slots: {{start: 1, max: 4}}}}}}\n"
        path = write(tmp_path, hosts)
        checks = doctor(path, "h")
        asked = ygg("check", "--ask", "--hosts", path, "--state", tmp_path / "s", *NOBODY)
    found = wrong(checks, "host")
    assert found["remedy"] == (
        f"write `max: 2` at {path}:1, or start llama-server with --parallel 4"
    )
    assert asked.returncode == 0, "the file is good"
    assert "warning: host h: slots max 4, and it runs 2 at once" in asked.stdout
    assert found["remedy"] in asked.stdout


def test_check_asks_only_when_told_and_tells_types_without_a_host(
    tmp_path: Path, servers: Servers
) -> None:
    server = servers.start("h", models=("x",))
    hosts = (
        f"hosts: {{h: {{url: '{server.url}', model: x}}}}\ntypes: {{reasoning: {{run: [h/y]}}}}\n"
    )
    path = write(tmp_path, hosts)
    common = ("check", "--hosts", path, "--state", tmp_path / "s", *NOBODY)
    assert "warning" not in ygg(*common).stdout
    asked = ygg(*common, "--ask")
    assert (
        "warning: type reasoning could run nowhere: no host of its route has its model (h/y); "
        f"load the model there, or write another route at {path}:2"
    ) in asked.stdout
    told = json.loads(ygg(*common, "--ask", "--json").stdout)
    assert told["ok"] is True
    # `general` runs where `reasoning` does.
    assert len([one for one in told["warnings"] if "could run nowhere" in one]) == 2
    path.write_text(path.read_text().replace("h/y", "h/x"))
    assert "\nEvery host agrees.\n" in ygg(*common, "--ask").stdout


def test_a_port_that_another_program_has(tmp_path: Path, servers: Servers) -> None:
    hosts = hosts_yaml({"h": (servers.start("h"), 1)})
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        path = write(tmp_path, hosts, listen=f"127.0.0.1:{port}")
        checks = doctor(path, *NOBODY)
    assert wrong(checks, "door")["remedy"].startswith(f"ss -ltnp 'sport = :{port}'")


def test_what_answers_there_is_no_dispatcher(tmp_path: Path, servers: Servers) -> None:
    server = servers.start("h")
    path = write(tmp_path, hosts_yaml({"h": (server, 1)}))
    checks = doctor(path, "--url", server.url)
    assert "is no dispatcher" in wrong(checks, "dispatcher")["what"]


def test_a_store_that_another_process_has(tmp_path: Path, servers: Servers) -> None:
    hosts = hosts_yaml({"h": (servers.start("h"), 1)})
    with daemon(tmp_path / "state", hosts) as running:
        checks = doctor(write(tmp_path, hosts), *NOBODY)
    found = wrong(checks, "store")
    assert found["remedy"].startswith(f"say with --url where process {running.process.pid} listens")
    assert "kill" not in found["remedy"]


def test_a_dispatcher_that_wants_a_token_is_not_taken_for_another(
    tmp_path: Path, servers: Servers
) -> None:
    (tmp_path / "tokens").write_text("ygg_a-token-of-this-test-only\n")
    guarded = (
        hosts_yaml({"h": (servers.start("h"), 1)})
        + "dispatcher: {listen: '127.0.0.1:0', token: always, "
        + f"token_from: 'file:{tmp_path / 'tokens'}'}}\n"
    )
    path = tmp_path / "hosts.yaml"
    path.write_text(guarded)
    with daemon(tmp_path / "state", guarded, token="ygg_a-token-of-this-test-only") as running:
        url = ("--url", running.url)
        checks = doctor(path, *url, YGG_TOKEN="", YGG_TOKEN_FILE="")
        known = doctor(path, *url, YGG_TOKEN="ygg_a-token-of-this-test-only")
    told = {check["part"]: check for check in checks if check["part"] in ("dispatcher", "store")}
    assert "wants a token" in told["dispatcher"]["what"]
    cures = [check["remedy"] for check in checks if check["remedy"]]
    assert not [cure for cure in cures if "kill" in cure]
    held = next(check for check in checks if "has it open" in check["what"])
    assert held["state"] == "warning"
    assert held["remedy"].startswith("export YGG_TOKEN=TOKEN, or YGG_TOKEN_FILE=PATH")
    assert any("the dispatcher that runs has it open" in check["what"] for check in known)


def test_every_door_of_the_dispatcher_is_its_own_and_no_one_is_told_to_end_it(
    tmp_path: Path, servers: Servers
) -> None:
    (tmp_path / "tokens").write_text("ygg_a-token-of-this-test-only\n")
    doors = [f"unix:{tmp_path}/a", f"unix:{tmp_path}/b"]
    hosts = hosts_yaml({"h": (servers.start("h"), 1)})
    secret = f"token: always, token_from: 'file:{tmp_path / 'tokens'}'"
    token = "ygg_a-token-of-this-test-only"
    path = tmp_path / "hosts.yaml"

    def at_doors(*args: object, **env: str) -> list[tuple[str, str]]:
        checks = doctor(path, *args, **env)
        return [(c["state"], c["what"]) for c in checks if c["part"] == "door"]

    with daemon(
        tmp_path / "state", f"{hosts}dispatcher: {{{secret}}}\n",
        listen=("127.0.0.1:0", *doors), token=token,
    ) as running:  # fmt: skip
        port = running.url.removeprefix("http://")
        path.write_text(
            f"{hosts}dispatcher: {{listen: ['{port}', {', '.join(doors)}], {secret}}}\n"
        )
        known = at_doors(YGG_TOKEN=token)
        unknown = at_doors(YGG_TOKEN="", YGG_TOKEN_FILE="")
        elsewhere = at_doors(*NOBODY, YGG_TOKEN=token)
        pid = running.process.pid
    assert known == [("ok", f"{door} is the dispatcher's that runs") for door in (port, *doors)]
    at_sockets = [("ok", f"{door} is that of the dispatcher that runs (process {pid})")
                  for door in doors]  # fmt: skip
    assert (unknown[1:], elsewhere[1:]) == (at_sockets, at_sockets)
    assert (unknown[0][0], elsewhere[0][0]) == ("warning", "warning")
    assert "is not known: the dispatcher at http" in unknown[0][1]
    assert f"whether by process {pid}, which has the store open, is not" in elsewhere[0][1]


def test_a_token_that_is_nowhere(tmp_path: Path, servers: Servers) -> None:
    hosts = hosts_yaml({"h": (servers.start("h"), 1)})
    path = write(tmp_path, hosts, extra=", token_from: 'env:NOT_SET_HERE'")
    checks = doctor(path, *NOBODY)
    assert wrong(checks, "token")["remedy"] == (
        "ygg token new --file PATH, and `token_from: file:PATH`"
    )


def test_a_folder_that_is_a_file(tmp_path: Path, servers: Servers) -> None:
    hosts = hosts_yaml({"h": (servers.start("h"), 1)})
    path = write(tmp_path, hosts, extra=f", artifacts: '{tmp_path}/answers'")
    (tmp_path / "answers").write_text("")
    checks = doctor(path, *NOBODY)
    assert wrong(checks, "folder")["remedy"].startswith(f"move away what stands at {tmp_path}/answ")


def test_exporters_are_read(tmp_path: Path) -> None:
    with living(FakeServer("openai", slots=1, paths={"/metrics": (200, OURS.encode())})) as fake:
        gpu = f"gpu: {{exporter: '{fake.url}/metrics', device: 1}}"
        hosts = f"hosts: {{h: {{url: '{fake.url}', model: m, {gpu}}}}}\n"
        checks = doctor(write(tmp_path, hosts), *NOBODY)
        assert "ygg-gpu-exporter: GPU 0 (NVIDIA L4): 42% busy, memory 25% of 24.0 GiB" in {
            check["what"] for check in checks if check["name"] == f"{fake.url}/metrics"
        }
        assert wrong(checks, "exporter")["what"].startswith("h uses device 1")
        gone = f"gpu: {{exporter: 'http://127.0.0.1:{closed_port()}/metrics'}}"
        hosts = f"hosts: {{h: {{url: '{fake.url}', model: m, {gone}}}}}\n"
        checks = doctor(write(tmp_path, hosts), *NOBODY)
        assert "start an exporter there" in wrong(checks, "exporter")["remedy"]


def test_a_host_that_never_answers_holds_nobody_up(tmp_path: Path, servers: Servers) -> None:
    with living(FakeServer("ollama", get_fault=silence)) as fake:
        hosts = hosts_yaml({"h": (servers.start("h"), 1)})
        hosts += f"  dead: {{url: '{fake.url}', api: ollama, model: m}}\n"
        checks = doctor(write(tmp_path, hosts), *NOBODY)
    assert "no answer to /api/version within 5 s" in wrong(checks, "host")["what"]
    assert {check["state"] for check in checks if check["name"] == "h"} == {"ok"}


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (None, 2, "there is no such file\n           -> `ygg init` writes one"),
        ("hosts: {h: {ulr: x}}\n", 1, "hosts.yaml:1: "),
    ],
)
def test_a_hosts_yaml_that_is_not_good(
    tmp_path: Path, text: str | None, code: int, said: str
) -> None:
    path = tmp_path / "hosts.yaml"
    if text is not None:
        path.write_text(text)
    shown = look(path)
    assert shown.returncode == code
    assert said in shown.stdout
    assert doctor(path)[0]["part"] == "hosts.yaml"


def test_only_the_hosts_that_are_asked_for(tmp_path: Path, servers: Servers) -> None:
    path = write(tmp_path, hosts_yaml({n: (servers.start(n), 1) for n in ("h", "i")}))
    checks = doctor(path, "i")
    assert {(check["part"], check["name"]) for check in checks} == {
        ("hosts.yaml", None),
        ("host", "i"),
    }
    unknown = ygg("doctor", "--hosts", path, "j")
    assert unknown.returncode == 2
    assert f"no host j in {path}; there are: h, i" in unknown.stderr


def test_at_a_terminal_it_shows_how_far_it_is(tmp_path: Path, servers: Servers) -> None:
    path = write(tmp_path, hosts_yaml({"h": (servers.start("h"), 1)}))
    with terminal("doctor", "--hosts", path, "--state", tmp_path, *NOBODY, folder=tmp_path) as t:
        t.expect("looked at 1 of ")
        t.expect("0 wrong, ")
        assert t.end() == 0


@pytest.mark.model
def test_a_real_server_is_measured(tmp_path: Path, real_server: str) -> None:
    slots = "slots: {start: 2, max: 4}"
    hosts = f"hosts: {{h: {{url: '{real_server}', model: smollm2-135m, {slots}}}}}\n"
    path = write(tmp_path, hosts)
    done = ygg("doctor", "--hosts", path, "--deep", "--measure", "--json", "h", within=300)
    assert done.returncode == 1, done.stderr
    whats = [check["what"] for check in json.loads(done.stdout)["checks"]]
    assert any("llama.cpp" in what and "answers at" in what for what in whats)
    assert "it has smollm2-135m" in whats
    assert any(what.startswith("smollm2-135m gave a token after") for what in whats)
    assert any(what.startswith("of 4 requests at once it ran 2 together") for what in whats)
    path.write_text(path.read_text().replace("max: 4", "max: 2"))
    good = ygg("doctor", "--hosts", path, "--measure", "h", within=300)
    assert good.returncode == 0, good.stdout
    assert "of 2 requests at once it ran at least 2 together; up to 2 are sent" in good.stdout

"""`ygg init`: as a script uses it, at a terminal, and against a real model server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bad_servers import FakeServer, closed_port, status
from tests.hosts.test_identity import VLLM_PAGE
from tests.system.daemons import ModelServer, Servers, ygg
from tests.system.terminals import terminal
from ygg.fleet import Option
from ygg.hostsfile import read_fleet

pytestmark = pytest.mark.system


@pytest.fixture
def server() -> Iterator[ModelServer]:
    servers = Servers()
    yield servers.start("s", models=("qwen2.5-coder", "deepseek-r1"))
    servers.close()


def init(folder: Path, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ygg.cli", "init", *map(str, args)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, cwd=folder,
        env={**os.environ, **env}, check=False,
    )  # fmt: skip


def beside(fake: FakeServer, folder: Path, *args: object, **env: str) -> Any:
    """`ygg init` against a fake server that lives meanwhile."""

    async def story() -> subprocess.CompletedProcess[str]:
        async with fake:
            return await asyncio.to_thread(init, folder, fake.url, *args, **env)

    return asyncio.run(story())


def test_a_script_gets_a_file_that_check_takes(tmp_path: Path, server: ModelServer) -> None:
    done = init(tmp_path, server.url)
    assert done.returncode == 0, done.stderr
    assert "is Ollama 0.13.5 with qwen2.5-coder:latest" in done.stderr
    assert "hosts.yaml is written. Next:\n  ygg doctor\n  ygg loop --async\n" in done.stdout
    checked = ygg("check", "--hosts", tmp_path / "hosts.yaml", "--state", tmp_path,
                  "--url", "http://127.0.0.1:1")  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    fleet = read_fleet(tmp_path / "hosts.yaml")
    assert fleet.routes["reasoning"][0].model == "deepseek-r1:latest"
    assert fleet.routes["code-generation"][0].model == "qwen2.5-coder:latest"
    assert server.asked == [], "no token was spent"


def test_a_file_that_is_there_stays(tmp_path: Path, server: ModelServer) -> None:
    (tmp_path / "hosts.yaml").write_text("precious")
    done = init(tmp_path, server.url)
    assert done.returncode == 2
    assert done.stderr == (
        "ygg: hosts.yaml is there already and is never written over: name another with "
        "--output FILE, print with --output -, or move it away first\n"
    )
    assert (tmp_path / "hosts.yaml").read_text() == "precious"


def test_flags_say_what_is_known_and_dash_prints(tmp_path: Path, server: ModelServer) -> None:
    done = init(
        tmp_path, server.url, "--name", "big", "--types", "ocr,general", "--slots", 3,
        "--model", "deepseek-r1", "-o", "-",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "printed.yaml").write_text(done.stdout)
    fleet = read_fleet(tmp_path / "printed.yaml")
    assert list(fleet.hosts) == ["big"]
    assert fleet.hosts["big"].slots.start == 3
    assert fleet.routes["ocr"] == (Option("big", "deepseek-r1"),)


def test_its_json_tells_everything(tmp_path: Path, server: ModelServer) -> None:
    told = json.loads(init(tmp_path, server.url, "--json").stdout)
    assert told["file"] == "hosts.yaml"
    (host,) = told["hosts"]
    assert host["server"] == "Ollama 0.13.5"
    assert host["slots"]["start"] == 1
    assert "OLLAMA_NUM_PARALLEL" in host["slots"]["reason"]
    assert told["yaml"] == (tmp_path / "hosts.yaml").read_text()
    assert set(told) == {"file", "hosts", "types", "yaml"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["http://127.0.0.1:{port}"], 1, "no model server answers (http://127.0.0.1:{port}: no connection"),
        (["http://127.0.0.1:{port}"], 1, "{port})): start it (`ollama serve`), or name another"),
        (["ftp://x"], 2, "'ftp://x' is no address of a server: write http://HOST:PORT"),
        (["http://a:b@c"], 2, "say where the key is with --key env:NAME"),
        (["--name", "a b", "{url}"], 2, "no host can be named 'a b'"),
        (["--model", "nope", "{url}"], 2, "has no model 'nope'"),
        (["--slots", "no", "{url}"], 2, "write a whole number from 1 on"),
        (["--types", "a/b", "{url}"], 2, "no type can be named 'a/b'"),
        (["--key", "sk-hunter2", "{url}"], 2, "never the key itself: env:NAME"),
        (["--key", "env:NOT_SET_HERE", "{url}"], 2, "NOT_SET_HERE is not set"),
        (["--name", "a", "--name", "b", "{url}"], 2, "--name is given 2 times, and 1 servers"),
        (["-o", "nowhere/hosts.yaml", "{url}"], 2, "nowhere/hosts.yaml can't be written"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_told_in_a_line_with_the_way_out(
    tmp_path: Path, server: ModelServer, arguments: list[str], code: int, said: str
) -> None:
    port = closed_port()
    done = init(tmp_path, *(one.format(url=server.url, port=port) for one in arguments))
    assert done.returncode == code, done.stderr
    assert said.format(port=port) in done.stderr.splitlines()[-1]
    assert "hunter2" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_one_of_two_that_does_not_answer_stops_it(tmp_path: Path, server: ModelServer) -> None:
    done = init(tmp_path, server.url, f"http://127.0.0.1:{closed_port()}")
    assert done.returncode == 1
    assert "nothing was written" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_none_is_told_so(tmp_path: Path) -> None:
    done = beside(FakeServer("ollama", get_fault=status(404)), tmp_path)
    assert done.returncode == 1
    assert "speaks neither Ollama's API nor OpenAI's" in done.stderr


def test_a_server_that_wants_a_key_gets_a_place_for_it(tmp_path: Path) -> None:
    done = beside(FakeServer("openai", get_fault=status(401)), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "wants a key before it says what it is" in done.stderr
    assert "  export LOCAL_KEY=...  # the key of local" in done.stdout
    assert read_fleet(tmp_path / "hosts.yaml").hosts["local"].key == "env:LOCAL_KEY"


def test_a_key_that_is_known_is_sent_and_not_written(tmp_path: Path) -> None:
    fake = FakeServer("openai", models=("m:7b",), slots=2)
    done = beside(fake, tmp_path, "--key", "env:THE_KEY", THE_KEY="hunter2")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "hosts.yaml").read_text()
    assert "key: env:THE_KEY" in text
    assert "hunter2" not in text + done.stdout + done.stderr
    assert read_fleet(tmp_path / "hosts.yaml").hosts["local-chat"].slots.max == 2


def test_vllm_is_known_by_its_metrics(tmp_path: Path) -> None:
    paths = {"/metrics": (200, VLLM_PAGE), "/version": (200, b'{"version":"0.33.0"}')}
    done = beside(FakeServer("openai", paths=paths), tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_fleet(tmp_path / "hosts.yaml").hosts["local-chat"].gpu.memory == "kv"


# -- at a terminal -----------------------------------------------------------------------------


def test_a_person_is_asked_with_defaults(tmp_path: Path, server: ModelServer) -> None:
    with terminal("init", server.url, folder=tmp_path) as t:
        t.expect("is Ollama 0.13.5 with")
        t.expect("Model [qwen2.5-coder:latest]: ")
        t.send("deepseek-r1")
        t.expect("Name [local-reasoning]: ")
        t.send("no blanks please")
        t.expect("no host can be named 'no blanks please'")
        t.expect("Name [local-reasoning]: ")
        t.send("surtr")
        t.expect("Types of task [reasoning, code-generation]: ")
        t.send("")
        t.expect("OLLAMA_NUM_PARALLEL")
        t.expect("Tasks at once [1]: ")
        t.send("2")
        t.expect("slots: {start: 2, max: 2}")
        t.expect("Write hosts.yaml? [Y/n] ")
        assert list(tmp_path.iterdir()) == [], "nothing before the last word"
        t.send("")
        t.expect("hosts.yaml is written")
        assert t.end() == 0
    host = read_fleet(tmp_path / "hosts.yaml").hosts["surtr"]
    assert (host.model, host.slots.start) == ("deepseek-r1", 2)


@pytest.mark.parametrize(("key", "code"), [("C", 130), ("D", 1)])
@pytest.mark.parametrize("at", ["Model [", "Name [", "Write hosts.yaml? "])
def test_who_leaves_leaves_nothing_behind(
    tmp_path: Path, server: ModelServer, key: str, code: int, at: str
) -> None:
    with terminal("init", server.url, folder=tmp_path) as t:
        for question in ("Model [", "Name [", "Types of task [", "Tasks at once [", "Write "):
            t.expect(question)
            if at.startswith(question):
                break
            t.send("")
        t.press(key)
        t.expect("ygg: nothing was written")
        assert t.end() == code
    assert list(tmp_path.iterdir()) == []


def test_a_no_writes_nothing(tmp_path: Path, server: ModelServer) -> None:
    with terminal("init", server.url, "--name", "a", "--types", "b", "--slots", "1",
                  "--model", "deepseek-r1", folder=tmp_path) as t:  # fmt: skip
        t.expect("Write hosts.yaml? [Y/n] ")
        t.send("n")
        t.expect("nothing was written")
        assert t.end() == 1
    assert list(tmp_path.iterdir()) == []


def test_yes_asks_nothing_at_a_terminal_too(tmp_path: Path, server: ModelServer) -> None:
    with terminal("init", "--yes", server.url, folder=tmp_path) as t:
        t.expect("hosts.yaml is written")
        assert t.end() == 0


def test_a_person_is_asked_where_the_key_is(tmp_path: Path) -> None:
    fake = FakeServer("openai", get_fault=status(401))

    async def story() -> None:
        async with fake:
            await asyncio.to_thread(talk)

    def talk() -> None:
        with terminal("init", fake.url, folder=tmp_path) as t:
            t.expect("wants a key")
            t.expect("Where is it [env:LOCAL_KEY]: ")
            t.send("hunter2")
            t.expect("never the key itself")
            t.send("env:NOT_SET_HERE")
            t.expect("NOT_SET_HERE is not set")
            for question in ("Name [local]: ", "Types of task [general]: ", "at once [1]: "):
                t.expect(question)
                t.send("")
            t.expect("Write hosts.yaml?")
            t.send("y")
            assert t.end() == 0

    asyncio.run(story())
    assert read_fleet(tmp_path / "hosts.yaml").hosts["local"].key == "env:NOT_SET_HERE"


# -- a real one --------------------------------------------------------------------------------


@pytest.mark.model
def test_a_real_server_tells_what_it_is_and_how_much_it_runs(
    tmp_path: Path, real_server: str
) -> None:
    done = init(tmp_path, real_server)
    assert done.returncode == 0, done.stderr
    assert "is llama.cpp" in done.stderr
    fleet = read_fleet(tmp_path / "hosts.yaml")
    (host,) = fleet.hosts.values()
    assert (host.name, host.model, host.api) == ("local-chat", "smollm2-135m", "openai")
    assert (host.slots.start, host.slots.max) == (2, 2), "as many as it says"

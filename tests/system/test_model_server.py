"""The demo's model server is real: it answers, and it ends when it should."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
StartServer = Callable[[int], AbstractContextManager[tuple[str, subprocess.Popen[str]]]]

pytestmark = [pytest.mark.system, pytest.mark.model]

#: Starts a server that writes to the same output, says its process id, and waits to be killed.
MIDDLEMAN = """
import subprocess, sys
server = subprocess.Popen([*sys.argv[1:], "-m", "ygg.demo.server"], stdin=subprocess.DEVNULL)
print(server.pid, flush=True)
sys.stdin.read()
"""


@contextmanager
def connected(url: str) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)
    try:
        yield connection
    finally:
        connection.close()


def ask(connection: http.client.HTTPConnection, **body: object) -> http.client.HTTPResponse:
    body.setdefault("messages", [{"role": "user", "content": "Name three planets."}])
    connection.request(
        "POST",
        "/v1/chat/completions",
        json.dumps(body),
        {"Content-Type": "application/json"},
    )
    return connection.getresponse()


def test_it_answers_a_real_prompt(real_server: str) -> None:
    with connected(real_server) as connection:
        answer = ask(connection, max_tokens=40, temperature=0, seed=1)
        assert answer.status == 200
        read = json.load(answer)
    assert "Earth" in read["choices"][0]["message"]["content"]
    assert read["model"] == "smollm2-135m"
    assert 0 < read["usage"]["completion_tokens"] <= 40


def test_it_says_how_many_requests_it_can_run_at_once(real_server: str) -> None:
    with connected(real_server) as connection:
        connection.request("GET", "/props")
        props = json.load(connection.getresponse())
    assert props["total_slots"] == 2
    assert props["default_generation_settings"]["n_ctx"] == 1024, "per slot"


@pytest.mark.parametrize("path", ["/health", "/metrics", "/v1/models"])
def test_it_answers_what_is_asked_of_a_host(real_server: str, path: str) -> None:
    with connected(real_server) as connection:
        connection.request("GET", path)
        assert connection.getresponse().status == 200


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_a_request_in_flight(
    start_server: StartServer, sign: signal.Signals
) -> None:
    with start_server(1) as (url, process), connected(url) as connection:
        answer = ask(connection, stream=True, max_tokens=1000, ignore_eos=True)
        assert answer.readline().startswith(b"data:"), "it is in the midst of an answer"
        process.send_signal(sign)
        assert process.wait(30) == -sign
        answer.close()


def test_it_ends_when_its_parent_is_killed(demo_python: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MIDDLEMAN, demo_python],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    ) as parent:
        assert parent.stdout is not None
        server_pid = int(parent.stdout.readline())
        try:
            assert any("listening on" in line for line in iter(parent.stdout.readline, ""))
            parent.kill()
            # Both write to this pipe: it ends when the last of them has.
            assert parent.stdout.read() == ""
        finally:
            parent.kill()
            with suppress(ProcessLookupError):
                os.kill(server_pid, signal.SIGKILL)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )


def test_a_model_that_is_not_there_is_named(demo_python: str) -> None:
    done = run(demo_python, "-m", "ygg.demo.server", "--name", "surtr", "--model", "no/such.gguf")
    assert done.returncode == 1
    assert "surtr: llama.cpp did not start" in done.stderr
    assert "no/such.gguf" in done.stderr


def test_without_the_demo_extra_it_says_how_to_get_it() -> None:
    done = run(sys.executable, "-S", "-m", "ygg.demo.server")  # -S: without installed packages
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "xllamacpp" in done.stderr
    assert "make demo" in done.stderr

"""The real daemon as a child process, and model servers that answer on loopback.

The servers speak Ollama's API by the recorded facts: no model can be had that answers in a
millisecond, or waits to be told.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from tests.system.blocking import BlockingClient
from ygg.client import Problem, Unreachable

T = TypeVar("T")


@dataclass
class ModelServer:
    """Answers at once, or when `gate` opens; keeps what it was asked, in order of arrival."""

    name: str
    models: tuple[str, ...] = ("m",)
    asked: list[str] = field(default_factory=list)
    running: int = 0
    most: int = 0
    port: int = 0
    seconds: float = 0.0
    #: Why its answers end: "stop", or "length" when they are cut.
    finish: str = "stop"
    #: A status, and no answer; 0: it answers.
    error: int = 0

    def __post_init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/version", self._version)
        app.router.add_get("/api/tags", self._tags)
        app.router.add_get("/api/ps", self._ps)
        app.router.add_post("/api/chat", self._chat)
        return app

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "0.13.5"})

    async def _tags(self, _: web.Request) -> web.Response:
        return web.json_response({"models": [{"name": f"{m}:latest"} for m in self.models]})

    async def _ps(self, _: web.Request) -> web.Response:
        return web.json_response({"models": []})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["model"] not in self.models:
            error = f"model '{body['model']}' not found"
            return web.json_response({"error": error}, status=404)
        self.asked.append(body["messages"][-1]["content"])
        if self.error:
            return web.json_response({"error": "it is ill"}, status=self.error)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await answer.prepare(request)
            await self.gate.wait()
            await asyncio.sleep(self.seconds)
            if request.transport is None or request.transport.is_closing():
                return answer  # whoever asked hung up
            said = {"role": "assistant", "content": f"{self.name} says yes"}
            await answer.write(_line({"message": said, "done": False}))
            end = {"message": {"role": "assistant", "content": ""}, "done": True}
            counts = {"done_reason": self.finish, "prompt_eval_count": 7, "eval_count": 3}
            await answer.write(_line(end | counts))
            return answer
        finally:
            self.running -= 1


def _line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


class Servers:
    """Model servers on a loop of their own, in a thread: the daemon is another process."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._runners: dict[str, web.AppRunner] = {}

    def start(self, name: str, *, models: tuple[str, ...] = ("m",)) -> ModelServer:
        return self._call(self._start(name, models))

    async def _start(self, name: str, models: tuple[str, ...]) -> ModelServer:
        server = ModelServer(name, models)
        await self._listen(server, 0)
        return server

    async def _listen(self, server: ModelServer, port: int) -> None:
        runner = web.AppRunner(server.app(), shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        server.port = runner.addresses[0][1]
        self._runners[server.name] = runner

    def kill(self, server: ModelServer) -> None:
        """Cut every connection, listen no more."""
        self._call(self._runners.pop(server.name).cleanup())

    def restart(self, server: ModelServer) -> None:
        self._call(self._listen(server, server.port))

    def gate(self, server: ModelServer, *, is_open: bool) -> None:
        self._loop.call_soon_threadsafe(server.gate.set if is_open else server.gate.clear)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self) -> None:
        for runner in self._runners.values():
            self._call(runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass
class Daemon:
    process: subprocess.Popen[str]
    url: str
    state: Path
    log: Path
    client: BlockingClient

    def end(self, number: signal.Signals = signal.SIGTERM, *, within: float = 90.0) -> int:
        self.process.send_signal(number)
        return self.process.wait(within)


def hosts_yaml(
    servers: Mapping[str, tuple[ModelServer, int]], *, extra: str = "", api: str = "ollama"
) -> str:
    """One host for each server, with so many slots."""
    lines = ["hosts:"]
    for name, (server, slots) in servers.items():
        lines.append(f"  {name}:")
        lines.append(f"    {{url: '{server.url}', api: {api}, model: m,")
        lines.append(f"     slots: {{start: {slots}, max: {slots}}}}}")
    return "\n".join(lines) + "\n" + extra


def ygg(*args: object, text: str | None = None, env: Mapping[str, str] | None = None,
        within: float = 60.0) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """The command line, as a process."""
    return subprocess.run(
        [sys.executable, "-m", "ygg.cli", *map(str, args)],
        input=text, stdin=None if text is not None else subprocess.DEVNULL,
        capture_output=True, text=True, timeout=within, env={**os.environ, **(env or {})},
        check=False,
    )  # fmt: skip


@contextmanager
def daemon(
    state: Path,
    hosts: str,
    *,
    ready: bool = True,
    command: Sequence[str] = ("loop", "--async"),
    listen: Sequence[str] = ("127.0.0.1:0",),
    token: str | None = None,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Daemon]:
    """`ygg loop --async` in `state`; killed at the end if it still runs.

    Without `listen` it listens where its hosts.yaml says. `environ`: besides our own.
    """
    state.mkdir(exist_ok=True)
    (state / "hosts.yaml").write_text(hosts)
    log = state / "daemon.log"
    with log.open("a") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "ygg.cli", *command, "--hosts",
             str(state / "hosts.yaml"), "--state", str(state),
             *(word for address in listen for word in ("--listen", address))],
            stdout=out, stderr=out, text=True, cwd=cwd,
            env={**os.environ, **(environ or {}),
                 "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
    client: BlockingClient | None = None
    try:
        url = _served_at(process, log)
        client = BlockingClient(url, token)
        running = Daemon(process, url, state, log, client)
        if ready:
            until(lambda: _is_ready(running))
        yield running
    finally:
        if client is not None:
            client.close()
        if process.poll() is None:
            process.kill()
            process.wait(10)


def _served_at(process: subprocess.Popen[str], log: Path) -> str:
    found = ""

    def serving() -> bool:
        nonlocal found
        assert process.poll() is None, f"the daemon ended: {log.read_text()[-3000:]}"
        for line in log.read_text().splitlines():
            if "event=serving" in line and f"pid={process.pid} " in line:
                found = line.split("url=")[1].split()[0]
        return bool(found)

    until(serving)
    return found


def _is_ready(running: Daemon) -> bool:
    try:
        running.client.call("GET", "/readyz")
    except (Problem, Unreachable):
        return False
    return True


def until(condition: Callable[[], bool], *, within: float = 30.0) -> None:
    """Wait for another process: nothing there can wake us."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it did not come to be in time"
        time.sleep(0.01)


def counts(running: Daemon) -> dict[str, int]:
    """How many tasks have each status; those that none has are left out."""
    every = running.client.call("GET", "/v1/status")["counts"]
    return {status: count for status, count in every.items() if count}


def all_closed(running: Daemon, number: int) -> Callable[[], bool]:
    return lambda: counts(running).get("closed", 0) == number

"""A server that does to each request what a test tells it: answers, hangs up, talks nonsense.

What is tested with it is what the real interface never does, or not when asked to.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from ygg.client import Limits

#: Does what is to be done to one request; True: the connection goes on.
Step = Callable[[asyncio.StreamWriter], Awaitable[bool]]

#: As long as a machine under load may need for what takes no time; tries again at once.
PATIENT = Limits(call_seconds=60.0, retry_pauses=(0.0, 0.0, 0.0))


@dataclass
class Asked:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    #: The number of the connection it came over.
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Scripted:
    url: str
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    #: Those that are open now.
    open: set[asyncio.StreamWriter] = field(default_factory=set)


def answer(value: object, status: int = 200, **headers: str) -> Step:
    return raw(_response(json.dumps(value).encode(), status, headers))


def raw(data: bytes, *, goes_on: bool = True) -> Step:
    """These bytes, and then the next request or the end."""

    async def step(writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        await writer.drain()
        return goes_on

    return step


def hang_up() -> Step:
    return raw(b"", goes_on=False)


def cut(value: object) -> Step:
    """An answer that ends before its last byte."""
    return raw(_response(json.dumps(value).encode(), 200, {})[:-1], goes_on=False)


def never(writer: asyncio.StreamWriter) -> Awaitable[bool]:
    """No answer, ever."""
    return asyncio.get_running_loop().create_future()


def _response(body: bytes, status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} So", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def scripted(*steps: Step, at: str | None = None) -> AsyncIterator[Scripted]:
    """Takes the steps one by one, the last one again and again; `at` is a Unix socket."""
    left = list(steps)
    here = Scripted("")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here.connections += 1
        number = here.connections
        here.open.add(writer)
        try:
            while (asked := await _request(reader, number)) is not None:
                here.asked.append(asked)
                step = left.pop(0) if len(left) > 1 else left[0]
                if not await step(writer):
                    return
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            here.open.discard(writer)
            writer.close()

    if at is None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        here.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    else:
        server = await asyncio.start_unix_server(serve, at)
        here.url = f"unix:{at}"
    try:
        yield here
    finally:
        server.close()
        for writer in list(here.open):
            writer.transport.abort()
        await server.wait_closed()


async def _request(reader: asyncio.StreamReader, connection: int) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = head[0].split(" ")
    headers = {
        name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])
    }
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(method, target, headers, body, connection)


def a_task(task_id: str = "t1", **fields: object) -> dict[str, object]:
    """As the interface shows it."""
    return {
        "id": task_id, "title": "T", "description": "", "labels": [], "type": "general",
        "priority": 2, "created_at": "2026-11-24T03:20:00.000Z", "status": "open", "outcome": None,
        "error": None, "host": None, "attempt": 0, "strikes": 0, "started_at": None,
        "ended_at": None, "artifact": None, "key": None, "metadata": None, "run_next": False,
        "not_before": None, "held": None, "submitter": "", "source": None, "source_id": None,
        "model": "", "system": None, "options": {}, "timeout": None, "answer": None, **fields,
    }  # fmt: skip

"""Runs a story with a session, and sees that nothing of it is left: no task, no socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.bad_servers import Api
from ygg.faults import Failure
from ygg.hosts.base import Answer, Limits, Message, ModelServer, Request
from ygg.hosts.http import open_session
from ygg.hosts.ollama import OllamaServer
from ygg.hosts.openai import OpenAIServer
from ygg.tasks import Json

Story = Callable[[aiohttp.ClientSession], Awaitable[None]]

#: Long enough for a loopback under load wherever a limit is not what the test is about.
PATIENT = Limits(first_token=30.0, stall=30.0, timeout=60.0)


def run(story: Story) -> None:
    async def guarded() -> None:
        me = asyncio.current_task()
        before = _sockets()
        async with open_session() as session:
            await story(session)
        for _ in range(50):  # closing takes the loop some rounds
            if _sockets() == before and asyncio.all_tasks() == {me}:
                break
            await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {me}, "a task is left"
        assert _sockets() == before, "a connection is left"

    asyncio.run(guarded())


def _sockets() -> int:
    count = 0
    for fd in Path("/proc/self/fd").iterdir():
        try:
            count += str(fd.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue  # the listing's own descriptor
    return count


def server_for(
    api: Api, session: aiohttp.ClientSession, url: str, api_key: str | None = None
) -> ModelServer:
    kind = OllamaServer if api == "ollama" else OpenAIServer
    return kind(session, url, api_key=api_key)


def request(
    prompt: str = "Why?",
    *,
    limits: Limits = PATIENT,
    model: str = "m",
    keep_alive: str | None = None,
    options: Mapping[str, Json] | None = None,
) -> Request:
    return Request(
        messages=[Message(role="user", content=prompt)],
        model=model,
        options=options or {},
        keep_alive=keep_alive,
        limits=limits,
    )


class Heard:
    """A Progress that adds up."""

    def __init__(self) -> None:
        self.prompt = 0
        self.completion = 0
        self.changed = asyncio.Event()

    def tokens(self, *, prompt: int = 0, completion: int = 0) -> None:
        assert prompt >= 0, "counters only rise"
        assert completion >= 0, "counters only rise"
        self.prompt += prompt
        self.completion += completion
        self.changed.set()


def label(value: object) -> str | None:
    """A name for a fault in a test's id: the same in every run."""
    name: str | None = getattr(value, "__qualname__", None)
    return name and name.split(".")[0]


async def failure_of(coroutine: Awaitable[Any]) -> Failure:
    """The Failure that this ends with; it must."""
    with pytest.raises(Failure) as caught:
        await coroutine
    return caught.value


async def ask(server: ModelServer, what: Request | None = None) -> Answer:
    return await server.generate(what or request(), Heard())

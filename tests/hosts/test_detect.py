"""Which dialect a server speaks, told by what it answers."""

from __future__ import annotations

import aiohttp
import pytest

from tests import bad_servers as bad
from tests.bad_servers import Api, FakeServer
from tests.hosts.harness import ask, failure_of, label, run
from ygg.faults import Cause
from ygg.fleet import HostSettings
from ygg.hosts.detect import detect_api, make_server
from ygg.hosts.ollama import OllamaServer
from ygg.hosts.openai import OpenAIServer

LM_STUDIO = (200, b'{"error":"Unexpected endpoint or method. Returning 200 anyway"}')


@pytest.mark.parametrize(
    ("fake", "paths", "api"),
    [
        ("ollama", {}, "ollama"),
        ("openai", {}, "openai"),
        # SGLang plays Ollama too
        ("ollama", {"/server_info": (200, b'{"model_path":"Qwen/Qwen2.5-7B"}')}, "openai"),
        ("openai", {"/server_info": LM_STUDIO, "/api/version": LM_STUDIO}, "openai"),
        # llama.cpp answers some paths of Ollama, but not this one
        ("openai", {"/api/tags": (200, b'{"models":[]}')}, "openai"),
    ],
)
def test_bodies_tell(fake: Api, paths: dict[str, tuple[int, bytes]], api: Api) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer(fake, paths=paths) as server:
            assert await detect_api(session, server.url) == api
            assert server.requests == [], "no token was spent"

    run(story)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (bad.status(404), Cause.MALFORMED),
        (bad.raw(200, b"<html>"), Cause.MALFORMED),
        (bad.status(401), Cause.UNAUTHORISED),
        (bad.status(503), Cause.BUSY),
        (bad.reset_before, Cause.RESET),
    ],
    ids=label,
)
def test_a_server_that_does_not_tell(fault: bad.Fault, cause: Cause) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("ollama", get_fault=fault) as server:
            found = await failure_of(detect_api(session, server.url))
            assert found.cause is cause
            assert server.url in found.message

    run(story)


def test_a_server_is_asked_only_if_the_file_does_not_say() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("openai") as server:
            said = HostSettings(name="h", url=server.url, api="openai")
            assert isinstance(await make_server(said, session), OpenAIServer)
            assert server.asked == []
            found = await make_server(HostSettings(name="h", url=server.url), session, api_key="k")
            assert (await ask(found)).text == "The answer."
            assert server.requests[0].headers["authorization"] == "Bearer k"
            down = HostSettings(name="h", url="http://127.0.0.1:1", api="ollama")
            assert isinstance(await make_server(down, session), OllamaServer)

    run(story)

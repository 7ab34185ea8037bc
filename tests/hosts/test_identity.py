"""Which program a server is, told by what it answers, and no token is spent on it."""

from __future__ import annotations

import json

import aiohttp
import pytest

from tests import bad_servers as bad
from tests.bad_servers import Api, FakeServer
from tests.hosts.harness import failure_of, label, run
from ygg.faults import Cause
from ygg.hosts.base import Identity, Product
from ygg.hosts.blame import apart
from ygg.hosts.identity import identify

#: As recorded; see the docstring of bad_servers.
VLLM_PAGE = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="Qwen/Qwen2.5-7B-Instruct"} 8.0
"""
Paths = dict[str, tuple[int, bytes]]


@pytest.mark.parametrize(
    ("api", "slots", "paths", "identity"),
    [
        (
            "ollama", None, {},
            Identity(api="ollama", product=Product.OLLAMA, version="0.13.5"),
        ),
        (
            "openai", 4, {},
            Identity(api="openai", product=Product.LLAMA_CPP, slots=4),
        ),
        (
            "openai", None, {"/props": (200, b'{"total_slots":2,"build_info":"b0-unknown"}')},
            Identity(api="openai", product=Product.LLAMA_CPP, version="b0-unknown", slots=2),
        ),
        (
            "openai", None, {"/props": (200, b'{"role":"router","total_slots":0}')},
            Identity(api="openai", product=Product.LLAMA_CPP),
        ),
        (
            "openai", None,
            {"/metrics": (200, VLLM_PAGE), "/version": (200, b'{"version":"0.33.0"}')},
            Identity(api="openai", product=Product.VLLM, version="0.33.0"),
        ),
        (
            "openai", None, {"/metrics": (200, VLLM_PAGE)},
            Identity(api="openai", product=Product.VLLM),
        ),
        (
            "ollama", None,
            {"/server_info": (
                200, b'{"model_path":"m","version":"0.5.23","max_running_requests":48}'
            )},
            Identity(api="openai", product=Product.SGLANG, version="0.5.23", slots=48),
        ),
        (
            "openai", None, {"/server_info": (200, b'{"model_path":"m"}')},
            Identity(api="openai", product=Product.SGLANG),
        ),
        ("openai", None, {}, Identity(api="openai", product=Product.OTHER)),
        (  # llama.cpp without --metrics says 501; others may say anything
            "openai", None, {"/metrics": (501, bad.error_body("openai", 501, "not supported"))},
            Identity(api="openai", product=Product.OTHER),
        ),
        (
            "openai", None, {"/metrics": (401, b"")},
            Identity(api="openai", product=Product.OTHER),
        ),
    ],
)  # fmt: skip
def test_bodies_tell(api: Api, slots: int | None, paths: Paths, identity: Identity) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer(api, slots=slots, paths=paths) as server:
            assert await identify(session, server.url) == identity
            assert server.requests == [], "no token was spent"

    run(story)


@pytest.mark.parametrize("version", ["a\nb", "x" * 41, "\x1b[2J"])
def test_a_version_that_is_none_is_left_out(version: str) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        paths = {"/api/version": (200, json.dumps({"version": version}).encode())}
        async with FakeServer("ollama", paths=paths) as server:
            assert (await identify(session, server.url)).version == ""

    run(story)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (bad.status(401), Cause.UNAUTHORISED),
        (bad.status(404), Cause.MALFORMED),
        (bad.status(503), Cause.BUSY),
        (bad.raw(200, b"<html>"), Cause.MALFORMED),
        (bad.reset_before, Cause.RESET),
        (bad.not_http, Cause.MALFORMED),
    ],
    ids=label,
)
def test_one_that_does_not_say_is_a_failure_with_the_way_out(
    fault: bad.Fault, cause: Cause
) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("ollama", get_fault=fault) as server:
            failure = await failure_of(identify(session, server.url))
            assert failure.cause is cause
            what, remedy = apart(failure)
            assert what.startswith(server.url)
            assert remedy
            assert f"{what}; {remedy}" == failure.message

    run(story)


def test_what_the_file_says_is_believed() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("openai") as server:
            failure = await failure_of(identify(session, server.url, api="ollama"))
            assert failure.cause is Cause.NO_MODEL, "it has no such path"
            assert server.asked == ["/api/version"]

    run(story)


def test_only_what_takes_memory_at_its_start_does() -> None:
    takes = {p for p in Product if Identity(api="openai", product=p).preallocates}
    assert takes == {Product.VLLM, Product.SGLANG}

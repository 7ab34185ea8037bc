"""The OpenAI dialect against a real llama.cpp: what the fakes are written from."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.hosts.harness import Heard, failure_of, request, run
from ygg.faults import Cause
from ygg.hosts.detect import detect_api
from ygg.hosts.openai import OpenAIServer

pytestmark = [pytest.mark.system, pytest.mark.model]


def test_it_answers_and_counts(real_server: str) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        heard = Heard()
        server = OpenAIServer(session, real_server)
        what = request("Say hello.", options={"num_predict": 12, "temperature": 0})
        found = await server.generate(what, heard)
        assert found.text.strip()
        assert 0 < found.completion_tokens <= 12
        assert (heard.prompt, heard.completion) == (found.prompt_tokens, found.completion_tokens)
        assert found.prompt_tokens > 0

    run(story)


def test_a_token_limit_cuts_and_says_so(real_server: str) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        server = OpenAIServer(session, real_server)
        found = await server.generate(
            request("Count from one to a hundred.", options={"num_predict": 4}), Heard()
        )
        assert (found.finish, found.completion_tokens) == ("length", 4)

    run(story)


def test_a_prompt_that_is_too_long_is_the_tasks_fault(real_server: str) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        server = OpenAIServer(session, real_server)
        found = await failure_of(server.generate(request("word " * 60_000), Heard()))
        assert (found.cause, found.taken) == (Cause.BAD_REQUEST, False)
        assert "context size" in found.message

    run(story)


def test_an_option_that_it_does_not_take_is_the_tasks_fault(real_server: str) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        server = OpenAIServer(session, real_server)
        found = await failure_of(server.generate(request(options={"temperature": "hot"}), Heard()))
        assert found.cause is Cause.BAD_REQUEST

    run(story)


def test_cancelled_it_has_its_slots_free_again(real_server: str) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        server = OpenAIServer(session, real_server)
        what = request("Tell a very long story.", options={"num_predict": 2000})
        heard = [Heard() for _ in range(2)]
        asked = [asyncio.ensure_future(server.generate(what, h)) for h in heard]
        for h in heard:
            await h.changed.wait()
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)
        assert all(task.cancelled() for task in asked)
        short = request("Say hello.", options={"num_predict": 4})
        assert (await server.generate(short, Heard())).text

    run(story)


def test_questions_that_spend_no_token(real_server: str) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        assert await detect_api(session, real_server) == "openai"
        server = OpenAIServer(session, real_server)
        await server.probe()
        await server.probe()
        assert len(await server.models()) == 1
        assert await server.has_model("whatever it is called")
        assert await server.parallelism() == 2
        assert await server.loaded() == []

    run(story)

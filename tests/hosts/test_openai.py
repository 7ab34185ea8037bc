"""The OpenAI dialect, against a fake written from what was recorded of its speakers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from tests import bad_servers as bad
from tests.bad_servers import FakeServer
from tests.hosts.harness import Heard, ask, failure_of, request, run
from ygg.faults import Cause
from ygg.hosts.base import Answer
from ygg.hosts.openai import OpenAIServer, chat_body
from ygg.tasks import Json


def answer(*lines: bytes) -> tuple[Answer, Heard]:
    """What comes of a stream of these pieces, and what was told of its tokens."""
    got: list[tuple[Answer, Heard]] = []

    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("openai") as server:
            server.fail_next(bad.saying(*lines))
            heard = Heard()
            got.append((await OpenAIServer(session, server.url).generate(request(), heard), heard))

    run(story)
    return got[0]


def delta(**fields: object) -> bytes:
    return bad.line("openai", bad.chunk([{"index": 0, "delta": fields, "finish_reason": None}]))


def sent(options: Mapping[str, Json]) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(chat_body(request(options=options)))
    return body


FINAL = bad.final("openai")


def test_an_answer_with_all_that_is_known_of_it() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("openai", answer="Rayleigh scattering, mostly.") as server:
            heard = Heard()
            found = await OpenAIServer(session, server.url).generate(request(), heard)
            assert found.text == "Rayleigh scattering, mostly."
            assert (found.thinking, found.finish) == ("", "stop")
            assert (found.prompt_tokens, found.completion_tokens) == (26, 3)
            assert (heard.prompt, heard.completion) == (26, 3)
            assert found.seconds > 0
            assert found.server_wait_seconds is None

    run(story)


def test_what_is_sent() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("openai") as server:
            what = request(
                keep_alive="30m", options={"num_predict": 512, "num_ctx": 8192, "seed": 7}
            )
            await ask(OpenAIServer(session, server.url), what)
            assert server.requests[0].path == "/v1/chat/completions"
            assert server.requests[0].json == {
                "model": "m",
                "messages": [{"role": "user", "content": "Why?"}],
                "stream": True,
                "stream_options": {"include_usage": True},
                "max_tokens": 512,
                "seed": 7,
            }

    run(story)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("name", "value", "becomes"),
    [
        ("num_predict", 5, {"max_tokens": 5}),
        ("num_predict", 0, {"max_tokens": 0}),
        ("num_predict", -1, {}),
        ("temperature", 0.5, {"temperature": 0.5}),
        ("top_p", 0.9, {"top_p": 0.9}),
        ("stop", ["a"], {"stop": ["a"]}),
        ("num_ctx", 4096, {}),
        ("num_gpu", 99, {}),
        ("seed", None, {}),
        ("format", "json", {"response_format": {"type": "json_object"}}),
        (
            "format",
            {"type": "object"},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        ("think", False, {"chat_template_kwargs": {"enable_thinking": False}}),
        (
            "think",
            "low",
            {"reasoning_effort": "low", "chat_template_kwargs": {"reasoning_effort": "low"}},
        ),
        ("chat_template_kwargs", {"x": 1}, {"chat_template_kwargs": {"x": 1}}),
        ("top_k", 40, {"top_k": 40}),
        ("never_heard_of", {"a": 1}, {"never_heard_of": {"a": 1}}),
        ("stream", False, {}),
        ("stream_options", {}, {}),
        ("messages", [], {}),
        ("n", 1, {"n": 1}),
    ],
)
def test_options_are_in_ollamas_words(name: str, value: Json, becomes: dict[str, Json]) -> None:
    assert sent({name: value}) == sent({}) | becomes


@pytest.mark.pure
def test_options_do_not_change_the_model() -> None:
    assert sent({"model": "evil"})["model"] == "m"


@pytest.mark.pure
def test_no_model_is_not_sent() -> None:
    assert "model" not in json.loads(chat_body(request(model="")))


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "Hm."},
        {"reasoning": "Hm."},
        {"reasoning": "Hm.", "reasoning_content": "Hm."},
        {"reasoning": "Hm.", "content": None},
        {"reasoning": "Hm.", "content": ""},
    ],
)
def test_thinking_is_kept_apart_under_each_of_its_names(fields: dict[str, str]) -> None:
    found, heard = answer(delta(**fields), delta(content="Yes"), FINAL)
    assert (found.text, found.thinking) == ("Yes", "Hm.")
    assert heard.completion == 2


def test_thinking_that_a_server_left_in_the_text_is_split_off() -> None:
    found, _ = answer(delta(content="<think>Hm."), delta(content="</think>\nYes"), FINAL)
    assert (found.text, found.thinking) == ("Yes", "Hm.")


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("stop", "stop"), ("length", "length"), ("tool_calls", "stop"), ("repetition", "length")],
)
def test_reasons_to_finish(reason: str, finish: str) -> None:
    found, _ = answer(delta(content="Yes"), bad.final("openai", finish=reason))
    assert found.finish == finish


def test_usage_counts_once_however_often_it_comes() -> None:
    """vLLM can send totals with every chunk, and some proxies send the last one twice."""
    totals = [{"prompt_tokens": 9, "completion_tokens": n} for n in (1, 2)]
    found, heard = answer(
        bad.line("openai", bad.chunk([{"index": 0, "delta": {"content": "a"}}], usage=totals[0])),
        bad.line("openai", bad.chunk([{"index": 0, "delta": {"content": "b"}}], usage=totals[1])),
        bad.line("openai", bad.chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])),
        bad.line("openai", bad.chunk([], usage=totals[1])),
        bad.line("openai", bad.chunk([], usage=totals[1])),
        b"data: [DONE]\n\n",
    )
    assert (found.prompt_tokens, found.completion_tokens) == (9, 2)
    assert (heard.prompt, heard.completion) == (9, 2)


def test_a_server_that_counts_nothing() -> None:
    found, heard = answer(
        delta(content="a"),
        delta(content="b"),
        bad.line(
            "openai", bad.chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=None)
        ),
    )
    assert (found.prompt_tokens, found.completion_tokens) == (0, 2)
    assert (heard.prompt, heard.completion) == (0, 2)


def test_pings_comments_and_other_fields_are_passed_over() -> None:
    found, heard = answer(
        b": OPENROUTER PROCESSING\n\n",
        b":\n\n",
        bad.hello("openai"),
        b"event: message\nid: 7\nretry: 100\n",
        delta(content="Yes"),
        FINAL,
    )
    assert found.text == "Yes"
    assert heard.completion == 2, "as the server counts"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_crlf_and_characters_split_over_pieces(size: int) -> None:
    text = "Grüße aus 東京 🎉\u2028."
    data = (bad.hello("openai") + delta(content=text) + FINAL).replace(b"\n", b"\r\n")
    found, _ = answer(*(data[i : i + size] for i in range(0, len(data), size)))
    assert found.text == text


def test_no_space_after_data_is_needed() -> None:
    found, _ = answer((delta(content="Yes") + FINAL).replace(b"data: ", b"data:"))
    assert found.text == "Yes"


def test_a_connection_is_used_again() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("openai") as server:
            client = OpenAIServer(session, server.url)
            for _ in range(5):
                await ask(client)
                await client.probe()
            assert server.connections == 1

    run(story)


# -- questions that spend no token -----------------------------------------------------------------

UNKNOWN_PATH = (200, b'{"error":"Unexpected endpoint or method. (GET /x). Returning 200 anyway"}')


def test_llama_cpp_says_its_slots_and_takes_any_name() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("openai", models=["tiny.gguf"], slots=4) as server:
            client = OpenAIServer(session, server.url)
            assert await client.models() == ["tiny.gguf"]
            assert await client.parallelism() == 4
            assert await client.has_model("anything")
            assert await client.loaded() == []

    run(story)


def test_a_router_of_llama_cpp_takes_only_names_it_knows() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("openai", models=["a", "b"]) as server:
            server.paths["/props"] = (200, b'{"role":"router","total_slots":4}')
            client = OpenAIServer(session, server.url)
            assert await client.parallelism() is None
            assert await client.has_model("a")
            assert not await client.has_model("c")

    run(story)


@pytest.mark.parametrize("props", [None, UNKNOWN_PATH, (200, b"<html>"), (405, b"")])
def test_others_say_nothing_of_slots(props: tuple[int, bytes] | None) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("openai", models=["a"]) as server:
            if props is not None:
                server.paths["/props"] = props
            client = OpenAIServer(session, server.url)
            assert await client.parallelism() is None
            assert await client.has_model("a")
            assert not await client.has_model("b")

    run(story)


def test_a_wrong_key_is_seen_where_only_the_list_of_models_needs_none() -> None:
    """llama.cpp: /v1/models and /health are open, the rest wants the key."""

    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("openai", models=["a"]) as server:
            server.paths["/props"] = (401, b'{"error":{"code":401,"message":"Invalid API Key"}}')
            found = await failure_of(OpenAIServer(session, server.url).has_model("a"))
            assert found.cause is Cause.UNAUTHORISED

    run(story)


@pytest.mark.parametrize(
    ("paths", "asked"),
    [
        ({}, "/health"),  # llama.cpp
        ({"/health": (200, b"")}, "/health"),  # vLLM
        ({"/health": (404, b"")}, "/v1/models"),
        # SGLang spends a token for each /health
        ({"/server_info": (200, b'{"model_path":"Qwen/Qwen2.5-7B"}')}, "/v1/models"),
        ({"/server_info": UNKNOWN_PATH, "/health": UNKNOWN_PATH}, "/health"),  # LM Studio
    ],
)
def test_the_health_path_is_one_that_costs_nothing(
    paths: dict[str, tuple[int, bytes]], asked: str
) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("openai", paths=paths) as server:
            client = OpenAIServer(session, server.url)
            await client.probe()
            server.asked.clear()
            await client.probe()
            assert server.asked == [asked], "found once, then it is one question a probe"

    run(story)


def test_loading_is_busy_for_a_probe_too() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        loading = bad.status(503, "Loading model", Retry_After="3")
        async with FakeServer("openai", get_fault=loading) as server:
            client = OpenAIServer(session, server.url)
            found = await failure_of(client.probe())
            assert (found.cause, found.retry_after) == (Cause.BUSY, 3.0)
            server.get_fault = None
            await client.probe()
            server.get_fault = bad.status(500)
            assert (await failure_of(client.probe())).cause is Cause.SERVER_ERROR

    run(story)

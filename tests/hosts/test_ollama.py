"""Ollama's dialect, against a fake written from what was recorded of it."""

from __future__ import annotations

import aiohttp
import pytest

from tests import bad_servers as bad
from tests.bad_servers import FakeServer
from tests.hosts.harness import Heard, ask, failure_of, label, request, run
from ygg.faults import Cause
from ygg.hosts.base import Answer, Loaded, Message, Request
from ygg.hosts.ollama import OllamaServer, chat_body, has_name
from ygg.tasks import Json


def answer(*lines: bytes) -> tuple[Answer, Heard]:
    """What comes of a stream of these pieces, and what was told of its tokens."""
    got: list[tuple[Answer, Heard]] = []

    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("ollama") as server:
            server.fail_next(bad.saying(*lines))
            heard = Heard()
            got.append((await OllamaServer(session, server.url).generate(request(), heard), heard))

    run(story)
    return got[0]


def test_an_answer_with_all_that_is_known_of_it() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("ollama", answer="Rayleigh scattering, mostly.") as server:
            heard = Heard()
            found = await OllamaServer(session, server.url).generate(request(), heard)
            assert found.text == "Rayleigh scattering, mostly."
            assert (found.thinking, found.finish) == ("", "stop")
            assert (found.prompt_tokens, found.completion_tokens) == (26, 3)
            assert (heard.prompt, heard.completion) == (26, 3)
            assert found.seconds > 0
            # total - load - prompt - eval, of the recorded final object: it waited half a second
            assert found.server_wait_seconds == 0.5

    run(story)


def test_what_is_sent() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("ollama") as server:
            what = request(
                model="qwen2.5:7b",
                keep_alive="30m",
                options={
                    "num_ctx": 8192, "num_predict": 512, "think": False, "format": "json", "seed": 7
                },
            )  # fmt: skip
            await ask(OllamaServer(session, server.url), what)
            assert server.requests[0].path == "/api/chat"
            assert server.requests[0].json == {
                "model": "qwen2.5:7b",
                "messages": [{"role": "user", "content": "Why?"}],
                "stream": True,
                "truncate": False,
                "keep_alive": "30m",
                "think": False,
                "format": "json",
                "options": {"num_ctx": 8192, "num_predict": 512, "seed": 7},
            }

    run(story)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("given", "sent"), [("30m", b'"30m"'), ("-1", b"-1"), ("0", b"0"), ("300", b"300")]
)
def test_a_number_of_seconds_is_sent_as_a_number(given: str, sent: bytes) -> None:
    assert b'"keep_alive":' + sent in chat_body(request(keep_alive=given))


@pytest.mark.pure
def test_nothing_that_was_not_asked_for_is_sent() -> None:
    """Other options than the loaded ones make Ollama load the model anew."""
    messages = [Message(role="system", content="Be brief."), Message(role="user", content="Hi")]
    assert chat_body(Request(messages=messages, model="m")) == (
        b'{"model":"m","messages":[{"role":"system","content":"Be brief."},'
        b'{"role":"user","content":"Hi"}],"stream":true,"truncate":false}'
    )


@pytest.mark.pure
def test_prompts_are_cut_only_by_who_asks_for_it() -> None:
    body = chat_body(request(options={"truncate": True, "shift": False}))
    assert b'"truncate":true' in body
    assert b'"shift":false' in body


def test_thinking_is_kept_apart() -> None:
    found, heard = answer(
        bad.token("ollama", "", "Hm, "),
        bad.token("ollama", "", "yes."),
        bad.token("ollama", "Yes"),
        bad.final("ollama", completion=3),
    )
    assert (found.text, found.thinking) == ("Yes", "Hm, yes.")
    assert heard.completion == 3


@pytest.mark.parametrize(
    ("text", "says", "thinks"),
    [
        ("<think>Hm.</think>\n\nYes", "Yes", "Hm."),
        ("\n<think>\nHm.\n</think>Yes", "Yes", "Hm."),
        ("Say <think>x</think>", "Say <think>x</think>", ""),
    ],
)
def test_thinking_that_a_server_left_in_the_text_is_split_off(
    text: str, says: str, thinks: str
) -> None:
    half = len(text) // 2
    found, _ = answer(
        bad.token("ollama", text[:half]), bad.token("ollama", text[half:]), bad.final("ollama")
    )
    assert (found.text, found.thinking) == (says, thinks)


def test_thinking_that_never_ended_is_no_answer() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("ollama") as server:
            ending = bad.final("ollama", finish="length")
            server.fail_next(bad.saying(bad.token("ollama", "<think>Hm, hm"), ending))
            found = await failure_of(ask(OllamaServer(session, server.url)))
            assert found.cause is Cause.EMPTY_ANSWER
            assert "think: false" in found.message

    run(story)


def test_a_cut_answer_says_so() -> None:
    found, _ = answer(bad.token("ollama", "Half"), bad.final("ollama", finish="length"))
    assert (found.text, found.finish) == ("Half", "length")


@pytest.mark.parametrize(("counted", "told"), [(7, 7), (2, 2), (1, 2), (0, 2)])
def test_tokens_are_told_as_the_server_counts_them_but_never_taken_back(
    counted: int, told: int
) -> None:
    found, heard = answer(
        bad.token("ollama", "a"), bad.token("ollama", "b"), bad.final("ollama", completion=counted)
    )
    assert heard.completion == told
    assert found.completion_tokens == (counted or 2)


def test_tokens_are_told_while_they_flow() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("ollama") as server:
            heard = Heard()

            async def in_two(peer: bad.Peer) -> None:
                await peer.head()
                await peer.tokens("Half ")
                await heard.changed.wait()
                assert heard.completion == 1
                await peer.tokens("more")
                await peer.piece(bad.final("ollama"))
                await peer.end()

            server.fail_next(in_two)
            found = await OllamaServer(session, server.url).generate(request(), heard)
            assert found.text == "Half more"
            assert heard.completion == 2

    run(story)


def test_a_final_object_of_an_old_server_that_leaves_out_what_is_zero() -> None:
    found, heard = answer(
        bad.token("ollama", "Yes"),
        b'{"model":"m","created_at":"x","message":{"role":"assistant","content":""},"done":true}\n',
    )
    assert (found.finish, found.server_wait_seconds) == ("stop", None)
    assert (found.prompt_tokens, found.completion_tokens) == (0, 1)
    assert (heard.prompt, heard.completion) == (0, 1)


@pytest.mark.parametrize(
    "odd",
    [
        {"prompt_eval_count": -1, "eval_count": -7},
        {"prompt_eval_count": 10**400, "total_duration": 10**400},
        {"total_duration": 1e300, "load_duration": -5},
        {"prompt_eval_count": "many", "eval_count": None, "total_duration": [1]},
        {"prompt_eval_count": 1.5, "eval_duration": True},
    ],
)
def test_counts_that_are_none_cost_no_answer(odd: dict[str, object]) -> None:
    found, heard = answer(
        bad.token("ollama", "Yes"),
        bad.line("ollama", {"done": True, "done_reason": "stop", **odd}),
    )
    assert (found.text, found.completion_tokens, heard.completion) == ("Yes", 1, 1)
    assert found.prompt_tokens in (0, 1)
    assert not found.server_wait_seconds


def test_time_that_does_not_add_up_is_no_wait() -> None:
    found, _ = answer(
        bad.token("ollama", "Yes"),
        bad.line("ollama", {"done": True, "total_duration": 5, "eval_duration": 7}),
    )
    assert found.server_wait_seconds == 0.0


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_characters_may_be_split_over_pieces(size: int) -> None:
    text = "Grüße aus 東京 🎉\u2028."
    data = bad.token("ollama", text) + bad.final("ollama")
    found, _ = answer(*(data[i : i + size] for i in range(0, len(data), size)))
    assert found.text == text


def test_a_last_line_without_its_newline_counts() -> None:
    found, _ = answer(bad.token("ollama", "Yes"), bad.final("ollama").rstrip())
    assert found.text == "Yes"


def test_carriage_returns_are_no_matter() -> None:
    data = bad.token("ollama", "Yes") + bad.final("ollama")
    found, _ = answer(data.replace(b"\n", b"\r\n\r\n"))
    assert found.text == "Yes"


def test_a_connection_is_used_again() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("ollama") as server:
            client = OllamaServer(session, server.url)
            for _ in range(5):
                await ask(client)
                await client.probe()
            assert server.connections == 1

    run(story)


def test_questions_that_spend_no_token() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("ollama", models=["a:latest", "b:7b"]) as server:
            client = OllamaServer(session, server.url)
            await client.probe()
            assert await client.models() == ["a:latest", "b:7b"]
            assert [await client.has_model(name) for name in ("a", "b:7b", "b", "c")] == [
                True, True, False, False,
            ]  # fmt: skip
            assert await client.parallelism() is None
            assert (await client.loaded())[0] == Loaded("a:latest", 3 * 2**30, 2 * 2**30)
            assert server.requests == []
            server.paths["/api/ps"] = (200, b'{"models":[]}')
            assert await client.loaded() == []

    run(story)


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (200, b"<html>", Cause.MALFORMED),
        (200, b'{"error":"Unexpected endpoint"}', Cause.MALFORMED),
        (401, b"{}", Cause.UNAUTHORISED),
        (500, b"{}", Cause.SERVER_ERROR),
        (503, b"{}", Cause.BUSY),
    ],
)
def test_a_probe_that_is_not_answered_well_fails(status: int, body: bytes, cause: Cause) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("ollama") as server:
            client = OllamaServer(session, server.url)
            server.paths["/api/version"] = (status, body)
            found = await failure_of(client.probe())
            assert found.cause is cause
            assert "/api/version" in found.message

    run(story)


def test_a_probe_that_is_met_with_silence_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ygg.hosts.http.ASK_SECONDS", 0.1)

    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("ollama", get_fault=bad.silence) as server:
            found = await failure_of(OllamaServer(session, server.url).probe())
            assert (found.cause, found.taken) == (Cause.STALL, False)

    run(story)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (bad.not_http, Cause.MALFORMED),
        (bad.reset_before, Cause.RESET),
        (bad.cut_after(), Cause.RESET),
        (bad.gzip_bomb, Cause.MALFORMED),
        (bad.redirect("http://elsewhere.example/"), Cause.MALFORMED),
    ],
    ids=label,
)
def test_a_probe_that_meets_a_bad_peer_fails(fault: bad.Fault, cause: Cause) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("ollama", get_fault=fault) as server:
            found = await failure_of(OllamaServer(session, server.url).probe())
            assert found.cause is cause

    run(story)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("model", "there"),
    [
        ("a", True),
        ("a:latest", True),
        ("b", False),
        ("host:5000/x/c", True),
        ("host:5000/x/d", False),
        ("", False),
    ],
)
def test_no_tag_means_latest(model: str, there: bool) -> None:
    assert has_name(["a:latest", "b:7b", "host:5000/x/c:latest"], model) is there


@pytest.mark.pure
def test_options_that_are_nobodys_stay_where_they_were() -> None:
    options: dict[str, Json] = {"model": "evil", "stream": False}
    body = chat_body(Request(messages=[], model="m", options=options))
    assert body.startswith(b'{"model":"m","messages":[],"stream":true')

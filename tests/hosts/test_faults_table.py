"""Every way in which a model server can fail, on real sockets, and the cause it is called by."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import bad_servers as bad
from tests.bad_servers import Api, FakeServer, Fault
from tests.hosts.harness import PATIENT, Heard, ask, failure_of, label, request, run, server_for
from ygg.faults import Cause, Failure
from ygg.hosts import chat
from ygg.hosts.base import Limits
from ygg.hosts.blame import read_date, retry_after_seconds
from ygg.hosts.streams import LINE_BYTES_MAX

BOTH: tuple[Api, ...] = ("ollama", "openai")
both = pytest.mark.parametrize("api", BOTH)

QUICK = Limits(first_token=0.2, stall=0.2, timeout=30.0)


def failure(api: Api, fault: Fault, limits: Limits = PATIENT) -> Failure:
    """What comes of a request that meets this fault; also: the next one is answered."""
    caught: list[Failure] = []

    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer(api) as server:
            client = server_for(api, session, server.url)
            server.fail_next(fault)
            heard = Heard()
            caught.append(await failure_of(client.generate(request(limits=limits), heard)))
            assert server.url in str(caught[0]), "the message names the server"
            assert ", model m: " in str(caught[0]), "and the model"
            assert "; " in str(caught[0]), "and what to do"
            assert (await ask(client)).text == "The answer."
            assert len(server.requests) == 2, "nothing was asked twice"

    run(story)
    return caught[0]


@both
@pytest.mark.parametrize(
    ("status", "cause", "taken"),
    [
        (400, Cause.BAD_REQUEST, False),
        (401, Cause.UNAUTHORISED, False),
        (403, Cause.UNAUTHORISED, False),
        (404, Cause.NO_MODEL, False),
        (405, Cause.UNSUPPORTED, False),
        (408, Cause.REQUEST_TIMEOUT, True),
        (409, Cause.SERVER_ERROR, True),
        (413, Cause.BAD_REQUEST, False),
        (418, Cause.BAD_REQUEST, False),
        (422, Cause.BAD_REQUEST, False),
        (425, Cause.SERVER_ERROR, True),
        (429, Cause.BUSY, False),
        (500, Cause.SERVER_ERROR, True),
        (501, Cause.SERVER_ERROR, True),
        (502, Cause.SERVER_ERROR, True),
        (503, Cause.BUSY, False),
        (504, Cause.SERVER_ERROR, True),
        (204, Cause.MALFORMED, True),
    ],
)
def test_status_decides_the_cause(api: Api, status: int, cause: Cause, taken: bool) -> None:
    body = bad.error_body(api, status, "some reason") if status != 204 else b""
    found = failure(api, bad.raw(status, body))
    assert (found.cause, found.taken) == (cause, taken)
    assert str(status) in found.message
    assert status == 204 or "some reason" in found.message


@both
@pytest.mark.parametrize(
    "said",
    [
        '"m" does not support thinking',
        "registry.ollama.ai/library/gemma:2b does not support tools",
        '"nomic-embed-text" does not support chat',
        "This server does not support completions. Start it without `--embeddings`",
        "The model does not support Chat Completions API",
    ],
)
def test_does_not_support_is_about_the_model_and_not_the_task(api: Api, said: str) -> None:
    assert failure(api, bad.status(400, said)).cause is Cause.UNSUPPORTED


@both
@pytest.mark.parametrize(
    "said",
    [
        "prompt too long: Why does Rust say: does not support foo",
        "invalid input: why is it that my server says m does not support thinking",
        "m does not support foo",
    ],
)
def test_a_prompt_that_is_quoted_says_nothing_of_the_model(api: Api, said: str) -> None:
    assert failure(api, bad.status(400, said)).cause is Cause.BAD_REQUEST


@pytest.mark.pure
@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999",
        "Mon, 01 Jan 2024 00:00:00 +9999",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 01 Jan 2024 00:00:00",
        "Mon, 99 Foo 99999999999 99:99:99 GMT",
        "",
    ],
)
def test_an_absurd_date_is_none(date: str) -> None:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    assert read_date(date) is None
    assert retry_after_seconds(date, now) is None


@pytest.mark.pure
@given(date=st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ [-+]\d+"))
def test_no_date_is_too_absurd_to_be_read(date: str) -> None:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    seconds = retry_after_seconds(date, now)
    assert seconds is None or 0 <= seconds <= 86400


@pytest.mark.parametrize("header", ["Date", "Retry-After"])
def test_an_absurd_date_beside_an_error_is_looked_over(header: str) -> None:
    async def odd(peer: bad.Peer) -> None:
        await peer.head(503, length=2, **{header: "Mon, 01 Jan 2024 00:00:00 +99999999999999"})
        await peer.send(b"{}")

    assert failure("ollama", odd).cause is Cause.BUSY


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":"the reason"}',
        b'{"error":{"code":500,"message":"the reason","type":"server_error"}}',
        b'{"object":"error","message":"the reason","type":"BadRequest","param":null,"code":500}',
        b'{"detail":"the reason"}',
        b"the reason",
        b'"the reason"',
        b'{"error":{"nobody":"knows the reason"}}',
        b'{"error":["the reason"]}',
    ],
)
def test_what_the_server_said_is_found_in_every_shape(body: bytes) -> None:
    found = failure("openai", bad.raw(500, body))
    assert found.cause is Cause.SERVER_ERROR
    assert "the reason" in found.message


@pytest.mark.parametrize(
    "body", [b"", b"null", b"{}", b'{"error":' * 900, b"\xff\xfe\x00", b"[" * 9000]
)
def test_an_error_may_say_nothing_or_nonsense(body: bytes) -> None:
    assert failure("ollama", bad.raw(500, body)).cause is Cause.SERVER_ERROR


def test_an_error_that_breaks_off_still_has_its_status() -> None:
    async def half_an_error(peer: bad.Peer) -> None:
        await peer.head(404, length=100)
        await peer.send(b'{"error":"mod')

    assert failure("ollama", half_an_error).cause is Cause.NO_MODEL


def test_what_the_server_said_is_bounded_and_in_one_line() -> None:
    said = "\x1b[2J\nforged line\u202e" + "x" * 50_000
    found = failure("ollama", bad.status(500, said))
    assert len(found.message) < 1000
    assert found.message.isprintable()
    assert "\\x1b[2J\\nforged line\\u202e" in found.message


@both
@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("1.5", 1.5), ("0", 0.0), ("soon", None), ("-3", None), ("9" * 12, 86400.0)],
)
def test_busy_says_for_how_long(api: Api, header: str, seconds: float | None) -> None:
    found = failure(api, bad.status(429, "slow down", Retry_After=header))
    assert (found.cause, found.retry_after) == (Cause.BUSY, seconds)


def test_a_date_to_come_back_is_read_by_the_servers_own_clock() -> None:
    wrong = datetime(2031, 1, 1, tzinfo=UTC)
    found = failure(
        "ollama",
        bad.status(
            503,
            "server busy",
            Date=format_datetime(wrong, usegmt=True),
            Retry_After=format_datetime(wrong + timedelta(seconds=90), usegmt=True),
        ),
    )
    assert (found.cause, found.retry_after) == (Cause.BUSY, 90.0)


def test_loading_is_busy() -> None:
    assert failure("openai", bad.status(503, "Loading model")).cause is Cause.BUSY


@both
def test_no_redirect_is_followed_and_its_host_is_named(api: Api) -> None:
    found = failure(api, bad.redirect("http://login.example:81/in?secret=abc"))
    assert (found.cause, found.taken) == (Cause.MALFORMED, False)
    assert "login.example" in found.message
    assert "abc" not in found.message


@both
@pytest.mark.parametrize(
    ("fault", "limits", "cause"),
    [
        (bad.reset_before, PATIENT, Cause.RESET),
        (bad.close_before, PATIENT, Cause.RESET),
        (bad.silence, QUICK, Cause.FIRST_TOKEN),
        (bad.silence, replace(QUICK, first_token=30.0, timeout=0.2), Cause.TIMEOUT),
        (bad.head_then_silence, QUICK, Cause.FIRST_TOKEN),
        (bad.drip, QUICK, Cause.FIRST_TOKEN),
        (bad.stall_after("Half ", "an"), QUICK, Cause.STALL),
        (bad.stall_after("Half ", "an"), replace(PATIENT, timeout=0.3), Cause.DEADLINE),
        (bad.slow_tokens, replace(PATIENT, timeout=0.3), Cause.DEADLINE),
        (bad.reset_after("Half ", "an"), PATIENT, Cause.CUT_OFF),
        (bad.cut_after("Half ", "an"), PATIENT, Cause.CUT_OFF),
        (bad.cut_after(), PATIENT, Cause.CUT_OFF),
        (bad.no_final("Half ", "an"), PATIENT, Cause.NO_FINAL),
        (bad.no_final(), PATIENT, Cause.NO_FINAL),
        (bad.not_http, PATIENT, Cause.MALFORMED),
        (bad.endless_head, PATIENT, Cause.MALFORMED),
        (bad.broken_chunks, PATIENT, Cause.MALFORMED),
        (bad.gzip_bomb, PATIENT, Cause.MALFORMED),
        (bad.endless_line, PATIENT, Cause.MALFORMED),
        (bad.endless_tokens, PATIENT, Cause.ANSWER_TOO_LONG),
    ],
    ids=label,
)
def test_connections_that_go_wrong(api: Api, fault: Fault, limits: Limits, cause: Cause) -> None:
    found = failure(api, fault, limits)
    assert (found.cause, found.taken) == (cause, True)
    if cause in {Cause.STALL, Cause.CUT_OFF, Cause.NO_FINAL} and found.partial:
        assert found.partial == "Half an"


@both
@pytest.mark.parametrize(
    ("limits", "cause", "says"),
    [
        (replace(PATIENT, timeout=0.2), Cause.TIMEOUT, "its whole timeout of 0.2 s; raise the timeout"),
        (replace(PATIENT, first_token=0.2), Cause.FIRST_TOKEN, "no token within 0.2 s"),
    ],
)  # fmt: skip
def test_the_limit_that_passed_before_the_first_token_is_the_one_named(
    api: Api, limits: Limits, cause: Cause, says: str
) -> None:
    found = failure(api, bad.silence, limits)
    assert found.cause is cause
    assert says in found.message


@both
def test_what_had_come_is_kept_but_not_all_of_a_flood(api: Api) -> None:
    assert failure(api, bad.stall_after("Half ", "an"), QUICK).partial == "Half an"
    assert failure(api, bad.endless_tokens).partial == "x" * 65536


@both
def test_pings_are_no_tokens(api: Api) -> None:
    ping = b": ping\n\n" if api == "openai" else b"\n"
    assert failure(api, bad.forever(ping, pause=0.002), QUICK).cause is Cause.FIRST_TOKEN


@both
def test_empty_pieces_are_no_tokens(api: Api) -> None:
    empty = bad.hello("openai") if api == "openai" else bad.token("ollama", "")
    assert failure(api, bad.forever(empty, pause=0.002), QUICK).cause is Cause.FIRST_TOKEN


def test_empty_pieces_do_not_hold_off_the_stall_limit() -> None:
    async def then_pings(peer: bad.Peer) -> None:
        await peer.head()
        await peer.tokens("Half ")
        while not peer.reader.at_eof():
            await peer.piece(b": ping\n\n")
            await asyncio.sleep(0.002)

    assert failure("openai", then_pings, QUICK).cause is Cause.STALL


@both
@pytest.mark.parametrize(
    "text",
    [
        b"{broken",
        b"[]",
        b"42",
        b'{"message":5}',
        b'{"choices":{}}',
        b'{"model":"m"}',
        b'{"message":{"content":"\xff"}}',
        b'{"choices":[{"delta":{"content":"\xff"}}]}',
        b"<html>login</html>",
        b'{"message":{"content":"\\ud800"},"choices":[{"delta":{"content":"\\ud800"}}]}',
        b'{"error":' + b"[" * 100_000,
    ],
)
def test_lines_that_are_not_the_protocol(api: Api, text: bytes) -> None:
    prefix = b"data: " if api == "openai" and text[:1] in b"{[4" else b""
    found = failure(api, bad.saying(prefix + text + b"\n"))
    assert (found.cause, found.taken) == (Cause.MALFORMED, True)


@pytest.mark.parametrize(
    ("api", "error", "cause"),
    [
        ("ollama", "model runner has unexpectedly stopped", Cause.SERVER_ERROR),
        ("openai", {"code": 500, "message": "died", "type": "server_error"}, Cause.SERVER_ERROR),
        ("openai", {"code": 400, "message": "too long", "type": "x"}, Cause.BAD_REQUEST),
        ("openai", {"code": "429", "message": "slow down"}, Cause.BUSY),
        ("openai", {"code": None, "message": "?", "type": "api_error"}, Cause.SERVER_ERROR),
        ("openai", {"code": 200, "message": "?"}, Cause.SERVER_ERROR),
        ("openai", "Unauthorized", Cause.SERVER_ERROR),
        ("openai", {}, Cause.SERVER_ERROR),
    ],
)
def test_errors_inside_a_stream_go_by_their_code(api: Api, error: object, cause: Cause) -> None:
    found = failure(api, bad.error_inside(error, "Half ", "an"))
    assert (found.cause, found.partial) == (cause, "Half an")


def test_sglang_puts_its_error_at_the_top() -> None:
    error = {"object": "error", "message": "the reason", "type": "BadRequest", "code": 400}
    found = failure("openai", bad.saying(bad.line("openai", error)))
    assert found.cause is Cause.BAD_REQUEST
    assert "the reason" in found.message


def test_an_error_may_come_bare_though_a_stream_was_asked_for() -> None:
    """LM Studio answers with 200 what it doesn't know."""
    found = failure("openai", bad.raw(200, b'{"error":"Unexpected endpoint"}'))
    assert found.cause is Cause.SERVER_ERROR
    assert "Unexpected endpoint" in found.message


@both
@pytest.mark.parametrize(
    ("thinking", "finish", "says"),
    [
        ("", "stop", "stopped at once"),
        ("Hm.", "stop", "thought and then said nothing"),
        ("", "length", "before the first word"),
        ("Hm.", "length", "raise num_predict, or set think: false"),
    ],
)
def test_an_empty_answer_says_why(api: Api, thinking: str, finish: str, says: str) -> None:
    pieces = [bad.token(api, "", thinking)] if thinking else []
    ending = bad.final(api, finish=finish, completion=len(pieces))
    found = failure(api, bad.saying(*pieces, ending))
    assert (found.cause, found.taken) == (Cause.EMPTY_ANSWER, True)
    assert says in found.message


@both
def test_white_space_is_an_empty_answer(api: Api) -> None:
    ending = bad.final(api)
    assert failure(api, bad.saying(bad.token(api, " \n\n"), ending)).cause is Cause.EMPTY_ANSWER


@pytest.mark.parametrize(
    ("finish", "cause"),
    [
        ("content_filter", Cause.REFUSED_ANSWER),
        ("abort", Cause.SERVER_ERROR),
        ("error", Cause.SERVER_ERROR),
    ],
)
def test_reasons_to_finish_that_are_no_answer(finish: str, cause: Cause) -> None:
    ending = bad.final("openai", finish=finish)
    assert failure("openai", bad.saying(bad.token("openai", "Well"), ending)).cause is cause


def test_a_model_that_declines() -> None:
    declines = bad.chunk([{"index": 0, "delta": {"refusal": "I'd rather not."}}])
    found = failure("openai", bad.saying(bad.line("openai", declines)))
    assert found.cause is Cause.REFUSED_ANSWER
    assert "I'd rather not." in found.message


def test_done_without_a_reason_to_finish_is_no_end() -> None:
    found = failure("openai", bad.saying(bad.token("openai", "Half"), b"data: [DONE]\n\n"))
    assert (found.cause, found.partial) == (Cause.NO_FINAL, "Half")


@both
def test_half_a_final_object_is_none(api: Api) -> None:
    half = bad.final(api)[:40]
    found = failure(api, bad.saying(bad.token(api, "Half"), half))
    assert (found.cause, found.partial) == (Cause.NO_FINAL, "Half")
    assert "inside a line" in found.message


def test_a_task_that_is_not_unicode_never_leaves() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("ollama") as server:
            client = server_for("ollama", session, server.url)
            found = await failure_of(ask(client, request("\ud800")))
            assert (found.cause, found.taken) == (Cause.BAD_REQUEST, False)
            assert server.requests == []

    run(story)


def test_a_body_that_loses_its_form_half_way_is_a_stall() -> None:
    """aiohttp closes the connection and says nothing to who reads from it: the limit does."""

    async def answer(peer: bad.Peer) -> None:
        await peer.head()
        await peer.tokens("Half")
        await asyncio.sleep(0.05)  # in a read of its own
        await peer.send(b"no chunk\r\n")
        await peer.gone()

    assert failure("ollama", answer, QUICK).cause is Cause.STALL


# -- connections -----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "http://no-such-host.invalid:{port}"])
def test_a_host_that_can_not_be_reached_never_took_the_request(api: Api, url: str) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        client = server_for(api, session, url.format(port=bad.closed_port()))
        for found in (await failure_of(ask(client)), await failure_of(client.probe())):
            assert (found.cause, found.taken, found.strike) == (Cause.REFUSED, False, False)

    run(story)


@both
def test_a_limit_that_passes_before_there_is_a_connection_is_no_connection(api: Api) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        with bad.full_backlog() as url:
            client = server_for(api, session, url)
            found = await failure_of(ask(client, request(limits=QUICK)))
            assert (found.cause, found.taken) == (Cause.REFUSED, False)

    run(story)


@both
def test_an_idle_connection_that_was_closed_just_now_is_no_failure(api: Api) -> None:
    """Its server closed it and the request crossed that on the way: asked once more, anew."""

    async def story(session: aiohttp.ClientSession) -> None:
        for fault in (bad.close_before, bad.reset_before):
            async with FakeServer(api) as server:
                client = server_for(api, session, server.url)
                await ask(client)
                server.fail_next(fault)
                assert (await ask(client)).text == "The answer."
                assert server.connections == 2
                assert len(server.requests) == 3

    run(story)


@both
def test_it_is_asked_once_more_and_no_more(api: Api) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer(api) as server:
            client = server_for(api, session, server.url)
            server.hold()
            async with asyncio.TaskGroup() as group:  # several idle connections lie ready
                for _ in range(3):
                    group.create_task(ask(client))
                await server.arrived(3)
                server.let(3)
            server.fail_next(bad.close_before, times=2)
            found = await failure_of(ask(client))
            assert (found.cause, found.taken) == (Cause.RESET, True)
            assert len(server.requests) == 5
            assert server.connections == 4, "the second time on a connection of its own"

    run(story)


@both
def test_asked_once_more_and_refused_may_have_been_taken(api: Api) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer(api) as server:
            client = server_for(api, session, server.url)
            await ask(client)

            async def die(peer: bad.Peer) -> None:
                server.stop_listening()

            server.fail_next(die)
            found = await failure_of(ask(client))
            assert (found.cause, found.taken, found.strike) == (Cause.RESET, True, True)

    run(story)


@both
def test_a_server_that_was_at_work_when_it_died_is_not_asked_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "RACE_SECONDS", 0.0)  # whatever time it took was too long for a race

    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer(api) as server:
            client = server_for(api, session, server.url)
            await ask(client)
            server.fail_next(bad.close_before)
            assert (await failure_of(ask(client))).cause is Cause.RESET
            assert len(server.requests) == 2

    run(story)


@both
def test_an_answer_that_is_complete_counts_however_its_connection_ends(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "LINGER_SECONDS", 0.1)

    async def hang(peer: bad.Peer) -> None:
        await peer.gone()

    async def cut(peer: bad.Peer) -> None:
        pass

    async def babble(peer: bad.Peer) -> None:
        while not peer.reader.at_eof() and not peer.writer.is_closing():
            await peer.piece(b"{broken\n")
            await asyncio.sleep(0.002)

    async def story(session: aiohttp.ClientSession) -> None:
        for ending in (hang, cut, babble):

            async def answer(peer: bad.Peer, ending: Fault = ending) -> None:
                await peer.head()
                await peer.piece(bad.token(api, "All of it") + bad.final(api))
                await ending(peer)

            async with FakeServer(api) as server:
                server.fail_next(answer)
                assert (await ask(server_for(api, session, server.url))).text == "All of it"

    run(story)


@both
def test_cancelling_closes_the_connection_and_passes_through(api: Api) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer(api) as server:
            client = server_for(api, session, server.url)
            server.hold()
            waiting = asyncio.ensure_future(ask(client))
            await server.arrived(1)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            await server.until(lambda: server.abandoned == 1 and not server.running)

            server.let_all()
            server.fail_next(bad.slow_tokens)
            heard = Heard()
            reading = asyncio.ensure_future(client.generate(request(), heard))
            await heard.changed.wait()
            reading.cancel()
            await asyncio.wait([reading])
            assert reading.cancelled()
            await server.until(lambda: not server.open)

    run(story)


@both
def test_many_at_once_each_with_its_own_fate(api: Api) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer(api, answer=lambda r: r.prompt.upper()) as server:
            client = server_for(api, session, server.url)
            server.hold()
            faults = [bad.status(500), bad.reset_before, bad.cut_after("x"), bad.no_final("x")]
            for fault in faults * 10:
                server.fail_next(fault)
            asked = [asyncio.ensure_future(ask(client, request(f"task {i}"))) for i in range(100)]
            await server.arrived(100)
            server.let_all()
            ends = await asyncio.gather(*asked, return_exceptions=True)
            failed = [end for end in ends if isinstance(end, BaseException)]
            assert len(failed) == 40
            assert all(isinstance(end, Failure) for end in failed)
            for number, end in enumerate(ends):
                assert isinstance(end, BaseException) or end.text == f"TASK {number}"
            assert server.running_max >= 60, "aiohttp's own limits hold nothing up"

    run(story)


@both
def test_the_key_is_sent_and_never_shown(api: Api) -> None:
    key = "sk-very-secret-0123456789"

    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer(api) as server:
            client = server_for(api, session, server.url, key)
            await ask(client)
            assert server.requests[0].headers["authorization"] == f"Bearer {key}"
            server.fail_next(bad.status(401, "x" * 480 + f" wrong key {key}"))
            server.fail_next(bad.error_inside(f"wrong key {key}"))
            server.fail_next(bad.saying(f"wrong key {key}\n".encode()))
            server.fail_next(bad.not_http)
            for _ in range(4):
                found = await failure_of(ask(client))
                shown = f"{found} {found!r} {found.__cause__!r} {client!r} {vars(client)!r}"
                assert "very-secret" not in shown
            assert "very-secret" not in repr(vars(client))

    run(story)


def test_credentials_in_the_url_go_into_the_header_and_nowhere_else() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer("ollama") as server:
            url = server.url.replace("http://", "http://me:swordfish@")
            client = server_for("ollama", session, url)
            await ask(client)
            assert server.requests[0].headers["authorization"] == "Basic bWU6c3dvcmRmaXNo"
            server.fail_next(bad.status(403, "swordfish is wrong"))
            found = await failure_of(ask(client))
            assert "swordfish" not in str(found)
            assert server.url in str(found)

    run(story)


def test_a_key_that_no_header_can_hold_is_refused_without_showing_it() -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        with pytest.raises(Failure, match="characters that no header can hold") as caught:
            server_for("ollama", session, "http://h", "secret\r\nX: y")
        assert caught.value.cause is Cause.UNAUTHORISED
        assert "secret" not in str(caught.value)

    run(story)


@both
def test_a_long_prompt_goes_out_whole(api: Api) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer(api) as server:
            prompt = "long " * 500_000
            await ask(server_for(api, session, server.url), request(prompt))
            assert server.requests[0].prompt == prompt

    run(story)


@both
def test_a_long_answer_in_one_line_is_read(api: Api) -> None:
    text = "all at once " * 200_000
    assert len(text) < LINE_BYTES_MAX

    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer(api) as server:
            server.fail_next(bad.saying(bad.token(api, text), bad.final(api)))
            assert (await ask(server_for(api, session, server.url))).text == text

    run(story)


@both
def test_what_is_sent_asks_for_no_compression_and_streams(api: Api) -> None:
    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer(api) as server:
            await ask(server_for(api, session, server.url))
            headers = server.requests[0].headers
            assert headers["accept-encoding"] == "identity"
            assert headers["content-type"] == "application/json"
            assert json.loads(server.requests[0].body)["stream"] is True

    run(story)

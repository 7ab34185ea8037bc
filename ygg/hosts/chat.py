"""One request and its streamed answer, whatever the dialect: send, read, watch the clock.

Every way in which that can fail becomes a `Failure`. What the lines mean is the dialect's.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import aiohttp

from ygg.durations import in_seconds
from ygg.faults import Cause, Failure
from ygg.hosts.base import Answer, Limits, Progress, Request
from ygg.hosts.blame import REMEDIES
from ygg.hosts.http import (
    ASK_SECONDS,
    Attempt,
    Client,
    is_plain_success,
    no_http,
    open_session,
    refusal,
    unreachable,
    words,
)
from ygg.hosts.reply import Reply
from ygg.hosts.streams import Alarm, Lines, LineTooLong, TimeUp

#: How long to wait for the end of a stream whose last word has come: it frees the connection.
LINGER_SECONDS: Final = 2.0
#: A closed idle connection shows within a round trip. One that breaks later was at work.
RACE_SECONDS: Final = 1.0
#: aiohttp warns about larger bodies that are given as bytes.
_PLAIN_BODY_BYTES_MAX: Final = 2**20


class Dialect(NamedTuple):
    path: str
    #: The request as the body of a POST.
    write: Callable[[Request], bytes]
    #: Takes in one line of an answer, never an empty one. Raises Failure.
    read: Callable[[bytes, Reply], None]


@dataclass(frozen=True, slots=True)
class _Exchange:
    client: Client
    dialect: Dialect
    body: bytes
    reply: Reply
    limits: Limits
    progress: Progress
    #: By the loop's clock.
    started: float


class _ConnectionWasOld(Exception):
    """An idle connection was closed by the server just when it was used again."""


async def chat(client: Client, dialect: Dialect, request: Request, progress: Progress) -> Answer:
    """Ask, and read the answer to its end. Raises Failure.

    Cancelling it closes the connection: that is what stops the server.
    """
    clock = asyncio.get_running_loop().time
    started = clock()
    reply = Reply(client.where(request.model))
    try:
        body = dialect.write(request)
    except UnicodeEncodeError as error:
        what = f"the task's text is not Unicode: {error.reason} at character {error.start}"
        raise reply.failure(Cause.BAD_REQUEST, what, taken=False) from None
    exchange = _Exchange(client, dialect, body, reply, request.limits, progress, started)
    try:
        await _run(exchange, client.session, again=False)
    except _ConnectionWasOld:
        # Nobody saw the request, as far as one can know. It is asked once more, in a session of
        # its own where no other old connection can be drawn, and whatever comes of that counts.
        async with open_session() as session:
            await _run(exchange, session, again=True)
    reply.seconds = clock() - started
    # If more pieces came than the server counts tokens, what was told stands.
    more = max(0, reply.completion_tokens - reply.tokens)
    if more or reply.prompt_tokens:
        progress.tokens(prompt=reply.prompt_tokens, completion=more)
    return reply.answer()


async def _run(exchange: _Exchange, session: aiohttp.ClientSession, *, again: bool) -> None:
    reply, limits = exchange.reply, exchange.limits
    attempt = Attempt()
    alarm = Alarm(exchange.started + min(limits.first_token, limits.timeout))
    try:
        with alarm:
            response = await _post(exchange, session, attempt, again=again)
            try:
                if not is_plain_success(response):
                    alarm.set(asyncio.get_running_loop().time() + 2 * ASK_SECONDS)
                    raise await refusal(response, reply.where, exchange.dialect.path)
                await _read(exchange, response, alarm)
            finally:
                if not response.closed:  # it is once all was read
                    response.close()
    except (TimeUp, aiohttp.ClientError, Failure) as error:
        if reply.finish:
            return  # the answer is complete: how its connection ends is of no account
        if isinstance(error, Failure):
            raise
        if isinstance(error, TimeUp):
            raise _too_late(exchange, attempt, again=again) from None
        what = f"cut the connection inside its answer: {words(error)}"
        raise reply.failure(Cause.CUT_OFF, reply.where.quote(what)) from error


async def _post(
    exchange: _Exchange, session: aiohttp.ClientSession, attempt: Attempt, *, again: bool
) -> aiohttp.ClientResponse:
    """Send the request, and wait for the head of its answer."""
    client, body, where = exchange.client, exchange.body, exchange.reply.where
    clock = asyncio.get_running_loop().time
    sent = clock()
    try:
        return await session.post(
            client.address(exchange.dialect.path),
            data=body if len(body) <= _PLAIN_BODY_BYTES_MAX else io.BytesIO(body),
            headers=client.post_headers,
            allow_redirects=False,
            trace_request_ctx=attempt,
        )
    except aiohttp.ClientResponseError as error:
        raise where.failure(Cause.MALFORMED, no_http(error, where), taken=True) from None
    except aiohttp.ClientConnectionError as error:
        if not attempt.connected:
            raise unreachable(error, where, taken=again) from error
        if attempt.reused and clock() - sent < RACE_SECONDS:
            raise _ConnectionWasOld from error
        what = f"closed the connection without an answer: {words(error)}"
        raise where.failure(Cause.RESET, where.quote(what), taken=True) from error


async def _read(exchange: _Exchange, response: aiohttp.ClientResponse, alarm: Alarm) -> None:
    reply, limits, read = exchange.reply, exchange.limits, exchange.dialect.read
    deadline = exchange.started + limits.timeout
    clock = asyncio.get_running_loop().time
    content, lines = response.content, Lines()
    told = 0
    lingers = False
    while piece := await content.readany():
        if reply.ended:
            continue  # what comes now is for nobody: only the end is waited for
        try:
            for line in lines.feed(piece):
                if line and line != b"\r":
                    read(line, reply)
        except LineTooLong as error:
            raise reply.failure(Cause.MALFORMED, f"sent {error}") from None
        finally:
            if reply.tokens > told:  # one call for a piece, however many tokens it held
                exchange.progress.tokens(completion=reply.tokens - told)
        if reply.finish:
            if not lingers and not content.at_eof():
                lingers = True
                alarm.set(min(deadline, clock() + LINGER_SECONDS))
        elif reply.tokens > told:
            alarm.set(min(deadline, clock() + limits.stall))
        told = reply.tokens
    inside = ""
    if not reply.finish and (rest := lines.rest.strip()):
        try:  # a last line that is whole but for its newline counts
            read(rest, reply)
        except Failure as failure:
            if failure.cause is not Cause.MALFORMED:
                raise
            inside = ", inside a line"
    if not reply.finish:
        what = f"its answer ended without its final object{inside}, after {reply.tokens} tokens"
        raise reply.failure(Cause.NO_FINAL, what)


def _too_late(exchange: _Exchange, attempt: Attempt, *, again: bool) -> Failure:
    """Which limit it was that passed."""
    reply, limits = exchange.reply, exchange.limits
    waited_for = "token" if attempt.connected else "connection"
    if not reply.tokens and limits.timeout < limits.first_token:
        # Its own limit, the same on every host: sent back, it would go round for ever.
        what = f"no {waited_for} within its whole timeout of {in_seconds(limits.timeout)}"
        return reply.failure(Cause.TIMEOUT, what, taken=attempt.connected or again)
    if not attempt.connected:
        cause = Cause.RESET if again else Cause.REFUSED
        what = f"no connection within {in_seconds(limits.first_token)}"
        return reply.failure(cause, what, taken=again, remedy=REMEDIES[Cause.REFUSED])
    if not reply.tokens:
        return reply.failure(Cause.FIRST_TOKEN, f"no token within {in_seconds(limits.first_token)}")
    if asyncio.get_running_loop().time() >= exchange.started + limits.timeout:
        what = f"still answering after {in_seconds(limits.timeout)}, at {reply.tokens} tokens"
        return reply.failure(Cause.DEADLINE, what)
    what = f"no token for {in_seconds(limits.stall)}, after {reply.tokens}"
    return reply.failure(Cause.STALL, what)

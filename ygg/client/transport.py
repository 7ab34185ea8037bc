"""Requests to one dispatcher: connections that are kept, time limits, what is tried again.

What the requests mean is left to the client.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from ygg.client.address import Address
from ygg.client.connection import Broken, Connection, Head, Headers, TooLong
from ygg.client.errors import Problem, Unreachable
from ygg.version import VERSION

#: Servers close connections that idle for a minute or so; ours are given up before.
_IDLE_SECONDS: Final = 30.0
_UNKNOWN: Final = "; whether it was done is not known"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Patience and size of one client."""

    #: Seconds for a connection to be taken up.
    connect_seconds: float = 5.0
    #: Seconds for the whole answer of one call.
    call_seconds: float = 30.0
    #: Seconds before each further try of what may be repeated.
    retry_pauses: tuple[float, ...] = (0.1, 0.5, 2.0)
    #: Seconds without a sign of life after which a stream of events is begun anew.
    silence_seconds: float = 60.0
    #: Seconds that a dispatcher which was there may be away, as while it starts anew.
    away_seconds: float = 30.0
    #: Connections at once; further calls wait for one.
    connections: int = 8
    #: Bytes of one answer.
    answer_bytes: int = 256 * 1024 * 1024


class Transport:
    def __init__(self, address: Address, token: str | None, limits: Limits) -> None:
        self.limits = limits
        self._address = address
        self._token = token
        self._tls = ssl.create_default_context() if address.tls else None
        self._room = asyncio.Semaphore(limits.connections)
        self._idle: list[Connection] = []
        self._is_closed = False

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool,
    ) -> bytes:
        """The body of the answer.

        `repeatable`: should the connection be lost, it may be sent again without harm.
        Raises Unreachable, Problem.
        """
        target, sent = self._target(path, query), self._headers(method, body, headers)
        pauses = self.limits.retry_pauses if repeatable else ()
        try:
            async with asyncio.timeout(self.limits.call_seconds), self._room:
                return await self._ask_until_answered(method, target, sent, body or b"", pauses)
        except TimeoutError as error:
            raise self._too_slow("" if repeatable else _UNKNOWN) from error

    async def _ask_until_answered(
        self, method: str, target: str, headers: Headers, body: bytes, pauses: Sequence[float]
    ) -> bytes:
        was_there = False
        for pause in (*pauses, None):
            try:
                connection = self._kept() or await self._open()
                was_there = True
                try:
                    head = await connection.ask(method, target, headers, body)
                    return _good(head, await self._read(connection, target))
                except Broken as error:
                    unknown = "" if pauses else _UNKNOWN
                    raise self._unreachable(f"{error}{unknown}") from error
                finally:
                    self._put_back(connection)
            except Unreachable:
                # Nobody at all there is no matter of waiting a little.
                if pause is None or not was_there:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("the last round returns or raises")

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, object], headers: Mapping[str, str]
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The body of an answer as it comes, over a connection of its own; it ends when it breaks.

        Raises Unreachable, Problem.
        """
        connection = await self._open()
        try:
            try:
                async with asyncio.timeout(self.limits.call_seconds):
                    sent = self._headers("GET", None, headers)
                    head = await connection.ask("GET", self._target(path, query), sent)
                    if head.status != 200:
                        _good(head, await self._read(connection, path))
                        raise self._unreachable(f"HTTP status {head.status}, where 200 is due")
            except TimeoutError as error:
                raise self._too_slow() from error
            except Broken as error:
                raise self._unreachable(str(error)) from error
            yield self._parts(connection)
        finally:
            connection.close()
            await connection.closed()

    async def _parts(self, connection: Connection) -> AsyncIterator[bytes]:
        parts = connection.body()
        while True:
            try:
                async with asyncio.timeout(self.limits.silence_seconds):
                    part = await anext(parts)
            except (StopAsyncIteration, TimeoutError, Broken):
                return  # to whoever follows it is all the same: it is begun anew
            yield part

    async def close(self) -> None:
        self._is_closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        for connection in idle:
            await connection.closed()

    # -- connections -----------------------------------------------------------------------------

    def _kept(self) -> Connection | None:
        oldest = asyncio.get_running_loop().time() - _IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since >= oldest:
                return connection
            connection.close()
        return None

    async def _open(self) -> Connection:
        """Raises Unreachable, RuntimeError."""
        if self._is_closed:
            raise RuntimeError("this client was closed: make another")
        try:
            async with asyncio.timeout(self.limits.connect_seconds):
                return await Connection.open(self._address, self._tls)
        except TimeoutError as error:
            why = f"nobody took it up within {self.limits.connect_seconds:g} s"
            raise self._unreachable(why) from error
        except (OSError, UnicodeError) as error:  # UnicodeError: no name that could be looked up
            raise self._unreachable(getattr(error, "strerror", None) or str(error)) from error

    async def _read(self, connection: Connection, target: str) -> bytes:
        """Raises Broken, Problem."""
        most = self.limits.answer_bytes
        try:
            return await connection.read(most)
        except TooLong as error:
            detail = f"the answer to {target} has more than {most} bytes: raise answer_bytes"
            raise Problem(0, {"detail": detail}) from error

    def _put_back(self, connection: Connection) -> None:
        """Keep it, if all of its answer was read."""
        if connection.is_open and connection.rest(asyncio.get_running_loop().time()):
            self._idle.append(connection)
        else:
            connection.close()

    # -- what is said ----------------------------------------------------------------------------

    def _target(self, path: str, query: Mapping[str, object] | None) -> str:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return self._address.prefix + path + (f"?{urlencode(given)}" if given else "")

    def _headers(
        self, method: str, body: bytes | None, more: Mapping[str, str] | None
    ) -> list[tuple[str, str]]:
        headers = {
            "Host": self._address.name,
            "User-Agent": f"ygg/{VERSION}",
            "Accept": "application/json",
        }
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        if method != "GET":
            headers["Content-Length"] = str(len(body or b""))
        if body is not None:
            headers["Content-Type"] = "application/json"
        return list((headers | dict(more or {})).items())

    def _too_slow(self, more: str = "") -> Unreachable:
        return Unreachable(
            f"{self._address.url} gave no answer within {self.limits.call_seconds:g} s{more}: a "
            "dispatcher there hangs or has too much to do (look at its log and at `top`), or "
            "something else listens there: say where it is with --url URL or YGG_URL"
        )

    def _unreachable(self, why: str) -> Unreachable:
        return Unreachable(
            f"no dispatcher answers at {self._address.url} ({why}): start one with "
            "`ygg loop --async`, or say where it is with --url URL or YGG_URL"
        )


def _good(head: Head, body: bytes) -> bytes:
    """Raises Problem unless the answer says that all is well."""
    if 200 <= head.status < 300:
        return body
    wait = head.headers.get("retry-after", "")
    raise Problem(
        head.status, _document(body), retry_after=float(wait) if wait.isdecimal() else None
    )


def _document(body: bytes) -> Mapping[str, Any]:
    """Of another server's error, that is no problem document, its text."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    return {"detail": body.decode(errors="replace").strip()[:500]}

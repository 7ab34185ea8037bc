"""The connections of a server: by which door they came, and which have used up their time.

Bytes that are no request are answered here, with a problem document: they reach no route and no
middleware. aiohttp by itself would log them whole, a token among them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Final, Generic, TypeVar, cast

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong

from ygg.web.limits import Limits
from ygg.web.problems import Kind, Problem, sealed

C = TypeVar("C", bound=Hashable)

#: How long we go on reading a body that nobody wants, so that the client gets to read why.
_LINGER_SECONDS: Final = 2.0
#: aiohttp has no class for it; a test holds its words.
_TOO_MANY: Final = "Too many headers received"


class Connection(web.RequestHandler):
    """One connection; knows by which door it came.

    Args:
        server: handles its requests.
        is_private: the door is one that only this machine's users reach.
    """

    __slots__ = ("_limits", "_wire", "is_private", "when_lost")

    def __init__(
        self,
        server: web.Server,
        *,
        is_private: bool,
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # its annotation forgets that it may be
            auto_decompress=False,
            # Ours comes first: aiohttp's waits for what the client has not taken, for ever.
            keepalive_timeout=2 * limits.idle_seconds + limits.sweep_seconds,
            lingering_time=_LINGER_SECONDS,
            max_line_size=limits.line_bytes,
            max_field_size=limits.header_bytes,
            max_headers=limits.headers,
        )
        self._limits = limits
        self.is_private = is_private
        #: aiohttp forgets its own when it begins to close, although bytes still wait in it.
        self._wire: asyncio.Transport | None = None
        #: Is called when the client has hung up: an answer without end need not find out by itself.
        self.when_lost: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._wire = None
        super().connection_lost(exc)
        if self.when_lost is not None:
            self.when_lost()

    @property
    def is_lost(self) -> bool:
        return self._wire is None

    @property
    def pending_bytes(self) -> int:
        """What was written and not yet taken by the system."""
        return 0 if self._wire is None else self._wire.get_write_buffer_size()

    def abort(self) -> None:
        """Hang up at once: a client that takes nothing would keep a close waiting for ever."""
        if self._wire is not None:
            self._wire.abort()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """An unknown Expect is refused before any middleware; all else got its answer there."""
        if isinstance(resp, web.HTTPExpectationFailed):
            detail = "Expect is not 100-continue, and nothing else is known: leave it out"
            resp = sealed(Problem(Kind.EXPECTATION, detail, close=True).response())
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be read. All else got its answer from `tell_problems`."""
        if not isinstance(exc, BadHttpMessage):
            return super().handle_error(request, status, exc, message)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was under way: there can't be a second one")
        return sealed(_unreadable(exc, self._limits).response())


def _unreadable(error: BadHttpMessage, limits: Limits) -> Problem:
    """No word of what was sent is in it: it may hold a token."""
    if isinstance(error, LineTooLong):
        if error.args[1] == limits.line_bytes:
            detail = f"the address may have {limits.line_bytes} bytes: put less into the query"
            return Problem(Kind.LONG_ADDRESS, detail, close=True)
        detail = f"a header may have {limits.header_bytes} bytes: send less in it"
        return Problem(Kind.LARGE_HEADERS, detail, close=True)
    if error.message == _TOO_MANY:
        detail = f"a request may have {limits.headers} headers: send fewer"
        return Problem(Kind.LARGE_HEADERS, detail, close=True)
    if type(error) is BadHttpMessage:  # such as a missing Host: its words are only aiohttp's own
        return Problem(Kind.BAD_REQUEST, error.message.strip().splitlines()[0], close=True)
    detail = f"this is not HTTP/1.1 as it should be ({type(error).__name__})"
    return Problem(Kind.BAD_REQUEST, detail, close=True)


class Times(Generic[C]):
    """Since when each connection has nothing under way, or does not take what is sent to it."""

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self._busy = set[C]()
        #: Until when each that has no request under way may go on so.
        self._until: dict[C, float] = {}
        #: Until when each that has taken less than all may go on so.
        self._taking: dict[C, float] = {}

    def begin(self, connection: C) -> None:
        """A request of it is under way."""
        self._busy.add(connection)

    def end(self, connection: C) -> None:
        self._busy.discard(connection)
        self._until[connection] = self._now() + self._limits.idle_seconds

    def overdue(self, connections: Iterable[C]) -> list[C]:
        """Of all there are now, those that have asked nothing for too long."""
        now, known = self._now(), self._until
        self._until = {
            connection: known.get(connection, now + self._limits.head_seconds)
            for connection in connections
            if connection not in self._busy
        }
        return [connection for connection, until in self._until.items() if until <= now]

    def stuck(self, pending: Mapping[C, int]) -> list[C]:
        """Of all there are now, with the bytes that each has yet to take, the too slow ones."""
        now, known = self._now(), self._taking
        self._taking = {
            connection: known.get(connection, now + self._limits.take_seconds)
            for connection, number in pending.items()
            if number
        }
        return [connection for connection, until in self._taking.items() if until <= now]


#: There while `listening` serves the application.
TIMES: Final = web.AppKey[Times[Connection]]("times")

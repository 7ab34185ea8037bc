"""Who may come in at the loopback door, and with what: names, origins, bodies, patience.

A web page that a person has open must not reach the dispatcher, by no trick: not by a name that
was bound anew to 127.0.0.1 (the Host list), not by a form or a script of its own (Origin, content
type). Addresses beyond loopback need tokens, which are not checked here; connections that no
request ever comes of are listening.py's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from aiohttp import hdrs, web

from ygg.web.problems import Handler, Kind, Problem, shown

C = TypeVar("C", bound=Hashable)

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
#: What a page can send to anybody without asking first.
_FORMS: Final = frozenset(
    {"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
)
_HOST: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[0-9a-z.-]+)(:[0-9]{1,5})?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one client may take of us. Times are in seconds."""

    body_bytes: int = 16 * 1024 * 1024
    #: For a whole body to come.
    body_seconds: float = 30.0
    #: From a connection's beginning to the end of its first request's head.
    head_seconds: float = 15.0
    #: Between two requests, and for an answer to be taken.
    idle_seconds: float = 75.0
    #: At once; one more is told to come back later.
    connections: int = 512
    #: How often connections are looked at.
    sweep_seconds: float = 1.0
    #: For the end of a run that is being cancelled to be written.
    cancel_seconds: float = 20.0
    #: For the store to answer what /metrics and /v1/status ask of it; then they do without.
    look_seconds: float = 2.0


def is_loopback(host: str) -> bool:
    """Whether an address (never a name, which may change its mind) is this machine's own."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def host_names(listen: str) -> frozenset[str]:
    """The names that a request may give us: loopback's, and that of the listening address."""
    host = listen.rpartition(":")[0].strip("[]").lower()
    anywhere = host in ("", "*", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
    named = f"[{host}]" if ":" in host else host
    return frozenset(LOOPBACK_NAMES if anywhere else (*LOOPBACK_NAMES, named))


class Connections(Generic[C]):
    """Which connections have a request under way, and since when the others have none."""

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self._busy = set[C]()
        #: Until when each that has none may go on so.
        self._until: dict[C, float] = {}

    def begin(self, connection: C) -> None:
        self._busy.add(connection)

    def end(self, connection: C) -> None:
        self._busy.discard(connection)
        self._until[connection] = self._now() + self._limits.idle_seconds

    def overdue(self, connections: Iterable[C]) -> list[C]:
        """Of all there are now, those whose time is up; forgets those that are gone."""
        now, known = self._now(), self._until
        self._until = {
            connection: known.get(connection, now + self._limits.head_seconds)
            for connection in connections
            if connection not in self._busy
        }
        return [connection for connection, until in self._until.items() if until <= now]


LIMITS: Final = web.AppKey("limits", Limits)
#: There while `listening` serves the application.
CONNECTIONS: Final = web.AppKey[Connections[web.RequestHandler]]("connections")


class Middleware(Protocol):
    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse: ...


def make_guard(names: frozenset[str], limits: Limits) -> Middleware:
    """The middleware."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        connections = request.app.get(CONNECTIONS)
        if connections is None:
            return await guarded(request, handler)
        connection = request.protocol
        connections.begin(connection)
        try:
            return await guarded(request, handler)
        finally:
            connections.end(connection)

    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = _check_host(request, names)
        if request.method in _WRITES:
            _check_origin(request, host)
            _check_content(request, limits)
            if request.body_exists and request.match_info.http_exception is None:
                await _read_body(request, limits)
        return await handler(request)

    return guard


def _check_host(request: web.Request, names: frozenset[str]) -> str:
    """Returns the Host as given, in lower case. Raises Problem."""
    given = request.headers.getall(hdrs.HOST, [])
    host = given[0].lower() if len(given) == 1 else ""
    parts = _HOST.fullmatch(host)
    if parts is None or parts["name"] not in names:
        told = shown(", ".join(given))
        detail = f"Host is {told}, but this is {', '.join(sorted(names))}: use one of these"
        raise Problem(Kind.WRONG_HOST, detail, close=True)
    return host


def _check_origin(request: web.Request, host: str) -> None:
    """Browsers say where a write comes from: only our own page may. Others say nothing."""
    origins = request.headers.getall(hdrs.ORIGIN, [])
    sites = request.headers.getall("Sec-Fetch-Site", [])
    ours = {f"http://{host}", f"http://{host.removesuffix(':80')}"}
    if any(origin.lower() not in ours for origin in origins) or any(
        site not in ("same-origin", "none") for site in sites
    ):
        told = shown(", ".join(origins or sites))
        detail = f"the request comes from {told}: only this server's own page may write"
        raise Problem(Kind.FOREIGN_ORIGIN, detail, close=True)


def _check_content(request: web.Request, limits: Limits) -> None:
    """Raises Problem."""
    headers = request.headers
    if hdrs.CONTENT_ENCODING in headers:
        detail = (
            "send the body as it is, without Content-Encoding: a small one may unpack to gigabytes"
        )
        raise Problem(Kind.ENCODED, detail, close=True)
    types = headers.getall(hdrs.CONTENT_TYPE, [])
    if request.body_exists:
        charset = (request.charset or "utf-8").lower()
        json = len(types) == 1 and request.content_type == "application/json"
        good = json and charset in ("utf-8", "utf8")
    else:
        # Some clients name a type for nothing at all; that of a form is a form's.
        good = request.content_type not in _FORMS
    if not good:
        told = shown(", ".join(types)) if types else "missing"
        detail = f"Content-Type is {told}: send JSON in UTF-8 as application/json"
        raise Problem(Kind.NOT_JSON, detail, close=True)
    if (request.content_length or 0) > limits.body_bytes:
        raise _too_large(limits)


def _too_large(limits: Limits) -> Problem:
    detail = f"at most {limits.body_bytes} bytes are taken: send several smaller requests"
    return Problem(Kind.TOO_LARGE, detail, close=True)


async def _read_body(request: web.Request, limits: Limits) -> None:
    """Read it whole; the request keeps it for its route. Raises Problem."""
    try:
        async with asyncio.timeout(limits.body_seconds):
            await request.read()
    except TimeoutError as error:
        detail = f"the body was not here after {limits.body_seconds:g} s: send it faster, or less"
        raise Problem(Kind.TOO_SLOW, detail, close=True) from error
    except web.HTTPRequestEntityTooLarge as error:
        raise _too_large(limits) from error
    except (web.RequestPayloadError, ConnectionError) as error:
        detail = f"the body broke off or was not well chunked: {type(error).__name__}"
        raise Problem(Kind.BAD_JSON, detail, close=True) from error

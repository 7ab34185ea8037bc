"""Who may come in, and with what: names, tokens, origins, bodies, patience.

A web page that a person has open must not reach the dispatcher, by no trick: not by a name that
was bound anew to 127.0.0.1 (the Host list), not by a form or a script of its own (Origin,
Sec-Fetch-Site, content type), and it may not even learn from a read how large or slow an answer is.
Which token is good is auth.py's; connections that no request ever comes of are listening.py's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Final, Protocol

from aiohttp import hdrs, web

from ygg.addresses import HostPort, parse_address
from ygg.fleet import DispatcherSettings
from ygg.web.auth import Access, Token, Unauthorized
from ygg.web.connections import TIMES, Connection
from ygg.web.limits import LIMITS, Limits
from ygg.web.problems import Handler, Kind, Problem, shown

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
_READS: Final = frozenset({"GET", "HEAD"})
#: Says only that the process lives: whoever watches over it needs no token.
_OPEN_PATH: Final = "/livez"
#: What a page can send to anybody without asking first.
_FORMS: Final = frozenset(
    {"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
)
#: What proxies add; with one of them, loopback is not where a request began.
_PROXIES_HEADERS: Final = (
    "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via",
)  # fmt: skip
_HOST: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[0-9a-z._-]+)(:[0-9]{1,5})?")
#: A target in absolute form, `http://HOST/...`; of what is no path, all is taken for a host.
_TARGET: Final = re.compile(r"(?!/|\*$)(?:[^/?#]*//)?(?P<host>[^/?#]*)")

ACCESS: Final = web.AppKey("access", Access)
#: Of the token that a request brought, the name; "" without.
SUBMITTER: Final = web.RequestKey("submitter", str)


def host_names(settings: DispatcherSettings) -> frozenset[str]:
    """The names that a request may give us: loopback's, the listening addresses', the settings'."""
    names = {*LOOPBACK_NAMES, *settings.names}
    for address in map(parse_address, settings.listen):
        if isinstance(address, HostPort) and address.host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            host = address.host.lower()
            names.add(f"[{host}]" if ":" in host else host)
    return frozenset(names)


def make_access(settings: DispatcherSettings, tokens: Iterable[Token]) -> Access:
    """Who needs a token. With a name of a proxy's all do: through it anybody comes by loopback."""
    always = settings.token == "always" or bool(settings.names)  # noqa: S105 - a word of ours
    return Access(tokens=tuple(tokens), always=always)


class Middleware(Protocol):
    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse: ...


def make_guard(names: frozenset[str]) -> Middleware:
    """The middleware. What it holds requests to stands in the application: ACCESS and LIMITS."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        times, connection = request.app.get(TIMES), request.protocol
        if times is None or not isinstance(connection, Connection):
            return await guarded(request, handler, is_private=False)
        times.begin(connection)
        try:
            return await guarded(request, handler, is_private=connection.is_private)
        finally:
            times.end(connection)

    async def guarded(
        request: web.Request, handler: Handler, *, is_private: bool
    ) -> web.StreamResponse:
        host, name = _check_host(request, names)
        is_read = request.method in _READS
        if not (is_read and request.rel_url.raw_path == _OPEN_PATH):
            request[SUBMITTER] = _check_token(request, is_private=is_private)
        _check_origin(request, host, name, is_read=is_read)
        if not is_read:
            limits = request.app[LIMITS]
            _check_content(request, limits)
            if request.body_exists and request.match_info.http_exception is None:
                await _read_body(request, limits)
        return await handler(request)

    return guard


def _check_host(request: web.Request, names: frozenset[str]) -> tuple[str, str]:
    """Returns the host as asked for, in lower case, and its name alone. Raises Problem."""
    given = request.headers.getall(hdrs.HOST, [])
    hosts = [("Host is", ", ".join(given), given[0] if len(given) == 1 else "")]
    target = _TARGET.match(request.raw_path)
    if target is not None:  # as to a proxy: it goes before Host (RFC 9112, 3.2.2)
        hosts.append(("the address asked for names", target["host"], target["host"]))
    for what, told, host in hosts:
        parts = _HOST.fullmatch(host.lower())
        if parts is None or (parts["name"] not in names and parts["name"] != _own_address(request)):
            detail = (
                f"{what} {shown(told)}, but this is {', '.join(sorted(names))}: use one of these, "
                "or have yours added to `names` of the dispatcher in hosts.yaml"
            )
            raise Problem(Kind.WRONG_HOST, detail, close=True)
    assert parts is not None, "none was refused"
    return parts[0], parts["name"]


def _own_address(request: web.Request) -> str | None:
    """The address that the client connected to: who knows a server by number was led by no name."""
    name = request.protocol.sockname
    if not isinstance(name, tuple):
        return None
    host = name[0].lower()
    return f"[{host}]" if ":" in host else host


def _check_token(request: web.Request, *, is_private: bool) -> str:
    """Returns the name of the token. Raises Problem."""
    headers = request.headers
    try:
        return request.app[ACCESS].submitter(
            headers.getall(hdrs.AUTHORIZATION, ()),
            is_private=is_private,
            is_proxied=any(name in headers for name in _PROXIES_HEADERS),
        )
    except Unauthorized as error:
        raise Problem(
            Kind.UNAUTHORIZED, str(error), challenge=error.challenge, close=True
        ) from error


def _check_origin(request: web.Request, host: str, name: str, *, is_read: bool) -> None:
    """Browsers say which page a request comes from: only our own may. Others say nothing.

    A read by another page is refused too, although the browser would keep the answer from it: its
    size and its time would still tell. A person who follows a link is no page.
    """
    headers = request.headers
    origins = headers.getall(hdrs.ORIGIN, ())
    sites = headers.getall("Sec-Fetch-Site", ())
    if not origins and not sites:
        return
    own = _own_origins(host, name)
    is_ours = all(origin.lower() in own for origin in origins) and all(
        site in ("same-origin", "none") for site in sites
    )
    if is_ours or (is_read and not origins and _follows_a_link(request)):
        return
    told = shown(", ".join(origins or sites))
    detail = (
        f"the request comes from {told}: only this server's own page may do that (a proxy must "
        "pass the Host on as it came)"
    )
    raise Problem(Kind.FOREIGN_ORIGIN, detail, close=True)


def _own_origins(host: str, name: str) -> set[str]:
    origins = {f"http://{host}", f"http://{host.removesuffix(':80')}"}
    if name not in LOOPBACK_NAMES:
        # A proxy in front may do TLS; on loopback that is another server.
        origins |= {f"https://{host}", f"https://{host.removesuffix(':443')}"}
    return origins


def _follows_a_link(request: web.Request) -> bool:
    headers = request.headers
    return headers.getall("Sec-Fetch-Mode", ()) == ["navigate"] and headers.getall(
        "Sec-Fetch-Dest", ()
    ) == ["document"]


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

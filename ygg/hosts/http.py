"""HTTP as both dialects need it: one session for all hosts, a server's address, small questions.

Every way in which a question can fail becomes a `Failure` here. Answers that stream are left to
chat.py.
"""

from __future__ import annotations

import asyncio
import base64
import errno
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Final, TypeVar

import aiohttp
import msgspec
from yarl import URL

from ygg.faults import Cause, Failure
from ygg.hosts.blame import Where, read_date, read_error_body, retry_after_seconds

#: Name resolution, TCP and TLS together.
CONNECT_SECONDS: Final = 5.0
#: llama.cpp and uvicorn (vLLM, SGLang) close a connection that was idle for 5 s.
IDLE_SECONDS: Final = 4.0
#: How long a question that spends no token may take.
ASK_SECONDS: Final = 5.0
#: Of a small body; what lies past it is cut off.
BODY_BYTES_MAX: Final = 8 * 2**20
_ERROR_BYTES_MAX: Final = 64 * 2**10

#: Answers that mean "no such thing here" to a question that not every server knows.
_NOT_THERE: Final = frozenset(
    {Cause.NO_MODEL, Cause.UNSUPPORTED, Cause.BAD_REQUEST, Cause.MALFORMED}
)

T = TypeVar("T")


class Attempt:
    """What aiohttp tells of the connection that a request went out on."""

    __slots__ = ("connected", "reused")

    def __init__(self) -> None:
        self.connected = False
        #: The connection had carried another request before.
        self.reused = False


async def _on_created(
    _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceConnectionCreateEndParams
) -> None:
    if isinstance(attempt := context.trace_request_ctx, Attempt):
        attempt.connected = True


async def _on_reused(
    _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceConnectionReuseconnParams
) -> None:
    if isinstance(attempt := context.trace_request_ctx, Attempt):
        attempt.connected = attempt.reused = True


def open_session(*, idle_seconds: float = IDLE_SECONDS) -> aiohttp.ClientSession:
    """The one session for all hosts. Call it inside the running loop, and close it at the end.

    The number of connections has no limit: slots are the limit.
    """
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(_on_created)
    trace.on_connection_reuseconn.append(_on_reused)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=idle_seconds),
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
        headers={"Accept-Encoding": "identity", "User-Agent": "ygg"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # some kB of gzip can be gigabytes: none is asked for, none taken
        trust_env=False,
        trace_configs=[trace],
    )


class Client:
    """One model server's address and key, on the session that all share.

    Args:
        session: made by `open_session`; its owner closes it.
        url: the server's root. User and password in it become an Authorization header.
        api_key: sent as a bearer token, and never shown. Raises Failure if no header can hold it.
    """

    def __init__(
        self, session: aiohttp.ClientSession, url: str, *, api_key: str | None = None
    ) -> None:
        self.session = session
        address = URL(url)
        #: Without credentials: fit for messages.
        self.url = str(address.with_user(None)).rstrip("/")
        self._secret = api_key or address.password
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            what = "its API key has characters that no header can hold"
            raise self.where().failure(Cause.UNAUTHORISED, what, taken=False)
        headers = {}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        elif address.user:
            pair = f"{address.user}:{address.password or ''}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self._get_headers = headers
        self.post_headers = {**headers, "Content-Type": "application/json"}
        self._urls: dict[str, URL] = {}

    def where(self, model: str = "") -> Where:
        return Where(self.url, model, secret=self._secret)

    def address(self, path: str) -> URL:
        if (url := self._urls.get(path)) is None:
            url = self._urls[path] = URL(self.url + path)
        return url

    async def fetch(self, path: str) -> bytes:
        """GET a small body. Raises Failure."""
        where, attempt = self.where(), Attempt()
        try:
            async with asyncio.timeout(ASK_SECONDS):
                response = await self.session.get(
                    self.address(path),
                    headers=self._get_headers,
                    allow_redirects=False,
                    trace_request_ctx=attempt,
                )
                async with response:
                    if not is_plain_success(response):
                        raise await refusal(response, where, path)
                    return await _bounded(response, BODY_BYTES_MAX)
        except aiohttp.ClientResponseError as error:
            raise where.failure(Cause.MALFORMED, no_http(error, where), taken=False) from None
        except aiohttp.ClientError as error:
            if not attempt.connected:
                raise unreachable(error, where, taken=False) from error
            what = f"cut the connection at {path}: {words(error)}"
            raise where.failure(Cause.RESET, where.quote(what), taken=False) from error
        except TimeoutError:
            what = f"no answer to {path} within {ASK_SECONDS:g} s"
            raise where.failure(Cause.STALL, what, taken=False) from None

    async def get(self, path: str, decoder: msgspec.json.Decoder[T]) -> T:
        """Ask for a small JSON document. Raises Failure."""
        body = await self.fetch(path)
        try:
            return decoder.decode(body)
        except (ValueError, RecursionError) as error:
            where = self.where()
            said = where.quote(body.decode(errors="replace"))
            what = f"answered {path} with {said!r}: {where.quote(str(error))}"
            raise where.failure(Cause.MALFORMED, what, taken=False) from None

    async def get_if_there(self, path: str, decoder: msgspec.json.Decoder[T]) -> T | None:
        """The same of a path that not every server knows; None where it doesn't."""
        try:
            return await self.get(path, decoder)
        except Failure as failure:
            if failure.cause in _NOT_THERE:
                return None
            raise


# -- what went wrong -------------------------------------------------------------------------------


def is_plain_success(response: aiohttp.ClientResponse) -> bool:
    encoding = response.headers.get("Content-Encoding")
    return response.status == 200 and (encoding is None or encoding.lower() == "identity")


async def refusal(response: aiohttp.ClientResponse, where: Where, path: str) -> Failure:
    """What an answer that is no plain success means."""
    if response.status == 200:
        encoding = where.quote(response.headers["Content-Encoding"])
        what = f"answered {path} in the encoding {encoding}, which was not asked for"
        return where.failure(Cause.MALFORMED, what, taken=True)
    if 300 <= response.status < 400:
        what = f"answered {path} with {response.status}: go to {where.quote(_target(response))}"
        remedy = "ygg follows no redirects: put the right address into hosts.yaml"
        return where.failure(Cause.MALFORMED, what, taken=False, remedy=remedy)
    body = b""
    # The status is known, and says more than how its text broke off.
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(ASK_SECONDS):
            body = await _bounded(response, _ERROR_BYTES_MAX)
    return where.refusal(
        response.status, read_error_body(body), path=path, retry_after=_retry_after(response)
    )


def unreachable(error: aiohttp.ClientError, where: Where, *, taken: bool) -> Failure:
    """No connection. `taken`: an earlier try of this request may have reached the server."""
    remedy = ""
    if isinstance(error, TimeoutError):
        why = f"nothing answered within {CONNECT_SECONDS:g} s"
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        why = f"its name has no address: {words(error)}"
    else:
        why = words(error)
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        remedy = "ygg itself has no file descriptors left: raise its limit (LimitNOFILE)"
    return where.failure(
        Cause.RESET if taken else Cause.REFUSED,
        f"no connection: {where.quote(why)}",
        taken=taken,
        remedy=remedy,
    )


def words(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the body is incomplete"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def no_http(error: aiohttp.ClientResponseError, where: Where) -> str:
    """Raise it `from None`: the error's repr shows the request's headers, and so the key."""
    return f"answered, but not in HTTP: {where.quote(error.message)}"


async def _bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body; what lies past the limit is cut off."""
    body = bytearray()
    while len(body) < limit and (piece := await response.content.readany()):
        body += piece
    return bytes(body[:limit])


def _target(response: aiohttp.ClientResponse) -> str:
    """The host that a redirect names; the rest of its address may hold secrets."""
    location = response.headers.get("Location", "")
    try:
        return URL(location).host or "another path"
    except ValueError:
        return location


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    # A date is by the server's clock, which may be wrong: so is its Date, by as much.
    now = read_date(response.headers.get("Date", "")) or datetime.now(UTC)
    return retry_after_seconds(response.headers.get("Retry-After"), now)

"""Errors as RFC 9457 problem documents: what was wrong, where, and the way out.

One table says which exception of the parts within becomes which answer, so that no route has to
catch them. Their words are theirs; only a bug's are kept from the client and go to the log.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import hdrs, web

from ygg.artifacts import ArtifactError, NoArtifact
from ygg.dispatcher import Draining, NotAccepting, Unroutable
from ygg.lifecycle import Refused
from ygg.overrides import OutOfBounds, PinnedInFile, SharedSlots, UnknownHost
from ygg.resizes import LeaseHeld
from ygg.stores.base import KeyClash, StoreError, UnknownTask

log = logging.getLogger("ygg.web")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Of so many wrong fields the answer tells; a body may have a million.
ERRORS_MAX: Final = 20


class Kind(Enum):
    """The closed list of our problems: the end of the type's URN, the status, the title.

    Clients may rely on the first two; no line ever changes its meaning.
    """

    BAD_JSON = "bad-json", 400, "The body is not JSON"
    BAD_FIELDS = "bad-fields", 400, "The body's fields are not right"
    BAD_PARAMETERS = "bad-parameters", 400, "The parameters are not right"
    BAD_REQUEST = "bad-request", 400, "The request can't be read"
    UNAUTHORIZED = "unauthorized", 401, "A token is needed"
    FOREIGN_ORIGIN = "foreign-origin", 403, "Another site's page may not do that here"
    UNKNOWN_TASK = "unknown-task", 404, "There is no such task"
    UNKNOWN_HOST = "unknown-host", 404, "There is no such host"
    NO_ARTIFACT = "no-artifact", 404, "There is no answer"
    TOO_SLOW = "too-slow", 408, "The body came too slowly"
    KEY_CLASH = "key-clash", 409, "The key was used for another task"
    REFUSED = "refused", 409, "The task as it is does not allow that"
    PINNED_IN_FILE = "pinned-in-file", 409, "hosts.yaml pins this host"
    SHARED_SLOTS = "shared-slots", 409, "This host has no slots of its own"
    LEASE_HELD = "lease-held", 409, "Another autoscaler is at work"
    TOO_LARGE = "too-large", 413, "The body is too large"
    LONG_ADDRESS = "long-address", 414, "The address is too long"
    NOT_JSON = "not-json", 415, "Only application/json is taken"
    ENCODED = "encoded", 415, "Encoded bodies are not taken"
    EXPECTATION = "expectation", 417, "Only Expect: 100-continue is known"
    WRONG_HOST = "wrong-host", 421, "This server does not go by that name"
    UNROUTABLE = "unroutable", 422, "No host would ever run it"
    OUT_OF_BOUNDS = "out-of-bounds", 422, "The limit is outside the host's bounds"
    LARGE_HEADERS = "large-headers", 431, "The headers are too large, or too many"
    INTERNAL = "internal", 500, "A bug of ygg"
    DRAINING = "draining", 503, "The dispatcher is ending"
    STORE = "store-trouble", 503, "The store takes no writes now"
    NOT_YET = "not-yet", 503, "It is not done yet"
    TOO_MANY_STREAMS = "too-many-streams", 503, "Too many streams of events"
    FULL = "disk-full", 507, "The disk is full"

    def __init__(self, slug: str, status: int, title: str) -> None:
        self.urn = f"urn:ygg:problem:{slug}"
        self.status = status
        self.title = title


class FieldError(msgspec.Struct, frozen=True):
    """One thing that was wrong in a body, or in a query."""

    #: RFC 6901, into the body; of a parameter its name.
    pointer: str
    detail: str


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What goes over the wire."""

    type: str = "about:blank"
    title: str = ""
    status: int = 0
    detail: str = ""
    errors: tuple[FieldError, ...] = ()


class Problem(Exception):
    """Raised anywhere below a route: becomes the answer.

    Args:
        kind: the line of the list.
        detail: what was wrong and the way out.
        errors: the same by field, where there are fields.
        retry_after: seconds after which it may work.
        challenge: with which token it works, in WWW-Authenticate's words.
        close: the connection is of no further use (a body was left unread).
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        retry_after: int | None = None,
        challenge: str | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.retry_after = retry_after
        self.challenge = challenge
        self.close = close

    def response(self) -> web.Response:
        kind, errors = self.kind, self.errors
        detail = self.detail
        if len(errors) > ERRORS_MAX:
            detail = f"{detail}; the first {ERRORS_MAX} are told"
            errors = errors[:ERRORS_MAX]
        document = ProblemDocument(
            type=kind.urn,
            title=kind.title,
            status=kind.status,
            detail=detail,
            errors=tuple(errors),
        )
        headers: dict[str, str] = {}
        if self.retry_after is not None:
            headers[hdrs.RETRY_AFTER] = str(self.retry_after)
        if self.challenge is not None:
            headers[hdrs.WWW_AUTHENTICATE] = self.challenge
        return _response(document, headers, close=self.close)


def bad_fields(errors: Sequence[FieldError]) -> Problem:
    """The body is JSON, but not what this route takes."""
    return Problem(Kind.BAD_FIELDS, _summary(errors), errors=errors)


def bad_parameters(errors: Sequence[FieldError]) -> Problem:
    """The query is not what this route takes."""
    return Problem(Kind.BAD_PARAMETERS, _summary(errors), errors=errors)


def _summary(errors: Sequence[FieldError]) -> str:
    """More errors than are told may be cut short: nobody counted them all."""
    first, others = errors[0], len(errors) - 1
    more = f" (and {others} more)" if others else ""
    if len(errors) > ERRORS_MAX:
        more = " (and many more)"
    return f"{first.pointer}: {first.detail}{more}" if first.pointer else f"{first.detail}{more}"


def shown(text: str, most: int = 60) -> str:
    """Text from outside in quotes, short and with nothing in it that can't be encoded."""
    return repr(text if len(text) <= most else text[:most] + "...")


def problem_of(error: Exception) -> Problem | None:
    """What the parts within raise, as a problem; None: it is a bug."""
    match error:
        case Problem():
            return error
        case UnknownTask():
            return Problem(Kind.UNKNOWN_TASK, str(error))
        case UnknownHost():
            return Problem(Kind.UNKNOWN_HOST, str(error))
        case PinnedInFile():
            return Problem(Kind.PINNED_IN_FILE, str(error))
        case SharedSlots():
            return Problem(Kind.SHARED_SLOTS, str(error))
        case OutOfBounds():
            return Problem(
                Kind.OUT_OF_BOUNDS, str(error), errors=[FieldError("/limit", str(error))]
            )
        case LeaseHeld():
            return Problem(Kind.LEASE_HELD, str(error), retry_after=math.ceil(error.seconds))
        case NoArtifact():
            return Problem(Kind.NO_ARTIFACT, str(error))
        case KeyClash():
            return Problem(Kind.KEY_CLASH, str(error))
        case Refused():
            return Problem(Kind.REFUSED, str(error))
        case Unroutable():
            return Problem(Kind.UNROUTABLE, str(error))
        case Draining():
            return Problem(Kind.DRAINING, str(error), retry_after=5)
        case StoreError() | NotAccepting() | ArtifactError():
            return store_problem(str(error))
        case _:
            return None


def store_problem(trouble: str) -> Problem:
    """The store, or the answers' disk, in trouble.

    Whether it is full can only be read from its words: by the time a submit is refused, the error
    itself is gone. A test holds the words of both.
    """
    full = "disk is full" in trouble or "quota is used up" in trouble
    return Problem(Kind.FULL if full else Kind.STORE, trouble, retry_after=5)


@web.middleware
async def tell_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost layer: every error leaves as a problem document."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = _of_aiohttp(request, error)
    except Exception as error:
        problem = problem_of(error)
        if problem is None:
            log.exception("event=request_broke method=%s path=%r", request.method, request.path)
            detail = "ygg has a bug here; its log has the whole story. Please report it"
            problem = Problem(Kind.INTERNAL, detail)
        response = problem.response()
    return sealed(response)


def sealed(response: web.StreamResponse) -> web.StreamResponse:
    """Nobody keeps an answer, and no browser takes it for what it is not or shows it to others."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["Cache-Control"] = "no-store"
    response.headers["Server"] = "ygg"  # no versions of what is below
    return response


def _of_aiohttp(request: web.Request, error: web.HTTPException) -> web.Response:
    """What the router and the reader of bodies say, in our form."""
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return Problem(Kind.TOO_LARGE, error.text or "", close=True).response()
    headers = {}
    if isinstance(error, web.HTTPNotFound):
        detail = f"nothing is at {shown(request.path)}; GET /v1/status is a good start"
    elif isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        headers["Allow"] = allowed
        detail = f"{shown(request.path)} takes {allowed}, not {shown(request.method, 20)}"
    else:
        detail = error.text or ""
    status = HTTPStatus(error.status)
    document = ProblemDocument(title=status.phrase, status=error.status, detail=detail)
    return _response(document, headers)


def _response(
    document: ProblemDocument, headers: Mapping[str, str], *, close: bool = False
) -> web.Response:
    response = web.Response(
        body=msgspec.json.encode(document),
        status=document.status,
        headers=headers,
        content_type="application/problem+json",
    )
    if close:
        response.force_close()
    return response

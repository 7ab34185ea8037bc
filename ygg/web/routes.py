"""A route: what the server does at a path, and all that /openapi.json says of it.

Each route stands once, beside the code that answers it. From this one table come both aiohttp's
routes and the document, so neither can have what the other has not. How the document looks is
left to openapi.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web

from ygg.web.bodies import BodyReader
from ygg.web.parameters import NOTHING, QueryReader
from ygg.web.problems import Handler, Kind

#: Of all that asks the store, or writes to it.
STORE: Final = (Kind.STORE, Kind.FULL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A good answer."""

    about: str
    #: What it is as JSON, one of these; empty: it is no JSON.
    kinds: tuple[Any, ...] = ()
    media: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """One that a route looks at beside those of all requests."""

    name: str
    about: str
    kind: Any = str


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    method: str
    path: str
    handle: Handler
    #: In a few words; the rest in `about`.
    summary: str
    about: str = ""
    answers: Mapping[int, Answer]
    #: None: whatever is in the query is ignored.
    query: QueryReader[Any] | None = NOTHING
    body: BodyReader[Any] | None = None
    #: A body may be left out.
    body_optional: bool = False
    headers: tuple[Header, ...] = ()
    #: What may be wrong beside what may be wrong with any request.
    problems: tuple[Kind, ...] = ()
    #: An answer without end has no head of its own.
    has_head: bool = True

    @property
    def name(self) -> str:
        """Unique, and the same from version to version: clients are made with it."""
        name: str = getattr(self.handle, "__name__", "")
        return name


def as_routes(routes: Iterable[Route]) -> list[web.RouteDef]:
    """For aiohttp."""
    return [_as_route(route) for route in routes]


def _as_route(route: Route) -> web.RouteDef:
    handle = _without_parameters(route.handle) if route.query is NOTHING else route.handle
    if route.method == hdrs.METH_GET:
        return web.get(route.path, handle, allow_head=route.has_head)
    return web.RouteDef(route.method, route.path, handle, {})


def _without_parameters(handle: Handler) -> Handler:
    """A parameter that has no effect would be a wish that nobody heard."""

    async def checked(request: web.Request) -> web.StreamResponse:
        if request.query_string:
            NOTHING.read(request.query)
        return await handle(request)

    return checked


def as_json(
    value: Mapping[str, object] | msgspec.Struct,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    return web.Response(
        body=_ENCODER.encode(value),
        status=status,
        headers=headers,
        content_type="application/json",
    )


_ENCODER: Final = msgspec.json.Encoder()

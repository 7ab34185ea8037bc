"""The dispatcher over HTTP, put together.

The routes are in tasks.py, hosts.py, autoscaler.py, whole.py and events.py, each with what
/openapi.json says of it. Who may ask is guard.py's, how errors look problems.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Final

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry

from ygg.dispatcher import Dispatcher
from ygg.metrics import BoardCollector
from ygg.version import VERSION
from ygg.web.auth import Token
from ygg.web.autoscaler import AutoscalerRoutes
from ygg.web.events import EventRoutes
from ygg.web.guard import ACCESS, host_names, make_access, make_guard
from ygg.web.hosts import HostRoutes
from ygg.web.limits import LIMITS, Limits
from ygg.web.openapi import document
from ygg.web.parts import Parts
from ygg.web.problems import tell_problems
from ygg.web.routes import Answer, Route, as_routes
from ygg.web.tasks import TaskRoutes
from ygg.web.whole import WholeRoutes

#: All routes of an application, as one table.
ROUTES: Final = web.AppKey[Sequence[Route]]("routes")


def make_app(
    dispatcher: Dispatcher,
    *,
    registry: CollectorRegistry,
    collector: BoardCollector,
    wall: Callable[[], float],
    monotonic: Callable[[], float],
    random_bits: Callable[[int], int],
    tokens: Iterable[Token] = (),
    limits: Limits | None = None,
) -> web.Application:
    """The application; to be served by `listening`, which also keeps its limits on connections.

    It follows the dispatcher's store from now on: make it before the dispatcher starts.

    Args:
        dispatcher: what it shows and passes orders to.
        registry: what /metrics shows; `collector` is registered in it.
        collector: is told the oldest waits before each scrape.
        wall: seconds since the epoch.
        monotonic: the dispatcher's clock of attempts.
        random_bits: so many random bits, for ids.
        tokens: with which one comes in where one is needed.
        limits: what one client may take.
    """
    limits = limits or Limits()
    settings = dispatcher.fleet.dispatcher
    app = web.Application(
        middlewares=[tell_problems, make_guard(host_names(settings))],
        client_max_size=limits.body_bytes,
    )
    app[LIMITS] = limits
    app[ACCESS] = make_access(settings, tokens)
    parts = Parts(dispatcher, wall=wall, monotonic=monotonic, limits=limits)
    events = EventRoutes(parts)
    dispatcher.store.follow(parts.down_since.absorb)
    dispatcher.store.follow(parts.cuts.absorb)
    dispatcher.store.follow(events.absorb)
    app.on_shutdown.append(events.close)
    routes = [
        *TaskRoutes(parts, random_bits).routes(),
        *HostRoutes(parts).routes(),
        *AutoscalerRoutes(parts).routes(),
        *events.routes(),
        *WholeRoutes(parts, registry, collector).routes(),
    ]
    every = Described(routes).routes
    app[ROUTES] = every
    app.add_routes(as_routes(every))
    return app


class Described:
    """The routes, and the one that tells of them all, itself too."""

    def __init__(self, routes: list[Route]) -> None:
        own = Route(
            method="GET",
            path="/openapi.json",
            handle=self.openapi,
            summary="This document",
            answers={200: Answer(about="OpenAPI 3.1", kinds=(dict[str, Any],))},
        )
        self.routes = [*routes, own]

    async def openapi(self, _: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type="application/json")

    @cached_property
    def _document(self) -> bytes:
        return msgspec.json.encode(document(self.routes, version=VERSION))

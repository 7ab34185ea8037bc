"""The routes of the dispatcher as a whole: status, metrics, and whether it is well."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from typing import Final

import msgspec
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ygg.board import Reason
from ygg.dispatcher import Draining
from ygg.fleetjson import Config, config_of
from ygg.metrics import BoardCollector
from ygg.shapes import DispatcherStatus
from ygg.tasks import Lane, Status
from ygg.web.parts import Parts
from ygg.web.problems import Kind, store_problem
from ygg.web.routes import STORE, Answer, Route, as_json
from ygg.web.status import dispatcher_status

log = logging.getLogger("ygg.web")

_VERSION: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}")


class Live(msgspec.Struct, frozen=True, kw_only=True):
    live: bool


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Whether tasks are taken. With no host up they are: they wait."""

    ready: bool
    hosts_up: int


class WholeRoutes:
    def __init__(
        self, parts: Parts, registry: CollectorRegistry, collector: BoardCollector
    ) -> None:
        self._parts = parts
        self._dispatcher = parts.dispatcher
        self._registry = registry
        self._collector = collector

    def routes(self) -> list[Route]:
        return [
            Route(
                method="GET",
                path="/v1/status",
                handle=self.status,
                summary="The whole picture: hosts, what runs, waits, is blocked",
                answers={200: Answer(about="as of now", kinds=(DispatcherStatus,))},
            ),
            Route(
                method="GET",
                path="/v1/config",
                handle=self.config,
                summary="The settings it runs with, and what waits under them",
                about="Where keys and tokens are, never the secrets themselves.",
                answers={200: Answer(about="as of now", kinds=(Config,))},
            ),
            Route(
                method="GET",
                path="/metrics",
                handle=self.metrics,
                summary="Metrics for Prometheus",
                query=None,
                answers={200: Answer(about="in the text format", media="text/plain")},
            ),
            Route(
                method="GET",
                path="/livez",
                handle=self.livez,
                summary="Whether the process lives",
                query=None,
                answers={200: Answer(about="it does", kinds=(Live,))},
            ),
            Route(
                method="GET",
                path="/readyz",
                handle=self.readyz,
                summary="Whether tasks are taken",
                query=None,
                answers={200: Answer(about="they are", kinds=(Ready,))},
                problems=(Kind.DRAINING, *STORE),
            ),
        ]

    async def status(self, _: web.Request) -> web.Response:
        dispatcher, parts = self._dispatcher, self._parts
        overview, trouble = await parts.look(dispatcher.store.overview())
        oldest, trouble = (
            (None, trouble) if trouble else await parts.look(dispatcher.store.oldest())
        )
        return as_json(
            dispatcher_status(
                parts.sight(),
                pid=os.getpid(),
                mode=dispatcher.mode,
                started_at=parts.started_at,
                store_trouble=dispatcher.store_trouble,
                count_trouble=trouble,
                overview=overview,
                oldest=oldest,
                wall=parts.wall(),
            )
        )

    async def config(self, _: web.Request) -> web.Response:
        dispatcher, waiting = self._dispatcher, Counter[Lane]()
        for (lane, _priority), count in dispatcher.board.backlog.waiting.items():
            waiting[lane] += count
        return as_json(config_of(dispatcher.fleet, waiting))

    async def metrics(self, request: web.Request) -> web.Response:
        oldest, trouble = await self._parts.look(self._dispatcher.store.oldest())
        if oldest is None:
            log.warning("event=stale_scrape what=oldest_waits why=%r", trouble)
        else:
            self._collector.oldest = oldest
        overview, trouble = await self._parts.look(self._dispatcher.store.overview())
        if overview is None:
            log.warning("event=stale_scrape what=counts why=%r", trouble)
        else:
            names = [source.name for source in self._dispatcher.sources]
            self._collector.untold = {name: overview.untold.get(name, 0) for name in names}
            blocked = overview.by_status.get(Status.BLOCKED, 0)
            self._collector.blocked = overview.drained, blocked - overview.drained
        accept = ",".join(request.headers.getall(hdrs.ACCEPT, []))
        encode, content_type = choose_encoder(",".join(filter(_has_number, accept.split(","))))
        return web.Response(body=encode(self._registry), headers={hdrs.CONTENT_TYPE: content_type})

    async def livez(self, _: web.Request) -> web.Response:
        return as_json(Live(live=True))

    async def readyz(self, _: web.Request) -> web.Response:
        dispatcher = self._dispatcher
        if dispatcher.board.stopped is Reason.DRAINING:
            raise Draining("the dispatcher is ending: no new tasks are taken")
        if dispatcher.store_trouble is not None:
            raise store_problem(dispatcher.store_trouble)
        return as_json(Ready(ready=True, hosts_up=len(dispatcher.live_hosts())))


def _has_number(media: str) -> bool:
    """Whether its version, if it names one, is a number: the library fails on any other."""
    parameters = (parameter.partition("=") for parameter in media.split(";")[1:])
    versions = (value for name, _, value in parameters if name.strip() == "version")
    return all(_VERSION.fullmatch(version.strip()) for version in versions)

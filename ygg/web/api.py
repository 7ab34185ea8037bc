"""The dispatcher over HTTP: each route reads what is asked, asks the dispatcher, and tells.

Who may ask is guard.py's, how errors look problems.py's, what a submit may say submission.py's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, TypeVar

import msgspec
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ygg.board import Reason
from ygg.dispatcher import Dispatcher, Draining, Unroutable
from ygg.metrics import BoardCollector
from ygg.overrides import UnknownHost
from ygg.stores.base import KeyClash, StoreError, UnknownTask
from ygg.tasks import Json, Task
from ygg.web import orders, views
from ygg.web.auth import Token
from ygg.web.guard import ACCESS, SUBMITTER, host_names, make_access, make_guard
from ygg.web.limits import LIMITS, Limits
from ygg.web.parameters import NUMBER_MAX, PAGE_MAX, Parameters, read_listing
from ygg.web.problems import Kind, Problem, store_problem, tell_problems
from ygg.web.status import DownSince, Sight, dispatcher_status, host_statuses
from ygg.web.submission import make_draft, read_submit, refusal
from ygg.wire import task_json

T = TypeVar("T")
log = logging.getLogger("ygg.web")

_TASK_ID: Final = re.compile(r"[0-9a-z]{18}")
#: A page ends early when it has grown to so many bytes: a description may have a million.
_PAGE_BYTES: Final = 8 * 1024 * 1024
#: Tasks asked of the store at once.
_CHUNK: Final = 100
_ENCODER: Final = msgspec.json.Encoder()


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
    api = _Api(dispatcher, registry, collector, wall, monotonic, random_bits, limits)
    dispatcher.store.follow(api.down_since.absorb)
    app.add_routes(api.routes())
    return app


class _Api:
    def __init__(
        self,
        dispatcher: Dispatcher,
        registry: CollectorRegistry,
        collector: BoardCollector,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        random_bits: Callable[[int], int],
        limits: Limits,
    ) -> None:
        self._dispatcher = dispatcher
        self._registry = registry
        self._collector = collector
        self._wall = wall
        self._monotonic = monotonic
        self._random_bits = random_bits
        self._limits = limits
        self._started_at = wall()
        self.down_since = DownSince(self._started_at)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/tasks", self.submit),
            web.get("/v1/tasks", self.tasks),
            web.get("/v1/tasks/{id}", self.task),
            web.patch("/v1/tasks/{id}", self.change),
            web.get("/v1/tasks/{id}/artifact", self.artifact),
            web.get("/v1/tasks/{id}/history", self.history),
            web.get("/v1/tasks/{id}/why", self.why),
            web.post("/v1/tasks/{id}/cancel", self.cancel),
            web.post("/v1/tasks/{id}/retry", self.retry),
            web.post("/v1/retry", self.retry_many),
            web.get("/v1/hosts", self.hosts),
            web.put("/v1/hosts/{name}/pin", self.pin),
            web.delete("/v1/hosts/{name}/pin", self.unpin),
            web.put("/v1/hosts/{name}/pause", self.pause),
            web.delete("/v1/hosts/{name}/pause", self.resume),
            web.get("/v1/status", self.status),
            web.get("/metrics", self.metrics),
            web.get("/livez", self.livez),
            web.get("/readyz", self.readyz),
        ]

    # -- tasks -----------------------------------------------------------------------------------

    async def submit(self, request: web.Request) -> web.Response:
        keys = request.headers.getall("Idempotency-Key", [])
        if len(keys) > 1:
            raise Problem(Kind.BAD_FIELDS, "Idempotency-Key is given twice: send one")
        submit = read_submit(await request.read(), keys[0] if keys else None)
        types, now = self._dispatcher.fleet.types, self._wall()
        drafts = [
            make_draft(
                submission, types=types, now=now, random_bits=self._random_bits,
                submitter=request[SUBMITTER],
            )
            for submission in submit.submissions
        ]  # fmt: skip
        try:
            added = await self._dispatcher.submit(drafts)
        except (Unroutable, KeyClash) as error:
            board = self._dispatcher.board
            raise refusal(error, drafts, board, several=submit.several) from error
        status = 201 if any(one.new for one in added) else 200
        if submit.several:
            return _json({"tasks": [task_json(one.task) for one in added]}, status)
        task = added[0].task
        return _json(task_json(task), status, {hdrs.LOCATION: f"/v1/tasks/{task.id}"})

    async def tasks(self, request: web.Request) -> web.Response:
        listing = read_listing(request.query)
        before, size = listing.before, 0
        tasks: list[msgspec.Raw] = []
        while True:
            page = await self._dispatcher.store.find(
                listing.query, before=before, limit=min(_CHUNK, listing.limit - len(tasks))
            )
            tasks += [msgspec.Raw(_ENCODER.encode(task_json(task))) for task in page.tasks]
            size += sum(map(len, tasks[-len(page.tasks) :])) if page.tasks else 0
            before = page.next
            if before is None or len(tasks) >= listing.limit or size >= _PAGE_BYTES:
                break
        return _json({"tasks": tasks, "next": None if before is None else str(before)})

    async def task(self, request: web.Request) -> web.Response:
        return _json(task_json(await self._get(request)))

    async def change(self, request: web.Request) -> web.Response:
        order = orders.read_change(await request.read())
        task = await self._dispatcher.store.change(
            _task_id(request),
            priority=order.priority,
            run_next=order.run_next,
            held=order.held,
            now=self._wall(),
        )
        return _json(task_json(task))

    async def artifact(self, request: web.Request) -> web.Response:
        parameters = Parameters(request.query)
        thinking = parameters.choice("thinking", ("0", "1")) == "1"
        parameters.check()
        path = views.artifact_path(await self._get(request), thinking=thinking)
        text = await self._dispatcher.artifacts.read(path)
        return web.Response(body=text.encode(), content_type="text/markdown", charset="utf-8")

    async def history(self, request: web.Request) -> web.Response:
        parameters = Parameters(request.query)
        after = parameters.number("after", 0, NUMBER_MAX) or 0
        limit = parameters.number("limit", 1, PAGE_MAX) or PAGE_MAX
        parameters.check()
        task = await self._get(request)
        rows = await self._dispatcher.store.journal(after=after, limit=limit, task_id=task.id)
        more = str(rows[-1].position) if len(rows) == limit else None
        return _json({"history": [views.row_json(row) for row in rows], "next": more})

    async def why(self, request: web.Request) -> web.Response:
        task, dispatcher = await self._get(request), self._dispatcher
        return _json(
            views.why_json(task, dispatcher.board, dispatcher.store_trouble, self._reasons())
        )

    async def cancel(self, request: web.Request) -> web.Response:
        orders.read_nothing(await request.read())
        task_id = _task_id(request)
        try:
            async with asyncio.timeout(self._limits.cancel_seconds):
                task = await self._dispatcher.cancel(task_id)
        except TimeoutError as error:
            detail = (
                f"task {task_id} was told to end, but its end could not be written within "
                f"{self._limits.cancel_seconds:g} s: ask again"
            )
            raise Problem(Kind.NOT_YET, detail, retry_after=5) from error
        return _json(task_json(task))

    async def retry(self, request: web.Request) -> web.Response:
        orders.read_nothing(await request.read())
        (task,) = await self._dispatcher.retry([_task_id(request)])
        return _json(task_json(task))

    async def retry_many(self, request: web.Request) -> web.Response:
        order = orders.read_retry(await request.read())
        ids = await orders.retry_many(self._dispatcher, order, self._wall())
        return _json({"count": len(ids), "tasks": ids})

    async def _get(self, request: web.Request) -> Task:
        """Raises UnknownTask, StoreError."""
        return await self._dispatcher.store.get(_task_id(request))

    # -- hosts -----------------------------------------------------------------------------------

    async def hosts(self, _: web.Request) -> web.Response:
        return _json({"hosts": host_statuses(self._sight())})

    async def pin(self, request: web.Request) -> web.Response:
        order, until = orders.read_pin(await request.read(), self._wall())
        name = request.match_info["name"]
        await self._dispatcher.overrides.pin(
            name, order.limit, until=until, by=order.by or "", reason=order.reason or ""
        )
        return self._host(name)

    async def unpin(self, request: web.Request) -> web.Response:
        orders.read_nothing(await request.read())
        await self._dispatcher.overrides.unpin(request.match_info["name"])
        return self._host(request.match_info["name"])

    async def pause(self, request: web.Request) -> web.Response:
        order, until = orders.read_pause(await request.read(), self._wall())
        name, overrides = request.match_info["name"], self._dispatcher.overrides
        if order.paused is False:
            await overrides.resume(name, by=order.by or "")
        else:
            reason = order.reason or "by hand"
            await overrides.pause(name, reason, until=until, by=order.by or "")
        return self._host(name)

    async def resume(self, request: web.Request) -> web.Response:
        orders.read_nothing(await request.read())
        await self._dispatcher.overrides.resume(request.match_info["name"])
        return self._host(request.match_info["name"])

    def _host(self, name: str) -> web.Response:
        for host in host_statuses(self._sight()):
            if host.name == name:
                return _json(host)
        raise UnknownHost(f"host {name!r} was taken out of hosts.yaml just now")

    # -- the whole -------------------------------------------------------------------------------

    async def status(self, _: web.Request) -> web.Response:
        dispatcher, store = self._dispatcher, self._dispatcher.store
        overview, trouble = await self._look(store.overview())
        oldest, trouble = (None, trouble) if trouble else await self._look(store.oldest())
        return _json(
            dispatcher_status(
                self._sight(),
                pid=os.getpid(),
                started_at=self._started_at,
                store_trouble=dispatcher.store_trouble or trouble,
                overview=overview,
                oldest=oldest,
                wall=self._wall(),
            )
        )

    async def metrics(self, request: web.Request) -> web.Response:
        oldest, trouble = await self._look(self._dispatcher.store.oldest())
        if oldest is None:
            log.warning("event=stale_scrape what=oldest_waits why=%r", trouble)
        else:
            self._collector.oldest = oldest
        encode, content_type = choose_encoder(", ".join(request.headers.getall(hdrs.ACCEPT, [])))
        return web.Response(body=encode(self._registry), headers={hdrs.CONTENT_TYPE: content_type})

    async def livez(self, _: web.Request) -> web.Response:
        return _json({"live": True})

    async def readyz(self, _: web.Request) -> web.Response:
        """Whether tasks are taken. With no host up they are: they wait."""
        dispatcher = self._dispatcher
        if dispatcher.board.stopped is Reason.DRAINING:
            raise Draining("the dispatcher is ending: no new tasks are taken")
        if dispatcher.store_trouble is not None:
            raise store_problem(dispatcher.store_trouble)
        return _json({"ready": True, "hosts_up": len(dispatcher.live_hosts())})

    def _sight(self) -> Sight:
        dispatcher = self._dispatcher
        return Sight(
            board=dispatcher.board,
            fleet=dispatcher.fleet,
            host_rows=dispatcher.host_rows,
            attempts=dispatcher.attempts,
            down_since=self.down_since,
            reasons=self._reasons(),
            monotonic=self._monotonic(),
            servers={h: dispatcher.server_runs(h) for h in dispatcher.fleet.hosts},
        )

    def _reasons(self) -> dict[str, str]:
        healths = {h: self._dispatcher.keeper.host_health(h) for h in self._dispatcher.fleet.hosts}
        return {host: health.reason for host, health in healths.items() if health is not None}

    async def _look(self, asked: Awaitable[T]) -> tuple[T | None, str | None]:
        """What the store says, or in words why it does not, soon."""
        try:
            async with asyncio.timeout(self._limits.look_seconds):
                return await asked, None
        except TimeoutError:
            return None, f"the store did not answer within {self._limits.look_seconds:g} s"
        except StoreError as error:
            return None, str(error)


def _task_id(request: web.Request) -> str:
    """Raises UnknownTask at once for what was never an id of ours."""
    task_id = request.match_info["id"]
    if not _TASK_ID.fullmatch(task_id):
        raise UnknownTask(task_id if len(task_id) <= 60 else task_id[:60] + "...")
    return task_id


def _json(
    value: Mapping[str, Json | object] | msgspec.Struct,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    return web.Response(
        body=_ENCODER.encode(value),
        status=status,
        headers=headers,
        content_type="application/json",
    )

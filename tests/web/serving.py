"""The real API before the real dispatcher, on a real loopback socket.

The store is the one in memory (held to the contract by tests/contracts) and the model servers are
those of tests/worlds.py, in this process: what is tested here is what goes over the wire, and a
task must be caught while it waits, runs or has ended, which a real server's own pace would not
allow. Sockets need real time, so stories wait for events and never for a clock.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import aiohttp
import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry

from tests.worlds import Answers, NoMeter, Server, Servers, fleet
from ygg import addresses
from ygg.addresses import HostPort
from ygg.artifacts import Artifacts
from ygg.dispatcher import Dispatcher
from ygg.fleet import Fleet
from ygg.hosts.base import Answer, Progress, Request
from ygg.journal import Event
from ygg.metrics import BoardCollector, Metrics
from ygg.stores.base import StoreError
from ygg.stores.memory import MemoryStore
from ygg.stores.operations import Operations
from ygg.stores.shell import Views
from ygg.tasks import Status
from ygg.web.api import ROUTES, make_app
from ygg.web.auth import Token
from ygg.web.limits import Limits
from ygg.web.listening import Doors, listening
from ygg.web.routes import Route

T = TypeVar("T")


class Clock:
    """The machine's clocks, which a test may move."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.later = 0.0

    def wall(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.later


@dataclass
class Thinker(Server):
    """Answers at once, and may show its thinking, or stop at a limit."""

    seconds: float = 0.0
    thinking: str = ""
    finish: Literal["stop", "length"] = "stop"

    async def generate(self, request: Request, progress: Progress) -> Answer:
        answer = await super().generate(request, progress)
        return replace(answer, thinking=self.thinking, finish=self.finish)


class TroubledStore(MemoryStore):
    """Fails, or hangs, when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.trouble: Exception | None = None
        #: While it is clear nothing is read.
        self.readable = asyncio.Event()
        self.readable.set()

    async def _commit(self, operation: Callable[[Operations], T]) -> T:
        await self.probe()
        return await super()._commit(operation)

    async def _look(self, look: Callable[[Views], T], *, seek: bool) -> T:
        await self.probe()
        await self.readable.wait()
        return await super()._look(look, seek=seek)

    async def probe(self) -> None:
        if self.trouble is not None:
            raise self.trouble


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes
    #: Decoded, where it is JSON.
    json: Any


@dataclass
class Served:
    dispatcher: Dispatcher
    store: TroubledStore
    servers: Mapping[str, Thinker]
    artifacts: Artifacts
    clock: Clock
    session: aiohttp.ClientSession
    port: int
    doors: Doors
    #: Another one like it.
    new_app: Callable[[], web.Application]
    _changed: asyncio.Event

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Reply:
        sent = {"json": body} if data is None and body is not None else {"data": data}
        if data is not None:
            headers = {"Content-Type": "application/json", **(headers or {})}
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self.session.request(method, url, headers=headers, **sent) as answer:
            whole = await answer.read()
            is_json = answer.content_type.endswith("json")
            decoded = await answer.json(content_type=None) if is_json and whole else None
            return Reply(answer.status, answer.headers, whole, decoded)

    async def submit(self, **fields: object) -> str:
        reply = await self.ask("POST", "/v1/tasks", fields)
        assert reply.status == 201, reply.json
        task_id = reply.json["id"]
        assert isinstance(task_id, str)
        return task_id

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a committed row has made it true."""
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_status(self, task_id: str, status: Status) -> None:
        await self.until(lambda: self.store.tables.tasks[task_id].status is status)

    async def until_running(self, task_id: str) -> None:
        """Its host has been asked."""
        await self.until_status(task_id, Status.IN_PROGRESS)
        async with asyncio.timeout(20):
            while not any(server.running for server in self.servers.values()):
                await asyncio.sleep(0)

    def hold(self, host: str = "h") -> asyncio.Event:
        """Whatever runs there from now on waits for this event."""
        held = self.servers[host].hold = asyncio.Event()
        return held


@asynccontextmanager
async def served(
    folder: Path,
    settings: Fleet | None = None,
    limits: Limits | None = None,
    *,
    tokens: Iterable[Token] = (),
    listen: Sequence[str] = (),
    is_loopback: Callable[[str], bool] = addresses.is_loopback,
    more: Iterable[web.RouteDef] = (),
) -> AsyncIterator[Served]:
    """A dispatcher with one host (`h`, one slot) unless `settings` say otherwise, up and asked.

    It listens on a free port of 127.0.0.1, and at `listen`; it serves `more` besides.
    """
    loop = asyncio.get_running_loop()
    settings = settings or fleet()
    store, clock, changed = TroubledStore(), Clock(), asyncio.Event()
    places = Servers(list(settings.hosts), loop)
    servers = {name: Thinker(name, loop) for name in settings.hosts}
    places.all = dict(servers)
    artifacts = Artifacts(folder / "artifacts")
    dispatcher = Dispatcher(
        fleet=settings, store=store, servers=places, artifacts=artifacts, meter=NoMeter(),
        clock=clock, identity="d1",
    )  # fmt: skip
    metrics = Metrics(CollectorRegistry(), monotonic=clock.monotonic)
    collector = BoardCollector(
        board=dispatcher.board, fleet=lambda: dispatcher.fleet,
        host_rows=lambda: dispatcher.host_rows, memory=dict, wall=clock.wall,
        server=dispatcher.server_runs,
    )  # fmt: skip
    metrics.registry.register(collector)
    store.follow(metrics.absorb)
    chance = random.Random(1)

    def new_app() -> web.Application:
        return make_app(
            dispatcher, registry=metrics.registry, collector=collector, wall=clock.wall,
            monotonic=clock.monotonic, random_bits=chance.getrandbits, limits=limits,
            tokens=tokens,
        )  # fmt: skip

    def hear(_: Sequence[Event]) -> None:
        changed.set()

    app = new_app()
    app.add_routes(more)
    hurry = asyncio.Event()
    hurry.set()
    async with asyncio.TaskGroup() as group:
        await dispatcher.start(group)
        store.follow(hear)
        async with (
            listening(app, ["127.0.0.1:0", *listen], is_loopback=is_loopback) as doors,
            aiohttp.ClientSession() as session,
        ):
            await doors.open()
            first = doors.addresses[0]
            assert isinstance(first, HostPort)
            here = Served(
                dispatcher, store, servers, artifacts, clock, session, first.port, doors, new_app,
                changed,
            )  # fmt: skip
            await here.until(lambda: len(dispatcher.live_hosts()) == len(settings.hosts))
            yield here
        await dispatcher.drain(hurry)
    await artifacts.close()


def the_routes() -> Sequence[Route]:
    """The table of routes, of an application that never serves."""
    loop, clock, artifacts = asyncio.new_event_loop(), Clock(), Answers()
    dispatcher = Dispatcher(
        fleet=fleet(), store=MemoryStore(), servers=Servers([], loop), artifacts=artifacts,
        meter=NoMeter(), clock=clock, identity="d1",
    )  # fmt: skip
    loop.close()
    registry = CollectorRegistry()
    collector = BoardCollector(
        board=dispatcher.board, fleet=lambda: dispatcher.fleet,
        host_rows=lambda: dispatcher.host_rows, memory=dict, wall=clock.wall,
    )  # fmt: skip
    app = make_app(
        dispatcher, registry=registry, collector=collector, wall=clock.wall,
        monotonic=clock.monotonic, random_bits=random.Random(1).getrandbits,
    )  # fmt: skip
    return app[ROUTES]


def run(story: Coroutine[None, None, None]) -> None:
    """On the event loop that the daemon has: its transports differ from asyncio's own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story)


@contextmanager
def served_beside(folder: Path) -> Iterator[int]:
    """The same on a thread of its own, with its host paused; gives the port.

    For properties, whose examples are plain functions.
    """
    ready, ports = threading.Event(), list[int]()
    failures = list[BaseException]()
    loops = list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]()

    async def serve() -> None:
        stop = asyncio.Event()
        async with served(folder) as w:
            await w.dispatcher.overrides.pause("h", "a property is looked at")
            ports.append(w.port)
            loops.append((asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    def work() -> None:
        try:
            run(serve())
        except BaseException as failure:  # noqa: BLE001 - told by the thread that waits
            failures.append(failure)
        finally:
            ready.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(20)
        assert ports, failures
        yield ports[0]
    finally:
        for loop, stop in loops:
            loop.call_soon_threadsafe(stop.set)
        thread.join(20)
    assert not failures, failures


STORE_TROUBLE = StoreError("tasks.db: the disk failed: look at the kernel's log (dmesg)")

"""The composition root: builds the parts, wires them, runs them until a signal, ends them in order.

Nothing is decided here. `serve` returns the process's exit code.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry

from ygg.addresses import Address, HostPort, parse_address
from ygg.artifacts import ArtifactError, Artifacts
from ygg.assignment import assign
from ygg.dispatcher import Dispatcher, Draining
from ygg.filewatch import FileWatch
from ygg.fleet import DispatcherSettings, FileStanding, Fleet
from ygg.hosts.pool import Pool
from ygg.hostsfile import read_fleet
from ygg.inside import Beside, Inside
from ygg.logbook import Logbook
from ygg.logs import start_logging
from ygg.metrics import BoardCollector, Metrics
from ygg.places import Places, find_hosts_file, find_places
from ygg.reloading import NotNow, Reloading
from ygg.secrets import SecretError
from ygg.sources.base import NoProject, SourceError, Standing
from ygg.sources.issues import Taking
from ygg.sources.project import actor_of, beads, taken
from ygg.sources.telling import calls
from ygg.sources.where import REDIRECT, Project, Wanted, find_project, poll_seconds
from ygg.sourcing import Places as Room
from ygg.sourcing import Sourcing
from ygg.stores.base import StoreError, StoreUnusable
from ygg.stores.sqlite import SqliteStore
from ygg.threads import Threads, decide_nothing
from ygg.version import VERSION
from ygg.web.api import make_app
from ygg.web.auth import Token, load_tokens
from ygg.web.listening import CantListen, listening

log = logging.getLogger("ygg.daemon")

_LAG_EVERY_SECONDS: Final = 5.0
_MEMORY_EVERY_SECONDS: Final = 15.0
_PRUNE_EVERY_SECONDS: Final = 3600.0
#: For telling sources of ends, and giving back what waits, before the process ends.
_LEAVE_SECONDS: Final = 20.0
#: A start that is told to end has so long to come to where it can drain.
_START_SECONDS: Final = 5.0


class CantStart(Exception):
    """The daemon can't start; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the command line said; None: nothing."""

    hosts: str | None = None
    listen: tuple[str, ...] = ()
    store: str | None = None
    state: str | None = None
    verbose: bool = False
    #: Let the legacy threads decide what starts.
    legacy: bool = False
    #: Where tasks come from beside the doors.
    beads: Wanted = field(default_factory=Wanted)
    #: Makes, of the settings, what runs within the process beside the dispatcher.
    beside: Callable[[Fleet], Beside] | None = None


class SystemClock:
    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def serve(options: Options, environ: Mapping[str, str] = os.environ) -> int:
    """Run the dispatcher until SIGINT or SIGTERM.

    Raises HostsFileError, NoHostsFile, NoStore, StoreUnusable, CantStart.
    """
    watch = FileWatch(find_hosts_file(options.hosts, environ, Path.cwd()))
    in_file = read_fleet(watch.path)
    listen = options.listen or _addresses(environ) or in_file.dispatcher.listen
    fleet = replace(in_file, dispatcher=replace(in_file.dispatcher, listen=listen))
    beside = None if options.beside is None else options.beside(fleet)
    places = find_places(
        fleet.dispatcher, state=options.state, store=options.store, environ=environ,
        folder=Path.cwd(),
    )  # fmt: skip
    try:
        project = find_project(options.beads, fleet.beads, Path.cwd(), environ)
    except NoProject as error:
        raise CantStart(str(error)) from error
    lines = start_logging(places.logs, verbose=options.verbose)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            tokens = _tokens(fleet.dispatcher, environ)
            return runner.run(
                _run(
                    fleet, _File(watch, in_file), places, tokens, beside, project,
                    legacy=options.legacy,
                )
            )  # fmt: skip
    except (CantListen, ArtifactError) as error:
        raise CantStart(str(error)) from error
    finally:
        lines.close()


def _addresses(environ: Mapping[str, str]) -> tuple[str, ...]:
    """What YGG_LISTEN says, with commas or blanks between several. Raises CantStart."""
    given = environ.get("YGG_LISTEN", "")
    try:
        return tuple(str(parse_address(text)) for text in given.replace(",", " ").split())
    except ValueError as error:
        raise CantStart(f"YGG_LISTEN is {given!r}: {error}") from error


def _tokens(settings: DispatcherSettings, environ: Mapping[str, str]) -> tuple[Token, ...]:
    """Raises CantStart."""
    try:
        loaded = load_tokens(settings.token_from, environ)
    except SecretError as error:
        raise CantStart(f"no token can be had: {error}") from error
    if loaded.warning is not None:
        log.warning("event=tokens_open why=%r", loaded.warning)
    return loaded.tokens


@dataclass(frozen=True, slots=True)
class _File:
    """hosts.yaml, and what it said when it was read."""

    watch: FileWatch
    fleet: Fleet


async def _run(
    fleet: Fleet,
    file: _File,
    places: Places,
    tokens: tuple[Token, ...],
    beside: Beside | None,
    project: Project | None,
    *,
    legacy: bool,
) -> int:
    loop = asyncio.get_running_loop()
    hurry, stop = asyncio.Event(), asyncio.Event()

    def on_signal(number: int) -> None:
        name = signal.Signals(number).name
        if stop.is_set():
            log.info("event=signal name=%s effect='no more waiting for what runs'", name)
            hurry.set()
        else:
            log.info("event=signal name=%s effect=drain", name)
            stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    # Of a terminal that was closed, too: what runs there runs on.
    loop.add_signal_handler(signal.SIGHUP, file.watch.ask)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(Pool(fleet))
        artifacts = Artifacts(places.artifacts)
        stack.push_async_callback(artifacts.close)
        store = SqliteStore(places.store)
        stack.push_async_callback(store.close)
        clock = SystemClock()
        metrics = Metrics(CollectorRegistry(), monotonic=clock.monotonic)
        identity = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        dispatcher = Dispatcher(
            fleet=fleet, store=store, servers=pool, artifacts=artifacts, meter=metrics,
            clock=clock, identity=identity, decide=decide_nothing if legacy else assign,
        )  # fmt: skip
        threads = Threads(dispatcher) if legacy else None
        sourcing = None if project is None else _sourcing(dispatcher, project, stack)
        logbook = Logbook(dispatcher.board, loop)
        stack.callback(logbook.close)
        collector = BoardCollector(
            board=dispatcher.board, fleet=lambda: dispatcher.fleet,
            host_rows=lambda: dispatcher.host_rows, memory=pool.memory, wall=clock.wall,
            server=dispatcher.server_runs, in_a_row=metrics.blocked_in_a_row,
        )  # fmt: skip
        metrics.registry.register(collector)
        store.observe(lambda operation, seconds: metrics.store_call("sqlite", operation, seconds))
        store.follow(metrics.absorb)
        store.follow(logbook.absorb)
        app = make_app(
            dispatcher, registry=metrics.registry, collector=collector, wall=clock.wall,
            monotonic=clock.monotonic, random_bits=secrets.randbits, tokens=tokens,
        )  # fmt: skip
        reloading = _reloading(dispatcher, file, collector, clock)
        inside = Inside(
            followers=dispatcher.followers, state=places.state, autoscaling=dispatcher.autoscaling,
            registry=metrics.registry, collector=collector, store=store,
        )  # fmt: skip
        try:
            flushed = await _work(
                dispatcher, threads, pool, artifacts, metrics, app, places,
                None if beside is None else partial(beside, inside), sourcing, reloading,
                stop=stop, hurry=hurry,
            )  # fmt: skip
        except BaseExceptionGroup as group:
            # What a person can mend is told in one line; all else whole, as a bug of ours.
            for kind in (StoreUnusable, CantListen, CantStart, ArtifactError):
                found = group.subgroup(kind)
                if found is not None:
                    raise _first(found) from None
            raise
    if not flushed:
        log.error("event=ended flushed=no hint='see event=not_flushed: not all could be written'")
        return 1
    log.info("event=ended")
    return 0


def _sourcing(dispatcher: Dispatcher, project: Project, stack: AsyncExitStack) -> Sourcing:
    """The Beads project as a source of this dispatcher. Raises CantStart."""
    fleet = dispatcher.fleet
    actor = actor_of(fleet.beads)
    try:
        lock = stack.enter_context(taken(project, dispatcher.identity))
    except SourceError as error:
        raise CantStart(str(error)) from error
    standing = Standing(name="beads", where=str(project.folder), actor=actor)
    dispatcher.sources.append(standing)
    log.info("event=feeding source=beads project=%s files=%s actor=%s take=%s poll_seconds=%g",
             project.folder, project.files, actor, fleet.beads.take,
             poll_seconds(project, fleet.beads))  # fmt: skip
    if project.doubt:
        log.warning("event=redirect_in_doubt file=%s why=%r hint='mend or delete that file'",
                    project.beads / REDIRECT, project.doubt)  # fmt: skip

    def places() -> Room:
        board = dispatcher.board
        hosts = {name: host.semaphore for name, host in dispatcher.fleet.hosts.items()}
        routes = {
            name: list(dict.fromkeys(hosts[o.host] for o in route if o.host in hosts))
            for name, route in board.routes.items()
        }
        return Room(routes=routes, slots={n: s.slots.limit for n, s in board.semaphores.items()})

    return Sourcing(
        beads(project, fleet.beads, telling=partial(calls, actor=actor), lock=lock),
        dispatcher.store, dispatcher.artifacts, SystemClock(),
        taking=lambda: Taking(
            beads=dispatcher.fleet.beads, types=dispatcher.fleet.types, actor=actor
        ),
        review=lambda type_: dispatcher.fleet.done(type_) == "review",
        chance=secrets.randbits, places=places, standing=standing,
    )  # fmt: skip


def _reloading(
    dispatcher: Dispatcher, file: _File, collector: BoardCollector, clock: SystemClock
) -> Reloading:
    async def take(fleet: Fleet) -> None:
        try:
            await dispatcher.reload(fleet)
        except Draining as error:
            raise NotNow(str(error)) from error

    def tell(standing: FileStanding) -> None:
        dispatcher.standing = standing
        collector.reloaded = (not standing.problems, standing.taken_at)

    return Reloading(file.watch, file.fleet, take=take, tell=tell, wall=clock.wall)


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def _work(
    dispatcher: Dispatcher,
    threads: Threads | None,
    pool: Pool,
    artifacts: Artifacts,
    metrics: Metrics,
    app: web.Application,
    places: Places,
    beside: Callable[[], Coroutine[Any, Any, None]] | None,
    sourcing: Sourcing | None,
    reloading: Reloading,
    *,
    stop: asyncio.Event,
    hurry: asyncio.Event,
) -> bool:
    """Serve until `stop`, then drain; answers reads and cancels until everything is flushed.

    False: not everything could be. Raises CantListen, ArtifactError, StoreUnusable, CantStart, in
    groups.
    """
    fleet = dispatcher.fleet
    # The addresses are taken first: where one can't be had, no task is started in vain.
    async with listening(app, fleet.dispatcher.listen) as doors, asyncio.TaskGroup() as group:
        await artifacts.sweep()
        rescued = await begin(dispatcher, group, stop)
        if threads is not None:
            await threads.restore()
        await doors.open()
        log.info(
            "event=serving version=%s pid=%d url=%s hosts=%d store=%s artifacts=%s "
            "rescued=%d waiting=%d mode=%s",
            VERSION, os.getpid(), _url(doors.addresses), len(fleet.hosts), places.store,
            places.artifacts, rescued, dispatcher.board.backlog.waiting.total(),
            dispatcher.mode,
        )  # fmt: skip
        services = [
            group.create_task(_measure_lag(metrics), name="loop lag"),
            group.create_task(_prune(dispatcher, artifacts), name="retention"),
            group.create_task(_measure_memory(pool), name="model memory"),
            group.create_task(reloading.run(), name="hosts.yaml"),
        ]
        if threads is not None:
            services.append(group.create_task(threads.run(), name="legacy threads"))
        if beside is not None:
            services.append(group.create_task(beside(), name="beside"))
        feeding = None if sourcing is None else group.create_task(sourcing.run(), name="source")
        await stop.wait()
        if feeding is not None:
            feeding.cancel()
        flushed = await dispatcher.drain(hurry)
        if sourcing is not None:
            await sourcing.leave(_LEAVE_SECONDS)
        for service in services:
            service.cancel()
    return flushed


async def begin(dispatcher: Dispatcher, group: asyncio.TaskGroup, stop: asyncio.Event) -> int:
    """Start it. Returns how many tasks were rescued.

    One that can't write its first rows tries until it can, or until `stop`: then nothing runs that
    a drain could wait for. Raises StoreUnusable, CantStart.
    """
    starting = asyncio.ensure_future(dispatcher.start(group))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done() and dispatcher.store_trouble is None:
            await asyncio.wait({starting}, timeout=_START_SECONDS)
        if not starting.done():
            trouble = dispatcher.store_trouble or "the store did not answer in time"
            raise CantStart(f"ended before it could begin: {trouble}")
        return starting.result()
    finally:
        stopping.cancel()
        starting.cancel()
        await asyncio.wait({starting})


def _url(listening_at: tuple[Address, ...]) -> str:
    """Where clients find us: the first address, over TCP if there is one."""
    first = next((a for a in listening_at if isinstance(a, HostPort)), listening_at[0])
    return f"http://{first}" if isinstance(first, HostPort) else str(first)


async def _measure_lag(metrics: Metrics) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LAG_EVERY_SECONDS
        await asyncio.sleep(_LAG_EVERY_SECONDS)
        metrics.loop_lag.observe(max(0.0, loop.time() - due))


async def _measure_memory(pool: Pool) -> None:
    while True:
        await pool.measure()
        await asyncio.sleep(_MEMORY_EVERY_SECONDS)


async def _prune(dispatcher: Dispatcher, artifacts: Artifacts) -> None:
    """Forget by age what hosts.yaml says, piece by piece, once an hour."""
    while True:
        keep, now = dispatcher.fleet.dispatcher.retention, time.time()
        try:
            pruned = 0
            while gone := await dispatcher.store.prune(
                closed_before=None if keep.closed is None else now - keep.closed,
                journal_before=None if keep.journal is None else now - keep.journal,
            ):
                pruned += gone
            if pruned:
                log.info("event=pruned tasks=%d", pruned)
            if keep.artifacts is not None:
                await artifacts.prune(datetime.fromtimestamp(now - keep.artifacts, UTC).date())
        except (StoreError, ArtifactError) as error:
            log.warning("event=prune_failed error=%r hint='tried again in an hour'", str(error))
        await asyncio.sleep(_PRUNE_EVERY_SECONDS)

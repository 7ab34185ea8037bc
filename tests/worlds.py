"""A whole dispatcher in one process, on virtual time: the real code between twins at its edges.

The store is the one in memory (held to the contract by tests/contracts), servers answer out of a
script, and the loop's clock jumps to the next timer when nothing is ready.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal, TypeVar

import looptime

from ygg.artifacts import ArtifactError
from ygg.assignment import assign
from ygg.checker import Checker
from ygg.dispatcher import Dispatcher
from ygg.faults import Cause, Failure
from ygg.findings import FindingKind, Report
from ygg.fleet import (
    BUILT_IN_TYPES,
    DispatcherSettings,
    Fleet,
    HostSettings,
    Option,
    SlotSettings,
    TypeSettings,
)
from ygg.handlers import Place
from ygg.hosts.base import Answer, Loaded, Progress, Request
from ygg.journal import Event, Kind
from ygg.lives import Stored
from ygg.stores.base import StoreError, TaskStore, Unstorable
from ygg.stores.memory import MemoryStore
from ygg.stores.operations import Operations
from ygg.stores.rows import DamagedRow
from ygg.stores.shell import Views
from ygg.tasks import Draft, Status, Task, new_id
from ygg.threads import Threads, decide_nothing

T = TypeVar("T")
_chance = itertools.count()


def run_virtual(story: Awaitable[None]) -> None:
    """Run it on a loop whose clock jumps."""
    loop = looptime.new_event_loop(start=0)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_as_coroutine(story))


async def _as_coroutine(story: Awaitable[None]) -> None:
    await story


def draft(
    title: str = "a task", *, type: str = "general", priority: int = 2, **more: object
) -> Draft:
    return Draft(
        id=new_id(0.0, next(_chance)), title=title, type=type, priority=priority, created_at=0.0,
        **more,  # type: ignore[arg-type]  # a test's own keywords
    )  # fmt: skip


def stored(task: Task) -> Stored:
    """A task as the checker compares it."""
    key = None if task.key is None else (task.submitter, task.key)
    return Stored(task.id, task.status, task.outcome, task.artifact, task.waiting, key)


def fleet(
    slots: Mapping[str, int] | None = None,
    routes: Mapping[str, Sequence[str]] | None = None,
    *,
    settings: DispatcherSettings | None = None,
    types: Mapping[str, TypeSettings] | None = None,
    shares: Mapping[str, str] | None = None,
) -> Fleet:
    """By default one host, `h`, with one slot, for every type."""
    slots = {"h": 1} if slots is None else slots
    hosts = {
        name: HostSettings(
            name=name, url=f"http://{name}", model="m", shares=(shares or {}).get(name),
            slots=SlotSettings(start=count, max=max(count, 8)),
        )
        for name, count in slots.items()
    }  # fmt: skip
    every = list(slots)
    options = {
        name: tuple(Option(host, "m") for host in (routes or {}).get(name, every))
        for name in BUILT_IN_TYPES
    }
    return Fleet(
        file="hosts.yaml",
        hosts=hosts,
        types={name: TypeSettings(name=name, run=run) for name, run in options.items()}
        | dict(types or {}),
        dispatcher=settings or DispatcherSettings(),
    )


@dataclass
class Server:
    """A scripted model server: takes `seconds` for each answer, or fails as told."""

    name: str
    loop: asyncio.AbstractEventLoop
    seconds: float = 1.0
    #: Of coming requests, in order; None: a good answer.
    script: list[Failure | None] = field(default_factory=list)
    down: bool = False
    has_it: bool = True
    most_at_once: int | None = None
    asked: list[str] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)
    running: int = 0
    most: int = 0
    hold: asyncio.Event | None = None

    async def generate(self, request: Request, progress: Progress) -> Answer:
        if self.down:
            raise refused(self.name)
        prompt = request.messages[-1].content
        self.asked.append(prompt)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            failure = self.script.pop(0) if self.script else None
            progress.tokens(prompt=3)
            if self.hold is not None:
                await self.hold.wait()
            await asyncio.sleep(self.seconds)
            if failure is not None:
                raise failure
            if self.down:
                raise Failure(Cause.CUT_OFF, f"{self.name} died", taken=True)
            progress.tokens(completion=5)
            return Answer(text=f"answer to {prompt}", prompt_tokens=3, completion_tokens=5)
        finally:
            self.running -= 1

    async def probe(self) -> None:
        self.looks.append(self.loop.time())
        if self.down:
            raise refused(self.name)

    async def models(self) -> Sequence[str]:
        return ["m"]

    async def has_model(self, model: str) -> bool:
        return self.has_it

    async def parallelism(self) -> int | None:
        return self.most_at_once

    async def loaded(self) -> Sequence[Loaded]:
        return ()


def refused(name: str) -> Failure:
    return Failure(Cause.REFUSED, f"{name} refused the connection", taken=False)


class Servers:
    """The twin of hosts/pool.py: servers in this process."""

    def __init__(self, names: Sequence[str], loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.all = {name: Server(name, loop) for name in names}

    async def look(self, host: str) -> None:
        await self.all[host].probe()

    async def look_at_option(self, option: Option) -> None:
        if not self.all[option.host].has_it:
            raise Failure(Cause.NO_MODEL, f"{option.host} has no {option.model}", taken=False)

    def most(self, host: str) -> int | None:
        return self.all[host].most_at_once

    def take_over(self, fleet: Fleet) -> None:
        """Servers of hosts that went stay: what runs there runs on."""
        for name in fleet.hosts:
            if name not in self.all:
                self.all[name] = Server(name, self._loop)

    def place(self, option: Option) -> Place:
        server = self.all[option.host]
        return Place(
            host=option.host, url=f"http://{option.host}", model=option.model, server=server
        )


class Failing(MemoryStore):
    """A store whose writes fail while `broken`; reads work, as on a full disk."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False

    async def _commit(self, operation: Callable[[Operations], T]) -> T:
        if self.broken:
            raise StoreError("the disk is full")
        return await super()._commit(operation)

    async def probe(self) -> None:
        if self.broken:
            raise StoreError("the disk is full")


class Picky(MemoryStore):
    """A store that can't hold what has the word UNSTORABLE in it, however often it is tried."""

    async def _commit(self, operation: Callable[[Operations], T]) -> T:
        tasks, rows = dict(self.tables.tasks), list(self.tables.rows)
        try:
            result = operation(self._operations)
        finally:
            events, self._operations.events = self._operations.events, []
        changed = [t for t in self.tables.tasks.values() if tasks.get(t.id) is not t]
        if "UNSTORABLE" in repr([events, changed]):
            self.tables.tasks, self.tables.rows = tasks, rows
            raise Unstorable("no file can hold it")
        self._tell(events)
        return result


class Damaged(MemoryStore):
    """A store in which the rows of `these` tasks can't be read; all else can."""

    def __init__(self) -> None:
        super().__init__()
        self.these: set[str] = set()
        load = self.tables.load

        def checked(task_id: str) -> Task | None:
            if task_id in self.these:
                raise DamagedRow("tasks", task_id, "labels holds 7")
            return load(task_id)

        self.tables.load = checked  # type: ignore[method-assign]  # the tables are made within


class Losing(MemoryStore):
    """A store whose disk fails with the next commit that writes a row of the kind `at`.

    That commit is reported failed, as every write is until `well`. What became of it is its fate:
    undone; or it stands, told at once; or it stands and is found, told and shown with the next
    write that works, as SQLite does it when it opens its file again.
    """

    def __init__(self, fate: Literal["undone", "told", "found"]) -> None:
        super().__init__()
        self.fate = fate
        self.at: Kind | None = None
        self.losing = False
        self._untold: list[Event] = []
        #: What reads show instead of what stands; None: what stands.
        self._shown: dict[str, Task] | None = None

    def well(self) -> None:
        self.losing = False

    async def _commit(self, operation: Callable[[Operations], T]) -> T:
        self._check()
        tasks, rows = dict(self.tables.tasks), list(self.tables.rows)
        try:
            result = operation(self._operations)
        finally:
            events, self._operations.events = self._operations.events, []
        if any(event.kind is self.at for event in events):
            self.at, self.losing = None, True
            if self.fate == "undone":
                self.tables.tasks, self.tables.rows = tasks, rows
                events = []
            self._shown = tasks
        self._untold += events
        if not self.losing or self.fate == "told":
            self._tell_all()
        self._check()
        return result

    async def _look(self, look: Callable[[Views], T], *, seek: bool) -> T:
        stands = self.tables.tasks
        self.tables.tasks = stands if self._shown is None else self._shown
        try:
            return await super()._look(look, seek=seek)
        finally:
            self.tables.tasks = stands

    async def probe(self) -> None:
        self._check()
        self._tell_all()

    def _check(self) -> None:
        if self.losing:
            raise StoreError("disk I/O error")

    def _tell_all(self) -> None:
        events, self._untold, self._shown = self._untold, [], None
        self._tell(events)


class Answers:
    """Artifacts in memory."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.failing: Exception | None = None
        #: Paths that can't be read now.
        self.unreadable: set[str] = set()

    async def write(self, task_id: str, text: str, thinking: str, day: date) -> str:
        await self.probe()
        self.texts[task_id] = text
        return f"{day}/{task_id}.md"

    async def read(self, path: str) -> str:
        if path in self.unreadable:
            raise ArtifactError("open", Path(path), OSError(5, "Input/output error"))
        return self.texts[path.partition("/")[2].removesuffix(".md")]

    async def probe(self) -> None:
        if self.failing is not None:
            raise self.failing


class NoMeter:
    violations = 0

    def tokens(self, host: str, *, prompt: int, completion: int) -> None:
        assert prompt >= 0
        assert completion >= 0

    def violation(self) -> None:
        self.violations += 1


class LoopClock:
    """Wall and monotonic time, both the loop's; the wall began some years ago."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.offset = 1_700_000_000.0

    def wall(self) -> float:
        return self.offset + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()


@dataclass
class World:
    dispatcher: Dispatcher
    store: MemoryStore
    servers: dict[str, Server]
    answers: Answers
    clock: LoopClock
    hurry: asyncio.Event

    async def submit(self, *drafts: Draft) -> list[str]:
        return [added.task.id for added in await self.dispatcher.submit(drafts)]

    async def until(self, condition: Callable[[], bool], *, within: float = 600.0) -> None:
        """Wait, in virtual time, until it holds."""
        async with asyncio.timeout(within):
            while not condition():
                await asyncio.sleep(0.1)

    async def settled(self, *, within: float = 600.0) -> None:
        """Every task is closed or blocked."""
        ended = (Status.CLOSED, Status.BLOCKED)
        await self.until(lambda: all(t.status in ended for t in self.tasks), within=within)

    @property
    def tasks(self) -> list[Task]:
        return list(self.store.tables.tasks.values())

    def task(self, task_id: str) -> Task:
        return self.store.tables.tasks[task_id]

    async def check(self) -> Report:
        checker = Checker()
        for row in self.store.tables.rows:
            checker.feed(row)
        return checker.finish(map(stored, self.tasks))


@asynccontextmanager
async def world(
    settings: Fleet | None = None,
    *,
    store: MemoryStore | None = None,
    wrapped: TaskStore | None = None,
    identity: str = "d1",
    crash: bool = False,
    legacy: bool = False,
) -> AsyncIterator[World]:
    """A running dispatcher; at the end it drains, and the journal's checker must find nothing.

    Args:
        settings: the fleet; one host with one slot if left out.
        store: one that a former dispatcher left.
        wrapped: what the dispatcher sees instead of `store`, such as one that fails.
        identity: of this start of the dispatcher.
        crash: end without a drain, as a killed process would.
        legacy: the threads decide, with no respect for priorities. They sleep in real time.
    """
    loop = asyncio.get_running_loop()
    settings = settings or fleet()
    store = store or MemoryStore()
    store._listeners.clear()  # the former dispatcher's ears died with it
    servers = Servers(list(settings.hosts), loop)
    answers, clock = Answers(), LoopClock(loop)
    dispatcher = Dispatcher(
        fleet=settings, store=wrapped or store, servers=servers, artifacts=answers,
        meter=NoMeter(), clock=clock, identity=identity,
        decide=decide_nothing if legacy else assign,
    )  # fmt: skip
    threads = Threads(dispatcher) if legacy else None
    here = World(dispatcher, store, servers.all, answers, clock, asyncio.Event())
    async with asyncio.TaskGroup() as group:
        await dispatcher.start(group)
        if threads is not None:
            await threads.restore()
            working = group.create_task(threads.run())
        yield here
        if crash:
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            return
        await dispatcher.drain(here.hurry)
        if threads is not None:
            working.cancel()
    report = await here.check()
    allowed = {FindingKind.INVERSION} if legacy else set[FindingKind]()
    assert set(report.counts) <= allowed, "\n".join(report.lines())

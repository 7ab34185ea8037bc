"""The async face that all stores share: every call becomes one write or one look, and is timed.

How a write becomes durable, and on which thread, is left to each store.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, Protocol, TypeVar

from ygg.fleet import Option
from ygg.journal import Event, Note
from ygg.stores.base import (
    Added,
    Listener,
    Observer,
    Overview,
    Page,
    Posted,
    PostedEnd,
    Query,
    Restored,
    StoreError,
    UnknownTask,
)
from ygg.stores.operations import Operations, Pruned
from ygg.tasks import Draft, Fence, Held, Json, Lane, Outcome, Rank, Status, Task, Waiting

T = TypeVar("T")

#: From a commit to its telling it takes a turn of the loop, unless the disk failed in between.
_TOLD_SECONDS: Final = 10.0


class Views(Protocol):
    """What can be asked of a store without writing."""

    def load(self, task_id: str) -> Task | None: ...
    def ready(self, lane: Lane, after: Rank, limit: int) -> Sequence[Waiting]: ...
    def find(self, query: Query, before: int | None, limit: int) -> Page: ...
    def journal(self, after: int, limit: int, task_id: str | None) -> Sequence[Event]: ...
    def oldest(self) -> Mapping[tuple[Lane, int], float]: ...
    def overview(self) -> Overview: ...
    def pruned_to(self) -> int: ...
    def sourced(self, source: str) -> Sequence[Task]: ...
    def posted(self, source: str, now: float, limit: int) -> Sequence[Posted]: ...
    def posted_ends(self, source: str) -> Sequence[PostedEnd]: ...
    def next_post(self, source: str) -> float | None: ...
    def of_source(self, source: str, source_id: str) -> Task | None: ...

    def position(self) -> int:
        """Of the last row of the journal."""


class Shell(ABC):
    """Implements `TaskStore` over `_commit` and `_look`; see there for what each call promises."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._observers: list[Observer] = []
        #: Position of the last row that listeners were told of.
        self._heard = 0
        self._hears = asyncio.Event()

    @abstractmethod
    async def _commit(self, operation: Callable[[Operations], T]) -> T:
        """Run it in a transaction; return once that is durable and its events were told."""

    @abstractmethod
    async def _look(self, look: Callable[[Views], T], *, seek: bool) -> T:
        """Run it on the last committed state, all of it on the same one.

        `seek`: it takes no longer the more is stored, and must not wait for looks that do.
        """

    def _tell(self, events: Sequence[Event]) -> None:
        """On the event loop. A listener's mistake is its own: the others and the writers go on."""
        for listener in self._listeners if events else ():
            try:
                listener(events)
            except Exception as error:  # noqa: BLE001 - surfaces through the loop's handler
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"a listener of the store failed: {listener!r}", "exception": error}
                )
        if events:
            self._heard = events[-1].position
            self._hears.set()

    async def _told_of(self, position: int) -> None:
        """Until listeners were told of a row that is committed: a reader may see it before them.

        Raises StoreError if they are not, soon: a commit that was reported as failed stands, and
        they hear of it once the disk is well again.
        """
        try:
            async with asyncio.timeout(_TOLD_SECONDS):
                while self._heard < position:
                    self._hears.clear()
                    await self._hears.wait()
        except TimeoutError as error:
            raise StoreError("a row is on disk that nobody was told of: read again") from error

    def follow(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def observe(self, observer: Observer) -> None:
        """From now on the observer hears how long each operation took, failed ones too."""
        self._observers.append(observer)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        now = asyncio.get_running_loop().time
        began = now()
        try:
            yield
        finally:
            for observer in self._observers:
                observer(name, now() - began)

    async def _write(self, name: str, operation: Callable[[Operations], T]) -> T:
        with self._timed(name):
            return await self._commit(operation)

    async def _read(self, name: str, look: Callable[[Views], T], *, seek: bool = False) -> T:
        with self._timed(name):
            return await self._look(look, seek=seek)

    async def open(
        self, *, owner: str, now: float, max_strikes: int, once: Collection[str] = ()
    ) -> Restored:
        return await self._write(
            "open", lambda o: o.open(owner=owner, now=now, max_strikes=max_strikes, once=once)
        )

    async def add(self, drafts: Sequence[Draft], *, now: float) -> Sequence[Added]:
        return await self._write("add", lambda o: o.add(drafts, now=now))

    async def ready(self, lane: Lane, *, after: Rank, limit: int) -> Sequence[Waiting]:
        page, position = await self._read(
            "ready", lambda v: (v.ready(lane, after, limit), v.position()), seek=True
        )
        await self._told_of(position)
        return page

    async def claim(self, task_id: str, *, option: Option, seen: int, now: float) -> Task | None:
        return await self._write(
            "claim", lambda o: o.claim(task_id, option=option, seen=seen, now=now)
        )

    async def finish(
        self,
        task_id: str,
        fence: Fence,
        *,
        artifact: str | None = None,
        answer: Mapping[str, Json] | None = None,
        outcome: Outcome = Outcome.DONE,
        now: float,
        notes: Sequence[Note] = (),
    ) -> bool:
        return await self._write(
            "finish",
            lambda o: o.finish(
                task_id,
                fence,
                artifact=artifact,
                answer=answer,
                outcome=outcome,
                now=now,
                notes=notes,
            ),
        )

    async def block(
        self,
        task_id: str,
        fence: Fence,
        *,
        error: str,
        reason: str,
        strike: bool = False,
        now: float,
        notes: Sequence[Note] = (),
    ) -> bool:
        return await self._write(
            "block",
            lambda o: o.block(
                task_id, fence, error=error, reason=reason, strike=strike, now=now, notes=notes
            ),
        )

    async def reopen(
        self,
        task_id: str,
        fence: Fence,
        *,
        error: str,
        reason: str,
        strike: bool,
        max_strikes: int,
        now: float,
        notes: Sequence[Note] = (),
    ) -> Status | None:
        return await self._write(
            "reopen",
            lambda o: o.reopen(
                task_id,
                fence,
                error=error,
                reason=reason,
                strike=strike,
                max_strikes=max_strikes,
                now=now,
                notes=notes,
            ),
        )

    async def cancel(self, task_id: str, *, now: float) -> Task:
        return await self._write("cancel", lambda o: o.cancel(task_id, now=now))

    async def retry(self, task_ids: Sequence[str], *, now: float) -> Sequence[Task]:
        return await self._write("retry", lambda o: o.retry(task_ids, now=now))

    async def prioritise(
        self, task_id: str, *, priority: int | None = None, run_next: bool | None = None, now: float
    ) -> Task:
        return await self._write(
            "prioritise",
            lambda o: o.prioritise(task_id, priority=priority, run_next=run_next, now=now),
        )

    async def hold(self, task_id: str, *, why: Held = Held.BY_HAND, now: float) -> Task:
        return await self._write("hold", lambda o: o.hold(task_id, why=why, now=now))

    async def release(self, task_id: str, *, why: Held, now: float) -> Task:
        return await self._write("release", lambda o: o.release(task_id, why=why, now=now))

    async def change(
        self,
        task_id: str,
        *,
        priority: int | None = None,
        run_next: bool | None = None,
        held: bool | None = None,
        now: float,
    ) -> Task:
        return await self._write(
            "change",
            lambda o: o.change(task_id, priority=priority, run_next=run_next, held=held, now=now),
        )

    async def edit(
        self,
        task_id: str,
        *,
        title: str,
        description: str,
        labels: tuple[str, ...],
        priority: int,
        now: float,
    ) -> Task:
        return await self._write(
            "edit",
            lambda o: o.edit(
                task_id,
                title=title,
                description=description,
                labels=labels,
                priority=priority,
                now=now,
            ),
        )

    async def withdraw(self, task_id: str, *, why: str, now: float) -> Task:
        return await self._write("withdraw", lambda o: o.withdraw(task_id, why=why, now=now))

    async def sourced(self, source: str) -> Sequence[Task]:
        return await self._read("sourced", lambda v: v.sourced(source))

    async def posted(self, source: str, *, now: float, limit: int) -> Sequence[Posted]:
        return await self._read("posted", lambda v: v.posted(source, now, limit))

    async def posted_ends(self, source: str) -> Sequence[PostedEnd]:
        return await self._read("posted_ends", lambda v: v.posted_ends(source))

    async def next_post(self, source: str) -> float | None:
        return await self._read("next_post", lambda v: v.next_post(source))

    async def of_source(self, source: str, source_id: str) -> Task:
        task = await self._read("get", lambda v: v.of_source(source, source_id), seek=True)
        if task is None:
            raise UnknownTask(source_id)
        return task

    async def told(self, task_id: str, *, position: int, now: float) -> bool:
        return await self._write("told", lambda o: o.told(task_id, position=position, now=now))

    async def not_told(self, task_id: str, *, error: str, due: float) -> None:
        await self._write("not_told", lambda o: o.not_told(task_id, error=error, due=due))

    async def release_due(self, *, now: float) -> float | None:
        return await self._write("release_due", lambda o: o.release_due(now=now))

    async def note(self, notes: Sequence[Note], *, now: float) -> None:
        await self._write("note", lambda o: o.note(notes, now=now))

    async def get(self, task_id: str) -> Task:
        task = await self._read("get", lambda v: v.load(task_id), seek=True)
        if task is None:
            raise UnknownTask(task_id)
        return task

    async def find(self, query: Query, *, before: int | None = None, limit: int = 100) -> Page:
        return await self._read("find", lambda v: v.find(query, before, limit))

    async def journal(
        self, *, after: int = 0, limit: int = 1000, task_id: str | None = None
    ) -> Sequence[Event]:
        return await self._read("journal", lambda v: v.journal(after, limit, task_id))

    async def oldest(self) -> Mapping[tuple[Lane, int], float]:
        return await self._read("oldest", lambda v: v.oldest())

    async def overview(self) -> Overview:
        return await self._read("overview", lambda v: v.overview())

    async def prune(self, *, closed_before: float | None, journal_before: float | None) -> int:
        tasks = 0
        after: int | None = 0
        while after is not None:
            piece = partial(_prune, closed_before, journal_before, after)
            forgotten, after = await self._write("prune", piece)
            tasks += forgotten
        return tasks

    async def pruned_to(self) -> int:
        return await self._read("pruned_to", lambda v: v.pruned_to())


def _prune(
    closed_before: float | None, journal_before: float | None, after: int, operations: Operations
) -> Pruned:
    return operations.tables.prune(closed_before, journal_before, after)

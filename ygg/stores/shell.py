"""The async face that all stores share: every call becomes one write or one look.

How a write becomes durable, and on which thread, is left to each store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from ygg.fleet import Option
from ygg.journal import Event, Note
from ygg.stores.base import Added, Listener, Overview, Page, Query, Restored, UnknownTask
from ygg.stores.operations import Operations
from ygg.tasks import Draft, Fence, Held, Json, Lane, Outcome, Rank, Status, Task, Waiting

T = TypeVar("T")


class Views(Protocol):
    """What can be asked of a store without writing."""

    def load(self, task_id: str) -> Task | None: ...
    def ready(self, lane: Lane, after: Rank, limit: int) -> Sequence[Waiting]: ...
    def find(self, query: Query, before: int | None, limit: int) -> Page: ...
    def journal(self, after: int, limit: int, task_id: str | None) -> Sequence[Event]: ...
    def oldest(self) -> Mapping[tuple[Lane, int], float]: ...
    def overview(self) -> Overview: ...


class Shell(ABC):
    """Implements `TaskStore` over `_write` and `_read`; see there for what each call promises."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    @abstractmethod
    async def _write(self, operation: Callable[[Operations], T]) -> T:
        """Run it in a transaction; return once that is durable and its events were told."""

    @abstractmethod
    async def _read(self, look: Callable[[Views], T]) -> T: ...

    def _tell(self, events: Sequence[Event]) -> None:
        if events:
            for listener in self._listeners:
                listener(events)

    def follow(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def open(self, *, owner: str, now: float, max_strikes: int) -> Restored:
        return await self._write(lambda o: o.open(owner=owner, now=now, max_strikes=max_strikes))

    async def add(self, drafts: Sequence[Draft], *, now: float) -> Sequence[Added]:
        return await self._write(lambda o: o.add(drafts, now=now))

    async def ready(self, lane: Lane, *, after: Rank, limit: int) -> Sequence[Waiting]:
        return await self._read(lambda v: v.ready(lane, after, limit))

    async def claim(self, task_id: str, *, option: Option, seen: int, now: float) -> Task | None:
        return await self._write(lambda o: o.claim(task_id, option=option, seen=seen, now=now))

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
            lambda o: o.finish(
                task_id,
                fence,
                artifact=artifact,
                answer=answer,
                outcome=outcome,
                now=now,
                notes=notes,
            )
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
            lambda o: o.block(
                task_id, fence, error=error, reason=reason, strike=strike, now=now, notes=notes
            )
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
            lambda o: o.reopen(
                task_id,
                fence,
                error=error,
                reason=reason,
                strike=strike,
                max_strikes=max_strikes,
                now=now,
                notes=notes,
            )
        )

    async def cancel(self, task_id: str, *, now: float) -> Task:
        return await self._write(lambda o: o.cancel(task_id, now=now))

    async def retry(self, task_ids: Sequence[str], *, now: float) -> Sequence[Task]:
        return await self._write(lambda o: o.retry(task_ids, now=now))

    async def prioritise(
        self, task_id: str, *, priority: int | None = None, run_next: bool | None = None, now: float
    ) -> Task:
        return await self._write(
            lambda o: o.prioritise(task_id, priority=priority, run_next=run_next, now=now)
        )

    async def hold(self, task_id: str, *, now: float) -> Task:
        return await self._write(lambda o: o.hold(task_id, now=now))

    async def release(self, task_id: str, *, why: Held, now: float) -> Task:
        return await self._write(lambda o: o.release(task_id, why=why, now=now))

    async def release_due(self, *, now: float) -> float | None:
        return await self._write(lambda o: o.release_due(now=now))

    async def note(self, notes: Sequence[Note], *, now: float) -> None:
        await self._write(lambda o: o.note(notes, now=now))

    async def get(self, task_id: str) -> Task:
        task = await self._read(lambda v: v.load(task_id))
        if task is None:
            raise UnknownTask(task_id)
        return task

    async def find(self, query: Query, *, before: int | None = None, limit: int = 100) -> Page:
        return await self._read(lambda v: v.find(query, before, limit))

    async def journal(
        self, *, after: int = 0, limit: int = 1000, task_id: str | None = None
    ) -> Sequence[Event]:
        return await self._read(lambda v: v.journal(after, limit, task_id))

    async def oldest(self) -> Mapping[tuple[Lane, int], float]:
        return await self._read(lambda v: v.oldest())

    async def overview(self) -> Overview:
        return await self._read(lambda v: v.overview())

    async def prune(self, *, closed_before: float | None, journal_before: float | None) -> int:
        return await self._write(lambda o: o.tables.prune(closed_before, journal_before))

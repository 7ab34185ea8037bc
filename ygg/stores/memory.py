"""A store in memory: nothing survives the process. For tests, simulation and replay.

It is the contract in its plainest form; the other stores are held against it by one suite.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ygg import lifecycle
from ygg.journal import Event
from ygg.stores.base import HostRow, Overview, Page, Query
from ygg.stores.operations import Operations
from ygg.stores.shell import Shell, Views
from ygg.tasks import Draft, Held, Lane, Rank, Status, Task, Waiting

T = TypeVar("T")


def _ready(task: Task) -> bool:
    return task.status is Status.OPEN and task.held is None


class MemoryTables:
    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.rows: list[Event] = []
        self.host_rows: dict[str, HostRow] = {}
        self._digests: dict[str, str] = {}
        self._sequence = 0
        self._position = 0

    def load(self, task_id: str) -> Task | None:
        return self.tasks.get(task_id)

    def by_key(self, submitter: str, key: str) -> tuple[Task, str] | None:
        for task in self.tasks.values():
            if (task.submitter, task.key) == (submitter, key):
                return task, self._digests[task.id]
        return None

    def by_source(self, source: str, source_id: str) -> Task | None:
        for task in self.tasks.values():
            live = task.status is not Status.CLOSED
            if live and (task.source, task.source_id) == (source, source_id):
                return task
        return None

    def insert(self, draft: Draft) -> Task:
        self._sequence += 1
        task = self.tasks[draft.id] = lifecycle.accepted(draft, self._sequence)
        self._digests[task.id] = draft.body_digest
        return task

    def save(self, task: Task) -> None:
        self.tasks[task.id] = task

    def append(self, event: Event) -> Event:
        self._position += 1
        event = replace(event, position=self._position)
        self.rows.append(event)
        return event

    def hosts(self) -> Mapping[str, HostRow]:
        return dict(self.host_rows)

    def save_host(self, name: str, row: HostRow) -> None:
        self.host_rows[name] = row

    def in_progress(self) -> Sequence[Task]:
        return [t for t in self.tasks.values() if t.status is Status.IN_PROGRESS]

    def due(self, now: float) -> Sequence[Task]:
        return [t for due, t in self._not_before() if due <= now]

    def next_due(self) -> float | None:
        return min((due for due, _ in self._not_before()), default=None)

    def _not_before(self) -> list[tuple[float, Task]]:
        held = (t for t in self.tasks.values() if t.held is Held.NOT_BEFORE)
        return [(t.not_before, t) for t in held if t.not_before is not None]

    def waiting(self) -> Mapping[tuple[Lane, int], int]:
        return Counter((t.lane, t.priority) for t in self.tasks.values() if _ready(t))

    def last_created_at(self) -> float:
        born_here = (t.created_at for t in self.tasks.values() if t.source is None)
        return max(born_here, default=0.0)

    def ready(self, lane: Lane, after: Rank, limit: int) -> Sequence[Waiting]:
        found = (t.waiting for t in self.tasks.values() if t.lane == lane and _ready(t))
        return sorted((w for w in found if w.rank > after), key=lambda w: w.rank)[:limit]

    def find(self, query: Query, before: int | None, limit: int) -> Page:
        found = sorted(
            (
                t
                for t in self.tasks.values()
                if (before is None or t.sequence < before)
                and query.status in (None, t.status)
                and query.priority in (None, t.priority)
                and query.type in (None, t.type)
                and query.host in (None, t.host)
                and (query.error is None or query.error in (t.error or ""))
            ),
            key=lambda t: -t.sequence,
        )
        page = found[:limit]
        return Page(tasks=page, next=page[-1].sequence if len(found) > limit else None)

    def journal(self, after: int, limit: int, task_id: str | None) -> Sequence[Event]:
        return [e for e in self.rows if e.position > after and task_id in (None, e.task)][:limit]

    def oldest(self) -> Mapping[tuple[Lane, int], float]:
        oldest: dict[tuple[Lane, int], float] = {}
        for task in filter(_ready, self.tasks.values()):
            key = task.lane, task.priority
            oldest[key] = min(task.created_at, oldest.get(key, task.created_at))
        return oldest

    def overview(self) -> Overview:
        tasks = self.tasks.values()
        blocked = Counter(t.error or "" for t in tasks if t.status is Status.BLOCKED)
        return Overview(
            by_status=Counter(t.status for t in tasks),
            held=Counter(t.held for t in tasks if t.held and t.status is Status.OPEN),
            blocked=dict(blocked.most_common(100)),
        )

    def prune(self, closed_before: float | None, journal_before: float | None) -> int:
        gone = {
            t.id
            for t in self.tasks.values()
            if closed_before is not None
            and t.status is Status.CLOSED
            and (t.ended_at or 0.0) < closed_before
        }
        for task_id in gone:
            del self.tasks[task_id], self._digests[task_id]
        self.rows = [
            e
            for e in self.rows
            if e.task not in gone
            and not (e.task and journal_before is not None and self._forgotten(e, journal_before))
        ]
        return len(gone)

    def _forgotten(self, event: Event, before: float) -> bool:
        task = self.tasks[event.task]
        return task.status is Status.CLOSED and (task.ended_at or 0.0) < before


class MemoryStore(Shell):
    """Each write runs without an await in it: the event loop makes it a transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = MemoryTables()
        self._operations = Operations(self.tables)

    async def _write(self, operation: Callable[[Operations], T]) -> T:
        result = operation(self._operations)
        events, self._operations.events = self._operations.events, []
        self._tell(events)
        return result

    async def _read(self, look: Callable[[Views], T]) -> T:
        return look(self.tables)

    async def probe(self) -> None:
        """Memory always takes writes."""

    async def close(self) -> None:
        """Nothing to flush."""

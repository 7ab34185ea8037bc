"""A store in memory: nothing survives the process. For tests, simulation and replay.

It is the contract in its plainest form; the other stores are held against it by one suite.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import takewhile
from typing import Final, TypeVar

from ygg import lifecycle
from ygg.journal import DRAINED, Event, Kind
from ygg.stores.base import HostRow, Overview, Page, Posted, PostedEnd, Query
from ygg.stores.operations import DUE, Due, Operations, Pruned
from ygg.stores.shell import Shell, Views
from ygg.tasks import Draft, Held, Lane, Rank, Status, Task, Waiting

T = TypeVar("T")


#: Rows of which only the last about a host (and model) says how things are.
_SUPERSEDED: Final = frozenset({Kind.HOST, Kind.OPTION, Kind.RESIZED})


def _ready(task: Task) -> bool:
    return task.status is Status.OPEN and task.held is None


def _type(event: Event) -> str:
    """Whose handler a row about an option means; empty: the model."""
    type_ = event.detail.get("type")
    return type_ if isinstance(type_, str) else ""


def _ended_before(task: Task, before: float | None) -> bool:
    if before is None or task.status is not Status.CLOSED:
        return False
    return task.ended_at is not None and task.ended_at < before


class MemoryTables:
    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.rows: list[Event] = []
        self.host_rows: dict[str, HostRow] = {}
        #: What is posted of a task, and when it is due.
        self.outbox: dict[str, tuple[Posted, float]] = {}
        self._digests: dict[str, str] = {}
        self._sequence = 0
        self._position = 0
        self._pruned_to = 0

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

    def rewrite(self, task: Task) -> None:
        self.tasks[task.id] = task

    def sourced(self, source: str) -> Sequence[Task]:
        live = (t for t in self.tasks.values() if t.status is not Status.CLOSED)
        return [task for task in live if task.source == source]

    def post(self, task: Task, position: int) -> None:
        self.outbox[task.id] = Posted(task=task, position=position), 0.0

    def posted_position(self, task_id: str) -> int | None:
        posted = self.outbox.get(task_id)
        return None if posted is None else posted[0].position

    def unpost(self, task_id: str) -> None:
        self.outbox.pop(task_id, None)

    def postpone(self, task_id: str, error: str, due: float) -> None:
        if task_id in self.outbox:
            posted, _ = self.outbox[task_id]
            self.outbox[task_id] = replace(posted, tries=posted.tries + 1, error=error), due

    def posted(self, source: str, now: float, limit: int) -> Sequence[Posted]:
        due = [
            replace(posted, task=self.tasks[task_id])
            for task_id, (posted, due) in self.outbox.items()
            if due <= now and posted.task.source == source
        ]
        return sorted(due, key=lambda posted: posted.position)[:limit]

    def posted_ends(self, source: str) -> Sequence[PostedEnd]:
        posted = self.posted(source, float("inf"), len(self.outbox))
        return [
            PostedEnd(t.source_id, t.id, t.attempt, t.status, t.outcome, one.error)
            for one, t in ((one, one.task) for one in posted)
            if t.source_id is not None
        ]

    def next_post(self, source: str) -> float | None:
        due = (due for posted, due in self.outbox.values() if posted.task.source == source)
        return min(due, default=None)

    def of_source(self, source: str, source_id: str) -> Task | None:
        found = (t for t in self.tasks.values() if (t.source, t.source_id) == (source, source_id))
        return max(found, key=lambda task: task.sequence, default=None)

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

    def startable_of_sources(self) -> Sequence[Task]:
        waiting = (t for t in self.tasks.values() if t.status is Status.OPEN)
        return [t for t in waiting if t.source is not None and t.held in (None, Held.NOT_BEFORE)]

    def due(self, now: float) -> Due:
        due = sorted(self._not_before(), key=lambda item: item[:2])
        return Due([task for not_before, _, task in due if not_before <= now][:DUE], {})

    def next_due(self) -> float | None:
        return min((due for due, _, _ in self._not_before()), default=None)

    def _not_before(self) -> list[tuple[float, int, Task]]:
        held = (t for t in self.tasks.values() if t.held is Held.NOT_BEFORE)
        return [(t.not_before, t.sequence, t) for t in held if t.not_before is not None]

    def waiting(self) -> Mapping[tuple[Lane, int], int]:
        return dict(Counter((t.lane, t.priority) for t in self.tasks.values() if _ready(t)))

    def last_created_at(self) -> float:
        born_here = [t.created_at for t in self.tasks.values() if t.source is None]
        return born_here[-1] if born_here else 0.0

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
                and (query.error is None or (t.error is not None and query.error in t.error))
            ),
            key=lambda t: -t.sequence,
        )
        return Page.of(found, limit)

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
        most = sorted(blocked.items(), key=lambda item: (-item[1], item[0]))
        return Overview(
            by_status=dict(Counter(t.status for t in tasks)),
            held=dict(Counter(t.held for t in tasks if t.held is not None)),
            blocked=dict(most[:100]),
            drained=sum(n for error, n in most if error.startswith(DRAINED)),
            untold=dict(Counter(posted.task.source or "" for posted, _ in self.outbox.values())),
        )

    # -- forgetting --------------------------------------------------------------------------

    def prune(
        self, closed_before: float | None, journal_before: float | None, after: int
    ) -> Pruned:
        ended = {t.id for t in self.tasks.values() if _ended_before(t, closed_before)}
        gone = ended - self.outbox.keys()
        for task_id in gone:
            del self.tasks[task_id], self._digests[task_id]
        self._forget({e.position for e in self.rows if e.task in gone})
        if journal_before is not None:
            self._forget(self._old_rows(journal_before))
        return Pruned(len(gone), next=None)

    def _old_rows(self, before: float) -> set[int]:
        old = list(takewhile(lambda e: e.at < before, self.rows))
        ended = {e.task for e in old if e.task}
        ended -= {t.id for t in self.tasks.values() if not _ended_before(t, before)}
        opened = max((e.position for e in self.rows if e.kind is Kind.OPENED), default=0)
        stays = (e.position for e in self.rows if e.task and e.task not in ended)
        end = min(opened, next(stays, opened))
        about_hosts = [e for e in old if e.kind in _SUPERSEDED and e.position < end]
        last_words = {(e.kind, e.host, e.model, _type(e)): e.position for e in about_hosts}
        return {e.position for e in self.rows if e.task in ended} | (
            {e.position for e in about_hosts} - set(last_words.values())
        )

    def _forget(self, positions: AbstractSet[int]) -> None:
        self.rows = [e for e in self.rows if e.position not in positions]
        self._pruned_to = max(self._pruned_to, *positions, 0)

    def pruned_to(self) -> int:
        return self._pruned_to

    def position(self) -> int:
        return self._position


class MemoryStore(Shell):
    """Each write runs without an await in it: the event loop makes it a transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = MemoryTables()
        self._operations = Operations(self.tables)

    async def _commit(self, operation: Callable[[Operations], T]) -> T:
        try:
            result = operation(self._operations)
        finally:
            events, self._operations.events = self._operations.events, []
        self._tell(events)
        return result

    async def _look(self, look: Callable[[Views], T], *, seek: bool) -> T:
        return look(self.tables)

    async def probe(self) -> None:
        """Memory always takes writes."""

    async def close(self) -> None:
        """Nothing to flush."""

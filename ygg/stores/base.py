"""What the dispatcher asks of a store. Every store passes the same contract suite."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Protocol

from ygg.fleet import Option
from ygg.journal import Event, Kind, Note
from ygg.tasks import Draft, Fence, Held, Json, Lane, Outcome, Rank, Status, Task, Waiting

#: A page of tasks ends with the one that takes it past so many characters: a prompt may have a
#: million, and a page is in memory whole.
PAGE_CHARACTERS: Final = 1_000_000
#: Hears of committed rows, in order, each once, before the writer is told of its success.
#: It must not raise: what it raises goes to the event loop's exception handler.
Listener = Callable[[Sequence[Event]], None]
#: Hears how many seconds an operation took, by its name.
Observer = Callable[[str, float], None]


class StoreError(Exception):
    """The store could not do it now (disk full, I/O error, no answer). Nothing was acknowledged.

    Whether it took effect is unknown: ask again, every write may be repeated. Of those by hand a
    repeat may be Refused, since what was asked for is so already.
    """


class Unstorable(StoreError):
    """This very write, or what it is about, is the trouble: it fails however often it is tried.

    The store is well. Nothing took effect.
    """


class StoreUnusable(StoreError):
    """The store can't be opened; the message says why and what a person can do."""


class KeyClash(Exception):
    """The same idempotency key came with another body.

    Args:
        key: that both have.
        task_id: whose it is: a task's, or an earlier draft's of the same call, of which none is kept.
        draft_id: of the draft that came with it again.
    """

    def __init__(self, key: str, task_id: str, *, draft_id: str) -> None:
        super().__init__(
            f"key {key!r} was used for another task ({task_id}): "
            "use a new key, or send the same body again"
        )
        self.key = key
        self.task_id = task_id
        self.draft_id = draft_id


class UnknownTask(LookupError):
    def __init__(self, task_id: str) -> None:
        super().__init__(f"no task {task_id!r}: it was never accepted here, or its time was up")


class Added(NamedTuple):
    task: Task
    #: False: the same key and body came before, and this is that task.
    new: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class HostRow:
    """What the store keeps of a host across restarts."""

    limit: int | None = None
    #: slots.start of hosts.yaml when `limit` was set: an edit of it takes precedence.
    start: int | None = None
    #: The limit that holds again once no pin stands over it, and no server that runs fewer at
    #: once; None: none does.
    unpinned: int | None = None
    #: The operator's pin; None: there is none.
    pin: int | None = None
    #: Seconds since the epoch when it ends by itself; None: a person ends it.
    pin_until: float | None = None
    pin_by: str = ""
    pin_reason: str = ""
    #: Why it is paused; None: it is not.
    paused: str | None = None
    paused_until: float | None = None
    paused_by: str = ""

    def after(self, kind: Kind, reason: str, detail: Mapping[str, Json]) -> HostRow:
        """What a row of the journal about this host changes of it."""
        match kind:
            case Kind.RESIZED:
                limit = detail.get("limit")
                assert isinstance(limit, int)
                return replace(
                    self,
                    limit=limit,
                    start=_whole(detail.get("start", self.start)),
                    unpinned=_whole(detail.get("unpinned")),
                )
            case Kind.PINNED:
                pin = detail.get("limit")
                assert isinstance(pin, int)
                until, by = _until(detail), _by(detail)
                return replace(self, pin=pin, pin_until=until, pin_by=by, pin_reason=reason)
            case Kind.UNPINNED:
                return replace(self, pin=None, pin_until=None, pin_by="", pin_reason="")
            case Kind.PAUSED:
                until, by = _until(detail), _by(detail)
                return replace(self, paused=reason, paused_until=until, paused_by=by)
            case Kind.RESUMED:
                return replace(self, paused=None, paused_until=None, paused_by="")
            case _:
                return self


def _whole(value: Json) -> int | None:
    return value if isinstance(value, int) else None


def _until(detail: Mapping[str, Json]) -> float | None:
    until = detail.get("until")
    return float(until) if isinstance(until, int | float) else None


def _by(detail: Mapping[str, Json]) -> str:
    return str(detail.get("by", ""))


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """What was in the store when it was opened, after the rescue."""

    position: int
    #: The last created_at given to a task born here; 0.0 if none was.
    last_created_at: float
    #: Ready tasks by lane and priority.
    waiting: Mapping[tuple[Lane, int], int]
    hosts: Mapping[str, HostRow]
    #: Tasks that a dispatcher left in progress, now open or blocked again.
    rescued: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """Which tasks to list; all fields that are given must match."""

    status: Status | None = None
    priority: int | None = None
    type: str | None = None
    host: str | None = None
    #: Text within the error.
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Tasks, the latest first, and where the next page begins (None: there is none)."""

    tasks: Sequence[Task]
    next: int | None

    @classmethod
    def of(cls, found: Iterable[Task], limit: int) -> Page:
        """The first of them; no more are asked for than are needed to know if there are others."""
        tasks: list[Task] = []
        characters = 0
        for task in found:
            if len(tasks) == limit or characters >= PAGE_CHARACTERS:
                return cls(tasks=tasks, next=tasks[-1].sequence)
            tasks.append(task)
            # All else of a task is short, or has 64 kB at most (its options).
            characters += len(task.description) + len(task.system or "") + len(task.error or "")
        return cls(tasks=tasks, next=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Posted:
    """What a source must still be told: how its task is now."""

    task: Task
    #: Of the last row that it must hear of.
    position: int
    #: How often it was told in vain.
    tries: int = 0
    #: Why the last time was in vain.
    error: str | None = None


class PostedEnd(NamedTuple):
    """The same in short, for all that is posted at once: no texts."""

    source_id: str
    task_id: str
    attempt: int
    status: Status
    outcome: Outcome | None
    #: Why it was told in vain.
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """Counts for a person and for metrics."""

    by_status: Mapping[Status, int]
    held: Mapping[Held, int] = field(default_factory=dict)
    #: Blocked tasks by their error, the most frequent first.
    blocked: Mapping[str, int] = field(default_factory=dict)
    #: Of the blocked tasks those that a drain cut off: nobody but a person sends them back.
    drained: int = 0
    #: Tasks of which their source must still be told something, by source.
    untold: Mapping[str, int] = field(default_factory=dict)


class TaskStore(Protocol):
    """Writes are durable when they return. Refusals (KeyClash, UnknownTask, Refused) write nothing.

    `now` is seconds since the epoch. A write that carries a fence changes nothing once the fence
    has moved on (False, None), and says yes again to the same fence; in both cases it writes no
    row, of its notes neither.
    """

    async def open(
        self, *, owner: str, now: float, max_strikes: int, once: Collection[str] = ()
    ) -> Restored:
        """Take the store for this start of this dispatcher, and rescue what the last one left.

        `once` are types whose tasks are not run twice: a rescue blocks them. What was a source's
        while nobody looked may be anybody's by now: its open tasks are held FOR_SOURCE. Listeners
        hear of both. Raises StoreUnusable.
        """

    def follow(self, listener: Listener) -> None: ...

    async def add(self, drafts: Sequence[Draft], *, now: float) -> Sequence[Added]:
        """As if added one after another, but all or none. Raises KeyClash.

        A draft is a task that is here already if it has its id (the call is repeated), its key, or
        its source while that task lives.
        """

    async def ready(self, lane: Lane, *, after: Rank, limit: int) -> Sequence[Waiting]:
        """Ready tasks of the lane beyond a rank, in order: fewer than `limit` if no more are.

        Listeners have been told of every row that the page was read after.
        """

    async def claim(self, task_id: str, *, option: Option, seen: int, now: float) -> Task | None:
        """Durably ours: the task as it runs now, or None when it was not to be had."""

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
    ) -> bool: ...

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
    ) -> bool: ...

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
        """Open again, or blocked when `max_strikes` are reached. None: the fence moved on."""

    async def cancel(self, task_id: str, *, now: float) -> Task:
        """An open or blocked task. Raises UnknownTask, Refused (it runs, or ended)."""

    async def retry(self, task_ids: Sequence[str], *, now: float) -> Sequence[Task]:
        """Blocked tasks, all or none. Raises UnknownTask, Refused."""

    async def prioritise(
        self, task_id: str, *, priority: int | None = None, run_next: bool | None = None, now: float
    ) -> Task:
        """Raises UnknownTask, Refused."""

    async def hold(self, task_id: str, *, why: Held = Held.BY_HAND, now: float) -> Task:
        """Raises UnknownTask, Refused."""

    async def release(self, task_id: str, *, why: Held, now: float) -> Task:
        """Raises UnknownTask."""

    async def change(
        self,
        task_id: str,
        *,
        priority: int | None = None,
        run_next: bool | None = None,
        held: bool | None = None,
        now: float,
    ) -> Task:
        """What a person changes of an open task's place, all or none; None: it stays.

        `held` False releases what was held by hand. Raises UnknownTask, Refused.
        """

    # -- sources -------------------------------------------------------------------------------
    # Of a task with a source each end, retry and rescue that blocks is posted to that source in
    # the same commit. An open one is held FOR_SOURCE as long as the source did not give it to us.

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
        """An open task, as its source says it by now; its type stays. Raises UnknownTask, Refused."""

    async def withdraw(self, task_id: str, *, why: str, now: float) -> Task:
        """Cancel what its source took back; nothing is posted. Raises UnknownTask, Refused."""

    async def sourced(self, source: str) -> Sequence[Task]:
        """The tasks of a source that are not closed, in the order of their arrival."""

    async def posted(self, source: str, *, now: float, limit: int) -> Sequence[Posted]:
        """What the source must be told and is due, the oldest first."""

    async def posted_ends(self, source: str) -> Sequence[PostedEnd]:
        """All that the source must be told, due or not, the oldest first."""

    async def next_post(self, source: str) -> float | None:
        """When the next of what is posted is due; None: nothing is posted."""

    async def of_source(self, source: str, source_id: str) -> Task:
        """The latest task of an issue, closed or not. Raises UnknownTask."""

    async def told(self, task_id: str, *, position: int, now: float) -> bool:
        """It was told. False: more has happened since that row, and is posted."""

    async def not_told(self, task_id: str, *, error: str, due: float) -> None:
        """It was told in vain; it is due again at `due`."""

    async def release_due(self, *, now: float) -> float | None:
        """Release what waited for a time that has come; returns when the next one is due.

        A thousand at most: if more are due, the time returned has come too.
        """

    async def note(self, notes: Sequence[Note], *, now: float) -> None:
        """Rows that are not about a task. Limits, pins and pauses among them are kept too."""

    async def get(self, task_id: str) -> Task:
        """Raises UnknownTask."""

    async def find(self, query: Query, *, before: int | None = None, limit: int = 100) -> Page:
        """Tasks by falling sequence, from below `before`: `limit` of them, or fewer large ones."""

    async def journal(
        self, *, after: int = 0, limit: int = 1000, task_id: str | None = None
    ) -> Sequence[Event]:
        """Rows by rising position."""

    async def oldest(self) -> Mapping[tuple[Lane, int], float]:
        """The least created_at of ready tasks by lane and priority."""

    async def overview(self) -> Overview: ...

    async def prune(self, *, closed_before: float | None, journal_before: float | None) -> int:
        """Forget by age; returns how many tasks were forgotten. None of which something is posted.

        Of closed tasks that ended before `closed_before` all. Of those that ended before
        `journal_before` the rows, all or none of a task; and rows as old about hosts, from before
        the last OPENED, if a later such row has the last word. In pieces: it holds up no write.
        """

    async def pruned_to(self) -> int:
        """The greatest position of a row that was ever forgotten; 0: none was."""

    async def probe(self) -> None:
        """Whether the store takes writes, by writing. Raises StoreError."""

    async def close(self) -> None: ...

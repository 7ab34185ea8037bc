"""What a task is, how tasks are ordered, and which changes of a status are legal.

Plain values: no clock, no I/O. Where tasks are kept is left to stores, where they run to routing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

Json: TypeAlias = "None | bool | int | float | str | Sequence[Json] | Mapping[str, Json]"

PRIORITIES: Final = range(5)
NORMAL_PRIORITY: Final = 2


class IllegalMove(Exception):
    """A status was to become one that the table of legal moves does not allow."""


class Status(StrEnum):
    OPEN = "open"  # waits for a slot
    IN_PROGRESS = "in_progress"  # claimed by exactly one dispatcher
    CLOSED = "closed"  # its result is on disk, or it was cancelled
    BLOCKED = "blocked"  # needs a person; its error says why


class Outcome(StrEnum):
    """How a closed task ended."""

    DONE = "done"
    CANCELLED = "cancelled"


class Held(StrEnum):
    """Why an open task is not ready to be started; a flag of an open task, never a status."""

    BY_HAND = "held"
    NOT_BEFORE = "not_before"
    FOR_SOURCE = "waiting_for_source"


#: The whole life of a task. A step that is not in this table can't happen.
NEXT: Final[Mapping[Status, AbstractSet[Status]]] = {
    Status.OPEN: {Status.IN_PROGRESS, Status.CLOSED},  # closed: cancelled
    Status.IN_PROGRESS: {Status.CLOSED, Status.BLOCKED, Status.OPEN},
    Status.BLOCKED: {Status.OPEN, Status.CLOSED},  # a person retries, or cancels
    Status.CLOSED: set(),
}


def check_move(task_id: str, old: Status, new: Status) -> None:
    """Raise IllegalMove unless a task may go from `old` to `new`."""
    if new not in NEXT[old]:
        raise IllegalMove(f"task {task_id} is {old.value}: it can't become {new.value}")


class Rank(NamedTuple):
    """A task's place in the order; the least runs first. Sequence makes it total: no two tie."""

    #: False sorts first: a person said that this task runs next.
    not_next: bool
    #: 0 critical .. 4 backlog.
    priority: int
    #: Seconds since the epoch.
    created_at: float
    #: Order of arrival in this store.
    sequence: int


class Lane(NamedTuple):
    """Tasks that may run on the same options: those of one type that ask for the same model.

    The backlog and the stores page by lane, so that a million tasks that only one busy host
    may run never hide a task that another, idle host is waiting for.
    """

    type: str
    #: The model a task asks for; "" when any model of its route will do.
    model: str = ""


class Waiting(NamedTuple):
    """What the backlog knows of an open task: its id and place. The rest stays in the store."""

    id: str
    lane: Lane
    rank: Rank


class Fence(NamedTuple):
    """Who may write of an attempt: one start of one dispatcher, and the attempt's number."""

    owner: str
    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A task as submitted: checked and typed, not yet stored."""

    id: str
    title: str
    description: str = ""
    labels: tuple[str, ...] = ()
    type: str
    priority: int = NORMAL_PRIORITY
    #: Seconds since the epoch; of tasks born here never less than the one before.
    created_at: float
    #: Unique among the submits of one submitter; the same key and body is the same task.
    key: str | None = None
    #: Digest of the body that came with `key`, to tell a repeat from a clash.
    body_digest: str = ""
    submitter: str = ""
    model: str = ""
    system: str | None = None
    options: Mapping[str, Json] = field(default_factory=dict)
    #: Seconds the whole run may take; None: as its type says.
    timeout: float | None = None
    #: Seconds since the epoch before which it does not start.
    not_before: float | None = None
    #: Opaque to ygg, handed back as it came.
    metadata: Json = None
    source: str | None = None
    source_id: str | None = None
    held: Held | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One unit of work, as it was accepted, and what became of it."""

    id: str
    title: str
    description: str
    labels: tuple[str, ...]
    type: str
    priority: int
    created_at: float
    sequence: int
    run_next: bool = False
    not_before: float | None = None
    held: Held | None = None
    key: str | None = None
    submitter: str = ""
    source: str | None = None
    source_id: str | None = None
    model: str = ""
    system: str | None = None
    options: Mapping[str, Json] = field(default_factory=dict)
    timeout: float | None = None
    metadata: Json = None
    status: Status = Status.OPEN
    outcome: Outcome | None = None
    error: str | None = None
    host: str | None = None
    #: How often it was claimed; never falls.
    attempt: int = 0
    #: Attempts that may have hurt: their dispatcher died, or the host failed after taking the task.
    strikes: int = 0
    #: Which start of which dispatcher holds it; "" while nobody does.
    owner: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    #: Path of the answer below the artifacts folder.
    artifact: str | None = None
    #: What is known of the answer: finish, tokens, seconds.
    answer: Mapping[str, Json] | None = None

    @property
    def rank(self) -> Rank:
        return Rank(not self.run_next, self.priority, self.created_at, self.sequence)

    @property
    def lane(self) -> Lane:
        return Lane(self.type, self.model)

    @property
    def waiting(self) -> Waiting:
        return Waiting(self.id, self.lane, self.rank)

    @property
    def fence(self) -> Fence:
        return Fence(self.owner, self.attempt)


#: Crockford's base 32 in lower case: no letter can be taken for a digit.
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(now: float, chance: int) -> str:
    """An id of 18 characters that sorts by time: 48 bits of milliseconds, 40 bits of chance.

    Args:
        now: seconds since the epoch.
        chance: a random number; its low 40 bits are used.
    """
    number = (int(now * 1000) & (1 << 48) - 1) << 40 | chance & (1 << 40) - 1
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(85, -1, -5))

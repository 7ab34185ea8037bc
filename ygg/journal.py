"""What happened, in order: the rows that the store commits together with what they tell of.

The dispatcher's picture of the world (board.py) is the fold of these rows, so a checker that
reads them sees exactly what `assign` saw. Writing them is left to stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ygg.tasks import Fence, Held, Json, Lane, Rank, Waiting


class Kind(StrEnum):
    ACCEPTED = "accepted"
    STARTED = "started"
    #: A start was decided, but the task was gone by the time of its claim, or is DAMAGED.
    MISSED = "missed"
    CLOSED = "closed"
    BLOCKED = "blocked"
    REOPENED = "reopened"
    CANCELLED = "cancelled"
    PRIORITISED = "prioritised"
    #: Its source says it in other words by now: its text, type or priority changed.
    EDITED = "edited"
    #: Its source has heard what became of it.
    TOLD = "told"
    HELD = "held"
    RELEASED = "released"
    PAUSED = "paused"
    RESUMED = "resumed"
    RESIZED = "resized"
    PINNED = "pinned"
    UNPINNED = "unpinned"
    #: The fleet as it is from here on: hosts with their semaphores, routes.
    CONFIGURED = "configured"
    #: A host's health, as `assign` sees it from here on.
    HOST = "host"
    #: A model on a host takes starts, or takes none.
    OPTION = "option"
    #: A dispatcher began, or ended, to work on this store.
    OPENED = "opened"
    LEFT = "left"


#: As the reason of MISSED, and of HELD for one whose time has come: the task's own row can't be read.
#: It stays as it is, and is left out until a dispatcher begins anew.
DAMAGED: Final = "damaged"
#: As the reason of BLOCKED and REOPENED: a drain cut the task off. Its error begins with it, and
#: `ygg retry --drained` looks for that.
DRAINED: Final = "drained"
#: Kinds after which a claimed task no longer holds its slot.
ENDS_ATTEMPT: Final = frozenset(
    {Kind.MISSED, Kind.CLOSED, Kind.BLOCKED, Kind.REOPENED, Kind.CANCELLED}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """A row to be written: about hosts, limits and settings rather than about one task."""

    kind: Kind
    host: str = ""
    model: str = ""
    reason: str = ""
    detail: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A row of the journal, as committed."""

    #: Rises by at least one from row to row.
    position: int
    #: Seconds since the epoch.
    at: float
    kind: Kind
    task: str = ""
    host: str = ""
    model: str = ""
    fence: Fence | None = None
    #: Of starts: the position up to which `assign` had taken events in.
    seen: int = 0
    reason: str = ""
    #: Of tasks: lane and rank after this event.
    waiting: Waiting | None = None
    held: Held | None = None
    detail: Mapping[str, Json] = field(default_factory=dict)


def pack(waiting: Waiting) -> list[Json]:
    """A waiting task's place as plain JSON; `unpack` turns it back."""
    lane, rank = waiting.lane, waiting.rank
    return [lane.type, lane.model, rank.not_next, rank.priority, rank.created_at, rank.sequence]


def unpack(task_id: str, packed: list[Json]) -> Waiting:
    """The inverse of `pack`."""
    type_, model, not_next, priority, created_at, sequence = packed
    assert isinstance(type_, str)
    assert isinstance(model, str)
    assert isinstance(priority, int)
    assert isinstance(created_at, (int, float))
    assert isinstance(sequence, int)
    rank = Rank(bool(not_next), priority, created_at, sequence)
    return Waiting(task_id, Lane(type_, model), rank)

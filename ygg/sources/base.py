"""What is asked of a source: a tracker outside that feeds tasks and hears what became of them.

Values, the protocol, and its errors. What of a source's issues becomes a task is left to `issues`,
what follows from a look at it to `plan`, what it is told to `telling`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from ygg.tasks import NORMAL_PRIORITY, Json

#: What can be the id of an issue: it stands on command lines.
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class SourceError(Exception):
    """A source could not do it now. Its message says what, where, and the way out.

    Whether a write took effect is unknown, whatever the error: look before it is said again.

    Args:
        what: went wrong, in words for people.
        where: the call or the folder that it is about.
        way_out: what a person can do about it.
    """

    def __init__(self, what: str, *, where: str, way_out: str) -> None:
        super().__init__(f"{where}: {what}; {way_out}")
        self.what = what
        self.where = where
        self.way_out = way_out


class Away(SourceError):
    """Nothing can be asked of it at all, whatever the issue."""


class Missing(Away):
    """The source's program is not there, or can't be started."""


class WrongVersion(Away):
    """The source's program is older or newer than what ygg knows how to talk to."""


class NoProject(Away):
    """There is no project where one was expected."""


class Locked(SourceError):
    """Somebody else holds the source's database: it answers later."""


class TimedOut(SourceError):
    """It gave no answer in time, and was ended."""


class Died(SourceError):
    """It ended by a signal before it had answered."""


class Garbage(SourceError):
    """It answered what can't be read."""


class Refused(SourceError):
    """It said no, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comment:
    """What somebody said on an issue."""

    author: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """An issue as its source shows it."""

    id: str
    title: str
    description: str = ""
    acceptance_criteria: str = ""
    notes: str = ""
    #: In the source's words. Beads has open, in_progress, blocked, deferred, closed, pinned and
    #: hooked, and those that a project adds.
    status: str
    #: 0 critical .. 4 backlog, as ours.
    priority: int = NORMAL_PRIORITY
    #: In the source's words: task, bug, feature, epic, ...
    issue_type: str
    labels: tuple[str, ...] = ()
    #: Who has it; "": nobody.
    assignee: str = ""
    #: Seconds since the epoch; whole ones, so that many issues share one.
    created_at: float
    #: Seconds since the epoch.
    updated_at: float
    #: Seconds since the epoch; nobody is to begin before. None: at once.
    deferred_until: float | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    #: Oldest first. Told by `show` only: the lists leave it empty.
    comments: tuple[Comment, ...] = ()
    #: What of it can't be read, in words; "": all can. With a fault nothing but the id counts, and
    #: that is "" where it is the id. Nothing follows from such an issue, and it holds up no other.
    fault: str = ""


class End(StrEnum):
    """How a task of a source ended, or that its end no longer counts."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: It had failed, and a person here sent it back to its place.
    RETRIED = "retried"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a source is to be told of one of its tasks."""

    #: Of the issue, in the source.
    issue_id: str
    #: Of the task, here.
    task_id: str
    attempt: int
    end: End
    #: What the host said; "" unless it is done.
    answer: str = ""
    #: Path of the answer below the artifacts folder.
    artifact: str | None = None
    #: Why it failed or was cancelled; "" when it is done.
    error: str = ""
    host: str = ""
    model: str = ""
    #: Of prompt and answer together; None: not known.
    tokens: int | None = None
    #: From the start on the host to the end; None: not known.
    seconds: float | None = None
    #: A person is to look at the answer: the issue stays open, with a label.
    review: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Say:
    """Put a comment on the issue."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Change some of an issue's fields in one call; None and empty leave a field as it is."""

    status: str | None = None
    #: "": nobody's.
    assignee: str | None = None
    #: Put behind the notes that are there.
    append_notes: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    add_labels: tuple[str, ...] = ()
    remove_labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Close:
    """Close the issue: what depends on it is ready then."""

    reason: str


#: One call that tells a source something of one issue.
Call: TypeAlias = Say | Change | Close


@dataclass(kw_only=True, slots=True)
class Standing:
    """How it goes with a source, for `ygg status`, metrics and the log."""

    #: Of the kind of tracker.
    name: str
    #: Which of that kind: a folder.
    where: str = ""
    #: In whose name issues are claimed.
    actor: str = ""
    #: Why it can't be asked; None: it answers.
    trouble: str | None = None
    #: Seconds since the epoch of the last look; None: there was none yet.
    looked_at: float | None = None
    #: Why issues could not be claimed, by id, since the last look.
    unclaimed: dict[str, str] = field(default_factory=dict)
    #: What of issues can't be read, by id ("": that is what is missing).
    unreadable: dict[str, str] = field(default_factory=dict)
    #: Why the ends of issues could not be told though it answers, by id.
    refused: dict[str, str] = field(default_factory=dict)


class TaskSource(Protocol):
    """A tracker. Every call raises SourceError; one that writes may be repeated."""

    @property
    def name(self) -> str:
        """Of the kind of tracker, as tasks carry it: "beads"."""
        ...

    async def ready(self) -> Sequence[Issue]:
        """All that may be worked on now, in the source's order. Never a window of it."""
        ...

    async def mine(self) -> Sequence[Issue]:
        """What is in progress in our name."""
        ...

    async def show(self, ids: Sequence[str]) -> Mapping[str, Issue]:
        """Issues by id; one that is not in the answer is gone."""
        ...

    async def claim(self, ids: Sequence[str]) -> Mapping[str, str | None]:
        """Take issues in our name. For each: None when it is ours (looked at again), or why not."""
        ...

    async def hand_back(self, ids: Sequence[str]) -> None:
        """Set claimed issues back to open, nobody's; those that are no longer ours are left alone."""
        ...

    async def tell(self, report: Report) -> None:
        """Tell the end of a task. Told twice, it is there once."""
        ...

    async def changed(self) -> bool:
        """Wait until another hand changed something (True), or it is time to look anyway."""
        ...

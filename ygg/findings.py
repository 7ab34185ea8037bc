"""What a check of a store's history can find, and how it is told to people.

Finding it is left to lives.py (what became of tasks), hindsight.py (what was decided) and
restraint.py (what autoscalers did to limits).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ygg.journal import Event
from ygg.printing import counted
from ygg.tasks import Json

#: So many findings are kept in full; the rest is counted.
KEPT: Final = 1000


class FindingKind(StrEnum):
    """What can be wrong. The closed list."""

    #: A task started while a lesser one, ready too, had a free option.
    INVERSION = "inversion"
    #: Accepted, but the store does not hold it, or in another status than the rows say; or rows
    #: of the journal are gone.
    LOSS = "loss"
    #: Closed as done, but its answer is recorded nowhere, or is not on the disk.
    NO_ANSWER = "no_answer"
    DOUBLE_ACCEPT = "double_accept"
    #: It started while it ran.
    DOUBLE_START = "double_start"
    #: It started on a semaphore without a free slot.
    LIMIT_BREAK = "limit_break"
    #: An autoscaler overrode a pin, or a limit that it had not seen.
    BAD_RESIZE = "bad_resize"
    #: A step that the table of legal moves, or a hold, does not allow.
    ILLEGAL_MOVE = "illegal_move"
    #: It started where it must not: not on its route, or down, resting, paused, on trial.
    BAD_HOST = "bad_host"
    #: An option that its route prefers was free.
    WRONG_OPTION = "wrong_option"
    #: By what the decision had seen, the task was not there to be started.
    NOT_READY = "not_ready"
    #: `seen` fell, or is not before the start itself.
    BAD_SEEN = "bad_seen"
    #: Written by somebody who did not hold the task, or the store.
    STALE_FENCE = "stale_fence"
    #: Numbers of attempts that fall, repeat or leave one out.
    BAD_ATTEMPT = "bad_attempt"
    #: A row, or the store, puts the task elsewhere in the order than where it stood.
    WRONG_PLACE = "wrong_place"
    #: A row, or the store, tells of a task that no row accepted.
    UNKNOWN_TASK = "unknown_task"
    #: A dispatcher began and left a task in progress that a dead one ran.
    NOT_RESCUED = "not_rescued"
    #: A row that can't be read, or is out of order, or is there although it was forgotten.
    BAD_ROW = "bad_row"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    kind: FindingKind
    #: Of the row that is wrong; 0 when it is none of them.
    position: int
    #: "" when it is about none.
    task: str
    message: str

    def __str__(self) -> str:
        where = f"row {self.position}" if self.position else "store"
        about = f" task {self.task}" if self.task else ""
        return f"{self.kind.value} at {where}:{about} {self.message}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What came of a check."""

    #: How many rows were read, and the last one's position.
    rows: int
    last: int
    #: Rows up to this position were folded, not judged.
    first_checked: int
    accepted: int
    #: Starts and missed starts that were judged.
    starts: int
    #: Answers that were looked for on the disk; None: none was to be.
    answers: int | None = None
    #: Of each kind that was found.
    counts: Mapping[FindingKind, int]
    #: The first of them in full; a broken history is cut off after a while.
    findings: Sequence[Finding]

    @property
    def clean(self) -> bool:
        return not self.counts

    def as_json(self) -> dict[str, Json]:
        """For scripts; every kind is there, found or not."""
        return {
            "clean": self.clean,
            "rows": self.rows,
            "last": self.last,
            "first_checked": self.first_checked,
            "accepted": self.accepted,
            "starts": self.starts,
            "answers": self.answers,
            "counts": {kind.value: self.counts.get(kind, 0) for kind in FindingKind},
            "findings": [str(finding) for finding in self.findings],
        }

    def lines(self) -> list[str]:
        """For people: what was looked at, how much of each kind was found, and where."""
        facts = {
            "rows": f"{self.rows} (up to position {self.last})",
            "tasks accepted": str(self.accepted),
            "starts checked": str(self.starts),
        }
        if self.answers is not None:
            facts["answers looked for"] = str(self.answers)
        if self.first_checked:
            facts["not judged"] = f"rows up to position {self.first_checked}: some were pruned"
        facts |= {k.value.replace("_", " "): str(self.counts.get(k, 0)) for k in FindingKind}
        width = max(map(len, facts))
        lines = [f"{name:<{width}}  {value}" for name, value in facts.items()]
        lines += [str(finding) for finding in self.findings]
        total = sum(self.counts.values())
        if total > len(self.findings):
            lines.append(f"... and {total - len(self.findings)} more")
        lines.append("clean" if self.clean else f"not clean: {counted(total, 'finding')}")
        return lines


class Findings:
    """What was found so far."""

    def __init__(self, *, first_checked: int) -> None:
        """Rows up to `first_checked` are not judged: others that explain them were pruned."""
        self.first_checked = first_checked
        self.counts: Counter[FindingKind] = Counter()
        self.kept: list[Finding] = []

    def add(self, kind: FindingKind, event: Event, message: str) -> None:
        """A row is wrong."""
        if event.position > self.first_checked:
            self._add(kind, event.position, event.task, message)

    def add_of_store(self, kind: FindingKind, task: str, message: str) -> None:
        """The store is wrong, by all the rows."""
        self._add(kind, 0, task, message)

    def add_unreadable(self, position: int, message: str) -> None:
        """A row can't even be read, so nothing explains it."""
        self._add(FindingKind.BAD_ROW, position, "", message)

    def _add(self, kind: FindingKind, position: int, task: str, message: str) -> None:
        self.counts[kind] += 1
        if len(self.kept) < KEPT:
            self.kept.append(Finding(kind=kind, position=position, task=task, message=message))

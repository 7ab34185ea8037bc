"""How ygg's own words on an issue are told from a person's, and which of them it knows already. Pure.

Each begins with a mark: `ygg [failed, task 06gq..., attempt 2]: why`. It names the end that it
tells of, so that nothing is told twice, and that no prompt has in it what an earlier attempt said.
The metadata names it too, for the case that a person tidied up the notes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from ygg.lines import plain
from ygg.sources.base import End, Issue, Report
from ygg.tasks import Json

#: Of a task's id; it is one of ours.
_TASK: Final = r"[0-9a-z]{18}"
_ENDS: Final = "|".join(End)
#: All of a line from the mark on: bd may have put it behind something else.
_OWN: Final = re.compile(rf"\n?ygg \[(?:{_ENDS}), task {_TASK}, attempt [0-9]+\]:[^\n]*")
#: Characters of what is told on one line.
LINE_MAX: Final = 2000


class Mark(NamedTuple):
    """One end of one task."""

    end: End
    task_id: str
    attempt: int

    def __str__(self) -> str:
        return f"ygg [{self.end}, task {self.task_id}, attempt {self.attempt}]:"

    def line(self, text: str) -> str:
        """One line that tells of it."""
        told = " ".join(plain(text).split())
        cut = told if len(told) <= LINE_MAX else told[:LINE_MAX] + "..."
        return f"{self} {cut}".rstrip()

    @property
    def metadata(self) -> dict[str, str]:
        return {
            "ygg.end": self.end.value,
            "ygg.task": self.task_id,
            "ygg.attempt": str(self.attempt),
        }


def mark_of(report: Report) -> Mark:
    return Mark(report.end, report.task_id, report.attempt)


def shows(issue: Issue, mark: Mark) -> bool:
    """Whether the issue was told of this end, comments apart: lists do not show them."""
    return in_metadata(issue, mark) or str(mark) in issue.notes


def in_metadata(issue: Issue, mark: Mark) -> bool:
    return all(_text(issue.metadata, name) == text for name, text in mark.metadata.items())


def in_comments(issue: Issue, mark: Mark) -> bool:
    return any(comment.text.lstrip().startswith(str(mark)) for comment in issue.comments)


def mentions(issue: Issue, task_id: str) -> bool:
    """Whether the last end that it was told of was one of this task."""
    if (last := _text(issue.metadata, "ygg.task")) is not None:
        return last == task_id
    return f", task {task_id}, attempt " in issue.notes


def settled(issue: Issue, mark: Mark, actor: str) -> bool:
    """Whether what the issue shows comes from after it was told of this end.

    Until then it says nothing of what a person wants by now: the answer may be an old one.
    """
    if mark.end is End.RETRIED:
        return issue.status != "blocked" or not mentions(issue, mark.task_id)
    is_running = issue.status == "in_progress" and issue.assignee == actor
    return shows(issue, mark) and not is_running


def without_own(notes: str) -> str:
    """What people wrote."""
    return _OWN.sub("", notes)


def _text(metadata: Mapping[str, Json], name: str) -> str | None:
    """A value as it was given; bd may have made a number of it."""
    value = metadata.get(name)
    return value if isinstance(value, str) else None if value is None else str(value)

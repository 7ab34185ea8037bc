"""Which issues of a source are taken, and what task each of them is. Pure.

An issue is taken by its labels: nobody's list of bugs is answered by surprise. Whether it is free
to be taken, and what follows from that, is left to `plan`.

The order: a task has the priority and the created_at of its issue. Beads tells created_at to the
second only, and lists issues in an order of its own, which changes with their priorities. So of
those that one look shows with the same second the one with the lesser id is first, numbers in an
id taken as such: any look, in any order, gives the same, and the parts of an issue (`x-7.2`,
`x-7.10`) keep theirs. One that only a later look shows comes after them.

A title is a name: one that is too long is cut, and stands in full in the prompt. A prompt is a
question: one that is too long is not cut but left alone, and `ygg doctor --beads` says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ygg.fleet import ANSWERED, BeadsSettings, TypeSettings
from ygg.lines import plain
from ygg.routing import detect_type
from ygg.sources.base import ID, Issue
from ygg.sources.marks import without_own
from ygg.tasks import Draft, Held, Task

#: Characters; a submit over HTTP has the same bounds.
TITLE_MAX: Final = 500
PROMPT_MAX: Final = 1 << 20
LABEL_MAX: Final = 100
LABELS_MAX: Final = 32
_TITLE_OF_LINE_MAX: Final = 200
_EPIC: Final = "epic"


@dataclass(frozen=True, kw_only=True, slots=True)
class Taking:
    """What decides which issues are taken."""

    beads: BeadsSettings
    types: Mapping[str, TypeSettings]
    #: In whose name issues are claimed.
    actor: str
    #: The labels that let an issue be taken.
    labels: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        of_types = {label for t in self.types.values() for label in (t.name, *t.labels)}
        object.__setattr__(self, "labels", frozenset({*self.beads.labels, *of_types}))


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """An issue as a task: what its source says of it."""

    issue_id: str
    title: str
    description: str
    labels: tuple[str, ...]
    type: str
    priority: int
    created_at: float

    def draft(self, task_id: str, source: str) -> Draft:
        """A new task of it, which waits until the source gave it to us."""
        return Draft(
            id=task_id,
            title=self.title,
            description=self.description,
            labels=self.labels,
            type=self.type,
            priority=self.priority,
            created_at=self.created_at,
            source=source,
            source_id=self.issue_id,
            held=Held.FOR_SOURCE,
        )

    def is_as(self, task: Task) -> bool:
        """Whether the task says the same. Its place among equals is its own: it keeps it."""
        return (
            (self.title, self.description, self.labels) == (task.title, task.description, task.labels)
            and self.type == task.type
            and self.priority == task.priority
        )  # fmt: skip


def takes(issue: Issue, taking: Taking) -> bool:
    """Whether it is taken, and free to be."""
    return left_alone(issue, taking) is None and not_free(issue, taking.actor) is None


def left_alone(issue: Issue, taking: Taking) -> str | None:
    """Why an issue is not one for us, whoever has it, in words that follow on "it"; None: it is."""
    if issue.fault:
        return f"can't be read: {issue.fault}"
    if not ID.fullmatch(issue.id):
        return (
            "has an id that no command line should have: letters, digits, `.`, `_`, `-` are known"
        )
    if issue.issue_type == _EPIC:
        return "is an epic: its parts are taken, each by itself"
    if ANSWERED in issue.labels:
        return f"was answered, and waits for a person to remove the label {ANSWERED}"
    if taking.beads.take != "all" and taking.labels.isdisjoint(issue.labels):
        return "has no label that means a type, and none of beads.labels"
    if not issue.title.strip() and not _body(issue):
        return "says nothing: it has no title and no description"
    if (size := len(_prompt(issue))) > PROMPT_MAX:
        return f"has {size} characters of text, and {PROMPT_MAX} are taken at most: shorten it"
    return None


def not_free(issue: Issue, actor: str) -> str | None:
    """Why nobody may claim it now in our name; None: we may."""
    if issue.assignee not in ("", actor):
        return f"is {_line(issue.assignee)}'s"
    return None if issue.status == "open" else f"is {_line(issue.status)}"


def offers(issues: Iterable[Issue], taking: Taking) -> tuple[Offer, ...]:
    """What tasks the issues are, in the order in which they are to arrive in the store."""
    ordered = sorted(issues, key=lambda issue: (issue.created_at, _in_numbers(issue.id), issue.id))
    return tuple(offer(issue, taking) for issue in ordered)


def offer(issue: Issue, taking: Taking) -> Offer:
    """What task an issue is."""
    return Offer(
        issue_id=issue.id,
        title=_title(issue),
        description=_prompt(issue),
        labels=_labels(issue.labels),
        type=detect_type(issue.labels, issue.title, taking.types),
        priority=issue.priority,
        created_at=issue.created_at,
    )


def _title(issue: Issue) -> str:
    title = _line(issue.title)
    if not title:
        return _line(_body(issue).split("\n", 1)[0])[:_TITLE_OF_LINE_MAX]
    return title if len(title) <= TITLE_MAX else title[: TITLE_MAX - 3] + "..."


def _prompt(issue: Issue) -> str:
    """The body; before it the title, where that was cut."""
    title, body = _line(issue.title), _body(issue)
    return "\n\n".join(filter(None, (title, body))) if len(title) > TITLE_MAX else body


def _body(issue: Issue) -> str:
    parts = [plain(issue.description).strip()]
    for heading, text in (
        ("Acceptance criteria", issue.acceptance_criteria),
        ("Notes", without_own(plain(issue.notes))),
    ):
        if said := plain(text).strip():
            parts.append(f"## {heading}\n\n{said}")
    return "\n\n".join(filter(None, parts))


def _labels(labels: Iterable[str]) -> tuple[str, ...]:
    clean = (_line(label)[:LABEL_MAX] for label in labels)
    return tuple(dict.fromkeys(filter(None, clean)))[:LABELS_MAX]


def _line(text: str) -> str:
    return " ".join(plain(text).split())


def _in_numbers(text: str) -> tuple[str | int, ...]:
    """A key that sorts `x-9` before `x-10`; texts and numbers alternate in it."""
    return tuple(int(p) if p.isdigit() else p for p in re.split(r"([0-9]+)", text))

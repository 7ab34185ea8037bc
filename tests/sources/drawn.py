"""Issues as Hypothesis draws them, and what calls make of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from hypothesis import strategies as st

from ygg.fleet import ANSWERED, BUILT_IN_TYPES, BeadsSettings, Option, TypeSettings
from ygg.sources.base import Call, Change, Close, Comment, Issue, Say
from ygg.sources.issues import Taking

ACTOR: Final = "ygg@testhost"
TASK: Final = "06gq0000000000000a"
TYPES: Final[Mapping[str, TypeSettings]] = {
    name: TypeSettings(name=name, run=(Option("a"),), words=words, labels=labels)
    for (name, words), labels in zip(
        BUILT_IN_TYPES.items(), [("code",), (), (), ()], strict=True
    )
}  # fmt: skip

#: With line ends, control characters, lone surrogates, and what looks like a mark of ours.
TEXTS = st.lists(
    st.text(max_size=8)
    | st.sampled_from(["\r\n", "\n\n", "\x1b[31m", "\0", "\ud800", "ygg [", "ygg [failed, task "])
).map("".join)
LABELS = st.sampled_from(
    ["code-generation", "code", "reasoning", "for-ygg", "urgent", ANSWERED, "x" * 150, "\x07"]
)
IDS = st.from_regex(r"bd-[a-z0-9]{1,3}(\.[0-9]{1,2})?", fullmatch=True)
STATUSES = st.sampled_from(
    ["open", "in_progress", "blocked", "deferred", "closed", "pinned", "hooked", "in review"]
)
PEOPLE = st.sampled_from(["", ACTOR, "alice"])


def taking(*, take: Any = "labelled", labels: tuple[str, ...] = ()) -> Taking:
    return Taking(beads=BeadsSettings(take=take, labels=labels), types=TYPES, actor=ACTOR)


def an_issue(**fields: Any) -> Issue:
    usual: dict[str, Any] = {
        "id": "bd-1", "title": "Fix it", "status": "open", "issue_type": "task",
        "labels": ("code-generation",), "created_at": 1e9, "updated_at": 1e9,
    }  # fmt: skip
    return Issue(**{**usual, **fields})


@st.composite
def issues(draw: st.DrawFn, /, **fixed: Any) -> Issue:
    seconds = draw(st.integers(0, 3))
    drawn: dict[str, Any] = {
        "id": draw(IDS),
        "title": draw(TEXTS | st.just("long " * 200)),
        "description": draw(TEXTS),
        "acceptance_criteria": draw(TEXTS),
        "notes": draw(TEXTS),
        "status": draw(STATUSES),
        "priority": draw(st.integers(0, 4)),
        "issue_type": draw(st.sampled_from(["task", "bug", "epic"])),
        "labels": tuple(draw(st.lists(LABELS, max_size=3))),
        "assignee": draw(PEOPLE),
        "created_at": 1e9 + seconds,
        "updated_at": 1e9 + seconds,
    }
    return Issue(**{**drawn, **fixed})


def after(issue: Issue, calls: Iterable[Call]) -> Issue:
    """The issue as bd has it once it was told all of this."""
    for call in calls:
        match call:
            case Say(text=text):
                said = Comment(author=ACTOR, text=text)
                issue = replace(issue, comments=(*issue.comments, said))
            case Close():
                issue = replace(issue, status="closed")
            case Change():
                issue = _changed(issue, call)
    return issue


def _changed(issue: Issue, change: Change) -> Issue:
    notes = "\n".join(filter(None, (issue.notes, change.append_notes)))
    labels = [label for label in issue.labels if label not in change.remove_labels]
    return replace(
        issue,
        status=issue.status if change.status is None else change.status,
        assignee=issue.assignee if change.assignee is None else change.assignee,
        notes=notes,
        labels=tuple(dict.fromkeys((*labels, *change.add_labels))),
        # bd makes numbers of what looks like some.
        metadata={**issue.metadata, **{k: _as_bd(v) for k, v in change.metadata.items()}},
    )


def _as_bd(text: str) -> str | int:
    return int(text) if text.isdecimal() and text.isascii() and str(int(text)) == text else text

"""What happened, in words: a row of the journal as a sentence. Pure.

How long things took is left to the story of a task, which knows the rows before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ygg.faults import VERDICTS, Cause, Hurts, Next
from ygg.health import Mode
from ygg.journal import DAMAGED, Kind
from ygg.printing import counted, priority_name
from ygg.shapes import RowView
from ygg.tasks import Held
from ygg.wire import rfc3339

_MODES: Final[Mapping[str, str]] = {
    Mode.UP: "is up",
    Mode.DOWN: "is down",
    Mode.TRIAL: "answers again, and takes one task at a time until one ended well",
    Mode.RESTING: "asked to be left alone for a while",
}
_FAULTS: Final[Mapping[Hurts, str]] = {
    Hurts.NOBODY: "the task's fault",
    Hurts.HOST: "the host's fault",
    Hurts.DOUBT: "the host's fault",
    Hurts.REST: "nobody's fault, the host is busy",
    Hurts.OPTION: "the fault of the host's configuration",
}
#: Reasons of ends that are no host's and no task's, as stores and the dispatcher write them.
_OTHER_ENDS: Final[Mapping[str, str]] = {
    "drained": "the dispatcher was ended while it ran",
    "rescue": "its dispatcher died while it ran",
    "retry": "a person sent it back",
}


def whose_fault(reason: str) -> str:
    """Of a failed attempt, by the reason that its row has; empty where nobody is to blame."""
    try:
        verdict = VERDICTS[Cause(reason)]
    except ValueError:
        return ""
    # A refused request hurts nobody's health: the task alone is to blame.
    return _FAULTS[verdict.hurts] if verdict.next is Next.REOPEN else _FAULTS[Hurts.NOBODY]


def told(row: RowView) -> str:
    """A row about a task or a host, as a sentence without its subject."""
    where = f" on {row.host}" if row.host else ""
    model = f" ({row.model})" if row.model else ""
    match row.kind:
        case Kind.ACCEPTED:
            return "accepted"
        case Kind.STARTED:
            return f"started{where}{model}, attempt {row.attempt}"
        case Kind.MISSED | Kind.HELD if row.reason == DAMAGED:
            return f"can't start{where}: {row.detail.get('error')}"
        case Kind.MISSED:
            return f"was to start{where}, but was gone by then"
        case Kind.CLOSED:
            return f"answered{_answer(row.detail)}"
        case Kind.CANCELLED if row.reason == "withdrawn":
            return f"taken back by its tracker: {row.detail.get('error')}"
        case Kind.CANCELLED:
            return "cancelled"
        case Kind.BLOCKED:
            return f"blocked{where}: {_end(row)}"
        case Kind.REOPENED:
            return f"back to its place{where and f', from {row.host}'}: {_end(row)}"
        case Kind.PRIORITISED:
            return f"given another place{_from_place(row)}"
        case Kind.EDITED:
            return "changed in its tracker"
        case Kind.TOLD:
            return f"told to {row.reason}"
        case Kind.HELD if row.reason == Held.FOR_SOURCE:
            return "waits until its tracker gives it to this dispatcher"
        case Kind.HELD:
            return "held back by hand"
        case Kind.RELEASED:
            return "released"
    return _about_hosts(row)


def _end(row: RowView) -> str:
    reason = row.reason or ""
    if reason in _OTHER_ENDS:
        text = _OTHER_ENDS[reason]
    else:
        fault = whose_fault(reason)
        text = reason.replace("_", " ") + (f" ({fault})" if fault else "")
    if row.detail.get("strike"):
        text += ", a strike"
    error = row.detail.get("error")
    return f"{text}: {error}" if error and error != reason else text


def _answer(detail: Mapping[str, Any]) -> str:
    tokens = detail.get("completion_tokens")
    text = f" with {counted(tokens, 'token')}" if isinstance(tokens, int) else ""
    return text + (", cut at the token limit" if detail.get("finish") == "length" else "")


class Place(NamedTuple):
    """Where a task stands in the order, as far as a person sets it."""

    priority: int
    runs_next: bool


def place_before(row: RowView) -> Place | None:
    """Where the task stood before this row; None: the row moved nothing."""
    before = row.detail.get("before")
    # As journal.pack has it: type, model, not_next, priority, created_at, sequence.
    if (
        row.kind not in (Kind.PRIORITISED, Kind.EDITED)
        or not isinstance(before, list)
        or len(before) != 6
    ):
        return None
    return Place(priority=before[3], runs_next=not before[2])


def _from_place(row: RowView) -> str:
    before = place_before(row)
    if before is None:
        return ""
    runs_next = ", to run next" if before.runs_next else ""
    return f" (before: priority {before.priority}, {priority_name(before.priority)}{runs_next})"


def _about_hosts(row: RowView) -> str:
    detail = row.detail
    because = f": {row.reason}" if row.reason else ""
    by_whom = f" by {detail['by']}" if detail.get("by") else ""
    until = detail.get("until")
    end = f" until {rfc3339(until)}" if isinstance(until, int | float) else ""
    match row.kind:
        case Kind.HOST:
            mode = str(detail.get("mode"))
            return f"{row.host} {_MODES.get(mode, mode)}{because}"
        case Kind.OPTION:
            mode = str(detail.get("mode"))
            name = row.model or "the default model"
            if detail.get("type"):
                name = f"the handler of type {detail['type']}"
            return f"{row.host} with {name} {_MODES.get(mode, mode)}{because}"
        case Kind.PAUSED:
            return f"{row.host} is paused{by_whom}{end}{because}"
        case Kind.RESUMED:
            return f"{row.host} takes tasks again{by_whom}{because}"
        case Kind.RESIZED:
            was = f" (it was {detail['before']})" if detail.get("before") is not None else ""
            return f"{row.host} has the limit {detail.get('limit')}{was}{by_whom}{because}"
        case Kind.PINNED:
            return f"{row.host} is pinned at {detail.get('limit')}{by_whom}{end}{because}"
        case Kind.UNPINNED:
            return f"{row.host} is no longer pinned{by_whom}{because}"
        case Kind.CONFIGURED:
            hosts, types = detail.get("semaphores") or {}, detail.get("routes") or {}
            size = f"{counted(len(hosts), 'host')}, {counted(len(types), 'type')}"
            where = f" ({row.reason})" if row.reason else ""
            changes = detail.get("changes")
            what = f": {'; '.join(map(str, changes))}" if changes else ""
            return f"the settings are in force: {size}{where}{what}"
        case Kind.OPENED:
            return f"a dispatcher began ({row.reason})"
        case Kind.LEFT:
            return f"a dispatcher ended ({row.reason})"
        case "reset":
            return f"rows before this one can't be had any more{because}"
    subject = f"{row.host} " if row.host else ""
    return f"{subject}{row.kind}{because}"

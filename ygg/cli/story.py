"""A task, whole: what it is, what became of it, and its story out of the journal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ygg.cli.words import place_before, told
from ygg.journal import ENDS_ATTEMPT, Kind
from ygg.printing import Cell, Paper, Tone, Toned, clean, counted, priority_name, seconds, toned
from ygg.shapes import RowView, TaskView, Why
from ygg.tasks import Status
from ygg.wire import told_seconds

_NAMES: Final = 12
_INDENT: Final = "  "
#: Of a long description the story shows so many lines.
_DESCRIPTION_LINES: Final = 5

STATUS_TONES: Final[Mapping[Status, Tone]] = {
    Status.OPEN: Tone.WARNING,
    Status.IN_PROGRESS: Tone.STRONG,
    Status.CLOSED: Tone.GOOD,
    Status.BLOCKED: Tone.BAD,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """How long a task waited and ran, all its attempts together, up to now."""

    waited_seconds: float
    ran_seconds: float


def age(at: str, now: float) -> str:
    """How long ago a time was."""
    return seconds(max(0.0, now - told_seconds(at)))


def state(task: TaskView) -> Toned:
    """Its status, with all that belongs to it."""
    more = [str(task.outcome)] if task.outcome else []
    if task.held:
        more.append("held by hand" if task.held == "held" else task.held.replace("_", " "))
    if task.run_next and task.status is Status.OPEN:
        more.append("runs next")
    text = f"{task.status} ({', '.join(more)})" if more else str(task.status)
    return Toned(text, STATUS_TONES[task.status])


def times(rows: Sequence[RowView], now: float) -> Times:
    """Out of a task's own rows."""
    waited = ran = 0.0
    since: float | None = None
    running = False
    for row in rows:
        at = told_seconds(row.at)
        if since is not None and running:
            ran += at - since
        elif since is not None:
            waited += at - since
        since, running = _phase(row, at, running=running)
    if since is not None:
        waited, ran = (waited, ran + now - since) if running else (waited + now - since, ran)
    return Times(waited_seconds=max(0.0, waited), ran_seconds=max(0.0, ran))


def _phase(row: RowView, at: float, *, running: bool) -> tuple[float | None, bool]:
    """Since when it waits or runs after this row (None: neither), and whether it runs."""
    match row.kind:
        case Kind.STARTED:
            return at, True
        case Kind.CLOSED | Kind.BLOCKED | Kind.CANCELLED:
            return None, False
        case Kind.ACCEPTED | Kind.REOPENED | Kind.MISSED:
            return at, False
    return at, running


def story_lines(task: TaskView, rows: Sequence[RowView], paper: Paper) -> list[str]:
    """A line for each row, with the time since the task was accepted."""
    if not rows:
        return []
    began = told_seconds(rows[0].at)
    offsets = [f"+{seconds(max(0.0, told_seconds(row.at) - began))}" for row in rows]
    widest = max(map(len, offsets))
    lines = []
    places = _places(task, rows)
    for row, offset, took in zip(rows, offsets, _took(rows), strict=True):
        head = f"{_INDENT}{_INDENT}{offset:>{widest}}  "
        text = places.get(row.position) or told(row) + took
        lines += paper.wrap(head + clean(text), " " * len(head), _tone(row))
    return lines


def _tone(row: RowView) -> Tone | None:
    match row.kind:
        case Kind.BLOCKED:
            return Tone.BAD
        case Kind.REOPENED:
            return Tone.WARNING
        case Kind.CLOSED:
            return Tone.GOOD
    return None


def _places(task: TaskView, rows: Sequence[RowView]) -> dict[int, str]:
    """Of the rows that gave it another place, which one: by what the next such row says it had."""
    places = {}
    runs_next, priority = task.run_next, task.priority
    for row in reversed(rows):
        before = place_before(row)
        if before is None:
            continue
        said = []
        if before.priority != priority:
            said.append(f"priority {priority} ({priority_name(priority)}) "
                        f"instead of {before.priority} ({priority_name(before.priority)})")  # fmt: skip
        if before.runs_next != runs_next:
            said.append("runs next, before all others" if runs_next else "no longer runs next")
        text = ", ".join(said)
        if row.kind == Kind.EDITED:
            text = f"changed in its tracker{text and f': {text}'}"
        places[row.position] = text
        runs_next, priority = before.runs_next, before.priority
    return places


def _took(rows: Sequence[RowView]) -> Iterator[str]:
    """What each row says of the time before it."""
    waits: float | None = None
    runs: float | None = None
    for row in rows:
        at = told_seconds(row.at)
        if row.kind == Kind.STARTED:
            yield "" if waits is None else f", after waiting {seconds(max(0.0, at - waits))}"
            waits, runs = None, at
        elif row.kind in ENDS_ATTEMPT and runs is not None:
            yield f", after running {seconds(max(0.0, at - runs))}"
            runs = None
        else:
            yield ""
        if row.kind in (Kind.ACCEPTED, Kind.REOPENED):
            waits = at


def task_lines(task: TaskView, rows: Sequence[RowView], *, now: float, paper: Paper) -> list[str]:
    """All of it."""
    title = Toned(f"{task.id}  {task.title}", Tone.STRONG)
    lines = paper.wrap(title.text, _INDENT, title.tone)
    for name, value in _facts(task, rows, now):
        head = f"{_INDENT}{name:<{_NAMES}}"
        tone = value.tone if isinstance(value, Toned) else None
        text = value.text if isinstance(value, Toned) else value
        first, *rest = paper._replace(colour=False).wrap(head + clean(text), " " * len(head))
        lines.append(head + toned(Toned(first[len(head) :], tone), colour=paper.colour)
                     if tone else first)  # fmt: skip
        lines += rest
    if rows:
        lines.append(f"{_INDENT}story")
        lines += story_lines(task, rows, paper)
    return lines


def _facts(task: TaskView, rows: Sequence[RowView], now: float) -> Iterator[tuple[str, Cell]]:
    yield "status", state(task)
    yield "type", f"{task.type}, priority {task.priority} ({priority_name(task.priority)})"
    if task.source is not None:
        yield "issue", f"{task.source_id} in {task.source}"
    if task.labels:
        yield "labels", ", ".join(task.labels)
    if task.description and task.description.strip() != task.title.strip():
        for number, line in enumerate(_shown_lines(task.description)):
            yield "" if number else "prompt", line
    if task.model:
        yield "model", task.model
    yield "created", f"{task.created_at} ({age(task.created_at, now)} ago)"
    if task.not_before:
        yield "not before", task.not_before
    if rows:
        took = times(rows, now)
        yield "waited", seconds(took.waited_seconds)
        if task.attempt:
            strikes = f", {counted(task.strikes, 'strike')}" if task.strikes else ""
            where = f" on {task.host}" if task.host else ""
            yield "ran", f"{seconds(took.ran_seconds)}{where}, attempt {task.attempt}{strikes}"
    if task.error:
        yield "error", Toned(task.error, Tone.BAD)
    if task.answer is not None:
        yield "answer", _answer(task)
    if (todo := _what_to_do(task)) is not None:
        yield "to do", todo


def _shown_lines(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) <= _DESCRIPTION_LINES:
        return lines
    more = len(lines) - _DESCRIPTION_LINES + 1
    return [*lines[: _DESCRIPTION_LINES - 1], f"... and {more} lines more (--json has all)"]


def _answer(task: TaskView) -> str:
    assert task.answer is not None
    answer = task.answer
    parts = []
    if answer.completion_tokens is not None:
        took = "" if answer.seconds is None else f" in {seconds(answer.seconds)}"
        parts.append(f"{counted(answer.completion_tokens, 'token')}{took}")
    if answer.server_wait_seconds:
        parts.append(f"of which {seconds(answer.server_wait_seconds)} queued inside the server")
    if answer.finish == "length":
        parts.append("cut at the token limit")
    if answer.thinking:
        parts.append("with thinking")
    return f"{', '.join(parts) or 'there'}: `ygg answer {task.id}`"


def _what_to_do(task: TaskView) -> str | None:
    match task.status:
        case Status.BLOCKED:
            return f"`ygg retry {task.id}` sends it back, `ygg cancel {task.id}` gives it up"
        case Status.OPEN if task.held == "held":
            return f"`ygg release {task.id}` lets it start"
        case Status.OPEN:
            return f"`ygg why {task.id}` says what it waits for"
    return None


def why_lines(why: Why, paper: Paper) -> list[str]:
    """Why a task does not run, option by option."""
    lines = paper.wrap(f"{why.id}  {why.summary}", _INDENT)
    if why.options:
        rows = [
            [
                option.host,
                option.model or "-",
                Toned("it could start there now", Tone.GOOD)
                if option.reason is None
                else Toned(option.detail or option.reason, Tone.WARNING),
            ]
            for option in why.options
        ]
        lines += ["", *paper.table(["HOST", "MODEL", "WHY NOT"], rows, drop=["MODEL"])]
    return lines

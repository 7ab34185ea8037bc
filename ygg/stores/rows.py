"""The embedded store's rows as values: what SQLite hands out, checked while it is decoded.

A file that was edited by hand, or damaged in a way that SQLite does not notice, must be told of by
the row; nothing else may come of it. The statements are tables.py's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import UnionType
from typing import Any, Final

import msgspec

from ygg.journal import Event, Kind, unpack
from ygg.stores.base import PostedEnd
from ygg.tasks import Fence, Held, Outcome, Status, Task

_json_encoder: Final = msgspec.json.Encoder()

#: The columns of a task, in the order in which they are asked for, and what each may hold. SQLite
#: itself takes anything anywhere.
TASK_COLUMNS: Final[Mapping[str, type | UnionType]] = {
    "sequence": int, "id": str, "title": str, "description": str, "labels": str, "type": str,
    "model": str, "priority": int, "created_at": float, "run_next": int,
    "not_before": float | None, "held": str | None, "key": str | None, "submitter": str,
    "source": str | None, "source_id": str | None, "system": str | None, "options": str,
    "timeout": float | None, "metadata": str | None, "status": str, "outcome": str | None,
    "error": str | None, "host": str | None, "attempt": int, "strikes": int, "owner": str,
    "started_at": float | None, "ended_at": float | None, "artifact": str | None,
    "answer": str | None,
}  # fmt: skip
_EVENT_COLUMNS: Final[Mapping[str, type | UnionType]] = {
    "position": int, "at": float, "kind": str, "task": str, "host": str, "model": str,
    "owner": str | None, "attempt": int | None, "seen": int, "reason": str,
    "waiting": str | None, "held": str | None, "detail": str | None,
}  # fmt: skip
_TASK_TYPES: Final = tuple(TASK_COLUMNS.values())
_EVENT_TYPES: Final = tuple(_EVENT_COLUMNS.values())


class DamagedRow(ValueError):
    """A row holds what no ygg wrote there."""

    def __init__(self, table: str, number: object, why: object) -> None:
        text = str(why)
        self.why = text if len(text) <= 200 else text[:200] + "..."
        super().__init__(
            f"row {number} of {table} is damaged ({self.why}): restore a backup, or mend the row "
            "with sqlite3 while ygg is not running; `ygg check-journal` tells of all such rows"
        )


@contextmanager
def reading(table: str, number: object) -> Iterator[None]:
    """Tell of what can't be decoded within by the number of its row. Raises DamagedRow."""
    try:
        yield
    except (ValueError, TypeError, AssertionError, msgspec.MsgspecError, RecursionError) as error:
        raise DamagedRow(table, number, error) from error


def is_no_text(error: sqlite3.Error) -> bool:
    """A text that is not UTF-8: sqlite3 has no class for it, and no name; a test holds its words."""
    return str(error).startswith("Could not decode to UTF-8")


def json_text(value: object) -> str:
    return _json_encoder.encode(value).decode()


def task_of(row: Any) -> Task:
    """A row of tables.py's columns: sqlite3 types it as Any, the schema says what stands where.

    Raises DamagedRow.
    """
    with reading("tasks", row[0]):
        if not all(map(isinstance, row, _TASK_TYPES)):
            raise _wrong_type(row, TASK_COLUMNS)
        return _task(row)


def event_of(row: Any) -> Event:
    """A row of the journal. Raises DamagedRow."""
    with reading("journal", row[0]):
        if not all(map(isinstance, row, _EVENT_TYPES)):
            raise _wrong_type(row, _EVENT_COLUMNS)
        return _event(row)


def posted_end_of(row: Any) -> PostedEnd:
    """What is posted of a task, in short; behind its position. Raises DamagedRow."""
    position, source_id, task_id, attempt, status, outcome, error = row
    with reading("outbox", position):
        if not (isinstance(source_id, str) and isinstance(task_id, str)):
            raise TypeError(f"its task is {task_id!r} of {source_id!r}")
        if not isinstance(attempt, int):
            raise TypeError(f"its task's attempt is {attempt!r}")
        if not isinstance(error, str | None):
            raise TypeError(f"its error is {error!r}")
        ended = None if outcome is None else Outcome(outcome)
        return PostedEnd(source_id, task_id, attempt, Status(status), ended, error)


def number(value: object, table: str, row: object) -> float:
    """One that is asked for without the rest of its row. Raises DamagedRow."""
    if not isinstance(value, int | float):
        raise DamagedRow(table, row, f"{value!r} is no number")
    return value


def _wrong_type(row: Any, columns: Mapping[str, type | UnionType]) -> TypeError:
    wrong = (
        f"{name} holds {value!r}"
        for value, (name, types) in zip(row, columns.items(), strict=True)
        if not isinstance(value, types)
    )
    return TypeError(", ".join(wrong))


def _task(row: Any) -> Task:
    (
        sequence, id_, title, description, labels, type_, model, priority, created_at, run_next,
        not_before, held, key, submitter, source, source_id, system, options, timeout, metadata,
        status, outcome, error, host, attempt, strikes, owner, started_at, ended_at, artifact,
        answer,
    ) = row  # fmt: skip
    return Task(
        sequence=sequence,
        id=id_,
        title=title,
        description=description,
        labels=() if labels == "[]" else tuple(msgspec.json.decode(labels, type=list[str])),
        type=type_,
        model=model,
        priority=priority,
        created_at=created_at,
        run_next=bool(run_next),
        not_before=not_before,
        held=None if held is None else Held(held),
        key=key,
        submitter=submitter,
        source=source,
        source_id=source_id,
        system=system,
        options={} if options == "{}" else msgspec.json.decode(options, type=dict[str, Any]),
        timeout=timeout,
        metadata=None if metadata is None else msgspec.json.decode(metadata),
        status=Status(status),
        outcome=None if outcome is None else Outcome(outcome),
        error=error,
        host=host,
        attempt=attempt,
        strikes=strikes,
        owner=owner,
        started_at=started_at,
        ended_at=ended_at,
        artifact=artifact,
        answer=None if answer is None else msgspec.json.decode(answer, type=dict[str, Any]),
    )


def _event(row: Any) -> Event:
    position, at, kind, task, host, model, owner, attempt, seen, reason, waiting, held, detail = row
    if (owner is None) is not (attempt is None):
        raise TypeError(f"owner holds {owner!r}, attempt {attempt!r}: one without the other")
    fence = None if owner is None else Fence(owner, attempt)
    told = {} if detail is None else msgspec.json.decode(detail, type=dict[str, Any])
    return Event(
        position=position,
        at=at,
        kind=Kind(kind),
        task=task,
        host=host,
        model=model,
        fence=fence,
        seen=seen,
        reason=reason,
        waiting=None if waiting is None else unpack(task, msgspec.json.decode(waiting, type=list)),
        held=None if held is None else Held(held),
        detail=told,
    )

"""What the embedded store forgets by age, in pieces: the writes in between wait for one piece.

Each function is one piece, inside a transaction that the store around it opens and commits.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ygg.journal import Kind
from ygg.stores.rows import number

#: Tasks that a piece forgets, and rows that it looks at.
PIECE: Final = 1000
#: Of these, only the last row about a host (and model, and type) says how things are.
SUPERSEDED: Final = (Kind.HOST, Kind.OPTION, Kind.RESIZED)

# prune: the tasks that ended first
OLDEST_ENDED: Final = (
    "SELECT sequence, id FROM tasks WHERE status = 'closed' AND ended_at < ? "
    "AND id NOT IN (SELECT task FROM outbox) ORDER BY ended_at LIMIT ?"
)
FORGET_TASK: Final = "DELETE FROM tasks WHERE sequence = ?"
LAST_ROW: Final = "SELECT max(position) FROM journal WHERE task = ? AND task <> ''"
FORGET_ROWS: Final = "DELETE FROM journal WHERE task = ? AND task <> ''"
# whose handler a row about an option means; '': the model
_TYPE: Final = (
    "CASE WHEN json_valid(detail) AND json_type(detail, '$.type') = 'text' "
    "THEN json_extract(detail, '$.type') ELSE '' END"
)
# prune: the next rows of the journal, in order
WINDOW: Final = (
    f"SELECT position, at, kind, task, host, model, {_TYPE} FROM journal WHERE position > ? "
    "ORDER BY position LIMIT ?"
)
LIVES: Final = (
    "SELECT 1 FROM tasks WHERE id = ? AND (status <> 'closed' OR ended_at IS NULL OR ended_at >= ?)"
)
LAST_OPENED: Final = (
    "SELECT position FROM journal WHERE task = '' AND kind = 'opened' "
    "AND host = '' AND model = '' ORDER BY position DESC LIMIT 1"
)
#: By the rows' own order: rows before the first of a task are few, the index of tasks has no order.
FIRST_OF_A_TASK: Final = (
    "SELECT position FROM journal NOT INDEXED WHERE task <> '' ORDER BY position LIMIT 1"
)
#: What the last word supersedes; the last word itself is the one at the position given.
SUPERSEDED_ROWS: Final = (
    "DELETE FROM journal WHERE task = '' AND kind = ? AND host = ? AND model = ? "
    f"AND {_TYPE} = ? AND position < ? RETURNING position"
)


class Forgotten(NamedTuple):
    tasks: int
    #: The greatest position among the rows that went; 0: none did.
    position: int


def forget_tasks(connection: sqlite3.Connection, closed_before: float) -> Forgotten:
    """Tasks that ended before a time, with their rows."""
    tasks = connection.execute(OLDEST_ENDED, (closed_before, PIECE)).fetchall()
    position = _forget_rows(connection, [task_id for _, task_id in tasks])
    connection.executemany(FORGET_TASK, [(sequence,) for sequence, _ in tasks])
    return Forgotten(len(tasks), position)


class Looked(NamedTuple):
    """What one piece of the journal came to."""

    #: The greatest position among the rows that went; 0: none did.
    position: int
    #: Where the next piece begins; None: the rows beyond are young.
    next: int | None


def forget_rows(connection: sqlite3.Connection, before: float, after: int) -> Looked:
    """Rows of tasks that ended before a time, and old rows about hosts that later ones supersede.

    What is left is the history of a system without those tasks. Rows of a task go all or none;
    rows about hosts go only from before the last start of a dispatcher, and from before the first
    row of a task that stays: how its hosts were when it started can still be told.
    """
    window = connection.execute(WINDOW, (after, PIECE)).fetchall()
    young = next(
        (n for n, row in enumerate(window) if number(row[1], "journal", row[0]) >= before),
        len(window),
    )
    old = window[:young]
    ended = [
        task
        for task in dict.fromkeys(row[3] for row in old if row[3])
        if connection.execute(LIVES, (task, before)).fetchone() is None
    ]
    position = max(_forget_rows(connection, ended), _forget_superseded(connection, old))
    more = len(old) == PIECE
    return Looked(position, old[-1][0] if more else None)


def _forget_rows(connection: sqlite3.Connection, tasks: Iterable[str]) -> int:
    greatest = 0
    for task in tasks:
        (last,) = connection.execute(LAST_ROW, (task,)).fetchone()
        greatest = max(greatest, last or 0)
        connection.execute(FORGET_ROWS, (task,))
    return greatest


def _forget_superseded(
    connection: sqlite3.Connection, old: Sequence[tuple[int, float, str, str, str, str, str]]
) -> int:
    row = connection.execute(LAST_OPENED).fetchone()
    end = 0 if row is None else row[0]
    row = connection.execute(FIRST_OF_A_TASK).fetchone()
    end = end if row is None else min(end, row[0])
    last_words = {
        (kind, host, model, type_): position
        for position, _, kind, task, host, model, type_ in old
        if not task and kind in SUPERSEDED and position < end
    }
    gone = [0]
    for subject, position in last_words.items():
        rows = connection.execute(SUPERSEDED_ROWS, (*subject, position)).fetchall()
        gone += [row[0] for row in rows]
    return max(gone)

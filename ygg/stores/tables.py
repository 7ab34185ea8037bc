"""Every SQL statement of the embedded store but those that forget, in one place.

Values are always bound. The schema is schema.py's, forgetting pruning.py's, transactions are
left to sqlite.py. Every read is fetched whole, or closed: an open cursor would keep the log from
shrinking.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import fields, replace
from typing import Any, Final, TypeAlias, TypeVar

from ygg import lifecycle
from ygg.journal import DRAINED, Event, Kind, pack
from ygg.stores.base import HostRow, Overview, Page, Posted, PostedEnd, Query
from ygg.stores.operations import DUE, Due, Pruned
from ygg.stores.pruning import PIECE, forget_rows, forget_tasks
from ygg.stores.rows import (
    TASK_COLUMNS,
    DamagedRow,
    event_of,
    is_no_text,
    json_text,
    number,
    posted_end_of,
    reading,
    task_of,
)
from ygg.tasks import PRIORITIES, Draft, Held, Lane, Rank, Status, Task, Waiting

Word = TypeVar("Word", Status, Held)
Value: TypeAlias = "None | int | float | str"

#: As much as a write of some size: there is always room for a few bytes.
_PROBE: Final = "." * 32_768
#: SQLite's greatest integer: numbers beyond it are of no row.
_GREATEST: Final = 2**63 - 1
_COLUMNS: Final = ", ".join(TASK_COLUMNS)
_INSERT: Final = (
    "INSERT INTO tasks (sequence, id, title, description, labels, type, model, priority, "
    "created_at, not_before, held, key, body_digest, submitter, source, source_id, system, "
    "options, timeout, metadata) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
_SAVE: Final = (
    "UPDATE tasks SET status=?, outcome=?, error=?, host=?, attempt=?, strikes=?, owner=?, "
    "started_at=?, ended_at=?, artifact=?, answer=?, held=?, priority=?, run_next=? WHERE id=?"
)
_REWRITE: Final = "UPDATE tasks SET title=?, description=?, labels=?, priority=? WHERE id=?"
_SOURCED: Final = "source = ? AND status <> 'closed' ORDER BY sequence"
_POST: Final = "INSERT OR REPLACE INTO outbox (task, source, position) VALUES (?,?,?)"
_POSTPONE: Final = "UPDATE outbox SET tries = tries + 1, error = ?, due = ? WHERE task = ?"
_POSTED: Final = (
    "SELECT task, position, tries, error FROM outbox WHERE source = ? AND +due <= ? "
    "ORDER BY position LIMIT ?"
)
#: In the order of the outbox; no texts, however long they are.
_POSTED_ENDS: Final = (
    "SELECT position, t.source_id, t.id, t.attempt, t.status, t.outcome, o.error FROM outbox o "
    "JOIN tasks t ON t.id = o.task WHERE o.source = ? ORDER BY position"
)
_NEXT_POST: Final = "SELECT min(due) FROM outbox WHERE source = ?"
_OF_SOURCE: Final = (
    "source = ? AND source_id = ? AND source_id IS NOT NULL ORDER BY sequence DESC LIMIT 1"
)
_UNTOLD: Final = "SELECT source, count(*) FROM outbox GROUP BY source"
#: The fields of a HostRow, and its columns: `limit` is a word of SQL.
_HOST_FIELDS: Final = tuple(field.name for field in fields(HostRow))
_HOST_COLUMNS: Final = ("name", *(f.replace("limit", "slots") for f in _HOST_FIELDS))
_HOSTS: Final = f"SELECT {', '.join(_HOST_COLUMNS)} FROM hosts"
_SAVE_HOST: Final = (
    f"INSERT OR REPLACE INTO hosts ({', '.join(_HOST_COLUMNS)}) "
    f"VALUES ({', '.join('?' * len(_HOST_COLUMNS))})"
)
_APPEND: Final = "INSERT INTO journal VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"
# ready: the next page of a lane, in up to five parts: of what a person put in front, and of the
# rest, what has the priority and the time of the rank to go on from (a batch may hold any number
# of those), then later times of that priority, then the priorities behind it. Each is one seek:
# for `(priority, created_at, sequence) > (?, ?, ?)` SQLite would step over all equal times.
_READY: Final = (
    "SELECT id, run_next, priority, created_at, sequence FROM tasks "
    "WHERE status = 'open' AND held IS NULL AND type = ? AND model = ? AND run_next = ? "
)
_READY_SAME: Final = (
    f"{_READY} AND priority = ? AND created_at = ? AND sequence > ? ORDER BY sequence LIMIT ?"
)
_READY_LATER: Final = (
    f"{_READY} AND priority = ? AND created_at > ? ORDER BY created_at, sequence LIMIT ?"
)
_READY_BEHIND: Final = f"{_READY} AND priority > ? ORDER BY priority, created_at, sequence LIMIT ?"
_WAITING: Final = (
    "SELECT type, model, priority, count(*), total(typeof(created_at) <> 'real') FROM tasks "
    "WHERE status = 'open' AND held IS NULL GROUP BY type, model, run_next, priority"
)
_IN_PROGRESS: Final = "status = 'in_progress' AND status <> 'closed' ORDER BY sequence"
# startable_of_sources: by the index of live tasks of sources. The one by status holds all that wait.
_STARTABLE: Final = (
    "SELECT sequence FROM tasks INDEXED BY tasks_source WHERE source IS NOT NULL "
    "AND status <> 'closed' AND status = 'open' "
    "AND (held IS NULL OR held = 'not_before') ORDER BY sequence"
)
_DUE: Final = "held = 'not_before' AND not_before <= ? ORDER BY not_before, sequence"
# due: what is no number sorts behind all numbers, as SQLite has it
_NEVER_DUE: Final = "held = 'not_before' AND not_before >= '' ORDER BY not_before, sequence"
_NEXT_DUE: Final = (
    "SELECT not_before, sequence FROM tasks WHERE held = 'not_before' AND not_before < '' "
    "ORDER BY not_before, sequence"
)
_LAST_BORN: Final = (
    "SELECT created_at, sequence FROM tasks WHERE source IS NULL ORDER BY sequence DESC LIMIT 1"
)
_UNFINISHED: Final = "SELECT status, count(*) FROM tasks WHERE status <> 'closed' GROUP BY status"
_COUNTS: Final = "SELECT what, word, number FROM counts WHERE number <> 0"
_RUNNING: Final = "SELECT count(*) FROM tasks WHERE status = 'in_progress' AND status <> 'closed'"
_ERRORS: Final = "SELECT error, number FROM errors ORDER BY number DESC, error LIMIT 100"
# drained: by the errors' key; they are all that begin with the word
_DRAINED: Final = (
    "SELECT coalesce(sum(number), 0) FROM errors WHERE error >= ?1 AND error < ?1 || char(1114111)"
)
_ROWS: Final = "SELECT * FROM journal WHERE position > ? ORDER BY position LIMIT ?"
_OF_STATUS: Final = "SELECT sequence FROM tasks WHERE status = ? LIMIT 1"
_OF_PLACE: Final = (
    "SELECT sequence FROM tasks WHERE status = 'open' AND held IS NULL "
    "AND type = ? AND model = ? AND priority = ? LIMIT 1"
)
_TIMELESS: Final = (
    "SELECT sequence, created_at FROM tasks WHERE status = 'open' AND held IS NULL "
    "AND type = ? AND model = ? AND priority = ? AND typeof(created_at) <> 'real' LIMIT 1"
)
_OF_ERROR: Final = "SELECT sequence FROM tasks WHERE status = 'blocked' AND error = ? LIMIT 1"
_OF_HELD: Final = "SELECT sequence FROM tasks WHERE held = ? LIMIT 1"
_LAST: Final = (
    "SELECT * FROM journal WHERE task = '' AND kind = ? AND host = '' AND model = '' "
    "ORDER BY position DESC LIMIT 1"
)
# One index seek for each: the least created_at is the first of its group. (`min` reads them all.)
_OLDEST: Final = (
    "SELECT created_at, sequence FROM tasks WHERE status = 'open' AND held IS NULL "
    "AND type = ? AND model = ? AND run_next = ? AND priority = ? ORDER BY created_at LIMIT 1"
)
# The lanes in which something is ready, one seek each: the next model of a type, the next type.
_NEXT_MODEL: Final = (
    "SELECT type, model FROM tasks WHERE status = 'open' AND held IS NULL "
    "AND type = ? AND model > ? ORDER BY model LIMIT 1"
)
_NEXT_TYPE: Final = (
    "SELECT type, model FROM tasks WHERE status = 'open' AND held IS NULL "
    "AND type > ? ORDER BY type, model LIMIT 1"
)


class SqliteTables:
    """`Tables` and `Views` over one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        # Given here and not by SQLite, so that a row and its event are made in one step.
        self._position = self._most("journal", "position")
        self._sequence = self._most("tasks", "sequence")
        #: Tasks in progress as they were saved here: their ends need no look at the table.
        self._running: dict[str, Task] = {}
        #: Rows of held tasks that can't be read, by sequence: they were told, and stay as they are.
        self._undue: set[int] = set()

    def _most(self, table: str, column: str) -> int:
        # sqlite_sequence remembers numbers whose rows were pruned: none is given twice.
        kept = self.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,))
        row = kept.fetchone()
        most = self.connection.execute(f"SELECT max({column}) FROM {table}").fetchone()[0]
        return max(row[0] if row else 0, most or 0)

    def mark(self) -> tuple[int, int]:
        return self._position, self._sequence

    def reset(self, mark: tuple[int, int]) -> None:
        """The transaction was rolled back: its numbers were never given."""
        self._position, self._sequence = mark
        self._running.clear()
        self._undue.clear()  # what was told of them was never written

    # -- tasks -------------------------------------------------------------------------------

    def load(self, task_id: str) -> Task | None:
        return self._running.get(task_id) or self._one("id = ?", (task_id,))

    def _one(self, where: str, values: Sequence[Value]) -> Task | None:
        try:
            row = self._rows_of(where, values).fetchone()
        except sqlite3.OperationalError as error:
            if not is_no_text(error):
                raise
            find = f"SELECT sequence FROM tasks WHERE {where}"
            (row,) = self.connection.execute(find, values).fetchone()
            raise DamagedRow("tasks", row, error) from error
        return None if row is None else task_of(row)

    def _all(self, where: str, values: Sequence[Value]) -> list[Task]:
        return [task_of(row) for row in self._rows_of(where, values).fetchall()]

    def _rows_of(self, where: str, values: Sequence[Value]) -> sqlite3.Cursor:
        return self.connection.execute(f"SELECT {_COLUMNS} FROM tasks WHERE {where}", values)

    def by_key(self, submitter: str, key: str) -> tuple[Task, str] | None:
        task = self._one("submitter = ? AND key = ?", (submitter, key))
        if task is None:
            return None
        (digest,) = self.connection.execute(
            "SELECT body_digest FROM tasks WHERE id = ?", (task.id,)
        ).fetchone()
        return task, digest

    def by_source(self, source: str, source_id: str) -> Task | None:
        where = "source = ? AND source_id = ? AND status <> 'closed'"
        return self._one(where, (source, source_id))

    def insert(self, draft: Draft) -> Task:
        self._sequence += 1
        self.connection.execute(_INSERT, (
            self._sequence, draft.id, draft.title, draft.description, json_text(draft.labels),
            draft.type, draft.model, draft.priority, draft.created_at, draft.not_before,
            draft.held, draft.key, draft.body_digest, draft.submitter, draft.source,
            draft.source_id, draft.system, json_text(draft.options), draft.timeout,
            None if draft.metadata is None else json_text(draft.metadata),
        ))  # fmt: skip
        return lifecycle.accepted(draft, self._sequence)

    def save(self, task: Task) -> None:
        self.connection.execute(_SAVE, (
            task.status, task.outcome, task.error, task.host, task.attempt, task.strikes,
            task.owner, task.started_at, task.ended_at, task.artifact,
            None if task.answer is None else json_text(task.answer), task.held, task.priority,
            task.run_next, task.id,
        ))  # fmt: skip
        if task.status is Status.IN_PROGRESS:
            self._running[task.id] = task
        else:
            self._running.pop(task.id, None)

    def rewrite(self, task: Task) -> None:
        self.connection.execute(_REWRITE, (
            task.title, task.description, json_text(task.labels), task.priority, task.id,
        ))  # fmt: skip

    def sourced(self, source: str) -> Sequence[Task]:
        return self._all(_SOURCED, (source,))

    def post(self, task: Task, position: int) -> None:
        self.connection.execute(_POST, (task.id, task.source, position))

    def posted_position(self, task_id: str) -> int | None:
        find = "SELECT position FROM outbox WHERE task = ?"
        row = self.connection.execute(find, (task_id,)).fetchone()
        return None if row is None else int(row[0])

    def unpost(self, task_id: str) -> None:
        self.connection.execute("DELETE FROM outbox WHERE task = ?", (task_id,))

    def postpone(self, task_id: str, error: str, due: float) -> None:
        self.connection.execute(_POSTPONE, (error, due, task_id))

    def posted(self, source: str, now: float, limit: int) -> Sequence[Posted]:
        found = []
        for task_id, position, tries, error in self.connection.execute(
            _POSTED, (source, now, limit)
        ).fetchall():
            task = self._one("id = ?", (task_id,))
            if task is None:
                raise DamagedRow("outbox", position, f"there is no task {task_id!r}")
            found.append(Posted(task=task, position=position, tries=tries, error=error))
        return found

    def posted_ends(self, source: str) -> Sequence[PostedEnd]:
        rows = self.connection.execute(_POSTED_ENDS, (source,)).fetchall()
        return [posted_end_of(row) for row in rows]

    def next_post(self, source: str) -> float | None:
        (due,) = self.connection.execute(_NEXT_POST, (source,)).fetchone()
        return None if due is None else number(due, "outbox", "?")

    def of_source(self, source: str, source_id: str) -> Task | None:
        return self._one(_OF_SOURCE, (source, source_id))

    def in_progress(self) -> Sequence[Task]:
        return self._all(_IN_PROGRESS, ())

    def startable_of_sources(self) -> Sequence[Task]:
        found: list[Task] = []
        for (row,) in self.connection.execute(_STARTABLE).fetchall():
            with suppress(DamagedRow):  # its claim meets the damage too, tells, and starts nothing
                task = self._one("sequence = ?", (row,))
                assert task is not None, f"row {row} went away within a transaction"
                found.append(task)
        return found

    def due(self, now: float) -> Due:
        found = Due([], {})
        for where, values in ((_DUE, (now,)), (_NEVER_DUE, ())):
            due = f"SELECT sequence, CAST(id AS BLOB) FROM tasks WHERE {where}"
            with closing(self.connection.execute(due, values)) as rows:
                for row, task_id in rows:
                    if len(found.tasks) == DUE or len(found.damaged) == DUE:
                        break
                    if row in self._undue:
                        continue
                    try:
                        task = self._one("sequence = ?", (row,))
                        assert task is not None, f"row {row} went away within a transaction"
                        found.tasks.append(task)
                    except DamagedRow as damage:
                        self._undue.add(row)
                        found.damaged[task_id.decode(errors="replace")] = str(damage)
        return found

    def next_due(self) -> float | None:
        with closing(self.connection.execute(_NEXT_DUE)) as rows:
            return next((due for due, number in rows if number not in self._undue), None)

    def waiting(self) -> Mapping[tuple[Lane, int], int]:
        counts: dict[tuple[Lane, int], int] = {}
        for type_, model, priority, count, timeless in self.connection.execute(_WAITING).fetchall():
            if timeless:
                row, born = self.connection.execute(_TIMELESS, (type_, model, priority)).fetchone()
                number(born, "tasks", row)
            if not (isinstance(type_, str) and isinstance(model, str) and priority in PRIORITIES):
                (row,) = self.connection.execute(_OF_PLACE, (type_, model, priority)).fetchone()
                why = f"it waits as type {type_!r}, model {model!r}, priority {priority!r}"
                raise DamagedRow("tasks", row, why)
            key = Lane(type_, model), priority
            counts[key] = counts.get(key, 0) + count
        return counts

    def last_created_at(self) -> float:
        row = self.connection.execute(_LAST_BORN).fetchone()
        return 0.0 if row is None else number(row[0], "tasks", row[1])

    def ready(self, lane: Lane, after: Rank, limit: int) -> Sequence[Waiting]:
        found: list[Waiting] = []

        def read(statement: str, not_next: bool, place: Sequence[Value]) -> None:
            if len(found) < limit:
                values = (*lane, not not_next, *place, limit - len(found))
                rows = self.connection.execute(statement, values).fetchall()
                found.extend(
                    Waiting(id_, lane, Rank(not run_next, priority, number(born, "tasks", n), n))
                    for id_, run_next, priority, born, n in rows
                )

        read(_READY_SAME, after.not_next, after[1:])
        read(_READY_LATER, after.not_next, after[1:3])
        read(_READY_BEHIND, after.not_next, after[1:2])
        if not after.not_next:
            read(_READY_BEHIND, True, (-1,))
        return found

    def oldest(self) -> Mapping[tuple[Lane, int], float]:
        oldest: dict[tuple[Lane, int], float] = {}
        for lane in self._lanes():
            for priority in PRIORITIES:
                for run_next in (0, 1):
                    values = *lane, run_next, priority
                    row = self.connection.execute(_OLDEST, values).fetchone()
                    if row is not None:
                        key = lane, priority
                        born = number(row[0], "tasks", row[1])
                        oldest[key] = min(born, oldest.get(key, born))
        return oldest

    def _lanes(self) -> Iterator[Lane]:
        execute = self.connection.execute
        row = execute(_NEXT_TYPE, ("",)).fetchone()
        while row is not None:
            yield Lane(*row)
            row = execute(_NEXT_MODEL, row).fetchone() or execute(_NEXT_TYPE, row[:1]).fetchone()

    def find(self, query: Query, before: int | None, limit: int) -> Page:
        conditions: dict[str, Value] = {
            "sequence < ?": None if before is None else min(before, _GREATEST),
            "status = ?": query.status,
            "priority = ?": query.priority,
            "type = ?": query.type,
            "host = ?": query.host,
            "instr(error, ?) > 0": query.error,
        }
        given = {text: value for text, value in conditions.items() if value is not None}
        if query.status not in (None, Status.CLOSED):
            given = {"status <> 'closed'": "", **given}  # lets the small index serve
        where = " AND ".join(given) or "true"
        values = [value for text, value in given.items() if "?" in text]
        where += f" ORDER BY sequence DESC LIMIT {int(limit) + 1}"
        # Row by row: a page of large tasks ends early, and those behind it are never read.
        with closing(self._rows_of(where, values)) as rows:
            return Page.of(map(task_of, rows), limit)

    def overview(self) -> Overview:
        counted: dict[str, list[tuple[object, object]]] = {"status": [], "held": []}
        for what, word, times in self.connection.execute(_COUNTS).fetchall():
            if what not in counted:
                raise DamagedRow("counts", what, "nothing of that name is counted")
            counted[what].append((word, times))
        (running,) = self.connection.execute(_RUNNING).fetchone()
        if running:
            counted["status"].append((Status.IN_PROGRESS.value, running))
        errors: dict[str, int] = {}
        for error, times in self.connection.execute(_ERRORS).fetchall():
            if not isinstance(error, str):
                (row,) = self.connection.execute(_OF_ERROR, (error,)).fetchone() or ("?",)
                raise DamagedRow("tasks", row, f"error holds {error!r}")
            errors[error] = _whole(times, "errors", error)
        (drained,) = self.connection.execute(_DRAINED, (DRAINED,)).fetchone()
        return Overview(
            by_status=self._of(Status, counted["status"], _OF_STATUS),
            held=self._of(Held, counted["held"], _OF_HELD),
            blocked=errors,
            drained=_whole(drained, "errors", DRAINED),
            untold=dict(self.connection.execute(_UNTOLD).fetchall()),
        )

    def by_status(self) -> Mapping[Status, int]:
        """Counted anew, for files of any version; it takes longer the more tasks there are."""
        execute = self.connection.execute
        counts = self._of(Status, execute(_UNFINISHED).fetchall(), _OF_STATUS)
        (total,) = execute("SELECT count(*) FROM tasks").fetchone()
        closed = total - sum(counts.values())
        return {**counts, Status.CLOSED: closed} if closed else counts

    def _of(
        self, kind: type[Word], counted: Iterable[tuple[object, object]], find: str
    ) -> dict[Word, int]:
        """How many rows have each word; `find` is for a row with one that does not exist."""
        counts: dict[Word, int] = {}
        for word, times in counted:
            if not isinstance(word, str) or word not in set(kind):
                (row,) = self.connection.execute(find, (word,)).fetchone() or ("?",)
                raise DamagedRow("tasks", row, f"{word!r} is no {kind.__name__.lower()} word")
            counts[kind(word)] = _whole(times, "counts", word)
        return counts

    # -- journal -----------------------------------------------------------------------------

    def append(self, event: Event) -> Event:
        self._position += 1
        event = replace(event, position=self._position)
        owner, attempt = event.fence if event.fence is not None else (None, None)
        self.connection.execute(_APPEND, (
            event.position, event.at, event.kind, event.task, event.host, event.model, owner,
            attempt, event.seen, event.reason,
            None if event.waiting is None else json_text(pack(event.waiting)),
            event.held, json_text(event.detail) if event.detail else None,
        ))  # fmt: skip
        return event

    def journal(self, after: int, limit: int, task_id: str | None) -> Sequence[Event]:
        where = "position > ?" + ("" if task_id is None else " AND task = ? AND task <> ''")
        position = min(after, _GREATEST)
        values = (position, limit) if task_id is None else (position, task_id, limit)
        rows = self.connection.execute(
            f"SELECT * FROM journal WHERE {where} ORDER BY position LIMIT ?",
            values,
        )
        return [event_of(row) for row in rows.fetchall()]

    def rows(self, after: int, limit: int) -> Sequence[tuple[Any, ...]]:
        """Of the journal, as they are: for who wants to know which of them can't be read."""
        return self.connection.execute(_ROWS, (after, limit)).fetchall()

    def task_rows(self) -> Iterator[tuple[Any, ...]]:
        """All tasks as they are, for the same."""
        return self.connection.execute(f"SELECT {_COLUMNS} FROM tasks")

    def last(self, kind: Kind) -> Event | None:
        """The last row of a kind that is about no task, host or model."""
        row = self.connection.execute(_LAST, (kind,)).fetchone()
        return None if row is None else event_of(row)

    # -- hosts and the rest ------------------------------------------------------------------

    def hosts(self) -> Mapping[str, HostRow]:
        rows = self.connection.execute(_HOSTS).fetchall()
        return {name: HostRow(**dict(zip(_HOST_FIELDS, row, strict=True))) for name, *row in rows}

    def save_host(self, name: str, row: HostRow) -> None:
        values = [getattr(row, field) for field in _HOST_FIELDS]
        self.connection.execute(_SAVE_HOST, (name, *values))

    def touch(self) -> None:
        """A write that changes nothing of worth: does the disk take it?"""
        self.set_meta("probe", _PROBE)

    def meta(self, key: str) -> str | None:
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # -- forgetting --------------------------------------------------------------------------

    def prune(
        self, closed_before: float | None, journal_before: float | None, after: int
    ) -> Pruned:
        tasks = 0
        if closed_before is not None and after == 0:
            tasks, position = forget_tasks(self.connection, closed_before)
            self._keep_pruned_to(position)
            if tasks == PIECE:
                return Pruned(tasks, next=0)
        if journal_before is None:
            return Pruned(tasks, next=None)
        position, beyond = forget_rows(self.connection, journal_before, after)
        self._keep_pruned_to(position)
        return Pruned(tasks, next=beyond)

    def _keep_pruned_to(self, position: int) -> None:
        if position > self.pruned_to():
            self.set_meta("pruned_to", str(position))

    def pruned_to(self) -> int:
        with reading("meta", "pruned_to"):
            return int(self.meta("pruned_to") or 0)

    def position(self) -> int:
        (last,) = self.connection.execute("SELECT max(position) FROM journal").fetchone()
        return last or 0


def _whole(value: object, table: str, row: object) -> int:
    """A count. Raises DamagedRow."""
    if not isinstance(value, int) or value < 0:
        raise DamagedRow(table, row, f"{value!r} counts nothing")
    return value

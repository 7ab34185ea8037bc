"""The embedded store's schema and every SQL statement of it, in one place.

Values are always bound. One connection belongs to one thread. Transactions are left to
sqlite.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from ygg import lifecycle
from ygg.journal import Event, Kind, pack, unpack
from ygg.stores.base import HostRow, Overview, Page, Query, StoreUnusable
from ygg.tasks import Draft, Fence, Held, Lane, Outcome, Rank, Status, Task, Waiting

Value: TypeAlias = "None | int | float | str"

#: Applied in order, each once; `pragma user_version` says how many were. Never edit one that
#: was released: add the next.
MIGRATIONS: Final = (
    """
    CREATE TABLE tasks (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        title TEXT NOT NULL, description TEXT NOT NULL, labels TEXT NOT NULL,
        type TEXT NOT NULL, model TEXT NOT NULL, priority INTEGER NOT NULL,
        created_at REAL NOT NULL, run_next INTEGER NOT NULL DEFAULT 0,
        not_before REAL, held TEXT,
        key TEXT, body_digest TEXT NOT NULL, submitter TEXT NOT NULL,
        source TEXT, source_id TEXT,
        system TEXT, options TEXT NOT NULL, timeout REAL, metadata TEXT,
        status TEXT NOT NULL DEFAULT 'open', outcome TEXT, error TEXT,
        host TEXT, attempt INTEGER NOT NULL DEFAULT 0, strikes INTEGER NOT NULL DEFAULT 0,
        owner TEXT NOT NULL DEFAULT '', started_at REAL, ended_at REAL,
        artifact TEXT, answer TEXT
    );
    -- The order in which tasks start, lane by lane.
    CREATE INDEX tasks_ready ON tasks (type, model, run_next, priority, created_at, sequence)
        WHERE status = 'open' AND held IS NULL;
    CREATE INDEX tasks_unfinished ON tasks (status, sequence) WHERE status <> 'closed';
    CREATE INDEX tasks_due ON tasks (not_before) WHERE status = 'open' AND held = 'not_before';
    CREATE UNIQUE INDEX tasks_key ON tasks (submitter, key) WHERE key IS NOT NULL;
    -- Among live tasks only: an issue reopened in its tracker runs again as a new task.
    CREATE UNIQUE INDEX tasks_source ON tasks (source, source_id)
        WHERE source IS NOT NULL AND status <> 'closed';
    CREATE TABLE journal (
        position INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL,
        task TEXT NOT NULL, host TEXT NOT NULL, model TEXT NOT NULL,
        owner TEXT, attempt INTEGER, seen INTEGER NOT NULL, reason TEXT NOT NULL,
        waiting TEXT, held TEXT, detail TEXT
    );
    CREATE INDEX journal_task ON journal (task, position) WHERE task <> '';
    CREATE TABLE hosts (
        name TEXT PRIMARY KEY, slots INTEGER, start INTEGER, pin INTEGER, paused TEXT
    );
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    """,
)

_COLUMNS: Final = (
    "sequence, id, title, description, labels, type, model, priority, created_at, run_next, "
    "not_before, held, key, submitter, source, source_id, system, options, timeout, metadata, "
    "status, outcome, error, host, attempt, strikes, owner, started_at, ended_at, artifact, answer"
)
_INSERT: Final = (
    "INSERT INTO tasks (sequence, id, title, description, labels, type, model, priority, "
    "created_at, not_before, held, key, body_digest, submitter, source, source_id, system, "
    "options, timeout, metadata) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
_SAVE: Final = (
    "UPDATE tasks SET status=?, outcome=?, error=?, host=?, attempt=?, strikes=?, owner=?, "
    "started_at=?, ended_at=?, artifact=?, answer=?, held=?, priority=?, run_next=? WHERE id=?"
)
_APPEND: Final = "INSERT INTO journal VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"
# The next page of a lane: tasks a person put in front come first, so a page is read in two parts.
_READY: Final = (
    "SELECT id, run_next, priority, created_at, sequence FROM tasks "
    "WHERE status = 'open' AND held IS NULL AND type = ? AND model = ? AND run_next = ? "
    "AND (priority, created_at, sequence) > (?, ?, ?) "
    "ORDER BY priority, created_at, sequence LIMIT ?"
)
_WAITING: Final = (
    "SELECT type, model, priority, count(*) FROM tasks "
    "WHERE status = 'open' AND held IS NULL GROUP BY type, model, run_next, priority"
)
# One index seek for each: the least created_at is the first of its group.
_OLDEST: Final = (
    "SELECT min(created_at) FROM tasks WHERE status = 'open' AND held IS NULL "
    "AND type = ? AND model = ? AND run_next = ? AND priority = ?"
)
_LANES: Final = (
    "WITH RECURSIVE lanes(type, model) AS ("
    " SELECT * FROM (SELECT type, model FROM tasks WHERE status = 'open' AND held IS NULL"
    "  ORDER BY type, model LIMIT 1)"
    " UNION ALL"
    " SELECT t.type, t.model FROM lanes, tasks t WHERE t.rowid = ("
    "  SELECT n.rowid FROM tasks n WHERE n.status = 'open' AND n.held IS NULL"
    "  AND (n.type, n.model) > (lanes.type, lanes.model) ORDER BY n.type, n.model LIMIT 1)"
    ") SELECT type, model FROM lanes"
)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection with the settings that durability rests on, each asked back.

    Raises StoreUnusable, sqlite3.Error.
    """
    if read_only:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        connection.execute("PRAGMA query_only = on")
        return connection
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    (journal_mode,) = connection.execute("PRAGMA journal_mode = wal").fetchone()
    connection.execute("PRAGMA synchronous = full")
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    if journal_mode != "wal" or synchronous < 2:
        connection.close()
        raise StoreUnusable(
            f"{path}: its file system refuses what durability needs (journal_mode is "
            f"{journal_mode}, not wal; synchronous is {synchronous}, not 2): "
            "put the store on a local disk"
        )
    return connection


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date. Raises StoreUnusable for a file of a newer ygg."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreUnusable(
            f"{path}: was written by a newer ygg (schema {version}, this one knows "
            f"{len(MIGRATIONS)}): install that version again, or move the file away"
        )
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT"
        )


class SqliteTables:
    """`Tables` and `Views` over one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        # Given here and not by SQLite, so that a row and its event are made in one step.
        self._position = self._most("journal", "position")
        self._sequence = self._most("tasks", "sequence")

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

    # -- tasks -------------------------------------------------------------------------------

    def load(self, task_id: str) -> Task | None:
        return self._one("id = ?", (task_id,))

    def _one(self, where: str, values: Sequence[Value]) -> Task | None:
        row = self.connection.execute(
            f"SELECT {_COLUMNS} FROM tasks WHERE {where}",
            values,
        ).fetchone()
        return None if row is None else _task(row)

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
            self._sequence, draft.id, draft.title, draft.description, _json(draft.labels),
            draft.type, draft.model, draft.priority, draft.created_at, draft.not_before,
            draft.held, draft.key, draft.body_digest, draft.submitter, draft.source,
            draft.source_id, draft.system, _json(draft.options), draft.timeout,
            None if draft.metadata is None else _json(draft.metadata),
        ))  # fmt: skip
        return lifecycle.accepted(draft, self._sequence)

    def save(self, task: Task) -> None:
        self.connection.execute(_SAVE, (
            task.status, task.outcome, task.error, task.host, task.attempt, task.strikes,
            task.owner, task.started_at, task.ended_at, task.artifact,
            None if task.answer is None else _json(task.answer), task.held, task.priority,
            task.run_next, task.id,
        ))  # fmt: skip

    def in_progress(self) -> Sequence[Task]:
        return self._all("status = 'in_progress' ORDER BY sequence", ())

    def due(self, now: float) -> Sequence[Task]:
        where = "status = 'open' AND held = 'not_before' AND not_before <= ? ORDER BY not_before"
        return self._all(f"{where} LIMIT 1000", (now,))

    def _all(self, where: str, values: Sequence[Value]) -> Sequence[Task]:
        rows = self.connection.execute(f"SELECT {_COLUMNS} FROM tasks WHERE {where}", values)
        return [_task(row) for row in rows]

    def next_due(self) -> float | None:
        (due,) = self.connection.execute(
            "SELECT min(not_before) FROM tasks WHERE status = 'open' AND held = 'not_before'"
        ).fetchone()
        return None if due is None else float(due)

    def waiting(self) -> Mapping[tuple[Lane, int], int]:
        counts: dict[tuple[Lane, int], int] = {}
        for type_, model, priority, count in self.connection.execute(_WAITING):
            key = Lane(type_, model), priority
            counts[key] = counts.get(key, 0) + count
        return counts

    def last_created_at(self) -> float:
        row = self.connection.execute(
            "SELECT created_at FROM tasks WHERE source IS NULL ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        return 0.0 if row is None else float(row[0])

    def ready(self, lane: Lane, after: Rank, limit: int) -> Sequence[Waiting]:
        found: list[Waiting] = []
        for not_next in (False, True):
            if not_next < after.not_next or len(found) == limit:
                continue
            place: Sequence[Value] = after[1:] if not_next == after.not_next else (-1, 0, 0)
            rows = self.connection.execute(
                _READY, (*lane, not not_next, *place, limit - len(found))
            )
            found += [Waiting(i, lane, Rank(not next_, *place)) for i, next_, *place in rows]
        return found

    def oldest(self) -> Mapping[tuple[Lane, int], float]:
        oldest: dict[tuple[Lane, int], float] = {}
        for type_, model in self.connection.execute(_LANES).fetchall():
            for priority in range(5):
                for run_next in (0, 1):
                    (least,) = self.connection.execute(
                        _OLDEST, (type_, model, run_next, priority)
                    ).fetchone()
                    if least is not None:
                        key = Lane(type_, model), priority
                        oldest[key] = min(least, oldest.get(key, least))
        return oldest

    def find(self, query: Query, before: int | None, limit: int) -> Page:
        conditions: dict[str, Value] = {
            "sequence < ?": before,
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
        tasks = self._all(f"{where} ORDER BY sequence DESC LIMIT {int(limit) + 1}", values)
        more = len(tasks) > limit
        return Page(tasks=tasks[:limit], next=tasks[limit - 1].sequence if more else None)

    def overview(self) -> Overview:
        execute = self.connection.execute
        by_status = {
            Status(status): count
            for status, count in execute(
                "SELECT status, count(*) FROM tasks WHERE status <> 'closed' GROUP BY status"
            )
        }
        (total,) = execute("SELECT count(*) FROM tasks").fetchone()
        by_status[Status.CLOSED] = total - sum(by_status.values())
        held = execute(
            "SELECT held, count(*) FROM tasks WHERE status = 'open' AND held IS NOT NULL "
            "GROUP BY held"
        )
        blocked = execute(
            "SELECT error, count(*) AS n FROM tasks WHERE status = 'blocked' AND status <> 'closed' "
            "GROUP BY error ORDER BY n DESC LIMIT 100"
        )
        return Overview(
            by_status={status: count for status, count in by_status.items() if count},
            held={Held(why): count for why, count in held},
            blocked=dict(blocked.fetchall()),
        )

    # -- journal -----------------------------------------------------------------------------

    def append(self, event: Event) -> Event:
        self._position += 1
        event = replace(event, position=self._position)
        owner, attempt = event.fence if event.fence is not None else (None, None)
        self.connection.execute(_APPEND, (
            event.position, event.at, event.kind, event.task, event.host, event.model, owner,
            attempt, event.seen, event.reason,
            None if event.waiting is None else _json(pack(event.waiting)),
            event.held, _json(event.detail) if event.detail else None,
        ))  # fmt: skip
        return event

    def journal(self, after: int, limit: int, task_id: str | None) -> Sequence[Event]:
        where = "position > ?" + ("" if task_id is None else " AND task = ? AND task <> ''")
        values = (after, limit) if task_id is None else (after, task_id, limit)
        rows = self.connection.execute(
            f"SELECT * FROM journal WHERE {where} ORDER BY position LIMIT ?",
            values,
        )
        return [_event(row) for row in rows]

    # -- hosts and the rest ------------------------------------------------------------------

    def hosts(self) -> Mapping[str, HostRow]:
        rows = self.connection.execute("SELECT name, slots, start, pin, paused FROM hosts")
        return {
            name: HostRow(limit=limit, start=start, pin=pin, paused=paused)
            for name, limit, start, pin, paused in rows
        }

    def save_host(self, name: str, row: HostRow) -> None:
        self.connection.execute(
            "INSERT INTO hosts VALUES (?,?,?,?,?) ON CONFLICT (name) DO UPDATE SET "
            "slots = excluded.slots, start = excluded.start, pin = excluded.pin, "
            "paused = excluded.paused",
            (name, row.limit, row.start, row.pin, row.paused),
        )

    def touch(self) -> None:
        """A write that changes nothing of worth: does the disk take it?"""
        self.set_meta("probe", "ok")

    def meta(self, key: str) -> str | None:
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def prune(self, closed_before: float | None, journal_before: float | None) -> int:
        """In pieces of 1,000 tasks: no write waits long. Call again until it returns 0."""
        execute = self.connection.execute
        gone: list[tuple[str]] = []
        if closed_before is not None:
            gone = execute(
                "DELETE FROM tasks WHERE sequence IN (SELECT sequence FROM tasks "
                "WHERE status = 'closed' AND ended_at < ? ORDER BY sequence LIMIT 1000) "
                "RETURNING id",
                (closed_before,),
            ).fetchall()
            self.connection.executemany("DELETE FROM journal WHERE task = ? AND task <> ''", gone)
        if journal_before is not None:
            self._prune_journal(journal_before)
        return len(gone)

    def _prune_journal(self, before: float) -> None:
        """Whole histories of ended tasks, and all but the last word on each host.

        What is left is the history of a system without those tasks, but for starts that were
        judged by a host's state now forgotten: the checker leaves rows up to `pruned_to` alone.
        """
        execute = self.connection.execute
        (upto,) = execute("SELECT max(position) FROM journal WHERE at < ?", (before,)).fetchone()
        if upto is None or upto <= int(self.meta("pruned_to") or 0):
            return
        execute(
            "DELETE FROM journal WHERE position <= ? AND task <> '' AND NOT EXISTS ("
            "SELECT 1 FROM tasks WHERE tasks.id = journal.task AND "
            "(tasks.status <> 'closed' OR tasks.ended_at >= ?))",
            (upto, before),
        )
        execute(
            "DELETE FROM journal WHERE position <= ? AND task = '' AND kind IN (?, ?) AND "
            "position NOT IN (SELECT max(position) FROM journal WHERE position <= ? "
            "AND task = '' GROUP BY kind, host, model)",
            (upto, Kind.HOST, Kind.OPTION, upto),
        )
        self.set_meta("pruned_to", str(upto))


_json_encoder: Final = msgspec.json.Encoder()


def _json(value: object) -> str:
    return _json_encoder.encode(value).decode()


def _task(row: Any) -> Task:
    """A row of `_COLUMNS`: sqlite3 types it as Any, the schema says what stands where."""
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
        labels=() if labels == "[]" else tuple(msgspec.json.decode(labels)),
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
        options={} if options == "{}" else msgspec.json.decode(options),
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
        answer=None if answer is None else msgspec.json.decode(answer),
    )


def _event(row: Any) -> Event:
    position, at, kind, task, host, model, owner, attempt, seen, reason, waiting, held, detail = row
    return Event(
        position=position,
        at=at,
        kind=Kind(kind),
        task=task,
        host=host,
        model=model,
        fence=None if owner is None else Fence(owner, attempt),
        seen=seen,
        reason=reason,
        waiting=None if waiting is None else unpack(task, msgspec.json.decode(waiting)),
        held=None if held is None else Held(held),
        detail={} if detail is None else msgspec.json.decode(detail),
    )

"""The embedded store's file: its schema, and connections with the settings that it rests on.

Statements are left to tables.py and pruning.py, transactions to sqlite.py.
"""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from ygg.folders import make_file
from ygg.stores.base import StoreUnusable

#: "ygg1" in the file's header: no other program's database is taken for ours.
APPLICATION: Final = 0x79676731
#: Bytes of write-ahead log that stay on disk once a checkpoint emptied it.
_LOG_BYTES: Final = 64 * 1024 * 1024

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
    -- The order in which tasks start, lane by lane. The last two columns are the same in every
    -- entry; with them in it, counting needs no look at the tasks themselves.
    CREATE INDEX tasks_ready
        ON tasks (type, model, run_next, priority, created_at, sequence, status, held)
        WHERE status = 'open' AND held IS NULL;
    CREATE INDEX tasks_unfinished ON tasks (status, sequence) WHERE status <> 'closed';
    CREATE INDEX tasks_ended ON tasks (ended_at) WHERE status = 'closed';
    -- Only open tasks are held.
    CREATE INDEX tasks_held ON tasks (held, not_before) WHERE held IS NOT NULL;
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
    CREATE INDEX journal_kind ON journal (kind, host, model, position) WHERE task = '';
    CREATE TABLE hosts (
        name TEXT PRIMARY KEY, slots INTEGER, start INTEGER, pin INTEGER, paused TEXT
    );
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    """,
    # Who pinned or paused a host, why, and until when; and the limit under a pin.
    """
    ALTER TABLE hosts ADD COLUMN unpinned INTEGER;
    ALTER TABLE hosts ADD COLUMN pin_until REAL;
    ALTER TABLE hosts ADD COLUMN pin_by TEXT NOT NULL DEFAULT '';
    ALTER TABLE hosts ADD COLUMN pin_reason TEXT NOT NULL DEFAULT '';
    ALTER TABLE hosts ADD COLUMN paused_until REAL;
    ALTER TABLE hosts ADD COLUMN paused_by TEXT NOT NULL DEFAULT '';
    """,
    # How many tasks are of each status, held for each reason, blocked with each error: to count
    # them takes longer the more there are. (Those in progress are few, and each start and end would
    # count twice.) By triggers, so that who mends a row by hand keeps them right.
    """
    CREATE TABLE counts (
        what TEXT NOT NULL, word NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (what, word)
    ) WITHOUT ROWID;
    INSERT INTO counts SELECT 'status', status, count(*) FROM tasks
        WHERE status <> 'in_progress' GROUP BY status;
    INSERT INTO counts SELECT 'held', held, count(*) FROM tasks WHERE held IS NOT NULL GROUP BY held;
    CREATE TABLE errors (error NOT NULL PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO errors SELECT coalesce(error, ''), count(*) FROM tasks
        WHERE status = 'blocked' AND status <> 'closed' GROUP BY coalesce(error, '');
    CREATE INDEX errors_most ON errors (number DESC, error);
    CREATE TRIGGER tasks_accepted AFTER INSERT ON tasks BEGIN
        INSERT INTO counts SELECT 'status', NEW.status, 1 WHERE NEW.status <> 'in_progress'
            ON CONFLICT DO UPDATE SET number = number + 1;
        INSERT INTO counts SELECT 'held', NEW.held, 1 WHERE NEW.held IS NOT NULL
            ON CONFLICT DO UPDATE SET number = number + 1;
        INSERT INTO errors SELECT coalesce(NEW.error, ''), 1 WHERE NEW.status = 'blocked'
            ON CONFLICT DO UPDATE SET number = number + 1;
    END;
    CREATE TRIGGER tasks_forgotten AFTER DELETE ON tasks BEGIN
        UPDATE counts SET number = number - 1
            WHERE what = 'status' AND word = OLD.status OR what = 'held' AND word = OLD.held;
        UPDATE errors SET number = number - 1
            WHERE OLD.status = 'blocked' AND error = coalesce(OLD.error, '');
        DELETE FROM errors WHERE OLD.status = 'blocked' AND error = coalesce(OLD.error, '')
            AND number = 0;
    END;
    CREATE TRIGGER tasks_left AFTER UPDATE OF status ON tasks
    WHEN OLD.status <> NEW.status AND OLD.status <> 'in_progress' BEGIN
        UPDATE counts SET number = number - 1 WHERE what = 'status' AND word = OLD.status;
    END;
    CREATE TRIGGER tasks_came AFTER UPDATE OF status ON tasks
    WHEN OLD.status <> NEW.status AND NEW.status <> 'in_progress' BEGIN
        INSERT INTO counts VALUES ('status', NEW.status, 1)
            ON CONFLICT DO UPDATE SET number = number + 1;
    END;
    CREATE TRIGGER tasks_held_back AFTER UPDATE OF held ON tasks WHEN OLD.held IS NOT NEW.held BEGIN
        UPDATE counts SET number = number - 1 WHERE what = 'held' AND word = OLD.held;
        INSERT INTO counts SELECT 'held', NEW.held, 1 WHERE NEW.held IS NOT NULL
            ON CONFLICT DO UPDATE SET number = number + 1;
    END;
    CREATE TRIGGER tasks_blocked AFTER UPDATE OF status, error ON tasks
    WHEN (OLD.status = 'blocked' OR NEW.status = 'blocked')
        AND (OLD.status <> NEW.status OR OLD.error IS NOT NEW.error) BEGIN
        UPDATE errors SET number = number - 1
            WHERE OLD.status = 'blocked' AND error = coalesce(OLD.error, '');
        DELETE FROM errors WHERE OLD.status = 'blocked' AND error = coalesce(OLD.error, '')
            AND number = 0;
        INSERT INTO errors SELECT coalesce(NEW.error, ''), 1 WHERE NEW.status = 'blocked'
            ON CONFLICT DO UPDATE SET number = number + 1;
    END;
    """,
    # What a source must still be told of a task: how it is since a row of the journal.
    """
    CREATE TABLE outbox (
        task TEXT PRIMARY KEY, source TEXT NOT NULL, position INTEGER NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0, error TEXT
    ) WITHOUT ROWID;
    CREATE INDEX outbox_order ON outbox (source, position);
    CREATE INDEX outbox_due ON outbox (source, due);
    CREATE INDEX tasks_of_source ON tasks (source, source_id, sequence)
        WHERE source_id IS NOT NULL;
    """,
)


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """A connection that writes, with the settings that durability rests on, each asked back.

    Raises StoreUnusable, sqlite3.Error.
    """
    # Without `create`: should the file be gone, an empty one must not take its place.
    if create:
        # SQLite would let everybody read it. Its log beside it gets the same mode.
        with suppress(OSError):  # what hinders that, SQLite meets too, and tells
            make_file(path)
    mode = "rwc" if create else "rw"
    connection = sqlite3.connect(_uri(path, mode), uri=True, isolation_level=None)
    with ExitStack() as undo:
        undo.callback(connection.close)
        _make_durable(connection, path)
        undo.pop_all()
    return connection


def _make_durable(connection: sqlite3.Connection, path: Path) -> None:
    (journal_mode,) = connection.execute("PRAGMA journal_mode = wal").fetchone()
    connection.execute("PRAGMA synchronous = full")
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    if journal_mode != "wal" or synchronous < 2:
        raise StoreUnusable(
            f"{path}: its file system refuses what durability needs (journal_mode is "
            f"{journal_mode}, not wal; synchronous is {synchronous}, not 2): "
            "put the store on a local disk"
        )


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that can't write; it may be handed from thread to thread."""
    return sqlite3.connect(
        _uri(path, "ro"), uri=True, isolation_level=None, check_same_thread=False
    )


def _uri(path: Path, mode: str) -> str:
    return f"{path.absolute().as_uri()}?mode={mode}"


def check_file(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether anything is in it yet. Raises StoreUnusable for a file that is not for this ygg."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (things,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if things and application != APPLICATION:
        raise StoreUnusable(
            f"{path}: is the database of another program: "
            "give ygg a file of its own, with --state DIR or --store sqlite:PATH"
        )
    if version > len(MIGRATIONS):
        raise StoreUnusable(
            f"{path}: was written by a newer ygg (schema {version}, this one knows "
            f"{len(MIGRATIONS)}): install that version again, or move the file away"
        )
    return bool(things)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date. Raises StoreUnusable for a file that is not for this ygg."""
    check_file(connection, path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION}; "
            f"PRAGMA user_version = {number}; COMMIT"
        )

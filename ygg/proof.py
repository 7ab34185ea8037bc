"""Reads a store's journal and tasks for the checker; writes nothing, needs no lock.

Works while a dispatcher runs on the store: the whole check sees one snapshot.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ygg.checker import Checker
from ygg.findings import Report
from ygg.stores.base import StoreUnusable
from ygg.stores.schema import connect_reader
from ygg.stores.tables import SqliteTables
from ygg.tasks import Status

_PAGE: Final = 5000


def check_store(path: Path) -> Report:
    """Prove a store's history, or say where it broke. Raises StoreUnusable."""
    if not path.exists():
        raise StoreUnusable(
            f"{path}: there is no store here: name its folder with --state DIR, "
            "or its file with --store sqlite:PATH"
        )
    try:
        connection = connect_reader(path)
        try:
            connection.execute("BEGIN")
            return _check(SqliteTables(connection))
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreUnusable(f"{path}: can't be read as a store of ygg: {error}") from error


def _check(tables: SqliteTables) -> Report:
    checker = Checker(first_checked=tables.pruned_to())
    after = 0
    while rows := tables.journal(after, _PAGE, None):
        for row in rows:
            checker.feed(row)
        after = rows[-1].position
    return checker.finish(_statuses(tables.connection))


def _statuses(connection: sqlite3.Connection) -> Iterator[tuple[str, Status]]:
    for task_id, status in connection.execute("SELECT id, status FROM tasks"):
        yield task_id, Status(status)

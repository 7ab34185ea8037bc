"""A look at the embedded store's file without opening it as a dispatcher: no lock, no rescue.

For `ygg check` and `ygg doctor`. It writes nothing, and may be taken while a dispatcher works.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ygg.journal import Event, Kind
from ygg.stores.base import HostRow, StoreUnusable
from ygg.stores.rows import DamagedRow
from ygg.stores.schema import check_file, connect_reader
from ygg.stores.tables import SqliteTables
from ygg.stores.troubles import explain
from ygg.tasks import Lane, Status


@dataclass(frozen=True, kw_only=True, slots=True)
class Glance:
    #: The last CONFIGURED row: the fleet that a dispatcher last ran with. None: none ever did.
    configured: Event | None
    hosts: Mapping[str, HostRow]
    #: Ready tasks by lane.
    waiting: Mapping[Lane, int]
    counts: Mapping[Status, int]
    #: When a dispatcher last opened it, in seconds since the epoch.
    opened_at: float | None


def glance(path: Path) -> Glance | None:
    """None: there is no store there yet. Raises StoreUnusable."""
    if not path.exists():
        return None
    try:
        with closing(connect_reader(path)) as connection:
            connection.execute("BEGIN")  # all of it as of one moment
            if not check_file(connection, path):
                return None
            tables = SqliteTables(connection)
            waiting: Counter[Lane] = Counter()
            for (lane, _), count in tables.waiting().items():
                waiting[lane] += count
            opened = tables.last(Kind.OPENED)
            return Glance(
                configured=tables.last(Kind.CONFIGURED),
                hosts=tables.hosts(),
                waiting=waiting,
                counts=tables.by_status(),
                opened_at=None if opened is None else opened.at,
            )
    except (sqlite3.Error, DamagedRow) as error:
        raise StoreUnusable(explain(path, error)) from error

"""Looks at the embedded store: whether a dispatcher can open it, or has it open. May block.

Nothing in it is changed. What a running dispatcher says of it is dispatcher.py's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ygg.doctor.findings import Finding, ok, warning, wrong
from ygg.stores.base import StoreUnusable
from ygg.stores.glance import Glance, glance
from ygg.stores.lock import holder
from ygg.stores.schema import connect
from ygg.stores.troubles import remedy
from ygg.tasks import Status


def look_at(
    path: Path, running_pid: int | None, untold: Finding | None = None
) -> Iterator[Finding]:
    """Whether it can be used, and who has it open.

    Args:
        path: the store's file.
        running_pid: the process of the dispatcher that was asked, if it told.
        untold: why it did not tell, though somebody answered.
    """
    try:
        seen = glance(path)
    except StoreUnusable as error:
        yield _unusable(path, error)
        return
    if seen is None:
        yield ok(f"{path} will be made when it is first needed")
        return
    yield ok(f"{path} is a store of ygg: {_counts(seen)}")
    try:
        pid = holder(path)
    except OSError as error:
        cure = f"sudo chown -R $USER {path.parent}, or run ygg as its owner"
        yield wrong(f"its lock can't be looked at: {error.strerror}", cure)
        return
    if pid is not None and pid == str(running_pid):
        yield ok(f"the dispatcher that runs has it open (process {pid})")
    elif pid is not None:
        yield _held(pid, running_pid, untold)
    else:
        yield _writing(path)


def held_by(path: Path) -> str | None:
    """The process that has it open, as far as can be told: why not is told by `look_at`."""
    try:
        return holder(path)
    except OSError:
        return None


def _held(pid: str, running_pid: int | None, untold: Finding | None) -> Finding:
    """By a process that may well be a healthy dispatcher: nobody is told to end it."""
    if running_pid is None and untold is not None:
        return warning(
            f"process {pid} has it open; whether that is the dispatcher that was asked is not "
            f"known: {untold.what}",
            untold.remedy,
        )
    asked = "no dispatcher answers" if running_pid is None else f"process {running_pid} answers"
    return wrong(
        f"process {pid} has it open, and {asked} where it was asked",
        f"say with --url where process {pid} listens (`ps -fp {pid}` shows what it is), or name "
        "another store with --state",
    )


def _counts(seen: Glance) -> str:
    return ", ".join(f"{seen.counts.get(status, 0)} {status.value}" for status in Status)


def _writing(path: Path) -> Finding:
    """Whether it takes writes: a transaction is begun, and taken back."""
    try:
        with closing(connect(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except StoreUnusable as error:
        return _unusable(path, error)
    except sqlite3.Error as error:
        return _failed(path, error)
    return ok("nobody has it open, and it takes writes")


def _unusable(path: Path, error: StoreUnusable) -> Finding:
    if isinstance(error.__cause__, sqlite3.Error):
        return _failed(path, error.__cause__)
    what, _, cure = str(error).rpartition(": ")
    return wrong(what, cure)


def _failed(path: Path, error: sqlite3.Error) -> Finding:
    cure = remedy(error) or "name another with --state DIR, or restore a backup"
    return wrong(f"{path} can't be used ({error})", cure)

"""SQLite's errors in words that a person can act on, and which of them are the disk's fault."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from ygg.stores.base import StoreError
from ygg.stores.rows import DamagedRow

_REMEDIES: Final = {
    "SQLITE_FULL": "the disk is full: make room; it goes on by itself",
    "SQLITE_NOTADB": "this is not an SQLite file: move it away to start empty, or restore a backup",
    "SQLITE_CORRUPT": "the file is damaged: restore a backup, or save what can be read with "
    "`sqlite3 FILE .recover`",
    "SQLITE_READONLY": "it can't be written to: check owner and mode of the file and its folder",
    "SQLITE_CANTOPEN": "it can't be opened: check that the folder exists and may be written to",
    "SQLITE_IOERR": "the disk failed, or a limit of it was reached: look at the kernel's log "
    "(dmesg) and at quotas",
    "SQLITE_BUSY": "another program has locked it (an sqlite3 shell, a backup): end that",
    "SQLITE_PROTOCOL": "another program keeps locking it: end that",
}


def is_disk(error: Exception) -> bool:
    """The disk's fault: full, failing, read-only. The same write may well succeed later."""
    return _name(error).startswith(tuple(_REMEDIES))


def lasts(error: Exception) -> bool:
    """The same write would fail again: what it holds fits no file, or a row it needs is damaged."""
    passing = (StoreError, sqlite3.OperationalError, MemoryError, OSError)
    return not isinstance(error, passing) and not is_disk(error)


def remedy(error: Exception) -> str | None:
    """What a person can do; None: that error is not known here."""
    name = _name(error)
    return next((text for start, text in _REMEDIES.items() if name.startswith(start)), None)


def explain(path: Path, error: Exception) -> str:
    if (known := remedy(error)) is not None:
        return f"{path}: {known} ({_name(error)}: {error})"
    if isinstance(error, DamagedRow):
        return f"{path}: {error}"
    # Not its repr: that of a UnicodeEncodeError holds the whole text.
    return f"{path}: {type(error).__name__}: {error}"


def _name(error: Exception) -> str:
    return getattr(error, "sqlite_errorname", None) or ""

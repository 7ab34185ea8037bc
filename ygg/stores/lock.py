"""One dispatcher a store: a lock on a file beside it, which ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ygg import locks
from ygg.folders import make_folder
from ygg.stores.base import StoreUnusable


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the store's exclusive lock, and make its folder.

    Raises StoreUnusable when somebody has it, or no file can be made.
    """
    # Not on the store's own file: to close a second descriptor of that drops SQLite's locks.
    place = path.with_name(path.name + ".lock")
    try:
        make_folder(path.parent)
        lock = locks.opened(place)
    except OSError as error:
        raise StoreUnusable(
            f"{place}: can't be made ({error.strerror}): "
            "give ygg a folder it may write to, with --state DIR or `dispatcher: state:`"
        ) from error
    try:
        _claim(lock, path, place)
        yield
    finally:
        # Said aloud: a child that is just being started may hold a copy of the descriptor.
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def _claim(lock: int, path: Path, place: Path) -> None:
    try:
        locks.claim(lock, str(os.getpid()))
    except locks.Held as held:
        raise StoreUnusable(
            f"{path}: another dispatcher (process {held.holder or 'unknown'}) has this store open: "
            "end it first, or give this one a store of its own with --state DIR"
        ) from None
    except OSError as error:
        raise StoreUnusable(
            f"{place}: can't be locked ({error.strerror}): put the store on a local disk with room"
        ) from error


def holder(path: Path) -> str | None:
    """The process that has the store's lock, as it says itself; None: nobody has it.

    Raises OSError. It takes the lock for an instant, if it is free and its file is there.
    """
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(lock, fcntl.LOCK_UN)
    except BlockingIOError:
        return locks.holder_of(lock) or "unknown"
    finally:
        os.close(lock)
    return None

"""A lock on a file: one process at a time has it, and with that process it ends.

Who has it stands in the file, for whoever comes second. What the lock is for, and the words of its
error, are its users'.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from ygg.folders import FILE_MODE

_HOLDER_BYTES: Final = 200


class Held(Exception):
    """Another process has the lock; `holder`: as it says itself, "" if it says nothing."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


def take(place: Path, holder: str) -> int:
    """Its descriptor, with the lock: to close it lets the lock go. Raises Held, OSError.

    Args:
        place: the file, made if need be; its folder must be there.
        holder: who has it from now on, in a line.
    """
    lock = opened(place)
    try:
        claim(lock, holder)
    except BaseException:
        os.close(lock)
        raise
    return lock


def opened(place: Path) -> int:
    """The file's descriptor, without the lock. Raises OSError."""
    return os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)


def claim(lock: int, holder: str) -> None:
    """Have the lock of an open file. Raises Held, OSError."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Held(holder_of(lock)) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{holder}\n".encode(), 0)


def holder_of(lock: int) -> str:
    """Who says in the file that it has the lock."""
    return os.pread(lock, _HOLDER_BYTES, 0).decode(errors="replace").strip()

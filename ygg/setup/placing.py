"""Puts a new file where none is: whole, on disk, and never over another."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_MODE: Final = 0o644


class CantWrite(Exception):
    """The file is not there; the message says why and what to do."""


def exists_already(path: Path) -> CantWrite:
    return CantWrite(
        f"{path} is there already and is never written over: name another with --output FILE, "
        "print with --output -, or move it away first"
    )


def create(path: Path, text: str) -> None:
    """Make the file with this text, durable when it returns. Raises CantWrite."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    except FileExistsError as error:
        raise exists_already(path) from error
    except OSError as error:
        raise _refused(path, error) from error
    try:
        try:
            data = memoryview(text.encode())
            while data:
                data = data[os.write(file, data) :]
            os.fsync(file)
        finally:
            os.close(file)
        _sync_folder(path.parent)
    except BaseException as error:
        # Ctrl-C too: half a file is worse than none.
        with suppress(OSError):
            path.unlink()
        if isinstance(error, OSError):
            raise _refused(path, error) from error
        raise


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _refused(path: Path, error: OSError) -> CantWrite:
    return CantWrite(
        f"{path} can't be written: {error.strerror}; make its folder, or name another place with "
        "--output FILE (- prints)"
    )

"""A Unix socket to listen on: never open to all, never taken from a process that lives."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Final

#: The owner and the group may come in, nobody else.
_MODE: Final = 0o660
_PATIENCE_SECONDS: Final = 1.0


class Taken(Exception):
    """Something else is at the path; the message says what, and what to do."""


def bind_unix(path: Path) -> socket.socket:
    """A bound socket, which does not listen yet. Raises Taken, OSError."""
    _make_room(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Before it has a name: it is not open to others for a moment, whatever the umask is.
        os.fchmod(bound.fileno(), _MODE)
        bound.bind(os.fspath(path))
        path.chmod(_MODE)  # what the umask took away
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound


def _make_room(path: Path) -> None:
    """Remove the socket of a dead process. Raises Taken, OSError."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Taken(f"{path} is there and is no socket: choose another path, or move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PATIENCE_SECONDS)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)  # a process that was killed leaves it behind
            return
        except FileNotFoundError:
            return
        except (BlockingIOError, TimeoutError):
            pass  # it lives: its queue is full
    raise Taken(f"another process listens at {path}: end it, or choose another path")


def identity(path: Path) -> tuple[int, int]:
    """Which file it is, whatever is put there later. Raises OSError."""
    found = path.lstat()
    return found.st_dev, found.st_ino


def remove_unix(path: Path, was: tuple[int, int]) -> None:
    """Remove our socket, unless another's stands there by now."""
    try:
        if identity(path) == was:
            path.unlink()
    except FileNotFoundError:
        pass

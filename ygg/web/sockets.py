"""Sockets to listen on. A Unix one is never open to all, and never taken from a living process."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

from ygg.addresses import HostPort

#: The owner and the group may come in, nobody else.
_MODE: Final = 0o660
_PATIENCE_SECONDS: Final = 1.0


#: Of a name's addresses, one for which this machine has no network is no mistake.
_ELSEWHERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class Taken(Exception):
    """Something else is at the path; the message says what, and what to do."""


async def bind_tcp(address: HostPort) -> list[socket.socket]:
    """Bound sockets, one for each address that the host is; none listens yet. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    elsewhere: OSError | None = None
    try:
        for family, _, _, _, name in dict.fromkeys(found):
            try:
                sockets.append(_bound(family, name))
            except OSError as error:
                if error.errno not in _ELSEWHERE:
                    raise
                elsewhere = error
    except BaseException:
        for one in sockets:
            one.close()
        raise
    if elsewhere is not None and not sockets:
        raise elsewhere
    return sockets


def _bound(family: int, name: tuple[object, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(name)
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound


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

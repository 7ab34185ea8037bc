"""Looks at this machine: folders, clock, doors, tokens. May block: call it on a thread.

It leaves nothing behind, and makes no folder that is not there yet.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import struct
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from ygg.addresses import HostPort, UnixPath, is_loopback, parse_address
from ygg.atomic import Disk
from ygg.doctor.findings import Finding, ok, warning, wrong
from ygg.fleet import DispatcherSettings
from ygg.secrets import SecretError

_GIB: Final = 2**30
#: Under so much free space is it wrong, or soon will be.
_SPACE_WRONG: Final = 0.1 * _GIB
_SPACE_LOW: Final = 2 * _GIB
#: A sync slower than this slows every accept down to it.
_SYNC_SLOW_SECONDS: Final = 0.5
#: A process, its user and its group (unix(7)).
_CREDENTIALS: Final = struct.Struct("3i")
#: A full disk may still take a few bytes into what it has allotted.
_PROBE_BYTES: Final = 65536
#: Before this second no dispatcher ran: a clock that shows it was never set.
_CLOCK_LEAST: Final = 1_735_689_600.0  # 2025


def folder(path: Path) -> Finding:
    """Whether files can be written there durably, and whether there is room."""
    if not path.exists():
        nearest = next(parent for parent in path.absolute().parents if parent.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            return wrong(
                f"{path} is not there, and can't be made in {nearest}",
                f"sudo install -d -o $USER {path}, or name another place with --state DIR",
            )
        return _space(nearest, f"{path} will be made when it is first needed")
    began = time.monotonic()
    try:
        _probe(path)
    except OSError as error:
        return wrong(f"{path} takes no file: {error.strerror or error}", _cure(error, path))
    seconds = time.monotonic() - began
    if seconds > _SYNC_SLOW_SECONDS:
        return warning(
            f"{path} took {seconds:.1f} s to write and sync a small file: every accept waits for "
            "that",
            "put the state on a faster local disk, with --state DIR or `dispatcher: state:`",
        )
    return _space(path, f"{path} takes files, one synced in {seconds * 1000:.0f} ms")


def _probe(path: Path) -> None:
    """Write a file as an answer is written, and remove it. Raises OSError."""
    disk = Disk()
    folder = disk.open_folder(path, follow=True)
    # Should we be killed here, the dispatcher's sweep knows the name.
    name = f".probe.{secrets.token_hex(4)}.0.tmp"
    try:
        file = disk.create(name, folder)
        try:
            disk.write(file, memoryview(bytes(_PROBE_BYTES)))
            disk.sync(file)
        finally:
            disk.close(file)
            disk.remove(name, folder)
        disk.sync(folder)
    finally:
        disk.close(folder)


def _cure(error: OSError, path: Path) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "free space there, or name another place with --state DIR"
        case errno.EACCES | errno.EPERM:
            return f"sudo chown -R $USER {path}, or run ygg as its owner"
        case errno.EROFS:
            return "mount it writable, or name another place with --state DIR"
        case errno.ENOTDIR | errno.EEXIST:
            return f"move away what stands at {path}: it is no folder"
        case _:
            return "look at the kernel's log (dmesg), or name another place with --state DIR"


def _space(path: Path, otherwise: str) -> Finding:
    try:
        free = shutil.disk_usage(path).free
    except OSError as error:
        return wrong(f"{path}: its free space can't be told: {error.strerror}", f"df {path}")
    left = f"{otherwise}; {free / _GIB:.1f} GiB are free"
    if free < _SPACE_WRONG:
        return wrong(left, f"free space there (df {path}), or shorten `dispatcher: retention:`")
    if free < _SPACE_LOW:
        return warning(left, f"free space there (df {path}), or shorten `retention:` in time")
    return ok(left)


def clock(
    before: tuple[float, float], after: tuple[float, float], last_row_at: float | None
) -> list[Finding]:
    """What two looks at wall clock and monotonic clock show, and the store's last opening. Pure."""
    wall, steady = after[0] - before[0], after[1] - before[1]
    found: list[Finding] = []
    if after[0] < _CLOCK_LEAST:
        found.append(wrong("this machine's clock was never set", "timedatectl set-ntp true"))
    if abs(wall - steady) > 1:
        found.append(
            warning(
                f"the clock jumped by {wall - steady:+.1f} s within {steady:.1f} s",
                "let NTP slew it instead of stepping it: chronyc makestep once, then leave it",
            )
        )
    if last_row_at is not None and last_row_at > after[0] + 60:
        found.append(
            warning(
                f"the store was opened {last_row_at - after[0]:.0f} s in the future: the clock "
                "was set back since; order is kept, waiting times are not right",
                "timedatectl status: see which of the two times was wrong",
            )
        )
    return found or [ok("the clock runs steadily")]


def door(
    listen: str, running: bool, doubt: Finding | None = None, pids: Collection[str] = ()
) -> Finding:
    """Whether a dispatcher could listen there.

    Args:
        listen: the address.
        running: ours does.
        doubt: why it may be a dispatcher's if it is taken: nobody is told to end that.
        pids: of dispatchers. The system tells who listens at a socket, for a port only root.
    """
    address = parse_address(listen)
    if running:
        return ok(f"{listen} is the dispatcher's that runs")
    if isinstance(address, UnixPath):
        return _unix_door(address.path, doubt, pids)
    try:
        with closing(_bind(address)):
            return ok(f"{listen} is free")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            if doubt is not None:
                return warning(f"{listen} is taken; {doubt.what}", doubt.remedy)
            return wrong(
                f"{listen} is taken by another program",
                f"ss -ltnp 'sport = :{address.port}' says which; end it, or listen elsewhere: "
                "`dispatcher: {listen: HOST:PORT}`",
            )
        return wrong(
            f"{listen} can't be listened at: {error.strerror or error}",
            "write an address of this machine (ip addr) as `dispatcher: {listen: HOST:PORT}`; "
            "ports under 1024 need root",
        )


def _bind(address: HostPort) -> socket.socket:
    """Raises OSError."""
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, where = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
    except OSError:
        bound.close()
        raise
    return bound


def _unix_door(path: Path, doubt: Finding | None, pids: Collection[str]) -> Finding:
    if not path.exists():
        if path.parent.is_dir() and os.access(path.parent, os.W_OK | os.X_OK):
            return ok(f"unix:{path} is free")
        return wrong(
            f"unix:{path}: its folder is not there or takes no files",
            f"sudo install -d -o $USER {path.parent}",
        )
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return ok(f"unix:{path} was left by a dispatcher that ended, and is taken over")
        except OSError as error:
            return wrong(f"unix:{path} can't be used: {error.strerror or error}", f"ls -l {path}")
        listens = _peer(probe)
    if listens in pids:
        return ok(f"unix:{path} is that of the dispatcher that runs (process {listens})")
    if doubt is not None:
        return warning(f"unix:{path} is taken; {doubt.what}", doubt.remedy)
    return wrong(
        f"unix:{path}: another process listens there",
        f"lsof {path} says which; end it, or listen elsewhere",
    )


def _peer(connected: socket.socket) -> str:
    """The process that listens at the Unix socket which was connected to."""
    told = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, _user, _group = _CREDENTIALS.unpack(told)
    return str(pid)


def tokens(settings: DispatcherSettings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the tokens are where hosts.yaml says, and are asked for where they must be."""
    from ygg.web.auth import HOW_TO_MAKE, load_tokens

    if settings.token_from is None:
        if needs_token(settings):
            yield wrong("a token is needed to listen so, and the file names none", HOW_TO_MAKE)
        else:
            yield ok("none is needed on loopback")
        return
    try:
        loaded = load_tokens(settings.token_from, environ)
    except SecretError as error:
        yield wrong(str(error), "ygg token new --file PATH, and `token_from: file:PATH`")
        return
    if loaded.warning is not None:
        what, _, remedy = loaded.warning.rpartition(": ")
        yield warning(what, remedy)
    count = len(loaded.tokens)
    yield ok("1 token lets clients in" if count == 1 else f"{count} tokens let clients in")


def needs_token(settings: DispatcherSettings) -> bool:
    """Whether nobody may listen as these settings say without a token."""
    if settings.token == "always" or settings.names:  # noqa: S105 - a word of ours
        return True
    addresses = [parse_address(text) for text in settings.listen]
    return any(
        isinstance(one, HostPort) and not is_loopback(one.host) and one.host != "localhost"
        for one in addresses
    )

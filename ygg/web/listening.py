"""Serves an application at addresses: so many connections, none of them idle or stuck for ever.

aiohttp by itself takes any number, waits for ever, and would unpack bodies before the guard has
seen their head. What comes in over a connection is guard.py's.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Final, cast

from aiohttp import web

from ygg import addresses
from ygg.addresses import Address, UnixPath, parse_address
from ygg.web.auth import HOW_TO_MAKE, Access
from ygg.web.connections import TIMES, Connection, Times
from ygg.web.guard import ACCESS
from ygg.web.limits import LIMITS, Limits
from ygg.web.sockets import Taken, bind_tcp, bind_unix, identity, remove_unix

log = logging.getLogger("ygg.web")

_SHUTDOWN_SECONDS: Final = 2.0
#: Connections that wait to be let in.
_BACKLOG: Final = 128
_BODY: Final = (
    b'{"type":"urn:ygg:problem:busy","title":"Too many connections","status":503,'
    b'"detail":"as many connections are open as are allowed: close some, or try again later"}'
)
_BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Content-Type: application/problem+json\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


class CantListen(Exception):
    """An address can't be had, or may not; the message says why and what to do."""


@asynccontextmanager
async def listening(
    app: web.Application,
    listen: Sequence[str],
    *,
    is_loopback: Callable[[str], bool] = addresses.is_loopback,
) -> AsyncIterator[Doors]:
    """Take all the addresses, to serve there from `open` to the end of the block.

    Each is HOST:PORT or unix:PATH. Raises CantListen.
    """
    loop = asyncio.get_running_loop()
    app[TIMES] = Times(app[LIMITS], loop.time)
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_SECONDS
    )
    await runner.setup()
    assert runner.server is not None
    reception = _Reception(runner.server, app[LIMITS], app[TIMES], loop)
    async with AsyncExitStack() as stack:
        doors = Doors(app[ACCESS], reception)
        stack.push_async_callback(doors.close, runner)
        for address in map(parse_address, listen):
            with _told(address):
                door = await _take(address, is_loopback, stack)
            doors.add(door)
        yield doors


class Doors:
    """The addresses that were taken."""

    def __init__(self, access: Access, reception: _Reception) -> None:
        self._access = access
        self._reception = reception
        self._doors: list[_Door] = []

    @property
    def addresses(self) -> tuple[Address, ...]:
        """As they are, with the ports that were free."""
        return tuple(door.address for door in self._doors)

    def add(self, door: _Door) -> None:
        """Raises CantListen: it is one for which a token is needed."""
        self._doors.append(door)
        if not door.is_private and not self._access.tokens:
            raise CantListen(
                f"{door.address} can be reached from other machines, which needs a token, and there "
                f"is none: {HOW_TO_MAKE}; or listen on 127.0.0.1:PORT"
            )

    async def open(self) -> None:
        """Let clients in. Raises CantListen."""
        for door in self._doors:
            with _told(door.address):
                await self._reception.open(door)
            _log(door, needs_token=self._access.always or not door.is_private)
        self._reception.sweep()

    async def close(self, runner: web.AppRunner) -> None:
        self._reception.close()
        last = self._reception.connections
        await runner.cleanup()
        for connection in last:
            connection.abort()  # one that takes nothing would keep its door from closing
        await self._reception.closed()
        for door in self._doors:
            for bound in door.sockets:
                bound.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Door:
    address: Address
    #: Only this machine's users reach it.
    is_private: bool
    sockets: Sequence[socket.socket]


def _log(door: _Door, *, needs_token: bool) -> None:
    token = "needed" if needs_token else "none"
    if door.is_private:
        log.info("event=listening address=%r token=%s", str(door.address), token)
    else:
        log.warning(
            "event=listening address=%r token=%s hint='nothing is encrypted here: where others "
            "share the network, let a reverse proxy do TLS'",
            str(door.address), token,
        )  # fmt: skip


@contextmanager
def _told(address: Address) -> Iterator[None]:
    try:
        yield
    except Taken as error:
        raise CantListen(f"can't listen on {address}: {error}") from error
    except OSError as error:
        raise CantListen(f"can't listen on {address}: {_why(error, address)}") from error


async def _take(
    address: Address, is_loopback: Callable[[str], bool], stack: AsyncExitStack
) -> _Door:
    """Raises Taken, OSError."""
    if isinstance(address, UnixPath):
        bound = bind_unix(address.path)
        stack.callback(remove_unix, address.path, identity(address.path))
        # At once, so that it is not taken for that of a dead process; clients wait in its queue.
        bound.listen(_BACKLOG)
        return _Door(address=address, is_private=True, sockets=[bound])
    sockets = await bind_tcp(address)
    names = [bound.getsockname() for bound in sockets]
    return _Door(
        address=replace(address, port=names[0][1]),
        is_private=all(is_loopback(name[0]) for name in names),
        sockets=sockets,
    )


def _why(error: OSError, address: Address) -> str:
    if isinstance(error, socket.gaierror):
        return f"{error.strerror}: write an address of this machine, such as 127.0.0.1:8765"
    if error.errno == errno.EADDRINUSE:
        remedy = "another ygg may be running there: end it, or choose another address with --listen"
        return f"the address is in use; {remedy}"
    remedy = "choose another address with --listen"
    if isinstance(address, UnixPath) and error.errno == errno.ENOENT:
        remedy = f"make the folder {address.path.parent} (in a systemd unit: RuntimeDirectory=)"
    return f"{error.strerror}; {remedy}"


class _Reception:
    """Lets connections in up to the limit, and sees them out when their time is up."""

    def __init__(
        self,
        server: web.Server,
        limits: Limits,
        times: Times[Connection],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._server = server
        self._limits = limits
        self._times = times
        self._loop = loop
        self._servers: list[asyncio.Server] = []
        self._has_socket = False
        self._timer: asyncio.TimerHandle | None = None
        #: Let in, but not yet among the server's connections: they are, one turn of the loop later.
        self._entering = 0

    @property
    def connections(self) -> list[Connection]:
        return [one for one in self._server.connections if isinstance(one, Connection)]

    async def open(self, door: _Door) -> None:
        """Raises OSError."""
        self._has_socket = self._has_socket or isinstance(door.address, UnixPath)
        for bound in door.sockets:
            # By ourselves: uvloop says nothing when it can't.
            bound.listen(_BACKLOG)
            serve = (
                self._loop.create_unix_server
                if bound.family == socket.AF_UNIX
                else self._loop.create_server
            )
            self._servers.append(
                await serve(lambda: self._enter(door), sock=bound, backlog=_BACKLOG)
            )

    def _enter(self, door: _Door) -> asyncio.BaseProtocol:
        limits = self._limits
        if len(self._server.connections) + self._entering >= self._most(door):
            return _Busy()
        self._entering += 1
        self._loop.call_later(0, self._entered)
        return Connection(self._server, is_private=door.is_private, limits=limits, loop=self._loop)

    def _most(self, door: _Door) -> int:
        """With so many open, whoever comes by this door is told to come later."""
        limits = self._limits
        if isinstance(door.address, UnixPath):
            return limits.connections
        if not door.is_private:
            return limits.connections - limits.connections_kept
        return limits.connections - (limits.connections_of_socket if self._has_socket else 0)

    def _entered(self) -> None:
        self._entering -= 1

    def sweep(self) -> None:
        connections = self.connections
        for overdue in self._times.overdue(connections):
            overdue.abort()
        for stuck in self._times.stuck({one: one.pending_bytes for one in connections}):
            stuck.abort()
        self._timer = self._loop.call_later(self._limits.sweep_seconds, self.sweep)

    def close(self) -> None:
        """Let nobody in any more."""
        if self._timer is not None:
            self._timer.cancel()
        for server in self._servers:
            server.close()

    async def closed(self) -> None:
        for server in self._servers:
            await server.wait_closed()


class _Busy(asyncio.Protocol):
    """Says that we are full, and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        cast("asyncio.WriteTransport", transport).write(_BUSY)
        transport.close()

"""Serves an application at an address: so many connections, none of them idle for ever.

aiohttp by itself takes any number, and would unpack bodies before the guard has seen their head.
What comes in over a connection is guard.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast

from aiohttp import web

from ygg.web.guard import CONNECTIONS, LIMITS, Connections, is_loopback

#: How long we go on reading a body that nobody wants, so that the client gets to read why.
_LINGER_SECONDS: Final = 2.0
_SHUTDOWN_SECONDS: Final = 2.0
_BODY: Final = (
    b'{"type":"urn:ygg:problem:busy","title":"Too many connections","status":503,'
    b'"detail":"as many connections are open as are allowed: close some, or try again later"}'
)
_BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Content-Type: application/problem+json\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


class NotLoopback(Exception):
    """The address can be reached from other machines: that needs a token."""


@asynccontextmanager
async def listening(app: web.Application, listen: str) -> AsyncIterator[str]:
    """Serve at HOST:PORT until the end of the block; gives HOST:PORT as bound.

    Raises OSError (the address is in use, is not ours), NotLoopback.
    """
    loop = asyncio.get_running_loop()
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    limits = app[LIMITS]
    app[CONNECTIONS] = Connections(limits, loop.time)
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        auto_decompress=False,
        keepalive_timeout=limits.idle_seconds,
        lingering_time=_LINGER_SECONDS,
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    await runner.setup()
    door = _Door(app, cast("web.Server", runner.server), loop)
    server: asyncio.Server | None = None
    try:
        server = await loop.create_server(
            door.enter, host, int(port), reuse_address=True, start_serving=False
        )
        addresses = [socket.getsockname() for socket in server.sockets]
        for address in addresses:
            if not is_loopback(address[0]):
                raise NotLoopback(
                    f"{listen} can be reached from other machines, which needs a token, and "
                    "this version has none: listen on 127.0.0.1:PORT"
                )
        await server.start_serving()
        door.sweep()
        yield f"{f'[{host}]' if ':' in host else host}:{addresses[0][1]}"
    finally:
        door.close()
        if server is not None:
            server.close()
        await runner.cleanup()
        if server is not None:
            await server.wait_closed()


class _Door:
    """Lets connections in up to the limit, and sees them out when their time is up."""

    def __init__(
        self, app: web.Application, server: web.Server, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._connections = app[CONNECTIONS]
        self._limits = app[LIMITS]
        self._server = server
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        #: Let in, but not yet among the server's connections: they are, one turn of the loop later.
        self._entering = 0

    def enter(self) -> asyncio.BaseProtocol:
        if len(self._server.connections) + self._entering >= self._limits.connections:
            return _Busy()
        self._entering += 1
        self._loop.call_later(0, self._entered)
        return self._server()

    def _entered(self) -> None:
        self._entering -= 1

    def sweep(self) -> None:
        for overdue in self._connections.overdue(self._server.connections):
            overdue.force_close()
        self._timer = self._loop.call_later(self._limits.sweep_seconds, self.sweep)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class _Busy(asyncio.Protocol):
    """Says that we are full, and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(_BUSY)
        transport.close()

"""One HTTP/1.1 connection to a dispatcher, over asyncio's streams and h11.

Importing a whole HTTP library takes longer than `ygg status` may. Which connection is used for
what, and what is tried again, is left to the transport.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

import h11

from ygg.client.address import Address

Headers = Sequence[tuple[str, str]]

_READ_BYTES: Final = 64 * 1024


class Broken(Exception):
    """The connection ended, or what came over it is not HTTP; the message says which."""


class TooLong(Exception):
    """The body has more bytes than are taken."""


@dataclass(frozen=True, slots=True)
class Head:
    status: int
    #: Names in lower case.
    headers: dict[str, str]


class Connection:
    """Carries one request after the other. A caller that stops half-way must close it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._state = h11.Connection(h11.CLIENT)
        #: Seconds of the loop's clock at which its last answer was whole.
        self.idle_since = 0.0

    @classmethod
    async def open(cls, address: Address, tls: ssl.SSLContext | None) -> Self:
        """Raises OSError."""
        if address.socket is not None:
            return cls(*await asyncio.open_unix_connection(address.socket))
        return cls(*await asyncio.open_connection(address.host, address.port, ssl=tls))

    async def ask(self, method: str, target: str, headers: Headers, body: bytes = b"") -> Head:
        """Send a request, and read the head of its answer. Raises Broken."""
        try:
            request = h11.Request(method=method, target=target, headers=list(headers))
            sent = [self._state.send(request)]
            if body:
                sent.append(self._state.send(h11.Data(data=body)))
            sent.append(self._state.send(h11.EndOfMessage()))
        except h11.LocalProtocolError as error:
            raise Broken(f"this can't be asked over HTTP: {error}") from error
        # Not waited for: a server that refuses a long body answers before it has taken it.
        self._writer.write(b"".join(part for part in sent if part))
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Response):
                found = {name.decode(): value.decode("latin-1") for name, value in event.headers}
                return Head(event.status_code, found)

    async def body(self) -> AsyncIterator[bytes]:
        """What follows the head, as it comes. Raises Broken."""
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return

    async def read(self, most: int) -> bytes:
        """The whole body. Raises Broken, TooLong."""
        parts, size = list[bytes](), 0
        async for part in self.body():
            size += len(part)
            if size > most:
                raise TooLong
            parts.append(part)
        return b"".join(parts)

    def rest(self, now: float) -> bool:
        """An answer was read whole: whether the connection can carry another one."""
        if (self._state.our_state, self._state.their_state) != (h11.DONE, h11.DONE):
            return False
        self._state.start_next_cycle()
        self.idle_since = now
        return True

    @property
    def is_open(self) -> bool:
        """As far as is known: a server that just ended may not have been heard of."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    def close(self) -> None:
        # What is still to be sent is of no use: nobody waits for its answer any more.
        self._writer.transport.abort()

    async def closed(self) -> None:
        """Wait for the end of a connection that was told to close."""
        with suppress(OSError):  # it is of no use any more: how it ended changes nothing
            await self._writer.wait_closed()

    async def _next_event(self) -> h11.Event:
        try:
            while (event := self._state.next_event()) is h11.NEED_DATA:
                self._state.receive_data(await self._reader.read(_READ_BYTES))
        except OSError as error:
            raise Broken(error.strerror or str(error) or type(error).__name__) from error
        except h11.RemoteProtocolError as error:
            raise Broken(_in_words(self._state, error)) from error
        if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
            raise Broken("it sent what was not asked for")
        assert isinstance(event, h11.Event)
        return event


def _in_words(state: h11.Connection, error: h11.RemoteProtocolError) -> str:
    received, ended = state.trailing_data
    if ended and not received:
        return "the connection ended before the whole answer had come"
    return f"what answers does not speak HTTP: {error}"

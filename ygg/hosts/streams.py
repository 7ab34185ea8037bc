"""What reading a stream takes, whatever is in it: lines out of pieces, and a cheap alarm."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

#: The longest answer in one line, were every second character escaped.
LINE_BYTES_MAX: Final = 16 * 2**20


class LineTooLong(Exception):
    """A line did not end within LINE_BYTES_MAX."""


class Lines:
    """Cuts what a socket gives into lines, in linear time and bounded memory.

    aiohttp's readline gives up at 512 KiB. Text is decoded after this: a character may be split
    over two pieces, but never over two lines.
    """

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that are whole now, without their newlines. Raises LineTooLong."""
        *lines, rest = piece.split(b"\n")
        if lines and self._rest:
            lines[0] = bytes(self._rest + lines[0])
            self._rest.clear()
        self._rest += rest
        if len(self._rest) > LINE_BYTES_MAX:
            raise LineTooLong(f"a line of more than {LINE_BYTES_MAX >> 20} MiB")
        return lines

    @property
    def rest(self) -> bytes:
        """What came after the last newline."""
        return bytes(self._rest)


class TimeUp(Exception):
    """The alarm rang."""


class Alarm:
    """Like asyncio.timeout, but moving it on costs nothing: the timer looks anew when it fires.

    A stall limit moves with every token.
    """

    __slots__ = ("_cancelling", "_deadline", "_handle", "_loop", "_rang", "_task")

    def __init__(self, deadline: float) -> None:
        """Args: `deadline` by the running loop's clock."""
        self._deadline = deadline
        self._rang = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None, "an alarm interrupts a task, and there is none"
        self._task = task
        self._cancelling = task.cancelling()
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_at(self._deadline, self._fire)
        return self

    def set(self, deadline: float) -> None:
        self._deadline = deadline
        if deadline < self._handle.when() and not self._rang:
            self._handle.cancel()
            self._handle = self._loop.call_at(deadline, self._fire)

    def _fire(self) -> None:
        if self._loop.time() < self._deadline:
            self._handle = self._loop.call_at(self._deadline, self._fire)
        else:
            self._rang = True
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._handle.cancel()
        if not self._rang:
            return
        # Somebody else may have cancelled us as well: that goes before a limit of ours.
        only_we = self._task.uncancel() <= self._cancelling
        if only_we and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeUp from error

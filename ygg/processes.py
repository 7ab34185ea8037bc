"""Run one program to its end, and leave nothing of it behind.

Never a shell. The program has a session and a process group of its own; whatever of the group is
still there when the program ends, is stopped or runs out of time is killed, because a slot that
is given back must be free. What can't be done from here: if the dispatcher itself is killed, its
programs live on (systemd ends them with the unit's control group). What an exit code means is
left to handlers.

Not `asyncio.create_subprocess_exec`. Its pipes are sockets (asyncio's for input, all of uvloop's),
which `/dev/stdin` and `/dev/stderr` of a script can't open; uvloop leaks them into grandchildren and
cuts arguments at a NUL; asyncio's exit shows only when everybody who inherited a pipe has closed
it. With `subprocess` and pipes of our own both loops behave the same.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Final

from ygg.lines import Lines

logger = logging.getLogger(__name__)

#: The end of standard error that is kept for the task's error.
_TAIL_LINES: Final = 10
_TAIL_CHARACTERS: Final = 1000
#: Death by SIGKILL is at once, except for a process inside a hung driver or file system.
_KILL_SECONDS: Final = 10.0


class End(Enum):
    EXITED = "exited"
    TIMEOUT = "timeout"
    TOO_LONG = "too_long"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a program ended, and what it had said."""

    end: End
    #: Its exit code; negative: the signal that killed it. None: it could not be killed.
    code: int | None
    output: bytes
    #: The last lines of its standard error, printable, on one line.
    tail: str


async def run_process(
    argv: Sequence[str],
    *,
    data: bytes,
    environment: Mapping[str, str],
    cwd: str | None,
    timeout: float,  # noqa: ASYNC109 - the group has to be ended before the caller goes on
    grace: float,
    output_max: int,
    heard: Callable[[str], None],
    started: Callable[[int], None] = lambda _pid: None,
) -> Ended:
    """Run a program with `data` on its standard input.

    Cancelled, once or often: its group is ended and it is reaped, then CancelledError goes on.
    Raises OSError or ValueError when it can't be started.

    Args:
        argv: the program, looked for in PATH of `environment`, and its arguments.
        data: what it gets on standard input; it need not read it.
        environment: all of its environment.
        cwd: its working folder; None: ours.
        timeout: seconds until its group is ended.
        grace: seconds from SIGTERM to SIGKILL, and from its exit to the end of its output, if
            something that it started still holds the pipe.
        output_max: bytes of standard output after which its group is ended.
        heard: called with each line of standard error, bounded and printable.
        started: called with its process id, which is its group's too.
    """
    child = _Child(output_max, heard)

    async def whole() -> Ended:
        try:
            started(await child.start(argv, environment, cwd))
            child.feed(data)
            return await child.to_its_end(timeout, grace)
        finally:
            await child.release()

    running = asyncio.ensure_future(whole())
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            # Shielded: a cancel asks it to stop, and never tears it away from its group.
            await asyncio.shield(running)
        except asyncio.CancelledError as error:
            cancelled = error
            child.stop()
    if cancelled is not None:
        raise cancelled from (None if running.cancelled() else running.exception())
    return running.result()


class _Stream(asyncio.Protocol):
    """Our end of one of the program's standard streams."""

    def __init__(self, received: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self.open = True
        self._received = received
        self._lost = lost

    def data_received(self, data: bytes) -> None:
        self._received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        # An error is no news: a program need not read its input, and its exit code tells the rest.
        self.open = False
        self._lost()


class _Child:
    """What is known of the program."""

    def __init__(self, output_max: int, heard: Callable[[str], None]) -> None:
        self._output = bytearray()
        self._output_max = output_max
        self._too_long = False
        self._heard = heard
        self._lines = Lines()
        self._tail = deque[str](maxlen=_TAIL_LINES)
        self._exited = False
        #: Its caller was cancelled.
        self._stopping = False
        self._released = False
        self._news = asyncio.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._readers: list[_Stream] = []
        self._transports: list[asyncio.BaseTransport] = []
        self._writer = _Stream(self._take, self._news.set)
        self._stdin: asyncio.WriteTransport | None = None

    async def start(
        self, argv: Sequence[str], environment: Mapping[str, str], cwd: str | None
    ) -> int:
        """Its process id. Raises OSError, ValueError."""
        loop = asyncio.get_running_loop()
        stdin, ours = os.pipe()
        theirs = [stdin]
        try:
            file = os.fdopen(ours, "wb", buffering=0)
            self._stdin, _ = await loop.connect_write_pipe(lambda: self._writer, file)
            for received in (self._take, self._hear):
                ours, descriptor = os.pipe()
                theirs.append(descriptor)
                stream = _Stream(received, self._news.set)
                file = os.fdopen(ours, "rb", buffering=0)
                transport, _ = await loop.connect_read_pipe(lambda: stream, file)  # noqa: B023
                self._readers.append(stream)
                self._transports.append(transport)
            stdin, stdout, stderr = theirs
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220 - no shell; asyncio does it so
                list(argv),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=cwd,
                env=dict(environment),
                start_new_session=True,
            )
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        watch = threading.Thread(target=self._watch, args=(self._process, loop), daemon=True)
        watch.start()
        return self._process.pid

    def feed(self, data: bytes) -> None:
        """Give it its input, as fast as it reads, and then the end of it."""
        assert self._stdin is not None, "input before the start"
        self._stdin.write(data)
        self._stdin.close()

    async def to_its_end(self, timeout: float, grace: float) -> Ended:  # noqa: ASYNC109 - as above
        end = End.EXITED
        if not await self._until(lambda: self._exited or self._too_long or self._stopping, timeout):
            end = End.TIMEOUT
        if self._exited:
            # `exec > >(tee log)`: the answer may still be on its way when the program has ended.
            await self._until(lambda: self._ended or self._too_long or self._stopping, grace)
        else:
            self._tell(signal.SIGTERM)
            await self._until(lambda: self._ended, grace)
        await self.release()
        assert self._process is not None, "ended before the start"
        return Ended(
            end=End.TOO_LONG if self._too_long else end,
            code=self._process.returncode,
            output=bytes(self._output),
            tail=" | ".join(self._tail)[-_TAIL_CHARACTERS:],
        )

    def stop(self) -> None:
        self._stopping = True
        self._news.set()

    async def release(self) -> None:
        """Kill what is left of the group, reap the program, close the pipes. May be repeated."""
        process = self._process
        if process is not None and not self._released:
            self._released = True
            self._tell(signal.SIGKILL)
            if await self._until(lambda: self._exited, _KILL_SECONDS):
                process.wait()  # it is a zombie: this is at once
            else:
                logger.error(
                    "event=process_not_killed pid=%d: it is stuck in the kernel; look at its"
                    " driver or file system",
                    process.pid,
                )
        for transport in self._transports:
            transport.close()
        if self._stdin is not None:
            if self._writer.open and self._stdin.get_write_buffer_size():
                self._stdin.abort()  # `close` would wait for somebody to read the rest
            self._stdin.close()
        streams = [*self._readers, self._writer] if self._stdin is not None else self._readers
        await self._until(lambda: not any(stream.open for stream in streams), _KILL_SECONDS)
        self._report(self._lines.flush())

    @property
    def _ended(self) -> bool:
        """It exited, and nobody is left who could write to its pipes."""
        return self._exited and not any(stream.open for stream in self._readers)

    async def _until(self, met: Callable[[], bool], seconds: float) -> bool:
        """Wait for something to be true of the program; False when it was not so in time."""
        try:
            async with asyncio.timeout(seconds):
                while not met():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return met()
        return True

    def _tell(self, number: signal.Signals) -> None:
        """To the whole group, which may be there when the program itself is not."""
        assert self._process is not None, "signal before the start"
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass  # the group is empty: nothing is left to be told
        except PermissionError:
            logger.warning("event=signal_refused pid=%d signal=%s", self._process.pid, number.name)

    def _watch(self, process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop) -> None:
        """On a thread of its own: see it end."""
        if sys.platform == "linux":
            # Not reaped yet: until its group is killed, nobody else can get its number.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        else:
            process.wait()
        with suppress(RuntimeError):  # the loop is closed: nobody waits for it any more
            loop.call_soon_threadsafe(self._exit)

    def _exit(self) -> None:
        self._exited = True
        self._news.set()

    def _take(self, data: bytes) -> None:
        room = self._output_max - len(self._output)
        self._output += data[:room]
        if len(data) > room and not self._too_long:
            self._too_long = True
            self._transports[0].close()  # the program feels it too: SIGPIPE
            self._news.set()

    def _hear(self, data: bytes) -> None:
        self._report(self._lines.feed(data))

    def _report(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._tail.append(line)
            self._heard(line)

"""A program at a terminal: what it shows is read, what a person would type is sent."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

#: A session of its own, and the terminal is that session's: Ctrl-C reaches it.
_AT_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "ygg.cli", *sys.argv[1:]])
"""
#: What a program would have a person's shell say of it; a test's terminal is as it says.
_NOT_OURS = ("NO_COLOR", "COLUMNS", "LINES")
_CODE = re.compile("\x1b\\[[0-9;?]*[a-zA-Z]")


def without_codes(text: str) -> str:
    return _CODE.sub("", text)


@dataclass
class Terminal:
    process: subprocess.Popen[bytes]
    fd: int
    #: All that was shown so far.
    shown: str = ""
    #: How much of it `expect` has gone past.
    read: int = 0

    def expect(self, text: str, *, within: float = 60.0) -> None:
        """Wait until this is shown, after what was expected before."""
        end = time.monotonic() + within
        while text not in self.shown[self.read :]:
            assert time.monotonic() < end, f"{text!r} was not shown:\n{self.shown}"
            assert self._more(end), f"it ended without {text!r}:\n{self.shown}"
        self.read = self.shown.index(text, self.read) + len(text)

    def until(self, condition: Callable[[str], bool], *, within: float = 60.0) -> None:
        """Wait until all that was shown is so."""
        end = time.monotonic() + within
        while not condition(self.shown):
            assert time.monotonic() < end, f"it did not come to be in time:\n{self.shown[-3000:]!r}"
            if not self._more(end):
                assert condition(self.shown), f"it ended:\n{self.shown[-3000:]!r}"

    def resize(self, columns: int, lines: int) -> None:
        _set_size(self.fd, columns, lines)
        self.process.send_signal(signal.SIGWINCH)

    def send(self, line: str) -> None:
        os.write(self.fd, line.encode() + b"\n")

    def press(self, key: str) -> None:
        """A control key: C for Ctrl-C, D for Ctrl-D."""
        os.write(self.fd, bytes([ord(key) - 64]))

    def end(self, *, within: float = 60.0) -> int:
        """Read to the end; the exit code."""
        end = time.monotonic() + within
        while self._more(end):
            assert time.monotonic() < end, f"it did not end:\n{self.shown}"
        return self.process.wait(within)

    def _more(self, end: float) -> bool:
        """Read what comes next; False when nobody writes there any more."""
        ready, _, _ = select.select([self.fd], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: the other side is closed
            return False
        self.shown += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)


def _set_size(terminal: int, columns: int, lines: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@contextmanager
def terminal(
    *args: object,
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
    columns: int = 80,
    lines: int = 24,
) -> Iterator[Terminal]:
    """`ygg` with these arguments in a folder, at a terminal of its own."""
    ours, theirs = pty.openpty()
    _set_size(ours, columns, lines)
    inherited = {name: text for name, text in os.environ.items() if name not in _NOT_OURS}
    process = subprocess.Popen(
        [sys.executable, "-c", _AT_A_TERMINAL, *map(str, args)],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, start_new_session=True,
        env={**inherited, "TERM": "xterm-256color", **(env or {})},
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait(10)
        os.close(ours)


def at_a_terminal(
    *args: object, columns: int = 80, env: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """The exit code of `ygg` with these arguments, and all that it showed."""
    with terminal(*args, columns=columns, env=env) as t:
        code = t.end()
        return code, t.shown

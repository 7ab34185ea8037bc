"""Log lines to standard error and to a rotated file, cheap enough for thousands a second.

Each line is put together once; lines of a quarter of a second share a write. Warnings are
written at once, with all that came before them.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import RLock, Timer
from typing import Final, TextIO

from ygg.folders import make_folder

log = logging.getLogger("ygg.daemon")

_FILE_BYTES: Final = 20_000_000
_FILES: Final = 5
_LATE_SECONDS: Final = 0.25


class _Format(logging.Formatter):
    """`2026-11-24T04:22:20.195Z [name] LEVEL: message`, the original's form with the time."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s [%(name)s] %(levelname)s: %(message)s")
        self._second = -1
        self._shown = ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        second = int(record.created)
        if second != self._second:
            self._second = second
            self._shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._shown}.{int(record.msecs):03d}Z"


class LogFile(logging.handlers.RotatingFileHandler):
    """The file, whose lines come from LogLines and not one by one."""

    def write_lines(self, text: str) -> None:
        """Raises OSError."""
        if self.stream is None:
            self.stream = self._open()
        if self.stream.tell() + len(text) >= self.maxBytes:
            self.doRollover()
        self.stream.write(text)
        self.stream.flush()


class LogLines(logging.Handler):
    """Collects lines and writes them together.

    Args:
        console: where all lines go, too.
        file: None when no file can be had.
        later: calls a function after some seconds; lines wait for it.
    """

    def __init__(
        self,
        console: TextIO,
        file: LogFile | None,
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        super().__init__()
        self._console = console
        self._file = file
        self._later = later
        self._waiting: list[str] = []
        self._due = False
        self._file_lost = False
        self._guard = RLock()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - logging's own way to tell of a broken call
            self.handleError(record)
            return
        with self._guard:
            self._waiting.append(line)
            urgent = record.levelno >= logging.WARNING
            if not urgent and not self._due:
                self._due = True
                self._later(_LATE_SECONDS, self.flush)
        if urgent:
            self.flush()

    def flush(self) -> None:
        with self._guard:
            lines, self._waiting, self._due = self._waiting, [], False
            if not lines:
                return
            text = "\n".join(lines) + "\n"
            self._write_file(text)
            try:
                self._console.write(text)
                self._console.flush()
            except (OSError, ValueError):
                # Closed at the other end. The file has the lines; there is no third place.
                return

    def _write_file(self, text: str) -> None:
        """A full disk costs the lines, not the daemon; the console hears of it once."""
        if self._file is None:
            return
        try:
            self._file.write_lines(text)
        except (OSError, ValueError) as error:
            self._lose(error)
        else:
            self._file_lost = False

    def _lose(self, error: Exception) -> None:
        assert self._file is not None, "there is no file to lose"
        lost, self._file_lost = self._file_lost, True
        if not lost:
            with suppress(OSError, ValueError):  # closed at the other end, too
                print(f"event=log_lost file={self._file.baseFilename} why={error!r}",
                      file=self._console)  # fmt: skip

    def close(self) -> None:
        self.flush()
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                # What it could not write before it tries once more, and fails once more.
                self._lose(error)
        super().close()


def _by_thread(seconds: float, function: Callable[[], None]) -> None:
    timer = Timer(seconds, function)
    timer.daemon = True
    timer.start()


def start_logging(folder: Path, *, verbose: bool, name: str = "ygg.log") -> LogLines:
    """Standard error and a file in `folder`: one process to a file, for each turns its own over.

    A folder that takes no log does not stop the daemon.
    """
    file: LogFile | None = None
    trouble = ""
    try:
        make_folder(folder)
        file = LogFile(
            folder / name,
            maxBytes=_FILE_BYTES,
            backupCount=_FILES,
            encoding="utf-8",
            errors="backslashreplace",
        )
    except OSError as error:
        trouble = f"{folder}: {error.strerror}"
    # No line shows where it was written, nor by which thread: then none need be found out.
    logging._srcfile = None  # noqa: SLF001 - as the manual of logging has it, "Optimization"
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    lines = LogLines(sys.stderr, file, _by_thread)
    lines.setFormatter(_Format())
    root = logging.getLogger()
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    root.addHandler(lines)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    if trouble:
        log.warning("event=no_log_file why=%r hint='logs go to standard error only'", trouble)
    return lines

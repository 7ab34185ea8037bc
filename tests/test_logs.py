"""The log: whole lines, one write for many, and a daemon that outlives a full disk."""

from __future__ import annotations

import asyncio
import errno
import io
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from ygg.board import Board
from ygg.journal import Event, Kind
from ygg.logbook import Logbook, active_tasks
from ygg.logs import LogFile, LogLines, start_logging

LOGGER = logging.getLogger("tests.logs")


class Later:
    """Timers that the test fires."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def __call__(self, seconds: float, function: Callable[[], None]) -> None:
        self.due.append(function)


def record(message: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("x", level, __file__, 1, message, (), None)


def test_lines_share_a_write_and_warnings_do_not_wait() -> None:
    console, later = io.StringIO(), Later()
    lines = LogLines(console, None, later)
    lines.emit(record("one"))
    lines.emit(record("two"))
    assert console.getvalue() == ""
    assert len(later.due) == 1
    later.due.pop()()
    assert console.getvalue() == "one\ntwo\n"
    lines.emit(record("three"))
    lines.emit(record("careful", logging.WARNING))
    assert console.getvalue() == "one\ntwo\nthree\ncareful\n"


def test_close_writes_what_waits() -> None:
    console = io.StringIO()
    lines = LogLines(console, None, Later())
    lines.emit(record("last words"))
    lines.close()
    assert console.getvalue() == "last words\n"


def test_the_file_has_what_the_console_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = start_logging(tmp_path / "logs", verbose=False)
    try:
        LOGGER.warning("event=x task=%s", "t1")
        text = (tmp_path / "logs" / "ygg.log").read_text()
        assert text.endswith("[tests.logs] WARNING: event=x task=t1\n")
        assert text == capsys.readouterr().err
    finally:
        logging.getLogger().removeHandler(lines)
        lines.close()


def test_no_folder_for_logs_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_the_way = tmp_path / "logs"
    in_the_way.write_text("a file")
    lines = start_logging(in_the_way, verbose=False)
    try:
        assert "event=no_log_file" in capsys.readouterr().err
    finally:
        logging.getLogger().removeHandler(lines)
        lines.close()


class OnFullDisk(LogFile):
    def write_lines(self, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_once_and_the_console_goes_on(tmp_path: Path) -> None:
    console = io.StringIO()
    lines = LogLines(console, OnFullDisk(tmp_path / "ygg.log"), Later())
    for number in range(3):
        lines.emit(record(f"warning {number}", logging.WARNING))
    lines.close()
    assert console.getvalue().count("event=log_lost") == 1
    assert "warning 2" in console.getvalue()


class CantClose(LogFile):
    """As one whose last lines never fit: closing writes them once more."""

    def close(self) -> None:
        super().close()
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_does_not_break_the_end(tmp_path: Path) -> None:
    console = io.StringIO()
    lines = LogLines(console, CantClose(tmp_path / "ygg.log"), Later())
    lines.emit(record("last words"))
    lines.close()
    assert "last words" in console.getvalue()
    assert "event=log_lost" in console.getvalue()


def test_a_dispatchers_coming_and_going_is_no_hosts(caplog: pytest.LogCaptureFixture) -> None:
    import asyncio

    from ygg.board import Board
    from ygg.journal import Event, Kind

    async def story() -> None:
        book = Logbook(Board(), asyncio.get_running_loop())
        kinds = (Kind.OPENED, Kind.LEFT)
        book.absorb([Event(position=1, at=0.0, kind=kind, reason="here/1") for kind in kinds])
        book.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(story())
    assert [r.getMessage() for r in caplog.records if r.name == "ygg.tasks"] == [
        "event=dispatcher_opened dispatcher=here/1",
        "event=dispatcher_left dispatcher=here/1",
    ]


def test_values_from_outside_forge_no_line(caplog: pytest.LogCaptureFixture) -> None:
    detail = {"error": "boom\nevent=task_closed task=t2"}
    blocked = Event(position=1, at=0.0, kind=Kind.BLOCKED, task="t1", detail=detail)
    (line,) = logged(blocked, caplog)
    assert "t1" in line
    assert "\n" not in line


def test_a_dispatcher_that_ends_is_no_host(caplog: pytest.LogCaptureFixture) -> None:
    left = Event(position=1, at=0.0, kind=Kind.LEFT, reason="d1 at home")
    assert logged(left, caplog) == ["event=dispatcher_left dispatcher='d1 at home'"]


def logged(event: Event, caplog: pytest.LogCaptureFixture) -> list[str]:
    async def story() -> None:
        board = Board()
        book = Logbook(board, asyncio.get_running_loop())
        book.absorb([event])
        book.close()
        assert active_tasks(board) == {}

    with caplog.at_level(logging.INFO):
        asyncio.run(story())
    return [r.getMessage() for r in caplog.records if r.name == "ygg.tasks"]

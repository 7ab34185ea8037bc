"""Tasks out of a file of JSON Lines, one after another, each with a key of its own text.

A file is looked through before its first task is handed in, so that a broken line costs nothing.
What comes through a pipe can't be: there the lines before a broken one are handed in.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import sqlite3
import stat
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self, cast

import msgspec

from ygg.cli.base import interruptible
from ygg.client.batches import NO_KEYS

if TYPE_CHECKING:
    from ygg.client import NewTask, Problem

#: A key has at most 200, of which the line's own part needs 25 and a count some more.
PREFIX_CHARACTERS: Final = 160
#: Of so many wrong fields a message tells.
_TOLD: Final = 3
#: No dispatcher takes a longer one; and where a file has no lines, it must not be held whole.
_LINE_BYTES: Final = 16 * 1024 * 1024


class BadLine(Exception):
    """A line is no task, or the file can't be read; the message says where and why."""


class TaskLines:
    """The tasks of a file, and which of its lines are still to be accepted.

    Args:
        name: of the file; - is standard input.
        prefix: what every key begins with.
        fields: what holds for lines that don't say it.

    To be entered; that, and going through it, raises BadLine.
    """

    def __init__(self, name: str, prefix: str, fields: Mapping[str, Any]) -> None:
        self._name = name
        #: The name as it is told to people.
        self.shown = "standard input" if name == "-" else name
        self._prefix = prefix
        self._fields = dict(fields)
        self._decode = msgspec.json.Decoder(dict[str, Any]).decode
        #: Numbers of the lines that were handed out and not accepted yet.
        self._pending = deque[int]()
        #: How many tasks there are; None: it can't be known.
        self.total: int | None = None
        #: It is no file that is all there, but comes through a pipe or from a terminal.
        self._comes = False

    def __enter__(self) -> Self:
        with ExitStack() as stack:  # closes what is open should the file not be good
            self._file = self._open(stack)
            self._seen = stack.enter_context(Seen())
            self._comes = not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
            if not self._comes:
                self.total = sum(1 for _ in self._lines())
                self._file.seek(0)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[NewTask]:
        for number, line, task in self._lines():
            self._pending.append(number)
            if task.get("key") in NO_KEYS:
                task["key"] = self._key(line)
            yield cast("NewTask", {**self._fields, **task})

    def accepted(self) -> None:
        """The first of those that were handed out and not accepted yet is."""
        self._pending.popleft()

    def told(self, problem: Problem) -> str:
        """Why a batch was refused, with the file's lines instead of places in the batch."""
        told = []
        for pointer, detail in problem.errors:
            place, _, field = pointer.removeprefix("/").partition("/")
            if place.isdecimal() and int(place) < len(self._pending):
                line = self._pending[int(place)]
                told.append(f"{self.shown}:{line}: {field and f'{field}: '}{detail}")
        if not told:
            return str(problem)
        more = len(told) - _TOLD
        return "; ".join(told[:_TOLD]) + (f"; and {more} more" if more > 0 else "")

    def _open(self, stack: ExitStack) -> BinaryIO:
        if self._name == "-":
            return sys.stdin.buffer
        try:
            return stack.enter_context(Path(self._name).open("rb"))
        except OSError as error:
            raise BadLine(f"{self._name} can't be read: {error.strerror}") from error

    def _lines(self) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
        """Lines that are not blank, with their numbers."""
        for number, raw in enumerate(self._raw_lines(), 1):
            if len(raw) > _LINE_BYTES:
                raise BadLine(f"{self.shown}:{number}: not a JSON object: the line does not end")
            # Other programs begin a file of UTF-8 with a mark that says so.
            line = raw.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").strip()
            if not line:
                continue
            try:
                task = self._decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise BadLine(f"{self.shown}:{number}: not a JSON object ({error})") from error
            yield number, line, task

    def _raw_lines(self) -> Iterator[bytes]:
        # What comes through a pipe may be long in coming.
        read = self._awaited_line if self._comes else self._file.readline
        try:
            yield from iter(partial(read, _LINE_BYTES + 1), b"")
        except OSError as error:
            raise BadLine(f"{self.shown} can't be read: {error.strerror}") from error

    def _awaited_line(self, most: int) -> bytes:
        with interruptible():
            return self._file.readline(most)

    def _key(self, line: bytes) -> str:
        digest = hashlib.sha256(line).digest()
        times = self._seen.count(digest)
        return f"{self._prefix}-{digest.hex()[:24]}" + (f"-{times}" if times > 1 else "")


class Seen:
    """Counts how often each line came: two that are alike are two tasks.

    In a temporary file that SQLite makes and removes: there may be millions of lines.
    """

    def __enter__(self) -> Self:
        self._base = sqlite3.connect("", isolation_level=None)
        self._base.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY, times INT) WITHOUT ROWID")
        self._base.execute("BEGIN")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._base.close()

    def count(self, digest: bytes) -> int:
        """How often it came, this time among them."""
        (times,) = self._base.execute(
            "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1 "
            "RETURNING times",
            (digest[:16],),
        ).fetchone()
        assert isinstance(times, int)
        return times

"""Answers on disk: where they are, who may read which, and for how long they are kept.

How they get there whole and durable is atomic.py. Left to others: when a failed write is tried
again, and the closing of the task, which comes after.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from ygg.atomic import AtomicWriter, Disk

#: Files that `prune` and `sweep` remove before answers that wait get their turn.
_BATCH: Final = 1000

_TASK_ID: Final = re.compile(r"[0-9a-z]{18}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ANSWER: Final = re.compile(r"[0-9a-z]{18}(\.thinking)?\.md")
_TEMPORARY: Final = re.compile(r"\.(probe|[0-9a-z]{18}(\.thinking)?\.md)\.[0-9a-f]+\.[0-9]+\.tmp")

_PERMISSION: Final = "the dispatcher's user may not do that: change the folder's owner or mode"
_REMEDIES: Final = {
    errno.ENOSPC: "the disk is full: free space, or move `artifacts` to a larger one",
    errno.EDQUOT: "the quota is used up: free space, or raise it",
    errno.EFBIG: "the file is larger than the process may write: raise its limit (LimitFSIZE)",
    errno.EROFS: "the file system is read-only: look at the kernel log, then mount it writable",
    errno.EIO: "the disk failed: look at the kernel log before you trust it again",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EEXIST: "something else stands in its place: move it away",
    errno.EISDIR: "a folder stands in its place: move it away",
    errno.ENOTDIR: "something that is no folder stands in the path: move it away",
    errno.ELOOP: "a symbolic link stands in its place: replace it by what it points to",
    errno.EMFILE: "too many files are open: raise the limit (LimitNOFILE)",
}


class ArtifactError(Exception):
    """An answer could not be written or read. Nothing was acknowledged: try again later."""

    def __init__(self, doing: str, path: Path, error: OSError) -> None:
        remedy = _REMEDIES.get(error.errno or 0, "look at the folder and the disk it is on")
        super().__init__(f"can't {doing} {path}: {error.strerror or error}; {remedy}")
        self.errno = error.errno


class NoArtifact(LookupError):
    """There is no such answer: its time was up, or the path was never one of ours."""


class Artifacts:
    """The answers below one folder: DAY/ID.md, and the model's thinking in DAY/ID.thinking.md.

    Nothing is touched before the first call; the folder is made with the first answer.
    """

    def __init__(self, folder: Path, *, disk: Disk | None = None) -> None:
        self.folder = folder.absolute()
        self._disk = Disk() if disk is None else disk
        self._writer = AtomicWriter(self.folder, self._disk)

    async def write(self, task_id: str, text: str, thinking: str, day: date) -> str:
        """Keep an answer; returns its path below the folder. One of the same id is replaced.

        Durable when it returns. Raises ArtifactError: then nothing counts as written, and another
        call begins from scratch. Cancelled, it may still be written, which harms nobody.
        """
        if not _TASK_ID.fullmatch(task_id):
            raise ValueError(f"{task_id!r} is no task id: 18 characters of 0-9 and a-z")
        assert text, f"task {task_id}: an empty answer is a failure, not an answer"
        folder, name = day.isoformat(), f"{task_id}.md"
        # Thinking first: where there is an answer, its thinking is there too.
        texts = {f"{task_id}.thinking.md": thinking, name: text}
        try:
            await self._writer.write(folder, texts)
        except OSError as error:
            raise ArtifactError("write", self.folder / folder / name, error) from error
        return f"{folder}/{name}"

    async def probe(self) -> None:
        """Whether answers can be written, by writing. Raises ArtifactError."""
        try:
            await self._writer.probe()
        except OSError as error:
            raise ArtifactError("write to", self.folder, error) from error

    async def read(self, path: str) -> str:
        """The answer at a path that `write` returned. Raises NoArtifact, ArtifactError."""

        def whole() -> str:
            with self.open(path) as file, _telling("read", self.folder / path):
                return file.read().decode(errors="replace")  # a person may have edited it

        return await asyncio.to_thread(whole)

    def open(self, path: str) -> BinaryIO:
        """The answer as a file, for serving. Raises NoArtifact, ArtifactError.

        Only paths of the form that `write` returns are looked at, and no symbolic link is followed:
        nothing outside the folder can be reached.
        """
        day, _, name = path.partition("/")
        if not (_DAY.fullmatch(day) and _ANSWER.fullmatch(name)):
            raise NoArtifact(f"{path!r} is no path of an answer: DAY/ID.md or DAY/ID.thinking.md")
        try:
            with _telling("open", self.folder / path):
                folder = self._disk.open_folder(self.folder / day)
                try:
                    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
                finally:
                    self._disk.close(folder)
                return os.fdopen(file, "rb")
        except FileNotFoundError as error:
            raise NoArtifact(f"there is no answer at {path}: its time was up") from error

    async def sweep(self) -> int:
        """Remove temporary files that a crash left; returns how many. To be called at the start.

        Another dispatcher that writes to the same folder at this moment may fail, and tries again.
        Raises ArtifactError.
        """
        folders = [".", *await self._days()]
        return sum([await self._clear(folder, _TEMPORARY) for folder in folders])

    async def prune(self, before: date) -> int:
        """Remove the answers of all days before one; returns how many files.

        What is not ours in a day's folder stays, and so does the folder then. Raises ArtifactError.
        """
        removed = 0
        for day in await self._days():
            if day < before.isoformat():
                removed += await self._clear(day, _ANSWER)
                await self._clear(day, _TEMPORARY)
                await self._writer.in_turn(partial(self._remove_folder, day))
        return removed

    async def close(self) -> None:
        """Write what waits, then end the thread."""
        await self._writer.close()

    async def _days(self) -> list[str]:
        return await self._writer.in_turn(self._list_days)

    async def _clear(self, day: str, names: re.Pattern[str]) -> int:
        removed = 0
        while some := await self._writer.in_turn(partial(self._remove_some, day, names)):
            removed += some
        return removed

    # Everything below runs on the writer's thread: a file that is being written is no leftover.

    def _list_days(self) -> list[str]:
        try:
            with _telling("list", self.folder), os.scandir(self.folder) as entries:
                return sorted(
                    entry.name
                    for entry in entries
                    if _DAY.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
                )
        except FileNotFoundError:
            return []

    def _remove_some(self, day: str, names: re.Pattern[str]) -> int:
        path = self.folder / day
        try:
            with _telling("remove files from", path):
                folder = self._disk.open_folder(path, follow=path == self.folder)
                try:
                    with os.scandir(folder) as entries:
                        ours = (entry.name for entry in entries if names.fullmatch(entry.name))
                        some = list(itertools.islice(ours, _BATCH))
                    for name in some:
                        self._disk.remove(name, folder)
                finally:
                    self._disk.close(folder)
        except FileNotFoundError:
            return 0  # somebody else removes here: they see to the rest
        return len(some)

    def _remove_folder(self, day: str) -> None:
        path = self.folder / day
        try:
            with _telling("remove", path):
                if not any(path.iterdir()):  # else a person keeps something there
                    path.rmdir()
        except FileNotFoundError:
            pass  # somebody else was faster


@contextmanager
def _telling(doing: str, path: Path) -> Iterator[None]:
    """Turn the system's errors into ours; what is not there is for the caller to judge."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ArtifactError(doing, path, error) from error

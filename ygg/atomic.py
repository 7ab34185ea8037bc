"""Write files so that they are whole or not there, and durable when that is said.

A file without a name, sync, its name, fsync of the folder (rule 5 of the design), all on one
thread. A crash leaves nothing of a file that has no name yet; where the file system knows no such
files (O_TMPFILE), a temporary name and a rename take their place. What arrives while a round is
under way shares the next one, as writes share a commit in the store. A small round syncs file by
file; a larger one syncs their file system once (syncfs), which costs the same for one file as for
sixty. Which files, where and for how long is left to artifacts.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import itertools
import os
import re
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from ygg.folders import FILE_MODE, FOLDER_MODE

T = TypeVar("T")

#: Writes in a round: those of its first file wait for its last.
_ROUND: Final = 64
#: From so many writes in a round on the file system is synced as a whole. In rounds of 64 on ext4
#: with 0.3 ms a sync: file by file 370 to 590 files/s, 16 threads 840 to 4,200 at 150 to 820 us of
#: CPU each, syncfs 1,600 to 6,300; with files born without a name 66 us of CPU each, not 264.
#: It also flushes what other programs wrote, so not for a few.
_MANY: Final = 4
#: How a file system says that it knows no files without names.
_NO_UNNAMED: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS})
#: Before Linux 5.8 syncfs kept write errors to itself.
_SYNCFS_SINCE: Final = (5, 8)


#: A full disk may still take a few bytes into what it has allotted.
_PROBE_BYTES: Final = 65536


def _find_syncfs() -> ctypes.CDLL | None:
    system, _, release, *_ = os.uname()
    version = tuple(int(part) for part in re.findall(r"[0-9]+", release)[:2])
    if system != "Linux" or version < _SYNCFS_SINCE:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return libc if hasattr(libc, "syncfs") else None


_LIBC: Final = _find_syncfs()


class Disk:
    """The calls that are made of the system, so that tests can stand between."""

    def make_folder(self, path: Path) -> None:
        path.mkdir(mode=FOLDER_MODE)

    def open_folder(self, path: Path, *, follow: bool = False) -> int:
        """For what is to be done in it. A symbolic link could lead out of our folder."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | (0 if follow else os.O_NOFOLLOW))

    def create(self, name: str, folder: int) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        return os.open(name, flags, FILE_MODE, dir_fd=folder)

    def has_unnamed(self) -> bool:
        """Whether a file can get its name after it was written; `link` goes through /proc."""
        return hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").is_dir()

    def create_unnamed(self, folder: int) -> int:
        """A file of the folder's file system without a name: `link` gives it one."""
        return os.open(".", os.O_WRONLY | os.O_TMPFILE, FILE_MODE, dir_fd=folder)

    def link(self, file: int, name: str, folder: int) -> None:
        """Raises FileExistsError: unlike a rename it replaces nothing."""
        os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=folder, follow_symlinks=True)

    def write(self, file: int, data: memoryview) -> int:
        return os.write(file, data)

    def sync(self, file: int) -> None:
        os.fsync(file)

    def syncs_all(self) -> bool:
        """Whether `sync_all` can be had, and tells of every error."""
        return _LIBC is not None

    def sync_all(self, folder: int) -> None:
        """Sync the folder's whole file system, what others wrote there too.

        It tells of every write error since `folder` was opened, of other files too: one too many
        is a retry, one too few would be a loss.
        """
        assert _LIBC is not None, "syncfs is not to be had here"
        if _LIBC.syncfs(folder) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))

    def close(self, file: int) -> None:
        os.close(file)

    def rename(self, old: str, new: str, folder: int) -> None:
        os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)

    def remove(self, name: str, folder: int) -> None:
        os.unlink(name, dir_fd=folder)


@dataclass(slots=True, eq=False)
class _Job:
    folder: str
    texts: Mapping[str, str]
    done: asyncio.Future[None]
    #: Why it was not written; None: it was, or it still waits.
    error: Exception | None = None

    def settle(self) -> None:
        """Tell who waits; on the event loop."""
        if self.done.done():
            return  # cancelled: what was written stands
        if self.error is not None:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(None)


@dataclass(slots=True, eq=False)
class _File:
    """A file that was written and has not its name yet."""

    name: str
    #: A name that was never used before: after a failed fsync nobody knows what of the file is on
    #: disk, and a second one of the same file would say that all is well.
    temporary: str
    #: The open file while it has no name at all; None: it stands under `temporary`.
    unnamed: int | None = None


class AtomicWriter:
    """Writes files into folders right below one root. Nothing is touched before the first call."""

    def __init__(self, root: Path, disk: Disk) -> None:
        self._root = root
        self._disk = disk
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ygg-artifacts")
        self._queue = deque[_Job]()
        #: A round was asked for and has not begun to take jobs: it will take those that come now.
        self._round_due = False
        #: Folders that this process has made durable in the root.
        self._anchored = set[str]()
        #: Makes temporary names unique: among processes, and within this one.
        self._token = secrets.token_hex(4)
        self._count = itertools.count()
        #: False, too, once the file system said that it knows no files without names.
        self._unnamed = disk.has_unnamed()

    async def write(self, folder: str, texts: Mapping[str, str]) -> None:
        """Files of a folder by name, the last to appear last; an empty text means: no such file.

        All are durable when it returns. Raises OSError: then nothing counts as written, and another
        call begins from scratch. Cancelled, it may still be written.
        """
        loop = asyncio.get_running_loop()
        job = _Job(folder, texts, loop.create_future())
        self._queue.append(job)
        if not self._round_due:
            self._round_due = True
            self._thread.submit(self._round, loop)
        await job.done

    async def probe(self) -> None:
        """Whether files can be written here, by writing one and removing it. Raises OSError."""
        await self.in_turn(self._probe)

    async def in_turn(self, function: Callable[[], T]) -> T:
        """Call it on the thread, after all that waits there now."""
        return await asyncio.wrap_future(self._thread.submit(function))

    async def close(self) -> None:
        """Write what waits, then end the thread."""
        await asyncio.to_thread(self._thread.shutdown)

    # Everything below runs on the thread.

    def _round(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write what waits, a bounded number at once, and tell of all of it in one call."""
        self._round_due = False  # before the first is taken: whoever comes later asks anew
        by_folder: dict[str, list[_Job]] = {}
        for _ in range(_ROUND):
            if not self._queue:
                break
            job = self._queue.popleft()
            if not job.done.cancelled():
                by_folder.setdefault(job.folder, []).append(job)
        if self._queue:
            self._thread.submit(self._round, loop)
        for folder, jobs in by_folder.items():
            try:
                self._write_folder(folder, jobs)
            except Exception as error:  # noqa: BLE001 - our own mistake goes to those who wait
                _fail(jobs, error)
        taken = [job for jobs in by_folder.values() for job in jobs]
        loop.call_soon_threadsafe(_settle, taken)

    def _write_folder(self, name: str, jobs: list[_Job]) -> None:
        try:
            with self._opened(name) as folder:
                together = len(jobs) >= _MANY and self._disk.syncs_all()
                whole = self._written(jobs, folder, sync=not together)
                if together and whole:
                    self._sync_all(whole, folder)
                placed = False
                for job, files in whole:
                    # What fails for one does not fail the others.
                    try:
                        self._name(job.texts, files, folder)
                    except OSError as error:
                        self._remove(files, folder)
                        _fail([job], error)
                    else:
                        placed = True
                if placed:
                    self._disk.sync(folder)
                    self._anchor(name)
        except OSError as error:
            _fail(jobs, error)

    def _written(
        self, jobs: list[_Job], folder: int, *, sync: bool
    ) -> list[tuple[_Job, list[_File]]]:
        """Write the jobs' files without their names; those that failed are told and left out."""
        whole: list[tuple[_Job, list[_File]]] = []
        for job in jobs:
            files: list[_File] = []
            try:
                for name, text in job.texts.items():
                    if text:
                        temporary = f".{name}.{self._token}.{next(self._count)}.tmp"
                        file = _File(name, temporary)
                        files.append(file)
                        self._write_file(file, encoded(text), folder, sync=sync)
            except OSError as error:
                self._remove(files, folder)
                _fail([job], error)
            else:
                whole.append((job, files))
        return whole

    def _sync_all(self, whole: list[tuple[_Job, list[_File]]], folder: int) -> None:
        try:
            self._disk.sync_all(folder)
        except OSError:
            for _, files in whole:
                self._remove(files, folder)
            raise

    def _name(self, texts: Mapping[str, str], files: list[_File], folder: int) -> None:
        """Give the files their names: all are whole on disk before the first has it."""
        for name, text in texts.items():
            if not text:
                with suppress(FileNotFoundError):
                    self._disk.remove(name, folder)
        for file in files:
            if file.unnamed is None:
                self._disk.rename(file.temporary, file.name, folder)
            else:
                self._link(file, file.unnamed, folder)

    def _link(self, file: _File, unnamed: int, folder: int) -> None:
        try:
            self._disk.link(unnamed, file.name, folder)
        except FileExistsError:  # an earlier attempt's: only a rename replaces it in one step
            self._disk.link(unnamed, file.temporary, folder)
            file.unnamed = None
            self._disk.close(unnamed)
            self._disk.rename(file.temporary, file.name, folder)
        else:
            file.unnamed = None
            self._disk.close(unnamed)

    def _remove(self, files: list[_File], folder: int) -> None:
        """The failure that brought us here is the one to be told. A sweep gets the rest."""
        for file in files:
            with suppress(OSError):
                if file.unnamed is not None:
                    unnamed, file.unnamed = file.unnamed, None
                    self._disk.close(unnamed)
                else:
                    self._disk.remove(file.temporary, folder)

    def _probe(self) -> None:
        self._make_root()
        folder = self._disk.open_folder(self._root, follow=True)
        try:
            file = _File("probe", f".probe.{self._token}.{next(self._count)}.tmp")
            try:
                self._write_file(file, b"0" * _PROBE_BYTES, folder, sync=True)
            finally:
                self._remove([file], folder)
        finally:
            self._disk.close(folder)

    def _write_file(self, file: _File, data: bytes, folder: int, *, sync: bool) -> None:
        """Of a file without a name the descriptor stays open: it is all that there is of it."""
        opened = self._create(file, folder)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._disk.write(opened, rest) :]
            if sync:
                self._disk.sync(opened)
        except OSError:
            if file.unnamed is None:
                with suppress(OSError):
                    self._disk.close(opened)
            raise
        if file.unnamed is None:
            self._disk.close(opened)

    def _create(self, file: _File, folder: int) -> int:
        if self._unnamed:
            try:
                file.unnamed = self._disk.create_unnamed(folder)
            except OSError as error:
                if error.errno not in _NO_UNNAMED:
                    raise
                self._unnamed = False
            else:
                return file.unnamed
        return self._disk.create(file.temporary, folder)

    @contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        """The folder, made if need be."""
        path = self._root / name
        try:
            self._make(path)
        except FileNotFoundError:
            self._make_root()
            self._make(path)
        folder = self._disk.open_folder(path)
        try:
            yield folder
        finally:
            self._disk.close(folder)

    def _make_root(self) -> None:
        for folder in reversed((self._root, *self._root.parents)):
            if self._make(folder):
                self._sync_folder(folder.parent)

    def _make(self, path: Path) -> bool:
        """Whether it had to be made. What stands there instead of a folder shows when opened."""
        try:
            self._disk.make_folder(path)
        except FileExistsError:
            return False
        self._anchored.discard(path.name)
        return True

    def _anchor(self, name: str) -> None:
        """Make the folder durable in the root, and the root in its parent: once in each process.

        That it is there already proves nothing: another may have made it and died before its fsync.
        """
        if name in self._anchored:
            return
        self._sync_folder(self._root)
        with suppress(PermissionError):  # who made a parent that we can't read answers for it
            self._sync_folder(self._root.parent)
        self._anchored.add(name)

    def _sync_folder(self, path: Path) -> None:
        folder = self._disk.open_folder(path, follow=True)
        try:
            self._disk.sync(folder)
        finally:
            self._disk.close(folder)


def _fail(jobs: list[_Job], error: Exception) -> None:
    """Those that failed before keep the error of their own."""
    for job in jobs:
        if job.error is None:
            job.error = error


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        job.settle()


def encoded(text: str) -> bytes:
    """As UTF-8. Halves of surrogate pairs (JSON may hold them) are joined, or replaced if alone."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()

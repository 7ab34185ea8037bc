"""The embedded store: one SQLite file, one dispatcher, no server.

One thread writes. Writes that arrive while a commit is under way share the next one (group
commit), so that one fsync serves many tasks. WAL with `synchronous=FULL`: a commit that returned
is on disk, power loss included. Another thread reads, so that a long list holds up no claim.
What a write means is left to operations.py, the SQL to tables.py.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from ygg.lifecycle import Refused
from ygg.stores.base import KeyClash, Restored, StoreError, StoreUnusable, UnknownTask
from ygg.stores.operations import Operations
from ygg.stores.shell import Shell, Views
from ygg.stores.tables import SqliteTables, connect, migrate

T = TypeVar("T")
log = logging.getLogger("ygg.store")

#: Writes that share a commit at most: it bounds how long the first of them waits.
_GROUP: Final = 512
#: Refusals of one write; the others of its commit are not touched by them.
_REFUSALS: Final = (KeyClash, UnknownTask, Refused)


@dataclass(slots=True)
class _Write(Generic[T]):
    operation: Callable[[Operations], T]
    future: asyncio.Future[T]
    result: T | None = None
    error: Exception | None = None

    def settle(self) -> None:
        """Tell the caller; on the event loop."""
        if self.future.done():
            return  # it was cancelled: the write stands all the same
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]  # None is T's then


class SqliteStore(Shell):
    """A `TaskStore` in `path`. Raises StoreUnusable from `open`, StoreError from writes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._writes: queue.SimpleQueue[_Write[object] | None] = queue.SimpleQueue()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="ygg-store-read")
        self._writer: threading.Thread | None = None
        self._lock: int | None = None
        self._views: SqliteTables | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self, *, owner: str, now: float, max_strikes: int) -> Restored:
        self._loop = asyncio.get_running_loop()
        self._lock = _take_lock(self.path)
        try:
            tables = await asyncio.to_thread(self._prepare)
        except BaseException:
            self._give_lock()
            raise
        operations = Operations(tables)
        self._writer = threading.Thread(
            target=self._write_loop, args=(operations,), name="ygg-store-write", daemon=True
        )
        self._writer.start()
        return await super().open(owner=owner, now=now, max_strikes=max_strikes)

    def _prepare(self) -> SqliteTables:
        try:
            connection = connect(self.path)
            migrate(connection, self.path)
            self._views = SqliteTables(connect(self.path, read_only=True))
            return SqliteTables(connection)
        except sqlite3.Error as error:
            raise StoreUnusable(_explain(self.path, error)) from error

    # -- writing -----------------------------------------------------------------------------

    async def _write(self, operation: Callable[[Operations], T]) -> T:
        if self._writer is None or not self._writer.is_alive():
            raise StoreError(f"{self.path} is not open: the store was closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writes.put(_Write(operation, future))  # type: ignore[arg-type]  # T is any object
        return await future

    def _write_loop(self, operations: Operations) -> None:
        while (first := self._writes.get()) is not None:
            group, last = [first], False
            while len(group) < _GROUP:
                try:
                    write = self._writes.get_nowait()
                except queue.Empty:
                    break
                if write is None:
                    last = True
                    break
                group.append(write)
            self._commit(operations, group)
            if last:
                break
        tables = operations.tables
        assert isinstance(tables, SqliteTables)
        tables.connection.close()

    def _commit(self, operations: Operations, group: list[_Write[object]]) -> None:
        """One transaction for the group; where one write breaks it, one for each."""
        failure = self._try(operations, group)
        if failure is not None and len(group) > 1 and not _is_io(failure):
            # One write has an error of its own: the others shall not suffer for it.
            for write in group:
                self._commit(operations, [write])
            return
        if failure is not None:
            log.error("event=store_write_failed file=%s writes=%d error=%s",
                      self.path, len(group), failure)  # fmt: skip
            reopened = _is_io(failure) and self._reopen(operations)
            for write in group:
                write.error = _store_error(self.path, failure, reopened=reopened)
        events, operations.events = operations.events, []
        assert self._loop is not None

        def tell() -> None:
            # Listeners first: the board is ahead of whoever waited for the write.
            self._tell(events)
            for write in group:
                write.settle()

        self._loop.call_soon_threadsafe(tell)

    def _try(self, operations: Operations, group: list[_Write[object]]) -> Exception | None:
        tables = operations.tables
        assert isinstance(tables, SqliteTables)
        connection = tables.connection
        mark = tables.mark()
        try:
            connection.execute("BEGIN IMMEDIATE")
            for write in group:
                write.error = write.result = None
                try:
                    write.result = write.operation(operations)
                except _REFUSALS as refusal:
                    write.error = refusal
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - handed to every caller of the group
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            tables.reset(mark)
            operations.events = []
            return error
        return None

    def _reopen(self, operations: Operations) -> bool:
        """After a failed fsync the kernel may call lost pages clean: trust nothing, read anew."""
        tables = operations.tables
        assert isinstance(tables, SqliteTables)
        tables.connection.close()
        try:
            operations.tables = SqliteTables(connect(self.path))
        except (sqlite3.Error, StoreUnusable) as error:
            log.error("event=store_reopen_failed file=%s error=%s", self.path, error)  # noqa: TRY400
            return False
        return True

    # -- reading -----------------------------------------------------------------------------

    async def _read(self, look: Callable[[Views], T]) -> T:
        assert self._views is not None, "the store is not open"
        views = self._views
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, look, views)
        except sqlite3.Error as error:
            raise _store_error(self.path, error, reopened=False) from error

    async def probe(self) -> None:
        await self._write(_touch)

    async def close(self) -> None:
        """Flush what is queued, then end."""
        if self._writer is not None:
            self._writes.put(None)
            await asyncio.to_thread(self._writer.join)
            self._writer = None
        views, self._views = self._views, None
        if views is not None:
            await asyncio.get_running_loop().run_in_executor(self._reader, views.connection.close)
        self._reader.shutdown()
        self._give_lock()

    def _give_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _touch(operations: Operations) -> None:
    tables = operations.tables
    assert isinstance(tables, SqliteTables)
    tables.touch()


def _take_lock(path: Path) -> int:
    """The store's exclusive lock. Raises StoreUnusable when somebody has it, or no file can be."""
    place = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        lock = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StoreUnusable(
            f"{place}: can't be made ({error.strerror}): "
            "give ygg a folder it may write to, with --state DIR or `dispatcher: state:`"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise StoreUnusable(
            f"{path}: another dispatcher (process {holder}) has this store open: "
            "end it first, or give this one a store of its own with --state DIR"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _is_io(error: Exception) -> bool:
    """The disk's fault: full, failing, read-only. The same write may well succeed later."""
    name = getattr(error, "sqlite_errorname", "") or ""
    kinds = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_BUSY",
             "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_PROTOCOL")  # fmt: skip
    return name.startswith(kinds)


def _store_error(path: Path, error: Exception, *, reopened: bool) -> StoreError:
    message = f"{path}: {_explain(path, error)}" if _is_io(error) else f"{path}: {error!r}"
    failure = StoreError(message + ("; the file was opened anew" if reopened else ""))
    failure.__cause__ = error
    return failure


def _explain(path: Path, error: Exception) -> str:
    """An SQLite error in words that a person can act on."""
    name = getattr(error, "sqlite_errorname", "") or ""
    remedies = {
        "SQLITE_FULL": "the disk is full: make room; it goes on by itself",
        "SQLITE_NOTADB": "this is not an SQLite file: move it away to start empty, "
        "or restore a backup",
        "SQLITE_CORRUPT": "the file is damaged: restore a backup, or save what can be read with "
        f"`sqlite3 {path} .recover`",
        "SQLITE_READONLY": "it can't be written to: check owner and mode of the file and its folder",
        "SQLITE_CANTOPEN": "it can't be opened: check that the folder exists and may be written to",
        "SQLITE_IOERR": "the disk failed: look at the kernel's log (dmesg)",
    }
    for start, remedy in remedies.items():
        if name.startswith(start):
            return f"{path}: {remedy} ({name}: {error})"
    return f"{path}: {name}: {error}"

"""The embedded store: one SQLite file, one dispatcher, no server.

One thread writes. Writes that arrive while a commit is under way share the next one (group
commit), so that one fsync serves many tasks. WAL with `synchronous=FULL`: a commit that returned
is on disk, power loss included. Two other threads read: one what the dispatcher waits for, one
lists and counts, so that a list of a million tasks holds up no start.
What a write means is left to operations.py, the SQL to tables.py.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from ygg.journal import Event
from ygg.lifecycle import Refused
from ygg.stores.base import KeyClash, Restored, StoreError, StoreUnusable, UnknownTask, Unstorable
from ygg.stores.lock import locked
from ygg.stores.operations import Operations
from ygg.stores.reader import Reader
from ygg.stores.rows import DamagedRow
from ygg.stores.schema import connect, migrate
from ygg.stores.shell import Shell, Views
from ygg.stores.tables import SqliteTables
from ygg.stores.troubles import explain, is_disk, lasts

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
    """A `TaskStore` in `path`. Raises StoreUnusable from `open`, StoreError from what follows.

    Opened once; after `close` it stays closed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path.absolute()
        # Of the event loop:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._accepts = False
        # Between the two:
        self._writes: queue.SimpleQueue[_Write[object] | None] = queue.SimpleQueue()
        self._seeks, self._lists = Reader("seeks"), Reader("lists")
        # Of the writing thread:
        self._file = self.path
        self._tables: SqliteTables | None = None
        self._operations: Operations | None = None
        #: Position of the last row that listeners were told of, or were not to hear.
        self._told = 0

    async def open(
        self, *, owner: str, now: float, max_strikes: int, once: Collection[str] = ()
    ) -> Restored:
        if self._thread is not None:
            raise StoreUnusable(f"{self.path}: was opened before by this very object: make another")
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="ygg-store-write", daemon=True)
        self._accepts = True
        self._thread.start()
        try:
            return await super().open(owner=owner, now=now, max_strikes=max_strikes, once=once)
        except StoreUnusable:
            await self.close()
            raise
        except StoreError as error:
            await self.close()
            raise StoreUnusable(str(error)) from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Carry out what was asked for, then end. Calls that come later are refused."""
        if self._thread is None:
            return
        if self._accepts:
            self._accepts = False
            self._writes.put(None)
        await asyncio.to_thread(self._thread.join)

    async def probe(self) -> None:
        await self._write("probe", _touch)

    async def _commit(self, operation: Callable[[Operations], T]) -> T:
        self._check_open()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writes.put(_Write(operation, future))  # type: ignore[arg-type]  # T is any object
        return await future

    async def _look(self, look: Callable[[Views], T], *, seek: bool) -> T:
        self._check_open()
        reader = self._seeks if seek else self._lists
        if reader.views is None:
            raise StoreError(f"{self.path}: is not open yet: wait for `open`")
        try:
            return await reader.ask(look)
        except (sqlite3.Error, UnicodeError, DamagedRow) as error:
            raise self._as_ours(error) from error

    def _as_ours(self, error: Exception) -> StoreError:
        """As the caller is told of it."""
        if isinstance(error, StoreUnusable):
            return StoreUnusable(str(error))
        kind = Unstorable if lasts(error) else StoreError
        return kind(explain(self.path, error))

    def _check_open(self) -> None:
        if not self._accepts:
            state = "was closed" if self._thread is not None else "is not open"
            raise StoreError(f"{self.path}: {state}: it takes nothing")

    # -- the writing thread ------------------------------------------------------------------

    def _work(self) -> None:
        """The thread's whole life: what it opens, it closes, in reverse order."""
        with ExitStack() as stack:
            unusable: StoreUnusable | None = None
            try:
                self._prepare(stack)
            except StoreUnusable as error:
                unusable = error
            except Exception as error:  # noqa: BLE001 - raised by `open`
                unusable = StoreUnusable(explain(self.path, error))
                unusable.__cause__ = error
            last = False
            while not last:
                group, last = self._gather()
                if unusable is None:
                    self._carry_out(group)
                else:
                    self._fail(group, unusable)

    def _prepare(self, stack: ExitStack) -> None:
        path = self._file = self.path.resolve()  # two names of one file are one store
        stack.enter_context(locked(path))
        stack.callback(self._discard)
        connection = connect(path, create=True)
        with ExitStack() as undo:
            undo.callback(connection.close)
            migrate(connection, path)
            self._tables = SqliteTables(connection)
            undo.pop_all()
        self._operations = Operations(self._tables)
        self._told, _ = self._tables.mark()
        # Closed before the writer: the last one to close empties the log into the file.
        self._seeks.open(path, stack)
        self._lists.open(path, stack)

    def _gather(self) -> tuple[list[_Write[object]], bool]:
        """The writes that share the next commit, and whether they are the last ones."""
        group: list[_Write[object]] = []
        write = self._writes.get()
        while write is not None:
            group.append(write)
            if len(group) == _GROUP:
                return group, False
            try:
                write = self._writes.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _carry_out(self, group: Sequence[_Write[object]]) -> None:
        """One transaction for the group; where one write breaks it, one for each."""
        if not group:
            return
        try:
            events = self._transact(group)
        except Exception as error:  # noqa: BLE001 - handed to every caller of the group
            if len(group) > 1 and not isinstance(error, StoreError) and not is_disk(error):
                # One write has an error of its own: the others shall not suffer for it.
                for write in group:
                    self._carry_out([write])
            elif lasts(error):
                self._fail(group, error)  # the store is well: what waits behind it goes on
            else:
                # What waits behind it fails with it: a claim must not overtake one decided before.
                self._fail([*group, *self._waiting()], error)
        else:
            self._announce(events, group)

    def _waiting(self) -> Iterator[_Write[object]]:
        """What was asked for meanwhile; the sign to end stays where it is."""
        for _ in range(self._writes.qsize()):
            write = self._writes.get_nowait()
            if write is None:
                self._writes.put(None)
                return
            yield write

    def _transact(self, group: Sequence[_Write[object]]) -> Sequence[Event]:
        tables, operations = self._opened()
        mark = tables.mark()
        try:
            tables.connection.execute("BEGIN IMMEDIATE")
            for write in group:
                write.error = write.result = None
                try:
                    write.result = write.operation(operations)
                except _REFUSALS as refusal:
                    write.error = refusal
            tables.connection.execute("COMMIT")
        except BaseException as error:
            operations.events = []
            tables.reset(mark)
            try:
                if tables.connection.in_transaction:  # else SQLite has rolled back already
                    tables.connection.execute("ROLLBACK")
            except sqlite3.Error as second:
                error.add_note(f"and the rollback failed: {second}")
                self._discard()
            if isinstance(error, sqlite3.Error) and is_disk(error):
                # After a failed fsync the kernel may call lost pages clean: trust nothing.
                self._discard()
            raise
        events, operations.events = operations.events, []
        return events

    def _opened(self) -> tuple[SqliteTables, Operations]:
        """The file, opened anew if the disk had failed. Raises StoreUnusable, sqlite3.Error."""
        assert self._operations is not None
        if self._tables is None:
            connection = connect(self._file)
            with ExitStack() as undo:
                undo.callback(connection.close)
                tables = SqliteTables(connection)
                # A commit that was reported as failed may have come about after all.
                events = tables.journal(self._told, -1, None)
                undo.pop_all()
            self._tables = self._operations.tables = tables
            if events:
                log.warning("event=store_rows_found file=%s rows=%d", self.path, len(events))
            self._announce(events, ())
        return self._tables, self._operations

    def _discard(self) -> None:
        tables, self._tables = self._tables, None
        if tables is not None:
            tables.connection.close()

    # -- telling -----------------------------------------------------------------------------

    def _fail(self, group: Sequence[_Write[object]], error: Exception) -> None:
        if not isinstance(error, StoreError | DamagedRow) and not is_disk(error):
            # A mistake of ours, or text that no file can hold: the caller sees only a StoreError.
            log.error("event=store_write_failed file=%s", self.path, exc_info=error)
        for write in group:
            write.error = self._as_ours(error)
            write.error.__cause__ = error
        self._announce((), group)

    def _announce(self, events: Sequence[Event], group: Sequence[_Write[object]]) -> None:
        """Listeners first: the board is ahead of whoever waited for the write."""
        if events:
            self._told = events[-1].position

        def tell() -> None:
            self._tell(events)
            for write in group:
                write.settle()

        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(tell)
        except RuntimeError:
            if not self._loop.is_closed():
                raise
            # The loop ended without `close`, and with it all who waited. What was written stands.
            log.warning("event=store_untold file=%s writes=%d hint='close the store before the loop'",
                        self.path, len(group))  # fmt: skip


def _touch(operations: Operations) -> None:
    tables = operations.tables
    assert isinstance(tables, SqliteTables)
    tables.touch()

"""What only the SQLite store can show: files, locks, commits, plans, and disks that fail."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from tests.contracts.drafts import (
    HOST,
    LANE,
    a_draft,
    born,
    claimed,
    closed,
    everything,
    opened,
    ready_ids,
)
from ygg.backlog import BEFORE_ALL
from ygg.journal import Event, Kind
from ygg.stores import pruning, schema, tables
from ygg.stores.base import HostRow, Query, StoreError, StoreUnusable, UnknownTask, Unstorable
from ygg.stores.operations import Operations
from ygg.stores.rows import DamagedRow
from ygg.stores.schema import APPLICATION, MIGRATIONS, connect, connect_reader, migrate
from ygg.stores.sqlite import SqliteStore
from ygg.stores.tables import SqliteTables
from ygg.tasks import Held, Rank, Status

ROOT = Path(__file__).parents[2]
T = TypeVar("T")


def run(story: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(story)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ygg.db"


def made(path: Path, *, tasks: int = 0) -> list[str]:
    """A store that was used and closed."""

    async def story() -> list[str]:
        store = await opened(SqliteStore(path))
        ids = [(await born(store)).id for _ in range(tasks)]
        await store.close()
        return ids

    return run(story())


def unusable(path: Path) -> str:
    """The words with which a store refuses to open."""

    async def story() -> str:
        store = SqliteStore(path)
        with pytest.raises(StoreUnusable) as refused:
            await opened(store)
        with pytest.raises(StoreError, match="was closed"):
            await store.probe()
        return str(refused.value)

    return run(story())


@contextmanager
def child(deed: str, path: Path, **environ: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.stores.child", deed, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def says(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the child ended without a word: {process.wait()}"
    return cast("dict[str, Any]", json.loads(line))


def in_file(path: Path, question: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(question).fetchall()


def edit(path: Path, change: str, task_id: str) -> None:
    """Somebody changes the row of a task by hand."""
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(f"UPDATE tasks SET {change} WHERE id = ?", (task_id,)).rowcount


class Gate:
    """Holds the writing thread inside a write until it is opened."""

    def __init__(self, store: SqliteStore) -> None:
        self._entered, self._open = threading.Event(), threading.Event()
        self._held = asyncio.ensure_future(store._write("gate", self._wait))

    def _wait(self, operations: Operations) -> None:
        self._entered.set()
        assert self._open.wait(60.0)

    async def entered(self) -> None:
        await asyncio.to_thread(self._entered.wait)

    def open(self) -> None:
        self._open.set()

    async def passed(self) -> None:
        self.open()
        await self._held


async def turns(count: int = 5) -> None:
    """Let what is ready run, so that its calls are on their way."""
    for _ in range(count):
        await asyncio.sleep(0)


async def in_writer(store: SqliteStore, deed: Callable[[SqliteTables], T]) -> T:
    """On the writing thread's own connection; outside what the store promises."""
    return await store._write("test", lambda o: deed(cast("SqliteTables", o.tables)))


# -- one dispatcher a store --------------------------------------------------------------------


def test_a_store_is_open_once_in_a_process(path: Path) -> None:
    async def story() -> None:
        store = await opened(SqliteStore(path))
        second = SqliteStore(path)
        with pytest.raises(StoreUnusable, match=rf"process {os.getpid()}\) has this store open"):
            await opened(second)
        await born(store)  # the first does not suffer
        await store.close()
        third = await opened(SqliteStore(path))
        await third.close()

    run(story())


def test_two_names_of_a_file_are_one_store(path: Path) -> None:
    made(path)
    link = path.with_name("link.db")
    link.symlink_to(path)

    async def story() -> None:
        store = await opened(SqliteStore(path))
        with pytest.raises(StoreUnusable, match="has this store open"):
            await opened(SqliteStore(link))
        await store.close()

    run(story())


def test_a_store_object_is_opened_once(path: Path) -> None:
    async def story() -> None:
        store = await opened(SqliteStore(path))
        with pytest.raises(StoreUnusable, match="opened before by this very object"):
            await opened(store)
        await born(store)
        await store.close()
        with pytest.raises(StoreUnusable, match="make another"):
            await opened(store)

    run(story())


@pytest.mark.system
def test_another_process_has_it_until_it_dies(path: Path) -> None:
    with child("hold", path) as holder:
        held = says(holder)["held"]
        assert f"another dispatcher (process {held}) has this store open" in unusable(path)
        assert "--state DIR" in unusable(path)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        made(path, tasks=1)


def test_a_copy_of_the_lock_in_a_child_does_not_outlive_the_store(path: Path) -> None:
    async def story() -> None:
        store = await opened(SqliteStore(path))
        own = Path("/proc/self/fd")
        (lock,) = [int(f.name) for f in own.iterdir() if _target(f).endswith("ygg.db.lock")]
        copy = os.dup(lock)  # what a fork does
        await store.close()
        again = await opened(SqliteStore(path))
        await again.close()
        os.close(copy)

    run(story())


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # the listing's own descriptor
        return ""


# -- files that are not for us -----------------------------------------------------------------


def test_what_is_no_sqlite_file_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("not a database at all\n" * 100)
    assert "this is not an SQLite file" in unusable(path)
    assert path.read_text() == "not a database at all\n" * 100


def test_a_truncated_file_is_refused(path: Path) -> None:
    made(path, tasks=50)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "the file is damaged: restore a backup" in unusable(path)


def test_a_damaged_file_is_refused(path: Path) -> None:
    made(path, tasks=50)
    whole = bytearray(path.read_bytes())
    whole[4096:] = bytes(len(whole) - 4096)
    path.write_bytes(whole)
    assert "the file is damaged: restore a backup" in unusable(path)


def test_a_newer_schema_is_refused(path: Path) -> None:
    made(path)
    in_file(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    known, found = len(MIGRATIONS), len(MIGRATIONS) + 1
    assert f"written by a newer ygg (schema {found}, this one knows {known})" in unusable(path)


@pytest.mark.parametrize("version", [0, 1, -1])
def test_another_programs_database_is_refused(path: Path, version: int) -> None:
    path.parent.mkdir()
    in_file(path, "CREATE TABLE songs (name)")
    in_file(path, f"PRAGMA user_version = {version}")
    assert "is the database of another program" in unusable(path)
    assert in_file(path, "SELECT name FROM sqlite_master") == [("songs",)]


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    words = unusable(tmp_path / "file" / "below" / "ygg.db")
    assert "can't be made (Not a directory): give ygg a folder it may write to" in words


@pytest.mark.system
@pytest.mark.parametrize("what", ["folder", "file"])
def test_missing_rights_are_told(what: str) -> None:
    # Not below tmp_path: nobody else may enter that.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made(folder / "ygg.db")
        (folder / "ygg.db.lock").unlink()
        (folder / "ygg.db").chmod(0o444)
        folder.chmod(0o555 if what == "folder" else 0o777)
        with child("without_rights", folder / "ygg.db") as process:
            words = says(process)["refused"]
    if what == "folder":
        assert "ygg.db.lock: can't be made (Permission denied)" in words
    else:
        assert "it can't be written to: check owner and mode of the file" in words


def test_what_failed_to_open_is_let_go(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("not a database at all\n" * 100)
    unusable(path)
    path.unlink()
    made(path, tasks=1)
    assert not [t for t in threading.enumerate() if t.name.startswith("ygg-store")]


# -- schema and settings -----------------------------------------------------------------------


def test_durability_is_asked_back(path: Path) -> None:
    async def story() -> None:
        store = SqliteStore(path)
        await opened(store)

        def settings(on: SqliteTables) -> list[object]:
            names = ("journal_mode", "synchronous", "application_id", "user_version")
            ask = on.connection.execute
            return [ask(f"PRAGMA {name}").fetchone()[0] for name in names]

        assert await in_writer(store, settings) == ["wal", 2, APPLICATION, len(MIGRATIONS)]
        await store.close()

    run(story())


def test_a_file_system_without_a_write_ahead_log_is_refused(path: Path) -> None:
    """An in-memory database answers `memory`, as file systems without shared memory `delete`."""
    with (
        closing(sqlite3.connect(":memory:", isolation_level=None)) as in_memory,
        pytest.raises(StoreUnusable, match="journal_mode is memory, not wal"),
    ):
        schema._make_durable(in_memory, path)


def test_migrations_are_applied_once_each(path: Path) -> None:
    path.parent.mkdir()
    with closing(connect(path, create=True)) as connection:
        statements: list[str] = []
        connection.set_trace_callback(statements.append)
        migrate(connection, path)
        first = [s for s in statements if s.lstrip().startswith("CREATE TABLE tasks")]
        assert len(first) == 1
        statements.clear()
        migrate(connection, path)
        assert [s for s in statements if "CREATE" in s or "BEGIN" in s] == []


def test_the_file_of_the_first_version_keeps_its_hosts(path: Path) -> None:
    """Its columns are those of the first migration; what came later has a meaning for them."""
    path.parent.mkdir()
    with closing(connect(path, create=True)) as connection:
        connection.executescript(
            f"{MIGRATIONS[0]}; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = 1;"
            "INSERT INTO hosts VALUES ('a', 3, 2, 3, NULL), ('b', NULL, NULL, NULL, 'repair')"
        )

    async def story() -> None:
        store = SqliteStore(path)
        restored = await store.open(owner="one", now=1.0, max_strikes=3)
        assert restored.hosts == {
            "a": HostRow(limit=3, start=2, pin=3), "b": HostRow(paused="repair"),
        }  # fmt: skip
        await store.close()

    asyncio.run(story())


def test_a_migration_that_fails_leaves_nothing(path: Path) -> None:
    path.parent.mkdir()
    with closing(connect(path, create=True)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute("CREATE TABLE meta (other)")
        with pytest.raises(sqlite3.OperationalError, match="meta already exists"):
            migrate(connection, path)
    assert in_file(path, "SELECT name FROM sqlite_master") == [("meta",)]
    assert in_file(path, "PRAGMA user_version") == [(0,)]


def test_a_clean_end_leaves_all_in_one_file(path: Path) -> None:
    ids = made(path, tasks=3)
    assert sorted(f.name for f in path.parent.iterdir()) == ["ygg.db", "ygg.db.lock"]
    assert in_file(path, "SELECT id FROM tasks ORDER BY sequence") == [(i,) for i in ids]


# -- group commit ------------------------------------------------------------------------------


def test_concurrent_writes_share_a_commit(path: Path) -> None:
    async def story() -> None:
        store = SqliteStore(path)
        await opened(store)
        statements: list[str] = []
        await in_writer(store, lambda t: t.connection.set_trace_callback(statements.append))
        gate = Gate(store)
        await gate.entered()
        statements.clear()
        writes = [asyncio.ensure_future(born(store)) for _ in range(600)]
        await turns()
        await gate.passed()
        await asyncio.gather(*writes)
        # The gate's own; then 512 of them, then the rest.
        assert statements.count("COMMIT") == 3
        await store.close()

    run(story())


@pytest.mark.parametrize("group", [1, 5])
def test_a_write_that_no_file_can_hold_fails_alone(
    path: Path, group: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        store = SqliteStore(path)
        await opened(store)
        heard: list[Event] = []
        store.follow(heard.extend)
        gate = Gate(store)
        await gate.entered()
        secret = a_draft(description="the secret prompt \ud800")
        writes = [asyncio.ensure_future(born(store)) for _ in range(group - 1)]
        bad = asyncio.ensure_future(store.add([a_draft(), secret], now=1.0))
        writes += [asyncio.ensure_future(born(store)) for _ in range(group - 1)]
        await turns()
        await gate.passed()
        with pytest.raises(Unstorable, match=r"UnicodeEncodeError: .* surrogates not allowed"):
            await bad
        tasks = await asyncio.gather(*writes)
        # Nothing of the bad one took a number.
        assert [t.sequence for t in tasks] == list(range(1, len(tasks) + 1))
        assert [e.task for e in heard] == [t.id for t in tasks]
        assert len((await store.find(Query())).tasks) == len(tasks)
        await store.close()

    run(story())
    assert "secret" not in caplog.text


def test_a_mistake_of_ours_fails_alone_and_is_logged(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        store = SqliteStore(path)
        await opened(store)

        def mistake(on: SqliteTables) -> None:
            on.connection.execute("DELETE FROM tasks")
            raise ZeroDivisionError("a bug")

        task = await born(store)
        gate = Gate(store)
        await gate.entered()
        bad, good = (
            asyncio.ensure_future(in_writer(store, mistake)),
            asyncio.ensure_future(born(store)),
        )
        await turns()
        await gate.passed()
        with pytest.raises(Unstorable, match="ZeroDivisionError: a bug"):
            await bad
        await good
        assert (await store.get(task.id)) == task
        await store.close()

    run(story())
    (record,) = [r for r in caplog.records if r.name == "ygg.store"]
    assert record.exc_info is not None


def test_what_waits_behind_a_write_that_can_never_be_taken_is_taken(path: Path) -> None:
    async def story() -> None:
        store = SqliteStore(path)
        await opened(store)
        entered, go_on = threading.Event(), threading.Event()

        def mistake(_: SqliteTables) -> None:
            entered.set()
            assert go_on.wait(30.0)
            raise ZeroDivisionError("a bug")

        bad = asyncio.ensure_future(in_writer(store, mistake))
        assert await asyncio.to_thread(entered.wait, 30.0)
        behind = [asyncio.ensure_future(born(store)) for _ in range(3)]
        await turns()
        go_on.set()
        with pytest.raises(Unstorable):
            await bad
        assert len({task.id for task in await asyncio.gather(*behind)}) == 3
        await store.close()

    run(story())


@pytest.mark.parametrize("change", ["labels = '{'", "title = CAST(x'ff' AS TEXT)"])
def test_the_claim_of_a_damaged_row_misses_and_leaves_it_as_it_is(path: Path, change: str) -> None:
    async def story() -> None:
        store = await opened(SqliteStore(path))
        bad, good = [await born(store) for _ in range(2)]
        edit(path, change, bad.id)
        whole = f"SELECT labels, CAST(title AS BLOB), status, attempt, host FROM tasks WHERE id = '{bad.id}'"
        before = in_file(path, whole)
        assert await store.claim(bad.id, option=HOST, seen=3, now=4.0) is None
        assert await store.claim(good.id, option=HOST, seen=3, now=4.0) is not None
        missed, _ = (await store.journal())[-2:]
        assert (missed.kind, missed.task, missed.reason) == (Kind.MISSED, bad.id, "damaged")
        assert "row 1 of tasks is damaged" in str(missed.detail["error"])
        assert in_file(path, whole) == before
        await store.close()

    run(story())


@pytest.mark.parametrize("change", ["labels = '{'", "title = CAST(x'ff' AS TEXT)"])
def test_a_damaged_row_of_a_source_holds_up_no_start(path: Path, change: str) -> None:
    async def story() -> None:
        store = await opened(SqliteStore(path))
        bad, good = [await born(store, source="beads", source_id=one) for one in ("b-1", "b-2")]
        await store.close()
        edit(path, change, bad.id)
        store = await opened(SqliteStore(path))
        assert (await store.get(good.id)).held is Held.FOR_SOURCE
        assert await store.claim(bad.id, option=HOST, seen=3, now=4.0) is None
        await store.close()

    run(story())


@pytest.mark.parametrize(
    "change",
    ["labels = '{'", "not_before = 'soon'", "not_before = x'00'", "title = CAST(x'ff' AS TEXT)"],
)
def test_a_damaged_row_whose_time_has_come_holds_up_no_other(path: Path, change: str) -> None:
    async def story() -> None:
        store = await opened(SqliteStore(path))
        bad, good, later = [
            await born(store, held=Held.NOT_BEFORE, not_before=at) for at in (5.0, 6.0, 50.0)
        ]
        edit(path, change, bad.id)
        assert await store.release_due(now=9.0) == 50.0
        held, released = (await store.journal())[-2:][::-1]
        assert (held.kind, held.task, held.reason) == (Kind.HELD, bad.id, "damaged")
        assert "row 1 of tasks is damaged" in str(held.detail["error"])
        assert (released.kind, released.task) == (Kind.RELEASED, good.id)
        last = held.position
        assert await store.release_due(now=60.0) is None
        assert [row.task for row in await store.journal(after=last)] == [later.id], "told once"
        await store.close()

    run(story())


def test_a_store_in_which_any_place_in_the_order_is_damaged_is_not_opened(path: Path) -> None:
    first, _ = made(path, tasks=2)
    edit(path, "created_at = 'soon'", first)
    assert "row 1 of tasks is damaged ('soon' is no number)" in unusable(path)


def test_a_text_beyond_what_sqlite_takes_fails_alone(path: Path) -> None:
    async def story() -> None:
        store = SqliteStore(path)
        await opened(store)
        # As a description beyond 1 GB would, in less memory.
        await in_writer(
            store, lambda t: t.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)
        )
        with pytest.raises(Unstorable, match="string or blob too big"):
            await store.add([a_draft(description="x" * 1_000_001)], now=1.0)
        task = await born(store, description="x" * 900_000)
        assert await store.get(task.id) == task
        await store.close()

    run(story())


def test_looks_that_no_file_can_answer_are_refused(path: Path) -> None:
    async def story() -> None:
        store = await opened(SqliteStore(path))
        for look in (store.get("\ud800"), store.find(Query(host="\ud800"))):
            with pytest.raises(Unstorable, match="surrogates not allowed"):
                await look
        await born(store)
        await store.close()

    run(story())


def test_a_cancelled_caller_does_not_break_its_group(path: Path) -> None:
    async def story() -> None:
        store = SqliteStore(path)
        await opened(store)
        gate = Gate(store)
        await gate.entered()
        drafts = [a_draft() for _ in range(3)]
        writes = [asyncio.ensure_future(store.add([d], now=1.0)) for d in drafts]
        await turns()
        writes[1].cancel()
        await turns()
        await gate.passed()
        assert [(await writes[n])[0].new for n in (0, 2)] == [True, True]
        assert writes[1].cancelled()
        # What was on its way stands all the same.
        assert await ready_ids(store) == [d.id for d in drafts]
        await store.close()

    run(story())


def test_a_look_sees_what_was_told(path: Path) -> None:
    async def story() -> None:
        store = await opened(SqliteStore(path))
        looks: list[asyncio.Future[Any]] = []
        store.follow(
            lambda events: looks.extend(
                asyncio.ensure_future(store.get(e.task)) for e in events if e.task
            )
        )
        for _ in range(30):
            task = await born(store)
            assert await store.get(task.id) == task
            assert (await store.ready(LANE, after=task.rank._replace(sequence=-1), limit=1))[
                0
            ] == task.waiting
        assert len(await asyncio.gather(*looks)) == 30
        await store.close()

    run(story())


# -- ends --------------------------------------------------------------------------------------


def test_close_carries_out_what_was_asked_for(path: Path) -> None:
    async def story() -> None:
        store = SqliteStore(path)
        await opened(store)
        gate = Gate(store)
        await gate.entered()
        writes = [asyncio.ensure_future(born(store)) for _ in range(20)]
        look = asyncio.ensure_future(store.overview())
        await turns()
        ends = [asyncio.ensure_future(store.close()) for _ in range(2)]
        await turns()
        for late in (born(store), store.probe(), store.overview()):
            with pytest.raises(StoreError, match="was closed: it takes nothing"):
                await late
        await gate.passed()
        await asyncio.gather(*ends)
        assert len({t.id for t in await asyncio.gather(*writes)}) == 20
        await look
        await store.close()

    run(story())
    assert in_file(path, "SELECT count(*) FROM tasks") == [(20,)]


def test_a_close_that_is_cancelled_goes_on(path: Path) -> None:
    async def story() -> None:
        store = SqliteStore(path)
        await opened(store)
        gate = Gate(store)
        await gate.entered()
        end = asyncio.ensure_future(store.close())
        await turns()
        end.cancel()
        with pytest.raises(asyncio.CancelledError):
            await end
        await gate.passed()
        await store.close()
        again = await opened(SqliteStore(path))
        await again.close()

    run(story())


def test_a_store_that_was_never_opened_says_so(path: Path) -> None:
    async def story() -> None:
        store = SqliteStore(path)
        for call in (store.probe(), store.overview(), born(store)):
            with pytest.raises(StoreError, match="is not open"):
                await call
        await store.close()

    run(story())
    assert not path.parent.exists()  # constructors have no effects


def test_an_opening_that_is_cancelled_lets_go(path: Path) -> None:
    async def story() -> None:
        opening = asyncio.ensure_future(opened(SqliteStore(path)))
        await turns(1)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        again = await opened(SqliteStore(path))
        await again.close()

    run(story())


def test_a_loop_that_ends_first_leaves_the_thread_alive(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SqliteStore(path)
    gates: list[Gate] = []

    async def story() -> None:
        await opened(store)
        gates.append(Gate(store))
        await gates[0].entered()
        asyncio.ensure_future(born(store))  # noqa: RUF006 - it is to be forgotten
        await turns()

    run(story())
    gates[0].open()
    run(store.close())
    assert in_file(path, "SELECT count(*) FROM tasks") == [(1,)]
    assert "event=store_untold" in caplog.text


# -- disks that fail ---------------------------------------------------------------------------


class Disk:
    """A connection that fails as told: `before` a statement took effect, or `after`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.failures: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        due = self.failures[0] if self.failures else ("", "")
        if due == ("before", statement):
            raise self._failure()
        cursor = self._connection.execute(statement, values)
        if due == ("after", statement):
            raise self._failure()
        return cursor

    def _failure(self) -> sqlite3.OperationalError:
        self.failures.pop(0)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        return error


async def failing(store: SqliteStore, *failures: tuple[str, str]) -> None:
    def install(on: SqliteTables) -> None:
        disk = Disk(on.connection)
        on.connection = cast("sqlite3.Connection", disk)
        armed.append(disk)

    armed: list[Disk] = []
    await in_writer(store, install)
    armed[0].failures += failures


@pytest.mark.parametrize("moment", ["before", "after"])
def test_after_a_failed_sync_the_file_is_opened_anew(path: Path, moment: str) -> None:
    """Whether the commit came about is unknown: the repeat is right in both cases."""

    async def story() -> None:
        store = SqliteStore(path)
        await opened(store)
        heard: list[Event] = []
        store.follow(heard.extend)
        first = await born(store)
        await failing(store, (moment, "COMMIT"))
        draft = a_draft()
        with pytest.raises(StoreError, match="the disk failed"):
            await store.add([draft], now=1.0)
        assert [e.task for e in heard] == [first.id]
        (again,) = await store.add([draft], now=1.0)
        assert again.new is (moment == "before")
        assert [e.task for e in heard] == [first.id, draft.id]  # heard, and once
        assert [e.position for e in heard] == [2, 3]
        assert again.task.sequence == 2
        assert await ready_ids(store) == [first.id, draft.id]
        await store.close()

    run(story())


def test_a_claim_whose_answer_was_lost_is_heard_and_says_yes_again(path: Path) -> None:
    async def story() -> None:
        store = SqliteStore(path)
        await opened(store)
        heard: list[Kind] = []
        store.follow(lambda events: heard.extend(e.kind for e in events))
        task = await born(store)
        await failing(store, ("after", "COMMIT"))
        with pytest.raises(StoreError):
            await claimed(store, task)
        assert (await claimed(store, task)).attempt == 1
        assert heard == [Kind.ACCEPTED, Kind.STARTED]
        await store.close()

    run(story())


def test_a_rollback_that_fails_is_told_with_its_cause(path: Path) -> None:
    async def story() -> None:
        store = SqliteStore(path)
        await opened(store)
        await failing(store, ("before", "ROLLBACK"))

        def mistake(on: SqliteTables) -> None:
            on.connection.execute("DELETE FROM journal")
            raise ZeroDivisionError("a bug")

        with pytest.raises(StoreError) as failed:
            await in_writer(store, mistake)
        cause = failed.value.__cause__
        assert cause is not None
        assert cause.__notes__ == ["and the rollback failed: disk I/O error"]
        task = await born(store)  # on a file that was opened anew
        assert task.sequence == 1
        assert [e.kind for e in await store.journal()] == [Kind.OPENED, Kind.ACCEPTED]
        await store.close()

    run(story())


def test_a_file_that_is_away_for_a_while_is_taken_up_again(path: Path) -> None:
    async def story() -> None:
        store = SqliteStore(path)
        await opened(store)
        first = await born(store)
        await failing(store, ("before", "BEGIN IMMEDIATE"))
        with pytest.raises(StoreError):
            await born(store)
        away = path.with_name("away")
        path.rename(away)
        for _ in range(3):
            with pytest.raises(StoreError, match="it can't be opened: check that the folder"):
                await born(store)
        assert not path.exists()  # no empty one took its place
        away.rename(path)
        second = await born(store)
        assert await ready_ids(store) == [first.id, second.id]
        await store.close()

    run(story())


def test_another_program_that_locks_the_file_is_told(path: Path) -> None:
    async def story() -> None:
        store = SqliteStore(path)
        await opened(store)
        await in_writer(store, lambda t: t.connection.execute("PRAGMA busy_timeout = 0"))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="another program has locked it"):
                await born(store)
            other.execute("ROLLBACK")
        await born(store)
        await store.close()

    run(story())


def _filled(facts: Mapping[str, Any], path: Path) -> None:
    """What `fill` must have seen, and what must be in the file."""
    assert len(facts["errors"]) >= 5
    words = ("the disk is full: make room", "the disk failed, or a limit of it was reached")
    for error in (*facts["errors"], facts["probed"]):
        assert any(w in error for w in words), error
        assert error.count(path.name) == 1, error
    assert facts["readable"] == len(facts["acknowledged"])  # with OPENED, less the last one
    stored = [row[0] for row in in_file(path, "SELECT id FROM tasks ORDER BY sequence")]
    assert stored == facts["acknowledged"]
    assert facts["last"] == len(stored)
    positions = [row[0] for row in in_file(path, "SELECT position FROM journal")]
    assert positions == list(range(1, len(stored) + 2))
    assert facts["heard"] == positions[1:]
    assert in_file(path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.system
def test_at_a_file_size_limit_nothing_acknowledged_is_missing(path: Path) -> None:
    with child("fill", path, LIMIT="300000") as process:
        facts = says(process)
        assert process.wait() == 0
    _filled(facts, path)


@pytest.mark.system
def test_on_a_full_disk_nothing_acknowledged_is_missing(tmp_path: Path) -> None:
    mount = ["unshare", "--map-root-user", "--mount", "sh", "-ec"]
    if shutil.which("unshare") is None or subprocess.run([*mount, "true"], check=False).returncode:
        pytest.skip("no mount namespaces here: the test at a file size limit stands in")
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    script = (
        'mount -t tmpfs -o size=1m tmpfs "$1"; '
        '"$3" -m tests.stores.child fill "$1/ygg.db"; cp -r "$1" "$2"'
    )
    done = subprocess.run(
        [*mount, script, "sh", str(disk), str(copy), sys.executable],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    _filled(json.loads(done.stdout), copy / "ygg.db")


@pytest.mark.system
def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    chance = random.Random(4)
    rank = {"open": 0, "in_progress": 1, "closed": 2}
    acknowledged: dict[str, str] = {}
    for _ in range(20):
        with child("write", path) as process:
            assert says(process)["opened"]
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 150)):
                step = says(process)
                acknowledged[step["id"]] = step["status"]
            process.send_signal(signal.SIGKILL)
            # What was still in the pipe was acknowledged too; a torn last line was not.
            for line in process.stdout:
                if line.endswith("\n"):
                    step = json.loads(line)
                    acknowledged[step["id"]] = step["status"]
        assert in_file(path, "PRAGMA integrity_check") == [("ok",)]
    assert len(acknowledged) > 20
    made(path)  # the last one's rescue
    stored = dict(in_file(path, "SELECT id, status FROM tasks"))
    for task_id, status in acknowledged.items():
        assert task_id in stored
        if status == "closed":
            assert stored[task_id] == "closed"
        assert rank[stored[task_id]] in (0, 2)  # nothing is in progress: the dispatcher is dead
    positions = [row[0] for row in in_file(path, "SELECT position FROM journal")]
    assert positions == list(range(1, len(positions) + 1))
    # As many starts as ends: each attempt of a dead one was ended by a rescue.
    count = dict(in_file(path, "SELECT kind, count(*) FROM journal GROUP BY kind"))
    assert count["started"] == count["closed"] + count.get("reopened", 0)


# -- plans -------------------------------------------------------------------------------------


class Recording:
    """A connection that keeps what it was asked, as it was asked."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.asked: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
        self.asked.append((statement, values))
        return self._connection.execute(statement, values)

    def executemany(self, statement: str, many: Any) -> sqlite3.Cursor:
        many = list(many)
        self.asked += [(statement, values) for values in many]
        return self._connection.executemany(statement, many)

    def plans(self) -> list[str]:
        """Of every SELECT, UPDATE and DELETE that was asked."""
        found = []
        for statement, values in self.asked:
            if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
                plan = self._connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)
                found += [row[3] for row in plan.fetchall()]
        return found


@pytest.fixture
def recorded() -> Iterator[tuple[SqliteTables, Recording]]:
    """Plans do not depend on what is stored: nothing is ever analysed."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, Path("memory"))
        recording = Recording(connection)
        store = SqliteTables(cast("sqlite3.Connection", recording))
        recording.asked.clear()
        yield store, recording


class LateTeller(SqliteStore):
    """Its rows are on disk, and told of only once `go` is set: the loop may be that busy."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.go = threading.Event()
        self.go.set()

    def _announce(self, events: Sequence[Event], group: Sequence[Any]) -> None:
        assert self.go.wait(60), "nobody let it tell"
        super()._announce(events, group)


def test_a_page_waits_until_listeners_were_told_of_all_that_it_saw(path: Path) -> None:
    async def story() -> None:
        store = await opened(LateTeller(path))
        assert isinstance(store, LateTeller)
        told: list[str] = []
        store.follow(lambda events: told.extend(event.task for event in events))
        store.go.clear()
        adding = asyncio.ensure_future(born(store))
        with closing(connect_reader(path)) as other:
            while not other.execute("SELECT count(*) FROM tasks").fetchone()[0]:
                await asyncio.sleep(0.001)  # committed, says the disk
        reading = asyncio.ensure_future(store.ready(LANE, after=BEFORE_ALL, limit=9))
        await asyncio.sleep(0)  # it has asked
        with pytest.raises(UnknownTask):
            await store.get("x" * 18)  # by the same reader, in turn: the page was read by now
        assert (told, reading.done()) == ([], False)
        store.go.set()
        assert [waiting.id for waiting in await reading] == [(await adding).id] == told
        await store.close()

    run(story())


def test_a_page_that_saw_what_nobody_will_tell_of_fails(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ygg.stores.shell._TOLD_SECONDS", 0.01)

    async def story() -> None:
        store = await opened(SqliteStore(path))
        task = await born(store)
        with closing(connect(path)) as other:  # as a commit that was reported as failed
            other.execute(
                "INSERT INTO journal (at, kind, task, host, model, seen, reason) "
                "VALUES (1, 'held', ?, '', '', 0, '')", (task.id,)
            )  # fmt: skip
        with pytest.raises(StoreError, match="nobody was told of"):
            await ready_ids(store)
        await store.close()

    run(story())


KIND = "SEARCH journal USING INDEX journal_kind (kind=? AND host=? AND model=?"
READY = "SEARCH tasks USING INDEX tasks_ready (type=? AND model=? AND run_next=? AND "


@pytest.mark.pure
@pytest.mark.parametrize(
    ("deed", "expected"),
    [
        pytest.param(
            lambda t: t.ready(LANE, Rank(False, 2, 5.0, 1), 9),
            [
                f"{READY}priority=? AND created_at=? AND sequence>?)",
                f"{READY}priority=? AND created_at>?)",
                f"{READY}priority>?)",
                f"{READY}priority>?)",
            ],
            id="ready",
        ),
        pytest.param(
            lambda t: t.waiting(), ["SCAN tasks USING COVERING INDEX tasks_ready"], id="waiting"
        ),
        pytest.param(
            lambda t: t.oldest(),
            ["SEARCH tasks USING COVERING INDEX tasks_ready (type>?)"],
            id="oldest of nothing",
        ),
        pytest.param(
            lambda t: t.load("x"),
            ["SEARCH tasks USING INDEX sqlite_autoindex_tasks_1 (id=?)"],
            id="load",
        ),
        pytest.param(
            lambda t: t.by_key("me", "k"),
            ["SEARCH tasks USING INDEX tasks_key (submitter=? AND key=?)"],
            id="by_key",
        ),
        pytest.param(
            lambda t: t.by_source("beads", "x"),
            ["SEARCH tasks USING INDEX tasks_source (source=? AND source_id=?)"],
            id="by_source",
        ),
        pytest.param(
            lambda t: t.in_progress(),
            ["SEARCH tasks USING INDEX tasks_unfinished (status=?)"],
            id="in_progress",
        ),
        pytest.param(
            lambda t: t.due(5.0),
            [
                "SEARCH tasks USING INDEX tasks_held (held=? AND not_before<?)",
                "SEARCH tasks USING INDEX tasks_held (held=? AND not_before>?)",
            ],
            id="due",
        ),
        pytest.param(
            lambda t: t.next_due(),
            ["SEARCH tasks USING COVERING INDEX tasks_held (held=? AND not_before<?)"],
            id="next_due",
        ),
        pytest.param(
            lambda t: t.overview(),
            [
                "SCAN counts",
                "SEARCH tasks USING COVERING INDEX tasks_unfinished (status=?)",
                "SCAN errors USING COVERING INDEX errors_most",
                "SEARCH errors USING PRIMARY KEY (error>? AND error<?)",
                "SCAN outbox USING COVERING INDEX outbox_due",  # what is untold: little
            ],
            id="overview",
        ),
        pytest.param(
            lambda t: t.find(Query(status=Status.BLOCKED), 99, 9),
            ["SEARCH tasks USING INDEX tasks_unfinished (status=? AND sequence<?)"],
            id="find blocked",
        ),
        pytest.param(
            lambda t: t.find(Query(status=Status.OPEN, host="a"), None, 9),
            ["SEARCH tasks USING INDEX tasks_unfinished (status=?)"],
            id="find open",
        ),
        pytest.param(
            lambda t: t.find(Query(status=Status.CLOSED), 99, 9),
            ["SEARCH tasks USING INTEGER PRIMARY KEY (rowid<?)"],
            id="find closed",
        ),
        pytest.param(lambda t: t.find(Query(), None, 9), ["SCAN tasks"], id="find"),
        pytest.param(
            lambda t: t.journal(5, 9, None),
            ["SEARCH journal USING INTEGER PRIMARY KEY (rowid>?)"],
            id="journal",
        ),
        pytest.param(
            lambda t: t.journal(5, 9, "x"),
            ["SEARCH journal USING INDEX journal_task (task=? AND position>?)"],
            id="journal of a task",
        ),
        pytest.param(
            lambda t: t.startable_of_sources(),
            [
                "SEARCH tasks USING INDEX tasks_source (source>?)",
                "USE TEMP B-TREE FOR ORDER BY",
            ],
            id="startable of sources",
        ),
        pytest.param(
            lambda t: t.sourced("beads"),
            [
                "SEARCH tasks USING INDEX tasks_source (source=?)",
                "USE TEMP B-TREE FOR ORDER BY",
            ],
            id="sourced",
        ),
        pytest.param(
            lambda t: t.of_source("beads", "x"),
            ["SEARCH tasks USING INDEX tasks_of_source (source=? AND source_id=?)"],
            id="of_source",
        ),
        pytest.param(
            lambda t: t.next_post("beads"),
            ["SEARCH outbox USING COVERING INDEX outbox_due (source=?)"],
            id="next_post",
        ),
        pytest.param(
            lambda t: t.posted("beads", 5.0, 9),
            ["SEARCH outbox USING INDEX outbox_order (source=?)"],
            id="posted",
        ),
        pytest.param(
            lambda t: t.posted_ends("beads"),
            [
                "SEARCH o USING INDEX outbox_order (source=?)",
                "SEARCH t USING INDEX sqlite_autoindex_tasks_1 (id=?)",
            ],
            id="posted_ends",
        ),
        pytest.param(
            lambda t: t.prune(5.0, 5.0, 0),
            [
                "SEARCH tasks USING INDEX tasks_ended (ended_at<?)",
                "USING INDEX sqlite_autoindex_outbox_1 FOR IN-OPERATOR",
                "SEARCH meta USING INDEX sqlite_autoindex_meta_1 (key=?)",
                "SEARCH journal USING INTEGER PRIMARY KEY (rowid>?)",
                f"{KIND})",
                "SCAN journal",  # no further than to the first row of a task
                "SEARCH meta USING INDEX sqlite_autoindex_meta_1 (key=?)",
            ],
            id="prune",
        ),
    ],
)
def test_hot_statements_use_their_index_and_sort_nothing(
    recorded: tuple[SqliteTables, Recording],
    deed: Callable[[SqliteTables], object],
    expected: list[str],
) -> None:
    store, recording = recorded
    deed(store)
    assert recording.plans() == expected


@pytest.mark.pure
@pytest.mark.parametrize(
    ("statement", "values", "expected"),
    [
        (pruning.LAST_ROW, "t", "SEARCH journal USING COVERING INDEX journal_task (task=?)"),
        (pruning.FORGET_ROWS, "t", "SEARCH journal USING INDEX journal_task (task=?)"),
        (pruning.FORGET_TASK, "1", "SEARCH tasks USING INTEGER PRIMARY KEY (rowid=?)"),
        (pruning.LIVES, "t1", "SEARCH tasks USING INDEX sqlite_autoindex_tasks_1 (id=?)"),
        (
            pruning.SUPERSEDED_ROWS,
            "khmt1",
            f"{KIND} AND position<?)",
        ),
        (tables._NEXT_MODEL, "tm", "SEARCH tasks USING INDEX tasks_ready (type=? AND model>?)"),
        (
            tables._OLDEST,
            "tm12",
            f"{READY}priority=?)",
        ),
    ],
)
def test_each_step_of_these_is_one_seek(
    recorded: tuple[SqliteTables, Recording], statement: str, values: str, expected: str
) -> None:
    plan = recorded[1].execute(f"EXPLAIN QUERY PLAN {statement}", tuple(values)).fetchall()
    assert [row[3].replace("COVERING INDEX tasks_ready", "INDEX tasks_ready") for row in plan] == [
        expected
    ]


@pytest.fixture(scope="module")
def long_lane() -> Iterator[sqlite3.Connection]:
    """200,000 tasks of one lane, accepted in one batch: all with the same created_at."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, Path("memory"))
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
            "INSERT INTO tasks (sequence, id, title, description, labels, type, model, priority, "
            "created_at, body_digest, submitter, options) "
            "SELECT i, 't' || i, '', '', '[]', 'general', '', 2, 5.0, '', '', '{}' FROM n"
        )
        yield connection


def steps(connection: sqlite3.Connection, deed: Callable[[], T]) -> tuple[T, int]:
    """What came, and about how many steps of SQLite's machine it took."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(step, 10)
    result = deed()
    connection.set_progress_handler(None, 0)
    return result, 10 * count


@pytest.mark.pure
@pytest.mark.parametrize("last", [0, 1, 100_000, 199_000, 199_990, 200_000])
def test_a_page_of_a_long_lane_costs_a_page(long_lane: sqlite3.Connection, last: int) -> None:
    store = SqliteTables(long_lane)
    after = Rank(True, 2, 5.0, last) if last else BEFORE_ALL
    page, cost = steps(long_lane, lambda: store.ready(LANE, after, 256))
    assert [w.rank.sequence for w in page] == list(range(last + 1, min(last + 256, 200_000) + 1))
    assert cost < 256 * 40


@pytest.mark.pure
def test_counting_and_ages_of_a_long_lane(long_lane: sqlite3.Connection) -> None:
    store = SqliteTables(long_lane)
    assert store.waiting() == {(LANE, 2): 200_000}
    oldest, cost = steps(long_lane, store.oldest)
    assert oldest == {(LANE, 2): 5.0}
    assert cost < 2000


@pytest.mark.pure
@pytest.mark.parametrize("change", ["held = 'held'", "status = 'blocked', error = 'no'"])
def test_to_count_tasks_takes_no_longer_the_more_there_are(
    long_lane: sqlite3.Connection, change: str
) -> None:
    long_lane.execute("BEGIN")
    long_lane.execute(f"UPDATE tasks SET {change}")
    seen, cost = steps(long_lane, SqliteTables(long_lane).overview)
    long_lane.execute("ROLLBACK")
    assert 200_000 in (*seen.held.values(), *seen.blocked.values())
    assert cost < 2000


@pytest.mark.pure
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE counts SET number = -1",
        "UPDATE counts SET number = 'x'",
        "UPDATE counts SET word = 'bogus'",
        "UPDATE counts SET what = 'bogus'",
        "INSERT INTO errors VALUES (7, 1)",
        "INSERT INTO errors VALUES ('no', -1)",
    ],
)
def test_damaged_counters_are_told(long_lane: sqlite3.Connection, damage: str) -> None:
    long_lane.execute("BEGIN")
    long_lane.execute(damage)
    with pytest.raises(DamagedRow):
        SqliteTables(long_lane).overview()
    long_lane.execute("ROLLBACK")


@pytest.mark.pure
def test_an_hourly_prune_of_a_big_store_that_has_nothing_old_costs_little(
    long_lane: sqlite3.Connection,
) -> None:
    long_lane.execute("BEGIN")
    long_lane.execute("UPDATE tasks SET status = 'closed', ended_at = 50.0 + sequence")
    store = SqliteTables(long_lane)
    forgotten, cost = steps(long_lane, lambda: store.prune(10.0, 10.0, 0))
    assert forgotten == (0, None)
    assert cost < 500
    forgotten, cost = steps(long_lane, lambda: store.prune(1e9, None, 0))
    assert forgotten == (pruning.PIECE, 0)
    assert cost < 1000 * 400
    long_lane.execute("ROLLBACK")


# -- reads -------------------------------------------------------------------------------------


def test_no_look_keeps_the_log_from_shrinking(path: Path) -> None:
    async def story() -> None:
        store = SqliteStore(path)
        await opened(store)
        await store.add([a_draft() for _ in range(50)], now=1.0)
        await closed(store, ended_at=3.0)
        await everything(store)
        with pytest.raises(StoreError):
            await store.get("\ud800")
        kept: list[Exception] = []
        try:
            await store._read("test", lambda views: [1 / 0 for _ in views.journal(0, 10, None)])
        except ZeroDivisionError as error:
            kept.append(error)  # and with it the frames of the look
        truncate = "PRAGMA wal_checkpoint(TRUNCATE)"
        for reader in (store._seeks, store._lists):
            assert reader.views is not None
            assert not reader.views.connection.in_transaction

        def checkpoint() -> Any:
            with closing(sqlite3.connect(path)) as other:
                return other.execute(truncate).fetchone()

        assert checkpoint() == (0, 0, 0)
        await store.close()

    run(story())


def test_a_look_is_of_one_moment(path: Path) -> None:
    async def story() -> None:
        store = SqliteStore(path)
        await opened(store)
        task = await born(store)
        between, go_on = threading.Event(), threading.Event()

        def look(views: Any) -> tuple[object, object]:
            one = views.load(task.id)
            between.set()
            assert go_on.wait(60.0)
            return one, views.load(task.id)

        looking = asyncio.ensure_future(store._read("test", look))
        await asyncio.to_thread(between.wait)
        run_now = await claimed(store, task)  # no look holds up a write
        assert await ready_ids(store) == []  # nor what the dispatcher waits for
        go_on.set()
        assert await looking == (task, task)
        assert await store.get(task.id) == run_now
        await store.close()

    run(story())


def test_the_reading_connection_can_not_write(path: Path) -> None:
    made(path)
    with (
        closing(connect_reader(path)) as reader,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        reader.execute("DELETE FROM tasks")


def test_times_come_back_to_the_last_bit(path: Path) -> None:
    chance = random.Random(7)
    times = [1_700_000_000 + chance.random() * 1e8 for _ in range(500)]
    times += [0.0, 5.0, math.nextafter(5.0, 6.0), 2.0**53 + 2, 5e-324, 1.7e308, float("inf"), -1.5]

    async def story() -> None:
        store = await opened(SqliteStore(path))
        drafts = [a_draft(created_at=at, not_before=at, held=Held.BY_HAND) for at in times]
        await store.add(drafts, now=times[0])
        found = {t.id: t for t in (await store.find(Query(), limit=1000)).tasks}
        for draft in drafts:
            task = found[draft.id]
            assert (task.created_at, task.not_before) == (draft.created_at, draft.not_before)
            assert isinstance(task.created_at, float)
        await store.close()

    run(story())


def test_a_time_that_is_none_is_refused(path: Path) -> None:
    async def story() -> None:
        store = await opened(SqliteStore(path))
        with pytest.raises(StoreError, match="NOT NULL constraint failed"):
            await store.add([a_draft(created_at=math.nan)], now=1.0)
        await born(store)
        await store.close()

    run(story())

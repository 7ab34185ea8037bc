"""The store as doctor finds it: it changes nothing, and of whatever is wrong it has the cure."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.contracts.drafts import born, opened
from ygg.doctor import store
from ygg.doctor.findings import Finding, State, warning
from ygg.stores.lock import holder, locked
from ygg.stores.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with one open task, closed."""
    path = tmp_path / "ygg.db"

    async def story() -> None:
        made = await opened(SqliteStore(path))
        await born(made)
        await made.close()

    asyncio.run(story())
    return path


def look(path: Path, pid: int | None = None, untold: Finding | None = None) -> list[Finding]:
    return list(store.look_at(path, pid, untold))


def test_a_good_store_is_counted_and_stays_as_it_is(path: Path) -> None:
    data = path.read_bytes()
    counted, written = look(path)
    assert counted.what == (f"{path} is a store of ygg: 1 open, 0 in_progress, 0 closed, 0 blocked")
    assert written.what == "nobody has it open, and it takes writes"
    assert path.read_bytes() == data
    assert holder(path) is None, "nor is its lock held"


def test_none_is_there_yet_and_none_is_made(tmp_path: Path) -> None:
    (found,) = look(tmp_path / "state" / "ygg.db")
    assert found.state is State.OK
    assert "will be made when it is first needed" in found.what
    assert list(tmp_path.iterdir()) == []


def test_the_dispatcher_that_runs_may_have_it_open(path: Path) -> None:
    with locked(path):
        assert look(path, os.getpid())[1].what == (
            f"the dispatcher that runs has it open (process {os.getpid()})"
        )


@pytest.mark.parametrize(
    ("pid", "asked"), [(None, "no dispatcher answers"), (1, "process 1 answers")]
)
def test_another_process_that_has_it_open_is_wrong(path: Path, pid: int | None, asked: str) -> None:
    with locked(path):
        found = look(path, pid)[1]
    assert found.state is State.WRONG
    assert found.what == f"process {os.getpid()} has it open, and {asked} where it was asked"
    assert found.remedy.startswith(f"say with --url where process {os.getpid()} listens")
    assert "kill" not in found.remedy, "it may be a dispatcher that is well"


def test_a_dispatcher_that_did_not_tell_may_be_the_one_that_has_it_open(path: Path) -> None:
    with locked(path):
        found = look(path, None, warning("it wants a token", "export YGG_TOKEN=TOKEN"))[1]
    assert found.state is State.WARNING
    assert found.what.endswith("is not known: it wants a token")
    assert found.remedy == "export YGG_TOKEN=TOKEN"


def test_a_file_that_is_no_database_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "ygg.db"
    path.write_text("These are notes, and no database at all.\n" * 99)
    (found,) = look(path)
    assert found.state is State.WRONG
    assert found.remedy.startswith("this is not an SQLite file: move it away")


def test_a_database_of_another_program_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "ygg.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    (found,) = look(path)
    assert found.what == f"{path}: is the database of another program"
    assert found.remedy.startswith("give ygg a file of its own")


def test_one_that_another_program_locked_is_wrong(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        found = look(path)[1]
    assert found.state is State.WRONG
    assert found.remedy == ("another program has locked it (an sqlite3 shell, a backup): end that")


def test_a_damaged_one_is_wrong(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    found = look(path)[-1]
    assert found.state is State.WRONG
    assert "damaged" in found.remedy

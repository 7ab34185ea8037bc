"""Whatever somebody writes into one column of a store's file: it is told of, never a traceback."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.contracts.drafts import HOST, LANE, blocked, born, closed, opened, running
from ygg.backlog import BEFORE_ALL
from ygg.lifecycle import Refused
from ygg.proof import Answers, check_store
from ygg.stores.base import Query, StoreError, StoreUnusable, TaskStore, UnknownTask
from ygg.stores.glance import glance
from ygg.stores.rows import TASK_COLUMNS
from ygg.stores.sqlite import SqliteStore

_JOURNAL: Final = (
    "position", "at", "kind", "task", "host", "model", "owner", "attempt", "seen", "reason",
    "waiting", "held", "detail",
)  # fmt: skip
COLUMNS = [*(("tasks", name) for name in TASK_COLUMNS), *(("journal", name) for name in _JOURNAL)]
values = st.one_of(
    st.sampled_from([
        None, "", "{", "[", "[1]", '{"a": []}', '"x"', "bogus", "2026", b"\xff\x00", -1, 0, 7,
        0.5, 1e300, 2**62,
    ]),
    st.text(max_size=5), st.integers(-(2**40), 2**40), st.floats(allow_nan=False),
)  # fmt: skip


@pytest.fixture(scope="module")
def whole() -> Iterator[Path]:
    """A store with a task of each kind."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ygg.db"

        async def story() -> None:
            store = await opened(SqliteStore(path))
            await born(store, key="k", labels=("a",), options={"a": 1}, metadata={"b": 2})
            await store.hold((await born(store)).id, now=2.0)
            await running(store)
            await blocked(store)
            await closed(store, ended_at=9.0)
            await store.close()

        asyncio.run(story())
        yield path


def glanced(path: Path) -> list[str]:
    """By `ygg check` and `ygg doctor`."""
    try:
        glance(path)
    except StoreUnusable as error:
        return [str(error)]
    return []


async def all_that_is_said(path: Path) -> list[str]:
    """By a dispatcher's store, asked for everything."""
    store, said = SqliteStore(path), list[str]()
    try:
        await store.open(owner="two", now=10.0, max_strikes=3)
        for asked in (
            store.find(Query()), store.overview(), store.oldest(), store.journal(),
            store.ready(LANE, after=BEFORE_ALL, limit=9), store.release_due(now=99.0),
            *(touched(store, number) for number in range(1, 6)),
            store.prune(closed_before=99.0, journal_before=99.0),
        ):  # fmt: skip
            try:
                await asked
            except StoreError as error:
                said.append(str(error))
    except StoreUnusable as error:
        said.append(str(error))
    finally:
        await store.close()
    return said


async def touched(store: TaskStore, number: int) -> None:
    with closing(sqlite3.connect(store.path)) as base:  # type: ignore[attr-defined]  # the one above
        row = base.execute("SELECT id FROM tasks WHERE sequence = ?", (number,)).fetchone()
    try:
        if row is not None and isinstance(row[0], str):
            await store.claim(row[0], option=HOST, seen=0, now=10.5)
            await store.get(row[0])
            await store.cancel(row[0], now=11.0)
    except (UnknownTask, Refused):
        return


@pytest.mark.parametrize(("table", "name"), COLUMNS)
@given(value=values, number=st.integers(1, 9), every=st.booleans())
@settings(max_examples=12)
def test_damage_is_told_of(
    whole: Path, table: str, name: str, value: object, number: int, every: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ygg.db"
        shutil.copy(whole, path)
        with closing(sqlite3.connect(path)) as base:
            try:
                base.execute(
                    f"UPDATE {table} SET {name} = ? WHERE rowid = ? OR ?", (value, number, every)
                )
            except (sqlite3.Error, OverflowError):
                assume(False)  # the schema itself forbids it
            base.commit()
        report = check_store(path, Answers(folder=Path(folder), since=None))
        said = [*glanced(path), *asyncio.run(all_that_is_said(path))]
        assert all("row " in text and "is damaged" in text for text in said)
        assert not (said and report.clean)

"""A look at a store's file: what it tells, that it changes nothing, and what it refuses."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.contracts.drafts import a_draft, born, opened
from ygg.board import configuration_detail
from ygg.fleet import Option
from ygg.journal import Kind, Note
from ygg.stores.base import HostRow, StoreUnusable
from ygg.stores.glance import Glance, glance
from ygg.stores.schema import APPLICATION, MIGRATIONS, connect
from ygg.stores.sqlite import SqliteStore
from ygg.tasks import Status


def configured(limit: int) -> Note:
    detail = configuration_detail({"h": "h"}, {"h": limit}, {"general": [Option("h", "m")]})
    return Note(kind=Kind.CONFIGURED, reason="hosts.yaml", detail=detail)


def look(path: Path) -> Glance:
    seen = glance(path)
    assert seen is not None
    return seen


@pytest.mark.parametrize("while_open", [True, False])
def test_it_tells_the_last_fleet_and_what_waits(tmp_path: Path, while_open: bool) -> None:
    path = tmp_path / "ygg.db"

    async def story() -> Glance:
        store = await opened(SqliteStore(path))
        for _ in range(3):
            await born(store)
        await store.add([a_draft(model="m")], now=5.0)
        resized = {"limit": 2, "start": 2}
        notes = [configured(1), Note(kind=Kind.RESIZED, host="h", detail=resized), configured(2)]
        await store.note(notes, now=6.0)
        seen = look(path)
        await store.close()
        return seen if while_open else look(path)

    before = asyncio.run(story())
    assert before.configured is not None
    assert before.configured.detail["limits"] == {"h": 2}
    assert before.hosts == {"h": HostRow(limit=2, start=2)}
    assert sorted(before.waiting.values()) == [1, 3]
    assert {lane.model for lane in before.waiting} == {"", "m"}
    assert before.counts[Status.OPEN] == 4
    assert before.opened_at is not None


def test_a_file_that_no_dispatcher_of_this_version_opened_yet_can_be_looked_at(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ygg.db"
    with closing(connect(path, create=True)) as connection:
        connection.executescript(
            f"{MIGRATIONS[0]}; {MIGRATIONS[1]}; PRAGMA application_id = {APPLICATION}; "
            "PRAGMA user_version = 2; INSERT INTO tasks (id, title, description, labels, type, "
            "model, priority, created_at, body_digest, submitter, options) "
            "VALUES ('t', '', '', '[]', 'general', '', 2, 5.0, '', '', '{}')"
        )
    assert look(path).counts == {Status.OPEN: 1}


def test_a_look_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ygg.db"

    async def story() -> None:
        await (await opened(SqliteStore(path))).close()

    asyncio.run(story())
    data = path.read_bytes()
    assert look(path).configured is None
    assert look(path).waiting == {}
    assert path.read_bytes() == data


def test_where_nothing_is_nothing_is_made(tmp_path: Path) -> None:
    assert glance(tmp_path / "state" / "ygg.db") is None
    assert list(tmp_path.iterdir()) == []
    empty = tmp_path / "empty.db"
    empty.touch()
    assert glance(empty) is None


def test_what_is_no_store_of_ours_is_named_with_the_way_out(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("These are notes, and no database at all.\n" * 99)
    with pytest.raises(
        StoreUnusable, match=r"notes\.txt: this is not an SQLite file: move it away"
    ):
        glance(text)
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(StoreUnusable, match="database of another program"):
        glance(other)

"""Counters are what a count would come to, whatever is written, by whomever."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.stores.base import Overview
from ygg.stores.schema import MIGRATIONS, migrate
from ygg.stores.tables import SqliteTables
from ygg.tasks import Held, Status

pytestmark = pytest.mark.pure

ROWS = st.integers(1, 6)
STATUSES, REASONS = st.sampled_from([*Status]), st.none() | st.sampled_from([*Held])
ERRORS = st.none() | st.sampled_from(["", "no", "refused"])
INSERT = (
    "INSERT OR IGNORE INTO tasks (sequence, id, title, description, labels, type, model, priority, "
    "created_at, body_digest, submitter, options, status, held, error) "
    "VALUES (?1, 't' || ?1, '', '', '[]', 'general', '', 2, 5.0, '', '', '{}', ?2, ?3, ?4)"
)
UPDATE = "UPDATE tasks SET status = ?2, held = ?3, error = ?4 WHERE sequence <= ?1"
writes = st.one_of(
    st.tuples(st.sampled_from([INSERT, UPDATE]), st.tuples(ROWS, STATUSES, REASONS, ERRORS)),
    st.tuples(
        st.just("UPDATE tasks SET status = ?2 WHERE sequence = ?1"), st.tuples(ROWS, STATUSES)
    ),
    st.tuples(st.just("UPDATE tasks SET held = ?2 WHERE sequence = ?1"), st.tuples(ROWS, REASONS)),
    st.tuples(st.just("UPDATE tasks SET error = ?2 WHERE sequence = ?1"), st.tuples(ROWS, ERRORS)),
    st.tuples(st.just("DELETE FROM tasks WHERE sequence <= ?1"), st.tuples(ROWS)),
)


@pytest.fixture(scope="module")
def file() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, Path("memory"))
        yield connection


def counted(connection: sqlite3.Connection) -> Overview:
    """Row by row."""

    def count(what: str, where: str) -> dict[str, int]:
        return dict(
            connection.execute(f"SELECT {what}, count(*) FROM tasks WHERE {where} GROUP BY 1")
        )

    errors = count("coalesce(error, '')", "status = 'blocked'")
    return Overview(
        by_status={Status(word): n for word, n in count("status", "true").items()},
        held={Held(word): n for word, n in count("held", "held IS NOT NULL").items()},
        blocked=dict(sorted(errors.items(), key=lambda item: (-item[1], item[0]))),
    )


def assert_counts(connection: sqlite3.Connection) -> None:
    seen, expected = SqliteTables(connection).overview(), counted(connection)
    assert seen == expected
    assert list(seen.blocked) == list(expected.blocked), "the most frequent first"
    assert SqliteTables(connection).by_status() == expected.by_status
    assert not connection.execute("SELECT 1 FROM errors WHERE number < 1").fetchall()


@given(st.lists(writes, max_size=20))
def test_counters_are_right_after_any_writes(
    file: sqlite3.Connection, writes: list[tuple[str, tuple[object, ...]]]
) -> None:
    file.execute("BEGIN")
    try:
        for statement, values in writes:
            file.execute(statement, values)
            assert_counts(file)
    finally:
        file.execute("ROLLBACK")
    assert_counts(file)


@given(st.lists(st.tuples(ROWS, STATUSES, REASONS, ERRORS), max_size=8))
def test_a_file_from_before_the_counters_gets_them(
    rows: list[tuple[int, Status, Held | None, str | None]],
) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for script in MIGRATIONS[:2]:
            connection.executescript(script)
        connection.executemany(INSERT, rows)
        for script in MIGRATIONS[2:]:
            connection.executescript(script)
        assert_counts(connection)

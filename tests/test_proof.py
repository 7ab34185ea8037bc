"""A store's file that somebody edited, or that is damaged: found row by row, never a traceback."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from tests.contracts.drafts import HOST, a_draft, opened
from ygg.cli import main
from ygg.findings import FindingKind
from ygg.journal import Kind, Note
from ygg.proof import Answers, check_store
from ygg.stores.base import Query, StoreError, StoreUnusable, TaskStore
from ygg.stores.sqlite import SqliteStore
from ygg.tasks import Json, Status, Task


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with two tasks that are done, one that waits, and the end of its dispatcher."""
    path = tmp_path / "ygg.db"

    async def story() -> None:
        store = await opened(SqliteStore(path))
        detail: Mapping[str, Json] = {
            "semaphores": {HOST.host: HOST.host}, "limits": {HOST.host: 1},
            "routes": {"general": [list(HOST)]},
        }  # fmt: skip
        await store.note([Note(kind=Kind.CONFIGURED, detail=detail)], now=1.0)
        await store.note([Note(kind=Kind.HOST, host=HOST.host, detail={"mode": "up"})], now=1.0)
        for number in range(2):
            await done(store, f"k{number}")
        await store.add([a_draft(key="k2", labels=("a",))], now=5.0)
        await store.close()

    asyncio.run(story())
    return path


async def done(store: TaskStore, key: str) -> None:
    ((task, _),) = await store.add([a_draft(key=key)], now=2.0)
    seen = (await store.journal())[-1].position
    running = await store.claim(task.id, option=HOST, seen=seen, now=3.0)
    assert running is not None
    await store.finish(task.id, running.fence, artifact=f"2026-11-2{key[1]}/{task.id}.md", now=4.0)


def edit(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def told(path: Path) -> list[str]:
    return [str(finding) for finding in check_store(path).findings]


def test_what_nobody_touched_is_clean(path: Path) -> None:
    report = check_store(path)
    assert report.clean, report.lines()
    assert report.answers is None


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE journal SET kind = 'bogus' WHERE position = 2", "bad_row at row 2: 'bogus' is not"),
        ("UPDATE journal SET waiting = '[' WHERE position = 4", "bad_row at row 4: Input data was"),
        ("UPDATE journal SET waiting = '[1]' WHERE position = 4", "bad_row at row 4: not enough"),
        ("UPDATE journal SET detail = '[]' WHERE position = 2", "bad_row at row 2: Expected `obj"),
        ("UPDATE journal SET held = 'x' WHERE position = 4", "bad_row at row 4: 'x' is not"),
        ("UPDATE journal SET at = 'x' WHERE position = 4", "bad_row at row 4: at holds 'x'"),
        ("UPDATE journal SET attempt = NULL WHERE position = 5", "bad_row at row 5: owner holds"),
        ("UPDATE tasks SET labels = '[1]' WHERE sequence = 3", "bad_row at store: task"),
        ("UPDATE tasks SET strikes = 'x' WHERE sequence = 3", "bad_row at store: task"),
        ("UPDATE tasks SET created_at = 1e300 WHERE sequence = 3", "wrong_place at store: task"),
        ("UPDATE journal SET waiting = json_set(waiting, '$[4]', 1e300) WHERE position = 4",
         "wrong_place at row"),
        ("UPDATE tasks SET artifact = x'ff' WHERE sequence = 1", "bad_row at store: task"),
        ("UPDATE tasks SET status = 'x' WHERE sequence = 3", "bad_row at store: task"),
        ("UPDATE tasks SET outcome = 'x' WHERE sequence = 1", "bad_row at store: task"),
        ("UPDATE tasks SET labels = 'x' WHERE sequence = 3", "bad_row at store: task"),
        ("UPDATE tasks SET artifact = NULL WHERE sequence = 1", "no_answer at store: task"),
        ("UPDATE tasks SET priority = 0 WHERE sequence = 3", "wrong_place at store: task"),
        ("UPDATE tasks SET created_at = 9 WHERE sequence = 3", "wrong_place at store: task"),
        ("INSERT OR REPLACE INTO meta VALUES ('pruned_to', '8')", "bad_row at store: it says that"),
        ("INSERT OR REPLACE INTO meta VALUES ('pruned_to', '99')", "bad_row at store: it says that"),
        ("INSERT OR REPLACE INTO meta VALUES ('pruned_to', '-1')", "bad_row at store: it says that"),
        ("INSERT OR REPLACE INTO meta VALUES ('pruned_to', 'x')", "bad_row at store: it says that"),
    ],
)  # fmt: skip
def test_what_was_edited_is_found(path: Path, statement: str, finding: str) -> None:
    edit(path, statement)
    assert any(line.startswith(finding) for line in told(path)), told(path)


def test_a_forged_mark_hides_nothing(path: Path) -> None:
    edit(path, "UPDATE tasks SET status = 'open' WHERE sequence = 1")
    edit(path, "DELETE FROM journal WHERE position = 5")
    before = set(told(path))
    edit(path, "INSERT OR REPLACE INTO meta VALUES ('pruned_to', '9')")
    assert {line.partition(" at ")[0] for line in told(path)} >= {"bad_row", "loss"}
    assert any(line.startswith("loss") for line in before)


def test_the_last_task_does_not_go_unnoticed_with_its_rows(path: Path) -> None:
    (last,) = [row.id for row in asyncio.run(listed(path)) if row.status is Status.OPEN]
    edit(
        path, f"DELETE FROM tasks WHERE id = '{last}'", f"DELETE FROM journal WHERE task = '{last}'"
    )
    (finding,) = told(path)
    assert finding == "loss at store: row 10 is gone from the journal"


async def listed(path: Path) -> Sequence[Task]:
    store = await opened(SqliteStore(path))
    tasks = (await store.find(Query())).tasks
    await store.close()
    return tasks


def test_a_key_that_was_accepted_twice_is_found(path: Path) -> None:
    edit(path, "DROP INDEX tasks_key", "UPDATE tasks SET key = 'k0' WHERE sequence = 3")
    (finding,) = told(path)
    assert finding.startswith("double_accept at store: task ")


def test_answers_are_looked_for_on_the_disk(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT artifact FROM tasks WHERE sequence < 3").fetchall()
    for (artifact,) in rows:
        (folder / artifact).parent.mkdir(parents=True)
        (folder / artifact).write_text("an answer")

    def look(since: date | None = None) -> tuple[int | None, list[str]]:
        report = check_store(path, Answers(folder=folder, since=since))
        assert set(report.counts) <= {FindingKind.NO_ANSWER}
        return report.answers, [str(finding) for finding in report.findings]

    assert look() == (2, [])
    (folder / rows[0][0]).write_text("")
    (folder / rows[1][0]).unlink()
    number, (empty, gone) = look()
    assert number == 2
    assert empty.startswith("no_answer at store: task ")
    assert empty.endswith(f"its answer {rows[0][0]} is empty")
    assert gone.endswith(f"its answer {rows[1][0]} is not on the disk")
    number, (gone,) = look(date(2026, 11, 21))
    assert number == 1
    assert "is not on the disk" in gone


def test_the_command_looks_for_answers_when_it_is_told_to(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    state = ["check-journal", "--state", str(path.parent)]
    assert main([*state, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answers"] is None
    assert main([*state, "--artifacts", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["answers"] == 2
    assert found["counts"]["no_answer"] == 2


@pytest.mark.parametrize(
    ("statement", "ask"),
    [
        ("UPDATE tasks SET status = 'bogus' WHERE sequence = 3", lambda s: s.overview()),
        ("UPDATE tasks SET held = 'bogus' WHERE sequence = 3", lambda s: s.overview()),
        ("UPDATE tasks SET strikes = 'x' WHERE sequence = 3", lambda s: s.find(Query())),
        (
            "UPDATE journal SET at = 'x' WHERE position = 3",
            lambda s: s.prune(closed_before=None, journal_before=9.0),
        ),
        ("UPDATE tasks SET status = 'bogus' WHERE sequence = 3", lambda s: s.find(Query())),
        ("UPDATE tasks SET labels = '{' WHERE sequence = 3", lambda s: s.find(Query())),
        ("UPDATE journal SET kind = 'bogus' WHERE position = 3", lambda s: s.journal()),
        ("UPDATE journal SET detail = '[' WHERE position = 3", lambda s: s.journal()),
    ],
)
def test_a_damaged_row_is_told_by_its_number(
    path: Path, statement: str, ask: Callable[[TaskStore], Awaitable[object]]
) -> None:
    async def story() -> None:
        edit(path, statement)
        store = await opened(SqliteStore(path))
        with pytest.raises(StoreError) as refused:
            await ask(store)
        assert "row 3 of " in str(refused.value)
        assert "restore a backup, or mend the row" in str(refused.value)
        await store.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    "change",
    ["type = x'ff'", "model = x'ff'", "priority = 'x'", "priority = 7", "created_at = 'x'"],
)
def test_a_store_whose_order_is_damaged_is_not_opened(path: Path, change: str) -> None:
    edit(path, f"UPDATE tasks SET {change} WHERE sequence = 3")

    async def story() -> None:
        with pytest.raises(StoreUnusable, match="row 3 of tasks is damaged"):
            await opened(SqliteStore(path))

    asyncio.run(story())
    assert any("row 3 of tasks" in line or "wrong_place" in line for line in told(path))

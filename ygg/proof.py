"""Reads a store's journal and tasks for the checker; writes nothing, needs no lock.

Works while a dispatcher runs on the store: the whole check sees one snapshot. What can't be read
is told of row by row, and the rest is checked.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

from ygg.checker import Checker
from ygg.findings import Report
from ygg.lives import Stored
from ygg.stores.base import StoreUnusable
from ygg.stores.rows import DamagedRow, event_of, task_of
from ygg.stores.schema import check_file, connect_reader
from ygg.stores.tables import SqliteTables
from ygg.tasks import Outcome

_PAGE: Final = 5000
_HAS_ROW: Final = "SELECT 1 FROM journal WHERE position = ?"
_GIVEN: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'journal'"
#: The last position of which the row is gone, the positions behind the last row apart.
_LAST_GAP: Final = (
    "SELECT max(position) - 1 FROM journal AS one WHERE position > 1 AND NOT EXISTS "
    "(SELECT 1 FROM journal WHERE position = one.position - 1)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """Where answers are, and since which day all of them must be there (None: all)."""

    folder: Path
    since: date | None


def check_store(path: Path, answers: Answers | None = None) -> Report:
    """Prove a store's history, or say where it broke. Raises StoreUnusable.

    With `answers`, it also looks whether the answer of each task that is done is on the disk.
    """
    if not path.exists():
        raise StoreUnusable(
            f"{path}: there is no store here: name its folder with --state DIR, "
            "or its file with --store sqlite:PATH"
        )
    try:
        connection = connect_reader(path)
        try:
            connection.execute("BEGIN")
            check_file(connection, path)
            return _check(SqliteTables(connection), answers)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreUnusable(f"{path}: can't be read as a store of ygg: {error}") from error


def _check(tables: SqliteTables, answers: Answers | None) -> Report:
    connection = tables.connection
    given = max(tables.position(), *(row[0] for row in connection.execute(_GIVEN)), 0)
    forgotten, forged = _forgotten(tables, given)
    checker = Checker(first_checked=forgotten, every_number=True)
    if forged:
        checker.not_forgotten(forged)
    after = 0
    while rows := tables.rows(after, _PAGE):
        for row in rows:
            try:
                event = event_of(row)
            except DamagedRow as damage:
                checker.unreadable(row[0], damage.why)
            else:
                checker.feed(event)
        after = rows[-1][0]
    looked = _Looked(checker, answers)
    tasks = (looked.at(_stored(row)) for row in tables.task_rows())
    report = checker.finish(tasks, given=given)
    return report if answers is None else looked.told_in(report)


def _forgotten(tables: SqliteTables, given: int) -> tuple[int, str]:
    """Up to where rows were forgotten; and what the store says of it, if that can't be so.

    A row that was forgotten is not there, and was given a number: else whoever raises the mark
    hides all that is wrong below it.
    """
    said = tables.meta("pruned_to") or "0"
    try:
        position = tables.pruned_to()
    except DamagedRow:
        position = -1
    execute = tables.connection.execute
    if position == 0 or (
        0 < position <= given and execute(_HAS_ROW, (position,)).fetchone() is None
    ):
        return position, ""
    (gap,) = execute(_LAST_GAP).fetchone()
    return gap or 0, said if len(said) <= 40 else said[:40] + "..."


def _stored(row: Any) -> Stored:
    try:
        task = task_of(row)
    except DamagedRow as damage:
        return Stored(str(row[1]), None, trouble=f"row {row[0]} of tasks is damaged: {damage.why}")
    key = None if task.key is None else (task.submitter, task.key)
    return Stored(task.id, task.status, task.outcome, task.artifact, task.waiting, key)


class _Looked:
    """Looks for the answers of tasks that are done."""

    def __init__(self, checker: Checker, answers: Answers | None) -> None:
        self._checker = checker
        self._answers = answers
        self._number = 0

    def at(self, one: Stored) -> Stored:
        answers = self._answers
        if answers is not None and one.outcome is Outcome.DONE and one.artifact:
            day = one.artifact.partition("/")[0]
            if answers.since is None or day >= answers.since.isoformat():
                self._number += 1
                why = _missing(answers.folder / one.artifact)
                if why:
                    self._checker.answer_missing(one.task, f"its answer {one.artifact} {why}")
        return one

    def told_in(self, report: Report) -> Report:
        return replace(report, answers=self._number)


def _missing(path: Path) -> str:
    """Why it is no answer; "": it is one."""
    try:
        size = path.stat().st_size if path.is_file() else -1
    except OSError as error:
        return f"can't be looked at: {error.strerror}"
    return "is not on the disk" if size < 0 else "" if size else "is empty"

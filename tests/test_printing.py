"""Text for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg import printing

pytestmark = pytest.mark.pure


@given(st.text())
def test_nothing_from_outside_commands_the_terminal(text: str) -> None:
    shown = printing.clean(text)
    assert "\x1b" not in shown
    assert "\n" not in shown
    assert shown.isprintable() or not shown.isascii() or shown == ""
    if text.isascii() and text.isprintable():
        assert shown == text


@given(st.floats(0.0, 1e7))
def test_durations_have_two_units_at_most(value: float) -> None:
    assert 1 <= len(printing.seconds(value).split()) // 2 <= 2


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.0 s"), (9.94, "9.9 s"), (12.4, "12 s"), (59.6, "1 min"), (184.0, "3 min 4 s"),
        (3600.0, "1 h"), (7500.0, "2 h 5 min"), (273600.0, "3 d 4 h"), (None, "-"),
    ],
)  # fmt: skip
def test_durations(value: float | None, shown: str) -> None:
    assert printing.seconds(value) == shown


def test_a_table_lines_up_and_fits() -> None:
    text = printing.table(["A", "LONG"], [["x" * 5, "y" * 50], ["z", 1]], width=20)
    assert text.splitlines() == ["A      LONG", "xxxxx  " + "y" * 12 + "…", "z      1"]


def test_a_task_tells_its_story() -> None:
    task = {
        "id": "t1", "title": "why\n?", "status": "blocked", "outcome": None, "held": None,
        "type": "reasoning", "priority": 0, "created_at": "2026-11-24T00:00:00.000Z",
        "labels": ["a", "b"], "host": "h", "attempt": 2, "strikes": 1, "started_at": None,
        "ended_at": None, "error": "too long", "answer": None,
    }  # fmt: skip
    rows = [{"at": "then", "kind": "reopened", "host": "h", "reason": "reset",
             "detail": {"error": "cut"}}]  # fmt: skip
    text = "\n".join(printing.task_lines(task, rows))
    assert "why\\n?" in text
    assert "priority 0 (critical)" in text
    assert "error     too long" in text
    assert "then  reopened on h: reset (cut)" in text

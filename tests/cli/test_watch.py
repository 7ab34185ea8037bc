"""Frames of a picture that is drawn in place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.cli.watch import frame

pytestmark = pytest.mark.pure


@given(lines=st.lists(st.text("abc", max_size=10), max_size=30), height=st.integers(1, 20))
def test_a_frame_is_as_high_as_the_terminal_at_most(lines: list[str], height: int) -> None:
    shown = frame(lines, height)
    assert shown.count("\r\n") <= height - 1, "a line's end in the last line scrolls"


def test_what_does_not_fit_is_counted() -> None:
    shown = frame(["a", "b", "c", "d"], 3)
    assert "b" in shown
    assert "c" not in shown
    assert "... 2 lines more: a taller window" in shown


def test_nothing_is_cleared_before_it_is_written_over() -> None:
    shown = frame(["a", "b"], 9)
    assert "\x1b[2J" not in shown
    assert shown == "\x1b[?2026h\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J\x1b[?2026l"

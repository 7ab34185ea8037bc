"""Text for people."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg import printing
from ygg.durations import in_seconds
from ygg.printing import Tone, Toned

pytestmark = pytest.mark.pure

_CODE = re.compile("\x1b\\[[0-9]+m")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def shown_columns(line: str) -> int:
    return printing.columns(_CODE.sub("", line))


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
        (0.0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (12.4, "12 s"), (59.6, "1 min"),
        (184.0, "3 min 4 s"), (3600.0, "1 h"), (7500.0, "2 h 5 min"), (273600.0, "3 d 4 h"),
        (None, "-"),
    ],
)  # fmt: skip
def test_durations(value: float | None, shown: str) -> None:
    assert printing.seconds(value) == shown


def test_counts_are_said_as_people_do() -> None:
    assert printing.counted(1, "task") == "1 task"
    assert printing.counted(0, "task") == "0 tasks"
    assert printing.counted(2, "branch", "branches") == "2 branches"


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("é", 1), ("e\N{COMBINING ACUTE ACCENT}", 1), ("日本", 4)]
)
def test_a_text_takes_as_many_columns_as_a_terminal_gives_it(text: str, columns: int) -> None:
    assert printing.columns(text) == columns


@given(text=texts, width=st.integers(0, 60))
def test_a_shortened_text_fits_and_says_that_it_was_cut(text: str, width: int) -> None:
    short = printing.shorten(text, width)
    assert printing.columns(short) <= width
    assert short == printing.clean(text) or short.endswith("…") or width == 0


@given(text=texts, width=st.integers(1, 60))
def test_wrapped_lines_fit(text: str, width: int) -> None:
    for line in printing.wrap(text, width, "  "):
        assert printing.columns(line) <= width


def test_wrapped_lines_have_every_word_and_are_indented() -> None:
    lines = printing.wrap("one two-three four", 12, "  ")
    assert lines == ["one", "  two-three", "  four"]
    assert printing.wrap("one two", 0) == ["one two"]


# -- tables --------------------------------------------------------------------------------------


def test_a_table_lines_up_and_fits() -> None:
    text = printing.table(["A", "LONG"], [["x" * 5, "y" * 50], ["z", 1]], width=20)
    assert text.splitlines() == ["A      LONG", "xxxxx  " + "y" * 12 + "…", "z      1"]


def test_numbers_are_to_the_right_as_are_their_headings() -> None:
    text = printing.table(["COUNT", "B"], [[5, "x"], [12345678, "y"]])
    assert text.splitlines() == ["   COUNT  B", "       5  x", "12345678  y"]


def test_columns_are_left_out_in_turn_until_the_last_one_has_room() -> None:
    headings, rows = ["ID", "HOST", "TYPE", "TITLE"], [["1" * 10, "h" * 20, "t" * 10, "x" * 99]]

    def headed(width: int) -> list[str]:
        text = printing.table(headings, rows, width=width, drop=["HOST", "TYPE"])
        return text.splitlines()[0].split()

    assert headed(0) == headings
    assert headed(200) == headings
    assert headed(70) == headings
    assert headed(69) == ["ID", "TYPE", "TITLE"]
    assert headed(40) == ["ID", "TITLE"]
    assert headed(10) == ["ID", "…"]


cells: st.SearchStrategy[object] = st.one_of(
    texts, st.integers(), st.builds(Toned, texts, st.sampled_from(Tone))
)


@given(
    rows=st.lists(st.lists(cells, min_size=3, max_size=3), max_size=5),
    width=st.one_of(st.just(0), st.integers(1, 80)),
)
def test_a_table_in_colour_says_the_same_as_one_without(
    rows: Sequence[Sequence[object]], width: int
) -> None:
    plain = printing.table(["A", "B", "C"], rows, width=width, drop=["B"])
    coloured = printing.table(["A", "B", "C"], rows, width=width, drop=["B"], colour=True)
    assert _CODE.sub("", coloured) == plain
    assert "\x1b" not in plain
    for line in coloured.split("\n"):
        assert not width or shown_columns(line) <= width
        codes = _CODE.findall(line)
        assert codes[1::2] == ["\x1b[0m"] * (len(codes) // 2)
        assert len(codes) % 2 == 0


def test_a_tone_covers_its_word_only() -> None:
    rows: list[list[object]] = [["a", Toned("b", Tone.BAD), "c"], ["aaa", "bbb", "c"]]
    text = printing.table(["X", "Y", "Z"], rows, colour=True)
    assert text.splitlines()[1] == "a    \x1b[31mb\x1b[0m    c"


def test_a_single_text_is_toned_or_not() -> None:
    assert printing.toned(Toned("x", Tone.BAD), colour=True) == "\x1b[31mx\x1b[0m"
    assert printing.toned(Toned("x\n", Tone.BAD), colour=False) == "x\\n"
    assert printing.toned("x", colour=True) == "x"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1e-9, "0.000000001 s"), (0.5, "0.5 s"), (90.0, "90 s"), (604800.0, "604800 s"),
        (12_345_678.0, "12345678 s"),
    ],
)  # fmt: skip
def test_a_limit_of_seconds_has_no_power_of_ten(value: float, shown: str) -> None:
    assert in_seconds(value) == shown

"""Text for people: one table printer, durations, colours, what fits a terminal. Pure.

What is told of tasks and hosts is left to the commands.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

PRIORITY_NAMES: Final = {0: "critical", 1: "high", 2: "normal", 3: "low", 4: "backlog"}

#: The last column of a table gets so many characters before others are left out for it.
_ROOM: Final = 24
_GAP: Final = "  "


class Tone(Enum):
    """How a text is meant, as the terminal's code for it."""

    GOOD = "32"
    WARNING = "33"
    BAD = "31"
    STRONG = "1"
    FAINT = "2"


class Toned(NamedTuple):
    """A text that a terminal may show in a colour. It must say the same without."""

    text: object
    tone: Tone


Cell: TypeAlias = object


def clean(text: object) -> str:
    """Text from outside, safe for a terminal: control characters are shown, not obeyed."""
    shown = str(text)
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join(c if unicodedata.category(c)[0] != "C" else ascii(c)[1:-1] for c in shown)


def clean_text(text: str) -> str:
    """The same for text of several lines: their ends and tabs may stay."""
    return "\n".join("\t".join(map(clean, line.split("\t"))) for line in text.split("\n"))


def columns(text: str) -> int:
    """How many columns of a terminal a clean text takes."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shorten(text: object, width: int) -> str:
    """Cut to so many columns; what was cut is an ellipsis."""
    shown = clean(text)
    return shown if columns(shown) <= width else _cut(shown, width)


def _cut(text: str, width: int) -> str:
    taken, left = [], width - 1
    for character in text:
        left -= _columns_of(character)
        if left < 0:
            break
        taken.append(character)
    return "".join(taken) + "…" if width > 0 else ""


def wrap(text: object, width: int, indent: str = "") -> list[str]:
    """Lines of at most `width` columns (0: one line); all but the first are indented."""
    shown = clean(text)
    if not width:
        return [shown]
    lines = textwrap.wrap(
        shown, max(width, len(indent) + 8), subsequent_indent=indent, break_on_hyphens=False
    )
    return [shorten(line, width) for line in lines] or [""]


def toned(cell: Cell, *, colour: bool) -> str:
    """One text as it goes to the terminal."""
    if not isinstance(cell, Toned):
        return clean(cell)
    return _in_tone(clean(cell.text), cell.tone) if colour else clean(cell.text)


def _in_tone(text: str, tone: Tone) -> str:
    return f"\x1b[{tone.value}m{text}\x1b[0m" if text else ""


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    width: int = 0,
    colour: bool = False,
    drop: Sequence[str] = (),
) -> str:
    """Columns side by side; numbers are to the right, the last column is cut to the width.

    Args:
        headings: of the columns.
        rows: a cell for each.
        width: of the terminal; 0: nothing is cut.
        colour: whether tones are shown.
        drop: columns that are left out, the first one first, where there is no room for all.
    """
    return "\n".join(table_lines(headings, rows, width=width, colour=colour, drop=drop))


def table_lines(
    headings: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    width: int = 0,
    colour: bool = False,
    drop: Sequence[str] = (),
) -> Iterator[str]:
    cells = [[_shown(cell) for cell in row] for row in rows]
    widths = [
        max([columns(heading), *(columns(row[place].text) for row in cells)])
        for place, heading in enumerate(headings)
    ]
    numeric = [
        bool(cells) and all(row[place].is_number for row in cells) for place in range(len(headings))
    ]
    kept = _kept(headings, widths, width, drop)
    for row in [[_shown(heading) for heading in headings], *cells]:
        parts = [
            (_padded(row[place].text, widths[place], right=numeric[place]), row[place].tone)
            for place in kept
        ]
        yield _line(parts, width=width, colour=colour)


class _Shown(NamedTuple):
    text: str
    tone: Tone | None
    is_number: bool


def _shown(cell: Cell) -> _Shown:
    text, tone = (cell.text, cell.tone) if isinstance(cell, Toned) else (cell, None)
    is_number = isinstance(text, int) and not isinstance(text, bool)
    return _Shown(clean(text), tone, is_number)


def _padded(text: str, width: int, *, right: bool) -> str:
    blank = " " * (width - columns(text))
    return blank + text if right else text + blank


def _kept(
    headings: Sequence[str], widths: Sequence[int], width: int, drop: Sequence[str]
) -> list[int]:
    """The places of the columns that are shown."""
    kept = list(range(len(headings)))
    for heading in drop:
        before = sum(widths[place] + len(_GAP) for place in kept[:-1])
        if not width or before + min(widths[kept[-1]], _ROOM) <= width:
            break
        kept.remove(headings.index(heading))
    return kept


def _line(parts: Sequence[tuple[str, Tone | None]], *, width: int, colour: bool) -> str:
    """Cells side by side, cut before they are coloured: a code that is cut off colours all."""
    plain = _GAP.join(text for text, _ in parts).rstrip()
    if width:
        plain = shorten(plain, width)
    if not colour:
        return plain
    line, at = [], 0
    for text, tone in parts:
        part = plain[at : at + len(text) + len(_GAP)]
        at += len(part)
        word = part.strip()
        line.append(part if tone is None else part.replace(word, _in_tone(word, tone), 1))
    return "".join(line)


#: Longer than there are calendars: it comes of a damaged time, and says nothing.
_ENDLESS_SECONDS: Final = 1e12


def seconds(value: float | None) -> str:
    """A duration in its two largest units: 0.4 s, 12 s, 3 min 4 s, 2 h 5 min, 3 d 4 h."""
    if value is None or not value < _ENDLESS_SECONDS:
        return "-"
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    for unit, name, smaller, smaller_name in (
        (86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"),
    ):  # fmt: skip
        if whole >= unit:
            rest = whole % unit // smaller
            return f"{whole // unit} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return f"{whole} s"


def counted(number: int, one: str, many: str | None = None) -> str:
    """1 task, 2 tasks."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def priority_name(priority: int) -> str:
    return PRIORITY_NAMES.get(priority, "?")


class Paper(NamedTuple):
    """What text is put on: a terminal of so many columns, or (0) anything else."""

    width: int = 0
    colour: bool = False

    def table(
        self, headings: Sequence[str], rows: Iterable[Sequence[Cell]], drop: Sequence[str] = ()
    ) -> list[str]:
        return list(table_lines(headings, rows, width=self.width, colour=self.colour, drop=drop))

    def wrap(self, text: object, indent: str = "", tone: Tone | None = None) -> list[str]:
        """Lines that fit, all but the first indented."""
        lines = wrap(text, self.width, indent)
        if tone is None:
            return lines
        return [toned(Toned(line, tone), colour=self.colour) for line in lines]

"""Draws lines again and again at the same place of a terminal, until Ctrl-C.

Without flicker: nothing is cleared before it is written over, and a frame goes out in one piece.
On a screen of its own, so that what was there before is there again afterwards. What is drawn is
left to who uses it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

_ENTER: Final = "\x1b[?1049h\x1b[?25l"  # another screen, no cursor
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_BEGIN: Final = "\x1b[?2026h\x1b[H"  # terminals that know it show the frame when it is whole
_END: Final = "\x1b[J\x1b[?2026l"
_LINE_END: Final = "\x1b[K\r\n"


def frame(lines: Sequence[str], height: int) -> str:
    """A frame as it goes to a terminal of so many lines; the last one says what was left out."""
    shown = list(lines)
    if len(shown) > height:
        shown = [*shown[: height - 1], f"... {len(shown) - height + 1} lines more: a taller window"]
    # No end after the last line: a terminal that is full would scroll.
    return f"{_BEGIN}{_LINE_END.join(shown[:height])}\x1b[K{_END}"


class Screen:
    """A terminal that is drawn upon; when its size changes, it is drawn again."""

    def __init__(self) -> None:
        self._lines: Callable[[], Sequence[str]] = list

    def draw(self, lines: Callable[[], Sequence[str]]) -> None:
        """`lines` is asked for them now, and again whenever the size has changed."""
        self._lines = lines
        self.redraw()

    def redraw(self) -> None:
        sys.stdout.write(frame(self._lines(), shutil.get_terminal_size().lines))
        sys.stdout.flush()


@contextmanager
def screen() -> Iterator[Screen]:
    """Standard output, which must be a terminal, as a screen."""
    drawn = Screen()
    loop = asyncio.get_running_loop()
    # They would go before what the terminal says, and never change.
    for name in ("LINES", "COLUMNS"):
        os.environ.pop(name, None)
    loop.add_signal_handler(signal.SIGWINCH, drawn.redraw)
    sys.stdout.write(_ENTER)
    try:
        yield drawn
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()

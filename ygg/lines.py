"""Text that others wrote, made fit for a log and a table: bounded lines, nothing that moves a cursor.

Pure.
"""

from __future__ import annotations

import re
from typing import Final

#: Bytes of one line that are kept; the rest of the line is dropped.
LINE_BYTES_MAX: Final = 2000


def printable(text: str) -> str:
    """The text with all that could forge a line or move a cursor written as an escape."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


#: Characters that are no text: they move a cursor, or no store and no command line takes them.
_NO_TEXT: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def plain(text: str) -> str:
    """Text of several lines, which end with LF; what is no text is a replacement character."""
    return _NO_TEXT.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


class Lines:
    """Cuts a stream of bytes into printable lines of bounded length."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that ended with this data."""
        pieces = (self._rest + data).split(b"\n")
        # One byte more than is shown tells a cut line from one that just fits.
        self._rest = pieces.pop()[: LINE_BYTES_MAX + 1]
        return [self._text(piece) for piece in pieces]

    def flush(self) -> list[str]:
        """The last line, if it had no end."""
        rest, self._rest = self._rest, b""
        return [self._text(rest)] if rest else []

    @staticmethod
    def _text(line: bytes) -> str:
        cut = "..." if len(line) > LINE_BYTES_MAX else ""
        return printable(line[:LINE_BYTES_MAX].decode(errors="replace").rstrip("\r")) + cut

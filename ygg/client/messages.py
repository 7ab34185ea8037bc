"""Server-sent events: bytes in, messages out, by the rules of the HTML standard. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_LINE_ENDS: Final = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    event: str = "message"
    data: str = ""
    #: Of this message or, where it has none, of the last one that had.
    id: str = ""


class Messages:
    """Takes a stream in whatever pieces it comes."""

    def __init__(self) -> None:
        self._rest = b""
        self._event = ""
        self._data: list[str] = []
        self._id = ""
        #: The last id that was told whole, with a message or without one.
        self.last_id = ""

    def feed(self, part: bytes) -> list[Message]:
        """The messages that are whole now. What a stream's end cuts off is none."""
        # A \r at the end may be half of a line's end.
        text = self._rest + part
        cut = len(text) - 1 if text.endswith(b"\r") else len(text)
        *lines, rest = _LINE_ENDS.split(text[:cut])
        self._rest = rest + text[cut:]
        return [message for line in lines if (message := self._take(line)) is not None]

    def _take(self, line: bytes) -> Message | None:
        if not line:
            return self._finish()
        name, _, value = line.decode(errors="replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        # A comment (without a name) is a sign of life; other fields are not for us.
        return None

    def _finish(self) -> Message | None:
        event, data = self._event, self._data
        self._event, self._data = "", []
        self.last_id = self._id
        if not data:
            return None
        return Message(event=event or "message", data="\n".join(data), id=self.last_id)

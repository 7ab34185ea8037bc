"""What can go wrong between a client and its dispatcher: one class per thing to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class WrongSettings(ValueError):
    """The URL or the token can't be used as it was given; nothing was sent."""


class Unreachable(Exception):
    """No dispatcher answers at the URL, or it stopped in the middle."""


class Problem(Exception):
    """The dispatcher said no, in the words of its problem document (RFC 9457).

    Args:
        status: of the HTTP answer.
        document: the problem document; `{"detail": ...}` where something else answered.
        retry_after: seconds after which it may work, if that was said.
    """

    def __init__(
        self, status: int, document: Mapping[str, Any], *, retry_after: float | None = None
    ) -> None:
        self.status = status
        self.document = document
        self.retry_after = retry_after
        super().__init__(self._text())

    @property
    def kind(self) -> str:
        """Such as unknown-task; empty where something else than a dispatcher answered."""
        return str(self.document.get("type", "")).removeprefix("urn:ygg:problem:")

    @property
    def is_of_a_dispatcher(self) -> bool:
        """Whether a dispatcher said it, and not another server that answers at its URL."""
        # A path that is not there has a problem without a type; 0 is a client's own.
        return self.status == 0 or bool(
            str(self.document.get("type", "")).startswith("urn:ygg:problem:")
            or {"title", "status"} <= self.document.keys()
        )

    @property
    def errors(self) -> Sequence[tuple[str, str]]:
        """What was wrong by field: an RFC 6901 pointer into what was sent, and why."""
        listed = self.document.get("errors")
        if not isinstance(listed, list):
            return ()
        return [
            (str(error.get("pointer", "")), str(error.get("detail", "")))
            for error in listed
            if isinstance(error, dict)
        ]

    def _text(self) -> str:
        """What is wrong once, and then what else is."""
        said = self.document.get("detail") or self.document.get("title")
        text = str(said or f"the answer has HTTP status {self.status}")
        more = [
            f"{pointer}: {detail}" if pointer else detail
            for pointer, detail in self.errors
            if detail not in text
        ]
        return "; ".join([text, *more])

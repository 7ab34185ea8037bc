"""From a query string to typed values, or to all that is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from multidict import MultiMapping

from ygg.stores.base import Query
from ygg.tasks import Status
from ygg.web.problems import FieldError, bad_parameters, shown

PAGE_MAX: Final = 1000
#: Sequences and positions are numbers of 63 bits in every store.
NUMBER_MAX: Final = (1 << 63) - 1
_TEXT_MAX: Final = 500


class Parameters:
    """Reads them one by one and collects what is wrong; `check` at the end raises it all."""

    def __init__(self, given: MultiMapping[str]) -> None:
        self._given = given
        self._known: list[str] = []
        self._errors: list[FieldError] = []

    def text(self, name: str) -> str | None:
        """A text that a store can be asked for; None when it isn't given, or isn't right."""
        self._known.append(name)
        values = self._given.getall(name, [])
        if not values:
            return None
        text = values[0]
        if len(values) > 1:
            self._complain(name, "is given twice: keep one of the two")
        elif not 1 <= len(text) <= _TEXT_MAX:
            self._complain(name, f"must have 1 to {_TEXT_MAX} characters")
        elif "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
            self._complain(name, "must be UTF-8 without NUL")
        else:
            return text
        return None

    def choice(self, name: str, among: Collection[str]) -> str | None:
        text = self.text(name)
        if text is not None and text not in among:
            self._complain(name, f"must be one of {', '.join(among)}, not {shown(text)}")
        return text

    def number(self, name: str, least: int, most: int) -> int | None:
        text = self.text(name)
        if text is None:
            return None
        plain = text.isascii() and text.isdigit() and len(text) <= len(str(NUMBER_MAX))
        if not plain or not least <= int(text) <= most:
            self._complain(
                name, f"must be a whole number from {least} to {most}, not {shown(text)}"
            )
            return None
        return int(text)

    def check(self) -> None:
        """Raises Problem if anything was wrong, parameters that nobody read among it."""
        for name in dict.fromkeys(self._given):
            if name not in self._known:
                near = difflib.get_close_matches(name[:60], self._known, n=1)
                known = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self._known)}"
                self._complain(name, f"is not known here; {known}")
        if self._errors:
            raise bad_parameters(self._errors)

    def _complain(self, name: str, detail: str) -> None:
        # A name that somebody made up is quoted, so that it can always be encoded.
        self._errors.append(FieldError(name if name in self._known else shown(name), detail))


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """What GET /v1/tasks asks for."""

    query: Query
    limit: int
    #: Tasks below this sequence; None: from the latest on.
    before: int | None


def read_listing(given: MultiMapping[str]) -> Listing:
    """Raises Problem."""
    parameters = Parameters(given)
    status = parameters.choice("status", [status.value for status in Status])
    priority = parameters.number("priority", 0, 4)
    type_, host, error = (parameters.text(name) for name in ("type", "host", "error"))
    limit = parameters.number("limit", 1, PAGE_MAX)
    cursor = parameters.number("cursor", 1, NUMBER_MAX)
    parameters.check()
    return Listing(
        query=Query(
            status=None if status is None else Status(status),
            priority=priority,
            type=type_,
            host=host,
            error=error,
        ),
        limit=limit or 100,
        before=cursor,
    )

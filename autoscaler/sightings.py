"""What was fetched, from where and when: the one form in which sources hand on what they saw.

Plain values. Fetching is sources.py's and prometheus.py's, reading what was fetched readings.py's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    """A label of metrics."""

    DISPATCHER = "dispatcher"
    EXPORTER = "exporter"
    ENGINE = "engine"  # the model server itself


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    kind: Kind
    #: The address of its page; it is known by it.
    url: str
    #: Where its API key is.
    key: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    source: Source
    #: Seconds of the monotonic clock at which it was there.
    at: float
    text: str = ""
    #: Why there is no text, in words; empty: there is one.
    trouble: str = ""
    #: The server is there and has no such page: it need not be asked again soon.
    is_absent: bool = False


class Taker(Protocol):
    def __call__(self, sighting: Sighting, /) -> None: ...


class Sources(Protocol):
    async def follow(self, take: Taker) -> None:
        """Look at every source again and again, and hand on what was seen; until cancelled."""
        ...

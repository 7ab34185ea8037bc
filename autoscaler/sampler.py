"""Asks a source of readings, from a thread of its own, and so often at most.

A scrape storm must cost the driver one question a second; a driver that blocks must not hold a
scrape longer than its patience. What is old is not shown: silence is a fact, an old number a lie.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, field
from typing import Final, Protocol

from autoscaler.cards import Card, NoReading

log = logging.getLogger("ygg.gpu")

_STUCK: Final = "the driver did not answer in time: look at `nvidia-smi` and the kernel log"


class Source(Protocol):
    """Where readings come from; asked by one thread at a time."""

    #: Fields that could not be read, by field and reason.
    failures: Counter[tuple[str, str]]

    def read(self) -> list[Card]:
        """Raises NoReading."""

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """All cards at one moment, or why there is none."""

    cards: Sequence[Card] = ()
    #: When they were read, in Unix time: figures that stand still are told from a program that does.
    at: float = 0.0
    #: A word of a closed list; "" while all is well.
    trouble: str = ""
    message: str = ""
    failures: Mapping[tuple[str, str], int] = field(default_factory=dict)


class Sampler:
    """Readings of a source.

    Args:
        source: what is asked.
        clock: monotonic seconds.
        wall: Unix time.
        every: a reading serves all who ask within so many seconds.
        patience: so many seconds a caller waits for a new one.
    """

    def __init__(
        self,
        source: Source,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float] = time.time,
        every: float = 1.0,
        patience: float = 3.0,
    ) -> None:
        self._source = source
        self._clock = clock
        self._wall = wall
        self._every = every
        self._patience = patience
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ygg-gpu")
        self._guard = threading.Lock()
        self._asked: Future[Reading] | None = None
        self._asked_at = 0.0
        self._told = ""
        #: Cards of the last reading that had any.
        self._cards = 0

    def reading(self) -> Reading:
        """The one of this second, or a new one. From any thread."""
        with self._guard:
            now = self._clock()
            asked = self._asked
            if asked is None or (asked.done() and now - self._asked_at >= self._every):
                asked = self._asked = self._thread.submit(self._read)
                self._asked_at = now
        try:
            reading = asked.result(self._patience)
        except Late:
            reading = Reading(trouble="stuck", message=_STUCK)
        self._tell(reading)
        return reading

    def close(self) -> None:
        """Does not wait for a driver that is stuck."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _read(self) -> Reading:
        failures = self._source.failures
        try:
            cards = self._source.read()
        except NoReading as error:
            return Reading(trouble=error.kind, message=str(error), failures=dict(failures))
        return Reading(cards=cards, at=self._wall(), failures=dict(failures))

    def _tell(self, reading: Reading) -> None:
        """Each change once: a driver that is away for a night fills no log."""
        with self._guard:
            changed, self._told = reading.trouble != self._told, reading.trouble
            before, now = self._cards, len(reading.cards)
            self._cards = before if reading.trouble else now
        if not reading.trouble and now < before:
            log.error("event=gpu_missing cards=%d before=%d hint=%r", now, before,
                      "look at `nvidia-smi -L`")  # fmt: skip
        if not changed:
            return
        if reading.trouble:
            log.error("event=gpu_away kind=%s why=%r", reading.trouble, reading.message)
        else:
            log.info("event=gpu_back cards=%d", len(reading.cards))

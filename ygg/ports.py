"""What the dispatcher asks of the world around it, beside its store; each has a twin in tests."""

from __future__ import annotations

from datetime import date
from typing import Protocol

from ygg.fleet import Fleet, Option
from ygg.handlers import Place
from ygg.keeper import Prober


class Servers(Prober, Protocol):
    """Where options are. Raises Failure."""

    def place(self, option: Option) -> Place: ...

    def take_over(self, fleet: Fleet) -> None:
        """Other settings, from now on; a server behind which another may stand is not known."""

    def most(self, host: str) -> int | None:
        """How many the server said it runs at once; None: it didn't say."""


class Answers(Protocol):
    """Where answers are kept (artifacts.py). All raise ArtifactError."""

    async def write(self, task_id: str, text: str, thinking: str, day: date) -> str: ...

    async def read(self, path: str) -> str:
        """Raises NoArtifact."""

    async def probe(self) -> None:
        """Whether answers can be written, by writing."""


class Meter(Protocol):
    """Hears of tokens as they flow, and of mistakes of ours."""

    def tokens(self, host: str, *, prompt: int, completion: int) -> None: ...

    def violation(self) -> None:
        """Something was found that must never be."""


class Clock(Protocol):
    def wall(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float: ...

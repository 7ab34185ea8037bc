"""A decided start that is being carried out: where it stands, and how it is told to stop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum

from ygg.assignment import Start
from ygg.fleet import TypeSettings
from ygg.ports import Meter
from ygg.tasks import Task


class Stop(Enum):
    """Why a run is ended before its answer."""

    CANCELLED = "cancelled"
    DRAINED = "drained"


@dataclass(eq=False, slots=True)
class Attempt:
    """A start that is being carried out; also hears of its tokens."""

    start: Start
    meter: Meter
    #: Of its type when it was decided: a reload does not touch what runs.
    settings: TypeSettings
    #: None while it is being claimed.
    task: Task | None = None
    #: Monotonic seconds at which the host was asked.
    began: float | None = None
    stop: Stop | None = None
    #: True from the moment its end is being written: too late to stop it.
    ending: bool = False
    runner: asyncio.Task[None] | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def tokens(self, *, prompt: int = 0, completion: int = 0) -> None:
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        self.meter.tokens(self.start.option.host, prompt=prompt, completion=completion)

    def request_stop(self, stop: Stop) -> None:
        if self.stop is None and not self.ending:
            self.stop = stop
            if self.began is not None and self.runner is not None:
                self.runner.cancel()

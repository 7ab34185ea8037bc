"""Whether a host, or one model on it, takes starts: one small state machine for both.

Pure: `now` is the monotonic clock, in seconds. Asking servers is left to the dispatcher, which
feeds what it saw in here and writes down what changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from ygg.faults import Cause


class Mode(StrEnum):
    UP = "up"  # takes starts
    TRIAL = "trial"  # answers again: takes one task at a time until one ended well
    DOWN = "down"  # takes none; is asked again and again
    RESTING = "resting"  # said it is busy: takes none until a moment


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How often to ask, in seconds."""

    #: After a failure; doubles with each unanswered probe ...
    first: float
    #: ... up to this.
    longest: float
    #: Each trial that fails doubles the pause before the next one, up to this: a server whose
    #: health path answers while its work fails would else eat a strike of a task each second.
    longest_after_trial: float
    #: An idle one that is up is looked at this often. None: never.
    idle: float | None


HOST_PACE: Final = Pace(first=0.5, longest=5.0, longest_after_trial=60.0, idle=15.0)
OPTION_PACE: Final = Pace(first=5.0, longest=60.0, longest_after_trial=300.0, idle=None)

_REST_FIRST: Final = 1.0
_REST_LONGEST: Final = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """One host or option: where it stands, why, and when to look again."""

    pace: Pace
    mode: Mode
    #: In words for a person; "" while it is well.
    reason: str = ""
    #: Monotonic seconds at which it is to be looked at, or its rest ends. None: no need.
    look_at: float | None = None
    #: Probes unanswered since it went down.
    unanswered: int = 0
    #: Times it went down since something last ended well.
    falls: int = 0
    #: Rests in a row.
    rests: int = 0
    #: Where a rest leads back to.
    after_rest: Mode = Mode.UP

    def failed(self, now: float, reason: str) -> Health:
        """Work failed by its fault. Whoever reports second changes nothing."""
        if self.mode is Mode.DOWN:
            return replace(self, reason=reason)
        pause = min(self.pace.first * 2**self.falls, self.pace.longest_after_trial)
        return replace(
            self,
            mode=Mode.DOWN,
            reason=reason,
            look_at=now + pause,
            unanswered=0,
            falls=min(self.falls + 1, 30),
        )

    def probe_failed(self, now: float, reason: str) -> Health:
        if self.mode is not Mode.DOWN:
            return self.failed(now, reason)
        # After a fall the first pause is over by the first probe; a new host is asked at once.
        pauses = self.unanswered + (1 if self.falls else 0)
        return replace(
            self,
            reason=reason,
            look_at=now + min(self.pace.first * 2**pauses, self.pace.longest),
            unanswered=min(self.unanswered + 1, 30),
        )

    def probe_answered(self, now: float) -> Health:
        if self.mode is Mode.RESTING:
            return self
        if self.mode is Mode.DOWN:
            # Never failed at work (a start of ours): nothing to try out.
            mode = Mode.TRIAL if self.falls else Mode.UP
            return replace(self, mode=mode, reason="", look_at=self._idle(now), unanswered=0)
        return replace(self, look_at=self._idle(now))

    def worked(self, now: float) -> Health:
        """A task got its answer here, or was refused for a fault of its own."""
        if self.mode in (Mode.DOWN, Mode.RESTING):
            return self  # begun before the failure: the next probe, or the rest's end, decides
        return replace(
            self, mode=Mode.UP, reason="", look_at=self._idle(now), falls=0, rests=0, unanswered=0
        )

    def doubted(self, now: float) -> Health:
        """Something is odd, its fault unproven: look at once, judge by the answer."""
        if self.mode in (Mode.DOWN, Mode.RESTING):
            return self  # it is looked at soon anyway, and a rest is not cut short
        return replace(self, look_at=now)

    def busy(self, now: float, retry_after: float | None, reason: str) -> Health:
        """It asked to be left alone: for so long, or from 1 s doubling while it goes on."""
        if self.mode is Mode.DOWN:
            return self
        own = _REST_FIRST * 2**self.rests
        pause = min(max(own if retry_after is None else retry_after, 0.1), _REST_LONGEST)
        if self.mode is Mode.RESTING:
            until = max(now + pause, self.look_at or now)
            return replace(self, look_at=until, reason=reason)
        return replace(
            self,
            mode=Mode.RESTING,
            reason=reason,
            look_at=now + pause,
            rests=min(self.rests + 1, 30),
            after_rest=self.mode,
        )

    def rested(self, now: float) -> Health:
        """Its rest is over, if `look_at` has come."""
        if self.mode is not Mode.RESTING or self.look_at is None or now < self.look_at:
            return self
        return replace(self, mode=self.after_rest, reason="", look_at=self._idle(now))

    def _idle(self, now: float) -> float | None:
        return None if self.pace.idle is None else now + self.pace.idle


def new_host(now: float) -> Health:
    """A host nobody has asked yet: it takes no starts until its first answer."""
    return Health(pace=HOST_PACE, mode=Mode.DOWN, reason="not asked yet", look_at=now)


def new_option() -> Health:
    """A model on a host, taken to be there until the server says no."""
    return Health(pace=OPTION_PACE, mode=Mode.UP)


_QUOTED: Final = re.compile(r"""(?<!\w)(['"`]).*?\1(?!\w)""")
_DIGITS: Final = re.compile(r"\d+")


def alike(message: str) -> str:
    """A message without what differs from task to task: numbers, and what is quoted."""
    return _DIGITS.sub("0", _QUOTED.sub("''", message))


#: So many tasks in a row blocked with one error on one option say that it is the option.
STREAK: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Streak:
    """Tasks in a row that one option blocked with the same error."""

    cause: Cause | None = None
    #: As `alike` has it.
    message: str = ""
    count: int = 0

    def blocked(self, cause: Cause, message: str) -> Streak:
        message = alike(message)
        same = (cause, message) == (self.cause, self.message)
        return Streak(cause=cause, message=message, count=self.count + 1 if same else 1)

    @property
    def too_long(self) -> bool:
        return self.count >= STREAK


#: So many trials in a row that failed alike say that it is the option, and not a bad hour.
TRIALS: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Trials:
    """Trials of one option in a row that failed alike, and with which tasks.

    The least task is the trial again and again: one that can't be done here must not stop an
    option for all behind it, and an option that can do nothing must not eat the backlog. So a
    task is given up after two trials, the next one after four, then eight: the more tasks failed
    alike, the less it is the task.
    """

    cause: Cause | None = None
    #: As `alike` has it.
    message: str = ""
    count: int = 0
    #: The task of the last one, and how many in a row it was.
    task: str = ""
    of_task: int = 0
    #: How many tasks it were.
    tasks: int = 0

    def failed(self, cause: Cause, message: str, task: str) -> Trials:
        message = alike(message)
        if (cause, message) != (self.cause, self.message):
            return Trials(cause=cause, message=message, count=1, task=task, of_task=1, tasks=1)
        if task != self.task:
            return replace(
                self, count=self.count + 1, task=task, of_task=1, tasks=min(self.tasks + 1, 30)
            )
        return replace(self, count=self.count + 1, of_task=self.of_task + 1)

    @property
    def blame_option(self) -> bool:
        return self.count >= TRIALS

    @property
    def give_task_up(self) -> bool:
        return self.of_task >= 1 << self.tasks

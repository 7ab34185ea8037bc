"""A step up is on trial until throughput has shown what it bought; a limit that failed is a ceiling.

NVML's utilization says only that some kernel ran, so it can't tell whether one more task helps.
Throughput can. Pure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from autoscaler.observed import Signals
from autoscaler.settings import Settings


class Verdict(Enum):
    PENDING = "pending"
    KEPT = "kept"
    NO_GAIN = "no_gain"
    #: Never reached under load in all its time, or its throughput can't be compared.
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A step up, with the throughput of the window before it."""

    limit_before: int
    step: int
    #: When it was decided, in seconds.
    since: float
    #: Mean of the window before, and its standard error; None: there was no throughput to compare.
    rate: float | None
    error: float
    rates_are_tokens: bool

    @classmethod
    def of(cls, seen: Signals, step: int) -> Trial:
        return cls(
            limit_before=seen.limit,
            step=step,
            since=seen.now,
            rate=statistics.fmean(seen.rates) if seen.rates else None,
            error=standard_error(seen.rates),
            rates_are_tokens=seen.rates_are_tokens,
        )


def judge(settings: Settings, trial: Trial, seen: Signals) -> Verdict:
    """What the step bought, once there is a full window in which the new limit held work back."""
    passed = seen.now - trial.since
    if passed >= settings.trial_seconds_max:
        return Verdict.FORGOTTEN
    if passed < settings.window_seconds or seen.binding < settings.binding_ratio:
        return Verdict.PENDING
    if trial.rate is None or not seen.rates or seen.rates_are_tokens is not trial.rates_are_tokens:
        return Verdict.FORGOTTEN
    # Without the error, good steps on noisy hosts are thrown away.
    error = math.hypot(trial.error, standard_error(seen.rates))
    wanted = trial.rate * (1 + settings.trial_gain_ratio * trial.step / trial.limit_before)
    reached = statistics.fmean(seen.rates) + settings.trial_errors * error
    return Verdict.NO_GAIN if reached < wanted else Verdict.KEPT


def standard_error(rates: Sequence[float]) -> float:
    """Of the mean of the pieces of a window; 0 for fewer than two."""
    return statistics.stdev(rates) / math.sqrt(len(rates)) if len(rates) > 1 else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceiling:
    """Growth past `limit` failed: none is tried until then."""

    limit: int
    until: float
    #: How long it holds; failing again doubles it.
    seconds: float

    def holds(self, now: float) -> bool:
        return now < self.until

    @classmethod
    def after(
        cls, earlier: Ceiling | None, limit: int, now: float, *, first: float, most: float
    ) -> Ceiling:
        """A limit just failed. The cap matters: longer ones cost more than what they avoid."""
        again = earlier is not None and earlier.limit == limit
        seconds = min(2 * earlier.seconds, most) if earlier is not None and again else first
        return cls(limit=limit, until=now + seconds, seconds=seconds)

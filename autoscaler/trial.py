"""A step up is on trial until throughput has shown what it bought; a limit that failed is a ceiling.

NVML's utilization says only that some kernel ran, so it can't tell whether one more task helps.
Throughput can. Pure.

Added to the rule as it was first written down: one window before and one after tell too little of
an ordinary host, whose throughput jumps by more than a step buys. So windows before a step are
pooled, as are those after it while its worth is in doubt; and steps that buy nothing again and
again are tried every half hour (`no_gain_seconds_max`), not every 20 minutes. Changes an hour of a
host whose processor is its limit: 5.9 before, 4.0 now; of a server that runs one task at a time,
5.7 and 4.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
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
class Throughput:
    """Rates under one limit while it held work back, in pieces of whole windows.

    One window says little of a noisy host; those before a step are pooled, as far as they are
    recent, and so are those after it.
    """

    limit: int
    are_tokens: bool
    #: From when on windows count, or the last one that did ended.
    at: float
    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float:
        assert self.count > 0, "no window yet"
        return self.total / self.count

    @property
    def error(self) -> float:
        """Standard error of the mean; 0 for fewer than two pieces."""
        if self.count < 2:
            return 0.0
        spread = max(0.0, self.squares - self.total * self.mean) / (self.count - 1)
        return math.sqrt(spread / self.count)

    def after(self, settings: Settings, seen: Signals) -> Throughput:
        """With the window that ends now, if it is a whole new one that can be compared."""
        fits = seen.limit == self.limit and seen.rates_are_tokens is self.are_tokens
        if not fits or not seen.rates or seen.binding < settings.binding_ratio:
            return self
        if seen.now - self.at < settings.window_seconds:
            return self
        most = settings.trial_windows_before * len(seen.rates)
        kept = min(1.0, most / (self.count + len(seen.rates)))
        if seen.now - self.at > settings.trial_windows_before * settings.window_seconds:
            kept = 0.0  # a rest as long as all that is pooled: the work may be another now
        return replace(
            self,
            at=seen.now,
            count=kept * self.count + len(seen.rates),
            total=kept * self.total + sum(seen.rates),
            squares=kept * self.squares + sum(rate * rate for rate in seen.rates),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A step up, with the throughput before it, and since."""

    limit_before: int
    step: int
    #: When it was decided, in seconds.
    since: float
    #: None: there was no throughput to compare.
    before: Throughput | None
    reached: Throughput
    windows: int = 0

    @classmethod
    def of(cls, seen: Signals, step: int, steady: Throughput | None) -> Trial:
        """`steady`: what is known of the limit so far; the window that ends now at least."""
        before = steady if steady is not None and steady.count else None
        if before is None and seen.rates:
            before = Throughput(
                limit=seen.limit,
                are_tokens=seen.rates_are_tokens,
                at=seen.now,
                count=len(seen.rates),
                total=sum(seen.rates),
                squares=sum(rate * rate for rate in seen.rates),
            )
        reached = Throughput(limit=seen.limit + step, are_tokens=seen.rates_are_tokens, at=seen.now)
        return cls(
            limit_before=seen.limit, step=step, since=seen.now, before=before, reached=reached
        )

    def after(self, settings: Settings, seen: Signals) -> Trial:
        reached = self.reached.after(settings, seen)
        return replace(self, reached=reached, windows=self.windows + (reached is not self.reached))


def judge(settings: Settings, trial: Trial, seen: Signals) -> Verdict:
    """What the step bought, once there is a full window in which the new limit held work back.

    Where that window leaves it open, more of them are waited for; then the benefit of the doubt
    keeps the step: without it good steps on noisy hosts are thrown away.
    """
    if seen.now - trial.since >= settings.trial_seconds_max:
        return Verdict.FORGOTTEN
    before, reached = trial.before, trial.reached
    if before is None or seen.rates_are_tokens is not before.are_tokens:
        return Verdict.FORGOTTEN
    if not trial.windows or seen.now > reached.at:
        return Verdict.PENDING
    error = math.hypot(before.error, reached.error)
    wanted = before.mean * (1 + settings.trial_gain_ratio * trial.step / trial.limit_before)
    if reached.mean + settings.trial_errors * error < wanted:
        return Verdict.NO_GAIN
    if reached.mean - settings.trial_sure_errors * error > before.mean:
        return Verdict.KEPT
    # Waiting is of no use where noise would hide the gain in the end too.
    in_the_end = error * math.sqrt(trial.windows / settings.trial_windows)
    hopeless = in_the_end > wanted - before.mean
    if trial.windows < settings.trial_windows and not hopeless:
        return Verdict.PENDING
    doubt = settings.trial_errors if hopeless else settings.trial_doubt_errors
    return Verdict.NO_GAIN if reached.mean + doubt * error < wanted else Verdict.KEPT


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

"""Tasks as they arrive: when, how urgent, how long their answers, how much memory they take.

Everything is drawn from a generator that is passed in: the same seed gives the same tasks,
whatever the limits are.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Final

HOUR: Final = 3600.0


@dataclass(slots=True, eq=False)
class Job:
    """A task, and how far it is."""

    created: float
    priority: int
    tokens: float
    #: Memory at its start (prompt and buffers), and what each token adds, in GB.
    start_gb: float
    token_gb: float
    kind: str = ""
    #: Tokens that must be made again after a preemption, on top.
    again: float = 0.0
    made: float = 0.0
    #: Of this attempt: when it began, when it last came to wait inside the server, how long it did.
    started: float = 0.0
    queued: float = 0.0
    inside: float = 0.0


Drawn = Callable[[Random], float]
#: Seconds between arrivals, given the time.
Gap = Callable[[Random, float], float]
Work = Callable[[Random, float], list[Job]]

#: critical .. backlog
PRIORITIES: Final = (0.03, 0.12, 0.60, 0.15, 0.10)

#: Quantiles of the traces: share of requests, tokens.
_SHARES: Final = (0.0, 0.05, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 1.0)
CONVERSATION: Final = (7.0, 41.0, 85.0, 129.0, 395.0, 424.0, 451.0, 601.0, 1000.0)
CODE: Final = (1.0, 6.0, 9.0, 13.0, 24.0, 55.0, 90.0, 252.0, 1899.0)
CONVERSATION_PROMPT: Final = (20.0, 181.0, 396.0, 1020.0, 1189.0, 2735.0, 4083.0, 4142.0, 14050.0)
CODE_PROMPT: Final = (10.0, 75.0, 578.0, 1469.0, 2745.0, 5194.0, 7315.0, 7436.0, 7437.0)


def lognormal(median: float, sigma: float, *, most: float = math.inf) -> Drawn:
    return lambda rng: min(most, median * math.exp(rng.gauss(0.0, sigma)))


def from_quantiles(tokens: Sequence[float], *, most: float = math.inf) -> Drawn:
    """The distribution that has these quantiles, straight between them."""

    def drawn(rng: Random) -> float:
        share = rng.random()
        index = min(bisect.bisect_right(_SHARES, share), len(_SHARES) - 1)
        low, high = _SHARES[index - 1], _SHARES[index]
        part = (share - low) / (high - low)
        return min(most, tokens[index - 1] + part * (tokens[index] - tokens[index - 1]))

    return drawn


def poisson(per_hour: float) -> Gap:
    return lambda rng, now: rng.expovariate(per_hour / HOUR)


def by_day(mean_per_hour: float, *, swing: float = 0.9, day: float = 24 * HOUR) -> Gap:
    """Least at the start, most half a day later."""

    def gap(rng: Random, now: float) -> float:
        rate = mean_per_hour / HOUR * (1.0 - swing * math.cos(2 * math.pi * now / day))
        return rng.expovariate(max(rate, 1e-6))

    return gap


def in_bursts(
    per_hour: float, *, silence: float, burst: int, within: float, after: float = 0.0
) -> Gap:
    """Silences of so many seconds on average, each ended by a crowd that comes at once."""
    left = [0]

    def gap(rng: Random, now: float) -> float:
        if now < after:
            return rng.expovariate(per_hour / HOUR)
        if left[0] > 0:
            left[0] -= 1
            return rng.expovariate(1.0 / within)
        left[0] = int(rng.expovariate(1.0 / burst))
        return rng.expovariate(1.0 / silence)

    return gap


_PROMPT: Final = lognormal(600, 0.8, most=6000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """Tasks of one kind."""

    #: Makes a new one for each play: bursts remember how much of them is left.
    gap: Callable[[], Gap]
    tokens: Drawn
    #: Of a prompt of so many tokens each takes `token_gb`, on top of `base_gb`.
    prompt: Drawn = _PROMPT
    base_gb: float = 0.0
    token_gb: float = 0.0
    name: str = ""
    #: Seconds: these tasks come from then, and no longer than until then.
    since: float = 0.0
    until: float = math.inf


def arrivals(*kinds: Kind) -> Work:
    """The tasks of these kinds, in order of arrival."""

    def drawn(rng: Random, seconds: float) -> list[Job]:
        jobs: list[Job] = []
        for kind in kinds:
            own, gap, now = Random(rng.random()), kind.gap(), kind.since
            while (now := now + gap(own, now)) < min(seconds, kind.until):
                jobs.append(
                    Job(
                        created=now,
                        priority=own.choices(range(5), PRIORITIES)[0],
                        tokens=max(1.0, kind.tokens(own)),
                        start_gb=kind.base_gb + kind.token_gb * kind.prompt(own),
                        token_gb=kind.token_gb,
                        kind=kind.name,
                    )
                )
        jobs.sort(key=lambda job: job.created)
        assert all(one.created <= other.created for one, other in pairwise(jobs))
        return jobs

    return drawn

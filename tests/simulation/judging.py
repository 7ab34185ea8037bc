"""What the rule was worth in a scenario, against the best that could have been set by hand."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autoscaler.settings import Settings
from tests.simulation.plays import Law, Run, Scenario
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.world import World

#: The law, for a limit set by hand: no more of the time than this over the threshold.
ABOVE_MOST = 0.02
MEAN_LEAST = 0.98
CHANGES_MOST = 6.0


def static(scenario: Scenario, seed: int, limits: Sequence[int], law: Law | None = None) -> Run:
    """The whole of it, or, with a law, until it breaks that."""
    return World(scenario, seed, settings=Settings(), limits=limits, law=law).play()


def with_rule(
    scenario: Scenario, seed: int, settings: Settings | None = None, *, record: bool = False
) -> Run:
    record = record or scenario.promise is not None
    return World(scenario, seed, settings=settings or Settings(), record=record).play()


@dataclass(frozen=True, kw_only=True, slots=True)
class Best:
    """The best limits that could have been set by hand, found by trying all of them."""

    limits: tuple[int, ...]
    run: Run
    #: With the limits that hosts.yaml starts with.
    start: Run
    tried: int


def best_static(scenario: Scenario, seed: int) -> Best:
    """For one host every limit; for several each host's every limit in turns (see `__init__`)."""
    plans = list(scenario.hosts.values())
    at_min = [plan.min for plan in plans]
    least = static(scenario, seed, at_min)
    law = Law(above_most=ABOVE_MOST, failures_most=least.failures)
    known = {tuple(at_min): least}

    def tried(limits: Sequence[int]) -> Run:
        key = tuple(limits)
        if key not in known:
            known[key] = static(scenario, seed, key, law)
        return known[key]

    def breakers(limits: Sequence[int], run: Run) -> set[str]:
        return {
            name
            for limit, (name, plan) in zip(limits, scenario.hosts.items(), strict=True)
            if limit > plan.min and law.is_broken(name, run.above[name], run.failures.get(name, 0))
        }

    def obeys(limits: Sequence[int], run: Run) -> bool:
        return not breakers(limits, run)

    def bettered(at: list[int]) -> list[int]:
        """Each host's every limit in turns, until no host can be bettered."""
        before = None
        while at != before:
            before = at
            for index, plan in enumerate(plans):
                for limit in range(plan.min, plan.max + 1):
                    other = [*at[:index], limit, *at[index + 1 :]]
                    run = tried(other)
                    if run.tokens > tried(at).tokens and obeys(other, run):
                        at = other
        return at

    def lawful(at: list[int]) -> list[int]:
        """These limits, and on hosts that break the law as few less as keep it."""
        while wrong := breakers(at, tried(at)):
            at = [limit - (name in wrong) for limit, name in zip(at, scenario.hosts, strict=True)]
        return at

    ends = [bettered(at_min)]
    if len(plans) > 1:
        # From the other side too: a host on the edge of the law makes every step up of another
        # one unlawful, so that the way up alone ends too early.
        ends.append(bettered(lawful([plan.max for plan in plans])))
    best = max(ends, key=lambda at: tried(at).tokens)
    start = static(scenario, seed, [plan.start for plan in plans])
    return Best(limits=tuple(best), run=tried(best), start=start, tried=len(known))


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """One scenario on one seed, with the rule and with the best static limit."""

    seed: int
    run: Run
    best: Best

    @property
    def ratio(self) -> float:
        return self.run.tokens / self.best.run.tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """A scenario over some seeds."""

    scenario: Scenario
    played: tuple[Played, ...]

    def _mean(self, values: Iterator[float]) -> float:
        return statistics.fmean(values)

    @property
    def ratio(self) -> float:
        return statistics.fmean(p.ratio for p in self.played)

    @property
    def worst(self) -> float:
        return min(p.ratio for p in self.played)

    @property
    def by_start(self) -> float:
        """What the limits of hosts.yaml, left alone, are worth."""
        return statistics.fmean(p.best.start.tokens / p.best.run.tokens for p in self.played)

    @property
    def failures(self) -> int:
        """Memory failures that nothing from outside explains, over all seeds."""
        return sum(p.run.failures_all - p.run.failures_at_steps for p in self.played)

    @property
    def failures_at_steps(self) -> int:
        return sum(p.run.failures_at_steps for p in self.played)

    @property
    def changes(self) -> float:
        return statistics.fmean(p.run.changes_per_hour for p in self.played)

    @property
    def above(self) -> float:
        return statistics.fmean(max(p.run.above.values()) for p in self.played)

    @property
    def best_above(self) -> float:
        return statistics.fmean(max(p.best.run.above.values()) for p in self.played)

    def wait(self, priority: int) -> float:
        """95 of 100 started sooner, on the median seed."""
        return statistics.median(p.run.wait(priority, 0.95) for p in self.played)

    def broken(self) -> list[str]:
        """The promises that did not hold, in words."""
        told: list[str] = []
        name = self.scenario.name
        if self.ratio < self.scenario.least:
            told.append(
                f"{name}: {self.ratio:.1%} of the best static goodput, "
                f"promised {self.scenario.least:.0%}"
            )
        if self.failures > self.scenario.failures_most * len(self.played):
            told.append(f"{name}: {self.failures} memory failures that no outside step explains")
        if self.changes >= CHANGES_MOST:
            told.append(f"{name}: {self.changes:.1f} changes an hour, promised fewer than 6")
        if self.scenario.promise is not None:
            for played in self.played:
                wrong = self.scenario.promise(played.run)
                if wrong is not None:
                    told.append(f"{name}, seed {played.seed}: {wrong}")
        return told


def broken_overall(scores: Sequence[Score]) -> list[str]:
    """Of all scenarios, or of some; the mean over them is promised for all only."""
    told = [line for score in scores for line in score.broken()]
    if {score.scenario.name for score in scores} != {scenario.name for scenario in SCENARIOS}:
        return told
    mean = statistics.fmean(score.ratio for score in scores)
    if mean < MEAN_LEAST:
        told.append(f"all: {mean:.1%} of the best static goodput on average, promised 98 %")
    return told

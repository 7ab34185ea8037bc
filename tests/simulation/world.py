"""The event loop of the simulated fleet: tasks wait in one backlog, hosts take them, limits move.

The dispatcher is the least that keeps its rules: strict order, a bound on each host, a failed
task back in its place, and a host that failed rests, then takes one task at a time until one ended
well.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from autoscaler.policy import Action
from autoscaler.settings import Settings
from autoscaler.signals import QueueSample
from tests.simulation.backlog import Backlog
from tests.simulation.hosts import Host
from tests.simulation.plays import SCRAPE, Law, Moment, Plan, Run, Scenario, Step
from tests.simulation.sources import Watch

_REST_MOST: Final = 60.0


@dataclass(slots=True)
class _Place:
    """A host as the dispatcher sees it, and who watches it."""

    name: str
    plan: Plan
    host: Host
    limit: int
    watch: Watch | None
    noise: Random
    rests_until: float = 0.0
    falls: int = 0
    on_trial: bool = False
    scrapes_above: int = 0
    busy_seconds: float = 0.0
    #: When something happens to it by itself.
    due: float = 0.0

    def may_start(self, now: float) -> bool:
        if now < self.rests_until or not self.host.up:
            return False
        return self.host.active < (min(1, self.limit) if self.on_trial else self.limit)


class World:
    """One play of a scenario: with static limits, or (`limits=None`) with the rule."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        *,
        settings: Settings,
        limits: Sequence[int] | None = None,
        record: bool = False,
        watch_as: type[Watch] = Watch,
        law: Law | None = None,
    ) -> None:
        self._scenario, self._settings, self._record = scenario, settings, record
        self._by_rule = limits is None
        self._law, self._scrapes_all = law, math.ceil(scenario.seconds / SCRAPE)
        self._jobs = scenario.work(Random(f"{scenario.name} work {seed}"), scenario.seconds)
        self._backlog = Backlog()
        self._places: list[_Place] = []
        for index, (name, plan) in enumerate(scenario.hosts.items()):
            host = Host(plan.shape)
            watch = None
            if self._by_rule:
                rng = Random(f"{scenario.name} {name} seen {seed}")
                watch = watch_as(
                    settings, host, rng, gpu=plan.gpu, queue=plan.queue, resets=plan.resets,
                    renewed_seconds=plan.renewed_seconds,
                )  # fmt: skip
            self._places.append(
                _Place(
                    name=name, plan=plan, host=host, watch=watch,
                    limit=plan.start if limits is None else limits[index],
                    noise=Random(f"{scenario.name} {name} noise {seed}"),
                )
            )  # fmt: skip
        self.run = Run(seconds=scenario.seconds, settled=scenario.settled)
        self._steps = deque(sorted(scenario.steps, key=lambda step: step.at))
        self._aftermath = -math.inf

    def play(self) -> Run:
        jobs, end, index, scrapes = self._jobs, self._scenario.seconds, 0, 0
        places, steps = self._places, self._steps
        while True:
            arrival = jobs[index].created if index < len(jobs) else math.inf
            tick = scrapes * SCRAPE
            step = steps[0].at if steps else math.inf
            now = min(arrival, tick, step, end, *(place.due for place in places))
            for place in places:
                # Hosts to which nothing happens are left alone until somebody looks at them.
                if place.due <= now or now in (tick, step, end):
                    self._touch(place, now)
            if now >= end:
                break
            if arrival <= now:
                self._backlog.add(jobs[index])
                index += 1
            if step <= now:
                self._take(steps.popleft(), now)
            self._assign(now)
            if tick <= now:
                self._scrape(now, decides=scrapes % 3 == 0)
                self._assign(now)
                scrapes += 1
                if self._law is not None and any(map(self._breaks_law, places)):
                    break
        self.run.tokens += sum(place.host.in_flight for place in places)
        self.run.above = {place.name: self._above(place) for place in places}
        return self.run

    def _above(self, place: _Place) -> float:
        return place.scrapes_above / self._scrapes_all

    def _breaks_law(self, place: _Place) -> bool:
        assert self._law is not None
        failures = self.run.failures.get(place.name, 0)
        at_min = place.limit == place.plan.min
        return not at_min and self._law.is_broken(place.name, self._above(place), failures)

    # -- the dispatcher ----------------------------------------------------------------------------

    def _touch(self, place: _Place, now: float) -> None:
        place.host.advance(now)
        self._settle(place, now)
        place.due = self._due(place)

    def _due(self, place: _Place) -> float:
        due = place.host.next_at()
        return min(due, place.rests_until) if place.rests_until > place.host.now else due

    def _settle(self, place: _Place, now: float) -> None:
        ended = place.host.settle()
        if ended.finished:
            self.run.tokens += sum(job.tokens for job in ended.finished)
            if now >= place.rests_until:
                place.on_trial, place.falls = False, 0
        for job in ended.failed:
            self._backlog.put_back(job)
            self.run.failures[place.name] = self.run.failures.get(place.name, 0) + 1
            self.run.failures_at_steps += now < self._aftermath
        if ended.failed:
            place.rests_until = now + min(0.5 * 2**place.falls, _REST_MOST)
            place.rests_until = max(place.rests_until, place.host.down_until)
            place.falls = min(place.falls + 1, 30)
            place.on_trial = True

    def _assign(self, now: float) -> None:
        for place in self._places:
            if not self._backlog:
                return
            if not place.may_start(now):
                continue
            self._touch(place, now)
            while self._backlog and place.may_start(now):
                job = self._backlog.pop()
                self.run.waits[job.priority].append(now - job.created)
                place.host.start(job)
            place.due = self._due(place)

    def _take(self, step: Step, now: float) -> None:
        self._aftermath = max(self._aftermath, now + step.aftermath)
        place = next(place for place in self._places if place.name == step.host)
        step.what(place.host)
        self._touch(place, now)

    # -- the autoscaler ----------------------------------------------------------------------------

    def _scrape(self, now: float, *, decides: bool) -> None:
        waiting, oldest = len(self._backlog), self._backlog.oldest_wait(now)
        for place in self._places:
            host, noise = place.host, place.plan.shape.noise
            kv = place.plan.shape.kv_gb is not None
            place.scrapes_above += host.memory > (0.98 if kv else 0.90)
            if self._record:
                self._keep(place, now, oldest)
            if place.watch is not None:
                sample = QueueSample(
                    at=now, limit=place.limit, min=place.plan.min, max=place.plan.max,
                    up=now >= place.rests_until and host.up, active=host.active,
                    waiting=waiting, oldest_wait=oldest,
                )  # fmt: skip
                place.watch.scrape(now, sample)
                if decides:
                    self._decide(place, now)
            host.factor = max(0.2, 1.0 + place.noise.gauss(0.0, noise))
            place.due = self._due(place)

    def _decide(self, place: _Place, now: float) -> None:
        assert place.watch is not None
        decided = place.watch.decide(now)
        if decided is None:
            return
        limit_seen, decision = decided
        # `expected` of PUT /v1/autoscaler: what was seen of the limit still holds.
        if decision.action is not Action.HOLD and limit_seen == place.limit:
            self.run.changes.append((now, place.name, decision))
            place.limit = decision.limit
            place.watch.resized(decision.limit)

    def _keep(self, place: _Place, now: float, oldest: float) -> None:
        host = place.host
        busy = (host.busy_seconds - place.busy_seconds) / SCRAPE
        place.busy_seconds = host.busy_seconds
        self.run.moments.setdefault(place.name, []).append(
            Moment(
                at=now, limit=place.limit, active=host.active, memory=host.memory,
                util=min(1.0, busy), oldest_wait=oldest,
            )
        )  # fmt: skip

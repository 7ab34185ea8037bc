"""What a running task takes of a card's memory, learned while tasks run.

memory = floor + mu * active, as ratios of the card. Pure: each tick is told, none is fetched.
When the loaded models change, all that was learned is of another program: start anew.

Added to the rule as it was first written down, each for what the simulated fleet showed:

- A model begins with what a task of the one before took (`anew`): with nothing, the first tasks
  that run when it comes count as its floor, and growth looks free.
- What the first tasks after a rest bring at once is a model's weights (`load_ratio`): a server that
  doesn't say what it has loaded stayed at its start for hours (46 % of the best goodput, now 99 %).
- What has risen and never fallen is a high-water mark (`is_high_water`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

#: Sums below it are those of hours ago, or of nothing.
_NOTHING: Final = 1e-9
#: A change smaller than this is none.
_MOVED: Final = 0.002
_RISES_LEAST: Final = 2
#: Falls that are fewer than one of so many changes are another program's.
_RISES_A_FALL: Final = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryModel:
    """Sums that forget with time; nothing learned yet: a floor of None.

    Attributes:
        floor: the least ratio seen, drifting towards the present so that another program that
            took memory for good is learned.
        above: forgetting sum of (memory - floor).
        tasks: forgetting sum of active.
        squares: forgetting sum of squared residuals, each over its active tasks.
        weight: forgetting count of the residuals.
        at: when it last learned, in seconds.
        prior: what a task took of the models before, until this one's tasks have shown theirs.
        since: when it began to learn.
        last: the ratio it learned last, and how many tasks ran then.
        rises: how often memory rose while tasks ran; `falls`: how often it fell.
    """

    floor: float | None = None
    above: float = 0.0
    tasks: float = 0.0
    squares: float = 0.0
    weight: float = 0.0
    at: float = 0.0
    prior: float = 0.0
    since: float | None = None
    last: float = 0.0
    last_active: int = 0
    rises: int = 0
    falls: int = 0

    @property
    def is_high_water(self) -> bool:
        """Tasks come and go, and memory has risen but never fallen.

        That is how a caching allocator looks, or tasks so long that none has ended yet: what is
        seen is the most there was so far, and the most there will be is more.
        """
        return self.rises >= _RISES_LEAST and self.falls * _RISES_A_FALL < self.rises

    @property
    def mu(self) -> float:
        """Of one running task, as a ratio of the card; while none ever ran, as it was before."""
        return self.above / self.tasks if self.tasks > _NOTHING else self.prior

    @property
    def anew(self) -> MemoryModel:
        """For other models, of which nothing is known but what their like has taken."""
        return MemoryModel(prior=self.mu)

    @property
    def deviation(self) -> float:
        """Root of the mean squared residual per running task."""
        return math.sqrt(self.squares / self.weight) if self.weight > _NOTHING else 0.0

    def forecast(self, tasks: int, *, step: int, recent_high: float, deviations: float) -> float:
        """The memory ratio with so many tasks running, `step` of them new.

        Tasks are independent of each other, hence the square root. What was seen lately counts
        as much as what was learned over a quarter of an hour: the higher of both is believed.
        """
        learned = (self.floor or 0.0) + self.mu * tasks
        learned += deviations * self.deviation * math.sqrt(tasks)
        return max(learned, recent_high + self.mu * step)

    def after(
        self,
        *,
        now: float,
        memory: float,
        active: int,
        forget_seconds: float,
        drift_seconds: float,
        load_ratio: float,
    ) -> MemoryModel:
        """What one tick adds.

        Args:
            now: seconds, never before the last tick.
            memory: the last sample of used over total.
            active: tasks running when it was taken.
            forget_seconds: time constant of the sums.
            drift_seconds: time constant of the floor's way towards the present.
            load_ratio: of a card; more than that for each of the first tasks after a rest is not
                theirs, a model was loaded.
        """
        if self._model_came(memory, active, load_ratio):
            return MemoryModel(floor=memory, at=now, since=now, last=memory, last_active=active)
        passed = 0.0 if self.floor is None else max(0.0, now - self.at)
        kept = math.exp(-passed / forget_seconds)
        floor = max(0.0, memory - self.prior * active)
        if self.floor is not None:
            drift = 1.0 - math.exp(-passed / drift_seconds)
            # Towards what is left without the tasks: towards the plain memory, hours of steady
            # load would make the floor of what tasks take, and the next one look free.
            left = max(0.0, memory - self.mu * active)
            floor = min(memory, self.floor + drift * (left - self.floor))
        above, tasks = self.above * kept, self.tasks * kept
        squares, weight = self.squares * kept, self.weight * kept
        if active > 0:
            above += memory - floor
            tasks += active
            residual = memory - floor - above / tasks * active
            squares += residual * residual / active
            weight += 1.0
        at_work = self.floor is not None and self.last_active > 0 and active > 0
        return MemoryModel(
            floor=floor,
            above=above,
            tasks=tasks,
            squares=squares,
            weight=weight,
            at=now,
            prior=self.prior,
            since=now if self.since is None else self.since,
            last=memory,
            last_active=active,
            rises=self.rises + (at_work and memory - self.last > _MOVED),
            falls=self.falls + (at_work and self.last - memory > _MOVED),
        )

    def _model_came(self, memory: float, active: int, least: float) -> bool:
        """The first tasks after a rest brought so much each that it must be a model's weights."""
        if self.floor is None or self.last_active > 0 or active == 0:
            return False
        return (memory - self.last) / active > least

"""What a running task takes of a card's memory, learned while tasks run.

memory = floor + mu * active, as ratios of the card. Pure: each tick is told, none is fetched.
When the loaded models change, all that was learned is of another program: start anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

#: Sums below it are those of hours ago, or of nothing.
_NOTHING: Final = 1e-9


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
    """

    floor: float | None = None
    above: float = 0.0
    tasks: float = 0.0
    squares: float = 0.0
    weight: float = 0.0
    at: float = 0.0

    @property
    def mu(self) -> float:
        """Of one running task, as a ratio of the card; 0 while none ever ran."""
        return self.above / self.tasks if self.tasks > _NOTHING else 0.0

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
    ) -> MemoryModel:
        """What one tick adds.

        Args:
            now: seconds, never before the last tick.
            memory: the last sample of used over total.
            active: tasks running when it was taken.
            forget_seconds: time constant of the sums.
            drift_seconds: time constant of the floor's way towards the present.
        """
        passed = 0.0 if self.floor is None else max(0.0, now - self.at)
        kept = math.exp(-passed / forget_seconds)
        floor = memory
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
        return MemoryModel(
            floor=floor, above=above, tasks=tasks, squares=squares, weight=weight, at=now
        )

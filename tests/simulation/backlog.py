"""Open tasks in the order in which they start. Not the dispatcher's: hours must take a second."""

from __future__ import annotations

from collections import deque

from tests.simulation.work import Job


class Backlog:
    """Open tasks by priority, then age."""

    def __init__(self) -> None:
        self._lanes: list[deque[Job]] = [deque() for _ in range(5)]

    def __len__(self) -> int:
        return sum(map(len, self._lanes))

    def __bool__(self) -> bool:
        return any(self._lanes)

    def add(self, job: Job) -> None:
        self._lanes[job.priority].append(job)

    def put_back(self, job: Job) -> None:
        lane = self._lanes[job.priority]
        index = next((i for i, other in enumerate(lane) if other.created > job.created), len(lane))
        lane.insert(index, job)

    def pop(self) -> Job:
        return next(lane for lane in self._lanes if lane).popleft()

    def oldest_wait(self, now: float) -> float:
        return now - min((lane[0].created for lane in self._lanes if lane), default=now)

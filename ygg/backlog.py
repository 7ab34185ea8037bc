"""Open tasks in order, as much of them as memory should hold.

One heap a lane. A lane holds exactly the tasks whose rank is at or below its *horizon*; what
lies beyond is in the store and read in before the lane runs short. Pure: reading is asked for
(`wants`, `load`), never done here.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from ygg.tasks import Lane, Rank, Waiting

#: The fewest tasks of a lane worth reading at once.
PAGE: Final = 256


class LaneQueue:
    """The head of one lane. `horizon` None: nothing of the lane lies beyond memory."""

    __slots__ = ("_changed", "_heap", "_live", "horizon", "lane", "page")

    def __init__(self, lane: Lane, horizon: Rank | None = None) -> None:
        self.lane = lane
        self.horizon = horizon
        #: So many are read at once; twice as many are held at most.
        self.page = PAGE
        self._heap: list[tuple[Rank, str]] = []
        #: Ranks by id. A heap entry that differs from it is a leftover, skipped when it surfaces.
        self._live: dict[str, Rank] = {}
        #: While a page is being read: what changed meanwhile; None for what went away.
        self._changed: dict[str, Rank | None] | None = None

    def __len__(self) -> int:
        return len(self._live)

    def add(self, task_id: str, rank: Rank) -> None:
        if self._changed is not None:
            self._changed[task_id] = rank
        if self.horizon is not None and rank > self.horizon:
            self._live.pop(task_id, None)
            return
        self._live[task_id] = rank
        heapq.heappush(self._heap, (rank, task_id))
        if len(self._live) > 2 * self.page and self._changed is None:
            self._trim()
        elif len(self._heap) > 2 * (len(self._live) + self.page):
            self._sweep()

    def remove(self, task_id: str) -> None:
        self._live.pop(task_id, None)
        if self._changed is not None:
            self._changed[task_id] = None

    def bound(self) -> Rank | None:
        """No task of the lane that waits has a lesser rank than this; None: none waits."""
        heap, live = self._heap, self._live
        while heap:
            rank, task_id = heap[0]
            if live.get(task_id) == rank:
                return rank
            heapq.heappop(heap)
        return self.horizon

    @property
    def dry(self) -> bool:
        """Nothing in memory, more in the store: the next task is not known yet."""
        return not self._live and self.horizon is not None

    def pop(self) -> Waiting:
        """Take out the least. Call `bound` first: it leaves the least on top."""
        rank, task_id = heapq.heappop(self._heap)
        assert self._live.get(task_id) == rank, f"{task_id} was not the live head of {self.lane}"
        del self._live[task_id]
        if self._changed is not None:
            self._changed[task_id] = None
        return Waiting(task_id, self.lane, rank)

    def wants(self, capacity: int) -> bool:
        """Whether a page should be read now: fewer are left than slots that could take them."""
        short = len(self._live) < max(self.page // 2, capacity)
        return self._changed is None and self.horizon is not None and short

    def reading(self) -> Rank:
        """A page is going to be read: everything after the rank that this returns, in order."""
        assert self._changed is None, f"a page of {self.lane} is already being read"
        assert self.horizon is not None, f"nothing of {self.lane} lies beyond memory"
        self._changed = {}
        return self.horizon

    def load(self, page: Iterable[Waiting], *, complete: bool) -> None:
        """The page has come. `complete`: nothing lay beyond it when it was read."""
        changed, self._changed = self._changed, None
        assert changed is not None, f"no page of {self.lane} was asked for"
        last = self.horizon
        for task_id, _, rank in page:
            last = rank
            if task_id not in changed:
                self._live[task_id] = rank
                heapq.heappush(self._heap, (rank, task_id))
        self.horizon = None if complete else last
        for task_id, changed_rank in changed.items():
            if changed_rank is not None:
                self.add(task_id, changed_rank)

    def reading_failed(self) -> None:
        self._changed = None

    def _sweep(self) -> None:
        """Behind a head that nothing may run, leftovers never surface: drop them."""
        self._heap = [(rank, task_id) for task_id, rank in self._live.items()]
        heapq.heapify(self._heap)

    def _trim(self) -> None:
        kept = heapq.nsmallest(self.page, ((rank, i) for i, rank in self._live.items()))
        self._heap = kept
        self._live = {task_id: rank for rank, task_id in kept}
        self.horizon = kept[-1][0]


class Backlog:
    """All lanes, and how many tasks wait in each, those beyond memory too."""

    def __init__(self) -> None:
        self.lanes: dict[Lane, LaneQueue] = {}
        #: Ready tasks by lane and priority: waiting for nothing but a slot.
        self.waiting: Counter[tuple[Lane, int]] = Counter()

    def restore(self, counts: Mapping[tuple[Lane, int], int]) -> None:
        """What waits in the store at the start; each lane begins dry, with all of it to be read."""
        for (lane, priority), count in counts.items():
            self.waiting[lane, priority] += count
            if lane not in self.lanes:
                self.lanes[lane] = LaneQueue(lane, horizon=BEFORE_ALL)

    def lane(self, lane: Lane) -> LaneQueue:
        queue = self.lanes.get(lane)
        if queue is None:
            queue = self.lanes[lane] = LaneQueue(lane)
        return queue

    def add(self, waiting: Waiting) -> None:
        """A task became ready."""
        self.waiting[waiting.lane, waiting.rank.priority] += 1
        self.lane(waiting.lane).add(waiting.id, waiting.rank)

    def remove(self, waiting: Waiting) -> None:
        """A ready task went away without being started here."""
        self._uncount(waiting)
        self.lane(waiting.lane).remove(waiting.id)

    def pop(self, lane: Lane) -> Waiting:
        waiting = self.lanes[lane].pop()
        self._uncount(waiting)
        return waiting

    def _uncount(self, waiting: Waiting) -> None:
        key = waiting.lane, waiting.rank.priority
        count = self.waiting[key] - 1
        assert count >= 0, f"{waiting.id} left {key}, where nothing waited"
        if count:
            self.waiting[key] = count
        else:
            del self.waiting[key]


#: Less than every rank: the horizon of a lane of which nothing has been read.
BEFORE_ALL: Final = Rank(False, -1, float("-inf"), -1)

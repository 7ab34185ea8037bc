"""A resizable semaphore that nobody waits on: how many tasks a host may run, and does run.

Tasks never queue here (a semaphore's FIFO would invert priorities); they wait in the backlog
until `assign` finds an available slot.
"""

from __future__ import annotations


class Slots:
    """`limit` may change at any moment; a shrink kills nothing, the host drains.

    `available` is derived, never kept: a well-known limiter granted `new - old` slots on a
    resize instead of counting the free ones, and 4 -> 2 -> 4 under load let 6 tasks in.
    """

    __slots__ = ("active", "limit")

    def __init__(self, limit: int) -> None:
        assert limit >= 0, f"limit is {limit}"
        self.limit = limit
        self.active = 0

    @property
    def available(self) -> int:
        return max(0, self.limit - self.active)

    def resize(self, limit: int) -> None:
        # `active <= limit` is no invariant after this: what runs, runs on.
        assert limit >= 0, f"limit is {limit}"
        self.limit = limit

    def take(self) -> None:
        assert self.active < self.limit, f"{self.active} active of {self.limit}: no slot to take"
        self.active += 1

    def give(self) -> None:
        assert self.active > 0, "a slot was given back twice"
        self.active -= 1

    def __repr__(self) -> str:
        return f"Slots({self.active}/{self.limit})"

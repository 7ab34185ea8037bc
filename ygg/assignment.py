"""The one decision: which tasks start now, and where.

`assign` is synchronous, does no I/O and is called after every event. What it returns is carried
out by the dispatcher.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from ygg.board import Board, LaneState
from ygg.fleet import Option
from ygg.tasks import Lane, Rank, Waiting


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """A decided start. The slot is taken; the claim is still to be written."""

    waiting: Waiting
    option: Option
    #: The board's position when it was decided: the start is the least of that state.
    seen: int


def assign(board: Board) -> list[Start]:
    """Take a slot for each task that may start now, the least first.

    Only lanes that something happened to are looked at: after the last call no other lane had
    both a waiting task and a free option. Costs O(log n) in waiting tasks for each start.
    """
    if board.stopped is not None or not board.dirty:
        return []
    # Lanes by the rank of their next task. A dry lane's next task is still in the store; its
    # horizon is less than that task's rank and stands in for it.
    # Two lanes of which nothing was read yet stand at the same bound: their names decide.
    heads: list[tuple[Rank, Lane, LaneState]] = []
    for lane in board.dirty:
        bound = lane.queue.bound()
        if lane.free and bound is not None:
            heads.append((bound, lane.queue.lane, lane))
    heapq.heapify(heads)
    board.dirty = set()
    starts: list[Start] = []
    while heads:
        lane = heads[0][2]
        option = lane.first_free()
        if option is None:
            heapq.heappop(heads)
        elif lane.queue.dry:
            # What is being read may be less than all that follows, and could start now. Other
            # slots wait with its own for the milliseconds of a page: to start something greater
            # on them would be out of order.
            board.dirty.update(later for _, _, later in heads)
            break
        else:
            waiting = board.take(lane, option)
            starts.append(Start(waiting=waiting, option=option.option, seen=board.seen))
            bound = lane.queue.bound()
            if bound is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (bound, lane.queue.lane, lane))
    return starts

"""The legacy dispatcher, kept to compare with: three threads, first come, first served.

As the original had it: one thread for each agent type takes the oldest of its tasks, whatever its
priority, waits for its end, takes the next, and looks again every 2 s when there is none. So one
task runs for each agent type, and three in all, however many slots the hosts have.

The threads decide and wait. All else is the real dispatcher's: tasks and journal, the claim, the
request, whose fault an end was, the drain, HTTP. The requests run on its event loop, as the
original mixed threads and asyncio. `ygg loop` starts it, `ygg compare` measures it.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import Final

from ygg.assignment import Start
from ygg.backlog import BEFORE_ALL
from ygg.board import Board
from ygg.dispatcher import Dispatcher
from ygg.journal import Event, Kind
from ygg.stores.base import TaskStore
from ygg.tasks import Lane, Waiting

#: A thread for each.
AGENTS: Final = ("code-generation", "text-processing", "reasoning")
_FALLBACK: Final = "reasoning"
_PAGE: Final = 1000

_READY: Final = frozenset(
    {Kind.ACCEPTED, Kind.RELEASED, Kind.REOPENED, Kind.PRIORITISED, Kind.EDITED}
)
_GONE: Final = frozenset(
    {Kind.HELD, Kind.STARTED, Kind.MISSED, Kind.CANCELLED, Kind.CLOSED, Kind.BLOCKED}
)


def agent_of(type_: str) -> str:
    """Whose tasks of a type are: `general` is reasoning's, as is every type of one's own."""
    return type_ if type_ in AGENTS else _FALLBACK


class Arrivals:
    """Ready tasks in the order in which they came: the fold of the journal's rows.

    All of them are in memory, as the original had the whole list of its tracker.
    """

    def __init__(self) -> None:
        self._ready: dict[str, Waiting] = {}
        #: By lane, (sequence, id). Entries of tasks that went away are skipped when they surface.
        self._lanes: dict[Lane, list[tuple[int, str]]] = {}

    def add(self, waiting: Waiting) -> None:
        if waiting.id not in self._ready:
            line = self._lanes.setdefault(waiting.lane, [])
            heapq.heappush(line, (waiting.rank.sequence, waiting.id))
        self._ready[waiting.id] = waiting

    def absorb(self, events: Sequence[Event]) -> None:
        """Called by the store with committed rows, in order."""
        for event in events:
            if event.kind in _GONE:
                self._ready.pop(event.task, None)
            elif event.kind in _READY and event.waiting is not None and event.held is None:
                self.add(event.waiting)

    def oldest(self, agent: str, board: Board) -> Waiting | None:
        """The task of this agent that came first, of those that some option serves."""
        heads = [
            head
            for lane, line in self._lanes.items()
            if agent_of(lane.type) == agent and board.options_of(lane)
            if (head := self._head(line)) is not None
        ]
        return self._ready[min(heads)[1]] if heads else None

    def _head(self, line: list[tuple[int, str]]) -> tuple[int, str] | None:
        while line and line[0][1] not in self._ready:
            heapq.heappop(line)
        return line[0] if line else None


def next_start(board: Board, arrivals: Arrivals, agent: str) -> Start | None:
    """Take a slot for the agent's oldest task; None when there is none, or it can't start now.

    Nothing overtakes it: while its host is full, away or paused, the agent waits. Slots, health
    and pauses protect the hosts, so they hold here as well.
    """
    waiting = arrivals.oldest(agent, board)
    if waiting is None or board.stopped is not None:
        return None
    option = board.lane_state(waiting.lane).first_free()
    if option is None:
        return None
    board.take_out_of_turn(waiting, option)
    return Start(waiting=waiting, option=option.option, seen=board.seen)


def decide_nothing(_: Board) -> Sequence[Start]:
    """What the dispatcher decides after an event: nothing, the threads do."""
    return ()


class Threads:
    """The three threads beside a dispatcher that decides nothing itself.

    Make it before the dispatcher starts: it follows its store.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._arrivals = Arrivals()
        self._ending = threading.Event()
        dispatcher.store.follow(self._arrivals.absorb)

    async def restore(self) -> None:
        """Read what waits in the store, before anything can change it. Raises StoreError."""
        for lane in list(self._dispatcher.board.backlog.lanes):
            await _read_lane(self._dispatcher.store, lane, self._arrivals)

    async def run(self) -> None:
        """Work until cancelled; the threads have ended when it returns.

        A thread waits for the end of its task: drain the dispatcher first.
        """
        loop = asyncio.get_running_loop()
        broken: asyncio.Future[None] = loop.create_future()
        threads = [
            threading.Thread(target=self._work, args=(a, loop, broken), name=a, daemon=True)
            for a in AGENTS
        ]
        for thread in threads:
            thread.start()
        try:
            await broken
        finally:
            self._ending.set()
            for thread in threads:
                await asyncio.to_thread(thread.join)

    def _work(
        self, agent: str, loop: asyncio.AbstractEventLoop, broken: asyncio.Future[None]
    ) -> None:
        try:
            while not self._ending.is_set():
                worked = asyncio.run_coroutine_threadsafe(self._one(agent), loop).result()
                if not worked:
                    self._ending.wait(self._dispatcher.fleet.dispatcher.poll_seconds)
        except CancelledError:
            pass  # the loop is being closed under us: nobody waits any more
        except Exception as error:  # noqa: BLE001 - a bug of ours: it ends the process, not one thread
            loop.call_soon_threadsafe(_break, broken, error)

    async def _one(self, agent: str) -> bool:
        """Carry out the agent's next task to its end. False: nothing could start."""
        start = next_start(self._dispatcher.board, self._arrivals, agent)
        if start is None:
            return False
        await self._dispatcher.carry_out(start).ended.wait()
        return True


def _break(broken: asyncio.Future[None], error: Exception) -> None:
    if not broken.done():
        broken.set_exception(error)


async def _read_lane(store: TaskStore, lane: Lane, arrivals: Arrivals) -> None:
    after = BEFORE_ALL
    while page := await store.ready(lane, after=after, limit=_PAGE):
        for waiting in page:
            arrivals.add(waiting)
        after = page[-1].rank

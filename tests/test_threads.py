"""The legacy dispatcher: first come, first served, one task for each agent, nothing lost."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds import World, draft, fleet, world
from ygg.board import Board, configuration_detail
from ygg.findings import FindingKind
from ygg.fleet import BUILT_IN_TYPES, DispatcherSettings, Fleet, Option
from ygg.health import Mode
from ygg.journal import DAMAGED, Event, Kind, pack
from ygg.stores.memory import MemoryStore
from ygg.tasks import Fence, Held, Lane, Rank, Status, Waiting
from ygg.threads import AGENTS, Arrivals, agent_of, next_start

pytestmark = pytest.mark.pure

TYPES = (*BUILT_IN_TYPES, "translation")
HOSTS = {"code-generation": "c", "text-processing": "t", "reasoning": "r"}


class TestWhoseTasksAre:
    def test_each_agent_has_its_type_and_reasoning_has_all_others(self) -> None:
        assert {name: agent_of(name) for name in TYPES} == {
            "code-generation": "code-generation",
            "text-processing": "text-processing",
            "reasoning": "reasoning",
            "general": "reasoning",
            "translation": "reasoning",
        }


@dataclass
class Story:
    """A board and arrivals that take in the same rows, and a plain list of what waits."""

    board: Board = field(default_factory=Board)
    arrivals: Arrivals = field(default_factory=Arrivals)
    #: Ready tasks in order of arrival.
    waiting: list[Waiting] = field(default_factory=list)
    held: list[Waiting] = field(default_factory=list)
    running: dict[str, Waiting] = field(default_factory=dict)
    came: int = 0

    def __post_init__(self) -> None:
        routes = {name: [Option(HOSTS[agent_of(name)], "m")] for name in TYPES}
        limits = dict.fromkeys(HOSTS.values(), 3)
        detail = configuration_detail({h: h for h in limits}, limits, routes)
        self.row(Kind.CONFIGURED, detail=detail)
        for host in limits:
            self.mode(host, Mode.UP)

    def row(self, kind: Kind, waiting: Waiting | None = None, **more: object) -> None:
        task = "" if waiting is None else waiting.id
        event = Event(
            position=self.board.seen + 1, at=0.0, kind=kind, task=task, waiting=waiting,
            **more,  # type: ignore[arg-type]  # a test's own keywords
        )  # fmt: skip
        self.arrivals.absorb([event])
        self.board.apply(event)

    def mode(self, host: str, mode: Mode) -> None:
        self.row(Kind.HOST, host=host, detail={"mode": mode.value})

    def submit(self, type_: str, priority: int, *, model: str = "") -> Waiting:
        self.came += 1
        rank = Rank(True, priority, float(self.came), self.came)
        waiting = Waiting(f"t{self.came}", Lane(type_, model), rank)
        self.row(Kind.ACCEPTED, waiting)
        self.waiting.append(waiting)
        return waiting

    def start(self, agent: str) -> Waiting | None:
        start = next_start(self.board, self.arrivals, agent)
        if start is None:
            return None
        fence = Fence("d", 1)
        self.row(Kind.STARTED, start.waiting, host=start.option.host, fence=fence)
        self.waiting.remove(start.waiting)
        self.running[agent] = start.waiting
        return start.waiting

    def end(self, agent: str, kind: Kind) -> None:
        waiting = self.running.pop(agent)
        self.row(kind, waiting, fence=Fence("d", 1))
        if kind is Kind.REOPENED:
            self.waiting = sorted([*self.waiting, waiting], key=lambda w: w.rank.sequence)

    def of(self, agent: str) -> list[Waiting]:
        return [w for w in self.waiting if agent_of(w.lane.type) == agent]


class Step(NamedTuple):
    """One thing that happens; what of it counts, `do` says."""

    do: str
    type: str
    agent: str
    number: int
    end: Kind


steps = st.builds(
    Step,
    # Mostly work: where nothing starts, nothing can go wrong.
    do=st.sampled_from(
        ["submit", "submit", "work", "work", "cancel", "hold", "release", "prioritise"]
    ),
    type=st.sampled_from(TYPES),
    agent=st.sampled_from(AGENTS),
    number=st.integers(0, 30),
    end=st.sampled_from([Kind.CLOSED, Kind.BLOCKED, Kind.REOPENED]),
)


@given(st.lists(steps, max_size=60))
def test_in_all_histories_each_agent_starts_the_task_that_came_first(history: list[Step]) -> None:
    story = Story()
    for step in history:
        which = step.number % len(story.waiting) if story.waiting else None
        match step.do:
            case "submit":
                story.submit(step.type, step.number % 5)
            case "work":
                if step.agent in story.running:
                    story.end(step.agent, step.end)
                first = next(iter(story.of(step.agent)), None)
                assert story.start(step.agent) == first
            case "cancel" if which is not None:
                story.row(Kind.CANCELLED, story.waiting.pop(which))
            case "hold" if which is not None:
                story.held.append(story.waiting.pop(which))
                story.row(Kind.HELD, story.held[-1], held=Held.BY_HAND)
            case "release" if story.held:
                back = story.held.pop(step.number % len(story.held))
                story.row(Kind.RELEASED, back)
                story.waiting = sorted([*story.waiting, back], key=lambda w: w.rank.sequence)
            case "prioritise" if which is not None:
                before = story.waiting[which]
                after = before._replace(rank=before.rank._replace(priority=step.number % 5))
                story.waiting[which] = after
                story.row(Kind.PRIORITISED, after, detail={"before": pack(before)})


class TestWhatHoldsAnAgentUp:
    def test_its_oldest_task_waits_for_its_host_and_nothing_overtakes_it(self) -> None:
        story = Story()
        first = story.submit("reasoning", 4)
        story.submit("general", 0)
        story.mode("r", Mode.DOWN)
        assert story.start("reasoning") is None
        story.mode("r", Mode.UP)
        assert story.start("reasoning") == first

    def test_another_agents_host_does_not(self) -> None:
        story = Story()
        story.submit("reasoning", 0)
        code = story.submit("code-generation", 4)
        story.mode("r", Mode.DOWN)
        assert story.start("code-generation") == code

    def test_a_task_whose_row_can_not_be_read_does_not(self) -> None:
        story = Story()
        damaged = story.submit("reasoning", 0)
        well = story.submit("reasoning", 4)
        start = next_start(story.board, story.arrivals, "reasoning")
        assert start is not None
        assert start.waiting == damaged
        story.row(Kind.MISSED, damaged, reason=DAMAGED)
        story.waiting.remove(damaged)
        assert story.start("reasoning") == well
        assert story.start("reasoning") is None

    def test_a_task_that_no_host_serves_does_not(self) -> None:
        story = Story()
        story.submit("reasoning", 0, model="gone")
        served = story.submit("reasoning", 4)
        assert story.start("reasoning") == served

    def test_a_full_host_does(self) -> None:
        story = Story()
        story.submit("reasoning", 0)
        story.row(Kind.RESIZED, host="r", detail={"limit": 0})
        assert story.start("reasoning") is None


# -- real threads, on a real clock -------------------------------------------------------------


def three_hosts() -> Fleet:
    """Slots for seven; the threads look again at once, so that no test waits for them."""
    settings = DispatcherSettings(poll_seconds=0.01)
    routes = {name: [HOSTS[agent_of(name)]] for name in BUILT_IN_TYPES}
    return fleet({"r": 2, "t": 3, "c": 2}, routes, settings=settings)


def held_up(w: World) -> asyncio.Event:
    """No server answers until it is set."""
    gate = asyncio.Event()
    for server in w.servers.values():
        server.seconds, server.hold = 0.0, gate
    return gate


async def until(w: World, asked: int) -> None:
    await w.until(lambda: sum(len(s.asked) for s in w.servers.values()) >= asked, within=30.0)


def test_one_task_runs_for_each_agent_however_many_slots_there_are() -> None:
    async def story() -> None:
        async with world(three_hosts(), legacy=True) as w:
            gate = held_up(w)
            await w.submit(*(draft(type=name) for name in BUILT_IN_TYPES for _ in range(4)))
            await until(w, 3)
            names = {t.name for t in threading.enumerate()}
            assert names >= set(AGENTS)
            gate.set()
            await w.settled(within=30.0)
            assert [s.most for s in w.servers.values()] == [1, 1, 1]
        assert not {t.name for t in threading.enumerate()} & set(AGENTS)

    asyncio.run(story())


def test_tasks_start_as_they_came_and_the_checker_counts_the_inversions() -> None:
    async def story() -> None:
        async with world(three_hosts(), legacy=True) as w:
            gate = held_up(w)
            await w.submit(*(draft(f"{p}", type="reasoning", priority=p) for p in (4, 3, 2, 1, 0)))
            gate.set()
            await w.settled(within=30.0)
            assert w.servers["r"].asked == ["4", "3", "2", "1", "0"]
            report = await w.check()
            # The first is one too: all five were accepted in one commit.
            assert report.counts == {FindingKind.INVERSION: 4}

    asyncio.run(story())


def test_a_task_that_a_failing_host_gave_back_keeps_its_place() -> None:
    async def story() -> None:
        async with world(three_hosts(), legacy=True) as w:
            gate = held_up(w)
            server = w.servers["c"]
            server.seconds = 0.05
            server.down = True
            await w.submit(draft("first", type="code-generation", priority=4))
            await w.submit(draft("second", type="code-generation", priority=0))
            server.down = False
            gate.set()
            await w.settled(within=30.0)
            assert server.asked == ["first", "second"]

    asyncio.run(story())


def test_a_drain_ends_what_runs_and_leaves_the_rest_open() -> None:
    async def story() -> None:
        settings = replace(three_hosts(), dispatcher=DispatcherSettings(
            poll_seconds=0.01, after_drain="reopen"))  # fmt: skip
        store = MemoryStore()
        async with world(settings, legacy=True, store=store) as w:
            held_up(w)
            await w.submit(*(draft(type=name) for name in AGENTS for _ in range(2)))
            await until(w, 3)
            w.hurry.set()
        assert {t.status for t in store.tables.tasks.values()} == {Status.OPEN}
        assert len(store.tables.tasks) == 6

    asyncio.run(story())


def test_what_waited_in_the_store_runs_in_its_old_order() -> None:
    async def story() -> None:
        store = MemoryStore()
        async with world(three_hosts(), legacy=True, store=store, crash=True) as w:
            held_up(w)
            await w.submit(*(draft(f"{p}", type="reasoning", priority=p) for p in (3, 1, 2)))
            await until(w, 1)
        async with world(three_hosts(), legacy=True, store=store, identity="d2") as w:
            await w.settled(within=30.0)
            assert w.servers["r"].asked == ["3", "1", "2"]

    asyncio.run(story())


def test_a_bug_in_a_thread_ends_the_dispatcher(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    async def story() -> None:
        async with world(three_hosts(), legacy=True):
            await asyncio.sleep(30)

    monkeypatch.setattr("ygg.threads.next_start", broken)
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(story())
    assert caught.group_contains(ZeroDivisionError, match="a bug")

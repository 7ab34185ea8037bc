"""Whole days of the real dispatcher out of a seed: loop, keeper, endings, outages, pins and drains.

Servers die and come back, refuse, stall and lack models; disks fail, and a commit that was reported
failed may stand; people cancel, retry, pause and pin; dispatchers are killed or drained and others
follow with another fleet, and hosts.yaml is edited meanwhile. The store answers late. All of it in virtual time, and the journal of
each history must be clean before the checker (test_checker_agrees.py shows that it would find what
is wrong; there the loop is the test's own, here it is the dispatcher's).
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests.worlds import Losing, World, draft, fleet, run_virtual, world
from ygg.artifacts import ArtifactError
from ygg.dispatcher import Draining, NotAccepting, Unroutable
from ygg.faults import Cause, Failure
from ygg.findings import Report
from ygg.fleet import DispatcherSettings, Fleet
from ygg.journal import Kind
from ygg.lifecycle import Refused
from ygg.overrides import OutOfBounds, PinnedInFile, SharedSlots, UnknownHost
from ygg.stores.base import StoreError, UnknownTask
from ygg.stores.operations import Operations
from ygg.stores.shell import Views
from ygg.tasks import Held, Outcome, Status

pytestmark = pytest.mark.pure
T = TypeVar("T")

#: A history takes half a second: ten of them, three hundred by night.
HISTORIES: Final = settings().max_examples // 10
#: Dispatchers after one another in each history, and what happens under each.
LIVES: Final = 3
STEPS: Final = 45
TYPES: Final = ("code-generation", "general")
#: What a person may be told: all else is a bug.
TOLD: Final = (
    Draining, NotAccepting, Unroutable, Refused, UnknownTask, UnknownHost, StoreError, OutOfBounds,
    PinnedInFile, SharedSlots, TimeoutError,
)  # fmt: skip


class Late(Losing):
    """Writes wait for their turn, and their answers for theirs; so do reads."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("undone")
        self._chance = chance
        self._turn = asyncio.Lock()
        #: Of the disk's failures. A write that waited while one came fails with it.
        self._failures = 0

    def forget(self) -> None:
        """The process that held the file is gone, and with it what it had not told."""
        self.well()
        self.at = None
        self._untold, self._shown, self._turn = [], None, asyncio.Lock()

    async def _pause(self) -> None:
        await asyncio.sleep(self._chance.choice((0.0, 0.0, 0.01, 0.2)))

    async def _commit(self, operation: Callable[[Operations], T]) -> T:
        failures = self._failures
        async with self._turn:
            await self._pause()
            if failures != self._failures:
                raise StoreError("disk I/O error")
            try:
                result = await super()._commit(operation)
            except StoreError:
                self._failures += 1
                raise
        await self._pause()
        return result

    async def _look(self, look: Callable[[Views], T], *, seek: bool) -> T:
        await self._pause()
        if self._chance.random() < 0.3:
            self._check()
        result = await super()._look(look, seek=seek)
        await self._pause()
        return result


@pytest.fixture(autouse=True, scope="module")
def small_pages() -> Iterator[None]:
    """As few as the rules allow, so that some tasks lie beyond memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ygg.board.PAGE", 2)
        yield


def fleets(chance: random.Random) -> Fleet:
    """A hosts.yaml as somebody might leave it."""
    names = ["a", "b", "c"][: chance.choice((1, 2, 3, 3))]
    slots = {name: chance.randint(1, 3) for name in names}
    shares = {names[-1]: "a"} if len(names) > 1 and chance.random() < 0.3 else {}
    routes: Mapping[str, Sequence[str]] = {
        type_: chance.sample(names, chance.randint(1, len(names))) for type_ in TYPES
    }
    settings = DispatcherSettings(
        drain_seconds=chance.choice((0.5, 20.0)),
        after_drain=chance.choice(("block", "reopen")),
    )
    return fleet(slots, routes, settings=settings, shares=shares)


@dataclass
class Day:
    """One dispatcher's life, and what happens in it."""

    w: World
    store: Late
    chance: random.Random
    reached: Counter[str]

    async def passes(self) -> None:
        """One thing happens after another, seconds or minutes apart."""
        usual = [self.submit, self.submit, self.submit, self.prioritise, self.cancel]
        seldom = [
            self.retry, self.hold, self.release,
            self.server_dies, self.server_returns, self.servers_misbehave, self.model_goes,
            self.pace_changes, self.pause, self.resume, self.pin, self.unpin, self.disk_fails,
            self.disk_loses, self.disk_is_well, self.answers_fit_nowhere, self.reload, self.reload,
        ]  # fmt: skip
        for _ in range(STEPS):
            happens = self.chance.choice(usual * 4 + seldom)
            try:
                async with asyncio.timeout(5.0):
                    await happens()
            except TOLD as error:
                self.reached[type(error).__name__] += 1
            await asyncio.sleep(self.chance.choice((0.0, 0.0, 0.3, 2.0, 30.0)))
            if self.w.dispatcher.store_trouble and self.chance.random() < 0.6:
                self.reached["outage"] += 1
                await self.disk_is_well()

    async def submit(self) -> None:
        drafts = [
            draft(
                f"task {self.chance.getrandbits(60)}",
                type=self.chance.choice(TYPES),
                priority=self.chance.randrange(5),
                model=self.chance.choice(("", "", "", "m")),
                not_before=self.chance.choice((None, None, None, self.w.clock.wall() + 40.0)),
            )
            for _ in range(self.chance.choice((1, 2, 5, 20)))
        ]
        await self.w.submit(*drafts)

    def some(self, *statuses: Status) -> str:
        found = [task.id for task in self.w.tasks if task.status in statuses]
        return self.chance.choice(found) if found else "none"

    async def cancel(self) -> None:
        await self.w.dispatcher.cancel(self.some(Status.OPEN, Status.IN_PROGRESS))

    async def retry(self) -> None:
        await self.w.dispatcher.retry([self.some(Status.BLOCKED)])

    async def prioritise(self) -> None:
        await self.store.prioritise(
            self.some(Status.OPEN), priority=self.chance.randrange(5),
            run_next=self.chance.random() < 0.2, now=self.w.clock.wall(),
        )  # fmt: skip

    async def hold(self) -> None:
        await self.store.hold(self.some(Status.OPEN), now=self.w.clock.wall())

    async def release(self) -> None:
        held = [task.id for task in self.w.tasks if task.held is Held.BY_HAND]
        for task_id in held:
            await self.store.release(task_id, why=Held.BY_HAND, now=self.w.clock.wall())

    # -- hosts -----------------------------------------------------------------------------

    def host(self) -> str:
        return self.chance.choice(sorted(self.w.servers))

    async def server_dies(self) -> None:
        self.w.servers[self.host()].down = True

    async def server_returns(self) -> None:
        self.w.servers[self.host()].down = False

    async def servers_misbehave(self) -> None:
        causes = self.chance.choices(list(Cause), k=3)
        self.w.servers[self.host()].script = [
            Failure(cause, f"it was {cause.value}", taken=cause is not Cause.REFUSED,
                    retry_after=self.chance.choice((None, 3.0)))
            for cause in causes
        ]  # fmt: skip

    async def model_goes(self) -> None:
        server = self.w.servers[self.host()]
        server.has_it = not server.has_it
        server.script = [] if server.has_it else [Failure(Cause.NO_MODEL, "no m", taken=False)] * 5

    async def pace_changes(self) -> None:
        self.w.servers[self.host()].seconds = self.chance.choice((0.1, 1.0, 15.0))

    async def pause(self) -> None:
        until = self.chance.choice((None, self.w.clock.wall() + 20.0))
        await self.w.dispatcher.overrides.pause(self.host(), "by hand", until=until)

    async def resume(self) -> None:
        await self.w.dispatcher.overrides.resume(self.host())

    async def pin(self) -> None:
        until = self.chance.choice((None, self.w.clock.wall() + 20.0))
        await self.w.dispatcher.overrides.pin(self.host(), self.chance.randint(1, 9), until=until)

    async def unpin(self) -> None:
        await self.w.dispatcher.overrides.unpin(self.host())

    # -- hosts.yaml ------------------------------------------------------------------------

    async def reload(self) -> None:
        """Hosts come, go, move, share and change their slots; what runs is not touched."""
        new, dispatcher = fleets(self.chance), self.w.dispatcher
        moved = self.chance.choice([*new.hosts, "", ""])
        hosts = {
            name: replace(host, url=f"{host.url}:{self.chance.randrange(3)}")
            if name == moved
            else host
            for name, host in new.hosts.items()
        }
        before = {id_: a.runner for id_, a in dispatcher.attempts.items() if not a.ending}
        await dispatcher.reload(replace(new, hosts=hosts))
        for id_, runner in before.items():
            assert runner is not None
            cut = dispatcher.attempts[id_].stop if id_ in dispatcher.attempts else None
            assert cut is not None or not runner.cancelling(), f"{id_} was cut off by a reload"
        assert set(dispatcher.fleet.hosts) == set(hosts)
        listed = {name for name, host in dispatcher.board.hosts.items() if not host.removed}
        assert listed == set(hosts)
        self.reached["reload"] += 1

    # -- disks -----------------------------------------------------------------------------

    async def disk_fails(self) -> None:
        self.store.losing = True

    async def disk_loses(self) -> None:
        self.store.at = self.chance.choice(
            (
                Kind.STARTED,
                Kind.STARTED,
                Kind.CLOSED,
                Kind.REOPENED,
                Kind.ACCEPTED,
                Kind.HOST,
                Kind.CONFIGURED,
            )
        )
        self.store.fate = self.chance.choice(("undone", "told", "found"))

    async def disk_is_well(self) -> None:
        self.store.well()
        self.w.answers.failing = None

    async def answers_fit_nowhere(self) -> None:
        full = OSError(28, "No space left on device")
        self.w.answers.failing = ArtifactError("write", Path("a.md"), full)

    # -- its end ---------------------------------------------------------------------------

    async def all_is_mended(self) -> None:
        """Everything is well, and a person retries what is blocked: every task ends."""
        self.store.at = None
        for server in self.w.servers.values():
            server.down, server.has_it, server.script, server.seconds = False, True, [], 0.1
        await self.disk_is_well()
        for host in self.w.dispatcher.fleet.hosts:
            await self._insisted(partial(self.w.dispatcher.overrides.resume, host))
        await self._insisted(self.release)
        await self.w.settled(within=5000.0)
        while blocked := [t.id for t in self.w.tasks if t.status is Status.BLOCKED]:
            await self._insisted(partial(self.w.dispatcher.retry, blocked))
            await self.w.settled(within=5000.0)

    async def _insisted(self, order: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await order()
            except StoreError:
                await asyncio.sleep(1.0)
            else:
                return


async def history(seed: int, reached: Counter[str]) -> Report:
    chance = random.Random(seed)
    store = Late(chance)
    asked: Counter[str] = Counter()
    for life in range(LIVES):
        last, crash = life == LIVES - 1, chance.random() < 0.4
        store.forget()
        settings = fleets(chance)
        async with world(settings, store=store, identity=f"d{life}", crash=crash and not last) as w:
            day = Day(w, store, chance, reached)
            await day.passes()
            if last:
                await day.all_is_mended()
            elif chance.random() < 0.3:
                w.hurry.set()
        reached["killed" if crash and not last else "drained"] += 1
        for server in w.servers.values():
            asked.update(server.asked)
    for task in store.tables.tasks.values():
        assert task.status is Status.CLOSED, task
        if task.outcome is Outcome.DONE:
            assert asked[task.title] >= 1, f"{task} has an answer that nobody gave"
        assert asked[task.title] <= task.attempt, f"{task} was asked {asked[task.title]} times"
    return await w.check()


def test_the_days_reach_what_they_are_for() -> None:
    reached: Counter[str] = Counter()

    async def story() -> None:
        for seed in range(5):
            await history(seed, reached)

    run_virtual(story())
    for what in ("killed", "drained", "outage", "NotAccepting", "StoreError", "Refused", "reload"):
        assert reached[what] >= 2, reached


@settings(max_examples=HISTORIES, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 2**32))
@example(seed=1)
def test_every_days_journal_is_clean_and_every_task_ends(seed: int) -> None:
    async def story() -> None:
        report = await history(seed, Counter())
        assert report.clean, "\n".join(report.lines())
        assert report.starts > 30

    run_virtual(story())

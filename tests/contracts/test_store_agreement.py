"""Any sequence of operations means the same to every store: results, refusals, tasks and rows.

MemoryStore is the contract in its plainest form; whatever SQLite, its indexes and its group
commit make of it must look the same, through any number of crashes.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.contracts.drafts import everything
from ygg.backlog import BEFORE_ALL
from ygg.fleet import Option
from ygg.journal import Event, Kind, Note
from ygg.lifecycle import Refused
from ygg.stores.base import KeyClash, Query, Restored, TaskStore, UnknownTask
from ygg.stores.memory import MemoryStore
from ygg.stores.sqlite import SqliteStore
from ygg.tasks import Draft, Fence, Held, Json, Lane, Outcome, Rank, Status

Call = Callable[[TaskStore], Awaitable[object]]

TYPES, MODELS = st.sampled_from(["general", "reasoning"]), st.sampled_from(["", "m"])
PRIORITIES = st.integers(0, 4)
TIMES = st.sampled_from([0.0, 0.1, 1.0, 1.0, 2.5, 1_700_000_000.1])
TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)
JSON: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=2)
HOSTS = st.sampled_from(["a", "b"])
OPTIONS = st.builds(Option, HOSTS, MODELS)
BY_HAND: dict[str, st.SearchStrategy[Json]] = {"until": st.integers(0, 9) | TIMES, "by": TEXTS}
NOTES = st.lists(
    st.one_of(
        st.builds(Note, kind=st.just(Kind.HOST), host=HOSTS, detail=OBJECTS),
        st.builds(Note, kind=st.just(Kind.OPTION), host=HOSTS, model=MODELS, detail=OBJECTS),
        st.builds(
            Note,
            kind=st.just(Kind.RESIZED),
            host=HOSTS,
            detail=st.fixed_dictionaries(
                {"limit": st.integers(0, 9)},
                optional={"start": st.integers(1, 3), "unpinned": st.none() | st.integers(1, 3)},
            ),
        ),
        st.builds(
            Note,
            kind=st.just(Kind.PINNED),
            host=HOSTS,
            reason=TEXTS,
            detail=st.fixed_dictionaries({"limit": st.integers(0, 9)}, optional=BY_HAND),
        ),
        st.builds(
            Note,
            kind=st.just(Kind.PAUSED),
            host=HOSTS,
            reason=TEXTS,
            detail=st.fixed_dictionaries({}, optional=BY_HAND),
        ),
        st.builds(
            Note,
            kind=st.sampled_from([Kind.UNPINNED, Kind.RESUMED, Kind.LEFT]),
            host=HOSTS,
            reason=TEXTS,
        ),
    ),
    max_size=2,
)
HELD_OR_NOT = st.none() | st.sampled_from(Held)


class Stores(RuleBasedStateMachine):
    """One of each; every rule does the same to both."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.path = Path(self.folder.name) / "ygg.db"
        self.memory: TaskStore = MemoryStore()
        self.sqlite: TaskStore = SqliteStore(self.path)
        self.heard: tuple[list[Event], list[Event]] = [], []
        self.memory.follow(self.heard[0].extend)
        self.sqlite.follow(self.heard[1].extend)
        self.now = 1.0
        self.drafts: list[Draft] = []
        self.opened = 0

    def teardown(self) -> None:
        self.runner.run(self.sqlite.close())
        self.runner.close()
        self.folder.cleanup()

    # -- the same to both --------------------------------------------------------------------

    async def _one_after_another(self, store: TaskStore, calls: Sequence[Call]) -> list[object]:
        return [await self._outcome(call(store)) for call in calls]

    async def _at_once(self, store: TaskStore, calls: Sequence[Call]) -> list[object]:
        return list(await asyncio.gather(*(self._outcome(call(store)) for call in calls)))

    @staticmethod
    async def _outcome(call: Awaitable[object]) -> object:
        try:
            result = await call
        except (KeyClash, UnknownTask, Refused) as refusal:
            return type(refusal), str(refusal)
        return list(result) if isinstance(result, list | tuple) else result

    def both(self, *calls: Call) -> object:
        """Memory does them one after another, SQLite at once: in one commit, if it likes."""
        one = self.runner.run(self._one_after_another(self.memory, calls))
        other = self.runner.run(self._at_once(self.sqlite, calls))
        assert one == other
        return one[0]

    @invariant()
    def they_look_the_same(self) -> None:
        if self.opened:
            one = self.runner.run(everything(self.memory))
            other = self.runner.run(everything(self.sqlite))
            assert one == other
            assert self.heard[0] == self.heard[1]

    # -- life ----------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.open(max_strikes=3, once=frozenset())

    def open(self, *, max_strikes: int, once: frozenset[str]) -> None:
        self.opened += 1
        owner = f"life {self.opened}"

        def call(store: TaskStore) -> Awaitable[Restored]:
            return store.open(owner=owner, now=self.now, max_strikes=max_strikes, once=once)

        self.both(call)

    @rule(max_strikes=st.integers(1, 3), once=st.frozensets(TYPES, max_size=1))
    def crash(self, max_strikes: int, once: frozenset[str]) -> None:
        self.runner.run(self.sqlite.close())
        self.sqlite = SqliteStore(self.path)
        self.sqlite.follow(self.heard[1].extend)
        self.open(max_strikes=max_strikes, once=once)

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 5.0, -1.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    # -- tasks ---------------------------------------------------------------------------------

    @rule(data=st.data(), size=st.integers(1, 4))
    def add(self, data: st.DataObject, size: int) -> None:
        batch = [self._draft(data, n) for n in range(size)]
        self.drafts += batch
        self.both(lambda store: store.add(batch, now=self.now))

    def _draft(self, data: st.DataObject, n: int) -> Draft:
        if self.drafts and data.draw(st.integers(0, 9)) == 0:
            return data.draw(st.sampled_from(self.drafts))  # the very call again
        sourced = data.draw(st.booleans())
        held = data.draw(HELD_OR_NOT)
        draft = Draft(
            id=f"t{len(self.drafts) + n}",
            title=data.draw(TEXTS),
            description=data.draw(TEXTS),
            labels=tuple(data.draw(st.lists(TEXTS, max_size=2))),
            type=data.draw(TYPES),
            model=data.draw(MODELS),
            priority=data.draw(PRIORITIES),
            created_at=data.draw(TIMES),
            key=data.draw(st.none() | st.sampled_from(["k", "l"])),
            body_digest=data.draw(st.sampled_from(["", "", "other"])),
            submitter=data.draw(st.sampled_from(["", "me"])),
            system=data.draw(st.none() | TEXTS),
            options=data.draw(OBJECTS),
            timeout=data.draw(st.none() | TIMES),
            metadata=data.draw(JSON),
            held=held,
        )
        if held is Held.NOT_BEFORE or data.draw(st.booleans()):
            draft = replace(draft, not_before=self.now + data.draw(st.sampled_from([-1.0, 2.0])))
        if sourced:
            draft = replace(draft, source="beads", source_id=data.draw(st.sampled_from("xy")))
        return draft

    def _id(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from([d.id for d in self.drafts] or ["nobody"]))

    def _fence(self, data: st.DataObject, task_id: str) -> Fence:
        """Nearly always the true one."""
        try:
            fence = self.runner.run(self.memory.get(task_id)).fence
        except UnknownTask:
            return Fence("life 1", 1)
        if data.draw(st.integers(0, 4)) == 0:
            return fence._replace(attempt=fence.attempt + data.draw(st.sampled_from([-1, 1])))
        return fence

    @rule(data=st.data(), option=OPTIONS, seen=st.integers(0, 99), times=st.integers(1, 2))
    def claim(self, data: st.DataObject, option: Option, seen: int, times: int) -> None:
        task_id = self._id(data)

        def call(store: TaskStore) -> Awaitable[object]:
            return store.claim(task_id, option=option, seen=seen, now=self.now)

        self.both(*[call] * times)

    @rule(
        data=st.data(),
        answer=st.none() | OBJECTS,
        artifact=st.none() | TEXTS,
        outcome=st.sampled_from(Outcome),
        notes=NOTES,
        times=st.integers(1, 2),
    )
    def finish(
        self,
        data: st.DataObject,
        answer: dict[str, Json] | None,
        artifact: str | None,
        outcome: Outcome,
        notes: list[Note],
        times: int,
    ) -> None:
        task_id = self._id(data)
        fence = self._fence(data, task_id)

        def call(store: TaskStore) -> Awaitable[object]:
            return store.finish(
                task_id,
                fence,
                artifact=artifact,
                answer=answer,
                outcome=outcome,
                now=self.now,
                notes=notes,
            )

        self.both(*[call] * times)

    @rule(
        data=st.data(),
        error=TEXTS,
        strike=st.booleans(),
        back=st.booleans(),
        notes=NOTES,
        times=st.integers(1, 2),
    )
    def fail(
        self,
        data: st.DataObject,
        error: str,
        strike: bool,
        back: bool,
        notes: list[Note],
        times: int,
    ) -> None:
        task_id = self._id(data)
        fence = self._fence(data, task_id)
        given: dict[str, Any] = {
            "error": error,
            "reason": "r",
            "strike": strike,
            "now": self.now,
            "notes": notes,
        }

        def call(store: TaskStore) -> Awaitable[object]:
            if back:
                return store.reopen(task_id, fence, max_strikes=2, **given)
            return store.block(task_id, fence, **given)

        self.both(*[call] * times)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        task_id = self._id(data)
        self.both(lambda store: store.cancel(task_id, now=self.now))

    @rule(data=st.data(), size=st.integers(1, 2))
    def retry(self, data: st.DataObject, size: int) -> None:
        ids = [self._id(data) for _ in range(size)]
        self.both(lambda store: store.retry(ids, now=self.now))

    @rule(data=st.data(), priority=st.none() | PRIORITIES, run_next=st.none() | st.booleans())
    def prioritise(self, data: st.DataObject, priority: int | None, run_next: bool | None) -> None:
        task_id = self._id(data)
        self.both(
            lambda store: store.prioritise(
                task_id, priority=priority, run_next=run_next, now=self.now
            )
        )

    @rule(
        data=st.data(),
        priority=st.none() | PRIORITIES,
        run_next=st.none() | st.booleans(),
        held=st.none() | st.booleans(),
    )
    def change(
        self, data: st.DataObject, priority: int | None, run_next: bool | None, held: bool | None
    ) -> None:
        task_id = self._id(data)
        self.both(
            lambda store: store.change(
                task_id, priority=priority, run_next=run_next, held=held, now=self.now
            )
        )

    @rule(data=st.data(), why=HELD_OR_NOT, back=st.sampled_from([Held.BY_HAND, Held.FOR_SOURCE]))
    def hold_or_release(self, data: st.DataObject, why: Held | None, back: Held) -> None:
        task_id = self._id(data)

        def call(store: TaskStore) -> Awaitable[object]:
            if why is None:
                return store.hold(task_id, why=back, now=self.now)
            return store.release(task_id, why=why, now=self.now)

        self.both(call)

    @rule(data=st.data(), title=TEXTS, labels=st.lists(TEXTS, max_size=2), priority=PRIORITIES)
    def edit(self, data: st.DataObject, title: str, labels: list[str], priority: int) -> None:
        task_id = self._id(data)
        self.both(
            lambda store: store.edit(
                task_id,
                title=title,
                description=title * 2,
                labels=tuple(labels),
                priority=priority,
                now=self.now,
            )
        )

    @rule(data=st.data(), why=TEXTS)
    def withdraw(self, data: st.DataObject, why: str) -> None:
        task_id = self._id(data)
        self.both(lambda store: store.withdraw(task_id, why=why, now=self.now))

    @rule(data=st.data(), position=st.integers(0, 50), times=st.integers(1, 2))
    def told(self, data: st.DataObject, position: int, times: int) -> None:
        posted = self.runner.run(self.memory.posted("beads", now=1e9, limit=99))
        if posted and data.draw(st.integers(0, 1)) == 0:
            one = data.draw(st.sampled_from(posted))
            task_id, position = one.task.id, one.position
        else:
            task_id = self._id(data)

        def call(store: TaskStore) -> Awaitable[object]:
            return store.told(task_id, position=position, now=self.now)

        self.both(*[call] * times)

    @rule(data=st.data(), error=TEXTS, due=TIMES)
    def not_told(self, data: st.DataObject, error: str, due: float) -> None:
        task_id = self._id(data)
        self.both(lambda store: store.not_told(task_id, error=error, due=due))

    @rule(limit=st.integers(1, 5))
    def sources_look(self, limit: int) -> None:
        self.both(lambda store: store.sourced("beads"))
        self.both(lambda store: store.posted("beads", now=self.now, limit=limit))
        self.both(lambda store: store.posted_ends("beads"))

    @rule()
    def release_due(self) -> None:
        self.both(lambda store: store.release_due(now=self.now))

    @rule(notes=NOTES)
    def note(self, notes: list[Note]) -> None:
        self.both(lambda store: store.note(notes, now=self.now))

    @rule(tasks=st.none() | st.integers(0, 3), rows=st.none() | st.integers(0, 3))
    def prune(self, tasks: int | None, rows: int | None) -> None:
        self.both(
            lambda store: store.prune(
                closed_before=None if tasks is None else self.now - tasks,
                journal_before=None if rows is None else self.now - rows,
            )
        )

    # -- looks ---------------------------------------------------------------------------------

    @rule(
        query=st.just(Query())
        | st.builds(Query, status=st.sampled_from(Status), type=st.none() | TYPES)
        | st.builds(Query, priority=PRIORITIES)
        | st.builds(Query, host=HOSTS, error=st.none() | TEXTS),
        before=st.none() | st.integers(0, 20),
        limit=st.integers(1, 5),
    )
    def find(self, query: Query, before: int | None, limit: int) -> None:
        self.both(lambda store: store.find(query, before=before, limit=limit))

    @rule(
        lane=st.builds(Lane, TYPES, MODELS),
        after=st.just(BEFORE_ALL)
        | st.builds(Rank, st.booleans(), PRIORITIES, TIMES, st.integers(0, 20)),
        limit=st.integers(1, 5),
    )
    def ready(self, lane: Lane, after: Rank, limit: int) -> None:
        self.both(lambda store: store.ready(lane, after=after, limit=limit))

    @rule(data=st.data(), after=st.integers(0, 50), limit=st.integers(1, 5), one=st.booleans())
    def journal(self, data: st.DataObject, after: int, limit: int, one: bool) -> None:
        task_id = self._id(data) if one else None
        self.both(lambda store: store.journal(after=after, limit=limit, task_id=task_id))


Stores.TestCase.settings = settings(max_examples=max(1, settings().max_examples // 2))
TestStores = Stores.TestCase

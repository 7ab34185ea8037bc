"""The loop around `assign`: claim, run, finish; drain; and the store's bad days.

Everything that changes what may start is a committed row of the journal. The store tells of its
rows in order (`_absorb`), the board takes them in, `assign` decides, and each decided start is
carried out. Deciding is left to the pure modules, health to keeper.py, writing down how an attempt
ended to endings.py, a store that takes no writes to outages.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Literal, TypeVar

from ygg import configuring, pins
from ygg.assignment import Start, assign
from ygg.attempt import Attempt, Stop
from ygg.autoscaling import Autoscaling
from ygg.board import Board, LaneState, Reason
from ygg.changes import compare, taken_over
from ygg.configuring import Reload
from ygg.endings import Endings
from ygg.faults import Cause, Failure
from ygg.fleet import FileStanding, Fleet, Option
from ygg.handlers import Handler, handler_for
from ygg.health import Mode
from ygg.hosts.base import Answer
from ygg.journal import Event, Kind, Note
from ygg.keeper import Keeper
from ygg.lifecycle import Refused
from ygg.outages import Outages
from ygg.overrides import Overrides
from ygg.ports import Answers, Clock, Meter, Servers
from ygg.sources.base import Standing
from ygg.stores.base import Added, HostRow, StoreError, TaskStore, UnknownTask, Unstorable
from ygg.tasks import Draft, Held, Lane, Status, Task

T = TypeVar("T")
log = logging.getLogger("ygg.dispatcher")

#: How long a drain goes on trying to write to a store that takes nothing, in seconds.
_FLUSH_SECONDS: Final = 30.0


class Draining(Exception):
    """No new tasks, no other settings: the dispatcher is ending."""


class NotAccepting(Exception):
    """No new tasks: the store takes no writes."""


class Unroutable(Exception):
    """No option of the fleet would ever run this task."""


class Dispatcher:
    def __init__(
        self,
        *,
        fleet: Fleet,
        store: TaskStore,
        servers: Servers,
        artifacts: Answers,
        meter: Meter,
        clock: Clock,
        identity: str,
        decide: Callable[[Board], Sequence[Start]] = assign,
    ) -> None:
        """`decide` says after every event what starts; only threads.py has another one."""
        self.fleet = fleet
        self.store = store
        self.servers = servers
        self.artifacts = artifacts
        self.board = Board()
        self.attempts: dict[str, Attempt] = {}
        self.host_rows: dict[str, HostRow] = {}
        self.identity = identity
        #: How it goes with the sources of tasks, if there are any.
        self.sources: list[Standing] = []
        #: Who decides what starts.
        self.mode: Literal["async", "threads"] = "async" if decide is assign else "threads"
        #: Claims that are being written.
        self._claiming = 0
        #: How it goes with the file that the fleet comes from.
        self.standing = FileStanding(taken_at=clock.wall())
        #: Hear of another fleet that was taken over.
        self.followers: list[Callable[[Fleet], None]] = []
        #: Reloads whose rows are being written, with the handlers that come with them.
        self._coming: dict[int, tuple[Reload, dict[str, Handler]]] = {}
        self._reloads = 0
        self._outages = Outages(
            store,
            artifacts,
            clock,
            began=self._stop_starts,
            over=self._begin_anew,
            settled=lambda: self._claiming == 0,
        )
        self.keeper = Keeper(self, write=self._note, active=self._active_on, now=clock.monotonic)
        #: Held while limits are decided and written.
        self._turn = turn = asyncio.Lock()
        self.overrides = Overrides(
            store,
            clock,
            self._outages,
            turn,
            fleet=lambda: self.fleet,
            rows=lambda: self.host_rows,
            limit=self._limit_now,
            server=self.server_runs,
        )
        self.autoscaling = Autoscaling(
            store,
            clock,
            turn,
            fleet=lambda: self.fleet,
            rows=lambda: self.host_rows,
            limit=self._limit_now,
            server=self.server_runs,
        )
        self._endings = Endings(store, self.keeper, self._outages, fleet=lambda: self.fleet)
        self._meter = meter
        self._clock = clock
        self._decide = decide
        self._handlers: dict[str, Handler] = {}
        self._last_created_at = 0.0
        self._next_due: float | None = None
        self._due_changed = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._services: set[asyncio.Task[None]] = set()
        self._broke = asyncio.Event()
        self._broken: Exception | None = None

    # -- life ----------------------------------------------------------------------------------

    async def start(self, group: asyncio.TaskGroup) -> int:
        """Open the store, take up what waits, and begin. Returns how many tasks were rescued.

        Raises StoreUnusable.
        """
        self._group = group
        once = frozenset(name for name, t in self.fleet.types.items() if not t.repeat)
        settings = self.fleet.dispatcher
        restored = await self.store.open(
            owner=self.identity,
            now=self._clock.wall(),
            max_strikes=settings.max_strikes,
            once=once,
        )
        self._last_created_at = restored.last_created_at
        self.host_rows = dict(restored.hosts)
        self.board.seen = restored.position
        self.board.backlog.restore(restored.waiting)
        self.store.follow(self._absorb)
        self._handlers = {name: handler_for(t) for name, t in self.fleet.types.items()}
        for host in self.fleet.hosts:
            self.keeper.add(host)
        await self._begin()
        self._next_due = await self.store.release_due(now=self._clock.wall())
        for host in self.fleet.hosts:
            self._serve(self.keeper.watch(host), f"watch {host}")
        self._serve(self._release_due(), "release due tasks")
        self._serve(self.overrides.watch(), "end pins and pauses")
        self._serve(self._outages.watch(), "recover the store")
        self._serve(self._tick(), "safety net")
        self._serve(self._end_when_broken(), "invariants")
        return restored.rescued

    def _serve(self, work: Coroutine[None, None, None], name: str) -> None:
        assert self._group is not None
        service = self._group.create_task(work, name=name)
        self._services.add(service)
        service.add_done_callback(self._services.discard)

    async def _begin(self) -> None:
        """Tell of the fleet; what had an end that came meanwhile has ended."""
        over = list(pins.ended(self.host_rows, self._clock.wall()))
        for note in over:
            row = self.host_rows[note.host]
            self.host_rows[note.host] = row.after(note.kind, note.reason, note.detail)
        await self._note([*over, *configuring.at_start(self.fleet, self.host_rows)])

    # -- another hosts.yaml ----------------------------------------------------------------------

    async def reload(self, new: Fleet) -> None:
        """Run with these settings from here on, as far as that takes no restart.

        All of them at once, between two decisions; what runs is not touched. Raises Draining.
        """
        await self._outages.persist(lambda now: self._write_reload(new, now))
        for follower in self.followers:
            follower(self.fleet)

    async def _write_reload(self, new: Fleet, now: float) -> None:
        async with self._turn:
            if self.board.stopped is Reason.DRAINING:
                raise Draining("the dispatcher is ending: the next start reads hosts.yaml")
            fleet = taken_over(self.fleet, new)
            changes = [change.text for change in compare(self.fleet, fleet)]
            if not changes:
                self.fleet = fleet  # the lines of the file may be others
                return
            self._reloads += 1
            reload = configuring.at_reload(
                self.fleet, fleet, self.host_rows, self.board, server=self.servers.most,
                number=self._reloads, changes=changes,
            )  # fmt: skip
            self._coming[self._reloads] = reload, self._handlers_of(fleet)
            # Where this fails and took effect all the same, the row is heard later.
            await self.store.note(reload.notes, now=now)

    def _handlers_of(self, fleet: Fleet) -> dict[str, Handler]:
        """Those of before where nothing changed: a Python handler was imported already."""
        before = {n: replace(t, line=0) for n, t in self.fleet.types.items() if n in self._handlers}
        return {
            name: self._handlers[name]
            if before.get(name) == replace(settings, line=0)
            else handler_for(settings)
            for name, settings in fleet.types.items()
        }

    def _take_over(self, row: Event) -> None:
        """The row of a reload was committed: all else follows in the same moment."""
        number = row.detail.get(configuring.NUMBER)
        if not isinstance(number, int) or number not in self._coming:
            return
        reload, handlers = self._coming[number]
        self._coming = {n: coming for n, coming in self._coming.items() if n > number}
        self.fleet, self._handlers = reload.fleet, handlers
        self.servers.take_over(reload.fleet)
        for host in (*reload.removed, *reload.asked_anew):
            self.keeper.remove(host)
        self.keeper.forget_all_but({o for route in reload.fleet.routes.values() for o in route})
        for host in reload.asked_anew:
            self.keeper.add(host)
            self._serve(self.keeper.watch(host), f"watch {host}")

    async def drain(self, hurry: asyncio.Event) -> bool:
        """End in order: no new claims, wait for what runs, then cut it, and flush.

        `hurry` set cuts the wait, not the flush. False: the store did not take everything.
        """
        settings = self.fleet.dispatcher
        self.board.stopped = Reason.DRAINING
        if self.attempts:
            log.info(
                "event=drain waiting_for=%d seconds=%g hint=%r",
                len(self.attempts),
                settings.drain_seconds,
                "a second Ctrl-C cuts the wait",
            )
        everything = asyncio.ensure_future(self._all_ended())
        hurried = asyncio.ensure_future(hurry.wait())
        try:
            await asyncio.wait(
                {everything, hurried},
                timeout=settings.drain_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for attempt in list(self.attempts.values()):
                attempt.request_stop(Stop.DRAINED)
            # Commands get their seconds to end, the store its time to take the last rows.
            await asyncio.wait({everything}, timeout=_FLUSH_SECONDS)
        finally:
            everything.cancel()
            hurried.cancel()
        for service in list(self._services):
            service.cancel()
        flushed = not self.attempts
        for attempt in self.attempts.values():
            log.error(
                "event=not_flushed task=%s host=%s why=%r hint=%r",
                attempt.start.waiting.id,
                attempt.start.option.host,
                self.store_trouble or "its end was not written in time",
                "it is still in_progress in the store: the next start rescues it",
            )
            if attempt.runner is not None:
                attempt.runner.cancel()
        try:
            await self.store.note(
                [Note(kind=Kind.LEFT, reason=self.identity)], now=self._clock.wall()
            )
        except StoreError as error:
            log.error("event=not_flushed row=left why=%r", str(error))  # noqa: TRY400 - told whole
            flushed = False
        return flushed

    async def _all_ended(self) -> None:
        while self.attempts:
            await next(iter(self.attempts.values())).ended.wait()

    # -- asking hosts (the keeper's prober) ------------------------------------------------------

    async def look(self, host: str) -> None:
        """Raises Failure. Slots above what the server runs at once would only hide a queue."""
        await self.servers.look(host)
        await self._outages.persist(lambda now: self.overrides.fit_to_server(host, now))

    def server_runs(self, host: str) -> int | None:
        """So many at once, by its own word; None: it did not say, or shares its slots."""
        state = self.board.hosts.get(host)
        if state is None or len(state.semaphore.hosts) > 1:
            return None  # of a shared card no single server can say how much it takes
        return self.servers.most(host)

    def _limit_now(self, host: str) -> int | None:
        semaphore = self.board.semaphores.get(host)
        return None if semaphore is None else semaphore.slots.limit

    async def look_at_option(self, option: Option) -> None:
        """Raises Failure. Of a handler of a type's own no server can say whether it works."""
        if not option.handler:
            await self.servers.look_at_option(option)

    # -- rows come in, starts go out -------------------------------------------------------------

    def _absorb(self, events: Sequence[Event]) -> None:
        """Called by the store with committed rows, in order."""
        try:
            for event in events:
                if event.kind is Kind.CONFIGURED:
                    self._take_over(event)
                self.board.apply(event)
                if event.host and not event.task:
                    row = self.host_rows.get(event.host, HostRow())
                    self.host_rows[event.host] = row.after(event.kind, event.reason, event.detail)
                    self.overrides.heard(event)
                if event.held is Held.NOT_BEFORE and event.kind is not Kind.HELD:
                    self._due_changed.set()
            self._dispatch()
        except Exception as error:  # noqa: BLE001 - not the store's to handle: it ends us
            # The board no longer knows the truth: end, and begin anew from the store.
            self._meter.violation()
            self._broken = error
            self._broke.set()

    async def _end_when_broken(self) -> None:
        await self._broke.wait()
        assert self._broken is not None
        raise self._broken

    def carry_out(self, start: Start) -> Attempt:
        """Begin a start that was decided in this very moment; its slot is taken."""
        assert self._group is not None
        type_ = start.waiting.lane.type
        attempt = Attempt(start=start, meter=self._meter, settings=self.fleet.types[type_])
        self.attempts[start.waiting.id] = attempt
        self._claiming += 1
        attempt.runner = self._group.create_task(
            self._carry_out(attempt, self._handlers[type_]), name=f"attempt {start.waiting.id}"
        )
        return attempt

    def _dispatch(self) -> None:
        assert self._group is not None
        for start in self._decide(self.board):
            self.carry_out(start)
        for lane in self.board.short_lanes():
            self._group.create_task(self._read_page(lane), name=f"read {lane.queue.lane}")

    async def _read_page(self, lane: LaneState) -> None:
        queue = lane.queue
        if not queue.wants(lane.capacity):
            return  # it was asked for twice
        after, limit = queue.reading(), queue.page
        try:
            page = await self.store.ready(queue.lane, after=after, limit=limit)
        except StoreError as error:
            queue.reading_failed()
            self._outages.report(error)  # once the store is well again, all lanes are looked at
            return
        self.board.loaded(lane, page, complete=len(page) < limit)
        self._dispatch()

    async def _carry_out(self, attempt: Attempt, handler: Handler) -> None:
        task_id = attempt.start.waiting.id
        try:
            task = await self._claim(attempt)
            if task is not None:
                attempt.task = task
                await self._run(attempt, task, handler)
        finally:
            # The next attempt may have begun in the very commit that ended this one.
            if self.attempts.get(task_id) is attempt:
                del self.attempts[task_id]
            attempt.ended.set()

    async def _claim(self, attempt: Attempt) -> Task | None:
        """On disk before the host sees it. None: it was not to be had."""
        start = attempt.start
        task_id = start.waiting.id
        try:
            task = await self.store.claim(
                task_id, option=start.option, seen=start.seen, now=self._clock.wall()
            )
        except StoreError as error:
            self._outages.report(error)
            task = await self._outages.persist(lambda _: self._claimed_after_all(task_id))
            if task is None:
                self.board.untake(task_id)
            return task
        finally:
            self._claiming -= 1
        if task is None:
            log.info("event=task_missed task=%s host=%s", task_id, start.option.host)
        return task

    async def _claimed_after_all(self, task_id: str) -> Task | None:
        """The task, if a claim that was reported as failed took effect.

        Not written again if it did not: it must not overtake those that were decided before it.
        """
        await self.store.probe()  # what can still come about of it has come about then
        try:
            task = await self.store.get(task_id)
        except (UnknownTask, Unstorable):
            return None  # cancelled meanwhile, and its time was up; or its row can't be read
        ours = task.status is Status.IN_PROGRESS and task.owner == self.identity
        return task if ours else None

    async def _run(self, attempt: Attempt, task: Task, handler: Handler) -> None:
        option = attempt.start.option
        failure: Failure | None = None
        answer: Answer | None = None
        artifact = ""
        try:
            if attempt.stop is None and self.board.stopped is Reason.DRAINING:
                attempt.stop = Stop.DRAINED  # claimed in the same moment: it need not begin
            if attempt.stop is None:
                attempt.began = self._clock.monotonic()
                place = self.servers.place(option)
                answer = await handler.run(task, place, attempt)
                attempt.ending = True
                artifact = await self._keep_answer(task, answer)
        except Failure as known:
            failure = known
        except asyncio.CancelledError:
            if attempt.stop is None or attempt.ending:
                raise
            assert attempt.runner is not None
            attempt.runner.uncancel()
        except Exception as error:
            # A bug of ours or of a handler: a person must see it, and the others must run on.
            log.exception("event=attempt_broke task=%s host=%s", task.id, option.host)
            if isinstance(error, AssertionError):  # a handler's own became a Failure
                self._meter.violation()
            failure = Failure(Cause.INTERNAL, f"internal error: {error!r}; see the log", taken=True)
        attempt.ending = True
        await self._endings.write(attempt, task, answer=answer, artifact=artifact, failure=failure)
        if self.attempts.get(task.id) is attempt and task.id in self.board.taken:
            # The end stood already, or another's fence, or none was to be stored: no row of ours
            # told of it.
            message = "event=fence_moved task=%s host=%s attempt=%d"
            log.error(message, task.id, option.host, task.attempt)
            self._meter.violation()
            self.board.give_back(task.id)
            self._dispatch()

    async def _keep_answer(self, task: Task, answer: Answer) -> str:
        """Write the answer; where the disk takes none, keep it and try again until it does."""
        return await self._outages.persist(
            lambda now: self.artifacts.write(
                task.id, answer.text, answer.thinking, datetime.fromtimestamp(now, UTC).date()
            )
        )

    # -- the store's bad days --------------------------------------------------------------------

    @property
    def store_trouble(self) -> str | None:
        """Why nothing can be written, as last seen; None: it can."""
        return self._outages.trouble

    async def _note(self, notes: Sequence[Note]) -> None:
        await self._outages.persist(lambda now: self.store.note(notes, now=now))

    def _stop_starts(self) -> None:
        if self.board.stopped is None:
            self.board.stopped = Reason.STORE

    def _begin_anew(self) -> None:
        if self.board.stopped is Reason.STORE:
            self.board.stopped = None
        self.board.look_at_all()
        self._dispatch()

    # -- time ------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        """The safety net: should an event ever have been missed, this is how long it costs."""
        while True:
            await asyncio.sleep(self.fleet.dispatcher.poll_seconds)
            hosts = self.board.hosts
            options = {o.option: o.mode for host in hosts.values() for o in host.options.values()}
            modes = {name: host.mode for name, host in hosts.items()}
            if unheard := self.keeper.unheard(modes, options):
                await self._note(unheard)
            self._dispatch()

    async def _release_due(self) -> None:
        """Tasks with a `not_before` become ready when it comes."""
        while True:
            wait = None
            if self._next_due is not None:
                # In pieces: the wall clock may be set while we wait.
                wait = min(max(self._next_due - self._clock.wall(), 0.0), 30.0)
            try:
                async with asyncio.timeout(wait):
                    await self._due_changed.wait()
            except TimeoutError:
                pass
            self._due_changed.clear()
            self._next_due = await self._outages.persist(
                lambda now: self.store.release_due(now=now)
            )

    def created_at(self) -> float:
        """The time of birth for the next task: never before that of the last one."""
        self._last_created_at = max(self._clock.wall(), self._last_created_at)
        return self._last_created_at

    def _active_on(self, host: str) -> int:
        state = self.board.hosts.get(host)
        return 0 if state is None else state.asked

    # -- what people ask for -----------------------------------------------------------------------

    async def submit(self, drafts: Sequence[Draft]) -> Sequence[Added]:
        """Accept tasks, all or none; each gets its created_at here.

        Raises Draining, NotAccepting, Unroutable, KeyClash, StoreError.
        """
        if self.board.stopped is Reason.DRAINING:
            raise Draining("the dispatcher is ending: send it again once it is back")
        if self.store_trouble is not None:
            raise NotAccepting(self.store_trouble)
        for draft in drafts:
            self._check_route(draft)
        now = self._clock.wall()
        born = [
            replace(
                draft,
                created_at=self.created_at(),
                held=Held.NOT_BEFORE if (draft.not_before or 0.0) > now else draft.held,
            )
            for draft in drafts
        ]
        try:
            return await self.store.add(born, now=now)
        except Unstorable:
            raise  # the trouble is with these drafts, not with the store
        except StoreError as error:
            self._outages.report(error)
            raise

    def _check_route(self, draft: Draft) -> None:
        lane = Lane(draft.type, draft.model)
        if self.board.options_of(lane):
            return
        if draft.type not in self.board.routes:
            known = ", ".join(self.board.routes)
            raise Unroutable(f"no type {draft.type!r} in {self.fleet.file}; known: {known}")
        if not self.board.routes[draft.type]:
            raise Unroutable(
                f"no host runs the type {draft.type!r} now: its `run:` in {self.fleet.file} is empty"
            )
        models = sorted({o.model or "(not known yet)" for o in self.board.routes[draft.type]})
        raise Unroutable(
            f"no host of the route of {draft.type} has the model {draft.model!r}; "
            f"there are: {', '.join(models)}"
        )

    async def cancel(self, task_id: str) -> Task:
        """Raises UnknownTask, Refused, StoreError."""
        while True:
            attempt = self.attempts.get(task_id)
            if attempt is not None:
                attempt.request_stop(Stop.CANCELLED)
                await attempt.ended.wait()
            try:
                return await self.store.cancel(task_id, now=self._clock.wall())
            except Refused:
                # Claimed in between: cancel the run. Else it is told why not.
                if task_id not in self.attempts:
                    raise

    async def retry(self, task_ids: Sequence[str]) -> Sequence[Task]:
        """Raises UnknownTask, Refused, StoreError."""
        return await self.store.retry(task_ids, now=self._clock.wall())

    def live_hosts(self) -> Sequence[str]:
        """Hosts that take starts now, pauses apart."""
        return [h.name for h in self.board.hosts.values() if h.mode in (Mode.UP, Mode.TRIAL)]

"""What `assign` looks at: the backlog, slots, health, pauses and routes, as of one position.

The board is the fold of the journal's committed rows (`apply`), plus the starts that were
decided and are being claimed (`take`). Pure: no clock, no I/O. Writing rows is left to stores,
deciding starts to assignment.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TypedDict, cast

from ygg.backlog import PAGE, Backlog, LaneQueue
from ygg.fleet import Option
from ygg.health import Mode
from ygg.journal import DAMAGED, Event, Kind, unpack
from ygg.slots import Slots
from ygg.tasks import Held, Json, Lane, Waiting


class Reason(StrEnum):
    """Why a task may not start on an option now. The closed list."""

    HELD = "held"
    NOT_BEFORE = "not_before"
    WAITING_FOR_SOURCE = "waiting_for_source"
    NO_HOST = "no_host"  # no option of its route serves it
    DRAINING = "draining"  # the dispatcher is ending
    STORE = "store"  # the store takes no writes
    HOST_DOWN = "host_down"
    HOST_RESTING = "host_resting"
    HOST_TRIAL = "host_trial"  # one task at a time until it proved well
    PAUSED = "paused"
    OPTION_DOWN = "option_down"  # this model on this host is misconfigured
    OPTION_TRIAL = "option_trial"
    NO_SLOT = "no_slot"


class HostState:
    __slots__ = ("active", "mode", "name", "options", "paused", "reason", "removed", "semaphore")

    def __init__(self, name: str, semaphore: Semaphore) -> None:
        self.name = name
        self.semaphore = semaphore
        self.mode = Mode.DOWN
        self.reason = "not asked yet"
        #: Why it is paused; None: it is not.
        self.paused: str | None = None
        #: Tasks running here; of a shared semaphore only this server's.
        self.active = 0
        self.options: dict[Option, OptionState] = {}
        #: No longer in hosts.yaml: runs what it runs to the end.
        self.removed = False

    @property
    def asked(self) -> int:
        """Tasks that ask its models: handlers of one's own show nothing of the host."""
        return sum(o.active for o in self.options.values() if not o.option.handler)


class Semaphore:
    """Slots, and the hosts that share them."""

    __slots__ = ("hosts", "slots")

    def __init__(self, limit: int) -> None:
        self.slots = Slots(limit)
        self.hosts: list[HostState] = []


class OptionState:
    __slots__ = ("active", "free", "host", "lanes", "mode", "option", "reason")

    def __init__(self, option: Option, host: HostState) -> None:
        self.option = option
        self.host = host
        self.mode = Mode.UP
        self.reason = ""
        self.active = 0
        #: Whether a start is possible, as the lanes' masks have it.
        self.free = False
        #: Lanes that may run here, each with this option's bit in the lane's mask.
        self.lanes: list[tuple[LaneState, int]] = []


class LaneState:
    __slots__ = ("capacity", "free", "options", "queue")

    def __init__(self, queue: LaneQueue) -> None:
        self.queue = queue
        #: In order of preference; bit i of `free` stands for options[i].
        self.options: list[OptionState] = []
        self.free = 0
        #: Slots that could take tasks of this lane, busy ones too.
        self.capacity = 0

    def first_free(self) -> OptionState | None:
        """The first option of the route with a free slot and in health."""
        mask = self.free
        return self.options[(mask & -mask).bit_length() - 1] if mask else None


class Board:
    def __init__(self) -> None:
        self.backlog = Backlog()
        self.hosts: dict[str, HostState] = {}
        self.semaphores: dict[str, Semaphore] = {}
        self.routes: Mapping[str, tuple[Option, ...]] = {}
        self.lanes: dict[Lane, LaneState] = {}
        #: Where each claimed or being-claimed task runs, and its place when it left the backlog.
        self.taken: dict[str, tuple[OptionState, Waiting]] = {}
        #: Of them those that were held or cancelled while being claimed: that claim will miss.
        self._unready: set[str] = set()
        #: Tasks whose rows can't be read, and why: open in the store, but out of the backlog.
        self.damaged: dict[str, str] = {}
        #: Lanes in which a start may have become possible since the last `assign`.
        self.dirty: set[LaneState] = set()
        #: Lanes that lost tasks from memory since `short_lanes` was asked, with more in the store.
        self._drawn: set[LaneState] = set()
        #: Position of the last event taken in.
        self.seen = 0
        #: Why nothing at all may start; None: nothing is in the way.
        self.stopped: Reason | None = None

    # -- the fleet -------------------------------------------------------------------------

    def configure(
        self,
        *,
        semaphores: Mapping[str, str],
        limits: Mapping[str, int],
        routes: Mapping[str, Iterable[Option]],
    ) -> None:
        """The fleet from here on.

        Args:
            semaphores: of each host, the name of the host whose semaphore it uses.
            limits: of each semaphore.
            routes: of each type, its options in order of preference.
        """
        for host in self.hosts.values():
            host.removed = host.name not in semaphores
        for semaphore in self.semaphores.values():
            semaphore.hosts = []
        for name, limit in limits.items():
            if name in self.semaphores:
                self.semaphores[name].slots.resize(limit)
            else:
                self.semaphores[name] = Semaphore(limit)
        for name, shared in semaphores.items():
            semaphore = self.semaphores[shared]
            known = self.hosts.get(name)
            if known is None:
                known = self.hosts[name] = HostState(name, semaphore)
            elif known.semaphore is not semaphore:
                self._move(known, semaphore)
            semaphore.hosts.append(known)
        for host in [h for h in self.hosts.values() if h.removed and not h.active]:
            del self.hosts[host.name]
        named = set(limits) | set(semaphores.values())
        # One with tasks stays, for the case that its host returns before they end.
        for name in [n for n in self.semaphores if n not in named]:
            if not self.semaphores[name].slots.active:
                del self.semaphores[name]
        self.routes = {name: tuple(options) for name, options in routes.items()}
        self._route_all()

    def _move(self, host: HostState, semaphore: Semaphore) -> None:
        """A host changed its card: what it runs counts on the new one."""
        host.semaphore.slots.active -= host.active
        semaphore.slots.active += host.active
        host.semaphore = semaphore

    def _route_all(self) -> None:
        for host in self.hosts.values():
            for option in host.options.values():
                option.lanes = []
                option.free = False
        for lane in list(self.backlog.lanes):
            self._route(lane)
        for host in self.hosts.values():
            self._refresh(host)

    def _route(self, lane: Lane) -> LaneState:
        """(Re)build the lane's options out of the routes."""
        state = self.lanes.get(lane)
        if state is None:
            state = self.lanes[lane] = LaneState(self.backlog.lane(lane))
        options = [self._option(option) for option in self.options_of(lane)]
        state.options = options
        state.free = 0
        for index, option in enumerate(options):
            option.lanes.append((state, 1 << index))
            if option.free:
                state.free |= 1 << index
        self._measure(state)
        self.dirty.add(state)
        self._drawn.add(state)
        return state

    def options_of(self, lane: Lane) -> tuple[Option, ...]:
        """The options that serve a lane, in order; empty: `no_host`."""
        route = self.routes.get(lane.type, ())
        return tuple(o for o in route if o.model == lane.model) if lane.model else route

    def _option(self, option: Option) -> OptionState:
        host = self.hosts[option.host]
        state = host.options.get(option)
        if state is None:
            state = host.options[option] = OptionState(option, host)
            state.free = self.blocker(state) is None
        return state

    def _measure(self, lane: LaneState) -> None:
        limits = {o.host.semaphore: o.host.semaphore.slots.limit for o in lane.options}
        lane.capacity = sum(limits.values())
        lane.queue.page = max(PAGE, 4 * lane.capacity)

    def lane_state(self, lane: Lane) -> LaneState:
        state = self.lanes.get(lane)
        return self._route(lane) if state is None else state

    # -- may it run ------------------------------------------------------------------------

    def blocker(self, option: OptionState) -> Reason | None:
        """Why no task may start on an option now; None: one may."""
        host = option.host
        if host.removed:
            return Reason.NO_HOST
        if host.paused is not None:
            return Reason.PAUSED
        if host.mode is Mode.DOWN:
            return Reason.HOST_DOWN
        if host.mode is Mode.RESTING:
            return Reason.HOST_RESTING
        if option.mode in (Mode.DOWN, Mode.RESTING):
            return Reason.OPTION_DOWN
        if host.semaphore.slots.active >= host.semaphore.slots.limit:
            return Reason.NO_SLOT
        if host.mode is Mode.TRIAL and not option.option.handler and host.asked:
            return Reason.HOST_TRIAL
        if option.mode is Mode.TRIAL and option.active:
            return Reason.OPTION_TRIAL
        return None

    def may_run(self, lane: Lane, held: Held | None, option: Option) -> Reason | None:
        """Whether a task of `lane` may start on `option` now: None, or the one reason why not."""
        if held is not None:
            return Reason(held.value)
        if option not in self.options_of(lane) or option.host not in self.hosts:
            return Reason.NO_HOST
        if self.stopped is not None:
            return self.stopped
        return self.blocker(self._option(option))

    def why(self, lane: Lane, held: Held | None) -> Mapping[Option, Reason | None]:
        """Of each option of the lane's route, why a task may not start there."""
        return {option: self.may_run(lane, held, option) for option in self.options_of(lane)}

    # -- decided starts --------------------------------------------------------------------

    def take(self, lane: LaneState, option: OptionState) -> Waiting:
        """The least task of the lane leaves the backlog for a slot of the option."""
        waiting = self.backlog.pop(lane.queue.lane)
        self._take(waiting, lane, option)
        return waiting

    def take_out_of_turn(self, waiting: Waiting, option: OptionState) -> None:
        """This very task leaves the backlog, whatever waits before it; for threads.py alone."""
        self.backlog.remove(waiting)
        self._take(waiting, self.lane_state(waiting.lane), option)

    def _take(self, waiting: Waiting, lane: LaneState, option: OptionState) -> None:
        assert waiting.id not in self.taken, f"{waiting.id} starts while it runs"
        host = option.host
        host.semaphore.slots.take()
        host.active += 1
        option.active += 1
        self.taken[waiting.id] = option, waiting
        self._drawn.add(lane)
        trying = host.mode is Mode.TRIAL or option.mode is Mode.TRIAL
        if trying or not host.semaphore.slots.available:
            self._refresh_all(host.semaphore)

    def give_back(self, task_id: str) -> None:
        """The task no longer holds its slot, if it held one."""
        taken = self.taken.pop(task_id, None)
        if taken is None:
            return
        self._unready.discard(task_id)
        option, waiting = taken
        # A page that was read before its claim and comes after its end must not bring it back.
        self.backlog.lane(waiting.lane).remove(task_id)
        host = option.host
        host.semaphore.slots.give()
        host.active -= 1
        option.active -= 1
        if host.removed and not host.active:
            self.hosts.pop(host.name, None)
            self._drop_unused(host.semaphore)
        # Also where other slots were free: a trial's end frees the host too.
        self._refresh_all(host.semaphore)

    def _drop_unused(self, semaphore: Semaphore) -> None:
        """One that was kept for what ran on it, and has no host any more."""
        if not semaphore.hosts and not semaphore.slots.active:
            self.semaphores = {n: s for n, s in self.semaphores.items() if s is not semaphore}

    def untake(self, task_id: str) -> None:
        """A decided start could not be claimed: the task is back where it was."""
        waiting, ready = self.taken[task_id][1], task_id not in self._unready
        self.give_back(task_id)
        if ready:
            self._ready(waiting)

    # -- the fold --------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Take in one committed row. Rows come in order, each once."""
        assert event.position > self.seen, f"row {event.position} after {self.seen}"
        self.seen = event.position
        waiting = event.waiting
        match event.kind:
            case Kind.ACCEPTED | Kind.RELEASED:
                if waiting is not None and event.held is None:
                    self._ready_unless_taken(waiting)
            case Kind.STARTED:
                # Ours was taken when it was decided; another dispatcher's leaves the backlog now.
                if waiting is not None and event.task not in self.taken:
                    self._gone(waiting)
            case Kind.MISSED | Kind.CLOSED | Kind.BLOCKED:
                self.give_back(event.task)
            case Kind.REOPENED:
                self.give_back(event.task)
                if waiting is not None and event.held is None:
                    self._ready(waiting)
            case Kind.CANCELLED:
                if waiting is not None and event.held is None:
                    self._gone(waiting)  # it waited
                elif event.fence is not None:
                    self.give_back(event.task)  # it ran
            case Kind.HELD:
                if waiting is not None:
                    self._gone(waiting)
            case Kind.PRIORITISED | Kind.EDITED:
                self._move_task(event)
            case Kind.RESIZED:
                limit = event.detail["limit"]
                assert isinstance(limit, int)
                self._resize(event.host, limit)
            case Kind.PAUSED:
                self._pause(event.host, event.reason)
            case Kind.RESUMED:
                self._pause(event.host, None)
            case Kind.HOST:
                self._set_host(event.host, Mode(str(event.detail["mode"])), event.reason)
            case Kind.OPTION:
                mode, handler = Mode(str(event.detail["mode"])), str(event.detail.get("type", ""))
                self._set_option(Option(event.host, event.model, handler), mode, event.reason)
            case Kind.CONFIGURED:
                self.configure(**configuration(event.detail))
            case Kind.PINNED | Kind.UNPINNED | Kind.OPENED | Kind.LEFT | Kind.TOLD:
                pass  # a pin's limit comes as RESIZED
        if event.task and event.reason == DAMAGED:
            self.damaged[event.task] = str(event.detail.get("error", ""))
        else:
            self.damaged.pop(event.task, None)  # somebody mended its row

    def _ready(self, waiting: Waiting) -> None:
        self.backlog.add(waiting)
        self.dirty.add(self.lane_state(waiting.lane))

    def _ready_unless_taken(self, waiting: Waiting) -> None:
        if waiting.id in self.taken:
            self._unready.discard(waiting.id)  # held and released while it is being claimed
        else:
            self._ready(waiting)

    def _gone(self, waiting: Waiting) -> None:
        if waiting.id in self.taken:
            self._unready.add(waiting.id)  # it left the backlog when it was taken
            return
        if waiting.id in self.damaged:
            return  # it left the backlog when it was taken, and its claim missed
        self.backlog.remove(waiting)
        # Nothing new became possible: what is now the lane's head could have run as well.
        self._drawn.add(self.lane_state(waiting.lane))

    def _move_task(self, event: Event) -> None:
        """The event has the rank as it is now, its detail the one before."""
        assert event.waiting is not None
        if event.task in self.taken:
            self.taken[event.task] = self.taken[event.task][0], event.waiting
            return
        if event.held is not None:
            return
        before = event.detail["before"]
        assert isinstance(before, list)
        self._gone(unpack(event.task, before))  # its new place may be beyond memory
        self._ready(event.waiting)

    def _resize(self, name: str, limit: int) -> None:
        semaphore = self.semaphores.get(name)
        if semaphore is None:
            return  # of a host that a reload took away
        semaphore.slots.resize(limit)
        for host in semaphore.hosts:
            for option in host.options.values():
                for lane, _ in option.lanes:
                    self._measure(lane)
        self._refresh_all(semaphore)

    def _pause(self, name: str, reason: str | None) -> None:
        host = self.hosts.get(name)
        if host is not None:
            host.paused = reason
            self._refresh(host)

    def _set_host(self, name: str, mode: Mode, reason: str) -> None:
        host = self.hosts.get(name)
        if host is not None:
            host.mode, host.reason = mode, reason
            self._refresh(host)

    def _set_option(self, option: Option, mode: Mode, reason: str) -> None:
        if option.host in self.hosts:
            state = self._option(option)
            state.mode, state.reason = mode, reason
            self._refresh(state.host)

    # -- what became possible --------------------------------------------------------------

    def _refresh_all(self, semaphore: Semaphore) -> None:
        for host in semaphore.hosts:
            self._refresh(host)

    def _refresh(self, host: HostState) -> None:
        for option in host.options.values():
            free = self.blocker(option) is None
            if free is option.free:
                continue
            option.free = free
            for lane, bit in option.lanes:
                if free:
                    lane.free |= bit
                    self.dirty.add(lane)
                else:
                    lane.free &= ~bit

    def look_at_all(self) -> None:
        """Forget what is known to be settled: the next `assign` looks at every lane."""
        self.dirty.update(self.lanes.values())
        self._drawn.update(self.lanes.values())

    def short_lanes(self) -> list[LaneState]:
        """Lanes of which a page should be read now, by name: a replay asks in the same order."""
        short = [lane for lane in self._drawn if lane.queue.wants(lane.capacity)]
        self._drawn.clear()
        return sorted(short, key=lambda lane: lane.queue.lane)

    def loaded(self, lane: LaneState, page: Sequence[Waiting], *, complete: bool) -> None:
        """A page that was asked for has come."""
        for waiting in page:
            if waiting.id in self.taken or waiting.id in self.damaged:
                # The store looked before the claim was written, or can't read it.
                lane.queue.remove(waiting.id)
        lane.queue.load(page, complete=complete)
        self.dirty.add(lane)
        self._drawn.add(lane)


def configuration_detail(
    semaphores: Mapping[str, str],
    limits: Mapping[str, int],
    routes: Mapping[str, Iterable[Option]],
) -> dict[str, Json]:
    """The arguments of `Board.configure` as the detail of a CONFIGURED row."""
    return {
        "semaphores": dict(semaphores),
        "limits": dict(limits),
        "routes": {name: [_packed(option) for option in route] for name, route in routes.items()},
    }


def _packed(option: Option) -> list[Json]:
    return [*option] if option.handler else [option.host, option.model]


class Configuration(TypedDict):
    semaphores: dict[str, str]
    limits: dict[str, int]
    routes: dict[str, list[Option]]


def configuration(detail: Mapping[str, Json]) -> Configuration:
    """The inverse of `configuration_detail`; its rows are ours, so their shape is known."""
    routes = cast("dict[str, list[list[str]]]", detail["routes"])
    return {
        "semaphores": cast("dict[str, str]", detail["semaphores"]),
        "limits": cast("dict[str, int]", detail["limits"]),
        "routes": {name: [Option(*option) for option in route] for name, route in routes.items()},
    }

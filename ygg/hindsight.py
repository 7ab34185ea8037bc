"""What `assign` saw when it decided a start, rebuilt from the rows; and whether it decided right.

Written a second time on purpose: the order, the bound and health are stated here in their own
words, and nothing of board, assignment, backlog or slots is used, so that a mistake there can't
hide itself here. What is slow there is simple here: few lanes, all of them looked at.

A decision with `seen` s, whose row is at p, was taken in this state: every row up to s that is
no start, and every start (missed ones too) whose row is before p. Rows between s and p were
committed too late for it. So rows wait in `_unseen` until a start says that it saw them.
Starts are decided in the order of their rows. Whether each task's own life is legal is left to
lives.py.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping

from ygg.findings import FindingKind, Findings
from ygg.fleet import Option
from ygg.health import Mode
from ygg.journal import DAMAGED, Event, Kind
from ygg.tasks import Fence, Json, Lane, Rank, Waiting
from ygg.wire import told_time


class BadRow(ValueError):
    """A row's detail is not of the shape that its kind has."""


class _Card:
    """A semaphore: its limit, and the hosts whose tasks count on it."""

    __slots__ = ("hosts", "limit", "name")

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.hosts: list[_Host] = []

    @property
    def active(self) -> int:
        # Summed each time, never kept: a host that changes its card can't be counted twice.
        return sum(host.active for host in self.hosts)


class _Host:
    __slots__ = ("card", "listed", "mode", "modes", "name", "paused", "running")

    def __init__(self, name: str, card: _Card) -> None:
        self.name = name
        self.card = card
        #: Whether the fleet, as last configured, has it.
        self.listed = True
        self.mode = Mode.DOWN
        self.paused = False
        #: Of its options, where a row said so.
        self.modes: dict[Option, Mode] = {}
        #: Tasks that run here, by option.
        self.running: dict[Option, int] = {}

    @property
    def active(self) -> int:
        return sum(self.running.values())

    @property
    def asked(self) -> int:
        """Of them those that ask its models; the others run a handler of their type's own."""
        return sum(count for option, count in self.running.items() if not option.handler)

    def count(self, option: Option, change: int) -> None:
        self.running[option] = self.running.get(option, 0) + change


class _Run:
    """A decided start and the slot that it holds."""

    __slots__ = ("fence", "host", "option", "position")

    def __init__(self, start: Event, host: _Host | None, option: Option) -> None:
        self.position = start.position
        self.fence = start.fence
        self.host = host
        self.option = option


_Key = tuple[bool, int, float, int]


def _key(rank: Rank) -> _Key:
    """The order: what a person put first, then priority, then age, then arrival."""
    return rank.not_next, rank.priority, rank.created_at, rank.sequence


def _place(waiting: Waiting) -> str:
    """A place in the order, for people."""
    not_next, priority, created_at, sequence = _key(waiting.rank)
    first = "" if not_next else "runs next, "
    return f"{first}priority {priority}, created at {told_time(created_at)}, number {sequence}"


class Hindsight:
    """Feed it all rows by rising position: starts to `start`, others to `add`."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        #: How many starts were judged.
        self.judged = 0
        #: Rows up to here are part of the state.
        self.seen = 0
        self._unseen: deque[Event] = deque()
        self._hosts: dict[str, _Host] = {}
        self._cards: dict[str, _Card] = {}
        self._routes: dict[str, tuple[Option, ...]] = {}
        self._ready: dict[str, Waiting] = {}
        #: One heap a lane. An entry whose task has another place by now is skipped.
        self._lanes: dict[Lane, list[tuple[_Key, str]]] = {}
        #: Tasks that could not be read when they were to start: until the next dispatcher begins.
        self._damaged: dict[str, Waiting] = {}
        self._runs: dict[str, _Run] = {}
        self._effects: dict[Kind, Callable[[Event], None]] = {
            Kind.ACCEPTED: self._may_be_ready,
            Kind.RELEASED: self._may_be_ready,
            Kind.PRIORITISED: self._may_be_ready,
            Kind.EDITED: self._may_be_ready,
            Kind.HELD: self._gone,
            Kind.CANCELLED: self._cancelled,
            Kind.MISSED: self._end,
            Kind.CLOSED: self._end,
            Kind.BLOCKED: self._end,
            Kind.REOPENED: self._reopened,
            Kind.OPENED: self._opened,
            Kind.CONFIGURED: self._configured,
            Kind.RESIZED: self._resized,
            Kind.PAUSED: self._paused,
            Kind.RESUMED: self._paused,
            Kind.HOST: self._host_mode,
            Kind.OPTION: self._option_mode,
        }

    def add(self, event: Event) -> None:
        """A row that is no start: it counts once a start has seen it."""
        self._unseen.append(event)
        if event.kind is Kind.OPENED:
            # A dispatcher that begins reads the store: it has seen all there is.
            self.advance(event.position)

    def start(self, start: Event, *, legal: bool) -> None:
        """Judge a start in the state that it was decided in; from here on it is part of it.

        Args:
            start: a STARTED or MISSED row.
            legal: False: what is wrong with the task itself was said already.
        """
        if start.seen < self.seen:
            message = f"had seen row {start.seen}, but row {self.seen} was seen before it"
            self._findings.add(FindingKind.BAD_SEEN, start, message)
        elif start.seen >= start.position:
            message = f"had seen row {start.seen}, which is not before it"
            self._findings.add(FindingKind.BAD_SEEN, start, message)
        self.advance(min(start.seen, start.position - 1))
        if start.seen >= self._findings.first_checked:  # else its state is not known in full
            self.judged += 1
            self._judge(start, legal=legal)
        self._take(start)
        if start.kind is Kind.MISSED:
            self._unseen.append(start)  # its slot is free again once this row is seen

    def advance(self, seen: int) -> None:
        """Take in the rows up to a position."""
        while self._unseen and self._unseen[0].position <= seen:
            event = self._unseen.popleft()
            effect = self._effects.get(event.kind)
            if effect is None:
                continue  # pins come with a RESIZED row; LEFT frees nothing
            try:
                effect(event)
            except BadRow as why:
                self._findings.add(FindingKind.BAD_ROW, event, f"{event.kind.value}: {why}")
        self.seen = max(self.seen, seen)

    # -- was it right ----------------------------------------------------------------------

    def _judge(self, start: Event, *, legal: bool) -> None:
        found = self._findings.add
        waiting = self._ready.get(start.task)
        if waiting is None:
            if legal:
                message = f"was started too early: by row {start.seen} it was not open and ready"
                found(FindingKind.NOT_READY, start, message)
            return
        option = self._option(start, waiting.lane)
        options = self._options_of(waiting.lane)
        free = next((o for o in options if self._hindrance(o) is None), None)
        if option not in options:
            lane = f"type {waiting.lane.type!r}, model {waiting.lane.model!r}"
            message = f"started on {option}, which is not on the route of {lane}"
            found(FindingKind.BAD_HOST, start, message)
        elif (hindrance := self._hindrance(option)) is not None:
            kind, why = hindrance
            found(kind, start, f"started on {option}: {why}")
        elif free != option:
            message = f"started on {option}, though {free}, before it on the route, was free"
            found(FindingKind.WRONG_OPTION, start, message)
        least = self._least_below(waiting)
        if least is not None:
            message = f"({_place(waiting)}) started, though {least.id} ({_place(least)}) could"
            found(FindingKind.INVERSION, start, message)

    def _options_of(self, lane: Lane) -> tuple[Option, ...]:
        """The options of the type, in order; of a task that asks for a model, those with it."""
        route = self._routes.get(lane.type, ())
        return tuple(o for o in route if o.model == lane.model) if lane.model else route

    def _option(self, start: Event, lane: Lane | None) -> Option:
        """Where it started: its row has host and model, the route whether a handler ran there."""
        where = start.host, start.model
        route = self._routes.get(lane.type, ()) if lane is not None else ()
        return next((o for o in route if (o.host, o.model) == where), Option(*where))

    def _hindrance(self, option: Option) -> tuple[FindingKind, str] | None:
        """Why nothing may start there; None: something may."""
        host = self._hosts.get(option.host)
        if host is None or not host.listed:
            return FindingKind.BAD_HOST, "that host is not in the fleet"
        well = host.modes.get(option, Mode.UP)  # until a row says otherwise
        busy = host.running.get(option, 0)
        if host.paused:
            return FindingKind.BAD_HOST, "the host is paused"
        if host.mode in (Mode.DOWN, Mode.RESTING):
            return FindingKind.BAD_HOST, f"the host is {host.mode.value}"
        if well in (Mode.DOWN, Mode.RESTING):
            return FindingKind.BAD_HOST, f"that model there is {well.value}"
        if host.mode is Mode.TRIAL and not option.handler and host.asked:
            return FindingKind.BAD_HOST, f"the host is on trial and runs {host.asked}"
        if well is Mode.TRIAL and busy:
            return FindingKind.BAD_HOST, f"that model there is on trial and runs {busy}"
        active, limit = host.card.active, host.card.limit
        if active >= limit:
            return FindingKind.LIMIT_BREAK, f"{active} of {limit} slots were taken"
        return None

    def _least_below(self, waiting: Waiting) -> Waiting | None:
        """The least ready task that has a free option, if it is less than this one."""
        least: tuple[_Key, str] | None = None
        mine = _key(waiting.rank)
        for lane in self._lanes:
            head = self._head(lane)
            if head is None or head[0] >= mine or (least is not None and head[0] >= least[0]):
                continue
            if any(self._hindrance(option) is None for option in self._options_of(lane)):
                least = head
        return None if least is None else self._ready[least[1]]

    def _head(self, lane: Lane) -> tuple[_Key, str] | None:
        heap = self._lanes[lane]
        while heap and not self._is_live(heap[0]):
            heapq.heappop(heap)
        return heap[0] if heap else None

    def _is_live(self, entry: tuple[_Key, str]) -> bool:
        waiting = self._ready.get(entry[1])
        return waiting is not None and _key(waiting.rank) == entry[0]

    def _take(self, start: Event) -> None:
        waiting = self._ready.pop(start.task, start.waiting)
        if start.reason == DAMAGED and waiting is not None:
            self._damaged[start.task] = waiting
        self._free(start.task)
        host = self._hosts.get(start.host)
        option = self._option(start, None if waiting is None else waiting.lane)
        self._runs[start.task] = _Run(start, host, option)
        if host is not None:
            host.count(option, 1)

    # -- tasks -----------------------------------------------------------------------------

    def _may_be_ready(self, event: Event) -> None:
        # Of a task that was started meanwhile: its next place comes when it is reopened.
        if event.held is not None or event.task in self._runs:
            return
        waiting = event.waiting
        if waiting is None or waiting.id != event.task:
            raise BadRow("it does not say where the task stands in the order")
        self._wait(waiting)

    def _wait(self, waiting: Waiting) -> None:
        self._damaged.pop(waiting.id, None)
        self._ready[waiting.id] = waiting
        heap = self._lanes.setdefault(waiting.lane, [])
        heapq.heappush(heap, (_key(waiting.rank), waiting.id))
        if len(heap) > 2 * len(self._ready) + 64:
            heap[:] = {entry for entry in heap if self._is_live(entry)}
            heapq.heapify(heap)

    def _gone(self, event: Event) -> None:
        self._ready.pop(event.task, None)
        self._damaged.pop(event.task, None)

    def _cancelled(self, event: Event) -> None:
        self._gone(event)
        self._end(event)

    def _reopened(self, event: Event) -> None:
        self._end(event)
        self._may_be_ready(event)

    def _end(self, event: Event) -> None:
        """The attempt that this row tells of holds its slot no longer."""
        run = self._runs.get(event.task)
        if run is None:
            return
        missed = event.kind is Kind.MISSED
        if run.position == event.position if missed else _same(run.fence, event.fence):
            self._free(event.task)

    def _free(self, task_id: str) -> None:
        run = self._runs.pop(task_id, None)
        if run is None or run.host is None:
            return
        run.host.count(run.option, -1)
        self._forget_idle(run.host)

    # -- the fleet -------------------------------------------------------------------------

    def _opened(self, _: Event) -> None:
        """A dispatcher begins with an empty fleet. Tasks still run by the rows until rescued."""
        for waiting in list(self._damaged.values()):
            self._wait(waiting)  # it tries those anew
        self._hosts, self._cards, self._routes = {}, {}, {}

    def _configured(self, event: Event) -> None:
        detail = event.detail
        shares = {str(host): str(name) for host, name in _mapping(detail, "semaphores").items()}
        limits = {name: _number(limit) for name, limit in _mapping(detail, "limits").items()}
        routes = {name: _options(route) for name, route in _mapping(detail, "routes").items()}
        for name in set(shares.values()) - set(limits):
            if name not in self._cards:
                raise BadRow(f"no limit for the semaphore {name!r}")
            limits[name] = self._cards[name].limit
        self._cards = {name: _Card(name, limit) for name, limit in limits.items()}
        self._routes = routes
        for name, card in shares.items():
            if name not in self._hosts:
                self._hosts[name] = _Host(name, self._cards[card])
        for host in list(self._hosts.values()):
            host.listed = host.name in shares
            # What a host that was taken away still runs counts where it counted.
            card = shares.get(host.name, host.card.name)
            host.card = self._cards.get(card, host.card)
            host.card.hosts.append(host)
            self._forget_idle(host)

    def _forget_idle(self, host: _Host) -> None:
        """A host that a reload took away is forgotten once it runs nothing."""
        if not host.listed and not host.active and self._hosts.get(host.name) is host:
            del self._hosts[host.name]
            host.card.hosts.remove(host)

    def _resized(self, event: Event) -> None:
        limit = _number(event.detail.get("limit"))
        if event.host in self._cards:
            self._cards[event.host].limit = limit

    def _paused(self, event: Event) -> None:
        if event.host in self._hosts:
            self._hosts[event.host].paused = event.kind is Kind.PAUSED

    def _host_mode(self, event: Event) -> None:
        mode = _mode(event)
        if event.host in self._hosts:
            self._hosts[event.host].mode = mode

    def _option_mode(self, event: Event) -> None:
        mode, handler = _mode(event), str(event.detail.get("type", ""))
        if event.host in self._hosts:
            self._hosts[event.host].modes[Option(event.host, event.model, handler)] = mode


def _same(fence: Fence | None, other: Fence | None) -> bool:
    return fence is not None and fence == other


def _mode(event: Event) -> Mode:
    try:
        return Mode(str(event.detail.get("mode")))
    except ValueError as error:
        raise BadRow(f"{error}: known are {', '.join(Mode)}") from error


def _number(value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadRow(f"{value!r} is no limit: it takes a whole number from 0")
    return value


def _mapping(detail: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    value = detail.get(key)
    if not isinstance(value, Mapping):
        raise BadRow(f"its {key} are {value!r}: they should go by name")
    return value


def _options(route: Json) -> tuple[Option, ...]:
    if not isinstance(route, list | tuple):
        raise BadRow(f"{route!r} is no list of options")
    options: list[Option] = []
    for option in route:
        if not isinstance(option, list | tuple) or len(option) not in (2, 3):
            raise BadRow(f"{option!r} is no host with its model")
        options.append(Option(*map(str, option)))
    return tuple(options)

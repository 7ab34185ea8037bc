"""The dispatcher's state as plain values: what GET /v1/status and GET /v1/hosts say.

Pure functions of what the parts hold; the values' types are shapes.py's. `ygg status` prints from
these very values, and the live page draws them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from ygg.attempt import Attempt
from ygg.autoscaling import Decided, Heard
from ygg.board import Board, HostState, Reason
from ygg.fleet import FileStanding, Fleet, HostSettings
from ygg.health import Mode
from ygg.journal import Event, Kind
from ygg.pins import bounds
from ygg.resizes import Effect
from ygg.shapes import (
    AutoscalerStatus,
    BlockedError,
    CutAnswers,
    DecisionStatus,
    DispatcherStatus,
    HostStatus,
    OptionStatus,
    PauseStatus,
    PinStatus,
    RunningTask,
    SettingsStatus,
    SourceStatus,
    WaitingLane,
    WaitingStatus,
)
from ygg.sources.base import Standing
from ygg.stores.base import HostRow, Overview
from ygg.tasks import PRIORITIES, Held, Lane, Status
from ygg.version import VERSION
from ygg.web import scaling
from ygg.wire import rfc3339, told_time

#: Of so many different errors of blocked tasks the sentences tell, and of so many damaged ones.
_ERRORS_TOLD = 5
#: Issues that can't be read or told, of a source.
_ISSUES = 100


class DownSince:
    """Follows a store, to know since when a host is down."""

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._since: dict[str, float] = {}

    def absorb(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.kind is Kind.OPENED:
                # Health is not kept: every host is down until its first answer.
                self._since.clear()
                self._started_at = event.at
            elif event.kind is Kind.CONFIGURED:
                hosts = event.detail["semaphores"]
                assert isinstance(hosts, Mapping)
                self._since = {h: at for h, at in self._since.items() if h in hosts}
            elif event.kind is Kind.HOST:
                if event.detail.get("mode") == Mode.DOWN:
                    self._since.setdefault(event.host, event.at)
                else:
                    self._since.pop(event.host, None)

    def of(self, host: str) -> float:
        return self._since.get(host, self._started_at)


class Cuts:
    """Follows a store, to know which answers were cut."""

    def __init__(self) -> None:
        self.answers = CutAnswers(count=0, last=None)

    def absorb(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.kind is Kind.CLOSED and event.detail.get("finish") == "length":
                self.answers = CutAnswers(count=self.answers.count + 1, last=event.task)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """All that status looks at, as of one moment."""

    board: Board
    fleet: Fleet
    host_rows: Mapping[str, HostRow]
    attempts: Mapping[str, Attempt]
    down_since: DownSince
    cut: CutAnswers
    #: Of each host, what its last look or failure said. Fresher than the board's, whose rows tell
    #: of changes only: a host that never answered is one that was "not asked yet" there.
    reasons: Mapping[str, str]
    monotonic: float
    #: How many tasks each host's server says it runs at once; None: it doesn't say.
    servers: Mapping[str, int | None] = field(default_factory=dict)
    #: The autoscaler that called last, and what it decided about each host.
    heard: Heard | None = None
    decided: Mapping[str, Decided] = field(default_factory=dict)
    sources: Sequence[Standing] = ()
    #: How it goes with hosts.yaml.
    standing: FileStanding | None = None


def host_statuses(sight: Sight) -> list[HostStatus]:
    """Hosts as hosts.yaml has them, then those that only end what they run."""
    running: dict[str, list[str]] = {}
    for task_id, (option, _) in sight.board.taken.items():
        running.setdefault(option.host.name, []).append(task_id)
    names = [name for name in sight.fleet.hosts if name in sight.board.hosts]
    names += [name for name in sight.board.hosts if name not in sight.fleet.hosts]
    return [_host_status(sight, sight.board.hosts[name], running.get(name, ())) for name in names]


def _host_status(sight: Sight, host: HostState, running: Iterable[str]) -> HostStatus:
    fleet = sight.fleet
    settings = fleet.hosts.get(host.name) or HostSettings(name=host.name, url="")
    semaphore = fleet.hosts.get(settings.semaphore, settings)
    row = sight.host_rows.get(host.name, HostRow())
    least, most = bounds(semaphore.slots, sight.servers.get(settings.semaphore))
    pin = _pin(sight, semaphore)
    down = host.mode is Mode.DOWN
    return HostStatus(
        name=host.name,
        url=settings.url,
        api=settings.api,
        model=settings.model,
        up=host.mode,
        reason="" if host.mode is Mode.UP else sight.reasons.get(host.name) or host.reason,
        down_since=rfc3339(sight.down_since.of(host.name)) if down else None,
        paused=host.paused,
        pause=None if host.paused is None else _pause(host.paused, row),
        limit=host.semaphore.slots.limit,
        min=least,
        max=most,
        pinned=pin is not None,
        pin=pin,
        active=host.active,
        available_slots=host.semaphore.slots.available,
        shares=settings.shares,
        options=[
            OptionStatus(
                model=state.option.model,
                type=state.option.handler or None,
                up=state.mode,
                reason=state.reason,
            )
            for state in host.options.values()
            if state.mode is not Mode.UP
        ],
        tasks=[_running_task(sight, task_id) for task_id in running],
        decision=_decision(sight.decided.get(host.name)),
    )


def _decision(decided: Decided | None) -> DecisionStatus | None:
    if decided is None or decided.verdict.effect is Effect.SHARED:
        return None
    decision = decided.decision
    return DecisionStatus(
        at=rfc3339(decided.at),
        action=decision.action,
        reason=decision.reason,
        limit=decision.limit,
        dry_run=decision.dry_run,
        effect=decided.verdict.effect,
        detail=decided.verdict.detail,
        evidence=decision.evidence,
    )


def autoscaler_status(sight: Sight) -> AutoscalerStatus | None:
    heard = sight.heard
    if heard is None:
        return None
    state: Literal["live", "silent", "left"] = "left"
    if not heard.left:
        state = "live" if heard.lease.holds(sight.monotonic) else "silent"
    return AutoscalerStatus(
        holder=heard.lease.holder,
        state=state,
        heard_at=rfc3339(heard.at),
        quiet_seconds=round(max(0.0, sight.monotonic - heard.monotonic), 3),
    )


def _pin(sight: Sight, host: HostSettings) -> PinStatus | None:
    """That of the host whose slots they are."""
    slots, row = host.slots, sight.host_rows.get(host.name, HostRow())
    if slots.pin is not None:
        by = f"{sight.fleet.file}:{slots.pin_line}"
        return PinStatus(limit=slots.pin, whose="file", by=by, until=None, reason="")
    if row.pin is None:
        return None
    return PinStatus(
        limit=row.pin,
        whose="operator",
        by=row.pin_by,
        until=None if row.pin_until is None else told_time(row.pin_until),
        reason=row.pin_reason,
    )


def _pause(reason: str, row: HostRow) -> PauseStatus:
    until = None if row.paused_until is None else told_time(row.paused_until)
    return PauseStatus(reason=reason, by=row.paused_by, until=until)


def _running_task(sight: Sight, task_id: str) -> RunningTask:
    waiting = sight.board.taken[task_id][1]
    attempt = sight.attempts.get(task_id)
    task = None if attempt is None else attempt.task
    began = None if attempt is None else attempt.began
    return RunningTask(
        id=task_id,
        title="" if task is None else task.title,
        type=waiting.lane.type,
        priority=waiting.rank.priority,
        running_seconds=None if began is None else round(sight.monotonic - began, 3),
        tokens=0 if attempt is None else attempt.completion_tokens,
        source_id=None if task is None else task.source_id,
    )


def waiting_status(
    board: Board, oldest: Mapping[tuple[Lane, int], float] | None, wall: float
) -> WaitingStatus:
    """`oldest` is the store's; None when it can't say."""
    by_priority = dict.fromkeys(map(str, PRIORITIES), 0)
    by_type: Counter[str] = Counter()
    lanes = []
    for (lane, priority), count in board.backlog.waiting.items():
        by_priority[str(priority)] += count
        by_type[lane.type] += count
        if count:
            # What came or went since the store was asked has no oldest yet.
            since = (oldest or {}).get((lane, priority))
            lanes.append(
                WaitingLane(
                    type=lane.type,
                    model=lane.model,
                    priority=priority,
                    count=count,
                    oldest_wait_seconds=None if since is None else _waited(since, wall),
                )
            )
    return WaitingStatus(
        total=by_type.total(),
        by_priority=by_priority,
        by_type=dict(sorted(by_type.items())),
        oldest_wait_seconds=_waited(min(oldest.values()), wall) if oldest else None,
        lanes=sorted(lanes, key=lambda lane: (lane.priority, lane.type, lane.model)),
    )


def _waited(since: float, wall: float) -> float:
    return round(max(0.0, wall - since), 3)


def dispatcher_status(
    sight: Sight,
    *,
    pid: int,
    mode: Literal["async", "threads"] = "async",
    started_at: float,
    store_trouble: str | None,
    count_trouble: str | None,
    overview: Overview | None,
    oldest: Mapping[tuple[Lane, int], float] | None,
    wall: float,
) -> DispatcherStatus:
    """`overview` and `oldest` None: the store could not say, for `count_trouble`."""
    hosts, autoscaler = host_statuses(sight), autoscaler_status(sight)
    blocked: Sequence[BlockedError] = ()
    counts: dict[str, int] = {}
    held: dict[str, int] = {}
    if overview is not None:
        blocked = [BlockedError(error=e, count=n) for e, n in overview.blocked.items()]
        counts = {status.value: overview.by_status.get(status, 0) for status in Status}
        held = {why.value: overview.held[why] for why in Held if overview.held.get(why)}
    return DispatcherStatus(
        version=VERSION,
        mode=mode,
        pid=pid,
        started_at=rfc3339(started_at),
        draining=sight.board.stopped is Reason.DRAINING,
        store_trouble=store_trouble,
        count_trouble=count_trouble,
        hosts=hosts,
        waiting=waiting_status(sight.board, oldest, wall),
        cut=sight.cut,
        counts=counts,
        held=held,
        blocked=blocked,
        needs_person=[
            *_sentences(sight.board, hosts, blocked, store_trouble, autoscaler),
            *(f"{s.name} can't be asked: {s.trouble}" for s in sight.sources if s.trouble),
            *_without_source(held, sight.sources),
            *_of_settings(sight.standing),
        ],
        autoscaler=autoscaler,
        sources=[_source(source, overview) for source in sight.sources],
        settings=None if sight.standing is None else _settings(sight.fleet.file, sight.standing),
    )


def _without_source(held: Mapping[str, int], sources: Sequence[Standing]) -> Iterator[str]:
    count = held.get(Held.FOR_SOURCE.value, 0)
    if count and not sources:
        yield (
            f"{_tasks(count)} of a tracker that this dispatcher does not feed from: start it "
            "with its project, or cancel them"
        )


def _settings(file: str, standing: FileStanding) -> SettingsStatus:
    return SettingsStatus(
        file=file,
        taken_at=rfc3339(standing.taken_at),
        problems=standing.problems,
        needs_restart=standing.needs_restart,
    )


def _of_settings(standing: FileStanding | None) -> Iterator[str]:
    if standing is None:
        return
    for problem in standing.problems[:_ERRORS_TOLD]:
        yield f"not taken over, it runs with the settings of before: {problem}"
    if len(standing.problems) > _ERRORS_TOLD:
        yield f"{len(standing.problems) - _ERRORS_TOLD} more mistakes there: `ygg check`"
    for change in standing.needs_restart:
        yield f"takes a restart: {change}"


def _source(source: Standing, overview: Overview | None) -> SourceStatus:
    return SourceStatus(
        name=source.name,
        where=source.where,
        actor=source.actor,
        trouble=source.trouble,
        looked_at=None if source.looked_at is None else rfc3339(source.looked_at),
        untold=None if overview is None else overview.untold.get(source.name, 0),
        unclaimed=dict(source.unclaimed),
        unreadable=dict(islice(source.unreadable.items(), _ISSUES)),
        refused=dict(islice(source.refused.items(), _ISSUES)),
    )


def _sentences(
    board: Board,
    hosts: Sequence[HostStatus],
    blocked: Sequence[BlockedError],
    store_trouble: str | None,
    autoscaler: AutoscalerStatus | None,
) -> Iterator[str]:
    if store_trouble is not None:
        yield f"nothing can be accepted or started: {store_trouble}"
    yield from scaling.sentences(autoscaler, hosts)
    for host in hosts:
        if host.up is Mode.DOWN:
            yield f"{host.name} is down since {host.down_since}: {host.reason}"
        for option in host.options:
            if option.up is Mode.DOWN:
                what = option.model or "the default model"
                if option.type is not None:
                    what = f"the handler of type {option.type}"
                yield f"{host.name} gets no tasks for {what}: {option.reason}"
    for task_id, why in islice(board.damaged.items(), _ERRORS_TOLD):
        yield f"task {task_id} can't start: {why}"
    if len(board.damaged) > _ERRORS_TOLD:
        more = len(board.damaged) - _ERRORS_TOLD
        yield f"{_tasks(more)} more can't start, of damaged rows too: `ygg check-journal`"
    stranded: Counter[Lane] = Counter()
    for (lane, _), count in board.backlog.waiting.items():
        if not board.options_of(lane):
            stranded[lane] += count
    for lane, count in stranded.items():
        model = f" with the model {lane.model}" if lane.model else ""
        wait, them = ("waits", "it") if count == 1 else ("wait", "them")
        yield f"{_tasks(count)} of type {lane.type}{model} {wait}: no host serves {them} (no_host)"
    for row in blocked[:_ERRORS_TOLD]:
        yield f"{_tasks(row.count)} blocked: {row.error or 'no error is known'}"
    if len(blocked) > _ERRORS_TOLD:
        more = sum(row.count for row in blocked[_ERRORS_TOLD:])
        yield f"{_tasks(more)} blocked with other errors: `ygg list --status blocked`"


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"

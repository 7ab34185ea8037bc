"""The dispatcher at a glance: hosts and what runs there, what waits, what is blocked. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ygg.cli.story import age
from ygg.health import Mode
from ygg.printing import PRIORITY_NAMES, Cell, Paper, Tone, Toned, counted, priority_name, seconds
from ygg.resizes import DecisionReason, Effect
from ygg.shapes import (
    AutoscalerStatus,
    BlockedError,
    DecisionStatus,
    DispatcherStatus,
    HostStatus,
    RunningTask,
    SourceStatus,
    WaitingLane,
)

_INDENT: Final = "  "
#: Decisions of an autoscaler that does not see.
_BLIND: Final = (DecisionReason.GPU_STALE, DecisionReason.QUEUE_STALE)
#: Of so many different errors there is a line each.
_ERRORS: Final = 12
#: Below so many columns headings are short.
_NARROW: Final = 64
_LEGACY: Final = (
    "it is the legacy dispatcher, kept to compare: three threads, first come, first served, "
    "no priorities; the real one is `ygg loop --async`"
)
_HELD: Final[Mapping[str, str]] = {
    "held": "held by hand",
    "not_before": "before their time",
    "waiting_for_source": "not yet confirmed by their tracker",
}
_MODE_TONES: Final[Mapping[Mode, Tone]] = {
    Mode.UP: Tone.GOOD,
    Mode.TRIAL: Tone.WARNING,
    Mode.RESTING: Tone.WARNING,
    Mode.DOWN: Tone.BAD,
}


def status_lines(status: DispatcherStatus, *, url: str, now: float, paper: Paper) -> list[str]:
    """The whole, the most telling first."""
    lines = paper.wrap(
        f"ygg {status.version} at {url}, process {status.pid}, "
        f"for {age(status.started_at, now)}", _INDENT, Tone.FAINT,
    )  # fmt: skip
    if status.mode == "threads":
        lines += paper.wrap(_LEGACY, _INDENT, Tone.WARNING)
    if status.draining:
        lines += paper.wrap("it is draining: nothing new starts", _INDENT, Tone.WARNING)
    if status.store_trouble is not None:
        text = f"the store is in trouble: {status.store_trouble}"
        lines += paper.wrap(text, _INDENT, Tone.BAD)
    if status.count_trouble is not None:
        text = f"not all could be counted: {status.count_trouble}"
        lines += paper.wrap(text, _INDENT, Tone.WARNING)
    if status.autoscaler is not None:
        text, tone = _autoscaler(status.autoscaler)
        lines += paper.wrap(text, _INDENT, tone)
    for source in status.sources:
        text, tone = _source(source, now)
        lines += paper.wrap(text, _INDENT, tone)
    for part in (
        _hosts(status.hosts, now, paper),
        _waiting(status, paper),
        _blocked(status, paper),
        _for_a_person(status, paper),
    ):
        if part:
            lines += ["", *part]
    return lines


def _autoscaler(autoscaler: AutoscalerStatus) -> tuple[str, Tone]:
    who, quiet = f"the autoscaler {autoscaler.holder}", seconds(autoscaler.quiet_seconds)
    match autoscaler.state:
        case "live":
            return f"{who} was heard {quiet} ago", Tone.FAINT
        case "left":
            return f"{who} left {quiet} ago: limits stay where they are", Tone.FAINT
    return f"{who} is silent for {quiet}: limits stay where they are", Tone.WARNING


def _source(source: SourceStatus, now: float) -> tuple[str, Tone]:
    said = f"{source.name} in {source.where}, as {source.actor}"
    if source.untold:
        said += f"; {counted(source.untold, 'end')} still to be told"
        if source.refused:
            one, why = next(iter(source.refused.items()))
            said += f" ({one}: {why})"
    if source.trouble is not None:
        return f"{said}; it can't be asked: {source.trouble}", Tone.BAD
    if source.looked_at is None:
        return f"{said}; not looked at yet", Tone.FAINT
    said += f"; looked at {age(source.looked_at, now)} ago"
    if source.unclaimed:
        one, why = next(iter(source.unclaimed.items()))
        more = len(source.unclaimed) - 1
        said += f"; {one}{f' and {more} more' if more else ''} not claimed: {why}"
    if source.unreadable:
        one, why = next(iter(source.unreadable.items()))
        more = len(source.unreadable) - 1
        one = one or "an issue without an id"
        said += f"; {one}{f' and {more} more' if more else ''} can't be read: {why}"
    ill = source.unclaimed or source.unreadable or (source.untold and source.refused)
    return said, Tone.WARNING if ill else Tone.FAINT


# -- hosts ---------------------------------------------------------------------------------------


def _hosts(hosts: Sequence[HostStatus], now: float, paper: Paper) -> list[str]:
    narrow = 0 < paper.width < _NARROW
    headings = ["HOST", "STATE", "ACTIVE", "FREE" if narrow else "AVAILABLE_SLOTS", "LIMIT"]
    rows: list[list[Cell]] = [
        [host.name, _state(host), host.active, host.available_slots, _limit(host)] for host in hosts
    ]
    heading, *lines = paper.table(headings, rows, drop=["LIMIT"])
    running = iter(_running([task for host in hosts for task in host.tasks], paper))
    shown = [heading]
    for host, line in zip(hosts, lines, strict=True):
        shown.append(line)
        for text, tone in _remarks(host, now):
            shown += paper.wrap(f"{_INDENT}{text}", _INDENT * 2, tone)
        shown += [next(running) for _ in host.tasks]
    return shown


def _state(host: HostStatus) -> Toned:
    if host.paused is not None:
        return Toned("paused" if host.up is Mode.UP else f"paused, {host.up}", Tone.WARNING)
    return Toned(str(host.up), _MODE_TONES[host.up])


def _limit(host: HostStatus) -> str:
    if host.shares:
        return f"{host.limit}, shared with {host.shares}"
    pinned = ", pinned" if host.pinned else ""
    return f"{host.limit} of {host.min}..{host.max}{pinned}"


def _remarks(host: HostStatus, now: float) -> Iterator[tuple[str, Tone]]:
    """What there is to say of a host beside its figures."""
    if host.up is Mode.DOWN:
        since = "" if host.down_since is None else f" for {age(host.down_since, now)}"
        yield f"down{since}: {host.reason}", Tone.BAD
    elif host.up is not Mode.UP and host.reason:
        yield f"{host.up}: {host.reason}", Tone.WARNING
    if host.pause is not None:
        until = f" until {host.pause.until}" if host.pause.until else ""
        yield f"paused{_by(host.pause.by)}{until}: {host.pause.reason}", Tone.WARNING
    elif host.paused is not None:
        yield f"paused: {host.paused}", Tone.WARNING
    if host.pin is not None and host.pin.whose == "operator":
        until = f" until {host.pin.until}" if host.pin.until else ""
        why = f": {host.pin.reason}" if host.pin.reason else ""
        yield f"pinned at {host.pin.limit}{_by(host.pin.by)}{until}{why}", Tone.FAINT
    elif host.pin is not None:
        yield f"pinned at {host.pin.limit} by {host.pin.by}", Tone.FAINT
    if host.decision is not None:
        yield _decision(host.decision)
    for option in host.options:
        text = f"{option.model or 'the default model'} is {option.up}: {option.reason}"
        yield text, _MODE_TONES[option.up]


def _decision(decision: DecisionStatus) -> tuple[str, Tone]:
    """The limit that the autoscaler wants, why, and what became of it."""
    step, tone, detail = f"{decision.action} to {decision.limit}", Tone.FAINT, ""
    match decision.effect:
        case Effect.UNCHANGED:
            step = f"keep {decision.limit}"
            if decision.reason in _BLIND:
                tone = Tone.WARNING
        case Effect.RESIZED:
            pass
        case Effect.DRY_RUN:
            step = f"would {step}"
        case _:
            step, tone, detail = f"wants to {step}", Tone.WARNING, f": {decision.detail}"
    reason = decision.reason.replace("_", " ")
    dry = ", dry run" if decision.dry_run else ""
    return f"autoscaler: {step} ({reason}{dry}){detail}", tone


def _by(who: str) -> str:
    return f" by {who}" if who else ""


def _running(tasks: Sequence[RunningTask], paper: Paper) -> list[str]:
    """A line for each task, all of them lined up."""
    issue = ["issue"] if any(task.source_id for task in tasks) else []
    rows: list[list[Cell]] = [
        [
            "", task.id, *(task.source_id or "-" for _ in issue), priority_name(task.priority),
            "starting" if task.running_seconds is None else seconds(task.running_seconds),
            f"{task.tokens} tokens" if task.tokens else "",
            task.title,
        ]
        for task in tasks
    ]  # fmt: skip
    names = ["", "id", *issue, "priority", "time", "tokens", "title"]
    _, *lines = paper.table(names, rows, drop=["tokens", "priority", "title", *issue])
    return lines


# -- tasks ---------------------------------------------------------------------------------------


def _waiting(status: DispatcherStatus, paper: Paper) -> list[str]:
    waiting = status.waiting
    lines = []
    if waiting.lanes:
        lines += _lanes(waiting.lanes, paper)
    else:
        lines.append(
            "nothing waits for a slot" if not waiting.total else f"waiting: {waiting.total}"
        )
    held = [f"{count} {_HELD.get(why, why)}" for why, count in status.held.items()]
    if held:
        lines += paper.wrap(f"held back: {', '.join(held)}", _INDENT)
    if status.counts:
        counts = ", ".join(f"{count} {name}" for name, count in status.counts.items())
        lines += paper.wrap(f"tasks: {counts}", _INDENT)
    if status.cut.count:
        text = f"since the start {counted(status.cut.count, 'answer')} cut at a token limit, "
        text += f"the last one that of {status.cut.last}"
        lines += paper.wrap(text, _INDENT, Tone.WARNING)
    return lines


def _lanes(lanes: Sequence[WaitingLane], paper: Paper) -> list[str]:
    """A row for each type that waits, a column for each priority that does."""
    priorities = sorted({lane.priority for lane in lanes})
    names = dict.fromkeys(_lane_name(lane) for lane in lanes)
    narrow = 0 < paper.width < _NARROW
    headings = ["WAITING"]
    headings += [str(p) if narrow else PRIORITY_NAMES[p].upper() for p in priorities]
    rows = [
        [name, *_counts([lane for lane in lanes if _lane_name(lane) == name], priorities)]
        for name in names
    ]
    if len(rows) > 1:
        rows.append(["all", *_counts(lanes, priorities)])
    return paper.table([*headings, "OLDEST"], rows)


def _lane_name(lane: WaitingLane) -> str:
    return f"{lane.type}, {lane.model}" if lane.model else lane.type


def _counts(lanes: Sequence[WaitingLane], priorities: Sequence[int]) -> list[Cell]:
    """How many of each priority, and how long the oldest of them waits."""
    waits = [lane.oldest_wait_seconds for lane in lanes if lane.oldest_wait_seconds is not None]
    counts = [sum(lane.count for lane in lanes if lane.priority == p) for p in priorities]
    return [*counts, seconds(max(waits, default=None))]


def _blocked(status: DispatcherStatus, paper: Paper) -> list[str]:
    if not status.blocked:
        return []
    shown, more = status.blocked[:_ERRORS], status.blocked[_ERRORS:]
    rows: list[list[Cell]] = [[row.count, Toned(_error(row), Tone.BAD)] for row in shown]
    if more:
        rows.append([sum(row.count for row in more), f"... with {len(more)} other errors"])
    way_out = "once mended: `ygg retry --error TEXT`, or one by one: `ygg list --status blocked`"
    return [*paper.table(["BLOCKED", "ERROR"], rows), *paper.wrap(way_out, _INDENT)]


def _error(row: BlockedError) -> str:
    return row.error or "no error is known"


def _for_a_person(status: DispatcherStatus, paper: Paper) -> list[str]:
    # What is blocked stands above, with its count.
    told = {f"{counted(row.count, 'task')} blocked: {_error(row)}" for row in status.blocked}
    sentences = [sentence for sentence in status.needs_person if sentence not in told]
    if not sentences:
        return []
    lines = paper.wrap("needs a person:", "", Tone.STRONG)
    for sentence in sentences:
        lines += paper.wrap(f"{_INDENT}{sentence}", _INDENT * 2)
    return lines

"""What another hosts.yaml would change of the fleet as it runs, in words. Pure.

`ygg check` says it before it happens, a reload when it does. Carrying a change out is left to the
dispatcher; whether a host answers is left to `ygg doctor`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Final, NamedTuple

from ygg.fleet import (
    BeadsSettings,
    DispatcherSettings,
    Fleet,
    GpuSettings,
    HostSettings,
    Option,
    Retention,
    SlotSettings,
    TypeSettings,
)
from ygg.printing import clean, shorten
from ygg.tasks import Lane

#: Of `dispatcher:`, what is taken up once and for all when the process starts, and the flag of
#: `ygg loop` that goes before the file.
AT_START: Final[Mapping[str, str]] = {
    "listen": "--listen", "names": "", "token": "", "token_from": "", "store": "--store",
    "state": "--state", "artifacts": "",
}  # fmt: skip
#: The same of `beads:`.
BEADS_AT_START: Final[Mapping[str, str]] = {
    "path": "--beads", "actor": "", "command": "", "poll_seconds": "", "timeout": "",
}  # fmt: skip
#: The same of `autoscaler:`, for its own process.
AUTOSCALER_AT_START: Final[Mapping[str, str]] = {"listen": "--listen"}
#: Values that a message does not show: they name secrets, or hold them.
_UNSHOWN: Final = frozenset({"key"})
#: Durations, in seconds.
_SECONDS: Final = frozenset({"first_token", "stall", "timeout", "drain_seconds", "poll_seconds"})
#: Characters of one value that a sentence shows.
_SHOWN_MAX: Final = 60


class Change(NamedTuple):
    text: str
    #: A reload leaves it as it is.
    needs_restart: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What the dispatcher has in hand, as far as it is known."""

    #: Ready tasks by lane.
    waiting: Mapping[Lane, int] = field(default_factory=dict)
    #: Tasks that run, by host.
    running: Mapping[str, int] = field(default_factory=dict)


NOTHING: Final = Work()


def changes(old: Fleet, new: Fleet, work: Work = NOTHING) -> list[str]:
    """Every difference as a sentence; empty if `new` is as `old`, wherever its lines stand."""
    return [change.text for change in compare(old, new, work)]


def compare(old: Fleet, new: Fleet, work: Work = NOTHING) -> list[Change]:
    """The same, each with whether only a restart can do it."""
    texts = (
        *_hosts(old, new, work),
        *_types(old, new),
        *_stranded(old, new, work),
    )
    return [
        *(Change(clean(text)) for text in texts),
        *_autoscaler(old, new),
        *_dispatcher(old.dispatcher, new.dispatcher),
        *_beads(old.beads, new.beads),
    ]


def taken_over(running: Fleet, new: Fleet) -> Fleet:
    """What a reload makes of `new`: what only a restart can change stays as it runs."""
    dispatcher, beads = running.dispatcher, running.beads
    kept = {name: getattr(dispatcher, name) for name in AT_START}
    kept_beads = {name: getattr(beads, name) for name in BEADS_AT_START}
    return replace(
        new,
        dispatcher=replace(new.dispatcher, **kept),
        beads=replace(new.beads, **kept_beads),
    )


# -- hosts -----------------------------------------------------------------------------------------


def _hosts(old: Fleet, new: Fleet, work: Work) -> Iterator[str]:
    for name, host in new.hosts.items():
        if name not in old.hosts:
            yield f"host {name} is added: {host.url}, {_slots_text(host)}"
    for name in old.hosts:
        if name not in new.hosts:
            count = work.running.get(name, 0)
            what = f"; {tasks(count)} there may end first" if count else ""
            yield f"host {name} goes: nothing starts there any more{what}"
    for name, host in new.hosts.items():
        if name in old.hosts:
            for what in _host(old.hosts[name], host):
                yield f"host {name}: {what}"


def _slots_text(host: HostSettings) -> str:
    if host.shares is not None:
        return f"sharing the slots of {host.shares}"
    slots = host.slots
    if slots.pin is not None:
        return f"pinned at {slots.pin}"
    return f"{_count(slots.start)} ({slots.min} to {_most(slots)})"


def _count(slots: int) -> str:
    return "1 slot" if slots == 1 else f"{slots} slots"


def _most(slots: SlotSettings) -> str:
    return "what its server runs at once" if slots.max is None else str(slots.max)


def _host(old: HostSettings, new: HostSettings) -> Iterator[str]:
    for name in ("url", "api", "model", "key", "keep_alive", "dry_run"):
        yield from _field(name, getattr(old, name), getattr(new, name))
    if old.shares != new.shares:
        if new.shares is None:
            yield f"has {_slots_text(new)} of its own, no longer those of {old.shares}"
        else:
            yield f"uses the slots of {new.shares}"
    elif new.shares is None:
        yield from _slots(old.slots, new.slots)
    for one in fields(GpuSettings):
        yield from _field(f"gpu {one.name}", getattr(old.gpu, one.name), getattr(new.gpu, one.name))


def _slots(old: SlotSettings, new: SlotSettings) -> Iterator[str]:
    if old.pin != new.pin:
        if new.pin is None:
            yield f"no longer pinned at {old.pin}: the autoscaler may change its limit"
        else:
            was = "" if old.pin is None else f", until now at {old.pin}"
            yield f"pinned at {new.pin}{was}: the autoscaler leaves it alone"
    if old.start != new.start:
        now = "" if new.pin is not None else f": its limit is {new.start} at once"
        yield f"slots start {old.start} -> {new.start}{now}"
    if old.min != new.min:
        yield f"slots min {old.min} -> {new.min}"
    if old.max != new.max:
        yield f"slots max {_most(old)} -> {_most(new)}"


# -- types -----------------------------------------------------------------------------------------


def _types(old: Fleet, new: Fleet) -> Iterator[str]:
    for name, type_ in new.types.items():
        if name not in old.types:
            yield f"type {name} is new: it runs on {_route(type_.run)}"
    for name in old.types:
        if name not in new.types:
            yield f"type {name} goes: new tasks that ask for it are refused"
    for name, type_ in new.types.items():
        if name in old.types:
            for what in _type(old.types[name], type_):
                yield f"type {name}: {what}"
    both = [name for name in new.types if name in old.types]
    if both != [name for name in old.types if name in new.types]:
        yield f"types are looked for in a title in another order: {', '.join(new.types)}"


def _type(old: TypeSettings, new: TypeSettings) -> Iterator[str]:
    if old.run != new.run:
        yield f"runs on {_route(new.run)}, until now on {_route(old.run)}"
    for one in fields(TypeSettings):
        if one.name not in ("name", "line", "run"):
            none = "as beads says" if one.name == "done" else "none"
            yield from _field(one.name, getattr(old, one.name), getattr(new, one.name), none=none)


def _route(run: Sequence[Option]) -> str:
    return " > ".join(map(str, run)) or "no host"


def _stranded(old: Fleet, new: Fleet, work: Work) -> Iterator[str]:
    for lane, count in sorted(work.waiting.items()):
        model = f" with the model {lane.model}" if lane.model else ""
        before, after = (_serves(fleet, lane) for fleet in (old, new))
        wait, get, them = ("waits", "gets", "it") if count == 1 else ("wait", "get", "them")
        if count and before and not after:
            yield (
                f"{tasks(count)} of type {lane.type}{model} that {wait} would be stranded: "
                f"no host is left for {them} (no_host) until one returns"
            )
        elif count and after and not before:
            yield f"{tasks(count)} of type {lane.type}{model} that {wait} for a host {get} one"


def _serves(fleet: Fleet, lane: Lane) -> bool:
    type_ = fleet.types.get(lane.type)
    return type_ is not None and any(lane.model in ("", o.model) for o in type_.run)


# -- the rest --------------------------------------------------------------------------------------


def _dispatcher(old: DispatcherSettings, new: DispatcherSettings) -> Iterator[Change]:
    for one in fields(DispatcherSettings):
        if one.name == "retention":
            yield from (Change(f"dispatcher: {text}") for text in _retention(old, new))
            continue
        before, after = (getattr(d, one.name) for d in (old, new))
        yield from _started_with("dispatcher", one.name, before, after, AT_START)


def _beads(old: BeadsSettings, new: BeadsSettings) -> Iterator[Change]:
    for one in fields(BeadsSettings):
        before, after = (getattr(b, one.name) for b in (old, new))
        none = "none" if one.name == "labels" else "its default"
        yield from _started_with("beads", one.name, before, after, BEADS_AT_START, none=none)


def _started_with(
    section: str,
    name: str,
    before: object,
    after: object,
    at_start: Mapping[str, str],
    *,
    none: str = "none",
) -> Iterator[Change]:
    """What became of one value of a section, some of which count at the start only."""
    if before == after:
        return
    texts = list(_field(name, _joined(before), _joined(after), none=none))
    for text in texts or [f"{name} changes"]:
        if name in at_start:
            flag = at_start[name]
            unless = f", unless {flag} says otherwise" if flag else ""
            what = clean(f"{section}: {text} (only at a restart{unless})")
            yield Change(what, needs_restart=True)
        else:
            yield Change(clean(f"{section}: {text}"))


def _joined(value: object) -> object:
    """Addresses and names as a person lists them."""
    return (", ".join(value) or None) if isinstance(value, tuple) else value


def _retention(old: DispatcherSettings, new: DispatcherSettings) -> Iterator[str]:
    for one in fields(Retention):
        before, after = (getattr(d.retention, one.name) for d in (old, new))
        for text in _field(one.name, before, after, none="forever", is_span=True):
            yield f"retention of {text}"


def _autoscaler(old: Fleet, new: Fleet) -> Iterator[Change]:
    for name in sorted({*old.autoscaler, *new.autoscaler}):
        before, after = old.autoscaler.get(name), new.autoscaler.get(name)
        yield from _started_with(
            "autoscaler", name, before, after, AUTOSCALER_AT_START, none="its default"
        )


def _field(
    name: str, before: object, after: object, *, none: str = "none", is_span: bool = False
) -> Iterator[str]:
    """What became of one value; nothing if it is the same."""
    if before == after:
        return
    if name in _UNSHOWN:
        if before and after:
            yield f"another {name}"
        else:
            yield f"a {name} is given" if after else f"no {name} any more"
        return
    unit = " s" if is_span or name in _SECONDS else ""
    was, now = (none if value is None else _shown(value, unit) for value in (before, after))
    yield f"{name} {was} -> {now}" if was != now else f"{name} changes"


def _shown(value: object, unit: str) -> str:
    if isinstance(value, (bool, tuple, Mapping)):
        plain = list(value) if isinstance(value, tuple) else value
        return shorten(json.dumps(plain, ensure_ascii=False), _SHOWN_MAX)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return shorten(f"{value}{unit}", _SHOWN_MAX)


def tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"

"""The fleet as JSON and back: what a dispatcher tells of its settings, and `ygg check` reads.

What might be a secret stays at home: only fields that stand here are told, and a test holds them
against the settings. A reader leaves out what it does not know, so that it reads a newer
dispatcher too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from ygg.fleet import (
    BeadsSettings,
    DispatcherSettings,
    Done,
    Fleet,
    HostSettings,
    Option,
    Retention,
    TypeSettings,
)
from ygg.tasks import Lane

#: Of `dispatcher:`, what is not told. Nothing is, so far: `token_from` says where, not what.
UNTOLD: Final[tuple[str, ...]] = ()
_FOLDERS: Final = ("state", "artifacts")


class NotAFleet(Exception):
    """What came is not what a dispatcher tells of its fleet."""


class TypeView(msgspec.Struct, frozen=True, kw_only=True):
    """A type of task, as in hosts.yaml; `run` is pairs of host and model."""

    name: str
    run: tuple[tuple[str, str], ...] = ()
    labels: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    system: str | None = None
    options: Mapping[str, Any] = {}
    first_token: float = 600.0
    stall: float = 120.0
    timeout: float = 3600.0
    command: tuple[str, ...] | None = None
    cwd: str | None = None
    environment: tuple[str, ...] = ()
    python: str | None = None
    repeat: bool = True
    done: Done | None = None


class DispatcherView(msgspec.Struct, frozen=True, kw_only=True):
    """`dispatcher:` of hosts.yaml, durations in seconds. Null: the default, or for ever."""

    listen: tuple[str, ...]
    names: tuple[str, ...] = ()
    token: Literal["remote", "always"] = "remote"  # noqa: S105 - a word of ours
    token_from: str | None = None
    store: str | None = None
    state: str | None = None
    drain_seconds: float = 60.0
    after_drain: Literal["block", "reopen"] = "block"
    poll_seconds: float = 2.0
    max_strikes: int = 3
    artifacts: str | None = None
    retention: Retention = Retention()


class BeadsView(msgspec.Struct, frozen=True, kw_only=True):
    """`beads:` of hosts.yaml, durations in seconds. Null: the default."""

    path: str | None = None
    actor: str | None = None
    labels: tuple[str, ...] = ()
    take: Literal["labelled", "all"] = "labelled"
    done: Done = "close"
    poll_seconds: float | None = None
    command: str = "bd"
    timeout: float = 60.0


class LaneCount(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that wait for nothing but a slot; an empty model means any of the type's route."""

    type: str
    model: str
    count: int


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that the dispatcher runs with, and what waits under them."""

    #: hosts.yaml, as it was named at the start.
    file: str
    hosts: Mapping[str, HostSettings]
    #: In the order in which they are looked for.
    types: tuple[TypeView, ...]
    dispatcher: DispatcherView
    beads: BeadsView = BeadsView()
    autoscaler: Mapping[str, Any] = {}
    waiting: tuple[LaneCount, ...] = ()


class Told(NamedTuple):
    """What a dispatcher runs with, and what waits there."""

    fleet: Fleet
    waiting: Mapping[Lane, int]


def config_of(fleet: Fleet, waiting: Mapping[Lane, int]) -> Config:
    """What GET /v1/config says."""
    settings = {name: getattr(fleet.dispatcher, name) for name in DispatcherView.__struct_fields__}
    beads = {name: getattr(fleet.beads, name) for name in BeadsView.__struct_fields__}
    beads["path"] = None if fleet.beads.path is None else str(fleet.beads.path)
    for name in _FOLDERS:
        settings[name] = None if settings[name] is None else str(settings[name])
    return Config(
        file=fleet.file,
        hosts=fleet.hosts,
        types=tuple(_view(type_) for type_ in fleet.types.values()),
        dispatcher=DispatcherView(**settings),
        beads=BeadsView(**beads),
        autoscaler=fleet.autoscaler,
        waiting=tuple(
            LaneCount(type=lane.type, model=lane.model, count=count)
            for lane, count in sorted(waiting.items())
            if count
        ),
    )


def _view(type_: TypeSettings) -> TypeView:
    told = {name: getattr(type_, name) for name in TypeView.__struct_fields__}
    told["run"] = tuple((option.host, option.model) for option in type_.run)
    return TypeView(**told)


def read_config(body: bytes | str) -> Told:
    """The inverse, as far as it was told. Raises NotAFleet."""
    try:
        told = msgspec.json.decode(body, type=Config)
    except (ValueError, RecursionError) as error:
        raise NotAFleet(f"not what a dispatcher tells of its fleet: {error}") from error
    settings = {name: getattr(told.dispatcher, name) for name in told.dispatcher.__struct_fields__}
    for name in _FOLDERS:
        settings[name] = None if settings[name] is None else Path(settings[name])
    beads = {name: getattr(told.beads, name) for name in told.beads.__struct_fields__}
    beads["path"] = None if told.beads.path is None else Path(told.beads.path)
    fleet = Fleet(
        file=told.file,
        hosts=told.hosts,
        types={one.name: _type(one) for one in told.types},
        dispatcher=DispatcherSettings(**settings),
        beads=BeadsSettings(**beads),
        autoscaler=told.autoscaler,
    )
    return Told(fleet, {Lane(one.type, one.model): one.count for one in told.waiting})


def _type(told: TypeView) -> TypeSettings:
    given = {name: getattr(told, name) for name in told.__struct_fields__}
    given["run"] = tuple(Option(*option) for option in told.run)
    return TypeSettings(**given)


def untold(fleet: Fleet, other: Fleet) -> Fleet:
    """`fleet`, with what is never told taken from `other`: nobody can say whether it differs."""
    taken = {one.name: getattr(other.dispatcher, one.name) for one in fields(other.dispatcher)
             if one.name in UNTOLD}  # fmt: skip
    return replace(fleet, dispatcher=replace(fleet.dispatcher, **taken))

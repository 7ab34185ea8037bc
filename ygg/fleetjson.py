"""The fleet as JSON and back: what a dispatcher tells of its settings, and `ygg check` reads.

What might be a secret stays at home: fields are told by name, and a test holds the list against
the settings. A reader leaves out what it does not know, so that it reads a newer dispatcher too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ygg.fleet import DispatcherSettings, Fleet, HostSettings, Option, TypeSettings
from ygg.tasks import Json, Lane

#: Of `dispatcher:`, what is told ...
TOLD: Final = (
    "listen", "names", "token", "token_from", "store", "state", "drain_seconds", "after_drain", "poll_seconds",
    "max_strikes", "artifacts", "retention",
)  # fmt: skip
#: ... and what is not. A store's address may hold a password once there are others than files.
UNTOLD: Final[tuple[str, ...]] = ()


class NotAFleet(Exception):
    """What came is not what a dispatcher tells of its fleet."""


class Told(NamedTuple):
    """What a dispatcher runs with, and what waits there."""

    fleet: Fleet
    waiting: Mapping[Lane, int]


class _Type(msgspec.Struct, kw_only=True):
    """TypeSettings as they are sent; msgspec can't read a type that holds itself, as Json does."""

    name: str
    run: tuple[tuple[str, str], ...] = ()
    labels: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    system: str | None = None
    options: dict[str, object] = {}
    first_token: float = 600.0
    stall: float = 120.0
    timeout: float = 3600.0
    command: tuple[str, ...] | None = None
    cwd: str | None = None
    environment: tuple[str, ...] = ()
    python: str | None = None
    repeat: bool = True


class _Lane(msgspec.Struct):
    type: str
    model: str
    count: int


class _Fleet(msgspec.Struct, kw_only=True):
    file: str
    hosts: dict[str, HostSettings]
    #: A list: their order counts.
    types: list[_Type]
    dispatcher: DispatcherSettings
    autoscaler: dict[str, object] = {}
    waiting: list[_Lane] = []


def fleet_json(fleet: Fleet, waiting: Mapping[Lane, int]) -> Mapping[str, Json]:
    """What GET /v1/config says."""
    told: dict[str, Json] = msgspec.to_builtins(
        {
            "file": fleet.file,
            "hosts": fleet.hosts,
            "types": list(fleet.types.values()),
            "dispatcher": {name: getattr(fleet.dispatcher, name) for name in TOLD},
            "autoscaler": fleet.autoscaler,
            "waiting": [
                {"type": lane.type, "model": lane.model, "count": count}
                for lane, count in sorted(waiting.items())
                if count
            ],
        },
        enc_hook=_path,
    )
    return told


def read_fleet_json(body: bytes | str) -> Told:
    """The inverse, as far as it was told. Raises NotAFleet."""
    try:
        told = msgspec.json.decode(body, type=_Fleet, dec_hook=_read)
    except (ValueError, NotImplementedError, RecursionError) as error:
        raise NotAFleet(f"not what a dispatcher tells of its fleet: {error}") from error
    fleet = Fleet(
        file=told.file,
        hosts=told.hosts,
        types={one.name: _type(one) for one in told.types},
        dispatcher=told.dispatcher,
        autoscaler=told.autoscaler,  # type: ignore[arg-type]  # out of JSON, so it is Json
    )
    return Told(fleet, {Lane(one.type, one.model): one.count for one in told.waiting})


def _type(told: _Type) -> TypeSettings:
    given = {name: getattr(told, name) for name in told.__struct_fields__}
    given["run"] = tuple(Option(*option) for option in told.run)
    return TypeSettings(**given)


def untold(fleet: Fleet, other: Fleet) -> Fleet:
    """`fleet`, with what is never told taken from `other`: nobody can say whether it differs."""
    taken = {name: getattr(other.dispatcher, name) for name in UNTOLD}
    return replace(fleet, dispatcher=replace(fleet.dispatcher, **taken))


def _path(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"no JSON for {type(value)}")


def _read(kind: type, value: object) -> object:
    if kind is object:
        return value
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"no {kind} out of JSON")

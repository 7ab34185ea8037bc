"""The fleet as rows of the journal: at a start, and when another hosts.yaml is taken over.

All rows of a reload are committed at once, and the board takes them in at once: no decision is
made between two of them. Pure: writing them is left to the dispatcher, reading the file to
reloading.py, saying in words what changes to changes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ygg import pins
from ygg.board import Board, configuration_detail
from ygg.fleet import Fleet, Option, is_same_server
from ygg.health import Mode
from ygg.journal import Kind, Note
from ygg.stores.base import HostRow
from ygg.tasks import Json

#: Where a CONFIGURED row has the number of its reload.
NUMBER: Final = "reload"
#: So many changes are told with the row.
_CHANGES_MAX: Final = 100
_NEW: Final = "not asked yet"
_CHANGED: Final = "not asked yet since its settings changed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reload:
    """What another hosts.yaml makes of what runs."""

    fleet: Fleet
    #: Hosts that have to be asked before they take starts: new ones, and those behind whose name
    #: another server may stand now.
    asked_anew: tuple[str, ...]
    removed: tuple[str, ...]
    #: To be committed at once.
    notes: tuple[Note, ...]


def at_start(fleet: Fleet, rows: Mapping[str, HostRow]) -> list[Note]:
    """The fleet as rows: routes and limits, then the pauses that were kept."""
    notes = _configured(fleet, rows, lambda _: None)
    for name in _semaphores(fleet):
        row = rows.get(name, HostRow())
        notes += pins.resized(
            name, fleet.hosts[name].slots, row, current=row.limit, reason="hosts.yaml"
        )
    return [*notes, *_paused(rows, fleet.hosts)]


def at_reload(
    running: Fleet,
    new: Fleet,
    rows: Mapping[str, HostRow],
    board: Board,
    *,
    server: Callable[[str], int | None],
    number: int,
    changes: Sequence[str] = (),
) -> Reload:
    """What is to be done to run with `new` from here on.

    Args:
        running: the settings until now.
        new: those to be taken over.
        rows: what the store keeps of each host.
        board: as it is now.
        server: how many tasks a host's server says it runs at once.
        number: of this reload, for whoever waits for its row.
        changes: what changes, in words.
    """
    anew = {
        name: _NEW if name not in running.hosts else _CHANGED
        for name, host in new.hosts.items()
        if name not in running.hosts or not is_same_server(running.hosts[name], host)
    }
    sharing = {host.shares for host in new.hosts.values()}

    def known(name: str) -> int | None:
        # Of a shared card no single server can say how much it takes.
        return None if name in anew or name in sharing else server(name)

    detail: dict[str, Json] = {NUMBER: number, "changes": list(changes[:_CHANGES_MAX])}
    notes = _configured(new, rows, known, detail)
    for name in _semaphores(new):
        semaphore = board.semaphores.get(name)
        notes += pins.resized(
            name,
            new.hosts[name].slots,
            rows.get(name, HostRow()),
            current=None if semaphore is None else semaphore.slots.limit,
            reason="hosts.yaml",
            server=known(name),
        )
    unpaused = [h for h in new.hosts if h not in board.hosts or board.hosts[h].paused is None]
    notes += _paused(rows, unpaused)
    for name, why in anew.items():
        notes += _not_asked(name, why, board)
    notes += _well_again(new, board, anew)
    return Reload(
        fleet=new,
        asked_anew=tuple(anew),
        removed=tuple(name for name in running.hosts if name not in new.hosts),
        notes=tuple(notes),
    )


def _semaphores(fleet: Fleet) -> Iterable[str]:
    return dict.fromkeys(host.semaphore for host in fleet.hosts.values())


def _configured(
    fleet: Fleet,
    rows: Mapping[str, HostRow],
    server: Callable[[str], int | None],
    more: Mapping[str, Json] | None = None,
) -> list[Note]:
    limits = {
        name: pins.limits(fleet.hosts[name].slots, rows.get(name, HostRow()), server(name)).now
        for name in _semaphores(fleet)
    }
    semaphores = {name: host.semaphore for name, host in fleet.hosts.items()}
    detail = {**configuration_detail(semaphores, limits, fleet.routes), **(more or {})}
    return [Note(kind=Kind.CONFIGURED, reason=fleet.file, detail=detail)]


def _paused(rows: Mapping[str, HostRow], hosts: Collection[str]) -> Iterator[Note]:
    for name, row in rows.items():
        if row.paused is not None and name in hosts:
            yield pins.paused(name, until=row.paused_until, by=row.paused_by, reason=row.paused)


def _not_asked(name: str, why: str, board: Board) -> Iterator[Note]:
    """It takes no starts until it has answered, whatever was known of it."""
    yield Note(kind=Kind.HOST, host=name, reason=why, detail={"mode": Mode.DOWN.value})
    host = board.hosts.get(name)
    for state in host.options.values() if host is not None else ():
        if state.mode is not Mode.UP:
            yield _up(state.option, "it is asked anew")


def _well_again(new: Fleet, board: Board, but: Collection[str]) -> Iterator[Note]:
    """What no type runs on any more is nobody's trouble."""
    routed = {option for route in new.routes.values() for option in route}
    for name, host in board.hosts.items():
        if name in but or name not in new.hosts:
            continue
        for state in host.options.values():
            if state.mode is not Mode.UP and state.option not in routed:
                yield _up(state.option, "no type runs there any more")


def _up(option: Option, why: str) -> Note:
    detail: dict[str, Json] = {"mode": Mode.UP.value}
    if option.handler:
        detail["type"] = option.handler
    return Note(kind=Kind.OPTION, host=option.host, model=option.model, reason=why, detail=detail)

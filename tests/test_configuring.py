"""The fleet as rows: what a board makes of them, for all fleets, one after another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg import configuring, pins
from ygg.board import Board
from ygg.fleet import Fleet, HostSettings, Option, SlotSettings, TypeSettings, is_same_server
from ygg.health import Mode
from ygg.journal import Event, Kind, Note
from ygg.stores.base import HostRow

pytestmark = pytest.mark.pure

NAMES = ("a", "b", "c")


@st.composite
def slots(draw: st.DrawFn) -> SlotSettings:
    least, start, most = sorted(draw(st.lists(st.integers(1, 9), min_size=3, max_size=3)))
    pin = draw(st.none() | st.integers(least, most))
    return SlotSettings(start=start, min=least, max=draw(st.sampled_from([most, None])), pin=pin)


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
    shares = {names[-1]: names[0]} if len(names) > 1 and draw(st.booleans()) else {}
    hosts = {
        name: HostSettings(
            name=name, url=f"http://{name}:{draw(st.integers(1, 2))}", slots=draw(slots()),
            shares=shares.get(name),
        )
        for name in names
    }  # fmt: skip
    options = st.builds(Option, st.sampled_from(names), st.sampled_from(["m", "n"]))
    routes = st.lists(options, unique=True, min_size=1).map(tuple)
    types = {t: TypeSettings(name=t, run=draw(routes)) for t in ("general", "ocr")}
    return Fleet(file="hosts.yaml", hosts=hosts, types=types)


class Told:
    """A board and what is kept of hosts, as rows make them."""

    def __init__(self) -> None:
        self.board = Board()
        self.rows: dict[str, HostRow] = {}

    def hear(self, notes: Iterable[Note]) -> None:
        for note in notes:
            row = Event(
                position=self.board.seen + 1, at=0.0, kind=note.kind, host=note.host,
                model=note.model, reason=note.reason, detail=note.detail,
            )  # fmt: skip
            self.board.apply(row)
            if note.host:
                kept = self.rows.get(note.host, HostRow())
                self.rows[note.host] = kept.after(note.kind, note.reason, note.detail)

    def all_are(self, mode: Mode) -> None:
        self.hear(
            Note(kind=Kind.HOST, host=host, detail={"mode": mode.value})
            for host in self.board.hosts
        )
        options = [o.option for host in self.board.hosts.values() for o in host.options.values()]
        self.hear(
            Note(kind=Kind.OPTION, host=o.host, model=o.model, detail={"mode": mode.value})
            for o in options
        )

    def reload(self, old: Fleet, new: Fleet, server: int | None, number: int) -> configuring.Reload:
        reload = configuring.at_reload(
            old, new, self.rows, self.board, server=lambda _: server, number=number
        )
        self.hear(reload.notes)
        return reload


SERVERS = st.none() | st.integers(1, 9)


@given(st.lists(fleets(), min_size=2, max_size=5), st.sampled_from(Mode), SERVERS, st.data())
def test_after_any_reloads_the_board_is_as_the_last_file_says(
    files: list[Fleet], mode: Mode, server: int | None, data: st.DataObject
) -> None:
    told, running = Told(), files[0]
    told.hear(configuring.at_start(running, told.rows))
    for number, new in enumerate(files[1:], 1):
        told.all_are(mode)
        if data.draw(st.booleans()):
            told.hear(
                [pins.paused(data.draw(st.sampled_from(NAMES)), until=None, by="", reason="r")]
            )
        before = told.board.hosts.copy()
        reload = told.reload(running, new, server, number)
        board = told.board
        assert set(board.hosts) == set(new.hosts)
        assert board.routes == new.routes
        assert reload.removed == tuple(name for name in running.hosts if name not in new.hosts)
        for name, host in new.hosts.items():
            owner = new.hosts[host.semaphore]
            limit = board.hosts[name].semaphore.slots.limit
            assert limit == owner.slots.pin or owner.slots.pin is None
            if owner.slots.pin is None:
                assert limit <= (owner.slots.max or 9)
                assert limit >= min(owner.slots.min, server or 9)
            stays = name in running.hosts and is_same_server(running.hosts[name], host)
            assert (name in reload.asked_anew) is not stays
            assert board.hosts[name].mode is (before[name].mode if stays else Mode.DOWN)
            assert (board.hosts[name].paused is None) is (
                told.rows.get(name, HostRow()).paused is None
            )
            for option, state in board.hosts[name].options.items():
                if not stays or option not in new.types["general"].run + new.types["ocr"].run:
                    assert state.mode is Mode.UP, "nobody would ask it again"
        running = new


@given(fleets(), SERVERS)
def test_the_same_fleet_again_changes_nothing_of_the_board(
    fleet: Fleet, server: int | None
) -> None:
    told = Told()
    told.hear(configuring.at_start(fleet, told.rows))
    told.all_are(Mode.UP)
    told.reload(fleet, fleet, server, 1)
    limits = {name: s.slots.limit for name, s in told.board.semaphores.items()}
    again = told.reload(fleet, fleet, server, 2)
    assert [note.kind for note in again.notes] == [Kind.CONFIGURED]
    assert limits == {name: s.slots.limit for name, s in told.board.semaphores.items()}
    assert all(host.mode is Mode.UP for host in told.board.hosts.values())


@given(fleets(), st.integers(1, 9))
def test_a_limit_that_was_come_to_outlives_reloads_that_say_nothing_of_it(
    fleet: Fleet, limit: int
) -> None:
    told, name = Told(), next(iter(fleet.hosts))
    host = replace(fleet.hosts[name], slots=SlotSettings(start=1, max=9))
    fleet = replace(fleet, hosts={**fleet.hosts, name: host})
    told.hear(configuring.at_start(fleet, told.rows))
    told.hear([Note(kind=Kind.RESIZED, host=name, detail={"limit": limit})])
    other = replace(fleet, types={**fleet.types, "more": TypeSettings(name="more")})
    told.reload(fleet, other, None, 1)
    assert told.board.semaphores[name].slots.limit == limit
    pinned = replace(host, slots=replace(host.slots, pin=3))
    told.reload(other, replace(other, hosts={**fleet.hosts, name: pinned}), None, 2)
    assert told.board.semaphores[name].slots.limit == 3
    told.reload(replace(other, hosts={**fleet.hosts, name: pinned}), other, None, 3)
    assert told.board.semaphores[name].slots.limit == limit, "the pin is gone: as before it"


def test_a_server_that_has_to_be_asked_anew_bounds_nothing_yet_nor_one_of_a_shared_card() -> None:
    """What the one before said of itself is not its word."""
    slots = SlotSettings(start=5)
    a = HostSettings(name="a", url="http://a", slots=slots)
    b = HostSettings(name="b", url="http://b", slots=slots)
    types = {"general": TypeSettings(name="general", run=(Option("a", "m"),))}
    old = Fleet(file="f", hosts={"a": a, "b": b}, types=types)

    def limit(new: Fleet) -> int:
        told = Told()
        told.hear(configuring.at_start(old, told.rows))
        told.reload(old, new, 2, 1)
        return told.board.semaphores["a"].slots.limit

    assert limit(old) == 2
    assert limit(replace(old, hosts={"a": replace(a, url="http://moved"), "b": b})) == 5
    assert limit(replace(old, hosts={"a": a, "b": replace(b, shares="a")})) == 5

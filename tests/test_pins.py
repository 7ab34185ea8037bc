"""What a host's limit is: bounds, pins, and what holds again when a pin has gone."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.fleet import SlotSettings
from ygg.journal import Kind, Note
from ygg.pins import Bounds, bounds, ended, limits, next_end, paused, pinned, resized
from ygg.stores.base import HostRow

pytestmark = pytest.mark.pure

SLOTS = SlotSettings(start=2, min=1, max=6)


def after(row: HostRow, notes: Iterable[Note]) -> HostRow:
    for note in notes:
        row = row.after(note.kind, note.reason, note.detail)
    return row


@pytest.mark.parametrize(
    ("slots", "server", "expected"),
    [
        (SLOTS, None, (1, 6)),
        (SLOTS, 4, (1, 4)),
        (SLOTS, 9, (1, 6)),
        (SlotSettings(start=3), None, (1, 3)),
        (SlotSettings(start=3), 8, (1, 8)),
        (SlotSettings(start=3), 2, (1, 2)),
        (SlotSettings(start=4, min=4, max=6), 2, (2, 2)),
    ],
)
def test_no_host_has_more_slots_than_its_server_runs_at_once(
    slots: SlotSettings, server: int | None, expected: tuple[int, int]
) -> None:
    assert bounds(slots, server) == Bounds(*expected)


@pytest.mark.parametrize(
    ("slots", "row", "expected"),
    [
        # Nothing was kept: where the file starts.
        (SLOTS, HostRow(), (2, None)),
        (SLOTS, HostRow(limit=5, start=2), (5, None)),
        # An edit of slots.start counts at once.
        (SLOTS, HostRow(limit=5, start=3), (2, None)),
        (SLOTS, HostRow(limit=9, start=2), (6, None)),
        # A pin goes before, and the limit under it is kept.
        (SLOTS, HostRow(limit=5, start=2, pin=3), (3, 5)),
        (SLOTS, HostRow(limit=3, start=2, pin=3, unpinned=5), (3, 5)),
        (SLOTS, HostRow(limit=3, start=1, pin=3, unpinned=5), (3, 2)),
        (SLOTS, HostRow(limit=3, start=2, unpinned=5), (5, None)),
        # The file's pin goes before the operator's.
        (SlotSettings(start=2, max=6, pin=4), HostRow(limit=3, start=2, pin=3), (4, 3)),
        # An edit put the pin out of bounds.
        (SlotSettings(start=2, max=4), HostRow(limit=5, start=2, pin=5), (4, 4)),
        (SlotSettings(start=2, min=2), HostRow(limit=2, start=2, pin=1), (2, 2)),
    ],
)
def test_pin_before_limit_before_start(
    slots: SlotSettings, row: HostRow, expected: tuple[int, int | None]
) -> None:
    assert limits(slots, row) == expected


changes = st.lists(
    st.one_of(
        st.tuples(st.just("pin"), st.integers(1, 6)),
        st.tuples(st.just("unpin"), st.just(0)),
        st.tuples(st.just("grow"), st.integers(1, 6)),
        st.tuples(st.just("restart"), st.integers(1, 6)),
    ),
    max_size=12,
)


@given(changes=changes)
def test_whatever_was_pinned_the_limit_without_a_pin_is_the_last_one_that_was_not(
    changes: list[tuple[str, int]],
) -> None:
    slots = SLOTS
    row = after(HostRow(), resized("h", slots, HostRow(), current=None, reason="hosts.yaml"))
    free, pin = 2, 0
    for what, number in changes:
        if what == "pin":
            pin = number
            row = after(row, [pinned("h", number, until=None, by="", reason="")])
        elif what == "unpin":
            pin = 0
            row = after(row, [Note(kind=Kind.UNPINNED, host="h")])
        elif what == "grow" and not pin:
            free = number
            grown = Note(kind=Kind.RESIZED, host="h", detail={"limit": number})
            row = after(row, [grown])
        elif what == "restart":
            if slots.start != number:
                free = number
            slots = SlotSettings(start=number, min=1, max=6)
        row = after(row, resized("h", slots, row, current=row.limit, reason="pin"))
        assert row.limit == (pin or free)
        assert limits(slots, row) == (pin or free, free if pin else None)
        assert not list(resized("h", slots, row, current=row.limit, reason="pin"))


@given(
    kept=st.integers(1, 6),
    pin=st.none() | st.integers(1, 6),
    servers=st.lists(st.none() | st.integers(1, 8), max_size=6),
)
def test_a_server_that_runs_fewer_is_over_the_limit_only_while_it_does(
    kept: int, pin: int | None, servers: list[int | None]
) -> None:
    row = HostRow(limit=kept, start=2)
    if pin is not None:
        row = after(row, [pinned("h", pin, until=None, by="", reason="")])
    for server in [*servers, None]:
        row = after(row, resized("h", SLOTS, row, current=row.limit, reason="s", server=server))
        assert row.limit == min(kept if pin is None else pin, server or 8)
    row = after(row, [Note(kind=Kind.UNPINNED, host="h")])
    row = after(row, resized("h", SLOTS, row, current=row.limit, reason="pin"))
    assert (row.limit, row.unpinned) == (kept, None)


def test_the_files_pin_stands_whatever_the_server_runs() -> None:
    slots = SlotSettings(start=2, max=6, pin=4)
    assert limits(slots, HostRow(limit=3, start=2), 1) == (4, 3)


def test_a_resize_that_names_no_other_limit_is_the_limit() -> None:
    held = after(HostRow(limit=4, start=2), resized("h", SLOTS, HostRow(limit=4, start=2),
                 current=4, reason="s", server=2))  # fmt: skip
    assert (held.limit, held.unpinned) == (2, 4)
    shrunk = after(held, [Note(kind=Kind.RESIZED, host="h", detail={"limit": 1})])
    assert limits(SLOTS, shrunk) == (1, None)


def test_a_resize_says_from_where() -> None:
    row = HostRow(limit=2, start=2)
    (note,) = resized("h", SLOTS, after(row, [pinned("h", 4, until=None, by="", reason="")]),
                      current=2, reason="pin")  # fmt: skip
    assert (note.kind, note.host, note.reason) == (Kind.RESIZED, "h", "pin")
    assert note.detail == {"before": 2, "limit": 4, "start": 2, "unpinned": 2}


def test_what_has_an_end_ends_when_it_comes() -> None:
    rows = {
        "a": after(HostRow(), [pinned("a", 2, until=50.0, by="me", reason="talk")]),
        "b": after(HostRow(), [paused("b", until=60.0, by="me", reason="game")]),
        "c": after(HostRow(), [paused("c", until=None, by="", reason="for good")]),
        "d": HostRow(limit=3),
    }
    assert next_end(rows) == 50.0
    assert list(ended(rows, 49.9)) == []
    assert [(n.kind, n.host) for n in ended(rows, 60.0)] == [
        (Kind.UNPINNED, "a"),
        (Kind.RESUMED, "b"),
    ]
    rows["a"], rows["b"] = (
        after(rows[h], [n for n in ended(rows, 60.0) if n.host == h]) for h in "ab"
    )
    assert (rows["a"], rows["b"]) == (HostRow(), HostRow())
    assert next_end(rows) is None

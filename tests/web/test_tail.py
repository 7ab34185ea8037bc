"""What a stream of events sends next, for all journals and all positions."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.client.messages import Messages
from ygg.journal import Event, Kind
from ygg.tasks import Lane, Rank, Waiting
from ygg.web import tail
from ygg.web.tail import Row, Tail, Wanted
from ygg.web.views import row_json

pytestmark = pytest.mark.pure


def rows(positions: Iterable[int]) -> list[Event]:
    kinds = list(Kind)
    return [
        Event(position=p, at=float(p), kind=kinds[p % len(kinds)], task=f"t{p % 3}")
        for p in positions
    ]


gaps = st.lists(st.integers(1, 3), min_size=1, max_size=60)


@given(
    gaps=gaps,
    start=st.integers(0, 50),
    kept=st.integers(1, 10),
    sizes=st.lists(st.integers(1, 7), min_size=1),
)
def test_a_tail_has_the_latest_rows_whole_and_says_where_they_begin(
    gaps: list[int], start: int, kept: int, sizes: list[int]
) -> None:
    positions = [start + sum(gaps[: i + 1]) for i in range(len(gaps))]
    events, it = rows(positions), Tail(0, kept)
    while events:
        size = sizes[len(events) % len(sizes)]
        it.absorb(events[:size])
        del events[:size]
    assert it.last == positions[-1]
    for position in range(positions[-1] + 2):
        found = it.after(position)
        if position < it.floor:
            assert found is None
        else:
            assert found is not None
            assert [row.event.position for row in found] == [p for p in positions if p > position]
    assert len([p for p in positions if p > it.floor]) >= min(kept, len(positions))
    assert len([p for p in positions if p > it.floor]) <= 2 * kept + max(sizes)


@given(
    gaps=gaps,
    task=st.none() | st.sampled_from(["t0", "t1", "nobody"]),
    kinds=st.none() | st.frozensets(st.sampled_from(Kind)),
    most=st.integers(1, 2000),
)
def test_piece_by_piece_a_stream_sends_what_is_wanted_once_and_in_order(
    gaps: list[int], task: str | None, kinds: frozenset[Kind] | None, most: int
) -> None:
    events = rows(sum(gaps[: i + 1]) for i in range(len(gaps)))
    it, wanted = Tail(), Wanted(task=task, kinds=kinds)
    it.absorb(events)
    position = it.floor
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "PIECE_BYTES", most)
        reader, got = Messages(), list[int]()
        while position < it.last:
            found = it.after(position)
            assert found is not None
            piece = tail.piece(found, wanted, position)
            assert position < piece.position
            position = piece.position
            got += [json.loads(m.data)["position"] for m in reader.feed(piece.text)]
    expected = [
        e.position for e in events if task in (None, e.task) and (kinds is None or e.kind in kinds)
    ]
    assert got == expected


def test_a_row_is_written_out_once_for_all_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []

    def counted(event: Event) -> object:
        written.append(event.position)
        return row_json(event)

    monkeypatch.setattr(tail, "row_json", counted)
    it = Tail()
    it.absorb(rows([1, 2, 3]))
    for _ in range(5):
        tail.piece(it.after(1) or (), Wanted(), 1)
    assert written == [2, 3]


def test_a_message_says_what_happened_and_its_id_is_the_position() -> None:
    place = Waiting("t", Lane("reasoning", "m"), Rank(True, 1, 5.0, 7))
    event = Event(
        position=12, at=1.5, kind=Kind.ACCEPTED, task="t", waiting=place, reason="two\nlines"
    )
    (message,) = Messages().feed(Row(event).message)
    told = json.loads(message.data)
    assert (message.event, message.id) == ("message", "12")
    assert told["reason"] == "two\nlines"
    assert (told["kind"], told["task"]) == ("accepted", "t")
    assert (told["type"], told["priority"]) == ("reasoning", 1)
    assert told["at"] == "1970-01-01T00:00:01.500Z"


def test_signs_of_life_move_the_place_to_resume_and_are_no_message() -> None:
    reader = Messages()
    assert reader.feed(tail.opening(41, 1.0)) == []
    assert reader.last_id == "41"
    assert reader.feed(tail.mark(50)) == []
    assert reader.last_id == "50"
    assert reader.feed(tail.FAREWELL) == []
    assert reader.last_id == "50"


def test_a_reset_is_a_row_of_its_own_kind() -> None:
    (message,) = Messages().feed(tail.reset(50, 0.0, "gone"))
    told = json.loads(message.data)
    assert (message.event, message.id) == ("reset", "50")
    assert (told["kind"], told["position"], told["reason"]) == ("reset", 50, "gone")

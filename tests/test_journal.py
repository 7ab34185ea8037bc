"""A task's place as plain JSON, and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.journal import ENDS_ATTEMPT, Kind, pack, unpack
from ygg.tasks import Lane, Rank, Waiting

pytestmark = pytest.mark.pure

places = st.builds(
    Waiting,
    id=st.text(min_size=1, max_size=18),
    lane=st.builds(Lane, type=st.text(max_size=20), model=st.text(max_size=20)),
    rank=st.builds(
        Rank,
        not_next=st.booleans(),
        priority=st.integers(0, 4),
        created_at=st.floats(allow_nan=False, allow_infinity=False),
        sequence=st.integers(0, 2**63 - 1),
    ),
)


@given(waiting=places)
def test_a_place_survives_the_way_through_json(waiting: Waiting) -> None:
    back = unpack(waiting.id, json.loads(json.dumps(pack(waiting))))
    assert back == waiting
    assert isinstance(back.rank.not_next, bool)


@given(a=places, b=places)
def test_the_order_survives_it_too(a: Waiting, b: Waiting) -> None:
    again = [unpack(w.id, json.loads(json.dumps(pack(w)))).rank for w in (a, b)]
    assert (again[0] < again[1]) == (a.rank < b.rank)


@pytest.mark.parametrize(
    "spoilt",
    [
        [1, "", True, 2, 1.0, 1],
        ["code", None, True, 2, 1.0, 1],
        ["code", "", True, "2", 1.0, 1],
        ["code", "", True, 2, "1.0", 1],
        ["code", "", True, 2, 1.0, None],
    ],
)
def test_a_row_that_is_not_ours_is_refused(spoilt: list[str | int | float | None]) -> None:
    with pytest.raises(AssertionError):
        unpack("t1", [*spoilt])


def test_an_attempt_ends_in_one_of_five_ways() -> None:
    ends = {"missed", "closed", "blocked", "reopened", "cancelled"}
    assert {kind.value for kind in ENDS_ATTEMPT} == ends
    assert Kind.STARTED not in ENDS_ATTEMPT

"""Which of an autoscaler's resizes are carried out, and who may ask for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler import policy
from ygg.resizes import (
    LEASE_INTERVALS,
    Card,
    Decision,
    DecisionAction,
    DecisionReason,
    Effect,
    Lease,
    LeaseHeld,
    renewed,
    verdict,
)

pytestmark = pytest.mark.pure


def decided(expected: int = 3, limit: int = 4, *, dry_run: bool = False) -> Decision:
    return Decision(
        expected=expected, limit=limit, dry_run=dry_run,
        action=DecisionAction.GROW, reason=DecisionReason.WAIT,
    )  # fmt: skip


def test_the_words_of_the_rule_are_those_that_are_taken() -> None:
    """The two packages share no code: a word that one of them adds must be added to both."""
    assert [reason.value for reason in DecisionReason] == [r.value for r in policy.Reason]
    assert [action.value for action in DecisionAction] == [a.value for a in policy.Action]


CARD = Card(limit=3, least=1, most=6)
PINNED = Card(limit=3, least=1, most=6, pin="it is pinned at 3 by me")


@pytest.mark.parametrize(
    ("decision", "card", "effect", "detail"),
    [
        (decided(), CARD, Effect.RESIZED, ""),
        (decided(limit=1), CARD, Effect.RESIZED, ""),
        (decided(limit=6), CARD, Effect.RESIZED, ""),
        (decided(limit=7), CARD, Effect.OUT_OF_BOUNDS, "7 is outside its bounds, 1 to 6"),
        (decided(limit=0), CARD, Effect.OUT_OF_BOUNDS, "0 is outside its bounds, 1 to 6"),
        (decided(expected=2), CARD, Effect.STALE, "the limit is 3 by now, not 2: decide anew"),
        (decided(expected=2, limit=7), CARD, Effect.STALE, "the limit is 3 by now"),
        (decided(limit=3), CARD, Effect.UNCHANGED, ""),
        # The answer was lost, and the call is repeated.
        (decided(expected=2, limit=3), CARD, Effect.UNCHANGED, ""),
        (decided(dry_run=True), CARD, Effect.DRY_RUN, ""),
        (decided(expected=2, dry_run=True), PINNED, Effect.DRY_RUN, ""),
        (decided(), PINNED, Effect.PINNED, "it is pinned at 3 by me"),
        (decided(expected=2), PINNED, Effect.PINNED, "it is pinned at 3 by me"),
        (decided(limit=3), PINNED, Effect.UNCHANGED, ""),
        (decided(), Card(limit=3, least=1, most=6, shares="big"), Effect.SHARED, "resize big"),
        (decided(), None, Effect.UNKNOWN_HOST, "hosts.yaml has no such host"),
    ],
)  # fmt: skip
def test_the_first_thing_in_the_way_is_told(
    decision: Decision, card: Card | None, effect: Effect, detail: str
) -> None:
    found = verdict(decision, card)
    assert found.effect is effect
    assert detail in found.detail
    assert bool(found.detail) == bool(detail)


small = st.integers(0, 9)


@given(
    decision=st.builds(decided, small, small, dry_run=st.booleans()),
    limit=small, least=small, more=small,
    shares=st.sampled_from([None, "big"]), pin=st.sampled_from([None, "pinned"]),
)  # fmt: skip
def test_a_limit_changes_only_as_expected_within_bounds_and_without_a_pin(
    decision: Decision, limit: int, least: int, more: int, shares: str | None, pin: str | None
) -> None:
    card = Card(limit=limit, least=least, most=least + more, shares=shares, pin=pin)
    is_free = pin is None and shares is None and not decision.dry_run
    as_seen = decision.expected == limit and decision.limit != limit
    resizes = is_free and as_seen and least <= decision.limit <= least + more
    assert (verdict(decision, card).effect is Effect.RESIZED) == resizes


# -- the lease -----------------------------------------------------------------------------------


def test_the_first_to_call_has_the_lease_for_three_of_its_intervals() -> None:
    lease = renewed(None, "a", now=100.0, interval=15.0)
    assert lease == Lease(holder="a", ends=145.0)
    assert lease.holds(144.9)
    assert not lease.holds(145.0)


def test_another_is_told_who_has_it_and_for_how_long() -> None:
    lease = renewed(None, "a", now=0.0, interval=15.0)
    with pytest.raises(LeaseHeld, match=r"'a' holds the lease for another 35 s") as told:
        renewed(lease, "b", now=10.0, interval=15.0)
    assert (told.value.holder, told.value.seconds) == ("a", 35.0)
    assert renewed(lease, "b", now=45.0, interval=15.0).holder == "b"


calls = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.floats(0.0, 100.0, allow_nan=False),
        st.floats(0.1, 30.0, allow_nan=False),
    ),
    max_size=30,
)


@given(calls=calls)
def test_whoever_calls_and_when_nobody_is_let_in_while_another_holds(
    calls: list[tuple[str, float, float]],
) -> None:
    lease: Lease | None = None
    now, holder, last, interval = 0.0, "", 0.0, 0.0
    for who, wait, every in calls:
        now += wait
        may = who == holder or not holder or now >= last + LEASE_INTERVALS * interval
        try:
            lease = renewed(lease, who, now=now, interval=every)
        except LeaseHeld:
            assert not may
        else:
            assert may
            holder, last, interval = who, now, every

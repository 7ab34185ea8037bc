"""The rule, for all sequences of signals: what must never be, and what must come about."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.observed import Memory, MemoryMode, Signals
from autoscaler.policy import Action, Decision, Reason, State, decide
from autoscaler.settings import Settings

pytestmark = pytest.mark.pure

SETTINGS: Final = Settings()
TICK: Final = SETTINGS.decide_seconds
#: What may move a limit at once, whatever was done before.
AT_ONCE: Final = {Reason.PINNED, Reason.BOUNDS, Reason.HOST_FAILURES, Reason.NO_GAIN}

ratios = st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.0, 0.49, 0.89, 0.91, 0.98, 1.0]))
ages = st.sampled_from([0.0, 5.0, 44.0, 46.0, math.inf])


@st.composite
def scenes(draw: st.DrawFn) -> Signals:
    """One tick's worth of evidence; limit and time are put in by the sequence."""
    least = draw(st.integers(1, 4))
    most = draw(st.integers(least, 16))
    memory = draw(ratios)
    seen = None
    if memory is not None:
        high = draw(st.floats(memory, 1))
        seen = Memory(last=memory, high=high, window_high=draw(st.floats(high, 1)))
    return Signals(
        now=0.0,
        limit=0,
        min=least,
        max=most,
        max_is_set=draw(st.booleans()),
        pin=draw(st.one_of(st.none(), st.none(), st.none(), st.integers(least, most))),
        up=draw(st.sampled_from([True, True, True, False])),
        paused=draw(st.sampled_from([False, False, False, True])),
        active=draw(st.integers(0, 20)),
        binding=draw(st.sampled_from([0.0, 0.79, 0.8, 1.0])),
        waiting=draw(st.integers(0, 5)),
        oldest_wait=draw(st.sampled_from([0.0, 59.0, 61.0, 3600.0])),
        rates=tuple(draw(st.lists(st.floats(0, 1000), max_size=4))),
        rates_are_tokens=draw(st.booleans()),
        host_failures=draw(st.sampled_from([0, 0, 0, 1, 5])),
        model_memory=draw(st.sampled_from([None, 4e9, 5e9])),
        server_wait=draw(ratios),
        util=draw(ratios),
        memory=seen,
        memory_mode=draw(st.sampled_from(MemoryMode)),
        gpu_age=draw(ages),
        queue_age=draw(ages),
    )


#: Evidence, and whether the dispatcher takes the decision over, or a person sets another limit.
ticks = st.tuples(scenes(), st.sampled_from(["taken", "taken", "taken", "lost", "by hand"]))


def run(
    sequence: Sequence[tuple[Signals, str]], start: int = 2
) -> list[tuple[State, Signals, Decision]]:
    """Decide at each tick; what each tick saw, decided, and knew before."""
    state, limit, now = State(), start, 0.0
    told: list[tuple[State, Signals, Decision]] = []
    for scene, fate in sequence:
        now += TICK
        seen = replace(scene, now=now, limit=limit)
        after, decision = decide(SETTINGS, state, seen)
        told.append((state, seen, decision))
        state = after
        if fate == "taken":
            limit = decision.limit
        elif fate == "by hand":
            limit = scene.max
    return told


@given(st.lists(ticks, max_size=30))
def test_a_decision_is_within_bounds_and_a_pin_is_obeyed_at_once(
    sequence: list[tuple[Signals, str]],
) -> None:
    for _, seen, decision in run(sequence):
        if seen.pin is not None:
            assert decision.limit == seen.pin
        elif seen.up and not seen.paused:
            assert seen.min <= decision.limit <= seen.max
        move = decision.limit - seen.limit
        expected = Action.HOLD if move == 0 else Action.GROW if move > 0 else Action.SHRINK
        assert decision.action is expected


@given(st.lists(ticks, max_size=30))
def test_no_growth_on_evidence_that_is_stale_missing_or_over_the_threshold(
    sequence: list[tuple[Signals, str]],
) -> None:
    for _, seen, decision in run(sequence):
        if decision.action is not Action.GROW or decision.reason in (Reason.PINNED, Reason.BOUNDS):
            continue
        assert seen.up
        assert not seen.paused
        assert max(seen.gpu_age, seen.queue_age) <= SETTINGS.stale_seconds
        assert seen.waiting > 0
        assert seen.binding >= SETTINGS.binding_ratio
        if seen.memory_mode is MemoryMode.OFF:
            assert seen.max_is_set
        else:
            assert seen.memory is not None
            bar = 0.98 if seen.memory_mode is MemoryMode.KV else 0.90
            assert seen.memory.high <= bar
            forecast = decision.evidence["forecast"]
            assert isinstance(forecast, float)
            assert forecast < bar
            assert forecast >= seen.memory.window_high, "what was seen is believed"


@given(st.lists(ticks, max_size=40))
def test_steps_are_small_and_far_enough_apart(sequence: list[tuple[Signals, str]]) -> None:
    """A step that nobody took moved nothing: the next one need not be far from it."""
    last_growth = last_shrink = -math.inf
    told = run(sequence)
    for at, (_, seen, decision) in enumerate(told):
        taken = [seen.limit for _, seen, _ in told[at + 1 : at + 2]] == [decision.limit]
        if decision.action is Action.GROW and decision.reason not in AT_ONCE:
            assert seen.now - last_growth >= 30
            assert seen.now - last_shrink >= 120
            assert decision.limit - seen.limit <= max(1, min(8, int(0.34 * seen.limit)))
            last_growth = seen.now if taken else last_growth
        if decision.action is Action.SHRINK and decision.reason is Reason.MEMORY_HIGH:
            assert seen.memory is not None
            assert seen.now - last_shrink >= 30 or seen.memory.high >= 0.97
            assert seen.limit - decision.limit <= max(1, seen.limit // 4)
        if decision.action is Action.SHRINK and decision.reason not in (
            Reason.PINNED, Reason.BOUNDS
        ):  # fmt: skip
            last_shrink = seen.now if taken else last_shrink


@given(st.lists(ticks, max_size=40))
def test_no_step_is_stacked_on_one_that_is_on_trial(sequence: list[tuple[Signals, str]]) -> None:
    for before, seen, decision in run(sequence):
        trial = before.trial
        if trial is None or decision.action is not Action.GROW or decision.reason in AT_ONCE:
            continue
        judged = seen.now - trial.since >= SETTINGS.window_seconds
        assert judged or seen.limit != before.wanted, "it grew while a step was on trial"


@given(st.lists(ticks, max_size=40))
def test_no_growth_past_a_limit_that_failed_lately(sequence: list[tuple[Signals, str]]) -> None:
    for before, seen, decision in run(sequence):
        ceiling = before.ceiling
        if ceiling is None or decision.action is not Action.GROW or decision.reason in AT_ONCE:
            continue
        forgotten = seen.limit not in (before.wanted, before.before)  # a hand edit
        forgotten |= seen.model_memory != before.model_memory
        assert forgotten or seen.now >= ceiling.until or decision.limit <= ceiling.limit


@given(st.lists(ticks, max_size=20))
def test_the_same_evidence_gives_the_same_decisions(sequence: list[tuple[Signals, str]]) -> None:
    assert [d for _, _, d in run(sequence)] == [d for _, _, d in run(sequence)]


@given(scenes(), st.integers(1, 16))
def test_a_restart_moves_nothing_before_a_whole_window_but_for_the_first_rules(
    scene: Signals, limit: int
) -> None:
    told = run([(scene, "lost")] * int(SETTINGS.window_seconds / TICK), start=limit)
    for _, _, decision in told:
        if decision.action is Action.GROW:
            assert decision.reason in (Reason.PINNED, Reason.BOUNDS)
        if decision.action is Action.SHRINK:
            assert decision.reason in {*AT_ONCE, Reason.MEMORY_HIGH}


def quiet(**changes: object) -> Signals:
    """A host with work, all of it well, and more waiting than it can take."""
    base = Signals(
        now=0.0, limit=2, min=1, max=8, active=2, binding=1.0, waiting=3, oldest_wait=90.0,
        rates=(10.0, 10.0, 10.0, 10.0), util=0.7, gpu_age=0.0, queue_age=0.0,
        memory=Memory(last=0.5, high=0.5, window_high=0.5),
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]  # the fields' own types


@given(st.integers(2, 64), st.floats(0.901, 1.0))
def test_memory_that_stays_high_brings_the_limit_to_its_minimum(limit: int, high: float) -> None:
    memory = Memory(last=high, high=high, window_high=high)
    scene = quiet(max=64, memory=memory, active=1)
    told = run([(scene, "taken")] * 200, start=limit)
    assert told[-1][2].limit == 1
    assert told[-1][2].reason is Reason.MEMORY_AT_MIN
    taken = next(seen.now for _, seen, d in told if d.limit == 1)
    # A quarter each half minute, one at least: a logarithm of ticks above 4, then one by one.
    assert taken <= TICK + 30 * (3 + math.log(max(limit, 4)) / math.log(4 / 3) + 4)


@given(st.integers(1, 8), st.floats(0, 1), st.floats(0, 0.9), st.floats(0, 200))
def test_under_constant_evidence_the_limit_settles_and_leaves_its_place_by_one_step_at_most(
    start: int, util: float, memory: float, wait: float
) -> None:
    scene = quiet(
        util=util, oldest_wait=wait, memory=Memory(last=memory, high=memory, window_high=memory)
    )

    state, limit, now = State(), start, 0.0
    limits: list[int] = []
    for _ in range(800):  # more than three hours
        now += TICK
        state, decision = decide(
            SETTINGS, state, replace(scene, now=now, limit=limit, active=limit)
        )
        limit = decision.limit
        limits.append(limit)
    late = limits[400:]
    home = max(set(late), key=late.count)
    assert all(home <= at <= home + max(1, int(home * 0.34)) for at in late)
    changes = sum(one != other for one, other in itertools.pairwise(late))
    assert changes <= 2 * (400 * TICK / SETTINGS.ceiling_seconds_max + 1), "a step up, and back"

"""The health machine, for all histories: what a host may be after what it showed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ygg.faults import Cause
from ygg.health import (
    HOST_PACE,
    OPTION_PACE,
    Health,
    Mode,
    Streak,
    Trials,
    alike,
    new_host,
    new_option,
)

pytestmark = pytest.mark.pure


class Step(NamedTuple):
    what: str
    #: Seconds since the step before.
    after: float
    retry_after: float | None = None


steps = st.lists(
    st.builds(
        Step,
        what=st.sampled_from(
            (
                "failed",
                "probe_failed",
                "probe_answered",
                "worked",
                "doubted",
                "busy",
                "rested",
            )
        ),
        after=st.sampled_from((0.0, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)),
        retry_after=st.none() | st.sampled_from((-1.0, 0.0, 0.5, 7.0, 120.0, 86400.0)),
    ),
    max_size=40,
)
begins = st.sampled_from((new_host(0.0), new_option()))


def taken(health: Health, step: Step, now: float) -> Health:
    match step.what:
        case "failed":
            return health.failed(now, "it failed")
        case "probe_failed":
            return health.probe_failed(now, "no answer")
        case "busy":
            return health.busy(now, step.retry_after, "busy")
        case "probe_answered":
            return health.probe_answered(now)
        case "worked":
            return health.worked(now)
        case "doubted":
            return health.doubted(now)
        case _:
            return health.rested(now)


class Seen(NamedTuple):
    before: Health
    step: Step
    now: float
    after: Health


def played(health: Health, history: Sequence[Step]) -> list[Seen]:
    seen, now = list[Seen](), 0.0
    for step in history:
        now += step.after
        seen.append(Seen(health, step, now, taken(health, step, now)))
        health = seen[-1].after
    return seen


@given(begin=begins, history=steps)
def test_all_starts_are_taken_only_while_nothing_failed_since_something_worked(
    begin: Health, history: list[Step]
) -> None:
    """DOWN, then TRIAL, then UP by work that ended well; a rest leads back to where it was."""
    on_trial = False
    for before, step, _, after in played(begin, history):
        never_up = before.mode is Mode.DOWN and not on_trial
        if step.what in ("failed", "probe_failed") and not never_up:
            on_trial = True
        if step.what == "worked" and before.mode is Mode.TRIAL:
            on_trial = False
        if after.mode is Mode.UP:
            assert not on_trial
        if after.mode is Mode.TRIAL:
            assert on_trial


@given(begin=begins, history=steps)
def test_modes_change_by_these_steps_only(begin: Health, history: list[Step]) -> None:
    legal = {
        ("failed", Mode.UP, Mode.DOWN),
        ("failed", Mode.TRIAL, Mode.DOWN),
        ("failed", Mode.RESTING, Mode.DOWN),
        ("probe_failed", Mode.UP, Mode.DOWN),
        ("probe_failed", Mode.TRIAL, Mode.DOWN),
        ("probe_failed", Mode.RESTING, Mode.DOWN),
        ("probe_answered", Mode.DOWN, Mode.TRIAL),
        ("probe_answered", Mode.DOWN, Mode.UP),  # a host at our start, which never failed
        ("worked", Mode.TRIAL, Mode.UP),
        ("busy", Mode.UP, Mode.RESTING),
        ("busy", Mode.TRIAL, Mode.RESTING),
        ("rested", Mode.RESTING, Mode.UP),
        ("rested", Mode.RESTING, Mode.TRIAL),
    }
    always = {("failed", Mode.DOWN), ("busy", Mode.RESTING), ("probe_failed", Mode.DOWN)}
    for before, step, _, after in played(begin, history):
        if before.mode is not after.mode:
            assert (step.what, before.mode, after.mode) in legal
        for what, mode in always:
            if step.what == what and before.mode is not Mode.DOWN:
                assert after.mode is mode


@given(begin=begins, history=steps)
def test_what_takes_no_starts_is_looked_at_again_before_long(
    begin: Health, history: list[Step]
) -> None:
    for before, step, now, after in played(begin, history):
        if after.mode is Mode.DOWN:
            assert after.look_at is not None
            assert after.look_at <= now + after.pace.longest_after_trial
            if step.what == "probe_failed" and before.mode is Mode.DOWN:
                assert now < after.look_at <= now + after.pace.longest
        if after.mode is Mode.RESTING:
            assert after.look_at is not None
            assert after.look_at <= now + 300.0


@given(begin=begins, history=steps)
def test_a_rest_ends_at_its_moment_and_not_before(begin: Health, history: list[Step]) -> None:
    for before, step, now, after in played(begin, history):
        if after.mode is not Mode.RESTING:
            continue
        assert after.look_at is not None
        assert after.rested(after.look_at - 0.01).mode is Mode.RESTING
        back = after.rested(after.look_at)
        assert back.mode in (Mode.UP, Mode.TRIAL)
        assert back.reason == ""
        if before.mode is Mode.RESTING:
            assert before.look_at is not None
            assert after.look_at >= before.look_at, "nothing shortens a rest"
        elif step.retry_after is not None:
            assert after.look_at == now + min(max(step.retry_after, 0.1), 300.0)


@given(begin=begins, history=steps)
def test_while_it_is_down_only_probes_count(begin: Health, history: list[Step]) -> None:
    for before, step, _, after in played(begin, history):
        if before.mode is Mode.DOWN and not step.what.startswith("probe"):
            assert after.mode is Mode.DOWN
            assert after.look_at == before.look_at
            assert (after.falls, after.unanswered) == (before.falls, before.unanswered)


@given(begin=begins, history=steps)
def test_a_doubt_has_it_looked_at_at_once_and_is_no_verdict(
    begin: Health, history: list[Step]
) -> None:
    for before, step, now, after in played(begin, history):
        if step.what == "doubted":
            assert after.mode is before.mode
            takes_starts = before.mode in (Mode.UP, Mode.TRIAL)
            assert after.look_at == (now if takes_starts else before.look_at)


@given(begin=begins, history=steps)
def test_it_says_why_exactly_while_it_takes_no_starts(begin: Health, history: list[Step]) -> None:
    for _, _, _, after in played(begin, history):
        assert bool(after.reason) == (after.mode in (Mode.DOWN, Mode.RESTING))


@given(history=steps)
def test_what_is_well_is_looked_at_when_idle_for_15_seconds(history: list[Step]) -> None:
    for before, step, now, after in played(new_host(0.0), history):
        answered = step.what in ("probe_answered", "worked") and before.mode is not Mode.RESTING
        if answered and after.mode in (Mode.UP, Mode.TRIAL):
            assert after.look_at == now + 15.0
        if step.what == "rested" and before.mode is Mode.RESTING and after.mode is not before.mode:
            assert after.look_at == now + 15.0


@given(history=steps)
def test_an_option_that_is_well_is_not_asked(history: list[Step]) -> None:
    for _, step, _, after in played(new_option(), history):
        if after.mode in (Mode.UP, Mode.TRIAL) and step.what in ("probe_answered", "worked"):
            assert after.look_at is None


@given(begin=begins, history=steps)
@example(
    begin=new_option(),
    history=[Step("busy", 0.0)] + [Step("rested", 300.0), Step("busy", 0.0)] * 2000,
)
@example(begin=new_host(0.0), history=[Step("probe_answered", 0.0), Step("failed", 0.0)] * 2000)
@example(begin=new_host(0.0), history=[Step("probe_failed", 5.0)] * 2000)
def test_no_history_is_too_long_for_its_counters(begin: Health, history: list[Step]) -> None:
    for _, _, _, after in played(begin, history):
        assert max(after.falls, after.rests, after.unanswered) <= 30


def pauses_until_answered(health: Health, count: int) -> list[float]:
    """How long it is left alone between looks while no probe is answered."""
    looks = list[float]()
    for _ in range(count):
        assert health.look_at is not None
        looks.append(health.look_at)
        health = health.probe_failed(health.look_at, "no answer")
    return [later - sooner for sooner, later in pairwise(looks)]


@pytest.mark.parametrize("since", [0.0, 1000.0])
def test_a_host_that_is_down_is_asked_after_half_a_second_doubling_to_five(since: float) -> None:
    up = new_host(0.0).probe_answered(0.0).worked(0.0)
    down = up.failed(since, "connection refused")
    assert down.look_at == since + 0.5
    assert pauses_until_answered(down, 7) == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


def test_a_new_host_is_asked_at_once_then_after_half_a_second_doubling_to_five() -> None:
    new = new_host(100.0)
    assert new.look_at == 100.0
    assert pauses_until_answered(new, 8) == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


def test_a_new_host_takes_all_starts_once_it_answered() -> None:
    assert new_host(0.0).mode is Mode.DOWN
    assert new_host(0.0).probe_failed(0.0, "no answer").probe_answered(0.5).mode is Mode.UP


def test_each_trial_that_fails_doubles_the_pause_before_the_next_up_to_a_minute() -> None:
    health, now, pauses = new_host(0.0).probe_answered(0.0), 0.0, list[float]()
    for _ in range(10):
        health = health.failed(now, "500")
        assert health.look_at is not None
        pauses.append(health.look_at - now)
        now = health.look_at
        health = health.probe_answered(now)
        assert health.mode is Mode.TRIAL
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    again = health.worked(now).failed(now, "500")
    assert again.look_at == now + 0.5, "one that ended well forgives all"


def test_rests_without_a_word_of_the_host_double_from_one_second() -> None:
    health, now, pauses = new_host(0.0).probe_answered(0.0), 0.0, list[float]()
    for _ in range(11):
        health = health.busy(now, None, "503")
        assert health.look_at is not None
        pauses.append(health.look_at - now)
        now = health.look_at
        health = health.rested(now)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0]
    assert health.worked(now).busy(now, None, "503").look_at == now + 1.0


def test_options_are_asked_at_a_pace_of_their_own() -> None:
    down = new_option().failed(0.0, "404")
    assert down.look_at == 5.0
    assert pauses_until_answered(down, 6) == [10.0, 20.0, 40.0, 60.0, 60.0]
    assert HOST_PACE.first < OPTION_PACE.first


errors = st.lists(
    st.tuples(
        st.sampled_from((Cause.BAD_REQUEST, Cause.EMPTY_ANSWER)),
        st.sampled_from(("too long", "too short")),
        st.integers(0, 10**6),
    ),
    max_size=20,
)


@given(errors=errors)
def test_five_tasks_in_a_row_blocked_with_one_error_are_a_streak(
    errors: list[tuple[Cause, str, int]],
) -> None:
    streak = Streak()
    assert not streak.too_long
    for index, (cause, words, number) in enumerate(errors, start=1):
        streak = streak.blocked(cause, f"400: {words} by {number} at '{number} {words}'")
        five = {error[:2] for error in errors[index - 5 : index]} if index >= 5 else set()
        assert streak.too_long == (len(five) == 1)


@given(pool=st.integers(1, 6), trials=st.integers(1, 300))
def test_of_a_backlog_that_fails_alike_only_few_are_given_up(pool: int, trials: int) -> None:
    """Each trial is the least task that was not given up: the head moves on, ever more slowly."""
    seen, given_up = Trials(), 0
    for _ in range(trials):
        seen = seen.failed(Cause.SERVER_ERROR, "500", f"t{given_up}")
        given_up += seen.give_task_up
    assert 2 ** (given_up + 1) - 2 <= trials < 2 ** (given_up + 2) - 2


@given(text=st.text(max_size=200))
def test_what_is_alike_stays_alike(text: str) -> None:
    assert alike(alike(text)) == alike(text)

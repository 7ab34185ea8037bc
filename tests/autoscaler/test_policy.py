"""Each branch of the rule, with the numbers of a real host."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from autoscaler.memory import MemoryModel
from autoscaler.observed import Memory, MemoryMode, Signals
from autoscaler.policy import Action, Decision, Reason, State, decide
from autoscaler.settings import Settings, SettingsError, make_settings
from autoscaler.trial import Throughput

pytestmark = pytest.mark.pure

SETTINGS = Settings()


def memory(ratio: float) -> Memory:
    return Memory(last=ratio, high=ratio, window_high=ratio)


#: The original's own example: fenrir at 65 % utilization, 4 of 6 GB, waits over a minute.
FENRIR = Signals(
    now=1000.0, limit=3, min=1, max=6, active=3, binding=1.0, waiting=2, oldest_wait=70.0,
    rates=(30.0, 30.0, 30.0, 30.0), util=0.65, memory=memory(4 / 6), gpu_age=3.0, queue_age=3.0,
)  # fmt: skip
SEEN_FOR_LONG = State(since=0.0, before=3, wanted=3, memory=MemoryModel(since=0.0))


def decided(state: State = SEEN_FOR_LONG, **changes: object) -> Decision:
    seen = replace(FENRIR, **changes)  # type: ignore[arg-type]  # the fields' own types
    return decide(SETTINGS, state, seen)[1]


def test_the_originals_example_grows_from_3_to_4() -> None:
    decision = decided()
    assert (decision.action, decision.reason, decision.limit) == (Action.GROW, Reason.WAIT, 4)


def test_low_utilization_with_work_waiting_grows() -> None:
    decision = decided(util=0.4, oldest_wait=5.0)
    assert (decision.reason, decision.limit) == (Reason.LOW_UTILIZATION, 4)


@pytest.mark.parametrize(
    ("changes", "reason", "limit"),
    [
        ({"pin": 5}, Reason.PINNED, 5),
        ({"pin": 5, "up": False}, Reason.PINNED, 5),
        ({"max": 2}, Reason.BOUNDS, 2),
        ({"min": 5}, Reason.BOUNDS, 5),
        ({"up": False}, Reason.HOST_DOWN, 3),
        ({"paused": True}, Reason.PAUSED, 3),
        ({"host_failures": 1}, Reason.HOST_FAILURES, 2),
        ({"host_failures": 1, "gpu_age": 500.0}, Reason.HOST_FAILURES, 2),
        ({"gpu_age": 46.0}, Reason.GPU_STALE, 3),
        ({"gpu_age": 46.0, "memory": memory(0.95)}, Reason.GPU_STALE, 3),
        ({"memory": memory(0.95), "limit": 1, "active": 1}, Reason.MEMORY_AT_MIN, 1),
        ({"memory": memory(0.95), "active": 5}, Reason.DRAINING, 3),
        ({"memory": memory(0.95)}, Reason.MEMORY_HIGH, 2),
        ({"memory": memory(0.95), "queue_age": 500.0}, Reason.MEMORY_HIGH, 2),
        ({"memory": memory(0.95), "memory_mode": MemoryMode.KV}, Reason.WAIT, 4),
        ({"memory": memory(0.99), "memory_mode": MemoryMode.KV}, Reason.MEMORY_HIGH, 3),
        ({"memory": memory(0.99), "memory_mode": MemoryMode.OFF}, Reason.WAIT, 4),
        ({"queue_age": 46.0}, Reason.QUEUE_STALE, 3),
        ({"oldest_wait": 59.0}, Reason.SATISFIED, 3),
        ({"waiting": 0}, Reason.NOT_BINDING, 3),
        ({"binding": 0.79}, Reason.NOT_BINDING, 3),
        ({"server_wait": 0.21}, Reason.SERVER_FULL, 3),
        ({"max": 3}, Reason.AT_MAX, 3),
        ({"memory": None}, Reason.MEMORY_UNKNOWN, 3),
        ({"memory": None, "memory_mode": MemoryMode.OFF}, Reason.WAIT, 4),
        ({"memory_mode": MemoryMode.OFF, "max_is_set": False}, Reason.MEMORY_UNKNOWN, 3),
        ({"memory": replace(memory(0.7), window_high=0.9)}, Reason.FORECAST, 3),
    ],
)
def test_the_first_branch_that_applies_wins(
    changes: dict[str, object], reason: Reason, limit: int
) -> None:
    wanted = {"before": changes.get("limit", 3), "wanted": changes.get("limit", 3)}
    decision = decided(replace(SEEN_FOR_LONG, **wanted), **changes)  # type: ignore[arg-type]  # as above
    assert (decision.reason, decision.limit) == (reason, limit)


def test_a_full_server_that_stays_full_gets_one_less_and_a_ceiling() -> None:
    state, told = SEEN_FOR_LONG, []
    limit = 3
    for tick in range(12):
        seen = replace(FENRIR, now=1000.0 + 15 * tick, limit=limit, active=limit, server_wait=0.8)
        state, decision = decide(SETTINGS, state, seen)
        limit = decision.limit
        told.append((decision.reason, limit))
    assert told[7] == (Reason.SERVER_FULL, 3)
    assert told[8] == (Reason.SERVER_FULL, 2)
    assert state.ceiling is not None
    assert state.ceiling.limit == 2


def trial(after: tuple[float, ...], before: float = 1.0) -> list[tuple[Reason, int]]:
    """Grow from 3 to 4 at 30 tokens/s, give or take; the windows after it have these rates."""
    state, limit, told = SEEN_FOR_LONG, 3, []
    for tick in range(20):
        rates = (30.0 - before, 30.0 + before, 30.0, 30.0) if tick == 0 else after
        # Satisfied from then on: what follows is the trial's own doing.
        wait = 70.0 if tick == 0 else 5.0
        seen = replace(
            FENRIR, now=1000.0 + 15 * tick, limit=limit, active=limit, rates=rates, oldest_wait=wait
        )
        state, decision = decide(SETTINGS, state, seen)
        limit = decision.limit
        told.append((decision.reason, limit))
    return told


def test_a_step_that_bought_nothing_goes_back_after_a_whole_window() -> None:
    assert trial((30.0, 30.1, 29.9, 30.0))[:6] == [
        (Reason.WAIT, 4), *[(Reason.PROBING, 4)] * 3, (Reason.NO_GAIN, 3), (Reason.SATISFIED, 3),
    ]  # fmt: skip


def test_a_step_that_surely_raised_throughput_stays_after_a_whole_window() -> None:
    assert trial((38.0, 40.0, 39.0, 39.0))[3:6] == [
        (Reason.PROBING, 4),
        *[(Reason.SATISFIED, 4)] * 2,
    ]


def test_a_step_whose_worth_is_in_doubt_is_watched_for_more_windows() -> None:
    told = trial((29.4, 31.4, 30.0, 30.6))
    assert told[4:8] == [(Reason.PROBING, 4)] * 4, "one window can't tell"
    assert told[8] == (Reason.NO_GAIN, 3), "two of them can"


def test_a_step_on_a_noisy_host_gets_the_benefit_of_the_doubt_at_once() -> None:
    assert trial((10.0, 50.0, 5.0, 55.0), before=20.0)[4:6] == [(Reason.SATISFIED, 4)] * 2


def test_steps_that_buy_nothing_again_and_again_are_tried_less_often() -> None:
    state, limit, tries = SEEN_FOR_LONG, 3, []
    for tick in range(1000):
        now = 1000.0 + 15 * tick
        seen = replace(FENRIR, now=now, limit=limit, active=limit)
        state, decision = decide(SETTINGS, state, seen)
        tries += [now] if decision.limit > limit else []
        limit = decision.limit
    between = [round((other - one) / 60) for one, other in itertools.pairwise(tries)]
    assert between[:2] == [11, 21]
    assert set(between[2:]) == {31}


def test_shrinks_that_free_nothing_are_counted_and_told() -> None:
    state, limit, futile = replace(SEEN_FOR_LONG, before=6, wanted=6), 6, 0
    for tick in range(12):
        seen = replace(
            FENRIR, now=1000.0 + 15 * tick, limit=limit, active=limit, memory=memory(0.93)
        )
        state, decision = decide(SETTINGS, state, seen)
        limit = decision.limit
        told = decision.evidence.get("futile_shrinks")
        futile = told if isinstance(told, int) else futile
    assert limit == 1
    assert futile >= 3


def test_a_limit_that_fails_again_holds_twice_as_long_and_no_longer_than_the_cap() -> None:
    state = SEEN_FOR_LONG
    seconds = []
    for turn in range(4):
        seen = replace(FENRIR, now=1000.0 + 100 * turn, host_failures=1)
        state, _ = decide(SETTINGS, replace(state, before=3, wanted=3), seen)
        assert state.ceiling is not None
        seconds.append(state.ceiling.seconds)
    assert seconds == [600.0, 1200.0, 1200.0, 1200.0]


def test_a_hand_edit_forgets_trial_and_ceiling() -> None:
    state, _ = decide(SETTINGS, SEEN_FOR_LONG, replace(FENRIR, host_failures=1))
    assert state.ceiling is not None
    state, _ = decide(SETTINGS, state, replace(FENRIR, now=1015.0, limit=5, active=5))
    assert (state.ceiling, state.trial) == (None, None)


def test_a_decision_that_was_not_taken_over_keeps_its_ceiling() -> None:
    state, _ = decide(SETTINGS, SEEN_FOR_LONG, replace(FENRIR, host_failures=1))
    state, decision = decide(SETTINGS, state, replace(FENRIR, now=1015.0))
    assert state.ceiling is not None
    assert decision.reason is Reason.COOLDOWN


@pytest.mark.parametrize(
    ("changes", "limit", "reason"),
    [
        ({}, 4, Reason.WAIT),
        ({"util": 0.4}, 4, Reason.LOW_UTILIZATION),
        ({"memory": memory(0.93)}, 2, Reason.MEMORY_HIGH),
    ],
)
def test_a_step_that_nobody_takes_is_asked_for_steadily(
    changes: dict[str, object], limit: int, reason: Reason
) -> None:
    state, told = SEEN_FOR_LONG, []
    for tick in range(40):
        seen = replace(FENRIR, now=1000.0 + 15 * tick, **changes)  # type: ignore[arg-type]  # the fields' own types
        state, decision = decide(SETTINGS, state, seen)
        told.append((decision.limit, decision.reason))
    assert set(told) == {(limit, reason)}
    assert state.futile == 0, "a shrink that nobody took freed nothing, of course"


def test_another_model_starts_the_memory_model_anew() -> None:
    state = SEEN_FOR_LONG
    for tick in range(4):
        state, _ = decide(SETTINGS, state, replace(FENRIR, now=1000.0 + 15 * tick))
    assert state.memory.floor is not None
    state, _ = decide(SETTINGS, state, replace(FENRIR, now=1075.0, model_memory=5e9))
    assert state.memory.floor is None


def test_nothing_grows_on_what_is_known_of_the_model_before() -> None:
    state = replace(SEEN_FOR_LONG, model_memory=4e9)
    told = []
    for tick in range(12):
        seen = replace(FENRIR, now=1000.0 + 15 * tick, model_memory=5e9)
        state, decision = decide(SETTINGS, state, seen)
        told.append(decision.reason)
        if decision.action is Action.GROW:
            break
    # One tick learns nothing, and then a whole window must have been seen.
    assert told == [*[Reason.WARMING_UP] * 5, Reason.WAIT]


@pytest.mark.parametrize("mode", MemoryMode)
@pytest.mark.parametrize("source", ["gpu_age", "queue_age"])
def test_after_a_gap_nothing_grows_before_a_whole_minute_was_seen_again(
    source: str, mode: MemoryMode
) -> None:
    state, told = SEEN_FOR_LONG, []
    for tick in range(6):
        age = 600.0 if tick == 0 else 3.0
        seen = replace(FENRIR, now=1000.0 + 15 * tick, memory_mode=mode, **{source: age})  # type: ignore[arg-type]  # a float
        state, decision = decide(SETTINGS, state, seen)
        told.append(decision.reason)
    stale = Reason.GPU_STALE if source == "gpu_age" else Reason.QUEUE_STALE
    assert told == [stale, *[Reason.WARMING_UP] * 4, Reason.WAIT]


def test_a_step_is_not_judged_by_the_throughput_of_the_model_before() -> None:
    state, limit, told = replace(SEEN_FOR_LONG, model_memory=2e9), 3, []
    for tick in range(62):
        model, rate = (2e9, 100.0) if tick < 40 else (4e9, 20.0)
        seen = replace(
            FENRIR, now=1000.0 + 15 * tick, limit=limit, active=limit, model_memory=model,
            rates=(rate * limit,) * 4, oldest_wait=70.0 if tick > 39 else 5.0,
        )  # fmt: skip
        state, decision = decide(SETTINGS, state, seen)
        limit = decision.limit
        told.append(decision.reason)
    assert Reason.WAIT in told
    assert Reason.NO_GAIN not in told


@pytest.mark.parametrize("mode", [MemoryMode.NVML, MemoryMode.OFF])
def test_another_model_ends_a_trial_and_nothing_grows_for_a_whole_window(mode: MemoryMode) -> None:
    state, grown = decide(SETTINGS, SEEN_FOR_LONG, replace(FENRIR, memory_mode=mode))
    assert (grown.limit, state.trial is None) == (4, False)
    told, limit = [], 4
    for tick in range(1, 5):
        seen = replace(
            FENRIR, now=1000.0 + 15 * tick, limit=limit, active=limit, model_memory=5e9,
            memory_mode=mode,
        )  # fmt: skip
        state, decision = decide(SETTINGS, state, seen)
        limit = decision.limit
        told.append(decision.reason)
    assert (told, state.trial) == ([Reason.UNJUDGED, *[Reason.WARMING_UP] * 3], None)
    assert limit == 3, "nobody can say what the step bought, so it goes back"


def changes_an_hour(period: float) -> float:
    """Of a server whose throughput is 40 tokens/s at any limit, and whose two models take turns."""
    state, limit, changes, hours = State(), 2, 0, 6
    for tick in range(hours * 240):
        now = 15.0 * tick
        seen = replace(
            FENRIR, now=now, limit=limit, max=16, active=limit, rates=(40.0,) * 4,
            model_memory=4e9 if (now // period) % 2 else 3e9,
        )  # fmt: skip
        state, decision = decide(SETTINGS, state, seen)
        changes += decision.limit != limit
        limit = decision.limit
        assert limit <= 3, "a step that buys nothing is never kept"
    return changes / hours


@pytest.mark.parametrize("period", [30.0, 90.0, 120.0, 180.0, 300.0, 600.0])
def test_models_that_take_turns_make_few_changes(period: float) -> None:
    assert changes_an_hour(period) < 6


def test_a_host_that_goes_with_its_tasks_has_fewer_when_it_is_back() -> None:
    state, told = SEEN_FOR_LONG, []
    for tick, (up, failures) in enumerate([(False, 3), (False, 0), (True, 0), (True, 0)]):
        seen = replace(FENRIR, now=1000.0 + 15 * tick, up=up, host_failures=failures)
        state, decision = decide(SETTINGS, state, seen)
        told.append((decision.reason, decision.limit))
    down, back = (Reason.HOST_DOWN, 3), (Reason.HOST_FAILURES, 2)
    assert told[:3] == [down, down, back]
    assert told[3][0] is not Reason.HOST_FAILURES, "what was told once is acted on once"


def test_a_step_is_not_judged_by_the_throughput_of_before_the_host_was_down() -> None:
    """What came back may be another model, of which nobody said how much memory it takes."""
    state, limit, told = SEEN_FOR_LONG, 3, []
    for tick in range(60):
        rate = 100.0 if tick < 40 else 20.0
        seen = replace(
            FENRIR, now=1000.0 + 15 * tick, limit=limit, active=limit, up=tick != 40,
            rates=(rate * limit,) * 4, oldest_wait=70.0 if tick > 40 else 5.0,
        )  # fmt: skip
        state, decision = decide(SETTINGS, state, seen)
        limit = decision.limit
        told.append(decision.reason)
    assert Reason.WAIT in told
    assert Reason.NO_GAIN not in told


def test_windows_from_before_a_long_rest_say_nothing_of_a_step() -> None:
    steady = Throughput(limit=3, are_tokens=True, at=0.0)
    for minute in range(1, 11):
        steady = steady.after(SETTINGS, replace(FENRIR, now=60.0 * minute))
    assert (steady.count, steady.mean) == (40.0, 30.0)
    slower = replace(FENRIR, rates=(10.0,) * 4)
    short = steady.after(SETTINGS, replace(slower, now=600.0 + 600.0))
    assert short.mean > 25.0, "a short rest is none"
    long = steady.after(SETTINGS, replace(slower, now=600.0 + 3 * 3600.0))
    assert (long.count, long.mean) == (4.0, 10.0)


def test_a_kv_cache_that_is_full_for_a_moment_is_well_again() -> None:
    full, well = memory(0.99), memory(0.8)
    state, told = replace(SEEN_FOR_LONG), []
    for tick, ratio in enumerate([full, well, full, well, full, full]):
        seen = replace(
            FENRIR, now=1000.0 + 15 * tick, memory=ratio, memory_mode=MemoryMode.KV, oldest_wait=1.0
        )
        state, decision = decide(SETTINGS, state, seen)
        told.append((decision.reason, decision.limit))
    over, under = (Reason.MEMORY_HIGH, 3), (Reason.SATISFIED, 3)
    assert told == [over, under, over, under, over, (Reason.MEMORY_HIGH, 2)]


@pytest.mark.parametrize("mode", [MemoryMode.KV, MemoryMode.NVML])
def test_a_server_that_puts_tasks_off_gets_no_more_of_them(mode: MemoryMode) -> None:
    seen = replace(FENRIR, now=1000.0, preemptions=1, memory=memory(0.4), memory_mode=mode)
    _, decision = decide(SETTINGS, SEEN_FOR_LONG, seen)
    if mode is MemoryMode.KV:
        assert (decision.reason, decision.limit) == (Reason.FORECAST, 3)
    else:
        assert decision.action is Action.GROW, "a card of its own memory has none"


def test_a_shrink_that_was_not_enough_is_followed_by_one_of_thrice_the_need() -> None:
    state, limit, limits = replace(SEEN_FOR_LONG, before=16, wanted=16), 16, []
    for tick in range(5):
        high = 0.7 if tick == 0 else 0.901
        seen = replace(
            FENRIR, now=1000.0 + 15 * tick, max=16, limit=limit, active=limit, memory=memory(high)
        )
        state, decision = decide(SETTINGS, state, replace(seen, oldest_wait=1.0))
        limit = decision.limit
        limits.append(limit)
    assert limits == [16, 15, 15, 12, 12], "no more than a quarter at once"


def test_a_kv_cache_may_be_filled_closer_than_a_card() -> None:
    """What runs out there preempts a task, and fails none."""
    learned = MemoryModel(
        floor=0.2, above=4.0, tasks=30.0, squares=0.1, weight=100.0, since=0.0, falls=1
    )
    state = replace(SEEN_FOR_LONG, memory=learned)
    near = {"memory": memory(0.7), "limit": 3, "active": 3}
    settings = replace(SETTINGS, memory_high_ratio=0.9, kv_high_ratio=0.9)
    forecasts = {}
    for mode in (MemoryMode.NVML, MemoryMode.KV):
        seen = replace(FENRIR, memory_mode=mode, **near)  # type: ignore[arg-type]  # its own types
        forecasts[mode] = decide(settings, state, seen)[1].evidence["forecast"]
    card, kv = forecasts[MemoryMode.NVML], forecasts[MemoryMode.KV]
    assert isinstance(card, float)
    assert isinstance(kv, float)
    assert card - kv == pytest.approx(0.5 * 0.0316 * 2, rel=0.05)


def test_memory_that_never_falls_leaves_more_room_for_the_next_task() -> None:
    state = SEEN_FOR_LONG
    for tick, high in enumerate([0.3, 0.6, 0.62, 0.65, 0.68]):
        active = 0 if tick == 0 else 3
        seen = replace(
            FENRIR, now=1000.0 + 15 * tick, active=active, memory=memory(high), oldest_wait=1.0
        )
        state, _ = decide(SETTINGS, state, seen)
    seen = replace(FENRIR, now=1075.0, memory=memory(0.68))
    _, decision = decide(SETTINGS, state, seen)
    assert decision.reason is Reason.FORECAST
    fell = replace(state, memory=replace(state.memory, falls=1))
    _, decision = decide(SETTINGS, fell, seen)
    assert decision.reason is Reason.WAIT


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"memory_high_ratio": 0.99}, "memory_urgent_ratio"),
        ({"scrape_seconds": 30.0}, "decide_seconds"),
        ({"scrape_seconds": 8.0}, "trial_piece_seconds"),
        ({"scrape_seconds": 5.0, "stale_seconds": 9.0}, "stale_seconds"),
        ({"decide_seconds": 7200.0, "window_seconds": 7200.0, "trial_seconds_max": 7200.0}, "3600"),
        ({"ceiling_seconds": 1300.0}, "ceiling_seconds_max"),
        ({"colour": 1}, "colour"),
    ],
)
def test_settings_that_contradict_each_other_are_named(given: dict[str, float], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        make_settings(given)


def test_every_setting_of_the_file_is_one_of_the_rule() -> None:
    from dataclasses import fields

    from ygg.autoscalerfile import AUTOSCALER_KEYS

    assert set(AUTOSCALER_KEYS) == {field.name for field in fields(Settings)}


def test_what_the_file_says_of_a_default_is_the_rules_own() -> None:
    from ygg.autoscalerfile import AUTOSCALER_KEYS
    from ygg.hostsfile import parse_fleet

    for name, key in AUTOSCALER_KEYS.items():
        if key.default:
            text = f"hosts: {{h: {{url: 'http://h'}}}}\nautoscaler: {{{name}: {key.default}}}"
            read = parse_fleet(text, "hosts.yaml").autoscaler
            assert read[name] == getattr(Settings(), name), name

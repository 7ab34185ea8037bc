"""The rule: what a host's limit should be next, and why. Pure: no clock, no I/O.

The law is three sentences of the user: memory over 90 % means shrink; utilization under 50 %, or
a wait of over a minute, means grow; always within bounds, never against a pin. Applied literally
at every tick they oscillate and kill; the rest of this file is the least that makes them work.
The branches stand in order of weight, and the first that applies wins: what protects stands
before what improves, and missing evidence changes nothing.

Learned memory is memory.py's, the judgement of a step trial.py's. What was added to the rule as it
was first written down, here and there, has its reason and what the simulated fleet
(`python -m tests.simulation`) showed beside it: "Added:".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from autoscaler.memory import MemoryModel
from autoscaler.observed import MemoryMode, Signals
from autoscaler.settings import Settings
from autoscaler.trial import Ceiling, Throughput, Trial, Verdict, judge


class Action(StrEnum):
    GROW = "grow"
    SHRINK = "shrink"
    HOLD = "hold"


class Reason(StrEnum):
    """The closed list; a label of metrics."""

    PINNED = "pinned"
    BOUNDS = "bounds"
    HOST_DOWN = "host_down"
    PAUSED = "paused"
    HOST_FAILURES = "host_failures"
    GPU_STALE = "gpu_stale"
    MEMORY_AT_MIN = "memory_at_min"
    DRAINING = "draining"
    SHRINK_COOLDOWN = "shrink_cooldown"
    MEMORY_HIGH = "memory_high"
    QUEUE_STALE = "queue_stale"
    WARMING_UP = "warming_up"
    PROBING = "probing"
    NO_GAIN = "no_gain"
    UNJUDGED = "unjudged"
    SATISFIED = "satisfied"
    NOT_BINDING = "not_binding"
    SERVER_FULL = "server_full"
    AT_MAX = "at_max"
    COOLDOWN = "cooldown"
    CEILING = "ceiling"
    MEMORY_UNKNOWN = "memory_unknown"
    FORECAST = "forecast"
    LOW_UTILIZATION = "low_utilization"
    WAIT = "wait"


#: A second shrink soon after the first takes so many times what seems needed, up to the quarter.
#: Added: where another model came, what was learned of a task is too little. Memory failures after
#: such a step, on 80 runs: 39 with what seems needed, 27 with three times as much.
_AGAIN: Final = 3

Evidence = Mapping[str, float | int | bool | str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What the limit should be from now on, why, and the numbers that say so."""

    action: Action
    reason: Reason
    limit: int
    evidence: Evidence = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What the rule remembers of a host. Nothing in it matters so much that a restart harms."""

    #: Since when both sources were fresh at each look, and the models the same; None: a source is
    #: not fresh now.
    since: float | None = None
    #: The limit before the last decision, and the one it asked for.
    before: int | None = None
    wanted: int | None = None
    memory: MemoryModel = field(default_factory=MemoryModel)
    #: The loaded models' memory at the last tick; a change starts the model anew.
    model_memory: float | None = None
    #: Since when that has been so.
    model_since: float | None = None
    was_down: bool = False
    #: Attempts that the host took with it when it went: told once, and acted on when it is back.
    failures_while_down: int = 0
    #: Where a step came from whose trial ended without a judgement.
    unjudged: int | None = None
    trial: Trial | None = None
    #: Throughput under the limit of now, while it holds work back.
    steady: Throughput | None = None
    #: The last limit that failed, also after it expired: failing again holds longer.
    ceiling: Ceiling | None = None
    last_shrink: float = -math.inf
    last_growth: float = -math.inf
    last_failure_shrink: float = -math.inf
    #: Since when the server itself is the queue.
    server_full_since: float | None = None
    #: Since when the KV cache was full at each look.
    kv_full_since: float | None = None
    #: Memory just before the last shrink for memory's sake, until its effect was seen.
    shrunk_at: float | None = None
    #: Shrinks in a row that changed memory by next to nothing.
    futile: int = 0
    #: As it was before the last step, should nobody take that over; None: none was asked for.
    untaken: State | None = None


def decide(settings: Settings, state: State, signals: Signals) -> tuple[State, Decision]:
    """The limit that the host should have next.

    Args:
        settings: the constants.
        state: as the last call for this host returned it; `State()` at first.
        signals: what is seen now; `now` never before that of the last call.
    """
    state = _taken_in(settings, state, signals)
    after, decision = _first_that_applies(settings, state, signals)
    # Failures are told once, so what was made of them stands.
    undone = decision.limit != signals.limit and decision.reason is not Reason.HOST_FAILURES
    untaken = replace(state, untaken=None) if undone else None
    after = replace(after, before=signals.limit, wanted=decision.limit, untaken=untaken)
    return after, decision


# -- what was seen, before anything is decided -----------------------------------------------------


def _taken_in(settings: Settings, state: State, seen: Signals) -> State:
    state = _heeded_others(state, seen)
    state = _watched(settings, state, seen)
    state = _learned(settings, state, seen)
    state = _measured(settings, state, seen)
    kv_full = seen.memory_mode is MemoryMode.KV and _memory_is_high(settings, seen)
    kv_since = seen.now if state.kv_full_since is None else state.kv_full_since
    state = replace(state, kv_full_since=kv_since if kv_full else None)
    full = (seen.server_wait or 0.0) > settings.server_wait_urgent_ratio
    since = None if not full else state.server_full_since
    return replace(state, server_full_since=seen.now if full and since is None else since)


def _watched(settings: Settings, state: State, seen: Signals) -> State:
    """After a gap the windows hold a sample or two: a minute is watched anew, as at the start."""
    if max(seen.queue_age, seen.gpu_age) > settings.stale_seconds:
        return replace(state, since=None)
    return replace(state, since=seen.now) if state.since is None else state


def _heeded_others(state: State, seen: Signals) -> State:
    """The limit is not what was asked for: it was not taken over, or a person set another.

    A step that nobody took (a dry run, another autoscaler leads) has no effect to wait for: the
    same evidence asks for the same limit again. What failed stays known.
    """
    if state.wanted is None or seen.limit == state.wanted:
        return state
    if seen.limit == state.before:
        return replace(state.untaken or state, trial=None, unjudged=None, ceiling=state.ceiling)
    return replace(state, trial=None, unjudged=None, ceiling=None)


def _learned(settings: Settings, state: State, seen: Signals) -> State:
    """Memory of a task, from ticks at which both sources are fresh and no model is loading."""
    if not seen.up:
        failures = state.failures_while_down + seen.host_failures
        return replace(state, was_down=True, failures_while_down=failures)
    changed = seen.model_memory != state.model_memory
    if state.was_down:
        state = replace(state, steady=None)  # another model may have come with it
    if changed:
        # Other weights, other speed: neither a baseline nor a trial outlives them.
        state = replace(state, since=seen.now, steady=None)
        state = _forgotten_with_its_model(settings, state, seen)
    if state.was_down or changed:
        # Other weights, other memory a task: an empty card seen once would else make the weights
        # count as tasks' memory. It learns nothing at this tick: the model may still be loading.
        return replace(
            state,
            memory=state.memory.anew,
            was_down=False,
            model_memory=seen.model_memory,
        )
    if seen.memory is None or max(seen.gpu_age, seen.queue_age) > settings.stale_seconds:
        return state
    memory = state.memory.after(
        now=seen.now,
        memory=seen.memory.last,
        active=seen.active,
        forget_seconds=settings.memory_forget_seconds,
        drift_seconds=settings.floor_drift_seconds,
        load_ratio=settings.load_ratio,
    )
    return replace(_effect_seen(settings, state, seen), memory=memory)


def _forgotten_with_its_model(settings: Settings, state: State, seen: Signals) -> State:
    """A ceiling, and a trial, which then counts as failed: nobody can say any more what it bought.

    Added: models that take turns every few minutes keep both from being forgotten each time. A
    server of saturated throughput made up to 40 changes an hour, or went to its maximum unjudged.
    """
    since, trial = state.model_since, state.trial
    state = replace(state, model_since=seen.now, trial=None)
    if state.model_memory is not None and (
        since is None or seen.now - since >= settings.ceiling_seconds_max
    ):
        state = replace(state, ceiling=None)
    if trial is not None and seen.limit > trial.limit_before:
        state = replace(state, unjudged=trial.limit_before)
    return state


def _measured(settings: Settings, state: State, seen: Signals) -> State:
    steady = state.steady
    same = steady is not None and steady.limit == seen.limit
    if steady is None or not same or steady.are_tokens is not seen.rates_are_tokens:
        steady = Throughput(limit=seen.limit, are_tokens=seen.rates_are_tokens, at=seen.now)
        return replace(state, steady=steady)
    if seen.queue_age > settings.stale_seconds:
        return state
    trial = state.trial
    return replace(
        state,
        steady=steady.after(settings, seen),
        trial=None if trial is None else trial.after(settings, seen),
    )


def _effect_seen(settings: Settings, state: State, seen: Signals) -> State:
    """Whether the last shrink did anything for memory, once its tasks have drained."""
    if state.shrunk_at is None or seen.memory is None or seen.active > seen.limit:
        return state
    if seen.now - state.last_shrink < settings.memory_window_seconds:
        return state
    helped = state.shrunk_at - seen.memory.last >= settings.futile_ratio
    return replace(state, shrunk_at=None, futile=0 if helped else state.futile + 1)


# -- the branches, in order of weight --------------------------------------------------------------


def _first_that_applies(settings: Settings, state: State, seen: Signals) -> tuple[State, Decision]:
    if seen.pin is not None:
        return _moved(replace(state, trial=None), seen, seen.pin, Reason.PINNED)
    nearest = min(max(seen.limit, seen.min), seen.max)
    if nearest != seen.limit:
        return _moved(replace(state, trial=None), seen, nearest, Reason.BOUNDS)
    if not seen.up:
        return _held(replace(state, trial=None), seen, Reason.HOST_DOWN)
    if seen.paused:
        return _held(replace(state, trial=None), seen, Reason.PAUSED)
    if seen.host_failures + state.failures_while_down > 0:
        state, failed = _after_failures(settings, state, seen)
        if failed is not None:
            return state, failed
    if seen.gpu_age > settings.stale_seconds:
        return _held(state, seen, Reason.GPU_STALE)
    if _memory_is_high(settings, seen):
        return _for_memory(settings, state, seen)
    if seen.queue_age > settings.stale_seconds:
        return _held(state, seen, Reason.QUEUE_STALE)
    if state.unjudged is not None:
        return _back(settings, state, state.unjudged, seen)
    if state.trial is not None:
        state, judged = _on_trial(settings, state, state.trial, seen)
        if judged is not None:
            return state, judged
    return _growth(settings, state, seen)


def _after_failures(
    settings: Settings, state: State, seen: Signals
) -> tuple[State, Decision | None]:
    """With a blind exporter, failures are the only sign of memory trouble that is left."""
    state = replace(state, failures_while_down=0)
    if seen.now - state.last_failure_shrink < settings.failure_cooldown_seconds:
        return state, None
    limit = max(seen.min, seen.limit - max(1, int(seen.limit * settings.shrink_ratio_max)))
    state = _remembered(settings, state, seen, limit)
    state = replace(state, last_failure_shrink=seen.now)
    if limit == seen.limit:
        return state, None  # at the minimum already: what else is known decides
    return _shrunk(state, seen, limit, Reason.HOST_FAILURES)


def _memory_high(settings: Settings, seen: Signals) -> float:
    kv = seen.memory_mode is MemoryMode.KV
    return settings.kv_high_ratio if kv else settings.memory_high_ratio


def _memory_is_high(settings: Settings, seen: Signals) -> bool:
    if seen.memory is None or seen.memory_mode is MemoryMode.OFF:
        return False
    kv = seen.memory_mode is MemoryMode.KV
    return (seen.memory.last if kv else seen.memory.high) > _memory_high(settings, seen)


def _for_memory(settings: Settings, state: State, seen: Signals) -> tuple[State, Decision]:
    """Memory is over its threshold: nothing but a shrink comes of it, and it ends a trial."""
    assert seen.memory is not None
    over = seen.memory.high - _memory_high(settings, seen)
    state = replace(state, trial=None)
    evidence: Evidence = {"futile_shrinks": state.futile}
    kv = seen.memory_mode is MemoryMode.KV
    if kv and seen.now - (state.kv_full_since or seen.now) < settings.memory_window_seconds:
        # A KV cache that is full for a moment preempts a task, and is well again.
        return _held(state, seen, Reason.MEMORY_HIGH, evidence)
    if seen.limit <= seen.min:
        return _held(state, seen, Reason.MEMORY_AT_MIN, evidence)
    # Where nothing new is heard of the queue, nobody knows whether it still drains.
    if seen.active > seen.limit and seen.queue_age <= settings.stale_seconds:
        return _held(state, seen, Reason.DRAINING, evidence)
    urgent = seen.memory.high >= settings.memory_urgent_ratio
    rested = seen.now - state.last_shrink >= settings.shrink_cooldown_seconds
    if not (rested or (urgent and seen.memory_mode is MemoryMode.NVML)):
        return _held(state, seen, Reason.SHRINK_COOLDOWN, evidence)
    quarter = int(seen.limit * settings.shrink_ratio_max)
    mu = state.memory.mu
    needed = quarter if mu <= 0 or over / mu >= quarter else math.ceil(over / mu)
    if seen.now - state.last_shrink < settings.growth_after_shrink_seconds:
        # One was not enough: what a task takes is more than was learned.
        needed = min(quarter, _AGAIN * needed)
    limit = max(seen.min, seen.limit - max(1, needed))
    state = _remembered(settings, state, seen, limit)
    state = replace(state, shrunk_at=seen.memory.last)
    return _shrunk(state, seen, limit, Reason.MEMORY_HIGH, evidence)


def _on_trial(
    settings: Settings, state: State, trial: Trial, seen: Signals
) -> tuple[State, Decision | None]:
    """None: the step is kept, or forgotten, and what follows may go on from it."""
    verdict = judge(settings, trial, seen)
    evidence: Evidence = {
        "trial_from": trial.limit_before,
        "trial_rate_before": None if trial.before is None else trial.before.mean,
        "trial_rate": trial.reached.mean if trial.windows else None,
        "trial_since_seconds": seen.now - trial.since,
    }
    if verdict is Verdict.PENDING:
        return _held(state, seen, Reason.PROBING, evidence)
    state = replace(state, trial=None)
    if verdict is not Verdict.NO_GAIN:
        return state, None
    limit = max(seen.min, trial.limit_before)
    state = _remembered(settings, state, seen, limit, most=settings.no_gain_seconds_max)
    return _shrunk(state, seen, limit, Reason.NO_GAIN, evidence)


def _back(settings: Settings, state: State, before: int, seen: Signals) -> tuple[State, Decision]:
    limit = max(seen.min, min(before, seen.limit))
    state = _remembered(settings, state, seen, limit, most=settings.no_gain_seconds_max)
    return _shrunk(state, seen, limit, Reason.UNJUDGED)


def _growth(settings: Settings, state: State, seen: Signals) -> tuple[State, Decision]:
    idle = seen.util is not None and seen.util < settings.utilization_low_ratio
    late = seen.oldest_wait > settings.wait_seconds_max
    if not (idle or late):
        return _held(state, seen, Reason.SATISFIED)
    if seen.waiting <= 0 or seen.binding < settings.binding_ratio:
        return _held(state, seen, Reason.NOT_BINDING)
    if (seen.server_wait or 0.0) > settings.server_wait_high_ratio:
        return _server_is_full(settings, state, seen)
    if seen.limit >= seen.max:
        return _held(state, seen, Reason.AT_MAX)
    if _is_new(settings, state, seen):
        return _held(state, seen, Reason.WARMING_UP)
    shrunk_lately = seen.now - state.last_shrink < settings.growth_after_shrink_seconds
    grown_lately = seen.now - state.last_growth < settings.growth_after_growth_seconds
    if shrunk_lately or grown_lately:
        return _held(state, seen, Reason.COOLDOWN)
    most = max(1, min(int(seen.limit * settings.growth_ratio_max), settings.growth_slots_max))
    most = min(most, seen.max - seen.limit)
    ceiling = state.ceiling
    if ceiling is not None and ceiling.holds(seen.now):
        most = min(most, ceiling.limit - seen.limit)
        if most <= 0:
            left: Evidence = {"ceiling": ceiling.limit, "ceiling_seconds": ceiling.until - seen.now}
            return _held(state, seen, Reason.CEILING, left)
    unknown = seen.memory is None and seen.memory_mode is not MemoryMode.OFF
    if unknown or (seen.memory_mode is MemoryMode.OFF and not seen.max_is_set):
        return _held(state, seen, Reason.MEMORY_UNKNOWN)
    if seen.memory_mode is MemoryMode.KV and seen.preemptions > 0:
        # It puts tasks off already, whatever its cache showed at the moments of the scrapes. To
        # shrink for that costs more than it saves: a tight KV cache kept 102 % of the best limit's
        # goodput without, and 84 % with it.
        return _held(state, seen, Reason.FORECAST, {"preemptions": seen.preemptions})
    for step in range(most, 0, -1):
        forecast = _forecast(settings, state, seen, step)
        if forecast is None or forecast < _memory_high(settings, seen):
            reason = Reason.LOW_UTILIZATION if idle else Reason.WAIT
            return _grown(state, seen, step, reason, {"forecast": forecast})
    return _held(state, seen, Reason.FORECAST, {"forecast": _forecast(settings, state, seen, 1)})


def _is_new(settings: Settings, state: State, seen: Signals) -> bool:
    """The host, or what its models take, is not known for a whole window yet."""
    if state.since is None or seen.now - state.since < settings.window_seconds:
        return True
    if seen.memory is None or seen.memory_mode is MemoryMode.OFF:
        return False
    learned_since = state.memory.since
    return learned_since is None or seen.now - learned_since < settings.window_seconds


def _forecast(settings: Settings, state: State, seen: Signals, step: int) -> float | None:
    """What memory would be with so many more; None: it says nothing here.

    Added: memory that never falls is a high-water mark, of which the next one is higher: a new task
    is taken for several (of the best limit's goodput a caching allocator got 76 %, and now 96 %).
    """
    if seen.memory is None or seen.memory_mode is MemoryMode.OFF:
        return None
    kv = seen.memory_mode is MemoryMode.KV
    forecast = state.memory.forecast(
        seen.limit + step,
        step=step,
        recent_high=seen.memory.window_high,
        deviations=settings.kv_forecast_deviations if kv else settings.forecast_deviations,
    )
    if state.memory.is_high_water and not kv:
        more = settings.high_water_steps * state.memory.mu * step
        forecast = max(forecast, seen.memory.window_high + more)
    return forecast


def _server_is_full(settings: Settings, state: State, seen: Signals) -> tuple[State, Decision]:
    """Growing would only hide a queue where priorities don't count."""
    since = state.server_full_since
    needed = settings.server_wait_windows * settings.window_seconds
    if since is None or seen.now - since < needed or seen.limit <= seen.min:
        return _held(state, seen, Reason.SERVER_FULL)
    limit = seen.limit - 1
    state = replace(_remembered(settings, state, seen, limit), server_full_since=None)
    return _shrunk(state, seen, limit, Reason.SERVER_FULL)


# -- decisions -------------------------------------------------------------------------------------


def _remembered(
    settings: Settings,
    state: State,
    seen: Signals,
    limit: int,
    *,
    most: float | None = None,
) -> State:
    """No growth past this limit for a while: the one above it failed."""
    first = settings.ceiling_seconds
    most = settings.ceiling_seconds_max if most is None else most
    return replace(
        state, ceiling=Ceiling.after(state.ceiling, limit, seen.now, first=first, most=most)
    )


def _held(
    state: State, seen: Signals, reason: Reason, more: Evidence | None = None
) -> tuple[State, Decision]:
    return state, _decision(state, seen, Action.HOLD, reason, seen.limit, more)


def _moved(state: State, seen: Signals, limit: int, reason: Reason) -> tuple[State, Decision]:
    """By pins and bounds: no evidence of ours, so neither cooldown nor ceiling comes of it."""
    action = Action.HOLD
    if limit != seen.limit:
        action = Action.GROW if limit > seen.limit else Action.SHRINK
    return state, _decision(state, seen, action, reason, limit, None)


def _shrunk(
    state: State, seen: Signals, limit: int, reason: Reason, more: Evidence | None = None
) -> tuple[State, Decision]:
    state = replace(state, trial=None, unjudged=None, last_shrink=seen.now)
    return state, _decision(state, seen, Action.SHRINK, reason, limit, more)


def _grown(
    state: State, seen: Signals, step: int, reason: Reason, more: Evidence
) -> tuple[State, Decision]:
    state = replace(state, last_growth=seen.now, trial=Trial.of(seen, step, state.steady))
    return state, _decision(state, seen, Action.GROW, reason, seen.limit + step, more)


def _decision(
    state: State, seen: Signals, action: Action, reason: Reason, limit: int, more: Evidence | None
) -> Decision:
    evidence: dict[str, float | int | bool | str | None] = {
        "limit": seen.limit,
        "min": seen.min,
        "max": seen.max,
        "active": seen.active,
        "waiting": seen.waiting,
        "oldest_wait": seen.oldest_wait,
        "binding": seen.binding,
        "util": seen.util,
        "memory": None if seen.memory is None else seen.memory.high,
        "memory_per_task": state.memory.mu,
        "server_wait": seen.server_wait,
        "gpu_age": seen.gpu_age if math.isfinite(seen.gpu_age) else None,
        "queue_age": seen.queue_age if math.isfinite(seen.queue_age) else None,
    }
    return Decision(
        action=action, reason=reason, limit=limit, evidence={**evidence, **(more or {})}
    )

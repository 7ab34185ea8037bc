"""The rule's reasons in words, with the numbers of a decision. Pure.

Two tables: why it was decided so, and what would change it. A test holds both against the closed
list of reasons.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from autoscaler.observed import MemoryMode
from autoscaler.policy import Reason
from autoscaler.records import Record
from autoscaler.settings import Settings
from ygg.printing import seconds


def _percent(ratio: float | None) -> str:
    return "unknown" if ratio is None else f"{ratio:.0%}"


def _since(age: float) -> str:
    return f"for {seconds(age)}" if math.isfinite(age) else "so far"


def _trouble(record: Record) -> str:
    why = record.evidence.get("trouble")
    return f": {why}" if isinstance(why, str) and why else ""


def _memory(record: Record) -> str:
    memory = record.signals.memory
    cache = "the KV cache" if record.signals.memory_mode is MemoryMode.KV else "memory"
    return f"{cache} is {_percent(None if memory is None else memory.high)} full"


def _memory_limit(record: Record, settings: Settings) -> str:
    kv = record.signals.memory_mode is MemoryMode.KV
    return _percent(settings.kv_high_ratio if kv else settings.memory_high_ratio)


def _evidence(record: Record, name: str) -> float | None:
    value = record.evidence.get(name)
    return float(value) if isinstance(value, (int, float)) else None


def _forecast(record: Record) -> str:
    if preemptions := _evidence(record, "preemptions"):
        return (
            f"the server put off {preemptions:.0f} task(s) in the last window for want of KV cache: "
            "there is no room for one more"
        )
    found = _evidence(record, "forecast")
    return f"memory with one more task is forecast at {_percent(found)}"


def _trial(record: Record) -> str:
    before, after = _evidence(record, "trial_rate_before"), _evidence(record, "trial_rate")
    unit = "tokens/s" if record.signals.rates_are_tokens else "tasks/s"
    if before is None or after is None:
        return "the throughput at the last step up"
    return f"{after:.3g} {unit} after the last step up, {before:.3g} before it"


_Tell = Callable[[Record, Settings], str]

_WHY: Final[Mapping[Reason, _Tell]] = {
    Reason.PINNED: lambda r, _: f"it is pinned at {r.signals.pin} by hand",
    Reason.BOUNDS: lambda r, _: f"{r.limit} is outside its bounds, {r.signals.min} to {r.signals.max}",
    Reason.HOST_DOWN: lambda _, __: "the host is down",
    Reason.PAUSED: lambda _, __: "the host is paused by hand",
    Reason.HOST_FAILURES: lambda r, _: (
        f"the host failed {r.signals.host_failures} task(s) that it had taken: often memory"
    ),
    Reason.GPU_STALE: lambda r, _: (
        f"nothing new was heard of its GPU {_since(r.signals.gpu_age)}{_trouble(r)}"
    ),
    Reason.MEMORY_AT_MIN: lambda r, s: (
        f"{_memory(r)}, over {_memory_limit(r, s)}, and the limit is at its minimum already"
    ),
    Reason.DRAINING: lambda r, _: (
        f"{_memory(r)}, and {r.signals.active} tasks still run from before the last shrink"
    ),
    Reason.SHRINK_COOLDOWN: lambda r, _: f"{_memory(r)}, and the last shrink is just done",
    Reason.MEMORY_HIGH: lambda r, s: f"{_memory(r)}, over {_memory_limit(r, s)}",
    Reason.QUEUE_STALE: lambda r, _: (
        f"nothing new was heard of the dispatcher {_since(r.signals.queue_age)}{_trouble(r)}"
    ),
    Reason.WARMING_UP: lambda _, __: "it has not watched the host, or the models it has now, for a whole window yet",
    Reason.PROBING: lambda r, _: f"the last step up is on trial: {_trial(r)}",
    Reason.NO_GAIN: lambda r, _: f"the last step up bought nothing: {_trial(r)}",
    Reason.UNJUDGED: lambda _, __: (
        "another model came before anybody could tell what the last step up bought"
    ),
    Reason.SATISFIED: lambda r, s: (
        f"utilization is {_percent(r.signals.util)} and the oldest wait {seconds(r.signals.oldest_wait)}: "
        f"neither under {_percent(s.utilization_low_ratio)} nor over {seconds(s.wait_seconds_max)}"
    ),
    Reason.NOT_BINDING: lambda r, _: (
        "nothing waits for a slot here"
        if not r.signals.waiting
        else f"the limit was reached in only {_percent(r.signals.binding)} of the last window"
    ),
    Reason.SERVER_FULL: lambda r, _: (
        f"tasks spend {_percent(r.signals.server_wait)} of their time queued inside the server"
    ),
    Reason.AT_MAX: lambda r, _: f"its maximum, {r.signals.max}, is what holds work back",
    Reason.COOLDOWN: lambda _, __: "the last change is too fresh",
    Reason.CEILING: lambda r, _: (
        f"more than {r.evidence.get('ceiling')} failed lately, which is remembered for another "
        f"{seconds(_evidence(r, 'ceiling_seconds'))}"
    ),
    Reason.MEMORY_UNKNOWN: lambda _, __: "nobody says how full its memory is",
    Reason.FORECAST: lambda r, s: f"{_forecast(r)}, not under {_memory_limit(r, s)}",
    Reason.LOW_UTILIZATION: lambda r, s: (
        f"utilization is {_percent(r.signals.util)}, under {_percent(s.utilization_low_ratio)}, "
        f"{r.signals.waiting} task(s) wait, and memory allows it"
    ),
    Reason.WAIT: lambda r, s: (
        f"a task has waited {seconds(r.signals.oldest_wait)}, over {seconds(s.wait_seconds_max)}, "
        "and memory allows it"
    ),
}  # fmt: skip


def why(record: Record, settings: Settings) -> str:
    """The reason of a decision with its numbers, as the end of a sentence."""
    return _WHY[record.reason](record, settings)


# -- what it waits for ---------------------------------------------------------------------------

_WAITS: Final[Mapping[Reason, _Tell]] = {
    Reason.PINNED: lambda r, _: f"`ygg limit {r.host} auto`, or the pin out of hosts.yaml",
    Reason.HOST_DOWN: lambda _, __: "the host to answer again",
    Reason.PAUSED: lambda r, _: f"`ygg resume {r.host}`",
    Reason.GPU_STALE: lambda _, __: "its exporter: `ygg doctor` says what is wrong with it",
    Reason.QUEUE_STALE: lambda _, __: "the dispatcher's /metrics",
    Reason.MEMORY_AT_MIN: lambda _, __: (
        "memory to be freed: by a smaller model or context, or by other programs on the card"
    ),
    Reason.DRAINING: lambda _, __: "tasks to end",
    Reason.SHRINK_COOLDOWN: lambda _, s: (
        f"{seconds(s.shrink_cooldown_seconds)} after the last shrink to see what it did"
    ),
    Reason.WARMING_UP: lambda _, s: f"{seconds(s.window_seconds)} of evidence",
    Reason.PROBING: lambda _, s: (
        f"a whole window of {seconds(s.window_seconds)} in which the new limit is reached, or more "
        f"of them, up to {s.trial_windows}, while it is in doubt"
    ),
    Reason.SATISFIED: lambda _, s: (
        f"utilization under {_percent(s.utilization_low_ratio)} or a wait over "
        f"{seconds(s.wait_seconds_max)}, to grow"
    ),
    Reason.NOT_BINDING: lambda _, __: "tasks that wait while all its slots are in use, to grow",
    Reason.SERVER_FULL: lambda _, __: (
        "the server to run more at once: `ygg doctor` says which of its settings to raise"
    ),
    Reason.AT_MAX: lambda r, _: f"a higher `max` for {r.host} in hosts.yaml",
    Reason.COOLDOWN: lambda _, s: (
        f"{seconds(s.growth_after_growth_seconds)} after a growth, "
        f"{seconds(s.growth_after_shrink_seconds)} after a shrink"
    ),
    Reason.CEILING: lambda _, __: "that to be forgotten, a limit set by hand, or another model",
    Reason.MEMORY_UNKNOWN: lambda _, __: (
        "an exporter that says it; or `gpu: {memory: off}` with `max` set by hand in hosts.yaml"
    ),
    Reason.FORECAST: lambda _, __: "tasks that take less memory, or more memory",
}  # fmt: skip


def waits_for(record: Record, settings: Settings) -> str:
    """What would change the decision; empty: nothing is waited for."""
    tell = _WAITS.get(record.reason)
    return "" if tell is None else tell(record, settings)

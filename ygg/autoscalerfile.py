"""The `autoscaler:` section of hosts.yaml: its constants, what each may be and means.

The values are kept as a mapping, durations as seconds, for the autoscaler to build its settings
from. It has the defaults; only what the file gives is in the mapping.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlunsplit

from ygg.hostskeys import Key, Keys
from ygg.tasks import Json
from ygg.yamlreader import Value
from ygg.yamlvalues import address, flag, number, seconds, url, whole

_FLAG: Final = "`true` or `false`"
_ADDRESS: Final = "`HOST:PORT`"
_URL: Final = "http or https address"
_SECONDS: Final = "duration, from 1s to 1d"
_RATIO: Final = "number, from 0 to 1"
_FACTOR: Final = "number, from 0 to 100"
_COUNT: Final = "whole number, from 1 to 1000"
_REPEATS: Final = "whole number, from 2 to 1000"
#: What reads each form.
_READ: Final[Mapping[str, Callable[[Value], Json]]] = {
    _FLAG: flag,
    _ADDRESS: address,
    _URL: lambda value: urlunsplit(found) if (found := url(value)) else None,
    _SECONDS: seconds(1, 86400),
    _RATIO: number(0, 1),
    _FACTOR: number(0, 100),
    _COUNT: whole(1, 1000),
    _REPEATS: whole(2, 1000),
}


def _key(form: str, default: str, means: str) -> Key:
    return Key(form, means, default, default)


#: In the order of the rule. Defaults are those of the rule too.
AUTOSCALER_KEYS: Final[Keys] = {
    "dry_run": _key(_FLAG, "false", "`true`: decide and write it down, resize nothing."),
    "listen": _key(_ADDRESS, "127.0.0.1:8766", "Where its own metrics are."),
    "prometheus": Key(
        _URL,
        "A Prometheus server that has it all: the dispatcher, the exporters and the model servers "
        "are asked for there, and not each by itself.",
        "http://prometheus:9090", without="each is asked itself",
    ),
    "scrape_seconds": _key(_SECONDS, "5", "How often its sources are looked at."),
    "decide_seconds": _key(_SECONDS, "15", "How often a host is decided on."),
    "stale_seconds": _key(_SECONDS, "45", "Older evidence is none: hold."),
    "frozen_samples": _key(
        _REPEATS, "8", "An exporter that repeats itself so often is frozen, its samples no evidence."
    ),
    "memory_high_ratio": _key(_RATIO, "0.90", "Memory over it: shrink."),
    "memory_urgent_ratio": _key(_RATIO, "0.97", "Memory over it: shrink at once."),
    "kv_high_ratio": _key(_RATIO, "0.98", "The same as the first, of a preallocated KV cache."),
    "utilization_low_ratio": _key(_RATIO, "0.50", "Utilization under it: grow."),
    "wait_seconds_max": _key(_SECONDS, "60", "An oldest wait over it: grow."),
    "memory_window_seconds": _key(_SECONDS, "15", "The window of which the highest memory counts."),
    "window_seconds": _key(_SECONDS, "60", "The window for utilization and the limit's use."),
    "binding_ratio": _key(
        _RATIO, "0.80",
        "The limit holds work back if it was reached in this share of the window's samples.",
    ),
    "shrink_ratio_max": _key(_RATIO, "0.25", "A shrink takes at most this share of the limit."),
    "shrink_cooldown_seconds": _key(_SECONDS, "30", "Shrinks are so far apart."),
    "failure_cooldown_seconds": _key(_SECONDS, "60", "The same for shrinks because of failures."),
    "server_wait_high_ratio": _key(
        _RATIO, "0.20", "Time queued inside the model server over this share: hold."
    ),
    "server_wait_urgent_ratio": _key(
        _RATIO, "0.50", "Over this share, for `server_wait_windows`: shrink."
    ),
    "server_wait_windows": _key(_COUNT, "2", "For how many windows."),
    "growth_after_shrink_seconds": _key(_SECONDS, "120", "Growth waits so long after a shrink."),
    "growth_after_growth_seconds": _key(_SECONDS, "30", "Growth waits so long after a growth."),
    "growth_ratio_max": _key(_RATIO, "0.34", "One step adds at most this share of the limit."),
    "growth_slots_max": _key(_COUNT, "8", "One step adds at most so many slots."),
    "memory_forget_seconds": _key(
        _SECONDS, "15m", "Time constant with which learned memory is forgotten."
    ),
    "floor_drift_seconds": _key(_SECONDS, "2h", "Time constant with which its floor drifts."),
    "forecast_deviations": _key(
        _FACTOR, "3", "The forecast of memory keeps so many standard deviations away."
    ),
    "kv_forecast_deviations": _key(
        _FACTOR, "2.5", "The same for a KV cache, where running out fails no task."
    ),
    "high_water_steps": _key(
        _FACTOR, "3", "Memory that never falls: a new task is taken for so many of those seen."
    ),
    "load_ratio": _key(
        _RATIO, "0.25",
        "More of a card than this for each of the first tasks after a rest: a model was loaded.",
    ),
    "trial_gain_ratio": _key(
        _RATIO, "0.15",
        "To be kept, a step must raise throughput by this share of the relative step.",
    ),
    "trial_errors": _key(
        _FACTOR, "2", "A rise so many standard errors under it: the step goes back at once."
    ),
    "trial_sure_errors": _key(
        _FACTOR, "3", "A rise of so many standard errors: the step is kept at once."
    ),
    "trial_doubt_errors": _key(
        _FACTOR, "1", "Still in doubt in the end: so many standard errors are given to the step."
    ),
    "trial_windows": _key(_COUNT, "4", "The end of doubt, in windows after the step."),
    "trial_windows_before": _key(
        _COUNT, "10", "So many windows before the step tell what it is compared with."
    ),
    "trial_piece_seconds": _key(
        _SECONDS, "15", "Length of the pieces of the window that the errors are taken from."
    ),
    "trial_seconds_max": _key(_SECONDS, "30m", "A trial is forgotten after so long."),
    "ceiling_seconds": _key(
        _SECONDS, "10m", "A limit that failed is not tried again for so long, doubling."
    ),
    "ceiling_seconds_max": _key(_SECONDS, "20m", "The longest that doubling makes of it."),
    "no_gain_seconds_max": _key(
        _SECONDS, "30m", "The same longest, after steps that bought nothing."
    ),
    "futile_ratio": _key(
        _RATIO, "0.01", "Shrinks that changed memory by less than this are said to be futile."
    ),
}  # fmt: skip


def read_autoscaler(value: Value | None) -> dict[str, Json]:
    """What the section gives, checked each by itself."""
    if value is None:
        return {}
    section = value.section(AUTOSCALER_KEYS)
    return {key: _READ[AUTOSCALER_KEYS[key].form](given) for key, given in section.items()}

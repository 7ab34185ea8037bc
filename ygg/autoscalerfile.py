"""The `autoscaler:` section of hosts.yaml: the names of its constants, and what each may be.

The values are kept as a mapping, durations as seconds, for the autoscaler to build its settings
from. It has the defaults; only what the file gives is in the mapping.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ygg.tasks import Json
from ygg.yamlreader import Value
from ygg.yamlvalues import address, flag, number, seconds, whole

_seconds: Final = seconds(1, 86400)
_ratio: Final = number(0, 1)
_factor: Final = number(0, 100)

#: Every key, with what reads it. The numbers in the comments are those of the rule.
AUTOSCALER_KEYS: Final[Mapping[str, Callable[[Value], Json]]] = {
    # Decide and write it down, resize nothing.
    "dry_run": flag,
    "listen": address,
    # How often sources are scraped (5), and a host is decided on (15).
    "scrape_seconds": _seconds,
    "decide_seconds": _seconds,
    # No new sane sample for so long: hold (45). A frozen exporter repeats itself so often (8).
    "stale_seconds": _seconds,
    "frozen_samples": whole(2, 1000),
    # The law. Memory over this means shrink (0.90; 0.98 of a preallocated KV cache), and over
    # memory_urgent_ratio (0.97) at once; utilization under this (0.50), or an oldest wait over
    # that (60), means grow.
    "memory_high_ratio": _ratio,
    "memory_urgent_ratio": _ratio,
    "kv_high_ratio": _ratio,
    "utilization_low_ratio": _ratio,
    "wait_seconds_max": _seconds,
    # Windows: the highest memory (15), utilization and the limit's use (60).
    "memory_window_seconds": _seconds,
    "window_seconds": _seconds,
    # The limit holds work back if it was reached in this share of the window's samples (0.80).
    "binding_ratio": _ratio,
    # Shrinks: at most this share of the limit (0.25), so far apart (30; after failures 60).
    "shrink_ratio_max": _ratio,
    "shrink_cooldown_seconds": _seconds,
    "failure_cooldown_seconds": _seconds,
    # Time queued inside the model server: hold over the first (0.20); over the second (0.50) for
    # so many windows (2) shrink.
    "server_wait_high_ratio": _ratio,
    "server_wait_urgent_ratio": _ratio,
    "server_wait_windows": whole(1, 1000),
    # Growth: so long after a shrink (120) or a growth (30), by at most this share (0.34) and this
    # number (8) of slots.
    "growth_after_shrink_seconds": _seconds,
    "growth_after_growth_seconds": _seconds,
    "growth_ratio_max": _ratio,
    "growth_slots_max": whole(1, 1000),
    # Learned memory: forgotten with this time constant (900), its floor drifts with that one
    # (7200); the forecast keeps so many standard deviations away (2.5).
    "memory_forget_seconds": _seconds,
    "floor_drift_seconds": _seconds,
    "forecast_deviations": _factor,
    # The trial: throughput must rise by this share of the relative step (0.15), to so many
    # standard errors (2), taken from pieces of the window (15); forgotten after (1800).
    "trial_gain_ratio": _ratio,
    "trial_errors": _factor,
    "trial_piece_seconds": _seconds,
    "trial_seconds_max": _seconds,
    # A limit that failed is not tried again for so long (600), doubling up to (1200).
    "ceiling_seconds": _seconds,
    "ceiling_seconds_max": _seconds,
    # Shrinks that changed memory by less than this are said to be futile (0.01).
    "futile_ratio": _ratio,
}


def read_autoscaler(value: Value | None) -> dict[str, Json]:
    """What the section gives, checked each by itself."""
    if value is None:
        return {}
    section = value.section(AUTOSCALER_KEYS)
    return {key: AUTOSCALER_KEYS[key](given) for key, given in section.items()}

"""The constants of the rule, each a setting of hosts.yaml's `autoscaler:` section.

The numbers were found by simulation; what each is for stands next to it. Reading them out of the
file, and whether each is a sensible number by itself, is hostsfile's.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from ygg.tasks import Json

#: Of PUT /v1/autoscaler.
_DECIDE_SECONDS_MAX: Final = 3600.0


class SettingsError(ValueError):
    """Settings that contradict each other; the message names them and the way out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Times in seconds, ratios from 0 to 1."""

    #: Decide and write it down, resize nothing.
    dry_run: bool = False
    listen: str = "127.0.0.1:8766"
    #: Address of a Prometheus server that has scraped everything; None: each source is asked itself.
    prometheus: str | None = None
    #: How often sources are scraped, and a host is decided on.
    scrape_seconds: float = 5.0
    decide_seconds: float = 15.0
    #: Nine missed scrapes: evidence as old as that is none.
    stale_seconds: float = 45.0
    #: Samples in a row, equal to the last digit while tasks run, that mean a frozen exporter.
    #: (DCGM renews its values every 30 s: six scrapes see the same ones.)
    frozen_samples: int = 8

    # The law.
    memory_high_ratio: float = 0.90
    #: Above it a shrink waits for no cooldown.
    memory_urgent_ratio: float = 0.97
    #: Of a preallocated KV cache: vLLM preempts instead of failing, so a lower bar only costs.
    kv_high_ratio: float = 0.98
    utilization_low_ratio: float = 0.50
    wait_seconds_max: float = 60.0

    # Windows.
    memory_window_seconds: float = 15.0
    window_seconds: float = 60.0
    #: The limit holds work back if it was reached in this share of the window's samples.
    binding_ratio: float = 0.80

    # Shrinks.
    shrink_ratio_max: float = 0.25
    shrink_cooldown_seconds: float = 30.0
    failure_cooldown_seconds: float = 60.0
    #: Shares of run time spent queued inside the server: hold over the first; shrink over the
    #: second after so many windows.
    server_wait_high_ratio: float = 0.20
    server_wait_urgent_ratio: float = 0.50
    server_wait_windows: int = 2

    # Growth.
    growth_after_shrink_seconds: float = 120.0
    growth_after_growth_seconds: float = 30.0
    growth_ratio_max: float = 0.34
    growth_slots_max: int = 8

    # Learned memory.
    memory_forget_seconds: float = 900.0
    floor_drift_seconds: float = 7200.0
    #: (2.5 at first: 19 memory failures in 4,300 simulated hours. 3 makes that 7 and halves the
    #: changes, for half a percent of the goodput.)
    forecast_deviations: float = 3.0
    #: The same for a KV cache: a server that preallocates preempts a task, and loses none.
    kv_forecast_deviations: float = 2.5
    #: Memory that never falls shows the most there was: a new task may take so many times more.
    high_water_steps: float = 3.0
    #: Of a card: more than that for each of the first tasks after a rest is a model's weights.
    load_ratio: float = 0.25

    # The trial of a step up.
    trial_gain_ratio: float = 0.15
    #: So many standard errors under the gain that is wanted: it bought nothing. So many over no
    #: gain: it surely bought something. In between, more windows are waited for, and in the end
    #: so many errors are the benefit of the doubt.
    trial_errors: float = 2.0
    trial_sure_errors: float = 3.0
    trial_doubt_errors: float = 1.0
    trial_windows: int = 4
    #: Windows before a step that are pooled, to know better what it is compared with.
    trial_windows_before: int = 10
    trial_piece_seconds: float = 15.0
    trial_seconds_max: float = 1800.0

    # A limit that failed.
    ceiling_seconds: float = 600.0
    ceiling_seconds_max: float = 1200.0
    #: The same after a step that bought nothing: trying it again and again only moves the limit.
    no_gain_seconds_max: float = 1800.0
    #: A shrink that changed memory by less than this was futile: so the alert says.
    futile_ratio: float = 0.01

    def __post_init__(self) -> None:
        """Raises SettingsError."""
        self._in_order("memory_high_ratio", "memory_urgent_ratio")
        self._in_order("server_wait_high_ratio", "server_wait_urgent_ratio")
        self._in_order("scrape_seconds", "decide_seconds", "window_seconds")
        self._in_order("scrape_seconds", "memory_window_seconds", "window_seconds")
        self._in_order("scrape_seconds", "trial_piece_seconds", "window_seconds")
        # Two samples make a rate, and one that is missed is no reason to hold.
        self._twice("scrape_seconds", "trial_piece_seconds")
        self._twice("scrape_seconds", "stale_seconds")
        if self.decide_seconds > _DECIDE_SECONDS_MAX:
            raise SettingsError(
                f"autoscaler.decide_seconds is {self.decide_seconds:g}: lower it to "
                f"{_DECIDE_SECONDS_MAX:g} at most, for the dispatcher takes no longer interval"
            )
        self._in_order("window_seconds", "trial_seconds_max")
        self._in_order("ceiling_seconds", "ceiling_seconds_max")
        self._in_order("ceiling_seconds", "no_gain_seconds_max")
        self._in_order("trial_doubt_errors", "trial_errors")

    def _twice(self, low: str, high: str) -> None:
        least, most = getattr(self, low), getattr(self, high)
        if 2 * least > most:
            raise SettingsError(
                f"autoscaler.{low} is {least:g} and autoscaler.{high} is {most:g}: "
                f"the second must be at least twice the first; lower {low}, or raise {high}"
            )

    def _in_order(self, *names: str) -> None:
        for low, high in itertools.pairwise(names):
            least, most = getattr(self, low), getattr(self, high)
            if least > most:
                raise SettingsError(
                    f"autoscaler.{low} is {least:g} and autoscaler.{high} is {most:g}: "
                    f"the first must not be greater; lower it, or raise {high}"
                )


def make_settings(given: Mapping[str, Json]) -> Settings:
    """What hosts.yaml gives, and the defaults for the rest. Raises SettingsError."""
    known = {field.name for field in fields(Settings)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise SettingsError(f"autoscaler.{unknown[0]} is no setting; known: {', '.join(known)}")
    return Settings(**given)  # type: ignore[arg-type]  # hostsfile checked each value's type

"""The autoscaler's own metrics, read from the loop when they are scraped.

Every name of them is here. In a process of its own they are served by server.py, within the
dispatcher's they stand on its page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from autoscaler.loop import Lead, Standing
from autoscaler.observed import MemoryMode, Signals
from autoscaler.settings import Settings
from autoscaler.watch import ALERTS, Watch, Watched


def signals_of(seen: Signals) -> Mapping[str, float]:
    """What the rule saw, by the names that the thresholds have too. Absent: nobody says it."""
    known: dict[str, float | None] = {
        "utilization": seen.util,
        "memory": None if seen.memory is None else seen.memory.high,
        "wait_seconds": seen.oldest_wait,
        "binding": seen.binding,
        "server_wait": seen.server_wait,
        "waiting": seen.waiting,
        "active": seen.active,
        "tokens_per_second": (
            sum(seen.rates) / len(seen.rates) if seen.rates and seen.rates_are_tokens else None
        ),
    }
    return {name: float(value) for name, value in known.items() if value is not None}


def thresholds_of(settings: Settings, mode: MemoryMode) -> Mapping[str, float]:
    """Where each signal begins to matter."""
    found = {
        "utilization": settings.utilization_low_ratio,
        "wait_seconds": settings.wait_seconds_max,
        "binding": settings.binding_ratio,
        "server_wait": settings.server_wait_high_ratio,
    }
    if mode is not MemoryMode.OFF:
        kv = mode is MemoryMode.KV
        found["memory"] = settings.kv_high_ratio if kv else settings.memory_high_ratio
    return found


class LoopCollector(Collector):
    def __init__(self, standing: Standing, watch: Watch) -> None:
        self._standing = standing
        self._watch = watch

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        decisions = CounterMetricFamily(
            "ygg_autoscaler_decisions", "Decisions.", labels=["host", "action", "reason"]
        )
        for labels, count in list(self._standing.decisions.items()):
            decisions.add_metric(labels, count)
        yield decisions
        yield from self._hosts()
        standing = self._standing
        yield GaugeMetricFamily(
            "ygg_autoscaler_leads",
            "Whether limits follow this autoscaler: the dispatcher takes what it decides.",
            float(standing.lead is Lead.LEADS),
        )
        yield CounterMetricFamily(
            "ygg_autoscaler_records_lost",
            "Decisions that could not be written down.",
            standing.records_lost,
        )

    def _hosts(self) -> Iterator[Metric]:
        signal = GaugeMetricFamily(
            "ygg_autoscaler_signal", "What the rule saw.", labels=["host", "signal"]
        )
        threshold = GaugeMetricFamily(
            "ygg_autoscaler_threshold", "Where it matters.", labels=["host", "signal"]
        )
        desired = GaugeMetricFamily(
            "ygg_autoscaler_desired", "The limit that it wants.", labels=["host"]
        )
        age = GaugeMetricFamily(
            "ygg_autoscaler_signal_age_seconds",
            "Since a source last gave a new, sane sample; absent: it never did.",
            labels=["host", "source"],
        )
        alert = GaugeMetricFamily(
            "ygg_autoscaler_alert", "Whether a person should look.", labels=["host", "reason"]
        )
        for name, host in self._watch.hosts.items():
            self._host(name, host, signal, threshold, desired, age, alert)
        yield from (signal, threshold, desired, age, alert)

    def _host(
        self,
        name: str,
        host: Watched,
        signal: GaugeMetricFamily,
        threshold: GaugeMetricFamily,
        desired: GaugeMetricFamily,
        age: GaugeMetricFamily,
        alert: GaugeMetricFamily,
    ) -> None:
        decided = host.decided
        if decided is None:
            return
        for key, value in signals_of(decided.signals).items():
            signal.add_metric([name, key], value)
        mode = decided.signals.memory_mode
        for key, value in thresholds_of(self._watch.settings, mode).items():
            threshold.add_metric([name, key], value)
        desired.add_metric([name], decided.decision.limit)
        for source, seconds in (
            ("gpu", decided.signals.gpu_age), ("queue", decided.signals.queue_age),
        ):  # fmt: skip
            if math.isfinite(seconds):
                age.add_metric([name, source], seconds)
        if decided.decision.reason in ALERTS:
            alert.add_metric([name, decided.decision.reason], 1.0)

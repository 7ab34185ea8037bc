"""What the autoscaler gets to see: an exporter and the dispatcher's /metrics, with their bad days.

`Watch` hands samples to the real `HostWindow` and asks the real `decide`. `PageWatch` prints them
as the pages of our exporter, of the dispatcher and of vLLM, and lets the autoscaler's own
`autoscaler.watch` read them: the same, five times as slow. A test holds them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from random import Random
from typing import Final

import autoscaler.watch
from autoscaler.observed import MemoryMode
from autoscaler.policy import Decision, State, decide
from autoscaler.settings import Settings
from autoscaler.sightings import Kind, Sighting, Source
from autoscaler.signals import GpuSample, HostWindow, QueueSample
from autoscaler.targets import Engine, Target
from tests.simulation.hosts import Host


class Trouble(Enum):
    DEAD = "dead"  # no answer
    SLOW = "slow"  # one scrape in six is answered
    FROZEN = "frozen"  # it repeats its last page


@dataclass(frozen=True, kw_only=True, slots=True)
class Spell:
    """A bad time of a source."""

    since: float
    until: float
    trouble: Trouble = Trouble.DEAD


def trouble(spells: tuple[Spell, ...], now: float) -> Trouble | None:
    return next((s.trouble for s in spells if s.since <= now < s.until), None)


_SLOW_EVERY: Final = 6


class Watch:
    """What is seen of one host at each scrape, and what follows of it."""

    def __init__(
        self,
        settings: Settings,
        host: Host,
        rng: Random,
        *,
        gpu: tuple[Spell, ...] = (),
        queue: tuple[Spell, ...] = (),
        resets: tuple[float, ...] = (),
        renewed_seconds: float = 0.0,
    ) -> None:
        self._settings, self._host, self._rng = settings, host, rng
        self._gpu, self._queue, self._resets = gpu, queue, list(resets)
        self._renewed = renewed_seconds
        self._scrapes = 0
        self._page: GpuSample | None = None
        self._paged_at = 0.0
        self._busy_seconds = 0.0
        self._before = (0.0, 0.0, 0.0, 0.0)
        #: Of a server that tells counts, not times: those that wait and all, times seconds.
        self._waited = self._there = self._counted_at = 0.0
        self._counts: tuple[int, int] | None = None
        self._open()

    def _open(self) -> None:
        mode = MemoryMode.NVML if self._host.shape.kv_gb is None else MemoryMode.KV
        self._window, self._state = HostWindow(self._settings, mode), State()

    def scrape(self, now: float, sample: QueueSample) -> None:
        """Look at both sources; `sample` is what the dispatcher knows by itself."""
        self._scrapes += 1
        bad = trouble(self._gpu, now)
        missed = bad is Trouble.SLOW and self._scrapes % _SLOW_EVERY
        if bad is not Trouble.DEAD and not missed:
            self._tell_card(self._look_at_card(now, frozen=bad is Trouble.FROZEN))
        if trouble(self._queue, now) is None:
            self._tell_queue(self._with_counters(now, sample))

    def decide(self, now: float) -> tuple[int, Decision] | None:
        """The limit that was seen, and what it should be; None: nothing was seen yet."""
        seen = self._window.signals(now)
        if seen is None:
            return None
        self._state, decision = decide(self._settings, self._state, seen)
        return seen.limit, decision

    def resized(self, limit: int) -> None:
        self._window.resized(limit)

    def _tell_card(self, sample: GpuSample) -> None:
        self._window.add_gpu(sample)

    def _tell_queue(self, sample: QueueSample) -> None:
        if self._host.shape.kv_gb is not None:
            self._count(sample.at)
            sample = replace(
                sample, server_wait_seconds_total=self._waited, run_seconds_total=self._there
            )
        self._window.add_queue(sample)

    def _count(self, now: float) -> None:
        if self._counts is not None:
            waiting, running = self._counts
            self._waited += waiting * (now - self._counted_at)
            self._there += (waiting + running) * (now - self._counted_at)
        self._counts = (self._host.active - self._host.running, self._host.running)
        self._counted_at = now

    def _look_at_card(self, now: float, *, frozen: bool) -> GpuSample:
        host, page = self._host, self._page
        if page is None or (not frozen and now - self._paged_at >= self._renewed):
            passed = max(now - self._paged_at, 1e-9)
            busy = (host.busy_seconds - self._busy_seconds) / passed
            util = min(1.0, max(0.0, round(busy + self._rng.gauss(0, 0.02), 2)))
            memory = round(host.memory, 4)
            watts = round(60 + 200 * util + self._rng.gauss(0, 3), 1)
            page = GpuSample(
                at=now, util=util, memory=memory, preemptions_total=host.preemptions,
                digits=(util, memory, watts),
            )  # fmt: skip
            self._page, self._paged_at, self._busy_seconds = page, now, host.busy_seconds
        return replace(page, at=now)

    def _with_counters(self, now: float, sample: QueueSample) -> QueueSample:
        host, shape = self._host, self._host.shape
        if self._resets and now >= self._resets[0]:
            self._resets.pop(0)
            self._before = (host.tokens, host.runs, host.run_seconds, host.failures)
        tokens, runs, run_seconds, failures = self._before
        return replace(
            sample,
            tokens_total=host.tokens - tokens if shape.tells_tokens else None,
            runs_total=host.runs - runs,
            run_seconds_total=host.run_seconds - run_seconds,
            failures_total=host.failures - failures,
            server_wait_seconds_total=host.waited if shape.tells_wait else None,
            model_memory=host.weights_gb * 1e9 if shape.tells_model_memory else None,
        )


class PageWatch(Watch):
    """The same through pages, read by the autoscaler's own code."""

    _DISPATCHER: Final = Source(kind=Kind.DISPATCHER, url="http://dispatcher/metrics")
    _EXPORTER: Final = Source(kind=Kind.EXPORTER, url="http://host:9836/metrics")
    _ENGINE: Final = Source(kind=Kind.ENGINE, url="http://host:8000/metrics")

    def _open(self) -> None:
        engine = Engine(host="host", url=self._ENGINE.url, key=None)
        target = Target(
            name="host", members=("host",), exporter=self._EXPORTER.url,
            engines=() if self._host.shape.kv_gb is None else (engine,), has_max=True,
        )  # fmt: skip
        self._real = autoscaler.watch.Watch(self._settings, {"host": target})

    def decide(self, now: float) -> tuple[int, Decision] | None:
        told = self._real.decide(now)
        return (told[0].signals.limit, told[0].decision) if told else None

    def resized(self, limit: int) -> None:
        self._real.resized("host", limit)

    def _tell_card(self, sample: GpuSample) -> None:
        shape, (util, memory, watts) = self._host.shape, sample.digits
        total = shape.total_gb * 1e9
        if shape.kv_gb is not None:
            self._take(
                self._ENGINE,
                sample.at,
                {
                    "vllm:num_requests_running": self._host.running,
                    "vllm:num_requests_waiting": self._host.active - self._host.running,
                    "vllm:kv_cache_usage_perc": memory,
                    "vllm:generation_tokens_total": self._host.tokens,
                    "vllm:num_preemptions_total": sample.preemptions_total,
                },
            )
            memory = 0.9
        values = {
            "ygg_gpu_up": 1.0,
            "ygg_gpu_utilization_ratio": util,
            "ygg_gpu_memory_used_bytes": float(memory) * total,
            "ygg_gpu_memory_total_bytes": total,
            "ygg_gpu_power_watts": watts,
        }
        self._take(self._EXPORTER, sample.at, values)

    def _tell_queue(self, sample: QueueSample) -> None:
        values = {
            "slots_limit": sample.limit, "slots_min": sample.min, "slots_max": sample.max,
            "slots_active": sample.active, "up": sample.up, "demand_tasks": sample.waiting,
            "oldest_wait_seconds": sample.oldest_wait, "runs_total": sample.runs_total,
            "run_seconds_total": sample.run_seconds_total,
            "failures_total": sample.failures_total,
            "server_wait_seconds_total": sample.server_wait_seconds_total,
            "model_memory_bytes": sample.model_memory,
        }  # fmt: skip
        named = {f"ygg_host_{name}": value for name, value in values.items() if value is not None}
        if sample.tokens_total is not None:
            named["ygg_tokens_total"] = sample.tokens_total
        self._take(self._DISPATCHER, sample.at, named)

    def _take(self, source: Source, at: float, values: Mapping[str, float | str]) -> None:
        labels = 'host="host",gpu="0",direction="completion"'
        text = "".join(f"{name}{{{labels}}} {float(value)!r}\n" for name, value in values.items())
        self._real.take(Sighting(source=source, at=at, text=text))

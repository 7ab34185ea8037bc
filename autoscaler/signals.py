"""Samples in windows, and what they say of a host at one moment: from scrapes to `Signals`.

Pure: each sample comes with its time. What is not a sample (NaN, a negative number, more used
than there is, a time before the last one) is refused here, so that the rule never sees it; what
repeats itself to the last digit while tasks run is a frozen exporter's, and as good as none.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque
from dataclasses import dataclass, fields, replace
from typing import Final

from autoscaler.observed import Memory, MemoryMode, Signals
from autoscaler.settings import Settings

#: From so much of a window on its samples stand for all of it: the first is as old as the scrapes
#: are apart.
_WINDOW_SEEN: Final = 0.75


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueSample:
    """What the dispatcher's /metrics says of one host. Names in `_total` are counters."""

    at: float
    limit: int
    min: int
    max: int
    max_is_set: bool = True
    pin: int | None = None
    up: bool = True
    paused: bool = False
    active: int = 0
    waiting: int = 0
    oldest_wait: float = 0.0
    #: None: the host has reported no token so far.
    tokens_total: float | None = None
    runs_total: float = 0.0
    run_seconds_total: float = 0.0
    failures_total: float = 0.0
    #: None: the server doesn't say.
    server_wait_seconds_total: float | None = None
    model_memory: float | None = None

    @property
    def sane(self) -> bool:
        numbers = (getattr(self, f.name) for f in fields(self))
        finite = all(math.isfinite(n) and n >= 0 for n in numbers if isinstance(n, (int, float)))
        return finite and self.min <= self.max


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuSample:
    """What an exporter says of a host: of several cards, the fullest and the busiest."""

    at: float
    #: 0 to 1; None: the exporter doesn't say.
    util: float | None
    #: Used over total, 0 to 1; of a preallocated engine the use of its KV cache.
    memory: float | None
    #: Requests that its engine preempted so far, as a counter.
    preemptions_total: float = 0.0
    #: Everything the page said of the card, to tell a frozen exporter from a quiet card.
    digits: tuple[float | str, ...] = ()

    @property
    def sane(self) -> bool:
        ratios = [ratio for ratio in (self.util, self.memory) if ratio is not None]
        if not (math.isfinite(self.preemptions_total) and self.preemptions_total >= 0):
            return False
        return bool(ratios) and all(math.isfinite(r) and 0 <= r <= 1 for r in ratios)


class Repeats:
    """Tells a frozen exporter: one that says the same to the last digit while tasks run."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._last: tuple[float | str, ...] | None = None
        self._count = 0

    def is_frozen(self, digits: tuple[float | str, ...], *, is_running: bool) -> bool:
        """With what it says now."""
        self._count = self._count + 1 if digits == self._last and is_running else 1
        self._last = digits
        return self._count >= self.most


class HostWindow:
    """What was lately seen of one host."""

    def __init__(self, settings: Settings, memory_mode: MemoryMode = MemoryMode.NVML) -> None:
        self._settings = settings
        self.memory_mode = memory_mode
        self._queue = deque[QueueSample]()
        self._gpu = deque[GpuSample]()
        #: When the exporter last said what counts: memory, where it ever told it.
        self._told_at = -math.inf
        self._tells_memory = False
        self._repeats = Repeats(settings.frozen_samples)
        self._failures = 0.0
        #: Share of run time spent waiting in the server, as last known: tasks tell of it when they
        #: end, and may run for longer than a window.
        self._waits: float | None = None

    def adopt(self, settings: Settings) -> None:
        """Other constants from now on, over what was seen already."""
        self._settings = settings
        self._repeats.most = settings.frozen_samples

    def add_queue(self, sample: QueueSample) -> bool:
        """Take in a sample; False: it is none."""
        if not sample.sane or (self._queue and sample.at <= self._queue[-1].at):
            return False
        if self._queue:
            last = self._queue[-1]
            self._failures += risen(last.failures_total, sample.failures_total)
        self._queue.append(sample)
        # One more than the window stays: counters need what was before it.
        while len(self._queue) > 2 and self._queue[1].at <= sample.at - self._span:
            self._queue.popleft()
        return True

    def add_gpu(self, sample: GpuSample) -> bool:
        """Take in a sample; False: it is none, or the exporter is frozen."""
        if not sample.sane or (self._gpu and sample.at <= self._gpu[-1].at):
            return False
        if self._repeats.is_frozen(sample.digits, is_running=self.is_running):
            return False
        self._gpu.append(sample)
        self._tells_memory |= sample.memory is not None
        if sample.memory is not None or not self._tells_memory:
            self._told_at = sample.at
        while self._gpu[0].at < sample.at - self._settings.window_seconds:
            self._gpu.popleft()
        return True

    def answered(self, at: float) -> None:
        """The exporter is there, and said all that is expected of it: nothing."""
        self._told_at = max(self._told_at, at)

    def resized(self, limit: int) -> None:
        """The dispatcher took a limit over; its next sample will say so, if one comes."""
        if self._queue:
            self._queue[-1] = replace(self._queue[-1], limit=limit)

    def signals(self, now: float) -> Signals | None:
        """As of `now`; None: nothing was ever heard of this host. Failures are told once."""
        if not self._queue:
            return None
        last = self._queue[-1]
        failures, self._failures = self._failures, 0.0
        rates, are_tokens = self._rates(now)
        return Signals(
            now=now,
            limit=last.limit,
            min=last.min,
            max=last.max,
            max_is_set=last.max_is_set,
            pin=last.pin,
            up=last.up,
            paused=last.paused,
            active=last.active,
            binding=self._binding(now),
            waiting=last.waiting,
            oldest_wait=last.oldest_wait,
            rates=rates,
            rates_are_tokens=are_tokens,
            host_failures=round(failures),
            model_memory=last.model_memory,
            server_wait=self._server_wait(),
            util=self._util(now),
            memory=self._memory(now),
            memory_mode=self.memory_mode,
            preemptions=self._preemptions(now),
            gpu_age=now - self._told_at,
            queue_age=now - last.at,
        )

    @property
    def _span(self) -> float:
        return self._settings.window_seconds

    @property
    def is_running(self) -> bool:
        return bool(self._queue) and self._queue[-1].active > 0

    def _binding(self, now: float) -> float:
        """The share of the window's samples in which the limit of now had been reached.

        After a gap (the dispatcher was away, the process was stopped) the few that there are don't
        stand for a window: what was not seen counts against growth.
        """
        samples = [s for s in self._queue if s.at > now - self._span]
        if not samples:
            return 0.0
        limit = self._queue[-1].limit
        reached = sum(1 for s in samples if s.active >= limit)
        if len(samples) == len(self._queue):
            return reached / len(samples)  # all that there ever was: the rule waits for a window
        seen = min(1.0, (now - samples[0].at) / (_WINDOW_SEEN * self._span))
        return seen * reached / len(samples)

    def _rates(self, now: float) -> tuple[tuple[float, ...], bool]:
        """Throughput of the pieces of the window that samples cover, the latest last."""
        # A counter that is not there yet, or not there again, stands at 0: a host that has counted
        # one token of the window is not one that reports none.
        are_tokens = any(s.tokens_total is not None for s in self._queue)
        piece = self._settings.trial_piece_seconds
        rates: list[float] = []
        for index in reversed(range(int(self._span // piece))):
            end = now - index * piece
            inside = [s for s in self._queue if end - piece <= s.at <= end]
            if len(inside) > 1:
                counted = sum(
                    risen(_counter(one, are_tokens), _counter(other, are_tokens))
                    for one, other in itertools.pairwise(inside)
                )
                rates.append(counted / (inside[-1].at - inside[0].at))
        return tuple(rates), are_tokens

    def _server_wait(self) -> float | None:
        waited = ran = 0.0
        for one, other in itertools.pairwise(self._queue):
            if one.server_wait_seconds_total is None or other.server_wait_seconds_total is None:
                continue
            waited += risen(one.server_wait_seconds_total, other.server_wait_seconds_total)
            ran += risen(one.run_seconds_total, other.run_seconds_total)
        last = self._queue[-1]
        if last.server_wait_seconds_total is None:
            self._waits = None
        elif ran > 0:
            self._waits = min(1.0, waited / ran)
        elif not last.active:
            self._waits = 0.0
        return self._waits

    def _util(self, now: float) -> float | None:
        known = [
            s.util
            for s in self._gpu
            if s.at > now - self._settings.window_seconds and s.util is not None
        ]
        return statistics.fmean(known) if known else None

    def _memory(self, now: float) -> Memory | None:
        """The last sample stands, however old: its age is told beside it."""
        known = [(s.at, s.memory) for s in self._gpu if s.memory is not None]
        if not known:
            return None
        last = known[-1][1]
        lately = [m for at, m in known if at > now - self._settings.memory_window_seconds]
        return Memory(
            last=last,
            high=max(lately, default=last),
            window_high=max(m for _, m in known),
        )

    def _preemptions(self, now: float) -> float:
        since = now - self._settings.window_seconds
        return sum(
            risen(one.preemptions_total, other.preemptions_total)
            for one, other in itertools.pairwise(self._gpu)
            if other.at > since
        )


def _counter(sample: QueueSample, are_tokens: bool) -> float:
    return (sample.tokens_total or 0.0) if are_tokens else sample.runs_total


def risen(before: float, after: float) -> float:
    """How much a counter rose; one that fell was reset, and began anew at 0 (as Prometheus has it)."""
    return after - before if after >= before else after

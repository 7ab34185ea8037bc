"""What the rule sees of a host at one moment. Plain values; where they come from is signals.py."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class MemoryMode(StrEnum):
    """What memory means on a host (`gpu: {memory: ...}` of hosts.yaml)."""

    NVML = "nvml"  # used over total of the card
    KV = "kv"  # preallocated: the use of the engine's KV cache counts
    OFF = "off"  # unified memory, MIG: nobody can say


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Ratios of what counts as memory here: of the card, or of the KV cache."""

    last: float
    #: The highest of the last `memory_window_seconds`, and of the window.
    high: float
    window_high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Signals:
    """One host, as of `now`. Ages are seconds since a source last gave a new, sane sample."""

    #: Seconds, never falling.
    now: float
    limit: int
    min: int
    max: int
    #: Somebody wrote `max` into hosts.yaml, or a server said it; else it is only the start.
    max_is_set: bool = True
    pin: int | None = None
    up: bool = True
    paused: bool = False
    active: int = 0
    #: The share of the window's samples in which `active` had reached the limit.
    binding: float = 0.0
    #: Tasks that could start here and wait for a slot, and how long the oldest does.
    waiting: int = 0
    oldest_wait: float = 0.0
    #: Throughput of the window's pieces, the latest last: tokens a second or, where a host
    #: reports none, finished tasks a second.
    rates: tuple[float, ...] = ()
    rates_are_tokens: bool = True
    #: Attempts since the last look that the host failed after it had taken them.
    host_failures: int = 0
    #: What the loaded models take, in bytes; None: the server doesn't say.
    model_memory: float | None = None
    #: Share of recent run time that tasks spent queued inside the server; None: not known.
    server_wait: float | None = None
    #: Mean utilization over the window, 0 to 1; None: the exporter doesn't say.
    util: float | None = None
    memory: Memory | None = None
    memory_mode: MemoryMode = MemoryMode.NVML
    #: Requests that the server put off in the window because its KV cache was full.
    preemptions: float = 0.0
    gpu_age: float = math.inf
    queue_age: float = math.inf

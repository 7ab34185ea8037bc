"""The processor as a card: for hosts that serve models without a GPU.

Of the whole machine; or of one server: its processor share of its threads as utilization, as far as
other programs leave them to it, and its memory of a budget as memory. The names of the metrics are those of a GPU, so one rule serves both.
"""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import replace
from typing import Final

import psutil

from autoscaler.cards import Card, NoReading

#: A server that keeps less than this share of its threads busy does no work: it answers those who
#: look at its metrics.
_IDLE_RATIO: Final = 0.05


class Machine:
    """All of this machine."""

    def __init__(self) -> None:
        self.failures: Counter[tuple[str, str]] = Counter()
        psutil.cpu_percent(None)  # the first answer is of no time at all

    def read(self) -> list[Card]:
        memory = psutil.virtual_memory()
        used = float(memory.total - memory.available)
        return [_card(psutil.cpu_percent(None) / 100, used, float(memory.total))]

    def close(self) -> None:
        """Nothing is held."""


class Server:
    """One server by its process id.

    Args:
        pid: of the server.
        budget: bytes that it may take.
        threads: processors that it may keep busy; None: as many as it has threads, or the machine.

    Raises NoReading where there is no such process.
    """

    def __init__(self, pid: int, *, budget: int, threads: int | None = None) -> None:
        self.failures: Counter[tuple[str, str]] = Counter()
        self._pid = pid
        self._budget = budget
        self._threads = threads
        self._process = self._find()

    def _find(self) -> psutil.Process:
        try:
            process = psutil.Process(self._pid)
            process.cpu_percent(None)
            psutil.cpu_percent(None)
        except psutil.Error as error:
            raise NoReading(
                "no_process",
                f"no process {self._pid} that may be looked at: give the server's own --pid, "
                "and run as its user",
            ) from error
        return process

    def read(self) -> list[Card]:
        """Raises NoReading. A process that took the number of one that ended is another."""
        try:
            with self._process.oneshot():
                # One that nobody has waited for is still listed, with no memory and no work.
                if not self._process.is_running() or (
                    self._process.status() == psutil.STATUS_ZOMBIE
                ):
                    raise psutil.NoSuchProcess(self._pid)
                busy = self._process.cpu_percent(None) / 100
                memory = float(self._process.memory_info().rss)
                threads = self._threads or min(self._process.num_threads(), psutil.cpu_count() or 1)
        except psutil.Error as error:
            raise NoReading(
                "no_process",
                f"process {self._pid} has ended: start the server, and this with its new --pid",
            ) from error
        free = (1 - psutil.cpu_percent(None) / 100) * (psutil.cpu_count() or 1)
        card = _card(server_utilization(busy, threads, free), memory, float(self._budget))
        # Beside it the plain share: where a machine is full the other is 1 at each reading, and a
        # page that repeats itself to the last digit is taken for a frozen one's.
        share = min(1.0, busy / threads)
        return [replace(card, values={**card.values, "utilization_mean_ratio": share})]

    def close(self) -> None:
        """Nothing is held."""


def server_utilization(busy: float, threads: int, free: float) -> float:
    """A server's share of the processors that it could have had.

    One that other programs leave only half a processor, and that uses it all, is not half idle: to
    give it more tasks would speed nothing up.

    Args:
        busy: processors that it kept busy.
        threads: processors that it may keep busy.
        free: processors that nobody kept busy.
    """
    if busy < _IDLE_RATIO * threads:
        return busy / threads
    return min(1.0, busy / min(threads, busy + max(0.0, free)))


def _card(utilization: float, used: float, total: float) -> Card:
    return Card(
        gpu="cpu",
        uuid="",
        name=platform.processor() or platform.machine(),
        values={
            "utilization_ratio": min(1.0, max(0.0, utilization)),
            "memory_used_bytes": min(used, total),
            "memory_free_bytes": max(0.0, total - used),
            "memory_total_bytes": total,
        },
    )

"""`ygg demo --autoscale`, what is settled before it runs: constants, load, hosts.yaml. Pure.

What came of it is throughput.py's and telling.py's, the run itself autoscale.py's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Final

from autoscaler.settings import Settings, make_settings
from ygg.demo import work
from ygg.demo.work import Work
from ygg.tasks import Json

#: Every host begins with so many slots; its most are those of the other demo.
START: Final = 1
#: What each server may take, told to its exporter. It takes a quarter of that.
MEMORY_BUDGET: Final = "1GB"
#: The rule's own constants take minutes to settle. These show the same within one or two.
SHORT: Final[Mapping[str, float]] = {
    "scrape_seconds": 1,
    "decide_seconds": 2,
    "stale_seconds": 10,
    "memory_window_seconds": 4,
    "window_seconds": 10,
    "trial_piece_seconds": 2,
    "trial_seconds_max": 60,
    "wait_seconds_max": 20,
    "shrink_cooldown_seconds": 5,
    "failure_cooldown_seconds": 10,
    "growth_after_shrink_seconds": 15,
    "growth_after_growth_seconds": 5,
    # A limit that failed is tried once more within three minutes, and not shortly before their end.
    "ceiling_seconds": 60,
    "ceiling_seconds_max": 120,
}

#: The load runs so long without the autoscaler: for throughput before, and so that the first window
#: it sees is one of a host at work.
ALONE_SECONDS: Final = 10.0

#: So many tasks of a type wait at least, and as many as end in so many seconds: the oldest has then
#: waited for longer than `wait_seconds_max`, on fast machines too.
_QUEUE_LEAST: Final = 8
QUEUE_SECONDS: Final = 30.0
#: A machine faster than any would else be sent more and more.
_QUEUE_MOST: Final = 200


def settings() -> Settings:
    return make_settings(SHORT)


def constants() -> Iterator[tuple[str, str, str]]:
    """Each that is shortened: its name, its default, what it is here."""
    usual = Settings()
    for name, value in SHORT.items():
        yield name, f"{getattr(usual, name):g}", f"{value:g}"


def hosts_yaml(urls: Mapping[str, str], exporters: Mapping[str, str]) -> str:
    """The fleet of the demo at one slot each, every host with an exporter of its own."""
    return work.hosts_yaml(
        urls,
        start=dict.fromkeys(work.HOSTS, START),
        exporters=exporters,
        autoscaler={"listen": "127.0.0.1:0", **SHORT},
    )


class Load:
    """A steady stream of the demo's tasks: of each type a queue that never runs dry."""

    def __init__(self) -> None:
        self._next = {
            type_: itertools.cycle([task for task in work.ALL if task.type == type_])
            for type_ in work.ROUTES
        }

    def missing(self, waiting: Mapping[str, int], ended: Mapping[str, int]) -> list[Work]:
        """What to submit now.

        Args:
            waiting: tasks that wait, by type.
            ended: tasks that ended within the last QUEUE_SECONDS, by type.
        """
        return [
            next(tasks)
            for type_, tasks in self._next.items()
            for _ in range(_depth(ended.get(type_, 0)) - waiting.get(type_, 0))
        ]


def _depth(ended: int) -> int:
    return min(max(_QUEUE_LEAST, ended), _QUEUE_MOST)


def submits(tasks: list[Work]) -> list[Mapping[str, Json]]:
    return [task.submit for task in tasks]

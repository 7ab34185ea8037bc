"""docs/metrics.md out of the metrics themselves: the dispatcher's, and the GPU exporter's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from autoscaler.exposition import LoopCollector
from autoscaler.gpu_exporter import page as gpu_page
from autoscaler.loop import Standing
from autoscaler.sampler import Reading
from autoscaler.settings import Settings
from autoscaler.watch import Watch
from tools import markdown
from ygg.board import Board
from ygg.hostsfile import parse_fleet
from ygg.metrics import BoardCollector, Metrics

_TOP: Final = """\
# Metrics

<!-- Made by `make docs` out of ygg/metrics.py, autoscaler/exposition.py and
     autoscaler/gpu_exporter.py. Edit those. -->

Prometheus reads the dispatcher at `/metrics` of its address, the cards of each GPU host where
[`ygg-gpu-exporter`](command-line.md#ygg-gpu-exporter) runs, and [the autoscaler](autoscaler.md):

```sh
ygg prometheus targets --output /etc/prometheus/targets/ygg.json
```

writes where they are; [Prometheus](prometheus.md) has the rest: scrape configuration, rules, alerts.

From another machine the dispatcher wants [a token](security.md#tokens). The exporter knows none:
`--listen 0.0.0.0:9836` shows the cards to everybody who reaches that address, so close it to
others. As it comes it listens on 127.0.0.1 only. A series is there once it was used. A label has
few values: never a task's id, never a text of a user. Sizes are bytes, times seconds.
"""
_DISPATCHER: Final = """\
## The dispatcher

Beside these it has `process_...` and `python_info` of Prometheus' own client.
"""
_AUTOSCALER: Final = """\
## `ygg-autoscaler`

With `ygg serve --autoscale` they stand on the dispatcher's page. `signal` and `threshold` have the
same names for what belongs together: `utilization`, `memory`, `wait_seconds`, `binding`,
`server_wait`.
"""
_EXPORTER: Final = """\
## `ygg-gpu-exporter`

What the driver can't say is absent, never 0. `ygg_gpu_up` is 0 where the cards can't be read, and
the log says why.
"""


def page() -> str:
    dispatcher = _table(_of_the_dispatcher())
    exporter = _table((metric, _labels(metric)) for metric in gpu_page(Reading()))
    autoscaler = _table((metric, _labels(metric)) for metric in _of_the_autoscaler())
    return (
        f"{_TOP}\n{_DISPATCHER}\n{dispatcher}\n{_AUTOSCALER}\n{autoscaler}\n{_EXPORTER}\n{exporter}"
    )


def _table(metrics: Iterable[tuple[Metric, Iterable[str]]]) -> str:
    """In their own order: some speak of the one before. What the library adds is not ours."""
    rows = [
        (f"`{_name(metric)}`", metric.type, ", ".join(labels), metric.documentation)
        for metric, labels in metrics
        if metric.name.startswith("ygg_")
    ]
    return markdown.table(["name", "type", "labels", "means"], rows)


def _name(metric: Metric) -> str:
    """As Prometheus shows it."""
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def _of_the_dispatcher() -> Iterator[tuple[Metric, Iterable[str]]]:
    registry = CollectorRegistry()
    Metrics(registry, monotonic=lambda: 0.0)
    # What has no series yet does not tell its labels; what makes them does.
    for collector in registry._collector_to_names:  # noqa: SLF001 - the library has no other way
        yield from ((metric, _labels(collector)) for metric in collector.collect())
    fleet = parse_fleet("hosts: {a: {url: 'http://a:1'}}", "hosts.yaml")
    gauges = BoardCollector(
        board=Board(), fleet=lambda: fleet, host_rows=dict, memory=dict, wall=lambda: 0.0
    )
    yield from ((metric, _labels(metric)) for metric in gauges.collect())


def _of_the_autoscaler() -> Iterator[Metric]:
    return LoopCollector(Standing(), Watch(Settings(), {})).collect()


def _labels(named: object) -> tuple[str, ...]:
    found: tuple[str, ...] = getattr(named, "_labelnames", ())
    return tuple(found)

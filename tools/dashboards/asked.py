"""PromQL that several panels ask, in one place.

A counter is there once it was used, so a panel of counters alone would be empty on the first day:
where nothing was counted, `of_hosts` and its like say 0 for what is known to be there.
"""

from __future__ import annotations

from typing import Final

_HOSTS: Final = 'max by (host) (ygg_host_up{host=~"$host"})'
_TYPES: Final = "sum by (type) (ygg_tasks_waiting)"
#: Used over all of a card, of several the fullest: what is free counts, not what the card has.
MEMORY: Final = (
    'max by (host) (1 - ygg_gpu_memory_free_bytes{host=~"$host"}'
    ' / (ygg_gpu_memory_used_bytes{host=~"$host"} + ygg_gpu_memory_free_bytes{host=~"$host"}))'
)
#: Of several cards the busiest; the mean since the last reading, where the driver has it.
UTILIZATION: Final = (
    'max by (host) (ygg_gpu_utilization_mean_ratio{host=~"$host"}'
    ' or ygg_gpu_utilization_ratio{host=~"$host"})'
)


def of_hosts(expr: str) -> str:
    """An expression by host, and 0 for hosts of which nothing was counted yet."""
    return f"{expr} or on (host) 0 * {_HOSTS}"


def of_types(expr: str) -> str:
    """The same by type of task."""
    return f"{expr} or on (type) 0 * {_TYPES}"


def or_none(expr: str, label: str, value: str) -> str:
    """The same of a label whose values nobody knows before: one of them is 0."""
    return f'{expr} or on ({label}) label_replace(vector(0), "{label}", "{value}", "", "")'


def signal(name: str) -> str:
    """What the autoscaler saw: of every exporter that it can read, not only of ours."""
    return f'max by (host) (ygg_autoscaler_signal{{host=~"$host", signal="{name}"}})'


def threshold(name: str) -> str:
    return f'max by (host) (ygg_autoscaler_threshold{{host=~"$host", signal="{name}"}})'


def ours_or_seen(ours: str, name: str) -> str:
    """What our exporter says, else what the autoscaler read from another."""
    return f"{ours} or on (host) {signal(name)}"


def quantile(ratio: float, metric: str, *by: str, where: str = "") -> str:
    """Of a histogram, over what was observed in the time between two points; else nothing."""
    labels = ", ".join((*by, "le"))
    counted = f"rate({metric}_bucket{{{where}}}[$__rate_interval])"
    return f"histogram_quantile({ratio}, sum by ({labels}) ({counted})) >= 0"


def moves(*by: str) -> str:
    """How often a limit moved of late.

    The first move of its kind is its counter's first sample, which increase() can't see: it counts
    too that there was none before, unless nothing of the host was scraped then.
    """
    counter = 'ygg_host_resizes_total{host=~"$host"}'
    labels = ", ".join(by)
    return (
        f"sum by ({labels}) (increase({counter}[$__rate_interval])) > 0 "
        f"or sum by ({labels}) ({counter} unless {counter} offset $__rate_interval "
        'and on (host) ygg_host_up{host=~"$host"} offset $__rate_interval)'
    )

"""What the dispatcher's /metrics says of a load that runs, look by look, and the rates in it. Pure.

Rates are taken between looks, out of counters that move while answers stream. Which limit a host had
at which look is the dispatcher's word, not the autoscaler's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

#: A stretch shorter than that says nothing of throughput.
SECONDS_LEAST: Final = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class HostLook:
    limit: int
    active: int = 0
    #: Tasks that could start here and wait for a slot.
    waiting: int = 0
    #: Since the dispatcher began: tokens of answers, tasks closed.
    tokens: float = 0.0
    closed: float = 0.0
    #: Processor time that its server has had.
    cpu_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    #: Seconds since the load began.
    at: float
    hosts: Mapping[str, HostLook]
    #: Tasks by type: those that wait, and those that were closed since the dispatcher began.
    waiting: Mapping[str, int]
    closed: Mapping[str, int]
    #: Processor time that everything but the servers has had.
    others_seconds: float = 0.0

    @property
    def limits(self) -> Mapping[str, int]:
        return {name: host.limit for name, host in self.hosts.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    #: The time that it was taken over.
    seconds: float
    tokens: float
    tasks: float
    #: Processors that the servers had, and that all other work had.
    cores: float = 0.0
    others: float = 0.0

    @property
    def tokens_per_cpu_second(self) -> float | None:
        """Comparable also where other work came or went meanwhile."""
        return self.tokens / self.cores if self.cores > 0 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """The time in which a host's limit stayed what it was."""

    limit: int
    #: None: too short to tell.
    rate: Rate | None
    seconds: float


def read_look(
    page: str, at: float, *, cpu_seconds: Mapping[str, float] | None = None, busy: float = 0.0
) -> Look:
    """One page of /metrics.

    Args:
        page: its text.
        at: seconds since the load began.
        cpu_seconds: processor time that each host's server has had.
        busy: processor time that all programs of the machine have had.
    """
    cpu_seconds = cpu_seconds or {}
    sums: dict[tuple[str, str, str], float] = {}

    def add(name: str, label: str, of: str, value: float) -> None:
        sums[name, label, of] = sums.get((name, label, of), 0.0) + value

    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = sample.labels
            if labels.get("direction", "completion") != "completion":
                continue  # tokens of prompts come in lumps
            if labels.get("outcome", "closed") != "closed":
                continue
            for label in ("host", "type"):
                if label in labels:
                    add(sample.name, label, labels[label], sample.value)

    def of(name: str, host: str) -> float:
        return sums.get((name, "host", host), 0.0)

    names = [of for name, _, of in sums if name == "ygg_host_slots_limit"]
    types = [of for name, label, of in sums if (name, label) == ("ygg_tasks_waiting", "type")]
    return Look(
        at=at,
        hosts={
            host: HostLook(
                limit=int(of("ygg_host_slots_limit", host)),
                active=int(of("ygg_host_slots_active", host)),
                waiting=int(of("ygg_host_demand_tasks", host)),
                tokens=of("ygg_tokens_total", host),
                closed=of("ygg_tasks_finished_total", host),
                cpu_seconds=cpu_seconds.get(host, 0.0),
            )
            for host in names
        },
        waiting={type_: int(sums["ygg_tasks_waiting", "type", type_]) for type_ in types},
        closed={
            type_: int(sums.get(("ygg_tasks_finished_total", "type", type_), 0.0))
            for type_ in types
        },
        others_seconds=busy - sum(cpu_seconds.values()),
    )


def closed_within(looks: Sequence[Look], seconds: float) -> Mapping[str, int]:
    """Tasks closed in the last so many seconds, by type."""
    last = looks[-1]
    first = next(look for look in looks if look.at >= last.at - seconds)
    return {type_: count - first.closed.get(type_, 0) for type_, count in last.closed.items()}


def rate(looks: Sequence[Look], host: str | None = None) -> Rate | None:
    """Between the first and the last of them, of one host or of all; None: too short to tell."""
    if not looks or looks[-1].at - looks[0].at < SECONDS_LEAST:
        return None
    return recent_rate(looks, host)


def recent_rate(looks: Sequence[Look], host: str | None = None) -> Rate:
    """The same over however short a time: to be glanced at, not to be compared."""
    first, last = looks[0], looks[-1]
    seconds = last.at - first.at
    names = [host] if host is not None else list(last.hosts)

    def risen(of: str, name: str) -> float:
        after: float = getattr(last.hosts[name], of)
        before: float = getattr(first.hosts[name], of)
        return after - before

    return Rate(
        seconds=seconds,
        tokens=sum(risen("tokens", name) for name in names) / seconds if seconds else 0.0,
        tasks=sum(risen("closed", name) for name in names) / seconds if seconds else 0.0,
        cores=sum(risen("cpu_seconds", name) for name in names) / seconds if seconds else 0.0,
        others=(last.others_seconds - first.others_seconds) / seconds if seconds else 0.0,
    )


def at_work(looks: Sequence[Look]) -> Sequence[Look]:
    """From the first look on at which every host had something to do."""
    begun = itertools.dropwhile(lambda look: not all(h.active for h in look.hosts.values()), looks)
    return list(begun)


def stretches(looks: Sequence[Look], host: str) -> Iterator[Stretch]:
    """Of one host, in order."""
    for limit, group in itertools.groupby(looks, key=lambda look: look.hosts[host].limit):
        of_it = list(group)
        seconds = of_it[-1].at - of_it[0].at
        yield Stretch(limit=limit, rate=rate(of_it, host), seconds=seconds)


def before_and_after(looks: Sequence[Look]) -> tuple[Rate | None, Rate | None]:
    """Of all hosts: until the first limit moved, and since the last one did."""
    groups = [list(group) for _, group in itertools.groupby(looks, key=lambda look: look.limits)]
    return (rate(groups[0]), rate(groups[-1])) if groups else (None, None)

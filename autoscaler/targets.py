"""What is to be watched, out of hosts.yaml: each semaphore with its servers and sources. Pure.

Servers that share a semaphore (`shares:`) are one host to the rule, known by the name of the one
that has the slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from autoscaler.observed import MemoryMode
from ygg.fleet import Fleet, HostSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """A model server that may have metrics of its own."""

    host: str
    #: Of its metrics.
    url: str
    #: Where its API key is.
    key: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One host of the rule."""

    name: str
    #: The hosts of hosts.yaml that use its slots, the one that has them first.
    members: tuple[str, ...]
    #: None: hosts.yaml says that there is none.
    exporter: str | None = None
    device: int | None = None
    engines: tuple[Engine, ...] = ()
    #: None: found out, from what the model servers say of themselves.
    memory: MemoryMode | None = None
    #: hosts.yaml gives an upper bound.
    has_max: bool = False
    start: int = 1
    dry_run: bool = False


#: Ollama has no metrics of its own.
_HAS_METRICS: Final = (None, "openai")


def targets_of(fleet: Fleet) -> Mapping[str, Target]:
    members: dict[str, list[HostSettings]] = {
        host.name: [host] for host in fleet.hosts.values() if host.shares is None
    }
    for host in fleet.hosts.values():
        if host.shares is not None:
            members[host.shares].append(host)
    return {name: _target(hosts) for name, hosts in members.items()}


def _target(hosts: list[HostSettings]) -> Target:
    owner = hosts[0]
    return Target(
        name=owner.name,
        members=tuple(host.name for host in hosts),
        # They are on the same card, so the owner's exporter shows what all of them take.
        exporter=owner.exporter,
        device=owner.gpu.device,
        engines=tuple(
            Engine(host=host.name, url=f"{host.url}/metrics", key=host.key)
            for host in hosts
            if host.api in _HAS_METRICS
        ),
        memory=None if owner.gpu.memory is None else MemoryMode(owner.gpu.memory),
        has_max=owner.slots.max is not None,
        start=owner.slots.start,
        dry_run=any(host.dry_run for host in hosts),
    )

"""Where Prometheus finds each part, out of hosts.yaml, in the form of its file-based discovery.

Pure. A GPU exporter's series carry the name of the host in `host`, as `ygg_host_...` do, so that
they can be joined; who writes the file, and when, is left to the command line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from ygg.addresses import HostPort, parse_address, parse_host_port
from ygg.autoscalerfile import AUTOSCALER_KEYS
from ygg.fleet import Fleet, HostSettings

#: The parts, as the label `job` has them: the rules in grafana/prometheus ask for these names.
DISPATCHER_JOB: Final = "ygg"
AUTOSCALER_JOB: Final = "ygg-autoscaler"
EXPORTER_JOB: Final = "ygg-gpu"

_PORTS: Final = {"http": 80, "https": 443}
#: Addresses to listen on that mean all of a machine's.
_ANYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - nothing listens here


class NoTarget(ValueError):
    """A part is where no Prometheus can ask it; the message says the way out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One address to scrape."""

    address: str
    labels: Mapping[str, str] = field(default_factory=dict)


def targets_of(
    fleet: Fleet,
    *,
    dispatcher: str | None = None,
    autoscaler: str | None = None,
    with_autoscaler: bool = True,
) -> Sequence[Target]:
    """All that there is to scrape, in the file's order. Raises NoTarget.

    Args:
        fleet: what hosts.yaml says.
        dispatcher: its HOST:PORT as Prometheus reaches it; None: where the file says it listens.
        autoscaler: the same of the autoscaler.
        with_autoscaler: it is a process of its own, and not within the dispatcher.
    """
    found = [Target(address=_dispatcher(fleet, dispatcher), labels={"job": DISPATCHER_JOB})]
    if with_autoscaler:
        address = _autoscaler(fleet, autoscaler)
        found.append(Target(address=address, labels={"job": AUTOSCALER_JOB}))
    return [*found, *_exporters(fleet)]


def as_file(targets: Sequence[Target]) -> str:
    """What `file_sd_configs` reads."""
    groups = [{"targets": [one.address], "labels": dict(one.labels)} for one in targets]
    return json.dumps(groups, indent=2) + "\n"


def _dispatcher(fleet: Fleet, given: str | None) -> str:
    if given is not None:
        return _reached(parse_host_port(given), fleet, "--dispatcher")
    addresses = [parse_address(text) for text in fleet.dispatcher.listen]
    doors = [one for one in addresses if isinstance(one, HostPort)]
    if not doors:
        raise NoTarget(
            f"{fleet.file}: the dispatcher listens on {addresses[0]} only, where no Prometheus "
            "asks; add a HOST:PORT to `dispatcher: {listen: [...]}`"
        )
    return _reached(doors[0], fleet, "dispatcher: listen")


def _autoscaler(fleet: Fleet, given: str | None) -> str:
    if given is not None:
        return _reached(parse_host_port(given), fleet, "--autoscaler")
    listen = fleet.autoscaler.get("listen", AUTOSCALER_KEYS["listen"].example)
    return _reached(parse_host_port(str(listen)), fleet, "autoscaler: listen")


def _reached(address: HostPort, fleet: Fleet, what: str) -> str:
    if address.port == 0:
        part = "autoscaler" if "autoscaler" in what else "dispatcher"
        raise NoTarget(
            f"{fleet.file}: `{what}` takes any free port, and nobody knows which; say where it is "
            f"with --{part} HOST:PORT"
        )
    if address.host in _ANYWHERE:
        return f"localhost:{address.port}"
    return str(address)


def _exporters(fleet: Fleet) -> Iterator[Target]:
    """One for each host: where several are on one machine, its exporter is asked for each.

    On a shared card the exporter of the host that has the slots shows what all of them take.
    """
    for host in fleet.hosts.values():
        owner = fleet.hosts[host.semaphore]
        if owner.exporter is not None:
            yield _exporter(host, owner, owner.exporter)


def _exporter(host: HostSettings, owner: HostSettings, url: str) -> Target:
    parts = urlsplit(url)
    name = parts.hostname or ""
    labels = {"job": EXPORTER_JOB, "host": host.name}
    if owner.gpu.device is not None:
        # Of several cards: the scrape configuration keeps the series of this one only.
        labels["device"] = str(owner.gpu.device)
    if parts.scheme != "http":
        labels["__scheme__"] = parts.scheme
    if parts.path != "/metrics":
        labels["__metrics_path__"] = parts.path or "/"
    labels |= {f"__param_{key}": value for key, value in parse_qsl(parts.query)}
    return Target(address=str(HostPort(name, parts.port or _PORTS[parts.scheme])), labels=labels)

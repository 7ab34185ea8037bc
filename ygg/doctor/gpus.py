"""Looks at the GPU exporters that hosts.yaml leads to: each once, however many hosts it is of.

The dispatcher works without them; the autoscaler holds the limit of a host that it can't see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from ygg.doctor.findings import Finding, ok, warning, wrong
from ygg.exporters import DIALECTS, Card, Page, read_page
from ygg.faults import Failure
from ygg.fleet import Fleet, HostSettings
from ygg.hosts.blame import apart
from ygg.hosts.http import Client

_USUAL_PATH: Final = "/metrics"
_FULL_RATIO: Final = 0.90
_IDLE_RATIO: Final = 0.05


def exporters_of(fleet: Fleet) -> Mapping[str, Sequence[HostSettings]]:
    """The hosts of each exporter, by its address."""
    found: dict[str, list[HostSettings]] = {}
    for host in fleet.hosts.values():
        if (url := host.exporter) is not None:
            found.setdefault(url, []).append(host)
    return found


async def look_at(
    session: aiohttp.ClientSession, url: str, hosts: Sequence[HostSettings], file: str
) -> list[Finding]:
    """All that is found of an exporter. Never raises Failure."""
    parts = urlsplit(url)
    root = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
    path = (parts.path or _USUAL_PATH) + (f"?{parts.query}" if parts.query else "")
    place = f"{file}:{hosts[0].line}"
    try:
        body = await Client(session, root).fetch(path)
    except Failure as failure:
        return [silent(apart(failure)[0].removeprefix(f"{root}: "), hosts, place)]
    return list(judge(read_page(body.decode(errors="replace")), hosts, place))


def silent(what: str, hosts: Sequence[HostSettings], place: str) -> Finding:
    """An exporter that does not answer: wrong where the file names it, else only missed."""
    remedy = (
        "start an exporter there (`ygg-gpu-exporter`; for another machine to reach it, with "
        "`--listen 0.0.0.0:9836`), or write where one is at "
        f"{place}: `gpu: {{exporter: URL}}`"
    )
    if any(host.gpu.exporter is not None for host in hosts):
        return wrong(what, remedy)
    return warning(f"{what}; without it the autoscaler leaves the limit where it is", remedy)


def judge(page: Page, hosts: Sequence[HostSettings], place: str) -> Iterator[Finding]:
    """What a page means for the hosts that look there. Pure."""
    if page.dialect is None:
        yield wrong(
            "what answers is no exporter that ygg knows",
            f"correct `gpu:` at {place}; known: {', '.join(one.name for one in DIALECTS)}",
        )
        return
    if not page.cards:
        yield wrong(
            f"{page.dialect.name} shows no GPU",
            "nvidia-smi, on its machine: the driver may be gone; then restart the exporter",
        )
    for absurd in page.absurd:
        yield wrong(
            f"{absurd}, which can't be", f"update {page.dialect.name}; until then it is not used"
        )
    for card in page.cards:
        yield _card(page, card, hosts, place)
    yield from _devices(page, hosts, place)


def _card(page: Page, card: Card, hosts: Sequence[HostSettings], place: str) -> Finding:
    what = f"{page.dialect.name if page.dialect else ''}: {card}"
    looked_at = any(host.gpu.memory in (None, "nvml") for host in hosts)
    if (
        looked_at
        and (card.memory_used_ratio or 0.0) > _FULL_RATIO
        and (card.utilization_ratio or 0.0) <= _IDLE_RATIO
    ):
        return warning(
            f"{what}: full at rest, so the autoscaler would only shrink",
            f"write `gpu: {{memory: off}}` at {place} if its server takes all memory at its start "
            "(of vLLM and SGLang ygg knows it by itself), else see what fills it: nvidia-smi",
        )
    return ok(what)


def _devices(page: Page, hosts: Sequence[HostSettings], place: str) -> Iterator[Finding]:
    for host in hosts:
        if host.gpu.device is None:
            if len(page.cards) > 1 and len(hosts) > 1:
                yield warning(
                    f"{host.name} does not say which of {len(page.cards)} GPUs it uses: the "
                    "fullest counts",
                    f"write `gpu: {{device: N}}` at {place}",
                )
        elif page.cards and not any(
            card.label.partition(" ")[0].partition(",")[0] == str(host.gpu.device)
            for card in page.cards
        ):
            yield wrong(
                f"{host.name} uses device {host.gpu.device}, which the exporter does not show",
                f"write one of {', '.join(card.label for card in page.cards)} at {place}",
            )

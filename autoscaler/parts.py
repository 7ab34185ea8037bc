"""The autoscaler's parts, put together as its settings say: for its own process and the dispatcher's."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

from autoscaler.dispatcher import Dispatcher
from autoscaler.loop import Loop
from autoscaler.prometheus import PrometheusSources
from autoscaler.settings import Settings
from autoscaler.sightings import Sources
from autoscaler.sources import WebSources
from autoscaler.targets import targets_of
from autoscaler.watch import Watch
from ygg.fleet import Fleet


def sources_of(
    settings: Settings, watch: Watch, dispatcher: Dispatcher, *, url: str | None
) -> Sources:
    """Each asked itself, or one Prometheus in place of all.

    `url`: by which Prometheus knows the dispatcher; None: that one is asked itself all the same.
    """
    if settings.prometheus is None:
        return WebSources(
            watch.sources(), dispatcher, scrape_seconds=settings.scrape_seconds,
            # One that is back is seen before its last sample would have gone stale.
            pause_seconds_max=settings.stale_seconds / 3,
        )  # fmt: skip
    return PrometheusSources(
        settings.prometheus, watch.sources(), dispatcher=dispatcher if url is None else url,
        scrape_seconds=settings.scrape_seconds, stale_seconds=settings.stale_seconds,
    )  # fmt: skip


def follow(
    loop: Loop, fleet: Fleet, settings: Settings, dispatcher: Dispatcher, *, url: str | None
) -> None:
    """Another hosts.yaml, from now on. `url`: as above."""
    watch = loop.watch
    before = watch.settings, watch.sources()
    watch.follow(settings, targets_of(fleet))
    if before != (watch.settings, watch.sources()):
        loop.look_at(sources_of(settings, watch, dispatcher, url=url))


def holder_name() -> str:
    """Another one at every start: an older one of ours that still runs is another one too."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"


def records_folder(state: Path) -> Path:
    return state / "autoscaler"

"""`ygg-autoscaler` without a command: the composition root of the autoscaler's own process."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import signal
import time
from contextlib import suppress
from dataclasses import replace
from typing import Final

import uvloop
from prometheus_client import CollectorRegistry, Gauge, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

from autoscaler.cli.base import Failed, file_of, fleet_of, places_of, url_of
from autoscaler.dispatcher import Dispatcher, WebDispatcher
from autoscaler.exposition import LoopCollector
from autoscaler.loop import Loop
from autoscaler.parts import follow, holder_name, records_folder, sources_of
from autoscaler.recorder import Recorder
from autoscaler.server import CantServe, serving
from autoscaler.settings import Settings, SettingsError, make_settings
from autoscaler.targets import targets_of
from autoscaler.watch import Watch
from ygg.addresses import parse_host_port
from ygg.changes import Change, compare
from ygg.cli.base import DONE, FAILED, WRONG_USE
from ygg.client import Client, Limits, WrongSettings
from ygg.filewatch import FileWatch
from ygg.fleet import Fleet
from ygg.hostsfile import HostsFileError
from ygg.logs import start_logging
from ygg.reloading import Reloading
from ygg.version import VERSION

log = logging.getLogger("ygg.autoscaler")

#: One connection to each source stays open between two looks.
_FILES_WANTED: Final = 65536
#: The dispatcher is asked again in the next round: no call is repeated within one.
_LIMITS: Final = Limits(connect_seconds=3.0, call_seconds=10.0, retry_pauses=(), connections=2)


def run(args: argparse.Namespace) -> int:
    """Until a signal. Raises Failed."""
    watch = FileWatch(file_of(args))
    fleet = fleet_of(args)
    settings = settings_of(fleet, args)
    places, url = places_of(args, fleet), url_of(args)
    lines = start_logging(places.logs, verbose=args.verbose, name="ygg-autoscaler.log")
    _raise_file_limit()
    try:
        with (
            Recorder(records_folder(places.state)) as recorder,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.run(_run(fleet, watch, settings, recorder, url, args))
    except WrongSettings as error:
        raise Failed(str(error), WRONG_USE) from error
    except CantServe as error:
        raise Failed(str(error), FAILED) from error
    finally:
        lines.close()
    return DONE


def settings_of(fleet: Fleet, args: argparse.Namespace) -> Settings:
    """The file's, and over them what the command line says. Raises Failed."""
    try:
        settings = make_settings(fleet.autoscaler)
        if args.listen is not None:
            settings = replace(settings, listen=str(parse_host_port(args.listen)))
    except SettingsError as error:
        raise Failed(f"{fleet.file}: {error}", WRONG_USE) from error
    except ValueError as error:
        raise Failed(f"--listen is {args.listen!r}: {error}", WRONG_USE) from error
    return replace(settings, dry_run=settings.dry_run or args.dry_run)


async def _run(
    fleet: Fleet,
    file: FileWatch,
    settings: Settings,
    recorder: Recorder,
    url: str,
    args: argparse.Namespace,
) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, file.ask)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Client(url, limits=_LIMITS) as client:
        dispatcher = WebDispatcher(client)
        loop = _loop(fleet, settings, recorder, dispatcher, client.url)

        async def take(new: Fleet) -> None:
            try:
                changed = settings_of(new, args)
            except Failed as error:
                raise HostsFileError([str(error)]) from error
            changed = replace(changed, listen=settings.listen)
            follow(loop, new, changed, dispatcher, url=client.url)

        reloading = Reloading(
            file, fleet, take=take, tell=lambda _: None, wall=time.time, differences=_differences
        )
        registry = make_registry()
        registry.register(LoopCollector(loop.standing, loop.watch))
        async with serving(settings.listen, registry, lambda: loop.standing.lead) as address:
            log.info(
                "event=serving version=%s pid=%d url=http://%s dispatcher=%s hosts=%d dry_run=%s",
                VERSION, os.getpid(), address, client.url, len(loop.watch.hosts), settings.dry_run,
            )  # fmt: skip
            async with asyncio.TaskGroup() as group:
                running = group.create_task(loop.run(), name="autoscaler")
                rereading = group.create_task(reloading.run(), name="hosts.yaml")
                await stop.wait()
                running.cancel()
                rereading.cancel()
    log.info("event=ended")


def _differences(old: Fleet, new: Fleet) -> list[Change]:
    """Those that are the autoscaler's business."""
    return compare(old, replace(new, types=old.types, dispatcher=old.dispatcher, beads=old.beads))


def _loop(
    fleet: Fleet, settings: Settings, recorder: Recorder, dispatcher: Dispatcher, url: str
) -> Loop:
    watch = Watch(settings, targets_of(fleet))
    sources = sources_of(settings, watch, dispatcher, url=url)
    return Loop(watch, sources, dispatcher, recorder, holder=holder_name(), wall=time.time)


def make_registry() -> CollectorRegistry:
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own gap
    registry = CollectorRegistry()
    info = Gauge("ygg_build_info", "The running version.", ["version"], registry=registry)
    info.labels(VERSION).set(1)
    ProcessCollector(registry=registry)
    return registry


def _raise_file_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_WANTED if most == resource.RLIM_INFINITY else min(_FILES_WANTED, most)
    with suppress(OSError, ValueError):  # then fewer hosts can be looked at at once
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))

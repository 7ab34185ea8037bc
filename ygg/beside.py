"""`ygg serve --autoscale`: the autoscaler's own loop within the dispatcher's process.

For a small fleet on one machine. It is the very loop of `ygg-autoscaler`; only what lies between it
and the dispatcher is calls in place of HTTP, so it needs neither an address nor a token. Whether a
decision is carried out is decided in the same place, lease included: should a `ygg-autoscaler` run
too, one of the two watches on.

This module is the only one that knows both packages. The daemon is handed it by the command line,
and imports nothing of the autoscaler.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import Final

from autoscaler.dispatcher import HostAnswer, HostOrder, Order, OrderAnswer, Refused, Unreached
from autoscaler.exposition import LoopCollector
from autoscaler.loop import Loop
from autoscaler.parts import follow, holder_name, records_folder, sources_of
from autoscaler.recorder import Recorder
from autoscaler.settings import SettingsError, make_settings
from autoscaler.targets import targets_of
from autoscaler.watch import Watch
from ygg.fleet import Fleet
from ygg.inside import Beside, Inside
from ygg.resizes import Decision, DecisionAction, DecisionReason, LeaseHeld
from ygg.stores.base import StoreError

log = logging.getLogger("ygg.autoscaler")

#: After an error of its own it starts again, the later the more often that was.
_PAUSE_SECONDS: Final = 15.0
_PAUSE_SECONDS_MAX: Final = 300.0


def autoscale(fleet: Fleet) -> Beside:
    """The loop for a fleet, to be run by its dispatcher. Raises SettingsError."""
    settings = make_settings(fleet.autoscaler)
    watch = Watch(settings, targets_of(fleet))

    async def run(inside: Inside) -> None:
        dispatcher = InsideDispatcher(inside)
        sources = sources_of(settings, watch, dispatcher, url=None)
        with Recorder(records_folder(inside.state)) as recorder:
            loop = Loop(watch, sources, dispatcher, recorder, holder=holder_name(), wall=time.time)
            inside.registry.register(LoopCollector(loop.standing, loop.watch))
            inside.followers.append(partial(_follow, loop, dispatcher))
            log.info("event=autoscaling hosts=%d dry_run=%s", len(watch.hosts), settings.dry_run)
            pause = _PAUSE_SECONDS
            while True:
                try:
                    await loop.run()
                except Exception:
                    # A bug of the autoscaler's must not end the dispatcher, which works without.
                    log.exception(
                        "event=autoscaler_failed again_in=%g effect='limits stay where they are'",
                        pause,
                    )
                await asyncio.sleep(pause)
                pause = min(2 * pause, _PAUSE_SECONDS_MAX)

    return run


def _follow(loop: Loop, dispatcher: InsideDispatcher, fleet: Fleet) -> None:
    try:
        settings = make_settings(fleet.autoscaler)
    except SettingsError as error:
        log.warning("event=settings_kept why=%r effect='those of before count on'", str(error))
        settings = loop.watch.settings
    follow(loop, fleet, settings, dispatcher, url=None)


class InsideDispatcher:
    """The dispatcher, called."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside

    async def metrics(self) -> str:
        try:
            return await self._inside.page()
        except StoreError as error:
            raise Unreached(f"the store can't be read: {error}") from error

    async def report(self, order: Order) -> OrderAnswer:
        decisions = {name: _decision(host) for name, host in order.hosts.items()}
        try:
            verdicts = await self._inside.autoscaling.take(
                order.holder, decisions, interval=order.interval, leaves=order.leaves
            )
        except LeaseHeld as error:
            raise Refused(str(error), is_held=True) from error
        except StoreError as error:
            raise Unreached(f"the store takes nothing: {error}") from error
        return OrderAnswer(
            hosts={
                name: HostAnswer(effect=verdict.effect, detail=verdict.detail)
                for name, verdict in verdicts.items()
            }
        )


def _decision(host: HostOrder) -> Decision:
    return Decision(
        expected=host.expected,
        limit=host.limit,
        action=DecisionAction(host.action),
        reason=DecisionReason(host.reason),
        evidence=host.evidence,
        dry_run=host.dry_run,
    )

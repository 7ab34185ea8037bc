"""What the routes work with: the dispatcher, the clocks, and a look at everything at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from aiohttp import web

from ygg.dispatcher import Dispatcher
from ygg.sources.base import ID as ISSUE_ID
from ygg.stores.base import StoreError, UnknownTask
from ygg.tasks import Task
from ygg.web.limits import Limits
from ygg.web.status import Cuts, DownSince, Sight

T = TypeVar("T")

_TASK_ID: Final = re.compile(r"[0-9a-z]{18}")


class Parts:
    """Of one application.

    Args:
        dispatcher: what is shown and given orders.
        wall: seconds since the epoch.
        monotonic: the dispatcher's clock of attempts.
        limits: what one client may take.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        limits: Limits,
    ) -> None:
        self.dispatcher = dispatcher
        self.wall = wall
        self.limits = limits
        self._monotonic = monotonic
        self.started_at = wall()
        self.down_since = DownSince(self.started_at)
        self.cuts = Cuts()

    async def task(self, request: web.Request) -> Task:
        """That of the path. Raises UnknownTask, StoreError."""
        return await self.task_of(request.match_info["id"])

    async def task_id(self, request: web.Request) -> str:
        """The same, its id; whether there is one of that id is not asked. Raises UnknownTask."""
        return await self.id_of(request.match_info["id"])

    async def task_of(self, given: str) -> Task:
        """The task of this id, or the latest of the issue of this id. Raises UnknownTask, StoreError.

        All that takes the id of a task from outside asks here, or `id_of`.
        """
        store = self.dispatcher.store
        if _TASK_ID.fullmatch(given):
            return await store.get(given)
        if ISSUE_ID.fullmatch(given):
            for source in self.dispatcher.sources:
                with suppress(UnknownTask):  # it may be another source's
                    return await store.of_source(source.name, given)
        raise UnknownTask(given if len(given) <= 60 else given[:60] + "...")

    async def id_of(self, given: str) -> str:
        """Its id; where it is one of a task already, the store is not asked. Raises UnknownTask."""
        return given if _TASK_ID.fullmatch(given) else (await self.task_of(given)).id

    def sight(self) -> Sight:
        dispatcher = self.dispatcher
        return Sight(
            board=dispatcher.board,
            fleet=dispatcher.fleet,
            host_rows=dispatcher.host_rows,
            attempts=dispatcher.attempts,
            down_since=self.down_since,
            cut=self.cuts.answers,
            reasons=self.reasons(),
            monotonic=self._monotonic(),
            servers={h: dispatcher.server_runs(h) for h in dispatcher.fleet.hosts},
            heard=dispatcher.autoscaling.heard,
            decided=dispatcher.autoscaling.decided,
            sources=dispatcher.sources,
            standing=dispatcher.standing,
        )

    def reasons(self) -> dict[str, str]:
        """Hosts' own words for being down or resting."""
        healths = {h: self.dispatcher.keeper.host_health(h) for h in self.dispatcher.fleet.hosts}
        return {host: health.reason for host, health in healths.items() if health is not None}

    async def look(self, asked: Awaitable[T]) -> tuple[T | None, str | None]:
        """What the store says, or in words why it does not, soon."""
        try:
            async with asyncio.timeout(self.limits.look_seconds):
                return await asked, None
        except TimeoutError:
            return None, f"the store did not answer within {self.limits.look_seconds:g} s"
        except StoreError as error:
            return None, str(error)

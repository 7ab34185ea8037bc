"""The store's bad days, and the artifacts' disk's: full, failing, or away.

Nothing new starts, nothing is accepted; what has ended is kept and written until it is taken; and
it all comes back by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from ygg.artifacts import ArtifactError
from ygg.ports import Answers, Clock
from ygg.stores.base import StoreError, TaskStore, Unstorable

T = TypeVar("T")
log = logging.getLogger("ygg.dispatcher")

_RETRY_FIRST_SECONDS: Final = 0.1
_RETRY_LONGEST_SECONDS: Final = 5.0
_TOLD_EVERY_SECONDS: Final = 60.0


class Outages:
    """Keeps writing what must not be lost, and says while it can't.

    Args:
        began: is called when an outage begins.
        over: is called when everything takes writes again.
        settled: whether nothing that was begun before the outage is still being written.
    """

    def __init__(
        self,
        store: TaskStore,
        artifacts: Answers,
        clock: Clock,
        *,
        began: Callable[[], None],
        over: Callable[[], None],
        settled: Callable[[], bool],
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._clock = clock
        self._began = began
        self._over = over
        self._settled = settled
        self._failed = asyncio.Event()
        #: Why nothing can be written, as last seen; None: it can.
        self.trouble: str | None = None

    async def persist(self, write: Callable[[float], Awaitable[T]], *, give_up: bool = False) -> T:
        """Write it, whatever the disks have to go through; every write may be repeated.

        Args:
            write: is given the time, in seconds since the epoch.
            give_up: raise Unstorable where this very write is the trouble: there is another one.
        """
        pause = _RETRY_FIRST_SECONDS
        while True:
            try:
                return await write(self._clock.wall())
            except (StoreError, ArtifactError) as error:
                if give_up and isinstance(error, Unstorable):
                    raise
                self.report(error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _RETRY_LONGEST_SECONDS)

    def report(self, error: StoreError | ArtifactError) -> None:
        """A write was not taken: no new starts until one is."""
        if self.trouble is None:
            log.error("event=store_trouble error=%r", str(error))
        self.trouble = str(error)
        self._began()
        self._failed.set()

    async def watch(self) -> None:
        """In an outage, ask with growing pauses; log once a minute."""
        while True:
            await self._failed.wait()
            began = told = self._clock.monotonic()
            pause = _RETRY_FIRST_SECONDS
            while self._failed.is_set():
                await asyncio.sleep(pause)
                pause = min(2 * pause, _RETRY_LONGEST_SECONDS)
                try:
                    await self._store.probe()
                    await self._artifacts.probe()
                except (StoreError, ArtifactError) as error:
                    self.trouble = str(error)
                    if self._clock.monotonic() - told >= _TOLD_EVERY_SECONDS:
                        told = self._clock.monotonic()
                        log.error("event=store_trouble error=%r", str(error))  # noqa: TRY400 - told whole
                else:
                    if self._settled():
                        self._failed.clear()
            log.info("event=store_well seconds=%.1f", self._clock.monotonic() - began)
            self.trouble = None
            self._over()

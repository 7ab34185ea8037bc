"""The dispatcher as a part that runs within its process sees it: no socket, no token between.

Which parts there are is said by who starts the daemon: the daemon itself knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest

from ygg.autoscaling import Autoscaling
from ygg.fleet import Fleet
from ygg.metrics import BoardCollector
from ygg.stores.base import TaskStore


@dataclass(frozen=True, kw_only=True, slots=True)
class Inside:
    #: Hear of each other fleet that the dispatcher takes over.
    followers: list[Callable[[Fleet], None]]
    #: The state folder.
    state: Path
    autoscaling: Autoscaling
    #: What a part registers here stands on the dispatcher's own page.
    registry: CollectorRegistry
    collector: BoardCollector
    store: TaskStore

    async def page(self) -> str:
        """What GET /metrics says. Raises StoreError."""
        self.collector.oldest = await self.store.oldest()
        return generate_latest(self.registry).decode()


#: Runs until it is cancelled. Whatever goes wrong in it is its own to tell: the dispatcher goes on.
Beside: TypeAlias = Callable[[Inside], Coroutine[Any, Any, None]]

"""`ygg.client` for tests that wait for other processes and have no event loop of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from ygg.client import Client
from ygg.shapes import TaskView

T = TypeVar("T")


class BlockingClient:
    """Answers are plain JSON: what a test looks at is what went over the wire."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self.typed = Client(url, token=token)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `typed` is asked for."""
        return self._loop.run_until_complete(work)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        text = self.text(method, path, body, query=query, headers=headers)
        return json.loads(text) if text else None

    def text(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        asked = self.typed.ask(method, path, body, query=query, headers=headers)
        return self.run(asked).decode()

    def tasks(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """All that match, the latest first."""

        async def every() -> list[TaskView]:
            return [task async for task in self.typed.tasks(**filters)]

        return iter(json.loads(msgspec.json.encode(self.run(every()))))

    def close(self) -> None:
        self.run(self.typed.close())
        self.run(self._loop.shutdown_asyncgens())
        self._loop.close()

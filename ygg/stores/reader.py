"""A thread that reads the embedded store over a connection of its own, which can't write.

Opening and closing belong to the store's writing thread, asking to the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeVar

from ygg.stores.schema import connect_reader
from ygg.stores.shell import Views
from ygg.stores.tables import SqliteTables

T = TypeVar("T")


class Reader:
    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"ygg-store-{name}")
        self.views: SqliteTables | None = None

    def open(self, path: Path, stack: ExitStack) -> None:
        """Raises sqlite3.Error. The stack ends it, once all that was asked is answered."""
        self.views = SqliteTables(stack.enter_context(closing(connect_reader(path))))
        stack.callback(self._thread.shutdown)

    async def ask(self, look: Callable[[Views], T]) -> T:
        """All of a look sees one state, and none keeps the log from shrinking once it returned.

        Raises sqlite3.Error.
        """
        assert self.views is not None, "asked before it was opened"
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, _consistently, self.views, look)


def _consistently(views: SqliteTables, look: Callable[[Views], T]) -> T:
    views.connection.execute("BEGIN")
    try:
        return look(views)
    finally:
        if views.connection.in_transaction:
            views.connection.execute("ROLLBACK")

"""Another process with a store, for tests: `python -m tests.stores.child DEED PATH`.

It tells of what it did in lines of JSON on standard output.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.contracts.drafts import HOST, a_draft, opened
from ygg.stores.base import StoreError, StoreUnusable
from ygg.stores.sqlite import SqliteStore

#: Below this there is no user to become.
NOBODY = 65534


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


async def hold(path: Path) -> None:
    """Open it and keep it until standard input ends."""
    store = SqliteStore(path)
    await opened(store)
    say(held=os.getpid())
    await asyncio.to_thread(sys.stdin.read)
    await store.close()


async def write(path: Path) -> None:
    """Take tasks through their lives, eight at once, telling of each step that was acknowledged."""
    store = SqliteStore(path)
    await opened(store, owner=f"pid {os.getpid()}")
    say(opened=True)
    numbers = itertools.count()

    async def lives() -> None:
        while True:
            draft = a_draft(id=f"{os.getpid()}-{next(numbers)}")
            await store.add([draft], now=1.0)
            say(id=draft.id, status="open")
            task = await store.claim(draft.id, option=HOST, seen=0, now=2.0)
            assert task is not None
            say(id=draft.id, status="in_progress")
            assert await store.finish(draft.id, task.fence, now=3.0)
            say(id=draft.id, status="closed")

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(lives())


async def fill(path: Path) -> None:
    """Write until the disk is full (tmpfs, or a limit of this process), make room, write again."""
    store = SqliteStore(path)
    await opened(store)
    heard: list[int] = []
    store.follow(lambda events: heard.extend(e.position for e in events))
    limited = os.environ.get("LIMIT")
    ballast = path.with_name("ballast")
    if limited is None:
        ballast.write_bytes(bytes(200_000))
    else:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limited), hard))
    acknowledged: list[str] = []
    errors: list[str] = []
    while len(errors) < 5:
        drafts = [a_draft(description="x" * 2000) for _ in range(3)]
        results = await asyncio.gather(
            *(store.add([d], now=1.0) for d in drafts), return_exceptions=True
        )
        for draft, result in zip(drafts, results, strict=True):
            if isinstance(result, StoreError):
                errors.append(str(result))
            else:
                acknowledged.append(draft.id)
    try:
        await store.probe()
        probed = "well"
    except StoreError as error:
        probed = str(error)
    readable = len(await store.journal(limit=100_000))
    if limited is None:
        ballast.unlink()
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    await store.probe()
    (after,) = await store.add([a_draft()], now=2.0)
    acknowledged.append(after.task.id)
    say(
        acknowledged=acknowledged,
        errors=errors,
        probed=probed,
        readable=readable,
        heard=heard,
        last=after.task.sequence,
    )
    await store.close()


async def without_rights(path: Path) -> None:
    """Open it as somebody who is not root."""
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        await opened(SqliteStore(path))
    except StoreUnusable as error:
        say(refused=str(error))


DEEDS: dict[str, Callable[[Path], Coroutine[Any, Any, None]]] = {
    "hold": hold,
    "write": write,
    "fill": fill,
    "without_rights": without_rights,
}

if __name__ == "__main__":
    asyncio.run(DEEDS[sys.argv[1]](Path(sys.argv[2])))

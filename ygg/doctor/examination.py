"""Looks at many things at once, each within its time, and tells of them in their order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from ygg.doctor.findings import Finding, Report, wrong

T = TypeVar("T")
#: For one look at this machine or at a dispatcher.
_SECONDS: Final = 15.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """Something to look at."""

    part: str
    name: str
    look: Callable[[], Awaitable[Sequence[Finding]]]
    #: More is not waited for.
    seconds: float = _SECONDS


async def examine(subjects: Sequence[Subject], progress: Callable[[int], None]) -> AsyncIterator[
    Report
]:  # fmt: skip
    """Looks at all at once; a report of each in their order, as soon as those before it are told.

    `progress` hears how many are done.
    """
    done = 0

    async def one(subject: Subject) -> Report:
        nonlocal done
        report = await _bounded(subject)
        done += 1
        progress(done)
        return report

    tasks = [asyncio.ensure_future(one(subject)) for subject in subjects]
    try:
        for task in tasks:
            yield await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _bounded(subject: Subject) -> Report:
    try:
        async with asyncio.timeout(subject.seconds):
            findings = await subject.look()
    except TimeoutError:
        what = f"no end to looking at it within {subject.seconds:g} s"
        findings = [wrong(what, "see what holds it up: its load, the network, a dead mount")]
    return Report(part=subject.part, name=subject.name, findings=list(findings))


async def on_a_thread(work: Callable[[], T]) -> T:
    """Like asyncio.to_thread, on one that nobody waits for at the end: a dead disk may hold it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None is T's then

    def run() -> None:
        try:
            result, failed = work(), None
        except BaseException as error:  # noqa: BLE001 - it goes to whoever waits
            result, failed = None, error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=run, daemon=True, name="doctor").start()
    return await future

"""Has a host's model work: one token to see that it does, several answers to see how many at once.

What that means for the limit is judging.py's, how many it were parallel.py's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from ygg.doctor.parallel import Stretch, at_once
from ygg.faults import Cause, Failure
from ygg.fleet import HostSettings, TypeSettings
from ygg.hosts.base import Limits, Message, ModelServer, Request

#: Options with which a model is loaded: with others its server loads it anew, and all work stands.
_LOADING: Final = ("num_ctx", "num_gpu", "num_batch", "num_thread", "num_keep", "use_mmap")
#: Tokens of each answer by which it is seen how many come together.
_TOKENS: Final = 64
#: Requests at once: what more would show is not worth their load.
AT_ONCE_MAX: Final = 8
_QUESTION: Final = "Write the numbers from one to one hundred in words, one a line."


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """A model on a server, and how it is asked."""

    server: ModelServer
    model: str
    #: Of the type that uses it: what of its options matters when the model is loaded is kept.
    type: TypeSettings
    host: HostSettings
    #: For one answer, loading included.
    seconds: float

    def request(self, tokens: int) -> Request:
        loading = {k: v for k, v in self.type.options.items() if k in _LOADING}
        return Request(
            messages=[Message(role="user", content=_QUESTION)],
            model=self.model,
            options={**loading, "num_predict": tokens, "temperature": 0},
            keep_alive=self.host.keep_alive,
            limits=Limits(first_token=self.seconds, stall=self.seconds, timeout=self.seconds),
        )


class _Heard:
    """When tokens came, by the loop's clock."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self.times: list[float] = []

    def tokens(self, *, prompt: int = 0, completion: int = 0) -> None:
        if completion:
            self.times += [self._clock()] * completion


async def one_token(bench: Bench) -> float:
    """Seconds until the answer of one token was there. Raises Failure."""
    clock = asyncio.get_running_loop().time
    began = clock()
    await _ask(bench, 1)
    return clock() - began


async def together(bench: Bench, count: int) -> int | None:
    """Of so many requests at once, how many ran together; None: it can't be told.

    Raises Failure.
    """
    await _ask(bench, 1)  # it is loaded now: the first would wait for that, and the others with it
    tasks = [asyncio.ensure_future(_ask(bench, _TOKENS)) for _ in range(count)]
    try:
        times = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if not all(times):
        return None
    return at_once([Stretch(min(one), max(one), len(one)) for one in times])


async def _ask(bench: Bench, tokens: int) -> list[float]:
    """When the tokens of one answer came. Raises Failure."""
    heard = _Heard()
    try:
        await bench.server.generate(bench.request(tokens), heard)
    except Failure as failure:
        # One token may be a blank, or the first of a thought: it came, and that is what counts.
        if failure.cause is not Cause.EMPTY_ANSWER:
            raise
    return heard.times

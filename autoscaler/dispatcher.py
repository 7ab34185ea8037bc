"""The dispatcher as the autoscaler knows it: a page that is read, and one call that is made.

Over HTTP here; `ygg serve --autoscale` has the same without a socket. What is decided is left to
the rule, which of it is carried out to the dispatcher.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from ygg.client import Client, Problem, Unreachable

#: The kind of the problem document that names another holder.
LEASE_HELD: Final = "lease-held"


class Unreached(Exception):
    """The dispatcher did not answer as it should; the message says why."""


class Refused(Unreached):
    """It answered, and took nothing in: another autoscaler leads, or it does not understand us."""

    def __init__(self, message: str, *, is_held: bool) -> None:
        super().__init__(message)
        #: Another autoscaler has the lease.
        self.is_held = is_held


class HostOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided about one host."""

    #: The limit that was seen; where there is another one by now, nothing is changed.
    expected: int
    limit: int
    action: str
    reason: str
    evidence: Mapping[str, float | int | bool | str | None]
    dry_run: bool = False


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """All decisions of one interval."""

    holder: str
    hosts: Mapping[str, HostOrder]
    #: Seconds between two calls: the lease holds for three of them.
    interval: float
    #: This is the last call: whoever comes next need not wait for the end of the lease.
    leaves: bool = False


class HostAnswer(msgspec.Struct, frozen=True, kw_only=True):
    #: One word: resized, unchanged, dry_run, pinned, stale, ...
    effect: str
    #: In words, where it was not carried out as asked.
    detail: str = ""


class OrderAnswer(msgspec.Struct, frozen=True, kw_only=True):
    hosts: Mapping[str, HostAnswer]


class Dispatcher(Protocol):
    async def metrics(self) -> str:
        """Its page for Prometheus. Raises Unreached."""
        ...

    async def report(self, order: Order) -> OrderAnswer:
        """Raises Unreached, Refused."""
        ...


class WebDispatcher:
    """Over the client that all commands use: its address, its token."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def metrics(self) -> str:
        try:
            return (await self._client.ask("GET", "/metrics")).decode(errors="replace")
        except Unreachable as error:
            raise Unreached(str(error)) from error
        except Problem as problem:
            raise Unreached(f"the dispatcher gives no metrics: {problem}") from problem

    async def report(self, order: Order) -> OrderAnswer:
        try:
            answer = await self._client.ask("PUT", "/v1/autoscaler", order)
        except Unreachable as error:
            raise Unreached(str(error)) from error
        except Problem as problem:
            raise Refused(str(problem), is_held=problem.kind == LEASE_HELD) from problem
        return read_answer(answer)


def read_answer(answer: bytes) -> OrderAnswer:
    """Raises Unreached."""
    try:
        return msgspec.json.decode(answer, type=OrderAnswer)
    except msgspec.DecodeError as error:
        raise Unreached(
            f"what answers is no dispatcher of this version ({error}): look at `ygg --version` there"
        ) from error

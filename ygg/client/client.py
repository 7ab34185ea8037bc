"""The calls of the HTTP interface, each as a method with types.

How they get there is the transport's, what the values mean shapes.py's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from types import TracebackType
from typing import Any, Final, Literal, Self, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import msgspec

from ygg.client.address import DEFAULT_URL, parse_url
from ygg.client.batches import NO_KEYS, check_values, in_batches
from ygg.client.errors import Problem, Unreachable
from ygg.client.finite import no_json
from ygg.client.messages import Messages
from ygg.client.patience import Patience
from ygg.client.token import find_token
from ygg.client.transport import Limits, Transport
from ygg.shapes import (
    AutoscalerAnswer,
    DispatcherStatus,
    History,
    Hosts,
    HostStatus,
    Retried,
    RowView,
    TaskPage,
    TaskView,
    Why,
)

T = TypeVar("T")

_PAGE: Final = 500
#: Seconds between two looks at a task that is waited for: the first pause, the longest.
_LOOK_FIRST: Final = 0.05
_LOOK_LONGEST: Final = 2.0
#: Seconds before a stream that broke off is begun anew: the first pause, the longest.
_AGAIN_FIRST: Final = 0.2
_AGAIN_LONGEST: Final = 5.0

#: Kinds of rows with which a task may have ended.
_ENDS: Final = ("closed", "blocked", "cancelled")

StatusName = Literal["open", "in_progress", "closed", "blocked"]


class NewTask(TypedDict, total=False):
    """What a submit may say; it needs a title or a description."""

    title: str
    #: The prompt.
    description: str
    labels: Sequence[str]
    type: str
    #: 0 critical .. 4 backlog.
    priority: int
    #: The same key and task again is the same task.
    key: str
    model: str
    system: str
    options: Mapping[str, Any]
    #: Seconds that a run may take.
    timeout: float
    #: RFC 3339, as 2026-11-24T18:00:00Z.
    not_before: str
    #: Handed back as it came.
    metadata: Any


class _Wanted(TypedDict):
    #: The limit that was seen, and the one that is wanted.
    expected: int
    limit: int
    action: Literal["grow", "shrink", "hold"]
    #: A word of the rule's closed list.
    reason: str


class NewDecision(_Wanted, total=False):
    """What an autoscaler decided about a host."""

    evidence: Mapping[str, int | float | bool | str | None]
    #: Only show it.
    dry_run: bool


class Client:
    """One dispatcher. To be used in one event loop, by as many tasks of it as you like.

    Args:
        url: http://HOST:PORT, https://HOST:PORT or unix:/path; else YGG_URL, else this machine's.
        token: what to show at the door; else YGG_TOKEN, else what is in the file YGG_TOKEN_FILE.
        limits: patience and sizes.
        environ: where the other two are looked for.

    Raises WrongSettings.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        limits: Limits | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.url = url or environ.get("YGG_URL") or DEFAULT_URL
        self.limits = limits or Limits()
        self._transport = Transport(parse_url(self.url), find_token(token, environ), self.limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._transport.close()

    # -- tasks -----------------------------------------------------------------------------------

    async def submit(self, **task: Unpack[NewTask]) -> TaskView:
        """Hand in one task. It has a key, ours if none is given: nothing is ever doubled.

        Raises ValueError for what is no JSON: NaN, an infinity, bytes.
        """
        check_values(task)
        keyed = task.copy()
        if keyed.get("key") in NO_KEYS:
            keyed["key"] = os.urandom(10).hex()
        return await self._call("POST", "/v1/tasks", TaskView, body=keyed)

    async def submit_many(
        self,
        tasks: Iterable[NewTask] | AsyncIterable[NewTask],
        *,
        key_prefix: str | None = None,
        patience: Patience | None = None,
    ) -> AsyncGenerator[TaskView, None]:
        """Hand in any number, in batches; gives them as they are accepted, in order.

        Never more than a batch is in memory. A batch is accepted whole or not at all: should one
        be refused, those before it stay accepted. Tasks without a key get KEY_PREFIX-NUMBER: with
        the same prefix the same sequence can be handed in again, and nothing is doubled.

        `patience` is had with a dispatcher that ends, starts anew or has no room; else the first
        such answer is raised. Raises ValueError for what is no JSON: NaN, an
        infinity, bytes.
        """
        patience = patience or Patience(0.0)
        prefix = os.urandom(10).hex() if key_prefix is None else key_prefix
        async for batch in in_batches(tasks, prefix):
            body = await self._submit_batch(batch, patience)
            for task in self._decode(body, _Tasks).tasks:
                yield task

    async def _submit_batch(self, batch: bytes, patience: Patience) -> bytes:
        """Each task of it has a key: sent again, it is the same."""
        while True:
            try:
                body = await self._transport.ask("POST", "/v1/tasks", batch, repeatable=True)
            except (Problem, Unreachable) as error:
                if not await patience.wait(error):
                    raise
            else:
                patience.is_over()
                return body

    async def task(self, task_id: str) -> TaskView:
        return await self._call("GET", _task(task_id), TaskView)

    async def tasks(
        self,
        *,
        status: StatusName | None = None,
        priority: int | None = None,
        type: str | None = None,  # noqa: A002 - the word of the design
        host: str | None = None,
        error: str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[TaskView, None]:
        """Tasks that match all that is given, the latest first; at most `limit`."""
        left, cursor = limit, None
        while left is None or left > 0:
            query = {
                "status": status, "priority": priority, "type": type, "host": host, "error": error,
                "limit": _PAGE if left is None else min(left, _PAGE), "cursor": cursor,
            }  # fmt: skip
            page = await self._call("GET", "/v1/tasks", TaskPage, query=query)
            for task in page.tasks[:left]:
                yield task
            left, cursor = None if left is None else left - len(page.tasks), page.next
            if cursor is None:
                return

    async def wait(self, task_id: str) -> TaskView:
        """The task, once it is closed or blocked. A dispatcher may start anew meanwhile."""
        task = await self.task(task_id)
        if task.has_ended:
            return task
        try:
            # From the first row on: it may have ended since, and may be open again.
            # By its own id: an issue may have another task by then.
            async with aclosing(self.events(after=0, task=task.id, kinds=_ENDS)) as ends:
                async for _ in ends:
                    task = await self.task(task.id)
                    if task.has_ended:
                        return task
        except (Problem, Unreachable):
            pass  # it has no such streams, has no room for one more, or has just gone
        return await self._look_until_ended(task)

    async def _look_until_ended(self, task: TaskView) -> TaskView:
        pause, away = _LOOK_FIRST, _Away(self.limits.away_seconds)
        while not task.has_ended:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LOOK_LONGEST)
            try:
                task = await self.task(task.id)
                away.is_back()
            except Problem as problem:
                # It is ending, or has no room just now.
                if problem.status != 503 or away.is_too_long():
                    raise
            except Unreachable:
                if away.is_too_long():
                    raise
        return task

    async def answer(self, task_id: str, *, thinking: bool = False) -> str:
        """The text of a task's answer, or of the model's thinking."""
        query = {"thinking": "1"} if thinking else None
        path = f"{_task(task_id)}/artifact"
        return (await self._transport.ask("GET", path, query=query, repeatable=True)).decode()

    async def history(self, task_id: str) -> list[RowView]:
        """All that happened to a task, in order."""
        rows, after = list[RowView](), None
        while True:
            path = f"{_task(task_id)}/history"
            page = await self._call("GET", path, History, query={"after": after})
            rows += page.history
            if (after := page.next) is None:
                return rows

    async def why(self, task_id: str) -> Why:
        """Why a task does not run."""
        return await self._call("GET", f"{_task(task_id)}/why", Why)

    async def cancel(self, task_id: str) -> TaskView:
        """Waiting or running; returns once it has ended."""
        return await self._call("POST", f"{_task(task_id)}/cancel", TaskView)

    async def retry(self, task_id: str) -> TaskView:
        """Send a blocked task back to its place."""
        return await self._call("POST", f"{_task(task_id)}/retry", TaskView, repeatable=False)

    async def retry_many(
        self,
        ids: Sequence[str] | None = None,
        *,
        drained: bool | None = None,
        error: str | None = None,
        dry_run: bool = False,
    ) -> Retried:
        """Send back those that are named, all that drains blocked, or all with a text in their error.

        With `dry_run` it is only said which they would be.
        """
        given = {"ids": ids, "drained": drained, "error": error, "dry_run": dry_run}
        body = {name: value for name, value in given.items() if value is not None}
        return await self._call("POST", "/v1/retry", Retried, body=body, repeatable=dry_run)

    async def prioritise(
        self, task_id: str, *, priority: int | None = None, run_next: bool | None = None
    ) -> TaskView:
        """Give a waiting task another place in the order."""
        given = {"priority": priority, "run_next": run_next}
        body = {name: value for name, value in given.items() if value is not None}
        return await self._call("PATCH", _task(task_id), TaskView, body=body)

    async def hold(self, task_id: str) -> TaskView:
        """Keep a waiting task from starting until it is released."""
        return await self._call("PATCH", _task(task_id), TaskView, body={"held": True})

    async def release(self, task_id: str) -> TaskView:
        return await self._call("PATCH", _task(task_id), TaskView, body={"held": False})

    # -- hosts and the whole ---------------------------------------------------------------------

    async def status(self) -> DispatcherStatus:
        return await self._call("GET", "/v1/status", DispatcherStatus)

    async def hosts(self) -> Sequence[HostStatus]:
        return (await self._call("GET", "/v1/hosts", Hosts)).hosts

    async def types(self) -> Sequence[str]:
        """Of tasks, the names, as hosts.yaml has them."""
        found = await self._call("GET", "/v1/config", _Types)
        return [type_.name for type_ in found.types]

    async def pin(
        self,
        host: str,
        limit: int,
        *,
        until: str | None = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> HostStatus:
        """Set a host's limit by hand; the autoscaler leaves it alone (until a time, RFC 3339)."""
        body = {"limit": limit, "until": until, "reason": reason, "by": by}
        return await self._call("PUT", f"{_host(host)}/pin", HostStatus, body=body)

    async def unpin(self, host: str) -> HostStatus:
        return await self._call("DELETE", f"{_host(host)}/pin", HostStatus)

    async def pause(
        self,
        host: str,
        *,
        reason: str | None = None,
        until: str | None = None,
        by: str | None = None,
    ) -> HostStatus:
        """Start nothing new there (until a time, RFC 3339); what runs goes on."""
        body = {"reason": reason, "until": until, "by": by}
        return await self._call("PUT", f"{_host(host)}/pause", HostStatus, body=body)

    async def resume(self, host: str) -> HostStatus:
        return await self._call("DELETE", f"{_host(host)}/pause", HostStatus)

    async def autoscale(
        self,
        holder: str,
        hosts: Mapping[str, NewDecision],
        *,
        interval: float | None = None,
        leaves: bool = False,
    ) -> AutoscalerAnswer:
        """Say what an autoscaler decided about hosts; it calls every `interval` seconds.

        Its lease holds for three of them. `leaves` gives it up. Another holder is a Problem (409).
        """
        body = {"holder": holder, "hosts": hosts, "interval": interval, "leaves": leaves}
        return await self._call("PUT", "/v1/autoscaler", AutoscalerAnswer, body=body)

    async def events(
        self,
        *,
        after: int | None = None,
        task: str | None = None,
        kinds: Collection[str] | None = None,
    ) -> AsyncGenerator[RowView, None]:
        """The journal's rows as they are written; `after` a position, or from now on. Endless.

        Of one task only, or of some kinds only, if that is said. A connection that is lost is
        taken up again where it was. A row of the kind `reset` says that rows before it can't be
        had any more. Close it (contextlib.aclosing) when you leave.
        """
        query = {"after": after, "task": task, "kinds": ",".join(kinds) if kinds else None}
        pause, away = _AGAIN_FIRST, _Away(self.limits.away_seconds)
        last, connected = "", False
        while True:
            messages = Messages()
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
            try:
                async with self._transport.stream("/v1/events", query, headers) as parts:
                    connected, pause = True, _AGAIN_FIRST
                    away.is_back()
                    async for part in parts:
                        for message in messages.feed(part):
                            yield self._decode(message.data.encode(), RowView)
                        last = messages.last_id or last
            except Unreachable:
                if not connected or away.is_too_long():
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, _AGAIN_LONGEST)

    # -- anything else ---------------------------------------------------------------------------

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """A call that has no method here; the answer's body.

        Raises ValueError for what is no JSON: NaN, an infinity, bytes.
        """
        if (wrong := no_json(body)) is not None:
            raise ValueError(f"{wrong} is no value in JSON")
        sent = None if body is None else msgspec.json.encode(body)
        return await self._transport.ask(
            method, path, sent, query=query, headers=headers, repeatable=method == "GET"
        )

    async def _call(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        body: object = None,
        query: Mapping[str, object] | None = None,
        repeatable: bool = True,
    ) -> T:
        sent = None if body is None else msgspec.json.encode(body)
        answer = await self._transport.ask(method, path, sent, query=query, repeatable=repeatable)
        return self._decode(answer, kind)

    def _decode(self, answer: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.DecodeError as error:
            raise Unreachable(
                f"what answers at {self.url} is no dispatcher of this version ({error}): "
                "look at its `ygg --version`, or say where it is with --url URL or YGG_URL"
            ) from error


class _Tasks(msgspec.Struct, frozen=True):
    """What a batch is answered with."""

    tasks: tuple[TaskView, ...]


class _Named(msgspec.Struct, frozen=True):
    name: str


class _Types(msgspec.Struct, frozen=True):
    """Of the settings no more than is needed here."""

    types: tuple[_Named, ...]


class _Away:
    """How long a dispatcher that was there has been away."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None

    def is_back(self) -> None:
        self._since = None

    def is_too_long(self) -> bool:
        """It is away (still, or again)."""
        now = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = now
        return now - self._since >= self._seconds


def _task(task_id: str) -> str:
    return f"/v1/tasks/{quote(task_id, safe='')}"


def _host(name: str) -> str:
    return f"/v1/hosts/{quote(name, safe='')}"

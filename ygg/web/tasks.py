"""The routes of tasks: submit, read, change, cancel, retry.

What a submit may say is submission.py's, what an order may say orders.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Final, Literal

import msgspec
from aiohttp import hdrs, web

from ygg.dispatcher import Unroutable
from ygg.lifecycle import check_priority_is_ours
from ygg.shapes import History, Retried, TaskPage, TaskView, Why
from ygg.stores.base import KeyClash, Query
from ygg.tasks import Status
from ygg.web import orders, views
from ygg.web.bodies import read_request
from ygg.web.guard import SUBMITTER
from ygg.web.parameters import NUMBER_MAX, PAGE_MAX, QueryReader, Text, whole
from ygg.web.parts import Parts
from ygg.web.problems import Kind, Problem
from ygg.web.routes import STORE, Answer, Header, Route, as_json
from ygg.web.submission import SUBMISSION, make_draft, read_submit, refusal
from ygg.wire import task_json

#: A page ends early when it has grown to so many bytes: a description may have a million.
_PAGE_BYTES: Final = 8 * 1024 * 1024
#: Tasks asked of the store at once.
_CHUNK: Final = 100
_ENCODER: Final = msgspec.json.Encoder()


class Tasks(msgspec.Struct, frozen=True, kw_only=True):
    """What an array of submits is answered with, in its order."""

    tasks: tuple[TaskView, ...]


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks to list; all that is given must match."""

    status: (
        Annotated[Status, msgspec.Meta(description=f"one of {', '.join(s.value for s in Status)}")]
        | None
    ) = None
    priority: Annotated[int, whole(0, 4)] | None = None
    type: Text | None = None
    host: Annotated[Text, msgspec.Meta(title="Where they run or ran last.")] | None = None
    error: Annotated[Text, msgspec.Meta(title="A part of their error.")] | None = None
    limit: Annotated[int, whole(1, PAGE_MAX, "Tasks of a page; 100 if left out.")] = 100
    cursor: (
        Annotated[int, whole(1, NUMBER_MAX, "`next` of the page before; left out: the latest.")]
        | None
    ) = None


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True):
    after: Annotated[int, whole(0, NUMBER_MAX, "`next` of the page before.")] = 0
    limit: Annotated[int, whole(1, PAGE_MAX, "Rows of a page.")] = PAGE_MAX


class ArtifactQuery(msgspec.Struct, frozen=True, kw_only=True):
    thinking: Annotated[
        Literal["0", "1"],
        msgspec.Meta(description="one of 0, 1", title="1: the model's thinking, not its answer."),
    ] = "0"


LIST: Final = QueryReader(ListQuery)
HISTORY: Final = QueryReader(HistoryQuery)
ARTIFACT: Final = QueryReader(ArtifactQuery)
_A_TASK: Final = Answer(about="the task as it is now", kinds=(TaskView,))


class TaskRoutes:
    def __init__(self, parts: Parts, random_bits: Callable[[int], int]) -> None:
        self._parts = parts
        self._dispatcher = parts.dispatcher
        self._random_bits = random_bits

    def routes(self) -> list[Route]:
        known = (Kind.UNKNOWN_TASK, *STORE)
        return [
            Route(
                method="POST",
                path="/v1/tasks",
                handle=self.submit,
                summary="Submit a task, or an array of them: all or none",
                about="Accepted means written to the disk. A task needs a title or a description.",
                body=SUBMISSION,
                headers=(
                    Header(
                        name="Idempotency-Key",
                        about="The `key` of a single task: the same key and body is the same task.",
                        kind=Annotated[str, msgspec.Meta(pattern="^[!-~]([ -~]{0,198}[!-~])?$")],
                    ),
                ),
                answers={
                    201: Answer(
                        about="the task, or for an array all of them",
                        kinds=(TaskView, Tasks),
                        headers={"Location": "of a single task"},
                    ),
                    200: Answer(about="it was here already, by its key", kinds=(TaskView, Tasks)),
                },
                problems=(Kind.KEY_CLASH, Kind.UNROUTABLE, Kind.DRAINING, *STORE),
            ),
            Route(
                method="GET",
                path="/v1/tasks",
                handle=self.tasks,
                summary="List tasks, the latest first",
                about="Page by page: a page may end early; the last one has no `next`.",
                query=LIST,
                answers={200: Answer(about="a page", kinds=(TaskPage,))},
                problems=STORE,
            ),
            Route(
                method="GET",
                path="/v1/tasks/{id}",
                handle=self.task,
                summary="Show a task",
                answers={200: _A_TASK},
                problems=known,
            ),
            Route(
                method="PATCH",
                path="/v1/tasks/{id}",
                handle=self.change,
                summary="Change an open task's place: its priority, run it next, hold it",
                body=orders.CHANGE,
                answers={200: _A_TASK},
                problems=(Kind.REFUSED, *known),
            ),
            Route(
                method="GET",
                path="/v1/tasks/{id}/artifact",
                handle=self.artifact,
                summary="The answer to a task, as it was written",
                query=ARTIFACT,
                answers={200: Answer(about="its text", media="text/markdown")},
                problems=(Kind.NO_ARTIFACT, *known),
            ),
            Route(
                method="GET",
                path="/v1/tasks/{id}/history",
                handle=self.history,
                summary="All that happened to a task, in order",
                query=HISTORY,
                answers={200: Answer(about="a page of rows", kinds=(History,))},
                problems=known,
            ),
            Route(
                method="GET",
                path="/v1/tasks/{id}/why",
                handle=self.why,
                summary="Why a task does not run",
                answers={200: Answer(about="in words, and for each host", kinds=(Why,))},
                problems=known,
            ),
            Route(
                method="POST",
                path="/v1/tasks/{id}/cancel",
                handle=self.cancel,
                summary="Cancel a task, waiting or running",
                about="Answers once it has ended.",
                body=orders.NOTHING,
                body_optional=True,
                answers={200: _A_TASK},
                problems=(Kind.REFUSED, Kind.NOT_YET, *known),
            ),
            Route(
                method="POST",
                path="/v1/tasks/{id}/retry",
                handle=self.retry,
                summary="Send a blocked task back to its place",
                body=orders.NOTHING,
                body_optional=True,
                answers={200: _A_TASK},
                problems=(Kind.REFUSED, *known),
            ),
            Route(
                method="POST",
                path="/v1/retry",
                handle=self.retry_many,
                summary="Send many blocked tasks back: by id, those of drains, or by error",
                about="Say exactly one of `ids`, `drained` and `error`.",
                body=orders.RETRY,
                answers={200: Answer(about="those that went back, or would", kinds=(Retried,))},
                problems=(Kind.REFUSED, *known),
            ),
        ]

    async def submit(self, request: web.Request) -> web.Response:
        keys = request.headers.getall("Idempotency-Key", [])
        if len(keys) > 1:
            raise Problem(Kind.BAD_FIELDS, "Idempotency-Key is given twice: send one")
        submit = await read_request(request, lambda b: read_submit(b, keys[0] if keys else None))
        types, now = self._dispatcher.fleet.types, self._parts.wall()
        drafts = [
            make_draft(
                submission, types=types, now=now, random_bits=self._random_bits,
                submitter=request[SUBMITTER],
            )
            for submission in submit.submissions
        ]  # fmt: skip
        try:
            added = await self._dispatcher.submit(drafts)
        except (Unroutable, KeyClash) as error:
            board = self._dispatcher.board
            raise refusal(error, drafts, board, several=submit.several) from error
        status = 201 if any(one.new for one in added) else 200
        if submit.several:
            return as_json({"tasks": [task_json(one.task) for one in added]}, status)
        task = added[0].task
        return as_json(task_json(task), status, {hdrs.LOCATION: f"/v1/tasks/{task.id}"})

    async def tasks(self, request: web.Request) -> web.Response:
        asked = LIST.read(request.query)
        query = Query(
            status=asked.status, priority=asked.priority, type=asked.type, host=asked.host,
            error=asked.error,
        )  # fmt: skip
        before, size = asked.cursor, 0
        tasks: list[msgspec.Raw] = []
        while True:
            page = await self._dispatcher.store.find(
                query, before=before, limit=min(_CHUNK, asked.limit - len(tasks))
            )
            tasks += [msgspec.Raw(_ENCODER.encode(task_json(task))) for task in page.tasks]
            size += sum(map(len, tasks[-len(page.tasks) :])) if page.tasks else 0
            before = page.next
            if before is None or len(tasks) >= asked.limit or size >= _PAGE_BYTES:
                break
        return as_json({"tasks": tasks, "next": None if before is None else str(before)})

    async def task(self, request: web.Request) -> web.Response:
        return as_json(task_json(await self._parts.task(request)))

    async def change(self, request: web.Request) -> web.Response:
        order = await read_request(request, orders.read_change)
        task_id = await self._parts.task_id(request)
        if order.priority is not None:
            check_priority_is_ours(await self._parts.task_of(task_id), order.priority)
        task = await self._dispatcher.store.change(
            task_id,
            priority=order.priority,
            run_next=order.run_next,
            held=order.held,
            now=self._parts.wall(),
        )
        return as_json(task_json(task))

    async def artifact(self, request: web.Request) -> web.Response:
        thinking = ARTIFACT.read(request.query).thinking == "1"
        path = views.artifact_path(await self._parts.task(request), thinking=thinking)
        text = await self._dispatcher.artifacts.read(path)
        return web.Response(body=text.encode(), content_type="text/markdown", charset="utf-8")

    async def history(self, request: web.Request) -> web.Response:
        asked = HISTORY.read(request.query)
        task = await self._parts.task(request)
        rows = await self._dispatcher.store.journal(
            after=asked.after, limit=asked.limit, task_id=task.id
        )
        more = str(rows[-1].position) if len(rows) == asked.limit else None
        return as_json({"history": [views.row_json(row) for row in rows], "next": more})

    async def why(self, request: web.Request) -> web.Response:
        task, dispatcher = await self._parts.task(request), self._dispatcher
        return as_json(
            views.why_json(
                task,
                dispatcher.board,
                dispatcher.store_trouble,
                self._parts.reasons(),
                sources=dispatcher.sources,
                in_order=dispatcher.mode == "async",
            )
        )

    async def cancel(self, request: web.Request) -> web.Response:
        await read_request(request, orders.read_nothing)
        cancelled = await self._parts.task_id(request)
        seconds = self._parts.limits.cancel_seconds
        try:
            async with asyncio.timeout(seconds):
                task = await self._dispatcher.cancel(cancelled)
        except TimeoutError as error:
            detail = (
                f"task {cancelled} was told to end, but its end could not be written within "
                f"{seconds:g} s: ask again"
            )
            raise Problem(Kind.NOT_YET, detail, retry_after=5) from error
        return as_json(task_json(task))

    async def retry(self, request: web.Request) -> web.Response:
        await read_request(request, orders.read_nothing)
        (task,) = await self._dispatcher.retry([await self._parts.task_id(request)])
        return as_json(task_json(task))

    async def retry_many(self, request: web.Request) -> web.Response:
        order = await read_request(request, orders.read_retry)
        if order.ids is not None:
            ids = dict.fromkeys([await self._parts.id_of(given) for given in order.ids])
            order = msgspec.structs.replace(order, ids=tuple(ids))
        tasks = await orders.retry_many(self._dispatcher, order, self._parts.wall())
        serving = self._dispatcher.board.options_of
        return as_json(
            Retried(
                count=len(tasks),
                tasks=tuple(task.id for task in tasks),
                unserved=tuple(task.id for task in tasks if not serving(task.lane)),
            )
        )

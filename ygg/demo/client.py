"""The dispatcher's HTTP API, as far as the demo needs it.

Only the standard library's client: what the demo does, a shell script with curl can do.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote

import msgspec

from ygg.demo.children import DemoFailed
from ygg.tasks import Json, Outcome, Status

_TIMEOUT_SECONDS: Final = 30.0


class AnswerFacts(msgspec.Struct, frozen=True):
    """What is known of an answer beside its text."""

    completion_tokens: int | None = None
    finish: str | None = None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A task as the API shows it; fields that the demo doesn't need are left out."""

    id: str
    title: str
    type: str
    priority: int
    status: Status
    created_at: datetime
    outcome: Outcome | None = None
    error: str | None = None
    host: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    #: Path of the answer below the artifacts folder.
    artifact: str | None = None
    answer: AnswerFacts | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in {Status.CLOSED, Status.BLOCKED}

    @property
    def wait_seconds(self) -> float | None:
        return (self.started_at - self.created_at).total_seconds() if self.started_at else None

    @property
    def run_seconds(self) -> float | None:
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def tokens(self) -> int | None:
        return self.answer.completion_tokens if self.answer else None

    @property
    def is_cut(self) -> bool:
        return self.answer is not None and self.answer.finish == "length"


class _Page(msgspec.Struct):
    tasks: list[Seen]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """A dispatcher on this machine."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        try:
            return self._ask("GET", "/readyz")[0] == 200
        except OSError:  # it doesn't listen yet; whether it still runs, the caller looks
            return False

    def submit(self, bodies: Sequence[Mapping[str, Json]]) -> list[str]:
        """Submit several, all or none; their ids in the same order."""
        page = msgspec.json.decode(
            self._get("/v1/tasks", method="POST", body=msgspec.json.encode(bodies)), type=_Page
        )
        return [task.id for task in page.tasks]

    def tasks(self, status: Status | None = None) -> Iterator[Seen]:
        """Every task of the store, or those that have this status."""
        wanted = "" if status is None else f"&status={status}"
        cursor = wanted
        while True:
            page = msgspec.json.decode(self._get(f"/v1/tasks?limit=1000{cursor}"), type=_Page)
            yield from page.tasks
            if page.next is None:
                return
            cursor = f"{wanted}&cursor={quote(page.next)}"

    def cancel(self, task_id: str) -> None:
        """Whether it waits or runs; one that has ended in the meantime is left as it is."""
        path = f"/v1/tasks/{task_id}/cancel"
        self._get(path, method="POST", also=http.client.CONFLICT)

    def metrics(self) -> str:
        """The page for Prometheus."""
        return self._get("/metrics").decode()

    def artifact(self, task_id: str) -> str:
        return self._get(f"/v1/tasks/{task_id}/artifact").decode()

    def _get(
        self, path: str, *, method: str = "GET", body: bytes | None = None, also: int | None = None
    ) -> bytes:
        """`also`: a status that is no failure here, beside those that are none anywhere."""
        try:
            status, answer = self._ask(method, path, body)
        except OSError as error:
            raise DemoFailed(f"the dispatcher does not answer {method} {path}: {error}") from error
        if status >= 300 and status != also:
            raise DemoFailed(
                f"the dispatcher answered {method} {path} with {status}: "
                f"{answer.decode(errors='replace')[:300]}"
            )
        return answer

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_TIMEOUT_SECONDS)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

"""Talks to a running dispatcher, for the command line and the demo.

Synchronous, over the standard library's http.client: `ygg status` must answer before an HTTP
library is even imported.
"""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any, Final

DEFAULT_URL: Final = "http://127.0.0.1:8765"
#: One call's patience in seconds; nothing the dispatcher is asked for takes long.
_TIMEOUT: Final = 30.0


class Unreachable(Exception):
    """No dispatcher answers at the URL."""


class Problem(Exception):
    """The dispatcher said no: the problem document's words."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        errors = document.get("errors") or []
        details = [f"{e.get('pointer', '')}: {e.get('detail', '')}" for e in errors]
        text = document.get("detail") or document.get("title") or f"HTTP status {status}"
        super().__init__("; ".join([str(text), *details]))
        self.status = status
        self.document = document


class Client:
    """One dispatcher. Every call raises Unreachable or Problem.

    Args:
        url: where it listens, such as http://127.0.0.1:8765.
    """

    def __init__(self, url: str = DEFAULT_URL) -> None:
        parts = urllib.parse.urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unreachable(f"{url!r} is no address of a dispatcher: write {DEFAULT_URL}")
        self.url = url
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The decoded JSON of an answer."""
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
        given = {key: value for key, value in (query or {}).items() if value is not None}
        target = path + (f"?{urllib.parse.urlencode(given)}" if given else "")
        payload = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if payload is not None else {}
        try:
            self._connection.request(method, target, payload, {**sent, **(headers or {})})
            answer = self._connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unreachable(
                f"no dispatcher answers at {self.url} ({error or type(error).__name__}): "
                "start one with `ygg loop --async`, or say where it is with --url URL or YGG_URL"
            ) from error
        if answer.status >= 400:
            raise Problem(answer.status, _document(text))
        return text

    def tasks(self, **filters: object) -> Iterator[Mapping[str, Any]]:
        """All tasks that match, the latest first, page by page."""
        cursor: object = None
        while True:
            query = {"limit": 500, **filters, "cursor": cursor}
            page = self.call("GET", "/v1/tasks", query=query)
            yield from page["tasks"]
            cursor = page["next"]
            if cursor is None:
                return

    def close(self) -> None:
        self._connection.close()


def _document(text: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {"detail": text.strip()[:500]}
    return document if isinstance(document, dict) else {"detail": text.strip()[:500]}

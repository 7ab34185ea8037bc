"""Answers of the dispatcher, as far as a test doesn't care."""

from __future__ import annotations

from typing import Any

import msgspec

from ygg import shapes
from ygg.wire import rfc3339

#: When the stories of these tests begin: 2026-11-24T03:20:00Z.
BEGAN = 1795490400.0


def at(seconds: float) -> str:
    return rfc3339(BEGAN + seconds)


def a_task(**fields: Any) -> shapes.TaskView:
    whole: dict[str, Any] = {
        "id": "t1", "title": "Why?", "description": "", "labels": [], "type": "general",
        "priority": 2, "created_at": at(0), "status": "open", "outcome": None, "error": None,
        "host": None, "attempt": 0, "strikes": 0, "started_at": None, "ended_at": None,
        "artifact": None, "key": None, "metadata": None, "run_next": False, "not_before": None,
        "held": None, "submitter": "", "source": None, "source_id": None, "model": "",
        "system": None, "options": {}, "timeout": None, "answer": None,
    }  # fmt: skip
    return msgspec.convert(whole | fields, shapes.TaskView)


def a_row(kind: str, seconds: float = 0.0, **fields: Any) -> shapes.RowView:
    whole: dict[str, Any] = {
        "position": round(seconds * 1000) + 1, "at": at(seconds), "kind": kind, "task": "t1",
        "host": None, "model": None, "attempt": None, "seen": None, "reason": None, "detail": {},
    }  # fmt: skip
    return msgspec.convert(whole | fields, shapes.RowView)


def a_host(name: str = "surtr", **fields: Any) -> dict[str, Any]:
    return {
        "name": name, "url": "http://surtr:1", "api": "ollama", "model": "m", "up": "up",
        "reason": "", "down_since": None, "paused": None, "pause": None, "limit": 2, "min": 1,
        "max": 4, "pinned": False, "pin": None, "active": 0, "available_slots": 2, "shares": None,
        "options": [], "tasks": [], **fields,
    }  # fmt: skip


def a_status(**fields: Any) -> shapes.DispatcherStatus:
    nothing = {"total": 0, "by_priority": {}, "by_type": {}, "oldest_wait_seconds": None,
               "lanes": []}  # fmt: skip
    whole: dict[str, Any] = {
        "version": "1", "pid": 7, "started_at": at(0), "draining": False, "store_trouble": None,
        "count_trouble": None, "cut": {"count": 0, "last": None},
        "hosts": [a_host()], "waiting": nothing, "counts": {"open": 0, "closed": 3}, "held": {},
        "blocked": [], "needs_person": [],
    }  # fmt: skip
    return msgspec.convert(whole | fields, shapes.DispatcherStatus)


def waiting(*lanes: tuple[str, str, int, int, float | None]) -> dict[str, Any]:
    """Of (type, model, priority, count, oldest wait)."""
    names = ("type", "model", "priority", "count", "oldest_wait_seconds")
    return {
        "total": sum(lane[3] for lane in lanes), "by_priority": {}, "by_type": {},
        "oldest_wait_seconds": None,
        "lanes": [dict(zip(names, lane, strict=True)) for lane in lanes],
    }  # fmt: skip

"""Text for people: one table printer, durations, what a task looks like. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

PRIORITY_NAMES = {0: "critical", 1: "high", 2: "normal", 3: "low", 4: "backlog"}


def clean(text: object) -> str:
    """Text from outside, safe for a terminal: control characters are shown, not obeyed."""
    return "".join(c if unicodedata.category(c)[0] != "C" else ascii(c)[1:-1] for c in str(text))


def shorten(text: object, width: int) -> str:
    shown = clean(text)
    return shown if len(shown) <= width else shown[: max(width - 1, 0)] + "…"


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, width: int = 0) -> str:
    """Columns side by side; the last one is cut to `width` (0: not at all)."""
    cells = [[clean(cell) for cell in row] for row in rows]
    every = [list(headings), *cells]
    widths = [max(len(row[i]) for row in every) for i in range(len(headings))]
    lines = []
    for row in every:
        line = "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        lines.append(shorten(line, width) if width else line)
    return "\n".join(lines)


def seconds(value: float | None) -> str:
    """A duration in its two largest units: 0.4 s, 12 s, 3 min 4 s, 2 h 5 min, 3 d 4 h."""
    if value is None:
        return "-"
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    for unit, name, smaller, smaller_name in (
        (86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"),
    ):  # fmt: skip
        if whole >= unit:
            rest = whole % unit // smaller
            return f"{whole // unit} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return f"{whole} s"


def _priority(priority: int) -> str:
    return f"{priority} ({PRIORITY_NAMES.get(priority, '?')})"


def task_lines(task: Mapping[str, Any], history: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """One task, whole: what it is, what became of it, its story."""
    state = task["status"] + (f" ({task['outcome']})" if task.get("outcome") else "")
    lines = [
        f"{task['id']}  {clean(task['title'])}",
        f"  status    {state}" + (f", held: {task['held']}" if task.get("held") else ""),
        f"  type      {task['type']}, priority {_priority(task['priority'])}",
        f"  created   {task['created_at']}",
    ]
    if task.get("labels"):
        lines.append(f"  labels    {', '.join(clean(label) for label in task['labels'])}")
    if task.get("host"):
        lines.append(
            f"  ran on    {task['host']}, attempt {task['attempt']}, strikes {task['strikes']}"
        )
    if task.get("started_at"):
        lines.append(f"  started   {task['started_at']}")
    if task.get("ended_at"):
        lines.append(f"  ended     {task['ended_at']}")
    if task.get("error"):
        lines.append(f"  error     {clean(task['error'])}")
    answer = task.get("answer") or {}
    if answer:
        cut = " (cut at the token limit)" if answer.get("finish") == "length" else ""
        lines.append(
            f"  answer    {answer.get('completion_tokens', 0)} tokens in "
            f"{seconds(answer.get('seconds'))}{cut}: `ygg answer {task['id']}`"
        )
    if history:
        lines.append("  story")
        for row in history:
            where = f" on {row['host']}" if row.get("host") else ""
            why = f": {clean(row['reason'])}" if row.get("reason") else ""
            error = (row.get("detail") or {}).get("error")
            lines.append(
                f"    {row['at']}  {row['kind']}{where}{why}"
                + (f" ({clean(error)})" if error else "")
            )
    return lines


def status_lines(status: Mapping[str, Any], *, width: int = 0) -> list[str]:
    """The original's picture: hosts and what runs there, what waits, what is blocked."""
    lines: list[str] = []
    rows = []
    for host in status["hosts"]:
        state = host["up"] + (f", paused: {host['paused']}" if host.get("paused") else "")
        bounds = f"{host['min']}..{host['max']}" + (" pinned" if host.get("pinned") else "")
        running = ", ".join(
            f"{task['id']} ({seconds(task['running_seconds'])})" for task in host["tasks"]
        )
        rows.append(
            [
                host["name"], state, host["active"], host["limit"], bounds,
                host["available_slots"], running or host.get("reason") or "",
            ]
        )  # fmt: skip
    headings = ["HOST", "STATE", "ACTIVE", "LIMIT", "BOUNDS", "AVAILABLE_SLOTS", "TASKS"]
    lines += [table(headings, rows, width=width), ""]
    waiting = status["waiting"]
    oldest = waiting.get("oldest_wait_seconds")
    since = f", the oldest for {seconds(oldest)}" if waiting["total"] and oldest is not None else ""
    lines.append(f"waiting: {waiting['total']}{since}")
    for priority, count in waiting["by_priority"].items():
        if count:
            lines.append(f"  priority {_priority(int(priority))}: {count}")
    for type_, count in waiting["by_type"].items():
        if count:
            lines.append(f"  {clean(type_)}: {count}")
    for why, count in status.get("held", {}).items():
        lines.append(f"  held back ({why}): {count}")
    counts = status["counts"]
    lines.append("tasks: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    if status["blocked"]:
        lines.append("blocked:")
        lines += [f"  {row['count']} x {shorten(row['error'], 160)}" for row in status["blocked"]]
    if status["needs_person"]:
        lines.append("needs a person:")
        lines += [f"  {clean(sentence)}" for sentence in status["needs_person"]]
    if status.get("draining"):
        lines.append("the dispatcher is draining: nothing new starts")
    if status.get("store_trouble"):
        lines.append(f"the store is in trouble: {clean(status['store_trouble'])}")
    return lines

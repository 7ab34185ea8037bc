"""The processes that this one started and has not reaped, other tests' servers among them."""

from __future__ import annotations

from pathlib import Path


def children() -> set[str]:
    """Process numbers, those of the dead too."""
    tasks = Path("/proc/self/task").iterdir()
    return {child for task in tasks for child in (task / "children").read_text().split()}

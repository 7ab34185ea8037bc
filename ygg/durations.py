"""Durations as people write and read them: 90, 90s, 10m, 1h30m, 2d. Pure."""

from __future__ import annotations

import re
from typing import Final

UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
#: None has more characters.
_LONGEST: Final = 40


def parse_duration(text: str) -> float | None:
    """Seconds of a row of numbers with units; None: it is none."""
    parts = _PART.findall(text) if len(text) <= _LONGEST else []
    if not parts or "".join(amount + unit for amount, unit in parts) != text:
        return None
    return sum(float(amount) * UNITS[unit] for amount, unit in parts)


def in_seconds(value: float) -> str:
    """0.5 s, 3600 s; never with a power of ten."""
    text = f"{value:g}"
    if "e" in text:
        text = f"{value:.12f}".rstrip("0").rstrip(".")
    return f"{text} s"

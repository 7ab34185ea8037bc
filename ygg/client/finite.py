"""Numbers that JSON has no word for: msgspec writes null in their place, and nobody would know."""

from __future__ import annotations

import math


def no_number(value: object) -> float | None:
    """The first NaN or infinity within lists and mappings; None: there is none."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, float):
            if not math.isfinite(part):
                return part
        elif isinstance(part, dict):
            left += part.values()
        elif isinstance(part, list | tuple):
            left += part
    return None

"""Values that JSON has no word for, and that its encoder would put another in the place of.

NaN and infinities become null, bytes a text in base 64: who reads them back would never know.
"""

from __future__ import annotations

import math


def no_json(value: object) -> str | None:
    """The first such value within lists and mappings, in words; None: there is none."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, float):
            if not math.isfinite(part):
                return str(part)
        elif isinstance(part, bytes | bytearray | memoryview):
            return type(part).__name__
        elif isinstance(part, dict):
            left += part.values()
        elif isinstance(part, list | tuple):
            left += part
    return None

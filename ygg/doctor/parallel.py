"""From the times at which tokens of several requests came: how many a server ran at once. Pure.

A server that runs one request at a time takes the next when one has ended: their tokens never come
in the same stretch of time. Those it runs together do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

#: Of each stretch this share is cut off at both ends: an answer's last token may be read late.
_MARGIN: Final = 0.1
#: A shorter stretch, or fewer tokens, tell nothing.
_SECONDS_MIN: Final = 0.05
_TOKENS_MIN: Final = 4


class Stretch(NamedTuple):
    """When the tokens of one request came, in seconds of one clock."""

    first: float
    last: float
    tokens: int


def at_once(stretches: Sequence[Stretch]) -> int | None:
    """The most requests whose tokens came in the same time; None: it can't be told from these."""
    edges: list[tuple[float, int]] = []
    for one in stretches:
        length = one.last - one.first
        if one.tokens < _TOKENS_MIN or length < _SECONDS_MIN:
            return None
        edges.append((one.first + _MARGIN * length, 1))
        edges.append((one.last - _MARGIN * length, -1))
    running = most = 0
    for _, step in sorted(edges):  # at the same moment an end goes before a beginning
        running += step
        most = max(most, running)
    return most or None

"""How long a row of submits waits for a dispatcher that can't take them just now.

One that ends, starts anew or has no room says when it will (Retry-After), or does not answer at all.
What is asked again is the client's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ygg.client.errors import Problem, Unreachable

#: Seconds between two tries at a dispatcher that does not answer: the first pause, the longest.
_FIRST: Final = 0.25
_LONGEST: Final = 5.0
#: The least and the most that is made of what a Retry-After says.
_HEEDED_LEAST: Final = 0.1
_HEEDED_MOST: Final = 30.0
#: Less than this is no wait: a clock of floats might never come to its end.
_WORTH: Final = 0.001
#: Its answers when it has no room, or takes no tasks now.
_LATER: Final = (429, 503)


class Patience:
    """Of one row of submits.

    Args:
        seconds: how long it may take nothing, from its first no to its last; 0: not at all.
        told: is told why, once for each time that it takes nothing.
    """

    def __init__(self, seconds: float, told: Callable[[str], None] | None = None) -> None:
        self._seconds = seconds
        self._told = told
        self._was_there = False
        self._since: float | None = None
        self._pause = _FIRST

    def is_over(self) -> None:
        """It took something."""
        self._was_there, self._since, self._pause = True, None, _FIRST

    async def wait(self, error: Problem | Unreachable) -> bool:
        """Wait before the next try. False: there is to be none."""
        pause = self._pause_after(error)
        if pause is None:
            return False
        now = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = now
            if self._told is not None and self._seconds > 0:
                away = isinstance(error, Unreachable)
                self._told("the dispatcher does not answer any more" if away else str(error))
        left = self._since + self._seconds - now
        if left < _WORTH:
            return False
        await asyncio.sleep(min(pause, left))
        return True

    def _pause_after(self, error: Problem | Unreachable) -> float | None:
        if isinstance(error, Problem):
            if error.status not in _LATER or error.retry_after is None:
                return None
            self._was_there = True
            return min(max(error.retry_after, _HEEDED_LEAST), _HEEDED_MOST)
        if not self._was_there:
            return None  # nobody was ever there: the URL may be wrong
        pause = self._pause
        self._pause = min(pause * 2, _LONGEST)
        return pause

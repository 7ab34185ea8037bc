"""The live view of a load that lasts so many seconds: bars in a terminal, lines in a log."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from tqdm import tqdm

#: Where lines are printed, the hosts are shown so often.
_EVERY_SECONDS: Final = 15.0


class Gauges(Protocol):
    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def say(self, at: float, line: str) -> None:
        """Something happened, so many seconds after the beginning."""

    def show(self, at: float, lines: Sequence[str]) -> None:
        """How the hosts are now: a line for each."""


class Lines:
    """For logs and pipes: what happens as it happens, the hosts now and then."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due = _EVERY_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to put back."""

    def say(self, at: float, line: str) -> None:
        print(f"{at:6.1f} s  {line}", flush=True)

    def show(self, at: float, lines: Sequence[str]) -> None:
        if at < self._due:
            return
        self._due = at + _EVERY_SECONDS
        for line in lines:
            print(f"{at:6.1f} s     ({line})", flush=True)


class Bars:
    """For terminals: the time that is left, and below it the hosts."""

    def __init__(self, seconds: float, hosts: int) -> None:
        self._seconds = round(seconds)
        self._time = tqdm(
            total=self._seconds, unit="s", dynamic_ncols=True, file=sys.stdout, desc="load",
            leave=False, bar_format="{desc} {bar} {n:.0f} of {total:.0f} s",
        )  # fmt: skip
        self._hosts = [
            tqdm(
                bar_format="{desc}", dynamic_ncols=True, file=sys.stdout, position=row, leave=False
            )
            for row in range(1, hosts + 1)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for bar in (*reversed(self._hosts), self._time):
            bar.close()

    def say(self, at: float, line: str) -> None:
        tqdm.write(f"{at:6.1f} s  {line}", file=sys.stdout)

    def show(self, at: float, lines: Sequence[str]) -> None:
        self._time.n = min(round(at), self._seconds)
        self._time.refresh()
        for bar, line in zip(self._hosts, lines, strict=True):
            bar.set_description_str(f"  {line}")


def gauges(seconds: float, hosts: int) -> Gauges:
    """What standard output can show."""
    return Bars(seconds, hosts) if sys.stdout.isatty() else Lines(seconds)

"""The demo's child processes: started with a log each, watched, and ended with the demo."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

#: How long a child may take to end by itself. The dispatcher drains for 5 s first.
_END_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.05

T = TypeVar("T")


class DemoFailed(Exception):
    """The demo can't go on. The message is for the person in front of it, the log to look into."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, indented."""
    text = log.read_text(errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in text[-lines:]) or "    (empty)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise if it has ended."""
        code = self.process.poll()
        if code is not None:
            raise DemoFailed(f"{self.name} ended by itself, with exit status {code}", self.log)

    def end(self) -> int:
        """SIGTERM, and SIGKILL if that does nothing; its exit status."""
        self.process.terminate()
        try:
            return self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"{self.name} did not end in {_END_SECONDS:.0f} s after SIGTERM: killed")
            self.process.kill()
            return self.process.wait()


@dataclass(frozen=True, kw_only=True, slots=True)
class Children:
    """All of them; leaving the context ends them, the last one started first."""

    folder: Path
    #: Whose they are, for the person who presses Ctrl-C.
    of: str = "the demo"
    _running: list[Child] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is KeyboardInterrupt:
            print(f"\ninterrupted: ending what {self.of} started", file=sys.stderr)
        for child in reversed(self._running):
            child.end()
        self._running.clear()

    @property
    def running(self) -> Sequence[Child]:
        """Those that were started and not ended yet, in that order."""
        return tuple(self._running)

    def start(self, name: str, arguments: Sequence[str]) -> Child:
        """Run `python ARGUMENTS` on a leash, with its output in a log of its name.

        In a session of its own: Ctrl-C in the terminal is for the demo, which ends the others in
        order.
        """
        log = self.folder / f"{name}.log"
        leashed = [sys.executable, "-m", "ygg.demo.leash", str(os.getpid()), *arguments]
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own modules, no shell
                leashed,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        child = Child(name=name, process=process, log=log)
        self._running.append(child)
        return child

    def end(self, child: Child) -> int:
        """End one before the others; its exit status."""
        self._running.remove(child)
        return child.end()

    def check(self) -> None:
        """Raise if one has ended."""
        for child in self._running:
            child.check()

    def wait_for(self, what: str, look: Callable[[], T | None], seconds: float, log: Path) -> T:
        """Look until there is something to see; raise if a child ends, or the time is up."""
        deadline = time.monotonic() + seconds
        while (found := look()) is None:
            self.check()
            if time.monotonic() > deadline:
                raise DemoFailed(f"{what}: not within {seconds:.0f} s", log)
            time.sleep(_LOOK_SECONDS)
        return found

"""One bash for many steps: variables and folders that a step sets are there for the next ones."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self

_LOOK_SECONDS: Final = 0.02


class Hung(Exception):
    """A step did not end in time, or bash did before it."""


class Shell:
    """Runs steps one by one; its end ends all that they started.

    Args:
        folder: where the first step begins.
        kept: an empty folder outside of it, for what steps print.
        variables: of its environment, beside ours.
        seconds: how long a step may take.
    """

    def __init__(
        self, folder: Path, kept: Path, variables: Mapping[str, str], *, seconds: float = 60.0
    ) -> None:
        self._kept = kept
        self._seconds = seconds
        self._count = 0
        commands = kept / "bin"
        commands.mkdir()
        ygg = commands / "ygg"
        ygg.write_text(f'#!/bin/sh\nexec {sys.executable} -m ygg.cli "$@"\n')
        ygg.chmod(0o755)
        path = f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        modules = os.pathsep.join(str(Path(place or ".").resolve()) for place in sys.path)
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],  # noqa: S607 - wherever it is
            cwd=folder,
            stdin=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": modules, "PATH": path, **variables},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.close()
        # Its own session: what steps left in the background is in it, and nothing else.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.wait(10)

    def run(
        self, text: str, *, background: bool = False, until: Callable[[str], bool] | None = None
    ) -> tuple[int, str]:
        """The exit code of a step (0 of one in the background), and all it printed.

        Args:
            text: what bash shall do; output and errors come as one.
            background: go on at once beside what comes next ...
            until: ... or as soon as this is true of what it printed.

        Raises Hung.
        """
        self._count += 1
        printed = self._kept / f"{self._count}"
        code = self._kept / f"{self._count}.code"
        end = "&" if background else ""
        self._say(f"{{ {text}\n}} >{printed} 2>&1 </dev/null {end}\n")
        self._say(f"echo $? >{code}.new; mv {code}.new {code}\n")
        self._wait(code.exists, printed)
        if until is not None:
            wanted = until
            self._wait(lambda: wanted(printed.read_text("utf-8", "replace")), printed)
        return int(code.read_text()), printed.read_text("utf-8", "replace")

    def _say(self, text: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(text)
        self._bash.stdin.flush()

    def _wait(self, done: Callable[[], bool], printed: Path) -> None:
        end = time.monotonic() + self._seconds
        while not done():
            if self._bash.poll() is not None or time.monotonic() > end:
                so_far = printed.read_text("utf-8", "replace") if printed.exists() else ""
                why = "bash ended" if self._bash.poll() is not None else "it took too long"
                raise Hung(f"{why}; printed so far:\n{so_far}")
            time.sleep(_LOOK_SECONDS)

"""One bash for a whole page: variables that a step sets are there for the next ones."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.docs.blocks import Page, Step, difference
from tests.system.daemons import until

#: A page's longest step, on a machine that has other work.
_STEP_SECONDS = 60.0


class Shell:
    """Runs steps one by one in `folder`; its end ends all that it started.

    Args:
        folder: where it is, and where what is printed is kept.
        variables: of its environment, beside ours.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self._outputs = folder / ".printed"
        self._outputs.mkdir()
        commands = self._outputs / "bin"
        commands.mkdir()
        ygg = commands / "ygg"
        ygg.write_text(f'#!/bin/sh\nexec {sys.executable} -m ygg.cli "$@"\n')
        ygg.chmod(0o755)
        self._count = 0
        path = f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        paths = os.pathsep.join(str(Path(p or ".").resolve()) for p in sys.path if p is not None)
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=folder, stdin=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": paths, "PATH": path, **variables},
            start_new_session=True,
        )  # fmt: skip

    def run(self, step: Step) -> tuple[int, str]:
        """Its exit code (0 of what goes on in the background), and all it printed."""
        self._count += 1
        printed = self._outputs / f"{self._count}"
        code = self._outputs / f"{self._count}.code"
        end = "&" if step.in_background else ""
        self._say(f"{{ {step.block.text}\n}} >{printed} 2>&1 </dev/null {end}\n")
        self._say(f"echo $? >{code}.new; mv {code}.new {code}\n")
        until(lambda: code.exists() or self._bash.poll() is not None, within=_STEP_SECONDS)
        assert code.exists(), f"bash ended:\n{printed.read_text()}"
        if step.in_background and step.shown is not None:
            wanted = step.shown
            until(lambda: difference(wanted, printed.read_text()) is None)
        return int(code.read_text()), printed.read_text()

    def _say(self, text: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(text)
        self._bash.stdin.flush()

    def close(self) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.close()
        # Its own session: what it left in the background is in it, and nothing else.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.wait(10)


def run_page(page: Page, shell: Shell, name: str) -> None:
    """Every step in order; the first that does not do what the page says is told with its line."""
    for step in page.steps:
        code, printed = shell.run(step)
        where = f"{name}:{step.block.line}"
        assert code == step.exit_code, f"{where}: exit code {code}\n{step.block.text}\n{printed}"
        if step.shown is not None:
            wrong = difference(step.shown, printed)
            assert wrong is None, f"{where}:\n{step.block.text}\n{wrong}"

"""Runs a page: each step does what the page says and prints what it shows."""

from __future__ import annotations

from collections.abc import Callable

from tests.docs.blocks import Page, Step, difference
from tools.shell import Shell


def run_page(page: Page, shell: Shell, name: str) -> None:
    """Every step in order; the first that does not do what the page says is told with its line."""
    for step in page.steps:
        code, printed = shell.run(
            step.block.text, background=step.in_background, until=_shown_by(step)
        )
        where = f"{name}:{step.block.line}"
        assert code == step.exit_code, f"{where}: exit code {code}\n{step.block.text}\n{printed}"
        if step.shown is not None:
            wrong = difference(step.shown, printed)
            assert wrong is None, f"{where}:\n{step.block.text}\n{wrong}"


def _shown_by(step: Step) -> Callable[[str], bool] | None:
    shown = step.shown
    if not step.in_background or shown is None:
        return None
    return lambda printed: difference(shown, printed) is None

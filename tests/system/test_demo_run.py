"""The demo as a whole: real servers, real answers, and the checker's word on their order."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.system.conftest import ROOT

pytestmark = [pytest.mark.system, pytest.mark.model]


def test_the_demo_answers_every_task_in_order(demo_python: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [demo_python, "-m", "ygg.cli", "demo", "--state", tmp_path / "demo"],
        capture_output=True, text=True, cwd=ROOT, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "All 24 tasks are closed, each with an answer; the order rule held." in done.stdout
    answers = list((tmp_path / "demo" / "artifacts").rglob("*.md"))
    assert len(answers) == 24
    assert all(path.read_text().strip() for path in answers)

"""`ygg demo --autoscale` as a whole: real model servers, exporters, dispatcher and autoscaler."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoscaler.recorder import read_records
from tests.system.conftest import ROOT
from tests.system.daemons import until

pytestmark = [pytest.mark.system, pytest.mark.model]

_MARK = "YGG_TEST_MARK"
_MOVE = re.compile(
    r"^ *[\d.]+ s  (\S+) (?:grows|goes back|shrinks) from (\d) to (\d): (.+)", re.MULTILINE
)


@dataclass
class Demo:
    """A run, and every process that came of it: they inherit a mark in their environment."""

    process: subprocess.Popen[str]
    mark: str
    output: Path

    def said(self) -> str:
        return self.output.read_text()

    def left(self) -> list[str]:
        """Command lines of those that are still there."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:  # it has just ended, or is another user's
                continue
        return found

    def ends(self, within: float) -> int:
        return self.process.wait(within)


@contextmanager
def demo(python: str, folder: Path, *args: str) -> Iterator[Demo]:
    mark, output = uuid.uuid4().hex, folder / "output"
    with output.open("w") as out:
        process = subprocess.Popen(
            [python, "-m", "ygg.cli", "demo", "--autoscale", "--state", str(folder / "demo"), *args],
            stdout=out, stderr=out, stdin=subprocess.DEVNULL, text=True, cwd=ROOT,
            env={**os.environ, _MARK: mark}, start_new_session=True,
        )  # fmt: skip
    running = Demo(process, mark, output)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.kill()  # the others are on its leash
        process.wait(10)


def test_limits_move_by_themselves_each_move_is_told_and_every_task_accounted_for(
    demo_python: str, tmp_path: Path
) -> None:
    with demo(demo_python, tmp_path, "--seconds", "50") as running:
        code = running.ends(280)
        said = running.said()
        assert code == 0, said[-4000:]
        until(lambda: not running.left())

    # The constants that are not as always, and the load.
    assert re.search(r"^ *window_seconds +60 +10$", said, re.MULTILINE)
    moves = _MOVE.findall(said)
    assert moves, said
    records = list(read_records(tmp_path / "demo" / "autoscaler"))
    # Those of the load's last moment, or after it, may not be told any more.
    resized = {(r.host, str(r.limit), str(r.wanted)) for r in records if r.effect == "resized"}
    assert {move[:3] for move in moves} <= resized
    assert all(reason for *_, reason in moves)

    account = re.search(r"^(\d+) tasks accepted: (.+)\.$", said, re.MULTILINE)
    assert account is not None, said
    outcomes = re.findall(r"(\d+) (closed with an answer|cancelled)", account[2])
    assert sum(int(count) for count, _ in outcomes) == int(account[1])
    answers = list((tmp_path / "demo" / "artifacts").rglob("*.md"))
    assert len(answers) == next(int(count) for count, what in outcomes if what.startswith("closed"))
    assert all(path.read_text().strip() for path in answers)
    assert re.search(r"^clean$", said, re.MULTILINE)
    assert "every process has ended" in said


@pytest.mark.parametrize(
    "moment", ["Three llama.cpp servers", "The dispatcher: ", "Load for 600 s"], ids=str.split
)
def test_ctrl_c_at_any_moment_leaves_no_process_behind(
    demo_python: str, tmp_path: Path, moment: str
) -> None:
    with demo(demo_python, tmp_path, "--seconds", "600") as running:
        until(lambda: moment in running.said(), within=120)
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.ends(120) == 130, running.said()
        assert "interrupted" in running.said()
        until(lambda: not running.left())


def test_a_demo_that_is_killed_takes_every_process_with_it(
    demo_python: str, tmp_path: Path
) -> None:
    with demo(demo_python, tmp_path, "--seconds", "600") as running:
        until(lambda: "Load for 600 s" in running.said(), within=120)
        running.process.kill()
        running.process.wait(10)
        until(lambda: not running.left())

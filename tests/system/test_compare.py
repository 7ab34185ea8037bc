"""`ygg compare` as a process: simulated servers, both dispatchers, a workload of moments."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.daemons import until, ygg

pytestmark = pytest.mark.system


def workload(path: Path, *, tokens: int) -> Path:
    """Enough for every slot, the urgent last; 40 tokens take a second."""
    lines: list[dict[str, object]] = [
        {
            "at": 0,
            "type": kind,
            "priority": priority,
            "title": f"{kind} {priority}",
            "tokens": tokens,
        }
        for priority in (3, 1, 0)
        for kind in ("reasoning", "text-processing", "code-generation")
    ]
    lines.append({"at": 0.1, "type": "general", "priority": 0, "title": "late", "tokens": tokens})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_both_dispatchers_run_it_and_it_is_told_as_text_and_drawn(tmp_path: Path) -> None:
    done = ygg(
        "compare", "--workload", workload(tmp_path / "w.jsonl", tokens=40),
        "--output", tmp_path / "c.svg", "--state", tmp_path / "kept", within=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Servers: SIMULATED: real HTTP servers without a model." in done.stdout
    rows = {line.split("  ")[0]: line.split() for line in done.stdout.splitlines()}
    assert rows["tasks at once, at most"][-2:] == ["3", "7"]
    assert rows["order inversions"][-4:] == ["0", "in", "10", "starts"]
    assert int(rows["order inversions"][2]) > 0
    assert rows["its memory, at most"][-1] == "MB"
    assert "NOT TO BE TRUSTED" not in done.stdout
    assert (tmp_path / "c.svg").stat().st_size > 0
    # What is kept can be looked at with the usual commands.
    for name, code in (("threads", 1), ("async", 0)):
        assert ygg("check-journal", "--state", tmp_path / "kept" / name).returncode == code


def test_its_json_is_all_of_standard_output(tmp_path: Path) -> None:
    lines = '{"at": 0, "type": "general", "priority": 2, "title": "t", "tokens": 1}\n'
    (tmp_path / "w.jsonl").write_text(lines)
    done = ygg("compare", "--json", "--workload", tmp_path / "w.jsonl", within=120)
    assert done.returncode == 0, done.stderr
    whole = json.loads(done.stdout)
    for name in ("threads", "async"):
        assert (whole[name]["accepted"], whole[name]["closed"]) == (1, 1)
        assert whole[name]["cpu_seconds"] >= 0  # a moment's work is less than a tick
        assert whole[name]["memory_bytes"] > 0
    assert len(whole["improvements"]) == 5


def test_time_that_is_up_is_told_with_the_way_out(tmp_path: Path) -> None:
    path = workload(tmp_path / "w.jsonl", tokens=4000)
    done = ygg("compare", "--workload", path, "--timeout", 0.5, within=120)
    assert done.returncode == 1
    assert "threads: only 0 of 10 tasks ended within 0.5 s" in done.stderr
    assert "--timeout" in done.stderr
    assert "the last lines of" in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "ygg.cli", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_all_that_it_started(tmp_path: Path, number: signal.Signals) -> None:
    path = workload(tmp_path / "w.jsonl", tokens=4000)
    with started("compare", "--workload", path) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "threads: 10 tasks ...\n"
        tasks = Path(f"/proc/{process.pid}/task").iterdir()
        children = {c for task in tasks for c in (task / "children").read_text().split()}
        assert len(children) == 2
        process.send_signal(number)
        assert process.wait(60) == 130
        assert "ending what the comparison started" in process.stderr.read()
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))

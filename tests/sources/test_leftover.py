"""A call that outlived its dispatcher is ended, and nothing else ever is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ygg.sources import leftover

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform != "linux", reason="nothing is ended elsewhere"),
]


@pytest.fixture
def program() -> Iterator[subprocess.Popen[bytes]]:
    """Runs until it is ended, as the leader of a group of its own."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as running:
        yield running
        running.kill()


def test_what_is_noted_and_runs_is_ended(tmp_path: Path, program: subprocess.Popen[bytes]) -> None:
    leftover.note(tmp_path / "note", program.pid)
    assert leftover.end(tmp_path / "note")
    assert program.wait(10) == -9
    assert not leftover.end(tmp_path / "note"), "it was forgotten"


def test_what_was_forgotten_goes_on(tmp_path: Path, program: subprocess.Popen[bytes]) -> None:
    leftover.note(tmp_path / "note", program.pid)
    leftover.forget(tmp_path / "note")
    leftover.forget(tmp_path / "note")
    assert not leftover.end(tmp_path / "note")
    assert program.poll() is None


def test_another_process_that_got_the_number_goes_on(
    tmp_path: Path, program: subprocess.Popen[bytes]
) -> None:
    (tmp_path / "note").write_text(f"{program.pid} 1\n")
    assert not leftover.end(tmp_path / "note")
    assert program.poll() is None


@pytest.mark.parametrize("text", ["", "x", "1", "-1 5", "x 5", "99999999999999999999 5", "\0"])
def test_a_note_without_sense_ends_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "note").write_text(text)
    assert not leftover.end(tmp_path / "note")
    (tmp_path / "note").write_bytes(b"\xff\xfe")
    assert not leftover.end(tmp_path / "note")


def test_a_folder_that_is_gone_takes_no_note_and_that_is_no_error(
    tmp_path: Path, program: subprocess.Popen[bytes]
) -> None:
    leftover.note(tmp_path / "gone" / "note", program.pid)
    leftover.forget(tmp_path / "gone" / "note")
    leftover.note(tmp_path / "note", 2**22 + 1)
    assert list(tmp_path.iterdir()) == []

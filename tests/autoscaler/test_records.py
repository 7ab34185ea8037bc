"""What is written down of a decision can be read again, whole, and never fills the disk."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings

from autoscaler.observed import Signals
from autoscaler.policy import Action, Reason
from autoscaler.recorder import Recorder, packed_files, read_records
from autoscaler.records import Record, decoded, encoded
from tests.autoscaler.test_policy_properties import scenes

pytestmark = pytest.mark.pure


def record(at: float = 1.0, host: str = "h", signals: Signals | None = None) -> Record:
    seen = signals or Signals(now=at, limit=2, min=1, max=4)
    return Record(
        at=at, run="r", host=host, limit=2, wanted=3, action=Action.GROW, reason=Reason.WAIT,
        effect="resized", evidence={"util": None, "limit": 2}, signals=seen,
    )  # fmt: skip


@given(scenes())
def test_every_record_reads_back_as_it_was(signals: Signals) -> None:
    written = record(signals=signals)
    assert list(decoded([encoded(written)])) == [written]


def test_an_age_that_is_infinite_stays_so() -> None:
    (read,) = decoded([encoded(record())])
    assert read.signals.gpu_age == math.inf


def test_a_line_that_was_cut_off_is_left_out() -> None:
    line = encoded(record())
    assert [r.at for r in decoded([line, line[:40], b"null\n", encoded(record(2.0))])] == [1.0, 2.0]


def test_records_of_one_host_are_found(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a" / "b")
    recorder.write([record(1.0, "h"), record(1.0, "hh")])
    recorder.write([record(2.0, 'h"h')])
    assert [r.host for r in read_records(tmp_path / "a" / "b")] == ["h", "hh", 'h"h']
    assert [r.host for r in read_records(tmp_path / "a" / "b", "h")] == ["h"]
    assert [r.host for r in read_records(tmp_path / "a" / "b", 'h"h')] == ['h"h']


def test_after_a_crash_in_the_middle_of_a_line_records_go_on_in_the_next(tmp_path: Path) -> None:
    Recorder(tmp_path).write([record(1.0)])
    with (tmp_path / "decisions.jsonl").open("ab") as file:
        file.write(encoded(record(2.0))[:30])
    Recorder(tmp_path).write([record(3.0)])
    assert [r.at for r in read_records(tmp_path)] == [1.0, 3.0]


@settings(max_examples=5)
@given(scenes())
def test_old_records_are_packed_and_the_oldest_go(
    tmp_path_factory: pytest.TempPathFactory, signals: Signals
) -> None:
    folder = tmp_path_factory.mktemp("records")
    recorder = Recorder(folder, file_bytes=2000, files=3)
    for at in range(60):
        recorder.write([record(float(at), signals=signals)])
    times = [r.at for r in read_records(folder)]
    assert times == sorted(times)
    assert times[-1] == 59.0
    assert times[0] > 0.0
    assert len(packed_files(folder)) == 3
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2000 + 4 * 2000


def test_a_file_of_its_own_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_bytes(encoded(record()))
    assert len(list(read_records(path))) == 1
    with pytest.raises(FileNotFoundError):
        list(read_records(tmp_path / "none.jsonl"))
    assert list(read_records(tmp_path)) == []

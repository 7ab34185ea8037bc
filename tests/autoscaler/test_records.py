"""What is written down of a decision can be read again, whole, and never fills the disk."""

from __future__ import annotations

import gzip
import math
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.observed import Signals
from autoscaler.policy import Action, Reason
from autoscaler.recorder import HeldByAnother, Recorder, packed_files, read_records
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


def test_what_is_no_record_is_told_with_its_line_but_for_one_that_is_just_being_written() -> None:
    told: list[tuple[int, str]] = []

    def tell(number: int, why: str) -> None:
        told.append((number, why))

    line = encoded(record())
    odd = [line, b'{"at": 1}\n', line, b"\xff\n", b"[" * 100_000 + b"\n", line[:40]]
    assert len(list(decoded(odd, None, tell))) == 2
    assert [number for number, _ in told] == [2, 4, 5]
    assert all(why for _, why in told)
    told.clear()
    assert list(decoded([line[:40]], "h", tell)) == []
    assert [number for number, _ in told] == [1]  # there is nothing else


def keep(folder: Path, *records: Record) -> None:
    """What one start of an autoscaler writes."""
    with Recorder(folder) as recorder:
        recorder.write(records)


@given(st.lists(st.binary()))
def test_whatever_stands_there_is_left_out_or_read(lines: list[bytes]) -> None:
    list(decoded(lines, None, lambda *_: None))


def test_a_damaged_packed_file_costs_its_own_records_and_is_named(tmp_path: Path) -> None:
    for number, at in ((1, 1.0), (2, 2.0)):
        packed = gzip.compress(encoded(record(at)) * 50)
        (tmp_path / f"decisions.{number:06d}.jsonl.gz").write_bytes(packed)
    damaged = tmp_path / "decisions.000001.jsonl.gz"
    damaged.write_bytes(damaged.read_bytes()[:-12])
    (tmp_path / "decisions.000003.jsonl.gz").write_bytes(b"no gzip")
    keep(tmp_path, record(3.0))
    told: list[tuple[str, int]] = []
    read = list(read_records(tmp_path, None, lambda path, line, _: told.append((path.name, line))))
    assert {r.at for r in read} >= {2.0, 3.0}
    assert [name for name, _ in told] == [damaged.name, "decisions.000003.jsonl.gz"]


def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    told: list[str] = []
    read = read_records(Path("/dev/zero"), None, lambda _path, _line, why: told.append(why))
    assert list(read) == []
    assert told[-1] == "no line of records has more than 1 MiB"


def test_a_disk_that_is_full_is_an_error_and_what_follows_is_whole(tmp_path: Path) -> None:
    current = tmp_path / "decisions.jsonl"
    current.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        keep(tmp_path, record(1.0))
    current.unlink()
    keep(tmp_path, record(2.0))
    assert [r.at for r in read_records(tmp_path)] == [2.0]


def test_records_that_can_not_be_packed_are_bounded_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    recorder = Recorder(tmp_path, file_bytes=2000, files=3)
    sizes = []
    for at in range(100):
        with suppress(OSError):
            recorder.write([record(float(at))])
        sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
    assert max(sizes) < 2 * 2000 + 1000
    assert list(read_records(tmp_path))[-1].at == 99.0


def test_a_folder_of_records_has_one_writer_and_who_else_comes_is_told_of_it(
    tmp_path: Path,
) -> None:
    with Recorder(tmp_path) as first:
        first.write([record(1.0)])
        with Recorder(tmp_path) as second:
            with pytest.raises(HeldByAnother, match=f"process {os.getpid()} keeps its records"):
                second.write([record(2.0)])
            first.__exit__(None, None, None)
            second.write([record(3.0)])
    assert [r.at for r in read_records(tmp_path)] == [1.0, 3.0]


def test_records_of_one_host_are_found(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a" / "b")
    recorder.write([record(1.0, "h"), record(1.0, "hh")])
    recorder.write([record(2.0, 'h"h')])
    assert [r.host for r in read_records(tmp_path / "a" / "b")] == ["h", "hh", 'h"h']
    assert [r.host for r in read_records(tmp_path / "a" / "b", "h")] == ["h"]
    assert [r.host for r in read_records(tmp_path / "a" / "b", 'h"h')] == ['h"h']


def test_after_a_crash_in_the_middle_of_a_line_records_go_on_in_the_next(tmp_path: Path) -> None:
    keep(tmp_path, record(1.0))
    with (tmp_path / "decisions.jsonl").open("ab") as file:
        file.write(encoded(record(2.0))[:30])
    keep(tmp_path, record(3.0))
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

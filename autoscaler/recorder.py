"""Records on disk: one file that is appended to, older ones packed, all of it bounded.

Nothing rests on them: a disk that is full costs the records, not the control. What a record says is
records.py's.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from autoscaler.records import Record, decoded, encoded

#: A host takes some 5 MB a day, 15 times less once packed.
FILE_BYTES: Final = 32 * 1024 * 1024
FILES: Final = 16
#: The file that is appended to.
CURRENT: Final = "decisions.jsonl"


class Recorder:
    """Appends to the records of one folder. One process at a time.

    Args:
        folder: made if need be.
        file_bytes: from this size on a file is packed, and another begun.
        files: so many packed ones are kept.
    """

    def __init__(self, folder: Path, *, file_bytes: int = FILE_BYTES, files: int = FILES) -> None:
        self._folder = folder
        self._file_bytes = file_bytes
        self._files = files

    def write(self, records: Iterable[Record]) -> None:
        """Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        current = self._folder / CURRENT
        with current.open("ab") as file:
            if file.tell() and not _ends_a_line(current):
                file.write(b"\n")  # a crash cut off the last one
            file.write(b"".join(map(encoded, records)))
            size = file.tell()
        if size >= self._file_bytes:
            self._rotate(current)

    def _rotate(self, current: Path) -> None:
        numbers = sorted(packed_files(self._folder))
        last = numbers[-1] if numbers else 0
        target = _packed(self._folder, last + 1)
        temporary = target.with_suffix(".tmp")
        with current.open("rb") as source, gzip.open(temporary, "wb", compresslevel=6) as packed:
            shutil.copyfileobj(source, packed)
        temporary.rename(target)
        current.unlink()
        for number in numbers[: max(0, len(numbers) + 1 - self._files)]:
            with suppress(FileNotFoundError):
                _packed(self._folder, number).unlink()


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _packed(folder: Path, number: int) -> Path:
    return folder / f"decisions.{number:06d}.jsonl.gz"


def packed_files(folder: Path) -> list[int]:
    """Their numbers: the higher, the later."""
    found = [path.name.split(".")[1] for path in folder.glob("decisions.*.jsonl.gz")]
    return [int(number) for number in found if number.isdecimal()]


def read_records(path: Path, host: str | None = None) -> Iterator[Record]:
    """Of a folder, or of one file, from the oldest on; of one host if that is said.

    Raises OSError.
    """
    if path.is_dir():
        for number in sorted(packed_files(path)):
            with suppress(FileNotFoundError):  # the autoscaler has just removed it
                yield from _read(_packed(path, number), host)
        path = path / CURRENT
        if not path.exists():
            return
    yield from _read(path, host)


def _read(path: Path, host: str | None) -> Iterator[Record]:
    with path.open("rb") as raw:
        if path.suffix == ".gz":
            with gzip.open(raw) as unpacked:
                yield from decoded(unpacked, host)
        else:
            yield from decoded(raw, host)

"""Records on disk: one file that is appended to, older ones packed, all of it bounded.

Nothing rests on them: a disk that is full costs the records, not the control. What a record says is
records.py's.
"""

from __future__ import annotations

import gzip
import itertools
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Final, Self, TypeAlias

from autoscaler.records import Record, decoded, encoded
from ygg import locks
from ygg.folders import make_folder

#: A host takes some 5 MB a day, 15 times less once packed.
FILE_BYTES: Final = 32 * 1024 * 1024
FILES: Final = 16
#: A file that could not be packed grows on to so many times that size.
_UNPACKED_MAX: Final = 2
#: A record has some 2 kB.
_LINE_BYTES_MAX: Final = 1 << 20
#: Told of what is no record: in which file, at which line, and why.
Odd: TypeAlias = Callable[[Path, int, str], None]
#: The file that is appended to.
CURRENT: Final = "decisions.jsonl"
#: Held by who writes, as long as its process lives.
_LOCK: Final = "decisions.lock"


class HeldByAnother(OSError):
    """Another process keeps its records in this folder."""


class Recorder:
    """Appends to the records of one folder, of which it is the only writer from its first record on.

    What two starts remember of a host mixes badly: neither could be explained or replayed.

    Args:
        folder: made if need be.
        file_bytes: from this size on a file is packed, and another begun.
        files: so many packed ones are kept.
    """

    def __init__(self, folder: Path, *, file_bytes: int = FILE_BYTES, files: int = FILES) -> None:
        self._folder = folder
        self._file_bytes = file_bytes
        self._files = files
        self._lock: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The folder is another's to write to."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, records: Iterable[Record]) -> None:
        """Raises OSError, as HeldByAnother where the folder is another process's."""
        make_folder(self._folder)
        if self._lock is None:
            self._lock = _locked(self._folder / _LOCK)
        current = self._folder / CURRENT
        with current.open("ab") as file:
            if file.tell() and not _ends_a_line(current):
                file.write(b"\n")  # a crash cut off the last one
            file.write(b"".join(map(encoded, records)))
            size = file.tell()
        if size >= self._file_bytes:
            self._rotate(current, size)

    def _rotate(self, current: Path, size: int) -> None:
        """Raises OSError; what can't be packed for long is dropped."""
        numbers = sorted(packed_files(self._folder))
        # The oldest go first: that makes room for what is packed now.
        for number in numbers[: max(0, len(numbers) + 1 - self._files)]:
            _packed(self._folder, number).unlink(missing_ok=True)
        target = _packed(self._folder, numbers[-1] + 1 if numbers else 1)
        temporary = target.with_suffix(".tmp")
        try:
            with (
                current.open("rb") as source,
                gzip.open(temporary, "wb", compresslevel=6) as packed,
            ):
                shutil.copyfileobj(source, packed)
        except OSError:
            temporary.unlink(missing_ok=True)
            if size >= _UNPACKED_MAX * self._file_bytes:
                current.unlink()
            raise
        temporary.rename(target)
        current.unlink()


def _locked(place: Path) -> int:
    """The lock, held. Raises OSError."""
    try:
        return locks.take(place, str(os.getpid()))
    except locks.Held as held:
        raise HeldByAnother(
            f"{place.parent}: process {held.holder or 'unknown'} keeps its records here: end one of "
            "the two, or give this one a folder of its own with --state DIR"
        ) from None


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


def read_records(path: Path, host: str | None = None, odd: Odd | None = None) -> Iterator[Record]:
    """Of a folder, or of one file, from the oldest on; of one host if that is said.

    What can't be read is left out, and `odd` told of it. Raises OSError.
    """
    if path.is_dir():
        for number in sorted(packed_files(path)):
            with suppress(FileNotFoundError):  # the autoscaler has just removed it
                yield from _read(_packed(path, number), host, odd)
        path = path / CURRENT
        if not path.exists():
            return
    yield from _read(path, host, odd)


def _read(path: Path, host: str | None, odd: Odd | None) -> Iterator[Record]:
    tell = None if odd is None else partial(odd, path)
    with path.open("rb") as raw:
        if path.suffix == ".gz":
            with gzip.open(raw) as unpacked:
                yield from decoded(_lines(unpacked, tell), host, tell)
        else:
            yield from decoded(_lines(raw, tell), host, tell)


def _lines(
    file: IO[bytes] | gzip.GzipFile, tell: Callable[[int, str], None] | None
) -> Iterator[bytes]:
    """As far as they can be read: a packed file may be damaged, and no line may fill the memory."""
    for number in itertools.count(1):
        try:
            line = file.readline(_LINE_BYTES_MAX)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            if tell is not None:
                tell(number, f"the packed file is damaged ({error})")
            return
        if len(line) == _LINE_BYTES_MAX and not line.endswith(b"\n"):
            if tell is not None:
                tell(number, f"no line of records has more than {_LINE_BYTES_MAX >> 20} MiB")
            return
        if not line:
            return
        yield line

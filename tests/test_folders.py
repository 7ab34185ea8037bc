"""What ygg makes on disk other users can't look into, whoever makes it first."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoscaler.recorder import Recorder
from ygg.folders import make_folder
from ygg.logs import start_logging
from ygg.stores.sqlite import SqliteStore


@pytest.fixture(params=[0, 0o022, 0o077], ids=lambda mask: f"umask{mask:03o}", autouse=True)
def mask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Of all that is in it, and of itself."""
    found = {"": folder, **{str(p.relative_to(folder)): p for p in folder.rglob("*")}}
    return {name: stat.S_IMODE(path.stat().st_mode) for name, path in found.items()}


def test_a_store_is_closed_to_others_with_all_beside_it(tmp_path: Path, mask: int) -> None:
    async def story() -> dict[str, int]:
        store = SqliteStore(tmp_path / "a" / "b" / "ygg.db")
        await store.open(owner="t", now=0.0, max_strikes=3)
        try:
            return modes(tmp_path / "a")
        finally:
            await store.close()

    folders = dict.fromkeys(("", "b"), 0o750 & ~mask)
    files = ("b/ygg.db", "b/ygg.db-wal", "b/ygg.db-shm", "b/ygg.db.lock")
    assert asyncio.run(story()) == folders | dict.fromkeys(files, 0o640 & ~mask)


def test_whoever_makes_the_state_folder_makes_it_so(tmp_path: Path, mask: int) -> None:
    lines = start_logging(tmp_path / "a" / "logs", verbose=False)
    logging.getLogger().removeHandler(lines)
    lines.close()
    with Recorder(tmp_path / "b" / "autoscaler") as recorder:
        recorder.write([])
    for name in ("a", "a/logs", "b", "b/autoscaler"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o750 & ~mask


def test_a_folder_that_was_there_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o755)
    make_folder(tmp_path / "a")
    make_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "a")
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "a" / "b")

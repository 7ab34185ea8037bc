"""hosts.yaml is made whole or not at all, and never over another file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ygg.setup.placing import CantWrite, create


def test_the_file_has_the_text(tmp_path: Path) -> None:
    create(tmp_path / "hosts.yaml", "hosts: äöü\n")
    assert (tmp_path / "hosts.yaml").read_text("utf-8") == "hosts: äöü\n"


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling"])
def test_nothing_is_written_over(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "hosts.yaml", tmp_path / "other"
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    else:
        if kind == "link":
            other.write_text("precious")
        path.symlink_to(other)
    with pytest.raises(CantWrite, match="never written over: name another with --output"):
        create(path, "new")
    if kind in ("file", "link"):
        assert path.read_text() == "precious"
    assert other.exists() == (kind == "link"), "nor through a link"


def test_where_no_file_can_be_the_way_out_is_named(tmp_path: Path) -> None:
    with pytest.raises(CantWrite, match="No such file or directory; make its folder"):
        create(tmp_path / "nowhere" / "hosts.yaml", "new")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_half_a_file_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def full(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", full)
    expected = CantWrite if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        create(tmp_path / "hosts.yaml", "new")
    assert list(tmp_path.iterdir()) == []

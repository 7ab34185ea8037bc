"""`ygg prometheus targets`: the file that Prometheus watches, whole and only when it changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system.daemons import ygg

pytestmark = pytest.mark.system

HOSTS = "hosts:\n  a: {url: 'http://a:1'}\n  b: {url: 'http://b:1', gpu: {exporter: off}}\n"


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.yaml"
    path.write_text(HOSTS)
    return path


def test_targets_are_printed_and_a_host_without_an_exporter_is_told(hosts: Path) -> None:
    done = ygg("prometheus", "targets", "--hosts", hosts)
    assert done.returncode == 0, done.stderr
    assert [group["targets"] for group in json.loads(done.stdout)] == [
        ["127.0.0.1:8765"], ["127.0.0.1:8766"], ["a:9836"],
    ]  # fmt: skip
    assert done.stderr == "ygg: b has no GPU exporter: hosts.yaml says so (gpu)\n"


def test_a_file_is_replaced_as_a_whole_and_only_when_it_says_something_else(
    hosts: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "targets"
    folder.mkdir()
    file = folder / "ygg.json"
    first = ygg("prometheus", "targets", "--hosts", hosts, "--output", file)
    assert (first.returncode, first.stdout) == (0, "")
    assert f"{file} written: 3 targets, 1 of them GPU exporters" in first.stderr
    born = file.stat()
    assert born.st_mode & 0o777 == 0o644
    again = ygg("prometheus", "targets", "--hosts", hosts, "-o", file)
    assert f"{file} says so already" in again.stderr
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (born.st_ino, born.st_mtime_ns)
    hosts.write_text(HOSTS.replace("exporter: off", "port: 9"))
    with file.open() as old:
        ygg("prometheus", "targets", "--hosts", hosts, "-o", file)
        assert len(json.load(old)) == 3, "whoever reads the old one reads it whole"
    assert len(json.loads(file.read_text())) == 4
    assert [path.name for path in folder.iterdir()] == ["ygg.json"]


def test_what_is_wrong_is_told_and_the_file_stays_as_it_was(hosts: Path, tmp_path: Path) -> None:
    file = tmp_path / "ygg.json"
    ygg("prometheus", "targets", "--hosts", hosts, "-o", file)
    before = file.read_text()
    hosts.write_text("hosts:\n  a: {url: 'http://a:1', slotz: 3}\n")
    bad = ygg("prometheus", "targets", "--hosts", hosts, "-o", file)
    assert bad.returncode == 1
    assert f"{hosts}:2: " in bad.stderr
    assert "slotz" in bad.stderr
    assert "slots" in bad.stderr
    hosts.unlink()
    none = ygg("prometheus", "targets", "--hosts", hosts, "-o", file)
    assert none.returncode == 2
    assert "there is no such file" in none.stderr
    assert file.read_text() == before
    hosts.write_text(HOSTS + "dispatcher: {listen: '127.0.0.1:0'}\n")
    nowhere = ygg("prometheus", "targets", "--hosts", hosts, "-o", file)
    assert nowhere.returncode == 2
    assert "--dispatcher HOST:PORT" in nowhere.stderr
    assert file.read_text() == before


def test_wrong_use_says_what_is_right(hosts: Path, tmp_path: Path) -> None:
    for words, said in (
        (("targets", "-o", tmp_path / "none" / "ygg.json"), "make its folder"),
        (("targets", "-o", tmp_path), "Is a directory"),
        (("targets", "--dispatcher", "tower"), "write HOST:PORT"),
        (("targets", "--autoscaler", "a:1", "--no-autoscaler"), "not allowed with"),
        (("config",), "targets"),
    ):
        done = ygg("prometheus", *words, "--hosts", hosts)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob(".*"))

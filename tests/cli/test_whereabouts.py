"""Where the daily commands look for the dispatcher: flag, YGG_URL, hosts.yaml, the usual."""

from __future__ import annotations

from pathlib import Path

import pytest

from ygg.cli.base import Wrong
from ygg.cli.whereabouts import Unclear, doors, find_url
from ygg.client import DEFAULT_URL

FLEET = "hosts:\n  h: {url: http://h:1}\n"
FILE = "dispatcher: {listen: '127.0.0.1:9001'}\n"


def find(
    folder: Path, url: str | None = None, hosts: str | None = None, **environ: str
) -> str:  # fmt: skip
    return find_url(url, hosts, environ={"HOME": str(folder), **environ}, folder=folder)


def test_the_flag_goes_before_the_environment_before_the_file_before_the_usual(
    tmp_path: Path,
) -> None:
    assert find(tmp_path) == DEFAULT_URL
    (tmp_path / "hosts.yaml").write_text(FILE)
    other = tmp_path / "other.yaml"
    other.write_text(FILE.replace("9001", "9002"))
    assert find(tmp_path) == "http://127.0.0.1:9001"
    assert find(tmp_path, YGG_HOSTS=str(other)) == "http://127.0.0.1:9002"
    assert find(tmp_path, hosts=str(other)) == "http://127.0.0.1:9002"
    assert find(tmp_path, hosts=str(other), YGG_URL="http://a:1") == "http://a:1"
    assert find(tmp_path, "http://b:1", YGG_URL="http://a:1") == "http://b:1"


@pytest.mark.pure
@pytest.mark.parametrize(
    ("text", "listen"),
    [
        (FLEET, ()),
        (FLEET + "# listen: 127.0.0.1:9001\ndispatcher:\n  # listen: x:1\n", ()),
        (FLEET + "dispatcher:\n  token: remote  # who may listen\n", ()),
        ("dispatcher:\n\n# why\n  listen: 127.0.0.1:9001\n" + FLEET, ("127.0.0.1:9001",)),
        ("dispatcher:\n  listen: unix:run/ygg.sock", ("unix:/etc/ygg/run/ygg.sock",)),
        (FLEET + "dispatcher:\n  listen:\n  - unix:/s\n  - a:1\n", ("unix:/s", "a:1")),
        ("{hosts: {h: {url: 'http://h:1'}}, dispatcher: {listen: 'a:1'}}", ("a:1",)),
        ("'dispatcher': {'listen': 'a:1'}\n", ("a:1",)),
        ("dispatcher: {\nlisten: 'a:1'\n}\nhosts: {}\n", ("a:1",)),
        (FLEET + "# dispatcher:\n#   listen: a:1\n", ()),
    ],
)
def test_only_the_doors_are_read_however_they_are_written(
    text: str, listen: tuple[str, ...]
) -> None:
    assert doors(text, Path("/etc/ygg/hosts.yaml")) == listen


@pytest.mark.pure
def test_mistakes_elsewhere_in_the_file_are_no_matter() -> None:
    assert doors("hosts: [: what\n" + FILE + "types: }\n", Path("f")) == ("127.0.0.1:9001",)


@pytest.mark.pure
def test_a_mistake_in_the_doors_is_named_with_its_line() -> None:
    with pytest.raises(Unclear, match=r"^f:3: `dispatcher.listen` "):
        doors(FLEET + "dispatcher: {listen: here}\n", Path("f"))


def test_a_file_that_was_named_must_be_read(tmp_path: Path) -> None:
    with pytest.raises(Wrong, match=r"nowhere\.yaml can't be read .*--url"):
        find(tmp_path, hosts="nowhere.yaml")
    with pytest.raises(Wrong, match=r"nowhere\.yaml can't be read"):
        find(tmp_path, YGG_HOSTS="nowhere.yaml")
    assert find(tmp_path, "http://a:1", hosts="nowhere.yaml") == "http://a:1"


@pytest.mark.parametrize("data", [b"dispatcher: {listen: here}\n", b"\xff listen\n"])
def test_one_that_only_lies_there_stops_nobody_and_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    (tmp_path / "hosts.yaml").write_bytes(data)
    assert find(tmp_path) == DEFAULT_URL
    (line,) = capsys.readouterr().err.splitlines()
    assert f"so {DEFAULT_URL} is asked" in line

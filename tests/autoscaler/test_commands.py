"""`ygg-autoscaler` used wrongly, or on records that are none: one line that says the way out."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from autoscaler.cli import main
from autoscaler.recorder import Recorder
from autoscaler.records import Record, encoded
from tests.autoscaler.test_records import record
from ygg.cli import main as ygg

pytestmark = pytest.mark.pure

HOSTS = (
    "hosts:\n"
    "  fenrir: {url: 'http://127.0.0.1:1', slots: {start: 2, max: 4}}\n"
    "  cpp: {url: 'http://127.0.0.1:1', shares: fenrir}\n"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a hosts.yaml, in which nothing else is set."""
    for name in ("YGG_HOSTS", "YGG_STATE", "YGG_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("YGG_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hosts.yaml").write_text(HOSTS)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """The exit code, and what was printed and complained of."""
    try:
        code = main(args)
    except SystemExit as ended:  # argparse's own
        code = int(ended.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def kept(folder: Path, *records: Record) -> Path:
    where = folder / "state" / "autoscaler"
    with Recorder(where) as recorder:
        recorder.write(records)
    return where


@pytest.mark.parametrize(
    ("args", "code", "why"),
    [
        (("--listen", "nowhere"), 2, "--listen is 'nowhere': write HOST:PORT"),
        (("--listen", "127.0.0.1:٨٠"), 2, "write HOST:PORT"),
        (("--hosts", "/nowhere/hosts.yaml"), 2, "there is no such file"),
        (("--url", "http://", "explain", "fenrir"), 2, "is no address of a dispatcher"),
        (("--url", "http://"), 2, "is no address of a dispatcher"),
        (("histroy", "h"), 2, "no command 'histroy': did you mean 'history'? `ygg-autoscaler --h"),
        (("--lsiten", "x"), 2, "unrecognized arguments: --lsiten: did you mean '--listen'?"),
        (("--dry-run", "--xyz"), 2, "unrecognized arguments: --xyz; `ygg-autoscaler --help` t"),
        (("history", "h", "--lsat", "3"), 2, "--lsat 3: did you mean '--last'? `ygg-autoscaler h"),
        (("--dry-run", "history", "h"), 2, "--dry-run is for running it: leave it out here"),
        (("--listen", "a:1", "explain", "h"), 2, "--listen is for running it"),
        (("explain",), 2, "required: HOST"),
        (("explain", ""), 2, "'' names nothing"),
        (("explain", "\udce4"), 2, "argument 2 is no text in UTF-8"),
        (("explain", "fenri"), 2, "hosts.yaml has no such host: did you mean 'fenrir'?"),
        (("history", "skadi"), 2, "hosts.yaml has no such host; there are: fenrir, cpp"),
        (("history", "cpp"), 2, "cpp uses the slots of fenrir"),
        (("explain", "cpp"), 2, "ask for fenrir"),
        (("history", "fenrir"), 1, "no decision about 'fenrir' is recorded in"),
        (("history", "h", "--last", "0"), 2, "'0' is no duration: write it like 90 (seconds), 30m, 2h or 1d"),
        (("history", "h", "--last", "٣h"), 2, "'٣h' is no duration: write it like 90 (seconds), 30m, 2h or 1d"),
        (("history", "h", "--last", "1e9h"), 2, "write it like 90 (seconds), 30m, 2h or 1d"),
        (("history", "h", "--last", "9999999999d"), 2, "is more than a thousand years"),
        (("replay", "/nowhere"), 2, "there is no such file or folder of records"),
        (("replay", ".", "--set", "memory_high_ratio"), 2, "write KEY=VALUE"),
        (("replay", ".", "--set", "=0.5"), 2, "write KEY=VALUE"),
        (("replay", ".", "--set", "memory_high_ratio="), 2, "write KEY=VALUE"),
        (("replay", ".", "--set", "memory_high_ratio=0.5, wait_seconds_max: 9"), 2, "write KEY="),
        (("replay", ".", "--set", "memory_high_ratio=7"), 2, "must be from 0 to 1"),
        (("replay", ".", "--set", "memory_high_ratio=nan"), 2, "write a plain number"),
        (("replay", ".", "--set", "memory_high_ratio=\u0660.\u0668"), 2, "write a plain number"),
        (("replay", ".", "--set", "memory_hihg_ratio=0.7"), 2, "mean 'memory_high_ratio'?"),
        (("replay", ".", "--set", "memory_high_ratio=0.99"), 2, "must not be greater"),
        (
            ("replay", ".", "--set", "memory_high_ratio=0.98", "--set", "memory_urgent_ratio=0.99"),
            1,
            "",
        ),
        (("replay", ".", "--set", "frozen_samples=9"), 2, "was recorded with it"),
        (("replay", ".", "--set", "window_seconds=90"), 2, "was recorded with it"),
        (("replay", ".", "--set", "dry_run=true"), 2, "does not change what is decided"),
        (("replay", "."), 1, "no decisions are recorded there"),
        (("replay", ".", "--host", "h"), 1, "no decisions about 'h' are recorded there"),
    ],
)  # fmt: skip
def test_wrong_use_is_told_in_one_line_with_its_exit_code(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...], code: int, why: str
) -> None:
    found, printed, complained = said(capsys, *args)
    assert (found, printed, complained.count("\n")) == (code, "", 1), complained
    assert complained.startswith("ygg-autoscaler")
    assert why in complained


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"no record\n", 1),
        (b"no end", 1),
        (b'{"at": 1}\n', 1),
        (b"\n\n", 1),
        (bytes(range(256)), 1),
        (b"[" * 100_000, 1),
        (HOSTS.encode(), 1),
    ],
)
def test_a_file_that_has_no_records_is_told_with_its_first_line(
    folder: Path, capsys: pytest.CaptureFixture[str], content: bytes, line: int
) -> None:
    (folder / "file").write_bytes(content)
    code, printed, complained = said(capsys, "replay", "file")
    assert (code, printed, complained.count("\n")) == (1, "", 1)
    assert complained.startswith(f"ygg-autoscaler: file:{line} is no record of a decision (")
    assert complained.endswith(": name what `ygg-autoscaler` wrote\n")


def test_lines_that_are_no_records_are_told_beside_the_answer(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = kept(folder, record(time.time(), "fenrir"))
    with (where / "decisions.jsonl").open("ab") as file:
        file.write(b"garbage\nmore of it\n" + encoded(record(time.time(), "fenrir")))
    for args in (("explain", "fenrir"), ("history", "fenrir"), ("replay", str(where))):
        code, printed, complained = said(capsys, *args)
        assert (code, complained.count("\n")) == (0, 1), complained
        assert printed
        assert f"{where}/decisions.jsonl:2 is no record of a decision" in complained
        assert "nor are 1 more: left out" in complained


def test_records_that_may_not_be_read_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "loop").symlink_to("loop")
    where = folder / "state" / "autoscaler"
    where.mkdir(parents=True)
    (where / "decisions.jsonl").mkdir()
    code, _, complained = said(capsys, "history", "fenrir")
    assert (code, complained.count("\n")) == (1, 1)
    assert "the records can't be read: Is a directory" in complained


def test_records_that_are_too_old_are_told_as_such(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(folder, record(time.time() - 5000, "fenrir"))
    code, _, complained = said(capsys, "history", "fenrir")
    assert (code, complained.count("\n")) == (1, 1)
    assert "none of the 1 recorded decisions about 'fenrir' is of the last 1 h" in complained
    assert said(capsys, "history", "fenrir", "--last", "6000")[0] == 0
    assert said(capsys, "history", "fenrir", "--last", "2h")[0] == 0


def test_a_record_of_a_time_that_no_calendar_has_is_shown_all_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    high = {"last": 0.95, "high": 0.95, "window_high": 0.95}
    raw = msgspec.json.decode(encoded(record(time.time(), "fenrir")))
    raw |= {"at": 1e300}
    raw["signals"] |= {"memory": high, "gpu_age": 1.0, "queue_age": 1.0, "limit": 4}
    (folder / "odd").write_bytes(msgspec.json.encode(raw) + b"\n")
    code, printed, complained = said(capsys, "replay", "odd", "--set", "memory_high_ratio=0.96")
    assert (code, complained) == (0, "")
    assert "1e+300" in printed


def test_hosts_yaml_with_mistakes_is_told_line_by_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "hosts.yaml").write_text("hosts:\n  h: {ulr: 'http://h'}\nautoscalr: {}\n")
    for args in ((), ("explain", "h"), ("replay", ".")):
        code, _, complained = said(capsys, *args)
        assert code == 2
        assert "hosts.yaml:2: " in complained
        assert "did you mean 'url'" in complained
        assert all(line.startswith("ygg-autoscaler: ") for line in complained.splitlines())


def test_settings_that_contradict_are_wrong_use(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "hosts.yaml").write_text(
        HOSTS + "autoscaler: {scrape_seconds: 30, decide_seconds: 5}\n"
    )
    for args in ((), ("history", "fenrir")):
        code, _, complained = said(capsys, *args)
        assert (code, complained.count("\n")) == (2, 1)
        assert "autoscaler.scrape_seconds is 30 and autoscaler.decide_seconds is 5" in complained


def test_the_dispatcher_is_looked_for_where_ygg_looks_for_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "hosts.yaml").write_text(HOSTS + "dispatcher: {listen: '127.0.0.1:2'}\n")
    told = "no dispatcher answers at http://127.0.0.1:"
    code, _, complained = said(capsys, "explain", "fenrir")
    assert (code, f"{told}2 " in complained) == (3, True), complained
    monkeypatch.setenv("YGG_URL", "http://127.0.0.1:3")
    assert f"{told}3 " in said(capsys, "explain", "fenrir")[2]
    assert f"{told}4 " in said(capsys, "explain", "fenrir", "--url", "http://127.0.0.1:4")[2]
    assert f"{told}4 " in said(capsys, "--url", "http://127.0.0.1:4", "explain", "fenrir")[2]


@pytest.mark.parametrize("command", [(), ("explain",), ("history",), ("replay",)])
def test_help_shows_an_example_that_can_be_typed(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    code, printed, _ = said(capsys, *command, "--help")
    assert code == 0
    assert f"ygg-autoscaler {' '.join(command)}".strip() in printed.partition("example")[2]


def test_what_was_decided_is_told_without_hosts_yaml_too(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(folder, replace_limit(record(time.time(), "fenrir")))
    (folder / "hosts.yaml").unlink()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    code, printed, _ = said(capsys, "explain", "fenrir")
    assert (code, "fenrir: the limit is 3" in printed) == (0, True)


def replace_limit(one: Record) -> Record:
    return msgspec.structs.replace(one, signals=replace(one.signals, limit=2))


def test_ygg_itself_lists_its_commands_by_its_own_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        ygg(["statsu"])
    assert "did you mean 'status'? `ygg help` lists them" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        ygg(["status", "--jsno"])
    assert "--jsno: did you mean '--json'? `ygg status --help`" in capsys.readouterr().err

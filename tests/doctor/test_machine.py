"""Folders, clock, doors, tokens of this machine: what is well, and of the rest the cure."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.bad_servers import closed_port
from ygg.atomic import Disk
from ygg.doctor import machine
from ygg.doctor.findings import Finding, State, warning
from ygg.fleet import DispatcherSettings


def test_a_folder_that_takes_files_keeps_none(tmp_path: Path) -> None:
    found = machine.folder(tmp_path)
    assert found.state is State.OK
    assert "takes files, one synced in" in found.what
    assert "GiB are free" in found.what
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    found = machine.folder(tmp_path / "a" / "b")
    assert found.state is State.OK
    assert found.what.startswith(f"{tmp_path / 'a' / 'b'} will be made when it is first needed")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_its_place_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    found = machine.folder(tmp_path / "a")
    assert found.remedy == f"move away what stands at {tmp_path / 'a'}: it is no folder"
    assert "can't be made in" in machine.folder(tmp_path / "a" / "b").what


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(28, "free space"), (122, "free space"), (13, "sudo chown -R $USER"), (30, "mount it writable"),
     (5, "dmesg")],
)  # fmt: skip
def test_a_disk_that_takes_nothing_has_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Disk, "sync", refuse)
    found = machine.folder(tmp_path)
    assert found.state is State.WRONG
    assert os.strerror(number) in found.what
    assert remedy in found.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("free", "state"), [(50 * 2**20, "wrong"), (2**30, "warning"), (9 * 2**30, "ok")]
)
def test_little_room_is_told_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert machine.folder(tmp_path).state.value == state


@pytest.mark.pure
@pytest.mark.parametrize(
    ("before", "after", "last", "said"),
    [
        ((2e9, 5.0), (2e9 + 1, 6.0), 2e9 - 5, "the clock runs steadily"),
        ((2e9, 5.0), (2e9 + 61, 6.0), None, "the clock jumped by +60.0 s within 1.0 s"),
        ((2e9, 5.0), (2e9 - 59, 6.0), None, "the clock jumped by -60.0 s within 1.0 s"),
        ((5.0, 5.0), (6.0, 6.0), None, "this machine's clock was never set"),
        ((2e9, 5.0), (2e9 + 1, 6.0), 2e9 + 901, "the store was opened 900 s in the future"),
    ],
)
def test_the_clock_is_compared(
    before: tuple[float, float], after: tuple[float, float], last: float | None, said: str
) -> None:
    (found,) = machine.clock(before, after, last)
    assert found.what.startswith(said)


@pytest.fixture
def taken() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


def test_a_port_is_free_or_ours_or_taken(taken: int) -> None:
    free = f"127.0.0.1:{closed_port()}"
    assert machine.door(free, running=False).what == f"{free} is free"
    assert machine.door(f"127.0.0.1:{taken}", running=True).state is State.OK
    found = machine.door(f"127.0.0.1:{taken}", running=False)
    assert found.state is State.WRONG
    assert found.what == f"127.0.0.1:{taken} is taken by another program"
    assert found.remedy.startswith(f"ss -ltnp 'sport = :{taken}' says which")


def test_whose_a_taken_door_is_may_be_unknown(taken: int, tmp_path: Path) -> None:
    doubt = warning("whether by the dispatcher is not known: it wants a token", "export YGG_TOKEN=")
    found = machine.door(f"127.0.0.1:{taken}", running=False, doubt=doubt)
    assert (found.state, found.remedy) == (State.WARNING, doubt.remedy)
    assert found.what == f"127.0.0.1:{taken} is taken; {doubt.what}"
    path = tmp_path / "s"
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        found = machine.door(f"unix:{path}", running=False, doubt=doubt)
        ours = machine.door(f"unix:{path}", False, doubt, pids={str(os.getpid())})
    assert (found.state, found.what) == (State.WARNING, f"unix:{path} is taken; {doubt.what}")
    assert ours.what.endswith(f"is that of the dispatcher that runs (process {os.getpid()})")
    free = machine.door(f"127.0.0.1:{closed_port()}", running=False, doubt=doubt)
    assert free.state is State.OK


def test_an_address_of_another_machine_is_wrong() -> None:
    found = machine.door("192.0.2.1:8765", running=False)
    assert found.state is State.WRONG
    assert "an address of this machine (ip addr)" in found.remedy


def test_a_unix_socket_is_free_left_or_taken(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert machine.door(f"unix:{path}", running=False).what == f"unix:{path} is free"
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        found = machine.door(f"unix:{path}", running=False)
        assert found.state is State.WRONG
        assert found.remedy.startswith(f"lsof {path}")
    assert "was left by a dispatcher that ended" in machine.door(f"unix:{path}", running=False).what
    nowhere = machine.door(f"unix:{tmp_path}/no/s", running=False)
    assert nowhere.remedy == f"sudo install -d -o $USER {tmp_path}/no"


def tokens(environ: Mapping[str, str], **settings: object) -> list[Finding]:
    return list(machine.tokens(DispatcherSettings(**settings), environ))  # type: ignore[arg-type]  # a test's own keywords


def test_tokens_are_needed_only_where_others_reach_us() -> None:
    (found,) = tokens({})
    assert found.what == "none is needed on loopback"
    (found,) = tokens({}, listen=("fenrir:8765",))
    assert found.state is State.WRONG
    assert "ygg token new" in found.remedy
    (found,) = tokens({}, token="always")
    assert found.state is State.WRONG


def test_tokens_are_read_where_the_file_says(tmp_path: Path) -> None:
    (found,) = tokens({"T": "ygg_" + "a" * 40}, token_from="env:T")
    assert found.what == "1 token lets clients in"
    (found,) = tokens({}, token_from="env:T")
    assert found.state is State.WRONG
    assert found.remedy == "ygg token new --file PATH, and `token_from: file:PATH`"
    path = tmp_path / "tokens"
    path.write_text("laptop ygg_" + "a" * 40 + "\n")
    path.chmod(0o644)
    first, second = tokens({}, token_from=f"file:{path}")
    assert (first.state, second.state) == (State.WARNING, State.OK)
    assert "chmod" in first.remedy
    assert "aaaa" not in f"{first}{second}"

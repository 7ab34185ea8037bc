"""Where files are when nobody says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ygg.cli import main
from ygg.fleet import DispatcherSettings
from ygg.places import NoHostsFile, NoStore, find_hosts_file, find_places


def test_hosts_yaml_by_flag_then_environment_then_folder(tmp_path: Path) -> None:
    here = tmp_path / "hosts.yaml"
    here.touch()
    environ = {"YGG_HOSTS": "/e/hosts.yaml", "HOME": str(tmp_path)}
    assert find_hosts_file("/f/hosts.yaml", environ, tmp_path) == Path("/f/hosts.yaml")
    assert find_hosts_file(None, environ, tmp_path) == Path("/e/hosts.yaml")
    assert find_hosts_file(None, {"HOME": "/nowhere"}, tmp_path) == here


def test_hosts_yaml_of_the_user(tmp_path: Path) -> None:
    users = tmp_path / ".config" / "ygg" / "hosts.yaml"
    users.parent.mkdir(parents=True)
    users.touch()
    assert find_hosts_file(None, {"HOME": str(tmp_path)}, tmp_path / "x") == users


def test_no_hosts_yaml_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NoHostsFile, match="--hosts FILE or YGG_HOSTS") as caught:
        find_hosts_file(None, {"HOME": str(tmp_path)}, tmp_path)
    assert str(tmp_path) in str(caught.value)


def places(folder: Path, *, state: str | None = None, store: str | None = None, **environ: str):  # type: ignore[no-untyped-def]  # inferred
    return find_places(
        DispatcherSettings(), state=state, store=store,
        environ={"HOME": "/home/u", **environ}, folder=folder,
    )  # fmt: skip


def test_a_service_is_where_systemd_says(tmp_path: Path) -> None:
    found = places(tmp_path, STATE_DIRECTORY="/var/lib/ygg", LOGS_DIRECTORY="/var/log/ygg")
    assert found.store == Path("/var/lib/ygg/ygg.db")
    assert found.artifacts == Path("/var/lib/ygg/artifacts")
    assert found.logs == Path("/var/log/ygg")


def test_a_checkout_keeps_everything_below_itself(tmp_path: Path) -> None:
    (tmp_path / "ygg").mkdir()
    (tmp_path / "ygg.py").touch()
    (tmp_path / "ygg" / "dispatcher.py").touch()
    found = places(tmp_path)
    assert found.store == tmp_path / ".ygg" / "ygg.db"
    assert found.logs == tmp_path / "logs"


def test_elsewhere_it_is_the_users_state_folder(tmp_path: Path) -> None:
    assert places(tmp_path).state == Path("/home/u/.local/state/ygg")
    assert places(tmp_path, XDG_STATE_HOME="/s").state == Path("/s/ygg")


def test_what_is_said_counts(tmp_path: Path) -> None:
    found = places(tmp_path, state="/d", store="sqlite:/x/tasks.db", STATE_DIRECTORY="/var/lib/ygg")
    assert (found.state, found.store, found.logs) == (
        Path("/d"), Path("/x/tasks.db"), Path("/d/logs"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("store", "says"),
    [
        ("postgresql://u:secret@h/db", "PostgreSQL, which ygg can't use yet"),
        ("postgres://u:secret@h/db", "PostgreSQL, which ygg can't use yet"),
        ("sqlite::memory:", "names no file"),
        ("sqlite://u:secret@h", "names no file"),
        ("sqlite:", "names no store"),
        ("/x/tasks-secret.db", "names no store"),
    ],
)
def test_a_store_that_is_no_sqlite_file_is_refused_without_its_secret(
    tmp_path: Path, store: str, says: str
) -> None:
    with pytest.raises(NoStore, match=says) as caught:
        places(tmp_path, store=store)
    assert "sqlite:PATH" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_command_line_makes_no_store_of_what_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("serve", "check", "check-journal"):
        with pytest.raises(SystemExit) as ended:
            main([command, "--store", "postgresql://u:secret@h/db"])
        assert ended.value.code == 2
        told = capsys.readouterr().err
        assert "--store: asks for PostgreSQL, which ygg can't use yet" in told
        assert "secret" not in told
    assert list(tmp_path.iterdir()) == []

"""Where secrets are, and that no message holds one."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest

from ygg.secrets import SecretError, is_reference, resolve_secret

SECRET = "sk-hunter2"


def refused(spec: str, environ: Mapping[str, str] | None = None) -> str:
    """The message; neither it nor anything that hangs on the error holds the secret."""
    with pytest.raises(SecretError) as caught:
        resolve_secret(spec, environ or {})
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in repr(error) + str(vars(error))
        error = error.__cause__ or error.__context__
    assert "hunter2" not in "".join(traceback.format_exception_only(caught.value))
    return str(caught.value)


def private(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


@pytest.mark.pure
def test_from_the_environment() -> None:
    assert resolve_secret("env:KEY", {"KEY": SECRET}) == SECRET
    assert resolve_secret("env:KEY", {"KEY": f" {SECRET}\r\n"}) == SECRET
    assert "KEY is not set: set it" in refused("env:KEY", {"OTHER": SECRET})
    assert "KEY is empty" in refused("env:KEY", {"KEY": "\n"})
    assert "more than one line" in refused("env:KEY", {"KEY": f"{SECRET}\nX: y"})
    assert "more than one line" in refused("env:KEY", {"KEY": f"{SECRET}ä\udcff\ud800"})


def test_from_a_file(tmp_path: Path) -> None:
    path = private(tmp_path / "key", f"{SECRET}\n".encode())
    assert resolve_secret(f"file:{path}") == SECRET
    path.chmod(0o640)
    assert resolve_secret(f"file:{path}") == SECRET
    for mode in (0o644, 0o602):
        path.chmod(mode)
        assert refused(f"file:{path}").endswith(f"is open to every user: chmod 600 {path}")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"sk-hunter2\nmore\n", "more than one line"),
        (b"sk-hunter2\xff", "characters that no HTTP header takes"),
        (b"sk-\x00hunter2", "characters that no HTTP header takes"),
        (b"sk-hunter2" * 10_000, "longer than"),
    ],
)
def test_a_file_that_holds_no_key(tmp_path: Path, data: bytes, words: str) -> None:
    path = private(tmp_path / "key", data)
    message = refused(f"file:{path}")
    assert words in message
    assert str(path) in message


def test_a_file_that_cant_be_read(tmp_path: Path) -> None:
    assert "No such file or directory; put the key there" in refused(f"file:{tmp_path / 'key'}")
    assert "Is a directory" in refused(f"file:{tmp_path}")


def test_from_systemds_credentials(tmp_path: Path) -> None:
    path = private(tmp_path / "fenrir.key", f"{SECRET}\n".encode())
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert resolve_secret("credential:fenrir.key", environ) == SECRET
    path.chmod(0o444)
    assert resolve_secret("credential:fenrir.key", environ) == SECRET, "the folder is private"
    assert "LoadCredential=fenrir.key:PATH" in refused("credential:fenrir.key")
    assert "No such file" in refused("credential:other", environ)


@pytest.mark.pure
@pytest.mark.parametrize(
    "spec",
    [
        SECRET, "", "env:", "env:sk-hunter2", "env:1", "ENV:A", "file:", "file:\n", "file:a\0b",
        "file:\ud800", "credential:", "credential:../hunter2", "credential:a/hunter2",
        "credential:.hunter2", "http://u:hunter2@h", "env:A\n", "env:A hunter2",
    ],
)  # fmt: skip
def test_what_does_not_say_where_a_secret_is(spec: str) -> None:
    assert not is_reference(spec)
    assert "env:NAME, file:PATH or credential:NAME" in refused(spec)


@pytest.mark.pure
@pytest.mark.parametrize("spec", ["env:A_1", "file:/a b/ü", "file:key", "credential:a.b-c_D"])
def test_what_says_where_a_secret_is(spec: str) -> None:
    assert is_reference(spec)

"""Where a secret is, and the secret itself: settings say the first, only a request sees the second.

No message of this module holds a secret, or what might be one.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: What settings may say: never the secret itself.
FORMS: Final = "env:NAME, file:PATH or credential:NAME"
_REFERENCE: Final = re.compile(
    r"env:(?P<variable>[A-Za-z_][A-Za-z0-9_]*)"
    r"|file:(?P<path>[^\x00-\x1f\x7f\ud800-\udfff]*[^\x00-\x20\x7f\ud800-\udfff])"
    r"|credential:(?P<credential>[A-Za-z0-9_-][A-Za-z0-9._-]*)"
)
#: No key is longer; a file that is was named by mistake.
_BYTES_MAX: Final = 16 * 1024


class SecretError(Exception):
    """A secret is not where the settings say, or not as it should be. Its text is never in here."""


def is_reference(spec: str) -> bool:
    """Whether a text says where a secret is. If it does not it may be the secret: don't show it."""
    return _REFERENCE.fullmatch(spec) is not None


def resolve_secret(spec: str, environ: Mapping[str, str] = os.environ) -> str:
    """The secret that `env:NAME`, `file:PATH` or `credential:NAME` stands for.

    Blanks and line ends around it are no part of it. Raises SecretError.
    """
    found = _find(spec, environ)
    if found.mode & (stat.S_IROTH | stat.S_IWOTH):
        raise SecretError(f"{found.where} is open to every user: {found.cure}")
    data = _stripped(found)
    if not data.isascii() or not data.decode("ascii", "replace").isprintable():
        raise SecretError(
            f"{found.where} holds more than one line, or characters that no HTTP header takes: "
            "it should hold only a key"
        )
    return data.decode("ascii")


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class SecretText:
    """What stands where a reference leads. No traceback or log shows it: it has no repr."""

    text: str
    #: For messages.
    where: str
    #: The command that keeps other users from reading it; None: they can't.
    cure: str | None


def resolve_text(spec: str, environ: Mapping[str, str] = os.environ) -> SecretText:
    """The same for a text of several lines, which other users may read but not write.

    Raises SecretError.
    """
    found = _find(spec, environ)
    if found.mode & (stat.S_IWOTH | stat.S_IWGRP):
        raise SecretError(f"{found.where} can be written by other users: {found.cure}")
    text = _stripped(found).decode("ascii", "replace")
    if not text.isascii() or not all(c.isprintable() or c in "\r\n\t" for c in text):
        raise SecretError(f"{found.where} holds characters beyond ASCII, or that are no text")
    readable = bool(found.mode & stat.S_IROTH)
    return SecretText(text=text, where=found.where, cure=found.cure if readable else None)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class _Found:
    data: bytes
    #: For messages.
    where: str
    #: Who may do what with it beside its owner, as bits of a file's mode.
    mode: int = 0
    #: The command against a mode that is too open.
    cure: str = ""


def _find(spec: str, environ: Mapping[str, str]) -> _Found:
    match = _REFERENCE.fullmatch(spec)
    if match is None:
        raise SecretError(f"a key must say where it is: {FORMS}; it is none of these")
    if match["variable"] is not None:
        return _from_environment(match["variable"], environ)
    if match["path"] is not None:
        path = match["path"]
        data, mode = _read(Path(path))
        return _Found(data=data, where=path, mode=mode, cure=f"chmod 600 {shlex.quote(path)}")
    name = match["credential"]
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise SecretError(
            f"credential {name} is asked for, but this is no service with credentials: give the "
            f"unit LoadCredential={name}:PATH, or set CREDENTIALS_DIRECTORY"
        )
    # systemd keeps the folder from all other users; the mode of the file says nothing.
    data, _ = _read(Path(folder) / name)
    return _Found(data=data, where=f"credential {name}")


def _from_environment(name: str, environ: Mapping[str, str]) -> _Found:
    found = environ.get(name)
    if found is None:
        raise SecretError(
            f"the environment variable {name} is not set: set it where ygg is started "
            f"(in a systemd unit: EnvironmentFile=)"
        )
    # Bytes that are no UTF-8 come out of the environment as surrogates.
    return _Found(data=found.encode(errors="surrogatepass"), where=f"environment variable {name}")


def _read(path: Path) -> tuple[bytes, int]:
    """What is in a file, and its mode."""
    try:
        with path.open("rb") as file:
            return file.read(_BYTES_MAX + 1), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        raise SecretError(
            f"{path} can't be read: {error.strerror}; put the key there, readable by the user "
            "that runs ygg and nobody else"
        ) from error


def _stripped(found: _Found) -> bytes:
    # Bytes are looked at, not decoded: a UnicodeDecodeError carries what it could not read.
    data = found.data.strip()
    if not data:
        raise SecretError(f"{found.where} is empty: put the key there")
    if len(data) > _BYTES_MAX:
        raise SecretError(
            f"{found.where} is longer than {_BYTES_MAX} bytes: it should hold only a key"
        )
    return data

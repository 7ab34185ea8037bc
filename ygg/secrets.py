"""Where a secret is, and the secret itself: settings say the first, only a request sees the second.

No message of this module holds a secret, or what might be one.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
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
    match = _REFERENCE.fullmatch(spec)
    if match is None:
        raise SecretError(f"a key must say where it is: {FORMS}; it is none of these")
    if match["variable"] is not None:
        return _from_environment(match["variable"], environ)
    if match["path"] is not None:
        return _checked(_read(Path(match["path"]), private=True), f"file {match['path']}")
    name = match["credential"]
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise SecretError(
            f"credential {name} is asked for, but this is no service with credentials: give the "
            f"unit LoadCredential={name}:PATH, or set CREDENTIALS_DIRECTORY"
        )
    # systemd keeps the folder from all other users; the mode of the file says nothing.
    return _checked(_read(Path(folder) / name, private=False), f"credential {name}")


def _from_environment(name: str, environ: Mapping[str, str]) -> str:
    found = environ.get(name)
    if found is None:
        raise SecretError(
            f"the environment variable {name} is not set: set it where ygg is started "
            f"(in a systemd unit: EnvironmentFile=)"
        )
    # Bytes that are no UTF-8 come out of the environment as surrogates.
    return _checked(found.encode(errors="surrogatepass"), f"environment variable {name}")


def _read(path: Path, *, private: bool) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if private and stat.S_IMODE(mode) & (stat.S_IROTH | stat.S_IWOTH):
                raise SecretError(f"{path} is open to every user: chmod 600 {path}")
            return file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise SecretError(
            f"can't read the key in {path}: {error.strerror}; put it there, readable by the user "
            "that runs ygg and nobody else"
        ) from error


def _checked(data: bytes, where: str) -> str:
    # Bytes are looked at, not decoded: a UnicodeDecodeError carries what it could not read.
    data = data.strip()
    if not data:
        raise SecretError(f"{where} is empty: put the key there")
    if len(data) > _BYTES_MAX:
        raise SecretError(f"{where} is longer than {_BYTES_MAX} bytes: it should hold only a key")
    if not data.isascii() or not data.decode("ascii", "replace").isprintable():
        raise SecretError(
            f"{where} holds more than one line, or characters that no HTTP header takes: "
            "it should hold only a key"
        )
    return data.decode("ascii")

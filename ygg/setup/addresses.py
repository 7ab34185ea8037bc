"""What a person types for a server, as addresses to ask. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

#: Where Ollama, llama.cpp and vLLM listen when nobody says otherwise.
USUAL_PORTS: Final = (11434, 8080, 8000)

_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9_])?\.?")


class NoAddress(Exception):
    """It is no address of a server; the message says what one looks like."""


def addresses(given: str) -> list[str]:
    """The roots to ask: one, or for a bare name of a machine those of the usual ports.

    Raises NoAddress. The message holds no password, if one was in the text.
    """
    text = given.strip()
    has_scheme = "://" in text
    try:
        parts = urlsplit(text if has_scheme else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise NoAddress("a port or an address that can't be: write http://HOST:PORT") from error
    if parts.username is not None or parts.password is not None:
        raise NoAddress(
            "an address with a user or a password in it: leave them out, and say where the key "
            "is with --key env:NAME"
        )
    if parts.scheme not in ("http", "https") or not host or port == 0 or not _is_plain(text, host):
        raise NoAddress(f"{given!r} is no address of a server: write http://HOST:PORT")
    if parts.query or parts.fragment:
        raise NoAddress(f"{given!r} has a `?` or a `#` in it: write the root, http://HOST:PORT")
    name = f"[{host}]" if ":" in host else host
    if not has_scheme and port is None and not parts.path.strip("/"):
        return [f"http://{name}:{usual}" for usual in USUAL_PORTS]
    is_usual = port == {"http": 80, "https": 443}[parts.scheme]
    where = name if port is None or is_usual else f"{name}:{port}"
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return [f"{parts.scheme}://{where}{path}"]


def _is_plain(text: str, host: str) -> bool:
    if not text.isascii() or not text.isprintable() or " " in text:
        return False
    if ":" not in host:
        return _HOST.fullmatch(host) is not None
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True

"""Where ygg listens: HOST:PORT or a Unix socket, as hosts.yaml and the command line write it.

Plain values. Whether an address can be had is found out by ygg.web.listening.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

EXAMPLES: Final = "127.0.0.1:8765, or '[::1]:8765' in quotes"
_HOST_PORT: Final = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9._-]{0,252}):(?P<port>[0-9]{1,5})"
)
_UNIX: Final = "unix:"
#: What Linux keeps of a socket's path, without the zero at its end.
_PATH_BYTES_MAX: Final = 107


@dataclass(frozen=True, slots=True)
class HostPort:
    """A TCP address. Port 0 is any free one."""

    #: Without the brackets of IPv6.
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixPath:
    """A socket in the file system: who may open the file may come in."""

    path: Path

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}"


Address: TypeAlias = HostPort | UnixPath


def is_unix(text: str) -> bool:
    """Whether a text means a Unix socket, be it a good one or not."""
    return text.startswith(_UNIX)


def parse_address(text: str) -> Address:
    """HOST:PORT or unix:PATH. Raises ValueError, which says how to write it."""
    if is_unix(text):
        return unix_path(Path(text.removeprefix(_UNIX)))
    return parse_host_port(text)


def parse_host_port(text: str) -> HostPort:
    """Raises ValueError, which says how to write it."""
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match["port"]) > 65535 or not _is_host(match["host"]):
        raise ValueError(f"write HOST:PORT, such as {EXAMPLES}")
    return HostPort(match["host"].strip("[]"), int(match["port"]))


def unix_path(path: Path) -> UnixPath:
    """Raises ValueError, which says what a socket's path may be."""
    text = str(path)
    if text in ("", ".") or text.startswith("@") or not text.isprintable():
        raise ValueError(f"write {_UNIX}PATH, such as {_UNIX}/run/ygg/ygg.sock")
    if len(text.encode(errors="surrogateescape")) > _PATH_BYTES_MAX:
        raise ValueError(
            f"a socket's path has at most {_PATH_BYTES_MAX} bytes: choose a shorter one, such as "
            f"{_UNIX}/run/ygg/ygg.sock"
        )
    return UnixPath(path)


def is_loopback(host: str) -> bool:
    """Whether an address (never a name, which may change its mind) is this machine's own."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def is_beyond_loopback(address: Address) -> bool:
    """Whether it can be told, without asking for a name, that other machines reach it."""
    if isinstance(address, UnixPath):
        return False
    try:
        ipaddress.ip_address(address.host)
    except ValueError:
        return False
    return not is_loopback(address.host)


def _is_host(text: str) -> bool:
    if not text.startswith("["):
        return True
    try:
        ipaddress.IPv6Address(text[1:-1])
    except ValueError:
        return False
    return True

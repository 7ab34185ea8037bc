"""Where a dispatcher is: an http, https or unix URL, taken apart. Pure."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ygg.addresses import HostPort, UnixPath, parse_address
from ygg.client.errors import WrongSettings

DEFAULT_URL: Final = "http://127.0.0.1:8765"
_FORMS: Final = f"write {DEFAULT_URL}, https://HOST:PORT or unix:/path/of/the/socket"
_PORTS: Final = {"http": 80, "https": 443}
#: Addresses that mean all of a machine's own.
_ANYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    #: As a person wrote it, for messages.
    url: str
    #: Of a Unix socket; None: it is reached over TCP.
    socket: str | None = None
    host: str = ""
    port: int = 0
    tls: bool = False
    #: What the Host header says.
    name: str = "localhost"
    #: What comes before every path, as behind a proxy; mostly nothing.
    prefix: str = ""


def parse_url(url: str) -> Address:
    """Raises WrongSettings."""
    if url.startswith("unix:"):
        return _unix(url)
    try:
        parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise WrongSettings(f"{url!r} is no address of a dispatcher ({error}): {_FORMS}") from error
    if parts.scheme not in _PORTS or not host or parts.query or parts.fragment:
        raise WrongSettings(f"{url!r} is no address of a dispatcher: {_FORMS}")
    if parts.username is not None or parts.password is not None:
        raise WrongSettings("the URL has a user or a password in it: give a token in YGG_TOKEN")
    if not url.isascii() or any(c.isspace() or not c.isprintable() for c in url):
        raise WrongSettings(f"{url!r} has characters that no address has: {_FORMS}")
    named = f"[{host}]" if ":" in host else host
    return Address(
        url=url,
        host=host,
        port=_PORTS[parts.scheme] if port is None else port,
        tls=parts.scheme == "https",
        name=named if port is None else f"{named}:{port}",
        prefix=parts.path.rstrip("/"),
    )


def url_of(listen: Sequence[str]) -> str:
    """Where a dispatcher that listens at all of these is found from this machine."""
    addresses = [parse_address(text) for text in listen]
    first = next((one for one in addresses if isinstance(one, HostPort)), addresses[0])
    if isinstance(first, UnixPath):
        return str(first)
    if first.port == 0:
        return DEFAULT_URL  # it takes any that is free, and nobody knows which
    if first.host in _ANYWHERE:
        first = replace(first, host="::1" if ":" in first.host else "127.0.0.1")
    return f"http://{first}"


def _unix(url: str) -> Address:
    path = url.removeprefix("unix:")
    if path.startswith("//"):  # unix:///run/ygg.sock, as others write it
        path = "/" + path.lstrip("/")
    if not path or "\0" in path:
        raise WrongSettings(f"{url!r} names no socket: {_FORMS}")
    return Address(url=url, socket=path)

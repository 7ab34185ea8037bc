"""What a value of a settings file may be: a word, a number, a duration, a choice, any JSON.

Numbers and words are read as YAML 1.2 and JSON have them. What YAML 1.1 would make of `010`,
`1:30` or `no` is refused and said. Each reader takes a `Value`, and returns None after it has
complained.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar
from urllib.parse import SplitResult, urlsplit

import yaml

from ygg import addresses
from ygg.addresses import Address
from ygg.durations import UNITS, parse_duration
from ygg.tasks import Json
from ygg.yamlreader import REFUSED, TAG, Value, reading, shown

L = TypeVar("L", bound=str)
T = TypeVar("T")

#: The longest number or duration that is read: no setting needs more characters.
_DIGITS_MAX: Final = 40
_NUMBER: Final = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
#: What Ollama reads, shorter than what would overflow there.
_GO_DURATION: Final = re.compile(r"-?(?:[0-9]{1,6}(?:\.[0-9]{1,9})?(?:ms|s|m|h)){1,4}")
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9_])?\.?")


def _is_text(value: Value, example: str) -> bool:
    if not value.is_scalar(example):
        return False
    if value.node.tag != f"{TAG}str":
        value.complain(f"is {reading(value)}", f"if it is a text, quote it: '{value.plain[:60]}'")
        return False
    return True


def word(value: Value) -> str | None:
    """A text on one line."""
    if not _is_text(value, "'text'"):
        return None
    if not value.plain.strip() or not value.plain.isprintable():
        value.complain("is empty or has unprintable characters", "write a text on one line")
        return None
    return value.plain.strip()


def prose(value: Value) -> str | None:
    """A text of any number of lines."""
    if not _is_text(value, "'text'"):
        return None
    if not all(c.isprintable() or c in "\n\t" for c in value.plain):
        value.complain("has unprintable characters", "delete them")
        return None
    return value.plain


def listed(how: Callable[[Value], T | None]) -> Callable[[Value], list[tuple[T, Value]] | None]:
    """A list of what `how` reads, each with the value it was read from."""

    def read(value: Value) -> list[tuple[T, Value]] | None:
        items = value.items()
        if items is None:
            return None
        pairs = [(how(item), item) for item in items]
        return [(found, item) for found, item in pairs if found is not None]

    return read


def choice(names: Sequence[L]) -> Callable[[Value], L | None]:
    """One of these words. `off` is one although YAML takes it for a no."""

    def read(value: Value) -> L | None:
        if not value.is_scalar(names[0]):
            return None
        for name in names:
            if value.plain == name:
                return name
        value.complain(f"is {shown(value.plain)}", f"write one of {', '.join(names)}")
        return None

    return read


def flag(value: Value) -> bool | None:
    """Yes or no, in any of YAML's words for it."""
    if not value.is_scalar("true"):
        return None
    if value.node.tag != f"{TAG}bool":
        value.complain(f"is {shown(value.plain)}", "write true or false")
        return None
    return value.plain.lower() in ("true", "yes", "on")


def _number(value: Value) -> int | float | None:
    """The number that stands here, as JSON would have it; None: none does."""
    text = value.plain
    if len(text) > _DIGITS_MAX or not _is_number(value):
        return None
    number = float(text)
    if not math.isfinite(number):
        return None
    return number if any(c in text for c in ".eE") else int(text)


def _is_number(value: Value) -> bool:
    """Whether it is a number by its form, be it too large to be one."""
    is_plain = isinstance(value.node, yaml.ScalarNode) and value.node.style is None
    return is_plain and _NUMBER.fullmatch(value.plain) is not None


def _not_a_number(value: Value, wanted: str) -> None:
    quoted = isinstance(value.node, yaml.ScalarNode) and value.node.style is not None
    what = f"{shown(value.plain)} in quotes" if quoted else reading(value)
    value.complain(f"is {what}", f"write {wanted}")


def number(least: float, most: float) -> Callable[[Value], float | None]:
    """A number within these bounds."""

    def read(value: Value) -> float | None:
        if not value.is_scalar(f"{least:g}"):
            return None
        found = _number(value)
        if found is None:
            _not_a_number(value, f"a plain number from {least:g} to {most:g}")
        elif not least <= found <= most:
            value.complain(f"is {value.plain}", f"it must be from {least:g} to {most:g}")
        else:
            return float(found)
        return None

    return read


def whole(least: int, most: int) -> Callable[[Value], int | None]:
    """A whole number within these bounds."""

    def read(value: Value) -> int | None:
        if not value.is_scalar(f"{least}"):
            return None
        found = _number(value)
        if not isinstance(found, int):
            _not_a_number(value, f"a whole number from {least} to {most}")
        elif not least <= found <= most:
            value.complain(f"is {value.plain}", f"it must be from {least} to {most}")
        else:
            return found
        return None

    return read


def seconds(least: float, most: float) -> Callable[[Value], float | None]:
    """A duration in seconds within these bounds: 90, 90s, 10m, 1h30m, 2d."""

    def read(value: Value) -> float | None:
        if not value.is_scalar("90s"):
            return None
        found: float | None = _number(value)
        if found is None:
            found = parse_duration(value.plain)
        if found is None:
            _not_a_number(value, "seconds, or a duration such as 90s, 10m, 1h or 2d")
        elif not least <= found <= most:
            what = f"is {value.plain}"
            value.complain(what, f"it must be from {_span(least)} to {_span(most)}")
        else:
            return float(found)
        return None

    return read


def _span(duration: float) -> str:
    """A duration in the largest unit of which it is a whole number."""
    whole_units = [unit for unit in UNITS if duration and duration % UNITS[unit] == 0]
    unit = whole_units[-1] if whole_units else "s"
    return f"{duration / UNITS[unit]:g}{unit}"


def url(value: Value) -> SplitResult | None:
    """An http or https address. Its text is in no message: it may hold a password."""
    text = word(value)
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        port = parts.port
        if ":" in host:
            ipaddress.IPv6Address(host)
    except ValueError:
        value.complain("has a port or an address that can't be", "write http://HOST:PORT")
        return None
    if parts.scheme not in ("http", "https"):
        value.complain("does not begin with http:// or https://", "write http://HOST:PORT")
    elif parts.username is not None or parts.password is not None:
        remedy = "delete them; a host's API key is its `key: env:NAME`"
        value.complain("has a user or a password in it", remedy)
    elif port == 0 or (":" not in host and not _HOST_NAME.fullmatch(host)):
        value.complain("names no host that can be, or port 0", "write http://HOST:PORT")
    elif not text.isascii() or any(c.isspace() for c in text):
        value.complain("has blanks or characters beyond ASCII", "write them as %XX")
    else:
        return parts
    return None


def address(value: Value) -> str | None:
    """HOST:PORT to listen on; port 0 is any free one."""
    if isinstance(value.node, yaml.SequenceNode):
        value.complain("is a list", f"write HOST:PORT, such as {addresses.EXAMPLES}")
        return None
    found = _address(value, addresses.parse_host_port)
    return None if found is None else str(found)


def door(value: Value) -> Address | None:
    """HOST:PORT or unix:PATH to listen on; a relative path stays one."""
    return _address(value, addresses.parse_address)


def _address(value: Value, parse: Callable[[str], T]) -> T | None:
    if not value.is_scalar("127.0.0.1:8765"):
        return None
    try:
        # What YAML takes for a number in base 60 has not the form of one either.
        return parse(value.plain if value.node.tag == f"{TAG}str" else "")
    except ValueError as error:
        value.complain(f"is {shown(value.plain)}", str(error))
        return None


def host_name(value: Value) -> str | None:
    """A name that clients call a server by, or an address, without a port; in lower case."""
    text = word(value)
    if text is None:
        return None
    bare = text.strip("[]")
    try:
        return f"[{ipaddress.IPv6Address(bare).compressed}]"
    except ValueError:
        pass
    if _HOST_NAME.fullmatch(text) and not text.endswith("."):
        return text.lower()
    value.complain(
        f"is {shown(text)}", "write a name or an address without a port, such as ygg.example.org"
    )
    return None


def keep_alive(value: Value) -> str | None:
    """How long a model stays loaded, in Ollama's words: a number is seconds, below 0 is for ever."""
    if not value.is_scalar("30m"):
        return None
    found = _number(value)
    if found is not None:
        return f"{found}s"  # as a text Ollama wants the unit
    if value.plain == "0" or _GO_DURATION.fullmatch(value.plain):
        return value.plain
    _not_a_number(value, "a duration such as 90s, 30m or 24h, 0 for none, -1 for ever")
    return None


def json(value: Value) -> Json:
    """Whatever JSON can say. None is `null`, or was complained of."""
    if value.node.tag == REFUSED or (value.is_null and value.plain):
        return None
    if isinstance(value.node, yaml.MappingNode):
        return {key.plain: json(inner) for key, inner in value.entries()}
    if isinstance(value.node, yaml.SequenceNode):
        return [json(item) for item in value.items() or ()]
    found = _number(value)
    if found is not None:
        return found
    if value.plain.lower() in ("true", "false") and value.node.tag == f"{TAG}bool":
        return value.plain.lower() == "true"
    if value.is_null:
        value.complain("has no value", "write one, or null, or delete the line")
    elif value.node.tag == f"{TAG}bool":
        value.complain(f"is {reading(value)}", "write true or false, or quote a text")
    elif value.node.tag in (f"{TAG}int", f"{TAG}float") or _is_number(value):
        value.complain(f"is {reading(value)}", "write plain decimal digits, or quote a text")
    else:
        return prose(value)
    return None

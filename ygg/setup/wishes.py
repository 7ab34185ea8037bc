"""What a person says of a proposed host, checked: the same for flags and for answers. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from ygg import secrets
from ygg.hosts.base import Product
from ygg.hosts.ollama import has_name
from ygg.setup.proposal import Server, Wish, fits
from ygg.typesfile import NAME, NAME_REMEDY
from ygg.yamlreader import near

_SLOTS_MAX: Final = 10_000


class BadWish(Exception):
    """It can't be so; the message says why and what can."""


def name_of(text: str, taken: Collection[str]) -> str:
    if not re.fullmatch(NAME, text):
        raise BadWish(f"no host can be named {text!r}: {NAME_REMEDY}")
    if text in taken:
        raise BadWish(f"another host is named {text!r}: give each its own")
    return text


def model_of(text: str, server: Server) -> str:
    """llama.cpp with one model takes any name; so does whoever does not tell what it has."""
    names = [model.name for model in server.models]
    takes_any = server.identity is None or (
        server.identity.product is Product.LLAMA_CPP and server.identity.slots is not None
    )
    if not fits(text):
        raise BadWish("no model has a name like that: write it on one line")
    if not takes_any and not has_name(names, text):
        known = near(text, names) if names else "it has none: load one there first"
        raise BadWish(f"{server.url} has no model {text!r}: {known}")
    return text


def types_of(text: str) -> tuple[str, ...]:
    names = [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        if not re.fullmatch(NAME, name):
            raise BadWish(f"no type can be named {name!r}: {NAME_REMEDY}")
    return tuple(dict.fromkeys(names))


def slots_of(text: str, server: Server) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if not 1 <= number <= _SLOTS_MAX:
        raise BadWish(f"{text!r} is no number of tasks: write a whole number from 1 on")
    said = None if server.identity is None else server.identity.slots
    if said is not None and number > said:
        raise BadWish(
            f"{server.url} runs {said} at once, the rest would queue there without priorities: "
            f"write {said} or less, or start it with more (--parallel) first"
        )
    return number


def key_of(text: str) -> str:
    # It may be the key itself: it is in no message.
    if not secrets.is_reference(text):
        raise BadWish(f"say where the key is, never the key itself: {secrets.FORMS}")
    return text


def read_wishes(given: Mapping[str, Sequence[str]], servers: Sequence[Server]) -> list[Wish]:
    """What flags say of each server: the n-th of each is about the n-th server. Raises BadWish."""
    for flag, values in given.items():
        if len(values) > len(servers):
            raise BadWish(
                f"--{flag} is given {len(values)} times, and {len(servers)} servers answer: "
                "give it once for each, in their order"
            )
    wishes: list[Wish] = []
    for number, server in enumerate(servers):
        said = {flag: values[number] for flag, values in given.items() if number < len(values)}
        taken = {wish.name for wish in wishes if wish.name is not None}
        wishes.append(
            Wish(
                name=name_of(said["name"], taken) if "name" in said else None,
                model=model_of(said["model"], server) if "model" in said else None,
                types=types_of(said["types"]) if "types" in said else None,
                slots=slots_of(said["slots"], server) if "slots" in said else None,
                key=key_of(said["key"]) if "key" in said else None,
            )
        )
    return wishes

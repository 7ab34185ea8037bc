"""Guesses out of names: what a model is good for, what a host may be called. Pure.

A guess is shown with its reason, and a person may say otherwise; nothing else rests on it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

#: Up to so many parameters a model counts as small: quick, and good enough for texts.
SMALL_PARAMETERS: Final = 9e9
#: What a host is called after its model's type, as in `fenrir-chat`.
_ROLES: Final = {
    "code-generation": "code",
    "reasoning": "reasoning",
    "text-processing": "chat",
    "general": "chat",
}
_NAME_MAX: Final = 63

#: Models that answer no prompt: they embed, rank, hear or speak.
_NO_CHAT: Final = re.compile(
    r"embed|rerank|whisper|minilm|(?:^|[^a-z])(?:bge|e5|gte|tts|clip)(?![a-z])"
)
_CODE: Final = re.compile(r"(?<!en)(?<!de)code|devstral")
_REASONING: Final = re.compile(r"reason|think|qwq|magistral|(?:^|[^a-z0-9])r1(?![a-z0-9])")
_SMALL_WORD: Final = re.compile(r"(?:^|[^a-z])(?:mini|small|tiny|nano|lite)(?![a-z])")
_PARAMETERS: Final = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")


def kind_of(model: str) -> str | None:
    """The type of task that a model's name suggests; None: it answers no prompts at all."""
    name = model.lower()
    if _NO_CHAT.search(name):
        return None
    if _CODE.search(name):
        return "code-generation"
    if _REASONING.search(name):
        return "reasoning"
    parameters = parameters_of(name)
    is_small = (
        bool(_SMALL_WORD.search(name)) if parameters is None else (parameters <= SMALL_PARAMETERS)
    )
    return "text-processing" if is_small else "general"


def parameters_of(model: str) -> float | None:
    """How many parameters a model has by its name: 7b, 0.5B, 8x7b, 135M."""
    found = _PARAMETERS.search(model.lower())
    if found is None:
        return None
    experts, number, unit = found.groups()
    return float(number) * int(experts or 1) * (1e9 if unit == "b" else 1e6)


def host_name(url: str, kind: str | None, taken: Collection[str]) -> str:
    """A name for the server at a URL that no other host has: machine and role."""
    address = urlsplit(url).hostname or ""
    if address in ("localhost", "::1") or address.startswith("127."):
        machine = "local"
    elif re.fullmatch(r"[0-9.]+", address):
        machine = address
    else:
        machine = re.sub(r"[^A-Za-z0-9_-]+", "-", address.partition(".")[0] or address)
    machine = machine.strip("-_.") or "host"
    role = f"-{_ROLES[kind]}" if kind in _ROLES else ""
    name = base = f"{machine[: _NAME_MAX - 16]}{role}"
    number = 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return name


def key_variable(name: str) -> str:
    """The environment variable in which a host's key may be: FENRIR_CHAT_KEY."""
    text = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    return f"{'HOST_' if not text or text[0].isdigit() else ''}{text}_KEY"

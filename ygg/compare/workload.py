"""The recorded workload: which task arrives when, as JSON Lines.

One that comes with ygg is used unless another file is named: 60 tasks that fill three hosts of 2,
3 and 2 slots, half of them waiting at the start, the urgent ones among those that come later.
bench/workload.py made it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

import msgspec

from ygg.fleet import BUILT_IN_TYPES
from ygg.tasks import PRIORITIES, Json

_EXAMPLE: Final = (
    '{"at": 0.5, "type": "reasoning", "priority": 2, "title": "Why is the sky blue?", "tokens": 60}'
)


class BadWorkload(Exception):
    """The file can't be read as a workload; the message says where and what to do."""


class Item(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A task of the workload, in one line of the file."""

    #: Seconds after the first one at which it is submitted.
    at: Annotated[float, msgspec.Meta(ge=0, le=86_400)]
    type: str
    priority: Annotated[int, msgspec.Meta(ge=PRIORITIES.start, lt=PRIORITIES.stop)]
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    description: str = ""
    #: Of its answer at most, and of a simulated server's answer exactly.
    tokens: Annotated[int, msgspec.Meta(ge=1, le=100_000)]

    @property
    def submit(self) -> Mapping[str, Json]:
        """The body of its submit: the same for every dispatcher and every server."""
        return {
            "title": self.title,
            "description": self.description,
            "type": self.type,
            "priority": self.priority,
            "options": {"num_predict": self.tokens, "temperature": 0, "seed": 1},
        }


_DECODER: Final = msgspec.json.Decoder(Item)
_FIELDS: Final = tuple(Item.__struct_fields__)


def read_workload(path: Path | None) -> Sequence[Item]:
    """The tasks by their arrival; None: of the workload that comes with ygg. Raises BadWorkload."""
    if path is None:
        file = files("ygg.compare") / "workload.jsonl"
        return parse_workload(file.read_bytes(), "workload.jsonl")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadWorkload(
            f"{path}: can't be read ({error.strerror}): name a file of JSON Lines, "
            "or leave --workload out for the one that comes with ygg"
        ) from error
    return parse_workload(data, str(path))


def parse_workload(data: bytes, name: str) -> Sequence[Item]:
    """The tasks by their arrival; those of one moment as they stand in the file. Raises BadWorkload."""
    items: list[Item] = []
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            item = _DECODER.decode(line)
        except ValueError as error:
            what = f"{name}:{number}: {error}{_hint(str(error))}"
            raise BadWorkload(f"{what}; a line looks like {_EXAMPLE}") from None
        if item.type not in BUILT_IN_TYPES:
            near = difflib.get_close_matches(item.type, BUILT_IN_TYPES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(BUILT_IN_TYPES)}"
            raise BadWorkload(f"{name}:{number}: unknown type {item.type!r}; {hint}")
        items.append(item)
    if not items:
        raise BadWorkload(f"{name}: has no tasks; a line looks like {_EXAMPLE}")
    return sorted(items, key=lambda item: item.at)


def _hint(message: str) -> str:
    """The nearest known name, where a field is unknown."""
    _, found, rest = message.partition("unknown field `")
    near = difflib.get_close_matches(rest.partition("`")[0], _FIELDS, n=1) if found else []
    return f" (did you mean {near[0]!r}?)" if near else ""

"""Pages whose commands are run: their fenced blocks, and what is shown as printed by them.

A ```sh block is a step; the words behind `sh` say how it is run: `exit=1` that it ends so,
`background` that it goes on beside the next ones, `by-hand` that no test can run it. The ```text or
```json block behind it is what it prints. There `...` stands for anything, and ids, times and
other figures that differ from run to run for each other.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Final, TypeAlias

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"

_FENCE: Final = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
#: A text of JSON, which is left alone, or the `...` behind the last shown of an object or array.
_ELLIPSIS: Final = re.compile(r'("(?:[^"\\]|\\.)*")|,?\s*\.\.\.')
#: What differs from run to run, with what stands for it. The order counts.
_FIGURES: Final = (
    (r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", "TIME"),
    (r"\b\d\d:\d\d:\d\d(?:\.\d+)?\b", "CLOCK"),
    (r"\b01[0-9a-z]{16}\b", "ID"),
    (r"\bygg_[0-9A-Za-z_-]{20,}", "TOKEN"),
    (r"(?<=127\.0\.0\.1:)\d+\b", "PORT"),
    (r"(?<=localhost:)\d+\b", "PORT"),
    (r"\b\d+(?:\.\d+)? (?=m?s\b)", "N "),
    (r"(?<=seconds=)\d+(?:\.\d+)?(?:e-\d+)?", "N"),
    (r"\b(pid=|process )\d+", r"\1N"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block; `line` is that of its fence."""

    line: int
    language: str
    words: frozenset[str]
    text: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """A block that is run, and the block that shows what it prints."""

    block: Block
    shown: Block | None

    @property
    def exit_code(self) -> int:
        return next((int(w.removeprefix("exit=")) for w in self.block.words if "=" in w), 0)

    @property
    def in_background(self) -> bool:
        return "background" in self.block.words


@dataclass(frozen=True, kw_only=True)
class Page:
    steps: list[Step] = field(default_factory=list)
    #: Blocks of other languages that nothing printed: files, mostly.
    files: list[Block] = field(default_factory=list)


def read_page(text: str) -> Page:
    """A page's steps in order."""
    page = Page()
    found = list(_FENCE.finditer(text))
    step: Step | None = None
    for match in found:
        language, *words = match[1].split() or [""]
        line = text.count("\n", 0, match.start()) + 1
        block = Block(line=line, language=language, words=frozenset(words), text=match[2])
        if language == "sh":
            assert block.words <= {"by-hand", "background"} | {w for w in words if "exit=" in w}, (
                f"line {line}: unknown words {words}"
            )
            step = None if "by-hand" in words else Step(block=block, shown=None)
            if step is not None:
                page.steps.append(step)
        elif language in ("text", "json") and step is not None and step.shown is None:
            step = page.steps[-1] = Step(block=step.block, shown=block)
        else:
            page.files.append(block)
    return page


def plain(text: str) -> str:
    """A text without what differs from run to run."""
    for pattern, word in _FIGURES:
        text = re.sub(pattern, word, text)
    return text


def difference(shown: Block, printed: str) -> str | None:
    """What is wrong with what is shown; None: it is what was printed."""
    if shown.language == "json":
        return _json_difference(shown.text, printed)
    wanted = _pattern(plain(shown.text))
    if wanted.fullmatch(plain(printed).rstrip() + "\n"):
        return None
    return f"shown:\n{shown.text}\nprinted:\n{printed}"


def _pattern(text: str) -> re.Pattern[str]:
    """Line by line. Blanks count as one: columns are as wide as what stands in them."""
    parts = []
    for line in text.rstrip().splitlines():
        if line.strip() == "...":
            parts.append(r"(?:.*\n)*")
            continue
        pieces = [r"\s*" + r"[ \t]+".join(map(re.escape, p.split())) for p in line.split("...")]
        parts.append(r".*".join(pieces) + r"[ \t]*\n")
    return re.compile("".join(parts))


def _json_difference(shown: str, printed: str) -> str | None:
    whole = _ELLIPSIS.sub(lambda match: match[1] or "", shown)
    is_open = whole != shown
    try:
        wanted, found = json.loads(plain(whole)), json.loads(plain(printed))
    except ValueError as error:
        return f"not JSON ({error}):\n{printed}"
    where = _unlike(wanted, found, is_open=is_open, where="")
    return where and f"{where}\nshown:\n{shown}\nprinted:\n{printed}"


def _unlike(wanted: Json, found: Json, *, is_open: bool, where: str) -> str | None:
    """The first place where they differ. Of an open one only what is shown must be there."""
    if wanted == "...":
        return None
    if isinstance(wanted, dict) and isinstance(found, dict):
        if not is_open and wanted.keys() != found.keys():
            return f"{where}: keys {sorted(found)}"
        missing = [name for name in wanted if name not in found]
        if missing:
            return f"{where}: no {missing}"
        pairs = [(f"{where}/{name}", wanted[name], found[name]) for name in wanted]
    elif isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) > len(found) or (not is_open and len(wanted) < len(found)):
            return f"{where}: {len(found)} items"
        pairs = [(f"{where}/{n}", *both) for n, both in enumerate(zip(wanted, found, strict=False))]
    elif isinstance(wanted, str) and isinstance(found, str):
        return (
            None
            if _pattern(wanted or "''").fullmatch((found or "''") + "\n")
            else f"{where}: {found!r}"
        )
    else:
        return None if wanted == found and type(wanted) is type(found) else f"{where}: {found!r}"
    return next(
        (bad for p, w, f in pairs if (bad := _unlike(w, f, is_open=is_open, where=p))), None
    )

"""Markdown, as far as generated pages need it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def cell(text: str) -> str:
    """A text as it may stand in a table: one line, no bar that would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(cell(text) for text in line)} |\n" for line in lines)


def fence(text: str, language: str = "") -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"


def with_part(page: str, name: str, text: str) -> str:
    """A page written by hand, with its generated part of that name made anew.

    Raises ValueError if the page has no such part.
    """
    part = re.compile(rf"(<!-- {name}: [^\n]* -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    if part.search(page) is None:
        raise ValueError(f"no `<!-- {name}: ... -->` and `<!-- end of {name} -->` in the page")
    return part.sub(lambda match: f"{match[1]}\n{text}\n{match[2]}", page)

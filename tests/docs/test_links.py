"""No page leads nowhere: links within the repository, and their headings, are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parents[2]
#: Folders that are not the repository's.
_OTHERS = {".cache", ".git", ".venv", ".ygg", "build", "node_modules"}


def pages() -> list[Path]:
    return sorted(
        path
        for path in ROOT.rglob("*.md")
        if not any(part in _OTHERS for part in path.relative_to(ROOT).parts)
    )


def prose(text: str) -> str:
    """A page without its code: what stands there is no link."""
    return re.sub(
        r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    )


def links(text: str) -> Iterator[str]:
    for target in re.findall(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^()\s]+)(?: \"[^\"]*\")?\)", text):
        if not re.match(r"[a-z][a-z+.-]*:", target):
            yield target
    yield from re.findall(r"<(?:img|a)[^>]* (?:src|href)=\"(?![a-z]+:)([^\"]+)\"", text)


def anchors(text: str) -> set[str]:
    """The headings' anchors, as the web pages of repositories make them."""
    found: set[str] = set()
    headings = re.findall(
        r"^#{1,6} (.+)$",
        re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE),
        re.MULTILINE,
    )
    for heading in headings:
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        repeated = sum(1 for other in found if re.fullmatch(rf"{re.escape(name)}(-\d+)?", other))
        found.add(f"{name}-{repeated}" if repeated else name)
    return found


def test_a_page_is_found_and_its_links_are_seen() -> None:
    assert ROOT / "README.md" in pages()
    text = "[a](b.md) [`c`](d.md#e) ![p](p.svg) [web](https://x.org) `[no](no.md)`\n```\n[no](no)\n```\n"
    assert list(links(prose(text))) == ["b.md", "d.md#e", "p.svg"]
    assert anchors("# The left margin\n## `a:` of *b*, or c\n") == {
        "the-left-margin",
        "a-of-b-or-c",
    }


@pytest.mark.parametrize("page", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in links(prose(text)):
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        assert place.exists(), f"{page.name} links to {target}, which is not there"
        assert place.is_relative_to(ROOT), f"{page.name} links out of the repository: {target}"
        if anchor:
            assert anchor in anchors(place.read_text("utf-8")), f"{page.name}: no heading {target}"

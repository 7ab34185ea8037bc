"""docs/security.md: its settings are good, and what it says of tokens is what the code reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ygg.hostsfile import parse_fleet
from ygg.web.auth import parse_tokens
from ygg.web.guard import make_access

pytestmark = pytest.mark.pure

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text("utf-8")
HOST = "hosts: {a: {url: 'http://a:1'}}\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_its_settings_are_good() -> None:
    found = [parse_fleet(HOST + text, "hosts.yaml").dispatcher for text in blocks("yaml")]
    assert [settings.token_from for settings in found] == ["file:/etc/ygg/tokens"] * 2
    assert [make_access(settings, ()).always for settings in found] == [False, True]


def test_every_address_of_the_table_is_one() -> None:
    addresses = re.findall(r"^\| (?:any other, as )?`([^`]+:[^`]+)` \|", PAGE, re.MULTILINE)
    assert len(addresses) == 3
    several = re.search(r"It may be a list: `(\[.*?\])`", PAGE)
    assert several is not None
    for listen in (*addresses, several[1]):
        text = f"{HOST}dispatcher: {{listen: {listen}, token_from: env:A}}"
        assert parse_fleet(text, "hosts.yaml").dispatcher.listen


def test_its_tokens_are_tokens() -> None:
    text = next(block for block in blocks("text") if "sha256:HEX" in block)
    assert [token.name for token in parse_tokens(text, "tokens")] == ["laptop", "ci"]

"""What a dispatcher complains of goes by the name of what was typed."""

from __future__ import annotations

import argparse

import pytest

from ygg.cli import make_parser
from ygg.cli.parsing import flag_of, near, with_flags

pytestmark = pytest.mark.pure


def parser_of(command: str) -> argparse.ArgumentParser:
    """Found by its words, as a person's command line finds it."""
    words = {"limit": ["h", "1"], "list": [], "submit": [], "priority": ["1", "x"]}
    found = make_parser().parse_args([command, *words[command]]).parser
    assert isinstance(found, argparse.ArgumentParser)
    return found


@pytest.mark.parametrize(
    ("command", "pointer", "flag"),
    [
        ("submit", "/priority", "--priority"),
        ("submit", "/labels/0", "--label"),
        ("submit", "/not_before", "--not-before"),
        ("submit", "/options/num_ctx", "--option num_ctx"),
        ("submit", "/metadata/a/b", "--metadata a/b"),
        ("submit", "/title", "title"),
        ("limit", "/limit", "N|auto"),
        ("limit", "/until", "--for"),
        ("priority", "/priority", "N"),
        ("list", "status", "--status"),
        ("list", "/held", None),
    ],
)
def test_a_field_has_the_name_of_its_flag(command: str, pointer: str, flag: str | None) -> None:
    assert flag_of(pointer, parser_of(command)) == flag


def test_only_the_names_of_fields_are_put_in_other_words() -> None:
    errors = [("/priority", "is 9"), ("/options/a\\b", "is /priority: no"), ("", "odd")]
    text = "/priority: is 9 (and 2 more); /options/a\\b: is /priority: no; odd"
    assert with_flags(text, errors, parser_of("submit")) == (
        "--priority: is 9 (and 2 more); --option a\\b: is /priority: no; odd"
    )


def test_what_is_near_nothing_gets_no_suggestion() -> None:
    assert near("opne", ["open", "closed"]) == ": did you mean 'open'?"
    assert near("xyz", ["open", "closed"]) == ""

"""From labels and title to a type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.fleet import BUILT_IN_TYPES, TypeSettings
from ygg.routing import detect_type

pytestmark = pytest.mark.pure

TYPES = {
    name: TypeSettings(name=name, words=words, labels=labels)
    for (name, words), labels in zip(
        BUILT_IN_TYPES.items(), (("dev", "both"), ("prose", "both"), (), ()), strict=True
    )
}


@pytest.mark.parametrize(
    ("labels", "title", "type_"),
    [
        (["reasoning"], "Implement a parser", "reasoning"),  # a type's own name is a label
        (["urgent", "prose"], "Implement a parser", "text-processing"),
        (["prose", "dev"], "", "text-processing"),  # the task's first label that means a type
        (["both"], "", "code-generation"),  # the first type with that label
        (["Dev"], "Translate this", "text-processing"),  # labels are taken as they are
        ([], "Implement a parser", "code-generation"),
        ([], "TRANSLATE this letter", "text-processing"),
        ([], "Why is the sky blue?", "reasoning"),
        ([], "Summarize the code", "code-generation"),  # the first type in order, not in the title
        ([], "Re-write: extract-then-load", "text-processing"),  # parts of a word count
        ([], "Decode the codes", "general"),  # parts without a hyphen don't
        ([], "snake_case_function", "code-generation"),
        ([], "Hello there", "general"),
        ([], "", "general"),
        ([], "¿Qué? 你好 🙂", "general"),
    ],
)
def test_the_type_of_a_task(labels: list[str], title: str, type_: str) -> None:
    assert detect_type(labels, title, TYPES) == type_


def test_words_with_a_hyphen_can_mean_a_type() -> None:
    types = {"review": TypeSettings(name="review", words=("code-review",)), **TYPES}
    assert detect_type([], "A code-review, please", types) == "review"
    assert detect_type([], "Review the code", types) == "code-generation"


def test_where_nothing_else_claims_it_a_task_is_general_whatever_the_fleet_has() -> None:
    assert detect_type([], "Hello", {}) == "general"


@given(labels=st.lists(st.text(max_size=12)), title=st.text(max_size=60))
def test_every_task_has_a_type(labels: list[str], title: str) -> None:
    assert detect_type(labels, title, TYPES) in TYPES


@given(title=st.text(max_size=60))
def test_a_label_is_stronger_than_any_title(title: str) -> None:
    for name in TYPES:
        assert detect_type(["unknown", name], title, TYPES) == name


@given(title=st.text(alphabet=st.characters(codec="ascii"), max_size=60))
def test_the_case_of_a_title_does_not_matter(title: str) -> None:
    assert detect_type([], title.upper(), TYPES) == detect_type([], title.lower(), TYPES)

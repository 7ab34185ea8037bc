"""Which issues are taken, what task each is, and in which order."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sources import drawn
from tests.sources.drawn import ACTOR, an_issue, issues, taking
from tests.sources.recorded import recorded
from ygg.fleet import ANSWERED
from ygg.lifecycle import accepted
from ygg.sources import answers
from ygg.sources.base import End, Issue
from ygg.sources.issues import (
    LABEL_MAX,
    LABELS_MAX,
    PROMPT_MAX,
    TITLE_MAX,
    left_alone,
    not_free,
    offer,
    offers,
    takes,
)
from ygg.sources.marks import Mark
from ygg.tasks import Held

pytestmark = pytest.mark.pure


def recorded_ready() -> tuple[Issue, ...]:
    call = next(c for c in recorded() if c.words == "ready --json -n 0" and len(c.stdout) > 10)
    return answers.issues(call.stdout.encode(), call="bd ready")


# -- what is taken -----------------------------------------------------------------------------


def test_of_the_recorded_project_what_has_a_types_label_is_taken() -> None:
    found = {issue.id: left_alone(issue, taking()) for issue in recorded_ready()}
    assert [one for one, why in found.items() if why is None] == [
        "ygg-ct6", "ygg-3gt", "ygg-w1t", "ygg-6up",
    ]  # fmt: skip
    assert "epic" in str(found["ygg-hdd"])
    assert "no label that means a type" in str(found["ygg-9oc"])


def test_everything_but_epics_is_taken_where_it_is_said_in_writing() -> None:
    left = [one.id for one in recorded_ready() if not takes(one, taking(take="all"))]
    assert left == ["ygg-hdd"]


@given(issues(), st.sampled_from(["labelled", "all"]), st.sampled_from([(), ("for-ygg",)]))
def test_an_issue_is_taken_by_its_labels_only(
    issue: Issue, take: str, labels: tuple[str, ...]
) -> None:
    means_a_type = {"code-generation", "code", "text-processing", "reasoning", "general"}
    expected = (
        issue.issue_type != "epic"
        and ANSWERED not in issue.labels
        and (take == "all" or bool({*issue.labels} & {*means_a_type, *labels}))
        and issue.status == "open"
        and issue.assignee in ("", ACTOR)
    )
    says_something = bool(issue.title.strip() or issue.description.strip())
    if says_something:
        assert takes(issue, taking(take=take, labels=labels)) == expected


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"id": "--help"}, "no command line"),
        ({"id": "a b"}, "no command line"),
        ({"id": "x" * 129}, "no command line"),
        ({"issue_type": "epic"}, "epic"),
        ({"labels": ("code-generation", ANSWERED)}, "remove the label ygg-answered"),
        ({"labels": ("urgent",)}, "no label"),
        ({"title": " \n", "description": "\t"}, "says nothing"),
        ({"description": "x" * (PROMPT_MAX + 1)}, f"has {PROMPT_MAX + 1} characters"),
    ],
)
def test_what_is_left_alone_has_a_reason(changed: dict[str, str], why: str) -> None:
    assert why in str(left_alone(an_issue(**changed), taking()))
    assert left_alone(an_issue(), taking()) is None


def test_what_somebody_has_or_is_not_open_is_not_free() -> None:
    assert not_free(an_issue(assignee="alice"), ACTOR) == "is alice's"
    assert not_free(an_issue(assignee="ali\x1bce"), ACTOR) == "is ali\ufffdce's"
    assert not_free(an_issue(status="deferred"), ACTOR) == "is deferred"
    assert not_free(an_issue(assignee=ACTOR), ACTOR) is None


# -- what task it is ---------------------------------------------------------------------------


def test_the_seeds_of_the_recording_become_their_tasks() -> None:
    found = offers(recorded_ready(), taking())
    assert [(one.issue_id, one.type, one.priority) for one in found] == [
        ("ygg-6up", "code-generation", 3),
        ("ygg-ct6", "code-generation", 0),
        ("ygg-w1t", "text-processing", 2),
        ("ygg-3gt", "code-generation", 1),
        ("ygg-9oc", "reasoning", 4),  # by the "why" of its title
        ("ygg-hdd", "general", 1),
    ]
    assert found[3].description == 'Ünïcode ✓ and "quotes"\nand a second line'
    assert found[3].labels == ("code-generation", "urgent")


def test_the_first_label_that_means_a_type_decides() -> None:
    assert offer(an_issue(labels=("urgent", "reasoning", "code")), taking()).type == "reasoning"


def test_the_prompt_is_description_acceptance_criteria_and_notes() -> None:
    issue = an_issue(description="Do it.", acceptance_criteria="It works.", notes="Mind the gap.")
    assert offer(issue, taking()).description == (
        "Do it.\n\n## Acceptance criteria\n\nIt works.\n\n## Notes\n\nMind the gap."
    )


def test_a_title_that_is_too_long_is_cut_and_stands_in_full_in_the_prompt() -> None:
    title = "word " * 200 + "end"
    found = offer(an_issue(title=title, description="More."), taking())
    assert len(found.title) == TITLE_MAX
    assert found.title.endswith("...")
    assert found.description == f"{title}\n\nMore."


def test_an_issue_without_a_title_is_named_by_its_first_line() -> None:
    assert offer(an_issue(title=" ", description="\nA\nB"), taking()).title == "A"


def test_a_task_of_an_issue_waits_for_its_source() -> None:
    draft = offer(an_issue(priority=0), taking()).draft(drawn.TASK, "beads")
    assert (draft.source, draft.source_id, draft.held) == ("beads", "bd-1", Held.FOR_SOURCE)
    assert (draft.priority, draft.created_at) == (0, 1e9)


@given(issues())
def test_what_a_task_says_is_text_within_bounds(issue: Issue) -> None:
    found = offer(issue, taking())
    for text in (found.title, found.description, *found.labels):
        text.encode()
        assert not any(c < " " and c not in "\n\t" for c in text)
    assert len(found.title) <= TITLE_MAX
    assert "\n" not in found.title
    assert len(found.labels) <= LABELS_MAX
    assert all(0 < len(label) <= LABEL_MAX for label in found.labels)
    assert found.is_as(accepted(found.draft(drawn.TASK, "beads"), 1))


@given(issues())
def test_nothing_that_a_person_wrote_is_lost(issue: Issue) -> None:
    found = offer(issue, taking())
    told = found.title + " " + found.description
    for text in (issue.title, issue.description, issue.acceptance_criteria):
        for word in text.split():
            if word.isprintable():
                assert word in told


MARKS = st.builds(
    Mark,
    st.sampled_from(End),
    st.text("0123456789abcdef", min_size=18, max_size=18),
    st.integers(0, 99),
)


@given(issues(), st.lists(st.tuples(MARKS, drawn.TEXTS), max_size=3))
def test_what_ygg_said_itself_is_in_no_prompt(issue: Issue, told: list[tuple[Mark, str]]) -> None:
    notes = issue.notes
    for mark, text in told:
        notes = "\n".join(filter(None, (notes, mark.line(text))))
    assert offer(replace(issue, notes=notes), taking()) == offer(issue, taking())


def test_what_people_wrote_around_it_is() -> None:
    mark = Mark(End.FAILED, drawn.TASK, 2)
    notes = f"before\n{mark.line('HTTP 500')}\nafter"
    assert offer(an_issue(notes=notes), taking()).description == "## Notes\n\nbefore\nafter"


# -- the order ---------------------------------------------------------------------------------


@given(st.lists(issues(), unique_by=lambda issue: issue.id, max_size=8), st.randoms())
def test_the_order_is_by_created_at_whatever_the_list_has(
    found: list[Issue], random: Random
) -> None:
    expected = offers(found, taking())
    shuffled = list(found)
    random.shuffle(shuffled)
    assert offers(shuffled, taking()) == expected
    times = [one.created_at for one in expected]
    assert times == sorted(times)


def test_parts_of_one_second_stay_in_the_order_of_their_numbers() -> None:
    ids = ["bd-7.10", "bd-7.9", "bd-10", "bd-9", "bd-7"]
    found = offers([an_issue(id=one) for one in ids], taking())
    assert [one.issue_id for one in found] == ["bd-7", "bd-7.9", "bd-7.10", "bd-9", "bd-10"]

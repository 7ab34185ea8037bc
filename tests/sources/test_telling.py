"""What an issue is told of a task's end: once, whole or marked as cut, and no person is fought."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.sources.drawn import (
    ACTOR,
    PEOPLE,
    STATUSES,
    TASK,
    TEXTS,
    after,
    an_issue,
    issues,
    taking,
)
from ygg.fleet import ANSWERED
from ygg.lifecycle import accepted
from ygg.sources.base import Change, Close, Comment, End, Issue, Report, Say
from ygg.sources.issues import offer, takes
from ygg.sources.marks import Mark, in_metadata, mark_of, settled, shows
from ygg.sources.telling import COMMENT_BYTES_MAX, VALUE_MAX, calls, comment, cut_from, report_of
from ygg.tasks import Draft, Outcome, Status, Task

pytestmark = pytest.mark.pure

OURS = an_issue(status="in_progress", assignee=ACTOR)
DONE = Report(
    issue_id="bd-1", task_id=TASK, attempt=2, end=End.DONE, answer="42", artifact="2026-11-24/x.md",
    host="skadi-code", model="qwen2.5-coder:3b", tokens=512, seconds=3.24,
)  # fmt: skip
FAILED = replace(DONE, end=End.FAILED, answer="", artifact=None, error="HTTP 500 model crashed")
CANCELLED = replace(FAILED, end=End.CANCELLED, error="")
RETRIED = replace(FAILED, end=End.RETRIED, error="")
MARK = f"[done, task {TASK}, attempt 2]"


def told(report: Report, issue: Issue) -> Issue:
    return after(issue, calls(report, issue, actor=ACTOR))


# -- stories -----------------------------------------------------------------------------------


def test_an_answer_is_a_comment_then_the_issue_is_closed_and_the_metadata_come_last() -> None:
    assert calls(DONE, OURS, actor=ACTOR) == (
        Say(text=f"ygg {MARK}: skadi-code, qwen2.5-coder:3b, 3.2 s, 512 tokens\n\n42"),
        Close(reason="Done on skadi-code in 3.2 s"),
        Change(
            metadata={
                "ygg.host": "skadi-code", "ygg.model": "qwen2.5-coder:3b", "ygg.tokens": "512",
                "ygg.seconds": "3.2", "ygg.artifact": "2026-11-24/x.md", "ygg.end": "done",
                "ygg.task": TASK, "ygg.attempt": "2",
            }
        ),
    )  # fmt: skip


def test_an_answer_that_a_person_is_to_look_at_is_labelled_before_it_is_let_go() -> None:
    say, label, let_go = calls(replace(DONE, review=True), OURS, actor=ACTOR)
    assert isinstance(say, Say)
    assert isinstance(label, Change)
    assert (label.add_labels, label.status) == ((ANSWERED,), None)
    assert isinstance(let_go, Change)
    assert (let_go.status, let_go.assignee, let_go.metadata["ygg.end"]) == ("open", "", "done")
    issue = told(replace(DONE, review=True), OURS)
    assert not takes(issue, taking())
    assert takes(after(issue, [Change(remove_labels=(ANSWERED,))]), taking())


def test_a_failure_blocks_with_the_error_in_the_notes_in_one_call() -> None:
    (change,) = calls(FAILED, OURS, actor=ACTOR)
    assert isinstance(change, Change)
    assert change.status == "blocked"
    assert change.append_notes == (
        f"ygg [failed, task {TASK}, attempt 2]: skadi-code: HTTP 500 model crashed"
    )
    assert change.metadata["ygg.end"] == "failed"


@pytest.mark.parametrize("issue", [OURS, an_issue(), an_issue(status="blocked")])
def test_a_cancel_is_told_as_blocked_never_as_closed(issue: Issue) -> None:
    (change,) = calls(CANCELLED, issue, actor=ACTOR)
    assert isinstance(change, Change)
    assert change.status == "blocked"
    assert str(change.append_notes).endswith("cancelled")


def test_a_retry_by_hand_lets_go_of_what_ygg_blocked_and_of_nothing_else() -> None:
    blocked = told(FAILED, OURS)
    assert told(RETRIED, blocked).status == "open"
    assert calls(RETRIED, OURS, actor=ACTOR) == ()
    assert calls(RETRIED, an_issue(status="blocked"), actor=ACTOR) == ()
    assert calls(RETRIED, replace(blocked, assignee="alice"), actor=ACTOR) == ()
    other = replace(blocked, metadata={"ygg.task": "another", "ygg.attempt": 9})
    assert calls(RETRIED, other, actor=ACTOR) == ()


def test_an_issue_that_is_gone_is_told_nothing() -> None:
    assert all(calls(one, None, actor=ACTOR) == () for one in (DONE, FAILED, CANCELLED, RETRIED))


@pytest.mark.parametrize(
    "issue",
    [
        an_issue(status="closed", assignee=ACTOR),
        an_issue(status="in_progress", assignee="alice"),
        an_issue(status="open", assignee="alice"),
        an_issue(status="deferred", assignee=ACTOR),
    ],
)
@pytest.mark.parametrize("report", [DONE, replace(DONE, review=True), FAILED, CANCELLED])
def test_what_a_person_did_meanwhile_stays_and_the_end_is_a_comment(
    issue: Issue, report: Report
) -> None:
    found = told(report, issue)
    assert len(found.comments) == 1
    kept = replace(found, comments=(), metadata={})
    assert kept == replace(issue, comments=(), metadata={})
    assert shows(found, Mark(report.end, TASK, 2)), "lists show that it was told"


def test_an_issue_that_is_just_open_again_is_closed_or_it_would_run_again_and_again() -> None:
    assert told(DONE, an_issue()).status == "closed"
    assert told(FAILED, an_issue()).status == "blocked"


def test_what_a_person_reopened_after_it_was_told_is_not_told_again() -> None:
    for report in (DONE, FAILED, CANCELLED):
        reopened = replace(told(report, OURS), status="open")
        assert calls(report, reopened, actor=ACTOR) == ()
    unlabelled = replace(told(replace(DONE, review=True), OURS), labels=OURS.labels)
    assert calls(replace(DONE, review=True), unlabelled, actor=ACTOR) == ()


def test_what_a_person_blocked_while_it_ran_gets_its_answer_and_stays_blocked() -> None:
    found = told(DONE, an_issue(status="blocked", assignee=ACTOR))
    assert (found.status, len(found.comments)) == ("blocked", 1)


def test_an_error_that_a_comment_tells_already_is_in_no_note() -> None:
    say, _ = calls(FAILED, an_issue(status="in_progress", assignee="alice"), actor=ACTOR)
    (change,) = calls(FAILED, after(an_issue(), [say]), actor=ACTOR)
    assert isinstance(change, Change)
    assert (change.status, change.append_notes) == ("blocked", None)


def test_an_own_block_of_an_earlier_attempt_does_not_keep_an_answer_open() -> None:
    late = told(replace(FAILED, attempt=1), OURS)
    assert late.status == "blocked"
    assert told(DONE, late).status == "closed"


def test_the_next_attempt_is_told_beside_the_first() -> None:
    first = told(replace(FAILED, attempt=1), OURS)
    again = told(FAILED, replace(first, status="in_progress"))
    assert again.status == "blocked"
    assert again.notes.count("ygg [failed") == 2


def test_a_person_who_tidied_up_the_notes_does_not_get_them_back() -> None:
    tidy = replace(told(FAILED, OURS), notes="")
    assert calls(FAILED, tidy, actor=ACTOR) == ()


def test_what_quotes_an_answer_is_no_answer() -> None:
    quoted = Comment(author="alice", text=f"> ygg {MARK}: so it said")
    assert isinstance(calls(DONE, replace(OURS, comments=(quoted,)), actor=ACTOR)[0], Say)


# -- for all -----------------------------------------------------------------------------------

REPORTS = st.builds(
    Report, issue_id=st.just("bd-1"), task_id=st.just(TASK), attempt=st.integers(0, 12),
    end=st.sampled_from(End), answer=TEXTS, artifact=st.none() | TEXTS, error=TEXTS,
    host=st.just("skadi") | TEXTS, model=TEXTS, tokens=st.none() | st.integers(0),
    seconds=st.none() | st.floats(0, 1e6), review=st.booleans(),
)  # fmt: skip


@given(REPORTS, issues())
def test_nothing_is_told_twice(report: Report, issue: Issue) -> None:
    assert calls(report, told(report, issue), actor=ACTOR) == ()


@given(REPORTS, issues(), st.lists(st.integers(0, 3), max_size=4))
@example(DONE, an_issue(), [2])
@example(replace(DONE, review=True), an_issue(assignee=ACTOR), [2])
def test_wherever_it_broke_off_and_however_often_it_ends_as_if_it_had_not(
    report: Report, issue: Issue, done: list[int]
) -> None:
    broken_off = issue
    for count in done:
        broken_off = after(broken_off, calls(report, broken_off, actor=ACTOR)[:count])
    found = told(report, broken_off)
    assert found == told(report, issue)
    assert len(found.comments) <= 1
    assert found.notes.count(f"task {TASK}, attempt {report.attempt}]") <= 1
    assert calls(report, found, actor=ACTOR) == ()


@given(REPORTS, issues(), st.integers(0, 3))
def test_the_metadata_tell_that_all_was_told(report: Report, issue: Issue, done: int) -> None:
    """So what is open in spite of them was opened by a person since."""
    planned = calls(report, issue, actor=ACTOR)
    broken_off = after(issue, planned[:done])
    if report.end is not End.RETRIED and in_metadata(broken_off, mark_of(report)):
        assert done >= len(planned)


@given(REPORTS, issues(), st.integers(0, 3))
def test_half_told_or_whole_it_is_not_taken_by_mistake(
    report: Report, issue: Issue, done: int
) -> None:
    """What is seen to have been told is either not free, or was free for a person before."""
    if report.end is End.RETRIED:
        return
    now = after(issue, calls(report, issue, actor=ACTOR)[:done])
    mark = Mark(report.end, TASK, report.attempt)
    if takes(now, taking()) and settled(now, mark, ACTOR):
        assert issue.status == "open", "nobody but a person opened it"


@given(REPORTS, STATUSES, PEOPLE)
def test_a_status_changes_only_where_the_issue_is_ours(
    report: Report, status: str, assignee: str
) -> None:
    issue = an_issue(status=status, assignee=assignee)
    found = told(report, issue)
    if assignee == "alice" or status not in ("open", "in_progress", "blocked"):
        assert (found.status, found.assignee) == (status, assignee)
    if report.end is not End.DONE:
        assert found.status != "closed" or status == "closed"


@given(REPORTS, issues())
def test_what_is_told_changes_no_task_of_the_issue(report: Report, issue: Issue) -> None:
    before, now = offer(issue, taking()), offer(told(report, issue), taking())
    assert (now.title, now.description, now.type) == (before.title, before.description, before.type)


@given(REPORTS, issues())
def test_what_is_told_fits_a_command_line(report: Report, issue: Issue) -> None:
    for call in calls(report, issue, actor=ACTOR):
        match call:
            case Say(text=text):
                assert len(text.encode()) <= COMMENT_BYTES_MAX
            case Close(reason=reason):
                assert reason == " ".join(reason.split())
            case Change():
                assert call != Change()
                for name, value in call.metadata.items():
                    assert value
                    assert name.startswith("ygg.")
                    assert len(value) <= VALUE_MAX
                    assert value == " ".join(value.encode().decode().split())
                assert "\n" not in (call.append_notes or "")
                assert "\0" not in (call.append_notes or "")


@given(st.text(min_size=1, max_size=40), st.integers(1, 3000), st.none() | st.just("d/x.md"))
@example("é", 8200, "d/x.md")
@example("𝄞", 4097, None)
@example("a", COMMENT_BYTES_MAX, "d/x.md")
def test_a_comment_is_whole_or_marked_and_cut_between_two_characters(
    piece: str, times: int, artifact: str | None
) -> None:
    answer = piece * times
    text = comment(replace(DONE, answer=answer, artifact=artifact))
    assert len(text.encode()) <= COMMENT_BYTES_MAX
    head, _, body = text.partition("\n\n")
    assert MARK in head
    assert "\n" not in head
    plain = answer.replace("\r\n", "\n").replace("\r", "\n")
    if "\n\n[cut: " not in body:
        assert body.split() == [w for w in _readable(plain).split() if w]
    else:
        kept, _, tail = body.rpartition("\n\n[cut: ")
        assert _readable(plain).lstrip("\n").startswith(kept)
        assert f"`ygg answer {TASK}`" in tail
        assert artifact is None or artifact in tail
        # Not less than there is room for: a character has at most four bytes.
        assert len(text.encode()) > COMMENT_BYTES_MAX - 8 - len(kept) + len(kept.rstrip()) - 40


def _readable(text: str) -> str:
    return "".join(
        c if c in "\n\t" or not (c < " " or "\x7f" <= c <= "\x9f") else "\ufffd" for c in text
    )


def test_what_just_fits_is_not_cut() -> None:
    room = COMMENT_BYTES_MAX - len(comment(replace(DONE, answer="")).encode()) - 2
    assert "[cut" not in comment(replace(DONE, answer="x" * room))
    assert "[cut" in comment(replace(DONE, answer="x" * (room + 1)))
    assert cut_from(replace(DONE, answer="x" * room)) is None
    assert cut_from(replace(DONE, answer="x" * (room + 1))) == room + 1
    assert cut_from(replace(DONE, end=End.FAILED, answer="x" * (room + 1))) is None


# -- of a task ---------------------------------------------------------------------------------


def a_task(**fields: object) -> Task:
    draft = Draft(
        id=TASK, title="t", type="general", created_at=1.0, source="beads", source_id="bd-1"
    )
    return replace(accepted(draft, 1), **fields)  # type: ignore[arg-type]  # fields of a Task


def test_a_report_is_made_of_the_task() -> None:
    done = a_task(
        status=Status.CLOSED, outcome=Outcome.DONE, host="skadi", attempt=2, artifact="d/x.md",
        answer={"prompt_tokens": 12, "completion_tokens": 30, "seconds": 3.2},
    )  # fmt: skip
    assert report_of(done, "42", model="m", review=True) == Report(
        issue_id="bd-1", task_id=TASK, attempt=2, end=End.DONE, answer="42", artifact="d/x.md",
        host="skadi", model="m", tokens=42, seconds=3.2, review=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "outcome", "end"),
    [
        (Status.OPEN, None, End.RETRIED),
        (Status.BLOCKED, None, End.FAILED),
        (Status.CLOSED, Outcome.DONE, End.DONE),
        (Status.CLOSED, Outcome.CANCELLED, End.CANCELLED),
        (Status.IN_PROGRESS, None, None),
    ],
)
def test_each_status_of_a_task_has_its_end(
    status: Status, outcome: Outcome | None, end: End | None
) -> None:
    report = report_of(a_task(status=status, outcome=outcome), "x", model="", review=True)
    assert (report and report.end) == end
    assert report is None or (report.answer, report.review) == (
        ("x", True) if end is End.DONE else ("", False)
    )
    assert report is None or (report.tokens, report.seconds) == (None, None)

"""What bd printed becomes a value, or an error that says where it stopped making sense."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sources.recorded import recorded
from ygg.sources import answers
from ygg.sources.base import (
    Comment,
    Garbage,
    Issue,
    Locked,
    NoProject,
    Refused,
    SourceError,
    WrongVersion,
)
from ygg.wire import parse_rfc3339

pytestmark = pytest.mark.pure

CALLS = recorded()
CALL = "bd show x --json"


def printed(*found: Mapping[str, Any]) -> bytes:
    return json.dumps(found).encode()


def as_bd_has_it(**fields: Any) -> dict[str, Any]:
    return {
        "id": "ygg-1",
        "title": "t",
        "status": "open",
        "priority": 2,
        "issue_type": "task",
        "created_at": "2026-11-23T20:51:40Z",
        "updated_at": "2026-11-23T20:51:41Z",
    } | fields


def of(printed: bytes) -> tuple[Issue, ...]:
    return answers.issues(printed, call=CALL)


def last(words: str) -> tuple[Issue, ...]:
    (*_, call) = (c for c in CALLS if c.words == words and c.rc == 0)
    return of(call.stdout.encode())


def test_every_recorded_list_is_read() -> None:
    lists = [c for c in CALLS if c.stdout.startswith("[")]
    assert len(lists) == 24
    for call in lists:
        ids = [one["id"] for one in json.loads(call.stdout)]
        assert [issue.id for issue in of(call.stdout.encode())] == ids


def test_an_issue_is_read_whole() -> None:
    assert last("show ygg-9oc --json") == (
        Issue(
            id="ygg-9oc",
            title="Why is the sky blue?",
            status="in_progress",
            priority=4,
            issue_type="task",
            assignee="ygg@testhost",
            created_at=parse_rfc3339("2026-11-23T20:51:42Z"),
            updated_at=parse_rfc3339("2026-11-23T20:51:54Z"),
            metadata={"ygg.host": "surtr-reasoning", "ygg.artifact": "artifacts/x.md"},
            comments=(Comment(author="ygg@testhost", text="a comment"),),
        ),
    )


def test_texts_and_labels_come_as_they_are() -> None:
    (issue,) = last("close ygg-3gt --reason ok --json")
    assert issue.description == 'Ünïcode ✓ and "quotes"\nand a second line'
    assert issue.labels == ("code-generation", "urgent")


def test_a_time_before_which_nobody_is_to_begin_is_read() -> None:
    (issue,) = of(printed(as_bd_has_it(defer_until="2026-11-24T20:51:45Z")))
    assert issue.deferred_until == parse_rfc3339("2026-11-24T20:51:45Z")
    (bad,) = of(printed(as_bd_has_it(defer_until="soon")))
    assert "defer_until" in bad.fault


def test_no_issue_is_an_empty_list() -> None:
    assert of(b"[]\n") == ()


def test_fields_that_nobody_told_us_of_are_ignored() -> None:
    (issue,) = of(printed(as_bd_has_it(wisp=True, dependencies=[{"metadata": "{}"}])))
    assert issue.id == "ygg-1"


def test_null_is_as_good_as_nothing_where_a_list_or_an_object_may_be_left_out() -> None:
    (issue,) = of(printed(as_bd_has_it(labels=None, metadata=None, comments=None)))
    assert (issue.labels, issue.metadata, issue.comments) == ((), {}, ())


def test_metadata_of_others_may_be_any_json() -> None:
    theirs = {"a": [1, {"b": None}], "c": 1.5}
    (issue,) = of(printed(as_bd_has_it(metadata=theirs)))
    assert issue.metadata == theirs


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"title": None}, "title: Expected `str`, got `null` in null"),
        ({"priority": "1"}, 'priority: Expected `int`, got `str` in "1"'),
        ({"priority": 9}, "priority: Expected `int` <= 4 in 9"),
        ({"priority": -1}, "priority: Expected `int` >= 0 in -1"),
        ({"labels": "urgent"}, 'labels: Expected `array | null`, got `str` in "urgent"'),
        ({"labels": [None]}, "labels[0]: Expected `str`, got `null` in [null]"),
        ({"comments": [{"text": 1}]}, "comments[0].text: Expected `str`, got `int` in"),
        ({"metadata": "{}"}, "metadata: Expected `object | null`, got `str`"),
        ({"created_at": "yesterday"}, "created_at: "),
        ({"created_at": "0001-01-01T00:00:00Z"}, "created_at: "),
        ({"updated_at": "2026-11-23T20:51:40"}, "updated_at: "),
    ],
)
def test_an_issue_with_a_bad_value_says_which_and_hides_no_other(
    wrong: Mapping[str, Any], fault: str
) -> None:
    good, bad, other = of(
        printed(as_bd_has_it(), as_bd_has_it(id="ygg-2", **wrong), as_bd_has_it(id="ygg-3"))
    )
    assert (good.id, good.fault, other.id, other.fault) == ("ygg-1", "", "ygg-3", "")
    assert bad.id == "ygg-2"
    assert bad.fault.startswith(fault)
    assert bad.status == "", "no more of it counts"


@pytest.mark.parametrize("one", ["", 7, None, ["ygg-1"]])
def test_an_issue_whose_id_is_none_has_none(one: object) -> None:
    bad, good = of(printed(as_bd_has_it(id=one), as_bd_has_it()))
    assert (bad.id, good.id) == ("", "ygg-1")
    assert bad.fault.startswith("id: ")


@pytest.mark.parametrize("name", ["id", "title", "status", "priority", "issue_type", "created_at"])
def test_an_issue_without_a_field_that_all_have_is_told_of(name: str) -> None:
    whole = as_bd_has_it()
    del whole[name]
    (bad,) = of(printed(whole))
    assert bad.fault == f"Object missing required field `{name}`"


def test_what_is_told_of_a_bad_value_is_one_short_line() -> None:
    (bad,) = of(printed(as_bd_has_it(priority="\x1b[31m\n" * 1000)))
    assert len(bad.fault) < 1000
    assert bad.fault.isprintable()


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"null",
        b"{}",
        b"[] []",
        b"[1]",
        b'[{"id": "ygg-1"}, null]',
        b'[{"id": "ygg-1", "ti',
        b"Warning: something\n[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'[{"metadata": {"a": ' + b"[" * 100_000,
    ],
    ids=range(11),
)
def test_what_is_no_list_of_issues_is_garbage(wrong: bytes) -> None:
    with pytest.raises(Garbage) as caught:
        of(wrong)
    assert len(str(caught.value)) < 2000
    assert str(caught.value).isprintable()


#: Bytes that are nearly right find more than bytes that are plainly wrong.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
nearly = st.dictionaries(st.sampled_from([*as_bd_has_it(), "labels", "metadata"]), json_values).map(
    lambda wrong: printed(as_bd_has_it(**wrong))
)
cut = st.builds(
    lambda call, start, end: call.stdout.encode()[start:end],
    st.sampled_from(CALLS),
    st.integers(0, 50),
    st.integers(0, 2000),
)


@given(st.binary() | nearly | cut | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_issues_or_garbage(wrong: bytes) -> None:
    try:
        found = of(wrong)
    except Garbage as error:
        said = str(error)
    else:
        said = ""
        for issue in found:
            assert issue.id or issue.fault
            assert issue.fault.isprintable()
            assert len(issue.fault) < 1000
            # What is read can be written on: no half of a surrogate pair is among it.
            repr(issue).encode()
    assert said.isprintable()


@given(st.binary(), st.binary(), st.integers(-64, 255))
def test_any_refusal_is_an_error_in_one_line(stdout: bytes, stderr: bytes, code: int) -> None:
    error = answers.refusal(code, stdout, stderr, call=CALL, folder="/home/p")
    assert isinstance(error, SourceError)
    assert str(error).isprintable()
    assert len(str(error)) < 2000


def refused(note: str) -> SourceError:
    call = next(c for c in CALLS if c.note == note)
    return answers.refusal(
        call.rc, call.stdout.encode(), call.stderr.encode(), call=call.words, folder="/home/p"
    )


@pytest.mark.parametrize(
    ("note", "words"),
    [
        ("claim by another actor: rc 1", "issue already claimed by ygg@testhost"),
        ("claim a closed one", "issue not claimable: status closed"),
        ("no such issue", "no issue found matching"),
        ("bad status", 'invalid status "nonsense"'),
        ("bad priority", 'invalid priority "9"'),
        ("empty title", "title is required"),
    ],
)
def test_what_bd_says_no_to_is_refused_in_its_words(note: str, words: str) -> None:
    error = refused(note)
    assert type(error) is Refused
    assert words in str(error)


@pytest.mark.parametrize("note", ["outside any project: rc 1", "the database folder is missing"])
def test_no_project_says_where_it_looked_and_what_to_do(note: str) -> None:
    error = refused(note)
    assert type(error) is NoProject
    assert "/home/p" in str(error)
    assert "bd init" in str(error)


@pytest.mark.parametrize(
    "said",
    [
        "Error: failed to open database: database is locked (5) (SQLITE_BUSY)",
        '{"error": "database is locked", "schema_version": 1}',
        "Error: the database is locked by another dolt process",
        "Error: embeddeddolt: another process holds the exclusive lock on /p/.beads",
        "Error: dolt access lock timeout (shared, 5s): lock busy: held by another process",
    ],
)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_locked_database_is_told_apart(said: str, stream: str) -> None:
    streams = {"stdout": b"", "stderr": b""} | {stream: said.encode()}
    assert type(answers.refusal(1, **streams, call=CALL, folder="/")) is Locked


def test_a_call_that_bd_does_not_know_tells_of_its_version() -> None:
    said = b"Error: unknown flag: --set-metadata\n"
    assert type(answers.refusal(1, b"", said, call=CALL, folder="/")) is WrongVersion


def test_an_error_without_words_tells_its_exit_code() -> None:
    error = answers.refusal(3, b"", b"", call=CALL, folder="/")
    assert "exit code 3" in str(error)


def test_the_version_is_read() -> None:
    call = next(c for c in CALLS if c.note == "version as JSON")
    assert answers.version(call.stdout.encode(), call=CALL) == "1.0.3"


@pytest.mark.parametrize("text", ["1.0.3", "v1.0.3", "1.0.4", "1.1", "1.2.0-rc.1", "1.0.3 (dev)"])
def test_the_recorded_version_and_its_followers_will_do(text: str) -> None:
    answers.check_version(text, where="bd")


@pytest.mark.parametrize("text", ["0.62.0", "1.0.2", "2.0.0", "", "dev", "1", "1.0.3x", "1" * 50])
def test_another_version_is_told_with_those_that_will_do(text: str) -> None:
    with pytest.raises(WrongVersion, match=r"from 1\.0\.3 on"):
        answers.check_version(text, where="bd")

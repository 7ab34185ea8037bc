"""What a submit may say, and how it is told what was wrong."""

from __future__ import annotations

import errno
import json
import sqlite3
from pathlib import Path

import pytest

from ygg.artifacts import ArtifactError
from ygg.fleet import BUILT_IN_TYPES, TypeSettings
from ygg.stores import troubles
from ygg.web import bodies
from ygg.web.problems import Kind, Problem, problem_of, store_problem
from ygg.web.submission import digest, make_draft, read_submit

pytestmark = pytest.mark.pure

TYPES = {name: TypeSettings(name=name, words=words) for name, words in BUILT_IN_TYPES.items()}


def refused(body: bytes | object, key: str | None = None) -> Problem:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Problem) as caught:
        read_submit(data, key)
    return caught.value


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b'{"title": "a"', "at line 1, column 14"),
        (b'{"title": "a"} x', "Extra data at line 1, column 16"),
        (b'{"title": "\xff"}', "not UTF-8 (byte 11)"),
        ('{"title": "a"}'.encode("utf-16"), "not UTF-8"),
        (b'\xef\xbb\xbf{"title": "a"}', "not JSON"),
        (b'{"title": "\\ud800"}', "surrogate"),
        (b'{"title": "\\udc00 x"}', "surrogate"),
        (b'{"titel": 1, "\\ud800": 1}', "surrogate"),
        (b'{"title": "a", "metadata": {"\\ud800": 1}}', "surrogate"),
        (b'{"title": "a", "metadata": NaN}', "NaN is not JSON"),
        (b'{"title": "a", "timeout": Infinity}', "Infinity is not JSON"),
        (b'{"title": "a", "title": "b"}', "'title' is given twice"),
        (b'{"title": "a", "metadata": {"x": 1, "y": [], "x": 2}}', "'x' is given twice"),
        (b'{"title": "a", "metadata": ' + b"9" * 5000 + b"}", "5000 digits"),
        (b'{"title": "a", "priority": ' + b"9" * 5000 + b"}", "5000 digits"),
        (b'{"title": "a", "priority": -' + b"9" * 4999 + b"}", "5000 digits"),
        (b'{"title": "a", "metadata": ' + b"[" * 100_000, "nested too deeply"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"metadata": ' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b'{"title": "a\nb"}', "control character"),
        (b"{'title': 'a'}", "property name"),
    ],
)
def test_what_is_not_json_is_told_with_its_place(body: bytes, says: str) -> None:
    problem = refused(body)
    assert problem.kind is Kind.BAD_JSON
    assert says in problem.detail
    assert problem.response().status == 400


@pytest.mark.parametrize(
    ("body", "pointer", "says"),
    [
        (None, "", "expected an object, or an array of 1 to 1000, got null"),
        (3, "", "got 3"),
        ("x", "", "got 'x'"),
        ([], "", "expected 1 to 1000 objects, got 0"),
        ([{"title": "a"}] * 1001, "", "expected 1 to 1000 objects, got more: send several"),
        ([[]], "/0", "expected an object, got an array of 0"),
        ({"title": "a", "prioritty": 1}, "/prioritty", "did you mean 'priority'?"),
        ({"title": "a", "xyzzy": 1}, "/xyzzy", "known are title, description"),
        ({"title": "a", "a/b~c": 1}, "/a~1b~0c", "unknown field 'a/b~c'"),
        ({"title": "a", "priority": "high"}, "/priority", "from 0 (critical) to 4 (backlog)"),
        ({"title": "a", "priority": True}, "/priority", "got true"),
        ({"title": "a", "priority": 5}, "/priority", "got 5"),
        ({"title": "a", "priority": -1}, "/priority", "got -1"),
        ({"title": "a", "priority": 1.5}, "/priority", "got 1.5"),
        ({"title": "a", "priority": 2.0}, "/priority", "got 2.0"),
        ({"title": 3}, "/title", "expected a text of at most 500 characters, got 3"),
        ({"title": "x" * 501}, "/title", "got a text of 501 characters"),
        ({"description": "x" * 1048577}, "/description", "1048577 characters"),
        ({"title": "a", "labels": "x"}, "/labels", "an array of at most 32"),
        ({"title": "a", "labels": ["x"] * 33}, "/labels", "got an array of 33"),
        ({"title": "a", "labels": ["x", 4]}, "/labels/1", "got 4"),
        ({"title": "a", "labels": ["x", ""]}, "/labels/1", "got ''"),
        ({"title": "a", "labels": ["x" * 101]}, "/labels/0", "101 characters"),
        ({"title": "a", "labels": ["x\0"]}, "/labels/0", "NUL"),
        ({"title": "a", "key": ""}, "/key", "1 to 200"),
        ({"title": "a", "key": "x" * 201}, "/key", "1 to 200"),
        ({"title": "a", "model": "x" * 201}, "/model", "200"),
        ({"title": "a", "type": ""}, "/type", "a type's name"),
        ({"title": "a", "system": "x" * 131073}, "/system", "131072"),
        ({"title": "a", "timeout": 0}, "/timeout", "over 0"),
        ({"title": "a", "timeout": 604801}, "/timeout", "7 days"),
        ({"title": "a", "timeout": True}, "/timeout", "got true"),
        ({"title": "a", "timeout": "1h"}, "/timeout", "seconds"),
        ({"title": "a", "not_before": "tomorrow"}, "/not_before", "RFC 3339"),
        ({"title": "a", "not_before": "2026-11-24T03:20:00"}, "/not_before", "time zone"),
        ({"title": "a", "not_before": 12}, "/not_before", "got 12"),
        (
            {"title": "a", "not_before": "9999-12-31T23:59:59.9999Z"},
            "/not_before",
            "is not from the years 1970 to 9998; write it like 2026",
        ),
        ({"title": "a", "not_before": "1969-12-31T23:59:59Z"}, "/not_before", "1970"),
        ({"title": "a", "options": []}, "/options", "expected an object, got an array of 0"),
        ({"title": "a", "options": {"x": "y" * 65536}}, "/options", "at most 65536"),
        ({"title": "a", "metadata": "x" * 4095}, "/metadata", "takes 4097 bytes"),
        ({"title": "a", "metadata": {"a": ["\0"]}}, "/metadata/a/0", "NUL"),
        ({"title": "a", "metadata": {"a\0": 1}}, "/metadata/a\0", "NUL"),
        ({"title": "a\0"}, "/title", "NUL"),
        ({"title": "a", "description": "\0"}, "/description", "NUL"),
        ({"title": "a", "system": "\0"}, "/system", "NUL"),
        ({"title": "a", "model": "\0"}, "/model", "NUL"),
        ({"title": "a", "type": "\0"}, "/type", "NUL"),
        ({"title": "a", "key": "\0"}, "/key", "NUL"),
        ({}, "", "both are empty"),
        ({"title": " ", "description": "\n"}, "", "both are empty"),
        ([{"title": "a"}, {"priority": 1}], "/1", "both are empty"),
        ([{"title": "a"}, {"title": "b", "priority": None, "type": 1}], "/1/type", "got 1"),
    ],
)
def test_a_field_that_is_not_right_is_named_with_the_way_out(
    body: object, pointer: str, says: str
) -> None:
    problem = refused(body)
    assert problem.kind is Kind.BAD_FIELDS
    (error,) = problem.errors
    assert error.pointer == pointer
    assert says in error.detail
    assert problem.response().status == 400


def test_a_number_past_all_floats_is_refused_where_it_stands() -> None:
    problem = refused(b'[{"title": "a"}, {"title": "b", "metadata": [1, 1e999]}]')
    (error,) = problem.errors
    assert error.pointer.startswith("/1/metadata")
    assert "out of range" in error.detail


def test_all_that_is_wrong_is_told_at_once() -> None:
    problem = refused([{"titel": "a", "priority": 9}, {"title": 1}])
    assert [error.pointer for error in problem.errors] == ["/0/titel", "/0/priority", "/1/title"]
    assert "(and 2 more)" in problem.detail


def test_of_very_many_errors_the_first_are_told() -> None:
    document = json.loads(_body(refused({f"x{i}": 1 for i in range(10_000)})))
    assert len(document["errors"]) == 20
    assert "and many more" in document["detail"]
    assert "the first 20 are told" in document["detail"]


def test_only_errors_that_are_told_are_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def near(name: str, *_: object, **__: object) -> list[str]:
        looked.append(name)
        return []

    monkeypatch.setattr("ygg.web.bodies.difflib.get_close_matches", near)
    refused([{f"k{n}": 0 for n in range(90)}] * 1000)
    assert 20 <= len(looked) <= 21


def test_of_a_large_body_only_the_first_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def explain(*_: object) -> None:
        raise AssertionError("a large body was walked to explain it")

    monkeypatch.setattr(bodies, "strict", explain)
    long = {"title": "a", "description": "x" * 2200}
    problem = refused([*([long] * 998), {"titel": 1, "priority": 9}])
    assert [(e.pointer, e.detail) for e in problem.errors] == [
        ("/998", "Object contains unknown field `titel`")
    ]
    assert len(_body(refused({"x" * 3_000_000: 1}))) < 1000


@pytest.mark.parametrize(
    ("field", "value", "pointer", "says"),
    [
        ("description", "x" * 3_000_000, "/description",
         "expected a text of at most 1048576 characters, got a text of 3000000 characters"),
        ("system", ["x" * 99] * 9000, "/system",
         "expected a text of at most 131072 characters, got an array"),
        ("priority", 9, "/priority",
         "expected an integer from 0 (critical) to 4 (backlog), got 9"),
        ("labels", ["a", 7], "/labels/1",
         "expected an array of at most 32 texts of 1 to 100 characters, got 7"),
    ],
)  # fmt: skip
def test_the_first_error_of_a_large_body_is_told_in_the_same_words(
    field: str, value: object, pointer: str, says: str
) -> None:
    large = {"title": "a", "description": "ä" * 1_048_576}
    for body, place in (
        ({**large, field: value}, ""),
        ([{**large, "title": "b"}, {**large, field: value}], "/1"),
    ):
        data = json.dumps(body, ensure_ascii=False).encode()
        assert len(data) > 2 * 1024 * 1024
        problem = refused(data)
        assert [(e.pointer, e.detail) for e in problem.errors] == [(place + pointer, says)]


@pytest.mark.parametrize("item", ["{}", '{"title": "a, [b", "options": {"x": [1, 2]}}', "1"])
def test_an_array_is_not_read_beyond_the_most_it_may_hold(item: str) -> None:
    # What follows is no JSON: whoever reads it says so.
    body = f" [{', '.join([item] * 1000)} , {{{{{{"
    problem = refused(body.encode())
    assert problem.kind is Kind.BAD_FIELDS
    assert "expected 1 to 1000 objects, got more" in problem.detail
    assert "not JSON" in refused(body.replace(" , {{{", "").encode()).detail


def test_an_array_may_hold_the_most() -> None:
    body = json.dumps([{"title": "a, b", "labels": ["c", "d"]}] * 1000).encode()
    assert len(read_submit(body).submissions) == 1000


def _body(problem: Problem) -> bytes:
    body = problem.response().body
    assert isinstance(body, bytes)
    return body


def test_an_absurd_name_is_cut() -> None:
    assert len(_body(refused({"x" * 100_000: 1}))) < 1000


@pytest.mark.parametrize("depth", [32, 33, 200])
def test_nesting_is_bounded(depth: int) -> None:
    value: object = 1
    for _ in range(depth):
        value = [value]
    body = json.dumps({"title": "a", "metadata": value}).encode()
    if depth <= 32:
        assert read_submit(body).submissions[0].metadata == value
    else:
        assert "nested more than 32 deep" in refused(body).detail


def test_many_shallow_objects_are_not_deep() -> None:
    body = {"title": "a", "metadata": [{} for _ in range(100)]}
    assert read_submit(json.dumps(body).encode()).submissions[0].metadata == body["metadata"]


@pytest.mark.parametrize(
    ("body", "key", "says"),
    [
        ([{"title": "a"}], "k", "is for one task"),
        ({"title": "a", "key": "other"}, "k", "send one of the two"),
        ({"title": "a"}, "", "printable ASCII"),
        ({"title": "a"}, "x" * 201, "printable ASCII"),
        ({"title": "a"}, "a\tb", "printable ASCII"),
        ({"title": "a"}, "\udc80", "printable ASCII"),
    ],
)
def test_a_key_in_the_header_is_checked_too(body: object, key: str, says: str) -> None:
    assert says in refused(body, key).detail


def test_the_digest_is_of_the_meaning_and_not_of_the_bytes() -> None:
    def of(text: str) -> str:
        return digest(read_submit(text.encode()).submissions[0])

    one = of('{"title": "a", "options": {"x": 1, "y": 2}, "key": "k"}')
    assert one == of('{ "options":{"y":2,"x":1},"title":"\\u0061","key":"other","model":null}')
    assert one != of('{"title": "a", "options": {"x": 1, "y": 3}, "key": "k"}')
    assert one != of('{"title": "a", "options": {"x": 1, "y": 2}, "priority": 2}')


def test_a_draft_has_the_type_that_its_title_means() -> None:
    def draft_of(**fields: object) -> str:
        (submission,) = read_submit(json.dumps(fields).encode()).submissions
        return make_draft(submission, types=TYPES, now=1.0, random_bits=lambda _: 7).type

    assert draft_of(title="Refactor the parser") == "code-generation"
    assert draft_of(description="Translate to French: ...") == "text-processing"
    assert draft_of(title="Refactor", labels=["reasoning"]) == "reasoning"
    assert draft_of(title="Refactor", type="general") == "general"
    assert draft_of(title="Hello") == "general"


def test_a_full_disk_is_known_by_the_words_of_both_who_say_it() -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorname = "SQLITE_FULL"
    assert store_problem(troubles.explain(Path("x"), full)).kind is Kind.FULL
    broken = sqlite3.OperationalError("disk I/O error")
    broken.sqlite_errorname = "SQLITE_IOERR"
    assert store_problem(troubles.explain(Path("x"), broken)).kind is Kind.STORE
    for number in (errno.ENOSPC, errno.EDQUOT):
        problem = problem_of(ArtifactError("write", Path("x"), OSError(number, "?")))
        assert problem is not None
        assert problem.kind is Kind.FULL


def test_problems_have_names_that_never_change() -> None:
    assert {(kind.urn.rpartition(":")[2], kind.status) for kind in Kind} == {
        ("bad-json", 400), ("bad-fields", 400), ("bad-parameters", 400), ("bad-request", 400),
        ("unauthorized", 401), ("foreign-origin", 403), ("long-address", 414), ("large-headers", 431),
        ("unknown-task", 404), ("unknown-host", 404), ("no-artifact", 404), ("too-slow", 408),
        ("key-clash", 409), ("refused", 409), ("pinned-in-file", 409), ("shared-slots", 409), ("lease-held", 409),
        ("out-of-bounds", 422), ("too-large", 413), ("not-json", 415),
        ("encoded", 415), ("expectation", 417), ("wrong-host", 421), ("unroutable", 422), ("internal", 500),
        ("draining", 503), ("store-trouble", 503), ("not-yet", 503), ("too-many-streams", 503),
        ("disk-full", 507),
    }  # fmt: skip

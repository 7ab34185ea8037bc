"""A body that would take much memory is refused before it does; one that is only long is read."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from ygg.web import costs
from ygg.web.autoscaler import read_order
from ygg.web.orders import read_retry
from ygg.web.problems import Kind, Problem
from ygg.web.submission import read_submit

pytestmark = pytest.mark.pure

#: Bytes of a body here, and what may be made of one: its text, and copies of it.
SIZE = 4_000_000
ROOM = 40_000_000


def filled(head: str, item: str, tail: str) -> bytes:
    return (head + ",".join([item] * (SIZE // (len(item) + 1))) + tail).encode()


def refused(body: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        read_submit(body)
    return caught.value


BODIES = [
    (filled('{"title":"a","metadata":[', '{"a":1}', "]}"), "/metadata", "bytes as JSON, at most"),
    (filled('[{"title":"a","metadata":[', '{"a":1}', "]}]"), "/0/metadata", "at most 4096 are"),
    (filled('{"title":"a","options":{"a":[', "[]", "]}}"), "/options", "at most 65536 are kept"),
    (filled('{"title":"a","labels":[', '"a"', "]}"), "/labels", "expected an array of at most 32"),
    (filled('{"title":"a","metadata":[', "[" * 500 + "]" * 500, "]}"), "/metadata", "4096 are"),
    (filled("[", '{"x":1}', "]"), "", "expected 1 to 1000 objects, got more"),
    (filled("[", "{}", "]"), "", "expected 1 to 1000 objects, got more"),
    (filled("[", '{"title":"a","options":{"a":[' + '{"a":1},' * 999 + "1]}}", "]"), "", "500000"),
    (filled('{"title":"a","metadata":[', '{"a":1}', '],"metadata":1}'), "", "500000 values"),
    (filled('{"title":"a","metadata":[', '{"a":1}', "]"), None, "is not JSON"),
    (filled('{"title":[', '{"a":1}', "]}"), "", "500000 values"),
    (filled('{"titel":[', '{"a":1}', "]}"), "", "unknown field `titel`"),
]


@pytest.mark.parametrize(("body", "pointer", "says"), BODIES)
def test_of_very_many_values_no_objects_are_made(
    body: bytes, pointer: str | None, says: str
) -> None:
    tracemalloc.start()
    try:
        problem = refused(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert says in problem.detail
    assert [e.pointer for e in problem.errors] == ([] if pointer is None else [pointer])
    assert peak < ROOM, f"{peak} bytes"


def test_other_readers_make_no_objects_either() -> None:
    ids = filled('{"ids":[', '"a"', "]}")
    with pytest.raises(Problem, match="500000 values"):
        read_retry(ids)
    with pytest.raises(Problem, match="500000 values"):
        read_order(filled('{"holder":"h","hosts":{"a":{"evidence":{', '"a":1', "}}}}"))


def test_blanks_between_values_count_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "VALUES_MAX", 100)
    value = {"a": list(range(200))}
    spread = json.dumps({"title": "a", "metadata": value}, indent=200).encode()
    assert len(spread) > 10 * 4096
    problem = refused(spread)
    assert problem.errors[0].detail.startswith("holds more than 100 values")
    value["a"] *= 40
    size = len(json.dumps(value, separators=(",", ":")))
    problem = refused(json.dumps({"title": "a", "metadata": value}, indent=1).encode())
    assert problem.errors[0].detail.startswith(f"takes {size} bytes as JSON, at most 4096")


def test_long_texts_are_no_values() -> None:
    prose = "so, then: [{" * 80_000
    body = [{"title": "a", "description": prose, "metadata": {"a": [1]}}, {"title": "b"}]
    first, _ = read_submit(json.dumps(body).encode()).submissions
    assert first.description == prose
    one = json.dumps(body[0]) + " " * 300_000
    assert read_submit((one[:-300_001] + " " * 300_000 + "}").encode()).submissions == [first]


def test_a_name_given_twice_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "VALUES_MAX", 100)
    text = f'"{"a," * 200}"'
    assert "given twice" in refused(f'{{"title": "a", "title": {text[:50]}"}}'.encode()).detail
    hidden = refused(f'{{"title": {text}, "title": "a"}}'.encode())
    assert "more than 100 values" in hidden.detail
    assert hidden.kind is Kind.BAD_FIELDS

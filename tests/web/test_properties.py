"""For all bodies and queries: no crash of ours, and what was accepted is what was sent."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.serving import served_beside
from ygg.wire import parse_rfc3339

Ask = Callable[[str, str, bytes | None], tuple[int, Any]]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """One request; nothing that it answers is ever a crash, and its errors are problems."""
    with served_beside(tmp_path_factory.mktemp("served")) as port:

        def one(method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            try:
                headers = {} if body is None else {"Content-Type": "application/json"}
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                told = json.loads(answer.read())
            finally:
                connection.close()
            assert answer.status < 500, told
            if answer.status >= 400:
                assert answer.headers["Content-Type"] == "application/problem+json"
                assert told["status"] == answer.status
                assert told["detail"]
            return answer.status, told

        yield one


#: What JSON may hold, halves of surrogate pairs and all.
TEXTS = st.text(st.characters(), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
GOOD_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
GOOD_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | GOOD_TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(GOOD_TEXTS, inner, max_size=4),
    max_leaves=12,
)
GOOD_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "title": GOOD_TEXTS,
    "description": GOOD_TEXTS,
    "labels": st.lists(GOOD_TEXTS.filter(len), max_size=5),
    "type": st.sampled_from(["code-generation", "text-processing", "reasoning", "general"]),
    "priority": st.integers(0, 4),
    "model": st.sampled_from(["", "m"]),
    "system": GOOD_TEXTS,
    "options": st.dictionaries(GOOD_TEXTS, GOOD_JSON, max_size=3),
    "timeout": st.floats(0, 604800, exclude_min=True) | st.integers(1, 604800),
    "not_before": st.datetimes().map(lambda at: f"{at.isoformat(timespec='milliseconds')}Z"),
    "metadata": GOOD_JSON,
}
#: Nearly right: known names, of which any may have anything.
NEARLY = st.dictionaries(
    st.sampled_from([*GOOD_FIELDS, "key", "titel"]),
    st.one_of(JSON, *GOOD_FIELDS.values()),
    max_size=8,
)


@given(body=JSON | NEARLY | st.lists(NEARLY, max_size=3))
def test_no_json_breaks_a_submit(ask: Ask, body: object) -> None:
    assert ask("POST", "/v1/tasks", json.dumps(body).encode())[0] in (200, 201, 400, 409, 422)


@given(
    body=st.binary(max_size=200)
    | st.text(alphabet='{}[]":,0eE+-.\\u ', max_size=60).map(str.encode)
)
def test_no_bytes_break_a_submit(ask: Ask, body: bytes) -> None:
    assert ask("POST", "/v1/tasks", body)[0] in (200, 201, 400, 409, 422)


@given(body=st.fixed_dictionaries({}, optional=GOOD_FIELDS))
def test_what_is_accepted_reads_back_equal(ask: Ask, body: dict[str, Any]) -> None:
    status, told = ask("POST", "/v1/tasks", json.dumps(body).encode())
    has_words = (body.get("title", "") + body.get("description", "")).strip()
    year = int(body.get("not_before", "2026")[:4])
    small = len(json.dumps(body.get("metadata"))) <= 1000
    if has_words and 1970 <= year < 9999 and small:
        assert status == 201, told
    if status != 201:
        return
    _, task = ask("GET", f"/v1/tasks/{told['id']}", None)
    assert task == told
    for name, value in body.items():
        if name == "title" and not value.strip():
            assert body["description"].strip().startswith(task["title"])
        elif name == "not_before":
            assert parse_rfc3339(task[name]) == pytest.approx(parse_rfc3339(value), abs=0.001)
        else:
            assert task[name] == value


@given(
    name=st.sampled_from(["status", "priority", "type", "host", "error", "limit", "cursor", "x"])
    | st.text(max_size=5),
    value=st.text(max_size=20) | st.integers().map(str),
    page=st.sampled_from(["/v1/tasks", f"/v1/tasks/{'0' * 18}/history"]),
)
def test_no_query_breaks_a_list(ask: Ask, name: str, value: str, page: str) -> None:
    def escaped(text: str) -> str:
        return quote(text.encode(errors="surrogatepass"), safe="")

    status, _ = ask("GET", f"{page}?{escaped(name)}={escaped(value)}", None)
    assert status in (200, 400, 404)


@given(path=st.lists(st.text(max_size=8), min_size=1, max_size=3), data=st.none() | JSON)
@pytest.mark.parametrize("start", ["/v1/tasks", "/v1/hosts", ""])
@pytest.mark.parametrize("end", ["", "/cancel", "/retry", "/pause", "/artifact"])
def test_no_path_breaks_anything(
    ask: Ask, start: str, end: str, path: list[str], data: object
) -> None:
    steps = "/".join(quote(step.encode(errors="surrogatepass"), safe="") for step in path)
    body = None if data is None else json.dumps(data).encode()
    for method in ("GET", "POST", "PUT"):
        assert ask(method, f"{start}/{steps}{end}", body)[0] in (200, 400, 404, 405)
        if body is not None and method == "GET":
            break


@given(body=JSON | st.dictionaries(st.sampled_from(["ids", "error", "drained", "dry_run"]), JSON))
def test_no_json_breaks_a_retry(ask: Ask, body: object) -> None:
    assert ask("POST", "/v1/retry", json.dumps(body).encode())[0] in (200, 400, 404, 409)


@given(body=JSON | st.dictionaries(st.sampled_from(["paused", "reason"]), JSON))
def test_no_json_breaks_a_pause(ask: Ask, body: object) -> None:
    ask("PUT", "/v1/hosts/h/pause", json.dumps(body).encode())
    assert ask("PUT", "/v1/hosts/h/pause", b'{"paused": true}')[0] == 200

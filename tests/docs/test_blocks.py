"""How pages are run: what counts as a step, and when what is shown is what was printed."""

from __future__ import annotations

import pytest

from tests.docs.blocks import Block, difference, read_page

pytestmark = pytest.mark.pure

PAGE = """\
# A page

```yaml
hosts: {}
```

```sh
ygg status
```

It prints:

```text
HOST ...
```

```sh by-hand
pip install .
```

```text
done
```

```sh exit=2
ygg oops
```

```sh background
ygg loop --async
```
"""


def block(text: str, language: str = "text") -> Block:
    return Block(line=1, language=language, words=frozenset(), text=text)


def test_a_page_is_steps_each_with_what_it_shows() -> None:
    page = read_page(PAGE)
    assert [(s.block.text, s.block.line, s.exit_code, s.in_background) for s in page.steps] == [
        ("ygg status\n", 7, 0, False),
        ("ygg oops\n", 25, 2, False),
        ("ygg loop --async\n", 29, 0, True),
    ]
    assert [s.shown.text if s.shown else None for s in page.steps] == ["HOST ...\n", None, None]
    assert [b.text for b in page.files] == ["hosts: {}\n", "done\n"]


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a b\n", "a   b \n"),
        ("a\n...\nc\n", "a\nx\ny\nc\n"),
        ("a\n...\nc\n", "a\nc\n"),
        ("a\n...\n", "a\nb\n"),
        ("took 3.1 s on 127.0.0.1:8765\n", "took 14 s on 127.0.0.1:40001\n"),
        ("01kb2x7a5w2m9qfz4r open 2026-11-24T03:20:00.000Z\n", "01zzzzzzzzzzzzzzzz open 2027-01-01T00:00:00Z\n"),
        ("up ... slots\n", "up since then, 3 slots\n"),
    ],
)  # fmt: skip
def test_what_differs_from_run_to_run_may_differ(shown: str, printed: str) -> None:
    assert difference(block(shown), printed) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [("a\n", "b\n"), ("a\n", "a\nb\n"), ("a\nb\n", "a\n"), ("a\n...\nc\n", "a\nb\n"), ("", "a\n"),
     ("3 slots\n", "4 slots\n"), ("a...\n", "x\na\n")],
)  # fmt: skip
def test_all_else_must_be_as_shown(shown: str, printed: str) -> None:
    assert difference(block(shown), printed) is not None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ('{"a": 1}', '{"a":1}'),
        ('{"a": 1, ...}', '{"a":1,"b":2}'),
        ('{"a": [{"b": "x"}, ...], ...}', '{"a":[{"b":"x","c":1},{}],"d":3}'),
        ('{"id": "01kb2x7a5w2m9qfz4r"}', '{"id":"01zzzzzzzzzzzzzzzz"}'),
        ('{"a": "..."}', '{"a":[1]}'),
        ('{"detail": "no ... here"}', '{"detail":"no luck here"}'),
        ('{"a": ""}', '{"a":""}'),
    ],
)
def test_json_is_compared_by_its_values(shown: str, printed: str) -> None:
    assert difference(block(shown, "json"), printed) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ('{"a": 1}', '{"a":1,"b":2}'),
        ('{"a": 1, ...}', '{"b":2}'),
        ('{"a": 1, ...}', '{"a":2}'),
        ('{"a": 1}', '{"a":true}'),
        ('{"a": [1]}', '{"a":[1,2]}'),
        ('{"a": [1, 2], ...}', '{"a":[1]}'),
        ('{"a": "x"}', '{"a":null}'),
        ('{"a": 1}', "oops"),
    ],
)
def test_json_that_differs_is_told(shown: str, printed: str) -> None:
    assert difference(block(shown, "json"), printed) is not None

"""Tasks out of files of JSON Lines."""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.cli.jsonl import PREFIX_CHARACTERS, BadLine, Seen, TaskLines
from ygg.client import Problem
from ygg.web.submission import KEY_CHARACTERS_MAX


def tasks_of(path: Path, prefix: str = "p", **fields: Any) -> list[dict[str, Any]]:
    with TaskLines(str(path), prefix, fields) as lines:
        return [dict(task) for task in lines]


def written(folder: Path, *lines: object) -> Path:
    path = folder / "tasks.jsonl"
    path.write_text("".join(
        f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines
    ))  # fmt: skip
    return path


def test_each_line_is_a_task_and_blank_ones_are_none(tmp_path: Path) -> None:
    path = written(tmp_path, {"title": "a"}, "", "   ", {"title": "b"})
    assert [task["title"] for task in tasks_of(path)] == ["a", "b"]


def test_flags_hold_for_lines_that_do_not_say_it(tmp_path: Path) -> None:
    path = written(tmp_path, {"title": "a"}, {"title": "b", "priority": 0})
    assert [task["priority"] for task in tasks_of(path, priority=4)] == [4, 0]


def test_a_key_is_of_the_line_itself_wherever_it_stands(tmp_path: Path) -> None:
    first = [task["key"] for task in tasks_of(written(tmp_path, {"title": "a"}, {"title": "b"}))]
    moved = written(tmp_path, {"title": "new"}, "", {"title": "b"}, {"title": "a"})
    again = {task["title"]: task["key"] for task in tasks_of(moved)}
    assert [again["a"], again["b"]] == first
    assert len({*again.values()}) == 3
    other = [task["key"] for task in tasks_of(moved, "another")]
    assert not {*other} & {*again.values()}
    assert all(1 <= len(key) <= 200 for key in other)


def test_lines_that_are_alike_are_tasks_of_their_own(tmp_path: Path) -> None:
    path = written(tmp_path, *[{"title": "a"}] * 3)
    keys = [task["key"] for task in tasks_of(path)]
    assert len(set(keys)) == 3
    assert keys == [task["key"] for task in tasks_of(path)]


def test_a_key_in_a_line_is_kept(tmp_path: Path) -> None:
    assert tasks_of(written(tmp_path, {"title": "a", "key": "mine"}))[0]["key"] == "mine"


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_key_that_says_nothing_is_none(tmp_path: Path, nothing: str | None) -> None:
    path = written(tmp_path, {"title": "a", "key": nothing})
    (first,), (again,) = tasks_of(path), tasks_of(path)
    assert first["key"] == again["key"]
    assert first["key"].startswith("p-")


def test_the_key_of_the_longest_prefix_is_not_too_long(tmp_path: Path) -> None:
    path = written(tmp_path, *[{"title": "a"}] * 12)
    keys = [task["key"] for task in tasks_of(path, "p" * PREFIX_CHARACTERS)]
    assert max(map(len, keys)) + len("0000000") <= KEY_CHARACTERS_MAX, "or of ten million like it"


@given(st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=30))
def test_each_line_is_counted_as_often_as_it_came(lines: list[bytes]) -> None:
    expected: Counter[bytes] = Counter()
    with Seen() as seen:
        for line in lines:
            expected[line] += 1
            assert seen.count(line * 32) == expected[line]


@pytest.mark.parametrize(
    "line", ["{", "[]", '"text"', "1", "null", '{"a": NaN}', "\ufeff{}", "[" * 100_000]
)
def test_a_broken_line_is_named_before_anything_is_handed_in(tmp_path: Path, line: str) -> None:
    path = written(tmp_path, {"title": "a"}, line)
    lines = TaskLines(str(path), "p", {})
    with pytest.raises(BadLine, match=r"tasks\.jsonl:2: not a JSON object"):
        lines.__enter__()


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b'{"title": "\xff"}\n')
    with pytest.raises(BadLine, match=r":1: not a JSON object"):
        tasks_of(path)


def test_a_file_may_begin_with_the_mark_of_utf_8(tmp_path: Path) -> None:
    plain = written(tmp_path, {"title": "a"}, {"title": "b"})
    tasks = tasks_of(plain)
    plain.write_bytes(codecs.BOM_UTF8 + plain.read_bytes())
    assert tasks_of(plain) == tasks


def test_a_line_without_end_is_never_read_whole() -> None:
    with pytest.raises(BadLine, match=r"/dev/zero:1: not a JSON object: the line does not end"):
        tasks_of(Path("/dev/zero"))


def test_a_file_that_fails_in_the_middle_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(io.BytesIO):
        def fileno(self) -> int:
            return null.fileno()

        def readline(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with Path(os.devnull).open("rb") as null:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Failing()))
        with pytest.raises(BadLine, match="standard input can't be read: Input/output error"):
            tasks_of(Path("-"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadLine, match="nowhere can't be read: No such file"):
        tasks_of(tmp_path / "nowhere")
    with pytest.raises(BadLine, match="directory"):
        tasks_of(tmp_path)


def test_a_file_knows_how_many_tasks_it_has_and_a_pipe_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TaskLines(str(written(tmp_path, {"title": "a"}, "", {"title": "b"})), "p", {}) as lines:
        assert lines.total == 2
    reading, writing = os.pipe()
    os.write(writing, b'{"title": "a"}\n{\n')
    os.close(writing)
    with os.fdopen(reading) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        with TaskLines("-", "p", {}) as lines:
            assert lines.total is None
            handed = iter(lines)
            assert next(handed)["title"] == "a"
            with pytest.raises(BadLine, match="standard input:2"):
                next(handed)


def problem(*pointers: str) -> Problem:
    errors = [{"pointer": pointer, "detail": f"bad {n}"} for n, pointer in enumerate(pointers)]
    return Problem(400, {"detail": "wrong", "errors": errors})


def test_what_is_wrong_in_a_batch_is_told_by_the_lines_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, {"title": "a"}, "", {"title": "b"}, {"title": "c"})
    with TaskLines(str(path), "p", {}) as lines:
        handed = iter(lines)
        next(handed)
        next(handed)
        lines.accepted()
        next(handed)
        assert lines.told(problem("/0/priority", "/1")) == (
            f"{path}:3: priority: bad 0; {path}:4: bad 1"
        )
        assert lines.told(problem("", "/9/x", "/x")).startswith("wrong")
        many = lines.told(problem(*["/0/labels/1"] * 5))
        assert many.startswith(f"{path}:3: labels/1: bad 0; ")
        assert many.endswith("; and 2 more")


def test_standard_input_may_be_a_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with written(tmp_path, {"title": "a"}).open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        with TaskLines("-", "p", {}) as lines:
            assert (lines.total, [task["title"] for task in lines]) == (1, ["a"])
    assert isinstance(sys.stdin, io.TextIOBase)

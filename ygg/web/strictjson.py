"""JSON by Python's own parser: it knows lines and columns, and what msgspec takes without a word.

Names given twice, NaN and Infinity, absurd numbers, halves of surrogate pairs. What the values of a
body mean is left to bodies.py.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from ygg.tasks import Json
from ygg.web.costs import too_many
from ygg.web.problems import Kind, Problem, shown

_BLANK: Final = re.compile(r"[ \t\n\r]*")


def strict(body: bytes) -> Any:
    """The body by Python's own parser, which knows lines and columns. Raises Problem.

    Refuses what it would take by itself: names given twice, NaN and Infinity, absurd numbers.
    """
    return _parsed(body, _PARSER)


def check_names(body: bytes) -> None:
    """Raises Problem for what `strict` would not take; no object stays, however many there are."""
    _parsed(body, _CHECKER)


def _parsed(body: bytes, parser: json.JSONDecoder) -> Any:
    text = _text(body)
    if not text.strip():
        raise Problem(Kind.BAD_JSON, "the body is empty: send a JSON object")
    try:
        return parser.decode(text)
    except json.JSONDecodeError as error:
        detail = f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise Problem(Kind.BAD_JSON, detail) from error


def check_halves(value: Json) -> None:
    """Raises Problem where a text can't be written as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        detail = (
            "a text has half of a surrogate pair (\\ud800 to \\udfff alone): "
            "such a text can't be kept"
        )
        raise Problem(Kind.BAD_JSON, detail) from error


def check_length(body: bytes, most: int) -> None:
    """Raises Problem where an array has more than `most` items: it is not read beyond those.

    msgspec makes all of them before it counts them, and a body has room for millions.
    """
    if body.count(b",") < most:
        return  # it can't have so many
    text = _text(body)
    begin = _beyond_blanks(text, 0)
    if not text.startswith("[", begin):
        return
    at = begin + 1
    for _ in range(most):
        try:
            _, at = _ITEM.raw_decode(text, _beyond_blanks(text, at))
        except json.JSONDecodeError:
            return  # msgspec comes to the same place, and `strict` says what is there
        at = _beyond_blanks(text, at)
        if not text.startswith(",", at):
            return
        at += 1
    raise too_many(most)


def _text(body: bytes) -> str:
    """Raises Problem."""
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        detail = f"the body is not UTF-8 (byte {error.start}): send JSON in UTF-8"
        raise Problem(Kind.BAD_JSON, detail) from error


def _beyond_blanks(text: str, at: int) -> int:
    blanks = _BLANK.match(text, at)
    assert blanks is not None, "the pattern takes nothing too"
    return blanks.end()


def _pairs(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                break
            seen.add(name)
        detail = f"{shown(name)} is given twice in one object: keep one of the two"
        raise Problem(Kind.BAD_JSON, detail)
    return value


def _no_pairs(pairs: list[tuple[str, Json]]) -> None:
    """The same, and nothing is kept."""
    _pairs(pairs)


def _no_constant(name: str) -> NoReturn:
    raise Problem(Kind.BAD_JSON, f"{name} is not JSON: send a number, or null")


def _whole_number(digits: str) -> int:
    if len(digits) > 4000:  # Python refuses a little more than that; nobody means it
        detail = f"a number has {len(digits)} digits: send it as a string"
        raise Problem(Kind.BAD_JSON, detail)
    return int(digits)


_PARSER: Final = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_constant=_no_constant, parse_int=_whole_number
)

#: Only finds what is wrong; of objects nothing stays.
_CHECKER: Final = json.JSONDecoder(
    object_pairs_hook=_no_pairs, parse_constant=_no_constant, parse_int=_whole_number
)

#: Only finds where items end; numbers stay texts, which may be of any length.
_ITEM: Final = json.JSONDecoder(parse_int=str, parse_float=str)

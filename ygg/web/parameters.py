"""From a query string to typed values, or to all that is wrong with it.

What a route takes is a msgspec struct: its fields' types check what was given, name it in errors,
and describe it in /openapi.json. What the values mean is left to the routes.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from multidict import MultiMapping

from ygg.web.bodies import described
from ygg.web.problems import FieldError, bad_parameters, shown

S = TypeVar("S", bound=msgspec.Struct)

PAGE_MAX: Final = 1000
#: Sequences and positions are numbers of 63 bits in every store.
NUMBER_MAX: Final = (1 << 63) - 1
_TEXT_MAX: Final = 500

Text = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=_TEXT_MAX, description=f"a text of 1 to {_TEXT_MAX} characters"
    ),
]


def whole(least: int, most: int, title: str | None = None) -> msgspec.Meta:
    """Of a parameter that is a whole number. `title` is what it means."""
    return msgspec.Meta(
        ge=least, le=most, title=title, description=f"a whole number from {least} to {most}"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One field of a query's struct."""

    name: str
    #: Its type without None: a parameter is left out, never null.
    hint: Any
    is_number: bool
    #: Several values, with commas between them.
    is_list: bool


def parameters_of(kind: type[msgspec.Struct]) -> list[Parameter]:
    found = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        inner = _without_none(hint)
        plain = get_args(inner)[0] if get_origin(inner) is Annotated else inner
        is_list = get_origin(plain) is tuple
        found.append(Parameter(name=name, hint=inner, is_number=plain is int, is_list=is_list))
    return found


def _without_none(hint: Any) -> Any:
    if get_origin(hint) not in (Union, UnionType):
        return hint
    (inner,) = (part for part in get_args(hint) if part is not NoneType)
    return inner


class QueryReader(Generic[S]):
    """Reads the parameters that a struct's fields name."""

    def __init__(self, kind: type[S]) -> None:
        self.kind = kind
        self.parameters: Mapping[str, Parameter] = {p.name: p for p in parameters_of(kind)}

    def read(self, given: MultiMapping[str]) -> S:
        """Raises Problem with all that is wrong."""
        errors: list[FieldError] = []
        values: dict[str, Any] = {}
        for name in dict.fromkeys(given):
            parameter = self.parameters.get(name)
            if parameter is None:
                # A name that somebody made up is quoted, so that it can always be encoded.
                errors.append(FieldError(shown(name), self._unknown(name)))
                continue
            try:
                values[name] = _value(parameter, given.getall(name))
            except ValueError as error:
                errors.append(FieldError(name, str(error)))
        if errors:
            raise bad_parameters(errors)
        return self.kind(**values)

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name[:60], self.parameters, n=1)
        if near:
            return f"is not known here; did you mean {near[0]!r}?"
        return f"is not known here; known: {', '.join(self.parameters) or 'none'}"


def _value(parameter: Parameter, given: list[str]) -> Any:
    """Raises ValueError, which says what is wrong with what was given."""
    text = given[0]
    if len(given) > 1:
        raise ValueError("is given twice: keep one of the two")
    if not 1 <= len(text) <= _TEXT_MAX:
        raise ValueError(f"must have 1 to {_TEXT_MAX} characters")
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError("must be UTF-8 without NUL")
    value: object = text
    if parameter.is_list:
        value = text.split(",")
    elif parameter.is_number and text.isascii() and text.isdigit():
        value = int(text)
    try:
        return msgspec.convert(value, parameter.hint)
    except msgspec.ValidationError as error:
        raise ValueError(f"must be {described(parameter.hint)}, not {shown(text)}") from error


class NoQuery(msgspec.Struct, frozen=True):
    """Of routes that take no parameters."""


NOTHING: Final = QueryReader(NoQuery)


def read_number(name: str, text: str, least: int, most: int) -> int:
    """A header that is a number. Raises Problem."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(most)) and (
        least <= int(text) <= most
    ):  # fmt: skip
        return int(text)
    detail = f"must be a whole number from {least} to {most}, not {shown(text)}"
    raise bad_parameters([FieldError(name, detail)])

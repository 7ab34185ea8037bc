"""From a request's body to a typed value, or to all that is wrong with it, field by field.

The good way is one strict pass of msgspec, and a cheap second one that looks for names given
twice, of which msgspec would silently take the last. Only a body that fails is looked at slowly,
if it is small: whoever sends a large one must not hold up all others. What a body may cost is left
to costs.py, what the values mean to the routes.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    NamedTuple,
    NoReturn,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from aiohttp import web

from ygg.tasks import Json
from ygg.web.costs import Bound, Costs, is_cheap
from ygg.web.problems import ERRORS_MAX, FieldError, Kind, Problem, bad_fields, shown
from ygg.web.strictjson import check_halves, check_length, check_names, strict

S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")

#: Where msgspec says in its messages that it was: `$[3].labels[0]`; `[...]` is within an object.
_PLACE: Final = re.compile(r" - at `\$(.*)`$")
_STEP: Final = re.compile(r"\[(\d+)\]|\.(\w+)")
#: Of a larger body that is wrong only the first mistake is told, which msgspec finds by itself.
#: Twice what a description may have: one that is a little too long is still explained.
_EXPLAINED_BYTES: Final = 2 * 1024 * 1024
#: msgspec's words may hold a name as long as the body.
_MESSAGE_MOST: Final = 300

#: A larger body is read beside the event loop, where only its sender waits for it.
_LARGE_BYTES: Final = 256 * 1024
_ASIDE: Final = ThreadPoolExecutor(1, thread_name_prefix="ygg-bodies")


async def read_request(request: web.Request, read: Callable[[bytes], T]) -> T:
    """What a request's body says to its reader. Raises Problem.

    Millions of small objects, within the limit of bytes, take seconds to look through.
    """
    body = await request.read()
    if len(body) <= _LARGE_BYTES:
        return read(body)
    return await asyncio.get_running_loop().run_in_executor(_ASIDE, read, body)


class BodyReader(Generic[S]):
    """Reads bodies that are one object of a kind or, where `most` is given, an array of them."""

    def __init__(
        self,
        kind: type[S],
        *,
        most: int = 0,
        besides: dict[str, Any] | None = None,
        bounds: Mapping[str, Bound] | None = None,
    ) -> None:
        """As said.

        Args:
            kind: what an object has.
            most: how many may come in an array; 0: none does.
            besides: what the routes check that the type does not, as JSON Schema.
            bounds: how long fields of any value may be.
        """
        self.kind = kind
        self.most = most
        self.besides = besides or {}
        self._fields = get_type_hints(kind, include_extras=True)
        #: Of fields that are objects of one kind by name, what such an object has.
        self._inner = {name: found for name, h in self._fields.items() if (found := _inner_of(h))}
        several = Annotated[list[kind], msgspec.Meta(min_length=1, max_length=most)]  # type: ignore[valid-type]  # made at run time
        #: All that a body may be.
        self.whole: Any = kind | several if most else kind
        self._costs = Costs(kind, most=most, bounds=bounds or {})
        self._one = msgspec.json.Decoder(kind)
        self._either = msgspec.json.Decoder(self.whole) if most else None

    def one(self, body: bytes) -> S:
        """Raises Problem."""
        value: S = self._decode(self._one, body)
        return value

    def one_or_several(self, body: bytes) -> S | list[S]:
        """Raises Problem."""
        assert self._either is not None, f"{self.kind.__name__} never comes in arrays"
        value: S | list[S] = self._decode(self._either, body)
        return value

    def _decode(self, decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
        cheap = is_cheap(body)
        try:
            try:
                if not cheap:
                    self._costs.check(body)
                if self.most:
                    check_length(body, self.most)
                value = decoder.decode(body)
            except msgspec.ValidationError as error:
                self._explain(body, error)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if cheap:
                    check_halves(strict(body))  # both say it better, if they see it
                raise Problem(Kind.BAD_JSON, f"the body is not JSON: {error}") from error
            check_names(body)
        except RecursionError as error:
            detail = "the body is nested too deeply: flatten it"
            raise Problem(Kind.BAD_JSON, detail) from error
        return value

    # -- the slow way --------------------------------------------------------------------------

    def _explain(self, body: bytes, error: msgspec.ValidationError) -> NoReturn:
        """Say everything that is wrong; `error` has only the first."""
        errors: list[FieldError] = []
        if len(body) <= _EXPLAINED_BYTES:
            value = strict(body)
            check_halves(value)
            # One more than is told, so that it is known that there are more.
            errors = list(islice(self._errors(value), ERRORS_MAX + 1))
        if not errors:  # too large, or such as a number that only msgspec finds too large
            errors = [self._first_error(body, str(error))]
        raise bad_fields(errors) from error

    def _first_error(self, body: bytes, message: str) -> FieldError:
        """What msgspec's message says, in our words where it is of a field."""
        found = _PLACE.search(message)
        place = "" if found is None else found[1]
        pointer, steps = _pointer(place), _STEP.findall(place)
        item = int(steps.pop(0)[0]) if steps and steps[0][0] else 0
        name = steps.pop(0)[1] if steps else ""
        if name in self._fields and all(index for index, _ in steps):
            # Else it is such as a number that only msgspec finds too large.
            with suppress(msgspec.DecodeError):
                raw = self._costs.part(body, item, name)
                told = _told_raw(raw, "".join(f"[{index}]" for index, _ in steps))
                return FieldError(pointer, f"expected {described(self._fields[name])}, got {told}")
        what = _PLACE.sub("", message)
        what = what if len(what) <= _MESSAGE_MOST else what[:_MESSAGE_MOST] + "..."
        return FieldError(pointer, what)

    def _errors(self, value: Json) -> Iterator[FieldError]:
        if not isinstance(value, list) or not self.most:
            yield from self._errors_of_one(value, "")
        elif not value:
            yield FieldError("", f"expected 1 to {self.most} objects, got 0")
        else:
            for index, item in enumerate(value):
                yield from self._errors_of_one(item, f"/{index}")

    def _errors_of_one(self, value: Json, place: str) -> Iterator[FieldError]:
        if not isinstance(value, dict):
            array = f", or an array of 1 to {self.most}" if self.most and not place else ""
            yield FieldError(place, f"expected an object{array}, got {_told(value)}")
            return
        for name, given in value.items():
            pointer = f"{place}/{escaped(name)}"
            if name not in self._fields:
                yield FieldError(pointer, _unknown(name, list(self._fields)))
                continue
            yield from self._errors_of_field(name, given, pointer)

    def _errors_of_field(self, name: str, value: Json, place: str) -> Iterator[FieldError]:
        inner, is_told = self._inner.get(name), False
        if inner is not None and isinstance(value, dict):
            for key, item in value.items():
                for error in inner.errors(item, f"{place}/{escaped(key)}"):
                    is_told = True
                    yield error
        if not is_told:
            yield from _errors_of(self._fields[name], value, place)


class _Inner(NamedTuple):
    """What an object within a body has."""

    fields: dict[str, Any]
    required: frozenset[str]

    def errors(self, value: Json, place: str) -> Iterator[FieldError]:
        if not isinstance(value, dict):
            yield FieldError(place, f"expected an object, got {_told(value)}")
            return
        for name in self.fields:
            if name in self.required and name not in value:
                told = f"{name!r} is missing: {described(self.fields[name])}"
                yield FieldError(place, told)
        for name, given in value.items():
            pointer = f"{place}/{escaped(name)}"
            if name in self.fields:
                yield from _errors_of(self.fields[name], given, pointer)
            else:
                yield FieldError(pointer, _unknown(name, list(self.fields)))


def _inner_of(hint: Any) -> _Inner | None:
    """Of a mapping from names to objects of one kind, what these have."""
    hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    kind = get_args(hint)[1] if get_origin(hint) is dict else None
    if not isinstance(kind, type) or not issubclass(kind, msgspec.Struct):
        return None
    required = frozenset(field.name for field in msgspec.structs.fields(kind) if field.required)
    return _Inner(get_type_hints(kind, include_extras=True), required)


def _errors_of(hint: Any, value: Json, place: str) -> Iterator[FieldError]:
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        at = _PLACE.search(str(error))
        inner, part = ("", value) if at is None else (_pointer(at[1]), _part(value, at[1]))
        yield FieldError(place + inner, f"expected {described(hint)}, got {_told(part)}")


def text(*, least: int = 0, most: int, what: str = "a text") -> msgspec.Meta:
    """Of a field that is a text, and is looked through for NUL characters."""
    size = f"{least} to {most}" if least else f"at most {most}"
    return msgspec.Meta(
        min_length=least or None,
        max_length=most,
        description=f"{what} of {size} characters",
        extra_json_schema={"pattern": "^[^\\u0000]*$"},
    )


#: Of a field that is a time.
A_TIME: Final = msgspec.Meta(
    max_length=64,
    description="a time as 2026-11-24T18:00:00Z, a text",
    extra_json_schema={"format": "date-time"},
)


def given(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of an object that has a field, such that it counts."""
    return {"required": [name], "properties": {name: schema}}


def escaped(name: str) -> str:
    """A name as a step of an RFC 6901 pointer, cut if it is absurd."""
    name = name if len(name) <= 60 else name[:60] + "..."
    return name.replace("~", "~0").replace("/", "~1")


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name[:60], known, n=1)
    if near:
        return f"unknown field {shown(name)}; did you mean {near[0]!r}?"
    takes = f"known are {', '.join(known)}" if known else "none are known here"
    return f"unknown field {shown(name)}; {takes}"


def _pointer(place: str) -> str:
    return "".join(f"/{index or name}" for index, name in _STEP.findall(place))


def _part(value: Json, place: str) -> Json:
    """What stands at a place within a field; only arrays have such places."""
    for index, _ in _STEP.findall(place):
        if isinstance(value, list) and index:
            value = value[int(index)]
    return value


def _told(value: Json) -> str:
    """A value in a few words."""
    match value:
        case None | bool():
            return json.dumps(value)
        case str():
            return shown(value) if len(value) <= 60 else f"a text of {len(value)} characters"
        case int() | float():
            text = str(value)
            return text if len(text) <= 40 else f"a number of {len(text)} digits"
        case dict():
            return "an object"
        case _:
            return f"an array of {len(value)}"


def _told_raw(raw: bytes, place: str) -> str:
    """A field, or what stands at a place in it, in a few words. Of a large one no objects are made."""
    if len(raw) > _LARGE_BYTES and raw[:1] in b"[{":
        return "an array" if raw[:1] == b"[" else "an object"
    return _told(_part(msgspec.json.decode(raw), place))


def described(hint: Any) -> str:
    """The words that a field's type has for people (msgspec.Meta)."""
    for part in (hint, *get_args(hint)):
        for mark in getattr(part, "__metadata__", ()):
            if isinstance(mark, msgspec.Meta) and mark.description:
                return mark.description
    raise AssertionError(f"{hint} has no description")

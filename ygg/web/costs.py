"""What a body would cost to read, found out before objects are made of it.

The costly part of JSON is its small values: 16 MiB of `{"a":1},` take half a gigabyte as objects,
and are gone through twice. So a body that has very many of them is sketched first: msgspec finds
where its fields begin and end, and makes nothing of what stands between. A long text costs no more
than its bytes, whatever is in it. What a body may say is left to bodies.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from ygg.web.problems import FieldError, Problem, bad_fields

#: Values of one body, long texts not counted. As objects they take at most some 60 MB; that is a
#: value for 32 bytes in the largest body.
VALUES_MAX: Final = 500_000
#: Every value but the first of an object or array comes after a comma.
_MARKS: Final = (b",", b"{", b"[")
#: The most bytes that JSON takes for what ygg writes as one: a letter as \u0041.
_SLACK: Final = 6


class Bound(NamedTuple):
    """How many bytes of JSON a field may be, and what is said of one that is far longer."""

    most: int
    says: Callable[[int], str]


class _Count(threading.local):
    """Items of the array that this thread sketches."""

    items = 0


class Costs:
    """Looks at the bodies of one kind.

    Args:
        kind: what an object has.
        most: how many may come in an array; 0: none does.
        bounds: by name, of fields of any value.
    """

    def __init__(
        self, kind: type[msgspec.Struct], *, most: int, bounds: Mapping[str, Bound]
    ) -> None:
        self._bounds = bounds
        self._names = [field.encode_name for field in msgspec.structs.fields(kind)]
        self._count = count = _Count()

        def begin(_: object) -> None:
            count.items += 1
            if count.items > max(1, most):
                raise too_many(most)

        def decoder(*, forbid_unknown_fields: bool) -> msgspec.json.Decoder[Any]:
            one = msgspec.defstruct(
                f"{kind.__name__}Sketch",
                [(name, msgspec.Raw, msgspec.Raw()) for name in self._names],
                namespace={"__post_init__": begin},
                forbid_unknown_fields=forbid_unknown_fields,
            )
            return msgspec.json.Decoder(one | list[one] if most else one)  # type: ignore[valid-type]  # made at run time

        #: The length of an array is told before its fields are.
        self._sketched = decoder(forbid_unknown_fields=False)
        self._known = decoder(forbid_unknown_fields=True)

    def check(self, body: bytes) -> None:
        """Raises Problem, and what msgspec raises of a body that is not of the kind."""
        sketch = self._decode(self._sketched, body)
        several = isinstance(sketch, list)
        values, errors = _values(body), list[FieldError]()
        for index, item in enumerate(sketch if several else [sketch]):
            fields = {name: bytes(getattr(item, name)) for name in self._names}
            values -= sum(_values(raw) for raw in fields.values() if raw.startswith(b'"'))
            errors += self._errors(fields, f"/{index}" if several else "")
        if values > VALUES_MAX:
            if not errors:
                self._decode(self._known, body)  # says which field is unknown
            detail = f"holds more than {VALUES_MAX} values: send several smaller requests"
            raise bad_fields(errors or [FieldError("", detail)])

    def part(self, body: bytes, index: int, name: str) -> bytes:
        """A field of an item, or of the only object, as it came. Raises msgspec.DecodeError."""
        sketch = self._decode(self._sketched, body)
        return bytes(getattr(sketch[index] if isinstance(sketch, list) else sketch, name))

    def _decode(self, decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
        self._count.items = 0
        return decoder.decode(body)

    def _errors(self, fields: Mapping[str, bytes], place: str) -> Iterator[FieldError]:
        for name, bound in self._bounds.items():
            raw = fields[name]
            if len(raw) > bound.most * _SLACK:
                size = len(_without_blanks(raw))
                if size > bound.most * _SLACK:
                    yield FieldError(f"{place}/{name}", bound.says(size))


def is_cheap(body: bytes) -> bool:
    """Whether nothing that is made of it could be large: it need not be looked at."""
    return len(body) <= VALUES_MAX or _values(body) <= VALUES_MAX


def too_many(most: int) -> Problem:
    """An array has more items than `most`."""
    detail = f"expected 1 to {most} objects, got more: send several arrays"
    return bad_fields([FieldError("", detail)])


def _without_blanks(json: bytes) -> bytes:
    """Those between values count for nothing."""
    has_some = any(blank in json for blank in (b" ", b"\n", b"\r", b"\t"))
    return msgspec.json.format(json, indent=-1) if has_some else json


def _values(json: bytes) -> int:
    """At least as many as there are."""
    return sum(map(json.count, _MARKS))

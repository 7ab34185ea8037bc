"""What a submit may say, the checks of it, and its way to a `Draft`.

Limits here are about what people mean, not about what would break: a title is a line, not a book.
Whether a host will ever run it is the dispatcher's to say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from ygg.board import Board
from ygg.dispatcher import Unroutable
from ygg.fleet import TypeSettings
from ygg.routing import detect_type
from ygg.stores.base import KeyClash
from ygg.tasks import NORMAL_PRIORITY, Draft, Json, Lane, new_id
from ygg.web.bodies import A_TIME, BodyReader, escaped, given, text
from ygg.web.costs import Bound
from ygg.web.problems import FieldError, Kind, Problem, bad_fields
from ygg.wire import parse_rfc3339, read_time

#: Tasks that one submit may bring.
BATCH_MAX: Final = 1000
METADATA_BYTES_MAX: Final = 4096
OPTIONS_BYTES_MAX: Final = 65536
#: Objects and arrays within each other, in options and metadata.
DEPTH_MAX: Final = 32
KEY_CHARACTERS_MAX: Final = 200
_LABELS: Final = "an array of at most 32 texts of 1 to 100 characters"
#: A character takes at most four bytes; quotes and a comma come with each.
_LABELS_BYTES_MAX: Final = 32 * (100 * 4 + 3)
_TITLE_OF_LINE_MAX: Final = 200


def _meta(description: str, **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(description=description, **bounds)


class Submission(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A task as a client describes it. Null means the same as leaving a field out."""

    title: Annotated[str, text(most=500)] | None = None
    description: Annotated[str, text(most=1 << 20)] | None = None
    labels: (
        Annotated[
            tuple[Annotated[str, text(least=1, most=100)], ...],
            _meta(_LABELS, max_length=32),
        ]
        | None
    ) = None
    type: Annotated[str, text(least=1, most=100, what="a type's name, a text")] | None = None
    priority: (
        Annotated[int, _meta("an integer from 0 (critical) to 4 (backlog)", ge=0, le=4)] | None
    ) = None
    key: Annotated[str, text(least=1, most=KEY_CHARACTERS_MAX)] | None = None
    model: Annotated[str, text(most=200)] | None = None
    system: Annotated[str, text(most=1 << 17)] | None = None
    options: Annotated[dict[str, Any], _meta("an object")] | None = None
    timeout: (
        Annotated[float, _meta("seconds, over 0 and at most 604800 (7 days)", gt=0, le=604800)]
        | None
    ) = None
    not_before: Annotated[str, A_TIME] | None = None
    metadata: Annotated[Any, _meta("any JSON of at most 4096 bytes")] = None


def _too_long(most: int) -> Bound:
    return Bound(
        most,
        lambda size: f"takes {size} bytes as JSON, at most {most} are kept: make it shorter",
    )


_BOUNDS: Final = {
    "options": _too_long(OPTIONS_BYTES_MAX),
    "metadata": _too_long(METADATA_BYTES_MAX),
    "labels": Bound(_LABELS_BYTES_MAX, lambda size: f"expected {_LABELS}, got {size} bytes"),
}
_SAYS_SOMETHING: Final = {"type": "string", "pattern": "\\S"}
SUBMISSION: Final = BodyReader(
    Submission,
    most=BATCH_MAX,
    besides={"anyOf": [given("title", _SAYS_SOMETHING), given("description", _SAYS_SOMETHING)]},
    bounds=_BOUNDS,
)
_ENCODER: Final = msgspec.json.Encoder()
_SORTED_ENCODER: Final = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True, kw_only=True, slots=True)
class Submit:
    """One POST: a task, or several that are accepted all or none."""

    submissions: Sequence[Submission]
    #: It came as an array, and is answered as one.
    several: bool


def read_submit(body: bytes, key: str | None = None) -> Submit:
    """What a body asks for; `key` is the Idempotency-Key header. Raises Problem."""
    value = SUBMISSION.one_or_several(body)
    if isinstance(value, list):
        submit = Submit(submissions=value, several=True)
    else:
        submit = Submit(submissions=[value], several=False)
    errors = [
        error
        for index, submission in enumerate(submit.submissions)
        for error in _errors(submission, f"/{index}" if submit.several else "")
    ]
    if key is not None:
        errors += _key_errors(submit, key)
    if errors:
        raise bad_fields(errors)
    if key is not None:
        keyed = msgspec.structs.replace(submit.submissions[0], key=key)
        submit = Submit(submissions=[keyed], several=False)
    return submit


def _key_errors(submit: Submit, key: str) -> Iterator[FieldError]:
    if submit.several:
        yield FieldError("", "Idempotency-Key is for one task: give each of an array its `key`")
    elif submit.submissions[0].key not in (None, key):
        yield FieldError("/key", "differs from the Idempotency-Key header: send one of the two")
    if not (1 <= len(key) <= KEY_CHARACTERS_MAX and key.isascii() and key.isprintable()):
        detail = f"Idempotency-Key must be 1 to {KEY_CHARACTERS_MAX} printable ASCII characters"
        yield FieldError("", detail)


def _errors(submission: Submission, place: str) -> Iterator[FieldError]:
    """What the types could not check."""
    title, description = submission.title or "", submission.description or ""
    if not title.strip() and not description.strip():
        yield FieldError(place, "give it a `title`, a `description`, or both: both are empty")
    texts = {
        "title": title,
        "description": description,
        "type": submission.type or "",
        "key": submission.key or "",
        "model": submission.model or "",
        "system": submission.system or "",
    }
    for name, value in texts.items():
        if "\0" in value:
            yield FieldError(f"{place}/{name}", _NUL)
    for index, label in enumerate(submission.labels or ()):
        if "\0" in label:
            yield FieldError(f"{place}/labels/{index}", _NUL)
    if submission.not_before is not None:
        yield from _time_errors(submission.not_before, f"{place}/not_before")
    if submission.options:
        yield from _json_errors(submission.options, place, "options")
    if submission.metadata is not None:
        yield from _json_errors(submission.metadata, place, "metadata")


_NUL: Final = "has a NUL character (\\u0000), which no store keeps: leave it out"


def _time_errors(text: str, place: str) -> Iterator[FieldError]:
    try:
        read_time(text)
    except ValueError as error:
        yield FieldError(place, str(error))


def _json_errors(value: Json, place: str, name: str) -> Iterator[FieldError]:
    bound, place = _BOUNDS[name], f"{place}/{name}"
    encoded = _ENCODER.encode(value)
    if len(encoded) > bound.most:
        yield FieldError(place, bound.says(len(encoded)))
    # Nearly all values pass these two looks, which cost next to nothing.
    elif encoded.count(b"[") + encoded.count(b"{") > DEPTH_MAX or b"\\u0000" in encoded:
        yield from _walk(value, place, DEPTH_MAX)


def _walk(value: Json, place: str, depth: int) -> Iterator[FieldError]:
    if isinstance(value, str):
        if "\0" in value:
            yield FieldError(place, _NUL)
    elif isinstance(value, Mapping | list):
        if depth == 0:
            yield FieldError(place, f"is nested more than {DEPTH_MAX} deep: flatten it")
            return
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, item in pairs:
            inner = f"{place}/{escaped(str(name))}"
            if "\0" in str(name):
                yield FieldError(inner, _NUL)
            yield from _walk(item, inner, depth - 1)


def make_draft(
    submission: Submission,
    *,
    types: Mapping[str, TypeSettings],
    now: float,
    random_bits: Callable[[int], int],
    submitter: str = "",
) -> Draft:
    """A task of a checked submission, with an id of its own; its created_at is given later."""
    description = submission.description or ""
    title = submission.title or ""
    if not title.strip():
        title = description.strip().splitlines()[0].rstrip()[:_TITLE_OF_LINE_MAX]
    labels = submission.labels or ()
    return Draft(
        id=new_id(now, random_bits(40)),
        title=title,
        description=description,
        labels=labels,
        type=submission.type or detect_type(labels, title, types),
        priority=NORMAL_PRIORITY if submission.priority is None else submission.priority,
        created_at=now,
        key=submission.key,
        submitter=submitter,
        # Without a key nobody ever asks for it.
        body_digest="" if submission.key is None else digest(submission),
        model=submission.model or "",
        system=submission.system,
        options=submission.options or {},
        timeout=submission.timeout,
        not_before=None if submission.not_before is None else parse_rfc3339(submission.not_before),
        metadata=submission.metadata,
    )


def digest(submission: Submission) -> str:
    """The same for every way of writing the same submission, whatever its key.

    Fields left out are not in it: a field that a later version adds changes no digest.
    """
    given = {
        name: value
        for name, value in msgspec.structs.asdict(submission).items()
        if value is not None and name != "key"
    }
    return hashlib.sha256(_SORTED_ENCODER.encode(given)).hexdigest()


def refusal(
    error: Unroutable | KeyClash, drafts: Sequence[Draft], board: Board, *, several: bool
) -> Problem:
    """What the dispatcher would not take, with the field that is in the way."""
    if isinstance(error, KeyClash):
        return _key_clash(error, [draft.id for draft in drafts], several=several)
    for index, draft in enumerate(drafts):
        if not board.options_of(Lane(draft.type, draft.model)):
            field = "model" if board.routes.get(draft.type) else "type"
            place = _place(index, field, several=several)
            return Problem(Kind.UNROUTABLE, str(error), errors=[FieldError(place, str(error))])
    raise error  # hosts.yaml was reloaded in between


def _key_clash(error: KeyClash, ids: Sequence[str], *, several: bool) -> Problem:
    clashing = ids.index(error.draft_id)
    detail = str(error)
    if error.task_id in ids[:clashing]:  # none of the array is kept: its id would lead nowhere
        first = ids.index(error.task_id)
        detail = (
            f"items {first} and {clashing} of the array have the key {error.key!r} and differ: "
            "give each task a key of its own"
        )
    place = _place(clashing, "key", several=several)
    return Problem(Kind.KEY_CLASH, detail, errors=[FieldError(place, detail)])


def _place(index: int, field: str, *, several: bool) -> str:
    return f"/{index}/{field}" if several else f"/{field}"

"""Cuts a long row of tasks into the bodies of submits: never more than one in memory."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from ygg.client.finite import no_json

T = TypeVar("T")

#: Tasks of one submit: the most that the interface takes.
BATCH_TASKS: Final = 1000
#: Bytes of one submit; half of what the interface takes. A single task may have more.
BATCH_BYTES: Final = 8 * 1024 * 1024
#: As good as no key at all. Any other value that is none is the dispatcher's to refuse.
NO_KEYS: Final = (None, "")


async def in_batches(
    tasks: Iterable[Mapping[str, object]] | AsyncIterable[Mapping[str, object]], key_prefix: str
) -> AsyncIterator[bytes]:
    """JSON arrays. A task without a key gets one: the prefix, and its place in the row.

    Raises ValueError for a value that JSON has no word for.
    """
    encoder = msgspec.json.Encoder()
    batch, size, number = list[bytes](), 0, 0
    async for task in _each(tasks):
        number += 1
        check_values(task)
        keyed = {**task, "key": f"{key_prefix}-{number}"} if task.get("key") in NO_KEYS else task
        encoded = encoder.encode(keyed)
        if batch and (len(batch) >= BATCH_TASKS or size + len(encoded) > BATCH_BYTES):
            yield _array(batch)
            batch, size = [], 0
        batch.append(encoded)
        size += len(encoded)
    if batch:
        yield _array(batch)


def check_values(task: Mapping[str, object]) -> None:
    """Raises ValueError, naming the field."""
    for name, value in task.items():
        if (wrong := no_json(value)) is not None:
            raise ValueError(f"{name}: {wrong} is no value in JSON")


def _array(items: list[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


async def _each(values: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(values, AsyncIterable):
        async for value in values:
            yield value
    else:
        for value in values:
            yield value

"""Every decision with its reason and its evidence, one JSON object a line.

A record holds all that the rule saw, so that it can be asked again with other settings. Pure; the
files are recorder.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Final

import msgspec

from autoscaler.observed import Signals
from autoscaler.policy import Action, Reason
from ygg.tasks import Json

#: The dispatcher's word for a limit that it took over.
RESIZED: Final = "resized"


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    #: Seconds since the epoch.
    at: float
    #: Which start of the autoscaler: what the rule remembers begins anew with each.
    run: str
    host: str
    #: The limit there was, and the one that should be.
    limit: int
    wanted: int
    action: Action
    reason: Reason
    #: What the dispatcher made of it, in a word: resized, unchanged, ...; `unreached` and `standby`
    #: are ours.
    effect: str
    detail: str = ""
    dry_run: bool = False
    #: What the rule gave as its reasons, in numbers.
    evidence: Mapping[str, float | int | bool | str | None] = {}
    signals: Signals

    @property
    def limit_after(self) -> int:
        """The limit once it was reported."""
        return self.wanted if self.effect == RESIZED else self.limit


#: What of the signals is as it mostly is need not be written; an age that is infinite is one.
_USUAL: Final = {f.name: f.default for f in fields(Signals) if f.default is not MISSING}
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Record)


def encoded(record: Record) -> bytes:
    """A line, with its end."""
    return _ENCODER.encode(as_plain(record)) + b"\n"


def as_plain(record: Record) -> dict[str, Json]:
    """As it is in its line."""
    plain: dict[str, Json] = msgspec.to_builtins(record)
    plain["signals"] = {
        name: value
        for name, value in msgspec.to_builtins(record.signals).items()
        if name not in _USUAL or getattr(record.signals, name) != _USUAL[name]
    }
    return plain


def decoded(
    lines: Iterable[bytes], host: str | None = None, odd: Callable[[int, str], None] | None = None
) -> Iterator[Record]:
    """The records of the lines, of one host if that is said.

    A line that is none is left out: a crash may have cut it off. `odd` is told of it, with its
    number and what is wrong, unless it has no end: then it is just being written, or it is the only
    one there is.
    """
    named = b"" if host is None else b'"host":' + _ENCODER.encode(host)
    for number, line in enumerate(lines, 1):
        is_whole = line[:1] == b"{" and line.endswith(b"}\n")
        if is_whole and named not in line:
            continue  # another host's; to look into it would take ten times as long
        try:
            record = _DECODER.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            if odd is not None and (number == 1 or line.endswith(b"\n")):
                odd(number, str(error))
            continue
        if host is None or record.host == host:
            yield record

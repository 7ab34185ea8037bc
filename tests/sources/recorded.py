"""The calls of `bd` 1.0.3 that were recorded, in their order."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

RECORDING: Final = Path(__file__).parent.parent / "data" / "beads" / "bd-1.0.3.jsonl"


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    note: str
    actor: str
    argv: list[str]
    rc: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def words(self) -> str:
        return " ".join(self.argv[1:])


def recorded() -> list[Recorded]:
    return msgspec.json.decode(
        b"[" + b",".join(RECORDING.read_bytes().splitlines()) + b"]", type=list[Recorded]
    )

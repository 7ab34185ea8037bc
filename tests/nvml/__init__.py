"""NVIDIA's library as a stand-in, compiled here: pynvml itself is the real one."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("standin.c")

#: A card of 8 GB at work.
CARD: Mapping[str, object] = {
    "count": 1,
    "0.name": "NVIDIA Test 8GB",
    "0.uuid": "GPU-00000000-1111-2222-3333-444444444444",
    "0.util": 40,
    "0.memory_total": 8_000_000_000,
    "0.memory_used": 6_000_000_000,
    "0.temperature": 61,
    "0.power": 141_500,
    "0.power_limit": 200_000,
    "0.clock_sm": 1800,
    "0.clock_memory": 7000,
    "0.throttle": 0x4,
    "0.process_pid": 4711,
    "0.process_memory": 5_000_000_000,
    "0.samples": "10,20,30",
}


@cache
def library(folder: Path) -> Path:
    """The folder with `libnvidia-ml.so.1`, for LD_LIBRARY_PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "libnvidia-ml.so.1"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(target), str(SOURCE)],
        check=True,
    )
    return folder


class StandIn:
    """Steers the stand-in of one process through its file."""

    def __init__(self, file: Path, **changes: object) -> None:
        self.file = file
        self._values: dict[str, object] = dict(CARD)
        self.set(changes)

    def set(self, changes: Mapping[str, object]) -> None:
        """None takes a key away. A write and a rename: a call sees all of it or nothing."""
        self._values = {k: v for k, v in {**self._values, **changes}.items() if v is not None}
        text = "".join(f"{key}={value}\n" for key, value in self._values.items())
        temporary = self.file.with_suffix(".tmp")
        temporary.write_text(text)
        temporary.rename(self.file)

    def environment(self, folder: Path) -> dict[str, str]:
        return {"LD_LIBRARY_PATH": str(library(folder)), "NVML_STANDIN": str(self.file)}

"""What a process has used so far, out of /proc. Elsewhere than on Linux nothing is known."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SWITCHES: Final = re.compile(r"^(?:non)?voluntary_ctxt_switches:\s+([0-9]+)$", re.MULTILINE)
_PEAK: Final = re.compile(r"^VmHWM:\s+([0-9]+) kB$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    #: User's and system's, of all threads, those that ended too.
    cpu_seconds: float
    #: Of the threads that live.
    context_switches: int
    #: The most memory it ever had resident.
    memory_bytes: int


def usage_of(pid: int, proc: Path = Path("/proc")) -> Usage | None:
    """None: it is not to be had here."""
    try:
        stat = (proc / str(pid) / "stat").read_text()
        status = (proc / str(pid) / "status").read_text()
        threads = [
            (thread / "status").read_text() for thread in (proc / str(pid) / "task").iterdir()
        ]
    except OSError:
        return None
    # The program's name stands in brackets and may hold anything.
    fields = stat.rpartition(")")[2].split()
    peak = _PEAK.search(status)
    return Usage(
        cpu_seconds=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        context_switches=sum(int(n) for text in threads for n in _SWITCHES.findall(text)),
        memory_bytes=int(peak[1]) * 1024 if peak else 0,
    )

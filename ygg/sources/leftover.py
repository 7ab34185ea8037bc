"""A call of `bd` that outlived the dispatcher that made it: the next one ends it before it begins.

A dispatcher that is killed ends nothing that it started. Its last call may wait for a lock, and
tell then what the next dispatcher, which could not see it in the issue, has told meanwhile. So each
call that writes is noted in a file for as long as it runs. Linux only: elsewhere nothing is ended.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

#: Death by SIGKILL is at once, except for a process inside a hung driver or file system.
_KILL_SECONDS: Final = 10.0
#: Of /proc/PID/stat behind the name, which ends with the last parenthesis: when it began.
_BEGAN: Final = 19


def note(file: Path, pid: int) -> None:
    """A call runs, as the leader of a group of its own."""
    began = _began(pid)
    if began is None:
        return  # it has ended, or this is no Linux
    try:
        file.write_text(f"{pid} {began}\n")
    except OSError as error:
        logger.warning("event=call_not_noted file=%s why=%r", file, error.strerror)


def forget(file: Path) -> None:
    """It has ended."""
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("event=call_not_forgotten file=%s why=%r", file, error.strerror)


def end(file: Path) -> bool:
    """End what is noted, if it runs still. Whether anything did.

    Only for whoever is the project's one dispatcher: another one's call is not left over.
    """
    try:
        words = file.read_text().split()
    except (OSError, UnicodeDecodeError):
        return False  # as a rule: no call was under way
    ended = len(words) == 2 and words[0].isdecimal() and _ended(int(words[0]), words[1])
    forget(file)
    return ended


def _ended(pid: int, began: str) -> bool:
    if sys.platform != "linux":
        return False
    try:
        process = os.pidfd_open(pid)
    except (OSError, OverflowError):
        return False  # it is gone
    try:
        # Asked once it is held: its number may be another process's by now.
        if _began(pid) != began:
            return False
        os.killpg(pid, signal.SIGKILL)
        gone, _, _ = select.select([process], [], [], _KILL_SECONDS)
    except ProcessLookupError:
        return False
    except PermissionError:
        gone = []
    finally:
        os.close(process)
    if gone:
        logger.info("event=leftover_ended pid=%d", pid)
    else:
        logger.error(
            "event=leftover_not_ended pid=%d hint='it may tell twice; end it by hand'", pid
        )
    return bool(gone)


def _began(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; None: nobody can tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[_BEGAN]

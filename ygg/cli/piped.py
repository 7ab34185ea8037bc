"""Standard input of `ygg submit`: read where it was asked for, told of where it was not.

Beside a title it is not read: in a `while read` loop it is the loop's, and would be gone after the
first task.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from typing import Final, TextIO

from ygg.cli.base import Wrong, interruptible

#: Of a prompt; one that does not end must not be held whole.
_BYTES: Final = 16 * 1024 * 1024


def standard_input() -> str:
    """All of it, however long it takes to come. Raises Wrong."""
    with interruptible():
        read = sys.stdin.buffer.read(_BYTES + 1)
    if len(read) > _BYTES:
        raise Wrong(f"standard input has more than {_BYTES} bytes, which no dispatcher takes; "
                    "no task was accepted")  # fmt: skip
    try:
        return read.decode()
    except UnicodeDecodeError as error:
        raise Wrong(f"standard input is no text in UTF-8 (byte {error.start + 1}: {error.reason}); "
                    "no task was accepted") from error  # fmt: skip


def was_left_alone(stream: TextIO) -> bool:
    """Whether something to read is in it: a pipe's, or a file of which nothing was read."""
    fd = stream.fileno()
    mode = os.fstat(fd)
    if stat.S_ISREG(mode.st_mode):
        # Who is in the middle of it goes on with the rest: a loop, a shell with its script.
        return mode.st_size > 0 and os.lseek(fd, 0, os.SEEK_CUR) == 0
    if not stat.S_ISFIFO(mode.st_mode):
        return False
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    # At its end a pipe that holds nothing hangs up without having anything to read.
    return any(event & select.POLLIN for _, event in poll.poll(0))

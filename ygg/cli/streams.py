"""How a command ends, whatever becomes of its streams: each exit code, and one line that says why.

For every program of ygg's; what they do, and how each names itself, is left to them.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ygg.cli.base import DONE, FAILED, INTERRUPTED, WRONG_USE, Wrong

#: What writing to a file that takes no more fails with.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

#: Says in one line what is wrong; returns the exit code.
Fail = Callable[[str, int], int]


def carried_out(run: Callable[[], int], fail: Fail) -> int:
    """The exit code of a command."""
    # start.py left it to the system, which ends the program; who started it may ignore it.
    heard = signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    try:
        if heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = run()
        sys.stdout.flush()  # here, where it is known what to say if it fails
    except Wrong as error:
        return fail(str(error), WRONG_USE)
    except BrokenPipeError:  # the reader went away, as `| head` does
        _drop_output()
        return DONE
    except OSError as error:
        if error.errno not in _FULL or error.filename is not None:
            raise
        _drop_output()
        return fail(f"the output can't be written: {error.strerror}", FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        if heard:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    return code


def no_text(given: Sequence[str]) -> str | None:
    """What is wrong with arguments that can't be read; None: they can."""
    for number, text in enumerate(given, 1):
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            return f"argument {number} is no text in UTF-8: {text!r}"
    return None


def open_streams() -> None:
    """Who closes a stream (`ygg ... >&-`) wants nothing of it; Python has None there then.

    Left closed, its number would go to the next file, and that file get what is printed.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - until the end


def _drop_output() -> None:
    """What is still to be written goes nowhere: at its end Python would try once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)

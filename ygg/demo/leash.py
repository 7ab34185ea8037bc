"""A process that ends when the one that started it does, however that one died.

A demo killed with `kill -9` can clean up nothing. So its children ask the kernel, which always
can. Linux only: elsewhere the leash does nothing.

`python -m ygg.demo.leash PID -m some.module ...` runs a Python program that knows nothing of it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

#: linux/prctl.h. The setting survives exec. The signal comes when the *thread* that started us
#: ends: start leashed children from the main thread.
_PR_SET_PDEATHSIG: Final = 1


def end_with(parent: int) -> None:
    """From now on SIGTERM comes when `parent` dies; leave at once if it already has."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel refused PR_SET_PDEATHSIG")
    # Asked after the setting: a parent that died between the two is noticed here.
    if os.getppid() != parent:
        sys.exit(f"process {parent}, which started this one, is gone: nothing to do")


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])  # noqa: S606 - no shell: the point

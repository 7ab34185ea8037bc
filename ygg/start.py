"""Where `ygg` begins: Ctrl-C ends it without a word also while the rest is still being imported.

What a command does about Ctrl-C comes with the command line itself, which is left to `ygg.cli`.
"""

from __future__ import annotations

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    from ygg.cli import main as carry_out  # after the line above

    return carry_out()


if __name__ == "__main__":
    sys.exit(main())

"""So that `python ygg.py loop --async` works in a checkout."""

import sys

from ygg.cli import main

if __name__ == "__main__":
    sys.exit(main())

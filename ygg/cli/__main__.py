"""`python -m ygg.cli` is `ygg`."""

import sys

from ygg.cli import main

sys.exit(main())

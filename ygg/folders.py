"""Folders and files that ygg makes, closed to this machine's other users: they hold prompts.

Whoever needs a folder first makes it and all that is missing above it. What was there before
stays as it is: its owner may mean it so.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o640
FOLDER_MODE: Final = 0o750


def make_folder(path: Path) -> None:
    """A folder of ours, and those above it, where they are not there yet. Raises OSError."""
    try:
        path.mkdir(mode=FOLDER_MODE)
    except FileNotFoundError:
        if path.parent == path:
            raise
        make_folder(path.parent)
        make_folder(path)
    except OSError:
        # Some systems refuse before they see that it is there: on a disk that takes no writes.
        if not path.is_dir():
            raise


def make_file(path: Path) -> None:
    """An empty file of ours, unless something stands there already. Raises OSError."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    except FileExistsError:
        return
    os.close(file)

"""One version, wherever it is written."""

from __future__ import annotations

import tomllib
from pathlib import Path

from ygg.version import VERSION

ROOT = Path(__file__).parents[1]


def test_the_package_says_what_pyproject_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


def test_ygg_py_only_leads_to_the_command_line() -> None:
    """It has the package's name, so the type checker leaves it out: it must stay this small."""
    lines = (ROOT / "ygg.py").read_text().splitlines()
    code = [line for line in lines if line and not line.startswith('"""')]
    assert code == [
        "import sys",
        "from ygg.cli import main",
        'if __name__ == "__main__":',
        "    sys.exit(main())",
    ]

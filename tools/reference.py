"""`make docs`: write the reference pages and the dashboards anew. `--check` only says which of them are out of date."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tools import (
    commands_page,
    hosts_page,
    http_page,
    json_page,
    metrics_page,
    troubleshooting_page,
)
from tools.dashboards import host, overview, parts

ROOT: Final = Path(__file__).parents[1]
#: Every file with something generated in it, with what makes it anew out of what it is.
PAGES: Final[Mapping[str, Callable[[str], str]]] = {
    "docs/hosts-yaml.md": lambda _: hosts_page.page(),
    "docs/command-line.md": lambda _: commands_page.page(),
    "docs/json.md": lambda _: json_page.page(),
    "docs/http.md": http_page.page,
    "docs/metrics.md": lambda _: metrics_page.page(),
    "docs/troubleshooting.md": troubleshooting_page.page,
    "grafana/dashboards/overview.json": lambda _: parts.as_file(overview.DASHBOARD),
    "grafana/dashboards/host.json": lambda _: parts.as_file(host.DASHBOARD),
}


def stale(root: Path = ROOT) -> list[str]:
    """The pages that are not what their generator makes."""
    return [name for name, page in PAGES.items() if (text := _read(root / name)) != page(text)]


def _read(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args(argv)
    # They show in the command line's help as defaults.
    for name in [name for name in os.environ if name.startswith("YGG_")]:
        del os.environ[name]
    old = stale()
    for name in old:
        print(f"{name} is out of date: `make docs`" if args.check else f"{name} written")
        if not args.check:
            (ROOT / name).write_text(PAGES[name](_read(ROOT / name)), "utf-8")
    return 1 if args.check and old else 0


if __name__ == "__main__":
    sys.exit(main())

"""`ygg compare`: both dispatchers on one workload: a table, and a picture."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from ygg.cli.base import DONE, FAILED, Commands, Wrong, duration, fail, print_json, width


def register(commands: Commands) -> None:
    compare = commands.add(
        "compare", _compare, "run one workload through the legacy dispatcher and the real one",
        """
        ygg compare --output compare.png           # simulated servers: a minute and a half
        ygg compare --servers demo                 # real models on this machine's CPU
        ygg compare --workload monday.jsonl --json
        """, commands.json,
    )  # fmt: skip
    compare.add_argument(
        "--servers", choices=["simulated", "demo"], default="simulated",
        help="what answers: simulated servers of a stated speed, or the demo's real models "
        "(default %(default)s)",
    )  # fmt: skip
    compare.add_argument(
        "--workload", type=Path, metavar="FILE",
        help="a task a line, with the second of its arrival (default: the one that comes with ygg)",
    )  # fmt: skip
    compare.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="draw the slots as .png or .svg"
    )
    compare.add_argument(
        "--state", type=Path, metavar="DIR",
        help="a new folder to keep both stores and logs in (default: a temporary one)",
    )  # fmt: skip
    compare.add_argument(
        "--timeout", type=duration, default=900.0, metavar="TIME",
        help="how long each dispatcher may take (default 15m)",
    )  # fmt: skip


def _compare(args: argparse.Namespace) -> int:
    from ygg.compare import fleet, picture, report
    from ygg.compare.run import compare
    from ygg.compare.workload import BadWorkload, read_workload
    from ygg.demo.children import DemoFailed
    from ygg.demo.server import Missing
    from ygg.stores.base import StoreError

    _check_output(args.output, picture.KINDS)
    drawable = picture.is_possible()
    if args.output is not None and not drawable:
        # Told before the minute that it takes; the table is worth having all the same.
        fail(f"{args.output} will not be drawn: it needs matplotlib: {picture.WAY_OUT}", FAILED)
    try:
        items = read_workload(args.workload)
    except BadWorkload as error:
        raise Wrong(str(error)) from None
    servers = fleet.BY_NAME[args.servers]
    # SIGTERM as Ctrl-C: everything that was started is ended, in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        servers.require()
        with _folder(args.state) as folder, _log_shown(), _progress(len(items)) as heard:
            compared = compare(
                items, servers, folder, timeout=args.timeout, heard=heard,
                workload="the workload of ygg" if args.workload is None else str(args.workload),
            )  # fmt: skip
    except (DemoFailed, Missing, StoreError, OSError) as error:
        return fail(str(error), FAILED)
    if args.json:
        print_json(report.as_json(compared))
    else:
        print("\n".join(report.lines(compared, width=width())))
        if args.output is None:
            first = "" if drawable else f"{picture.WAY_OUT}, then "
            print(f"\nAs a picture: {first}ygg compare --output compare.png")
    if args.output is not None and drawable:
        try:
            picture.draw(compared, args.output)
        except OSError as error:
            return fail(f"{args.output} can't be written: {error.strerror}", FAILED)
        print(f"The picture: {args.output}", file=sys.stderr)
    is_whole = drawable or args.output is None
    return DONE if is_whole and not compared.problems() else FAILED


def _check_output(output: Path | None, kinds: Sequence[str]) -> None:
    """Raises Wrong: better now than after a minute's work."""
    if output is None:
        return
    if output.suffix not in kinds:
        raise Wrong(f"{output}: pictures are {' or '.join(kinds)}: name it compare{kinds[0]}")
    if not output.absolute().parent.is_dir():
        raise Wrong(f"{output}: there is no folder {output.parent}: make it, or name another")


@contextmanager
def _folder(state: Path | None) -> Iterator[Path]:
    """The folder of stores and logs. Raises Wrong, OSError."""
    import tempfile

    if state is None:
        with tempfile.TemporaryDirectory(prefix="ygg-compare-") as folder:
            yield Path(folder)
        return
    state.mkdir(parents=True, exist_ok=True)
    if any(state.iterdir()):
        raise Wrong(f"{state}: is not empty, and what is in it stays: name a new folder")
    yield state.resolve()


@contextmanager
def _log_shown() -> Iterator[None]:
    """Show the end of the log that a failure names, while its folder is there."""
    from ygg.demo.children import DemoFailed, tail

    try:
        yield
    except DemoFailed as error:
        if error.log is not None:
            print(f"the last lines of {error.log}:\n{tail(error.log)}", file=sys.stderr)
        raise


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str, int], None]]:
    """A bar for each dispatcher, or a line where nobody watches."""
    from tqdm import tqdm

    bars: dict[str, tqdm[NoReturn]] = {}

    def heard(name: str, ended: int) -> None:
        bar = bars.get(name)
        if bar is None:
            if not sys.stderr.isatty():
                print(f"{name}: {total} tasks ...", file=sys.stderr, flush=True)
            bar = bars[name] = tqdm(
                desc=f"{name:<7}", total=total, unit="task", dynamic_ncols=True,
                disable=not sys.stderr.isatty(),
            )  # fmt: skip
        bar.update(ended - bar.n)

    try:
        yield heard
    finally:
        for bar in bars.values():
            bar.close()

"""`ygg loop --async` and `ygg serve`: the daemon. `ygg loop` alone: the legacy one, to compare."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ygg.cli.base import FAILED, WRONG_USE, Commands, Wrong, fail

if TYPE_CHECKING:  # the command line is to be there at once
    from ygg.fleet import Fleet
    from ygg.inside import Beside

#: What the legacy dispatcher says when it starts.
LEGACY: Final = (
    "ygg: this is the legacy dispatcher, kept to compare: three threads, one task each, first come, "
    "first served, no priorities. The real one: `ygg loop --async`. Both in numbers: `ygg compare`"
)


def register(commands: Commands) -> None:
    for name, help_, example in (
        (
            "loop", "run the dispatcher", """
            ygg loop --async
            ygg loop --async --hosts fleet.yaml --state state
            ygg loop                                   # the legacy threads, to compare
            """,
        ),
        (
            "serve", "run the dispatcher, as `ygg loop --async` does", """
            ygg serve
            ygg serve --autoscale
            ygg serve --listen 127.0.0.1:8765 --listen unix:/run/ygg/ygg.sock
            """,
        ),
    ):  # fmt: skip
        serving = commands.add(
            name, _loop, help_, example,
            commands.files, commands.stored,
        )  # fmt: skip
        serving.add_argument(
            "--async", dest="use_async", action="store_true", default=name == "serve",
            help="priorities and slots (what `ygg serve` always does); without it three legacy threads, to compare",
        )  # fmt: skip
        serving.add_argument(
            "--listen", metavar="HOST:PORT", action="append",
            help="or unix:PATH; may be given several times (YGG_LISTEN)",
        )  # fmt: skip
        serving.add_argument(
            "--autoscale", action="store_true",
            help="let limits tune themselves, as `ygg-autoscaler` does beside it",
        )  # fmt: skip
        serving.add_argument(
            "--beads", metavar="PATH",
            help="feed from this Beads project (default: `beads: {path: ...}` in hosts.yaml, else "
            "BEADS_DIR, else the .beads found upwards from here)",
        )  # fmt: skip
        serving.add_argument(
            "--no-beads", action="store_true", help="feed from none, whatever there is"
        )
        serving.add_argument("--verbose", action="store_true", help="log more")


def _loop(args: argparse.Namespace) -> int:
    from ygg.addresses import parse_address
    from ygg.daemon import CantStart, Options, serve
    from ygg.hostsfile import HostsFileError
    from ygg.places import NoHostsFile
    from ygg.sources.where import Wanted
    from ygg.stores.base import StoreUnusable

    try:
        listen = tuple(str(parse_address(text)) for text in args.listen or ())
    except ValueError as error:
        raise Wrong(f"--listen: {error}") from error
    if args.autoscale and not args.use_async:
        raise Wrong(
            "--autoscale needs --async: the legacy threads have no limits that could be set"
        )
    if args.beads is not None and args.no_beads:
        raise Wrong("--beads and --no-beads contradict each other: leave one of them out")
    beside = _autoscaler() if args.autoscale else None
    options = Options(
        hosts=args.hosts, listen=listen, store=args.store, state=args.state,
        verbose=args.verbose, legacy=not args.use_async, beside=beside,
        beads=Wanted(path=args.beads, off=args.no_beads),
    )  # fmt: skip
    if options.legacy:
        print(LEGACY, file=sys.stderr, flush=True)
    try:
        return serve(options)
    except HostsFileError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return WRONG_USE
    except NoHostsFile as error:
        return fail(str(error), WRONG_USE)
    except (CantStart, StoreUnusable) as error:
        return fail(str(error), FAILED)


def _autoscaler() -> Callable[[Fleet], Beside]:
    """Raises Wrong when it is called with settings that contradict."""
    from autoscaler.settings import SettingsError
    from ygg.beside import autoscale

    def make(fleet: Fleet) -> Beside:
        try:
            return autoscale(fleet)
        except SettingsError as error:
            raise Wrong(f"{fleet.file}: {error}") from error

    return make

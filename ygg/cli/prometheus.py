"""`ygg prometheus`: what Prometheus must know of the fleet, so that hosts.yaml says it once."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ygg import printing
from ygg.cli.base import DONE, FAILED, WRONG_USE, Commands, Wrong, fail, say

if TYPE_CHECKING:
    from ygg.fleet import Fleet

#: Prometheus is another user, and nothing in the file is a secret.
_MODE = 0o644


def register(commands: Commands) -> None:
    prometheus = commands.add(
        "prometheus", _targets, "write what Prometheus is to scrape, out of hosts.yaml",
        """
        ygg prometheus targets
        ygg prometheus targets --output /etc/prometheus/targets/ygg.json
        ygg prometheus targets --no-autoscaler        # with ygg serve --autoscale
        ygg prometheus targets --dispatcher tower:8765 -o ygg.json
        """, commands.files,
    )  # fmt: skip
    prometheus.description = (
        "Write the dispatcher, the autoscaler and the GPU exporter of every host as targets for "
        "file_sd_configs of Prometheus. Each exporter has its host's name as the label `host`. A "
        "file that says the same already is left alone; another is replaced as a whole."
    )
    prometheus.add_argument("what", choices=["targets"], help="targets: where each part is")
    prometheus.add_argument(
        "-o", "--output", default="-", metavar="FILE",
        help="where to; its folder must be there; - prints (default: %(default)s)",
    )  # fmt: skip
    prometheus.add_argument(
        "--dispatcher", metavar="HOST:PORT", type=_address,
        help="where Prometheus reaches it (default: where hosts.yaml says that it listens)",
    )  # fmt: skip
    one = prometheus.add_mutually_exclusive_group()
    one.add_argument(
        "--autoscaler", metavar="HOST:PORT", type=_address, help="the same of ygg-autoscaler"
    )
    one.add_argument(
        "--no-autoscaler", action="store_true",
        help="there is none, or it runs within the dispatcher (ygg serve --autoscale)",
    )  # fmt: skip


def _targets(args: argparse.Namespace) -> int:
    from ygg.hostsfile import HostsFileError, HostsFileUnreadable, read_fleet
    from ygg.places import NoHostsFile, find_hosts_file
    from ygg.targets import EXPORTER_JOB, NoTarget, as_file, targets_of

    try:
        fleet = read_fleet(find_hosts_file(args.hosts, os.environ, Path.cwd()))
        targets = targets_of(
            fleet, dispatcher=args.dispatcher, autoscaler=args.autoscaler,
            with_autoscaler=not args.no_autoscaler,
        )  # fmt: skip
    except NoHostsFile as error:
        return fail(str(error), WRONG_USE)
    except HostsFileError as error:
        for problem in error.problems:
            print(printing.clean(problem), file=sys.stderr)
        return WRONG_USE if isinstance(error, HostsFileUnreadable) else FAILED
    except NoTarget as error:
        return fail(str(error), WRONG_USE)
    text = as_file(targets)
    if args.output == "-":
        print(text, end="")
    elif _written(Path(args.output), text):
        exporters = sum(one.labels["job"] == EXPORTER_JOB for one in targets)
        say(f"{args.output} written: {len(targets)} targets, {exporters} of them GPU exporters")
    else:
        say(f"{args.output} says so already")
    for name in _unseen(fleet):
        say(f"{name} has no GPU exporter: hosts.yaml says so (gpu)")
    return DONE


def _unseen(fleet: Fleet) -> list[str]:
    """Hosts whose cards Prometheus will know nothing of."""
    return [h.name for h in fleet.hosts.values() if fleet.hosts[h.semaphore].exporter is None]


def _written(path: Path, text: str) -> bool:
    """Whether it had to be written. Prometheus watches it, and must never see half of it.

    Raises Wrong.
    """
    # Prometheus takes *.json for another file of targets: the new one must not match.
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        if path.is_file() and path.read_bytes() == text.encode():
            return False
        try:
            new.write_text(text, "utf-8")
            new.chmod(_MODE)
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Wrong(
            f"{path} can't be written: {error.strerror}; make its folder, or name another place "
            "with --output FILE"
        ) from error
    return True


def _address(text: str) -> str:
    from ygg.addresses import parse_host_port

    try:
        return str(parse_host_port(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no address: {error}") from error

"""`ygg-gpu-exporter`: the page that Prometheus, and the autoscaler, read of one host's cards.

What the driver can't say is absent from the page, never 0. Reading cards is nvml.py's and
cpu_card.py's, how often they are asked sampler.py's.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NoReturn

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from autoscaler.cards import Card, NoReading
from autoscaler.page_server import PageServer
from autoscaler.sampler import Reading, Sampler, Source
from ygg.addresses import HostPort, parse_host_port
from ygg.cli.base import FAILED, at_least
from ygg.cli.parsing import Help, Parser, unknown
from ygg.cli.streams import no_text, open_streams
from ygg.version import VERSION

log = logging.getLogger("ygg.gpu")

DEFAULT_LISTEN: Final = "127.0.0.1:9836"
_LABELS: Final = ("gpu", "uuid", "name", "mig")
#: Every plain gauge of a card, and what it is.
_GAUGES: Final = {
    "utilization_ratio": "Share of the last moment in which some kernel ran.",
    "utilization_mean_ratio": (
        "The same, as the mean since the last reading; of a server on the processor, its plain share "
        "of its threads."
    ),
    "memory_used_bytes": "Memory in use, by all processes.",
    "memory_free_bytes": "Memory that can still be had.",
    "memory_total_bytes": "All memory of the card.",
    "temperature_celsius": "Temperature of the chip.",
    "power_watts": "Power drawn.",
    "power_limit_watts": "Power that may be drawn.",
}
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([kmgt]?)(?:i?b)?", re.IGNORECASE)
_BUDGET: Final = "2GB"
_EXAMPLES: Final = """\
examples:
  ygg-gpu-exporter                          # for Prometheus on this machine
  ygg-gpu-exporter --listen 0.0.0.0:9836    # for others too: it shows figures, and no more
  ygg-gpu-exporter --device cpu             # of a machine without a GPU
  ygg-gpu-exporter --device cpu --pid 4711 --memory-budget 8GB --threads 4   # of one server

exit codes: 0 done (ended by a signal), 1 it can't serve, 2 wrong use"""


class CardsCollector(Collector):
    """One reading, as metrics."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def describe(self) -> Iterable[Metric]:
        """Nothing: to be registered must not ask the driver."""
        return []

    def collect(self) -> Iterator[Metric]:
        return page(self._sampler.reading())


def page(reading: Reading) -> Iterator[Metric]:
    """Pure: what stands on the page for a reading."""
    up = not reading.trouble
    yield GaugeMetricFamily("ygg_gpu_up", "Whether the cards can be read.", float(up))
    trouble = GaugeMetricFamily(
        "ygg_gpu_trouble", "Why they can't; the log says what to do.", labels=["kind"]
    )
    if reading.trouble:
        trouble.add_metric([reading.trouble], 1)
    yield trouble
    read = GaugeMetricFamily(
        "ygg_gpu_read_timestamp_seconds",
        "When the cards were read, in Unix time: it goes on where all figures stand still.",
        labels=(),
    )
    if up:
        read.add_metric((), reading.at)
    yield read
    failures = CounterMetricFamily(
        "ygg_gpu_read_failures", "Fields that the driver could not say.", labels=["field", "reason"]
    )
    for (field, reason), count in sorted(reading.failures.items()):
        failures.add_metric([field, reason], count)
    yield failures
    for name, help_ in _GAUGES.items():
        gauge = GaugeMetricFamily(f"ygg_gpu_{name}", help_, labels=_LABELS)
        for card in reading.cards:
            if name in card.values:
                gauge.add_metric(_labels(card), card.values[name])
        yield gauge
    clock = GaugeMetricFamily(
        "ygg_gpu_clock_hertz", "Clock of a domain.", labels=[*_LABELS, "domain"]
    )
    throttled = GaugeMetricFamily(
        "ygg_gpu_throttled", "Whether the clock is held down.", labels=[*_LABELS, "reason"]
    )
    processes = GaugeMetricFamily(
        "ygg_gpu_process_memory_bytes", "Memory of a process.", labels=[*_LABELS, "pid"]
    )
    for card in reading.cards:
        for domain, hertz in card.clocks.items():
            clock.add_metric([*_labels(card), domain], hertz)
        for reason, applies in card.throttled.items():
            throttled.add_metric([*_labels(card), reason], float(applies))
        for pid, size in card.processes.items():
            processes.add_metric([*_labels(card), str(pid)], size)
    yield from (clock, throttled, processes)


def _labels(card: Card) -> list[str]:
    return [card.gpu, card.uuid, card.name, card.mig]


def main(argv: Sequence[str] | None = None) -> NoReturn:
    open_streams()
    given = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    if (trouble := no_text(given)) is not None:
        parser.error(trouble)
    args, rest = parser.parse_known_args(given)
    if rest:
        parser.error(unknown(rest, parser))
    _check(args, parser)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s [%(name)s] %(levelname)s: %(message)s"
    )
    try:
        source = _source(args)
    except NoReading as error:
        parser.exit(FAILED, f"ygg-gpu-exporter: {error}\n")
    sampler = Sampler(source, clock=time.monotonic)
    registry = CollectorRegistry()
    registry.register(CardsCollector(sampler))
    try:
        server = PageServer(args.listen, registry)
    except OSError as error:
        parser.exit(
            FAILED,
            f"ygg-gpu-exporter: can't listen on {args.listen}: {error.strerror or error}: "
            "choose another address with --listen HOST:PORT\n",
        )
    threading.Thread(target=server.serve_forever, name="ygg-gpu-http", daemon=True).start()
    where = HostPort(args.listen.host, server.server_port)
    log.info("event=serving version=%s url=http://%s/metrics", VERSION, where)
    sampler.reading()  # says at once whether there is anything to read
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    server.shutdown()
    sampler.close()
    log.info("event=ended")
    logging.shutdown()
    # A driver that is stuck holds its thread for ever, and Python would wait for it.
    os._exit(0)


def _source(args: argparse.Namespace) -> Source:
    """Raises NoReading."""
    if args.pid is not None:
        from autoscaler.cpu_card import Server

        budget = size(_BUDGET) if args.memory_budget is None else args.memory_budget
        return Server(args.pid, budget=budget, threads=args.threads)
    if args.device == "cpu":
        from autoscaler.cpu_card import Machine

        return Machine()
    from autoscaler.nvml import Nvml

    return Nvml()


def _address(text: str) -> HostPort:
    try:
        return parse_host_port(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error


def size(text: str) -> int:
    """Bytes of a text such as 2GB, 512MiB or 1000000. Raises ValueError."""
    found = _SIZE.fullmatch(text)
    bytes_ = 0 if found is None else int(float(found[1]) * _UNITS[found[2].lower()])
    if not 1 <= bytes_ < 1 << 60:
        raise ValueError(f"{text!r} is no size in bytes: write 2GB or 512MiB")
    return bytes_


def _size(text: str) -> int:
    try:
        return size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _check(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Flags that mean something only beside others. Ends the process where they don't."""
    if args.device != "cpu" and args.pid is not None:
        parser.error("--pid needs --device cpu: of a GPU it shows what all processes take")
    for flag in ("memory_budget", "threads"):
        if args.pid is None and getattr(args, flag) is not None:
            parser.error(f"--{flag.replace('_', '-')} is of one server: name it with --pid")


def make_parser() -> argparse.ArgumentParser:
    """The documentation is made from it too."""
    parser = Parser(
        prog="ygg-gpu-exporter",
        description="Shows the GPUs of this machine to Prometheus and to ygg's autoscaler.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    parser.add_argument("--version", action="version", version=f"ygg-gpu-exporter {VERSION}")
    parser.add_argument(
        "--listen", type=_address, default=DEFAULT_LISTEN, metavar="HOST:PORT",
        help="(default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--device", choices=["nvml", "cpu"], default="nvml",
        help="cpu: the processor and its memory, for models that run without a GPU",
    )  # fmt: skip
    parser.add_argument(
        "--pid", type=at_least(1), metavar="N", help="with cpu: of one server, not of the machine"
    )
    parser.add_argument(
        "--memory-budget", type=_size, metavar="SIZE",
        help="what that server may take (default 2GB)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=at_least(1), metavar="N",
        help="processors that it may keep busy (default: as many as it has threads)",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    main()

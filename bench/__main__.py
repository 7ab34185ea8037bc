"""The dispatcher's own cost, as its user has it: the real daemon, real HTTP, real fsyncs.

The model server is replaced by one that answers at once, in a process of its own, so that what is
measured is ygg. Prints a table and keeps bench/results.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Daemon:
    process: subprocess.Popen[bytes]
    port: int
    state: Path

    def call(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]}")
        return json.loads(text) if text.startswith(("{", "[")) else text

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def memory_mb(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no VmRSS")

    def wakeups(self) -> int:
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            for line in (task / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    total += int(line.split()[1])
        return total


@contextmanager
def servers(count: int) -> Iterator[list[int]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.instant_server", str(count)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield [int(port) for port in process.stdout.readline().split()]
    finally:
        process.kill()
        process.communicate()


@contextmanager
def daemon(ports: list[int], slots: int, *, extra: str = "") -> Iterator[Daemon]:
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        hosts = "hosts:\n" + "".join(
            f"  h{i}: {{url: 'http://127.0.0.1:{port}', api: ollama, model: m, "
            f"slots: {{start: {slots}, max: {slots}}}}}\n"
            for i, port in enumerate(ports)
        )
        (state / "hosts.yaml").write_text(hosts + extra)
        port = _free_port()
        log = (state / "out").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "ygg.cli", "loop", "--async", "--hosts", state / "hosts.yaml",
             "--listen", f"127.0.0.1:{port}", "--state", state],
            stdout=log, stderr=log,
        )  # fmt: skip
        running = Daemon(process, port, state)
        try:
            try:
                _until(lambda: _is_ready(running), 20)
            except TimeoutError:
                raise RuntimeError((state / "out").read_text()[-2000:]) from None
            yield running
        finally:
            process.terminate()
            process.wait(90)
            log.close()


def _free_port() -> int:
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _is_ready(running: Daemon) -> bool:
    try:
        status = running.call("GET", "/v1/status")
    except OSError:
        return False
    return all(host["up"] == "up" or host["name"] == "away" for host in status["hosts"])


def _until(condition: Any, within: float, pause: float = 0.02) -> None:
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(pause)


def _closed(running: Daemon) -> int:
    return int(running.call("GET", "/v1/status")["counts"].get("closed", 0))


def throughput(slots: int, tasks: int) -> dict[str, float]:
    """Accepted in batches of 1,000, then all closed: the whole durable path."""
    with servers(2) as ports, daemon(ports, slots // 2) as running:
        batch = [{"title": f"task {i}", "description": "x" * 200} for i in range(1000)]
        running.call("POST", "/v1/tasks", batch)
        _until(lambda: _closed(running) >= 1000, 60)  # warm-up, thrown away
        began, cpu = time.monotonic(), running.cpu_seconds()
        for _ in range(tasks // 1000):
            running.call("POST", "/v1/tasks", batch)
        accepted = time.monotonic() - began
        _until(lambda: _closed(running) >= 1000 + tasks, 300, 0.05)
        seconds = time.monotonic() - began
        return {
            "tasks_per_second": tasks / seconds,
            "accept_per_second": tasks / accepted,
            "cpu_us_per_task": 1e6 * (running.cpu_seconds() - cpu) / tasks,
            "memory_mb": running.memory_mb(),
        }


def idle_wait(tasks: int) -> dict[str, float]:
    """Accept to start when nothing else is to be done, by the journal's own times."""
    waits = []
    with servers(3) as ports, daemon(ports, 2) as running:
        for i in range(tasks):
            task_id = running.call("POST", "/v1/tasks", {"title": f"t{i}"})["id"]
            _until(
                lambda i=task_id: running.call("GET", f"/v1/tasks/{i}")["status"] == "closed", 10,
                0.005,
            )  # fmt: skip
            rows = running.call("GET", f"/v1/tasks/{task_id}/history")["history"]
            at = {row["kind"]: datetime.fromisoformat(row["at"]) for row in rows}
            waits.append(1000 * (at["started"] - at["accepted"]).total_seconds())
    waits.sort()
    return {
        "median_ms": statistics.median(waits),
        "p99_ms": waits[int(len(waits) * 0.99)],
        "max_ms": waits[-1],
    }


def idle_cost(seconds: float) -> dict[str, float]:
    with servers(3) as ports, daemon(ports, 2) as running:
        time.sleep(3)
        cpu, wakeups, began = running.cpu_seconds(), running.wakeups(), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        return {
            "cpu_percent_of_a_core": 100 * (running.cpu_seconds() - cpu) / took,
            "wakeups_per_second": (running.wakeups() - wakeups) / took,
            "memory_mb": running.memory_mb(),
        }


def waiting_memory(tasks: int) -> dict[str, float]:
    """Memory with so many waiting for a host that is away, and the cost of a submit then."""
    with daemon([], 2, extra=_AWAY) as running:
        before = running.memory_mb()
        batch = [{"title": f"task {i}", "description": "x" * 200} for i in range(1000)]
        began = time.monotonic()
        for _ in range(tasks // 1000):
            running.call("POST", "/v1/tasks", batch)
        seconds = time.monotonic() - began
        return {
            "memory_mb": running.memory_mb(),
            "memory_before_mb": before,
            "accept_per_second": tasks / seconds,
        }


#: A host that nothing listens on (the discard port).
_AWAY = "  away: {url: 'http://127.0.0.1:9', api: ollama, model: m}\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds to watch it idle")
    args = parser.parse_args()
    results: dict[str, Any] = {
        "machine": {
            "cores": os.cpu_count(),
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
        }
    }

    def keep(name: str, rounds: list[dict[str, float]]) -> None:
        keys = rounds[0].keys()
        results[name] = {
            key: {
                "median": statistics.median(r[key] for r in rounds),
                "rounds": [r[key] for r in rounds],
            }
            for key in keys
        }
        shown = ", ".join(
            f"{key} {results[name][key]['median']:.6g}"
            + (f" ({min(r[key] for r in rounds):.4g}..{max(r[key] for r in rounds):.4g})"
               if len(rounds) > 1 else "")
            for key in keys
        )  # fmt: skip
        print(f"{name}: {shown}", flush=True)

    keep("throughput_64_slots", [throughput(64, args.tasks) for _ in range(args.rounds)])
    keep("idle_accept_to_start", [idle_wait(300)])
    keep("idle_cost_3_hosts", [idle_cost(args.idle)])
    keep("waiting_100000", [waiting_memory(100_000)])
    Path(__file__).with_name("results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

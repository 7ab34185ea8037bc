"""An autoscaler's call to the real daemon: what waits starts, limits outlive a kill, all is shown."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.system.daemons import Daemon, ModelServer, Servers, all_closed, daemon, until, ygg

pytestmark = pytest.mark.system


def hosts(server: ModelServer, most: int = 4) -> str:
    return (
        f"hosts: {{h: {{url: '{server.url}', api: ollama, model: m, "
        f"slots: {{start: 1, min: 1, max: {most}}}}}}}\n"
    )


def decided(expected: int, limit: int, reason: str, **more: object) -> Mapping[str, object]:
    action = "grow" if limit > expected else "shrink"
    return {"expected": expected, "limit": limit, "action": action, "reason": reason, **more}


def call(running: Daemon, decision: Mapping[str, object], holder: str = "niflheim/1") -> Any:
    body = {"holder": holder, "hosts": {"h": decision}}
    return running.client.call("PUT", "/v1/autoscaler", body)["hosts"]["h"]


def test_a_resize_starts_what_waits_and_outlives_a_kill_within_bounds(tmp_path: Path) -> None:
    servers = Servers()
    try:
        server = servers.start("h")
        servers.gate(server, is_open=False)
        with daemon(tmp_path / "d", hosts(server)) as first:
            first.client.call("POST", "/v1/tasks", [{"title": f"t{n}"} for n in range(4)])
            until(lambda: server.running == 1)
            evidence = {"oldest_wait_seconds": 61.0}
            answer = call(first, decided(1, 3, "wait", evidence=evidence))
            assert (answer["effect"], answer["limit"]) == ("resized", 3)
            until(lambda: server.running == 3)
            assert call(first, decided(4, 2, "memory_high"))["effect"] == "stale"
            shown = ygg("status", "--url", first.url)
            assert "the autoscaler niflheim/1 was heard" in shown.stdout
            assert "autoscaler: wants to shrink to 2 (memory high): the limit is 3" in shown.stdout
            told = ygg(
                *["events", "--after", "0", "--kind", "resized", "--count", "2"], "--url", first.url
            )
            assert "h has the limit 3 (it was 1) by niflheim/1: wait" in told.stdout
            first.end(signal.SIGKILL)
        servers.gate(server, is_open=True)
        with daemon(tmp_path / "d", hosts(server)) as second:
            (host,) = second.client.call("GET", "/v1/hosts")["hosts"]
            assert (host["limit"], host["decision"]) == (3, None)
            until(all_closed(second, 4))
            assert call(second, decided(3, 1, "memory_high"))["effect"] == "resized"
            assert call(second, decided(1, 4, "wait"))["effect"] == "resized"
            assert second.end() == 0
        with daemon(tmp_path / "d", hosts(server, most=2)) as third:
            assert third.client.call("GET", "/v1/hosts")["hosts"][0]["limit"] == 2
            assert third.end() == 0
        proof = ygg("check-journal", "--state", tmp_path / "d")
        assert proof.returncode == 0, proof.stdout + proof.stderr
    finally:
        servers.close()

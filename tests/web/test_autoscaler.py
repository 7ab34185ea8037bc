"""The autoscaler's call over the wire: what it says, who may make it, and where it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.web.serving import STORE_TROUBLE, Reply, Served, run, served
from tests.worlds import fleet
from ygg.resizes import DecisionReason
from ygg.shapes import AutoscalerAnswer, DispatcherStatus, Hosts
from ygg.web.auth import parse_tokens, token_line

PROBLEM = "urn:ygg:problem:"
SECRET = "ygg_" + "s" * 40


def decided(expected: int = 1, limit: int = 2, **more: object) -> dict[str, object]:
    return {"expected": expected, "limit": limit, "action": "grow", "reason": "wait", **more}


async def call(w: Served, holder: str = "a", **hosts: Mapping[str, object]) -> Reply:
    return await w.ask("PUT", "/v1/autoscaler", {"holder": holder, "hosts": hosts})


def test_each_host_is_answered_by_itself_with_its_limit_as_it_is_now(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path, fleet({"h": 1, "i": 1})) as w:
            reply = await call(w, h=decided(), i=decided(expected=3), x=decided())
            assert reply.status == 200
            told = msgspec.json.decode(reply.body, type=AutoscalerAnswer)
            assert {n: (a.effect.value, a.limit) for n, a in told.hosts.items()} == {
                "h": ("resized", 2), "i": ("stale", 1), "x": ("unknown_host", None)
            }  # fmt: skip
            assert told.hosts["i"].detail == "the limit is 1 by now, not 3: decide anew"
            assert 40.0 < told.lease_seconds <= 45.0

    run(story())


def test_a_second_autoscaler_is_told_who_is_at_work_and_when_to_try_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            await call(w, "first/1", h=decided())
            reply = await call(w, "second/2", h=decided(2, 3))
            assert (reply.status, reply.json["type"]) == (409, f"{PROBLEM}lease-held")
            assert "'first/1' holds the lease for another 4" in reply.json["detail"]
            assert 40 <= int(reply.headers["Retry-After"]) <= 45
            assert (await w.ask("GET", "/v1/hosts")).json["hosts"][0]["limit"] == 2
            leaving = {"holder": "first/1", "hosts": {}, "leaves": True}
            assert (await w.ask("PUT", "/v1/autoscaler", leaving)).json["lease_seconds"] == 0.0
            assert (await call(w, "second/2", h=decided(2, 3))).status == 200

    run(story())


def test_status_and_hosts_tell_of_the_autoscaler_and_its_last_decisions(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path, fleet({"h": 1, "i": 2, "j": 1}, shares={"j": "i"})) as w:
            hosts = msgspec.json.decode((await w.ask("GET", "/v1/hosts")).body, type=Hosts)
            assert (hosts.autoscaler, hosts.hosts[0].decision) == (None, None)
            evidence = {"memory": 0.5, "waiting": 3, "model": None, "frozen": False, "gpu": "0"}
            await call(w, h=decided(evidence=evidence, dry_run=True), i=decided(9, 3), j=decided())
            status = await w.ask("GET", "/v1/status")
            both = msgspec.json.decode(status.body, type=DispatcherStatus)
            hosts = msgspec.json.decode((await w.ask("GET", "/v1/hosts")).body, type=Hosts)
            for autoscaler in (both.autoscaler, hosts.autoscaler):
                assert autoscaler is not None
                assert (autoscaler.holder, autoscaler.state) == ("a", "live")
                assert autoscaler.quiet_seconds < 20.0
            for h, i, j in (both.hosts, hosts.hosts):
                assert h.decision is not None
                assert (h.limit, h.decision.limit, h.decision.dry_run) == (1, 2, True)
                assert (h.decision.action, h.decision.reason) == ("grow", "wait")
                assert h.decision.evidence == evidence
                assert i.decision is not None
                assert (i.decision.effect, i.limit) == ("stale", 2)
                assert "not 9" in i.decision.detail
                assert j.decision is None

    run(story())


def test_an_autoscaler_that_is_silent_is_for_a_person_and_one_that_left_is_not(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            order = {"holder": "a", "hosts": {}, "interval": 0.1}
            await w.ask("PUT", "/v1/autoscaler", order)
            w.clock.later = 300.0
            status = (await w.ask("GET", "/v1/status")).json
            assert status["autoscaler"]["state"] == "silent"
            assert status["autoscaler"]["quiet_seconds"] >= 300.0
            (told,) = status["needs_person"]
            assert told.startswith("the autoscaler a is silent since 2")
            assert told.endswith("limits stay where they are")
            await w.ask("PUT", "/v1/autoscaler", {**order, "leaves": True})
            status = (await w.ask("GET", "/v1/status")).json
            assert (status["autoscaler"]["state"], status["needs_person"]) == ("left", [])

    run(story())


def test_a_resize_shows_in_the_metrics_by_its_reason(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path, fleet({"h": 1, "i": 1})) as w:
            await call(w, h=decided(), i=decided(9, 3))
            await call(w, h=decided(2, 1, action="shrink", reason="memory_high"))
            lines = (await w.ask("GET", "/metrics")).body.decode().splitlines()
            assert sorted(line for line in lines if line.startswith("ygg_host_resizes_total{")) == [
                'ygg_host_resizes_total{direction="down",host="h",reason="memory_high"} 1.0',
                'ygg_host_resizes_total{direction="up",host="h",reason="wait"} 1.0',
            ]

    run(story())


def test_it_needs_a_token_where_one_is_needed(tmp_path: Path) -> None:
    async def story() -> None:
        settings = fleet()
        always = replace(settings.dispatcher, token="always")
        tokens = parse_tokens(token_line(SECRET, "scaler"), "f")
        async with served(tmp_path, replace(settings, dispatcher=always), tokens=tokens) as w:
            order = {"holder": "a", "hosts": {"h": decided()}}
            refused = await w.ask("PUT", "/v1/autoscaler", order)
            assert (refused.status, refused.json["type"]) == (401, f"{PROBLEM}unauthorized")
            assert w.dispatcher.autoscaling.heard is None
            bearer = {"Authorization": f"Bearer {SECRET}"}
            good = await w.ask("PUT", "/v1/autoscaler", order, headers=bearer)
            assert good.json["hosts"]["h"]["effect"] == "resized"

    run(story())


def test_a_store_in_trouble_is_said_and_nothing_is_done(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            w.store.trouble = STORE_TROUBLE
            reply = await call(w, h=decided())
            assert (reply.status, reply.json["type"]) == (503, f"{PROBLEM}store-trouble")
            # What changes nothing needs no store, and keeps the lease.
            assert (await call(w, h=decided(1, 1))).status == 200
            w.store.trouble = None
            assert (await call(w, h=decided())).json["hosts"]["h"]["effect"] == "resized"

    run(story())


WRONG: dict[str, tuple[Any, list[tuple[str, str]]]] = {
    "no holder": ({"hosts": {}}, [("", "holder")]),
    "an empty holder": ({"holder": "", "hosts": {}}, [("/holder", "1 to 200 characters")]),
    "a NUL": ({"holder": "a\0", "hosts": {}}, [("/holder", "NUL")]),
    "no interval": ({"holder": "a", "hosts": {}, "interval": 0}, [("/interval", "from 0.1")]),
    "hosts in an array": ({"holder": "a", "hosts": []}, [("/hosts", "an object of at most")]),
    "a word in a host's place": (
        {"holder": "a", "hosts": {"h": "grow"}}, [("/hosts/h", "expected an object")]
    ),
    "several in several hosts": (
        {"holder": "a", "hosts": {
            "h": decided(expected=-1, reason="mood"), "i/1": {"limit": 2.5, "lim": 1}}},
        [("/hosts/h/expected", "a whole number from 0 to 10000, got -1"),
         ("/hosts/h/reason", "host_failures"),
         ("/hosts/i~11", "'expected' is missing: a whole number"),
         ("/hosts/i~11", "'action' is missing"),
         ("/hosts/i~11", "'reason' is missing"),
         ("/hosts/i~11/limit", "got 2.5"),
         ("/hosts/i~11/lim", "did you mean 'limit'?")],
    ),
    "evidence in objects": (
        {"holder": "a", "hosts": {"h": decided(evidence={"a": {"b": 1}})}},
        [("/hosts/h/evidence", "numbers, texts")],
    ),
    "too much evidence": (
        {"holder": "a", "hosts": {"h": decided(evidence={"a": "x" * 5000})}},
        [("/hosts/h/evidence", "is 5008 bytes as JSON, at most 4096")],
    ),
    "too many hosts": (
        {"holder": "a", "hosts": {f"h{n}": decided() for n in range(10_001)}},
        [("/hosts", "at most 10000 hosts")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_call_is_told_by_field_and_nothing_of_it_counts(
    tmp_path: Path, body: object, expected: list[tuple[str, str]]
) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            reply = await w.ask("PUT", "/v1/autoscaler", body)
            assert (reply.status, reply.json["type"]) == (400, f"{PROBLEM}bad-fields")
            told = [(error["pointer"], error["detail"]) for error in reply.json["errors"]]
            assert [pointer for pointer, _ in told] == [pointer for pointer, _ in expected]
            for (_, detail), (_, part) in zip(told, expected, strict=True):
                assert part in detail
            assert w.dispatcher.autoscaling.heard is None

    run(story())


def test_a_reason_that_is_not_known_is_answered_with_those_that_are(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            reply = await call(w, h=decided(reason="mood"))
            assert all(reason.value in reply.json["detail"] for reason in DecisionReason)

    run(story())

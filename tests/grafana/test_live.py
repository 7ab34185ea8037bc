"""Each panel's questions, put to a real Prometheus with the real processes behind it."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.grafana.dashboards import FILES, panels, read, substituted, variables
from tests.prometheus.running import Prometheus, prometheus, shipped
from tests.system.daemons import Servers, daemon, hosts_yaml, until
from tests.system.test_prometheus import World, world_in

pytestmark = pytest.mark.system

DASHBOARDS = [read(path) for path in FILES]
PANELS = [(one, panel) for one in DASHBOARDS for panel in panels(one)]
#: What the model servers of these tests don't say: how much memory their models take.
_UNSAID = {("Memory of models and processes", "A")}


def asked(seen: Prometheus, expr: str) -> list[tuple[Mapping[str, str], list[float]]]:
    """What a panel gets: each series with its figures of the last minute."""
    (now,) = seen.ask("time()")
    query = urlencode({"query": expr, "start": now.value - 60, "end": now.value, "step": 1})
    try:
        with urllib.request.urlopen(f"{seen.url}/api/v1/query_range?{query}", timeout=30) as got:
            found = json.load(got)["data"]["result"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{expr}\n{error.read().decode()}") from error
    every = [(one["metric"], [float(value) for _, value in one["values"]]) for one in found]
    return [(labels, values) for labels, values in every if any(map(math.isfinite, values))]


def empty(seen: Prometheus, panel: Mapping[str, Any]) -> bool:
    exprs = [substituted(target["expr"]) for target in panel["targets"]]
    return not any(asked(seen, expr) for expr in exprs)


def empties(seen: Prometheus) -> list[tuple[str, str]]:
    """The panels that show nothing, each with the words that it shows in place of that."""
    return [
        (panel["title"], panel["fieldConfig"]["defaults"].get("noValue", ""))
        for _, panel in PANELS
        if empty(seen, panel)
    ]


def until_none(look: Callable[[], list[str]]) -> None:
    """Wait until there is nothing left of it; say what is, if that takes too long."""
    left: list[str] = []

    def is_none() -> bool:
        left[:] = look()
        return not left

    try:
        until(is_none, within=60)
    except AssertionError as late:
        raise AssertionError(f"still there: {left}") from late


def test_of_a_fresh_dispatcher_alone_no_panel_is_empty_without_a_word(tmp_path: Path) -> None:
    """No task was ever handed in, no exporter and no autoscaler runs."""
    servers = Servers()
    try:
        hosts = hosts_yaml({"a": (servers.start("a"), 1)})
        with (
            daemon(tmp_path / "state", hosts) as dispatcher,
            prometheus(tmp_path / "prometheus", shipped()) as seen,
        ):
            target = {"targets": [dispatcher.url.removeprefix("http://")], "labels": {"job": "ygg"}}
            (seen.targets / "ygg.json").write_text(json.dumps([target]))
            until_none(lambda: [title for title, said in empties(seen) if not said])
            values = {
                panel["title"]: [values for _, values in asked(seen, substituted(
                    panel["targets"][0]["expr"]
                ))]
                for _, panel in PANELS if panel["type"] == "stat"
            }  # fmt: skip
            assert values["Autoscaler"][0][-1] == -1
            assert values["Hosts down"][0][-1] == 0
    finally:
        servers.close()


def _has(found: list[tuple[Mapping[str, str], list[float]]], legend: str) -> bool:
    shown = {part.partition("}}")[0] for part in legend.split("{{")[1:]} - {"mig"}
    labels = {name for labels, _ in found for name in labels}
    return bool(found) and shown <= labels


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_in(tmp_path_factory.mktemp("grafana")) as world:
        yield world


def test_of_a_fresh_ygg_with_all_its_parts_no_panel_is_empty(world: World) -> None:
    until_none(lambda: [title for title, _ in empties(world.prometheus)])
    # A variable has values to choose from.
    for name, variable in variables(DASHBOARDS[1]).items():
        if variable["type"] == "query":
            metric = variable["definition"].removeprefix("label_values(").partition(",")[0]
            assert world.prometheus.by(name, metric).keys() - {""}


def test_figures_are_those_of_the_status(world: World) -> None:
    for host, limit in (("a", 2), ("b", 1)):
        world.dispatcher.client.call("PUT", f"/v1/hosts/{host}/pin", {"limit": limit})
    world.gate(world.a, is_open=False)
    world.gate(world.b, is_open=False)
    world.submit(7)
    world.submit(3, type="reasoning", priority=0)
    found = {
        panel["title"]: [substituted(target["expr"]) for target in panel["targets"]]
        for panel in panels(DASHBOARDS[1])
    }
    table = found["Which host is the narrow one"]

    def agrees() -> bool:
        status = world.status()
        hosts = {host["name"]: host for host in status["hosts"]}
        ask = world.prometheus.by
        return (
            ask("", found["Tasks that wait"][0]) == {"": status["waiting"]["total"]}
            and ask("", found["Slots in use"][0]) == {"": 1.0}
            and ask("host", table[1]) == {n: float(h["active"]) for n, h in hosts.items()}
            and ask("host", table[2]) == {n: float(h["limit"]) for n, h in hosts.items()}
            and ask("host", table[3]) == {"a": 5.0, "b": 2.0}
            and ask("host", table[6]).get("a") == 0.75
            and ask("", found["Oldest critical wait"][0])[""] > 0
        )

    until(agrees, within=60)
    for host in "ab":
        world.dispatcher.client.call("DELETE", f"/v1/hosts/{host}/pin")
    world.gate(world.a, is_open=True)
    world.gate(world.b, is_open=True)
    until(world.is_idle)


def test_every_question_has_an_answer_under_load_and_moves_are_marked(world: World) -> None:
    """Not only each panel: each of its queries, with every label that its legend shows."""
    seen = world.prometheus
    world.b.error = 400  # an answer that blocks
    world.submit(1, type="reasoning")
    # It waits, and the card has room: the autoscaler gives more slots.
    world.gate(world.a, is_open=False)
    world.card.set({"0.memory_used": 2_000_000_000})
    world.submit(20)
    (moves,) = (
        one for one in DASHBOARDS[1]["annotations"]["list"] if one["name"] == "Moves of limits"
    )

    def is_marked() -> bool:
        found = asked(seen, substituted(moves["expr"]))
        return any(
            labels.get("direction") == "up" and labels["host"] == "a" and labels["reason"]
            for labels, _ in found
        )

    until(is_marked, within=60)
    world.gate(world.a, is_open=True)
    wanted = [
        (panel["title"], target["refId"], substituted(target["expr"]), target["legendFormat"])
        for _, panel in PANELS
        for target in panel["targets"]
    ]

    def unanswered() -> list[str]:
        world.submit(1, priority=1)
        return [
            f"{title} {ref}"
            for title, ref, expr, legend in wanted
            if not _has(asked(seen, expr), legend) and (title, ref) not in _UNSAID
        ]

    until_none(unanswered)
    world.b.error = 0
    for title in ("Answers a second by type", "Tokens a second by host", "Waits"):
        (expr,) = (one for named, _, one, _ in wanted if named == title)

        def counts(expr: str = expr) -> bool:
            world.submit(1)
            return any(value > 0 for _, values in asked(seen, expr) for value in values)

        until(counts)
    until(world.is_idle)

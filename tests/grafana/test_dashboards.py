"""The dashboards are what Grafana takes, and ask for what our processes export."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.test_links import anchors
from tests.grafana.dashboards import (
    FILES,
    ROOT,
    complaints,
    expressions,
    panels,
    read,
    substituted,
    variables,
)
from tests.prometheus.rules import named
from tests.prometheus.test_rules import exported
from tools.dashboards import parts

pytestmark = pytest.mark.pure

PROVISIONING = ROOT / "grafana" / "provisioning"
_OF_A_SCRAPE = frozenset({"job", "instance"})
#: Of Prometheus' own client, which docs/metrics.md tells of in a sentence.
_OF_THE_CLIENT = {"process_resident_memory_bytes": frozenset[str]()}

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
EXPRESSIONS = [(f"{p.stem}: {who}", expr) for p in FILES for who, expr in expressions(read(p))]
each_expression = pytest.mark.parametrize(
    "expr", [expr for _, expr in EXPRESSIONS], ids=[who for who, _ in EXPRESSIONS]
)


@each_file
def test_a_dashboard_is_one_by_the_rules_of_format_and_linter(path: Path) -> None:
    assert complaints(read(path)) == []


Broken = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("breaks", "complaint"),
    [
        (lambda d: d.update(uid="a b"), "uid"),
        (lambda d: d.update(id=7), "id of another"),
        (lambda d: d.update(editable=True), "editable"),
        (lambda d: d.update(schemaVersion=16), "schemaVersion"),
        (lambda d: d.update(__inputs=[]), "provisioned"),
        (lambda d: d["templating"]["list"].pop(0), "no variable for the data source"),
        (lambda d: d["templating"]["list"][1].update(refresh=1), "not read again"),
        (lambda d: d["templating"]["list"].append({"name": "x", "type": "constant"}), "not used"),
        (lambda d: d["annotations"]["list"][1].update(datasource=None), "annotation"),
        (lambda d: panels(d)[0].update(id=1), "id 1 is there 2 times"),
        (lambda d: panels(d)[1]["gridPos"].update(x=2), "lies over"),
        (lambda d: panels(d)[1]["gridPos"].update(x=22), "within the grid"),
        (lambda d: panels(d)[0].update(type="graph"), "no kind"),
        (lambda d: panels(d)[0].pop("description"), "no description"),
        (lambda d: panels(d)[0].update(targets=[]), "no targets"),
        (lambda d: panels(d)[0].update(links=[]), "no link to the docs"),
        (lambda d: panels(d)[0].update(links=[]), "no link to the other"),
        (lambda d: panels(d)[0].update(datasource={"uid": "abc"}), "data source of its own"),
        (lambda d: panels(d)[0]["targets"][0].pop("datasource"), "data source of its own"),
        (lambda d: panels(d)[0]["targets"][0].update(legendFormat=""), "no legend"),
        (lambda d: panels(d)[0]["targets"][0].update(instant=True), "of one moment"),
        (lambda d: panels(d)[0]["targets"][0].update(format="table"), "as a stat wants it"),
        (lambda d: panels(d)[0]["fieldConfig"]["defaults"].pop("unit"), "no unit"),
        (lambda d: panels(d)[0]["targets"][0].update(expr="rate(x_total[5m])"), "rate over 5m"),
        (
            lambda d: panels(d)[0]["targets"][0].update(expr="sum(ygg_tokens_total)"),
            "is a counter",
        ),
        (
            lambda d: panels(d)[0]["targets"][0].update(expr="max_over_time(x[$__rate_interval])"),
            "max_over_time over",
        ),
    ],
)  # fmt: skip
def test_a_dashboard_that_is_none_is_found(breaks: Broken, complaint: str) -> None:
    """The rules are held for real: of a broken dashboard they complain."""
    broken = deepcopy(read(FILES[-1]))
    breaks(broken)
    assert any(complaint in said for said in complaints(broken)), complaints(broken)


@each_expression
def test_a_dashboard_asks_for_metrics_and_labels_that_our_processes_export(expr: str) -> None:
    there = exported() | _OF_THE_CLIENT
    asks = named(substituted(expr))
    assert asks.selectors, "it asks for nothing"
    for name, labels in asks.selectors:
        assert name in there, f"nobody exports {name}"
        assert labels <= there[name] | _OF_A_SCRAPE, f"{name} has no {labels - there[name]}"
    has = frozenset().union(*(there[name] for name, _ in asks.selectors)) | _OF_A_SCRAPE
    assert asks.groupings <= has, f"nothing here has {asks.groupings - has}"


@each_file
def test_a_legend_has_labels_that_are_left(path: Path) -> None:
    there = exported() | _OF_THE_CLIENT
    for panel in panels(read(path)):
        for target in panel["targets"]:
            asks = named(substituted(target["expr"]))
            labels = frozenset().union(*(there[name] for name, _ in asks.selectors))
            left = asks.groupings or labels | _OF_A_SCRAPE
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert shown <= left, f"{panel['title']}: {target['legendFormat']}"


@each_file
def test_a_link_leads_to_a_dashboard_or_a_page_that_is_there(path: Path) -> None:
    uids = {read(file)["uid"] for file in FILES}
    urls = re.findall(r'"url": "([^"]+)"', path.read_text("utf-8"))
    assert urls
    for url in urls:
        if url.startswith("/d/"):
            assert url.removeprefix("/d/").partition("?")[0] in uids
            assert "${__url_time_range}" in url
            continue
        page, _, anchor = url.removeprefix("${docs:raw}/").partition("#")
        text = (ROOT / "docs" / page).read_text("utf-8")
        assert not anchor or anchor in anchors(text), url


@each_file
def test_what_one_part_tells_is_told_to_be_missing_where_the_part_is(path: Path) -> None:
    """Nobody is left to guess at an empty panel: the exporter and the autoscaler may be missing."""
    for panel in panels(read(path)):
        asked = [named(substituted(target["expr"])).selectors for target in panel["targets"]]
        names = {name for selectors in asked for name, _ in selectors}
        always = {n for n in names if not n.startswith(("ygg_gpu_", "ygg_autoscaler_"))}
        if not always:
            assert panel["fieldConfig"]["defaults"].get("noValue") or "vector(" in json.dumps(
                panel["targets"]
            ), panel["title"]


def test_the_two_dashboards_are_there_each_with_its_own_name() -> None:
    assert [path.stem for path in FILES] == ["host", "overview"]
    found = [read(path) for path in FILES]
    assert [one["uid"] for one in found] == [parts.HOST, parts.OVERVIEW]
    assert len({one["title"] for one in found}) == 2
    for one in found:
        assert {"datasource", "host", "docs"} <= variables(one).keys()
    shown = json.dumps(found[1])
    for kind in ("heatmap", "histogram_quantile", "ygg_tokens_total", "ygg_host_resizes_total"):
        assert kind in shown


def test_slots_utilization_and_memory_of_each_host_stand_beside_each_other() -> None:
    top = read(FILES[1])["panels"]
    (row,) = (one for one in top if one.get("repeat") == "host")
    beside = top[top.index(row) + 1 :][:3]
    assert [panel["title"].split()[0] for panel in beside] == ["Slots", "Utilization", "Memory"]
    assert {panel["gridPos"]["y"] for panel in beside} == {row["gridPos"]["y"] + 1}
    for panel in beside[1:]:
        drawn = json.dumps(panel["fieldConfig"]["overrides"])
        assert "dash" in drawn
        assert any(target["legendFormat"] == "threshold" for target in panel["targets"])


def test_provisioning_leads_to_the_dashboards_and_to_prometheus() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources/ygg.yaml").read_text())["datasources"]
    assert (source["type"], source["access"]) == ("prometheus", "proxy")
    scrape = yaml.safe_load((ROOT / "grafana/prometheus/prometheus.yml").read_text())
    assert {job["scrape_interval"] for job in scrape["scrape_configs"]} == {
        source["jsonData"]["timeInterval"]
    }
    file = yaml.safe_load((PROVISIONING / "dashboards/ygg.yaml").read_text())
    (provider,) = file["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    page = (ROOT / "docs" / "grafana.md").read_text("utf-8")
    assert provider["options"]["path"] in page
    assert parts.DOCS.removeprefix("/") in page

"""The dashboards as they are shipped, and what is wrong with one.

`complaints` has the rules of Grafana's dashboard linter and of the format, as far as they are
about plain Prometheus dashboards. Not held: that of a variable and a selector for `job` and
`instance`. Our names begin with ygg_, each of them is of one job, and a dashboard is of one ygg.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "grafana" / "dashboards"
FILES: Final = sorted(FOLDER.glob("*.json"))

SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
#: Of the kinds that come with Grafana and those that we use, all that have one.
KINDS: Final = {"timeseries", "stat", "heatmap", "table", "state-timeline"}
UNITS: Final = {
    "s", "bytes", "percentunit", "short", "none", "celsius", "watt", "hertz", "bool_yes_no",
}  # fmt: skip
_FORMS: Final = {"table": "table", "heatmap": "heatmap"}
_WITHOUT_COUNTER: Final = ("rate", "irate", "increase")


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All that show something, those of closed rows too."""
    every = [one for top in dashboard["panels"] for one in (top, *top.get("panels", []))]
    return [panel for panel in every if panel["type"] != "row"]


def variables(dashboard: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def substituted(expr: str, **values: str) -> str:
    """An expression as Grafana asks it, with all hosts and priorities unless said otherwise."""
    for name, value in ({"host": ".+", "priority": ".+"} | values).items():
        expr = expr.replace(f"${name}", value)
    expr = expr.replace("$__rate_interval", "20s").replace("$__range", "60s")
    assert "$" not in expr, f"a variable that nobody sets: {expr}"
    return expr


def expressions(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """All that is asked, each with what asks it."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["name"], annotation["expr"]


def complaints(dashboard: Mapping[str, Any]) -> list[str]:
    return [
        *_of_the_whole(dashboard),
        *_of_variables(dashboard),
        *_of_places(dashboard),
        *(f"{panel.get('title')}: {said}" for panel in panels(dashboard) for said in _of(panel)),
        *(f"{who}: {said}" for who, expr in expressions(dashboard) for said in _of_expr(expr)),
    ]


def _of_the_whole(dashboard: Mapping[str, Any]) -> Iterator[str]:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", dashboard.get("uid", "")):
        yield "its uid is none"
    if dashboard.get("id", 0) is not None:
        yield "it has the id of another Grafana"
    if dashboard.get("editable") is not False:
        yield "it is editable"
    if not 38 <= dashboard.get("schemaVersion", 0) <= 41:
        yield "its schemaVersion is not one that every Grafana from 10 on takes"
    for key in ("title", "description", "tags", "refresh"):
        if not dashboard.get(key):
            yield f"no {key}"
    if dashboard.get("time", {}).keys() != {"from", "to"}:
        yield "no time"
    for key in ("__inputs", "iteration", "gnetId"):
        if key in dashboard:
            yield f"{key} does not belong into a file that is provisioned"
    mine, *others = dashboard["annotations"]["list"]
    if mine.get("builtIn") != 1:
        yield "Grafana's own annotations are missing"
    if not others or any(one.get("datasource") != SOURCE for one in others):
        yield "an annotation has a data source of its own"


def _of_variables(dashboard: Mapping[str, Any]) -> Iterator[str]:
    found = variables(dashboard)
    source = found.get("datasource", {})
    if (source.get("type"), source.get("query"), source.get("label")) != (
        "datasource", "prometheus", "Data source",
    ):  # fmt: skip
        yield "no variable for the data source"
    text = json.dumps({k: v for k, v in dashboard.items() if k != "templating"})
    for name, variable in found.items():
        if not re.search(rf"\$\{{?{name}\b", text):
            yield f"variable {name} is not used"
        if variable["type"] != "query":
            continue
        if variable.get("datasource") != SOURCE:
            yield f"variable {name} has a data source of its own"
        if variable.get("refresh") != 2:
            yield f"variable {name} is not read again with another time"
        if not re.fullmatch(r"label_values\(ygg_\w+, \w+\)", variable["query"]["query"]):
            yield f"variable {name} asks for no label"
        if variable["includeAll"] and variable.get("allValue") != ".+":
            yield f"variable {name} has no value for all"


def _of_places(dashboard: Mapping[str, Any]) -> Iterator[str]:
    every = [one for top in dashboard["panels"] for one in (top, *top.get("panels", []))]
    for number, times in Counter(one.get("id") for one in every).items():
        if times > 1 or not isinstance(number, int):
            yield f"id {number} is there {times} times"
    taken: dict[tuple[int, int], str] = {}
    for one in every:
        at = one["gridPos"]
        if at["x"] < 0 or at["w"] < 1 or at["h"] < 1 or at["x"] + at["w"] > 24:
            yield f"{one['title']} is not within the grid"
        for cell in (
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        ):
            other = taken.setdefault(cell, one["title"])
            if other != one["title"]:
                yield f"{one['title']} lies over {other}"
                break
    for row in (one for one in dashboard["panels"] if one["type"] == "row"):
        if row["panels"] and not row["collapsed"]:
            yield f"{row['title']}: an open row has panels within"


def _of(panel: Mapping[str, Any]) -> Iterator[str]:
    if panel["type"] not in KINDS:
        yield f"{panel['type']} is no kind that Grafana brings"
    for key in ("title", "description", "targets", "options"):
        if not panel.get(key):
            yield f"no {key}"
    defaults = panel["fieldConfig"]["defaults"]
    if defaults.get("unit") not in UNITS:
        yield f"{defaults.get('unit')} is no unit"
    for override in panel["fieldConfig"]["overrides"]:
        for one in override["properties"]:
            if one["id"] == "unit" and one["value"] not in UNITS:
                yield f"{one['value']} is no unit"
    steps = defaults["thresholds"]["steps"]
    if steps[0]["value"] is not None or any(step["value"] is None for step in steps[1:]):
        yield "its first threshold is not from the start"
    if panel["type"] == "timeseries" and not panel["options"]["legend"]["showLegend"]:
        yield "no legend"
    to = [link["url"] for link in panel.get("links", [])]
    if not any(url.startswith("/d/ygg-") for url in to):
        yield "no link to the other dashboard"
    if not any(url.startswith("${docs:raw}/") for url in to):
        yield "no link to the docs"
    if panel.get("datasource") != SOURCE:
        yield "a data source of its own"
    for ref, times in Counter(target["refId"] for target in panel["targets"]).items():
        if times > 1:
            yield f"query {ref} is there {times} times"
    for target in panel["targets"]:
        if target.get("datasource") != SOURCE:
            yield f"query {target['refId']} has a data source of its own"
        if target["format"] != _FORMS.get(panel["type"], "time_series"):
            yield f"query {target['refId']} is not asked as a {panel['type']} wants it"
        if target["instant"] == target["range"]:
            yield f"query {target['refId']} is of one moment and of a time"
        if panel["type"] != "table" and not target["legendFormat"]:
            yield f"query {target['refId']} has no legend"


def _of_expr(expr: str) -> Iterator[str]:
    for function, within in re.findall(r"\b(rate|irate|increase)\([^\[]*\[([^\]]*)\]", expr):
        if within != "$__rate_interval" and (function, within) != ("increase", "$__range"):
            yield f"{function} over {within}"
    for function, within in re.findall(r"\b(\w+)\([^\[()]*\[([^\]]*)\]", expr):
        if function not in _WITHOUT_COUNTER and within == "$__rate_interval":
            yield f"{function} over {within}"
    for function, counter in re.findall(r"(\w*)\((ygg_\w+_total)\b", expr):
        if function not in (*_WITHOUT_COUNTER, ""):
            yield f"{counter} is a counter, and {function} does not make it a rate"

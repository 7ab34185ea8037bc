"""What a Grafana dashboard is made of, as Grafana's classic JSON.

A library for it exists (grafana-foundation-sdk); one of its versions is of one Grafana, and two
dashboards need little of it. What is asked and shown is left to the dashboards themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from tools.dashboards.asked import moves

Json: TypeAlias = "None | bool | int | float | str | Sequence[Json] | Mapping[str, Json]"

#: Of Grafana 10 and later: older numbers than its own are migrated when it loads a dashboard.
_SCHEMA: Final = 39
_COLUMNS: Final = 24
#: Chosen by whoever looks: no dashboard knows the data source that it will meet.
SOURCE: Final[Mapping[str, Json]] = {"type": "prometheus", "uid": "${datasource}"}
#: Where the pages of docs/ are served; docs/grafana.md says how it is set.
DOCS: Final = "/public/ygg"
#: What a series is drawn like that says where another begins to matter.
THRESHOLD: Final = "threshold"
_KEPT: Final = "${__url_time_range}&var-datasource=${datasource}"


@dataclass(frozen=True, kw_only=True)
class Query:
    """A question to Prometheus. Of a `{{label}}` in its legend, each series has its own."""

    expr: str
    legend: str
    #: As columns of a table: the last value alone.
    is_table: bool = False
    is_heatmap: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    #: The page of docs/ that tells more.
    page: str
    kind: Literal["timeseries", "stat", "heatmap", "table", "state-timeline"] = "timeseries"
    width: int = 8
    height: int = 8
    #: Shown in place of "No data", where a part may rightly be missing.
    empty: str = ""
    is_stacked: bool = False
    #: Drawn as steps: what holds until it changes.
    is_step: bool = False
    max: float | None = None
    axis: str = ""
    #: From which value on which colour is meant; the first is from the start.
    colours: Sequence[tuple[float | None, str]] = ((None, "green"),)
    #: Words in place of numbers.
    words: Mapping[float, tuple[str, str]] = field(default_factory=dict)
    #: Of a table, in the order of its queries: each column's name and unit.
    columns: Sequence[tuple[str, str]] = ()
    #: Whether its series are of hosts, so that each can lead to its own.
    leads_to_host: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    title: str
    panels: Sequence[Panel]
    is_closed: bool = False
    #: Name of a variable: the row is there once for each of its values.
    repeat: str = ""


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    uid: str
    title: str
    description: str
    variables: Sequence[Mapping[str, Json]]
    rows: Sequence[Row]
    #: The links that every panel has besides that to its page.
    links: Sequence[Mapping[str, Json]]


# -- variables ------------------------------------------------------------------------------------


def datasource() -> Mapping[str, Json]:
    return {
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
        "regex": "", "current": {}, "hide": 0, "refresh": 1, "options": [], "multi": False,
        "includeAll": False,
    }  # fmt: skip


def values_of(label: str, metric: str, *, title: str, several: bool) -> Mapping[str, Json]:
    """A variable with the values that a label of a metric has."""
    asked = f"label_values({metric}, {label})"
    every: Mapping[str, Json] = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return {
        "name": label, "label": title, "type": "query", "datasource": SOURCE, "definition": asked,
        "query": {"query": asked, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": 2, "sort": 1, "regex": "", "options": [], "hide": 0, "multi": several,
        "includeAll": several, "allValue": ".+" if several else None,
        "current": every if several else {},
    }  # fmt: skip


def docs() -> Mapping[str, Json]:
    """A constant, so that whoever keeps the pages elsewhere changes one value."""
    value: Mapping[str, Json] = {"selected": True, "text": DOCS, "value": DOCS}
    return {
        "name": "docs", "label": "Documentation", "type": "constant", "query": DOCS,
        "current": value, "options": [value], "hide": 2, "skipUrlSync": True,
    }  # fmt: skip


# -- links ----------------------------------------------------------------------------------------


def link(title: str, uid: str, *more: str) -> Mapping[str, Json]:
    """To another dashboard, with the data source and the time that are looked at."""
    return {"title": title, "url": f"/d/{uid}?{'&'.join((_KEPT, *more))}", "targetBlank": False}


def _page(name: str) -> Mapping[str, Json]:
    return {"title": "What it means", "url": f"${{docs:raw}}/{name}", "targetBlank": True}


# -- the whole ------------------------------------------------------------------------------------


def as_file(dashboard: Dashboard) -> str:
    return json.dumps(_dashboard(dashboard), indent=2) + "\n"


def _dashboard(dashboard: Dashboard) -> Mapping[str, Json]:
    pages: Mapping[str, Json] = {
        "title": "About this dashboard", "type": "link", "icon": "doc", "targetBlank": True,
        "url": "${docs:raw}/grafana.md", "tags": [], "asDropdown": False, "includeVars": False,
        "keepTime": False, "tooltip": "",
    }  # fmt: skip
    others: Mapping[str, Json] = {
        "title": "ygg", "type": "dashboards", "icon": "external link", "targetBlank": False,
        "url": "", "tags": ["ygg"], "asDropdown": False, "includeVars": True, "keepTime": True,
        "tooltip": "",
    }  # fmt: skip
    return {
        "id": None, "uid": dashboard.uid, "title": dashboard.title,
        "description": dashboard.description, "tags": ["ygg"], "timezone": "browser",
        "editable": False, "graphTooltip": 1, "schemaVersion": _SCHEMA, "version": 1,
        "refresh": "10s", "time": {"from": "now-1h", "to": "now"}, "timepicker": {},
        "liveNow": False, "fiscalYearStartMonth": 0, "links": [others, pages],
        "annotations": {"list": [_BUILT_IN, _MOVES]},
        "templating": {"list": list(dashboard.variables)},
        "panels": list(_laid_out(dashboard)),
    }  # fmt: skip


_BUILT_IN: Final[Mapping[str, Json]] = {
    "builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "enable": True,
    "hide": True, "iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts",
    "type": "dashboard",
}  # fmt: skip
#: Every move of a limit, with its reason.
_MOVES: Final[Mapping[str, Json]] = {
    "name": "Moves of limits", "datasource": SOURCE, "enable": True, "hide": False,
    "expr": moves("host", "direction", "reason"),
    "titleFormat": "{{host}}: limit {{direction}}", "textFormat": "{{reason}}",
    "tagKeys": "reason", "iconColor": "orange", "step": "10s", "useValueForTime": False,
}  # fmt: skip


def _laid_out(dashboard: Dashboard) -> Iterator[Mapping[str, Json]]:
    """Panels from left to right, line by line, below the title of their row."""
    y, number = 0, 0
    for row in dashboard.rows:
        number += 1
        head: dict[str, Json] = {
            "id": number, "type": "row", "title": row.title, "collapsed": row.is_closed,
            "gridPos": {"h": 1, "w": _COLUMNS, "x": 0, "y": y},
        }  # fmt: skip
        if row.repeat:
            head["repeat"] = row.repeat
        y += 1
        inside = []
        x = tallest = 0
        for panel in row.panels:
            number += 1
            if x + panel.width > _COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            place = {"h": panel.height, "w": panel.width, "x": x, "y": y}
            inside.append(_panel(panel, number, place, dashboard.links))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
        # Those of a closed row are within it.
        yield head | {"panels": inside if row.is_closed else []}
        if not row.is_closed:
            yield from inside


def _panel(
    panel: Panel, number: int, place: Mapping[str, int], links: Iterable[Mapping[str, Json]]
) -> Mapping[str, Json]:
    made: dict[str, Json] = {
        "id": number, "type": panel.kind, "title": panel.title, "description": panel.description,
        "gridPos": place, "datasource": SOURCE, "links": [*links, _page(panel.page)],
        "targets": [
            _target(query, chr(ord("A") + index)) for index, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": list(_overrides(panel))},
        "options": _OPTIONS[panel.kind],
    }  # fmt: skip
    if panel.columns:
        made["transformations"] = [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {
                "excludeByName": {"Time": True}, "indexByName": {},
                "renameByName": {"host": "host"} | {
                    f"Value #{chr(ord('A') + index)}": name
                    for index, (name, _) in enumerate(panel.columns)
                },
            }},
        ]  # fmt: skip
    return made


def _target(query: Query, ref: str) -> Mapping[str, Json]:
    form = "table" if query.is_table else "heatmap" if query.is_heatmap else "time_series"
    return {
        "refId": ref, "datasource": SOURCE, "expr": query.expr, "legendFormat": query.legend,
        "format": form, "editorMode": "code", "range": not query.is_table,
        "instant": query.is_table, "exemplar": False,
    }  # fmt: skip


def _defaults(panel: Panel) -> Mapping[str, Json]:
    steps: list[Json] = [{"color": colour, "value": since} for since, colour in panel.colours]
    made: dict[str, Json] = {
        "unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": [
            {"type": "value", "options": {
                f"{value:g}": {"text": text, "color": colour, "index": index}
                for index, (value, (text, colour)) in enumerate(panel.words.items())
            }}
        ] if panel.words else [],
        "custom": _custom(panel), "links": [],
    }  # fmt: skip
    if panel.kind == "timeseries":
        made["color"] = {"mode": "palette-classic-by-name"}
    elif panel.kind in {"stat", "state-timeline"}:
        made["color"] = {"mode": "thresholds"}
    if panel.max is not None:
        made["max"] = panel.max
    if panel.empty:
        made["noValue"] = panel.empty
    if panel.leads_to_host and panel.kind == "timeseries":
        made["links"] = [link("This host in depth", HOST, "var-host=${__field.labels.host}")]
    return made


def _custom(panel: Panel) -> Mapping[str, Json]:
    match panel.kind:
        case "timeseries":
            return {
                "drawStyle": "line", "lineWidth": 1, "pointSize": 5, "showPoints": "auto",
                "lineInterpolation": "stepAfter" if panel.is_step else "linear",
                "fillOpacity": 30 if panel.is_stacked else 8, "gradientMode": "none",
                "spanNulls": False, "axisPlacement": "auto", "axisLabel": panel.axis,
                "scaleDistribution": {"type": "linear"}, "barAlignment": 0,
                "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "line" if len(panel.colours) > 1 else "off"},
                "hideFrom": {"legend": False, "tooltip": False, "viz": False},
            }  # fmt: skip
        case "state-timeline":
            return {"fillOpacity": 80, "lineWidth": 0, "spanNulls": False}
        case "table":
            return {"align": "auto", "filterable": False, "inspect": False}
        case "heatmap":
            return {
                "scaleDistribution": {"type": "linear"},
                "hideFrom": {"legend": False, "tooltip": False, "viz": False},
            }
        case "stat":
            return {}


def _overrides(panel: Panel) -> Iterator[Mapping[str, Json]]:
    if any(THRESHOLD in query.legend for query in panel.queries):
        yield _override("byRegexp", f".*{THRESHOLD}.*", {
            "color": {"mode": "fixed", "fixedColor": "red"}, "custom.fillOpacity": 0,
            "custom.lineStyle": {"fill": "dash", "dash": [10, 10]}, "links": [],
        })  # fmt: skip
    if panel.columns:
        lead = link("This host in depth", HOST, "var-host=${__value.raw}")
        yield _override("byName", "host", {"links": [lead], "unit": "none"})
    for name, unit in panel.columns:
        yield _override("byName", name, {"unit": unit})


def _override(matcher: str, what: str, sets: Mapping[str, Json]) -> Mapping[str, Json]:
    return {
        "matcher": {"id": matcher, "options": what},
        "properties": [{"id": name, "value": value} for name, value in sets.items()],
    }


#: The dashboards by their names, which never change: links and bookmarks lead to them.
OVERVIEW: Final = "ygg-overview"
HOST: Final = "ygg-host"

_LAST: Final[Mapping[str, Json]] = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_LEGEND: Final[Mapping[str, Json]] = {
    "displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": [],
}  # fmt: skip
_OPTIONS: Final[Mapping[str, Json]] = {
    "timeseries": {"legend": _LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
    "stat": {
        "colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto",
        "reduceOptions": _LAST, "textMode": "auto",
    },
    "heatmap": {
        # Buckets came as buckets: nothing is to be counted again.
        "calculate": False, "cellGap": 1, "cellValues": {"unit": "short"},
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "fill": "dark-orange", "reverse": False, "scale": "exponential"},
        "exemplars": {"color": "rgba(255,0,255,0.7)"}, "filterValues": {"le": 1e-9},
        "legend": {"show": True}, "rowsFrame": {"layout": "auto"}, "showValue": "never",
        "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"},
    },
    "table": {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""}, "sortBy": [{"displayName": "wait for a slot", "desc": True}]},
    "state-timeline": {
        "legend": _LEGEND, "tooltip": {"mode": "single", "sort": "none"}, "mergeValues": True,
        "showValue": "never", "alignValue": "left", "rowHeight": 0.9,
    },
}  # fmt: skip

"""The rules of grafana/prometheus as values, and what an expression of PromQL names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "grafana" / "prometheus"
FILES = sorted((FOLDER / "rules").glob("*.yml"))

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([A-Za-z_][\w:]*)\s*(?:\{([^}]*)\})?")
#: What PromQL has words for.
_WORDS = frozenset({"and", "or", "unless", "by", "without", "on", "ignoring", "bool", "offset"})


@dataclass(frozen=True, kw_only=True)
class Rule:
    name: str
    expr: str
    is_alert: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Named:
    """Metrics that an expression asks for, each with the labels it is selected by; and groupings."""

    selectors: Sequence[tuple[str, frozenset[str]]]
    groupings: frozenset[str]


def rules(files: Sequence[Path] = tuple(FILES)) -> list[Rule]:
    return [rule for path in files for rule in _rules(yaml.safe_load(path.read_text("utf-8")))]


def _rules(file: Mapping[str, list[Mapping[str, list[dict[str, object]]]]]) -> Iterator[Rule]:
    for group in file["groups"]:
        for one in group["rules"]:
            yield Rule(
                name=str(one.get("alert", one.get("record"))),
                expr=str(one["expr"]),
                is_alert="alert" in one,
                labels=_texts(one.get("labels")),
                annotations=_texts(one.get("annotations")),
            )


def _texts(found: object) -> Mapping[str, str]:
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def named(expr: str) -> Named:
    bare = _TEXT.sub('""', expr)
    groupings = {
        label.strip() for inner in _GROUPING.findall(bare) for label in inner.split(",") if label
    }
    bare = re.sub(r"\[[^\]]*\]|\boffset\s+\w+", " ", _GROUPING.sub(" ", bare))
    bare = re.sub(r"\b\d[\w.]*", " ", bare)
    found: list[tuple[str, frozenset[str]]] = []
    for match in _SELECTOR.finditer(bare):
        name, inside = match[1], match[2] or ""
        if name in _WORDS or bare[match.end(1) :].lstrip().startswith("("):
            continue
        if re.match(r"(?:sum|max|min|count|avg)$", name):
            continue  # `sum by (...) (...)`: its grouping is gone, and what follows stands apart
        found.append((name, frozenset(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside))))
    return Named(found, frozenset(groupings))

"""Alerts and recording rules: promtool runs their cases, and they name what there is."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.prometheus.rules import FILES, FOLDER, ROOT, Rule, named, rules
from tests.prometheus.running import hastened

HERE = Path(__file__).parent
CASES = [HERE / "recording.yml", HERE / "alerts.yml"]
#: Labels that a scrape adds, and those that `ygg prometheus targets` gives.
_OF_A_SCRAPE = frozenset({"job", "instance"})
_OF_A_TARGET = frozenset({"host"})
_PARTS = ("_bucket", "_count", "_sum")

ALL = rules()
ALERTS = [rule for rule in ALL if rule.is_alert]
RECORDED = [rule for rule in ALL if not rule.is_alert]
each_rule = pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.name)
each_alert = pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.name)
each_recorded = pytest.mark.parametrize("rule", RECORDED, ids=lambda rule: rule.name)


def promtool(*args: object) -> None:
    program = shutil.which("promtool")
    assert program, "promtool is missing: `make test` installs it"
    done = subprocess.run(
        [program, *map(str, args)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.system
@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_every_case_of_the_rules_comes_out_as_it_says(cases: Path) -> None:
    promtool("test", "rules", cases)


@pytest.mark.system
def test_a_rule_that_never_fires_is_found_by_its_case(tmp_path: Path) -> None:
    """The cases are run for real: of a broken alert they fail."""
    (tmp_path / "rules").mkdir()
    for path in FILES:
        broken = path.read_text("utf-8").replace(
            "ygg_host_up == 0 unless", "ygg_host_up == 9 unless"
        )
        (tmp_path / "rules" / path.name).write_text(broken)
    cases = CASES[1].read_text("utf-8").replace("../../grafana/prometheus", str(tmp_path))
    (tmp_path / "cases.yml").write_text(cases)
    with pytest.raises(AssertionError, match="YggHostDown"):
        promtool("test", "rules", tmp_path / "cases.yml")


@pytest.mark.system
def test_rules_and_configuration_are_what_prometheus_takes(tmp_path: Path) -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", *FILES)
    shutil.copytree(FOLDER, tmp_path / "prometheus")
    promtool("check", "config", tmp_path / "prometheus" / "prometheus.yml")


def alert_cases() -> list[dict[str, Any]]:
    tests = yaml.safe_load(CASES[1].read_text("utf-8"))["tests"]
    return [case for test in tests for case in test["alert_rule_test"]]


@pytest.mark.pure
@each_alert
def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(rule: Rule) -> None:
    fires = {bool(case["exp_alerts"]) for case in alert_cases() if case["alertname"] == rule.name}
    assert fires == {True, False}


@pytest.mark.pure
@each_recorded
def test_every_recording_rule_has_a_case(rule: Rule) -> None:
    tests = yaml.safe_load(CASES[0].read_text("utf-8"))["tests"]
    asked = " ".join(case["expr"] for test in tests for case in test["promql_expr_test"])
    assert rule.name in asked


# -- names ----------------------------------------------------------------------------------------


def exported() -> dict[str, frozenset[str]]:
    """Every metric of our three processes, with its labels; the page is made out of them."""
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    found: dict[str, frozenset[str]] = {"up": _OF_A_TARGET}
    for name, kind, labels in re.findall(
        r"^\| `(ygg_\w+)` \| (\w+) \| ([^|]*) \|", page, re.MULTILINE
    ):
        has = frozenset(filter(None, (label.strip() for label in labels.split(","))))
        if name.startswith("ygg_gpu_"):
            has |= _OF_A_TARGET
        found[name] = has
        if kind == "histogram":
            found |= {name + part: has | {"le"} for part in _PARTS}
    return found


def known() -> dict[str, frozenset[str]]:
    """What is exported, and what is recorded; of that, the labels it can have at most."""
    found = exported()
    for rule in RECORDED:
        found[rule.name] = frozenset().union(
            *(found[name] for name, _ in named(rule.expr).selectors)
        )
    return found


@pytest.mark.pure
def test_names_are_found_in_an_expression() -> None:
    expr = (
        'sum by (job, le) (rate(a_total{x="b{c}",y=~"d"}[5m] offset 3m)) > 0.5e3 '
        "and on (host) k:b:sum unless max without (z) (up == 0) or time() - e"
    )
    found = named(expr)
    assert dict(found.selectors) == {
        "a_total": {"x", "y"}, "k:b:sum": frozenset(), "up": frozenset(), "e": frozenset(),
    }  # fmt: skip
    assert found.groupings == {"job", "le", "host", "z"}


@pytest.mark.pure
@each_rule
def test_a_rule_asks_for_metrics_and_labels_that_our_processes_export(rule: Rule) -> None:
    there, asks = known(), named(rule.expr)
    assert asks.selectors, "it asks for nothing"
    for name, labels in asks.selectors:
        assert name in there, f"nobody exports {name}"
        assert labels <= there[name] | _OF_A_SCRAPE, f"{name} has no {labels - there[name]}"
    has = frozenset().union(*(there[name] for name, _ in asks.selectors)) | _OF_A_SCRAPE
    assert asks.groupings <= has, f"nothing here has {asks.groupings - has}"
    shown = set(re.findall(r"\$labels\.(\w+)", " ".join(rule.annotations.values())))
    assert shown <= has


@pytest.mark.pure
@each_recorded
def test_a_recorded_name_says_its_level_its_metric_and_how_it_came_about(rule: Rule) -> None:
    level, metric, operations = rule.name.split(":")
    assert operations
    assert any(name.startswith(metric) for name, _ in named(rule.expr).selectors)
    assert level == "instance" or level in known()[rule.name]


# -- what people read -----------------------------------------------------------------------------


@pytest.mark.pure
@each_alert
def test_an_alert_says_how_bad_it_is_what_happened_and_where_it_is_told_what_to_do(
    rule: Rule,
) -> None:
    assert re.fullmatch(r"Ygg([A-Z][a-z]*)+", rule.name)
    assert rule.labels.keys() == {"severity"}
    assert rule.labels["severity"] in {"critical", "warning"}
    assert rule.annotations.keys() == {"summary", "description", "runbook_url"}
    assert "{{" not in rule.annotations["summary"]
    page = ROOT / rule.annotations["runbook_url"]
    assert page.parent == ROOT / "docs" / "runbooks"
    text = page.read_text("utf-8")
    assert f"`{rule.name}`" in text
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == ["What it means", "How to look", "What to do"]
    assert len(re.findall(r"^```sh$", text, re.MULTILINE)) >= 2, (
        "it shows commands, to look and to do"
    )


@pytest.mark.pure
def test_every_runbook_is_of_an_alert() -> None:
    pages = {f"docs/runbooks/{page.name}" for page in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert pages == {rule.annotations["runbook_url"] for rule in ALERTS}


@pytest.mark.pure
def test_durations_of_a_rule_are_shortened_and_its_numbers_are_not() -> None:
    assert hastened("15m", 30) == "30000ms"
    expr = "min_over_time(a:b:sum[30m]) > max_over_time(a:b:sum[30m] offset 3m) and b > 60"
    assert hastened(expr, 60) == (
        "min_over_time(a:b:sum[30000ms]) > max_over_time(a:b:sum[30000ms] offset 3000ms) and b > 60"
    )

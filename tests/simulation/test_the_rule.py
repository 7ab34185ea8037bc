"""A few scenarios on one seed, against every static limit: what `make test` has time for.

The whole, on more seeds, is `python -m tests.simulation`.
"""

from __future__ import annotations

import pytest

from autoscaler.settings import make_settings
from tests.simulation.__main__ import HELD_OUT, TUNING
from tests.simulation.judging import Played, Score, best_static, with_rule
from tests.simulation.plays import USUAL_LEAST, Scenario
from tests.simulation.scenarios import SCENARIOS

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
#: One for each part of the rule, and fast.
QUICK = (
    "underload", "overload", "game", "leak", "caching", "metrics-dead", "card-4gb", "falling",
    "cpu-bound", "ollama-one", "constant-80", "constant-93", "fenrir",
)  # fmt: skip


@pytest.mark.parametrize("name", QUICK)
def test_the_rule_keeps_its_promises(name: str) -> None:
    scenario, seed = BY_NAME[name], TUNING[0]
    best = best_static(scenario, seed)
    score = Score(
        scenario=scenario, played=(Played(seed=seed, run=with_rule(scenario, seed), best=best),)
    )
    assert score.broken() == []


@pytest.mark.parametrize(
    ("name", "without", "broken"),
    [
        ("overload", {"wait_seconds_max": 1e9}, "of the best static goodput"),
        ("falling", {"trial_seconds_max": 60.0}, "of the best static goodput"),
        ("cpu-bound", {"trial_seconds_max": 60.0}, "drifted"),
        ("card-4gb-crashing", {"forecast_deviations": 0.0, "ceiling_seconds": 1.0}, "changes an hour"),
        ("game", {"memory_high_ratio": 0.99, "memory_urgent_ratio": 0.99}, "memory failures"),
        ("constant-80-untold", {"load_ratio": 1.0}, "of the best static goodput"),
        ("fenrir", {"wait_seconds_max": 1e9}, "its first move"),
    ],
)  # fmt: skip
def test_a_rule_without_one_of_its_parts_breaks_a_promise(
    name: str, without: dict[str, float], broken: str
) -> None:
    scenario, seed = BY_NAME[name], TUNING[0]
    run = with_rule(scenario, seed, make_settings(without))
    played = Played(seed=seed, run=run, best=best_static(scenario, seed))
    told = Score(scenario=scenario, played=(played,)).broken()
    assert any(broken in line for line in told), told


def test_no_seed_is_both_tuned_on_and_reported_as_unseen() -> None:
    assert not set(TUNING) & set(HELD_OUT)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_says_why_it_is_there_and_why_less_is_promised(scenario: Scenario) -> None:
    assert scenario.why
    assert BY_NAME[scenario.name] is scenario, "two scenarios have this name"
    strict = scenario.least >= USUAL_LEAST and not scenario.failures_most
    assert strict or scenario.cause

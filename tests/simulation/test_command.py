"""`python -m tests.simulation` as people and `make` call it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.simulation.__main__ import main
from tests.simulation.judging import Best, Played, Score, broken_overall, static
from tests.simulation.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]


def simulated(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--jobs", "1", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.system
def test_both_groups_of_seeds_are_printed_and_a_promise_that_held_is_exit_0() -> None:
    done = simulated("fenrir", "--tuning", "1", "--held-out", "201")
    assert done.returncode == 0, done.stderr
    assert "tuning seeds (1): " in done.stdout
    assert "held-out seeds (201): " in done.stdout
    assert done.stdout.endswith("Every promise held.\n")
    assert "2/2" in done.stderr, "progress is told on stderr"


@pytest.mark.system
def test_a_broken_promise_is_named_and_is_exit_1() -> None:
    done = simulated("fenrir", "--tuning", "1", "--held-out", "", "--json",
                     "--set", "wait_seconds_max=100000")  # fmt: skip
    assert done.returncode == 1
    told = json.loads(done.stdout)["tuning"]
    assert told["seeds"] == [1]
    assert told["scenarios"]["fenrir"]["goodput_ratio"] < 0.95
    assert any(line.startswith("fenrir: ") for line in told["broken"])


def test_the_mean_is_promised_for_all_scenarios_together_only() -> None:
    run = static(SCENARIOS[0], 1, [2])
    best = Best(limits=(2,), run=replace(run, tokens=run.tokens / 0.97), start=run, tried=1)
    scores = [
        Score(
            scenario=replace(scenario, promise=None, failures_most=1.0),
            played=(Played(seed=1, run=run, best=best),),
        )
        for scenario in SCENARIOS
    ]
    assert broken_overall(scores) == [
        "all: 97.0% of the best static goodput on average, promised 98 %"
    ]
    assert broken_overall(scores[:-1]) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["midnight"], "no scenario 'midnight'; there are: underload"),
        (["--set", "colour=1"], "colour"),
        (["--set", "colour"], "'colour' is not KEY=VALUE"),
        (["--jobs", "0"], "at least 1"),
        (["--tuning", "", "--held-out", ""], "no seed is left to play"),
        (["--tuning", "one"], "--tuning"),
    ],
)
def test_what_was_typed_wrong_is_told(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_picture_of_a_run_is_small_and_the_same_each_time(tmp_path: Path, suffix: str) -> None:
    files = [tmp_path / f"{name}.{suffix}" for name in ("one", "other")]
    for file in files:
        assert main(["--picture", str(file), "game"]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    if suffix == "png":
        assert 10_000 < files[0].stat().st_size < 150_000


def test_the_picture_of_the_readme_is_small_enough_to_be_read_in_a_browser() -> None:
    assert (ROOT / "docs/pictures/autoscaler.png").stat().st_size < 150_000

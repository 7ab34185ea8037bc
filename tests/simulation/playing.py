"""Many plays at once, each in a process of its own, with a bar on stderr."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Final

from tqdm import tqdm

from autoscaler.settings import Settings
from tests.simulation.judging import Played, best_static, with_rule
from tests.simulation.plays import Scenario
from tests.simulation.scenarios import AFTERNOON, SCENARIOS

#: These take a minute or more a seed.
COSTLY: Final = frozenset({"card-80gb", "eight-unequal", "vllm-roomy", "vllm-tight", "day"})


def play_all(
    scenarios: list[Scenario], seeds: list[int], settings: Settings, jobs: int
) -> dict[tuple[str, int], Played]:
    """Each scenario on each seed, the costly ones first, so that no process is left alone."""
    names = sorted((s.name for s in scenarios), key=lambda name: name not in COSTLY)
    todo = dict.fromkeys((name, seed) for name in names for seed in seeds)
    played: dict[tuple[str, int], Played] = {}
    interval = 0.1 if sys.stderr.isatty() else 30.0  # a bar, or lines of a log
    with (
        tqdm(total=len(todo), unit="play", file=sys.stderr, mininterval=interval) as progress,
        ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as workers,
    ):
        running = {workers.submit(play, *which, settings): which for which in todo}
        for done in as_completed(running):
            played[running[done]] = done.result()
            progress.set_description("{} {}".format(*running[done]), refresh=False)
            progress.update()
    return played


def play(name: str, seed: int, settings: Settings) -> Played:
    """In a process of its own: scenarios hold functions, which can't be sent there."""
    scenario = next(s for s in (*SCENARIOS, AFTERNOON) if s.name == name)
    run = with_rule(scenario, seed, settings)
    return Played(seed=seed, run=run, best=best_static(scenario, seed))

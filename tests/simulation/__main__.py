"""Play the scenarios and print what the rule was worth; exit code 1 where a promise is broken."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import tests.simulation as about
from autoscaler.settings import Settings, SettingsError, make_settings
from tests.simulation.judging import Score, broken_overall, with_rule
from tests.simulation.playing import play_all
from tests.simulation.plays import Scenario
from tests.simulation.scenarios import AFTERNOON, SCENARIOS
from tests.simulation.tables import as_json, table

#: The rule and its constants were tuned on these (what is rare, memory failures, on 1 to 40) ...
TUNING: Final = (1, 2, 3, 4, 5)
#: ... and never on these: they were first played when the rule stood as it is.
HELD_OUT: Final = (201, 202, 203, 204, 205)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description=about.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="all by default")
    parser.add_argument("--tuning", type=_seeds, default=TUNING, metavar="SEEDS", help="as 1,2,3")
    parser.add_argument("--held-out", type=_seeds, default=HELD_OUT, metavar="SEEDS")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="another value of a setting of the rule")  # fmt: skip
    parser.add_argument("--jobs", type=_count, default=os.cpu_count() or 1, metavar="N",
                        help="processes at once; as many as there are cores by default")  # fmt: skip
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--picture", type=Path, metavar="FILE",
                        help="only draw one run, of `afternoon` or of the scenario named")  # fmt: skip
    args = parser.parse_args(arguments)
    known = {scenario.name: scenario for scenario in (*SCENARIOS, AFTERNOON)}
    unknown = [name for name in args.scenarios if name not in known]
    if unknown:
        parser.error(f"no scenario {unknown[0]!r}; there are: {', '.join(known)}")
    try:
        settings = make_settings(dict(_setting(text) for text in args.set))
    except (SettingsError, ValueError) as error:
        parser.error(f"--set: {error}")
    if args.picture is not None:
        return _draw(known[(args.scenarios or ["afternoon"])[0]], settings, args.picture)
    chosen = [known[name] for name in args.scenarios] or list(SCENARIOS)
    groups = {"tuning": args.tuning, "held-out": args.held_out}
    seeds = [seed for group in groups.values() for seed in group]
    if not seeds:
        parser.error("--tuning, --held-out: no seed is left to play")
    played = play_all(chosen, seeds, settings, args.jobs)
    scores = {
        title: [
            Score(scenario=one, played=tuple(played[one.name, seed] for seed in group))
            for one in chosen
        ]
        for title, group in groups.items()
        if group
    }
    return _tell(scores, as_text=not args.json)


def _tell(scores: dict[str, list[Score]], *, as_text: bool) -> int:
    broken = [f"{title} seeds: {b}" for title, s in scores.items() for b in broken_overall(s)]
    if as_text:
        for title, some in scores.items():
            seeds = ", ".join(str(p.seed) for p in some[0].played)
            print(table(f"{title} seeds ({seeds}): the rule against the best static limit", some))
            print()
        print("\n".join(broken) or "Every promise held.")
    else:
        print(json.dumps({title: as_json(some) for title, some in scores.items()}, indent=2))
    return 1 if broken else 0


def _draw(scenario: Scenario, settings: Settings, path: Path) -> int:
    from tests.simulation import picture

    run = with_rule(scenario, TUNING[0], settings, record=True)
    picture.draw(scenario, run, settings, path)
    print(f"{path}: {scenario.name}, {scenario.why}")
    return 0


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return count


def _seeds(text: str) -> tuple[int, ...]:
    return tuple(int(seed) for seed in text.split(",") if seed)


def _setting(text: str) -> tuple[str, float]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not KEY=VALUE")
    return key, int(value) if value.isdigit() else float(value)


if __name__ == "__main__":
    sys.exit(main())

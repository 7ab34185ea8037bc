"""What is printed: one line a scenario, aligned, and the same as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.simulation.judging import Score, broken_overall
from tests.simulation.plays import USUAL_LEAST, Scenario

Json = dict[str, "str | float | int | list[str] | list[int] | None"]

_HEAD = (
    "scenario", "goodput", "least", "as set", "failures", "at steps", "changes/h", "over 90 %",
    "wait p0", "wait p2", "best limits",
)  # fmt: skip


def _cells(score: Score) -> list[str]:
    best = [" ".join(map(str, p.best.limits)) for p in score.played]
    shown = best if len(score.scenario.hosts) == 1 else best[:1]
    return [
        score.scenario.name,
        f"{score.ratio:.1%}",
        f"{score.worst:.1%}",
        f"{score.by_start:.0%}",
        str(score.failures),
        str(score.failures_at_steps),
        f"{score.changes:.1f}",
        f"{score.above:.1%} ({score.best_above:.1%})",
        f"{score.wait(0):.0f} s",
        f"{score.wait(2):.0f} s",
        ", ".join(shown),
    ]


def table(title: str, scores: Sequence[Score]) -> str:
    """Goodput as a share of the best static limit's: mean over seeds, least of them."""
    rows = [list(_HEAD), *(_cells(score) for score in scores)]
    rows.append(
        [
            "all",
            f"{statistics.fmean(s.ratio for s in scores):.1%}",
            f"{min(s.worst for s in scores):.1%}",
            f"{statistics.fmean(s.by_start for s in scores):.0%}",
            str(sum(s.failures for s in scores)),
            str(sum(s.failures_at_steps for s in scores)),
            f"{max(s.changes for s in scores):.1f}",
        ]
    )
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(_HEAD))]
    lines = [title]
    for row in rows:
        first, *rest = (
            cell.ljust(width) if i in (0, len(_HEAD) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        )
        lines.append("  ".join([first, *rest]).rstrip())
    return "\n".join([*lines, *(_exception(s.scenario) for s in scores if s.scenario.cause)])


def _exception(scenario: Scenario) -> str:
    goodput = f"{scenario.least:.0%} of goodput" if scenario.least < USUAL_LEAST else ""
    failures = f"{scenario.failures_most:g} failures a seed" if scenario.failures_most else ""
    promised = ", ".join(text for text in (goodput, failures) if text)
    return f"exception: {scenario.name} ({promised}): {scenario.cause}"


def as_json(scores: Sequence[Score]) -> dict[str, object]:
    return {
        "seeds": [p.seed for p in scores[0].played] if scores else [],
        "goodput_ratio": statistics.fmean(s.ratio for s in scores) if scores else None,
        "broken": broken_overall(scores),
        "scenarios": {s.scenario.name: _one(s) for s in scores},
    }


def _one(score: Score) -> dict[str, object]:
    return {
        "why": score.scenario.why,
        "goodput_ratio": score.ratio,
        "goodput_ratio_by_seed": [p.ratio for p in score.played],
        "goodput_tokens_per_second": [p.run.goodput for p in score.played],
        "goodput_ratio_as_set": score.by_start,
        "memory_failures": score.failures,
        "memory_failures_at_steps": score.failures_at_steps,
        "changes_per_hour": score.changes,
        "above_threshold_ratio": score.above,
        "above_threshold_ratio_of_best": score.best_above,
        "wait_seconds_p95_by_priority": [score.wait(priority) for priority in range(5)],
        "best_limits": [list(p.best.limits) for p in score.played],
        "limits_tried": sum(p.best.tried for p in score.played),
        "goodput_ratio_promised": score.scenario.least,
        "memory_failures_promised": score.scenario.failures_most * len(score.played),
        "cause": score.scenario.cause,
    }

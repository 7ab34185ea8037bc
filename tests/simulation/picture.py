"""One run over time: the limit and what runs, the card's memory, the longest wait.

matplotlib comes with the extra `picture` and is imported only here. Colours are Okabe and Ito's,
which colour-blind people can tell apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from autoscaler.policy import Action, Decision
from autoscaler.settings import Settings
from tests.simulation.plays import Moment, Run, Scenario

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE, _GREEN, _RED = "#0072B2", "#E69F00", "#009E73", "#B23A00"
_INK, _FAINT, _RULE = "#24292F", "#6E7781", "#AFB8C1"
#: Moves so close to each other, in minutes, are told in one word.
_CLOSE_MINUTES: Final = 6.0


def draw(scenario: Scenario, run: Run, settings: Settings, path: Path) -> None:
    """Write the picture of the first host; by its suffix a PNG or an SVG. Raises OSError."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    host, moments = next(iter(run.moments.items()))
    with mpl.rc_context(
        {
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "text.color": _INK,
            "svg.hashsalt": "ygg",  # the same picture is the same bytes
        }
    ):
        figure = Figure(figsize=(11, 6.2))
        limit, memory, wait = figure.subplots(
            3, 1, sharex=True, gridspec_kw={"height_ratios": [1.25, 1, 0.8], "hspace": 0.22}
        )
        figure.subplots_adjust(left=0.075, right=0.985, top=0.885, bottom=0.075)
        minutes = [moment.at / 60 for moment in moments]
        _limits(limit, minutes, moments, [c for c in run.changes if c[1] == host])
        _memory(memory, minutes, moments, settings)
        _waits(wait, minutes, moments, settings)
        wait.set_xlabel("minutes", color=_FAINT)
        wait.set_xlim(0, minutes[-1])
        figure.text(0.012, 0.965, "A limit that tunes itself", fontsize=13, fontweight="bold",
                    va="center")  # fmt: skip
        figure.text(0.012, 0.928, f"simulated host, the real rule; {scenario.why}", color=_FAINT,
                    va="center")  # fmt: skip
        metadata = {"Date": None} if path.suffix == ".svg" else None
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130, facecolor="white", metadata=metadata)


def _limits(
    axes: Axes,
    minutes: list[float],
    moments: list[Moment],
    changes: list[tuple[float, str, Decision]],
) -> None:
    axes.fill_between(
        minutes, [m.active for m in moments], step="post", color=_BLUE, alpha=0.18, linewidth=0,
        label="running tasks",
    )  # fmt: skip
    axes.step(minutes, [m.limit for m in moments], where="post", color=_BLUE, label="limit")
    told = {Action.GROW: -1e9, Action.SHRINK: -1e9}
    for at, _, decision in changes:
        if at / 60 - told[decision.action] < _CLOSE_MINUTES:
            continue
        told[decision.action] = at / 60
        up = decision.action is Action.GROW
        axes.annotate(
            decision.reason.value.replace("_", " "), (at / 60, decision.limit),
            xytext=(2, 5 if up else -11), textcoords="offset points", fontsize=7.5,
            color=_GREEN if up else _RED,
        )  # fmt: skip
    axes.set_ylim(0, max(m.limit for m in moments) + 1.2)
    _plain(axes, "slots")


def _memory(axes: Axes, minutes: list[float], moments: list[Moment], settings: Settings) -> None:
    axes.plot(minutes, [100 * m.memory for m in moments], color=_ORANGE, label="memory used")
    high = 100 * settings.memory_high_ratio
    axes.axhline(high, color=_RED, linewidth=0.9, linestyle=(0, (4, 3)), label=f"{high:.0f} %")
    axes.set_ylim(0, 105)
    _plain(axes, "% of the card")


def _waits(axes: Axes, minutes: list[float], moments: list[Moment], settings: Settings) -> None:
    axes.plot(minutes, [m.oldest_wait / 60 for m in moments], color=_INK, label="oldest wait")
    most = settings.wait_seconds_max / 60
    axes.axhline(
        most, color=_GREEN, linewidth=0.9, linestyle=(0, (4, 3)), label=f"{60 * most:.0f} s"
    )
    axes.set_ylim(0, None)
    _plain(axes, "minutes")


def _plain(axes: Axes, label: str) -> None:
    axes.set_ylabel(label, color=_FAINT)
    axes.tick_params(colors=_FAINT, length=3)
    axes.grid(axis="y", color="#EAEEF2", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_RULE)
    axes.legend(loc="upper left", frameon=False, ncols=3, fontsize=8)

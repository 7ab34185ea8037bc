"""The picture: which slot ran what when, both dispatchers above each other on one time axis.

matplotlib comes with the extra `picture` and is imported only here. Colours are from Okabe and
Ito's palette, which colour-blind people can tell apart; the priority's number stands in each bar
that has room for it, so the picture reads without colour too.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ygg.compare.recording import Recording, Run
from ygg.compare.report import Comparison, Outcome
from ygg.printing import PRIORITY_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS: Final = (".png", ".svg")
WAY_OUT: Final = "pip install 'ygg-dispatcher[picture]'"

#: Darkest first, so that the urgent stand out in grey as well: fill, and the number on it.
_COLOURS: Final[Mapping[int, tuple[str, str]]] = {
    0: ("#B23A00", "white"),
    1: ("#E69F00", "black"),
    2: ("#0072B2", "white"),
    3: ("#56B4E9", "black"),
    4: ("#C9CDD2", "black"),
}
_OTHER: Final = ("#999999", "black")
_INK, _FAINT, _LANE = "#24292F", "#6E7781", "#F3F4F6"
_WIDTH_INCHES: Final = 11.0
_ROW_INCHES: Final = 0.27
_BAR: Final = 0.84
#: Of the time axis; a bar that is narrower holds no number.
_NUMBER_SHARE: Final = 0.008


def is_possible() -> bool:
    """Whether matplotlib is here."""
    return importlib.util.find_spec("matplotlib") is not None


def lanes(recording: Recording) -> list[tuple[str, int]]:
    """The rows of the chart: (host, slot), as many as the host has, or as were taken."""
    rows = []
    for host, slots in recording.hosts.items():
        used = [run.slot + 1 for run in recording.runs if run.host == host]
        rows += [(host, slot) for slot in range(max(slots, *used, 0))]
    return rows


def draw(comparison: Comparison, path: Path) -> None:
    """Write the picture; by its suffix a PNG or an SVG. Raises OSError."""
    import matplotlib as mpl

    with mpl.rc_context(
        {
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "text.color": _INK,
            "svg.hashsalt": "ygg",  # the same picture is the same bytes
        }
    ):
        figure = _figure(comparison)
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=130, facecolor="white", metadata=metadata)


def _figure(comparison: Comparison) -> Figure:
    from matplotlib.figure import Figure

    titles = {
        "Legacy threads (ygg loop)": comparison.threads,
        "ygg (ygg loop --async)": comparison.with_async,
    }
    rows = [len(lanes(outcome.recording)) for outcome in titles.values()]
    height = sum(rows) * _ROW_INCHES + 2.35
    figure = Figure(figsize=(_WIDTH_INCHES, height))
    axes: Sequence[Axes] = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": rows, "hspace": 0.36}
    )
    figure.subplots_adjust(left=0.155, right=0.985, top=1 - 1.1 / height, bottom=0.52 / height)
    end = max(outcome.figures.makespan for outcome in titles.values()) or 1.0
    for each, (title, outcome) in zip(axes, titles.items(), strict=True):
        _chart(each, title, outcome, end)
    axes[-1].set_xlabel("seconds since the first task", color=_FAINT)
    axes[0].tick_params(labelbottom=True)
    accepted = comparison.threads.figures.accepted
    figure.text(
        0.012, 1 - 0.3 / height, f"The same {accepted} tasks through both dispatchers",
        fontsize=13, fontweight="bold", va="center",
    )  # fmt: skip
    simulated = "simulated servers" if comparison.servers == "simulated" else "real model servers"
    figure.text(
        0.012, 1 - 0.58 / height, f"A row is a slot, a bar a task; {simulated}",
        color=_FAINT, va="center",
    )  # fmt: skip
    _legend(figure, comparison, height)
    return figure


def _chart(axes: Axes, title: str, outcome: Outcome, end: float) -> None:
    recording, figures = outcome.recording, outcome.figures
    rows = lanes(recording)
    place = {row: number for number, row in enumerate(rows)}
    for number in range(len(rows)):
        axes.barh(number, end, height=_BAR, color=_LANE, zorder=0)
    for run in recording.runs:
        _bar(axes, run, place[run.host, run.slot], end)
    axes.axvline(figures.makespan, color=_INK, linewidth=1, linestyle=(0, (3, 2)), zorder=3)
    axes.set_xlim(0, end * 1.005)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    hosts = list(recording.hosts)
    for host in hosts:
        own = [place[row] for row in rows if row[0] == host]
        used = figures.hosts[host].utilization
        middle = sum(own) / len(own)
        axes.text(
            -0.012, middle, f"{host}\n{100 * used:.0f} % in use", ha="right", va="center",
            transform=axes.get_yaxis_transform(), linespacing=1.25,
        )  # fmt: skip
        if host != hosts[-1]:
            axes.axhline(
                own[-1] + 0.5, color="#AFB8C1", linewidth=0.8, zorder=1, xmin=-0.15, clip_on=False
            )
    axes.set_yticks([])
    axes.tick_params(axis="x", colors=_FAINT, length=3)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#AFB8C1")
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=_INK, pad=6)
    axes.set_title(_said(outcome), loc="right", fontsize=9.5, color=_INK, pad=6)


def _said(outcome: Outcome) -> str:
    figures = outcome.figures
    said = f"{figures.makespan:.1f} s, {figures.at_once} at once, {outcome.inversions} out of order"
    critical = figures.waits.get(0)
    return (
        said
        if critical is None
        else f"{said}, critical tasks waited {critical.median:.1f} s (median)"
    )


def _bar(axes: Axes, run: Run, row: int, end: float) -> None:
    fill, ink = _COLOURS.get(run.priority, _OTHER)
    axes.barh(
        row, run.seconds, left=run.started, height=_BAR, color=fill, edgecolor="white",
        linewidth=0.7, zorder=2,
    )  # fmt: skip
    if run.seconds >= _NUMBER_SHARE * end:
        axes.text(
            run.started + run.seconds / 2, row + 0.03, str(run.priority), color=ink, fontsize=7.5,
            ha="center", va="center", zorder=4,
        )  # fmt: skip


def _legend(figure: Figure, comparison: Comparison, height: float) -> None:
    from matplotlib.patches import Patch

    seen = {run.priority for o in comparison.outcomes.values() for run in o.recording.runs}
    patches = [
        Patch(
            facecolor=_COLOURS.get(p, _OTHER)[0], label=f"{p} {PRIORITY_NAMES.get(p, '')}".rstrip()
        )
        for p in sorted(seen)
    ]
    figure.legend(
        handles=patches, loc="center right", bbox_to_anchor=(0.988, 1 - 0.42 / height),
        ncols=len(patches), frameon=False, handlelength=1.1, handleheight=1.1, columnspacing=1.3,
        handletextpad=0.5, title="priority", title_fontproperties={"size": 8.5}, alignment="left",
    )  # fmt: skip

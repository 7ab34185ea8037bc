"""One host in depth: its slots, its work, what the autoscaler sees there, its card."""

from __future__ import annotations

from typing import Final

from tools.dashboards import asked
from tools.dashboards.parts import (
    HOST,
    OVERVIEW,
    Dashboard,
    Panel,
    Query,
    Row,
    datasource,
    docs,
    link,
    values_of,
)

_IT: Final = 'host=~"$host"'
_NO_ANSWER: Final = "no answer"
_NO_CARD: Final = "no ygg-gpu-exporter tells it"
_NO_AUTOSCALER: Final = "no autoscaler has decided about it yet"
_GOOD: Final = (None, "green")


def _stat(
    title: str,
    description: str,
    metric: str,
    page: str,
    *colours: tuple[float | None, str],
    unit: str = "short",
    words: dict[float, tuple[str, str]] | None = None,
) -> Panel:
    return Panel(
        title=title, description=description, unit=unit, page=page, kind="stat", width=4, height=4,
        queries=[Query(expr=f"max({metric}{{{_IT}}})", legend=title)], colours=colours or (_GOOD,),
        words=words or {}, empty=_NO_ANSWER,
    )  # fmt: skip


_WELL: Final = Row(
    title="Is it well?",
    panels=[
        _stat(
            "Up", "Whether it takes starts, or rests by its own wish.", "ygg_host_up",
            "runbooks/host-down.md",
            words={1: ("up", "green"), 0: ("down", "red")},
        ),
        _stat(
            "Paused", "Whether a person paused it.", "ygg_host_paused", "command-line.md",
            words={1: ("paused", "orange"), 0: ("no", "green")},
        ),
        _stat(
            "Pinned", "Whether its limit is set by hand: no autoscaler moves it.",
            "ygg_host_slots_pinned", "autoscaler.md",
            words={1: ("pinned", "orange"), 0: ("no", "green")},
        ),
        _stat(
            "Tasks that wait for it", "Tasks that could start here and wait for a slot.",
            "ygg_host_demand_tasks", "autoscaler.md",
        ),
        _stat(
            "Oldest of them", "How long the oldest of them has waited.",
            "ygg_host_oldest_wait_seconds", "troubleshooting.md", unit="s",
        ),
        _stat(
            "Blocked in a row", "Tasks blocked here since the last that was answered.",
            "ygg_host_blocked_in_a_row", "runbooks/tasks-blocked-in-a-row.md",
            _GOOD, (1, "orange"), (5, "red"),
        ),
    ],
)  # fmt: skip


def _gauge(metric: str, legend: str) -> Query:
    return Query(expr=f"max({metric}{{{_IT}}})", legend=legend)


_SLOTS: Final = Row(
    title="Slots",
    panels=[
        Panel(
            title="The limit and what runs",
            description=(
                "The limit moves between the lower and the upper bound. More run than it allows "
                "only while a host that was made smaller drains."
            ),
            unit="short", page="hosts-yaml.md", width=12, is_step=True, axis="slots",
            queries=[
                _gauge("ygg_host_slots_limit", "limit"),
                _gauge("ygg_host_slots_active", "active"),
                _gauge("ygg_host_slots_min", "lower bound"),
                _gauge("ygg_host_slots_max", "upper bound"),
                _gauge("ygg_autoscaler_desired", "wanted by the autoscaler"),
            ],
        ),
        Panel(
            title="What waits for a slot here",
            description="Tasks that could start here but for a slot; some may start elsewhere.",
            unit="short", page="autoscaler.md", width=6, axis="tasks",
            queries=[_gauge("ygg_host_demand_tasks", "waiting")],
        ),
        Panel(
            title="Moves of the limit",
            description=(
                "Who or what moved it, and which way. Blank: it stayed. They are marked in all "
                "panels."
            ),
            unit="short", page="autoscaler.md", width=6, axis="moves",
            queries=[Query(
                expr=asked.or_none(
                    f"({asked.moves('direction', 'reason')})", "reason", "none"
                ),
                legend="{{direction}} {{reason}}",
            )],
        ),
    ],
)  # fmt: skip


def _rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{_IT}}}[$__rate_interval]))"


_WORK: Final = Row(
    title="Work",
    panels=[
        Panel(
            title="Attempts a second by outcome",
            description="All that ended here. Closed is answered; reopened goes back to its place.",
            unit="short", page="troubleshooting.md", is_stacked=True, width=6, axis="a second",
            queries=[Query(
                expr=asked.or_none(
                    _rate("ygg_tasks_finished_total", "outcome"), "outcome", "closed"
                ),
                legend="{{outcome}}",
            )],
        ),
        Panel(
            title="Failures of the host",
            description="Attempts that it failed after it had taken them, by reason.",
            unit="short", page="troubleshooting.md", width=6, axis="a second",
            queries=[Query(
                expr=asked.or_none(_rate("ygg_host_failures_total", "reason"), "reason", "none"),
                legend="{{reason}}",
            )],
        ),
        Panel(
            title="Tokens a second",
            description="Read (prompt) and written (completion), counted while answers stream.",
            unit="short", page="metrics.md#the-dispatcher", width=6, axis="a second",
            queries=[Query(
                expr=asked.or_none(
                    _rate("ygg_tokens_total", "direction"), "direction", "completion"
                ),
                legend="{{direction}}",
            )],
        ),
        Panel(
            title="Length of a run",
            description=(
                "Mean of the attempts that ended. The more run beside each other, the longer each "
                "takes: worth it as long as tokens a second rise. 0: none ended."
            ),
            unit="s", page="autoscaler.md", width=6,
            queries=[Query(
                expr=asked.of_hosts(
                    f"{_rate('ygg_host_run_seconds_total', 'host')}"
                    f" / ({_rate('ygg_host_runs_total', 'host')} > 0)"
                ),
                legend="mean",
            )],
        ),
        Panel(
            title="Slots in use over time",
            description="Mean number of slots in use, as ended attempts tell it.",
            unit="short", page="metrics.md#the-dispatcher", width=8, axis="slots",
            queries=[Query(
                expr=asked.of_hosts(_rate("ygg_host_run_seconds_total", "host")), legend="in use",
            )],
        ),
        Panel(
            title="Waits inside the model server",
            description=(
                "Time that ended tasks had spent queued inside the server, a second. Much of it: "
                "the server runs fewer at once than the limit allows."
            ),
            unit="s", page="troubleshooting.md", width=8,
            queries=[Query(
                expr=asked.of_hosts(_rate("ygg_host_server_wait_seconds_total", "host")),
                legend="queued in the server",
            )],
        ),
        Panel(
            title="Answers cut at a token limit",
            description="By type of task: their limit is too low, or the model talks too much.",
            unit="short", page="hosts-yaml.md", width=8, axis="a second",
            queries=[Query(
                expr=asked.of_types(_rate("ygg_answers_cut_total", "type")), legend="{{type}}",
            )],
        ),
    ],
)  # fmt: skip

_RATIOS: Final = 'signal=~"utilization|memory|binding|server_wait"'
_AUTOSCALER: Final = Row(
    title="What the autoscaler sees and does",
    panels=[
        Panel(
            title="Signals and their thresholds",
            description=(
                "What the rule saw, and where each begins to matter. binding: how often the limit "
                "was what held work back; server_wait: share of a run spent queued in the server."
            ),
            unit="percentunit", page="autoscaler.md", width=12, empty=_NO_AUTOSCALER,
            queries=[
                Query(expr=f"max by (signal) (ygg_autoscaler_signal{{{_IT}, {_RATIOS}}})",
                      legend="{{signal}}"),
                Query(expr=f"max by (signal) (ygg_autoscaler_threshold{{{_IT}, {_RATIOS}}})",
                      legend="{{signal}} threshold"),
            ],
        ),
        Panel(
            title="Oldest wait and its threshold",
            description="How long the oldest task that could start here waits, as the rule saw it.",
            unit="s", page="autoscaler.md", width=6, empty=_NO_AUTOSCALER,
            queries=[
                Query(expr=asked.signal("wait_seconds"), legend="oldest wait"),
                Query(expr=asked.threshold("wait_seconds"), legend="threshold"),
            ],
        ),
        Panel(
            title="Age of what it knows",
            description="Since a source last gave a new, sane sample. Too old: the limit stays.",
            unit="s", page="runbooks/autoscaler-silent.md", width=6, empty=_NO_AUTOSCALER,
            queries=[Query(
                expr=f"max by (source) (ygg_autoscaler_signal_age_seconds{{{_IT}}})",
                legend="{{source}}",
            )],
        ),
        Panel(
            title="Decisions by reason",
            description="Decisions a second: most keep the limit, and say why.",
            unit="short", page="autoscaler.md", width=12, is_stacked=True, axis="a second",
            empty=_NO_AUTOSCALER,
            queries=[Query(
                expr=_rate("ygg_autoscaler_decisions_total", "action, reason"),
                legend="{{action}}: {{reason}}",
            )],
        ),
        Panel(
            title="What a person should look at",
            description="Alerts of the autoscaler about this host. none: there is nothing.",
            unit="short", page="autoscaler.md", width=12,
            queries=[Query(
                expr=asked.or_none(
                    f"max by (reason) (ygg_autoscaler_alert{{{_IT}}})", "reason", "none"
                ),
                legend="{{reason}}",
            )],
        ),
    ],
)  # fmt: skip


def _card(metric: str, legend: str) -> Query:
    return Query(expr=f"{metric}{{{_IT}}}", legend=legend)


_CARD: Final = Row(
    title="Its cards",
    panels=[
        Panel(
            title="Utilization of the cards",
            description="Share of the time in which some kernel ran: 100 % is not always full use.",
            unit="percentunit", page="metrics.md#ygg-gpu-exporter", max=1, empty=_NO_CARD,
            queries=[
                Query(
                    expr=f"ygg_gpu_utilization_mean_ratio{{{_IT}}} "
                    f"or ygg_gpu_utilization_ratio{{{_IT}}}",
                    legend="card {{gpu}} {{mig}}",
                ),
                Query(expr=asked.threshold("utilization"), legend="threshold"),
            ],
        ),
        Panel(
            title="Memory of the cards",
            description="In use, by all processes; and all of the card.",
            unit="bytes", page="metrics.md#ygg-gpu-exporter", empty=_NO_CARD,
            queries=[
                _card("ygg_gpu_memory_used_bytes", "used, card {{gpu}} {{mig}}"),
                _card("ygg_gpu_memory_total_bytes", "all, card {{gpu}} {{mig}}"),
            ],
        ),
        Panel(
            title="Memory of models and processes",
            description=(
                "What the model server says that its models take, and what the driver says of "
                "each process."
            ),
            unit="bytes", page="metrics.md#ygg-gpu-exporter", empty="neither tells it",
            queries=[
                _card("ygg_host_model_memory_bytes", "loaded models"),
                _card("ygg_gpu_process_memory_bytes", "process {{pid}}, card {{gpu}}"),
            ],
        ),
        Panel(
            title="Temperature",
            description="Of the chip. Hot cards hold their clock down: see beside.",
            unit="celsius", page="metrics.md#ygg-gpu-exporter", width=6, empty=_NO_CARD,
            queries=[_card("ygg_gpu_temperature_celsius", "card {{gpu}}")],
        ),
        Panel(
            title="Power",
            description="Drawn, and the most that may be.",
            unit="watt", page="metrics.md#ygg-gpu-exporter", width=6, empty=_NO_CARD,
            queries=[
                _card("ygg_gpu_power_watts", "card {{gpu}}"),
                _card("ygg_gpu_power_limit_watts", "limit, card {{gpu}}"),
            ],
        ),
        Panel(
            title="Clocks",
            description="Of the processors and the memory.",
            unit="hertz", page="metrics.md#ygg-gpu-exporter", width=6, empty=_NO_CARD,
            queries=[_card("ygg_gpu_clock_hertz", "{{domain}}, card {{gpu}}")],
        ),
        Panel(
            title="Why the clock is held down",
            description="By reason, as the driver tells it.",
            unit="bool_yes_no", page="metrics.md#ygg-gpu-exporter", width=6, empty=_NO_CARD,
            kind="state-timeline", colours=(_GOOD, (1, "orange")),
            words={1: ("held down", "orange"), 0: ("no", "green")},
            queries=[_card("ygg_gpu_throttled", "{{reason}}, card {{gpu}}")],
        ),
    ],
)  # fmt: skip

DASHBOARD: Final = Dashboard(
    uid=HOST,
    title="ygg: one host",
    description="A host in depth: its slots, its work, what the autoscaler sees there, its cards.",
    variables=[
        datasource(),
        values_of("host", "ygg_host_up", title="Host", several=False),
        docs(),
    ],
    rows=[_WELL, _SLOTS, _WORK, _AUTOSCALER, _CARD],
    links=[link("All hosts", OVERVIEW)],
)

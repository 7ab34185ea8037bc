"""Is it well? What waits, what runs, which host is the narrow one."""

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

_NO_ANSWER: Final = "no answer"
_NO_CARD: Final = "no exporter tells it: see ygg-gpu-exporter"
_GOOD: Final = (None, "green")


def _stat(
    title: str,
    description: str,
    expr: str,
    page: str,
    *colours: tuple[float | None, str],
    unit: str = "short",
    words: dict[float, tuple[str, str]] | None = None,
) -> Panel:
    return Panel(
        title=title, description=description, unit=unit, page=page, kind="stat", width=3, height=4,
        queries=[Query(expr=expr, legend=title)], colours=colours or (_GOOD,), words=words or {},
        empty=_NO_ANSWER,
    )  # fmt: skip


_WELL: Final = Row(
    title="Is it well?",
    panels=[
        _stat(
            "Hosts down",
            "Hosts that take no starts and were not paused by a person.",
            "count(ygg_host_up == 0 unless on (host) ygg_host_paused == 1) or 0 * max(ygg_host_up)",
            "runbooks/host-down.md",
            _GOOD, (1, "red"),
        ),
        _stat(
            "Oldest critical wait",
            "How long the oldest ready task of priority 0 has waited. 0: none waits.",
            'max(ygg_oldest_wait_seconds{priority="0"})',
            "runbooks/critical-task-waiting.md",
            _GOOD, (30, "orange"), (60, "red"),
            unit="s",
        ),
        _stat(
            "Tasks that wait",
            "Ready tasks of all types and priorities. Many are no trouble while they become fewer.",
            "sum(ygg_tasks_waiting)",
            "runbooks/backlog-growing.md",
        ),
        _stat(
            "Slots in use",
            "Running tasks over the limits of all hosts. Over 100 % while a host that was made "
            "smaller drains. Hosts that share a card count its slots once each.",
            "sum(ygg_host_slots_active) / clamp_min(sum(ygg_host_slots_limit), 1)",
            "hosts-yaml.md",
            unit="percentunit",
        ),
        _stat(
            "Blocked tasks",
            "Tasks that need a person: to retry them, or to cancel.",
            "sum(ygg_tasks_blocked)",
            "runbooks/tasks-blocked-in-a-row.md",
            _GOOD, (1, "orange"),
        ),
        _stat(
            "Failures of hosts",
            "Attempts that a host failed after it had taken them, in the time that is shown.",
            "sum(increase(ygg_host_failures_total[$__range])) or 0 * max(ygg_host_up)",
            "troubleshooting.md",
            _GOOD, (1, "orange"),
        ),
        _stat(
            "Autoscaler",
            "Whether limits follow an autoscaler. Without one they stay as hosts.yaml says.",
            "max(ygg_autoscaler_leads) or vector(-1)",
            "autoscaler.md",
            words={1: ("leads", "green"), 0: ("stands by", "orange"), -1: ("none", "text")},
        ),
        _stat(
            "hosts.yaml",
            "Whether the last change of hosts.yaml was taken over.",
            "min(ygg_config_last_reload_successful)",
            "runbooks/config-reload-failed.md",
            words={1: ("taken over", "green"), 0: ("refused", "red")},
        ),
    ],
)  # fmt: skip

_NOW: Final = Row(
    title="What waits, what runs",
    panels=[
        Panel(
            title="Waiting tasks by priority",
            description="Ready tasks; 0 is critical, 4 backlog. The lowest number starts first.",
            unit="short", page="http.md", is_stacked=True, width=6, axis="tasks",
            queries=[Query(
                expr="sum by (priority) (ygg_tasks_waiting)", legend="priority {{priority}}",
            )],
        ),
        Panel(
            title="Running tasks by host",
            description="Slots in use, and all that there are: what is between them is free.",
            unit="short", page="hosts-yaml.md", is_step=True, width=6, axis="slots",
            queries=[
                Query(expr='max by (host) (ygg_host_slots_active{host=~"$host"})',
                      legend="{{host}}"),
                Query(expr='sum(ygg_host_slots_limit{host=~"$host"})', legend="all limits"),
            ],
        ),
        Panel(
            title="Which host is the narrow one",
            description=(
                "All slots in use while tasks wait for one is narrow; a task may wait for several "
                "hosts at once. Click on a host to see it in depth."
            ),
            unit="short", page="autoscaler.md", kind="table", width=12, empty=_NO_ANSWER,
            queries=[Query(expr=expr, legend="", is_table=True) for expr in (
                'max by (host) (ygg_host_up{host=~"$host"})',
                'max by (host) (ygg_host_slots_active{host=~"$host"})',
                'max by (host) (ygg_host_slots_limit{host=~"$host"})',
                'max by (host) (ygg_host_demand_tasks{host=~"$host"})',
                'max by (host) (ygg_host_oldest_wait_seconds{host=~"$host"})',
                asked.ours_or_seen(asked.UTILIZATION, "utilization"),
                asked.ours_or_seen(asked.MEMORY, "memory"),
            )],
            columns=[
                ("up", "bool_yes_no"), ("running", "short"), ("limit", "short"),
                ("wait for a slot", "short"), ("oldest of them", "s"),
                ("utilization", "percentunit"), ("memory", "percentunit"),
            ],
        ),
    ],
)  # fmt: skip

_PRIORITY: Final = 'priority=~"$priority"'
_WAITS: Final = Row(
    title="How long they waited",
    panels=[
        Panel(
            title="Waits",
            description=(
                "Starts by how long their task had waited, of the priorities chosen above. "
                "The darker, the more. Blank: none started."
            ),
            unit="short", page="metrics.md#the-dispatcher", kind="heatmap", width=12,
            queries=[Query(
                expr=asked.or_none(
                    f"sum by (le) (increase(ygg_task_wait_seconds_bucket{{{_PRIORITY}}}"
                    "[$__rate_interval]))", "le", "+Inf",
                ),
                legend="{{le}}", is_heatmap=True,
            )],
        ),
        Panel(
            title="Waits: half, most, nearly all",
            description=(
                "So long at most had half, 95 % and 99 % of what started waited, of the priorities "
                "chosen above. While none starts: how long the oldest waits."
            ),
            unit="s", page="metrics.md#the-dispatcher", width=6,
            queries=[
                Query(
                    expr=asked.quantile(ratio, "ygg_task_wait_seconds", where=_PRIORITY)
                    + f" or max(ygg_oldest_wait_seconds{{{_PRIORITY}}})",
                    legend=f"{ratio * 100:g} %",
                ) for ratio in (0.5, 0.95, 0.99)
            ],
        ),
        Panel(
            title="Waits of 95 % by priority",
            description=(
                "So long at most had 95 % of what started waited. "
                "While none of a priority starts: how long its oldest waits."
            ),
            unit="s", page="metrics.md#the-dispatcher", width=6,
            queries=[Query(
                expr=asked.quantile(
                    0.95, "ygg_task_wait_seconds", "priority", where=_PRIORITY
                ) + f" or on (priority) max by (priority) (ygg_oldest_wait_seconds{{{_PRIORITY}}})",
                legend="priority {{priority}}",
            )],
        ),
    ],
)  # fmt: skip


def _finished(by: str, where: str = "") -> str:
    within = f'{{host=~"$host"{where}}}'
    return f"sum by ({by}) (rate(ygg_tasks_finished_total{within}[$__rate_interval]))"


_DONE: Final = Row(
    title="What is done",
    panels=[
        Panel(
            title="Answers a second by type",
            description="Tasks that were answered and closed. Steps of few tasks look rough.",
            unit="short", page="metrics.md#the-dispatcher", is_stacked=True, width=6, axis="a second",
            queries=[Query(
                expr=asked.of_types(_finished("type", ', outcome="closed"')), legend="{{type}}",
            )],
        ),
        Panel(
            title="Attempts a second by outcome",
            description=(
                "All that ended: closed is answered; blocked needs a person; reopened goes back "
                "to its place."
            ),
            unit="short", page="troubleshooting.md", is_stacked=True, width=6, axis="a second",
            queries=[Query(
                expr=asked.or_none(_finished("outcome"), "outcome", "closed"), legend="{{outcome}}",
            )],
        ),
        Panel(
            title="Tokens a second by host",
            description="Tokens of answers, counted while they stream.",
            unit="short", page="metrics.md#the-dispatcher", is_stacked=True, width=6, axis="a second",
            leads_to_host=True,
            queries=[Query(
                expr=asked.of_hosts(
                    "sum by (host) (rate(ygg_tokens_total"
                    '{host=~"$host", direction="completion"}[$__rate_interval]))'
                ),
                legend="{{host}}",
            )],
        ),
        Panel(
            title="Runs of 95 % by type",
            description="So long at most took 95 % of the attempts that ended. 0: none ended.",
            unit="s", page="metrics.md#the-dispatcher", width=6,
            queries=[Query(
                expr=asked.of_types(asked.quantile(0.95, "ygg_task_run_seconds", "type")),
                legend="{{type}}",
            )],
        ),
    ],
)  # fmt: skip

_HOSTS: Final = Row(
    title="$host",
    repeat="host",
    panels=[
        Panel(
            title="Slots of $host",
            description="How many tasks may run there, and how many do. Marks are moves of limits.",
            unit="short", page="hosts-yaml.md", is_step=True, axis="slots", leads_to_host=True,
            queries=[
                Query(expr='max by (host) (ygg_host_slots_limit{host=~"$host"})', legend="limit"),
                Query(expr='max by (host) (ygg_host_slots_active{host=~"$host"})', legend="active"),
            ],
        ),
        Panel(
            title="Utilization of $host",
            description=(
                "Of its busiest card. Below the threshold, while tasks wait, the autoscaler "
                "tries one slot more. No line without an autoscaler."
            ),
            unit="percentunit", page="autoscaler.md", max=1, empty=_NO_CARD, leads_to_host=True,
            queries=[
                Query(expr=asked.ours_or_seen(asked.UTILIZATION, "utilization"),
                      legend="utilization"),
                Query(expr=asked.threshold("utilization"), legend="threshold"),
            ],
        ),
        Panel(
            title="Memory of $host",
            description=(
                "Used of its fullest card. Over the threshold the autoscaler takes slots away. "
                "No line without an autoscaler."
            ),
            unit="percentunit", page="runbooks/memory-high-at-minimum.md", max=1, empty=_NO_CARD,
            leads_to_host=True,
            queries=[
                Query(expr=asked.ours_or_seen(asked.MEMORY, "memory"), legend="memory"),
                Query(expr=asked.threshold("memory"), legend="threshold"),
            ],
        ),
    ],
)  # fmt: skip

_INSIDE: Final = Row(
    title="Inside ygg",
    is_closed=True,
    panels=[
        Panel(
            title="What Prometheus reaches",
            description="1: it answered the last scrape.",
            unit="bool_yes_no", page="prometheus.md", kind="state-timeline", width=12,
            colours=((None, "red"), (1, "green")),
            words={1: ("answers", "green"), 0: ("silent", "red")},
            queries=[Query(
                expr='up{job=~"ygg|ygg-autoscaler|ygg-gpu"}',
                legend="{{job}} {{host}} {{instance}}",
            )],
        ),
        Panel(
            title="Calls of the store: 99 %",
            description="So long at most took 99 % of the calls. 0: there were none.",
            unit="s", page="runbooks/store-slow.md", width=6,
            queries=[Query(
                expr=asked.or_none(
                    asked.quantile(0.99, "ygg_store_seconds", "store"), "store", "tasks"
                ),
                legend="{{store}}",
            )],
        ),
        Panel(
            title="How late the event loop is: 99 %",
            description="How late 99 % of its wake-ups were at most. Over 0.1 s something holds it.",
            unit="s", page="troubleshooting.md", width=6,
            queries=[Query(expr=asked.quantile(0.99, "ygg_loop_lag_seconds"), legend="lag")],
        ),
        Panel(
            title="Memory of the dispatcher",
            description="Resident memory of its process.",
            unit="bytes", page="troubleshooting.md", width=8,
            queries=[Query(
                expr='process_resident_memory_bytes{job="ygg"}', legend="{{instance}}",
            )],
        ),
        Panel(
            title="What others must still be told",
            description="Ends of tasks that a source has not been told yet. 0: there are none.",
            unit="short", page="beads.md", width=8,
            queries=[Query(
                expr=asked.or_none("sum by (sink) (ygg_outbox_waiting)", "sink", "none"),
                legend="{{sink}}",
            )],
        ),
        Panel(
            title="Broken invariants",
            description="Mistakes of ygg itself. Anything but 0 is a bug to report.",
            unit="short", page="metrics.md#the-dispatcher", width=8,
            colours=(_GOOD, (1, "red")),
            queries=[Query(
                expr="sum(increase(ygg_invariant_violations_total[$__rate_interval]))",
                legend="broken",
            )],
        ),
    ],
)  # fmt: skip

DASHBOARD: Final = Dashboard(
    uid=OVERVIEW,
    title="ygg: overview",
    description="Is it well? What waits, what runs, and which host is the narrow one.",
    variables=[
        datasource(),
        values_of("host", "ygg_host_up", title="Host", several=True),
        values_of("priority", "ygg_oldest_wait_seconds", title="Priority", several=True),
        docs(),
    ],
    rows=[_WELL, _NOW, _WAITS, _DONE, _HOSTS, _INSIDE],
    links=[link("One host in depth", HOST, "${host:queryparam}")],
)

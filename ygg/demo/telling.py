"""What `ygg demo --autoscale` says: every move with its reason, and what it came to. Pure.

The reasons are those that the autoscaler wrote down, in the words of `ygg-autoscaler explain`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from autoscaler.policy import Action, Reason
from autoscaler.records import Record
from autoscaler.settings import Settings
from autoscaler.words import why
from ygg.demo.throughput import Look, Rate, before_and_after, recent_rate, stretches
from ygg.printing import counted, table_lines

_RESIZED: Final = "resized"
#: A difference smaller than that is none: two runs of the same differ by as much.
_SAME_RATIO: Final = 0.05
#: Other work that had more processors than that: tokens/s before and after can't be compared.
_DISTURBED_CORES: Final = 0.25


@dataclass(slots=True)
class Moves:
    """What was decided, record by record."""

    settings: Settings
    #: Of each host, the limits that it was given, in order.
    given: dict[str, list[int]] = field(default_factory=dict)
    steps_up: int = 0
    bought_nothing: int = 0
    #: The last record of each host.
    last: dict[str, Record] = field(default_factory=dict)

    def take(self, record: Record) -> Iterator[str]:
        """A sentence for what a person should hear of it; most records hold, and say nothing."""
        before = self.last.get(record.host)
        self.last[record.host] = record
        if _ended_well(before, record):
            assert before is not None
            yield f"{record.host} keeps {record.limit}: its trial is over{_rates(before, self.settings)}"
        if record.action is Action.HOLD:
            return
        reason = why(record, self.settings)
        if record.effect != _RESIZED:
            told = f" ({record.detail})" if record.detail else ""
            yield (
                f"{record.host} stays at {record.limit}, {record.wanted} was wanted because {reason}:"
                f" {record.effect}{told}"
            )
            return
        self.given.setdefault(record.host, []).append(record.wanted)
        self.steps_up += record.action is Action.GROW
        back = record.reason is Reason.NO_GAIN
        self.bought_nothing += back
        verb = "grows" if record.action is Action.GROW else "goes back" if back else "shrinks"
        yield f"{record.host} {verb} from {record.limit} to {record.wanted}: {reason}"

    def reasons_now(self) -> Iterator[str]:
        """Why each limit is what it is at the end."""
        for host, record in self.last.items():
            limit = record.wanted if record.effect == _RESIZED else record.limit
            yield f"{host} is at {limit}: {why(record, self.settings)}"


def _ended_well(before: Record | None, record: Record) -> bool:
    """A step was on trial, and is so no longer, at the limit that it led to."""
    if before is None or before.reason is not Reason.PROBING or record.reason is Reason.PROBING:
        return False
    # A shrink says for itself what became of the trial.
    return record.limit == before.limit and record.action is not Action.SHRINK


def _rates(probing: Record, settings: Settings) -> str:
    """What the trial had seen by then; the first window that it takes is not told while it is on."""
    if (
        probing.evidence.get("trial_rate") is None
        or probing.evidence.get("trial_rate_before") is None
    ):
        return ""
    return f" ({why(probing, settings).partition(': ')[2]})"


# -- while it runs -------------------------------------------------------------------------------


def host_lines(looks: Sequence[Look], seconds: float) -> list[str]:
    """A line for each host: its slots, what waits, its throughput over the last seconds."""
    last = looks[-1]
    lately = [look for look in looks if look.at >= last.at - seconds]
    width = max(map(len, last.hosts), default=0)
    return [
        f"{name:<{width}}  {host.active}/{host.limit} running  {host.waiting:3} waiting"
        f"  {recent_rate(lately, name).tokens:6.1f} tokens/s"
        for name, host in last.hosts.items()
    ]


# -- what it came to -----------------------------------------------------------------------------


def limits_table(looks: Sequence[Look]) -> Iterator[str]:
    """Each host at the start and at the end."""
    rows = []
    for name in looks[0].hosts:
        of_it = list(stretches(looks, name))
        first, last = of_it[0], of_it[-1]
        path = " > ".join(str(stretch.limit) for stretch in of_it) if len(of_it) > 1 else "none"
        rows.append(
            [
                name,
                first.limit,
                last.limit,
                path,
                _tokens(first.rate),
                _tokens(last.rate),
                _per_cpu_second(first.rate, last.rate),
            ]
        )
    headings = ["HOST", "LIMIT AT START", "AT THE END", "MOVES"]
    headings += ["TOKENS/S AT FIRST", "AT THE END", "TOKENS PER CPU SECOND"]
    yield from table_lines(headings, rows)


def stretches_table(looks: Sequence[Look]) -> Iterator[str]:
    """Each limit that each host had, and what it gave."""
    rows = [
        [
            name,
            stretch.limit,
            f"{stretch.seconds:.0f} s",
            "too short to tell" if stretch.rate is None else f"{stretch.rate.tokens:.1f}",
            "-" if stretch.rate is None else f"{stretch.rate.tasks:.2f}",
        ]
        for name in looks[0].hosts
        for stretch in stretches(looks, name)
    ]
    yield from table_lines(["HOST", "LIMIT", "FOR", "TOKENS/S", "TASKS/S"], rows)


def verdict(looks: Sequence[Look], moves: Moves, *, cores: int) -> Iterator[str]:
    """What the moves were worth to all hosts together, plainly."""
    before, after = before_and_after(looks)
    if not any(moves.given.values()):
        yield "No limit moved. Why, host by host, stands above."
        if before is not None:
            yield f"All hosts together: {_both(before)}, all the time ({before.seconds:.0f} s)."
        return
    yield _of_all("until the first move", before)
    yield _of_all("from the last move on", after)
    if moves.bought_nothing:
        yield (
            f"{moves.bought_nothing} of {counted(moves.steps_up, 'step')} up bought nothing and went"
            " back. That is a right result: a slot that makes nothing faster only hides a queue."
        )
    if before is None or after is None:
        return
    disturbed = max(before.others, after.others) > _DISTURBED_CORES
    if disturbed:
        yield (
            f"All else had {before.others:.1f} of {counted(cores, 'core')} then, and "
            f"{after.others:.1f} since, so tokens/s can't be compared; tokens for each second of a "
            f"processor that the servers had can: {_per_cpu_second(before, after)}."
        )
    noise = dict(_noise(looks, moves, disturbed=disturbed))
    if noise:
        shown = ", ".join(f"{change:+.0%} on {host}" for host, change in noise.items())
        yield (
            f"Where a host ended at the limit that it began with, the difference ({shown}) is not the "
            "limit's doing: so much is this machine's noise."
        )
    risen = _risen(before, after, disturbed=disturbed)
    if risen is not None:
        yield _in_all(risen, noise, cores=cores, disturbed=disturbed)


def _risen(before: Rate, after: Rate, *, disturbed: bool) -> float | None:
    """What the moves brought, as a ratio; None: it can't be told."""
    was = before.tokens_per_cpu_second if disturbed else before.tokens
    now = after.tokens_per_cpu_second if disturbed else after.tokens
    return now / was - 1 if was and now is not None else None


def _in_all(risen: float, noise: Mapping[str, float], *, cores: int, disturbed: bool) -> str:
    shared = f"the three servers share {counted(cores, 'core')}"
    much = f"{risen:+.0%} tokens {'for each processor second' if disturbed else 'a second'}"
    if abs(risen) <= max(_SAME_RATIO, *map(abs, noise.values()), 0.0):
        return (
            f"In all, the moves bought nothing here that could be told from noise ({much}): "
            f"{shared}, and one task each keeps those busy."
        )
    if disturbed:
        # The same fleet beside other work gave +2 % in one run and +11 % in the next.
        return (
            f"In all, {much} were seen, once and beside other work: that proves neither a gain nor a "
            "loss. Run it again with nothing else on this machine."
        )
    if risen > 0:
        return f"In all, the limits that were found give {much}."
    return (
        f"In all, it is less than before ({much}): {shared}, each is judged by its own "
        "throughput, and so short a trial tells less than one of the rule's own."
    )


def _noise(looks: Sequence[Look], moves: Moves, *, disturbed: bool) -> Iterator[tuple[str, float]]:
    """Of hosts whose limit went away and came back, by how much their throughput differs."""
    for host in moves.given:
        of_it = list(stretches(looks, host))
        first, last = of_it[0], of_it[-1]
        if len(of_it) == 1 or first.limit != last.limit or first.rate is None or last.rate is None:
            continue
        if (risen := _risen(first.rate, last.rate, disturbed=disturbed)) is not None:
            yield host, risen


def _of_all(when: str, rate: Rate | None) -> str:
    if rate is None:
        return f"All hosts together, {when}: too short to tell."
    return f"All hosts together, {when}: {_both(rate)} ({rate.seconds:.0f} s)."


def _both(rate: Rate) -> str:
    return f"{rate.tokens:.1f} tokens/s, {rate.tasks:.2f} tasks/s"


def _tokens(rate: Rate | None) -> str:
    return "-" if rate is None else f"{rate.tokens:.1f} ({rate.seconds:.0f} s)"


def _per_cpu_second(before: Rate | None, after: Rate | None) -> str:
    if before is None or after is None:
        return "-"
    was, now = before.tokens_per_cpu_second, after.tokens_per_cpu_second
    if not was or now is None:
        return "-"
    return f"{was:.1f} > {now:.1f} ({now / was - 1:+.0%})"


def constants_table(rows: Iterator[tuple[str, str, str]]) -> Iterator[str]:
    yield from table_lines(["CONSTANT", "DEFAULT", "HERE"], rows)


def account(counts: Mapping[str, int]) -> str:
    """What became of all tasks, by outcome."""
    parts = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{counted(sum(counts.values()), 'task')} accepted: {parts}."

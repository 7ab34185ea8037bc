"""The demo's input: 24 small real tasks, and the fleet they run on.

Plain values. The first twelve are submitted at once, the least urgent first, so that the order in
which they start is not the order in which they came; the others while those run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ygg.demo.server import MODEL
from ygg.tasks import Json

#: Slots of each server; the names are those of the example fleet.
HOSTS: Final[Mapping[str, int]] = {"surtr-reasoning": 2, "fenrir-chat": 3, "skadi-code": 2}

#: `general` prefers the reasoning host and spills over to the chat host.
ROUTES: Final[Mapping[str, tuple[str, ...]]] = {
    "code-generation": ("skadi-code",),
    "text-processing": ("fenrir-chat",),
    "reasoning": ("surtr-reasoning",),
    "general": ("surtr-reasoning", "fenrir-chat"),
}

#: Tokens of the longest answer: the whole demo is done in a minute on two slow cores.
ANSWER_TOKENS: Final = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A task as the demo submits it. Its type is left for ygg to find, but known here."""

    priority: int
    #: What ygg should find, from the labels or from the words of the title.
    type: str
    title: str
    description: str
    labels: tuple[str, ...] = ()

    @property
    def submit(self) -> Mapping[str, Json]:
        """The body of its submit."""
        return {
            "title": self.title,
            "description": self.description,
            "priority": self.priority,
            "labels": self.labels,
        }


def _code(priority: int, title: str, description: str) -> Work:
    return Work(priority=priority, type="code-generation", title=title, description=description)


def _text(priority: int, title: str, description: str) -> Work:
    return Work(priority=priority, type="text-processing", title=title, description=description)


def _reasoning(priority: int, title: str, description: str) -> Work:
    return Work(
        priority=priority,
        type="reasoning",
        title=title,
        description=description,
        labels=("reasoning",),
    )


def _general(priority: int, title: str, description: str) -> Work:
    return Work(priority=priority, type="general", title=title, description=description)


FIRST: Final = (
    _code(3, "Write a Python function for leap years", "Write is_leap(year) in Python. Only the code."),
    _text(3, "Summarise the release note", "Summarise in one sentence: The new release starts twice as fast, needs half the memory, and drops support for version 1 of the file format."),
    _reasoning(3, "Which disk for the backups?", "Explain in two sentences why a cheap slow disk is good enough for backups."),
    _general(3, "Name three planets", "Name three planets of the solar system."),
    _code(2, "Write a SQL query for open orders", "Table orders has the columns id, customer and status. Select the customers with an open order."),
    _text(2, "Translate a greeting", "Translate into French: Good morning, how are you today?"),
    _reasoning(2, "Is the train faster?", "A train goes 120 km in one hour, a car goes 80 km in one hour. Which one is faster?"),
    _general(2, "What is a GPU good for?", "Say in two sentences what a GPU is good for."),
    _code(1, "Fix the bug in the loop", "This Python loop never ends; say how to fix it: i = 0; while i < 10: print(i)"),
    _text(1, "Rewrite a rude message", "Rewrite politely: Send me the report now."),
    _reasoning(1, "Plan a move to a new server", "List three steps to move a website to a new server."),
    _general(1, "Suggest a name for a cat", "Suggest three names for a grey cat."),
)  # fmt: skip

SECOND: Final = (
    _text(3, "Extract the dates", "Extract the dates: The meeting of 3 May was moved to 12 May, the party is on 1 June."),
    _code(3, "Write a function in JavaScript", "Write a JavaScript function add(a, b) that returns the sum of a and b."),
    _reasoning(3, "Compare tea and coffee", "What is the difference between tea and coffee?"),
    _general(2, "Tell a fact about the ocean", "Tell one surprising fact about the ocean."),
    _text(2, "Shorten a sentence", "Shorten: Due to the fact that it was raining heavily outside, we made the decision to stay at home."),
    _reasoning(2, "Why do we have seasons?", "Explain in two sentences why the Earth has seasons."),
    _general(1, "Write a birthday wish", "Write a short birthday wish for a colleague."),
    _code(1, "Write a shell script that counts files", "Write one line of bash that prints the number of files in the current folder."),
    _text(0, "Summarise the outage report", "Summarise in one sentence for customers: At 9:14 the database ran out of disk space. Orders failed for 22 minutes. No data was lost."),
    _code(0, "Write a Python class for a map point", "Write a Python class Point with x and y."),
    _reasoning(0, "Decide: roll back or wait?", "A new version of our shop fails for one customer in ten. Explain in one sentence why we should go back to the old version."),
    _general(0, "Draft a notice to all users", "Write a two-sentence notice: the service is down, we are working on it."),
)  # fmt: skip

ALL: Final = (*FIRST, *SECOND)


def hosts_yaml(
    urls: Mapping[str, str],
    *,
    start: Mapping[str, int] = HOSTS,
    exporters: Mapping[str, str] | None = None,
    autoscaler: Mapping[str, float | str] | None = None,
) -> str:
    """The demo's hosts.yaml, for servers at these addresses.

    Args:
        urls: of the servers, by name.
        start: slots of each at first.
        exporters: addresses of the pages of their GPU exporters, where there are any.
        autoscaler: its settings.
    """
    lines = ["# Written by `ygg demo`: the fleet of its three servers.", "hosts:"]
    for name, slots in HOSTS.items():
        lines += [
            f"  {name}:",
            f"    url: {urls[name]}",
            "    api: openai",
            f"    model: {MODEL}",
            f"    slots: {{start: {start[name]}, min: 1, max: {slots}}}",
        ]
        if exporters is not None:
            lines.append(f"    gpu: {{exporter: '{exporters[name]}'}}")
    lines.append("types:")
    for name, route in ROUTES.items():
        options = f"{{num_predict: {ANSWER_TOKENS}, temperature: 0, seed: 1}}"
        lines.append(f"  {name}: {{run: [{', '.join(route)}], options: {options}}}")
    # Nobody waits a minute for a demo to end.
    lines += ["dispatcher:", "  drain_seconds: 5"]
    if autoscaler is not None:
        lines += ["autoscaler:", *(f"  {key}: {value}" for key, value in autoscaler.items())]
    return "\n".join([*lines, ""])

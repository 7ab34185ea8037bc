"""Makes the workload of `ygg compare`: python -m bench.workload > ygg/compare/workload.jsonl.

Lengths of answers are drawn from the lognormal fit (mu 5.02, sigma 0.86) of the conversations in
the Azure LLM inference trace of 2023 (described in Patel et al., "Splitwise", ISCA 2024), halved
so that a comparison takes a minute. Types are shared out so that hosts of 2, 3 and 2 slots have
about as much to do each. Half of the tasks wait at the start, as after a night, least urgent
first; the others come at random moments, among them all urgent ones.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

SEED = 7
MEAN_PAUSE_SECONDS = 0.35
#: How many tasks of each type and of each priority wait at the start, and come later.
TYPES = {"reasoning": 13, "general": 5, "text-processing": 26, "code-generation": 16}
WAITING = {4: 8, 3: 12, 2: 12}
COMING = {2: 10, 1: 10, 0: 8}

PROMPTS: dict[str, Sequence[tuple[str, str]]] = {
    "reasoning": [
        ("Why do we have seasons?", "Explain why the Earth has seasons."),
        ("Which disk for the backups?", "Explain why a slow, cheap disk is good enough for backups."),
        ("Plan a move to a new server", "List the steps to move a website to a new server."),
        ("Roll back or wait?", "A new version fails for one customer in ten. Decide: roll back, or wait for a fix?"),
        ("Compare tea and coffee", "What is the difference between tea and coffee?"),
        ("Is the train faster?", "A train goes 120 km in an hour, a car 80 km. Which is faster, and by how much?"),
        ("Evaluate a longer lease", "Is it wise to rent an office for ten years? Give two reasons for and two against."),
    ],
    "general": [
        ("Name three planets", "Name three planets of the solar system and say a word about each."),
        ("Draft a notice to all users", "Write a notice: the service is down, we are working on it."),
        ("Write a birthday wish", "Write a short birthday wish for a colleague."),
        ("Tell a fact about the ocean", "Tell a surprising fact about the ocean."),
        ("What is a GPU good for?", "Say what a GPU is good for."),
    ],
    "text-processing": [
        ("Summarise the outage report", "Summarise: At 9:14 the database ran out of disk space. Orders failed for 22 minutes. No data was lost."),
        ("Summarise the release note", "Summarise: The new release starts twice as fast, needs half the memory, and drops support for version 1 of the file format."),
        ("Rewrite a rude message", "Rewrite politely: Send me the report now."),
        ("Translate a greeting", "Translate into French: Good morning, how are you today?"),
        ("Extract the dates", "Extract the dates: The meeting of 3 May was moved to 12 May, the party is on 1 June."),
        ("Shorten a sentence", "Shorten: Due to the fact that it was raining heavily outside, we made the decision to stay at home."),
        ("Classify a complaint", "Is this about price, quality or delivery? The box came a week late."),
        ("Proofread a line", "Correct the mistakes: Their going too the office tomorow."),
    ],
    "code-generation": [
        ("Write a Python function for leap years", "Write is_leap(year) in Python."),
        ("Write a SQL query for open orders", "Table orders has the columns id, customer and status. Select the customers with an open order."),
        ("Fix the bug in the loop", "This Python loop never ends; say how to fix it: i = 0; while i < 10: print(i)"),
        ("Write a shell script that counts files", "Write a line of bash that prints the number of files in the current folder."),
        ("Write a function in JavaScript", "Write a JavaScript function add(a, b) that returns the sum of a and b."),
        ("Write a Python class for a map point", "Write a Python class Point with x and y."),
    ],
}  # fmt: skip


def make() -> list[dict[str, object]]:
    chance = random.Random(SEED)
    types = [name for name, count in TYPES.items() for _ in range(count)]
    chance.shuffle(types)
    first = [p for p, count in WAITING.items() for _ in range(count)]
    later = [p for p, count in COMING.items() for _ in range(count)]
    chance.shuffle(later)
    tasks: list[dict[str, object]] = []
    told: dict[str, int] = {}
    at = 0.0
    for number, (type_, priority) in enumerate(zip(types, [*first, *later], strict=True)):
        if number >= len(first):
            at += chance.expovariate(1 / MEAN_PAUSE_SECONDS)
        told[type_] = told.get(type_, -1) + 1
        title, description = PROMPTS[type_][told[type_] % len(PROMPTS[type_])]
        tokens = min(max(round(chance.lognormvariate(5.02, 0.86) / 2), 20), 160)
        tasks.append(
            {"at": round(at, 2), "type": type_, "priority": priority, "title": title,
             "description": description, "tokens": tokens}
        )  # fmt: skip
    return tasks


if __name__ == "__main__":
    for task in make():
        print(json.dumps(task))

"""A stand-in for `bd`, run as a process: keeps a project in `.beads/`, and fails as it is told to.

Files beside the program steer it: `faults.json` says what goes wrong with which call (`project`
writes it), `calls.jsonl` gets a line for each call. It starts in a few hundredths of a second, so
nothing is imported that can be done without.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from tracker import (  # type: ignore[import-not-found]  # run with its own folder as the path
    NO_PROJECT,
    READS,
    Line,
    Refusal,
    Said,
    World,
    answer,
    version,
)

Rule = dict[str, Any]


def main(argv: Sequence[str], here: str) -> int:
    actor = os.environ.get("BD_ACTOR") or os.environ.get("USER") or "nobody"
    rule = _rule(here, argv, actor)
    if rule.get("wait"):
        time.sleep(rule["wait"])
    if rule.get("hang") == "before":
        _hang()
    if rule.get("die") == "before":
        os.kill(os.getpid(), 9)
    said = _carried_out(argv, actor, rule) if rule.get("effect", True) else Said()
    if rule.get("hang") == "after":
        _hang()
    if rule.get("die") == "after":
        os.kill(os.getpid(), 9)
    printed = rule.get("out", said.out).replace(*rule.get("replace", ("", "")))
    out = printed.encode("utf-8", "surrogateescape")
    if "cut" in rule:
        out = out[: int(len(out) * rule["cut"])]
    sys.stderr.write(rule.get("err", said.err))
    sys.stderr.flush()
    try:
        for _ in range(rule.get("repeat", 1)):
            sys.stdout.buffer.write(out)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os._exit(141)
    return int(rule.get("code", said.code))


def _rule(here: str, argv: Sequence[str], actor: str) -> Rule:
    """What is to go wrong with this call: the first rule that fits, and is not used up."""
    words = " ".join(argv)
    with open(f"{here}/faults.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = {"argv": list(argv), "actor": actor, "pid": os.getpid(), "cwd": os.getcwd()}
        told["environment"] = sorted(os.environ)
        with open(f"{here}/calls.jsonl", "a") as log:
            log.write(json.dumps(told) + "\n")
        try:
            with open(f"{here}/faults.json") as file:
                rules = json.load(file)
        except FileNotFoundError:
            return {}
        for rule in rules:
            if not words.startswith(rule.get("call", "")) or rule.get("with", "") not in words:
                continue
            left = rule.get("times")
            if left == 0:
                continue
            if left is not None:
                rule["times"] = left - 1
                _put(f"{here}/faults.json", json.dumps(rules))
            return dict(rule)
    return {}


def _carried_out(argv: Sequence[str], actor: str, rule: Rule) -> Said:
    try:
        line = Line(argv)
    except Refusal as refusal:
        return refusal.said
    line.words = line.words[: rule.get("only")]
    if line.command == "version":
        return version(line)
    if line.command == "init":
        folder = os.environ.get("BEADS_DIR") or f"{os.getcwd()}/.beads"
        os.makedirs(f"{folder}/embeddeddolt", exist_ok=True)
        _put(f"{folder}/embeddeddolt/project.json", json.dumps({"issues": {}}))
        return Said()
    folder = _folder()
    if not folder:
        return Said(1, "", NO_PROJECT)
    file = f"{folder}/embeddeddolt/project.json"
    with open(f"{folder}/embeddeddolt/lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open(file) as opened:
            state = json.load(opened)
        world = World(actor=actor, now=rule.get("at") or time.time_ns(), read=_read)
        if line.command in READS:
            issues = state["issues"]
            if state.get("old_reads", 0) > 0:
                issues = state["old"]
                state["old_reads"] -= 1
                _put(file, json.dumps(state))
            try:
                return answer(issues, line, world)
            except Refusal as refusal:
                return refusal.said
        before = json.loads(json.dumps(state["issues"])) if "delay_reads" in rule else None
        try:
            said = answer(state["issues"], line, world)
        except Refusal as refusal:
            return refusal.said
        for one in line.words if "steal" in rule else ():
            state["issues"][one]["assignee"] = rule["steal"]
        if before is not None:
            state |= {"old": before, "old_reads": rule["delay_reads"]}
        _put(file, json.dumps(state), die=rule.get("die") == "middle")
        return said


def _folder() -> str:
    """The project's `.beads` folder, "" when there is none."""
    place = os.getcwd()
    tried = [os.environ["BEADS_DIR"]] if os.environ.get("BEADS_DIR") else []
    while not tried or (not os.environ.get("BEADS_DIR") and place != "/"):
        tried.append(f"{place}/.beads")
        place = os.path.dirname(place)
    for folder in map(_followed, tried):
        if os.path.exists(f"{folder}/embeddeddolt/project.json"):
            return folder
    return ""


def _followed(folder: str) -> str:
    """Where a file `redirect` leads, as bd's sources have it; nothing of that is recorded."""
    try:
        with open(f"{folder}/redirect") as file:
            lines = [line.strip() for line in file]
    except OSError:
        return folder
    target = next((line for line in lines if line and not line.startswith("#")), "")
    found = os.path.join(os.path.dirname(folder), target)
    return found if target and os.path.isdir(found) else folder


def _read(name: str) -> str:
    try:
        with open(name, encoding="utf-8", newline="") as file:
            return file.read()
    except OSError as error:
        text = json.dumps({"error": f"reading file: {error}", "schema_version": 1}, indent=2)
        raise Refusal(out=text + "\n") from error


def _put(file: str, text: str, *, die: bool = False) -> None:
    with open(f"{file}.new", "w") as new:
        new.write(text)
    if die:
        os.kill(os.getpid(), 9)
    os.replace(f"{file}.new", file)


def _hang() -> None:
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(3600)

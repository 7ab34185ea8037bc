"""docs/command-line.md out of the parser that the command line itself uses."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from typing import Final

from autoscaler import cli as autoscaler
from autoscaler import gpu_exporter
from tools import markdown
from ygg.cli import make_parser
from ygg.cli.base import DONE, FAILED, INTERRUPTED, UNREACHABLE, WRONG_USE
from ygg.demo import run as demo

_TOP: Final = """\
# The command line

<!-- Made by `make docs` out of the parsers in ygg/cli/, autoscaler/cli/ and autoscaler/gpu_exporter.py.
     Edit those. -->

`python ygg.py ...` in a checkout does the same as `ygg ...`. Every command takes `--help`,
and those that show something `--json`: [what it prints](json.md), field by field.
"""
_EXIT_CODES: Final = {
    DONE: "done",
    FAILED: "the task or the check failed, or the dispatcher said no",
    WRONG_USE: "wrong use: a flag, a file or a value that can't be",
    UNREACHABLE: "the dispatcher can't be reached",
    INTERRUPTED: "ended by Ctrl-C",
}


def page() -> str:
    """Made with no variable of ygg's in the environment: they would show as defaults."""
    parser = make_parser()
    every = dict(commands(parser))
    exporter = gpu_exporter.make_parser()
    rows = [(f"[`ygg {name}`](#ygg-{name})", text) for name, (_, text) in every.items()]
    scaler = autoscaler.make_parser()
    scaling = dict(commands(scaler))
    rows.append((f"[`{scaler.prog}`](#{scaler.prog})", "let limits tune themselves"))
    rows += [
        (f"[`{scaler.prog} {name}`](#{scaler.prog}-{name})", text)
        for name, (_, text) in scaling.items()
    ]
    rows.append((f"[`{exporter.prog}`](#{exporter.prog})", "show a host's GPUs to Prometheus"))
    listed = markdown.table(["command", "does"], rows)
    codes = markdown.table(
        ["exit code", "means"], [(str(code), text) for code, text in _EXIT_CODES.items()]
    )
    parts = [_TOP, listed, f"## Exit codes\n\n{codes}"]
    parts += [_command(f"ygg {name}", command, text) for name, (command, text) in every.items()]
    parts.append(_command(scaler.prog, scaler, ""))
    parts += [
        _command(f"{scaler.prog} {name}", command, text)
        for name, (command, text) in scaling.items()
    ]
    parts.append(_command(exporter.prog, exporter, ""))
    return "\n".join(parts)


def commands(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[str, tuple[argparse.ArgumentParser, str]]]:
    """Each command, by name, with its line in the list of all."""
    for action in _actions(parser):
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no other way
            texts = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
            for name, command in action.choices.items():
                # The demo's parser is its own: the command line hands it all flags as they are.
                yield name, (demo.make_parser() if name == "demo" else command, texts[name])


def _actions(parser: argparse.ArgumentParser) -> Iterable[argparse.Action]:
    return parser._actions  # noqa: SLF001 - argparse has no other way


def _command(name: str, command: argparse.ArgumentParser, text: str) -> str:
    usage = re.sub(r"\s+", " ", command.format_usage()).strip().removeprefix("usage: ")
    parts = [f"## {name}\n", f"{_sentence(command.description or text)}\n"]
    rows = [
        (_names(action), _explained(action, command))
        for action in _actions(command)
        if action.help != argparse.SUPPRESS
        and not {"--help", "--version"} & {*action.option_strings}
    ]
    parts.append(markdown.fence(usage))
    if rows:
        parts.append(markdown.table(["argument", "means"], rows))
    if examples := _examples(command.epilog or ""):
        parts.append(markdown.fence(examples, "sh"))
    return "\n".join(parts)


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", ":", "?")) else f"{text[:1].upper()}{text[1:]}."


def _names(action: argparse.Action) -> str:
    shown = action.metavar or action.dest
    value = " ".join(shown) if isinstance(shown, tuple) else shown
    if action.choices is not None:
        value = "|".join(map(str, action.choices))
    elif action.metavar is None and action.option_strings:
        value = value.upper()
    if not action.option_strings:
        return f"`{value}`"
    takes_one = action.nargs != 0
    return ", ".join(f"`{flag} {value}`" if takes_one else f"`{flag}`" for flag in action.option_strings)  # fmt: skip


def _explained(action: argparse.Action, command: argparse.ArgumentParser) -> str:
    text = (action.help or "") % {**vars(action), "prog": command.prog}
    return f"{text} (required)".strip() if action.required and action.option_strings else text


def _examples(epilog: str) -> str:
    """What stands behind `example:` or `examples:`, without its indentation."""
    _, found, after = epilog.partition(":")
    return "\n".join(line.strip() for line in after.strip().splitlines()) if found else ""

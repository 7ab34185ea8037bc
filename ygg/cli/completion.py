"""`ygg completion`: what a shell needs to complete ygg's commands and flags."""

from __future__ import annotations

import argparse
from typing import Final

from ygg.cli.base import DONE, Commands

#: Values of these flags and arguments are paths.
_FILES: Final = frozenset({"--hosts", "--file"})
_FOLDERS: Final = frozenset({"--state"})


def register(commands: Commands) -> None:
    completion = commands.add(
        "completion", _completion, "print the completion of a shell",
        """
        ygg completion bash > ~/.local/share/bash-completion/completions/ygg
        ygg completion zsh > ~/.zfunc/_ygg    # with fpath+=~/.zfunc before compinit
        """,
    )  # fmt: skip
    completion.add_argument("shell", choices=["bash", "zsh"])


def _completion(args: argparse.Namespace) -> int:
    import shtab

    from ygg.cli import make_parser

    parser = make_parser()
    for command in _all(parser):
        for action in command._actions:  # noqa: SLF001 - argparse has no other way
            if _FILES & set(action.option_strings):
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's way to say it
            elif _FOLDERS & set(action.option_strings):
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # shtab's way to say it
    print(shtab.complete(parser, args.shell))
    return DONE


def _all(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    found = [parser]
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no other way
            for command in action.choices.values():
                found += _all(command)
    return found

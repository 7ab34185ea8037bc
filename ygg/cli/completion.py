"""`ygg completion`: what a shell needs to complete ygg's commands and flags."""

from __future__ import annotations

import argparse
from typing import Final

from ygg.cli.base import DONE, Commands

#: Values of flags and arguments that are called so are paths.
_FILES: Final = frozenset({"FILE", "PATH"})
_FOLDERS: Final = frozenset({"DIR"})


def register(commands: Commands) -> None:
    completion = commands.add(
        "completion", _completion, "print the completion of a shell",
        """
        ygg completion bash > ~/.local/share/bash-completion/completions/ygg
        ygg completion zsh > ~/.zfunc/_ygg    # with fpath+=~/.zfunc before compinit
        ygg completion fish > ~/.config/fish/completions/ygg.fish
        """,
    )  # fmt: skip
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])


def _completion(args: argparse.Namespace) -> int:
    import shtab

    from ygg.cli import make_parser

    parser = make_parser()
    for command in _all(parser):
        for action in command._actions:  # noqa: SLF001 - argparse has no other way
            if action.metavar in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's way to say it
            elif action.metavar in _FOLDERS:
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

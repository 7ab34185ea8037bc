"""Commands that talk to a running dispatcher: each gets a client, its errors become exit codes.

asyncio and the client are imported when such a command runs: `ygg --help` needs neither.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ygg.cli.base import FAILED, UNREACHABLE, WRONG_USE, Run, fail
from ygg.cli.parsing import with_flags

if TYPE_CHECKING:  # importing it takes longer than the whole of `ygg --help`
    from ygg.client import Client, Problem

Work: TypeAlias = "Callable[[Client, argparse.Namespace], Coroutine[Any, Any, int]]"

#: What a problem says to who speaks HTTP, for those who typed a command.
_WHY: Final = re.compile(r"GET /v1/tasks/(\S+)/why")


def remote(work: Work) -> Run:
    """The command that does this work, and ends with the exit code that it gives."""

    def run(args: argparse.Namespace) -> int:
        import asyncio

        from ygg.cli.whereabouts import find_url
        from ygg.client import Client, Problem, Unreachable, WrongSettings

        url = find_url(args.url, args.hosts, environ=os.environ, folder=Path.cwd())

        async def with_client() -> int:
            async with Client(url) as client:
                try:
                    return await work(client, args)
                except Problem as problem:
                    return fail(told(problem, client, args), exit_code(problem))

        try:
            return asyncio.run(with_client())
        except WrongSettings as error:
            return fail(str(error), WRONG_USE)
        except Unreachable as error:
            return fail(str(error), UNREACHABLE)

    return run


def told(problem: Problem, client: Client, args: argparse.Namespace) -> str:
    """What is wrong, in the words of who typed the command."""
    from ygg.client.address import parse_url

    if not problem.is_of_a_dispatcher:
        return (
            f"what answers at {client.url} is no dispatcher (HTTP {problem.status}: {problem}): "
            "say where it is with --url URL or YGG_URL"
        )
    text = with_flags(str(problem), problem.errors, args.parser)
    text = _WHY.sub(r"`ygg why \1`", text)
    prefix = parse_url(client.url).prefix
    if problem.status == 404 and not problem.kind and prefix:
        text += f"; leave {prefix} out of {client.url}, unless it is a proxy's"
    return text


def exit_code(problem: Problem) -> int:
    """What was asked for can't be, or it can but not here and now."""
    if not problem.is_of_a_dispatcher:
        return UNREACHABLE
    # A host that hosts.yaml does not have is as wrong as a type (422) that it does not have.
    wrong = problem.status in (400, 422) or problem.kind == "unknown-host"
    return WRONG_USE if wrong else FAILED

"""`ygg init`: asks servers what they have, and writes a hosts.yaml where none is."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ygg import printing
from ygg.cli.base import DONE, FAILED, INTERRUPTED, WRONG_USE, Commands, Wrong, fail, print_json

if TYPE_CHECKING:
    from ygg.setup.asking import Question, Silent
    from ygg.setup.dialogue import Person
    from ygg.setup.proposal import Plan, Server

_HERE: Final = "localhost"
#: Flags that may be given once for each server, in the order of the servers.
_EACH: Final = ("name", "model", "types", "slots", "key")


def register(commands: Commands) -> None:
    init = commands.add(
        "init", _init, "ask model servers what they have, and write hosts.yaml", """
        ygg init                                   # what runs on this machine
        ygg init http://surtr:11434 http://fenrir:11434 http://skadi:8080
        ygg init --yes http://surtr:11434 http://fenrir:11434 --slots 2 --slots 4
        ygg init http://surtr:11434 -o -           # only print what it would write
        """, commands.json,
    )  # fmt: skip
    init.add_argument(
        "urls", nargs="*", metavar="URL",
        help="Ollama or OpenAI-compatible servers; a bare name is tried on the usual ports "
        "(default: this machine)",
    )  # fmt: skip
    each = init.add_argument_group(
        "what is known already", "each once for every server, in the order of the servers"
    )
    each.add_argument("--name", action="append", help="what the host is called")
    each.add_argument("--model", action="append", help="the model for tasks that name none")
    each.add_argument("--types", action="append", metavar="TYPE[,TYPE]", help="what it is for")
    each.add_argument("--slots", action="append", metavar="N", help="tasks at once")
    each.add_argument("--key", action="append", metavar="WHERE", help="env:NAME or file:PATH")
    init.add_argument(
        "-o", "--output", default="hosts.yaml", metavar="FILE",
        help="never one that is there already; - prints (default: %(default)s)",
    )  # fmt: skip
    init.add_argument("-y", "--yes", action="store_true", help="take what is proposed, ask nothing")


def _init(args: argparse.Namespace) -> int:
    from ygg.setup.placing import CantWrite, create, exists_already
    from ygg.setup.wishes import BadWish

    path = None if args.output == "-" else Path(args.output)
    try:
        if path is not None and path.exists():
            raise exists_already(path)
        servers, silent = _find(args)
        must_answer = [one for one in silent if one.url in _whole(args.urls)]
        if must_answer or not servers:
            return _nobody(must_answer or silent)
        plan = _plan(args, servers)
        if plan is None:
            return _nothing_written(FAILED)
        text = _checked(plan, args.output)
        if path is not None:
            create(path, text)
    except (BadWish, CantWrite) as error:
        return fail(str(error), WRONG_USE)
    except KeyboardInterrupt:
        return _nothing_written(INTERRUPTED)
    except EOFError:
        return _nothing_written(FAILED)
    _tell(args, plan, path, text)
    return DONE


# -- asking ----------------------------------------------------------------------------------------


def _find(args: argparse.Namespace) -> tuple[list[Server], list[Silent]]:
    """Those that answer, and those that do not."""
    from ygg.setup.asking import Silent
    from ygg.setup.dialogue import about

    questions = _questions(args)
    _say(f"Asking {', '.join(question.url for question in questions)} ...")
    answers = _ask_all(questions)
    servers = [answer for answer in answers if not isinstance(answer, Silent)]
    silent = [answer for answer in answers if isinstance(answer, Silent)]
    for one in silent:
        if servers and not one.is_absent:
            _say(one.why)
    if _is_conversation(args):
        return [_unlocked(server) for server in servers], silent
    for server in servers:
        _say(about(server))
    return servers, silent


def _ask_all(questions: Sequence[Question]) -> list[Server | Silent]:
    import asyncio

    from ygg.setup.asking import ask_all

    return asyncio.run(ask_all(questions))


def _questions(args: argparse.Namespace) -> list[Question]:
    from ygg.secrets import SecretError, resolve_secret
    from ygg.setup.addresses import NoAddress, addresses
    from ygg.setup.asking import Question
    from ygg.setup.wishes import key_of

    questions: dict[str, Question] = {}
    try:
        keys = [resolve_secret(key_of(where)) for where in args.key or ()]
        for number, given in enumerate(args.urls or [_HERE]):
            key = keys[number] if number < len(keys) else None
            for url in addresses(given):
                questions.setdefault(url, Question(url=url, api_key=key))
    except (NoAddress, SecretError) as error:
        raise Wrong(str(error)) from error
    return list(questions.values())


def _whole(urls: Sequence[str]) -> set[str]:
    """Addresses that were given whole: they must answer. A bare name is only tried."""
    from ygg.setup.addresses import addresses

    tries = [addresses(given) for given in urls]
    return {found[0] for found in tries if len(found) == 1}


def _unlocked(server: Server) -> Server:
    """The server, asked again with its key if it wants one and a person knows where that is."""
    from ygg.secrets import SecretError, resolve_secret
    from ygg.setup.asking import Question, Silent

    if server.identity is not None:
        return server
    where = _person().where_is_key(server)
    locked = server.with_key(where)
    try:
        (answer,) = _ask_all([Question(url=server.url, api_key=resolve_secret(where))])
    except SecretError as error:
        _say(f"  {error}")
        return locked
    if isinstance(answer, Silent):
        _say(f"  {answer.why}")
        return locked
    return answer.with_key(where)


def _nobody(silent: Sequence[Silent]) -> int:
    why = "; ".join(one.why for one in silent)
    return fail(
        f"no model server answers ({why}): start it (`ollama serve`), or name another "
        "(ygg init http://HOST:PORT); nothing was written",
        FAILED,
    )


# -- planning --------------------------------------------------------------------------------------


def _is_conversation(args: argparse.Namespace) -> bool:
    return not args.yes and not args.json and sys.stdin.isatty() and sys.stderr.isatty()


def _plan(args: argparse.Namespace, servers: Sequence[Server]) -> Plan | None:
    """None: a person did not want it. Raises BadWish."""
    from ygg.setup.dialogue import ask_about
    from ygg.setup.proposal import propose
    from ygg.setup.wishes import read_wishes
    from ygg.setup.writing import hosts_yaml

    wishes = read_wishes({flag: getattr(args, flag) or () for flag in _EACH}, servers)
    if not _is_conversation(args):
        return propose(servers, wishes)
    person = _person()
    plan = propose(servers, ask_about(person, servers, wishes))
    if args.output == "-":
        return plan
    _say(f"\n{hosts_yaml(plan)}")
    return plan if person.agrees(f"Write {args.output}?") else None


def _checked(plan: Plan, file: str) -> str:
    """The text of the file, read back as `ygg check` would."""
    from ygg.hostsfile import HostsFileError, parse_fleet
    from ygg.setup.writing import hosts_yaml

    text = hosts_yaml(plan)
    try:
        parse_fleet(text, file)
    except HostsFileError as error:
        raise AssertionError(f"a bug of ygg: it would write what it refuses: {error}") from error
    return text


# -- talking ---------------------------------------------------------------------------------------


def _person() -> Person:
    from ygg.setup.dialogue import Person

    return Person(_say, _ask)


def _say(text: str) -> None:
    """To standard error: what is printed may be a file."""
    for line in text.split("\n"):
        print(printing.clean(line), file=sys.stderr)


def _ask(prompt: str) -> str:
    print(printing.clean(prompt), end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def _nothing_written(code: int) -> int:
    print(file=sys.stderr)
    return fail("nothing was written", code)


def _tell(args: argparse.Namespace, plan: Plan, path: Path | None, text: str) -> None:
    from ygg.setup.telling import plan_json, plan_lines

    if args.json:
        file = None if path is None else str(path)
        print_json({"file": file, **plan_json(plan), "yaml": text})
    elif path is None:
        print(text, end="")
    else:
        print("\n".join(plan_lines(plan, path, os.environ)))

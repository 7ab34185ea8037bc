"""`ygg token`: makes what lets a client in, and the line by which the server knows it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from ygg.cli.base import DONE, Commands, Wrong, print_json

_HEADER: Final = (
    "# ygg's tokens: one a line, [NAME] sha256:HEX. To rotate: add, change over, delete.\n"
)


def register(commands: Commands) -> None:
    token = commands.add(
        "token", _new, "make a token that lets clients in",
        """
        ygg token new --file /etc/ygg/tokens --name laptop
        ygg token new --file /etc/ygg/tokens --add --name ci    # one more
        """, commands.json,
    )  # fmt: skip
    token.description = (
        "Make a token of 256 random bits and print it, once: the server's file holds its hash "
        "only, and `dispatcher: {token_from: file:PATH}` in hosts.yaml says where that file is. "
        "A client has the token in YGG_TOKEN, or in the file that YGG_TOKEN_FILE names."
    )
    token.add_argument("action", choices=["new"], help="new makes one and prints it")
    token.add_argument(
        "--file", metavar="PATH", help="write its hash into a new file for the server"
    )
    token.add_argument("--add", action="store_true", help="the file may be there: add a line to it")
    token.add_argument("--name", metavar="NAME", help="who submits with it; tasks show it")


def _new(args: argparse.Namespace) -> int:
    import secrets

    from ygg.web.auth import NAME, NAME_REMEDY, new_token, token_line

    name = args.name or ""
    if name and not NAME.fullmatch(name):
        raise Wrong(f"--name: {NAME_REMEDY}")
    if args.add and args.file is None:
        raise Wrong("--add adds to a file: name it with --file PATH")
    token = new_token(secrets.token_bytes)
    line = token_line(token, name)
    if args.file is None:
        _show(args, token, name, line)
        if not args.json:
            print(line)
        told = "above: the token, for the client; and the line for the server's file of tokens"
    else:
        # Opened first and written last: a hash whose token nobody has seen is of no use, and
        # neither is a token that was shown and has no hash.
        with _opened(Path(args.file), add=args.add) as file:
            _show(args, token, name, line)
            _append(file, line)
        told = f"the token is shown only now; its hash is in {args.file}"
    if not args.json:
        print(f"ygg: {told}; a dispatcher that runs takes it when restarted", file=sys.stderr)
    return DONE


def _show(args: argparse.Namespace, token: str, name: str, line: str) -> None:
    """Raises OSError: it can't be printed."""
    if args.json:
        from ygg.cli.printed import NewToken

        print_json(NewToken(token=token, name=name, line=line, file=args.file))
    else:
        print(token)
    sys.stdout.flush()


@contextmanager
def _opened(path: Path, *, add: bool) -> Iterator[BinaryIO]:
    """To be added to; a new one that nothing was written to goes away again. Raises Wrong."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | (0 if add else os.O_EXCL)
    try:
        # A new one is private from its first moment; one that is there keeps its mode.
        file = os.fdopen(os.open(path, flags, 0o600), "r+b")
    except FileExistsError as error:
        raise Wrong(f"{path} is there already: --add adds a line to it") from error
    except OSError as error:
        raise Wrong(f"can't write {path}: {error.strerror}; choose another with --file") from error
    with file:
        try:
            yield file
        finally:
            if os.fstat(file.fileno()).st_size == 0:
                path.unlink(missing_ok=True)


def _append(file: BinaryIO, line: str) -> None:
    """Raises OSError."""
    size = file.seek(0, os.SEEK_END)
    start = _HEADER if size == 0 else ""
    if size:
        file.seek(size - 1)
        start = "" if file.read(1) == b"\n" else "\n"
    file.write(f"{start}{line}\n".encode())
    file.flush()
    os.fsync(file.fileno())

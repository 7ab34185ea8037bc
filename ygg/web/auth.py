"""Bearer tokens: how they are made and kept, and who needs one.

A token is kept as its SHA-256, in the file and in memory: what a backup, a core dump or a look over
a shoulder shows opens nothing. No salt and no slow hash: a token of ours has 256 random bits, which
nobody guesses. Nothing of aiohttp is in here, so that `ygg token` starts fast; whose Host, Origin
and body are taken is guard.py's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ygg.secrets import SecretError, resolve_text

#: Before every token, so that those who look for secrets that went astray find it.
PREFIX: Final = "ygg_"
_BYTES: Final = 32
#: What a header takes as a token (RFC 6750); shorter ones than a good one can be are refused.
_TOKEN: Final = re.compile(r"(?=.{20})[A-Za-z0-9._~+/-]+=*")
_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]+=*)")
_HASH: Final = re.compile(r"sha256:([0-9A-Fa-f]{64})")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
NAME_REMEDY: Final = "use letters, digits, `.`, `_` and `-`, at most 63, a letter or digit first"
HOW_TO_SEND: Final = (
    "send one as `Authorization: Bearer TOKEN` (ygg's command line takes it from the file that "
    "YGG_TOKEN_FILE names, or from YGG_TOKEN)"
)
HOW_TO_MAKE: Final = (
    "`ygg token new --file /etc/ygg/tokens` makes one, and `dispatcher: {token_from: "
    "file:/etc/ygg/tokens}` in hosts.yaml says where it is"
)


def new_token(random_bytes: Callable[[int], bytes]) -> str:
    """A token of 256 random bits."""
    return PREFIX + base64.urlsafe_b64encode(random_bytes(_BYTES)).rstrip(b"=").decode("ascii")


def token_line(token: str, name: str = "") -> str:
    """The line by which a server knows a token without knowing it."""
    hashed = f"sha256:{_digest(token).hex()}"
    return f"{name} {hashed}" if name else hashed


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of one."""

    #: Who submits with it; "" says nothing about that.
    name: str
    digest: bytes = field(repr=False)
    #: It stood there itself, not its hash.
    was_bare: bool = False


def parse_tokens(text: str, where: str) -> tuple[Token, ...]:
    """The tokens of a text with one a line: `[NAME] sha256:HEX`, or `[NAME] TOKEN`.

    Empty lines and those that begin with # are skipped. Two of one name are right: the new one is
    added, then clients change over, then the old one goes. Raises SecretError with all that is
    wrong, none of which it quotes.
    """
    tokens: list[Token] = []
    lines: dict[bytes, int] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        *names, secret = words
        hashed = _HASH.fullmatch(secret)
        if len(words) > 2:
            problems.append(f"line {number} has more than a name and a token")
        elif names and not NAME.fullmatch(names[0]):
            problems.append(f"line {number} has a name that can't be one ({NAME_REMEDY})")
        elif hashed is None and not _TOKEN.fullmatch(secret):
            problems.append(
                f"line {number} has neither sha256: and 64 hexadecimal digits nor a token of "
                "20 characters or more"
            )
        else:
            digest = _digest(secret) if hashed is None else bytes.fromhex(hashed[1])
            if digest in lines:
                problems.append(f"line {number} is the token of line {lines[digest]} again")
            lines.setdefault(digest, number)
            tokens.append(Token(names[0] if names else "", digest, was_bare=hashed is None))
    if not tokens and not problems:
        problems.append("holds no token")
    if problems:
        raise SecretError(f"{where}: {'; '.join(problems)}: {HOW_TO_MAKE}")
    return tuple(tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """The tokens of a server, and what a person should be warned of."""

    tokens: tuple[Token, ...] = ()
    warning: str | None = None


def load_tokens(reference: str | None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """What `token_from` leads to. Raises SecretError."""
    if reference is None:
        return Loaded()
    found = resolve_text(reference, environ)
    tokens = parse_tokens(found.text, found.where)
    # Hashes may be read by anyone: no token comes of them.
    if found.cure is None or not any(token.was_bare for token in tokens):
        return Loaded(tokens=tokens)
    warning = f"every user can read the tokens in {found.where}: {found.cure}, or keep their hashes"
    return Loaded(tokens=tokens, warning=warning)


class Unauthorized(Exception):
    """A token is needed, or the one given is none of ours; the message has the way out.

    `challenge` is what WWW-Authenticate says.
    """

    def __init__(self, detail: str, challenge: str = 'Bearer realm="ygg"') -> None:
        super().__init__(detail)
        self.challenge = challenge


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """Who needs a token, and which are good.

    Args:
        tokens: the good ones.
        always: those who come over loopback or the Unix socket need one too.
    """

    tokens: tuple[Token, ...] = ()
    always: bool = False

    def submitter(self, given: Sequence[str], *, is_private: bool, is_proxied: bool) -> str:
        """The name of the token's line; "" where it has none, or none is needed and given.

        A token that is given must be good even where none is needed: one that went stale is noticed.
        A server that has no tokens can tell no good one from a bad one, and takes no notice.

        Args:
            given: the values of Authorization.
            is_private: it came by a door that only this machine's users reach.
            is_proxied: another program passed it on, for whomever.

        Raises Unauthorized.
        """
        needed = self.always or is_proxied or not is_private
        bearer = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
        if bearer is not None and self.tokens:
            return self._name(bearer[1])
        if not needed:
            return ""
        if not self.tokens:
            by_proxy = "came through a proxy, for whom a token is needed"
            why = by_proxy if is_proxied else "came from beyond loopback, where a token is needed"
            raise Unauthorized(f"the request {why}, and this server has none: {HOW_TO_MAKE}")
        raise Unauthorized(f"a token is needed: {HOW_TO_SEND}")

    def _name(self, presented: str) -> str:
        digest = _digest(presented)
        name: str | None = None
        # All are looked at, each in constant time: how long it takes tells nothing about any.
        for token in self.tokens:
            if hmac.compare_digest(token.digest, digest):
                name = token.name
        if name is None:
            raise Unauthorized(
                f"the token is none of this server's: {HOW_TO_SEND}",
                'Bearer realm="ygg", error="invalid_token"',
            )
        return name

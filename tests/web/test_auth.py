"""Tokens: how they are made, kept and held against what a request brings."""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.secrets import SecretError
from ygg.web.auth import (
    Access,
    Token,
    Unauthorized,
    load_tokens,
    new_token,
    parse_tokens,
    token_line,
)

GOOD: Final = new_token(lambda size: b"\0" * size)
OTHER: Final = new_token(lambda size: b"\1" * size)
#: What RFC 6750 takes as a token.
TOKENS: Final = st.from_regex(r"[A-Za-z0-9._~+/-]{20,60}={0,2}", fullmatch=True)


@pytest.mark.pure
def test_a_token_is_256_random_bits_that_a_header_takes() -> None:
    token = new_token(secrets.token_bytes)
    assert re.fullmatch(r"ygg_[A-Za-z0-9_-]{43}", token)
    assert new_token(secrets.token_bytes) != token
    asked = list[int]()

    def zeros(size: int) -> bytes:
        asked.append(size)
        return b"\0" * size

    new_token(zeros)
    assert asked == [32]


@pytest.mark.pure
def test_its_line_holds_its_hash_and_not_itself() -> None:
    line = token_line(GOOD, "laptop")
    assert line == f"laptop sha256:{hashlib.sha256(GOOD.encode()).hexdigest()}"
    assert GOOD not in line
    assert token_line(GOOD) == line.removeprefix("laptop ")


@pytest.mark.pure
def test_lines_with_and_without_names_comments_and_plain_tokens() -> None:
    text = f"# mine\n\nci {token_line(GOOD)}\r\n  {OTHER}  \n\tlaptop plain-token-0123456789==\n"
    tokens = parse_tokens(text, "f")
    assert [token.name for token in tokens] == ["ci", "", "laptop"]
    assert [token.was_bare for token in tokens] == [False, True, True]
    assert tokens[0].digest == hashlib.sha256(GOOD.encode()).digest()
    upper = token_line(GOOD).replace("sha256:", "").upper()
    assert parse_tokens(f"sha256:{upper}", "f")[0].digest == tokens[0].digest


@pytest.mark.pure
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no token"),
        ("# nothing\n", "holds no token"),
        ("hunter2", "line 1 has neither"),
        ("ci hunter2", "line 1 has neither"),
        ("\nsha256:hunter2hunter2hunter2", "line 2 has neither"),
        (f"sha256:{'0' * 63}", "line 1 has neither"),
        ("hunter2-hunter2 hunter2 hunter2", "more than a name and a token"),
        (f"hunter2! {GOOD}", "has a name that can't be one"),
        (f"a {GOOD}\n{token_line(GOOD)}", "line 2 is the token of line 1 again"),
        ("hunter2\nhunter2", "line 1 has neither sha256: and 64 hexadecimal digits nor"),
    ],
)
def test_lines_that_are_no_tokens_are_told_and_not_shown(text: str, words: str) -> None:
    with pytest.raises(SecretError) as caught:
        parse_tokens(text, "/etc/ygg/tokens")
    message = str(caught.value)
    assert words in message
    assert message.startswith("/etc/ygg/tokens: ")
    assert "ygg token new" in message
    assert "hunter2" not in message
    assert GOOD not in message


@pytest.mark.pure
def test_nothing_shows_what_is_kept() -> None:
    access = Access(tokens=parse_tokens(f"ci {GOOD}", "f"))
    assert GOOD not in repr(access)
    assert hashlib.sha256(GOOD.encode()).hexdigest() not in repr(access)
    assert str(hashlib.sha256(GOOD.encode()).digest()) not in repr(access)


def a_file(tmp_path: Path, text: str, mode: int = 0o600) -> str:
    path = tmp_path / "tokens"
    path.write_text(text)
    path.chmod(mode)
    return f"file:{path}"


def test_tokens_come_from_a_file_a_credential_or_the_environment(tmp_path: Path) -> None:
    text = f"ci {GOOD}\n{OTHER}\n"
    expected = parse_tokens(text, "")
    reference = a_file(tmp_path, text)
    assert load_tokens(reference).tokens == expected
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "YGG_TOKENS": text}
    assert load_tokens("credential:tokens", environ).tokens == expected
    assert load_tokens("env:YGG_TOKENS", environ).tokens == expected
    assert load_tokens(None).tokens == ()


@pytest.mark.parametrize(
    ("text", "mode", "warned"),
    [
        (GOOD, 0o600, False),
        (GOOD, 0o640, False),
        (GOOD, 0o644, True),
        (token_line(GOOD), 0o644, False),
        (f"{token_line(GOOD)}\nci {OTHER}", 0o644, True),
    ],
)
def test_a_token_that_all_users_can_read_is_warned_of(
    tmp_path: Path, text: str, mode: int, warned: bool
) -> None:
    loaded = load_tokens(a_file(tmp_path, text, mode))
    if warned:
        assert loaded.warning == (
            f"every user can read the tokens in {tmp_path}/tokens: chmod 600 {tmp_path}/tokens, "
            "or keep their hashes"
        )
    else:
        assert loaded.warning is None


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_to_which_others_can_add_their_own_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SecretError, match="can be written by other users: chmod 600 /"):
        load_tokens(a_file(tmp_path, token_line(GOOD), mode))


@pytest.mark.parametrize("data", ["ä", "a\0b", "a\x1bb"])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, data: str) -> None:
    with pytest.raises(SecretError, match="beyond ASCII, or that are no text"):
        load_tokens(a_file(tmp_path, f"{GOOD}\n{data}"))


# -- what a request brings -------------------------------------------------------------------

ACCESS: Final = Access(tokens=parse_tokens(f"ci {GOOD}\n{OTHER}", "f"))
ALWAYS: Final = Access(tokens=ACCESS.tokens, always=True)
NONE: Final = Access()


def ask(access: Access, *given: str, is_private: bool = True, is_proxied: bool = False) -> str:
    return access.submitter(given, is_private=is_private, is_proxied=is_proxied)


def refused(
    access: Access, *given: str, is_private: bool = True, is_proxied: bool = False
) -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        ask(access, *given, is_private=is_private, is_proxied=is_proxied)
    for value in given:
        assert value.split()[-1] not in str(caught.value)
    return caught.value


@pytest.mark.pure
def test_a_private_door_needs_no_token() -> None:
    assert ask(ACCESS) == ""
    assert ask(NONE) == ""


@pytest.mark.pure
def test_who_needs_one_and_has_none_is_told_how_to_send_it() -> None:
    for error in (
        refused(ACCESS, is_private=False),
        refused(ACCESS, is_proxied=True),
        refused(ALWAYS),
    ):
        assert "Authorization: Bearer TOKEN" in str(error)
        assert "YGG_TOKEN_FILE" in str(error)
        assert error.challenge == 'Bearer realm="ygg"'


@pytest.mark.pure
def test_a_good_one_lets_in_and_names_who_submits() -> None:
    for access, is_private in ((ACCESS, False), (ACCESS, True), (ALWAYS, True)):
        assert ask(access, f"Bearer {GOOD}", is_private=is_private) == "ci"
        assert ask(access, f"bearer  {OTHER}", is_private=is_private, is_proxied=True) == ""


@pytest.mark.pure
def test_a_wrong_one_is_refused_even_where_none_is_needed() -> None:
    for is_private in (True, False):
        error = refused(ACCESS, f"Bearer {GOOD}x", is_private=is_private)
        assert error.challenge == 'Bearer realm="ygg", error="invalid_token"'


@pytest.mark.pure
@pytest.mark.parametrize(
    "given",
    [
        ("Basic Z29vZDpnb29k",),
        ("Bearer",),
        ("Bearer ",),
        (f"Bearer {GOOD} ",),
        (f"Bearer {GOOD}, Bearer {GOOD}",),
        (f"Bearer {GOOD}", f"Bearer {GOOD}"),
        (f"Bearer\t{GOOD}",),
        (GOOD,),
        ("Bearer ünsinn",),
        ("Bearer \udcff",),
    ],
)
def test_what_is_no_bearer_token_is_none(given: tuple[str, ...]) -> None:
    with pytest.raises(Unauthorized) as caught:
        ask(ACCESS, *given, is_private=False)
    assert GOOD not in str(caught.value)
    assert ask(ACCESS, *given) == "", "another program's header is no reason to refuse"


@pytest.mark.pure
def test_where_there_is_no_token_a_strangers_request_says_how_to_make_one() -> None:
    assert "through a proxy" in str(refused(NONE, is_proxied=True))
    error = refused(NONE, f"Bearer {GOOD}", is_private=False)
    assert "beyond loopback" in str(error)
    assert "ygg token new" in str(error)
    assert ask(NONE, f"Bearer {GOOD}") == "", "the key that a client of another API always sends"


@given(tokens=st.lists(TOKENS, min_size=1, max_size=5, unique=True), presented=TOKENS)
@pytest.mark.pure
def test_just_the_tokens_of_the_file_let_in(tokens: list[str], presented: str) -> None:
    names = [f"n{number}" for number in range(len(tokens))]
    text = "\n".join(
        token_line(token, name) if number % 2 else f"{name} {token}"
        for number, (token, name) in enumerate(zip(tokens, names, strict=True))
    )
    access = Access(tokens=parse_tokens(text, "f"))
    for token, name in zip(tokens, names, strict=True):
        assert ask(access, f"Bearer {token}", is_private=False) == name
    if presented not in tokens:
        refused(access, f"Bearer {presented}", is_private=False)


@given(text=st.text(max_size=200) | st.lists(TOKENS | st.text(max_size=5)).map("\n".join))
@pytest.mark.pure
def test_any_text_is_tokens_or_said_to_be_none(text: str) -> None:
    try:
        tokens = parse_tokens(text, "f")
    except SecretError:
        return
    assert tokens
    assert all(isinstance(token, Token) and len(token.digest) == 32 for token in tokens)

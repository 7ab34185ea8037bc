"""The token that a client shows: given, or where the environment says it is."""

from __future__ import annotations

from collections.abc import Mapping

from ygg.client.errors import WrongSettings


def find_token(given: str | None, environ: Mapping[str, str]) -> str | None:
    """The argument before YGG_TOKEN before the file YGG_TOKEN_FILE; None: there is none.

    Raises WrongSettings, which never has the token's text.
    """
    if given is not None:
        if not given or not given.isascii() or not given.isprintable() or " " in given:
            raise WrongSettings("the token is empty, or has characters that no token has")
        return given
    if environ.get("YGG_TOKEN"):
        spec = "env:YGG_TOKEN"
    elif environ.get("YGG_TOKEN_FILE"):
        spec = f"file:{environ['YGG_TOKEN_FILE']}"
    else:
        return None
    from ygg.secrets import SecretError, resolve_secret

    try:
        return find_token(resolve_secret(spec, environ), {})
    except SecretError as error:
        raise WrongSettings(f"no token from {spec.partition(':')[2]}: {error}") from error

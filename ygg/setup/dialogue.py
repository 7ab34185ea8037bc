"""Asks a person about each server that was found: the proposal is the default of every question.

How a line is shown and read is the caller's. Ctrl-C and the end of input go through: nothing has
been written by then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from ygg.setup.guessing import key_variable
from ygg.setup.proposal import NO_WISH, Host, Server, Wish, propose_host
from ygg.setup.wishes import BadWish, key_of, model_of, name_of, slots_of, types_of

T = TypeVar("T")
#: Of a server's models so many are shown.
_MODELS_MAX = 12


class Person:
    """Somebody at a terminal.

    Args:
        say: shows a line.
        ask: shows a prompt and reads a line. Raises EOFError, KeyboardInterrupt.
    """

    def __init__(self, say: Callable[[str], None], ask: Callable[[str], str]) -> None:
        self.say = say
        self._ask = ask

    def choose(self, prompt: str, default: str, read: Callable[[str], T]) -> T:
        """Ask until the answer can be; an empty one is the default."""
        while True:
            text = self._ask(f"  {prompt} [{default}]: ").strip() or default
            try:
                return read(text)
            except BadWish as error:
                self.say(f"  {error}")

    def where_is_key(self, server: Server) -> str:
        """Where the key is that a server wants before it says anything."""
        self.say(about(server))
        name = propose_host(server, NO_WISH, ()).name
        return self.choose("Where is it", f"env:{key_variable(name)}", key_of)

    def agrees(self, question: str) -> bool:
        return self._ask(f"{question} [Y/n] ").strip().lower() in ("", "y", "yes")


def ask_about(person: Person, servers: Sequence[Server], wishes: Sequence[Wish]) -> list[Wish]:
    """What a person wants of each server, beside what flags said already."""
    answers: list[Wish] = []
    for server, wish in zip(servers, wishes, strict=True):
        taken = {other.name for other in (*answers, *wishes) if other.name and other is not wish}
        person.say(about(server))
        answers.append(_ask_about(person, server, wish, taken))
    return answers


def _ask_about(person: Person, server: Server, wish: Wish, taken: set[str]) -> Wish:
    if wish.model is None and len(server.models) > 1:
        model = propose_host(server, wish, taken).model
        if model is not None:
            chosen = person.choose("Model", model, lambda text: model_of(text, server))
            wish = replace(wish, model=chosen)
    host = propose_host(server, wish, taken)
    if wish.name is None:
        chosen = person.choose("Name", host.name, lambda text: name_of(text, taken))
        wish = replace(wish, name=chosen)
    if wish.types is None:
        default = ", ".join(host.types) or "general"
        wish = replace(wish, types=person.choose("Types of task", default, types_of))
    if wish.slots is None:
        person.say(f"  {_capital(host)}.")
        number = person.choose(
            "Tasks at once", str(host.slots), lambda text: slots_of(text, server)
        )
        if number != host.slots:
            wish = replace(wish, slots=number)
    return wish


def _capital(host: Host) -> str:
    return host.slots_reason[0].upper() + host.slots_reason[1:]


def about(server: Server) -> str:
    """A server and what it has, in a line."""
    if server.identity is None:
        return f"{server.url} wants a key before it says what it is."
    names = [f"{m.name} (loaded)" if m.is_loaded else m.name for m in server.models]
    shown = ", ".join(names[:_MODELS_MAX]) + (", ..." if len(names) > _MODELS_MAX else "")
    return f"{server.url} is {server.identity} with {shown or 'no model'}."

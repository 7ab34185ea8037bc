"""What a person may say of a host, by flags or in a conversation; the default is the proposal."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.setup.servers import llama_cpp, ollama
from ygg.setup.dialogue import Person, about, ask_about
from ygg.setup.proposal import NO_WISH, Server, Wish
from ygg.setup.wishes import (
    BadWish,
    key_of,
    model_of,
    name_of,
    read_wishes,
    slots_of,
    types_of,
)

pytestmark = pytest.mark.pure

FENRIR = ollama("http://fenrir:11434", "qwen2.5:7b", "deepseek-r1:8b", loaded="deepseek-r1:8b")
SKADI = llama_cpp("http://skadi:8080", "m", 2)
UNKNOWN = Server(url="http://x:1", needs_key=True)


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda: name_of("a b", ()), "no host can be named 'a b': use letters, digits"),
        (lambda: name_of("a", {"a"}), "another host is named 'a'"),
        (
            lambda: model_of("qwen2.5:8b", FENRIR),
            "no model 'qwen2.5:8b': did you mean 'qwen2.5:7b'",
        ),
        (lambda: model_of("m", ollama("http://a:1")), "it has none: load one there first"),
        (lambda: model_of("a\nb", FENRIR), "write it on one line"),
        (lambda: types_of("general, a b"), "no type can be named 'a b'"),
        (lambda: slots_of("0", FENRIR), "write a whole number from 1 on"),
        (lambda: slots_of("many", FENRIR), "write a whole number from 1 on"),
        (lambda: slots_of("1" * 30, FENRIR), "write a whole number from 1 on"),
        (lambda: slots_of("3", SKADI), "write 2 or less, or start it with more"),
        (lambda: key_of("sk-hunter2"), "never the key itself: env:NAME"),
    ],
)
def test_what_can_not_be_is_refused_with_what_can(read: Callable[[], object], said: str) -> None:
    with pytest.raises(BadWish, match=re.escape(said)) as refused:
        read()
    assert "hunter2" not in str(refused.value)


def test_what_can_be_is_taken() -> None:
    assert name_of("fenrir-chat", {"other"}) == "fenrir-chat"
    assert model_of("qwen2.5:7b", FENRIR) == "qwen2.5:7b"
    assert model_of("anything", SKADI) == "anything", "llama.cpp with one model takes any name"
    assert model_of("anything", UNKNOWN) == "anything", "it does not tell what it has"
    assert types_of("a, b,a") == ("a", "b")
    assert slots_of("2", SKADI) == 2
    assert slots_of("8", FENRIR) == 8
    assert key_of("file:/etc/key") == "file:/etc/key"


def test_flags_are_about_the_servers_in_their_order() -> None:
    given = {"name": ["a", "b"], "slots": ["4"], "types": [], "model": [], "key": ["env:K"]}
    assert read_wishes(given, [FENRIR, SKADI]) == [
        Wish(name="a", slots=4, key="env:K"),
        Wish(name="b"),
    ]
    with pytest.raises(BadWish, match="--name is given 2 times, and 1 servers answer"):
        read_wishes(given, [FENRIR])
    with pytest.raises(BadWish, match="another host is named 'a'"):
        read_wishes({"name": ["a", "a"]}, [FENRIR, SKADI])


class Script:
    """A person who answers out of a list; keeps what was asked and said."""

    def __init__(self, *answers: str) -> None:
        self._answers = iter(answers)
        self.asked: list[str] = []
        self.said: list[str] = []

    def ask(self, prompt: str) -> str:
        self.asked.append(prompt)
        answer = next(self._answers, None)
        if answer is None:
            raise EOFError
        return answer + "\n"

    @property
    def person(self) -> Person:
        return Person(self.said.append, self.ask)


def test_the_proposal_is_the_default_of_every_question() -> None:
    script = Script("", "", "", "")
    (wish,) = ask_about(script.person, [FENRIR], [NO_WISH])
    assert wish == Wish(
        model="deepseek-r1:8b", name="fenrir-reasoning", types=("reasoning", "text-processing")
    )
    assert script.asked == [
        "  Model [deepseek-r1:8b]: ",
        "  Name [fenrir-reasoning]: ",
        "  Types of task [reasoning, text-processing]: ",
        "  Tasks at once [1]: ",
    ]
    assert script.said[0] == about(FENRIR)
    assert "OLLAMA_NUM_PARALLEL" in script.said[1], "why it is 1"


def test_an_answer_that_can_not_be_is_asked_again_with_the_reason() -> None:
    script = Script("qwen", "qwen2.5:7b", "a b", "big", "", "none", "4")
    (wish,) = ask_about(script.person, [FENRIR], [NO_WISH])
    assert (wish.model, wish.name, wish.slots) == ("qwen2.5:7b", "big", 4)
    assert (
        "  http://fenrir:11434 has no model 'qwen': known here: qwen2.5:7b, deepseek-r1:8b"
    ) in script.said
    assert script.asked.count("  Name [fenrir-chat]: ") == 2


def test_what_a_flag_said_is_not_asked() -> None:
    script = Script("", "", "")
    flags = Wish(name="big", types=("ocr",), slots=2)
    (wish,) = ask_about(script.person, [SKADI], [flags])
    assert script.asked == []
    assert wish == flags


def test_no_two_hosts_get_one_name() -> None:
    script = Script("same", "", "", "same", "other", "", "")
    first, second = ask_about(script.person, [SKADI, UNKNOWN], [NO_WISH, NO_WISH])
    assert (first.name, second.name) == ("same", "other")


def test_the_end_of_input_goes_through() -> None:
    with pytest.raises(EOFError):
        ask_about(Script("").person, [FENRIR], [NO_WISH])


def test_a_server_is_told_in_a_line() -> None:
    assert about(FENRIR) == (
        "http://fenrir:11434 is Ollama 0.13.5 with qwen2.5:7b, deepseek-r1:8b (loaded)."
    )
    assert about(UNKNOWN) == "http://x:1 wants a key before it says what it is."
    many = ollama("http://a:1", *(f"m{n}" for n in range(99)))
    assert about(many).endswith("m11, ....")

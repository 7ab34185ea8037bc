"""Server-sent events, by the standard's rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.client.messages import Message, Messages

pytestmark = pytest.mark.pure

#: What a line can't have in it.
_ENDS = "\r\n"
texts = st.text(st.characters(exclude_characters=_ENDS, exclude_categories=["Cs"]))
ids = st.text(st.characters(exclude_characters=_ENDS + "\0", exclude_categories=["Cs"]))
messages = st.builds(
    Message, event=texts.filter(bool), data=st.lists(texts, min_size=1).map("\n".join), id=ids
)


def written(message: Message, end: str) -> str:
    lines = [f"event: {message.event}", f"id: {message.id}", ": a comment"]
    lines += [f"data: {line}" for line in message.data.split("\n")]
    return "".join(line + end for line in [*lines, ""])


@given(
    sent=st.lists(messages, max_size=4),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_however_the_stream_is_cut_the_same_messages_come(
    sent: list[Message], end: str, cuts: list[int]
) -> None:
    # One byte more, for a \r at the end may be the half of a line's end.
    stream = "".join(written(message, end) for message in sent).encode() + b":"
    reader, got, before = Messages(), list[Message](), 0
    for cut in [*sorted(cuts), len(stream)]:
        got += reader.feed(stream[before:cut])
        before = max(before, cut)
    assert got == sent
    assert reader.last_id == (sent[-1].id if sent else "")


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data:no blank\ndata: one blank\ndata:  two\n\n", "no blank\none blank\n two"),
        (b"data\n\n", ""),
        (b"retry: 5\ndata: a\nunknown: b\n\n", "a"),
        (b"data: \xff\n\n", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_lines_are_read_by_the_standard(stream: bytes, expected: str) -> None:
    assert Messages().feed(stream) == [Message(data=expected)]


def test_an_event_without_data_is_none_but_its_id_counts() -> None:
    reader = Messages()
    assert reader.feed(b"event: hello\nid: 7\n\n") == []
    assert reader.last_id == "7"
    assert reader.feed(b"data: a\n\n") == [Message(data="a", id="7")]


def test_an_id_counts_once_its_message_is_whole() -> None:
    reader = Messages()
    assert reader.feed(b"id: 7\ndata: a\n") == []
    assert reader.last_id == ""
    assert reader.feed(b"\n") == [Message(data="a", id="7")]
    assert reader.last_id == "7"

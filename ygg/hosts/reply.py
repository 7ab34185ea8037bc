"""An answer while it streams in: its text, its thinking, its tokens, and what is wrong with it.

Pure: the dialects put in what they read, http.py watches the clock.
"""

from __future__ import annotations

from typing import Final, NoReturn

from ygg.faults import Cause, Failure
from ygg.hosts.base import Answer
from ygg.hosts.blame import Where, read_error

#: No prompt and no answer has so many tokens: a count above is a server's mistake.
_TOKENS_MAX: Final = 10**8
#: A year. No answer takes so long.
_NANOSECONDS_MAX: Final = 366 * 86400 * 10**9

#: Text and thinking together, in UTF-8. Longer answers are a model that can't stop.
ANSWER_BYTES_MAX: Final = 8 * 2**20
_PARTIAL_CHARACTERS: Final = 65536

#: Reasons to finish that mean a cut answer. `repetition`: vLLM ends a model that goes in circles.
_CUT: Final = frozenset({"length", "repetition"})
#: Reasons that are the server's: it gave the request up.
_GIVEN_UP: Final = frozenset({"abort", "error", "cancelled"})


class Reply:
    """What has come so far."""

    __slots__ = (
        "_text",
        "_thinking",
        "completion_tokens",
        "ended",
        "finish",
        "prompt_tokens",
        "seconds",
        "server_wait_seconds",
        "size_bytes",
        "tokens",
        "where",
    )

    def __init__(self, where: Where) -> None:
        self.where = where
        self._text: list[str] = []
        self._thinking: list[str] = []
        self.size_bytes = 0
        #: Counted live: each piece of text or thinking is one. Servers may send several in one.
        self.tokens = 0
        #: Why it ended, in the server's words; "" while it has not.
        self.finish = ""
        #: The last word came; after `finish` a server may still count its tokens.
        self.ended = False
        #: The server's own counts; 0 until it said.
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.seconds = 0.0
        self.server_wait_seconds: float | None = None

    def add(self, text: str | None, thinking: str | None) -> None:
        """Take in a piece. An empty one is no token: servers send some to say hello."""
        if not text and not thinking:
            return
        self.tokens += 1
        if text:
            self._text.append(text)
            self.size_bytes += len(text) if text.isascii() else len(text.encode())
        if thinking:
            self._thinking.append(thinking)
            self.size_bytes += len(thinking) if thinking.isascii() else len(thinking.encode())
        if self.size_bytes > ANSWER_BYTES_MAX:
            raise self.failure(
                Cause.ANSWER_TOO_LONG, f"its answer is longer than {ANSWER_BYTES_MAX >> 20} MiB"
            )

    def count(self, prompt: object, completion: object) -> None:
        """Take in the server's own counts. An answer is good whatever nonsense they are."""
        self.prompt_tokens = _bounded(prompt, _TOKENS_MAX)
        self.completion_tokens = _bounded(completion, _TOKENS_MAX)

    def wait(self, whole: object, *busy: object) -> None:
        """What is left of its time, in nanoseconds, is the wait inside it."""
        if all_of_it := _bounded(whole, _NANOSECONDS_MAX):
            busy_for = sum(_bounded(part, _NANOSECONDS_MAX) for part in busy)
            self.server_wait_seconds = max(0, all_of_it - busy_for) / 1e9

    def failure(self, cause: Cause, what: str, *, taken: bool = True, remedy: str = "") -> Failure:
        """A failure inside this answer, with what of it had come."""
        return self.where.failure(cause, what, taken=taken, remedy=remedy, partial=self.partial)

    @property
    def partial(self) -> str:
        return "".join(self._text)[:_PARTIAL_CHARACTERS]

    def malformed(self, line: bytes, error: Exception | str) -> Failure:
        said = self.where.quote(line.decode(errors="replace"))
        return self.failure(Cause.MALFORMED, f"sent {said!r}, which is not its protocol: {error}")

    def fail_with(self, error: object) -> NoReturn:
        """The server put an error object into the stream: status 200 had gone out before it."""
        said = read_error(error)
        if said.code is not None:
            raise self.where.refusal(said.code, said, partial=self.partial)
        raise self.failure(
            Cause.SERVER_ERROR,
            f"said inside its answer: {self.where.quote(said.text) or 'error, without a word'}",
        )

    def answer(self) -> Answer:
        """The whole answer; raises Failure when it is none."""
        if self.finish in _GIVEN_UP:
            raise self.failure(Cause.SERVER_ERROR, f"ended its answer with {self.finish!r}")
        text, thinking = _split_thinking("".join(self._text))
        thinking = "".join((*self._thinking, thinking))
        if self.finish == "content_filter":
            raise self.failure(Cause.REFUSED_ANSWER, "its content filter ended the answer")
        if not text.strip():
            raise self._empty(thinking)
        return Answer(
            text=text,
            thinking=thinking,
            finish="length" if self.finish in _CUT else "stop",
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens or self.tokens,
            seconds=self.seconds,
            server_wait_seconds=self.server_wait_seconds,
        )

    def _empty(self, thinking: str) -> Failure:
        if self.finish in _CUT and thinking:
            what = f"thinking used up all {self.completion_tokens or self.tokens} tokens"
            remedy = "raise num_predict, or set think: false"
        elif self.finish in _CUT:
            what, remedy = "the token limit came before the first word", "raise num_predict"
        elif self.finish in {"tool_calls", "function_call"}:
            what, remedy = "the model asked for a tool, and has none", "say so in the prompt"
        elif thinking:
            what, remedy = "the model thought and then said nothing", "try think: false"
        else:
            what, remedy = "the model stopped at once", ""
        return self.failure(Cause.EMPTY_ANSWER, f"empty answer: {what}", remedy=remedy)


def _bounded(value: object, most: int) -> int:
    """A number from outside as a count: 0 for what can be none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        return 0
    return int(value)


def _split_thinking(text: str) -> tuple[str, str]:
    """Text without, and with only, the `<think>...</think>` that some servers leave at its start."""
    if not text.lstrip().startswith("<think>"):
        return text, ""
    thinking, _, rest = text.lstrip().removeprefix("<think>").partition("</think>")
    return rest.lstrip(), thinking.strip()

"""How many run at once, measured on servers of which that is known; on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds import run_virtual
from ygg.doctor.working import Bench, one_token, together
from ygg.faults import Cause, Failure
from ygg.fleet import HostSettings, TypeSettings
from ygg.hosts.base import Answer, Loaded, Progress, Request

pytestmark = pytest.mark.pure


class Server:
    """A ModelServer that runs so many requests at once, the others wait; it was not loaded yet."""

    def __init__(
        self, slots: int, *, load_seconds: float = 0.0, token_seconds: float = 0.1
    ) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._load_seconds = load_seconds
        self._token_seconds = token_seconds
        self.asked: list[Request] = []
        self.fail: Failure | None = None

    async def generate(self, request: Request, progress: Progress) -> Answer:
        self.asked.append(request)
        tokens = request.options["num_predict"]
        assert isinstance(tokens, int)
        async with self._slots:
            await asyncio.sleep(self._load_seconds)
            self._load_seconds = 0.0
            for number in range(tokens):
                await asyncio.sleep(self._token_seconds)
                progress.tokens(completion=1)
                if self.fail is not None and number == 2:
                    raise self.fail
        progress.tokens(prompt=7)
        return Answer(text="x", completion_tokens=tokens)

    async def probe(self) -> None: ...

    async def models(self) -> Sequence[str]:
        return ["m"]

    async def has_model(self, model: str) -> bool:
        return True

    async def parallelism(self) -> int | None:
        return None

    async def loaded(self) -> Sequence[Loaded]:
        return []


def bench(server: Server) -> Bench:
    return Bench(
        server=server, model="m", type=TypeSettings(name="t", options={"num_ctx": 99, "top_p": 1}),
        host=HostSettings(name="h", url="http://h"), seconds=600.0,
    )  # fmt: skip


@given(st.integers(1, 8), st.integers(2, 8), st.floats(0, 60))
def test_what_runs_together_is_found(slots: int, count: int, load_seconds: float) -> None:
    async def story() -> None:
        server = Server(slots, load_seconds=load_seconds)
        assert await together(bench(server), count) == min(slots, count)
        assert len(server.asked) == 1 + count, "the first one loads the model"

    run_virtual(story())


def test_the_model_is_loaded_as_its_tasks_would() -> None:
    async def story() -> None:
        server = Server(1, load_seconds=9.0)
        assert await one_token(bench(server)) == pytest.approx(9.1)
        (asked,) = server.asked
        assert asked.options == {"num_ctx": 99, "num_predict": 1, "temperature": 0}

    run_virtual(story())


def test_answers_that_come_at_once_tell_nothing() -> None:
    async def story() -> None:
        assert await together(bench(Server(4, token_seconds=0.0)), 2) is None

    run_virtual(story())


def test_one_that_fails_ends_the_others() -> None:
    async def story() -> None:
        server = Server(4)
        server.fail = Failure(Cause.SERVER_ERROR, "no; see", taken=True)
        with pytest.raises(Failure):
            await together(bench(server), 4)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "no task is left"

    run_virtual(story())

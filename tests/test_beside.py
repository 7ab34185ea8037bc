"""The autoscaler within the dispatcher's process: what goes wrong there ends neither."""

from __future__ import annotations

import asyncio
import itertools
import logging
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.autoscaler.worlds import fleet
from tests.worlds import run_virtual
from ygg.beside import autoscale
from ygg.inside import Inside

pytestmark = pytest.mark.pure


def test_after_an_error_of_its_own_it_starts_again_the_later_the_more_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    began: list[float] = []

    async def falls_over(_: object) -> None:
        began.append(asyncio.get_running_loop().time())
        raise RuntimeError("a bug")

    monkeypatch.setattr("autoscaler.loop.Loop.run", falls_over)
    inside = Inside(
        followers=[], state=tmp_path, registry=CollectorRegistry(),
        autoscaling=None, collector=None, store=None,  # type: ignore[arg-type]  # nobody gets to them
    )  # fmt: skip

    async def story() -> None:
        running = asyncio.create_task(autoscale(fleet())(inside))
        await asyncio.sleep(3600)
        assert not running.done()
        running.cancel()

    with caplog.at_level(logging.ERROR):
        run_virtual(story())
    pauses = [after - before for before, after in itertools.pairwise(began)]
    assert pauses[:6] == [15, 30, 60, 120, 240, 300]
    assert set(pauses[6:]) == {300.0}
    assert "event=autoscaler_failed again_in=15" in caplog.text

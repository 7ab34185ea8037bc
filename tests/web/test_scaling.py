"""What a person is told of an autoscaler that is silent, blind, or at the end of its means."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.cli.test_picture import a_decision
from tests.cli.values import a_host, at
from ygg.shapes import AutoscalerStatus, HostStatus
from ygg.web.scaling import sentences

pytestmark = pytest.mark.pure

LEFT = "; `ygg doctor` tells more, and `ygg limit fenrir 2` leaves it so for good"


def told(reason: str = "satisfied", *, state: str = "live", **evidence: Any) -> list[str]:
    autoscaler = {"holder": "n/1", "state": state, "heard_at": at(0), "quiet_seconds": 4.0}
    held = a_decision(2, "unchanged", action="hold", reason=reason, evidence=evidence)
    host = msgspec.convert(a_host("fenrir", decision=held), HostStatus)
    return list(sentences(msgspec.convert(autoscaler, AutoscalerStatus), [host]))


@pytest.mark.parametrize(
    ("reason", "evidence", "said"),
    [
        ("gpu_stale", {"gpu_age": 184.0, "trouble": "http://f:9836: refused"},
         "the autoscaler leaves fenrir at 2: it heard nothing new of its GPU for 3 min 4 s: "
         "http://f:9836: refused" + LEFT),
        ("gpu_stale", {"gpu_age": None},
         "the autoscaler leaves fenrir at 2: it heard nothing new of its GPU so far" + LEFT),
        ("queue_stale", {"queue_age": 60.0, "trouble": "it said what can't be"},
         "the autoscaler leaves fenrir at 2: it heard nothing new of its tasks and slots for "
         "1 min: it said what can't be" + LEFT),
        ("memory_at_min", {"memory": 0.954, "futile_shrinks": 0},
         ("the memory of fenrir is 95% full at its minimum of 2: free some, by a smaller model or "
          "context, or end what else is on the card")),
        ("memory_at_min", {"memory": 0.954, "futile_shrinks": 3},
         ("the last 3 shrinks of fenrir changed its memory by next to nothing: it is the server's "
          "own, taken at its start, or another program's; if that is by design, write "
          "`gpu: {memory: off}` (or kv) for it in hosts.yaml")),
    ],
)  # fmt: skip
def test_what_only_a_person_can_mend_is_a_sentence(
    reason: str, evidence: dict[str, Any], said: str
) -> None:
    assert told(reason, **evidence) == [said]


@pytest.mark.parametrize("reason", ["satisfied", "low_utilization", "pinned", "memory_high"])
def test_of_what_goes_well_nothing_is_said(reason: str) -> None:
    assert told(reason, futile_shrinks=1, gpu_age=4.0) == []


def test_of_one_that_is_not_at_work_the_last_decisions_say_nothing() -> None:
    silent = told("gpu_stale", state="silent")
    assert silent == [f"the autoscaler n/1 is silent since {at(0)}: limits stay where they are"]
    assert told("gpu_stale", state="left") == []
    assert list(sentences(None, [])) == []

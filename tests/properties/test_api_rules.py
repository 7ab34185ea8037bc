"""Whatever people ask of the API, in whatever order, the rules of the dispatcher hold.

The real application, dispatcher and operations on virtual time; the store is the one in memory,
hosts fail and come back, dispatchers die and begin anew. The journal's checker proves order, bound,
one owner, no loss and legal lives from the rows alone; the rest is looked at from outside, by what
the API itself answers: no slot idles that could work, times never run backwards, pins and pauses
hold, limits are what the one autoscaler with the lease set them to, the same key is the same task,
and in the end everything that was accepted ends.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeVar
from unittest import mock

import looptime
import pytest
from aiohttp import web
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.test_utils import make_mocked_request
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from prometheus_client import CollectorRegistry

from tests.worlds import LoopClock, World, fleet, world
from ygg.faults import Cause, Failure
from ygg.metrics import BoardCollector
from ygg.stores.memory import MemoryStore
from ygg.tasks import Held, Status
from ygg.web.api import make_app
from ygg.web.auth import parse_tokens
from ygg.wire import rfc3339

pytestmark = pytest.mark.pure
T = TypeVar("T")

TOKEN = "ygg_" + "t" * 40
#: Two servers share a card; one type has one host, one all.
SETTINGS = fleet(
    {"a": 2, "b": 1, "c": 1},
    {"code-generation": ["a", "b"], "text-processing": ["c", "b"], "reasoning": ["b"],
     "general": ["a", "b", "c"]},
    shares={"c": "b"},
)  # fmt: skip
ROUTES = {name: [option.host for option in route] for name, route in SETTINGS.routes.items()}
HOSTS = sorted(SETTINGS.hosts)
FAULTS: Mapping[str, Callable[[], Failure]] = {
    "bad request": lambda: Failure(Cause.BAD_REQUEST, "no such option", taken=True),
    "cut off": lambda: Failure(Cause.CUT_OFF, "it died", taken=True),
    "busy": lambda: Failure(Cause.BUSY, "try later", taken=False, retry_after=3.0),
    "refused": lambda: Failure(Cause.REFUSED, "nobody there", taken=False),
}

hosts = st.sampled_from(HOSTS)
which = st.integers(0, 30)
seldom = st.sampled_from([False, False, False, True])
#: Of each host that has slots of its own, where they start.
OWNERS = {n: h.slots for n, h in SETTINGS.hosts.items() if h.shares is None}
#: By how much the limit that an autoscaler expects is off, the one that it wants, and a dry run.
wishes = st.tuples(st.sampled_from([0, 0, 0, 1, -1]), st.integers(0, 9), seldom)
#: Seconds from now.
ends = st.none() | st.sampled_from([1.0, 20.0, 300.0])


@st.composite
def tasks(draw: st.DrawFn) -> dict[str, object]:
    task: dict[str, object] = {
        "title": "t",
        "type": draw(st.sampled_from(sorted(ROUTES))),
        "priority": draw(st.integers(0, 4)),
    }
    if draw(seldom):
        task["key"] = draw(st.sampled_from(["k1", "k2", "k3"]))
    if draw(seldom):
        task["not_before"] = draw(st.sampled_from([5.0, 100.0]))  # from now; made a time below
    return task


class GridClock(LoopClock):
    """Tells time in steps of 1/1024 s, rounded up: sums of such times are exact.

    The virtual loop's own clock goes by whole microseconds. Who waits for a time that lies a hair
    beyond one waits for ever, since no time passes while it asks again.
    """

    def wall(self) -> float:
        return self.offset + self.monotonic()

    def monotonic(self) -> float:
        return math.ceil(self._loop.time() * 1024) / 1024


class Api:
    """The application of one dispatcher, asked without sockets: they know no virtual time."""

    def __init__(self, w: World) -> None:
        registry = CollectorRegistry()
        collector = BoardCollector(
            board=w.dispatcher.board, fleet=lambda: w.dispatcher.fleet,
            host_rows=lambda: w.dispatcher.host_rows, memory=dict, wall=w.clock.wall,
        )  # fmt: skip
        self._app = make_app(
            w.dispatcher, registry=registry, collector=collector, wall=w.clock.wall,
            monotonic=w.clock.monotonic, random_bits=random.Random(w.store.tables._position).getrandbits,
            tokens=parse_tokens(TOKEN, "here"),
        )  # fmt: skip
        self._app.freeze()

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        headers = {"Host": "localhost", "Authorization": f"Bearer {TOKEN}"}
        payload: StreamReader = EMPTY_PAYLOAD
        if body is not None:
            payload = StreamReader(mock.Mock(), 2**16, loop=asyncio.get_running_loop())
            payload.feed_data(json.dumps(body).encode())
            payload.feed_eof()
            headers["Content-Type"] = "application/json"
        request = make_mocked_request(method, path, headers, app=self._app, payload=payload)
        response = await self._app._handle(request)
        assert isinstance(response, web.Response)
        assert isinstance(response.body, bytes)
        return response.status, json.loads(response.body)


class ApiKeepsTheRules(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=lambda: looptime.new_event_loop(start=0))
        self.store = MemoryStore()
        self.starts = 0
        self.serving: asyncio.Task[None] | None = None
        #: Accepted tasks in order; of each key its task and body.
        self.ids: list[str] = []
        self.keys: dict[str, tuple[str, str]] = {}
        #: What was set by hand, with its end.
        self.pins: dict[str, tuple[int, float | None]] = {}
        self.pauses: dict[str, float | None] = {}
        #: Of each host with slots of its own, the limit under whatever pin stands.
        self.limits = {name: slots.start for name, slots in OWNERS.items()}
        #: Which autoscaler alone may resize, and until when.
        self.lease = "", 0.0

    # -- the dispatcher ------------------------------------------------------------------------

    def run(self, story: Awaitable[T]) -> T:
        async def told() -> T:
            return await story

        self.is_well = False
        result = self.runner.run(told())
        self.is_well = True
        return result

    @initialize(seconds=st.sampled_from([0.5, 5.0, 60.0]))
    def begin(self, seconds: float) -> None:
        self.seconds = seconds
        self.run(self._start())

    async def _start(self) -> None:
        self.starts += 1
        ready, self.leave = asyncio.Event(), asyncio.Event()

        async def serve() -> None:
            async with AsyncExitStack() as stack:
                with mock.patch("tests.worlds.LoopClock", GridClock):
                    self.w = await stack.enter_async_context(
                        world(SETTINGS, store=self.store, identity=f"d{self.starts}")
                    )
                for server in self.w.servers.values():
                    server.seconds = self.seconds
                self.api = Api(self.w)
                ready.set()
                await self.leave.wait()

        self.serving = asyncio.get_running_loop().create_task(serve())
        async with asyncio.timeout(60):
            await ready.wait()
        await asyncio.sleep(0.5)  # hosts are asked

    async def _end(self) -> None:
        assert self.serving is not None
        self.w.hurry.set()
        self.leave.set()
        await self.serving
        self.serving = None

    @rule()
    def restart(self) -> None:
        """What runs is cut and blocked by the drain; then a new dispatcher takes over."""
        self.run(self._end())
        self.run(self._start())
        self.lease = "", 0.0

    # -- what people ask -----------------------------------------------------------------------

    def ask(self, method: str, path: str, body: object = None, *, good: tuple[int, ...]) -> Any:
        async def asked() -> tuple[int, Any]:
            async with asyncio.timeout(600):
                return await self.api.ask(method, path, body)

        status, told = self.run(asked())
        assert status in good, (status, told)
        return told if status < 400 else None

    def task(self, index: int) -> str:
        """One that was accepted, the latest first; or none."""
        return self.ids[-1 - index % len(self.ids)] if self.ids else "0" * 18

    @rule(task=tasks())
    def submit(self, task: dict[str, object]) -> None:
        body = self.dated(task)
        told = self.ask("POST", "/v1/tasks", body, good=(200, 201, 409))
        if told is not None:
            self.accepted(body, told)
        else:
            assert self.keys[str(body["key"])][1] != self.shape(body)

    @rule(several=st.lists(tasks(), min_size=1, max_size=6))
    def submit_several(self, several: list[dict[str, object]]) -> None:
        bodies = [self.dated(task) for task in several]
        before = len(self.store.tables.tasks)
        told = self.ask("POST", "/v1/tasks", bodies, good=(200, 201, 409))
        if told is None:
            assert len(self.store.tables.tasks) == before  # all or none
            return
        for body, task in zip(bodies, told["tasks"], strict=True):
            self.accepted(body, task)

    def dated(self, task: dict[str, object]) -> dict[str, object]:
        wait = task.get("not_before")
        if not isinstance(wait, float):
            return dict(task)
        # Whole minutes, so that the same body can come twice.
        at = (self.w.clock.wall() + wait) // 60.0 * 60.0
        return {**task, "not_before": rfc3339(at)}

    def shape(self, body: dict[str, object]) -> str:
        return json.dumps({k: v for k, v in body.items() if k != "key"}, sort_keys=True)

    def accepted(self, body: dict[str, object], told: dict[str, Any]) -> None:
        key, task_id = body.get("key"), told["id"]
        if key is not None:
            known = self.keys.setdefault(str(key), (task_id, self.shape(body)))
            assert known == (task_id, self.shape(body)), "a key means two tasks"
        if task_id not in self.ids:
            self.ids.append(task_id)

    @rule(index=which)
    def cancel(self, index: int) -> None:
        self.ask("POST", f"/v1/tasks/{self.task(index)}/cancel", good=(200, 404, 409))

    @rule(index=which)
    def retry(self, index: int) -> None:
        self.ask("POST", f"/v1/tasks/{self.task(index)}/retry", good=(200, 404, 409))

    @rule(
        order=st.sampled_from([{"drained": True}, {"error": "no such"}, {"error": "ended badly"}])
    )
    def retry_many(self, order: dict[str, object]) -> None:
        self.ask("POST", "/v1/retry", order, good=(200,))

    @rule(
        index=which,
        change=st.fixed_dictionaries(
            {},
            optional={
                "priority": st.integers(0, 4),
                "run_next": st.booleans(),
                "held": st.booleans(),
            },
        ).filter(bool),
    )
    def change(self, index: int, change: dict[str, object]) -> None:
        self.ask("PATCH", f"/v1/tasks/{self.task(index)}", change, good=(200, 404, 409))

    def until(self, wait: float | None) -> float | None:
        """In eighths of a second: whole milliseconds, which is how it is read and shown."""
        return None if wait is None else math.ceil((self.w.clock.wall() + wait) * 8) / 8

    @rule(host=hosts, limit=st.integers(1, 9), wait=ends)
    def pin(self, host: str, limit: int, wait: float | None) -> None:
        until = self.until(wait)
        body = {"limit": limit, "until": until and rfc3339(until)}
        refused = 409 if host == "c" else 422 if limit > 8 else 200
        told = self.ask("PUT", f"/v1/hosts/{host}/pin", body, good=(refused,))
        if told is not None:
            assert (told["limit"], told["pin"]["limit"]) == (limit, limit)
            self.pins[host] = limit, until

    @rule(host=hosts)
    def unpin(self, host: str) -> None:
        told = self.ask("DELETE", f"/v1/hosts/{host}/pin", good=(409 if host == "c" else 200,))
        if told is not None:
            assert told["pin"] is None
            self.pins.pop(host, None)

    @rule(host=hosts, wait=ends)
    def pause(self, host: str, wait: float | None) -> None:
        until = self.until(wait)
        body = {"reason": "why not", "until": until and rfc3339(until)}
        self.ask("PUT", f"/v1/hosts/{host}/pause", body, good=(200,))
        self.pauses[host] = until

    @rule(host=hosts)
    def resume(self, host: str) -> None:
        self.ask("DELETE", f"/v1/hosts/{host}/pause", good=(200,))
        self.pauses.pop(host, None)

    # -- what autoscalers ask --------------------------------------------------------------------

    @rule(
        holder=st.sampled_from("pq"),
        wanted=st.dictionaries(st.sampled_from([*HOSTS, "nobody"]), wishes, max_size=4),
        interval=st.sampled_from([1.0, 15.0]),
        leaves=seldom,
    )
    def autoscale(
        self, holder: str, wanted: dict[str, tuple[int, int, bool]], interval: float, leaves: bool
    ) -> None:
        body: dict[str, dict[str, object]] = {}
        for host, (off, limit, dry_run) in wanted.items():
            expected = max(0, self.limit_now(host) + off)
            body[host] = {
                "expected": expected, "limit": limit, "dry_run": dry_run, "reason": "wait",
                "action": "grow" if limit > expected else "shrink", "evidence": {"wait": 61.5},
            }  # fmt: skip
        order = {"holder": holder, "hosts": body, "interval": interval, "leaves": leaves}
        now = self.w.clock.monotonic()
        leads = self.lease[0] in ("", holder) or now >= self.lease[1]
        told = self.ask("PUT", "/v1/autoscaler", order, good=(200 if leads else 409,))
        if told is None:
            return
        self.lease = holder, now if leaves else now + 3 * interval
        effects = {host: self.effect(host, asked) for host, asked in body.items()}
        assert {host: answer["effect"] for host, answer in told["hosts"].items()} == effects
        for host, effect in effects.items():
            if effect == "resized":
                self.limits[host] = wanted[host][1]
        for host, answer in told["hosts"].items():
            assert answer["limit"] == (None if host == "nobody" else self.limit_now(host))

    def limit_now(self, host: str) -> int:
        owner = "b" if host == "c" else host
        pin = self.pins.get(owner)
        return pin[0] if pin else self.limits.get(owner, 0)

    def effect(self, host: str, asked: Mapping[str, Any]) -> str:
        """By the page about HTTP, in its order."""
        if host not in HOSTS:
            return "unknown_host"
        if host not in OWNERS:
            return "shared"
        if asked["limit"] == self.limit_now(host):
            return "unchanged"
        if asked["dry_run"]:
            return "dry_run"
        if host in self.pins:
            return "pinned"
        if asked["expected"] != self.limit_now(host):
            return "stale"
        return "resized" if 1 <= asked["limit"] <= 8 else "out_of_bounds"

    # -- what happens --------------------------------------------------------------------------

    @rule(host=hosts, down=st.booleans())
    def host_goes_or_comes(self, host: str, down: bool) -> None:
        self.w.servers[host].down = down

    @rule(host=hosts, faults=st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=3))
    def requests_fail(self, host: str, faults: list[str]) -> None:
        self.w.servers[host].script += [FAULTS[name]() for name in faults]

    @rule(seconds=st.sampled_from([0.05, 1.0, 10.0, 100.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    # -- what must hold ------------------------------------------------------------------------

    @invariant()
    def all_that_was_accepted_is_there_once(self) -> None:
        stored = self.store.tables.tasks
        assert set(stored) == set(self.ids)
        born = [task.created_at for task in sorted(stored.values(), key=lambda t: t.sequence)]
        assert born == sorted(born), "created_at ran backwards"

    @invariant()
    def what_was_set_by_hand_holds_until_its_end_and_no_slot_idles(self) -> None:
        if self.serving is None:
            return
        over = self.w.clock.wall()
        self.run(asyncio.sleep(0.01))  # whatever is under way settles
        told = {host["name"]: host for host in self.ask("GET", "/v1/hosts", good=(200,))["hosts"]}
        self.forget_ended(told, over)
        for name, host in told.items():
            pin = self.pins.get(SETTINGS.hosts[name].semaphore)
            assert (host["pin"] and host["pin"]["limit"]) == (pin and pin[0])
            assert host["limit"] == self.limit_now(name)
            assert (host["pause"] is not None) == (name in self.pauses)
        free = {
            name
            for name, host in told.items()
            if host["up"] == "up"
            and host["pause"] is None
            and host["available_slots"]
            and not host["options"]
        }
        for task in self.store.tables.tasks.values():
            if task.status is Status.OPEN and task.held is None:
                assert not free & set(ROUTES[task.type]), f"{task.id} waits, {free} are free"

    def forget_ended(self, told: Mapping[str, Any], over: float) -> None:
        """What had to end has; what came to its end while we looked may have, or not."""
        now = self.w.clock.wall()
        for name, (_, until) in list(self.pins.items()):
            if until is not None and until <= (now if told[name]["pin"] is None else over):
                del self.pins[name]
        for name, until in list(self.pauses.items()):
            if until is not None and until <= (now if told[name]["pause"] is None else over):
                del self.pauses[name]

    def teardown(self) -> None:
        try:
            if self.serving is not None and self.is_well:
                self.run(self.everything_ends())
                self.run(self._end())  # the checker looks at the whole journal
        finally:
            self.runner.close()

    async def everything_ends(self) -> None:
        """With all well, and everything released and sent back, all that was accepted ends."""
        for server in self.w.servers.values():
            server.down, server.script, server.seconds = False, [], 1.0
        for host in HOSTS:
            assert (await self.api.ask("DELETE", f"/v1/hosts/{host}/pause"))[0] == 200
        for _ in range(200):
            for task in self.w.tasks:
                if task.held is Held.BY_HAND:
                    await self.api.ask("PATCH", f"/v1/tasks/{task.id}", {"held": False})
                if task.status is Status.BLOCKED:
                    await self.api.ask("POST", f"/v1/tasks/{task.id}/retry")
            if all(task.status is Status.CLOSED for task in self.w.tasks):
                return
            await asyncio.sleep(10.0)
        raise AssertionError(f"these never end: {[t for t in self.w.tasks if t.ended_at is None]}")


TestApiKeepsTheRules = ApiKeepsTheRules.TestCase

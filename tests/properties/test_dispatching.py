"""Board and `assign` against a model that is obviously right: a plain list of what waits.

The machine plays the world around them. Its store commits rows, which reach the board at once
or late, and reads pages, which come late, after other rows, or never; its dispatcher writes
claims at once, late, in vain, or gives them up. Model and store say the order in their own words.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from ygg.assignment import Start, assign
from ygg.board import Board, LaneState, Reason, configuration_detail
from ygg.fleet import Option
from ygg.health import Mode
from ygg.journal import Event, Kind, pack
from ygg.tasks import Fence, Held, Json, Lane, Rank, Waiting

pytestmark = pytest.mark.pure

#: Of them one has a handler of its own.
TYPES = ("code", "text", "ocr")
MODELS = ("", "m")
HOSTS = ("a", "b", "c")
OPTIONS = tuple(
    Option(host, model, own) for host in HOSTS for model in MODELS for own in ("", "ocr")
)
#: Mostly well: where nothing starts, nothing can go wrong.
MODES = (Mode.UP, Mode.UP, Mode.UP, Mode.TRIAL, Mode.TRIAL, Mode.DOWN, Mode.RESTING)
mostly = st.sampled_from((True, True, True, False))
seldom = st.sampled_from((False, False, False, True))

Place = tuple[int, int, float, int]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A task as a row of the store."""

    id: str
    lane: Lane
    priority: int
    created_at: float
    arrival: int
    run_next: bool = False
    held: bool = False
    #: open, ours (we run it), elsewhere (another dispatcher does), blocked or ended.
    status: str = "open"

    @property
    def place(self) -> Place:
        """What a person told to run next, then the urgent, then the old, then the first here."""
        return (0 if self.run_next else 1, self.priority, self.created_at, self.arrival)

    @property
    def is_ready(self) -> bool:
        return self.status == "open" and not self.held

    @property
    def waiting(self) -> Waiting:
        rank = Rank(not self.run_next, self.priority, self.created_at, self.arrival)
        return Waiting(self.id, self.lane, rank)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The settings of one reload."""

    #: Which host's card each host sits on.
    cards: Mapping[str, str]
    limits: Mapping[str, int]
    routes: Mapping[str, Sequence[Option]]


class Model:
    """What should start: found by looking at everything, each time anew."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        #: Where each task runs, or is about to.
        self.running: dict[str, Option] = {}
        self.fleet = Fleet(cards={}, limits={}, routes={})
        #: The card of each host; of one that left the fleet, the last it sat on.
        self.card: dict[str, str] = {}
        self.mode: dict[str, Mode] = {}
        self.paused: set[str] = set()
        self.option_mode: dict[Option, Mode] = {}
        self.stopped = False

    def waiting(self) -> list[Job]:
        ready = (job for job in self.jobs.values() if job.is_ready and job.id not in self.running)
        return sorted(ready, key=lambda job: job.place)

    def serving(self, lane: Lane) -> list[Option]:
        route = self.fleet.routes.get(lane.type, ())
        return [option for option in route if lane.model in ("", option.model)]

    def is_free(self, option: Option) -> bool:
        host, used = option.host, list(self.running.values())
        mode, option_mode = self.mode.get(host, Mode.DOWN), self.option_mode.get(option, Mode.UP)
        if host not in self.fleet.cards or host in self.paused or self.stopped:
            return False
        if {mode, option_mode} - {Mode.UP, Mode.TRIAL}:
            return False
        # A handler's work is no trial of its host's models, and needs none.
        asks_models = not option.handler
        if mode is Mode.TRIAL and asks_models and host in {o.host for o in used if not o.handler}:
            return False
        if option_mode is Mode.TRIAL and option in used:
            return False
        return self.in_use(self.card[host]) < self.fleet.limits[self.card[host]]

    def in_use(self, card: str) -> int:
        return sum(self.card[option.host] == card for option in self.running.values())

    def free(self, job: Job) -> list[Option]:
        return self.free_in(job.lane)

    def free_in(self, lane: Lane) -> list[Option]:
        return [option for option in self.serving(lane) if self.is_free(option)]

    def pick(self) -> tuple[Job, Option] | None:
        """The least task that may run somewhere now, and the first place on its route."""
        return next(((job, self.free(job)[0]) for job in self.waiting() if self.free(job)), None)

    # -- what changes ----------------------------------------------------------------------

    def end(self, task_id: str) -> None:
        self.running.pop(task_id, None)
        self.forget()

    def configure(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.card.update(fleet.cards)
        self.forget()

    def knows(self, host: str) -> bool:
        return host in self.fleet.cards or any(o.host == host for o in self.running.values())

    def forget(self) -> None:
        """A host that left the fleet and has run all it had comes back, if at all, as new."""
        for host in [h for h in self.card if not self.knows(h)]:
            del self.card[host]
            self.mode.pop(host, None)
            self.paused.discard(host)
            self.option_mode = {o: m for o, m in self.option_mode.items() if o.host != host}


@dataclass(kw_only=True)
class Read:
    """A page that was asked for."""

    lane: LaneState
    after: Rank
    limit: int
    page: list[Waiting] | None = None
    #: The last row committed when the store looked. It reaches the board before the page does.
    position: int = 0


@dataclass(frozen=True)
class Row:
    event: Event
    #: What it means to the model.
    change: Callable[[], None]


@dataclass(frozen=True)
class Pace:
    """What comes at once; all else waits for a rule of its own."""

    rows: bool = True
    claims: bool = True
    pages: bool = True


@dataclass
class World:
    """The store's side."""

    jobs: dict[str, Job] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    position: int = 0


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    hosts = draw(st.lists(st.sampled_from(HOSTS), min_size=1, unique=True))
    cards: dict[str, str] = {}
    for host in hosts:
        owners = [h for h, card in cards.items() if h == card]
        cards[host] = draw(st.sampled_from([host, *owners]))
    limits = {
        card: draw(st.sampled_from((1, 2, 1, 2, 4, 0))) for card in sorted(set(cards.values()))
    }
    routes = {
        type_: draw(
            st.lists(
                st.sampled_from([o for o in served_by(type_) if o.host in cards]),
                unique=True,
                min_size=1,
                max_size=4,
            )
        )
        for type_ in TYPES
    }
    return Fleet(cards=cards, limits=limits, routes=routes)


def served_by(type_: str) -> list[Option]:
    return [o for o in OPTIONS if o.handler == ("ocr" if type_ == "ocr" else "")]


#: A task to come: type, model, priority, created_at, held.
arrivals = st.tuples(
    st.sampled_from(TYPES),
    st.sampled_from(("", "", "m")),
    st.integers(0, 4),
    st.sampled_from((1.0, 2.0, 3.0)),
    seldom,
)
batches = st.lists(arrivals, min_size=1, max_size=9)
paces = st.just(Pace()) | st.builds(Pace, rows=mostly, claims=st.booleans(), pages=st.booleans())
#: Which of several, counted round; often the first.
which = st.just(0) | st.integers(0, 19)


class Dispatching(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.board, self.model, self.world = Board(), Model(), World()
        self.claims: list[str] = []
        self.reads: list[Read] = []
        self.pace = Pace()
        self.largest_page: Counter[Lane] = Counter()
        self.came_while_reading: Counter[Lane] = Counter()

    @initialize(
        stored=st.lists(arrivals, min_size=1, max_size=30),
        fleet=fleets(),
        up=mostly,
        pace=paces,
    )
    def open(
        self,
        stored: list[tuple[str, str, int, float, bool]],
        fleet: Fleet,
        up: bool,
        pace: Pace,
    ) -> None:
        """A store with tasks in it: the board is told how many, not which."""
        self.pace = pace
        for arrival in stored:
            job = self.new_job(*arrival)
            self.world.jobs[job.id] = self.model.jobs[job.id] = job
        self.board.backlog.restore(self.counts())
        self.configure(fleet, up)
        self.rows_come(len(self.world.rows))

    # -- the store -------------------------------------------------------------------------

    def new_job(self, type: str, model: str, priority: int, created_at: float, held: bool) -> Job:
        arrival = len(self.world.jobs)
        return Job(
            id=f"t{arrival * 7919 % 100_003:06}",  # never in the order of arrival
            lane=Lane(type, model),
            priority=priority,
            created_at=created_at,
            arrival=arrival,
            held=held,
        )

    def commit(
        self,
        kind: Kind,
        change: Callable[[], None],
        *,
        task: str = "",
        option: Option = Option("", ""),
        fence: Fence | None = None,
        waiting: Waiting | None = None,
        held: Held | None = None,
        detail: Mapping[str, Json] | None = None,
    ) -> None:
        self.world.position += 1
        event = Event(
            position=self.world.position,
            at=0.0,
            kind=kind,
            task=task,
            host=option.host,
            model=option.model,
            fence=fence,
            waiting=waiting,
            held=held,
            reason=kind.value,
            detail=json.loads(json.dumps(detail or {})),
        )
        self.world.rows.append(Row(event, change))

    def save(
        self,
        kind: Kind,
        job: Job,
        *,
        ends: bool = False,
        fence: Fence | None = None,
        before: Job | None = None,
    ) -> None:
        """Commit a job as it is now, and the row that says so."""
        self.world.jobs[job.id] = job

        def change() -> None:
            self.model.jobs[job.id] = job
            if ends:
                self.model.end(job.id)
            if job.is_ready and any(r.lane.queue.lane == job.lane for r in self.reads):
                self.came_while_reading[job.lane] += 1

        shown = before if kind is Kind.CANCELLED else job
        self.commit(
            kind,
            change,
            task=job.id,
            fence=fence,
            waiting=shown.waiting
            if shown and shown.status in ("open", "ours", "elsewhere")
            else None,
            held=Held.BY_HAND if shown and shown.held else None,
            detail={"before": pack(before.waiting)} if before else None,
        )

    def chosen(self, index: int, *statuses: str, held: bool | None = None) -> Job | None:
        """One of the jobs that are so; those that are being claimed first: there are the races."""
        jobs = [
            job
            for job in self.world.jobs.values()
            if job.status in statuses and held in (None, job.held)
        ]
        jobs.sort(key=lambda job: job.id not in self.claims)
        return jobs[index % len(jobs)] if jobs else None

    # -- what happens to tasks -------------------------------------------------------------

    @rule(batch=batches)
    def accept(self, batch: list[tuple[str, str, int, float, bool]]) -> None:
        for arrival in batch:
            self.save(Kind.ACCEPTED, self.new_job(*arrival))
        self.settle()

    @rule(batch=batches, count=st.integers(4, 12))
    def accept_many_of_one_lane(
        self, batch: list[tuple[str, str, int, float, bool]], count: int
    ) -> None:
        type_, model, _, _, _ = batch[0]
        for index in range(count):
            _, _, priority, created_at, held = batch[index % len(batch)]
            self.save(Kind.ACCEPTED, self.new_job(type_, model, priority, created_at, held))
        self.settle()

    @rule(
        index=which,
        count=st.integers(1, 4),
        kind=st.sampled_from(
            (Kind.CLOSED, Kind.CLOSED, Kind.BLOCKED, Kind.REOPENED, Kind.CANCELLED)
        ),
    )
    def attempts_end(self, index: int, count: int, kind: Kind) -> None:
        status = {Kind.REOPENED: "open", Kind.BLOCKED: "blocked"}.get(kind, "ended")
        for _ in range(count):
            if job := self.chosen(index, "ours"):
                self.save(kind, replace(job, status=status), ends=True, fence=Fence("we", 1))
        self.settle()

    @rule(rounds=st.integers(1, 6), index=which)
    def work_goes_on(self, rounds: int, index: int) -> None:
        for _ in range(rounds):
            self.attempts_end(index, 2, Kind.CLOSED)

    @rule(index=which)
    def retry(self, index: int) -> None:
        if job := self.chosen(index, "blocked"):
            self.save(Kind.REOPENED, replace(job, status="open"))
        self.settle()

    @rule(index=which, count=st.integers(1, 4))
    def cancel(self, index: int, count: int) -> None:
        for _ in range(count):
            if job := self.chosen(index, "open", "blocked"):
                self.save(Kind.CANCELLED, replace(job, status="ended", held=False), before=job)
        self.settle()

    @rule(
        index=which,
        count=st.integers(1, 6),
        priority=st.integers(0, 4),
        run_next=seldom,
    )
    def prioritise(self, index: int, count: int, priority: int, run_next: bool) -> None:
        for step in range(count):
            if job := self.chosen(index + step, "open"):
                moved = replace(job, priority=priority, run_next=run_next)
                self.save(Kind.PRIORITISED, moved, before=job)
        self.settle()

    @rule(index=which)
    def hold(self, index: int) -> None:
        if job := self.chosen(index, "open", held=False):
            self.save(Kind.HELD, replace(job, held=True))
        self.settle()

    @rule(index=which)
    def release(self, index: int) -> None:
        if job := self.chosen(index, "open", held=True):
            self.save(Kind.RELEASED, replace(job, held=False))
        self.settle()

    @rule(index=which)
    def another_dispatcher_starts(self, index: int) -> None:
        job = self.chosen(index, "open", held=False)
        if job and job.id not in self.claims:
            self.save(Kind.STARTED, replace(job, status="elsewhere"), fence=Fence("they", 1))
        self.settle()

    # -- what happens to the fleet ---------------------------------------------------------

    @rule(fleet=fleets(), up=mostly)
    def configure(self, fleet: Fleet, up: bool) -> None:
        detail = configuration_detail(fleet.cards, fleet.limits, fleet.routes)
        self.commit(Kind.CONFIGURED, lambda: self.model.configure(fleet), detail=detail)
        for host in fleet.cards if up else ():
            self.say_host(host, Mode.UP)
        self.settle()

    def say_host(self, host: str, mode: Mode) -> None:
        def change() -> None:
            if self.model.knows(host):
                self.model.mode[host] = mode

        self.commit(Kind.HOST, change, option=Option(host), detail={"mode": mode.value})

    def say_option(self, option: Option, mode: Mode) -> None:
        def change() -> None:
            if self.model.knows(option.host):
                self.model.option_mode[option] = mode

        detail: dict[str, Json] = {"mode": mode.value}
        if option.handler:
            detail["type"] = option.handler
        self.commit(Kind.OPTION, change, option=option, detail=detail)

    @rule(host=st.sampled_from(HOSTS), mode=st.sampled_from(MODES))
    def host_is(self, host: str, mode: Mode) -> None:
        self.say_host(host, mode)
        self.settle()

    @rule(option=st.sampled_from(OPTIONS), mode=st.sampled_from(MODES))
    def option_is(self, option: Option, mode: Mode) -> None:
        self.say_option(option, mode)
        self.settle()

    @rule(host=st.sampled_from(HOSTS), paused=seldom)
    def pause(self, host: str, paused: bool) -> None:
        def change() -> None:
            if paused and self.model.knows(host):
                self.model.paused.add(host)
            elif not paused:
                self.model.paused.discard(host)

        self.commit(Kind.PAUSED if paused else Kind.RESUMED, change, option=Option(host))
        self.settle()

    def say_limit(self, card: str, limit: int) -> None:
        def change() -> None:
            if card in self.model.fleet.limits:
                self.model.fleet = replace(
                    self.model.fleet, limits={**self.model.fleet.limits, card: limit}
                )

        self.commit(Kind.RESIZED, change, option=Option(card), detail={"limit": limit})

    @rule(card=st.sampled_from(HOSTS), limit=st.sampled_from((4, 2, 1, 2, 1, 0)))
    def resize(self, card: str, limit: int) -> None:
        self.say_limit(card, limit)
        self.settle()

    @rule(card=st.sampled_from(HOSTS))
    def resize_down_and_up_under_load(self, card: str) -> None:
        for limit in (4, 2, 4):
            self.say_limit(card, limit)
            self.settle()

    @rule(stopped=seldom)
    def stop(self, stopped: bool) -> None:
        self.model.stopped = stopped
        self.board.stopped = Reason.STORE if stopped else None
        if not stopped:
            self.board.look_at_all()
        self.settle()

    # -- what comes late -------------------------------------------------------------------

    @rule(pace=paces)
    def change_pace(self, pace: Pace) -> None:
        self.pace = pace
        self.settle()

    @precondition(lambda self: self.world.rows)
    @rule(count=st.integers(1, 15))
    def rows_come(self, count: int) -> None:
        for _ in range(min(count, len(self.world.rows))):
            self.deliver()
        self.settle()

    def deliver(self) -> None:
        row = self.world.rows.pop(0)
        self.board.apply(row.event)
        row.change()
        self.shrink_pages()

    def shrink_pages(self) -> None:
        """As few as the rules allow, so that a handful of tasks lie beyond memory."""
        for lane in self.board.lanes.values():
            lane.queue.page = max(2, 2 * lane.capacity)
            name = lane.queue.lane
            self.largest_page[name] = max(self.largest_page[name], lane.queue.page)

    @precondition(lambda self: self.claims)
    @rule(index=which)
    def claim_is_written(self, index: int) -> None:
        self.write_claim(self.claims[index % len(self.claims)])
        self.settle()

    def write_claim(self, task_id: str) -> None:
        self.claims.remove(task_id)
        job = self.world.jobs[task_id]
        if job.is_ready:
            self.save(Kind.STARTED, replace(job, status="ours"), fence=Fence("we", 1))
        else:
            self.commit(Kind.MISSED, lambda: self.model.end(task_id), task=task_id)

    @precondition(lambda self: self.claims)
    @rule(index=which)
    def claim_is_given_up(self, index: int) -> None:
        task_id = self.claims[index % len(self.claims)]
        if self.world.jobs[task_id].status != "elsewhere":
            self.claims.remove(task_id)
            self.board.untake(task_id)
            self.model.end(task_id)
        self.settle()

    @precondition(lambda self: any(read.page is None for read in self.reads))
    @rule(index=which)
    def store_looks(self, index: int) -> None:
        unread = [read for read in self.reads if read.page is None]
        self.look(unread[index % len(unread)])
        self.settle()

    def look(self, read: Read) -> None:
        lane = read.lane.queue.lane
        found = sorted(
            (j for j in self.world.jobs.values() if j.lane == lane and j.is_ready),
            key=lambda job: job.place,
        )
        beyond = [job.waiting for job in found if job.place > tuple(read.after)]
        read.page, read.position = beyond[: read.limit], self.world.position

    @precondition(lambda self: self.reads)
    @rule(index=which)
    def page_comes(self, index: int) -> None:
        self.hand_over(self.reads[index % len(self.reads)])
        self.settle()

    def hand_over(self, read: Read) -> None:
        if read.page is None:
            self.look(read)
        assert read.page is not None
        while self.world.rows and self.world.rows[0].event.position <= read.position:
            self.deliver()
        self.reads.remove(read)
        self.board.loaded(read.lane, read.page, complete=len(read.page) < read.limit)
        self.came_while_reading[read.lane.queue.lane] = 0

    @precondition(lambda self: self.reads)
    @rule(index=which, recovers=mostly)
    def page_fails(self, index: int, recovers: bool) -> None:
        self.reads.pop(index % len(self.reads)).lane.queue.reading_failed()
        self.stop(True)
        if recovers:
            self.stop(False)  # the store is well again, and all lanes are looked at

    # -- what must hold --------------------------------------------------------------------

    def settle(self) -> None:
        """What the dispatcher does after every event; then everything is looked at."""
        while True:
            while self.pace.rows and self.world.rows:
                self.deliver()
            self.decide()
            claims, reads = list(self.claims), list(self.reads)
            if self.pace.claims and claims:
                for task_id in claims:
                    self.write_claim(task_id)
            elif self.pace.pages and reads:
                for read in reads:
                    self.hand_over(read)
            else:
                break
        self.look_at_everything()

    def decide(self) -> None:
        starts = assign(self.board)
        for lane in self.board.short_lanes():
            after = lane.queue.reading()
            self.reads.append(Read(lane=lane, after=after, limit=lane.queue.page))
        for start in starts:
            self.check_start(start)
            self.model.running[start.waiting.id] = start.option
            self.claims.append(start.waiting.id)
        self.check_that_no_slot_idles()

    def check_start(self, start: Start) -> None:
        """It is what the model picks, even while some of what waits was not read yet."""
        job, option = self.model.jobs[start.waiting.id], start.option
        assert job.is_ready, f"{job} starts and is not ready"
        assert job.id not in self.model.running, f"{job} starts twice at once"
        picked = self.model.pick()
        assert picked == (job, option), f"{job} starts on {option}, but the least is {picked}"
        assert start.waiting == job.waiting
        assert start.seen == self.board.seen

    def check_that_no_slot_idles(self) -> None:
        """Only a page may be waited for, and only if it may hold something lesser."""
        picked = self.model.pick()
        if picked is None:
            return
        assert any(
            tuple(read.after) < picked[0].place
            and any(map(self.model.is_free, self.model.serving(read.lane.queue.lane)))
            for read in self.reads
        ), f"{picked} could start, and no page that is being read is in its way"

    def counts(self) -> Counter[tuple[Lane, int]]:
        return Counter((job.lane, job.priority) for job in self.model.waiting())

    def look_at_everything(self) -> None:
        board, model = self.board, self.model
        assert board.backlog.waiting == self.counts()
        assert {i: taken[0].option for i, taken in board.taken.items()} == model.running
        for card, limit in model.fleet.limits.items():
            assert board.semaphores[card].slots.limit == limit
            assert board.semaphores[card].slots.active == model.in_use(card)
        for lane, option in self.places():
            may_run = board.may_run(lane, None, option) is None
            assert may_run == (option in model.serving(lane) and model.is_free(option))
        for lane, queue in board.backlog.lanes.items():
            bound = 2 * self.largest_page[lane] + self.came_while_reading[lane]
            assert len(queue) <= bound, f"{lane} holds {len(queue)} in memory, {bound} at most"

    def places(self) -> Iterator[tuple[Lane, Option]]:
        for lane in self.board.lanes:
            for option in OPTIONS:
                yield lane, option

    @rule()
    def all_is_well_and_work_runs_dry(self) -> None:
        """Nothing vanished: with every host up, every task ends."""
        self.pace = Pace()
        self.stop(False)
        cards = {host: host for host in HOSTS}
        limits = dict.fromkeys(HOSTS, 1)
        self.configure(
            Fleet(cards=cards, limits=limits, routes={t: served_by(t) for t in TYPES}), True
        )
        for option in OPTIONS:
            self.say_option(option, Mode.UP)
        for host in HOSTS:
            self.pause(host, paused=False)
        for job in list(self.world.jobs.values()):
            if job.status == "blocked":
                self.save(Kind.REOPENED, replace(job, status="open"))
            elif job.status == "elsewhere":
                self.save(Kind.CLOSED, replace(job, status="ended"), fence=Fence("they", 1))
            elif job.status == "open" and job.held:
                self.save(Kind.RELEASED, replace(job, held=False))
        self.settle()
        while running := [job for job in self.world.jobs.values() if job.status == "ours"]:
            for job in running:
                self.save(
                    Kind.CLOSED, replace(job, status="ended"), ends=True, fence=Fence("we", 1)
                )
            self.settle()
        assert {job.status for job in self.world.jobs.values()} <= {"ended"}
        assert not self.board.taken
        assert not any(len(queue) for queue in self.board.backlog.lanes.values())


TestDispatching = Dispatching.TestCase

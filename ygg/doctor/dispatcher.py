"""Looks for a dispatcher that runs, and what it says of itself."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from ygg.addresses import is_loopback
from ygg.client import Client, Limits, Problem, Unreachable, WrongSettings
from ygg.client.address import parse_url, url_of
from ygg.doctor.findings import Finding, State, ok, warning, wrong
from ygg.fleetjson import NotAFleet, read_config
from ygg.printing import counted
from ygg.shapes import DispatcherStatus
from ygg.version import VERSION

#: Of what it says needs a person, so many sentences.
_SENTENCES_MAX: Final = 5
#: For an answer. Less than what one look may take, so that whoever is silent is told of as such.
_CALL_SECONDS: Final = 6.0
#: By so much of an error its tasks are found.
_ERROR_CHARACTERS: Final = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came of asking."""

    url: str
    #: None: no dispatcher told.
    status: DispatcherStatus | None = None
    #: Somebody answered, and not as a dispatcher does.
    problem: Finding | None = None
    #: Where it says that it listens; None: it did not say.
    listens: tuple[str, ...] | None = None

    @property
    def pid(self) -> int | None:
        return None if self.status is None else self.status.pid

    def has_door(self, listen: str, holder: str | None) -> bool:
        """Whether a door of this machine is its; `holder`: the process that holds the store."""
        if self.status is None:
            return False
        if url_of([listen]) == self.url:
            return True
        is_here = str(self.status.pid) == holder or _is_here(self.url)
        return is_here and listen in (self.listens or ())

    def doubt(self, holder: str | None) -> Finding | None:
        """Why a door that is taken, and not its for all we know, may yet be a dispatcher's.

        None: it is another program's.
        """
        if self.problem is not None:
            if holder is None and self.problem.state is State.WRONG:
                return None
            what = f"whether by the dispatcher that was asked is not known: {self.problem.what}"
            return warning(what, self.problem.remedy)
        if holder is not None and holder != str(self.pid):
            asked = "no dispatcher answers" if self.pid is None else f"process {self.pid} answers"
            return warning(
                f"whether by process {holder}, which has the store open, is not known: {asked} at "
                f"{self.url}",
                f"say with --url where process {holder} listens",
            )
        if self.status is not None and self.listens is None:
            what = f"whether by the dispatcher at {self.url} is not known: it did not say"
            return warning(what, "look again in a moment; its log says more")
        return None


def _is_here(url: str) -> bool:
    """Whether what answers at the URL surely runs on this machine."""
    address = parse_url(url)
    return address.socket is not None or address.host == "localhost" or is_loopback(address.host)


async def ask(url: str) -> Answer:
    """Never raises what a person can mend."""
    try:
        async with Client(url, limits=Limits(call_seconds=_CALL_SECONDS)) as client:
            return Answer(url=url, status=await client.status(), listens=await _listens(client))
    except Unreachable:
        return Answer(url=url)
    except WrongSettings as error:
        return Answer(url=url, problem=wrong(str(error), "correct --url, YGG_URL or YGG_TOKEN"))
    except Problem as problem:
        return Answer(url=url, problem=_refusal(url, problem))


async def _listens(client: Client) -> tuple[str, ...] | None:
    """What it adds to its status is not worth losing that for."""
    try:
        config = await client.ask("GET", "/v1/config")
        return read_config(config).fleet.dispatcher.listen
    except (Unreachable, Problem, NotAFleet):
        return None


def _refusal(url: str, problem: Problem) -> Finding:
    """A dispatcher that says no is one that runs."""
    if not problem.is_of_a_dispatcher:
        return wrong(
            f"what answers at {url} is no dispatcher (HTTP {problem.status}: {problem})",
            "correct --url, YGG_URL or `dispatcher: listen:`",
        )
    if problem.status == HTTPStatus.UNAUTHORIZED:
        return warning(
            f"the dispatcher at {url} wants a token, and was shown none that it knows",
            "export YGG_TOKEN=TOKEN, or YGG_TOKEN_FILE=PATH of a file with the token in it",
        )
    return warning(
        f"the dispatcher at {url} runs, and did not say how it is: {problem}",
        "look again in a moment; its log says more",
    )


def judge(answer: Answer) -> Iterator[Finding]:
    """Pure."""
    status = answer.status
    if answer.problem is not None:
        yield answer.problem
        return
    if status is None:
        yield ok(f"none runs at {answer.url}; `ygg loop --async` starts one")
        return
    yield ok(f"ygg {status.version} runs at {answer.url} (process {status.pid})")
    if status.version != VERSION:
        yield warning(
            f"it is ygg {status.version}, and this is {VERSION}",
            "restart it to use the one that is installed: systemctl restart ygg",
        )
    if status.draining:
        yield warning("it is ending, and takes no tasks", "ygg loop --async, once it has ended")
    if status.store_trouble is not None:
        yield wrong(f"its store is in trouble: {status.store_trouble}", "see `store` above")
    cures = {
        f"{counted(row.count, 'task')} blocked: {row.error}": _cure(row.error)
        for row in status.blocked
        if row.error
    }
    for sentence in status.needs_person[:_SENTENCES_MAX]:
        yield warning(sentence, cures.get(sentence, "ygg status"))
    if len(status.needs_person) > _SENTENCES_MAX:
        more = len(status.needs_person) - _SENTENCES_MAX
        yield warning(f"{more} more things need a person", "ygg status")


def _cure(error: str) -> str:
    """Of tasks that are blocked with this error."""
    said = error.strip()
    if not said:
        return "ygg list --status blocked"
    told = shlex.quote(said.splitlines()[0][:_ERROR_CHARACTERS].rstrip())
    return (f"`ygg list --error {told}` shows them; mend what it says, then "
            f"`ygg retry --error {told}`")  # fmt: skip

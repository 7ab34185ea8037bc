"""Everything out of one Prometheus server, for people who scrape it all there already.

One query a look: what it answers is put together again as the pages that it came from, so that
they are read like any others. A page is handed on when Prometheus has scraped it anew; its age is
told by the samples, so a target that died there grows old here too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from autoscaler.dispatcher import Dispatcher
from autoscaler.readings import ENGINE_NAMES, QUEUE_NAMES
from autoscaler.sightings import Kind, Sighting, Source, Taker
from autoscaler.sources import follow_dispatcher
from ygg.exporters import DIALECTS
from ygg.faults import Failure
from ygg.hosts.blame import apart
from ygg.hosts.http import BODY_BYTES_MAX, Client, open_session

_PORTS: Final = {"http": 80, "https": 443}
#: Labels that Prometheus adds, and what it puts before a target's own of the same name.
_ITS_OWN: Final = ("__name__", "instance", "job")
_EXPORTED: Final = "exported_"
_DISPATCHER: Final = Source(kind=Kind.DISPATCHER, url="")
#: What a name tells of; all others are exporters'.
_KINDS: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(QUEUE_NAMES, Kind.DISPATCHER),
    **dict.fromkeys(ENGINE_NAMES, Kind.ENGINE),
}


class NoAnswer(Exception):
    """Prometheus did not answer as it should; the message says why."""


@dataclass(frozen=True, slots=True)
class Page:
    """What one target showed when it was last scraped."""

    instance: str
    text: str
    #: By Prometheus's clock.
    at: float
    #: What it tells of.
    kinds: frozenset[Kind]


class _Series(msgspec.Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]]


class _Data(msgspec.Struct):
    result: list[_Series]


class _Answer(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""


def query(seconds: float) -> str:
    """For every line that any reader wants, as it was scraped in the last so many seconds."""
    prefixes = sorted({f"{dialect.prefix}.+" for dialect in DIALECTS})
    names = "|".join([*sorted(QUEUE_NAMES), *sorted(ENGINE_NAMES), *prefixes])
    return f'{{__name__=~"{names}"}}[{max(1, round(seconds))}s]'


def read_pages(body: bytes) -> Sequence[Page]:
    """The pages of all targets. Raises NoAnswer."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.DecodeError as error:
        raise NoAnswer(f"what answers is no Prometheus ({error})") from error
    if answer.data is None or answer.status != "success":
        raise NoAnswer(f"Prometheus says: {answer.error or answer.status}")
    targets: dict[tuple[str, str], list[_Series]] = {}
    for series in answer.data.result:
        if series.values:
            # Where an instance is named by its host alone, several jobs have one of that name.
            target = series.metric.get("instance", ""), series.metric.get("job", "")
            targets.setdefault(target, []).append(series)
    return [_page(instance, series) for (instance, _), series in targets.items()]


def _page(instance: str, series: Sequence[_Series]) -> Page:
    at = max(one.values[-1][0] for one in series)
    # What the last scrape did not have any more is of a scrape before it.
    last = [one for one in series if one.values[-1][0] == at]
    kinds = frozenset(_KINDS.get(one.metric.get("__name__", ""), Kind.EXPORTER) for one in last)
    return Page(instance, "".join(_lines(last)), at, kinds)


def _lines(series: Iterable[_Series]) -> Iterator[str]:
    for one in series:
        name = one.metric.get("__name__", "")
        # What the target's own labels were where Prometheus has others of these names.
        own = {
            key.removeprefix(_EXPORTED): value
            for key, value in one.metric.items()
            if f"{_EXPORTED}{key}" not in one.metric and key not in _ITS_OWN
        }
        labels = ",".join(f"{key}={json.dumps(own[key], ensure_ascii=False)}" for key in own)
        yield f"{name}{{{labels}}} {one.values[-1][1]}\n"


def page_at(url: str, kind: Kind, pages: Iterable[Page]) -> Page | None:
    """The page of this kind at this address: HOST:PORT, or (where people name it so) HOST alone.

    Of several that are the same target, scraped by two jobs, the latest.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    named = f"[{host}]" if ":" in host else host
    port = parts.port or _PORTS.get(parts.scheme, 0)
    of_kind = [page for page in pages if kind in page.kinds]
    for name in (f"{named}:{port}", host):
        if found := [page for page in of_kind if page.instance == name]:
            return max(found, key=lambda page: page.at)
    return None


def dispatcher_of(url: str, pages: Sequence[Page]) -> Page:
    """The page that is the dispatcher's. Raises NoAnswer."""
    having = [page for page in pages if Kind.DISPATCHER in page.kinds]
    found = page_at(url, Kind.DISPATCHER, having)
    if found is not None:
        return found
    names = sorted({page.instance for page in having})
    if len(names) == 1:
        return max(having, key=lambda page: page.at)
    if not names:
        raise NoAnswer("Prometheus has no metrics of the dispatcher: scrape its /metrics")
    raise NoAnswer(
        f"Prometheus has {len(names)} dispatchers ({', '.join(names)}), and none is at "
        f"{url}: say which with --url"
    )


class PrometheusSources:
    """One server in place of all sources.

    Args:
        url: of Prometheus.
        sources: exporters and model servers.
        dispatcher: the address of the one that is meant, of those that Prometheus has; or the
            dispatcher itself, to be asked.
        scrape_seconds: between two looks.
        stale_seconds: older samples are not asked for.
    """

    def __init__(
        self,
        url: str,
        sources: Sequence[Source],
        *,
        dispatcher: str | Dispatcher,
        scrape_seconds: float,
        stale_seconds: float,
    ) -> None:
        self._url = url.rstrip("/")
        self._sources = sources
        self._dispatcher = dispatcher
        self._scrape_seconds = scrape_seconds
        self._stale_seconds = stale_seconds
        self._path = f"/api/v1/query?query={quote(query(stale_seconds))}"
        #: Of each source, when its last page was scraped.
        self._seen: dict[Source, float] = {}

    async def follow(self, take: Taker) -> None:
        async with asyncio.TaskGroup() as group:
            if not isinstance(self._dispatcher, str):
                group.create_task(
                    follow_dispatcher(self._dispatcher, take, self._scrape_seconds),
                    name="dispatcher",
                )
            group.create_task(self._follow(take), name="prometheus")

    async def _follow(self, take: Taker) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with open_session() as session:
            while True:
                try:
                    pages = read_pages(await self._fetch(Client(session, self._url)))
                except NoAnswer as error:
                    self._nothing(take, f"{self._url}: {error}")
                else:
                    self._hand_on(take, pages, loop.time())
                # What was missed is not made up for.
                due = max(due + self._scrape_seconds, loop.time())
                await asyncio.sleep(due - loop.time())

    async def _fetch(self, client: Client) -> bytes:
        """Raises NoAnswer."""
        try:
            body = await client.fetch(self._path)
        except Failure as failure:
            why = apart(failure)[0].removeprefix(f"{self._url}: ")
            raise NoAnswer(why.replace(self._path, "the query")) from failure
        if len(body) >= BODY_BYTES_MAX:
            raise NoAnswer(
                f"the answer has more than {BODY_BYTES_MAX >> 20} MiB: leave out `prometheus:`, so "
                "that each source is asked itself"
            )
        return body

    def _hand_on(self, take: Taker, pages: Sequence[Page], now: float) -> None:
        newest = max((page.at for page in pages), default=0.0)
        if isinstance(self._dispatcher, str):
            try:
                page = dispatcher_of(self._dispatcher, pages)
            except NoAnswer as error:
                take(Sighting(source=_DISPATCHER, at=now, trouble=str(error)))
            else:
                self._page(take, _DISPATCHER, page, now, newest)
        for source in self._sources:
            found = page_at(source.url, source.kind, pages)
            if found is None:
                # Not known to be absent: a server whose memory is full by design may be meant.
                why = f"{self._url} has nothing of {source.url}: scrape it there"
                take(Sighting(source=source, at=now, trouble=why))
            else:
                self._page(take, source, found, now, newest)

    def _page(self, take: Taker, source: Source, page: Page, now: float, newest: float) -> None:
        """Hand it on, if it was scraped anew: the same again makes nothing younger."""
        seen = self._seen.get(source, 0.0)
        if page.at > seen:
            self._seen[source] = page.at
            take(Sighting(source=source, at=now - (newest - page.at), text=page.text))
        elif page.at < seen - self._stale_seconds:
            # What is there now is from before; where two of them take turns it is so by less.
            why = (
                f"{self._url} has older samples than before: its clock was set back, and nothing "
                "of it counts as new before it has caught up"
            )
            take(Sighting(source=source, at=now, trouble=why))

    def _nothing(self, take: Taker, why: str) -> None:
        now = asyncio.get_running_loop().time()
        ours = (_DISPATCHER,) if isinstance(self._dispatcher, str) else ()
        for source in (*ours, *self._sources):
            take(Sighting(source=source, at=now, trouble=why))

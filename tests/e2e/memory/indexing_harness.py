"""Memory's indexing over real stores, one round at a time, and what its documents must be."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from tests.contract.milvus_server import MilvusServer

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import entry_pb2, slice_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit import postgres
from liftos_kit.core.errors import StoreUnavailableError
from liftos_mapping.entry_fields import ADDITIVE_METRICS, ENTRY_FIELDS, LEVELS, FieldKind
from liftos_memory.adapters.hashing_embedder import HashingEmbedder
from liftos_memory.adapters.milvus import MilvusDocumentIndex
from liftos_memory.adapters.postgres.database import SCHEMA, Database
from liftos_memory.adapters.postgres.documents import PostgresDocumentStore
from liftos_memory.adapters.postgres.insights import documents_of_insights
from liftos_memory.adapters.postgres.objects import PostgresObjectStore
from liftos_memory.adapters.postgres.org import PostgresOrgStore
from liftos_memory.adapters.postgres.record_documents import documents_of_records
from liftos_memory.document_ports import DocumentStore, RecordDocuments
from liftos_memory.domain.documents import (
    Document,
    DocumentKind,
    ObjectKey,
    ObjectNames,
    ObjectProfileFacts,
    WeeklyFacts,
    profile_document,
    weekly_document,
)
from liftos_memory.object_ports import ObjectStore
from liftos_memory.search_ports import DocumentIndex, Embedder, Vectors
from liftos_memory.settings import MemorySettings
from liftos_memory.usecases.calendar import OrgCalendars
from liftos_memory.usecases.indexing import Indexing

WEEK: Final = timedelta(days=7)
USUAL_BASIS: Final = entry_pb2.DATE_BASIS_INTERACTION
"""What dates of campaigns and accounts on Meta and Google stand for unless told otherwise."""
_KEY: Final = tuple(ObjectKey.__dataclass_fields__)
_NAMES: Final = tuple(ObjectNames.__dataclass_fields__)
_MONEY: Final = {each.name for each in ENTRY_FIELDS if each.kind is FieldKind.MONEY}
_SIZE: Final = ("spend_micros", "revenue_micros", "delivered", "impressions", "value_micros")


def today() -> date:
    """The present date in UTC, as the worker takes it."""
    return datetime.now(UTC).date()


def monday(weeks_ago: int) -> date:
    """The Monday of a week before the present one."""
    day = today()
    return day - timedelta(days=day.weekday()) - weeks_ago * WEEK


class CountingEmbedder(HashingEmbedder):
    """A hashing embedder that keeps the texts of documents that it was given."""

    def __init__(self, *, dimension: int = 384) -> None:
        super().__init__(dimension=dimension)
        self.texts: list[str] = []

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one vector per text."""
        self.texts += texts
        return await super().embed_documents(texts)


@asynccontextmanager
async def running_milvus(data_dir: Path) -> AsyncIterator[MilvusServer]:
    """A Milvus of a test's own."""
    server = MilvusServer(data_dir)
    await server.start()
    try:
        yield server
    finally:
        server.kill()


class InterruptionError(Exception):
    """Stands for the end of a worker in the midst of a round."""


class Failing:
    """Passes every call on, and fails once before or after one of them.

    Args:
        behind: The store or index.
        method: Which call.
        when: `before` or `after` it.
    """

    def __init__(self, behind: object, method: str, when: str) -> None:
        self._behind = behind
        self._method = method
        self._when = when
        self.has_failed = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._behind, name)
        if name != self._method or self.has_failed:
            return found

        async def fail_once(*arguments: object, **options: object) -> object:
            self.has_failed = True
            if self._when == "before":
                raise InterruptionError
            await found(*arguments, **options)
            raise InterruptionError

        return fail_once


@dataclass
class Pieces:
    """The parts of a worker over one database and one index.

    Attributes:
        store: Documents in Postgres.
        index: Documents in Milvus.
        embedder: What embeds them.
        records: What writes the documents of records.
        objects: Objects in Postgres.
        rounds: Documents written and deleted by each round.
    """

    store: DocumentStore
    index: DocumentIndex
    embedder: CountingEmbedder
    calendars: OrgCalendars
    records: Mapping[DocumentKind, RecordDocuments]
    objects: ObjectStore
    rounds: list[tuple[int, int]] = field(default_factory=list)

    def indexing(
        self,
        *,
        store: Any = None,
        index: Any = None,
        embedder: Embedder | None = None,
        today: Callable[[], date] = today,
    ) -> Indexing:
        """Put a worker together, with some of its parts replaced."""
        return Indexing(
            store or self.store,
            index or self.index,
            embedder or self.embedder,
            self.calendars,
            self.records,
            today=today,
            on_round=lambda written, deleted: self.rounds.append((written, deleted)),
            continue_trace=lambda _: nullcontext(),
        )

    async def catch_up(self, **parts: Any) -> None:
        """Do rounds until nothing waits."""
        indexing = self.indexing(**parts)
        while await indexing.follow_all(asyncio.Event()):
            pass

    async def stored(self, org: str) -> dict[str, Document]:
        """All documents of an org in Postgres."""
        return {
            document.document_id: document
            async for page in self.store.all_documents(org)
            for document in page
        }

    async def check(self, org: str, client: Any, **expected_with: Any) -> dict[str, Document]:
        """Hold documents and index against what the entries say; return the documents."""
        stored = await self.stored(org)
        assert stored == await expected_documents(client, org, **expected_with)
        indexed = await self.index.fetch(org, stored.keys())
        assert await self.index.list_ids(org) == {
            document.document_id: document.content_hash for document in stored.values()
        }
        for document_id, document in stored.items():
            found = indexed[document_id]
            assert (found.title, found.text, found.quality_score) == (
                document.title,
                document.text,
                document.quality_score,
            )
            assert (found.start_date, found.end_date) == (document.start_date, document.end_date)
        return stored


@asynccontextmanager
async def running(indexing: Indexing) -> AsyncIterator[None]:
    """A worker that follows beside the test, and stops at its end."""
    stop = asyncio.Event()
    task = asyncio.create_task(indexing.run(stop, idle_seconds=0.02))
    try:
        yield
    finally:
        stop.set()
        await task


async def eventually(
    condition: Callable[[], Awaitable[bool]], *, within_seconds: float = 20.0
) -> None:
    """Wait until a condition holds; while a store is away it does not."""
    async with asyncio.timeout(within_seconds):
        while True:
            with suppress(StoreUnavailableError):
                if await condition():
                    return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def opened_pieces(
    settings: MemorySettings, *, embedder: CountingEmbedder | None = None
) -> AsyncIterator[Pieces]:
    """The parts of a worker, connected."""
    assert settings.postgres_url is not None
    pool = await postgres.create_pool(
        settings.postgres_url.get_secret_value(),
        application_name="indexing-test",
        minimum=1,
        maximum=4,
        schema=SCHEMA,
    )
    database = Database(pool)
    embedder = embedder or CountingEmbedder()
    async with opened_index(settings, embedder) as index:
        try:
            # Calendars are read anew each time, since tests do not wait for their age.
            moments = iter(range(0, 10**9, 10))
            yield Pieces(
                store=PostgresDocumentStore(database),
                index=index,
                embedder=embedder,
                calendars=OrgCalendars(
                    PostgresOrgStore(database), monotonic_seconds=lambda: float(next(moments))
                ),
                records={**documents_of_records(database), **documents_of_insights(database)},
                objects=PostgresObjectStore(database),
            )
        finally:
            await pool.close()


def opened_index(
    settings: MemorySettings, embedder: Embedder
) -> AbstractAsyncContextManager[MilvusDocumentIndex]:
    """The index for the vectors of an embedder; not created yet."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[MilvusDocumentIndex]:
        assert settings.milvus_url is not None
        index = MilvusDocumentIndex(
            settings.milvus_url.get_secret_value(),
            model_id=embedder.model_id,
            dimension=embedder.dimension,
        )
        try:
            yield index
        finally:
            await index.close()

    return opened()


def entry(day: date, campaign: str = "1", **fields: Any) -> entry_pb2.Entry:
    """A campaign's day on Meta, with 1 click where no metrics are given."""
    names = entry_pb2.Metrics.DESCRIPTOR.fields_by_name
    metrics = {name: fields.pop(name) for name in list(fields) if name in names} or {"clicks": 1}
    given: dict[str, Any] = {
        "platform": "meta",
        "level": "ENTRY_LEVEL_CAMPAIGN",
        "account_id": "act_1",
        "campaign_id": campaign,
        "date": day.isoformat(),
        "metrics": entry_pb2.Metrics(**metrics),
    }
    return entry_pb2.Entry(**(given | fields))


async def write(
    client: Any,
    org: str,
    entries: Sequence[entry_pb2.Entry],
    *,
    origin: str = "",
) -> str:
    """Write entries; return the write token."""
    token = ""
    for start in range(0, len(entries), 500):
        rows = entry_pb2.EntryBatch(entries=entries[start : start + 500])
        answer = await client.BatchUpsertEntries(
            pb.BatchUpsertEntriesRequest(parent=f"orgs/{org}", rows=rows, origin=origin)
        )
        assert not answer.item_errors, answer.item_errors
        token = answer.write_token
    return token


async def replace_slice(
    client: Any,
    org: str,
    days: tuple[date, date],
    entries: Sequence[entry_pb2.Entry],
    *,
    stream: str,
) -> None:
    """Replace the campaigns of an account over some days, in a stream of its own."""
    scope = slice_pb2.SliceScope(
        platform="meta",
        account_id="act_1",
        level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
        date_range=_range(*days),
    )
    first = pb.IngestEntriesRequest(
        parent=f"orgs/{org}",
        stream_id=stream,
        sequence=1,
        open_slice=pb.SliceOpening(scope=scope),
    )
    commit = pb.IngestEntriesRequest(sequence=3)
    commit.commit_slice.SetInParent()
    messages = [
        first,
        pb.IngestEntriesRequest(sequence=2, rows=entry_pb2.EntryBatch(entries=entries)),
        commit,
    ]
    if not entries:
        del messages[1]
        commit.sequence = 2
    async for answer in client.IngestEntries(iter(messages)):
        assert not answer.item_errors, answer.item_errors


async def purge(client: Any, org: str, origin: str, *, where: str = "") -> None:
    """Purge what an origin wrote."""
    await client.PurgeEntries(
        pb.PurgeEntriesRequest(
            parent=f"orgs/{org}",
            origin=origin,
            filter=where,
            force=True,
            request_id=str(uuid4()),
        )
    )


async def listed(client: Any, org: str) -> list[entry_pb2.Entry]:
    """All entries of an org."""
    entries: list[entry_pb2.Entry] = []
    token = ""
    while True:
        page = await client.ListEntries(
            pb.ListEntriesRequest(parent=f"orgs/{org}", page_size=1_000, page_token=token)
        )
        entries += page.entries
        token = page.next_page_token
        if not token:
            return entries


async def expected_documents(
    client: Any,
    org: str,
    *,
    now: date | None = None,
) -> dict[str, Document]:
    """Write the documents of an org from nothing but what ListEntries gives."""
    now = now or today()
    objects: dict[ObjectKey, list[entry_pb2.Entry]] = defaultdict(list)
    weeks: dict[tuple[ObjectKey, date], list[entry_pb2.Entry]] = defaultdict(list)
    for row in await listed(client, org):
        if row.breakdown_key:
            continue
        day = date.fromisoformat(row.date)
        objects[_key(row)].append(row)
        weeks[_key(row), day - timedelta(days=day.weekday())].append(row)
    labels = await _labels(client, org, {week for _, week in weeks})
    documents = [profile_document(_profile(key, _days(rows))) for key, rows in objects.items()]
    documents += [
        weekly_document(
            _weekly(key, week, rows, weeks[key, week - WEEK], labels=labels[week], now=now)
        )
        for (key, week), rows in list(weeks.items())
    ]
    return {document.document_id: document for document in documents}


def _days(rows: Sequence[entry_pb2.Entry]) -> dict[date, entry_pb2.Entry]:
    """Rows of the one date basis that counts, of several ways to credit a day the first by name."""
    basis = min((row.date_basis for row in rows), key=lambda each: (each != USUAL_BASIS, each))
    kept = (row for row in rows if row.date_basis == basis)
    ordered = sorted(kept, key=lambda row: row.attribution_key, reverse=True)
    return {date.fromisoformat(row.date): row for row in ordered}


def _key(row: entry_pb2.Entry) -> ObjectKey:
    values = {name: getattr(row, name) for name in _KEY if name != "level"}
    return ObjectKey(**values, level=LEVELS[row.level - 1])


def _profile(key: ObjectKey, days: Mapping[date, entry_pb2.Entry]) -> ObjectProfileFacts:
    months: dict[int, list[entry_pb2.Entry]] = defaultdict(list)
    for day, row in days.items():
        months[day.month].append(row)
    rows = list(days.values())
    return ObjectProfileFacts(
        key=key,
        names=_names(days),
        channel=_newest(days, "channel"),
        currency_code=_currency(rows),
        first_date=min(days),
        last_date=max(days),
        days_with_data=len(days),
        sums=_sums(rows),
        activity_by_month={month: _activity(found) for month, found in months.items()},
        quality_score=min(row.quality.score for row in rows),
    )


def _weekly(
    key: ObjectKey,
    week: date,
    own: Sequence[entry_pb2.Entry],
    prior: Sequence[entry_pb2.Entry],
    *,
    labels: tuple[str, ...],
    now: date,
) -> WeeklyFacts:
    inside = _days(own)
    rows = list(inside.values())
    before = list(_days(prior).values()) if prior else []
    if before and before[0].date_basis != rows[0].date_basis:
        before = []
    return WeeklyFacts(
        key=key,
        names=_names(inside),
        channel=_newest(inside, "channel"),
        currency_code=_currency(rows),
        week_start=week,
        sums=_sums(rows),
        prior_sums=_sums(before) if before else None,
        is_complete=week + WEEK <= now,
        calendar_labels=labels,
        quality_score=min(row.quality.score for row in rows),
    )


def _names(days: Mapping[date, entry_pb2.Entry]) -> ObjectNames:
    return ObjectNames(**{name: _newest(days, name) for name in _NAMES})


def _newest(days: Mapping[date, entry_pb2.Entry], name: str) -> str:
    given = [getattr(days[day], name) for day in sorted(days)]
    return next((value for value in reversed(given) if value), "")


def _currency(rows: Sequence[entry_pb2.Entry]) -> str:
    codes = {row.metrics.currency_code for row in rows} - {""}
    return codes.pop() if len(codes) == 1 else ""


def _sums(rows: Sequence[entry_pb2.Entry]) -> dict[str, int | None]:
    several_currencies = len({row.metrics.currency_code for row in rows} - {""}) > 1
    return {
        name: None if several_currencies and name in _MONEY else _sum(rows, name)
        for name in ADDITIVE_METRICS
    }


def _sum(rows: Sequence[entry_pb2.Entry], name: str) -> int | None:
    all_metrics: list[Any] = [row.metrics for row in rows]
    given = [getattr(metrics, name) for metrics in all_metrics if metrics.HasField(name)]
    return sum(given) if given else None


def _activity(rows: Sequence[entry_pb2.Entry]) -> int:
    return next((total for name in _SIZE if (total := _sum(rows, name)) is not None), 0)


async def _labels(
    client: Any,
    org: str,
    weeks: Collection[date],
) -> dict[date, tuple[str, ...]]:
    if not weeks:
        return {}
    answer = await client.ListCalendarDays(
        pb.ListCalendarDaysRequest(
            parent=f"orgs/{org}",
            date_range=_range(min(weeks), max(weeks) + WEEK),
            page_size=1_000,
        )
    )
    assert not answer.next_page_token
    labels: dict[date, dict[str, None]] = {week: {} for week in weeks}
    for each in answer.calendar_days:
        day = date.fromisoformat(each.date)
        names = labels.get(day - timedelta(days=day.weekday()), {})
        found = [*(holiday.name for holiday in each.holidays), *each.retail_events, *each.events]
        names.update(dict.fromkeys(found))
    return {week: tuple(names) for week, names in labels.items()}


def _range(start: date, end: date) -> marketing_pb2.DateRange:
    return marketing_pb2.DateRange(start_date=start.isoformat(), end_date=end.isoformat())

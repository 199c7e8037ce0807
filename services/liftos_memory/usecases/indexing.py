"""Following the commits: what changed becomes documents, documents become vectors.

New commits put the objects and weeks that they touched into the outbox. A round takes some of them,
writes their documents anew, embeds the texts that are new and puts them into the index. Only then
are they taken out of the outbox, so that a round that is cut short is done again; doing it twice
gives the same documents.

A round is short, and half of it goes to the smallest commits: what is written during a bulk load is
found long before the load is. The index still has not followed up to it until nothing older waits.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import date, timedelta
from typing import Final, TypeVar

import numpy as np
import structlog

from liftos_kit.core.clock import pause
from liftos_kit.core.errors import StoreUnavailableError
from liftos_memory.document_ports import DocumentStore, PendingOrg, RecordDocuments, Work
from liftos_memory.domain.calendar import CalendarDay
from liftos_memory.domain.documents import (
    Document,
    DocumentKind,
    document_id,
    profile_document,
    weekly_document,
)
from liftos_memory.domain.knowledge import DescribedObject, described
from liftos_memory.domain.record_documents import record_document_id
from liftos_memory.search_ports import (
    DocumentIndex,
    Embedder,
    IndexOfAnotherModelError,
    IndexRebuild,
    Vectors,
)
from liftos_memory.usecases.calendar import OrgCalendar, OrgCalendars

_WEEKS_PER_ROUND: Final = 256
"""Short rounds, since every other org and every new commit waits for the end of one."""
_ROUNDS_PER_COMPARISON: Final = 32
"""In a long load the objects of an org are compared so seldom that it is not slowed down."""
_RECORDS_PER_ROUND: Final = 128
"""Fewer, since a model reads long texts slowly."""
_DOCUMENTS_PER_WRITE: Final = 128
_UNSETTLED_DOCUMENTS: Final = 1_000
"""Searches scan what is not settled, so that a long load may not leave all of it to its end."""
_LONGEST_PAUSE_SECONDS: Final = 2.0
_COMMITS_PER_STEP: Final = 1_000
_CONFIRM_SECONDS: Final = 2.0
_WEEK: Final = timedelta(days=7)

T = TypeVar("T")

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.indexing")


class Indexing:
    """Keeps documents, vectors and index in step with the commits.

    Args:
        store: Documents and positions.
        index: What is searched.
        embedder: Turns texts into vectors.
        calendars: Name the holidays and events of a week.
        records: Write the documents of records, by kind.
        today: The present date in UTC; decides whether a week is over.
        on_round: Told of each round: documents written, and documents deleted.
        continue_trace: Goes on with the trace that a change came from.
    """

    def __init__(
        self,
        store: DocumentStore,
        index: DocumentIndex,
        embedder: Embedder,
        calendars: OrgCalendars,
        records: Mapping[DocumentKind, RecordDocuments],
        *,
        today: Callable[[], date],
        on_round: Callable[[int, int], None],
        continue_trace: Callable[[str | None], AbstractContextManager[object]],
    ) -> None:
        self._store = store
        self._index = index
        self._embedder = embedder
        self._calendars = calendars
        self._records = records
        self._today = today
        self._on_round = on_round
        self._continue_trace = continue_trace
        self._looked_for_ended_weeks: date | None = None
        self._unsettled_documents = 0
        self._rounds_since_compared: dict[str, int] = {}

    async def run_alone(self, stop: asyncio.Event) -> None:
        """Follow all orgs until told to stop, once no other worker does.

        The index has one writer. Who lost the database lost the place as well, and queues again.

        Raises:
            Exception: Whatever a round failed with, an outage excepted.
        """
        while not stop.is_set():
            try:
                async with self._store.lead() as lost:
                    leading = asyncio.create_task(self.run(stop))
                    lost_first = asyncio.create_task(lost.wait())
                    try:
                        await asyncio.wait(
                            {leading, lost_first}, return_when=asyncio.FIRST_COMPLETED
                        )
                    finally:
                        # Nobody leads without the lock, so this ends before it is given back.
                        lost_first.cancel()
                        leading.cancel()
                        end, _ = await asyncio.gather(leading, lost_first, return_exceptions=True)
                    if isinstance(end, Exception) and not lost.is_set():
                        raise end
            except StoreUnavailableError:
                _log.warning("worker_waits", store="postgres")
                await pause(stop, 1.0)

    async def run(self, stop: asyncio.Event, *, idle_seconds: float = 0.25) -> None:
        """Follow all orgs until told to stop; an outage of a store is waited for."""
        ready = False
        confirmed_seconds = 0.0
        while not stop.is_set():
            try:
                if not ready:
                    await self._make_ready()
                    ready = True
                await self._enqueue_ended_weeks()
                worked = await self.follow_all(stop)
                if not worked and time.monotonic() - confirmed_seconds > _CONFIRM_SECONDS:
                    # Nothing else would tell an idle worker that the index was lost.
                    await self._index.confirm()
                    confirmed_seconds = time.monotonic()
            except StoreUnavailableError as error:
                _log.warning("indexing_waits", store=error.metadata.get("store", ""))
                # Whatever came back may have come back empty.
                ready = False
                await pause(stop, 1.0)
            else:
                if not worked:
                    await pause(stop, idle_seconds)

    async def _enqueue_ended_weeks(self) -> None:
        """Once a day, have the digests of weeks that are over written anew."""
        today = self._today()
        if today != self._looked_for_ended_weeks:
            for org in await self._store.orgs_with_documents():
                await self._store.enqueue_ended_weeks(org, today=today)
            self._looked_for_ended_weeks = today

    async def follow_all(self, stop: asyncio.Event) -> bool:
        """Do one round for each org that is behind; return whether there was any."""
        pending = await self._store.pending()
        for org in pending:
            if stop.is_set():
                break
            await self.follow(org)
        return bool(pending)

    async def follow(self, pending: PendingOrg) -> None:
        """Do one round for an org: fill its outbox, and work off a part of it."""
        org = pending.org
        for version in range(pending.enqueued_version, pending.last_version, _COMMITS_PER_STEP):
            await self._store.enqueue(
                org,
                after_version=version,
                through_version=min(pending.last_version, version + _COMMITS_PER_STEP),
            )
        with self._continue_trace(await self._store.trace_parent(org)):
            work = await self._store.take(org, limit=_WEEKS_PER_ROUND, records=_RECORDS_PER_ROUND)
            documents, objects, gone = await self._write_documents(org, work)
            await self._put(org, documents)
            if gone:
                await _leaving_room(self._index.delete(org, gone))
            if not work.leaves_some:
                # A search may miss what is being settled, so that comes before a reader is told
                # that the index has followed.
                await self._settle()
            await self._store.save(
                org,
                work,
                documents=documents,
                objects=objects,
                gone=gone,
                compare_now=self._is_time_to_compare(org),
            )
            _log.info("indexed", org=org, documents=len(documents), gone=len(gone))
        self._on_round(len(documents), len(gone))

    def _is_time_to_compare(self, org: str) -> bool:
        """Tell whether a long load should have the org's objects compared before its end."""
        rounds = self._rounds_since_compared.get(org, 0) + 1
        self._rounds_since_compared[org] = rounds % _ROUNDS_PER_COMPARISON
        return rounds == _ROUNDS_PER_COMPARISON

    async def _write_documents(
        self, org: str, work: Work
    ) -> tuple[list[Document], list[DescribedObject], list[str]]:
        """Return documents and objects of what was taken, and ids of documents that are gone."""
        documents: list[Document] = []
        objects: list[DescribedObject] = []
        if work.weeks:
            documents, objects = await self._object_documents(org, work)
        for kind, writer in self._records.items():
            if record_ids := work.records_of(kind):
                documents += await writer.documents(org, record_ids)
        expected = {document_id(DocumentKind.PROFILE, key) for key in work.keys}
        expected |= {
            document_id(DocumentKind.WEEKLY_DIGEST, key, week_start=week)
            for key, week in work.weeks
        }
        expected |= {record_document_id(kind, record_id) for kind, record_id in work.records}
        missing = expected - {document.document_id for document in documents}
        # Most never were: a change reaches into the next week, which may have no entries. One that
        # a round put into the index and did not live to save is found when a worker starts.
        return documents, objects, sorted(await self._store.fetch(org, missing))

    async def _object_documents(
        self, org: str, work: Work
    ) -> tuple[list[Document], list[DescribedObject]]:
        facts = await self._store.facts(org, work, today=self._today())
        calendar = await self._calendars.get(org)
        labels = await _labels(calendar, {week.week_start for week in facts.weeks})
        hemisphere = calendar.settings.hemisphere
        profiles = [
            profile_document(replace(profile, hemisphere=hemisphere)) for profile in facts.profiles
        ]
        weeks = [
            weekly_document(replace(week, calendar_labels=labels[week.week_start]))
            for week in facts.weeks
        ]
        objects = [
            described(profile, title=document.title)
            for profile, document in zip(facts.profiles, profiles, strict=True)
        ]
        return profiles + weeks, objects

    async def _put(self, org: str, documents: Sequence[Document]) -> None:
        for group in _groups(documents, _DOCUMENTS_PER_WRITE):
            vectors = await self._vectors(group)
            await _leaving_room(self._index.upsert(org, group, vectors))
            self._unsettled_documents += len(group)
            if self._unsettled_documents >= _UNSETTLED_DOCUMENTS:
                await self._settle()

    async def _settle(self) -> None:
        if self._unsettled_documents:
            await _leaving_room(self._index.settle())
            self._unsettled_documents = 0

    async def _vectors(self, documents: Sequence[Document]) -> Vectors:
        """Return the vectors of documents; only texts that were never seen are embedded."""
        model_id = self._embedder.model_id
        texts = {document.embedding_hash: document.embedded_text for document in documents}
        known = dict(await self._store.load_vectors(model_id, texts.keys()))
        missing = [text_hash for text_hash in texts if text_hash not in known]
        if missing:
            fresh = await self._embedder.embed_documents([texts[each] for each in missing])
            embedded = dict(zip(missing, fresh, strict=True))
            await self._store.keep_vectors(model_id, embedded)
            known |= embedded
        return np.stack([known[document.embedding_hash] for document in documents])

    async def _make_ready(self) -> None:
        try:
            await self._index.ensure()
        except IndexOfAnotherModelError as error:
            _log.info("index_rebuilds", serving=error.serving, model=self._embedder.model_id)
            await self._rebuild()
        else:
            await self._restore()

    async def _rebuild(self) -> None:
        """Embed every document with the present model, then let the new index serve.

        What an earlier try has put there stays, so that a worker that was cut short goes on.
        """
        async with self._index.rebuild() as fresh:
            for org in await self._store.orgs_with_documents():
                async for lost in self._lost(org, fresh):
                    for group in _groups(lost, _DOCUMENTS_PER_WRITE):
                        vectors = await self._vectors(group)
                        await _leaving_room(fresh.upsert(org, group, vectors))
            await fresh.switch()
        for org in await self._store.orgs_with_documents():
            await self._store.raise_index_revision(org)

    async def _restore(self) -> None:
        """Fill an index that lost documents, from the record of truth."""
        restored: set[str] = set()
        for org in await self._store.orgs_with_documents():
            async for lost in self._lost(org, self._index):
                _log.info("index_restores", org=org, documents=len(lost))
                await self._put(org, lost)
                restored.add(org)
        # Also what an earlier worker left unsettled.
        await _leaving_room(self._index.settle())
        self._unsettled_documents = 0
        # Answers of the time in between lack what was lost, and no commit tells so.
        for org in restored:
            await self._store.raise_index_revision(org)

    async def _lost(
        self, org: str, index: DocumentIndex | IndexRebuild
    ) -> AsyncIterator[Sequence[Document]]:
        """Yield documents that an index lacks or has otherwise; what else it has is deleted."""
        present = await index.list_ids(org)
        stored: set[str] = set()
        async for documents in self._store.all_documents(org):
            stored.update(document.document_id for document in documents)
            lost = [
                document
                for document in documents
                if present.get(document.document_id) != document.content_hash
            ]
            if lost:
                yield lost
        await index.delete(org, present.keys() - stored)


async def _labels(calendar: OrgCalendar, weeks: set[date]) -> dict[date, tuple[str, ...]]:
    """Return what each week's days are called, each name once."""
    if not weeks:
        return {}
    days = await asyncio.to_thread(calendar.days, min(weeks), max(weeks) + _WEEK)
    by_week: dict[date, dict[str, None]] = {week: {} for week in weeks}
    for day in days:
        names = by_week.get(day.date - timedelta(days=day.date.weekday()))
        if names is not None:
            names.update(dict.fromkeys(_labels_of(day)))
    return {week: tuple(names) for week, names in by_week.items()}


def _labels_of(day: CalendarDay) -> Iterator[str]:
    yield from (holiday.name for holiday in day.holidays)
    yield from day.retail_events
    yield from day.events


async def _leaving_room(write: Awaitable[None]) -> None:
    """Do a write, and leave the index to its readers for as long as that took."""
    began = time.monotonic()
    await write
    await asyncio.sleep(min(time.monotonic() - began, _LONGEST_PAUSE_SECONDS))


def _groups(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]

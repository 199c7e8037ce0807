"""Documents follow the entries, whatever happens to entries, workers and index."""

import asyncio
import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from tests.contract.milvus_server import MilvusServer
from tests.e2e.memory.conftest import ClientFactory
from tests.e2e.memory.entry_keys import delete_entries
from tests.e2e.memory.indexing_harness import (
    USUAL_BASIS,
    WEEK,
    CountingEmbedder,
    Failing,
    InterruptionError,
    Pieces,
    entry,
    eventually,
    monday,
    opened_index,
    opened_pieces,
    purge,
    replace_slice,
    running,
    running_milvus,
    today,
    write,
)
from tests.e2e.memory.memory_process import memory_process

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import calendar_pb2, entry_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.settings import load
from liftos_kit.testing.server import SECRET
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase
from liftos_memory.domain.documents import Document
from liftos_memory.search_ports import DocumentIndex, SearchScope, Vectors
from liftos_memory.settings import MemorySettings

_ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
async def milvus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MilvusServer]:
    """A Milvus of the module's own."""
    async with running_milvus(tmp_path_factory.mktemp("milvus")) as server:
        yield server


def _settings(database: TestDatabase, milvus: MilvusServer) -> MemorySettings:
    return load(
        MemorySettings,
        {name: value for name, value in database.environment.items() if "OWNER" not in name}
        | {
            "LIFTOS_PORT": "0",
            "LIFTOS_JWT_SECRET": SECRET,
            "LIFTOS_DRAIN_SECONDS": "5",
            "LIFTOS_MILVUS_URL": milvus.url,
            "LIFTOS_EMBEDDER": "hash:",
        },
    )


@pytest.fixture(scope="module")
def memory_settings(database: TestDatabase, milvus: MilvusServer) -> MemorySettings:
    """Settings over the module's Milvus, without a model."""
    return _settings(database, milvus)


@pytest.fixture(scope="module")
async def pieces(memory_settings: MemorySettings) -> AsyncIterator[Pieces]:
    """The parts of a worker; the index exists."""
    async with opened_pieces(memory_settings) as opened:
        await opened.index.ensure()
        yield opened


def _digests(documents: dict[str, Document]) -> dict[date, str]:
    """Texts of weekly digests of one object by week."""
    return {
        document.week_start: document.text
        for document in documents.values()
        if document.week_start is not None
    }


class History:
    """Random writes, slices, purges, deletions and changes of events of one org.

    Args:
        seed: Decides everything.
        client: Of an admin.
        org: Whose entries.
    """

    def __init__(self, seed: int, client: Any, org: str) -> None:
        self._random = random.Random(seed)
        self._client = client
        self._org = org
        self._streams = 0

    async def step(self) -> None:
        """Change something."""
        change = self._random.choice(
            [
                *(self._upsert, self._upsert, self._upsert),
                *(self._slice, self._slice, self._purge, self._delete),
            ]
        )
        await change()

    async def _upsert(self) -> None:
        entries = {
            (each.platform, each.level, each.campaign_id, each.date, *_credit(each)): each
            for each in (self._entry() for _ in range(self._random.randint(1, 15)))
        }
        origin = f"run/{self._random.randint(1, 3)}"
        await write(self._client, self._org, list(entries.values()), origin=origin)

    async def _slice(self) -> None:
        first = self._day()
        last = min(today(), first + timedelta(days=self._random.randint(0, 10)))
        days = [first + timedelta(days=step) for step in range((last - first).days + 1)]
        entries = [
            self._entry(day=day, campaign=campaign, plain=True)
            for day in days
            for campaign in "12"
            if self._random.random() < 0.5
        ]
        self._streams += 1
        stream = f"stream-{self._streams}"
        await replace_slice(self._client, self._org, (first, last), entries, stream=stream)

    async def _purge(self) -> None:
        day = self._day().isoformat()
        condition = self._random.choice(
            ["", f'date < "{day}"', 'campaign_id = "1"', 'attribution_key != ""']
        )
        origin = f"run/{self._random.randint(1, 3)}"
        await purge(self._client, self._org, origin, where=condition)

    async def _delete(self) -> None:
        origin = f"run/{self._random.randint(1, 3)}"
        page = await self._client.ListEntries(
            pb.ListEntriesRequest(
                parent=f"orgs/{self._org}", filter=f'origin = "{origin}"', page_size=1_000
            )
        )
        count = self._random.randint(0, len(page.entries))
        chosen = self._random.sample(list(page.entries), count)
        self._streams += 1
        stream = f"stream-{self._streams}"
        await delete_entries(self._client, self._org, chosen, origin=origin, stream_id=stream)

    def _day(self) -> date:
        return min(today(), monday(4) + timedelta(days=self._random.randint(0, 34)))

    def _entry(
        self, *, day: date | None = None, campaign: str | None = None, plain: bool = False
    ) -> entry_pb2.Entry:
        pick = self._random.choice
        fields: dict[str, Any] = {
            "campaign_name": pick(["", "Spring sale", "Spring sale", "Retargeting"]),
            "channel": pick(["", "SEARCH"]),
            "impressions": pick([1_000, 1_010, 9_000]),
            "clicks": pick([0, 10, 11, 90]),
        }
        if pick([True, False]):
            fields |= {
                "currency_code": pick(["USD", "USD", "USD", "EUR"]),
                "spend_micros": pick([1, 20, 300]) * 1_000_000,
            }
        if not plain:
            fields |= {
                "platform": pick(["meta", "google_ads"]),
                "attribution_key": pick(["", "", "7d_click"]),
                "breakdown_key": pick(["", "", "", "country=DE"]),
                "date_basis": pick([USUAL_BASIS, USUAL_BASIS, entry_pb2.DATE_BASIS_CONVERSION]),
            }
            if pick([True, False, False]):
                fields |= {"level": "ENTRY_LEVEL_ACCOUNT", "campaign_name": ""}
                return entry(day or self._day(), "", **fields)
        return entry(day or self._day(), campaign or pick("123"), **fields)


def _credit(row: entry_pb2.Entry) -> tuple[str, str, int]:
    return row.attribution_key, row.breakdown_key, row.date_basis or USUAL_BASIS


@pytest.mark.parametrize("seed", range(6))
async def test_documents_are_what_the_entries_say_after_any_history(
    pieces: Pieces, memory_client: ClientFactory, org: str, seed: int
) -> None:
    """Each object and week with entries has its document, none else has; in both stores."""
    client = memory_client(org)
    history = History(seed, client, org)
    for _ in range(4):
        for _ in range(3):
            await history.step()
        await pieces.catch_up()
        await pieces.check(org, client)
    await pieces.catch_up()
    assert pieces.rounds, "rounds are told of"


@pytest.mark.parametrize(
    "failpoint",
    [
        ("store", "enqueue", "after"),
        ("store", "keep_vectors", "after"),
        ("index", "upsert", "after"),
        ("index", "delete", "before"),
        ("store", "save", "before"),
        ("store", "save", "after"),
    ],
    ids=" ".join,
)
async def test_an_interrupted_round_ends_in_the_same_documents(
    pieces: Pieces, memory_client: ClientFactory, org: str, failpoint: tuple[str, str, str]
) -> None:
    """Wherever a worker dies in a round, the next one ends where the first one would have."""
    client = memory_client(org)
    week = monday(3)
    await write(
        client,
        org,
        [entry(week, "1", clicks=10), entry(week + WEEK, "2", clicks=5)],
        origin="run/1",
    )
    await pieces.catch_up()
    await purge(client, org, "run/1", where='campaign_id = "2"')
    await write(client, org, [entry(week, "1", clicks=90), entry(week, "3", campaign_name=org)])
    part, method, when = failpoint
    failing = Failing(getattr(pieces, part), method, when)
    with pytest.raises(InterruptionError):
        await pieces.catch_up(**{part: failing})
    await pieces.catch_up()
    documents = await pieces.check(org, client)
    assert {each.key.campaign_id for each in documents.values() if each.key} == {"1", "3"}


async def test_a_digest_compares_with_the_week_before(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """It is written anew when the week before changes, though its own week did not."""
    client = memory_client(org)
    before, week = monday(3), monday(2)
    await write(client, org, [entry(before, clicks=100)], origin="run/before")
    await write(client, org, [entry(week, clicks=120)], origin="run/after")
    await pieces.catch_up()
    texts = _digests(await pieces.check(org, client))
    assert "New this week." in texts[before]
    assert "Rose: clicks." in texts[week]
    await write(client, org, [entry(before, clicks=400)], origin="run/before")
    await pieces.catch_up()
    assert "Fell sharply: clicks." in _digests(await pieces.check(org, client))[week]
    await purge(client, org, "run/before")
    await pieces.catch_up()
    texts = _digests(await pieces.check(org, client))
    assert texts.keys() == {week}
    assert "New this week." in texts[week]


async def test_a_digest_is_finished_when_its_week_is_over(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """No write is needed for that, and it happens once."""
    client = memory_client(org)
    week = monday(0)
    await write(client, org, [entry(today(), clicks=10)])
    async with running(pieces.indexing()):
        await eventually(lambda: _indexed(pieces, org))
    assert "The week is not over." in _digests(await pieces.stored(org))[week]
    ended = week + WEEK

    async def is_finished() -> bool:
        return "New this week." in _digests(await pieces.stored(org))[week]

    async with running(pieces.indexing(today=lambda: ended)):
        await eventually(is_finished)
    await pieces.catch_up(today=lambda: ended)
    await pieces.check(org, client, now=ended)
    assert await pieces.store.indexed_version(org) == 1


async def test_digests_name_the_events_of_their_week(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """The org's own events stand in what is embedded."""
    client = memory_client(org)
    week = monday(2)
    days = marketing_pb2.DateRange(start_date=week.isoformat(), end_date=week.isoformat())
    await client.UpsertCalendarEvent(
        pb.UpsertCalendarEventRequest(
            calendar_event=calendar_pb2.CalendarEvent(
                name=f"orgs/{org}/calendarEvents/opening",
                display_name="Store opening",
                date_range=days,
            ),
        )
    )
    await write(client, org, [entry(week, clicks=1)])
    await pieces.catch_up()
    documents = await pieces.check(org, client)
    (digest,) = (each for each in documents.values() if each.week_start == week)
    assert "Store opening" in digest.embedded_text


async def test_the_same_text_is_embedded_once(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """Equal first lines share a vector, over objects, weeks, orgs and small restatements."""
    client = memory_client(org)
    week = monday(2)
    name = f"Spring {org}"
    twins = [entry(week, each, campaign_name=name, clicks=20) for each in ("1", "2", "3")]
    pieces.embedder.texts.clear()
    await write(client, org, twins)
    await pieces.catch_up()
    assert len(pieces.embedder.texts) == len(set(pieces.embedder.texts)) == 2
    await write(client, org, [entry(week, "1", campaign_name=name, clicks=21)])
    await pieces.catch_up()
    other = memory_client(f"{org}-other")
    await write(other, f"{org}-other", twins)
    await pieces.catch_up()
    assert len(pieces.embedder.texts) == 2
    await pieces.check(org, client)


async def test_a_commit_that_is_overwritten_before_its_round_is_not_passed_over(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """The position never claims a version whose rows wait to be described."""
    client = memory_client(org)
    await write(client, org, [entry(monday(2), clicks=1)])
    await write(client, org, [entry(monday(2), clicks=2)])
    await pieces.store.enqueue(org, after_version=0, through_version=1)
    assert await pieces.store.indexed_version(org) == 0
    await pieces.catch_up()
    assert await pieces.store.indexed_version(org) == 2
    await pieces.check(org, client)


async def test_what_changes_during_a_round_waits_for_the_next(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """Saving takes only those changes out of the outbox that the documents have seen."""
    client = memory_client(org)
    await write(client, org, [entry(monday(2), clicks=1)])
    await pieces.store.enqueue(org, after_version=0, through_version=1)
    work = await pieces.store.take(org, limit=10, records=10)
    await write(client, org, [entry(monday(2), clicks=900)])
    await pieces.store.enqueue(org, after_version=1, through_version=2)
    await pieces.store.save(org, work, documents=[], objects=[], gone=[], compare_now=False)
    assert await pieces.store.indexed_version(org) == 0
    await pieces.catch_up()
    await pieces.check(org, client)


async def test_a_small_commit_does_not_wait_for_a_large_one(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """Its documents come with the next round; the position still waits for the large one."""
    client = memory_client(org)
    week = monday(2)
    await write(client, org, [entry(week, f"bulk-{place}") for place in range(300)])
    await write(client, org, [entry(week, "late"), entry(week, "bulk-299", clicks=900)])
    indexing = pieces.indexing()
    assert await indexing.follow_all(asyncio.Event())
    found = await pieces.stored(org)
    written = {each.key.campaign_id: each for each in found.values() if each.key}
    assert {"late", "bulk-299", "bulk-0"} <= written.keys()
    assert len(written) < 301
    assert await pieces.store.indexed_version(org) == 0
    await pieces.catch_up()
    assert await pieces.store.indexed_version(org) == 2
    await pieces.check(org, client)


async def test_a_round_takes_from_the_oldest_and_the_newest_commit(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """Among commits of one size the newest has half of a round, and the oldest the other half."""
    client = memory_client(org)
    for commit in range(3):
        await write(client, org, [entry(monday(2), f"{commit}-{place}") for place in range(3)])
    await pieces.store.enqueue(org, after_version=0, through_version=3)
    work = await pieces.store.take(org, limit=8, records=8)
    assert sorted(work.weeks.values()) == [1, 1, 1, 1, 3, 3, 3, 3]
    assert len((await pieces.store.take(org, limit=18, records=8)).weeks) == 18
    await pieces.catch_up()


class SlowIndex:
    """Takes a moment for each write, and keeps when what was written."""

    def __init__(self, behind: DocumentIndex) -> None:
        self._behind = behind
        self.writes: list[tuple[str, float, float]] = []
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)

    async def upsert(self, org: str, documents: Sequence[Document], vectors: Vectors) -> None:
        """Add or replace documents of an org."""
        self.sizes.append(len(documents))
        await self._slowly("upsert", self._behind.upsert(org, documents, vectors))

    async def delete(self, org: str, document_ids: Collection[str]) -> None:
        """Remove documents of an org."""
        await self._slowly("delete", self._behind.delete(org, document_ids))

    async def settle(self) -> None:
        """Seal what was written."""
        await self._slowly("settle", self._behind.settle())

    async def _slowly(self, what: str, write: Awaitable[None]) -> None:
        began = time.monotonic()
        await asyncio.sleep(0.05)
        await write
        self.writes.append((what, began, time.monotonic()))


class UnsettledIndex:
    """Knows whether anything that was written is not settled."""

    def __init__(self, behind: DocumentIndex) -> None:
        self._behind = behind
        self.unsettled = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)

    async def upsert(self, org: str, documents: Sequence[Document], vectors: Vectors) -> None:
        """Add or replace documents of an org."""
        self.unsettled = True
        await self._behind.upsert(org, documents, vectors)

    async def settle(self) -> None:
        """Seal what was written."""
        await self._behind.settle()
        self.unsettled = False


@pytest.mark.parametrize("entries", [1, 128, 300])
async def test_what_a_version_covers_is_settled(
    pieces: Pieces, memory_client: ClientFactory, org: str, entries: int
) -> None:
    """A reader that waits for its write never searches while that is being settled.

    An entry reaches into the next week, so that 128 of them fill one round to the last place.
    """
    client = memory_client(org)
    await write(client, org, [entry(monday(2), f"bulk-{place}") for place in range(entries)])
    index = UnsettledIndex(pieces.index)
    indexing = pieces.indexing(index=index)
    while await pieces.store.indexed_version(org) == 0:
        await indexing.follow_all(asyncio.Event())
    assert not index.unsettled
    await pieces.check(org, client)


async def test_a_bulk_load_leaves_the_index_to_its_readers(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """Between two writes there is as much time as the last one took, and none is large.

    What was written is settled meanwhile, and nothing is deleted that was never there.
    """
    client = memory_client(org)
    await write(client, org, [entry(monday(2), f"bulk-{place}") for place in range(600)])
    index = SlowIndex(pieces.index)
    await pieces.catch_up(index=index)
    assert sum(index.sizes) >= 1_200
    assert max(index.sizes) <= 128
    for (_, began, ended), (_, next_began, _) in pairwise(index.writes):
        assert next_began - ended >= 0.9 * (ended - began)
    kinds = [what for what, _, _ in index.writes]
    assert "delete" not in kinds
    assert "settle" in kinds
    await pieces.check(org, client)


async def test_every_commit_is_seen_before_a_round(
    pieces: Pieces,
    memory_client: ClientFactory,
    org: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many commits there are, the newest is in the outbox when a round takes from it."""
    monkeypatch.setattr("liftos_memory.usecases.indexing._COMMITS_PER_STEP", 2)
    client = memory_client(org)
    for clicks in range(1, 6):
        await write(client, org, [entry(monday(2), clicks=clicks)])
    await pieces.indexing().follow_all(asyncio.Event())
    assert await pieces.store.indexed_version(org) == 5
    await pieces.check(org, client)


async def test_lag_is_what_waits_over_all_orgs(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """Commits count until their documents are in the index, and the oldest gives the age."""
    client = memory_client(org)
    await pieces.catch_up()
    lag = await pieces.store.lag()
    assert (lag.commits, lag.oldest_seconds) == (0, 0.0)
    await write(client, org, [entry(monday(2), clicks=1)])
    await write(client, org, [entry(monday(1), clicks=1)])
    lag = await pieces.store.lag()
    assert lag.commits == 2
    assert 0.0 < lag.oldest_seconds < 60.0
    await pieces.store.enqueue(org, after_version=0, through_version=2)
    assert (await pieces.store.lag()).commits == 2
    await pieces.catch_up()
    assert (await pieces.store.lag()).commits == 0


async def test_another_model_rebuilds_the_index_and_switches(
    database: TestDatabase, memory_client: ClientFactory, org: str, tmp_path: Path
) -> None:
    """All documents of all orgs are in the new index before it serves."""
    small = CountingEmbedder(dimension=48)
    client = memory_client(org)
    await write(client, org, [entry(monday(2), each, campaign_name=each) for each in "123"])
    async with (
        running_milvus(tmp_path) as server,
        opened_pieces(_settings(database, server)) as pieces,
        opened_index(_settings(database, server), small) as index,
    ):
        await pieces.index.ensure()
        await pieces.catch_up()
        before = await pieces.index.list_ids(org)
        assert len(before) == 6
        scope = SearchScope(org=org)
        vector = await small.embed_query("campaign")

        async def finds_all() -> bool:
            return len(await index.search_dense(scope, vector, 10)) == len(before)

        async with running(pieces.indexing(index=index, embedder=small)):
            await eventually(finds_all)
        assert await index.list_ids(org) == before
        assert len(small.texts) == len(set(small.texts))


async def test_a_lost_index_is_filled_from_postgres(
    database: TestDatabase, memory_client: ClientFactory, org: str, tmp_path: Path
) -> None:
    """A Milvus that comes back empty has everything again, without a single embedding."""
    client = memory_client(org)
    await write(client, org, [entry(monday(2), each, campaign_name=each) for each in "12"])
    data_dir = tmp_path / "milvus"
    data_dir.mkdir()
    async with (
        running_milvus(data_dir) as server,
        opened_pieces(_settings(database, server)) as pieces,
        running(pieces.indexing()),
    ):
        await eventually(lambda: _indexed(pieces, org))
        server.kill()
        shutil.rmtree(data_dir)
        data_dir.mkdir()
        pieces.embedder.texts.clear()
        await server.start()
        # Nothing is written meanwhile: the worker has to notice by itself.
        await eventually(lambda: _indexed(pieces, org))
        await pieces.check(org, client)
        assert not pieces.embedder.texts


@pytest.fixture(scope="module")
def start_worker(
    database: TestDatabase, milvus: MilvusServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], AbstractAsyncContextManager[asyncio.subprocess.Process]]:
    """Starts workers as processes."""
    logs = tmp_path_factory.mktemp("workers")
    numbers = count()

    def start() -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
        variables = {**database.environment, "LIFTOS_MILVUS_URL": milvus.url}
        return memory_process("worker", variables, log=logs / f"worker-{next(numbers)}")

    return start


@pytest.fixture
def admin_url(stores: Stack, database: TestDatabase) -> str:
    """The module's database as a superuser, who sees everybody's connections."""
    return stores.postgres_admin_url(database.name)


async def test_what_goes_wrong_under_the_lock_is_not_taken_for_an_outage(pieces: Pieces) -> None:
    """An error of whoever leads comes out as it is, and the place is free again."""
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(5), pieces.store.lead():
                raise ConnectionResetError


async def test_one_worker_leads_and_another_takes_over_when_it_is_killed(
    start_worker: Callable[[], AbstractAsyncContextManager[asyncio.subprocess.Process]],
    admin_url: str,
    pieces: Pieces,
    memory_client: ClientFactory,
    org: str,
) -> None:
    """Of two worker processes one holds the index; a kill -9 hands it to the other."""
    client = memory_client(org)
    leaders: list[int] = []

    async def is_led_by_another() -> bool:
        leader = await _leader(admin_url)
        if leader is None or leader in leaders:
            return False
        leaders.append(leader)
        return True

    async with start_worker() as first, start_worker() as second:
        for campaign in ("1", "2"):
            await eventually(is_led_by_another)
            await write(client, org, [entry(monday(2), campaign)])
            await eventually(lambda: _indexed(pieces, org))
            await pieces.check(org, client)
            os.kill(leaders[-1], signal.SIGKILL)
    assert {first.returncode, second.returncode} == {-signal.SIGKILL}
    assert set(leaders) == {first.pid, second.pid}


async def _leader(admin_url: str) -> int | None:
    """The process that holds the lock of the index writer, found by its connection's port."""
    connection = await asyncpg.connect(admin_url)
    try:
        port = await connection.fetchval(
            "select a.client_port from pg_locks l join pg_stat_activity a using (pid)"
            " where l.locktype = 'advisory' and l.granted and a.datname = current_database()"
            " and a.application_name = 'liftos-memory-worker'"
        )
    finally:
        await connection.close()
    return next(
        (
            each.pid
            for each in psutil.net_connections("tcp4")
            if each.laddr and each.laddr.port == port and each.pid is not None
        ),
        None,
    )


async def _indexed(pieces: Pieces, org: str) -> bool:
    """Whether the index has followed all of an org's commits, and holds its documents."""
    stored = await pieces.stored(org)
    if not stored or (await pieces.store.lag()).commits:
        return False
    return (await pieces.index.list_ids(org)).keys() == stored.keys()

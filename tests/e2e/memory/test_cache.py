"""Answers from the cache are those that would be computed: warm, cold, damaged, full or away."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any

import grpc
import pytest
from redis.asyncio import Redis
from tests.contract.milvus_server import MilvusServer
from tests.e2e.memory.conftest import Client
from tests.e2e.memory.indexing_harness import (
    Pieces,
    entry,
    eventually,
    monday,
    opened_pieces,
    running,
    running_milvus,
    write,
)
from tests.inprocess.kit.statuses import refusal_of

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import entry_pb2, memory_service_pb2_grpc, source_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.server import Server
from liftos_kit.settings import load
from liftos_kit.testing.server import SECRET, authorization
from liftos_local.testing import TestDatabase
from liftos_memory.server import application
from liftos_memory.settings import MemorySettings

DAYS = marketing_pb2.DateRange(start_date="2026-01-01", end_date="2026-01-31")
CAMPAIGN = entry_pb2.ENTRY_LEVEL_CAMPAIGN


@pytest.fixture(scope="module")
async def milvus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MilvusServer]:
    """A Milvus of the module's own."""
    async with running_milvus(tmp_path_factory.mktemp("milvus")) as server:
        yield server


def _settings(database: TestDatabase, milvus: MilvusServer, **own: str) -> MemorySettings:
    environment = {
        name: value for name, value in database.environment.items() if "OWNER" not in name
    }
    return load(
        MemorySettings,
        environment
        | {
            "LIFTOS_PORT": "0",
            "LIFTOS_JWT_SECRET": SECRET,
            "LIFTOS_DRAIN_SECONDS": "5",
            "LIFTOS_MILVUS_URL": milvus.url,
            "LIFTOS_EMBEDDER": "hash:",
        }
        | own,
    )


class _Served:
    """A server and clients of it."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def client(self, org: str) -> Any:
        """Return a client of an org."""
        return Client(self._stub, authorization(org, roles=("admin",)))


@asynccontextmanager
async def _served(settings: MemorySettings) -> AsyncIterator[_Served]:
    server = Server(application(settings))
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"{settings.host}:{server.port}") as channel:
            yield _Served(memory_service_pb2_grpc.MemoryServiceStub(channel))
    finally:
        await server.drain()


@pytest.fixture(scope="module")
def settings(database: TestDatabase, milvus: MilvusServer) -> MemorySettings:
    """Settings with the cache as it is by default."""
    return _settings(database, milvus)


@pytest.fixture(scope="module")
async def warm(settings: MemorySettings) -> AsyncIterator[_Served]:
    """A server with its cache."""
    async with _served(settings) as served:
        yield served


@pytest.fixture(scope="module")
async def bare(database: TestDatabase, milvus: MilvusServer) -> AsyncIterator[_Served]:
    """A server that keeps nothing."""
    off = _settings(database, milvus, LIFTOS_CACHE_BYTES="0", LIFTOS_CACHE_REDIS_BYTES="0")
    async with _served(off) as served:
        yield served


@pytest.fixture(scope="module")
async def pieces(settings: MemorySettings) -> AsyncIterator[Pieces]:
    """The parts of a worker; the index exists."""
    async with opened_pieces(settings) as opened:
        await opened.index.ensure()
        yield opened


@pytest.fixture
async def redis(settings: MemorySettings) -> AsyncIterator[Redis]:
    """The Redis of the servers."""
    assert settings.redis_url is not None
    async with Redis.from_url(settings.redis_url.get_secret_value()) as opened:
        yield opened


def _entry(campaign: str, day: date, clicks: int, *, currency: str = "USD") -> entry_pb2.Entry:
    return entry_pb2.Entry(
        platform="meta",
        level=CAMPAIGN,
        account_id="a",
        campaign_id=campaign,
        date=day.isoformat(),
        metrics=entry_pb2.Metrics(
            currency_code=currency, spend_micros=clicks * 1_000_000, clicks=clicks
        ),
    )


async def _write(client: Any, org: str, entries: Iterable[entry_pb2.Entry]) -> str:
    answer = await client.BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(
            parent=f"orgs/{org}", rows=entry_pb2.EntryBatch(entries=entries)
        )
    )
    assert not answer.item_errors
    return str(answer.write_token)


def _month(clicks: int) -> list[entry_pb2.Entry]:
    start = date(2025, 12, 1)
    return [
        _entry(campaign, start + timedelta(days=offset), clicks + offset % 7 + place)
        for offset in range(62)
        for place, campaign in enumerate(("c1", "c2"))
    ]


def _query(org: str, **fields: Any) -> pb.QueryMetricsRequest:
    asked: dict[str, Any] = {
        "parent": f"orgs/{org}",
        "date_range": DAYS,
        "level": CAMPAIGN,
        "group_by": ["campaign_id"],
    }
    return pb.QueryMetricsRequest(**(asked | fields))


async def _answers(client: Any, org: str) -> list[bytes]:
    """Return what an org is answered to questions of every kind that is kept."""
    asked: dict[str, Any] = {"parent": f"orgs/{org}", "date_range": DAYS, "level": CAMPAIGN}
    pages = await client.QueryMetrics(_query(org, granularity=pb.GRANULARITY_DAY, page_size=20))
    more = await client.QueryMetrics(
        _query(
            org,
            granularity=pb.GRANULARITY_DAY,
            page_size=20,
            page_token=pages.next_page_token,
        )
    )
    arrow = [
        piece.arrow
        async for piece in client.QueryMetricsArrow(
            pb.QueryMetricsArrowRequest(**asked, granularity=pb.GRANULARITY_DAY)
        )
    ]
    compared = await client.CompareMetrics(
        pb.CompareMetricsRequest(**asked, metrics=["clicks", "cpc"], dimension="campaign_id")
    )
    return [
        *(each.SerializeToString(deterministic=True) for each in (pages, more, compared)),
        b"".join(arrow),
    ]


async def _stats(client: Any, org: str) -> dict[str, pb.CacheTierStats]:
    answer = await client.GetCacheStats(pb.GetCacheStatsRequest(parent=f"orgs/{org}"))
    assert [tier.tier for tier in answer.tiers][-1] == "embeddings"
    return {tier.tier: tier for tier in answer.tiers}


async def _kept(client: Any, org: str) -> Sequence[int]:
    """Return hits of the process, and bytes in Redis."""
    found = await _stats(client, org)
    return found["process"].hit_count, found["redis"].size_bytes


async def test_an_answer_is_given_again_and_a_write_is_seen_at_once(
    warm: _Served, bare: _Served, org: str
) -> None:
    """Repeated questions are hits, and after each write the answer is that of a bare server."""
    client = warm.client(org)
    for clicks in (10, 20, 30):
        await _write(client, org, _month(clicks))
        before = await _kept(client, org)
        first = await _answers(client, org)
        again = await _answers(client, org)
        assert first == again == await _answers(bare.client(org), org)
        after = await _kept(client, org)
        assert after[0] - before[0] == len(first)
    stats = await _stats(client, org)
    assert stats["process"].size_bytes > 0
    assert 0 < stats["process"].latency_p50_seconds <= stats["process"].latency_p99_seconds < 1


async def test_settings_rates_and_events_are_seen_at_once(warm: _Served, org: str) -> None:
    """A refusal is kept as an answer is, and a rate, a setting or an event makes it another."""
    client = warm.client(org)
    await _write(client, org, [_entry("c1", date(2026, 1, 5), 10, currency="EUR")])
    for _ in range(3):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.QueryMetrics(_query(org, currency_code="USD"))
        assert refusal_of(refused.value).reason == "ERROR_REASON_RATE_MISSING"
    await client.UpsertExchangeRates(
        pb.UpsertExchangeRatesRequest(
            parent=f"orgs/{org}",
            exchange_rates=[
                source_pb2.ExchangeRate(currency_code="EUR", date="2026-01-01", rate="2")
            ],
        )
    )
    [row] = (await client.QueryMetrics(_query(org, currency_code="USD"))).rows
    assert row.metrics.spend_micros == 20_000_000


async def test_a_damaged_lost_or_absent_tier_changes_no_answer(
    warm: _Served, database: TestDatabase, milvus: MilvusServer, redis: Redis, org: str
) -> None:
    """Servers that find Redis warm, damaged, empty or away all answer the same."""
    await _write(warm.client(org), org, _month(10))
    expected = await _answers(warm.client(org), org)

    async def all_kept() -> bool:
        return (await _kept(warm.client(org), org))[1] > 0 and len(await _keys(redis, org)) >= 4

    await eventually(all_kept)
    async with _served(_settings(database, milvus)) as other:
        client = other.client(org)
        assert await _answers(client, org) == expected
        assert (await _stats(client, org))["redis"].hit_count == len(expected)
    for place, key in enumerate(await _keys(redis, org)):
        value = await redis.get(key)
        assert isinstance(value, bytes)
        swapped = [value[:-1] + bytes([value[-1] ^ 1]), value[:40], b"", b"\0" * len(value)]
        await redis.set(key, swapped[place % len(swapped)])
    async with _served(_settings(database, milvus)) as other:
        client = other.client(org)
        assert await _answers(client, org) == expected
        damaged = (await _stats(client, org))["redis"]
        assert (damaged.hit_count, damaged.error_count) == (0, 0)
        assert damaged.miss_count == len(expected)
    await redis.flushdb()
    async with _served(_settings(database, milvus)) as other:
        assert await _answers(other.client(org), org) == expected
    away = _settings(database, milvus, LIFTOS_REDIS_URL="redis://127.0.0.1:9/0")
    async with _served(away) as other:
        client = other.client(org)
        assert await _answers(client, org) == expected
        assert await _answers(client, org) == expected
        stats = await _stats(client, org)
        assert stats["process"].hit_count == len(expected)
        assert stats["redis"].error_count > 0
        assert stats["process"].HasField("size_bytes")
        assert not stats["redis"].HasField("size_bytes")


async def _keys(redis: Redis, org: str) -> list[bytes]:
    return [key async for key in redis.scan_iter(match=f"liftos:*:{org}:*")]


async def test_values_of_one_org_are_worth_nothing_to_another(
    warm: _Served, database: TestDatabase, milvus: MilvusServer, redis: Redis, org: str
) -> None:
    """Equal questions of two orgs are apart, even where their values are swapped in Redis."""
    other_org = f"{org}-b"
    await _write(warm.client(org), org, _month(10))
    await _write(warm.client(other_org), other_org, _month(90))
    own = await _answers(warm.client(org), org)
    others = await _answers(warm.client(other_org), other_org)
    assert all(mine != theirs for mine, theirs in zip(own, others, strict=True))

    async def both_kept() -> bool:
        return len(await _keys(redis, org)) >= 4 and len(await _keys(redis, other_org)) >= 4

    await eventually(both_kept)
    theirs = [await redis.get(key) for key in await _keys(redis, other_org)]
    for key, value in zip(await _keys(redis, org), theirs, strict=False):
        await redis.set(key, value or b"")
    async with _served(_settings(database, milvus)) as fresh:
        assert await _answers(fresh.client(org), org) == own
    assert (await _stats(warm.client(f"{org}-c"), f"{org}-c"))["process"].hit_count == 0


async def test_redis_holds_no_more_than_it_may(
    database: TestDatabase, milvus: MilvusServer, redis: Redis, org: str
) -> None:
    """Beyond the limit the oldest values go, and what is told is what is there."""
    await redis.flushdb()
    limit = 64 * 1024
    small = _settings(database, milvus, LIFTOS_CACHE_REDIS_BYTES=str(limit))
    async with _served(small) as served:
        client = served.client(org)
        await _write(client, org, _month(10))
        for size in range(1, 200):
            await client.QueryMetrics(
                _query(org, granularity=pb.GRANULARITY_DAY, page_size=20 + size)
            )

        async def within() -> bool:
            told = (await _stats(client, org))["redis"].size_bytes
            keys = await _keys(redis, org)
            there = sum([len(key) + len(await redis.get(key) or b"") for key in keys])
            return 0 < told == there <= limit

        await eventually(within)


async def test_a_search_is_given_again_until_the_index_has_followed(
    warm: _Served, pieces: Pieces, org: str
) -> None:
    """While documents wait nothing is kept; then hits are given again until the next write."""
    client = warm.client(org)

    async def found() -> list[str]:
        answer = await client.SearchDocuments(
            pb.SearchDocumentsRequest(parent=f"orgs/{org}", query="spring sale", page_size=50)
        )
        return sorted(hit.document.object.campaign_id for hit in answer.hits)

    async def hits() -> int:
        return (await _stats(client, org))["process"].hit_count

    await write(client, org, [entry(monday(2), "one", campaign_name="Spring sale")])
    assert await found() == await found() == []
    assert await hits() == 0
    await pieces.catch_up()
    assert set(await found()) == {"one"}
    assert set(await found()) == {"one"}
    assert await hits() == 1
    await write(client, org, [entry(monday(2), "two", campaign_name="Spring sale")])
    await pieces.catch_up()
    assert set(await found()) == {"one", "two"}
    assert await hits() == 1
    vectors = (await _stats(client, org))["embeddings"]
    assert vectors.hit_count >= 1
    assert vectors.size_bytes > 0


async def test_a_search_is_not_kept_beyond_the_index_it_was_answered_from(
    warm: _Served, pieces: Pieces, org: str
) -> None:
    """What was found while the index lacked documents is void once a worker has put them back."""
    client = warm.client(org)

    async def is_found() -> bool:
        answer = await client.SearchDocuments(
            pb.SearchDocumentsRequest(parent=f"orgs/{org}", query="spring sale", page_size=50)
        )
        return bool(answer.hits)

    await write(client, org, [entry(monday(2), "one", campaign_name="Spring sale")])
    await pieces.catch_up()
    await pieces.index.delete(org, (await pieces.stored(org)).keys())
    assert not await is_found()
    assert not await is_found()
    assert (await _stats(client, org))["process"].hit_count == 1
    async with running(pieces.indexing()):
        await eventually(is_found)


async def test_many_who_ask_at_once_are_answered_alike(warm: _Served, org: str) -> None:
    """Fifty equal calls while others write: each answer is that of one version."""
    client = warm.client(org)
    await _write(client, org, _month(0))
    seen: set[tuple[int, ...]] = set()

    async def read() -> None:
        rows = (await client.QueryMetrics(_query(org))).rows
        seen.add(tuple(row.metrics.clicks for row in rows))

    for clicks in (1, 2, 3):
        await asyncio.gather(*(read() for _ in range(25)), _write(client, org, _month(clicks)))
        await read()
    possible = {
        tuple(sum(clicks + offset % 7 + place for offset in range(31, 62)) for place in range(2))
        for clicks in range(4)
    }
    assert seen <= possible

"""Keys of a Redis: all are counted; state and configuration are copied, and compared."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import pytest
import redis.asyncio

from liftos_client import Client, connect
from liftos_kit.auth import issue_token
from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_local.testing import TestDatabase
from liftos_migration.adapters.core import CoreWriter
from liftos_migration.adapters.core_digests import MemoryDigests
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.redis_census import connected
from liftos_migration.domain.differences import Difference
from liftos_migration.domain.mapping import KeyClass, KeyMapping
from liftos_migration.domain.mapping import Mapping as TableMappings
from liftos_migration.domain.migrations import MigrationSpec, SourceStore, Throttle
from liftos_migration.domain.verification import EntityResult
from liftos_migration.ledger_ports import Lease
from liftos_migration.usecases.key_records import KeyRecords
from liftos_migration.usecases.steps import StepContext
from liftos_migration.verification_ports import Collection, KeySource

ORG: Final = "acme"
MIGRATION: Final = "keys"
MAPPING: Final = TableMappings(
    keys=(
        KeyMapping("cache:", KeyClass.DERIVED_CACHE),
        KeyMapping("state:", KeyClass.STATE, "shop.state"),
        KeyMapping("state:settings:", KeyClass.CONFIGURATION, "shop.settings"),
    )
)
SPEC: Final = MigrationSpec(
    "Keys", "shop", SourceStore("SHOP_DATABASE_URL", redis_reference="SHOP_REDIS_URL"), MAPPING
)


class Keys:
    """A Redis, and what a migration wrote of it."""

    def __init__(self, url: str, client: Client, source: redis.asyncio.Redis) -> None:
        self.url = url
        self.source = source
        self.memory = client.memory
        self.core = MemoryDigests(client.memory, f"migrations/{MIGRATION}")
        self._writer = CoreWriter(client.memory, org=ORG, migration=MIGRATION, epoch=1)
        self.records = KeyRecords(self._open, lambda *_: self.core)

    @asynccontextmanager
    async def _open(self, org: str, store: SourceStore) -> AsyncIterator[KeySource]:
        async with connected(self.url) as opened:
            yield opened

    @property
    def context(self) -> StepContext:
        """What a step has."""
        return StepContext(
            Lease(ORG, MIGRATION, "test", 1),
            SPEC,
            SourceConnections(self.url, ()),
            self._writer,
            asyncio.Event(),
            lambda _: None,
            Throttle,
        )

    async def compare(self) -> tuple[dict[str, EntityResult], list[Difference]]:
        """Compare, and write what differs."""
        compared = await self.records.compare(self.context)
        assert all(each.result.is_accounted_for for each in compared)
        return (
            {each.result.table: each.result for each in compared},
            [found for each in compared for found in each.differences],
        )


@pytest.fixture(scope="module")
async def keys(core_database: TestDatabase, memory_server: RunningServer) -> AsyncIterator[Keys]:
    """A Redis with keys of all kinds."""
    address = urlsplit(core_database.environment["LIFTOS_REDIS_URL"])
    url = address._replace(path="/9").geturl()
    source = redis.asyncio.Redis.from_url(url)
    await source.flushdb()
    await source.set("cache:answer:1", "x", ex=300)
    await source.set("cache:answer:2", "y")
    await source.set("state:text", "ü" * 10)
    await source.set("state:bytes", b"\xff\x00\x01")
    await source.rpush("state:list", "b", "a", "b")
    await source.sadd("state:set", *(f"m{n}" for n in range(3_000)))
    await source.hset("state:hash", mapping={f"f{n}": n for n in range(3_000)})
    await source.zadd("state:zset", {"one": 1, "half": 0.5, "far": float("inf")})
    await source.xadd("state:stream", {"k": "v"}, id="1-1")
    await source.xgroup_create("state:stream", "readers", id="1-1")
    await source.set("state:lock", "held", ex=3_000)
    await source.set(b"state:\xfe odd key", "o")
    await source.set("state:settings:limit", "10")
    await source.set("other:1", "unknown")
    token = issue_token(secret=SECRET.encode(), org=ORG)
    async with connect(memory_server.target, token=token) as client:
        yield Keys(url, client, source)
    await source.flushdb()
    await source.aclose()


async def test_every_key_is_counted_under_one_prefix(keys: Keys) -> None:
    """Those of unknown prefixes too."""
    async with connected(keys.url) as opened:
        census = await opened.census([each.prefix for each in MAPPING.keys])
    found = {each.prefix: each for each in census}
    assert {prefix: each.key_count for prefix, each in found.items()} == {
        b"cache:": 2,
        b"state:": 9,
        b"state:settings:": 1,
        b"other:": 1,
    }
    assert found[b"cache:"].expiring_count == 1
    assert found[b"state:"].types == {
        "string": 4, "list": 1, "set": 1, "hash": 1, "zset": 1, "stream": 1,
    }  # fmt: skip
    assert found[b"state:"].size_bytes > 100_000


async def test_keys_are_copied_whole_and_only_once(keys: Keys) -> None:
    """With their expiry; caches are left, and an equal copy is not written again."""
    assert await keys.records.copy(keys.context) == 10
    artifact = await keys.memory.get_artifact("redis-key:state:list")
    assert (artifact.content, artifact.scope) == (b'["b","a","b"]', "shop.state")
    lock = await keys.memory.get_artifact("redis-key:state:lock")
    assert "expire_time" in lock.body
    results, found = await keys.compare()
    assert found == []
    assert (results["state:"].matched_count, results["state:settings:"].matched_count) == (9, 1)
    assert {each.accuracy for each in results.values()} == {1.0}
    await keys.records.copy(keys.context)
    assert (await keys.memory.get_artifact("redis-key:state:list")).version == 1


async def test_what_changed_since_is_brought_up_to_date(keys: Keys) -> None:
    """New values, another type, other expiry, what is gone and what somebody changed on Core."""
    await keys.source.set("state:text", "new")
    await keys.source.delete("state:list")
    await keys.source.set("state:list", "no list any more")
    await keys.source.persist("state:lock")
    await keys.source.delete("state:zset")
    await keys.source.hset("state:hash", "f7", "changed")
    changed = await keys.memory.get_artifact("redis-key:state:settings:limit")
    changed.content = b'"11"'
    await keys.memory.batch_upsert_artifacts([changed], origin=keys.core.origin)
    results, found = await keys.compare()
    assert found == []
    assert results["state:"].matched_count == 8
    assert (await keys.memory.get_artifact("redis-key:state:list")).content == (
        b'"no list any more"'
    )
    assert (await keys.memory.get_artifact("redis-key:state:settings:limit")).content == b'"10"'
    assert "redis-key:state:zset" not in await keys.core.record_hashes(
        Collection.ARTIFACTS, "shop.state"
    )


async def test_a_key_that_is_over_is_no_difference_and_does_not_stay(keys: Keys) -> None:
    """Once it expired it is deleted on Core too."""
    await keys.source.set("state:brief", "b", ex=600)
    await keys.records.copy(keys.context)
    brief = await keys.memory.get_artifact("redis-key:state:brief")
    assert brief.content == b'"b"'
    # As if it had been copied earlier.
    brief.body["expire_time"] = "2026-01-01T00:00:00+00:00"
    await keys.memory.batch_upsert_artifacts([brief], origin=keys.core.origin)
    await keys.source.delete("state:brief")
    results, found = await keys.compare()
    assert found == []
    assert results["state:"].accuracy == 1
    left = await keys.core.record_hashes(Collection.ARTIFACTS, "shop.state")
    assert "redis-key:state:brief" not in left


async def test_a_key_that_is_too_large_is_refused_and_told(keys: Keys) -> None:
    """Completeness is below 100 % until somebody decides."""
    await keys.source.set("state:large", b"x" * (9 * 1024 * 1024))
    results, _ = await keys.compare()
    state = results["state:"]
    assert state.rejected_count == 1
    assert state.completeness < 1
    await keys.source.delete("state:large")


async def test_evicted_keys_leave_it_unverified(keys: Keys) -> None:
    """Nobody deleted them, so that what is missing proves nothing."""

    class Losing:
        """Says that it evicts."""

        def __init__(self, opened: KeySource) -> None:
            self._opened = opened
            self._evicted = 0

        def __getattr__(self, name: str) -> object:
            return getattr(self._opened, name)

        async def losses(self) -> tuple[str, int]:
            run, _ = await self._opened.losses()
            self._evicted += 1
            return run, self._evicted

    @asynccontextmanager
    async def losing(org: str, store: SourceStore) -> AsyncIterator[KeySource]:
        async with connected(keys.url) as opened:
            yield Losing(opened)  # type: ignore[misc]

    compared = await KeyRecords(losing, lambda *_: keys.core).compare(keys.context)
    assert all("evicted" in each.result.unverified for each in compared)
    assert all(each.result.accuracy == 0 for each in compared)


async def test_a_redis_that_is_away_is_told() -> None:
    """Not taken for an empty one."""
    with pytest.raises(StoreUnavailableError):
        async with connected("redis://127.0.0.1:1/0") as opened:
            await opened.census([])

"""Keys of a source's Redis, found by scanning: which there are, and what they hold.

A Redis has no snapshots. A scan gives every key that was there from its beginning to its end, may
give one twice, and reads values at different moments; who compares looks twice.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import redis.asyncio
from redis.exceptions import RedisError, ResponseError

from liftos_kit.core.errors import StoreUnavailableError
from liftos_migration.domain.redis_keys import (
    MAXIMUM_VALUE_BYTES,
    KeyValue,
    PrefixCensus,
    ValueNotReadableError,
    instant,
    is_crowded,
    prefix_of,
    written,
)

_KEYS_AT_ONCE: Final = 500
_ELEMENTS_AT_ONCE: Final = 1_000
_OTHERS: Final = b"*"


@dataclass(slots=True)
class _Tally:
    size_bytes: int = 0
    expiring: int = 0
    types: Counter[str] = field(default_factory=Counter)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator["RedisSource"]:
    """Connect to a Redis.

    Raises:
        StoreUnavailableError: It does not answer.
    """
    client = redis.asyncio.Redis.from_url(url, decode_responses=False)
    try:
        await client.ping()
        yield RedisSource(client)
    except (RedisError, OSError) as error:
        raise StoreUnavailableError("redis of the source") from error
    finally:
        await client.aclose()


class RedisSource:
    """A Redis that is read, and never written."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        # What it answers depends on settings that its types do not know of.
        self._client: Any = client

    async def now(self) -> datetime:
        """Return the time of its clock."""
        seconds, microseconds = await self._client.time()
        return instant(int(seconds) * 1_000 + int(microseconds) // 1_000)

    async def losses(self) -> tuple[str, int]:
        """Return which run of the server this is, and how many keys it evicted.

        Where either changes while keys are copied, keys are gone that nobody deleted.
        """
        info = await self._client.info()
        return str(info["run_id"]), int(info["evicted_keys"])

    async def census(self, prefixes: Sequence[str]) -> Sequence[PrefixCensus]:
        """Count all keys by how they begin.

        Args:
            prefixes: Those that a mapping knows; other keys are put together by their first part.
        """
        known = [prefix.encode() for prefix in prefixes]
        tallies: dict[bytes, _Tally] = {prefix: _Tally() for prefix in known}
        async for keys in self._scan(b"*"):
            pipeline = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.type(key)
                pipeline.pttl(key)
                pipeline.execute_command("MEMORY", "USAGE", key)
            answers = await pipeline.execute(raise_on_error=False)
            for index, key in enumerate(keys):
                kind, remaining, size = answers[3 * index : 3 * index + 3]
                if kind == b"none":
                    continue
                prefix = prefix_of(key, known)
                if prefix not in tallies and is_crowded(len(tallies)):
                    prefix = _OTHERS
                tally = tallies.setdefault(prefix, _Tally())
                tally.types[kind.decode()] += 1
                tally.expiring += remaining >= 0
                tally.size_bytes += size if isinstance(size, int) else 0
        return [
            PrefixCensus(
                prefix, tally.types.total(), tally.size_bytes, dict(tally.types), tally.expiring
            )
            for prefix, tally in sorted(tallies.items())
        ]

    async def read(
        self, prefix: str, others: Sequence[str]
    ) -> AsyncIterator[KeyValue | ValueNotReadableError]:
        """Yield the keys of a prefix with their values; what cannot be copied comes as an error.

        Args:
            prefix: How they begin.
            others: Other prefixes; a key belongs to the longest that it begins with.
        """
        known = [prefix.encode(), *(other.encode() for other in others)]
        async for keys in self._scan(_pattern(prefix)):
            for key in keys:
                if prefix_of(key, known) == known[0]:
                    try:
                        value = await self.value(key)
                    except ValueNotReadableError as error:
                        yield error
                    else:
                        if value is not None:
                            yield value

    async def value(self, key: bytes) -> KeyValue | None:
        """Return a key with its value; None where there is none any more.

        Raises:
            ValueNotReadableError: Its type is not known, or it is too large.
        """
        kind = (await self._client.type(key)).decode()
        if kind == "none":
            return None
        try:
            value = await self._value(key, kind)
        except ResponseError:
            # Replaced by a value of another type in between.
            return await self.value(key) if await self._client.type(key) != kind.encode() else None
        if value is None:
            return None
        content = written(value)
        if len(content) > MAXIMUM_VALUE_BYTES:
            raise ValueNotReadableError(
                key, f"holds {len(content):,} bytes; at most {MAXIMUM_VALUE_BYTES:,} can be copied"
            )
        remaining = await self._client.pexpiretime(key)
        return KeyValue(key, kind, content, instant(remaining) if remaining >= 0 else None)

    async def _value(self, key: bytes, kind: str) -> object:
        value: object
        match kind:
            case "string":
                value = await self._client.get(key)
            case "list":
                value = await self._client.lrange(key, 0, -1)
            case "set":
                members = self._client.sscan_iter(key, count=_ELEMENTS_AT_ONCE)
                value = sorted({member async for member in members})
            case "hash":
                pairs = self._client.hscan_iter(key, count=_ELEMENTS_AT_ONCE)
                value = sorted({name: held async for name, held in pairs}.items())
            case "zset":
                scored = await self._client.zrange(key, 0, -1, withscores=True)
                value = sorted((member, repr(score)) for member, score in scored)
            case "stream":
                value = await self._stream(key)
            case _:
                raise ValueNotReadableError(key, f"is of the type {kind}, which is not known")
        return value

    async def _stream(self, key: bytes) -> object:
        entries: Any = await self._client.xrange(key)
        groups: Any = await self._client.xinfo_groups(key)
        return [
            [[entry, sorted((fields or {}).items())] for entry, fields in entries],
            sorted([group["name"], group["last-delivered-id"]] for group in groups),
        ]

    async def _scan(self, pattern: bytes) -> AsyncIterator[Sequence[bytes]]:
        """Yield keys in portions, each once."""
        seen: set[bytes] = set()
        cursor = 0
        while True:
            cursor, keys = await self._client.scan(cursor, match=pattern, count=_KEYS_AT_ONCE)
            fresh = [key for key in dict.fromkeys(keys) if key not in seen]
            seen.update(fresh)
            if fresh:
                yield fresh
            if int(cursor) == 0:
                return


def _pattern(prefix: str) -> bytes:
    """Return the pattern of keys that begin so, with what is special in patterns taken as it is."""
    special = {ord(letter): f"\\{letter}" for letter in "*?[]\\^"}
    return prefix.translate(special).encode() + b"*"

"""Keys of a Redis that are state or configuration: copied as artifacts, and compared.

A Redis has no snapshots and tells nobody for sure what changed. Keys are therefore compared, what
differs is written, and they are compared again, until both sides are equal or have been looked at
often enough: what still differs then is told.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from liftos_migration.domain.differences import Difference
from liftos_migration.domain.ledger import JsonObject
from liftos_migration.domain.mapping import KeyClass, KeyMapping, Target
from liftos_migration.domain.migrations import SourceStore
from liftos_migration.domain.records import ArtifactRecord
from liftos_migration.domain.redis_keys import (
    KeyValue,
    artifact_id,
    compare_keys,
    is_key,
    read_bytes,
    readable,
)
from liftos_migration.domain.states import MigrationState
from liftos_migration.domain.targets import ARTIFACT_KINDS
from liftos_migration.domain.verification import EntityResult
from liftos_migration.usecases.accounting import TableComparison
from liftos_migration.usecases.steps import StepContext, StepFailedError
from liftos_migration.verification_ports import Collection, CoreDigests, KeySource

_LOOKS: Final = 3
_AT_ONCE: Final = 16
_KINDS: Final = {
    KeyClass.CONFIGURATION: ARTIFACT_KINDS.index("CONFIGURATION") + 1,
    KeyClass.STATE: ARTIFACT_KINDS.index("MODULE_MEMORY") + 1,
}
_TITLE_CHARACTERS: Final = 200


OpenKeys = Callable[[str, SourceStore], AbstractAsyncContextManager[KeySource]]
"""Opens the Redis of an org's source."""


class KeyRecords:
    """Copies and compares keys.

    Args:
        open_keys: Opens a source's Redis.
        digests: Reads what a migration wrote to Core, by org and migration.
    """

    def __init__(self, open_keys: OpenKeys, digests: Callable[[str, str], CoreDigests]) -> None:
        self._open = open_keys
        self._digests = digests

    async def copy(self, context: StepContext) -> int:
        """Write all keys that are not on Core like that; return how many there are.

        Raises:
            StepFailedError: Core does not take one.
            StoreUnavailableError: A store does not answer.
        """
        count = 0
        for compared in await self._each(context, looks=1):
            count += compared.result.source_count
        return count

    async def compare(self, context: StepContext) -> Sequence[TableComparison]:
        """Compare keys, one result for each prefix; what differs is written and looked at again.

        Raises:
            StepFailedError, StoreUnavailableError: See `copy`.
        """
        return await self._each(context, looks=_LOOKS)

    async def _each(self, context: StepContext, *, looks: int) -> Sequence[TableComparison]:
        chosen = [each for each in context.mapping.keys if each.key_class in _KINDS]
        if not chosen or not context.spec.source.redis_reference:
            return []
        others = [each.prefix for each in context.mapping.keys]
        core = self._digests(context.org, context.migration)
        async with self._open(context.org, context.spec.source) as source:
            return [
                await self._prefix(context, (source, core), mapping, others, looks=looks)
                for mapping in chosen
            ]

    async def _prefix(
        self,
        context: StepContext,
        sides: tuple[KeySource, CoreDigests],
        mapping: KeyMapping,
        others: Sequence[str],
        *,
        looks: int,
    ) -> TableComparison:
        source, core = sides
        before = await source.losses()
        for look in range(looks):
            seen = await _look(source, core, mapping, others)
            if looks == 1 or look < looks - 1:
                await _write(context, mapping, seen)
            if not seen.differences:
                break
        lost = await source.losses() != before
        return TableComparison(_result(mapping, seen, lost=lost), tuple(seen.differences))


@dataclass(slots=True)
class _Seen:
    """Both sides of a prefix.

    Attributes:
        source: Keys of the source by name.
        target: Keys on Core.
        unreadable: Keys that cannot be copied, with the reason.
        differences: How they differ.
        equal: How many are equal.
    """

    source: dict[bytes, KeyValue] = field(default_factory=dict)
    target: dict[bytes, KeyValue] = field(default_factory=dict)
    unreadable: dict[bytes, str] = field(default_factory=dict)
    differences: Sequence[Difference] = ()
    equal: int = 0


async def _look(
    source: KeySource, core: CoreDigests, mapping: KeyMapping, others: Sequence[str]
) -> _Seen:
    seen = _Seen()
    async for each in source.read(mapping.prefix, others):
        if isinstance(each, KeyValue):
            seen.source[each.key] = each
        else:
            seen.unreadable[each.key] = str(each)
    held = await core.record_hashes(Collection.ARTIFACTS, mapping.scope)
    equal = {
        artifact_id(key): value
        for key, value in seen.source.items()
        if held.get(artifact_id(key)) == _artifact(mapping, value).hash()
    }
    seen.target = {value.key: value for value in equal.values()}
    others_held = [each for each in held if is_key(each) and each not in equal]
    for start in range(0, len(others_held), _AT_ONCE):
        some = others_held[start : start + _AT_ONCE]
        for record in await asyncio.gather(
            *(core.record(Collection.ARTIFACTS, each) for each in some)
        ):
            body = record.fields.get("body") if record is not None else None
            if record is None or not isinstance(body, Mapping):
                continue
            if body.get("prefix") == mapping.prefix:
                key = read_bytes(body["key"])
                seen.target[key] = _kept(key, body, record.content)
    seen.differences, seen.equal = compare_keys(
        mapping.prefix,
        seen.source.values(),
        seen.target.values(),
        now=await source.now(),
        name_of={key: f"artifacts/{artifact_id(key)}" for key in seen.target},
    )
    return seen


def _kept(key: bytes, body: Mapping[str, object], content: bytes) -> KeyValue:
    expires = body.get("expire_time")
    return KeyValue(
        key,
        str(body["type"]),
        content,
        None if expires is None else datetime.fromisoformat(str(expires)),
    )


async def _write(context: StepContext, mapping: KeyMapping, seen: _Seen) -> None:
    """Write keys that differ, and delete those that are gone."""
    stale = [each for key, each in seen.source.items() if not _same(each, seen.target.get(key))]
    refused = await context.core.write_records([_artifact(mapping, each) for each in stale])
    if refused:
        told = refused[0].errors[0].message
        raise StepFailedError(
            "KEY_REFUSED",
            f"Core does not take the key {stale[refused[0].place].key.decode(errors='replace')}:"
            f" {told}.",
            "Delete it, or map its prefix as a derived cache, and resume.",
        )
    gone = [artifact_id(key) for key in seen.target if key not in seen.source]
    if gone:
        await context.core.delete_records(Target.ARTIFACTS, gone)


def _same(one: KeyValue, other: KeyValue | None) -> bool:
    return other is not None and (one.type, one.content, one.expire_time) == (
        other.type,
        other.content,
        other.expire_time,
    )


def _artifact(mapping: KeyMapping, value: KeyValue) -> ArtifactRecord:
    body: dict[str, object] = {
        "key": readable(value.key),
        "prefix": mapping.prefix,
        "type": value.type,
        "sha256": value.sha256,
    }
    if value.expire_time is not None:
        body["expire_time"] = value.expire_time.isoformat()
    return ArtifactRecord(
        id=artifact_id(value.key),
        scope=mapping.scope,
        kind=_KINDS[mapping.key_class],
        display_name=value.key.decode(errors="replace")[:_TITLE_CHARACTERS],
        body=body,
        content=value.content,
        content_type="application/json",
    )


def _result(mapping: KeyMapping, seen: _Seen, *, lost: bool) -> EntityResult:
    kinds = [each.kind.name for each in seen.differences]
    missing, different = kinds.count("MISSING"), kinds.count("DIFFERENT")
    # What expires while it is looked at need not be on the other side.
    over = len(seen.source) - seen.equal - missing - different
    return EntityResult(
        mapping.prefix,
        source_count=len(seen.source) + len(seen.unreadable),
        matched_count=seen.equal + over,
        missing_count=missing,
        different_count=different,
        rejected_count=len(seen.unreadable),
        extra_count=kinds.count("EXTRA"),
        unverified=(
            "The Redis was restarted or evicted keys while they were compared: keys are gone that"
            " nobody deleted. Verify again."
            if lost
            else ""
        ),
    )


class CopyKeys:
    """Copies keys; see `liftos_migration.usecases.steps.StepWork`.

    Args:
        records: Copies them.
    """

    title = "copy Redis keys"
    phase = MigrationState.COPYING

    def __init__(self, records: KeyRecords) -> None:
        self._records = records

    async def do(self, context: StepContext) -> JsonObject:
        """Copy what is not on Core yet."""
        await context.core.fence()
        return {"keys": await self._records.copy(context)}

    async def verify(self, context: StepContext) -> None:
        """Nothing more: keys are compared with tables, once changes are caught up."""

    async def undo(self, context: StepContext) -> None:
        """Nothing: what was written is deleted with what was copied."""

"""Artifacts, notes and exchange rates compared: by the hash that each of them has on both sides."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from liftos_migration.domain.changes import Key
from liftos_migration.domain.differences import DifferenceKind, Value
from liftos_migration.domain.mapping import Target
from liftos_migration.domain.projection import Projection
from liftos_migration.domain.records import (
    RecordInvalidError,
    artifact_of,
    note_of,
    rate_of,
)
from liftos_migration.domain.redis_keys import is_key
from liftos_migration.usecases.table_artifacts import is_carried
from liftos_migration.verification_ports import Collection, CoreDigests, SnapshotReader

COLLECTIONS: Final = {Target.ARTIFACTS: Collection.ARTIFACTS, Target.NOTES: Collection.NOTES}


@dataclass(frozen=True, slots=True)
class DifferingRecord:
    """A record that is not equal on both sides.

    Attributes:
        record_id: Its id; that of a rate is its currency and day.
        kind: How it differs.
        key: Of the row that gives it; empty where none does.
        is_claimed_twice: Whether several rows give it.
        refusal: Why Core would not take it; empty where it would.
    """

    record_id: str
    kind: DifferenceKind
    key: Key = ()
    is_claimed_twice: bool = False
    refusal: str = ""


@dataclass(slots=True)
class RecordComparison:
    """How the records of one table compare.

    Attributes:
        hashes: Of all records that the source gives, by id.
        differing: Those that differ; extra ones are added by `with_extra`.
        record_count: Records that the source gives.
    """

    hashes: dict[str, bytes] = field(default_factory=dict)
    differing: list[DifferingRecord] = field(default_factory=list)
    record_count: int = 0


async def compare_records(
    projection: Projection, source: SnapshotReader, core: CoreDigests
) -> RecordComparison:
    """Compare the artifacts or notes of a table.

    Raises:
        NotComparableError: The source cannot evaluate the projection.
        StoreUnavailableError: A store does not answer.
    """
    theirs = await core.record_hashes(COLLECTIONS[projection.target], projection.scope)
    make = artifact_of if projection.target is Target.ARTIFACTS else note_of
    compared = RecordComparison()
    async for record in source.records(projection):
        compared.record_count += 1
        try:
            ours = make(record.fields, projection.scope)
        except RecordInvalidError as error:
            compared.differing.append(
                DifferingRecord(
                    str(record.fields.get("id", "")),
                    DifferenceKind.MISSING,
                    record.key,
                    refusal=str(error),
                )
            )
            continue
        _compare(compared, ours.id, ours.hash(), theirs.get(ours.id), record.key)
    return compared


async def compare_rates(
    projection: Projection, source: SnapshotReader, core: CoreDigests
) -> RecordComparison:
    """Compare exchange rates by value. Core may have more of them, of others; they are not told.

    Raises:
        NotComparableError, StoreUnavailableError: See `compare_records`.
    """
    theirs = await core.exchange_rates()
    compared = RecordComparison()
    async for record in source.records(projection):
        compared.record_count += 1
        try:
            ours = rate_of(record.fields)
        except RecordInvalidError as error:
            compared.differing.append(
                DifferingRecord("", DifferenceKind.MISSING, record.key, refusal=str(error))
            )
            continue
        day = ours.date.isoformat()
        held = theirs.get((ours.currency_code, day))
        _compare(
            compared,
            f"{ours.currency_code} {day}",
            str(Decimal(ours.rate).normalize()).encode(),
            None if held is None else str(Decimal(held).normalize()).encode(),
            record.key,
        )
    return compared


def _compare(
    compared: RecordComparison, record_id: str, ours: bytes, theirs: bytes | None, key: Key
) -> None:
    twice = record_id in compared.hashes
    compared.hashes[record_id] = ours
    if theirs is None or twice:
        compared.differing.append(
            DifferingRecord(record_id, DifferenceKind.MISSING, key, is_claimed_twice=twice)
        )
    elif ours != theirs:
        compared.differing.append(DifferingRecord(record_id, DifferenceKind.DIFFERENT, key))


async def extra_records(
    core: CoreDigests, collection: Collection, given: Iterable[str]
) -> Mapping[str, str]:
    """Return the scopes of records that the migration wrote and that no table gives, by id.

    Tables that were carried whole, and Redis keys, are none of them: they are compared apart.

    Args:
        core: What is on Core.
        collection: Artifacts or notes.
        given: Ids that tables and Redis keys give.
    """
    known = frozenset(given)
    held = await core.record_scopes(collection)
    return {
        record_id: scope
        for record_id, scope in held.items()
        if record_id not in known and not is_carried(record_id) and not is_key(record_id)
    }


def comparable_fields(fields: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return the fields of a projected record as `CoreRecord` has them; members one by one."""
    told: dict[str, Value] = {}
    for name, value in fields.items():
        if value is None or value in ("", b"", []):
            continue
        if name in ("body", "attributes") and isinstance(value, str):
            told |= members(name, json.loads(value, parse_int=float))
        elif name == "content":
            told["content"] = value
        elif name not in ("id", "content_type"):
            told[name] = value if isinstance(value, str | bytes) else _plain(value)
    return told


def members(name: str, body: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return the members of a body as fields of their own."""
    return {f"{name}.{member}": value for member, value in body.items()}


def _plain(value: Value) -> Value:
    return list(value) if isinstance(value, Sequence) else str(value)

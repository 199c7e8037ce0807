"""Verifications in Postgres; see `liftos_migration.verification_run_ports`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final
from uuid import UUID

import asyncpg

from liftos_kit import postgres
from liftos_kit.core.errors import NotFoundError
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.postgres_pages import Listing, Order, Row, read_page, word_of
from liftos_kit.postgres_requests import begin, once
from liftos_migration.adapters.postgres.database import held
from liftos_migration.domain.checks import Check, CheckKind
from liftos_migration.domain.differences import Difference, DifferenceKind, FieldDifference
from liftos_migration.domain.ledger import storable
from liftos_migration.domain.names import VERIFICATION_NAME, migration_name
from liftos_migration.domain.verification import (
    EntityResult,
    Tier,
    VerificationState,
    worst,
    worst_first,
)
from liftos_migration.ledger_ports import Lease
from liftos_migration.verification_run_ports import NewVerification, Outcome, StoredVerification

_SQL: Final = postgres.load_queries("liftos_migration", "sql/verifications.sql")
_AT_ONCE: Final = 5_000
_ENTITY_COUNTS: Final = (
    *("source_count", "matched_count", "missing_count", "extra_count", "different_count"),
    *("rejected_count", "waived_count", "merged_count", "unverified"),
)
_VERIFICATIONS: Final = Listing(
    name="list_verifications",
    select="select * from verifications v where v.org = $1 and v.migration = $2",
    order=(Order("create_time", "timestamptz", descends=True), Order("verification", "uuid")),
    fields={},
)
_DIFFERENCES: Final = Listing(
    name="list_differences",
    select=f"""
select d.*, {word_of([kind.name for kind in DifferenceKind], "d.kind")} as kind_word
from differences d
where d.org = $1 and d.migration = $2 and d.verification = $3""",  # noqa: S608 - words are ours
    order=(Order("table_name", "text"), Order("key", "text")),
    fields={"table": "table_name", "kind": "kind_word", "cause": "cause"},
)


class PostgresVerifications:
    """Verifications of migrations."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def ask(
        self,
        org: str,
        migration: str,
        asked: NewVerification,
        repeatable: Repeatable[StoredVerification] | None,
    ) -> StoredVerification:
        """Keep that a verification is asked for."""

        async def kept(connection: asyncpg.Connection) -> StoredVerification:
            try:
                return await _ask(connection, org, migration, asked)
            except asyncpg.ForeignKeyViolationError:
                raise NotFoundError(migration_name(org, migration)) from None

        return await once(begin(self._pool, org), repeatable, kept)

    async def get(self, org: str, migration: str, verification: UUID) -> StoredVerification:
        """Return a verification."""
        async with postgres.transaction(
            self._pool, org=org, read_only=True, isolation="repeatable read"
        ) as connection:
            return await _get(connection, org, migration, verification)

    async def list_page(
        self, org: str, migration: str, *, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[StoredVerification], JsonValue]:
        """Return verifications, newest first."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            rows, following = await read_page(
                connection, _VERIFICATIONS, [org, migration], where=None, cursor=cursor, limit=limit
            )
        return [_stored({**row, "checks": []}, ()) for row in rows], following

    async def list_differences(
        self,
        org: str,
        migration: str,
        verification: UUID,
        *,
        where: Filter | None,
        cursor: JsonValue,
        limit: int,
    ) -> tuple[Sequence[Difference], JsonValue]:
        """Return records that differ."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            rows, following = await read_page(
                connection,
                _DIFFERENCES,
                [org, migration, verification],
                where=where,
                cursor=cursor,
                limit=limit,
            )
        return [_difference(row) for row in rows], following

    async def count_differences(
        self, org: str, migration: str, verification: UUID, tables: Sequence[str]
    ) -> int:
        """Return how many records differ."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            await _get(connection, org, migration, verification)
            count: int = await _SQL.count_differences(
                connection,
                org=org,
                migration=migration,
                verification=verification,
                tables=list(tables),
            )
        return count

    async def ask_of_step(self, lease: Lease, asked: NewVerification) -> StoredVerification:
        """Keep that a step asks for a verification."""
        async with held(self._pool, lease) as connection:
            return await _ask(connection, lease.org, lease.migration, asked)

    async def next_asked(self, lease: Lease) -> StoredVerification | None:
        """Return the oldest that has not ended."""
        async with held(self._pool, lease) as connection:
            row = await _SQL.next_verification(connection, **_keys(lease))
        return None if row is None else _stored(row, ())

    async def begun(self, lease: Lease, verification: UUID) -> None:
        """Keep that it begins."""
        async with held(self._pool, lease) as connection:
            await _SQL.begin_verification(
                connection, **_keys(lease), verification=verification, epoch=lease.epoch
            )

    async def ended(self, lease: Lease, verification: UUID, outcome: Outcome) -> StoredVerification:
        """Keep what it came to."""
        accuracy, completeness = worst(outcome.entities)
        keys = {**_keys(lease), "verification": verification}
        async with held(self._pool, lease) as connection:
            await _SQL.end_verification(
                connection,
                **keys,
                state=outcome.state,
                checks=storable([_check_columns(check) for check in outcome.checks]),
                accuracy=accuracy,
                completeness=completeness,
                source_position=outcome.source_position,
                write_token=outcome.write_token,
                error=storable(outcome.error),
            )
            await _SQL.insert_entities(
                connection, **keys, entities=[_entity_columns(each) for each in outcome.entities]
            )
            for start in range(0, len(outcome.differences), _AT_ONCE):
                some = outcome.differences[start : start + _AT_ONCE]
                await _SQL.insert_differences(
                    connection, **keys, differences=[_difference_columns(each) for each in some]
                )
            return await _get(connection, lease.org, lease.migration, verification)

    async def cancel_all(self, lease: Lease) -> None:
        """End all that have not ended."""
        async with held(self._pool, lease) as connection:
            await _SQL.cancel_verifications(connection, **_keys(lease))


def _keys(lease: Lease) -> dict[str, str]:
    return {"org": lease.org, "migration": lease.migration}


async def _ask(
    connection: asyncpg.Connection, org: str, migration: str, asked: NewVerification
) -> StoredVerification:
    verification = await _SQL.ask_verification(
        connection,
        org=org,
        migration=migration,
        tier=asked.tier,
        incremental=asked.incremental,
        tables=list(asked.tables),
        check_kinds=[int(kind) for kind in asked.check_kinds],
        repair=asked.repair,
        subject=asked.subject,
    )
    # Workers look at once.
    await connection.execute("select pg_notify('liftos_migration', $1)", f"{org}/{migration}")
    return await _get(connection, org, migration, verification)


async def _get(
    connection: asyncpg.Connection, org: str, migration: str, verification: UUID
) -> StoredVerification:
    keys = {"org": org, "migration": migration, "verification": verification}
    row = await _SQL.get_verification(connection, **keys)
    if row is None:
        raise NotFoundError(
            VERIFICATION_NAME.format(org=org, migration=migration, verification=verification.hex)
        )
    entities = [_entity(each) async for each in _SQL.list_entities(connection, **keys)]
    return _stored(row, worst_first(entities))


def _stored(row: Mapping[str, Any], entities: tuple[EntityResult, ...]) -> StoredVerification:
    return StoredVerification(
        verification=row["verification"],
        asked=NewVerification(
            tier=Tier(row["tier"]),
            incremental=row["incremental"],
            tables=tuple(row["tables"]),
            check_kinds=tuple(CheckKind(kind) for kind in row["check_kinds"]),
            repair=row["repair"],
            subject=row["subject"],
        ),
        state=VerificationState(row["state"]),
        entities=entities,
        checks=tuple(
            Check(**{**check, "kind": CheckKind(check["kind"])}) for check in row["checks"]
        ),
        accuracy=row["accuracy"],
        completeness=row["completeness"],
        source_position=row["source_position"],
        write_token=row["write_token"],
        error=row["error"],
        start_time=row["start_time"],
        end_time=row["end_time"],
    )


def _check_columns(check: Check) -> dict[str, object]:
    return {**asdict(check), "kind": int(check.kind)}


def _entity_columns(entity: EntityResult) -> dict[str, object]:
    return {
        "table_name": entity.table,
        **{name: getattr(entity, name) for name in _ENTITY_COUNTS},
        "source_root": entity.source_root.hex(),
        "target_root": entity.target_root.hex(),
    }


def _entity(row: Row) -> EntityResult:
    return EntityResult(
        row["table_name"],
        **{name: row[name] for name in _ENTITY_COUNTS},
        source_root=row["source_root"],
        target_root=row["target_root"],
    )


def _difference_columns(difference: Difference) -> dict[str, object]:
    columns: dict[str, object] = storable(
        {
            "table_name": difference.table,
            "key": difference.key,
            "kind": int(difference.kind),
            "target_record": difference.target_record,
            "fields": [asdict(field) for field in difference.fields],
            "cause": difference.cause,
        }
    )
    return columns


def _difference(row: Row) -> Difference:
    return Difference(
        row["table_name"],
        row["key"],
        DifferenceKind(row["kind"]),
        row["target_record"],
        tuple(FieldDifference(**field) for field in row["fields"]),
        row["cause"],
    )

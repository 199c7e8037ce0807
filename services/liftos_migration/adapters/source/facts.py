"""What a Postgres says of itself, for preflight."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import asyncpg

from liftos_kit import postgres
from liftos_migration.domain.preflight import SourceFacts

_SQL: Final = postgres.load_queries("liftos_migration", "sql/source.sql")


async def read_facts(connection: asyncpg.Connection, tables: Sequence[str]) -> SourceFacts:
    """Return what can be found out.

    Args:
        connection: To the source.
        tables: Names as SQL writes them.

    Raises:
        StoreUnavailableError: The source does not answer.
    """
    with postgres.translate_errors():
        row = await _SQL.source_facts(connection)
        privileges = [each async for each in _SQL.table_privileges(connection, tables=list(tables))]
        asked = datetime.now(UTC)
        told = await connection.fetchval("select clock_timestamp()")
        answered = datetime.now(UTC)
        pooled = await _is_pooled(connection)
    return SourceFacts(
        server_version=row["server_version"],
        role=row["role"],
        database=row["database"],
        encoding=row["encoding"],
        wal_level=row["wal_level"],
        can_replicate=row["can_replicate"],
        can_create_schema=row["can_create_schema"],
        slots_free=row["slots_free"],
        senders_free=row["senders_free"],
        selectable={each["object"]: each["selectable"] for each in privileges},
        triggerable={each["object"]: each["triggerable"] for each in privileges},
        writable={each["object"]: each["writable"] for each in privileges},
        owners={each["object"]: each["owner"] for each in privileges},
        owned={each["object"]: each["owned"] for each in privileges},
        identities={each["object"]: each["identity"] for each in privileges},
        oldest_transaction_seconds=row["oldest_transaction_seconds"],
        prepared_transactions=row["prepared_transactions"],
        large_objects=row["large_objects"],
        # Asked in the middle of the answer's way, as far as one can tell.
        clock_offset_seconds=(told - asked - (answered - asked) / 2).total_seconds(),
        is_standby=row["is_standby"],
        session_is_pooled=pooled,
    )


async def _is_pooled(connection: asyncpg.Connection) -> bool:
    """Tell whether a pooler gives each transaction a session of its own, which forgets."""
    word = uuid4().hex
    await connection.execute(f"set application_name = 'liftos-{word}'")
    first = await connection.fetchval("select pg_backend_pid()")
    told = await connection.fetchval("select current_setting('application_name')")
    return first != await connection.fetchval("select pg_backend_pid()") or word not in told

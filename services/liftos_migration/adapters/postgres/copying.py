"""What was copied and refused; see `liftos_migration.copy_ports.CopyLedger`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, Final

import asyncpg

from liftos_kit import postgres
from liftos_migration.adapters.postgres.database import held
from liftos_migration.capture_ports import SourceIdentity
from liftos_migration.copy_ports import Chunk, KeptCapture, Part
from liftos_migration.domain.changes import Key
from liftos_migration.domain.differences import key_text, read_key
from liftos_migration.domain.ledger import storable
from liftos_migration.domain.preflight import CaptureMode
from liftos_migration.domain.rejects import Reject
from liftos_migration.domain.tables import Refusals
from liftos_migration.ledger_ports import Lease

_SQL: Final = postgres.load_queries("liftos_migration", "sql/copying.sql")
_OPEN: Final = 1
_WAIVED: Final = 3


class PostgresCopyLedger:
    """Keeps it beside the ledger; every write proves the lease."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def parts(self, lease: Lease, table: str) -> Sequence[Part]:
        """Return the parts of a table."""
        async with held(self._pool, lease) as connection:
            return [
                _part(row) async for row in _SQL.list_parts(connection, **_keys(lease), table=table)
            ]

    async def cut(self, lease: Lease, table: str, bounds: Sequence[Key], *, row_count: int) -> None:
        """Cut a table into parts."""
        ends = [None, *bounds, None]
        async with held(self._pool, lease) as connection:
            if not await _SQL.cut_table(connection, **_keys(lease), table=table, rows=row_count):
                return
            for number, (after, up_to) in enumerate(pairwise(ends), 1):
                await _SQL.insert_part(
                    connection, **_keys(lease), table=table, part=number, after=after, up_to=up_to
                )

    async def copied(
        self,
        lease: Lease,
        part: Part,
        chunk: Chunk,
        rejects: Sequence[Reject],
        key_columns: Sequence[str],
    ) -> None:
        """Keep a chunk with its rejects."""
        values = {
            **_keys(lease),
            "table": part.table,
            "part": part.number,
            "chunk": chunk.number,
            "last": list(chunk.last),
            "rows": chunk.row_count,
        }
        async with held(self._pool, lease) as connection:
            if await _SQL.insert_chunk(connection, **values, sha256=chunk.sha256):
                await _SQL.advance_part(connection, **values)
                await _keep(connection, lease, part.table, rejects, key_columns, phase="copy")

    async def finished(self, lease: Lease, part: Part) -> None:
        """Keep that all of a part is copied."""
        async with held(self._pool, lease) as connection:
            await _SQL.finish_part(connection, **_keys(lease), table=part.table, part=part.number)

    async def judged(
        self,
        lease: Lease,
        table: str,
        keys: Sequence[Key],
        rejects: Sequence[Reject],
        key_columns: Sequence[str],
    ) -> int:
        """Keep what became of records that were read again."""
        refused = {each.key for each in rejects}
        async with held(self._pool, lease) as connection:
            await _SQL.resolve_rejects(
                connection,
                **_keys(lease),
                table=table,
                keys=[_text(key, key_columns) for key in keys if key not in refused],
            )
            await _keep(connection, lease, table, rejects, key_columns, phase="apply")
            count: int = await _SQL.count_open_rejects_of(connection, **_keys(lease), table=table)
            return count

    async def open_rejects(self, lease: Lease) -> int:
        """Return how many rejects wait for a person."""
        async with held(self._pool, lease) as connection:
            count: int = await _SQL.count_open_rejects(connection, **_keys(lease))
            return count

    async def refusals(self, org: str, migration: str) -> Mapping[str, Refusals]:
        """Return the keys of records that were refused; see `RefusalReader`."""
        found: dict[str, dict[int, set[Key]]] = {}
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            async for row in _SQL.list_refusals(connection, org=org, migration=migration):
                key: Any = tuple(
                    None if value is None else str(value) for value in read_key(row["key"]).values()
                )
                found.setdefault(row["table_name"], {}).setdefault(row["state"], set()).add(key)
        return {
            table: Refusals(frozenset(states.get(_OPEN, ())), frozenset(states.get(_WAIVED, ())))
            for table, states in found.items()
        }

    async def capture_modes(self, lease: Lease) -> Sequence[CaptureMode]:
        """Return the modes that the newest preflight found."""
        async with held(self._pool, lease) as connection:
            modes = await _SQL.newest_capture_modes(connection, **_keys(lease))
            return [CaptureMode(mode) for mode in modes or ()]

    async def keep_capture(self, lease: Lease, capture: KeptCapture) -> None:
        """Keep how changes are seen."""
        identity = {
            "identity": asdict(capture.identity),
            "schema": {table: list(parts) for table, parts in capture.schema.items()},
            "generation": capture.generation,
        }
        async with held(self._pool, lease) as connection:
            await _SQL.keep_capture(
                connection, **_keys(lease), mode=capture.mode.value, identity=identity
            )

    async def capture(self, lease: Lease) -> KeptCapture | None:
        """Return how changes are seen."""
        async with held(self._pool, lease) as connection:
            row = await _SQL.get_capture(connection, **_keys(lease))
        if row is None:
            return None
        kept = row["identity"]
        return KeptCapture(
            CaptureMode(row["mode"]),
            SourceIdentity(**kept["identity"]),
            kept["schema"],
            kept["generation"],
            row["round_count"],
        )

    async def caught_up(self, lease: Lease, *, snapshot: str, applied: int) -> None:
        """Keep that Core has all that a snapshot sees."""
        async with held(self._pool, lease) as connection:
            await _SQL.caught_up(connection, **_keys(lease), snapshot=snapshot, applied=applied)


def _keys(lease: Lease) -> Mapping[str, str]:
    return {"org": lease.org, "migration": lease.migration}


def _part(row: asyncpg.Record) -> Part:
    return Part(
        table=row["table_name"],
        number=row["part"],
        after=_key(row["after_key"]),
        up_to=_key(row["up_to_key"]),
        last=_key(row["last_key"]),
        chunk_count=row["chunk_count"],
        row_count=row["row_count"],
        is_done=row["done"],
    )


def _key(key: Sequence[str] | None) -> Key | None:
    return None if key is None else tuple(key)


def _text(key: Key, columns: Sequence[str]) -> str:
    return key_text(dict(zip(columns, key, strict=True)))


async def _keep(
    connection: asyncpg.Connection,
    lease: Lease,
    table: str,
    rejects: Sequence[Reject],
    key_columns: Sequence[str],
    *,
    phase: str,
) -> None:
    if not rejects:
        return
    # Lists within the list would be taken for one array of two dimensions.
    errors: list[Any] = [
        {"errors": [{"rule": e.rule, "message": e.message, "field": e.field} for e in each.errors]}
        for each in rejects
    ]
    await _SQL.keep_rejects(
        connection,
        **_keys(lease),
        table=table,
        phase=phase,
        keys=[_text(each.key, key_columns) for each in rejects],
        rows=[storable(each.row) for each in rejects],
        errors=[storable(each) for each in errors],
    )

"""Reconciliations in Postgres; see `liftos_ingestion.reconciliation_ports`."""

from collections.abc import Sequence
from datetime import date
from typing import Final
from uuid import UUID

import asyncpg

from liftos_ingestion.adapters.postgres.database import (
    basis_code,
    basis_word,
    level_code,
    level_word,
)
from liftos_ingestion.domain.reconciliation import Comparison, DaySums, ReadDay
from liftos_ingestion.reconciliation_ports import ReadDays, ReadLane
from liftos_ingestion.run_ports import Lane
from liftos_kit import postgres

_SQL: Final = postgres.load_queries("liftos_ingestion", "sql/reconciliations.sql")


class PostgresReconciliationStore:
    """What platforms said, and what comparisons found."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def read_lanes(self, org: str, run: UUID) -> Sequence[tuple[ReadLane, ReadDays]]:
        """Return the lanes that a run has committed slices of."""
        days: dict[Lane, dict[date, ReadDay]] = {}
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            async for row in _SQL.read_days(connection, org=org, run=run):
                lane = Lane(
                    org,
                    row["platform"],
                    row["account_id"],
                    level_word(row["level"]),
                    row["attribution_key"],
                    basis_word(row["date_basis"]),
                )
                day = ReadDay(tuple(row["metrics_before"]), row["refused_count"])
                days.setdefault(lane, {})[row["date"]] = day
        return [(ReadLane(lane, min(of), max(of)), of) for lane, of in days.items()]

    async def answered(self, read: ReadLane) -> DaySums:
        """Return what the platform last said of a lane."""
        lane = read.lane
        sums: dict[date, dict[str, int]] = {}
        async with postgres.transaction(self._pool, org=lane.org, read_only=True) as connection:
            async for row in _SQL.answered(
                connection,
                org=lane.org,
                platform=lane.platform,
                account_id=lane.account_id,
                level=level_code(lane.level),
                attribution_key=lane.attribution_key,
                date_basis=basis_code(lane.date_basis),
                start_date=read.start_date,
                end_date=read.end_date,
            ):
                sums.setdefault(row["date"], {})[row["metric"]] = int(row["value"])
        return sums

    async def store(self, run: UUID, lane: Lane, comparisons: Sequence[Comparison]) -> None:
        """Keep what was found of a lane."""
        keys = {
            "org": lane.org,
            "run": run,
            "account_id": lane.account_id,
            "level": level_code(lane.level),
            "date_basis": basis_code(lane.date_basis),
        }
        async with postgres.transaction(self._pool, org=lane.org) as connection:
            await _SQL.forget_found(connection, **keys)
            await _SQL.store_found(
                connection,
                **keys,
                platform=lane.platform,
                dates=[it.day for it in comparisons],
                metrics=[it.metric for it in comparisons],
                stored_values=[it.stored for it in comparisons],
                platform_values=[it.platform for it in comparisons],
                states=[it.state for it in comparisons],
                details=[it.detail for it in comparisons],
            )

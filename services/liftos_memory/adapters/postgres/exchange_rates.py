"""Exchange rates in Postgres."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from liftos_kit import postgres
from liftos_memory.adapters.postgres.database import Database
from liftos_memory.adapters.postgres.writes import affected, begin
from liftos_memory.domain.exchange_rates import ExchangeRate
from liftos_memory.metrics_ports import RateKey
from liftos_memory.ports import UpsertCounts, WriteContext

_SQL: Final = postgres.load_queries("liftos_memory", "sql/rates.sql")
_BEFORE_ALL: Final = RateKey("", date.min)


class PostgresRateStore:
    """See `liftos_memory.metrics_ports.RateStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def upsert(
        self, org: str, rates: Sequence[ExchangeRate], context: WriteContext
    ) -> tuple[UpsertCounts, int]:
        """Write rates as one commit."""
        async with begin(self._database, org, context) as write:
            tag: str = await _SQL.upsert_rates(
                write.connection,
                org=org,
                currency_codes=[rate.currency_code for rate in rates],
                dates=[rate.date for rate in rates],
                rates=[rate.rate for rate in rates],
                sources=[rate.source for rate in rates],
            )
            upserted = affected(tag)
            version = await write.finish()
        return UpsertCounts(upserted, len(rates) - upserted), version

    async def list_page(
        self, org: str, *, currency_code: str, after: RateKey | None, limit: int
    ) -> Sequence[ExchangeRate]:
        """Return rates by currency and day."""
        after = after or _BEFORE_ALL
        async with self._database.read(org) as connection:
            return [
                ExchangeRate(**row)
                async for row in _SQL.list_rates(
                    connection,
                    org=org,
                    currency_code=currency_code,
                    after_currency_code=after.currency_code,
                    after_date=after.date,
                    limit=limit,
                )
            ]

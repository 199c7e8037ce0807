"""Sums of metrics, and the exchange rates that bring them to one currency."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from liftos_kit.core.paging import JsonValue
from liftos_memory.domain.exchange_rates import ExchangeRate, check_base_rates
from liftos_memory.domain.metrics_query import MetricsQuery
from liftos_memory.metrics_ports import MetricsRow, MetricsStore, RateKey, RateStore
from liftos_memory.org_ports import OrgStore
from liftos_memory.ports import UpsertCounts, WriteContext


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """Rows of a page, and where the next one begins; None at the end."""

    rows: Sequence[MetricsRow]
    cursor: JsonValue


@dataclass(frozen=True, slots=True)
class RatePage:
    """Rates of a page, and where the next one begins; None at the end."""

    rates: Sequence[ExchangeRate]
    cursor: JsonValue


class Metrics:
    """Sums metrics through the store."""

    def __init__(self, store: MetricsStore) -> None:
        self._store = store

    async def page(
        self, org: str, query: MetricsQuery, *, cursor: JsonValue, limit: int
    ) -> MetricsPage:
        """Return a page of rows; `cursor` is that of the page before.

        Raises:
            RateMissingError: Money cannot be converted.
            InvalidFieldsError: A sum does not fit into 64 bits.
        """
        after = None if cursor is None else _read_cursor(cursor)
        rows = await self._store.page(org, query, after=after, limit=limit + 1)
        if len(rows) <= limit:
            return MetricsPage(rows, None)
        day, *key = list(rows[limit - 1])[: len(query.key_columns)]
        return MetricsPage(rows[:limit], [day.isoformat(), *key])

    def stream(self, org: str, query: MetricsQuery) -> AsyncGenerator[pa.RecordBatch, None]:
        """Yield all rows as batches; see the store."""
        return self._store.stream(org, query)


def _read_cursor(cursor: JsonValue) -> list[Any]:
    assert isinstance(cursor, list), "signed, so it is one of ours"
    day, *key = cursor
    return [date.fromisoformat(day), *key]


class ExchangeRates:
    """Writes and lists exchange rates through the store."""

    def __init__(self, store: RateStore, orgs: OrgStore) -> None:
        self._store = store
        self._orgs = orgs

    async def upsert(
        self, org: str, rates: Sequence[ExchangeRate], context: WriteContext
    ) -> tuple[UpsertCounts, int]:
        """Write rates as one commit; return what it did and the org's version.

        Raises:
            InvalidFieldsError: A rate of the base currency is not 1.
        """
        settings = await self._orgs.settings(org)
        check_base_rates(rates, settings.base_currency_code)
        return await self._store.upsert(org, rates, context)

    async def list_page(
        self, org: str, *, currency_code: str, cursor: JsonValue, limit: int
    ) -> RatePage:
        """Return a page of rates; `cursor` is that of the page before."""
        after = None
        if cursor is not None:
            assert isinstance(cursor, list), "signed, so it is one of ours"
            code, day = cursor
            after = RateKey(code, date.fromisoformat(day))
        rates = await self._store.list_page(
            org, currency_code=currency_code, after=after, limit=limit + 1
        )
        if len(rates) <= limit:
            return RatePage(rates, None)
        last = rates[limit - 1]
        return RatePage(rates[:limit], [last.currency_code, last.date.isoformat()])

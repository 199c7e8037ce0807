"""What queries of metrics and exchange rates need from the outside."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import pyarrow as pa

from liftos_memory.domain.exchange_rates import ExchangeRate
from liftos_memory.domain.metrics_query import MetricsQuery
from liftos_memory.ports import UpsertCounts, WriteContext

MetricsRow = Sequence[Any]
"""One group at one step; its values stand in the order of `MetricsQuery.columns`.

Dimensions are text, but date_basis and day_of_week are numbers of the contract; metrics are
integers or None, ratios floats or None.
"""


@dataclass(frozen=True, slots=True)
class RateKey:
    """Place of a rate in the order of a list."""

    currency_code: str
    date: date


class MetricsStore(Protocol):
    """Sums over entries."""

    async def page(
        self, org: str, query: MetricsQuery, *, after: Sequence[Any] | None, limit: int
    ) -> Sequence[MetricsRow]:
        """Return rows by step, then group.

        Args:
            org: The org.
            query: What is asked.
            after: Values of `MetricsQuery.key_columns` of the row to go on after.
            limit: At most this many.

        Raises:
            RateMissingError: Money cannot be converted; names every rate that is missing.
            InvalidFieldsError: A sum does not fit into 64 bits.
        """

    def stream(self, org: str, query: MetricsQuery) -> AsyncGenerator[pa.RecordBatch, None]:
        """Yield all rows in the same order with the columns of `MetricsQuery.schema`.

        Holds a few hundred KiB at a time. Raises as `page` does; a sum that does not fit may come
        to light after the first batches.
        """


class RateStore(Protocol):
    """Exchange rates by currency and day."""

    async def upsert(
        self, org: str, rates: Sequence[ExchangeRate], context: WriteContext
    ) -> tuple[UpsertCounts, int]:
        """Write rates as one commit; return what it did and the org's version after it.

        Raises:
            FenceClosedError: Writes of the scope, or of the org, are closed.
            EpochFencedError: A writer with a higher epoch has taken over.
        """

    async def list_page(
        self, org: str, *, currency_code: str, after: RateKey | None, limit: int
    ) -> Sequence[ExchangeRate]:
        """Return rates by currency and day; an empty code is every currency."""

"""Sums of metrics and exchange rates on the wire."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import date
from typing import Final

import pyarrow as pa

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1 import source_pb2
from liftos_mapping.entry_fields import ADDITIVE_METRICS, DATE_BASES, LEVELS
from liftos_memory.domain.derived_metrics import DERIVED_METRIC_NAMES
from liftos_memory.domain.exchange_rates import ExchangeRate, WrittenRate
from liftos_memory.domain.metrics_query import Granularity, MetricsQuery, metrics_query
from liftos_memory.metrics_ports import MetricsRow

MAXIMUM_PIECE_BYTES: Final = 1024 * 1024
"""Most bytes of Arrow in one message of a stream."""

# A continuation marker and a length of zero, see the IPC streaming format of Apache Arrow.
_END_OF_STREAM: Final = b"\xff\xff\xff\xff\0\0\0\0"
_GRANULARITIES: Final = {
    pb.GRANULARITY_UNSPECIFIED: Granularity.TOTAL,
    pb.GRANULARITY_DAY: Granularity.DAY,
    pb.GRANULARITY_WEEK: Granularity.WEEK,
    pb.GRANULARITY_MONTH: Granularity.MONTH,
    pb.GRANULARITY_QUARTER: Granularity.QUARTER,
    pb.GRANULARITY_YEAR: Granularity.YEAR,
    pb.GRANULARITY_TOTAL: Granularity.TOTAL,
}


def query_of(request: pb.QueryMetricsRequest | pb.QueryMetricsArrowRequest) -> MetricsQuery:
    """Return the query of a request.

    Raises:
        InvalidFieldsError: Fields break rules.
        FilterError: The filter cannot be read.
    """
    return metrics_query(
        start_date=request.date_range.start_date,
        end_date=request.date_range.end_date,
        level=LEVELS[request.level - 1],
        granularity=_GRANULARITIES[request.granularity],
        group_by=request.group_by,
        filter_text=request.filter,
        minimum_quality_score=request.minimum_quality_score
        if request.HasField("minimum_quality_score")
        else None,
        currency_code=request.currency_code,
    )


def add_rows(
    response: pb.QueryMetricsResponse, rows: Sequence[MetricsRow], query: MetricsQuery
) -> None:
    """Append the messages of rows; only numbers that are set are touched."""
    metrics_begin = len(query.group_by) + 2
    ratios_begin = metrics_begin + len(ADDITIVE_METRICS)
    tail_begin = ratios_begin + len(DERIVED_METRIC_NAMES)
    days: dict[date, str] = {}
    for row in rows:
        values = tuple(row)
        day = values[0]
        if day not in days:
            days[day] = day.isoformat()
        count, score, final = values[tail_begin : tail_begin + 3]
        message = response.rows.add(
            period_start_date=days[day],
            entry_count=count,
            quality_score=score,
            final=final,
        )
        group = message.group
        for name, value in zip(query.group_by, values[1:], strict=False):
            group[name] = _dimension_text(name, value)
        metrics = message.metrics
        metrics.currency_code = values[metrics_begin - 1]
        for name, value in zip(ADDITIVE_METRICS, values[metrics_begin:ratios_begin], strict=True):
            if value is not None:
                setattr(metrics, name, value)
        ratios = message.derived_metrics
        for name, value in zip(DERIVED_METRIC_NAMES, values[ratios_begin:tail_begin], strict=True):
            if value is not None:
                setattr(ratios, name, value)


def _dimension_text(name: str, value: str | int) -> str:
    if isinstance(value, str):
        return value
    return DATE_BASES[value - 1] if name == "date_basis" else str(value)


async def arrow_pieces(
    batches: AsyncIterator[pa.RecordBatch], schema: pa.Schema
) -> AsyncIterator[tuple[bytes, int]]:
    """Yield one Arrow IPC stream in pieces of whole messages, each with its number of rows.

    The first piece is the schema, the last one the mark of the stream's end.
    """
    yield schema.serialize().to_pybytes(), 0
    async for batch in batches:
        for part in _fitting(batch):
            yield part.serialize().to_pybytes(), part.num_rows
    yield _END_OF_STREAM, 0


def _fitting(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    if batch.num_rows <= 1 or pa.ipc.get_record_batch_size(batch) <= MAXIMUM_PIECE_BYTES:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _fitting(batch.slice(0, half))
    yield from _fitting(batch.slice(half))


def rate_of(message: source_pb2.ExchangeRate) -> WrittenRate:
    """Return a rate as it was sent."""
    return WrittenRate(message.currency_code, message.date, message.rate, message.source)


def rate_message(rate: ExchangeRate) -> source_pb2.ExchangeRate:
    """Return the message of a rate, its decimal without trailing zeros."""
    return source_pb2.ExchangeRate(
        currency_code=rate.currency_code,
        date=rate.date.isoformat(),
        rate=f"{rate.rate.normalize():f}",
        source=rate.source,
    )

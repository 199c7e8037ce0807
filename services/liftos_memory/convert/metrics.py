"""Sums of metrics and exchange rates on the wire."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from liftos.memory.v1 import entry_pb2, source_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_mapping.entry_fields import ADDITIVE_METRICS, DATE_BASES, LEVELS
from liftos_memory.domain.derived_metrics import DERIVED_METRIC_NAMES
from liftos_memory.domain.exchange_rates import ExchangeRate, WrittenRate
from liftos_memory.domain.metrics_query import APART, Granularity, MetricsQuery, metrics_query
from liftos_memory.metrics_ports import MetricsRow

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
    """Append the messages of rows.

    A page has up to 5,000 rows of 40 columns, so values are taken by place, without copies, and
    columns that no row has set are left out from the start.
    """
    places = {name: place for place, name in enumerate(query.columns)}
    dimensions = [(name, places[name]) for name in query.group_by]
    basis, breakdown = (places[name] for name in APART)
    metrics = _columns_in_use(ADDITIVE_METRICS, places, rows)
    ratios = _columns_in_use(DERIVED_METRIC_NAMES, places, rows)
    currency, count, score, final = (
        places[name] for name in ("currency_code", "entry_count", "quality_score", "final")
    )
    days: dict[date, str] = {}
    for row in rows:
        day = row[0]
        if day not in days:
            days[day] = day.isoformat()
        message = response.rows.add()
        message.period_start_date = days[day]
        message.entry_count = row[count]
        message.quality_score = row[score]
        message.final = row[final]
        message.date_basis = _dimension_text("date_basis", row[basis])
        message.breakdown = row[breakdown]
        group = message.group
        for name, place in dimensions:
            group[name] = _dimension_text(name, row[place])
        message.metrics.currency_code = row[currency]
        _set_numbers(message.metrics, metrics, row)
        _set_numbers(message.derived_metrics, ratios, row)


def _columns_in_use(
    names: Sequence[str], places: Mapping[str, int], rows: Sequence[MetricsRow]
) -> list[tuple[str, int]]:
    return [
        (name, place)
        for name, place in ((name, places[name]) for name in names)
        if any(row[place] is not None for row in rows)
    ]


def _set_numbers(
    message: entry_pb2.Metrics | entry_pb2.DerivedMetrics,
    columns: Sequence[tuple[str, int]],
    row: MetricsRow,
) -> None:
    for name, place in columns:
        value = row[place]
        if value is not None:
            setattr(message, name, value)


def _dimension_text(name: str, value: str | int) -> str:
    if isinstance(value, str):
        return value
    return DATE_BASES[value - 1] if name == "date_basis" else str(value)


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

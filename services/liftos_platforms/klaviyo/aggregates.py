"""Metric aggregates over the truth: numbers dated by their event."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from liftos_platforms.klaviyo.bodies import AggregateRequest, Dimension, Measurement
from liftos_platforms.klaviyo.documents import ApiError, JsonObject
from liftos_platforms.klaviyo.filters import matches
from liftos_platforms.klaviyo.happenings import Happening, happenings
from liftos_platforms.klaviyo.library import Library
from liftos_platforms.klaviyo.metrics import definition_of
from liftos_platforms.klaviyo.timeframes import bucket_starts, buckets, touching

_MICROS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class AggregateRow:
    """One row of an aggregation: its dimensions, and its measurements by bucket."""

    dimensions: tuple[str, ...]
    count: tuple[int, ...]
    unique: tuple[int, ...]
    value_micros: tuple[int, ...]

    def totals(self, name: str) -> int:
        """Return a measurement over all buckets."""
        match Measurement(name):
            case Measurement.COUNT:
                return sum(self.count)
            case Measurement.UNIQUE:
                return sum(self.unique)
            case Measurement.SUM_VALUE:
                return sum(self.value_micros)


def aggregate_rows(request: AggregateRequest, library: Library) -> tuple[AggregateRow, ...]:
    """Return an aggregation's rows, in the order asked for.

    People are counted once for a message and a day, and again for the next.

    Raises:
        ApiError: The metric does not exist.
    """
    definition = definition_of(library.account, request.metric_id)
    if definition is None:
        raise ApiError(
            f"The metric '{request.metric_id}' does not exist.",
            status=404,
            pointer="/data/attributes/metric_id",
        )
    parts = buckets(request.span, request.bucket, request.zone)
    found: dict[tuple[str, ...], list[list[int]]] = {}
    chosen: dict[str, tuple[str, ...] | None] = {}
    for happening in happenings(library, request.span, (definition,)):
        message_id = happening.message.entity_id
        if message_id not in chosen:
            chosen[message_id] = _partition(request, happening, library)
        key = chosen[message_id]
        if key is None:
            continue
        sums = found.setdefault(key, [[0] * len(parts) for _ in range(3)])
        for place in touching(parts, happening.day):
            count, unique, value = happening.within(parts[place])
            sums[0][place] += count
            sums[1][place] += unique
            sums[2][place] += value
    rows = [
        AggregateRow(key, *(tuple(values) for values in sums))
        for key, sums in found.items()
        if any(any(values) for values in sums)
    ]
    return tuple(_sorted(rows, request))


def _partition(
    request: AggregateRequest, happening: Happening, library: Library
) -> tuple[str, ...] | None:
    """Return what events are partitioned by; None where the filter leaves them out."""
    dimensions = _dimensions(happening, library)
    if not matches(request.conditions, {str(name): v for name, v in dimensions.items()}):
        return None
    return tuple(dimensions[name] for name in request.by)


def _sorted(rows: list[AggregateRow], request: AggregateRequest) -> list[AggregateRow]:
    rows.sort(key=lambda row: row.dimensions)
    if request.sort in set(Measurement):
        rows.sort(key=lambda row: row.totals(request.sort), reverse=request.descending)
    elif request.sort:
        place = request.by.index(Dimension(request.sort))
        rows.sort(key=lambda row: row.dimensions[place], reverse=request.descending)
    return rows


def aggregate_result(request: AggregateRequest, row: AggregateRow) -> JsonObject:
    """Return a row as it stands in `data`."""
    measured = {
        Measurement.COUNT: [float(value) for value in row.count],
        Measurement.UNIQUE: [float(value) for value in row.unique],
        Measurement.SUM_VALUE: [value / _MICROS for value in row.value_micros],
    }
    return {
        "dimensions": list(row.dimensions),
        "measurements": {name.value: measured[name] for name in request.measurements},
    }


def aggregate_dates(request: AggregateRequest) -> tuple[datetime, ...]:
    """Return the starts of an aggregation's buckets."""
    return bucket_starts(request.span, request.bucket, request.zone)


def _dimensions(happening: Happening, library: Library) -> dict[Dimension, str]:
    message, row = happening.message, happening.row
    channel = message.channel.value
    made = dict.fromkeys(Dimension, "")
    made |= {
        Dimension.MESSAGE: message.entity_id,
        Dimension.ATTRIBUTED_MESSAGE: message.entity_id,
        Dimension.FLOW: row.flow_id,
        Dimension.ATTRIBUTED_FLOW: row.flow_id,
        Dimension.ATTRIBUTED_CHANNEL: channel,
        Dimension.CAMPAIGN_CHANNEL: channel if row.campaign_id else "",
        Dimension.FLOW_CHANNEL: channel if row.flow_id else "",
        Dimension.MESSAGE_NAME: library.name(message),
        Dimension.CAMPAIGN_NAME: library.name(message),
        Dimension.BOT_CLICK: "false",
    }
    if happening.definition.value_micros is not None:
        made[Dimension.VALUE_CURRENCY] = library.account.currency_code
    return made

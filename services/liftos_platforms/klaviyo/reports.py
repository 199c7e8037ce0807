"""Reports and aggregates over the truth.

Reports date a number by its message's sending and restate it; aggregates date it by the event.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import Final

from liftos_platforms import truth
from liftos_platforms.klaviyo.bodies import (
    AggregateRequest,
    Dimension,
    Measurement,
    ReportKind,
    ReportRequest,
)
from liftos_platforms.klaviyo.documents import ApiError, JsonObject, identifier
from liftos_platforms.klaviyo.figures import Figures, statistic, total
from liftos_platforms.klaviyo.filters import matches
from liftos_platforms.klaviyo.library import Library, send_time
from liftos_platforms.klaviyo.metrics import MetricDefinition, definition_of, event_count
from liftos_platforms.klaviyo.timeframes import (
    Bucket,
    Span,
    bucket_starts,
    buckets,
    check_series_length,
    read_timeframe,
    seconds_between,
    share,
)
from liftos_platforms.truth import Channel, DateBasis, Entity, Level, Metric, Row, draw_of, zone

Groupings = tuple[str | None, ...]


def report_span(request: ReportRequest, library: Library) -> Span:
    """Return the time that a report covers.

    Raises:
        ApiError: The timeframe is wrong, or too long for the interval.
    """
    span = read_timeframe(request.timeframe, zone(library.account.time_zone), library.now)
    if request.bucket is not None:
        check_series_length(span, request.bucket)
    return span


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One row of a report: what it is grouped by, and its figures by bucket."""

    groupings: Groupings
    figures: Mapping[int, Figures]


def report_rows(request: ReportRequest, library: Library, span: Span) -> tuple[ReportRow, ...]:
    """Return a report's rows in the order of what they are grouped by.

    Raises:
        ApiError: The conversion metric does not exist.
    """
    definition = definition_of(library.account, request.conversion_metric_id)
    if definition is None:
        raise ApiError(
            f"The metric '{request.conversion_metric_id}' does not exist.",
            pointer="/data/attributes/conversion_metric_id",
        )
    parts = _report_buckets(request.bucket, library, span)
    found: dict[Groupings, dict[int, list[Figures]]] = defaultdict(lambda: defaultdict(list))
    for row, day_bounds, known_until in _sent(request.kind, library, span):
        if row.entity is None:
            continue
        described = _described(row, row.entity, library)
        if not matches(request.conditions, described):
            continue
        key = tuple(described[name] for name in request.group_by)
        figures = _figures(row, row.entity.channel, definition)
        for place, part in enumerate(parts):
            if request.kind is ReportKind.CAMPAIGN_VALUES:
                if part.holds(send_time(library.account, row.entity)):
                    found[key][place].append(figures)
                continue
            cut = _cut(figures, part, Span(day_bounds.start, known_until))
            if cut != Figures():
                found[key][place].append(cut)
    rows = [
        ReportRow(key, {place: total(cuts) for place, cuts in places.items()})
        for key, places in found.items()
        if places
    ]
    return tuple(sorted(rows, key=lambda row: sort_key(row.groupings)))


def sort_key(groupings: Groupings) -> tuple[str, ...]:
    """Return what rows are ordered by."""
    return tuple(value or "" for value in groupings)


def report_result(request: ReportRequest, row: ReportRow, bucket_count: int) -> JsonObject:
    """Return a row as it stands in `results`; series hold a list for each statistic."""
    statistics: JsonObject = {}
    for name in request.statistics:
        values = [
            statistic(name, row.figures.get(place, Figures())) for place in range(bucket_count)
        ]
        statistics[name.value] = values if request.bucket is not None else values[0]
    return {
        "groupings": dict(zip(request.group_by, row.groupings, strict=True)),
        "statistics": statistics,
    }


def report_relationships(request: ReportRequest, rows: tuple[ReportRow, ...]) -> JsonObject:
    """Return which campaigns or flows the rows of a page are about."""
    kinds = (
        (("campaigns", "campaign", "campaign_id"),)
        if request.kind is ReportKind.CAMPAIGN_VALUES
        else (("flows", "flow", "flow_id"), ("flow-messages", "flow-message", "flow_message_id"))
    )
    made: JsonObject = {}
    for name, kind, group in kinds:
        place = request.group_by.index(group)
        ids = dict.fromkeys(row.groupings[place] for row in rows)
        made[name] = {"data": [identifier(kind, each) for each in ids if each is not None]}
    return made


def date_times(request: ReportRequest, library: Library, span: Span) -> tuple[datetime, ...]:
    """Return the starts of a series' buckets, in the account's zone; one for values."""
    if request.bucket is None:
        return (span.start,)
    return bucket_starts(span, request.bucket, zone(library.account.time_zone))


def _report_buckets(bucket: Bucket | None, library: Library, span: Span) -> tuple[Span, ...]:
    if bucket is None:
        return (span,)
    return buckets(span, bucket, zone(library.account.time_zone))


def _sent(kind: ReportKind, library: Library, span: Span) -> Iterator[tuple[Row, Span, datetime]]:
    """Yield the rows of messages sent on each day of a span, the day, and how far it is known."""
    account = library.account
    wants_campaigns = kind is ReportKind.CAMPAIGN_VALUES
    sending_days = {
        entity.active_from
        for entity in truth.entities_of(
            library.world, account, now=library.now, level=Level.MESSAGE
        )
        if entity.active_from == entity.active_until
    }
    for day in _days(library, span):
        if wants_campaigns and day not in sending_days:
            continue
        begin, end = truth.day_bounds(account, day)
        for row in _rows(library, day, DateBasis.SEND):
            if bool(row.campaign_id) is wants_campaigns:
                yield row, Span(begin, end), min(end, max(library.now, begin))


def _days(library: Library, span: Span) -> Iterator[date]:
    first = library.world.first_day
    last = truth.local_day(library.account, library.now)
    for day in span.days(zone(library.account.time_zone)):
        if first <= day <= last:
            yield day


def _rows(library: Library, day: date, basis: DateBasis) -> tuple[Row, ...]:
    return truth.rows(
        library.world,
        library.account,
        level=Level.MESSAGE,
        day=day,
        now=library.now,
        date_basis=basis,
    )


def _described(row: Row, message: Entity, library: Library) -> dict[str, str | None]:
    """Return all that a row can be grouped or filtered by."""
    name = library.name(message)
    flow = None if not row.flow_id else library.flow(row.flow_id)
    return {
        "campaign_id": row.campaign_id,
        "campaign_message_id": message.entity_id,
        "campaign_message_name": name,
        "flow_id": row.flow_id,
        "flow_message_id": message.entity_id,
        "flow_message_name": name,
        "flow_name": None if flow is None else library.name(flow),
        "send_channel": message.channel.value,
        "group": None,
        "group_name": None,
        "tag_id": None,
        "tag_name": None,
        "text_message_format": "SMS" if message.channel is Channel.SMS else None,
        "variation": None,
        "variation_name": None,
    }


def _figures(row: Row, channel: Channel, definition: MetricDefinition) -> Figures:
    known = row.metrics
    is_text = channel is Channel.SMS
    bounced = known.get(Metric.BOUNCED, 0)
    sent = known.get(Metric.SENT, 0)
    return Figures(
        recipients=sent,
        delivered=known.get(Metric.DELIVERED, 0),
        bounced=0 if is_text else bounced,
        failed=bounced if is_text else 0,
        opens=known.get(Metric.OPENED, 0),
        opens_unique=known.get(Metric.UNIQUE_OPENED, 0),
        clicks=known.get(Metric.CLICKED, 0),
        clicks_unique=known.get(Metric.UNIQUE_CLICKED, 0),
        unsubscribes=known.get(Metric.UNSUBSCRIBED, 0),
        spam_complaints=known.get(Metric.SPAM_COMPLAINTS, 0),
        conversions=event_count(known, definition, channel),
        conversion_value_micros=0
        if definition.value_micros is None
        else known.get(definition.value_micros, 0),
        text_messages=sent if is_text else 0,
        spend_micros=known.get(Metric.SPEND_MICROS, 0),
    )


def _cut(figures: Figures, part: Span, day: Span) -> Figures:
    """Return the share of a day's figures that falls into a part of time."""
    length = max(1, seconds_between(day.start, day.end))
    low = seconds_between(day.start, part.start)
    high = seconds_between(day.start, part.end)
    if low <= 0 and high >= length:
        return figures
    return Figures(
        **{
            field.name: share(getattr(figures, field.name), length, low, high)
            for field in fields(Figures)
        }
    )


# --- metric aggregates ----------------------------------------------------------------------------

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
    for happening in happenings(library, request.span, (definition,)):
        dimensions = _dimensions(happening, library)
        if not matches(request.conditions, {str(name): v for name, v in dimensions.items()}):
            continue
        key = tuple(dimensions[name] for name in request.by)
        sums = found.setdefault(key, [[0] * len(parts) for _ in range(3)])
        for place, part in enumerate(parts):
            count, unique, value = happening.within(part)
            sums[0][place] += count
            sums[1][place] += unique
            sums[2][place] += value
    rows = [
        AggregateRow(key, *(tuple(values) for values in sums))
        for key, sums in found.items()
        if any(any(values) for values in sums)
    ]
    return tuple(_sorted(rows, request))


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


@dataclass(frozen=True, slots=True)
class Happening:
    """The events of one metric and one message on one day of the account.

    Event number k happens in second `k * day_seconds // final_count` of the day.

    Attributes:
        message: Whose events.
        count: How many have happened.
        final_count: How many there are when the day is over.
        people: How many different people did it.
        value_micros: What all of them are worth; also on a day that counts money and no event.
    """

    row: Row
    message: Entity
    definition: MetricDefinition
    count: int
    final_count: int
    people: int
    value_micros: int
    day: Span

    @property
    def day_seconds(self) -> int:
        """How long the day is."""
        return seconds_between(self.day.start, self.day.end)

    def values_micros(self) -> tuple[int, ...]:
        """Return what each event is worth; empty where there is none."""
        if not self.count:
            return ()
        return truth.split(self.value_micros, self.count, draw_of(self.message.draw, self.row.date))

    def within(self, part: Span) -> tuple[int, int, int]:
        """Return the events, the people and the money of a part of time."""
        if part.start <= self.day.start and self.day.end <= part.end:
            return self.count, self.people, self.value_micros
        first, after = self._before(part.start), self._before(part.end)
        if first == after:
            return 0, 0, 0
        value = sum(self.values_micros()[first:after]) if self.value_micros else 0
        return after - first, min(after - first, self.people), value

    def _before(self, moment: datetime) -> int:
        length = self.day_seconds
        second = min(max(seconds_between(self.day.start, moment), 0), length)
        return min(self.count, -(-second * self.final_count // length))


def happenings(
    library: Library, span: Span, definitions: tuple[MetricDefinition, ...]
) -> Iterator[Happening]:
    """Yield what happened on the days of a span, whole days, in order."""
    account = library.account
    today = truth.local_day(account, library.now)
    for day in _days(library, span):
        begin, end = truth.day_bounds(account, day)
        finals: dict[str, Row] = {}
        if day == today:
            over = Library(library.world, account, end - timedelta(microseconds=1), library.base)
            finals = {row.message_id: row for row in _rows(over, day, DateBasis.EVENT)}
        for row in _rows(library, day, DateBasis.EVENT):
            message = row.entity
            if message is None:
                continue
            final = finals.get(row.message_id, row)
            for definition in definitions:
                happening = _happening(row, message, definition, final, Span(begin, end))
                if happening.count or happening.people or happening.value_micros:
                    yield happening


def _happening(
    row: Row, message: Entity, definition: MetricDefinition, final: Row, day: Span
) -> Happening:
    is_about = definition.channel in {None, message.channel}
    count = event_count(row.metrics, definition, message.channel)
    value, unique = definition.value_micros, definition.unique
    return Happening(
        row=row,
        message=message,
        definition=definition,
        count=count,
        final_count=max(count, event_count(final.metrics, definition, message.channel)),
        people=count if unique is None or not is_about else row.metrics.get(unique, 0),
        value_micros=0 if value is None or not is_about else row.metrics.get(value, 0),
        day=day,
    )


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

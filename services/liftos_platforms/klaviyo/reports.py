"""Reports over the truth: numbers dated by their message's sending, and restated."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime

from liftos_platforms import truth
from liftos_platforms.klaviyo.bodies import ReportKind, ReportRequest
from liftos_platforms.klaviyo.documents import ApiError, JsonObject, identifier
from liftos_platforms.klaviyo.figures import Figures, statistic, total
from liftos_platforms.klaviyo.filters import matches
from liftos_platforms.klaviyo.happenings import known_days, message_rows
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
    touching,
)
from liftos_platforms.truth import Channel, DateBasis, Entity, Level, Metric, Row, zone

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
    chosen: dict[str, Groupings | None] = {}
    for row, message, day in _sent(request.kind, library, span):
        if message.entity_id not in chosen:
            chosen[message.entity_id] = _groupings(request, row, message, library)
        key = chosen[message.entity_id]
        if key is None:
            continue
        figures = _figures(row, message.channel, definition)
        if request.kind is ReportKind.CAMPAIGN_VALUES:
            if span.holds(send_time(library.account, message)):
                found[key][0].append(figures)
            continue
        for place in touching(parts, day):
            cut = _cut(figures, parts[place], day)
            if cut != Figures():
                found[key][place].append(cut)
    rows = [
        ReportRow(key, {place: total(cuts) for place, cuts in places.items()})
        for key, places in found.items()
        if places
    ]
    return tuple(sorted(rows, key=lambda row: sort_key(row.groupings)))


def _groupings(
    request: ReportRequest, row: Row, message: Entity, library: Library
) -> Groupings | None:
    """Return what a message's rows are grouped by; None where the filter leaves them out."""
    described = _described(row, message, library)
    if not matches(request.conditions, described):
        return None
    return tuple(described[name] for name in request.group_by)


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


def _sent(kind: ReportKind, library: Library, span: Span) -> Iterator[tuple[Row, Entity, Span]]:
    """Yield what was sent on each day of a span, the message, and the day as far as it is known."""
    account = library.account
    wants_campaigns = kind is ReportKind.CAMPAIGN_VALUES
    sending_days = {
        entity.active_from
        for entity in truth.entities_of(
            library.world, account, now=library.now, level=Level.MESSAGE
        )
        if entity.active_from == entity.active_until
    }
    for day in known_days(library, span):
        if wants_campaigns and day not in sending_days:
            continue
        begin, end = truth.day_bounds(account, day)
        known = Span(begin, min(end, max(library.now, begin)))
        for row in message_rows(library, day, DateBasis.SEND):
            if row.entity is not None and bool(row.campaign_id) is wants_campaigns:
                yield row, row.entity, known


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

"""Bodies of reports and aggregates, held to what Klaviyo takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum, unique
from typing import Final, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from liftos_platforms.klaviyo.documents import ApiError
from liftos_platforms.klaviyo.figures import Statistic
from liftos_platforms.klaviyo.filters import (
    Condition,
    FieldRule,
    FilterOperator,
    FilterSyntaxError,
    ValueKind,
    check_filter,
    parse_filter,
    rule,
)
from liftos_platforms.klaviyo.timeframes import SERIES_BUCKETS, Bucket, Span

_ATTRIBUTES: Final = "/data/attributes"
_YEAR: Final = timedelta(days=366)

SEND_CHANNELS: Final = frozenset({"email", "sms", "push-notification", "whatsapp"})

_Enum = TypeVar("_Enum", bound=StrEnum)


@unique
class ReportKind(StrEnum):
    """The reports, by their resource type."""

    CAMPAIGN_VALUES = "campaign-values-report"
    FLOW_VALUES = "flow-values-report"
    FLOW_SERIES = "flow-series-report"


_SHARED_GROUPS: Final = frozenset(
    {"send_channel", "tag_id", "tag_name", "text_message_format", "variation", "variation_name"}
)
_CAMPAIGN_GROUPS: Final = _SHARED_GROUPS | {
    "campaign_id", "campaign_message_id", "campaign_message_name", "group", "group_name",
}  # fmt: skip
_FLOW_GROUPS: Final = _SHARED_GROUPS | {
    "flow_id", "flow_message_id", "flow_message_name", "flow_name",
}  # fmt: skip


def group_names(kind: ReportKind) -> frozenset[str]:
    """Return what a report can be grouped by."""
    return _CAMPAIGN_GROUPS if kind is ReportKind.CAMPAIGN_VALUES else _FLOW_GROUPS


def required_groups(kind: ReportKind) -> tuple[str, str]:
    """Return what a report must be grouped by."""
    if kind is ReportKind.CAMPAIGN_VALUES:
        return "campaign_id", "campaign_message_id"
    return "flow_id", "flow_message_id"


def _report_filters(kind: ReportKind) -> dict[str, FieldRule]:
    scalars = group_names(kind) - {"tag_id", "tag_name", "group", "group_name"}
    rules = {
        name: rule(ValueKind.TEXT, FilterOperator.EQUALS, FilterOperator.CONTAINS_ANY)
        for name in scalars
    }
    for name in ("tag_id", "tag_name"):
        rules[name] = rule(ValueKind.TEXT, FilterOperator.CONTAINS_ANY, FilterOperator.CONTAINS_ALL)
    rules["send_channel"] = rule(
        ValueKind.TEXT,
        FilterOperator.EQUALS,
        FilterOperator.CONTAINS_ANY,
        allowed=SEND_CHANNELS,
    )
    return rules


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """What a report is asked.

    Attributes:
        kind: Which report.
        statistics: What to give, in the order asked.
        timeframe: As written.
        conversion_metric_id: The metric whose events are conversions.
        group_by: What to group by, in the order asked.
        conditions: The filter's terms.
        bucket: Length of a series' buckets; None for values.
    """

    kind: ReportKind
    statistics: tuple[Statistic, ...]
    timeframe: object
    conversion_metric_id: str
    group_by: tuple[str, ...]
    conditions: tuple[Condition, ...]
    bucket: Bucket | None


def read_report(body: object, kind: ReportKind) -> ReportRequest:
    """Return the report that a body asks for.

    Raises:
        ApiError: The body breaks a rule of the report.
    """
    known = {"statistics", "timeframe", "conversion_metric_id", "group_by", "filter"}
    required = {"statistics", "timeframe", "conversion_metric_id"}
    if kind is ReportKind.FLOW_SERIES:
        known |= {"interval"}
        required |= {"interval"}
    attributes = _attributes(body, kind, known, required)
    statistics = tuple(
        _member(Statistic, word, f"{_ATTRIBUTES}/statistics")
        for word in _texts(attributes["statistics"], "statistics")
    )
    group_by = attributes.get("group_by")
    return ReportRequest(
        kind=kind,
        statistics=tuple(dict.fromkeys(statistics)),
        timeframe=attributes["timeframe"],
        conversion_metric_id=_text(attributes["conversion_metric_id"], "conversion_metric_id"),
        group_by=_groups(group_by, kind),
        conditions=_report_conditions(attributes.get("filter"), kind),
        bucket=_series_bucket(attributes.get("interval")) if "interval" in known else None,
    )


def _groups(value: object, kind: ReportKind) -> tuple[str, ...]:
    required = required_groups(kind)
    if value is None:
        return (*required, "send_channel")
    pointer = f"{_ATTRIBUTES}/group_by"
    groups = _texts(value, "group_by")
    for group in groups:
        if group not in group_names(kind):
            raise ApiError(
                f"'{group}' is not a valid group by; allowed:"
                f" {', '.join(sorted(group_names(kind)))}.",
                pointer=pointer,
            )
    for group in required:
        if group not in groups:
            raise ApiError(f"The group by attribute '{group}' is required.", pointer=pointer)
    return tuple(dict.fromkeys(groups))


def _report_conditions(value: object, kind: ReportKind) -> tuple[Condition, ...]:
    if value is None:
        return ()
    text = _text(value, "filter")
    try:
        conditions = parse_filter(text)
        check_filter(conditions, _report_filters(kind), one_per_field=True)
    except FilterSyntaxError as error:
        raise ApiError(str(error), pointer=f"{_ATTRIBUTES}/filter") from error
    return conditions


def _series_bucket(value: object) -> Bucket:
    word = _text(value, "interval")
    if word not in SERIES_BUCKETS:
        raise ApiError(
            f"'{word}' is not a valid interval; allowed: {', '.join(sorted(SERIES_BUCKETS))}.",
            pointer=f"{_ATTRIBUTES}/interval",
        )
    return SERIES_BUCKETS[word]


# --- metric aggregates --------------------------------------------------------------------------


@unique
class Measurement(StrEnum):
    """What is measured of a metric's events."""

    COUNT = "count"
    SUM_VALUE = "sum_value"
    UNIQUE = "unique"


@unique
class Dimension(StrEnum):
    """What a metric's events can be partitioned by; the list is closed."""

    ATTRIBUTED_CHANNEL = "$attributed_channel"
    ATTRIBUTED_FLOW = "$attributed_flow"
    ATTRIBUTED_MESSAGE = "$attributed_message"
    ATTRIBUTED_VARIATION = "$attributed_variation"
    CAMPAIGN_CHANNEL = "$campaign_channel"
    FLOW = "$flow"
    FLOW_CHANNEL = "$flow_channel"
    MESSAGE = "$message"
    MESSAGE_SEND_COHORT = "$message_send_cohort"
    USAGE_AMOUNT = "$usage_amount"
    VALUE_CURRENCY = "$value_currency"
    VARIATION = "$variation"
    VARIATION_SEND_COHORT = "$variation_send_cohort"
    BOT_CLICK = "Bot Click"
    BOUNCE_TYPE = "Bounce Type"
    CAMPAIGN_NAME = "Campaign Name"
    CLIENT_CANONICAL = "Client Canonical"
    CLIENT_NAME = "Client Name"
    CLIENT_TYPE = "Client Type"
    EMAIL_DOMAIN = "Email Domain"
    FAILURE_SOURCE = "Failure Source"
    FAILURE_TYPE = "Failure Type"
    FROM_NUMBER = "From Number"
    FROM_PHONE_REGION = "From Phone Region"
    INBOX_PROVIDER = "Inbox Provider"
    LIST = "List"
    MESSAGE_FORMAT = "Message Format"
    MESSAGE_NAME = "Message Name"
    MESSAGE_TYPE = "Message Type"
    METHOD = "Method"
    SEGMENT_COUNT = "Segment Count"
    SUBJECT = "Subject"
    TO_NUMBER = "To Number"
    TO_PHONE_REGION = "To Phone Region"
    URL = "URL"
    FORM_ID = "form_id"


_AGGREGATE_PAGE_MAXIMUM: Final = 500
_UNSUPPORTED_ZONES: Final = frozenset({"Factory", "Europe/Kyiv", "Pacific/Kanton"})
_ZONES: Final = frozenset(available_timezones()) - _UNSUPPORTED_ZONES


@dataclass(frozen=True, slots=True)
class AggregateRequest:
    """What a metric is asked.

    Attributes:
        metric_id: Whose events to measure.
        measurements: What to give, in the order asked.
        bucket: Length of a bucket.
        by: What to partition by.
        conditions: The filter's terms on dimensions.
        span: The time asked for, its end excluded.
        zone: Whose days the buckets are.
        sort: What to sort rows by: a dimension or a measurement; empty for the dimensions.
        descending: Whether the order is reversed.
        page_size: Rows on a page.
        page_cursor: Where to go on, or None.
    """

    metric_id: str
    measurements: tuple[Measurement, ...]
    bucket: Bucket
    by: tuple[Dimension, ...]
    conditions: tuple[Condition, ...]
    span: Span
    zone: ZoneInfo
    sort: str
    descending: bool
    page_size: int
    page_cursor: str | None


def read_aggregate(body: object) -> AggregateRequest:
    """Return the aggregation that a body asks for.

    Raises:
        ApiError: The body breaks a rule of metric aggregates.
    """
    known = {
        "metric_id", "page_cursor", "measurements", "interval", "page_size", "by",
        "return_fields", "filter", "timezone", "sort",
    }  # fmt: skip
    attributes = _attributes(
        body, "metric-aggregate", known, {"metric_id", "measurements", "filter"}
    )
    zone = _zone(attributes.get("timezone"))
    by = attributes.get("by")
    dimensions = tuple(
        _member(Dimension, word, f"{_ATTRIBUTES}/by")
        for word in ([] if by is None else _texts(by, "by", may_be_empty=True))
    )
    measurements = tuple(
        _member(Measurement, word, f"{_ATTRIBUTES}/measurements")
        for word in _texts(attributes["measurements"], "measurements")
    )
    span, conditions = _aggregate_filter(attributes["filter"], zone)
    sort = attributes.get("sort")
    order = "" if sort is None else _text(sort, "sort")
    sortable = {*dimensions, *measurements}
    if order and order.removeprefix("-") not in sortable:
        raise ApiError(
            f"'{order}' is not a valid sort: name one of 'by' or 'measurements'.",
            pointer=f"{_ATTRIBUTES}/sort",
        )
    interval = attributes.get("interval")
    cursor = attributes.get("page_cursor")
    return AggregateRequest(
        metric_id=_text(attributes["metric_id"], "metric_id"),
        measurements=tuple(dict.fromkeys(measurements)),
        bucket=Bucket.DAY
        if interval is None
        else _member(Bucket, _text(interval, "interval"), f"{_ATTRIBUTES}/interval"),
        by=tuple(dict.fromkeys(dimensions)),
        conditions=conditions,
        span=span,
        zone=zone,
        sort=order.removeprefix("-"),
        descending=order.startswith("-"),
        page_size=_aggregate_page_size(attributes.get("page_size")),
        page_cursor=None if cursor is None else _text(cursor, "page_cursor"),
    )


def _zone(value: object) -> ZoneInfo:
    name = "UTC" if value is None else _text(value, "timezone")
    if name not in _ZONES:
        raise ApiError(f"'{name}' is not a supported timezone.", pointer=f"{_ATTRIBUTES}/timezone")
    return ZoneInfo(name)


def _aggregate_page_size(value: object) -> int:
    if value is None:
        return _AGGREGATE_PAGE_MAXIMUM
    if type(value) is not int or not 1 <= value <= _AGGREGATE_PAGE_MAXIMUM:
        raise ApiError(
            f"'page_size' must be a whole number between 1 and {_AGGREGATE_PAGE_MAXIMUM}.",
            pointer=f"{_ATTRIBUTES}/page_size",
        )
    return value


def _aggregate_filter(value: object, zone: ZoneInfo) -> tuple[Span, tuple[Condition, ...]]:
    pointer = f"{_ATTRIBUTES}/filter"
    rules = {
        **{
            str(dimension): rule(ValueKind.TEXT, FilterOperator.EQUALS, FilterOperator.ANY)
            for dimension in Dimension
        },
        "datetime": rule(
            ValueKind.DATE_TIME, FilterOperator.GREATER_OR_EQUAL, FilterOperator.LESS_THAN
        ),
    }
    conditions: list[Condition] = []
    try:
        for text in _texts(value, "filter"):
            conditions += parse_filter(text)
        check_filter(conditions, rules)
    except FilterSyntaxError as error:
        raise ApiError(str(error), pointer=pointer) from error
    start = _bound(conditions, FilterOperator.GREATER_OR_EQUAL, zone)
    end = _bound(conditions, FilterOperator.LESS_THAN, zone)
    if not timedelta() < end - start <= _YEAR:
        raise ApiError(
            "The time range must be longer than nothing and not longer than 1 year.",
            pointer=pointer,
        )
    others = tuple(condition for condition in conditions if condition.field != "datetime")
    return Span(start, end), others


def _bound(conditions: list[Condition], operator: FilterOperator, zone: ZoneInfo) -> datetime:
    found = [
        value
        for condition in conditions
        if condition.field == "datetime" and condition.operator is operator
        for value in condition.values
        if isinstance(value, datetime)
    ]
    if len(found) != 1:
        raise ApiError(
            "The filter must hold one 'greater-or-equal' and one 'less-than' on 'datetime'.",
            pointer=f"{_ATTRIBUTES}/filter",
        )
    moment = found[0]
    return (moment.replace(tzinfo=zone) if moment.tzinfo is None else moment).astimezone(UTC)


# --- JSON:API -----------------------------------------------------------------------------------


def _attributes(
    body: object, resource_type: str, known: set[str], required: set[str]
) -> Mapping[str, object]:
    data = body.get("data") if isinstance(body, Mapping) else None
    if not isinstance(data, Mapping):
        raise ApiError("The body must be an object with 'data'.", pointer="/data")
    if data.get("type") != resource_type:
        raise ApiError(f"'type' must be '{resource_type}'.", pointer="/data/type")
    attributes = data.get("attributes")
    if not isinstance(attributes, Mapping):
        raise ApiError("'attributes' is required.", pointer=_ATTRIBUTES)
    for place, names, allowed in (
        ("/data", data, {"type", "attributes"}),
        (_ATTRIBUTES, attributes, known),
    ):
        for name in names:
            if name not in allowed:
                raise ApiError(
                    f"'{name}' is not a valid field for the resource '{resource_type}'.",
                    pointer=f"{place}/{name}",
                )
    for name in sorted(required):
        if attributes.get(name) is None:
            raise ApiError(f"'{name}' is a required field.", pointer=f"{_ATTRIBUTES}/{name}")
    return attributes


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise ApiError(f"'{name}' must be a text.", pointer=f"{_ATTRIBUTES}/{name}")
    return value


def _texts(value: object, name: str, *, may_be_empty: bool = False) -> list[str]:
    if (
        not isinstance(value, list)
        or not all(isinstance(item, str) for item in value)
        or not (value or may_be_empty)
    ):
        raise ApiError(f"'{name}' must be a list of texts.", pointer=f"{_ATTRIBUTES}/{name}")
    return value


def _member(words: type[_Enum], word: str, pointer: str) -> _Enum:
    try:
        return words(word)
    except ValueError as error:
        raise ApiError(
            f"'{word}' is not valid; allowed: {', '.join(sorted(words))}.", pointer=pointer
        ) from error

"""Reports: the numbers that Klaviyo shows itself, dated by the day of sending.

A report of campaigns holds one number for its whole timeframe, and may be asked for 225 times a
day. Since a message of a campaign is sent at one moment, one report over all days is enough: its
rows are dated by when the list of campaigns says that they were sent. Where that is unknown (the
campaign is deleted, or sent over several days) the days are halved, down to a report of one day,
whose rows have that date.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from liftos_ingestion.adapters.sources.klaviyo.client import KlaviyoClient
from liftos_ingestion.adapters.sources.klaviyo.documents import (
    check_days,
    member,
    one,
    series,
    text,
)
from liftos_ingestion.adapters.sources.klaviyo.errors import malformed
from liftos_ingestion.adapters.sources.klaviyo.library import (
    Library,
    library_of_campaigns,
)
from liftos_ingestion.adapters.sources.klaviyo.rows import MessageDay, is_nothing
from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_ingestion.domain.platform_limits import KlaviyoEndpoint
from liftos_ingestion.source_ports import JsonObject, ReadRequest

_COUNTS: Final = (
    "recipients", "delivered", "bounced_or_failed", "opens", "opens_unique", "clicks",
    "clicks_unique", "unsubscribes", "spam_complaints", "text_message_spend",
)  # fmt: skip
_ORDERS: Final = ("conversions", "conversion_value")


@dataclass(frozen=True, slots=True)
class ReportMetric:
    """The metric that a report is asked with, which it always needs.

    Attributes:
        counts_orders: Whether its events are conversions; otherwise they are not asked for.
    """

    metric_id: str
    counts_orders: bool

    @property
    def statistics(self) -> tuple[str, ...]:
        """What is asked for."""
        return (*_COUNTS, *_ORDERS) if self.counts_orders else _COUNTS


@dataclass(slots=True)
class Found:
    """What a reading has found.

    Attributes:
        messages: By day, to be gone through once.
        raw: The answers that they were in.
    """

    messages: Iterable[MessageDay]
    raw: bytes


def campaign_report(request: ReadRequest, metric: ReportMetric) -> JsonObject:
    """Return what is asked of the messages of campaigns that were sent on these days."""
    return {
        "statistics": list(metric.statistics),
        "timeframe": _timeframe(request),
        "conversion_metric_id": metric.metric_id,
        "group_by": [
            "campaign_id", "campaign_message_id", "campaign_message_name", "send_channel",
        ],
    }  # fmt: skip


def flow_report(request: ReadRequest, metric: ReportMetric) -> JsonObject:
    """Return what is asked of the messages of flows that were sent on these days."""
    return {
        "statistics": list(metric.statistics),
        "timeframe": _timeframe(request),
        "interval": "daily",
        "conversion_metric_id": metric.metric_id,
        "group_by": [
            "flow_id", "flow_name", "flow_message_id", "flow_message_name", "send_channel",
        ],
    }  # fmt: skip


async def campaign_sends(
    client: KlaviyoClient, request: ReadRequest, metric: ReportMetric
) -> Found:
    """Return what the messages of campaigns did that were sent on these days.

    Raises:
        NotReadyError: A limit is reached.
        ReadingError: As calls do; TOO_LARGE where fewer days are needed to date a row.
    """
    rows: list[JsonObject] = []
    raw: list[bytes] = []
    async for answer in client.report(
        KlaviyoEndpoint.CAMPAIGN_VALUES_REPORTS,
        "campaign-values-report",
        campaign_report(request, metric),
    ):
        rows += _results(answer.data)
        raw.append(answer.body)
    ids = [text(row, "groupings", "campaign_message_id") for row in rows]
    zone = ZoneInfo(request.account.time_zone)
    library = await library_of_campaigns(client, ids, zone) if rows else Library()
    return Found(
        [_campaign_message(row, request, metric, library) for row in rows], b"\n".join(raw)
    )


def _campaign_message(
    row: JsonObject, request: ReadRequest, metric: ReportMetric, library: Library
) -> MessageDay:
    message_id = text(row, "groupings", "campaign_message_id")
    campaign, message = library.campaigns.get(message_id, (None, None))
    day = request.start_date
    if request.day_count > 1:
        sent_on = None if message is None else message.sent_on
        if sent_on is None or not request.start_date <= sent_on <= request.end_date:
            raise ReadingError(
                Failure(
                    ErrorClass.TOO_LARGE,
                    f"Klaviyo does not say on which day message {message_id} was sent; its report"
                    " is asked for fewer days.",
                )
            )
        day = sent_on
    return MessageDay(
        day,
        message_id,
        _told(member(row, "statistics"), metric),
        campaign_id=text(row, "groupings", "campaign_id"),
        message_name=text(row, "groupings", "campaign_message_name"),
        campaign_name="" if campaign is None else campaign.name,
        channel=text(row, "groupings", "send_channel"),
    )


async def flow_sends(client: KlaviyoClient, request: ReadRequest, metric: ReportMetric) -> Found:
    """Return what the messages of flows did that were sent on these days.

    Raises:
        NotReadyError: A limit is reached.
        ReadingError: As calls do.
    """
    zone = ZoneInfo(request.account.time_zone)
    found: list[MessageDay] = []
    raw: list[bytes] = []
    async for answer in client.report(
        KlaviyoEndpoint.FLOW_SERIES_REPORTS, "flow-series-report", flow_report(request, metric)
    ):
        days = member(one(answer.data), "attributes", "date_times")
        check_days(days, request.start_date, request.day_count, zone)
        for row in _results(answer.data):
            found += _flow_days(row, request, metric)
        raw.append(answer.body)
    return Found(found, b"\n".join(raw))


def _flow_days(row: JsonObject, request: ReadRequest, metric: ReportMetric) -> list[MessageDay]:
    values = {
        name: series(value, request.day_count)
        for name, value in _told(member(row, "statistics"), metric).items()
    }
    days = []
    for step in range(request.day_count):
        statistics = {name: value[step] for name, value in values.items()}
        # A series has a place for every day; on one that is all zeros nothing was sent.
        if all(is_nothing(value) for value in statistics.values()):
            continue
        days.append(
            MessageDay(
                request.start_date + timedelta(days=step),
                text(row, "groupings", "flow_message_id"),
                statistics,
                flow_id=text(row, "groupings", "flow_id"),
                message_name=text(row, "groupings", "flow_message_name"),
                flow_name=text(row, "groupings", "flow_name"),
                channel=text(row, "groupings", "send_channel"),
            )
        )
    return days


def _timeframe(request: ReadRequest) -> JsonObject:
    """Return the days as Klaviyo takes them, both ends included.

    With the offset of the account's zone, whether Klaviyo heeds it or takes its own.
    """
    zone = ZoneInfo(request.account.time_zone)
    start = datetime.combine(request.start_date, time(), zone)
    end = datetime.combine(request.end_date, time(23, 59, 59), zone)
    return {"start": start.isoformat(), "end": end.isoformat()}


def _results(document: object) -> Sequence[JsonObject]:
    results = member(one(document), "attributes", "results")
    if not isinstance(results, list):
        raise malformed("a report has no list of results")
    if not all(
        isinstance(member(row, "groupings"), dict) and isinstance(member(row, "statistics"), dict)
        for row in results
    ):
        raise malformed("a result of a report has no groupings or no statistics")
    return results


def _told(statistics: object, metric: ReportMetric) -> dict[str, object]:
    """Return what was asked for and answered."""
    answered = statistics if isinstance(statistics, dict) else {}
    told = {name: answered[name] for name in metric.statistics if name in answered}
    if not told:
        raise malformed("a result of a report has none of the statistics that were asked for")
    return told

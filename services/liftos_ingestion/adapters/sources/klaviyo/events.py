"""Metric aggregates: what happened on each day, whenever the message was sent.

One call for each metric of Klaviyo's own (`Received Email`, `Clicked SMS`, ...) and one for
orders, by message and day. Klaviyo answers only what is not zero, so a metric that was asked for
and not answered is zero for messages of its channel. Sendings, spend, and what has no metric in a
channel (text messages are not opened) stay unset. Orders that no message is credited with are of
no campaign and no flow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from liftos_ingestion.adapters.sources.klaviyo.client import KlaviyoClient
from liftos_ingestion.adapters.sources.klaviyo.documents import (
    check_days,
    member,
    one,
    series,
)
from liftos_ingestion.adapters.sources.klaviyo.errors import malformed
from liftos_ingestion.adapters.sources.klaviyo.library import (
    Library,
    flows_of,
    library_of_campaigns,
)
from liftos_ingestion.adapters.sources.klaviyo.metrics import Orders
from liftos_ingestion.adapters.sources.klaviyo.rows import MessageDay, is_nothing, total
from liftos_ingestion.adapters.sources.klaviyo.sends import Found
from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_ingestion.source_ports import JsonObject, ReadRequest

_PAGE_SIZE: Final = 500

_MOST_VALUES: Final = 200_000
"""Messages times days of one metric that are held in memory."""

_ZONE_ALIASES: Final = {"Europe/Kyiv": "Europe/Kiev", "Pacific/Kanton": "Pacific/Enderbury"}
"""Names of zones that aggregates do not know, and the older names that they do."""


@dataclass(frozen=True, slots=True)
class _Counted:
    """A metric and the statistics that it gives.

    Attributes:
        name: As Klaviyo calls it.
        channel: Of the messages that it is about.
        count: What its events count.
        unique: What the people count who did it; empty where each does it once.
    """

    name: str
    channel: str
    count: str
    unique: str = ""

    @property
    def measurements(self) -> Mapping[str, str]:
        """Statistics by what is measured."""
        return {"count": self.count} | ({"unique": self.unique} if self.unique else {})


COUNTED: Final = (
    _Counted("Received Email", "email", "delivered"),
    _Counted("Opened Email", "email", "opens", "opens_unique"),
    _Counted("Clicked Email", "email", "clicks", "clicks_unique"),
    _Counted("Bounced Email", "email", "bounced_or_failed"),
    _Counted("Unsubscribed from Email Marketing", "email", "unsubscribes"),
    _Counted("Marked Email as Spam", "email", "spam_complaints"),
    _Counted("Received SMS", "sms", "delivered"),
    _Counted("Clicked SMS", "sms", "clicks", "clicks_unique"),
    _Counted("Failed to Deliver SMS", "sms", "bounced_or_failed"),
    _Counted("Unsubscribed from SMS Marketing", "sms", "unsubscribes"),
)
"""What is asked for beside orders, where the account has it."""

_OF_ORDERS: Final = {"count": "conversions", "sum_value": "conversion_value"}


@dataclass(slots=True)
class _Message:
    """What is known of a message.

    Attributes:
        values: By statistic, a value for each day.
    """

    flow_id: str = ""
    channel: str = ""
    values: dict[str, Sequence[object]] = field(default_factory=dict)


class _Asked:
    """All aggregates of one reading."""

    def __init__(self, client: KlaviyoClient, request: ReadRequest) -> None:
        self._client = client
        self._request = request
        self._zone = ZoneInfo(request.account.time_zone)
        self._told_by_channel: dict[str, set[str]] = {}
        self.messages: dict[str, _Message] = {}
        self.raw: list[bytes] = []
        self.questions: list[JsonObject] = []

    async def count(self, counted: _Counted, metric_id: str) -> None:
        """Ask for a metric about messages."""
        self._told_by_channel.setdefault(counted.channel, set()).update(
            counted.measurements.values()
        )
        await self._ask(metric_id, counted.measurements, ("$message", "$flow"), counted.channel)

    async def orders(self, metric_id: str) -> None:
        """Ask for orders by the messages that are credited with them."""
        self._told_by_channel.setdefault("", set()).update(_OF_ORDERS.values())
        by = ("$attributed_message", "$attributed_flow", "$attributed_channel")
        await self._ask(metric_id, _OF_ORDERS, by, "")

    def days_of(self, message: _Message) -> Sequence[tuple[date, Mapping[str, object]]]:
        """Return the days on which anything happened, with all that is told for its channel."""
        names = self._told_by_channel.get("", set()) | (
            self._told_by_channel.get(message.channel, set()) if message.channel else set()
        )
        found = []
        for step in range(self._request.day_count):
            told = {name: values[step] for name, values in message.values.items()}
            if not all(is_nothing(value) for value in told.values()):
                day = self._request.start_date + timedelta(days=step)
                found.append((day, dict.fromkeys(sorted(names), 0) | told))
        return found

    async def _ask(
        self, metric_id: str, measurements: Mapping[str, str], by: Sequence[str], channel: str
    ) -> None:
        zone_name = self._request.account.time_zone
        begin = datetime.combine(self._request.start_date, time(), self._zone)
        end = datetime.combine(self._request.end_date + timedelta(days=1), time(), self._zone)
        attributes = {
            "metric_id": metric_id,
            "measurements": list(measurements),
            "interval": "day",
            "by": list(by),
            "filter": [
                f"greater-or-equal(datetime,{begin.isoformat()})",
                f"less-than(datetime,{end.isoformat()})",
            ],
            "timezone": _ZONE_ALIASES.get(zone_name, zone_name),
        }
        self.questions.append(attributes)
        # By dimensions, so that a row that comes twice counts once.
        parts: dict[tuple[str, ...], Mapping[str, Sequence[object]]] = {}
        async for answer in self._client.aggregate({**attributes, "page_size": _PAGE_SIZE}):
            content = member(one(answer.data), "attributes")
            count = self._request.day_count
            check_days(member(content, "dates"), self._request.start_date, count, self._zone)
            for row in _rows(content):
                parts[_dimensions(row, len(by))] = {
                    statistic: series(member(row, "measurements", name), count)
                    for name, statistic in measurements.items()
                }
            if len(parts) * count > _MOST_VALUES and count > 1:
                raise ReadingError(
                    Failure(
                        ErrorClass.TOO_LARGE,
                        f"More than {_MOST_VALUES} values of one metric; asked for fewer days.",
                    )
                )
            self.raw.append(answer.body)
        for (message_id, flow_id, *told_channel), values in parts.items():
            if not message_id:
                continue
            message = self.messages.setdefault(message_id, _Message())
            message.flow_id = message.flow_id or flow_id
            message.channel = message.channel or channel or "".join(told_channel)
            for statistic, of_days in values.items():
                before = message.values.get(statistic)
                message.values[statistic] = (
                    of_days
                    if before is None
                    else [total(pair) for pair in zip(before, of_days, strict=True)]
                )


async def events(
    client: KlaviyoClient,
    request: ReadRequest,
    metrics: Mapping[str, str],
    orders: Orders | None,
) -> tuple[Found, Sequence[JsonObject]]:
    """Return what happened on these days, and what Klaviyo was asked for it.

    Args:
        client: Klaviyo, for the account.
        request: Which days, and at which level.
        metrics: Klaviyo's own metrics: ids by name.
        orders: The metric that counts orders; None where there is none.

    Raises:
        NotReadyError: A limit is reached.
        ReadingError: As calls do.
    """
    asked = _Asked(client, request)
    for counted in COUNTED:
        metric_id = metrics.get(counted.name)
        # Klaviyo lists a metric from its first event on.
        if metric_id is not None:
            await asked.count(counted, metric_id)
    if orders is not None and not orders.custom:
        await asked.orders(orders.metric_id)
    library = await _library(client, request, asked.messages)
    found = (
        _message_day(message_id, message, day, statistics, library)
        for message_id, message in asked.messages.items()
        for day, statistics in asked.days_of(message)
    )
    return Found(found, b"\n".join(asked.raw)), asked.questions


async def _library(
    client: KlaviyoClient, request: ReadRequest, messages: Mapping[str, _Message]
) -> Library:
    """Return what messages belong to, as far as the level needs it."""
    library = Library()
    of_campaigns = [id_ for id_, message in messages.items() if not message.flow_id]
    if of_campaigns and request.level != "FLOW":
        zone = ZoneInfo(request.account.time_zone)
        library = await library_of_campaigns(client, of_campaigns, zone)
    if len(of_campaigns) < len(messages) and request.level != "CAMPAIGN":
        library.add_flows([it async for it in flows_of(client)])
    return library


def _message_day(
    message_id: str,
    message: _Message,
    day: date,
    statistics: Mapping[str, object],
    library: Library,
) -> MessageDay:
    channel = message.channel
    if message.flow_id:
        flow, sent = library.flows.get(message_id, (None, None))
        return MessageDay(
            day,
            message_id,
            statistics,
            flow_id=message.flow_id,
            message_name="" if sent is None else sent.name,
            flow_name="" if flow is None else flow.name,
            channel=channel,
        )
    campaign, letter = library.campaigns.get(message_id, (None, None))
    return MessageDay(
        day,
        message_id,
        statistics,
        campaign_id="" if campaign is None else campaign.campaign_id,
        message_name="" if letter is None else letter.name,
        campaign_name="" if campaign is None else campaign.name,
        channel=channel,
    )


def _rows(content: object) -> Sequence[JsonObject]:
    rows = member(content, "data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise malformed("an aggregate has no list of rows")
    return rows


def _dimensions(row: JsonObject, count: int) -> tuple[str, ...]:
    found = row.get("dimensions")
    if not isinstance(found, list) or len(found) != count:
        raise malformed("a row of an aggregate has not the dimensions that were asked for")
    return tuple(value if isinstance(value, str) else "" for value in found)

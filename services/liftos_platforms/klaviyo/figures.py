"""What a message achieved, and the statistics that reports make of it."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import StrEnum, unique
from typing import assert_never

_MICROS = 1_000_000


@unique
class Statistic(StrEnum):
    """Everything a report can be asked for; the list is closed."""

    AVERAGE_ORDER_VALUE = "average_order_value"
    BOUNCE_RATE = "bounce_rate"
    BOUNCED = "bounced"
    BOUNCED_OR_FAILED = "bounced_or_failed"
    BOUNCED_OR_FAILED_RATE = "bounced_or_failed_rate"
    CLICK_RATE = "click_rate"
    CLICK_TO_OPEN_RATE = "click_to_open_rate"
    CLICKS = "clicks"
    CLICKS_UNIQUE = "clicks_unique"
    CONVERSION_RATE = "conversion_rate"
    CONVERSION_UNIQUES = "conversion_uniques"
    CONVERSION_VALUE = "conversion_value"
    CONVERSIONS = "conversions"
    DELIVERED = "delivered"
    DELIVERY_RATE = "delivery_rate"
    FAILED = "failed"
    FAILED_RATE = "failed_rate"
    MESSAGE_SEGMENT_COUNT_SUM = "message_segment_count_sum"
    OPEN_RATE = "open_rate"
    OPENS = "opens"
    OPENS_UNIQUE = "opens_unique"
    RECIPIENTS = "recipients"
    REVENUE_PER_RECIPIENT = "revenue_per_recipient"
    SPAM_COMPLAINT_RATE = "spam_complaint_rate"
    SPAM_COMPLAINTS = "spam_complaints"
    TEXT_MESSAGE_CREDIT_USAGE_AMOUNT = "text_message_credit_usage_amount"
    TEXT_MESSAGE_ROI = "text_message_roi"
    TEXT_MESSAGE_SPEND = "text_message_spend"
    UNSUBSCRIBE_RATE = "unsubscribe_rate"
    UNSUBSCRIBE_UNIQUES = "unsubscribe_uniques"
    UNSUBSCRIBES = "unsubscribes"


@dataclass(frozen=True, slots=True)
class Figures:
    """Exact counts of a message; money in micros of the account's currency.

    Attributes:
        bounced: E-mail that came back.
        failed: Text messages that did not arrive.
        conversions: Events of the conversion metric.
        spend_micros: What text messages cost; 0 for e-mail, as Klaviyo fills it in.
    """

    recipients: int = 0
    delivered: int = 0
    bounced: int = 0
    failed: int = 0
    opens: int = 0
    opens_unique: int = 0
    clicks: int = 0
    clicks_unique: int = 0
    unsubscribes: int = 0
    spam_complaints: int = 0
    conversions: int = 0
    conversion_value_micros: int = 0
    text_messages: int = 0
    spend_micros: int = 0


def total(parts: Iterable[Figures]) -> Figures:
    """Return the sum; who opened on two days is counted twice."""
    listed = list(parts)
    return Figures(
        **{
            field.name: sum(getattr(part, field.name) for part in listed)
            for field in fields(Figures)
        }
    )


def statistic(name: Statistic, of: Figures) -> float:  # noqa: C901, PLR0911, PLR0912 - one arm each
    """Return a statistic as Klaviyo gives it: counts as floats, rates in 0..1, money in units."""
    match name:
        case Statistic.RECIPIENTS:
            return float(of.recipients)
        case Statistic.DELIVERED:
            return float(of.delivered)
        case Statistic.BOUNCED:
            return float(of.bounced)
        case Statistic.FAILED:
            return float(of.failed)
        case Statistic.BOUNCED_OR_FAILED:
            return float(of.bounced + of.failed)
        case Statistic.OPENS:
            return float(of.opens)
        case Statistic.OPENS_UNIQUE:
            return float(of.opens_unique)
        case Statistic.CLICKS:
            return float(of.clicks)
        case Statistic.CLICKS_UNIQUE:
            return float(of.clicks_unique)
        case Statistic.UNSUBSCRIBES | Statistic.UNSUBSCRIBE_UNIQUES:
            return float(of.unsubscribes)
        case Statistic.SPAM_COMPLAINTS:
            return float(of.spam_complaints)
        case Statistic.CONVERSIONS | Statistic.CONVERSION_UNIQUES:
            return float(of.conversions)
        case Statistic.CONVERSION_VALUE:
            return of.conversion_value_micros / _MICROS
        case Statistic.TEXT_MESSAGE_SPEND:
            return of.spend_micros / _MICROS
        case Statistic.TEXT_MESSAGE_CREDIT_USAGE_AMOUNT | Statistic.MESSAGE_SEGMENT_COUNT_SUM:
            return float(of.text_messages)
        case Statistic.DELIVERY_RATE:
            return _rate(of.delivered, of.recipients)
        case Statistic.BOUNCE_RATE:
            return _rate(of.bounced, of.recipients)
        case Statistic.FAILED_RATE:
            return _rate(of.failed, of.recipients)
        case Statistic.BOUNCED_OR_FAILED_RATE:
            return _rate(of.bounced + of.failed, of.recipients)
        case Statistic.OPEN_RATE:
            return _rate(of.opens_unique, of.delivered)
        case Statistic.CLICK_RATE:
            return _rate(of.clicks_unique, of.delivered)
        case Statistic.CLICK_TO_OPEN_RATE:
            return _rate(of.clicks_unique, of.opens_unique)
        case Statistic.UNSUBSCRIBE_RATE:
            return _rate(of.unsubscribes, of.delivered)
        case Statistic.SPAM_COMPLAINT_RATE:
            return _rate(of.spam_complaints, of.delivered)
        case Statistic.CONVERSION_RATE:
            return _rate(of.conversions, of.delivered)
        case Statistic.AVERAGE_ORDER_VALUE:
            return _rate(of.conversion_value_micros, of.conversions * _MICROS)
        case Statistic.REVENUE_PER_RECIPIENT:
            return _rate(of.conversion_value_micros, of.recipients * _MICROS)
        case Statistic.TEXT_MESSAGE_ROI:
            return _rate(of.conversion_value_micros, of.spend_micros)
        case _:
            assert_never(name)


def _rate(part: int, whole: int) -> float:
    return part / whole if whole else 0.0

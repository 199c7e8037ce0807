"""The metrics of an account: what can happen to a message, and how the truth counts it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from liftos_platforms.truth import Account, Channel, Metric, draw_of

PLACED_ORDER: Final = "Placed Order"
"""The metric whose events are orders; revenue is mapped to it."""


@dataclass(frozen=True, slots=True)
class Integration:
    """Where a metric comes from."""

    integration_id: str
    name: str
    category: str


_KLAVIYO: Final = Integration("0rG4eQ", "Klaviyo", "Internal")
_SHOP: Final = Integration("0eMvjm", "Shopify", "eCommerce")


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """A metric.

    Attributes:
        name: As in Klaviyo.
        integration: Where it comes from.
        count: What the truth counts of it; None where nothing ever happens.
        unique: How many people did it; None where everyone did it once.
        value_micros: The money of its events; None where they have none.
        channel: The channel of the messages it is about; None for all.
    """

    name: str
    integration: Integration
    count: Metric | None
    unique: Metric | None = None
    value_micros: Metric | None = None
    channel: Channel | None = None


DEFINITIONS: Final = (
    MetricDefinition(
        PLACED_ORDER, _SHOP, Metric.CONVERSIONS_MICROS, value_micros=Metric.REVENUE_MICROS
    ),
    MetricDefinition("Received Email", _KLAVIYO, Metric.DELIVERED, channel=Channel.EMAIL),
    MetricDefinition(
        "Opened Email", _KLAVIYO, Metric.OPENED, Metric.UNIQUE_OPENED, channel=Channel.EMAIL
    ),
    MetricDefinition(
        "Clicked Email", _KLAVIYO, Metric.CLICKED, Metric.UNIQUE_CLICKED, channel=Channel.EMAIL
    ),
    MetricDefinition("Bounced Email", _KLAVIYO, Metric.BOUNCED, channel=Channel.EMAIL),
    MetricDefinition(
        "Unsubscribed from Email Marketing", _KLAVIYO, Metric.UNSUBSCRIBED, channel=Channel.EMAIL
    ),
    MetricDefinition(
        "Marked Email as Spam", _KLAVIYO, Metric.SPAM_COMPLAINTS, channel=Channel.EMAIL
    ),
    MetricDefinition("Received SMS", _KLAVIYO, Metric.DELIVERED, channel=Channel.SMS),
    MetricDefinition(
        "Clicked SMS", _KLAVIYO, Metric.CLICKED, Metric.UNIQUE_CLICKED, channel=Channel.SMS
    ),
    MetricDefinition("Failed to Deliver SMS", _KLAVIYO, Metric.BOUNCED, channel=Channel.SMS),
    MetricDefinition(
        "Unsubscribed from SMS Marketing", _KLAVIYO, Metric.UNSUBSCRIBED, channel=Channel.SMS
    ),
    MetricDefinition("Active on Site", _SHOP, None),
)
"""Every metric of an account, in a fixed order."""

_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"


def metric_id(account: Account, definition: MetricDefinition) -> str:
    """Return the id, six characters, that a metric has in an account."""
    draw = draw_of(account.account_id, "metric", definition.name)
    return "".join(_LETTERS[draw // len(_LETTERS) ** place % len(_LETTERS)] for place in range(6))


def definition_of(account: Account, wanted: str) -> MetricDefinition | None:
    """Return the metric that has an id in an account, if one has."""
    return next((one for one in DEFINITIONS if metric_id(account, one) == wanted), None)


def event_count(
    metrics: Mapping[Metric, int], definition: MetricDefinition, channel: Channel
) -> int:
    """Return how many events of a metric a row stands for."""
    if definition.count is None or definition.channel not in {None, channel}:
        return 0
    counted = metrics.get(definition.count, 0)
    return counted // 1_000_000 if definition.count is Metric.CONVERSIONS_MICROS else counted

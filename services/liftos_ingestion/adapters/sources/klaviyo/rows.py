"""From what messages did on a day to raw rows of a level, by the names of Klaviyo's reports.

Klaviyo answers for messages; a campaign or a flow is the sum of its own. People who are counted
once are not summed: how many opened a flow's mails is known only where one message of it was
opened, and otherwise stays unset.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from liftos_ingestion.source_ports import JsonObject
from liftos_mapping.conversions import ConversionError, exact_decimal

UNIQUE: Final = frozenset({"opens_unique", "clicks_unique"})
"""Statistics that count people."""


@dataclass(frozen=True, slots=True)
class MessageDay:
    """What one message did on one day.

    Attributes:
        day: In the account's zone.
        message_id: Empty where Klaviyo does not say.
        statistics: By the names of reports, as Klaviyo gave them; what is not in it was not told.
        campaign_id, flow_id: What the message belongs to: one of the two, or none if unknown.
        message_name, campaign_name, flow_name: Names now; empty where unknown.
        channel: `email`, `sms`; empty where unknown.
    """

    day: date
    message_id: str
    statistics: Mapping[str, object]
    campaign_id: str = ""
    flow_id: str = ""
    message_name: str = ""
    campaign_name: str = ""
    flow_name: str = ""
    channel: str = ""


def rows_of(level: str, found: Iterable[MessageDay]) -> Iterator[JsonObject]:
    """Yield the raw rows of a level.

    Args:
        level: CAMPAIGN, FLOW or MESSAGE.
        found: Messages of campaigns and flows; those that are not of the level are left out. One
            that comes twice is summed once, as pages may overlap.
    """
    if level == "MESSAGE":
        for it in found:
            yield _row(it, it.statistics, is_message=True)
        return
    groups: dict[tuple[str, str, date], dict[str, MessageDay]] = {}
    for it in found:
        if bool(it.flow_id) is (level == "FLOW"):
            owner = it.flow_id or it.campaign_id
            # Messages of which nobody knows whose they are have nothing to be summed to.
            group = groups.setdefault((owner, "" if owner else it.message_id, it.day), {})
            group[it.message_id] = it
    for group in groups.values():
        yield _summed(list(group.values()))


def _summed(group: Sequence[MessageDay]) -> JsonObject:
    names = dict.fromkeys(name for it in group for name in it.statistics)
    statistics = {
        name: (people if name in UNIQUE else total)(
            [it.statistics[name] for it in group if name in it.statistics]
        )
        for name in names
    }
    first = group[0]
    return _row(
        first,
        statistics,
        # An orphan keeps the id by which somebody may find out where it belongs.
        is_message=not (first.campaign_id or first.flow_id),
        channels={it.channel for it in group},
    )


def _row(
    it: MessageDay,
    statistics: Mapping[str, object],
    *,
    is_message: bool,
    channels: Iterable[str] = (),
) -> JsonObject:
    owner = "flow" if it.flow_id else "campaign"
    several = set(channels) - {it.channel}
    groupings = {
        "campaign_id": it.campaign_id,
        "campaign_name": it.campaign_name,
        "flow_id": it.flow_id,
        "flow_name": it.flow_name,
        f"{owner}_message_id": it.message_id if is_message else "",
        f"{owner}_message_name": it.message_name if is_message else "",
        "send_channel": "" if several else it.channel,
    }
    return {
        "date": it.day.isoformat(),
        "groupings": {name: value for name, value in groupings.items() if value},
        "statistics": {name: _writable(value) for name, value in statistics.items()},
    }


def total(values: Sequence[object]) -> object:
    """Return a sum, exactly: None where a part is unknown, a part that is no number as it is.

    The mapping refuses what is no number, and so tells of it with the row.
    """
    if len(values) == 1:
        return values[0]
    numbers: list[Decimal] = []
    for value in values:
        try:
            number = exact_decimal(value)
        except ConversionError:
            return value
        if number is None:
            return None
        numbers.append(number)
    return format(sum(numbers, Decimal(0)), "f")


def people(values: Sequence[object]) -> object:
    """Return how many people several counts of people stand for; None where that is unknown.

    Who is in one is perhaps in another too, so only one count that is not 0 says it.
    """
    if len(values) == 1:
        return values[0]
    if any(value is None for value in values):
        return None
    some = [value for value in values if not is_nothing(value)]
    if len(some) > 1:
        return None
    return some[0] if some else values[0]


def is_nothing(value: object) -> bool:
    """Tell whether a value is zero or absent."""
    try:
        return not exact_decimal(value)
    except ConversionError:
        return False


def _writable(value: object) -> object:
    # NaN is no JSON; as text it is refused all the same, and can be kept with its row.
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value

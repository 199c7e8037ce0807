"""A small shop with advertising, for tests of causal exports; the same on every machine."""

import math
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any, Final

from liftos.memory.v1 import entry_pb2

FIRST_DAY: Final = date(2025, 3, 3)
"""A Monday."""
WEEKS: Final = 12
LAST_DAY: Final = FIRST_DAY + timedelta(days=7 * WEEKS - 1)
CURRENCY: Final = "EUR"

_CHANNELS: Final = (
    ("meta", "act_1", "CAMPAIGN", "campaign_id", "m-1", "facebook"),
    ("meta", "act_1", "CAMPAIGN", "campaign_id", "m-2", "instagram"),
    ("google_ads", "200", "CAMPAIGN", "campaign_id", "g-1", "SEARCH"),
    ("offline", "agency", "CAMPAIGN", "campaign_id", "o-1", "TV"),
    ("klaviyo", "KL", "MESSAGE", "message_id", "k-1", "email"),
)


def entry(day: date, platform: str, level: str, account_id: str, **fields: Any) -> entry_pb2.Entry:
    """Return an entry; metrics are given among its fields."""
    made = entry_pb2.Entry(
        platform=platform,
        level=entry_pb2.EntryLevel.Value(f"ENTRY_LEVEL_{level}"),
        account_id=account_id,
        date=day.isoformat(),
        final=True,
    )
    metric_names = entry_pb2.Metrics.DESCRIPTOR.fields_by_name
    for name, value in fields.items():
        setattr(made.metrics if name in metric_names else made, name, value)
    return made


def shop(
    first: date = FIRST_DAY, days: int = 7 * WEEKS, *, currency: str = CURRENCY
) -> Iterator[entry_pb2.Entry]:
    """Yield all entries of a shop: five channels, orders by day, and a competitor's sales."""
    for number in range(days):
        day = first + timedelta(days=number)
        for place, (platform, account_id, level, field, id_, channel) in enumerate(_CHANNELS):
            # Each channel is silent on some days, the two of an account never on the same.
            if number % 10 == 3 * place:
                continue
            metrics = _metrics(platform, number, place, currency)
            yield entry(
                day, platform, level, account_id, channel=channel, **{field: id_}, **metrics
            )
        yield entry(
            day,
            "commerce",
            "OUTCOME",
            "shop",
            currency_code=currency,
            revenue_micros=(2_000 + 37 * (number % 11) + 5 * number) * 1_000_000 + 250_000,
            orders=40 + number % 9,
        )
        yield entry(
            day,
            "offline",
            "CONTROL",
            "research",
            series_id="competitor_sales",
            value_micros=(900 + 13 * (number % 17)) * 1_000_000,
        )


def _metrics(platform: str, number: int, place: int, currency: str) -> Mapping[str, Any]:
    wave = 100 + 60 * math.sin((number + 3 * place) / (4 + place))
    if platform == "klaviyo":
        return {"delivered": round(30 * wave), "clicked": round(wave)}
    spend = {"currency_code": currency, "spend_micros": round(wave * 100) * 10_000}
    if platform == "meta":
        return spend | {
            "impressions": round(90 * wave),
            "clicks": round(2 * wave),
            "conversions_micros": round(wave) * 20_000,
        }
    return spend | {"clicks": round(3 * wave)} if platform == "google_ads" else spend

"""Campaigns whose clicks have a season and a scatter, for tests of insights."""

import math
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import Any

import numpy as np

from liftos.memory.v1 import entry_pb2
from liftos.memory.v1 import memory_service_pb2 as pb

FIRST = date(2026, 1, 5)
LAST = date(2026, 6, 28)
SPIKE = date(2026, 6, 18)

Change = Callable[[date, int], int]


def clicks_of(campaign: int, day: date) -> int:
    """Clicks with a week's season and a scatter of a twentieth, always the same."""
    number = (day - FIRST).days
    noise = np.random.default_rng([campaign, number]).normal()
    return round(500 * math.exp(0.2 * math.sin(2 * math.pi * number / 7) + 0.05 * noise))


def entries_of(
    campaign: int, change: Change = lambda _, clicks: clicks, *, first: date = FIRST
) -> Iterable[entry_pb2.Entry]:
    """Yield the days of a campaign; `change` makes its clicks from those that it would have."""
    for number in range((LAST - first).days + 1):
        day = first + timedelta(days=number)
        clicks = change(day, clicks_of(campaign, day))
        yield entry_pb2.Entry(
            platform="meta",
            level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
            account_id="act_1",
            campaign_id=str(campaign),
            campaign_name=f"Campaign {campaign}",
            date=day.isoformat(),
            final=True,
            metrics=entry_pb2.Metrics(
                currency_code="USD",
                spend_micros=clicks * 800_000,
                impressions=clicks * 50,
                clicks=clicks,
            ),
        )


def spiked(day: date, clicks: int) -> int:
    """Treble one day."""
    return clicks * 3 if day == SPIKE else clicks


def rising(day: date, clicks: int) -> int:
    """Add 2 % a week."""
    return int(clicks * 1.02 ** ((day - FIRST).days / 7))


async def write(client: Any, org: str, entries: Iterable[entry_pb2.Entry]) -> None:
    """Write entries, all of which are good."""
    rows = list(entries)
    for start in range(0, len(rows), 500):
        answer = await client.BatchUpsertEntries(
            pb.BatchUpsertEntriesRequest(
                parent=f"orgs/{org}",
                rows=entry_pb2.EntryBatch(entries=rows[start : start + 500]),
                origin="test",
            )
        )
        assert not answer.item_errors

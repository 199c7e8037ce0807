"""The calls that a run is planned to take: what is shared counts once, and accounts count too."""

from datetime import date

import pytest

from liftos_ingestion.adapters.sources.google_ads import GoogleAdsSource
from liftos_ingestion.adapters.sources.klaviyo import KlaviyoSource
from liftos_ingestion.adapters.sources.meta import MetaSource
from liftos_ingestion.domain.windows import Days, windows
from liftos_ingestion.run_ports import OBJECTS, SlicePlan
from liftos_ingestion.source_ports import Capabilities
from liftos_ingestion.usecases.backfills import PlannedCalls

FIRST, LAST = date(2026, 11, 9), date(2026, 11, 15)
META = MetaSource("http://meta.test", version="v26.0", timeout_seconds=1).capabilities
KLAVIYO = KlaviyoSource(
    "http://klaviyo.test", revision="2026-10-15", timeout_seconds=1
).capabilities
GOOGLE_ADS = GoogleAdsSource(
    "ads.test:443", plaintext=True, token_url="http://token.test/token", timeout_seconds=1
).capabilities


def planned(
    capabilities: Capabilities, *, days: Days, accounts: int = 1, rows: int = 0, objects: bool
) -> int:
    """The calls of all levels and date bases."""
    calls = PlannedCalls(capabilities)
    for number in range(accounts):
        account = f"account {number}"
        for level in capabilities.levels:
            for basis in capabilities.date_bases:
                for window in windows(days, days_per_read=capabilities.days_per_read):
                    plan = SlicePlan(account, level, "", basis, window.start, window.end, 0)
                    calls.add(plan, rows)
        if objects:
            calls.add_objects(SlicePlan(account, OBJECTS, "", "", LAST, LAST, 0))
    return calls.total


@pytest.mark.parametrize(
    ("capabilities", "call_count"),
    [
        # The account; a report and a page for each of four levels; three lists.
        (META, 1 + 4 * 2 + 3),
        # The account, two metrics' lists, two lists of objects; two reports; eleven metrics.
        (KLAVIYO, 5 + 2 + 11),
    ],
)
def test_a_week_of_an_account(capabilities: Capabilities, call_count: int) -> None:
    """As many calls as the simulation counts for a run of all levels."""
    week = Days(FIRST, LAST)
    assert planned(capabilities, days=week, objects=True) == call_count
    assert planned(capabilities, days=week, objects=True, accounts=2) == 2 * call_count


def test_lists_of_objects_count_where_they_are_read() -> None:
    """They are three queries at Google, and at Klaviyo what numbers need anyway."""
    week = Days(FIRST, LAST)
    for capabilities, lists in ((GOOGLE_ADS, 3), (META, 3), (KLAVIYO, 0)):
        without = planned(capabilities, days=week, objects=False)
        assert planned(capabilities, days=week, objects=True) - without == lists


def test_rows_and_windows_count() -> None:
    """Pages of 500 rows at Meta; at Klaviyo each window has its own reports."""
    week = Days(FIRST, LAST)
    assert planned(META, days=week, rows=1_200, objects=False) == 1 + 4 * (1 + 3)
    days = Days(date(2026, 8, 1), date(2026, 11, 15))
    assert planned(KLAVIYO, days=days, objects=False) == 5 + 2 * (2 + 11)

"""What each column of the weekly file becomes: platform, level, metric, and who takes which share.

The file has one number a week. Entries are daily and belong to campaigns, so each number is split
over the campaigns that ran in that week and over its seven days, in proportion to the weights
below (see `spreading.py`). The weights are invented, and never change: the same file always gives
the same entries. Summed by week, they give the file back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

ORG: Final = "demo"
CURRENCY: Final = "EUR"
"""An assumption: the file names no currency."""
REGIONS: Final = ("US", "DE")
"""Whose holidays the calendar carries; an assumption as well."""
MARKET_SOURCE: Final = "market"
MARKET_SOURCE_NAME: Final = "Market research"

MICROS: Final = 1_000_000
_MICROS_SUFFIX: Final = "_micros"
_ALL_YEAR: Final = range(1, 13)
_EVERY_DAY: Final = (1, 1, 1, 1, 1, 1, 1)
_THURSDAY: Final = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Member:
    """An object that takes a share of its channel's numbers.

    Attributes:
        object_id: Id of its campaign, message or series; empty at level OUTCOME.
        name: Its name.
        weights: Its share of each metric, as a whole number.
        months: Months in which it runs; a week belongs to the month of its Thursday.
    """

    object_id: str
    name: str
    weights: Mapping[str, int]
    months: Iterable[int] = _ALL_YEAR


@dataclass(frozen=True, slots=True)
class Channel:
    """Columns of the file that describe the same thing, and the objects that they are split over.

    Attributes:
        platform: The source that entries name.
        level: Their level.
        object_field: The column of an entry that holds the id of an object; empty at OUTCOME.
        account_id: Their account.
        account_name: Its name.
        channel: Where within the platform; empty where there is nothing to tell apart.
        columns: The file's column of each metric.
        members: At least one of them runs in every month.
        day_weights: Share of each day, Monday first.
    """

    platform: str
    level: str
    object_field: str
    account_id: str
    account_name: str
    channel: str
    columns: Mapping[str, str]
    members: tuple[Member, ...]
    day_weights: tuple[int, ...] = field(default=_EVERY_DAY)

    @property
    def has_money(self) -> bool:
        """Whether its numbers are amounts of money."""
        return any(metric in ("spend_micros", "revenue_micros") for metric in self.columns)

    @property
    def series_id(self) -> str:
        """The outside series that it is; empty for all but level CONTROL."""
        return self.members[0].object_id if self.object_field == "series_id" else ""

    def members_in(self, week: date) -> tuple[Member, ...]:
        """Return who runs in the week of a Monday."""
        month = (week + _THURSDAY).month
        return tuple(member for member in self.members if month in member.months)


def scale_of(metric: str) -> int:
    """Return how many of a metric's whole numbers make one of the file's units."""
    return MICROS if metric.endswith(_MICROS_SUFFIX) else 1


CHANNELS: Final = (
    Channel(
        platform="meta",
        level="CAMPAIGN",
        object_field="campaign_id",
        account_id="act_1001",
        account_name="Online shop on Meta",
        channel="facebook",
        columns={"spend_micros": "facebook_S", "impressions": "facebook_I"},
        members=(
            Member("m-101", "Prospecting Video", {"spend_micros": 5, "impressions": 6}),
            Member("m-102", "Retargeting Carousel", {"spend_micros": 3, "impressions": 2}),
            Member("m-103", "Holiday Sale", {"spend_micros": 6, "impressions": 5}, months=(11, 12)),
            Member(
                "m-104", "Summer Collection", {"spend_micros": 4, "impressions": 5}, months=(6, 7)
            ),
        ),
        day_weights=(13, 13, 13, 14, 15, 16, 16),
    ),
    Channel(
        platform="google_ads",
        level="CAMPAIGN",
        object_field="campaign_id",
        account_id="200-300-4000",
        account_name="Online shop on Google",
        channel="SEARCH",
        columns={"spend_micros": "search_S", "clicks": "search_clicks_P"},
        members=(
            Member("g-201", "Brand Search", {"spend_micros": 2, "clicks": 5}),
            Member("g-202", "Generic Product Search", {"spend_micros": 5, "clicks": 4}),
            Member("g-203", "Gift Ideas Search", {"spend_micros": 3, "clicks": 3}, months=(11, 12)),
        ),
        day_weights=(16, 15, 15, 14, 13, 12, 15),
    ),
    Channel(
        platform="klaviyo",
        level="MESSAGE",
        object_field="message_id",
        account_id="KL1001",
        account_name="Online shop newsletters",
        channel="email",
        columns={"delivered": "newsletter"},
        members=(
            Member("k-301", "Weekly newsletter", {"delivered": 4}),
            Member("k-302", "Back in stock reminder", {"delivered": 1}),
            Member("k-303", "Christmas gift guide", {"delivered": 2}, months=(12,)),
        ),
        day_weights=(5, 40, 15, 20, 10, 5, 5),
    ),
    Channel(
        platform="offline",
        level="CAMPAIGN",
        object_field="campaign_id",
        account_id="agency-1",
        account_name="Media agency",
        channel="TV",
        columns={"spend_micros": "tv_S"},
        members=(
            Member("o-401", "Television Prime Time", {"spend_micros": 7}),
            Member("o-402", "Television Daytime", {"spend_micros": 3}),
        ),
        day_weights=(12, 12, 12, 13, 15, 18, 18),
    ),
    Channel(
        platform="offline",
        level="CAMPAIGN",
        object_field="campaign_id",
        account_id="agency-1",
        account_name="Media agency",
        channel="OUT_OF_HOME",
        columns={"spend_micros": "ooh_S"},
        members=(
            Member("o-501", "City Billboards", {"spend_micros": 3}),
            Member("o-502", "Train Station Posters", {"spend_micros": 2}),
        ),
    ),
    Channel(
        platform="offline",
        level="CAMPAIGN",
        object_field="campaign_id",
        account_id="agency-1",
        account_name="Media agency",
        channel="PRINT",
        columns={"spend_micros": "print_S"},
        members=(Member("o-601", "Weekend Newspaper Ads", {"spend_micros": 1}),),
        day_weights=(5, 5, 5, 10, 15, 40, 20),
    ),
    Channel(
        platform="commerce",
        level="OUTCOME",
        object_field="",
        account_id="shop-1",
        account_name="Online shop",
        channel="",
        columns={"revenue_micros": "revenue"},
        members=(Member("", "", {"revenue_micros": 1}),),
        day_weights=(15, 14, 13, 13, 14, 15, 16),
    ),
    Channel(
        platform=MARKET_SOURCE,
        level="CONTROL",
        object_field="series_id",
        account_id="market-1",
        account_name="Market research",
        channel="",
        columns={"value_micros": "competitor_sales_B"},
        members=(Member("competitor_sales", "Competitor sales", {"value_micros": 1}),),
    ),
    Channel(
        platform=MARKET_SOURCE,
        level="CONTROL",
        object_field="series_id",
        account_id="market-1",
        account_name="Market research",
        channel="",
        columns={"value_micros": "events"},
        members=(Member("events", "Events", {"value_micros": 1}),),
        # A flag is set on a day, not spread: on the Monday that names the week.
        day_weights=(1, 0, 0, 0, 0, 0, 0),
    ),
)
"""Every channel. Each column of the file belongs to exactly one of them."""

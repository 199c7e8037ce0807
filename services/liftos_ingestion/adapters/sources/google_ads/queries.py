"""What is asked for: queries in Google's query language, and the fields that they select."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from liftos_ingestion.source_ports import ReadRequest

_CUSTOMER: Final = (
    "customer.id",
    "customer.descriptive_name",
    "customer.currency_code",
    "customer.time_zone",
)
_CAMPAIGN: Final = ("campaign.id", "campaign.name", "campaign.advertising_channel_type")
_AD_GROUP: Final = ("ad_group.id", "ad_group.name")
_AD: Final = ("ad_group_ad.ad.id", "ad_group_ad.ad.name")

_METRICS: Final[Mapping[str, Sequence[str]]] = {
    "INTERACTION": (
        "metrics.cost_micros",
        "metrics.impressions",
        "metrics.clicks",
        "metrics.conversions",
        "metrics.conversions_value",
        "metrics.all_conversions",
        "metrics.view_through_conversions",
        "metrics.video_trueview_views",
        "metrics.video_quartile_p100_rate",
    ),
    "CONVERSION": (
        "metrics.conversions_by_conversion_date",
        "metrics.conversions_value_by_conversion_date",
        "metrics.all_conversions_by_conversion_date",
    ),
}
"""Metrics by what their day stands for; the mapping reads each, and each may add rows.

`unique_users` and `average_impression_frequency_per_user` are left out. They cannot be added up,
Google has them for four kinds of campaigns only and not for ads, and in a query of their own they
would double the operations, of which a new project has 2,880 a day.
"""

DATE_BASES: Final = tuple(_METRICS)


@dataclass(frozen=True, slots=True)
class Query:
    """One query.

    Attributes:
        fields: Names of what it selects.
        text: As it is sent.
    """

    fields: tuple[str, ...]
    text: str


def _query(fields: Sequence[str], resource: str, where: str = "") -> Query:
    condition = f" WHERE {where}" if where else ""
    text = (
        f"SELECT {', '.join(fields)} FROM {resource}{condition}"  # noqa: S608 - no SQL
        # Names that are made of ids that are there anyway are half of a row's bytes.
        " PARAMETERS omit_unselected_resource_names=true"
    )
    return Query(tuple(fields), text)


@dataclass(frozen=True, slots=True)
class _Level:
    resource: str
    fields: tuple[str, ...]


_LEVELS: Final[Mapping[str, _Level]] = {
    "ACCOUNT": _Level("customer", _CUSTOMER),
    "CAMPAIGN": _Level("campaign", (*_CUSTOMER, *_CAMPAIGN)),
    "AD_GROUP": _Level("ad_group", (*_CUSTOMER, *_CAMPAIGN, *_AD_GROUP)),
    "AD": _Level("ad_group_ad", (*_CUSTOMER, *_CAMPAIGN, *_AD_GROUP, *_AD)),
}

LEVELS: Final = tuple(_LEVELS)


def report(request: ReadRequest) -> Query:
    """Return the query for the days of a level, removed objects included."""
    level = _LEVELS[request.level]
    return _query(
        (*level.fields, "segments.date", *_METRICS[request.date_basis]),
        level.resource,
        f"segments.date BETWEEN '{request.start_date}' AND '{request.end_date}'",
    )


@dataclass(frozen=True, slots=True)
class ObjectList:
    """All objects of a level, removed ones too.

    Attributes:
        object_id, name, state: Fields of the object.
        parent_id: The field of what it belongs to; empty right below the account.
    """

    level: str
    resource: str
    object_id: str
    name: str
    state: str
    parent_id: str = ""

    @property
    def query(self) -> Query:
        """The query for it."""
        fields = (self.object_id, self.name, self.state, self.parent_id)
        return _query([field for field in fields if field], self.resource)


OBJECT_LISTS: Final = (
    ObjectList("CAMPAIGN", "campaign", "campaign.id", "campaign.name", "campaign.status"),
    ObjectList(
        "AD_GROUP", "ad_group", "ad_group.id", "ad_group.name", "ad_group.status", "campaign.id"
    ),
    ObjectList(
        "AD",
        "ad_group_ad",
        "ad_group_ad.ad.id",
        "ad_group_ad.ad.name",
        "ad_group_ad.status",
        "ad_group.id",
    ),
)

TREE: Final = _query(
    tuple(
        f"customer_client.{name}"
        for name in (
            "id",
            "descriptive_name",
            "currency_code",
            "time_zone",
            "manager",
            "status",
            "test_account",
        )
    ),
    "customer_client",
)
"""A customer and all below it."""

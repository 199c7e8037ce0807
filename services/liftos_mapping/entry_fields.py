"""The one table of an entry's columns.

Arrow batches, SQL columns, protobuf conversion and transforms all follow this table, so that a
field has one name everywhere. Tests hold it against the contract and the database.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

import pyarrow as pa


class FieldKind(Enum):
    """What a column is, which decides how it is checked, summed and stored."""

    KEY = "key"
    """Part of the natural key; text keys are never null, absent means empty."""
    ATTRIBUTE = "attribute"
    """Describes the object or the numbers; null where unknown."""
    MONEY = "money"
    """Additive amount in micros of `currency_code`."""
    COUNT = "count"
    """Additive count, or count in micros where the name says so."""
    GRAIN = "grain"
    """True for this row only; never summed (reach, uniques, shares)."""
    LINEAGE = "lineage"
    """Where the row came from."""


@dataclass(frozen=True, slots=True)
class EntryField:
    """One column: its name everywhere, its Arrow type and its kind."""

    name: str
    type: pa.DataType
    kind: FieldKind


LEVELS: Final = (
    "ACCOUNT",
    "CAMPAIGN",
    "AD_GROUP",
    "AD",
    "FLOW",
    "MESSAGE",
    "OUTCOME",
    "CONTROL",
)
"""Levels in the order of their numbers in the contract, which start at 1."""

DATE_BASES: Final = ("INTERACTION", "CONVERSION", "SEND", "EVENT")
"""What a row's date stands for, in the order of the contract's numbers, which start at 1."""

LEVEL_IDS: Final = {
    "ACCOUNT": ((), ()),
    "CAMPAIGN": (("campaign_id",), ()),
    "AD_GROUP": (("campaign_id", "ad_group_id"), ()),
    "AD": (("campaign_id", "ad_id"), ("ad_group_id",)),
    "FLOW": (("flow_id",), ()),
    "MESSAGE": (("message_id",), ("campaign_id", "flow_id")),
    "OUTCOME": ((), ()),
    "CONTROL": (("series_id",), ()),
}
"""Object ids per level besides account_id: (required, allowed). Any other object id is refused."""

_TEXT = pa.string()
_INTEGER = pa.int64()
_REAL = pa.float64()

ACTION_TYPE: Final = pa.struct(
    [
        pa.field("action_type", pa.string()),
        pa.field("window", pa.string()),
        pa.field("count_micros", pa.int64()),
        pa.field("value_micros", pa.int64()),
    ]
)
"""One platform action: its type, its attribution window, its count and its value."""


def _fields(kind: FieldKind, type_: pa.DataType, names: str) -> tuple[EntryField, ...]:
    return tuple(EntryField(name, type_, kind) for name in names.split())


ENTRY_FIELDS: Final[tuple[EntryField, ...]] = (
    EntryField("date", pa.date32(), FieldKind.KEY),
    *_fields(
        FieldKind.KEY,
        _TEXT,
        "platform level account_id campaign_id ad_group_id ad_id flow_id message_id series_id"
        " attribution_key date_basis breakdown_key",
    ),
    *_fields(
        FieldKind.ATTRIBUTE,
        _TEXT,
        "account_name campaign_name ad_group_name ad_name flow_name message_name series_name"
        " channel currency_code time_zone",
    ),
    *_fields(FieldKind.MONEY, _INTEGER, "spend_micros revenue_micros"),
    *_fields(
        FieldKind.COUNT,
        _INTEGER,
        "impressions clicks link_clicks conversions_micros all_conversions_micros"
        " view_through_conversions_micros orders video_views video_completions sent delivered"
        " opened machine_opened clicked bounced spam_complaints unsubscribed value_micros",
    ),
    *_fields(FieldKind.GRAIN, _INTEGER, "reach unique_clicks unique_opened unique_clicked"),
    *_fields(
        FieldKind.GRAIN,
        _REAL,
        "frequency search_impression_share search_rank_lost_impression_share keyword_quality_score",
    ),
    EntryField("actions", pa.list_(ACTION_TYPE), FieldKind.COUNT),
    EntryField("final", pa.bool_(), FieldKind.LINEAGE),
)
"""Every column that a writer gives, in the order of the database.

`origin` and `slice` belong to the request, not to its rows, and are added on write.
"""

ENTRY_SCHEMA: Final = pa.schema([(field.name, field.type) for field in ENTRY_FIELDS])
"""The Arrow schema of an ingest batch. A batch may leave out columns; it may not add any."""

NATURAL_KEY: Final = tuple(f.name for f in ENTRY_FIELDS if f.kind is FieldKind.KEY)
"""The natural key below the org, in the order in which it is hashed."""

KEY_SCHEMA: Final = pa.schema([ENTRY_SCHEMA.field(name) for name in NATURAL_KEY])
"""The Arrow schema of natural keys. Keys may leave out columns, which means empty."""

ADDITIVE_METRICS: Final = tuple(
    f.name
    for f in ENTRY_FIELDS
    if f.kind in (FieldKind.MONEY, FieldKind.COUNT) and f.name != "actions"
)
"""Metrics that may be summed."""

GRAIN_METRICS: Final = tuple(f.name for f in ENTRY_FIELDS if f.kind is FieldKind.GRAIN)
"""Metrics that hold for one row and are never summed."""

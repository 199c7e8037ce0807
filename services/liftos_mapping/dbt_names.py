"""Entries under the column names of dbt_ad_reporting, both ways.

For what goes out and comes in as tables: the long format of an export, which tools that read that
package's models read as it is, and warehouses that have its models. Beside its columns stand the
ones that it lacks and that numbers need to be compared at all: currency, report_timezone,
attribution_key, conversion_date_basis, level, breakdown_key and is_final. Money and conversions are
exact decimals in units, not floats.

An `attribution_setting` that a table may have describes an ad set of Meta, can change and does not
tell two rows apart; it is no `attribution_key`, and is listed as unmapped.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from liftos_mapping.engine import TransformContext, TransformResult, evaluate
from liftos_mapping.entry_fields import ENTRY_SCHEMA
from liftos_mapping.mapping import BreakdownRule, ColumnRule, LevelRule, PlatformMapping

AD_LEVELS: Final = ("ACCOUNT", "CAMPAIGN", "AD_GROUP", "AD")
"""The levels that dbt_ad_reporting has."""

_TEXT_NAMES: Final = {
    "account_id": "account_id",
    "account_name": "account_name",
    "campaign_id": "campaign_id",
    "campaign_name": "campaign_name",
    "ad_group_id": "ad_group_id",
    "ad_group_name": "ad_group_name",
    "ad_id": "ad_id",
    "ad_name": "ad_name",
}
_ADDED_NAMES: Final = {
    "currency": "currency_code",
    "report_timezone": "time_zone",
    "attribution_key": "attribution_key",
    "conversion_date_basis": "date_basis",
    "level": "level",
    "breakdown_key": "breakdown_key",
    "is_final": "final",
}
_ADDED_CONVERSIONS: Final = {"currency": "currency@1", "is_final": "boolean@1"}
_UNIT: Final = pa.decimal128(25, 6)
_MICRO: Final = pa.scalar(Decimal("0.000001"), pa.decimal128(6, 6))

_SPLITTING: Final = (
    "keyword_id",
    "keyword_text",
    "keyword_match_type",
    "search_query",
    "search_match_type",
    "base_url",
    "url_host",
    "url_path",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "country",
    "region",
)

MAPPING: Final = PlatformMapping(
    platform=None,
    version=1,
    date_basis="INTERACTION",
    levels=(
        LevelRule("AD", "ad_id"),
        LevelRule("AD_GROUP", "ad_group_id"),
        LevelRule("CAMPAIGN", "campaign_id"),
    ),
    columns=(
        ColumnRule("date", ("date_day",), "date@1"),
        ColumnRule("platform", ("platform",), "dbt_platform@1"),
        *(
            ColumnRule(column, (name,), "text_id@1" if name.endswith("_id") else "text@1")
            for name, column in _TEXT_NAMES.items()
        ),
        *(
            ColumnRule(column, (name,), _ADDED_CONVERSIONS.get(name, "text@1"))
            for name, column in _ADDED_NAMES.items()
        ),
        ColumnRule("clicks", ("clicks",), "integer@1"),
        ColumnRule("impressions", ("impressions",), "integer@1"),
        ColumnRule("spend_micros", ("spend",), "decimal_to_micros@1"),
        ColumnRule("conversions_micros", ("conversions",), "decimal_to_micros@1"),
        ColumnRule("revenue_micros", ("conversions_value",), "decimal_to_micros@1"),
    ),
    breakdowns=BreakdownRule(fields=tuple((name, name) for name in _SPLITTING)),
)
"""Rows of dbt_ad_reporting's reports; keywords, searches, URLs and places are breakdowns."""


class DbtLevelError(ValueError):
    """Entries of levels that dbt_ad_reporting does not have."""

    def __init__(self, levels: tuple[str, ...]) -> None:
        super().__init__(
            f"dbt_ad_reporting has no level {', '.join(levels)}; filter by {', '.join(AD_LEVELS)}"
        )
        self.levels = levels


def from_dbt(
    rows: Sequence[Mapping[str, object]] | pa.Table, context: TransformContext | None = None
) -> TransformResult:
    """Turns rows of dbt_ad_reporting's reports into entries.

    The reports carry no currency: it comes from a `currency` column or from the context.

    Raises:
        TransformContextError: The context holds a value that no entry can have.
    """
    raw = rows.to_pylist() if isinstance(rows, pa.Table) else rows
    return evaluate(MAPPING, raw, context or TransformContext())


def to_dbt(entries: pa.Table) -> pa.Table:
    """Entries under dbt_ad_reporting's names; absent ids are null there, as metrics are.

    Columns: source_relation (empty), date_day, platform (meta is facebook_ads), the ids and names,
    clicks, impressions, spend, conversions, conversions_value (decimals in units), then ours.

    Raises:
        DbtLevelError: Some entries are of a level that dbt_ad_reporting does not have.
    """
    levels = _column(entries, "level").unique().to_pylist()
    foreign = tuple(sorted(set(levels) - set(AD_LEVELS)))
    if foreign:
        raise DbtLevelError(foreign)
    platform = _column(entries, "platform")
    columns = {
        "source_relation": pa.repeat("", entries.num_rows),
        "date_day": _column(entries, "date"),
        "platform": pc.if_else(pc.equal(platform, "meta"), "facebook_ads", platform),
        **{name: _column(entries, column) for name, column in _TEXT_NAMES.items()},
        "clicks": _column(entries, "clicks"),
        "impressions": _column(entries, "impressions"),
        "spend": _units(_column(entries, "spend_micros")),
        "conversions": _units(_column(entries, "conversions_micros")),
        "conversions_value": _units(_column(entries, "revenue_micros")),
        **{name: _column(entries, column) for name, column in _ADDED_NAMES.items()},
    }
    return pa.table(columns)


def _column(entries: pa.Table, name: str) -> pa.Array:
    """A column as one array, null where the table leaves it out or has an empty text."""
    type_ = ENTRY_SCHEMA.field(name).type
    if name not in entries.column_names:
        return pa.nulls(entries.num_rows, type_)
    column = entries.column(name).combine_chunks()
    if not pa.types.is_string(type_):
        return column
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def _units(micros: pa.Array) -> pa.Array:
    exact = micros.cast(pa.decimal128(19, 0))
    return pc.multiply(exact, _MICRO).cast(_UNIT)

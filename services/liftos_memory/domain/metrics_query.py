"""Questions about sums of metrics, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Final

import pyarrow as pa

from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.core.filters import Filter, parse_filter
from liftos_mapping.entry_fields import ADDITIVE_METRICS, LEVELS
from liftos_memory.domain.currencies import CURRENCY_CODES
from liftos_memory.domain.derived_metrics import ACCOUNT_COLUMNS, DERIVED_METRIC_NAMES
from liftos_memory.domain.entry_filter import ENTRY_FILTER_FIELDS
from liftos_memory.domain.finished_days import FinishedDays

MAXIMUM_DAYS: Final = 4_000
MAXIMUM_DIMENSIONS: Final = 8

DIMENSIONS: Final = (
    "platform",
    "account_id",
    "campaign_id",
    "ad_group_id",
    "ad_id",
    "flow_id",
    "message_id",
    "series_id",
    "channel",
    "attribution_key",
    "date_basis",
    "breakdown",
    "breakdown_key",
    "day_of_week",
)
"""What sums may be grouped by.

A breakdown is the names in a breakdown key, joined by `&`, as `age&gender`; empty is the whole day.
Days of the week count from Monday, which is 1.
"""

OBJECT_DIMENSIONS: Final = frozenset(
    {"campaign_id", "ad_group_id", "ad_id", "flow_id", "message_id", "series_id"}
)
"""Dimensions by which a row is of one object, and so of one source of ratios."""

IS_MAIL: Final = "is_mail"
"""Whether entries are of mails, which are a source apart; see `derived_metrics`."""

APART: Final = ("date_basis", "breakdown")
"""What is never summed across, asked for or not: the same clicks and sales stand under each."""

TAIL_COLUMNS: Final = ("entry_count", "quality_score", "final")
"""What every row of sums says about its entries: how many, the lowest score, whether all final."""


class Granularity(Enum):
    """The step of time of a query; weeks are ISO weeks, which begin on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class MetricsQuery:
    """A question that keeps the rules; built by `metrics_query`.

    Attributes:
        start_date: First day that is summed.
        end_date: Last day that is summed.
        level: The one level.
        granularity: The step of time.
        group_by: Dimensions, in the order of the request.
        where: Only entries that match.
        minimum_quality_score: Only entries that score at least this, 0 to 1.
        currency_code: Currency that all money is converted to; empty keeps currencies apart.
        finished: Leaves out entries of the day before today where it is not over, and those that
            were written before their day was; None leaves out nothing.
    """

    start_date: date
    end_date: date
    level: str
    granularity: Granularity
    group_by: tuple[str, ...] = ()
    where: Filter | None = None
    minimum_quality_score: float | None = None
    currency_code: str = ""
    finished: FinishedDays | None = None

    @property
    def dimensions(self) -> tuple[str, ...]:
        """What rows are grouped by: what was asked for, then what is never summed across."""
        return (*self.group_by, *(name for name in APART if name not in self.group_by))

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Columns that tell rows apart, and by which they are ordered."""
        own = () if self.currency_code else ("currency_code",)
        return ("period_start_date", *self.dimensions, *own)

    @property
    def source_columns(self) -> tuple[str, ...]:
        """What tells the sources of a row apart, beside what it is grouped by."""
        if not OBJECT_DIMENSIONS.isdisjoint(self.group_by):
            return ()
        mail = () if "channel" in self.group_by else (IS_MAIL,)
        return (*(name for name in ACCOUNT_COLUMNS if name not in self.group_by), *mail)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the answer, in order."""
        return (
            "period_start_date",
            *self.dimensions,
            "currency_code",
            *ADDITIVE_METRICS,
            *DERIVED_METRIC_NAMES,
            *TAIL_COLUMNS,
        )

    @property
    def schema(self) -> pa.Schema:
        """Columns of the answer in Arrow.

        Dimensions are text and never null: what an object does not have is empty. currency_code is
        null where no entry of the row names one.
        """
        return pa.schema(
            [
                pa.field("period_start_date", pa.date32(), nullable=False),
                *(pa.field(name, pa.string(), nullable=False) for name in self.dimensions),
                pa.field("currency_code", pa.string()),
                *(pa.field(name, pa.int64()) for name in ADDITIVE_METRICS),
                *(pa.field(name, pa.float64()) for name in DERIVED_METRIC_NAMES),
                pa.field("entry_count", pa.int64(), nullable=False),
                pa.field("quality_score", pa.float64(), nullable=False),
                pa.field("final", pa.bool_(), nullable=False),
            ]
        )


def metrics_query(
    *,
    start_date: str,
    end_date: str,
    level: str,
    granularity: Granularity,
    group_by: Sequence[str] = (),
    filter_text: str = "",
    minimum_quality_score: float | None = None,
    currency_code: str = "",
) -> MetricsQuery:
    """Return a query after checking it.

    Args:
        start_date: First day, YYYY-MM-DD.
        end_date: Last day, YYYY-MM-DD.
        level: One of `LEVELS`.
        granularity: The step of time.
        group_by: Of `DIMENSIONS`, each once, at most 8.
        filter_text: A filter of entries.
        minimum_quality_score: 0 to 1, or None.
        currency_code: ISO 4217 code, or empty.

    Raises:
        InvalidFieldsError: Fields break rules; lists every one.
        FilterError: The filter cannot be read.
    """
    violations: list[FieldViolation] = []

    def refuse(field: str, description: str, rule: str) -> None:
        violations.append(FieldViolation(field, description, f"metrics_query.{rule}"))

    days = [
        _read_day(text, f"date_range.{name}", violations)
        for name, text in (("start_date", start_date), ("end_date", end_date))
    ]
    first, last = days
    if first is not None and last is not None:
        count = (last - first).days + 1
        if count < 1:
            refuse("date_range", "end_date must not be before start_date", "date_order")
        elif count > MAXIMUM_DAYS:
            refuse(
                "date_range", f"has {count} days; ask for at most {MAXIMUM_DAYS}", "maximum_days"
            )
    if level not in LEVELS:
        refuse("level", "name one level: levels are never summed across", "level")
    if len(group_by) > MAXIMUM_DIMENSIONS or len(set(group_by)) < len(group_by):
        refuse("group_by", f"name at most {MAXIMUM_DIMENSIONS} dimensions, each once", "group_by")
    for index, name in enumerate(group_by):
        if name not in DIMENSIONS:
            refuse(
                f"group_by[{index}]",
                f"{name!r:.80} is no dimension; choose from {', '.join(DIMENSIONS)}",
                "dimension",
            )
    if minimum_quality_score is not None and not 0.0 <= minimum_quality_score <= 1.0:
        refuse("minimum_quality_score", "must be from 0 to 1", "quality")
    if currency_code and currency_code not in CURRENCY_CODES:
        refuse(
            "currency_code",
            f"{currency_code!r:.20} is no ISO 4217 code of money in use since 2000",
            "currency",
        )
    if violations or first is None or last is None:
        raise InvalidFieldsError(violations)
    return MetricsQuery(
        start_date=first,
        end_date=last,
        level=level,
        granularity=granularity,
        group_by=tuple(group_by),
        where=parse_filter(filter_text, ENTRY_FILTER_FIELDS),
        minimum_quality_score=minimum_quality_score,
        currency_code=currency_code,
    )


def _read_day(text: str, field: str, violations: list[FieldViolation]) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        violations.append(
            FieldViolation(field, f"{text!r:.20} is no day of the calendar", "metrics_query.day")
        )
        return None

"""Questions for data sets of causal analysis, checked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from liftos_kit.core.errors import FieldViolation, FilterError, InvalidFieldsError
from liftos_kit.core.filters import Filter, parse_filter
from liftos_memory.domain.calendar import FIRST_DAY, LAST_DAY
from liftos_memory.domain.currencies import CURRENCY_CODES
from liftos_memory.domain.entry_filter import ENTRY_FILTER_FIELDS
from liftos_memory.domain.metrics_query import MAXIMUM_DAYS, Granularity

TREATMENT_LEVELS: Final = ("CAMPAIGN", "ACCOUNT", "AD_GROUP", "AD", "MESSAGE", "FLOW")
"""Levels of treatments in the order in which an account is looked for, unless a request says."""

ACCOUNT_UNIT: Final = "account_id"
"""The unit that is no breakdown: each account for itself."""

_WEEK: Final = timedelta(days=7)


class DatasetFormat(StrEnum):
    """The shape of a data set."""

    LONG = "long"
    MERIDIAN = "meridian"
    PYMC = "pymc"
    ROBYN = "robyn"


class GapPolicy(StrEnum):
    """What happens where a number is unknown."""

    FAIL = "fail"
    TRIM = "trim"
    ZERO = "zero"


class Kpi(StrEnum):
    """What happened, and is to be explained."""

    REVENUE = "revenue"
    ORDERS = "orders"
    CONVERSIONS = "conversions"

    @property
    def metric(self) -> str:
        """The column of an entry that holds it."""
        return "orders" if self is Kpi.ORDERS else f"{self.value}_micros"

    @property
    def attributed(self) -> bool:
        """Whether it is what platforms claim rather than what a shop counted."""
        return self is Kpi.CONVERSIONS

    @property
    def kind(self) -> str:
        """The kind that models tell apart: "revenue" or "non_revenue"."""
        return "revenue" if self is Kpi.REVENUE else "non_revenue"


@dataclass(frozen=True, slots=True)
class Step:
    """A whole day, week or month, named by its first day."""

    start: date
    end: date


@dataclass(frozen=True, slots=True)
class DatasetRequest:
    """A question that keeps the rules; built by `dataset_request`.

    Attributes:
        start_date: First day that is asked about.
        end_date: Last day.
        format: The shape.
        granularity: DAY, WEEK or MONTH.
        kpi: The outcome.
        on_gap: What happens where a number is unknown.
        unit: What a unit is; empty for the nation, `ACCOUNT_UNIT`, or the name of a breakdown.
        levels: Of treatments, best first.
        where: Which entries are treatments.
        kpi_where: Which entries of level OUTCOME count.
        control_where: Which entries of level CONTROL count.
        currency_code: Currency of all money; empty is the org's base currency.
    """

    start_date: date
    end_date: date
    format: DatasetFormat
    granularity: Granularity = Granularity.DAY
    kpi: Kpi = Kpi.REVENUE
    on_gap: GapPolicy = GapPolicy.FAIL
    unit: str = ""
    levels: tuple[str, ...] = TREATMENT_LEVELS
    where: Filter | None = None
    kpi_where: Filter | None = None
    control_where: Filter | None = None
    currency_code: str = ""


def dataset_request(
    *,
    start_date: str,
    end_date: str,
    format: DatasetFormat,  # noqa: A002 - the contract's word
    granularity: Granularity = Granularity.DAY,
    kpi: str = "revenue",
    allow_attributed_kpi: bool = False,
    on_gap: GapPolicy = GapPolicy.FAIL,
    unit: str = "",
    levels: Sequence[str] = (),
    filter_text: str = "",
    kpi_filter_text: str = "",
    control_filter_text: str = "",
    currency_code: str = "",
) -> DatasetRequest:
    """Return a question after checking it; see `DatasetRequest` for the fields.

    Raises:
        InvalidFieldsError: Fields break rules; lists every one.
        FilterError: `filter` cannot be read.
    """
    violations: list[FieldViolation] = []

    def refuse(field: str, description: str, rule: str) -> None:
        violations.append(FieldViolation(field, description, f"export_dataset.{rule}"))

    first, last = _read_range(start_date, end_date, refuse)
    if granularity not in (Granularity.DAY, Granularity.WEEK, Granularity.MONTH):
        refuse("granularity", "must be DAY, WEEK or MONTH", "granularity")
    outcome = Kpi(kpi)
    if outcome.attributed and not allow_attributed_kpi:
        refuse(
            "kpi",
            "conversions are what platforms claim for themselves, so a model of them is circular; "
            "take revenue or orders, or set allow_attributed_kpi",
            "attributed_kpi",
        )
    if outcome.attributed and kpi_filter_text:
        refuse("kpi_filter", "chooses among outcomes; conversions are chosen by filter", "kpi")
    if unit and format is DatasetFormat.ROBYN:
        refuse("unit", "Robyn models one series; leave unit empty", "unit")
    if currency_code and currency_code not in CURRENCY_CODES:
        refuse(
            "currency_code",
            f"{currency_code!r:.20} is no ISO 4217 code of money in use since 2000",
            "currency",
        )
    kpi_where = _read_filter("kpi_filter", kpi_filter_text, refuse)
    control_where = _read_filter("control_filter", control_filter_text, refuse)
    if violations:
        raise InvalidFieldsError(violations)
    return DatasetRequest(
        start_date=first,
        end_date=last,
        format=format,
        granularity=granularity,
        kpi=outcome,
        on_gap=on_gap,
        unit=unit,
        levels=tuple(levels) or TREATMENT_LEVELS,
        where=parse_filter(filter_text, ENTRY_FILTER_FIELDS),
        kpi_where=kpi_where,
        control_where=control_where,
        currency_code=currency_code,
    )


def _read_range(
    start_date: str, end_date: str, refuse: Callable[[str, str, str], None]
) -> tuple[date, date]:
    """Return the days of a range; of one that is refused, any two."""
    days = []
    for name, text in (("start_date", start_date), ("end_date", end_date)):
        try:
            days.append(date.fromisoformat(text))
        except ValueError:
            refuse(f"date_range.{name}", f"{text!r:.20} is no day of the calendar", "day")
    if len(days) < 2:
        return FIRST_DAY, FIRST_DAY
    first, last = days
    count = (last - first).days + 1
    if count < 1:
        refuse("date_range", "end_date must not be before start_date", "date_order")
    elif first < FIRST_DAY or last > LAST_DAY:
        refuse("date_range", f"the calendar goes from {FIRST_DAY} to {LAST_DAY}", "calendar")
    elif count > MAXIMUM_DAYS:
        refuse("date_range", f"has {count} days; ask for at most {MAXIMUM_DAYS}", "maximum_days")
    return first, last


def _read_filter(field: str, text: str, refuse: Callable[[str, str, str], None]) -> Filter | None:
    try:
        return parse_filter(text, ENTRY_FILTER_FIELDS)
    except FilterError as error:
        refuse(field, error.message.removeprefix("filter, "), "filter")
        return None


def complete_steps(start: date, end: date, granularity: Granularity) -> list[Step]:
    """Return the steps that lie whole between two days, both included; weeks begin on Monday."""
    steps: list[Step] = []
    first = _first_start(start, granularity)
    while (last := _next_start(first, granularity) - timedelta(days=1)) <= end:
        steps.append(Step(first, last))
        first = last + timedelta(days=1)
    return steps


def last_finished_day(as_of: datetime, zones_today: Sequence[date]) -> date:
    """Return the last day that had ended everywhere at a moment.

    Args:
        as_of: The moment, in UTC.
        zones_today: The date at that moment in the zone of each account; none are UTC.
    """
    return min(zones_today, default=as_of.date()) - timedelta(days=1)


def _first_start(day: date, granularity: Granularity) -> date:
    if granularity is Granularity.WEEK:
        return day + timedelta(days=-day.weekday() % 7)
    if granularity is Granularity.MONTH and day.day > 1:
        return _next_start(day.replace(day=1), granularity)
    return day


def _next_start(start: date, granularity: Granularity) -> date:
    if granularity is Granularity.WEEK:
        return start + _WEEK
    if granularity is Granularity.MONTH:
        return (start + timedelta(days=31)).replace(day=1)
    return start + timedelta(days=1)

"""Comparisons of channels and periods: the question, checked.

`comparison_sums` are what answers it, and `comparison_findings` makes the answer of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.core.filters import And, Comparison, Filter, Operator, Or
from liftos_mapping.entry_fields import ADDITIVE_METRICS, ENTRY_FIELDS, FieldKind
from liftos_memory.domain.derived_metrics import ACCOUNT_COLUMNS, DERIVED_METRICS, Denominator
from liftos_memory.domain.metrics_query import (
    DIMENSIONS,
    Granularity,
    MetricsQuery,
    metrics_query,
)

MAXIMUM_PERIOD_DAYS: Final = 1_100
MAXIMUM_MEMBERS: Final = 2_000
MAXIMUM_CELLS: Final = 1_000_000
"""Days times members: what is computed on arrays has to fit into memory."""
MAXIMUM_LAG_DAYS: Final = 28
DEFAULT_LAG_DAYS: Final = 7

_MICROS: Final = "_micros"
MONEY: Final = frozenset(f.name for f in ENTRY_FIELDS if f.kind is FieldKind.MONEY)
_CREDITED: Final = frozenset(
    {
        "conversions_micros",
        "all_conversions_micros",
        "view_through_conversions_micros",
        "revenue_micros",
        "orders",
    }
)
"""What platforms credit to ads by an attribution of their own."""
_SETTINGS: Final = ("attribution_key", "date_basis", "breakdown_key")
"""Parts of an entry's key by which a day of an object can have several entries."""


@dataclass(frozen=True, slots=True)
class ComparedMetric:
    """A metric that can be compared: a sum in units, or a ratio of sums.

    Attributes:
        name: Its name in the contract.
        numerator: The column that is summed, or stands above the line.
        denominators: Columns below the line, of which the first that is set counts; none for sums.
        divisor: What a sum is divided by to be in units.
    """

    name: str
    numerator: str
    denominators: tuple[Denominator, ...] = ()
    divisor: float = 1.0

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it is made of."""
        return (self.numerator, *(one.column for one in self.denominators))

    @property
    def has_money(self) -> bool:
        """Whether it depends on a currency."""
        return not MONEY.isdisjoint(self.columns)

    @property
    def is_credited(self) -> bool:
        """Whether it rests on what platforms credit to their ads."""
        return not _CREDITED.isdisjoint(self.columns)


COMPARED_METRICS: Final[Mapping[str, ComparedMetric]] = {
    metric.name: metric
    for metric in (
        *(
            ComparedMetric(
                name.removesuffix(_MICROS), name, divisor=1e6 if name.endswith(_MICROS) else 1.0
            )
            for name in ADDITIVE_METRICS
        ),
        *(ComparedMetric(m.name, m.numerator, m.denominators) for m in DERIVED_METRICS),
    )
}
"""What may be compared, by name."""


@dataclass(frozen=True, slots=True)
class Period:
    """Days from the first to the last."""

    start: date
    end: date

    @property
    def day_count(self) -> int:
        """How many days it has."""
        return (self.end - self.start).days + 1

    def overlaps(self, other: "Period") -> bool:
        """Return whether a day is in both."""
        return self.start <= other.end and other.start <= self.end


@dataclass(frozen=True, slots=True)
class ComparisonQuestion:
    """A comparison that keeps the rules; built by `comparison_question`.

    Attributes:
        asked: The days that are asked about.
        baseline: The days that they are held against.
        metrics: What is compared.
        dimension: What is set side by side.
        maximum_lag_days: How far correlations look.
        daily: The query of the sums behind it.
    """

    asked: Period
    baseline: Period
    metrics: tuple[ComparedMetric, ...]
    dimension: str
    maximum_lag_days: int
    daily: MetricsQuery

    @property
    def days(self) -> tuple[date, ...]:
        """All days of both periods, in order."""
        return tuple(
            period.start + timedelta(days=offset)
            for period in sorted((self.asked, self.baseline), key=lambda one: one.start)
            for offset in range(period.day_count)
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the sums that are needed."""
        summed = (name for metric in self.metrics for name in metric.columns)
        return tuple(
            dict.fromkeys(
                (
                    "period_start_date",
                    *self.daily.group_by,
                    "currency_code",
                    *summed,
                    "quality_score",
                    "final",
                )
            )
        )

    @property
    def wants_efficiency(self) -> bool:
        """Whether ROAS is asked for all there is, so that the shop's revenue says more."""
        return (
            self.daily.level != "OUTCOME"
            and any(metric.name == "roas" for metric in self.metrics)
            and not self._is_filtered
        )

    @property
    def outcomes(self) -> "ComparisonQuestion":
        """The question of the shop's revenue over the same days."""
        return replace(
            self,
            metrics=(COMPARED_METRICS["revenue"],),
            dimension="platform",
            daily=replace(self.daily, level="OUTCOME", group_by=_daily_groups("platform")),
        )

    @property
    def _is_filtered(self) -> bool:
        where = self.daily.where
        return self.daily.minimum_quality_score is not None or not (
            where is None or where == _only_days((self.asked, self.baseline))
        )


def comparison_question(
    *,
    asked: tuple[date, date],
    baseline: tuple[date, date] | None,
    level: str,
    metrics: Sequence[str],
    dimension: str,
    filter_text: str = "",
    minimum_quality_score: float | None = None,
    currency_code: str = "",
    maximum_lag_days: int | None = None,
) -> ComparisonQuestion:
    """Return a question after checking it.

    Args:
        asked: First and last day.
        baseline: First and last day; None is as many days before.
        level: The one level.
        metrics: Of `COMPARED_METRICS`.
        dimension: Of `metrics_query.DIMENSIONS`.
        filter_text: A filter of entries.
        minimum_quality_score: 0 to 1, or None.
        currency_code: ISO 4217 code, or empty.
        maximum_lag_days: How far correlations look, or None.

    Raises:
        InvalidFieldsError: Fields break rules; lists every one.
        FilterError: The filter cannot be read.
    """
    violations: list[FieldViolation] = []

    def refuse(field: str, description: str, rule: str) -> None:
        violations.append(FieldViolation(field, description, f"comparison.{rule}"))

    asked_period = Period(*asked)
    baseline_period = _days_before(asked_period) if baseline is None else Period(*baseline)
    for index, name in enumerate(metrics):
        if name not in COMPARED_METRICS:
            choices = ", ".join(COMPARED_METRICS)
            refuse(f"metrics[{index}]", f"{name!r:.80} is none of {choices}", "metric")
    if not metrics:
        refuse("metrics", "name at least one metric", "metrics")
    if dimension not in DIMENSIONS:
        refuse("dimension", f"{dimension!r:.80} is none of {', '.join(DIMENSIONS)}", "dimension")
    for field, period in (
        ("date_range", asked_period),
        ("baseline_date_range", baseline_period),
    ):
        if period is not None and period.day_count > MAXIMUM_PERIOD_DAYS:
            refuse(
                field,
                f"has {period.day_count} days; compare at most {MAXIMUM_PERIOD_DAYS}",
                "maximum_days",
            )
    if baseline_period is None:
        refuse("date_range", "there are not so many days before; name a baseline", "baseline")
    elif asked_period.overlaps(baseline_period):
        refuse("baseline_date_range", "must not overlap with date_range", "overlap")
    lag = DEFAULT_LAG_DAYS if maximum_lag_days is None else maximum_lag_days
    if not 0 <= lag <= MAXIMUM_LAG_DAYS:
        refuse("maximum_lag_days", f"must be from 0 to {MAXIMUM_LAG_DAYS}", "lag")
    if violations or baseline_period is None:
        raise InvalidFieldsError(violations)
    periods = (asked_period, baseline_period)
    daily = metrics_query(
        start_date=min(period.start for period in periods).isoformat(),
        end_date=max(period.end for period in periods).isoformat(),
        level=level,
        granularity=Granularity.DAY,
        group_by=_daily_groups(dimension),
        filter_text=filter_text,
        minimum_quality_score=minimum_quality_score,
        currency_code=currency_code,
    )
    return ComparisonQuestion(
        asked=asked_period,
        baseline=baseline_period,
        metrics=tuple(COMPARED_METRICS[name] for name in metrics),
        dimension=dimension,
        maximum_lag_days=lag,
        daily=replace(daily, where=_and(daily.where, _only_days(periods))),
    )


def _daily_groups(dimension: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((dimension, *_SETTINGS, *ACCOUNT_COLUMNS, "channel")))


def _days_before(period: Period) -> Period | None:
    length = timedelta(days=period.day_count)
    if period.start - date.min < length:
        return None
    return Period(period.start - length, period.start - timedelta(days=1))


def _only_days(periods: Sequence[Period]) -> Filter | None:
    """Return what leaves out the days between two periods; None where there are none."""
    first, second = sorted(periods, key=lambda one: one.start)
    if second.start - first.end == timedelta(days=1):
        return None
    return Or(
        (
            Comparison("date", Operator.LESS_OR_EQUAL, first.end),
            Comparison("date", Operator.GREATER_OR_EQUAL, second.start),
        )
    )


def _and(first: Filter | None, second: Filter | None) -> Filter | None:
    if first is None or second is None:
        return first or second
    return And((first, second))


def too_many_members(found: str) -> InvalidFieldsError:
    """Return the refusal of a comparison that is too large."""
    return InvalidFieldsError.of(
        "dimension",
        f"has {found}; narrow it with a filter to at most {MAXIMUM_MEMBERS} members, and to at most"
        f" {MAXIMUM_CELLS} days times members",
        rule="comparison.members",
    )

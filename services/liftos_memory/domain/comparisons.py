"""Comparisons of channels and periods: the question, checked, and the daily sums that answer it.

`comparison_findings` makes the answer of these sums.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.core.filters import And, Comparison, Filter, Operator, Or
from liftos_mapping.entry_fields import ADDITIVE_METRICS, ENTRY_FIELDS, FieldKind
from liftos_memory.domain.comparison_statistics import Booleans, Integers
from liftos_memory.domain.derived_metrics import DERIVED_METRICS, Denominator
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
_MONEY: Final = frozenset(f.name for f in ENTRY_FIELDS if f.kind is FieldKind.MONEY)
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
_LARGEST_SUM: Final = float(2**63 - 1)


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
        return not _MONEY.isdisjoint(self.columns)

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
            daily=replace(self.daily, level="OUTCOME", group_by=("platform", *_SETTINGS)),
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
        group_by=tuple(dict.fromkeys((dimension, *_SETTINGS))),
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


@dataclass(frozen=True, slots=True, eq=False)
class DailySums:
    """Sums of each day and member, in one currency or in none.

    Attributes:
        members: Values of the dimension, in order.
        days: All days, in order.
        sums: By column, shape (days, members); 0 where unset.
        is_set: By column, where some entry reported it.
    """

    members: tuple[str, ...]
    days: tuple[date, ...]
    sums: Mapping[str, Integers]
    is_set: Mapping[str, Booleans]


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """What is known of the entries of a member, of both periods.

    Attributes:
        quality_score: The lowest.
        final: Whether all of them are.
        attribution_settings: `attribution_key/date_basis`, in order.
    """

    quality_score: float
    final: bool
    attribution_settings: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ComparedSums:
    """All that a comparison is made of.

    Attributes:
        by_currency: Daily sums of the entries of each currency; "" where an entry names none.
        together: Daily sums over all currencies, for what has to do with no money.
        facts: By member.
    """

    by_currency: Mapping[str, DailySums]
    together: DailySums
    facts: Mapping[str, MemberFacts]


def too_many_members(found: str) -> InvalidFieldsError:
    """Return the refusal of a comparison that is too large."""
    return InvalidFieldsError.of(
        "dimension",
        f"has {found}; narrow it with a filter to at most {MAXIMUM_MEMBERS} members, and to at most"
        f" {MAXIMUM_CELLS} days times members",
        rule="comparison.members",
    )


def compared_sums(question: ComparisonQuestion, batches: Sequence[pa.RecordBatch]) -> ComparedSums:
    """Return the sums of an answer to the question's daily query.

    Args:
        question: What is asked.
        batches: Its rows, with the columns of the question.

    Raises:
        InvalidFieldsError: There are too many members, one of them has entries that cannot be
            added up, or a sum does not fit into 64 bits.
    """
    schema = pa.schema([question.daily.schema.field(name) for name in question.columns])
    table = pa.Table.from_batches(batches, schema=schema).combine_chunks()
    member_codes, members = _coded(table.column(question.dimension))
    days = question.days
    if len(members) > MAXIMUM_MEMBERS or len(members) * len(days) > MAXIMUM_CELLS:
        raise too_many_members(f"{len(members)} members over {len(days)} days")
    _check_apart(table, member_codes, members)
    places = _day_places(table.column("period_start_date"), days)
    codes, currencies = _coded(table.column("currency_code"))
    columns = list(dict.fromkeys(name for one in question.metrics for name in one.columns))

    def dense(rows: npt.NDArray[np.intp]) -> DailySums:
        sums, is_set = {}, {}
        for name in columns:
            sums[name], is_set[name] = _dense(
                table.column(name),
                rows,
                places,
                member_codes,
                (len(days), len(members)),
            )
        return DailySums(members, days, sums, is_set)

    everything = np.arange(table.num_rows)
    money = [name for name in columns if name in _MONEY]
    by_currency: dict[str, DailySums] = {}
    for code, currency in enumerate(currencies if money else ()):
        daily = dense(everything[codes == code])
        if any(daily.is_set[name].any() for name in money):
            by_currency[currency] = daily
    together = dense(everything)
    # Without any amount, what has to do with money is told as unset rather than not at all.
    return ComparedSums(
        by_currency=by_currency or {"": together},
        together=together,
        facts=_facts(table, member_codes, members),
    )


def _coded(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.intp], tuple[str, ...]]:
    """Return each row's place among the values, and the values in order; null is empty."""
    texts = pc.fill_null(column, "").combine_chunks()
    encoded = texts.dictionary_encode()
    values = encoded.dictionary.to_pylist()
    ordered = sorted(values)
    rank = {value: place for place, value in enumerate(ordered)}
    places = np.array([rank[value] for value in values], np.intp)
    indices = encoded.indices.to_numpy(zero_copy_only=False)
    return places[indices] if len(places) else np.zeros(0, np.intp), tuple(ordered)


def _day_places(column: pa.ChunkedArray, days: Sequence[date]) -> npt.NDArray[np.intp]:
    every = np.array(days, "datetime64[D]")
    found: npt.NDArray[np.intp] = np.searchsorted(every, column.to_numpy().astype("datetime64[D]"))
    return found


def _dense(
    column: pa.ChunkedArray,
    rows: npt.NDArray[np.intp],
    places: npt.NDArray[np.intp],
    members: npt.NDArray[np.intp],
    shape: tuple[int, int],
) -> tuple[Integers, Booleans]:
    valid = np.asarray(column.is_valid())[rows]
    used = rows[valid]
    values: Integers = pc.fill_null(column, 0).to_numpy()[used]
    if np.abs(values.astype(np.float64)).sum() >= _LARGEST_SUM:
        raise InvalidFieldsError.of(
            "date_range",
            "a sum does not fit into 64 bits; ask for a shorter range",
            rule="comparison.sum",
        )
    sums = np.zeros(shape, np.int64)
    is_set = np.zeros(shape, np.bool_)
    where = (places[used], members[used])
    np.add.at(sums, where, values)
    is_set[where] = True
    return sums, is_set


def _facts(
    table: pa.Table, member_codes: npt.NDArray[np.intp], members: Sequence[str]
) -> dict[str, MemberFacts]:
    quality = np.full(len(members), np.inf)
    final = np.ones(len(members), np.bool_)
    np.minimum.at(quality, member_codes, table.column("quality_score").to_numpy())
    np.logical_and.at(final, member_codes, table.column("final").to_numpy())
    settings: list[set[str]] = [set() for _ in members]
    key_codes, keys = _coded(table.column("attribution_key"))
    basis_codes, bases = _coded(table.column("date_basis"))
    for member, key, basis in set(
        zip(member_codes.tolist(), key_codes.tolist(), basis_codes.tolist(), strict=True)
    ):
        settings[member].add(f"{keys[key]}/{bases[basis]}")
    return {
        name: MemberFacts(float(quality[place]), bool(final[place]), tuple(sorted(settings[place])))
        for place, name in enumerate(members)
    }


def _check_apart(
    table: pa.Table, member_codes: npt.NDArray[np.intp], members: Sequence[str]
) -> None:
    """Refuse members under whose name the same clicks and sales stand more than once."""
    for field, read, example in (
        ("date_basis", str, "date_basis = INTERACTION"),
        ("breakdown_key", _breakdown, 'breakdown_key = ""'),
    ):
        codes, values = _coded(table.column(field))
        kinds: dict[int, set[str]] = {}
        for member, code in set(zip(member_codes.tolist(), codes.tolist(), strict=True)):
            kinds.setdefault(member, set()).add(read(values[code]))
        mixed = [member for member, found in kinds.items() if len(found) > 1]
        if mixed:
            first = min(mixed)
            found = ", ".join(kind or "whole days" for kind in sorted(kinds[first]))
            raise InvalidFieldsError.of(
                "filter",
                f"{members[first]!r:.80} has entries of several kinds ({found:.200}), under each of"
                f" which the same clicks and sales stand; choose one, such as {example}",
                rule=f"comparison.{field}",
            )


def _breakdown(key: str) -> str:
    """Return the names in a breakdown key: "age&gender" of "age=18-24&gender=female"."""
    return "&".join(part.partition("=")[0] for part in key.split("&"))

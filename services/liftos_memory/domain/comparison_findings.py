"""What daily sums say about members and periods: pure, from arrays to findings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from liftos_memory.domain.calendar import CalendarDay
from liftos_memory.domain.comparison_statistics import (
    Booleans,
    Effects,
    Floats,
    Integers,
    change_interval,
    delta_interval,
    divide,
    lagged_correlations,
    mix_and_rate,
    percentiles,
    special_day_effects,
    weekday_effects,
)
from liftos_memory.domain.comparison_sums import (
    ComparedSums,
    DailySums,
    MetricSums,
    metric_sums,
)
from liftos_memory.domain.comparisons import ComparedMetric, ComparisonQuestion, Period
from liftos_memory.domain.intervals import Interval, wilson_interval

LARGEST_MEMBERS: Final = 20
"""Correlations and effects are told of so many members: all pairs of thousands say nothing."""

_MINIMUM_ORDINARY_DAYS: Final = 14
_WEEKDAY_NAMES: Final = (
    "MONDAY",
    "TUESDAY",
    "WEDNESDAY",
    "THURSDAY",
    "FRIDAY",
    "SATURDAY",
    "SUNDAY",
)


class DayKind(Enum):
    """A kind of day, in the order of the contract's numbers, which start at 1."""

    DAY_OF_WEEK = "DAY_OF_WEEK"
    HOLIDAY = "HOLIDAY"
    RETAIL_EVENT = "RETAIL_EVENT"
    EVENT = "EVENT"


@dataclass(frozen=True, slots=True)
class Correlation:
    """How two members move together; see `comparison_statistics.Lagged`."""

    first_member: str
    second_member: str
    coefficient: float
    lag_days: int
    day_count: int
    p_value: float


@dataclass(frozen=True, slots=True)
class DayEffect:
    """What a kind of day does.

    member is None for all of them together, day_name empty for all days of the kind.
    """

    member: str | None
    kind: DayKind
    day_name: str
    ratio: float
    low: float
    high: float
    day_count: int


@dataclass(frozen=True, slots=True, eq=False)
class MetricFindings:
    """One metric in one currency; arrays have a place for each member, and one for the total.

    Attributes:
        metric: Its name.
        currency_code: Its currency; empty where it has none.
        members: Names; the last one stands for the total.
        value: In the asked days.
        baseline: In the baseline days.
        change: Their difference.
        change_ratio: Of the baseline.
        percentile: Among the members; NaN for the total.
        mix_effect: On the total; NaN for sums.
        rate_effect: On the total; NaN for sums.
        interval: Of the value.
        change_interval: Of the change.
        is_wilson: Where both intervals are Wilson's.
        day_count: Asked days with the metric.
        baseline_day_count: Baseline days with it.
        correlations: Strongest first.
        day_effects: Of the total and the largest members.
    """

    metric: str
    currency_code: str
    members: tuple[str, ...]
    value: Floats
    baseline: Floats
    change: Floats
    change_ratio: Floats
    percentile: Floats
    mix_effect: Floats
    rate_effect: Floats
    interval: Interval
    change_interval: Interval
    is_wilson: Booleans
    day_count: Integers
    baseline_day_count: Integers
    correlations: tuple[Correlation, ...]
    day_effects: tuple[DayEffect, ...]


@dataclass(frozen=True, slots=True)
class _Series:
    """A metric day by day: members, and their total last.

    Attributes:
        above: Numerators, 0 where unset.
        below: Denominators in the unit of the ratio; for sums 1 where set.
        counted: Days that take part.
        has_value: Days on which the metric itself can be told.
    """

    above: Floats
    below: Floats
    counted: Booleans
    has_value: Booleans

    def of(self, places: Integers) -> "_Series":
        """Return the series of some members."""
        return _Series(
            self.above[:, places],
            self.below[:, places],
            self.counted[:, places],
            self.has_value[:, places],
        )


def findings(
    question: ComparisonQuestion, sums: ComparedSums, calendar: Sequence[CalendarDay]
) -> list[MetricFindings]:
    """Return what is found, by metric in the order asked, and currency.

    Args:
        question: What is asked.
        sums: The daily sums.
        calendar: Every day from the first to the last of the question.
    """
    wanted = set(question.days)
    days = [day for day in calendar if day.date in wanted]
    return [
        _metric_findings(question, metric, currency, daily, days)
        for metric in question.metrics
        for currency, daily in _in_currencies(metric, sums)
    ]


def _in_currencies(metric: ComparedMetric, sums: ComparedSums) -> Iterator[tuple[str, DailySums]]:
    if not metric.has_money:
        yield "", sums.together
        return
    several = len(sums.by_currency) > 1
    for currency, daily in sums.by_currency.items():
        reported: Booleans = np.any(daily.reported(slice(None), metric.columns), axis=0)
        if several and not reported.any():
            continue
        yield currency, daily.of_members(reported) if several else daily


def period_rows(question: ComparisonQuestion, period: Period) -> slice:
    """Return where the days of a period are among all days."""
    start = (
        0
        if period.start == question.daily.start_date
        else question.asked.day_count + question.baseline.day_count - period.day_count
    )
    return slice(start, start + period.day_count)


def _metric_findings(
    question: ComparisonQuestion,
    metric: ComparedMetric,
    currency: str,
    daily: DailySums,
    calendar: Sequence[CalendarDay],
) -> MetricFindings:
    members = daily.members
    asked, before = period_rows(question, question.asked), period_rows(question, question.baseline)
    value_sums = metric_sums(metric, daily, asked)
    baseline_sums = metric_sums(metric, daily, before)
    value, baseline = _values(metric, value_sums), _values(metric, baseline_sums)
    now, then = _series(metric, value_sums), _series(metric, baseline_sums)
    interval, wilson = _interval(metric, value, now, value_sums)
    interval_before, wilson_before = _interval(metric, baseline, then, baseline_sums)
    mix = rate = np.full(len(value), np.nan)
    if metric.denominators:
        mix, rate = _effects_on_total(value_sums, baseline_sums)
    whole = _series(metric, metric_sums(metric, daily, slice(None)))
    largest = _largest(metric, value_sums)
    weekdays = np.array([day.weekday() for day in daily.days], np.int64)
    return MetricFindings(
        metric=metric.name,
        currency_code=currency,
        members=(*members, ""),
        value=value,
        baseline=baseline,
        change=value - baseline,
        change_ratio=divide(value - baseline, baseline),
        percentile=np.append(percentiles(value[:-1]), np.nan),
        mix_effect=mix,
        rate_effect=rate,
        interval=interval,
        change_interval=change_interval(value, interval, baseline, interval_before),
        is_wilson=wilson & (wilson_before | np.isnan(baseline)),
        day_count=now.has_value.sum(axis=0),
        baseline_day_count=then.has_value.sum(axis=0),
        correlations=_correlations(
            metric,
            [members[place] for place in largest],
            now.of(largest),
            weekdays[asked],
            maximum_lag_days=question.maximum_lag_days,
        ),
        day_effects=_day_effects(
            [*(members[place] for place in largest), None],
            whole.of(np.append(largest, len(members))),
            weekdays,
            calendar,
        ),
    )


def _values(metric: ComparedMetric, sums: MetricSums) -> Floats:
    """Return the metric of a period by the same steps as every other answer."""
    if metric.denominators:
        return divide(sums.total_above, sums.total_below)
    return sums.total_above / metric.divisor


def _series(metric: ComparedMetric, sums: MetricSums) -> _Series:
    return _Series(
        sums.above if metric.denominators else sums.above / metric.divisor,
        sums.below,
        sums.has_above | sums.has_below,
        sums.has_above & sums.has_below,
    )


def _interval(
    metric: ComparedMetric, value: Floats, series: _Series, sums: MetricSums
) -> tuple[Interval, Booleans]:
    if not metric.denominators:
        days = series.below.sum(axis=0)
        mean = delta_interval(series.above, series.below, series.counted)
        return Interval(mean.low * days, mean.high * days), np.zeros(len(days), np.bool_)
    delta = delta_interval(series.above, series.below, series.counted)
    known = ~np.isnan(value)
    delta = Interval(np.where(known, delta.low, np.nan), np.where(known, delta.high, np.nan))
    if metric.has_money:
        return delta, np.zeros(len(value), np.bool_)
    scale = _counting_scale(metric)
    wilson = wilson_interval(
        np.nan_to_num(sums.total_above / scale), np.nan_to_num(sums.total_below / scale)
    )
    is_wilson = known & ~np.isnan(wilson.low)
    return (
        Interval(
            np.where(is_wilson, wilson.low, delta.low),
            np.where(is_wilson, wilson.high, delta.high),
        ),
        is_wilson,
    )


def _counting_scale(metric: ComparedMetric) -> float:
    """Return what turns the numerators of a rate into counts."""
    return 1e6 if metric.numerator.endswith("_micros") else 1.0


def _effects_on_total(now: MetricSums, then: MetricSums) -> tuple[Floats, Floats]:
    """Return mix and rate effects, the total's last; NaN where there is no change to explain."""
    if np.isnan(now.total_below[-1]) or np.isnan(then.total_below[-1]):
        nothing = np.full(len(now.total_above), np.nan)
        return nothing, nothing
    mix, rate = mix_and_rate(now.share_above, now.share_below, then.share_above, then.share_below)
    return np.append(mix, mix.sum()), np.append(rate, rate.sum())


def _largest(metric: ComparedMetric, sums: MetricSums) -> Integers:
    """Return the places of the members with the largest amounts, in order of members."""
    amount = np.abs(np.nan_to_num(sums.total_below if metric.denominators else sums.total_above))[
        :-1
    ]
    found = np.argsort(-amount, kind="stable")[:LARGEST_MEMBERS]
    return np.sort(found[amount[found] > 0]).astype(np.int64)


def _correlations(
    metric: ComparedMetric,
    members: Sequence[str],
    series: _Series,
    weekdays: Integers,
    *,
    maximum_lag_days: int,
) -> tuple[Correlation, ...]:
    if len(members) < 2:
        return ()
    daily = divide(series.above, series.below) if metric.denominators else series.above
    daily = np.where(series.has_value, daily, np.nan)
    found = lagged_correlations(daily, weekdays, maximum_lag_days)
    pairs = [
        Correlation(
            members[first],
            members[second],
            float(found.coefficient[first, second]),
            int(found.lag[first, second]),
            int(found.days[first, second]),
            float(found.p_value[first, second]),
        )
        for first in range(len(members))
        for second in range(first + 1, len(members))
        if not np.isnan(found.coefficient[first, second])
    ]
    return tuple(sorted(pairs, key=lambda pair: -abs(pair.coefficient)))


def _day_effects(
    members: Sequence[str | None],
    series: _Series,
    weekdays: Integers,
    calendar: Sequence[CalendarDay],
) -> tuple[DayEffect, ...]:
    ordinary = np.array(
        [not (day.holidays or day.retail_events or day.events) for day in calendar], np.bool_
    )
    if ordinary.sum() < _MINIMUM_ORDINARY_DAYS:
        return ()
    by_weekday = weekday_effects(series.above, series.below, series.counted, weekdays, ordinary)
    found = list(
        _told(members, [(DayKind.DAY_OF_WEEK, name) for name in _WEEKDAY_NAMES], by_weekday, 2)
    )
    kinds = _special_days(calendar)
    if kinds:
        chosen = np.zeros((len(kinds), len(calendar)), np.bool_)
        for row, days in enumerate(kinds.values()):
            chosen[row, days] = True
        special = special_day_effects(
            series.above,
            series.below,
            series.counted,
            weekdays=weekdays,
            ordinary=ordinary,
            kinds=chosen,
        )
        found += _told(members, list(kinds), special, 1)
    return tuple(found)


def _special_days(calendar: Sequence[CalendarDay]) -> Mapping[tuple[DayKind, str], list[int]]:
    """Return the places of the days of each kind, all of it first, then by name."""
    kinds: dict[tuple[DayKind, str], list[int]] = {}
    for place, day in enumerate(calendar):
        for kind, day_names in (
            (DayKind.HOLIDAY, [holiday.name for holiday in day.holidays]),
            (DayKind.RETAIL_EVENT, day.retail_events),
            (DayKind.EVENT, day.events),
        ):
            for name in dict.fromkeys(("", *day_names) if day_names else ()):
                kinds.setdefault((kind, name), []).append(place)
    order = list(DayKind)
    return dict(sorted(kinds.items(), key=lambda item: (order.index(item[0][0]), item[0][1])))


def _told(
    members: Sequence[str | None],
    kinds: Sequence[tuple[DayKind, str]],
    effects: Effects,
    minimum_days: int,
) -> Iterator[DayEffect]:
    for column, member in enumerate(members):
        for row, (kind, name) in enumerate(kinds):
            ratio, days = float(effects.ratio[row, column]), int(effects.days[row, column])
            if days >= minimum_days and not np.isnan(ratio):
                yield DayEffect(
                    member,
                    kind,
                    name,
                    ratio,
                    float(effects.low[row, column]),
                    float(effects.high[row, column]),
                    days,
                )

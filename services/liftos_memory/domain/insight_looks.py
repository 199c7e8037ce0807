"""Looking: every metric of a table with every detector that is asked for."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Final

import numpy as np

from liftos_memory.domain.calendar import CalendarDay
from liftos_memory.domain.detectors.anomalies import Scale, Scores, score_steps
from liftos_memory.domain.detectors.benchmarks import (
    Change,
    Standing,
    compare_periods,
    stand_among_peers,
)
from liftos_memory.domain.detectors.statistics import Floats, Integers, Timestamps
from liftos_memory.domain.detectors.trends import Trends, find_trends
from liftos_memory.domain.insight_breaks import (
    POINT_DAYS,
    SHIFT_DAYS,
    break_days,
    weeks_since_break,
)
from liftos_memory.domain.insight_metrics import EVENT_SIZE, INSIGHT_METRICS, InsightMetric
from liftos_memory.domain.insight_series import MetricSeries, SeriesTable, metric_series
from liftos_memory.domain.insight_wholes import Movement, Wholes, movement, wholes_of
from liftos_memory.domain.insights import InsightKind, Subject

HISTORY_DAYS: Final = 147
"""Days before the first one that is judged, from which the detectors learn what is usual."""

OUTER_PEERS: Final = 0.1
"""Only the lowest and the highest tenth of peers are told."""

_LONGEST_OCCASION_DAYS: Final = 14
_WEEK: Final = 7


@dataclass(frozen=True, slots=True)
class Question:
    """What a run looks for.

    Attributes:
        start_date, end_date: Days that are judged.
        kinds: What is looked for.
        today: The present date; days from it on are not over.
        version: The org's version that is looked at.
        calendar: Every day that the tables hold.
        with_wholes: Whether what objects do together is looked at too; a filter may leave parts
            of them.
        moves_along: Whether the days are the usual ones, which move along with what is stored.
    """

    start_date: date
    end_date: date
    kinds: Collection[InsightKind]
    today: date
    version: int
    calendar: Sequence[CalendarDay]
    with_wholes: bool = False
    moves_along: bool = False

    @property
    def last_day(self) -> date:
        """The last day that is over."""
        return min(self.end_date, self.today - timedelta(days=1))

    @property
    def weeks(self) -> tuple[date, date]:
        """First and last day of the whole ISO weeks within the days that are over."""
        first = self.start_date + timedelta(days=-self.start_date.weekday() % _WEEK)
        return first, self.last_day - timedelta(days=(self.last_day.weekday() + 1) % _WEEK)

    def weeks_of(self, platform: str, metric: InsightMetric) -> tuple[date, date]:
        """First and last day of those of these weeks that are after the last break."""
        return weeks_since_break(self.weeks, break_days(self.calendar, platform, metric))

    @property
    def period_days(self) -> int:
        """Days of the period, and of the one before it."""
        return max(0, (self.last_day - self.start_date).days + 1)


@dataclass(frozen=True, slots=True)
class Look:
    """What one detector said of one metric of one table.

    Attributes:
        question: What was asked.
        table: The table.
        series: The metric.
        result: What the detector gave.
        p_values: Of everything that was looked at; nan is not.
        wholes: Set where the series are wholes: what they are made of.
    """

    question: Question
    table: SeriesTable
    series: MetricSeries
    result: Trends | Scores | Standing | Change
    p_values: Floats
    wholes: Wholes | None = None


def history_start(start_date: date, end_date: date) -> date:
    """Return the first day that a run over some days has to read."""
    return start_date - timedelta(days=max(HISTORY_DAYS, (end_date - start_date).days + 1))


def occasions(calendar: Sequence[CalendarDay]) -> dict[str, Integers]:
    """Return the days of each holiday, retail event and short event of the org's own, by index.

    The name stands for all regions and years. Long events are context only: they leave no usual
    days beside them.
    """
    days: dict[str, list[int]] = {}
    for index, day in enumerate(calendar):
        names = {*(it.name for it in day.holidays), *day.retail_events, *day.events}
        for name in names:
            days.setdefault(name, []).append(index)
    return {
        name: np.array(found)
        for name, found in days.items()
        if _longest_run(found) <= _LONGEST_OCCASION_DAYS
    }


def _longest_run(days: Sequence[int]) -> int:
    edges = [0, *(at for at in range(1, len(days)) if days[at] != days[at - 1] + 1), len(days)]
    return max(after - before for before, after in pairwise(edges))


def look(table: SeriesTable, question: Question) -> list[Look]:
    """Look at every metric of a table with every detector that is asked for."""
    found: list[Look] = []
    marked = occasions(question.calendar) if InsightKind.ANOMALY in question.kinds else {}
    for metric in INSIGHT_METRICS:
        series = metric_series(table, metric, today=question.today)
        if series is None:
            continue
        found += _look_at(table, series, question, marked)
        wholes = wholes_of(table, series) if question.with_wholes else None
        if wholes is not None:
            found += [
                replace(it, wholes=wholes)
                for it in _look_at(wholes.table, wholes.series, question, marked)
                # Wholes of channels are no peers.
                if not isinstance(it.result, Standing)
            ]
    return found


def _look_at(
    table: SeriesTable, series: MetricSeries, question: Question, marked: Mapping[str, Integers]
) -> list[Look]:
    found: list[Look] = []
    if InsightKind.TREND in question.kinds:
        found += _look_for_trends(table, series.until_settled(), question)
    if InsightKind.ANOMALY in question.kinds:
        found.append(_look_for_anomalies(table, series, question, marked))
    if InsightKind.BENCHMARK in question.kinds:
        found += _look_at_standing(table, series.until_settled(), question)
        found += _look_at_periods(table, series.until_settled(), question)
    return found


def broad_only(look: Look, p_limit: float) -> Look:
    """Return a look at wholes in which only what their objects do together can be told.

    What one object does alone was looked at as well, and is counted so, with a p-value of 1.

    Args:
        look: A look at wholes.
        p_limit: Larger p-values are not told anyway, and stay as they are.
    """
    p_values = look.p_values.copy()
    for place in np.argwhere(np.nan_to_num(p_values, nan=2.0) <= p_limit):
        moved = movement_at(look, tuple(int(at) for at in place))
        if not moved.is_broad or (moved.moved > 0.0) is not _rises(look, place):
            p_values[tuple(place)] = 1.0
    return replace(look, p_values=p_values)


def _rises(look: Look, place: Integers) -> bool:
    match look.result:
        case Trends() as trends:
            sign = trends.slope[tuple(place)]
        case Scores() as scores:
            sign = (scores.z, scores.shift_z)[place[0]][tuple(place[1:])]
        case Change() as change:
            sign = change.change[tuple(place)]
        case Standing():
            raise ValueError("wholes have no standing")
    return bool(sign > 0.0)


def movement_at(look: Look, place: tuple[int, ...]) -> Movement:
    """Return how the objects of a whole moved, where one p-value says that it did.

    A trend is the later half of the weeks against the earlier one, a day is held against its
    weekday in the eight weeks before, a shift of a week against the four before, a period against
    the one before.

    Args:
        look: A look at wholes.
        place: Index of the p-value.
    """
    assert look.wholes is not None, "a look at wholes"
    table, question = look.table, look.question
    match look.result:
        case Trends():
            platform = table.subjects[look.series.rows[place[0]]].key.platform
            cut = days_between(table, *question.weeks_of(platform, look.series.metric))
            half = (cut.stop - cut.start) // _WEEK // 2 * _WEEK
            before = np.arange(cut.start, cut.start + half)
            after = np.arange(cut.stop - half, cut.stop)
        case Scores() if place[0] == 0:
            after = np.array([place[2]])
            before = place[2] - _WEEK * np.arange(1, 9)
        case Scores():
            after = np.arange(place[2], min(place[2] + _WEEK, table.days))
            before = np.arange(place[2] - 4 * _WEEK, place[2])
        case _:
            cut = days_between(table, question.start_date, question.last_day)
            before = np.arange(cut.start - question.period_days, cut.start)
            after = np.arange(cut.start, cut.stop)
    whole = place[min(1, len(place) - 1)]
    rows, parts = look.wholes.members[whole], look.wholes.parts
    # Days that the whole does not have, such as unsettled ones, count for no object.
    known = np.isfinite(look.series.numerators[whole])
    return movement(
        np.where(known, parts.numerators[rows], np.nan),
        None if parts.denominators is None else parts.denominators[rows],
        before[before >= 0],
        after,
    )


def _look_for_trends(table: SeriesTable, series: MetricSeries, question: Question) -> list[Look]:
    first, last = question.weeks
    cut = days_between(table, first, last)
    if cut.stop - cut.start < _WEEK:
        return []
    numerators = series.numerators[:, cut].copy()
    for platform, rows in _by_platform(table, series).items():
        start, _ = question.weeks_of(platform, series.metric)
        numerators[rows, : max(0, table.index(start) - cut.start)] = np.nan
    trends = find_trends(
        _timestamps(table, cut),
        numerators,
        weights=None if series.denominators is None else series.denominators[:, cut],
    )
    return [Look(question, table, series, trends, trends.p_value)]


def _look_for_anomalies(
    table: SeriesTable, series: MetricSeries, question: Question, marked: Mapping[str, Integers]
) -> Look:
    everything = slice(0, table.days)
    scores = score_steps(
        _timestamps(table, everything),
        series.values,
        scale=Scale.LOG if series.denominators is None else Scale.RATIO,
        events=series.events,
        occasions=marked,
    )
    cut = days_between(table, question.start_date, question.last_day)
    p_values = np.full((2, *scores.p_value.shape), np.nan)
    p_values[0, :, cut] = scores.p_value[:, cut]
    p_values[1, :, cut] = scores.shift_p_value[:, cut]
    for platform, rows in _by_platform(table, series).items():
        for day in break_days(question.calendar, platform, series.metric):
            points = days_between(table, day, day + timedelta(days=POINT_DAYS - 1))
            before, after = (timedelta(days=count) for count in SHIFT_DAYS)
            shifts = days_between(table, day - before, day + after)
            p_values[0, rows, points] = np.nan
            p_values[1, rows, shifts] = np.nan
    if series.metric.is_late:
        # What is still added to looks like a fall; what is above already can only rise further.
        unsettled = ~series.settled
        p_values[0][unsettled & (np.nan_to_num(scores.z) < 0.0)] = np.nan
        p_values[1][unsettled & (np.nan_to_num(scores.shift_z) < 0.0)] = np.nan
    return Look(question, table, series, scores, p_values)


def _look_at_standing(table: SeriesTable, series: MetricSeries, question: Question) -> list[Look]:
    if series.denominators is None or series.counted is None:
        return []
    cut = days_between(table, question.start_date, question.last_day)
    both = np.isfinite(series.numerators[:, cut]) & np.isfinite(series.denominators[:, cut])
    sums = [
        np.where(both, np.nan_to_num(values[:, cut]), 0.0).sum(axis=1)
        for values in (series.numerators, series.denominators, series.counted)
    ]
    least = series.metric.least_denominator * series.metric.divisor
    below = np.where(sums[1] >= least, sums[1], np.nan)
    names = [_peer_group(table.subjects[row], series) for row in series.rows]
    groups = np.unique(np.array(names), return_inverse=True)[1]
    standing = stand_among_peers(
        sums[0],
        below,
        groups.astype(np.int64),
        events=sums[2],
        is_share=series.metric.is_share,
        event_size=EVENT_SIZE.get(series.metric.numerator, 1.0),
    )
    outer = (standing.percentile <= OUTER_PEERS) | (standing.percentile >= 1.0 - OUTER_PEERS)
    # Who is in the middle was looked at as well, and is counted so.
    p_values = np.where(np.isnan(standing.p_value) | outer, standing.p_value, 1.0)
    return [Look(question, table, series, standing, p_values)]


def _peer_group(subject: Subject, series: MetricSeries) -> str:
    money = subject.currency_code if series.metric.has_money else ""
    peers = subject.channel or subject.key.platform
    return "\n".join((peers, subject.attribution_key, str(subject.date_basis), money))


def _look_at_periods(table: SeriesTable, series: MetricSeries, question: Question) -> list[Look]:
    days = question.period_days
    second = days_between(table, question.start_date, question.last_day)
    if days < 4 * _WEEK or second.start - days < 0:
        return []
    first = slice(second.start - days, second.start)
    below = series.denominators
    change = compare_periods(
        series.numerators[:, first],
        series.numerators[:, second],
        weights=None if below is None else (below[:, first], below[:, second]),
    )
    p_values = change.p_value.copy()
    for platform, rows in _by_platform(table, series).items():
        breaks = break_days(question.calendar, platform, series.metric)
        if any(first.start < table.index(day) < second.stop for day in breaks):
            p_values[rows] = np.nan
    return [Look(question, table, series, change, p_values)]


def _by_platform(table: SeriesTable, series: MetricSeries) -> dict[str, list[int]]:
    """Return the series of each platform, by their place among those of the metric."""
    found: dict[str, list[int]] = {}
    for place, row in enumerate(series.rows.tolist()):
        found.setdefault(table.subjects[row].key.platform, []).append(place)
    return found


def days_between(table: SeriesTable, first: date, last: date) -> slice:
    """Return the columns of some days, as far as the table has them."""
    start = min(max(table.index(first), 0), table.days)
    return slice(start, max(start, min(table.index(last) + 1, table.days)))


def _timestamps(table: SeriesTable, days: slice) -> Timestamps:
    found: Timestamps = np.datetime64(table.start, "D") + np.arange(days.start, days.stop)
    return found

"""Telling: of everything that was looked at, what is no chance, as insights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

import numpy as np

from liftos_kit.core.filters import And, Comparison, Filter, Not, Operator, format_filter
from liftos_mapping.entry_fields import DATE_BASES
from liftos_memory.domain.calendar import CalendarDay
from liftos_memory.domain.detectors.anomalies import Episode, Scores, find_episodes
from liftos_memory.domain.detectors.benchmarks import Change, Standing
from liftos_memory.domain.detectors.statistics import Booleans, Floats, discoveries
from liftos_memory.domain.detectors.trends import Trends
from liftos_memory.domain.documents import ObjectNames
from liftos_memory.domain.insight_breaks import break_names
from liftos_memory.domain.insight_looks import Look, broad_only, days_between, movement_at
from liftos_memory.domain.insight_metrics import InsightMetric
from liftos_memory.domain.insight_rollup import within_wholes
from liftos_memory.domain.insight_series import MetricSeries, SeriesTable
from liftos_memory.domain.insight_wholes import Movement
from liftos_memory.domain.insights import (
    ALPHA,
    Contributor,
    Evidence,
    Insight,
    InsightDirection,
    InsightKind,
    InsightPattern,
    InsightState,
    Subject,
    insight_id,
    severity,
)
from liftos_memory.domain.metrics_query import Granularity

LEAST_CHANGE: Final = 0.05
"""A trend that moves less over all its weeks is not told, however sure it is."""

LEAST_PERIOD_CHANGE: Final = 0.1
"""The same for a change against the period before."""

_MOST_CONTEXT: Final = 10
_MOST_CONTRIBUTORS: Final = 10
_WEEK: Final = 7
_UNKNOWN: Final = float("nan")
_KINDS: Final = {
    InsightPattern.TREND: InsightKind.TREND,
    InsightPattern.POINT: InsightKind.ANOMALY,
    InsightPattern.LEVEL_SHIFT: InsightKind.ANOMALY,
    InsightPattern.PEERS: InsightKind.BENCHMARK,
    InsightPattern.PERIOD: InsightKind.BENCHMARK,
}


@dataclass(frozen=True, slots=True)
class Told:
    """What a run tells.

    Attributes:
        insights: Most severe first.
        series_count: Series of a metric that were looked at.
        p_limit: The largest p-value that is told.
    """

    insights: Sequence[Insight]
    series_count: int
    p_limit: float


@dataclass(frozen=True, slots=True)
class _Telling:
    """One look, with what the others made of it.

    Attributes:
        look: The look.
        q_values: After control of false discoveries.
        p_limit: The largest p-value that is told.
        flagged: What is told.
    """

    look: Look
    q_values: Floats
    p_limit: float
    flagged: Booleans


@dataclass(frozen=True, slots=True)
class _Figures:
    """Numbers of one insight; nan is unknown."""

    observed: float
    change: Sequence[float]
    sample_count: int
    expected: Sequence[float] = (_UNKNOWN, _UNKNOWN, _UNKNOWN)
    percentile: float | None = None


def tell(looks: Sequence[Look], *, p_limit: float | None = None) -> Told:
    """Return what survives the control of false discoveries over all looks together.

    Args:
        looks: Of all tables.
        p_limit: Tells everything up to this p-value instead, as an earlier run did.
    """
    if not looks:
        return Told((), 0, 0.0)
    # Without wholes that are not broad less is told, never more.
    largest = _p_limit(looks) if p_limit is None else p_limit
    looks = [it if it.wholes is None else broad_only(it, largest) for it in looks]
    flat = [np.ravel(it.p_values) for it in looks]
    q_values = discoveries(np.concatenate(flat))
    if p_limit is None:
        p_limit = _p_limit(looks)
    insights: list[Insight] = []
    start = 0
    for it, own in zip(looks, flat, strict=True):
        shape = it.p_values.shape
        q = q_values[start : start + own.size].reshape(shape)
        start += own.size
        flagged = np.nan_to_num(it.p_values, nan=2.0) <= p_limit
        insights += _tell_one(_Telling(it, q, p_limit, flagged))
    insights.sort(key=lambda it: (-it.severity, it.insight_id))
    # An object whose channel changed has two series, and is still one.
    once = {it.insight_id: it for it in reversed(insights)}
    seen = {
        (it.table.level, it.series.metric.name): it.series.rows.size
        for it in looks
        if it.wholes is None
    }
    return Told(within_wholes(list(reversed(once.values()))), int(sum(seen.values())), p_limit)


def _p_limit(looks: Sequence[Look]) -> float:
    """Return the largest p-value that the control of false discoveries lets through."""
    p_values = np.concatenate([np.ravel(it.p_values) for it in looks])
    accepted = p_values[np.nan_to_num(discoveries(p_values), nan=1.0) <= ALPHA]
    return float(accepted.max(initial=0.0))


def _tell_one(telling: _Telling) -> list[Insight]:
    match telling.look.result:
        case Trends() as trends:
            return _tell_trends(telling, trends)
        case Scores() as scores:
            flagged = telling.flagged
            episodes = find_episodes(scores, flagged[0], flagged[1])
            return [_anomaly(telling, scores, episode) for episode in episodes]
        case Standing() as standing:
            return _tell_standing(telling, standing)
        case Change() as change:
            return _tell_periods(telling, change)


def _tell_trends(telling: _Telling, trends: Trends) -> list[Insight]:
    look = telling.look
    moved = np.abs(trends.slope) * np.maximum(trends.seasons - 1, 1)
    told = telling.flagged & (np.nan_to_num(moved) >= LEAST_CHANGE)
    found = []
    for at in np.flatnonzero(told):
        subject = look.table.subjects[look.series.rows[at]]
        days = look.question.weeks_of(subject.key.platform, look.series.metric)
        found.append(
            _insight(
                telling,
                (int(at),),
                _Figures(
                    trends.level[at],
                    (trends.slope[at], trends.slope_low[at], trends.slope_high[at]),
                    int(trends.seasons[at]),
                ),
                pattern=InsightPattern.TREND,
                rises=bool(trends.slope[at] > 0.0),
                days=days,
                evidence=(*days, Granularity.WEEK),
            )
        )
    return found


def _anomaly(telling: _Telling, scores: Scores, episode: Episode) -> Insight:
    table, at = telling.look.table, episode.series
    start, end = table.day(episode.start), table.day(episode.end)
    if episode.is_shift:
        days = slice(episode.start, episode.end + 1)
        place = (1, at, episode.peak)
        matrices = (scores.steady_expected, scores.steady_low, scores.steady_high)
    else:
        days = slice(episode.peak, episode.peak + 1)
        place = (0, at, episode.peak)
        matrices = (scores.expected, scores.low, scores.high)
    observed = _over_days(telling.look.series, at, days)
    expected, low, high = (float(np.nanmean(matrix[at, days])) for matrix in matrices)
    change = observed / expected - 1.0 if expected > 0.0 else _UNKNOWN
    return _insight(
        telling,
        place,
        _Figures(
            observed,
            (change, _UNKNOWN, _UNKNOWN),
            episode.end - episode.start + 1,
            (expected, low, high),
        ),
        pattern=InsightPattern.LEVEL_SHIFT if episode.is_shift else InsightPattern.POINT,
        rises=episode.rises,
        days=(start, end),
        evidence=(max(table.start, start - timedelta(days=8 * _WEEK)), end, Granularity.DAY),
    )


def _over_days(series: MetricSeries, at: int, days: slice) -> float:
    """Return the mean of an additive metric, or the ratio of sums, of what is known."""
    above = series.numerators[at, days]
    if series.denominators is None:
        return float(np.nanmean(above))
    below = series.denominators[at, days]
    both = np.isfinite(above) & np.isfinite(below)
    return float(above[both].sum() / below[both].sum())


def _tell_standing(telling: _Telling, standing: Standing) -> list[Insight]:
    question = telling.look.question
    days = (question.start_date, question.last_day)
    found = []
    for at in np.flatnonzero(telling.flagged & (telling.look.p_values < 1.0)):
        centre = float(standing.centre[at])
        ratios = (standing.ratio[at], standing.low[at], standing.high[at])
        figures = _Figures(
            float(standing.ratio[at]),
            [float(ratio / centre - 1.0) for ratio in ratios],
            int(standing.peers[at]),
            (centre, _UNKNOWN, _UNKNOWN),
            float(standing.percentile[at]),
        )
        found.append(
            _insight(
                telling,
                (int(at),),
                figures,
                pattern=InsightPattern.PEERS,
                rises=bool(standing.ratio[at] > centre),
                days=days,
                evidence=(*days, Granularity.TOTAL),
            )
        )
    return found


def _tell_periods(telling: _Telling, change: Change) -> list[Insight]:
    question = telling.look.question
    days = (question.start_date, question.last_day)
    before = question.start_date - timedelta(days=question.period_days)
    large = np.nan_to_num(np.abs(change.change)) >= LEAST_PERIOD_CHANGE
    return [
        _insight(
            telling,
            (int(at),),
            _Figures(
                float(change.after[at]),
                (change.change[at], change.low[at], change.high[at]),
                question.period_days,
                (float(change.before[at]), _UNKNOWN, _UNKNOWN),
            ),
            pattern=InsightPattern.PERIOD,
            rises=bool(change.change[at] > 0.0),
            days=days,
            evidence=(before, question.last_day, Granularity.DAY),
        )
        for at in np.flatnonzero(telling.flagged & large)
    ]


def _insight(
    telling: _Telling,
    place: tuple[int, ...],
    figures: _Figures,
    *,
    pattern: InsightPattern,
    rises: bool,
    days: tuple[date, date],
    evidence: tuple[date, date, Granularity],
) -> Insight:
    """Return the insight of one p-value.

    Args:
        telling: Its look.
        place: Index of the p-value; the series is its only number, or the second.
        figures: Its numbers.
        pattern: What it looks like.
        rises: To which side.
        days: What it is about.
        evidence: Days and step of its evidence.
    """
    look, question = telling.look, telling.look.question
    table, metric = look.table, look.series.metric
    row = int(look.series.rows[place[min(1, len(place) - 1)]])
    subject = table.subjects[row]
    if not metric.has_money:
        subject = replace(subject, currency_code="")
    kind = _KINDS[pattern]
    direction = InsightDirection.UP if rises else InsightDirection.DOWN
    start, end, granularity = evidence
    behind = days_between(table, *days)
    qualities = table.quality[row, behind][table.entries[row, behind] > 0]
    p_value = float(look.p_values[place])
    moved = None if look.wholes is None else movement_at(look, place)
    return Insight(
        insight_id=insight_id(
            subject,
            kind=kind,
            pattern=pattern,
            metric=metric.name,
            direction=direction,
            days=days,
            moves_along=question.moves_along,
        ),
        kind=kind,
        pattern=pattern,
        direction=direction,
        state=InsightState.ACTIVE,
        metric=metric.name,
        subject=subject,
        names=ObjectNames(),
        start_date=days[0],
        end_date=days[1],
        observed=float(figures.observed),
        expected=_known(figures.expected[0]),
        expected_low=_known(figures.expected[1]),
        expected_high=_known(figures.expected[2]),
        change=_known(figures.change[0]),
        change_low=_known(figures.change[1]),
        change_high=_known(figures.change[2]),
        sample_count=figures.sample_count,
        percentile=figures.percentile,
        severity=severity(p_value),
        p_value=p_value,
        q_value=float(telling.q_values[place]),
        p_limit=telling.p_limit,
        quality_score=float(qualities.min(initial=1.0)),
        context=_context(question.calendar, days, subject, metric, pattern),
        evidence=Evidence(
            level=table.level,
            filter=format_filter(_evidence_filter(table, subject, pattern)),
            start_date=start,
            end_date=end,
            granularity=granularity,
            group_by=_evidence_groups(table) if pattern is InsightPattern.PEERS else (),
            entry_count=int(table.entries[row, days_between(table, start, end)].sum()),
            version=question.version,
        ),
        object_count=0 if moved is None else int(moved.present.sum()),
        moved_count=0 if moved is None else int(moved.along.sum()),
        contributors=() if moved is None else _contributors(look, row, moved),
    )


def _contributors(look: Look, row: int, moved: Movement) -> tuple[Contributor, ...]:
    """Return the objects that add most to the movement of a whole."""
    assert look.wholes is not None, "a look at wholes"
    members = look.wholes.members[row]
    shares = moved.shares
    return tuple(
        Contributor(
            key=look.wholes.subjects[members[at]].key,
            names=ObjectNames(),
            before=_known(moved.before[at]),
            after=_known(moved.after[at]),
            share=float(shares[at]),
        )
        for at in np.argsort(-shares, kind="stable")[:_MOST_CONTRIBUTORS].tolist()
    )


def _known(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None


def _evidence_filter(table: SeriesTable, subject: Subject, pattern: InsightPattern) -> Filter:
    """Return the filter that leaves the series of an object, or those of its peers."""
    key = subject.key
    terms: dict[str, str] = {
        "attribution_key": subject.attribution_key,
        "date_basis": DATE_BASES[subject.date_basis - 1],
    }
    if subject.is_whole and subject.channel:
        terms["channel"] = subject.channel
    if pattern is InsightPattern.PEERS:
        terms |= {"channel": subject.channel} if subject.channel else {"platform": key.platform}
    else:
        names = ("platform", "account_id", *_evidence_groups(table))
        terms |= {name: getattr(key, name) for name in names}
    if subject.currency_code:
        terms["currency_code"] = subject.currency_code
    asked: tuple[Filter, ...] = () if table.where is None else (table.where,)
    if subject.is_whole and not subject.channel:
        # Also true of entries whose channel is unset.
        asked += (Not(Comparison("channel", Operator.NOT_EQUAL, "")),)
    return And(
        (*asked, *(Comparison(name, Operator.EQUAL, value) for name, value in terms.items()))
    )


def _evidence_groups(table: SeriesTable) -> tuple[str, ...]:
    """Return the ids that tell the objects of a level apart."""
    key = table.subjects[0].key
    return tuple(
        name
        for name in ("account_id", "campaign_id", "ad_group_id", "ad_id", "flow_id", "message_id")
        if name == "account_id" or getattr(key, name)
    )


def _context(
    calendar: Sequence[CalendarDay],
    days: tuple[date, date],
    subject: Subject,
    metric: InsightMetric,
    pattern: InsightPattern,
) -> tuple[str, ...]:
    """Return what is known of some days, breaks first; holidays only of anomalies.

    A shift may follow a break within a week.
    """
    is_shift = pattern is InsightPattern.LEVEL_SHIFT
    breaks_from = days[0] - timedelta(days=_WEEK if is_shift else 0)
    breaks: dict[str, date] = {}
    own: dict[str, None] = {}
    for day in calendar:
        if breaks_from <= day.date <= days[1]:
            for name in break_names(day, subject.key.platform, metric):
                breaks.setdefault(name, day.date)
        if days[0] <= day.date <= days[1]:
            own |= dict.fromkeys(day.events)
            if _KINDS[pattern] is InsightKind.ANOMALY:
                own |= dict.fromkeys((*day.retail_events, *(it.name for it in day.holidays)))
    told = [f"{name} ({day.isoformat()})" for name, day in breaks.items()]
    return (*told, *(name for name in own if name not in breaks))[:_MOST_CONTEXT]

"""Structural breaks of a series: what lies before one and what follows are not the same measure."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from liftos_memory.domain.calendar import CalendarDay, breaks_for
from liftos_memory.domain.insight_metrics import InsightMetric

POINT_DAYS: Final = 7
"""Days from a break on that are no anomalies: the level behind them is that of before."""

SHIFT_DAYS: Final = (6, 6)
"""Days before and after a break with which no shift begins that is told: its week would reach over
the break, or stand against a level of before."""

_WEEK: Final = 7


def break_names(day: CalendarDay, platform: str, metric: InsightMetric) -> tuple[str, ...]:
    """Return the names of the breaks that begin on a day and concern a metric of a platform."""
    return breaks_for(day, [platform], [metric.numerator, metric.denominator])


def break_days(calendar: Sequence[CalendarDay], platform: str, metric: InsightMetric) -> list[date]:
    """Return the days on which breaks of a metric of a platform begin, in order."""
    return [day.date for day in calendar if break_names(day, platform, metric)]


def weeks_since_break(weeks: tuple[date, date], breaks: Sequence[date]) -> tuple[date, date]:
    """Return the whole weeks from the last break within some weeks on; all where there is none.

    Args:
        weeks: First and last day of whole ISO weeks.
        breaks: Days of breaks, in order.
    """
    first, last = weeks
    within = [day for day in breaks if first < day <= last]
    if not within:
        return weeks
    return within[-1] + timedelta(days=-within[-1].weekday() % _WEEK), last

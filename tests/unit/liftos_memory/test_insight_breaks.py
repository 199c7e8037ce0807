"""Structural breaks: no finding is about one, and none runs across it."""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import pytest

from liftos_memory.domain.calendar import CalendarEvent, calendar_days
from liftos_memory.domain.detectors.statistics import Floats
from liftos_memory.domain.documents import ObjectKey
from liftos_memory.domain.insight_breaks import weeks_since_break
from liftos_memory.domain.insight_findings import tell
from liftos_memory.domain.insight_looks import Question, look
from liftos_memory.domain.insight_series import SeriesTable
from liftos_memory.domain.insight_states import no_longer_found
from liftos_memory.domain.insights import Insight, InsightKind, InsightPattern, Subject

_DAYS = 301
_LAST = date(2026, 6, 28)
_START = _LAST - timedelta(days=_DAYS - 1)
_BREAK = date(2026, 6, 8)
_TRACKING = CalendarEvent("Tracking changed", _BREAK, _BREAK, structural_break=True)
_META_BREAK = date(2026, 1, 12)


def table_of(values: Floats, platform: str = "google_ads", column: str = "clicks") -> SeriesTable:
    """Return a table of one column of campaigns."""
    return SeriesTable(
        level="CAMPAIGN",
        start=_START,
        subjects=[
            Subject(ObjectKey(platform, "CAMPAIGN", "1", campaign_id=str(number)))
            for number in range(len(values))
        ],
        columns={column: values},
        final=np.ones(values.shape, np.bool_),
        quality=np.ones(values.shape),
        entries=np.ones(values.shape, np.int64),
        where=None,
    )


def usual(count: int = 3) -> Floats:
    """Return days with a season and a scatter of a twentieth."""
    scatter = np.random.default_rng(5).normal(size=(count, _DAYS))
    season = 0.2 * np.sin(2 * np.pi * np.arange(_DAYS) / 7)
    return np.asarray(500 * np.exp(season + 0.05 * scatter))


def from_day(day: date, factor: float) -> Floats:
    """Return days that are larger by a factor from one on."""
    values = usual()
    values[:, (day - _START).days :] *= factor
    return values


def question_of(
    kind: InsightKind, events: Sequence[CalendarEvent], *, days: int, last: date = _LAST
) -> Question:
    """Return a question about some days."""
    calendar = calendar_days(_START, _LAST, events=events)
    today = _LAST + timedelta(days=1)
    return Question(last - timedelta(days=days - 1), last, [kind], today, 1, calendar)


def told(
    table: SeriesTable,
    kind: InsightKind,
    events: Sequence[CalendarEvent] = (),
    *,
    days: int = 91,
    last: date = _LAST,
) -> Sequence[Insight]:
    """Return what is told of some days."""
    return tell(look(table, question_of(kind, events, days=days, last=last))).insights


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_what_a_break_does_is_no_anomaly(factor: float) -> None:
    """Neither a day nor a shift; without the break it is one."""
    table = table_of(from_day(_BREAK, factor))
    (first, *_) = told(table, InsightKind.ANOMALY, days=28)
    assert (first.pattern, first.start_date) == (InsightPattern.LEVEL_SHIFT, _BREAK)
    assert told(table, InsightKind.ANOMALY, [_TRACKING], days=28) == []


def test_a_shift_names_the_break_of_the_week_before_once() -> None:
    """It may have come of it, however late."""
    table = table_of(from_day(_BREAK + timedelta(days=7), 2.0))
    event = CalendarEvent("Tracking changed", _BREAK, _LAST, structural_break=True)
    found = told(table, InsightKind.ANOMALY, [event], days=28)
    assert {(it.pattern, it.start_date) for it in found} == {
        (InsightPattern.LEVEL_SHIFT, _BREAK + timedelta(days=7))
    }
    assert {it.context for it in found} == {("Tracking changed (2026-06-08)",)}


def test_a_trend_begins_after_the_last_break() -> None:
    """As much as the numbers before it differ, and where enough weeks are left."""
    day = date(2026, 4, 15)
    values = from_day(day, 0.25)
    values *= 1.03 ** (np.arange(_DAYS) / 7)
    event = CalendarEvent("New shop", day, day, structural_break=True)
    found = told(table_of(values), InsightKind.TREND, [event])
    assert len(found) == 3
    for it in found:
        assert (it.start_date, it.end_date) == (date(2026, 4, 20), _LAST)
        assert it.evidence.start_date == it.start_date
        assert it.sample_count == 10
        assert it.change == pytest.approx(0.03, abs=0.01)
        assert it.context == ()
    question = question_of(InsightKind.TREND, [event], days=91)
    looks = look(table_of(usual()), question)
    assert len(no_longer_found(found, [], looks, [question], subjects=None)) == 3
    near = CalendarEvent("New shop", _BREAK, _BREAK, structural_break=True)
    assert told(table_of(values), InsightKind.TREND, [near]) == []


def test_periods_on_both_sides_of_a_break_are_not_compared() -> None:
    """Those after it are."""
    table = table_of(from_day(_BREAK, 1.5))
    assert told(table, InsightKind.BENCHMARK, days=28)
    assert told(table, InsightKind.BENCHMARK, [_TRACKING], days=28) == []
    long_ago = CalendarEvent("New shop", date(2026, 5, 4), date(2026, 5, 4), structural_break=True)
    assert told(table, InsightKind.BENCHMARK, [long_ago], days=28)


@pytest.mark.parametrize(
    ("platform", "column", "is_told"),
    [
        ("meta", "conversions_micros", False),
        ("meta", "clicks", True),
        ("google_ads", "conversions_micros", True),
    ],
)
def test_breaks_of_platforms_concern_their_own_numbers(
    platform: str, column: str, is_told: bool
) -> None:
    """When Meta's windows end, nothing happens to clicks, or to Google Ads."""
    values = from_day(_META_BREAK, 2.0) * (1e6 if column.endswith("micros") else 1.0)
    last = _META_BREAK + timedelta(days=13)
    found = told(table_of(values, platform, column), InsightKind.ANOMALY, days=28, last=last)
    assert bool(found) is is_told
    assert not any("Meta" in name for it in found for name in it.context)


def test_weeks_begin_with_the_last_break_within_them() -> None:
    """One on their first day or outside leaves them whole."""
    weeks = date(2026, 3, 30), date(2026, 6, 28)
    assert weeks_since_break(weeks, []) == weeks
    assert weeks_since_break(weeks, [date(2026, 1, 1), weeks[0], date(2026, 7, 1)]) == weeks
    breaks = [date(2026, 4, 1), date(2026, 5, 4)]
    assert weeks_since_break(weeks, breaks) == (date(2026, 5, 4), weeks[1])

"""Wholes: told where objects move together, with what each adds, and their own findings within."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from liftos_kit.core.filters import format_filter, parse_filter
from liftos_memory.domain.calendar import calendar_days
from liftos_memory.domain.detectors.statistics import Floats
from liftos_memory.domain.documents import ObjectKey
from liftos_memory.domain.insight_findings import Told, tell
from liftos_memory.domain.insight_looks import Question, look
from liftos_memory.domain.insight_metrics import METRICS_BY_NAME
from liftos_memory.domain.insight_series import SeriesTable, metric_series
from liftos_memory.domain.insight_states import still_within
from liftos_memory.domain.insight_wholes import movement, wholes_of
from liftos_memory.domain.insights import (
    INSIGHT_FILTER_FIELDS,
    Insight,
    InsightDirection,
    InsightKind,
    Subject,
    told_for_themselves,
)

_DAYS = 224
_START = date(2026, 1, 5)
_LAST = _START + timedelta(days=_DAYS - 1)

Change = Callable[[Floats], Floats]


def clicks(count: int, change: Change = lambda row: row, *, seed: int = 1) -> list[Floats]:
    """Return days of clicks of campaigns, with a season and a scatter of a twentieth."""
    rng = np.random.default_rng(seed)
    season = 0.2 * np.sin(2 * np.pi * np.arange(_DAYS) / 7)
    usual = 500 * np.exp(season + 0.05 * rng.normal(size=(count, _DAYS)))
    return [change(row) for row in usual]


def table_of(rows: Sequence[Floats], *, level: str = "CAMPAIGN", channel: str = "") -> SeriesTable:
    """Return a table of campaigns of one account, or of accounts."""
    values = np.array(rows)
    return SeriesTable(
        level=level,
        start=_START,
        subjects=[
            Subject(
                key=ObjectKey(
                    platform="meta",
                    level=level,
                    account_id="act_1",
                    campaign_id=f"{number:03}" if level == "CAMPAIGN" else "",
                ),
                channel=channel,
            )
            for number in range(len(rows))
        ],
        columns={"clicks": values, "impressions": np.full(values.shape, 20_000.0)},
        final=np.ones(values.shape, np.bool_),
        quality=np.ones(values.shape),
        entries=np.ones(values.shape, np.int64),
        where=None,
    )


def told(*tables: SeriesTable, kinds: Sequence[InsightKind] = tuple(InsightKind)) -> Told:
    """Return what is told of the last four weeks, and of trends of twelve."""
    question = Question(
        _LAST - timedelta(days=83),
        _LAST,
        kinds,
        _LAST + timedelta(days=1),
        1,
        calendar_days(_START, _LAST),
        with_wholes=True,
    )
    return tell([found for table in tables for found in look(table, question)])


def of(found: Told, metric: str, kind: InsightKind) -> list[Insight]:
    """Return the insights of a metric that are told for themselves."""
    return [
        it for it in found.insights if it.metric == metric and it.kind is kind and not it.whole_id
    ]


def risen(row: Floats) -> Floats:
    """Add 3 % a week."""
    return np.asarray(row * 1.03 ** (np.arange(_DAYS) / 7))


def doubled(row: Floats) -> Floats:
    """Double one day."""
    changed = row.copy()
    changed[-10] *= 2.0
    return changed


@pytest.mark.parametrize(
    ("change", "kind"), [(risen, InsightKind.TREND), (doubled, InsightKind.ANOMALY)]
)
def test_what_many_objects_do_is_told_once(change: Change, kind: InsightKind) -> None:
    """As one finding of the channel; those of the objects are within it, and none is lost."""
    rows = [*clicks(9, change), *clicks(3, seed=2)]
    found = told(table_of(rows, channel="social"), kinds=[kind])
    (whole,) = of(found, "clicks", kind)
    assert whole.subject.is_whole
    assert whole.direction is InsightDirection.UP
    assert (whole.object_count, whole.moved_count) == (12, 9)
    within = [it for it in found.insights if it.whole_id == whole.insight_id]
    assert {it.subject.key.campaign_id for it in within if it.metric == "clicks"} == {
        f"{number:03}" for number in range(9)
    }
    known = {it.insight_id for it in within}
    assert all(part.insight_id in known for part in whole.contributors[:9])
    assert sum(part.share for part in whole.contributors[:9]) == pytest.approx(1.0, abs=0.1)
    assert 'channel="social"' in whole.evidence.filter
    assert whole.evidence.entry_count == 12 * (
        (whole.evidence.end_date - whole.evidence.start_date).days + 1
    )


def test_what_one_object_does_is_told_of_it_alone() -> None:
    """Though the channel moves with it."""
    rows = [*(50 * row for row in clicks(1, risen)), *clicks(11, seed=2)]
    found = told(table_of(rows), kinds=[InsightKind.TREND])
    assert [it.subject.key.campaign_id for it in of(found, "clicks", InsightKind.TREND)] == ["000"]


def test_small_movements_of_many_are_found_together() -> None:
    """A day that is a little higher for each stands out in their sum."""

    def lifted(row: Floats) -> Floats:
        changed = row.copy()
        changed[-10] *= 1.15
        return changed

    rows = clicks(40, lifted)
    (whole,) = of(told(table_of(rows), kinds=[InsightKind.ANOMALY]), "clicks", InsightKind.ANOMALY)
    assert whole.subject.is_whole
    assert whole.moved_count >= 30


def test_the_account_is_told_with_its_channel() -> None:
    """Its own numbers tell the same."""
    rows = clicks(5, risen)
    found = told(
        table_of(rows),
        table_of([np.sum(rows, axis=0)], level="ACCOUNT"),
        kinds=[InsightKind.TREND],
    )
    (whole,) = of(found, "clicks", InsightKind.TREND)
    assert whole.subject.is_whole
    assert "ACCOUNT" in {it.subject.key.level for it in found.insights if it.whole_id}


def test_noise_is_no_whole() -> None:
    """Of twenty sets of ten campaigns without any effect, at most one tells anything."""
    alarms = sum(bool(told(table_of(clicks(10, seed=seed))).insights) for seed in range(100, 120))
    assert alarms <= 1


@pytest.mark.parametrize("metric", ["clicks", "ctr"])
@given(
    values=arrays(
        float,
        (4, 12),
        elements=st.one_of(st.just(float("nan")), st.integers(0, 900).map(float)),
    )
)
def test_what_objects_add_is_the_movement(metric: str, values: Floats) -> None:
    """Of sums and of ratios of sums, whatever is unknown."""
    below = np.arange(1.0, 49.0).reshape(4, 12) if metric == "ctr" else None
    before, after = np.arange(6), np.arange(6, 12)
    found = movement(values, below, before, after)
    known = np.isfinite(values)
    whole = [
        np.nansum(values[:, days]) / (6 if below is None else (below * known)[:, days].sum())
        if known[:, days].any()
        else (0.0 if below is None else np.nan)
        for days in (before, after)
    ]
    assert found.added.sum() == pytest.approx(whole[1] - whole[0], nan_ok=True)
    if np.isfinite(found.shares).all():
        assert found.shares.sum() == pytest.approx(1.0)
    assert not (found.along & ~found.present).any()


@given(arrays(float, (5, 20), elements=st.floats(0.0, 1e6)), st.integers(3, 5))
def test_days_of_a_whole_are_sums_of_its_objects(values: Floats, count: int) -> None:
    """Unknown where no object has a number, and of ratios sums over both."""
    values = values[:count]
    values[:, 3] = np.nan
    values[0, 5] = np.nan
    table = table_of([np.pad(row, (0, _DAYS - 20), constant_values=np.nan) for row in values])
    for metric in ("clicks", "ctr"):
        series = metric_series(table, METRICS_BY_NAME[metric], today=_LAST)
        assert series is not None
        wholes = wholes_of(table, series)
        assert wholes is not None
        (whole,) = wholes.series.numerators[:, :20]
        assert np.isnan(whole[3])
        others = np.delete(whole, 3)
        assert others == pytest.approx(np.nansum(np.delete(values, 3, axis=1), axis=0))
        if wholes.series.denominators is not None:
            assert wholes.series.denominators[0, 5] == 20_000.0 * (count - 1)


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        ("", False),
        ("severity >= 30 AND kind = TREND", False),
        ('metric = "whole"', False),
        ('kind = TREND AND NOT whole = ""', True),
        ('severity > 3 OR whole:"0f*"', True),
        ("whole:*", True),
    ],
)
def test_what_wholes_tell_is_listed_where_a_filter_names_it(text: str, is_kept: bool) -> None:
    """However deep it stands."""
    where = parse_filter(text, INSIGHT_FILTER_FIELDS)
    found = told_for_themselves(where)
    assert (found == where) is is_kept
    if not is_kept:
        assert format_filter(found).endswith('whole=""')


def test_findings_stay_within_a_whole_that_is_not_looked_at() -> None:
    """Until it holds no more, or is found without them."""
    found = told(table_of(clicks(5, risen)), kinds=[InsightKind.TREND]).insights
    (whole,) = [it for it in found if it.subject.is_whole and it.metric == "clicks"]
    within = [it for it in found if it.whole_id == whole.insight_id]
    assert len(within) == 5
    alone = [replace(it, whole_id="") for it in within]
    assert set(still_within(alone, found, []).values()) >= {whole.insight_id}
    assert still_within(alone, within, [whole.insight_id]) == {}
    assert still_within([*alone, whole], within, []) == {}
    assert still_within(within, [], []) == {it.insight_id: whole.insight_id for it in within}

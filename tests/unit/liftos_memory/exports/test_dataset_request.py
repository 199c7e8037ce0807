"""Questions for data sets, and the steps that they hold."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.core.errors import FilterError, InvalidFieldsError
from liftos_memory.domain.dataset_request import (
    DatasetFormat,
    Kpi,
    complete_steps,
    dataset_request,
    last_finished_day,
)
from liftos_memory.domain.metrics_query import Granularity

_GRANULARITIES = (Granularity.DAY, Granularity.WEEK, Granularity.MONTH)
_DAYS = st.dates(date(1990, 1, 1), date(2100, 12, 31))


def _question(**fields: Any) -> Any:
    given_fields = {
        "start_date": "2025-01-01",
        "end_date": "2025-12-31",
        "format": DatasetFormat.PYMC,
    }
    return dataset_request(**(given_fields | fields))


@given(_DAYS, st.integers(0, 900), st.sampled_from(_GRANULARITIES))
def test_steps_are_whole_and_leave_no_hole(
    start: date, length: int, granularity: Granularity
) -> None:
    """Steps follow one another, lie within the range, and no whole one more would fit."""
    end = start + timedelta(days=length)
    steps = complete_steps(start, end, granularity)
    for step, following in pairwise(steps):
        assert following.start == step.end + timedelta(days=1)
    for step in steps:
        assert start <= step.start <= step.end <= end
        match granularity:
            case Granularity.DAY:
                assert step.start == step.end
            case Granularity.WEEK:
                assert (step.start.weekday(), (step.end - step.start).days) == (0, 6)
            case _:
                assert step.start.day == 1
                assert (step.end + timedelta(days=1)).day == 1
                assert step.end.month == step.start.month
    longest = {Granularity.DAY: 0, Granularity.WEEK: 6, Granularity.MONTH: 30}[granularity]
    first = steps[0].start if steps else end + timedelta(days=1)
    last = steps[-1].end if steps else start - timedelta(days=1)
    assert (first - start).days <= longest + (0 if steps else longest + 1)
    assert (end - last).days <= longest + (0 if steps else longest + 1)


def test_a_day_ends_when_it_has_ended_for_every_account() -> None:
    """Where one account is still in yesterday, the day before that is the last."""
    morning = datetime(2026, 1, 2, 6, tzinfo=UTC)
    assert last_finished_day(morning, []) == date(2026, 1, 1)
    assert last_finished_day(morning, [date(2026, 1, 2), date(2026, 1, 1)]) == date(2025, 12, 31)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"kpi": "conversions"}, {"kpi"}),
        (
            {"kpi": "conversions", "allow_attributed_kpi": True, "kpi_filter_text": "final = true"},
            {"kpi_filter"},
        ),
        ({"granularity": Granularity.QUARTER}, {"granularity"}),
        ({"format": DatasetFormat.ROBYN, "unit": "country"}, {"unit"}),
        ({"currency_code": "XXX"}, {"currency_code"}),
        ({"start_date": "2026-01-01"}, {"date_range"}),
        (
            {"start_date": "2025-02-30", "end_date": "x"},
            {"date_range.start_date", "date_range.end_date"},
        ),
        ({"start_date": "1900-01-01"}, {"date_range"}),
        ({"end_date": "2050-01-01"}, {"date_range"}),
        (
            {"kpi_filter_text": "nothing =", "control_filter_text": "("},
            {"kpi_filter", "control_filter"},
        ),
    ],
)
def test_all_that_is_wrong_is_told(fields: dict[str, Any], named: set[str]) -> None:
    """Each broken rule names its field."""
    with pytest.raises(InvalidFieldsError) as caught:
        _question(**fields)
    assert {violation.field for violation in caught.value.violations} == named


def test_a_filter_of_treatments_is_refused_as_everywhere() -> None:
    """Its error is that of all filters."""
    with pytest.raises(FilterError):
        _question(filter_text="platform =")


def test_kinds_of_outcome() -> None:
    """Only revenue is money; only conversions are claimed."""
    assert [(kpi.metric, kpi.kind, kpi.attributed) for kpi in Kpi] == [
        ("revenue_micros", "revenue", False),
        ("orders", "non_revenue", False),
        ("conversions_micros", "non_revenue", True),
    ]

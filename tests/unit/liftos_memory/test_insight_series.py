"""Series of a table: each object is counted in one way."""

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_mapping.entry_fields import DATE_BASES
from liftos_memory.domain.detectors.statistics import Floats
from liftos_memory.domain.documents import ObjectKey
from liftos_memory.domain.insight_metrics import METRICS_BY_NAME
from liftos_memory.domain.insight_series import SeriesTable, metric_series
from liftos_memory.domain.insights import Subject

_START = date(2026, 1, 5)


def subject(
    campaign: str, date_basis: str, *, attribution_key: str = "", channel: str = ""
) -> Subject:
    """Return a series of a campaign."""
    return Subject(
        key=ObjectKey(
            platform="klaviyo", level="CAMPAIGN", account_id="shop", campaign_id=campaign
        ),
        date_basis=DATE_BASES.index(date_basis) + 1,
        attribution_key=attribution_key,
        channel=channel,
    )


def table_of(series: Mapping[Subject, Floats], column: str = "opened") -> SeriesTable:
    """Return a table with one column."""
    values = np.array(list(series.values()))
    return SeriesTable(
        level="CAMPAIGN",
        start=_START,
        subjects=list(series),
        columns={column: values, "delivered": np.full(values.shape, 1_000.0)},
        final=np.ones(values.shape, np.bool_),
        quality=np.ones(values.shape),
        entries=np.ones(values.shape, np.int64),
        where=None,
    )


def judged(table: SeriesTable, metric: str = "open_rate") -> list[Subject]:
    """Return the series of a metric that are looked at."""
    found = metric_series(
        table, METRICS_BY_NAME[metric], today=table.start + timedelta(days=table.days)
    )
    assert found is not None
    return [table.subjects[row] for row in found.rows]


def days(known: int, count: int = 200) -> Floats:
    """Return days of which the last are known."""
    values = np.full(count, np.nan)
    values[count - known :] = 10.0
    return values


@pytest.mark.parametrize(
    ("first", "second", "sending_days", "event_days", "expected"),
    [
        ("SEND", "EVENT", 200, 200, "SEND"),
        # Klaviyo dates campaigns by the sending.
        ("INTERACTION", "SEND", 200, 200, "SEND"),
        ("INTERACTION", "CONVERSION", 200, 200, "INTERACTION"),
        ("SEND", "EVENT", 46, 91, "SEND"),
        ("SEND", "EVENT", 1, 91, "EVENT"),
        # What has ended long ago gives way to what is counted now.
        ("SEND", "EVENT", 0, 60, "EVENT"),
    ],
)
def test_an_object_is_counted_in_one_way(
    first: str, second: str, sending_days: int, event_days: int, expected: str
) -> None:
    """The first one, unless it has much fewer days of late."""
    series = {
        subject("1", first): days(sending_days),
        subject("1", second): days(event_days),
    }
    if not sending_days:
        series[subject("1", first)][:100] = 5.0
    assert judged(table_of(series)) == [subject("1", expected)]


def test_a_metric_that_stands_under_one_basis_alone_is_looked_at() -> None:
    """Whatever the basis of other metrics."""
    sending, event = subject("1", "SEND"), subject("1", "EVENT")
    table = table_of({sending: days(0), event: days(200)})
    assert judged(table) == [event]
    assert judged(table, "delivered") == [sending]


@given(
    st.dictionaries(
        st.tuples(
            st.sampled_from(["1", "2"]),
            st.sampled_from(DATE_BASES),
            st.sampled_from(["", "7d_click"]),
            st.sampled_from(["", "email"]),
        ),
        st.integers(1, 91),
        min_size=1,
        max_size=12,
    )
)
def test_every_object_is_looked_at_and_never_twice(
    known: dict[tuple[str, str, str, str], int],
) -> None:
    """Whatever ways of counting it has; channels are parts of it."""
    series = {
        subject(campaign, basis, attribution_key=key, channel=channel): days(count)
        for (campaign, basis, key, channel), count in known.items()
    }
    found = judged(table_of(series))
    assert {it.key for it in found} == {it.key for it in series}
    ways = {(it.key, it.attribution_key, it.date_basis) for it in found}
    assert len(ways) == len({it.key for it in series})

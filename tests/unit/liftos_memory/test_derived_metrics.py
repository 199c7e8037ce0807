"""Ratios of sums: golden figures, and the same bits on every path."""

import math
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_mapping.entry_fields import ADDITIVE_METRICS
from liftos_memory.domain.derived_metrics import (
    DERIVED_METRIC_NAMES,
    DERIVED_METRICS,
    derive,
    derive_columns,
)

_META = {
    "spend_micros": 1_250_500_000,
    "impressions": 45_000,
    "clicks": 890,
    "conversions_micros": 23_000_000,
}
_GOOGLE = {
    "spend_micros": 2_500_000_000,
    "impressions": 78_000,
    "clicks": 1_560,
    "conversions_micros": 45_000_000,
    "revenue_micros": 4_500_000_000,
}
_KLAVIYO = {"delivered": 15_000, "opened": 4_500, "clicked": 675}


@pytest.mark.parametrize(
    ("sums", "expected"),
    [
        (
            _META,
            {
                "cpm": 27.7889,
                "cpc": 1.40506,
                "ctr": 0.0197778,
                "conversion_rate": 0.0258427,
                "cost_per_conversion": 54.3696,
            },
        ),
        (
            _GOOGLE,
            {"cpm": 32.0513, "cost_per_conversion": 55.5556, "roas": 1.8, "ctr": 0.02}
            | {"average_order_value": 100.0},
        ),
        (_KLAVIYO, {"click_rate": 0.045, "open_rate": 0.3, "click_to_open_rate": 0.15}),
        (
            {"sent": 1000, "bounced": 20, "delivered": 980, "unsubscribed": 49}
            | {"spam_complaints": 98, "link_clicks": 5, "impressions": 100},
            {"bounce_rate": 0.02, "unsubscribe_rate": 0.05, "spam_rate": 0.1, "link_ctr": 0.05},
        ),
    ],
)
def test_golden_figures(sums: dict[str, int], expected: dict[str, float]) -> None:
    """Known rows give the known ratios; what cannot be computed from them is unset."""
    derived = derive(sums)
    for name, value in expected.items():
        assert derived[name] == pytest.approx(value, rel=5e-6)
    columns = {metric.numerator for metric in DERIVED_METRICS if derived[metric.name] is not None}
    assert columns <= set(sums)


def test_ratio_of_sums_is_not_the_mean_of_ratios() -> None:
    """Two days of unequal size weigh by their size."""
    days = [{"clicks": 10, "impressions": 100}, {"clicks": 10, "impressions": 10_000}]
    together = {name: sum(day[name] for day in days) for name in days[0]}
    assert derive(together)["ctr"] == pytest.approx(20 / 10_100)


@pytest.mark.parametrize(
    ("sums", "value"),
    [
        ({"revenue_micros": 90_000_000, "orders": 3, "conversions_micros": 2_000_000}, 30.0),
        ({"revenue_micros": 90_000_000, "conversions_micros": 2_000_000}, 45.0),
        ({"revenue_micros": 90_000_000, "orders": 0, "conversions_micros": 2_000_000}, None),
        ({"revenue_micros": 90_000_000}, None),
        ({"orders": 3}, None),
    ],
)
def test_average_order_value_prefers_orders(sums: dict[str, int], value: float | None) -> None:
    """Orders count where they are set, even as zero; conversions only where they are not."""
    assert derive(sums)["average_order_value"] == value


def test_zero_and_unset_are_not_the_same() -> None:
    """A measured zero above the line is a zero; below the line, or unset, there is no ratio."""
    assert derive({"clicks": 0, "impressions": 10})["ctr"] == 0.0
    assert derive({"clicks": 0, "impressions": 0})["ctr"] is None
    assert derive({"clicks": None, "impressions": 10})["ctr"] is None
    assert derive({"spend_micros": 5, "conversions_micros": 0})["cost_per_conversion"] is None


def test_definitions_use_additive_columns_only() -> None:
    """Reach, uniques and shares never enter a ratio of sums."""
    for metric in DERIVED_METRICS:
        columns = {metric.numerator, *(below.column for below in metric.denominators)}
        assert columns <= set(ADDITIVE_METRICS)
    assert len(set(DERIVED_METRIC_NAMES)) == len(DERIVED_METRICS)


_INPUTS = sorted(
    {metric.numerator for metric in DERIVED_METRICS}
    | {below.column for metric in DERIVED_METRICS for below in metric.denominators}
)
_NUMBERS = st.none() | st.integers(0, 3) | st.integers(-(2**63), 2**63 - 1)


@given(
    st.sets(st.sampled_from(_INPUTS)).flatmap(
        lambda names: st.lists(
            st.fixed_dictionaries(dict.fromkeys(sorted(names), _NUMBERS)), max_size=5
        )
    )
)
def test_columns_and_mappings_agree_bit_for_bit(rows: list[dict[str, int | None]]) -> None:
    """Both paths give the same floats, never an infinity and never NaN."""
    names = list(rows[0]) if rows else []
    table = pa.table({name: pa.array([row[name] for row in rows], pa.int64()) for name in names})
    if not names:
        table = pa.table({"other": pa.array([1] * len(rows), pa.int64())})
    columns = derive_columns(table)
    assert tuple(columns) == DERIVED_METRIC_NAMES
    for index, row in enumerate(rows):
        derived = derive(row)
        assert derived == {name: column[index].as_py() for name, column in columns.items()}
        assert all(value is None or math.isfinite(value) for value in derived.values())
        assert derived == derive({key: _decimal(value) for key, value in row.items()})


def _decimal(value: int | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def test_columns_come_as_asked() -> None:
    """Only the named metrics are computed, from a chunked table as well."""
    table = pa.concat_tables([pa.table({"clicks": [1, None], "impressions": [4, 4]})] * 2)
    columns = derive_columns(table, names=("ctr",))
    assert {name: column.to_pylist() for name, column in columns.items()} == {
        "ctr": [0.25, None, 0.25, None]
    }
    with pytest.raises(KeyError):
        derive_columns(table, names=("frequency",))

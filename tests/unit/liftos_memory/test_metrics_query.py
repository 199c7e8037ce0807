"""Queries of metrics and exchange rates before they reach a store."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.core.errors import FilterError, InvalidFieldsError
from liftos_mapping.entry_fields import ADDITIVE_METRICS
from liftos_memory.domain.exchange_rates import (
    ExchangeRate,
    WrittenRate,
    check_base_rates,
    read_rates,
)
from liftos_memory.domain.metrics_query import (
    DIMENSIONS,
    Granularity,
    MetricsQuery,
    metrics_query,
)


def _query(**fields: Any) -> MetricsQuery:
    given_fields: dict[str, Any] = {
        "start_date": "2026-01-01",
        "end_date": "2026-01-31",
        "level": "CAMPAIGN",
        "granularity": Granularity.DAY,
    }
    return metrics_query(**(given_fields | fields))


def _refused(**fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidFieldsError) as refused:
        _query(**fields)
    return [(one.field, one.rule) for one in refused.value.violations]


def test_columns_follow_the_contract() -> None:
    """The answer has step, dimensions, currency, metrics, ratios and the three facts, in order."""
    query = _query(group_by=["channel", "day_of_week"])
    assert query.columns[:7] == (
        "period_start_date",
        "channel",
        "day_of_week",
        "date_basis",
        "breakdown",
        "currency_code",
        ADDITIVE_METRICS[0],
    )
    assert query.columns[-3:] == ("entry_count", "quality_score", "final")
    assert tuple(query.schema.names) == query.columns


def test_dimensions_are_those_of_the_contract() -> None:
    """Each dimension that the contract allows exists, and no other."""
    field = pb.QueryMetricsRequest.DESCRIPTOR.fields_by_name["group_by"]
    ((_, rules),) = field.GetOptions().ListFields()
    assert tuple(getattr(rules.repeated.items.string, "in")) == DIMENSIONS


def test_currencies_are_a_key_unless_converted() -> None:
    """Rows of several currencies stay apart; after a conversion there is but one."""
    assert _query(group_by=["platform", "breakdown"]).key_columns == (
        "period_start_date",
        "platform",
        "breakdown",
        "date_basis",
        "currency_code",
    )
    assert _query(currency_code="EUR").key_columns == (
        "period_start_date",
        "date_basis",
        "breakdown",
    )


@pytest.mark.parametrize(
    ("fields", "violation"),
    [
        ({"start_date": "2026-02-30"}, ("date_range.start_date", "metrics_query.day")),
        ({"end_date": "soon"}, ("date_range.end_date", "metrics_query.day")),
        ({"end_date": "2025-12-31"}, ("date_range", "metrics_query.date_order")),
        ({"end_date": "2036-12-14"}, ("date_range", "metrics_query.maximum_days")),
        ({"level": ""}, ("level", "metrics_query.level")),
        ({"group_by": ["colour"]}, ("group_by[0]", "metrics_query.dimension")),
        ({"group_by": ["channel", "channel"]}, ("group_by", "metrics_query.group_by")),
        ({"group_by": DIMENSIONS[:9]}, ("group_by", "metrics_query.group_by")),
        ({"minimum_quality_score": 1.01}, ("minimum_quality_score", "metrics_query.quality")),
        (
            {"minimum_quality_score": float("nan")},
            ("minimum_quality_score", "metrics_query.quality"),
        ),
        ({"currency_code": "XAU"}, ("currency_code", "metrics_query.currency")),
    ],
)
def test_each_broken_rule_is_named(fields: dict[str, Any], violation: tuple[str, str]) -> None:
    """A query that breaks one rule is refused with that rule."""
    assert _refused(**fields) == [violation]


def test_all_broken_rules_are_named_at_once() -> None:
    """A caller need not find the mistakes one by one."""
    assert len(_refused(start_date="x", end_date="y", level="", currency_code="ZZZ")) == 4


def test_the_longest_range_is_taken() -> None:
    """4,000 days are allowed, both ends counted."""
    query = _query(start_date="2015-01-01", end_date="2025-12-13")
    assert (query.end_date - query.start_date).days + 1 == 4_000


def test_a_filter_that_cannot_be_read_is_refused() -> None:
    """Filters name fields of entries."""
    with pytest.raises(FilterError):
        _query(filter_text="org = other")


def _rate(rate: str = "1.5", code: str = "EUR", day: str = "2026-01-01") -> WrittenRate:
    return WrittenRate(code, day, rate, "ECB")


@given(
    st.decimals(
        min_value=Decimal("1e-12"), max_value=Decimal("999999999999.999999999999"), places=12
    )
)
def test_rates_are_read_exactly(rate: Decimal) -> None:
    """A decimal of 12 and 12 digits loses nothing."""
    assert read_rates([_rate(f"{rate:f}")], field="rates")[0].rate == rate


@pytest.mark.parametrize(
    ("written", "violation"),
    [
        (_rate("0"), ("rates[0].rate", "exchange_rate.positive")),
        (_rate("0.000000000000"), ("rates[0].rate", "exchange_rate.positive")),
        (_rate("-1"), ("rates[0].rate", "exchange_rate.decimal")),
        (_rate("1e3"), ("rates[0].rate", "exchange_rate.decimal")),
        (_rate("NaN"), ("rates[0].rate", "exchange_rate.decimal")),
        (_rate("1.0000000000001"), ("rates[0].rate", "exchange_rate.decimal")),
        (_rate(code="ZZZ"), ("rates[0].currency_code", "exchange_rate.currency")),
        (_rate(day="2026-02-29"), ("rates[0].date", "exchange_rate.date")),
    ],
)
def test_each_wrong_rate_is_named(written: WrittenRate, violation: tuple[str, str]) -> None:
    """A rate that cannot be kept is refused with the reason."""
    with pytest.raises(InvalidFieldsError) as refused:
        read_rates([written], field="rates")
    assert [(one.field, one.rule) for one in refused.value.violations] == [violation]


def test_two_rates_of_a_day_are_refused() -> None:
    """Nobody can tell which of them was meant."""
    with pytest.raises(InvalidFieldsError, match="at index 0 already"):
        read_rates([_rate("1"), _rate("2", day="2026-01-02"), _rate("3")], field="rates")


def test_the_base_currency_is_worth_one_of_itself() -> None:
    """Another rate of the base currency is refused, the true one is not."""
    check_base_rates([ExchangeRate("USD", date(2026, 1, 1), Decimal("1.0"))], "USD")
    with pytest.raises(InvalidFieldsError, match=r"not 1\.1 "):
        check_base_rates([ExchangeRate("USD", date(2026, 1, 1), Decimal("1.10"))], "USD")

"""Queries are held against the published fields, and mean the days and rows that they say."""

import re
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_platforms.google_ads.catalogue import (
    Catalogue,
    Field,
    FieldCategory,
    FieldType,
)
from liftos_platforms.google_ads.dates import PERIODS, named_range, segment_value
from liftos_platforms.google_ads.gaql import GaqlError, Operator, parse_query
from liftos_platforms.google_ads.messages import Row
from liftos_platforms.google_ads.metrics import METRICS
from liftos_platforms.google_ads.plan import Plan, check_query
from liftos_platforms.google_ads.predicates import Predicate, matches

_CATALOGUE = Catalogue(Row.DESCRIPTOR)
_TODAY = date(2026, 11, 24)
_RANGE = "segments.date BETWEEN '2026-10-01' AND '2026-10-07'"


def _plan(text: str, *, is_manager: bool = False) -> Plan:
    return check_query(parse_query(text), _CATALOGUE, today=_TODAY, is_manager=is_manager)


def _field(name: str) -> Field:
    field = _CATALOGUE.find(name)
    assert field is not None
    return field


def test_fields_come_from_the_published_messages() -> None:
    """Names, types, enums and the paths into the messages are those of the API's version."""
    status = _field("campaign.status")
    assert (status.category, status.type) == (FieldCategory.ATTRIBUTE, FieldType.ENUM)
    assert status.enum_numbers["REMOVED"] == 4
    assert _field("ad_group.type").path == ("ad_group", "type_")
    assert _field("ad_group_ad.ad.id").type is FieldType.INT64
    assert _field("campaign").category is FieldCategory.RESOURCE
    assert _field("metrics.conversions").type is FieldType.DOUBLE
    for gone in ("metrics.video_views", "campaign.start_date", "ad_group.type_", "campaign.id.x"):
        assert _CATALOGUE.find(gone) is None


def test_every_simulated_metric_exists() -> None:
    """The simulator offers no metric that the API has not."""
    for metric in METRICS:
        assert _field(f"metrics.{metric}").category is FieldCategory.METRIC


def test_a_plan_splits_the_query_by_kind_of_field() -> None:
    """Attributes, segments, metrics, days, conditions, order and limit each find their place."""
    plan = _plan(
        "SELECT campaign.id, segments.date, metrics.clicks, customer.id FROM campaign "
        f"WHERE {_RANGE} AND metrics.clicks > 3 AND campaign.status != 'REMOVED' "
        "ORDER BY metrics.clicks DESC LIMIT 5 PARAMETERS omit_unselected_resource_names = TRUE"
    )
    assert plan.selected == ("campaign.id", "segments.date", "metrics.clicks", "customer.id")
    assert [field.name for field in plan.attributes] == ["campaign.id", "customer.id"]
    assert [field.name for field in plan.segments] == ["segments.date"]
    assert [field.name for field in plan.metrics] == ["metrics.clicks"]
    assert (plan.first_day, plan.last_day) == (date(2026, 10, 1), date(2026, 10, 7))
    assert [(p.field.name, p.operator, p.values) for p in plan.predicates] == [
        ("metrics.clicks", Operator.GREATER, (3,)),
        ("campaign.status", Operator.NOT_EQUAL, ("REMOVED",)),
    ]
    assert [(key.field.name, key.descending) for key in plan.order_by] == [("metrics.clicks", True)]
    assert (plan.limit, plan.omits_resource_names) == (5, True)


@pytest.mark.parametrize(
    ("condition", "first", "last"),
    [
        ("segments.date = '2026-10-05'", date(2026, 10, 5), date(2026, 10, 5)),
        (
            "segments.date > '2026-10-05' AND segments.date < '2026-10-08'",
            date(2026, 10, 6),
            date(2026, 10, 7),
        ),
        (f"{_RANGE} AND segments.date >= '2026-10-05'", date(2026, 10, 5), date(2026, 10, 7)),
        ("segments.month = '2026-02-01'", date(2026, 2, 1), date(2026, 2, 28)),
        ("segments.year = 2026", date(2026, 1, 1), date(2026, 12, 31)),
        ("segments.quarter = '2026-04-01'", date(2026, 4, 1), date(2026, 6, 30)),
        ("segments.week = '2026-10-05'", date(2026, 10, 5), date(2026, 10, 11)),
        ("segments.date DURING LAST_7_DAYS", date(2026, 11, 17), date(2026, 11, 23)),
        ("segments.date DURING THIS_WEEK_SUN_TODAY", date(2026, 11, 22), _TODAY),
        ("segments.date DURING LAST_WEEK_SUN_SAT", date(2026, 11, 15), date(2026, 11, 21)),
        ("segments.date DURING LAST_BUSINESS_WEEK", date(2026, 11, 16), date(2026, 11, 20)),
        ("segments.date DURING LAST_MONTH", date(2026, 10, 1), date(2026, 10, 31)),
    ],
)
def test_conditions_on_dates_become_a_range_of_days(
    condition: str, first: date, last: date
) -> None:
    """All conditions on dates together leave one range, inclusive at both ends."""
    plan = _plan(f"SELECT segments.date, metrics.clicks FROM campaign WHERE {condition}")
    assert (plan.first_day, plan.last_day, plan.predicates) == (first, last, ())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SELECT campaign.nam FROM campaign", "UNRECOGNIZED_FIELD"),
        ("SELECT campaign.id FROM campaing", "BAD_RESOURCE_TYPE_IN_FROM_CLAUSE"),
        ("SELECT metrics.clicks FROM metrics", "BAD_RESOURCE_TYPE_IN_FROM_CLAUSE"),
        ("SELECT campaign.id FROM keyword_view", "PROHIBITED_RESOURCE_TYPE_IN_FROM_CLAUSE"),
        ("SELECT ad_group.id FROM campaign", "PROHIBITED_RESOURCE_TYPE_IN_SELECT_CLAUSE"),
        (
            "SELECT campaign.id FROM campaign WHERE ad_group.id = 1",
            "PROHIBITED_RESOURCE_TYPE_IN_WHERE_CLAUSE",
        ),
        ("SELECT campaign FROM campaign", "PROHIBITED_FIELD_IN_SELECT_CLAUSE"),
        ("SELECT campaign.network_settings FROM campaign", "PROHIBITED_FIELD_IN_SELECT_CLAUSE"),
        ("SELECT segments.device FROM campaign", "PROHIBITED_SEGMENT_IN_SELECT_OR_WHERE_CLAUSE"),
        (
            "SELECT metrics.absolute_top_impression_percentage FROM campaign",
            "PROHIBITED_METRIC_IN_SELECT_OR_WHERE_CLAUSE",
        ),
        (
            "SELECT customer_client.id, metrics.clicks FROM customer_client",
            "PROHIBITED_METRIC_IN_SELECT_OR_WHERE_CLAUSE",
        ),
        (
            f"SELECT metrics.unique_users FROM ad_group_ad WHERE {_RANGE}",
            "PROHIBITED_METRIC_IN_SELECT_OR_WHERE_CLAUSE",
        ),
        (
            "SELECT metrics.unique_users FROM campaign WHERE segments.date > '2026-01-01'",
            "DATE_RANGE_TOO_WIDE",
        ),
        ("SELECT segments.date, metrics.clicks FROM campaign", "EXPECTED_FILTERS_ON_DATE_RANGE"),
        (
            "SELECT segments.month FROM campaign WHERE segments.date > '2026-01-01'",
            "EXPECTED_FILTERS_ON_DATE_RANGE",
        ),
        (
            f"SELECT campaign.id FROM campaign WHERE {_RANGE} AND segments.day_of_week = MONDAY",
            "EXPECTED_REFERENCED_FIELD_IN_SELECT_CLAUSE",
        ),
        (
            f"SELECT campaign.id FROM campaign WHERE {_RANGE} ORDER BY segments.date",
            "EXPECTED_REFERENCED_FIELD_IN_SELECT_CLAUSE",
        ),
        (
            "SELECT campaign.id FROM campaign ORDER BY campaign.labels",
            "PROHIBITED_FIELD_IN_ORDER_BY_CLAUSE",
        ),
        ("SELECT campaign.id FROM campaign WHERE campaign.status = ON", "BAD_ENUM_CONSTANT"),
        ("SELECT campaign.id FROM campaign WHERE campaign.id = 'x'", "BAD_NUMBER"),
        ("SELECT campaign.id FROM campaign WHERE campaign.id LIKE '1%'", "OPERATOR_FIELD_MISMATCH"),
        ("SELECT campaign.id FROM campaign WHERE campaign.name = x", "BAD_VALUE"),
        (
            "SELECT campaign.id FROM campaign WHERE campaign.name REGEXP_MATCH '('",
            "INVALID_STRING_VALUE",
        ),
        ("SELECT customer.id FROM customer WHERE customer.manager = 1", "BAD_VALUE"),
        ("SELECT campaign.id FROM campaign WHERE segments.date = '1 May'", "INVALID_DATE_FORMAT"),
        ("SELECT campaign.id FROM campaign WHERE segments.date = '2026-02-30'", "BAD_VALUE"),
        ("SELECT campaign.id FROM campaign WHERE segments.date > '9999-12-31'", "BAD_VALUE"),
        ("SELECT campaign.id FROM campaign WHERE segments.year = 123456", "BAD_VALUE"),
        (
            "SELECT campaign.id FROM campaign WHERE segments.month = '2026-02-03'",
            "MISALIGNED_DATE_FOR_FILTER",
        ),
        (
            "SELECT campaign.id FROM campaign WHERE segments.date DURING LAST_8_DAYS",
            "INVALID_VALUE_WITH_DURING_OPERATOR",
        ),
        ("SELECT campaign.id FROM campaign PARAMETERS drafts = true", "BAD_PARAMETER_NAME"),
        ("SELECT campaign.id FROM campaign PARAMETERS include_drafts = 1", "BAD_PARAMETER_VALUE"),
    ],
)
def test_what_does_not_exist_or_go_together_is_refused(text: str, code: str) -> None:
    """Each fault of meaning is refused as one value of QueryError."""
    with pytest.raises(GaqlError) as caught:
        _plan(text)
    assert caught.value.code == code


@pytest.mark.parametrize(("last", "fits"), [("2026-04-02", True), ("2026-04-03", False)])
def test_people_are_counted_for_at_most_92_days(last: str, fits: bool) -> None:
    """A range of 92 days is the longest over which the platform counts people."""
    text = (
        "SELECT metrics.unique_users FROM campaign "
        f"WHERE segments.date BETWEEN '2026-01-01' AND '{last}'"
    )
    if fits:
        assert _plan(text).metrics
        return
    with pytest.raises(GaqlError) as caught:
        _plan(text)
    assert caught.value.code == "DATE_RANGE_TOO_WIDE"


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        ("LIMIT 5", "CHANGE_DATE_RANGE_INFINITE"),
        ("WHERE {moment} > '2026-11-01' LIMIT 5", "CHANGE_DATE_RANGE_INFINITE"),
        (
            "WHERE {moment} BETWEEN '2026-11-09' AND '2026-11-01' LIMIT 5",
            "CHANGE_DATE_RANGE_NEGATIVE",
        ),
        ("WHERE {moment} BETWEEN '2026-08-25' AND '2026-11-01' LIMIT 5", "START_DATE_TOO_OLD"),
        ("WHERE {moment} DURING LAST_14_DAYS", "LIMIT_NOT_SPECIFIED"),
        ("WHERE {moment} DURING LAST_14_DAYS LIMIT 10001", "INVALID_LIMIT_CLAUSE"),
        ("WHERE {moment} DURING LAST_14_DAYS LIMIT 10000", ""),
        ("WHERE {moment} >= '2026-11-01 10:00:00' AND {moment} < '2026-11-02' LIMIT 5", ""),
        ("WHERE {moment} = '2026-11-01T10:00:00' LIMIT 5", "INVALID_DATE_FORMAT"),
    ],
)
def test_changes_are_asked_for_within_limits(rest: str, code: str) -> None:
    """Changes need a limit, and a finite range within the last 90 days."""
    moment = "change_status.last_change_date_time"
    text = f"SELECT change_status.resource_type FROM change_status {rest.format(moment=moment)}"
    if not code:
        assert _plan(text).resource == "change_status"
        return
    with pytest.raises(GaqlError) as caught:
        _plan(text)
    assert caught.value.code == code
    is_query = code == "INVALID_DATE_FORMAT"
    assert caught.value.category == ("query_error" if is_query else "change_status_error")


def test_a_manager_has_no_metrics() -> None:
    """Metrics of a manager account are refused; its attributes are not."""
    assert _plan("SELECT customer.id FROM customer", is_manager=True).metrics == ()
    with pytest.raises(GaqlError) as caught:
        _plan("SELECT metrics.clicks FROM customer", is_manager=True)
    assert caught.value.code == "REQUESTED_METRICS_FOR_MANAGER"


@given(st.dates(date(2000, 1, 1), date(2100, 12, 31)), st.sampled_from(sorted(PERIODS)))
def test_periods_cover_every_day_once(day: date, segment: str) -> None:
    """A period holds its day, its days share one value, and the next day begins another."""
    first, last = PERIODS[segment](day)
    assert first <= day <= last
    assert PERIODS[segment](first) == PERIODS[segment](last) == (first, last)
    assert PERIODS[segment](last + timedelta(days=1))[0] == last + timedelta(days=1)
    assert segment_value(segment, first) == segment_value(segment, last)


@given(st.dates(date(2000, 1, 1), date(2100, 12, 31)))
def test_named_ranges_end_where_their_name_says(today: date) -> None:
    """Past ranges end before today, and weeks have seven days."""
    for name in ("LAST_7_DAYS", "LAST_14_DAYS", "LAST_30_DAYS"):
        days = named_range(name, today)
        assert days is not None
        length = int(re.sub(r"\D", "", name))
        assert days == (today - timedelta(days=length), today - timedelta(days=1))
    for name, first_weekday in (("LAST_WEEK_MON_SUN", 0), ("LAST_WEEK_SUN_SAT", 6)):
        days = named_range(name, today)
        assert days is not None
        assert days[0].weekday() == first_weekday
        assert (days[1] - days[0]).days == 6
        assert today - timedelta(days=7) <= days[1] < today


@given(st.integers(), st.integers(), st.integers())
def test_comparisons_are_exact_for_large_integers(value: int, low: int, high: int) -> None:
    """Numbers beyond the precision of a double compare as integers."""
    field = _field("metrics.cost_micros")
    assert matches(Predicate(field, Operator.GREATER, (low,)), value) is (value > low)
    assert matches(Predicate(field, Operator.LESS_OR_EQUAL, (low,)), value) is (value <= low)
    between = Predicate(field, Operator.BETWEEN, (low, high))
    assert matches(between, value) is (low <= value <= high)
    assert matches(Predicate(field, Operator.NOT_IN, (low, high)), value) is (
        value not in (low, high)
    )


@pytest.mark.parametrize(
    ("operator", "pattern", "text", "expected"),
    [
        (Operator.LIKE, "%rand%", "Brand A", True),
        (Operator.LIKE, "b_and", "BRAND", True),
        (Operator.LIKE, "100[%]", "100%", True),
        (Operator.LIKE, "100[%]", "1000", False),
        (Operator.NOT_LIKE, "a.c", "abc", True),
        (Operator.REGEXP_MATCH, "Bra.*", "Brand", True),
        (Operator.NOT_REGEXP_MATCH, "Bra", "Brand", True),
        (Operator.EQUAL, "Brand", "brand", False),
    ],
)
def test_patterns_match_as_the_language_says(
    operator: Operator, pattern: str, text: str, expected: bool
) -> None:
    """LIKE has wildcards and brackets that escape; expressions match the whole text."""
    assert matches(Predicate(_field("campaign.name"), operator, (pattern,)), text) is expected


def test_null_meets_only_a_question_for_null() -> None:
    """Comparisons with a value that is not there are false, also the negative ones."""
    field = _field("campaign.name")
    assert matches(Predicate(field, Operator.IS_NULL, ()), None)
    assert not matches(Predicate(field, Operator.IS_NOT_NULL, ()), None)
    for operator in (Operator.EQUAL, Operator.NOT_EQUAL, Operator.NOT_IN, Operator.NOT_LIKE):
        assert not matches(Predicate(field, operator, ("x",)), None)

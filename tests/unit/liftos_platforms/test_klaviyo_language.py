"""What Klaviyo's face reads: filters, query strings, bodies, revisions and cursors."""

from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_platforms.klaviyo.bodies import (
    Measurement,
    ReportKind,
    read_aggregate,
    read_report,
)
from liftos_platforms.klaviyo.cursors import CursorError, decode_cursor, encode_cursor
from liftos_platforms.klaviyo.documents import ApiError, sparse
from liftos_platforms.klaviyo.figures import Figures, Statistic, statistic
from liftos_platforms.klaviyo.filters import (
    Condition,
    FilterOperator,
    FilterSyntaxError,
    ValueKind,
    check_filter,
    matches,
    parse_filter,
    rule,
)
from liftos_platforms.klaviyo.query import PageSize, QueryRules, read_query
from liftos_platforms.klaviyo.revision import (
    SERVED,
    RevisionMissingError,
    RevisionNotSimulatedError,
    RevisionRetiredError,
    resolve_revision,
)

TODAY = date(2026, 11, 24)

RULES = {
    "name": rule(ValueKind.TEXT, FilterOperator.EQUALS, FilterOperator.CONTAINS),
    "id": rule(ValueKind.TEXT, FilterOperator.ANY),
    "archived": rule(ValueKind.BOOLEAN, FilterOperator.EQUALS),
    "count": rule(ValueKind.NUMBER, FilterOperator.LESS_THAN),
    "updated": rule(ValueKind.DATE_TIME, FilterOperator.GREATER_OR_EQUAL, FilterOperator.LESS_THAN),
    "profile": rule(ValueKind.PRESENCE, FilterOperator.HAS),
}


# --- filters --------------------------------------------------------------------------------------


def test_a_filter_is_read_into_its_terms() -> None:
    """Text, booleans, numbers, dates and lists keep their types, and `and` is flattened."""
    read = parse_filter(
        "and(equals(name,\"a,b)\"),any(id,['x','y'])),equals(archived,true),"
        "less-than(count,2.5), greater-or-equal(updated,2026-11-01T00:00:00+01:00),has(profile)"
    )
    assert read == (
        Condition(FilterOperator.EQUALS, "name", ("a,b)",)),
        Condition(FilterOperator.ANY, "id", ("x", "y"), is_list=True),
        Condition(FilterOperator.EQUALS, "archived", (True,)),
        Condition(FilterOperator.LESS_THAN, "count", (Decimal("2.5"),)),
        Condition(
            FilterOperator.GREATER_OR_EQUAL,
            "updated",
            (datetime.fromisoformat("2026-11-01T00:00:00+01:00"),),
        ),
        Condition(FilterOperator.HAS, "profile", ()),
    )
    check_filter(read, RULES)


@given(st.text(max_size=40))
def test_quoted_text_comes_back_as_it_was(text: str) -> None:
    """Any text survives quoting, whatever brackets, commas and quotes it holds."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_filter(f'equals(name,"{quoted}")')[0].values == (text,)


@given(st.text(alphabet="andequls(),[]\"'-name1 ", max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    """A text is either a filter or refused with a typed error."""
    with suppress(FilterSyntaxError):
        assert parse_filter(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "equals(name,'a'",
        "equals(name)",
        "equals(name,a b)",
        "or(equals(name,'a'),equals(name,'b'))",
        "equals(name,'a'))",
        "equals(name,'a') equals(name,'b')",
        "equals(,'a')",
        "equals(name,'a)",
        "any(id,[])",
        "greater-or-equal(updated,yesterday)",
    ],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    """Broken brackets, bare words and operators that Klaviyo lacks do not pass."""
    with pytest.raises(FilterSyntaxError):
        parse_filter(text)


@pytest.mark.parametrize(
    "text",
    [
        "equals(send_time,2026-11-01)",
        "less-than(name,'a')",
        "equals(archived,'true')",
        "any(id,'x')",
        "equals(name,['x'])",
        "greater-or-equal(updated,'2026-11-01T00:00:00Z')",
        "less-than(count,'2')",
        "equals(profile,'x')",
        f"any(id,[{','.join(repr(str(n)) for n in range(101))}])",
    ],
)
def test_what_the_endpoint_does_not_filter_is_refused(text: str) -> None:
    """Unknown fields, operators out of place and values of the wrong kind do not pass."""
    with pytest.raises(FilterSyntaxError):
        check_filter(parse_filter(text), RULES)


def test_a_field_may_stand_once_where_the_endpoint_says_so() -> None:
    """Reports take one filter for each attribute."""
    twice = parse_filter("equals(name,'a'),contains(name,'b')")
    check_filter(twice, RULES)
    with pytest.raises(FilterSyntaxError, match="Only one filter"):
        check_filter(twice, RULES, one_per_field=True)


def test_filters_choose_records() -> None:
    """Each operator holds of the records it should and of no other."""
    record = {
        "name": "Autumn Sale",
        "archived": False,
        "updated": datetime(2026, 11, 2, tzinfo=UTC),
        "tags": ["new", "vip"],
        "count": 3,
        "profile": None,
    }
    held = [
        "equals(name,'Autumn Sale')",
        "contains(name,'sale')",
        "starts-with(name,'autumn')",
        "ends-with(name,'Sale')",
        "any(name,['x','Autumn Sale'])",
        "equals(archived,false)",
        "greater-or-equal(updated,2026-11-02T00:00:00)",
        "less-or-equal(updated,2026-11-02T01:00:00+01:00)",
        "greater-than(count,2.5)",
        "contains-any(tags,['vip','old'])",
        "contains-all(tags,['vip','new'])",
    ]
    others = [
        "equals(name,'Autumn')",
        "less-than(updated,2026-11-02T00:00:00Z)",
        "greater-than(updated,2026-11-02T00:00:00Z)",
        "contains-all(tags,['vip','old'])",
        "has(profile)",
        "equals(absent,'x')",
        "less-than(count,3)",
    ]
    assert [text for text in held if not matches(parse_filter(text), record)] == []
    assert [text for text in others if matches(parse_filter(text), record)] == []


# --- query strings --------------------------------------------------------------------------------

QUERY = QueryRules(
    fields={"campaign": frozenset({"definition", "definition.name", "created_at"})},
    filters=RULES,
    include=frozenset({"tags", "campaign-messages"}),
    sort=frozenset({"name", "id"}),
    page_size=PageSize(default=100, maximum=100),
    cursor="page[cursor]",
)


def test_a_query_string_is_read() -> None:
    """Every parameter of an endpoint arrives, with its default where it is absent."""
    query = read_query(
        [
            ("fields[campaign]", "definition.name,created_at"),
            ("filter", "equals(name,'a')"),
            ("include", "tags"),
            ("sort", "-name"),
            ("page[cursor]", "abc"),
        ],
        QUERY,
    )
    assert query.fields == {"campaign": ("definition.name", "created_at")}
    assert query.conditions[0].field == "name"
    assert (query.include, query.sort, query.descending) == (("tags",), "name", True)
    assert (query.page_size, query.cursor) == (100, "abc")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page[size]", "0"),
        ("page[size]", "101"),
        ("page[size]", "ten"),
        ("page[size]", "²"),
        ("sort", "created_at"),
        ("include", "metric"),
        ("include", ""),
        ("fields[campaign]", "status"),
        ("fields[event]", "uuid"),
        ("filter", "equals(status,'Sent')"),
        ("page[number]", "2"),
        ("limit", "10"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(name: str, value: str) -> None:
    """What an endpoint does not know is a 400 that points to the parameter."""
    with pytest.raises(ApiError) as caught:
        read_query([(name, value)], QUERY)
    assert (caught.value.status, caught.value.parameter) == (400, name)


def test_a_parameter_may_stand_once() -> None:
    """A doubled parameter is refused."""
    with pytest.raises(ApiError, match="more than once"):
        read_query([("sort", "id"), ("sort", "name")], QUERY)


def test_sparse_fields_keep_what_they_name() -> None:
    """Dotted paths keep one part of an object, and other types keep everything."""
    made: dict[str, object] = {
        "type": "campaign",
        "id": "1",
        "attributes": {"created_at": "x", "definition": {"name": "n", "archived": False}},
    }
    assert sparse(made, {"campaign": ["definition.name"]})["attributes"] == {
        "definition": {"name": "n"}
    }
    assert sparse(made, {"event": []}) == made


# --- revisions ------------------------------------------------------------------------------------


def test_the_served_revision_is_served() -> None:
    """The revision of the simulator's shapes is answered as asked, with or without opt-out."""
    for opt_out in (None, "1"):
        assert not resolve_revision("2026-10-15", opt_out, TODAY).fell_forward


@pytest.mark.parametrize("header", [None, "", "latest", "2026-13-01", "2027-01-15"])
def test_a_request_needs_a_revision(header: str | None) -> None:
    """No header, no date and a day to come are refused."""
    with pytest.raises(RevisionMissingError):
        resolve_revision(header, None, TODAY)


@pytest.mark.parametrize("header", ["2024-10-15", "2024-07-15", "2026-03-03"])
def test_retired_revisions_fall_forward_in_silence_unless_the_request_opts_out(header: str) -> None:
    """Without the header the answer is of another revision; with it there is none."""
    assert resolve_revision(header, None, TODAY).served == SERVED
    assert resolve_revision(header, "0", TODAY).fell_forward
    with pytest.raises(RevisionRetiredError):
        resolve_revision(header, "1", TODAY)


def test_a_revision_lives_for_two_years() -> None:
    """A release is retired on its second birthday, not a day earlier; the clock decides."""
    with pytest.raises(RevisionNotSimulatedError):
        resolve_revision("2025-01-15", None, date(2027, 1, 14))
    assert resolve_revision("2025-01-15", None, date(2027, 1, 15)).fell_forward
    with pytest.raises(RevisionRetiredError):
        resolve_revision("2026-10-15", "1", date(2028, 10, 15))


# --- cursors --------------------------------------------------------------------------------------

KEYS = st.lists(st.one_of(st.text(max_size=8), st.integers()), max_size=4).map(tuple)


@given(st.lists(st.text(max_size=8), max_size=4), KEYS)
def test_a_cursor_keeps_its_key(question: list[str], key: tuple[str | int, ...]) -> None:
    """What goes into a cursor comes out of it, and nothing in it needs escaping in a URL."""
    cursor = encode_cursor(question, key)
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert decode_cursor(question, cursor) == key


@given(st.text(max_size=30))
def test_a_foreign_cursor_is_refused(text: str) -> None:
    """A text that is no cursor never passes."""
    with pytest.raises(CursorError):
        decode_cursor(["a"], text)


def test_a_cursor_of_another_question_is_refused() -> None:
    """A cursor goes on with the question that made it and with no other."""
    with pytest.raises(CursorError):
        decode_cursor(["campaigns", "B"], encode_cursor(["campaigns", "A"], ("x",)))


# --- bodies ---------------------------------------------------------------------------------------


def _report(kind: ReportKind, **attributes: object) -> dict[str, object]:
    asked = {
        "statistics": ["recipients"],
        "timeframe": {"key": "today"},
        "conversion_metric_id": "RESQ6t",
        **attributes,
    }
    kept = {name: value for name, value in asked.items() if value is not None}
    return {"data": {"type": kind.value, "attributes": kept}}


def test_a_report_is_grouped_by_message_and_channel_by_default() -> None:
    """Reports without `group_by` have one row for each message and channel."""
    read = read_report(_report(ReportKind.CAMPAIGN_VALUES), ReportKind.CAMPAIGN_VALUES)
    assert read.group_by == ("campaign_id", "campaign_message_id", "send_channel")
    assert read.statistics == (Statistic.RECIPIENTS,)


@pytest.mark.parametrize(
    ("kind", "attributes", "pointer"),
    [
        (ReportKind.CAMPAIGN_VALUES, {"statistics": ["sends"]}, "statistics"),
        (ReportKind.CAMPAIGN_VALUES, {"statistics": []}, "statistics"),
        (ReportKind.CAMPAIGN_VALUES, {"statistics": "opens"}, "statistics"),
        (ReportKind.CAMPAIGN_VALUES, {"conversion_metric_id": None}, "conversion_metric_id"),
        (ReportKind.CAMPAIGN_VALUES, {"timeframe": None}, "timeframe"),
        (ReportKind.CAMPAIGN_VALUES, {"interval": "daily"}, "interval"),
        (ReportKind.CAMPAIGN_VALUES, {"group_by": ["campaign_id"]}, "group_by"),
        (ReportKind.CAMPAIGN_VALUES, {"group_by": ["campaign_message_id"]}, "group_by"),
        (
            ReportKind.CAMPAIGN_VALUES,
            {"group_by": ["campaign_id", "campaign_message_id", "flow_id"]},
            "group_by",
        ),
        (ReportKind.FLOW_VALUES, {"group_by": ["flow_id", "send_channel"]}, "group_by"),
        (ReportKind.FLOW_SERIES, {}, "interval"),
        (ReportKind.FLOW_SERIES, {"interval": "day"}, "interval"),
        (ReportKind.FLOW_VALUES, {"filter": "equals(send_channel,'post')"}, "filter"),
        (ReportKind.FLOW_VALUES, {"filter": "equals(campaign_id,'a')"}, "filter"),
        (
            ReportKind.FLOW_VALUES,
            {"filter": "equals(flow_id,'a'),equals(flow_id,'b')"},
            "filter",
        ),
        (ReportKind.FLOW_VALUES, {"page_cursor": "a"}, "page_cursor"),
    ],
)
def test_a_report_that_breaks_a_rule_is_refused(
    kind: ReportKind, attributes: dict[str, object], pointer: str
) -> None:
    """The refusal points to the attribute."""
    with pytest.raises(ApiError) as caught:
        read_report(_report(kind, **attributes), kind)
    assert caught.value.pointer == f"/data/attributes/{pointer}"


@pytest.mark.parametrize(
    "body", [None, [], {}, {"data": []}, {"data": {"type": "report", "attributes": {}}}]
)
def test_a_body_that_is_no_report_is_refused(body: object) -> None:
    """The envelope is checked before what is in it."""
    with pytest.raises(ApiError):
        read_report(body, ReportKind.FLOW_VALUES)


def _aggregate(**attributes: object) -> dict[str, object]:
    asked = {
        "metric_id": "RESQ6t",
        "measurements": ["count", "sum_value"],
        "filter": [
            "greater-or-equal(datetime,2026-11-01T00:00:00)",
            "less-than(datetime,2026-11-08T00:00:00)",
        ],
        **attributes,
    }
    return {"data": {"type": "metric-aggregate", "attributes": asked}}


def test_dates_of_an_aggregate_are_of_its_zone() -> None:
    """A date without an offset is one of the zone that the body names."""
    read = read_aggregate(_aggregate(timezone="Europe/Paris"))
    assert read.span.start == datetime(2026, 10, 31, 23, tzinfo=UTC)
    assert read.measurements == (Measurement.COUNT, Measurement.SUM_VALUE)
    assert read.page_size == 500


@pytest.mark.parametrize(
    ("attributes", "pointer"),
    [
        ({"interval": "daily"}, "interval"),
        ({"measurements": ["sum"]}, "measurements"),
        ({"by": ["message"]}, "by"),
        ({"page_size": 501}, "page_size"),
        ({"page_size": True}, "page_size"),
        ({"timezone": "Europe/Kyiv"}, "timezone"),
        ({"timezone": "europe/paris"}, "timezone"),
        ({"sort": "unique"}, "sort"),
        ({"filter": []}, "filter"),
        ({"filter": ["greater-or-equal(datetime,2026-11-01)"]}, "filter"),
        ({"filter": "less-than(datetime,2026-11-08)"}, "filter"),
        (
            {
                "filter": [
                    "greater-or-equal(datetime,2026-11-01)",
                    "less-or-equal(datetime,2026-11-08)",
                ]
            },
            "filter",
        ),
        (
            {
                "filter": [
                    "greater-or-equal(datetime,2025-11-01)",
                    "less-than(datetime,2026-11-08)",
                ]
            },
            "filter",
        ),
        ({"cursor": "a"}, "cursor"),
    ],
)
def test_an_aggregate_that_breaks_a_rule_is_refused(
    attributes: dict[str, object], pointer: str
) -> None:
    """The refusal points to the attribute."""
    with pytest.raises(ApiError) as caught:
        read_aggregate(_aggregate(**attributes))
    assert caught.value.pointer == f"/data/attributes/{pointer}"


# --- statistics -----------------------------------------------------------------------------------


def test_the_list_of_statistics_is_closed() -> None:
    """There are 31 of them, and each has a value, also of a message that did nothing."""
    assert len(Statistic) == 31
    assert {statistic(name, Figures()) for name in Statistic} == {0.0}


def test_rates_are_fractions_and_money_is_in_units() -> None:
    """Numbers are scaled as Klaviyo scales them."""
    figures = Figures(
        recipients=1000,
        delivered=900,
        opens_unique=450,
        clicks_unique=90,
        conversions=9,
        conversion_value_micros=640_500_000,
    )
    assert statistic(Statistic.OPEN_RATE, figures) == 0.5
    assert statistic(Statistic.CLICK_TO_OPEN_RATE, figures) == 0.2
    assert statistic(Statistic.CONVERSION_VALUE, figures) == 640.5
    assert statistic(Statistic.AVERAGE_ORDER_VALUE, figures) == pytest.approx(71.1666666)

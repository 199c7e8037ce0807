"""An org's own mapping as data: what compiles, what is refused, and what rows become."""

import datetime as dt
import json
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from liftos_kit.core.errors import InvalidFieldsError
from liftos_mapping.engine import TransformContext, TransformResult, days_of, evaluate
from liftos_mapping.entry_fields import ENTRY_SCHEMA
from liftos_mapping.errors import RowErrorCode
from liftos_mapping.grouping import RowGroups
from liftos_mapping.language import compile_mapping
from liftos_mapping.language_schema import MAPPING_SCHEMA

SHOP: dict[str, Any] = {
    "level": "OUTCOME",
    "date_basis": "EVENT",
    "calculate": {
        "net": "total - coalesce(tax, 0)",
        "day": "date(created, 'iso', 'Europe/Berlin')",
        "one": "1",
    },
    "aggregate": {"by": ["day", "country"], "sum": ["net", "one"]},
    "columns": {
        "date": "day",
        "orders": "one",
        "revenue_micros": {"from": "net", "unit": "cents"},
        "currency_code": {"constant": "EUR"},
    },
    "breakdowns": {"country": "country"},
}
ACCOUNT = TransformContext(account_id="1", currency_code="EUR", date="2026-11-01")


def columns(document: dict[str, Any], *rows: object) -> TransformResult:
    """What rows become with a mapping."""
    return evaluate(compile_mapping("shop", document), rows, ACCOUNT)


def violations(document: Any) -> dict[str, str]:
    """What is wrong with a mapping, by path."""
    with pytest.raises(InvalidFieldsError) as caught:
        compile_mapping("shop", document)
    return {it.field: it.description for it in caught.value.violations}


def test_every_part_of_the_language_does_what_it_says() -> None:
    """Paths, fall-backs, constants, value maps, units, dates and expressions, in one mapping."""
    result = columns(
        {
            "level": "AD",
            "date_basis": "CONVERSION",
            "calculate": {"gross": "net * 1.19", "double": "gross * 2"},
            "columns": {
                "date": {"from": "when", "format": "%d.%m.%Y %H:%M%z", "time_zone": "Asia/Tokyo"},
                "campaign_id": "campaign.id",
                "ad_id": ["ad", "creative.id"],
                "ad_name": {"calculate": "concat(lower(name), ' #', number)"},
                "channel": {"from": "medium", "values": {"cpc": "paid", "x": None}},
                "spend_micros": {"from": "double"},
                "revenue_micros": {"from": "income", "unit": "cents"},
                "conversions_micros": {"from": "conversions", "unit": "micros"},
                "clicks": {"calculate": "if(bot, null, clicks)"},
                "search_impression_share": {"from": "share", "unit": "percent"},
                "time_zone": {"constant": "Asia/Tokyo"},
            },
            "breakdowns": {"age": "age", "gross": "gross"},
            "ignore": ["internal"],
        },
        {
            "when": "01.11.2026 23:30+0000",
            "campaign": {"id": 7},
            "creative.id": "9",
            "name": "Sale",
            "number": 12,
            "medium": "cpc",
            "net": "0.10",
            "income": "1999",
            "conversions": 1500000,
            "bot": False,
            "clicks": "4",
            "share": "12.5",
            "age": "25-34",
            "internal": 1,
            "surprise": 2,
        },
        {
            "when": "01.11.2026 01:00+0000",
            "campaign.id": "7",
            "ad": "8",
            "medium": "x",
            "bot": True,
            "clicks": 3,
        },
    )
    assert result.errors == ()
    first, second = result.table.to_pylist()
    wanted = {
        "date": dt.date(2026, 11, 2),
        "platform": "shop",
        "level": "AD",
        "date_basis": "CONVERSION",
        "campaign_id": "7",
        "ad_id": "9",
        "ad_name": "sale #12",
        "channel": "paid",
        "spend_micros": 238_000,
        "revenue_micros": 19_990_000,
        "conversions_micros": 1_500_000,
        "clicks": 4,
        "search_impression_share": 0.125,
        "time_zone": "Asia/Tokyo",
        "breakdown_key": "age=25-34&gross=0.1190",
    }
    assert {name: first[name] for name in wanted} == wanted
    assert (second["date"], second["ad_id"], second["channel"]) == (
        dt.date(2026, 11, 1),
        "8",
        None,
    )
    assert (second["clicks"], second["spend_micros"]) == (None, None)
    assert result.unmapped_fields == ("surprise",)


def test_rows_are_grouped_with_exact_sums() -> None:
    """One entry for each key and day; sums are exact, and unset where no row has a value."""
    result = columns(
        {
            **SHOP,
            "columns": {**SHOP["columns"], "value_micros": {"from": "extra"}},
            "aggregate": {"by": ["day", "country"], "sum": ["net", "one", "extra"]},
        },
        {"total": "10.1", "tax": "0.2", "created": "2026-11-01T23:30:00Z", "country": "DE"},
        {"total": "5", "created": "2026-11-01T12:00:00+01:00", "country": "DE", "note": 1},
        {"total": 0.1, "created": "2026-11-02", "country": "DE"},
    )
    assert [
        (str(it["date"]), it["orders"], it["revenue_micros"], it["value_micros"])
        for it in result.table.to_pylist()
    ] == [("2026-11-02", 2, 100_000, None), ("2026-11-01", 1, 50_000, None)]
    assert result.source_index == [0, 1]
    assert result.unmapped_fields == ("note",)


def test_a_row_that_cannot_be_read_spoils_its_group_alone() -> None:
    """A sum without one of its rows would be a wrong number, so there is none."""
    result = columns(
        SHOP,
        {"total": "1", "created": "2026-11-01", "country": "DE"},
        {"total": "abc", "created": "2026-11-01", "country": "DE"},
        {"total": "x", "created": "2026-11-01", "country": "DE"},
        {"total": "2", "created": "2026-11-01", "country": "FR"},
        {"total": "2", "created": "soon", "country": "FR"},
        "no row",
    )
    assert result.table["breakdown_key"].to_pylist() == ["country=FR"]
    assert [(it.index, it.field, it.code) for it in result.errors] == [
        (0, "net", RowErrorCode.NOT_A_NUMBER),
        (4, "created", RowErrorCode.NOT_A_DATE),
        (5, "", RowErrorCode.NOT_AN_OBJECT),
    ]
    assert "row 1: 'abc' is not a number" in result.errors[0].message
    assert "1 more rows of its group" in result.errors[0].message


_ORDERS = st.lists(
    st.fixed_dictionaries(
        {
            "total": st.decimals(0, 10**6, places=4).map(str) | st.none(),
            "tax": st.integers(0, 9) | st.none(),
            "created": st.sampled_from(["2026-11-01", "2026-11-02", "2026-11-03T00:30:00+01:00"]),
            "country": st.sampled_from(["DE", "FR", None, " DE "]),
        }
    ),
    max_size=12,
)


@given(_ORDERS, st.integers(1, 5))
def test_batches_group_as_one_call_does(rows: list[dict[str, object]], size: int) -> None:
    """However rows are cut into batches, their groups and sums are those that Decimal adds up."""
    mapping = compile_mapping("shop", SHOP)
    groups = RowGroups(mapping)
    for start in range(0, len(rows), size):
        groups.add(rows[start : start + size])
    grouped = json.loads(json.dumps(groups.rows()))
    by_batches = evaluate(mapping.grouped(), grouped, ACCOUNT).table
    assert by_batches == evaluate(mapping, rows, ACCOUNT).table
    wanted: dict[tuple[str, str], Decimal | None] = {}
    for row in rows:
        country = str(row["country"] or "").strip()
        key = (str(row["created"])[:10], f"country={country}" if country else "")
        total, tax = row["total"], Decimal(str(row["tax"] or 0))
        net = None if total is None else Decimal(str(total)) - tax
        earlier = wanted.get(key)
        wanted[key] = net if earlier is None else earlier if net is None else earlier + net
    found = {
        (str(it["date"]), it["breakdown_key"]): it["revenue_micros"]
        for it in by_batches.to_pylist()
    }
    exact = {
        key: None if it is None else int((it * 10_000).quantize(Decimal(1), ROUND_HALF_EVEN))
        for key, it in wanted.items()
        if it is None or it >= 0
    }
    assert found == exact


def test_groups_that_are_not_chosen_are_not_kept() -> None:
    """Only the wanted days stay in memory, however often other rows come."""
    mapping = compile_mapping("shop", SHOP)
    groups = RowGroups(
        mapping,
        lambda rows: [it == dt.date(2026, 11, 1) for it in days_of(mapping.grouped(), rows)],
    )
    for _ in range(3):
        groups.add([{"created": "2026-11-01", "total": 1}, {"created": "2026-10-01", "total": 1}])
        assert len(groups) == 1
    assert groups.rows() == [{"day": "2026-11-01", "country": None, "net": "3", "one": "3"}]


def test_days_are_found_without_mapping_the_rest() -> None:
    """The day of a row is what the mapping's date says; none where it cannot be read."""
    mapping = compile_mapping(
        "shop", {"columns": {"date": {"from": "d", "format": "%Y%m%d"}, "clicks": "c"}}
    )
    assert days_of(mapping, [{"d": "20261101"}, {"d": "x"}, {}, 5]) == [
        dt.date(2026, 11, 1),
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("document", "path", "words"),
    [
        ({}, "mapping.columns", "at least one field"),
        ({"columns": []}, "mapping.columns", "must be an object"),
        ({"columns": {"clicks": "c"}, "x": 1}, "mapping.x", "is not known; there are level"),
        ({"columns": {"cost": "c"}}, "mapping.columns.cost", "is no column of an entry"),
        ({"columns": {"platform": "p"}}, "mapping.columns.platform", "is no column"),
        ({"columns": {"clicks": 5}}, "mapping.columns.clicks", "must be a path or an object"),
        ({"columns": {"clicks": {}}}, "mapping.columns.clicks", "exactly one of from, calculate"),
        (
            {"columns": {"clicks": {"from": "a", "constant": 1}}},
            "mapping.columns.clicks",
            "exactly one",
        ),
        ({"columns": {"clicks": ["a", 5]}}, "mapping.columns.clicks.from[1]", "5 is no path"),
        ({"columns": {"clicks": "=a"}}, "mapping.columns.clicks.from[0]", "begins with ="),
        (
            {"columns": {"clicks": {"constant": "many"}}},
            "mapping.columns.clicks.constant",
            "number",
        ),
        ({"columns": {"clicks": {"constant": 1.5}}}, "mapping.columns.clicks.constant", "whole"),
        ({"columns": {"clicks": {"constant": True}}}, "mapping.columns.clicks.constant", "text"),
        (
            {"columns": {"clicks": {"from": "a", "unit": "cents"}}},
            "mapping.columns.clicks.unit",
            "is not known; there are from, calculate, constant, values, otherwise",
        ),
        (
            {"columns": {"spend_micros": {"from": "a", "unit": "eur"}}},
            "mapping.columns.spend_micros.unit",
            "must be one of units, cents, micros",
        ),
        (
            {"columns": {"date": {"from": "a", "format": "DD.MM."}}},
            "mapping.columns.date.format",
            "is no format of dates; use iso, unix_seconds",
        ),
        (
            {"columns": {"date": {"from": "a", "time_zone": "Berlin"}}},
            "mapping.columns.date.time_zone",
            "is not the IANA name",
        ),
        (
            {"columns": {"channel": {"from": "a", "otherwise": "b"}}},
            "mapping.columns.channel.otherwise",
            "needs values",
        ),
        (
            {"columns": {"channel": {"from": "a", "values": {"a b": []}}}},
            "mapping.columns.channel.values['a b']",
            "must be a text, a number or null",
        ),
        (
            {"columns": {"clicks": {"calculate": "a +"}}},
            "mapping.columns.clicks.calculate",
            "character 3: expected a value",
        ),
        (
            {"columns": {"date": {"calculate": "date(a, '%Q')"}}},
            "mapping.columns.date.calculate",
            "date: '%Q' is no format",
        ),
        (
            {"columns": {"clicks": "a"}, "calculate": {"a": "b + 1", "b": "a + 1"}},
            "mapping.calculate",
            "a, b need each other",
        ),
        (
            {"columns": {"clicks": "c"}, "aggregate": {"by": ["d"], "sum": []}},
            "mapping.columns.clicks.from",
            "is gone after the aggregate; there are d",
        ),
        (
            {"columns": {"reach": "r"}, "aggregate": {"by": ["d"], "sum": ["r"]}},
            "mapping.columns.reach.from",
            "is never summed",
        ),
        (
            {"columns": {"clicks": "d"}, "aggregate": {"by": ["d"], "sum": ["d"]}},
            "mapping.aggregate",
            "has d twice",
        ),
        (
            {"columns": {"clicks": "d"}, "aggregate": {"sum": ["d"]}},
            "mapping.aggregate.by",
            "must name what rows have in common",
        ),
        ({"columns": {"clicks": "c"}, "level": "ad"}, "mapping.level", "must be one of ACCOUNT"),
        (
            {"columns": {"clicks": "c"}, "level": "AD"},
            "mapping.columns.ad_id",
            "is required at level AD",
        ),
        (
            {"columns": {"ad_id": "c"}, "level": "OUTCOME"},
            "mapping.columns.ad_id",
            "does not exist at level OUTCOME",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_path(document: Any, path: str, words: str) -> None:
    """Each violation names the field, what is wrong with it, and what would be right."""
    assert words in violations(document)[path]


def test_calculations_that_grow_with_each_use_stay_cheap() -> None:
    """A chain in which each name uses the one before twice takes no exponential time."""
    chain = {"c0": "x"} | {f"c{n}": f"c{n - 1} + c{n - 1}" for n in range(1, 60)}
    result = columns({"calculate": chain, "columns": {"spend_micros": "c20"}}, {"x": 1})
    assert result.table["spend_micros"].to_pylist() == [2**20 * 1_000_000]
    deep = {"c0": "x"} | {f"c{n}": "+".join([f"c{n - 1}"] * 9) for n in range(1, 60)}
    assert "nested deeper" in next(
        iter(violations({"calculate": deep, "columns": {"clicks": "c1"}}).values())
    )


_WORDS = st.sampled_from(
    ["a", "a.b", "", "=x", "a + 1", "if(", "date", "cents", "percent", "%d", "UTC", "AD", "EVENT"]
)
_KEYS = st.sampled_from(
    [
        *("level", "date_basis", "calculate", "aggregate", "columns", "breakdowns", "ignore"),
        *("from", "constant", "values", "otherwise", "unit", "format", "time_zone", "by", "sum"),
        *("date", "clicks", "spend_micros", "ad_id", "channel", "search_impression_share"),
        *("a", "a.b", "x" * 300),
    ]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _WORDS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
_DOCUMENTS = st.dictionaries(_KEYS, _JSON, max_size=5) | st.fixed_dictionaries(
    {"columns": st.dictionaries(_KEYS, _JSON, min_size=1, max_size=4)},
    optional={
        "calculate": st.dictionaries(_KEYS, _WORDS, max_size=3),
        "aggregate": st.fixed_dictionaries({"by": st.lists(_WORDS), "sum": st.lists(_WORDS)}),
        "breakdowns": st.dictionaries(_KEYS, _WORDS),
        "ignore": _JSON,
        "level": _WORDS,
    },
)


@given(_DOCUMENTS, st.lists(st.dictionaries(_KEYS, _JSON, max_size=4) | _JSON, max_size=3))
def test_any_document_compiles_or_is_refused(document: dict[str, Any], rows: list[object]) -> None:
    """No document crashes the compiler; one that compiles is valid by the schema and evaluates."""
    try:
        mapping = compile_mapping("shop", document)
    except InvalidFieldsError as error:
        problem = error
    else:
        Draft202012Validator(MAPPING_SCHEMA).validate(document)
        result = evaluate(mapping, rows, ACCOUNT)
        assert result.table.schema == ENTRY_SCHEMA
        return
    assert all(it.field.startswith("mapping") and it.description for it in problem.violations)


def test_the_schema_is_a_schema_and_takes_the_example() -> None:
    """Editors can use it: it is valid itself, takes a mapping, and refuses a misspelt one."""
    Draft202012Validator.check_schema(MAPPING_SCHEMA)
    validator = Draft202012Validator(MAPPING_SCHEMA)
    validator.validate(SHOP)
    assert not validator.is_valid({**SHOP, "colums": {}})
    assert not validator.is_valid({"columns": {"clicks": {"from": "a", "unit": "cents"}}})

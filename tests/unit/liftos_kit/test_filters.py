"""Filters read as written, mean one thing everywhere, and cannot break out of a query."""

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from milvus_lite.schema.types import CollectionSchema, DataType, FieldSchema
from milvus_lite.search.filter import compile_filter, evaluate_mask

from liftos_kit.core.errors import FilterError
from liftos_kit.core.filters import (
    MAXIMUM_CHARACTERS,
    And,
    Comparison,
    FieldType,
    Filter,
    FilterField,
    Not,
    Operator,
    Or,
    Prefix,
    Present,
    Value,
    evaluate,
    format_filter,
    parse_filter,
    to_milvus,
    to_sql,
)

LEVELS = ("CAMPAIGN", "AD")
SLICE = UUID("0198c0de-0000-7000-8000-00000000000a")
SCHEMA = {
    "campaign_name": FilterField(FieldType.TEXT),
    "clicks": FilterField(FieldType.INTEGER),
    "quality.score": FilterField(FieldType.REAL),
    "final": FilterField(FieldType.BOOLEAN),
    "date": FilterField(FieldType.DATE),
    "level": FilterField(FieldType.ENUM, LEVELS),
    "slice": FilterField(FieldType.UUID),
}
COLUMNS = {field: f"e.{field.replace('.', '_')}" for field in SCHEMA}

TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\"'\\*%_ aZ\U0010ffff\ud7ff"),
    max_size=6,
)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
REALS = st.floats(allow_nan=False, allow_infinity=False)
DATES = st.dates(date(1000, 1, 1))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "campaign_name": TEXT,
    "clicks": INTEGERS,
    "quality.score": REALS,
    "final": st.booleans(),
    "date": DATES,
    "level": st.sampled_from(LEVELS),
    "slice": st.uuids().map(str),
}


def _comparisons() -> st.SearchStrategy[Filter]:
    each: list[st.SearchStrategy[Filter]] = [
        st.builds(
            Comparison,
            st.just(field),
            st.sampled_from(Operator)
            if SCHEMA[field].type not in (FieldType.BOOLEAN, FieldType.ENUM, FieldType.UUID)
            else st.sampled_from([Operator.EQUAL, Operator.NOT_EQUAL]),
            values,
        )
        for field, values in VALUES.items()
    ]
    return st.one_of(
        *each,
        st.builds(Prefix, st.just("campaign_name"), TEXT),
        st.builds(Present, st.sampled_from(sorted(SCHEMA))),
    )


def _several(terms: st.SearchStrategy[Filter]) -> st.SearchStrategy[tuple[Filter, ...]]:
    return st.lists(terms, min_size=2, max_size=3).map(tuple)


FILTERS: st.SearchStrategy[Filter] = st.recursive(
    _comparisons(),
    lambda terms: (
        st.builds(Not, terms) | st.builds(And, _several(terms)) | st.builds(Or, _several(terms))
    ),
    max_leaves=8,
)
ROWS: st.SearchStrategy[Mapping[str, Value | None]] = st.fixed_dictionaries(
    {field: st.none() | values for field, values in VALUES.items()}
)


@given(FILTERS)
def test_a_formatted_filter_reads_back_as_itself(term: Filter) -> None:
    """Whatever text, number or nesting a filter has, its text means the same filter."""
    assert term == parse_filter(format_filter(term), SCHEMA)


def _by_hand(  # noqa: PLR0911  # one return for each kind of term
    term: Filter, row: Mapping[str, Value | None]
) -> bool | None:
    """Read a filter as three-valued logic that ends two-valued below each NOT."""
    match term:
        case Not(inner):
            return not (_by_hand(inner, row) or False)
        case And(terms):
            results = [_by_hand(each, row) for each in terms]
            return False if False in results else None if None in results else True
        case Or(terms):
            results = [_by_hand(each, row) for each in terms]
            return True if True in results else None if None in results else False
        case Present(field):
            return row[field] is not None
        case Prefix(field, prefix):
            text: Any = row[field]
            return None if text is None else text[: len(prefix)] == prefix
        case Comparison(field, operator, value):
            found: Any = row[field]
            if found is None:
                return None
            wanted: Any = value
            if isinstance(found, str):
                found, wanted = found.encode("utf-8"), wanted.encode("utf-8")
            order = (found > wanted) - (found < wanted)
            return (
                order
                in {
                    Operator.EQUAL: (0,),
                    Operator.NOT_EQUAL: (-1, 1),
                    Operator.LESS: (-1,),
                    Operator.LESS_OR_EQUAL: (-1, 0),
                    Operator.GREATER: (1,),
                    Operator.GREATER_OR_EQUAL: (0, 1),
                }[operator]
            )


@given(FILTERS, ROWS)
def test_evaluation_agrees_with_sql_logic(term: Filter, row: Mapping[str, Value | None]) -> None:
    """A row passes exactly where WHERE would let it, with NOT coalesced, in byte order."""
    assert (_by_hand(term, row) is True) == evaluate(term, row)


MILVUS_SCHEMA = CollectionSchema(
    fields=[
        FieldSchema(name="id", dtype=DataType.INT64, is_primary=True),
        FieldSchema(name="vector", dtype=DataType.FLOAT_VECTOR, dim=2),
        FieldSchema(name="campaign_name", dtype=DataType.VARCHAR, max_length=100, nullable=True),
        FieldSchema(name="clicks", dtype=DataType.INT64, nullable=True),
        FieldSchema(name="score", dtype=DataType.DOUBLE, nullable=True),
        FieldSchema(name="final", dtype=DataType.BOOL, nullable=True),
        FieldSchema(name="date", dtype=DataType.VARCHAR, max_length=10, nullable=True),
        FieldSchema(name="level", dtype=DataType.VARCHAR, max_length=10, nullable=True),
        FieldSchema(name="slice", dtype=DataType.VARCHAR, max_length=36, nullable=True),
    ]
)
MILVUS_FIELDS = {field: field.rpartition(".")[2] for field in SCHEMA}


@given(FILTERS, ROWS)
def test_milvus_agrees_with_evaluation(term: Filter, row: Mapping[str, Value | None]) -> None:
    """The expression for Milvus, run by Milvus Lite's own engine, lets the same rows pass."""
    expression = to_milvus(term, fields=MILVUS_FIELDS)
    stored = {
        MILVUS_FIELDS[field]: [value.isoformat() if isinstance(value, date) else value]
        for field, value in row.items()
    }
    types = {"clicks": pa.int64(), "score": pa.float64(), "final": pa.bool_()}
    table = pa.table(
        {
            "id": pa.array([1]),
            **{name: pa.array(held, types.get(name, pa.string())) for name, held in stored.items()},
        }
    )
    mask = evaluate_mask(compile_filter(expression, MILVUS_SCHEMA), table)
    assert [evaluate(term, row)] == mask.tolist()


@given(FILTERS)
def test_sql_holds_parameters_only(term: Filter) -> None:
    """No literal becomes part of the SQL text, and parameters are numbered without gaps."""
    sql, parameters = to_sql(term, columns=COLUMNS, first_parameter=3)
    numbers = [int(part.split(":")[0]) for part in sql.split("$")[1:]]
    assert numbers == list(range(3, 3 + len(parameters)))
    assert '"' not in sql.replace('COLLATE "C"', "")
    assert "'" not in sql


def test_sql_of_each_kind() -> None:
    """The translation reads as one would write it."""
    term = parse_filter(
        'level=AD AND (campaign_name:"Spring*" OR NOT clicks>=5) AND date:* AND campaign_name<b',
        SCHEMA,
    )
    sql, parameters = to_sql(term, columns=COLUMNS, first_parameter=1)
    assert sql == (
        "(e.level = $1::text AND (starts_with(e.campaign_name, $2::text) OR NOT "
        "coalesce(e.clicks >= $3::bigint, false)) AND e.date IS NOT NULL AND "
        'e.campaign_name COLLATE "C" < $4::text)'
    )
    assert parameters == ["AD", "Spring", 5, "b"]
    assert to_sql(None, columns={}, first_parameter=1) == ("true", [])


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_no_filter(text: str) -> None:
    """Blanks are no filter: everything passes."""
    assert parse_filter(text, SCHEMA) is None
    assert evaluate(None, {}) is True
    assert to_milvus(None, fields={}) == ""


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("clicks=5", Comparison("clicks", Operator.EQUAL, 5)),
        ("clicks != -5", Comparison("clicks", Operator.NOT_EQUAL, -5)),
        ("quality.score>=.5", Comparison("quality.score", Operator.GREATER_OR_EQUAL, 0.5)),
        ("final=true", Comparison("final", Operator.EQUAL, True)),
        ('date<"2026-01-31"', Comparison("date", Operator.LESS, date(2026, 1, 31))),
        ("campaign_name='it\\'s'", Comparison("campaign_name", Operator.EQUAL, "it's")),
        ('campaign_name="a*b"', Comparison("campaign_name", Operator.EQUAL, "a*b")),
        ("campaign_name:Spring*", Prefix("campaign_name", "Spring")),
        ('campaign_name:"50\\*"', Comparison("campaign_name", Operator.EQUAL, "50*")),
        ('campaign_name:"*"', Prefix("campaign_name", "")),
        ("campaign_name:*", Present("campaign_name")),
        ("(((clicks=1)))", Comparison("clicks", Operator.EQUAL, 1)),
        (f"slice={SLICE.hex}", Comparison("slice", Operator.EQUAL, str(SLICE))),
        (f"slice!='{SLICE}'", Comparison("slice", Operator.NOT_EQUAL, str(SLICE))),
        (f'slice="orgs/a/slices/{SLICE.hex}"', Comparison("slice", Operator.EQUAL, str(SLICE))),
        ("campaign_name=Größe", Comparison("campaign_name", Operator.EQUAL, "Größe")),
    ],
)
def test_what_can_be_written(text: str, term: Filter) -> None:
    """Every form of the grammar, with what it means."""
    assert term == parse_filter(text, SCHEMA)


@pytest.mark.parametrize(
    ("text", "position", "said"),
    [
        ("spend=5", 0, "'spend' is no field that can be filtered, as no metric is; the fields are"),
        ("org=other", 0, "the fields are campaign_name"),
        ("campaing=5", 0, "'campaing' is no field; did you mean campaign_name?"),
        ("clicks=1 AND", 12, "expected a field, not the end"),
        ('"clicks"=1', 0, "expected a field, not 'clicks'"),
        ("clicks", 6, "expected an operator after clicks, not the end"),
        ("clicks=", 7, "expected a value after =, not the end"),
        ("clicks=AND", 7, "expected a value"),
        ("clicks=five", 7, "clicks is a whole number"),
        ('clicks="5"', 7, "without quotes"),
        ("clicks=9223372036854775808", 7, "of 64 bits"),
        ("clicks=1.5", 7, "a whole number"),
        ("quality.score=nan", 14, "a number"),
        ("quality.score=1e999", 14, "a number"),
        ("final=1", 6, "true or false"),
        ("final>true", 5, "compared by =, !="),
        ("date=2026-02-30", 5, "a date as 2026-01-31"),
        ("date=20260201", 5, "a date as 2026-01-31"),
        ("level=campaign", 6, "one of CAMPAIGN, AD"),
        ("level<AD", 5, "compared by =, !="),
        ("slice = x", 8, "an id of 32 hexadecimal digits"),
        ('slice="orgs/a/slices/"', 6, "or the name that ends in it"),
        ('slice:"0a*"', 6, "only as slice:*"),
        (f"slice<{SLICE.hex}", 5, "compared by =, !="),
        ("clicks:5", 7, "only as clicks:*"),
        ("campaign_name:a*b", 14, "only ends the text"),
        ("campaign_name:**", 14, "only ends the text"),
        ('campaign_name="a', 14, "not closed"),
        ('campaign_name="a\\n"', 16, "escapes only"),
        ('campaign_name="a\x00"', 16, "control characters"),
        ("campaign_name=a\x00", 15, "means nothing here"),
        ("clicks=1 clicks=2", 9, "expected AND, OR or the end"),
        ("clicks=1 AND clicks=2 OR clicks=3", 22, "do not mix without parentheses"),
        ("(clicks=1", 9, "expected ), not the end"),
        ("clicks=1)", 8, "expected AND, OR or the end"),
        ("AND", 0, "'AND' is no field"),
        ("clicks=1; drop table x", 7, "clicks is a whole number"),
        ("(" * 40 + "clicks=1" + ")" * 40, 33, "more than 32 levels"),
        ("NOT " * 40 + "clicks=1", 132, "more than 32 levels"),
        (" AND ".join(["clicks=1"] * 101), 1300, "more than 100 comparisons"),
        ("x" * 2_001, MAXIMUM_CHARACTERS, "at most 2000"),
    ],
)
def test_what_is_refused(text: str, position: int, said: str) -> None:
    """Each mistake is told with its place and what would be right."""
    with pytest.raises(FilterError, match="filter, character") as caught:
        parse_filter(text, SCHEMA)
    assert said in caught.value.message
    assert position == caught.value.position


@given(st.text(max_size=60) | st.text("clis=<>!:\"'\\*() ANDORT5", max_size=60))
def test_any_text_is_a_filter_or_an_error(text: str) -> None:
    """No text makes the parser fail in another way than it should."""
    try:
        term = parse_filter(text, SCHEMA)
    except FilterError as error:
        term, position = None, error.position
        assert 0 <= position <= len(text)  # either outcome is right
    if term is not None:
        assert term == parse_filter(format_filter(term), SCHEMA)

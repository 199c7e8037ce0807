"""Queries are read as written, and what is not a query is refused by its name."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_platforms.google_ads.gaql import (
    LIST_OPERATORS,
    Condition,
    GaqlError,
    Literal,
    LiteralKind,
    Operator,
    Ordering,
    Query,
    parse_query,
)

_NAMES = st.from_regex(r"[a-z][a-z_]{0,6}(\.[a-z][a-z0-9_]{0,6}){1,2}", fullmatch=True)
_NUMBERS = st.one_of(
    st.integers(-(10**18), 10**18).map(str),
    st.decimals(-1000, 1000, places=3).map(lambda number: f"{number:f}"),
).map(lambda text: Literal(LiteralKind.NUMBER, text))
_TEXTS = st.text(
    st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12
).map(lambda text: Literal(LiteralKind.TEXT, text))
_WORDS = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True).map(
    lambda text: Literal(LiteralKind.WORD, text)
)
_LITERALS = st.one_of(_NUMBERS, _TEXTS, _WORDS)


def _values(operator: Operator) -> st.SearchStrategy[tuple[Literal, ...]]:
    if operator in (Operator.IS_NULL, Operator.IS_NOT_NULL):
        return st.just(())
    one_kind = st.sampled_from([_NUMBERS, _TEXTS, _WORDS.filter(lambda w: w.text != "AND")])
    if operator is Operator.BETWEEN:
        return one_kind.flatmap(lambda kind: st.tuples(kind, kind))
    if operator in LIST_OPERATORS:
        return one_kind.flatmap(lambda kind: st.lists(kind, min_size=1, max_size=4).map(tuple))
    return st.tuples(_LITERALS)


_CONDITIONS = st.sampled_from(Operator).flatmap(
    lambda operator: st.builds(Condition, _NAMES, st.just(operator), _values(operator))
)
_QUERIES = st.builds(
    Query,
    st.lists(_NAMES, min_size=1, max_size=5, unique=True).map(tuple),
    st.from_regex(r"[a-z][a-z_]{0,10}", fullmatch=True),
    st.lists(_CONDITIONS, max_size=4).map(tuple),
    st.lists(st.builds(Ordering, _NAMES, descending=st.booleans()), max_size=3).map(tuple),
    st.none() | st.integers(1, 10**9),
    st.dictionaries(_WORDS.map(lambda word: word.text), st.sampled_from(["true", "false"])),
)


def _literal(literal: Literal) -> str:
    if literal.kind is not LiteralKind.TEXT:
        return literal.text
    escaped = literal.text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _condition(condition: Condition) -> str:
    values = [_literal(value) for value in condition.values]
    match condition.operator:
        case Operator.IS_NULL | Operator.IS_NOT_NULL:
            written = ""
        case Operator.BETWEEN:
            written = f"{values[0]} AND {values[1]}"
        case operator if operator in LIST_OPERATORS:
            written = f"({', '.join(values)})"
        case _:
            written = values[0]
    return f"{condition.field} {condition.operator.value} {written}"


def _written(query: Query) -> str:
    parts = [f"SELECT {', '.join(query.select)} FROM {query.resource}"]
    if query.where:
        parts.append("WHERE " + " AND ".join(map(_condition, query.where)))
    if query.order_by:
        orderings = (f"{o.field} {'DESC' if o.descending else 'ASC'}" for o in query.order_by)
        parts.append("ORDER BY " + ", ".join(orderings))
    if query.limit is not None:
        parts.append(f"LIMIT {query.limit}")
    if query.parameters:
        pairs = (f"{name} = {value}" for name, value in query.parameters.items())
        parts.append("PARAMETERS " + ", ".join(pairs))
    return " ".join(parts)


@given(_QUERIES)
def test_a_query_is_read_as_it_was_written(query: Query) -> None:
    """Whatever the grammar allows comes back as the same tree."""
    assert parse_query(_written(query)) == query


@given(_QUERIES, st.data())
def test_damage_is_refused_or_still_a_query(query: Query, data: st.DataObject) -> None:
    """A query with a piece cut out or put in never fails in any way but as a refusal."""
    text = _written(query)
    place = data.draw(st.integers(0, len(text)))
    removed = data.draw(st.integers(0, 5))
    added = data.draw(st.sampled_from(["", "'", "(", ")", ",", " AND ", ";", "\\", "é", "-", "1."]))
    with contextlib.suppress(GaqlError):
        parse_query(text[:place] + added + text[place + removed :])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "EXPECTED_SELECT"),
        ("campaign.id FROM campaign", "EXPECTED_SELECT"),
        ("SELECT FROM campaign", "UNEXPECTED_INPUT"),
        ("SELECT", "UNEXPECTED_END_OF_QUERY"),
        ("SELECT campaign.id", "EXPECTED_FROM"),
        ("SELECT campaign.id, FROM campaign", "UNEXPECTED_INPUT"),
        ("SELECT campaign.id campaign.name FROM campaign", "UNEXPECTED_INPUT"),
        ("SELECT campaign.Id FROM campaign", "BAD_FIELD_NAME"),
        ("SELECT campaign.id FROM Campaign", "BAD_RESOURCE_TYPE_IN_FROM_CLAUSE"),
        ("SELECT campaign.id FROM campaign WHERE", "UNEXPECTED_END_OF_QUERY"),
        ("SELECT campaign.id FROM campaign WHERE campaign.id", "UNEXPECTED_END_OF_QUERY"),
        ("SELECT campaign.id FROM campaign WHERE campaign.id SOUNDS 1", "BAD_OPERATOR"),
        ("SELECT campaign.id FROM campaign WHERE campaign.id = 12ab", "BAD_NUMBER"),
        ("SELECT campaign.id FROM campaign WHERE campaign.id = (1)", "EXPECTED_SINGLE_VALUE"),
        ("SELECT campaign.id FROM campaign WHERE campaign.id IN 1", "EXPECTED_LIST"),
        (
            "SELECT campaign.id FROM campaign WHERE campaign.id IN ()",
            "PROHIBITED_EMPTY_LIST_IN_CONDITION",
        ),
        (
            "SELECT campaign.id FROM campaign WHERE campaign.id IN (1, 'a')",
            "PROHIBITED_VALUE_COMBINATION_IN_LIST",
        ),
        (
            f"SELECT campaign.id FROM campaign WHERE campaign.id IN ({'1,' * 20_000}1)",
            "FILTER_HAS_TOO_MANY_VALUES",
        ),
        (
            "SELECT campaign.id FROM campaign WHERE campaign.id = 1 OR campaign.id = 2",
            "UNEXPECTED_INPUT",
        ),
        ("SELECT campaign.id FROM campaign WHERE campaign.name = 'x", "STRING_NOT_TERMINATED"),
        (
            "SELECT campaign.id FROM campaign WHERE campaign.name = 'x\ny'",
            "PROHIBITED_NEWLINE_IN_STRING",
        ),
        ("SELECT campaign.id FROM campaign WHERE campaign.name = '\\q'", "BAD_ESCAPE_SEQUENCE"),
        (
            "SELECT campaign.id FROM campaign WHERE segments.date BETWEEN '2026-01-01'",
            "EXPECTED_AND",
        ),
        (
            "SELECT campaign.id FROM campaign WHERE segments.date BETWEEN",
            "EXPECTED_VALUE_WITH_BETWEEN_OPERATOR",
        ),
        (
            "SELECT campaign.id FROM campaign WHERE segments.date BETWEEN ('a', 'b')",
            "INVALID_VALUE_WITH_BETWEEN_OPERATOR",
        ),
        (
            "SELECT campaign.id FROM campaign WHERE segments.date BETWEEN '2026-01-01' AND 3",
            "PROHIBITED_VALUE_COMBINATION_WITH_BETWEEN_OPERATOR",
        ),
        ("SELECT campaign.id FROM campaign ORDER campaign.id", "EXPECTED_BY"),
        ("SELECT campaign.id FROM campaign LIMIT 1 ORDER BY campaign.id", "UNEXPECTED_INPUT"),
        ("SELECT campaign.id FROM campaign LIMIT ten", "BAD_LIMIT_VALUE"),
        ("SELECT campaign.id FROM campaign LIMIT 1.5", "BAD_LIMIT_VALUE"),
        ("SELECT campaign.id FROM campaign LIMIT 0", "LIMIT_VALUE_TOO_LOW"),
        ("SELECT campaign.id FROM campaign;", "BAD_SYMBOL"),
        ("SELECT campaign.id FROM campaign PARAMETERS 'a' = true", "BAD_PARAMETER_NAME"),
    ],
)
def test_a_fault_has_the_name_that_the_platform_gives_it(text: str, code: str) -> None:
    """Each departure from the grammar is refused as one value of QueryError."""
    with pytest.raises(GaqlError) as caught:
        parse_query(text)
    assert caught.value.code == code


def test_a_query_about_fields_has_no_resource() -> None:
    """Queries of the field service name fields without a resource, and no FROM."""
    query = parse_query("SELECT name, category WHERE name LIKE 'metrics.%'", needs_resource=False)
    assert query.select == ("name", "category")
    with pytest.raises(GaqlError) as caught:
        parse_query("SELECT name FROM campaign", needs_resource=False)
    assert caught.value.code == "UNEXPECTED_FROM_CLAUSE"

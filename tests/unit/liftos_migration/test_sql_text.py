"""Expressions of mappings: what is one, and which names it holds."""

import pytest

from liftos_migration.domain.sql_text import (
    SqlTextError,
    bound,
    check,
    literal,
    name_parts,
    quoted,
    references,
)

GOOD = [
    "spend",
    "spend::numeric * 1000000",
    "coalesce(a, b)",
    "'a;b'",
    "'it''s (fine'",
    "E'a\\'b;('",
    "$$ a ; ( ' $$ || $tag$ $$ $tag$",
    '"odd "" name;"',
    "tags[1:2]",
    "a[b + 1]",
    "org_id = :org::uuid",
    "x ->> 'a' || U&'\\0041' || b'01'",
    "case when (a, b) in ((1, 2)) then 1e-6 else .5 end",
    "日本 + größe_1$x",
]
BAD = {
    "": "is empty",
    "  \n": "is empty",
    "a; drop table t": "semicolon",
    "a, b": "several expressions",
    "a) from t --": "did not open",
    "(a": "close every bracket",
    "(a]": "did not open",
    "a -- b": "comment",
    "a /* b */": "comment",
    "$1": "the parameter $1",
    "a = :tenant": "the parameter :tenant",
    "'abc": "close every quote",
    "$$abc": "close every quote",
    "now()": "another value each time",
    "RANDOM()": "another value each time",
    "current_date": "another value each time",
}


@pytest.mark.parametrize("sql", GOOD)
def test_one_expression_is_taken(sql: str) -> None:
    """Whatever its texts and names hold."""
    check(sql)


@pytest.mark.parametrize("sql", BAD)
def test_what_is_not_one_expression_is_refused(sql: str) -> None:
    """And it is said why."""
    with pytest.raises(SqlTextError) as refused:
        check(sql)
    assert BAD[sql] in str(refused.value)


def test_an_order_may_be_of_several() -> None:
    """Commas separate them there."""
    check("fetched_at desc, id", several=True)


def test_the_organisation_stands_where_it_is_asked_for_alone() -> None:
    """Not in texts and names, and not in casts."""
    sql = "org = :org and ':org' <> \":org\" and a::org is null and $$:org$$ = ''"
    assert bound(sql, "it's") == sql.replace("= :org ", "= 'it''s'::text ")


def test_names_of_columns_tables_and_functions_are_told_apart() -> None:
    """With what qualifies them; names in texts and types are none."""
    found = references(
        "lower(c.\"Name\") || spend::text || 'clicks' || (select max(p.price) from shop.prices as p"
        ' join "Old"."T" on true where p.sku = items.sku group by x)'
    )
    assert {("c", "Name"), ("", "spend"), ("p", "price"), ("p", "sku"), ("items", "sku")} <= (
        found.columns
    )
    assert not {("", "clicks"), ("", "text"), ("", "lower"), ("", "max")} & found.columns
    assert found.tables == {"p": ("shop", "prices"), "T": ("Old", "T")}
    assert found.functions == {"lower", "max"}


def test_texts_and_names_are_quoted_so_that_they_stay_what_they_are() -> None:
    """Quotes and backslashes too."""
    assert literal("it's") == "'it''s'"
    assert literal("a\\'b") == "E'a\\\\''b'"
    assert quoted('a"b') == '"a""b"'
    assert name_parts('shop."a.b""c"') == ("shop", 'a.b"c')

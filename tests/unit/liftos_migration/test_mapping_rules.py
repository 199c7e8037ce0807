"""Rules that a mapping keeps by itself."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from liftos_migration.domain.mapping import (
    InverseRule,
    KeyClass,
    KeyMapping,
    Mapping,
    Reverse,
    Rounding,
    Rows,
    Rule,
    TableMapping,
    Target,
    Waiver,
)
from liftos_migration.domain.mapping_rules import undecided, violations

ENTRIES = TableMapping(
    "public.sales",
    Target.ENTRIES,
    (
        Rule("date", "day"),
        Rule("platform", "'commerce'"),
        Rule("level", "'OUTCOME'"),
        Rule("account_id", "'shop'"),
        Rule("orders", "orders"),
    ),
    row_filter="org_id = :org",
    reverse=Reverse.INVERSE,
    inverse=(InverseRule("day", "date"), InverseRule("orders", "orders", "0.5")),
    inverse_filter="level = 'OUTCOME'",
)
MODELS = TableMapping(
    "public.models",
    Target.ARTIFACTS,
    (Rule("id", "id"), Rule("kind", "'MODEL'"), Rule("body.a.b", "a"), Rule("body.a.c", "c")),
    scope="shop.models",
)
PART = TableMapping("public.lines", Target.PART, part_of="public.models")
WHOLE = Mapping(
    (ENTRIES, MODELS, PART),
    (KeyMapping("cache:", KeyClass.DERIVED_CACHE), KeyMapping("state:", KeyClass.STATE, "state")),
    (Waiver("public.sales:filtered", "Of others."), Waiver("public.old", "Empty.")),
)

Change = Callable[[Mapping], Mapping]


def _table(place: int, **changes: Any) -> Change:
    def changed(mapping: Mapping) -> Mapping:
        tables = list(mapping.tables)
        tables[place] = replace(tables[place], **changes)
        return replace(mapping, tables=tuple(tables))

    return changed


def _rule(place: int, *rules: Rule) -> Change:
    return lambda mapping: _table(place, rules=(*mapping.tables[place].rules, *rules))(mapping)


BROKEN: dict[str, tuple[Change, str, str]] = {
    "a table twice": (
        lambda mapping: replace(mapping, tables=(*mapping.tables, PART)),
        "tables[3].table", "stands twice",
    ),
    "an unknown field": (
        _rule(0, Rule("spent", "x")), "tables[0].rules[5].target_field", "no field of ENTRIES",
    ),
    "a member of what has none": (
        _rule(0, Rule("date.year", "x")), "tables[0].rules[5].target_field", "no field",
    ),
    "a field without a member's name": (
        _rule(1, Rule("body.", "x")), "tables[1].rules[4].target_field", "no field",
    ),
    "a field twice": (
        _rule(0, Rule("orders", "x")), "tables[0].rules[5].target_field", "stands twice",
    ),
    "a member of a member": (
        _rule(1, Rule("body.a", "x")), "tables[1].rules[4].target_field", "another rule body.a.b",
    ),
    "a required field that is missing": (
        _table(0, rules=ENTRIES.rules[1:]), "tables[0].rules", "need date",
    ),
    "two expressions": (
        _rule(0, Rule("clicks", "a, b")), "tables[0].rules[5].expression", "several",
    ),
    "a rounded text": (
        _rule(0, Rule("campaign_name", "a", Rounding.HALF_EVEN)), "tables[0].rules[5].rounding",
        "no rounded number",
    ),
    "no scope": (_table(1, scope=""), "tables[1].scope", "is needed by ARTIFACTS"),
    "a scope too many": (_table(0, scope="x"), "tables[0].scope", "leave it away"),
    "one scope for two tables": (
        lambda mapping: replace(
            mapping, tables=(*mapping.tables, replace(MODELS, table="public.more"))
        ),
        "tables[3].scope", "is the scope of public.models",
    ),
    "fields of a whole table": (
        _table(1, target=Target.TABLE_ARTIFACT), "tables[1].rules", "has no fields",
    ),
    "a part of nothing": (_table(2, part_of=""), "tables[2].part_of", "name the table"),
    "a part of a table that is not there": (
        _table(2, part_of="public.none"), "tables[2].part_of", "no records of its own",
    ),
    "an owner of what is no part": (
        _table(0, part_of="public.models"), "tables[0].part_of", "leave it away",
    ),
    "a filter without a reason": (
        lambda mapping: replace(mapping, waivers=()), "tables[0].row_filter",
        "waiver of public.sales:filtered",
    ),
    "a reason without a filter": (
        _table(0, row_filter=""), "waivers[0].object", "no row_filter leaves behind",
    ),
    "the newest by nothing": (
        _table(0, rows=Rows.NEWEST, key_columns=("day",)), "tables[0].order_by", "is the newest",
    ),
    "an order of one": (_table(0, order_by="a"), "tables[0].order_by", "NEWEST alone"),
    "groups of nothing": (
        _table(0, rows=Rows.GROUPED), "tables[0].key_columns", "what the rows of a record share",
    ),
    "a way back without rules": (_table(0, inverse=()), "tables[0].inverse", "needs rules"),
    "rules without a way back": (
        _table(0, reverse=Reverse.READ_ONLY, inverse_filter=""), "tables[0].inverse",
        "INVERSE alone",
    ),
    "a way back that knows no records": (
        _table(0, inverse_filter=""), "tables[0].inverse_filter", "which entries are of this table",
    ),
    "a tolerance that is no number": (
        _table(0, inverse=(InverseRule("day", "date", "1e-3"),)), "tables[0].inverse[0].tolerance",
        "no decimal",
    ),
    "a column that comes back twice": (
        _table(0, inverse=(InverseRule("day", "date"), InverseRule("day", "date"))),
        "tables[0].inverse[1].source_column", "stands twice",
    ),
    "keys without a scope": (
        lambda mapping: replace(mapping, keys=(KeyMapping("a:", KeyClass.STATE),)),
        "keys[0].scope", "name their scope",
    ),
    "a cache with a scope": (
        lambda mapping: replace(mapping, keys=(KeyMapping("a:", KeyClass.DERIVED_CACHE, "x"),)),
        "keys[0].scope", "does not move",
    ),
    "a waiver without a reason": (
        lambda mapping: replace(mapping, waivers=(*mapping.waivers, Waiver("public.x", "  "))),
        "waivers[2].reason", "say why",
    ),
    "a waiver of what is mapped": (
        lambda mapping: replace(mapping, waivers=(*mapping.waivers, Waiver("public.models", "x"))),
        "waivers[2].object", "is mapped as well",
    ),
}  # fmt: skip


def test_a_mapping_that_keeps_them_has_no_violation() -> None:
    """Neither has one in which something is not decided yet."""
    assert violations(WHOLE) == []
    assert violations(Mapping((TableMapping("public.t", Target.UNDECIDED, MODELS.rules),))) == []


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_told_with_its_place(case: str) -> None:
    """In words that say what to do; nothing else is found."""
    change, field, fragment = BROKEN[case]
    found = violations(change(WHOLE), path="migration.mapping")
    assert f"migration.mapping.{field}" in {each.field for each in found}
    (told,) = [each for each in found if fragment in each.description]
    assert told.field == f"migration.mapping.{field}"
    assert told.rule.startswith("mapping.")


def test_what_is_not_decided_is_listed() -> None:
    """Tables and keys."""
    mapping = Mapping(
        (ENTRIES, TableMapping("public.t", Target.UNDECIDED)),
        (KeyMapping("k:", KeyClass.UNDECIDED),),
    )
    assert undecided(mapping) == ["public.t", "k:"]

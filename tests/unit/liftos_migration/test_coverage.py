"""Whether a mapping speaks of every column."""

from liftos_migration.domain.coverage import covered, forgotten
from liftos_migration.domain.inventory import Column, Inventory, Item, ItemKind
from liftos_migration.domain.mapping import Mapping, Rule, TableMapping, Target, Waiver


def _item(name: str, *columns: str, key: tuple[str, ...] = ("id",)) -> Item:
    return Item(
        ItemKind.TABLE,
        name,
        "table",
        columns=tuple(Column(each, "text", is_nullable=True) for each in columns),
        key_columns=key,
    )


SETTINGS = _item("public.settings", "id", "body", "Odd", "status", "changed_at")
BELIEFS = _item("public.beliefs", "id", "channel", "mean", "changed_at", key=("id", "channel"))


def _mapping(*rules: str, waived: tuple[str, ...] = ()) -> Mapping:
    return Mapping(
        (
            TableMapping(
                "public.settings",
                Target.ARTIFACTS,
                tuple(Rule(f"body.m{place}", sql) for place, sql in enumerate(rules)),
            ),
            TableMapping("public.beliefs", Target.PART, part_of="public.settings"),
        ),
        waivers=tuple(Waiver(each, "Not needed.") for each in waived),
    )


def test_a_column_is_read_where_it_is_named_and_not_where_its_name_is_a_word() -> None:
    """Texts, types, functions and columns of other tables do not count."""
    found = covered(
        _mapping(
            "body -> 'status'",
            "(select o.changed_at from public.others o)",
            'settings."Odd"',
            "body::status",
        ),
        SETTINGS,
    )
    assert found.unmapped_columns == ("status", "changed_at")


def test_columns_of_a_part_are_read_by_the_name_that_the_whole_gives_it() -> None:
    """What the whole names of itself is none of them."""
    read = "(select max(b.mean || b.channel) from public.beliefs b where b.id = settings.id)"
    mapping = _mapping(read, "changed_at")
    assert covered(mapping, BELIEFS).unmapped_columns == ("changed_at",)
    waived = _mapping(read, "changed_at", waived=("public.beliefs.changed_at",))
    assert covered(waived, BELIEFS).unmapped_columns == ()


def test_what_is_forgotten_blocks() -> None:
    """A table of which nothing is said, and a column that nothing reads."""
    other = _item("public.other", "id")
    mapping = _mapping("body", "status", '"Odd"', "changed_at")
    found = forgotten(mapping, Inventory((SETTINGS, BELIEFS, other)))
    assert [(each.code, each.object) for each in found] == [
        ("COLUMNS_NOT_MAPPED", "public.beliefs"),
        ("NOT_MAPPED", "public.other"),
    ]

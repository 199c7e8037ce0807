"""The inventory of a Postgres, from its catalog, in one snapshot."""

from collections.abc import Sequence
from typing import Final

import asyncpg

from liftos_kit import postgres
from liftos_migration.domain.inventory import Column, Inventory, Item, ItemKind

_SQL: Final = postgres.load_queries("liftos_migration", "sql/source.sql")
_SETTINGS: Final = (
    "server_version",
    "server_encoding",
    "wal_level",
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "default_transaction_isolation",
    "max_replication_slots",
    "max_wal_senders",
    "max_slot_wal_keep_size",
    "statement_timeout",
)


async def read_inventory(connection: asyncpg.Connection, schemas: Sequence[str]) -> Inventory:
    """Return all parts of some schemas, and the settings that matter; rows are counted.

    Args:
        connection: To the source; not within a transaction.
        schemas: Which; those that do not exist have no parts.

    Raises:
        StoreUnavailableError: The source does not answer.
    """
    with postgres.translate_errors():
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return Inventory(tuple(sorted(await _items(connection, schemas), key=_place)))


def _place(item: Item) -> tuple[int, str]:
    return item.kind.value, item.object


async def _items(connection: asyncpg.Connection, schemas: Sequence[str]) -> list[Item]:
    relations = [row async for row in _SQL.inventory_relations(connection, schemas=list(schemas))]
    oids = [row["oid"] for row in relations]
    columns: dict[int, list[Column]] = {}
    async for row in _SQL.inventory_columns(connection, oids=oids):
        columns.setdefault(row["attrelid"], []).append(
            Column(row["name"], row["type"], row["nullable"], row["default_expression"])
        )
    constraints = [row async for row in _SQL.inventory_constraints(connection, oids=oids)]
    keys = {row["conrelid"]: tuple(row["columns"]) for row in constraints if row["kind"] == "p"}
    needs: dict[int, list[str]] = {}
    async for row in _SQL.inventory_view_needs(connection, oids=oids):
        needs.setdefault(row["view"], []).append(row["needs"])
    items = []
    for row in relations:
        is_table = row["kind"] in ("r", "p", "f")
        items.append(
            Item(
                kind=ItemKind.TABLE if is_table else ItemKind.VIEW,
                object=row["object"],
                definition=_table_words(row) if is_table else row["view"],
                columns=tuple(columns.get(row["oid"], ())),
                key_columns=keys.get(row["oid"], ()),
                row_count=await _count(connection, row),
                size_bytes=row["size_bytes"],
                depends_on=_referred(constraints, row["oid"])
                if is_table
                else tuple(needs.get(row["oid"], ())),
            )
        )
    items += [
        Item(
            ItemKind.CONSTRAINT,
            f"{row['owner']}.{row['name']}",
            row["definition"],
            depends_on=tuple(each for each in (row["owner"], row["refers_to"]) if each),
        )
        for row in constraints
    ]
    items += [
        Item(
            ItemKind.INDEX,
            row["object"],
            row["definition"],
            size_bytes=row["size_bytes"],
            depends_on=(row["owner"],),
        )
        for row in [row async for row in _SQL.inventory_indexes(connection, oids=oids)]
    ]
    items += [
        Item(
            ItemKind.SEQUENCE,
            row["object"],
            row["definition"],
            depends_on=(row["owner"],) if row["owner"] else (),
        )
        for row in [
            row async for row in _SQL.inventory_sequences(connection, schemas=list(schemas))
        ]
    ]
    items += [
        Item(ItemKind.FUNCTION, row["object"], row["definition"])
        for row in [
            row async for row in _SQL.inventory_functions(connection, schemas=list(schemas))
        ]
    ]
    items += [
        Item(
            ItemKind.TRIGGER,
            f"{row['owner']}.{row['name']}",
            row["definition"],
            depends_on=(row["owner"],),
        )
        for row in [row async for row in _SQL.inventory_triggers(connection, oids=oids)]
    ]
    items += [
        Item(ItemKind.SETTING, row["name"], row["setting"])
        for row in await connection.fetch(
            "select name, setting from pg_settings where name = any($1)", list(_SETTINGS)
        )
    ]
    return items


def _table_words(row: asyncpg.Record) -> str:
    persistence = {"p": "table", "u": "unlogged table", "t": "temporary table"}[row["persistence"]]
    if row["kind"] == "f":
        return "foreign table"
    return (
        f"{persistence} partition by {row['partitioned_by']}"
        if row["partitioned_by"]
        else persistence
    )


def _referred(constraints: Sequence[asyncpg.Record], oid: int) -> tuple[str, ...]:
    found = {row["refers_to"] for row in constraints if row["conrelid"] == oid and row["refers_to"]}
    return tuple(sorted(found))


async def _count(connection: asyncpg.Connection, relation: asyncpg.Record) -> int:
    """Return the rows of a relation; 0 where they may not be read, which preflight names."""
    readable = await connection.fetchval(
        """/* inventory_readable */
        select has_schema_privilege(relnamespace, 'usage') and has_table_privilege(oid, 'select')
               and (relkind <> 'm' or relispopulated)
        from pg_class where oid = $1
        """,
        relation["oid"],
    )
    if not readable:
        return 0
    # The catalog gives names as SQL writes them.
    query = f"/* inventory_count */ select count(*) from {relation['object']}"  # noqa: S608
    count: int = await connection.fetchval(query)
    return count

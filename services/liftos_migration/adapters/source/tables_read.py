"""Which tables a projection reads, as the source's own planner sees it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import asyncpg

from liftos_migration.domain.inventory import Item
from liftos_migration.domain.mapping import Rows, TableMapping
from liftos_migration.domain.projection import table_name
from liftos_migration.domain.sql_text import bound, name_parts, quoted


async def tables_read(
    connection: asyncpg.Connection, table: TableMapping, item: Item, org: str
) -> Sequence[str]:
    """Return the tables that the projection of a table reads beside its own row.

    Its own table is among them where a row of it reads others.

    Args:
        connection: To the source.
        table: Its mapping.
        item: The table.
        org: The organisation.

    Raises:
        asyncpg.PostgresError: An expression is refused.
    """
    alias = table_name(item.object)
    columns = ", ".join(f"({bound(rule.expression, org)})" for rule in table.rules) or "1"
    keys = ", ".join(f"{alias}.{quoted(column)}" for column in table.key_columns)
    where = f" where {bound(table.row_filter, org)}" if table.row_filter else ""
    group = f" group by {keys}" if table.rows is Rows.GROUPED else ""
    order = f" order by {bound(table.order_by, org)}" if table.order_by else ""
    text = await connection.fetchval(
        f"""explain (verbose, format json)
        with {alias} as materialized (select * from {item.object})
        select {columns} from {alias}{where}{group}{order}"""  # noqa: S608 - the mapping's own SQL
    )
    (plan_,) = json.loads(text) if isinstance(text, str) else text
    own = name_parts(alias)[0]
    read = list(_nodes(plan_["Plan"], f"CTE {own}"))
    relations = {
        (node["Schema"], node["Relation Name"]) for node in read if "Relation Name" in node
    }
    named = await connection.fetch(
        """select distinct format('%I.%I', rn.nspname, r.relname) as name
        from unnest($1::text[], $2::text[]) as read (schema, relation)
        join pg_namespace n on n.nspname = read.schema
        join pg_class c on c.relnamespace = n.oid and c.relname = read.relation
        join pg_class r on r.oid = coalesce(pg_partition_root(c.oid), c.oid)
        join pg_namespace rn on rn.oid = r.relnamespace order by 1""",
        [schema for schema, _ in relations],
        [name for _, name in relations],
    )
    tables = {row["name"] for row in named}
    if sum(node.get("CTE Name") == own for node in read) > 1:
        tables.add(item.object)
    return sorted(tables)


def _nodes(node: Mapping[str, Any], without: str) -> Iterator[Mapping[str, Any]]:
    if node.get("Subplan Name") == without:
        return
    yield node
    for inner in node.get("Plans", ()):
        yield from _nodes(inner, without)

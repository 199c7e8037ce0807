"""Which platforms the entries of a mapping name, and which of them Core does not know."""

import re
from collections.abc import Collection, Sequence
from typing import Final

import asyncpg

from liftos_kit import postgres
from liftos_migration.adapters.source.findings import ROWS_FAIL, Findings
from liftos_migration.domain.inventory import Inventory
from liftos_migration.domain.mapping import TableMapping
from liftos_migration.domain.preflight import Finding, Severity
from liftos_migration.domain.projection import Projection, projection
from liftos_migration.domain.sql_text import references

_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""What Core takes as a platform."""


async def unknown_platforms(
    connection: asyncpg.Connection,
    tables: Sequence[TableMapping],
    inventory: Inventory,
    org: str,
    known: Collection[str],
) -> Sequence[Finding]:
    """Return a finding for each platform that entries would name and Core does not know.

    Args:
        connection: To the source, in a session with `session_settings`, not in a transaction.
        tables: Mappings of tables that become entries, otherwise right.
        inventory: Of the source.
        org: The organisation.
        known: Platforms that Core takes entries of.

    Raises:
        StoreUnavailableError: The source does not answer.
    """
    items = {item.object: item for item in inventory.tables()}
    found: list[Finding] = []
    naming: dict[str, list[str]] = {}
    with postgres.translate_errors():
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            for table in tables:
                findings = Findings(connection, table.table)
                async with findings.asking(
                    ROWS_FAIL,
                    "rule of platform",
                    wanted="a platform of each row",
                    remedy="let the expression allow for such values, or filter the rows",
                ):
                    rows = projection(table, items[table.table], org)
                    for row in await connection.fetch(_platforms_sql(table, rows)):
                        if row["platform"] not in known:
                            naming.setdefault(row["platform"], []).append(table.table)
                found += findings.found
    return [*found, *(_unknown(name, naming[name]) for name in sorted(naming))]


def _platforms_sql(table: TableMapping, rows: Projection) -> str:
    """Return the query of the platforms of a table.

    They follow from the key, so that neither groups nor the newest of several rows matter.
    """
    where = f" where {rows.rows.condition}" if rows.rows.condition else ""
    constant = not any(
        references(rule.expression).columns for rule in table.rules if rule.field == "platform"
    )
    limit = " limit 1" if constant else ""
    source = rows.rows.of(f"{rows.table}{where}{limit}", ("platform",))
    platform = rows.values["platform"]
    return f"select distinct {platform} as platform from ({source}) source where {platform} <> ''"  # noqa: S608


def _unknown(platform: str, tables: Sequence[str]) -> Finding:
    remedy = (
        f"liftos platforms add {platform} --name '{platform.replace('_', ' ').capitalize()}'"
        if _WORD.fullmatch(platform)
        else "give it in small letters, digits and _ in the rule of platform, then register it with"
        " liftos platforms add"
    )
    return Finding(
        Severity.BLOCKER,
        "PLATFORM_UNKNOWN",
        platform,
        f"entries of {', '.join(tables)} name it, and Core does not know it",
        "a platform that is registered, or those entries are refused",
        remedy,
    )

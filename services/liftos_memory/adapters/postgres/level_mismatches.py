"""Levels that do not add up, in SQL; see `liftos_memory.domain.level_reconciliation`."""

from collections.abc import Sequence
from datetime import date
from typing import Final

import asyncpg

from liftos_mapping.entry_fields import LEVELS
from liftos_memory.domain.level_reconciliation import (
    LEAST_DIFFERENCE,
    RECONCILED_METRICS,
    TOLERANCE,
    LevelPair,
)

MISMATCH_KEYS: Final = (
    "platform",
    "account_id",
    "level",
    "attribution_key",
    "date_basis",
    "date",
)
"""What an entry and the mismatches of its day share."""

_IDS: Final = ("campaign_id", "ad_group_id", "flow_id")
_DAY: Final = "platform, account_id, attribution_key, date_basis, currency_code, date"

WITHOUT_LOOPS: Final = "/* without_loops */ set local enable_nestloop = {}"
"""The planner expects one row of sums where there are thousands, and would join them in loops."""

MISMATCH_COLUMNS: Final = ", ".join((*MISMATCH_KEYS, "currency_code", *_IDS, *RECONCILED_METRICS))
"""Columns of entries that are compared."""


def levels_of(pairs: Sequence[LevelPair]) -> list[int]:
    """Return the numbers of the levels that are read to compare pairs."""
    names = {level for pair in pairs for level in (pair.above, pair.below)}
    return sorted(LEVELS.index(name) + 1 for name in names)


async def reported_pairs(
    connection: asyncpg.Connection,
    org: str,
    pairs: Sequence[LevelPair],
    *,
    accounts: Sequence[tuple[str, str]],
    days: tuple[date, date],
    tables: Sequence[str],
) -> tuple[Sequence[LevelPair], Sequence[tuple[str, str]]]:
    """Return the pairs of levels of which some account has both, and these accounts.

    Entries of one level alone need not be read, and most accounts have one.

    Args:
        connection: In a transaction of the org.
        org: Whose they are.
        pairs: What may be compared.
        accounts: Platform and account id of each.
        days: First and last.
        tables: Where entries are looked for.
    """
    found = " or ".join(
        f"exists (select from {table} e where e.org = $1"
        " and (e.platform, e.account_id, e.level) = (a.platform, a.account_id, l.level)"
        " and e.date between $5 and $6)"
        for table in tables
    )
    rows = await connection.fetch(
        f"""/* reported_levels */
        select a.platform, a.account_id, l.level
        from unnest($2::text[], $3::text[]) a (platform, account_id)
        cross join unnest($4::smallint[]) l (level) where {found}""",  # noqa: S608 - table names are ours
        org,
        [platform for platform, _ in accounts],
        [account for _, account in accounts],
        levels_of(pairs),
        *days,
    )
    reported: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        levels = reported.setdefault((row["platform"], row["account_id"]), set())
        levels.add(LEVELS[row["level"] - 1])
    return (
        [it for it in pairs if any({it.above, it.below} <= has for has in reported.values())],
        [
            account
            for account, has in sorted(reported.items())
            if any({it.above, it.below} <= has for it in pairs)
        ],
    )


def mismatches_sql(entries: str, pairs: Sequence[LevelPair]) -> str:
    """Return SQL of the days on which levels do not add up: `MISMATCH_KEYS` and `mismatched`.

    Args:
        entries: SQL of entries without breakdowns of the levels of the pairs, with
            `MISMATCH_COLUMNS`.
        pairs: What is compared; without any there are no rows.
    """
    sums = ", ".join(
        f"sum({name}) as {name}, count({name}) = count(*) as has_{name}"
        for name in RECONCILED_METRICS
    )
    parents = {name for pair in pairs for name in pair.parent_ids}
    ids = [name for name in _IDS if name in parents]
    keys = (
        *("platform", "account_id", "level", "attribution_key", "date_basis"),
        *("coalesce(currency_code, '') as currency_code", "date", *ids),
    )
    places = ", ".join(str(place) for place in range(1, len(keys) + 1))
    compared = "\nunion all\n".join(map(_pair_sql, pairs)) or (
        f"select {', '.join(MISMATCH_KEYS)}, '' as mismatched from sums where false"  # noqa: S608 - column names are ours
    )
    return f"""
with sums as materialized (
    select {", ".join(keys)}, {sums} from ({entries}) e group by {places}
)
select {", ".join(MISMATCH_KEYS)}, string_agg(mismatched, ',' order by mismatched) as mismatched
from ({compared}) compared
group by {", ".join(MISMATCH_KEYS)}"""  # noqa: S608 - column names are ours


def _pair_sql(pair: LevelPair) -> str:
    keys = ", ".join((_DAY, *pair.parent_ids))
    above, below = (LEVELS.index(level) + 1 for level in (pair.above, pair.below))
    known = "".join(f" and {name} <> ''" for name in pair.parent_ids)
    # Both levels in one pass: the planner knows nothing of sums, and would join them in loops.
    sides = ", ".join(
        f"sum({name}) filter (where level = {above}) as above_{name},"
        f" sum({name}) filter (where level = {below}) as below_{name},"
        f" bool_and(has_{name}) as has_{name}"
        for name in RECONCILED_METRICS
    )
    both = ", ".join(
        f"sum({place}_{name}) filter (where has_{name}) as {place}_{name}"
        for name in RECONCILED_METRICS
        for place in ("above", "below")
    )
    fields = ", ".join(
        f"case when {_differs_sql(name)} then '{name}' end" for name in RECONCILED_METRICS
    )
    return f"""
    select platform, account_id, unnest(array[{above}, {below}]::smallint[]) as level,
        attribution_key, date_basis, date, mismatched
    from (
        select {_DAY}, concat_ws(',', {fields}) as mismatched
        from (
            select {_DAY}, {both}
            from (
                select {keys}, {sides} from sums where level in ({above}, {below}){known}
                group by {keys} having min(level) < max(level)
            ) parents
            group by {_DAY}
        ) pairs
    ) found where mismatched <> ''"""  # noqa: S608 - column names are ours


def _differs_sql(name: str) -> str:
    least = LEAST_DIFFERENCE * (1_000_000 if name.endswith("_micros") else 1)
    return (
        f"abs(above_{name} - below_{name})"
        f" > greatest({least}, {TOLERANCE} * greatest(above_{name}, below_{name}))"
    )

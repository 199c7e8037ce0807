"""Levels that do not add up, in SQL; see `liftos_memory.domain.level_reconciliation`."""

from collections.abc import Sequence
from typing import Final

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
    compared = "\nunion all\n".join(map(_pair_sql, pairs)) or (
        f"select {', '.join(MISMATCH_KEYS)}, '' as mismatched from sums where false"  # noqa: S608 - column names are ours
    )
    return f"""
with sums as materialized (
    select platform, account_id, level, attribution_key, date_basis,
        coalesce(currency_code, '') as currency_code, date, {", ".join(_IDS)}, {sums}
    from ({entries}) e group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
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

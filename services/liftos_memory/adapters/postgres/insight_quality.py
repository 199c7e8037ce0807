"""What was found about the entries behind insights: one statement for all of them."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Final

from liftos_kit.core.filters import Filter
from liftos_mapping.entry_fields import LEVELS
from liftos_memory.adapters.postgres.entry_columns import entry_condition
from liftos_memory.adapters.postgres.level_mismatches import (
    MISMATCH_COLUMNS,
    MISMATCH_KEYS,
    levels_of,
    mismatches_sql,
)
from liftos_memory.adapters.postgres.statements import Parameters, Statement
from liftos_memory.domain.documents import ObjectKey
from liftos_memory.domain.insights import Insight
from liftos_memory.domain.level_reconciliation import pairs_of

_OBJECT_IDS: Final = tuple(
    field.name
    for field in fields(ObjectKey)
    if field.name not in ("platform", "level", "account_id")
)
_SERIES: Final = ("platform", "account_id", "level", "attribution_key", "date_basis")


def insight_quality_statement(org: str, insights: Sequence[Insight], where: Filter) -> Statement:
    """Return the statement of entries behind insights by what was found about them.

    Only the insights' accounts, levels and days are read, and the next levels of these, which are
    compared with them. Rows: place of the insight from 1, issues, mismatched metrics, entries.

    Args:
        org: Whose they are.
        insights: At least one.
        where: Which entries the insights were made of.
    """
    parameters = Parameters([org])
    subjects = [it.subject for it in insights]
    levels = {it.key.level for it in subjects}
    columns = {
        "platform": ([it.key.platform for it in subjects], "text[]"),
        "account_id": ([it.key.account_id for it in subjects], "text[]"),
        "level": ([LEVELS.index(it.key.level) + 1 for it in subjects], "smallint[]"),
        "attribution_key": ([it.attribution_key for it in subjects], "text[]"),
        "date_basis": ([it.date_basis for it in subjects], "smallint[]"),
        "currency_code": ([it.currency_code for it in subjects], "text[]"),
        "channel": ([it.channel for it in subjects], "text[]"),
        "is_whole": ([it.is_whole for it in subjects], "boolean[]"),
        "start_date": ([it.start_date for it in insights], "date[]"),
        "end_date": ([it.end_date for it in insights], "date[]"),
        **{name: ([getattr(it.key, name) for it in subjects], "text[]") for name in _OBJECT_IDS},
    }
    given = ", ".join(parameters.add(values, sql_type) for values, sql_type in columns.values())
    pairs = pairs_of(levels)
    # Each once: entries of one account would be held against each of its insights.
    known = sorted({(it.key.platform, it.key.account_id) for it in subjects})
    accounts = ", ".join(
        parameters.add([account[place] for account in known], "text[]") for place in (0, 1)
    )
    first = parameters.add(min(it.start_date for it in insights), "date")
    last = parameters.add(max(it.end_date for it in insights), "date")
    read = parameters.add(sorted(LEVELS.index(level) + 1 for level in levels), "smallint[]")
    compared = parameters.add(levels_of(pairs), "smallint[]")
    condition, values = entry_condition(where, first_parameter=len(parameters.values) + 1)
    parameters.values += values
    scope = (
        f"org = $1::text and date between {first} and {last}"  # noqa: S608 - column names are ours
        f" and (platform, account_id) in (select * from unnest({accounts}))"
    )
    entries = (
        f"select {MISMATCH_COLUMNS} from entries"  # noqa: S608 - column names are ours
        f" where {scope} and level = any({compared}) and breakdown_key = ''"
    )
    keys = ", ".join(dict.fromkeys((*MISMATCH_KEYS, *_OBJECT_IDS)))
    count = len(dict.fromkeys((*MISMATCH_KEYS, *_OBJECT_IDS))) + 3
    places = ", ".join(str(place) for place in range(1, count + 1))
    sql = f"""/* insight_qualities */
with told as materialized (
    select * from unnest({given}) with ordinality as told ({", ".join(columns)}, place)
), mismatches as materialized ({mismatches_sql(entries, pairs)}
), scored as materialized (
    select by_object.*, coalesce(mismatched, '') as mismatched from (
        select {keys}, coalesce(currency_code, '') as currency_code,
            coalesce(channel, '') as channel, coalesce(quality_issues, '') as issues,
            count(*) as entry_count
        from entries where {scope} and level = any({read}) and {condition} group by {places}
    ) by_object left join mismatches using ({", ".join(MISMATCH_KEYS)})
)
select place, issues, mismatched, sum(entry_count)::bigint as entry_count
from (
{_behind_sql(whole=False)}
    union all
{_behind_sql(whole=True)}
) behind group by 1, 2, 3"""  # noqa: S608 - column names are ours
    return Statement(sql, tuple(parameters.values))


def _behind_sql(*, whole: bool) -> str:
    """Return SQL of the entries behind objects or wholes: apart, so that hashes can join each."""
    series = ", ".join(_SERIES if whole else (*_SERIES, *_OBJECT_IDS))
    chosen, channel = ("", " and t.channel = s.channel") if whole else ("not ", "")
    day = f"{series}, date, currency_code, channel, issues, mismatched"
    # Added up first: many wholes are of the same objects.
    return f"""    select place, issues, mismatched, entry_count
    from (select * from told where {chosen}is_whole) t
    join (select {day}, sum(entry_count) as entry_count from scored group by {day}) s
        using ({series})
    where s.date between t.start_date and t.end_date
        and t.currency_code in ('', s.currency_code){channel}"""  # noqa: S608 - column names are ours

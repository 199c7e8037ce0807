"""Sums of metrics in Postgres: one statement per question.

Sums and ratios are made by the database, so that a row of the answer costs Python nothing but its
conversion. Entries are first summed by source within each row, since a ratio takes only sources
that have both of its sides. Ratios follow the one table of definitions and the steps that it
prescribes.

With a target currency the entries are summed per day and currency before that; each such sum is
multiplied and divided by the two rates of its day and carried to 40 places, and what a row adds up
is rounded once: to 30 places, which brings halves that are exact back to their value, and from
there half-even to a whole number.
"""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import date, timedelta
from typing import Any, Final, NoReturn

import asyncpg
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from liftos_kit.core.errors import InvalidFieldsError, RateMissingError
from liftos_mapping.entry_fields import (
    ADDITIVE_METRICS,
    DATE_BASES,
    ENTRY_FIELDS,
    LEVELS,
    FieldKind,
)
from liftos_memory.adapters.postgres.database import Database
from liftos_memory.adapters.postgres.entry_columns import entry_condition
from liftos_memory.adapters.postgres.statements import (
    BREAKDOWN,
    MONDAY,
    STEPS,
    Parameters,
    Statement,
    copy_csv,
    half_even,
)
from liftos_memory.domain.derived_metrics import (
    ACCOUNT_COLUMNS,
    DERIVED_METRICS,
    MAIL_CHANNEL,
    DerivedMetric,
)
from liftos_memory.domain.metrics_query import IS_MAIL, Granularity, MetricsQuery
from liftos_memory.metrics_ports import MetricsRow
from liftos_memory.org_ports import OrgSettings

MONEY: Final = tuple(field.name for field in ENTRY_FIELDS if field.kind is FieldKind.MONEY)

_BASE: Final = f"""coalesce(
    (select base_currency_code from org_settings where org = $1),
    '{OrgSettings().base_currency_code}')"""  # noqa: S608 - a constant
_RATE_MISSING: Final = "rate_missing"
_DAY_NOT_OVER: Final = "DAY_NOT_OVER"
_MORE_HASH_MEMORY: Final = "/* hash_memory */ set local hash_mem_multiplier = 8"
"""The database expects more groups by source than there are, and with the default of 8 MiB would
rather sort all rows on disk than keep a few thousand sums."""
_PERIODS: Final = {**STEPS, Granularity.TOTAL: "$3::date"}
_DIMENSIONS: Final = {
    "channel": "coalesce(channel, '')",
    "breakdown": BREAKDOWN,
    "currency_code": "coalesce(currency_code, '')",
    "day_of_week": f"(date - {MONDAY}) % 7 + 1",
}
"""SQL of what is not simply its column; absent text is empty, so that keys compare."""
_SOURCES: Final = {name: name for name in ACCOUNT_COLUMNS} | {
    # Of two values, as the database knows: by the channels themselves it expects so many groups
    # that it sorts all rows on disk.
    IS_MAIL: f"coalesce(lower(channel) = '{MAIL_CHANNEL}', false)"
}

_TYPES: Final = {
    "period_start_date": "date",
    "date_basis": "smallint",
    "day_of_week": "integer",
}


def metrics_statement(
    query: MetricsQuery, *, org: str, after: Sequence[Any] | None = None, limit: int | None = None
) -> Statement:
    """Return the statement that answers a query.

    Its columns are those of the query; with a target currency `rate_missing` follows, which says
    in every row whether any row of the answer lacks a rate.

    Args:
        query: What is asked.
        org: Whose entries.
        after: Values of the query's key columns to go on after.
        limit: Rows at most; None is all.
    """
    parameters = Parameters()
    where = _condition(query, org, parameters)
    keys = {name: _key_sql(query, name) for name in query.key_columns}
    if after is not None:
        places = [
            parameters.add(value, _TYPES.get(name, "text"))
            for name, value in zip(keys, after, strict=True)
        ]
        where += f" and ({', '.join(keys.values())}) > ({', '.join(places)})"
        # Follows from the line above, but lets the database skip months.
        if query.granularity is not Granularity.TOTAL:
            where += f" and date >= {places[0]}"
    by_source = (
        _converted_sums(query, where, parameters)
        if query.currency_code
        else _sums_by_source(query, keys, where)
    )
    page = "" if limit is None else f" limit {parameters.add(limit, 'bigint')}"
    columns = list(query.columns)
    if query.currency_code:
        columns.append(_RATE_MISSING)
    names = ", ".join(keys)
    if query.source_columns or query.currency_code:
        # Apart, so that the database plans for all of it: with the limit in view it would read in
        # the order of an index, and not in parallel.
        rows = f"with by_source as materialized ({by_source}) {_sums(query)} order by {names}{page}"
    else:
        ratios = {metric.name: _ratio_sql(metric, _of_one_source) for metric in DERIVED_METRICS}
        columns = [f"{ratios[name]} as {name}" if name in ratios else name for name in columns]
        order = ", ".join(str(place) for place in range(1, len(keys) + 1))
        rows = f"{by_source} order by {order}{page}"
    return Statement(
        f"/* query_metrics */ select {', '.join(columns)}\nfrom ({rows}) sums order by {names}",
        tuple(parameters.values),
    )


def _sums_by_source(query: MetricsQuery, keys: Mapping[str, str], where: str) -> str:
    """Return the sums of each row of the answer, by source."""
    groups = {**keys, **{name: _SOURCES[name] for name in query.source_columns}}
    order = ", ".join(str(place) for place in range(1, len(groups) + 1))
    return f"""
    select {", ".join(f"{sql} as {name}" for name, sql in groups.items())},
        {", ".join(f"sum({name})::bigint as {name}" for name in ADDITIVE_METRICS)},
        count(*) as entry_count, min(quality_score) as quality_score, bool_and(final) as final
    from entries where {where} group by {order}"""  # noqa: S608 - column names are ours


def _sums(query: MetricsQuery) -> str:
    """Return the rows of the answer, from those by source."""

    def total(name: str, condition: str = "") -> str:
        of_those = f" filter (where {condition})" if condition else ""
        if query.currency_code and name in MONEY:
            return half_even(f"round(sum({name}){of_those}, 30)")
        return f"sum({name}){of_those}::bigint"

    keys = ", ".join(query.key_columns)
    columns = [keys]
    if query.currency_code:
        columns.append("currency_code")
        columns.append(f"bool_or(bool_or({_RATE_MISSING})) over () as {_RATE_MISSING}")
    columns += [f"{total(name)} as {name}" for name in ADDITIVE_METRICS]
    columns += [f"{_ratio_sql(metric, total)} as {metric.name}" for metric in DERIVED_METRICS]
    return f"""
select {", ".join(columns)}, sum(entry_count)::bigint as entry_count,
    min(quality_score) as quality_score, bool_and(final) as final
from by_source
group by {keys}{", currency_code" if query.currency_code else ""}"""  # noqa: S608 - column names are ours


def _condition(query: MetricsQuery, org: str, parameters: Parameters) -> str:
    """Return which entries count. The first four parameters are org, level and the two days."""
    terms = [
        f"org = {parameters.add(org, 'text')}",
        f"level = {parameters.add(LEVELS.index(query.level) + 1, 'smallint')}",
        f"date >= {parameters.add(query.start_date, 'date')}",
        f"date <= {parameters.add(query.end_date, 'date')}",
    ]
    if query.minimum_quality_score is not None:
        least = parameters.add(query.minimum_quality_score, "double precision")
        terms.append(f"quality_score >= {least}")
    if query.finished is not None:
        yesterday = parameters.add(query.finished.today - timedelta(days=1), "date")
        behind = parameters.add(list(query.finished.zones_behind), "text[]")
        terms.append(f"not (date = {yesterday} and coalesce(time_zone, '') = any({behind}))")
        terms.append(f"coalesce(quality_issues, '') not like '%{_DAY_NOT_OVER}:%'")
    if query.where is not None:
        sql, values = entry_condition(query.where, first_parameter=len(parameters.values) + 1)
        parameters.values += values
        terms.append(sql)
    return " and ".join(terms)


def _key_sql(query: MetricsQuery, name: str) -> str:
    if name == "period_start_date":
        return _PERIODS[query.granularity]
    return _DIMENSIONS.get(name, name)


def _of_one_source(name: str, condition: str) -> str:
    return f"case when {condition} then {name} end"


def _ratio_sql(metric: DerivedMetric, total: Callable[[str, str], str]) -> str:
    """Return SQL of a ratio over the sources that have both sides.

    Args:
        metric: The ratio.
        total: SQL of the sum of a column over the sources for which a condition holds.
    """
    has_below = " or ".join(f"{one.column} is not null" for one in metric.denominators)
    above = total(metric.numerator, has_below)
    terms, condition = [], f"{metric.numerator} is not null"
    for one in metric.denominators:
        terms.append(f"{total(one.column, condition)}::double precision * {one.divisor!r}")
        condition += f" and {one.column} is null"
    if len(terms) > 1:
        terms = [f"coalesce({term}, 0)" for term in terms]
    return f"{above}::double precision / nullif({' + '.join(terms)}, 0)"


def _converted_sums(query: MetricsQuery, where: str, parameters: Parameters) -> str:
    """Return sums by source in the target currency, unrounded: first per day and currency."""
    target = parameters.add(query.currency_code, "text")
    dimensions = [name for name in query.dimensions if name != "day_of_week"]
    dimensions += query.source_columns
    sql = _DIMENSIONS | _SOURCES
    daily = "".join(f", {sql.get(name, name)} as {name}" for name in dimensions)
    groups = [f"{_PERIODS[query.granularity]} as period_start_date", *dimensions]
    if "day_of_week" in query.dimensions:
        groups.append(f"{_DIMENSIONS['day_of_week']} as day_of_week")
    order = ", ".join(str(place) for place in range(1, len(groups) + 1))
    amounts = {
        name: f"case when currency_code = {target} then {name} "
        f"else round({name} * from_rate, 40) / to_rate end"
        for name in MONEY
    }
    has_money = " or ".join(f"{name} is not null" for name in MONEY)
    sums = [
        f"sum({amounts[name]}) as {name}" if name in amounts else f"sum({name})::bigint as {name}"
        for name in ADDITIVE_METRICS
    ]
    return f"""
    select {", ".join(groups)}, {target} as currency_code, {", ".join(sums)},
        sum(entry_count)::bigint as entry_count, min(quality_score) as quality_score,
        bool_and(final) as final,
        bool_or(({has_money}) and currency_code is distinct from {target}
            and (from_rate is null or to_rate is null)) as {_RATE_MISSING}
    from (
        select daily.*,
            case when currency_code = {_BASE} then 1 else from_rates.rate end as from_rate,
            case when {target} = {_BASE} then 1 else to_rates.rate end as to_rate
        from (
            select date, currency_code{daily},
                {", ".join(f"sum({name})::bigint as {name}" for name in ADDITIVE_METRICS)},
                count(*) as entry_count, min(quality_score) as quality_score,
                bool_and(final) as final
            from entries where {where}
            group by date, {", ".join(["currency_code", *dimensions])}
        ) daily
        left join lateral ({_rate_on_day("daily.currency_code")}) from_rates on true
        left join lateral ({_rate_on_day(target)}) to_rates on true
    ) rated
    group by {order}"""  # noqa: S608 - column names are ours


def _rate_on_day(currency: str) -> str:
    return f"""
            select rate from exchange_rates r
            where r.org = $1 and r.currency_code = {currency} and r.date <= daily.date
            order by r.date desc limit 1"""  # noqa: S608 - a column or a parameter


def missing_rates_statement(query: MetricsQuery, *, org: str) -> Statement:
    """Return the statement that finds the rates which a query lacks.

    Rows: currency, base currency, first and last day on which the rate is needed and missing. A
    rate holds until the next one, so the days without any form one range per currency.
    """
    parameters = Parameters()
    where = _condition(query, org, parameters)
    target = parameters.add(query.currency_code, "text")
    has_money = " or ".join(f"{name} is not null" for name in MONEY)
    sql = f"""/* missing_rates */
with base as (
    select {_BASE} as code
), needed as (
    select distinct date, unnest(array[currency_code, {target}]) as currency_code
    from entries where {where} and ({has_money}) and currency_code <> {target}
)
select needed.currency_code, base.code as base_currency_code,
    min(needed.date) as start_date, max(needed.date) as end_date
from needed, base
where needed.currency_code <> base.code and not exists (
    select from exchange_rates r
    where r.org = $1 and r.currency_code = needed.currency_code and r.date <= needed.date)
group by 1, 2 order by 1"""  # noqa: S608 - column names are ours
    return Statement(sql, tuple(parameters.values))


def _csv_options(query: MetricsQuery) -> tuple[csv.ReadOptions, csv.ConvertOptions]:
    types: dict[str, pa.DataType] = {one.name: one.type for one in query.schema}
    if "date_basis" in types:
        types["date_basis"] = pa.int8()
    if query.currency_code:
        types[_RATE_MISSING] = pa.bool_()
    return csv.ReadOptions(column_names=list(types), use_threads=False), csv.ConvertOptions(
        column_types=types,
        true_values=["t"],
        false_values=["f"],
        null_values=[""],
        strings_can_be_null=True,
        # The database writes null as nothing, and an empty text as two quotes.
        quoted_strings_can_be_null=False,
    )


def _present(table: pa.Table, query: MetricsQuery) -> pa.RecordBatch:
    """Return the batch of a table that was read from the database, in the words of the contract."""
    columns = {name: table[name].combine_chunks() for name in query.columns}
    if "date_basis" in columns:
        numbers = pc.subtract(columns["date_basis"], 1)
        columns["date_basis"] = pa.array(DATE_BASES).take(numbers)
    code = columns["currency_code"]
    columns["currency_code"] = pc.if_else(pc.equal(code, ""), None, code)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=query.schema)


async def _raise_missing(connection: asyncpg.Connection, org: str, query: MetricsQuery) -> NoReturn:
    statement = missing_rates_statement(query, org=org)
    rows = await connection.fetch(statement.sql, *statement.values)
    raise RateMissingError(
        [
            (
                row["currency_code"],
                row["base_currency_code"],
                _days(row["start_date"], row["end_date"]),
            )
            for row in rows
        ]
    )


def _days(first: date, last: date) -> str:
    return first.isoformat() if first == last else f"{first.isoformat()} to {last.isoformat()}"


class PostgresMetricsStore:
    """Sums over entries in Postgres; see `liftos_memory.metrics_ports.MetricsStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, org: str, query: MetricsQuery, *, after: Sequence[Any] | None, limit: int
    ) -> Sequence[MetricsRow]:
        """Return rows by step, then group."""
        statement = metrics_statement(query, org=org, after=after, limit=limit)
        async with self._reading(org, query) as connection:
            rows: Sequence[MetricsRow] = await connection.fetch(statement.sql, *statement.values)
            if query.currency_code and rows and rows[0][-1]:
                await _raise_missing(connection, org, query)
        return rows

    async def stream(self, org: str, query: MetricsQuery) -> AsyncGenerator[pa.RecordBatch, None]:
        """Yield all rows as batches."""
        statement = metrics_statement(query, org=org)
        read, convert = _csv_options(query)

        def parse(text: bytes) -> tuple[pa.RecordBatch, bool]:
            table = csv.read_csv(io.BytesIO(text), read_options=read, convert_options=convert)
            rate_missing = bool(query.currency_code) and table[_RATE_MISSING][0].as_py()
            return _present(table, query), rate_missing

        async with self._reading(org, query) as connection:
            # A stream lasts as long as its reader takes; the deadline of the call ends it.
            await connection.execute("/* statement_timeout */ set local statement_timeout = 0")
            async with aclosing(copy_csv(connection, statement)) as texts:
                async for text in texts:
                    batch, rate_missing = await asyncio.to_thread(parse, text)
                    if rate_missing:
                        break
                    yield batch
                else:
                    return
            await _raise_missing(connection, org, query)

    @asynccontextmanager
    async def _reading(self, org: str, query: MetricsQuery) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with self._database.read(org, snapshot=bool(query.currency_code)) as connection:
                if query.source_columns:
                    await connection.execute(_MORE_HASH_MEMORY)
                yield connection
        except asyncpg.NumericValueOutOfRangeError as error:
            raise InvalidFieldsError.of(
                "date_range",
                "a sum does not fit into 64 bits; ask for a shorter range or a finer grouping",
                rule="metrics_query.sum",
            ) from error

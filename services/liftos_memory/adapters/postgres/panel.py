"""States of an org's data in Postgres, of now and of before, for causal exports.

A row of a table belongs to a version where its `tx` was committed up to it and, in the history of
that table, what superseded it came later. Money is converted as sums of metrics are (see
`metrics`), so that an export shows what `QueryMetrics` shows.
"""

import io
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import asyncpg
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from liftos_kit import postgres
from liftos_kit.core.errors import DataInsufficientError, InvalidFieldsError
from liftos_kit.core.filters import Filter
from liftos_mapping.entry_fields import DATE_BASES, LEVELS
from liftos_memory.adapters.postgres.database import Database
from liftos_memory.adapters.postgres.entry_columns import entry_condition
from liftos_memory.adapters.postgres.level_mismatches import (
    MISMATCH_COLUMNS,
    MISMATCH_KEYS,
    WITHOUT_LOOPS,
    levels_of,
    mismatches_sql,
    reported_pairs,
)
from liftos_memory.adapters.postgres.org import settings_of
from liftos_memory.adapters.postgres.statements import (
    BREAKDOWN,
    STEPS,
    Parameters,
    Statement,
    copy_csv,
    half_even,
)
from liftos_memory.domain.calendar import CalendarEvent
from liftos_memory.domain.causal_panel import (
    CONTROL_COLUMNS,
    QUALITY_COLUMNS,
    VALUE_COLUMNS,
    VALUE_METRICS,
)
from liftos_memory.domain.dataset_request import ACCOUNT_UNIT, DatasetRequest, Step
from liftos_memory.domain.level_reconciliation import pairs_of
from liftos_memory.domain.lift_tests import LIFT_TEST_KIND, LIFT_TEST_SCOPE, Experiments
from liftos_memory.domain.panel_accounts import OUTCOME, SURVEY_COLUMNS, Series
from liftos_memory.domain.records import ARTIFACT_KINDS
from liftos_memory.domain.slices import SliceState
from liftos_memory.export_ports import DailyRates, Moment
from liftos_memory.org_ports import OrgSettings

MAXIMUM_ROWS: Final = 500_000
"""Rows of sums that one statement of an export may read."""

_MONEY: Final = ("spend_micros", "revenue_micros")
_SURVEY_TYPES: Final = {
    "date": pa.date32(),
    "level": pa.int8(),
    "date_basis": pa.int8(),
    "entry_count": pa.int64(),
    "matching_count": pa.int64(),
    "kpi_count": pa.int64(),
}
_VALUE_TYPES: Final = {
    "step": pa.date32(),
    "level": pa.int8(),
    **dict.fromkeys(VALUE_METRICS, pa.int64()),
    **dict.fromkeys((f"{name}_count" for name in VALUE_METRICS), pa.int64()),
    "entry_count": pa.int64(),
    "final_count": pa.int64(),
}
_QUALITY_TYPES: Final = {"step": pa.date32(), "level": pa.int8(), "entry_count": pa.int64()}
_CONTROL_TYPES: Final = {"step": pa.date32(), "value": pa.float64()}
_OUTCOME_LEVEL: Final = LEVELS.index(OUTCOME) + 1
_CONTROL_LEVEL: Final = LEVELS.index("CONTROL") + 1


class PostgresPanelStore:
    """See `liftos_memory.export_ports.PanelStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def reading(
        self, org: str, as_of: datetime | None
    ) -> AsyncIterator["PostgresPanelReading"]:
        """Open the state of a moment."""
        if as_of is not None:
            await self._settle(org)
        try:
            async with self._database.read(org, snapshot=True) as connection:
                # A large export takes as long as it takes; the deadline of the call ends it. Groups
                # of accounts and days fit into memory, and need not be sorted on disk.
                await connection.execute(
                    "/* export_limits */ set local statement_timeout = 0;"
                    " set local work_mem = '32MB'"
                )
                newest = await _newest(connection, org)
                moment = newest if as_of is None else await _moment(connection, org, as_of)
                yield PostgresPanelReading(connection, org, moment, moment.version < newest.version)
        except asyncpg.NumericValueOutOfRangeError as error:
            raise InvalidFieldsError.of(
                "date_range",
                "a sum does not fit into 64 bits; ask for a shorter range or shorter steps",
                rule="export_dataset.sum",
            ) from error

    async def _settle(self, org: str) -> None:
        """Wait for a commit under way, whose time may lie before the moment that is asked for."""
        async with postgres.transaction(self._database.pool, org=org) as connection:
            await connection.execute("/* settle */ select from orgs where org = $1 for share", org)


async def _newest(connection: asyncpg.Connection, org: str) -> Moment:
    row = await connection.fetchrow(
        "/* newest_commit */ select version, commit_time from commits where org = $1"
        " order by version desc limit 1",
        org,
    )
    if row is None:
        return Moment(0, await connection.fetchval("/* now */ select clock_timestamp()"))
    return Moment(row["version"], row["commit_time"])


async def _moment(connection: asyncpg.Connection, org: str, as_of: datetime) -> Moment:
    row = await connection.fetchrow(
        "/* commit_as_of */ select clock_timestamp() as now,"
        " (select max(version) from commits where org = $1 and commit_time <= $2) as version,"
        " (select min(version) from commits where org = $1) as oldest,"
        " (select min(commit_time) from commits where org = $1) as kept_since",
        org,
        as_of,
    )
    if as_of > row["now"]:
        raise InvalidFieldsError.of(
            "as_of", f"lies in the future; here it is {row['now'].isoformat()}", rule="as_of.future"
        )
    if row["version"] is None and row["oldest"] is not None:
        since = row["kept_since"].isoformat()
        if row["oldest"] > 1:
            raise InvalidFieldsError.of(
                "as_of", f"lies before what is kept; history begins at {since}", rule="as_of.kept"
            )
        raise DataInsufficientError(
            "writes before as_of",
            found="0",
            required="1",
            advice=f"name a moment from the first write on, which was at {since}",
        )
    return Moment(row["version"] or 0, as_of)


class PostgresPanelReading:
    """See `liftos_memory.export_ports.PanelReading`."""

    def __init__(
        self, connection: asyncpg.Connection, org: str, moment: Moment, is_past: bool
    ) -> None:
        self._connection = connection
        self._org = org
        self._is_past = is_past
        self.moment: Final = moment

    async def settings(self) -> OrgSettings:
        """Return the settings."""
        rows = await self._then("org_settings", "org_settings_history", "*", "org = $1")
        return settings_of(rows[0]) if rows else OrgSettings()

    async def events(self) -> Sequence[CalendarEvent]:
        """Return the org's own events."""
        rows = await self._then("calendar_events", "calendar_event_history", "*", "org = $1")
        return [
            CalendarEvent(
                row["display_name"], row["start_date"], row["end_date"], row["structural_break"]
            )
            for row in sorted(rows, key=lambda row: (row["start_date"], row["event_id"]))
        ]

    async def experiments(self) -> Sequence[Experiments]:
        """Return the artifacts that may hold lift tests, by id."""
        rows = await self._then(
            "records",
            "record_history",
            "record_id, version, body",
            "org = $1 and collection = 1 and kind = $3::smallint and scope = $4"
            " and body is not null",
            ARTIFACT_KINDS.index(LIFT_TEST_KIND) + 1,
            LIFT_TEST_SCOPE,
        )
        return [
            Experiments(row["record_id"], row["version"], row["body"])
            for row in sorted(rows, key=lambda row: str(row["record_id"]))
        ]

    async def rates(
        self, currency_codes: Sequence[str]
    ) -> Mapping[str, Sequence[tuple[date, Decimal]]]:
        """Return the rates of currencies by day."""
        rows = await self._then(
            "exchange_rates",
            "exchange_rate_history",
            "currency_code, date, rate",
            "org = $1 and currency_code = any($3::text[])",
            list(currency_codes),
        )
        found: dict[str, list[tuple[date, Decimal]]] = {code: [] for code in currency_codes}
        for row in sorted(rows, key=lambda row: (row["currency_code"], row["date"])):
            found[row["currency_code"]].append((row["date"], row["rate"]))
        return found

    async def survey(self, request: DatasetRequest, steps: Sequence[Step]) -> pd.DataFrame:
        """Return what there is on each day of each account."""
        parameters = self._parameters()
        levels = [LEVELS.index(level) + 1 for level in request.levels]
        wanted = parameters.add([*levels, _OUTCOME_LEVEL], "smallint[]")
        entries = self._entries(
            f"{_days(parameters, steps)} and level = any({wanted})",
            "platform, account_id, level, attribution_key, date_basis, breakdown_key, date,"
            f" currency_code, time_zone, spend_micros, revenue_micros, {request.kpi.metric} as kpi,"
            f" {_is_matching(request, parameters)} as is_matching",
        )
        # Grouped by plain columns first: of expressions the planner knows no statistics, expects as
        # many groups as rows, and sorts them all.
        sql = f"""/* export_survey */
select platform, account_id, level, attribution_key, date_basis, {BREAKDOWN},
    case when money_count > 0 then coalesce(currency_code, '') else '' end,
    coalesce(time_zone, ''), date, sum(entry_count)::bigint, sum(matching_count)::bigint,
    sum(kpi_count)::bigint
from (
    select platform, account_id, level, attribution_key, date_basis, breakdown_key, currency_code,
        time_zone, date, count(*) as entry_count,
        count(*) filter (where is_matching) as matching_count,
        count(kpi) filter (where is_matching) as kpi_count,
        count(*) filter (where is_matching and (spend_micros is not null
            or revenue_micros is not null)) as money_count
    from ({entries}) e group by 1, 2, 3, 4, 5, 6, 7, 8, 9
) by_key group by 1, 2, 3, 4, 5, 6, 7, 8, 9 limit {MAXIMUM_ROWS + 1}"""  # noqa: S608 - column names are ours
        frame = await self._frame(sql, parameters, SURVEY_COLUMNS, _SURVEY_TYPES)
        frame["level"] = _words(frame["level"], LEVELS)
        frame["date_basis"] = _words(frame["date_basis"], DATE_BASES)
        return frame

    async def slices(self, series: Sequence[Series], steps: Sequence[Step]) -> pd.DataFrame:
        """Return the committed slices of accounts that touch the steps."""
        rows = await self._connection.fetch(
            "/* export_slices */ select s.platform, s.account_id, s.level, s.attribution_key,"
            " s.date_basis, s.start_date, s.end_date, c.version"
            " from slices s join commits c on c.org = s.org and c.tx = s.tx"
            " where s.org = $1 and c.version <= $2 and s.end_date >= $3 and s.start_date <= $4"
            " and s.state = $5 and (s.platform, s.account_id) in"
            " (select * from unnest($6::text[], $7::text[]))",
            self._org,
            self.moment.version,
            steps[0].start,
            steps[-1].end,
            SliceState.COMMITTED.value,
            [one.platform for one in series],
            [one.account_id for one in series],
        )
        frame = _frame_of(
            rows,
            "platform account_id level attribution_key date_basis start_date end_date version",
        )
        frame["level"] = _words(frame["level"], LEVELS)
        frame["date_basis"] = _words(frame["date_basis"], DATE_BASES)
        return frame

    async def removals(self, series: Sequence[Series], steps: Sequence[Step]) -> pd.DataFrame:
        """Return on which days entries were taken out other than by a slice."""
        rows = await self._connection.fetch(
            "/* export_removals */ select h.platform, h.account_id, h.level, h.date,"
            " max(c.version) as version"
            " from entry_history h join commits c on c.org = h.org and c.tx = h.superseded_tx"
            " where h.org = $1 and h.deleted and h.date between $3 and $4 and c.version <= $2"
            " and (h.platform, h.account_id) in (select * from unnest($5::text[], $6::text[]))"
            " and not exists (select from slices s where s.org = h.org and s.tx = h.superseded_tx)"
            " group by 1, 2, 3, 4",
            self._org,
            self.moment.version,
            steps[0].start,
            steps[-1].end,
            [one.platform for one in series],
            [one.account_id for one in series],
        )
        frame = _frame_of(rows, "platform account_id level date version")
        frame["level"] = _words(frame["level"], LEVELS)
        return frame

    async def values(
        self,
        request: DatasetRequest,
        series: Sequence[Series],
        steps: Sequence[Step],
        rates: DailyRates,
    ) -> pd.DataFrame:
        """Return sums by step."""
        statement = self._values_statement(request, series, steps, rates)
        frame = await self._frame_of_statement(statement, VALUE_COLUMNS, _VALUE_TYPES)
        frame["unit"] = _decoded(frame["unit"])
        frame["level"] = _words(frame["level"], LEVELS)
        return frame

    def _values_statement(
        self,
        request: DatasetRequest,
        series: Sequence[Series],
        steps: Sequence[Step],
        rates: DailyRates,
    ) -> Statement:
        """Return the statement of sums: per day and currency first, then per step."""
        parameters = self._parameters()
        days = _days(parameters, steps)
        entries = self._series_entries(
            request,
            series,
            days,
            "date, platform, account_id, level, breakdown_key, channel, currency_code, final,"
            f" {', '.join(VALUE_METRICS)}",
            parameters,
        )
        target = parameters.add(rates.target, "text")
        pairs = list(rates.from_rates)
        given = ", ".join(
            parameters.add(values, sql_type)
            for values, sql_type in (
                ([code for code, _ in pairs], "text[]"),
                ([day for _, day in pairs], "date[]"),
                (list(rates.from_rates.values()), "numeric[]"),
                ([rates.to_rates[day] for _, day in pairs], "numeric[]"),
            )
        )
        keys = "unit, platform, account_id, level, channel"
        counts = [f"{name}_count" for name in VALUE_METRICS]
        daily = [
            *(f"sum({name})::bigint as {name}" for name in VALUE_METRICS),
            *(f"count({name}) as {name}_count" for name in VALUE_METRICS),
        ]
        sums = [
            f"round(sum(case when currency_code = {target} then {name}"
            f" else round({name} * from_rate, 40) / to_rate end), 30) as {name}"
            if name in _MONEY
            else f"sum({name})::bigint as {name}"
            for name in VALUE_METRICS
        ]
        rounded = [
            f"{half_even(name)} as {name}" if name in _MONEY else name for name in VALUE_METRICS
        ]
        tail = "entry_count, final_count"
        # Plain columns are grouped first, as in the survey.
        sql = f"""/* export_values */
select step, {keys}, {", ".join([*rounded, *counts])}, {tail} from (
    select {STEPS[request.granularity]} as step, {keys}, {", ".join(sums)},
        {", ".join(f"sum({name})::bigint as {name}" for name in counts)},
        sum(entry_count)::bigint as entry_count, sum(final_count)::bigint as final_count
    from (
        select date, {_unit_sql(request.unit, parameters)} as unit, platform, account_id, level,
            coalesce(channel, '') as channel, currency_code, {", ".join([*VALUE_METRICS, *counts])},
            {tail}
        from (
            select date, breakdown_key, platform, account_id, level, channel, currency_code,
                {", ".join(daily)}, count(*) as entry_count,
                count(*) filter (where final) as final_count
            from ({entries}) e group by 1, 2, 3, 4, 5, 6, 7
        ) by_key
    ) daily
    left join unnest({given}) as rates (currency_code, date, from_rate, to_rate)
        using (currency_code, date)
    group by step, {keys}
) sums limit {MAXIMUM_ROWS + 1}"""  # noqa: S608 - column names are ours
        return Statement(sql, tuple(parameters.values))

    async def qualities(
        self, request: DatasetRequest, series: Sequence[Series], steps: Sequence[Step]
    ) -> pd.DataFrame:
        """Return what was found about the entries behind the sums, by step."""
        parameters = self._parameters()
        days = _days(parameters, steps)
        entries = self._series_entries(
            request,
            series,
            days,
            f"{', '.join(MISMATCH_KEYS)}, breakdown_key, channel, quality_issues",
            parameters,
        )
        # Where values of a breakdown are summed, they are not told apart.
        breakdown_key = "''" if request.unit in {"", ACCOUNT_UNIT} else "breakdown_key"
        pairs, known = await reported_pairs(
            self._connection,
            self._org,
            pairs_of({one.level for one in series}),
            accounts=sorted({(one.platform, one.account_id) for one in series}),
            days=(steps[0].start, steps[-1].end),
            # Entries that are no more are looked for as well where they may count.
            tables=("entries", "entry_history") if self._is_past else ("entries",),
        )
        accounts = ", ".join(
            parameters.add([account[place] for account in known], "text[]") for place in (0, 1)
        )
        compared = self._entries(
            f"{days} and level = any({parameters.add(levels_of(pairs), 'smallint[]')})"  # noqa: S608
            " and breakdown_key = '' and (platform, account_id) in"
            f" (select * from unnest({accounts}))",
            MISMATCH_COLUMNS,
        )
        unit, keys = _unit_sql(request.unit, parameters), "platform, account_id, level"
        # Plain columns are grouped first, as in the survey.
        sql = f"""/* export_qualities */
with mismatches as materialized ({mismatches_sql(compared, pairs)})
select {STEPS[request.granularity]}, {unit}, {keys}, coalesce(channel, ''),
    coalesce(quality_issues, ''), coalesce(mismatched, ''), sum(entry_count)::bigint
from (
    select {", ".join(MISMATCH_KEYS)}, {breakdown_key} as breakdown_key, channel, quality_issues,
        count(*) as entry_count
    from ({entries}) e group by 1, 2, 3, 4, 5, 6, 7, 8, 9
) by_day left join mismatches using ({", ".join(MISMATCH_KEYS)})
group by 1, 2, 3, 4, 5, 6, 7, 8 limit {MAXIMUM_ROWS + 1}"""  # noqa: S608 - column names are ours
        await self._connection.execute(WITHOUT_LOOPS.format("off"))
        frame = await self._frame(sql, parameters, QUALITY_COLUMNS, _QUALITY_TYPES)
        await self._connection.execute(WITHOUT_LOOPS.format("on"))
        frame["unit"] = _decoded(frame["unit"])
        frame["level"] = _words(frame["level"], LEVELS)
        return frame

    async def controls(self, request: DatasetRequest, steps: Sequence[Step]) -> pd.DataFrame:
        """Return means of outside series by step."""
        parameters = self._parameters()
        days = _days(parameters, steps)
        condition, values = entry_condition(
            request.control_where, first_parameter=len(parameters.values) + 1
        )
        parameters.values += values
        entries = self._entries(
            f"{days} and level = {_CONTROL_LEVEL} and value_micros is not null and {condition}",
            "date, platform, account_id, series_id, breakdown_key, value_micros",
        )
        unit = "''" if request.unit in ("", ACCOUNT_UNIT) else _unit_sql(request.unit, parameters)
        # A value of the nation, or of one unit; those of parts of a unit are no values of it.
        names = parameters.add(
            ["", *([request.unit] if request.unit not in ("", ACCOUNT_UNIT) else [])], "text[]"
        )
        sql = f"""/* export_controls */
select {STEPS[request.granularity]}, case when breakdown_key = '' then '' else {unit} end,
    platform, account_id, series_id, (avg(value_micros) / 1000000)::double precision
from ({entries}) e where {BREAKDOWN} = any({names})
group by 1, 2, 3, 4, 5 limit {MAXIMUM_ROWS + 1}"""  # noqa: S608 - column names are ours
        frame = await self._frame(sql, parameters, CONTROL_COLUMNS, _CONTROL_TYPES)
        frame["unit"] = _decoded(frame["unit"])
        return frame

    def _parameters(self) -> Parameters:
        """Return the first two parameters of all statements: org and version."""
        return Parameters([self._org, self.moment.version])

    def _series_entries(
        self,
        request: DatasetRequest,
        series: Sequence[Series],
        days: str,
        columns: str,
        parameters: Parameters,
    ) -> str:
        """Return the statement of the entries that are read of accounts."""
        chosen = ", ".join(
            parameters.add(values, sql_type)
            for values, sql_type in (
                ([one.platform for one in series], "text[]"),
                ([one.account_id for one in series], "text[]"),
                ([LEVELS.index(one.level) + 1 for one in series], "smallint[]"),
                ([one.attribution_key for one in series], "text[]"),
                ([DATE_BASES.index(one.date_basis) + 1 for one in series], "smallint[]"),
                ([one.breakdown for one in series], "text[]"),
            )
        )
        return self._entries(
            f"{days} and (platform, account_id, level, attribution_key, date_basis,"  # noqa: S608
            f" {BREAKDOWN}) in (select * from unnest({chosen}))"
            f" and {_is_matching(request, parameters)}",
            columns,
        )

    def _entries(self, condition: str, columns: str) -> str:
        """Return the statement of entries as they were."""
        return self._as_then("entries", "entry_history", columns, f"org = $1 and {condition}")

    def _as_then(self, table: str, history: str, columns: str, condition: str) -> str:
        if not self._is_past:
            # Says the type of a parameter that nothing else needs.
            return f"select {columns} from {table} where {condition} and $2::bigint is not null"  # noqa: S608
        later = "select from commits c where c.org = $1 and c.version > $2::bigint and c.tx = "
        return f"""
        select {columns} from {table} t
        where {condition} and not exists ({later} t.tx)
        union all
        select {columns} from {history} t
        where {condition} and not exists ({later} t.tx)
            and t.superseded_tx in
                (select c.tx from commits c where c.org = $1 and c.version > $2::bigint)"""  # noqa: S608 - names are ours

    async def _then(
        self, table: str, history: str, columns: str, condition: str, *values: object
    ) -> Sequence[Mapping[str, Any]]:
        columns = columns if columns != "*" else _COLUMNS[table]
        rows: Sequence[Mapping[str, Any]] = await self._connection.fetch(
            f"/* {table}_as_of */ {self._as_then(table, history, columns, condition)}",
            self._org,
            self.moment.version,
            *values,
        )
        return rows

    async def _frame(
        self,
        sql: str,
        parameters: Parameters,
        columns: Sequence[str],
        types: Mapping[str, pa.DataType],
    ) -> pd.DataFrame:
        statement = Statement(sql, tuple(parameters.values))
        return await self._frame_of_statement(statement, columns, types)

    async def _frame_of_statement(
        self, statement: Statement, columns: Sequence[str], types: Mapping[str, pa.DataType]
    ) -> pd.DataFrame:
        schema = pa.schema([(name, types.get(name, pa.string())) for name in columns])
        options = csv.ConvertOptions(
            column_types=schema,
            null_values=[""],
            strings_can_be_null=False,
        )
        read = csv.ReadOptions(column_names=list(columns), use_threads=False)
        tables = [schema.empty_table()]
        async with aclosing(copy_csv(self._connection, statement)) as texts:
            async for text in texts:
                tables.append(  # noqa: PERF401 - nothing of it is a comprehension to read
                    csv.read_csv(io.BytesIO(text), read_options=read, convert_options=options)
                )
        table = pa.concat_tables(tables)
        if table.num_rows > MAXIMUM_ROWS:
            raise InvalidFieldsError.of(
                "date_range",
                f"the data set reads more than {MAXIMUM_ROWS:,} sums of accounts and channels; ask "
                "for a shorter range, longer steps or fewer treatments",
                rule="export_dataset.rows",
            )
        frame: pd.DataFrame = table.to_pandas(date_as_object=False, types_mapper=_PANDAS_TYPES.get)
        return frame


_COLUMNS: Final = {
    "org_settings": "fiscal_start_month, hemisphere, base_currency_code, region_codes, revision,"
    " update_time",
    "calendar_events": "event_id, display_name, start_date, end_date, structural_break",
}
_PANDAS_TYPES: Final = {pa.int64(): pd.Int64Dtype()}


def _days(parameters: Parameters, steps: Sequence[Step]) -> str:
    first = parameters.add(steps[0].start, "date")
    return f"date >= {first} and date <= {parameters.add(steps[-1].end, 'date')}"


def _is_matching(request: DatasetRequest, parameters: Parameters) -> str:
    """Return SQL of whether an entry is asked for; outcomes have a filter of their own."""

    def condition(where: Filter | None) -> str:
        sql, values = entry_condition(where, first_parameter=len(parameters.values) + 1)
        parameters.values += values
        return sql

    return (
        f"(case when level = {_OUTCOME_LEVEL} then {condition(request.kpi_where)}"
        f" else {condition(request.where)} end)"
    )


def _unit_sql(unit: str, parameters: Parameters) -> str:
    if not unit:
        return "''"
    if unit == ACCOUNT_UNIT:
        return "account_id"
    pattern = parameters.add(f"(?:^|&){unit.replace('.', '[.]')}=([^&]*)", "text")
    return f"coalesce(substring(breakdown_key from {pattern}), '')"


def _words(numbers: "pd.Series[Any]", words: Sequence[str]) -> "pd.Series[Any]":
    return numbers.map(dict(enumerate(words, 1))).astype(object)


def _decoded(units: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return values of a breakdown as they were before they became parts of a key."""
    names = {name: name for name in units.unique()}
    for code, sign in (("%26", "&"), ("%3D", "="), ("%25", "%")):
        names = {name: plain.replace(code, sign) for name, plain in names.items()}
    return units.map(names).astype(object)


def _frame_of(rows: Sequence[asyncpg.Record], columns: str) -> pd.DataFrame:
    names = columns.split()
    return pd.DataFrame([tuple(row) for row in rows], columns=names, dtype=object)

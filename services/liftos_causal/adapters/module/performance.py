"""Daily numbers from the module's own Postgres."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import asyncpg
import numpy as np

from liftos_causal.domain.filters import PERFORMANCE_FIELDS
from liftos_causal.domain.panel import Floats, Outcome, Panel
from liftos_causal.domain.records import DayRange, Selection
from liftos_causal.ports import DailyNumbers, UnitDays
from liftos_kit import postgres
from liftos_kit.core.errors import DataInsufficientError, RateMissingError
from liftos_kit.core.filters import Filter, parse_filter, to_sql

_BASE_CURRENCY: Final = "USD"
_KEPT_ANSWERS: Final = 64
_COLUMNS: Final = {
    "platform": "p.platform",
    "channel": "p.platform",
    "account_id": "p.account_id",
    "campaign_id": "p.campaign_id",
}

_VERSION: Final = "/* data_version */ select version from data_versions where org_id = $1"

_SPEND: Final = """/* daily_spend */
select p.day, p.platform, sum(p.spend * r.usd / f.usd)::float8 as spend,
       min(p.quality_score)::float8 as quality,
       bool_or(r.usd is null or f.usd is null) as unconverted,
       min(p.currency) filter (where r.usd is null or f.usd is null) as unknown_currency
from {table} p
left join exchange_rates r on r.day = p.day and r.currency = p.currency
left join exchange_rates f on f.day = p.day and f.currency = $4
where p.org_id = $1 and p.day between $2 and $3
  and (cardinality($5::text[]) = 0 or p.platform = any($5)) and {condition}
group by p.day, p.platform
"""

_SHOP: Final = """/* daily_outcomes */
select s.day, s.orders, (s.revenue * r.usd / f.usd)::float8 as revenue
from shop_orders_daily s
left join exchange_rates r on r.day = s.day and r.currency = s.currency
left join exchange_rates f on f.day = s.day and f.currency = $4
where s.org_id = $1 and s.day between $2 and $3
"""

_SERIES: Final = """/* daily_series */
select factor, day, impact from external_factors
where org_id = $1 and day between $2 and $3 and factor = any($4)
"""

_UNITS: Final = """/* daily_units */
select p.platform, p.account_id, p.campaign_id, p.day,
       (p.spend * coalesce(r.usd, 1))::float8 as spend,
       p.clicks::float8 as clicks, p.conversions,
       p.revenue * coalesce(r.usd, 1)::float8 as revenue
from clean_performance p
left join exchange_rates r on r.day = p.day and r.currency = p.currency
where p.org_id = $1 and p.day between $2 and $3 and {condition}
"""


class ModulePerformance:
    """See `liftos_causal.ports.PerformanceReader`.

    Answers are kept as long as no row of the org was added or changed.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._kept: OrderedDict[tuple[object, ...], tuple[object, asyncio.Future[DailyNumbers]]] = (
            OrderedDict()
        )

    async def daily(self, org: str, selection: Selection, series: Sequence[str]) -> DailyNumbers:
        """Return spend by channel, outcomes and outside series."""
        key = (org, selection, tuple(series))
        version = await self.version(org)
        kept = self._kept.get(key)
        if kept is not None and kept[0] == version:
            self._kept.move_to_end(key)
            return await asyncio.shield(kept[1])
        reading = asyncio.ensure_future(self._read(org, selection, tuple(series)))
        self._kept[key] = (version, reading)
        while len(self._kept) > _KEPT_ANSWERS:
            self._kept.popitem(last=False)
        try:
            return await asyncio.shield(reading)
        except BaseException:
            if self._kept.get(key) == (version, reading):
                del self._kept[key]
            raise

    async def _read(self, org: str, selection: Selection, series: Sequence[str]) -> DailyNumbers:
        currency = selection.currency_code or _BASE_CURRENCY
        where = parse_filter(selection.filter, PERFORMANCE_FIELDS)
        condition, values = to_sql(where, columns=_COLUMNS, first_parameter=6)
        # The daily sums know no accounts and campaigns.
        table = "channel_daily" if where is None else "clean_performance"
        first, last = selection.days.start, selection.days.end
        async with postgres.transaction(
            self._pool, org=None, read_only=True, isolation="repeatable read"
        ) as connection:
            spend = await connection.fetch(
                _SPEND.format(table=table, condition=condition),
                org, first, last, currency, list(selection.platforms), *values,
            )  # fmt: skip
            shop = await connection.fetch(_SHOP, org, first, last, currency)
            outside = await connection.fetch(_SERIES, org, first, last, list(series))
        return await asyncio.to_thread(_numbers, spend, shop, outside, currency=currency)

    async def units(
        self, org: str, days: DayRange, *, where: Filter | None, outcome: Outcome
    ) -> UnitDays:
        """Return each campaign's outcome, day by day."""
        condition, values = to_sql(where, columns=_COLUMNS, first_parameter=4)
        with postgres.translate_errors():
            rows = await self._pool.fetch(
                _UNITS.format(condition=condition), org, days.start, days.end, *values
            )
        owners = {row["campaign_id"]: (row["platform"], row["account_id"]) for row in rows}
        units = sorted(owners)
        places = {unit: place for place, unit in enumerate(units)}
        shape = (len(units), days.day_count)
        found = {name: np.zeros(shape) for name in ("outcome", "spend", "clicks")}
        column = "revenue" if outcome is Outcome.REVENUE else "conversions"
        for row in rows:
            at = places[row["campaign_id"]], (row["day"] - days.start).days
            found["outcome"][at] += row[column] or 0.0
            found["spend"][at] += row["spend"] or 0.0
            found["clicks"][at] += row["clicks"] or 0.0
        return UnitDays(
            units=tuple(units),
            platforms=tuple(owners[unit][0] for unit in units),
            accounts=tuple(owners[unit][1] for unit in units),
            days=days,
            **found,
        )

    async def version(self, org: str) -> str:
        """Return what changes whenever an answer may."""
        with postgres.translate_errors():
            return str(await self._pool.fetchval(_VERSION, org))

    async def last_day(self, org: str) -> date | None:
        """Return the newest day that has numbers."""
        with postgres.translate_errors():
            day: date | None = await self._pool.fetchval(
                "/* last_day */ select max(date_start) from campaign_performance where org_id = $1",
                org,
            )
        return day


def _numbers(
    spend: Sequence[Mapping[str, Any]],
    shop: Sequence[Mapping[str, Any]],
    outside: Sequence[Mapping[str, Any]],
    *,
    currency: str,
) -> DailyNumbers:
    missing = sorted(
        (row["unknown_currency"], currency, row["day"].isoformat())
        for row in spend
        if row["unconverted"]
    )
    if missing:
        raise RateMissingError(missing)
    if not spend:
        raise DataInsufficientError("days with spend", found="no", required="at least 56")
    first = min(row["day"] for row in spend)
    days = (max(row["day"] for row in spend) - first).days + 1
    channels = sorted({row["platform"] for row in spend})
    places = {channel: place for place, channel in enumerate(channels)}
    spent = np.zeros((days, len(channels)))
    for row in spend:
        spent[(row["day"] - first).days, places[row["platform"]]] = row["spend"] or 0.0
    outcomes = {outcome: np.full(days, np.nan) for outcome in Outcome}
    for row in shop:
        day = (row["day"] - first).days
        if 0 <= day < days:
            outcomes[Outcome.CONVERSIONS][day] = row["orders"]
            if row["revenue"] is not None:
                outcomes[Outcome.REVENUE][day] = row["revenue"]
    series: dict[str, Floats] = {}
    for row in outside:
        day = (row["day"] - first).days
        if 0 <= day < days:
            series.setdefault(row["factor"], np.full(days, np.nan))[day] = row["impact"]
    whole = {name: values for name, values in series.items() if np.isfinite(values).all()}
    panel = Panel(np.datetime64(first) + np.arange(days), tuple(channels), spent, outcomes, whole)
    return DailyNumbers(
        panel=panel,
        quality_score=min(
            (row["quality"] for row in spend if row["quality"] is not None), default=1.0
        ),
        sha256=panel.sha256(),
        write_token="",
        currency_code=currency,
    )

"""Daily numbers from Core."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from liftos_causal.adapters.core.refusals import translated
from liftos_causal.domain.filters import PERFORMANCE_FIELDS
from liftos_causal.domain.panel import Floats, Outcome, Panel
from liftos_causal.domain.records import DayRange, Selection
from liftos_causal.ports import DailyNumbers, UnitDays
from liftos_client import AsyncUnifiedDataAPI, OrgClients
from liftos_kit.core.errors import DataInsufficientError
from liftos_kit.core.filters import (
    And,
    Comparison,
    Filter,
    Not,
    Operator,
    Or,
    Prefix,
    Present,
    format_filter,
    parse_filter,
)

if TYPE_CHECKING:
    import pandas as pd

_MEMORY: Final = "memory"
_READING: Final = ("date_basis", "attribution_key")
"""What tells apart the ways in which a platform counts the same day."""

_LOOK_BACK_DAYS: Final = (60, 3_990)


class CorePerformance:
    """See `liftos_causal.ports.PerformanceReader`."""

    def __init__(self, clients: OrgClients) -> None:
        self._clients = clients

    async def daily(self, org: str, selection: Selection, series: Sequence[str]) -> DailyNumbers:
        """Return spend by channel, outcomes and outside series."""
        where = _performance_filter(
            parse_filter(selection.filter, PERFORMANCE_FIELDS), selection.platforms
        )
        api = AsyncUnifiedDataAPI(self._clients.of(org))
        memory = self._clients.of(org).memory
        first, last = selection.days.start, selection.days.end
        with translated(_MEMORY, currency_code=selection.currency_code):
            token, settings = await asyncio.gather(memory.newest_write(), memory.get_org_settings())
            currency = selection.currency_code or settings.base_currency_code
            spend, outcomes, outside = await asyncio.gather(
                api.query(
                    first,
                    last,
                    group_by=("platform", "attribution_key"),
                    filter=where,
                    currency_code=currency,
                    at_least_as_fresh=token,
                ),
                api.query(
                    first,
                    last,
                    level="OUTCOME",
                    group_by=(),
                    currency_code=currency,
                    at_least_as_fresh=token,
                ),
                _outside(api, selection.days, series, token),
            )
        return await asyncio.to_thread(
            _numbers, spend, outcomes, outside, currency=currency, token=token
        )

    async def units(
        self, org: str, days: DayRange, *, where: Filter | None, outcome: Outcome
    ) -> UnitDays:
        """Return each campaign's outcome, day by day."""
        client = self._clients.of(org)
        with translated(_MEMORY):
            settings = await client.memory.get_org_settings()
            frame = await AsyncUnifiedDataAPI(client).query(
                days.start,
                days.end,
                group_by=("platform", "account_id", "campaign_id", "attribution_key"),
                filter=_performance_filter(where, ()),
                currency_code=settings.base_currency_code,
            )
        return await asyncio.to_thread(_unit_days, _read_once(frame), days, outcome)

    async def version(self, org: str) -> str:
        """Return what changes whenever an answer may."""
        with translated(_MEMORY):
            return await self._clients.of(org).memory.newest_write()

    async def last_day(self, org: str) -> date | None:
        """Return the newest day that has numbers."""
        today = date.today()  # noqa: DTZ011 - days of every zone end before the next one here
        api = AsyncUnifiedDataAPI(self._clients.of(org))
        with translated(_MEMORY):
            for look_back in _LOOK_BACK_DAYS:
                frame = await api.query(
                    today - timedelta(days=look_back), today + timedelta(days=1), group_by=()
                )
                if not frame.empty:
                    newest: date = frame["period_start_date"].max().date()
                    return newest
        return None


async def _outside(
    api: AsyncUnifiedDataAPI, days: DayRange, series: Sequence[str], token: str
) -> "pd.DataFrame | None":
    if not series:
        return None
    named = tuple(Comparison("series_id", Operator.EQUAL, each) for each in series)
    return await api.query(
        days.start,
        days.end,
        level="CONTROL",
        group_by=("series_id",),
        filter=format_filter(_any(named)),
        at_least_as_fresh=token,
    )


def _performance_filter(where: Filter | None, platforms: Sequence[str]) -> str:
    terms: list[Filter] = []
    if where is not None:
        terms.append(_of_core(where))
    if platforms:
        terms.append(_any(tuple(Comparison("platform", Operator.EQUAL, p) for p in platforms)))
    if not terms:
        return ""
    return format_filter(terms[0] if len(terms) == 1 else And(tuple(terms)))


def _any(terms: tuple[Filter, ...]) -> Filter:
    return terms[0] if len(terms) == 1 else Or(terms)


def _of_core(term: Filter) -> Filter:
    """Return a filter in Core's words: what the module calls a channel is a platform there."""
    match term:
        case Comparison() | Prefix() | Present():
            return replace(term, field="platform") if term.field == "channel" else term
        case Not(inner):
            return Not(_of_core(inner))
        case And(terms):
            return And(tuple(map(_of_core, terms)))
        case Or(terms):
            return Or(tuple(map(_of_core, terms)))


def _read_once(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Keep of each platform the reading that most entries have, and whole days alone.

    Rows of other date bases and attributions count the same spend again.
    """
    whole = frame[frame["breakdown"] == ""]
    if whole.empty:
        return whole
    sizes = whole.groupby(["platform", *_READING])["entry_count"].sum().reset_index()
    sizes = sizes.sort_values(
        ["platform", "entry_count", *_READING], ascending=[True, False, True, True]
    )
    chosen = sizes.drop_duplicates("platform")[["platform", *_READING]]
    return whole.merge(chosen, on=["platform", *_READING])


def _numbers(
    spend: "pd.DataFrame",
    outcomes: "pd.DataFrame",
    outside: "pd.DataFrame | None",
    *,
    currency: str,
    token: str,
) -> DailyNumbers:
    spend = _read_once(spend)
    if spend.empty:
        raise DataInsufficientError("days with spend", found="no", required="at least 56")
    days = spend["period_start_date"].to_numpy().astype("datetime64[D]")
    first, count = days.min(), int((days.max() - days.min()).astype(int)) + 1
    channels = sorted(spend["platform"].unique())
    table = np.zeros((count, len(channels)))
    places = {channel: place for place, channel in enumerate(channels)}
    at = (days - first).astype(int), spend["platform"].map(places).to_numpy()
    np.add.at(table, at, spend["spend"].fillna(0.0).to_numpy(dtype=np.float64))
    found = {
        Outcome.REVENUE: _placed(outcomes, "revenue", first, count),
        Outcome.CONVERSIONS: _placed(outcomes, "orders", first, count),
    }
    series: dict[str, Floats] = {}
    if outside is not None:
        for name, rows in outside.groupby("series_id"):
            values = _placed(rows, "value", first, count)
            if np.isfinite(values).all():
                series[str(name)] = values
    panel = Panel(first + np.arange(count), tuple(channels), table, found, series)
    return DailyNumbers(
        panel=panel,
        quality_score=float(spend["quality_score"].min()),
        sha256=panel.sha256(),
        write_token=token,
        currency_code=currency,
    )


def _placed(frame: "pd.DataFrame", column: str, first: np.datetime64, count: int) -> Floats:
    """Return a column by day, NaN on days without a value."""
    values = np.full(count, np.nan)
    if frame.empty or column not in frame.columns:
        return values
    at = (frame["period_start_date"].to_numpy().astype("datetime64[D]") - first).astype(int)
    given = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(given) & (at >= 0) & (at < count)
    # Shops of several accounts add up.
    sums, seen = np.zeros(count), np.zeros(count, dtype=bool)
    np.add.at(sums, at[known], given[known])
    seen[at[known]] = True
    values[seen] = sums[seen]
    return values


def _unit_days(frame: "pd.DataFrame", days: DayRange, outcome: Outcome) -> UnitDays:
    owners = frame.drop_duplicates("campaign_id").set_index("campaign_id")
    units = sorted(owners.index)
    places = {unit: place for place, unit in enumerate(units)}
    start = np.datetime64(days.start)
    at = (
        frame["campaign_id"].map(places).to_numpy(dtype=np.intp),
        (frame["period_start_date"].to_numpy().astype("datetime64[D]") - start).astype(int),
    )
    column = "revenue" if outcome is Outcome.REVENUE else "conversions"

    def placed(name: str) -> Floats:
        table = np.zeros((len(units), days.day_count))
        np.add.at(table, at, frame[name].to_numpy(dtype=np.float64, na_value=0.0))
        return table

    return UnitDays(
        units=tuple(units),
        platforms=tuple(owners["platform"][unit] for unit in units),
        accounts=tuple(owners["account_id"][unit] for unit in units),
        days=days,
        outcome=placed(column),
        spend=placed("spend"),
        clicks=placed("clicks"),
    )

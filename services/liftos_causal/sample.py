"""A module that has been in use for two years: numbers whose truth is known, and hard data.

What channels really do is written down in `CHANNELS`; the shop's revenue follows from it. On top
of that the database gets what such databases hold, as much of it as `Oddities` counts.

`LIFTOS_POSTGRES_OWNER_URL=… python -m liftos_causal.sample --org acme` fills a module's database.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, TypeAlias

import asyncpg
import numpy as np

from liftos_causal.adapters.module.database import SCHEMA
from liftos_causal.domain.curves import adstocked, saturated
from liftos_causal.domain.panel import Floats
from liftos_causal.settings import MigrateSettings
from liftos_kit import postgres
from liftos_kit.settings import load

Row: TypeAlias = tuple[object, ...]

_ROWS_AT_A_TIME: Final = 20_000
_LATE: Final = timedelta(hours=6)
_FILL_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Channel:
    """What a channel spends and really does; money in US dollars.

    Attributes:
        daily_spend: In the middle.
        decay, half_saturation, coefficient: See `liftos_causal.domain.curves.Curve`.
        campaigns: How many share the spend.
        accounts: Currency by account id.
    """

    daily_spend: float
    decay: float
    half_saturation: float
    coefficient: float
    campaigns: int
    accounts: Mapping[str, str]


CHANNELS: Final[Mapping[str, Channel]] = {
    "google_ads": Channel(3_000, 0.4, 6_000, 9_000, 50, {"1234567890": "USD"}),
    "klaviyo": Channel(400, 0.2, 600, 4_000, 24, {"Kx9aQ2": "USD"}),
    "meta": Channel(5_000, 0.6, 10_000, 15_000, 50, {"act_1001": "USD", "act_1002": "EUR"}),
    "tiktok": Channel(1_500, 0.0, 2_000, 2_000, 16, {"7001": "USD"}),
}
_ORDER_VALUE: Final = 60.0
_LEVEL: Final = 20_000.0
_NOISE: Final = 2_500.0


@dataclass(frozen=True, slots=True)
class Oddities:
    """How much of each kind of hard data there is.

    Attributes:
        refetched_rows: Rows that a newer one with other numbers replaces.
        range_rows: Rows of a week beside those of its days.
        gap_days: Days on which a campaign that runs has no row.
        missing_shop_days: Days without the shop's numbers.
        unknown_revenue_days: Days of which the shop knows orders alone.
        orphan_results: Results whose model is gone.
    """

    refetched_rows: int
    range_rows: int
    gap_days: int
    missing_shop_days: int
    unknown_revenue_days: int
    orphan_results: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What was written.

    Attributes:
        performance_rows: Rows of `campaign_performance`.
        oddities: Hard data among them and elsewhere.
        effects: Revenue that each channel really gave, days by channels in order of `CHANNELS`.
    """

    performance_rows: int
    oddities: Oddities
    effects: Floats


async def fill(
    connection: asyncpg.Connection,
    org: str,
    *,
    end: date,
    days: int = 730,
    scale: int = 1,
    seed: int = 1,
) -> Sample:
    """Fill an empty module's database.

    Args:
        connection: To the database.
        org: Whose data it is.
        end: Newest day.
        days: How many days.
        scale: Campaigns per channel are multiplied by it; their spend is not.
        seed: The same gives the same rows, fetch times apart.
    """
    generator = np.random.default_rng(seed)
    start = end - timedelta(days=days - 1)
    spend, effects = _numbers(generator, days)
    rates = 1.08 + 0.02 * np.sin(np.arange(days) / 40)
    await _accounts(connection, org, scale)
    await connection.copy_records_to_table(
        "exchange_rates",
        records=[
            (start + timedelta(days=day), currency, f"{rate:.8f}")
            for day in range(days)
            for currency, rate in (("USD", 1.0), ("EUR", rates[day]))
        ],
        columns=("day", "currency", "usd"),
    )
    missing, unknown = await _shop(connection, org, generator, start, effects)
    counts = {"refetched": 0, "ranges": 0, "gaps": 0}
    campaigns = _world(generator, org, start, rates, spend=spend, effects=effects, scale=scale)
    # Rolled up once at the end, which is a hundred times as fast.
    await connection.execute("alter table campaign_performance disable trigger user")
    performance_rows = 0
    batch: list[Row] = []
    for row in _performance(generator, campaigns, counts):
        batch.append(row)
        performance_rows += 1
        if len(batch) == _ROWS_AT_A_TIME:
            await _copy(connection, batch)
            batch = []
    await _copy(connection, batch)
    await connection.execute("alter table campaign_performance enable trigger user")
    await connection.execute(
        "select roll_up($1, array(select distinct date_start from campaign_performance"
        " where org_id = $1))",
        org,
    )
    orphans = await _results_without_models(connection, org, generator, end)
    await _factors(connection, org, generator, start, days)
    await connection.execute("analyze")
    return Sample(
        performance_rows,
        Oddities(counts["refetched"], counts["ranges"], counts["gaps"], missing, unknown, orphans),
        effects,
    )


def _numbers(generator: np.random.Generator, days: int) -> tuple[Floats, Floats]:
    """Return spend and its effect, days by channels; budgets are set by the week."""
    kinds = list(CHANNELS.values())
    weeks = generator.lognormal(0, 0.4, (days // 7 + 1, len(kinds)))
    spend = np.repeat(weeks, 7, axis=0)[:days] * [kind.daily_spend for kind in kinds]
    spend = spend * generator.lognormal(0, 0.2, spend.shape)
    effects = np.column_stack(
        [
            kind.coefficient
            * saturated(adstocked(spend[:, place], kind.decay, 30), kind.half_saturation)
            for place, kind in enumerate(kinds)
        ]
    )
    return spend, effects


async def _accounts(connection: asyncpg.Connection, org: str, scale: int) -> None:
    for platform, channel in CHANNELS.items():
        for account, currency in channel.accounts.items():
            number = await connection.fetchval(
                "insert into platform_accounts (org_id, platform, account_id, currency, timezone)"
                " values ($1, $2, $3, $4, 'America/New_York') returning id",
                org,
                platform,
                account,
                currency,
            )
            await connection.copy_records_to_table(
                "campaigns",
                records=[
                    (number, campaign, f"{platform.replace('_', ' ').title()} {campaign[-4:]}", [])
                    for owner, campaign in _campaigns(platform, scale)
                    if owner == account
                ],
                columns=("platform_account_id", "campaign_id", "name", "tags"),
            )


def _campaigns(platform: str, scale: int) -> list[tuple[str, str]]:
    """Return (account, campaign) of a channel; accounts take turns."""
    channel = CHANNELS[platform]
    accounts = list(channel.accounts)
    return [
        (accounts[number % len(accounts)], f"{platform}-{number:04d}")
        for number in range(channel.campaigns * scale)
    ]


async def _shop(
    connection: asyncpg.Connection,
    org: str,
    generator: np.random.Generator,
    start: date,
    effects: Floats,
) -> tuple[int, int]:
    days = len(effects)
    weekday = 2_000 * np.sin(np.arange(days) * 2 * np.pi / 7)
    revenue = _LEVEL + weekday + effects.sum(axis=1) + generator.normal(0, _NOISE, days)
    missing = set(generator.choice(days, max(days // 240, 1), replace=False).tolist())
    unknown = set(generator.choice(days, max(days // 150, 1), replace=False).tolist()) - missing
    await connection.copy_records_to_table(
        "shop_orders_daily",
        records=[
            (
                org,
                start + timedelta(days=day),
                round(revenue[day] / _ORDER_VALUE),
                None if day in unknown else f"{revenue[day]:.2f}",
                "USD",
            )
            for day in range(days)
            if day not in missing
        ],
        columns=("org_id", "day", "orders", "revenue", "currency"),
    )
    return len(missing), len(unknown)


@dataclass(frozen=True, slots=True)
class _Campaign:
    """A campaign of an account, and what it really spends and gives, day by day."""

    org: str
    platform: str
    account: str
    campaign: str
    currency: str
    start: date
    amounts: Floats
    values: Floats
    clicks: Floats
    shown: Floats

    def row(self, days: slice, *, quality: str, after: timedelta, share: float = 1.0) -> Row:
        """Return what the platform answered about some days, some time after their end.

        Args:
            days: Numbers of the days.
            quality: As the module scored it.
            after: The end of the day after.
            share: Of the truth that it knew by then.
        """
        first = self.start + timedelta(days=days.start)
        last = self.start + timedelta(days=days.stop - 1)
        clicks = int(self.clicks[days].sum())
        measured = _measured(
            self.platform,
            float(self.amounts[days].sum()) * share,
            float(self.values[days].sum()) * share,
            clicks,
        )
        # The puller stored its own clock's time without a zone, the database one with.
        fetched = datetime.combine(last + timedelta(days=1), datetime.min.time()) + after
        return (
            self.org,
            self.platform,
            self.account,
            self.campaign,
            first,
            last,
            self.currency,
            measured.spend,
            measured.cost_micros,
            None if self.platform == "klaviyo" else int(self.shown[days].sum()),
            clicks,
            measured.conversions,
            measured.conversions_value,
            measured.actions,
            measured.email_metrics,
            quality,
            fetched,
            fetched.replace(tzinfo=UTC),
        )


def _world(
    generator: np.random.Generator,
    org: str,
    start: date,
    rates: Floats,
    *,
    spend: Floats,
    effects: Floats,
    scale: int,
) -> Iterator[_Campaign]:
    days = len(spend)
    for place, (platform, channel) in enumerate(CHANNELS.items()):
        campaigns = _campaigns(platform, scale)
        parts = generator.dirichlet(np.full(len(campaigns), 5.0))
        for (account, campaign), part in zip(campaigns, parts, strict=True):
            currency = channel.accounts[account]
            per_dollar = 1.0 / rates if currency == "EUR" else np.ones(days)
            amounts = spend[:, place] * part * per_dollar
            clicks = generator.poisson(amounts * 1.2)
            yield _Campaign(
                org,
                platform,
                account,
                campaign,
                currency,
                start,
                amounts,
                # Platforms claim more than they caused.
                values=effects[:, place] * part * 1.3 * per_dollar,
                clicks=clicks,
                shown=clicks * 40 + generator.integers(0, 40, days),
            )


def _performance(
    generator: np.random.Generator, campaigns: Iterator[_Campaign], counts: dict[str, int]
) -> Iterator[Row]:
    for number, campaign in enumerate(campaigns):
        days = len(campaign.amounts)
        gaps = set(generator.choice(days, days // 365, replace=False).tolist())
        again = set(generator.choice(days, max(days // 100, 1), replace=False).tolist()) - gaps
        counts["gaps"] += len(gaps)
        for day in range(days):
            if day in gaps:
                continue
            one = slice(day, day + 1)
            quality = "1.00" if day % 50 else "0.80"
            if day in again:
                counts["refetched"] += 1
                yield campaign.row(one, quality=quality, after=timedelta(0), share=0.6)
            yield campaign.row(one, quality=quality, after=_LATE)
        if campaign.platform == "meta" and number % 5 == 0:
            counts["ranges"] += 1
            yield campaign.row(slice(days - 14, days - 7), quality="0.50", after=_LATE)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What a platform says of a campaign and day, in its own terms."""

    spend: str | None
    cost_micros: str | None
    clicks: int | None
    conversions: float | None
    conversions_value: float | None
    actions: dict[str, dict[str, float]] | None
    email_metrics: dict[str, float] | None


def _measured(platform: str, amount: float, value: float, clicks: int) -> _Measured:
    orders = value / _ORDER_VALUE
    match platform:
        case "google_ads":
            # Its model splits conversions among clicks, so they are fractions.
            micros = str(round(amount * 100) * 10_000)
            return _Measured(None, micros, clicks, round(orders, 6), round(value, 6), None, None)
        case "meta":
            exact = {"count": float(round(orders)), "value": round(value, 2)}
            # The same purchases, counted by wider rules.
            wider = {"count": exact["count"] + 1.0, "value": round(value * 1.1, 2)}
            actions = {
                "purchase": wider,
                "omni_purchase": wider,
                "offsite_conversion.fb_pixel_purchase": exact,
            }
            return _Measured(f"{amount:.2f}", None, clicks, None, None, actions, None)
        case "klaviyo":
            opened = clicks * 9
            metrics = {
                "delivered": float(clicks * 30),
                "opened": float(opened),
                "orders": float(round(orders)),
                "revenue": round(value, 2),
            }
            return _Measured(f"{amount:.2f}", None, clicks, None, None, None, metrics)
        case _:
            return _Measured(
                f"{amount:.2f}", None, clicks, float(round(orders)), round(value, 2), None, None
            )


async def _copy(connection: asyncpg.Connection, rows: list[Row]) -> None:
    await connection.copy_records_to_table(
        "campaign_performance",
        records=rows,
        columns=(
            "org_id", "platform", "account_id", "campaign_id", "date_start", "date_stop",
            "currency", "spend", "cost_micros", "impressions", "clicks", "conversions",
            "conversions_value", "actions", "email_metrics", "quality_score", "fetched_at",
            "updated_at",
        ),
    )  # fmt: skip


async def _results_without_models(
    connection: asyncpg.Connection, org: str, generator: np.random.Generator, end: date
) -> int:
    shares = generator.dirichlet(np.ones(len(CHANNELS)))
    await connection.executemany(
        "insert into attribution_results (result_id, channel, org_id, model_id, attribution_window,"
        " share, ci_low, ci_high, conversions, revenue, spend, position, details)"
        " values (gen_random_uuid(), $1, $2, 'retired-2024', 30, $3, $4, $5, 0, 0, 0, 0, $6)",
        [
            (
                channel,
                org,
                float(share),
                float(share) / 2,
                min(float(share) * 2, 1.0),
                {"note": "computed before the module was rewritten", "day": end.isoformat()},
            )
            for channel, share in zip(CHANNELS, shares, strict=True)
        ],
    )
    return len(CHANNELS)


async def _factors(
    connection: asyncpg.Connection,
    org: str,
    generator: np.random.Generator,
    start: date,
    days: int,
) -> None:
    await connection.copy_records_to_table(
        "external_factors",
        records=[
            (org, factor, start + timedelta(days=day), float(value))
            for factor, values in (
                ("competitor_prices", generator.normal(100, 5, days)),
                ("temperature", 12 - 10 * np.cos(np.arange(days) / 58)),
            )
            for day, value in enumerate(values)
        ],
        columns=("org_id", "factor", "day", "impact"),
    )
    await connection.copy_records_to_table(
        "raw_platform_records",
        records=[
            (org, "meta", "act_1001", {"data": [], "paging": {"cursors": {"after": str(page)}}})
            for page in range(20)
        ],
        columns=("org_id", "platform", "account_id", "payload"),
    )


async def fill_unless_filled(url: str, org: str, *, end: date, days: int) -> Sample | None:
    """Fill a module's database in one transaction; None where the organisation has data there."""
    pool = await postgres.create_pool(
        url,
        application_name="liftos-causal-sample",
        minimum=1,
        maximum=1,
        schema=SCHEMA,
        statement_timeout_seconds=_FILL_SECONDS,
    )
    try:
        async with pool.acquire() as connection, connection.transaction():
            if await connection.fetchval(
                "select exists (select from campaign_performance where org_id = $1)", org
            ):
                return None
            return await fill(connection, org, end=end, days=days)
    finally:
        await pool.close()


def main() -> int:
    """Fill the database of which `LIFTOS_POSTGRES_OWNER_URL` is the address."""
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    parser = argparse.ArgumentParser(prog="liftos_causal.sample")
    parser.add_argument("--org", required=True, help="whose data it is")
    parser.add_argument(
        "--end", type=date.fromisoformat, default=yesterday, help="newest day; by default yesterday"
    )
    parser.add_argument("--days", type=int, default=730, help="how many days")
    arguments = parser.parse_args()
    url = load(MigrateSettings).postgres_owner_url
    assert url is not None, "checked by load"
    sample = asyncio.run(
        fill_unless_filled(
            url.get_secret_value(), arguments.org, end=arguments.end, days=arguments.days
        )
    )
    if sample is None:
        print(f"{arguments.org} has data already, which stays as it is")
    else:
        print(f"{sample.performance_rows} rows of performance up to {arguments.end}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

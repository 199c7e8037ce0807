"""Raw text to entries with quality, ratios and calendar, beside bare pandas."""

import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.results import DifferenceError, Measurement
from liftos_mapping.transform import TransformContext, transform
from liftos_memory.domain.calendar import Hemisphere, calendar_days
from liftos_memory.domain.derived_metrics import derive_columns
from liftos_memory.domain.entry_rules import MAXIMUM_ROWS
from liftos_memory.usecases.batches import prepare_batch

ROWS: Final = 2_000_000
ROUNDS: Final = 3
FIRST_DAY: Final = date(2024, 1, 1)
DAYS: Final = 730
_TODAY: Final = FIRST_DAY + timedelta(days=DAYS + 90)
_CALENDAR_COLUMNS: Final = (
    "iso_year",
    "iso_week",
    "quarter",
    "season",
    "retail_week",
    "fiscal_year",
    "days_to_next_event",
)


def measure() -> Iterator[Measurement]:
    """Measure how much checks, quality and calendar cost beside parsing and dividing."""
    table = raw_rows(ROWS)
    bare = _best(lambda: _bare(table))
    ours = _best(lambda: _ours(table))
    yield Measurement(
        "transform_over_pandas",
        ours / bare,
        3.0,
        "lower",
        f"{ours:.1f} s against {bare:.1f} s for {ROWS:,} rows of text, one thread",
    )


def raw_rows(count: int) -> pa.Table:
    """Return campaign days as Google Ads writes them, all text."""
    draw = np.random.default_rng(20260101)
    impressions = draw.integers(100, 100_000, count)
    clicks = (impressions * draw.random(count) * 0.05).astype(np.int64)
    spend_micros = (clicks * draw.random(count) * 2e6).astype(np.int64)
    conversions = (clicks * draw.random(count) * 10).astype(np.int64) / 100
    days = pa.array([str(FIRST_DAY + timedelta(days=day)) for day in range(DAYS)])
    campaigns = np.arange(count) // DAYS
    names = pa.array([f"Campaign {number}" for number in range(count // DAYS + 1)])

    def text(values: np.typing.NDArray[np.generic]) -> pa.Array:
        return pa.array(values).cast(pa.string())

    def same(value: str) -> pa.Array:
        return pa.repeat(pa.scalar(value), count)

    return pa.table(
        {
            "segments.date": days.take(pa.array(np.arange(count) % DAYS)),
            "customer.id": same("1234567890"),
            "customer.currency_code": same("USD"),
            "customer.time_zone": same("Europe/Berlin"),
            "campaign.id": text(campaigns + 1_000),
            "campaign.name": names.take(pa.array(campaigns)),
            "metrics.cost_micros": text(spend_micros),
            "metrics.impressions": text(impressions),
            "metrics.clicks": text(clicks),
            "metrics.conversions": text(conversions),
            "metrics.conversions_value": text(np.round(conversions * 37.13, 2)),
        }
    )


def _best(work: Callable[[], float]) -> float:
    seconds = []
    totals = []
    for _ in range(ROUNDS):
        started = time.process_time()
        totals.append(work())
        seconds.append(time.process_time() - started)
    if len(set(totals)) > 1:
        raise DifferenceError(f"one table gave different clicks: {sorted(set(totals))}")
    return min(seconds)


def _bare(table: pa.Table) -> float:
    """Parse text and divide, without a check, a key, a score or a calendar; return all clicks."""
    raw = table.to_pandas()
    frame = raw[["customer.id", "campaign.id", "campaign.name"]].copy()
    frame["date"] = pd.to_datetime(raw["segments.date"], format="%Y-%m-%d")
    for name in ("cost_micros", "impressions", "clicks", "conversions", "conversions_value"):
        frame[name] = pd.to_numeric(raw[f"metrics.{name}"])
    spend = frame["cost_micros"] / 1e6
    for name, above, below in (
        ("ctr", frame["clicks"], frame["impressions"]),
        ("cpc", spend, frame["clicks"]),
        ("cpm", spend * 1e3, frame["impressions"]),
        ("conversion_rate", frame["conversions"], frame["clicks"]),
        ("cost_per_conversion", spend, frame["conversions"]),
        ("roas", frame["conversions_value"], spend),
    ):
        frame[name] = above / below
    return float(frame["clicks"].sum())


def _ours(table: pa.Table) -> float:
    """Map, check, key, score, derive and join with the calendar; return all clicks."""
    calendar = _calendar()
    first = pa.scalar(FIRST_DAY, pa.date32()).cast(pa.int32())
    clicks = 0
    for start in range(0, table.num_rows, MAXIMUM_ROWS):
        entries = transform("google_ads", table.slice(start, MAXIMUM_ROWS), TransformContext())
        prepared = prepare_batch(
            entries.table, today=_TODAY, known_platforms=frozenset({"google_ads"})
        )
        if entries.errors or prepared.errors:
            raise DifferenceError("rows that are right were refused")
        rows = prepared.rows
        for name, values in derive_columns(rows).items():
            rows = rows.append_column(name, values)
        places = pc.subtract(rows["date"].cast(pa.int32()), first)
        for name in _CALENDAR_COLUMNS:
            rows = rows.append_column(name, calendar[name].take(places))
        clicks += pc.sum(rows["clicks"]).as_py()
    return float(clicks)


def _calendar() -> pa.Table:
    days = calendar_days(
        FIRST_DAY,
        FIRST_DAY + timedelta(days=DAYS - 1),
        region_codes=("US", "DE"),
        hemisphere=Hemisphere.NORTHERN,
    )
    return pa.table({name: [getattr(day, name) for day in days] for name in _CALENDAR_COLUMNS})

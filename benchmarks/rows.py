"""The rows that are loaded: daily campaign numbers of one large account."""

from typing import Final

import numpy as np
import pyarrow as pa

from liftos.memory.v1 import entry_pb2

DAYS: Final = 200
_METRICS: Final = (
    "spend_micros",
    "revenue_micros",
    "impressions",
    "clicks",
    "link_clicks",
    "conversions_micros",
    "video_views",
)


def campaign_rows(count: int, *, first: int = 0, days: int = DAYS) -> pa.Table:
    """Return rows `first` to `first + count` of an endless, always equal sequence.

    A campaign has one row for each of `days` days from 2025-01-01.
    """
    random = np.random.default_rng(first)
    number = np.arange(first, first + count)
    campaign = number // days
    clicks = random.integers(0, 5_000, count)
    numbers = {
        "spend_micros": random.integers(0, 5_000_000_000, count),
        "revenue_micros": random.integers(0, 20_000_000_000, count),
        "impressions": clicks * random.integers(10, 200, count),
        "clicks": clicks,
        "link_clicks": (clicks * 0.8).astype(np.int64),
        "conversions_micros": (clicks * 20_000),
        "video_views": random.integers(0, 1_000, count),
    }
    day = (np.datetime64("2025-01-01") + (number % days)).astype("datetime64[D]")
    return pa.table(
        {
            "date": pa.array(day, pa.date32()),
            "platform": pa.array(np.where(campaign % 2, "meta", "google_ads")),
            "level": pa.array(["CAMPAIGN"] * count),
            "account_id": pa.array([f"act_{each % 8}" for each in campaign]),
            "account_name": pa.array([f"Account {each % 8}" for each in campaign]),
            "campaign_id": pa.array([str(each) for each in campaign]),
            "campaign_name": pa.array([f"Campaign {each}" for each in campaign]),
            "currency_code": pa.array(["USD"] * count),
            "time_zone": pa.array(["Europe/Berlin"] * count),
            "final": pa.array([True] * count),
            **{name: pa.array(numbers[name], pa.int64()) for name in _METRICS},
        }
    )


def arrow_stream(rows: pa.Table) -> bytes:
    """Return rows as one Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def typed_batch(rows: pa.Table) -> entry_pb2.EntryBatch:
    """Return rows as typed messages."""
    entries = []
    for row in rows.to_pylist():
        metrics = entry_pb2.Metrics(
            currency_code=row["currency_code"], **{name: row[name] for name in _METRICS}
        )
        entries.append(
            entry_pb2.Entry(
                platform=row["platform"],
                level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
                account_id=row["account_id"],
                account_name=row["account_name"],
                campaign_id=row["campaign_id"],
                campaign_name=row["campaign_name"],
                date=row["date"].isoformat(),
                time_zone=row["time_zone"],
                metrics=metrics,
                final=row["final"],
            )
        )
    return entry_pb2.EntryBatch(entries=entries)

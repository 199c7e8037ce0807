"""Figures of causal exports: against SQL by hand, and as of before a restatement."""

import asyncio
import statistics
import time
from collections.abc import Iterator
from typing import Final

import asyncpg
import grpc
import numpy as np
import pyarrow as pa
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks.memory import BATCH, Bench, memory_server
from benchmarks.results import DifferenceError, Measurement
from benchmarks.rows import DAYS, arrow_stream, campaign_rows
from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1 import memory_service_pb2_grpc

ROWS: Final = 1_000_000
RESTATED_ROWS: Final = 100_000
ROUNDS: Final = 5
_LAST_DAY: Final = "2025-07-19"
_CHANNELS: Final = ("google_ads", "meta")
_METRICS: Final = (
    *("spend_micros", "impressions", "clicks", "sent", "delivered", "conversions_micros"),
    *("revenue_micros", "orders"),
)
"""What an export reads, since any of it may be asked for."""
_BY_HAND: Final = f"""
select date, platform, {", ".join(f"sum({name})::bigint as {name}" for name in _METRICS)}
from entries
where org = 'bench' and level = 2 and date between '2025-01-01' and '{_LAST_DAY}'
group by date, platform order by date, platform"""


def measure() -> Iterator[Measurement]:
    """Measure everything, on one store."""
    with memory_server() as bench:
        yield from asyncio.run(_measure(bench))


async def _measure(bench: Bench) -> list[Measurement]:
    await bench.stream(
        {"arrow": arrow_stream(campaign_rows(min(BATCH, ROWS - first), first=first))}
        for first in range(0, ROWS, BATCH)
    )
    await bench.stream([{"arrow": arrow_stream(_orders())}])
    owner = await bench.owner()
    await owner.execute("analyze entries")
    async with grpc.aio.insecure_channel(bench.address) as channel:
        stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
        ours, theirs, before = [], [], b""
        for _ in range(ROUNDS):
            seconds, by_hand = await _bare(owner)
            theirs.append(seconds)
            seconds, before, as_of = await _export(bench, stub)
            ours.append(seconds)
            _check_equal(before, by_hand)
        restated = campaign_rows(RESTATED_ROWS, first=0)
        spend = pa.array([1_000_000] * RESTATED_ROWS, pa.int64())
        place = restated.schema.get_field_index("spend_micros")
        restated = restated.set_column(place, "spend_micros", spend)
        await bench.stream(
            {"arrow": arrow_stream(restated.slice(first, BATCH))}
            for first in range(0, RESTATED_ROWS, BATCH)
        )
        await owner.execute("analyze entries, entry_history")
        now, then = [], []
        for _ in range(ROUNDS):
            now.append((await _export(bench, stub))[0])
            seconds, again, _ = await _export(bench, stub, as_of)
            then.append(seconds)
            if again != before:
                raise DifferenceError("the same moment gave other bytes")
    await owner.close()
    return [
        _ratio("export_over_sql_by_hand", ours, theirs, target=6.0, words="SQL and Arrow by hand"),
        _ratio("export_as_of_over_now", then, now, target=2.0, words="that of now"),
    ]


def _orders() -> pa.Table:
    days = np.datetime64("2025-01-01") + np.arange(DAYS)
    return pa.table(
        {
            "date": pa.array(days, pa.date32()),
            "platform": ["commerce"] * DAYS,
            "level": ["OUTCOME"] * DAYS,
            "account_id": ["shop"] * DAYS,
            "orders": pa.array(40 + np.arange(DAYS) % 9, pa.int64()),
        }
    )


async def _bare(owner: asyncpg.Connection) -> tuple[float, pa.Table]:
    """Read the sums by hand, and make an Arrow stream of them."""
    started = time.perf_counter()
    rows = await owner.fetch(_BY_HAND)
    columns = ("date", "platform", *_METRICS)
    table = pa.table({name: [row[name] for row in rows] for name in columns})
    arrow_stream(table)
    return time.perf_counter() - started, table


async def _export(
    bench: Bench,
    stub: "memory_service_pb2_grpc.MemoryServiceAsyncStub",
    as_of: Timestamp | None = None,
) -> tuple[float, bytes, Timestamp]:
    request = pb.ExportDatasetRequest(
        parent="orgs/bench",
        date_range=marketing_pb2.DateRange(start_date="2025-01-01", end_date=_LAST_DAY),
        format=pb.DATASET_FORMAT_PYMC,
        kpi="orders",
        as_of=as_of,
    )
    started = time.perf_counter()
    pieces = [piece async for piece in stub.ExportDataset(request, metadata=bench.metadata)]
    seconds = time.perf_counter() - started
    return seconds, b"".join(piece.arrow for piece in pieces), pieces[0].as_of


def _check_equal(arrow: bytes, by_hand: pa.Table) -> None:
    with pa.ipc.open_stream(arrow) as reader:
        exported = reader.read_all()
    for place, channel in enumerate(_CHANNELS):
        own = by_hand.take(list(range(place, by_hand.num_rows, len(_CHANNELS))))
        spend = [micros / 1_000_000 for micros in own["spend_micros"].to_pylist()]
        impressions = own["impressions"].to_pylist()
        if (
            exported[f"{channel}_spend"].to_pylist() != spend
            or exported[f"{channel}_impressions"].to_pylist() != impressions
        ):
            raise DifferenceError(f"the sums of {channel} are others")


def _ratio(
    name: str, ours: list[float], theirs: list[float], *, target: float, words: str
) -> Measurement:
    mine, other = statistics.median(ours), statistics.median(theirs)
    detail = f"{mine * 1e3:,.0f} ms over {ROWS:,} entries; {words} {other * 1e3:,.0f} ms"
    return Measurement(name, mine / other, target, "lower", detail)

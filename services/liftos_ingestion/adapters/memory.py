"""Memory as the place that runs write to, over its typed client."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import date, datetime
from typing import Final
from uuid import UUID

import pyarrow as pa
from google.protobuf.timestamp_pb2 import Timestamp

from liftos.common.v1.marketing_pb2 import DateRange
from liftos.memory.v1.entry_pb2 import DateBasis, EntryLevel
from liftos.memory.v1.memory_service_pb2 import MetricsRow
from liftos.memory.v1.slice_pb2 import Lineage, SliceScope
from liftos_client import Client
from liftos_client.errors import (
    DeadlineExceededError,
    EpochFencedError,
    FenceClosedError,
    LiftosError,
    OverloadedError,
    UnavailableError,
)
from liftos_client.frames import split_table
from liftos_client.ingest import IngestStream
from liftos_client.ingest import SliceWriter as ClientSlice
from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_ingestion.domain.reconciliation import DaySums
from liftos_ingestion.reconciliation_ports import ReadLane
from liftos_ingestion.run_ports import (
    HeldSlice,
    HoldLostError,
    Lane,
    Refused,
    SliceWriter,
    Upserted,
    Written,
)
from liftos_ingestion.source_ports import ReadRequest
from liftos_kit.core.errors import StoreUnavailableError

STORE: Final = "memory"

_REQUEST_ID_CHARACTERS: Final = 256
"""What Memory keeps of the platform's id of a call."""

_QUERY_HASH_CHARACTERS: Final = 128
"""What Memory keeps of the digest of a question."""

_RESUME_SECONDS: Final = 60.0
"""How long a slice waits for a Memory that is away; after that it is tried again from the start."""

_COMMITS_AT_ONCE: Final = 2
"""Slices of a worker that are committed at a time: each holds its raw answer three times then."""


def lane_id(lane: Lane) -> str:
    """Return the name of a lane's stream and fence in Memory."""
    key = f"{lane.account_id}\0{lane.level}\0{lane.attribution_key}\0{lane.date_basis}"
    return f"ingestion/{lane.platform}/{hashlib.sha256(key.encode()).hexdigest()[:32]}"


class MemoryEntryWriter:
    """Writes to Memory; see `liftos_ingestion.run_ports.EntryWriter`.

    Args:
        client_of: Gives the client of an org.
    """

    def __init__(self, client_of: Callable[[str], Client]) -> None:
        self._client_of = client_of
        self._commits = asyncio.Semaphore(_COMMITS_AT_ONCE)

    @asynccontextmanager
    async def slice(
        self,
        held: HeldSlice,
        request: ReadRequest,
        *,
        source: str,
        api_version: str,
        fetch_time: datetime,
        request_id: str,
        query_hash: str,
    ) -> AsyncIterator[SliceWriter]:
        """Begin to replace a slice."""
        lane = held.lane
        time = Timestamp()
        time.FromDatetime(fetch_time)
        stream = self._client_of(lane.org).memory.ingest(
            lane_id(lane),
            origin=held.run.hex,
            fencing_epoch=held.epoch,
            resume_seconds=_RESUME_SECONDS,
        )
        with _translated():
            async with stream, AsyncExitStack() as stack:
                opened = stream.slice(
                    SliceScope(
                        platform=lane.platform,
                        account_id=lane.account_id,
                        level=EntryLevel.Value(f"ENTRY_LEVEL_{lane.level}"),
                        date_range=DateRange(
                            start_date=request.start_date.isoformat(),
                            end_date=request.end_date.isoformat(),
                        ),
                        attribution_key=lane.attribution_key,
                        date_basis=DateBasis.Value(f"DATE_BASIS_{lane.date_basis}"),
                    ),
                    Lineage(
                        source=source,
                        api_version=api_version,
                        request_id=request_id[:_REQUEST_ID_CHARACTERS],
                        query_hash=query_hash[:_QUERY_HASH_CHARACTERS],
                        fetch_time=time,
                    ),
                )
                writer = _MemorySlice(
                    self._client_of(lane.org),
                    ReadLane(lane, request.start_date, request.end_date),
                    stream,
                    await stack.enter_async_context(opened),
                    stack=stack,
                    commits=self._commits,
                )
                yield writer
                if not writer.committed:
                    raise AssertionError("a slice ends with a commit or an error")

    async def upsert(self, lane: Lane, rows: pa.Table, *, epoch: int, origin: UUID) -> Upserted:
        """Write rows of a lane."""
        memory = self._client_of(lane.org).memory
        upserted_count, first_row = 0, 0
        refused: list[Refused] = []
        parts = split_table(rows)
        with _translated():
            while (part := await asyncio.to_thread(next, parts, None)) is not None:
                row_count, data = part
                answer = await memory.batch_upsert_entries(
                    data, origin=origin.hex, fence_scope=lane_id(lane), fencing_epoch=epoch
                )
                upserted_count += answer.upserted_count
                refused += [
                    Refused(first_row + it.index, it.field, it.rule, it.message)
                    for it in answer.item_errors
                ]
                first_row += row_count
        return Upserted(upserted_count, refused)

    async def fence(self, lane: Lane, *, epoch: int) -> None:
        """Refuse all writers of a lane below an epoch."""
        with _translated():
            await self._client_of(lane.org).memory.set_write_fence(
                lane_id(lane), epoch=epoch, closed=False
            )


class _MemorySlice:
    """An open slice; see `liftos_ingestion.run_ports.SliceWriter`."""

    def __init__(
        self,
        client: Client,
        scope: ReadLane,
        stream: IngestStream,
        opened: ClientSlice,
        *,
        stack: AsyncExitStack,
        commits: asyncio.Semaphore,
    ) -> None:
        self._client = client
        self._scope = scope
        self._stream = stream
        self._opened = opened
        self._stack = stack
        self._commits = commits
        self.committed = False

    @property
    def acknowledged_count(self) -> int:
        """How many rows Memory has answered for."""
        return self._stream.result.row_count

    async def write(self, rows: pa.Table) -> None:
        """Send rows."""
        with _translated():
            await self._opened.write(rows)

    def refused(self) -> Sequence[Refused]:
        """Return rows that were refused since this was last asked."""
        errors = self._stream.result.item_errors
        found = [Refused(it.row, it.error.field, it.error.rule, it.error.message) for it in errors]
        errors.clear()
        return found

    async def flush(self) -> None:
        """Wait until Memory has answered for all rows."""
        with _translated():
            await self._stream.flush()
        if self._stream.result.unreported_count:
            # What Memory refused of them did not arrive, so it cannot be kept for a person.
            raise StoreUnavailableError(STORE, retry_after_seconds=1.0)

    async def held_counts(self) -> Mapping[date, int]:
        """Return how many entries there are of each day, until the slice is committed."""
        counts: dict[date, int] = {}
        with _translated():
            async for row in _days_of(self._client, self._scope):
                day = date.fromisoformat(row.period_start_date)
                counts[day] = counts.get(day, 0) + row.entry_count
        return counts

    async def commit(self, raw: Callable[[], bytes]) -> Written:
        """Replace the scope of the slice."""
        with _translated():
            async with self._commits:
                self._opened.raw = await asyncio.to_thread(raw)
                await self._stack.aclose()
            self.committed = True
            if not self._opened.name:
                # It is committed, and its name was lost on the way: read again it is unchanged.
                raise StoreUnavailableError(STORE, retry_after_seconds=1.0)
            stored = (await self._client.memory.get_slice(self._opened.name)).slice
        return Written(
            memory_slice=stored.name,
            upserted_count=stored.inserted_count + stored.restated_count + stored.settled_count,
            restated_count=stored.restated_count,
            vanished_count=stored.vanished_count,
        )


class MemoryEntryTotals:
    """What Memory holds; see `liftos_ingestion.reconciliation_ports.EntryTotals`.

    Args:
        client_of: Gives the client of an org.
    """

    def __init__(self, client_of: Callable[[str], Client]) -> None:
        self._client_of = client_of

    async def day_sums(self, read: ReadLane) -> DaySums:
        """Return the sums of a lane's entries by day."""
        sums: dict[date, dict[str, int]] = {}
        with _translated():
            async for row in _days_of(self._client_of(read.lane.org), read):
                day = sums.setdefault(date.fromisoformat(row.period_start_date), {})
                for field, value in row.metrics.ListFields():
                    if isinstance(value, int):
                        day[field.name] = day.get(field.name, 0) + value
        return sums


def _days_of(client: Client, read: ReadLane) -> AsyncIterator[MetricsRow]:
    """Return what Memory holds of a lane; more than one row a day where there is other money."""
    lane = read.lane
    where = (
        f"platform = {_quoted(lane.platform)} AND account_id = {_quoted(lane.account_id)}"
        f' AND date_basis = {lane.date_basis} AND breakdown_key = ""'
    )
    return aiter(
        client.memory.query_metrics(
            read.start_date, read.end_date, level=lane.level, granularity="DAY", filter=where
        )
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (EpochFencedError, FenceClosedError) as error:
        raise HoldLostError from error
    except (UnavailableError, DeadlineExceededError, OverloadedError) as error:
        raise StoreUnavailableError(
            STORE, retry_after_seconds=error.retry_after_seconds or 1.0
        ) from error
    except LiftosError as error:
        raise ReadingError(
            Failure(ErrorClass.PERMANENT, f"Memory refused the slice: {error.message}")
        ) from error

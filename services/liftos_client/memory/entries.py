"""Entries: write, read, watch, compare, undo."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.entry_pb2 import DateBasis, Entry, EntryBatch, EntryLevel
from liftos.memory.v1.slice_pb2 import Restatement
from liftos_client.arguments import (
    Day,
    Freshness,
    consistency,
    day_text,
    enum_value,
    field_mask,
    optional_date_range,
    struct_of,
)
from liftos_client.ingest import IngestStream
from liftos_client.memory.base import MemoryCalls
from liftos_client.pages import Pages
from liftos_client.write_result import WriteResult

if TYPE_CHECKING:
    import pandas as pd

    Level: TypeAlias = EntryLevel.ValueType | str
    Basis: TypeAlias = DateBasis.ValueType | str
    Bucketing: TypeAlias = pb.DigestBucketing.ValueType | str
else:
    # The generated code names these types for type checkers only.
    Level = Basis = Bucketing = int | str


class EntryMethods(MemoryCalls):
    """Methods about entries, slices and fences."""

    async def transform_entries(
        self,
        platform: str,
        rows: Iterable[Mapping[str, Any]],
        *,
        account_id: str = "",
        account_name: str = "",
        currency_code: str = "",
        time_zone: str = "",
        level: Level = "UNSPECIFIED",
        attribution_key: str = "",
        date_basis: Basis = "UNSPECIFIED",
        date: Day = "",
        conversion_actions: Sequence[str] = (),
        timeout_seconds: float | None = None,
    ) -> pb.TransformEntriesResponse:
        """Turn raw rows of a platform into entries without storing them.

        Args:
            platform: A source with a mapping.
            rows: 1 to 500 rows as the platform answered; ids and large numbers as text.
            account_id: This and what follows is used where the rows do not say it themselves.
            account_name: Name of the account.
            currency_code: ISO 4217 code.
            time_zone: IANA name.
            level: Depth of the rows; by default told by the ids that they carry.
            attribution_key: How conversions are credited.
            date_basis: What dates stand for.
            date: Day of the rows.
            conversion_actions: Actions that count as conversions, best first.
            timeout_seconds: Deadline.
        """
        request = pb.TransformEntriesRequest(
            parent=self._parent,
            platform=platform,
            rows=[struct_of(row) for row in rows],
            context=pb.TransformContext(
                account_id=account_id,
                account_name=account_name,
                currency_code=currency_code,
                time_zone=time_zone,
                level=enum_value(EntryLevel, level, field="level"),
                attribution_key=attribution_key,
                date_basis=enum_value(DateBasis, date_basis, field="date_basis"),
                date=day_text(date),
                conversion_actions=conversion_actions,
            ),
        )
        return await self._calls.unary(self._stub.TransformEntries, request, timeout_seconds)

    async def batch_upsert_entries(
        self,
        rows: Iterable[Entry] | bytes,
        *,
        origin: str = "",
        request_id: str = "",
        validate_only: bool = False,
        fence_scope: str = "",
        fencing_epoch: int | None = None,
        timeout_seconds: float | None = None,
    ) -> pb.BatchUpsertEntriesResponse:
        """Write one batch. Good rows land, refused rows come back as item errors.

        Args:
            rows: At most 500 entries, or one Arrow IPC stream of at most 65,536 rows and 8 MiB.
            origin: What writes; purging by it undoes the write.
            request_id: UUID that makes a repeated request answer the same for 24 h; the natural
                key of the rows makes it harmless anyway.
            validate_only: Check and answer only.
            fence_scope: Which fence the write belongs to.
            fencing_epoch: The writer's epoch.
            timeout_seconds: Deadline.

        Raises:
            FenceClosedError: Writes of the scope are closed.
            EpochFencedError: A newer writer has taken over.
            RequestIdReusedError: The request_id was used with another payload.
        """
        request = pb.BatchUpsertEntriesRequest(
            parent=self._parent,
            origin=origin,
            request_id=request_id,
            validate_only=validate_only,
            fence_scope=fence_scope,
            fencing_epoch=fencing_epoch,
        )
        if isinstance(rows, bytes):
            request.arrow = rows
        else:
            request.rows.CopyFrom(EntryBatch(entries=rows))
        return await self._calls.unary(self._stub.BatchUpsertEntries, request, timeout_seconds)

    async def upsert_frame(
        self,
        frame: "pd.DataFrame",
        *,
        origin: str = "",
        validate_only: bool = False,
        fence_scope: str = "",
        fencing_epoch: int | None = None,
        timeout_seconds: float | None = None,
    ) -> WriteResult:
        """Write the rows of a frame, in as many batches as are needed.

        Columns are those of the contract, in any order: date, platform, level, account_id, and what
        else is known. Money and conversions are given in micros (`spend_micros`) or in units
        (`spend`: float, Decimal or text), which are rounded half to even at the sixth place.
        Good rows land, refused rows come back in `item_errors`. For long loads, and to go on after
        a crash, see `ingest`.

        Args:
            frame: The rows.
            origin: What writes; purging by it undoes the write.
            validate_only: Check and answer only.
            fence_scope: Which fence the write belongs to.
            fencing_epoch: The writer's epoch.
            timeout_seconds: Deadline of each batch.

        Raises:
            FrameError: The columns or values do not fit; nothing was sent.
        """
        from liftos_client.frames import split_rows  # noqa: PLC0415  # pandas is slow to load

        result = WriteResult()
        parts = split_rows(frame)
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            rows, data = part
            answer = await self.batch_upsert_entries(
                data,
                origin=origin,
                validate_only=validate_only,
                fence_scope=fence_scope,
                fencing_epoch=fencing_epoch,
                timeout_seconds=timeout_seconds,
            )
            result.add_errors(answer.item_errors, first_row=result.row_count)
            result.row_count += rows
            result.upserted_count += answer.upserted_count
            result.unchanged_count += answer.unchanged_count
            result.write_token = answer.write_token
        return result

    def ingest(
        self,
        stream_id: str,
        *,
        origin: str,
        fence_scope: str = "",
        fencing_epoch: int | None = None,
        resume_seconds: float = 300.0,
        on_progress: Callable[[WriteResult], None] | None = None,
    ) -> IngestStream:
        """Return a stream of batches, to be used in `async with`.

        It goes on by itself after a lost connection, and each batch is applied exactly once. After
        a crash of the caller, `stream.checkpoint` says where to go on.

        Args:
            stream_id: Names the stream; letters, digits, ".", "_", ":", "/", "-".
            origin: What writes; purging by it undoes the write.
            fence_scope: Which fence the writes belong to; empty is the stream's id.
            fencing_epoch: The writer's epoch; writers with a lower one are refused.
            resume_seconds: How long to try to go on without any progress before giving up.
            on_progress: Called with the result after each acknowledgement.
        """
        return IngestStream(
            self._stub,
            self._calls,
            parent=self._parent,
            stream_id=stream_id,
            origin=origin,
            fence_scope=fence_scope,
            fencing_epoch=fencing_epoch,
            resume_seconds=resume_seconds,
            on_progress=on_progress,
        )

    async def get_stream_position(
        self, stream_id: str, *, timeout_seconds: float | None = None
    ) -> pb.GetStreamPositionResponse:
        """Read how far an ingest stream has been committed.

        Raises:
            NotFoundError: Nothing of it has been committed.
        """
        request = pb.GetStreamPositionRequest(parent=self._parent, stream_id=stream_id)
        return await self._calls.unary(self._stub.GetStreamPosition, request, timeout_seconds)

    async def get_entry(
        self,
        name: str,
        *,
        read_mask: Iterable[str] = (),
        at_least_as_fresh: Freshness = None,
        timeout_seconds: float | None = None,
    ) -> Entry:
        """Read one entry.

        Args:
            name: `orgs/{org}/entries/{entry}`, or the id alone.
            read_mask: Fields to return, such as "metrics.clicks"; none means all.
            at_least_as_fresh: A write that the answer has to cover.
            timeout_seconds: Deadline.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.GetEntryRequest(
            name=self._name("entries", name),
            read_mask=field_mask(read_mask),
            consistency=consistency(at_least_as_fresh),
        )
        return (await self._calls.unary(self._stub.GetEntry, request, timeout_seconds)).entry

    def list_entries(
        self,
        *,
        filter: str = "",  # noqa: A002  # the contract's word
        order_by: str = "",
        page_size: int = 0,
        page_token: str = "",
        read_mask: Iterable[str] = (),
        at_least_as_fresh: Freshness = None,
        timeout_seconds: float | None = None,
    ) -> Pages[Entry, pb.ListEntriesResponse]:
        """List entries in a stable order.

        Args:
            filter: Such as `platform = "meta" AND date >= "2026-01-01"`.
            order_by: Fields, each with an optional " desc"; by default "date".
            page_size: At most 1,000; 0 is 100.
            page_token: Where to begin.
            read_mask: Fields to return; none means all.
            at_least_as_fresh: A write that the answer has to cover.
            timeout_seconds: Deadline of each page.
        """
        request = pb.ListEntriesRequest(
            parent=self._parent,
            filter=filter,
            order_by=order_by,
            page_size=page_size,
            read_mask=field_mask(read_mask),
            consistency=consistency(at_least_as_fresh),
        )
        return self._pages(
            self._stub.ListEntries,
            request,
            lambda page: page.entries,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    def watch_entries(
        self,
        *,
        filter: str = "",  # noqa: A002
        resume_token: str = "",
        timeout_seconds: float | None = None,
    ) -> AsyncIterator[pb.WatchEntriesResponse]:
        """Follow changes of entries in commit order; goes on by itself after a lost connection.

        Args:
            filter: Which entries; see `list_entries`.
            resume_token: From an earlier answer; empty starts now, "begin" with the oldest kept.
            timeout_seconds: Ends the watch; None lets it run.
        """
        request = pb.WatchEntriesRequest(
            parent=self._parent, filter=filter, resume_token=resume_token
        )
        return self._calls.resume(self._stub.WatchEntries, request, timeout_seconds)

    async def digest_entries(
        self,
        bucket_count: int,
        *,
        filter: str = "",  # noqa: A002
        bucketing: Bucketing = "ENTRY_ID",
        at_least_as_fresh: Freshness = None,
        timeout_seconds: float | None = None,
    ) -> pb.DigestEntriesResponse:
        """Sum the row hashes of each bucket, from one snapshot.

        Args:
            bucket_count: 1 to 65,536.
            filter: Which entries; see `list_entries`.
            bucketing: "ENTRY_ID", or "KEY_MD5" to compare with a database that cannot compute ids.
            at_least_as_fresh: A write that the answer has to cover.
            timeout_seconds: Deadline.
        """
        request = pb.DigestEntriesRequest(
            parent=self._parent,
            filter=filter,
            bucket_count=bucket_count,
            bucketing=enum_value(pb.DigestBucketing, bucketing, field="bucketing"),
            consistency=consistency(at_least_as_fresh),
        )
        return await self._calls.unary(self._stub.DigestEntries, request, timeout_seconds)

    def list_entry_digests(
        self,
        bucket_count: int,
        buckets: Sequence[int],
        *,
        filter: str = "",  # noqa: A002
        bucketing: Bucketing = "ENTRY_ID",
        page_size: int = 0,
        page_token: str = "",
        at_least_as_fresh: Freshness = None,
        timeout_seconds: float | None = None,
    ) -> Pages[pb.RowDigest, pb.DigestEntriesResponse]:
        """List the row hashes of chosen buckets: the paged form of `DigestEntries`."""
        request = pb.DigestEntriesRequest(
            parent=self._parent,
            filter=filter,
            bucket_count=bucket_count,
            buckets=buckets,
            bucketing=enum_value(pb.DigestBucketing, bucketing, field="bucketing"),
            page_size=page_size,
            consistency=consistency(at_least_as_fresh),
        )
        return self._pages(
            self._stub.DigestEntries,
            request,
            lambda page: page.rows,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def purge_entries(
        self,
        origin: str,
        *,
        force: bool = False,
        filter: str = "",  # noqa: A002
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> pb.PurgeEntriesResponse:
        """Delete what an origin wrote and nothing has overwritten since; count only, by default.

        Args:
            origin: What wrote them.
            force: Delete; False only counts.
            filter: Limits the purge further.
            request_id: UUID; a new one by default.
            timeout_seconds: Deadline.
        """
        request = pb.PurgeEntriesRequest(
            parent=self._parent,
            origin=origin,
            force=force,
            filter=filter,
            request_id=request_id or str(uuid4()),
        )
        return await self._calls.unary(self._stub.PurgeEntries, request, timeout_seconds)

    async def get_slice(
        self, name: str, *, include_raw: bool = False, timeout_seconds: float | None = None
    ) -> pb.GetSliceResponse:
        """Read a slice, with the platform's raw answer where asked.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.GetSliceRequest(name=self._name("slices", name), include_raw=include_raw)
        return await self._calls.unary(self._stub.GetSlice, request, timeout_seconds)

    def list_restatements(
        self,
        *,
        filter: str = "",  # noqa: A002
        slice: str = "",  # noqa: A002  # the contract's word
        change_start_date: Day | None = None,
        change_end_date: Day | None = None,
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Restatement, pb.ListRestatementsResponse]:
        """List what platforms corrected after the fact, newest first.

        Args:
            filter: Which entries; see `list_entries`.
            slice: Only those that this slice brought.
            change_start_date: Only those written from this day on, in UTC.
            change_end_date: Last day; given together with the first.
            page_size: At most 1,000; 0 is 100.
            page_token: Where to begin.
            timeout_seconds: Deadline of each page.
        """
        request = pb.ListRestatementsRequest(
            parent=self._parent,
            filter=filter,
            slice=slice and self._name("slices", slice),
            page_size=page_size,
            change_date_range=optional_date_range(change_start_date, change_end_date),
        )
        return self._pages(
            self._stub.ListRestatements,
            request,
            lambda page: page.restatements,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def set_write_fence(
        self, scope: str, *, epoch: int, closed: bool, timeout_seconds: float | None = None
    ) -> pb.SetWriteFenceResponse:
        """Open or close writes of a scope, and refuse writers with a lower epoch from now on.

        Args:
            scope: A fence_scope of writers, or "*" for all writes.
            epoch: Not lower than now.
            closed: Close or open.
            timeout_seconds: Deadline.

        Raises:
            EpochFencedError: The epoch is lower than now.
        """
        request = pb.SetWriteFenceRequest(
            parent=self._parent, scope=scope, epoch=epoch, closed=closed
        )
        return await self._calls.unary(self._stub.SetWriteFence, request, timeout_seconds)

    async def get_write_fence(
        self, scope: str, *, timeout_seconds: float | None = None
    ) -> pb.WriteFence:
        """Read the fence of a scope.

        Raises:
            NotFoundError: None was ever set.
        """
        request = pb.GetWriteFenceRequest(parent=self._parent, scope=scope)
        return (await self._calls.unary(self._stub.GetWriteFence, request, timeout_seconds)).fence

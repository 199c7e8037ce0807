# ruff: noqa: N802  # methods are named by the contract
"""A Memory for tests of the client: it keeps streams in memory, and fails when told to."""

import asyncio
import base64
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from liftos.common.v1.marketing_pb2 import DateRange
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1 import memory_service_pb2_grpc
from liftos.memory.v1.calendar_pb2 import CalendarDay
from liftos.memory.v1.entry_pb2 import Entry, EntryLevel

Context = grpc.aio.ServicerContext


def unsigned_token(org: str = "acme") -> str:
    """Return a token that names an org; the fake asks for no signature."""
    claims = base64.urlsafe_b64encode(json.dumps({"org": org}).encode()).rstrip(b"=").decode()
    return f"e30.{claims}.c2ln"


@dataclass(frozen=True, slots=True)
class Failure:
    """What a call is answered with in place of its answer."""

    code: grpc.StatusCode
    message: str = "as told"
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    retry_after_seconds: float | None = None
    violations: tuple[tuple[str, str], ...] = ()

    def status(self) -> status_pb2.Status:
        """Return it with its details."""
        details: list[Message] = []
        if self.reason:
            details.append(
                error_details_pb2.ErrorInfo(
                    domain="liftos.dev",
                    reason=f"ERROR_REASON_{self.reason}",
                    metadata=self.metadata,
                )
            )
        if self.violations:
            details.append(
                error_details_pb2.BadRequest(
                    field_violations=[
                        error_details_pb2.BadRequest.FieldViolation(
                            field=name, description=text, reason="string.pattern"
                        )
                        for name, text in self.violations
                    ]
                )
            )
        if self.retry_after_seconds is not None:
            delay = duration_pb2.Duration()
            delay.FromNanoseconds(int(self.retry_after_seconds * 1e9))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        for detail in details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            status.details.append(packed)
        return status


@dataclass(slots=True)
class Stream:
    """What the fake keeps of an ingest stream."""

    last_sequence: int = 0
    checkpoint: bytes = b""
    open_slice: str = ""
    applied: list[pb.IngestEntriesRequest] = field(default_factory=list)


class FakeMemory(memory_service_pb2_grpc.MemoryServiceServicer):
    """Answers from lists; each method first uses up its failures.

    Attributes:
        failures: Per method name, what its next calls are answered with.
        held: Methods that never answer once their failures are used up.
        seen: Every request in order, with the metadata of its call.
        entries: What ListEntries pages through.
        streams: What IngestEntries was given.
        fail_before: Asked before an ingest message is applied.
        fail_after: Asked after it was applied, before it is acknowledged.
    """

    def __init__(self) -> None:
        self.failures: dict[str, deque[Failure]] = defaultdict(deque)
        self.held: set[str] = set()
        self.seen: list[tuple[Message, dict[str, str | bytes]]] = []
        self.entries: list[Entry] = []
        self.arrow_pieces: list[bytes] = []
        self.search = pb.SearchDocumentsResponse()
        self.changes: list[pb.WatchEntriesResponse] = []
        self.streams: dict[str, Stream] = defaultdict(Stream)
        self.acknowledge: Callable[[], Any] | None = None
        self.fail_before: Callable[[pb.IngestEntriesRequest], Failure | None] = lambda _: None
        self.fail_after: Callable[[pb.IngestEntriesRequest], Failure | None] = lambda _: None

    def requests(self, kind: type[Message]) -> list[Message]:
        """Return the requests of one method."""
        return [request for request, _ in self.seen if isinstance(request, kind)]

    async def _receive(self, method: str, request: Message, context: Context[Any, Any]) -> None:
        pairs = context.invocation_metadata() or ()
        self.seen.append((request, {str(key): value for key, value in pairs}))
        if self.failures[method]:
            await abort(context, self.failures[method].popleft())
        if method in self.held:
            await asyncio.Event().wait()

    async def GetEntry(
        self, request: pb.GetEntryRequest, context: Context[Any, Any]
    ) -> pb.GetEntryResponse:
        await self._receive("GetEntry", request, context)
        return pb.GetEntryResponse(entry=Entry(name=request.name))

    async def ListEntries(
        self, request: pb.ListEntriesRequest, context: Context[Any, Any]
    ) -> pb.ListEntriesResponse:
        await self._receive("ListEntries", request, context)
        start, size = int(request.page_token or 0), request.page_size or 100
        end = start + size
        return pb.ListEntriesResponse(
            entries=self.entries[start:end],
            next_page_token=str(end) if end < len(self.entries) else "",
        )

    async def BatchUpsertEntries(
        self, request: pb.BatchUpsertEntriesRequest, context: Context[Any, Any]
    ) -> pb.BatchUpsertEntriesResponse:
        await self._receive("BatchUpsertEntries", request, context)
        return pb.BatchUpsertEntriesResponse(
            upserted_count=_row_count(request), write_token=f"token-{len(self.seen)}"
        )

    async def GetOrgSettings(
        self, request: pb.GetOrgSettingsRequest, context: Context[Any, Any]
    ) -> pb.GetOrgSettingsResponse:
        await self._receive("GetOrgSettings", request, context)
        return pb.GetOrgSettingsResponse()

    async def UpdateOrgSettings(
        self, request: pb.UpdateOrgSettingsRequest, context: Context[Any, Any]
    ) -> pb.UpdateOrgSettingsResponse:
        await self._receive("UpdateOrgSettings", request, context)
        return pb.UpdateOrgSettingsResponse(org_settings=request.org_settings)

    async def QueryMetricsArrow(
        self, request: pb.QueryMetricsArrowRequest, context: Context[Any, Any]
    ) -> AsyncIterator[pb.QueryMetricsArrowResponse]:
        pieces = self.arrow_pieces
        if self.failures["QueryMetricsArrow"]:
            yield pb.QueryMetricsArrowResponse(arrow=pieces[0])
        await self._receive("QueryMetricsArrow", request, context)
        for piece in pieces:
            yield pb.QueryMetricsArrowResponse(arrow=piece)

    async def SearchDocuments(
        self, request: pb.SearchDocumentsRequest, context: Context[Any, Any]
    ) -> pb.SearchDocumentsResponse:
        await self._receive("SearchDocuments", request, context)
        return self.search

    async def CompareMetrics(
        self, request: pb.CompareMetricsRequest, context: Context[Any, Any]
    ) -> pb.CompareMetricsResponse:
        await self._receive("CompareMetrics", request, context)
        return pb.CompareMetricsResponse(
            comparisons=[
                pb.MetricComparison(member="meta", metric=metric, value=1.5)
                for metric in request.metrics
            ],
            baseline_date_range=DateRange(start_date="2025-12-01", end_date="2025-12-31"),
        )

    async def ListInsights(
        self, request: pb.ListInsightsRequest, context: Context[Any, Any]
    ) -> pb.ListInsightsResponse:
        await self._receive("ListInsights", request, context)
        return pb.ListInsightsResponse()

    async def ListCalendarDays(
        self, request: pb.ListCalendarDaysRequest, context: Context[Any, Any]
    ) -> pb.ListCalendarDaysResponse:
        await self._receive("ListCalendarDays", request, context)
        return pb.ListCalendarDaysResponse(
            calendar_days=[CalendarDay(date=request.date_range.start_date, day_of_week=1)]
        )

    async def WatchEntries(
        self, request: pb.WatchEntriesRequest, context: Context[Any, Any]
    ) -> AsyncIterator[pb.WatchEntriesResponse]:
        """Each call gives one change more, and then fails where it is told to."""
        start = int(request.resume_token or 0)
        for change in self.changes[start : start + 1]:
            yield change
        await self._receive("WatchEntries", request, context)
        for change in self.changes[start + 1 :]:
            yield change

    async def GetStreamPosition(
        self, request: pb.GetStreamPositionRequest, context: Context[Any, Any]
    ) -> pb.GetStreamPositionResponse:
        await self._receive("GetStreamPosition", request, context)
        stream = self.streams.get(request.stream_id)
        if stream is None or not stream.last_sequence:
            missing = Failure(grpc.StatusCode.NOT_FOUND, reason="RESOURCE_NOT_FOUND")
            await abort(context, missing)
            raise AssertionError("aborted")
        return pb.GetStreamPositionResponse(
            last_sequence=stream.last_sequence,
            checkpoint=stream.checkpoint,
            open_slice=stream.open_slice,
        )

    async def IngestEntries(
        self,
        request_iterator: AsyncIterator[pb.IngestEntriesRequest],
        context: Context[Any, Any],
    ) -> AsyncIterator[pb.IngestEntriesResponse]:
        stream: Stream | None = None
        async for message in request_iterator:
            if stream is None:
                assert message.parent
                assert message.stream_id
                stream = self.streams[message.stream_id]
            if failure := self.fail_before(message):
                await abort(context, failure)
            answer = pb.IngestEntriesResponse(sequence=message.sequence)
            if message.sequence <= stream.last_sequence:
                answer.duplicate = True
            else:
                assert message.sequence == stream.last_sequence + 1
                _apply(stream, message, answer)
            if failure := self.fail_after(message):
                await abort(context, failure)
            if self.acknowledge is not None:
                await self.acknowledge()
            yield answer


def _apply(
    stream: Stream, message: pb.IngestEntriesRequest, answer: pb.IngestEntriesResponse
) -> None:
    stream.last_sequence = message.sequence
    stream.checkpoint = message.checkpoint or stream.checkpoint
    stream.applied.append(message)
    match message.WhichOneof("action"):
        case "open_slice":
            assert not stream.open_slice
            stream.open_slice = f"orgs/acme/slices/{message.sequence:032x}"
            answer.slice = stream.open_slice
        case "commit_slice" | "abort_slice":
            assert stream.open_slice
            answer.slice, stream.open_slice = stream.open_slice, ""
            answer.vanished_count = 3
        case _:
            answer.slice = stream.open_slice
            answer.upserted_count = _row_count(message)
            for index, entry in enumerate(message.rows.entries):
                if not entry.account_id:
                    answer.upserted_count -= 1
                    answer.item_errors.add(index=index, field="account_id", rule="REQUIRED")
    answer.write_token = f"token-{message.sequence}"


def _row_count(request: pb.IngestEntriesRequest | pb.BatchUpsertEntriesRequest) -> int:
    if not request.arrow:
        return len(request.rows.entries)
    import pyarrow as pa

    with pa.ipc.open_stream(request.arrow) as reader:
        return int(reader.read_all().num_rows)


async def abort(context: Context[Any, Any], failure: Failure) -> None:
    """Answer a call with a failure."""
    await context.abort_with_status(rpc_status.to_status(failure.status()))


def entries(count: int, *, account_id: str = "7") -> Sequence[Entry]:
    """Return entries that differ by campaign."""
    return [
        Entry(
            platform="meta",
            level=EntryLevel.ENTRY_LEVEL_CAMPAIGN,
            account_id=account_id,
            campaign_id=str(number),
            date="2026-01-05",
        )
        for number in range(count)
    ]


@asynccontextmanager
async def serving(memory: FakeMemory) -> AsyncIterator[str]:
    """Serve a fake on a free port, and give its address."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 16 * 1024 * 1024)])
    memory_service_pb2_grpc.add_MemoryServiceServicer_to_server(memory, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)

# ruff: noqa: PT012  # what is left by an exception is under test
"""Ingest streams over a real channel: order, resumption, slices, results."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.inprocess.client.fake_memory import (
    Context,
    Failure,
    FakeMemory,
    entries,
    serving,
    unsigned_token,
)

from liftos.common.v1.marketing_pb2 import DateRange
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.entry_pb2 import Entry, EntryLevel
from liftos.memory.v1.slice_pb2 import SliceScope
from liftos_client import Client, connect
from liftos_client.errors import (
    EpochFencedError,
    FrameError,
    ServiceFaultError,
    UnavailableError,
)
from liftos_client.write_result import WriteResult

_LOST = Failure(grpc.StatusCode.UNAVAILABLE, "connection lost")
_SCOPE = SliceScope(
    platform="meta",
    account_id="7",
    level=EntryLevel.ENTRY_LEVEL_CAMPAIGN,
    date_range=DateRange(start_date="2026-01-05", end_date="2026-01-05"),
)


def _applied_campaigns(memory: FakeMemory, stream_id: str) -> list[str]:
    applied = memory.streams[stream_id].applied
    return [entry.campaign_id for message in applied for entry in message.rows.entries]


def _actions(memory: FakeMemory, stream_id: str) -> list[str | None]:
    return [message.WhichOneof("action") for message in memory.streams[stream_id].applied]


async def test_rows_are_split_and_counted(client: Client, memory: FakeMemory) -> None:
    """1,201 typed rows go as three messages, with the checkpoint on the last."""
    progress: list[int] = []

    def report(result: WriteResult) -> None:
        progress.append(result.row_count)

    async with client.memory.ingest("s", origin="run/1", on_progress=report) as stream:
        await stream.write(entries(1_201), checkpoint=b"page 2")
    applied = memory.streams["s"].applied
    assert [len(message.rows.entries) for message in applied] == [500, 500, 201]
    assert [message.checkpoint for message in applied] == [b"", b"", b"page 2"]
    assert {message.origin for message in applied} == {"run/1"}
    assert (stream.result.row_count, stream.result.upserted_count) == (1_201, 1_201)
    assert (stream.result.last_sequence, stream.result.write_token) == (3, "token-3")
    assert progress == [500, 1_000, 1_201]


async def test_at_most_four_wait_for_acknowledgement(client: Client, memory: FakeMemory) -> None:
    """A fifth batch is not sent while four are unacknowledged."""
    acknowledge = asyncio.Event()
    memory.acknowledge = acknowledge.wait
    async with client.memory.ingest("s", origin="run/1") as stream:
        for _ in range(4):
            await stream.write(entries(1))
        fifth = asyncio.create_task(stream.write(entries(1)))
        done, _ = await asyncio.wait({fifth}, timeout=0.2)
        assert not done
        acknowledge.set()
        await fifth
    assert stream.result.last_sequence == 5


async def test_a_stream_goes_on_after_a_loss_before_a_batch(
    client: Client, memory: FakeMemory
) -> None:
    """A batch that was not applied is sent again, and counted."""
    failures = iter([_LOST, _LOST])
    memory.fail_before = lambda message: next(failures, None) if message.sequence == 3 else None
    async with client.memory.ingest("s", origin="run/1") as stream:
        for number in range(6):
            await stream.write(entries(10)[number : number + 1])
    assert _applied_campaigns(memory, "s") == ["0", "1", "2", "3", "4", "5"]
    assert (stream.result.upserted_count, stream.result.unreported_count) == (6, 0)


async def test_a_batch_whose_acknowledgement_was_lost_is_not_sent_again(
    client: Client, memory: FakeMemory
) -> None:
    """It is applied once, and the result says that its counts are not known."""
    failures = iter([_LOST])
    memory.fail_after = lambda message: next(failures, None) if message.sequence == 2 else None
    async with client.memory.ingest("s", origin="run/1") as stream:
        for number in range(4):
            await stream.write(entries(10)[number : number + 1])
    assert _applied_campaigns(memory, "s") == ["0", "1", "2", "3"]
    assert stream.result.row_count == 4
    assert (stream.result.upserted_count, stream.result.unreported_count) == (3, 1)


@settings(max_examples=15)
@given(
    before=st.lists(st.integers(1, 12), max_size=3),
    after=st.lists(st.integers(1, 12), max_size=3),
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=12),
)
def test_every_batch_is_applied_exactly_once_wherever_it_breaks(
    before: Sequence[int], after: Sequence[int], sizes: Sequence[int]
) -> None:
    """Any losses before and after any batches leave all rows there, once and in order."""

    async def run() -> None:
        memory = FakeMemory()  # type: ignore[abstract]
        async with (
            serving(memory) as target,
            connect(target, token=unsigned_token()) as client,
        ):
            left_before, left_after = list(before), list(after)

            def fail(left: list[int], message: pb.IngestEntriesRequest) -> Failure | None:
                if message.sequence not in left:
                    return None
                left.remove(message.sequence)
                return Failure(grpc.StatusCode.UNAVAILABLE, retry_after_seconds=0.0)

            memory.fail_before = lambda message: fail(left_before, message)
            memory.fail_after = lambda message: fail(left_after, message)
            everything = entries(sum(sizes))
            place = 0
            async with client.memory.ingest("s", origin="run/1") as stream:
                for size in sizes:
                    await stream.write(everything[place : place + size])
                    place += size
            assert _applied_campaigns(memory, "s") == [each.campaign_id for each in everything]
            result = stream.result
            assert result.row_count == len(everything)
            assert result.upserted_count + result.unreported_count == len(everything)
            assert result.last_sequence == len(sizes)

    asyncio.run(run())


async def test_a_refused_writer_stops(client: Client, memory: FakeMemory) -> None:
    """An error that does not pass ends the stream and reaches the writer."""
    memory.fail_before = lambda _: Failure(
        grpc.StatusCode.FAILED_PRECONDITION, reason="EPOCH_FENCED", metadata={"current_epoch": "9"}
    )
    with pytest.raises(EpochFencedError) as raised:
        async with client.memory.ingest("s", origin="run/1", fencing_epoch=3) as stream:
            await stream.write(entries(1))
            await stream.flush()
    assert raised.value.metadata["current_epoch"] == "9"
    assert memory.streams["s"].applied == []


async def test_a_stream_gives_up_after_its_time(client: Client, memory: FakeMemory) -> None:
    """Where nothing moves for `resume_seconds`, the last error is raised."""
    memory.fail_before = lambda _: _LOST
    with pytest.raises(UnavailableError, match="connection lost"):
        async with client.memory.ingest("s", origin="run/1", resume_seconds=0.2) as stream:
            await stream.write(entries(1))


async def test_refused_rows_are_named_by_their_place(client: Client, memory: FakeMemory) -> None:
    """Item errors carry the row's place among all rows, whatever batch it went in."""
    rows = list(entries(1_100))
    for place in (3, 700, 1_099):
        rows[place] = Entry(platform="meta")
    async with client.memory.ingest("s", origin="run/1") as stream:
        await stream.write(rows[:50])
        await stream.write(rows[50:])
    assert [refused.row for refused in stream.result.item_errors] == [3, 700, 1_099]
    assert stream.result.refused_count == 3
    assert stream.result.upserted_count == 1_097


async def test_a_slice_is_committed_at_its_end(client: Client, memory: FakeMemory) -> None:
    """Opening, rows and commit go in order; the raw answer goes with the commit."""
    async with (
        client.memory.ingest("s", origin="run/1") as stream,
        stream.slice(_SCOPE, final=True) as piece,
    ):
        await piece.write(entries(3))
        piece.raw = b"{}"
    assert _actions(memory, "s") == ["open_slice", "rows", "commit_slice"]
    opening, _, commit = memory.streams["s"].applied
    assert opening.open_slice.scope == _SCOPE
    assert opening.open_slice.final
    assert commit.commit_slice.raw == b"{}"
    assert piece.name == f"orgs/acme/slices/{1:032x}"
    # Staged rows are not counted twice: the commit says what became of them.
    assert (stream.result.upserted_count, stream.result.vanished_count) == (0, 3)


async def test_a_slice_is_aborted_when_its_writer_fails(client: Client, memory: FakeMemory) -> None:
    """The exception goes on, and nothing of the slice stays."""
    with pytest.raises(ValueError, match="page 2"):
        async with client.memory.ingest("s", origin="run/1") as stream, stream.slice(_SCOPE):
            await stream.write(entries(3))
            raise ValueError("page 2 was cut off")
    assert _actions(memory, "s") == ["open_slice", "rows", "abort_slice"]
    assert "ValueError" in memory.streams["s"].applied[-1].abort_slice.reason
    assert memory.streams["s"].open_slice == ""


async def test_a_slice_survives_lost_connections(client: Client, memory: FakeMemory) -> None:
    """Losses around opening, rows and commit leave one slice, committed once."""
    losses = {1, 2, 3}

    def lose(message: pb.IngestEntriesRequest) -> Failure | None:
        if message.sequence not in losses:
            return None
        losses.remove(message.sequence)
        return _LOST

    memory.fail_after = lose
    async with client.memory.ingest("s", origin="run/1") as stream, stream.slice(_SCOPE) as piece:
        await piece.write(entries(3))
    assert _actions(memory, "s") == ["open_slice", "rows", "commit_slice"]
    assert memory.streams["s"].open_slice == ""
    assert stream.result.unreported_count == 3


async def test_a_new_writer_goes_on_from_the_checkpoint(client: Client, memory: FakeMemory) -> None:
    """It learns the checkpoint, aborts a slice left open, and counts on."""
    with pytest.raises(RuntimeError):
        async with client.memory.ingest("s", origin="run/1") as stream:
            await stream.write(entries(1), checkpoint=b"page 1")
            await stream.flush()
            opening = pb.IngestEntriesRequest(open_slice=pb.SliceOpening(scope=_SCOPE))
            await stream.send(opening)
            await stream.flush()
            raise RuntimeError("the writer dies")
    async with client.memory.ingest("s", origin="run/2") as again:
        assert again.checkpoint == b"page 1"
        await again.write(entries(1))
    assert _actions(memory, "s") == ["rows", "open_slice", "abort_slice", "rows"]
    assert again.result.last_sequence == 4


async def test_frames_and_tables_go_as_arrow(client: Client, memory: FakeMemory) -> None:
    """A frame of 70,000 rows goes as two batches; a record batch goes as it is."""
    frame = pd.DataFrame(
        {
            "date": pd.Timestamp("2026-01-05"),
            "platform": "meta",
            "level": "CAMPAIGN",
            "account_id": "7",
            "campaign_id": [str(number) for number in range(70_000)],
        }
    )
    async with client.memory.ingest("s", origin="run/1") as stream:
        await stream.write(frame)
        await stream.write(pa.RecordBatch.from_pydict({"account_id": ["7"]}))
    assert [message.arrow != b"" for message in memory.streams["s"].applied] == [True] * 3
    assert stream.result.upserted_count == 70_001


async def test_a_frame_that_does_not_fit_leaves_the_stream_usable(
    client: Client, memory: FakeMemory
) -> None:
    """Nothing of it is sent, and the next rows are."""
    async with client.memory.ingest("s", origin="run/1") as stream:
        with pytest.raises(FrameError, match="clics"):
            await stream.write(pd.DataFrame({"clics": [1]}))
        await stream.write(entries(1))
    assert stream.result.last_sequence == 1


async def test_a_checkpoint_needs_rows(client: Client) -> None:
    """A checkpoint that nothing carries is refused, not lost."""
    async with client.memory.ingest("s", origin="run/1") as stream:
        with pytest.raises(FrameError, match="checkpoint"):
            await stream.write([], checkpoint=b"page 3")


class ConfusedMemory(FakeMemory):
    """A Memory that acknowledges what it was not sent."""

    async def IngestEntries(  # noqa: N802 - named by the contract
        self, request_iterator: AsyncIterator[pb.IngestEntriesRequest], context: Context[Any, Any]
    ) -> AsyncIterator[pb.IngestEntriesResponse]:
        """Answer with the number of another message."""
        async for answer in super().IngestEntries(request_iterator, context):
            answer.sequence += 1
            yield answer


async def test_an_acknowledgement_out_of_order_is_a_fault_of_the_service() -> None:
    """It ends the stream, as nobody knows what is committed."""
    async with (
        serving(ConfusedMemory()) as target,  # type: ignore[abstract]
        connect(target, token=unsigned_token()) as client,
    ):
        with pytest.raises(ServiceFaultError, match="message 2 out of order"):
            async with client.memory.ingest("s", origin="run/1") as stream:
                await stream.write(entries(1))


async def test_progress_is_told_where_an_acknowledgement_was_lost(
    client: Client, memory: FakeMemory
) -> None:
    """What turns out to be committed counts, also where nothing comes after it."""
    failures = iter([_LOST])
    memory.fail_after = lambda message: next(failures, None) if message.sequence == 2 else None
    progress: list[int] = []
    async with client.memory.ingest(
        "s", origin="run/1", on_progress=lambda result: progress.append(result.row_count)
    ) as stream:
        await stream.write(entries(3))
        await stream.write(entries(2))
    assert progress == [3, 5]


async def test_a_stream_goes_on_after_the_other_side_cancelled_it(
    client: Client, memory: FakeMemory
) -> None:
    """Proxies end calls with CANCELLED; that is a lost connection, not the writer's wish."""
    failures = iter([Failure(grpc.StatusCode.CANCELLED)])
    memory.fail_before = lambda message: next(failures, None) if message.sequence == 2 else None
    async with client.memory.ingest("s", origin="run/1") as stream:
        await stream.write(entries(1))
        await stream.write(entries(1))
    assert stream.result.last_sequence == 2


async def test_a_writer_that_is_cancelled_ends(client: Client, memory: FakeMemory) -> None:
    """Cancelling a task that waits for acknowledgements leaves nothing running."""
    memory.acknowledge = asyncio.Event().wait
    written = asyncio.Event()

    async def write() -> None:
        async with client.memory.ingest("s", origin="run/1") as stream:
            await stream.write(entries(1))
            written.set()

    before = asyncio.all_tasks()
    task = asyncio.create_task(write())
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    names = {str(each.get_coro()) for each in asyncio.all_tasks() - before}
    assert not [name for name in names if "IngestStream" in name]


async def test_rows_for_a_stream_that_is_not_open_are_refused(client: Client) -> None:
    """Before and after `async with` nothing would send them."""
    stream = client.memory.ingest("s", origin="run/1")
    with pytest.raises(RuntimeError, match="not open"):
        await stream.write(entries(1))
    async with stream:
        await stream.write(entries(1))
    with pytest.raises(RuntimeError, match="not open"):
        await stream.write(entries(1))


async def test_a_client_that_is_closed_ends_its_streams(client: Client, memory: FakeMemory) -> None:
    """A writer does not wait for ever for a channel that is gone."""
    memory.acknowledge = asyncio.Event().wait
    with pytest.raises(grpc.aio.UsageError, match="closed"):
        async with client.memory.ingest("s", origin="run/1") as stream:
            await stream.write(entries(1))
            await client.close()
            await stream.flush()


async def test_a_client_that_is_closed_while_it_reconnects_ends_its_streams(
    client: Client, memory: FakeMemory
) -> None:
    """Nor does it while the stream asks how far the service has come."""
    memory.fail_before = lambda _: _LOST
    with pytest.raises(grpc.aio.UsageError, match="closed"):
        async with client.memory.ingest("s", origin="run/1") as stream:
            memory.held.add("GetStreamPosition")
            await stream.write(entries(1))
            async with asyncio.timeout(10):
                while len(memory.requests(pb.GetStreamPositionRequest)) < 2:  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.01)
                await client.close()
                await stream.flush()

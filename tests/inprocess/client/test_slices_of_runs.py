"""Slices that runs write, where the answers of Memory are lost on the way."""

from datetime import UTC, date, datetime
from uuid import UUID

import grpc
import pytest
from tests.inprocess.client.fake_memory import Failure, FakeMemory

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_client import Client
from liftos_ingestion.adapters.memory import MemoryEntryWriter
from liftos_ingestion.run_ports import HeldSlice, Lane
from liftos_ingestion.source_ports import PlatformAccount, ReadRequest
from liftos_kit.core.errors import StoreUnavailableError

_DAY = date(2026, 1, 5)
_HELD = HeldSlice(
    lane=Lane("acme", "meta", "7", "CAMPAIGN", "", "INTERACTION"),
    slice=UUID(int=1),
    run=UUID(int=2),
    connection="shop",
    start_date=_DAY,
    end_date=_DAY,
    priority=0,
    attempt=1,
    epoch=3,
    platform_job=None,
)
_REQUEST = ReadRequest(
    account=PlatformAccount("7", "Shop", "Europe/Berlin", "EUR"),
    level="CAMPAIGN",
    date_basis="INTERACTION",
    attribution_key="",
    start_date=_DAY,
    end_date=_DAY,
)


async def test_a_commit_whose_name_was_lost_is_no_failure_of_the_slice(
    client: Client, memory: FakeMemory
) -> None:
    """It stands; as nobody knows its name the run reads it again, as after any outage."""
    losses = {1, 2}

    def lose(message: pb.IngestEntriesRequest) -> Failure | None:
        if message.sequence not in losses:
            return None
        losses.remove(message.sequence)
        return Failure(grpc.StatusCode.UNAVAILABLE, "connection lost")

    memory.fail_after = lose
    writing = MemoryEntryWriter(lambda _: client).slice(
        _HELD,
        _REQUEST,
        source="meta",
        api_version="v26.0",
        fetch_time=datetime.now(UTC),
        request_id="call-1",
        query_hash="q" * 64,
    )
    with pytest.raises(StoreUnavailableError):
        async with writing as writer:
            await writer.commit(lambda: b"{}")
    (stream,) = memory.streams.values()
    assert [it.WhichOneof("action") for it in stream.applied] == ["open_slice", "commit_slice"]

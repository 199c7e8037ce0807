"""Fences: closed scopes, older writers, and takeovers while something is being written."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest
from tests.e2e.memory.conftest import ClientFactory
from tests.e2e.memory.contract_calls import Rpc, exposed_methods, outcome, valid_request
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos.common.v1 import access_pb2
from liftos.memory.v1 import entry_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.testing.server import RunningServer, authorization
from liftos_local.testing import TestDatabase

_NOT_A_WRITE = ("EvaluateSearch", "GetStreamPosition", "SetWriteFence")
_MOMENT_SECONDS = 0.3
_TARGET = "json://hooks.example.com/liftos"


@pytest.fixture(scope="module")
async def channel(memory_server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel without a token."""
    async with grpc.aio.insecure_channel(memory_server.target) as opened:
        yield opened


@pytest.fixture(scope="module")
async def rpcs(channel: grpc.aio.Channel) -> tuple[Rpc, ...]:
    """All methods of the server."""
    return await exposed_methods(channel)


def _entries(clicks: int) -> entry_pb2.EntryBatch:
    entry = entry_pb2.Entry(
        platform="meta",
        level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
        account_id="act",
        campaign_id="c1",
        date="2025-03-03",
        metrics=entry_pb2.Metrics(clicks=clicks),
    )
    return entry_pb2.EntryBatch(entries=[entry])


async def _write(
    client: Any, org: str, *, scope: str = "", epoch: int | None = None, clicks: int = 1
) -> Refusal | None:
    request = pb.BatchUpsertEntriesRequest(
        parent=f"orgs/{org}", rows=_entries(clicks), fence_scope=scope, fencing_epoch=epoch
    )
    try:
        await client.BatchUpsertEntries(request)
    except grpc.aio.AioRpcError as error:
        return refusal_of(error)
    return None


async def _set(client: Any, org: str, scope: str, epoch: int, *, closed: bool = False) -> None:
    await client.SetWriteFence(
        pb.SetWriteFenceRequest(parent=f"orgs/{org}", scope=scope, epoch=epoch, closed=closed)
    )


async def test_a_closed_scope(memory_client: ClientFactory, org: str) -> None:
    """Writers of the scope are refused whatever their epoch, all others go on, until it opens."""
    client = memory_client(org)
    await _set(client, org, "run", 3, closed=True)
    for epoch in (None, 2, 3, 4):
        refusal = await _write(client, org, scope="run", epoch=epoch)
        assert refusal is not None
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refusal.reason == "ERROR_REASON_FENCE_CLOSED"
        assert refusal.metadata == {"scope": "run", "epoch": "3"}
    assert await _write(client, org, scope="other") is None
    assert await _write(client, org) is None
    await _set(client, org, "run", 3)
    assert await _write(client, org, scope="run", epoch=3) is None


async def test_a_closed_org_refuses_every_write(
    channel: grpc.aio.Channel,
    rpcs: tuple[Rpc, ...],
    memory_client: ClientFactory,
    database: TestDatabase,
    org: str,
) -> None:
    """With the fence "*" closed no method that writes does, while reads go on."""
    client = memory_client(org)
    assert await _write(client, org) is None
    # What a route is asked for before the fence is: whether it is there, and where it leads.
    (create,) = (it for it in rpcs if it.method.name == "CreateInsightRoute")
    route: Any = valid_request(create, org)
    route.insight_route.target_url = _TARGET
    assert await outcome(channel, create, route, authorization(org)) is None
    await _set(client, org, "*", 7, closed=True)
    tried = 0
    for rpc in rpcs:
        role = rpc.method.GetOptions().Extensions[access_pb2.required_role]
        if role == access_pb2.ROLE_READER or rpc.method.name in _NOT_A_WRITE:
            continue
        request: Any = valid_request(rpc, org)
        if "force" in rpc.method.input_type.fields_by_name:
            request.force = True
        if rpc is create:
            request.insight_route.target_url = _TARGET
            request.request_id = str(uuid4())
        refusal = await outcome(channel, rpc, request, authorization(org))
        assert refusal is not None, rpc.path
        if refusal.code is not grpc.StatusCode.UNIMPLEMENTED:
            tried += 1
            assert refusal.reason == "ERROR_REASON_FENCE_CLOSED", rpc.path
            assert refusal.metadata == {"scope": "*", "epoch": "7"}
    assert tried >= 10
    listed = await client.ListEntries(pb.ListEntriesRequest(parent=f"orgs/{org}"))
    assert len(listed.entries) == 1
    admin = await asyncpg.connect(database.owner_url)
    count = await admin.fetchval("select count(*) from memory.commits where org = $1", org)
    await admin.close()
    assert count == 2, "those of the entry and of the route"


async def test_older_writers_and_fences(memory_client: ClientFactory, org: str) -> None:
    """A higher epoch takes over by writing; a lower one is refused, as is a fence set back."""
    client = memory_client(org)
    assert await _write(client, org, scope="run", epoch=1) is None
    assert await _write(client, org, scope="run", epoch=5) is None
    refusal = await _write(client, org, scope="run", epoch=4)
    assert refusal is not None
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "ERROR_REASON_EPOCH_FENCED"
    assert refusal.metadata == {"current_epoch": "5", "received_epoch": "4"}
    assert await _write(client, org, scope="run", epoch=5) is None
    nameless = await _write(client, org, scope="run")
    assert nameless is not None, "a writer without an epoch is one of epoch 0"
    assert nameless.metadata == {"current_epoch": "5", "received_epoch": "0"}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _set(client, org, "run", 4)
    assert refusal_of(caught.value).reason == "ERROR_REASON_EPOCH_FENCED"
    fence = await client.GetWriteFence(pb.GetWriteFenceRequest(parent=f"orgs/{org}", scope="run"))
    assert (fence.fence.epoch, fence.fence.closed) == (5, False)


class OldWriter:
    """A writer whose transaction is under way, as that of a server that is slow."""

    def __init__(self, connection: asyncpg.Connection, org: str) -> None:
        self._connection = connection
        self._org = org

    async def begin(self, *, scope: str, epoch: int) -> None:
        """Begin to write, and stay there."""
        await self._connection.execute("begin")
        await self._connection.fetchrow(
            "select * from begin_write($1, $2, $3)", self._org, scope, epoch
        )

    async def commit(self) -> None:
        """Finish the write."""
        await self._connection.fetchval("select end_write($1, 'old', null)", self._org)
        await self._connection.execute("commit")


@pytest.fixture
async def old_writer(database: TestDatabase, org: str) -> AsyncIterator[OldWriter]:
    """A writer on a connection of its own."""
    connection = await asyncpg.connect(database.url, server_settings={"search_path": "memory"})
    yield OldWriter(connection, org)
    await connection.close()


@pytest.mark.parametrize("scope", ["run", "*"])
async def test_a_fence_waits_for_writes_under_way(
    scope: str, old_writer: OldWriter, memory_client: ClientFactory, org: str
) -> None:
    """SetWriteFence returns only when no write from before is under way any more."""
    client = memory_client(org)
    await old_writer.begin(scope="run", epoch=1)
    closing = asyncio.ensure_future(_set(client, org, scope, 2, closed=True))
    done, _ = await asyncio.wait({closing}, timeout=_MOMENT_SECONDS)
    assert not done, "the old write is still under way"
    await old_writer.commit()
    await asyncio.wait_for(closing, 10)
    refusal = await _write(client, org, scope="run", epoch=1)
    assert refusal is not None
    assert refusal.reason == "ERROR_REASON_FENCE_CLOSED"


async def test_a_takeover_waits_for_writes_under_way(
    old_writer: OldWriter, memory_client: ClientFactory, org: str
) -> None:
    """A writer with a higher epoch begins after the last write of the one before it."""
    client = memory_client(org)
    await old_writer.begin(scope="run", epoch=1)
    taking_over = asyncio.ensure_future(_write(client, org, scope="run", epoch=2))
    done, _ = await asyncio.wait({taking_over}, timeout=_MOMENT_SECONDS)
    assert not done, "the old write is still under way"
    # Of another scope, so it need not wait.
    assert await _write(client, org, scope="other", epoch=1) is None
    await old_writer.commit()
    assert await asyncio.wait_for(taking_over, 10) is None
    refusal = await _write(client, org, scope="run", epoch=1)
    assert refusal is not None
    assert refusal.reason == "ERROR_REASON_EPOCH_FENCED"


async def test_a_fence_in_the_midst_of_a_stream(memory_client: ClientFactory, org: str) -> None:
    """A stream without a scope is fenced by its id; what was acknowledged before stays."""
    client = memory_client(org)
    call = client.IngestEntries()

    async def send(sequence: int) -> None:
        await call.write(
            pb.IngestEntriesRequest(
                parent=f"orgs/{org}", stream_id="run", sequence=sequence, rows=_entries(sequence)
            )
        )

    await send(1)
    assert (await call.read()).sequence == 1
    await _set(client, org, "run", 1, closed=True)
    await send(2)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert refusal_of(caught.value).reason == "ERROR_REASON_FENCE_CLOSED"
    position = await client.GetStreamPosition(
        pb.GetStreamPositionRequest(parent=f"orgs/{org}", stream_id="run")
    )
    assert position.last_sequence == 1

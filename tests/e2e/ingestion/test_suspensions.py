"""Suspensions: nothing of the scope is written once the call has returned, until it is lifted."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import grpc
import pytest
from tests.e2e.ingestion.readings import ACCOUNT, DAY, Harness, add_connection, pages, row, stored
from tests.e2e.ingestion.served_parts import (
    ClientFactory,
    catalog_of,
    clients_of,
    ingestion_settings,
)
from tests.inprocess.kit.statuses import refusal_of

from liftos.ingestion.v1 import alert_pb2
from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos_client import Client
from liftos_ingestion.adapters.postgres.runs import PostgresRunLedger
from liftos_ingestion.adapters.postgres.suspensions import PostgresSuspensions
from liftos_ingestion.run_ports import Hold, HoldLostError, SliceState, Usage
from liftos_ingestion.servicer.suspensions import SuspensionsServicer
from liftos_ingestion.source_ports import Page, PlatformJob, ReadRequest
from liftos_ingestion.usecases.suspensions import Suspensions
from liftos_kit import postgres
from liftos_kit.core.clock import SystemClock
from liftos_kit.core.paging import PageTokens
from liftos_kit.jobs.queue import Job
from liftos_mapping.transform import TransformContext


@dataclass
class RecordingQueue:
    """Keeps jobs, for a test to look at."""

    jobs: list[Job] = field(default_factory=list)

    async def enqueue(
        self, jobs: Sequence[Job], *, connection: asyncpg.Connection | None = None
    ) -> None:
        """Keep them."""
        self.jobs += jobs


@pytest.fixture
def queue() -> RecordingQueue:
    """Where workers are woken from."""
    return RecordingQueue()


@pytest.fixture
def harness(harness: Harness, queue: RecordingQueue) -> Harness:
    """A worker whose jobs the test sees."""
    harness.ledger = PostgresRunLedger(harness.pool, queue)
    return harness


@pytest.fixture
async def client(
    harness: Harness, environment: Mapping[str, str], queue: RecordingQueue
) -> AsyncIterator[Any]:
    """An administrator of the org."""
    settings = ingestion_settings(environment)
    suspensions = Suspensions(
        PostgresSuspensions(harness.pool, queue), harness.writer, SystemClock()
    )
    servicer = SuspensionsServicer(
        suspensions=suspensions,
        catalog=catalog_of(harness.pool, settings),
        page_tokens=PageTokens(settings.page_token_key),
    )
    factory: ClientFactory
    async with clients_of(settings, [servicer]) as factory:
        yield factory(harness.org)


@pytest.fixture(autouse=True)
async def connection(pool: asyncpg.Pool, org: str) -> str:
    """The connection of the harness, which a scope may name."""
    return await add_connection(pool, org)


def _suspend(org: str, **scope: str) -> pb.SuspendIngestionRequest:
    return pb.SuspendIngestionRequest(
        parent=f"orgs/{org}",
        scope=alert_pb2.SuspensionScope(**scope),
        reason="cut-over",
        request_id=str(uuid4()),
    )


def _resume(name: str) -> pb.ResumeIngestionRequest:
    return pb.ResumeIngestionRequest(name=name, reason="done", request_id=str(uuid4()))


async def _only_slice(harness: Harness) -> UUID:
    (found,) = await harness.rows("run_slices")
    slice_id: UUID = found["slice"]
    return slice_id


async def test_workers_let_go(
    harness: Harness, client: Any, memory: Client, queue: RecordingQueue
) -> None:
    """The call returns when what was being read is let go; afterwards it goes on at once."""
    begun = asyncio.Event()

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        yield Page([row("1", "5")], TransformContext())
        begun.set()
        await asyncio.sleep(60)

    harness.source.answers = [answer, pages([row("1", "5")])]
    await harness.start()
    slice_id = await _only_slice(harness)
    reading = asyncio.create_task(harness.reading().read(harness.org, slice_id))
    await asyncio.wait_for(begun.wait(), 10)
    request = _suspend(harness.org)
    suspended = (await asyncio.wait_for(client.SuspendIngestion(request), 5)).suspension
    assert suspended.waiting_run_count == 1
    assert suspended.subject
    assert (await client.SuspendIngestion(request)).suspension == suspended
    (lane,) = await harness.rows("lanes")
    assert lane["slice"] is None
    await asyncio.wait_for(reading, 5)
    await harness.read_due()
    (waiting,) = await harness.rows("run_slices")
    assert waiting["state"] == SliceState.PENDING
    assert waiting["attempt"] == 0
    assert await harness.ledger.line_up_due(limit=10) == 0, "nobody is woken in vain"
    assert await stored(memory) == {}
    queue.jobs.clear()
    request_to_resume = _resume(suspended.name)
    lifted = (await client.ResumeIngestion(request_to_resume)).suspension
    assert lifted.HasField("end_time")
    assert (await client.ResumeIngestion(request_to_resume)).suspension == lifted
    assert [job.dedupe_key for job in queue.jobs] == [slice_id.hex]
    await harness.read_due()
    assert await stored(memory) == {("1", DAY.isoformat()): 5}
    assert (await client.ResumeIngestion(_resume(suspended.name))).suspension == lifted
    async with asyncio.timeout(5):
        await client.SuspendIngestion(request)
    assert (await client.ListSuspensions(_list(harness.org))).suspensions == []


async def test_a_frozen_holder_is_shut_out(harness: Harness, client: Any, memory: Client) -> None:
    """Its lane is taken from it when its lease ends, in Memory as well as in the ledger."""
    harness.source.answers = [pages([row("1", "5")])]
    await harness.start()
    slice_id = await _only_slice(harness)
    frozen = await harness.ledger.claim(harness.org, slice_id, worker="frozen", lease_seconds=2.0)
    assert frozen is not None
    request = ReadRequest(
        account=ACCOUNT,
        level="CAMPAIGN",
        date_basis="INTERACTION",
        attribution_key="",
        start_date=DAY,
        end_date=DAY,
    )
    suspending = asyncio.ensure_future(client.SuspendIngestion(_suspend(harness.org)))
    await asyncio.sleep(1.0)
    assert not suspending.done(), "it may still write"
    name = (await asyncio.wait_for(suspending, 10)).suspension.name
    with pytest.raises(HoldLostError):
        async with harness.writer.slice(
            frozen,
            request,
            source="meta",
            api_version="",
            fetch_time=SystemClock().now(),
            request_id="",
            query_hash="",
        ) as writer:
            await writer.commit(lambda: b"")
    assert await harness.ledger.extend(frozen, lease_seconds=9) is Hold.LOST
    await harness.ledger.let_go(frozen, Usage(0, 0))
    await client.ResumeIngestion(_resume(name))
    await harness.read_due()
    assert await stored(memory) == {("1", DAY.isoformat()): 5}, "the next holder may write"


async def test_what_is_being_claimed_is_waited_for(harness: Harness, client: Any) -> None:
    """A claim that began to look before the suspension is there is seen by it."""
    await harness.start()
    slice_id = await _only_slice(harness)
    async with postgres.transaction(harness.pool, org=harness.org) as claiming:
        claimed = await claiming.fetch(
            "select * from claim_slice($1, $2, 'late', interval '1 second')", harness.org, slice_id
        )
        assert claimed
        suspending = asyncio.ensure_future(client.SuspendIngestion(_suspend(harness.org)))
        await asyncio.sleep(0.5)
        assert not suspending.done()
        assert await harness.rows("suspensions") == []
    await asyncio.sleep(0.3)
    assert not suspending.done(), "the lane is held now"
    await asyncio.wait_for(suspending, 10)
    (lane,) = await harness.rows("lanes")
    assert (lane["slice"], lane["epoch"]) == (None, claimed[0]["epoch"] + 1)


@pytest.mark.parametrize(
    ("scope", "read"),
    [
        ({"account_id": "7", "platform": "meta"}, {"8"}),
        ({"platform": "klaviyo"}, {"7", "8"}),
        ({"connection": "shop", "account_id": "8"}, {"7"}),
        ({"connection": "shop"}, set[str]()),
        ({}, set[str]()),
    ],
)
async def test_scopes(harness: Harness, client: Any, scope: dict[str, str], read: set[str]) -> None:
    """What is outside of the scope goes on."""
    if "connection" in scope:
        scope = {**scope, "connection": f"orgs/{harness.org}/connections/shop"}
    harness.source.answers = [pages([])]
    await client.SuspendIngestion(_suspend(harness.org, **scope))
    await harness.start(accounts=("7", "8"))
    await harness.read_due()
    slices = await harness.rows("run_slices")
    assert {it["account_id"] for it in slices if it["state"] == SliceState.UNCHANGED} == read
    listed = (await client.ListSuspensions(_list(harness.org))).suspensions
    assert [it.waiting_run_count for it in listed] == [0 if len(read) == 2 else 1]
    assert listed[0].scope == alert_pb2.SuspensionScope(**scope)


async def test_suspensions_are_listed(harness: Harness, client: Any) -> None:
    """Those that hold first, then newest first; two may cover the same."""
    made = [(await client.SuspendIngestion(_suspend(harness.org))).suspension for _ in range(3)]
    await client.ResumeIngestion(_resume(made[2].name))
    names = [it.name for it in made]
    listed = await client.ListSuspensions(_list(harness.org))
    assert [it.name for it in listed.suspensions] == [names[1], names[0]]
    seen: list[str] = []
    token = ""
    while True:
        page = await client.ListSuspensions(
            _list(harness.org, page_size=1, page_token=token, include_ended=True)
        )
        seen += [it.name for it in page.suspensions]
        token = page.next_page_token
        if not token:
            break
    assert seen == [names[1], names[0], names[2]]


async def test_bad_suspensions(harness: Harness, client: Any) -> None:
    """A connection that does not exist suspends nothing; what never was cannot be lifted."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.SuspendIngestion(
            _suspend(harness.org, connection=f"orgs/{harness.org}/connections/sohp")
        )
    assert refusal_of(caught.value).reason == "ERROR_REASON_RESOURCE_NOT_FOUND"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.SuspendIngestion(_suspend(harness.org, platform="mteta"))
    assert refusal_of(caught.value).reason == "ERROR_REASON_RESOURCE_NOT_FOUND"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.SuspendIngestion(_suspend(harness.org, connection="orgs/x/connections/shop"))
    assert refusal_of(caught.value).reason == "ERROR_REASON_ORG_MISMATCH"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.ResumeIngestion(_resume(f"orgs/{harness.org}/suspensions/{uuid4().hex}"))
    assert refusal_of(caught.value).reason == "ERROR_REASON_RESOURCE_NOT_FOUND"
    assert (await client.ListSuspensions(_list(harness.org))).suspensions == []


def _list(org: str, **fields: Any) -> pb.ListSuspensionsRequest:
    return pb.ListSuspensionsRequest(parent=f"orgs/{org}", **fields)

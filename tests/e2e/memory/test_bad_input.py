"""Requests that are wrong in every way the contract knows: told clearly, and nothing written."""

from collections.abc import AsyncIterator

import asyncpg
import grpc
import pytest
from tests.e2e.memory.conftest import ClientFactory
from tests.e2e.memory.contract_calls import (
    Rpc,
    broken_rules,
    exposed_methods,
    odd_values,
    outcome,
    valid_request,
)

from liftos.memory.v1 import entry_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.testing.server import RunningServer, authorization
from liftos_local.testing import TestDatabase


@pytest.fixture(scope="module")
async def channel(memory_server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel that sends messages of any size."""
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(memory_server.target, options=options) as opened:
        yield opened


@pytest.fixture(scope="module")
async def rpcs(channel: grpc.aio.Channel) -> tuple[Rpc, ...]:
    """All methods of the server."""
    return await exposed_methods(channel)


@pytest.fixture(scope="module")
async def admin(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection that sees all orgs."""
    connection = await asyncpg.connect(database.owner_url)
    await connection.execute("set search_path to memory")
    yield connection
    await connection.close()


async def test_each_rule_broken_in_each_way(
    channel: grpc.aio.Channel, rpcs: tuple[Rpc, ...], admin: asyncpg.Connection, org: str
) -> None:
    """A broken rule is INVALID_ARGUMENT with a violation of its field, and nothing is written."""
    wrong: list[str] = []
    tried = 0
    for rpc in rpcs:
        for attempt in broken_rules(rpc, org):
            request = valid_request(rpc, org)
            attempt.change(request)
            refusal = await outcome(channel, rpc, request, authorization(org))
            tried += 1
            told = dict(refusal.violations) if refusal else {}
            if refusal is None or refusal.reason != "ERROR_REASON_FIELD_INVALID":
                wrong.append(f"{rpc.path} {attempt.field} {attempt.what}: {refusal}")
            elif attempt.field not in told:
                wrong.append(f"{rpc.path} {attempt.field} {attempt.what}: only {told}")
    assert not wrong, "\n".join(wrong)
    assert tried > 1_000, "the contract has rules"
    assert await admin.fetchval("select count(*) from commits where org = $1", org) == 0


async def test_odd_values_one_by_one(
    channel: grpc.aio.Channel, rpcs: tuple[Rpc, ...], org: str
) -> None:
    """NUL, quotes, the ends of number ranges, times that are none: answered or refused clearly."""
    wrong = []
    for rpc in rpcs:
        for attempt in odd_values(rpc.method.input_type, org):
            request = valid_request(rpc, org)
            attempt.change(request)
            try:
                await outcome(channel, rpc, request, authorization(org))
            except AssertionError as error:
                wrong.append(f"{rpc.path} {attempt.field} {attempt.what}: {str(error)[:150]}")
    assert not wrong, "\n".join(wrong)


def _good_entry() -> entry_pb2.Entry:
    return entry_pb2.Entry(
        platform="meta",
        level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
        account_id="act",
        campaign_id="c1",
        date="2025-03-03",
        metrics=entry_pb2.Metrics(currency_code="EUR", spend_micros=1),
    )


async def test_odd_values_in_rows(memory_client: ClientFactory, org: str) -> None:
    """Each odd value of an entry costs its own row at most, and what is stored can be read."""
    client = memory_client(org)
    by_field: dict[str, list[entry_pb2.Entry]] = {}
    for attempt in odd_values(entry_pb2.Entry.DESCRIPTOR, org):
        if "orgs/" in attempt.what:
            continue  # looks like a name of another org, which refuses the whole request
        entry = _good_entry()
        attempt.change(entry)
        by_field.setdefault(attempt.field, [_good_entry()]).append(entry)
    wrong = []
    for field, entries in by_field.items():
        try:
            answer = await client.BatchUpsertEntries(
                pb.BatchUpsertEntriesRequest(
                    parent=f"orgs/{org}", rows=entry_pb2.EntryBatch(entries=entries)
                )
            )
        except grpc.aio.AioRpcError as error:
            wrong.append(f"{field}: {error.code()} {error.details()}")
            continue
        if any(error.index == 0 and error.rule != "DUPLICATE" for error in answer.item_errors):
            wrong.append(f"{field}: {answer.item_errors}")
    assert not wrong, "\n".join(wrong)
    listed = await client.ListEntries(pb.ListEntriesRequest(parent=f"orgs/{org}", page_size=1_000))
    assert len(listed.entries) > 1

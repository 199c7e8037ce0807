"""Entries that a stream deletes by natural key: whose they are, and what is told of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import date
from typing import Any, Final

import grpc
import pandas as pd
import pyarrow as pa
import pytest
from tests.e2e.memory.conftest import ClientFactory
from tests.e2e.memory.entry_keys import arrow_bytes
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import entry_pb2, slice_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_client import connect, connect_sync
from liftos_client.errors import EpochFencedError, FrameError
from liftos_kit.auth import issue_token
from liftos_kit.testing.server import SECRET, RunningServer

_ORIGIN: Final = "migrations/m1"


def _entry(campaign: str, day: int = 1, clicks: int = 1) -> entry_pb2.Entry:
    return entry_pb2.Entry(
        platform="meta",
        level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
        account_id="act",
        campaign_id=campaign,
        date=f"2025-03-{day:02d}",
        metrics=entry_pb2.Metrics(clicks=clicks),
    )


def _keys(*campaigns: str, day: int = 1, **columns: Any) -> pa.Table:
    count = len(campaigns)
    return pa.table(
        {
            "date": pa.array([date(2025, 3, day)] * count, pa.date32()),
            "platform": ["meta"] * count,
            "level": ["CAMPAIGN"] * count,
            "account_id": ["act"] * count,
            "campaign_id": list(campaigns),
        }
        | columns
    )


async def _send(
    client: Any, org: str, *messages: dict[str, Any], origin: str = _ORIGIN, first: int = 1
) -> list[pb.IngestEntriesResponse]:
    async def requests() -> AsyncIterator[pb.IngestEntriesRequest]:
        for sequence, fields in enumerate(messages, first):
            yield pb.IngestEntriesRequest(
                parent=f"orgs/{org}", stream_id="s", sequence=sequence, origin=origin, **fields
            )

    return [answer async for answer in client.IngestEntries(requests())]


async def _refusal(client: Any, org: str, *messages: dict[str, Any], first: int = 1) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _send(client, org, *messages, first=first)
    return refusal_of(caught.value)


def _rows(*entries: entry_pb2.Entry) -> dict[str, Any]:
    return {"rows": entry_pb2.EntryBatch(entries=entries)}


def _delete(*campaigns: str, **fields: Any) -> dict[str, Any]:
    return {"delete_arrow": arrow_bytes(_keys(*campaigns))} | fields


async def _campaigns(client: Any, org: str) -> Sequence[str]:
    page = await client.ListEntries(pb.ListEntriesRequest(parent=f"orgs/{org}", page_size=1_000))
    return sorted(entry.campaign_id for entry in page.entries)


async def test_what_an_origin_wrote_is_deleted(memory_client: ClientFactory, org: str) -> None:
    """Entries of other origins stand and are counted; a key that is not there is left out."""
    client = memory_client(org)
    await _send(client, org, _rows(*(_entry(name) for name in "abcd"), _entry("a", day=2)))
    other = pb.BatchUpsertEntriesRequest(
        parent=f"orgs/{org}",
        rows=entry_pb2.EntryBatch(entries=[_entry("b", clicks=2), _entry("c")]),
        origin="person",
    )
    await client.BatchUpsertEntries(other)
    (told,) = await _send(client, org, _delete("a", "b", "c", "x"), first=2)
    assert (told.vanished_count, told.unchanged_count, told.upserted_count) == (2, 1, 0)
    assert not told.item_errors
    # Whoever delivers the same does not take an entry over, as the person did with "c".
    assert await _campaigns(client, org) == ["a", "b", "d"]
    (again,) = await _send(client, org, _delete("a", "b", "c", "x"), first=3)
    assert (again.vanished_count, again.unchanged_count) == (0, 1)


async def test_a_deletion_is_told_as_vanishing_is(memory_client: ClientFactory, org: str) -> None:
    """Watches and restatements have the entry as it was, and it can be written anew."""
    client = memory_client(org)
    await _send(client, org, _rows(_entry("a", clicks=5)), _delete("a"), _rows(_entry("a")))
    call = client.WatchEntries(pb.WatchEntriesRequest(parent=f"orgs/{org}", resume_token="begin"))
    changes: list[pb.EntryChange] = []
    async for answer in call:
        changes += answer.changes
        if len(changes) == 3:
            break
    call.cancel()
    kinds = [slice_pb2.CHANGE_KIND_INSERTED, slice_pb2.CHANGE_KIND_DELETED]
    assert [change.kind for change in changes] == [*kinds, kinds[0]]
    gone = changes[1]
    assert gone.origin == _ORIGIN
    assert gone.before == changes[0].after
    assert not gone.HasField("after")
    listed = await client.ListRestatements(pb.ListRestatementsRequest(parent=f"orgs/{org}"))
    assert [(it.kind, it.before.metrics.clicks) for it in listed.restatements] == [(kinds[1], 5)]


async def test_a_deletion_is_applied_once_with_its_checkpoint(
    memory_client: ClientFactory, org: str
) -> None:
    """A sequence that was applied is acknowledged again; an old epoch deletes nothing."""
    client = memory_client(org)
    fence = {"fence_scope": "migrations/m1"}
    await _send(client, org, {**_rows(_entry("a"), _entry("b")), **fence, "fencing_epoch": 2})
    deletion = _delete("a", checkpoint=b"here", fencing_epoch=2, **fence)
    (told,) = await _send(client, org, deletion, first=2)
    assert told.vanished_count == 1
    await client.BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(
            parent=f"orgs/{org}",
            rows=entry_pb2.EntryBatch(entries=[_entry("a")]),
            origin=_ORIGIN,
        )
    )
    (again,) = await _send(client, org, deletion, first=2)
    assert (again.duplicate, again.vanished_count) == (True, 0)
    late = _delete("a", checkpoint=b"late", fencing_epoch=1, **fence)
    assert (await _refusal(client, org, late, first=3)).reason == "ERROR_REASON_EPOCH_FENCED"
    assert await _campaigns(client, org) == ["a", "b"]
    position = await client.GetStreamPosition(
        pb.GetStreamPositionRequest(parent=f"orgs/{org}", stream_id="s")
    )
    assert (position.last_sequence, position.checkpoint) == (2, b"here")


async def test_bad_keys(memory_client: ClientFactory, org: str) -> None:
    """Keys that no entry can have come back one by one, the others are deleted."""
    client = memory_client(org)
    await _send(client, org, _rows(_entry("a"), _entry("b")))
    keys = _keys("a", "", "b", "a", day=1)
    keys = keys.append_column("date_basis", pa.array(["", "", "SOON", "INTERACTION"]))
    (told,) = await _send(client, org, {"delete_arrow": arrow_bytes(keys)}, first=2)
    assert [(error.index, error.field, error.rule) for error in told.item_errors] == [
        (1, "campaign_id", "REQUIRED"),
        (2, "date_basis", "UNKNOWN_DATE_BASIS"),
        (3, "", "DUPLICATE"),
    ]
    assert told.vanished_count == 1
    assert await _campaigns(client, org) == ["b"]


@pytest.mark.parametrize(
    ("data", "violated"),
    [
        (arrow_bytes(_keys("a", clicks=pa.array([1]))), ["clicks"]),
        (arrow_bytes(_keys("a").drop_columns(["account_id"])), ["account_id"]),
        (arrow_bytes(_keys("a").set_column(0, "date", pa.array([1.5]))), ["date"]),
        (b"nonsense", ["delete_arrow"]),
    ],
)
async def test_keys_with_wrong_columns(
    memory_client: ClientFactory, org: str, data: bytes, violated: Sequence[str]
) -> None:
    """Nothing is deleted where the columns are not those of a key."""
    client = memory_client(org)
    await _send(client, org, _rows(_entry("a")))
    refusal = await _refusal(client, org, {"delete_arrow": data}, first=2)
    assert refusal.reason == "ERROR_REASON_ARROW_INVALID"
    assert [field for field, _ in refusal.violations] == violated
    assert await _campaigns(client, org) == ["a"]


async def test_no_deletion_within_a_slice(memory_client: ClientFactory, org: str) -> None:
    """A slice replaces its scope as a whole; what it does not have vanishes anyway."""
    client = memory_client(org)
    await _send(client, org, _rows(_entry("a")))
    scope = slice_pb2.SliceScope(
        platform="meta",
        account_id="act",
        level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
        date_range=marketing_pb2.DateRange(start_date="2025-03-01", end_date="2025-03-01"),
    )
    opening = {"open_slice": pb.SliceOpening(scope=scope)}
    refusal = await _refusal(client, org, opening, _delete("a"), first=2)
    assert refusal.reason == "ERROR_REASON_STATE_TRANSITION_INVALID"
    assert "before you delete" in refusal.message
    assert await _campaigns(client, org) == ["a"]


async def test_the_client_deletes(memory_server: RunningServer, org: str) -> None:
    """Arrow or a frame, in as many messages as are needed, with the checkpoint in the last."""
    token = issue_token(secret=SECRET.encode(), org=org, roles=["admin"], scopes=["memory"])
    names = [f"c{number}" for number in range(70_000)]
    async with connect(memory_server.target, token=token) as client:
        written = _keys(*names, clicks=pa.array(range(70_000), pa.int64()))
        async with client.memory.ingest("copy", origin=_ORIGIN, fencing_epoch=1) as stream:
            await stream.write(written)
            await stream.delete(_keys(*names[1:], "x"), checkpoint=b"far")
        assert stream.result.upserted_count == 70_000
        assert stream.result.vanished_count == 69_999
        position = await client.memory.get_stream_position("copy")
        assert (position.last_sequence, position.checkpoint) == (4, b"far")
        left = await client.memory.list_entries().collect()
        assert [entry.campaign_id for entry in left] == ["c0"]
        async with client.memory.ingest("copy", origin=_ORIGIN, fencing_epoch=2) as newer:
            await newer.write([_entry("c1")])
        with pytest.raises(EpochFencedError):
            async with client.memory.ingest("copy", origin=_ORIGIN, fencing_epoch=1) as stream:
                await stream.delete(_keys("c0"))


async def test_the_client_without_a_loop_deletes(memory_server: RunningServer, org: str) -> None:
    """A frame of keys, and what is wrong with one."""
    await asyncio.to_thread(_delete_without_a_loop, memory_server.target, org)


def _delete_without_a_loop(target: str, org: str) -> None:
    token = issue_token(secret=SECRET.encode(), org=org, roles=["admin"], scopes=["memory"])
    frame = pd.DataFrame(
        {
            "date": ["2025-03-01"],
            "platform": ["meta"],
            "level": ["CAMPAIGN"],
            "account_id": ["act"],
            "campaign_id": ["a"],
        }
    )
    with connect_sync(target, token=token) as client:
        with client.memory.ingest("copy", origin=_ORIGIN) as stream:
            stream.write(frame.assign(clicks=1))
            stream.delete(frame)
            stream.flush()
            assert stream.result.vanished_count == 1
            with pytest.raises(FrameError):
                stream.delete(frame.assign(kampagne="a"))
            with pytest.raises(FrameError):
                stream.delete(frame.iloc[:0], checkpoint=b"x")
        assert not list(client.memory.list_entries())

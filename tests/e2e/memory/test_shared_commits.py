"""Typed batches of a stream that wait together: one commit, and one answer for each."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
from tests.e2e.memory.conftest import ClientFactory

from liftos.common.v1.marketing_pb2 import DateRange
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.entry_pb2 import Entry, EntryBatch, EntryLevel, Metrics
from liftos.memory.v1.slice_pb2 import SliceScope
from liftos_local.testing import TestDatabase

Batch = Sequence[Entry]


def _entry(campaign: int, clicks: int = 1, **fields: Any) -> Entry:
    return Entry(
        platform="meta",
        level=EntryLevel.ENTRY_LEVEL_CAMPAIGN,
        account_id="act_1",
        campaign_id=str(campaign),
        date="2026-01-05",
        metrics=Metrics(impressions=1_000, clicks=clicks),
        **fields,
    )


def _messages(
    org: str, batches: Sequence[Batch], *, first_sequence: int = 1
) -> list[pb.IngestEntriesRequest]:
    return [
        pb.IngestEntriesRequest(
            parent=f"orgs/{org}",
            stream_id="run",
            sequence=sequence,
            rows=EntryBatch(entries=batch),
            origin="run",
            # Only every third has one: the others keep it.
            checkpoint=b"" if sequence % 3 else str(sequence).encode(),
        )
        for sequence, batch in enumerate(batches, first_sequence)
    ]


async def _send(
    client: Any, messages: Sequence[pb.IngestEntriesRequest]
) -> list[pb.IngestEntriesResponse]:
    """Send all at once."""

    async def requests() -> AsyncIterator[pb.IngestEntriesRequest]:
        for message in messages:
            yield message

    return [answer async for answer in client.IngestEntries(requests())]


async def _send_singly(
    client: Any, messages: Sequence[pb.IngestEntriesRequest]
) -> list[pb.IngestEntriesResponse]:
    """Send each on a stream of its own, so that none waits together with another."""
    return [answer for message in messages for answer in await _send(client, [message])]


def _told(answers: Sequence[pb.IngestEntriesResponse]) -> list[pb.IngestEntriesResponse]:
    """Return answers without what names the organisation."""
    told = []
    for answer in answers:
        bare = pb.IngestEntriesResponse()
        bare.CopyFrom(answer)
        bare.ClearField("write_token")
        bare.ClearField("slice")
        told.append(bare)
    return told


def _versions(answers: Sequence[pb.IngestEntriesResponse]) -> list[str]:
    return [answer.write_token for answer in answers]


@pytest.fixture
async def admin(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection past row-level security."""
    connection = await asyncpg.connect(
        database.owner_url, server_settings={"search_path": "memory"}
    )
    yield connection
    await connection.close()


async def _stored(admin: asyncpg.Connection, org: str) -> list[tuple[object, ...]]:
    rows = await admin.fetch(
        "select entry_key, clicks, origin, quality_score, quality_issues from entries"
        " where org = $1 order by entry_key",
        org,
    )
    return [tuple(row) for row in rows]


_FIRST = [[_entry(10 * batch + row) for row in range(10)] for batch in range(12)]


@pytest.mark.parametrize(
    ("batches", "shares"),
    [
        pytest.param(_FIRST, True, id="all new"),
        pytest.param(
            [
                [_entry(10 * batch + row, 1 + (row < batch)) for row in range(10)]
                for batch in range(12)
            ],
            True,
            id="some changed",
        ),
        pytest.param([[_entry(1000 + batch)] for batch in range(60)], True, id="small"),
        pytest.param([[_entry(7, clicks)] for clicks in range(2, 10)], False, id="one entry"),
        pytest.param(
            [[_entry(2000 + batch), _entry(3000 + batch, -batch)] for batch in range(8)],
            False,
            id="refused rows",
        ),
        pytest.param(
            [
                [_entry(4000, breakdown_key=f"age={batch}-{row}") for row in range(3)]
                for batch in range(8)
            ],
            False,
            id="broken down",
        ),
    ],
)
async def test_answers_are_those_of_single_messages(
    memory_client: ClientFactory,
    admin: asyncpg.Connection,
    org: str,
    batches: Sequence[Batch],
    shares: bool,
) -> None:
    """Counts, refused rows, contents and the position do not depend on what waits together."""
    singly, other = memory_client(f"{org}-singly"), memory_client(org)
    for client, name in ((singly, f"{org}-singly"), (other, org)):
        await _send_singly(client, _messages(name, _FIRST))
    sequence = len(_FIRST) + 1
    expected = await _send_singly(
        singly, _messages(f"{org}-singly", batches, first_sequence=sequence)
    )
    answers = await _send(other, _messages(org, batches, first_sequence=sequence))
    assert _told(answers) == _told(expected)
    stored = await _stored(admin, org)
    assert len(stored) >= len(_FIRST)
    assert stored == await _stored(admin, f"{org}-singly")
    position, alone = [
        await client.GetStreamPosition(
            pb.GetStreamPositionRequest(parent=f"orgs/{name}", stream_id="run")
        )
        for client, name in ((other, org), (singly, f"{org}-singly"))
    ]
    assert position.last_sequence == alone.last_sequence == len(_FIRST) + len(batches)
    assert position.checkpoint == alone.checkpoint
    if shares:
        assert len(set(_versions(answers))) < len(batches)
    assert _versions(answers) == sorted(_versions(answers), key=_versions(answers).index)
    # Sent once more, nothing happens.
    again = await _send(other, _messages(org, batches, first_sequence=sequence))
    assert all(answer.duplicate for answer in again)


async def test_two_connections_that_send_the_same(
    memory_client: ClientFactory, admin: asyncpg.Connection, org: str
) -> None:
    """Each message is applied by one of them, whatever shares a commit in which."""
    client = memory_client(org)
    messages = _messages(org, [[_entry(each)] for each in range(40)])
    streams = [client.IngestEntries() for _ in range(2)]
    for message in messages:
        for stream in streams:
            await stream.write(message)
    applied = []
    for stream in streams:
        await stream.done_writing()
        answers = [answer async for answer in stream]
        assert [answer.sequence for answer in answers] == list(range(1, 41))
        applied += [answer.sequence for answer in answers if not answer.duplicate]
    assert sorted(applied) == list(range(1, 41))
    history = await admin.fetchval("select count(*) from entry_history where org = $1", org)
    assert history == 0


async def test_batches_of_a_slice(
    memory_client: ClientFactory, admin: asyncpg.Connection, org: str
) -> None:
    """Batches that wait together are staged together, and replace the scope with all others."""
    client = memory_client(org)
    await _send_singly(client, _messages(org, [[_entry(999)]]))
    scope = SliceScope(
        platform="meta",
        account_id="act_1",
        level=EntryLevel.ENTRY_LEVEL_CAMPAIGN,
        date_range=DateRange(start_date="2026-01-05", end_date="2026-01-05"),
    )
    batches = [[_entry(10 * batch + row) for row in range(3)] for batch in range(12)]
    messages = _messages(org, batches, first_sequence=3)
    opening = pb.IngestEntriesRequest(
        parent=f"orgs/{org}", stream_id="run", sequence=2, open_slice=pb.SliceOpening(scope=scope)
    )
    closing = pb.IngestEntriesRequest(sequence=15, commit_slice=pb.SliceCommit())
    answers = await _send(client, [opening, *messages, closing])
    staged, committed = answers[1:-1], answers[-1]
    assert [answer.upserted_count for answer in staged] == [3] * 12
    assert {answer.slice for answer in answers} == {committed.slice}
    assert len(set(_versions(staged))) < len(staged)
    assert (committed.upserted_count, committed.vanished_count) == (36, 1)
    assert len(await _stored(admin, org)) == 36

"""Feeds of changes and restatements, against a real Postgres."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import count as count_from_zero
from itertools import cycle
from random import Random
from typing import Any, Final
from uuid import uuid4

import grpc
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.e2e.memory.conftest import ClientFactory
from tests.e2e.memory.entry_keys import delete_entries
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import entry_pb2, slice_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_memory.domain.write_token import decode_write_token

_INSERTED: Final = slice_pb2.CHANGE_KIND_INSERTED
_UPDATED: Final = slice_pb2.CHANGE_KIND_UPDATED
_DELETED: Final = slice_pb2.CHANGE_KIND_DELETED
_DAYS = ("2025-03-01", "2025-03-02", "2025-04-01")
_CAMPAIGNS = ("c1", "c2", "c3")


def _entry(
    campaign: str, day: str, clicks: int, *, name: str = "", account: str = "act"
) -> entry_pb2.Entry:
    return entry_pb2.Entry(
        platform="meta",
        level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
        account_id=account,
        campaign_id=campaign,
        campaign_name=name,
        date=day,
        metrics=entry_pb2.Metrics(impressions=1_000, clicks=clicks),
    )


async def _upsert(
    client: Any, org: str, *entries: entry_pb2.Entry, origin: str = ""
) -> pb.BatchUpsertEntriesResponse:
    answer: pb.BatchUpsertEntriesResponse = await client.BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(
            parent=f"orgs/{org}", rows=entry_pb2.EntryBatch(entries=entries), origin=origin
        )
    )
    assert not answer.item_errors
    return answer


async def _purge(client: Any, org: str, origin: str) -> pb.PurgeEntriesResponse:
    answer: pb.PurgeEntriesResponse = await client.PurgeEntries(
        pb.PurgeEntriesRequest(
            parent=f"orgs/{org}", origin=origin, force=True, request_id=str(uuid4())
        )
    )
    return answer


async def _replace_slice(
    client: Any, org: str, stream_id: str, first_sequence: int, day: str, *entries: entry_pb2.Entry
) -> list[pb.IngestEntriesResponse]:
    """Replace one day of one account by these entries, at least one, in one slice."""
    opening = pb.SliceOpening(
        scope=slice_pb2.SliceScope(
            platform="meta",
            account_id="act",
            level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
            date_range=marketing_pb2.DateRange(start_date=day, end_date=day),
        )
    )
    message: Any = partial(
        pb.IngestEntriesRequest, parent=f"orgs/{org}", stream_id=stream_id, origin=stream_id
    )

    async def messages() -> AsyncIterator[pb.IngestEntriesRequest]:
        yield message(sequence=first_sequence, open_slice=opening)
        yield message(sequence=first_sequence + 1, rows=entry_pb2.EntryBatch(entries=entries))
        yield message(sequence=first_sequence + 2, commit_slice=pb.SliceCommit())

    return [answer async for answer in client.IngestEntries(messages())]


async def _stored(client: Any, org: str) -> dict[str, entry_pb2.Entry]:
    """Return what is stored now, without the calendar, which no change carries."""
    page = await client.ListEntries(pb.ListEntriesRequest(parent=f"orgs/{org}", page_size=1_000))
    assert not page.next_page_token
    for entry in page.entries:
        entry.ClearField("calendar_day")
    return {entry.name: entry for entry in page.entries}


async def _watch_through(
    client: Any,
    org: str,
    origin: str,
    *,
    resume_token: str = "begin",
    filter_: str = "",
    breaks: Iterator[bool] | None = None,
) -> list[pb.WatchEntriesResponse]:
    """Return the answers of a watch through the last change of an origin's commit.

    Args:
        client: Who watches.
        org: The org.
        origin: What wrote the last commit of interest, which has one change.
        resume_token: Where to begin.
        filter_: Filter of the watch.
        breaks: Whether the call ends after an answer, so that another one goes on from its token.
    """
    answers = []
    while True:
        call = client.WatchEntries(
            pb.WatchEntriesRequest(parent=f"orgs/{org}", filter=filter_, resume_token=resume_token)
        )
        try:
            async for answer in call:
                answers.append(answer)
                resume_token = answer.resume_token
                if any(change.origin == origin for change in answer.changes):
                    return answers
                if breaks is not None and next(breaks):
                    break
        finally:
            call.cancel()


def _version(org: str, write_token: str) -> int:
    return decode_write_token(org, write_token, field="write_token")


async def _refusal(call: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(aiter(call)) if hasattr(call, "__aiter__") else await call
    return refusal_of(caught.value)


def _told(changes: Sequence[pb.EntryChange]) -> list[tuple[str, int, int | None, int | None]]:
    """Return origin, kind, and clicks before and after of each change."""
    return [
        (
            change.origin,
            change.kind,
            change.before.metrics.clicks if change.HasField("before") else None,
            change.after.metrics.clicks if change.HasField("after") else None,
        )
        for change in changes
    ]


async def test_states_before_and_after(memory_client: ClientFactory, org: str) -> None:
    """Insert, update, vanishing with a slice and purge come with both states, in commit order."""
    client = memory_client(org)
    await _upsert(client, org, _entry("c1", _DAYS[0], 1), origin="one")
    await _upsert(client, org, _entry("c2", _DAYS[0], 2), origin="two")
    await _upsert(client, org, _entry("c1", _DAYS[0], 5), origin="three")
    await _upsert(client, org, _entry("c1", _DAYS[0], 5), origin="same contents")
    await _replace_slice(client, org, "run", 1, _DAYS[0], _entry("c1", _DAYS[0], 7))
    await _purge(client, org, "run")
    answers = await _watch_through(client, org, "purge of run")
    told = _told([change for answer in answers for change in answer.changes])
    assert told[:3] == [
        ("one", _INSERTED, None, 1),
        ("two", _INSERTED, None, 2),
        ("three", _UPDATED, 1, 5),
    ]
    assert sorted(told[3:5]) == [("run", _UPDATED, 5, 7), ("run", _DELETED, 2, None)]
    assert told[5:] == [("purge of run", _DELETED, 7, None)]


async def test_a_watch_begins_with_now(memory_client: ClientFactory, org: str) -> None:
    """Without a token a watch tells its position at once, and then only what comes after."""
    client = memory_client(org)
    await _upsert(client, org, _entry("c1", _DAYS[0], 1), origin="before")
    call = client.WatchEntries(pb.WatchEntriesRequest(parent=f"orgs/{org}"))
    answers = aiter(call)
    first = await anext(answers)
    assert not first.changes
    assert first.resume_token
    assert abs(first.commit_time.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(seconds=30)
    written = await _upsert(client, org, _entry("c1", _DAYS[0], 2), origin="after")
    second = await anext(answers)
    call.cancel()
    assert _told(second.changes) == [("after", _UPDATED, 1, 2)]
    assert second.changes[0].write_token == written.write_token
    assert second.changes[0].entry == second.changes[0].after.name
    again = await _watch_through(client, org, "after", resume_token=first.resume_token)
    assert [answer.changes for answer in again] == [second.changes]


async def test_a_filter_takes_states_before_and_after(
    memory_client: ClientFactory, org: str
) -> None:
    """What enters or leaves the filter is told as what it was; what never matches is not."""
    client = memory_client(org)
    await _upsert(client, org, _entry("c1", _DAYS[0], 1, name="Spring"), origin="one")
    await _upsert(client, org, _entry("c1", _DAYS[0], 1, name="Autumn"), origin="two")
    await _upsert(client, org, _entry("c1", _DAYS[0], 2, name="Autumn"), origin="three")
    await _upsert(client, org, _entry("c1", _DAYS[0], 3, name="Spring"), origin="four")
    answers = await _watch_through(client, org, "four", filter_='campaign_name = "Spring"')
    told = _told([change for answer in answers for change in answer.changes])
    assert told == [
        ("one", _INSERTED, None, 1),
        ("two", _UPDATED, 1, 1),
        ("four", _UPDATED, 2, 3),
    ]


async def test_a_large_commit_is_divided(memory_client: ClientFactory, org: str) -> None:
    """Answers hold at most 500 changes, and any of their tokens goes on within the commit."""
    client = memory_client(org)
    count = 4_321
    rows = pa.table(
        {
            "platform": ["meta"] * count,
            "level": ["CAMPAIGN"] * count,
            "account_id": ["act"] * count,
            "campaign_id": [f"c{index}" for index in range(count)],
            "date": [date(2025, 3, 1 + index % 28) for index in range(count)],
            "clicks": pa.array(range(count), pa.int64()),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    written = await client.BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(
            parent=f"orgs/{org}", arrow=sink.getvalue().to_pybytes(), origin="large"
        )
    )
    assert written.upserted_count == count
    await _upsert(client, org, _entry("end", _DAYS[0], 1), origin="end")
    answers = await _watch_through(client, org, "end", breaks=cycle([True, False, False, True]))
    assert max(len(answer.changes) for answer in answers) == 500
    large = [change for answer in answers for change in answer.changes][:-1]
    assert len({change.entry for change in large}) == len(large) == count
    assert {change.write_token for change in large} == {written.write_token}


async def test_answers_are_bounded_in_bytes(memory_client: ClientFactory, org: str) -> None:
    """A default client, which takes 4 MiB, can follow changes of entries with many actions."""
    client = memory_client(org)
    for clicks in (1, 2):
        entries = [_entry(f"c{index}", _DAYS[0], clicks) for index in range(300)]
        for entry in entries:
            entry.actions.extend(
                entry_pb2.ActionCount(action_type=f"action_{number}_" + "x" * 30, count_micros=1)
                for number in range(200)
            )
        await _upsert(client, org, *entries, origin=f"write {clicks}")
    await _upsert(client, org, _entry("end", _DAYS[0], 1), origin="end")
    answers = await _watch_through(client, org, "end")
    assert max(answer.ByteSize() for answer in answers) <= 4 * 1024 * 1024
    updates = [change for answer in answers for change in answer.changes][300:-1]
    assert {(change.before.metrics.clicks, change.after.metrics.clicks) for change in updates} == {
        (1, 2)
    }
    assert len(updates) == 300


async def test_foreign_resume_tokens(memory_client: ClientFactory, org: str) -> None:
    """A token is good for its org, its method and its filter, and for nothing else."""
    client, other = memory_client(org), memory_client(f"{org}-b")
    await _upsert(client, org, _entry("c1", _DAYS[0], 1), origin="one")
    (answer,) = await _watch_through(client, org, "one")
    token = answer.resume_token
    for caller, request in (
        (client, pb.WatchEntriesRequest(parent=f"orgs/{org}", resume_token="nonsense")),
        (client, pb.WatchEntriesRequest(parent=f"orgs/{org}", resume_token=token[:-2])),
        (
            client,
            pb.WatchEntriesRequest(parent=f"orgs/{org}", resume_token=token, filter="final = true"),
        ),
        (other, pb.WatchEntriesRequest(parent=f"orgs/{org}-b", resume_token=token)),
    ):
        refusal = await _refusal(caller.WatchEntries(request))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert [field for field, _ in refusal.violations] == ["resume_token"]
    refusal = await _refusal(
        other.WatchEntries(pb.WatchEntriesRequest(parent=f"orgs/{org}", resume_token=token))
    )
    assert refusal.reason == "ERROR_REASON_ORG_MISMATCH"


_Rows = list[tuple[int, int, int]]
_rows = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=5
)
_operations = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), _rows),
        st.tuples(st.just("slice"), _rows),
        st.tuples(st.just("purge"), st.just([(0, 0, 0)])),
        st.tuples(st.just("delete"), _rows),
    ),
    min_size=1,
    max_size=6,
)


async def _until_done(act: Callable[[], Awaitable[object]]) -> None:
    """Repeat what met another writer in a deadlock; every write may be repeated."""
    while True:
        try:
            await act()
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017
        else:
            return


async def _write_all(
    client: Any, org: str, writer: str, operations: Sequence[tuple[str, _Rows]]
) -> None:
    sequence = 1
    for kind, rows in operations:
        if kind == "purge":
            await _until_done(partial(_purge, client, org, writer))
        elif kind == "delete":
            gone = {(c, d): _entry(_CAMPAIGNS[c], _DAYS[d], 0) for c, d, _ in rows}
            deletion = partial(delete_entries, client, org, [*gone.values()])
            await _until_done(partial(deletion, origin=writer, stream_id=writer, sequence=sequence))
            sequence += 1
        elif kind == "slice":
            day = _DAYS[rows[0][1]]
            entries = {c: _entry(_CAMPAIGNS[c], day, clicks) for c, _, clicks in rows}
            await _until_done(
                partial(_replace_slice, client, org, writer, sequence, day, *entries.values())
            )
            sequence += 3
        else:
            upserts = {(c, d): _entry(_CAMPAIGNS[c], _DAYS[d], clicks) for c, d, clicks in rows}
            await _until_done(partial(_upsert, client, org, *upserts.values(), origin=writer))


@given(first=_operations, second=_operations, seed=st.integers(0, 1_000))
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_replaying_changes_gives_the_table(
    memory_client: ClientFactory,
    first: Sequence[tuple[str, _Rows]],
    second: Sequence[tuple[str, _Rows]],
    seed: int,
) -> None:
    """With two writers and a watch that breaks off anywhere, nothing is lost or doubled."""
    org = f"org-{uuid4().hex[:12]}"
    client = memory_client(org)
    random = Random(seed)
    breaks = (random.random() < 0.4 for _ in count_from_zero())
    watching = asyncio.create_task(_watch_through(client, org, "end", breaks=breaks))
    await asyncio.gather(
        _write_all(client, org, "first", first), _write_all(client, org, "second", second)
    )
    await _upsert(client, org, _entry("end", _DAYS[0], 1), origin="end")
    table: dict[str, entry_pb2.Entry] = {}
    last = (0, "")
    for answer in await watching:
        assert len({change.write_token for change in answer.changes}) <= 1
        for change in answer.changes:
            place = (_version(org, change.write_token), change.entry)
            assert place > last
            last = place
            before = change.before if change.HasField("before") else None
            after = change.after if change.HasField("after") else None
            assert before == table.get(change.entry)
            kinds = {(True, False): _INSERTED, (False, False): _UPDATED, (False, True): _DELETED}
            assert change.kind == kinds[before is None, after is None]
            if after is None:
                del table[change.entry]
            else:
                table[change.entry] = after
    assert table == await _stored(client, org)


async def _restatements(
    client: Any, org: str, **fields: Any
) -> tuple[list[slice_pb2.Restatement], str]:
    answer = await client.ListRestatements(
        pb.ListRestatementsRequest(parent=f"orgs/{org}", **fields)
    )
    return list(answer.restatements), answer.next_page_token


async def test_restatements(memory_client: ClientFactory, org: str) -> None:
    """What a platform corrected is listed newest first, with what differs and what brought it."""
    client = memory_client(org)
    await _upsert(client, org, *(_entry(c, _DAYS[0], 1) for c in _CAMPAIGNS), origin="first")
    await _upsert(client, org, _entry("c1", _DAYS[0], 2, name="New name"), origin="second")
    answers = await _replace_slice(client, org, "run", 1, _DAYS[0], _entry("c1", _DAYS[0], 3))
    slice_name = answers[-1].slice
    found, token = await _restatements(client, org)
    assert not token
    summary = [
        (r.origin, r.kind, r.before.campaign_id, list(r.changed_fields), r.slice) for r in found
    ]
    assert summary[-1] == (
        "second",
        _UPDATED,
        "c1",
        ["campaign_name", "metrics.clicks"],
        "",
    )
    assert sorted(summary[:-1], key=lambda item: item[2]) == [
        ("run", _UPDATED, "c1", ["campaign_name", "metrics.clicks"], slice_name),
        ("run", _DELETED, "c2", [], slice_name),
        ("run", _DELETED, "c3", [], slice_name),
    ]
    assert not any(r.HasField("after") for r in found if r.kind == _DELETED)
    assert {r.entry for r in found} == {r.before.name for r in found}

    paged: list[slice_pb2.Restatement] = []
    token = ""
    while True:
        page, token = await _restatements(client, org, page_size=1, page_token=token)
        paged += page
        if not token:
            break
    assert paged == found

    of_slice, _ = await _restatements(client, org, slice=slice_name)
    assert of_slice == found[:3]
    named, _ = await _restatements(client, org, filter='campaign_name = "New name"')
    assert {r.before.campaign_id for r in named} == {"c1"}
    assert len(named) == 2
    today = datetime.now(UTC).date()
    for days, expected in ((0, found), (-7, []), (7, [])):
        day = (today + timedelta(days=days)).isoformat()
        ranged, _ = await _restatements(
            client, org, change_date_range={"start_date": day, "end_date": day}
        )
        assert ranged == expected


async def test_settling_is_no_restatement(memory_client: ClientFactory, org: str) -> None:
    """A row that only became final stays with its origin and slice, and is no correction."""
    client = memory_client(org)
    day = _DAYS[0]
    first = await _replace_slice(
        client, org, "run", 1, day, _entry("c1", day, 1), _entry("c2", day, 2)
    )
    settled = [_entry("c1", day, 1), _entry("c2", day, 5)]
    for entry in settled:
        entry.final = True
    second = await _replace_slice(client, org, "later", 1, day, *settled)
    found, _ = await _restatements(client, org)
    assert [(r.before.campaign_id, list(r.changed_fields)) for r in found] == [
        ("c2", ["metrics.clicks", "final"])
    ]
    listed = await client.ListEntries(
        pb.ListEntriesRequest(parent=f"orgs/{org}", order_by="campaign_id")
    )
    assert [(e.final, e.origin, e.slice) for e in listed.entries] == [
        (True, "run", first[-1].slice),
        (True, "later", second[-1].slice),
    ]
    counts = (await client.GetSlice(pb.GetSliceRequest(name=second[-1].slice))).slice
    assert (counts.row_count, counts.inserted_count) == (2, 0)
    assert (counts.restated_count, counts.settled_count, counts.vanished_count) == (1, 1, 0)
    purged = await client.PurgeEntries(
        pb.PurgeEntriesRequest(
            parent=f"orgs/{org}", origin="later", force=True, request_id=str(uuid4())
        )
    )
    assert purged.purge_count == 1


async def test_bad_restatement_queries(memory_client: ClientFactory, org: str) -> None:
    """Slices of another form or org, days that are none and foreign tokens are refused."""
    client = memory_client(org)
    parent = f"orgs/{org}"
    for fields, field in (
        ({"slice": f"orgs/{org}/slices/zz"}, "slice"),
        ({"change_date_range": {"start_date": "2025-02-30", "end_date": "2025-03-01"}}, None),
        ({"page_token": "nonsense"}, "page_token"),
        ({"filter": "nonsense = 1"}, "filter"),
    ):
        refusal = await _refusal(
            client.ListRestatements(pb.ListRestatementsRequest(parent=parent, **fields))
        )
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        if field is not None:
            assert [named for named, _ in refusal.violations] == [field]
    refusal = await _refusal(
        client.ListRestatements(
            pb.ListRestatementsRequest(parent=parent, slice=f"orgs/other/slices/{'0' * 32}")
        )
    )
    assert refusal.code is grpc.StatusCode.PERMISSION_DENIED

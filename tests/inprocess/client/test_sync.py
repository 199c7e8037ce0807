"""The client without an event loop, and frames for notebooks."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import date

import grpc
import pandas as pd
import pyarrow as pa
import pytest
from tests.inprocess.client.fake_memory import (
    Failure,
    FakeMemory,
    entries,
    serving,
    unsigned_token,
)

from liftos.common.v1.marketing_pb2 import DateRange
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.document_pb2 import Document, DocumentKind, ObjectRef, SearchHit
from liftos.memory.v1.entry_pb2 import DerivedMetrics, Entry, EntryLevel, Metrics
from liftos.memory.v1.slice_pb2 import SliceScope
from liftos_client import (
    AsyncUnifiedDataAPI,
    Client,
    SyncClient,
    UnifiedDataAPI,
    connect_sync,
)
from liftos_client.errors import NotFoundError, TokenInvalidError
from liftos_client.sync import LoopThread

_SCOPE = SliceScope(
    platform="meta",
    account_id="7",
    level=EntryLevel.ENTRY_LEVEL_CAMPAIGN,
    date_range=DateRange(start_date="2026-01-05", end_date="2026-01-05"),
)


@pytest.fixture
def sync_client(memory: FakeMemory) -> Iterator[SyncClient]:
    """A client without a loop, of a server in another thread."""
    thread = LoopThread()
    server = serving(memory)
    target = thread.run(server.__aenter__())
    with connect_sync(target, token=unsigned_token()) as client:
        yield client
    thread.run(server.__aexit__(None, None, None))
    thread.close()


def _arrow_pieces(table: pa.Table) -> list[bytes]:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data = bytes(sink.getvalue())
    return [data[:100], data[100:]]


def _query_table() -> pa.Table:
    return pa.table(
        {
            "period_start_date": pa.array([date(2026, 1, 5), date(2026, 1, 12)]),
            "platform": ["meta", "meta"],
            "spend_micros": pa.array([1_500_000, None], pa.int64()),
            "clicks": pa.array([10, 0], pa.int64()),
            "ctr": pa.array([0.5, None], pa.float64()),
        }
    )


def _hit(title: str, **fields: object) -> SearchHit:
    return SearchHit(
        document=Document(
            title=title,
            kind=DocumentKind.DOCUMENT_KIND_PROFILE,
            text="text",
            object=ObjectRef(
                platform="meta", level=EntryLevel.ENTRY_LEVEL_AD, account_id="7", ad_id="9"
            ),
        ),
        score=0.75,
        explanation="because",
        metrics=Metrics(currency_code="EUR", spend_micros=2_500_000, clicks=0),
        derived_metrics=DerivedMetrics(roas=2.0),
        entry_count=3,
    )


def test_calls_return_their_results(sync_client: SyncClient) -> None:
    """A method is called as it is, without await."""
    entry = sync_client.memory.get_entry("20260105-" + "0" * 32)
    assert isinstance(entry, Entry)
    assert sync_client.org == "acme"


def test_typed_calls_go_through_run(sync_client: SyncClient) -> None:
    """`run` and `iterate` take what the asynchronous client gives."""
    entry = sync_client.run(sync_client.client.memory.get_entry("x" * 4))
    assert entry.name == "orgs/acme/entries/xxxx"
    assert list(sync_client.iterate(sync_client.client.memory.list_entries())) == []


def test_lists_are_plain_iterators(sync_client: SyncClient, memory: FakeMemory) -> None:
    """Pages are fetched while they are read, and can be read as pages."""
    memory.entries = [Entry(name=str(number)) for number in range(7)]
    listed = sync_client.memory.list_entries(page_size=3)
    reading = iter(listed)
    assert [next(reading).name for _ in range(4)] == ["0", "1", "2", "3"]
    assert len(memory.seen) == 2
    assert [len(page.entries) for page in listed.pages()] == [3, 3, 1]
    assert len(listed.collect()) == 7


def test_a_watch_that_is_left_is_closed(sync_client: SyncClient, memory: FakeMemory) -> None:
    """The generator behind an iterator ends with it."""
    memory.changes = [pb.WatchEntriesResponse(resume_token=str(n)) for n in range(1, 4)]
    reading = iter(sync_client.memory.watch_entries())
    assert next(reading).resume_token == "1"
    reading.close()


def test_errors_are_the_same(sync_client: SyncClient, memory: FakeMemory) -> None:
    """Typed errors come through the thread."""
    memory.failures["GetEntry"].append(
        Failure(grpc.StatusCode.NOT_FOUND, reason="RESOURCE_NOT_FOUND")
    )
    with pytest.raises(NotFoundError):
        sync_client.memory.get_entry("x")


def test_streams_and_slices_are_context_managers(
    sync_client: SyncClient, memory: FakeMemory
) -> None:
    """`with` takes the place of `async with`, attributes included."""
    with sync_client.memory.ingest("s", origin="run/1") as stream:
        stream.write(entries(2), checkpoint=b"1")
        with stream.slice(_SCOPE) as piece:
            piece.write(entries(3))
            piece.raw = b"{}"
    assert stream.result.row_count == 5
    assert piece.name
    assert memory.streams["s"].applied[-1].commit_slice.raw == b"{}"


def test_an_exception_aborts_a_slice(sync_client: SyncClient, memory: FakeMemory) -> None:
    """Leaving `with` by an exception is told to the service."""
    with (
        pytest.raises(ValueError, match="cut off"),
        sync_client.memory.ingest("s", origin="run/1") as stream,
        stream.slice(_SCOPE),
    ):
        raise ValueError("cut off")
    assert memory.streams["s"].applied[-1].HasField("abort_slice")


def test_its_methods_can_be_looked_up(sync_client: SyncClient) -> None:
    """Notebooks complete names and show what a method takes."""
    assert "list_entries" in dir(sync_client.memory)
    assert "Read one entry" in sync_client.memory.get_entry.__doc__
    with pytest.raises(AttributeError):
        _ = sync_client.memory.no_such_method


def test_a_closed_client_says_so(sync_client: SyncClient) -> None:
    """After close no call waits for ever; closing twice does no harm."""
    sync_client.close()
    sync_client.close()
    with pytest.raises(RuntimeError, match="closed"):
        sync_client.memory.get_entry("x")


def test_a_wrong_token_leaves_no_thread() -> None:
    """A client that cannot be made cleans up after itself."""
    with pytest.raises(TokenInvalidError):
        connect_sync("127.0.0.1:1", token="x")
    assert "liftos-client" not in {thread.name for thread in threading.enumerate()}


async def test_it_works_beside_a_running_loop(memory: FakeMemory, target: str) -> None:
    """As in a notebook: a blocking call from a thread while another loop runs."""

    def call() -> str:
        with connect_sync(target, token=unsigned_token()) as client:
            return str(client.memory.get_entry("x").name)

    assert await asyncio.to_thread(call) == "orgs/acme/entries/x"


def test_query_gives_a_frame_in_units(sync_client: SyncClient, memory: FakeMemory) -> None:
    """Money is in units, counts are integers, what is unset is missing."""
    memory.arrow_pieces = _arrow_pieces(_query_table())
    frame = UnifiedDataAPI(sync_client).query(
        date(2026, 1, 5), "2026-01-18", granularity="WEEK", group_by=["platform"]
    )
    assert list(frame) == ["period_start_date", "platform", "spend", "clicks", "ctr"]
    assert frame["spend"].iloc[0] == 1.5
    assert frame["spend"].isna().tolist() == [False, True]
    assert frame["clicks"].tolist() == [10, 0]
    assert frame["period_start_date"].iloc[1] == pd.Timestamp("2026-01-12")
    (request,) = memory.requests(pb.QueryMetricsArrowRequest)
    assert isinstance(request, pb.QueryMetricsArrowRequest)
    assert request.granularity == pb.Granularity.GRANULARITY_WEEK
    assert request.level == EntryLevel.ENTRY_LEVEL_CAMPAIGN
    assert request.date_range.start_date == "2026-01-05"


async def test_a_query_that_breaks_off_is_asked_again(client: Client, memory: FakeMemory) -> None:
    """Pieces of a stream that failed are not mixed with those of the next."""
    memory.arrow_pieces = _arrow_pieces(_query_table())
    memory.failures["QueryMetricsArrow"].append(
        Failure(grpc.StatusCode.UNAVAILABLE, reason="SHUTTING_DOWN", retry_after_seconds=0.01)
    )
    frame = await client.memory.query_metrics_frame("2026-01-05", "2026-01-18", level="CAMPAIGN")
    assert frame["spend_micros"].tolist()[0] == 1_500_000
    assert len(frame) == 2


async def test_search_gives_one_row_per_hit(client: Client, memory: FakeMemory) -> None:
    """Score, object, text and metrics stand beside each other; unset is missing, zero is zero."""
    note = Document(title="a note", scope="causal", record="orgs/acme/notes/n")
    first_hit = _hit("first")
    first_hit.concepts.add(dimension="reach", percentile=0.9, measure="impressions a week")
    memory.search = pb.SearchDocumentsResponse(
        hits=[first_hit, SearchHit(document=note, score=0.5)]
    )
    frame = await AsyncUnifiedDataAPI(client).search("spring", limit=5)
    assert list(frame)[:5] == ["score", "kind", "title", "platform", "level"]
    first, second = (frame.iloc[place] for place in (0, 1))
    assert (first["score"], first["kind"], first["title"]) == (0.75, "PROFILE", "first")
    assert (first["platform"], first["level"], first["ad_id"]) == ("meta", "AD", "9")
    assert (first["spend"], first["clicks"], first["roas"]) == (2.5, 0, 2.0)
    assert first["entry_count"] == 3
    assert pd.isna(first["impressions"])
    assert pd.isna(second["spend"])
    assert pd.isna(second["level"])
    assert (second["scope"], second["record"]) == ("causal", "orgs/acme/notes/n")
    assert first["concept_reach"] == 0.9
    assert pd.isna(first["concept_growth"])
    assert str(frame["clicks"].dtype) == "Int64"


async def test_an_empty_search_has_the_same_columns(client: Client, memory: FakeMemory) -> None:
    """Code that reads columns need not look at the number of hits first."""
    api = AsyncUnifiedDataAPI(client)
    empty = await api.search("nothing")
    memory.search = pb.SearchDocumentsResponse(hits=[_hit("one")])
    full = await api.search("something")
    assert list(empty) == list(full)
    assert len(empty) == 0
    assert empty.dtypes.tolist() == full.dtypes.tolist()


async def test_upsert_frame_counts_over_its_batches(client: Client, memory: FakeMemory) -> None:
    """A frame larger than a batch goes as several, with one result."""
    frame = pd.DataFrame(
        {
            "date": "2026-01-05",
            "platform": "meta",
            "level": "CAMPAIGN",
            "account_id": "7",
            "campaign_id": [str(number) for number in range(70_000)],
            "spend": 1.25,
        }
    )
    result = await client.memory.upsert_frame(frame, origin="file/1")
    assert (result.row_count, result.upserted_count) == (70_000, 70_000)
    assert result.write_token == "token-2"
    (first, _) = memory.requests(pb.BatchUpsertEntriesRequest)
    assert isinstance(first, pb.BatchUpsertEntriesRequest)
    with pa.ipc.open_stream(first.arrow) as reader:
        assert reader.read_all()["spend_micros"][0].as_py() == 1_250_000
    assert first.origin == "file/1"

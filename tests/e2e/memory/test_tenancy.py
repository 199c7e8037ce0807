"""What one org has written is in no answer to another, and no token of it is good elsewhere."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import grpc
import pyarrow as pa
import pytest
from google.protobuf import text_format
from tests.e2e.memory.conftest import ClientFactory
from tests.e2e.memory.contract_calls import Rpc, answers, exposed_methods, valid_request
from tests.e2e.memory.daily_clicks import FIRST, LAST, entries_of, rising
from tests.e2e.memory.daily_clicks import write as write_clicks
from tests.inprocess.kit.statuses import refusal_of

from liftos.common.v1 import access_pb2, marketing_pb2
from liftos.memory.v1 import artifact_pb2, calendar_pb2, entry_pb2, slice_pb2, source_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.testing.server import SECRET, RunningServer, authorization
from liftos_local.testing import TestDatabase

HIDDEN: Final = "hidden"
HIDDEN_NUMBER: Final = 7_777_777
HIDDEN_REGION: Final = "DE-BY"
_DAY: Final = "2025-03-03"
_DAYS: Final = marketing_pb2.DateRange(start_date=_DAY, end_date=_DAY)
_REQUEST_ID: Final = "6fd24f1e-7a0f-4ed5-9b76-0d2bb9a92e1c"
_STATELESS: Final = ("TransformEntries",)
_ONLY_NUMBERS: Final = ("DigestEntries", "DigestRecords", "GetCacheStats")


@dataclass(frozen=True, slots=True)
class Orgs:
    """Two orgs with the same keys. The first has hidden words and numbers in all that it wrote.

    Attributes:
        first: One.
        second: The other.
        entry: Id of an entry that both have.
        slice: Id of a slice of the first.
        write_token: Of the first.
        insight: Id of an insight of the first.
    """

    first: str
    second: str
    entry: str
    slice: str
    write_token: str
    insight: str


@pytest.fixture(scope="module")
async def channel(memory_server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel without a token."""
    async with grpc.aio.insecure_channel(memory_server.target) as opened:
        yield opened


@pytest.fixture(scope="module")
async def rpcs(channel: grpc.aio.Channel) -> tuple[Rpc, ...]:
    """All methods of the server."""
    return await exposed_methods(channel)


@pytest.fixture(scope="module")
async def admin(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the owner, whom no policy binds."""
    connection = await asyncpg.connect(database.owner_url)
    await connection.execute("set search_path to memory")
    yield connection
    await connection.close()


@pytest.fixture(scope="module")
async def worker(database: TestDatabase) -> AsyncIterator[None]:
    """The worker that fills the search index, as a process of its own."""
    environment = {
        name: value
        for name, value in (os.environ | dict(database.environment)).items()
        if name != "LIFTOS_POSTGRES_OWNER_URL"
    }
    own = {
        "LIFTOS_JWT_SECRET": SECRET,
        "LIFTOS_METRICS_PORT": "0",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "liftos_memory", "worker", env=environment | own
    )
    yield
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


def _entry(word: str, clicks: int) -> entry_pb2.Entry:
    return entry_pb2.Entry(
        platform="meta",
        level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
        account_id="act",
        account_name=word,
        campaign_id="c1",
        campaign_name=word,
        date=_DAY,
        metrics=entry_pb2.Metrics(impressions=2 * clicks, clicks=clicks, conversions_micros=clicks),
    )


async def _write_everything(client: Any, org: str, word: str, number: int) -> tuple[str, str]:
    """Write to every collection; return the id of the slice and the last write token."""
    parent = f"orgs/{org}"

    async def stream() -> AsyncIterator[pb.IngestEntriesRequest]:
        scope = slice_pb2.SliceScope(
            platform="meta",
            account_id="act",
            level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
            date_range=_DAYS,
        )
        base: dict[str, Any] = {"parent": parent, "stream_id": "run", "origin": word}
        opening = pb.SliceOpening(scope=scope, lineage=slice_pb2.Lineage(source=word))
        yield pb.IngestEntriesRequest(**base, sequence=1, open_slice=opening)
        rows = entry_pb2.EntryBatch(entries=[_entry(word, number)])
        yield pb.IngestEntriesRequest(**base, sequence=2, rows=rows)
        commit = pb.SliceCommit(raw=word.encode())
        yield pb.IngestEntriesRequest(
            **base, sequence=3, commit_slice=commit, checkpoint=word.encode()
        )

    await client.BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(
            parent=parent,
            rows=entry_pb2.EntryBatch(entries=[_entry(word, number - 1)]),
            request_id=_REQUEST_ID,
        )
    )
    acknowledged = [answer async for answer in client.IngestEntries(stream())]
    for version in ("one", "two"):
        await client.BatchUpsertArtifacts(
            pb.BatchUpsertArtifactsRequest(
                parent=parent,
                artifacts=[
                    artifact_pb2.Artifact(
                        name=f"{parent}/artifacts/a",
                        kind=artifact_pb2.ARTIFACT_KIND_MODEL,
                        scope="tests",
                        display_name=f"{word} {version}",
                    )
                ],
            )
        )
        written = await client.BatchUpsertNotes(
            pb.BatchUpsertNotesRequest(
                parent=parent,
                notes=[
                    artifact_pb2.Note(
                        name=f"{parent}/notes/n", scope="tests", text=f"{word} {version}"
                    )
                ],
            )
        )
    await client.UpsertCalendarEvent(
        pb.UpsertCalendarEventRequest(
            calendar_event=calendar_pb2.CalendarEvent(
                name=f"{parent}/calendarEvents/e",
                display_name=word,
                date_range=_DAYS,
            )
        )
    )
    await client.UpsertSource(
        pb.UpsertSourceRequest(
            source=source_pb2.Source(name=f"{parent}/sources/own", display_name=word)
        )
    )
    await client.UpsertExchangeRates(
        pb.UpsertExchangeRatesRequest(
            parent=parent,
            exchange_rates=[
                source_pb2.ExchangeRate(currency_code="EUR", date=_DAY, rate="1.1", source=word)
            ],
        )
    )
    await client.SetWriteFence(
        pb.SetWriteFenceRequest(parent=parent, scope="tests", epoch=number, closed=False)
    )
    return acknowledged[0].slice.rpartition("/")[2], written.write_token


async def _write_insights(client: Any, org: str) -> str:
    """Write a campaign that rises, look for insights; return the name of one."""
    entries = list(entries_of(1, rising))
    for entry in entries:
        entry.campaign_name = HIDDEN
    await write_clicks(client, org, entries)
    days = marketing_pb2.DateRange(start_date=FIRST.isoformat(), end_date=LAST.isoformat())
    made = await client.GenerateInsights(
        pb.GenerateInsightsRequest(parent=f"orgs/{org}", date_range=days)
    )
    return str(made.insights[0].name.rpartition("/")[2])


@pytest.fixture(scope="module")
async def orgs(memory_client: ClientFactory, admin: asyncpg.Connection, worker: None) -> Orgs:
    """Two orgs that have written everything, and whose documents are indexed."""
    first, second = "tenancy-a", "tenancy-b"
    found = {}
    for org, word, number in ((second, "plain", 11), (first, HIDDEN, HIDDEN_NUMBER)):
        client = memory_client(org)
        found[org] = await _write_everything(client, org, word, number)
    await memory_client(first).UpdateOrgSettings(
        pb.UpdateOrgSettingsRequest(
            org_settings=source_pb2.OrgSettings(
                name=f"orgs/{first}/settings", region_codes=[HIDDEN_REGION]
            )
        )
    )
    for org, (_, write_token) in found.items():
        fresh = marketing_pb2.Consistency(at_least_as_fresh=write_token)
        await memory_client(org).SearchDocuments(
            pb.SearchDocumentsRequest(parent=f"orgs/{org}", query="x", consistency=fresh),
            timeout=40,
        )
    listed = await memory_client(first).ListEntries(pb.ListEntriesRequest(parent=f"orgs/{first}"))
    insight = await _write_insights(memory_client(first), first)
    await admin.execute(
        "insert into insight_routes (org, insight_route, display_name, target_kind, target_sealed,"
        " target_key_id, kinds, minimum_severity, platforms, disabled)"
        " values ($1, 'r', $2, 'json', '', 'k', '{}', 0, '{}', true)",
        first,
        HIDDEN,
    )
    slice_id, write_token = found[first]
    return Orgs(
        first, second, listed.entries[0].name.rpartition("/")[2], slice_id, write_token, insight
    )


def _aimed(orgs: Orgs, org: str, rpc: Rpc) -> Any:
    """Return a request that finds what was written, were it the caller's."""
    request: Any = valid_request(rpc, org)
    own: Mapping[str, Callable[[], Mapping[str, Any]]] = {
        "GetEntry": lambda: {"name": f"orgs/{org}/entries/{orgs.entry}"},
        "GetSlice": lambda: {"name": f"orgs/{org}/slices/{orgs.slice}", "include_raw": True},
        "GetArtifact": lambda: {"name": f"orgs/{org}/artifacts/a"},
        "ListArtifactVersions": lambda: {"name": f"orgs/{org}/artifacts/a"},
        "GetNote": lambda: {"name": f"orgs/{org}/notes/n"},
        "ListNoteVersions": lambda: {"name": f"orgs/{org}/notes/n"},
        "WatchEntries": lambda: {"resume_token": "begin"},
        "WatchRecords": lambda: {"resume_token": "begin"},
        "GetWriteFence": lambda: {"scope": "tests"},
        "GetStreamPosition": lambda: {"stream_id": "run"},
        "QueryMetrics": lambda: {"level": 2, "date_range": _DAYS},
        "QueryMetricsArrow": lambda: {"level": 2, "date_range": _DAYS},
        "ExportDataset": lambda: {
            "date_range": _DAYS,
            "format": pb.DATASET_FORMAT_LONG,
            "kpi": "conversions",
            "allow_attributed_kpi": True,
        },
        "GetInsight": lambda: {"name": f"orgs/{org}/insights/{orgs.insight}"},
        "RerunInsight": lambda: {"name": f"orgs/{org}/insights/{orgs.insight}"},
        "GetInsightRoute": lambda: {"name": f"orgs/{org}/insightRoutes/r"},
        "CompareMetrics": lambda: {
            "level": 2,
            "date_range": _DAYS,
            "metrics": ["clicks"],
            "dimension": "platform",
        },
        "ListCalendarDays": lambda: {"date_range": _DAYS},
        "SearchDocuments": lambda: {"query": HIDDEN, "page_size": 100},
    }
    for name, value in own.get(rpc.method.name, dict)().items():
        if name == "date_range":
            request.date_range.CopyFrom(value)
        elif isinstance(value, list):
            getattr(request, name)[:] = value
        else:
            setattr(request, name, value)
    return request


def _shown(found: list[Any]) -> str:
    """Return all that answers hold, as text."""
    texts = [text_format.MessageToString(answer, as_utf8=True) for answer in found]
    pieces = b"".join(getattr(answer, "arrow", b"") for answer in found)
    if pieces:
        texts.append(str(pa.ipc.open_stream(pieces).read_all().to_pylist()))
    return "\n".join(texts)


def _reveals(text: str) -> bool:
    return HIDDEN in text or str(HIDDEN_NUMBER) in text or HIDDEN_REGION in text


def _is_read(rpc: Rpc) -> bool:
    role = rpc.method.GetOptions().Extensions[access_pb2.required_role]
    return role == access_pb2.ROLE_READER or rpc.method.name == "GetStreamPosition"


async def test_no_read_shows_another_org(
    channel: grpc.aio.Channel, rpcs: tuple[Rpc, ...], orgs: Orgs
) -> None:
    """Every read of one org shows its hidden words, and the same read of the other shows none."""
    for rpc in rpcs:
        if not _is_read(rpc) or rpc.method.name in (*_STATELESS, *_ONLY_NUMBERS):
            continue
        seen = []
        for org in (orgs.first, orgs.second):
            try:
                found = await answers(channel, rpc, _aimed(orgs, org, rpc), authorization(org))
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    break
                # Slices have ids of their own in each org, so the other has none of this id.
                if (error.code(), org) != (grpc.StatusCode.NOT_FOUND, orgs.second):
                    raise
                found = []
            text = _shown(found)
            assert org == orgs.first or orgs.first not in text, rpc.path
            seen.append(_reveals(text))
        else:
            assert seen == [True, False], f"{rpc.path}: teach _aimed how to find what is there"


async def test_digests_count_own_rows(memory_client: ClientFactory, orgs: Orgs) -> None:
    """Sums and hashes are over the rows of the caller's org alone."""
    for org in (orgs.first, orgs.second, "tenancy-empty"):
        client, expected = memory_client(org), 0 if org == "tenancy-empty" else 1
        entries = await client.DigestEntries(
            pb.DigestEntriesRequest(parent=f"orgs/{org}", bucket_count=1, filter=f'date = "{_DAY}"')
        )
        records = await client.DigestRecords(
            pb.DigestRecordsRequest(
                parent=f"orgs/{org}", collection=pb.RECORD_COLLECTION_NOTES, bucket_count=1
            )
        )
        for digest in (entries, records):
            assert sum(bucket.row_count for bucket in digest.buckets) == expected


async def test_tokens_of_another_org(
    channel: grpc.aio.Channel, rpcs: tuple[Rpc, ...], orgs: Orgs
) -> None:
    """Page, resume and write tokens of one org are INVALID_ARGUMENT to the other."""
    tried = set()
    for rpc in rpcs:
        fields = rpc.method.input_type.fields_by_name
        for name in ("page_token", "resume_token", "consistency"):
            if name not in fields:
                continue
            token = orgs.write_token
            if name != "consistency":
                token = await _own_token(channel, rpc, orgs, name)
            if not token:
                continue
            request = _aimed(orgs, orgs.second, rpc)
            if name == "consistency":
                request.consistency.at_least_as_fresh = token
            else:
                setattr(request, name, token)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await answers(channel, rpc, request, authorization(orgs.second))
            refusal = refusal_of(caught.value)
            assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT, (rpc.path, name)
            assert refusal.violations[0][0].startswith(name), (rpc.path, refusal)
            tried.add((rpc.method.name, name))
    assert len([name for _, name in tried if name == "page_token"]) >= 4
    assert len([name for _, name in tried if name == "resume_token"]) >= 2
    assert len([name for _, name in tried if name == "consistency"]) >= 5


async def _own_token(channel: grpc.aio.Channel, rpc: Rpc, orgs: Orgs, name: str) -> str:
    request = _aimed(orgs, orgs.first, rpc)
    if name == "page_token":
        request.page_size = 1
    try:
        (answer, *_) = await answers(channel, rpc, request, authorization(orgs.first), at_most=1)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return ""
        raise
    field = "next_page_token" if name == "page_token" else name
    return str(getattr(answer, field))


async def test_request_ids_of_another_org(memory_client: ClientFactory, orgs: Orgs) -> None:
    """An id stands for a request of its own org: elsewhere it is new, and does its own work."""
    org = "tenancy-ids"
    answer = await memory_client(org).BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(
            parent=f"orgs/{org}",
            rows=entry_pb2.EntryBatch(entries=[_entry("other", 5)]),
            request_id=_REQUEST_ID,
        )
    )
    assert answer.upserted_count == 1
    assert answer.write_token != orgs.write_token


async def _tables(admin: asyncpg.Connection) -> list[asyncpg.Record]:
    """Return every table that has a column `org`, and whether services may touch it at all."""
    return list(
        await admin.fetch(
            "select c.oid::regclass::text as name, c.relrowsecurity as guarded,"
            " (select count(*) from pg_policies p where p.schemaname = 'memory'"
            "  and p.tablename = c.relname) as policies,"
            " has_table_privilege('liftos_app', c.oid, 'select, insert, update, delete, truncate')"
            " or has_any_column_privilege('liftos_app', c.oid, 'select, insert, update')"
            " as reachable"
            " from information_schema.columns i join pg_class c"
            " on c.oid = format('%I.%I', i.table_schema, i.table_name)::regclass"
            " where i.table_schema not in ('pg_catalog', 'information_schema')"
            " and i.column_name = 'org' and c.relkind in ('r', 'p', 'v', 'm') order by 1"
        )
    )


async def test_every_table_with_an_org_is_guarded(admin: asyncpg.Connection, orgs: Orgs) -> None:
    """Tables with an org have row-level security and a policy, or services cannot reach them."""
    tables = await _tables(admin)
    assert len(tables) > 15
    for table in tables:
        if table["reachable"]:
            assert table["guarded"], table["name"]
            assert table["policies"] > 0, table["name"]


async def test_rows_of_another_org_are_out_of_reach_in_sql(
    admin: asyncpg.Connection, database: TestDatabase, orgs: Orgs
) -> None:
    """With one org set, a session neither sees nor changes nor makes rows of another."""
    filled = 0
    session = await asyncpg.connect(database.url, server_settings={"search_path": "memory"})
    try:
        for table in await _tables(admin):
            if not table["reachable"]:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await session.fetchval(f"select count(*) from {table['name']}")
                continue
            name = table["name"].removeprefix("memory.")
            theirs = await admin.fetchval(f"select count(*) from {name} where org = $1", orgs.first)
            filled += bool(theirs)
            await _assert_out_of_reach(session, name, orgs)
            kept = await admin.fetchval(f"select count(*) from {name} where org = $1", orgs.first)
            assert kept == theirs
        assert filled > 12, "the test wrote to most tables"
    finally:
        await session.close()


async def _assert_out_of_reach(session: asyncpg.Connection, name: str, orgs: Orgs) -> None:
    for org in (orgs.second, "", f"{orgs.first}' or 'a' = 'a"):
        transaction = session.transaction()
        await transaction.start()
        await session.execute("select set_config('liftos.org', $1, true)", org)
        await session.execute("select set_config('liftos.tx', '1', true)")
        seen = await session.fetch(f"select distinct org from {name}")
        assert {row["org"] for row in seen} <= {org}, name
        for statement in (
            f"update {name} set org = org where org = $1",
            f"delete from {name} where org = $1",
        ):
            assert (await session.execute(statement, orgs.first)).split()[-1] == "0", name
        if seen:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await session.execute(f"update {name} set org = $1", orgs.first)
        await transaction.rollback()

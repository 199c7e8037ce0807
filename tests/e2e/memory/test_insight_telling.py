"""Insights on a schedule, after writes, told to people once, worded by a model or not."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from tests.e2e.ingestion.webhook import PATH_SECRET, Webhook, webhook
from tests.e2e.memory.conftest import ClientFactory
from tests.e2e.memory.daily_clicks import FIRST, LAST, entries_of, spiked, write
from tests.e2e.route_suite import RouteSuite

from liftos.memory.v1 import insight_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit import postgres
from liftos_kit.core.clock import SystemClock
from liftos_kit.notify.apprise_notifier import apprise_notifier
from liftos_kit.notify.sender import Sender
from liftos_kit.notify.targets import TargetVault
from liftos_memory.adapters.http_wording import HttpWording
from liftos_memory.adapters.postgres.database import SCHEMA, Database
from liftos_memory.adapters.postgres.insight_routes import PostgresInsightOutbox
from liftos_memory.adapters.postgres.insights import (
    PostgresInsightSchedule,
    PostgresInsightStore,
    documents_of_insights,
)
from liftos_memory.adapters.postgres.metrics import PostgresMetricsStore
from liftos_memory.adapters.postgres.org import PostgresOrgStore
from liftos_memory.domain.documents import DocumentKind
from liftos_memory.domain.insights import INSIGHTS, InsightKind
from liftos_memory.insight_ports import ToldInsights, Wording
from liftos_memory.settings import MemorySettings
from liftos_memory.usecases.calendar import OrgCalendars
from liftos_memory.usecases.insight_messages import message_of
from liftos_memory.usecases.insight_watch import InsightWatch
from liftos_memory.usecases.insights import Generated, Insights, Scope

TODAY = date(2026, 6, 29)


@dataclass
class Worker:
    """The parts of a worker that insights need."""

    database: Database
    insights: Insights
    telling: Sender[ToldInsights]

    def watch(self, *, quiet_seconds: float = 0.0, wait_seconds: float = 3600.0) -> InsightWatch:
        """Return what looks after orgs."""
        schedule = PostgresInsightSchedule(
            self.database,
            quiet_seconds=quiet_seconds,
            wait_seconds=wait_seconds,
            every_seconds=86_400.0,
        )
        return InsightWatch(schedule, self.insights)


def _insights(
    database: Database,
    executor: ThreadPoolExecutor,
    wording: Wording | None,
    *,
    now: Callable[[], datetime] = lambda: datetime.combine(TODAY, time(2), UTC),
) -> Insights:
    return Insights(
        PostgresInsightStore(database),
        PostgresMetricsStore(database),
        OrgCalendars(PostgresOrgStore(database), monotonic_seconds=SystemClock().monotonic_seconds),
        executor,
        last_version=database.last_version,
        now=now,
        wording=wording,
    )


@pytest.fixture(scope="module")
async def worker(memory_settings: MemorySettings) -> AsyncIterator[Worker]:
    """The parts of a worker over the module's database."""
    assert memory_settings.postgres_url is not None
    pool = await postgres.create_pool(
        memory_settings.postgres_url.get_secret_value(),
        application_name="insight-worker",
        minimum=1,
        maximum=8,
        schema=SCHEMA,
    )
    database = Database(pool)
    with ThreadPoolExecutor(1) as executor:
        yield Worker(
            database,
            _insights(database, executor, None),
            Sender(
                INSIGHTS,
                PostgresInsightOutbox(pool),
                TargetVault(memory_settings.keyring()),
                apprise_notifier(memory_settings),
                message_of=message_of,
                send_seconds=15.0,
            ),
        )
    await database.close()


async def _create_route(client: Any, org: str, target: Webhook, **fields: Any) -> Any:
    return await client.CreateInsightRoute(
        pb.CreateInsightRouteRequest(
            insight_route=insight_pb2.InsightRoute(
                name=f"orgs/{org}/insightRoutes/on-call",
                display_name="On call",
                target_url=target.url,
                **fields,
            ),
            request_id=str(uuid4()),
        )
    )


async def _look(worker: Worker, **times: float) -> int:
    return await worker.watch(**times).look(asyncio.Event())


async def test_a_write_is_looked_at_once_it_is_quiet(
    worker: Worker, memory_client: ClientFactory, org: str
) -> None:
    """Not before; and not again, since insights themselves are no reason to look."""
    client = memory_client(org)
    await write(client, org, entries_of(1, spiked))
    assert await _look(worker, quiet_seconds=3600.0) == 0
    assert await _look(worker) == 1
    found = await client.ListInsights(pb.ListInsightsRequest(parent=f"orgs/{org}"))
    assert {it.date_range.start_date for it in found.insights} == {"2026-06-18"}
    assert await _look(worker) == 0


async def test_two_workers_look_at_an_org_once(
    worker: Worker, memory_client: ClientFactory, org: str
) -> None:
    """Whoever comes second finds it taken."""
    await write(memory_client(org), org, entries_of(1))
    stop = asyncio.Event()
    looked = await asyncio.gather(worker.watch().look(stop), worker.watch().look(stop))
    assert sum(looked) == 1


async def test_an_insight_is_told_once_and_so_is_its_end(
    worker: Worker, memory_client: ClientFactory, org: str
) -> None:
    """In one message for all that a run found, and another when the day was restated."""
    client = memory_client(org)
    async with webhook() as target:
        created = await _create_route(client, org, target, minimum_severity=20.0)
        assert created.insight_route.target_kind == "json"
        assert PATH_SECRET not in str(created)
        await write(client, org, entries_of(1, spiked))
        assert await _look(worker) == 1
        await worker.telling.send_due(asyncio.Event())
        assert len(target.messages) == 1
        assert "of campaign Campaign 1 (meta)" in target.messages[0]["message"]
        await write(client, org, entries_of(2))
        assert await _look(worker) == 1
        await worker.telling.send_due(asyncio.Event())
        assert len(target.messages) == 1
        await write(client, org, entries_of(1))
        assert await _look(worker) == 1
        await worker.telling.send_due(asyncio.Event())
        assert target.titles[1].startswith("Resolved: ")
        assert await worker.telling.send_due(asyncio.Event()) == 0
        route = await client.GetInsightRoute(
            pb.GetInsightRouteRequest(name=created.insight_route.name)
        )
        assert route.insight_route.HasField("send_time")


async def test_the_usual_days_say_nothing_of_older_insights(
    worker: Worker, memory_client: ClientFactory, org: str
) -> None:
    """A spike and a trend of the spring hold when the summer is looked at."""
    older, until = date(2026, 5, 6), date(2026, 5, 10)

    def change(day: date, clicks: int) -> int:
        grown: float = clicks * 1.05 ** ((min(day, until) - FIRST).days / 7)
        return round(grown * 3 if day == older else grown)

    await write(memory_client(org), org, entries_of(1, change))
    found = await worker.insights.generate(org, Scope(days=(date(2026, 3, 9), until)), shown=50)
    assert isinstance(found, Generated)
    kinds = {it.insight.kind for it in found.insights if it.insight.metric == "clicks"}
    assert kinds == set(InsightKind)
    usual = await worker.insights.generate(org, Scope(), shown=50)
    assert isinstance(usual, Generated)
    assert usual.resolved == []
    for before in found.insights:
        identifier = before.insight.insight_id
        after = await worker.insights.get(org, identifier, name=identifier)
        assert after.insight == before.insight
        assert (await worker.insights.rerun(org, identifier, name=identifier)).holds


@pytest.mark.parametrize(
    ("time_zone", "is_over"),
    [("", True), ("Asia/Tokyo", True), ("America/Los_Angeles", False)],
)
async def test_a_day_is_judged_once_it_is_over_in_its_account(
    worker: Worker, memory_client: ClientFactory, org: str, time_zone: str, is_over: bool
) -> None:
    """At two in the morning in UTC, Los Angeles has five hours to go."""
    entries = list(entries_of(1, lambda day, clicks: clicks // 2 if day == LAST else clicks))
    for each in entries:
        each.time_zone = time_zone
    await write(memory_client(org), org, entries)
    found = await worker.insights.generate(org, Scope(), shown=10)
    assert isinstance(found, Generated)
    last = {it.insight.metric for it in found.insights if it.insight.start_date == LAST}
    assert ("clicks" in last) is is_over
    assert found.day_count == 91 - (not is_over)


async def test_what_was_written_before_its_day_was_over_is_not_judged(
    worker: Worker, memory_client: ClientFactory, org: str
) -> None:
    """However long ago that is by now; other days are."""
    written = datetime.now(UTC).date()
    entries = list(entries_of(1))
    for each in entries:
        days = (LAST - date.fromisoformat(each.date)).days - 1
        each.date = (written - timedelta(days=days)).isoformat()
        each.final = days > 0
        if days in (3, 0, -1):
            each.metrics.clicks //= 2
    await write(memory_client(org), org, entries)
    with ThreadPoolExecutor(1) as executor:
        later = datetime.combine(written + timedelta(days=3), time(2), UTC)
        insights = _insights(worker.database, executor, None, now=lambda: later)
        found = await insights.generate(org, Scope(), shown=10)
    assert isinstance(found, Generated)
    told = {it.insight.start_date for it in found.insights if it.insight.metric == "clicks"}
    assert told == {written - timedelta(days=3)}


async def test_what_campaigns_do_together_is_told_once(
    worker: Worker, memory_client: ClientFactory, org: str
) -> None:
    """Not of each of them; who still stands out when the others no longer do is told then."""
    client = memory_client(org)
    async with webhook() as target:
        await _create_route(client, org, target)
        for campaign in range(1, 6):
            await write(client, org, entries_of(campaign, spiked))
        await _look(worker)
        await worker.telling.send_due(asyncio.Event())
        (message,) = target.messages
        assert "of the 5 campaigns of account act_1 (meta)" in message["message"]
        assert "of campaign" not in message["message"]
        for campaign in range(1, 5):
            await write(client, org, entries_of(campaign))
        await _look(worker)
        await worker.telling.send_due(asyncio.Event())
        assert len(target.messages) > 1
        told = "\n".join(it["title"] + it["message"] for it in target.messages[1:])
        assert "of campaign Campaign 5 (meta)" in told
        assert "of campaign Campaign 1 (meta)" not in told
        assert "of the 5 campaigns of account act_1 (meta)" in told


class TestRoutes(RouteSuite):
    """Routes of insights."""

    noun = "insight"
    messages = pb
    route_type = insight_pb2.InsightRoute
    unknown_platform = (
        "ERROR_REASON_FIELD_INVALID",
        (("insight_route.platforms[0]", "platform"),),
    )

    @pytest.fixture
    def clients(self, memory_client: ClientFactory) -> ClientFactory:
        """Clients of the server."""
        return memory_client

    @pytest.fixture
    def pool(self, worker: Worker) -> asyncpg.Pool:
        """Connections of Memory."""
        return worker.database.pool


async def test_insights_become_documents_while_they_hold(
    worker: Worker, memory_client: ClientFactory, org: str
) -> None:
    """Their commit queues them for the index."""
    client = memory_client(org)
    await write(client, org, entries_of(1, spiked))
    await _look(worker)
    (first, *_) = (await client.ListInsights(pb.ListInsightsRequest(parent=f"orgs/{org}"))).insights
    insight_id = first.name.rpartition("/")[2]
    async with worker.database.read(org) as connection:
        waiting = await connection.fetch("select record_id from record_outbox where kind = 3")
    assert insight_id in {row["record_id"] for row in waiting}
    documents = documents_of_insights(worker.database)[DocumentKind.INSIGHT]
    (document,) = await documents.documents(org, [insight_id])
    assert first.summary in document.text
    assert document.record == f"insights/{insight_id}"
    await write(client, org, entries_of(1))
    await _look(worker)
    assert not await documents.documents(org, [insight_id])


@asynccontextmanager
async def _model(answer: str) -> AsyncIterator[str]:
    """A server of chat completions that always says the same; gives its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            await reader.readexactly(length)
            body = json.dumps({"choices": [{"message": {"content": answer}}]}).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                + f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


@pytest.mark.parametrize(
    ("words", "is_taken"),
    [
        ("On 2026-06-18 something remarkable happened to campaign 1.", True),
        ("It rose by 4711 %.", False),
        ("", False),
    ],
)
async def test_a_model_words_and_counts_nothing(
    worker: Worker, memory_client: ClientFactory, org: str, words: str, is_taken: bool
) -> None:
    """What it says with numbers of its own is not shown."""
    client = memory_client(org)
    await write(client, org, entries_of(1, spiked))
    with ThreadPoolExecutor(1) as executor:
        async with _model(words) as address:
            wording = HttpWording(address, model="any")
            worded = Worker(
                worker.database, _insights(worker.database, executor, wording), worker.telling
            )
            assert await _look(worded) == 1
            await wording.close()
    found = (await client.ListInsights(pb.ListInsightsRequest(parent=f"orgs/{org}"))).insights
    assert {it.summary == words for it in found} == {is_taken}


async def test_a_closed_fence_postpones_a_look(
    worker: Worker, memory_client: ClientFactory, org: str, memory_settings: MemorySettings
) -> None:
    """Nothing is written, the worker goes on, and the org waits."""
    client = memory_client(org)
    await write(client, org, entries_of(1))
    fence = pb.SetWriteFenceRequest(parent=f"orgs/{org}", scope="*", epoch=1, closed=True)
    await client.SetWriteFence(fence)
    assert await _look(worker) == 0
    assert await _look(worker) == 0
    async with worker.database.read(org) as connection:
        row: asyncpg.Record = await connection.fetchrow(
            "select leased_until > now() as waits, generate_time from insight_positions"
        )
    assert row["waits"]
    assert row["generate_time"] is None

"""The Causal module beside a stack: two more stores, filled, and its two sides."""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import grpc
import pytest
import redis
from tests.e2e.local.real_processes import processes_of, until_gone

from liftos.causal.v1 import causal_pb2, causal_service_pb2_grpc
from liftos.causal.v1 import causal_service_pb2 as pb
from liftos.common.v1.marketing_pb2 import DateRange
from liftos_cli.tokens import issue_token
from liftos_local.doctor import doctor
from liftos_local.plan import MODULE_STORES, STORES
from liftos_local.ports import PortPlan
from liftos_local.stack import Stack, start
from liftos_local.state import StackState

ORG = "acme"
LEAST_ROWS = 100_000
LEARNED_DAYS = 120


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Memory and the module; the last of the tests kills them."""
    with start(
        tmp_path_factory.mktemp("module"),
        ports=PortPlan.automatic(),
        services=("memory",),
        module_org=ORG,
        durable=False,
    ) as running:
        yield running


async def fetch(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Rows of a statement."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def test_its_stores_are_its_own(stack: Stack) -> None:
    """Another server than Core's, whose log can be read by a role that has no other power."""
    assert set(stack.addresses) == {
        *STORES,
        *MODULE_STORES,
        "memory",
        "causal-module",
        "causal-core",
    }
    url = stack.source_environment["CAUSAL_DATABASE_URL"]
    identifier = "select system_identifier from pg_control_system()"
    assert await fetch(url, identifier) != await fetch(stack.postgres_admin_url(), identifier)
    assert await fetch(
        url,
        "select current_database(), current_user, current_setting('wal_level'), rolsuper,"
        " rolreplication, rolcreaterole, rolcreatedb, rolbypassrls"
        " from pg_roles where rolname = current_user",
    ) == [("causal_module_db", "causal_module", "logical", False, True, False, False, False)]
    with redis.Redis.from_url(stack.source_environment["CAUSAL_REDIS_URL"]) as cache:
        cache.set("theirs", "1")
    with redis.Redis.from_url(stack.environment["LIFTOS_REDIS_URL"]) as core:
        assert core.get("theirs") is None


async def test_it_is_filled_and_both_of_its_sides_answer(stack: Stack) -> None:
    """The module gives what it holds; its side on Core has nothing before it was moved."""
    rows = "select count(*), max(date_start) - min(date_start) from campaign_performance"
    ((count, days),) = await fetch(stack.source_environment["CAUSAL_DATABASE_URL"], rows)
    assert count >= LEAST_ROWS
    assert days >= 2 * 365 - 1
    token = issue_token(
        stack.environment["LIFTOS_JWT_SECRET"],
        org=ORG,
        roles=("reader",),
        subject="test",
        lifetime_seconds=600,
    )
    metadata = (("authorization", f"Bearer {token}"),)
    end = datetime.now(UTC).date() - timedelta(days=1)
    start_day = end - timedelta(days=LEARNED_DAYS - 1)
    request = pb.AnalyzeAttributionRequest(
        parent=f"orgs/{ORG}",
        training_data=causal_pb2.TrainingData(
            date_range=DateRange(start_date=start_day.isoformat(), end_date=end.isoformat())
        ),
    )

    async def analysed(side: str) -> causal_pb2.AttributionResult:
        async with grpc.aio.insecure_channel(stack.addresses[side]) as channel:
            stub = causal_service_pb2_grpc.CausalServiceStub(channel)
            answer = await stub.AnalyzeAttribution(request, metadata=metadata)
            return answer.attribution_result

    result = await analysed("causal-module")
    assert {each.channel for each in result.channels} == {"google_ads", "klaviyo", "meta", "tiktok"}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await analysed("causal-core")
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_doctor_looks_at_its_stores(stack: Stack) -> None:
    """Its Postgres and its Redis are asked as Core's are, and its processes are named."""
    findings = {finding.check: finding for finding in doctor(stack.data_dir)}
    for name in (*MODULE_STORES, "process causal-module", "process causal-core"):
        assert findings[name].ok, findings[name]
    assert "wal_level logical" in findings["causal-module-db"].found


def test_a_kill_ends_all_of_it(stack: Stack) -> None:
    """SIGKILL of supervisor and guardian leaves nothing, of the module's stores either."""
    victims = [
        pid
        for pid, command in processes_of(stack.data_dir).items()
        if "-m liftos_local.supervisor " in command or "-m liftos_local.guardian " in command
    ]
    assert len(victims) == 2
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    assert stack.wait().state is StackState.KILLED
    until_gone(stack.data_dir, within_seconds=2)

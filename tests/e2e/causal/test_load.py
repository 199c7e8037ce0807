"""Load calls every kind of method, and each acknowledged write is found again."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import grpc
from tests.e2e.causal.asking import PARENT
from tests.e2e.causal.conftest import LAST_DAY, ORG

from liftos.causal.v1 import causal_service_pb2 as pb
from liftos.causal.v1 import causal_service_pb2_grpc
from liftos_causal.load import Journal, Load
from liftos_causal.sample import fill_unless_filled
from liftos_kit.testing.server import RunningServer, authorization
from liftos_local.testing import TestDatabase


async def test_what_was_acknowledged_is_there(
    causal_server: RunningServer, causal: Callable[..., Any], tmp_path: Path
) -> None:
    """Names of the journal are those that the service has; versions are at least as new."""
    journal_path = tmp_path / "journal.jsonl"
    stop = asyncio.Event()
    async with grpc.aio.insecure_channel(causal_server.target) as channel:
        with Journal(journal_path) as journal:
            load = Load(
                causal_service_pb2_grpc.CausalServiceStub(channel),
                org=ORG,
                metadata=authorization(ORG),
                last_day=LAST_DAY,
                journal=journal,
            )
            await load.prepare()
            running = asyncio.create_task(load.run(stop, rate=60.0))
            async with asyncio.timeout(60):
                while len(load.count.calls) < 14:  # noqa: ASYNC110 - nothing tells of a count
                    await asyncio.sleep(0.05)
            stop.set()
            count = await running
    assert not count.failures
    told = [json.loads(line) for line in journal_path.read_text().splitlines()]
    assert len(told) == count.writes > 0
    assert {each["kind"] for each in told} == {"experiment", "configuration", "lift", "budget"}
    names = {each["name"] for each in told if each["kind"] == "experiment"}
    listed: set[str] = set()
    token = ""
    while True:
        page = await causal("reader").ListExperiments(
            pb.ListExperimentsRequest(parent=PARENT, page_size=100, page_token=token)
        )
        listed |= {each.name for each in page.experiments}
        token = page.next_page_token
        if not token:
            break
    assert names <= listed
    newest = max(each["version"] for each in told if each["kind"] == "configuration")
    configuration = await causal("reader").GetConfiguration(
        pb.GetConfigurationRequest(name=f"{PARENT}/causalConfiguration")
    )
    assert int(configuration.causal_configuration.etag) >= newest


async def test_what_is_there_is_not_filled_again(
    database: TestDatabase, admin: asyncpg.Connection
) -> None:
    """The sample is for an empty module: who has data keeps it as it is."""
    count = "select count(*) from campaign_performance"
    before = await admin.fetchval(count)
    assert await fill_unless_filled(database.owner_url, ORG, end=LAST_DAY, days=10) is None
    assert await admin.fetchval(count) == before > 0

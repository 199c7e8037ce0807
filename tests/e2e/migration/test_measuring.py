"""Checks beyond rows: documents with their embeddings, search, and what the module answers."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import grpc
import pandas as pd
import pytest
from tests.e2e.migration.conftest import LAST_DAY

from liftos.causal.v1 import causal_service_pb2_grpc
from liftos.memory.v1.artifact_pb2 import ARTIFACT_KIND_MODEL, Artifact, Note
from liftos_causal.load import Journal, Load
from liftos_causal.server import application as causal_application
from liftos_causal.settings import CausalSettings
from liftos_client import Client, connect
from liftos_kit.auth import issue_token
from liftos_kit.server import Server
from liftos_kit.settings import load
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_local.testing import TestDatabase
from liftos_memory.settings import MemorySettings
from liftos_memory.worker import follow_entries
from liftos_migration.adapters.causal_probe import CausalProbe, causal_probe
from liftos_migration.adapters.core_digests import MemoryDigests
from liftos_migration.domain.checks import CheckKind, Gates
from liftos_migration.domain.inventory import Item, ItemKind
from liftos_migration.domain.mapping import Mapping, TableMapping, Target
from liftos_migration.domain.tables import Tables
from liftos_migration.usecases.measuring import documents, module_answers, search
from liftos_migration.verification_ports import ObjectDays

ORG: Final = "acme"
ORIGIN: Final = "migrations/measured"
TABLES: Final = Tables(
    Mapping(
        (
            TableMapping("public.models", Target.ARTIFACTS, scope="m.models"),
            TableMapping("public.remarks", Target.NOTES, scope="m.remarks"),
        )
    ),
    {name: Item(ItemKind.TABLE, name, "table") for name in ("public.models", "public.remarks")},
    ORG,
    "measured",
)


def _campaign(number: int, weeks: int) -> ObjectDays:
    fields = {
        "platform": "meta", "level": "CAMPAIGN", "account_id": "a1", "campaign_id": f"c{number}",
    }  # fmt: skip
    return ObjectDays(fields, weeks)


@pytest.fixture(scope="module")
async def indexed(
    core_database: TestDatabase, memory_server: RunningServer
) -> AsyncIterator[Client]:
    """A Core whose worker embeds what is written."""
    given = {k: v for k, v in core_database.environment.items() if "OWNER" not in k}
    settings = load(MemorySettings, {**given, "LIFTOS_JWT_SECRET": SECRET, "LIFTOS_PORT": "0"})
    stop = asyncio.Event()
    worker = asyncio.create_task(follow_entries(settings, stop))
    token = issue_token(secret=SECRET.encode(), org=ORG, subject="m", roles=["admin"])
    async with connect(memory_server.target, token=token) as client:
        yield client
    stop.set()
    await worker


async def test_every_object_and_record_has_its_documents(indexed: Client) -> None:
    """One for each week beside its profile; one that is missing is told by name."""
    first = date(2025, 3, 3)
    rows = [
        {
            "date": first + timedelta(days=day), "platform": "meta", "level": "CAMPAIGN",
            "account_id": "a1", "campaign_id": f"c{number}", "campaign_name": f"Spring {number}",
            "currency_code": "USD", "spend_micros": 1_000_000 * (day + number), "clicks": day,
        }
        for number in (1, 2, 3)
        for day in range(21)
    ]  # fmt: skip
    memory = indexed.memory
    await memory.upsert_frame(pd.DataFrame(rows), origin=ORIGIN)
    artifact = Artifact(
        name=f"orgs/{ORG}/artifacts/model-1", kind=ARTIFACT_KIND_MODEL, scope="m.models",
        display_name="Model of spring",
    )  # fmt: skip
    artifact.body["alpha"] = 0.5
    note = Note(name=f"orgs/{ORG}/notes/n-1", scope="m.remarks", title="Remark", text="Said.")
    await memory.batch_upsert_artifacts([artifact], origin=ORIGIN)
    await memory.batch_upsert_notes([note], origin=ORIGIN)
    core = MemoryDigests(memory, ORIGIN)
    token = await core.newest_write()
    objects = [_campaign(number, 3) for number in (1, 2, 3)]
    async with asyncio.timeout(60):
        while not await core.is_indexed(token):
            pass
    (check,) = await documents(TABLES, objects, core)
    assert check.passed, check
    assert check.detail == "14 of 14 documents are found by their embedding"
    (lacking,) = await documents(TABLES, [*objects[:2], _campaign(3, 4)], core)
    assert not lacking.passed
    assert lacking.detail.endswith("meta CAMPAIGN a1 c3 has 4 of 5")
    recall, success = await search(core, Gates())
    assert recall.kind is CheckKind.SEARCH_RECALL
    assert recall.passed, recall
    assert success.sample_count >= 7, "every second document is asked for"
    assert success.measured is not None


@pytest.fixture(scope="module")
async def causal_address(module_database: TestDatabase) -> AsyncIterator[str]:
    """The module, on its own store."""
    given = {
        "LIFTOS_POSTGRES_URL": module_database.owner_url,
        "LIFTOS_REDIS_URL": module_database.environment["LIFTOS_REDIS_URL"],
        "LIFTOS_PORT": "0",
        "LIFTOS_JWT_SECRET": SECRET,
    }
    settings = load(CausalSettings, given)
    server = Server(causal_application(settings))
    try:
        await server.start()
        yield f"{settings.host}:{server.port}"
    finally:
        await server.drain()


def _token(org: str) -> str:
    return issue_token(secret=SECRET.encode(), org=org)


async def test_the_module_is_asked_on_both_sides(causal_address: str) -> None:
    """Its methods work and give credit alike; a side that is away is not known, and not equal."""
    days = [(LAST_DAY - timedelta(days=back)).isoformat() for back in range(59, -1, -1)]
    async with (
        causal_probe(causal_address, _token, "the module") as module,
        causal_probe(causal_address, _token, "the module on Core") as on_core,
        causal_probe("127.0.0.1:1", _token, "nobody") as nobody,
    ):
        functions, attribution = await module_answers(ORG, days, module, on_core)
        assert functions.passed, functions
        assert functions.detail == "7 methods answer as before"
        assert attribution.passed, attribution
        assert attribution.sample_count == 4
        functions, attribution = await module_answers(ORG, days, module, nobody)
        assert functions.measured is None
        assert attribution.measured is None
        assert not attribution.passed
        (functions,) = await module_answers(ORG, days[:10], module, on_core)
        assert functions.passed, "ten days are no basis for attribution"


async def test_a_method_that_fails_on_core_alone_is_told(causal_address: str) -> None:
    """By its name, with what it said."""
    async with (
        causal_probe(causal_address, _token, "the module") as module,
        grpc.aio.insecure_channel(causal_address) as channel,
    ):
        refused = CausalProbe(channel, lambda _: "no token", "the module on Core")
        functions = (await module_answers(ORG, [], module, refused))[0]
    assert functions.measured == 0
    assert "GetConfiguration: UNAUTHENTICATED" in functions.detail


async def test_a_load_asks_for_days_that_have_numbers(causal_address: str, tmp_path: Path) -> None:
    """A module of two months is put under the same load as one of two years."""
    stop = asyncio.Event()
    async with grpc.aio.insecure_channel(causal_address) as channel:
        with Journal(tmp_path / "journal.jsonl") as journal:
            load = Load(
                causal_service_pb2_grpc.CausalServiceStub(channel),
                org=ORG,
                metadata=(("authorization", f"Bearer {_token(ORG)}"),),
                last_day=LAST_DAY,
                journal=journal,
                days=60,
            )
            await load.prepare()
            running = asyncio.create_task(load.run(stop, rate=60.0))
            async with asyncio.timeout(60):
                while len(load.count.calls) + len(load.count.failures) < 14:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            stop.set()
            count = await running
    assert not count.failures
    assert count.writes > 0

"""The module's mapping: Core serves what the module kept, and the module could get it back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from tests.e2e.causal.asking import PARENT, analysis, assert_equal, model, year
from tests.e2e.causal.conftest import ORG, serving_on_core

from liftos.causal.v1 import causal_pb2, causal_service_pb2
from liftos.common.v1.marketing_pb2 import DateRange
from liftos_causal.sample import Sample
from liftos_causal.settings import CausalSettings
from liftos_cli.mapping_files import read_mapping_file
from liftos_client import Client, connect
from liftos_kit.auth import issue_token
from liftos_kit.structs import plain
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_local.testing import TestDatabase
from liftos_mapping.entry_digests import unsigned
from liftos_migration.adapters.core import CoreWriter
from liftos_migration.adapters.source.catalog import read_inventory
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.projecting import mapping_problems
from liftos_migration.adapters.source.reading import read_arrow, read_records
from liftos_migration.adapters.source.tables_read import tables_read
from liftos_migration.convert.mappings import mapping_message, mapping_of
from liftos_migration.domain.coverage import forgotten, unknown
from liftos_migration.domain.inventory import Inventory
from liftos_migration.domain.mapping import Mapping, Target
from liftos_migration.domain.mapping_rules import undecided, violations
from liftos_migration.domain.projection import Projection, projection
from liftos_migration.domain.records import artifact_of, rate_of

FILE = Path("services/liftos_causal/migration.yaml")
BUCKETS = 64


@dataclass(frozen=True, slots=True)
class Module:
    """The module's store as Migration sees it."""

    connection: asyncpg.Connection
    inventory: Inventory
    mapping: Mapping
    projections: dict[str, Projection]


@pytest.fixture(scope="module")
async def module(filled: None, database: TestDatabase, sample: Sample) -> AsyncIterator[Module]:
    """A connection to the store, beside what its mapping makes of it."""
    _, message = read_mapping_file(FILE)
    mapping = mapping_of(message)
    async with SourceConnections(database.owner_url).connect() as connection:
        inventory = await read_inventory(connection, ["public"])
        items = {item.object: item for item in inventory.tables()}
        yield Module(
            connection,
            inventory,
            mapping,
            {
                table.table: projection(table, items[table.table], ORG)
                for table in mapping.tables
                if table.target is not Target.PART
            },
        )


@pytest.fixture(scope="module")
async def filled(causal: Callable[..., Any], database: TestDatabase) -> None:
    """Let the module keep one of each kind of its records; another org has rows as well."""
    made = (await causal("writer").CreateModel(model("kept"))).attribution_model
    days = DateRange(start_date="2025-09-01", end_date="2025-09-28")
    await causal("writer").AnalyzeAttribution(
        analysis(store=True, request_id=str(uuid4()), attribution_model=made.name)
    )
    await causal("writer").OptimizeBudget(
        causal_service_pb2.OptimizeBudgetRequest(
            parent=PARENT,
            attribution_model=made.name,
            total_micros=300_000_000_000,
            goal=causal_pb2.BUDGET_GOAL_REVENUE,
            store=True,
            request_id=str(uuid4()),
        )
    )
    for name, treated in (("analyzed", "tiktok-000*"), ("planned", "")):
        await causal("writer").RunExperiment(
            causal_service_pb2.RunExperimentRequest(
                experiment=causal_pb2.Experiment(
                    name=f"{PARENT}/experiments/{name}",
                    display_name=name,
                    experiment_type=causal_pb2.EXPERIMENT_TYPE_HOLDOUT,
                    treatment=causal_pb2.ExperimentGroup(
                        filter=f'campaign_id:"{treated or "meta-000*"}"'
                    ),
                    control=causal_pb2.ExperimentGroup(filter='campaign_id:"tiktok-001*"'),
                    date_range=days
                    if treated
                    else DateRange(start_date="2030-01-01", end_date="2030-01-28"),
                ),
                request_id=str(uuid4()),
            )
        )
    await causal("writer").MeasureLift(
        causal_service_pb2.MeasureLiftRequest(
            parent=PARENT,
            campaign_id="meta-0003",
            baseline_date_range=DateRange(start_date="2025-07-01", end_date="2025-08-31"),
            treatment_date_range=days,
            store=True,
            request_id=str(uuid4()),
        )
    )
    await causal("writer").UpdatePriors(
        causal_service_pb2.UpdatePriorsRequest(
            name=f"{PARENT}/causalConfiguration",
            training_data=year(),
            etag="0",
            request_id=str(uuid4()),
        )
    )
    begun = await causal("writer").SyncPlatforms(
        causal_service_pb2.SyncPlatformsRequest(
            parent=PARENT, platforms=["meta"], date_range=days, request_id=str(uuid4())
        )
    )
    await _ended(causal, begun.platform_sync.name)
    connection = await asyncpg.connect(database.owner_url)
    await connection.execute(
        """
        insert into shop_orders_daily (org_id, day, orders, revenue, currency)
            values ('rival', '2025-03-01', 7, 70.5, 'USD');
        insert into external_factors values ('rival', 'temperature', '2025-03-01', 1);
        insert into model_settings (org_id, settings) values ('rival', '{"odd": true}');
        insert into prior_beliefs (org_id, channel, mean, standard_deviation)
            values ('rival', 'meta', 1, 2);
        insert into campaign_performance (org_id, platform, account_id, campaign_id, date_start,
            date_stop, currency, spend) values
            ('rival', 'meta', 'act_1', 'c', '2025-03-01', '2025-03-01', 'USD', '12.5');
        """
    )
    await connection.close()


async def _ended(causal: Callable[..., Any], name: str) -> None:
    for _ in range(100):
        answer = await causal("reader").GetPlatformSync(
            causal_service_pb2.GetPlatformSyncRequest(name=name)
        )
        if answer.platform_sync.state != causal_pb2.SYNC_STATE_RUNNING:
            return
        await asyncio.sleep(0.1)
    raise TimeoutError(name)


@pytest.fixture(scope="module")
async def core(module: Module, memory_server: RunningServer) -> AsyncIterator[Client]:
    """A client of Memory, which holds what the projections gave."""
    token = issue_token(secret=SECRET.encode(), org=ORG)
    async with connect(memory_server.target, token=token) as client:
        await client.memory.upsert_source("tiktok", display_name="TikTok")
        writer = CoreWriter(client.memory, org=ORG, migration="causal", epoch=1)
        for each in module.projections.values():
            if each.target is Target.ENTRIES:
                await _entries(client, module.connection, each)
            else:
                rows = await read_records(module.connection, each.select())
                records = [
                    rate_of(row)
                    if each.target is Target.EXCHANGE_RATES
                    else artifact_of(row, each.scope)
                    for row in rows
                ]
                assert records
                assert await writer.write_records(records) == []
        yield client


async def _entries(client: Client, connection: asyncpg.Connection, rows: Projection) -> None:
    stream = client.memory.ingest(f"migrations/causal/{rows.table}", origin="migrations/causal")
    async with stream:
        async for batch in read_arrow(connection, rows.select(), rows.schema):
            await stream.write(batch.select(list(rows.values)))
    assert not stream.result.item_errors


@pytest.fixture(scope="module")
async def on_core(
    core: Client, memory_server: RunningServer, settings: CausalSettings
) -> AsyncIterator[Callable[..., Any]]:
    """Clients of the module on Core."""
    async with serving_on_core(memory_server, settings) as client:
        yield client


async def test_the_mapping_says_of_every_part_what_becomes_of_it(module: Module) -> None:
    """No rule is broken, no column is forgotten, and every row comes back as it was."""
    assert violations(module.mapping) == []
    assert undecided(module.mapping) == []
    assert forgotten(module.mapping, module.inventory) == []
    assert unknown(module.mapping, module.inventory) == []
    assert mapping_of(mapping_message(module.mapping)) == module.mapping
    assert [each.prefix for each in module.mapping.keys] == [
        "AnalyzeAttribution:",
        "OptimizeBudget:",
    ]
    found = await mapping_problems(module.connection, module.mapping, module.inventory, ORG)
    assert found == []


async def test_what_a_projection_reads_beside_its_table_is_found(module: Module) -> None:
    """The planner says it."""
    items = {item.object: item for item in module.inventory.tables()}
    read = {
        table.table: await tables_read(module.connection, table, items[table.table], ORG)
        for table in module.mapping.tables
    }
    assert {table: names for table, names in read.items() if names} == {
        "public.campaign_performance": ["public.campaigns", "public.platform_accounts"],
        "public.campaigns": ["public.platform_accounts"],
        "public.model_settings": ["public.prior_beliefs"],
    }


async def test_entries_on_core_have_the_sums_of_the_source(module: Module, core: Client) -> None:
    """The database of the module computes the same hashes as Memory's."""
    expected: dict[int, list[int]] = {}
    for each in module.projections.values():
        if each.target is not Target.ENTRIES:
            continue
        for row in await module.connection.fetch(each.sums_sql(BUCKETS)):
            held = expected.setdefault(row["bucket"], [0, 0, 0])
            held[0] += row["row_count"]
            held[1] ^= unsigned(row["hash_xor"])
            held[2] = unsigned(held[2] + int(row["hash_sum"]))
    answer = await core.memory.digest_entries(
        BUCKETS, filter='origin = "migrations/causal"', bucketing="KEY_MD5"
    )
    assert len(answer.buckets) == BUCKETS
    found = {each.bucket: [each.row_count, each.hash_xor, each.hash_sum] for each in answer.buckets}
    assert found == expected


LISTS = {
    "models": ("ListModels", causal_service_pb2.ListModelsRequest, "attribution_models"),
    "results": (
        "ListAttributionResults",
        causal_service_pb2.ListAttributionResultsRequest,
        "attribution_results",
    ),
    "experiments": ("ListExperiments", causal_service_pb2.ListExperimentsRequest, "experiments"),
    "lifts": (
        "ListLiftMeasurements",
        causal_service_pb2.ListLiftMeasurementsRequest,
        "lift_measurements",
    ),
    "budgets": (
        "ListBudgetOptimizations",
        causal_service_pb2.ListBudgetOptimizationsRequest,
        "budget_optimizations",
    ),
}


@pytest.mark.parametrize("kind", LISTS)
async def test_records_are_served_alike(
    causal: Callable[..., Any], on_core: Callable[..., Any], kind: str
) -> None:
    """Each record, to the last field but its etag."""
    method, request, field = LISTS[kind]
    pages = [
        getattr(await getattr(client("reader"), method)(request(parent=PARENT)), field)
        for client in (causal, on_core)
    ]
    before, after = ([_without_etag(each) for each in page] for page in pages)
    assert before
    assert after == before


def json_of(body: Struct) -> dict[str, Any]:
    """Return the JSON of a body."""
    return dict(plain(body))


def _without_etag(message: Message) -> Message:
    if "etag" in message.DESCRIPTOR.fields_by_name:
        message.ClearField("etag")
    return message


async def test_syncs_and_the_configuration_are_served_alike(
    causal: Callable[..., Any], on_core: Callable[..., Any], module: Module
) -> None:
    """What is read by name, and the beliefs that were in a table of their own."""
    (sync,) = await module.connection.fetch("select id from sync_jobs")
    asked = causal_service_pb2.GetPlatformSyncRequest(
        name=f"{PARENT}/platformSyncs/{sync['id'].hex}"
    )
    one = (await causal("reader").GetPlatformSync(asked)).platform_sync
    assert (await on_core("reader").GetPlatformSync(asked)).platform_sync == one
    where = causal_service_pb2.GetConfigurationRequest(name=f"{PARENT}/causalConfiguration")
    kept = (await causal("reader").GetConfiguration(where)).causal_configuration
    moved = (await on_core("reader").GetConfiguration(where)).causal_configuration
    assert len(moved.parameters.priors) == 4
    assert _without_etag(moved) == _without_etag(kept)


async def test_attribution_is_the_same_on_both(
    causal: Callable[..., Any], on_core: Callable[..., Any]
) -> None:
    """From numbers that were moved, with outside series and in another currency."""
    request = analysis(
        training_data=year(currency_code="EUR"),
        parameters=causal_pb2.ModelParameters(controls=["temperature"]),
    )
    one = (await causal("reader").AnalyzeAttribution(request)).attribution_result
    other = (await on_core("reader").AnalyzeAttribution(request)).attribution_result
    assert_equal(one, other)


async def test_results_of_an_earlier_version_are_kept_though_they_are_not_served(
    module: Module, core: Client, on_core: Callable[..., Any]
) -> None:
    """They say nothing but their shares, on either side."""
    old = await module.connection.fetch(
        "select result_id from attribution_results where details ? 'note'"
    )
    assert old
    for row in old:
        artifact = await core.memory.get_artifact(f"causal.results.{row['result_id'].hex}")
        (told,) = json_of(artifact.body)["details"]
        assert told["note"].startswith("computed before")
    listed = await on_core("reader").ListAttributionResults(
        causal_service_pb2.ListAttributionResultsRequest(parent=PARENT)
    )
    assert len(listed.attribution_results) == 1


async def test_records_are_found_by_keys_whether_or_not_rows_are_there(module: Module) -> None:
    """A part of a projection is a part of the whole, and a deleted key still says what it was."""
    for each in module.projections.values():
        names = [*each.keys, *each.values]
        whole = {
            tuple(row[name] for name in each.keys): row
            for row in await module.connection.fetch(f"{each.select()} limit 200")
        }
        keys = sorted(whole)[::3]
        columns = [list(column) for column in zip(*keys, strict=True)]
        some = await module.connection.fetch(each.select(where_keys=True), *columns)
        assert sorted(tuple(row[name] for name in each.keys) for row in some) == keys
        for row in some:
            same = whole[tuple(row[name] for name in each.keys)]
            assert [row[name] for name in names] == [same[name] for name in names]
        told = await module.connection.fetch(each.identities_sql(), *columns)
        assert {tuple(row[name] for name in each.identity) for row in told} == {
            tuple(row[name] for name in each.identity) for row in some
        }
    settings = module.projections["public.model_settings"]
    assert await module.connection.fetch(settings.identities_sql(), ["rival"]) == []


async def test_ranges_of_keys_are_parts_of_the_whole(module: Module) -> None:
    """Nothing between two ranges is lost, nothing comes twice."""
    rows = module.projections["public.campaign_performance"]
    keys = ", ".join(rows.keys)
    every = await module.connection.fetch(f"select {keys} from ({rows.select()}) whole")
    bounds = [tuple(every[place]) for place in (0, 5_000, 5_001, 20_000)]
    parts = [
        await module.connection.fetch(
            rows.select(after=after is not None, up_to=up_to is not None),
            *(after or ()),
            *(up_to or ()),
        )
        for after, up_to in zip([None, *bounds], [*bounds, None], strict=True)
    ]
    found = [tuple(row[name] for name in rows.keys) for part in parts for row in part]
    assert found == [tuple(row) for row in every]
    assert [len(part) for part in parts[:4]] == [1, 5_000, 1, 14_999]

"""Migrations by their API: made, changed, looked at, started and held, with a real module."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from tests.e2e.migration.conftest import REFERENCE

from liftos.migration.v1.migration_pb2 import (
    Gates,
    Migration,
    MigrationState,
    SourceStore,
    Throttle,
)
from liftos.migration.v1.plan_pb2 import (
    CaptureMode,
    Finding,
    FindingSeverity,
    InventoryKind,
    Mapping,
    MappingTarget,
    Waiver,
)
from liftos_cli.mapping_files import read_mapping_file
from liftos_client import Client, connect
from liftos_client.errors import (
    AlreadyExistsError,
    EtagMismatchError,
    FieldInvalidError,
    GateUnmetError,
    NotFoundError,
    RequestIdReusedError,
    StateTransitionError,
)
from liftos_kit.auth import issue_token
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase

SCHEMA = "public"
CAUSAL = Path("services/liftos_causal/migration.yaml")
BLOCKER = FindingSeverity.FINDING_SEVERITY_BLOCKER
DRAFT = Migration(
    display_name="Causal to Core",
    module="causal",
    source=SourceStore(database_reference=REFERENCE, schemas=[SCHEMA]),
)


def _id() -> str:
    return f"m-{uuid4().hex[:8]}"


async def _all_waived(migrations: Client, name: str) -> Mapping:
    """A mapping that leaves every table where it is."""
    await migrations.migration.inspect_source(name)
    items = await migrations.migration.list_inventory(name, filter='kind = "TABLE"').collect()
    return Mapping(waivers=[Waiver(object=item.object, reason="a test") for item in items])


@pytest.fixture
async def draft(migrations: Client) -> Migration:
    """A stored draft without a mapping."""
    return await migrations.migration.create_migration(_id(), DRAFT)


@pytest.fixture
async def ready(migrations: Client, draft: Migration) -> AsyncIterator[Migration]:
    """A draft that nothing blocks; what it did is taken back."""
    draft.mapping.CopyFrom(await _all_waived(migrations, draft.name))
    yield await migrations.migration.update_migration(draft, update_mask=["mapping"])
    left = await migrations.migration.get_migration(draft.name)
    if left.state not in (
        MigrationState.MIGRATION_STATE_CANCELLED,
        MigrationState.MIGRATION_STATE_ROLLING_BACK,
    ):
        await migrations.migration.cancel_migration(draft.name, "the test is over")


class TestDrafts:
    """Before anything is read or written."""

    async def test_a_draft_has_the_defaults_that_hold(self, draft: Migration) -> None:
        """What was left out is filled in, and who reads it sees what will be done."""
        assert draft.state == MigrationState.MIGRATION_STATE_DRAFT
        assert draft.gates.minimum_accuracy == pytest.approx(0.999)
        assert draft.budgets.maximum_rollback.ToTimedelta().total_seconds() == 1_800
        assert draft.throttle.maximum_connections == 4
        assert draft.capture_mode == CaptureMode.CAPTURE_MODE_UNSPECIFIED
        assert len(draft.plan_sha256) == 64

    async def test_it_is_read_listed_changed_and_deleted(
        self, migrations: Client, draft: Migration
    ) -> None:
        """With its etag each time; a draft leaves nothing behind."""
        client = migrations.migration
        draft.display_name = "Another name"
        changed = await client.update_migration(draft, update_mask=["display_name"])
        assert changed.display_name == "Another name"
        assert changed.etag != draft.etag
        with pytest.raises(EtagMismatchError):
            await client.update_migration(draft, update_mask=["display_name"])
        listed = await client.list_migrations(filter='display_name = "Another name"').collect()
        assert [each.name for each in listed] == [draft.name]
        assert await client.list_migrations(filter="state = VERIFIED").collect() == []
        await client.delete_migration(draft.name)
        with pytest.raises(NotFoundError):
            await client.get_migration(draft.name)

    async def test_one_request_is_carried_out_once(self, migrations: Client) -> None:
        """The same id answers the same; with another payload it is refused."""
        id_, request_id = _id(), str(uuid4())
        client = migrations.migration
        first = await client.create_migration(id_, DRAFT, request_id=request_id)
        assert await client.create_migration(id_, DRAFT, request_id=request_id) == first
        with pytest.raises(RequestIdReusedError):
            await client.create_migration(_id(), DRAFT, request_id=request_id)
        with pytest.raises(AlreadyExistsError):
            await client.create_migration(id_, DRAFT)

    async def test_checking_stores_nothing(self, migrations: Client) -> None:
        """It answers as if it had."""
        id_ = _id()
        answer = await migrations.migration.create_migration(id_, DRAFT, validate_only=True)
        assert answer.name.endswith(id_)
        with pytest.raises(NotFoundError):
            await migrations.migration.get_migration(id_)

    async def test_every_rule_that_is_broken_is_named(self, migrations: Client) -> None:
        """By the place in the request, all at once."""
        wrong = Migration()
        wrong.CopyFrom(DRAFT)
        wrong.gates.CopyFrom(Gates(minimum_accuracy=0.9, hold_accuracy=0.95))
        wrong.mapping.tables.add(table="causal.a", target=MappingTarget.MAPPING_TARGET_ENTRIES)
        wrong.mapping.tables.add(table="causal.a", target=MappingTarget.MAPPING_TARGET_NOTES)
        with pytest.raises(FieldInvalidError) as raised:
            await migrations.migration.create_migration(_id(), wrong)
        fields = {each.field for each in raised.value.field_violations}
        assert "migration.gates.hold_accuracy" in fields
        assert any(field.startswith("migration.mapping.tables[") for field in fields)


class TestLooking:
    """What a source has and allows."""

    async def test_preflight_names_what_is_not_decided(
        self, migrations: Client, draft: Migration
    ) -> None:
        """An empty mapping blocks; how changes can be seen is told all the same."""
        report = await migrations.migration.preflight(draft.name)
        assert not report.startable
        assert not report.cut_over_allowed
        assert report.capture_modes[0] == CaptureMode.CAPTURE_MODE_LOG
        blockers = {
            each.object
            for each in report.findings
            if each.severity == BLOCKER and each.code == "NOT_MAPPED"
        }
        assert f"{SCHEMA}.campaign_performance" in blockers
        assert all(each.remedy for each in report.findings)

    async def test_an_expression_that_the_source_refuses_is_told_in_its_words(
        self, migrations: Client, draft: Migration
    ) -> None:
        """The table, and what Postgres says."""
        mapping = draft.mapping.tables.add(
            table=f"{SCHEMA}.exchange_rates",
            target=MappingTarget.MAPPING_TARGET_EXCHANGE_RATES,
        )
        for field, sql in (
            ("currency_code", "currency_code"),
            ("date", "no_such_column"),
            ("rate", "rate"),
        ):
            mapping.rules.add(target_field=field, expression=sql)
        changed = await migrations.migration.update_migration(draft, update_mask=["mapping"])
        report = await migrations.migration.preflight(changed.name)
        told = [each for each in report.findings if "no_such_column" in each.found]
        assert told
        assert told[0].object.startswith(f"{SCHEMA}.exchange_rates")

    async def test_platforms_that_core_does_not_know_block(
        self, migrations: Client, memory_server: RunningServer, draft: Migration
    ) -> None:
        """Each is named once, with the command that registers it; then nothing is left to say."""
        _, mapping = read_mapping_file(CAUSAL)
        draft.mapping.CopyFrom(mapping)
        said = {"public.shop_orders_daily": "'tiktok'", "public.external_factors": "'Weather'"}
        for table in draft.mapping.tables:
            for rule in table.rules:
                if table.table in said and rule.target_field == "platform":
                    rule.expression = said[table.table]
        changed = await migrations.migration.update_migration(draft, update_mask=["mapping"])

        async def unknown() -> dict[str, Finding]:
            report = await migrations.migration.preflight(changed.name)
            assert report.startable == all(it.severity != BLOCKER for it in report.findings)
            return {
                it.object: it
                for it in report.findings
                if it.code == "PLATFORM_UNKNOWN" and it.severity == BLOCKER
            }

        found = await unknown()
        assert set(found) == {"tiktok", "Weather"}
        assert "public.campaign_performance, public.shop_orders_daily" in found["tiktok"].found
        assert found["tiktok"].remedy == "liftos platforms add tiktok --name 'Tiktok'"
        assert "small letters" in found["Weather"].remedy
        token = issue_token(secret=SECRET.encode(), org="acme", subject="ada", roles=["admin"])
        async with connect(memory_server.target, token=token) as client:
            await client.memory.upsert_source("tiktok", display_name="TikTok")
        assert set(await unknown()) == {"Weather"}

    async def test_the_inventory_is_complete_and_says_what_is_missing(
        self, migrations: Client, draft: Migration
    ) -> None:
        """Tables with their columns, keys and rows; filters narrow it."""
        client = migrations.migration
        with pytest.raises(NotFoundError):
            await client.list_inventory(draft.name).collect()
        summary = await client.inspect_source(draft.name)
        items = await client.list_inventory(draft.name, page_size=7).collect()
        assert len(items) == summary.item_count
        tables = [it for it in items if it.kind == InventoryKind.INVENTORY_KIND_TABLE]
        assert summary.unmapped_count == len(tables)
        performance = next(it for it in tables if it.object.endswith(".campaign_performance"))
        assert performance.row_count > 0
        assert performance.key_columns
        assert {column.column for column in performance.columns} >= {"spend"}
        assert [it.object for it in items] == [
            it.object for it in sorted(items, key=lambda it: (it.kind, it.object))
        ]

    async def test_a_mapping_is_drafted_with_what_a_person_has_to_decide(
        self, migrations: Client, draft: Migration
    ) -> None:
        """Beside rows and what they become; it can be taken as it is."""
        client = migrations.migration
        drafted = await client.draft_mapping(draft.name, sample_count=2)
        tables = {each.table for each in drafted.mapping.tables}
        asked = {each.object for each in drafted.questions}
        assert "public.campaign_performance" in tables & asked
        [first, second] = [
            each for each in drafted.samples if each.table == "public.campaign_performance"
        ]
        assert first.source_row["campaign_id"] == first.target_record["campaign_id"]
        assert first.source_row != second.source_row
        assert not [error for each in drafted.samples for error in each.errors]
        draft.mapping.CopyFrom(drafted.mapping)
        changed = await client.update_migration(draft, update_mask=["mapping"])
        assert len(changed.mapping.tables) == len(tables)

    async def test_another_org_may_not_name_the_source(
        self, migrations: Client, draft: Migration
    ) -> None:
        """A variable that was not granted is not read, whatever it holds."""
        draft.source.database_reference = "LIFTOS_POSTGRES_URL"
        await migrations.migration.update_migration(draft, update_mask=["source"])
        with pytest.raises(FieldInvalidError) as raised:
            await migrations.migration.preflight(draft.name)
        [violation] = raised.value.field_violations
        assert violation.field == "migration.source.database_reference"
        assert "LIFTOS_SOURCE_ENVIRONMENT_PREFIXES" in violation.description


class TestSteering:
    """Started, held and given up; a worker does the steps."""

    async def test_what_blocks_keeps_it_from_starting(
        self, migrations: Client, draft: Migration
    ) -> None:
        """Each unmet gate with what was found."""
        with pytest.raises(GateUnmetError) as raised:
            await migrations.migration.start_migration(draft.name)
        gates = raised.value.field_violations
        assert any(gate.rule.startswith("NOT_MAPPED") for gate in gates)
        unchanged = await migrations.migration.get_migration(draft.name)
        assert unchanged.state == MigrationState.MIGRATION_STATE_DRAFT

    async def test_a_dry_run_changes_nothing_but_the_ledger(
        self, migrations: Client, ready: Migration
    ) -> None:
        """The decision says that nothing was done."""
        answer = await migrations.migration.start_migration(ready.name, dry_run=True)
        assert answer.decision.dry_run
        assert answer.migration.state == MigrationState.MIGRATION_STATE_DRAFT

    async def test_a_fresh_report_of_the_same_plan_will_do(
        self, migrations: Client, ready: Migration, stores: Stack, module_database: TestDatabase
    ) -> None:
        """The source is looked at again only where the plan is another one."""
        client = migrations.migration
        assert (await client.preflight(ready.name)).startable
        owner = await asyncpg.connect(stores.postgres_admin_url(module_database.name))
        try:
            await owner.execute("create table public.unheard (id int primary key)")
            answer = await client.start_migration(ready.name, dry_run=True)
            assert answer.decision.reason.endswith("s ago")
            answer.migration.budgets.maximum_pause.FromSeconds(20)
            await client.update_migration(answer.migration, update_mask=["budgets"])
            with pytest.raises(GateUnmetError) as raised:
                await client.start_migration(ready.name, dry_run=True)
            assert "public.unheard" in raised.value.field_violations[0].rule
        finally:
            await owner.execute("drop table if exists public.unheard")
            await owner.close()

    async def test_it_goes_through_its_first_steps_and_stops_when_told(
        self, migrations: Client, ready: Migration, working: None
    ) -> None:
        """Steps are in the ledger, each decision is chained to the one before."""
        client = migrations.migration
        await client.start_migration(ready.name)
        async with asyncio.timeout(60):
            async for answer in client.watch_migration(ready.name):
                if answer.migration.state not in (
                    MigrationState.MIGRATION_STATE_DRAFT,
                    MigrationState.MIGRATION_STATE_PREFLIGHT,
                ):
                    break
        steps = await client.list_steps(ready.name).collect()
        assert [step.title for step in steps][:2] == ["preflight", "inventory"]
        assert all(len(step.sha256) == 32 for step in steps[:2])
        current = await client.get_migration(ready.name)
        if current.state != MigrationState.MIGRATION_STATE_PAUSED:
            paused = await client.pause_migration(ready.name, "month-end close")
            assert paused.migration.state == MigrationState.MIGRATION_STATE_PAUSED
            assert "month-end close" in paused.migration.state_reason
            assert paused.decision.subject == "ada"
            with pytest.raises(StateTransitionError):
                await client.pause_migration(ready.name, "again")
        decisions = await client.list_decisions(ready.name).collect()
        assert decisions[-1].action == "start"
        assert len({decision.sha256 for decision in decisions}) == len(decisions)
        with pytest.raises(StateTransitionError):
            await client.delete_migration(ready.name)

    async def test_cancelling_takes_back_and_ends(
        self, migrations: Client, ready: Migration, working: None
    ) -> None:
        """A watch ends with the migration."""
        client = migrations.migration
        await client.start_migration(ready.name)
        await client.cancel_migration(ready.name, "not this year")
        async with asyncio.timeout(60):
            states = [answer.migration.state async for answer in client.watch_migration(ready.name)]
        assert states[-1] == MigrationState.MIGRATION_STATE_CANCELLED

    async def test_the_throttle_is_kept(self, migrations: Client, draft: Migration) -> None:
        """All of it; what is left out takes its default."""
        updated = await migrations.migration.set_throttle(draft.name, Throttle(maximum_share=0.5))
        assert updated.throttle.maximum_share == pytest.approx(0.5)
        assert updated.throttle.maximum_connections == 4

"""A migration rehearsed: on a copy of its source, in a stack that leaves nothing behind."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from liftos.memory.v1.source_pb2 import Source
from liftos.migration.v1.migration_pb2 import Migration, MigrationState, SourceStore
from liftos.migration.v1.plan_pb2 import Mapping, MappingRule, MappingTarget, TableMapping
from liftos_cli.errors import CommandError
from liftos_cli.rehearsal import rehearse, rehearsed, result_rows
from liftos_local.stack import Stack
from liftos_local.state import StackState, read_status
from liftos_local.testing import fresh_database

pytestmark = pytest.mark.timeout(300)

REFERENCE: Final = "REHEARSED_DATABASE_URL"
SOURCES: Final = (
    Source(name="orgs/demo/sources/meta", display_name="Meta", built_in=True),
    Source(name="orgs/demo/sources/kiosk", display_name="Kiosk"),
)
DAYS: Final = """
create table days (day date, campaign text, clicks bigint not null, primary key (day, campaign));
insert into days
select date '2026-01-01' + n % 6,
       (array['Amber', 'Birch', 'Copper', 'Delta', 'Ember', 'Fern'])[1 + n / 6 % 6] || ' ' ||
       (array['harvest', 'lantern', 'meadow'])[1 + n / 36], n
from generate_series(0, 107) n
"""
RULES: Final = {
    "date": "day",
    "platform": "'kiosk'",
    "level": "'CAMPAIGN'",
    "account_id": "'1'",
    "campaign_id": "replace(lower(campaign), ' ', '-')",
    "campaign_name": "campaign",
    "clicks": "clicks",
}
REAL: Final = Migration(
    name="orgs/demo/migrations/kiosk",
    display_name="Kiosk",
    module="kiosk",
    source=SourceStore(
        database_reference=REFERENCE, schemas=["public"], probe_target="127.0.0.1:1"
    ),
    mapping=Mapping(
        tables=[
            TableMapping(
                table="public.days",
                target=MappingTarget.MAPPING_TARGET_ENTRIES,
                rules=[
                    MappingRule(target_field=field, expression=expression)
                    for field, expression in RULES.items()
                ],
            )
        ],
        version="1",
    ),
    state=MigrationState.MIGRATION_STATE_PAUSED,
    etag="7",
    epoch=3,
)


@pytest.fixture
async def source(
    stores: Stack, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[asyncpg.Connection]:
    """The module's database, which the variable names."""
    with fresh_database(stores) as database:
        monkeypatch.setenv(REFERENCE, database.owner_url)
        connection = await asyncpg.connect(database.owner_url)
        await connection.execute(DAYS)
        yield connection
        await connection.close()


def _nobody(_: str, __: int, ___: int) -> None:
    """Tell nobody."""


async def test_all_of_a_migration_runs_on_a_copy(
    source: asyncpg.Connection, tmp_path: Path
) -> None:
    """Up to VERIFIED with every row, and the source has nothing of it."""
    before = await source.fetchval("select count(*) from pg_replication_slots")
    result = await rehearse(REAL, SOURCES, data_dir=tmp_path / "none", at=tmp_path, advance=_nobody)
    assert result.succeeded, result.migration.state_reason
    assert result.migration.rehearsal
    rows = {what: (estimated, measured) for what, estimated, measured in result_rows(result)}
    assert rows["rows"] == ("108", "108")
    assert rows["rows that differ"] == ("0", "0")
    assert rows["rows refused"] == ("0", "0")
    assert rows["accuracy"] == rows["completeness"] == ("100 %", "100.0000%")
    assert result.seconds > 0
    assert (result.step_seconds(MigrationState.MIGRATION_STATE_COPYING) or 0) > 0
    assert read_status(tmp_path / "stack").state is StackState.STOPPED

    assert await source.fetchval("select count(*) from pg_replication_slots") == before
    schemas = await source.fetch("select nspname from pg_namespace where nspname like '%liftos%'")
    assert schemas == []


async def test_a_source_that_is_not_known_here_is_told(tmp_path: Path) -> None:
    """With where to rehearse; nothing is started."""
    with pytest.raises(CommandError, match=REFERENCE) as unknown:
        await rehearse(REAL, SOURCES, data_dir=tmp_path / "none", at=tmp_path, advance=_nobody)
    assert "worker runs" in unknown.value.advice
    assert not (tmp_path / "copy").exists()


def test_a_rehearsal_is_made_as_the_migration_was() -> None:
    """With all that a person wrote, and nothing of where it stands; the module is not asked."""
    draft = rehearsed(REAL)
    assert draft.rehearsal
    assert (draft.mapping, draft.display_name) == (REAL.mapping, "Kiosk")
    assert draft.source.database_reference == REFERENCE
    assert (draft.source.probe_target, draft.etag, draft.epoch, draft.state) == ("", "", 0, 0)

"""The composition root of Migration's worker, which advances migrations."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final

import asyncpg
import structlog

from liftos_client import OrgClients
from liftos_kit import postgres, telemetry, worker_process
from liftos_kit.forgetting import keep_forgetting
from liftos_kit.service_tokens import service_tokens
from liftos_migration.adapters.causal_probe import causal_probe
from liftos_migration.adapters.core import CoreWriter
from liftos_migration.adapters.core_digests import MemoryDigests
from liftos_migration.adapters.core_platforms import MemoryPlatforms
from liftos_migration.adapters.memory_clients import memory_clients
from liftos_migration.adapters.postgres.copying import PostgresCopyLedger
from liftos_migration.adapters.postgres.database import SCHEMA, SCHEMA_VERSION
from liftos_migration.adapters.postgres.inspections import PostgresInspections
from liftos_migration.adapters.postgres.ledger import PostgresLedger
from liftos_migration.adapters.postgres.rejects import PostgresRejects
from liftos_migration.adapters.postgres.snapshots import PostgresSnapshotRecords
from liftos_migration.adapters.postgres.verifications import PostgresVerifications
from liftos_migration.adapters.postgres.waking import wake_on_change
from liftos_migration.adapters.source.checking import PostgresMappingChecker
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.dumping import DumpedSnapshots
from liftos_migration.adapters.source.inspecting import PostgresInspector
from liftos_migration.adapters.source.latency import ModuleLatency
from liftos_migration.adapters.source.opening import SourceOpener
from liftos_migration.adapters.source.references import SourceReferences
from liftos_migration.adapters.source.rows import PostgresRows
from liftos_migration.adapters.source.snapshot_reading import PostgresSnapshot
from liftos_migration.adapters.source.tools import PostgresTools
from liftos_migration.ledger_ports import Lease, StoredMigration
from liftos_migration.settings import MigrationSettings
from liftos_migration.usecases.catching_up import CatchingUp, CatchUp, KeepUp
from liftos_migration.usecases.copying import CopyTables
from liftos_migration.usecases.inspecting import Inspecting, InventoryStep
from liftos_migration.usecases.key_records import CopyKeys, KeyRecords
from liftos_migration.usecases.preflighting import Preflighting, PreflightStep
from liftos_migration.usecases.preparing import PrepareCapture
from liftos_migration.usecases.rejects import TryWhatIsAsked
from liftos_migration.usecases.repairing import ComparedTables
from liftos_migration.usecases.running import RunnerTimes, Running
from liftos_migration.usecases.snapshotting import AfterSnapshot, Snapshots, TakeSnapshot
from liftos_migration.usecases.steps import ContinuousWork, Source, StepContext, StepWork
from liftos_migration.usecases.verification_work import (
    VerifyBeforeVerified,
    Verifying,
    VerifyWhatIsAsked,
)
from liftos_migration.verification_ports import ModuleProbe

_CAUSAL: Final = "causal"

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.worker")


def work(settings: MigrationSettings) -> int:
    """Work until a signal.

    Returns:
        The exit code: 0 after a clean end, 2 if the worker could not start or go on.
    """
    return worker_process.work(
        "liftos-migration-worker", settings, partial(advance_migrations, settings)
    )


async def advance_migrations(settings: MigrationSettings, stop: asyncio.Event) -> None:
    """Advance migrations until `stop`.

    Raises:
        SchemaOutdatedError: The database has an older schema.
        StoreUnavailableError: Postgres does not answer at the start.
    """
    assert settings.postgres_url is not None, "checked by load"
    postgres_url = settings.postgres_url.get_secret_value()
    pool = await postgres.create_pool(
        postgres_url,
        application_name="liftos-migration-worker",
        minimum=1,
        maximum=settings.postgres_connections,
        schema=SCHEMA,
    )
    clients = memory_clients(settings)
    references = settings.source_references()
    latency = ModuleLatency()
    try:
        await postgres.require_version(pool, SCHEMA_VERSION, schema=SCHEMA)
        running = Running(
            PostgresLedger(pool),
            _plan(settings, pool, clients, references, latency),
            partial(_connected, clients, references),
            # A process that is started again is another owner, whatever it is called.
            owner=f"{settings.effective_worker_name}/{secrets.token_hex(4)}",
            concurrency=settings.worker_concurrency,
            times=RunnerTimes(
                lease_seconds=settings.lease_seconds, grace_seconds=settings.drain_seconds
            ),
            traced=lambda title: telemetry.background_span(f"migration {title}", {}),
        )
        wake = asyncio.Event()
        _log.info("working", worker=settings.effective_worker_name)
        # An error in any of them ends the worker, so that it is seen and started again.
        async with asyncio.TaskGroup() as programs:
            programs.create_task(running.run(stop, wake), name="migrations")
            programs.create_task(wake_on_change(postgres_url, wake, stop), name="wake-ups")
            programs.create_task(keep_forgetting(pool, stop), name="old requests")
    finally:
        await latency.close()
        await clients.close()
        await pool.close()


class _Plan:
    """What the migrations of this worker consist of; see `liftos_migration.usecases.running`."""

    def __init__(self, steps: Sequence[StepWork], continuous: Sequence[ContinuousWork]) -> None:
        self._steps = steps
        self._continuous = continuous

    def steps(self, migration: StoredMigration) -> Sequence[StepWork]:  # noqa: ARG002  # all alike
        """Return the steps of a migration."""
        return self._steps

    def continuous(self, migration: StoredMigration) -> Sequence[ContinuousWork]:  # noqa: ARG002
        """Return the work that goes on beside its steps."""
        return self._continuous


def _plan(
    settings: MigrationSettings,
    pool: asyncpg.Pool,
    clients: OrgClients,
    references: SourceReferences,
    latency: ModuleLatency,
) -> _Plan:
    inspector = PostgresInspector(references, settings.source_files_directory)
    inspections = PostgresInspections(pool)
    ledger, copies = PostgresLedger(pool), PostgresCopyLedger(pool)
    reader, tools, runs = PostgresRows(), PostgresTools(), PostgresVerifications(pool)

    def digests(org: str, migration: str) -> MemoryDigests:
        return MemoryDigests(clients.of(org).memory, f"migrations/{migration}")

    whole = ComparedTables(digests, PostgresSnapshot, copies)
    catching_up = CatchingUp(reader, tools, copies, whole, latency=latency)
    keys = KeyRecords(SourceOpener(references).keys, digests)
    verifying = Verifying(
        catching_up=catching_up,
        runs=runs,
        reader=reader,
        digests=digests,
        snapshot=PostgresSnapshot,
        refusals=copies,
        keys=keys,
        probes=partial(_probed, settings),
    )
    checker = PostgresMappingChecker(references, MemoryPlatforms(clients))
    snapshots = Snapshots(
        _snapshot_store(settings, references),
        PostgresSnapshotRecords(pool),
        ledger,
        inspector,
        timedelta(seconds=settings.snapshot_maximum_age_seconds),
    )
    return _Plan(
        steps=(
            PreflightStep(Preflighting(inspector, checker, inspections), inspections),
            InventoryStep(Inspecting(inspector, inspections), inspections),
            TakeSnapshot(snapshots),
            AfterSnapshot(PrepareCapture(reader, tools, ledger, copies), snapshots),
            CopyTables(reader, copies, catching_up, whole),
            CopyKeys(keys),
            CatchUp(catching_up),
            VerifyBeforeVerified(verifying, runs),
        ),
        continuous=(
            KeepUp(catching_up, reader),
            VerifyWhatIsAsked(verifying, runs),
            TryWhatIsAsked(catching_up, PostgresRejects(pool)),
        ),
    )


def _snapshot_store(
    settings: MigrationSettings, references: SourceReferences
) -> DumpedSnapshots | None:
    if settings.snapshot_directory is None:
        return None
    assert settings.snapshot_restore_url is not None, "checked by load"
    return DumpedSnapshots(
        settings.snapshot_directory,
        references,
        settings.snapshot_restore_url.get_secret_value(),
        jobs=settings.snapshot_jobs,
    )


@asynccontextmanager
async def _probed(
    settings: MigrationSettings, context: StepContext
) -> AsyncIterator[tuple[ModuleProbe, ModuleProbe] | None]:
    """Yield probes of both sides of the module that moves; None where it cannot be asked."""
    target = context.spec.source.probe_target
    if context.spec.module != _CAUSAL or not target or not settings.causal_address:
        yield None
        return
    tokens = service_tokens(settings, subject="liftos-migration", scopes=(_CAUSAL,))
    async with (
        causal_probe(target, tokens.token, "the module") as module,
        causal_probe(settings.causal_address, tokens.token, "the module on Core") as on_core,
    ):
        yield module, on_core


@asynccontextmanager
async def _connected(
    clients: OrgClients, references: SourceReferences, stored: StoredMigration, lease: Lease
) -> AsyncIterator[tuple[Source, Any]]:
    """Yield the source of a migration, and the writer to Core."""
    source = stored.spec.source
    url = references.url(
        lease.org, source.database_reference, path="migration.source.database_reference"
    )
    yield (
        SourceConnections(url, source.schemas, maximum=stored.spec.throttle.maximum_connections),
        CoreWriter(
            clients.of(lease.org).memory,
            org=lease.org,
            migration=lease.migration,
            epoch=lease.epoch,
        ),
    )

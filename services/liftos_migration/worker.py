"""The composition root of Migration's worker, which advances migrations."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final

import structlog

from liftos_client import OrgClients, TlsOptions, connect
from liftos_kit import postgres, telemetry, worker_process
from liftos_kit.service_tokens import service_tokens
from liftos_migration.adapters.core import CoreWriter
from liftos_migration.adapters.postgres.database import SCHEMA, SCHEMA_VERSION
from liftos_migration.adapters.postgres.inspections import PostgresInspections
from liftos_migration.adapters.postgres.ledger import PostgresLedger
from liftos_migration.adapters.postgres.snapshots import PostgresSnapshotRecords
from liftos_migration.adapters.postgres.waking import wake_on_change
from liftos_migration.adapters.source.checking import PostgresMappingChecker
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.dumping import DumpedSnapshots
from liftos_migration.adapters.source.inspecting import PostgresInspector
from liftos_migration.adapters.source.references import SourceReferences
from liftos_migration.ledger_ports import Lease, StoredMigration
from liftos_migration.settings import MigrationSettings
from liftos_migration.usecases.inspecting import Inspecting, InventoryStep
from liftos_migration.usecases.preflighting import Preflighting, PreflightStep
from liftos_migration.usecases.running import RunnerTimes, Running
from liftos_migration.usecases.snapshotting import Snapshots, TakeSnapshot
from liftos_migration.usecases.steps import ContinuousWork, Source, StepWork

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.worker")


def work(settings: MigrationSettings) -> int:
    """Work until a signal.

    Returns:
        The exit code: 0 after a clean end, 2 if the worker could not start or go on.
    """
    return worker_process.work(
        "liftos-migration-worker", settings, partial(advance_migrations, settings)
    )


def memory_clients(settings: MigrationSettings) -> OrgClients:
    """Return the clients of Memory of all orgs."""
    tokens = service_tokens(settings, subject="liftos-migration", scopes=("memory",))
    tls = TlsOptions.of_files(
        settings.memory_ca_file, settings.memory_certificate_file, settings.memory_key_file
    )
    return OrgClients(
        lambda org: connect(settings.memory_address, token=partial(tokens.token, org), tls=tls)
    )


def snapshot_store(
    settings: MigrationSettings, references: SourceReferences
) -> DumpedSnapshots | None:
    """Return where snapshots are kept and tested; None where the operator named no place."""
    if settings.snapshot_directory is None or settings.snapshot_restore_url is None:
        return None
    return DumpedSnapshots(
        settings.snapshot_directory,
        references,
        settings.snapshot_restore_url.get_secret_value(),
        jobs=settings.snapshot_jobs,
    )


class WorkerPlan:
    """What the migrations of this worker consist of.

    Args:
        steps: Up to VERIFIED, those of a state in their order.
        continuous: What goes on beside them.
    """

    def __init__(self, steps: Sequence[StepWork], continuous: Sequence[ContinuousWork]) -> None:
        self._steps = steps
        self._continuous = continuous

    def steps(self, migration: StoredMigration) -> Sequence[StepWork]:  # noqa: ARG002  # all alike
        """Return the steps of a migration."""
        return self._steps

    def continuous(self, migration: StoredMigration) -> Sequence[ContinuousWork]:  # noqa: ARG002
        """Return the work that goes on beside its steps."""
        return self._continuous


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
    try:
        await postgres.require_version(pool, SCHEMA_VERSION, schema=SCHEMA)
        inspector = PostgresInspector(references, settings.source_files_directory)
        checker = PostgresMappingChecker(references)
        inspections = PostgresInspections(pool)

        snapshots = Snapshots(
            store=snapshot_store(settings, references),
            records=PostgresSnapshotRecords(pool),
            ledger=PostgresLedger(pool),
            inspector=inspector,
            maximum_age=timedelta(seconds=settings.snapshot_maximum_age_seconds),
        )

        @asynccontextmanager
        async def connected(
            stored: StoredMigration, lease: Lease
        ) -> AsyncIterator[tuple[Source, Any]]:
            source = stored.spec.source
            url = references.url(
                lease.org,
                source.database_reference,
                path="migration.source.database_reference",
            )
            connections = SourceConnections(
                url, source.schemas, maximum=stored.spec.throttle.maximum_connections
            )
            memory = clients.of(lease.org).memory
            core = CoreWriter(memory, org=lease.org, migration=lease.migration, epoch=lease.epoch)
            yield connections, core

        plan = WorkerPlan(
            steps=(
                PreflightStep(Preflighting(inspector, checker, inspections), inspections),
                InventoryStep(Inspecting(inspector, inspections), inspections),
                TakeSnapshot(snapshots),
            ),
            continuous=(),
        )
        running = Running(
            PostgresLedger(pool),
            plan,
            connected,
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
    finally:
        await clients.close()
        await pool.close()

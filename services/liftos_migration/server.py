"""The composition root of Migration's server."""

from typing import Final

import grpc

from liftos.migration.v1 import migration_service_pb2, migration_service_pb2_grpc
from liftos_kit import postgres
from liftos_kit.core.clock import SystemClock
from liftos_kit.core.paging import PageTokens
from liftos_kit.health import StoreProbe
from liftos_kit.server import Application, Services
from liftos_kit.servicer_parts import combine
from liftos_migration.adapters.core_digests import MemoryDigests
from liftos_migration.adapters.core_platforms import MemoryPlatforms
from liftos_migration.adapters.memory_clients import memory_clients
from liftos_migration.adapters.postgres.database import SCHEMA, SCHEMA_VERSION
from liftos_migration.adapters.postgres.inspections import PostgresInspections
from liftos_migration.adapters.postgres.migrations import PostgresMigrations
from liftos_migration.adapters.postgres.rejects import PostgresRejects
from liftos_migration.adapters.postgres.snapshots import PostgresSnapshotRecords
from liftos_migration.adapters.postgres.verifications import PostgresVerifications
from liftos_migration.adapters.source.checking import PostgresMappingChecker
from liftos_migration.adapters.source.inspecting import PostgresInspector
from liftos_migration.adapters.source.opening import SourceOpener
from liftos_migration.adapters.source.sampling import PostgresSampler
from liftos_migration.servicer.drafting import DraftingServicer
from liftos_migration.servicer.lineage import LineageServicer
from liftos_migration.servicer.migrations import MigrationsServicer
from liftos_migration.servicer.plans import PlansServicer
from liftos_migration.servicer.rejects import RejectsServicer
from liftos_migration.servicer.snapshots import SnapshotsServicer
from liftos_migration.servicer.verifications import VerificationsServicer
from liftos_migration.settings import MigrationSettings
from liftos_migration.usecases.drafting import Drafting
from liftos_migration.usecases.inspecting import Inspecting
from liftos_migration.usecases.lineage import Lineage
from liftos_migration.usecases.migrations import MigrationAdministration
from liftos_migration.usecases.preflighting import Preflighting
from liftos_migration.usecases.rejects import RejectAdministration
from liftos_migration.usecases.verifications import VerificationAdministration

SERVICE_NAME: Final = "liftos.migration.v1.MigrationService"

_LATER: Final = (
    *("StartShadow", "StopShadow", "GetShadowStats", "ShiftTraffic", "CutOver", "Drill"),
    *("Rollback", "Complete", "SetTriggers", "ReportIssue", "ListIssueReports", "Accept"),
    *("GetReport", "VerifyReport", "GetRoutingPolicy", "WatchRoutingPolicy", "SetRoutingPolicy"),
)
"""Methods of the contract that this version does not have."""


def application(settings: MigrationSettings) -> Application:
    """Return Migration, ready to be served."""
    return Application(
        name="liftos-migration",
        settings=settings,
        service_names=(SERVICE_NAME,),
        open=lambda: open_services(settings),
    )


async def open_services(settings: MigrationSettings) -> Services:
    """Connect to Postgres and put the service together.

    Raises:
        SchemaOutdatedError: The database has an older schema.
        StoreUnavailableError: Postgres does not answer.
    """
    assert settings.postgres_url is not None, "checked by load"
    pool = await postgres.create_pool(
        settings.postgres_url.get_secret_value(),
        application_name="liftos-migration",
        minimum=1,
        maximum=settings.postgres_connections,
        schema=SCHEMA,
    )
    await postgres.require_version(pool, SCHEMA_VERSION, schema=SCHEMA)
    clock = SystemClock()
    page_tokens = PageTokens(settings.page_token_key)
    references = settings.source_references()
    clients = memory_clients(settings)
    inspector = PostgresInspector(references, settings.source_files_directory)
    checker = PostgresMappingChecker(references, MemoryPlatforms(clients))
    inspections = PostgresInspections(pool)
    administration = MigrationAdministration(PostgresMigrations(pool), clock)
    preflighting = Preflighting(inspector, checker, inspections)
    servicer = combine(
        migration_service_pb2.DESCRIPTOR.services_by_name["MigrationService"],
        [
            MigrationsServicer(
                administration=administration,
                preflighting=preflighting,
                clock=clock,
                page_tokens=page_tokens,
            ),
            VerificationsServicer(
                administration=VerificationAdministration(
                    administration, PostgresVerifications(pool)
                ),
                page_tokens=page_tokens,
            ),
            LineageServicer(
                administration=administration,
                lineage=Lineage(
                    SourceOpener(references).snapshot,
                    lambda org, migration: MemoryDigests(
                        clients.of(org).memory, f"migrations/{migration}"
                    ),
                ),
            ),
            RejectsServicer(
                administration=RejectAdministration(administration, PostgresRejects(pool), clock),
                page_tokens=page_tokens,
            ),
            SnapshotsServicer(
                administration=administration,
                snapshots=PostgresSnapshotRecords(pool),
                page_tokens=page_tokens,
            ),
            DraftingServicer(
                administration=administration,
                drafting=Drafting(inspector, PostgresSampler(references)),
            ),
            PlansServicer(
                administration=administration,
                preflighting=preflighting,
                inspecting=Inspecting(inspector, inspections),
                page_tokens=page_tokens,
            ),
        ],
        later=_LATER,
    )

    def register(server: grpc.aio.Server) -> None:
        migration_service_pb2_grpc.add_MigrationServiceServicer_to_server(servicer, server)

    return Services(
        register=register,
        probes=(StoreProbe("postgres", lambda: pool.fetchval("/* ping */ select 1")),),
        close=(clients.close, pool.close),
    )

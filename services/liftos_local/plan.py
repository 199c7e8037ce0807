"""What a stack consists of: the table of services, and the plan the supervisor is given."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from liftos_local.directory import DataDirectory, Secrets, write_atomically

STORES: Final = ("postgres", "redis", "milvus")
HOST: Final = "127.0.0.1"
DATABASE: Final = "liftos"
ADMIN_ROLE: Final = "liftos_admin"
OWNER_ROLE: Final = "liftos_owner"
APP_ROLE: Final = "liftos_app"
RESTORE_ROLE: Final = "liftos_restore"

MODULE_POSTGRES: Final = "causal-module-db"
MODULE_REDIS: Final = "causal-redis-cache"
MODULE_STORES: Final = (MODULE_POSTGRES, MODULE_REDIS)
"""Stores of the Causal module's own, where one runs beside."""
MODULE_DATABASE: Final = "causal_module_db"
MODULE_ROLE: Final = "causal_module"


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One process of a service: `python -m <module> <arguments>`.

    Attributes:
        name: of the process and, where it listens, of its port; `<name>-metrics` is the
            port of its metrics.
        module: what Python runs.
        arguments: of the module.
        listens: whether it serves gRPC.
        health_service: asked through grpc.health.v1; unset for a process that does not listen,
            which is healthy as long as it lives.
        migrates: whether `python -m <module> migrate` runs first, with the owner's address.
        fills: a Python module and its arguments, run after that with the same address; it
            leaves data alone that is there.
        postgres: name of the server that holds its database.
        drain_seconds: how long it may take to stop.
        ports: names of ports beside that of the process; an argument names one in braces.
        settings: variables of this process alone that the stack leaves open.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    listens: bool
    health_service: str | None
    migrates: bool = False
    fills: tuple[str, ...] = ()
    postgres: str = STORES[0]
    drain_seconds: float = 25.0
    ports: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def port_names(self) -> tuple[str, ...]:
        """Names of the ports this process needs."""
        if self.ports:
            return self.ports
        metrics = f"{self.name}-metrics"
        return (self.name, metrics) if self.listens else (metrics,)


SERVICES: Final[Mapping[str, ServiceSpec]] = {
    spec.name: spec
    for spec in (
        ServiceSpec(
            name="memory",
            module="liftos_memory",
            arguments=("serve",),
            listens=True,
            health_service="liftos.memory.v1.MemoryService",
            migrates=True,
        ),
        ServiceSpec(
            name="memory-worker",
            module="liftos_memory",
            arguments=("worker",),
            listens=False,
            health_service=None,
        ),
        ServiceSpec(
            name="ingestion",
            module="liftos_ingestion",
            arguments=("serve",),
            listens=True,
            health_service="liftos.ingestion.v1.IngestionService",
            migrates=True,
        ),
        ServiceSpec(
            name="ingestion-worker",
            module="liftos_ingestion",
            arguments=("worker",),
            listens=False,
            health_service=None,
        ),
        ServiceSpec(
            name="migration",
            module="liftos_migration",
            arguments=("serve",),
            listens=True,
            health_service="liftos.migration.v1.MigrationService",
            migrates=True,
        ),
        ServiceSpec(
            name="migration-worker",
            module="liftos_migration",
            arguments=("worker",),
            listens=False,
            health_service=None,
        ),
    )
}

_PLATFORM_PORTS: Final = ("meta", "google-ads", "google-ads-token", "klaviyo", "control")

PLATFORMS: Final = ServiceSpec(
    name="platforms",
    module="liftos_platforms",
    arguments=(
        "serve",
        "--live",
        *("--meta-port", "{platforms-meta}"),
        *("--google-ads-port", "{platforms-google-ads}"),
        *("--google-ads-rest-port", "{platforms-google-ads-token}"),
        *("--klaviyo-port", "{platforms-klaviyo}"),
        *("--control-port", "{platforms-control}"),
    ),
    listens=False,
    health_service=None,
    ports=tuple(f"platforms-{name}" for name in _PLATFORM_PORTS),
)
"""The simulated platforms, for those who have no account at the real ones."""


def causal_services(org: str) -> tuple[ServiceSpec, ...]:
    """Return the Causal module of an organisation, on both sides: its own stores, and Core."""
    health_service = "liftos.causal.v1.CausalService"
    return (
        ServiceSpec(
            name="causal-module",
            module="liftos_causal",
            arguments=("serve",),
            listens=True,
            health_service=health_service,
            migrates=True,
            fills=("liftos_causal.sample", "--org", org),
            postgres=MODULE_POSTGRES,
        ),
        ServiceSpec(
            name="causal-core",
            module="liftos_causal",
            arguments=("serve",),
            listens=True,
            health_service=health_service,
        ),
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """All the supervisor has to know beside the data directory's secrets.

    Attributes:
        ports: number by name.
        services: started after the stores, in this order.
        durable: False lets Postgres and Redis lose data when the machine (not a process)
            dies, which makes tests fast.
        attached: the supervisor stops everything when the process that started it ends.
        settings: `LIFTOS_*` variables of the services that the stack leaves open.
        module_org: whose Causal module runs beside, on stores of its own; None where there is
            none.
    """

    ports: Mapping[str, int]
    services: Sequence[ServiceSpec]
    durable: bool
    attached: bool
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    module_org: str | None = None

    def address(self, name: str) -> str:
        """Where a process listens, as 127.0.0.1:port."""
        return f"{HOST}:{self.ports[name]}"

    def postgres_url(
        self, role: str, password: str, database: str = DATABASE, *, server: str = STORES[0]
    ) -> str:
        """Address of a database for one role."""
        return f"postgresql://{role}:{password}@{self.address(server)}/{database}"


def write_plan(plan: Plan, directory: DataDirectory) -> None:
    """Leave the plan for the supervisor."""
    write_atomically(directory.plan_file, json.dumps(asdict(plan)), mode=0o600)


def read_plan(directory: DataDirectory) -> Plan:
    """Read what `write_plan` left."""
    stored = json.loads(directory.plan_file.read_text(encoding="utf-8"))
    services = [
        ServiceSpec(
            **entry | {name: tuple(entry.get(name, ())) for name in ("arguments", "fills", "ports")}
        )
        for entry in stored.pop("services")
    ]
    return Plan(**stored, services=services)


def stack_environment(plan: Plan, directory: DataDirectory, secrets: Secrets) -> dict[str, str]:
    """Return the variables that every process of every service knows."""
    return {
        "LIFTOS_HOST": HOST,
        "LIFTOS_POSTGRES_URL": plan.postgres_url(APP_ROLE, secrets.postgres_app_password),
        "LIFTOS_REDIS_URL": f"redis://:{secrets.redis_password}@{plan.address('redis')}/0",
        "LIFTOS_MILVUS_URL": f"http://{plan.address('milvus')}",
        "LIFTOS_JWT_ALGORITHM": "HS256",
        "LIFTOS_JWT_SECRET": secrets.jwt_secret,
        "LIFTOS_SPAN_DIRECTORY": str(directory.spans),
    }


def owner_environment(plan: Plan, secrets: Secrets, *, server: str = STORES[0]) -> dict[str, str]:
    """Return what `migrate` needs on top: the URL of the owner of the database."""
    if server == MODULE_POSTGRES:
        return {"LIFTOS_POSTGRES_OWNER_URL": _module_postgres_url(plan, secrets)}
    url = plan.postgres_url(OWNER_ROLE, secrets.postgres_owner_password)
    return {"LIFTOS_POSTGRES_OWNER_URL": url}


def source_environment(plan: Plan, secrets: Secrets) -> dict[str, str]:
    """Return the variables by whose names a migration of the Causal module finds its stores."""
    if plan.module_org is None:
        return {}
    return {
        "CAUSAL_DATABASE_URL": _module_postgres_url(plan, secrets),
        "CAUSAL_REDIS_URL": _module_redis_url(plan, secrets),
    }


def process_environment(
    spec: ServiceSpec, plan: Plan, directory: DataDirectory, secrets: Secrets
) -> dict[str, str]:
    """Return the variables of one process: settings of the plan, the stack's, and its own."""
    variables = {**plan.settings, **spec.settings, **stack_environment(plan, directory, secrets)}
    if f"{spec.name}-metrics" in plan.ports:
        variables["LIFTOS_METRICS_PORT"] = str(plan.ports[f"{spec.name}-metrics"])
    if spec.listens:
        variables["LIFTOS_PORT"] = str(plan.ports[spec.name])
    match spec.module:
        case "liftos_memory":
            variables["LIFTOS_SECRET_KEYS"] = secrets.memory_key
        case "liftos_ingestion":
            variables |= _ingestion_environment(plan, directory, secrets)
        case "liftos_migration":
            variables |= _migration_environment(plan, directory, secrets)
        case "liftos_causal":
            variables |= _causal_environment(spec, plan, secrets)
    return variables


def _ingestion_environment(
    plan: Plan, directory: DataDirectory, secrets: Secrets
) -> dict[str, str]:
    variables = {
        "LIFTOS_SECRET_KEYS": secrets.ingestion_key,
        "LIFTOS_SOURCE_FILES_DIRECTORY": str(directory.files),
        # Whoever tries a source on one machine has its API there, or at home.
        "LIFTOS_ALLOW_PRIVATE_ADDRESSES": "true",
        "LIFTOS_NOTIFICATION_PRIVATE_TARGETS": "true",
        **_service_addresses(plan, "memory"),
    }
    if PLATFORMS.ports[0] in plan.ports:
        token_address = plan.address("platforms-google-ads-token")
        variables |= {
            "LIFTOS_META_URL": f"http://{plan.address('platforms-meta')}",
            "LIFTOS_GOOGLE_ADS_ADDRESS": plan.address("platforms-google-ads"),
            "LIFTOS_GOOGLE_ADS_PLAINTEXT": "true",
            "LIFTOS_GOOGLE_ADS_TOKEN_URL": f"http://{token_address}/token",
            "LIFTOS_KLAVIYO_URL": f"http://{plan.address('platforms-klaviyo')}",
        }
    return variables


def _migration_environment(
    plan: Plan, directory: DataDirectory, secrets: Secrets
) -> dict[str, str]:
    variables = {
        "LIFTOS_SOURCE_FILES_DIRECTORY": str(directory.files),
        "LIFTOS_SNAPSHOT_DIRECTORY": str(directory.snapshots),
        "LIFTOS_SNAPSHOT_RESTORE_URL": plan.postgres_url(
            RESTORE_ROLE, secrets.postgres_restore_password, "postgres"
        ),
        **_service_addresses(plan, "memory"),
    }
    if plan.module_org is not None:
        variables |= source_environment(plan, secrets)
        variables["LIFTOS_SOURCE_ENVIRONMENT_PREFIXES"] = f"{plan.module_org}:CAUSAL_"
        variables["LIFTOS_CAUSAL_ADDRESS"] = plan.address("causal-core")
    return variables


def _causal_environment(spec: ServiceSpec, plan: Plan, secrets: Secrets) -> dict[str, str]:
    if spec.postgres != MODULE_POSTGRES:
        return {"LIFTOS_STORE": "core", **_service_addresses(plan, "memory", "ingestion")}
    return {
        "LIFTOS_STORE": "module",
        "LIFTOS_POSTGRES_URL": _module_postgres_url(plan, secrets),
        "LIFTOS_REDIS_URL": _module_redis_url(plan, secrets),
    }


def _service_addresses(plan: Plan, *names: str) -> dict[str, str]:
    """Return where services of this stack answer, of those that it has."""
    return {
        f"LIFTOS_{name.upper()}_ADDRESS": plan.address(name) for name in names if name in plan.ports
    }


def _module_postgres_url(plan: Plan, secrets: Secrets) -> str:
    # The module owns its tables and reads them as their owner, as modules do that are alone.
    return plan.postgres_url(
        MODULE_ROLE, secrets.module_postgres_password, MODULE_DATABASE, server=MODULE_POSTGRES
    )


def _module_redis_url(plan: Plan, secrets: Secrets) -> str:
    return f"redis://:{secrets.module_redis_password}@{plan.address(MODULE_REDIS)}/0"

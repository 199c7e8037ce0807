"""The compose file is valid, complete and keeps its secrets outside."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.deploy.chart import REPOSITORY
from tests.deploy.environment_keys import SECRET_KEYS, keys_of, settings_of

from liftos_kit.secrets.keyring import generate_key
from liftos_kit.settings import load

DIRECTORY = REPOSITORY / "deploy" / "docker"
TEXT = (DIRECTORY / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PORTS = {
    "memory": 8003,
    "ingestion": 8006,
    "migration": 8010,
    "causal-module": 8008,
    "causal-core": 8009,
}
OF_CORE = ("memory", "ingestion", "migration")
MIGRATIONS = (*(f"{name}-migrate" for name in OF_CORE), "causal-module-migrate")
OURS = (*MIGRATIONS, *PORTS, *(f"{name}-worker" for name in OF_CORE))
KEYS = generate_key("test").reveal()
every_service = pytest.mark.parametrize("name", SERVICES)
our_services = pytest.mark.parametrize("name", OURS)


def schema() -> dict[str, Any]:
    """The Compose Specification's JSON schema."""
    return dict(json.loads((REPOSITORY / "tests/deploy/compose-spec.json").read_text()))


def test_file_fits_the_compose_specification() -> None:
    """The file is valid against the specification's own schema."""
    jsonschema.Draft7Validator(schema()).validate(COMPOSE)


def test_schema_refuses_a_misspelt_key() -> None:
    """The check above has teeth: an unknown key of a service is an error."""
    broken = COMPOSE | {"services": {"memory": SERVICES["memory"] | {"enviroment": {}}}}
    with pytest.raises(jsonschema.ValidationError, match="enviroment"):
        jsonschema.Draft7Validator(schema()).validate(broken)


@every_service
def test_images_are_pinned(name: str) -> None:
    """Every image has a tag, and none floats at `latest`."""
    tag = SERVICES[name]["image"].rpartition(":")[2]
    assert re.match(r"(RELEASE\.|v?\d)", tag)


@every_service
def test_every_running_service_is_watched(name: str) -> None:
    """Each service has a health check; the one that ends by itself has it turned off."""
    health = SERVICES[name]["healthcheck"]
    if name in MIGRATIONS:
        assert health == {"disable": True}
        assert SERVICES[name]["restart"] == "no"
    else:
        assert {"test", "interval", "timeout", "retries"} <= health.keys()


@every_service
def test_ports_are_on_the_loopback_address(name: str) -> None:
    """Nothing listens beyond this machine."""
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_named_volumes_are_all_used() -> None:
    """Each declared volume is mounted, and each mounted one is declared; one alone is shared."""
    mounted = [
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if not volume.startswith("./")
    ]
    assert set(mounted) == set(COMPOSE["volumes"])
    assert {name for name in mounted if mounted.count(name) > 1} == {"snapshots"}


def test_mounted_files_exist() -> None:
    """A missing bind source would be made a directory by the engine, and break the container."""
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (DIRECTORY / source).is_file()


def test_start_follows_the_dependencies() -> None:
    """Stores are healthy before the schema, and the schema is there before server and worker."""
    for name in MIGRATIONS:
        server = "causal-module-db" if name.startswith("causal") else "postgres"
        assert SERVICES[name]["depends_on"] == {server: {"condition": "service_healthy"}}
    for service, own in {
        "memory": "milvus",
        "ingestion": "memory",
        "migration": "memory",
    }.items():
        for name in (service, f"{service}-worker"):
            conditions = {
                other: rule["condition"] for other, rule in SERVICES[name]["depends_on"].items()
            }
            assert conditions == {
                f"{service}-migrate": "service_completed_successfully",
                "postgres": "service_healthy",
                "valkey": "service_healthy",
                own: "service_healthy",
            }


@our_services
def test_environment_keys_are_known(name: str) -> None:
    """Our processes get only keys that the settings accept, and no empty value."""
    environment = SERVICES[name]["environment"]
    known = keys_of(settings_of(*SERVICES[name]["command"]))
    assert {key for key in environment if key.startswith("LIFTOS_")} <= known
    assert all(environment.values())


@our_services
def test_processes_accept_their_environment(name: str, tmp_path: Path) -> None:
    """The settings of each of our processes load from what its container is given."""
    filled = {
        key: re.sub(
            r"\$\{([A-Z_]+):\?[^}]+\}",
            lambda found: KEYS if found[1] == "SECRET_KEYS" else "a" * 48,
            value,
        )
        for key, value in SERVICES[name]["environment"].items()
    }
    if (folder := filled.get("LIFTOS_SNAPSHOT_DIRECTORY")) is not None:
        assert f"snapshots:{folder}" in SERVICES[name]["volumes"]
        filled["LIFTOS_SNAPSHOT_DIRECTORY"] = str(tmp_path)
    settings = load(settings_of(*SERVICES[name]["command"]), filled)
    if name in MIGRATIONS:
        return
    port = PORTS[name.removesuffix("-worker")]
    assert (settings.port, settings.effective_metrics_port) == (port, port + 1000)
    published = SERVICES[name].get("ports", [])
    listening = [f"127.0.0.1:{number}:{number}" for number in (port, port + 1000)]
    assert published == (listening if name in PORTS else [])


@our_services
def test_containers_start_our_programs(name: str) -> None:
    """Each command is a module and a word that the image's entry point, `python -m`, starts."""
    role = name.rpartition("-")[2]
    word = role if role in ("worker", "migrate") else "serve"
    service = name.partition("-")[0]
    assert SERVICES[name]["command"] == [f"liftos_{service}", word]


@our_services
def test_only_the_migration_is_the_owner(name: str) -> None:
    """The server and the worker cannot step around row-level security."""
    has_owner_url = "LIFTOS_POSTGRES_OWNER_URL" in SERVICES[name]["environment"]
    assert has_owner_url == (name in MIGRATIONS)


@our_services
def test_our_containers_are_confined(name: str) -> None:
    """No capabilities, no new privileges, a read-only root with a /tmp, and time to drain."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service.get("profiles", []) == (["causal"] if name.startswith("causal") else [])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["stop_grace_period"] == "35s"


def test_secrets_are_required_variables() -> None:
    """Each secret comes from the env file and its absence stops the start with a message."""
    variables = set(re.findall(r"(?<!\$)\$\{?([A-Z_]+)", TEXT))
    required = set(re.findall(r"(?<!\$)\$\{([A-Z_]+):\?[^}]+\}", TEXT))
    assert variables == required
    example = (DIRECTORY / "env.example").read_text()
    assert set(re.findall(r"^([A-Z_]+)=$", example, re.MULTILINE)) == required
    assert ".env" in (DIRECTORY / ".gitignore").read_text().split()


@every_service
def test_no_secret_is_written_down(name: str) -> None:
    """Whatever looks like a secret is a reference to a required variable."""
    for key, value in SERVICES[name].get("environment", {}).items():
        if key in SECRET_KEYS or re.search(r"PASSWORD|SECRET|AUTH", key):
            assert re.search(r"\$\{[A-Z_]+:\?", value)


@pytest.mark.parametrize(
    ("name", "volume"), [("postgres", "postgres"), ("causal-module-db", "causal-postgres")]
)
def test_postgres_captures_changes_and_keeps_its_data(name: str, volume: str) -> None:
    """The write-ahead log is logical, and the volume is where the image of version 18 writes."""
    postgres = SERVICES[name]
    assert postgres["image"].startswith("postgres:18")
    assert "wal_level=logical" in postgres["command"]
    assert f"{volume}:/var/lib/postgresql" in postgres["volumes"]


@pytest.mark.parametrize(
    ("script", "name", "services"),
    [
        ("postgres-init.sh", "liftos_app", (*OF_CORE, "causal-core")),
        ("causal-postgres-init.sh", "causal_module", ("causal-module",)),
    ],
)
def test_roles_of_services_have_no_power(script: str, name: str, services: tuple[str, ...]) -> None:
    """The roles that compose creates can log in, and can bypass nothing."""
    path = DIRECTORY / script
    assert path.stat().st_mode & 0o111
    role = re.search(r"^CREATE ROLE (\w+) (.*) PASSWORD", path.read_text(), re.MULTILINE)
    assert role is not None
    assert role[1] == name
    assert {"LOGIN", "NOSUPERUSER", "NOBYPASSRLS"} <= set(role[2].split())
    for service in services:
        assert f"//{name}:" in SERVICES[service]["environment"]["LIFTOS_POSTGRES_URL"]

"""The Helm chart renders to objects that a cluster accepts and an operator would sign."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import kubernetes_validate.utils
import pytest
import yaml
from tests.deploy.chart import (
    CASES,
    CHART_DIRECTORY,
    Manifest,
    PodOf,
    manifests,
    objects_of,
    of_kind,
    pods_of,
    render,
    selects,
    values_of,
)
from tests.deploy.environment_keys import SECRET_KEYS, keys_of, settings_of

from liftos_causal.settings import CausalSettings
from liftos_ingestion.settings import IngestionSettings
from liftos_kit.secrets.keyring import generate_key
from liftos_kit.settings import ServiceSettings, load
from liftos_memory.settings import MemorySettings
from liftos_migration.settings import MigrationSettings

KUBERNETES_VERSIONS = ("1.29", "1.37")
# Each file is 10 ms of parsing, for every object anew.
SCHEMA_FILES = cache(kubernetes_validate.utils.schema_contents)
every_case = pytest.mark.parametrize("case", CASES)


def with_minimal(**changes: Any) -> Manifest:
    """The minimal values with some top-level keys replaced."""
    return values_of("minimal") | changes


def deployment(objects: tuple[Manifest, ...], component: str) -> Manifest:
    """The Deployment of one component."""
    (found,) = (
        item
        for item in of_kind(objects, "Deployment")
        if item["metadata"]["labels"]["app.kubernetes.io/component"] == component
    )
    return found


def given_to(pod: PodOf, objects: tuple[Manifest, ...], directory: Path) -> dict[str, str]:
    """The variables of a pod's process, with something in the place of secrets and of mounts."""
    (config,) = of_kind(objects, "ConfigMap")
    given = dict(config["data"]) if "envFrom" in pod.container else {}
    for name, variable in pod.environment.items():
        given[name] = variable.get("value", "secret-of-at-least-32-characters-and-more")
        if name.endswith(("_FILE", "_DIRECTORY")):
            path = directory / given[name].removeprefix("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("_DIRECTORY"):
                path.mkdir(exist_ok=True)
            else:
                path.write_text(generate_key("test").reveal())
            given[name] = str(path)
    return given


def process_settings(pod: PodOf) -> type[ServiceSettings]:
    """The settings that the pod's process loads."""
    module, command = pod.container["command"][2:]
    return settings_of(module, command)


def peers(rule: Manifest) -> list[Manifest]:
    """Peers of an ingress or egress rule; none means anybody."""
    found: list[Manifest] = rule.get("from") or rule.get("to") or []
    return found


# The chart as a whole.


@every_case
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_objects_fit_the_kubernetes_schema(
    case: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every object is valid, with no unknown field, on the oldest and the newest Kubernetes."""
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", SCHEMA_FILES)
    for item in objects_of(case):
        kubernetes_validate.validate(item, version, strict=True)


@every_case
def test_lint_finds_nothing(case: str) -> None:
    """Helm's own linter has no warning for any values file."""
    report = helm_python.lint(CHART_DIRECTORY, values_of(case), strict=True)
    warnings = [message for message in report["messages"] if message["severity"] >= 2]
    assert (report["total_charts_linted"], report["errors"], warnings) == (1, [], [])


@every_case
def test_names_are_unique_and_short(case: str) -> None:
    """No two objects collide, and each name is a valid DNS label even with a long release name."""
    long_release = "a-release-name-as-long-as-helm-allows-it-to-be-53-ok"
    for objects in (objects_of(case), manifests(render(values_of(case), release=long_release))):
        names = [(item["kind"], item["metadata"]["name"]) for item in objects]
        assert len(names) == len(set(names))
        assert all(len(name) <= 63 for _, name in names)


@every_case
def test_rendering_is_deterministic(case: str) -> None:
    """The same values give the same text, so that an upgrade without changes changes nothing."""
    assert render(values_of(case)) == render(values_of(case))


@every_case
def test_values_fit_the_schema(case: str) -> None:
    """Every values file passes the schema on top of the defaults."""
    with helm_python.Chart.load(CHART_DIRECTORY) as chart:
        chart.validate_schema(chart.merge_values(values_of(case)))


def test_default_values_are_refused_with_every_reason_at_once() -> None:
    """Without stores there is nothing to deploy, and the message names all that is missing."""
    with pytest.raises(helm_python.HelmError) as refused:
        render({})
    for key in ("postgres.existingSecret", "redis.existingSecret", "auth.jwksUrl"):
        assert key in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"auth": {"algorithm": "HS256"}}, "auth.existingSecret"),
        ({"auth": {"algorithm": "RS256", "existingSecret": "auth"}}, "auth.jwksUrl"),
        ({"development": {"enabled": True}}, "auth.algorithm"),
        ({"services": {"ingestion": {}}}, "services.ingestion.secretKeys.existingSecret"),
        ({"services": {"ingestion": {}}}, "services.ingestion.serviceKey.existingSecret"),
        ({"services": {"memory": {"enabled": False}}}, "services.memory.enabled"),
        (
            {"services": {"ingestion": {"enabled": False}, "causal-core": {"enabled": True}}},
            "services.ingestion.enabled",
        ),
        ({"services": {"migration": {"enabled": True}}}, "services.migration.serviceKey"),
        ({"services": {"causal-module": {"enabled": True}}}, "services.causal-module.stores"),
        (
            {"services": {"memory": {"modelKeys": {"embedderKey": "key"}}}},
            "services.memory.modelKeys.existingSecret",
        ),
        (
            {"services": {"memory": {"settings": {"insightWordingUrl": "https://a.example"}}}},
            "services.memory.settings.insightWordingModel",
        ),
        ({"tls": {"enabled": True}}, "tls.existingSecret"),
        ({"tls": {"clientCa": {"enabled": True}}}, "tls.enabled"),
        ({"development": {"enabled": True}}, "development.postgresOwnerUrl"),
        ({"development": {"enabled": True}}, "development.secretKeys"),
        (
            {"defaults": {"autoscaling": {"enabled": True, "minReplicas": 9, "maxReplicas": 3}}},
            "maxReplicas",
        ),
    ],
)
def test_impossible_combinations_are_refused(changes: Manifest, named: str) -> None:
    """Values that contradict each other fail with the name of the value to change."""
    with pytest.raises(helm_python.HelmError, match=named):
        render(with_minimal(**changes))


@pytest.mark.parametrize(
    ("pointer", "nonsense"),
    [
        ("'replicaCount' not allowed", {"replicaCount": 3}),
        ("/image/tag", {"image": {"tag": "latest"}}),
        ("/image/digest", {"image": {"digest": "sha256:abc"}}),
        ("/image/pullPolicy", {"image": {"pullPolicy": "Sometimes"}}),
        ("/auth/algorithm", {"auth": {"algorithm": "none"}}),
        ("/auth/jwksUrl", {"auth": {"jwksUrl": "ftp://keys"}}),
        ("/milvus/url", {"milvus": {"url": "http://root:password@milvus:19530"}}),
        ("/settings/logLevel", {"settings": {"logLevel": "LOUD"}}),
        ("/settings/drainSeconds", {"settings": {"drainSeconds": 0}}),
        ("/telemetry/traceSampleRatio", {"telemetry": {"traceSampleRatio": 1.5}}),
        ("'password' not allowed", {"postgres": {"password": "x"}}),
        (
            "/development/postgresUrl",
            {"development": {"enabled": False, "postgresUrl": "postgresql://a:b@c/d"}},
        ),
        ("/development/jwtSecret", {"development": {"enabled": True, "jwtSecret": "short"}}),
        ("'billing' not allowed", {"services": {"billing": {"enabled": True}}}),
        ("/services/memory/port", {"services": {"memory": {"port": 80}}}),
        ("'port' not allowed", {"services": {"ingestion": {"settings": {"port": 1}}}}),
        (
            "/settings/workerConcurrency",
            {"services": {"ingestion": {"settings": {"workerConcurrency": 0}}}},
        ),
        (
            "/credentialFiles/0/org",
            {
                "services": {
                    "ingestion": {"credentialFiles": [{"org": "..", "existingSecret": "x"}]}
                }
            },
        ),
        (
            "/settings/sourceEnvironmentPrefixes",
            {"services": {"migration": {"settings": {"sourceEnvironmentPrefixes": "CAUSAL_"}}}},
        ),
        ("/settings/store", {"services": {"causal-core": {"settings": {"store": "files"}}}}),
        (
            "/secretVariables/0/name",
            {
                "services": {
                    "migration": {
                        "secretVariables": [{"name": "a b", "existingSecret": "s", "key": "k"}]
                    }
                }
            },
        ),
        ("/connections/0", {"services": {"ingestion": {"connections": ["everything"]}}}),
        ("/development/secretKeys", {"development": {"enabled": True, "secretKeys": "a:short"}}),
        ("/server/replicas", {"services": {"memory": {"server": {"replicas": 0}}}}),
        ("/server/replicas", {"services": {"memory": {"server": {"replicas": "2"}}}}),
        ("/resources/limits/memory", {"defaults": {"resources": {"limits": {"memory": "2 GB"}}}}),
        (
            "/extraEnvironment/0/name",
            {"defaults": {"extraEnvironment": [{"name": "LIFTOS_PORT", "value": "1"}]}},
        ),
        ("/networkPolicy/clients/0", {"networkPolicy": {"clients": [{}]}}),
        ("/postgres/ports/0", {"networkPolicy": {"egress": {"postgres": {"ports": [70000]}}}}),
    ],
)
def test_schema_refuses_nonsense(pointer: str, nonsense: Manifest) -> None:
    """A misspelt key, a wrong type or an impossible number is refused where it stands."""
    with helm_python.Chart.load(CHART_DIRECTORY) as chart:
        merged = chart.merge_values(values_of("minimal") | nonsense)
        with pytest.raises(helm_python.HelmError) as refused:
            chart.validate_schema(merged)
    assert pointer in str(refused.value)


def test_every_value_is_described() -> None:
    """Each leaf that a reader may set has a `@param` line, and no other has."""
    text = (CHART_DIRECTORY / "values.yaml").read_text()
    described = {
        line.split()[2] for line in text.splitlines() if line.strip().startswith("## @param")
    }

    def leaves(prefix: str, value: object) -> list[str]:
        if prefix in described or not isinstance(value, dict) or not value:
            return [prefix]
        return [name for key, item in value.items() for name in leaves(f"{prefix}.{key}", item)]

    defaults = yaml.safe_load(text)
    expected = {name for key, value in defaults.items() for name in leaves(key, value)}
    assert described == expected


# Pods.


@every_case
def test_pods_meet_the_restricted_profile(case: str) -> None:
    """Every pod would be admitted to a namespace that enforces Pod Security `restricted`."""
    for pod in pods_of(objects_of(case)):
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] >= 10000
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        container = pod.container["securityContext"]
        assert container["allowPrivilegeEscalation"] is False
        assert container["readOnlyRootFilesystem"] is True
        assert container["capabilities"] == {"drop": ["ALL"]}
        assert not pod.spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert all(
            volume.keys() & {"emptyDir", "secret", "persistentVolumeClaim"}
            for volume in pod.spec["volumes"]
        )


@every_case
def test_pods_hold_no_cluster_credentials_and_no_service_links(case: str) -> None:
    """No token is mounted, and no foreign LIFTOS_ variable is injected by the cluster."""
    for pod in pods_of(objects_of(case)):
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["enableServiceLinks"] is False


@every_case
def test_containers_have_resources(case: str) -> None:
    """CPU, memory and disk are requested, memory and disk are limited, CPU is not."""
    for pod in pods_of(objects_of(case)):
        resources = pod.container["resources"]
        assert {"cpu", "memory", "ephemeral-storage"} == resources["requests"].keys()
        assert {"memory", "ephemeral-storage"} == resources["limits"].keys()


@every_case
def test_images_are_pinned(case: str) -> None:
    """All pods run the one image, by tag or digest, never by `latest`."""
    images = {pod.container["image"] for pod in pods_of(objects_of(case))}
    (image,) = images
    assert "@sha256:" in image or image.rpartition(":")[2] not in {"", "latest"}


def test_digest_wins_over_tag() -> None:
    """With a digest the image is addressed by it alone."""
    (image,) = {pod.container["image"] for pod in pods_of(objects_of("production"))}
    assert image.startswith("registry.example.com/liftos/liftos-core@sha256:")


@every_case
def test_mounts_and_volumes_agree(case: str) -> None:
    """Each mount has its volume and /tmp can be written although the root is read-only."""
    for pod in pods_of(objects_of(case)):
        mounts = {mount["name"]: mount["mountPath"] for mount in pod.container["volumeMounts"]}
        assert mounts.keys() == {volume["name"] for volume in pod.spec["volumes"]}
        assert mounts["temporary"] == "/tmp"


@every_case
def test_service_accounts_exist(case: str) -> None:
    """Every ServiceAccount that a pod names is rendered too, without a token."""
    accounts = of_kind(objects_of(case), "ServiceAccount")
    assert all(account["automountServiceAccountToken"] is False for account in accounts)
    names = {account["metadata"]["name"] for account in accounts}
    wanted = {pod.spec.get("serviceAccountName") for pod in pods_of(objects_of(case))} - {None}
    assert wanted == names


# Environment.


@every_case
def test_environment_keys_are_known(case: str, tmp_path: Path) -> None:
    """Each process gets only keys that its settings accept: it refuses any other at its start."""
    objects = objects_of(case)
    for pod in pods_of(objects):
        if pod.owner["kind"] != "Pod":
            given = given_to(pod, objects, tmp_path)
            used = {name for name in given if name.startswith("LIFTOS_")}
            assert used <= keys_of(process_settings(pod))


_LEFT_OUT = {
    "LIFTOS_JWT_JWKS_FILE",
    # Mounted as a file.
    "LIFTOS_SECRET_KEYS",
    # Credentials come from files.
    "LIFTOS_SECRET_ENVIRONMENT_PREFIXES",
    "LIFTOS_SPAN_DIRECTORY",
}
"""What the chart neither sets by itself nor has a value for, on purpose."""

_NO_CREDENTIALS = _LEFT_OUT - {"LIFTOS_SECRET_KEYS", "LIFTOS_SECRET_ENVIRONMENT_PREFIXES"}
"""The same of services that keep no credentials of others."""


@pytest.mark.parametrize(
    ("service", "settings", "left_out"),
    [
        # Memory's keeps come from one file of keys alone.
        ("memory", MemorySettings, _LEFT_OUT | {"LIFTOS_SECRETS_DIRECTORY"}),
        ("ingestion", IngestionSettings, _LEFT_OUT | {"LIFTOS_WORKER_NAME", "LIFTOS_MILVUS_URL"}),
        (
            "migration",
            MigrationSettings,
            _NO_CREDENTIALS | {"LIFTOS_WORKER_NAME", "LIFTOS_MILVUS_URL"},
        ),
        ("causal-module", CausalSettings, _NO_CREDENTIALS | {"LIFTOS_MILVUS_URL"}),
        ("causal-core", CausalSettings, _NO_CREDENTIALS | {"LIFTOS_MILVUS_URL"}),
    ],
)
def test_every_setting_has_its_place(
    service: str, settings: type[ServiceSettings], left_out: set[str]
) -> None:
    """Each setting of a service is set by the chart, has a value, or is known to be left out."""
    schema = json.loads((CHART_DIRECTORY / "values.schema.json").read_text())
    names = schema["properties"]["services"]["properties"][service]["properties"]["settings"]
    if "$ref" in names:
        names = schema["$defs"][names["$ref"].rpartition("/")[2]]
    by_value = {
        "LIFTOS_" + re.sub("[A-Z]", r"_\g<0>", name).upper() for name in names["properties"]
    }
    by_itself: set[str] = set()
    for case in ("production", "tls"):
        objects = objects_of(case)
        (config,) = of_kind(objects, "ConfigMap")
        by_itself |= config["data"].keys()
        by_itself |= {
            name
            for pod in pods_of(objects)
            if pod.owner["kind"] != "Pod" and issubclass(process_settings(pod), settings)
            for name in pod.environment
        }
    assert by_value <= keys_of(settings)
    assert keys_of(settings) - by_value - by_itself == left_out


def test_settings_of_memory_reach_it(tmp_path: Path) -> None:
    """Keys that seal, keys of models, and numbers as they were written."""
    objects = objects_of("production")
    of_models = {"LIFTOS_EMBEDDER_API_KEY", "LIFTOS_INSIGHT_WORDING_API_KEY"}
    for role in ("server", "worker"):
        (pod,) = pods_of((deployment(objects, f"memory-{role}"),))
        settings = load(MemorySettings, given_to(pod, objects, tmp_path))
        assert settings.keyring() is not None
        assert (settings.cache_bytes, settings.insight_every_hours) == (134_217_728, 12)
        assert settings.insight_wording_model == "small"
        assert of_models <= pod.environment.keys()
        names = {volume["name"]: volume for volume in pod.spec["volumes"]}
        assert names["secret-keys"]["secret"]["secretName"] == "liftos-memory-keys"
    (plain,) = pods_of((deployment(objects_of("minimal"), "memory-server"),))
    assert not {"LIFTOS_SECRET_KEYS_FILE", *of_models} & plain.environment.keys()


def test_a_module_has_stores_of_its_own_and_moves_to_core(tmp_path: Path) -> None:
    """The module's stores are in its own Secret; Migration finds them by names it was granted."""
    objects = objects_of("production")
    (module,) = pods_of((deployment(objects, "causal-module-server"),))
    (core,) = pods_of((deployment(objects, "causal-core-server"),))
    (job,) = (
        pod
        for pod in pods_of(objects)
        if pod.owner["kind"] == "Job" and "causal-module" in pod.owner["metadata"]["name"]
    )
    of_module = {
        (pod.owner["kind"], name): pod.environment[name]["valueFrom"]["secretKeyRef"]
        for pod in (module, job)
        for name in ("LIFTOS_POSTGRES_URL", "LIFTOS_POSTGRES_OWNER_URL", "LIFTOS_REDIS_URL")
        if name in pod.environment
    }
    assert {reference["name"] for reference in of_module.values()} == {"causal-module"}
    assert of_module["Job", "LIFTOS_POSTGRES_OWNER_URL"]["key"] == "postgres-owner-url"
    settings = load(CausalSettings, given_to(core, objects, tmp_path))
    assert (settings.store, settings.service_key_id) == ("core", "causal-2026")
    assert settings.memory_address == "lift-liftos-core-memory-headless.production:8003"
    assert settings.ingestion_address == "lift-liftos-core-ingestion-headless.production:8006"
    for role in ("server", "worker"):
        (pod,) = pods_of((deployment(objects, f"migration-{role}"),))
        given = given_to(pod, objects, tmp_path)
        settings_of_migration = load(MigrationSettings, given)
        references = settings_of_migration.source_references(given)
        at = "lift-liftos-core-causal-core-headless.production:8009"
        assert settings_of_migration.causal_address == at
        assert references.url("acme", "CAUSAL_DATABASE_URL", path="source")
        secret = pod.environment["CAUSAL_DATABASE_URL"]["valueFrom"]["secretKeyRef"]
        assert secret == {"name": "causal-module", "key": "migration-url"}
        (mount,) = (m for m in pod.container["volumeMounts"] if m["name"] == "snapshots")
        assert not mount.get("readOnly")
        assert mount["mountPath"] == pod.environment["LIFTOS_SNAPSHOT_DIRECTORY"]["value"]


@every_case
def test_secrets_come_from_secrets(case: str) -> None:
    """A key that carries a secret is a reference to a Secret, never a value."""
    objects = objects_of(case)
    (config,) = of_kind(objects, "ConfigMap")
    assert not config["data"].keys() & SECRET_KEYS
    for pod in pods_of(objects):
        for name in pod.environment.keys() & SECRET_KEYS:
            assert pod.environment[name]["valueFrom"]["secretKeyRef"]["key"]


@every_case
def test_processes_accept_their_environment(case: str, tmp_path: Path) -> None:
    """The settings of each process load from what its pod is given, with nothing to complain of."""
    objects = objects_of(case)
    for pod in pods_of(objects):
        if pod.owner["kind"] == "Pod":
            continue
        settings = load(process_settings(pod), given_to(pod, objects, tmp_path))
        if pod.owner["kind"] == "Deployment":
            ports = {port["name"]: port["containerPort"] for port in pod.container["ports"]}
            assert settings.effective_metrics_port == ports["metrics"]
        core_alone = "causal-core" in pod.owner["metadata"]["name"]
        assert (settings.postgres_url is None) == core_alone
        assert settings.redis_url is not None


def test_settings_of_a_service_reach_it_by_their_names(tmp_path: Path) -> None:
    """Values of `settings` are variables of the service's own pods, and of no others."""
    objects = objects_of("production")
    for role in ("server", "worker"):
        (pod,) = pods_of((deployment(objects, f"ingestion-{role}"),))
        settings = load(IngestionSettings, given_to(pod, objects, tmp_path))
        assert settings.worker_concurrency == 16
        assert str(settings.meta_version_end_date) == "2027-02-18"
        assert settings.platform_timeout_seconds == 90
        assert settings.memory_address == "lift-liftos-core-memory-headless.production:8003"
        assert settings.keyring() is not None
        assert settings.service_key_id == "ingestion-2026"
    (memory,) = pods_of((deployment(objects, "memory-server"),))
    assert not memory.environment.keys() & {"LIFTOS_WORKER_CONCURRENCY", "LIFTOS_MEMORY_ADDRESS"}


@every_case
def test_only_memory_is_told_of_milvus(case: str) -> None:
    """A service has the addresses of the stores that it uses, and may connect to those alone."""
    objects = objects_of(case)
    (config,) = of_kind(objects, "ConfigMap")
    assert "LIFTOS_MILVUS_URL" not in config["data"]
    for pod in pods_of(objects):
        of_memory = "liftos_memory" in pod.container["command"]
        assert ("LIFTOS_MILVUS_URL" in pod.environment) == of_memory


def test_credentials_are_mounted_as_files_of_their_secrets() -> None:
    """Keys, the signing key and an org's credentials come read-only from a Secret of each."""
    objects = objects_of("production")
    for role in ("server", "worker"):
        (pod,) = pods_of((deployment(objects, f"ingestion-{role}"),))
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        mounted = {
            mount["mountPath"]: volumes[mount["name"]] for mount in pod.container["volumeMounts"]
        }
        assert all(
            mount["readOnly"]
            for mount in pod.container["volumeMounts"]
            if mount["name"] != "temporary"
        )
        secrets = {
            path: volume["secret"]["secretName"]
            for path, volume in mounted.items()
            if "secret" in volume
        }
        assert secrets == {
            "/etc/liftos/secret-keys": "liftos-ingestion-keys",
            "/etc/liftos/service-key": "liftos-ingestion-signing",
            "/etc/liftos/credentials/acme": "acme-platforms",
        }
        (claim,) = (
            volume["persistentVolumeClaim"]
            for volume in mounted.values()
            if "persistentVolumeClaim" in volume
        )
        assert claim == {"claimName": "source-files", "readOnly": True}


def test_milvus_with_credentials_comes_from_a_secret() -> None:
    """Where a Secret is named, the URL is taken from it and not written down."""
    objects = objects_of("production")
    for pod in pods_of(objects):
        if "liftos_memory" not in pod.container["command"]:
            continue
        reference = pod.environment["LIFTOS_MILVUS_URL"]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": "liftos-milvus", "key": "milvus-url"}


def test_only_development_renders_secrets() -> None:
    """The chart makes Secrets in development mode alone, with every key that pods look up."""
    assert {case for case in CASES if of_kind(objects_of(case), "Secret")} == {"development"}
    objects = objects_of("development")
    stored = {item["metadata"]["name"]: item["stringData"] for item in of_kind(objects, "Secret")}
    for pod in pods_of(objects):
        for name in pod.environment.keys() & SECRET_KEYS:
            reference = pod.environment[name]["valueFrom"]["secretKeyRef"]
            assert stored[reference["name"]][reference["key"]]
        for volume in pod.spec["volumes"]:
            for item in volume.get("secret", {}).get("items", []):
                assert stored[volume["secret"]["secretName"]][item["key"]]


@every_case
def test_owner_url_reaches_schema_migration_alone(case: str) -> None:
    """Only the Job that changes the schema logs in as the owner of the tables."""
    for pod in pods_of(objects_of(case)):
        is_job = pod.owner["kind"] == "Job"
        assert ("LIFTOS_POSTGRES_OWNER_URL" in pod.environment) == is_job


@every_case
def test_one_process_listens_for_the_cluster(case: str) -> None:
    """Pods run one process on all addresses, on the service's port and its metrics port."""
    for item in of_kind(objects_of(case), "Deployment"):
        (pod,) = pods_of((item,))
        value = {name: variable.get("value") for name, variable in pod.environment.items()}
        assert (value["LIFTOS_HOST"], value["LIFTOS_PROCESSES"]) == ("0.0.0.0", "1")
        ports = {port["name"]: str(port["containerPort"]) for port in pod.container["ports"]}
        assert ports["metrics"] == value["LIFTOS_METRICS_PORT"]
        assert int(str(value["LIFTOS_METRICS_PORT"])) == int(str(value["LIFTOS_PORT"])) + 1000
        if "grpc" in ports:
            assert ports["grpc"] == value["LIFTOS_PORT"]


@every_case
def test_telemetry_names_the_process(case: str) -> None:
    """Each workload reports under its own name, with pod, namespace and node."""
    names = []
    for item in of_kind(objects_of(case), "Deployment"):
        (pod,) = pods_of((item,))
        names.append(pod.environment["OTEL_SERVICE_NAME"]["value"])
        attributes = pod.environment["OTEL_RESOURCE_ATTRIBUTES"]["value"]
        for variable in ("POD_NAME", "POD_NAMESPACE", "NODE_NAME"):
            assert f"$({variable})" in attributes
            # A variable is only expanded where it was defined before.
            assert list(pod.environment).index(variable) < list(pod.environment).index(
                "OTEL_RESOURCE_ATTRIBUTES"
            )
    assert len(names) == len(set(names))


def test_changed_settings_roll_the_pods() -> None:
    """A new log level changes the pods' checksum, and nothing else about the pod template."""

    def checksum(values: Manifest) -> str:
        item = deployment(manifests(render(values)), "memory-server")
        return str(item["spec"]["template"]["metadata"]["annotations"]["checksum/config"])

    before = checksum(with_minimal())
    assert checksum(with_minimal()) == before
    assert checksum(with_minimal(settings={"logLevel": "DEBUG"})) != before


# Workloads.


def test_what_moves_a_module_is_off() -> None:
    """Memory and Ingestion are deployed, what moves a module only when it is switched on."""
    components = {
        item["metadata"]["labels"]["app.kubernetes.io/component"]
        for item in of_kind(objects_of("minimal"), "Deployment")
    }
    assert components == {
        f"{service}-{role}" for service in ("memory", "ingestion") for role in ("server", "worker")
    }


def test_every_service_comes_from_the_same_loop() -> None:
    """All services render alike: their command, their ports and what their health is called."""
    objects = objects_of("all-services")
    for name, (scope, port) in {
        "memory": ("memory", 8003),
        "ingestion": ("ingestion", 8006),
        "causal-module": ("causal", 8008),
        "causal-core": ("causal", 8009),
        "migration": ("migration", 8010),
    }.items():
        item = deployment(objects, f"{name}-server")
        (pod,) = pods_of((item,))
        assert pod.container["command"] == ["python", "-m", f"liftos_{scope}", "serve"]
        probe = pod.container["readinessProbe"]["grpc"]
        assert probe["port"] == port
        assert probe["service"].startswith(f"liftos.{scope}.v1.")


@every_case
def test_probes_ask_the_right_question(case: str) -> None:
    """Liveness never depends on a store, readiness does, and both are answered by the process."""
    tls = values_of(case).get("tls", {}).get("enabled", False)
    for item in of_kind(objects_of(case), "Deployment"):
        (pod,) = pods_of((item,))
        container = pod.container
        if container["name"] == "worker":
            assert container["livenessProbe"]["httpGet"] == {"path": "/metrics", "port": "metrics"}
            assert "readinessProbe" not in container
            continue
        asked = {
            kind: container[kind]["exec"]["command"][-1]
            if tls
            else container[kind]["grpc"]["service"]
            for kind in ("startupProbe", "livenessProbe", "readinessProbe")
        }
        assert asked["startupProbe"] == asked["livenessProbe"] == ""
        assert asked["readinessProbe"].endswith("Service")


@every_case
def test_pods_have_time_to_drain(case: str) -> None:
    """Kubernetes waits longer than the delay and the drain together before it kills."""
    objects = objects_of(case)
    (config,) = of_kind(objects, "ConfigMap")
    needed = int(config["data"]["LIFTOS_DRAIN_SECONDS"]) + int(
        config["data"]["LIFTOS_SHUTDOWN_DELAY_SECONDS"]
    )
    for item in of_kind(objects, "Deployment"):
        assert item["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > needed


@every_case
def test_selectors_match_their_own_pods_only(case: str) -> None:
    """Each Deployment, Service and budget selects the pods of exactly one component."""
    objects = objects_of(case)
    pods = list(pods_of(objects))
    for item in objects:
        match item["kind"]:
            case "Deployment" | "PodDisruptionBudget":
                selector = item["spec"]["selector"]["matchLabels"]
            case "Service":
                selector = item["spec"]["selector"]
            case _:
                continue
        chosen = [pod for pod in pods if selects(selector, pod.labels)]
        assert len(chosen) == 1
        component = item["metadata"]["labels"]["app.kubernetes.io/component"]
        assert chosen[0].labels["app.kubernetes.io/component"] == component
        assert not selector.keys() & {"app.kubernetes.io/version", "helm.sh/chart"}


@every_case
def test_services_lead_to_named_ports(case: str) -> None:
    """Each server has a normal and a headless Service whose ports exist in its pods."""
    objects = objects_of(case)
    pods = list(pods_of(objects))
    services = of_kind(objects, "Service")
    headless = {s["metadata"]["name"] for s in services if s["spec"].get("clusterIP") == "None"}
    normal = {s["metadata"]["name"] for s in services if "clusterIP" not in s["spec"]}
    assert headless == {f"{name}-headless" for name in normal}
    for service in services:
        (pod,) = (pod for pod in pods if selects(service["spec"]["selector"], pod.labels))
        by_name = {port["name"]: port["containerPort"] for port in pod.container["ports"]}
        for port in service["spec"]["ports"]:
            assert by_name[port["targetPort"]] == port["port"]


@every_case
def test_disruption_budget_only_where_a_pod_can_be_spared(case: str) -> None:
    """A budget exists exactly where there are two pods or more; elsewhere it would block drains."""
    objects = objects_of(case)
    scalers = {
        item["spec"]["scaleTargetRef"]["name"]: item["spec"]["minReplicas"]
        for item in of_kind(objects, "HorizontalPodAutoscaler")
    }
    fewest = {
        item["metadata"]["name"]: item["spec"].get(
            "replicas", scalers.get(item["metadata"]["name"])
        )
        for item in of_kind(objects, "Deployment")
    }
    budgets = {item["metadata"]["name"] for item in of_kind(objects, "PodDisruptionBudget")}
    assert budgets == {name for name, pods in fewest.items() if pods > 1}


@every_case
def test_autoscaled_deployments_fix_no_replicas(case: str) -> None:
    """An upgrade does not reset what the autoscaler chose, and each autoscaler has its target."""
    objects = objects_of(case)
    scaled = {
        item["spec"]["scaleTargetRef"]["name"]
        for item in of_kind(objects, "HorizontalPodAutoscaler")
    }
    without = {
        item["metadata"]["name"]
        for item in of_kind(objects, "Deployment")
        if "replicas" not in item["spec"]
    }
    assert scaled == without


def test_workers_scale_by_queue_depth() -> None:
    """An external metric of the values reaches the worker's autoscaler beside CPU."""
    scalers = of_kind(objects_of("worker-scaling"), "HorizontalPodAutoscaler")
    names = [scaler["metadata"]["name"] for scaler in scalers]
    assert names == ["lift-liftos-core-ingestion-worker", "lift-liftos-core-memory-worker"]
    for scaler in scalers:
        assert [metric["type"] for metric in scaler["spec"]["metrics"]] == ["Resource", "External"]


def test_a_workload_overrides_defaults_key_by_key() -> None:
    """What a service does not say stays as the defaults say it, down to a single limit."""
    item = deployment(objects_of("production"), "memory-server")
    (pod,) = pods_of((item,))
    assert pod.container["resources"]["limits"] == {"memory": "4Gi", "ephemeral-storage": "1Gi"}
    worker = deployment(objects_of("production"), "memory-worker")
    (other,) = pods_of((worker,))
    assert other.container["resources"]["limits"]["memory"] == "2Gi"


@every_case
def test_pods_spread_over_zones_and_nodes(case: str) -> None:
    """The pods of a workload avoid sharing a zone or node, each revision counted by itself."""
    for item in of_kind(objects_of(case), "Deployment"):
        constraints = item["spec"]["template"]["spec"]["topologySpreadConstraints"]
        keys = [constraint["topologyKey"] for constraint in constraints]
        assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        for constraint in constraints:
            assert constraint["labelSelector"] == item["spec"]["selector"]
            assert constraint["matchLabelKeys"] == ["pod-template-hash"]


# Network.


@every_case
def test_every_pod_is_under_exactly_one_policy(case: str) -> None:
    """Each pod is selected by one policy that governs both directions, and no policy is idle."""
    objects = objects_of(case)
    pods = list(pods_of(objects))
    policies = of_kind(objects, "NetworkPolicy")
    for policy in policies:
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    matched = [
        (policy["metadata"]["name"], index)
        for policy in policies
        for index, pod in enumerate(pods)
        if selects(policy["spec"]["podSelector"]["matchLabels"], pod.labels)
    ]
    assert sorted(index for _, index in matched) == list(range(len(pods)))
    assert {name for name, _ in matched} == {policy["metadata"]["name"] for policy in policies}


@every_case
def test_nobody_is_let_in_by_an_empty_rule(case: str) -> None:
    """Every ingress rule names its peers and its ports."""
    for policy in of_kind(objects_of(case), "NetworkPolicy"):
        for rule in policy["spec"].get("ingress") or []:
            assert peers(rule)
            assert rule["ports"]


def test_narrow_egress_names_its_destinations() -> None:
    """With destinations in the values only DNS may go anywhere."""
    for policy in of_kind(objects_of("production"), "NetworkPolicy"):
        anywhere = [rule for rule in policy["spec"]["egress"] if not peers(rule)]
        ports = {port["port"] for rule in anywhere for port in rule["ports"]}
        assert ports == {53}


def test_network_policies_can_be_turned_off() -> None:
    """Clusters that govern traffic elsewhere get no policy."""
    objects = manifests(render(with_minimal(networkPolicy={"enabled": False})))
    assert not of_kind(objects, "NetworkPolicy")


# Schema migration.


def test_schema_migration_runs_before_the_rollout() -> None:
    """The Job is a hook of install and upgrade; what it needs is made before it and removed."""
    job_weight = -5
    for item in objects_of("development"):
        annotations = item["metadata"].get("annotations", {})
        if annotations.get("helm.sh/hook") != "pre-install,pre-upgrade":
            continue
        weight = int(annotations["helm.sh/hook-weight"])
        assert weight == job_weight if item["kind"] == "Job" else weight < job_weight
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    jobs = [pod for pod in pods_of(objects_of("development")) if pod.owner["kind"] == "Job"]
    assert sorted(pod.container["command"][2] for pod in jobs) == [
        "liftos_ingestion",
        "liftos_memory",
    ]
    hooked = {
        (item["kind"], item["metadata"]["name"])
        for item in objects_of("development")
        if "helm.sh/hook" in item["metadata"].get("annotations", {})
    }
    for pod in jobs:
        assert pod.container["command"][:2] == ["python", "-m"]
        assert pod.container["command"][3:] == ["migrate"]
        assert ("ServiceAccount", pod.spec["serviceAccountName"]) in hooked
        secrets = {
            variable["valueFrom"]["secretKeyRef"]["name"]
            for variable in pod.environment.values()
            if "secretKeyRef" in variable.get("valueFrom", {})
        }
        assert {("Secret", name) for name in secrets} <= hooked
        assert "envFrom" not in pod.container


def test_without_hooks_the_job_is_named_after_its_content() -> None:
    """A tool that applies manifests meets a new Job when the Job changes, and else the same."""

    def job_names(tag: str) -> set[str]:
        values = with_minimal(schemaMigration={"useHelmHooks": False}, image={"tag": tag})
        objects = manifests(render(values))
        assert not [
            item
            for item in objects
            if "pre-install" in item["metadata"].get("annotations", {}).get("helm.sh/hook", "")
        ]
        return {job["metadata"]["name"] for job in of_kind(objects, "Job")}

    assert job_names("1.0.0") == job_names("1.0.0")
    assert job_names("1.0.0").isdisjoint(job_names("1.0.1"))


def test_schema_migration_can_be_left_to_another_pipeline() -> None:
    """Turned off, neither the Job nor anything made for it remains."""
    objects = manifests(render(with_minimal(schemaMigration={"enabled": False})))
    assert not [item for item in objects if "schema" in item["metadata"]["name"]]


# TLS, tests, notes.


def test_tls_is_mounted_where_calls_arrive() -> None:
    """Servers get certificate, key and client authority; a worker that takes no calls gets none."""
    objects = objects_of("tls")
    (server,) = pods_of((deployment(objects, "memory-server"),))
    (worker,) = pods_of((deployment(objects, "memory-worker"),))
    (mount,) = (m for m in server.container["volumeMounts"] if m["name"] == "tls")
    for key in ("CERTIFICATE_FILE", "KEY_FILE", "CLIENT_CA_FILE"):
        value = server.environment[f"LIFTOS_TLS_{key}"]["value"]
        assert value.startswith(mount["mountPath"])
        assert f"LIFTOS_TLS_{key}" not in worker.environment
    ports = [port for s in of_kind(objects, "Service") for port in s["spec"]["ports"]]
    assert not [port for port in ports if port.get("appProtocol") == "kubernetes.io/h2c"]


def test_callers_are_let_in_where_they_call() -> None:
    """Who calls a service of this release may connect to it, and it lets them in; others not."""
    objects = objects_of("all-services")
    policies = {item["metadata"]["name"]: item for item in of_kind(objects, "NetworkPolicy")}
    for called, callers in {
        "memory": {"ingestion", "migration", "causal-core"},
        "ingestion": {"causal-core"},
        "causal-module": {"migration"},
        "causal-core": {"migration"},
    }.items():
        (server,) = pods_of((deployment(objects, f"{called}-server"),))
        reaching = {
            name.removeprefix("lift-liftos-core-").rpartition("-")[0]
            for name, policy in policies.items()
            for rule in policy["spec"]["egress"]
            for peer in peers(rule)
            if selects(peer.get("podSelector", {}).get("matchLabels", {}), server.labels)
            and "app.kubernetes.io/component" in peer["podSelector"]["matchLabels"]
        }
        assert reaching == callers
        let_in = {
            peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"].rpartition("-")[0]
            for rule in policies[f"lift-liftos-core-{called}-server"]["spec"]["ingress"]
            for peer in peers(rule)
            if peer.get("podSelector", {}).get("matchLabels")
        } - {""}
        assert let_in == callers


def test_ingestion_calls_memory_over_tls(tmp_path: Path) -> None:
    """It checks Memory's certificate, shows its own under mTLS, and is let in to Memory alone."""
    objects = objects_of("tls")
    policies = {item["metadata"]["name"]: item for item in of_kind(objects, "NetworkPolicy")}
    for role in ("server", "worker"):
        (pod,) = pods_of((deployment(objects, f"ingestion-{role}"),))
        (mount,) = (m for m in pod.container["volumeMounts"] if m["name"] == "tls")
        for key in ("CA_FILE", "CERTIFICATE_FILE", "KEY_FILE"):
            path = pod.environment[f"LIFTOS_MEMORY_{key}"]["value"]
            assert path.startswith(mount["mountPath"])
        (memory,) = pods_of((deployment(objects, "memory-server"),))
        reached = [
            rule
            for rule in policies[f"lift-liftos-core-ingestion-{role}"]["spec"]["egress"]
            for peer in peers(rule)
            if selects(peer.get("podSelector", {}).get("matchLabels", {}), memory.labels)
        ]
        assert [port["port"] for rule in reached for port in rule["ports"]] == [8003]
        let_in = [
            peer
            for rule in policies["lift-liftos-core-memory-server"]["spec"]["ingress"]
            for peer in peers(rule)
            if selects(peer.get("podSelector", {}).get("matchLabels", {}), pod.labels)
        ]
        assert let_in
    plain = objects_of("minimal")
    (pod,) = pods_of((deployment(plain, "ingestion-worker"),))
    assert "LIFTOS_MEMORY_CA_FILE" not in pod.environment


@every_case
def test_helm_test_reaches_every_server(case: str) -> None:
    """There is one test pod for each server, and the server's policy lets it in."""
    objects = objects_of(case)
    services = {service["metadata"]["name"]: service for service in of_kind(objects, "Service")}
    tests = [item for item in objects if item["kind"] == "Pod"]
    assert len(tests) == len(services) // 2
    for item in tests:
        (pod,) = pods_of((item,))
        command = pod.container["command"]
        name, _, port = command[command.index("--address") + 1].partition(":")
        service = services[name]
        assert int(port) in {entry["port"] for entry in service["spec"]["ports"]}
        (policy,) = (
            candidate
            for candidate in of_kind(objects, "NetworkPolicy")
            if candidate["spec"]["podSelector"]["matchLabels"] == service["spec"]["selector"]
        )
        allowed = [peer for rule in policy["spec"]["ingress"] for peer in peers(rule)]
        assert any(
            selects(peer.get("podSelector", {}).get("matchLabels", {}), pod.labels)
            for peer in allowed
        )


def test_notes_print_lines_that_fit_the_deployment() -> None:
    """The printed grpcurl lines name the real port and health service, and TLS where it is on."""
    plain = render(values_of("minimal"))["NOTES.txt"]
    assert (
        'grpcurl -plaintext -d \'{"service": "liftos.memory.v1.MemoryService"}\' '
        "127.0.0.1:8003 grpc.health.v1.Health/Check"
    ) in plain
    assert "service/lift-liftos-core-memory 8003:8003" in plain
    assert "DEVELOPMENT" not in plain
    mutual = render(values_of("tls"))["NOTES.txt"]
    assert "-plaintext" not in mutual
    assert "-cert client.crt" in mutual
    assert "127.0.0.1:8003 list" not in render(values_of("production"))["NOTES.txt"]
    assert "DEVELOPMENT" in render(values_of("development"))["NOTES.txt"]

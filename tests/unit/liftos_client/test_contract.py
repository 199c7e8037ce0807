"""The client against the contract: nothing of it is missing."""

import json
import subprocess
import sys
from importlib import resources

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor

from liftos.common.v1.error_reason_pb2 import ErrorReason
from liftos.ingestion.v1 import ingestion_service_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.migration.v1 import migration_service_pb2
from liftos_client import errors
from liftos_client.arguments import day_text, enum_value, optional_date_range
from liftos_client.errors import ERRORS_BY_REASON, FieldInvalidError, LiftosError
from liftos_client.ingestion import IngestionClient
from liftos_client.memory import MemoryClient
from liftos_client.migration import MigrationClient
from liftos_client.policies import read_service_config

_MEMORY = pb.DESCRIPTOR.services_by_name["MemoryService"]
_INGESTION = ingestion_service_pb2.DESCRIPTOR.services_by_name["IngestionService"]
_MIGRATION = migration_service_pb2.DESCRIPTOR.services_by_name["MigrationService"]
_LATER = frozenset(
    (
        *("StartShadow", "StopShadow", "GetShadowStats", "ShiftTraffic", "CutOver", "Drill"),
        *("Rollback", "Complete", "SetTriggers", "ReportIssue", "ListIssueReports", "Accept"),
        *("GetReport", "VerifyReport", "GetRoutingPolicy", "WatchRoutingPolicy"),
        "SetRoutingPolicy",
    )
)
"""Methods of Migration that its server does not have yet."""
_OTHER_NAMES = {"QueryMetricsArrow": "query_metrics_frame", "IngestEntries": "ingest"}


def _python_name(method: str) -> str:
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in method)
    return _OTHER_NAMES.get(method, words.removeprefix("_"))


@pytest.mark.parametrize(
    ("client", "method"),
    [
        (client, method.name)
        for client, service in (
            (MemoryClient, _MEMORY),
            (IngestionClient, _INGESTION),
            (MigrationClient, _MIGRATION),
        )
        for method in service.methods
        if method.name not in _LATER
    ],
)
def test_every_method_of_a_service_has_one_here(client: type, method: str) -> None:
    """Each RPC can be called through a method with its name."""
    assert callable(getattr(client, _python_name(method), None))


def test_every_reason_has_a_class() -> None:
    """No reason of the contract falls back to its code."""
    reasons = {value.number for value in ErrorReason.DESCRIPTOR.values if value.number}
    assert set(ERRORS_BY_REASON) == reasons


def test_error_classes_end_in_error_and_have_one_root() -> None:
    """`except LiftosError` catches all of them."""
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    own = [each for each in classes if each.__module__ == errors.__name__]
    raised = [each for each in own if issubclass(each, Exception)]
    assert len(raised) > 30
    assert all(issubclass(each, LiftosError) for each in raised)
    assert all(each.__name__.endswith("Error") for each in raised)


def test_the_service_config_names_methods_of_the_contract_once() -> None:
    """No entry is misspelt, and none is there twice."""
    text = resources.files("liftos_client").joinpath("service_config.json").read_text()
    names = [
        (name["service"], name["method"])
        for entry in json.loads(text)["methodConfig"]
        for name in entry["name"]
    ]
    assert len(names) == len(set(names))
    assert set(names) <= {
        (service.full_name, method.name)
        for service in (_MEMORY, _INGESTION, _MIGRATION)
        for method in service.methods
    }


@pytest.mark.parametrize(
    "service", [_MEMORY, _INGESTION, _MIGRATION], ids=lambda service: service.name
)
def test_every_unary_method_has_a_deadline_and_no_stream_is_retried(
    service: ServiceDescriptor,
) -> None:
    """Calls end by themselves; streams are never sent twice by gRPC."""
    policies = read_service_config().policies(service)
    by_name = {policy.method.rpartition("/")[2]: policy for policy in policies.values()}
    for method in service.methods:
        if service is _MIGRATION and method.name in _LATER:
            continue
        policy = by_name[method.name]
        if method.server_streaming:
            assert not policy.repeatable
        else:
            assert policy.timeout_seconds is not None


def test_what_is_sent_twice_is_carried_out_once() -> None:
    """Memory's updates are bound to an etag alone; all other writes have a request_id."""
    memory = {p.method: p for p in read_service_config().policies(_MEMORY).values()}
    sent_once = ("UpdateOrgSettings", "DeleteCalendarEvent")
    assert not any(memory[f"{_MEMORY.full_name}/{name}"].repeatable for name in sent_once)
    assert memory[f"{_MEMORY.full_name}/BatchUpsertEntries"].repeatable
    policies = read_service_config().policies
    reads = ("Get", "List", "Watch", "PreviewMapping", "PlanBackfill", "Draft", "VerifyReport")
    for request, policy in {**policies(_INGESTION), **policies(_MIGRATION)}.items():
        name = policy.method.rpartition("/")[2]
        has_request_id = "request_id" in request.DESCRIPTOR.fields_by_name
        assert has_request_id is not name.startswith(reads)


def test_the_import_is_light() -> None:
    """Importing the client loads neither pandas nor pyarrow, nor anything of the servers."""
    program = (
        "import sys, liftos_client; print(*sorted(name.split('.')[0] for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
    )
    loaded = set(done.stdout.split())
    assert "liftos_client" in loaded
    assert not loaded & {"pandas", "numpy", "pyarrow", "asyncpg", "pymilvus", "liftos_kit"}


@pytest.mark.parametrize("word", ["CAMPAIGN", "campaign", "ENTRY_LEVEL_CAMPAIGN"])
def test_an_enum_is_taken_by_its_words(word: str) -> None:
    """Short and whole names mean the same."""
    from liftos.memory.v1.entry_pb2 import EntryLevel

    assert enum_value(EntryLevel, word) == EntryLevel.ENTRY_LEVEL_CAMPAIGN
    assert enum_value(EntryLevel, EntryLevel.ENTRY_LEVEL_AD) == 4


def test_a_wrong_word_names_the_right_ones() -> None:
    """The error tells which words there are, as a violation of the field."""
    with pytest.raises(FieldInvalidError, match="DAY, WEEK, MONTH") as raised:
        enum_value(pb.Granularity, "HOUR", field="granularity")
    assert raised.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.field_violations[0].field == "granularity"


def test_a_moment_counts_as_its_day() -> None:
    """A datetime is taken as its civil date."""
    from datetime import date, datetime

    assert day_text(datetime(2026, 1, 5, 23, 59)) == "2026-01-05"  # noqa: DTZ001  # civil time
    assert day_text(date(2026, 1, 5)) == day_text("2026-01-05") == "2026-01-05"


def test_half_a_range_is_refused() -> None:
    """Both days or none."""
    assert optional_date_range(None, None) is None
    with pytest.raises(FieldInvalidError, match="end_date"):
        optional_date_range("2026-01-05", None)

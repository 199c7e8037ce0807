"""The contract keeps its own rules: names, roles, paging, idempotency, comments, errors."""

import re
import shutil
from pathlib import Path
from typing import Final

import grpc
import protovalidate
import pyarrow as pa
import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from tests.protos import contract_reader as contract

from buf.validate import validate_pb2
from liftos.causal.v1 import causal_pb2, causal_service_pb2
from liftos.common.v1 import access_pb2, marketing_pb2
from liftos.ingestion.v1 import alert_pb2, ingestion_service_pb2
from liftos.memory.v1 import entry_pb2
from liftos.migration.v1 import migration_service_pb2, plan_pb2
from liftos_mapping.entry_fields import (
    ADDITIVE_METRICS,
    DATE_BASES,
    ENTRY_FIELDS,
    GRAIN_METRICS,
    LEVELS,
)
from protos import generate

READING_VERBS: Final = {
    *("Get", "List", "Query", "Search", "Watch", "Digest", "Transform", "Export", "Compare"),
    *("Evaluate", "Rerun", "Preview", "Plan", "Draft", "Check", "Validate"),
}
"""Verbs of methods that change nothing; any other method writes."""

READING_METHODS: Final = {"MigrationService.VerifyReport"}
"""Methods that change nothing, whatever their verb."""

NATURAL_KEYS: Final = {
    "MemoryService.IngestEntries": "stream_id and sequence",
    "MemoryService.SetWriteFence": "scope and epoch",
    "MemoryService.UpsertCalendarEvent": "the event's name",
    "MemoryService.DeleteCalendarEvent": "the event's name",
    "MemoryService.UpdateOrgSettings": "the settings' etag",
    "MemoryService.UpsertSource": "the source's name",
    "MemoryService.UpsertExchangeRates": "currency and date of each rate",
    "MemoryService.RateInsight": "the insight's name",
}
"""Writing methods without request_id, and what makes a repeated call harmless."""

OUTPUT_ONLY_ENTRY_FIELDS: Final = {
    *("name", "derived_metrics", "calendar_day", "quality", "slice", "origin"),
    *("create_time", "update_time", "etag"),
}
MINIMUM_COMMENT_SHARE: Final = 0.35

RULES_OVER_FIELDS: Final[dict[str, tuple[type[Message], str, str]]] = {
    "date_range.order": (
        marketing_pb2.DateRange,
        "start_date: '2026-01-02' end_date: '2026-01-01'",
        "start_date: '2026-01-01' end_date: '2026-01-01'",
    ),
    "suspension_scope.account": (
        alert_pb2.SuspensionScope,
        "account_id: '1'",
        "account_id: '1' platform: 'meta'",
    ),
    "replay_dead_letters.selection": (
        ingestion_service_pb2.ReplayDeadLettersRequest,
        "names: 'a' filter: 'b'",
        "names: 'a'",
    ),
    "discard_dead_letters.selection": (
        ingestion_service_pb2.DiscardDeadLettersRequest,
        "",
        "filter: 'state = OPEN'",
    ),
    "table_mapping.inverse": (
        plan_pb2.TableMapping,
        "reverse: REVERSE_POLICY_INVERSE",
        "reverse: REVERSE_POLICY_INVERSE inverse: {source_column: 'day' expression: 'date'}",
    ),
    "get_lineage.source_key": (
        migration_service_pb2.GetLineageRequest,
        "source_key: '{}'",
        "source_key: '{}' table: 'public.t'",
    ),
    "resolve_rejects.selection": (
        migration_service_pb2.ResolveRejectsRequest,
        "names: 'a' filter: 'b'",
        "filter: 'b'",
    ),
    "waive_rejects.selection": (migration_service_pb2.WaiveRejectsRequest, "", "names: 'a'"),
    "budget_constraint.order": (
        causal_pb2.BudgetConstraint,
        "minimum_micros: 2 maximum_micros: 1",
        "minimum_micros: 2",
    ),
    **{
        f"{name}.request_id": (message, "store: true", "store: true request_id: 'a'")
        for name, message in (
            ("analyze_attribution", causal_service_pb2.AnalyzeAttributionRequest),
            ("optimize_budget", causal_service_pb2.OptimizeBudgetRequest),
            ("measure_lift", causal_service_pb2.MeasureLiftRequest),
        )
    },
}
"""Rules over several fields: a message, fields that break the rule, fields that keep it."""

METHODS: Final = {
    f"{method.containing_service.name}.{method.name}": method for method in contract.methods()
}


def _rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    return field.GetOptions().Extensions[validate_pb2.field]


def _is_reading(name: str) -> bool:
    verb = re.match(r"[A-Z][a-z]+", name.partition(".")[2])
    assert verb is not None
    return verb[0] in READING_VERBS or name in READING_METHODS


def _has_name_rule(field: FieldDescriptor) -> bool:
    pattern = _rules(field).string.pattern
    return pattern.startswith("^orgs/[a-z0-9][a-z0-9-]{0,62}") and pattern.endswith("$")


def test_every_package_is_read() -> None:
    """No package of protos/ escapes the tests below."""
    assert {file.package for file in contract.files()} == set(contract.PACKAGES)


def test_style_rules_hold() -> None:
    """Buf's STANDARD and COMMENTS rules find nothing."""
    assert generate.lint() == 0


def test_generated_code_is_up_to_date() -> None:
    """gen/ is byte for byte what protos/ generates."""
    assert generate.check() == 0


def test_stale_generated_code_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A changed, a missing and a left over file of gen/ are each found."""
    stale = tmp_path / "gen"
    shutil.copytree(generate.GEN, stale)
    (stale / "liftos/common/v1/access_pb2.py").write_text("# edited by hand\n")
    (stale / "liftos/common/v1/marketing_pb2.pyi").unlink()
    (stale / "liftos/common/v1/left_over_pb2.py").write_text("")
    monkeypatch.setattr(generate, "GEN", stale)
    assert generate.check() == 1
    named = set(re.findall(r"gen/(\S+) differs", capsys.readouterr().out))
    assert named == {
        "liftos/common/v1/access_pb2.py",
        "liftos/common/v1/marketing_pb2.pyi",
        "liftos/common/v1/left_over_pb2.py",
    }


def test_the_frozen_packages_did_not_break() -> None:
    """The committed baseline, where there is one, is kept."""
    assert generate.breaking() == 0


def test_a_breaking_change_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An unchanged package passes; a removed field and a removed file are named."""
    baseline = tmp_path / "baseline.binpb"
    monkeypatch.setattr(generate, "BASELINE", baseline)
    generate.freeze(["liftos.common.v1"])
    assert generate.breaking() == 0

    frozen = FileDescriptorSet.FromString(baseline.read_bytes())
    marketing = next(f for f in frozen.file if f.name == "liftos/common/v1/marketing.proto")
    progress = next(m for m in marketing.message_type if m.name == "Progress")
    progress.field.add(
        name="removed_count",
        json_name="removedCount",
        number=99,
        type=FieldDescriptorProto.TYPE_INT64,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )
    baseline.write_bytes(frozen.SerializeToString())
    capfd.readouterr()
    assert generate.breaking() != 0
    found = capfd.readouterr().out
    assert '"99"' in found
    assert '"removed_count"' in found
    assert '"Progress"' in found

    frozen.file.add(name="liftos/common/v1/gone.proto", package="liftos.common.v1")
    baseline.write_bytes(frozen.SerializeToString())
    assert generate.breaking() == 1
    assert "liftos/common/v1/gone.proto is frozen" in capfd.readouterr().out


def test_freezing_takes_a_package_with_its_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The baseline grows by the named package and what it imports, and by nothing else."""
    baseline = tmp_path / "baseline.binpb"
    monkeypatch.setattr(generate, "BASELINE", baseline)

    def frozen_after(package: str) -> set[str]:
        generate.freeze([package])
        found = FileDescriptorSet.FromString(baseline.read_bytes())
        return {file.package for file in found.file if file.package.startswith("liftos.")}

    assert frozen_after("liftos.common.v1") == {"liftos.common.v1"}
    assert frozen_after("liftos.memory.v1") == {"liftos.common.v1", "liftos.memory.v1"}


def test_of_an_imported_package_only_what_is_imported_is_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often others are frozen after that."""
    baseline = tmp_path / "baseline.binpb"
    monkeypatch.setattr(generate, "BASELINE", baseline)
    for package in ("liftos.ingestion.v1", "liftos.common.v1"):
        generate.freeze([package])
        found = FileDescriptorSet.FromString(baseline.read_bytes())
        of_memory = {file.name for file in found.file if file.package == "liftos.memory.v1"}
        assert of_memory == {"liftos/memory/v1/calendar.proto", "liftos/memory/v1/entry.proto"}
        assert generate.breaking() == 0


@pytest.mark.parametrize("name", METHODS)
def test_every_method_names_its_role(name: str) -> None:
    """A method without a role would be open or closed by accident."""
    role = METHODS[name].GetOptions().Extensions[access_pb2.required_role]
    assert role != access_pb2.ROLE_UNSPECIFIED


@pytest.mark.parametrize("name", METHODS)
def test_every_request_names_its_org_by_a_pattern(name: str) -> None:
    """Each request has a parent, a name or a required resource, and its org is checked by rule."""
    request = METHODS[name].input_type
    named = [request.fields_by_name[f] for f in ("parent", "name") if f in request.fields_by_name]
    if not named:
        resources = [f.message_type for f in request.fields if _rules(f).required]
        named = [r.fields_by_name["name"] for r in resources if r and "name" in r.fields_by_name]
    assert named, "give the request a parent, a name or a required resource"
    assert all(_has_name_rule(field) for field in named)


@pytest.mark.parametrize("name", [n for n in METHODS if ".List" in n])
def test_every_list_is_paged(name: str) -> None:
    """Each list takes and gives page tokens, and bounds its pages."""
    request, response = METHODS[name].input_type, METHODS[name].output_type
    assert _rules(request.fields_by_name["page_size"]).int32.lte > 0
    assert _rules(request.fields_by_name["page_token"]).string.max_len > 0
    assert "next_page_token" in response.fields_by_name


@pytest.mark.parametrize("name", [n for n in METHODS if not _is_reading(n)])
def test_every_writing_method_can_be_repeated(name: str) -> None:
    """Each writing request has a UUID request_id or a natural key that the table names."""
    field = METHODS[name].input_type.fields_by_name.get("request_id")
    if field is None:
        assert name in NATURAL_KEYS
    else:
        assert _rules(field).string.uuid
        assert name not in NATURAL_KEYS


def test_the_tables_of_methods_are_up_to_date() -> None:
    """No table names a method that no longer exists."""
    assert set(NATURAL_KEYS) | READING_METHODS <= set(METHODS)


def test_every_enum_has_an_unspecified_zero() -> None:
    """A value that was not set can be told from each value that was."""
    for enum in contract.enums():
        assert enum.values[0].number == 0
        assert enum.values[0].name.endswith("_UNSPECIFIED"), enum.full_name


@pytest.mark.parametrize("path", contract.sources(), ids=lambda path: path.stem)
def test_protos_are_documented(path: Path) -> None:
    """Comments are at least 35 % of the lines of each file."""
    lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    share = sum(line.startswith("//") for line in lines) / len(lines)
    assert share >= MINIMUM_COMMENT_SHARE


def test_every_rule_compiles() -> None:
    """No message has a rule that the validator cannot read."""
    for message in contract.messages():
        violations = protovalidate.collect_violations(GetMessageClass(message)())
        assert isinstance(violations, list), message.full_name


@pytest.mark.parametrize(
    ("message", "broken", "kept"), RULES_OVER_FIELDS.values(), ids=[*RULES_OVER_FIELDS]
)
def test_rules_over_several_fields_hold(
    message: type[Message], broken: str, kept: str, request: pytest.FixtureRequest
) -> None:
    """Such a rule finds what breaks it, and lets pass what keeps it."""
    rule = request.node.callspec.id

    def violated(text: str) -> set[str]:
        found = protovalidate.collect_violations(text_format.Parse(text, message()))
        return {violation.proto.rule_id for violation in found}

    assert rule in violated(broken)
    assert rule not in violated(kept)


def test_every_rule_over_several_fields_has_a_case() -> None:
    """A rule that nothing tries may hold a misspelt field."""
    rules = {
        rule.id
        for message in contract.messages()
        for rule in message.GetOptions().Extensions[validate_pb2.message].cel
    }
    assert rules == set(RULES_OVER_FIELDS)


def test_secrets_are_redacted_from_debug_text() -> None:
    """Each secret that goes in is marked, and so stays out of printed messages."""
    secret = {
        name
        for name, text in contract.comments().items()
        if text.startswith("Input only") or name.endswith("SecretFields.values")
    }
    fields = {f.full_name: f for message in contract.messages() for f in message.fields}
    assert secret
    assert {name for name in secret if not fields[name].GetOptions().debug_redact} == set()


def test_entry_has_the_fields_of_the_table() -> None:
    """The fields that writers give are the columns of the field table, with the same types."""
    given = {path.rpartition(".")[2]: field for path, field in contract.given_fields().items()}
    assert given.keys() == {field.name for field in ENTRY_FIELDS}
    numbers = {"int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_()}
    wire = {
        FieldDescriptor.TYPE_INT64: numbers["int64"],
        FieldDescriptor.TYPE_DOUBLE: numbers["double"],
        FieldDescriptor.TYPE_BOOL: numbers["bool"],
    }
    for field in ENTRY_FIELDS:
        if pa.types.is_primitive(field.type) and not pa.types.is_date(field.type):
            assert wire[given[field.name].type] == field.type, field.name


def test_entry_marks_its_other_fields_output_only() -> None:
    """What writers do not give is documented as output only."""
    every = {field.name for field in entry_pb2.Entry.DESCRIPTOR.fields}
    given = {path.partition(".")[0] for path in contract.given_fields()}
    assert every - given == OUTPUT_ONLY_ENTRY_FIELDS


def test_numbers_may_be_absent() -> None:
    """A number that a platform did not report is unset, never zero."""
    for message in (entry_pb2.Metrics, entry_pb2.GrainMetrics, entry_pb2.DerivedMetrics):
        for field in message.DESCRIPTOR.fields:
            assert field.has_presence or field.name == "currency_code", field.full_name


def test_metrics_keep_the_order_of_the_table() -> None:
    """Digests hash columns in the order of the contract, which is the table's."""
    metrics = [field.name for field in entry_pb2.Metrics.DESCRIPTOR.fields]
    assert metrics == ["currency_code", *ADDITIVE_METRICS]
    assert [field.name for field in entry_pb2.GrainMetrics.DESCRIPTOR.fields] == [*GRAIN_METRICS]


@pytest.mark.parametrize(
    ("enum", "words"),
    [(entry_pb2.EntryLevel, LEVELS), (entry_pb2.DateBasis, DATE_BASES)],
    ids=["levels", "date bases"],
)
def test_enum_words_are_those_of_the_table(
    enum: type[entry_pb2.EntryLevel] | type[entry_pb2.DateBasis], words: tuple[str, ...]
) -> None:
    """An enum's number is the place of its word in the table."""
    values = enum.DESCRIPTOR.values
    prefix = values[0].name.removesuffix("UNSPECIFIED")
    assert [value.number for value in values] == list(range(len(words) + 1))
    assert tuple(value.name.removeprefix(prefix) for value in values[1:]) == words


def test_every_reason_names_its_code() -> None:
    """The comment of each reason begins with a gRPC code."""
    codes = {code.name for code in grpc.StatusCode} - {"OK", "UNKNOWN", "CANCELLED"}
    assert {reason.name for reason in contract.reasons() if reason.code not in codes} == set()


@pytest.mark.parametrize("name", [*METHODS, *sorted({name.partition(".")[0] for name in METHODS})])
def test_methods_name_reasons_with_their_codes(name: str) -> None:
    """A comment that says CODE (REASON) says it as the enum of reasons does."""
    codes = {reason.name: reason.code for reason in contract.reasons()}
    text = next(t for n, t in contract.comments().items() if n.endswith(f".v1.{name}"))
    named = [
        (reason, code)
        for code, reasons in re.findall(r"([A-Z_]+) \(([A-Z_]+(?:, [A-Z_]+)*)\)", text)
        for reason in reasons.split(", ")
    ]
    assert [(reason, codes.get(reason)) for reason, _ in named] == named


@pytest.mark.parametrize(
    "name", [n for n in METHODS if n.startswith("MemoryService.") and not _is_reading(n)]
)
def test_every_write_to_memory_names_what_refuses_it(name: str) -> None:
    """A write says that a fence stops it, and what follows from its epoch and request id."""
    fields = METHODS[name].input_type.fields_by_name
    refusals = {
        "FENCE_CLOSED": name != "MemoryService.SetWriteFence",
        "EPOCH_FENCED": "fencing_epoch" in fields or name == "MemoryService.SetWriteFence",
        "REQUEST_ID_REUSED": "request_id" in fields,
    }
    text = contract.comments()[METHODS[name].full_name]
    assert {reason: reason in text for reason in refusals} == refusals


def test_resources_are_not_nested_in_messages() -> None:
    """Nested types cannot be shared, and read badly in generated code."""
    nested = [
        inner.full_name
        for message in contract.messages()
        for inner in message.nested_types
        if not _is_map_entry(inner)
    ]
    assert nested == []


def _is_map_entry(message: Descriptor) -> bool:
    return message.GetOptions().map_entry


def test_the_document_has_the_tables_of_now() -> None:
    """The tables of docs/contract.md are those of the enum of reasons and of the field table."""
    text = contract.DOCUMENT.read_text()
    assert text == contract.with_tables(text), "run python -m tests.protos.contract_reader"

"""Sources and previews of mappings, both ways."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from liftos.common.v1 import error_reason_pb2, marketing_pb2
from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.ingestion.v1 import source_pb2
from liftos.memory.v1 import entry_pb2
from liftos_ingestion.catalog_ports import NewSource, SourceKind
from liftos_ingestion.convert.connections import connection_id
from liftos_ingestion.convert.raw_rows import row_message
from liftos_ingestion.run_ports import Refused
from liftos_ingestion.source_ports import Capabilities
from liftos_ingestion.usecases.previews import Preview, PreviewRequest
from liftos_ingestion.usecases.sources import DescribedSource
from liftos_kit.core.names import Pattern
from liftos_kit.structs import plain, struct_of, timestamp
from liftos_mapping.entry_fields import ADDITIVE_METRICS, DATE_BASES, GRAIN_METRICS, LEVELS

SOURCE_NAME: Final = Pattern("orgs/{org}/sources/{source}")

_INVALID_ARGUMENT: Final = 3
_TEXTS: Final = tuple(
    field.name
    for field in entry_pb2.Entry.DESCRIPTOR.fields
    if field.type == field.TYPE_STRING and not field.is_repeated and field.name != "date"
)


def source_id(name: str, *, field: str = "name") -> str:
    """Return the id in the name of a source."""
    return SOURCE_NAME.parse(name, field=field)["source"]


def new_source(message: source_pb2.Source) -> NewSource:
    """Return the source of a message; output-only fields are left alone."""
    return NewSource(
        source=source_id(message.name, field="source.name"),
        display_name=message.display_name,
        kind=SourceKind(message.kind),
        definition=plain(message.definition),
        mapping=plain(message.mapping),
    )


def source_message(org: str, source: DescribedSource) -> source_pb2.Source:
    """Return the message of a source."""
    working = source.working
    return source_pb2.Source(
        name=f"orgs/{org}/sources/{source.source}",
        display_name=source.display_name,
        kind=source_pb2.SourceKind.ValueType(source.kind),
        definition=None if source.definition is None else struct_of(source.definition),
        mapping=None if source.mapping is None else struct_of(source.mapping),
        built_in=source.kind in (SourceKind.PLATFORM, SourceKind.PLUGIN),
        capabilities=None if working is None else _capabilities(working.capabilities),
        credential_schema=None if working is None else struct_of(working.credential_schema),
        settings_schema=None if working is None else struct_of(working.settings_schema),
        create_time=timestamp(source.create_time),
        update_time=timestamp(source.update_time),
        etag=str(source.revision) if source.revision else "",
    )


def preview_request(request: pb.PreviewMappingRequest) -> PreviewRequest:
    """Return what a request wants to see."""
    return PreviewRequest(
        source=source_id(request.name),
        mapping=plain(request.mapping) if request.HasField("mapping") else None,
        rows=[plain(row) for row in request.rows],
        connection=connection_id(request.connection, field="connection")
        if request.connection
        else "",
        account_id=request.account_id,
    )


def preview_response(preview: Preview) -> pb.PreviewMappingResponse:
    """Return the answer of a preview."""
    return pb.PreviewMappingResponse(
        rows=map(row_message, preview.rows),
        entries=map(_entry, preview.entries.to_pylist()),
        source_indexes=preview.source_indexes,
        item_errors=map(_item_error, preview.errors),
        unmapped_fields=preview.unmapped_fields,
    )


def _capabilities(can: Capabilities) -> source_pb2.SourceCapabilities:
    end = can.api_version_end_date
    return source_pb2.SourceCapabilities(
        levels=[_level(it) for it in can.levels],
        date_bases=[
            entry_pb2.DateBasis.ValueType(DATE_BASES.index(it) + 1) for it in can.date_bases
        ],
        restatement_days=can.restatement_days,
        retention_days=can.retention_days,
        totals=can.totals,
        api_version=can.api_version,
        api_version_end_date="" if end is None else end.isoformat(),
        object_levels=[_level(it) for it in can.object_levels],
    )


def _level(word: str) -> entry_pb2.EntryLevel.ValueType:
    return entry_pb2.EntryLevel.ValueType(LEVELS.index(word) + 1)


def _entry(row: Mapping[str, Any]) -> entry_pb2.Entry:
    """Return the message of a mapped row; what Memory adds on writing is not in it."""
    return entry_pb2.Entry(
        date=row["date"].isoformat(),
        level=entry_pb2.EntryLevel.ValueType(LEVELS.index(row["level"]) + 1),
        date_basis=entry_pb2.DateBasis.ValueType(DATE_BASES.index(row["date_basis"]) + 1),
        final=bool(row["final"]),
        metrics=entry_pb2.Metrics(
            currency_code=row["currency_code"] or "", **_set(row, ADDITIVE_METRICS)
        ),
        grain_metrics=entry_pb2.GrainMetrics(**_set(row, GRAIN_METRICS)),
        actions=[entry_pb2.ActionCount(**_set(it, it)) for it in row["actions"] or ()],
        **_set(row, _TEXTS),
    )


def _set(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in names if row.get(name) is not None}


def _item_error(refused: Refused) -> marketing_pb2.ItemError:
    return marketing_pb2.ItemError(
        index=refused.index,
        code=_INVALID_ARGUMENT,
        reason=error_reason_pb2.ErrorReason.Name(error_reason_pb2.ERROR_REASON_FIELD_INVALID),
        field=refused.field,
        message=refused.message,
        rule=refused.code,
    )

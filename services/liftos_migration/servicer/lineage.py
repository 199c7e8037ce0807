"""Lineage on the wire."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.migration.v1 import migration_service_pb2 as pb
from liftos.migration.v1 import plan_pb2
from liftos_kit.auth import require_org
from liftos_migration.domain.lineage import Edge, RecordOrigin
from liftos_migration.domain.names import migration_id
from liftos_migration.usecases.lineage import Lineage
from liftos_migration.usecases.migrations import MigrationAdministration


class LineageServicer:
    """Says where fields and records come from.

    Args:
        administration: Knows the migrations.
        lineage: Answers.
    """

    def __init__(self, *, administration: MigrationAdministration, lineage: Lineage) -> None:
        self._administration = administration
        self._lineage = lineage

    async def GetLineage(
        self, request: pb.GetLineageRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetLineageResponse:
        org = require_org(request.name, field="name")
        id_ = migration_id(request.name, field="name")
        spec = (await self._administration.get(org, id_)).spec
        records: list[RecordOrigin] = []
        if request.source_key:
            records += await self._lineage.of_row(
                org, id_, spec, table=request.table, source_key=request.source_key
            )
        if request.target_record:
            records += await self._lineage.of_record(
                org, id_, spec, target_record=request.target_record
            )
        edges = await self._lineage.of_columns(
            org, spec, table=request.table, target_field=request.target_field
        )
        return pb.GetLineageResponse(
            edges=map(_edge_message, edges), records=map(_record_message, records)
        )


def _edge_message(edge: Edge) -> plan_pb2.LineageEdge:
    return plan_pb2.LineageEdge(
        table=edge.table,
        source_columns=edge.source_columns,
        expression=edge.expression,
        target=plan_pb2.MappingTarget.ValueType(edge.target),
        target_field=edge.target_field,
    )


def _record_message(record: RecordOrigin) -> plan_pb2.LineageRecord:
    return plan_pb2.LineageRecord(
        table=record.table,
        source_key=record.source_key,
        source_hash=record.source_hash,
        target_record=record.target_record,
        target_hash=record.target_hash,
    )

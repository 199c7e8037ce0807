"""Inventories and preflight reports as messages."""

from liftos.migration.v1 import plan_pb2 as pb
from liftos_kit.structs import timestamp
from liftos_migration.convert.durations import seconds
from liftos_migration.domain.coverage import CoveredItem
from liftos_migration.domain.preflight import Finding
from liftos_migration.inspection_ports import StoredPreflight


def report_message(stored: StoredPreflight) -> pb.PreflightReport:
    """Return the message of a preflight report."""
    found = stored.preflight
    offset = found.clock_offset_seconds
    return pb.PreflightReport(
        findings=map(_finding, found.findings),
        capture_modes=[pb.CaptureMode.ValueType(mode) for mode in found.capture_modes],
        startable=found.startable,
        cut_over_allowed=found.cut_over_allowed,
        row_count=found.row_count,
        size_bytes=found.size_bytes,
        estimated_copy=seconds(found.estimated_copy_seconds),
        estimated_pause=seconds(found.estimated_pause_seconds),
        estimated_rollback=seconds(found.estimated_rollback_seconds),
        clock_offset=None if offset is None else seconds(offset),
        check_time=timestamp(stored.check_time),
    )


def item_message(covered: CoveredItem) -> pb.InventoryItem:
    """Return the message of a part of a source."""
    item = covered.item
    return pb.InventoryItem(
        kind=pb.InventoryKind.ValueType(item.kind),
        object=item.object,
        columns=[
            pb.InventoryColumn(
                column=column.name,
                type=column.type,
                nullable=column.is_nullable,
                default_expression=column.default,
            )
            for column in item.columns
        ],
        key_columns=item.key_columns,
        row_count=item.row_count,
        size_bytes=item.size_bytes,
        sha256=item.sha256,
        depends_on=item.depends_on,
        definition=item.definition,
        mapped=covered.mapped,
        waived=covered.waived,
        unmapped_columns=covered.unmapped_columns,
    )


def _finding(finding: Finding) -> pb.Finding:
    return pb.Finding(
        severity=pb.FindingSeverity.ValueType(finding.severity),
        code=finding.code,
        object=finding.object,
        found=finding.found,
        wanted=finding.wanted,
        remedy=finding.remedy,
    )

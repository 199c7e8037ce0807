"""Migrations and their progress as messages."""

from datetime import timedelta

from liftos.migration.v1 import migration_pb2 as pb
from liftos.migration.v1 import trigger_pb2
from liftos_kit.structs import timestamp
from liftos_migration.convert.durations import duration
from liftos_migration.convert.specs import fill_spec
from liftos_migration.domain.migrations import TableProgress
from liftos_migration.domain.names import migration_name
from liftos_migration.ledger_ports import StoredMigration


def migration_message(org: str, stored: StoredMigration) -> pb.Migration:
    """Return the message of a migration."""
    message = pb.Migration(
        name=migration_name(org, stored.migration),
        state=pb.MigrationState.ValueType(stored.state),
        state_reason=stored.state_reason,
        resume_state=pb.MigrationState.ValueType(stored.place.resume_state or 0),
        cut_over_phase=pb.CutOverPhase.ValueType(stored.cut_over_phase),
        rollback_level=trigger_pb2.RollbackLevel.ValueType(stored.rollback_level),
        progress=_progress(stored),
        epoch=stored.epoch,
        lease_owner=stored.lease_owner,
        plan_sha256=stored.plan_sha256,
        create_time=timestamp(stored.create_time),
        update_time=timestamp(stored.update_time),
        etag=str(stored.revision),
    )
    fill_spec(message, stored.spec)
    return message


def _progress(stored: StoredMigration) -> pb.MigrationProgress:
    progress = stored.progress
    left, measured = progress.estimated_seconds_left, stored.progress_time
    end = None
    if left is not None and measured is not None:
        end = measured + timedelta(seconds=left)
    return pb.MigrationProgress(
        tables=map(_table, progress.tables),
        rows_per_second=progress.rows_per_second,
        lag=duration(progress.lag),
        reverse_lag=duration(progress.reverse_lag),
        retained_bytes=progress.retained_bytes,
        throttle_reason=progress.throttle_reason,
        waits_for=progress.waits_for,
        accuracy=progress.accuracy or 0.0,
        completeness=progress.completeness or 0.0,
        percent=progress.percent,
        open_reject_count=sum(table.reject_count for table in progress.tables),
        downtime=duration(progress.downtime),
        estimated_rollback=duration(progress.estimated_rollback),
        estimated_end_time=timestamp(end),
        observe_time=timestamp(measured),
    )


def _table(table: TableProgress) -> pb.TableProgress:
    return pb.TableProgress(
        table=table.table,
        row_count=table.row_count,
        exact=table.exact,
        copied_count=table.copied_count,
        applied_count=table.applied_count,
        chunk_count=table.chunk_count,
        verified_chunk_count=table.verified_chunk_count,
        dirty_chunk_count=table.dirty_chunk_count,
        bad_chunk_count=table.bad_chunk_count,
        reject_count=table.reject_count,
    )

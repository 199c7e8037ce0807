"""Verifications, differences and refused rows as messages."""

from uuid import UUID

from liftos.common.v1.marketing_pb2 import Progress
from liftos.migration.v1 import migration_service_pb2
from liftos.migration.v1 import verification_pb2 as pb
from liftos_kit.structs import timestamp
from liftos_migration.domain.checks import Check, CheckKind
from liftos_migration.domain.differences import Difference
from liftos_migration.domain.names import VERIFICATION_NAME
from liftos_migration.domain.verification import EntityResult, Tier
from liftos_migration.verification_run_ports import NewVerification, StoredVerification


def verification_ids(name: str, *, field: str) -> tuple[str, UUID]:
    """Return the ids of the migration and the verification in a name.

    Raises:
        InvalidFieldsError: It is no such name.
    """
    parsed = VERIFICATION_NAME.parse(name, field=field)
    return parsed["migration"], UUID(parsed["verification"])


def new_verification(
    request: migration_service_pb2.VerifyRequest, *, subject: str
) -> NewVerification:
    """Return what a request asks to verify."""
    return NewVerification(
        tier=Tier(request.tier or Tier.EXACT),
        incremental=request.incremental,
        tables=tuple(request.tables),
        check_kinds=tuple(CheckKind(kind) for kind in request.checks),
        subject=subject,
    )


def verification_message(org: str, migration: str, stored: StoredVerification) -> pb.Verification:
    """Return the message of a verification."""
    done = stored.end_time is not None
    return pb.Verification(
        name=VERIFICATION_NAME.format(
            org=org, migration=migration, verification=stored.verification.hex
        ),
        state=pb.VerificationState.ValueType(stored.state),
        tier=pb.VerificationTier.ValueType(stored.asked.tier),
        incremental=stored.asked.incremental,
        entities=map(_entity, stored.entities),
        checks=map(_check, stored.checks),
        accuracy=stored.accuracy,
        completeness=stored.completeness,
        source_position=stored.source_position,
        write_token=stored.write_token,
        progress=Progress(total_count=1, succeeded_count=int(done)),
        start_time=timestamp(stored.start_time),
        end_time=timestamp(stored.end_time),
    )


def difference_message(difference: Difference) -> pb.Difference:
    """Return the message of a record that differs."""
    return pb.Difference(
        table=difference.table,
        key=difference.key,
        kind=pb.DifferenceKind.ValueType(difference.kind),
        target_record=difference.target_record,
        fields=[
            pb.FieldDifference(
                field=each.field,
                source_value=each.source_value,
                target_value=each.target_value,
            )
            for each in difference.fields
        ],
        cause=difference.cause,
    )


def _entity(entity: EntityResult) -> pb.EntityResult:
    return pb.EntityResult(
        table=entity.table,
        source_count=entity.source_count,
        matched_count=entity.matched_count,
        missing_count=entity.missing_count,
        extra_count=entity.extra_count,
        different_count=entity.different_count,
        rejected_count=entity.rejected_count,
        waived_count=entity.waived_count,
        accuracy=entity.accuracy,
        completeness=entity.completeness,
        source_root=entity.source_root,
        target_root=entity.target_root,
        merged_count=entity.merged_count,
        unverified=entity.unverified,
    )


def _check(check: Check) -> pb.Check:
    return pb.Check(
        kind=pb.CheckKind.ValueType(check.kind),
        subject=check.subject,
        measured=check.measured or 0.0,
        threshold=check.threshold,
        unit=check.unit,
        passed=check.passed,
        sample_count=check.sample_count,
        detail=check.detail if check.measured is not None else f"not measured: {check.detail}",
    )

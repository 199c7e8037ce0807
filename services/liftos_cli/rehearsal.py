"""A migration rehearsed: all of it, on a copy of its source, in a stack that goes away again."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from liftos.memory.v1.source_pb2 import Source
from liftos.migration.v1.ledger_pb2 import Step, StepState
from liftos.migration.v1.migration_pb2 import Migration, MigrationState
from liftos.migration.v1.plan_pb2 import PreflightReport
from liftos.migration.v1.verification_pb2 import Verification
from liftos_cli.errors import CommandError
from liftos_cli.figures import UNSET, length, short_name
from liftos_cli.migration_view import has_reached, has_stopped, migration_line
from liftos_cli.stage_bar import Advance
from liftos_cli.tokens import issue_token
from liftos_client.connection import Client, connect
from liftos_local.directory import DataDirectory, load_secrets
from liftos_local.rehearsals import (
    RehearsedSource,
    copy_source,
    known_variables,
    rehearsal_stack,
)
from liftos_local.stack import Stack

_TOKEN_SECONDS: Final = 86_400
_END: Final = MigrationState.MIGRATION_STATE_VERIFIED
_GIVEN: Final = (
    *("display_name", "module", "source", "mapping", "capture_mode", "gates", "budgets"),
    *("throttle", "pace"),
)
"""Fields of a migration that its rehearsal has too; triggers and windows are of a cut-over."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How a rehearsal went.

    Attributes:
        migration: As it ended.
        report: What preflight had estimated.
        steps: All attempts.
        verification: The newest one; None where none was made.
        dump_seconds: What the copy of the source took.
        seconds: What the migration took, from its start to its end.
    """

    migration: Migration
    report: PreflightReport
    steps: tuple[Step, ...]
    verification: Verification | None
    dump_seconds: float
    seconds: float

    @property
    def succeeded(self) -> bool:
        """Whether it got as far as VERIFIED."""
        return has_reached(self.migration, _END)

    def step_seconds(self, phase: int) -> float | None:
        """Return what the steps of a state took that were done; None where none was."""
        took = [
            (step.end_time.ToDatetime() - step.start_time.ToDatetime()).total_seconds()
            for step in self.steps
            if step.phase == phase and step.state == StepState.STEP_STATE_DONE
        ]
        return sum(took) if took else None


async def rehearse(
    real: Migration, sources: Sequence[Source], *, data_dir: Path, at: Path, advance: Advance
) -> Rehearsal:
    """Run a migration on a copy of its source; it is shown while it goes on.

    Neither the module nor the Core of the migration is written to: the source is read once, as a
    snapshot reads it.

    Args:
        real: The migration that is rehearsed.
        sources: Platforms that Core knows, which the rehearsal's has to know as well.
        data_dir: Of the stack whose variables name the source, where it runs here.
        at: Directory for the copy and the stack of the rehearsal; it is left as it is.
        advance: Told how far the copy is.

    Raises:
        CommandError: Nothing here has the address of the source.
        DumpError: The source cannot be copied.
        LocalStackError: The stack cannot be started.
        LiftosError: The migration cannot be made or started.
    """
    org = real.name.split("/")[1]
    variables = known_variables(data_dir)
    reference = real.source.database_reference
    url = variables.get(reference)
    if not url:
        raise CommandError(
            f"the variable {reference}, which has the address of the source, is not set here",
            advice="rehearse where Migration's worker runs, or set it as it is there",
        )
    named = real.source.redis_reference
    source = RehearsedSource(
        org, reference, {named: variables[named]} if named in variables else {}
    )
    began = time.monotonic()
    copy = await copy_source(
        url, tuple(real.source.schemas) or ("public",), at / "copy", on_progress=advance
    )
    dump_seconds = time.monotonic() - began
    async with (
        rehearsal_stack(at / "stack", source, copy, on_progress=advance) as stack,
        _client(stack, org) as client,
    ):
        for each in sources:
            if not each.built_in:
                await client.memory.upsert_source(
                    short_name(each.name), display_name=each.display_name
                )
        migrations = client.migration
        name = short_name(real.name)
        created = await migrations.create_migration(name, rehearsed(real))
        report = await migrations.preflight(name)
        began = time.monotonic()
        await migrations.start_migration(name)
        last = created
        with migration_line() as show:
            async for answer in migrations.watch_migration(name):
                last = answer.migration
                show(last, answer.step if answer.HasField("step") else Step())
                if has_reached(last, _END) or has_stopped(last):
                    break
        seconds = time.monotonic() - began
        steps = [step async for step in migrations.list_steps(name, page_size=1_000)]
        verification: Verification | None = None
        async for found in migrations.list_verifications(name, page_size=1):
            verification = await migrations.get_verification(found.name)
            break
        return Rehearsal(last, report, tuple(steps), verification, dump_seconds, seconds)


def rehearsed(real: Migration) -> Migration:
    """Return what a person would have written to make the same migration, as a rehearsal."""
    draft = Migration(rehearsal=True)
    FieldMask(paths=_GIVEN).MergeMessage(real, draft)
    # The module itself is not tried: it answers from its real data.
    draft.source.probe_target = ""
    return draft


def result_rows(result: Rehearsal) -> list[tuple[str, str, str]]:
    """Return what was measured beside what was estimated: what, estimate, measure."""
    report, verification = result.report, result.verification
    rows = [
        ("rows", f"{report.row_count:,}", _rows(verification)),
        ("copy", length(report.estimated_copy), _took(result.step_seconds(_COPYING))),
        ("snapshot and its restore", UNSET, _took(result.step_seconds(_SNAPSHOTTED))),
        ("verification", UNSET, _took(result.step_seconds(_VERIFYING))),
        ("start to verified", UNSET, _took(result.seconds if result.succeeded else None)),
        ("write pause", length(report.estimated_pause), UNSET),
        ("rollback", length(report.estimated_rollback), UNSET),
        ("rows refused", "0", f"{result.migration.progress.open_reject_count:,}"),
    ]
    if verification is None:
        return rows
    different = sum(
        each.missing_count + each.extra_count + each.different_count
        for each in verification.entities
    )
    return [
        *rows,
        ("rows that differ", "0", f"{different:,}"),
        ("accuracy", "100 %", f"{verification.accuracy:.4%}"),
        ("completeness", "100 %", f"{verification.completeness:.4%}"),
    ]


_SNAPSHOTTED: Final = MigrationState.MIGRATION_STATE_SNAPSHOTTED
_COPYING: Final = MigrationState.MIGRATION_STATE_COPYING
_VERIFYING: Final = MigrationState.MIGRATION_STATE_VERIFYING


def _rows(verification: Verification | None) -> str:
    if verification is None:
        return UNSET
    return f"{sum(each.source_count for each in verification.entities):,}"


def _took(seconds: float | None) -> str:
    if seconds is None:
        return UNSET
    return f"{seconds:.1f} s" if seconds < 60 else length(Duration(seconds=round(seconds)))


@asynccontextmanager
async def _client(stack: Stack, org: str) -> AsyncIterator[Client]:
    secrets = load_secrets(DataDirectory(stack.data_dir))
    token = issue_token(
        secrets.jwt_secret,
        org=org,
        roles=("admin",),
        subject="rehearsal",
        lifetime_seconds=_TOKEN_SECONDS,
    )
    addresses = stack.addresses
    async with connect(
        addresses["memory"], token=token, migration_target=addresses["migration"]
    ) as client:
        yield client

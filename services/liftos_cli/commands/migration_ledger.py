"""`liftos migration steps | decisions | snapshots`: what the ledger holds."""

from liftos.migration.v1.ledger_pb2 import Decision, Snapshot, Step
from liftos_cli.figures import UNSET, enum_word_of, length, short_name
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.message_view import time_text
from liftos_cli.migration_call import MigrationArgument, MigrationCall, calls_migration
from liftos_cli.options import FilterOption, LimitOption
from liftos_cli.output import Column

app = command_app(summary="What the ledger holds.")


@app.command(epilog="Example: liftos migration steps causal --filter 'state = \"FAILED\"'")
@calls_migration
async def steps(
    call: MigrationCall,
    migration: MigrationArgument,
    *,
    filter_: FilterOption = "",
    limit: LimitOption = 200,
) -> None:
    """List the steps of a migration, in order."""
    pages = call.migration.list_steps(migration, filter=filter_, page_size=page_size(limit, 1_000))
    found, more = await take(pages, limit)
    print_list(
        "steps",
        found,
        more=more,
        json=call.json,
        columns=[
            Column("step", number=True),
            Column("phase"),
            Column("title"),
            Column("state"),
            Column("attempt", number=True),
            Column("epoch", number=True),
            Column("seconds", number=True),
            Column("hash"),
            Column("error"),
        ],
        row=_step_row,
    )


@app.command(epilog="Example: liftos migration decisions causal")
@calls_migration
async def decisions(
    call: MigrationCall,
    migration: MigrationArgument,
    *,
    filter_: FilterOption = "",
    limit: LimitOption = 100,
) -> None:
    """List who decided what, and why, newest first."""
    pages = call.migration.list_decisions(
        migration, filter=filter_, page_size=page_size(limit, 1_000)
    )
    found, more = await take(pages, limit)
    print_list(
        "decisions",
        found,
        more=more,
        json=call.json,
        columns=[
            Column("decision", number=True),
            Column("action"),
            Column("by"),
            Column("before"),
            Column("after"),
            Column("when"),
            Column("hash"),
            Column("why"),
        ],
        row=_decision_row,
    )


@app.command(epilog="Example: liftos migration snapshots causal")
@calls_migration
async def snapshots(
    call: MigrationCall, migration: MigrationArgument, *, limit: LimitOption = 100
) -> None:
    """List the points that can be restored, newest first; only tested ones count."""
    pages = call.migration.list_snapshots(migration, page_size=page_size(limit, 1_000))
    found, more = await take(pages, limit)
    print_list(
        "snapshots",
        found,
        more=more,
        json=call.json,
        columns=[
            Column("id"),
            Column("before step", number=True),
            Column("tables", number=True),
            Column("rows", number=True),
            Column("MiB", number=True),
            Column("tested"),
            Column("restore"),
            Column("taken"),
        ],
        row=_snapshot_row,
    )


def _step_row(step: Step) -> list[str]:
    seconds = ""
    if step.HasField("start_time") and step.HasField("end_time"):
        lasted = step.end_time.ToDatetime() - step.start_time.ToDatetime()
        seconds = f"{lasted.total_seconds():,.1f}"
    return [
        str(step.sequence),
        enum_word_of(step, "phase"),
        step.title,
        enum_word_of(step, "state"),
        str(step.attempt),
        str(step.epoch),
        seconds,
        step.sha256.hex()[:12],
        step.error,
    ]


def _decision_row(decision: Decision) -> list[str]:
    return [
        str(decision.sequence),
        decision.action,
        decision.subject,
        enum_word_of(decision, "state_before"),
        enum_word_of(decision, "state_after"),
        time_text(decision, "create_time"),
        decision.sha256.hex()[:12],
        decision.reason,
    ]


def _snapshot_row(snapshot: Snapshot) -> list[str]:
    tested = snapshot.restore_tested
    return [
        short_name(snapshot.name),
        str(snapshot.before_step),
        f"{len(snapshot.tables):,}",
        f"{snapshot.row_count:,}",
        f"{snapshot.size_bytes / 2**20:,.1f}",
        "yes" if tested else "no",
        length(snapshot.restore_duration) if tested else UNSET,
        time_text(snapshot, "create_time"),
    ]

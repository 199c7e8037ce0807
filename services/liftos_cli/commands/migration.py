"""`liftos migration`: its life. What it plans, proves and keeps has modules of its own."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration

from liftos.migration.v1.ledger_pb2 import Decision, Step
from liftos.migration.v1.migration_pb2 import (
    Migration,
    MigrationState,
    Pace,
    SourceStore,
    Throttle,
)
from liftos.migration.v1.plan_pb2 import CaptureMode
from liftos_cli.commands import (
    migration_ledger,
    migration_plans,
    migration_rehearsal,
    migration_verifications,
)
from liftos_cli.consent import YesOption, require_consent
from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.figures import enum_word_of, short_name
from liftos_cli.lazy_group import LazyCommand, command_app, lazy_group
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.mapping_files import FIELD, read_mapping_file
from liftos_cli.message_view import time_text
from liftos_cli.migration_call import MigrationArgument, MigrationCall, calls_migration
from liftos_cli.migration_view import (
    has_reached,
    has_stopped,
    migration_line,
    print_migration,
    share,
    tell,
)
from liftos_cli.object_files import ObjectFile, told_in_file
from liftos_cli.options import FilterOption, LimitOption
from liftos_cli.output import Column, print_json, print_json_line, say
from liftos_client.arguments import enum_value

app = command_app(
    summary="Move a live module's data to LiftOS, and prove it.",
    group=lazy_group(
        LazyCommand(
            "rejects", "liftos_cli.commands.migration_rejects", "Decide on rows that were refused."
        )
    ),
)

MappingOption = Annotated[
    Path | None,
    typer.Option(
        "--mapping",
        metavar="FILE",
        help="What becomes of each table, in YAML; `liftos migration plan` drafts it.",
        show_default=False,
    ),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Kept in the ledger.")]
UntilOption = Annotated[
    str,
    typer.Option(
        "--until", metavar="STATE", help="Follow it up to this state, such as copying or verified."
    ),
]


@app.command(
    epilog="Example: liftos migration create causal --module causal --name 'Causal to LiftOS'"
    " --database CAUSAL_DATABASE_URL --redis CAUSAL_REDIS_URL"
)
@calls_migration
async def create(
    call: MigrationCall,
    migration_id: Annotated[
        str, typer.Argument(metavar="ID", help="Lower-case letters, digits and hyphens.")
    ],
    *,
    module: Annotated[str, typer.Option(help="The module that moves, such as causal.")],
    database: Annotated[
        str,
        typer.Option(
            metavar="VARIABLE",
            help="Environment variable of Migration that has the URL of the module's Postgres.",
        ),
    ],
    display_name: Annotated[
        str, typer.Option("--name", help="Shown to people; by default the module's name.")
    ] = "",
    redis: Annotated[
        str,
        typer.Option(metavar="VARIABLE", help="The same of its Redis, where it has one."),
    ] = "",
    schemas: Annotated[
        list[str] | None,
        typer.Option("--schema", help="Its schemas; may be repeated; public by default."),
    ] = None,
    configuration_files: Annotated[
        list[str] | None,
        typer.Option(
            "--configuration-file",
            metavar="PATH",
            help="A file of its configuration, below Migration's folder; may be repeated.",
        ),
    ] = None,
    probe_target: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="The module itself, to try its functions.")
    ] = "",
    mapping: MappingOption = None,
    capture: Annotated[
        str,
        typer.Option(
            metavar="MODE", help="log, trigger or freeze; by default the best that preflight finds."
        ),
    ] = "unspecified",
    pace: Annotated[
        str, typer.Option(help="normal, or demo for short windows with the same gates.")
    ] = "normal",
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Check everything, but store nothing.")
    ] = False,
) -> None:
    """Store a draft of a migration; nothing is read or written yet."""
    draft = Migration(
        display_name=display_name or module,
        module=module,
        source=SourceStore(
            database_reference=database,
            redis_reference=redis,
            schemas=schemas or [],
            configuration_files=configuration_files or [],
            probe_target=probe_target,
        ),
        capture_mode=enum_value(CaptureMode, capture, field="capture"),
        pace=enum_value(Pace, pace, field="pace"),
    )
    file = _take_mapping(draft, mapping)
    if file is None:
        created = await call.migration.create_migration(
            migration_id, draft, validate_only=validate_only
        )
    else:
        with told_in_file(file, field=FIELD):
            created = await call.migration.create_migration(
                migration_id, draft, validate_only=validate_only
            )
    if call.json:
        print_json(created)
    elif validate_only:
        print(f"{migration_id} can be stored; nothing was.")
    else:
        tell(created)
        next_ = "preflight" if file is not None else "plan"
        say(f"Next: `liftos migration {next_} {migration_id}`.")


@app.command(epilog="Example: liftos migration update causal --mapping causal.yaml")
@calls_migration
async def update(
    call: MigrationCall,
    migration: MigrationArgument,
    *,
    mapping: MappingOption = None,
    display_name: Annotated[
        str | None, typer.Option("--name", help="Shown to people.", show_default=False)
    ] = None,
    capture: Annotated[
        str | None,
        typer.Option(metavar="MODE", help="log, trigger or freeze.", show_default=False),
    ] = None,
) -> None:
    """Change what is named, and leave the rest; the mapping in a draft and while it is paused."""
    found = await call.migration.get_migration(migration)
    changed = []
    file = _take_mapping(found, mapping)
    if file is not None:
        changed.append("mapping")
    if display_name is not None:
        found.display_name = display_name
        changed.append("display_name")
    if capture is not None:
        found.capture_mode = enum_value(CaptureMode, capture, field="capture")
        changed.append("capture_mode")
    if not changed:
        raise CommandError("nothing is named that should change", advice="see --help")
    if file is None:
        updated = await call.migration.update_migration(found, update_mask=changed)
    else:
        with told_in_file(file, field=FIELD):
            updated = await call.migration.update_migration(found, update_mask=changed)
    _tell(call, updated)


@app.command("list", epilog="Example: liftos migration list --filter 'state = \"VERIFIED\"'")
@calls_migration
async def list_migrations(
    call: MigrationCall, *, filter_: FilterOption = "", limit: LimitOption = 20
) -> None:
    """List migrations, newest first."""
    pages = call.migration.list_migrations(filter=filter_, page_size=page_size(limit, 1_000))
    found, more = await take(pages, limit)
    print_list(
        "migrations",
        found,
        more=more,
        json=call.json,
        columns=[
            Column("id"),
            Column("name"),
            Column("module"),
            Column("state"),
            Column("capture"),
            Column("accuracy", number=True),
            Column("completeness", number=True),
            Column("made"),
            Column("why"),
        ],
        row=_row,
    )


@app.command(epilog="Example: liftos migration status causal")
@calls_migration
async def status(call: MigrationCall, migration: MigrationArgument) -> None:
    """Show a migration, how far each table is, and why it waits."""
    found = await call.migration.get_migration(migration)
    if call.json:
        print_json(found)
    else:
        print_migration(found)


@app.command(epilog="Example: liftos migration delete causal --yes")
@calls_migration
async def delete(
    call: MigrationCall, migration: MigrationArgument, *, yes: YesOption = False
) -> None:
    """Remove a draft; what was started is kept for ever."""
    require_consent(f"Delete the migration {short_name(migration)}?", yes=yes)
    await call.migration.delete_migration(migration)
    if call.json:
        print_json({"deleted": migration})
    else:
        print(f"Deleted {short_name(migration)}.")


@app.command(epilog="Example: liftos migration start causal --watch")
@calls_migration
async def start(
    call: MigrationCall,
    migration: MigrationArgument,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Export and check; write nothing to LiftOS.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it.")] = False,
    until: UntilOption = "verified",
) -> None:
    """Copy, follow changes and verify, up to VERIFIED.

    With --watch the exit code is 1 unless it gets there.
    """
    say(
        "Looking at the source first, unless `preflight` just did: a minute or two for a million"
        " rows."
    )
    answer = await call.migration.start_migration(migration, dry_run=dry_run)
    if watch:
        await _follow(call, migration, until)
    else:
        _tell_decision(call, answer.migration, answer.decision)
        if not call.json:
            say(f"Next: `liftos migration watch {short_name(migration)}`.")


@app.command(epilog="Example: liftos migration watch causal")
@calls_migration
async def watch(
    call: MigrationCall, migration: MigrationArgument, *, until: UntilOption = "verified"
) -> None:
    """Follow a migration. Exit code 1 where it stops before that; Ctrl-C leaves it running."""
    await _follow(call, migration, until)


@app.command(epilog="Example: liftos migration pause causal --reason 'month-end close'")
@calls_migration
async def pause(call: MigrationCall, migration: MigrationArgument, *, reason: ReasonOption) -> None:
    """Stop after the batch in hand."""
    answer = await call.migration.pause_migration(migration, reason)
    _tell_decision(call, answer.migration, answer.decision)


@app.command(epilog="Example: liftos migration resume causal")
@calls_migration
async def resume(
    call: MigrationCall, migration: MigrationArgument, *, reason: ReasonOption = ""
) -> None:
    """Go on from the exact point where it stopped."""
    answer = await call.migration.resume_migration(migration, reason=reason)
    _tell_decision(call, answer.migration, answer.decision)


@app.command(epilog="Example: liftos migration cancel causal --reason 'not this year' --yes")
@calls_migration
async def cancel(
    call: MigrationCall,
    migration: MigrationArgument,
    *,
    reason: ReasonOption,
    purge: Annotated[
        bool, typer.Option("--purge", help="Also delete what it wrote to LiftOS.")
    ] = False,
    yes: YesOption = False,
) -> None:
    """Give a migration up, and take all traces off the source."""
    if purge:
        require_consent(f"Delete all that {short_name(migration)} wrote to LiftOS?", yes=yes)
    answer = await call.migration.cancel_migration(migration, reason, purge=purge)
    _tell_decision(call, answer.migration, answer.decision)


@app.command(epilog="Example: liftos migration throttle causal --share 0.5 --connections 2")
@calls_migration
async def throttle(
    call: MigrationCall,
    migration: MigrationArgument,
    *,
    share_: Annotated[
        float | None,
        typer.Option("--share", min=0, max=1, help="Of the time that it may work; 0 pauses."),
    ] = None,
    connections: Annotated[int, typer.Option(min=0, max=64, help="To the source; 0 takes 4.")] = 0,
    source_latency_ms: Annotated[
        float | None,
        typer.Option(
            "--source-latency",
            metavar="MS",
            min=0,
            help="Slow down where 95 % of the module's answers take longer.",
            show_default=False,
        ),
    ] = None,
    replica_lag_ms: Annotated[
        float | None,
        typer.Option(
            "--replica-lag",
            metavar="MS",
            min=0,
            help="Slow down where the source's replicas are further behind.",
            show_default=False,
        ),
    ] = None,
    retained_mib: Annotated[
        int,
        typer.Option(
            "--retained", metavar="MIB", min=0, help="Log that the source may keep; 0 takes 4096."
        ),
    ] = 0,
) -> None:
    """Say how hard a migration may work; all of it, what is left out takes its default."""
    updated = await call.migration.set_throttle(
        migration,
        Throttle(
            maximum_share=share_,
            maximum_connections=connections,
            maximum_source_latency=_milliseconds(source_latency_ms),
            maximum_replica_lag=_milliseconds(replica_lag_ms),
            maximum_retained_bytes=retained_mib * 2**20,
        ),
    )
    _tell(call, updated)


async def _follow(call: MigrationCall, name: str, until: str) -> None:
    """Show a migration until it is where it should be.

    Raises:
        typer.Exit: It stopped before that.
    """
    wanted = enum_value(MigrationState, until, field="until")
    migration = Migration()
    with migration_line() as show:
        async for answer in call.migration.watch_migration(name):
            migration = answer.migration
            if call.json:
                print_json_line(answer)
            else:
                show(migration, answer.step if answer.HasField("step") else Step())
            if has_reached(migration, wanted) or has_stopped(migration):
                break
    if not call.json:
        tell(migration)
    if not has_reached(migration, wanted):
        raise typer.Exit(ExitCode.NEGATIVE)


def _take_mapping(migration: Migration, path: Path | None) -> ObjectFile | None:
    """Give a migration the mapping of a file, where one is named."""
    if path is None:
        return None
    file, mapping = read_mapping_file(path)
    migration.mapping.CopyFrom(mapping)
    return file


def _milliseconds(value: float | None) -> Duration | None:
    if value is None:
        return None
    duration = Duration()
    duration.FromTimedelta(timedelta(milliseconds=value))
    return duration


def _tell(call: MigrationCall, migration: Migration) -> None:
    if call.json:
        print_json(migration)
    else:
        tell(migration)


def _tell_decision(call: MigrationCall, migration: Migration, decision: Decision) -> None:
    if call.json:
        print_json({"migration": migration, "decision": decision})
    else:
        tell(migration)


def _row(migration: Migration) -> list[str]:
    progress = migration.progress
    compared = progress.accuracy or progress.completeness
    return [
        short_name(migration.name),
        migration.display_name,
        migration.module,
        enum_word_of(migration, "state"),
        enum_word_of(migration, "capture_mode") if migration.capture_mode else "",
        share(progress.accuracy) if compared else "",
        share(progress.completeness) if compared else "",
        time_text(migration, "create_time"),
        migration.state_reason,
    ]


for _part in (migration_plans, migration_rehearsal, migration_verifications, migration_ledger):
    app.add_typer(_part.app)

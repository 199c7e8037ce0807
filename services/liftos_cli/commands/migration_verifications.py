"""`liftos migration verify | verifications | differences | repair`: are both sides equal?"""

import asyncio
from typing import Annotated, Final

import typer
from rich.console import Console

from liftos.migration.v1.verification_pb2 import (
    Check,
    Difference,
    EntityResult,
    Verification,
    VerificationState,
)
from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.figures import counted, enum_word_of, ratio, short_name
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import narrowed, page_size, print_list, take
from liftos_cli.message_view import progress_text, time_text
from liftos_cli.migration_call import MigrationArgument, MigrationCall, calls_migration
from liftos_cli.migration_view import share
from liftos_cli.options import FilterOption, LimitOption
from liftos_cli.output import Column, print_json, print_table, say

app = command_app(summary="Whether both sides are equal.")

TablesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--table",
        metavar="SCHEMA.TABLE",
        help="Only this table; may be repeated.",
        show_default=False,
    ),
]
VerificationOption = Annotated[
    str,
    typer.Option(
        metavar="ID", help="Of this verification; by default the newest.", show_default=False
    ),
]

_RUNNING: Final = VerificationState.VERIFICATION_STATE_RUNNING
_PASSED: Final = VerificationState.VERIFICATION_STATE_PASSED
_LOOK_SECONDS: Final = 0.5


@app.command(epilog="Example: liftos migration verify causal")
@calls_migration
async def verify(
    call: MigrationCall,
    migration: MigrationArgument,
    *,
    tier: Annotated[
        str, typer.Option(help="exact, or value for the faster one: 1.0 equals 1.00.")
    ] = "exact",
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Only what was touched since the last one.")
    ] = False,
    tables: TablesOption = None,
    checks: Annotated[
        list[str] | None,
        typer.Option(
            "--check",
            metavar="KIND",
            help="Only this check, such as completeness or attribution; may be repeated.",
            show_default=False,
        ),
    ] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Only begin; `verifications` shows how it goes.")
    ] = False,
) -> None:
    """Compare both sides while the source lives. Exit code 1 unless every gate is reached."""
    verification = await call.migration.verify(
        migration, tier=tier, incremental=incremental, tables=tables or [], checks=checks or []
    )
    if not no_wait:
        verification = await _ended(call, verification)
    _tell(call, verification)
    if not no_wait and verification.state != _PASSED:
        raise typer.Exit(ExitCode.NEGATIVE)


@app.command(epilog="Example: liftos migration verifications causal")
@calls_migration
async def verifications(
    call: MigrationCall,
    migration: MigrationArgument,
    *,
    verification: Annotated[
        str,
        typer.Option("--id", metavar="ID", help="Show this one whole.", show_default=False),
    ] = "",
    limit: LimitOption = 20,
) -> None:
    """List verifications, newest first; with --id show one with its tables and checks."""
    if verification:
        _tell(call, await _chosen(call, migration, verification))
        return
    pages = call.migration.list_verifications(migration, page_size=page_size(limit, 1_000))
    found, more = await take(pages, limit)
    print_list(
        "verifications",
        found,
        more=more,
        json=call.json,
        columns=[
            Column("id"),
            Column("state"),
            Column("tier"),
            Column("accuracy", number=True),
            Column("completeness", number=True),
            Column("buckets", number=True),
            Column("began"),
            Column("ended"),
        ],
        row=_row,
    )


@app.command(epilog="Example: liftos migration differences causal --filter 'kind = \"MISSING\"'")
@calls_migration
async def differences(
    call: MigrationCall,
    migration: MigrationArgument,
    *,
    verification: VerificationOption = "",
    tables: TablesOption = None,
    filter_: FilterOption = "",
    limit: LimitOption = 100,
) -> None:
    """List the rows that a verification found different, down to the field."""
    chosen = await _chosen(call, migration, verification)
    wanted = " OR ".join(f'table = "{table}"' for table in tables or ())
    pages = call.migration.list_differences(
        chosen.name,
        filter=narrowed(filter_, [f"({wanted})" if wanted else ""]),
        page_size=page_size(limit, 1_000),
    )
    found, more = await take(pages, limit)
    print_list(
        "differences",
        found,
        more=more,
        json=call.json,
        columns=[
            Column("table"),
            Column("key"),
            Column("kind"),
            Column("field: source → LiftOS"),
            Column("likely cause"),
        ],
        row=_difference_row,
    )


@app.command(epilog="Example: liftos migration repair causal")
@calls_migration
async def repair(
    call: MigrationCall,
    migration: MigrationArgument,
    *,
    verification: VerificationOption = "",
    tables: TablesOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
) -> None:
    """Copy differing rows again, and verify them by a fresh pass. Exit code 1 unless it passes."""
    chosen = await _chosen(call, migration, verification)
    answer = await call.migration.repair(
        migration, chosen.name, tables=tables or [], dry_run=dry_run
    )
    if not call.json:
        does = "would be" if dry_run else "are"
        say(f"{counted(answer.row_count, 'row')} {does} copied again.")
    if dry_run:
        if call.json:
            print_json(answer)
        return
    fresh = await _ended(call, answer.verification)
    if call.json:
        answer.verification.CopyFrom(fresh)
        print_json(answer)
    else:
        print_verification(fresh)
    if fresh.state != _PASSED:
        raise typer.Exit(ExitCode.NEGATIVE)


def print_verification(verification: Verification) -> None:
    """Print how a verification went: each table, each check, and all in one sentence."""
    if verification.entities:
        print_table(
            [
                Column("table"),
                Column("rows", number=True),
                Column("equal", number=True),
                Column("missing", number=True),
                Column("extra", number=True),
                Column("different", number=True),
                Column("refused", number=True),
                Column("waived", number=True),
                Column("accuracy", number=True),
                Column("completeness", number=True),
            ],
            map(_entity_row, verification.entities),
        )
        print()
    if verification.checks:
        print_table(
            [
                Column("check"),
                Column("of"),
                Column("measured", number=True),
                Column("needed", number=True),
                Column("unit"),
                Column("passed"),
                Column("detail"),
            ],
            map(_check_row, verification.checks),
        )
        print()
    print(
        f"{short_name(verification.name)}: {enum_word_of(verification, 'state')},"
        f" accuracy {share(verification.accuracy)},"
        f" completeness {share(verification.completeness)}{_duration(verification)}."
    )


async def _chosen(call: MigrationCall, migration: str, verification: str) -> Verification:
    """Return a verification by its name or id; the newest where none is named.

    Raises:
        CommandError: There is none yet.
    """
    if verification.startswith("orgs/"):
        return await call.migration.get_verification(verification)
    newest, _ = await take(call.migration.list_verifications(migration, page_size=1), 1)
    if not newest:
        raise CommandError(
            f"{short_name(migration)} was not verified yet",
            advice=f"verify it first: `liftos migration verify {short_name(migration)}`",
        )
    if not verification:
        return await call.migration.get_verification(newest[0].name)
    parent = newest[0].name.rpartition("/")[0]
    return await call.migration.get_verification(f"{parent}/{verification}")


async def _ended(call: MigrationCall, verification: Verification) -> Verification:
    """Wait for the end of a verification, and show how far it is meanwhile."""
    console = Console(stderr=True)
    with console.status("compares") as status:
        while verification.state == _RUNNING:
            await asyncio.sleep(_LOOK_SECONDS)
            verification = await call.migration.get_verification(verification.name)
            status.update(f"compares, {progress_text(verification.progress)} buckets")
    return verification


def _tell(call: MigrationCall, verification: Verification) -> None:
    if call.json:
        print_json(verification)
    else:
        print_verification(verification)


def _duration(verification: Verification) -> str:
    if not verification.HasField("start_time") or not verification.HasField("end_time"):
        return ""
    begin, end = verification.start_time.ToDatetime(), verification.end_time.ToDatetime()
    return f", {(end - begin).total_seconds():,.1f} s"


def _row(verification: Verification) -> list[str]:
    return [
        short_name(verification.name),
        enum_word_of(verification, "state"),
        enum_word_of(verification, "tier"),
        share(verification.accuracy),
        share(verification.completeness),
        progress_text(verification.progress),
        time_text(verification, "start_time"),
        time_text(verification, "end_time"),
    ]


def _entity_row(entity: EntityResult) -> list[str]:
    return [
        entity.table,
        *(
            f"{getattr(entity, name):,}"
            for name in (
                *("source_count", "matched_count", "missing_count", "extra_count"),
                *("different_count", "rejected_count", "waived_count"),
            )
        ),
        share(entity.accuracy),
        share(entity.completeness),
    ]


def _check_row(check: Check) -> list[str]:
    return [
        enum_word_of(check, "kind").lower().replace("_", " "),
        check.subject,
        ratio(check.measured),
        ratio(check.threshold),
        check.unit,
        "yes" if check.passed else "no",
        check.detail,
    ]


def _difference_row(difference: Difference) -> list[str]:
    fields = "; ".join(
        f"{each.field}: {each.source_value} → {each.target_value}" for each in difference.fields
    )
    return [
        difference.table,
        difference.key,
        enum_word_of(difference, "kind"),
        fields,
        difference.cause,
    ]

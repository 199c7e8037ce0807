"""`liftos migration rejects`."""

from typing import Annotated

import typer

from liftos.migration.v1.verification_pb2 import Reject
from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.figures import counted, enum_word_of, short_name
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.migration_call import MigrationArgument, MigrationCall, calls_migration
from liftos_cli.options import FilterOption, LimitOption
from liftos_cli.output import Column, print_json

app = command_app(summary="Decide on rows that were refused.")

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID...]", help="As `list` shows them; or give --filter."),
]


@app.command("list", epilog="Example: liftos migration rejects list causal")
@calls_migration
async def list_rejects(
    call: MigrationCall,
    migration: MigrationArgument,
    *,
    filter_: FilterOption = "",
    limit: LimitOption = 100,
) -> None:
    """List refused rows by table and key; completeness is below 100 % while one is open."""
    pages = call.migration.list_rejects(
        migration, filter=filter_, page_size=page_size(limit, 1_000)
    )
    found, more = await take(pages, limit)
    print_list(
        "rejects",
        found,
        more=more,
        json=call.json,
        columns=[
            Column("id"),
            Column("table"),
            Column("key"),
            Column("phase"),
            Column("state"),
            Column("why"),
            Column("decided by"),
        ],
        row=_row,
    )


@app.command(epilog="Example: liftos migration rejects resolve causal --filter 'state = \"OPEN\"'")
@calls_migration
async def resolve(
    call: MigrationCall,
    migration: MigrationArgument,
    names: NamesArgument = None,
    *,
    filter_: FilterOption = "",
    reason: Annotated[str, typer.Option(help="Kept with each row.")] = "",
) -> None:
    """Try refused rows again, as the source has them by now. Exit code 1 where one is refused."""
    _require_choice(names, filter_)
    answer = await call.migration.resolve_rejects(
        migration,
        names=names or [],
        filter=filter_,
        reason=reason,
    )
    if call.json:
        print_json(answer)
    else:
        print(
            f"Took in {counted(answer.resolved_count, 'row')};"
            f" {counted(answer.open_count, 'row')} refused again."
        )
    if answer.open_count:
        raise typer.Exit(ExitCode.NEGATIVE)


@app.command(
    epilog="Example: liftos migration rejects waive causal --filter 'table = \"public.trash\"'"
    " --reason 'test rows of 2019'"
)
@calls_migration
async def waive(
    call: MigrationCall,
    migration: MigrationArgument,
    names: NamesArgument = None,
    *,
    reason: Annotated[str, typer.Option(help="Kept with each row, and in the report.")],
    filter_: FilterOption = "",
) -> None:
    """Give refused rows up, with a reason that the report carries."""
    _require_choice(names, filter_)
    count = await call.migration.waive_rejects(migration, reason, names=names or [], filter=filter_)
    if call.json:
        print_json({"waived_count": count})
    else:
        print(f"Gave up {counted(count, 'row')}.")


def _require_choice(names: list[str] | None, filter_: str) -> None:
    """Refuse to act on no rows, or on rows that are chosen in two ways.

    Raises:
        CommandError: Ids and a filter are given, or neither.
    """
    if bool(names) == bool(filter_):
        raise CommandError(
            "ids of rows go with no filter" if names else "no rows are chosen",
            advice="give ids (`liftos migration rejects list`), or --filter; all open ones are"
            " --filter 'state = \"OPEN\"'",
        )


def _row(reject: Reject) -> list[str]:
    why = "; ".join(f"{error.field}: {error.message}" for error in reject.errors)
    return [
        short_name(reject.name),
        reject.table,
        reject.key,
        reject.phase,
        enum_word_of(reject, "state"),
        reject.reason or why,
        reject.subject,
    ]

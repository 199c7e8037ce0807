"""`liftos platforms`."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from liftos_cli.entry_preview import print_preview, read_rows
from liftos_cli.entry_view import chosen_columns
from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.figures import short_name
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.message_view import print_fields
from liftos_cli.object_files import read_object_file, told_in_file
from liftos_cli.options import ColumnsOption, LimitOption
from liftos_cli.output import Column, print_json

app = command_app(summary="Keep the words that entries carry as platform.")
IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The word that entries carry as platform.")
]


@app.command(epilog="Example: liftos platforms add weather --name 'Weather service'")
@calls_memory
async def add(
    call: MemoryCall,
    source_id: IdArgument,
    *,
    display_name: Annotated[str, typer.Option("--name", help="Shown to people.")],
    mapping: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="How raw rows become entries: a mapping in YAML or JSON.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Register a platform of the organisation's own, or change it.

    Sources of Ingestion bring theirs with them: see `liftos sources`.
    """
    given = None if mapping is None else read_object_file(mapping)
    with told_in_file(given, field="source.mapping") if given else nullcontext():
        source = await call.memory.upsert_source(
            source_id,
            display_name=display_name,
            mapping=None if given is None else given.value,
        )
    if call.json:
        print_json(source)
    else:
        print(f"{short_name(source.name)}: {source.display_name}.")


@app.command("list", epilog="Example: liftos platforms list")
@calls_memory
async def list_platforms(call: MemoryCall, *, limit: LimitOption = 100) -> None:
    """List platforms, those that are always there first."""
    sources, more = await take(call.memory.list_sources(page_size=page_size(limit, 1_000)), limit)
    print_list(
        "sources",
        sources,
        more=more,
        json=call.json,
        columns=[Column("id"), Column("name"), Column("built in"), Column("takes raw rows")],
        row=lambda source: [
            short_name(source.name),
            source.display_name,
            "yes" if source.built_in else "",
            "yes" if source.takes_raw_rows else "",
        ],
    )


@app.command(epilog="Example: liftos platforms get weather --json")
@calls_memory
async def get(call: MemoryCall, source_id: IdArgument) -> None:
    """Show a platform with its mapping."""
    wanted = short_name(source_id)
    async for source in call.memory.list_sources():
        if short_name(source.name) == wanted:
            if call.json:
                print_json(source)
            else:
                print_fields(source)
            return
    raise CommandError(
        f"there is no platform {wanted!r}",
        advice="`liftos platforms list` shows those that there are",
        exit_code=ExitCode.REFUSED,
    )


@app.command(
    epilog="Example: liftos platforms preview meta --rows rows.jsonl --account 101 --currency USD"
)
@calls_memory
async def preview(
    call: MemoryCall,
    source_id: IdArgument,
    *,
    rows: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="At most 500 raw rows as JSON lines or as a JSON list; - is stdin.",
        ),
    ],
    account_id: Annotated[
        str, typer.Option("--account", metavar="ID", help="Of rows that do not name one.")
    ] = "",
    currency_code: Annotated[
        str, typer.Option("--currency", metavar="CODE", help="Of rows that do not name one.")
    ] = "",
    time_zone: Annotated[
        str, typer.Option(metavar="ZONE", help="Of rows that do not name one: Europe/Berlin.")
    ] = "",
    columns: ColumnsOption = None,
) -> None:
    """Show what raw rows of a platform become, without keeping anything.

    The exit code is 1 where rows would be refused.
    """
    chosen = chosen_columns(columns)
    answer = await call.memory.transform_entries(
        short_name(source_id),
        read_rows(rows),
        account_id=account_id,
        currency_code=currency_code,
        time_zone=time_zone,
    )
    print_preview(answer, chosen, json=call.json)

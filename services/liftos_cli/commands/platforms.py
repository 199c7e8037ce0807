"""`liftos platforms`."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from liftos_cli.figures import short_name
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.object_files import read_object_file, told_in_file
from liftos_cli.options import LimitOption
from liftos_cli.output import Column, print_json

app = command_app(summary="Keep the words that entries carry as platform.")


@app.command(epilog="Example: liftos platforms add weather --name 'Weather service'")
@calls_memory
async def add(
    call: MemoryCall,
    source_id: Annotated[
        str, typer.Argument(metavar="ID", help="The word that entries carry as platform.")
    ],
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
            "yes" if source.HasField("mapping") else "",
        ],
    )

"""`liftos sources`."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Final

import typer

from liftos.ingestion.v1.source_pb2 import Source
from liftos_cli.consent import YesOption, require_consent
from liftos_cli.entry_preview import print_preview, read_rows
from liftos_cli.entry_view import chosen_columns
from liftos_cli.errors import CommandError
from liftos_cli.figures import enum_word_of, short_name
from liftos_cli.ingestion_call import IngestionCall, calls_ingestion
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.message_view import print_fields
from liftos_cli.object_files import told_in_file
from liftos_cli.options import ColumnsOption, FilterOption, JsonOption, LimitOption
from liftos_cli.output import Column, as_json, print_json, say
from liftos_cli.source_files import (
    in_order,
    read_mapping_file,
    read_source_file,
    source_document,
)
from liftos_cli.yaml_objects import yaml_text
from liftos_ingestion.templates import SkeletonNameError, write_skeleton

app = command_app(summary="Keep the sources that Ingestion reads.")

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Name of the source, or its id alone.")
]
MappingOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="How raw rows become entries: a mapping in YAML or JSON, or a source's file.",
        show_default=False,
    ),
]

_JSON_FIELDS: Final = ("definition", "mapping", "credential_schema", "settings_schema")


@app.command("list", epilog="Example: liftos sources list --filter 'built_in = false'")
@calls_ingestion
async def list_sources(
    call: IngestionCall, *, filter_: FilterOption = "", limit: LimitOption = 100
) -> None:
    """List sources, those that are always there first."""
    pages = call.ingestion.list_sources(filter=filter_, page_size=page_size(limit, 1_000))
    sources, more = await take(pages, limit)
    print_list(
        "sources",
        sources,
        more=more,
        json=call.json,
        columns=[
            Column("id"),
            Column("name"),
            Column("kind"),
            Column("levels"),
            Column("restates", number=True),
            Column("keeps", number=True),
            Column("version"),
        ],
        row=_row,
    )


@app.command(epilog="Example: liftos sources get meta")
@calls_ingestion
async def get(
    call: IngestionCall,
    source_id: IdArgument,
    *,
    yaml: Annotated[
        bool,
        typer.Option("--yaml", help="Print the file with which `liftos sources upsert` makes it."),
    ] = False,
) -> None:
    """Show a source: what it can do, and which credential and settings it takes."""
    source = await call.ingestion.get_source(source_id)
    if yaml:
        print(yaml_text(source_document(source)), end="")
        return
    if call.json:
        print_json(source)
        return
    print_fields(source, without=(*_JSON_FIELDS, "capabilities"))
    if source.HasField("capabilities"):
        print()
        print_fields(source.capabilities)
    for name in _JSON_FIELDS:
        if source.HasField(name):
            print(f"\n{name}:")
            print_json(in_order(as_json(getattr(source, name))))


@app.command(epilog="Example: liftos sources upsert acme_ads.yaml")
@calls_ingestion
async def upsert(
    call: IngestionCall,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="YAML or JSON with name, display_name, kind, definition and mapping; - is stdin.",
        ),
    ],
) -> None:
    """Register the source that a file describes, or change it."""
    given = read_source_file(file)
    with told_in_file(given.file, field="source"):
        source = await call.ingestion.upsert_source(
            given.name,
            display_name=given.display_name,
            kind=given.kind,
            definition=given.definition,
            mapping=given.mapping,
        )
    if call.json:
        print_json(source)
    else:
        print(f"{short_name(source.name)}: {source.display_name}.")
        say(f"Next: `liftos connections create ID --platform {short_name(source.name)} …`.")


@app.command(epilog="Example: liftos sources delete weather --yes")
@calls_ingestion
async def delete(call: IngestionCall, source_id: IdArgument, *, yes: YesOption = False) -> None:
    """Remove a source that no connection uses; its entries stay."""
    require_consent(f"Delete the source {short_name(source_id)}?", yes=yes)
    await call.ingestion.delete_source(source_id)
    if call.json:
        print_json({"deleted": source_id})
    else:
        print(f"Deleted {short_name(source_id)}.")


@app.command(
    epilog="Example: liftos sources preview weather --mapping mapping.json --rows rows.jsonl"
)
@calls_ingestion
async def preview(
    call: IngestionCall,
    source_id: IdArgument,
    *,
    mapping: MappingOption = None,
    rows: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="At most 100 raw rows as JSON lines or as a JSON list; - is stdin.",
            show_default=False,
        ),
    ] = None,
    connection: Annotated[
        str, typer.Option(metavar="ID", help="Take a sample through it, in place of --rows.")
    ] = "",
    account_id: Annotated[
        str,
        typer.Option(
            "--account", metavar="ID", help="Of the sample, or of rows that do not name one."
        ),
    ] = "",
    columns: ColumnsOption = None,
) -> None:
    """Show what rows become with a mapping, without keeping anything.

    The exit code is 1 where rows would be refused.
    """
    chosen = chosen_columns(columns)
    given = None if mapping is None else read_mapping_file(mapping)
    with told_in_file(given.file, field="mapping", part=given.part) if given else nullcontext():
        answer = await call.ingestion.preview_mapping(
            source_id,
            mapping=None if given is None else given.value,
            rows=[] if rows is None else read_rows(rows),
            connection=connection,
            account_id=account_id,
        )
    print_preview(answer, chosen, json=call.json)


def _row(source: Source) -> list[str]:
    can = source.capabilities
    levels = as_json(can)
    assert isinstance(levels, dict)
    return [
        short_name(source.name),
        source.display_name,
        enum_word_of(source, "kind"),
        ", ".join(word.removeprefix("ENTRY_LEVEL_") for word in levels.get("levels", ())),
        f"{can.restatement_days} d" if can.restatement_days else "",
        f"{can.retention_days} d" if can.retention_days else "",
        can.api_version,
    ]


@app.command("new", epilog="Example: liftos sources new acme_ads --folder ./acme_ads")
def new_source(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The platform of its entries, such as acme_ads.")
    ],
    *,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where it goes; by default a folder of that name."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write the Python package of a source, which passes the conformance suite as it is."""
    try:
        written = write_skeleton(name, folder or Path(name))
    except (SkeletonNameError, FileExistsError) as error:
        raise CommandError(str(error)) from None
    if json:
        print_json({"files": [str(path) for path in written]})
        return
    for path in written:
        print(path)
    place = folder or Path(name)
    say(
        "Look at them in this order. In the environment of the services,"
        f" `uv pip install --editable './{place}[dev]'` makes the source known to them and"
        f" `python -m pytest {place}` holds it to the conformance suite."
    )

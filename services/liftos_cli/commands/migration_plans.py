"""`liftos migration plan | preflight | inventory | lineage`: what is there, what it becomes."""

from pathlib import Path
from typing import Annotated

import typer

from liftos.migration.v1.plan_pb2 import (
    CaptureMode,
    Finding,
    InventoryItem,
    LineageEdge,
    LineageRecord,
)
from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.figures import UNSET, counted, enum_word_of, length, short_name
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.mapping_files import mapping_text
from liftos_cli.migration_call import MigrationArgument, MigrationCall, calls_migration
from liftos_cli.options import FilterOption, LimitOption
from liftos_cli.output import Column, print_json, print_table, say
from liftos_client.arguments import enum_word
from liftos_client.errors import NotFoundError

app = command_app(summary="What a source has, and what becomes of it.")


@app.command(epilog="Example: liftos migration plan causal --output causal.yaml")
@calls_migration
async def plan(
    call: MigrationCall,
    migration: MigrationArgument,
    *,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where it goes; stdout by default.", show_default=False),
    ] = None,
    samples: Annotated[int, typer.Option(min=0, max=20, help="Rows of each table to show.")] = 3,
) -> None:
    """Draft a mapping from the source, beside rows and what they become, for a person to review.

    Nothing is stored: `liftos migration update --mapping FILE` takes it as it is or edited.
    """
    draft = await call.migration.draft_mapping(migration, sample_count=samples)
    if call.json:
        print_json(draft)
        return
    text = mapping_text(draft.mapping, samples=draft.samples, questions=draft.questions)
    if output is None:
        print(text, end="")
    else:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(
                f"{output} cannot be written ({error.strerror})", advice="name another file"
            ) from None
    said = counted(len(draft.mapping.tables), "table")
    say(f"Drafted {said}; {counted(len(draft.questions), 'question')} for you, as comments.")
    if output is not None:
        say(f"Next: `liftos migration update {short_name(migration)} --mapping {output}`.")


@app.command(epilog="Example: liftos migration preflight causal")
@calls_migration
async def preflight(call: MigrationCall, migration: MigrationArgument) -> None:
    """Find out what the source allows; nothing is written. Exit code 1 where something blocks.

    All its rows are read: a minute or two for a million. --timeout allows for more than 300 s.
    """
    say("Reading all rows of the source: a minute or two for a million.")
    report = await call.migration.preflight(migration)
    if call.json:
        print_json(report)
    else:
        print_table(
            [
                Column("severity"),
                Column("code"),
                Column("object"),
                Column("found"),
                Column("wanted"),
                Column("what to do"),
            ],
            map(_finding_row, report.findings),
            empty="Nothing was found that is in the way.",
        )
        modes = ", ".join(enum_word(CaptureMode, mode) for mode in report.capture_modes)
        print(
            f"{'Can' if report.startable else 'Cannot'} start;"
            f" cut-over {'allowed' if report.cut_over_allowed else 'not allowed'};"
            f" capture by {modes or 'no mode'}; {counted(report.row_count, 'row')},"
            f" {report.size_bytes / 2**20:,.1f} MiB, about {length(report.estimated_copy)} to copy."
        )
    if not report.startable:
        raise typer.Exit(ExitCode.NEGATIVE)


@app.command(epilog="Example: liftos migration inventory causal --filter 'mapped = false'")
@calls_migration
async def inventory(
    call: MigrationCall,
    migration: MigrationArgument,
    *,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Look at the source again first.")
    ] = False,
    filter_: FilterOption = "",
    limit: LimitOption = 200,
) -> None:
    """List every part of the source, and whether it is mapped or waived."""
    if refresh:
        await call.migration.inspect_source(migration)

    async def listed() -> tuple[list[InventoryItem], bool]:
        pages = call.migration.list_inventory(
            migration, filter=filter_, page_size=page_size(limit, 1_000)
        )
        return await take(pages, limit)

    try:
        items, more = await listed()
    except NotFoundError as error:
        if not error.metadata.get("resource_name", "").endswith("/inventory"):
            raise
        await call.migration.inspect_source(migration)
        items, more = await listed()
    print_list(
        "items",
        items,
        more=more,
        json=call.json,
        columns=[
            Column("kind"),
            Column("object"),
            Column("key"),
            Column("rows", number=True),
            Column("MiB", number=True),
            Column("becomes"),
            Column("not mapped"),
        ],
        row=_item_row,
    )


@app.command(
    epilog="Example: liftos migration lineage causal --table public.campaign_performance"
    " --field spend_micros"
)
@calls_migration
async def lineage(
    call: MigrationCall,
    migration: MigrationArgument,
    *,
    table: Annotated[
        str, typer.Option(metavar="SCHEMA.TABLE", help="Only this table.", show_default=False)
    ] = "",
    field: Annotated[
        str, typer.Option(help="Which columns does it come from?", show_default=False)
    ] = "",
    key: Annotated[
        str,
        typer.Option(
            metavar="JSON",
            help="What became of this row of the table, such as '{\"id\":17}'?",
            show_default=False,
        ),
    ] = "",
    record: Annotated[
        str,
        typer.Option(metavar="NAME", help="Which rows does it come from?", show_default=False),
    ] = "",
) -> None:
    """Say which columns a field comes from, or which rows a record comes from."""
    answer = await call.migration.get_lineage(
        migration, table=table, target_field=field, source_key=key, target_record=record
    )
    if call.json:
        print_json(answer)
        return
    if answer.records:
        print_table(
            [Column("table"), Column("key"), Column("becomes"), Column("step")],
            map(_record_row, answer.records),
        )
        print()
    print_table(
        [Column("table"), Column("columns"), Column("expression"), Column("field")],
        map(_edge_row, answer.edges),
    )


def _finding_row(finding: Finding) -> list[str]:
    return [
        enum_word_of(finding, "severity"),
        finding.code,
        finding.object,
        finding.found,
        finding.wanted,
        finding.remedy,
    ]


def _item_row(item: InventoryItem) -> list[str]:
    becomes = "mapped" if item.mapped else "waived" if item.waived else UNSET
    return [
        enum_word_of(item, "kind"),
        item.object,
        ", ".join(item.key_columns),
        f"{item.row_count:,}" if item.row_count else "",
        f"{item.size_bytes / 2**20:,.1f}" if item.size_bytes else "",
        becomes,
        ", ".join(item.unmapped_columns),
    ]


def _edge_row(edge: LineageEdge) -> list[str]:
    return [
        edge.table,
        ", ".join(edge.source_columns),
        edge.expression,
        f"{enum_word_of(edge, 'target').lower()}.{edge.target_field}",
    ]


def _record_row(record: LineageRecord) -> list[str]:
    return [record.table, record.source_key, record.target_record, record.step]

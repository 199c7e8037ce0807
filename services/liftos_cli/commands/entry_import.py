"""`liftos entries import`."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.figures import counted, short_name
from liftos_cli.importing.entry_batches import ColumnPlan
from liftos_cli.importing.importer import FileImport, ImportReport, ProgressReport
from liftos_cli.importing.refusals import Refusals, collect_refusals
from liftos_cli.importing.row_files import FileFormat, open_row_file
from liftos_cli.lazy_group import command_app
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.output import Column, print_json, print_table, say

app = command_app()

_ORIGIN_CHARACTERS: Final = 200
_SOURCE_PAGE: Final = 1_000
_CONTEXT: Final = (
    "account_id",
    "account_name",
    "currency_code",
    "time_zone",
    "level",
    "attribution_key",
    "date_basis",
    "date",
)


@app.command(
    epilog="Example: liftos entries import january.csv --map day=date --set level=CAMPAIGN"
)
@calls_memory
async def import_entries(
    call: MemoryCall,
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="- is stdin.")],
    *,
    file_format: Annotated[
        FileFormat | None,
        typer.Option("--format", help="By default told by the suffix.", show_default=False),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(
            metavar="CHARACTER",
            help="What stands between the values of CSV; a comma by default.",
            show_default=False,
        ),
    ] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="SOURCE=TARGET",
            help="Rename a column; SOURCE= leaves it out. May be repeated.",
        ),
    ] = None,
    constants: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="COLUMN=VALUE", help="The same for all rows. May be repeated."
        ),
    ] = None,
    raw: Annotated[
        str | None,
        typer.Option(
            metavar="PLATFORM",
            help="Rows as this platform answers, mapped as `liftos platforms` keeps it; --set says"
            " what they do not.",
            show_default=False,
        ),
    ] = None,
    origin: Annotated[
        str,
        typer.Option(help="What `liftos entries purge` finds; by default import: and the name."),
    ] = "",
    errors: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write all refused rows there.", show_default=False),
    ] = None,
) -> None:
    """Write the rows of CSV, Parquet and JSON lines files.

    Columns are those of an entry. Amounts may come in units as spend, revenue, conversions and so
    on, or in millionths as spend_micros. Good rows land, refused ones are listed, and the exit
    code is 1 then. An import that was cut off goes on where it was; the same file again changes
    nothing.
    """
    plan = ColumnPlan(
        renamed=_pairs(mapped or [], "--map"), constants=_pairs(constants or [], "--set")
    )
    if raw is not None:
        _check_raw(plan)
        await _check_rows_stand_alone(call, raw)
    reports: list[ImportReport] = []
    with collect_refusals(errors) as refusals:
        for name in files:
            with (
                open_row_file(name, file_format, delimiter=delimiter) as file,
                _progress(file.name) as on_progress,
            ):
                work = FileImport(
                    call.memory,
                    file,
                    plan=plan,
                    raw_platform=raw,
                    origin=origin or f"import:{Path(file.name).name}"[:_ORIGIN_CHARACTERS],
                    refusals=refusals,
                    on_progress=on_progress,
                )
                reports.append(await work.run())
    if call.json:
        print_json({"imports": [asdict(report) for report in reports], **_as_json(refusals)})
    else:
        for report in reports:
            _print_report(report)
        _print_refusals(refusals, errors)
    if refusals.row_count:
        raise typer.Exit(ExitCode.NEGATIVE)


def _pairs(texts: list[str], option: str) -> Mapping[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise CommandError(f"{option} {text} is no pair", advice=f"write {option} NAME=VALUE")
        pairs[name] = value
    return pairs


def _check_raw(plan: ColumnPlan) -> None:
    if plan.renamed:
        raise CommandError(
            "--map does not go with --raw", advice="leave it out: the platform's mapping renames"
        )
    if unknown := sorted(set(plan.constants) - set(_CONTEXT)):
        raise CommandError(
            f"--set {unknown[0]} does not go with --raw",
            advice=f"set one of {', '.join(_CONTEXT)}",
        )


async def _check_rows_stand_alone(call: MemoryCall, platform: str) -> None:
    """Refuse a mapping that adds rows up: a file goes out in parts, and sums would be of a part."""
    async for source in call.memory.list_sources(page_size=_SOURCE_PAGE):
        if short_name(source.name) == platform and source.mapping.fields.get("aggregate"):
            raise CommandError(
                f"the mapping of {platform} adds rows up, which an import cannot",
                advice=f"let Ingestion read the files: `liftos sources get {platform}`",
            )


@contextmanager
def _progress(name: str) -> Iterator[ProgressReport]:
    """Show a bar on a terminal's stderr, and nothing elsewhere."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=1.0, rows=0)

        def report(fraction: float, rows: int) -> None:
            bar.update(task, completed=fraction, rows=rows)

        yield report


def _print_report(report: ImportReport) -> None:
    print(
        f"{report.file}: {counted(report.upserted_count, 'entry', 'entries')} new or changed, "
        f"{report.unchanged_count:,} as they were, {counted(report.refused_count, 'row')} refused."
    )
    if report.resumed_row_number:
        say(f"Rows up to {report.resumed_row_number:,} had been written by an earlier import.")
    if report.unreported_count:
        verb = "was" if report.unreported_count == 1 else "were"
        say(
            f"{counted(report.unreported_count, 'row')} {verb} written while the connection was"
            " lost."
        )
    if report.unmapped_fields:
        say(f"No entry field holds {', '.join(report.unmapped_fields)}.")
    if report.upserted_count:
        say(f"Undo: liftos entries purge --origin '{report.origin}'")


def _print_refusals(refusals: Refusals, errors: Path | None) -> None:
    if not refusals.row_count:
        return
    print_table(
        [
            Column("file"),
            Column("row", number=True),
            Column("field"),
            Column("rule"),
            Column("message"),
        ],
        [
            (file, str(refused.row), refused.field, refused.rule, refused.message)
            for file, refused in refusals.shown
        ],
    )
    hidden = refusals.reason_count - len(refusals.shown)
    if errors is not None:
        say(f"Wrote {counted(refusals.reason_count, 'reason')} to {errors}.")
    elif hidden:
        say(f"{counted(hidden, 'reason')} more; --errors FILE writes all.")


def _as_json(refusals: Refusals) -> dict[str, object]:
    return {
        "refused_count": refusals.row_count,
        "refused": [{"file": file, **asdict(refused)} for file, refused in refusals.shown],
    }

"""`liftos migration rehearse`: all of a migration, where nothing can break."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from liftos_cli.dump_errors import dump_errors
from liftos_cli.errors import ExitCode
from liftos_cli.lazy_group import command_app
from liftos_cli.local_stack import DataDirOption, chosen_data_dir, data_dir_words, stack_errors
from liftos_cli.migration_call import MigrationArgument
from liftos_cli.migration_view import tell
from liftos_cli.options import JsonOption
from liftos_cli.output import Column, print_json, print_table, say
from liftos_cli.rehearsal import Rehearsal, rehearse, result_rows
from liftos_cli.service_call import (
    MEMORY,
    MIGRATION,
    ServerOptions,
    Service,
    open_client,
    server_errors,
)
from liftos_cli.stage_bar import stage_lines
from liftos_client.connection import Client

app = command_app(summary="Rehearsals of migrations.")


@app.command("rehearse", epilog="Example: liftos migration rehearse causal")
def rehearse_migration(
    migration: MigrationArgument,
    *,
    at: Annotated[
        Path | None,
        typer.Option(
            "--at",
            metavar="DIR",
            help="Where the copy and its stack are; by default among temporary files.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave its data directory, to look at what it made.")
    ] = False,
    org: Annotated[
        str | None,
        typer.Option(
            envvar="LIFTOS_ORG", help="Organisation; demo by default.", show_default=False
        ),
    ] = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Run all of a migration on a copy of its source, in a stack that goes away again.

    The source is read once, as a snapshot reads it; nothing is written to it or to this LiftOS.
    What was measured is shown beside what preflight estimated. Exit code 1 unless it got as far
    as VERIFIED.
    """
    place = _new_folder(at)
    try:
        with server_errors(MIGRATION), dump_errors(), stack_errors():
            result = asyncio.run(_rehearsed(migration, org, data_dir, place))
    finally:
        if not keep:
            shutil.rmtree(place)
    if json:
        print_json(_as_json(result, place if keep else None))
    else:
        titles = Column("what"), Column("estimated", number=True), Column("measured", number=True)
        print_table(titles, result_rows(result))
        tell(result.migration)
        if keep:
            say(f"Kept: `liftos up --detach --ports auto{data_dir_words(place / 'stack')}`.")
    if not result.succeeded:
        raise typer.Exit(ExitCode.NEGATIVE)


async def _rehearsed(
    migration: str, org: str | None, data_dir: Path | None, place: Path
) -> Rehearsal:
    def opened(service: Service) -> Client:
        options = ServerOptions(
            target=os.environ.get(service.variable),
            token=os.environ.get("LIFTOS_TOKEN"),
            org=org,
            data_dir=data_dir,
        )
        return open_client(options, service)[1]

    async with opened(MIGRATION) as client:
        real = await client.migration.get_migration(migration)
    async with opened(MEMORY) as client:
        sources = [each async for each in client.memory.list_sources(page_size=1_000)]
    root = chosen_data_dir(data_dir)
    return await rehearse(real, sources, data_dir=root, at=place, advance=stage_lines())


def _new_folder(at: Path | None) -> Path:
    if at is not None:
        at.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="liftos-rehearsal-", dir=at))
    # The account of Postgres, which may be another one, has to pass through.
    place.chmod(0o711)
    return place


def _as_json(result: Rehearsal, kept: Path | None) -> dict[str, object]:
    return {
        "migration": result.migration,
        "preflight": result.report,
        "verification": result.verification,
        "results": [
            {"what": what, "estimated": estimated, "measured": measured}
            for what, estimated, measured in result_rows(result)
        ],
        "dump_seconds": result.dump_seconds,
        "seconds": result.seconds,
        "kept": None if kept is None else str(kept),
    }

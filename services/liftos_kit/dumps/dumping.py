"""Dumps a database in one snapshot, with sums of its tables from the same."""

import asyncio
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg

from liftos_kit.dumps import shelf
from liftos_kit.dumps.errors import DumpError, DumpProblem
from liftos_kit.dumps.manifest import Manifest, digest_files
from liftos_kit.dumps.programs import client_programs, run_program
from liftos_kit.dumps.sums import (
    SQL,
    Progress,
    all_or_none,
    connected,
    definitions_digest,
    table_size,
    table_sums,
    tables_of,
)

WITHOUT_ACCESS: Final = (
    "--no-owner",
    "--no-privileges",
    "--no-publications",
    "--no-subscriptions",
)
_LOCK_WAIT: Final = "10s"
# Of the size of the tables: rows as compressed text are seldom smaller.
_LEAST_SHARE: Final = 0.1
_TABLE_BEGUN: Final = re.compile(r"dumping contents of table|processing data for table")


@dataclass(frozen=True, slots=True)
class DumpRequest:
    """What is dumped.

    Attributes:
        schemas: Which; none for the whole database.
        bare_schemas: Schemas without their rows, where they exist: what others refer to.
        has_access: Whether owners, rights and policies belong to it.
        jobs: How many connections read tables at a time, 1 to 16.
        labels: Words that the manifest keeps.
    """

    schemas: tuple[str, ...] = ()
    bare_schemas: tuple[str, ...] = ()
    has_access: bool = False
    jobs: int = 2
    labels: Mapping[str, str] = field(default_factory=dict)


def nobody(_: str, __: int, ___: int) -> None:
    """Tell nobody about progress."""


async def take_dump(
    url: str, directory: Path, request: DumpRequest, *, on_progress: Progress = nobody
) -> shelf.Dump:
    """Dump a database.

    Args:
        url: Its address, with a role that may read all of it.
        directory: Where dumps are kept.
        request: What is dumped.
        on_progress: Told how far it is.

    Raises:
        DumpError: It did not work out; nothing of it is left then.
    """
    with shelf.draft(directory) as folder:
        async with connected(url) as connection:
            programs = client_programs(connection.get_server_version().major)
            # Lasts for as long as others take part in its snapshot.
            await connection.execute("begin isolation level repeatable read read only")
            facts = await SQL.dump_facts(connection)
            tables = await tables_of(connection, request.schemas)
            check_space(directory, tables)
            roles = await _roles(connection) if request.has_access else {}
            count = await SQL.dump_data_count(connection, schemas=list(request.schemas))
            snapshot = facts["snapshot"]
            options = dump_options(request.schemas, snapshot, has_access=request.has_access)
            files = [
                *(f"--schema={quoted(schema)}" for schema in request.bare_schemas),
                *(f"--exclude-table-data={quoted(schema)}.*" for schema in request.bare_schemas),
                "--format=directory",
                f"--file={folder / shelf.DATA}",
                f"--jobs={request.jobs}",
                "--compress=1",
                "--verbose",
            ]
            counting = counted("dumping tables", count, on_progress)
            async with all_or_none() as group:
                group.create_task(
                    run_program(
                        programs.folder / "pg_dump", [*options, *files], url=url, on_line=counting
                    )
                )
                sums = group.create_task(
                    table_sums(
                        url, tables, jobs=request.jobs, snapshot=snapshot, on_progress=on_progress
                    )
                )
                definitions = (
                    group.create_task(definitions_digest(url, programs, options))
                    if request.has_access
                    else None
                )
        on_progress("reading files", 0, 1)
        manifest = Manifest(
            create_time=facts["create_time"],
            database=facts["database"],
            owner=facts["owner"],
            server_version=facts["server_version"],
            system_identifier=facts["system_identifier"],
            lsn=facts["lsn"],
            schemas=request.schemas,
            has_access=request.has_access,
            roles=roles,
            definitions_sha256="" if definitions is None else definitions.result(),
            tables=sums.result(),
            files=await asyncio.to_thread(digest_files, folder / shelf.DATA),
            labels=request.labels,
        )
        on_progress("reading files", 1, 1)
        return shelf.finish(folder, manifest)


def dump_options(
    schemas: Sequence[str], snapshot: str | None, *, has_access: bool
) -> tuple[str, ...]:
    """Return the options of `pg_dump` that say what is dumped, and as which snapshot sees it."""
    return (
        *(f"--schema={quoted(schema)}" for schema in schemas),
        f"--lock-wait-timeout={_LOCK_WAIT}",
        *(() if snapshot is None else (f"--snapshot={snapshot}",)),
        *(() if has_access else WITHOUT_ACCESS),
    )


def counted(what: str, total: int, on_progress: Progress) -> Callable[[str], None]:
    """Return what counts the tables that a program says it begins with."""
    done = 0

    def count(line: str) -> None:
        nonlocal done
        if _TABLE_BEGUN.search(line) is not None:
            done += 1
            on_progress(what, min(done, total), total)

    return count


def check_space(directory: Path, tables: Sequence[asyncpg.Record]) -> None:
    """Find out before anything is written that it would not fit.

    Raises:
        DumpError: It would not.
    """
    least_bytes = round(sum(map(table_size, tables)) * _LEAST_SHARE)
    free_bytes = shutil.disk_usage(directory).free
    if free_bytes < least_bytes:
        raise DumpError(
            DumpProblem.NO_SPACE,
            f"{directory} has {free_bytes:,} bytes left, and the dump takes {least_bytes:,}",
            remedy="make room, or name another directory",
        )


def quoted(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


async def _roles(connection: asyncpg.Connection) -> dict[str, str]:
    return {row["role"]: row["attributes"] async for row in SQL.dump_roles(connection)}

"""Restores a dump into a new database, and holds what that has to the manifest."""

import asyncio
import re
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from liftos_kit.dumps import shelf
from liftos_kit.dumps.dumping import WITHOUT_ACCESS, counted, dump_options, nobody, quoted
from liftos_kit.dumps.errors import DumpError, DumpProblem
from liftos_kit.dumps.manifest import Manifest, TableSum, check_files
from liftos_kit.dumps.programs import Programs, client_programs, run_program
from liftos_kit.dumps.sums import Progress, connected, definitions_digest, table_sums, tables_of

_TRIES: Final = 40
_TRY_AGAIN_SECONDS: Final = 0.25
_OF_ROLES: Final = re.compile(r"^\d+; \d+ \d+ (?:POLICY|EVENT TRIGGER) ")


async def restore_dump(
    url: str,
    dump: shelf.Dump,
    database: str,
    *,
    jobs: int = 2,
    on_progress: Progress = nobody,
) -> shelf.RestoreTest:
    """Restore a dump into a database of its own, and compare it.

    Args:
        url: Address of any other database of the server, with a role that may create databases.
        dump: What is restored.
        database: Name of the new database; one that has it already is dropped.
        jobs: How many connections write tables at a time.
        on_progress: Told how far it is.

    Raises:
        DumpError: A file is damaged, the restore failed, or it gave something else than was
            dumped. The database is dropped then.
    """
    manifest = dump.manifest
    await asyncio.to_thread(check_files, dump.folder / shelf.DATA, manifest)
    async with connected(url) as connection:
        major = connection.get_server_version().major
        programs = client_programs(max(major, manifest.server_major))
        await _create(connection, manifest, database)
    target = with_database(url, database)
    is_alike = manifest.has_access and major == manifest.server_major
    try:
        began = time.monotonic()
        await _fill(target, dump, programs, jobs=jobs, on_progress=on_progress)
        restore_seconds = time.monotonic() - began
        wrong = await _different_tables(target, manifest, jobs=jobs, on_progress=on_progress)
        if (
            is_alike
            and await _definitions(target, manifest, programs) != manifest.definitions_sha256
        ):
            wrong.append("definitions, owners, rights or policies differ")
        if wrong:
            raise DumpError(
                DumpProblem.DIFFERENT,
                "what was restored is not what was dumped",
                remedy="take another dump; if it happens again, look at the disk and the server",
                details=wrong[:20],
            )
    except BaseException:
        await asyncio.shield(drop_database(url, database))
        raise
    return shelf.RestoreTest(dump.sha256, restore_seconds, is_alike, datetime.now(UTC))


async def check_dump(
    url: str, dump: shelf.Dump, *, jobs: int = 2, on_progress: Progress = nobody
) -> shelf.Dump:
    """Restore a dump into a scratch database, and keep in the dump that it was equal.

    Args:
        url: Address of any database of a server, with a role that may create databases.
        dump: What is tested.
        jobs: How many connections write tables at a time.
        on_progress: Told how far it is.

    Raises:
        DumpError: As `restore_dump` does. The scratch database is dropped in any case.
    """
    database = scratch_database(dump)
    passed = await restore_dump(url, dump, database, jobs=jobs, on_progress=on_progress)
    await drop_database(url, database)
    return shelf.record_test(dump, passed)


def scratch_database(dump: shelf.Dump) -> str:
    """Return the name of the database of a dump's restore test."""
    return f"liftos_restore_{dump.id.replace('-', '_')}"


async def drop_database(url: str, database: str) -> None:
    """Drop a database if it is there, and end its sessions.

    Raises:
        DumpError: Postgres refuses, or does not answer.
    """
    async with connected(url) as connection:
        await _drop(connection, database)


def with_database(url: str, database: str) -> str:
    """Return the address of another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{quote(database, safe='')}"))


async def _drop(connection: asyncpg.Connection, database: str) -> None:
    # Not `with (force)`: it wants to end autovacuum too, which needs more rights than the plain
    # statement, which waits for it.
    await connection.execute(
        """/* dump_end_sessions */
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = $1 and pg_has_role(usesysid, 'usage')
        """,
        database,
    )
    await connection.execute(f"drop database if exists {quoted(database)}")


async def _create(connection: asyncpg.Connection, manifest: Manifest, database: str) -> None:
    known = {row["rolname"] for row in await connection.fetch("select rolname from pg_roles")}
    for role, attributes in manifest.roles.items():
        if role not in known:
            # No dump has passwords; whoever runs the server sets them.
            await connection.execute(f"create role {quoted(role)} {attributes}")
    owner = f" owner {manifest.owner}" if manifest.has_access else ""
    create = f"create database {quoted(database)} template template0 encoding 'UTF8'{owner}"
    for _ in range(_TRIES):
        await _drop(connection, database)
        try:
            await connection.execute(create)
        except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            # What somebody asked for who was killed is still being made.
            await asyncio.sleep(_TRY_AGAIN_SECONDS)
        else:
            return
    await connection.execute(create)


async def _fill(
    target: str, dump: shelf.Dump, programs: Programs, *, jobs: int, on_progress: Progress
) -> None:
    pg_restore = programs.folder / "pg_restore"
    data = str(dump.folder / shelf.DATA)
    parts = await _parts(pg_restore, data)
    options = ["--exit-on-error", f"--jobs={jobs}", "--verbose"]
    if not dump.manifest.has_access:
        options += WITHOUT_ACCESS
        # They name roles of the server that was dumped.
        parts = [part for part in parts if _OF_ROLES.match(part) is None]
        async with connected(target) as connection:
            for schema in dump.manifest.schemas:
                # Every new database has `public`, and a dump of some schemas makes it.
                await connection.execute(f"drop schema if exists {quoted(schema)}")
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="liftos-parts-") as listed:
        listed.write("\n".join(parts) + "\n")
        listed.flush()
        await run_program(
            pg_restore,
            [*options, f"--use-list={listed.name}", data],
            url=target,
            on_line=counted(
                "restoring tables", sum(" TABLE DATA " in part for part in parts), on_progress
            ),
        )


async def _parts(pg_restore: Path, data: str) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        str(pg_restore),
        "--list",
        data,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    if process.returncode != 0:
        raise DumpError(
            DumpProblem.DAMAGED,
            "the dump cannot be read",
            remedy="use another dump; this one cannot be trusted",
            details=errors.decode("utf-8", "replace").splitlines()[:20],
        )
    return output.decode("utf-8", "replace").splitlines()


async def _different_tables(
    target: str, manifest: Manifest, *, jobs: int, on_progress: Progress
) -> list[str]:
    async with connected(target) as connection:
        tables = await tables_of(connection, manifest.schemas)
    found = await table_sums(target, tables, jobs=jobs, snapshot=None, on_progress=on_progress)
    return [
        f"{name}: {_rows(manifest.tables.get(name))} dumped, {_rows(found.get(name))} restored"
        for name in sorted(manifest.tables.keys() | found.keys())
        if manifest.tables.get(name) != found.get(name)
    ]


def _rows(found: TableSum | None) -> str:
    return "no table" if found is None else f"{found.row_count} rows"


async def _definitions(target: str, manifest: Manifest, programs: Programs) -> str:
    options = dump_options(manifest.schemas, None, has_access=True)
    return await definitions_digest(target, programs, options)

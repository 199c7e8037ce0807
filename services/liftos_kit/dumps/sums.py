"""What a database holds, in a form that two can be compared by: sums of rows, and definitions."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from liftos_kit import postgres
from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.dumps.errors import DumpError, DumpProblem
from liftos_kit.dumps.manifest import TableSum
from liftos_kit.dumps.programs import Programs, run_program

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

SQL: Final = postgres.load_queries("liftos_kit", "sql/dumps.sql")
_CONNECT_SECONDS: Final = 10.0
# Postgres names these by itself, and otherwise where tables were made in another order.
_NAMED_NOT_NULL: Final = re.compile(rb'CONSTRAINT (?:"[^"]+"|\S+) NOT NULL')
_SESSION: Final = {
    "application_name": "liftos dump",
    # What a value's text depends on.
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "search_path": "",
    "client_encoding": "UTF8",
    # A row that a policy hides is an error, and not left out.
    "row_security": "off",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}


async def tables_of(
    connection: asyncpg.Connection, schemas: Sequence[str]
) -> Sequence[asyncpg.Record]:
    """Return name, kind and size of the tables of some schemas; of all where none is named."""
    return [row async for row in SQL.dump_tables(connection, schemas=list(schemas))]


def table_size(table: asyncpg.Record) -> int:
    """Return the bytes of a table's rows."""
    size: int = table["partitions_bytes"] if table["is_partitioned"] else table["size_bytes"]
    return size


async def table_sums(
    url: str,
    tables: Sequence[asyncpg.Record],
    *,
    jobs: int,
    snapshot: str | None,
    on_progress: Progress,
) -> dict[str, TableSum]:
    """Return the sums of tables by name, the largest begun first.

    Args:
        url: Address of the database.
        tables: As `tables_of` returns them.
        jobs: Tables at a time.
        snapshot: An exported snapshot; none where nobody writes.
        on_progress: Told how many tables are done.

    Raises:
        DumpError: Postgres refuses, or does not answer.
    """
    waiting = sorted(tables, key=table_size)
    found: dict[str, TableSum] = {}

    async def work() -> None:
        async with connected(url) as connection:
            await connection.execute("begin isolation level repeatable read read only")
            if snapshot is not None:
                name = postgres.quote_literal(snapshot)
                await connection.execute(f"set transaction snapshot {name}")
            while waiting:
                table = waiting.pop()
                found[table["table"]] = await _table_sum(connection, table)
                on_progress("adding up rows", len(found), len(tables))

    async with all_or_none() as group:
        for _ in range(min(jobs, len(tables))):
            group.create_task(work())
    return dict(sorted(found.items()))


async def _table_sum(connection: asyncpg.Connection, table: asyncpg.Record) -> TableSum:
    # A row as text tells null from '' and quotes what separates its values.
    only = "" if table["is_partitioned"] else "only "
    row = await connection.fetchrow(
        f"""/* dump_sums */
        select count(*) as count, coalesce(bit_xor({_number(1)}), 0) as exclusive_or,
               coalesce(sum({_number(9)}), 0) as total
        from (select sha256(convert_to(t::text, 'UTF8')) as digest
              from {only}{table["table"]} t offset 0) hashed
        """  # noqa: S608 - names come from the catalog
    )
    return TableSum(row["count"], row["exclusive_or"], int(row["total"]))


def _number(start: int) -> str:
    return f"('x' || encode(substr(digest, {start}, 8), 'hex'))::bit(64)::bigint"


async def definitions_digest(url: str, programs: Programs, options: Sequence[str]) -> str:
    """Return the digest of all definitions, owners, rights and policies as SQL, in hex.

    Raises:
        DumpError: They cannot be read.
    """
    pg_dump = programs.folder / "pg_dump"
    output = await run_program(pg_dump, [*options, "--schema-only"], url=url)
    digest = hashlib.sha256()
    for line in output.splitlines():
        # Comments have versions and times, the others a word that is new each time.
        if not line.startswith((b"--", b"\\restrict", b"\\unrestrict")):
            digest.update(_NAMED_NOT_NULL.sub(b"NOT NULL", line) + b"\n")
    return digest.hexdigest()


@asynccontextmanager
async def all_or_none() -> AsyncIterator[asyncio.TaskGroup]:
    """Run tasks of which the first error ends the others, and is the one that is told."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection whose sessions write values alike everywhere.

    Raises:
        DumpError: Postgres refuses a statement of the block, or does not answer.
    """
    try:
        with postgres.translate_errors():
            connection: Any = await asyncpg.connect(
                url, timeout=_CONNECT_SECONDS, server_settings=_SESSION
            )
            try:
                yield connection
                await connection.close(timeout=_CONNECT_SECONDS)
            finally:
                # A statement may be under way where something failed.
                connection.terminate()
    except StoreUnavailableError as error:
        raise DumpError(
            DumpProblem.UNREACHABLE,
            "Postgres does not answer",
            remedy="see that it runs and can be reached, and try again",
        ) from error
    except asyncpg.PostgresError as error:
        raise _refused(error) from error


def _refused(error: asyncpg.PostgresError) -> DumpError:
    match error:
        case asyncpg.InsufficientPrivilegeError():
            problem, remedy = DumpProblem.PERMISSION, "give the role the right that is named"
        case asyncpg.DiskFullError():
            problem, remedy = DumpProblem.NO_SPACE, "make room on the disk of the server"
        case _:
            problem, remedy = DumpProblem.FAILED, "correct what is named, and try again"
    return DumpError(problem, f"Postgres refuses: {error}", remedy=remedy)

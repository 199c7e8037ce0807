"""Postgres for every service: pool, transactions under row-level security, named SQL, schema.

Everything that talks to Postgres goes through this file, so that an outage looks the same
everywhere (`StoreUnavailableError`) and no statement runs under another org than the caller's.

Schema versions are plain SQL files, `0007_pre_add_origin.sql` (expand: old code still works on
it) and `0007_post_drop_source.sql` (contract: only once no old code runs), applied in that order,
each in a transaction of its own, and never changed afterwards.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final, Literal

import aiosql
import asyncpg
import structlog
from aiosql.adapters.asyncpg import AsyncPGAdapter

from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.telemetry import postgres_span, record_statement

STORE: Final = "postgres"

Isolation = Literal["read committed", "repeatable read", "serializable"]
Phase = Literal["pre", "post"]

_CONNECT_TIMEOUT_SECONDS: Final = 5.0
_ACQUIRE_TIMEOUT_SECONDS: Final = 5.0
_IDENTIFIER: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SCHEMA_FILE: Final = re.compile(r"(\d{4})_(pre|post)_[a-z0-9_]+\.sql")

_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    # What a connection says that was told of the server's end while idle, and not closed yet.
    asyncpg.InternalClientError,
    OSError,  # refused, reset, unknown host; TimeoutError is one too
)

_log = structlog.get_logger(__name__)


class TransactionRolledBackError(Exception):
    """A commit was asked for, and Postgres rolled back.

    An earlier statement failed and its error was caught inside the block; nothing was written.
    """


class SchemaError(Exception):
    """The schema cannot be brought to, or is not at, the version that is needed."""


class SchemaFileError(SchemaError):
    """A schema file is misnamed, doubled, changed after it was applied, or does not run."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name


class SchemaOutdatedError(SchemaError):
    """The database has an older schema than this program needs."""

    def __init__(self, schema: str, *, found: int, needed: int) -> None:
        super().__init__(
            f"The schema {schema} is at version {found} and this program needs {needed}: "
            "run `migrate` first."
        )
        self.found = found
        self.needed = needed


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """One immutable step of a schema.

    Attributes:
        version: Four-digit number at the start of the name.
        phase: `pre` runs before the new code is rolled out, `post` after it.
        name: File name.
        sql: Statements, run in one transaction.
        sha256: Hex digest of the file's bytes.
    """

    version: int
    phase: Phase
    name: str
    sql: str
    sha256: str


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn an outage of Postgres into `StoreUnavailableError`.

    Refused, lost and too many connections, servers that start or stop, and timeouts are
    outages. Wrap nothing but calls to Postgres: any `OSError` counts as one. All other errors
    (constraints, serialization failures, wrong SQL) pass unchanged.
    """
    try:
        yield
    except _LOST as error:
        raise StoreUnavailableError(STORE) from error


async def create_pool(
    url: str,
    *,
    application_name: str,
    minimum: int,
    maximum: int,
    schema: str = "public",
    statement_timeout_seconds: float = 30.0,
) -> asyncpg.Pool:
    """Open a pool of connections.

    `jsonb` values are Python objects both ways, in binary COPY too. A statement that runs longer
    than the timeout is cancelled by the server, and given up by the client a second later.

    Args:
        url: `postgresql://user:password@host:port/database`.
        application_name: Shown in `pg_stat_activity`.
        minimum: Connections opened at once.
        maximum: Connections at most.
        schema: Where unqualified names are looked up, before `public`.
        statement_timeout_seconds: Longest run of one statement.

    Raises:
        StoreUnavailableError: Postgres does not answer.
    """
    with translate_errors():
        return await asyncpg.create_pool(
            url,
            min_size=minimum,
            max_size=maximum,
            timeout=_CONNECT_TIMEOUT_SECONDS,
            command_timeout=statement_timeout_seconds + 1.0,
            init=_initialise,
            reset=_keep_session,
            server_settings={
                "application_name": application_name,
                "search_path": f"{_identifier(schema)}, public",
                "statement_timeout": f"{round(statement_timeout_seconds * 1000)}ms",
                "idle_in_transaction_session_timeout": "60s",
                "timezone": "UTC",
            },
        )


@asynccontextmanager
async def transaction(
    pool: asyncpg.Pool,
    *,
    org: str | None,
    read_only: bool = False,
    isolation: Isolation = "read committed",
) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection inside a transaction that sees the rows of one org.

    Begin and org travel together, so that row-level security costs no round trip. Leaving the
    block commits, an exception rolls back. Inside it, as in `translate_errors`, an `OSError` is
    taken for an outage of Postgres. There is no nesting: `connection.transaction()` is
    refused inside the block.

    Args:
        pool: Where the connection comes from.
        org: The verified org of the caller; None sets none, and the policies then hide every row.
        read_only: Refuse writes.
        isolation: Isolation level.

    Raises:
        StoreUnavailableError: Postgres does not answer, or the connection was lost on the way.
        TransactionRolledBackError: The block caught an error of a statement and went on.
    """
    access = "read only" if read_only else "read write"
    begin = f"begin isolation level {isolation} {access}"
    if org is not None:
        begin += f"; select set_config('liftos.org', {quote_literal(org)}, true)"
    with translate_errors():
        async with pool.acquire(timeout=_ACQUIRE_TIMEOUT_SECONDS) as connection:
            try:
                await connection.execute(begin)
                yield connection
                outcome = await connection.execute("commit")
            except asyncpg.InterfaceError as error:
                if _is_lost(connection):
                    raise StoreUnavailableError(STORE) from error
                await _roll_back(connection)
                raise
            except asyncpg.InternalClientError:
                # Nothing can be done with it any more, so it must not go back to the pool.
                connection.terminate()
                raise
            except BaseException:
                await _roll_back(connection)
                raise
            if outcome != "COMMIT":
                raise TransactionRolledBackError(
                    "A statement failed inside the transaction, so nothing was written: let its "
                    "error leave the block."
                )


class PointReads:
    """One statement that reads a row, at the least cost per call.

    The pool makes a task and a log record for each statement, and parses anew which of them it
    is, which costs more than a point read itself. A few of its connections are kept here instead,
    with the statement prepared; calls beyond that wait.

    Args:
        pool: Where the connections come from.
        statement: What is read, with `$1` and so on.
        name: Name of the statement in traces and metrics.
        collection: The table that it reads.
        connections: How many are kept at most, and never more than a quarter of the pool's.
    """

    def __init__(
        self, pool: asyncpg.Pool, statement: str, *, name: str, collection: str, connections: int
    ) -> None:
        self._pool = pool
        self._statement = statement
        self._name = name
        self._collection = collection
        # Those who need the pool for more than a row must not starve.
        kept = max(1, min(connections, pool.get_max_size() // 4))
        self._free = asyncio.Semaphore(kept)
        self._idle: list[tuple[asyncpg.Connection, asyncpg.prepared_stmt.PreparedStatement]] = []

    async def fetchrow(self, *values: object) -> asyncpg.Record | None:
        """Return the first row for these values; the statement is a transaction of its own.

        Raises:
            StoreUnavailableError: Postgres does not answer, or the connection was lost on the way.
        """
        async with self._free:
            with translate_errors(), postgres_span(self._name, self._collection):
                connection, statement = await self._prepared()
                try:
                    row: asyncpg.Record | None = await statement.fetchrow(*values)
                except BaseException as error:
                    await self._discard(connection)
                    if isinstance(error, asyncpg.InterfaceError):
                        raise StoreUnavailableError(STORE) from error
                    raise
            self._idle.append((connection, statement))
            return row

    async def close(self) -> None:
        """Give the connections back, so that the pool can be closed."""
        while self._idle:
            connection, _ = self._idle.pop()
            await self._pool.release(connection)

    async def _prepared(
        self,
    ) -> tuple[asyncpg.Connection, asyncpg.prepared_stmt.PreparedStatement]:
        while self._idle:
            connection, statement = self._idle.pop()
            if not _is_lost(connection):
                return connection, statement
            await self._discard(connection)
        connection = await self._pool.acquire(timeout=_ACQUIRE_TIMEOUT_SECONDS)
        try:
            return connection, await connection.prepare(self._statement)
        except BaseException:
            await self._discard(connection)
            raise

    async def _discard(self, connection: asyncpg.Connection) -> None:
        """Let go of a connection in whatever state it is; the next call begins with another."""
        # The pool takes one back by itself where it broke.
        with suppress(asyncpg.InterfaceError):
            connection.terminate()
            await self._pool.release(connection)


def quote_literal(value: str) -> str:
    """Return the text as an SQL string literal.

    For the few statements that take no parameters. Safe because Postgres reads backslashes
    literally in plain literals (`standard_conforming_strings`, on since 9.1).

    Raises:
        ValueError: The text holds a NUL or a surrogate, which Postgres text cannot.
    """
    if "\0" in value or (not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value)):
        raise ValueError("Postgres text can hold neither NUL nor surrogates")
    return "'" + value.replace("'", "''") + "'"


def read_sql(package: str, file: str, **words: str) -> str:
    """Return the text of an SQL file in a package.

    Args:
        package: Where the file is.
        file: Its path in there.
        words: What stands for `{word}` in the file, each a plain lower-case identifier.
    """
    text = files(package).joinpath(file).read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(f"{{{word}}}", _identifier(value))
    return text


def load_queries(package: str, file: str, **words: str) -> Any:  # noqa: ANN401 - its methods come from the file
    """Load the named statements (`-- name: get_entry^`) of an SQL file; see `read_sql`.

    Each statement begins with its name as a comment, so that traces, metrics and
    `pg_stat_activity` can tell statements apart.

    Returns:
        An object with one async method per name; a connection or pool comes first, the
        statement's `:parameters` by keyword.
    """
    text = read_sql(package, file, **words)
    return aiosql.from_str(text, _NamedStatements, mandatory_parameters=False)


def read_schema_files(directory: Traversable) -> tuple[SchemaFile, ...]:
    """Return the schema files of a directory in the order in which they apply.

    Raises:
        SchemaFileError: A name does not look like `0001_pre_words.sql`, or two files have the
            same number and phase.
    """
    found: dict[tuple[int, Phase], SchemaFile] = {}
    for entry in sorted(directory.iterdir(), key=lambda item: item.name):
        if not entry.name.endswith(".sql"):
            continue
        match = _SCHEMA_FILE.fullmatch(entry.name)
        if match is None:
            raise SchemaFileError(entry.name, "must be named NNNN_pre_words.sql or NNNN_post_…")
        phase: Phase = "pre" if match[2] == "pre" else "post"
        key = (int(match[1]), phase)
        if key in found:
            raise SchemaFileError(entry.name, f"has the number and phase of {found[key].name}")
        content = entry.read_bytes()
        found[key] = SchemaFile(
            version=key[0],
            phase=phase,
            name=entry.name,
            sql=content.decode("utf-8"),
            sha256=hashlib.sha256(content).hexdigest(),
        )
    return tuple(sorted(found.values(), key=_order))


async def current_version(pool: asyncpg.Pool, *, schema: str) -> int:
    """Return the newest version that was applied to a schema, 0 if none was."""
    with translate_errors():
        try:
            version = await pool.fetchval(
                f"select coalesce(max(version), 0) from {_identifier(schema)}.schema_versions"  # noqa: S608
            )
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            return 0
    return int(version)


async def require_version(pool: asyncpg.Pool, minimum: int, *, schema: str) -> None:
    """Refuse to go on with a schema that is too old.

    Raises:
        SchemaOutdatedError: The schema is older than `minimum`.
    """
    found = await current_version(pool, schema=schema)
    if found < minimum:
        raise SchemaOutdatedError(schema, found=found, needed=minimum)


async def migrate(
    owner_url: str, directory: Traversable, *, schema: str, through: Phase = "post"
) -> tuple[str, ...]:
    """Bring a schema to the newest version; do nothing if it is there.

    Safe to run by several at once: one works, the others wait and find nothing to do. A file
    that fails leaves the schema as the file before it did.

    Args:
        owner_url: Role that owns the schema.
        directory: Schema files.
        schema: Postgres schema; made if it does not exist, first in the search path.
        through: `pre` leaves out the newest version's contracting file, for the time in which
            old code still runs.

    Returns:
        Names of the files applied by this call, in order.

    Raises:
        SchemaFileError: A file was changed after it was applied, comes before one that was
            applied, or does not run.
        StoreUnavailableError: Postgres does not answer.
    """
    wanted = read_schema_files(directory)
    if through == "pre":
        head = max((file.version for file in wanted), default=0)
        wanted = tuple(f for f in wanted if not (f.version == head and f.phase == "post"))
    with translate_errors():
        connection = await asyncpg.connect(
            owner_url,
            timeout=_CONNECT_TIMEOUT_SECONDS,
            server_settings={
                "application_name": f"liftos migrate {schema}",
                "search_path": f"{_identifier(schema)}, public",
                "timezone": "UTC",
            },
        )
        try:
            return await _apply_missing(connection, wanted, schema=schema)
        finally:
            await connection.close(timeout=_CONNECT_TIMEOUT_SECONDS)


async def _apply_missing(
    connection: asyncpg.Connection, wanted: tuple[SchemaFile, ...], *, schema: str
) -> tuple[str, ...]:
    # A session lock, not one per transaction: it must hold over all files, and a runner that
    # dies gives it back with its connection.
    await connection.execute(
        "select pg_advisory_lock(hashtextextended($1, 0))", f"liftos migrate {schema}"
    )
    await connection.execute(
        f"""
        set client_min_messages = warning;
        create schema if not exists {schema};
        create table if not exists {schema}.schema_versions (
            version int not null,
            phase text not null check (phase in ('pre', 'post')),
            name text not null,
            sha256 text not null,
            apply_time timestamptz not null default now(),
            primary key (version, phase)
        );
        grant select on {schema}.schema_versions to public;
        reset client_min_messages;
        """
    )
    rows = await connection.fetch(
        f"select version, phase, name, sha256 from {schema}.schema_versions"  # noqa: S608
    )
    applied = {(row["version"], row["phase"]): row for row in rows}
    missing = [file for file in wanted if (file.version, file.phase) not in applied]
    for file in wanted:
        row = applied.get((file.version, file.phase))
        if row is not None and row["sha256"] != file.sha256:
            raise SchemaFileError(
                file.name,
                f"was changed after it was applied as {row['name']}; put it back and add a new one",
            )
    newest = max((_rank(version, phase) for version, phase in applied), default=(0, 0))
    for file in missing:
        if _order(file) < newest:
            raise SchemaFileError(file.name, "comes before files that were applied; renumber it")
    for file in missing:
        await _apply(connection, file, schema=schema)
    return tuple(file.name for file in missing)


async def _apply(connection: asyncpg.Connection, file: SchemaFile, *, schema: str) -> None:
    try:
        async with connection.transaction():
            await connection.execute(file.sql)
            await connection.execute(
                f"insert into {schema}.schema_versions (version, phase, name, sha256) "  # noqa: S608
                "values ($1, $2, $3, $4)",
                file.version,
                file.phase,
                file.name,
                file.sha256,
            )
    except _LOST:
        raise
    except asyncpg.PostgresError as error:
        raise SchemaFileError(file.name, f"does not run: {error}") from error
    _log.info("schema_file_applied", schema=schema, file=file.name)


def _rank(version: int, phase: str) -> tuple[int, int]:
    return (version, 0 if phase == "pre" else 1)


def _order(file: SchemaFile) -> tuple[int, int]:
    return _rank(file.version, file.phase)


class _NamedStatements(AsyncPGAdapter):
    """Puts each statement's name in front of it, as a comment."""

    def process_sql(self, query_name: str, op_type: Any, sql: str) -> str:  # noqa: ANN401
        statement = super().process_sql(query_name, op_type, sql)  # type: ignore[no-untyped-call]
        return f"/* {query_name} */ {statement}"


async def _initialise(connection: asyncpg.Connection) -> None:
    connection.add_query_logger(_measure)
    # The binary format, because binary COPY takes no other.
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + json.dumps(value).encode(),
        decoder=lambda content: json.loads(content[1:]),
    )


def _measure(statement: Any) -> None:  # noqa: ANN401 - a record of an untyped library
    record_statement(statement.query, statement.elapsed, statement.exception)


async def _keep_session(_: asyncpg.Connection) -> None:
    """Reset nothing: our code sets session state only inside transactions.

    The default is a statement, and so a round trip, each time a connection goes back.
    """


async def _roll_back(connection: asyncpg.Connection) -> None:
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        if not connection.is_closed():
            await connection.execute("rollback")


def _is_lost(connection: asyncpg.Connection) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the pool took it back when it broke
        return True


def _identifier(name: str) -> str:
    if _IDENTIFIER.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a plain lower-case SQL identifier")
    return name

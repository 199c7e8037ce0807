"""The embedded stack as a whole: real stores, real signals, real deaths."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
import redis
from pymilvus import MilvusClient
from tests.e2e.local.real_processes import eventually, processes_of, program, until_gone

from liftos_local.directory import DataDirectory
from liftos_local.doctor import doctor
from liftos_local.errors import (
    AlreadyRunningError,
    DataDirectoryError,
    PortTakenError,
    StackStartError,
)
from liftos_local.plan import ServiceSpec
from liftos_local.ports import PortPlan
from liftos_local.stack import Stack, down, start, status, up
from liftos_local.state import ProcessState, StackState
from liftos_local.testing import fresh_database, make_template

STORES = ("postgres", "redis", "milvus")
FOREGROUND = """
from pathlib import Path
from liftos_local.ports import PortPlan
from liftos_local.stack import start
with start(Path(sys.argv[1]), ports=PortPlan.automatic(), stores_only=True) as stack:
    print("healthy", flush=True)
    stack.wait()
print("stopped", flush=True)
"""
CLOSED_FOLDER_PASSAGE = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
NOBODY = 65534


async def execute(url: str, *statements: str) -> list[asyncpg.Record]:
    """Run statements and return the rows of the last one."""
    connection = await asyncpg.connect(url)
    try:
        rows: list[list[asyncpg.Record]] = [
            await connection.fetch(statement) for statement in statements
        ]
    finally:
        await connection.close()
    return rows[-1]


async def write_everywhere(stack: Stack, *, word: str) -> None:
    """Leave a word in each of the three stores."""
    owner_url = stack.environment["LIFTOS_POSTGRES_OWNER_URL"]
    await execute(owner_url, f"create table if not exists {word} as select 1 as one")
    with redis.Redis.from_url(stack.environment["LIFTOS_REDIS_URL"]) as client:
        client.set(word, "kept")
    milvus = MilvusClient(stack.environment["LIFTOS_MILVUS_URL"])
    if not milvus.has_collection(word):
        milvus.create_collection(word, dimension=4)
        milvus.insert(word, [{"id": 7, "vector": [0.1, 0.2, 0.3, 0.4]}])
    milvus.close()


async def read_everywhere(stack: Stack, *, word: str) -> tuple[int, bytes, int]:
    """Read the word back from each of the three stores."""
    rows = await execute(stack.environment["LIFTOS_POSTGRES_OWNER_URL"], f"select one from {word}")
    with redis.Redis.from_url(stack.environment["LIFTOS_REDIS_URL"]) as client:
        kept = client.get(word)
    milvus = MilvusClient(stack.environment["LIFTOS_MILVUS_URL"])
    milvus.load_collection(word)
    found = milvus.get(word, ids=[7])
    milvus.close()
    return rows[0]["one"], kept, found[0]["id"]


def is_healthy_again(stack: Stack, name: str, killed: int | None) -> Callable[[], bool]:
    """Condition: another process than the killed one runs and is well."""

    def condition() -> bool:
        entry = stack.status().process(name)
        return entry.state is ProcessState.HEALTHY and entry.pid not in (None, killed)

    return condition


async def test_restart_on_the_same_data_keeps_ports_and_rows(tmp_path: Path) -> None:
    """What was written to each store is there after a stop and a start, on the same ports."""
    told: list[tuple[str, str]] = []
    with start(tmp_path, ports=PortPlan.automatic(), stores_only=True) as first:
        addresses = first.addresses
        await write_everywhere(first, word="restarted")
    until_gone(tmp_path, within_seconds=0.5)
    assert status(tmp_path).state is StackState.STOPPED
    with start(
        tmp_path,
        ports=PortPlan.automatic(),
        stores_only=True,
        on_progress=lambda name, state: told.append((name, state)),
    ) as second:
        assert second.addresses == addresses
        assert await read_everywhere(second, word="restarted") == (1, b"kept", 7)
        before_stop = time.monotonic()
    assert time.monotonic() - before_stop < 5
    assert set(told) >= {(name, "healthy") for name in STORES}
    until_gone(tmp_path, within_seconds=0.5)


@pytest.mark.parametrize("name", STORES)
async def test_a_killed_store_comes_back_with_its_data(shared_stack: Stack, name: str) -> None:
    """After kill -9 a store is started again, says so, and has lost nothing."""
    await write_everywhere(shared_stack, word="survivor")
    before = shared_stack.status().process(name)
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    eventually(
        is_healthy_again(shared_stack, name, before.pid), within_seconds=15, what=f"{name} is back"
    )
    assert shared_stack.status().process(name).restarts == before.restarts + 1
    assert await read_everywhere(shared_stack, word="survivor") == (1, b"kept", 7)


async def test_a_killed_postgres_leaves_no_busy_backend(shared_stack: Stack) -> None:
    """A session in the middle of a long computation does not delay the restart."""
    busy = await asyncpg.connect(shared_stack.postgres_admin_url())
    pid = await busy.fetchval("select pg_backend_pid()")
    work = asyncio.create_task(busy.execute("select count(*) from generate_series(1, 10000000000)"))
    before = shared_stack.status().process("postgres")
    assert before.pid is not None
    query = f"select 1 from pg_stat_activity where pid = {pid} and state = 'active'"
    watcher = await asyncpg.connect(shared_stack.postgres_admin_url())
    async with asyncio.timeout(5):
        # Each round trip lets the work of the other session begin.
        while not await watcher.fetch(query):
            pass
    os.kill(before.pid, signal.SIGKILL)
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await work
    eventually(lambda: not Path(f"/proc/{pid}").exists(), within_seconds=2, what="backend ends")
    eventually(
        is_healthy_again(shared_stack, "postgres", before.pid), within_seconds=10, what="restart"
    )


async def test_roles_of_the_services_have_no_power(shared_stack: Stack) -> None:
    """The services' role cannot bypass row-level security, and the owner owns the database."""
    roles = await execute(
        shared_stack.environment["LIFTOS_POSTGRES_URL"],
        "select rolname, rolsuper, rolbypassrls, rolcanlogin from pg_roles "
        "where rolname in ('liftos_app', 'liftos_owner') order by 1",
    )
    assert [tuple(row) for row in roles] == [
        ("liftos_app", False, False, True),
        ("liftos_owner", False, False, True),
    ]
    owner = await execute(
        shared_stack.environment["LIFTOS_POSTGRES_URL"],
        "select datdba::regrole::text as owner from pg_database where datname = current_database()",
    )
    assert owner[0]["owner"] == "liftos_owner"


def test_everything_listens_on_this_machine_only(shared_stack: Stack) -> None:
    """No port of the stack is bound to another address than 127.0.0.1."""
    ports = {int(address.rpartition(":")[2]) for address in shared_stack.addresses.values()}
    bound = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, port = local.partition(":")
            if state == "0A" and int(port, 16) in ports:
                bound.add((address, int(port, 16)))
    assert {port for _, port in bound} == ports
    # The second form is the same address as IPv6 writes it.
    allowed = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert {address for address, _ in bound} <= allowed


def test_secrets_stay_secret(shared_stack: Stack) -> None:
    """The file is private; no command line, log, status or repr holds a password."""
    directory = DataDirectory(shared_stack.data_dir)
    assert stat.S_IMODE(directory.secrets_file.stat().st_mode) == 0o600
    secrets = json.loads(directory.secrets_file.read_text()).values()
    shown = [repr(shared_stack), shared_stack.status().to_json(), directory.plan_file.read_text()]
    shown += processes_of(shared_stack.data_dir).values()
    shown += [path.read_text(errors="replace") for path in directory.log.iterdir()]
    assert not [text for text in shown for secret in secrets if secret in text]


def test_a_second_stack_on_the_directory_is_refused(shared_stack: Stack) -> None:
    """The lock names the process that holds it."""
    with pytest.raises(AlreadyRunningError) as refused:
        start(shared_stack.data_dir, ports=PortPlan.automatic(), stores_only=True)
    assert refused.value.supervisor_pid == shared_stack.status().supervisor_pid
    assert shared_stack.status().state is StackState.HEALTHY


def test_a_taken_port_names_its_owner(shared_stack: Stack, tmp_path: Path) -> None:
    """A fixed port that is taken is an error with the process and its command line."""
    taken = int(shared_stack.addresses["redis"].rpartition(":")[2])
    free = PortPlan({"postgres": 31_998, "redis": taken, "milvus": 31_999})
    with pytest.raises(PortTakenError, match="valkey-server") as refused:
        start(tmp_path / "other", ports=free, stores_only=True)
    assert (refused.value.name, refused.value.port) == ("redis", taken)
    assert f"process {shared_stack.status().process('redis').pid} " in refused.value.owner


async def test_each_test_gets_a_database_of_its_own(shared_stack: Stack) -> None:
    """A clone has what the template has, and leaves the template as it was."""

    def migrate(environment: object) -> None:
        assert isinstance(environment, dict)
        url = environment["LIFTOS_POSTGRES_OWNER_URL"]
        script = "import asyncio, asyncpg\nasync def run():\n"
        script += " c = await asyncpg.connect(sys.argv[1])\n"
        script += " await c.execute('create table seed as select 5 as five')\n await c.close()\n"
        subprocess.run(program(script + "asyncio.run(run())", url), check=True)

    make_template(shared_stack, "seeded", migrate)
    with fresh_database(shared_stack, "seeded") as one:
        await execute(one.owner_url, "insert into seed values (6)")
        with fresh_database(shared_stack, "seeded") as two:
            assert one.name != two.name
            rows = await execute(two.environment["LIFTOS_POSTGRES_OWNER_URL"], "table seed")
            assert [row["five"] for row in rows] == [5]


@pytest.mark.parametrize(
    ("names", "ended"),
    [
        (("supervisor",), StackState.KILLED),
        (("guardian",), StackState.STOPPED),
        (("guardian", "supervisor"), StackState.KILLED),
    ],
    ids=["supervisor", "guardian", "both"],
)
def test_killing_who_watches_leaves_nothing(
    tmp_path: Path, names: tuple[str, ...], ended: StackState
) -> None:
    """SIGKILL of the supervisor, of its guardian or of both ends every store within 2 s.

    What still could stop the rest in order did, and what could not left word of it.
    """
    stack = start(tmp_path, ports=PortPlan.automatic(), stores_only=True)
    victims = [
        pid
        for pid, command in processes_of(tmp_path).items()
        if any(f"-m liftos_local.{name} " in command for name in names)
    ]
    assert len(victims) == len(names)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    assert stack.wait().state is ended
    until_gone(tmp_path, within_seconds=2)
    finding = next(each for each in doctor(tmp_path) if each.check == "stack")
    assert finding.ok
    assert ("killed" in finding.found) == (ended is StackState.KILLED)
    stack.stop()


@pytest.mark.parametrize(
    ("number", "expected_output"),
    [(signal.SIGINT, "stopped"), (signal.SIGTERM, "stopped"), (signal.SIGKILL, "")],
)
def test_foreground_ends_with_all_it_started(
    tmp_path: Path, number: signal.Signals, expected_output: str
) -> None:
    """Ctrl-C, SIGTERM and kill -9 of the program that started the stack leave nothing."""
    program_call = program(FOREGROUND, str(tmp_path))
    with subprocess.Popen(program_call, stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "healthy\n"
        assert len(processes_of(tmp_path)) > 5
        caller.send_signal(number)
        assert caller.stdout.read().strip() == expected_output
        assert caller.wait(5) == (-number if number is signal.SIGKILL else 0)
    until_gone(tmp_path, within_seconds=2)


def test_detached_stack_with_a_service(tmp_path: Path, fake_service: ServiceSpec) -> None:
    """`up` migrates, starts the service and returns; `down` ends even its stubborn child."""
    seen = up(
        tmp_path,
        ports=PortPlan.automatic(),
        services=("fake",),
        catalogue={"fake": fake_service},
        settings={"LIFTOS_LOG_LEVEL": "DEBUG"},
    )
    assert seen.state is StackState.HEALTHY
    assert set(seen.addresses) == {*STORES, "fake"}
    environment = json.loads((tmp_path / "spans" / "environment.json").read_text())
    ours = {name for name in environment if name.startswith("LIFTOS_")}
    assert {"LIFTOS_PORT", "LIFTOS_METRICS_PORT", "LIFTOS_LOG_LEVEL"} < ours
    assert "LIFTOS_POSTGRES_OWNER_URL" not in ours
    assert not [name for name in environment if name.startswith("PYTEST")]

    service = seen.process("fake")
    assert service.pid is not None
    os.kill(service.pid, signal.SIGKILL)
    eventually(
        lambda: (
            status(tmp_path).process("fake").restarts == 1
            and status(tmp_path).state is StackState.HEALTHY
        ),
        within_seconds=10,
        what="the service is back",
    )
    assert down(tmp_path)
    until_gone(tmp_path, within_seconds=0.5)
    assert not down(tmp_path)
    children = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _is_stubborn(path)]
    assert not children


def _is_stubborn(command_file: Path) -> bool:
    try:
        return b"signal.SIG_IGN); time.sleep(99)" in command_file.read_bytes()
    except OSError:
        return False


def test_a_service_that_cannot_start_says_why(tmp_path: Path, fake_service: ServiceSpec) -> None:
    """The error names the process and shows the end of its log; nothing is left running."""
    broken = ServiceSpec(
        name="broken",
        module="tests.e2e.local.no_such_module",
        arguments=("serve",),
        listens=True,
        health_service=fake_service.health_service,
    )
    with pytest.raises(StackStartError, match="No module named") as failed:
        start(
            tmp_path,
            ports=PortPlan.automatic(),
            services=("broken",),
            catalogue={"broken": broken},
        )
    assert (failed.value.process, failed.value.reason) == ("broken", "ended with code 1")
    until_gone(tmp_path, within_seconds=0.5)
    assert status(tmp_path).state is StackState.FAILED
    findings = {finding.check: finding for finding in doctor(tmp_path)}
    assert not findings["stack"].ok
    assert "ended with code 1" in findings["stack"].found


def test_a_store_that_keeps_failing_is_reported_with_its_log(tmp_path: Path) -> None:
    """Broken data make a store fail again and again; the others stay up, and it recovers."""
    with start(tmp_path, ports=PortPlan.automatic(), stores_only=True) as stack:
        configuration = tmp_path / "redis" / "valkey.conf"
        whole = configuration.read_text()
        configuration.write_text("no-such-directive yes\n")
        pid = stack.status().process("redis").pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        eventually(
            lambda: stack.status().process("redis").state is ProcessState.FAILED,
            within_seconds=5,
            what="redis failed",
        )
        seen = stack.status()
        assert seen.state is StackState.UNHEALTHY
        assert "no-such-directive" in "\n".join(seen.process("redis").log_tail)
        assert seen.process("postgres").state is ProcessState.HEALTHY
        findings = {finding.check: finding for finding in doctor(tmp_path)}
        assert not findings["redis"].ok
        assert findings["postgres"].ok
        configuration.write_text(whole)
        eventually(is_healthy_again(stack, "redis", pid), within_seconds=10, what="redis recovered")


def test_doctor_finds_a_healthy_stack_well(shared_stack: Stack) -> None:
    """All checks of stores and processes pass, with the versions found."""
    findings = {finding.check: finding for finding in doctor(shared_stack.data_dir)}
    assert findings["postgres"].found.startswith("version 18.")
    assert "wal_level logical" in findings["postgres"].found
    assert findings["milvus"].found.startswith("milvus_lite-3.")
    assert findings["redis"].found.startswith("compatible with Redis 7.")
    broken = [finding for finding in findings.values() if not finding.ok]
    assert [finding.check for finding in broken if not finding.check.startswith("port of")] == [
        "schema"
    ]


def test_doctor_names_what_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_stack: Stack
) -> None:
    """Readable secrets, a taken port, a missing setpriv and a live pid file are told apart."""
    taken = int(shared_stack.addresses["redis"].rpartition(":")[2])
    directory = DataDirectory(tmp_path)
    (directory.postgres / "18").mkdir(parents=True)
    (directory.postgres / "18" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    directory.run.mkdir()
    directory.secrets_file.write_text("{}")
    directory.secrets_file.chmod(0o644)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("liftos_local.doctor.DEFAULT_PORTS", {"redis": taken})
    broken = {finding.check: finding for finding in doctor(tmp_path) if not finding.ok}
    assert {"secrets", "port of redis", "setpriv", "stack"} <= set(broken)
    assert "valkey-server" in broken["port of redis"].found
    assert f"names process {os.getpid()}" in broken["stack"].found
    assert all(finding.advice for finding in broken.values())


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    """A folder with somebody's files is left as it is."""
    (tmp_path / "thesis.txt").write_text("mine")
    mode = tmp_path.stat().st_mode
    with pytest.raises(DataDirectoryError, match="not of LiftOS"):
        start(tmp_path, ports=PortPlan.automatic(), stores_only=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert tmp_path.stat().st_mode == mode


def test_runs_as_an_ordinary_user(tmp_path: Path) -> None:
    """Without root all processes, Postgres too, are of the user who started them."""
    home = tmp_path / "home"
    home.mkdir()
    call = program(FOREGROUND, str(home / "data"))
    expected_uid = os.geteuid()
    if expected_uid == 0:
        expected_uid = NOBODY
        os.chown(home, NOBODY, NOBODY)
        # The user may pass through closed folders, so that the interpreter of a root whose
        # home is closed can be used; it is an ordinary user in all else.
        ids = ("--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
        call = ["setpriv", *ids, *CLOSED_FOLDER_PASSAGE, "--", *call]
    environment = {**os.environ, "HOME": str(home)}
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=environment) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "healthy\n"
        users = {Path(f"/proc/{pid}").stat().st_uid for pid in processes_of(home / "data")}
        assert users == {expected_uid}
        caller.send_signal(signal.SIGINT)
        assert caller.stdout.read() == "stopped\n"
    until_gone(home / "data", within_seconds=1)
    assert stat.S_IMODE((home / "data").stat().st_mode) == 0o700


def test_root_runs_postgres_as_somebody_else_behind_a_closed_folder(tmp_path: Path) -> None:
    """As root, Postgres alone has another user, even where the way to its data is closed to it."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with start(closed / "data", ports=PortPlan.automatic(), stores_only=True) as stack:
        pid = stack.status().process("postgres").pid
        owner = Path(f"/proc/{pid}").stat().st_uid
    assert (owner != 0) if os.geteuid() == 0 else (owner == os.geteuid())
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700

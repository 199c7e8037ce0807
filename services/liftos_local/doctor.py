"""Looks at everything the embedded stack depends on, and says what to do about what is wrong."""

import asyncio
import os
import platform
import resource
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg
import grpc

from liftos_local.directory import DataDirectory, is_locked, load_secrets
from liftos_local.errors import DataDirectoryError, LocalStackError
from liftos_local.plan import DATABASE, HOST, MODULE_POSTGRES, MODULE_REDIS, Plan, read_plan
from liftos_local.ports import DEFAULT_PORTS, is_free, port_owner
from liftos_local.probes import ProbeError, milvus_collections, milvus_version, redis_command
from liftos_local.processes import capability_to_pass, closed_folder
from liftos_local.state import ProcessState, StackState, StackStatus, read_status
from liftos_local.stores import (
    POSTGRES_MAJOR,
    core_postgres,
    milvus_command,
    module_postgres,
    postgres_programs,
    valkey_server,
)

_GIB: Final = 1024**3
_LEAST_DISK_BYTES: Final = 2 * _GIB
_LEAST_MEMORY_BYTES: Final = 1 * _GIB
_LEAST_SHARED_MEMORY_BYTES: Final = 256 * 1024 * 1024
_LEAST_DESCRIPTORS: Final = 1024
_OLDEST_GLIBC: Final = (2, 28)
_SCHEMA_TABLE: Final = "schema_versions"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was found, and what to do (empty where all is well)."""

    check: str
    ok: bool
    found: str
    advice: str = ""


def doctor(data_dir: Path) -> list[Finding]:
    """Check the machine, the data directory and, where the stack runs, its stores."""
    directory = DataDirectory(data_dir.absolute())
    try:
        status = read_status(directory.root)
    except DataDirectoryError as error:
        return [Finding("data directory", False, f"{error.data_dir}: {error.reason}", error.advice)]
    findings = [*_machine(directory), *_programs(directory), *_data_directory(directory)]
    findings += [*_ports(directory), *_processes(directory, status)]
    if is_locked(directory) and directory.plan_file.exists():
        findings += asyncio.run(_stores(read_plan(directory), directory))
    return [replace(finding, advice="") if finding.ok else finding for finding in findings]


def _machine(directory: DataDirectory) -> Iterator[Finding]:
    version = platform.python_version()
    yield Finding("python", sys.version_info >= (3, 11), version, "run with Python 3.11 or later")
    library, number = platform.libc_ver()
    machine = platform.machine()
    words = tuple(int(word) for word in number.split(".")[:2] if word.isdigit())
    yield Finding(
        "platform",
        library == "glibc" and words >= _OLDEST_GLIBC and machine in ("x86_64", "aarch64"),
        f"{platform.system()} {machine}, {library or 'no glibc'} {number}",
        "the stores' binaries need Linux with glibc 2.28 or later",
    )
    existing = next(path for path in (directory.root, *directory.root.parents) if path.exists())
    free_bytes = shutil.disk_usage(existing).free
    yield Finding(
        "disk",
        free_bytes >= _LEAST_DISK_BYTES,
        f"{free_bytes / _GIB:.1f} GiB free at {existing}",
        "free some space, or choose a data directory on another disk",
    )
    memory_bytes = _available_memory_bytes()
    yield Finding(
        "memory",
        memory_bytes >= _LEAST_MEMORY_BYTES,
        f"{memory_bytes / _GIB:.1f} GiB available",
        "stop other programs; the stack takes about 1 GiB",
    )
    yield _shared_memory()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Finding(
        "file descriptors",
        soft >= _LEAST_DESCRIPTORS or soft == resource.RLIM_INFINITY,
        f"at most {soft} for a process, {hard} at will",
        f"raise the limit: `ulimit -n {_LEAST_DESCRIPTORS}`",
    )
    yield _clock(directory)


def _shared_memory() -> Finding:
    advice = "give the container more with `--shm-size=256m`; until then Postgres uses files"
    try:
        facts = os.statvfs("/dev/shm")  # noqa: S108 - the kernel's name, not a temporary file
    except OSError as error:
        return Finding("shared memory", False, str(error), advice)
    free_bytes = facts.f_frsize * facts.f_bavail
    found = f"{free_bytes / 1024**2:.0f} MiB free in /dev/shm"
    return Finding("shared memory", free_bytes >= _LEAST_SHARED_MEMORY_BYTES, found, advice)


def _clock(directory: DataDirectory) -> Finding:
    """A clock that went back makes tokens of the future and entries out of order."""
    now = datetime.now(UTC)
    traces = (path for path in (directory.state_file, Path(__file__)) if path.exists())
    latest = max(datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in traces)
    behind_seconds = (latest - now).total_seconds()
    found = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if behind_seconds > 1:
        found += f", {behind_seconds:.0f} s before the last change of a file"
    return Finding("clock", behind_seconds <= 1, found, "set the system's clock")


def _programs(directory: DataDirectory) -> Iterator[Finding]:
    setpriv = shutil.which("setpriv")
    yield Finding("setpriv", setpriv is not None, setpriv or "not found", "install util-linux")
    looked_up: tuple[tuple[str, Callable[[], str]], ...] = (
        (
            "postgres program",
            lambda: str(postgres_programs(directory.postgres).binaries / "postgres"),
        ),
        ("redis program", lambda: str(valkey_server())),
        ("milvus program", lambda: " ".join(milvus_command())),
    )
    for check, look_up in looked_up:
        try:
            yield Finding(check, True, look_up())
        except LocalStackError as error:
            yield Finding(check, False, str(error), "install LiftOS with its extra `local`")


def _data_directory(directory: DataDirectory) -> Iterator[Finding]:
    root = directory.root
    if not root.exists():
        yield Finding("data directory", True, f"{root} does not exist yet")
        return
    facts = root.stat()
    yield Finding(
        "data directory",
        facts.st_uid == os.geteuid() and not facts.st_mode & 0o066,
        f"{root} of user {facts.st_uid}, mode {facts.st_mode & 0o777:04o}",
        f"run as the user who owns it; nobody else may read it: `chmod go-rw {root}`",
    )
    if directory.secrets_file.exists():
        mode = directory.secrets_file.stat().st_mode & 0o777
        yield Finding(
            "secrets",
            mode == 0o600,
            f"{directory.secrets_file} has mode {mode:04o}",
            f"`chmod 600 {directory.secrets_file}`",
        )
    try:
        account = postgres_programs(directory.postgres).account
    except LocalStackError:
        return  # told as a missing program
    if account is not None:
        closed = closed_folder(directory.postgres, account)
        found = f"user {account.name}"
        if closed is not None:
            found += f", who passes through {closed} by a capability"
        yield Finding(
            "account of Postgres",
            closed is None or capability_to_pass() is not None,
            found,
            f"`chmod o+x {closed}`, or choose a data directory below /var/lib",
        )


def _ports(directory: DataDirectory) -> Iterator[Finding]:
    ours = {}
    if is_locked(directory) and directory.plan_file.exists():
        ours = dict(read_plan(directory).ports)
    for name, default in DEFAULT_PORTS.items():
        if name in ours:
            yield Finding(f"port of {name}", True, f"{ours[name]}, in use by this stack")
        elif is_free(default):
            yield Finding(f"port of {name}", True, f"{default} is free")
        else:
            yield Finding(
                f"port of {name}",
                False,
                f"{default} is taken by {port_owner(default)}",
                "stop that process, or use `--ports auto`",
            )


def _processes(directory: DataDirectory, status: StackStatus) -> Iterator[Finding]:
    if status.state in (StackState.STOPPED, StackState.FAILED, StackState.KILLED):
        yield _stale_files(directory, status)
        return
    yield Finding(
        "stack",
        status.state is StackState.HEALTHY,
        f"{status.state}, supervisor is process {status.supervisor_pid}",
        "wait for it, or read the logs of the processes named below",
    )
    for entry in status.processes:
        found = f"{entry.state} since {entry.since}, restarts: {entry.restarts}"
        if entry.detail:
            found += f": {entry.detail}"
        healthy = entry.state is ProcessState.HEALTHY
        yield Finding(f"process {entry.name}", healthy, found, f"read {entry.log_file}")


def _stale_files(directory: DataDirectory, status: StackStatus) -> Finding:
    """A pid file left by a crash stops Postgres only where another process has its number."""
    found = "not running"
    if status.state is StackState.KILLED:
        found += "; its supervisor was killed"
    pid_file = directory.postgres / str(POSTGRES_MAJOR) / "postmaster.pid"
    try:
        pid = int(pid_file.read_text(encoding="ascii").split("\n", 1)[0])
    except (OSError, ValueError):
        if status.detail:
            found = f"the last start failed: {status.detail}"
        return Finding("stack", status.state is not StackState.FAILED, found, "run `liftos up`")
    command_file = Path(f"/proc/{pid}/cmdline")
    try:
        command = command_file.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return Finding("stack", True, f"{found}; Postgres will recover from its end by force")
    return Finding(
        "stack",
        False,
        f"not running, but {pid_file} names process {pid} ({command.strip()[:200]})",
        f"if that is a Postgres on this directory, stop it; else delete {pid_file}",
    )


async def _stores(plan: Plan, directory: DataDirectory) -> list[Finding]:
    secrets = load_secrets(directory)
    core, module = core_postgres(secrets), module_postgres(secrets)

    async def redis(name: str, password: str) -> Finding:
        answer = await redis_command(HOST, plan.ports[name], password, "INFO server")
        facts = dict(line.split(":", 1) for line in answer.splitlines() if ":" in line)
        version = facts["redis_version"]
        found = f"compatible with Redis {version}, Valkey {facts.get('valkey_version', '?')}"
        return Finding(name, int(version.split(".")[0]) >= 7, found, "Redis 7 is needed")

    async def milvus() -> Finding:
        version = await milvus_version(plan.address("milvus"))
        collections = await milvus_collections(plan.address("milvus"))
        return Finding("milvus", True, f"{version}, collections: {len(collections)}")

    findings = [
        *await _asked("postgres", lambda: _postgres(core.admin_url(plan, core.database))),
        *await _asked("redis", lambda: _one(redis("redis", secrets.redis_password))),
        *await _asked("milvus", lambda: _one(milvus())),
    ]
    if plan.module_org is not None:
        findings += [
            *await _asked(MODULE_POSTGRES, lambda: _module_postgres(module.admin_url(plan))),
            *await _asked(
                MODULE_REDIS, lambda: _one(redis(MODULE_REDIS, secrets.module_redis_password))
            ),
        ]
    return findings


async def _one(finding: Awaitable[Finding]) -> list[Finding]:
    return [await finding]


async def _asked(check: str, ask: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    try:
        async with asyncio.timeout(5):
            return await ask()
    except (OSError, asyncpg.PostgresError, grpc.RpcError, ProbeError) as error:
        found = f"does not answer ({type(error).__name__}: {error})"[:300]
        return [Finding(check, False, found, "see its log; the supervisor starts it again")]


async def _postgres(admin_url: str) -> list[Finding]:
    connection = await asyncpg.connect(admin_url, timeout=5)
    try:
        server = await _server("postgres", connection)
        schemas = await connection.fetch(
            "select relnamespace::regnamespace::text as name from pg_class "
            "where relname = $1 and relkind = 'r'",
            _SCHEMA_TABLE,
        )
        versions = [
            # The name comes quoted from the catalogue.
            f"{row['name']} {await connection.fetchval(_version_query(row['name']))}"
            for row in schemas
        ]
    finally:
        await connection.close()
    return [
        server,
        Finding(
            "schema",
            bool(versions),
            ", ".join(versions) or f"database {DATABASE} has no schema yet",
            "start the services once: `liftos up` migrates",
        ),
    ]


async def _module_postgres(admin_url: str) -> list[Finding]:
    connection = await asyncpg.connect(admin_url, timeout=5)
    try:
        return [await _server(MODULE_POSTGRES, connection)]
    finally:
        await connection.close()


async def _server(name: str, connection: asyncpg.Connection) -> Finding:
    number = int(await connection.fetchval("show server_version_num"))
    level = await connection.fetchval("show wal_level")
    return Finding(
        name,
        number >= POSTGRES_MAJOR * 10_000 and level == "logical",
        f"version {number // 10_000}.{number % 10_000}, wal_level {level}",
        f"Postgres {POSTGRES_MAJOR} with wal_level logical is needed",
    )


def _version_query(schema: str) -> str:
    return f"select max(version) from {schema}.{_SCHEMA_TABLE}"  # noqa: S608


def _available_memory_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0

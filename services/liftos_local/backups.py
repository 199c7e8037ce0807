"""Backups of Core's Postgres: of the stack of a data directory, or of a server elsewhere.

Postgres is the truth, and all that is kept. Redis and Milvus follow it: a restore empties them.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import asyncpg

from liftos_kit.dumps.dumping import DumpRequest, take_dump
from liftos_kit.dumps.errors import DumpError, DumpProblem
from liftos_kit.dumps.restoring import drop_database, restore_dump, with_database
from liftos_kit.dumps.shelf import Dump, RestoreTest
from liftos_kit.dumps.sums import Progress, connected, tables_of
from liftos_local.directory import (
    DataDirectory,
    Secrets,
    is_locked,
    load_secrets,
    read_secrets,
    save_secrets,
)
from liftos_local.errors import DataDirectoryError
from liftos_local.plan import ADMIN_ROLE, DATABASE, read_plan
from liftos_local.ports import PortPlan
from liftos_local.stack import start

RESTORING: Final = "liftos_restoring"
REPLACED: Final = "liftos_replaced"
_KEYS: Final = ("ingestion_key", "memory_key")
_DIGEST_CHARACTERS: Final = 16


def backup_directory(data_dir: Path) -> Path:
    """Return where backups of a data directory are kept: beside it, since it may be lost."""
    return data_dir.with_name(f"{data_dir.name}-backups")


@contextmanager
def postgres_of(data_dir: Path) -> Iterator[str]:
    """Yield the address of a stack's database for a role that may do everything.

    Where nothing runs, the stores run for as long as the block does.

    Raises:
        LocalStackError: They cannot be started.
    """
    directory = DataDirectory(data_dir.absolute())
    if is_locked(directory):
        secrets = load_secrets(directory)
        yield read_plan(directory).postgres_url(ADMIN_ROLE, secrets.postgres_admin_password)
        return
    with start(data_dir, ports=PortPlan.automatic(), stores_only=True) as stack:
        yield stack.postgres_admin_url(DATABASE)


async def back_up(
    url: str, backups: Path, keys: Mapping[str, str], *, jobs: int, on_progress: Progress
) -> Dump:
    """Dump the whole database: all schemas, with owners, rights and row-level security.

    Args:
        url: Its address, for a role that reads past row-level security.
        backups: Where backups are kept.
        keys: `key_digests` of the secrets that what it holds is encrypted with.
        jobs: Tables at a time.
        on_progress: Told how far it is.

    Raises:
        DumpError: It did not work out; nothing of it is left then.
    """
    request = DumpRequest(has_access=True, jobs=jobs, labels=keys)
    return await take_dump(url, backups, request, on_progress=on_progress)


def key_digests(secrets: Secrets) -> dict[str, str]:
    """Return digests of the keys that stored credentials are encrypted with, to tell keys apart."""
    return {
        name: hashlib.sha256(getattr(secrets, name).encode()).hexdigest()[:_DIGEST_CHARACTERS]
        for name in _KEYS
    }


def take_keys(data_dir: Path, kept: Path) -> None:
    """Give a data directory, whose stack does not run, the keys of a kept `secrets.json`.

    Raises:
        DataDirectoryError: The file has none.
    """
    directory = DataDirectory(data_dir.absolute())
    found = read_secrets(kept)
    if any(not found.get(name) for name in _KEYS):
        raise DataDirectoryError(
            kept, "has no keys of LiftOS", advice="name a copy of the lost secrets.json"
        )
    keys = {name: found[name] for name in _KEYS}
    save_secrets(directory, replace(load_secrets(directory), **keys))


async def has_tables(url: str) -> bool:
    """Tell whether a database, which may not be there, holds any table.

    Raises:
        DumpError: Postgres does not answer.
    """
    async with connected(with_database(url, "postgres")) as server:
        name = url.rpartition("/")[2].partition("?")[0]
        if not await server.fetchval("select 1 from pg_database where datname = $1", name):
            return False
    async with connected(url) as connection:
        return bool(await tables_of(connection, ()))


async def restore_beside(
    url: str, backup: Dump, *, jobs: int, on_progress: Progress
) -> RestoreTest:
    """Restore a backup into a database beside the one of an address, which stays as it is.

    Raises:
        DumpError: It did not work out, or is not what was backed up; nothing is left then.
    """
    server = with_database(url, "postgres")
    return await restore_dump(server, backup, RESTORING, jobs=jobs, on_progress=on_progress)


async def put_in_place(url: str) -> None:
    """Let what `restore_beside` made take the place of the database, which is dropped.

    Raises:
        DumpError: Somebody is connected to it; nothing was changed then.
    """
    server = with_database(url, "postgres")
    async with connected(url) as connection:
        name: str = await connection.fetchval("select current_database()")
    await drop_database(server, REPLACED)
    async with connected(server) as connection:
        try:
            # Both or none: whoever is cut off here finds the one or the other.
            async with connection.transaction():
                await connection.execute(f'alter database "{name}" rename to {REPLACED}')
                await connection.execute(f'alter database {RESTORING} rename to "{name}"')
        except asyncpg.ObjectInUseError as error:
            raise DumpError(
                DumpProblem.LOCKED,
                "somebody is connected to the database that is to be replaced",
                remedy="stop all services and other sessions, and try again",
            ) from error
    await drop_database(server, REPLACED)


def empty_followers(data_dir: Path) -> None:
    """Delete what Redis and Milvus of a stack hold, which does not run; the worker fills them."""
    directory = DataDirectory(data_dir.absolute())
    for folder in (directory.redis, directory.milvus):
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

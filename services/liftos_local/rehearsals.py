"""A second stack beside a running one, whose source is a restored copy of a module's database."""

import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from liftos_kit.dumps.dumping import DumpRequest, take_dump
from liftos_kit.dumps.restoring import restore_dump, with_database
from liftos_kit.dumps.shelf import Dump
from liftos_kit.dumps.sums import Progress
from liftos_local.directory import DataDirectory, is_locked, load_secrets
from liftos_local.errors import LocalStackError
from liftos_local.plan import SERVICES, read_plan, source_environment, write_plan
from liftos_local.ports import PortPlan
from liftos_local.stack import Stack, start

_SERVICES: Final = ("memory", "memory-worker", "migration", "migration-worker")
_DATABASE: Final = "rehearsed_source"


@dataclass(frozen=True, slots=True)
class RehearsedSource:
    """What the rehearsed migration finds where the real one finds its source.

    Attributes:
        org: Whose migration it is.
        database_reference: Variable that a copy of the source's database stands behind.
        variables: Other variables that it names, which are read and not copied, such as Redis.
        files: Folder of the files that it names; None where it names none.
    """

    org: str
    database_reference: str
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Path | None = None


def known_variables(data_dir: Path) -> dict[str, str]:
    """Return variables in which this process finds addresses of sources: its own and the stack's.

    Raises:
        DataDirectoryError: The data directory is of another user.
    """
    directory = DataDirectory(data_dir.absolute())
    if not is_locked(directory):
        return dict(os.environ)
    return source_environment(read_plan(directory), load_secrets(directory)) | dict(os.environ)


async def copy_source(
    url: str, schemas: tuple[str, ...], folder: Path, *, on_progress: Progress
) -> Dump:
    """Dump a source, as a snapshot of it is taken.

    Raises:
        DumpError: It did not work out.
    """
    return await take_dump(url, folder, DumpRequest(schemas=schemas), on_progress=on_progress)


@asynccontextmanager
async def rehearsal_stack(
    data_dir: Path, source: RehearsedSource, copy: Dump, *, on_progress: Progress
) -> AsyncIterator[Stack]:
    """Run Memory and Migration on a data directory of their own, with a restored copy as source.

    Args:
        data_dir: New or empty.
        source: Where the migration looks for its source.
        copy: What is restored; compared with what was dumped.
        on_progress: Told how far it is.

    Raises:
        DumpError: The copy could not be restored.
        LocalStackError: The stack does not start.
    """
    ports = PortPlan.automatic()
    with start(data_dir, ports=ports, stores_only=True) as stores:
        server = stores.postgres_admin_url()
        await restore_dump(server, copy, _DATABASE, on_progress=on_progress)
    if source.files is not None:
        shutil.copytree(source.files, DataDirectory(data_dir).files / source.org)
    variables = {
        **source.variables,
        source.database_reference: with_database(server, _DATABASE),
    }
    granted = ",".join(f"{source.org}:{name}" for name in variables)
    settings = variables | {"LIFTOS_SOURCE_ENVIRONMENT_PREFIXES": granted}
    catalogue = {
        name: replace(spec, settings=settings) if spec.module == "liftos_migration" else spec
        for name, spec in SERVICES.items()
    }
    # The stores come back to the ports that they had, unless somebody took one in between.
    with start(data_dir, ports=ports, services=_SERVICES, catalogue=catalogue) as stack:
        if stack.postgres_admin_url() != server:
            raise LocalStackError("somebody took a port of the rehearsal; try again")
        _forget_settings(DataDirectory(stack.data_dir))
        yield stack


def _forget_settings(directory: DataDirectory) -> None:
    """Take addresses with passwords out of the plan, which its supervisor has read by now."""
    plan = read_plan(directory)
    services = [replace(spec, settings={}) for spec in plan.services]
    write_plan(replace(plan, services=services), directory)

"""What Migration is told by its environment."""

import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from liftos_kit.secrets.credentials import GrantsInvalidError, parse_granted_prefixes
from liftos_kit.settings import CallerSettings, Port
from liftos_migration.adapters.source.references import SourceReferences


class MigrationSettings(CallerSettings):
    """Settings of Migration's server, worker and schema runner."""

    port: Port = 8010
    postgres_connections: Annotated[int, Field(ge=4, le=200)] = 12
    """Connections to Core's Postgres per process, at most."""

    worker_name: str = ""
    """Told in the ledger; the host and the process if unset."""
    worker_concurrency: Annotated[int, Field(ge=1, le=50)] = 16
    """Migrations that one worker advances or keeps up with their source. One that copies holds a
    few batches for each of its connections, one that keeps up hardly anything."""
    lease_seconds: Annotated[float, Field(ge=1, le=300, allow_inf_nan=False)] = 15.0
    """How long a migration stays with a worker that does not answer any more."""

    causal_address: str = ""
    """Where the Causal module answers from Core, as host:port; unset compares no answers."""
    source_environment_prefixes: str = ""
    """Which org may name which variables as its sources: `acme:CAUSAL_,acme:SHOP_`."""
    source_files_directory: Path | None = None
    """Folder with a folder for each org, of configuration files of its sources."""
    snapshot_directory: Path | None = None
    """Where snapshots of sources are kept; unset takes none, and migrations cannot go on."""
    snapshot_restore_url: SecretStr | None = None
    """Server on which snapshots are restored to test them, for a role that may create databases."""
    snapshot_maximum_age_seconds: Annotated[float, Field(ge=60, allow_inf_nan=False)] = 86_400.0
    """How old a snapshot may be that later steps still rest on."""
    snapshot_jobs: Annotated[int, Field(ge=1, le=16)] = 2
    """Tables that a snapshot reads, and its test restores, at a time."""

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, problem) for rules between fields."""
        yield from super().check()
        if self.postgres_url is None:
            yield "postgres_url", "Migration needs it"
        try:
            parse_granted_prefixes(self.source_environment_prefixes)
        except GrantsInvalidError as error:
            yield "source_environment_prefixes", error.problem
        for field in ("source_files_directory", "snapshot_directory"):
            path: Path | None = getattr(self, field)
            if path is not None and not path.is_dir():
                yield field, f"{path} is no folder"
        if self.snapshot_directory is not None and self.snapshot_restore_url is None:
            yield "snapshot_restore_url", "a snapshot counts only once it was restored there"

    @property
    def effective_worker_name(self) -> str:
        """The worker's name: as set, else made of host and process."""
        return self.worker_name or f"{socket.gethostname()}:{os.getpid()}"

    def source_references(self, environment: Mapping[str, str] = os.environ) -> SourceReferences:
        """Return where this process finds the addresses of sources."""
        return SourceReferences(
            environment, parse_granted_prefixes(self.source_environment_prefixes)
        )


class MigrateSettings(MigrationSettings):
    """Settings of `python -m liftos_migration migrate`, which needs the owner's Postgres alone."""

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, problem) for rules between fields."""
        if self.postgres_owner_url is None:
            yield "postgres_owner_url", "the schema runner needs it"

"""What Ingestion is told by its environment."""

import os
import socket
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import Field

from liftos_kit.settings import CallerSettings, NotificationSettings, Port, SecretSettings


class IngestionSettings(CallerSettings, SecretSettings, NotificationSettings):
    """Settings of Ingestion's server, worker and schema runner."""

    port: Port = 8006
    postgres_connections: Annotated[int, Field(ge=4, le=200)] = 20
    """Connections to Postgres per process, at most."""
    executor_threads: Annotated[int, Field(ge=1, le=64)] = 2
    """Threads that map rows, per process."""

    worker_name: str = ""
    """Told in the ledger; the host and the process if unset."""
    worker_concurrency: Annotated[int, Field(ge=1, le=200)] = 8
    """Slices that one worker reads at a time."""
    worker_mib_in_hand: Annotated[int, Field(ge=1, le=4096)] = 8
    """MiB of answers, as they came, that all slices of a worker parse, map and write at a time."""
    verification_hours: Annotated[float, Field(gt=0, le=720, allow_inf_nan=False)] = 24.0
    """How long a connection goes unverified, at most; to verify it renews what is about to end."""

    meta_url: str = "https://graph.facebook.com"
    meta_version: str = "v26.0"
    meta_version_end_date: date | None = None
    google_ads_address: str = "googleads.googleapis.com:443"
    google_ads_plaintext: bool = False
    """For a simulator on this machine; the real address speaks TLS."""
    google_ads_token_url: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
    google_ads_version_end_date: date | None = None
    klaviyo_url: str = "https://a.klaviyo.com"
    klaviyo_revision: str = "2026-10-15"
    klaviyo_revision_end_date: date | None = None
    platform_timeout_seconds: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)] = 60.0
    """Longest silence of a platform within one call."""
    source_files_directory: Path | None = None
    """Folder with a folder for each org, of files that its sources may read; unset allows none."""
    allow_private_addresses: bool = False
    """Whether declarative sources and object stores may be at addresses of private networks."""

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, problem) for rules between fields."""
        yield from super().check()
        for field in ("postgres_url", "redis_url"):
            if getattr(self, field) is None:
                yield field, "Ingestion needs it"
        directory = self.source_files_directory
        if directory is not None and not directory.is_dir():
            yield "source_files_directory", f"{directory} is no directory"

    @property
    def effective_worker_name(self) -> str:
        """The worker's name: as set, else made of host and process."""
        return self.worker_name or f"{socket.gethostname()}:{os.getpid()}"


class MigrateSettings(IngestionSettings):
    """Settings of `python -m liftos_ingestion migrate`.

    It may be given the whole environment of Ingestion and needs the owner's Postgres alone.
    """

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, problem) for rules between fields."""
        if self.postgres_owner_url is None:
            yield "postgres_owner_url", "the schema runner needs it"

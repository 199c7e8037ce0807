"""What sees changes of a source and what stops them, by mode."""

from collections.abc import Mapping, Sequence
from typing import Any

from liftos_migration.adapters.source.freezing import Fence
from liftos_migration.adapters.source.log import SQL, Connect, LogCapture
from liftos_migration.adapters.source.outbox import OutboxCapture
from liftos_migration.capture_ports import (
    Capture,
    CaptureStatus,
    Changes,
    Horizon,
    SourceIdentity,
)
from liftos_migration.domain.changes import DirtyRecords, Watched
from liftos_migration.domain.preflight import CaptureMode


class PostgresTools:
    """See `liftos_migration.usecases.preparing.SourceTools`."""

    def capture(
        self,
        source: Any,  # noqa: ANN401 - any that opens connections
        mode: CaptureMode,
        name: str,
        watched: Watched,
        columns: Mapping[str, tuple[str, ...]],
    ) -> Capture:
        """Return what sees changes."""
        match mode:
            case CaptureMode.LOG | CaptureMode.LOG_STREAM:
                return LogCapture(source.connect, name, watched, columns=columns)
            case CaptureMode.TRIGGER:
                return OutboxCapture(source.connect, name, watched)
            case CaptureMode.FREEZE:
                return NoCapture(source.connect, name)

    def fence(self, source: Any, name: str, tables: Sequence[str]) -> Fence:  # noqa: ANN401
        """Return what refuses writes to tables."""
        return Fence(source.connect, name, tables)


class NoCapture:
    """Sees nothing, since nothing changes; see `liftos_migration.capture_ports.Capture`."""

    def __init__(self, connect: Connect, name: str) -> None:
        self._connect = connect
        self._name = name

    async def prepare(self) -> SourceIdentity:
        """Return which source it is."""
        async with self._connect() as connection:
            server = await SQL.server_identity(connection)
            return SourceIdentity(server["system"], server["timeline"], self._name)

    async def check(self, identity: SourceIdentity) -> CaptureStatus:
        """Say how the source is doing."""
        del identity
        async with self._connect() as connection:
            status = await SQL.status(connection)
            return CaptureStatus(
                0, status["oldest_transaction_seconds"], status["replica_lag_seconds"]
            )

    async def read(self, horizon: Horizon) -> Changes:
        """Return none."""
        del horizon
        return Changes(DirtyRecords(), "", complete=True, count=0)

    async def forget(self, position: str) -> None:
        """Do nothing."""

    async def remove(self) -> None:
        """Do nothing."""

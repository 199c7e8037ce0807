"""Preparing a source: changes are kept from here on, and what was made is taken back by `undo`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from liftos_migration.capture_ports import Capture, SourceForbidsError, WritersWaitedForError
from liftos_migration.copy_ports import CopyLedger, KeptCapture, RowReader
from liftos_migration.domain.changes import Watched
from liftos_migration.domain.ledger import JsonObject
from liftos_migration.domain.moving import (
    MovedTable,
    columns_told,
    moved_tables,
    source_name,
    watched,
)
from liftos_migration.domain.preflight import CaptureMode
from liftos_migration.domain.states import MigrationState
from liftos_migration.ledger_ports import Ledger
from liftos_migration.usecases.steps import StepContext, StepFailedError


@dataclass(frozen=True, slots=True)
class Moving:
    """What moves, as the source has it now.

    Attributes:
        tables: Those that become something of their own.
        watched: What changes of each table make dirty.
        columns: Of each table, those that its log tells.
        schema: Columns and keys of all tables, as text.
    """

    tables: tuple[MovedTable, ...]
    watched: Watched
    columns: Mapping[str, tuple[str, ...]]
    schema: Mapping[str, Sequence[str]]

    def table(self, name: str) -> MovedTable:
        """Return a table by its name."""
        return next(each for each in self.tables if each.name == name)


class Fence(Protocol):
    """Refuses writes to the source; see `liftos_migration.adapters.source.freezing`."""

    async def install(self) -> None:
        """Put it in, open."""
        ...

    async def close(self, epoch: int, reason: str) -> str:
        """Refuse writes from now on."""
        ...

    async def open(self) -> None:
        """Let writes through."""
        ...

    async def remove(self) -> None:
        """Take it out."""
        ...


class SourceTools(Protocol):
    """Makes what sees changes of a source, and what stops them."""

    def capture(
        self,
        source: Any,  # noqa: ANN401
        mode: CaptureMode,
        name: str,
        watched: Watched,
        columns: Mapping[str, tuple[str, ...]],
    ) -> Capture:
        """Return what sees changes; FREEZE sees none, since there are none."""
        ...

    def fence(self, source: Any, name: str, tables: Sequence[str]) -> Fence:  # noqa: ANN401
        """Return what refuses writes to tables."""
        ...


async def moving(context: StepContext, reader: RowReader) -> Moving:
    """Find out what moves.

    Raises:
        StepFailedError: A table of the mapping is not there.
    """
    schemas = context.spec.source.schemas
    async with context.source.snapshot() as (connection, _):
        inventory = await reader.inventory(connection, schemas)
        try:
            tables = moved_tables(context.mapping, inventory, context.org)
        except KeyError as error:
            raise StepFailedError(
                "TABLE_MISSING",
                f"The mapping has the table {error.args[0]}, and the source has not.",
                "Leave it out of the mapping, or bring it back, and resume.",
            ) from error
        reads = {table.name: await reader.reads(connection, table, context.org) for table in tables}
        schema = await reader.schema(connection, schemas)
    return Moving(tables, watched(context.mapping, tables, reads), columns_told(inventory), schema)


class PrepareCapture:
    """Keeps changes of the source from here on; see `liftos_migration.usecases.steps.StepWork`.

    Args:
        reader: Reads the source.
        tools: Makes what sees changes.
        ledger: Where the migration is.
        copies: Where it is kept what sees them.
    """

    title = "see changes of the source"
    phase = MigrationState.PREPARED

    def __init__(
        self, reader: RowReader, tools: SourceTools, ledger: Ledger, copies: CopyLedger
    ) -> None:
        self._reader = reader
        self._tools = tools
        self._ledger = ledger
        self._copies = copies

    async def do(self, context: StepContext) -> JsonObject:
        """Make what sees changes, anew where changes were lost."""
        await context.core.fence()
        found = await moving(context, self._reader)
        mode = await self._mode(context)
        generation = (await self._ledger.read(context.lease)).generation
        before = await self._copies.capture(context.lease)
        try:
            if before is not None and before.generation < generation:
                await self._taken_back(context, before.mode, found)
            if mode is CaptureMode.FREEZE:
                fence = self._fence(context, found)
                await fence.install()
                await fence.close(context.epoch, "This data is being moved")
            identity = await self._capture(context, mode, found).prepare()
        except WritersWaitedForError as error:
            raise _waited(error) from error
        except SourceForbidsError as error:
            raise StepFailedError(
                "SOURCE_FORBIDS",
                error.problem,
                f"Let the owner of the tables run: {error.statement}. Then resume.",
            ) from error
        kept = KeptCapture(mode, identity, found.schema, generation)
        await self._copies.keep_capture(context.lease, kept)
        return {"mode": mode.name, "capture": identity.capture, "system": identity.system,
                "timeline": identity.timeline, "tables": sorted(found.watched)}  # fmt: skip

    async def verify(self, context: StepContext) -> None:
        """Check that it is there."""
        found = await moving(context, self._reader)
        kept = await self._copies.capture(context.lease)
        if kept is None:
            raise StepFailedError("NOT_PREPARED", "Nothing sees changes.", "Resume to try again.")
        await self._capture(context, kept.mode, found).check(kept.identity)

    async def undo(self, context: StepContext) -> None:
        """Take it out of the source, without a trace; does nothing where there is nothing."""
        kept = await self._copies.capture(context.lease)
        if kept is None:
            return
        found = await moving(context, self._reader)
        try:
            await self._taken_back(context, kept.mode, found)
        except WritersWaitedForError as error:
            raise _waited(error) from error

    async def _taken_back(self, context: StepContext, mode: CaptureMode, found: Moving) -> None:
        await self._capture(context, mode, found).remove()
        if mode is CaptureMode.FREEZE:
            await self._fence(context, found).remove()

    async def _mode(self, context: StepContext) -> CaptureMode:
        if context.spec.capture_mode is not None:
            return context.spec.capture_mode
        modes = await self._copies.capture_modes(context.lease)
        if not modes:
            raise StepFailedError(
                "NO_CAPTURE_MODE",
                "Preflight found no way to see changes of the source.",
                "Do what its findings say, and resume.",
            )
        # Freezing stops the module, which a person has to want.
        return modes[0]

    def _capture(self, context: StepContext, mode: CaptureMode, found: Moving) -> Capture:
        name = source_name(context.org, context.migration)
        return self._tools.capture(context.source, mode, name, found.watched, found.columns)

    def _fence(self, context: StepContext, found: Moving) -> Fence:
        name = source_name(context.org, context.migration)
        return self._tools.fence(context.source, name, sorted(found.watched))


def _waited(error: WritersWaitedForError) -> StepFailedError:
    return StepFailedError("SOURCE_BUSY", str(error), "")

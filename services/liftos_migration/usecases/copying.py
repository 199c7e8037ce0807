"""Copying: every table in parts by key range, each part in chunks, each chunk kept once answered.

A part is read from its own snapshots, which are all younger than what sees changes. From time to
time all parts stop at a chunk, and changes are applied: the source may forget them then, and no
snapshot gets old.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from liftos_kit.core.errors import StoreUnavailableError
from liftos_migration.copy_ports import (
    Chunk,
    CopyLedger,
    Part,
    RowReader,
    RowUnreadableError,
    WholeTables,
)
from liftos_migration.domain.changes import Key
from liftos_migration.domain.ledger import JsonObject
from liftos_migration.domain.migrations import MigrationProgress, TableProgress
from liftos_migration.domain.moving import MovedTable, part_count
from liftos_migration.domain.rejects import Reject
from liftos_migration.domain.states import MigrationState
from liftos_migration.failpoints import failpoint
from liftos_migration.ledger_ports import LeaseLostError
from liftos_migration.usecases.catching_up import CatchingUp, told
from liftos_migration.usecases.delivering import Delivery, delivering
from liftos_migration.usecases.preparing import Moving, moving
from liftos_migration.usecases.rejecting import WINDOW, read_around, rejected
from liftos_migration.usecases.steps import StepContext, StepFailedError
from liftos_migration.usecases.throttling import Pacing

_SNAPSHOT_SECONDS: Final = 300.0
"""How old a snapshot gets; an old one keeps the source from cleaning up."""
_LOOK_SECONDS: Final = 1.0


@dataclass(slots=True)
class _Leg:
    """Copying between two applications of changes; `over` asks parts to stop at a chunk."""

    over: asyncio.Event = field(default_factory=asyncio.Event)


class CopyTables:
    """Copies all tables; see `liftos_migration.usecases.steps.StepWork`.

    Args:
        reader: Reads the source.
        copies: Keeps what was copied and refused.
        catching_up: Applies changes between legs.
        whole: Writes tables that become one artifact.
        snapshot_seconds: How old a snapshot gets.
    """

    title = "copy tables"
    phase = MigrationState.COPYING

    def __init__(
        self,
        reader: RowReader,
        copies: CopyLedger,
        catching_up: CatchingUp,
        whole: WholeTables,
        *,
        snapshot_seconds: float = _SNAPSHOT_SECONDS,
    ) -> None:
        self._reader = reader
        self._copies = copies
        self._catching_up = catching_up
        self._whole = whole
        self._snapshot_seconds = snapshot_seconds

    async def do(self, context: StepContext) -> JsonObject:
        """Copy what is not copied yet."""
        await context.core.fence()
        found = await moving(context, self._reader)
        tables = [table for table in found.tables if table.has_records]
        async with context.source.snapshot() as (connection, _):
            await self._catching_up.check_schema(context, connection)
        for table in tables:
            await self._cut(context, table)
        pacing = await self._catching_up.pacing(context, copies=True)
        while True:
            parts = [part for each in tables for part in await self._parts(context, each)]
            open_parts = [part for part in parts if not part.is_done]
            _tell(context, found.tables, parts)
            if not open_parts:
                break
            await self._leg(context, found, open_parts, pacing)
            context.check_stop()
            await self._catching_up.round(context, found)
            while await pacing.stops() and not context.stop.is_set():
                # Somebody keeps the source from forgetting changes that were applied.
                await asyncio.sleep(_LOOK_SECONDS)
                await self._catching_up.round(context, found)
        wholes = [table for table in found.tables if not table.has_records]
        rows = sum(part.row_count for part in parts)
        for table in wholes:
            context.check_stop()
            async with context.source.snapshot() as (connection, _):
                rows += await self._whole.write_artifact(context, connection, table)
        return {
            "rows": rows,
            "chunks": sum(part.chunk_count for part in parts),
            "parts": len(parts),
            "rejects": await self._copies.open_rejects(context.lease),
        }

    async def verify(self, context: StepContext) -> None:
        """Check that every part was copied to its end; that values are equal is verified later."""
        found = await moving(context, self._reader)
        for table in found.tables:
            if table.has_records:
                parts = await self._parts(context, table)
                if not parts or not all(part.is_done for part in parts):
                    raise StepFailedError(
                        "NOT_COPIED", f"{table.name} is not copied whole.", "Resume to go on."
                    )

    async def undo(self, context: StepContext) -> None:
        """Delete what was written to Core, where that is asked for; else it stays for later."""
        if context.purge:
            await context.core.purge()

    async def _cut(self, context: StepContext, table: MovedTable) -> None:
        if await self._copies.parts(context.lease, table.name):
            return
        count = part_count(table.item.row_count, context.spec.throttle.maximum_connections - 1)
        bounds: Sequence[Key] = ()
        if count > 1:
            async with context.source.snapshot() as (connection, _):
                step = -(-table.item.row_count // count)
                bounds = await self._reader.bounds(connection, table.projection, step)
        await self._copies.cut(
            context.lease, table.name, bounds[: count - 1], row_count=table.item.row_count
        )

    async def _parts(self, context: StepContext, table: MovedTable) -> Sequence[Part]:
        return await self._copies.parts(context.lease, table.name)

    async def _leg(
        self, context: StepContext, found: Moving, parts: Sequence[Part], pacing: Pacing
    ) -> None:
        """Copy parts until all are done, or until it is time to apply changes."""
        leg = _Leg()
        # One is left for what sees changes.
        free = asyncio.Semaphore(max(1, context.spec.throttle.maximum_connections - 1))

        async def one(part: Part) -> None:
            async with free:
                if leg.over.is_set() or context.stop.is_set():
                    return
                with told():
                    await self._part(context, found, part, (leg, pacing))

        async def end() -> None:
            await asyncio.sleep(self._snapshot_seconds)
            leg.over.set()

        ending = asyncio.create_task(end())
        try:
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    group.create_task(one(part))
        except ExceptionGroup as failed:
            raise _first(failed) from None
        finally:
            ending.cancel()

    async def _part(
        self, context: StepContext, found: Moving, part: Part, at: tuple[_Leg, Pacing]
    ) -> None:
        table = found.table(part.table)
        stream = f"{_plain(part.table)}/{part.number}"
        async with delivering(table.projection, context.core, stream) as delivery:
            copy = _PartCopy(
                self._reader,
                self._copies,
                context,
                delivery,
                part=part,
                tell_rate=partial(self._catching_up.tell_rate, context),
            )
            is_at_end = False
            while not (is_at_end or _is_over(context, at)):
                try:
                    async with context.source.snapshot() as (connection, _):
                        await self._catching_up.check_schema(context, connection)
                        is_at_end = await copy.run(connection, at)
                except StoreUnavailableError:
                    # A statement that is broken off takes its connection with it.
                    if not _is_over(context, at):
                        raise
            await copy.settle_all()
            if is_at_end:
                await self._copies.finished(context.lease, copy.part)


class _PartCopy:
    """One part on its way."""

    def __init__(
        self,
        reader: RowReader,
        copies: CopyLedger,
        context: StepContext,
        delivery: Delivery,
        *,
        part: Part,
        tell_rate: Callable[[int], None],
    ) -> None:
        self._tell_rate = tell_rate
        self._reader = reader
        self._copies = copies
        self._context = context
        self._projection = delivery.projection
        self._delivery = delivery
        self.part = part
        self._sent = part.last if part.last is not None else part.after

    async def run(self, connection: Any, at: tuple[_Leg, Pacing]) -> bool:  # noqa: ANN401
        """Copy from one snapshot; tell whether the end of the part was reached."""
        now = asyncio.get_running_loop().time
        began = now()
        try:
            wanted = self._reader.range(connection, self._projection, self._sent, self.part.up_to)
            async with aclosing(wanted) as batches:
                async for records in batches:
                    await self._delivery.write(records)
                    self._sent = records.keys[-1]
                    await self._settle()
                    await at[1].worked(now() - began)
                    began = now()
                    if _is_over(self._context, at):
                        return False
        except RowUnreadableError:
            return not await self._around(connection)
        return True

    async def settle_all(self) -> None:
        """Wait until Core has answered for all, and keep it."""
        await self._delivery.flush()
        await self._settle()

    async def _around(self, connection: Any) -> bool:  # noqa: ANN401
        """Copy a window with a record that cannot be read; tell whether anything was there."""
        keys = await self._reader.keys(
            connection, self._projection, self._sent, self.part.up_to, WINDOW
        )
        if not keys:
            return False
        batches, rejects = await read_around(self._reader, connection, self._projection, keys)
        await self.settle_all()
        for batch in batches:
            await self._delivery.write(batch)
        await self._delivery.flush()
        refused = list(rejects)
        digest = hashlib.sha256()
        for answered in self._delivery.answered():
            refused += await rejected(self._reader, connection, self._projection, answered.refused)
            digest.update(answered.records.sha256())
        await self._keep(keys[-1], len(keys), digest.digest(), refused)
        self._sent = keys[-1]
        return True

    async def _settle(self) -> None:
        """Keep chunks that Core has answered for."""
        for answered in self._delivery.answered():
            refused: Sequence[Reject] = ()
            if answered.refused:
                # The snapshot's own connection is busy with the rows that follow.
                async with self._context.source.snapshot() as (other, _):
                    refused = await rejected(
                        self._reader, other, self._projection, answered.refused
                    )
            keys = answered.records.keys
            digest = await asyncio.to_thread(answered.records.sha256)
            await self._keep(keys[-1], len(keys), digest, refused)

    async def _keep(
        self, last: Key, row_count: int, sha256: bytes, rejects: Sequence[Reject]
    ) -> None:
        part = self.part
        chunk = Chunk(part.chunk_count + 1, last, row_count, sha256)
        await failpoint("copy.before_chunk_commit")
        await self._copies.copied(
            self._context.lease, part, chunk, rejects, self._projection.key_columns
        )
        await failpoint("copy.after_chunk_commit")
        self.part = replace(
            part,
            last=last,
            chunk_count=chunk.number,
            row_count=part.row_count + row_count,
        )
        _tell_part(self._context, self.part, row_count, len(rejects))
        self._tell_rate(row_count)


def _first(failed: BaseExceptionGroup[Exception]) -> BaseException:
    """Return the failure of parts that says most: others may have followed from it."""
    for kind in (LeaseLostError, StepFailedError, StoreUnavailableError, Exception):
        found = failed.subgroup(kind)
        if found is not None:
            first: BaseException = found
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            return first
    return failed


def _is_over(context: StepContext, at: tuple[_Leg, Pacing]) -> bool:
    leg, pacing = at
    if pacing.asks_for_changes:
        leg.over.set()
    return leg.over.is_set() or context.stop.is_set()


def _plain(table: str) -> str:
    """Return a table's name as part of the name of a stream."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in table)[:100]


def _tell(context: StepContext, tables: Sequence[MovedTable], parts: Sequence[Part]) -> None:
    """Tell how far all tables are."""
    told = []
    for table in tables:
        own = [part for part in parts if part.table == table.name]
        told.append(
            TableProgress(
                table.name,
                row_count=table.item.row_count,
                exact=True,
                copied_count=sum(part.row_count for part in own),
                chunk_count=sum(part.chunk_count for part in own),
            )
        )
    context.progress(lambda progress: progress.with_tables(*told))


def _tell_part(context: StepContext, part: Part, row_count: int, reject_count: int) -> None:
    """Tell of one more chunk."""

    def counted(progress: MigrationProgress) -> MigrationProgress:
        own = next((it for it in progress.tables if it.table == part.table), None)
        own = own or TableProgress(part.table)
        return progress.with_tables(
            replace(
                own,
                copied_count=own.copied_count + row_count,
                chunk_count=own.chunk_count + 1,
                reject_count=own.reject_count + reject_count,
            )
        )

    context.progress(counted)

"""Catching up: what changed is read again in a snapshot, and written as that snapshot has it.

The log (or the outbox) tells what is dirty, the snapshot says what is true. After a round Core has
exactly what the snapshot sees, whatever came twice, in another order, or was cut off before.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from liftos_migration.capture_ports import (
    Capture,
    CaptureLostError,
    Changes,
    SchemaDriftError,
    WritersWaitedForError,
)
from liftos_migration.copy_ports import (
    NOT_COMPARABLE,
    CopyLedger,
    CoreRefusedError,
    Differing,
    KeptCapture,
    RowReader,
    WholeTables,
)
from liftos_migration.domain.changes import DirtyRecords, Key
from liftos_migration.domain.ledger import JsonObject
from liftos_migration.domain.migrations import MigrationProgress, TableProgress
from liftos_migration.domain.moving import MovedTable, schema_changes, source_name
from liftos_migration.domain.states import MigrationState
from liftos_migration.domain.throttle import Load
from liftos_migration.failpoints import failpoint
from liftos_migration.usecases.delivering import Applied, apply
from liftos_migration.usecases.preparing import Moving, SourceTools, moving
from liftos_migration.usecases.rejecting import unreadable_keys
from liftos_migration.usecases.steps import StepContext, StepFailedError
from liftos_migration.usecases.throttling import Meter, Pacing

_KEYS_AT_A_TIME: Final = 5_000
_IDLE_SECONDS: Final = 0.5
_BUSY_SECONDS: Final = 0.1
_MOVING_SECONDS: Final = 60.0
"""How long what was found to move counts; what reads tables beside its own can change."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did.

    Attributes:
        changes: Changes of the source that it took.
        applied: Records that it wrote or deleted.
        seconds: Since its snapshot.
        snapshot: What Core has all of, as the source writes it.
    """

    changes: int
    applied: int
    seconds: float
    snapshot: str


class CatchingUp:
    """Applies changes of sources, one round at a time for each migration.

    Args:
        reader: Reads the source.
        tools: Makes what sees changes.
        copies: Keeps what was refused, and how far it is.
        whole: Compares whole tables.
        latency: Measures how fast a source's module answers, in seconds; None where nobody asks.
    """

    def __init__(
        self,
        reader: RowReader,
        tools: SourceTools,
        copies: CopyLedger,
        whole: WholeTables,
        *,
        latency: Callable[[StepContext], Awaitable[float | None]],
    ) -> None:
        self._reader = reader
        self._tools = tools
        self._copies = copies
        self._whole = whole
        self._latency = latency
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}
        self._meters: dict[tuple[str, str], Meter] = {}
        self._touched: dict[tuple[str, str], DirtyRecords] = {}

    async def round(self, context: StepContext, found: Moving | None = None) -> Round:
        """Bring Core to what the source is now.

        Raises:
            StepFailedError: It cannot: changes are lost, or the schema is another one.
            StoreUnavailableError: A store does not answer.
        """
        async with self.aligned(context, found) as (_, done):
            return done

    @asynccontextmanager
    async def aligned(
        self, context: StepContext, found: Moving | None = None
    ) -> AsyncIterator[tuple[Any, Round]]:
        """Yield a snapshot of the source that Core equals, for as long as nothing is applied.

        Args:
            context: Of the step.
            found: What moves; found out where it is not given.
        """
        lock = self._locks.setdefault((context.org, context.migration), asyncio.Lock())
        async with lock:
            moved = found or await moving(context, self._reader)
            kept = await self._kept(context)
            capture = self._capture(context, kept, moved)
            while True:
                async with _telling(), context.source.snapshot() as (connection, horizon):
                    now = asyncio.get_running_loop().time
                    began = now()
                    await self.check_schema(context, connection)
                    whole_first = kept.round_count == 0 and kept.generation > 1
                    taken, applied = 0, 0
                    if whole_first:
                        applied += await self._whole_tables(
                            context, connection, moved, [table.name for table in moved.tables]
                        )
                    complete = False
                    while not complete:
                        changes = await capture.read(horizon)
                        applied += await self._apply(context, connection, moved, changes)
                        taken += changes.count
                        await failpoint("catch_up.before_forget")
                        if changes.position:
                            await capture.forget(changes.position)
                        complete = changes.complete
                        if not complete and not changes.position:
                            # What blocks is seen by a later snapshot alone.
                            break
                    if complete:
                        await self._copies.caught_up(
                            context.lease, snapshot=horizon.snapshot, applied=applied
                        )
                        yield connection, Round(taken, applied, now() - began, horizon.snapshot)
                        return

    def track(self, context: StepContext) -> None:
        """Remember from here on which records are written; call it while both sides are held."""
        self._touched[context.org, context.migration] = DirtyRecords()

    def touched(self, context: StepContext) -> DirtyRecords | None:
        """Return the records that were written since `track`; None where that was not called."""
        return self._touched.get((context.org, context.migration))

    async def mend(self, context: StepContext, names: Sequence[str] = ()) -> int:
        """Compare whole tables with Core, and write again what differs; return how many records.

        Args:
            context: Of the step.
            names: Which tables; none means all.

        Raises:
            StepFailedError, StoreUnavailableError: See `round`.
        """
        found = await moving(context, self._reader)
        wanted = [table.name for table in found.tables if not names or table.name in names]
        async with self.aligned(context, found) as (connection, _):
            return await self._whole_tables(context, connection, found, wanted)

    def tell_rate(self, context: StepContext, rows: int) -> None:
        """Tell how fast rows are copied and applied, these among them."""
        meter = self._meters.setdefault((context.org, context.migration), Meter())
        rate = meter.rate(rows)
        context.progress(lambda it: replace(it, rows_per_second=rate))

    async def check_schema(self, context: StepContext, connection: Any) -> None:  # noqa: ANN401
        """Check that columns and keys are those that the mapping was made for.

        Raises:
            StepFailedError: They are not.
        """
        kept = await self._kept(context)
        schema = await self._reader.schema(connection, context.spec.source.schemas)
        if changes := schema_changes(kept.schema, schema):
            raise _drifted(changes)

    async def pacing(self, context: StepContext, *, copies: bool) -> Pacing:
        """Return what slows work down, as the migration's limits ask."""
        found = await moving(context, self._reader)
        kept = await self._kept(context)
        capture = self._capture(context, kept, found)

        async def measure() -> Load:
            with told():
                status = await capture.check(kept.identity)
            context.progress(lambda it: replace(it, retained_bytes=status.retained_bytes))
            return Load(
                await self._latency(context),
                status.replica_lag_seconds,
                status.retained_bytes,
                status.oldest_transaction_seconds,
            )

        def tell(reason: str) -> None:
            context.progress(lambda it: replace(it, throttle_reason=reason))

        return Pacing(context.throttle, measure, tell, stop=context.stop, copies=copies)

    async def _kept(self, context: StepContext) -> KeptCapture:
        kept = await self._copies.capture(context.lease)
        if kept is None:
            raise StepFailedError(
                "NOT_PREPARED", "Nothing sees changes of the source.", "Resume to prepare it."
            )
        return kept

    def _capture(self, context: StepContext, kept: KeptCapture, found: Moving) -> Capture:
        name = source_name(context.org, context.migration)
        return self._tools.capture(context.source, kept.mode, name, found.watched, found.columns)

    async def _apply(
        self,
        context: StepContext,
        connection: Any,  # noqa: ANN401
        found: Moving,
        changes: Changes,
    ) -> int:
        applied = 0
        for name, dirty in sorted(changes.dirty.keys.items()):
            table = found.table(name)
            keys = await self._reader.normal(connection, table.projection, sorted(dirty))
            applied += await self._bring(context, connection, table, keys, [])
        return applied + await self._whole_tables(
            context, connection, found, sorted(changes.dirty.whole)
        )

    async def _whole_tables(
        self,
        context: StepContext,
        connection: Any,  # noqa: ANN401
        found: Moving,
        names: Sequence[str],
    ) -> int:
        applied = 0
        tables = [found.table(name) for name in names]
        for table in tables:
            if not table.has_records:
                applied += await self._whole.write_artifact(context, connection, table)
                if (touched := self.touched(context)) is not None:
                    touched.add_whole(table.name, "it was written whole")
        with_records = [table for table in tables if table.has_records]
        if with_records:
            differing, put_aside = await self._differing(context, connection, found, with_records)
            applied += put_aside
            for name, differs in sorted(differing.items()):
                applied += await self._bring(
                    context, connection, found.table(name), differs.keys, differs.extra
                )
        return applied

    async def _differing(
        self,
        context: StepContext,
        connection: Any,  # noqa: ANN401
        found: Moving,
        tables: Sequence[MovedTable],
    ) -> tuple[Mapping[str, Differing], int]:
        """Compare tables; put records aside first that keep a table from being compared.

        Returns:
            What differs, and how many records were brought up to date before.
        """
        try:
            return await self._whole.differing(context, connection, found.tables, tables), 0
        except StepFailedError as error:
            if error.code != NOT_COMPARABLE:
                raise
            applied, count = 0, 0
            for table in found.tables:
                # Entries of all tables are compared together.
                if table.has_records:
                    keys = await unreadable_keys(self._reader, connection, table.projection)
                    count += len(keys)
                    applied += await self._bring(context, connection, table, keys, [])
            if not count:
                raise
        return await self._whole.differing(context, connection, found.tables, tables), applied

    async def _bring(
        self,
        context: StepContext,
        connection: Any,  # noqa: ANN401
        table: MovedTable,
        keys: Sequence[Key],
        extra: Sequence[Mapping[str, Any]],
    ) -> int:
        applied = 0
        if (touched := self.touched(context)) is not None:
            touched.add(table.name, keys)
            if extra:
                touched.add_whole(table.name, "records were deleted that no row gives")
        for start in range(0, max(len(keys), 1), _KEYS_AT_A_TIME):
            some = keys[start : start + _KEYS_AT_A_TIME]
            done = await apply(
                self._reader,
                connection,
                table.projection,
                context.core,
                keys=some,
                extra=extra if start == 0 else (),
                stream=f"changes/{source_name(context.org, table.name)}",
            )
            refused = await self._copies.judged(
                context.lease, table.name, some, done.rejects, table.projection.key_columns
            )
            applied += done.written + done.deleted
            _tell(context, table.name, done, refused)
            self.tell_rate(context, done.written + done.deleted)
        return applied


class CatchUp:
    """Catches up once, before what was copied is verified; see `StepWork`.

    Args:
        catching_up: Applies changes.
    """

    title = "catch up"
    phase = MigrationState.CATCHING_UP

    def __init__(self, catching_up: CatchingUp) -> None:
        self._catching_up = catching_up

    async def do(self, context: StepContext) -> JsonObject:
        """Apply changes until the source is not far ahead."""
        await context.core.fence()
        limit = context.spec.cut_over_gates.maximum_lag.total_seconds()
        rounds, changes = 0, 0
        while True:
            context.check_stop()
            done = await self._catching_up.round(context)
            rounds, changes = rounds + 1, changes + done.changes
            _tell_lag(context, done.seconds)
            if done.seconds <= limit:
                return {"rounds": rounds, "changes": changes, "lag_seconds": done.seconds}

    async def verify(self, context: StepContext) -> None:
        """Nothing more: the last round brought Core to a snapshot, and values are verified next."""

    async def undo(self, context: StepContext) -> None:
        """Nothing: what was written is deleted with what was copied."""


class KeepUp:
    """Goes on catching up while a migration waits; see `ContinuousWork`.

    Args:
        catching_up: Applies changes.
        reader: Reads the source.
    """

    title = "keep up with the source"
    phases = frozenset(
        {
            MigrationState.VERIFYING,
            MigrationState.VERIFIED,
            MigrationState.SHADOWING,
            MigrationState.SHIFTING,
        }
    )

    def __init__(self, catching_up: CatchingUp, reader: RowReader) -> None:
        self._catching_up = catching_up
        self._reader = reader

    async def run(self, context: StepContext) -> None:
        """Apply changes until it is to stop."""
        await context.core.fence()
        now = asyncio.get_running_loop().time
        pacing = await self._catching_up.pacing(context, copies=False)
        found, found_at = await moving(context, self._reader), now()
        while not context.stop.is_set():
            if now() - found_at > _MOVING_SECONDS:
                found, found_at = await moving(context, self._reader), now()
            done = await self._catching_up.round(context, found)
            _tell_lag(context, done.seconds)
            await pacing.worked(done.seconds)
            await _pause(context.stop, _BUSY_SECONDS if done.changes else _IDLE_SECONDS)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


@asynccontextmanager
async def _telling() -> AsyncIterator[None]:
    with told():
        yield


@contextmanager
def told() -> Iterator[None]:
    """Turn what a source or Core says into what stops a step."""
    try:
        yield
    except CoreRefusedError as error:
        raise StepFailedError(
            "CORE_REFUSED",
            f"Core refuses what is written: {error}",
            "Mend that and resume; where it is a fault of Core, its log says more, such as that its"
            " disk is full.",
        ) from error
    except CaptureLostError as error:
        raise StepFailedError(
            "CHANGES_LOST",
            error.problem,
            "Resume: changes are seen anew from then on, and tables are compared and mended.",
            state=MigrationState.RESNAPSHOT_REQUIRED,
        ) from error
    except SchemaDriftError as error:
        raise _drifted(error.changes) from error
    except WritersWaitedForError as error:
        raise StepFailedError("SOURCE_BUSY", str(error), "") from error


def _drifted(changes: Sequence[str]) -> StepFailedError:
    return StepFailedError(
        "SCHEMA_CHANGED",
        f"The source's schema is not what the mapping was made for: {'; '.join(changes)}.",
        "Nothing after that was taken. Change the mapping or waive what does not move, and resume.",
    )


def _tell(context: StepContext, table: str, done: Applied, refused: int) -> None:
    def counted(progress: MigrationProgress) -> MigrationProgress:
        own = next((it for it in progress.tables if it.table == table), TableProgress(table))
        return progress.with_tables(
            replace(
                own,
                applied_count=own.applied_count + done.written + done.deleted,
                reject_count=refused,
            )
        )

    context.progress(counted)


def _tell_lag(context: StepContext, seconds: float) -> None:
    context.progress(lambda it: replace(it, lag=timedelta(seconds=seconds)))

"""The worker's part of verifications: run those that are asked for, and one before VERIFIED."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

from liftos_migration.copy_ports import RowReader
from liftos_migration.domain.checks import Check, CheckKind, entity_checks, verdict
from liftos_migration.domain.ledger import JsonObject
from liftos_migration.domain.mapping import Target
from liftos_migration.domain.states import MigrationState
from liftos_migration.domain.tables import Tables
from liftos_migration.domain.verification import VerificationState, worst, worst_first
from liftos_migration.usecases.accounting import TableComparison
from liftos_migration.usecases.catching_up import CatchingUp
from liftos_migration.usecases.key_records import KeyRecords
from liftos_migration.usecases.measuring import (
    documents,
    found_of_objects,
    invariants,
    module_answers,
    quality,
    search,
)
from liftos_migration.usecases.steps import StepContext, StepFailedError
from liftos_migration.usecases.verifying import verify_tables
from liftos_migration.usecases.verifying_touched import Evidence, verify_touched
from liftos_migration.verification_ports import (
    CoreDigests,
    ModuleProbe,
    NotComparableError,
    ObjectDays,
    RefusalReader,
    SnapshotReader,
)
from liftos_migration.verification_run_ports import (
    NewVerification,
    Outcome,
    StoredVerification,
    VerificationRuns,
)

VERIFIABLE: Final = frozenset(
    {
        MigrationState.VERIFYING,
        MigrationState.VERIFIED,
        MigrationState.SHADOWING,
        MigrationState.SHIFTING,
    }
)
"""States in which Core follows the source, so that both can be compared at the same point."""

_OF_SEARCH: Final = frozenset(
    {CheckKind.DOCUMENTS, CheckKind.SEARCH_RECALL, CheckKind.SEARCH_SUCCESS}
)
_OF_MODULE: Final = frozenset({CheckKind.FUNCTIONS, CheckKind.ATTRIBUTION})

_LOOK_SECONDS: Final = 0.5
_STILL_SECONDS: Final = 900.0
"""How long the search index may stand still while it does not have all that was written."""
_SAMPLED_OBJECTS: Final = 16
"""Objects whose documents tell how far the index is."""


Probes = Callable[
    [StepContext], AbstractAsyncContextManager[tuple[ModuleProbe, ModuleProbe] | None]
]
"""Opens the probes of both sides of a migration's module; None where it has none."""


class Verifying:
    """Runs verifications of live sources.

    Args:
        catching_up: Holds both sides at one point.
        runs: Where verifications are.
        reader: Knows the tables of the source.
        digests: What a migration wrote to Core, by org and migration.
        snapshot: Reads the snapshot of a connection.
        refusals: Records that were refused.
        keys: Compares Redis keys.
        probes: Ask the module itself.
    """

    def __init__(
        self,
        *,
        catching_up: CatchingUp,
        runs: VerificationRuns,
        reader: RowReader,
        digests: Callable[[str, str], CoreDigests],
        snapshot: Callable[[Any, Sequence[str]], SnapshotReader],
        refusals: RefusalReader,
        keys: KeyRecords,
        probes: Probes,
    ) -> None:
        self._catching_up = catching_up
        self._runs = runs
        self._reader = reader
        self._digests = digests
        self._snapshot = snapshot
        self._refusals = refusals
        self._keys = keys
        self._probes = probes
        self._evidence: dict[tuple[str, str], Evidence] = {}

    async def run(self, context: StepContext, asked: StoredVerification) -> StoredVerification:
        """Run a verification and keep what it came to.

        Raises:
            StepFailedError: Both sides cannot be brought to one point.
            StepStoppedError: `context.stop` was set; the next worker runs it again.
            StoreUnavailableError: A store does not answer.
            LeaseLostError: Another worker has the migration.
        """
        await self._runs.begun(context.lease, asked.verification)
        if asked.asked.repair:
            # What was found before says nothing of what is written now.
            self._evidence.pop((context.org, context.migration), None)
            await self._catching_up.mend(context, asked.asked.tables)
        outcome = await self._outcome(context, asked.asked)
        accuracy, completeness = worst(outcome.entities)
        context.progress(lambda it: replace(it, accuracy=accuracy, completeness=completeness))
        return await self._runs.ended(context.lease, asked.verification, outcome)

    async def _outcome(self, context: StepContext, asked: NewVerification) -> Outcome:
        core = self._digests(context.org, context.migration)
        async with self._catching_up.aligned(context) as (connection, done):
            inventory = await self._reader.inventory(connection, context.spec.source.schemas)
            tables = Tables(
                context.mapping,
                {item.object: item for item in inventory.tables()},
                context.org,
                context.migration,
                await self._refusals.refusals(context.org, context.migration),
            )
            source = self._snapshot(connection, context.spec.source.schemas)
            token = await core.newest_write()
            compared = await self._rows(context, asked, tables, (source, core))
            is_whole = not asked.tables
            sums = await invariants(tables, source, core) if is_whole else ()
            objects = await _objects(tables, source) if is_whole else ()
            days = await _days(context, tables, source) if is_whole else ()
        # The rest needs no snapshot, and changes go on being applied meanwhile.
        if is_whole:
            compared += await self._keys.compare(context)
        entities = worst_first(each.result for each in compared)
        checks = [*entity_checks(entities, context.spec.gates), *sums]
        wanted = frozenset(asked.check_kinds or CheckKind)
        if is_whole and CheckKind.QUALITY in wanted:
            checks += await quality(core)
        if is_whole and wanted & _OF_SEARCH:
            checks += await self._searched(context, tables, objects, core, token)
        if is_whole and wanted & _OF_MODULE:
            checks += await self._answered(context, days)
        checks = [check for check in checks if check.kind in wanted]
        return Outcome(
            verdict(entities, checks),
            entities,
            tuple(difference for each in compared for difference in each.differences),
            tuple(checks),
            done.snapshot,
            token,
        )

    async def _rows(
        self,
        context: StepContext,
        asked: NewVerification,
        tables: Tables,
        sides: tuple[SnapshotReader, CoreDigests],
    ) -> list[TableComparison]:
        """Compare tables: what was written since the last time, or everything."""
        source, core = sides
        of = context.org, context.migration
        evidence, touched = self._evidence.get(of), self._catching_up.touched(context)
        is_whole = not asked.tables
        if asked.incremental and is_whole and evidence is not None and touched is not None:
            with suppress(NotComparableError):
                told = await verify_touched(
                    tables, source, core, touched=touched, evidence=evidence, tier=asked.tier
                )
                if told is not None and evidence.epoch == context.epoch:
                    return [*told]
        compared = [*await verify_tables(tables, source, core, tier=asked.tier, only=asked.tables)]
        if is_whole:
            self._evidence.pop(of, None)
            if not any(each.differences or each.result.unverified for each in compared):
                results = {each.result.table: each.result for each in compared}
                self._evidence[of] = Evidence(context.epoch, results)
                self._catching_up.track(context)
        return compared

    async def _searched(
        self,
        context: StepContext,
        tables: Tables,
        objects: Sequence[ObjectDays],
        core: CoreDigests,
        token: str,
    ) -> Sequence[Check]:
        """Check documents and search, once the index has what was written."""
        await self._index_follows(context, objects, core, token)
        with _waiting(context, "the count of documents that searches find"):
            found = await documents(tables, objects, core)
        with _waiting(context, "the measurement of searches"):
            return [*found, *await search(core, context.spec.gates)]

    async def _index_follows(
        self, context: StepContext, objects: Sequence[ObjectDays], core: CoreDigests, token: str
    ) -> None:
        """Return once the search index has what was written, or stands still."""
        now = asyncio.get_running_loop().time
        have, moved_at = -1, now()
        with _waiting(context, "the search index"):
            while not await core.is_indexed(token) and now() - moved_at < _STILL_SECONDS:
                context.check_stop()
                found = await found_of_objects(objects, core, maximum=_SAMPLED_OBJECTS)
                if found.have > have:
                    have, moved_at = found.have, now()
                _wait_for(
                    context,
                    f"the search index, which has {found.have:,} of {found.of:,} documents of a"
                    " sample",
                )
                await _pause(context.stop, _LOOK_SECONDS)

    async def _answered(self, context: StepContext, days: Sequence[str]) -> Sequence[Check]:
        """Check what the module itself answers, on both sides."""
        async with self._probes(context) as probes:
            if probes is None:
                return []
            with _waiting(context, "the module's own answers on both sides"):
                return await module_answers(context.org, days, *probes)


async def _days(context: StepContext, tables: Tables, source: SnapshotReader) -> Sequence[str]:
    """Return the days that have entries, where the module itself is asked about them."""
    found: set[str] = set()
    if context.spec.source.probe_target:
        for mapping in tables.of(Target.ENTRIES):
            with suppress(NotComparableError):
                totals = await source.totals(tables.projection(mapping))
                found |= {group[0] for sums in totals.values() for group in sums}
    return sorted(found)


async def _objects(tables: Tables, source: SnapshotReader) -> Sequence[ObjectDays]:
    """Return the objects of all entries; none of tables that cannot be read."""
    found: list[ObjectDays] = []
    for mapping in tables.of(Target.ENTRIES):
        with suppress(NotComparableError):
            found += [
                each
                for each in await source.objects(tables.projection(mapping))
                # A filter cannot name others, so that searches cannot be asked for them.
                if all(value.isprintable() for value in each.fields.values())
            ]
    return found


class VerifyWhatIsAsked:
    """Runs verifications that people ask for; see `liftos_migration.usecases.steps.ContinuousWork`.

    Args:
        verifying: Runs them.
        runs: Where they are.
    """

    title = "verify what is asked"
    phases = VERIFIABLE - {MigrationState.VERIFYING}

    def __init__(self, verifying: Verifying, runs: VerificationRuns) -> None:
        self._verifying = verifying
        self._runs = runs

    async def run(self, context: StepContext) -> None:
        """Run one after the other, until it is to stop."""
        while not context.stop.is_set():
            asked = await self._runs.next_asked(context.lease)
            if asked is not None:
                await self._verifying.run(context, asked)
                continue
            await _pause(context.stop, _LOOK_SECONDS)


class VerifyBeforeVerified:
    """Compares both sides once, mends what differs, and lets through what reaches its gates.

    Args:
        verifying: Runs verifications.
        runs: Where they are.
    """

    title = "verify"
    phase = MigrationState.VERIFYING

    def __init__(self, verifying: Verifying, runs: VerificationRuns) -> None:
        self._verifying = verifying
        self._runs = runs

    async def do(self, context: StepContext) -> JsonObject:
        """Verify; where a gate is missed, mend what differs and verify afresh."""
        await context.core.fence()
        first = await self._verified(context, repair=False)
        last = first
        if first.state is not VerificationState.PASSED:
            context.check_stop()
            last = await self._verified(context, repair=True)
        if last.state is not VerificationState.PASSED:
            raise _missed(context, last)
        return {
            "verification": last.verification.hex,
            "accuracy": last.accuracy,
            "completeness": last.completeness,
            "repaired": last is not first,
            "write_token": last.write_token,
        }

    async def verify(self, context: StepContext) -> None:
        """What it did was to verify."""

    async def undo(self, context: StepContext) -> None:
        """End verifications that nobody will run any more."""
        await self._runs.cancel_all(context.lease)

    async def _verified(self, context: StepContext, *, repair: bool) -> StoredVerification:
        # What people asked for meanwhile is run too.
        wanted = await self._runs.ask_of_step(context.lease, NewVerification(repair=repair))
        while True:
            context.check_stop()
            asked = await self._runs.next_asked(context.lease)
            assert asked is not None, "the one that was asked for is among them"
            done = await self._verifying.run(context, asked)
            if done.verification == wanted.verification:
                return done


def _wait_for(context: StepContext, told: str) -> None:
    context.progress(lambda it: replace(it, waits_for=told))


@contextmanager
def _waiting(context: StepContext, told: str) -> Iterator[None]:
    """Tell what is waited for while a block runs."""
    _wait_for(context, told)
    try:
        yield
    finally:
        _wait_for(context, "")


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


def _missed(context: StepContext, verification: StoredVerification) -> StepFailedError:
    missed = [check for check in verification.checks if not check.passed]
    told = "; ".join(
        f"{check.kind.name.lower()} of {check.subject or 'all'} is {_share(check.measured)}"
        f" and needs {_share(check.threshold)} {check.unit}"
        for check in missed[:3]
    )
    below = verification.accuracy < context.spec.gates.hold_accuracy
    return StepFailedError(
        "GATES_MISSED",
        f"The verification {verification.verification.hex} misses gates:"
        f" {told or 'a table could not be compared'}.",
        "See `liftos migration differences` and `liftos migration rejects list`, decide on each,"
        " and resume.",
        state=MigrationState.PAUSED if below else MigrationState.HELD,
    )


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{value:.6g}"

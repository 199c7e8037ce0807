"""What has to be written and deleted so that Core has what a snapshot has, found by comparing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from liftos_migration.copy_ports import NOT_COMPARABLE, Differing
from liftos_migration.domain.differences import DifferenceKind
from liftos_migration.domain.mapping import Target
from liftos_migration.domain.moving import MovedTable
from liftos_migration.domain.projection import Projection
from liftos_migration.domain.tables import Refusals, without
from liftos_migration.usecases.comparing_entries import compare_entries, natural_keys
from liftos_migration.usecases.comparing_records import (
    COLLECTIONS,
    compare_rates,
    compare_records,
    extra_records,
)
from liftos_migration.usecases.comparing_wholes import bare_rows
from liftos_migration.usecases.steps import StepContext, StepFailedError
from liftos_migration.usecases.table_artifacts import part_prefix, table_artifacts
from liftos_migration.verification_ports import (
    Collection,
    CoreDigests,
    NotComparableError,
    RefusalReader,
    SnapshotReader,
)


class ComparedTables:
    """Compares whole tables; see `liftos_migration.copy_ports.WholeTables`.

    Args:
        digests: Reads what a migration wrote to Core.
        snapshot: Reads the snapshot of a connection, given the schemas of the source.
        refusals: Tells which records were refused.
    """

    def __init__(
        self,
        digests: Callable[[str, str], CoreDigests],
        snapshot: Callable[[Any, Sequence[str]], SnapshotReader],
        refusals: RefusalReader,
    ) -> None:
        self._digests = digests
        self._snapshot = snapshot
        self._refusals = refusals

    async def differing(
        self,
        context: StepContext,
        connection: Any,  # noqa: ANN401 - see WholeTables
        tables: Sequence[MovedTable],
        of: Sequence[MovedTable],
    ) -> Mapping[str, Differing]:
        """Return what has to be written and deleted; a table without differences is left out.

        Records that were refused are among what has to be written: they may fit by now.

        Raises:
            StepFailedError: A table cannot be compared.
            StoreUnavailableError: A store does not answer.
        """
        source = self._snapshot(connection, context.spec.source.schemas)
        core = self._digests(context.org, context.migration)
        refusals = await self._refusals.refusals(context.org, context.migration)
        wanted = {table.name for table in of}
        try:
            found = {
                **await _entries(tables, wanted, source, core, refusals),
                **await _records(tables, wanted, source, core, refusals),
            }
        except NotComparableError as error:
            raise StepFailedError(
                NOT_COMPARABLE, str(error), "Resume once that is done."
            ) from error
        for name in wanted:
            refused = refusals.get(name, Refusals()).open
            if refused:
                other = found.get(name, Differing((), ()))
                found[name] = Differing([*other.keys, *sorted(refused)], other.extra)
        return {name: each for name, each in found.items() if each.keys or each.extra}

    async def write_artifact(
        self,
        context: StepContext,
        connection: Any,  # noqa: ANN401 - see WholeTables
        table: MovedTable,
    ) -> int:
        """Write the parts of a table that are not on Core like that, and delete those beyond."""
        source = self._snapshot(connection, context.spec.source.schemas)
        core = self._digests(context.org, context.migration)
        scope = table.projection.scope
        held = await core.record_hashes(Collection.ARTIFACTS, scope)
        rows = 0
        given: set[str] = set()
        try:
            parts = table_artifacts(table.item, scope, bare_rows(table.projection, source))
            async for part in parts:
                given.add(part.id)
                rows += int(str((part.body or {})["row_count"]))
                if held.get(part.id) != part.hash():
                    refused = await context.core.write_records([part])
                    if refused:
                        raise StepFailedError(
                            "TABLE_REFUSED",
                            f"Core does not take {part.display_name}:"
                            f" {refused[0].errors[0].message}.",
                            "Waive the table, or map its rows.",
                        )
        except NotComparableError as error:
            raise StepFailedError("TABLE_NOT_READABLE", str(error), "Then resume.") from error
        prefix = part_prefix(table.name)
        beyond = [each for each in held if each.startswith(prefix) and each not in given]
        if beyond:
            await context.core.delete_records(Target.ARTIFACTS, beyond)
        return rows


def _projected(table: MovedTable, refusals: Mapping[str, Refusals]) -> Projection:
    refused = refusals.get(table.name, Refusals())
    return without(table.projection, sorted(refused.open | refused.waived))


async def _entries(
    tables: Sequence[MovedTable],
    wanted: set[str],
    source: SnapshotReader,
    core: CoreDigests,
    refusals: Mapping[str, Refusals],
) -> Mapping[str, Differing]:
    entries = [each for each in tables if each.mapping.target is Target.ENTRIES]
    asked = [place for place, each in enumerate(entries) if each.name in wanted]
    if not asked:
        return {}
    compared = await compare_entries(
        [_projected(each, refusals) for each in entries],
        source,
        core,
        expected=sum(each.item.row_count for each in entries),
    )
    if compared.unreadable:
        raise NotComparableError(next(iter(compared.unreadable.values())))
    extra = [each.entry_id for each in compared.differing if each.kind is DifferenceKind.EXTRA]
    keys = await natural_keys(core, extra) if extra else ()
    return {
        entries[place].name: Differing(
            [each.key for each in compared.differing if each.table == place],
            # Of none of the tables, so that whichever is asked for may delete them.
            keys if place == asked[0] else (),
        )
        for place in asked
    }


async def _records(
    tables: Sequence[MovedTable],
    wanted: set[str],
    source: SnapshotReader,
    core: CoreDigests,
    refusals: Mapping[str, Refusals],
) -> Mapping[str, Differing]:
    found: dict[str, Differing] = {}
    for target in (Target.ARTIFACTS, Target.NOTES):
        own = [each for each in tables if each.mapping.target is target]
        asked = [each for each in own if each.name in wanted]
        if not asked:
            continue
        given: set[str] = set()
        for table in own:
            compared = await compare_records(_projected(table, refusals), source, core)
            given |= compared.hashes.keys()
            if table.name in wanted:
                found[table.name] = Differing([each.key for each in compared.differing], ())
        extra = await extra_records(core, COLLECTIONS[target], given)
        for table in asked:
            ids = sorted(each for each, scope in extra.items() if scope == table.projection.scope)
            found[table.name] = Differing(found[table.name].keys, [{"id": each} for each in ids])
    for table in tables:
        if table.mapping.target is Target.EXCHANGE_RATES and table.name in wanted:
            compared = await compare_rates(_projected(table, refusals), source, core)
            found[table.name] = Differing([each.key for each in compared.differing], ())
    return found

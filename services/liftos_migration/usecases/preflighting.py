"""Whether a migration can go on, asked of its source."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable
from liftos_migration.domain.inventory import Inventory
from liftos_migration.domain.ledger import JsonObject
from liftos_migration.domain.mapping_rules import undecided
from liftos_migration.domain.migrations import MigrationSpec
from liftos_migration.domain.preflight import Finding, Preflight, Severity, preflight
from liftos_migration.domain.states import MigrationState
from liftos_migration.inspection_ports import (
    Inspections,
    MappingChecker,
    SourceInspector,
    StoredPreflight,
)
from liftos_migration.usecases.steps import StepContext, StepFailedError

FRESH: Final = timedelta(minutes=10)
"""How old a report may be that a start rests on; the worker looks again."""

_TOLD: Final = 5


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a source found: all its parts, and whether they can move."""

    inventory: Inventory
    preflight: Preflight


class Preflighting:
    """Finds out what sources allow.

    Args:
        inspector: Looks at them.
        checker: Holds mappings against them.
        store: Keeps the reports.
    """

    def __init__(
        self, inspector: SourceInspector, checker: MappingChecker, store: Inspections
    ) -> None:
        self._inspector = inspector
        self._checker = checker
        self._store = store

    async def look(self, org: str, spec: MigrationSpec) -> Look:
        """Look at a source; nothing is kept.

        Raises:
            InvalidFieldsError: The org may not name it.
            StoreUnavailableError: It does not answer.
        """
        source, mapping = spec.source, spec.mapping
        inventory = await self._inspector.inventory(org, source, mapping)
        facts = await self._inspector.facts(
            org, source, [table.object for table in inventory.tables()]
        )
        problems = [
            *(
                Finding(
                    Severity.BLOCKER,
                    "NOT_DECIDED",
                    name,
                    "nobody has said what it becomes",
                    "a target or a waiver in the mapping",
                    "set its target in the mapping, or waive it with a reason",
                )
                for name in undecided(mapping)
            ),
            *await self._checker.problems(org, source, mapping, inventory),
        ]
        return Look(inventory, preflight(facts, inventory, mapping, problems))

    async def preflight(
        self,
        org: str,
        migration: str,
        spec: MigrationSpec,
        repeatable: Repeatable[StoredPreflight] | None,
    ) -> StoredPreflight | bytes:
        """Look at a source and keep the report.

        Returns:
            The report, or the answer that the same request was given before.

        Raises:
            NotFoundError: There is no such migration.
            InvalidFieldsError, StoreUnavailableError: See `look`.
        """
        found = await self.look(org, spec)
        try:
            return await self._store.keep_preflight(org, migration, found.preflight, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response

    async def of_start(
        self, org: str, migration: str, spec: MigrationSpec
    ) -> tuple[Preflight, timedelta]:
        """Return what a start rests on, and its age: a fresh report of the plan, or a new look.

        A report that blocks is not taken: what it found may be mended by now.

        Raises:
            InvalidFieldsError, StoreUnavailableError: See `look`.
        """
        kept = await self._store.fresh_preflight(org, migration, maximum_age=FRESH)
        if kept is not None and kept[0].startable:
            return kept
        return (await self.look(org, spec)).preflight, timedelta()


@dataclass(frozen=True, slots=True)
class PreflightStep:
    """Looks at the source, and stops where something blocks."""

    preflighting: Preflighting
    store: Inspections
    title: str = "preflight"
    phase: MigrationState = MigrationState.PREFLIGHT

    async def do(self, context: StepContext) -> JsonObject:
        """Look, and keep the report."""
        found = (await self.preflighting.look(context.org, context.spec)).preflight
        await self.store.keep_preflight_of_step(context.lease, found)
        blockers = [each for each in found.findings if each.severity is Severity.BLOCKER]
        if blockers:
            told = "; ".join(
                f"{each.code} {each.object}: {each.found}, {each.wanted} is needed"
                for each in blockers[:_TOLD]
            )
            more = f" and {len(blockers) - _TOLD} more" if len(blockers) > _TOLD else ""
            raise StepFailedError(
                "PREFLIGHT",
                f"Preflight finds what blocks: {told}{more}.",
                "Do what `liftos migration preflight` says of each, and resume.",
            )
        return {
            "finding_count": len(found.findings),
            "capture_modes": [mode.name for mode in found.capture_modes],
            "row_count": found.row_count,
            "size_bytes": found.size_bytes,
        }

    async def verify(self, context: StepContext) -> None:
        """Nothing was changed that could be wrong."""

    async def undo(self, context: StepContext) -> None:
        """Nothing was changed that could be taken back."""

"""Comparing what a run has stored with the platform's own sums, once the run has ended."""

from dataclasses import replace
from typing import Final
from uuid import UUID

from liftos_ingestion.domain.reconciliation import DaySums, compare
from liftos_ingestion.reconciliation_ports import EntryTotals, ReadLane, ReconciliationStore
from liftos_ingestion.source_ports import SourceCatalog

_WHOLE: Final = "ACCOUNT"


class Reconciling:
    """Compares runs with the platforms' sums.

    Every level is compared with what the platform answered for it, which proves that nothing was
    lost or doubled on the way; a level whose rows add up to the account is compared with the
    account's total too, which proves that nothing is missing from the answer.

    Args:
        store: What platforms said, and where it is kept what was found.
        totals: What is stored.
        catalog: What can be read.
    """

    def __init__(
        self,
        store: ReconciliationStore,
        totals: EntryTotals,
        catalog: SourceCatalog,
    ) -> None:
        self._store = store
        self._totals = totals
        self._catalog = catalog

    async def reconcile(self, org: str, run: UUID) -> None:
        """Compare all that a run has committed.

        Raises:
            StoreUnavailableError: Memory or the database does not answer.
        """
        for read, days in await self._store.read_lanes(org, run):
            stored = await self._totals.day_sums(read)
            answered = await self._store.answered(read)
            found = list(compare(days, stored, answered, await self._whole(read)))
            await self._store.store(run, read.lane, found)

    async def _whole(self, read: ReadLane) -> DaySums | None:
        source = await self._catalog.source(read.lane.org, read.lane.platform)
        if read.lane.level not in source.capabilities.adding_up_levels:
            return None
        return await self._store.answered(replace(read, lane=replace(read.lane, level=_WHOLE)))

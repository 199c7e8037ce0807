"""Checks beyond rows: sums, quality, documents, search, and what the module itself answers."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from liftos_kit.core.errors import StoreUnavailableError
from liftos_migration.domain.checks import (
    Check,
    CheckKind,
    Gates,
    at_least,
    attribution_check,
    covered_check,
    invariant_check,
    search_checks,
)
from liftos_migration.domain.mapping import TableMapping, Target
from liftos_migration.domain.tables import Tables
from liftos_migration.usecases.comparing_records import COLLECTIONS
from liftos_migration.verification_ports import (
    CoreDigests,
    ModuleProbe,
    NotComparableError,
    ObjectDays,
    SnapshotReader,
    Totals,
)

_DAYS_AT_ONCE: Final = 4_000
_OBJECTS: Final = 500
"""Objects whose documents are counted; of more, a part in regular steps is."""
_ATTRIBUTED_DAYS: Final = 365
_SHORTEST_DAYS: Final = 56
_AT_ONCE: Final = 8
_MEASUREMENTS: Final = 3


async def invariants(tables: Tables, source: SnapshotReader, core: CoreDigests) -> Sequence[Check]:
    """Compare sums by level, day, platform and currency, while nothing is applied."""
    ours: dict[str, dict[tuple[str, ...], dict[str, int]]] = {}
    for mapping in tables.of(Target.ENTRIES):
        try:
            totals = await source.totals(tables.projection(mapping))
        except NotComparableError as error:
            return [
                at_least(CheckKind.INVARIANTS, None, 1.0, subject=mapping.table, detail=str(error))
            ]
        for level, sums in totals.items():
            _add(ours.setdefault(level, {}), sums)
    checks = []
    for level, sums in sorted(ours.items()):
        days = sorted(group[0] for group in sums)
        theirs = await _core_totals(core, level, days[0], days[-1])
        checks.append(invariant_check(f"level {level}", sums, theirs))
    return checks


def _add(held: dict[tuple[str, ...], dict[str, int]], sums: Totals) -> None:
    for group, columns in sums.items():
        own = held.setdefault(group, {})
        for name, value in columns.items():
            own[name] = own.get(name, 0) + value


async def _core_totals(core: CoreDigests, level: str, first: str, last: str) -> Totals:
    totals: dict[tuple[str, ...], Mapping[str, int]] = {}
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    while start <= end:
        until = min(end, start + timedelta(days=_DAYS_AT_ONCE - 1))
        totals |= await core.entry_totals(level, start.isoformat(), until.isoformat())
        start = until + timedelta(days=1)
    return totals


async def quality(core: CoreDigests) -> Sequence[Check]:
    """Count the entries that have a quality score."""
    count, scored = await asyncio.gather(core.entry_count(), core.entry_count("quality.score >= 0"))
    return [covered_check(CheckKind.QUALITY, scored, count, noun="entries have a quality score")]


@dataclass(frozen=True, slots=True)
class Found:
    """Documents that searches find by their embedding.

    Attributes:
        have: How many.
        of: How many there have to be.
        lacking: One that lacks some, with a separator before it; empty where none does.
    """

    have: int = 0
    of: int = 0
    lacking: str = ""

    def __add__(self, other: "Found") -> "Found":
        return Found(self.have + other.have, self.of + other.of, self.lacking or other.lacking)


async def documents(
    tables: Tables, objects: Sequence[ObjectDays], core: CoreDigests
) -> Sequence[Check]:
    """Count what searches find by embedding: for each object a profile and one for each week.

    Args:
        tables: All tables.
        objects: Of all entries of the source.
        core: What is on Core; the index covers it.
    """
    try:
        found = await found_of_objects(objects, core, maximum=_OBJECTS)
        for mapping in tables.of(Target.ARTIFACTS, Target.NOTES):
            found += await _found_of_records(mapping, core)
    except StoreUnavailableError as error:
        return [at_least(CheckKind.DOCUMENTS, None, 1.0, detail=error.message)]
    return [
        at_least(
            CheckKind.DOCUMENTS,
            1.0 if not found.of else found.have / found.of,
            1.0,
            sample_count=found.of if len(objects) > _OBJECTS else 0,
            detail=f"{found.have:,} of {found.of:,} documents are found by their"
            f" embedding{found.lacking}",
        )
    ]


async def found_of_objects(
    objects: Sequence[ObjectDays], core: CoreDigests, *, maximum: int
) -> Found:
    """Count the documents of objects, of no more than so many of them in regular steps."""
    chosen = objects[:: -(-len(objects) // maximum) or 1]
    found = Found()
    for start in range(0, len(chosen), _AT_ONCE):
        some = chosen[start : start + _AT_ONCE]
        counts = await asyncio.gather(*(core.object_documents(each.fields) for each in some))
        for each, count in zip(some, counts, strict=True):
            wanted = each.weeks + 1
            told = f"; {' '.join(each.fields.values())} has {count} of {wanted}"
            found += Found(min(count, wanted), wanted, told if count < wanted else "")
    return found


async def _found_of_records(mapping: TableMapping, core: CoreDigests) -> Found:
    collection = COLLECTIONS[mapping.target]
    own, found = await asyncio.gather(
        core.record_scopes(collection), core.record_documents(collection, mapping.scope)
    )
    ids = {each for each, scope in own.items() if scope == mapping.scope}
    lacking = f"; {min(ids - found)} has none" if ids - found else ""
    return Found(len(ids & found), len(ids), lacking)


async def search(core: CoreDigests, gates: Gates) -> Sequence[Check]:
    """Measure the served index.

    Searches miss for a moment what the index is just putting in order, so that a gate is missed
    only where it is missed each time.
    """
    checks: Sequence[Check] = ()
    try:
        for _ in range(_MEASUREMENTS):
            await core.is_indexed(await core.newest_write())
            found = await core.search_quality()
            checks = search_checks(
                recall=found.recall,
                success=found.success,
                queries=found.query_count,
                documents=found.document_count,
                gates=gates,
            )
            if all(check.passed for check in checks):
                break
    except StoreUnavailableError as error:
        return [
            at_least(kind, None, threshold, detail=error.message)
            for kind, threshold in (
                (CheckKind.SEARCH_RECALL, gates.minimum_recall),
                (CheckKind.SEARCH_SUCCESS, gates.minimum_success),
            )
        ]
    return checks


async def module_answers(
    org: str, days: Sequence[str], module: ModuleProbe, on_core: ModuleProbe
) -> Sequence[Check]:
    """Ask both sides of the module the same: its attribution, and whether its methods work.

    Args:
        org: Whose.
        days: Of its entries, ascending, as `YYYY-MM-DD`.
        module: The module on its own store.
        on_core: The same on Core.
    """
    checks = []
    try:
        here, there = await asyncio.gather(module.functions(org), on_core.functions(org))
        broken = dict.fromkeys(here.keys() - there.keys(), "is not there")
        broken |= {name: told for name, told in there.items() if told and not here.get(name, "")}
        detail = "; ".join(f"{name}: {told}" for name, told in sorted(broken.items()))
        checks.append(
            at_least(
                CheckKind.FUNCTIONS,
                1.0 if not here else 1 - len(broken) / len(here),
                1.0,
                detail=detail or f"{len(here):,} methods answer as before",
            )
        )
    except StoreUnavailableError as error:
        checks.append(at_least(CheckKind.FUNCTIONS, None, 1.0, detail=error.message))
    if len(days) < _SHORTEST_DAYS:
        return checks
    last = date.fromisoformat(days[-1])
    first = max(date.fromisoformat(days[0]), last - timedelta(days=_ATTRIBUTED_DAYS - 1))
    between = first.isoformat(), last.isoformat()
    try:
        ours, theirs = await asyncio.gather(
            module.credits(org, *between), on_core.credits(org, *between)
        )
    except StoreUnavailableError:
        ours, theirs = {}, {}
    checks.append(attribution_check(ours, theirs, subject=f"{between[0]} to {between[1]}"))
    return checks

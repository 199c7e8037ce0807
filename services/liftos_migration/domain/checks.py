"""Measurements held against gates, and what follows from them all."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from liftos_migration.domain.verification import EntityResult, VerificationState, worst

ATTRIBUTION_TOLERANCE: Final = 0.001
"""How far the attribution of a channel may be from the module's, relative to it."""
MINIMUM_QUERIES: Final = 200
"""Known-item queries that a share of successes has to rest on."""


class CheckKind(IntEnum):
    """What a check measures; the numbers are the contract's."""

    COMPLETENESS = 1
    ACCURACY = 2
    INVARIANTS = 3
    ARTIFACTS = 4
    QUALITY = 5
    DOCUMENTS = 6
    SEARCH_RECALL = 7
    SEARCH_SUCCESS = 8
    ATTRIBUTION = 9
    FUNCTIONS = 10
    LATENCY = 11
    LOAD = 12


@dataclass(frozen=True, slots=True)
class Gates:
    """What is required to go on; shares are 0 to 1."""

    minimum_accuracy: float = 0.999
    hold_accuracy: float = 0.99
    minimum_completeness: float = 1.0
    minimum_recall: float = 0.99
    minimum_success: float = 0.95


@dataclass(frozen=True, slots=True)
class Check:
    """A measurement and its gate.

    Attributes:
        kind: What it measures.
        subject: The table, method or kind; empty for all.
        measured: What was measured; None where it could not be.
        threshold: What is needed.
        unit: Of both, such as `share`.
        passed: Whether it is reached; never where nothing was measured.
        sample_count: What it rests on; 0 where everything was compared.
        detail: More, for a person.
    """

    kind: CheckKind
    subject: str
    measured: float | None
    threshold: float
    unit: str
    passed: bool
    sample_count: int = 0
    detail: str = ""


def at_least(
    kind: CheckKind,
    measured: float | None,
    threshold: float,
    *,
    subject: str = "",
    above: bool = False,
    sample_count: int = 0,
    detail: str = "",
) -> Check:
    """Return the check of a share that has to reach, or to be above, its threshold.

    A share that is not known, or no number, is not reached.
    """
    known = measured is not None and not math.isnan(measured)
    reached = False
    if measured is not None and known:
        # Above 99.9 % is meant, and all there is has to do where the gate is 100 %.
        reached = measured > threshold or (measured == threshold and (not above or threshold == 1))
    return Check(
        kind,
        subject,
        measured if known else None,
        threshold,
        "share",
        reached,
        sample_count,
        detail,
    )


def entity_checks(entities: Sequence[EntityResult], gates: Gates) -> Sequence[Check]:
    """Return completeness and accuracy of the worst tables, each with its name."""
    accuracy, completeness = worst(entities)
    least_complete = min(entities, key=lambda each: each.completeness, default=None)
    least_accurate = min(entities, key=lambda each: each.accuracy, default=None)
    return (
        at_least(
            CheckKind.COMPLETENESS,
            completeness if entities else None,
            gates.minimum_completeness,
            subject=_named(least_complete),
            detail=_counted(least_complete),
        ),
        at_least(
            CheckKind.ACCURACY,
            accuracy if entities else None,
            gates.minimum_accuracy,
            subject=_named(least_accurate),
            above=True,
            detail=_counted(least_accurate),
        ),
    )


def invariant_check(
    table: str,
    source: Mapping[tuple[str, ...], Mapping[str, int]],
    target: Mapping[tuple[str, ...], Mapping[str, int]],
) -> Check:
    """Hold sums in exact numbers against each other.

    Args:
        table: What they are sums of.
        source: Sums by group, such as day and platform, of the source after the transform.
        target: The same of Core.
    """
    groups = source.keys() | target.keys()
    wrong = sorted(group for group in groups if source.get(group) != target.get(group))
    detail = f"{len(groups):,} sums by day and platform"
    if wrong:
        first = wrong[0]
        names = sorted({*source.get(first, {}), *target.get(first, {})})
        told = "; ".join(
            f"{name} {source.get(first, {}).get(name)} and {target.get(first, {}).get(name)}"
            for name in names
            if source.get(first, {}).get(name) != target.get(first, {}).get(name)
        )
        detail = f"{len(wrong):,} of {detail} differ, first {', '.join(first)}: {told}"
    share = 1.0 if not groups else 1 - len(wrong) / len(groups)
    return at_least(CheckKind.INVARIANTS, share, 1.0, subject=table, detail=detail)


def covered_check(kind: CheckKind, have: int, of: int, *, noun: str) -> Check:
    """Return whether each of some things has what it should have."""
    return at_least(kind, 1.0 if not of else have / of, 1.0, detail=f"{have:,} of {of:,} {noun}")


def search_checks(
    *,
    recall: float | None,
    success: float | None,
    queries: int,
    documents: int,
    gates: Gates,
) -> Sequence[Check]:
    """Return recall and success of search; success counts on enough queries alone.

    Of few documents every second one at least is asked for; of none there is nothing to find.
    """
    detail = f"{queries:,} queries over {documents:,} documents"
    needed = min(MINIMUM_QUERIES, -(-documents // 2))
    few = queries < needed
    if not documents:
        recall = success = 1.0
    return (
        at_least(
            CheckKind.SEARCH_RECALL,
            recall,
            gates.minimum_recall,
            sample_count=queries,
            detail=detail,
        ),
        at_least(
            CheckKind.SEARCH_SUCCESS,
            None if few else success,
            gates.minimum_success,
            sample_count=queries,
            detail=f"{detail}; {needed} are needed" if few else detail,
        ),
    )


def attribution_check(
    module: Mapping[str, float], core: Mapping[str, float], *, subject: str
) -> Check:
    """Hold credits of channels on Core against the module's.

    Args:
        module: Credit by channel, in money or as share.
        core: The same on Core.
        subject: The model.
    """
    scale = max((abs(value) for value in module.values()), default=0.0)
    farthest, channel = 0.0, ""
    for name in sorted(module.keys() | core.keys()):
        here, there = module.get(name), core.get(name)
        if here is None or there is None:
            away = math.inf
        else:
            # What is nothing beside the largest channel is compared with that.
            away = abs(here - there) / max(abs(here), 1e-9 * scale, 1e-12)
        if not away <= farthest:
            farthest, channel = away, name
    known = bool(module) and math.isfinite(farthest)
    detail = f"{len(module):,} channels, farthest {channel}" if channel else ""
    return Check(
        CheckKind.ATTRIBUTION,
        subject,
        farthest if known else None,
        ATTRIBUTION_TOLERANCE,
        "relative difference",
        known and farthest <= ATTRIBUTION_TOLERANCE,
        len(module),
        detail or f"{len(module):,} channels",
    )


def verdict(entities: Iterable[EntityResult], checks: Iterable[Check]) -> VerificationState:
    """Return what tables and checks come to: what could not be compared never passes."""
    entities, checks = tuple(entities), tuple(checks)
    compared = [each for each in entities if not each.unverified]
    known = [each for each in checks if each.measured is not None]
    if any(not each.passed for each in known) and len(compared) == len(entities):
        return VerificationState.FAILED
    if len(compared) < len(entities) or len(known) < len(checks) or not entities:
        return VerificationState.UNVERIFIED
    return VerificationState.PASSED


def _named(entity: EntityResult | None) -> str:
    return "" if entity is None else entity.table


def _counted(entity: EntityResult | None) -> str:
    if entity is None:
        return "no table was compared"
    if entity.unverified:
        return entity.unverified
    return (
        f"{entity.source_count:,} rows: {entity.matched_count:,} equal,"
        f" {entity.different_count:,} different, {entity.missing_count:,} missing,"
        f" {entity.rejected_count:,} refused, {entity.merged_count:,} in records of others,"
        f" {entity.waived_count:,} waived; {entity.extra_count:,} extra"
    )

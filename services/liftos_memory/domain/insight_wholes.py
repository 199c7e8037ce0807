"""Wholes: what the objects of a level in one account and channel do together.

A whole is looked at like any other series. It is told only where its objects move along, so that
one finding stands for many, and what each of them adds to the movement is told with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Final

import numpy as np

from liftos_mapping.entry_fields import LEVEL_IDS
from liftos_memory.domain.detectors.statistics import Booleans, Floats, Integers
from liftos_memory.domain.documents import ObjectKey
from liftos_memory.domain.insight_series import MetricSeries, SeriesTable
from liftos_memory.domain.insights import Subject

LEAST_OBJECTS: Final = 3
"""Objects that have to move for a whole to be told."""

LEAST_SHARE: Final = 0.5
"""Share of the objects that has to move, and of the movement that they have to make up."""

_ALONG: Final = 0.5
"""An object moves along where it moves at least so much of what the whole does, as a factor."""

_WHOLE_OF: Final = attrgetter(
    "key.platform", "key.account_id", "channel", "attribution_key", "date_basis"
)
"""What the objects of a whole have in common, beside the currency of their money."""


@dataclass(frozen=True, slots=True)
class Wholes:
    """The wholes of one metric.

    Attributes:
        table: One series each.
        series: The metric of each.
        parts: The metric of the objects.
        subjects: The objects, by row of `parts`.
        members: Rows of `parts` of each whole.
    """

    table: SeriesTable
    series: MetricSeries
    parts: MetricSeries
    subjects: Sequence[Subject]
    members: Sequence[Integers]


def wholes_of(table: SeriesTable, parts: MetricSeries) -> Wholes | None:
    """Return the wholes of at least three objects; None where there are none.

    A day of a whole is the sum over the objects that have it, of a ratio over those that have both
    of its sums; it is settled where it is so for each of them.
    """
    if not LEVEL_IDS[table.level][0]:
        return None
    rows: dict[tuple[str, ...], list[int]] = {}
    subjects = [table.subjects[row] for row in parts.rows.tolist()]
    for row, subject in enumerate(subjects):
        currency = subject.currency_code if parts.metric.has_money else ""
        rows.setdefault((*_WHOLE_OF(subject), currency), []).append(row)
    found = {
        _whole_of(subjects[own[0]], has_money=parts.metric.has_money): own
        for own in rows.values()
        if len(own) >= LEAST_OBJECTS
    }
    if not found:
        return None
    members = [np.array(own, np.int64) for own in found.values()]
    order = np.concatenate(members)
    starts = np.cumsum([0, *(own.size for own in members[:-1])])

    def total(values: Floats, known: Booleans) -> Floats:
        sums = np.add.reduceat(np.where(known, values, 0.0)[order], starts, axis=0)
        return np.where(np.logical_or.reduceat(known[order], starts, axis=0), sums, np.nan)

    known = _known(parts)
    behind = parts.rows[order]
    return Wholes(
        table=replace(
            table,
            subjects=list(found),
            columns={},
            final=np.logical_and.reduceat(table.final[behind], starts, axis=0),
            quality=np.minimum.reduceat(table.quality[behind], starts, axis=0),
            entries=np.add.reduceat(table.entries[behind], starts, axis=0),
        ),
        series=MetricSeries(
            metric=parts.metric,
            rows=np.arange(len(found)),
            numerators=total(parts.numerators, known),
            denominators=None if parts.denominators is None else total(parts.denominators, known),
            events=None if parts.events is None else total(parts.events, known),
            counted=None if parts.counted is None else total(parts.counted, known),
            settled=np.logical_and.reduceat((parts.settled | ~known)[order], starts, axis=0),
        ),
        parts=parts,
        subjects=subjects,
        members=members,
    )


def _whole_of(subject: Subject, *, has_money: bool) -> Subject:
    key = subject.key
    return replace(
        subject,
        key=ObjectKey(platform=key.platform, level=key.level, account_id=key.account_id),
        currency_code=subject.currency_code if has_money else "",
        is_whole=True,
    )


def _known(series: MetricSeries) -> Booleans:
    known = np.isfinite(series.numerators)
    if series.denominators is not None:
        known &= np.isfinite(series.denominators)
    return known


@dataclass(frozen=True, slots=True)
class Movement:
    """How the objects of a whole moved from some days to others; nan where unknown.

    Attributes:
        before: Mean day of each object, or its ratio of sums.
        after: The same in the later days.
        added: What each adds to the movement of the whole; their sum is the movement.
        moved: Of the whole, as a logarithm.
        along: Whether an object moves along.
        present: Whether an object has numbers in any of the days.
    """

    before: Floats
    after: Floats
    added: Floats
    moved: float
    along: Booleans
    present: Booleans

    @property
    def is_broad(self) -> bool:
        """Whether the objects move together, rather than one of them alone."""
        count = int(self.along.sum())
        return bool(
            count >= LEAST_OBJECTS
            and count >= LEAST_SHARE * self.present.sum()
            and self.shares[self.along].sum() >= LEAST_SHARE
        )

    @property
    def shares(self) -> Floats:
        """What each object adds, as a share of the movement; together 1; nan of none."""
        if not self.added.sum():
            return np.full(self.added.shape, np.nan)
        shares: Floats = self.added / self.added.sum()
        return shares


def movement(
    numerators: Floats, denominators: Floats | None, before: Integers, after: Integers
) -> Movement:
    """Compare some days of objects with others.

    Of sums an object adds the difference of its mean days, where a day without a number adds
    nothing. Of a ratio it adds (n - r d) / D, of the later days less the same of the earlier ones:
    n and d are its own sums, D is that of all, and r the earlier ratio of all. So whoever grows
    while it is above that ratio raises the ratio too.

    Args:
        numerators: Objects by days; nan is unknown.
        denominators: The same of what they are divided by; None for sums.
        before: Indices of the earlier days.
        after: Indices of the later days.
    """
    known = np.isfinite(numerators)
    if denominators is not None:
        known &= np.isfinite(denominators)
    above = [np.where(known, numerators, 0.0)[:, days].sum(axis=1) for days in (before, after)]
    present = [np.logical_or.reduce(known[:, days], axis=1) for days in (before, after)]
    if denominators is None:
        means = [it / max(days.size, 1) for it, days in zip(above, (before, after), strict=True)]
        added = means[1] - means[0]
        whole = [float(it.sum()) for it in means]
        own = [np.where(is_known, it, np.nan) for it, is_known in zip(means, present, strict=True)]
    else:
        below = [
            np.where(known, denominators, 0.0)[:, days].sum(axis=1) for days in (before, after)
        ]
        own = [_ratio(n, d) for n, d in zip(above, below, strict=True)]
        whole = [float(_ratio(n.sum(), d.sum())) for n, d in zip(above, below, strict=True)]
        rest = [
            _ratio(n - whole[0] * d, np.full(n.shape, d.sum()))
            for n, d in zip(above, below, strict=True)
        ]
        added = rest[1] - rest[0]
    factors = _factor(*(np.nan_to_num(it) for it in own))
    if denominators is not None:
        # A ratio of nothing is none, where a sum of nothing is 0.
        factors = np.where(present[0] & present[1], factors, 0.0)
    moved = float(_factor(*(np.nan_to_num(np.array([it])) for it in whole))[0])
    same_side = factors * (1.0 if moved > 0.0 else -1.0)
    along: Booleans = (same_side > 0.0) & (same_side >= _ALONG * abs(moved))
    return Movement(own[0], own[1], added, moved, along, present[0] | present[1])


def _ratio(numerators: Floats, denominators: Floats) -> Floats:
    above, below = np.asarray(numerators, float), np.asarray(denominators, float)
    found: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0.0)
    return found


def _factor(before: Floats, after: Floats) -> Floats:
    """Return log(after / before): infinite from or to nothing, 0 where both are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        moved: Floats = np.log(after) - np.log(before)
    moved[(before <= 0.0) & (after <= 0.0)] = 0.0
    return moved

"""Daily sums that answer a comparison, and which of them a metric takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from liftos_kit.core.errors import InvalidFieldsError
from liftos_memory.domain.comparison_statistics import Booleans, Floats, Integers
from liftos_memory.domain.comparisons import (
    MAXIMUM_CELLS,
    MAXIMUM_MEMBERS,
    MONEY,
    ComparedMetric,
    ComparisonQuestion,
    too_many_members,
)
from liftos_memory.domain.derived_metrics import ACCOUNT_COLUMNS, MAIL_CHANNEL
from liftos_memory.domain.metrics_query import OBJECT_DIMENSIONS

_LARGEST_SUM: Final = float(2**63 - 1)
_INTERACTION: Final = "INTERACTION"
_CONVERSION: Final = "CONVERSION"


@dataclass(frozen=True, slots=True, eq=False)
class DailySums:
    """Sums of each day, member and source, in one currency or in none.

    A part is what a member has from one source.

    Attributes:
        members: Values of the dimension, in order.
        days: All days, in order.
        part_members: Each part's member, in order.
        part_sources: Each part's source; see `derived_metrics`.
        sums: By column, shape (days, parts); 0 where unset.
        is_set: By column, where some entry reported it.
    """

    members: tuple[str, ...]
    days: tuple[date, ...]
    part_members: Integers
    part_sources: Integers
    sums: Mapping[str, Integers]
    is_set: Mapping[str, Booleans]

    def reported(self, rows: slice, columns: Sequence[str] | None = None) -> Booleans:
        """Return where members reported any of the columns, shape (days, members)."""
        names = self.is_set if columns is None else columns
        parts: Booleans = np.any([self.is_set[name][rows] for name in names], axis=0)
        return np.logical_or.reduceat(parts, self._starts, axis=1) if self.members else parts

    def of_members(self, chosen: Booleans) -> "DailySums":
        """Return the sums of some members."""
        parts = chosen[self.part_members]
        return DailySums(
            tuple(np.array(self.members, object)[chosen]),
            self.days,
            (np.cumsum(chosen) - 1)[self.part_members[parts]],
            self.part_sources[parts],
            {name: values[:, parts] for name, values in self.sums.items()},
            {name: values[:, parts] for name, values in self.is_set.items()},
        )

    def by_member(self, values: Integers, own: Booleans) -> Integers:
        """Return the sum of each member's own parts; values have the shape (days, parts)."""
        if not self.members:
            return values
        found: Integers = np.add.reduceat(np.where(own, values, 0), self._starts, axis=1)
        return found

    @property
    def _starts(self) -> Integers:
        return np.searchsorted(self.part_members, np.arange(len(self.members)))


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """What is known of the entries of a member, of both periods.

    Attributes:
        quality_score: The lowest.
        final: Whether all of them are.
        attribution_settings: `attribution_key/date_basis`, in order.
    """

    quality_score: float
    final: bool
    attribution_settings: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ComparedSums:
    """All that a comparison is made of.

    Attributes:
        by_currency: Daily sums of the entries of each currency; "" where an entry names none.
        together: Daily sums over all currencies, for what has to do with no money.
        facts: By member.
        platforms: Whose entries there are, in order.
        twice_dated: Platforms whose entries by the day of the conversion were left out.
    """

    by_currency: Mapping[str, DailySums]
    together: DailySums
    facts: Mapping[str, MemberFacts]
    platforms: tuple[str, ...]
    twice_dated: tuple[str, ...] = ()


def compared_sums(question: ComparisonQuestion, batches: Sequence[pa.RecordBatch]) -> ComparedSums:
    """Return the sums of an answer to the question's daily query.

    Args:
        question: What is asked.
        batches: Its rows, with the columns of the question.

    Raises:
        InvalidFieldsError: There are too many members, one of them has entries that cannot be
            added up, or a sum does not fit into 64 bits.
    """
    schema = pa.schema([question.daily.schema.field(name) for name in question.columns])
    table = pa.Table.from_batches(batches, schema=schema).combine_chunks()
    table, twice_dated = _by_interaction(question, table)
    member_codes, members = _coded(table.column(question.dimension))
    days = question.days
    part_members, part_sources, parts = _parts(question, table, member_codes)
    if len(members) > MAXIMUM_MEMBERS or len(part_members) * len(days) > MAXIMUM_CELLS:
        raise too_many_members(f"{len(members)} members over {len(days)} days")
    _check_apart(table, member_codes, members)
    places = _day_places(table.column("period_start_date"), days)
    codes, currencies = _coded(table.column("currency_code"))
    columns = list(dict.fromkeys(name for one in question.metrics for name in one.columns))

    def dense(rows: npt.NDArray[np.intp]) -> DailySums:
        sums, is_set = {}, {}
        for name in columns:
            sums[name], is_set[name] = _dense(
                table.column(name),
                rows,
                places,
                parts,
                (len(days), len(part_members)),
            )
        return DailySums(members, days, part_members, part_sources, sums, is_set)

    everything = np.arange(table.num_rows)
    money = [name for name in columns if name in MONEY]
    by_currency: dict[str, DailySums] = {}
    for code, currency in enumerate(currencies if money else ()):
        daily = dense(everything[codes == code])
        if any(daily.is_set[name].any() for name in money):
            by_currency[currency] = daily
    together = dense(everything)
    # Without any amount, what has to do with money is told as unset rather than not at all.
    return ComparedSums(
        by_currency=by_currency or {"": together},
        together=together,
        facts=_facts(table, member_codes, members),
        platforms=tuple(sorted(set(table.column("platform").to_pylist()))),
        twice_dated=twice_dated,
    )


def _by_interaction(
    question: ComparisonQuestion, table: pa.Table
) -> tuple[pa.Table, tuple[str, ...]]:
    """Leave out days of conversions of platforms that tell the same by days of interactions too.

    Returns the rows that stay, and those platforms.
    """
    if question.dimension == "date_basis":
        return table, ()
    platforms = {
        basis: set(
            table.filter(pc.equal(table.column("date_basis"), basis)).column("platform").to_pylist()
        )
        for basis in (_INTERACTION, _CONVERSION)
    }
    both = sorted(platforms[_INTERACTION] & platforms[_CONVERSION])
    if not both:
        return table, ()
    again = pc.and_(
        pc.equal(table.column("date_basis"), _CONVERSION),
        pc.is_in(table.column("platform"), value_set=pa.array(both, pa.string())),
    )
    return table.filter(pc.invert(again)).combine_chunks(), tuple(both)


def _parts(
    question: ComparisonQuestion, table: pa.Table, member_codes: npt.NDArray[np.intp]
) -> tuple[Integers, Integers, npt.NDArray[np.intp]]:
    """Return each part's member and source, by member, and each row's part."""
    is_mail = pc.equal(pc.utf8_lower(table.column("channel")), MAIL_CHANNEL)
    keys = np.stack(
        [
            *(_coded(table.column(name))[0] for name in ACCOUNT_COLUMNS),
            is_mail.to_numpy().astype(np.intp),
        ],
        axis=1,
    )
    _, sources = np.unique(keys, axis=0, return_inverse=True)
    sources = sources.reshape(-1)
    if question.dimension in OBJECT_DIMENSIONS:
        # An object is of one source.
        first = np.full(int(member_codes.max(initial=-1)) + 1, len(sources))
        np.minimum.at(first, member_codes, sources)
        sources = first[member_codes]
    pairs = np.stack([member_codes, sources], axis=1)
    parts, places = np.unique(pairs, axis=0, return_inverse=True)
    return parts[:, 0].astype(np.int64), parts[:, 1].astype(np.int64), places.reshape(-1)


def _coded(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.intp], tuple[str, ...]]:
    """Return each row's place among the values, and the values in order; null is empty."""
    texts = pc.fill_null(column, "").combine_chunks()
    encoded = texts.dictionary_encode()
    values = encoded.dictionary.to_pylist()
    ordered = sorted(values)
    rank = {value: place for place, value in enumerate(ordered)}
    places = np.array([rank[value] for value in values], np.intp)
    indices = encoded.indices.to_numpy(zero_copy_only=False)
    return places[indices] if len(places) else np.zeros(0, np.intp), tuple(ordered)


def _day_places(column: pa.ChunkedArray, days: Sequence[date]) -> npt.NDArray[np.intp]:
    every = np.array(days, "datetime64[D]")
    found: npt.NDArray[np.intp] = np.searchsorted(every, column.to_numpy().astype("datetime64[D]"))
    return found


def _dense(
    column: pa.ChunkedArray,
    rows: npt.NDArray[np.intp],
    places: npt.NDArray[np.intp],
    parts: npt.NDArray[np.intp],
    shape: tuple[int, int],
) -> tuple[Integers, Booleans]:
    valid = np.asarray(column.is_valid())[rows]
    used = rows[valid]
    values: Integers = pc.fill_null(column, 0).to_numpy()[used]
    if np.abs(values.astype(np.float64)).sum() >= _LARGEST_SUM:
        raise InvalidFieldsError.of(
            "date_range",
            "a sum does not fit into 64 bits; ask for a shorter range",
            rule="comparison.sum",
        )
    sums = np.zeros(shape, np.int64)
    is_set = np.zeros(shape, np.bool_)
    where = (places[used], parts[used])
    np.add.at(sums, where, values)
    is_set[where] = True
    return sums, is_set


def _facts(
    table: pa.Table, member_codes: npt.NDArray[np.intp], members: Sequence[str]
) -> dict[str, MemberFacts]:
    quality = np.full(len(members), np.inf)
    final = np.ones(len(members), np.bool_)
    np.minimum.at(quality, member_codes, table.column("quality_score").to_numpy())
    np.logical_and.at(final, member_codes, table.column("final").to_numpy())
    settings: list[set[str]] = [set() for _ in members]
    key_codes, keys = _coded(table.column("attribution_key"))
    basis_codes, bases = _coded(table.column("date_basis"))
    for member, key, basis in set(
        zip(member_codes.tolist(), key_codes.tolist(), basis_codes.tolist(), strict=True)
    ):
        settings[member].add(f"{keys[key]}/{bases[basis]}")
    return {
        name: MemberFacts(float(quality[place]), bool(final[place]), tuple(sorted(settings[place])))
        for place, name in enumerate(members)
    }


def _check_apart(
    table: pa.Table, member_codes: npt.NDArray[np.intp], members: Sequence[str]
) -> None:
    """Refuse members under whose name the same clicks and sales stand more than once."""
    for field, read, example in (
        ("date_basis", str, "date_basis = INTERACTION"),
        ("breakdown_key", _breakdown, 'breakdown_key = ""'),
    ):
        codes, values = _coded(table.column(field))
        kinds: dict[int, set[str]] = {}
        for member, code in set(zip(member_codes.tolist(), codes.tolist(), strict=True)):
            kinds.setdefault(member, set()).add(read(values[code]))
        mixed = [member for member, found in kinds.items() if len(found) > 1]
        if mixed:
            first = min(mixed)
            found = ", ".join(kind or "whole days" for kind in sorted(kinds[first]))
            raise InvalidFieldsError.of(
                "filter",
                f"{members[first]!r:.80} has entries of several kinds ({found:.200}), under each of"
                f" which the same clicks and sales stand; choose one, such as {example}",
                rule=f"comparison.{field}",
            )


def _breakdown(key: str) -> str:
    """Return the names in a breakdown key: "age&gender" of "age=18-24&gender=female"."""
    return "&".join(part.partition("=")[0] for part in key.split("&"))


@dataclass(frozen=True, slots=True, eq=False)
class MetricSums:
    """One metric over a period: members, and all together last. A ratio takes what has both sides.

    Attributes:
        above: Numerators of each day, 0 where unset.
        below: Denominators in the unit of the ratio; for sums 1 where set.
        has_above: Days with a numerator.
        has_below: Days with a denominator.
        total_above: Of the whole period, NaN where unset.
        total_below: The same; NaN for sums.
        share_above: What each member has in the total of all, where that is a ratio.
        share_below: The same of the denominator.
    """

    above: Floats
    below: Floats
    has_above: Booleans
    has_below: Booleans
    total_above: Floats
    total_below: Floats
    share_above: Floats
    share_below: Floats


def metric_sums(metric: ComparedMetric, daily: DailySums, rows: slice) -> MetricSums:
    """Return what a metric takes of the sums of some days.

    As in every other answer, a ratio takes the sources that have both of its sides: of a member
    where the member has both from it, of all together where all have.
    """
    columns = dict.fromkeys(metric.columns)
    reported: dict[str, Booleans] = {
        name: np.any(daily.is_set[name][rows], axis=0) for name in columns
    }
    sources = int(daily.part_sources.max(initial=-1)) + 1
    by_source = {name: np.zeros(sources, np.bool_) for name in columns}
    for name, parts in reported.items():
        by_source[name][daily.part_sources[parts]] = True
    of_member = _sides(metric, reported)
    of_all = [side[daily.part_sources] for side in _sides(metric, by_source)]
    above, has_above = _side(metric.numerator, daily, rows, of_member[0], of_all[0])
    shared_above = daily.by_member(daily.sums[metric.numerator][rows], of_all[0]).sum(axis=0)
    below = np.zeros(above.shape)
    has_below = np.zeros(above.shape, np.bool_)
    total_below, share_below = np.zeros(above.shape[1]), np.zeros(len(daily.members))
    for one, own, shared in zip(metric.denominators, of_member[1:], of_all[1:], strict=True):
        sums, is_set = _side(one.column, daily, rows, own, shared)
        below += sums.astype(np.float64) * one.divisor
        has_below |= is_set
        # Added up as whole numbers first, as every other answer does.
        total_below += sums.sum(axis=0).astype(np.float64) * one.divisor
        column = daily.sums[one.column][rows]
        share_below += daily.by_member(column, shared).sum(axis=0).astype(np.float64) * one.divisor
    is_known = has_above.any(axis=0)
    is_known_below = has_below.any(axis=0)
    if not metric.denominators:
        below, has_below = has_above.astype(np.float64), has_above
    return MetricSums(
        above=above.astype(np.float64),
        below=below,
        has_above=has_above,
        has_below=has_below,
        total_above=np.where(is_known, above.sum(axis=0).astype(np.float64), np.nan),
        total_below=np.where(is_known_below, total_below, np.nan),
        share_above=shared_above.astype(np.float64),
        share_below=share_below,
    )


def _sides(metric: ComparedMetric, reported: Mapping[str, Booleans]) -> list[Booleans]:
    """Return who takes part in the numerator, and in each denominator; the first that is set."""
    has_above = reported[metric.numerator]
    if not metric.denominators:
        return [has_above]
    sides = []
    is_open = has_above.copy()
    for one in metric.denominators:
        sides.append(is_open & reported[one.column])
        is_open &= ~reported[one.column]
    return [has_above & ~is_open, *sides]


def _side(
    column: str, daily: DailySums, rows: slice, of_member: Booleans, of_all: Booleans
) -> tuple[Integers, Booleans]:
    """Return a column's sums of each day, of members and all together, and where it is set."""
    values, is_set = daily.sums[column][rows], daily.is_set[column][rows]
    return (
        np.column_stack(
            [daily.by_member(values, of_member), np.where(of_all, values, 0).sum(axis=1)]
        ),
        np.column_stack(
            [
                daily.by_member(is_set.astype(np.int64), of_member) > 0,
                (is_set & of_all).any(axis=1),
            ]
        ),
    )

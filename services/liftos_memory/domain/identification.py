"""What a data set can tell apart, before anyone models it.

A model of marketing attributes the outcome to channels by how they move. Where two move together,
hardly move, or are silent most of the time, the data cannot say which of them worked, and the
model's answer is its prior. None of that is a fault of the data's quality, so nothing is refused:
the report says what to expect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

PARAMETERS_PER_TREATMENT: Final = 3
"""Effect, carry-over and saturation."""

HIGH_CORRELATION: Final = 0.8
HIGH_VIF: Final = 10.0
MANY_ZEROS: Final = 0.5
LITTLE_VARIATION: Final = 0.1
FEW_PERIODS: Final = 10.0
"""Where a warning begins: usual limits of the field, such as a variance inflation factor of 10 and
ten observations per parameter."""

_COLLINEAR: Final = 1e-10

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that a model of the data set will not be able to tell.

    Attributes:
        code: Stable word.
        columns: Whom it concerns.
        value: What was found; None where it is beyond all numbers.
        limit: Where the warning begins.
        message: What it means.
    """

    code: str
    columns: tuple[str, ...]
    value: float | None
    limit: float
    message: str


@dataclass(frozen=True, slots=True)
class Treatment:
    """How a treatment moves.

    Attributes:
        column: Its name.
        vif: Variance inflation factor, 1 or more; None where others explain it wholly, or where it
            is constant.
        zero_share: Share of its cells that are 0.
        variation: Standard deviation over mean; None where the mean is 0.
    """

    column: str
    vif: float | None
    zero_share: float
    variation: float | None


@dataclass(frozen=True, slots=True)
class Correlation:
    """How two treatments move together: Pearson's r; None where one is constant."""

    columns: tuple[str, str]
    r: float | None


@dataclass(frozen=True, slots=True)
class IdentificationReport:
    """What a data set can tell apart.

    Attributes:
        observations: Units times steps.
        parameters: Of a usual model: one for the level, `PARAMETERS_PER_TREATMENT` for each
            treatment, one for each control.
        treatments: One by one.
        correlations: Pair by pair, the strongest first.
        concerns: What follows.
    """

    observations: int
    parameters: int
    treatments: tuple[Treatment, ...]
    correlations: tuple[Correlation, ...]
    concerns: tuple[Concern, ...]

    @property
    def observations_per_parameter(self) -> float:
        """How many cells of the outcome there are for each number that is to be learned."""
        return self.observations / self.parameters


def identify(
    columns: Sequence[str], treatments: _Floats, *, control_count: int
) -> IdentificationReport:
    """Return what the treatments of a data set allow to tell apart.

    Args:
        columns: Their names.
        treatments: One column each, a row per unit and step; finite.
        control_count: How many controls there are.
    """
    correlation = _correlation(treatments)
    vifs = variance_inflation(treatments)
    means, deviations = treatments.mean(axis=0), treatments.std(axis=0)
    each = tuple(
        Treatment(
            column=name,
            vif=float(vifs[place]) if np.isfinite(vifs[place]) else None,
            zero_share=float((treatments[:, place] == 0).mean()),
            variation=float(deviations[place] / means[place]) if means[place] else None,
        )
        for place, name in enumerate(columns)
    )
    pairs = [
        Correlation(
            (columns[first], columns[second]),
            float(correlation[first, second]) if np.isfinite(correlation[first, second]) else None,
        )
        for first in range(len(columns))
        for second in range(first + 1, len(columns))
    ]
    pairs.sort(key=lambda pair: -1.0 if pair.r is None else -abs(pair.r) - 2.0)
    report = IdentificationReport(
        observations=len(treatments),
        parameters=1 + PARAMETERS_PER_TREATMENT * len(columns) + control_count,
        treatments=each,
        correlations=tuple(pairs),
        concerns=(),
    )
    constant = {name for place, name in enumerate(columns) if deviations[place] == 0}
    return IdentificationReport(
        report.observations,
        report.parameters,
        report.treatments,
        report.correlations,
        tuple(_concerns(report, constant)),
    )


def _correlation(treatments: _Floats) -> _Floats:
    centred = treatments - treatments.mean(axis=0)
    norms = np.sqrt((centred**2).sum(axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        found: _Floats = np.clip((centred / norms).T @ (centred / norms), -1.0, 1.0)
    return found


def variance_inflation(treatments: _Floats) -> _Floats:
    """Return 1 / (1 - R²) of each column regressed on all others and a constant.

    Infinite where the others explain a column wholly, NaN where it is constant.
    """
    centred = treatments - treatments.mean(axis=0)
    totals = (centred**2).sum(axis=0)
    found = np.full(treatments.shape[1], np.nan)
    # Equal scales keep a small column from being lost beside a large one.
    scaled = np.divide(centred, np.sqrt(totals), out=np.zeros_like(centred), where=totals > 0)
    for place in np.flatnonzero(totals > 0):
        others = np.delete(scaled, place, axis=1)
        own = scaled[:, place]
        fitted = others @ np.linalg.lstsq(others, own, rcond=None)[0] if others.size else 0 * own
        unexplained = float(((own - fitted) ** 2).sum())
        found[place] = np.inf if unexplained < _COLLINEAR else 1 / unexplained
    return found


def _concerns(report: IdentificationReport, constant: set[str]) -> list[Concern]:
    found = []
    per_parameter = report.observations_per_parameter
    if per_parameter < FEW_PERIODS:
        found.append(
            Concern(
                "FEW_PERIODS",
                (),
                per_parameter,
                FEW_PERIODS,
                f"{report.observations} observations for {report.parameters} parameters: what the "
                "model says will lean on its priors; add history, units, or join channels",
            )
        )
    for one in report.treatments:
        if one.column in constant:
            found.append(
                Concern(
                    "CONSTANT",
                    (one.column,),
                    0.0,
                    LITTLE_VARIATION,
                    f"{one.column} never changes, so nothing can be learned about it",
                )
            )
            continue
        if one.zero_share > MANY_ZEROS:
            found.append(
                Concern(
                    "MANY_ZEROS",
                    (one.column,),
                    one.zero_share,
                    MANY_ZEROS,
                    f"{one.column} is 0 in {one.zero_share:.0%} of its cells: its effect rests on "
                    "the few others",
                )
            )
        if one.variation is not None and one.variation < LITTLE_VARIATION:
            found.append(
                Concern(
                    "LITTLE_VARIATION",
                    (one.column,),
                    one.variation,
                    LITTLE_VARIATION,
                    f"{one.column} varies by {one.variation:.1%} of its mean: too little to see "
                    "what more or less of it would do",
                )
            )
        if one.vif is None or one.vif > HIGH_VIF:
            found.append(
                Concern(
                    "COLLINEAR",
                    (one.column,),
                    one.vif,
                    HIGH_VIF,
                    f"{one.column} moves with the other treatments (variance inflation "
                    f"{'without bound' if one.vif is None else f'{one.vif:.1f}'}): its effect "
                    "cannot be told from theirs",
                )
            )
    found += [
        Concern(
            "CORRELATED",
            pair.columns,
            pair.r,
            HIGH_CORRELATION,
            f"{pair.columns[0]} and {pair.columns[1]} move together (r = {pair.r:.2f}): a test "
            "with one of them alone would tell them apart",
        )
        for pair in report.correlations
        if pair.r is not None and abs(pair.r) > HIGH_CORRELATION
    ]
    return found

"""What experiments found of channels, in the columns that pymc-marketing calibrates models with.

An artifact of kind RESULT and scope `experiments` holds them: its body has `lift_tests`, a list of
rows with `channel`, `x` (spend in a step before the test), `delta_x` (how much more was spent),
`delta_y` (how much more of the outcome came of it) and `sigma` (standard error of `delta_y`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from liftos_memory.domain.dataset_request import DatasetFormat
from liftos_memory.domain.panel_layout import ChannelColumns

LIFT_TEST_KIND: Final = "RESULT"
LIFT_TEST_SCOPE: Final = "experiments"
LIFT_TEST_FORMATS: Final = (DatasetFormat.MERIDIAN, DatasetFormat.PYMC)
"""Formats of models that can be calibrated with them."""

_FIELD: Final = "lift_tests"
_NUMBERS: Final = ("x", "delta_x", "delta_y", "sigma")


@dataclass(frozen=True, slots=True)
class Experiments:
    """An artifact that may hold lift tests."""

    artifact: str
    version: int
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class LiftTests:
    """Lift tests of the channels of a data set.

    Attributes:
        rows: As the sidecar has them.
        caveats: What is left out, and why.
    """

    rows: tuple[Mapping[str, object], ...]
    caveats: tuple[str, ...]


def lift_tests(
    experiments: Sequence[Experiments],
    channels: Sequence[ChannelColumns],
    format: DatasetFormat,  # noqa: A002
) -> LiftTests:
    """Return the lift tests of the channels of a data set, in the order of artifacts and rows.

    Args:
        experiments: What is kept, by id.
        channels: Where each channel stands; tests name it by its short name or its treatment.
        format: Decides by which of both a row names it: pymc-marketing knows columns.
    """
    if format not in LIFT_TEST_FORMATS:
        return LiftTests((), ())
    names = {
        known: one.treatment if format is DatasetFormat.PYMC else one.channel
        for one in channels
        for known in (one.channel, one.treatment)
    }
    rows: list[Mapping[str, object]] = []
    caveats: list[str] = []
    for experiment in experiments:
        found = experiment.body.get(_FIELD, [])
        for number, row in enumerate(found if isinstance(found, list) else [found], start=1):
            problem = _problem(row, names, format)
            if problem:
                caveats.append(
                    f"Lift test {number} of artifact {experiment.artifact} is left out: {problem}."
                )
                continue
            rows.append(
                {
                    "channel": names[row["channel"]],
                    **{name: float(row[name]) for name in _NUMBERS},
                    "artifact": experiment.artifact,
                    "version": experiment.version,
                }
            )
    return LiftTests(tuple(rows), tuple(caveats))


def _problem(row: object, names: Mapping[str, str], format: DatasetFormat) -> str:  # noqa: A002
    """Return why a row cannot be used; empty where it can."""
    if not isinstance(row, dict):
        return "it is no object"
    for name in _NUMBERS:
        value = row.get(name)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            return f"{name} is no number"
    channel = row.get("channel")
    if not isinstance(channel, str) or channel not in names:
        return f"the data set has no channel {channel!r}"
    x, delta_x, delta_y, sigma = (float(row[name]) for name in _NUMBERS)
    problems = {
        "sigma is not above 0": sigma <= 0,
        "spend before or during it is below 0": x < 0 or x + delta_x < 0,
        "pymc-marketing takes none in which more spend brings less": (
            format is DatasetFormat.PYMC and delta_x * delta_y < 0
        ),
    }
    return next((text for text, holds in problems.items() if holds), "")

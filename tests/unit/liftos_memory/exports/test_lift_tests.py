"""Lift tests: rows that a model can be calibrated with, and a reason for each that it cannot."""

from typing import Any

import pytest

from liftos_memory.domain.dataset_request import DatasetFormat
from liftos_memory.domain.lift_tests import Experiments, lift_tests
from liftos_memory.domain.panel_layout import ChannelColumns

META = ChannelColumns("meta", "meta", "facebook", "meta_spend", "meta_clicks", "clicks")
GOOD = {"channel": "meta", "x": 100, "delta_x": 20.5, "delta_y": 60, "sigma": 5}


def _found(*rows: Any, format_: DatasetFormat = DatasetFormat.PYMC) -> Any:
    kept = Experiments("geo-1", 3, {"lift_tests": list(rows)})
    return lift_tests([kept], [META], format_)


def test_rows_name_channels_as_their_consumer_does() -> None:
    """The column for pymc-marketing, the channel for Meridian; tests may name either."""
    by_column = GOOD | {"channel": "meta_spend"}
    of_pymc = _found(GOOD, by_column)
    assert [row["channel"] for row in of_pymc.rows] == ["meta_spend", "meta_spend"]
    assert of_pymc.caveats == ()
    of_meridian = _found(by_column, format_=DatasetFormat.MERIDIAN)
    assert of_meridian.rows == (
        {
            "channel": "meta",
            "x": 100.0,
            "delta_x": 20.5,
            "delta_y": 60.0,
            "sigma": 5.0,
            "artifact": "geo-1",
            "version": 3,
        },
    )
    assert _found(GOOD, format_=DatasetFormat.LONG).rows == ()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("x", "it is no object"),
        (GOOD | {"sigma": 0}, "sigma is not above 0"),
        (GOOD | {"sigma": None}, "sigma is no number"),
        (GOOD | {"x": True}, "x is no number"),
        (GOOD | {"delta_y": float("inf")}, "delta_y is no number"),
        (GOOD | {"channel": "tv"}, "the data set has no channel 'tv'"),
        (GOOD | {"channel": ["meta"]}, "the data set has no channel ['meta']"),
        (GOOD | {"delta_x": -101}, "spend before or during it is below 0"),
        (GOOD | {"delta_y": -1}, "pymc-marketing takes none in which more spend brings less"),
    ],
)
def test_a_row_that_cannot_be_used_is_told(row: Any, reason: str) -> None:
    """The others stand."""
    found = _found(row, GOOD)
    assert found.caveats == (f"Lift test 1 of artifact geo-1 is left out: {reason}.",)
    assert len(found.rows) == 1


def test_more_spend_that_brings_less_is_a_finding_for_others() -> None:
    """Meridian's priors take it."""
    assert len(_found(GOOD | {"delta_y": -1}, format_=DatasetFormat.MERIDIAN).rows) == 1


def test_other_results_have_none() -> None:
    """A body without the field says nothing, and one of another shape is told."""
    other = Experiments("r", 1, {"roas": 2})
    assert lift_tests([other], [META], DatasetFormat.PYMC).rows == ()
    odd = Experiments("r", 1, {"lift_tests": 5})
    assert lift_tests([odd], [META], DatasetFormat.PYMC).caveats == (
        "Lift test 1 of artifact r is left out: it is no object.",
    )

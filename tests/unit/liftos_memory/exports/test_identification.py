"""The identification report against textbook forms, and on data whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from liftos_memory.domain.identification import identify, variance_inflation

_NUMBERS = st.floats(0, 1e6, allow_nan=False, width=32)


def _codes(report: object) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.code, one.columns) for one in report.concerns]  # type: ignore[attr-defined]


@settings(max_examples=60)
@given(st_numpy.arrays(np.float64, st.tuples(st.integers(12, 40), st.just(4)), elements=_NUMBERS))
def test_the_report_is_of_what_numpy_says(treatments: np.ndarray) -> None:
    """Correlations and inflation agree with their textbook forms wherever these are defined."""
    report = identify(list("abcd"), treatments, control_count=0)
    deviations = treatments.std(axis=0)
    for pair in report.correlations:
        first, second = ("abcd".index(name) for name in pair.columns)
        if deviations[first] == 0 or deviations[second] == 0:
            assert pair.r is None
        else:
            expected = np.corrcoef(treatments[:, first], treatments[:, second])[0, 1]
            assert pair.r == pytest.approx(expected, abs=1e-6)
    for one in report.treatments:
        assert one.vif is None or one.vif >= 1 - 1e-9
        assert 0 <= one.zero_share <= 1


def test_inflation_is_that_of_a_regression() -> None:
    """1 / (1 - R²), with R² of the usual regression with a constant."""
    random = np.random.default_rng(7)
    treatments = random.gamma(2.0, 50.0, (156, 4))
    treatments[:, 3] = 2 * treatments[:, 0] + 0.5 * treatments[:, 1] + random.normal(0, 20, 156)
    found = variance_inflation(treatments)
    for place in range(4):
        others = np.column_stack([np.ones(156), np.delete(treatments, place, axis=1)])
        own = treatments[:, place]
        residual = own - others @ np.linalg.lstsq(others, own, rcond=None)[0]
        r_squared = 1 - residual @ residual / ((own - own.mean()) @ (own - own.mean()))
        assert found[place] == pytest.approx(1 / (1 - r_squared), rel=1e-9)


def test_channels_that_cannot_be_told_apart() -> None:
    """A copy in another currency is beyond all inflation, and both are named."""
    random = np.random.default_rng(3)
    first = random.gamma(2.0, 50.0, 104)
    other = random.gamma(2.0, 50.0, 104)
    report = identify(
        ["meta", "copy", "other"], np.column_stack([first, 1.1 * first, other]), control_count=0
    )
    assert [one.vif for one in report.treatments[:2]] == [None, None]
    assert report.correlations[0].columns == ("meta", "copy")
    assert report.correlations[0].r == pytest.approx(1.0)
    assert {"COLLINEAR", "CORRELATED"} <= {code for code, _ in _codes(report)}
    assert ("COLLINEAR", ("other",)) not in _codes(report)


def test_what_hardly_moves_or_is_silent() -> None:
    """Constant, nearly constant and mostly silent channels are each told of, and few periods."""
    random = np.random.default_rng(5)
    steady = 100 + random.normal(0, 1, 20)
    silent = np.where(np.arange(20) % 5 == 0, 50.0 + np.arange(20), 0.0)
    report = identify(
        ["steady", "silent", "constant"],
        np.column_stack([steady, silent, np.full(20, 7.0)]),
        control_count=2,
    )
    assert report.observations_per_parameter == pytest.approx(20 / (1 + 9 + 2))
    assert _codes(report) == [
        ("FEW_PERIODS", ()),
        ("LITTLE_VARIATION", ("steady",)),
        ("MANY_ZEROS", ("silent",)),
        ("CONSTANT", ("constant",)),
    ]
    assert [one.vif is None for one in report.treatments] == [False, False, True]


def test_one_channel_alone() -> None:
    """Nothing stands beside it, so nothing inflates it."""
    random = np.random.default_rng(5)
    report = identify(["meta"], random.gamma(2.0, 50.0, (200, 1)), control_count=0)
    assert report.treatments[0].vif == pytest.approx(1.0)
    assert report.correlations == ()
    assert report.concerns == ()

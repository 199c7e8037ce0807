"""Effects of treatments that were put into the numbers are found, and none where there is none."""

import numpy as np
import pytest

from liftos_causal.domain.effects import Comparison, Method, estimated, minimum_detectable_effect
from liftos_causal.domain.panel import DataInsufficientError

_METHODS = list(Method)


def _comparison(
    seed: int, *, lift: float, units: int = 24, before: int = 28, during: int = 14
) -> Comparison:
    """Units of unlike size that share good and bad days; every second one is treated."""
    generator = np.random.default_rng(seed)
    days = before + during
    size = generator.uniform(80, 120, (units, 1))
    outcome = size + generator.normal(0, 5, (1, days)) + generator.normal(0, 8, (units, days))
    treated = np.arange(units) % 2 == 0
    outcome[treated, before:] += lift
    return Comparison(outcome[:, :before], outcome[:, before:], treated)


@pytest.mark.parametrize("method", _METHODS)
def test_an_effect_is_found(method: Method) -> None:
    """The interval holds the truth, leaves out zero, and the total is over units and days."""
    truth = 20.0 * 12 * 14
    found = [estimated(_comparison(seed, lift=20.0), method, 0.95) for seed in range(10)]
    # The jump of the first day alone says less than all days do.
    assert sum(each.significant for each in found) >= 9
    assert sum(each.effect.low <= truth <= each.effect.high for each in found) >= 8
    assert np.mean([each.effect.value for each in found]) == pytest.approx(truth, rel=0.1)
    one = found[0]
    assert one.treatment_outcome - one.expected_outcome == pytest.approx(one.effect.value)
    assert one.relative_effect is not None
    assert one.relative_effect.value == pytest.approx(one.effect.value / one.expected_outcome)


@pytest.mark.parametrize("method", _METHODS)
def test_no_effect_is_seldom_found(method: Method) -> None:
    """Of 60 comparisons without an effect few are called significant at 5 %."""
    found = [estimated(_comparison(seed, lift=0.0), method, 0.95) for seed in range(60)]
    assert sum(each.significant for each in found) <= 8


def test_one_treated_unit_varies_as_the_others_do() -> None:
    """Its interval holds the truth as often as it says, and the caveat says what that rests on."""
    alone = np.arange(24) == 0
    held = alarms = 0
    for seed in range(100):
        plain = _comparison(seed, lift=0.0)
        lifted = plain.during + np.where(alone[:, None], 10.0, 0.0)
        with_effect = estimated(Comparison(plain.before, lifted, alone), _METHODS[0], 0.95)
        held += with_effect.effect.low <= 140.0 <= with_effect.effect.high
        without = estimated(Comparison(plain.before, plain.during, alone), _METHODS[0], 0.95)
        alarms += without.significant
        assert any("one unit" in caveat for caveat in without.caveats)
    assert 88 <= held <= 99
    assert alarms <= 11


def test_days_of_a_unit_that_are_alike_do_not_make_it_surer() -> None:
    """Errors that last over all days of a unit leave false alarms where they should be."""
    alarms = 0
    for seed in range(100):
        plain = _comparison(seed, lift=0.0, units=12)
        drift = np.random.default_rng(seed + 1_000).normal(0, 10, (12, 1))
        shifted = Comparison(plain.before, plain.during + drift, plain.treated)
        alarms += estimated(shifted, Method.DIFFERENCE_IN_DIFFERENCES, 0.95).significant
    assert alarms <= 12


def test_groups_that_moved_apart_before_are_named() -> None:
    """Unlike trends before the treatment are a caveat."""
    plain = _comparison(3, lift=0.0)
    trend = np.where(plain.treated[:, None], np.arange(28) * 2.0, 0.0)
    found = estimated(
        Comparison(plain.before + trend, plain.during, plain.treated),
        Method.DIFFERENCE_IN_DIFFERENCES,
        0.95,
    )
    assert any("moved apart" in caveat for caveat in found.caveats)


def test_the_smallest_effect_shrinks_with_more_units() -> None:
    """More units show smaller effects."""
    found = [
        minimum_detectable_effect(
            estimated(
                _comparison(5, lift=0.0, units=units), Method.DIFFERENCE_IN_DIFFERENCES, 0.95
            ),
            0.95,
        )
        for units in (8, 80)
    ]
    few, many = found
    assert few is not None
    assert many is not None
    assert 0 < many < few


def test_an_effect_of_all_there_is_is_relative_to_nothing() -> None:
    """Where nothing would have been, no fraction is told, and neither is a smallest one."""
    treated = np.array([True, True, False, False])
    before, during = np.zeros((4, 7)), np.where(treated[:, None], 10.0, np.zeros((4, 7)))
    found = estimated(Comparison(before, during, treated), Method.DIFFERENCE_IN_DIFFERENCES, 0.95)
    assert found.effect.value == pytest.approx(10.0 * 2 * 7)
    assert found.significant
    assert found.p_value == pytest.approx(0.0, abs=1e-9)
    assert found.relative_effect is None
    assert minimum_detectable_effect(found, 0.95) is None


def test_what_cannot_be_compared_is_said() -> None:
    """One group, no days or too few units: each is told."""
    plain = _comparison(1, lift=0.0)
    none = np.zeros(24, dtype=bool)
    broken = [
        (Comparison(plain.before, plain.during, none), _METHODS[0], "with and without"),
        (Comparison(plain.before, plain.during[:, :0], plain.treated), _METHODS[0], "no day of"),
        (Comparison(plain.before[:, :0], plain.during, plain.treated), _METHODS[0], "no day befo"),
        (
            Comparison(plain.before[:2], plain.during[:2], plain.treated[:2]),
            Method.SYNTHETIC_CONTROL,
            "three untreated",
        ),
        (
            Comparison(plain.before[:2], plain.during[:2], plain.treated[:2]),
            Method.DIFFERENCE_IN_DIFFERENCES,
            "three units in all",
        ),
    ]
    for comparison, method, text in broken:
        with pytest.raises(DataInsufficientError, match=text):
            estimated(comparison, method, 0.95)

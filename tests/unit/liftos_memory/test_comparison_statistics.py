"""The statistics of comparisons, each against its definition, and on odd input."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from liftos_memory.domain.comparison_statistics import (
    Floats,
    change_interval,
    delta_interval,
    lagged_correlations,
    mix_and_rate,
    percentiles,
    special_day_effects,
    t_quantile,
    t_tail,
    weekday_effects,
)
from liftos_memory.domain.intervals import Interval, wilson_interval

COUNTS = st.integers(0, 10**12)
AMOUNTS = st.one_of(st.just(0.0), st.floats(0.01, 1e9))


def _columns(*rows: list[float]) -> Floats:
    return np.array(rows, np.float64).T


@st.composite
def _two_periods(draw: Any) -> tuple[Floats, Floats, Floats, Floats]:
    size = draw(st.integers(1, 8))
    rows = [draw(arrays(np.float64, size, elements=AMOUNTS)) for _ in range(4)]
    return rows[0], rows[1], rows[2], rows[3]


@given(periods=_two_periods())
def test_mix_and_rate_add_up_to_the_change(
    periods: tuple[Floats, Floats, Floats, Floats],
) -> None:
    """Whoever is new, gone or without a denominator: nothing of the change is lost."""
    above, below, above_before, below_before = periods
    mix, rate = mix_and_rate(above, below, above_before, below_before)
    if below.sum() == 0 or below_before.sum() == 0:
        assert np.isnan(mix).all()
        assert np.isnan(rate).all()
        return
    change = above.sum() / below.sum() - above_before.sum() / below_before.sum()
    rounding = 1e-12 * (np.abs(mix).sum() + np.abs(rate).sum())
    assert mix.sum() + rate.sum() == pytest.approx(change, rel=1e-12, abs=rounding)


def test_mix_and_rate_tell_simpsons_paradox() -> None:
    """Each channel gets better, the total worse: all of that is mix."""
    mix, rate = mix_and_rate(
        np.array([11.0, 33.0]), np.array([10.0, 10.0]), np.array([1.0, 57.0]), np.array([1.0, 19.0])
    )
    assert rate == pytest.approx([(1.1 - 1.0) * 0.05, (3.3 - 3.0) * 0.95])
    assert mix == pytest.approx([(0.5 - 0.05) * 1.1, (0.5 - 0.95) * 3.3])
    assert mix.sum() + rate.sum() == pytest.approx(44 / 20 - 58 / 20)


@given(trials=COUNTS, share=st.floats(0, 1))
def test_wilson_holds_the_rate_within_0_and_1(trials: int, share: float) -> None:
    """The ends enclose the rate, and never leave what a rate can be."""
    successes = math.floor(trials * share)
    interval = wilson_interval(np.array([float(successes)]), np.array([float(trials)]))
    if trials == 0:
        assert np.isnan(interval.low[0])
        return
    assert 0.0 <= interval.low[0] <= successes / trials <= interval.high[0] <= 1.0


def test_wilson_gives_published_figures() -> None:
    """81 of 263 and 15 of 148, from Newcombe 1998; the last has more successes than trials."""
    interval = wilson_interval(
        np.array([81.0, 15.0, 0.0, 3.0]), np.array([263.0, 148.0, 20.0, 2.0])
    )
    assert interval.low == pytest.approx([0.2553, 0.0624, 0.0, np.nan], abs=5e-5, nan_ok=True)
    assert interval.high == pytest.approx([0.3662, 0.1605, 0.1611, np.nan], abs=5e-5, nan_ok=True)


def test_the_interval_of_a_change_gives_published_figures() -> None:
    """Newcombe 1998, method 10: 56 of 70 against 48 of 80 is .0524 to .3339."""
    now = wilson_interval(np.array([56.0]), np.array([70.0]))
    then = wilson_interval(np.array([48.0]), np.array([80.0]))
    interval = change_interval(np.array([0.8]), now, np.array([0.6]), then)
    assert interval.low[0] == pytest.approx(0.0524, abs=5e-5)
    assert interval.high[0] == pytest.approx(0.3339, abs=5e-5)


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423)],
)
def test_quantiles_of_t(degrees: int, quantile: float) -> None:
    """The tables' figures, within 0.2 %, and the tail beyond them is 5 %."""
    assert t_quantile(np.array([float(degrees)]))[0] == pytest.approx(quantile, rel=2e-3)
    if degrees >= 9:
        tail = t_tail(np.array([quantile]), np.array([float(degrees)]))
        assert tail[0] == pytest.approx(0.05, rel=5e-3)


@pytest.mark.parametrize(
    ("days", "dependence", "least"), [(28, 0.0, 0.93), (28, 0.5, 0.90), (90, 0.5, 0.90)]
)
def test_the_delta_interval_covers_the_truth(days: int, dependence: float, least: float) -> None:
    """Of 95 % intervals of ratios whose days depend on each other, that many hold the truth."""
    random = np.random.default_rng(7)
    noise = np.zeros((days, 2_000))
    for day in range(days):
        noise[day] = random.normal(size=2_000) + (dependence * noise[day - 1] if day else 0.0)
    below = 100.0 + 10.0 * random.normal(size=noise.shape)
    interval = delta_interval(2.0 * below + 5.0 * noise, below, np.ones(noise.shape, np.bool_))
    covered = np.mean((interval.low <= 2.0) & (interval.high >= 2.0))
    assert least <= covered <= 0.97


def test_percentiles_count_equal_ones_half() -> None:
    """The least is 0, the greatest 1, equals share their place, and the unset have none."""
    places = percentiles(np.array([5.0, 1.0, np.nan, 9.0, 5.0]))
    assert places == pytest.approx([0.5, 0.0, np.nan, 1.0, 0.5], nan_ok=True)
    assert np.isnan(percentiles(np.array([3.0, np.nan]))).all()
    assert percentiles(np.array([])).size == 0


@given(
    values=arrays(np.float64, array_shapes(min_dims=1, max_dims=1), elements=st.floats(-1e9, 1e9))
)
def test_percentiles_follow_the_order(values: Floats) -> None:
    """A greater value never stands lower, and all stand around the middle."""
    places = percentiles(values)
    if len(values) < 2:
        return
    order = np.argsort(values, kind="stable")
    assert (np.diff(places[order]) >= 0).all()
    assert places.mean() == pytest.approx(0.5)


def test_a_correlation_is_found_at_its_lag() -> None:
    """The second follows the first by three days; the reverse of the pair has the reverse lag."""
    random = np.random.default_rng(3)
    days = 60
    base = random.normal(size=days + 3)
    weekdays = np.arange(days) % 7
    season = 10.0 * (weekdays == 5)
    values = _columns(list(base[3:] + season), list(base[:days] + season), [1.0] * days)
    found = lagged_correlations(values, weekdays, 7)
    assert found.lag[0, 1] == 3
    assert found.lag[1, 0] == -3
    assert found.coefficient[0, 1] == pytest.approx(found.coefficient[1, 0])
    assert found.coefficient[0, 1] > 0.9
    assert found.days[0, 1] == days - 3
    assert np.isnan(found.coefficient[0, 2]), "what does not move goes with nothing"


def test_the_season_of_the_week_is_no_correlation() -> None:
    """Two members that only share their weekends have nothing in common."""
    random = np.random.default_rng(5)
    weekdays = np.arange(84) % 7
    season = 100.0 * (weekdays >= 5)
    values = random.normal(size=(84, 2)) + season[:, None]
    found = lagged_correlations(values, weekdays, 0)
    assert abs(found.coefficient[0, 1]) < 0.3
    assert found.p_value[0, 1] > 0.01


def test_correlations_without_anything_in_common_are_rarely_significant() -> None:
    """With 15 lags tried, hardly more than 5 % of the pairs of pure noise come under 5 %."""
    random = np.random.default_rng(11)
    values = random.normal(size=(56, 60))
    chances = lagged_correlations(values, np.arange(56) % 7, 7).p_value
    upper = chances[np.triu_indices(60, 1)]
    assert np.mean(upper < 0.05) < 0.06


def test_too_few_days_in_common_have_no_correlation() -> None:
    """Twenty days are not enough, and neither are days that the other lacks."""
    values = np.random.default_rng(1).normal(size=(40, 2))
    values[:20, 0] = np.nan
    found = lagged_correlations(values, np.arange(40) % 7, 7)
    assert np.isnan(found.coefficient[0, 1])
    assert np.isnan(found.p_value[0, 1])


def test_effects_of_weekdays_and_holidays() -> None:
    """Saturdays are twice the other days, the holiday is half of what its weekday would be."""
    days = 56
    weekdays = np.arange(days) % 7
    above = np.where(weekdays == 5, 200.0, 100.0)
    holiday = np.zeros(days, np.bool_)
    holiday[[12, 26]] = True  # Saturdays
    above[holiday] = 100.0
    column, ones = above[:, None], np.ones((days, 1))
    counted = ones.astype(np.bool_)
    effects = weekday_effects(column, ones, counted, weekdays, ~holiday)
    ordinary_mean = above[~holiday].mean()
    assert effects.ratio[5, 0] == pytest.approx(200.0 / ordinary_mean)
    assert effects.days[5, 0] == 6
    special = special_day_effects(
        column, ones, counted, weekdays=weekdays, ordinary=~holiday, kinds=holiday[None, :]
    )
    assert special.ratio[0, 0] == pytest.approx(0.5)
    assert special.days[0, 0] == 2
    assert special.low[0, 0] == pytest.approx(special.high[0, 0])


@given(
    above=arrays(np.float64, (30, 3), elements=st.floats(-1e12, 1e12)),
    below=arrays(np.float64, (30, 3), elements=AMOUNTS),
    counted=arrays(np.bool_, (30, 3)),
)
def test_nothing_is_infinite(above: Floats, below: Floats, counted: Any) -> None:
    """Whatever the numbers are, no answer is infinite, and no interval is the wrong way round."""
    above, below = np.where(counted, above, 0.0), np.where(counted, below, 0.0)
    weekdays = np.arange(30) % 7
    ordinary = np.arange(30) % 11 != 0
    pairs = [
        delta_interval(above, below, counted),
        *(
            Interval(effects.low, effects.high)
            for effects in (
                weekday_effects(above, below, counted, weekdays, ordinary),
                special_day_effects(
                    above,
                    below,
                    counted,
                    weekdays=weekdays,
                    ordinary=ordinary,
                    kinds=~ordinary[None, :],
                ),
            )
        ),
    ]
    for low, high in pairs:
        assert not np.isinf(low).any()
        assert not np.isinf(high).any()
        known = ~np.isnan(low)
        assert (low[known] <= high[known]).all()
    values = np.where(counted, above, np.nan)
    found = lagged_correlations(values, weekdays, 3)
    for array in (
        found.coefficient,
        found.p_value,
        *mix_and_rate(above[0], below[0], above[1], below[1]),
    ):
        assert not np.isinf(array).any()
    assert (np.abs(np.nan_to_num(found.coefficient)) <= 1).all()

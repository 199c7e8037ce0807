"""Detectors: what they find, what they leave alone, and reference figures of others."""

from dataclasses import fields
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from liftos_memory.domain.detectors.anomalies import (
    Episode,
    Scale,
    Scores,
    find_episodes,
    score_steps,
)
from liftos_memory.domain.detectors.benchmarks import (
    compare_periods,
    stand_among_peers,
)
from liftos_memory.domain.detectors.statistics import (
    Floats,
    Timestamps,
    discoveries,
    median,
    normal_tails,
    student_tails,
)
from liftos_memory.domain.detectors.trends import TrendTest, find_trends
from liftos_memory.domain.intervals import wilson_interval


def _days(count: int) -> Timestamps:
    return np.datetime64(date(2026, 1, 5), "D") + np.arange(count)


def _noise(rows: int, days: int, *, seed: int, phi: float = 0.0) -> Floats:
    shocks: Floats = np.random.default_rng(seed).normal(size=(rows, days + 50))
    series = np.empty(shocks.shape)
    series[:, 0] = shocks[:, 0]
    for day in range(1, days + 50):
        series[:, day] = phi * series[:, day - 1] + np.sqrt(1 - phi**2) * shocks[:, day]
    return series[:, 50:]


def _sales(rows: int, days: int, *, seed: int = 1) -> Floats:
    weekday = 0.2 * np.sin(2 * np.pi * np.arange(days) / 7)
    sales = np.round(np.exp(6.0 + weekday + 0.1 * _noise(rows, days, seed=seed)))
    return np.asarray(sales, np.float64)


def _episodes(values: Floats) -> list[Episode]:
    scores = score_steps(_days(values.shape[1]), values)
    q_values = discoveries(np.stack([scores.p_value, scores.shift_p_value]))
    return find_episodes(scores, q_values[0] <= 0.05, q_values[1] <= 0.05)


class TestStatistics:
    """What the detectors share."""

    def test_tails_are_those_of_tables(self) -> None:
        """Reference figures are SciPy's."""
        t = np.array([1.0, 2.0, 5.0])
        assert student_tails(t, 20) == pytest.approx(
            [3.29256577e-01, 5.92655354e-02, 6.87302858e-05]
        )
        assert student_tails(t, 7) == pytest.approx(
            [3.50616663e-01, 8.56193286e-02, 1.56527795e-03]
        )
        assert student_tails(t[:1], 1) == pytest.approx([0.5])
        assert normal_tails(np.array([1.959963985])) == pytest.approx([0.05])

    @given(
        arrays(float, st.tuples(st.integers(1, 4), st.integers(0, 9)), elements=st.floats(-9, 9))
    )
    def test_the_median_skips_what_is_unknown(self, values: Floats) -> None:
        """It is numpy's of what is there."""
        values[:, ::3] = np.nan
        for row, found in zip(values, median(values), strict=True):
            known = row[np.isfinite(row)]
            expected = np.median(known) if known.size else np.nan
            assert found == pytest.approx(expected, nan_ok=True)

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
    def test_q_values_keep_the_order_of_p_values(self, p_values: list[float]) -> None:
        """And none is below its p-value."""
        given_p = np.array([*p_values, np.nan])
        q_values = discoveries(given_p)
        assert np.isnan(q_values[-1])
        assert (q_values[:-1] >= given_p[:-1] - 1e-12).all()
        order = np.argsort(given_p[:-1])
        assert (np.diff(q_values[order]) >= -1e-12).all()

    def test_noise_alone_is_seldom_discovered(self) -> None:
        """At 5 %, among a thousand sets of a hundred without any effect."""
        p_values = np.random.default_rng(3).uniform(size=(1000, 100))
        found = sum(bool((discoveries(row) <= 0.05).any()) for row in p_values)
        assert found <= 75


class TestTrends:
    """`find_trends`."""

    def test_season_sums_give_the_figures_of_a_reference(self) -> None:
        """Ties and all, as the package pymannkendall and SciPy's theilslopes have them."""
        x = [100, 102, 100, 98, 101, 99, 105, 112, 104, 104, 110, 111, 110, 106, 111, 115, 106, 111]
        x += [105, 109]
        found = find_trends(_days(20), np.array([x], float), period=1)
        assert found.p_value == pytest.approx([0.0037220738])
        assert found.slope * found.level == pytest.approx([0.5454545454])
        assert found.slope_low * found.level == pytest.approx([0.25])
        assert found.slope_high * found.level == pytest.approx([0.9285714286])

    def test_correlated_seasons_give_the_figures_of_a_reference(self) -> None:
        """Six weeks of days, tested by pymannkendall's correlated_seasonal_test."""
        y = [
            *(44.475, 51.395, 54.398, 55.114, 56.87, 67.939, 59.05, 49.084, 52.654, 59.24, 50.41),
            *(55.667, 66.264, 64.873, 54.583, 51.077, 59.502, 58.353, 56.049, 69.565, 68.331),
            *(52.291, 50.525, 60.528, 60.476, 53.859, 73.178, 69.058, 50.876, 60.901, 63.287),
            *(53.502, 59.424, 73.03, 68.834, 55.549, 55.4, 63.702, 62.116, 57.873, 72.609, 68.71),
        ]
        found = find_trends(_days(42), np.array([y]))
        assert found.test.tolist() == [TrendTest.CORRELATED_SEASONS]
        assert found.p_value == pytest.approx([0.0344837479])
        assert found.slope * found.level / 7 == pytest.approx([1.27275])

    @pytest.mark.parametrize("phi", [0.0, 0.5])
    def test_false_alarms_are_as_rare_as_they_should_be(self, phi: float) -> None:
        """And a tenth of a percent a day is found in most series; see the benchmark."""
        season = 10 * np.sin(2 * np.pi * np.arange(90) / 7)
        noise = 100 + season + 5 * _noise(1000, 90, seed=5, phi=phi)
        alarms = (find_trends(_days(90), noise).p_value <= 0.05).mean()
        power = (find_trends(_days(90), noise + 0.1 * np.arange(90)).p_value <= 0.05).mean()
        assert alarms <= 0.08
        assert power >= 0.6

    def test_ratios_are_those_of_sums(self) -> None:
        """A level is the median of the weeks' ratios, however their days are weighed."""
        weights = np.tile([100.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 10)[None, :]
        ratios = np.tile([0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9], 10)[None, :]
        found = find_trends(_days(70), ratios * weights, weights=weights)
        assert found.level == pytest.approx([(10 + 5.4) / 106])
        assert found.p_value == pytest.approx([1.0])

    @pytest.mark.parametrize("days", [0, 1, 34])
    def test_short_series_say_nothing(self, days: int) -> None:
        """One point is no trend."""
        found = find_trends(_days(days), np.ones((2, days)))
        assert found.test.tolist() == [TrendTest.INSUFFICIENT_DATA] * 2
        assert np.isnan(found.p_value).all()

    @pytest.mark.parametrize("value", [np.nan, 0.0, 5.0])
    def test_series_that_do_not_move_have_no_trend(self, value: float) -> None:
        """Unknown throughout, zero throughout, constant: no warning, no infinity."""
        found = find_trends(_days(100), np.full((1, 100), value))
        assert not np.isinf(found.slope).any()
        assert np.isnan(found.p_value[0]) if np.isnan(value) else found.p_value[0] == 1.0

    def test_a_week_with_an_unknown_day_does_not_count(self) -> None:
        """It would be a smaller sum, and no fall."""
        values = np.full((1, 70), 10.0)
        values[0, 65] = np.nan
        assert find_trends(_days(70), values).seasons.tolist() == [9]

    def test_irregular_timestamps_are_refused(self) -> None:
        """Gaps are nan, not missing steps."""
        with pytest.raises(ValueError, match="evenly spaced"):
            find_trends(_days(5)[[0, 1, 2, 4]], np.ones((1, 4)))


class TestAnomalies:
    """`score_steps` and `find_episodes`."""

    def test_tails_are_calibrated_on_noise(self) -> None:
        """As many steps are as unlikely as they say."""
        p_values = score_steps(_days(300), _sales(200, 300)).p_value
        assert np.nanmean(p_values < 0.05) == pytest.approx(0.05, abs=0.015)
        assert np.nanmean(p_values < 0.001) < 0.002

    def test_a_spike_and_a_dropout_are_found_on_their_day(self) -> None:
        """With what was expected instead, and its range."""
        values = _sales(2, 200)
        values[0, 150] *= 3.0
        values[1, 160] = 0.0
        spike, dropout = _episodes(values)
        assert (spike.series, spike.start, spike.rises, spike.is_shift) == (0, 150, True, False)
        assert (dropout.series, dropout.start, dropout.rises) == (1, 160, False)
        scores = score_steps(_days(200), values)
        assert scores.high[0, 150] < values[0, 150]
        assert scores.expected[0, 150] == pytest.approx(values[0, 150] / 3, rel=0.3)

    @pytest.mark.parametrize("factor", [0.5, 1.6, 2.0])
    def test_a_shift_is_dated_by_its_first_day(self, factor: float) -> None:
        """Whichever season is the farthest; that day is no finding of its own."""
        values = 500.0 * np.exp(0.05 * _noise(200, 300, seed=9))
        values[:, 230:] *= factor
        values = np.round(values)
        starts = []
        for row in values:
            near = [it for it in _episodes(row[None, :]) if it.end >= 230 and it.start < 244]
            assert len([it for it in near if it.rises is (factor > 1.0)]) == 1
            starts += [it.start for it in near if it.is_shift]
        assert len(starts) == 200
        assert starts.count(230) >= 195

    def test_a_shift_of_the_level_is_told_once(self) -> None:
        """Not as fourteen anomalies, and not again once it is the new level."""
        values = _sales(1, 250, seed=2)
        values[0, 180:] *= 2.0
        (shift,) = _episodes(values)
        assert shift.is_shift
        assert abs(shift.start - 180) <= 1
        assert shift.rises

    def test_neighbours_to_the_same_side_are_one_episode(self) -> None:
        """Whose peak is the most unlikely step."""
        values = _sales(1, 200)
        values[0, 150] *= 2.5
        values[0, 152] *= 4.0
        (episode,) = _episodes(values)
        assert (episode.start, episode.end, episode.peak) == (150, 152, 152)

    def test_an_occasion_is_expected_to_do_what_it_did(self) -> None:
        """Black Friday trebles sales each year: the second time it is none any more."""
        values = _sales(1, 600)
        values[0, [170, 535]] *= 3.0
        days = _days(600)
        blind = score_steps(days, values)
        knowing = score_steps(days, values, occasions={"Black Friday": np.array([170, 535])})
        assert blind.p_value[0, 535] < 1e-6
        assert knowing.p_value[0, 535] > 0.01
        assert knowing.p_value[0, 170] > blind.p_value[0, 170]

    def test_two_names_of_an_occasion_are_one(self) -> None:
        """What a day did once is expected of it once, whatever it is called."""
        values = _sales(1, 600)
        values[0, [170, 535]] *= 3.0
        places = np.array([170, 535])
        once = score_steps(_days(600), values, occasions={"Thanksgiving": places})
        names = {"Thanksgiving": places, "Thanksgiving Day": places[::-1]}
        twice = score_steps(_days(600), values, occasions=names)
        for it in fields(Scores):
            np.testing.assert_array_equal(getattr(once, it.name), getattr(twice, it.name))

    def test_of_several_occasions_on_a_day_the_mean_is_expected(self) -> None:
        """They do not add up, and a new one among them makes the day less sure."""
        values = _sales(1, 600)
        values[0, [170, 300, 535]] *= 3.0
        one, other = np.array([170, 535]), np.array([300, 535])
        alone = score_steps(_days(600), values, occasions={"A": one, "C": np.array([300])})
        both = score_steps(_days(600), values, occasions={"A": one, "B": other})
        assert both.expected[0, 535] == pytest.approx(alone.expected[0, 535], rel=0.2)
        assert abs(both.z[0, 535]) < 3.0
        with_new = score_steps(
            _days(600), values, occasions={"A": one, "C": np.array([300]), "new": np.array([535])}
        )
        assert with_new.expected[0, 535] == alone.expected[0, 535]
        assert with_new.z[0, 535] == pytest.approx(alone.z[0, 535] / 2)

    def test_who_rests_every_few_weeks_has_no_anomaly_in_it(self) -> None:
        """Neither as it rests nor as it goes on, and what is expected is what it does at work."""
        values = _sales(40, 700)
        rests = np.repeat(np.random.default_rng(5).uniform(size=(40, 100)) < 0.5, 7, axis=1)
        scores = score_steps(_days(700), np.where(rests, 0.0, values))
        told = np.nan_to_num(scores.p_value, nan=1.0) <= 1e-3
        assert told.mean() <= 0.004
        assert np.nanmax(scores.high / np.max(values, axis=1, keepdims=True)) < 10.0

    def test_a_day_at_nothing_among_others_is_found(self) -> None:
        """For as long as it is not usual."""
        values = _sales(1, 300)
        values[0, 200:209] = 0.0
        scores = score_steps(_days(300), values)
        assert (scores.p_value[0, 200:205] < 1e-6).all()
        assert (np.nan_to_num(scores.p_value[0, 209:], nan=1.0) > 1e-4).all()

    def test_few_events_scatter_by_chance(self) -> None:
        """Four conversions after a week of eight each are no anomaly; 400 after 800 are."""
        values = np.full((1, 100), 8.0)
        values[0, 90] = 4.0
        few = score_steps(_days(100), values, events=values)
        many = score_steps(_days(100), values * 100, events=values * 100)
        assert few.p_value[0, 90] > 0.05
        assert many.p_value[0, 90] < 1e-6

    @pytest.mark.parametrize("shape", [(0, 50), (2, 0), (2, 1), (2, 30)])
    def test_short_series_are_not_judged(self, shape: tuple[int, int]) -> None:
        """Nothing is known of them; nothing fails."""
        assert np.isnan(score_steps(_days(shape[1]), np.ones(shape)).p_value).all()

    @pytest.mark.parametrize("scale", list(Scale))
    @pytest.mark.parametrize("value", [np.nan, 0.0, 5.0])
    def test_series_that_do_not_move_have_no_anomalies(self, value: float, scale: Scale) -> None:
        """No warning, no infinity."""
        scores = score_steps(_days(120), np.full((1, 120), value), scale=scale)
        assert not np.isinf(scores.z).any()
        assert not (scores.p_value < 0.5).any()

    @settings(max_examples=40, deadline=None)
    @given(
        arrays(
            float,
            st.tuples(st.integers(1, 3), st.integers(1, 90)),
            elements=st.one_of(st.just(np.nan), st.floats(0, 1e12)),
        )
    )
    def test_any_series_gives_finite_numbers_or_none(self, values: Floats) -> None:
        """Whatever its gaps and sizes."""
        scores = score_steps(_days(values.shape[1]), values)
        for matrix in (scores.z, scores.p_value, scores.expected, scores.low, scores.shift_z):
            assert not np.isinf(matrix).any()

    def test_only_the_past_judges_a_step(self) -> None:
        """What comes later changes nothing."""
        values = _sales(1, 200)
        before = score_steps(_days(145), values[:, :145])
        after = score_steps(_days(200), values)
        assert after.z[:, :145] == pytest.approx(before.z, nan_ok=True)
        assert after.expected[:, :145] == pytest.approx(before.expected, nan_ok=True)

    def test_twenty_seasons_tell_as_much_as_more(self) -> None:
        """So that a finding can be made again from a part of the history."""
        values = _sales(1, 300)
        whole = score_steps(_days(300), values)
        part = score_steps(_days(300)[153:], values[:, 153:])
        assert part.z[0, 147 - 7 :] == pytest.approx(whole.z[0, 300 - 7 :], nan_ok=True)


class TestBenchmarks:
    """`stand_among_peers` and `compare_periods`."""

    def test_one_click_does_not_top_a_list(self) -> None:
        """Its share of a tenth is shrunk below that of who has 400 of 10,000."""
        clicks = np.array([1.0, 400.0, *[200.0] * 6])
        impressions = np.array([10.0, 10_000.0, *[10_000.0] * 6])
        found = stand_among_peers(
            clicks, impressions, np.zeros(8, np.int64), events=clicks, is_share=True
        )
        assert found.ratio[0] > found.ratio[1]
        assert found.percentile[1] > found.percentile[0]
        assert found.p_value[1] < 1e-6

    def test_few_peers_and_none_at_all_say_nothing(self) -> None:
        """A rank of four is none."""
        sums = np.array([1.0, 2.0, 3.0, 4.0, np.nan, 0.0])
        found = stand_among_peers(
            sums, np.full(6, 10.0), np.zeros(6, np.int64), events=sums, is_share=False
        )
        assert found.peers.tolist() == [4, 4, 4, 4, 0, 0]
        assert np.isnan(found.percentile).all()

    @pytest.mark.parametrize("event_size", [1.0, 1e6])
    def test_a_share_without_any_event_is_ranked(self, event_size: float) -> None:
        """None of 2,000 clicks converts where 100 do elsewhere; none of 20 tells nothing."""
        conversions = np.array([0.0, 0.0, *[100.0] * 10])
        clicks = np.array([2_000.0, 20.0, *[2_000.0] * 10])
        found = stand_among_peers(
            conversions * event_size,
            clicks * event_size,
            np.zeros(12, np.int64),
            events=conversions,
            is_share=True,
            event_size=event_size,
        )
        assert found.peers.tolist() == [12] * 12
        assert (found.ratio[0], found.low[0]) == (0.0, 0.0)
        assert found.high[:3] == pytest.approx([0.0019170, 0.1611252, 0.0604441], rel=1e-4)
        assert found.percentile[0] < found.percentile[1]
        assert found.p_value[0] < 1e-3
        assert found.p_value[1] > 0.2

    def test_wilson_intervals_are_those_of_tables(self) -> None:
        """10 of 100, and 0 of 10."""
        low, high = wilson_interval(np.array([10.0, 0.0]), np.array([100.0, 10.0]))
        assert low == pytest.approx([0.05522914, 0.0])
        assert high == pytest.approx([0.17436566, 0.27753279])

    def test_periods_without_a_change_seldom_differ(self) -> None:
        """And one of a tenth does, with an interval that holds it."""
        rng = np.random.default_rng(11)
        first = rng.poisson(100, (2000, 28)).astype(float)
        second = rng.poisson(100, (2000, 30)).astype(float)
        more = rng.poisson(110, (2000, 28)).astype(float)
        same = compare_periods(first, second)
        assert (same.p_value < 0.05).mean() == pytest.approx(0.05, abs=0.02)
        different = compare_periods(first, more)
        assert ((different.low < 0.1) & (different.high > 0.1)).mean() > 0.9
        assert np.median(different.change) == pytest.approx(0.1, abs=0.01)

    @pytest.mark.parametrize("value", [np.nan, 0.0, 5.0])
    @pytest.mark.parametrize("days", [0, 3, 28])
    def test_periods_that_do_not_move_do_not_differ(self, value: float, days: int) -> None:
        """No warning, no infinity."""
        change = compare_periods(np.full((1, days), value), np.full((1, 28), value))
        assert not np.isinf(change.change).any()
        assert not (change.p_value < 0.5).any()

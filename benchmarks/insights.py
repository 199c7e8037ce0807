"""Insights: their time against bare kernels, false alarms and power, what is found and how soon."""

import csv
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from benchmarks.results import DifferenceError, Measurement
from liftos_memory.domain.calendar import calendar_days
from liftos_memory.domain.detectors.anomalies import Episode, Scale, find_episodes, score_steps
from liftos_memory.domain.detectors.statistics import (
    Booleans,
    Floats,
    discoveries,
    student_tails,
)
from liftos_memory.domain.detectors.trends import find_trends
from liftos_memory.domain.documents import ObjectKey
from liftos_memory.domain.insight_findings import tell
from liftos_memory.domain.insight_looks import Question, look
from liftos_memory.domain.insight_series import SeriesTable
from liftos_memory.domain.insights import InsightKind, Subject

SERIES: Final = 1_000
DAYS: Final = 730
SIMULATIONS: Final = 2_000
_FIRST: Final = date(2024, 1, 1)
_REPEATS: Final = 3
_DATA: Final = Path(__file__).parent / "data"
_SAMPLE: Final = Path("services/liftos_cli/demo/data/dt_simulated_weekly.csv")
_WEEKDAYS: Final = np.array([0.16, 0.15, 0.14, 0.14, 0.15, 0.13, 0.13])
_LONGEST_DELAY: Final = 20


def measure() -> Iterator[Measurement]:
    """Yield the figures of insights."""
    yield _time_over_kernels()
    yield from _trend_errors()
    yield _anomaly_errors()
    yield from _injected()
    yield _labelled("yahoo", period=24, slack=0, target=0.8)
    yield _labelled("ucr_135", period=183, slack=20, target=0.0)


def _time_over_kernels() -> Measurement:
    """Look at a year of every series with all detectors, and make insights of what is found."""
    values = _sales(SERIES, DAYS)
    table = SeriesTable(
        level="CAMPAIGN",
        start=_FIRST,
        subjects=[
            Subject(ObjectKey("meta", "CAMPAIGN", "act_1", campaign_id=str(number)))
            for number in range(SERIES)
        ],
        columns={"clicks": values},
        final=np.ones(values.shape, np.bool_),
        quality=np.ones(values.shape),
        entries=np.ones(values.shape, np.int64),
        where=None,
    )
    last = _FIRST + timedelta(days=DAYS - 1)
    first = last - timedelta(days=364)
    question = Question(
        start_date=first,
        end_date=last,
        kinds=frozenset(InsightKind),
        today=last + timedelta(days=1),
        version=1,
        calendar=calendar_days(_FIRST, last),
        with_wholes=True,
    )
    weeks = question.weeks
    cut = slice((weeks[0] - _FIRST).days, (weeks[1] - _FIRST).days + 1)

    def ours() -> object:
        return tell(look(table, question))

    def kernels() -> list[tuple[float, Floats]]:
        return [(_kernel_trend(row[cut]), _kernel_scores(row)) for row in values]

    bare = kernels()
    trends = find_trends(np.arange(cut.stop - cut.start).astype("datetime64[D]"), values[:, cut])
    scores = score_steps(_days(DAYS), values, events=np.full(values.shape, np.inf))
    if not np.allclose([p for p, _ in bare], trends.p_value):
        raise DifferenceError("trends")
    if not np.allclose(np.stack([p for _, p in bare])[:, -365:], scores.p_value[:, -365:]):
        raise DifferenceError("anomalies")
    ours_seconds, kernel_seconds = _fastest(ours), _fastest(kernels)
    return Measurement(
        "insights_over_bare_kernels",
        ours_seconds / kernel_seconds,
        1.5,
        "lower",
        f"{SERIES:,} series of {DAYS} days, trends, anomalies and periods: {ours_seconds:.2f} s;"
        f" the same tests by numpy, series after series: {kernel_seconds:.2f} s",
    )


def _fastest(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _kernel_trend(days: Floats) -> float:
    """Mann-Kendall and Theil-Sen on the weekly sums of one series, as anybody would write it."""
    sums = days.reshape(-1, 7).sum(axis=1)
    count = sums.size
    earlier, later = np.triu_indices(count, 1)
    differences = sums[later] - sums[earlier]
    slopes = np.sort(differences / (later - earlier))
    _, ties = np.unique(sums, return_counts=True)
    variance = (
        count * (count - 1) * (2 * count + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()
    ) / 18
    score = np.sign(differences).sum()
    np.median(slopes)
    return math.erfc(abs(score - np.sign(score)) / math.sqrt(2 * variance))


def _kernel_scores(days: Floats) -> Floats:
    """Residuals from the level and the weekday of one series, their scale, and their tails.

    Weeks are those from the epoch on, as the detector counts them.
    """
    phase = int((_FIRST - date(1970, 1, 1)).days) % 7
    seasons = -(-(phase + days.size) // 7)
    y = np.full(seasons * 7, np.nan)
    y[phase : phase + days.size] = np.log1p(days)
    rough = _median_before(y, 14)
    added = (y - rough).reshape(-1, 7)
    usual = np.full(added.shape, np.nan)
    usual[8:] = np.median(sliding_window_view(added, 8, axis=0)[:-1], axis=2)
    flat = y - usual.ravel()
    residual = (flat - _median_before(flat, 7)).reshape(-1, 7)
    behind = sliding_window_view(residual, 8, axis=0)[:-1].reshape(-1, 56)
    centre = np.median(behind, axis=1)
    spread = 1.4826 * np.median(np.abs(behind - centre[:, None]), axis=1)
    spread_of_days = sliding_window_view(y.reshape(-1, 7), 8, axis=0)[:-1].reshape(-1, 56)
    width = np.full(seasons, np.nan)
    width[8:] = np.maximum(np.maximum(spread, 0.1 * spread_of_days.std(axis=1, ddof=1)), 0.02)
    z = residual / width[:, None]
    means = np.full(y.size, np.nan)
    means[6:] = sliding_window_view(flat - _median_before(flat, 14), 7).mean(axis=1)
    behind = sliding_window_view(means.reshape(-1, 7), 8, axis=0)[:-1].reshape(-1, 56)
    centre = np.median(behind, axis=1)
    np.median(np.abs(behind - centre[:, None]), axis=1)
    student_tails(means, 10)
    return student_tails(z, 20).ravel()[phase : phase + days.size]


def _median_before(days: Floats, count: int) -> Floats:
    found = np.full(days.size, np.nan)
    found[count:] = np.median(sliding_window_view(days, count)[:-1], axis=1)
    return found


def _trend_errors() -> Iterator[Measurement]:
    """The simulation of 90 days with a season of 10, a deviation of 5 and memory phi."""
    alarms = {phi: _share_found(phi, slope=0.0) for phi in (0.0, 0.5, 0.8)}
    power = {phi: _share_found(phi, slope=0.1) for phi in (0.0, 0.5, 0.8)}
    behind = ", ".join(f"phi {phi}: {share:.3f}" for phi, share in alarms.items())
    yield Measurement(
        "trend_false_alarms",
        max(alarms[0.0], alarms[0.5]),
        0.07,
        "lower",
        f"{SIMULATIONS:,} series of 90 days without a trend at 5 %: {behind}",
    )
    behind = ", ".join(f"phi {phi}: {share:.3f}" for phi, share in power.items())
    yield Measurement(
        "trend_power",
        min(power[0.0], power[0.5]),
        0.62,
        "higher",
        f"{SIMULATIONS:,} series of 90 days that rise by 0.1 a day: {behind}",
    )


def _share_found(phi: float, *, slope: float) -> float:
    noise = _remembering(phi, (SIMULATIONS, 140), seed=int(1_000 * phi + 100_000 * slope) + 1)
    days = np.arange(90)
    season = 10 * np.sin(2 * np.pi * days / 7)
    values = 100 + season + 5 * noise[:, 50:] + slope * days
    return float((find_trends(_days(90), values).p_value <= 0.05).mean())


def _remembering(phi: float, shape: tuple[int, int], *, seed: int) -> Floats:
    """Return noise of variance 1 that remembers the day before, series by days."""
    shocks = np.random.default_rng(seed).normal(size=shape)
    noise = np.empty(shape)
    noise[:, 0] = shocks[:, 0]
    for day in range(1, shape[1]):
        noise[:, day] = phi * noise[:, day - 1] + math.sqrt(1 - phi**2) * shocks[:, day]
    return noise


def _anomaly_errors() -> Measurement:
    """Looks at four weeks of series in which nothing happens: in how many anything is told."""
    kinds = {
        "phi 0": (0.0, 0.15, 0.0),
        "phi 0.5": (0.5, 0.15, 0.0),
        "phi 0.5 and quiet": (0.5, 0.02, 0.0),
        "phi 0 and at rest every other week": (0.0, 0.15, 0.5),
    }
    shares = {}
    for name, (phi, deviation, resting) in kinds.items():
        noise = _remembering(phi, (400, 700), seed=3)
        days = np.arange(700)
        season = 0.2 * np.sin(2 * np.pi * days / 7)
        values: Floats = np.exp(8.0 + season + deviation * noise)
        rests = np.random.default_rng(5).uniform(size=(400, 100)) < resting
        values[np.repeat(rests, 7, axis=1)] = 0.0
        scores = score_steps(_days(700), values)
        p_values = np.stack([scores.p_value, scores.shift_p_value], axis=1)
        looks = [row[:, start : start + 28] for row in p_values for start in range(300, 664, 28)]
        told = sum(bool((np.nan_to_num(discoveries(it), nan=1.0) <= 0.05).any()) for it in looks)
        shares[name] = told / len(looks)
    behind = ", ".join(f"{name}: {share:.3f}" for name, share in shares.items())
    return Measurement(
        "anomaly_false_alarms",
        max(shares.values()),
        0.05,
        "lower",
        f"400 series without an anomaly, {len(looks):,} looks at four weeks of one: {behind}",
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found of what was injected: how much of each, and how many days later."""

    injected: int
    told: int
    right: int
    recalled: int
    delays: Sequence[int]


def _injected() -> Iterator[Measurement]:
    """Spikes, dropouts and shifts in the sample data, whose weeks are spread over days."""
    factors = {
        "doubled_days": (2.0, 1, 0.5),
        "spikes": (3.0, 1, 0.7),
        "dropouts": (0.0, 1, 0.9),
        "level_shifts": (2.0, 45, 0.7),
        "small_level_shifts": (1.6, 45, 0.5),
    }
    series = _sample_series()
    before = [{it.start for it in _episodes(row[None, :])} for row in series]
    for name, (factor, length, target) in factors.items():
        found = _inject(series, before, factor=factor, length=length)
        share = found.recalled / found.injected
        precision = found.right / found.told if found.told else 0.0
        typical = float(np.median(found.delays)) if found.delays else float("nan")
        yield Measurement(
            f"anomaly_recall_{name}",
            share,
            target,
            "higher",
            f"{found.recalled} of {found.injected} with factor {factor:g} in the sample data;"
            f" precision {precision:.2f}; median delay {typical:.0f} days, {len(found.delays)} told"
            f" within {_LONGEST_DELAY}; {sum(map(len, before))} findings before",
        )


def _inject(
    series: Sequence[Floats], before: Sequence[set[int]], *, factor: float, length: int
) -> _Found:
    """Put anomalies into series; what was found there before does not count as told.

    An edge that is told twice is right once.
    """
    injected = told = right = recalled = 0
    delays: list[int] = []
    for number, row in enumerate(series):
        values = row.copy()
        places = [200 + 37 * number + 120 * turn for turn in range(10)]
        for place in places:
            values[place : place + length] *= factor
        episodes = [it for it in _episodes(values[None, :]) if it.start not in before[number]]
        # The end of a shift is a shift as well.
        edges = [*places, *(place + length for place in places if length > 1)]
        injected += len(places)
        told += len(episodes)
        right += sum(any(abs(it.start - edge) <= 3 for it in episodes) for edge in edges)
        for place in places:
            if any(abs(it.start - place) <= 3 for it in episodes):
                recalled += 1
            delay = _delay(values, place)
            if delay is not None:
                delays.append(delay)
    return _Found(injected, told, right, recalled, delays)


def _delay(values: Floats, place: int) -> int | None:
    """Return after how many days a daily look at four weeks tells it; None where none does."""
    for delay in range(_LONGEST_DELAY + 1):
        known = values[None, : place + delay + 1]
        if any(abs(it.start - place) <= 3 for it in _episodes(known, days=28)):
            return delay
    return None


def _episodes(
    values: Floats, *, days: int | None = None, period: int = 7, scale: Scale = Scale.LOG
) -> list[Episode]:
    scores = score_steps(_days(values.shape[1]), values, period=period, scale=scale)
    p_values = np.stack([scores.p_value, scores.shift_p_value])
    if days is not None:
        p_values[:, :, :-days] = np.nan
    flagged: Booleans = np.nan_to_num(discoveries(p_values), nan=1.0) <= 0.05
    return find_episodes(scores, flagged[0], flagged[1], period=period)


def _sample_series() -> list[Floats]:
    """Return columns by day: in line from week to week, with weekdays and a scatter."""
    with _SAMPLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    weekly = {
        name: np.array([float(row[name]) for row in rows])
        # Other columns jump every few weeks by themselves, unlabelled.
        for name in ("revenue", "competitor_sales_B")
    }
    rng = np.random.default_rng(7)
    series = []
    for values in weekly.values():
        days = np.arange(values.size * 7)
        # A step from week to week would be an anomaly that nobody put there.
        level = np.interp(days, 7 * np.arange(values.size) + 3, values)
        scatter = np.exp(0.1 * rng.normal(size=days.size))
        series.append(np.round(level * _WEEKDAYS[days % 7] * scatter))
    return series


def _labelled(name: str, *, period: int, slack: int, target: float) -> Measurement:
    """Find labelled anomalies; an episode is right within `slack` steps of a label."""
    data = np.genfromtxt(_DATA / f"{name}.csv", delimiter=",", skip_header=1)
    labels = np.flatnonzero(data[:, 1] > 0.0)
    groups = np.split(labels, np.flatnonzero(np.diff(labels) > 1) + 1)
    episodes = _episodes(data[None, :, 0], period=period, scale=Scale.LINEAR)
    spans = [(int(group[0]) - slack, int(group[-1]) + slack) for group in groups]
    hit = [any(it.start <= last and it.end >= first for it in episodes) for first, last in spans]
    right = sum(
        any(it.start <= last and it.end >= first for first, last in spans) for it in episodes
    )
    precision = f"{right / len(episodes):.2f}" if episodes else "none told"
    return Measurement(
        f"anomaly_recall_{name}",
        sum(hit) / len(hit),
        target,
        "higher",
        f"{sum(hit)} of {len(hit)} labelled anomalies among {len(data):,} points, season {period};"
        f" precision {precision}",
    )


def _sales(rows: int, days: int) -> Floats:
    rng = np.random.default_rng(1)
    weekday = 0.2 * np.sin(2 * np.pi * np.arange(days) / 7)
    size = rng.normal(6.0, 1.0, (rows, 1))
    return np.asarray(
        np.round(np.exp(size + weekday + rng.normal(0.0, 0.15, (rows, days)))), np.float64
    )


def _days(count: int) -> "np.ndarray[tuple[int], np.dtype[np.datetime64]]":
    return np.datetime64(_FIRST, "D") + np.arange(count)

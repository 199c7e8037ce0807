"""Causal exports: read one state of the store, build the panel, lay it out, and say what it is."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from liftos_kit.core.errors import InvalidFieldsError
from liftos_memory.domain.arrow_pieces import table_pieces
from liftos_memory.domain.calendar import CalendarEvent
from liftos_memory.domain.causal_panel import Panel, build_panel, series_controls
from liftos_memory.domain.dataset_request import (
    DatasetRequest,
    Step,
    complete_steps,
    last_finished_day,
)
from liftos_memory.domain.identification import identify
from liftos_memory.domain.lift_tests import LIFT_TEST_FORMATS, Experiments, lift_tests
from liftos_memory.domain.panel_accounts import (
    OUTCOME,
    Days,
    Series,
    choose_series,
    connected_days,
    rows_of,
)
from liftos_memory.domain.panel_calendar import calendar_of
from liftos_memory.domain.panel_gaps import close_gaps
from liftos_memory.domain.panel_layout import channel_names, lay_out, reserved_names
from liftos_memory.domain.panel_sidecar import Described, sidecar
from liftos_memory.domain.panel_snippets import snippets
from liftos_memory.domain.rate_days import rates_on_days
from liftos_memory.export_ports import DailyRates, Moment, PanelReading, PanelStore
from liftos_memory.org_ports import OrgSettings


@dataclass(frozen=True, slots=True, eq=False)
class Export:
    """A data set, ready to be sent.

    Attributes:
        pieces: An Arrow IPC stream in pieces, each with its number of rows.
        sidecar: What it is; a JSON object.
        as_of: The state of the store that it shows.
        sha256: Of the stream, in hexadecimal.
    """

    pieces: Sequence[tuple[bytes, int]]
    sidecar: Mapping[str, Any]
    as_of: datetime
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """What was read of one state of the store."""

    moment: Moment
    settings: OrgSettings
    events: Sequence[CalendarEvent]
    experiments: Sequence[Experiments]
    steps: Sequence[Step]
    cut: Sequence[tuple[date, date, str]]
    survey: pd.DataFrame
    series: Sequence[Series]
    slices: pd.DataFrame
    removals: pd.DataFrame
    values: pd.DataFrame
    qualities: pd.DataFrame
    controls: pd.DataFrame
    currency_code: str


class Exports:
    """Makes data sets for causal analysis.

    Args:
        store: What is read.
        executor: Where data sets are made.
        made_with: Versions of the libraries that decide what is in them.
    """

    def __init__(
        self, store: PanelStore, executor: Executor, *, made_with: Mapping[str, str]
    ) -> None:
        self._store = store
        self._executor = executor
        self._made_with = made_with

    async def export(self, org: str, request: DatasetRequest, as_of: datetime | None) -> Export:
        """Return the data set of a moment; None is that of the newest write.

        Raises:
            InvalidFieldsError: The moment or the question cannot be answered.
            DataInsufficientError: There are gaps, and the policy does not close them; or nothing.
            RateMissingError: Money cannot be converted.
        """
        async with self._store.reading(org, as_of) as reading:
            read = await _read(reading, request)
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, _export, request, read, self._made_with
        )


async def _read(reading: PanelReading, request: DatasetRequest) -> _Read:
    asked = _asked_steps(request)
    survey = await reading.survey(request, asked)
    steps, cut = _finished_steps(request, asked, survey, reading.moment.as_of)
    survey = survey[survey["date"].between(_stamp(steps[0].start), _stamp(steps[-1].end))]
    series = choose_series(survey, request)
    own = rows_of(survey, series)
    settings = await reading.settings()
    target = request.currency_code or settings.base_currency_code
    rates = await _rates(reading, own, target, settings.base_currency_code)
    return _Read(
        moment=reading.moment,
        settings=settings,
        events=await reading.events(),
        experiments=await reading.experiments() if request.format in LIFT_TEST_FORMATS else (),
        steps=steps,
        cut=cut,
        survey=survey,
        series=series,
        slices=await reading.slices(series, steps),
        removals=await reading.removals(series, steps),
        values=await reading.values(request, series, steps, rates),
        qualities=await reading.qualities(request, series, steps),
        controls=await reading.controls(request, steps),
        currency_code=target,
    )


def _asked_steps(request: DatasetRequest) -> list[Step]:
    steps = complete_steps(request.start_date, request.end_date, request.granularity)
    if not steps:
        raise InvalidFieldsError.of(
            "date_range",
            f"holds no whole {request.granularity.value}",
            rule="export_dataset.steps",
        )
    return steps


def _finished_steps(
    request: DatasetRequest, asked: Sequence[Step], survey: pd.DataFrame, as_of: datetime
) -> tuple[Sequence[Step], list[tuple[date, date, str]]]:
    """Return the steps that had ended at a moment, and what is cut off, with the reason."""
    zones = set(survey.loc[survey["matching_count"] > 0, "time_zone"]) - {""}
    last = last_finished_day(as_of, [as_of.astimezone(ZoneInfo(zone)).date() for zone in zones])
    steps = [step for step in asked if step.end <= last]
    if not steps:
        raise InvalidFieldsError.of(
            "date_range",
            f"holds no whole {request.granularity.value} that had ended at {as_of.isoformat()}",
            rule="export_dataset.finished",
        )
    one = timedelta(days=1)
    edges = [
        (request.start_date, asked[0].start - one, "part of a step"),
        (steps[-1].end + one, asked[-1].end, "not ended"),
        (asked[-1].end + one, request.end_date, "part of a step"),
    ]
    return steps, [(first, end, reason) for first, end, reason in edges if first <= end]


def _stamp(day: date) -> pd.Timestamp:
    return pd.Timestamp(day)


async def _rates(reading: PanelReading, own: pd.DataFrame, target: str, base: str) -> DailyRates:
    with_money = own.loc[own["currency_code"] != "", ["currency_code", "date"]].drop_duplicates()
    needed = [
        (str(code), day.date())
        for code, day in zip(with_money["currency_code"], with_money["date"], strict=True)
    ]
    codes = sorted({code for code, _ in needed} | {target})
    if codes == [target]:
        return DailyRates(target, {}, {})
    known = await reading.rates(codes)
    from_rates, to_rates = rates_on_days(needed, known, target=target, base=base)
    return DailyRates(target, from_rates, to_rates)


def _export(request: DatasetRequest, read: _Read, made_with: Mapping[str, str]) -> Export:
    days = Days(read.steps[0].start, (read.steps[-1].end - read.steps[0].start).days + 1)
    connected = {
        series: connected_days(series, read.survey, read.slices, read.removals, days)
        for series in read.series
    }
    panel = build_panel(read.values, connected, read.steps, kpi=request.kpi, unit=request.unit)
    taken = reserved_names(request.format, request.kpi) | channel_names(
        panel.channels, request.format
    )
    controls, gaps = series_controls(read.controls, panel, taken)
    panel = replace(panel, controls=tuple(controls), gaps=(*panel.gaps, *gaps))
    closed = close_gaps(panel, request.on_gap, request.kpi)
    calendar = calendar_of(
        closed.panel,
        unit=request.unit,
        region_codes=read.settings.region_codes,
        events=read.events,
        taken=taken,
    )
    full = replace(closed.panel, controls=(*calendar.controls, *closed.panel.controls))
    closed = replace(closed, panel=full)
    layout = lay_out(full, request.format, request.kpi, read.currency_code)
    pieces = list(table_pieces(layout.table))
    digest = hashlib.sha256()
    for piece, _ in pieces:
        digest.update(piece)
    first, last = _stamp(full.steps[0].start), _stamp(full.steps[-1].end)
    own = rows_of(read.survey, read.series)
    described = Described(
        request=request,
        currency_code=read.currency_code,
        as_of=read.moment.as_of,
        store_version=read.moment.version,
        closed=closed,
        layout=layout,
        calendar=calendar,
        lift_tests=lift_tests(read.experiments, layout.channels, request.format),
        report=identify(
            [one.channel for one in layout.channels],
            layout.treatments,
            control_count=len(layout.controls),
        ),
        series=read.series,
        survey=own[own["date"].between(first, last)],
        values=_of_panel(read.values, full),
        qualities=_of_panel(read.qualities, full),
        cut=read.cut,
        levels_aside=_levels_aside(read.survey, read.series),
        snippets=snippets(
            layout,
            request.format,
            kpi=request.kpi,
            has_units=bool(request.unit),
            granularity=request.granularity,
            steps=full.steps,
            region_codes=read.settings.region_codes,
        ),
        made_with=made_with,
        sha256=digest.hexdigest(),
    )
    return Export(pieces, sidecar(described), read.moment.as_of, described.sha256)


def _of_panel(rows: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """Return the rows of the steps and units that are in a panel."""
    first, last = _stamp(panel.steps[0].start), _stamp(panel.steps[-1].end)
    return rows[rows["step"].between(first, last) & rows["unit"].isin(panel.units)]


def _levels_aside(
    survey: pd.DataFrame, series: Sequence[Series]
) -> dict[tuple[str, str], list[str]]:
    """Return levels of treatments at which accounts have entries that are not read."""
    matching = survey[(survey["matching_count"] > 0) & (survey["level"] != OUTCOME)]
    levels = matching.groupby(["platform", "account_id"])["level"].agg(set)
    return {
        one.account: sorted(levels[one.account] - {one.level})
        for one in series
        if not one.is_outcome
    }

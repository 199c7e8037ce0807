"""The panel of causal analysis: every unit at every step, with what was done and what happened.

A cell without entries is 0 where all accounts that feed it were connected on all of its days, and
unknown elsewhere. Nothing is lagged, carried over, saturated or scaled: the models do that.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from liftos_kit.core.errors import InvalidFieldsError
from liftos_memory.domain.dataset_request import ACCOUNT_UNIT, Kpi, Step
from liftos_memory.domain.panel_accounts import OUTCOME, Days, Series, runs

MAXIMUM_CELLS: Final = 4_000_000
"""Units times steps times columns; a panel is held in memory as a whole."""

NATION: Final = ""
"""The one unit of a panel without units."""

VALUE_METRICS: Final = (
    "spend_micros",
    "impressions",
    "clicks",
    "sent",
    "delivered",
    "conversions_micros",
    "revenue_micros",
    "orders",
)
"""Metrics of a channel or an outcome that a panel may show."""

VALUE_KEYS: Final = ("step", "unit", "platform", "account_id", "level", "channel")
VALUE_TAIL: Final = ("entry_count", "final_count")
VALUE_COLUMNS: Final = (
    *VALUE_KEYS,
    *VALUE_METRICS,
    *(f"{name}_count" for name in VALUE_METRICS),
    *VALUE_TAIL,
)
"""Sums of a unit, step, account and channel; `x_count` is how many entries have x."""

QUALITY_COLUMNS: Final = (*VALUE_KEYS, "issues", "mismatched", "entry_count")
"""Entries of a unit, step, account and channel by what was found about them: `ScoredEntries`."""

CONTROL_COLUMNS: Final = ("step", "unit", "platform", "account_id", "series_id", "value")
"""Mean of a control's values that are dated within a step; unit is empty for the whole nation."""

PAID_EXPOSURES: Final = ("impressions", "clicks", "delivered", "sent")
UNPAID_EXPOSURES: Final = ("delivered", "sent", "impressions", "clicks")
"""What stands for the reach of a channel, the first that it reports."""

_Floats = npt.NDArray[np.float64]
_Flags = npt.NDArray[np.bool_]


class GapKind(StrEnum):
    """What is unknown."""

    NOT_CONNECTED = "not_connected"
    """An account."""
    UNSET = "unset"
    """A number of a channel or outcome that has entries."""
    NO_VALUE = "no_value"
    """A control."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Days on which something is unknown.

    Attributes:
        kind: What is unknown.
        platform: Whose it is.
        account_id: The account; empty where it is a channel's.
        name: The channel and metric, or the control; empty where it is an account's.
        unit: The unit; empty where it is of all.
        days: First and last day.
    """

    kind: GapKind
    platform: str
    account_id: str
    name: str
    unit: str
    days: tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """What belongs together in a panel: a channel, or the outcome.

    Arrays have a row per unit and a column per step.

    Attributes:
        platform: Its platform; several, joined by a comma, for an outcome of several.
        channel: Where within the platform; empty where there is nothing to tell apart.
        name: Unique short name, for columns.
        numbers: Values of each metric that is reported; NaN where entries have no number.
        entries: How many entries.
        unknown: Whether an account that feeds it was not connected on all days of the step.
    """

    platform: str
    channel: str
    name: str
    numbers: Mapping[str, _Floats]
    entries: npt.NDArray[np.int64]
    unknown: _Flags


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """An outside series.

    Attributes:
        name: Unique short name, for columns.
        label: What it is, in words.
        values: Row per unit, column per step; NaN where there is none.
    """

    name: str
    label: str
    values: _Floats


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """The full grid.

    Attributes:
        units: Names of the units; one, `NATION`, where there are none.
        steps: Steps without a hole.
        outcome: What happened.
        channels: What was done, by platform and channel.
        controls: What else was.
        gaps: What is unknown.
        units_left_out: Units of treatments without outcomes, and how many entries each has.
    """

    units: tuple[str, ...]
    steps: tuple[Step, ...]
    outcome: Cells
    channels: tuple[Cells, ...]
    controls: tuple[Control, ...]
    gaps: tuple[Gap, ...] = ()
    units_left_out: Mapping[str, int] = field(default_factory=dict)


def exposure_of(cells: Cells) -> str:
    """Return the metric that stands for a channel's reach; empty where it reports none."""
    order = PAID_EXPOSURES if "spend_micros" in cells.numbers else UNPAID_EXPOSURES
    return next((name for name in order if name in cells.numbers), "")


def treatment_metrics(cells: Cells) -> tuple[str, ...]:
    """Return the metrics of a channel that a model takes: spend and exposure, where there are."""
    spend = ("spend_micros",) if "spend_micros" in cells.numbers else ()
    exposure = exposure_of(cells)
    return (*spend, exposure) if exposure else spend


def build_panel(
    values: pd.DataFrame,
    connected: Mapping[Series, _Flags],
    steps: Sequence[Step],
    *,
    kpi: Kpi,
    unit: str,
) -> Panel:
    """Return the panel of sums, without controls.

    Args:
        values: Rows with `VALUE_COLUMNS`; none outside of the steps.
        connected: Per account that is read, on which of the steps' days it was connected.
        steps: The steps, in order, without a hole.
        kpi: The outcome.
        unit: What a unit is; see `DatasetRequest`.

    Raises:
        InvalidFieldsError: The panel is too large.
    """
    is_outcome = (values["level"] == OUTCOME).to_numpy(np.bool_)
    outcomes = values if kpi.attributed else values[is_outcome]
    treatments = values[~is_outcome]
    with_kpi = outcomes[outcomes[f"{kpi.metric}_count"] > 0]
    units = tuple(sorted(set(with_kpi["unit"]))) if unit else (NATION,)
    kept = treatments["unit"].isin(units) if unit else treatments["unit"] == NATION
    left_out = treatments[~kept].groupby("unit")["entry_count"].sum()
    channel_rows = treatments[kept].groupby(["platform", "channel"], sort=True)
    check_size(len(units), len(steps), 3 * channel_rows.ngroups + 1)

    grid = _Grid(units, tuple(steps), unit)
    missing = {
        series.account: grid.missing_steps(days)
        for series, days in connected.items()
        if not series.is_outcome
    }
    taken: set[str] = set()
    channels = []
    for (platform, channel), rows in channel_rows:
        name = unique_name(_channel_name(str(platform), str(channel)), taken)
        channels.append(_cells((str(platform), str(channel)), name, rows, grid, missing))
    outcome_missing = (
        missing
        if kpi.attributed
        else {
            series.account: grid.missing_steps(days)
            for series, days in connected.items()
            if series.is_outcome
        }
    )
    outcome = _cells(
        (",".join(sorted(set(with_kpi["platform"]))), ""),
        kpi.value,
        outcomes[outcomes["unit"].isin(units)],
        grid,
        outcome_missing,
    )
    gaps = [
        *_account_gaps(connected, grid.steps),
        *(gap for cells in channels for gap in _unset_gaps(cells, treatment_metrics(cells), grid)),
        *_unset_gaps(outcome, (kpi.metric,), grid),
    ]
    return Panel(
        units=units,
        steps=tuple(steps),
        outcome=outcome,
        channels=tuple(channels),
        controls=(),
        gaps=tuple(gaps),
        units_left_out={str(name): int(count) for name, count in left_out.items()},
    )


def check_size(unit_count: int, step_count: int, column_count: int) -> None:
    """Refuse a panel that is too large.

    Raises:
        InvalidFieldsError: It has more than `MAXIMUM_CELLS` cells.
    """
    cells = unit_count * step_count * column_count
    if cells > MAXIMUM_CELLS:
        raise InvalidFieldsError.of(
            "date_range",
            f"the data set would have {unit_count:,} units, {step_count:,} steps and "
            f"{column_count:,} columns, which is more than {MAXIMUM_CELLS:,} cells; ask for a "
            "shorter range, longer steps or fewer treatments",
            rule="export_dataset.cells",
        )


def unique_name(name: str, taken: set[str]) -> str:
    """Return a name, with a number behind it where it is taken, and take it."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found


def short_name(text: str) -> str:
    """Return a text as a column's name: lower case letters, digits and underscores."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return f"x_{name}" if not name or name[0].isdigit() else name


def _channel_name(platform: str, channel: str) -> str:
    return short_name(f"{platform}_{channel}" if channel else platform)


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """The places of units and steps."""

    units: tuple[str, ...]
    steps: tuple[Step, ...]
    unit: str

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.units), len(self.steps)

    def places(self, rows: pd.DataFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return unit and step of each row, as places."""
        starts = np.array([step.start for step in self.steps], "datetime64[D]")
        steps = np.searchsorted(starts, rows["step"].to_numpy().astype("datetime64[D]"))
        units = pd.Index(self.units).get_indexer(pd.Index(rows["unit"]))
        return units.astype(np.int64), steps.astype(np.int64)

    def missing_steps(self, days: _Flags) -> _Flags:
        """Return in which steps not all days are there."""
        lengths = np.array([(step.end - step.start).days + 1 for step in self.steps])
        begins = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        found: _Flags = np.add.reduceat(days.astype(np.int64), begins) < lengths
        return found


def _cells(
    key: tuple[str, str],
    name: str,
    rows: pd.DataFrame,
    grid: _Grid,
    missing: Mapping[tuple[str, str], _Flags],
) -> Cells:
    units, steps = grid.places(rows)
    place = units, steps
    entries = np.zeros(grid.shape, np.int64)
    np.add.at(entries, place, rows["entry_count"].to_numpy(np.int64))
    numbers: dict[str, _Floats] = {}
    for metric in VALUE_METRICS:
        counts = rows[f"{metric}_count"].to_numpy(np.int64)
        if not counts.any():
            continue
        sums, have = np.zeros(grid.shape, np.int64), np.zeros(grid.shape, np.int64)
        np.add.at(sums, place, rows[metric].fillna(0).to_numpy(np.int64))
        np.add.at(have, place, counts)
        scale = 1_000_000 if metric.endswith("_micros") else 1
        numbers[metric] = np.where((entries > 0) & (have == 0), np.nan, sums / scale)
    unknown = np.zeros(grid.shape, np.bool_)
    for account in sorted(set(zip(rows["platform"], rows["account_id"], strict=True))):
        here = missing[account]
        if grid.unit == ACCOUNT_UNIT:
            unknown[grid.units.index(account[1])] |= here
        else:
            unknown |= here
    return Cells(*key, name, numbers, entries, unknown)


def _account_gaps(connected: Mapping[Series, _Flags], steps: Sequence[Step]) -> list[Gap]:
    days = Days(steps[0].start, (steps[-1].end - steps[0].start).days + 1)
    return [
        Gap(
            kind=GapKind.NOT_CONNECTED,
            platform=series.platform,
            account_id=series.account_id,
            name=series.level,
            unit="",
            days=(days.day(first).isoformat(), days.day(last).isoformat()),
        )
        for series, flags in sorted(connected.items())
        for first, last in runs(np.flatnonzero(~flags).tolist())
    ]


def _unset_gaps(cells: Cells, metrics: Sequence[str], grid: _Grid) -> list[Gap]:
    found = []
    for metric in metrics:
        unset = np.isnan(cells.numbers[metric])
        for place, unit in enumerate(grid.units):
            for first, last in runs(np.flatnonzero(unset[place]).tolist()):
                found.append(
                    Gap(
                        kind=GapKind.UNSET,
                        platform=cells.platform,
                        account_id="",
                        name=f"{cells.name} {metric}",
                        unit=unit,
                        days=(
                            grid.steps[first].start.isoformat(),
                            grid.steps[last].end.isoformat(),
                        ),
                    )
                )
    return found


def series_controls(
    rows: pd.DataFrame, panel: Panel, taken: set[str]
) -> tuple[list[Control], list[Gap]]:
    """Return the outside series of level CONTROL on the grid of a panel, and what they lack.

    A series of the whole nation holds for each unit.

    Args:
        rows: Rows with `CONTROL_COLUMNS`.
        panel: The panel that they join.
        taken: Names of columns that are taken; grows.
    """
    controls, gaps = [], []
    grid = _Grid(panel.units, panel.steps, "")
    for key, own in rows.groupby(["platform", "account_id", "series_id"], sort=True):
        platform, account_id, series_id = (str(part) for part in key)
        values = np.full(grid.shape, np.nan)
        national = own[own["unit"] == ""]
        _, steps = grid.places(national)
        values[:, steps] = national["value"].to_numpy(np.float64)
        regional = own[own["unit"].isin(panel.units) & (own["unit"] != "")]
        values[grid.places(regional)] = regional["value"].to_numpy(np.float64)
        if np.isnan(values).all():
            continue
        control = Control(unique_name(short_name(series_id), taken), series_id, values)
        controls.append(control)
        for first, last in runs(np.flatnonzero(np.isnan(values).any(axis=0)).tolist()):
            days = panel.steps[first].start.isoformat(), panel.steps[last].end.isoformat()
            gaps.append(Gap(GapKind.NO_VALUE, platform, account_id, control.name, "", days))
    return controls, gaps

"""The columns of a data set, as each consumer wants them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from liftos_kit.core.errors import DataInsufficientError
from liftos_mapping.platforms.dbt import DBT_METRICS, dbt_platform_name
from liftos_memory.domain.causal_panel import (
    Cells,
    Panel,
    check_size,
    exposure_of,
    treatment_metrics,
)
from liftos_memory.domain.dataset_request import DatasetFormat, Kpi

TIME_COLUMNS: Final = {
    DatasetFormat.LONG: "date_day",
    DatasetFormat.MERIDIAN: "time",
    DatasetFormat.PYMC: "date",
    DatasetFormat.ROBYN: "DATE",
}
UNIT_COLUMNS: Final = {
    DatasetFormat.LONG: "unit",
    DatasetFormat.MERIDIAN: "geo",
    DatasetFormat.PYMC: "unit",
}
REVENUE_PER_KPI: Final = "revenue_per_kpi"

_ROBYN_SUFFIXES: Final = {"spend": "S", "impressions": "I", "clicks": "P"}
_LONG_METRICS: Final = {**DBT_METRICS, "sent": "sent", "delivered": "delivered"}
_LONG_COLUMNS: Final = ("platform", "channel", "currency_code", "kpi", *_LONG_METRICS)

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ChannelColumns:
    """Where a channel stands in a data set.

    Attributes:
        channel: Its short name, unique in the data set.
        platform: Its platform.
        platform_channel: Where within the platform; may be empty.
        spend: Column of its spend; empty where it has none, as mail has.
        exposure: Column of what stands for its reach; empty where there is none.
        exposure_metric: Which metric that is.
    """

    channel: str
    platform: str
    platform_channel: str
    spend: str
    exposure: str
    exposure_metric: str

    @property
    def treatment(self) -> str:
        """The column that a model of spend takes for it."""
        return self.spend or self.exposure


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A column that a data set does not have, and why."""

    column: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A data set.

    Attributes:
        table: Its rows.
        channels: Where each channel stands.
        controls: Columns of controls, with what they are in words.
        kpi: Column of the outcome.
        revenue_per_kpi: Column of what one outcome is worth; empty where there is none.
        left_out: Columns that it could have had.
        treatments: Values of each channel's treatment, a row per unit and step.
    """

    table: pa.Table
    channels: tuple[ChannelColumns, ...]
    controls: tuple[tuple[str, str], ...]
    kpi: str
    revenue_per_kpi: str
    left_out: tuple[LeftOut, ...]
    treatments: _Floats


def lay_out(panel: Panel, format: DatasetFormat, kpi: Kpi, currency_code: str) -> Layout:  # noqa: A002
    """Return the data set of a panel.

    Args:
        panel: Without gaps.
        format: The shape.
        kpi: The outcome.
        currency_code: Currency of its money.

    Raises:
        DataInsufficientError: What is left does not vary where the consumer refuses that.
        InvalidFieldsError: It is too large.
    """
    left_out: list[LeftOut] = []
    outcome = panel.outcome.numbers[kpi.metric]
    if format is DatasetFormat.ROBYN and np.ptp(outcome) == 0:
        raise DataInsufficientError(f"different values of {kpi.value}", found="1", required="2")
    channels = list(_channels(panel, format, left_out))
    if not channels:
        raise DataInsufficientError("channels with numbers that vary", found="0", required="1")
    controls = []
    for control in panel.controls:
        if format is not DatasetFormat.LONG and np.ptp(control.values) == 0:
            left_out.append(LeftOut(control.name, "it never changes"))
            continue
        suffix = "_B" if format is DatasetFormat.ROBYN else ""
        controls.append((f"{control.name}{suffix}", control))
    treatments = np.column_stack([_treatment(cells).ravel() for cells, _ in channels])
    columns = [columns for _, columns in channels]
    worth = _revenue_per_kpi(panel, format, kpi, left_out)
    long = format is DatasetFormat.LONG
    width = len(controls) + (len(_LONG_COLUMNS) if long else 2 * len(channels)) + 4
    check_size(len(panel.units), len(panel.steps) * (len(channels) if long else 1), width)
    arrays: dict[str, pa.Array] = {}
    repeat = len(channels) if long else 1
    starts = np.array([step.start for step in panel.steps], "datetime64[D]")
    arrays[TIME_COLUMNS[format]] = pa.array(
        np.tile(np.repeat(starts, repeat), len(panel.units)), pa.date32()
    )
    if panel.units != ("",):
        arrays[UNIT_COLUMNS[format]] = pa.array(panel.units).take(
            pa.array(np.repeat(np.arange(len(panel.units)), len(panel.steps) * repeat))
        )
    if long:
        arrays |= _long_columns(panel, channels, currency_code)
        arrays["kpi"] = pa.array([kpi.value]).take(pa.array(np.zeros(outcome.size * repeat, int)))
        arrays["kpi_value"] = _numbers(np.repeat(outcome.ravel(), repeat), kpi.metric)
    else:
        arrays[kpi.value] = _numbers(outcome.ravel(), kpi.metric)
        if worth is not None:
            arrays[REVENUE_PER_KPI] = pa.array(worth.ravel(), pa.float64())
        for cells, named in channels:
            if named.spend:
                arrays[named.spend] = _numbers(
                    cells.numbers["spend_micros"].ravel(), "spend_micros"
                )
            if named.exposure and named.exposure != named.spend:
                metric = named.exposure_metric
                arrays[named.exposure] = _numbers(cells.numbers[metric].ravel(), metric)
    for name, control in controls:
        values = np.repeat(control.values.ravel(), repeat)
        arrays[name] = pa.array(values, pa.float64())
    return Layout(
        table=pa.table(arrays),
        channels=tuple(columns),
        controls=tuple((name, control.label) for name, control in controls),
        kpi="kpi_value" if long else kpi.value,
        revenue_per_kpi="" if worth is None else REVENUE_PER_KPI,
        left_out=tuple(left_out),
        treatments=treatments,
    )


def reserved_names(format: DatasetFormat, kpi: Kpi) -> set[str]:  # noqa: A002
    """Return names that columns of controls must not take."""
    own = {TIME_COLUMNS[format], kpi.value, REVENUE_PER_KPI, "population"}
    if format in UNIT_COLUMNS:
        own.add(UNIT_COLUMNS[format])
    return own | {*_LONG_COLUMNS, "kpi_value"} if format is DatasetFormat.LONG else own


def channel_names(channels: Sequence[Cells], format: DatasetFormat) -> set[str]:  # noqa: A002
    """Return the names of all columns that channels may take."""
    return {
        _column(cells.name, metric, format)
        for cells in channels
        for metric in treatment_metrics(cells)
    }


def _channels(
    panel: Panel,
    format: DatasetFormat,  # noqa: A002
    left_out: list[LeftOut],
) -> Iterator[tuple[Cells, ChannelColumns]]:
    for cells in panel.channels:
        exposure, has_spend = exposure_of(cells), "spend_micros" in cells.numbers
        if not has_spend and not exposure:
            left_out.append(LeftOut(cells.name, "it reports neither spend nor exposure"))
            continue
        main = _column(cells.name, "spend_micros" if has_spend else exposure, format)
        values = _treatment(cells)
        if format is DatasetFormat.ROBYN and np.ptp(values) == 0:
            left_out.append(LeftOut(main, "it never changes, and Robyn refuses that"))
            continue
        if format is DatasetFormat.PYMC and not values.any():
            left_out.append(LeftOut(main, "it is always 0, and cannot be scaled by its maximum"))
            continue
        is_constant = bool(exposure) and np.ptp(cells.numbers[exposure]) == 0
        if format is DatasetFormat.ROBYN and has_spend and is_constant:
            name = _column(cells.name, exposure, format)
            left_out.append(LeftOut(name, "it never changes, and Robyn refuses that"))
            exposure = ""
        yield (
            cells,
            ChannelColumns(
                channel=cells.name,
                platform=cells.platform,
                platform_channel=cells.channel,
                spend=_column(cells.name, "spend_micros", format) if has_spend else "",
                exposure=_column(cells.name, exposure, format) if exposure else "",
                exposure_metric=exposure,
            ),
        )


def _treatment(cells: Cells) -> _Floats:
    return cells.numbers[treatment_metrics(cells)[0]]


def _column(channel: str, metric: str, format: DatasetFormat) -> str:  # noqa: A002
    name = metric.removesuffix("_micros")
    if format is DatasetFormat.LONG:
        return name
    if format is DatasetFormat.ROBYN:
        return f"{channel}_{_ROBYN_SUFFIXES.get(name, name)}"
    return f"{channel}_{name}"


def _revenue_per_kpi(
    panel: Panel,
    format: DatasetFormat,  # noqa: A002
    kpi: Kpi,
    left_out: list[LeftOut],
) -> _Floats | None:
    """Return what an order is worth, where each cell has orders and their revenue."""
    revenue = panel.outcome.numbers.get("revenue_micros")
    if format is not DatasetFormat.MERIDIAN or kpi is not Kpi.ORDERS or revenue is None:
        return None
    orders = panel.outcome.numbers[kpi.metric]
    if np.isnan(revenue).any() or (orders == 0).any():
        left_out.append(LeftOut(REVENUE_PER_KPI, "some steps have no orders, or no revenue"))
        return None
    return revenue / orders


def _numbers(values: _Floats, metric: str) -> pa.Array:
    if metric.endswith("_micros"):
        return pa.array(values, pa.float64(), from_pandas=True)
    unset = np.isnan(values)
    return pa.array(np.where(unset, 0, values).astype(np.int64), pa.int64(), mask=unset)


def _long_columns(
    panel: Panel, channels: Sequence[tuple[Cells, ChannelColumns]], currency_code: str
) -> dict[str, pa.Array]:
    cell_count = len(panel.units) * len(panel.steps)
    places = pa.array(np.tile(np.arange(len(channels)), cell_count))
    money = pa.array(np.zeros(cell_count * len(channels), np.int64))
    columns = {
        "platform": pa.array([dbt_platform_name(cells.platform) for cells, _ in channels]).take(
            places
        ),
        "channel": pa.array([cells.channel for cells, _ in channels]).take(places),
        "currency_code": pa.array([currency_code]).take(money),
    }
    for name, metric in _LONG_METRICS.items():
        is_reported = any(metric in cells.numbers for cells, _ in channels)
        # Readers of that package's tables expect all of its metrics.
        if name not in DBT_METRICS and not is_reported:
            continue
        unset = np.full(cell_count, np.nan)
        stacked = np.column_stack(
            [
                cells.numbers[metric].ravel() if metric in cells.numbers else unset
                for cells, _ in channels
            ]
        )
        columns[name] = _numbers(stacked.ravel(), metric)
    return columns

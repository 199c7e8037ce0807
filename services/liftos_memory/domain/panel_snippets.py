"""Settings with which each consumer reads a data set."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from liftos_memory.domain.dataset_request import DatasetFormat, Kpi, Step
from liftos_memory.domain.metrics_query import Granularity
from liftos_memory.domain.panel_layout import TIME_COLUMNS, UNIT_COLUMNS, Layout

_LONGEST_CARRY_OVER: Final = {Granularity.DAY: 28, Granularity.WEEK: 8, Granularity.MONTH: 3}
"""Steps over which pymc-marketing's adstock reaches: a beginning, and a matter of the model."""

SNIPPET_NAMES: Final = {
    DatasetFormat.MERIDIAN: "meridian.json",
    DatasetFormat.PYMC: "pymc.yml",
    DatasetFormat.ROBYN: "robyn.json",
}


def snippets(
    layout: Layout,
    format: DatasetFormat,  # noqa: A002
    *,
    kpi: Kpi,
    has_units: bool,
    granularity: Granularity,
    steps: Sequence[Step],
    region_codes: Sequence[str],
) -> dict[str, str]:
    """Return files of settings by name; none for a format that needs none."""
    match format:
        case DatasetFormat.LONG:
            return {}
        case DatasetFormat.MERIDIAN:
            text = _json(_meridian(layout, kpi, has_units))
        case DatasetFormat.PYMC:
            text = _pymc(layout, kpi, has_units, _LONGEST_CARRY_OVER[granularity])
        case DatasetFormat.ROBYN:
            text = _json(_robyn(layout, kpi, steps, region_codes))
    return {SNIPPET_NAMES[format]: text}


def _json(values: Mapping[str, object]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _meridian(layout: Layout, kpi: Kpi, has_units: bool) -> dict[str, object]:
    """Return arguments of Meridian's loaders, by their names."""
    paid = [one for one in layout.channels if one.spend]
    organic = [one for one in layout.channels if not one.spend]
    columns: dict[str, object] = {"time": TIME_COLUMNS[DatasetFormat.MERIDIAN], "kpi": layout.kpi}
    if has_units:
        columns["geo"] = UNIT_COLUMNS[DatasetFormat.MERIDIAN]
    if layout.revenue_per_kpi:
        columns["revenue_per_kpi"] = layout.revenue_per_kpi
    if layout.controls:
        columns["controls"] = [name for name, _ in layout.controls]
    found: dict[str, object] = {"kpi_type": kpi.kind, "coord_to_columns": columns}
    if paid:
        # What reports no exposure is modelled by its spend.
        columns["media"] = [one.exposure or one.spend for one in paid]
        columns["media_spend"] = [one.spend for one in paid]
        found["media_to_channel"] = {one.exposure or one.spend: one.channel for one in paid}
        found["media_spend_to_channel"] = {one.spend: one.channel for one in paid}
    if organic:
        columns["organic_media"] = [one.exposure for one in organic]
        found["organic_media_to_channel"] = {one.exposure: one.channel for one in organic}
    return found


def _pymc(layout: Layout, kpi: Kpi, has_units: bool, longest: int) -> str:
    """Return the file that pymc-marketing's builder reads; JSON lists are YAML too."""
    lines = [
        "model:",
        "  class: pymc_marketing.mmm.multidimensional.MMM",
        "  kwargs:",
        f"    date_column: {TIME_COLUMNS[DatasetFormat.PYMC]}",
        f"    target_column: {kpi.value}",
        f"    channel_columns: {json.dumps([one.treatment for one in layout.channels])}",
    ]
    if layout.controls:
        lines.append(f"    control_columns: {json.dumps([name for name, _ in layout.controls])}")
    if has_units:
        lines.append(f"    dims: {json.dumps([UNIT_COLUMNS[DatasetFormat.PYMC]])}")
    lines += [
        "    adstock:",
        "      class: pymc_marketing.mmm.GeometricAdstock",
        f"      kwargs: {{l_max: {longest}}}",
        "    saturation:",
        "      class: pymc_marketing.mmm.LogisticSaturation",
    ]
    return "\n".join(lines) + "\n"


def _robyn(
    layout: Layout, kpi: Kpi, steps: Sequence[Step], region_codes: Sequence[str]
) -> dict[str, object]:
    """Return arguments of Robyn's inputs, by the names that they have in R and in Python."""
    paid = [one for one in layout.channels if one.spend]
    country = next(iter(region_codes), "")[:2]
    holidays = {"prophet_country": country} if country else {}
    return {
        "date_var": TIME_COLUMNS[DatasetFormat.ROBYN],
        "dep_var": layout.kpi,
        "dep_var_type": "revenue" if kpi.kind == "revenue" else "conversion",
        "prophet_vars": ["trend", "season", *(["holiday"] if country else [])],
        **holidays,
        "context_vars": [name for name, _ in layout.controls],
        "paid_media_spends": [one.spend for one in paid],
        "paid_media_vars": [one.exposure or one.spend for one in paid],
        "organic_vars": [one.exposure for one in layout.channels if not one.spend],
        "window_start": steps[0].start.isoformat(),
        "window_end": steps[-1].start.isoformat(),
        "adstock": "geometric",
    }

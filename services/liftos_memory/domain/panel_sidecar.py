"""What goes with a data set: what its numbers are, and what to mind about them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import pandas as pd

from liftos_memory.domain.causal_panel import Cells, treatment_metrics
from liftos_memory.domain.dataset_request import (
    DatasetFormat,
    DatasetRequest,
    GapPolicy,
    Step,
)
from liftos_memory.domain.identification import IdentificationReport
from liftos_memory.domain.lift_tests import LIFT_TEST_FORMATS, LiftTests
from liftos_memory.domain.panel_accounts import OUTCOME, Series
from liftos_memory.domain.panel_calendar import PanelCalendar
from liftos_memory.domain.panel_gaps import ClosedPanel, describe
from liftos_memory.domain.panel_layout import Layout
from liftos_memory.domain.quality_summary import ScoredEntries, summarise

RULES_VERSION: Final = 2
"""Rises when the same store would give another data set."""

_SIGNIFICANT_DIGITS: Final = 6
"""Statistics are rounded to what is the same on every machine."""


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """All that a sidecar tells of.

    Attributes:
        request: What was asked.
        currency_code: Currency of all money.
        as_of: The state of the store.
        store_version: Its newest commit.
        closed: The panel, without gaps.
        layout: The data set.
        calendar: Events and holidays of its steps.
        lift_tests: What experiments found of its channels.
        report: What it can tell apart.
        series: What is read of each account.
        survey: The rows that series are made of.
        values: Sums of the steps that are left.
        qualities: What was found about their entries.
        cut: Days that were asked for and are in no step, with the reason.
        levels_aside: Other levels at which each account has entries.
        snippets: Settings for the consumer.
        made_with: Versions of the libraries that decide what is in it.
        sha256: Of the Arrow stream.
    """

    request: DatasetRequest
    currency_code: str
    as_of: datetime
    store_version: int
    closed: ClosedPanel
    layout: Layout
    calendar: PanelCalendar
    lift_tests: LiftTests
    report: IdentificationReport
    series: Sequence[Series]
    survey: pd.DataFrame
    values: pd.DataFrame
    qualities: pd.DataFrame
    cut: Sequence[tuple[date, date, str]]
    levels_aside: Mapping[tuple[str, str], Sequence[str]]
    snippets: Mapping[str, str]
    made_with: Mapping[str, str]
    sha256: str


def sidecar(it: Described) -> dict[str, Any]:
    """Return the sidecar as a JSON object."""
    panel, request = it.closed.panel, it.request
    zones = sorted(set(it.survey["time_zone"]) - {""})
    return {
        "rules_version": RULES_VERSION,
        "format": request.format.value,
        "as_of": it.as_of.isoformat(),
        "store_version": it.store_version,
        "sha256": it.sha256,
        "row_count": it.layout.table.num_rows,
        "start_date": panel.steps[0].start.isoformat(),
        "end_date": panel.steps[-1].end.isoformat(),
        "granularity": request.granularity.value,
        "step_count": len(panel.steps),
        "unit": request.unit,
        "units": [] if not request.unit else list(panel.units),
        "units_left_out": dict(panel.units_left_out),
        "currency_code": it.currency_code,
        "time_zones": zones,
        "kpi": {
            "name": request.kpi.value,
            "column": it.layout.kpi,
            "type": request.kpi.kind,
            "attributed": request.kpi.attributed,
            "platforms": panel.outcome.platform.split(","),
            "revenue_per_kpi": it.layout.revenue_per_kpi,
        },
        "channels": [
            {
                "channel": one.channel,
                "platform": one.platform,
                "platform_channel": one.platform_channel,
                "spend": one.spend,
                "exposure": one.exposure,
                "exposure_metric": one.exposure_metric.removesuffix("_micros"),
            }
            for one in it.layout.channels
        ],
        "controls": [{"column": name, "label": label} for name, label in it.layout.controls],
        "accounts": [
            {
                "platform": one.platform,
                "account_id": one.account_id,
                "level": one.level,
                "attribution_key": one.attribution_key,
                "date_basis": one.date_basis,
                "breakdowns": one.breakdown,
                "other_levels": list(it.levels_aside.get(one.account, ())),
            }
            for one in it.series
        ],
        "quality": dict(_qualities(it)),
        "on_gap": request.on_gap.value,
        "gaps": [
            {
                "kind": gap.kind.value,
                "platform": gap.platform,
                "account_id": gap.account_id,
                "name": gap.name,
                "unit": gap.unit,
                "start_date": gap.days[0],
                "end_date": gap.days[1],
                "message": describe(gap),
            }
            for gap in it.closed.gaps
        ],
        "filled": dict(it.closed.filled or {}),
        "trimmed": [_days(step) for step in it.closed.trimmed],
        "cut": [
            {"start_date": first.isoformat(), "end_date": last.isoformat(), "reason": reason}
            for first, last, reason in it.cut
        ],
        "left_out": [
            *({"column": one.column, "reason": one.reason} for one in it.layout.left_out),
            *({"column": name, "reason": "it has gaps"} for name in it.closed.left_out),
        ],
        "events": [
            {
                "name": event.name,
                "start_date": event.start.isoformat(),
                "end_date": event.end.isoformat(),
                "structural_break": event.structural_break,
                "source": source,
            }
            for event, source in it.calendar.events
        ],
        "holidays": [
            {"date": day.isoformat(), "name": name, "region_code": region}
            for day, name, region in it.calendar.holidays
        ],
        "holiday_regions": {
            unit or "nation": list(codes) for unit, codes in it.calendar.regions.items()
        },
        **({"lift_tests": list(it.lift_tests.rows)} if request.format in LIFT_TEST_FORMATS else {}),
        "identification": _report(it.report),
        "caveats": list(_caveats(it, zones)),
        "snippets": dict(it.snippets),
        "made_with": dict(it.made_with),
    }


def _days(step: Step) -> dict[str, str]:
    return {"start_date": step.start.isoformat(), "end_date": step.end.isoformat()}


def _rounded(number: float | None) -> float | None:
    if number is None or not math.isfinite(number):
        return None
    return float(f"{number:.{_SIGNIFICANT_DIGITS}g}")


def _qualities(it: Described) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield column and quality: of what entries it is made, and how good they are."""
    panel, request = it.closed.panel, it.request
    outcomes, found_of_outcomes = (
        frame if request.kpi.attributed else frame[frame["level"] == OUTCOME]
        for frame in (it.values, it.qualities)
    )
    yield it.layout.kpi, _quality(outcomes, found_of_outcomes, request.kpi.metric, 0)
    cells_of = {cells.name: cells for cells in panel.channels}
    of_channel, found_of = (
        dict(list(frame[frame["level"] != OUTCOME].groupby(["platform", "channel"])))
        for frame in (it.values, it.qualities)
    )
    long = request.format is DatasetFormat.LONG
    for one in it.layout.channels:
        # All of its entries may lie in steps that were cut off.
        key: Any = (one.platform, one.platform_channel)
        rows = of_channel.get(key, it.values.iloc[:0])
        found = found_of.get(key, it.qualities.iloc[:0])
        cells = cells_of[one.channel]
        for metric in treatment_metrics(cells):
            filled = (it.closed.filled or {}).get(f"{cells.name} {metric}", 0)
            column = one.spend if metric == "spend_micros" else one.exposure
            if column:
                name = f"{one.channel}.{column}" if long else column
                yield name, _quality(rows, found, metric, filled)


def _quality(rows: pd.DataFrame, found: pd.DataFrame, metric: str, filled: int) -> dict[str, Any]:
    summary = summarise(
        ScoredEntries(issues, mismatched, int(count))
        for issues, mismatched, count in zip(
            found["issues"], found["mismatched"], found["entry_count"], strict=True
        )
    )
    if summary is None:
        return {"entry_count": 0, "issues": [], "filled_cells": filled}
    entries = summary.entry_count
    return {
        "entry_count": entries,
        "minimum_score": _rounded(summary.minimum_score),
        "mean_score": _rounded(summary.mean_score),
        "issues": [
            {
                "code": one.issue.code,
                "field": one.issue.field,
                "cost": one.issue.cost,
                "entry_count": one.entry_count,
            }
            for one in summary.issues
        ],
        "final_share": _rounded(int(rows["final_count"].sum()) / entries),
        "unset_share": _rounded(1 - int(rows[f"{metric}_count"].sum()) / entries),
        "filled_cells": filled,
    }


def _report(report: IdentificationReport) -> dict[str, Any]:
    return {
        "observations": report.observations,
        "parameters": report.parameters,
        "observations_per_parameter": _rounded(report.observations_per_parameter),
        "treatments": [
            {
                "column": one.column,
                "vif": _rounded(one.vif),
                "zero_share": _rounded(one.zero_share),
                "variation": _rounded(one.variation),
            }
            for one in report.treatments
        ],
        "correlations": [
            {"columns": list(pair.columns), "r": _rounded(pair.r)} for pair in report.correlations
        ],
        "warnings": [
            {
                "code": one.code,
                "columns": list(one.columns),
                "value": _rounded(one.value),
                "limit": one.limit,
                "message": one.message,
            }
            for one in report.concerns
        ],
    }


def _caveats(it: Described, zones: Sequence[str]) -> Iterator[str]:
    request, panel = it.request, it.closed.panel
    if request.kpi.attributed:
        yield (
            "The outcome is what platforms claim for their own advertising: each claims what it "
            "can see, several may claim the same order, and a model of it tells how platforms "
            "count rather than what advertising did."
        )
    if len(zones) > 1:
        yield (
            f"Days are those of {len(zones)} time zones ({', '.join(zones)}): a day of one account "
            "is not quite that of another."
        )
    keys = sorted({one.attribution_key for one in it.series if one.attribution_key})
    if request.kpi.attributed and len(keys) > 1:
        yield f"Accounts attribute in {len(keys)} ways ({', '.join(keys)}), and are summed."
    entries = int(it.values["entry_count"].sum())
    open_entries = entries - int(it.values["final_count"].sum())
    if open_entries:
        yield (
            f"{open_entries:,} of {entries:,} entries are not final: platforms may still restate "
            "them."
        )
    yield from _level_caveats(it)
    for cells in (*panel.channels, panel.outcome):
        yield from _unset(cells, it)
    yield from _gap_caveats(it)
    if panel.units_left_out:
        yield (
            f"{len(panel.units_left_out)} units have treatments and no {request.kpi.value}; they "
            "are left out."
        )
    if request.format is DatasetFormat.MERIDIAN and request.unit:
        yield "Meridian wants the population of each geo, which is not known here: add it."
    yield from it.lift_tests.caveats
    for event, _ in it.calendar.events:
        if event.structural_break and panel.steps[0].start < event.start <= panel.steps[-1].end:
            yield f"Numbers before and from {event.start} on are not comparable: {event.name}."


def _level_caveats(it: Described) -> Iterator[str]:
    """Tell of accounts of which another level says something else."""
    apart = it.qualities[it.qualities["mismatched"] != ""]
    for (platform, account_id), rows in apart.groupby(["platform", "account_id"], sort=True):
        names = sorted({name for text in rows["mismatched"] for name in text.split(",")})
        told = ", ".join(name.removesuffix("_micros") for name in names)
        yield (
            f"{told} of account {account_id} of {platform} differ between levels on days of "
            f"{int(rows['entry_count'].sum())} entries: one of them is incomplete."
        )


def _gap_caveats(it: Described) -> Iterator[str]:
    if it.closed.gaps and it.request.on_gap is GapPolicy.ZERO:
        yield (
            f"{len(it.closed.gaps)} gaps were closed as if nothing had happened on their days; "
            "they are listed."
        )
    for name, count in (it.closed.filled or {}).items():
        yield f"{name}: {count} cells are unknown and were taken for 0."
    if it.closed.trimmed:
        yield f"{len(it.closed.trimmed)} steps were cut off because of gaps."


def _unset(cells: Cells, it: Described) -> Iterator[str]:
    """Tell of numbers that only some of the entries of a cell have."""
    is_outcome = it.values["level"] == OUTCOME
    if cells is it.closed.panel.outcome:
        rows = it.values if it.request.kpi.attributed else it.values[is_outcome]
        metrics: Sequence[str] = (it.request.kpi.metric,)
    else:
        rows = it.values[
            ~is_outcome
            & (it.values["platform"] == cells.platform)
            & (it.values["channel"] == cells.channel)
        ]
        metrics = treatment_metrics(cells)
    entries = int(rows["entry_count"].sum())
    for metric in metrics:
        unset = entries - int(rows[f"{metric}_count"].sum())
        if unset:
            yield (
                f"{cells.name}: {unset} of {entries} entries have no "
                f"{metric.removesuffix('_micros')}; sums are of the others."
            )

"""What becomes of the gaps of a panel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, assert_never

import numpy as np
import numpy.typing as npt

from liftos_kit.core.errors import DataInsufficientError, FieldViolation
from liftos_memory.domain.causal_panel import Cells, Gap, GapKind, Panel, treatment_metrics
from liftos_memory.domain.dataset_request import GapPolicy, Kpi, Step
from liftos_memory.domain.panel_accounts import OUTCOME, runs

_SHOWN_GAPS: Final = 100

_Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ClosedPanel:
    """A panel without a gap, and what was done for that.

    Attributes:
        panel: Every number that a model takes is known in it.
        gaps: Gaps that it had.
        trimmed: Steps that were cut off.
        filled: Per column name of a channel, how many cells were taken for 0.
        left_out: Controls that were left out.
    """

    panel: Panel
    gaps: tuple[Gap, ...] = ()
    trimmed: tuple[Step, ...] = ()
    filled: Mapping[str, int] | None = None
    left_out: tuple[str, ...] = ()


def close_gaps(panel: Panel, policy: GapPolicy, kpi: Kpi) -> ClosedPanel:
    """Return a panel without gaps, by the policy.

    Raises:
        DataInsufficientError: The policy is to fail, no step is complete, or zeros would have to be
            made up for the outcome; its violations name the gaps.
    """
    outcome = _is_open(panel.outcome, (kpi.metric,))
    channels = np.zeros(len(panel.steps), np.bool_)
    for cells in panel.channels:
        channels |= _is_open(cells, treatment_metrics(cells))
    controls = np.zeros(len(panel.steps), np.bool_)
    for control in panel.controls:
        controls |= np.isnan(control.values).any(axis=0)
    is_open = outcome | channels | controls
    if not is_open.any():
        return ClosedPanel(panel)
    if policy is GapPolicy.TRIM:
        return _trimmed(panel, is_open)
    if policy is GapPolicy.FAIL:
        raise _refusal(panel.gaps, len(panel.steps), int(is_open.sum()), "trim or zero")
    if outcome.any():
        gaps = [gap for gap in panel.gaps if _is_of_outcome(gap, panel, kpi)]
        raise _refusal(gaps, len(panel.steps), int(outcome.sum()), "trim: no outcome is made up")
    return _filled(panel)


def _is_open(cells: Cells, metrics: Sequence[str]) -> _Flags:
    unset = [np.isnan(cells.numbers[metric]) for metric in metrics]
    found: _Flags = np.logical_or.reduce([cells.unknown, *unset]).any(axis=0)
    return found if metrics else np.zeros_like(found)


def _is_of_outcome(gap: Gap, panel: Panel, kpi: Kpi) -> bool:
    if gap.kind is GapKind.NOT_CONNECTED:
        return kpi.attributed or gap.name == OUTCOME
    return gap.kind is GapKind.UNSET and gap.name == f"{panel.outcome.name} {kpi.metric}"


def _refusal(gaps: Sequence[Gap], steps: int, open_steps: int, advice: str) -> Exception:
    return DataInsufficientError(
        "complete steps",
        found=f"{steps - open_steps}",
        required=f"{steps}",
        violations=[
            FieldViolation("on_gap", describe(gap), f"export_dataset.gap.{gap.kind.value}")
            for gap in gaps[:_SHOWN_GAPS]
        ],
        advice=f"{len(gaps)} gaps are listed; load what is missing, or set on_gap to {advice}",
    )


def describe(gap: Gap) -> str:
    """Return what is unknown, in a sentence."""
    first, last = gap.days
    when = f"on {first}" if first == last else f"from {first} to {last}"
    of_unit = f" in {gap.unit}" if gap.unit else ""
    match gap.kind:
        case GapKind.NOT_CONNECTED:
            return (
                f"account {gap.account_id} of {gap.platform} has neither {gap.name} entries nor a "
                f"slice {when}"
            )
        case GapKind.UNSET:
            return f"entries of {gap.platform} have no value for {gap.name}{of_unit} {when}"
        case GapKind.NO_VALUE:
            return f"control {gap.name} of {gap.platform} has no value {when}"
        case _:
            assert_never(gap.kind)


def _trimmed(panel: Panel, is_open: _Flags) -> ClosedPanel:
    complete = list(runs(np.flatnonzero(~is_open).tolist()))
    if not complete:
        raise _refusal(panel.gaps, len(panel.steps), len(panel.steps), "zero")
    first, last = max(complete, key=lambda run: (run[1] - run[0], run[0]))
    kept = slice(first, last + 1)
    trimmed = replace(
        panel,
        steps=panel.steps[kept],
        outcome=_cut(panel.outcome, kept),
        channels=tuple(_cut(cells, kept) for cells in panel.channels),
        controls=tuple(replace(one, values=one.values[:, kept]) for one in panel.controls),
        gaps=(),
    )
    return ClosedPanel(
        trimmed, panel.gaps, trimmed=(*panel.steps[:first], *panel.steps[last + 1 :])
    )


def _cut(cells: Cells, kept: slice) -> Cells:
    return replace(
        cells,
        numbers={metric: values[:, kept] for metric, values in cells.numbers.items()},
        entries=cells.entries[:, kept],
        unknown=cells.unknown[:, kept],
    )


def _filled(panel: Panel) -> ClosedPanel:
    filled: dict[str, int] = {}
    channels = []
    for cells in panel.channels:
        numbers = dict(cells.numbers)
        for metric in treatment_metrics(cells):
            unset = np.isnan(numbers[metric])
            numbers[metric] = np.where(unset, 0.0, numbers[metric])
            # A step of which some days are known keeps the sum of these.
            made_up = unset | (cells.unknown & (cells.entries == 0))
            if made_up.any():
                filled[f"{cells.name} {metric}"] = int(made_up.sum())
        channels.append(replace(cells, numbers=numbers, unknown=np.zeros_like(cells.unknown)))
    kept = tuple(one for one in panel.controls if not np.isnan(one.values).any())
    return ClosedPanel(
        replace(panel, channels=tuple(channels), controls=kept, gaps=()),
        panel.gaps,
        filled=filled,
        left_out=tuple(one.name for one in panel.controls if one not in kept),
    )

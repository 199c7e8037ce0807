"""A data set for marketing mix models, held against the file, and exported twice."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from liftos_cli.demo.channels import CHANNELS, MICROS, Channel
from liftos_cli.demo.daily_entries import RoundedFile
from liftos_cli.demo.movements import Check
from liftos_cli.output import Column, print_table
from liftos_client.memory import MemoryClient

_OUTCOME: Final = "OUTCOME"
_CONTROL: Final = "CONTROL"


@dataclass(frozen=True, slots=True)
class DataSetProof:
    """A data set and what was found about it.

    Attributes:
        sidecar: What goes with it.
        compared_count: Numbers that were held against the file.
        difference_count: Those of them that were others.
        is_same: Whether its moment gave the same bytes again.
    """

    sidecar: dict[str, Any]
    compared_count: int
    difference_count: int
    is_same: bool


async def export_and_compare(memory: MemoryClient, file: RoundedFile) -> DataSetProof:
    """Export the weeks of the file for Robyn, whose example the file is, and compare them."""
    days = file.weeks[0], file.weeks[-1] + timedelta(days=6)
    choices: dict[str, Any] = {"format": "ROBYN", "kpi": "revenue", "granularity": "WEEK"}
    dataset = await memory.export_dataset(*days, **choices)
    again = await memory.export_dataset(*days, **choices, as_of=dataset.sidecar["as_of"])
    frame = dataset.frame
    named = {(one["platform"], one["platform_channel"]): one for one in dataset.sidecar["channels"]}
    compared = differences = 0
    for channel in CHANNELS:
        # What outside series are in a week is their mean.
        if channel.level == _CONTROL:
            continue
        for metric, column in channel.columns.items():
            exported = _column(channel, metric, named)
            scale = MICROS if metric.endswith("_micros") else 1
            found = (frame[exported] * scale).round().astype("int64").tolist()
            compared += len(file.weeks)
            differences += sum(
                one != other for one, other in zip(found, file.columns[column], strict=True)
            )
    return DataSetProof(dataset.sidecar, compared, differences, again == dataset)


def _column(channel: Channel, metric: str, named: dict[tuple[str, str], Any]) -> str:
    if channel.level == _OUTCOME:
        return "revenue"
    columns = named[channel.platform, channel.channel]
    return str(columns["spend" if metric == "spend_micros" else "exposure"])


def checks_of_data_set(proof: DataSetProof) -> tuple[Check, ...]:
    """Return what has to hold of an export."""
    return (
        Check(
            "the data set for Robyn equals the rounded file",
            proof.compared_count > 0 and proof.difference_count == 0,
            f"{proof.compared_count:,} values compared, {proof.difference_count:,} differences",
        ),
        Check(
            "the same moment gives the same bytes again",
            proof.is_same,
            f"SHA-256 {proof.sidecar['sha256'][:12]}… as of {proof.sidecar['as_of']}",
        ),
    )


def print_data_set(proof: DataSetProof) -> None:
    """Print its columns, and what a model of it could not tell apart."""
    treatments = {one["column"]: one for one in proof.sidecar["identification"]["treatments"]}
    print_table(
        [Column("channel"), Column("spend"), Column("exposure"), Column("zero weeks", number=True)],
        [
            [
                one["channel"],
                one["spend"],
                one["exposure"],
                f"{treatments[one['channel']]['zero_share']:.0%}",
            ]
            for one in proof.sidecar["channels"]
        ],
    )
    for warning in proof.sidecar["identification"]["warnings"]:
        print(f"Mind: {warning['message']}.")

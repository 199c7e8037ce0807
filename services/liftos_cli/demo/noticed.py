"""What stands out in the data set: insights, and the worst of them run again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from liftos.memory.v1.memory_service_pb2 import GenerateInsightsResponse, RerunInsightResponse
from liftos_cli.demo.movements import Check
from liftos_cli.figures import enum_word_of
from liftos_cli.output import Column, print_table
from liftos_client.memory import MemoryClient

_ASKED: Final = ("2018-07-02", "2018-12-30")
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Noticed:
    """Insights, and whether the worst holds when it is run again; None where there are none."""

    answer: GenerateInsightsResponse
    rerun: RerunInsightResponse | None


async def look_for_insights(memory: MemoryClient) -> Noticed:
    """Look at half a year of all accounts, campaigns, flows and outcomes."""
    answer = await memory.generate_insights(*_ASKED, maximum_insights=_SHOWN)
    if not answer.insights:
        return Noticed(answer, None)
    return Noticed(answer, await memory.rerun_insight(answer.insights[0].name))


def checks_of_insights(noticed: Noticed) -> Sequence[Check]:
    """Return what has to hold of insights."""
    rerun = noticed.rerun
    found = "nothing stands out"
    if rerun is not None:
        found = f"{len(rerun.evidence_rows)} rows of evidence, asked anew"
    return (
        Check(
            "the insight that stands out most holds when it is run again",
            rerun is not None and rerun.holds and len(rerun.evidence_rows) > 0,
            found,
        ),
    )


def print_insights(noticed: Noticed) -> None:
    """Print the insights that stand out most."""
    print_table(
        [Column("pattern"), Column("severity", number=True), Column("insight")],
        [
            [enum_word_of(it, "pattern"), f"{it.severity:.0f}", it.summary]
            for it in noticed.answer.insights
        ],
    )
    answer = noticed.answer
    print(
        f"{answer.insight_count} insights hold among {answer.series_count} series;"
        f" at most one in twenty is chance."
    )

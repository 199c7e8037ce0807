"""Channels against each other and against the year before; asked twice, to see the cache."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from liftos.memory.v1.memory_service_pb2 import CompareMetricsResponse
from liftos_cli.figures import cell
from liftos_cli.output import Column, print_table
from liftos_client.memory import MemoryClient

_ASKED: Final = ("2018-11-01", "2018-11-30")
_BASELINE: Final = ("2017-11-01", "2017-11-30")
_ALL: Final = "(all)"


@dataclass(frozen=True, slots=True)
class Check:
    """Something that has to hold for the demo to succeed."""

    claim: str
    holds: bool
    found: str


@dataclass(frozen=True, slots=True)
class Movements:
    """A comparison, and how long it took at first and when it was asked again.

    Attributes:
        answer: What was answered.
        is_same: Whether the second answer was the same.
        first_seconds: Time of the first call.
        again_seconds: Time of the second.
        hit_count: Answers that the cache of the server gave meanwhile.
    """

    answer: CompareMetricsResponse
    is_same: bool
    first_seconds: float
    again_seconds: float
    hit_count: int


async def look_at_movements(memory: MemoryClient) -> Movements:
    """Compare spend of the platforms in one November with that of the year before, twice."""
    before = await _hits(memory)
    answers, seconds = [], []
    for _ in range(2):
        began = time.perf_counter()
        answers.append(
            await memory.compare_metrics(
                *_ASKED,
                baseline_start_date=_BASELINE[0],
                baseline_end_date=_BASELINE[1],
                level="CAMPAIGN",
                metrics=["spend", "roas"],
                dimension="platform",
            )
        )
        seconds.append(time.perf_counter() - began)
    return Movements(
        answer=answers[0],
        is_same=answers[0] == answers[1],
        first_seconds=seconds[0],
        again_seconds=seconds[1],
        hit_count=await _hits(memory) - before,
    )


async def _hits(memory: MemoryClient) -> int:
    tiers = await memory.get_cache_stats()
    return sum(tier.hit_count for tier in tiers if tier.tier == "process")


def checks_of_movements(movements: Movements) -> Sequence[Check]:
    """Return what has to hold of a comparison."""
    spend = [each for each in movements.answer.comparisons if each.metric == "spend"]
    [total] = [each for each in movements.answer.totals if each.metric == "spend"]
    changes = math.fsum(each.change for each in spend)
    return (
        Check(
            "changes of the platforms add up to that of all",
            len(spend) > 1 and math.isclose(changes, total.change, abs_tol=1e-6),
            f"{changes:,.2f} and {total.change:,.2f}",
        ),
        Check(
            "what is asked again comes from the cache, and is the same",
            movements.is_same and movements.hit_count == 1,
            f"{movements.first_seconds * 1e3:.1f} ms, then {movements.again_seconds * 1e3:.1f} ms",
        ),
    )


def print_movements(movements: Movements) -> None:
    """Print spend by platform, and the shop's revenue per amount spent."""
    answer = movements.answer
    print_table(
        [
            Column("platform"),
            *(Column(title, number=True) for title in ("spend", "before", "change", "95 %")),
        ],
        [
            [
                each.member or _ALL,
                f"{each.value:,.2f}",
                f"{each.baseline_value:,.2f}",
                f"{each.change_ratio:+.1%}",
                f"{each.change_interval_low:+,.0f} .. {each.change_interval_high:+,.0f}",
            ]
            for each in (*answer.comparisons, *answer.totals)
            if each.metric == "spend"
        ],
    )
    for each in answer.marketing_efficiency:
        print(
            f"The shop's revenue per {each.currency_code} spent: {cell(each, 'value')},"
            f" before {cell(each, 'baseline_value')}."
        )

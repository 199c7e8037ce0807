"""Comparisons of channels and periods."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass

import pyarrow as pa

from liftos_memory.domain.calendar import CalendarDay
from liftos_memory.domain.comparison_caveats import Caveat, Efficiency, caveats, efficiencies
from liftos_memory.domain.comparison_findings import MetricFindings, findings
from liftos_memory.domain.comparison_sums import MemberFacts, compared_sums
from liftos_memory.domain.comparisons import (
    MAXIMUM_CELLS,
    ComparisonQuestion,
    too_many_members,
)
from liftos_memory.metrics_ports import MetricsStore
from liftos_memory.org_ports import OrgStore
from liftos_memory.usecases.calendar import OrgCalendar


@dataclass(frozen=True, slots=True, eq=False)
class ComparisonAnswer:
    """What was found, and what is known of the members' entries."""

    findings: Sequence[MetricFindings]
    facts: dict[str, MemberFacts]
    efficiencies: Sequence[Efficiency]
    caveats: Sequence[Caveat]


class Comparisons:
    """Compares through the store of sums; numbers are worked out in the executor.

    The calendar is read with each question, since an answer may be kept for as long as nothing is
    written, and must not rest on a calendar from before.
    """

    def __init__(self, store: MetricsStore, orgs: OrgStore, executor: Executor) -> None:
        self._store = store
        self._orgs = orgs
        self._executor = executor

    async def compare(self, org: str, question: ComparisonQuestion) -> ComparisonAnswer:
        """Return what is found.

        Raises:
            RateMissingError: Money cannot be converted.
            InvalidFieldsError: There are too many members, or a sum does not fit into 64 bits.
        """
        outcomes = question.outcomes if question.wants_efficiency else None
        settings, events = await self._orgs.settings_and_events(org)
        calendar = OrgCalendar(settings, tuple(events))
        rows = await self._rows(org, question)
        outcome_rows = [] if outcomes is None else await self._rows(org, outcomes)
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, lambda: _answer(question, rows, outcomes, outcome_rows, calendar)
        )

    async def _rows(self, org: str, question: ComparisonQuestion) -> list[pa.RecordBatch]:
        columns = list(question.columns)
        kept: list[pa.RecordBatch] = []
        count = 0
        async with aclosing(self._store.stream(org, question.daily)) as batches:
            async for batch in batches:
                count += batch.num_rows
                if count > MAXIMUM_CELLS:
                    raise too_many_members(f"more than {MAXIMUM_CELLS} sums of a day")
                kept.append(batch.select(columns))
        return kept


def _answer(
    question: ComparisonQuestion,
    rows: Sequence[pa.RecordBatch],
    outcomes: ComparisonQuestion | None,
    outcome_rows: Sequence[pa.RecordBatch],
    org_calendar: OrgCalendar,
) -> ComparisonAnswer:
    sums = compared_sums(question, rows)
    calendar: list[CalendarDay] = org_calendar.days(
        question.daily.start_date, question.daily.end_date
    )
    efficiency: list[Efficiency] = []
    if outcomes is not None:
        efficiency = efficiencies(question, sums, compared_sums(outcomes, outcome_rows))
    return ComparisonAnswer(
        findings=findings(question, sums, calendar),
        facts=dict(sums.facts),
        efficiencies=efficiency,
        caveats=caveats(question, sums, calendar),
    )

"""Insights: looking at the complete store, keeping what is found, and finding it again."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa

from liftos_kit.core.errors import InvalidFieldsError, NotFoundError
from liftos_kit.core.filters import Filter, parse_filter
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable
from liftos_memory.domain.documents import ObjectKey, ObjectNames
from liftos_memory.domain.entry_filter import ENTRY_FILTER_FIELDS
from liftos_memory.domain.finished_days import FinishedDays
from liftos_memory.domain.insight_findings import Told, tell
from liftos_memory.domain.insight_looks import Look, Question, history_start, look
from liftos_memory.domain.insight_series import SeriesTable, own_entries, series_query
from liftos_memory.domain.insight_states import is_same, no_longer_found, still_within
from liftos_memory.domain.insight_text import keeps_numbers, summary
from liftos_memory.domain.insights import (
    ORIGIN,
    Insight,
    InsightKind,
    InsightRating,
    InsightState,
    Subject,
    moves_along,
    told_for_themselves,
)
from liftos_memory.domain.metrics_query import MetricsQuery
from liftos_memory.domain.quality_summary import QualitySummary, summarise
from liftos_memory.insight_ports import InsightStore, StoredInsight, WordedInsight, Wording
from liftos_memory.metrics_ports import MetricsRow, MetricsStore
from liftos_memory.ports import WriteContext
from liftos_memory.usecases.calendar import OrgCalendars

DEFAULT_LEVELS: Final = ("ACCOUNT", "CAMPAIGN", "FLOW", "OUTCOME")
"""Levels that are looked at where none are named; there are few objects of each."""

MAXIMUM_DAYS: Final = 731

_USUAL_DAYS: Final = 91
_USUAL_ANOMALY_DAYS: Final = 28
_EVIDENCE_ROWS: Final = 1_000
_MOST_ISSUES: Final = 20
_WORDED_PER_RUN: Final = 20
_WORDED_AT_ONCE: Final = 4
_ALL_KINDS: Final = tuple(InsightKind)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run looks at.

    Attributes:
        days: First and last day that are judged; None is what is usual.
        kinds: What is looked for.
        levels: Levels that are looked at.
        where: Only entries that match.
        skips_large_levels: Whether a level of more series than a run holds is left out, rather
            than the run refused.
    """

    days: tuple[date, date] | None = None
    kinds: tuple[InsightKind, ...] = _ALL_KINDS
    levels: tuple[str, ...] = DEFAULT_LEVELS
    where: Filter | None = None
    skips_large_levels: bool = False


@dataclass(frozen=True, slots=True)
class Generated:
    """What a run did.

    Attributes:
        insights: The most severe of what holds and is told for itself, most severe first.
        insight_count: How many of these there are.
        within_count: How many more hold within wholes.
        days: First and last day that were judged; None where there were none to choose.
        day_count: How many of them have entries.
        resolved: Ids of what does not hold any more.
        series_count: Series of a metric that were looked at.
        skipped_levels: Levels that were left out, as of more series than a run holds.
        seen_version: The org's version that was looked at.
        version: The org's version after it.
    """

    insights: Sequence[StoredInsight]
    insight_count: int
    within_count: int
    days: tuple[date, date] | None
    day_count: int
    resolved: Sequence[str]
    series_count: int
    skipped_levels: Sequence[str]
    seen_version: int
    version: int


@dataclass(frozen=True, slots=True)
class Rerun:
    """An insight on the data of now.

    Attributes:
        stored: As found now; as stored and resolved where it does not hold.
        holds: Whether it does.
        query: The query of its evidence.
        rows: What that gives now.
    """

    stored: StoredInsight
    holds: bool
    query: MetricsQuery
    rows: Sequence[MetricsRow]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a run looked at: series, judged days that have entries, looks, and levels left out."""

    subjects: set[Subject]
    days: set[date]
    looks: list[Look]
    skipped_levels: list[str]


class Insights:
    """Finds, keeps, shows and rates insights.

    Args:
        store: Where they are kept.
        metrics: Sums over entries.
        calendars: Name holidays and events.
        executor: Computes.
        last_version: An org's newest version.
        now: The present time in UTC.
        wording: Says sentences in other words; None leaves them as they are.
    """

    def __init__(
        self,
        store: InsightStore,
        metrics: MetricsStore,
        calendars: OrgCalendars,
        executor: Executor,
        *,
        last_version: Callable[[str], Awaitable[int]],
        now: Callable[[], datetime],
        wording: Wording | None = None,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._calendars = calendars
        self._executor = executor
        self._last_version = last_version
        self._now = now
        self._wording = wording

    async def generate(
        self,
        org: str,
        scope: Scope,
        *,
        shown: int = 0,
        repeatable: Repeatable[Generated] | None = None,
    ) -> Generated | bytes:
        """Look for insights and keep what is found.

        Args:
            org: The org.
            scope: What is looked at.
            shown: How many insights the result lists, at most.
            repeatable: Set where the request carries a request_id.

        Returns:
            What the run did, or the answer that the same request was given before.

        Raises:
            InvalidFieldsError: The days are none, too many, or more series match than a run holds.
            FenceClosedError: Writes of the org are closed.
        """
        version = await self._last_version(org)
        questions = await self._questions(org, scope, version, with_wholes=scope.where is None)
        told, seen = await self._look(org, scope, questions)
        scored = await self._scored(org, told.insights, scope.where)
        named = await self._named(org, scored, questions)
        worded = await self._worded(org, named)
        try:
            async with self._store.write(org, WriteContext(origin=ORIGIN)) as write:
                if repeatable is not None:
                    await repeatable.recall(write)
                looked_at = [it for it in scope.levels if it not in seen.skipped_levels]
                active = await write.active(scope.kinds, looked_at)
                subjects = None if scope.where is None else seen.subjects
                resolved = await self._compute(
                    partial(
                        no_longer_found,
                        active,
                        told.insights,
                        seen.looks,
                        questions,
                        subjects=subjects,
                    )
                )
                within = still_within(named, active, resolved)
                worded = [_within(it, within) for it in worded]
                await write.store(worded, resolved)
                own = [it.insight.insight_id for it in worded if not it.insight.whole_id]
                found = await write.fetch(own[:shown])
                after = await write.finish()
                result = Generated(
                    insights=found,
                    insight_count=len(own),
                    within_count=len(worded) - len(own),
                    days=_span(questions),
                    day_count=len(seen.days),
                    resolved=resolved,
                    series_count=told.series_count,
                    skipped_levels=seen.skipped_levels,
                    seen_version=version,
                    version=after,
                )
                if repeatable is not None:
                    await repeatable.remember(write, result)
        except AnsweredBeforeError as answered:
            return answered.response
        return result

    async def get(self, org: str, insight_id: str, *, name: str) -> StoredInsight:
        """Return an insight.

        Raises:
            NotFoundError: There is none.
        """
        stored = await self._store.get(org, insight_id)
        if stored is None:
            raise NotFoundError(name)
        return stored

    async def list_page(
        self, org: str, *, where: Filter | None, after: tuple[float, str] | None, limit: int
    ) -> tuple[Sequence[StoredInsight], tuple[float, str] | None]:
        """Return a page of insights, and where the next one begins; None at the end.

        Those within wholes are left out unless the filter names the whole.
        """
        where = told_for_themselves(where)
        found = await self._store.list_page(org, where=where, after=after, limit=limit + 1)
        if len(found) <= limit:
            return found, None
        last = found[limit - 1].insight
        return found[:limit], (last.severity, last.insight_id)

    async def rerun(self, org: str, insight_id: str, *, name: str) -> Rerun:
        """Run the evidence of an insight again on the data of now.

        It holds where the same run over the same series finds the same, by the p-value that was
        accepted then.

        Raises:
            NotFoundError: There is none.
        """
        stored = await self.get(org, insight_id, name=name)
        before = stored.insight
        evidence = before.evidence
        where = parse_filter(evidence.filter, ENTRY_FILTER_FIELDS)
        scope = Scope(
            days=(before.start_date, before.end_date),
            kinds=(before.kind,),
            levels=(evidence.level,),
            where=where,
        )
        version = await self._last_version(org)
        questions = await self._questions(org, scope, version, with_wholes=before.subject.is_whole)
        usual = moves_along(before)
        questions = [replace(it, moves_along=usual) for it in questions]
        told, _ = await self._look(org, scope, questions, p_limit=before.p_limit)
        query = MetricsQuery(
            start_date=evidence.start_date,
            end_date=evidence.end_date,
            level=evidence.level,
            granularity=evidence.granularity,
            group_by=evidence.group_by,
            where=where,
        )
        rows = await self._metrics.page(org, query, after=None, limit=_EVIDENCE_ROWS)
        again = [it for it in told.insights if is_same(it, before)]
        if not again:
            now = replace(before, state=InsightState.RESOLVED)
        else:
            # The filter of the evidence stays the one that was stored.
            kept = replace(evidence, entry_count=again[0].evidence.entry_count, version=version)
            scored = await self._scored(org, again[:1], where)
            (named,) = await self._named(org, scored, questions)
            # Of objects that stand out only now there is no insight yet.
            known = {it.insight_id for it in before.contributors}
            now = replace(
                named,
                insight_id=insight_id,
                names=before.names,
                evidence=kept,
                q_value=before.q_value,
                whole_id=before.whole_id,
                contributors=tuple(
                    it if it.insight_id in known else replace(it, insight_id="")
                    for it in named.contributors
                ),
            )
            now = replace(now, summary=summary(now))
        return Rerun(replace(stored, insight=now), bool(again), query, rows)

    async def rate(
        self, org: str, insight_id: str, rating: InsightRating, *, comment: str, subject: str
    ) -> StoredInsight:
        """Keep what a reader thought of an insight.

        Raises:
            NotFoundError: There is none.
            FenceClosedError: Writes of the org are closed.
        """
        async with self._store.write(org, WriteContext(origin=ORIGIN)) as write:
            stored = await write.rate(insight_id, rating, comment=comment, subject=subject)
            if stored is None:
                # Inside the write, so that nothing becomes a commit.
                raise NotFoundError(f"orgs/{org}/insights/{insight_id}")
        return stored

    async def _questions(
        self, org: str, scope: Scope, version: int, *, with_wholes: bool
    ) -> list[Question]:
        today = self._now().date()
        if scope.days is not None:
            _check_days(*scope.days)
        newest = await self._store.newest_day(org, today=today)
        usual = None if newest is None else _days_until(newest, _USUAL_DAYS)
        if scope.days is not None:
            spans = [(scope.days, frozenset(scope.kinds))]
        else:
            if newest is None:
                return []
            anomalies = frozenset({InsightKind.ANOMALY})
            spans = [
                (_days_until(newest, _USUAL_DAYS), frozenset(scope.kinds) - anomalies),
                (_days_until(newest, _USUAL_ANOMALY_DAYS), frozenset(scope.kinds) & anomalies),
            ]
        spans = [(days, kinds) for days, kinds in spans if kinds]
        start = min(history_start(*days) for days, _ in spans)
        end = max(days[1] for days, _ in spans)
        calendar = await self._calendars.get(org)
        days_known = await self._compute(lambda: calendar.days(start, end))
        return [
            Question(
                days[0],
                days[1],
                kinds,
                today,
                version,
                days_known,
                with_wholes=with_wholes,
                moves_along=days == usual,
            )
            for days, kinds in spans
        ]

    async def _look(
        self,
        org: str,
        scope: Scope,
        questions: Sequence[Question],
        *,
        p_limit: float | None = None,
    ) -> tuple[Told, _Seen]:
        """Return what is told, and what was looked at."""
        seen = _Seen(set(), set(), [], [])
        finished = await self._compute(partial(FinishedDays.at, self._now()))
        for level in scope.levels if questions else ():
            start, end = questions[0].calendar[0].date, questions[0].calendar[-1].date
            query = series_query(level, start, end, scope.where, finished)
            async with aclosing(self._metrics.stream(org, query)) as stream:
                batches = [batch async for batch in stream]
            if not sum(batch.num_rows for batch in batches):
                continue

            try:
                table, found = await self._compute(partial(_look_at, query, batches, questions))
            except InvalidFieldsError:
                if not scope.skips_large_levels:
                    raise
                seen.skipped_levels.append(level)
                continue
            seen.looks.extend(found)
            seen.subjects.update(table.subjects)
            seen.days.update(_days_with_entries(table, questions))
        told = await self._compute(lambda: tell(seen.looks, p_limit=p_limit))
        return told, seen

    async def _scored(
        self, org: str, insights: Sequence[Insight], where: Filter | None
    ) -> list[Insight]:
        """Return insights with what was found about their entries, levels included."""
        found = await self._store.qualities(org, insights, where=own_entries(where))
        summaries = await self._compute(lambda: [summarise(groups) for groups in found])
        return [_with_quality(it, known) for it, known in zip(insights, summaries, strict=True)]

    async def _named(
        self, org: str, insights: Sequence[Insight], questions: Sequence[Question]
    ) -> list[Insight]:
        if not insights:
            return []
        parts = [part.key for it in insights for part in it.contributors]
        keys = list(dict.fromkeys([*(it.subject.key for it in insights), *parts]))
        days = (questions[0].calendar[0].date, questions[0].calendar[-1].date)
        names = dict(zip(keys, await self._store.names(org, keys, days=days), strict=True))
        return [_with_names(it, names) for it in insights]

    async def _worded(self, org: str, insights: Sequence[Insight]) -> list[WordedInsight]:
        """Return insights with their words; those that they have stay as long as they fit."""
        templates = [summary(it) for it in insights]
        found = [
            WordedInsight(replace(it, summary=template), template)
            for it, template in zip(insights, templates, strict=True)
        ]
        if self._wording is None:
            return found
        known = await self._store.known_summaries(org, [it.insight_id for it in insights])
        turn = asyncio.Semaphore(_WORDED_AT_ONCE)
        wording = self._wording

        async def word(it: WordedInsight, *, ask: bool) -> WordedInsight:
            before = known.get(it.insight.insight_id)
            if before is not None and before.template == it.template:
                text: str | None = before.summary
            elif ask:
                async with turn:
                    text = await wording.word(it.template)
            else:
                text = None
            if text is None or not keeps_numbers(text, it.template):
                return it
            return replace(it, insight=replace(it.insight, summary=text.strip()))

        return list(
            await asyncio.gather(
                *(word(it, ask=place < _WORDED_PER_RUN) for place, it in enumerate(found))
            )
        )

    async def _compute(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def _look_at(
    query: MetricsQuery, batches: Sequence[pa.RecordBatch], questions: Sequence[Question]
) -> tuple[SeriesTable, list[Look]]:
    table = SeriesTable.read(query, batches)
    return table, [found for question in questions for found in look(table, question)]


def _with_quality(insight: Insight, summary: QualitySummary | None) -> Insight:
    """Return an insight with the quality of its entries; as it is where they are gone by now."""
    if summary is None:
        return insight
    return replace(
        insight,
        quality_score=summary.minimum_score,
        quality_issues=tuple(it.issue for it in summary.issues[:_MOST_ISSUES]),
    )


def _with_names(insight: Insight, names: Mapping[ObjectKey, ObjectNames]) -> Insight:
    """Return an insight with the names of its object; a whole has the account's of its parts."""
    if not insight.subject.is_whole:
        return replace(insight, names=names[insight.subject.key])
    parts = [replace(it, names=names[it.key]) for it in insight.contributors]
    account = ObjectNames(account_name=parts[0].names.account_name)
    return replace(insight, names=account, contributors=tuple(parts))


def _days_with_entries(table: SeriesTable, questions: Sequence[Question]) -> set[date]:
    """Return the judged days on which a table has entries."""
    days = {table.day(int(at)) for at in np.flatnonzero(table.entries.any(axis=0))}
    return {day for day in days if any(it.start_date <= day <= it.end_date for it in questions)}


def _within(worded: WordedInsight, within: Mapping[str, str]) -> WordedInsight:
    whole_id = within.get(worded.insight.insight_id, "")
    return replace(worded, insight=replace(worded.insight, whole_id=whole_id))


def _span(questions: Sequence[Question]) -> tuple[date, date] | None:
    if not questions:
        return None
    return min(it.start_date for it in questions), max(it.end_date for it in questions)


def _days_until(last: date, days: int) -> tuple[date, date]:
    return last - timedelta(days=days - 1), last


def _check_days(start: date, end: date) -> None:
    count = (end - start).days + 1
    if not 1 <= count <= MAXIMUM_DAYS:
        raise InvalidFieldsError.of(
            "date_range",
            f"must hold 1 to {MAXIMUM_DAYS} days, first day first; it holds {max(count, 0)}",
            rule="insights.days",
        )

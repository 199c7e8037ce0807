"""What `UnifiedDataAPI` knows of movements: insights, benchmarks and trends."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos.memory.v1.insight_pb2 import Insight, InsightKind
from liftos_client.arguments import Day, Freshness, enum_value, enum_word, text_list
from liftos_client.errors import FilterInvalidError
from liftos_client.filter_texts import all_of, insight_filter
from liftos_client.memory.entries import Level
from liftos_client.memory.insights import Kind as FindingKind
from liftos_client.memory.metrics import Step
from liftos_client.unified_reads import INSIGHT_PAGE, Reads
from liftos_client.unified_results import Benchmarks, TrendAnalysis

if TYPE_CHECKING:
    import pandas as pd

_BENCHMARK_METRICS: Final = ("ctr", "cpc", "conversion_rate", "cost_per_conversion", "roas")


class Movements(Reads):
    """Insights, benchmarks and trends."""

    async def get_surfacing_insights(
        self,
        *,
        start_date: Day | None = None,
        end_date: Day | None = None,
        kinds: Iterable[FindingKind] = (),
        metrics: Sequence[str] = (),
        filter: str = "",  # noqa: A002
        include_resolved: bool = False,
        limit: int = 50,
        timeout_seconds: float | None = None,
    ) -> "pd.DataFrame":
        """Return insights, most severe first; one row each.

        Columns are the fields of the contract's Insight: name, kind, pattern, direction, state,
        summary, metric, the object, start_date, end_date, observed, expected, the expected range,
        change, severity, p_value, q_value, quality_score, context, rating and others.

        Args:
            start_date: Only insights about days that touch those from here.
            end_date: Last day.
            kinds: Only "TREND", "ANOMALY" or "BENCHMARK"; none means all.
            metrics: Only about these; none means all.
            filter: Further conditions, such as `platform = "meta" AND severity >= 30`.
            include_resolved: Also those that hold no more.
            limit: At most so many.
            timeout_seconds: Deadline of each page.
        """
        from liftos_client.message_frames import frame_of_messages  # noqa: PLC0415  # slow to load

        found = await self._insights(
            insight_filter(
                start_date,
                end_date,
                kinds=[
                    enum_word(InsightKind, enum_value(InsightKind, kind, field="kinds"))
                    for kind in kinds
                ],
                metrics=text_list(metrics, field="metrics"),
                include_resolved=include_resolved,
                other=filter,
            ),
            limit,
            timeout_seconds,
        )
        return frame_of_messages(Insight.DESCRIPTOR, found)

    async def get_performance_benchmarks(
        self,
        start_date: Day,
        end_date: Day,
        *,
        metrics: Sequence[str] = _BENCHMARK_METRICS,
        dimension: str = "platform",
        level: Level = "CAMPAIGN",
        baseline_start_date: Day | None = None,
        baseline_end_date: Day | None = None,
        filter: str = "",  # noqa: A002
        minimum_quality_score: float | None = None,
        currency_code: str = "",
        maximum_lag_days: int | None = None,
        at_least_as_fresh: Freshness = None,
        timeout_seconds: float | None = None,
    ) -> Benchmarks:
        """Set channels and periods against each other; docs/comparisons.md says how.

        Args:
            start_date: First day.
            end_date: Last day.
            metrics: 1 to 10 sums or ratios.
            dimension: What is set side by side, such as "platform" or "campaign_id".
            level: One level; levels are never summed across.
            baseline_start_date: First day to hold against; by default as many days before.
            baseline_end_date: Last day; given together with the first.
            filter: Such as `platform = "meta"`.
            minimum_quality_score: Only entries that score at least this; None leaves out none.
            currency_code: Convert all money to this currency; by default currencies are apart.
            maximum_lag_days: How far correlations look, 0 to 28; None is 7.
            at_least_as_fresh: A write that the answer has to cover.
            timeout_seconds: Deadline.

        Raises:
            RateMissingError: A currency cannot be converted.
        """
        from liftos_client.message_frames import frame_of_messages  # noqa: PLC0415  # slow to load

        answer = await self._memory.compare_metrics(
            start_date,
            end_date,
            level=level,
            metrics=metrics,
            dimension=dimension,
            baseline_start_date=baseline_start_date,
            baseline_end_date=baseline_end_date,
            filter=filter,
            minimum_quality_score=minimum_quality_score,
            currency_code=currency_code,
            maximum_lag_days=maximum_lag_days,
            at_least_as_fresh=at_least_as_fresh,
            timeout_seconds=timeout_seconds,
        )
        return Benchmarks(
            comparisons=frame_of_messages(pb.MetricComparison.DESCRIPTOR, answer.comparisons),
            totals=frame_of_messages(pb.MetricComparison.DESCRIPTOR, answer.totals),
            correlations=frame_of_messages(pb.MetricCorrelation.DESCRIPTOR, answer.correlations),
            calendar_effects=frame_of_messages(
                pb.CalendarEffect.DESCRIPTOR, answer.calendar_effects
            ),
            marketing_efficiency=frame_of_messages(
                pb.MarketingEfficiency.DESCRIPTOR, answer.marketing_efficiency
            ),
            caveats=frame_of_messages(pb.ComparisonCaveat.DESCRIPTOR, answer.caveats),
            baseline_start_date=answer.baseline_date_range.start_date,
            baseline_end_date=answer.baseline_date_range.end_date,
        )

    async def get_trend_analysis_data(
        self,
        metric: str,
        start_date: Day,
        end_date: Day,
        *,
        dimension: str = "platform",
        level: Level = "CAMPAIGN",
        granularity: Step = "DAY",
        baseline_start_date: Day | None = None,
        baseline_end_date: Day | None = None,
        filter: str = "",  # noqa: A002
        minimum_quality_score: float | None = None,
        currency_code: str = "",
        at_least_as_fresh: Freshness = None,
        timeout_seconds: float | None = None,
    ) -> TrendAnalysis:
        """Return how a metric went, against a period before, with what is known about it.

        Conversions that a platform tells by the day of the click and by that of the conversion are
        taken by the click, as in the benchmarks; `date_basis = CONVERSION` in the filter asks for
        the others.

        Args:
            metric: A sum or a ratio, such as "spend" or "roas".
            start_date: First day.
            end_date: Last day.
            dimension: What is told apart, such as "platform" or "campaign_id".
            level: One level; levels are never summed across.
            granularity: Step of the series.
            baseline_start_date: First day to hold against; by default as many days before.
            baseline_end_date: Last day; given together with the first.
            filter: Such as `platform = "meta"`.
            minimum_quality_score: Only entries that score at least this; None leaves out none.
            currency_code: Convert all money to this currency; by default currencies are apart.
            at_least_as_fresh: A write that the answer has to cover.
            timeout_seconds: Deadline of each call.

        Raises:
            RateMissingError: A currency cannot be converted.
        """
        import pandas as pd  # noqa: PLC0415  # slow to load

        from liftos_client.message_frames import frame_of_messages  # noqa: PLC0415  # as above

        benchmarks = await self.get_performance_benchmarks(
            start_date,
            end_date,
            metrics=[metric],
            dimension=dimension,
            level=level,
            baseline_start_date=baseline_start_date,
            baseline_end_date=baseline_end_date,
            filter=filter,
            minimum_quality_score=minimum_quality_score,
            currency_code=currency_code,
            at_least_as_fresh=at_least_as_fresh,
            timeout_seconds=timeout_seconds,
        )
        periods = {
            "baseline": (benchmarks.baseline_start_date, benchmarks.baseline_end_date),
            "asked": (start_date, end_date),
        }
        frames = await asyncio.gather(
            *(
                self.query(
                    *days,
                    level=level,
                    granularity=granularity,
                    group_by=[dimension],
                    filter=filter,
                    minimum_quality_score=minimum_quality_score,
                    currency_code=currency_code,
                    at_least_as_fresh=at_least_as_fresh,
                    timeout_seconds=timeout_seconds,
                )
                for days in periods.values()
            )
        )
        kept = ["period_start_date", dimension, "currency_code", metric]
        series = pd.concat(
            [
                _as_compared(frame)[[*kept, "entry_count", "quality_score", "final"]]
                .rename(columns={metric: "value"})
                .assign(period=period)
                for period, frame in zip(periods, frames, strict=True)
            ],
            ignore_index=True,
        )
        insights_left_out = ""
        try:
            of_level = enum_word(EntryLevel, enum_value(EntryLevel, level, field="level"))
            insights = await self.get_surfacing_insights(
                start_date=start_date,
                end_date=end_date,
                metrics=[metric],
                filter=all_of([f"level = {of_level}", filter]),
                limit=INSIGHT_PAGE,
                timeout_seconds=timeout_seconds,
            )
        except FilterInvalidError as error:
            # Entries have taken the filter, so it names what only they have.
            insights_left_out = error.message
            insights = frame_of_messages(Insight.DESCRIPTOR, [])
        return TrendAnalysis(metric, series, benchmarks, insights, insights_left_out)


def _as_compared(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows that a comparison takes: days of clicks where there are both kinds."""
    bases = set(frame["date_basis"])
    return frame[frame["date_basis"] != "CONVERSION"] if len(bases) > 1 else frame

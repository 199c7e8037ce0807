"""The one door for modules: marketing data as pandas frames and typed results."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos.memory.v1.insight_pb2 import Insight
from liftos_client.arguments import (
    Day,
    Freshness,
    enum_value,
    enum_word,
    invalid_argument,
    text_list,
)
from liftos_client.dataset import Dataset
from liftos_client.filter_texts import ALSO_WITHIN_WHOLES, insight_filter, of_platforms
from liftos_client.llm_context import (
    CountTokens,
    LlmContext,
    approximate_tokens,
    build_context,
    check_budget,
    head_tokens,
    same_object,
)
from liftos_client.memory.entries import Level
from liftos_client.memory.exports import Format, Gaps
from liftos_client.memory.metrics import Step
from liftos_client.sync import SyncClient
from liftos_client.unified_comparisons import Movements
from liftos_client.unified_reads import INSIGHT_PAGE

if TYPE_CHECKING:
    import pandas as pd

_IDS: Final = {
    "ACCOUNT": (),
    "CAMPAIGN": ("campaign_id",),
    "AD_GROUP": ("campaign_id", "ad_group_id"),
    "AD": ("campaign_id", "ad_group_id", "ad_id"),
    "FLOW": ("flow_id",),
    "MESSAGE": ("campaign_id", "flow_id", "message_id"),
    "OUTCOME": (),
    "CONTROL": ("series_id",),
}
"""The ids of an object of each level, below its account."""


class AsyncUnifiedDataAPI(Movements):
    """Marketing data as frames and typed results, with `await`; see `UnifiedDataAPI` for notebooks.

    No method leaves out rows for their quality unless `minimum_quality_score` says so.
    """

    async def get_attribution_ready_data(
        self,
        start_date: Day,
        end_date: Day,
        *,
        channels: Sequence[str] = (),
        level: Level = "CAMPAIGN",
        granularity: Step = "DAY",
        filter: str = "",  # noqa: A002
        minimum_quality_score: float | None = None,
        currency_code: str = "",
        include_calendar: bool = True,
        at_least_as_fresh: Freshness = None,
        timeout_seconds: float | None = None,
    ) -> "pd.DataFrame":
        """Return what attribution models are made of: a row for each step, object and attribution.

        Columns: date (first day of the step), platform, account_id, the ids of the level, channel,
        attribution_key, date_basis, and then as in `query`. Rows of different attribution_key or
        date_basis count the same clicks and sales in other ways: choose, and do not add them.
        With the calendar, each day has day_of_week, weekend, month, quarter, season, holidays,
        retail_events, events and structural_breaks; later steps have those of their first day.

        Args:
            start_date: First day.
            end_date: Last day.
            channels: Only these platforms, such as "meta"; none means all.
            level: One level; levels are never summed across.
            granularity: "DAY", "WEEK", "MONTH", "QUARTER", "YEAR" or "TOTAL".
            filter: Such as `date_basis = INTERACTION`.
            minimum_quality_score: Only entries that score at least this; None leaves out none.
            currency_code: Convert all money to this currency; by default rows are apart by it.
            include_calendar: Whether to add the calendar.
            at_least_as_fresh: A write that the answer has to cover.
            timeout_seconds: Deadline of each call.

        Raises:
            RateMissingError: A currency cannot be converted.
        """
        word = enum_word(EntryLevel, enum_value(EntryLevel, level, field="level"))
        frame = await self.query(
            start_date,
            end_date,
            level=level,
            granularity=granularity,
            group_by=[
                *("platform", "account_id", *_IDS.get(word, ())),
                *("channel", "attribution_key", "date_basis"),
            ],
            filter=of_platforms(text_list(channels, field="channels"), filter),
            minimum_quality_score=minimum_quality_score,
            currency_code=currency_code,
            at_least_as_fresh=at_least_as_fresh,
            timeout_seconds=timeout_seconds,
        )
        frame = frame.rename(columns={"period_start_date": "date"})
        if not include_calendar:
            return frame
        # A week begins on its Monday, which may lie before the first day that was asked for.
        first = frame["date"].min().date() if len(frame) else start_date
        days = await self._calendar(first, end_date, timeout_seconds)
        return frame.merge(days, on="date", how="left", validate="many_to_one")

    async def get_llm_context_data(
        self,
        query: str,
        *,
        budget_tokens: int = 2_000,
        limit: int = 10,
        start_date: Day | None = None,
        end_date: Day | None = None,
        filter: str = "",  # noqa: A002
        minimum_quality_score: float | None = None,
        maximum_insights: int = 5,
        count_tokens: CountTokens = approximate_tokens,
        at_least_as_fresh: Freshness = None,
        timeout_seconds: float | None = None,
    ) -> LlmContext:
        """Return text for a language model about a query: documents, their numbers, and insights.

        No model writes it: numbers come from the store, and each fact can be cited; see
        `LlmContext`.

        Args:
            query: What is asked.
            budget_tokens: The text has at most so many tokens.
            limit: At most so many documents, one for each object.
            start_date: Only what touches the days from here; numbers are of these days.
            end_date: Last day; given together with the first.
            filter: Over platform, level and the ids.
            minimum_quality_score: Only documents that score at least this; None leaves out none.
            maximum_insights: At most so many insights about the objects that were found.
            count_tokens: Counts tokens; by default about, see `approximate_tokens`.
            at_least_as_fresh: A write that the index has to cover.
            timeout_seconds: Deadline of each call.

        Raises:
            FieldInvalidError: The budget does not hold the query and what to mind, or
                maximum_insights is below 0.
            StoreUnavailableError: The search index cannot be reached.
        """
        if maximum_insights < 0:
            raise invalid_argument("maximum_insights", f"is {maximum_insights}; 0 takes none")
        check_budget(budget_tokens, head_tokens(query, count_tokens))
        hits, as_of = await self._hits(
            query,
            limit=limit,
            start_date=start_date,
            end_date=end_date,
            filter=filter,
            minimum_quality_score=minimum_quality_score,
            group_by_object=True,
            at_least_as_fresh=at_least_as_fresh,
            timeout_seconds=timeout_seconds,
        )
        insights: list[Insight] = []
        if maximum_insights and any(hit.document.object.platform for hit in hits):
            known = {hit.document.record for hit in hits} - {""}
            found = await self._insights(
                insight_filter(start_date, end_date, other=ALSO_WITHIN_WHOLES),
                INSIGHT_PAGE,
                timeout_seconds,
            )
            insights = [
                insight
                for insight in found
                if insight.name not in known
                and any(same_object(insight.object, hit.document.object) for hit in hits)
            ][:maximum_insights]
        return build_context(
            query,
            hits,
            insights,
            budget_tokens=budget_tokens,
            count_tokens=count_tokens,
            as_of=as_of,
        )

    async def export(
        self,
        start_date: Day,
        end_date: Day,
        *,
        format: Format = "LONG",  # noqa: A002  # the contract's word
        kpi: str = "revenue",
        granularity: Step = "WEEK",
        on_gap: Gaps = "FAIL",
        **choices: Any,  # noqa: ANN401  # the others of export_dataset
    ) -> Dataset:
        """Return a data set for marketing mix models, as a frame with its sidecar.

        Args:
            start_date: First day.
            end_date: Last day.
            format: "LONG", "MERIDIAN", "PYMC" or "ROBYN".
            kpi: "revenue" or "orders"; "conversions" needs allow_attributed_kpi.
            granularity: "DAY", "WEEK" or "MONTH".
            on_gap: "FAIL", "TRIM" or "ZERO", where a number is unknown.
            **choices: All else that `MemoryClient.export_dataset` takes, such as `as_of`.

        Raises:
            DataInsufficientError: There are gaps; `field_violations` names them.
            RateMissingError: A currency cannot be converted.
        """
        return await self._memory.export_dataset(
            start_date,
            end_date,
            format=format,
            kpi=kpi,
            granularity=granularity,
            on_gap=on_gap,
            **choices,
        )


class UnifiedDataAPI:
    """Marketing data as frames and typed results; `AsyncUnifiedDataAPI` without `await`.

    Every method is that of `AsyncUnifiedDataAPI` with the same name, and returns its result.

    Attributes:
        client: What it asks; close it when done.
        query: Sums by time and dimensions.
        search: Documents by meaning and by words.
        get_attribution_ready_data: Rows for attribution models, with the calendar.
        get_surfacing_insights: Insights, most severe first.
        get_llm_context_data: Text for a language model, with citations.
        get_trend_analysis_data: A metric over time, against a period before.
        get_performance_benchmarks: Channels and periods against each other.
        export: Data sets for marketing mix models.
    """

    def __init__(self, client: SyncClient) -> None:
        self.client = client
        api = AsyncUnifiedDataAPI(client.client)
        self.query = client.blocking(api.query)
        self.search = client.blocking(api.search)
        self.get_attribution_ready_data = client.blocking(api.get_attribution_ready_data)
        self.get_surfacing_insights = client.blocking(api.get_surfacing_insights)
        self.get_llm_context_data = client.blocking(api.get_llm_context_data)
        self.get_trend_analysis_data = client.blocking(api.get_trend_analysis_data)
        self.get_performance_benchmarks = client.blocking(api.get_performance_benchmarks)
        self.export = client.blocking(api.export)

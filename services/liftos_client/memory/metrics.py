"""Sums of metrics, and comparisons."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos_client.arguments import (
    Day,
    Freshness,
    consistency,
    date_range,
    enum_value,
    optional_date_range,
    text_list,
)
from liftos_client.memory.base import MemoryCalls
from liftos_client.memory.entries import Level
from liftos_client.pages import Pages

if TYPE_CHECKING:
    import pandas as pd

    Step: TypeAlias = pb.Granularity.ValueType | str
else:
    # The generated code names this type for type checkers only.
    Step = int | str


class MetricsMethods(MemoryCalls):
    """Methods about sums."""

    def query_metrics(
        self,
        start_date: Day,
        end_date: Day,
        *,
        level: Level,
        granularity: Step = "TOTAL",
        group_by: Sequence[str] = (),
        filter: str = "",  # noqa: A002  # the contract's word
        minimum_quality_score: float | None = None,
        currency_code: str = "",
        page_size: int = 0,
        page_token: str = "",
        at_least_as_fresh: Freshness = None,
        timeout_seconds: float | None = None,
    ) -> Pages[pb.MetricsRow, pb.QueryMetricsResponse]:
        """Sum metrics of one level by time and dimensions, with ratios of the sums.

        Rows are apart by date basis, breakdown and currency in any case, since sums over them would
        count twice or add what is not the same.

        Args:
            start_date: First day.
            end_date: Last day; at most 4,000 in all.
            level: One level, such as "CAMPAIGN"; levels are never summed across.
            granularity: "DAY", "WEEK", "MONTH", "QUARTER", "YEAR" or "TOTAL".
            group_by: Dimensions, such as "platform" or "campaign_id".
            filter: Which entries; see `list_entries`.
            minimum_quality_score: Only entries that score at least this, 0 to 1.
            currency_code: Convert all money to this currency; by default rows are apart by it.
            page_size: At most 5,000; 0 is 1,000.
            page_token: Where to begin.
            at_least_as_fresh: A write that the answer has to cover.
            timeout_seconds: Deadline of each page.

        Raises:
            RateMissingError: A currency cannot be converted.
        """
        request = pb.QueryMetricsRequest(
            parent=self._parent,
            date_range=date_range(start_date, end_date),
            level=enum_value(EntryLevel, level, field="level"),
            granularity=enum_value(pb.Granularity, granularity, field="granularity"),
            group_by=text_list(group_by, field="group_by"),
            filter=filter,
            minimum_quality_score=minimum_quality_score,
            currency_code=currency_code,
            page_size=page_size,
            consistency=consistency(at_least_as_fresh),
        )
        return self._pages(
            self._stub.QueryMetrics,
            request,
            lambda page: page.rows,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def query_metrics_frame(
        self,
        start_date: Day,
        end_date: Day,
        *,
        level: Level,
        granularity: Step = "TOTAL",
        group_by: Sequence[str] = (),
        filter: str = "",  # noqa: A002
        minimum_quality_score: float | None = None,
        currency_code: str = "",
        at_least_as_fresh: Freshness = None,
        timeout_seconds: float | None = None,
    ) -> "pd.DataFrame":
        """Sum metrics as `query_metrics` does, and return them as a frame.

        Columns are those of the contract: period_start_date (datetime64), the dimensions,
        date_basis, breakdown, currency_code, the metrics (Int64, money and conversions in micros),
        the ratios (Float64), entry_count, quality_score, final. What no entry reported is missing,
        not 0.

        Raises:
            RateMissingError: A currency cannot be converted.
        """
        from liftos_client.frames import frame_of_arrow  # noqa: PLC0415  # pandas is slow to load

        request = pb.QueryMetricsArrowRequest(
            parent=self._parent,
            date_range=date_range(start_date, end_date),
            level=enum_value(EntryLevel, level, field="level"),
            granularity=enum_value(pb.Granularity, granularity, field="granularity"),
            group_by=text_list(group_by, field="group_by"),
            filter=filter,
            minimum_quality_score=minimum_quality_score,
            currency_code=currency_code,
            consistency=consistency(at_least_as_fresh),
        )
        pieces = await self._calls.collect(self._stub.QueryMetricsArrow, request, timeout_seconds)
        return frame_of_arrow(b"".join(piece.arrow for piece in pieces))

    async def compare_metrics(
        self,
        start_date: Day,
        end_date: Day,
        *,
        level: Level,
        metrics: Sequence[str],
        dimension: str,
        baseline_start_date: Day | None = None,
        baseline_end_date: Day | None = None,
        filter: str = "",  # noqa: A002
        minimum_quality_score: float | None = None,
        currency_code: str = "",
        maximum_lag_days: int | None = None,
        at_least_as_fresh: Freshness = None,
        timeout_seconds: float | None = None,
    ) -> pb.CompareMetricsResponse:
        """Set channels and periods against each other; docs/comparisons.md says how.

        Args:
            start_date: First day that is asked about.
            end_date: Last day; at most 1,100 in all.
            level: One level, such as "CAMPAIGN".
            metrics: 1 to 10 sums or ratios, such as "spend" or "roas".
            dimension: What is set side by side, such as "platform".
            baseline_start_date: First day to hold them against; by default as many days before.
            baseline_end_date: Last day; given together with the first.
            filter: Which entries; see `list_entries`.
            minimum_quality_score: Only entries that score at least this, 0 to 1.
            currency_code: Convert all money to this currency; by default currencies are apart.
            maximum_lag_days: How far correlations look, 0 to 28; None is 7.
            at_least_as_fresh: A write that the answer has to cover.
            timeout_seconds: Deadline.

        Raises:
            RateMissingError: A currency cannot be converted.
        """
        request = pb.CompareMetricsRequest(
            parent=self._parent,
            date_range=date_range(start_date, end_date),
            baseline_date_range=optional_date_range(
                baseline_start_date, baseline_end_date, prefix="baseline_"
            ),
            level=enum_value(EntryLevel, level, field="level"),
            metrics=text_list(metrics, field="metrics"),
            dimension=dimension,
            filter=filter,
            minimum_quality_score=minimum_quality_score,
            currency_code=currency_code,
            maximum_lag_days=maximum_lag_days,
            consistency=consistency(at_least_as_fresh),
        )
        return await self._calls.unary(self._stub.CompareMetrics, request, timeout_seconds)

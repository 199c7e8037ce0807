"""Findings with their evidence."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, TypeAlias

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos.memory.v1.insight_pb2 import Insight, InsightKind, InsightRating
from liftos_client.arguments import Day, enum_value, optional_date_range
from liftos_client.memory.base import MemoryCalls
from liftos_client.memory.entries import Level
from liftos_client.pages import Pages

if TYPE_CHECKING:
    import pandas as pd

    Kind: TypeAlias = InsightKind.ValueType | str
    Rating: TypeAlias = InsightRating.ValueType | str
else:
    # The generated code names these types for type checkers only.
    Kind = Rating = int | str

_LARGEST_PAGE: Final = 1_000


class InsightMethods(MemoryCalls):
    """Methods about insights."""

    async def generate_insights(
        self,
        start_date: Day | None = None,
        end_date: Day | None = None,
        *,
        kinds: Iterable[Kind] = (),
        levels: Iterable[Level] = (),
        filter: str = "",  # noqa: A002  # the contract's word
        maximum_insights: int = 0,
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> pb.GenerateInsightsResponse:
        """Look for trends, anomalies and benchmarks now, and keep what is found.

        Args:
            start_date: First day that is judged; with None for both, the last 91 days with entries.
            end_date: Last day.
            kinds: Only these, such as "TREND"; none means all.
            levels: Such as "AD"; none means accounts, campaigns, flows and outcomes.
            filter: Which entries; see `list_entries`.
            maximum_insights: At most 500; 0 is 50.
            request_id: UUID that makes a repeated request answer the same for 24 h.
            timeout_seconds: Deadline.
        """
        request = pb.GenerateInsightsRequest(
            parent=self._parent,
            date_range=optional_date_range(start_date, end_date),
            levels=[enum_value(EntryLevel, level, field="levels") for level in levels],
            kinds=[enum_value(InsightKind, kind, field="kinds") for kind in kinds],
            filter=filter,
            maximum_insights=maximum_insights,
            request_id=request_id,
        )
        return await self._calls.unary(self._stub.GenerateInsights, request, timeout_seconds)

    async def get_insight(self, name: str, *, timeout_seconds: float | None = None) -> Insight:
        """Read one insight.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.GetInsightRequest(name=self._name("insights", name))
        return (await self._calls.unary(self._stub.GetInsight, request, timeout_seconds)).insight

    def list_insights(
        self,
        *,
        filter: str = "",  # noqa: A002
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Insight, pb.ListInsightsResponse]:
        """List insights, most severe first.

        Args:
            filter: Such as `kind = ANOMALY AND severity >= 30`. What many objects of a channel do
                together is one insight; those of the objects are listed only where the filter names
                it: `whole = "0f1e…"`, by its id.
            page_size: At most 1,000; 0 is 100.
            page_token: Where to begin.
            timeout_seconds: Deadline of each page.
        """
        return self._pages(
            self._stub.ListInsights,
            pb.ListInsightsRequest(parent=self._parent, filter=filter, page_size=page_size),
            lambda page: page.insights,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def list_insights_frame(
        self,
        *,
        filter: str = "",  # noqa: A002
        limit: int | None = None,
        timeout_seconds: float | None = None,
    ) -> "pd.DataFrame":
        """List insights as `list_insights` does, and return them as a frame, one row each.

        Columns are the fields of the contract's Insight: name, kind, state, summary, metric, the
        ids of the object, start_date and end_date (datetime64), observed, expected, change,
        severity, whole and others. What is unset is missing; context is a tuple of texts.

        Args:
            filter: As in `list_insights`.
            limit: At most so many, the most severe; None is all.
            timeout_seconds: Deadline of each page.
        """
        from liftos_client.message_frames import frame_of_messages  # noqa: PLC0415  # slow to load

        size = _LARGEST_PAGE if limit is None else min(limit, _LARGEST_PAGE)
        pages = self.list_insights(filter=filter, page_size=size, timeout_seconds=timeout_seconds)
        found: list[Insight] = []
        async for insight in pages:
            if len(found) == limit:
                break
            found.append(insight)
        return frame_of_messages(Insight.DESCRIPTOR, found)

    async def rerun_insight(
        self, name: str, *, timeout_seconds: float | None = None
    ) -> pb.RerunInsightResponse:
        """Run the evidence of an insight again on the data of now.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.RerunInsightRequest(name=self._name("insights", name))
        return await self._calls.unary(self._stub.RerunInsight, request, timeout_seconds)

    async def rate_insight(
        self,
        name: str,
        rating: Rating,
        *,
        comment: str = "",
        timeout_seconds: float | None = None,
    ) -> Insight:
        """Keep what a reader thought of an insight: "USEFUL" or "NOT_USEFUL".

        Raises:
            NotFoundError: There is none.
        """
        request = pb.RateInsightRequest(
            name=self._name("insights", name),
            rating=enum_value(InsightRating, rating, field="rating"),
            comment=comment,
        )
        return (await self._calls.unary(self._stub.RateInsight, request, timeout_seconds)).insight

"""What `UnifiedDataAPI` reads, as frames: sums and documents."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from liftos.memory.v1.document_pb2 import ObjectRef, SearchHit
from liftos.memory.v1.insight_pb2 import Insight
from liftos_client.arguments import Day, Freshness
from liftos_client.connection import Client
from liftos_client.memory.entries import Level
from liftos_client.memory.metrics import Step
from liftos_client.memory.search import Fusion, Kind, Mode

if TYPE_CHECKING:
    import pandas as pd

INSIGHT_PAGE: Final = 1_000

_LARGEST_PAGE: Final = 100
_CALENDAR_PAGE: Final = 1_000


class Reads:
    """Sums and documents as frames, and what the other parts need."""

    def __init__(self, client: Client) -> None:
        self._memory = client.memory

    async def query(
        self,
        start_date: Day,
        end_date: Day,
        *,
        level: Level = "CAMPAIGN",
        granularity: Step = "DAY",
        group_by: Sequence[str] = ("platform",),
        filter: str = "",  # noqa: A002  # the contract's word
        minimum_quality_score: float | None = None,
        currency_code: str = "",
        at_least_as_fresh: Freshness = None,
        timeout_seconds: float | None = None,
    ) -> "pd.DataFrame":
        """Sum metrics by time and dimensions; one row per group and step.

        Columns: period_start_date (datetime64), the dimensions, date_basis and breakdown (rows are
        apart by these, since sums over them would count twice), currency_code, the metrics
        (counts Int64; spend, revenue and conversions Float64 in units), the ratios (Float64, rates
        as fractions), entry_count, quality_score, final. What no entry reported is missing, not 0.

        Args:
            start_date: First day.
            end_date: Last day.
            level: One level; levels are never summed across.
            granularity: "DAY", "WEEK", "MONTH", "QUARTER", "YEAR" or "TOTAL".
            group_by: Dimensions, such as "platform" or "campaign_id".
            filter: Such as `platform = "meta"`.
            minimum_quality_score: Only entries that score at least this, 0 to 1.
            currency_code: Convert all money to this currency; by default rows are apart by it.
            at_least_as_fresh: A write that the answer has to cover.
            timeout_seconds: Deadline.

        Raises:
            RateMissingError: A currency cannot be converted.
        """
        from liftos_client.frames import frame_in_units  # noqa: PLC0415  # pandas is slow to load

        frame = await self._memory.query_metrics_frame(
            start_date,
            end_date,
            level=level,
            granularity=granularity,
            group_by=group_by,
            filter=filter,
            minimum_quality_score=minimum_quality_score,
            currency_code=currency_code,
            at_least_as_fresh=at_least_as_fresh,
            timeout_seconds=timeout_seconds,
        )
        return frame_in_units(frame)

    async def search(
        self,
        query: str = "",
        *,
        limit: int = 10,
        mode: Mode = "HYBRID",
        weights: Mapping[str, float] | None = None,
        fusion_method: Fusion = "WEIGHTED_MIN_MAX",
        kinds: Iterable[Kind] = (),
        start_date: Day | None = None,
        end_date: Day | None = None,
        filter: str = "",  # noqa: A002
        minimum_quality_score: float | None = None,
        like: ObjectRef | None = None,
        group_by_object: bool = False,
        at_least_as_fresh: Freshness = None,
        timeout_seconds: float | None = None,
    ) -> "pd.DataFrame":
        """Find documents in any of the five modes; one row per hit, best first.

        Columns: score, kind, title, platform, level, the ids of the object, text, explanation,
        currency_code, the metrics and ratios of the object as in `query`, the days that these are
        of (metrics_start_date, metrics_end_date), entry_count.

        Args:
            query: What is looked for; may be empty only with `like`.
            limit: At most this many hits.
            mode: "HYBRID", "NEURAL", "LEXICAL", "CONCEPTUAL" or "KNOWLEDGE".
            weights: Weight of each leg of a hybrid search, such as {"NEURAL": 0.7, "KNOWLEDGE":
                0.3}; CONCEPTUAL and KNOWLEDGE join only so.
            fusion_method: "WEIGHTED_MIN_MAX" or "RECIPROCAL_RANK".
            kinds: Only these, such as "PROFILE" or "WEEKLY_DIGEST".
            start_date: Only documents that touch the days from here; metrics are of these days.
            end_date: Last day; given together with the first.
            filter: Over platform, level and the ids.
            minimum_quality_score: Only documents that score at least this, 0 to 1.
            like: Find what resembles this object; mode CONCEPTUAL only.
            group_by_object: At most one hit per object.
            at_least_as_fresh: A write that the index has to cover.
            timeout_seconds: Deadline of each page.

        Raises:
            StoreUnavailableError: The search index cannot be reached.
        """
        from liftos_client.search_frame import frame_of_hits  # noqa: PLC0415  # as above

        hits, _ = await self._hits(
            query,
            limit=limit,
            mode=mode,
            weights=weights,
            fusion_method=fusion_method,
            kinds=kinds,
            start_date=start_date,
            end_date=end_date,
            filter=filter,
            minimum_quality_score=minimum_quality_score,
            like=like,
            group_by_object=group_by_object,
            at_least_as_fresh=at_least_as_fresh,
            timeout_seconds=timeout_seconds,
        )
        return frame_of_hits(hits)

    async def _hits(
        self,
        query: str,
        *,
        limit: int,
        start_date: Day | None,
        end_date: Day | None,
        filter: str,  # noqa: A002
        minimum_quality_score: float | None,
        group_by_object: bool,
        at_least_as_fresh: Freshness,
        timeout_seconds: float | None,
        mode: Mode = "HYBRID",
        weights: Mapping[str, float] | None = None,
        fusion_method: Fusion = "WEIGHTED_MIN_MAX",
        kinds: Iterable[Kind] = (),
        like: ObjectRef | None = None,
    ) -> tuple[list[SearchHit], str]:
        """Return hits, and the token of the write up to which the index had followed."""
        found = self._memory.search_documents(
            query,
            mode=mode,
            weights=weights,
            fusion_method=fusion_method,
            kinds=kinds,
            start_date=start_date,
            end_date=end_date,
            filter=filter,
            minimum_quality_score=minimum_quality_score,
            like=like,
            group_by_object=group_by_object,
            page_size=min(limit, _LARGEST_PAGE),
            at_least_as_fresh=at_least_as_fresh,
            timeout_seconds=timeout_seconds,
        )
        hits: list[SearchHit] = []
        as_of = ""
        async for page in found.pages():
            as_of = as_of or page.index_write_token
            hits.extend(page.hits[: limit - len(hits)])
            if len(hits) >= limit:
                break
        return hits, as_of

    async def _calendar(
        self, start_date: Day, end_date: Day, timeout_seconds: float | None
    ) -> "pd.DataFrame":
        from liftos_client.calendar_frame import frame_of_days  # noqa: PLC0415  # slow to load

        days = self._memory.list_calendar_days(
            start_date, end_date, page_size=_CALENDAR_PAGE, timeout_seconds=timeout_seconds
        )
        return frame_of_days([day async for day in days])

    async def _insights(
        self, filter_text: str, limit: int, timeout_seconds: float | None
    ) -> list[Insight]:
        pages = self._memory.list_insights(
            filter=filter_text,
            page_size=min(limit, INSIGHT_PAGE),
            timeout_seconds=timeout_seconds,
        )
        found: list[Insight] = []
        async for page in pages.pages():
            found.extend(page.insights[: limit - len(found)])
            if len(found) >= limit:
                break
        return found

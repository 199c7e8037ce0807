"""Search over documents."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.document_pb2 import (
    DocumentKind,
    FusionMethod,
    ObjectRef,
    SearchHit,
    SearchMode,
)
from liftos_client.arguments import (
    Day,
    Freshness,
    consistency,
    enum_value,
    optional_date_range,
)
from liftos_client.memory.base import MemoryCalls
from liftos_client.pages import Pages

if TYPE_CHECKING:
    Mode: TypeAlias = SearchMode.ValueType | str
    Fusion: TypeAlias = FusionMethod.ValueType | str
    Kind: TypeAlias = DocumentKind.ValueType | str
else:
    # The generated code names these types for type checkers only.
    Mode = Fusion = Kind = int | str


class SearchMethods(MemoryCalls):
    """Methods about search."""

    def search_documents(
        self,
        query: str = "",
        *,
        mode: Mode = "HYBRID",
        weights: Mapping[str, float] | None = None,
        fusion_method: Fusion = "WEIGHTED_MIN_MAX",
        kinds: Iterable[Kind] = (),
        start_date: Day | None = None,
        end_date: Day | None = None,
        filter: str = "",  # noqa: A002  # the contract's word
        minimum_quality_score: float | None = None,
        like: ObjectRef | None = None,
        group_by_object: bool = False,
        page_size: int = 0,
        page_token: str = "",
        at_least_as_fresh: Freshness = None,
        timeout_seconds: float | None = None,
    ) -> Pages[SearchHit, pb.SearchDocumentsResponse]:
        """Rank documents by meaning, words, named dimensions, relations or several; best first.

        Each page also says in `legs` what each way of ranking did.

        Args:
            query: What is looked for, at most 10,000 characters; may be empty only with `like`.
            mode: "HYBRID", "NEURAL", "LEXICAL", "CONCEPTUAL" or "KNOWLEDGE".
            weights: Weight of each leg of a hybrid search, such as {"NEURAL": 0.7, "KNOWLEDGE":
                0.3}; CONCEPTUAL and KNOWLEDGE join only so.
            fusion_method: "WEIGHTED_MIN_MAX" or "RECIPROCAL_RANK".
            kinds: Only these, such as "PROFILE"; none means all.
            start_date: Only documents that touch the days from here; hits carry their metrics.
            end_date: Last day; given together with the first.
            filter: Over platform, level, the ids, and the scope of notes and artifacts.
            minimum_quality_score: Only documents that score at least this, 0 to 1.
            like: Find what of its level resembles this object; mode CONCEPTUAL only. A query
                limits it to the dimensions that it names.
            group_by_object: At most one hit per object.
            page_size: At most 100; 0 is 10.
            page_token: Where to begin.
            at_least_as_fresh: A write that the index has to cover.
            timeout_seconds: Deadline of each page.

        Raises:
            StoreUnavailableError: The search index cannot be reached.
        """
        request = pb.SearchDocumentsRequest(
            parent=self._parent,
            query=query,
            mode=enum_value(SearchMode, mode, field="mode"),
            weights=[
                pb.SearchWeight(mode=enum_value(SearchMode, leg, field="weights"), weight=weight)
                for leg, weight in (weights or {}).items()
            ],
            fusion_method=enum_value(FusionMethod, fusion_method, field="fusion_method"),
            kinds=[enum_value(DocumentKind, kind, field="kinds") for kind in kinds],
            date_range=optional_date_range(start_date, end_date),
            filter=filter,
            minimum_quality_score=minimum_quality_score,
            like=like,
            group_by_object=group_by_object,
            page_size=page_size,
            consistency=consistency(at_least_as_fresh),
        )
        return self._pages(
            self._stub.SearchDocuments,
            request,
            lambda page: page.hits,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def evaluate_search(
        self,
        *,
        query_count: int = 0,
        mode: Mode = "HYBRID",
        seed: int = 0,
        timeout_seconds: float | None = None,
    ) -> pb.EvaluateSearchResponse:
        """Measure the served index: recall against exact search, success on known items.

        Args:
            query_count: Known-item queries, at most 2,000; 0 is 200.
            mode: The mode to measure: "HYBRID", "NEURAL" or "LEXICAL".
            seed: Decides which queries of which documents.
            timeout_seconds: Deadline; where it is short, fewer queries are run.

        Raises:
            StoreUnavailableError: The search index cannot be reached.
        """
        request = pb.EvaluateSearchRequest(
            parent=self._parent,
            query_count=query_count,
            mode=enum_value(SearchMode, mode, field="mode"),
            seed=seed,
        )
        return await self._calls.unary(self._stub.EvaluateSearch, request, timeout_seconds)

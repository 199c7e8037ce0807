"""Memory on the wire."""

from liftos.memory.v1 import memory_service_pb2_grpc
from liftos_kit.core.paging import PageTokens
from liftos_memory.servicer.entries import EntriesServicer
from liftos_memory.servicer.presenter import EntryPresenter
from liftos_memory.usecases.entries import Entries
from liftos_memory.usecases.freshness import Freshness
from liftos_memory.usecases.ingest import Ingest


class MemoryServicer(EntriesServicer, memory_service_pb2_grpc.MemoryServiceServicer):
    """Every method of MemoryService; the parts differ in what they are about, not in kind."""

    def __init__(
        self, *, ingest: Ingest, entries: Entries, freshness: Freshness, page_tokens: PageTokens
    ) -> None:
        self._ingest = ingest
        self._entries = entries
        self._freshness = freshness
        self._presenter = EntryPresenter()
        self._page_tokens = page_tokens

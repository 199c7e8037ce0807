"""Sources: what can be read, and how its rows become entries."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.ingestion.v1.source_pb2 import Source, SourceKind
from liftos_client.arguments import chosen_request_id, enum_value, struct_of
from liftos_client.ingestion.base import IngestionCalls
from liftos_client.pages import Pages

if TYPE_CHECKING:
    Kind: TypeAlias = SourceKind.ValueType | str
else:
    # The generated code names this type for type checkers only.
    Kind = int | str


class SourceMethods(IngestionCalls):
    """Methods about sources."""

    async def upsert_source(
        self,
        source_id: str,
        *,
        display_name: str,
        kind: Kind,
        definition: Mapping[str, Any] | None = None,
        mapping: Mapping[str, Any] | None = None,
        etag: str = "",
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> Source:
        """Register a source of the organisation's own, or change it.

        Args:
            source_id: The word that entries carry as platform.
            display_name: Shown to people.
            kind: "FILES" or "HTTP".
            definition: What to request and how to page, or where files are.
            mapping: How raw rows become entries, in the mapping language.
            etag: As read; empty takes the newest.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            AlreadyExistsError: A built in source has this id.
            EtagMismatchError: It was changed since it was read.
        """
        request = pb.UpsertSourceRequest(
            source=Source(
                name=self._name("sources", source_id),
                display_name=display_name,
                kind=enum_value(SourceKind, kind, field="kind"),
                definition=None if definition is None else struct_of(definition),
                mapping=None if mapping is None else struct_of(mapping),
                etag=etag,
            ),
            request_id=chosen_request_id(request_id),
        )
        return (await self._calls.unary(self._stub.UpsertSource, request, timeout_seconds)).source

    async def get_source(self, name: str, *, timeout_seconds: float | None = None) -> Source:
        """Read one source.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.GetSourceRequest(name=self._name("sources", name))
        return (await self._calls.unary(self._stub.GetSource, request, timeout_seconds)).source

    def list_sources(
        self,
        *,
        filter: str = "",  # noqa: A002  # the contract's word
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Source, pb.ListSourcesResponse]:
        """List all sources, built in ones first; filter over kind, display_name, built_in."""
        return self._pages(
            self._stub.ListSources,
            pb.ListSourcesRequest(parent=self._parent, filter=filter, page_size=page_size),
            lambda page: page.sources,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def delete_source(
        self,
        name: str,
        *,
        etag: str = "",
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> None:
        """Remove a source that no connection uses; its entries stay.

        Raises:
            StateTransitionError: A connection uses it.
            EtagMismatchError: It was changed since it was read with this etag.
        """
        request = pb.DeleteSourceRequest(
            name=self._name("sources", name), etag=etag, request_id=chosen_request_id(request_id)
        )
        await self._calls.unary(self._stub.DeleteSource, request, timeout_seconds)

    async def preview_mapping(
        self,
        name: str,
        *,
        mapping: Mapping[str, Any] | None = None,
        rows: Iterable[Mapping[str, Any]] = (),
        connection: str = "",
        account_id: str = "",
        timeout_seconds: float | None = None,
    ) -> pb.PreviewMappingResponse:
        """Show what rows become with a mapping, without keeping anything.

        Args:
            name: The source.
            mapping: To try; None takes the source's own.
            rows: At most 100 raw rows, ids and large numbers as text; none takes a sample.
            connection: Where to take the sample from.
            account_id: Account of the sample, or of rows that do not name one.
            timeout_seconds: Deadline.
        """
        request = pb.PreviewMappingRequest(
            name=self._name("sources", name),
            mapping=None if mapping is None else struct_of(mapping),
            rows=map(struct_of, rows),
            connection=self._connection_name(connection),
            account_id=account_id,
        )
        return await self._calls.unary(self._stub.PreviewMapping, request, timeout_seconds)

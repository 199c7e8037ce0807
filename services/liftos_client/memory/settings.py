"""What an organisation chooses: settings, sources, exchange rates; and the cache's numbers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.source_pb2 import ExchangeRate, OrgSettings, Source
from liftos_client.arguments import field_mask, struct_of
from liftos_client.memory.base import MemoryCalls
from liftos_client.pages import Pages


class SettingsMethods(MemoryCalls):
    """Methods about an organisation's choices."""

    async def get_org_settings(self, *, timeout_seconds: float | None = None) -> OrgSettings:
        """Read the settings; defaults where none were stored."""
        request = pb.GetOrgSettingsRequest(name=f"{self._parent}/settings")
        answer = await self._calls.unary(self._stub.GetOrgSettings, request, timeout_seconds)
        return answer.org_settings

    async def newest_write(self, *, timeout_seconds: float | None = None) -> str:
        """Return the org's newest write: while it stays the same, so do answers to what is stored.

        A read that is given it as `at_least_as_fresh` covers that write.
        """
        request = pb.GetOrgSettingsRequest(name=f"{self._parent}/settings")
        answer = await self._calls.unary(self._stub.GetOrgSettings, request, timeout_seconds)
        return answer.write_token

    async def update_org_settings(
        self,
        settings: OrgSettings,
        *,
        update_mask: Iterable[str] = (),
        timeout_seconds: float | None = None,
    ) -> OrgSettings:
        """Change settings.

        Args:
            settings: As read, with their etag, and changed.
            update_mask: Fields to change; none means all.
            timeout_seconds: Deadline.

        Raises:
            EtagMismatchError: They were changed since they were read.
        """
        request = pb.UpdateOrgSettingsRequest(
            org_settings=settings, update_mask=field_mask(update_mask)
        )
        if not settings.name:
            request.org_settings.name = f"{self._parent}/settings"
        answer = await self._calls.unary(self._stub.UpdateOrgSettings, request, timeout_seconds)
        return answer.org_settings

    async def upsert_source(
        self,
        source_id: str,
        *,
        display_name: str,
        mapping: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
    ) -> Source:
        """Register a source of the organisation's own, or change it.

        Args:
            source_id: The word that entries carry as platform.
            display_name: Shown to people.
            mapping: How raw rows become entries, in the mapping language.
            timeout_seconds: Deadline.
        """
        source = Source(name=self._name("sources", source_id), display_name=display_name)
        if mapping is not None:
            source.mapping.CopyFrom(struct_of(mapping))
        request = pb.UpsertSourceRequest(source=source)
        return (await self._calls.unary(self._stub.UpsertSource, request, timeout_seconds)).source

    def list_sources(
        self, *, page_size: int = 0, page_token: str = "", timeout_seconds: float | None = None
    ) -> Pages[Source, pb.ListSourcesResponse]:
        """List all sources, built in ones first."""
        return self._pages(
            self._stub.ListSources,
            pb.ListSourcesRequest(parent=self._parent, page_size=page_size),
            lambda page: page.sources,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def upsert_exchange_rates(
        self,
        rates: Sequence[ExchangeRate],
        *,
        fence_scope: str = "",
        fencing_epoch: int | None = None,
        timeout_seconds: float | None = None,
    ) -> pb.UpsertExchangeRatesResponse:
        """Store 1 to 5,000 rates; a rate of the same currency and day is replaced.

        Args:
            rates: Each currency and day once.
            fence_scope: Which fence the write belongs to.
            fencing_epoch: The writer's epoch.
            timeout_seconds: Deadline.

        Raises:
            FenceClosedError: Writes of the scope are closed.
            EpochFencedError: A newer writer has taken over.
        """
        request = pb.UpsertExchangeRatesRequest(
            parent=self._parent,
            exchange_rates=rates,
            fence_scope=fence_scope,
            fencing_epoch=fencing_epoch,
        )
        return await self._calls.unary(self._stub.UpsertExchangeRates, request, timeout_seconds)

    def list_exchange_rates(
        self,
        *,
        currency_code: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[ExchangeRate, pb.ListExchangeRatesResponse]:
        """List rates by currency and day; only one currency's where it is given."""
        return self._pages(
            self._stub.ListExchangeRates,
            pb.ListExchangeRatesRequest(
                parent=self._parent, currency_code=currency_code, page_size=page_size
            ),
            lambda page: page.exchange_rates,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def get_cache_stats(
        self, *, timeout_seconds: float | None = None
    ) -> Sequence[pb.CacheTierStats]:
        """Read hits, misses and latency of each tier of the cache of the server that answers."""
        request = pb.GetCacheStatsRequest(parent=self._parent)
        return (await self._calls.unary(self._stub.GetCacheStats, request, timeout_seconds)).tiers

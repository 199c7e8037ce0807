"""A session with Klaviyo: whose it is, what there is, and the numbers."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from liftos_ingestion.adapters.sources.account_checks import require_unchanged
from liftos_ingestion.adapters.sources.klaviyo.answers import AnswersOfSession
from liftos_ingestion.adapters.sources.klaviyo.client import KlaviyoClient
from liftos_ingestion.adapters.sources.klaviyo.documents import listed, text
from liftos_ingestion.adapters.sources.klaviyo.errors import malformed
from liftos_ingestion.adapters.sources.klaviyo.events import events
from liftos_ingestion.adapters.sources.klaviyo.library import campaigns_of, flows_of, objects_of
from liftos_ingestion.adapters.sources.klaviyo.metrics import (
    Orders,
    mapped_revenue,
    metrics_of,
    own_metrics,
    placed_order,
)
from liftos_ingestion.adapters.sources.klaviyo.rows import rows_of
from liftos_ingestion.adapters.sources.klaviyo.sends import (
    Found,
    ReportMetric,
    campaign_report,
    campaign_sends,
    flow_report,
    flow_sends,
)
from liftos_ingestion.adapters.sources.platform_http import PlatformHttp
from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_ingestion.domain.platform_limits import KLAVIYO_UNKNOWN_ACCOUNT, KlaviyoEndpoint
from liftos_ingestion.source_ports import (
    CallGate,
    JsonObject,
    Page,
    PlatformAccount,
    PlatformJob,
    PlatformObject,
    ReadRequest,
    Verified,
    query_hash,
)
from liftos_mapping.transform import TransformContext

SCOPES: Final = ("accounts:read", "campaigns:read", "flows:read", "metrics:read")
"""Everything that is read."""

_PROBES: Final = {
    "campaigns:read": (KlaviyoEndpoint.CAMPAIGNS, {"page[size]": "1"}),
    "flows:read": (KlaviyoEndpoint.FLOWS, {"page[size]": "1"}),
    "metrics:read": (KlaviyoEndpoint.METRICS, {}),
}
"""One call for each scope that only a call can tell of."""

_PAGE_ROWS: Final = 5_000


class KlaviyoSession:
    """Klaviyo with a credential, which opens one account.

    Args:
        http: Klaviyo's host, with the credential.
        gate: Asked before each call.
        conversion_metric_id: The metric that counts orders; empty follows Klaviyo's own mapping.
        granted_scopes: What the credential may read; None where only calls can tell.
        answers: What it shares with others of its run; None shares nothing.
    """

    def __init__(
        self,
        http: PlatformHttp,
        gate: CallGate,
        *,
        conversion_metric_id: str,
        granted_scopes: frozenset[str] | None,
        answers: AnswersOfSession | None = None,
    ) -> None:
        self._http = http
        self._gate = gate
        self._conversion_metric_id = conversion_metric_id
        self._granted_scopes = granted_scopes
        self._answers = answers

    async def verify(self) -> Verified:
        """Say which account the credential opens, and what it may read there."""
        account = await self._account(self._client(KLAVIYO_UNKNOWN_ACCOUNT))
        granted = self._granted_scopes
        if granted is None:
            granted = await self._probed(self._client(account.account_id))
        return Verified(
            [account],
            granted_scopes=tuple(sorted(granted)),
            missing_scopes=tuple(scope for scope in SCOPES if scope not in granted),
        )

    async def objects(self, account: PlatformAccount) -> AsyncGenerator[PlatformObject, None]:
        """Yield campaigns, flows and their messages, archived ones too.

        Klaviyo does not list what is deleted; its numbers are still reported.
        """
        client = self._client(account.account_id, taker="objects")
        async for campaign in campaigns_of(client, ZoneInfo(account.time_zone)):
            for found in objects_of(campaign):
                yield found
        async for flow in flows_of(client):
            for found in objects_of(flow):
                yield found

    async def read(
        self, request: ReadRequest, job: PlatformJob | None
    ) -> AsyncGenerator[Page | PlatformJob, None]:
        """Yield the rows of a scope; Klaviyo has no jobs."""
        del job
        scope = (request.level, request.date_basis, request.start_date, request.end_date)
        client = self._client(request.account.account_id, taker=" ".join(map(str, scope)))
        await self._check(client, request.account)
        if request.date_basis == "EVENT":
            found, questions = await self._events(client, request)
            asked = query_hash(request.account.account_id, *questions)
            for page in _pages(found, request.level, asked):
                yield page
            return
        metric = await self._report_metric(client)
        # Without any metric nothing has ever happened in the account, and no report can be had.
        if metric is None:
            return
        reports = {
            "CAMPAIGN": (campaign_report, campaign_sends),
            "FLOW": (flow_report, flow_sends),
        }
        chosen = [it for level, it in reports.items() if request.level in (level, "MESSAGE")]
        asked = query_hash(
            request.account.account_id, *(report(request, metric) for report, _ in chosen)
        )
        for _, sends in chosen:
            for page in _pages(await sends(client, request, metric), request.level, asked):
                yield page

    def _client(self, account_id: str, *, taker: str = "") -> KlaviyoClient:
        return KlaviyoClient(self._http, self._gate, account_id, taker=taker, answers=self._answers)

    async def _account(self, client: KlaviyoClient) -> PlatformAccount:
        answer = await client.get(KlaviyoEndpoint.ACCOUNTS)
        found = listed(answer.data)
        if len(found) != 1 or not text(found[0], "id"):
            raise malformed("it names not one account")
        time_zone = text(found[0], "attributes", "timezone")
        try:
            ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise malformed("the account's time zone is none that is known") from error
        return PlatformAccount(
            text(found[0], "id"),
            text(found[0], "attributes", "contact_information", "organization_name"),
            time_zone,
            text(found[0], "attributes", "preferred_currency"),
        )

    async def _check(self, client: KlaviyoClient, account: PlatformAccount) -> None:
        """Hold the account to what is known of it: rows say neither whose nor what money it is.

        Raises:
            ReadingError: The credential opens another account, or the account has changed.
        """
        now = await self._account(client)
        if now.account_id != account.account_id:
            raise ReadingError(
                Failure(
                    ErrorClass.CREDENTIALS,
                    f"The credential opens account {now.account_id}, not {account.account_id};"
                    " set the one of the account, or verify the connection.",
                )
            )
        require_unchanged(account, currency_code=now.currency_code, time_zone=now.time_zone)

    async def _probed(self, client: KlaviyoClient) -> frozenset[str]:
        granted = {SCOPES[0]}
        for scope, (endpoint, params) in _PROBES.items():
            try:
                await client.get(endpoint, params)
            except ReadingError as error:
                if error.failure.error_class is not ErrorClass.PERMISSION:
                    raise
            else:
                granted.add(scope)
        return frozenset(granted)

    async def _orders(self, client: KlaviyoClient) -> Orders | None:
        """Return the metric of orders, as far as it is set or mapped."""
        if self._conversion_metric_id:
            return Orders(self._conversion_metric_id)
        return await mapped_revenue(client)

    async def _report_metric(self, client: KlaviyoClient) -> ReportMetric | None:
        orders = await self._orders(client)
        metrics = () if orders is not None else await metrics_of(client)
        orders = orders or placed_order(metrics)
        if orders is not None:
            return ReportMetric(orders.metric_id, counts_orders=True)
        # A report needs a metric, also where none counts orders; its conversions are not asked for.
        return ReportMetric(metrics[0].metric_id, counts_orders=False) if metrics else None

    async def _events(
        self, client: KlaviyoClient, request: ReadRequest
    ) -> tuple[Found, Sequence[JsonObject]]:
        metrics = await metrics_of(client)
        orders = await self._orders(client) or placed_order(metrics)
        return await events(client, request, own_metrics(metrics), orders)


def _pages(found: Found, level: str, asked: str) -> Iterator[Page]:
    """Yield rows in pages, with what they were read from on the first."""
    rows = rows_of(level, found.messages)
    raw = found.raw
    while (page := list(islice(rows, _PAGE_ROWS))) or raw:
        yield Page(page, TransformContext(), raw=raw, query_hash=asked)
        raw = b""

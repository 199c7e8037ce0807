"""The module's own pulls: campaigns by day, straight from the platforms into its database."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import asyncpg
import httpx

from liftos_causal.domain.records import DayRange, SyncedPlatform, SyncState
from liftos_kit import postgres
from liftos_kit.secrets.secret import Secret

_TIMEOUT_SECONDS: Final = 60.0
_MOST_PAGES: Final = 10_000
_META_FIELDS: Final = "campaign_id,account_currency,spend,impressions,clicks,actions,action_values"
_GOOGLE_QUERY: Final = (
    "SELECT campaign.id, customer.currency_code, segments.date, metrics.cost_micros,"
    " metrics.impressions, metrics.clicks, metrics.conversions, metrics.conversions_value"
    " FROM campaign WHERE segments.date BETWEEN '{start}' AND '{end}'"
)

_Row: TypeAlias = tuple[object, ...]
_Json: TypeAlias = Mapping[str, Any]


class _RefusedError(Exception):
    """A platform did not give its numbers; the text says what to do and holds no secret."""


@dataclass(frozen=True, slots=True)
class PlatformAccess:
    """Where platforms are, and what opens them; a platform without a credential is not read.

    Attributes:
        meta_url: Meta's Graph API, as `https://graph.facebook.com`.
        meta_version: Of it, as `v26.0`.
        meta_token: Opens its accounts.
        google_ads_url: Google's REST interface, which also exchanges tokens.
        google_ads_version: Of it, as `v26`.
        google_ads_refresh_token: Opens its customers.
        google_ads_client: Id and secret of the OAuth client.
        google_ads_developer_token: Of the developer.
        google_ads_login_customer_id: Manager through which customers are reached; empty for none.
    """

    meta_url: str
    meta_version: str
    meta_token: Secret | None
    google_ads_url: str
    google_ads_version: str
    google_ads_refresh_token: Secret | None
    google_ads_client: tuple[str, Secret] | None
    google_ads_developer_token: Secret | None
    google_ads_login_customer_id: str


class ModulePuller:
    """See `liftos_causal.ports.PlatformPuller`."""

    def __init__(self, pool: asyncpg.Pool, access: PlatformAccess) -> None:
        self._pool = pool
        self._access = access
        self._readers: Mapping[
            str, Callable[[httpx.AsyncClient, str, DayRange], Awaitable[Sequence[_Row]]]
        ] = {"google_ads": self._google_ads, "meta": self._meta}

    @property
    def platforms(self) -> Sequence[str]:
        """Which it can read."""
        return tuple(self._readers)

    async def pull(self, org: str, platform: str, days: DayRange) -> SyncedPlatform:
        """Read a platform's days and keep them."""
        accounts = [
            row["account_id"]
            for row in await self._pool.fetch(
                "select account_id from platform_accounts where org_id = $1 and platform = $2"
                " order by account_id",
                org,
                platform,
            )
        ]
        count = 0
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS) as http:
                for account in accounts:
                    rows = await self._readers[platform](http, account, days)
                    await self._keep(org, platform, account, rows)
                    count += len(rows)
        except _RefusedError as refused:
            return SyncedPlatform(platform, SyncState.FAILED, count, error=str(refused))
        except httpx.HTTPError as error:
            problem = f"{platform} does not answer ({type(error).__name__}); sync again"
            return SyncedPlatform(platform, SyncState.FAILED, count, error=problem)
        return SyncedPlatform(platform, SyncState.SUCCEEDED, count)

    async def _keep(self, org: str, platform: str, account: str, rows: Sequence[_Row]) -> None:
        async with postgres.transaction(self._pool, org=None) as connection:
            await connection.copy_records_to_table(
                "campaign_performance",
                records=[(org, platform, account, *row) for row in rows],
                columns=(
                    "org_id",
                    "platform",
                    "account_id",
                    "campaign_id",
                    "date_start",
                    "date_stop",
                    "currency",
                    "spend",
                    "cost_micros",
                    "impressions",
                    "clicks",
                    "conversions",
                    "conversions_value",
                    "actions",
                    "quality_score",
                ),
            )

    async def _meta(self, http: httpx.AsyncClient, account: str, days: DayRange) -> Sequence[_Row]:
        token = self._access.meta_token
        if token is None:
            raise _RefusedError("no token is set for meta; set LIFTOS_META_TOKEN")
        url: str | None = f"{self._access.meta_url}/{self._access.meta_version}/{account}/insights"
        host = urlsplit(self._access.meta_url).netloc
        parameters: dict[str, str] | None = {
            "level": "campaign",
            "time_increment": "1",
            "time_range": f'{{"since":"{days.start}","until":"{days.end}"}}',
            "fields": _META_FIELDS,
            "limit": "500",
        }
        rows: list[_Row] = []
        for _ in range(_MOST_PAGES):
            if url is None:
                return rows
            answer = await http.get(
                url, params=parameters, headers={"authorization": f"Bearer {token.reveal()}"}
            )
            body = _body(answer, "meta")
            rows += [_meta_row(each) for each in body["data"]]
            url, parameters = body.get("paging", {}).get("next"), None
            if url is not None and urlsplit(url).netloc != host:
                raise _RefusedError("meta sent a next page on another host; nothing was kept")
        raise _RefusedError("meta's pages do not end; nothing was kept")

    async def _google_ads(
        self, http: httpx.AsyncClient, account: str, days: DayRange
    ) -> Sequence[_Row]:
        access = self._access
        refresh, client = access.google_ads_refresh_token, access.google_ads_client
        developer = access.google_ads_developer_token
        if refresh is None or client is None or developer is None:
            raise _RefusedError("no credential is set for google_ads; set LIFTOS_GOOGLE_ADS_*")
        bought = await http.post(
            f"{access.google_ads_url}/token",
            data={
                "grant_type": "refresh_token",
                "refresh_token": refresh.reveal(),
                "client_id": client[0],
                "client_secret": client[1].reveal(),
            },
        )
        token = _body(bought, "google_ads")["access_token"]
        rows: list[_Row] = []
        page = ""
        for _ in range(_MOST_PAGES):
            answer = await http.post(
                f"{access.google_ads_url}/{access.google_ads_version}/customers/{account}"
                "/googleAds:search",
                json={
                    "query": _GOOGLE_QUERY.format(start=days.start, end=days.end),
                    "pageToken": page,
                },
                headers={
                    "authorization": f"Bearer {token}",
                    "developer-token": developer.reveal(),
                    "login-customer-id": access.google_ads_login_customer_id or account,
                },
            )
            body = _body(answer, "google_ads")
            rows += [_google_row(each) for each in body.get("results", [])]
            page = body.get("nextPageToken", "")
            if not page:
                return rows
        raise _RefusedError("google_ads' pages do not end; nothing was kept")


def _body(answer: httpx.Response, platform: str) -> _Json:
    if answer.status_code in (400, 401, 403):
        raise _RefusedError(
            f"{platform} refused the call ({answer.status_code}); check its credential and accounts"
        )
    if answer.status_code != 200:
        raise _RefusedError(f"{platform} answered {answer.status_code}; sync again later")
    try:
        body: _Json = answer.json()
    except ValueError:
        raise _RefusedError(f"{platform} answered no JSON; sync again later") from None
    return body


def _meta_row(row: _Json) -> _Row:
    values = {each["action_type"]: each["value"] for each in row.get("action_values", [])}
    actions = {
        each["action_type"]: {
            "count": float(each["value"]),
            "value": float(values.get(each["action_type"], 0)),
        }
        for each in row.get("actions", [])
    }
    return (
        row["campaign_id"],
        date.fromisoformat(row["date_start"]),
        date.fromisoformat(row["date_stop"]),
        row["account_currency"],
        row.get("spend"),
        None,
        _whole(row.get("impressions")),
        _whole(row.get("clicks")),
        None,
        None,
        actions,
        "1.00",
    )


def _google_row(row: _Json) -> _Row:
    metrics, day = row["metrics"], date.fromisoformat(row["segments"]["date"])
    return (
        str(row["campaign"]["id"]),
        day,
        day,
        row["customer"]["currencyCode"],
        None,
        str(metrics.get("costMicros", "0")),
        _whole(metrics.get("impressions", 0)),
        _whole(metrics.get("clicks", 0)),
        metrics.get("conversions", 0.0),
        metrics.get("conversionsValue", 0.0),
        None,
        "1.00",
    )


def _whole(value: object) -> int | None:
    return None if value is None else int(str(value))

"""Meta Marketing as a source: ad accounts, their objects, and their Insights day by day."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

import structlog

from liftos_ingestion.adapters.sources.account_checks import RecentChecks, require_unchanged
from liftos_ingestion.adapters.sources.meta.client import (
    PAGE_ROWS,
    MetaClient,
    MetaCredential,
)
from liftos_ingestion.adapters.sources.meta.errors import MetaError, malformed
from liftos_ingestion.adapters.sources.meta.reports import STATES, Report
from liftos_ingestion.adapters.sources.platform_http import PlatformHttp
from liftos_ingestion.adapters.sources.version_ends import META_VERSION_ENDS
from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_ingestion.domain.platform_limits import META
from liftos_ingestion.source_ports import (
    CallGate,
    Capabilities,
    Credential,
    JsonObject,
    Page,
    PlatformAccount,
    PlatformJob,
    PlatformObject,
    ReadRequest,
    SourceSession,
    Verified,
)
from liftos_kit.core.clock import Clock, SystemClock
from liftos_kit.secrets.secret import Secret
from liftos_mapping.platforms import platform_mapping
from liftos_mapping.transform import TransformContext

RETENTION_DAYS: Final = 1124
"""Today and the days before it that are younger than 37 months in every calendar."""

RESTATEMENT_DAYS: Final = 28
DAYS_PER_READ: Final = 7
RENEWED_BEFORE: Final = timedelta(days=30)
"""A token that ends sooner is exchanged for one of 60 days."""

READ_SCOPE: Final = "ads_read"
_SCOPES_THAT_READ: Final = frozenset({READ_SCOPE, "ads_management"})
_CLOSED: Final = frozenset({2, 101, 202})
"""`account_status`: disabled, closed."""

_EDGES: Final = (
    ("CAMPAIGN", "campaigns", ""),
    ("AD_GROUP", "adsets", "campaign_id"),
    ("AD", "ads", "adset_id"),
)
"""Level, edge of an account, and the field that names the parent."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.ingestion")


class MetaSource:
    """Meta Marketing; see `liftos_ingestion.source_ports.PlatformSource`.

    Args:
        url: Where the Graph API answers.
        version: Its version, as `v26.0`.
        version_end_date: First day on which that version may be gone; None follows what is known.
        timeout_seconds: Longest silence within a call.
        clock: Now.
    """

    def __init__(
        self,
        url: str,
        *,
        version: str,
        version_end_date: date | None = None,
        timeout_seconds: float,
        clock: Clock | None = None,
    ) -> None:
        self._url = url
        self._version = version
        self._timeout_seconds = timeout_seconds
        self._clock = clock or SystemClock()
        self._checks = RecentChecks(self._clock)
        self.platform = META
        self.display_name = "Meta"
        self.mapping = platform_mapping(META)
        self.capabilities = Capabilities(
            levels=("ACCOUNT", "CAMPAIGN", "AD_GROUP", "AD"),
            date_bases=(self.mapping.date_basis,),
            restatement_days=RESTATEMENT_DAYS,
            retention_days=RETENTION_DAYS,
            days_per_read=DAYS_PER_READ,
            totals=True,
            object_levels=tuple(level for level, *_ in _EDGES),
            adding_up_levels=("CAMPAIGN",),
            api_version=version,
            api_version_end_date=version_end_date or META_VERSION_ENDS.get(version),
            rows_per_call=PAGE_ROWS,
            setup_calls=1,
            account_calls=1,
            object_calls=len(_EDGES),
        )
        self.credential_schema: JsonObject = {
            "type": "object",
            "properties": {
                "access_token": {
                    "type": "string",
                    "minLength": 1,
                    "description": "Token of a system user, or of a user, with ads_read.",
                },
                "app_id": {
                    "type": "string",
                    "pattern": "^[0-9]+$",
                    "description": "The app that issued the token; its limits are kept apart."
                    " Orgs that give its secret too count them together, as Meta does.",
                },
                "app_secret": {
                    "type": "string",
                    "minLength": 1,
                    "description": "The app's secret: proves each call and renews user tokens.",
                },
            },
            "required": ["access_token"],
            "additionalProperties": False,
        }
        self.settings_schema: JsonObject = {
            "type": "object",
            "properties": {
                "conversion_actions": {
                    "type": "array",
                    "items": {"type": "string", "minLength": 1},
                    "description": "Action types that count as the conversion, the first that a "
                    "row has; they are never added up. Unset: purchases.",
                }
            },
            "additionalProperties": False,
        }

    @asynccontextmanager
    async def open(
        self, credential: Credential, settings: JsonObject, gate: CallGate
    ) -> AsyncIterator[SourceSession]:
        """Begin a session.

        Raises:
            ReadingError: The credential has no access token.
        """
        if "access_token" not in credential:
            raise ReadingError(
                Failure(
                    ErrorClass.CREDENTIALS,
                    "The credential has no access_token; set one on the connection.",
                )
            )
        http = PlatformHttp(self._url, gate, headers={}, timeout_seconds=self._timeout_seconds)
        async with http:
            client = MetaClient(
                http,
                gate,
                version=self._version,
                credential=_signer(credential),
                clock=self._clock,
            )
            actions = settings.get("conversion_actions")
            context = TransformContext(
                conversion_actions=tuple(map(str, actions)) if isinstance(actions, list) else ()
            )
            yield MetaSession(
                client,
                credential,
                context,
                org=gate.org,
                clock=self._clock,
                checks=self._checks,
            )


class MetaSession:
    """Meta with a credential; see `liftos_ingestion.source_ports.SourceSession`."""

    def __init__(
        self,
        client: MetaClient,
        credential: Credential,
        context: TransformContext,
        *,
        org: str,
        clock: Clock,
        checks: RecentChecks,
    ) -> None:
        self._client = client
        self._credential = credential
        self._context = context
        self._org = org
        self._clock = clock
        self._checks = checks

    async def verify(self) -> Verified:
        """Say what the token may read and, where the app is given, what Meta knows of the token.

        A user's token that ends within `RENEWED_BEFORE` is exchanged for a longer-lived one.
        """
        granted: tuple[str, ...] = ()
        missing: tuple[str, ...] = ()
        expire_time: datetime | None = None
        if self._app_token() is not None:
            token = await self._inspected(self._client.credential.access_token)
            expire_time = _expiry(token)
            if expire_time is not None and expire_time < self._clock.now() + RENEWED_BEFORE:
                token = await self._renewed() or token
                expire_time = _expiry(token)
            scopes = token.get("scopes")
            granted = tuple(map(str, scopes)) if isinstance(scopes, list) else ()
            missing = () if _SCOPES_THAT_READ & set(granted) else (READ_SCOPE,)
        return Verified(await self._accounts(), granted, missing, expire_time)

    async def objects(self, account: PlatformAccount) -> AsyncGenerator[PlatformObject, None]:
        """Yield every object of an account with its name and state, deleted ones too."""
        for level, edge, parent in _EDGES:
            words = ",".join(f'"{word}"' for word in STATES[level])
            fields = ["id", "name", "effective_status", *([parent] if parent else [])]
            listing = self._client.pages(
                f"act_{account.account_id}/{edge}",
                account_id=account.account_id,
                params={"fields": ",".join(fields), "effective_status": f"[{words}]"},
            )
            async with aclosing(listing) as pages:
                async for page in pages:
                    for item in page.items:
                        yield PlatformObject(
                            level=level,
                            object_id=_text(item, "id", page.request_id),
                            display_name=str(item.get("name") or ""),
                            state=_text(item, "effective_status", page.request_id),
                            parent_id=_text(item, parent, page.request_id) if parent else "",
                        )

    async def read(
        self, request: ReadRequest, job: PlatformJob | None
    ) -> AsyncGenerator[Page | PlatformJob, None]:
        """Yield all rows of a scope, in pages."""
        if request.attribution_key:
            raise ReadingError(
                Failure(
                    ErrorClass.PERMANENT,
                    "Conversions of Meta are read by each ad set's own attribution setting; the "
                    "windows are among the actions.",
                )
            )
        if job is None:
            await self._check(request.account)
        report = Report(self._client, request, job, org=self._org, clock=self._clock)
        asked = ""
        async with aclosing(report.read()) as items:
            async for item in items:
                if isinstance(item, PlatformJob):
                    yield item
                else:
                    asked = asked or report.query_hash
                    yield Page(
                        item.items,
                        self._context,
                        raw=item.raw,
                        request_id=item.request_id,
                        lacks=item.lacks,
                        query_hash=asked,
                    )

    async def _check(self, account: PlatformAccount) -> None:
        """Hold the account to what is known of it: rows do not say in whose days they are.

        Raises:
            ReadingError: It has changed.
        """
        if not self._checks.is_due(account):
            return
        now = await self._client.get(
            f"act_{account.account_id}",
            account_id=account.account_id,
            params={"fields": "currency,timezone_name"},
        )
        require_unchanged(
            account,
            currency_code=_text(now, "currency", ""),
            time_zone=_text(now, "timezone_name", ""),
        )
        self._checks.found_unchanged(account)

    async def _accounts(self) -> list[PlatformAccount]:
        params = {"fields": "account_id,name,currency,timezone_name,account_status"}
        return [
            PlatformAccount(
                account_id=_text(item, "account_id", page.request_id),
                display_name=str(item.get("name") or ""),
                time_zone=_text(item, "timezone_name", page.request_id),
                currency_code=_text(item, "currency", page.request_id),
                closed=item.get("account_status") in _CLOSED,
            )
            async for page in self._client.pages("me/adaccounts", params=params)
            for item in page.items
        ]

    async def _inspected(self, token: Secret) -> JsonObject:
        """Return what Meta knows of a token.

        Raises:
            ReadingError: Class CREDENTIALS where it does not take it.
        """
        answer = await self._client.get_in_body(
            "debug_token",
            {"input_token": token.reveal(), "access_token": self._app_token() or ""},
        )
        data = answer.get("data")
        if not isinstance(data, dict):
            raise malformed("nothing about the token")
        if data.get("is_valid") is not True:
            raise ReadingError(
                Failure(
                    ErrorClass.CREDENTIALS,
                    "Meta does not take the access token; give the connection another one.",
                )
            )
        return data

    async def _renewed(self) -> JsonObject | None:
        """Exchange the token, keep the new one, and return what Meta knows of it.

        Returns:
            None where Meta gives none; the token still reads until it ends.
        """
        signer = self._client.credential
        try:
            answer = await self._client.get_in_body(
                "oauth/access_token",
                {
                    "grant_type": "fb_exchange_token",
                    "client_id": signer.app_id,
                    "client_secret": signer.app_secret.reveal() if signer.app_secret else "",
                    "fb_exchange_token": signer.access_token.reveal(),
                },
            )
        except MetaError as error:
            _log.warning("meta_token_not_renewed", reason=error.failure.message)
            return None
        value = answer.get("access_token")
        if not isinstance(value, str) or not value:
            raise malformed("no token for a token")
        token = Secret(value)
        inspected = await self._inspected(token)
        self._client.credential = replace(signer, access_token=token)
        await self._credential.renew(
            {**self._credential, "access_token": token}, expire_time=_expiry(inspected)
        )
        return inspected

    def _app_token(self) -> str | None:
        signer = self._client.credential
        if not signer.app_id or signer.app_secret is None:
            return None
        return f"{signer.app_id}|{signer.app_secret.reveal()}"


def _signer(credential: Mapping[str, Secret]) -> MetaCredential:
    app_id = credential.get("app_id")
    return MetaCredential(
        access_token=credential["access_token"],
        app_id=app_id.reveal() if app_id is not None else "",
        app_secret=credential.get("app_secret"),
    )


def _expiry(token: JsonObject) -> datetime | None:
    """Return when a token, or its access to data, ends; 0 is never."""
    ends = [token.get(name) for name in ("expires_at", "data_access_expires_at")]
    known = [end for end in ends if isinstance(end, int) and end > 0]
    return datetime.fromtimestamp(min(known), UTC) if known else None


def _text(item: JsonObject, name: str, request_id: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise malformed(f"an object without {name}", request_id=request_id)
    return value

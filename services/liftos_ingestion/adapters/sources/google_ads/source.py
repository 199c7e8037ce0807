"""Google Ads as a source: customers, their objects, and their reports day by day."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import date
from functools import cache
from importlib import import_module
from typing import Final
from urllib.parse import urlsplit

import grpc

from liftos_ingestion.adapters.sources.access_tokens import KnownTokens
from liftos_ingestion.adapters.sources.account_checks import require_unchanged
from liftos_ingestion.adapters.sources.google_ads.client import (
    MAXIMUM_MESSAGE_BYTES,
    Caller,
    Chunk,
    GoogleAdsClient,
)
from liftos_ingestion.adapters.sources.google_ads.errors import (
    GoogleAdsError,
    Remedy,
    broken_too_often,
)
from liftos_ingestion.adapters.sources.google_ads.queries import (
    DATE_BASES,
    LEVELS,
    OBJECT_LISTS,
    report,
)
from liftos_ingestion.adapters.sources.google_ads.tokens import (
    AccessToken,
    OAuthClient,
)
from liftos_ingestion.adapters.sources.google_ads.ways import KnownWays
from liftos_ingestion.adapters.sources.platform_http import PlatformHttp
from liftos_ingestion.adapters.sources.version_ends import GOOGLE_ADS_VERSION_ENDS
from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_ingestion.domain.platform_limits import GOOGLE_ADS, GoogleAdsAccess
from liftos_ingestion.domain.rate_limits import gate as gate_of
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
    query_hash,
)
from liftos_mapping.platforms import platform_mapping
from liftos_mapping.transform import TransformContext

API_VERSION: Final = "v26"
SCOPE: Final = "https://www.googleapis.com/auth/adwords"

RETENTION_DAYS: Final = 1124
"""Today and the days before it that are younger than 37 months in every calendar."""

RESTATEMENT_DAYS: Final = 90
"""The longest time in which Google credits a conversion to the day of its click."""

DAYS_PER_READ: Final = 30
"""A stream is one operation however long, and one that breaks is read again as a whole."""

LOOKAHEAD_BYTES: Final = 1024 * 1024
"""What a stream receives beyond what is read of it; at 100 ms to Google it brings 10 MB/s."""

BREAKS: Final = 3
"""After so many, an answer of several days is taken for too large."""

_MESSAGES: Final = "liftos_ingestion.adapters.sources.google_ads.messages"
_OAUTH: Final = ("client_id", "client_secret", "refresh_token")
_CLOSED: Final = "CLOSED"
_CANCELED: Final = "CANCELED"


class GoogleAdsSource:
    """Google Ads; see `liftos_ingestion.source_ports.PlatformSource`.

    Args:
        address: Where the API answers, as host:port.
        plaintext: Whether it speaks without TLS, as a simulator does.
        token_url: Where access tokens are bought.
        version_end_date: First day on which the API's version may be gone; None follows what is
            known.
        timeout_seconds: Longest silence within a call.
    """

    def __init__(
        self,
        address: str,
        *,
        plaintext: bool,
        token_url: str,
        version_end_date: date | None = None,
        timeout_seconds: float,
    ) -> None:
        self._address = address
        self._plaintext = plaintext
        self._token_url = token_url
        self._timeout_seconds = timeout_seconds
        self._ways = KnownWays()
        self._tokens = KnownTokens[OAuthClient]()
        self.platform = GOOGLE_ADS
        self.display_name = "Google Ads"
        self.mapping = platform_mapping(GOOGLE_ADS)
        self.capabilities = Capabilities(
            levels=LEVELS,
            date_bases=DATE_BASES,
            restatement_days=RESTATEMENT_DAYS,
            retention_days=RETENTION_DAYS,
            days_per_read=DAYS_PER_READ,
            totals=True,
            object_levels=tuple(listed.level for listed in OBJECT_LISTS),
            adding_up_levels=("CAMPAIGN",),
            api_version=API_VERSION,
            api_version_end_date=version_end_date or GOOGLE_ADS_VERSION_ENDS.get(API_VERSION),
            # All of them: a stream is one call.
            rows_per_call=1_000_000_000,
            object_calls=len(OBJECT_LISTS),
        )
        self.credential_schema: JsonObject = _CREDENTIAL_SCHEMA
        self.settings_schema: JsonObject = _SETTINGS_SCHEMA

    @asynccontextmanager
    async def open(
        self, credential: Credential, settings: JsonObject, gate: CallGate
    ) -> AsyncIterator[SourceSession]:
        """Begin a session; nothing is called yet.

        Raises:
            ReadingError: A field of the credential is missing.
        """
        missing = [name for name in _OAUTH if name not in credential]
        if missing:
            raise ReadingError(
                Failure(
                    ErrorClass.CREDENTIALS,
                    f"The credential has no {', '.join(missing)}; set all of {', '.join(_OAUTH)}.",
                )
            )
        oauth = OAuthClient(
            client_id=credential["client_id"].reveal(),
            client_secret=credential["client_secret"],
            refresh_token=credential["refresh_token"],
        )
        caller = Caller(
            project=oauth.app(gate.org),
            access=GoogleAdsAccess(str(settings.get("access_level", GoogleAdsAccess.EXPLORER))),
            credential=oauth.refresh_token,
            login_customer_id=_digits(settings.get("login_customer_id")),
            developer_token=credential.get("developer_token"),
        )
        # Loading them takes a second, in which the event loop has better things to do.
        messages = await asyncio.to_thread(import_module, _MESSAGES)
        parts = urlsplit(self._token_url)
        http = PlatformHttp(
            f"{parts.scheme}://{parts.netloc}",
            gate,
            headers={},
            timeout_seconds=self._timeout_seconds,
        )
        async with http, self._channel() as channel:
            token = AccessToken(
                http,
                self._token_url,
                oauth,
                limit=gate_of(oauth.app(gate.org)),
                known=self._tokens,
            )
            client = GoogleAdsClient(
                channel,
                messages,
                gate,
                token=token,
                caller=caller,
                ways=self._ways,
                timeout_seconds=self._timeout_seconds,
            )
            yield GoogleAdsSession(client, token)

    def _channel(self) -> grpc.aio.Channel:
        options = (
            ("grpc.max_receive_message_length", MAXIMUM_MESSAGE_BYTES),
            # Measured by gRPC itself, the window grows until all of a stream is received ahead.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", LOOKAHEAD_BYTES),
            # Environment variables must not send a credential elsewhere.
            ("grpc.enable_http_proxy", 0),
        )
        if self._plaintext:
            return grpc.aio.insecure_channel(self._address, options)
        return grpc.aio.secure_channel(self._address, _tls(), options)


class GoogleAdsSession:
    """Google Ads with a credential; see `liftos_ingestion.source_ports.SourceSession`."""

    def __init__(self, client: GoogleAdsClient, token: AccessToken) -> None:
        self._client = client
        self._token = token

    async def verify(self) -> Verified:
        """Say which accounts the user opens, directly or by managers; those are no accounts.

        A customer that cannot be asked is told of only if no other one is there.

        Raises:
            ReadingError: Google did not answer, or refuses every customer.
        """
        granted = (await self._token.buy()).scopes
        found: dict[str, PlatformAccount] = {}
        seen: set[str] = set()
        refused: list[GoogleAdsError] = []
        for customer_id in await self._client.accessible_customers():
            if customer_id in seen:
                continue
            try:
                tree = await self._client.tree(customer_id)
            except GoogleAdsError as error:
                match error.failure.error_class:
                    case ErrorClass.ACCOUNT_CLOSED:
                        found.setdefault(customer_id, _closed_account(customer_id))
                    case ErrorClass.PERMISSION:
                        refused.append(error)
                    case _:
                        raise
                continue
            for row in tree:
                account = _account(row)
                seen.add(account.account_id)
                if not row.get("customer_client.manager"):
                    found[account.account_id] = account
        if refused and not found:
            raise refused[0]
        return Verified(
            list(found.values()),
            granted_scopes=granted,
            missing_scopes=() if SCOPE in granted or not granted else (SCOPE,),
        )

    async def objects(self, account: PlatformAccount) -> AsyncGenerator[PlatformObject, None]:
        """Yield campaigns, ad groups and ads with their states, removed ones too.

        Raises:
            NotReadyError: A limit is reached.
            ReadingError: Google did not answer.
        """
        for listed in OBJECT_LISTS:
            async with aclosing(self._client.search(account.account_id, listed.query)) as chunks:
                async for chunk in chunks:
                    for row in chunk.rows:
                        yield PlatformObject(
                            level=listed.level,
                            object_id=str(row.get(listed.object_id, "")),
                            display_name=str(row.get(listed.name, "")),
                            state=str(row.get(listed.state, "")),
                            parent_id=str(row.get(listed.parent_id, "")),
                        )

    async def read(
        self, request: ReadRequest, job: PlatformJob | None
    ) -> AsyncGenerator[Page | PlatformJob, None]:
        """Yield a report in pages, from one stream.

        How often the stream has been broken off is kept as a job: after `BREAKS` times fewer days
        are asked for.

        Raises:
            NotReadyError: A limit is reached.
            ReadingError: Google did not answer to the end, or the account has changed.
        """
        account_id = request.account.account_id
        context = TransformContext(
            account_id=account_id, level=request.level, date_basis=request.date_basis
        )
        query = report(request)
        asked = query_hash(account_id, query.text)
        is_empty = True
        try:
            async with aclosing(self._client.search(account_id, query)) as chunks:
                async for chunk in chunks:
                    _require_unchanged(request.account, chunk)
                    yield Page(chunk.rows, context, chunk.raw, chunk.request_id, query_hash=asked)
                    is_empty = False
            if is_empty:
                yield Page((), context, query_hash=asked)
        except GoogleAdsError as error:
            if error.remedy is not Remedy.FEWER_DAYS:
                raise
            breaks = _breaks(job) + 1
            if breaks >= BREAKS and request.day_count > 1:
                raise broken_too_often(error, breaks) from error
            yield PlatformJob(error.failure.platform_request_id, {"breaks": breaks})
            raise


@cache
def _tls() -> grpc.ChannelCredentials:
    """Return credentials for TLS, whose root certificates take a while to load."""
    return grpc.ssl_channel_credentials()


def _require_unchanged(account: PlatformAccount, chunk: Chunk) -> None:
    if not chunk.rows:
        return
    # Each row says it of the customer, of whom there is one.
    row = chunk.rows[0]
    require_unchanged(
        account,
        currency_code=str(row.get("customer.currency_code", account.currency_code)),
        time_zone=str(row.get("customer.time_zone", account.time_zone)),
    )


def _breaks(job: PlatformJob | None) -> int:
    breaks = job.state.get("breaks") if job is not None else None
    return breaks if isinstance(breaks, int) else 0


def _account(row: Mapping[str, object]) -> PlatformAccount:
    def text(name: str) -> str:
        return str(row.get(f"customer_client.{name}", ""))

    # Google calls test accounts closed; they can be read all the same.
    is_test = bool(row.get("customer_client.test_account"))
    status = text("status")
    return PlatformAccount(
        account_id=text("id"),
        display_name=text("descriptive_name"),
        time_zone=text("time_zone"),
        currency_code=text("currency_code"),
        closed=status == _CANCELED or (status == _CLOSED and not is_test),
    )


def _closed_account(customer_id: str) -> PlatformAccount:
    """A customer of which Google tells no more than that it is closed."""
    return PlatformAccount(
        account_id=customer_id,
        display_name=customer_id,
        time_zone="",
        currency_code="",
        closed=True,
    )


def _digits(value: object) -> str:
    return value.replace("-", "") if isinstance(value, str) else ""


_CREDENTIAL_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "properties": {
        "client_id": {
            "type": "string",
            "minLength": 1,
            "description": "Of the OAuth client; its Cloud project has the access level.",
        },
        "client_secret": {"type": "string", "minLength": 1},
        "refresh_token": {
            "type": "string",
            "minLength": 1,
            "description": "Of a user who has access to the accounts, with the scope adwords.",
        },
        "developer_token": {
            "type": "string",
            "minLength": 1,
            "description": "Google no longer needs it; sent where it is set.",
        },
    },
    "required": list(_OAUTH),
    "additionalProperties": False,
}

_SETTINGS_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "properties": {
        "login_customer_id": {
            "type": "string",
            "pattern": "^[0-9]{3}-?[0-9]{3}-?[0-9]{4}$",
            "description": "Manager by which the accounts are reached. Unset: it is looked for.",
        },
        "access_level": {
            "enum": [str(level) for level in GoogleAdsAccess],
            "description": "Access level of the Cloud project, which decides how many operations "
            "a day has. Unset: explorer, the lowest.",
        },
    },
    "additionalProperties": False,
}

"""Klaviyo as a source."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import date
from typing import Final

from liftos_ingestion.adapters.sources.access_tokens import KnownTokens, Token, token_of
from liftos_ingestion.adapters.sources.klaviyo.answers import AnswersOfSession, SharedAnswers
from liftos_ingestion.adapters.sources.klaviyo.client import MEDIA_TYPE
from liftos_ingestion.adapters.sources.klaviyo.errors import malformed, token_refusal
from liftos_ingestion.adapters.sources.klaviyo.events import COUNTED
from liftos_ingestion.adapters.sources.klaviyo.session import KlaviyoSession
from liftos_ingestion.adapters.sources.platform_http import PlatformHttp
from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_ingestion.domain.platform_limits import KLAVIYO
from liftos_ingestion.domain.rate_limits import app_key, gate
from liftos_ingestion.source_ports import (
    CallGate,
    Capabilities,
    Credential,
    JsonObject,
    SourceSession,
)
from liftos_kit.secrets.secret import Secret
from liftos_mapping.mapping import PlatformMapping
from liftos_mapping.platforms import platform_mapping

API_KEY: Final = "api_key"
_OAUTH: Final = ("client_id", "client_secret", "refresh_token")
_BEARER: Final = "Bearer "
_CONVERSION_METRIC: Final = "conversion_metric_id"

_RESTATEMENT_DAYS: Final = 30
"""Opens, clicks and orders of late recipients change a day of sending for about so long."""

_DAYS_PER_READ: Final = 60
"""The longest timeframe of a daily series, since every report counts against the day."""

_SUPPORT_YEARS: Final = 2
"""A revision is stable for a year and deprecated for another."""


_ACCOUNT_CALLS: Final = 5
"""The account, its metrics, the one of revenue, campaigns and flows, which also are its objects."""

_AGGREGATES: Final = {"aggregates": len(COUNTED) + 1}
_SHARED_CALLS: Final = {
    ("CAMPAIGN", "SEND"): {"campaigns": 1},
    ("FLOW", "SEND"): {"flows": 1},
    ("MESSAGE", "SEND"): {"campaigns": 1, "flows": 1},
    ("CAMPAIGN", "EVENT"): _AGGREGATES,
    ("FLOW", "EVENT"): _AGGREGATES,
    ("MESSAGE", "EVENT"): _AGGREGATES,
}
"""Levels are made of reports of campaigns and of flows, or of a metric's events each."""


class KlaviyoSource:
    """Reads Klaviyo; see `liftos_ingestion.source_ports.PlatformSource`.

    Args:
        url: Where Klaviyo answers.
        revision: Of its API, a day.
        revision_end_date: First day on which it may be gone; None follows Klaviyo's life cycle.
        timeout_seconds: Longest silence within a call.
    """

    platform: str = KLAVIYO
    display_name: str = "Klaviyo"

    def __init__(
        self,
        url: str,
        *,
        revision: str,
        revision_end_date: date | None = None,
        timeout_seconds: float,
    ) -> None:
        self._url = url
        self._revision = revision
        self._timeout_seconds = timeout_seconds
        self._answers = SharedAnswers()
        self._tokens = KnownTokens[str]()
        self.capabilities: Capabilities = Capabilities(
            levels=("CAMPAIGN", "FLOW", "MESSAGE"),
            date_bases=("SEND", "EVENT"),
            restatement_days=_RESTATEMENT_DAYS,
            retention_days=0,
            days_per_read=_DAYS_PER_READ,
            totals=False,
            object_levels=("CAMPAIGN", "FLOW", "MESSAGE"),
            api_version=revision,
            api_version_end_date=revision_end_date or _end_of(revision),
            account_calls=_ACCOUNT_CALLS,
            shared_calls=_SHARED_CALLS,
        )
        self.credential_schema: JsonObject = _CREDENTIAL_SCHEMA
        self.settings_schema: JsonObject = _SETTINGS_SCHEMA
        self.mapping: PlatformMapping = platform_mapping(KLAVIYO)

    @asynccontextmanager
    async def open(
        self, credential: Credential, settings: JsonObject, gate: CallGate
    ) -> AsyncIterator[SourceSession]:
        """Begin a session; an access token is bought where the credential is an application's.

        Klaviyo's live for an hour, in which the slices of runs share it; a session that lasts
        longer buys another. One of no run has to find out whether Klaviyo gives one.

        Raises:
            ReadingError: A field is missing, or Klaviyo gives no token.
            NotReadyError: The gate is shut.
        """
        metric = settings.get(_CONVERSION_METRIC)
        # Before it is renewed: so it is what other sessions of the run are opened with.
        digest = _digest(credential)
        answers = AnswersOfSession(self._answers, run=gate.run, credential=digest)
        authorization, scopes = await self._signed_in(credential, gate)

        async def reauthorize(ended: str) -> str:
            self._tokens.forget(_digest(credential), ended.removeprefix(_BEARER))
            return (await self._token(credential, gate))[0]

        async with self._http(
            gate,
            {"Authorization": authorization},
            reauthorize=None if API_KEY in credential else reauthorize,
        ) as http:
            try:
                yield KlaviyoSession(
                    http,
                    gate,
                    conversion_metric_id=metric if isinstance(metric, str) else "",
                    granted_scopes=scopes,
                    answers=answers,
                )
            except ReadingError as error:
                # What has to be asked for fewer days was answered well.
                if error.failure.error_class is not ErrorClass.TOO_LARGE:
                    answers.forget()
                raise

    def _http(
        self,
        gate: CallGate,
        headers: Mapping[str, str],
        *,
        reauthorize: Callable[[str], Awaitable[str]] | None = None,
    ) -> PlatformHttp:
        return PlatformHttp(
            self._url,
            gate,
            headers={
                "Accept": MEDIA_TYPE,
                "revision": self._revision,
                # Else a retired revision is answered, in silence, by another with other shapes.
                "X-Klaviyo-Revision-Fall-Forward-Opt-Out": "1",
                **headers,
            },
            timeout_seconds=self._timeout_seconds,
            reauthorize=reauthorize,
        )

    async def _signed_in(
        self, credential: Credential, gate: CallGate
    ) -> tuple[str, frozenset[str] | None]:
        """Return the header that opens the account, and what it may read if that is known."""
        key = credential.get(API_KEY)
        if key is not None:
            return f"Klaviyo-API-Key {key.reveal()}", None
        missing = [name for name in _OAUTH if name not in credential]
        if missing:
            raise ReadingError(
                Failure(
                    ErrorClass.CREDENTIALS,
                    f"The credential has neither {API_KEY} nor {', '.join(missing)}; set either a"
                    " private key or an application's three fields.",
                )
            )
        return await self._token(credential, gate)

    async def _token(
        self, credential: Credential, gate: CallGate
    ) -> tuple[str, frozenset[str] | None]:
        async def buy() -> Token:
            return await self._bought(credential, gate)

        get = self._tokens.get if gate.run else self._tokens.buy
        token = await get(_digest(credential), buy)
        # With the fields that later sessions are opened with, if they were renewed.
        self._tokens.keep(_digest(credential), token)
        return _BEARER + token.value.reveal(), frozenset(token.scopes) if token.scopes else None

    async def _bought(self, credential: Credential, call_gate: CallGate) -> Token:
        client_id, secret, refresh_token = (credential[name].reveal() for name in _OAUTH)
        basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        app = app_key(call_gate.org, KLAVIYO, client_id, secret=credential["client_secret"])
        async with self._http(
            call_gate, {"Authorization": f"Basic {basic}", "Accept": "application/json"}
        ) as http:
            answer = await http.call(
                "POST",
                "/oauth/token",
                limits=[gate(app)],
                form={"grant_type": "refresh_token", "refresh_token": refresh_token},
            )
        if not answer.ok:
            raise token_refusal(answer)
        data = answer.data if isinstance(answer.data, Mapping) else {}
        token, renewed = data.get("access_token"), data.get("refresh_token")
        if not isinstance(token, str) or not token:
            raise malformed("it holds no access token")
        if isinstance(renewed, str) and renewed and renewed != refresh_token:
            await credential.renew({**credential, "refresh_token": Secret(renewed)})
        return token_of(token, scope=data.get("scope"), expires_in=data.get("expires_in"))


def _digest(credential: Credential) -> str:
    fields = {name: secret.reveal() for name, secret in credential.items()}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _end_of(revision: str) -> date | None:
    try:
        released = date.fromisoformat(revision)
        return released.replace(year=released.year + _SUPPORT_YEARS)
    except ValueError:
        return None


_CREDENTIAL_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "properties": {
        API_KEY: {
            "type": "string",
            "pattern": "^pk_[!-~]+$",
            "title": "Private API key",
            "description": "With the scopes accounts:read, campaigns:read, flows:read and"
            " metrics:read.",
        },
        "client_id": {
            "type": "string",
            "minLength": 1,
            "title": "Client id of an OAuth application",
        },
        "client_secret": {"type": "string", "minLength": 1, "title": "Its client secret"},
        "refresh_token": {
            "type": "string",
            "minLength": 1,
            "title": "Its refresh token for the account",
        },
    },
    "oneOf": [{"required": [API_KEY]}, {"required": list(_OAUTH)}],
    "additionalProperties": False,
}
_SETTINGS_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "properties": {
        _CONVERSION_METRIC: {
            "type": "string",
            "minLength": 1,
            "title": "Conversion metric",
            "description": "Id of the metric whose events are orders. Without it, the one that is"
            " mapped to revenue in Klaviyo, or else the only one called Placed Order.",
        }
    },
    "additionalProperties": False,
}

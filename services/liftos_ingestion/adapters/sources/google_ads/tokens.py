"""Access tokens, bought with a refresh token and used until they end."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from liftos_ingestion.adapters.sources.google_ads.errors import grant_refused
from liftos_ingestion.adapters.sources.platform_http import PlatformHttp
from liftos_ingestion.domain.platform_limits import GOOGLE_ADS
from liftos_ingestion.domain.rate_limits import Limit, RateKey, app_key
from liftos_kit.secrets.secret import Secret

_MARGIN_SECONDS: Final = 60.0
"""So long before its end a token is not used any more: a call takes a while to arrive."""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """What access tokens are bought with.

    Attributes:
        client_id, client_secret: Of the OAuth client.
        refresh_token: Of the user who signed in.
    """

    client_id: str
    client_secret: Secret
    refresh_token: Secret

    @property
    def project(self) -> str:
        """The Cloud project that owns the client: its number, with which client ids begin."""
        number, dash, _ = self.client_id.partition("-")
        return number if dash and number.isdigit() else self.client_id

    def app(self, org: str) -> RateKey:
        """Return what limits of the project are counted under, for all orgs that use the client.

        Which project a client belongs to is no secret, so that only those who have the secret of
        the same client count together.
        """
        return app_key(org, GOOGLE_ADS, self.project, secret=self.client_secret)


@dataclass(frozen=True, slots=True)
class Token:
    """What calls carry.

    Attributes:
        value: The token.
        scopes: What it permits.
        end_seconds: When it is no longer used, by `time.monotonic`.
    """

    value: Secret
    scopes: tuple[str, ...]
    end_seconds: float


class KnownTokens:
    """Remembers the tokens of all sessions, to spare each of them a purchase.

    Only in memory, and never beyond a token's life. One that Google no longer takes is replaced.
    """

    def __init__(self) -> None:
        self._tokens: dict[OAuthClient, Token] = {}
        self._purchases: WeakValueDictionary[OAuthClient, asyncio.Lock] = WeakValueDictionary()

    def purchase(self, client: OAuthClient) -> asyncio.Lock:
        """Return what lets one session buy; the others take what it bought."""
        return self._purchases.setdefault(client, asyncio.Lock())

    def get(self, client: OAuthClient) -> Token | None:
        """Return a token that can be used; None where there is none."""
        token = self._tokens.get(client)
        return token if token is not None and time.monotonic() < token.end_seconds else None

    def keep(self, client: OAuthClient, token: Token) -> None:
        """Remember a token; those that have ended are forgotten."""
        now = time.monotonic()
        self._tokens = {it: known for it, known in self._tokens.items() if now < known.end_seconds}
        self._tokens[client] = token

    def forget(self, client: OAuthClient, token: Token) -> None:
        """Forget a token, unless there is another one by now."""
        if self._tokens.get(client) == token:
            del self._tokens[client]


class AccessToken:
    """The token that the calls of a session carry.

    Args:
        http: Google's host of tokens.
        url: Where it gives tokens out.
        client: What they are bought with.
        limit: What the purchase falls under.
        known: Tokens of other sessions.
    """

    def __init__(
        self, http: PlatformHttp, url: str, client: OAuthClient, *, limit: Limit, known: KnownTokens
    ) -> None:
        self._http = http
        self._path: Final = urlsplit(url).path
        self._client = client
        self._limit = limit
        self._known = known

    async def get(self) -> Token:
        """Return a token; where none is known that can be used, it is bought.

        Raises:
            ReadingError: Google gives none.
            NotReadyError: The project is told to wait.
        """
        known = self._known.get(self._client)
        if known is not None:
            return known
        async with self._known.purchase(self._client):
            return self._known.get(self._client) or await self._bought()

    async def buy(self) -> Token:
        """Buy a token, whatever is known: whether Google gives one is what has to be found out.

        Raises:
            ReadingError: Google gives none.
            NotReadyError: The project is told to wait.
        """
        async with self._known.purchase(self._client):
            return await self._bought()

    def forget(self, token: Token) -> None:
        """Buy another one next time, since Google no longer takes this one."""
        self._known.forget(self._client, token)

    async def _bought(self) -> Token:
        answer = await self._http.call(
            "POST",
            self._path,
            limits=(self._limit,),
            form={
                "grant_type": "refresh_token",
                "client_id": self._client.client_id,
                "client_secret": self._client.client_secret.reveal(),
                "refresh_token": self._client.refresh_token.reveal(),
            },
        )
        fields = answer.data if isinstance(answer.data, dict) else {}
        value, seconds = fields.get("access_token"), fields.get("expires_in")
        if not answer.ok or not isinstance(value, str) or not value:
            raise grant_refused(
                str(fields.get("error", "")),
                str(fields.get("error_description", "")),
                status=500 if answer.ok else answer.status,
            )
        # One that does not say how long it lives is for the call at hand.
        life_seconds = float(seconds) if isinstance(seconds, int) else 0.0
        token = Token(
            Secret(value),
            tuple(str(fields.get("scope", "")).split()),
            time.monotonic() + life_seconds - _MARGIN_SECONDS,
        )
        self._known.keep(self._client, token)
        return token

"""Access tokens, bought with a refresh token and used until they end."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from liftos_ingestion.adapters.sources.access_tokens import KnownTokens, Token, token_of
from liftos_ingestion.adapters.sources.google_ads.errors import grant_refused
from liftos_ingestion.adapters.sources.platform_http import PlatformHttp
from liftos_ingestion.domain.platform_limits import GOOGLE_ADS
from liftos_ingestion.domain.rate_limits import Limit, RateKey, app_key
from liftos_kit.secrets.secret import Secret


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
        self,
        http: PlatformHttp,
        url: str,
        client: OAuthClient,
        *,
        limit: Limit,
        known: KnownTokens[OAuthClient],
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
        return await self._known.get(self._client, self._bought)

    async def buy(self) -> Token:
        """Buy a token, whatever is known: whether Google gives one is what has to be found out.

        Raises:
            ReadingError: Google gives none.
            NotReadyError: The project is told to wait.
        """
        return await self._known.buy(self._client, self._bought)

    def forget(self, token: Token) -> None:
        """Buy another one next time, since Google no longer takes this one."""
        self._known.forget(self._client, token.value.reveal())

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
        value = fields.get("access_token")
        if not answer.ok or not isinstance(value, str) or not value:
            raise grant_refused(
                str(fields.get("error", "")),
                str(fields.get("error_description", "")),
                status=500 if answer.ok else answer.status,
            )
        return token_of(value, scope=fields.get("scope"), expires_in=fields.get("expires_in"))

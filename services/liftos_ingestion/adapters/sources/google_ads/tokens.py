"""The access token of a session, bought with a refresh token."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from liftos_ingestion.adapters.sources.google_ads.errors import grant_refused
from liftos_ingestion.adapters.sources.platform_http import PlatformHttp
from liftos_ingestion.domain.rate_limits import Limit
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


class AccessToken:
    """The token that calls carry; it lives as long as the session.

    Args:
        http: Google's host of tokens.
        url: Where it gives tokens out.
        client: What they are bought with.
        limit: What the purchase falls under.
    """

    def __init__(self, http: PlatformHttp, url: str, client: OAuthClient, limit: Limit) -> None:
        self._http = http
        self._path: Final = urlsplit(url).path
        self._client = client
        self._limit = limit
        self._token: Secret | None = None
        self.scopes: tuple[str, ...] = ()
        """Permissions of the token, once there is one."""

    async def get(self) -> Secret:
        """Return the token; the first time it is bought.

        Raises:
            ReadingError: Google gives none.
            NotReadyError: The project is told to wait.
        """
        if self._token is None:
            self._token = await self._bought()
        return self._token

    def forget(self) -> None:
        """Buy another one next time, since Google no longer takes this one."""
        self._token = None

    async def _bought(self) -> Secret:
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
        token = fields.get("access_token")
        if not answer.ok or not isinstance(token, str) or not token:
            raise grant_refused(
                str(fields.get("error", "")),
                str(fields.get("error_description", "")),
                status=500 if answer.ok else answer.status,
            )
        self.scopes = tuple(str(fields.get("scope", "")).split())
        return Secret(token)

"""Who calls: private keys, and OAuth access tokens with the endpoint that gives them out."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from liftos_platforms import truth
from liftos_platforms.klaviyo.documents import ApiError
from liftos_platforms.truth import Account, AccountState, Grant, Platform, World

KEY_SCHEME: Final = "Klaviyo-API-Key"
BEARER_SCHEME: Final = "Bearer"
ACCESS_LIFETIME: Final = timedelta(hours=1)
CLIENT_ID: Final = "liftos-simulated-app"
CLIENT_SECRET: Final = "liftos-simulated-secret"  # noqa: S105 - it opens nothing but the simulator

_KEY_PREFIX: Final = "pk_"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        account: Whose data they read.
        scopes: What they may read.
        quota: Whose requests theirs are counted with: private keys share the account's, each
            OAuth application has its own.
    """

    account: Account
    scopes: frozenset[str]
    quota: str


class TokenRefusedError(Exception):
    """A token request that is refused in the form of RFC 6749, section 5.2.

    Attributes:
        status: The HTTP status.
        error: The error's code.
    """

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = int(status)
        self.error = error


@dataclass(frozen=True, slots=True)
class _Access:
    refresh_token: str
    client_id: str
    expires_at: datetime


@dataclass(slots=True)
class Tokens:
    """Access tokens that were given out; keys and refresh tokens are the world's grants.

    Attributes:
        clients: Secrets of OAuth applications by client id.
    """

    clients: Mapping[str, str] = field(default_factory=lambda: {CLIENT_ID: CLIENT_SECRET})
    _access: dict[str, _Access] = field(default_factory=dict)

    def caller(self, authorization: str | None, world: World, now: datetime) -> Caller:
        """Return who an `Authorization` header stands for.

        Raises:
            ApiError: 401 where it stands for nobody, 403 where the account is closed.
        """
        if not authorization:
            raise ApiError(
                "Authentication credentials were not provided.", status=HTTPStatus.UNAUTHORIZED
            )
        grant, access = self._grant(authorization, world)
        is_expired = access is not None and now >= access.expires_at
        if grant is None or is_expired or not grant.is_alive(now):
            raise rejected()
        account = truth.account_of(world, Platform.KLAVIYO, grant.account_ids[0])
        if account is None:
            raise rejected()
        if account.state is AccountState.DISABLED:
            raise ApiError(
                "This account has been disabled.",
                status=HTTPStatus.FORBIDDEN,
                code="account_disabled",
            )
        application = "" if access is None else access.client_id
        return Caller(account, grant.scopes, f"{account.account_id}/{application}")

    def account_id(self, authorization: str | None, world: World) -> str:
        """Return whose a key or token is or was; an empty text where it never was anyone's."""
        grant, _ = self._grant(authorization or "", world)
        return "" if grant is None else grant.account_ids[0]

    def _grant(self, authorization: str, world: World) -> tuple[Grant | None, _Access | None]:
        scheme, _, secret = authorization.partition(" ")
        if scheme == KEY_SCHEME and secret.startswith(_KEY_PREFIX):
            return truth.grant_of(world, Platform.KLAVIYO, secret), None
        access = self._access.get(secret) if scheme == BEARER_SCHEME else None
        if access is None:
            return None, None
        return truth.grant_of(world, Platform.KLAVIYO, access.refresh_token), access

    def refresh(
        self, authorization: str | None, form: Mapping[str, str], world: World, now: datetime
    ) -> dict[str, object]:
        """Return the answer to a token request.

        Args:
            authorization: `Basic` with the client's id and secret.
            form: `grant_type=refresh_token` and `refresh_token`.
            world: Whose grants count.
            now: When the access token's hour begins.

        Raises:
            TokenRefusedError: The client, the kind of grant or the grant is not good.
        """
        client_id = self._client(authorization)
        if form.get("grant_type") != "refresh_token":
            raise TokenRefusedError(
                HTTPStatus.BAD_REQUEST,
                "unsupported_grant_type",
                "Only 'refresh_token' is supported.",
            )
        secret = form.get("refresh_token", "")
        grant = None
        if not secret.startswith(_KEY_PREFIX):
            grant = truth.grant_of(world, Platform.KLAVIYO, secret)
        if grant is None or not grant.is_alive(now):
            raise TokenRefusedError(
                HTTPStatus.BAD_REQUEST, "invalid_grant", "The refresh token is not valid."
            )
        serial = len(self._access)
        seed = f"{secret}/{client_id}/{now.isoformat()}/{serial}"
        token = hashlib.sha256(seed.encode()).hexdigest()
        self._access[token] = _Access(secret, client_id, now + ACCESS_LIFETIME)
        return {
            "access_token": token,
            "refresh_token": secret,
            "token_type": "bearer",
            "expires_in": int(ACCESS_LIFETIME.total_seconds()),
            "scope": " ".join(sorted(grant.scopes)),
        }

    def _client(self, authorization: str | None) -> str:
        scheme, _, encoded = (authorization or "").partition(" ")
        try:
            client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            client_id, secret = "", ""
        if scheme != "Basic" or not secret or self.clients.get(client_id) != secret:
            raise TokenRefusedError(
                HTTPStatus.UNAUTHORIZED, "invalid_client", "The client is not known."
            )
        return client_id


def rejected() -> ApiError:
    """Return the refusal of a key or token that opens nothing."""
    return ApiError(
        "Incorrect authentication credentials.",
        status=HTTPStatus.UNAUTHORIZED,
        code="authentication_failed",
    )

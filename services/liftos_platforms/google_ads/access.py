"""Who may read what: access tokens, the tree of customers, and the operations of a day."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import grpc

from liftos_platforms import truth
from liftos_platforms.google_ads.attributes import customers_below
from liftos_platforms.google_ads.failures import QuotaDetails, Refusal, RefusedError, refused
from liftos_platforms.truth import Account, AccountState, Grant, Platform, World, draw_of

SCOPE: Final = "https://www.googleapis.com/auth/adwords"
TOKEN_LIFETIME: Final = timedelta(seconds=3599)
QUOTA_WINDOW: Final = timedelta(hours=24)
OPERATIONS_RATE_NAME: Final = "Number of operations for basic access"


@dataclass(frozen=True, slots=True)
class _Issued:
    refresh_token: str = field(repr=False)
    expires_at: datetime


@dataclass(slots=True)
class AccessTokens:
    """The access tokens that were given out.

    Attributes:
        seed: Same seed, same tokens.
    """

    seed: int
    _issued: dict[str, _Issued] = field(default_factory=dict, repr=False)

    def issue(self, grant: Grant, now: datetime) -> str:
        """Return a new access token for a grant."""
        place = len(self._issued)
        secret = "".join(f"{draw_of(self.seed, 'access', place, n):016x}" for n in range(4))
        token = f"ya29.{secret}"
        self._issued[token] = _Issued(grant.token, now + TOKEN_LIFETIME)
        return token

    def grant_of(self, token: str, world: World, now: datetime) -> Grant:
        """Return the grant that an access token stands for.

        Raises:
            RefusedError: The token is unknown, expired, revoked or lacks the scope.
        """
        issued = self._issued.get(token)
        grant = None
        if issued is not None:
            grant = truth.grant_of(world, Platform.GOOGLE_ADS, issued.refresh_token)
        if issued is None or grant is None:
            raise RefusedError(
                Refusal(
                    grpc.StatusCode.UNAUTHENTICATED,
                    "Request had invalid authentication credentials. Expected OAuth 2 access "
                    "token, login cookie or other valid authentication credential.",
                )
            )
        if not grant.is_alive(now):
            raise token_revoked()
        if now >= issued.expires_at:
            raise token_expired()
        if SCOPE not in grant.scopes:
            raise RefusedError(
                Refusal(
                    grpc.StatusCode.PERMISSION_DENIED,
                    "Request had insufficient authentication scopes.",
                )
            )
        return grant


@dataclass(slots=True)
class Operations:
    """The operations of the last 24 hours, counted for the whole project.

    Attributes:
        limit: Most operations in 24 hours; None for any number.
    """

    limit: int | None
    _times: deque[datetime] = field(default_factory=deque)

    def count(self, now: datetime) -> int:
        """Return how many operations the last 24 hours had."""
        while self._times and self._times[0] <= now - QUOTA_WINDOW:
            self._times.popleft()
        return len(self._times)

    def take(self, now: datetime) -> None:
        """Count an operation.

        Raises:
            RefusedError: There is none left.
        """
        if self.limit is not None and self.count(now) >= self.limit:
            oldest = self._times[0] if self._times else now
            raise operations_gone((oldest + QUOTA_WINDOW - now).total_seconds())
        self._times.append(now)


def bearer_token(authorization: str | None) -> str:
    """Return the token of an `authorization` header.

    Raises:
        RefusedError: There is no such header, or it holds something else.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise RefusedError(
            Refusal(
                grpc.StatusCode.UNAUTHENTICATED,
                "Request is missing required authentication credential. Expected OAuth 2 access "
                "token, login cookie or other valid authentication credential.",
            )
        )
    return token


def open_customer(
    world: World, grant: Grant, customer_id: str, login_customer_id: str | None
) -> Account:
    """Return a customer that a grant opens by way of the customer it logs in to.

    A grant opens the customers that it lists directly. All others are opened by naming one of
    those above them as the login customer.

    Raises:
        RefusedError: The ids are malformed, the way does not lead there, or the customer is closed.
    """
    if not _is_customer_id(customer_id):
        raise refused(
            "request_error",
            "INVALID_CUSTOMER_ID",
            f"Invalid customer ID '{customer_id}'.",
            trigger=customer_id,
        )
    if login_customer_id is not None and not _is_customer_id(login_customer_id):
        raise refused(
            "header_error",
            "INVALID_LOGIN_CUSTOMER_ID",
            "The login customer ID is not ten digits.",
            trigger=login_customer_id,
        )
    door_id = customer_id if login_customer_id is None else login_customer_id
    door = truth.account_of(world, Platform.GOOGLE_ADS, door_id)
    account = truth.account_of(world, Platform.GOOGLE_ADS, customer_id)
    if account is None or door is None or door_id not in grant.account_ids:
        raise permission_denied()
    if account not in (member for member, _ in customers_below(world, door)):
        raise permission_denied()
    if account.state is AccountState.DISABLED:
        raise customer_not_enabled()
    return account


def _is_customer_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) == 10


def token_expired() -> RefusedError:
    """The error for an access token that is too old."""
    return refused("authentication_error", "OAUTH_TOKEN_EXPIRED", "OAuth token has expired.")


def token_revoked() -> RefusedError:
    """The error for an access token whose grant was taken back."""
    return refused("authentication_error", "OAUTH_TOKEN_REVOKED", "OAuth token has been revoked.")


def permission_denied() -> RefusedError:
    """The error for a customer that the caller does not open, or that does not exist."""
    return refused(
        "authorization_error",
        "USER_PERMISSION_DENIED",
        "User doesn't have permission to access customer. Note: If you're accessing a client "
        "customer, the manager's customer id must be set in the 'login-customer-id' header.",
    )


def customer_not_enabled() -> RefusedError:
    """The error for a customer that was closed or never finished."""
    return refused(
        "authorization_error",
        "CUSTOMER_NOT_ENABLED",
        "The customer account can't be accessed because it is not yet enabled or has been "
        "deactivated.",
    )


def operations_gone(retry_delay_seconds: float) -> RefusedError:
    """The error for a project that has used up its operations."""
    return refused(
        "quota_error",
        "RESOURCE_EXHAUSTED",
        "Too many requests. The daily number of operations is used up.",
        quota=QuotaDetails("DEVELOPER", OPERATIONS_RATE_NAME, retry_delay_seconds),
    )

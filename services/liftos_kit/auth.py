"""Who calls: tokens issued, verified, and kept as the principal of the call.

Tokens are JWTs with the claims `iss aud sub org roles scopes iat exp`, signed with HS256 by a
shared secret (development) or with RS256 by a key of a JWKS document (production).
"""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeGuard

import httpx
import jwt
import structlog

from liftos_kit.access import ROLES
from liftos_kit.core.errors import (
    OrgMismatchError,
    RoleInsufficientError,
    StoreUnavailableError,
    TokenExpiredError,
    TokenInvalidError,
)
from liftos_kit.core.names import is_org_id, org_of

LEEWAY_SECONDS: Final = 30.0
"""How far the clocks of issuer and server may differ."""

_REQUIRED_CLAIMS: Final = ("iss", "aud", "sub", "org", "roles", "scopes", "iat", "exp")
_MAXIMUM_TOKEN_BYTES: Final = 4_096
_KEPT_TOKENS: Final = 10_000
_SERVICE_TOKEN_SECONDS: Final = 900.0
_RENEWED_SECONDS: Final = 180.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.auth")


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller, as its token says.

    Attributes:
        subject: Who it is.
        org: The org that all it may see belongs to.
        roles: Among `ROLES`.
        scopes: Services it may call.
        expires_at: End of the token, in seconds since 1970.
    """

    subject: str
    org: str
    roles: frozenset[str]
    scopes: frozenset[str]
    expires_at: float

    def has_role(self, role: str) -> bool:
        """Tell whether the principal holds a role or a higher one."""
        return not self.roles.isdisjoint(ROLES[ROLES.index(role) :])


_PRINCIPAL: Final[ContextVar[Principal]] = ContextVar("liftos_principal")


def current_principal() -> Principal:
    """Return the caller of the present call.

    Raises:
        LookupError: There is no call, or its method is open to all.
    """
    return _PRINCIPAL.get()


def set_principal(principal: Principal) -> None:
    """Make this the caller for the rest of the present task."""
    _PRINCIPAL.set(principal)


def require_org(name: str, *, field: str = "parent") -> str:
    """Return the caller's org after checking that a resource name belongs to it.

    Raises:
        InvalidFieldsError: The name does not begin with `orgs/{org}`.
        OrgMismatchError: It begins with another org.
    """
    org = current_principal().org
    if org_of(name, field=field) != org:
        raise OrgMismatchError(field)
    return org


def require_role(role: str) -> None:
    """Check that the caller has a role, for what only some calls of a method need.

    Raises:
        RoleInsufficientError: It has only lower ones.
    """
    if not current_principal().has_role(role):
        raise RoleInsufficientError(role)


class KeySource(Protocol):
    """Where the keys that verify tokens come from."""

    @property
    def algorithm(self) -> str:
        """The one algorithm that tokens may use."""
        ...

    async def key(self, key_id: str | None) -> "jwt.PyJWK | bytes":
        """Return the key of this id.

        Raises:
            TokenInvalidError: There is no such key.
            StoreUnavailableError: The keys cannot be fetched.
        """
        ...


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """HS256 with one secret, for development."""

    secret: bytes = field(repr=False)
    algorithm: str = "HS256"

    async def key(self, key_id: str | None) -> bytes:  # noqa: ARG002  # there is but one
        """Return the secret, whatever the id."""
        return self.secret


class JwksKeys:
    """RS256 with the keys of a JWKS document, kept and fetched again for an unknown key id.

    Args:
        fetch: Gets the document.
        minimum_refresh_seconds: Least time between two fetches, so that made-up key ids cannot
            turn the server against the issuer.
        monotonic_seconds: Time.
    """

    algorithm: Final = "RS256"

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        *,
        minimum_refresh_seconds: float = 30.0,
        monotonic_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._minimum_refresh_seconds = minimum_refresh_seconds
        self._monotonic_seconds = monotonic_seconds
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._lock = asyncio.Lock()

    async def key(self, key_id: str | None) -> jwt.PyJWK:
        """Return the key of this id, fetching the document if it is new."""
        if key_id is None:
            raise TokenInvalidError("it does not name its key (kid)")
        if key_id not in self._keys:
            await self._refresh(key_id)
        found = self._keys.get(key_id)
        if found is None:
            raise TokenInvalidError("its key (kid) is not known")
        return found

    async def _refresh(self, key_id: str) -> None:
        async with self._lock:
            now = self._monotonic_seconds()
            recent = (
                self._fetched_at is not None
                and now - self._fetched_at < self._minimum_refresh_seconds
            )
            if key_id in self._keys or recent:
                return
            self._fetched_at = now
            try:
                self._keys = _parse_jwks(await self._fetch())
            except (httpx.HTTPError, OSError, ValueError, jwt.PyJWTError) as error:
                _log.warning("jwks_fetch_failed", error=type(error).__name__)
                if not self._keys:
                    # Nobody can be let in yet, so the next call may try again at once.
                    self._fetched_at = None
                    raise StoreUnavailableError("jwks") from None


def _parse_jwks(document: bytes) -> Mapping[str, jwt.PyJWK]:
    keys = jwt.PyJWKSet.from_dict(json.loads(document)).keys
    return {
        key.key_id: key
        for key in keys
        if key.key_id is not None and key.key_type == "RSA" and key.public_key_use in (None, "sig")
    }


def jwks_from_file(path: Path) -> Callable[[], Awaitable[bytes]]:
    """Return a fetch of a JWKS document on disk."""

    async def fetch() -> bytes:
        return await asyncio.to_thread(path.read_bytes)

    return fetch


def jwks_from_url(url: str, *, timeout_seconds: float = 5.0) -> Callable[[], Awaitable[bytes]]:
    """Return a fetch of a JWKS document over HTTP."""

    async def fetch() -> bytes:
        async with httpx.AsyncClient(timeout=timeout_seconds) as client:
            return (await client.get(url)).raise_for_status().content

    return fetch


class TokenVerifier:
    """Turns tokens into principals; remembers those it has verified until they expire.

    Args:
        keys: Keys, and the one algorithm.
        issuer: Required `iss`.
        audience: Required `aud`.
        now_seconds: Seconds since 1970.
    """

    def __init__(
        self,
        keys: KeySource,
        *,
        issuer: str,
        audience: str,
        now_seconds: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._now_seconds = now_seconds
        self._verified: OrderedDict[str, Principal] = OrderedDict()

    def recall(self, token: str) -> Principal | None:
        """Return the principal of a token verified before and still valid, or None."""
        principal = self._verified.get(token)
        if principal is None or self._is_expired(principal.expires_at):
            return None
        return principal

    async def verify(self, token: str) -> Principal:
        """Return who a token stands for.

        Raises:
            TokenInvalidError: It is malformed, wrongly signed or for someone else.
            TokenExpiredError: It was good.
            StoreUnavailableError: The issuer's keys cannot be fetched.
        """
        if len(token) > _MAXIMUM_TOKEN_BYTES:
            raise TokenInvalidError("it is too long")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise TokenInvalidError("it is not a JWT") from None
        # The algorithm is ours to say: a token that names another, or none, goes no further.
        if header.get("alg") != self._keys.algorithm:
            raise TokenInvalidError(f"it is not signed with {self._keys.algorithm}")
        key = await self._keys.key(header.get("kid"))
        principal = _principal(self._claims(token, key))
        self._verified[token] = principal
        if len(self._verified) > _KEPT_TOKENS:
            self._verified.popitem(last=False)
        return principal

    def _is_expired(self, expires_at: float) -> bool:
        return expires_at + LEEWAY_SECONDS <= self._now_seconds()

    def _claims(self, token: str, key: "jwt.PyJWK | bytes") -> Mapping[str, object]:
        try:
            claims: Mapping[str, object] = jwt.decode(
                token,
                key,
                algorithms=[self._keys.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
                # Time is checked below, by the same clock as for remembered tokens.
                options={
                    "require": list(_REQUIRED_CLAIMS),
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidAudienceError:
            raise TokenInvalidError("it is for another audience") from None
        except jwt.InvalidIssuerError:
            raise TokenInvalidError("it is from another issuer") from None
        except jwt.MissingRequiredClaimError as error:
            raise TokenInvalidError(f"it has no claim {error.claim}") from None
        except jwt.InvalidSignatureError:
            raise TokenInvalidError("its signature is wrong") from None
        except jwt.PyJWTError:
            raise TokenInvalidError("it cannot be read") from None
        expires_at, not_before = claims["exp"], claims.get("nbf", claims["iat"])
        if not _is_number(expires_at) or not _is_number(not_before):
            raise TokenInvalidError("its times are not numbers")
        if self._is_expired(float(expires_at)):
            raise TokenExpiredError
        if float(not_before) - LEEWAY_SECONDS > self._now_seconds():
            raise TokenInvalidError("it is not valid yet")
        return claims


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _principal(claims: Mapping[str, object]) -> Principal:
    subject, org = claims["sub"], claims["org"]
    if not isinstance(subject, str) or not subject:
        raise TokenInvalidError("its claim sub is empty")
    if not isinstance(org, str) or not is_org_id(org):
        raise TokenInvalidError("its claim org is no org id")
    roles = _texts(claims["roles"], claim="roles")
    if not roles <= set(ROLES):
        raise TokenInvalidError(f"its claim roles may hold {', '.join(ROLES)} only")
    expires_at = claims["exp"]
    assert isinstance(expires_at, int | float)
    return Principal(
        subject=subject,
        org=org,
        roles=roles,
        scopes=_texts(claims["scopes"], claim="scopes"),
        expires_at=float(expires_at),
    )


def _texts(value: object, *, claim: str) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TokenInvalidError(f"its claim {claim} is no list of texts")
    return frozenset(value)


def issue_token(
    *,
    secret: bytes,
    org: str,
    subject: str = "developer",
    roles: Iterable[str] = ("admin",),
    scopes: Iterable[str] = ("memory", "ingestion", "migration", "causal"),
    issuer: str = "liftos",
    audience: str = "liftos",
    lifetime_seconds: float = 3_600.0,
    now_seconds: float | None = None,
) -> str:
    """Return a token signed with HS256, for development and tests.

    Raises:
        ValueError: The org or a role is none.
    """
    held = list(roles)
    if not is_org_id(org):
        raise ValueError(
            f"{org!r} is no org id: lower-case letters, digits and hyphens, at most 63"
        )
    if unknown := set(held) - set(ROLES):
        raise ValueError(f"unknown roles {', '.join(sorted(unknown))}; use {', '.join(ROLES)}")
    now = time.time() if now_seconds is None else now_seconds
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "org": org,
        "roles": held,
        "scopes": list(scopes),
        "iat": int(now),
        "exp": int(now + lifetime_seconds),
    }
    return jwt.encode(claims, secret, algorithm="HS256")


class ServiceTokens:
    """Tokens with which a service calls another one in the name of an org.

    Each is kept until shortly before its end.

    Args:
        key: The shared secret of HS256, or the private key of RS256 as PEM.
        algorithm: HS256 or RS256.
        key_id: The `kid` under which the JWKS document has the public key; for RS256.
        subject: The calling service, as `liftos-ingestion`.
        scopes: The services that it calls.
        issuer: As the called service expects it.
        audience: As the called service expects it.
    """

    def __init__(
        self,
        key: bytes,
        *,
        algorithm: str,
        subject: str,
        scopes: Iterable[str],
        issuer: str,
        audience: str,
        key_id: str | None = None,
    ) -> None:
        self._key = key
        self._algorithm = algorithm
        self._headers = {"kid": key_id} if key_id else None
        self._claims = {
            "iss": issuer,
            "aud": audience,
            "sub": subject,
            "roles": [ROLES[-1]],
            "scopes": list(scopes),
        }
        self._kept: dict[str, tuple[str, float]] = {}

    def token(self, org: str) -> str:
        """Return a token for an org that holds for minutes at least."""
        now = time.time()
        kept = self._kept.get(org)
        if kept is not None and kept[1] > now + _RENEWED_SECONDS:
            return kept[0]
        end = now + _SERVICE_TOKEN_SECONDS
        claims = {**self._claims, "org": org, "iat": int(now), "exp": int(end)}
        token = jwt.encode(claims, self._key, algorithm=self._algorithm, headers=self._headers)
        self._kept[org] = (token, end)
        return token

"""Keys are fetched when needed and no more often; verified tokens are remembered until they end."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from liftos_kit.auth import (
    LEEWAY_SECONDS,
    JwksKeys,
    Principal,
    SharedSecret,
    TokenVerifier,
    issue_token,
    require_org,
    set_principal,
)
from liftos_kit.core.errors import (
    InvalidFieldsError,
    OrgMismatchError,
    StoreUnavailableError,
    TokenExpiredError,
    TokenInvalidError,
)

SECRET = b"a secret of more than thirty-two bytes"


class _Issuer:
    """An issuer whose document changes and which may be down; counts fetches."""

    def __init__(self) -> None:
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        self.problem: Exception | None = None
        self.fetches = 0

    def add(self, kid: str) -> None:
        self.keys[kid] = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    async def fetch(self) -> bytes:
        self.fetches += 1
        await asyncio.sleep(0)
        if self.problem is not None:
            raise self.problem
        algorithm = jwt.get_algorithm_by_name("RS256")
        listed = [
            {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}
            for kid, key in self.keys.items()
        ]
        return json.dumps({"keys": listed}).encode()


class _Time:
    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_new_key_is_fetched_when_it_is_first_named() -> None:
    """A rotated key works at once; many calls at the same time fetch once."""
    issuer, time = _Issuer(), _Time()
    issuer.add("one")
    keys = JwksKeys(issuer.fetch, monotonic_seconds=time)
    await asyncio.gather(*(keys.key("one") for _ in range(10)))
    assert issuer.fetches == 1
    issuer.add("two")
    time.seconds += 31
    await keys.key("two")
    await keys.key("one")
    assert issuer.fetches == 2


async def test_made_up_key_ids_do_not_reach_the_issuer() -> None:
    """Between two fetches lies a least time, whatever ids are asked for."""
    issuer, time = _Issuer(), _Time()
    issuer.add("one")
    keys = JwksKeys(issuer.fetch, monotonic_seconds=time)
    for number in range(20):
        with pytest.raises(TokenInvalidError, match="not known"):
            await keys.key(f"made up {number}")
    with pytest.raises(TokenInvalidError, match="name its key"):
        await keys.key(None)
    assert issuer.fetches == 1


@pytest.mark.parametrize(
    "problem", [httpx.ConnectError("down"), FileNotFoundError(), ValueError("no JSON")]
)
async def test_an_issuer_that_is_down(problem: Exception) -> None:
    """Known keys stay good; without any the caller may try again, and is told so."""
    issuer, time = _Issuer(), _Time()
    issuer.problem = problem
    keys = JwksKeys(issuer.fetch, monotonic_seconds=time)
    with pytest.raises(StoreUnavailableError):
        await keys.key("one")
    issuer.add("one")
    issuer.problem = None
    known = await keys.key("one")
    issuer.problem = problem
    time.seconds += 31
    with pytest.raises(TokenInvalidError):
        await keys.key("two")
    assert known is await keys.key("one")


def _verifier(now: Callable[[], float]) -> TokenVerifier:
    return TokenVerifier(SharedSecret(SECRET), issuer="liftos", audience="liftos", now_seconds=now)


async def test_a_remembered_token_ends_in_time() -> None:
    """What was verified once is trusted until its end and the leeway, not longer."""
    time = _Time()
    verifier = _verifier(time)
    token = issue_token(secret=SECRET, org="acme", lifetime_seconds=60, now_seconds=time.seconds)
    assert verifier.recall(token) is None
    principal = await verifier.verify(token)
    assert principal == verifier.recall(token)
    time.seconds += 60 + LEEWAY_SECONDS - 1
    assert principal == verifier.recall(token)
    time.seconds += 1
    assert verifier.recall(token) is None
    with pytest.raises(TokenExpiredError):
        await verifier.verify(token)


@pytest.mark.parametrize("values", [{"org": "No Org"}, {"org": "acme", "roles": ["owner"]}])
def test_tokens_that_no_server_would_take_are_not_issued(values: dict[str, Any]) -> None:
    """A slip of the pen shows when the token is made."""
    with pytest.raises(ValueError, match=r"org id|unknown roles"):
        issue_token(secret=SECRET, **values)


def test_secrets_do_not_show() -> None:
    """The secret is in no repr."""
    assert "thirty" not in repr(SharedSecret(SECRET))


async def test_the_org_of_a_name_is_the_callers() -> None:
    """The org comes from the token; a name can only agree with it."""
    set_principal(Principal("somebody", "acme", frozenset({"reader"}), frozenset(), 0.0))
    assert require_org("orgs/acme/entries/1", field="name") == "acme"
    with pytest.raises(OrgMismatchError):
        require_org("orgs/acme2")
    with pytest.raises(InvalidFieldsError):
        require_org("acme")

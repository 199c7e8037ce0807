"""Tokens that the command line signs, as the services read them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_cli.errors import CommandError
from liftos_cli.tokens import ROLES, SCOPES, issue_token, lifetime_seconds
from liftos_kit.auth import SharedSecret, TokenVerifier

_ORGS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)


@given(
    org=_ORGS,
    roles=st.lists(st.sampled_from(ROLES), min_size=1),
    scopes=st.lists(st.sampled_from(SCOPES), min_size=1),
    secret=st.text(st.characters(codec="ascii"), min_size=32, max_size=64),
)
async def test_services_accept_what_is_signed(
    org: str, roles: list[str], scopes: list[str], secret: str
) -> None:
    """A token says to a service what was asked of `liftos token`."""
    token = issue_token(
        secret, org=org, roles=roles, scopes=scopes, subject="me", lifetime_seconds=60
    )
    verifier = TokenVerifier(SharedSecret(secret.encode()), issuer="liftos", audience="liftos")
    principal = await verifier.verify(token)
    assert (principal.org, principal.subject) == (org, "me")
    assert (principal.roles, principal.scopes) == (frozenset(roles), frozenset(scopes))
    assert abs(principal.expires_at - time.time() - 60) < 5


@pytest.mark.parametrize(
    ("org", "role", "word"),
    [("Demo", "admin", "organisation"), ("", "admin", "organisation"), ("demo", "root", "role")],
)
def test_what_no_service_takes_is_not_signed(org: str, role: str, word: str) -> None:
    """A wrong organisation or role is an error of usage."""
    with pytest.raises(CommandError, match=word) as raised:
        issue_token("s" * 32, org=org, roles=[role], subject="me", lifetime_seconds=60)
    assert raised.value.advice


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("1h", 3_600), ("7d", 604_800)]
)
def test_lifetimes_have_units(text: str, seconds: int) -> None:
    """A number and a letter."""
    assert lifetime_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "0m", "-1h", "1w", "1 h", "400d", "1e3s"])
def test_other_lifetimes_are_refused(text: str) -> None:
    """No unit, none at all, or more than a year."""
    with pytest.raises(CommandError):
        lifetime_seconds(text)

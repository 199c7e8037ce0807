"""Tokens, doors, operations and page tokens hold for as long and as far as the platform says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_platforms import truth
from liftos_platforms.google_ads.access import (
    AccessTokens,
    Operations,
    bearer_token,
    open_customer,
)
from liftos_platforms.google_ads.failures import RefusedError, error_object, trailing_metadata
from liftos_platforms.google_ads.messages import Failure
from liftos_platforms.google_ads.page_tokens import PAGE_TOKEN_LIFETIME, Place, SearchTokens
from liftos_platforms.google_ads.troubles import version_unsupported
from liftos_platforms.truth import Grant, Platform
from liftos_platforms.worlds import WorldPlan, build_world, token_of

_NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)
_WORLD = build_world(WorldPlan())


def _grant() -> Grant:
    grant = truth.grant_of(_WORLD, Platform.GOOGLE_ADS, token_of(7, Platform.GOOGLE_ADS))
    assert grant is not None
    return grant


def _code(error: RefusedError) -> str:
    return error.refusal.code or error.refusal.status.name


@given(
    st.lists(st.integers(0, 200_000), min_size=1, max_size=40),
    st.integers(1, 8),
)
def test_operations_roll_over_24_hours(seconds: list[int], limit: int) -> None:
    """An operation is refused exactly when the 24 hours before it hold the limit already."""
    operations = Operations(limit)
    taken: list[int] = []
    for second in sorted(seconds):
        recent = [earlier for earlier in taken if earlier > second - 86_400]
        now = _NOW + timedelta(seconds=second)
        if len(recent) < limit:
            operations.take(now)
            taken.append(second)
            continue
        with pytest.raises(RefusedError) as caught:
            operations.take(now)
        refusal = caught.value.refusal
        assert (refusal.category, refusal.code) == ("quota_error", "RESOURCE_EXHAUSTED")
        assert refusal.quota is not None
        assert refusal.quota.retry_delay_seconds == recent[0] + 86_400 - second


def test_access_tokens_live_an_hour_and_die_with_their_grant() -> None:
    """A token opens until it expires, is unknown elsewhere, and ends with its grant."""
    tokens = AccessTokens(7)
    token = tokens.issue(_grant(), _NOW)
    assert tokens.issue(_grant(), _NOW) != token
    assert token not in repr(tokens)
    assert tokens.grant_of(token, _WORLD, _NOW + timedelta(seconds=3598)) == _grant()
    revoked = truth.with_grant(_WORLD, replace(_grant(), revoked=True))
    narrowed = truth.with_grant(_WORLD, replace(_grant(), scopes=frozenset()))
    for world, now, held, expected in (
        (_WORLD, _NOW + timedelta(seconds=3599), token, "OAUTH_TOKEN_EXPIRED"),
        (revoked, _NOW, token, "OAUTH_TOKEN_REVOKED"),
        (narrowed, _NOW, token, "PERMISSION_DENIED"),
        (_WORLD, _NOW, "ya29.other", "UNAUTHENTICATED"),
    ):
        with pytest.raises(RefusedError) as caught:
            tokens.grant_of(held, world, now)
        assert _code(caught.value) == expected


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "abc"])
def test_only_bearer_tokens_are_read(header: str | None) -> None:
    """Anything but `Bearer` and a token is no credential."""
    with pytest.raises(RefusedError) as caught:
        bearer_token(header)
    assert caught.value.refusal.status is grpc.StatusCode.UNAUTHENTICATED
    assert bearer_token("Bearer abc") == "abc"


@pytest.mark.parametrize(
    ("customer_id", "login_customer_id", "code"),
    [
        ("9000000001", None, ""),
        ("9000000002", "9000000001", ""),
        ("1112223331", "9000000001", ""),
        ("1112223331", "9000000002", ""),
        ("1112223333", "9000000001", ""),
        ("1112223331", None, "USER_PERMISSION_DENIED"),
        ("1112223332", "9000000002", "USER_PERMISSION_DENIED"),
        ("1112223331", "1112223331", "USER_PERMISSION_DENIED"),
        ("9999999999", "9000000001", "USER_PERMISSION_DENIED"),
        ("1112223336", "9000000001", "CUSTOMER_NOT_ENABLED"),
        ("111-222-3331", "9000000001", "INVALID_CUSTOMER_ID"),
        ("1112223331", "900-000-0001", "INVALID_LOGIN_CUSTOMER_ID"),
    ],
)
def test_a_customer_opens_only_through_one_above_it(
    customer_id: str, login_customer_id: str | None, code: str
) -> None:
    """The login customer is one that the grant lists, and the customer is below it or itself."""
    if not code:
        account = open_customer(_WORLD, _grant(), customer_id, login_customer_id)
        assert account.account_id == customer_id
        return
    with pytest.raises(RefusedError) as caught:
        open_customer(_WORLD, _grant(), customer_id, login_customer_id)
    assert _code(caught.value) == code


@given(st.integers(0, 10**6), st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_page_tokens_serve_one_query_of_one_customer(page: int, query: str, other: str) -> None:
    """A token gives its place back for its own request only, and only for an hour."""
    tokens = SearchTokens(b"0123456789abcdef")
    place = Place(page, _NOW)
    token = tokens.token(place, customer_id="1112223331", query=query, now=_NOW)
    later = _NOW + PAGE_TOKEN_LIFETIME - timedelta(seconds=1)
    assert tokens.place(token, customer_id="1112223331", query=query, now=later) == place
    assert tokens.place("", customer_id="1112223331", query=query, now=later) == Place(0, later)
    for customer_id, text, now, code in (
        ("1112223332", query, later, "INVALID_PAGE_TOKEN"),
        ("1112223331", query + other, later, "INVALID_PAGE_TOKEN"),
        ("1112223331", query, _NOW + PAGE_TOKEN_LIFETIME, "EXPIRED_PAGE_TOKEN"),
    ):
        with pytest.raises(RefusedError) as caught:
            tokens.place(token, customer_id=customer_id, query=text, now=now)
        assert _code(caught.value) == code


def test_a_failure_is_named_for_the_version_that_was_called() -> None:
    """Trailers carry the failure under the version's own name, REST carries it as an object."""
    refusal = version_unsupported().refusal
    trailers = dict(trailing_metadata(refusal, "42", version="v21"))
    failure = Failure.FromString(trailers["google.ads.googleads.v21.errors.googleadsfailure-bin"])
    assert failure.errors[0].error_code.request_error == 38
    assert failure.request_id == trailers["request-id"] == "42"
    error = error_object(refusal, "42")["error"]
    assert isinstance(error, dict)
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["details"][0]["requestId"] == "42"

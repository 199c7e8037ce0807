"""What Google's errors mean."""

from typing import Final

import grpc
import pytest
from google.ads.googleads.v26.errors.types.errors import ErrorCode

from liftos_ingestion.adapters.sources.google_ads.errors import (
    RULES,
    ApiError,
    Remedy,
    broken_too_often,
    classified,
    grant_refused,
    silent,
    status_error,
)
from liftos_ingestion.domain.failures import ErrorClass

_STATUSES: Final = {status.name for status in grpc.StatusCode}


def test_the_table_names_only_what_google_publishes() -> None:
    """A misspelt kind or code would never fit anything."""
    fields = ErrorCode.pb().DESCRIPTOR.fields_by_name
    for rule in RULES:
        if rule.kind == "status":
            assert set(rule.codes) <= _STATUSES
        else:
            assert set(rule.codes) <= set(fields[rule.kind].enum_type.values_by_name)


def test_every_rule_can_be_reached() -> None:
    """None is hidden behind one that fits all of its errors."""
    fields = ErrorCode.pb().DESCRIPTOR.fields_by_name
    for place, rule in enumerate(RULES):
        codes = (
            _STATUSES if rule.kind == "status" else set(fields[rule.kind].enum_type.values_by_name)
        )
        kind = "" if rule.kind == "status" else rule.kind
        errors = [ApiError(kind, it, rule.words) for it in rule.codes or codes]
        assert any(not any(it.fits(error) for it in RULES[:place]) for error in errors), rule


@pytest.mark.parametrize(
    ("kind", "code", "error_class", "remedy"),
    [
        ("quota_error", "RESOURCE_TEMPORARILY_EXHAUSTED", ErrorClass.RATE_LIMITED, Remedy.NONE),
        ("quota_error", "RESOURCE_EXHAUSTED", ErrorClass.QUOTA_EXHAUSTED, Remedy.NONE),
        ("quota_error", "ACCESS_PROHIBITED", ErrorClass.PERMISSION, Remedy.NONE),
        (
            "quota_error",
            "EXCESSIVE_SHORT_TERM_QUERY_RESOURCE_CONSUMPTION",
            ErrorClass.RATE_LIMITED,
            Remedy.NONE,
        ),
        (
            "quota_error",
            "EXCESSIVE_LONG_TERM_QUERY_RESOURCE_CONSUMPTION",
            ErrorClass.QUOTA_EXHAUSTED,
            Remedy.NONE,
        ),
        ("", "RESOURCE_EXHAUSTED", ErrorClass.TRANSIENT, Remedy.NONE),
        ("", "UNAVAILABLE", ErrorClass.TRANSIENT, Remedy.NONE),
        ("", "INTERNAL", ErrorClass.TRANSIENT, Remedy.NONE),
        ("", "DEADLINE_EXCEEDED", ErrorClass.TRANSIENT, Remedy.FEWER_DAYS),
        ("internal_error", "DEADLINE_EXCEEDED", ErrorClass.TRANSIENT, Remedy.FEWER_DAYS),
        ("internal_error", "TRANSIENT_ERROR", ErrorClass.TRANSIENT, Remedy.NONE),
        ("query_error", "UNRECOGNIZED_FIELD", ErrorClass.PERMANENT, Remedy.NONE),
        ("query_error", "REQUESTED_METRICS_FOR_MANAGER", ErrorClass.PERMANENT, Remedy.NONE),
        ("query_error", "DATE_RANGE_TOO_WIDE", ErrorClass.TOO_LARGE, Remedy.NONE),
        ("request_error", "RPC_DEADLINE_TOO_SHORT", ErrorClass.TRANSIENT, Remedy.NONE),
        ("request_error", "UNSUPPORTED_VERSION", ErrorClass.VERSION, Remedy.NONE),
        ("", "UNIMPLEMENTED", ErrorClass.VERSION, Remedy.NONE),
        ("", "UNAUTHENTICATED", ErrorClass.CREDENTIALS, Remedy.NEW_TOKEN),
        ("authentication_error", "OAUTH_TOKEN_EXPIRED", ErrorClass.TRANSIENT, Remedy.NEW_TOKEN),
        ("authentication_error", "OAUTH_TOKEN_INVALID", ErrorClass.CREDENTIALS, Remedy.NEW_TOKEN),
        ("authentication_error", "OAUTH_TOKEN_REVOKED", ErrorClass.CREDENTIALS, Remedy.NONE),
        (
            "authentication_error",
            "TWO_STEP_VERIFICATION_NOT_ENROLLED",
            ErrorClass.CREDENTIALS,
            Remedy.NONE,
        ),
        ("authorization_error", "USER_PERMISSION_DENIED", ErrorClass.PERMISSION, Remedy.OTHER_WAY),
        (
            "authorization_error",
            "CLOUD_PROJECT_NOT_APPROVED_FOR_PRODUCTION",
            ErrorClass.PERMISSION,
            Remedy.NONE,
        ),
        ("authorization_error", "CUSTOMER_NOT_ENABLED", ErrorClass.ACCOUNT_CLOSED, Remedy.NONE),
        ("header_error", "INVALID_LOGIN_CUSTOMER_ID", ErrorClass.PERMISSION, Remedy.OTHER_WAY),
        ("ad_error", "UNKNOWN", ErrorClass.PERMANENT, Remedy.NONE),
        ("quota_error", "999", ErrorClass.QUOTA_EXHAUSTED, Remedy.NONE),
    ],
)
def test_what_an_error_means(kind: str, code: str, error_class: ErrorClass, remedy: Remedy) -> None:
    """One class and one remedy for each."""
    error = classified([ApiError(kind, code, "It said so.")], request_id="r-1")
    assert (error.failure.error_class, error.remedy) == (error_class, remedy)
    assert error.failure.platform_request_id == "r-1"
    assert error.failure.message.startswith("Google Ads: It said so")


@pytest.mark.parametrize("code", ["OAUTH_TOKEN_EXPIRED", "OAUTH_TOKEN_INVALID"])
def test_a_token_that_was_taken_and_no_longer_is(code: str) -> None:
    """It has ended in the midst of an answer, which says nothing of the credential or the size."""
    error = classified([ApiError("authentication_error", code, "")], has_begun=True)
    assert (error.failure.error_class, error.remedy) == (ErrorClass.TRANSIENT, Remedy.NEW_TOKEN)


def test_a_message_that_is_too_large_is_no_quota() -> None:
    """The status is the same; fewer days make smaller messages."""
    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    said = "CLIENT: Received message larger than max (68157495 vs. 67108864)"
    error = classified([status_error(status, said)])
    assert error.failure.error_class is ErrorClass.TOO_LARGE
    assert error.failure.platform_code == "RESOURCE_EXHAUSTED"


def test_what_breaks_off_may_need_fewer_days() -> None:
    """An outage before the first row says nothing of the size of the answer."""
    outage = [status_error(grpc.StatusCode.UNAVAILABLE, "")]
    assert classified(outage).remedy is Remedy.NONE
    broken = classified(outage, has_begun=True)
    assert broken.remedy is Remedy.FEWER_DAYS
    assert silent(60).remedy is Remedy.FEWER_DAYS
    too_large = broken_too_often(broken, 3).failure
    assert (too_large.error_class, too_large.platform_code) == (
        ErrorClass.TOO_LARGE,
        "UNAVAILABLE",
    )


def test_of_several_errors_the_weightiest_decides() -> None:
    """The order in which Google lists them does not."""
    errors = [
        ApiError("query_error", "UNRECOGNIZED_FIELD", "a"),
        ApiError("quota_error", "RESOURCE_EXHAUSTED", "b"),
    ]
    for ordered in (errors, errors[::-1]):
        failure = classified(ordered, regain_seconds=60.0).failure
        assert failure.platform_code == "QuotaError.RESOURCE_EXHAUSTED"
        assert failure.retry_after_seconds == 60.0


@pytest.mark.parametrize(
    ("error", "status", "error_class", "code"),
    [
        ("invalid_grant", 400, ErrorClass.CREDENTIALS, "invalid_grant"),
        ("invalid_client", 401, ErrorClass.CREDENTIALS, "invalid_client"),
        ("", 503, ErrorClass.TRANSIENT, "503"),
        ("", 429, ErrorClass.TRANSIENT, "429"),
        ("", 403, ErrorClass.CREDENTIALS, "403"),
    ],
)
def test_what_the_token_endpoint_says(
    error: str, status: int, error_class: ErrorClass, code: str
) -> None:
    """A refusal is the credential's, an outage is not."""
    failure = grant_refused(error, "Bad Request", status=status).failure
    assert (failure.error_class, failure.platform_code) == (error_class, code)

"""The errors that planned faults answer with."""

from collections.abc import Callable, Mapping
from typing import Final

import grpc

from liftos_platforms.faults import Fault, FaultKind
from liftos_platforms.google_ads import access
from liftos_platforms.google_ads.failures import QuotaDetails, Refusal, RefusedError, refused

DEFAULT_RETRY_SECONDS: Final = 30
DAY_SECONDS: Final = 86_400

LAST_RETIRED_VERSION: Final = 22
"""Versions up to this one have been shut down."""


def error_of(fault: Fault) -> RefusedError | None:
    """Return the error that keeps a call from being handled; None for faults of other kinds."""
    make = _ERRORS.get(fault.kind)
    return None if make is None else make(fault)


def unavailable() -> RefusedError:
    """The error for a server that is not there for a moment."""
    return RefusedError(
        Refusal(grpc.StatusCode.UNAVAILABLE, "The service is currently unavailable.")
    )


def page_token_expired() -> RefusedError:
    """The error for a page token that is too old."""
    return refused(
        "request_error", "EXPIRED_PAGE_TOKEN", "Page token has expired; start from the first page."
    )


def version_unsupported() -> RefusedError:
    """The error for a version of the API that has been shut down."""
    return refused(
        "request_error",
        "UNSUPPORTED_VERSION",
        "Version is deprecated. Requests to this version will be blocked.",
    )


def _too_many(fault: Fault) -> RefusedError:
    seconds = DEFAULT_RETRY_SECONDS if fault.amount is None else fault.amount
    scope = fault.field or "ACCOUNT"
    return refused(
        "quota_error",
        "RESOURCE_TEMPORARILY_EXHAUSTED",
        f"Too many requests. Retry in {seconds} seconds.",
        quota=QuotaDetails(scope, "Requests per minute", seconds),
    )


def _quota(code: str, message: str) -> Callable[[Fault], RefusedError]:
    return lambda _: refused("quota_error", code, message)


_ERRORS: Final[Mapping[FaultKind, Callable[[Fault], RefusedError]]] = {
    FaultKind.QUOTA_TEMPORARILY_EXHAUSTED: _too_many,
    FaultKind.QUOTA_EXHAUSTED: lambda fault: access.operations_gone(
        DAY_SECONDS if fault.amount is None else fault.amount
    ),
    FaultKind.QUOTA_ACCESS_PROHIBITED: _quota("ACCESS_PROHIBITED", "Access is prohibited."),
    FaultKind.QUERIES_TOO_HEAVY_SHORT_TERM: _quota(
        "EXCESSIVE_SHORT_TERM_QUERY_RESOURCE_CONSUMPTION",
        "Too many expensive queries over a short time.",
    ),
    FaultKind.QUERIES_TOO_HEAVY_LONG_TERM: _quota(
        "EXCESSIVE_LONG_TERM_QUERY_RESOURCE_CONSUMPTION",
        "Too many expensive queries over a long time.",
    ),
    FaultKind.EXHAUSTED_WITHOUT_DETAILS: lambda _: RefusedError(
        Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "Resource has been exhausted.")
    ),
    FaultKind.UNAVAILABLE_AT_START: lambda _: unavailable(),
    FaultKind.INTERNAL_TRANSIENT: lambda _: refused(
        "internal_error", "TRANSIENT_ERROR", "Internal error encountered; try again."
    ),
    FaultKind.SERVER_DEADLINE: lambda _: refused(
        "internal_error",
        "DEADLINE_EXCEEDED",
        "The deadline of the server is exceeded.",
        status=grpc.StatusCode.DEADLINE_EXCEEDED,
    ),
    FaultKind.ACCESS_TOKEN_EXPIRED: lambda _: access.token_expired(),
    FaultKind.ACCESS_REVOKED: lambda _: access.token_revoked(),
    FaultKind.PERMISSION_DENIED: lambda _: access.permission_denied(),
    FaultKind.CUSTOMER_NOT_ENABLED: lambda _: access.customer_not_enabled(),
    FaultKind.VERSION_UNSUPPORTED: lambda _: version_unsupported(),
    FaultKind.PAGE_TOKEN_EXPIRED: lambda _: page_token_expired(),
}

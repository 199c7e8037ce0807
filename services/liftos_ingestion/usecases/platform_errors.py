"""What callers are told when a platform gives them no answer."""

from typing import Final

from liftos_ingestion.domain.failures import ErrorClass, NotReadyError, ReadingError
from liftos_kit.core.errors import (
    CredentialsRejectedError,
    DomainError,
    PlatformRateLimitedError,
    StoreUnavailableError,
    VerificationFailedError,
)

REFUSALS: Final = frozenset(
    {ErrorClass.CREDENTIALS, ErrorClass.PERMISSION, ErrorClass.ACCOUNT_CLOSED}
)
"""Failures that say that the platform knows the credential and does not take it."""

_LIMITS: Final = frozenset({ErrorClass.RATE_LIMITED, ErrorClass.QUOTA_EXHAUSTED})
_RETRY_SECONDS: Final = 5.0


def platform_error(
    error: ReadingError | NotReadyError, *, platform: str, resource_name: str
) -> DomainError:
    """Return what a caller is told of a call to a platform that did not work out.

    Args:
        error: What the source said.
        platform: Its platform.
        resource_name: Of the connection.
    """
    if isinstance(error, NotReadyError):
        if error.quota:
            return PlatformRateLimitedError(platform, retry_after_seconds=error.seconds)
        return StoreUnavailableError(
            platform, problem=error.reason, retry_after_seconds=error.seconds
        )
    failure = error.failure
    seconds = failure.retry_after_seconds or _RETRY_SECONDS
    if failure.error_class in REFUSALS:
        return CredentialsRejectedError(resource_name, platform=platform)
    if failure.error_class in _LIMITS:
        return PlatformRateLimitedError(platform, retry_after_seconds=seconds)
    if failure.error_class is ErrorClass.TRANSIENT:
        return StoreUnavailableError(platform, problem=failure.message, retry_after_seconds=seconds)
    return VerificationFailedError(
        f"call of {platform}",
        measured=f"{failure.error_class}: {failure.message}",
        threshold="an answer",
    )

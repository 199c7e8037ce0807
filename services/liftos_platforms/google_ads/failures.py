"""Errors of the API: what they say, and how each transport carries them."""

from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.json_format import MessageToDict

from liftos_platforms.google_ads.messages import VERSION, Failure

REQUEST_ID_KEY: Final = "request-id"


@dataclass(frozen=True, slots=True)
class QuotaDetails:
    """How long a quota error asks to wait, and whom it is about.

    Attributes:
        rate_scope: `ACCOUNT`, or `DEVELOPER` for the whole project.
    """

    rate_scope: str
    rate_name: str
    retry_delay_seconds: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of the API.

    Attributes:
        status: The call's status.
        message: One sentence.
        category: Field of the API's `ErrorCode`, for example `query_error`; empty for an error
            that comes without a GoogleAdsFailure.
        code: Name of the category's value.
        trigger: What in the request is at fault, or empty.
        quota: Of a quota error.
    """

    status: grpc.StatusCode
    message: str
    category: str = ""
    code: str = ""
    trigger: str = ""
    quota: QuotaDetails | None = None


class RefusedError(Exception):
    """A call that is answered with an error."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


_STATUS_OF_CATEGORY: Final = {
    "authentication_error": grpc.StatusCode.UNAUTHENTICATED,
    "authorization_error": grpc.StatusCode.PERMISSION_DENIED,
    "change_status_error": grpc.StatusCode.INVALID_ARGUMENT,
    "header_error": grpc.StatusCode.INVALID_ARGUMENT,
    "internal_error": grpc.StatusCode.INTERNAL,
    "query_error": grpc.StatusCode.INVALID_ARGUMENT,
    "quota_error": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "request_error": grpc.StatusCode.INVALID_ARGUMENT,
}
_HTTP_STATUSES: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


def refused(
    category: str,
    code: str,
    message: str,
    *,
    trigger: str = "",
    status: grpc.StatusCode | None = None,
    quota: QuotaDetails | None = None,
) -> RefusedError:
    """Return the error of a code, with the status that its category has by itself."""
    return RefusedError(
        Refusal(status or _STATUS_OF_CATEGORY[category], message, category, code, trigger, quota)
    )


def failure_bytes(refusal: Refusal, request_id: str) -> bytes:
    """Return the serialised GoogleAdsFailure of an error that has one."""
    failure = Failure()
    error = failure.errors.add()
    number = type(error.error_code).DESCRIPTOR.fields_by_name[refusal.category].enum_type
    setattr(error.error_code, refusal.category, number.values_by_name[refusal.code].number)
    error.message = refusal.message
    if refusal.trigger:
        error.trigger.string_value = refusal.trigger
    if refusal.quota is not None:
        details = error.details.quota_error_details
        scopes = type(details).DESCRIPTOR.fields_by_name["rate_scope"].enum_type
        details.rate_scope = scopes.values_by_name[refusal.quota.rate_scope].number
        details.rate_name = refusal.quota.rate_name
        details.retry_delay.FromNanoseconds(round(refusal.quota.retry_delay_seconds * 1e9))
    failure.request_id = request_id
    return bytes(failure.SerializeToString())


def trailing_metadata(
    refusal: Refusal, request_id: str, *, version: str = VERSION
) -> tuple[tuple[str, str | bytes], ...]:
    """Return the metadata that follows a refused call; the failure is named for its version."""
    request = (REQUEST_ID_KEY, request_id)
    if not refusal.category:
        return (request,)
    key = f"google.ads.googleads.{version}.errors.googleadsfailure-bin"
    return ((key, failure_bytes(refusal, request_id)), request)


def http_status(refusal: Refusal) -> int:
    """Return the HTTP status of an error."""
    return _HTTP_STATUSES[refusal.status]


def error_object(refusal: Refusal, request_id: str) -> dict[str, object]:
    """Return the body of an error over REST; a stream wraps it in a list."""
    error: dict[str, object] = {
        "code": http_status(refusal),
        "message": refusal.message,
        "status": refusal.status.name,
    }
    if refusal.category:
        failure = Failure.FromString(failure_bytes(refusal, request_id))
        kind = f"type.googleapis.com/{Failure.DESCRIPTOR.full_name}"
        error["details"] = [{"@type": kind, **MessageToDict(failure)}]
    return {"error": error}

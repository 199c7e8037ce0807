"""What Google's errors mean, as a table: one error, the first rule that fits, one failure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

import grpc

from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_kit.redaction import redact_text

_LONGEST_MESSAGE: Final = 500


class Remedy(Enum):
    """What a reader can do about an error before it becomes a failure."""

    NONE = auto()
    NEW_TOKEN = auto()
    """Buy another access token."""
    OTHER_WAY = auto()
    """Reach the customer by another one."""
    FEWER_DAYS = auto()
    """Ask for fewer days, should it happen again and again."""


@dataclass(frozen=True, slots=True)
class QuotaDetails:
    """How long a quota error asks to wait, and whom it is about.

    Attributes:
        rate_scope: `ACCOUNT`, or `DEVELOPER` for the whole project; empty where it is not said.
        rate_name: What is counted.
        retry_seconds: None where it is not said.
    """

    rate_scope: str = ""
    rate_name: str = ""
    retry_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ApiError:
    """One error of a call.

    Attributes:
        kind: The field of Google's `ErrorCode`, such as `quota_error`; empty where the call has a
            status and nothing else.
        code: The name of its value.
        message: For developers.
        quota: Of a quota error.
    """

    kind: str
    code: str
    message: str
    quota: QuotaDetails = field(default_factory=QuotaDetails)

    @property
    def name(self) -> str:
        """Kind and code as Google writes them, such as `QuotaError.ACCESS_PROHIBITED`."""
        return f"{self.kind.title().replace('_', '')}.{self.code}" if self.kind else self.code


class GoogleAdsError(ReadingError):
    """Google refused a call, or broke off its answer.

    Attributes:
        remedy: What can be tried first.
    """

    def __init__(self, failure: Failure, remedy: Remedy = Remedy.NONE) -> None:
        super().__init__(failure)
        self.remedy: Final = remedy


@dataclass(frozen=True, slots=True)
class Rule:
    """Errors of one kind with one of the codes, or with any code; see `ApiError`.

    Attributes:
        error_class: What they are.
        kind: `status` for errors that are only a status of the call.
        codes: Empty for all.
        advice: What a person can do; empty where nobody has to.
        remedy: What can be tried first.
        words: A part of the message; empty fits all.
    """

    error_class: ErrorClass
    kind: str
    codes: Collection[str] = ()
    advice: str = ""
    remedy: Remedy = Remedy.NONE
    words: str = ""

    def fits(self, error: ApiError) -> bool:
        """Whether it is one of them."""
        return (
            self.kind == (error.kind or "status")
            and (not self.codes or error.code in self.codes)
            and self.words in error.message
        )


_RENEW: Final = "sign in again and give the connection the new refresh token"
_NO_ACCESS: Final = (
    "let the owner of the account give the signed-in user access, or set login_customer_id to the "
    "manager that has it"
)
_PROJECT: Final = "let the Cloud project of the OAuth client be approved for the Google Ads API"

RULES: Final = (
    Rule(
        ErrorClass.RATE_LIMITED,
        "quota_error",
        {
            "RESOURCE_TEMPORARILY_EXHAUSTED",
            "EXCESSIVE_SHORT_TERM_QUERY_RESOURCE_CONSUMPTION",
        },
    ),
    Rule(ErrorClass.PERMISSION, "quota_error", {"ACCESS_PROHIBITED"}, _PROJECT),
    Rule(ErrorClass.QUOTA_EXHAUSTED, "quota_error"),
    # Every token ends; that it does says nothing of the credential that buys the next one.
    Rule(
        ErrorClass.TRANSIENT,
        "authentication_error",
        {"OAUTH_TOKEN_EXPIRED"},
        remedy=Remedy.NEW_TOKEN,
    ),
    Rule(
        ErrorClass.CREDENTIALS,
        "authentication_error",
        {"OAUTH_TOKEN_INVALID"},
        _RENEW,
        Remedy.NEW_TOKEN,
    ),
    Rule(
        ErrorClass.CREDENTIALS,
        "authentication_error",
        {"TWO_STEP_VERIFICATION_NOT_ENROLLED", "ADVANCED_PROTECTION_NOT_ENROLLED"},
        "the signed-in user has to enrol in two-step verification",
    ),
    Rule(
        ErrorClass.PERMISSION,
        "authentication_error",
        {"CLIENT_CUSTOMER_ID_INVALID", "CUSTOMER_NOT_FOUND"},
        _NO_ACCESS,
    ),
    Rule(ErrorClass.CREDENTIALS, "authentication_error", (), _RENEW),
    Rule(
        ErrorClass.ACCOUNT_CLOSED,
        "authorization_error",
        {"CUSTOMER_NOT_ENABLED", "INCOMPLETE_SIGNUP"},
        "take the account out of the connection, or open it again at Google Ads",
    ),
    Rule(
        ErrorClass.PERMISSION,
        "authorization_error",
        {"USER_PERMISSION_DENIED", "INVALID_LOGIN_CUSTOMER_ID_SERVING_CUSTOMER_ID_COMBINATION"},
        _NO_ACCESS,
        Remedy.OTHER_WAY,
    ),
    Rule(
        ErrorClass.PERMISSION,
        "authorization_error",
        {
            "CLOUD_PROJECT_NOT_APPROVED_FOR_PRODUCTION",
            "CLOUD_PROJECT_NOT_UNDER_ORGANIZATION",
            "DEVELOPER_TOKEN_NOT_APPROVED",
            "DEVELOPER_TOKEN_NOT_ON_ALLOWLIST",
            "DEVELOPER_TOKEN_PROHIBITED",
            "PROJECT_DISABLED",
        },
        _PROJECT,
    ),
    Rule(ErrorClass.PERMISSION, "authorization_error", (), _NO_ACCESS),
    Rule(
        ErrorClass.PERMISSION,
        "header_error",
        (),
        "set login_customer_id to the ten digits of a manager account",
        Remedy.OTHER_WAY,
    ),
    Rule(
        ErrorClass.VERSION,
        "request_error",
        {"UNSUPPORTED_VERSION"},
        "this version of the API has ended",
    ),
    Rule(
        ErrorClass.TRANSIENT,
        "request_error",
        {"EXPIRED_PAGE_TOKEN", "INVALID_PAGE_TOKEN", "RPC_DEADLINE_TOO_SHORT"},
    ),
    Rule(ErrorClass.PERMISSION, "request_error", {"CLOUD_PROJECT_NOT_FOUND"}, _PROJECT),
    Rule(
        ErrorClass.PERMISSION,
        "request_error",
        {"LOGIN_CUSTOMER_ID_PARAMETER_MISSING"},
        _NO_ACCESS,
        Remedy.OTHER_WAY,
    ),
    Rule(
        ErrorClass.TRANSIENT,
        "internal_error",
        {"DEADLINE_EXCEEDED"},
        remedy=Remedy.FEWER_DAYS,
    ),
    Rule(ErrorClass.TRANSIENT, "internal_error"),
    Rule(ErrorClass.TRANSIENT, "database_error"),
    Rule(
        ErrorClass.TOO_LARGE,
        "query_error",
        {"DATE_RANGE_TOO_WIDE"},
        "fewer days are asked for",
    ),
    Rule(
        ErrorClass.PERMANENT,
        "query_error",
        {"REQUESTED_METRICS_FOR_MANAGER"},
        "a manager account has no numbers; read the accounts below it",
    ),
    Rule(
        ErrorClass.PERMANENT,
        "query_error",
        (),
        "a field is no longer served, or not with the others",
    ),
    # --- without a word of Google's beyond the status of the call
    Rule(
        ErrorClass.TOO_LARGE,
        "status",
        {"RESOURCE_EXHAUSTED"},
        "one message is larger than is taken in; fewer days are asked for",
        words="larger than max",
    ),
    Rule(ErrorClass.TRANSIENT, "status", {"RESOURCE_EXHAUSTED"}),
    Rule(ErrorClass.TRANSIENT, "status", {"DEADLINE_EXCEEDED"}, remedy=Remedy.FEWER_DAYS),
    Rule(
        ErrorClass.TRANSIENT,
        "status",
        {"ABORTED", "CANCELLED", "DATA_LOSS", "INTERNAL", "UNAVAILABLE", "UNKNOWN"},
    ),
    Rule(ErrorClass.CREDENTIALS, "status", {"UNAUTHENTICATED"}, _RENEW, Remedy.NEW_TOKEN),
    Rule(
        ErrorClass.PERMISSION,
        "status",
        {"PERMISSION_DENIED"},
        "sign in again and grant the scope adwords",
    ),
    Rule(ErrorClass.VERSION, "status", {"UNIMPLEMENTED"}, "this version of the API does not exist"),
)
"""In the order in which they are tried."""

_UNKNOWN: Final = Rule(ErrorClass.PERMANENT, "", (), "this error is not known")

_GRANT_RULES: Final[Mapping[str, tuple[ErrorClass, str]]] = {
    "invalid_grant": (ErrorClass.CREDENTIALS, _RENEW),
    "invalid_client": (
        ErrorClass.CREDENTIALS,
        "client_id and client_secret are not those of an OAuth client",
    ),
    "unauthorized_client": (ErrorClass.CREDENTIALS, _RENEW),
    "access_denied": (ErrorClass.CREDENTIALS, _RENEW),
    "invalid_scope": (ErrorClass.CREDENTIALS, _RENEW),
    "admin_policy_enforced": (
        ErrorClass.CREDENTIALS,
        "the administrator of the Google Workspace has to allow the scope adwords",
    ),
}
"""What errors of the token endpoint mean."""


def classified(
    errors: Sequence[ApiError],
    *,
    request_id: str = "",
    regain_seconds: float | None = None,
    has_begun: bool = False,
) -> GoogleAdsError:
    """Return what the errors of one call mean.

    Args:
        errors: At least one; the one that the earliest rule fits decides.
        request_id: Google's id of the call.
        regain_seconds: For a limit, when calls are answered again.
        has_begun: Whether rows had come before.
    """
    rule, error = _decisive(errors)
    said = redact_text(error.message.rstrip(". "))[:_LONGEST_MESSAGE] or error.name
    message = f"Google Ads: {said}" + (f"; {rule.advice}" if rule.advice else "") + "."
    # A token that was taken at first has ended meanwhile, whatever Google calls that.
    has_ended = has_begun and rule.remedy is Remedy.NEW_TOKEN
    is_broken_off = has_begun and rule.error_class is ErrorClass.TRANSIENT and not has_ended
    failure = Failure(
        ErrorClass.TRANSIENT if has_ended else rule.error_class,
        message,
        platform_code=error.name,
        platform_request_id=request_id,
        retry_after_seconds=regain_seconds,
    )
    return GoogleAdsError(failure, Remedy.FEWER_DAYS if is_broken_off else rule.remedy)


def status_error(status: grpc.StatusCode, message: str) -> ApiError:
    """Return the error of a call that only has a status."""
    return ApiError("", status.name, message)


def grant_refused(error: str, description: str, *, status: int) -> ReadingError:
    """Return what an error of the token endpoint means.

    Args:
        error: OAuth's word; empty where the answer has none.
        description: What it says beside.
        status: HTTP status.
    """
    known = _GRANT_RULES.get(error)
    if known is not None:
        error_class, advice = known
    elif status == 429 or status >= 500 or error == "temporarily_unavailable":
        error_class, advice = ErrorClass.TRANSIENT, ""
    else:
        error_class, advice = ErrorClass.CREDENTIALS, _RENEW
    said = redact_text(description.rstrip(". ") or error or f"HTTP {status}")[:_LONGEST_MESSAGE]
    message = f"Google gives no access token: {said}" + (f"; {advice}" if advice else "") + "."
    return ReadingError(Failure(error_class, message, platform_code=error or str(status)))


def silent(seconds: float) -> GoogleAdsError:
    """Return the failure of a stream from which nothing has come for so long."""
    failure = Failure(
        ErrorClass.TRANSIENT, f"Google Ads has sent nothing for {seconds:g} s; it is asked again."
    )
    return GoogleAdsError(failure, Remedy.FEWER_DAYS)


def unreadable() -> GoogleAdsError:
    """Return the failure of a message that is not what was asked for."""
    failure = Failure(
        ErrorClass.TRANSIENT, "Google Ads sent a message that cannot be read; it is asked again."
    )
    return GoogleAdsError(failure)


def broken_too_often(error: GoogleAdsError, times: int) -> ReadingError:
    """Return the failure of an answer that was broken off so often that it may be too large."""
    told = error.failure
    return ReadingError(
        Failure(
            ErrorClass.TOO_LARGE,
            f"The answer was broken off {times} times ({told.message.rstrip('.')}); fewer days are "
            "asked for.",
            platform_code=told.platform_code,
            platform_request_id=told.platform_request_id,
        )
    )


def _decisive(errors: Sequence[ApiError]) -> tuple[Rule, ApiError]:
    for rule in RULES:
        for error in errors:
            if rule.fits(error):
                return rule, error
    return _UNKNOWN, errors[0]

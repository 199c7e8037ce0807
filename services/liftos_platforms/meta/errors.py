"""Errors of the Graph API: codes, HTTP status and the words that callers match on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from liftos_platforms.faults import FaultKind

GRAPH_VERSION: Final = "v26.0"
SERVED_VERSIONS: Final = ("v21.0", "v22.0", "v23.0", "v24.0", "v25.0", "v26.0")


@dataclass(eq=False)
class GraphError(Exception):
    """A refusal in the Graph API's own form.

    Attributes:
        status: HTTP status.
        subcode: 0 for none.
        regain_minutes: For a limit, when access returns; shows in the usage headers.
    """

    code: int
    message: str
    subcode: int = 0
    status: int = 400
    type: str = "OAuthException"
    is_transient: bool = False
    title: str = ""
    text: str = ""
    regain_minutes: int = 0

    def __str__(self) -> str:
        return self.message

    def body(self, trace_id: str) -> dict[str, object]:
        """The answer's JSON."""
        error: dict[str, object] = {
            "message": self.message,
            "type": self.type,
            "code": self.code,
            "is_transient": self.is_transient,
            "fbtrace_id": trace_id,
        }
        if self.subcode:
            error["error_subcode"] = self.subcode
        if self.title:
            error |= {"error_user_title": self.title, "error_user_msg": self.text}
        return {"error": error}

    @property
    def name(self) -> str:
        """The code, and the subcode where there is one, as `80004/2446079`."""
        return f"{self.code}/{self.subcode}" if self.subcode else str(self.code)


def invalid(message: str) -> GraphError:
    """A parameter that is wrong (code 100)."""
    return GraphError(100, f"(#100) {message}")


def unknown_field(name: str, node_type: str) -> GraphError:
    """A field that a kind of node does not have."""
    return invalid(f"Tried accessing nonexisting field ({name}) on node type ({node_type})")


def not_found(node_id: str) -> GraphError:
    """An object that is missing, or that the caller may not see."""
    return GraphError(
        100,
        f"Unsupported get request. Object with ID '{node_id}' does not exist, cannot be loaded "
        "due to missing permissions, or does not support this operation",
        33,
        type="GraphMethodException",
    )


def unknown_path(path: str) -> GraphError:
    """A path that leads nowhere."""
    return GraphError(2500, f"Unknown path components: /{path}")


def wrong_version(version: str) -> GraphError:
    """A version that is retired, or not there yet."""
    if version not in SERVED_VERSIONS and version > GRAPH_VERSION:
        return unknown_path(version)
    return GraphError(
        2635,
        "(#2635) You are calling a deprecated version of the Ads API. Please update to the "
        f"latest version: {GRAPH_VERSION}.",
    )


def token_missing() -> GraphError:
    """No token came."""
    return GraphError(
        2500, "An active access token must be used to query information about the current user."
    )


def token_unknown() -> GraphError:
    """A token that nobody was given."""
    return GraphError(190, "Invalid OAuth access token - Cannot parse access token", status=401)


def token_expired() -> GraphError:
    """A token whose time is over."""
    return GraphError(190, "Error validating access token: Session has expired.", 463, status=401)


def token_revoked() -> GraphError:
    """A token whose app was removed by the user."""
    return GraphError(
        190,
        "Error validating access token: The user has not authorized application.",
        458,
        status=401,
    )


def permission_missing() -> GraphError:
    """A token without the scope, or an account that it was not given."""
    return GraphError(
        200,
        "(#200) Ad account owner has NOT grant ads_management or ads_read permission",
        status=403,
    )


def account_disabled() -> GraphError:
    """An account that was closed."""
    return GraphError(200, "(#200) The ad account is disabled.", status=403)


def run_not_done() -> GraphError:
    """Results of a run that has not completed, or not quite."""
    return GraphError(
        2601,
        "(#2601) Error accessing adreport job.",
        1815107,
        is_transient=True,
        title="Loading Async Report Failed",
        text="Sorry, the report could not be loaded. Please try again later.",
    )


def retention() -> GraphError:
    """A start before the 37 months that are kept."""
    return GraphError(
        3018,
        "(#3018) The start date of the time range cannot be beyond 37 months from the current date",
    )


def summary_field_missing(name: str) -> GraphError:
    """A summary of a field that the run did not have."""
    return invalid(
        f"Cannot include {name} in summary param because they weren't there while creating the "
        "report run."
    )


def too_much_data() -> GraphError:
    """A page or a query that is too big for one answer."""
    return GraphError(
        1,
        "Please reduce the amount of data you're asking for, then retry your request",
        status=500,
    )


def _limit(code: int, subcode: int, message: str, status: int = 400) -> Callable[[int], GraphError]:
    def error(regain_minutes: int) -> GraphError:
        return GraphError(
            code,
            message,
            subcode,
            status=status,
            title="Ad Account Has Too Many API Calls",
            text="There have been too many calls from this ad-account. Wait a bit and try again.",
            regain_minutes=regain_minutes,
        )

    return error


app_limited = _limit(4, 1504022, "(#4) Application request limit reached", 403)
account_limited = _limit(17, 2446079, "(#17) User request limit reached")
insights_limited = _limit(
    80000,
    2446079,
    "(#80000) There have been too many calls from this ad-account. Wait a bit and try again.",
)
management_limited = _limit(
    80004,
    2446079,
    "(#80004) There have been too many calls to this ad-account. Wait a bit and try again.",
)
calls_limited = _limit(613, 1487742, "(#613) Calls to this api have exceeded the rate limit.")

LIMIT_OF_KIND: Final[Mapping[FaultKind, Callable[[int], GraphError]]] = MappingProxyType(
    {
        FaultKind.APP_LIMITED: app_limited,
        FaultKind.ACCOUNT_LIMITED: account_limited,
        FaultKind.INSIGHTS_LIMITED: insights_limited,
        FaultKind.MANAGEMENT_LIMITED: management_limited,
        FaultKind.CALLS_LIMITED: calls_limited,
    }
)
"""Limits that are struck by a fault; they take the minutes until access returns."""


def server_error() -> GraphError:
    """Something broke on the platform's side."""
    return GraphError(
        2,
        "An unexpected error has occurred. Please retry your request later.",
        status=500,
        is_transient=True,
    )


def data_limit_exceeded() -> GraphError:
    """More data than one call may read."""
    return GraphError(
        100,
        "(#100) Please reduce the amount of data you're asking for, then retry your request",
        1487534,
        title="Data Limit Exceeded",
        text="The data you are asking for is over the limit of a single call.",
    )


def cursor_invalid() -> GraphError:
    """A cursor that is damaged or of another list."""
    return invalid("The After Cursor specified is invalid")


ERROR_OF_KIND: Final[Mapping[FaultKind, Callable[[], GraphError]]] = MappingProxyType(
    {
        FaultKind.SERVER_ERROR: server_error,
        FaultKind.TOO_MUCH_DATA: too_much_data,
        FaultKind.DATA_LIMIT_EXCEEDED: data_limit_exceeded,
        FaultKind.TOKEN_EXPIRED: token_expired,
        FaultKind.CURSOR_INVALID: cursor_invalid,
        FaultKind.RESULTS_NOT_READY: run_not_done,
        FaultKind.SUMMARY_NOT_READY: lambda: summary_field_missing("actions"),
    }
)
"""Refusals that a fault strikes, whatever was asked."""

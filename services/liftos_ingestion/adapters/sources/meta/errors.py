"""What Meta's errors mean, as a table: one error, the first rule that fits, one failure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from liftos_ingestion.adapters.sources.platform_http import Answer
from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_kit.redaction import redact_text

_LONGEST_MESSAGE: Final = 500


class Remedy(Enum):
    """What a reader of Meta can do about an error before it becomes a failure."""

    NONE = auto()
    SMALLER_PAGE = auto()
    """Ask for fewer rows at a time."""
    WAIT = auto()
    """Ask again soon: what was asked for is being made."""
    LOOK_AGAIN = auto()
    """The object is not there: not yet, no longer, or not for this credential."""
    START_OVER = auto()
    """Read the list again from its beginning."""


@dataclass(frozen=True, slots=True)
class GraphError:
    """An error as the Graph API gives it, in an answer or on a report run that failed.

    Attributes:
        code, subcode: Meta's numbers; 0 where it gave none.
        message: For developers.
        user_message: For people; often says more.
        trace_id: `fbtrace_id`.
        is_transient: Meta's own hint, which is often wrong.
        status: HTTP status; 200 for a run that failed.
    """

    code: int = 0
    subcode: int = 0
    message: str = ""
    user_message: str = ""
    trace_id: str = ""
    is_transient: bool = False
    status: int = 200

    @property
    def platform_code(self) -> str:
        """Code and subcode as `17/2446079`; the HTTP status where there is no code."""
        if not self.code:
            return str(self.status)
        return f"{self.code}/{self.subcode}" if self.subcode else str(self.code)


class MetaError(ReadingError):
    """Meta refused a call, or gave a report up.

    Attributes:
        remedy: What can be tried first.
    """

    def __init__(self, failure: Failure, remedy: Remedy = Remedy.NONE) -> None:
        super().__init__(failure)
        self.remedy: Final = remedy


@dataclass(frozen=True, slots=True)
class _Rule:
    """Errors with one of the codes, one of the subcodes and the words; empty fits all.

    Attributes:
        advice: What a person can do; empty where nobody has to.
    """

    error_class: ErrorClass
    advice: str = ""
    codes: Collection[int] = ()
    subcodes: Collection[int] = ()
    words: str = ""
    remedy: Remedy = Remedy.NONE

    def fits(self, error: GraphError) -> bool:
        return (
            (not self.codes or error.code in self.codes)
            and (not self.subcodes or error.subcode in self.subcodes)
            and self.words in f"{error.message} {error.user_message}".lower()
        )


_FEWER: Final = "Meta cannot make so large a report; fewer days or objects are asked for"
_RENEW: Final = "give the connection another access token"
_ASK_OWNER: Final = (
    "let the owner of the ad account give the token's user access, and grant ads_read"
)

RULES: Final = (
    _Rule(
        ErrorClass.RATE_LIMITED,
        codes=frozenset({4, 17, 32, 341, 368, 613, *range(80000, 80007), 80008, 80009, 80014}),
    ),
    _Rule(ErrorClass.CREDENTIALS, _RENEW, codes=frozenset({102, 190})),
    _Rule(ErrorClass.CREDENTIALS, _RENEW, codes=frozenset({2500}), words="access token"),
    _Rule(
        ErrorClass.CREDENTIALS,
        "the app secret is not of the app that issued the token",
        codes=frozenset({100}),
        words="appsecret_proof",
    ),
    _Rule(
        ErrorClass.CREDENTIALS, "the app id and the app secret do not fit", codes=frozenset({101})
    ),
    _Rule(ErrorClass.VERSION, "this version of the API has ended", codes=frozenset({2635})),
    _Rule(
        ErrorClass.VERSION,
        "this version of the API does not exist",
        codes=frozenset({2500}),
        words="unknown path components: /v",
    ),
    _Rule(ErrorClass.TOO_LARGE, _FEWER, subcodes=frozenset({1487534, 1504038})),
    _Rule(
        ErrorClass.TOO_LARGE,
        _FEWER,
        codes=frozenset({1}),
        words="reduce the amount of data",
        remedy=Remedy.SMALLER_PAGE,
    ),
    _Rule(
        ErrorClass.PERMANENT,
        "Meta does not have this combination of fields",
        subcodes=frozenset({1504041, 1504042}),
    ),
    _Rule(ErrorClass.TRANSIENT, codes=frozenset({2601, 2637}), remedy=Remedy.WAIT),
    _Rule(ErrorClass.TRANSIENT, subcodes=frozenset({1815107}), remedy=Remedy.WAIT),
    _Rule(
        ErrorClass.TRANSIENT,
        codes=frozenset({100}),
        words="in summary param",
        remedy=Remedy.WAIT,
    ),
    _Rule(
        ErrorClass.PERMISSION,
        _ASK_OWNER,
        codes=frozenset({100}),
        subcodes=frozenset({33}),
        remedy=Remedy.LOOK_AGAIN,
    ),
    _Rule(ErrorClass.PERMISSION, _ASK_OWNER, codes=frozenset({803}), remedy=Remedy.LOOK_AGAIN),
    _Rule(ErrorClass.TRANSIENT, codes=frozenset({100}), words="cursor", remedy=Remedy.START_OVER),
    _Rule(
        ErrorClass.ACCOUNT_CLOSED,
        "take the account out of the connection, or open it again at Meta",
        codes=range(200, 300),
        words="account is disabled",
    ),
    _Rule(ErrorClass.PERMISSION, _ASK_OWNER, codes=frozenset({3, 10, *range(200, 300)})),
    _Rule(
        ErrorClass.PERMANENT,
        "Meta answers the last 37 months of the account's days",
        codes=frozenset({3018}),
    ),
    _Rule(
        ErrorClass.PERMANENT,
        "a field or a combination of fields is no longer served",
        codes=frozenset({100}),
    ),
    _Rule(ErrorClass.TRANSIENT, codes=frozenset({1, 2, 99, 104, 500, 502, 503, 960})),
    _Rule(ErrorClass.TRANSIENT, subcodes=frozenset({99, 1504039, 1504040, 1504043, 1504044})),
)
"""In the order in which they are tried; what none fits is judged by its HTTP status."""


def graph_error(answer: Answer) -> GraphError | None:
    """Return the error of an answer; None where it is none.

    An answer whose status is an error has one, whatever its body is; one that says that all went
    well may hold one nevertheless.
    """
    body = answer.data.get("error") if isinstance(answer.data, dict) else None
    if isinstance(body, Mapping):
        return GraphError(
            code=_integer(body.get("code")),
            subcode=_integer(body.get("error_subcode")),
            message=_text(body.get("message")),
            user_message=_text(body.get("error_user_msg")),
            trace_id=_text(body.get("fbtrace_id")),
            is_transient=body.get("is_transient") is True,
            status=answer.status,
        )
    if answer.ok and body is None:
        return None
    return GraphError(trace_id=answer.headers.get("x-fb-trace-id", ""), status=answer.status)


def run_error(run: Mapping[str, object]) -> GraphError:
    """Return why a report run failed, as its node tells it."""
    return GraphError(
        code=_integer(run.get("error_code")),
        subcode=_integer(run.get("error_subcode")),
        message=_text(run.get("error_message")),
        user_message=_text(run.get("error_user_msg")),
        is_transient=True,
    )


def classified(error: GraphError, *, regain_seconds: float | None = None) -> MetaError:
    """Return what an error means.

    Args:
        error: As Meta gave it.
        regain_seconds: For a limit, when access comes back.
    """
    rule = next((rule for rule in RULES if rule.fits(error)), None) or _by_status(error)
    said = ". ".join(it.rstrip(". ") for it in (error.message, error.user_message) if it)
    said = said or f"an error without a reason ({error.platform_code})"
    # Meta repeats a token that it cannot read.
    said = redact_text(said)[:_LONGEST_MESSAGE]
    message = f"Meta: {said}" + (f"; {rule.advice}" if rule.advice else "") + "."
    failure = Failure(
        rule.error_class,
        message,
        platform_code=error.platform_code,
        platform_request_id=error.trace_id,
        retry_after_seconds=regain_seconds,
    )
    return MetaError(failure, rule.remedy)


def malformed(what: str, *, request_id: str = "") -> MetaError:
    """Return the failure of an answer that says that all went well and cannot be read."""
    failure = Failure(
        ErrorClass.TRANSIENT, f"Meta answered {what}.", platform_request_id=request_id
    )
    return MetaError(failure)


def _by_status(error: GraphError) -> _Rule:
    if error.status == 429:
        return _Rule(ErrorClass.RATE_LIMITED)
    # Without a code it is something in front of Meta that answered.
    if error.is_transient or error.status >= 500 or not error.code:
        return _Rule(ErrorClass.TRANSIENT)
    return _Rule(ErrorClass.PERMANENT, "this error is not known")


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return 0
    try:
        return int(value)
    except ValueError:
        return 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

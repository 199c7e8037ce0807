"""What Klaviyo's refusals mean: one table from status and code to a class of failure."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from liftos_ingestion.adapters.sources.platform_http import Answer
from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_ingestion.domain.rate_limits import Observation

_DETAIL_CHARACTERS: Final = 300
_LONG_WAIT_SECONDS: Final = 600.0
"""A refusal for longer than this is of the day's window, not of the minute's."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    """A class of failure, and what to do about it."""

    error_class: ErrorClass
    advice: str


_BY_CODE: Final[Mapping[tuple[int, str], _Meaning]] = MappingProxyType(
    {
        (403, "account_disabled"): _Meaning(
            ErrorClass.ACCOUNT_CLOSED, "Klaviyo has closed the account; ask its owner."
        ),
    }
)
_BY_STATUS: Final[Mapping[int, _Meaning]] = MappingProxyType(
    {
        400: _Meaning(ErrorClass.PERMANENT, "Klaviyo does not take the call as it is made."),
        401: _Meaning(
            ErrorClass.CREDENTIALS, "Klaviyo does not take the credential; set another one."
        ),
        403: _Meaning(
            ErrorClass.PERMISSION,
            "The credential may not read this; give it the scopes accounts:read, campaigns:read,"
            " flows:read and metrics:read.",
        ),
        404: _Meaning(ErrorClass.PERMANENT, "Klaviyo does not have what is asked for."),
        408: _Meaning(ErrorClass.TRANSIENT, "Klaviyo did not answer in its own time."),
        409: _Meaning(ErrorClass.TRANSIENT, "Klaviyo was busy with another call."),
        410: _Meaning(
            ErrorClass.VERSION, "The revision of Klaviyo's API is retired; set a newer one."
        ),
        413: _Meaning(ErrorClass.TOO_LARGE, "Klaviyo cannot answer so much at once."),
    }
)
_REFUSED: Final = _Meaning(ErrorClass.PERMANENT, "Klaviyo refuses the call.")
_FAILED: Final = _Meaning(ErrorClass.TRANSIENT, "Klaviyo failed; it is asked again.")
_IN_FRONT: Final = _Meaning(
    ErrorClass.TRANSIENT, "Something in front of Klaviyo refuses the call; it is asked again."
)
_CURSOR: Final = _Meaning(
    ErrorClass.TRANSIENT, "Klaviyo has forgotten the place in a list; it is read from the start."
)
_REVISION: Final = _Meaning(
    ErrorClass.VERSION, "Klaviyo does not serve this revision of its API; set another one."
)


def malformed(what: str) -> ReadingError:
    """Return the failure of an answer that says all went well and lacks what it has to hold.

    It is asked for again, since a whole answer may come, and only so often.
    """
    return ReadingError(Failure(ErrorClass.TRANSIENT, f"Klaviyo's answer cannot be read: {what}."))


def refusal(answer: Answer, observations: tuple[Observation, ...]) -> ReadingError:
    """Return the failure that an answer stands for which is not 2xx.

    Args:
        answer: The answer.
        observations: What it says of limits.
    """
    error = _first_error(answer.data)
    code = _text(error.get("code"))
    detail = _text(error.get("detail"))[:_DETAIL_CHARACTERS]
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _limited(observations, code, _text(error.get("id")))
    meaning = _meaning(answer.status, code, detail, error)
    return ReadingError(
        Failure(
            meaning.error_class,
            f"{meaning.advice} It said: {detail}" if detail else meaning.advice,
            platform_code=f"{answer.status}/{code}" if code else str(answer.status),
            platform_request_id=_text(error.get("id")),
        )
    )


def _meaning(status: int, code: str, detail: str, error: Mapping[str, object]) -> _Meaning:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _FAILED
    if status == HTTPStatus.FORBIDDEN and not error:
        return _IN_FRONT
    if status == HTTPStatus.BAD_REQUEST:
        source = error.get("source")
        if isinstance(source, Mapping) and source.get("parameter") == "revision":
            return _REVISION
        if "cursor" in detail.lower():
            return _CURSOR
    return _BY_CODE.get((status, code)) or _BY_STATUS.get(status, _REFUSED)


def _limited(observations: tuple[Observation, ...], code: str, request_id: str) -> ReadingError:
    wait = max((seen.reset_seconds for seen in observations), default=0.0)
    is_long = wait > _LONG_WAIT_SECONDS
    return ReadingError(
        Failure(
            ErrorClass.QUOTA_EXHAUSTED if is_long else ErrorClass.RATE_LIMITED,
            f"Klaviyo takes no more calls of this kind for {wait:.0f} s.",
            platform_code=f"429/{code}" if code else "429",
            platform_request_id=request_id,
            retry_after_seconds=wait,
        )
    )


def token_refusal(answer: Answer) -> ReadingError:
    """Return the failure that an answer of the token endpoint stands for which is not 2xx."""
    error = _text(answer.data.get("error")) if isinstance(answer.data, Mapping) else ""
    code = f"{answer.status}/{error}" if error else str(answer.status)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        failure = Failure(
            ErrorClass.RATE_LIMITED, "Klaviyo gives out no token for now.", platform_code=code
        )
    elif error and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        failure = Failure(
            ErrorClass.CREDENTIALS,
            "Klaviyo gives no token for the credential; connect the application again.",
            platform_code=code,
        )
    else:
        failure = Failure(ErrorClass.TRANSIENT, _FAILED.advice, platform_code=code)
    return ReadingError(failure)


def _first_error(data: object) -> Mapping[str, object]:
    errors = data.get("errors") if isinstance(data, Mapping) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    return first if isinstance(first, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

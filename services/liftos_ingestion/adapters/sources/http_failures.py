"""What HTTP answers mean where a platform uses statuses as everybody does."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from liftos_ingestion.adapters.sources.platform_http import Answer
from liftos_ingestion.domain.failures import ErrorClass, Failure

_USUAL_CLASSES: Final[Mapping[int, ErrorClass]] = {
    401: ErrorClass.CREDENTIALS,
    403: ErrorClass.PERMISSION,
    408: ErrorClass.TRANSIENT,
    410: ErrorClass.VERSION,
    413: ErrorClass.TOO_LARGE,
    425: ErrorClass.TRANSIENT,
    429: ErrorClass.RATE_LIMITED,
}


def usual_failure(answer: Answer) -> Failure | None:
    """Return the failure that an answer is by its status alone; None where it is none."""
    error_class = _usual_class(answer.status)
    return None if error_class is None else answered_failure(answer, error_class)


def answered_failure(answer: Answer, error_class: ErrorClass, code: str = "") -> Failure:
    """Return a failure that shows nothing of an answer's body.

    Args:
        answer: What the platform answered.
        error_class: What it means.
        code: The platform's own code; its status where it has none.
    """
    return Failure(
        error_class,
        f"The platform answered with status {answer.status}.",
        platform_code=(code or str(answer.status))[:100],
        platform_request_id=answer.headers.get("x-request-id", "")[:200],
        retry_after_seconds=retry_after_seconds(answer.headers),
    )


def _usual_class(status: int) -> ErrorClass | None:
    if 200 <= status < 300:
        return None
    if status >= 500:
        return ErrorClass.TRANSIENT
    return _USUAL_CLASSES.get(status, ErrorClass.PERMANENT)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return when the platform wants to be asked again; None where it does not clearly say."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())

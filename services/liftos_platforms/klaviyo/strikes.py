"""Which faults strike a request, and the refusals that they look like."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from liftos_platforms.faults import Fault, FaultKind
from liftos_platforms.http import struck_before
from liftos_platforms.klaviyo.documents import ApiError
from liftos_platforms.klaviyo.endpoints import Name
from liftos_platforms.klaviyo.library import Item
from liftos_platforms.klaviyo.pages import Page
from liftos_platforms.klaviyo.query import PAGE_CURSOR
from liftos_platforms.klaviyo.request import Asked

LIMITED: Final[Mapping[FaultKind, int | None]] = MappingProxyType(
    {
        FaultKind.BURST_LIMITED: 1,
        FaultKind.STEADY_LIMITED: 30,
        FaultKind.DAILY_LIMITED: 20_000,
        FaultKind.LIMITED_WITHOUT_RETRY_AFTER: None,
    }
)
"""Retry-After of a fault of limits, in seconds, where it names none."""

REFUSED: Final = frozenset(
    {
        FaultKind.SERVER_ERROR,
        FaultKind.SCOPE_MISSING,
        FaultKind.REVISION_GONE,
        FaultKind.CURSOR_INVALID,
    }
)
DELIVERED_BADLY: Final = frozenset(
    {FaultKind.ANSWER_LOST, FaultKind.ANSWER_CUT_OFF, FaultKind.ANSWER_LENGTH_WRONG}
)


def strikes_before(fault: Fault, asked: Asked | ApiError) -> bool:
    """Whether a fault strikes before, or instead of, what is asked."""
    kind = fault.kind
    if kind is FaultKind.CURSOR_INVALID:
        return isinstance(asked, Asked) and asked.cursor is not None
    return (
        strikes_delivery(fault)
        or kind in LIMITED
        or kind in REFUSED
        or kind in {FaultKind.CHALLENGE, FaultKind.KEY_REJECTED}
    )


def strikes_delivery(fault: Fault) -> bool:
    """Whether a fault replaces an answer by one of HTTP's own, or spoils its delivery."""
    return struck_before(fault.kind) is not None or fault.kind in DELIVERED_BADLY


def strikes_edge(fault: Fault, name: Name, shown: Page[Item]) -> bool:
    """Whether a fault can strike between this page and the next."""
    match fault.kind:
        case FaultKind.ROW_REPEATED:
            return len(shown.keys) > 1
        case FaultKind.EVENT_TIMESTAMPS_EQUAL:
            return name is Name.EVENTS and shown.keys[-1][0] != (shown.following_key or (0,))[0]
        case FaultKind.CAMPAIGN_GONE_BETWEEN_PAGES:
            return name is Name.CAMPAIGNS
        case _:
            return False


def refusal(kind: FaultKind | None) -> ApiError:
    """Return the refusal that a fault of `REFUSED` looks like."""
    match kind:
        case FaultKind.SERVER_ERROR:
            return ApiError("A server error occurred.", status=HTTPStatus.INTERNAL_SERVER_ERROR)
        case FaultKind.SCOPE_MISSING:
            return scope_missing("for this")
        case FaultKind.REVISION_GONE:
            return ApiError(
                "The revision is no longer supported.",
                status=HTTPStatus.GONE,
                parameter="revision",
            )
        case _:
            return ApiError("Invalid cursor provided.", parameter=PAGE_CURSOR)


def scope_missing(scope: str) -> ApiError:
    """Return the refusal of a key that lacks a scope."""
    return ApiError(f"The key does not have the scope {scope}.", status=HTTPStatus.FORBIDDEN)

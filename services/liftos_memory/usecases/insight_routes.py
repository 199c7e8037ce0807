"""What routes of insights may name."""

from collections.abc import Awaitable, Callable, Collection, Sequence

from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_memory.domain.insights import INSIGHTS


async def check_platforms(
    registered: Callable[[str], Awaitable[Collection[str]]], org: str, platforms: Sequence[str]
) -> None:
    """Return if all platforms of a route are registered sources of the org.

    Args:
        registered: Returns those of an org.
        org: The org.
        platforms: What the route names.

    Raises:
        InvalidFieldsError: Some are not; each is named.
    """
    known = await registered(org) if platforms else ()
    unknown = [
        FieldViolation(
            f"{INSIGHTS.field}.platforms[{index}]",
            f"{platform!r} is no registered source; there are {', '.join(sorted(known))}",
            "platform",
        )
        for index, platform in enumerate(platforms)
        if platform not in known
    ]
    if unknown:
        raise InvalidFieldsError(unknown)

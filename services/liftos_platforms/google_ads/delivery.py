"""Chunks on their way to the caller, and the faults that strike them there."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from liftos_platforms.faults import Fault, FaultKind
from liftos_platforms.google_ads import troubles
from liftos_platforms.google_ads.calls import GoesAwayError
from liftos_platforms.google_ads.plan import Plan
from liftos_platforms.google_ads.rendering import (
    Chunk,
    Rendering,
    halves,
    padded,
    repeated_before,
    with_unknown_enum,
)

OVERSIZE_BYTES: Final = 65 * 1024 * 1024
"""More than the 64 MiB that the published client takes in one message."""

_MID_STREAM: Final = frozenset(
    {FaultKind.UNAVAILABLE_MID_STREAM, FaultKind.ROW_REPEATED, FaultKind.SERVER_GOES_AWAY}
)


async def streamed(rendering: Rendering, fault: Fault | None, plan: Plan) -> AsyncIterator[Chunk]:
    """Yield the chunks of a stream. A fault strikes chunk number `amount`, from 0, or the first.

    Raises:
        RefusedError: The stream breaks.
        GoesAwayError: The server goes away.
    """
    if fault is not None and fault.kind is FaultKind.STREAM_HANGS:
        await asyncio.Event().wait()
    struck_at = 0 if fault is None else fault.amount or 0
    place = 0
    while (chunk := await rendering.chunk(place)) is not None:
        if fault is not None and place == struck_at and fault.kind in _MID_STREAM:
            first, second = halves(chunk)
            yield first
            _break(fault)
            yield repeated_before(second, first.last_row)
        else:
            yield spoilt(chunk, fault, plan) if place == struck_at else chunk
        place += 1
    if fault is not None and place <= struck_at:
        # There were not so many chunks; a stream that should break still does.
        _break(fault)
    if fault is not None and fault.kind is FaultKind.UNAVAILABLE_AT_END:
        raise troubles.unavailable()


async def strike_page(fault: Fault | None) -> None:
    """Let a fault strike a page before it is made.

    Raises:
        RefusedError: The page does not come.
        GoesAwayError: The server goes away.
    """
    if fault is None:
        return
    if fault.kind is FaultKind.STREAM_HANGS:
        await asyncio.Event().wait()
    if fault.kind is FaultKind.UNAVAILABLE_AT_END:
        raise troubles.unavailable()
    _break(fault)


def spoilt(chunk: Chunk, fault: Fault | None, plan: Plan) -> Chunk:
    """Return the chunk as a fault leaves it."""
    if fault is None:
        return chunk
    match fault.kind:
        case FaultKind.ENUM_UNKNOWN:
            return with_unknown_enum(chunk, plan)
        case FaultKind.MESSAGE_OVERSIZE:
            return padded(chunk, OVERSIZE_BYTES)
        case _:
            return chunk


def _break(fault: Fault) -> None:
    if fault.kind is FaultKind.UNAVAILABLE_MID_STREAM:
        raise troubles.unavailable()
    if fault.kind is FaultKind.SERVER_GOES_AWAY:
        raise GoesAwayError

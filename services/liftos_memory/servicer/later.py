"""Methods that the contract has and this version does not: each says so, and none pretends."""

from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn

from google.protobuf.message import Message
from grpc.aio import ServicerContext

from liftos_kit.core.errors import NotBuiltError

LATER_METHODS: Final = (
    "CompareMetrics",
    "EvaluateSearch",
    "GenerateInsights",
    "GetInsight",
    "ListInsights",
    "RerunInsight",
    "RateInsight",
    "ExportDataset",
    "GetCacheStats",
)
"""Methods without a part of their own."""

_Method = Callable[[object, Message, ServicerContext[Any, Any]], Coroutine[Any, Any, NoReturn]]


def later_servicer() -> object:
    """Return the part that answers UNIMPLEMENTED with NOT_BUILT for each later method."""
    return type("LaterServicer", (), {name: _not_built(name) for name in LATER_METHODS})()


def _not_built(name: str) -> _Method:
    async def method(
        self: object, request: Message, context: ServicerContext[Any, Any]
    ) -> NoReturn:
        raise NotBuiltError(name)

    return method

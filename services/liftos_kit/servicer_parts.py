"""A gRPC service put together from parts, one per area, that leaves no method out."""

from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, NoReturn

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from grpc.aio import ServicerContext

from liftos_kit.core.errors import NotBuiltError

_Method = Callable[[object, Message, ServicerContext[Any, Any]], Coroutine[Any, Any, NoReturn]]


class ServicerPartsError(Exception):
    """The parts do not serve every method exactly once."""


def combine(
    service: ServiceDescriptor, parts: Sequence[object], *, later: Collection[str] = ()
) -> Any:  # noqa: ANN401 - it has the methods of the service, which types cannot see
    """Return a servicer that answers each method by the one part that has it.

    Args:
        service: Of the contract.
        parts: Objects whose methods are named like those of the service.
        later: Methods that the contract has and this version does not; they answer
            UNIMPLEMENTED with NOT_BUILT.

    Raises:
        ServicerPartsError: A method has no part, or several, or one although it is for later.
    """
    methods: dict[str, object] = {}
    for method in service.methods:
        serving = [part for part in parts if hasattr(part, method.name)]
        if len(serving) + (method.name in later) != 1:
            names = ", ".join(type(part).__name__ for part in serving) or "no part"
            raise ServicerPartsError(f"{method.name} is served by {names}")
        methods[method.name] = (
            getattr(serving[0], method.name) if serving else _not_built(method.name)
        )
    return type(f"{service.name}Servicer", (), methods)()


def _not_built(name: str) -> _Method:
    async def method(_: object, __: Message, ___: ServicerContext[Any, Any]) -> NoReturn:
        raise NotBuiltError(name)

    return method

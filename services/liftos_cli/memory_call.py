"""Commands that call Memory."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec

from liftos_cli.service_call import MEMORY, calls_service
from liftos_client.memory import MemoryClient

_Parameters = ParamSpec("_Parameters")


@dataclass(frozen=True, slots=True)
class MemoryCall:
    """What a command works with.

    Attributes:
        memory: The client of Memory.
        org: The organisation of the token.
        json: Whether to print JSON.
    """

    memory: MemoryClient
    org: str
    json: bool


def calls_memory(
    command: Callable[Concatenate[MemoryCall, _Parameters], Awaitable[None]],
) -> Callable[..., None]:
    """Make a command of a coroutine function that calls Memory."""
    return calls_service(
        command, MEMORY, lambda client, json: MemoryCall(client.memory, client.org, json)
    )

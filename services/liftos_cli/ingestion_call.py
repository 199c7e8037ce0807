"""Commands that call Ingestion."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec

from liftos_cli.service_call import INGESTION, calls_service
from liftos_client.ingestion import IngestionClient

_Parameters = ParamSpec("_Parameters")


@dataclass(frozen=True, slots=True)
class IngestionCall:
    """What a command works with.

    Attributes:
        ingestion: The client of Ingestion.
        json: Whether to print JSON.
    """

    ingestion: IngestionClient
    json: bool


def calls_ingestion(
    command: Callable[Concatenate[IngestionCall, _Parameters], Awaitable[None]],
) -> Callable[..., None]:
    """Make a command of a coroutine function that calls Ingestion."""
    return calls_service(
        command, INGESTION, lambda client, json: IngestionCall(client.ingestion, json)
    )

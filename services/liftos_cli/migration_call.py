"""Commands that call Migration."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Concatenate, ParamSpec

import typer

from liftos_cli.service_call import MIGRATION, calls_service
from liftos_client.migration import MigrationClient

_Parameters = ParamSpec("_Parameters")

MigrationArgument = Annotated[
    str, typer.Argument(metavar="MIGRATION", help="Name of the migration, or its id alone.")
]


@dataclass(frozen=True, slots=True)
class MigrationCall:
    """What a command works with.

    Attributes:
        migration: The client of Migration.
        json: Whether to print JSON.
    """

    migration: MigrationClient
    json: bool


def calls_migration(
    command: Callable[Concatenate[MigrationCall, _Parameters], Awaitable[None]],
) -> Callable[..., None]:
    """Make a command of a coroutine function that calls Migration."""
    return calls_service(
        command, MIGRATION, lambda client, json: MigrationCall(client.migration, json)
    )
